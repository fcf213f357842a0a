"""Draws ECGs on paper as vector graphics, true to scale: the page of `render.draw_ecg` as SVG, and as PDF by PyMuPDF.

signal --draw_vector--> VectorPage --with_text--> answers below it --save--> .svg, .pdf
"""

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

from .render import (
    HEADER_MM,
    INK,
    LEAD_MM,
    LINE_STEP,
    MAJOR,
    MARGIN_MM,
    MINOR,
    SMALL_MM,
    TEXT_MM,
    Sheet,
    by_lead,
    check_drawing,
    load_font,
    wrap,
)
from .report_pdf import import_pymupdf

VECTOR_ENDINGS = (".svg", ".pdf")
PX = 10  # pixels per mm at which text is measured
# Widths of text are measured in Pillow's font, and readers of SVG show it in one that may be this much wider.
WIDER = 1.15
PICTURE_PX = 6.0  # pixels per mm of a picture that becomes a page: 150 dpi


@dataclass(frozen=True)
class VectorPage:
    """A page of vector graphics: its `width` and `height` in mm, and its `parts`, elements of SVG whose unit is 1
    mm.
    """

    width: float
    height: float
    parts: tuple[str, ...]

    def with_text(self, lines: list[tuple[str, str]]) -> "VectorPage":
        """Returns the page with (question, answer) pairs below it, wrapped to its width."""
        font = load_font(round(TEXT_MM * PX))
        wrapped = wrap(lines, (self.width - 2 * MARGIN_MM) * PX / WIDER, font)
        step = LINE_STEP * TEXT_MM
        text = [
            write(MARGIN_MM, self.height + TEXT_MM + number * step, line, TEXT_MM, colour)
            for number, (line, colour) in enumerate(wrapped)
            if line
        ]
        return replace(self, height=self.height + MARGIN_MM + len(wrapped) * step, parts=(*self.parts, *text))

    def save(self, path: str | Path) -> None:
        """Writes the page as the ending of the file's name says, .svg or .pdf.

        Raises: `ImportError` for a PDF without PyMuPDF, `ValueError` for another ending.
        """
        ending = Path(path).suffix.lower()
        if ending not in VECTOR_ENDINGS:
            raise ValueError(f"A page of vector graphics is written as {' or '.join(VECTOR_ENDINGS)}, got {ending!r}.")
        if ending == ".svg":
            Path(path).write_text(self.svg(), encoding="utf-8")
            return
        with import_pymupdf().open(stream=self.svg().encode(), filetype="svg") as document:
            Path(path).write_bytes(document.convert_to_pdf())

    def svg(self) -> str:
        """Returns the page as an SVG document."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width:g}mm" height="{self.height:g}mm" '
            f'viewBox="0 0 {self.width:g} {self.height:g}">'
        )
        white = f'<rect width="{self.width:g}" height="{self.height:g}" fill="#ffffff"/>'
        return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', head, white, *self.parts, "</svg>", ""])


def draw_vector(
    signal: np.ndarray,
    sampling_rate: float,
    layout: str = "3x4+R",
    speed: float = 25.0,
    gain: float = 10.0,
    header: str = "",
    lead_mask: np.ndarray | None = None,
) -> VectorPage:
    """Draws one ECG on a sheet of standard paper that fits ten seconds. Arguments and errors are those of
    `render.draw_ecg`.
    """
    check_drawing(signal, layout, speed, gain)
    sheet = Sheet.of(layout, speed, gain, 25.4, None)  # a pixel is 1 mm
    signals, parts = by_lead(signal, lead_mask), [*grid(sheet)]
    pulses = [sheet.pulse(row) for row in range(sheet.rows)]
    traces = [line for cell in sheet.cells() for line in sheet.trace(cell, signals[cell.lead], sampling_rate)]
    parts.append(polylines([*pulses, *traces], 0.35, INK))
    for cell in sheet.cells():
        parts.append(write(cell.x + 1, cell.y - sheet.row_mm / 2 + 1 + LEAD_MM, cell.lead, LEAD_MM, INK))
    parts.append(write(MARGIN_MM, 4 + SMALL_MM, header, SMALL_MM, INK))
    parts.append(write(sheet.width - MARGIN_MM, 4 + SMALL_MM, sheet.scales, SMALL_MM, INK, "end"))
    return VectorPage(sheet.width, sheet.height, tuple(parts))


def of_picture(picture: Image.Image) -> VectorPage:
    """Returns a page that a picture fills, such as one of a digitised page; answers below it are text."""
    content = io.BytesIO()
    picture.convert("RGB").save(content, "PNG")
    width, height = (side / PICTURE_PX for side in picture.size)
    data = base64.b64encode(content.getvalue()).decode()
    image = f'<image width="{width:g}" height="{height:g}" href="data:image/png;base64,{data}"/>'
    return VectorPage(width, height, (image,))


def grid(sheet: Sheet) -> Iterator[str]:
    """Yields the lines of the paper, those 1 mm apart as one path and those 5 mm apart as another."""
    right, bottom = sheet.width - MARGIN_MM, sheet.height - MARGIN_MM
    for step, colour, pen in ((1, MINOR, 0.1), (5, MAJOR, 0.15)):
        upright = [np.array([(x, HEADER_MM), (x, bottom)]) for x in np.arange(MARGIN_MM, right + 0.01, step)]
        level = [np.array([(MARGIN_MM, y), (right, y)]) for y in np.arange(HEADER_MM, bottom + 0.01, step)]
        yield polylines([*upright, *level], pen, colour)


def polylines(lines: Sequence[np.ndarray], pen: float, colour: tuple[int, int, int]) -> str:
    """Returns lines, each (points, 2) in mm, as one path; `pen` is its width in mm."""
    path = " ".join("M" + " ".join(f"{x:.3f},{y:.3f}" for x, y in line.tolist()) for line in lines)
    return f'<path d="{path}" fill="none" stroke="{hex_of(colour)}" stroke-width="{pen:g}" stroke-linejoin="round"/>'


def write(x: float, y: float, text: str, size: float, colour: tuple[int, int, int], anchor: str = "start") -> str:
    """Returns a line of text, `size` mm high, whose baseline begins or ends at (x, y)."""
    return (
        f'<text x="{x:.2f}" y="{y:.2f}" font-family="Helvetica, Arial, sans-serif" font-size="{size:g}" '
        f'fill="{hex_of(colour)}" text-anchor="{anchor}" xml:space="preserve">{escape(printable(text))}</text>'
    )


def printable(text: str) -> str:
    """Returns a text without the control characters that XML has no place for."""
    return "".join(letter if letter >= " " else " " for letter in text)


def hex_of(colour: tuple[int, int, int]) -> str:
    """Returns a colour as SVG writes it."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
