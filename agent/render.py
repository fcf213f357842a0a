"""Draws ECGs on paper, true to scale, anti-aliased, by Pillow alone; and makes of the paper what a scanner or a phone
does.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from ..configuration_heartcare import LEADS
from ..image_processing_heartcare import LAYOUTS

MINOR, MAJOR, INK = (250, 215, 215), (238, 160, 160), (20, 20, 30)
QUESTION_INK = (90, 90, 110)
SHADE = (255, 226, 120)  # behind marked stretches
OVER, SEPARATOR = (200, 30, 45), (120, 120, 135)
MARGIN_MM, HEADER_MM, CALIBRATION_MM = 5, 12, 6
# Six whole pixels per mm: the grid's lines are equally far apart, and show no moire when a browser shrinks the picture.
VIEW_DPI, NAME_MM = 6 * 25.4, 4.6
LEAD_MM, SMALL_MM, TEXT_MM = 3.6, 3.2, 4.2  # heights of the names of leads, of the header, and of answers
LINE_STEP = 1.4  # distance of the lines of answers, in heights of their letters


@dataclass(frozen=True)
class Sheet:
    """A sheet of paper, before anything is on it.

    Attributes:
        layout: Key of `LAYOUTS`.
        speed, gain: mm/s and mm/mV.
        px: Pixels per mm.
        width, height: Pixels.
        seconds: Time that a whole row shows.
        row_mm: Height of a row in mm.
    """

    layout: str
    speed: float
    gain: float
    px: float
    width: int
    height: int
    seconds: float
    row_mm: float

    @classmethod
    def of(cls, layout: str, speed: float, gain: float, dpi: float, size: tuple[int, int] | None) -> "Sheet":
        """Makes the sheet of this `size` in pixels, or without one, of the size that ten seconds need.

        Raises: `ValueError` for a sheet too small for its rows.
        """
        rows, _ = LAYOUTS[layout]
        px, seconds = dpi / 25.4, 10.0
        row_mm = {3: 42, 4: 34, 6: 26, 12: 16}[rows]
        if size is None:
            width = round((2 * MARGIN_MM + CALIBRATION_MM + seconds * speed) * px)
            height = round((HEADER_MM + MARGIN_MM + rows * row_mm) * px)
        else:
            width, height = size
            seconds = min(seconds, (width / px - 2 * MARGIN_MM - CALIBRATION_MM) / speed)
            row_mm = (height / px - HEADER_MM - MARGIN_MM) / rows
            if seconds < 1 or row_mm < 8:
                raise ValueError(
                    f"A sheet of {width}x{height} pixels at {dpi} dpi has no place for {rows} rows at {speed:g} mm/s."
                )
        return cls(layout, speed, gain, px, width, height, seconds, row_mm)

    def cells(self) -> Iterator["Cell"]:
        """Yields the places of the leads, column by column, then that of the rhythm strip."""
        rows, columns = LAYOUTS[self.layout]
        rhythm = self.layout.endswith("+R")
        for i, lead in enumerate(LEADS):
            column, row = divmod(i, rows - rhythm)
            x = MARGIN_MM + CALIBRATION_MM + column * self.seconds / columns * self.speed
            yield Cell(
                lead, x, self.row_centre(row), column * self.seconds / columns, (column + 1) * self.seconds / columns
            )
        if rhythm:
            yield Cell("II", MARGIN_MM + CALIBRATION_MM, self.row_centre(rows - 1), 0.0, self.seconds)

    def trace(self, cell: "Cell", lead: np.ndarray, sampling_rate: float, scale: float = 1.0) -> Iterator[np.ndarray]:
        """Yields the lines of one trace, (points, 2) from the left and the top: one for each stretch without a gap.

        Args:
            cell: Place of the trace.
            lead: (samples,) in mV, NaN in gaps, from the beginning of the recording on.
            sampling_rate: Hz.
            scale: Units of the points in a mm.
        """
        start, stop = round(cell.start * sampling_rate), round(cell.stop * sampling_rate)
        trace = lead[start : stop + 1]
        x = (cell.x + np.arange(len(trace)) / sampling_rate * self.speed) * scale
        y = (cell.y - np.clip(trace * self.gain, -self.row_mm, self.row_mm)) * scale
        for part in np.split(np.arange(len(trace)), np.flatnonzero(~np.isfinite(trace))):
            part = part[np.isfinite(trace[part])]
            if len(part) > 1:
                yield np.stack([x[part], y[part]], axis=1)

    def pulse(self, row: int) -> np.ndarray:
        """Returns the calibration pulse of a row, 1 mV high and 3 mm wide, (points, 2) in mm."""
        high, end = self.gain, CALIBRATION_MM
        points = [(0, 0), (1, 0), (1, high), (end - 2, high), (end - 2, 0), (end - 1, 0)]
        return (MARGIN_MM, self.row_centre(row)) + np.array(points) * (1, -1)

    def row_centre(self, row: int) -> float:
        """Returns the height of 0 mV of a row, in mm from the top."""
        return HEADER_MM + (row + 0.5) * self.row_mm

    @property
    def rows(self) -> int:
        """Number of rows."""
        return LAYOUTS[self.layout][0]

    @property
    def scales(self) -> str:
        """Speed and gain in words, as pages print them."""
        return f"{self.speed:g} mm/s   {self.gain:g} mm/mV"


class Cell(NamedTuple):
    """The place of one trace: its `lead`; `x` of its begin and `y` of 0 mV, in mm; and the seconds that it shows."""

    lead: str
    x: float
    y: float
    start: float
    stop: float


def draw_ecg(
    signal: np.ndarray,
    sampling_rate: float,
    layout: str = "3x4+R",
    speed: float = 25.0,
    gain: float = 10.0,
    dpi: int = 150,
    header: str = "",
    lead_mask: np.ndarray | None = None,
    size: tuple[int, int] | None = None,
    marks: Iterable[tuple[str, float, float]] = (),
) -> Image.Image:
    """Draws one ECG on a sheet of standard paper.

    Args:
        signal: (12, samples) in mV, leads in the order I II III aVR aVL aVF V1..V6.
        sampling_rate: Hz.
        layout: "3x4", "3x4+R", "6x2" or "12x1". The columns show one part of the time after the other.
        speed, gain: mm/s and mm/mV.
        dpi: Pixels per inch.
        header: A line above the paper. Nothing identifying belongs there.
        lead_mask: (12,) or (12, samples), 0 where the paper is left empty, as it is for NaN in `signal`.
        size: Width and height of the sheet in pixels, for example (1650, 1275), which is Letter at 150 dpi. The rows
            share its height, and it shows the seconds that its width has place for, up to ten. By default the sheet
            fits ten seconds.
        marks: (lead, start, stop) in seconds of stretches that are shaded behind the trace, where the sheet shows them.

    Returns: RGB image.

    Raises: `ValueError` for an unknown layout, another shape, a speed or gain that is not positive, or a sheet too
        small for its rows.
    """
    check_drawing(signal, layout, speed, gain)
    sheet = Sheet.of(layout, speed, gain, dpi, size)
    page = _paper_of(sheet, marks)
    page.paste(INK, mask=_traces(sheet, by_lead(signal, lead_mask), sampling_rate))
    for cell in sheet.cells():
        place = (cell.x + 1) * sheet.px, (cell.y - sheet.row_mm / 2 + 1) * sheet.px
        ImageDraw.Draw(page).text(place, cell.lead, fill=INK, font=load_font(round(LEAD_MM * sheet.px)))
    _write_words(page, sheet, header)
    return page


def check_drawing(signal: np.ndarray, layout: str, speed: float, gain: float) -> None:
    """Raises `ValueError` for an unknown layout, a signal of another shape than (12, samples), and a speed (mm/s) or
    gain (mm/mV) that is not positive.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"Unknown layout {layout!r}; expected one of {sorted(LAYOUTS)}.")
    if signal.ndim != 2 or signal.shape[0] != len(LEADS):
        raise ValueError(f"signal must have shape (12, samples), got {signal.shape}.")
    if not speed > 0 or not gain > 0:
        raise ValueError(f"speed and gain must be positive, got {speed} mm/s and {gain} mm/mV.")


