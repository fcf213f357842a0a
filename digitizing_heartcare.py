# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""From a picture of an ECG on paper to the ECG: mV at 500 Hz, NaN where a lead is not shown.

picture --paper_heartcare--> flat page --tracing_heartcare--> rows --calibration_heartcare--> speed, gain
    --layouts_heartcare, by the laws of the limb leads--> layout --columns--> leads --> ECG, with what was found
"""

from dataclasses import dataclass, field
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from .calibration_heartcare import NEAR, Pulse, check_scales, find_extent, find_pulses, read_calibration, scale_of
from .configuration_heartcare import LEADS
from .ecg_heartcare import ECG
from .image_processing_heartcare import as_rgb, open_picture
from .layouts_heartcare import BESIDE_MM, CLEAR, WIDTH_MM, Arrangement, PageLayout, find_layout
from .pages_heartcare import not_a_page
from .paper_heartcare import BEYOND_MM, NET_MM, PX, Grid, NotDigitized, darkness, find_grid, reduced
from .tracing_heartcare import Row, find_ink, find_rows, follow

RATE = 500  # Hz of the ECG
FEWEST_PIXELS = 300  # least pixels of the shorter side of a picture
LEAST_WIDTH_MM = 90.0  # least width of the traces of twelve leads
ASSUMED_WIDTH_MM = 275.0  # width of a page without a grid, before its calibration pulses are seen
MOST_SKEW = 6.0  # degrees by which the traces of such a page may be turned
BORDER_MM = 2.0  # width of the border inside of the grid in which no trace lies
FAR_MM = 3.0  # points that are farther from a trace are not shown by it
STEEP_MV = 0.3  # change of a lead in its first or last mm, from which on it is on a slope there
CUT_OFF = "rows_cut_off"  # warning of a page whose rows the picture shows in part, or with more beside them
COLOURS = ((200, 0, 60), (0, 90, 200), (0, 140, 60), (200, 110, 0), (130, 0, 180), (0, 140, 150))  # rows in turn
LABEL_MM = 7.0  # height of a lead's name above its row
# Answer of `not_a_page` -> degrees by which the picture is turned clockwise to be upright; the likeliest first.
TURNS = {
    "turned by 90 degrees clockwise": (270,),
    "turned by 270 degrees clockwise": (90,),
    "turned by 180 degrees": (180,),
    "turned by 90 or 270 degrees": (90, 270),
}


@dataclass(frozen=True)
class Place:
    """Place of a lead, or of a part of it, on the flat page.

    Attributes:
        lead: Name; "-aVR" is upside down.
        row: Number of the row, from the top.
        start, stop: Pixels of the flat page.
        seconds: Time at `start`.
    """

    lead: str
    row: int
    start: float
    stop: float
    seconds: float


@dataclass(frozen=True)
class DigitizedPage:
    """A page and the ECG that it shows.

    Attributes:
        ecg: The ECG; its notes and warnings say what was found and what was assumed.
        arrangement: The layout, and how well the laws of the limb leads hold in it.
        speed, gain: mm/s and mm/mV.
        grid: The page's grid.
        turned: Degrees by which the picture was turned clockwise to be upright: 0, 90, 180 or 270.
        places: Places of the leads on the flat page.
        rows: The traces.
        picture: The picture, upright, with at most `MOST_PIXELS` on its longer side.
    """

    ecg: ECG
    arrangement: Arrangement
    speed: float
    gain: float
    grid: Grid
    turned: int
    places: tuple[Place, ...]
    rows: tuple[Row, ...] = field(repr=False)
    picture: Image.Image = field(repr=False)

    def as_plain(self) -> dict[str, Any]:
        """Returns what was found of the page as plain values, for replies in JSON."""
        return {
            "layout": self.layout.name,
            "order": self.layout.order,
            "speed": self.speed,
            "gain": self.gain,
            "turned": self.turned,
            "pixels_per_mm": round(self.grid.pitch, 2),
            "warnings": list(self.ecg.warnings),
        }

    def draw_over(self) -> Image.Image:
        """Returns the picture, upright, with each lead that was read drawn over it in a colour of its row."""
        page = self.picture.copy()
        pen, width, font_size = ImageDraw.Draw(page), max(1, page.width // 1200), max(8, page.width // 72)
        for place in self.places:
            row = self.rows[place.row]
            columns = np.arange(max(0, int(place.start)), min(len(row.height), int(place.stop)))
            columns = columns[np.isfinite(row.height[columns])]
            x, y = self.grid.to_picture(columns + 0.5, row.y + 0.5 - row.height[columns] * PX)
            for part in np.split(np.arange(len(columns)), np.flatnonzero(np.diff(columns) > 1) + 1):
                line = np.stack([x[part], y[part]], axis=1).ravel().tolist()
                pen.line(line, fill=COLOURS[place.row % len(COLOURS)], width=width)
            label = self.grid.to_picture(np.array([place.start]), np.array([row.y - LABEL_MM * PX]))
            pen.text(
                (label[0][0], label[1][0]), place.lead, fill=COLOURS[place.row % len(COLOURS)], font_size=font_size
            )
        return page

    @property
    def layout(self) -> PageLayout:
        """Arrangement of the leads in rows and columns."""
        return self.arrangement.layout


def is_page(given: Any) -> bool:
    """Tells whether something is a `DigitizedPage`, of this code or of another copy of it: a model that is loaded with
    `trust_remote_code` brings its own.
    """
    return type(given).__name__ == DigitizedPage.__name__


def digitize(
    picture: Image.Image | str | Path | bytes,
    layout: str | None = None,
    speed: float | None = None,
    gain: float | None = None,
) -> DigitizedPage:
    """Digitises a picture of a 12-lead ECG on paper: a clean print, a scan or a photograph, turned or not.

    Args:
        picture: A PIL image, or a path or the content of a file.
        layout: Arrangement of the leads, one of `LAYOUT_NAMES`, such as "3x4+R", where it is known; None finds it.
        speed, gain: mm/s and mm/mV, where they are known; None reads them from the calibration pulses, and takes
            25 mm/s and 10 mm/mV where there are none, which the ECG's warnings say.

    Raises: `NotDigitized` with a reason: not an ECG, too small, the grid or the traces are not found, the layout is
        uncertain; `ValueError` for an unknown layout, and for a speed or gain that no page has; the errors of
        `open_picture`.
    """
    check_scales(speed, gain)
    picture = reduced(as_rgb(picture if isinstance(picture, Image.Image) else open_picture(picture)))
    if min(picture.size) < FEWEST_PIXELS:
        raise NotDigitized(
            f"The picture is too small to be digitised: {picture.width} x {picture.height} pixels; a page needs 4 "
            "pixels for each mm, 1100 x 800 in all."
        )
    cause, failed = not_a_page(picture), None
    for turned in TURNS.get(cause, (0,) if cause else (0, 180)):
        upright = picture.rotate(-turned, expand=True) if turned else picture
        try:
            page = _digitize_upright(upright, layout, speed, gain, turned)
        except NotDigitized as error:
            failed = failed or error
            continue
        # A picture that looks upright is turned upside down only if its layout is clear then.
        if cause in TURNS or not turned or page.arrangement.error <= CLEAR and CUT_OFF not in page.ecg.warnings:
            return page
    if cause and cause not in TURNS:
        raise NotDigitized(f"The picture is no page of an ECG: {cause}.") from failed
    raise failed


def _digitize_upright(
    picture: Image.Image, layout: str | None, speed: float | None, gain: float | None, turned: int
) -> DigitizedPage:
    grid = find_grid(picture)
    warnings = () if grid else ("grid_not_found",)
    if grid:
        rows, pulses = _read_rows(picture, grid)
    else:
        grid, rows, pulses = _read_without_grid(picture, speed, gain)
    speed, gain, assumed = read_calibration(pulses, speed, gain)
    left, right = find_extent(rows, pulses)
    if (right - left) / PX < LEAST_WIDTH_MM:
        raise NotDigitized("The traces are too short to be those of twelve leads.")
    found = find_layout([row.height for row in rows], left, right, layout)
    shown = slice(found.first, found.first + found.layout.rows + found.layout.strips)
    rows, pulses = rows[shown], pulses[shown]
    places = tuple(_places(found, speed))
    notes = [
        f"digitised from a picture: layout {found.layout.name}, {found.layout.order} order, {speed:g} mm/s, {gain:g} "
        f"mm/mV, {grid.pitch:.2f} pixels per mm, lines turned by {grid.angle:.1f} degrees"
    ]
    notes += [f"turned the picture by {turned} degrees clockwise"] if turned else []
    warnings += assumed + (() if found.holds else ("layout_not_confirmed",))
    warnings += (CUT_OFF,) if (found.left, found.right) != (left, right) else ()
    warnings += tuple(f"strip_unknown:{number}" for number, lead in enumerate(found.strips, 1) if lead is None)
    signal = _signal(rows, pulses, places, speed, gain)
    ecg = ECG(signal, RATE, LEADS, "picture", "picture", notes=tuple(notes), warnings=warnings)
    return DigitizedPage(ecg, found, speed, gain, grid, turned, places, tuple(rows), picture)


def _read_without_grid(
    picture: Image.Image, speed: float | None, gain: float | None
) -> tuple[Grid, list[Row], list[Pulse | None]]:
    """Reads the rows of a page without a grid, by the scale and the lean of its calibration pulses."""
    grid = level_net(picture, picture.width / ASSUMED_WIDTH_MM)
    rows, pulses = _read_rows(picture, grid)
    pitch = grid.pitch * scale_of(pulses, speed, gain)
    left, right = find_extent(rows, pulses)
    width = (right - left) / PX * grid.pitch / pitch / WIDTH_MM
    if abs(width - 1) < NEAR / 2:  # nearly all pages show ten seconds at 25 mm/s, which is surer than the pulses
        pitch *= width
    points = [(row.y, pulse.start) for row, pulse in zip(rows, pulses) if pulse]
    leans = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2)]
    grid = level_net(picture, pitch, float(np.median(leans)) if leans else 0.0)
    return grid, *_read_rows(picture, grid)


def _read_rows(picture: Image.Image, grid: Grid) -> tuple[list[Row], list[Pulse | None]]:
    """Follows the traces of a page, and finds their calibration pulses."""
    known = np.asarray(grid.flatten(Image.new("L", picture.size, 255))) > 0
    ink = find_ink(grid.flatten(picture), known)
    rows = follow(ink, find_rows(ink, (BEYOND_MM + BORDER_MM) * PX if grid.spacing else 0))
    if len(rows) < 3:
        raise NotDigitized("The traces are not found: a page of twelve leads has three rows or more.")
    return rows, find_pulses(rows)


def level_net(picture: Image.Image, pitch: float, lean: float = 0.0) -> Grid:
    """Returns the net of a page without a grid: turned so that its traces lie.

    Args:
        picture: RGB.
        pitch: Pixels for each mm.
        lean: By how much more to the right is what is below, for each pixel down.

    Raises: `NotDigitized` for a blank picture.
    """
    small = darkness(picture.reduce(2), darkest=False)
    y, x = np.nonzero(ndimage.grey_opening(small, (1, 5)) > 0.3)
    if not len(y):
        raise NotDigitized("The picture is blank.")
    angles = np.arange(-MOST_SKEW, MOST_SKEW + 0.01, 0.25)
    sharp = []
    for angle in angles:
        rows = np.round(y - np.tan(np.deg2rad(angle)) * (x - picture.width / 4)).astype(int)
        sharp.append(np.square(np.bincount(rows - rows.min()).astype(float)).sum())
    slope = np.tan(np.deg2rad(angles[int(np.argmax(sharp))]))
    step = NET_MM * pitch
    columns, rows = np.meshgrid(np.arange(0, picture.width + step, step), np.arange(0, picture.height + step, step))
    middle = picture.width / 2, picture.height / 2
    across, down = columns - middle[0] + lean * (rows - middle[1]), rows - middle[1]
    length = np.hypot(1, slope)
    x, y = middle[0] + (across - slope * down) / length, middle[1] + (slope * across + down) / length
    return Grid(x, y, pitch, float(np.degrees(np.arctan(slope))), 0)


def _places(found: Arrangement, speed: float) -> list[Place]:
    layout, left, right = found.layout, found.left, found.right
    borders = np.linspace(left, right, layout.columns + 1)
    seconds = (borders - left) / PX / speed
    places = [
        Place(layout.lead(row, column), row, borders[column], borders[column + 1], seconds[column])
        for row, column in product(range(layout.rows), range(layout.columns))
    ]
    strips = [Place(lead, layout.rows + row, left, right, 0.0) for row, lead in enumerate(found.strips) if lead]
    return places + strips


def _signal(
    rows: list[Row], pulses: list[Pulse | None], places: tuple[Place, ...], speed: float, gain: float
) -> np.ndarray:
    """Returns the leads as float32 (12, samples) in mV; where a strip and a row show the same, the row counts."""
    per_second = PX * speed
    ends = [place.seconds + (place.stop - place.start) / per_second for place in places]
    signal = np.full((len(LEADS), round(max(ends) * RATE)), np.nan, np.float32)
    for place, end in sorted(zip(places, ends), key=lambda each: each[0].start - each[0].stop):
        row, pulse = rows[place.row], pulses[place.row]
        height = row.height - (pulse.base if pulse else float(np.nanmedian(row.height)))
        columns = np.arange(len(height)) + 0.5
        inside = (columns >= place.start + BESIDE_MM * PX) & (columns <= place.stop - BESIDE_MM * PX)
        there = np.isfinite(height) & inside
        if not there.any():
            continue
        samples = slice(round(place.seconds * RATE), round(end * RATE))
        at = place.start + (np.arange(samples.start, samples.stop) / RATE - place.seconds) * per_second
        values = np.interp(at, columns[there], height[there]) / gain
        far = np.abs(columns[there][np.searchsorted(columns[there], at).clip(0, there.sum() - 1)] - at) > FAR_MM * PX
        far |= _beyond_slopes(at, columns[there], height[there] / gain)
        if place.lead.startswith("-"):
            values = -values
        own = signal[LEADS.index(place.lead.removeprefix("-")), samples]
        own[~far] = values[~far]
    return signal


def _beyond_slopes(at: np.ndarray, columns: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Tells which points lie beyond the first or the last column of a trace that is on a slope there, so that its level
    does not go on: bool (points,).

    Args:
        at: Pixels of the points.
        columns: Pixels of the trace, ascending.
        values: mV of the trace.
    """
    near = int(BESIDE_MM * PX) + 1
    beyond = np.zeros(len(at), bool)
    for part, outside in ((values[:near], at < columns[0]), (values[-near:], at > columns[-1])):
        if np.ptp(part) > STEEP_MV:
            beyond |= outside
    return beyond


__all__ = ["DigitizedPage", "NotDigitized", "Place", "digitize", "is_page"]
