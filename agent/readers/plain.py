"""WFDB, numpy and CSV: the processor's own readers, with what the files say about the patient."""

import re
from pathlib import Path

from ...processing_heartcare import LEADS, read_csv, read_npy, read_wfdb, to_millivolts
from ..statements import SNOMED
from .record import ECGRecord, parse_age, parse_sex


def read_wfdb_record(path: Path) -> ECGRecord:
    """WFDB; age, sex, diagnoses (SNOMED CT, as in the PhysioNet challenges) and free text come from the header's
    comments.
    """
    found = read_wfdb(path)
    record = _record(path, found)
    for comment in found["comments"]:
        key, colon, value = (part.strip() for part in comment.partition(":"))
        key = key.lower().lstrip("<# ")
        if not colon:
            continue
        if key == "age":
            record.age = parse_age(value.rstrip("> "))
        elif key in ("sex", "gender"):
            record.sex = parse_sex(value.rstrip("> "))
        elif key in ("dx", "diagnosis", "diagnose", "reason for admission", "report", "comment"):
            codes = [SNOMED[code] for code in re.findall(r"\d{6,}", value) if code in SNOMED]
            if codes:
                record.statements |= dict.fromkeys(codes, 100.0)
            elif not re.search(r"\d{6,}", value):
                record.report = f"{record.report} {value}.".strip()
    if "rates" in found:
        rates = ", ".join(f"{name} {rate:g} Hz" for name, rate in zip(found["lead_names"], found["rates"]))
        record.provenance.append(f"resampled to {found['sampling_rate']:g} Hz: {rates}")
    return record


def read_numpy_file(path: Path) -> ECGRecord:
    return _record(path, read_npy(path))


def read_table(path: Path) -> ECGRecord:
    return _record(path, read_csv(path))


def _record(path: Path, found: dict) -> ECGRecord:
    if "sampling_rate" not in found:
        raise ValueError(
            f"{path} does not say its sampling rate, which is never guessed; write it into the file (.npz: sampling_rate=..., "
            ".csv: a time column in seconds), or give the array to the processor with sampling_rate=."
        )
    signal, provenance = found["ecg"], []
    if signal.ndim == 1:
        signal = signal[None]
    units = found.get("units")
    factor = _factor(path, units)
    if units is None:
        provenance.append("took the values for mV, since the file does not say")
    elif factor != 1:
        provenance.append(f"{units} to mV")
    names = found.get("lead_names")
    if names is None:
        if signal.ndim != 2 or len(signal) != len(LEADS):
            raise ValueError(
                f"{path}: an array of shape {signal.shape} without lead names; expected (12, samples) or lead_names in the file."
            )
        names = list(LEADS)
        provenance.append("took the twelve rows for the leads in standard order, since the file does not say")
    if signal.dtype.kind not in "iuf":
        raise ValueError(f"{path}: an ECG must hold numbers, got an array of {signal.dtype}.")
    return ECGRecord(path.stem, signal * factor, found["sampling_rate"], tuple(names), provenance=provenance)


def _factor(path: Path, units: str | None) -> float:
    try:
        return float(to_millivolts(1.0, units or "mV"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
