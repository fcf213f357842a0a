# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Calibration pulses of a flat page, and where its leads begin: 1 mV for 0.2 s tells gain and speed.

row's trace --step up, flat, step down--> Pulse --width, height--> mm/s, mm/mV; behind it the leads begin
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import ndimage

from .paper_heartcare import PX, NotDigitized
from .tracing_heartcare import LONGEST_GAP_MM, Row

SPEEDS, GAINS = (25.0, 50.0), (10.0, 5.0, 20.0)  # mm/s and mm/mV that pages have, the commonest first
POSSIBLE_SPEEDS, POSSIBLE_GAINS = (5.0, 200.0), (1.0, 100.0)  # lowest and highest that devices can be set to
PULSE_SECONDS = 0.2
PULSE_MM = (2.0, 12.0)  # width of a calibration pulse
MOST_BESIDE_MM = 14.0  # most mm of ink between a pulse and the edge of the page
STEEP_MM = 3.5  # least mm that the edges of a pulse rise within 1 mm
MOST_UNEVEN_MM = 0.6  # mm by which the top of a pulse may be above or below its level
TOP_MM = 1.5  # mm of the top over which its level is taken
NEAR = 0.13  # share by which a pulse may differ from an expected one


@dataclass(frozen=True)
class Pulse:
    """A calibration pulse.

    Attributes:
        start, stop: Pixels of its edges.
        base: mm from the row's line up to the trace beside the pulse.
        height: mm from there up to its top.
    """

    start: int
    stop: int
    base: float
    height: float

    @property
    def width(self) -> float:
        """mm between its edges."""
        return (self.stop - self.start) / PX


def find_pulses(rows: list[Row]) -> list[Pulse | None]:
    """Finds the calibration pulse of each row, None for a row without one. If few rows have one, none counts: a beat
    may have the shape of a pulse.
    """
    pulses = [find_pulse(row) for row in rows]
    heights = [pulse.height for pulse in pulses if pulse]
    if len(heights) < max(2, len(rows) / 2):
        return [None] * len(rows)
    usual = float(np.median(heights))
    return [pulse if pulse and abs(pulse.height / usual - 1) < NEAR else None for pulse in pulses]


def find_pulse(row: Row) -> Pulse | None:
    """Finds the calibration pulse at the begin or the end of a row: a step up from its foot, and a flat top. The other
    foot may not be told from the trace beside it.
    """
    last = len(row.height) - 1
    if first_pulse := _pulse_at_begin(row.height):
        return first_pulse
    if mirrored := _pulse_at_begin(row.height[::-1]):
        return Pulse(last - mirrored.stop, last - mirrored.start, mirrored.base, mirrored.height)
    return None


def _pulse_at_begin(height: np.ndarray) -> Pulse | None:
    there = np.flatnonzero(np.isfinite(height))
    if len(there) < 20 * PX:
        return None
    filled = np.interp(np.arange(len(height)), there, height[there])
    half = PX // 2
    moved = np.zeros(len(filled))
    moved[half:-half] = filled[2 * half :] - filled[: -2 * half]
    for rise in _tops(moved, STEEP_MM):
        # Before it are its foot and perhaps the lead's name, and no trace.
        if (there < rise).sum() > MOST_BESIDE_MM * PX:
            break
        base = np.median(filled[max(0, rise - 2 * half) : rise - half + 1])
        level = np.median(filled[rise + half : rise + half + round(TOP_MM * PX)])
        is_top = np.abs(filled[rise + half :] - level) < MOST_UNEVEN_MM
        is_top = ndimage.median_filter(is_top, 5)  # a line of the grid may cross it
        stop = rise + half + int(is_top.argmin())
        if is_top[0] and PULSE_MM[0] * PX <= stop - rise <= PULSE_MM[1] * PX and level - base > STEEP_MM:
            return Pulse(rise, stop, float(base), float(level - base))
    return None


def _tops(values: np.ndarray, least: float) -> list[int]:
    """Returns the places of the highest value of each stretch above a limit."""
    labels, _ = ndimage.label(values >= least)
    return [found.start + int(values[found].argmax()) for (found,) in ndimage.find_objects(labels)]


def scale_of(pulses: list[Pulse | None], speed: float | None, gain: float | None) -> float:
    """Returns the number of assumed mm in a true one, by calibration pulses of 0.2 s and 1 mV.

    Raises: `NotDigitized` where they do not tell.
    """
    if usual := median_pulse(pulses):
        for fast, tall in product([speed] if speed else SPEEDS, [gain] if gain else GAINS):
            if abs(usual[0] / usual[1] / (PULSE_SECONDS * fast / tall) - 1) < NEAR:
                return usual[1] / tall
    raise NotDigitized(
        "The grid is not found, and no calibration pulses from which the scale could be read; give a scan or a "
        "photograph in which the lines of the paper are seen."
    )


