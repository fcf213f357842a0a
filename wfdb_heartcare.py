# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""WFDB records, of one or many segments: header -> signals in mV, lead names, and what its comments say of the patient.

Only regular files in the header's own folder are read, and a header that claims more than its files can hold is refused
before any of them is.
"""

import math
import re
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .cleaning_heartcare import resample
from .ecg_heartcare import MAX_RATE, MIN_RATE, canonical_lead, parse_age, parse_sex, to_millivolts
from .files_heartcare import beside, encoding_of, read_bytes
from .limits_heartcare import most_values
from .privacy_heartcare import REASON

MAX_HEADER_BYTES = 2**20
MAX_SIGNAL_LINE = 1024  # characters of a line of a header that is no comment
MAX_SKEW_SECONDS = 10  # longest skew between the signals of a frame
MAX_ADC = 2**32  # values of an analogue-digital converter: baselines, zeros
RECORD_FILES = (".hea", ".dat", ".mat")
DEFAULT_GAIN = 200  # units of the converter per physical unit where a header has no gain (WFDB's header(5))
SAMPLES_AT_ONCE = 2**18  # of each lead; a day of three leads would take several times its size in float64
NOT_RECORDED = -32768  # WFDB's mark in 16-bit files of a sample that was not recorded


def read_wfdb(path: Path) -> dict:
    """Reads a WFDB record, named with or without its .hea, .dat or .mat; NaN where nothing was recorded.

    Leads of differing rates all get the fastest one.

    Returns: attributes of an `ECG` and "units".

    Raises: `FileNotFoundError`, `ImportError`, and `ValueError` for headers and signals that are damaged, claim too
        much, or name files elsewhere.
    """
    content, comments = read_signals(path)
    return content | read_comments(comments)


def read_comments(comments: list[str]) -> dict:
    """Reads the comments of a header, "Age: 63", "Sex: F", "Dx: 426783006" or free text -> attributes of an `ECG`.

    Codes of SNOMED CT, as the PhysioNet challenges give them, become the column "dx". The reason for admission is no
    report of the ECG, and becomes a column as well.
    """
    content: dict = {"columns": {}, "report": ""}
    for key, value in (pair for comment in comments for pair in fields_of(comment)):
        if key == "age":
            content["age"] = parse_age(value)
        elif key in ("sex", "gender"):
            content["sex"] = parse_sex(value)
        elif key == "reason for admission":
            content["columns"][REASON] = f"{content['columns'].get(REASON, '')} {value}.".strip()
        elif key in ("dx", "diagnosis", "diagnose", "diagnoses", "report", "comment"):
            if re.fullmatch(r"[\d\s,;]*\d{6}[\d\s,;]*", value):
                codes = re.findall(r"\d{6,}", value)
                content["columns"]["dx"] = ",".join([*filter(None, [content["columns"].get("dx")]), *codes])
            else:
                content["report"] = f"{content['report']} {value}.".strip()
    return content


# A key of a comment with several of them: "Age: 61 Sex: M", "<age>: 65  <sex>: F  <diagnoses> CAD".
COMMENT_KEY = re.compile(r"(?:^|(?<=\s))(?:<(\w{1,30})>:?|(age|sex|gender|dx)\s?:)", re.IGNORECASE)


def fields_of(comment: str) -> list[tuple[str, str]]:
    """Splits a comment of a header into pairs of a key in lower case and a value; an empty list without a key."""
    keys = list(COMMENT_KEY.finditer(comment))
    if keys and keys[0].start() == 0:
        ends = [key.start() for key in keys[1:]] + [len(comment)]
        return [((key[1] or key[2]).lower(), comment[key.end() : end].strip(" \t,;")) for key, end in zip(keys, ends)]
    key, colon, value = (part.strip() for part in comment.partition(":"))
    return [(key.lower().lstrip("<# "), value.rstrip("> "))] if colon else []


def read_signals(path: Path) -> tuple[dict, list[str]]:
    """Reads the signals of a record -> the attributes "signal" (leads, samples), "sampling_rate", "lead_names",
    "units", "notes" and "warnings" of an `ECG`, and the comments of the header.
    """
    try:
        import wfdb
    except ImportError as error:
        raise ImportError("Reading WFDB records needs the wfdb package: pip install wfdb") from error
    record = path.with_suffix("") if path.suffix.lower() in RECORD_FILES else path
    header = record.with_name(record.name + ".hea")
    if not header.exists():
        raise FileNotFoundError(f"{header} does not exist; a WFDB record is a .hea file with its .dat files beside it.")
    lines, comments = read_header(header)
    if (plain := read_plain_wfdb(header, lines)) is not None:
        return plain, comments
    parsed = checked_header(wfdb, header)
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
    names = [name or f"signal {number}" for number, name in enumerate(read.sig_name)]
    content = at_one_rate(header, names, read.units, signals, rates)
    if missing := uncalibrated(lines, content["lead_names"]):
        note = f"took WFDB's default gain of {DEFAULT_GAIN} for {', '.join(missing)}, since the header says none"
        content["notes"] += (note,)
        content["warnings"] = tuple(f"gain_assumed_{DEFAULT_GAIN}:{name}" for name in missing)
    return content, comments


def uncalibrated(lines: list[str], names: list[str]) -> list[str]:
    """Returns the names of those signals for which a header has no gain, or the gain 0, which means the same.

    Args:
        lines: Lines of the header without comments; those of the signals stand below the first.
    """
    gains = [(line.split() + ["0", "0"])[2] for line in lines[1:]]
    return [name for name, gain in zip(names, gains) if re.match(r"[+-]?0*\.?0*(?:e[+-]?\d+)?(?![\d.])", gain)]


def at_one_rate(
    source: Path, names: list[str], units: list[str], signals: list[np.ndarray], rates: list[float]
) -> dict:
    """Brings all signals to the rate of the fastest lead, and to mV where the leads have several units.

    Returns: "signal" (leads, samples), NaN behind the end of shorter ones, "sampling_rate", "lead_names", "units" and
        "notes" of an `ECG`, which say both changes.

    Raises: `ValueError` for a lead in unknown units.
    """
    is_lead = [canonical_lead(name) is not None for name in names]
    fastest = max([rate for rate, lead in zip(rates, is_lead) if lead] or rates)
    length = max(len(signal) for signal, rate in zip(signals, rates) if rate == fastest)
    scales = [scale_of(source, name, unit, lead) for name, unit, lead in zip(names, units, is_lead)]
    stated = {scale for scale, lead in zip(scales, is_lead) if scale and (lead or not any(is_lead))}
    common = next((unit for unit, scale in zip(units, scales) if stated == {scale}), "mV")
    rows = np.full((len(names), length), np.nan)
    for row, signal, rate, scale in zip(rows, signals, rates, scales):
        if rate != fastest:
            signal = resample(signal[None], rate, fastest, length)[0]
        row[: len(signal)] = signal[:length] * (scale / to_millivolts(1.0, common) if scale else 1.0)
    content = {"signal": rows, "sampling_rate": fastest, "lead_names": list(names), "units": common}
    content["notes"] = padding_note([min(len(row), length) for row, rate in zip(signals, rates) if rate == fastest])
    if len(set(rates)) > 1:
        listed = ", ".join(f"{name} {rate:g} Hz" for name, rate in zip(names, rates))
        content["notes"] += (f"resampled to {fastest:g} Hz: {listed}",)
    return content


def padding_note(lengths: list[int]) -> tuple[str, ...]:
    """Returns the note that leads of these numbers of samples were made equally long; none where they were."""
    if len(set(lengths)) < 2:
        return ()
    return (f"put NaN behind the end of shorter leads, which have {min(lengths)} to {max(lengths)} samples",)


def scale_of(source: Path, name: str, unit: str, is_lead: bool) -> float | None:
    """Returns the mV of one unit of a signal; None for what is no voltage, such as a blood pressure, which the
    constructor of `ECG` leaves out by its name.

    Raises: `ValueError` for a lead in unknown units.
    """
    try:
        return to_millivolts(1.0, unit)
    except ValueError as error:
        if is_lead:
            raise ValueError(
                f"{source}: lead {name}: {error} Correct the header, or read the array and give units=."
            ) from error
        return None


WFDB_RECORD = re.compile(r"[\w.-]+ (\d{1,6}) (\d{1,6}(?:\.\d{1,9})?) (\d{1,10})(?: [\d:.]+(?: [\d/]+)?)?")
WFDB_SIGNAL = re.compile(
    r"([\w.-]+) 16(?:\+(\d{1,6}))? (\d{1,12}(?:\.\d{1,20})?(?:e[+-]?\d{1,2})?)(?:\((-?\d{1,9})\))?/(mV|uV)"
    r" 16 (-?\d{1,9}) -?\d+ -?\d+ 0 (\S+)"
)


def read_plain_wfdb(header: Path, lines: list[str]) -> dict | None:
    """Reads the common kind of WFDB record, one file of 16-bit samples in mV or uV, some ten times faster than wfdb
    does.

    Args:
        lines: Lines of the header, without comments.

    Returns: as `at_one_rate`; None for records of other kinds.
    """
    first, *rest = lines or [""]
    record, signals = WFDB_RECORD.fullmatch(first), [WFDB_SIGNAL.fullmatch(line) for line in rest]
    if not record or not signals or None in signals or int(record[1]) != len(signals):
        return None
    if len({match.group(1, 2, 5) for match in signals}) > 1:
        return None
    name, offset, unit = signals[0].group(1, 2, 5)
    gains = np.array([[float(match[3])] for match in signals])
    shape, offset = (int(record[3]), len(signals)), int(offset or 0)
    if not (gains > 0).all() or not 0 < math.prod(shape) <= most_values() or not 0 < float(record[2]) <= MAX_RATE:
        return None
    data = beside(header, name)
    if data.stat().st_size != offset + 2 * math.prod(shape):
        return None
    baselines = np.array([[int(match[4] or match[6])] for match in signals], np.float64)
    # An ECG is float32 mV. Other units stay float64, since they are scaled before they are rounded.
    signal = np.empty(shape[::-1], np.float32 if unit == "mV" else np.float64)
    with open(data, "rb") as file:
        file.seek(offset)
        for start in range(0, shape[0], SAMPLES_AT_ONCE):
            part = signal[:, start : start + SAMPLES_AT_ONCE]
            counts = np.fromfile(file, "<i2", part.size).reshape(-1, len(signals)).T
            part[:] = np.where(counts == NOT_RECORDED, np.nan, (counts - baselines) / gains)
    rate = float(record[2])
    rate = int(rate) if rate.is_integer() else rate
    return {"signal": signal, "sampling_rate": rate, "lead_names": [match[7] for match in signals], "units": unit}


def join_segments(header: Path, parsed: Any) -> dict:
    """Reads the segments of a record one after the other; NaN in gaps, and where a segment lacks a lead that another
    has.
    """
    segments = {
        name: in_millivolts(read_signals(header.parent / name)[0])
        for name, length in zip(parsed.seg_name, parsed.seg_len)
        if length and name != "~"
    }
    parts = [(length, segments.get(name)) for name, length in zip(parsed.seg_name, parsed.seg_len) if length]
    read = [part for _, part in parts if part]
    if not read:
        raise ValueError(f"{header}: the record holds no samples.")
    rate = max(part["sampling_rate"] for part in read)
    names = list(dict.fromkeys(name for part in read for name in part["lead_names"]))
    frames = np.concatenate([[0], np.cumsum([length for length, _ in parts])])
    edges = np.round(frames * rate / parsed.fs).astype(int)
    held = sum(part["signal"].shape[1] * rate / part["sampling_rate"] for part in read)
    if edges[-1] * len(names) > most_values() or edges[-1] > 100 * held:
        raise ValueError(
            f"{header} claims {edges[-1]} samples of {len(names)} leads, of which {held:.0f} are there; it may be "
            "damaged."
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
    content = {"signal": signal, "sampling_rate": rate, "lead_names": names, "units": "mV"}
    for kind in ("notes", "warnings"):
        content[kind] = tuple(dict.fromkeys(text for part in read for text in part.get(kind, ())))
    return content


def in_millivolts(content: dict) -> dict:
    """Returns what `read_signals` gives with its signal in mV."""
    return content | {"signal": to_millivolts(content["signal"], content["units"]), "units": "mV"}


def checked_header(wfdb: ModuleType, header: Path, is_segment: bool = False) -> Any:
    """Returns the parsed header, whose claims fit the plain files beside it.

    Raises: `FileNotFoundError` for a file that is not there, `ValueError` for claims that cannot be.
    """
    read_header(header)
    try:
        parsed = wfdb.rdheader(str(header.with_suffix("")))
    except Exception as error:
        raise ValueError(f"{header} is no WFDB header that can be read ({error}).") from error
    segments = getattr(parsed, "seg_name", None)
    names = list(dict.fromkeys(name for name in segments or parsed.file_name or [] if name and name != "~"))
    per_frame = max([number or 1 for number in getattr(parsed, "samps_per_frame", None) or [1]])
    claimed = int(parsed.sig_len or 0) * int(parsed.n_sig or 0) * per_frame
    if not 0 <= claimed <= most_values():
        raise ValueError(
            f"{header} claims {claimed} values; at most {most_values()} are read at a time. Cut the recording into "
            "parts."
        )
    if not (parsed.fs is None or MIN_RATE <= parsed.fs * per_frame <= MAX_RATE):
        raise ValueError(
            f"{header}: a sampling rate of {parsed.fs * per_frame:g} Hz cannot be; expected {MIN_RATE} to {MAX_RATE} "
            "Hz."
        )
    if segments is not None:
        check_segments(wfdb, header, parsed, names, is_segment)
    else:
        check_files(header, names, claimed)
        check_signals(header, parsed)
    return parsed


def check_segments(wfdb: ModuleType, header: Path, parsed: Any, names: list[str], is_segment: bool) -> None:
    """Raises what `checked_header` does for the segments that a header names."""
    if not all(0 <= length <= most_values() for length in parsed.seg_len):
        raise ValueError(
            f"{header} claims segments of {max(parsed.seg_len)} samples; at most {most_values()} are read at a time."
        )
    if is_segment:
        raise ValueError(f"{header} is a segment that has segments itself, which WFDB does not allow.")
    for name in names:
        beside(header, name if Path(name).name != name else f"{name}.hea")
        checked_header(wfdb, header.parent / f"{name}.hea", is_segment=True)


def check_files(header: Path, names: list[str], claimed: int) -> None:
    """Raises what `checked_header` does for the signal files that a header names."""
    held = sum(beside(header, name).stat().st_size for name in names)
    if not claimed and held > 2 * most_values():  # without a length in the header, the files are read to their ends
        raise ValueError(f"{header} names files of {held} bytes; at most {most_values()} values are read at a time.")
    if names and claimed > 16 * held:
        raise ValueError(
            f"{header} claims {claimed} values but its files hold {held} bytes; they are truncated or damaged."
        )


def check_signals(header: Path, parsed: Any) -> None:
    """Raises `ValueError` for numbers of a signal's line that no converter has, before arrays are made by them."""
    longest = MAX_SKEW_SECONDS * max(parsed.fs or MIN_RATE, MIN_RATE)
    limits = {
        "skew": longest,
        "byte_offset": MAX_HEADER_BYTES,
        "adc_gain": float("inf"),
        "baseline": MAX_ADC,
        "adc_zero": MAX_ADC,
        "adc_res": 64,
        "samps_per_frame": MAX_RATE,
    }
    for field, limit in limits.items():
        for value in getattr(parsed, field, None) or []:
            if value is not None and not abs(value) <= limit:
                raise ValueError(f"{header} has {field}={value:g}; expected at most {limit:g}.")
    for gain in parsed.adc_gain or []:
        if gain is not None and not (math.isfinite(gain) and gain):
            raise ValueError(f"{header} has adc_gain={gain:g}; expected a finite number that is not 0.")


def read_header(header: Path) -> tuple[list[str], list[str]]:
    """Reads a header -> its lines but empty ones, and the texts of its comments.

    Raises: `FileNotFoundError`, and `ValueError` for what is too long for a header.
    """
    content = read_bytes(header, MAX_HEADER_BYTES)
    text = content.decode(encoding_of(content) or "utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines()]
    comments = [line.strip(" \t#") for line in lines if line.startswith("#")]
    lines = [line for line in lines if line and not line.startswith("#")]
    if (longest := max(map(len, lines), default=0)) > MAX_SIGNAL_LINE:
        raise ValueError(f"{header} has a line of {longest} characters; a WFDB header has at most {MAX_SIGNAL_LINE}.")
    return lines, comments


__all__ = ["RECORD_FILES", "at_one_rate", "read_header", "read_plain_wfdb", "read_wfdb"]
