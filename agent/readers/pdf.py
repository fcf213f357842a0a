"""PDF reports: text and vector traces back to numbers (extra: heartcare[pdf]).

drawings --polylines, straight lines-->  traces | grid, calibration pulses
grid or pulse  -->  points per mm;  words  -->  lead labels, mm/s, mm/mV, patient, measurements, statements
trace + label  -->  one lead over its stretch of time, in mV
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...ecg_heartcare import LEADS, MAX_VALUES, parse_age, parse_sex, pseudonym
from ..lexicon import find_statements

MAX_BYTES, MAX_PAGES, MAX_POINTS = 2**26, 50, 2_000_000
POINTS_PER_MM = 72 / 25.4
RATES = (100, 125, 128, 200, 240, 250, 256, 300, 360, 400, 500, 512, 600, 720, 800, 1000, 2000)
MIN_TRACE_POINTS = 60

PATIENT = {
    "age": re.compile(r"\b(?:age|alter)\s*:?\s*(\d{1,3})|\b(\d{1,3})\s*(?:years?(?: old)?|yrs?|jahre)\b", re.I),
    "sex": re.compile(r"\b(?:sex|gender|geschlecht)\s*:?\s*(\w+)|\b(male|female|männlich|weiblich)\b", re.I),
    "patient_id": re.compile(r"\b(?:patient(?:en)?[ -]?(?:id|nr\.?)|pid|id)\s*:\s*(\S+)", re.I),
}
MEASUREMENTS = {
    "heart_rate": re.compile(r"\b(?:vent(?:ricular)?\.? rate|heart rate|hr|hf|herzfrequenz)\s*:?\s*(\d{2,3})\b", re.I),
    "pr_interval": re.compile(r"\b(?:pr|pq)(?:[- ]?(?:int(?:erval|\.)?|zeit))?\s*:?\s*(\d{2,3})\s*ms", re.I),
    "qrs_duration": re.compile(r"\bqrs(?:d|[- ]?(?:dur(?:ation|\.)?|dauer))?\s*:?\s*(\d{2,3})\s*ms", re.I),
    "qt_interval": re.compile(r"\bqt(?:[- ]?(?:int(?:erval)?|zeit))?\s*(?:/\s*qtc\w*)?\s*:?\s*(\d{3})\b", re.I),
    "qtc_bazett": re.compile(r"\bqtc\w*\s*:?\s*(?:\d{3}\s*/\s*)?(\d{3})\b", re.I),
}
SPEED, GAIN = re.compile(r"(\d+(?:[.,]\d+)?)\s*mm\s*/\s*s", re.I), re.compile(r"(\d+(?:[.,]\d+)?)\s*mm\s*/\s*mV", re.I)


@dataclass
class Trace:
    """A polyline in page points (y down) that runs from left to right."""

    x: np.ndarray
    y: np.ndarray

    @property
    def width(self) -> float:
        return float(self.x[-1] - self.x[0])


def read_pdf(path: Path) -> dict:
    """The first page of a PDF report that holds an ECG in vector graphics, in any layout whose leads are labelled.

    Raises: `ImportError` without the extra; `ValueError` for encrypted and damaged files, scans, and pages that cannot
        be calibrated.
    """
    try:
        import pymupdf
    except ImportError as error:
        raise ImportError(f"Reading {path.name} needs PyMuPDF: pip install heartcare[pdf]") from error
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size} bytes; PDF reports are read up to {MAX_BYTES} bytes.")
    pymupdf.TOOLS.mupdf_display_errors(False)
    pymupdf.TOOLS.mupdf_display_warnings(False)
    problem = "it has no page."
    try:
        with pymupdf.open(str(path), filetype="pdf") as document:
            if document.needs_pass:
                raise ValueError("it is protected by a password; save it without one.")
            for number in range(min(len(document), MAX_PAGES)):
                page = document[number]
                content = page.get_text("words"), page.get_text(sort=True), page.get_drawings(), bool(page.get_images())
                try:
                    return read_page(*content, f"page {number + 1}")
                except ValueError as error:
                    problem = problem if number else error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:  # MuPDF raises many kinds of errors on damaged files
        raise ValueError(f"{path} is no PDF that can be read, it may be damaged ({error}).") from error
    raise ValueError(f"{path}: {problem}")


def read_page(words: list, text: str, drawings: list, has_picture: bool, where: str) -> dict:
    """One page, as PyMuPDF gives its words, text and drawings, to a record. Raises `ValueError` if there is no ECG on
    it.
    """
    traces, pulses, grid = find_lines(drawings)
    if not traces:
        if has_picture:
            raise ValueError(
                f'{where} is a scan: a picture without vector traces. Give the picture to the processor as {{"type": "image", ...}}.'
            )
        raise ValueError(f"{where} holds no vector traces of an ECG.")
    labels = [(word[4], (word[0] + word[2]) / 2, (word[1] + word[3]) / 2) for word in words if word[4] in LEADS]
    if not labels:
        raise ValueError(
            f"{where} has traces but none of the labels {' '.join(LEADS)}, so that the leads cannot be told apart."
        )
    speed, gain = _number(SPEED, text), _number(GAIN, text)
    provenance = [f"{where}: {len(traces)} vector traces"]
    for value, what, standard in ((speed, "speed", "25 mm/s"), (gain, "gain", "10 mm/mV")):
        if value is None:
            provenance.append(f"took the standard {what} {standard}, since the report does not say")
    speed, gain = speed or 25.0, gain or 10.0
    points, how = calibrate(grid, pulses, gain)
    provenance.append(f"calibrated by {how}: {points:.4f} points per mm")

    rows = group_rows(traces, points)
    left = min(trace.x[0] for trace in traces)
    total = max(trace.x[-1] for trace in traces) - left
    step = np.median(np.concatenate([np.diff(trace.x) for trace in traces])) / points / speed
    rate = min(RATES, key=lambda standard: abs(standard * step - 1))
    if abs(rate * step - 1) > 0.02:
        provenance.append(f"interpolated to 500 Hz from points {1000 * step:.3g} ms apart")
        rate = 500
    samples = round(total / points / speed * rate) + 1
    if samples * len(LEADS) > MAX_VALUES or samples > 1e6:
        raise ValueError(f"{where}: traces of {total / points / speed:.0f} s cannot be.")
    signal, strips = np.full((len(LEADS), samples), np.nan), []
    levels = [float(np.median([np.median(trace.y) for trace in row])) for row in rows]
    for own, row in enumerate(rows):
        zero, how = zero_level(row, pulses, points)
        for lead, trace in name_traces(row, labels, levels, own, points):
            time = (trace.x - left) / points / speed
            mv = (zero(trace) - trace.y) / points / gain
            strips.append((trace.width, LEADS.index(lead), time, mv))
        provenance.append(f"row of {len(row)} traces: zero level by {how}")
    # The longest stretch of a lead last, so that a rhythm strip stands over the lead's short stretch.
    for _, i, time, mv in sorted(strips, key=lambda strip: strip[:2]):
        at = np.arange(int(np.ceil(time[0] * rate - 0.5)), min(samples, int(np.floor(time[-1] * rate + 0.5)) + 1))
        signal[i, at] = np.interp(at / rate, time, mv)
    keep = [i for i in range(len(LEADS)) if np.isfinite(signal[i]).any()]
    if not keep:
        raise ValueError(f"{where}: no trace stands with any of the lead labels.")
    found = {
        key: next((group for group in match.groups() if group), None) if (match := p.search(text)) else None
        for key, p in PATIENT.items()
    }
    report = " ".join(line.strip(" .") + "." for line in text.splitlines() if _is_statement(line))
    return {
        "signal": signal[keep],
        "units": "mV",
        "sampling_rate": rate,
        "lead_names": tuple(LEADS[i] for i in keep),
        "age": parse_age(found["age"]),
        "sex": parse_sex(found["sex"]),
        "patient_id": pseudonym(found["patient_id"]),
        "report": report,
        "measurements": {key: float(match[1]) for key, p in MEASUREMENTS.items() if (match := p.search(text))},
        "notes": tuple(provenance),
    }


def find_lines(drawings: list) -> tuple[list[Trace], list[np.ndarray], dict[str, np.ndarray]]:
    """Drawings -> the traces, the calibration pulses (corners, (n, 2)), and the places of straight grid lines, "x" and
    "y".
    """
    chains, straight, count = [], {"x": [], "y": []}, 0
    chain: list[tuple[float, float]] = []
    for drawing in drawings:
        if "s" not in (drawing.get("type") or ""):
            for item in drawing["items"]:
                if item[0] == "re":  # grid lines may be thin filled boxes
                    box = item[1]
                    if box.width < 1.5 < box.height:
                        straight["x"].append((box.x0 + box.x1) / 2)
                    elif box.height < 1.5 < box.width:
                        straight["y"].append((box.y0 + box.y1) / 2)
            continue
        for item in drawing["items"]:
            if item[0] != "l":
                continue
            (x0, y0), (x1, y1) = item[1], item[2]
            count += 1
            if count > MAX_POINTS:
                raise ValueError(f"more than {MAX_POINTS} line segments on one page, which no ECG has")
            if not all(map(np.isfinite, (x0, y0, x1, y1))):
                raise ValueError("a line of the page has coordinates that are no numbers")
            if chain and abs(chain[-1][0] - x0) < 0.02 and abs(chain[-1][1] - y0) < 0.02:
                chain.append((x1, y1))
            else:
                chains.append(chain)
                chain = [(x0, y0), (x1, y1)]
    chains.append(chain)
    traces, pulses = [], []
    for chain in chains:
        line = np.array(chain, np.float64).reshape(-1, 2)
        if len(line) == 2 or len(line) == 3 and np.allclose(line[0], line[2]):
            (x0, y0), (x1, y1) = line[:2]
            if abs(x1 - x0) < 0.05 < abs(y1 - y0):
                straight["x"].append(x0)
            elif abs(y1 - y0) < 0.05 < abs(x1 - x0):
                straight["y"].append(y0)
        elif len(line) >= MIN_TRACE_POINTS and np.mean(np.diff(line[:, 0]) >= -1e-3) > 0.99:
            keep = np.concatenate([[True], np.diff(np.maximum.accumulate(line[:, 0])) > 1e-4])
            if keep.sum() >= MIN_TRACE_POINTS:
                traces.append(Trace(line[keep, 0], line[keep, 1]))
        elif 4 <= len(line) <= 8 and is_pulse(line):
            pulses.append(line)
    return traces, pulses, {axis: np.unique(np.round(places, 3)) for axis, places in straight.items()}


def is_pulse(line: np.ndarray) -> bool:
    """Whether a polyline goes along two levels only, by upright and level strokes, like a calibration pulse."""
    steps = np.abs(np.diff(line, axis=0))
    return bool(np.all(steps.min(axis=1) < 0.05)) and len(np.unique(np.round(line[:, 1], 1))) == 2


def calibrate(grid: dict[str, np.ndarray], pulses: list[np.ndarray], gain: float) -> tuple[float, str]:
    """Points per mm, by the grid's spacing, else by the height of the calibration pulse (1 mV), and which of the two it
    was.

    Raises: `ValueError` when there is neither, or when they disagree by more than a tenth.
    """
    by_grid = None
    for places in grid.values():
        gaps = np.diff(places)
        gaps = gaps[gaps > 0.5]
        if len(gaps) >= 8:
            unit = float(np.median(gaps))
            near = gaps[np.abs(gaps - unit) < 0.1 * unit]
            spacing = float(near.mean())
            # A printed millimetre is 2.83 points; pages are scaled, but a box of 5 mm is not taken for one of 1 mm.
            by_grid = spacing / 5 if spacing > 2.5 * POINTS_PER_MM else spacing
            break
    by_pulse = None
    if pulses:
        by_pulse = float(np.median([np.ptp(pulse[:, 1]) for pulse in pulses])) / gain
    if by_grid is None and by_pulse is None:
        raise ValueError("there is neither a grid nor a calibration pulse, so that the traces have no scale")
    if by_grid is not None and by_pulse is not None and not 0.9 < by_grid / by_pulse < 1.1:
        raise ValueError(
            f"the grid says {by_grid:.3f} points per mm and the calibration pulse {by_pulse:.3f}; the report contradicts itself"
        )
    return (by_pulse, "the calibration pulse") if by_grid is None else (by_grid, "the grid")


def group_rows(traces: list[Trace], points: float) -> list[list[Trace]]:
    """Traces of one row have their typical levels near each other and do not lie above one another."""
    rows: list[list[Trace]] = []
    for trace in sorted(traces, key=lambda trace: float(np.median(trace.y))):
        level = float(np.median(trace.y))
        for row in rows:
            apart = all(trace.x[0] >= other.x[-1] - points or trace.x[-1] <= other.x[0] + points for other in row)
            if apart and abs(level - float(np.median([np.median(other.y) for other in row]))) < 10 * points:
                row.append(trace)
                break
        else:
            rows.append([trace])
    return [sorted(row, key=lambda trace: trace.x[0]) for row in rows]


def zero_level(row: list[Trace], pulses: list[np.ndarray], points: float):
    """A function trace -> the y of 0 mV, by the foot of the row's calibration pulse, else by each trace's median; and
    which it was.
    """
    level = float(np.median([np.median(trace.y) for trace in row]))
    feet = [float(pulse[:, 1].max()) for pulse in pulses]
    near = [foot for foot in feet if abs(foot - level) < 12 * points]
    if near:
        foot = min(near, key=lambda foot: abs(foot - level))
        return lambda trace: foot, "the calibration pulse"
    return lambda trace: float(np.median(trace.y)), "the median of each trace"


def name_traces(row: list[Trace], labels: list[tuple], levels: list[float], own: int, points: float):
    """(lead, trace) of the row `own` of all rows' `levels`. A label belongs to the row below it that is nearest; a
    trace with several labels is cut into equal parts.
    """
    named: list[list[tuple[str, float]]] = [[] for _ in row]
    for lead, x, y in labels:
        below = [i for i, level in enumerate(levels) if level > y - 2 * points]
        if not below or min(below, key=lambda i: levels[i]) != own:
            continue
        i = min(range(len(row)), key=lambda i: max(row[i].x[0] - x, x - row[i].x[-1], 0))
        if max(row[i].x[0] - x, x - row[i].x[-1]) < 15 * points:
            named[i].append((lead, x))
    for trace, here in zip(row, named):
        here.sort(key=lambda item: item[1])
        edges = np.linspace(trace.x[0], trace.x[-1], len(here) + 1)
        for (lead, _), start, stop in zip(here, edges, edges[1:]):
            part = (trace.x >= start - 1e-6) & (trace.x <= stop + 1e-6)
            if part.sum() >= 2:
                yield lead, Trace(trace.x[part], trace.y[part])


def _number(pattern: re.Pattern, text: str) -> float | None:
    match = pattern.search(text)
    value = float(match[1].replace(",", ".")) if match else 0.0
    return value if 1 <= value <= 200 else None


def _is_statement(line: str) -> bool:
    """Whether a line of text is a diagnostic one, and so nothing about the patient."""
    about_patient = PATIENT["patient_id"].search(line) or re.search(
        r"\b(?:name|born|geb\w*|dob|date|datum|dr\.|unconfirmed)\b", line, re.I
    )
    return not about_patient and not SPEED.search(line) and bool(find_statements(line))