def view_ecg(
    signal: np.ndarray,
    sampling_rate: float,
    layout: str = "3x4+R",
    lead_mask: np.ndarray | None = None,
    over: np.ndarray | None = None,
    marks: Iterable[tuple[str, float, float]] = (),
) -> Image.Image:
    """Draws one ECG for people to look at: as `draw_ecg` draws it, at 25 mm/s and 10 mm/mV, but with a line where one
    lead ends and the next begins, and with names of the leads that are larger and stand where no wave is.

    Pages from which models learn are drawn by `draw_ecg`, since they look as devices print them.

    Args:
        signal, sampling_rate, layout, lead_mask, marks: As for `draw_ecg`.
        over: (12, samples), another signal of the same rate, which is drawn over the first in red.

    Returns: RGB image.

    Raises: `ValueError` for an unknown layout or another shape.
    """
    check_drawing(signal, layout, 25.0, 10.0)
    sheet = Sheet.of(layout, 25.0, 10.0, VIEW_DPI, None)
    page = _paper_of(sheet, marks)
    ink = _traces(sheet, by_lead(signal, lead_mask), sampling_rate)
    _separate(page, sheet)
    page.paste(INK, mask=ink)
    if over is not None:
        red = _traces(sheet, by_lead(over, lead_mask), sampling_rate, pulses=False)
        page.paste(OVER, mask=red)
        ink = ImageChops.lighter(ink, red)
    _name_leads(page, sheet, ink)
    _write_words(page, sheet, "")
    return page


