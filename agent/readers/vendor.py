"""EDF, DICOM and the vendors' formats, through the ecgdatakit package (extra: heartcare[formats])."""

import re
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np

from ...cleaning_heartcare import resample
from ...ecg_heartcare import MAX_RATE, MAX_VALUES, MIN_RATE, canonical_lead, parse_age, parse_sex, pseudonym

MAX_BYTES = 2**28  # a DICOM or EDF recording of a day; the readers hold a file in memory several times over
FORMATS = ("edf", "dicom", "muse-xml", "sierra-xml", "hl7-aecg", "scp-ecg", "ishne", "mfer")


def read_vendor(path: Path) -> dict:
    """One file of any of `FORMATS`.

    Raises: `ImportError` without the extra; `ValueError` for damaged, too large and hostile files (XML entities are
        refused).
    """
    try:
        from ecgdatakit import FileParser
    except ImportError as error:
        raise ImportError(f"Reading {path.name} needs ecgdatakit: pip install heartcare[formats]") from error
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{path} has {size} bytes; files of this format are read up to {MAX_BYTES} bytes.")
    _refuse_entities(path)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            parsed = FileParser.parse(path, units="mV")
    except ImportError as error:
        raise ImportError(
            f"Reading {path.name} needs more packages ({error}): pip install heartcare[formats]"
        ) from error
    except Exception as error:  # the parsers raise many kinds of errors on damaged files
        raise ValueError(
            f"{path} cannot be read, it may be damaged, truncated or not what it claims to be ({error})."
        ) from error
    provenance = [f"reader: {' '.join(str(warning.message).split())[:200]}" for warning in caught]
    leads = [lead for lead in parsed.leads if canonical_lead(lead.label)]
    if not leads:
        raise ValueError(f"{path} holds none of the twelve leads, but {[lead.label for lead in parsed.leads][:12]}.")
    if raw := [lead.label for lead in leads if lead.is_raw or lead.units != "mV"]:
        raise ValueError(f"{path}: leads {raw} have no scale to mV in the file.")
    rates = {lead.sampling_rate for lead in leads}
    if not all(MIN_RATE <= rate <= MAX_RATE for rate in rates):
        raise ValueError(
            f"{path}: sampling rates of {sorted(rates)} Hz cannot be; expected {MIN_RATE} to {MAX_RATE} Hz."
        )
    fastest = max(rates)
    length = max(len(lead.samples) * fastest // lead.sampling_rate for lead in leads)
    if length * len(leads) > MAX_VALUES:
        raise ValueError(f"{path} holds {length * len(leads)} values; at most {MAX_VALUES} are read at a time.")
    signal = np.full((len(leads), length), np.nan)
    for row, lead in zip(signal, leads):
        samples = np.asarray(lead.samples, np.float64)
        if lead.sampling_rate != fastest:
            ratio = Fraction(fastest, lead.sampling_rate)
            samples = resample(samples[None], lead.sampling_rate, fastest, int(len(samples) * ratio))[0]
            provenance.append(f"resampled {lead.label} from {lead.sampling_rate:g} to {fastest:g} Hz")
        row[: len(samples)] = samples[:length]
    statements = [
        " ".join(part for part in each if part) if isinstance(each, tuple) else str(each)
        for each in parsed.interpretation.statements
    ]
    names = ("heart_rate", "pr_interval", "qrs_duration", "qt_interval", "qtc_bazett", "p_axis", "qrs_axis", "t_axis")
    measured = {name: getattr(parsed.measurements, name, None) for name in names}
    return {
        "signal": signal,
        "units": "mV",
        "sampling_rate": fastest,
        "lead_names": tuple(lead.label for lead in leads),
        "age": parse_age(parsed.patient.age),
        "sex": parse_sex(parsed.patient.sex),
        "patient_id": pseudonym(parsed.patient.patient_id),
        "report": ". ".join(statement.strip(" .") for statement in statements if statement.strip(" .")),
        "measurements": {name: float(value) for name, value in measured.items() if value is not None},
        "notes": tuple(provenance),
    }


def _refuse_entities(path: Path):
    """An XML file that declares entities can unpack to any size or read other files; no ECG needs them."""
    with open(path, "rb") as file:
        start = file.read(2**16)
    text = start.replace(b"\0", b"").lower()
    if text.lstrip(b"\xff\xfe\xef\xbb\xbf \r\n\t").startswith(b"<") and b"<!entity" in text:
        raise ValueError(f"{path} declares XML entities, which are refused.")
