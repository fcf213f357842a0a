"""Writes PDF reports with vector traces, as devices print them: paper, calibration pulses, lead labels, patient,
measurements, statements.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..configuration_heartcare import LEADS

if TYPE_CHECKING:
    import pymupdf

POINTS_PER_MM = 72 / 25.4
MARGIN_MM, HEADER_MM, CALIBRATION_MM, LINE_MM = 8, 34, 6, 4
FONT_POINTS = 8
ROW_MM = {3: 45, 4: 36, 6: 26, 12: 18}  # height of a row, by the number of rows
LABELS = ("above", "below", "beside")
ROTATIONS = (0, 90, 180, 270)


class Layout(NamedTuple):
    """Rows and columns of leads, and the leads of the rhythm strips below them."""

    rows: int
    columns: int
    strips: tuple[str, ...] = ()


LAYOUTS = {
    "3x4": Layout(3, 4),
    "3x4+R": Layout(3, 4, ("II",)),
    "3x4+3": Layout(3, 4, ("V1", "II", "V5")),
    "6x2": Layout(6, 2),
    "12x1": Layout(12, 1),
}


def write_pdf_report(
    path: str | Path,
    signal: np.ndarray,
    sampling_rate: float,
    layout: str = "3x4+R",
    speed: float = 25.0,
    gain: float = 10.0,
    text: Sequence[str] = (),
    grid: bool = True,
    pulse: int = 5,
    continuous: bool = False,
    labels: str = "above",
    strip_labels: bool = True,
    rotation: int = 0,
    text_columns: Sequence[Sequence[str]] = (),
) -> None:
    """Writes one page.

    Args:
        path: File to write.
        signal: (12, samples) in mV, leads in standard order; NaN is left blank.
        sampling_rate: Hz.
        layout: One of `LAYOUTS`; columns show parts of the recording one after the other, strips all of it.
        speed, gain: mm/s, mm/mV.
        text: Lines of the header: patient, measurements, statements.
        grid: Draws the lines of the paper, 1 mm and 5 mm apart.
        pulse: Number of strokes of the calibration pulse before each row; 5 for its corners alone, 0 for no pulse.
        continuous: Draws a row as one line through all of its leads.
        labels: "above" or "below" the beginning of each trace, or "beside" it, to the left.
        strip_labels: Names the rhythm strips too.
        rotation: 0, 90, 180 or 270: the page is stored turned, with a /Rotate entry that turns it upright.
        text_columns: Columns of lines that stand side by side at the top of the page, below `text`.

    Raises: `ImportError` without PyMuPDF, `ValueError` for an option or a shape that cannot be.
    """
    pymupdf = import_pymupdf()
    check_options(signal, layout=layout, labels=labels, rotation=rotation)
    form = LAYOUTS[layout]
    paper = Paper(sampling_rate, speed, gain, form.rows + len(form.strips))
    with pymupdf.open() as document:
        sheet = Sheet.new(document, paper.width(signal.shape[1]), paper.height, rotation)
        if grid:
            draw_grid(sheet)
        starts = draw_rows(sheet, paper, arrange_rows(signal, form, continuous), pulse)
        sheet.finish_paths()
        for row, lead, sample in starts:
            if row < form.rows or strip_labels:
                write_label(sheet, lead, float(paper.x(sample)), paper.zero(row), labels, paper.row_mm)
        write_header(sheet, text, text_columns, f"{speed:g} mm/s   {gain:g} mm/mV")
        document.save(str(path), deflate=True)


def import_pymupdf() -> ModuleType:
    """Returns PyMuPDF. Raises `ImportError` that names the extra."""
    try:
        import pymupdf
    except ImportError as error:
        raise ImportError("Writing PDF reports needs PyMuPDF: pip install heartcare[pdf]") from error
    return pymupdf


def check_options(signal: np.ndarray, **options: str | int) -> None:
    """Raises `ValueError` for a signal of another shape than (12, samples), and for an unknown value of an option."""
    known = {"layout": tuple(LAYOUTS), "labels": LABELS, "rotation": ROTATIONS}
    for name, value in options.items():
        if value not in known[name]:
            raise ValueError(f"Unknown {name} {value!r}; expected one of {list(known[name])}.")
    if signal.ndim != 2 or signal.shape[0] != len(LEADS):
        raise ValueError(f"signal must have shape (12, samples), got {signal.shape}.")


class Paper(NamedTuple):
    """Places of time and voltage in mm, by sampling rate (Hz), speed (mm/s), gain (mm/mV) and number of rows."""

    sampling_rate: float
    speed: float
    gain: float
    rows: int

    def width(self, samples: int) -> float:
        """Returns the width of a page that shows a number of samples."""
        return float(self.x(samples)) + MARGIN_MM

    def x(self, samples: np.ndarray | int) -> np.ndarray:
        """Returns the places of samples by their numbers."""
        return MARGIN_MM + CALIBRATION_MM + np.asarray(samples) / self.sampling_rate * self.speed

    def zero(self, row: int) -> float:
        """Returns the height of 0 mV in a row."""
        return HEADER_MM + (row + 0.5) * self.row_mm

    @property
    def height(self) -> float:
        """Height of the page."""
        return HEADER_MM + MARGIN_MM + self.rows * self.row_mm

    @property
    def row_mm(self) -> float:
        """Height of a row."""
        return ROW_MM[self.rows]


def draw_rows(sheet: "Sheet", paper: Paper, rows: Iterable[list["Part"]], pulse: int) -> list[tuple[int, str, int]]:
    """Draws pulses and traces; returns row, lead and first sample of each stretch of a lead."""
    starts = []
    for row, parts in enumerate(rows):
        if pulse:
            x, mv = pulse_outline(pulse)
            sheet.lines([(MARGIN_MM + x, paper.zero(row) - paper.gain * mv)], 0.6)
        for part in parts:
            sheet.lines([(paper.x(part.samples), paper.zero(row) - paper.gain * part.mv)], 0.5)
            starts += [(row, lead, sample) for lead, sample in part.starts]
    return starts


@dataclass
class Sheet:
    """A page that is drawn on in mm from its upper left corner, upright, however it is stored."""

    document: "pymupdf.Document"
    page: "pymupdf.Page"
    width: float
    height: float
    rotation: int
    paths: list[str] = field(default_factory=list)

    @classmethod
    def new(cls, document: "pymupdf.Document", width: float, height: float, rotation: int) -> "Sheet":
        """Adds a page to a document; `width` and `height` are those of the upright page."""
        stored = (height, width) if rotation in (90, 270) else (width, height)
        page = document.new_page(width=stored[0] * POINTS_PER_MM, height=stored[1] * POINTS_PER_MM)
        page.set_rotation(rotation)
        return cls(document, page, width, height, rotation)

    def lines(self, lines: Sequence[tuple], pen: float, colour: tuple[float, float, float] = (0, 0, 0)) -> None:
        """Draws polylines (x, y) as one path; `pen` in points."""
        self.paths.append("{:g} {:g} {:g} RG {:g} w".format(*colour, pen))
        for x, y in (line for line in lines if len(line[0])):
            points = self.stored(x, y) * (1, -1) + (0, self.page.mediabox.height)
            path = [f"{x:.4f} {y:.4f} l" for x, y in points.tolist()]
            self.paths += [path[0][:-1] + "m", *path[1:]]
        self.paths.append("S")

    def finish_paths(self) -> None:
        """Puts all lines on the page, below the text that is written from here on."""
        content = self.document.get_new_xref()
        self.document.update_object(content, "<<>>")
        self.document.update_stream(content, "\n".join(self.paths).encode())
        self.page.set_contents(content)

    def text(self, x: float, y: float, text: str) -> None:
        """Writes a line of text whose baseline begins at (x, y)."""
        self.page.insert_text(self.stored(x, y)[0].tolist(), text, fontsize=FONT_POINTS, rotate=self.rotation)

    def stored(self, x: np.ndarray | float, y: np.ndarray | float) -> np.ndarray:
        """Returns (n, 2) points of the page as it is stored, y downwards."""
        a, b, c, d, e, f = self.page.derotation_matrix
        x, y = np.atleast_1d(x) * POINTS_PER_MM, np.atleast_1d(y) * POINTS_PER_MM
        return np.stack([a * x + c * y + e, b * x + d * y + f], axis=1)


class Part(NamedTuple):
    """A polyline of a row: the numbers of its samples, its values in mV, and (lead, first sample) of its leads."""

    samples: np.ndarray
    mv: np.ndarray
    starts: list[tuple[str, int]]


def arrange_rows(signal: np.ndarray, form: Layout, continuous: bool) -> Iterator[list[Part]]:
    """Yields the parts of each row, from the top."""
    for row in range(form.rows):
        leads = [LEADS[column * form.rows + row] for column in range(form.columns)]
        cuts = np.round(np.linspace(0, signal.shape[1], form.columns + 1)).astype(int).tolist()
        parts = [cut_part(signal, *place) for place in zip(leads, cuts, cuts[1:])]
        if continuous:
            samples, mv, starts = zip(*parts)
            parts = [Part(np.concatenate(samples), np.concatenate(mv), sum(starts, []))]
        yield parts
    for lead in form.strips:
        yield [cut_part(signal, lead, 0, signal.shape[1])]


def cut_part(signal: np.ndarray, lead: str, start: int, stop: int) -> Part:
    """Returns the recorded samples from `start` to `stop` of a lead."""
    values = signal[LEADS.index(lead), start:stop]
    recorded = np.isfinite(values)
    return Part(np.arange(start, stop)[recorded], values[recorded], [(lead, start)])


def draw_grid(sheet: Sheet) -> None:
    """Draws the paper's lines, the fine ones as one path and the thick ones as another."""
    right, bottom = sheet.width - MARGIN_MM, sheet.height - MARGIN_MM
    for step, colour, pen in ((1, (1, 0.85, 0.85), 0.2), (5, (1, 0.6, 0.6), 0.4)):
        upright = [([x, x], [HEADER_MM, bottom]) for x in np.arange(MARGIN_MM, right + 0.01, step)]
        level = [([MARGIN_MM, right], [y, y]) for y in np.arange(HEADER_MM, bottom + 0.01, step)]
        sheet.lines(upright + level, pen, colour)


