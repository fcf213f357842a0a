# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""WFDB records, of one or many segments: header -> signals in mV, lead names, and what its comments say of the patient.

Files are only read from the header's own folder, and a header that claims more than its files can hold is refused.
"""

import math
import re
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .cleaning_heartcare import resample
from .ecg_heartcare import MAX_RATE, MAX_VALUES, MIN_RATE, canonical_lead, parse_age, parse_sex, to_millivolts

MAX_HEADER_BYTES = 2**20
NOT_RECORDED = -32768  # WFDB's mark in 16-bit files of a sample that was not recorded


def read_wfdb(path: Path) -> dict:
    """Reads a WFDB record, named with or without its .hea or .dat; NaN where nothing was recorded.

    Leads of differing rates all get the fastest one.

    Returns: attributes of an `ECG` and "units".

    Raises: `FileNotFoundError`, `ImportError`, and `ValueError` for headers and signals that are damaged, claim too much,
        or name files elsewhere.
    """
    content, comments = read_signals(path)
    return content | read_comments(comments)


def read_comments(comments: list[str]) -> dict:
    """Reads the comments of a header, "Age: 63", "Sex: F", "Dx: 426783006" or free text -> attributes of an `ECG`.

    Codes of SNOMED CT, as the PhysioNet challenges give them, become the column "dx".
    """
    content: dict = {"columns": {}, "report": ""}
    for comment in comments:
        key, colon, value = (part.strip() for part in comment.partition(":"))
        key, value = key.lower().lstrip("<# "), value.rstrip("> ")
        if not colon:
            continue
        if key == "age":
            content["age"] = parse_age(value)
        elif key in ("sex", "gender"):
            content["sex"] = parse_sex(value)
        elif key in ("dx", "diagnosis", "diagnose", "reason for admission", "report", "comment"):
            if codes := re.findall(r"\d{6,}", value):
                content["columns"]["dx"] = ",".join([*filter(None, [content["columns"].get("dx")]), *codes])
            else:
                content["report"] = f"{content['report']} {value}.".strip()
    return content


def read_signals(path: Path) -> tuple[dict, list[str]]:
    """Reads the signals of a record -> the attributes "signal" (leads, samples), "sampling_rate", "lead_names", "units" and
    "notes" of an `ECG`, and the comments of the header.
    """
    try:
        import wfdb
    except ImportError as error:
        raise ImportError("Reading WFDB records needs the wfdb package: pip install wfdb") from error
    record = path.with_suffix("") if path.suffix.lower() in (".hea", ".dat") else path
    header = record.with_name(record.name + ".hea")
    if not header.exists():
        raise FileNotFoundError(f"{header} does not exist; a WFDB record is a .hea file with its .dat files beside it.")
    if (plain := read_plain_wfdb(header)) is not None:
        return plain
    parsed = checked_header(wfdb, header)
    comments = parsed.comments or []
    if getattr(parsed, "seg_name", None):
        return join_segments(header, parsed), comments
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read = wfdb.rdrecord(str(record), smooth_frames=False)
        signals, rates = read.e_p_signal, [read.fs * per_frame for per_frame in read.samps_per_frame]
    except Exception as error:
        raise ValueError(
            f"{header}: the signal cannot be read, the file may be truncated or damaged ({error})."
        ) from error
    if not signals or not max(map(len, signals)):
        raise ValueError(f"{header}: the record holds no samples.")
    return at_one_rate(header, read.sig_name, read.units, signals, rates), comments


def at_one_rate(
    header: Path, names: list[str], units: list[str], signals: list[np.ndarray], rates: list[float]
) -> dict:
    """Brings all signals to mV and to the rate of the fastest lead.

    Raises: `ValueError` for a lead in unknown units.
    """
    is_lead = [canonical_lead(name) is not None for name in names]
    fastest = max([rate for rate, lead in zip(rates, is_lead) if lead] or rates)
    length = max(len(signal) for signal, rate in zip(signals, rates) if rate == fastest)
    rows = []
    for name, unit, signal, rate, standard in zip(names, units, signals, rates, is_lead):
        if rate != fastest:
            signal = resample(signal[None], rate, fastest, length)[0]
        try:
            signal = to_millivolts(signal, unit)
        except ValueError as error:
            if standard:
                raise ValueError(
                    f"{header}: lead {name}: {error} Correct the header, or read the array and give units=."
                ) from error
            # Not an ECG channel (blood pressure, respiration); the constructor of `ECG` leaves it out by its name.
        rows.append(signal)
    content = {"signal": np.stack(rows), "sampling_rate": fastest, "lead_names": list(names), "units": "mV"}
    if len(set(rates)) > 1:
        each = ", ".join(f"{name} {rate:g} Hz" for name, rate in zip(names, rates))
        content["notes"] = (f"resampled to {fastest:g} Hz: {each}",)
    return content


WFDB_RECORD = re.compile(r"[\w-]+ (\d+) ([\d.]+) (\d+)(?: [\d:.]+(?: [\d/]+)?)?")
WFDB_SIGNAL = re.compile(r"([\w.-]+) 16 ([\d.e+]+)\((-?\d+)\)/(mV|uV) 16 -?\d+ -?\d+ -?\d+ 0 (\S+)")


def read_plain_wfdb(header: Path) -> tuple[dict, list[str]] | None:
    """Reads the common kind of WFDB record, one file of 16-bit samples in mV or uV, some ten times faster than wfdb does.

    Returns: as `read_signals`; None for records of other kinds.
    """
    if header.stat().st_size > MAX_HEADER_BYTES:
        return None
    lines = header.read_text(encoding="utf-8", errors="replace").splitlines()
    comments = [line.strip(" \t#") for line in lines if line.startswith("#")]
    first, *rest = [line.strip() for line in lines if line.strip() and not line.startswith("#")] or [""]
    record, signals = WFDB_RECORD.fullmatch(first), [WFDB_SIGNAL.fullmatch(line) for line in rest]
    if not record or not signals or None in signals or int(record[1]) != len(signals):
        return None
    if len({match[1] for match in signals}) > 1:
        return None
    data, gains = header.parent / signals[0][1], np.array([float(match[2]) for match in signals])
    shape = int(record[3]), len(signals)
    if not gains.all() or not 0 < math.prod(shape) <= MAX_VALUES:
        return None
    if not data.is_file() or data.stat().st_size != 2 * math.prod(shape):
        return None
    counts = np.fromfile(data, "<i2").reshape(shape).T
    gains *= [1000.0 if match[4] == "uV" else 1.0 for match in signals]
    signal = (counts - np.array([[int(match[3])] for match in signals], np.float64)) / gains[:, None]
    signal[counts == NOT_RECORDED] = np.nan
    lead_names, rate = [match[5] for match in signals], float(record[2])
    rate = int(rate) if rate.is_integer() else rate
    return {"signal": signal, "sampling_rate": rate, "lead_names": lead_names, "units": "mV"}, comments


def join_segments(header: Path, parsed: Any) -> dict:
    """Reads the segments of a record one after the other; NaN in gaps, and where a segment lacks a lead that another has."""
    parts = [
        (length, None if name == "~" else read_signals(header.parent / name)[0])
        for name, length in zip(parsed.seg_name, parsed.seg_len)
        if length
    ]
    read = [part for _, part in parts if part]
    if not read:
        raise ValueError(f"{header}: the record holds no samples.")
    rate = max(part["sampling_rate"] for part in read)
    names = list(dict.fromkeys(name for part in read for name in part["lead_names"]))
    frames = np.concatenate([[0], np.cumsum([length for length, _ in parts])])
    edges = np.round(frames * rate / parsed.fs).astype(int)
    held = sum(part["signal"].shape[1] * rate / part["sampling_rate"] for part in read)
    if edges[-1] * len(names) > MAX_VALUES or edges[-1] > 100 * held:
        raise ValueError(
            f"{header} claims {edges[-1]} samples of {len(names)} leads, of which {held:.0f} are there; it may be damaged."
        )
    signal = np.full((len(names), edges[-1]), np.nan)
    for start, stop, (_, part) in zip(edges, edges[1:], parts):
        if part is None:
            continue
        rows = part["signal"]
        if part["sampling_rate"] != rate:
            rows = resample(rows, part["sampling_rate"], rate, stop - start)
        for name, row in zip(part["lead_names"], rows):
            signal[names.index(name), start : min(stop, start + len(row))] = row[: stop - start]
    return {"signal": signal, "sampling_rate": rate, "lead_names": names, "units": "mV"}


def checked_header(wfdb: ModuleType, header: Path, is_segment: bool = False) -> Any:
    """Returns the parsed header, whose claims fit the plain files beside it.

    Raises: `FileNotFoundError` for a file that is not there, `ValueError` for claims that cannot be.
    """
    if header.stat().st_size > MAX_HEADER_BYTES:
        raise ValueError(f"{header} has {header.stat().st_size} bytes; no WFDB header is that large.")
    try:
        parsed = wfdb.rdheader(str(header.with_suffix("")))
    except Exception as error:
        raise ValueError(f"{header} is no WFDB header that can be read ({error}).") from error
    segments = getattr(parsed, "seg_name", None)
    names = list(dict.fromkeys(name for name in segments or parsed.file_name or [] if name and name != "~"))
    for name in names:
        if Path(name).name != name or name in ("..", ".") or "\\" in name:
            raise ValueError(
                f"{header} names {name!r}; only files beside the header are read, so a name holds no path."
            )
    per_frame = max([number or 1 for number in getattr(parsed, "samps_per_frame", None) or [1]])
    claimed = int(parsed.sig_len or 0) * int(parsed.n_sig or 0) * per_frame
    if not 0 <= claimed <= MAX_VALUES:
        raise ValueError(
            f"{header} claims {claimed} values; at most {MAX_VALUES} are read at a time. Cut the recording into parts."
        )
    if not (parsed.fs is None or MIN_RATE <= parsed.fs * per_frame <= MAX_RATE):
        raise ValueError(
            f"{header}: a sampling rate of {parsed.fs * per_frame:g} Hz cannot be; expected {MIN_RATE} to {MAX_RATE} Hz."
        )
    if segments is not None:
        check_segments(wfdb, header, parsed, names, is_segment)
    else:
        check_files(header, names, claimed)
    return parsed


def check_segments(wfdb: ModuleType, header: Path, parsed: Any, names: list[str], is_segment: bool) -> None:
    """Raises what `checked_header` does for the segments that a header names."""
    if not all(0 <= length <= MAX_VALUES for length in parsed.seg_len):
        raise ValueError(
            f"{header} claims segments of {max(parsed.seg_len)} samples; at most {MAX_VALUES} are read at a time."
        )
    if is_segment:
        raise ValueError(f"{header} is a segment that has segments itself, which WFDB does not allow.")
    for name in names:
        if not (header.parent / f"{name}.hea").exists():
            raise FileNotFoundError(
                f"{header} names the segment {name}, which is not beside it; copy its files there as well."
            )
        checked_header(wfdb, header.parent / f"{name}.hea", is_segment=True)


def check_files(header: Path, names: list[str], claimed: int) -> None:
    """Raises what `checked_header` does for the signal files that a header names."""
    for name in names:
        if not (header.parent / name).exists():
            raise FileNotFoundError(
                f"{header} names {name}, which is not beside it; copy the signal file there as well."
            )
    held = sum((header.parent / name).stat().st_size for name in names)
    if names and claimed > 16 * held:
        raise ValueError(
            f"{header} claims {claimed} values but its files hold {held} bytes; they are truncated or damaged."
        )


__all__ = ["read_wfdb"]
