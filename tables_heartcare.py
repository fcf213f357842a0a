# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Tables of text, in the layouts of `DIALECTS`: first lines -> layout -> columns -> signal, sampling rate, leads,
units.

A table is read in blocks, so that its text is never in memory as a whole.
"""

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .ecg_heartcare import age_between, canonical_lead, parse_age, to_millivolts
from .files_heartcare import decode, encoding_of, open_regular
from .limits_heartcare import most_values

MAX_CSV_BYTES = 2**28
MAX_HEADER_BYTES = 2**16  # the lines before the numbers
MAX_LINE = 8192  # characters of a line
MAX_COLUMNS = 256
MAX_GAPS = 100  # times more missing samples than there are
HEADER_LINES = 40
BLOCK = 2**20  # characters that are parsed at a time
MISSING = ("", "-", "na", "n/a", "nan", "null", "none")
QUOTES = " \t'\""
BRACKETS = QUOTES + "()[]"

SECONDS = {
    **{"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3, "milliseconds": 1e-3},
    **{"us": 1e-6, "µs": 1e-6, "ns": 1e-9},
    **{"hh:mm:ss.mmm": 1.0, "h:mm:ss.mmm": 1.0, "mm:ss.mmm": 1.0, "m:ss.mmm": 1.0, "hh:mm:ss": 1.0, "mm:ss": 1.0},
}
TIME_COLUMNS = {  # name of a column of times -> its unit where no unit is given
    **{"time": "s", "t": "s", "seconds": "s", "time_s": "s", "elapsed time": "s", "elapsed_time": "s", "zeit": "s"},
    **{"time_ms": "ms", "timestamp": "s", "sensor timestamp": "ns", "phone timestamp": "s", "time and date": "s"},
}
# Names of columns that count the lines.
NUMBER_COLUMNS = ("", "#", "sample", "sample #", "samples", "sample number", "index", "unnamed: 0")
CLOCK = re.compile(r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2}(?:[.,]\d{1,9})?)")


class Layout(NamedTuple):
    """Layout of a table: number of lines before the numbers, separator of columns, and the columns' names and units."""

    skipped: int
    separator: str
    names: tuple[str, ...]
    units: tuple[str, ...]


@dataclass(frozen=True)
class Dialect:
    """A kind of table: its `name`, whether the first lines of a text are of this kind, and its reader."""

    name: str
    matches: Callable[[list[str]], bool]
    read: Callable[[Path], dict]


def read_table(path: Path, lead: str = "") -> dict:
    """Reads a table with a line of lead names, perhaps with units, "II (uV)", or with a second line of units.

    Columns are separated by commas, semicolons or tabs; names and times may be in quotes, as PhysioNet's export has
    them. A column of times gives the sampling rate: seconds, the unit in its name, or a clock. Samples that are missing
    between two times are NaN.

    Args:
        lead: Lead that a table of one signal is taken for unless the caller names it.

    Returns: attributes of an `ECG` and "units", as far as the file says them.

    Raises: `ValueError`.
    """
    layout = find_layout(path)
    times = [column for column, name in enumerate(layout.names) if name.lower() in TIME_COLUMNS]
    counts = [column for column, name in enumerate(layout.names) if name.lower() in NUMBER_COLUMNS]
    signals = [column for column in range(len(layout.names)) if column not in times + counts]
    if not signals:
        raise ValueError(f"{path}: the first line must name the leads (I, II, V1, ...), got {list(layout.names[:4])}.")
    signal, seconds = read_columns(path, layout, signals, times)
    content = {"signal": signal, "lead_names": [layout.names[column] for column in signals]}
    if unit := common_unit(path, content["lead_names"], [layout.units[column] for column in signals]):
        content["units"] = unit
    if times and len(seconds[0]) > 1:
        content |= placed_in_time(path, signal, seconds)
    if lead and len(signals) == 1 and canonical_lead(content["lead_names"][0]) is None:
        content["assumed"] = {"lead_names": [lead]}
        del content["lead_names"]
    return content


