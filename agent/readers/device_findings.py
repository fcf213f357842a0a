"""Collects the device's own findings: measurements under one naming, and statements without the names of people.

parsed file --device_measurements--> {"heart_rate": 72.0, "qtc": 421.0, ...}, notes
            --device_statements----> report, statements before an expert's change, notes
"""

import re
from collections.abc import Iterator
from typing import Any

from ...privacy_heartcare import LEFT_OUT, redact
from ..lexicon import find_statements
from ..statements import STATEMENTS

# Names of `ECG.measurements` -> the range of values that can be. Rates are in bpm, axes in degrees, all else in ms.
# Devices write numbers outside, such as 0, 999, 29999 and 65535, for what they did not measure.
POSSIBLE = {
    "heart_rate": (10, 400),
    "rr_interval": (100, 6000),
    "pr_interval": (20, 1000),
    "p_duration": (10, 400),
    "qrs_duration": (10, 400),
    "qt_interval": (100, 1200),
    "qtc": (100, 1200),
    "qtc_bazett": (100, 1200),
    "qtc_fridericia": (100, 1200),
    "p_axis": (-180, 360),
    "qrs_axis": (-180, 360),
    "t_axis": (-180, 360),
}

# Names in the files, in small letters and without other signs -> names of `ECG.measurements`. They stand in the file
# where ecgdatakit has no field for them, or only in another spelling.
SPELLINGS = {
    "heart_rate": ("heartrate", "ventricularrate", "ventrate", "meanventrate", "mdcecgheartrate"),
    "rr_interval": ("rrinterval", "rrintervalglobal", "rrint", "meanrrint", "mdcecgtimepdrr"),
    "pr_interval": ("printerval", "printervalglobal", "pqinterval", "print", "mdcecgtimepdpr", "mdcecgtimepdpq"),
    "p_duration": (
        "pduration", "pdurationglobal", "pwaveduration", "pdur", "meanpdur", "mdcecgtimepdp", "mdcecgtimepdpgl",
    ),
    "qrs_duration": ("qrsduration", "qrsdurationglobal", "qrsinterval", "qrsdur", "mdcecgtimepdqrs"),
    "qt_interval": ("qtinterval", "qtintervalglobal", "qtint", "mdcecgtimepdqt"),
    "qtc": (
        "qtc", "qtcorrected", "qtcinterval", "qtcintervalglobal", "qtcint", "meanqtc", "meanqtcint", "mdcecgtimepdqtc",
        "mdcecgtimepdqtcgl",
    ),
    "qtc_bazett": ("qtcb", "qtcbazett", "qtcbazet", "mdcecgtimepdqtcb", "mdcecgtimepdqtcbgl"),
    "qtc_fridericia": (
        "qtcf", "qtcfridericia", "qtcfrederica", "qtcfredericia", "mdcecgtimepdqtcf", "mdcecgtimepdqtcfgl",
    ),
    "p_axis": ("paxis", "pfrontaxis", "meanpaxis", "mdcecganglepfront"),
    "qrs_axis": ("qrsaxis", "raxis", "qrsfrontaxis", "meanqrsaxis", "mdcecgangleqrsfront"),
    "t_axis": ("taxis", "tfrontaxis", "meantaxis", "mdcecgangletfront"),
}  # fmt: skip
NAMES = {spelling: name for name, spellings in SPELLINGS.items() for spelling in spellings}
FACTORS = {"": 1, "ms": 1, "msec": 1, "s": 1000, "us": 1e-3, "µs": 1e-3, "bpm": 1, "/min": 1, "deg": 1, "°": 1}
QUANTITY = re.compile(r"\s*([+-]?\d+(?:[.,]\d+)?)\s*([^\s(]*)\s*(?:\(.*\))?\s*")

# Name -> the boundaries of waves that it lies between, for files that state the boundaries alone (SCP-ECG, HL7 aECG).
BOUNDARIES = {
    "p_duration": ("p_onset", "p_offset"),
    "pr_interval": ("p_onset", "qrs_onset"),
    "qrs_duration": ("qrs_onset", "qrs_offset"),
    "qt_interval": ("qrs_onset", "t_offset"),
}