def check_scales(speed: float | None, gain: float | None) -> None:
    """Raises `ValueError` for mm/s or mm/mV that no page has; a page of 0.01 mm/s would be hours of samples."""
    for name, value, (low, high), unit in (
        ("speed", speed, POSSIBLE_SPEEDS, "mm/s"),
        ("gain", gain, POSSIBLE_GAINS, "mm/mV"),
    ):
        if value is not None and not low <= value <= high:
            raise ValueError(f"{name} must be from {low:g} to {high:g} {unit}, as pages have it, got {value:g}.")


def read_calibration(
    pulses: list[Pulse | None], speed: float | None, gain: float | None
) -> tuple[float, float, tuple[str, ...]]:
    """Returns mm/s, mm/mV, and warnings that say which of them was assumed.

    Raises: `NotDigitized` for pulses of an unusual height.
    """
    width, height = median_pulse(pulses) or (0.0, 0.0)
    warnings = []
    if speed is None:
        near = [each for each in SPEEDS if abs(width / (PULSE_SECONDS * each) - 1) < 2 * NEAR]
        speed = near[0] if near else SPEEDS[0]
        warnings += [] if near else [f"speed_assumed_{speed:g}"]
    if gain is None:
        near = [each for each in GAINS if abs(height / each - 1) < NEAR]
        if height and not near:
            raise NotDigitized(
                f"The calibration pulses are {height:.1f} mm high, which is none of 5, 10 and 20 mm for 1 mV; give "
                "gain=."
            )
        gain = near[0] if near else GAINS[0]
        warnings += [] if near else [f"gain_assumed_{gain:g}"]
    return speed, gain, tuple(warnings)


def median_pulse(pulses: list[Pulse | None]) -> tuple[float, float] | None:
    """Returns the median width and height of the pulses in mm, None where there are none."""
    found = [(pulse.width, pulse.height) for pulse in pulses if pulse]
    return tuple(np.median(found, axis=0).tolist()) if found else None


def find_extent(rows: list[Row], pulses: list[Pulse | None]) -> tuple[float, float]:
    """Returns the pixels between which the rows have their leads.

    Raises: `NotDigitized` where there are no traces.
    """
    starts, stops = [], []
    with_pulses = [(row, pulse) for row, pulse in zip(rows, pulses) if pulse]
    # A pulse that was not seen would count as the trace's begin.
    for row, pulse in with_pulses or zip(rows, pulses):
        there = np.isfinite(row.top)
        at = np.flatnonzero(there)
        if not len(at):
            continue
        first, last = _ends(at)
        if pulse and pulse.start - first < last - pulse.stop:
            first = _after_gap(there, pulse.stop, 1)
        elif pulse:
            last = _after_gap(there, pulse.start, -1)
        starts.append(_edge(row.mass, first))
        stops.append(len(there) - _edge(row.mass[::-1], len(there) - 1 - last))
    if not starts:
        raise NotDigitized("The traces are not found.")
    return float(np.median(starts)), float(np.median(stops))


def _ends(at: np.ndarray) -> tuple[int, int]:
    """Returns the first and the last column with ink, but for short pieces beside the trace, such as a lead's name."""
    cuts = np.flatnonzero(np.diff(at) > LONGEST_GAP_MM * PX)
    parts = np.split(at, cuts + 1)
    while len(parts) > 1 and len(parts[0]) < MOST_BESIDE_MM * PX:
        parts.pop(0)
    while len(parts) > 1 and len(parts[-1]) < MOST_BESIDE_MM * PX:
        parts.pop()
    return int(parts[0][0]), int(parts[-1][-1])


def _edge(mass: np.ndarray, first: int) -> float:
    """Returns where ink begins, to a part of a pixel: blur spreads it, but keeps its mass.

    Args:
        mass: Ink of each column.
        first: The first column that is counted as ink.
    """
    usual = np.median(mass[first + 2 : first + 18]) if first + 4 < len(mass) else 0
    if not usual:
        return float(first)
    before = mass[max(0, first - 4) : first + 2].sum() / usual
    return float(np.clip(first + 2 - before, first - 1, first + 1.5))


def _after_gap(there: np.ndarray, start: int, step: int) -> int:
    """Returns where the trace begins behind the foot of a pulse, which a gap in the ink may part from it."""
    foot, farthest = round(0.5 * PX), round(6 * PX)
    for away in range(foot, farthest):
        at = start + step * away
        if not 0 <= at < len(there):
            break
        if not there[at]:
            while 0 <= at < len(there) and not there[at]:
                at += step
            return int(np.clip(at, 0, len(there) - 1))
    return int(np.clip(start + step * PX, 0, len(there) - 1))


__all__ = ["NEAR", "Pulse", "check_scales", "find_extent", "find_pulses", "read_calibration", "scale_of"]