def find_layout(path: Path) -> Layout:
    """Finds the line of names in the first lines of a table, and the line of units below it.

    Raises: `ValueError` for a table without names, with too many columns, or with a line that is too long.
    """
    lines = first_lines(path)
    number = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), None)
    if number is None:
        raise ValueError(f"{path}: the first line must name the leads (I, II, V1, ...), got none.")
    separator = max(",;\t", key=lines[number].count)
    cells = split(lines[number], separator)
    if len(cells) > MAX_COLUMNS:
        raise ValueError(f"{path} has {len(cells)} columns; tables up to {MAX_COLUMNS} columns are read.")
    if all(is_number(cell) for cell in cells):
        raise ValueError(f"{path}: the first line must name the leads (I, II, V1, ...), got {cells[:4]}.")
    names, units = zip(*map(split_unit, cells))
    below = split(lines[number + 1], separator) if number + 1 < len(lines) else []
    if is_units(below, len(names)):
        return Layout(number + 2, separator, names, tuple(cell.strip(BRACKETS) for cell in below))
    return Layout(number + 1, separator, names, units)


def is_units(cells: list[str], count: int) -> bool:
    """Tells whether the cells below the names are their units."""
    stated = [cell.strip(BRACKETS) for cell in cells]
    return (
        len(cells) == count
        and not any(cell and is_number(cell) for cell in stated)
        and any(is_voltage(cell) or cell.lower() in SECONDS for cell in stated)
    )