def by_lead(signal: np.ndarray, lead_mask: np.ndarray | None) -> dict[str, np.ndarray]:
    """Returns the trace (samples,) of each lead of a signal (12, samples), NaN where a mask, (12,) or (12, samples), is
    0.
    """
    if lead_mask is not None:
        signal = np.where(np.asarray(lead_mask, bool).reshape(len(LEADS), -1), signal, np.nan)
    return dict(zip(LEADS, signal))


def _paper_of(sheet: Sheet, marks: Iterable[tuple[str, float, float]]) -> Image.Image:
    """Draws the paper of a sheet, shaded where something is marked."""
    page = _paper(sheet.width, sheet.height, round(HEADER_MM * sheet.px), round(MARGIN_MM * sheet.px), sheet.px).copy()
    marks = list(marks)
    for cell in sheet.cells():
        _shade_behind(page, sheet, cell, [(start, stop) for lead, start, stop in marks if lead == cell.lead])
    return page


def _separate(page: Image.Image, sheet: Sheet):
    """Draws a line at the begin of each trace that follows another one in its row."""
    draw = ImageDraw.Draw(page)
    for cell in sheet.cells():
        if cell.start > 0:
            x, half = cell.x * sheet.px, 0.4 * sheet.row_mm
            draw.line([(x, (cell.y - half) * sheet.px), (x, (cell.y + half) * sheet.px)], SEPARATOR, 2)


def _name_leads(page: Image.Image, sheet: Sheet, ink: Image.Image):
    """Writes the name of each lead above its trace or, where waves leave no place there, below it: as far to the left
    as no ink is, or else where the least of it is.
    """
    draw, font, px = ImageDraw.Draw(page), load_font(round(NAME_MM * sheet.px)), sheet.px
    inked = np.asarray(ink) > 0
    for cell in sheet.cells():
        left, top, right, bottom = draw.textbbox((0, 0), cell.lead, font=font)
        height, width = round(bottom - top + px), round(right - left + px)
        end = cell.x + (cell.stop - cell.start) * sheet.speed - width / px
        rows = [round((cell.y - sheet.row_mm / 2 + 1) * px), round((cell.y + sheet.row_mm / 2 - 1) * px) - height]
        places = [(round(x * px), y) for y in rows for x in np.arange(cell.x + 1, end)]
        x, y = min(places, key=lambda place: inked[place[1] : place[1] + height, place[0] : place[0] + width].sum())
        draw.text((x + px / 2 - left, y + px / 2 - top), cell.lead, fill=INK, font=font)