def device_measurements(parsed: Any) -> tuple[dict[str, float], list[str]]:
    """Collects what the device measured.

    Args:
        parsed: ECGRecord of ecgdatakit.

    Returns: the measurements, whose names are those of `POSSIBLE`, and notes on what was left out or calculated.
    """
    values, notes = {}, []
    for name, value in [*stated(parsed), *between_boundaries(parsed.annotations)]:
        low, high = POSSIBLE[name]
        if not low <= value <= high:
            notes.append(f"left out the device's {name} of {value:g}, which cannot be")
        else:
            values.setdefault(name, float(value))
    if "heart_rate" not in values and "rr_interval" in values:
        values["heart_rate"] = round(60_000 / values["rr_interval"], 1)
        notes.append("calculated the heart rate from the RR interval that the device states")
    return {name: values[name] for name in POSSIBLE if name in values}, list(dict.fromkeys(notes))


def stated(parsed: Any) -> Iterator[tuple[str, float]]:
    """Yields names and values that the file states as such, those with a field of their own first."""
    for name in POSSIBLE:
        if (value := getattr(parsed.measurements, name, None)) is not None:
            yield name, value
    further = parsed.raw_metadata.get("cross_lead_measurements") or {}
    for key, text in [*parsed.annotations.items(), *further.items()]:
        name = NAMES.get(re.sub(r"[^a-z]", "", key.lower()))
        quantity = QUANTITY.fullmatch(str(text))
        if name and quantity and quantity[2].lower() in FACTORS:
            yield name, float(quantity[1].replace(",", ".")) * FACTORS[quantity[2].lower()]


def between_boundaries(annotations: dict[str, str]) -> Iterator[tuple[str, float]]:
    """Yields the intervals between the wave boundaries, in ms, of the device's representative beat."""
    for name, edges in BOUNDARIES.items():
        texts = [annotations.get(f"median_{edge}_ms") for edge in edges]
        if None not in texts:
            start, stop = map(float, texts)
            yield name, round(stop - start, 3)


HIDDEN = "[name]"
NAMING_KEYS = re.compile(
    r"physician|clinician|middle_?name|second_last|phonetic|MD\w*(?:Name|ID)|investigator|performer|operator|^editor$|mrn|"
    r"uniquepatientid|SecondaryID",
    re.IGNORECASE,
)
GENERAL_WORDS = frozenset(
    ("ecg", "ekg", "tech", "technician", "unknown", "anonymous", "patient", "doctor", "none", "the")
)
MEDICAL_WORDS = frozenset(re.findall(r"[a-z]{3,}", " ".join(STATEMENTS.values()).lower()))


def device_statements(parsed: Any) -> tuple[str, str, list[str]]:
    """Joins the diagnostic statements of a file, word for word, without the people who are named in them.

    Args:
        parsed: ECGRecord of ecgdatakit.

    Returns: the report; the device's own report where an expert changed it, else ""; and notes.
    """
    lines = [
        " ".join(part for part in statement if part) if isinstance(statement, tuple) else str(statement)
        for statement in parsed.interpretation.statements
    ]
    own = parsed.annotations.get("machine_interpretation", "").replace(" | ", " ").splitlines()
    people, notes, reports = people_of(parsed), [], []
    for report in (lines, own):
        lines_alone = [line.strip(" .") for line in report]
        kept = [redact(line) for line in lines_alone]
        reports.append(". ".join(without_people(line, people) for line in kept if line))
        if kept != lines_alone:
            notes.append(LEFT_OUT)
    return reports[0], reports[1], list(dict.fromkeys(notes))


def people_of(parsed: Any) -> list[str]:
    """Returns the words that name the patient or others in the file, and the patient's number, the longest first."""
    texts = [parsed.patient.first_name, parsed.patient.last_name, parsed.patient.patient_id]
    texts += [parsed.recording.technician, parsed.recording.referring_physician, parsed.interpretation.interpreter]
    texts += list(named_in(parsed.raw_metadata))
    words = {word for text in texts for word in re.findall(r"[^\W_][\w'-]+", str(text or ""))}
    names = {
        word for word in words if len(word) >= 3 + word.isdigit() and word.lower() not in GENERAL_WORDS | MEDICAL_WORDS
    }
    return sorted(names, key=lambda word: (-len(word), word))


def named_in(metadata: dict) -> Iterator[str]:
    """Yields the texts of those entries whose keys say that they name somebody."""
    for key, value in metadata.items():
        if isinstance(value, dict):
            yield from named_in(value)
        elif isinstance(value, str) and NAMING_KEYS.search(key):
            yield value


def without_people(line: str, people: list[str]) -> str:
    """Hides the words that name people, but for medical ones, without which the line would mean something else."""
    for word in people:
        hidden = re.sub(rf"\b{re.escape(word)}\b", HIDDEN, line, flags=re.IGNORECASE)
        if hidden != line and find_statements(hidden) == find_statements(line):
            line = hidden
    return line


__all__ = ["device_measurements", "device_statements", "people_of", "without_people"]
