"""The converter: any ECG file in, one `ECGRecord` out.

    path --read_ecg--> ECGRecord (mV, rate, leads, age, sex, statements, report, provenance)

Formats are told by content, never by extension.
"""

from pathlib import Path

from .record import ECGRecord
from .sniff import FORMATS, sniff


def read_ecg(path: str | Path) -> ECGRecord:
    """Reads one ECG file of any known format.

    Args:
        path: WFDB record (with or without .hea), CSV, .npy, .npz, EDF, DICOM, GE MUSE XML, Philips Sierra XML, HL7
            aECG, SCP-ECG, ISHNE, MFER, or a PDF report with vector traces. EDF, DICOM and the vendors' formats need
            `pip install heartcare[formats]`, PDF `pip install heartcare[pdf]`.

    Returns: the record, with a float32 signal (leads, samples) in mV and NaN where nothing was recorded.

    Raises: `FileNotFoundError`, `PermissionError`, `ImportError` (an extra is missing), and `ValueError` for everything
        that is wrong with a file: unknown,
    damaged, truncated, password-protected, larger than the limits, a scan, without a sampling rate, without any of the
    twelve leads.
    """
    path = Path(path)
    try:
        name = sniff(path)
        record = FORMATS[name](path)
        record.format = name
        return record.checked()
    except (ValueError, ImportError, FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # libraries raise many kinds of errors on damaged files
        raise ValueError(f"{path} cannot be read, it may be damaged ({type(error).__name__}: {error}).") from error


__all__ = ["ECGRecord", "read_ecg", "sniff"]