@lru_cache(maxsize=8)
def _paper(width: int, height: int, header: int, margin: int, px_per_mm: float) -> Image.Image:
    """Draws a white sheet with millimetre paper below the header."""
    page = np.full((height, width, 3), 255, np.uint8)
    grid = page[header : height - margin, margin : width - margin]
    for step, colour in ((1, MINOR), (5, MAJOR)):
        for axis in (0, 1):
            lines = np.arange(0, grid.shape[axis] / px_per_mm, step) * px_per_mm
            index = np.unique(lines.astype(int))
            (grid if axis == 0 else grid.swapaxes(0, 1))[index] = colour
    return Image.fromarray(page)


def _shade_behind(page: Image.Image, sheet: Sheet, cell: Cell, spans: list[tuple[float, float]]):
    """Shades spans of seconds of one trace, and lets the grid be seen through the shade."""
    for start, stop in spans:
        start, stop = max(start, cell.start), min(stop, cell.stop)
        if stop <= start:
            continue
        left, right = (round((cell.x + (edge - cell.start) * sheet.speed) * sheet.px) for edge in (start, stop))
        top, bottom = (round((cell.y + side * 0.45 * sheet.row_mm) * sheet.px) for side in (-1, 1))
        box = left, max(0, top), max(right, left + 2), min(sheet.height, bottom)
        page.paste(
            ImageChops.multiply(page.crop(box), Image.new("RGB", (box[2] - box[0], box[3] - box[1]), SHADE)), box
        )


def _traces(sheet: Sheet, signals: dict[str, np.ndarray], sampling_rate: float, pulses: bool = True) -> Image.Image:
    """Draws the ink of the traces and of the calibration pulses, as a mask of the sheet's size.

    They are drawn twice as large and reduced, which gives smooth edges.
    """
    ink = Image.new("L", (2 * sheet.width, 2 * sheet.height), 0)
    pen, scale = ImageDraw.Draw(ink), 2 * sheet.px
    stroke = max(2, round(0.35 * scale))
    for cell in sheet.cells():
        for line in sheet.trace(cell, signals[cell.lead], sampling_rate, scale):
            pen.line(line.ravel().tolist(), fill=255, width=stroke, joint="curve")
    for row in range(sheet.rows if pulses else 0):
        pen.line((sheet.pulse(row) * scale).ravel().tolist(), fill=255, width=stroke)
    return ink.reduce(2)


def _write_words(page: Image.Image, sheet: Sheet, header: str):
    """Writes the header and the scale."""
    draw, px = ImageDraw.Draw(page), sheet.px
    small = load_font(round(SMALL_MM * px))
    draw.text((MARGIN_MM * px, 4 * px), header, fill=INK, font=small)
    right = sheet.width - MARGIN_MM * px - draw.textlength(sheet.scales, font=small)
    draw.text((right, 4 * px), sheet.scales, fill=INK, font=small)


@lru_cache(maxsize=32)
def load_font(size: int) -> ImageFont.FreeTypeFont:
    """Loads Pillow's own font in a size in pixels."""
    return ImageFont.load_default(size=size)


def page_header(age: float | None, sex: str | None, heart_rate: float | None = None) -> str:
    """Returns a header that identifies nobody: age, sex and heart rate, as far as they are known."""
    parts = [f"Age {'>89' if age >= 90 else f'{age:.0f}'}" if age is not None else "", f"Sex {sex}" if sex else ""]
    parts.append(f"HR {heart_rate:.0f} bpm" if heart_rate else "")
    return "   ".join(part for part in parts if part)


