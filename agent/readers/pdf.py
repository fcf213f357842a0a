"""Reads PDF reports: text and vector traces back to numbers (extra: heartcare[pdf]).

drawings --polylines, straight lines-->  traces | grid, calibration pulses
grid or pulse  -->  points per mm;  words  -->  lead labels, mm/s, mm/mV, patient, measurements, statements
trace + label  -->  one lead over its stretch of time, in mV
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ecg_heartcare import LEADS, parse_age, parse_sex, pseudonym
from ...limits_heartcare import most_values
from .pdf_content import LIMITS, Amount, count_page
from .pdf_geometry import Lines, Trace, calibrate, find_lines, group_rows, measure_gain
from .pdf_labels import Label, Word, check_repeats, find_labels, name_rows, name_strips
from .pdf_text import find_cells, find_measurements, find_patient, find_report, find_scales

if TYPE_CHECKING:
    import pymupdf

MAX_BYTES, MAX_PAGES, MAX_SAMPLES = 2**26, 50, 1_000_000
MAX_WORDS, MAX_LETTERS = 2000, 60  # words of a page, letters of a word
MAX_LABELS, MAX_TRACES = 200, 200
RATES = (100, 125, 128, 200, 240, 250, 256, 300, 360, 400, 500, 512, 600, 720, 800, 1000, 2000)  # Hz
NO_TRACES = "holds no vector traces of an ECG"
RATE_TOLERANCE = 0.02
CHEST_LEADS = LEADS[6:]


def read_pdf(path: Path) -> dict[str, Any]:
    """Reads a PDF report that shows an ECG in vector graphics, in any layout with labelled leads, on one or more pages.

    Returns: the attributes of an `ECG`, and "units".

    Raises: `ImportError` without the extra; `ValueError` for encrypted and damaged files, scans, and pages that cannot
        be calibrated or whose labels cannot be told apart.
    """
    try:
        import pymupdf
    except ImportError as error:
        raise ImportError(f"Reading {path.name} needs PyMuPDF: pip install heartcare[pdf]") from error
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size} bytes; PDF reports are read up to {MAX_BYTES} bytes.")
    pymupdf.TOOLS.mupdf_display_errors(False)
    pymupdf.TOOLS.mupdf_display_warnings(False)
    try:
        with pymupdf.open(str(path), filetype="pdf") as document:
            if document.needs_pass:
                raise ValueError("it is protected by a password; save it without one.")
            return read_document(document)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:  # MuPDF raises many kinds of errors on damaged files
        raise ValueError(f"{path} is no PDF that can be read, it may be damaged ({error}).") from error


def read_document(document: "pymupdf.Document") -> dict[str, Any]:
    """Reads the first page that shows an ECG, and the pages after it that show its other leads.

    Raises: `ValueError` with what is wrong with the first page, or the first that has traces.
    """
    problem, total, pages = "it has no page.", Amount(), []
    for number in range(min(len(document), MAX_PAGES)):
        try:
            page = document[number]
            total = total.plus(count_page(page))
            if any(value > limit for value, limit in zip(total, LIMITS)):
                raise ValueError("with the pages before, it draws more than an ECG report does.")
            content = read_page(page)
        except ValueError as error:
            if pages:
                break
            if not number or NO_TRACES in problem:
                problem = f"page {number + 1}: {error}"
            continue
        if pages and not goes_on(pages, content):
            break
        pages.append(content)
        if sum(len(page["lead_names"]) for page in pages) >= len(LEADS):
            break
    if not pages:
        raise ValueError(problem)
    return join_pages(pages) if len(pages) > 1 else pages[0]


def goes_on(pages: list[dict[str, Any]], content: dict[str, Any]) -> bool:
    """Tells whether a page shows other leads of the same recording: none of the leads before, as long, at the same
    rate, and of the same patient.
    """
    length, other = pages[0]["signal"].shape[1], content["signal"].shape[1]
    patients = {page["patient_id"] for page in (*pages, content)} - {None}
    return (
        not set(content["lead_names"]) & {lead for page in pages for lead in page["lead_names"]}
        and content["sampling_rate"] == pages[0]["sampling_rate"]
        and abs(length - other) <= 0.01 * length
        and len(patients) <= 1
    )


def join_pages(pages: list[dict[str, Any]]) -> dict[str, Any]:
    """Joins pages that show different leads to one ECG; what several pages say is taken from the first that says it."""
    joined = {
        name: next((page[name] for page in pages if page[name]), pages[0][name]) for name in ("age", "sex", "report")
    }
    samples = max(page["signal"].shape[1] for page in pages)
    signals = [
        np.pad(page["signal"], ((0, 0), (0, samples - page["signal"].shape[1])), constant_values=np.nan)
        for page in pages
    ]
    measurements: dict[str, float] = {}
    for page in reversed(pages):
        measurements |= page["measurements"]
    lists = {name: sum((tuple(page[name]) for page in pages), ()) for name in ("lead_names", "notes", "warnings")}
    return pages[0] | joined | lists | {"signal": np.concatenate(signals), "measurements": measurements}


def read_page(page: "pymupdf.Page") -> dict[str, Any]:
    """Reads one page of PyMuPDF: the attributes of an ECG. Raises `ValueError` if there is no ECG on it."""
    words, upright = read_words(page)
    lines = find_lines(page.get_cdrawings(), upright)
    if not lines.traces:
        if page.get_images():
            raise ValueError(
                "it is a scan: a picture without vector traces. Give the picture to the processor as "
                '{"type": "image", ...}.'
            )
        raise ValueError(f"it {NO_TRACES}.")
    labels = find_labels(words)
    for name, count, limit in (("traces", len(lines.traces), MAX_TRACES), ("lead labels", len(labels), MAX_LABELS)):
        if count > limit:
            raise ValueError(f"it has {count} {name}, which no ECG report has (limit: {limit}).")
    if not labels:
        raise ValueError(
            f"it has traces but none of the labels {' '.join(LEADS)}, so that the leads cannot be told apart."
        )
    cells = find_cells(words)
    patient = find_patient(cells)
    content = read_signal(lines, labels, *find_scales(cells))
    return {
        **content,
        "age": parse_age(patient["age"]),
        "sex": parse_sex(patient["sex"]),
        "patient_id": pseudonym(patient["patient_id"]),
        "report": find_report(cells),
        "measurements": find_measurements(cells),
        "notes": (f"page {page.number + 1}: {len(lines.traces)} vector traces", *content["notes"]),
    }


def read_words(page: "pymupdf.Page") -> tuple[list[Word], np.ndarray]:
    """Reads the words of a page, and the matrix that turns its points upright: in the direction in which the names of
    the leads are written, which holds for pages with and without a /Rotate entry.

    Raises: `ValueError` for more than `MAX_WORDS` words.
    """
    import pymupdf

    textpage = page.get_textpage(flags=pymupdf.TEXTFLAGS_WORDS)
    blocks = textpage.extractDICT()["blocks"]
    directions = {(block["number"], i): line["dir"] for block in blocks for i, line in enumerate(block["lines"])}
    written = [
        (word[4], np.array(word[:4]).reshape(2, 2), directions[word[5], word[6]]) for word in textpage.extractWORDS()
    ]
    if len(written) > MAX_WORDS:
        raise ValueError(f"it has {len(written)} words, which no ECG report has (limit: {MAX_WORDS}).")
    on_labels = [direction for text, _, direction in written if text in LEADS] or [word[2] for word in written]
    quarters = [(round(x), round(y)) for x, y in on_labels if abs(abs(x) + abs(y) - 1) < 0.1]
    x, y = max(set(quarters), key=quarters.count, default=(1, 0))
    upright = np.array([[x, -y], [y, x]], np.float64)
    words = []
    for text, corners, _ in written:
        turned = corners @ upright
        words.append(Word(text[:MAX_LETTERS], *turned.min(axis=0).tolist(), *turned.max(axis=0).tolist()))
    return words, upright


def read_signal(
    lines: Lines, labels: list[Label], speed: float | None, gain: float | None, chest_gain: float | None
) -> dict[str, Any]:
    """Turns traces and labels into the signal, rate, names of leads, notes and warnings of an ECG."""
    speed, gain, notes, warnings = complete_scales(lines, speed, gain)
    scale = calibrate(lines, gain)
    notes.append(f"calibrated by {scale.source}: {scale.x:.4f} points per mm")
    rows = group_rows(lines, scale)
    naming = name_rows(labels, rows, scale)
    strips, unknown = name_strips(naming)
    check_repeats([*naming.stretches, *strips])
    notes, warnings = notes + naming.notes, warnings + naming.warnings
    notes += [f"took a trace without a label for lead {strip.lead}, which it equals" for strip in strips]
    if unknown:
        notes.append(f"left out {unknown} traces without a label that equal no lead or several")
        warnings.append(f"traces_unnamed:{unknown}")
    for row in rows:
        zero = "the calibration pulse" if row.pulses else "the median of each trace"
        notes.append(f"row of {len(row.traces)} traces: zero level by {zero}")
    axis = measure_time(lines, scale.x * speed)
    if not axis.sampled:
        notes.append(f"interpolated to {axis.rate} Hz")
    signal = np.full((len(LEADS), axis.samples), np.nan)
    # The longest stretch of a lead last, so that a rhythm strip stands over the lead's short stretch.
    for stretch in sorted([*naming.stretches, *strips], key=lambda stretch: np.ptp(stretch.trace.x)):
        points_per_mv = scale.y * ((chest_gain or gain) if stretch.lead in CHEST_LEADS else gain)
        mv = stretch.sign * (stretch.row.zero(stretch.trace) - stretch.trace.y) / points_per_mv
        at, values = axis.sample(stretch.trace, mv)
        signal[LEADS.index(stretch.lead), at] = values
    keep = [i for i in range(len(LEADS)) if np.isfinite(signal[i]).any()]
    return {
        "signal": signal[keep],
        "units": "mV",
        "sampling_rate": axis.rate,
        "lead_names": tuple(LEADS[i] for i in keep),
        "notes": tuple(notes),
        "warnings": tuple(warnings),
    }


def complete_scales(lines: Lines, speed: float | None, gain: float | None) -> tuple[float, float, list[str], list[str]]:
    """Returns speed and gain with notes and warnings. Where the report does not say them, a gain that pulse and grid
    tell is measured, and all else is the standard.
    """
    notes, warnings = [], []
    if speed is None:
        speed = 25.0
        notes.append("took the standard speed 25 mm/s, since the report does not say")
        warnings.append("speed_assumed_25_mm/s")
    if gain is None and (gain := measure_gain(lines)):
        notes.append(f"gain {gain:g} mm/mV by the height of the calibration pulse")
    elif gain is None:
        gain = 10.0
        notes.append("took the standard gain 10 mm/mV, since the report does not say")
        warnings.append("gain_assumed_10_mm/mV")
    return speed, gain, notes, warnings


@dataclass(frozen=True)
class TimeAxis:
    """Time on the page: the place of its start, points per second, the sampling rate in Hz, the number of samples, and
    whether the points of the traces are the samples at that rate.
    """

    left: float
    points_per_second: float
    rate: int
    samples: int
    sampled: bool

    def sample(self, trace: Trace, mv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the numbers of the samples that a trace shows, and their values."""
        place = (trace.x - self.left) / self.points_per_second * self.rate
        first, last = int(np.ceil(place[0] - 0.5)), int(np.floor(place[-1] + 0.5))
        at = np.arange(first, min(self.samples, last + 1))
        return at, np.interp(at, place, mv)


def measure_time(lines: Lines, points_per_second: float) -> TimeAxis:
    """Returns the time axis of all traces. Where their points are equally far apart, by the step of a usual sampling
    rate, that step is the measure, since it is drawn more exactly than the grid.

    Raises: `ValueError` for traces of an impossible length.
    """
    left, right = min(trace.left for trace in lines.traces), max(trace.right for trace in lines.traces)
    longest = max(lines.traces, key=lambda trace: len(trace.x))
    step = float(np.ptp(longest.x)) / (len(longest.x) - 1)
    rate = min(RATES, key=lambda standard: abs(standard * step / points_per_second - 1))
    even = np.abs(longest.x - np.linspace(longest.left, longest.right, len(longest.x))).max() < 0.5 * step
    sampled = bool(even and abs(rate * step / points_per_second - 1) < RATE_TOLERANCE)
    if sampled:
        points_per_second = rate * step
    else:
        rate = 500
    samples = round((right - left) / points_per_second * rate) + 1
    if samples * len(LEADS) > most_values() or samples > MAX_SAMPLES:
        raise ValueError(f"traces of {(right - left) / points_per_second:.0f} s cannot be.")
    return TimeAxis(left, points_per_second, rate, samples, sampled)
