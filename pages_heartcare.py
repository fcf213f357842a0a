# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Tells whether a picture is an ECG on paper, the right way up.

    picture --darker than its paper--> ink --long straight lines taken away--> strokes --> traces, calibration pulses

A trace is a thin stroke that runs across a part of the page, is quiet for the most part, and has narrow spikes after
which it returns to where it came from. Letters are short, charts do not return, photographs are not thin.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageFilter
from scipy import ndimage

from .image_processing_heartcare import as_rgb, open_picture, picture_of

# Pictures are reduced by a whole factor, that of the side which needs less, to about as many pixels.
LONG_SIDE = 825
SHORT_SIDE = 560
INK = 0.76  # largest brightness of ink, relative to the paper around it
DARK_INK = 0.4  # the same, of ink that is darker than a grid without colours
LEAST_INK = 0.001  # least share of ink of a page that is not blank
MOST_INK = 0.1  # share of ink, above which some of it may be that of a grid without colours
RULING = 0.2  # share of the width; a line that is straight for as long is a ruling, or shows no heartbeat
LEAST_WIDTH = 0.08  # least width of a stroke that may be a trace, in widths of the page
LEAST_TRACES = 0.85  # least width of all traces together, in widths of the page

# Limits that traces keep, in pixels where no other unit is given.
MOST_RUNS = 1.35  # strokes in a column, on average
MOST_THICK = 4.0  # height of a stroke in a column
SPIKE = 5.0  # height of a spike above that of the usual column
STEEP = (0.003, 0.25)  # share of a trace's columns that spikes have
LEAST_KURTOSIS = 3.5  # kurtosis of a trace's distance from its usual level
MOST_STEP = 0.25  # shift of the level from before to after a spike, relative to its height
MOST_SPIKES = 60  # spikes on the width of a page
# Traces that cross each other are one stroke.
LEAST_REGULAR = 0.55  # share of its columns that have the usual number of runs
LEAST_COMMON_KURTOSIS = 3.0  # the median over its traces
LEAST_COMMON_SPIKES = 4  # spikes of all its traces together

# In fast wide beats no trace is quiet, but wide strokes go up and down together.
LEAST_STROKES = 3  # strokes of the same period
LEAST_WAVE_WIDTH = 0.2  # width of a wide stroke, in widths of the page
LEAST_WAVES = 1.5  # width of all such strokes together, in widths of the page
LEAST_RECURRENCE = 0.5  # correlation of a stroke with itself one period later
MOST_OTHER = 0.1  # share of the usual period by which that of a stroke may differ

LEAST_PULSES = 2  # calibration pulses, from which on they tell which way is up
LEAST_LEAN = 0.45  # lean of a page to either side, from which on it tells which way is up


def not_a_page(picture: Any) -> str | None:
    """Tells why a picture is not an ECG on paper, the right way up.

    Args:
        picture: A PIL image, a path, the content of a file, or an array as `picture_of` takes it.

    Returns: None for an ECG that is upright, or may be; otherwise "blank", "no ECG traces", "turned by 180 degrees",
        "turned by 90 degrees clockwise", "turned by 270 degrees clockwise", or "turned by 90 or 270 degrees".

    Raises: as `open_picture` and `picture_of`.
    """
    if isinstance(picture, (str, Path, bytes)):
        picture = open_picture(picture)
    light = brightness_of(as_rgb(picture if isinstance(picture, Image.Image) else picture_of(picture)))
    inks = [light < INK]
    if not LEAST_INK <= inks[0].mean() <= 1 - LEAST_INK:
        return "blank"
    if inks[0].mean() > MOST_INK:
        inks.insert(0, light < DARK_INK)
    for page in map(Page, inks):
        if page.has_traces:
            return "turned by 180 degrees" if page.upside_down else None
    for turned in (Page(np.rot90(ink)) for ink in inks):  # counterclockwise, which mends a page turned clockwise
        if turned.has_traces and turned.upside_down is None:
            return "turned by 90 or 270 degrees"
        if turned.has_traces:
            return f"turned by {270 if turned.upside_down else 90} degrees clockwise"
    return "no ECG traces"