def add_artefacts(page: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Returns a page as a scanner or a phone sees it: strokes of a pen, crease, colour cast, perspective, shadow, blur,
    noise, JPEG.

    Args:
        page: RGB.
        strength: From 0, which leaves the page as it is, over 0.3, a good scan, to 1, a bad photograph.
        rng: Source of all choices; the same state gives the same picture.

    Returns: RGB image of the same size.

    Raises: `ValueError` for a strength outside of 0 to 1.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must be from 0 to 1, got {strength}.")
    if strength == 0:
        return page
    page = page.copy()
    if rng.random() < strength:
        scribble(page, rng)
    shade = _shade(page.size, strength, rng)
    cast = 1 - strength * rng.uniform(0, 0.22, 3)
    bands = [
        ImageChops.multiply(band, shade).point([round(v * factor) for v in range(256)])
        for band, factor in zip(page.split(), cast)
    ]
    page = Image.merge("RGB", bands)
    if rng.random() < 0.3 + 0.7 * strength:
        page = tilt(page, strength, rng)
    if strength > 0.2:
        page = page.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.4) * strength * page.width / 1650))
    noise = _noise(page.size, 9 * strength, rng)
    page = Image.merge("RGB", [ImageChops.add(band, noise, 1, -128) for band in page.split()])
    buffer = io.BytesIO()
    page.save(buffer, "JPEG", quality=round(92 - 62 * strength * rng.random()))
    return Image.open(buffer).convert("RGB")