def read_columns(
    path: Path, layout: Layout, signals: list[int], times: list[int]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Reads columns of a table -> signals, float32 (columns, lines), and times, each float64 (lines,) in seconds.

    Raises: `ValueError` for lines that are no numbers or of another number of columns than the header has.
    """
    blocks, held, stamps = [], 0, [[] for _ in times]
    converters = {column: as_seconds for column in times}
    for lines in blocks_of(path, layout.skipped):
        table = parse(path, lines, layout.separator, converters)
        if table.shape[1] != len(layout.names):
            raise ValueError(
                f"{path}: expected {len(layout.names)} numbers in each line, as the header has names, got "
                f"{table.shape}."
            )
        with np.errstate(over="ignore"):  # the constructor of `ECG` names what float32 cannot hold
            blocks.append(table[:, signals].T.astype(np.float32))
        for stamp, column in zip(stamps, times):
            unit = layout.units[column].lower() or TIME_COLUMNS[layout.names[column].lower()]
            stamp.append(table[:, column] * seconds_of(path, unit))
        if (held := held + blocks[-1].size) > most_values():
            raise ValueError(f"{path} holds more than {most_values()} values, the most that are read at a time.")
    if not blocks:
        raise ValueError(
            f"{path}: expected {len(layout.names)} numbers in each line, as the header has names, got no lines."
        )
    return np.concatenate(blocks, axis=1), [np.concatenate(stamp) for stamp in stamps]


def as_seconds(text: str) -> float:
    """Returns a time in seconds: of a number, of "m:ss.mmm" or "h:mm:ss.mmm", or of a date with a time.

    Raises: `ValueError`.
    """
    text = text.strip(BRACKETS)
    try:
        return float(text)
    except ValueError:
        clock = CLOCK.fullmatch(text.partition(" ")[0])
    if clock:
        hours, minutes, seconds = clock.groups("0")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds.replace(",", "."))
    date = datetime.fromisoformat(text)
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def seconds_of(path: Path, unit: str) -> float:
    """Returns the seconds of a unit of time.

    Raises: `ValueError` for an unknown one.
    """
    if unit not in SECONDS:
        raise ValueError(f"{path}: the times have the unit {unit!r}; expected s, ms, us, ns or hh:mm:ss.mmm.")
    return SECONDS[unit]


def common_unit(path: Path, names: list[str], units: list[str]) -> str:
    """Returns the unit of all leads, "" where the table says none. Units of other signals (mmHg) say nothing.

    Raises: `ValueError` for leads in several units.
    """
    stated = [unit for name, unit in zip(names, units) if unit and (is_voltage(unit) or canonical_lead(name))]
    stated = stated or [unit for unit in units if unit]
    if len({to_millivolts(1.0, unit) if is_voltage(unit) else unit for unit in stated}) > 1:
        raise ValueError(f"{path}: the header names several units {sorted(set(stated))}; give all leads in one.")
    return stated[0] if stated else ""


def placed_in_time(path: Path, signal: np.ndarray, columns: list[np.ndarray]) -> dict:
    """Gets the sampling rate from the times and puts NaN where samples are missing between them.

    Args:
        signal: (leads, lines).
        columns: Columns of times in seconds; the first that rises is taken.

    Returns: "sampling_rate", "signal" and "notes" of an `ECG`.

    Raises: `ValueError` where no column rises, or where far more samples are missing than there are.
    """
    steps = next((steps for steps in map(steps_of, columns) if np.median(steps) > 0 and steps.min() >= 0), None)
    if steps is None:
        raise ValueError(f"{path}: the times do not rise; expected seconds.")
    regular = steps[steps < 1.5 * np.median(steps) + 1e-12]
    rate = simplest_rate(regular)
    gap = 1.5 * max(np.median(steps), 1 / rate)
    places = np.cumsum(np.concatenate([[0], np.where(steps > gap, np.round(steps * rate), 1)]))
    length = int(places[-1]) + 1
    if length == signal.shape[1]:
        return {"sampling_rate": rate}
    if length > MAX_GAPS * signal.shape[1] or length * len(signal) > most_values():
        raise ValueError(
            f"{path}: the times claim {length} samples but there are {signal.shape[1]} lines; the times may be damaged."
        )
    placed = np.full((len(signal), length), np.nan, np.float32)
    placed[:, places.astype(np.int64)] = signal
    note = f"{length - signal.shape[1]} samples are missing between the times"
    return {"sampling_rate": rate, "signal": placed, "notes": (note,)}


def steps_of(seconds: np.ndarray) -> np.ndarray:
    """Returns the differences of times in seconds; a clock that passes midnight goes on."""
    steps = np.diff(seconds)
    steps[steps < -43_200] += 86_400
    return np.where(np.isfinite(steps), steps, -1.0)


def simplest_rate(steps: np.ndarray) -> float:
    """Returns the roundest sampling rate in Hz that agrees with the steps between times, which were rounded as well.

    The 360 Hz of steps of 2 and 3 ms are 360 Hz, not 333.
    """
    total, spread = float(steps.sum()), float(steps.max() - steps.min())
    low, high = len(steps) / (total + spread), len(steps) / max(total - spread, total / 2)
    rounded = (round(len(steps) / total, digits) for digits in range(7))
    return next((rate for rate in rounded if low * (1 - 1e-6) <= rate <= high * (1 + 1e-6)), len(steps) / total)


# Names of the keys of Apple Health's export and of similar ones, in English, German, French, Spanish and Italian.
KEYS = {
    key: role
    for role, keys in {
        "sampling_rate": "sample rate, sampling rate, sampling frequency, abtastrate, messrate, samplingrate, "
        "fréquence d’échantillonnage, fréquence d'échantillonnage, frecuencia de muestreo, frequenza di campionamento",
        "lead": "lead, ableitung, dérivation, derivación, derivazione",
        "units": "unit, units, einheit, unité, unidad, unità",
        "birth": "date of birth, birth date, geburtsdatum, date de naissance, fecha de nacimiento, data di nascita",
        "recorded": "recorded date, recording date, aufzeichnungsdatum, aufnahmedatum, aufgezeichnet am, "
        "date d’enregistrement, date d'enregistrement, fecha de registro, data di registrazione",
        "report": "classification, klassifizierung, klassifikation, clasificación, classificazione",
    }.items()
    for key in keys.split(", ")
}


def read_key_lines(path: Path) -> dict:
    """Reads lines of keys ("Sample Rate,512 hertz", "Lead,Lead I", "Unit,µV") with one value in each line below them,
    as Apple Health exports the ECG of a watch.

    Only the age at the recording is kept of the person, and neither the name nor the date of birth.

    Returns: attributes of an `ECG` and "units", as far as the file says them.

    Raises: `ValueError`.
    """
    keys, skipped = find_keys(first_lines(path))
    blocks = []
    for lines in blocks_of(path, skipped):
        values = [line.strip(QUOTES + ",;").replace(",", ".").replace("\N{MINUS SIGN}", "-") for line in lines]
        table = parse(path, [value or "nan" for value in values], ";", {})
        if table.shape[1] != 1:
            raise ValueError(f"{path}: expected one value in each line, got {lines[0][:40]!r}.")
        with np.errstate(over="ignore"):
            blocks.append(table.T.astype(np.float32))
    if not blocks:
        raise ValueError(f"{path}: there are no values below its keys.")
    lead = keys.get("lead", "ecg")
    content = {"signal": np.concatenate(blocks, axis=1), "report": keys.get("report", "")}
    content["lead_names"] = [next((name for name in (lead, lead.split()[-1]) if canonical_lead(name)), lead)]
    if rate := re.match(r"\d{1,6}(?:[.,]\d{1,9})?", keys.get("sampling_rate", "")):
        content["sampling_rate"] = float(rate[0].replace(",", "."))
    if "units" in keys:
        content["units"] = keys["units"]
    content["age"] = parse_age(age_between(keys.get("birth", ""), keys.get("recorded", "")))
    return content


def find_keys(lines: list[str]) -> tuple[dict[str, str], int]:
    """Finds the known keys in the lines before the first number -> {role: value}, and the number of these lines.

    A rate and a unit are known by their value as well, for the languages that `KEYS` lacks.
    """
    roles: dict[str, str] = {}
    for number, line in enumerate(lines):
        text = line.strip(QUOTES + ",;")
        if text and is_number(text):
            return roles, number
        key, _, value = text.partition(min((mark for mark in ",;\t" if mark in text), key=text.index, default=","))
        value = value.strip(QUOTES)
        role = KEYS.get(key.strip(QUOTES).lower())
        if role is None and value.lower().endswith(("hertz", " hz")):
            role = "sampling_rate"
        elif role is None and is_voltage(value):
            role = "units"
        if role and value:
            roles.setdefault(role, value)
    return roles, len(lines)


def has_keys(lines: list[str]) -> bool:
    """Tells whether the first lines are keys that say the sampling rate, and the lead or the unit."""
    roles, _ = find_keys(lines)
    return "sampling_rate" in roles and bool({"lead", "units"} & set(roles))


def is_polar(lines: list[str]) -> bool:
    """Tells whether a table is the ECG of a chest strap as Polar's sensors stream it: times; ecg [uV]."""
    return ";" in lines[0] and "timestamp" in lines[0].lower() and split(lines[0].lower(), ";")[-1] == "ecg [uv]"


def is_table(lines: list[str]) -> bool:
    """Tells whether a text has columns, a separator in its first line, or is one lead, a name above numbers."""
    filled = [line for line in lines if line.strip() and not line.startswith("#")][:3]
    if not filled or filled[0].startswith(("<", "{", "[")):
        return False
    if any(mark in filled[0] for mark in ",;\t"):
        return True
    return bool(canonical_lead(split_unit(filled[0].strip(QUOTES))[0])) and any(map(is_number, filled[1:]))


def first_lines(path: Path) -> list[str]:
    """Returns the lines at the beginning of a text.

    Raises: `ValueError` for a file that is too large, is no text, or has a line of more than `MAX_LINE` characters.
    """
    with open_regular(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        start = file.read(MAX_HEADER_BYTES)
    if size > MAX_CSV_BYTES:
        raise ValueError(f"{path} has {size} bytes; tables up to {MAX_CSV_BYTES} bytes are read, larger ones as .npy.")
    if encoding_of(start) is None:
        raise ValueError(f"{path} is no text.")
    lines = decode(start).splitlines()
    check_lines(path, lines[:HEADER_LINES])
    return lines[:HEADER_LINES]


def blocks_of(path: Path, skipped: int) -> Iterator[list[str]]:
    """Yields the lines of a table after its header, some at a time; empty lines are left out.

    Raises: `ValueError` for a line of more than `MAX_LINE` characters.
    """
    with open_regular(path) as file:
        encoding = encoding_of(file.read(MAX_HEADER_BYTES))
    rest, number = "", -skipped
    with io.TextIOWrapper(open_regular(path), encoding=encoding, errors="replace") as file:
        while text := file.read(BLOCK):
            if not rest and number == -skipped:
                text = text.lstrip("\ufeff \r\n\t")  # as `first_lines` does
            lines = (rest + text).splitlines()
            rest = "" if text.endswith("\n") else lines.pop() if lines else ""
            check_lines(path, [*lines, rest])
            start = max(0, -number)
            number += len(lines)
            if filled := [line for line in lines[start:] if line.strip()]:
                yield filled
    if rest.strip() and number >= 0:
        yield [rest]


def check_lines(path: Path, lines: list[str]) -> None:
    """Raises `ValueError` for a line that is longer than any table of ECGs has."""
    if (longest := max(map(len, lines), default=0)) > MAX_LINE:
        raise ValueError(
            f"{path} has a line of {longest} or more characters; lines of a table have at most {MAX_LINE}. The first "
            "line names the leads, each further line has one sample of each."
        )


def parse(path: Path, lines: list[str], separator: str, converters: dict[int, Callable[[str], float]]) -> np.ndarray:
    """Parses lines of numbers, some of them missing (NaN) -> float64 (lines, columns).

    Raises: `ValueError`.
    """
    if separator != ",":
        lines = [line.replace(",", ".") for line in lines]
    read = partial(np.loadtxt, lines, delimiter=separator, ndmin=2, comments=None, quotechar='"', encoding=None)
    try:
        return read(converters=converters or None)
    except ValueError:
        pass  # some values are missing
    count = lines[0].count(separator) + 1
    try:
        return read(converters={column: converters.get(column, as_number) for column in range(count)})
    except ValueError as error:
        raise ValueError(f"{path}: lines of differing length, or something that is no number ({error}).") from error


def split(line: str, separator: str) -> list[str]:
    """Splits a line of a header; quotes around the cells are left out."""
    return [cell.strip(QUOTES) for cell in line.split(separator)]


def split_unit(name: str) -> tuple[str, str]:
    """Splits "II (uV)" or "ecg [uV]" into the name and the unit, which is "" where there is none."""
    for opening, closing in ("()", "[]"):
        head, bracket, unit = name.rpartition(opening)
        if bracket and unit.endswith(closing):
            return head.strip(), unit[:-1].strip()
    return name, ""


def is_number(text: str) -> bool:
    """Tells whether a cell is a number or a missing value."""
    try:
        as_number(text.replace(",", "."))
    except ValueError:
        return False
    return True


def as_number(text: str) -> float:
    """Returns the number in a cell, NaN where it is missing.

    Raises: `ValueError`.
    """
    text = text.strip(QUOTES)
    if "_" in text:  # Python takes it for a separator of thousands
        raise ValueError(f"{text!r} is no number")
    return float("nan") if text.lower() in MISSING else float(text)


def is_voltage(unit: str) -> bool:
    """Tells whether a unit is one that `to_millivolts` knows."""
    try:
        to_millivolts(1.0, unit)
    except ValueError:
        return False
    return True


# They are tried in this order. The strap of a Polar sensor lies across the chest, so its signal is close to lead I.
DIALECTS = (
    Dialect("apple-health", has_keys, read_key_lines),
    Dialect("polar", is_polar, partial(read_table, lead="I")),
    Dialect("csv", is_table, read_table),
)


__all__ = ["DIALECTS", "HEADER_LINES"]