def brightness_of(picture: Image.Image) -> np.ndarray:
    """Returns the brightness of an RGB picture relative to the paper around each point, float32 (height, width), at a
    reduced size.

    A point counts in its brightest colour, so that coloured grids are paper. The darkest of the points that become one
    counts, since strokes may be thinner than that.
    """
    long, short = max(picture.size), min(picture.size)
    factor = max(1, min(round(long / LONG_SIDE), round(short / SHORT_SIDE)))
    bands = []
    for band in picture.split():
        counts = np.cumsum(band.histogram())
        white = max(1, int(np.searchsorted(counts, 0.8 * counts[-1])))
        bands.append(band.point([min(255, round(255 * value / white)) for value in range(256)]))
    bright = ImageChops.lighter(ImageChops.lighter(bands[0], bands[1]), bands[2])
    points = np.asarray(bright)[: picture.height // factor * factor, : picture.width // factor * factor]
    darkest = points[::factor]
    for row in range(1, factor):
        darkest = np.minimum(darkest, points[row::factor])
    darkest, lines = darkest[:, ::factor], darkest
    for column in range(1, factor):
        darkest = np.minimum(darkest, lines[:, column::factor])
    small = bright.reduce(max(2, min(bright.size) // 60))
    paper = small.filter(ImageFilter.MaxFilter(5)).filter(ImageFilter.GaussianBlur(2))
    paper = paper.resize(darkest.shape[::-1], Image.Resampling.BILINEAR)
    return darkest / np.maximum(np.asarray(paper, np.float32), 1)


class Page:
    """The strokes of a page, if it is held this way.

    Args:
        ink: bool (height, width).
    """

    def __init__(self, ink: np.ndarray):
        self.height, self.width = ink.shape
        self.strokes = list(self._strokes(without_rulings(ink)))
        self.pulses = [way for stroke in self.strokes if (way := stroke.pulse) is not None]

    def _strokes(self, ink: np.ndarray) -> Iterator["Stroke"]:
        labels, _ = ndimage.label(ink, np.ones((3, 3)))
        # Specks and letters are many; what is as long as a stroke that counts has as many points at least.
        is_long = np.bincount(labels.ravel()) >= min(LEAST_WIDTH * self.width, 0.06 * self.height)
        is_long[0] = False  # the paper
        labels = np.where(is_long, np.cumsum(is_long), 0)[labels]
        for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
            width, height = columns.stop - columns.start, rows.stop - rows.start
            if width >= LEAST_WIDTH * self.width or (height >= 0.03 * self.height and width >= 6):
                yield Stroke(labels[rows, columns] == number, self.width)

    @property
    def has_traces(self) -> bool:
        """Tells whether traces cover enough of the page; beside calibration pulses, strokes that are not straight count
        as traces.
        """
        has_pulses = len(self.pulses) >= LEAST_PULSES
        long = [stroke for stroke in self.strokes if stroke.share >= LEAST_WIDTH]
        share = sum(stroke.share for stroke in long if stroke.is_trace or (has_pulses and stroke.is_line))
        return share >= LEAST_TRACES or self._beats_together(long)

    def _beats_together(self, strokes: list["Stroke"]) -> bool:
        """Tells whether enough strokes are waves of the same period."""
        waves = [(stroke.period, stroke.share) for stroke in strokes if stroke.period]
        if len(waves) < LEAST_STROKES:
            return False
        usual = np.median([period for period, _ in waves])
        alike = [share for period, share in waves if abs(period - usual) <= MOST_OTHER * usual]
        return len(alike) >= LEAST_STROKES and sum(alike) >= LEAST_WAVES

    @property
    def upside_down(self) -> bool | None:
        """Tells whether the page stands on its head, by its calibration pulses, or by the time between QRS and T wave;
        None where neither tells.
        """
        if len(self.pulses) >= LEAST_PULSES and abs(sum(self.pulses)) > 0.5 * len(self.pulses):
            return sum(self.pulses) < 0
        lean = self.lean
        return lean < 0 if abs(lean) >= LEAST_LEAN else None

    @property
    def lean(self) -> float:
        """Movement of the traces in the half cycle after a QRS against that in the one before, from -1 to 1: above 0
        for an upright page, since T waves are larger than P waves.
        """
        moves = [stroke.moves for stroke in self.strokes if stroke.share >= 0.15 and stroke.runs <= MOST_RUNS]
        before, after = np.sum(moves, axis=0) if moves else (0.0, 0.0)
        return float((after - before) / (after + before)) if after + before else 0.0


@dataclass
class Stroke:
    """Ink that hangs together.

    Attributes:
        ink: bool (height, width), the box around it.
        page: Width of the page in pixels.
    """

    ink: np.ndarray
    page: int

    @property
    def is_trace(self) -> bool:
        """Tells whether it is the trace of one lead, of some in a row, or traces that cross each other."""
        steep = float(np.mean(self.thickness >= np.median(self.thickness) + SPIKE))
        if np.median(self.thickness) > MOST_THICK or not STEEP[0] <= steep <= STEEP[1]:
            return False
        if not 0 < len(self.spikes) <= MOST_SPIKES * self.share:
            return False
        if self.runs > MOST_RUNS:
            return len(self.spikes) >= LEAST_COMMON_SPIKES and self._are_traces()
        return self._kurtosis() >= LEAST_KURTOSIS and self._step() <= MOST_STEP

    def _kurtosis(self) -> float:
        top, bottom = self.edges
        level = ndimage.median_filter(self.middle, max(9, int(0.06 * self.page)) | 1, mode="nearest")
        away = np.where(np.abs(top - level) > np.abs(bottom - level), top, bottom) - level
        return float(np.mean(away**4) / (np.mean(away**2) ** 2 + 1e-9))

    def _step(self) -> float:
        """Returns the shift of the level from before to after spikes, relative to their height, by the median."""
        (top, bottom), steps = self.edges, []
        for start, stop in self.spikes:
            moved = []
            for gap in (1, int(0.02 * self.page)):  # wide complexes take longer to return
                first, last = max(0, start - gap), stop + gap
                before, after = self.middle[max(0, first - 5) : first], self.middle[last : last + 5]
                if len(before) and len(after):
                    height = bottom[first:last].max() - top[first:last].min() + 1
                    moved.append(abs(before.mean() - after.mean()) / height)
            steps += [min(moved)] if moved else []
        return float(np.median(steps)) if steps else np.inf

    def _are_traces(self) -> bool:
        """Tells whether most columns cut the same number of thin strokes, and these are as quiet as traces."""
        usual = int(np.bincount(self.counts).argmax())
        columns = self.ink[:, self.counts == usual]
        if usual < 2 or columns.shape[1] < LEAST_REGULAR * self.ink.shape[1]:
            return False
        padded = np.pad(columns, ((1, 1), (0, 0)))
        starts = np.argwhere((padded[1:] & ~padded[:-1]).T)[:, 1].reshape(-1, usual)
        ends = np.argwhere((padded[:-1] & ~padded[1:]).T)[:, 1].reshape(-1, usual)
        middles = (starts + ends) / 2
        away = middles - ndimage.median_filter(middles, (max(9, int(0.06 * len(middles))) | 1, 1), mode="nearest")
        kurtosis = np.mean(away**4, axis=0) / (np.mean(away**2, axis=0) ** 2 + 1e-9)
        return bool(np.median(kurtosis) >= LEAST_COMMON_KURTOSIS)

    @cached_property
    def period(self) -> float:
        """Columns after which a line repeats itself; 0 where it does not."""
        if not self.is_line or self.runs > MOST_RUNS or self.share < LEAST_WAVE_WIDTH:
            return 0.0
        moves = self.middle - self.middle.mean()
        power = np.square(np.abs(np.fft.rfft(moves, 2 * len(moves))))
        overlap = np.arange(len(moves), 0, -1)
        alike = np.fft.irfft(power)[: len(moves)] / overlap  # the shorter the overlap, the less it holds
        alike = alike[: len(moves) * 2 // 3] / alike[0]
        below = np.flatnonzero(alike < 0)
        if not len(below):
            return 0.0
        best = int(below[0] + alike[below[0] :].argmax())
        return float(best) if alike[best] >= LEAST_RECURRENCE else 0.0

    @property
    def is_line(self) -> bool:
        """Tells whether it is a thin line that is not straight, or some that cross each other."""
        return bool(np.percentile(self.thickness, 20) <= MOST_THICK and self.middle.std() >= 1)

    @cached_property
    def pulse(self) -> int | None:
        """1 for a calibration pulse that stands upright, -1 for one that hangs; None for anything else.

        A pulse has two upright sides that a line joins at one end, and a short foot outside of each at the other.
        """
        height, width = self.ink.shape
        if not (0.006 * self.page <= width <= 0.08 * self.page and height >= 0.4 * width):
            return None
        filled = self.ink.sum(axis=0)
        sides = np.flatnonzero(filled >= 0.8 * height)
        if not len(sides) or sides[-1] - sides[0] < max(5, 0.25 * width) or filled.sum() > 0.6 * height * width:
            return None
        left, right = sides[0], sides[-1]
        inside = self.ink[:, left + 2 : right - 1]
        third = max(1, height // 3)
        ends = [inside[:third], inside[-third:]]
        joined = [end.any(axis=0).mean() > 0.9 for end in ends]
        empty = [end.mean() < 0.15 for end in ends]  # but for specks
        feet = [self.ink[rows][:, [0, -1]].any(axis=0).all() for rows in (slice(0, third), slice(-third, None))]
        if left == 0 or right == width - 1:
            return None
        if joined[0] and empty[1] and feet[1]:
            return 1
        return -1 if joined[1] and empty[0] and feet[0] else None

    @property
    def moves(self) -> tuple[float, float]:
        """Movement of the stroke in the half cycle before its spikes, and in that after them, summed over spikes."""
        centres = [(start + stop) / 2 for start, stop in self.spikes]
        cycle = float(np.median(np.diff(centres))) if len(centres) > 1 else 0.0
        if cycle < 12:
            return 0.0, 0.0
        near, far, sums = int(0.08 * cycle), int(0.45 * cycle), np.zeros(2)
        for start, stop in self.spikes:
            parts = self.middle[max(0, start - far) : max(0, start - near)], self.middle[stop + near : stop + far]
            if min(len(part) for part in parts) >= 0.9 * (far - near):
                sums += [np.abs(part - np.median(part)).mean() for part in parts]
        return float(sums[0]), float(sums[1])

    @cached_property
    def spikes(self) -> list[tuple[int, int]]:
        """First column and end of each place where the stroke is steep."""
        steep = self.thickness >= np.median(self.thickness) + SPIKE
        labels, _ = ndimage.label(ndimage.binary_closing(steep, np.ones(5)))
        return [(found.start, found.stop) for (found,) in ndimage.find_objects(labels)]

    @cached_property
    def edges(self) -> tuple[np.ndarray, np.ndarray]:
        """First and last row with ink of each column, int (width,)."""
        return self.ink.argmax(axis=0), len(self.ink) - 1 - self.ink[::-1].argmax(axis=0)

    @cached_property
    def middle(self) -> np.ndarray:
        """Mean row of each column's ink, (width,)."""
        rows = np.arange(len(self.ink), dtype=np.float32)
        return rows @ self.ink / np.maximum(self.ink.sum(axis=0), 1)

    @cached_property
    def thickness(self) -> np.ndarray:
        """Height of the strokes in each column, (width,)."""
        return self.ink.sum(axis=0) / np.maximum(self.counts, 1)

    @cached_property
    def runs(self) -> float:
        """Number of strokes that a column cuts, on average."""
        return float(self.counts.mean())

    @cached_property
    def counts(self) -> np.ndarray:
        """Number of strokes that each column cuts, int (width,)."""
        return (self.ink[1:] & ~self.ink[:-1]).sum(axis=0) + self.ink[0]

    @property
    def share(self) -> float:
        """Width in widths of the page."""
        return self.ink.shape[1] / self.page


def without_rulings(ink: np.ndarray) -> np.ndarray:
    """Returns ink (height, width) without what lies on long horizontal lines; they may be a little tilted."""
    length = max(3, int(RULING * ink.shape[1]))
    thick = ndimage.maximum_filter1d(ink.view(np.uint8), 3, axis=0)
    lines = ndimage.maximum_filter1d(ndimage.minimum_filter1d(thick, length, axis=1), length, axis=1)
    return ink & ~lines.astype(bool)


__all__ = ["not_a_page"]