def _shade(size: tuple[int, int], strength: float, rng: np.random.Generator) -> Image.Image:
    """Returns the light on a page: perhaps a shadow, and a crease, a thin bright line beside a dark one."""
    width, height = size
    light = np.ones((9, 9))
    if rng.random() < 0.3 + 0.7 * strength:  # darker towards a side, with a soft cloud
        x, y = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 9))
        angle = rng.uniform(0, 2 * np.pi)
        light -= strength * (0.22 * (1 + x * np.cos(angle) + y * np.sin(angle)) / 2 + 0.12 * rng.random((9, 9)))
    shade = Image.fromarray(np.uint8(255 * np.clip(light, 0.2, 1))).resize(size, Image.Resampling.BICUBIC)
    if rng.random() < strength:
        draw, at = ImageDraw.Draw(shade), rng.uniform(0.2, 0.8)
        across = rng.random() < 0.5
        for offset, grey in ((0, round(255 - 90 * strength)), (max(2, width // 500), 255)):
            ends = [(at * width + offset, 0), ((at + rng.normal(0, 0.004)) * width + offset, height)]
            if not across:
                ends = [(y * width / height, x * height / width) for x, y in ends]
            draw.line(ends, grey, max(1, width // 700))
    return shade


def scribble(page: Image.Image, rng: np.random.Generator):
    """Draws one to three strokes of a pen, loops and ticks, in blue, black or red."""
    draw, (width, height) = ImageDraw.Draw(page), page.size
    for _ in range(int(rng.integers(1, 4))):
        colour = [(30, 50, 160), (40, 40, 40), (170, 30, 40)][int(rng.integers(3))]
        t = np.linspace(0, 1, 60)
        a, b, c = rng.uniform(2, 9), rng.uniform(0.01, 0.03) * width, rng.uniform(0.01, 0.035) * height
        x = rng.uniform(0.1, 0.8) * width + rng.uniform(0.03, 0.16) * width * t + b * np.sin(2 * np.pi * a * t)
        y = rng.uniform(0.05, 0.95) * height + c * np.cos(2 * np.pi * a * t + rng.uniform(0, 6)) * (1 - 0.4 * t)
        draw.line(np.stack([x, y], axis=1).ravel().tolist(), fill=colour, width=max(2, width // 600), joint="curve")


def tilt(page: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Returns the page as it is seen a little from the side, on a table of one colour."""
    width, height = page.size
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], float)
    inward = (
        np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)]) * rng.uniform(0.0, 0.045, (4, 2)) * strength * (width, height)
    )
    seen = corners + inward
    equations = [[x, y, 1, 0, 0, 0, -x * u, -y * u] for (x, y), (u, _) in zip(seen, corners)]
    equations += [[0, 0, 0, x, y, 1, -x * v, -y * v] for (x, y), (_, v) in zip(seen, corners)]
    coefficients = np.linalg.solve(np.array(equations), np.concatenate([corners[:, 0], corners[:, 1]]))
    table = tuple(int(v) for v in rng.integers(60, 190, 3))
    return page.transform(
        page.size, Image.Transform.PERSPECTIVE, coefficients.tolist(), Image.Resampling.BILINEAR, fillcolor=table
    )


def _noise(size: tuple[int, int], deviation: float, rng: np.random.Generator) -> Image.Image:
    """Returns grey noise about 128: a small random field, tiled, which is much faster than a large one and looks the
    same.
    """
    field = np.clip(rng.normal(128, deviation, (256, 256)), 0, 255).astype(np.uint8)
    width, height = size
    return Image.fromarray(np.tile(field, (-(-height // 256), -(-width // 256)))[:height, :width])


def encode_png(page: Image.Image) -> bytes:
    """Returns a page as a PNG with the ten colours of paper and ink, a quarter of the size of true colour."""
    buffer = io.BytesIO()
    page.quantize(palette=_palette(), dither=Image.Dither.NONE).save(buffer, "PNG", bits=4)
    return buffer.getvalue()


def encode_jpeg(page: Image.Image) -> bytes:
    """Returns a page as a JPEG of quality 80, which pages with artefacts need."""
    buffer = io.BytesIO()
    page.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


@lru_cache(maxsize=1)
def _palette() -> Image.Image:
    """Returns the palette: white, the two colours of the grid, ink, and the colours between ink and paper."""
    shades = [tuple(round(ink + (paper - ink) * i / 4) for ink, paper in zip(INK, (255, 255, 255))) for i in range(5)]
    between = [tuple((ink + grid) // 2 for ink, grid in zip(INK, colour)) for colour in (MINOR, MAJOR)]
    colours = [*shades, MINOR, MAJOR, *between, (200, 120, 120)]
    palette = Image.new("P", (1, 1))
    palette.putpalette([value for colour in colours for value in colour] + [0] * (768 - 3 * len(colours)))
    return palette


def wrap(
    lines: list[tuple[str, str]], width: float, font: ImageFont.FreeTypeFont
) -> list[tuple[str, tuple[int, int, int]]]:
    """Breaks (question, answer) pairs into lines of at most `width` pixels, with the colour of each; an empty line
    stands behind each pair.
    """
    wrapped = []
    for question, answer in lines:
        for text, colour in ((question, QUESTION_INK), (answer, INK)):
            line = ""
            for word in text.split():
                if font.getlength(f"{line} {word}") > width:
                    wrapped.append((line, colour))
                    line = word
                else:
                    line = f"{line} {word}".strip()
            wrapped.append((line, colour))
        wrapped.append(("", INK))
    return wrapped


def add_text(page: Image.Image, lines: list[tuple[str, str]]) -> Image.Image:
    """Returns the page, drawn at 150 dpi, with (question, answer) pairs below it, wrapped to its width."""
    px = 150 / 25.4
    size, pad = round(TEXT_MM * px), round(MARGIN_MM * px)
    font, step = load_font(size), round(LINE_STEP * size)
    wrapped = wrap(lines, page.width - 2 * pad, font)
    out = Image.new("RGB", (page.width, page.height + pad + len(wrapped) * step), (255, 255, 255))
    out.paste(page, (0, 0))
    draw = ImageDraw.Draw(out)
    for i, (line, colour) in enumerate(wrapped):
        draw.text((pad, page.height + pad // 2 + i * step), line, fill=colour, font=font)
    return out