def pulse_outline(strokes: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns x in mm and y in mV of a pulse of 1 mV: its corners, or, for more than five strokes, points at equal
    distances, as devices draw it that sample the pulse like a lead.
    """
    rise, fall, end = 1, CALIBRATION_MM - 2, CALIBRATION_MM - 1
    if strokes <= 5:
        return np.array([0, rise, rise, fall, fall, end]), np.array([0, 0, 1, 1, 0, 0])
    x = np.linspace(0, end, strokes + 1)
    return x, ((x >= rise) & (x < fall)).astype(float)


def write_label(sheet: Sheet, lead: str, x: float, zero: float, place: str, row_mm: float) -> None:
    """Writes the name of a lead near the beginning (x, zero) of its trace."""
    heights = {"above": zero - row_mm / 2 + LINE_MM, "below": zero + row_mm / 2 - 2, "beside": zero + 1}
    shift = -1.7 * len(lead) if place == "beside" else 1.0
    sheet.text(x + shift, heights[place], lead)


def write_header(sheet: Sheet, text: Sequence[str], columns: Sequence[Sequence[str]], scales: str) -> None:
    """Writes the lines and columns of text, and the speed and gain below them."""
    for row, line in enumerate(text):
        sheet.text(MARGIN_MM, 6 + LINE_MM * row, line)
    top = 6 + LINE_MM * len(text)
    for column, lines in enumerate(columns):
        for row, line in enumerate(lines):
            sheet.text(MARGIN_MM + column * (sheet.width - 2 * MARGIN_MM) / len(columns), top + LINE_MM * row, line)
    rows = max((len(lines) for lines in columns), default=0)
    sheet.text(MARGIN_MM, top + LINE_MM * rows, scales)
