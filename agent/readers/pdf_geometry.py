"""Drawings of a page -> traces, calibration pulses, scale, rows of traces and their zero levels.

drawings --polylines--> traces | calibration pulses;  straight lines --> grid
grid or pulses --> points per mm;  traces --> rows;  foot of a row's pulse --> 0 mV

Coordinates are points, x to the right and y downwards as the page is read.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

POINTS_PER_MM = 72 / 25.4
MIN_TRACE_POINTS = 60
JOIN_POINTS = 0.02  # strokes whose ends are nearer belong to one polyline
MIN_GRID_LINES = 9
GAINS = (2.5, 5.0, 10.0, 20.0, 40.0)  # mm/mV


@dataclass
class Trace:
    """A polyline that runs from left to right: `x` rises."""

    x: np.ndarray
    y: np.ndarray

    @property
    def left(self) -> float:
        """Place of the first point."""
        return float(self.x[0])

    @property
    def right(self) -> float:
        """Place of the last point."""
        return float(self.x[-1])

    @cached_property
    def level(self) -> float:
        """Median height, which is near 0 mV."""
        return float(np.median(self.y))

    def cut(self, left: float, right: float) -> "Trace":
        """Returns the part from `left` to `right`."""
        inside = (self.x >= left - 1e-6) & (self.x <= right + 1e-6)
        return Trace(self.x[inside], self.y[inside])


@dataclass
class Pulse:
    """A calibration pulse of 1 mV: its ends, the height of its top and that of its foot, which is 0 mV."""

    left: float
    right: float
    top: float
    foot: float


@dataclass
class Lines:
    """Traces, calibration pulses, and the places of the grid's upright ("x") and level ("y") lines."""

    traces: list[Trace] = field(default_factory=list)
    pulses: list[Pulse] = field(default_factory=list)
    grid: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass
class Row:
    """Traces side by side, from left to right, and their pulses."""

    traces: list[Trace]
    pulses: list[Pulse] = field(default_factory=list)

    @property
    def level(self) -> float:
        """Height that is typical of the row: the foot of its pulse, else the median of its traces' levels."""
        if self.pulses:
            return float(np.median([pulse.foot for pulse in self.pulses]))
        return float(np.median([trace.level for trace in self.traces]))

    def zero(self, trace: Trace) -> float:
        """Returns the height of 0 mV of one of its traces: the foot of the pulse, else the median of the trace."""
        return self.level if self.pulses else trace.level


@dataclass(frozen=True)
class Scale:
    """Points per mm along time (`x`) and along voltage (`y`), and the `source`, by which they were measured."""

    x: float
    y: float
    source: str


def find_lines(drawings: list[dict], upright: np.ndarray) -> Lines:
    """Sorts what is drawn on a page.

    Args:
        drawings: As PyMuPDF's `get_drawings` or `get_cdrawings` gives them.
        upright: (2, 2) matrix; points of the page times this are upright, x to the right and y downwards.

    Raises: `ValueError` for coordinates that are no numbers.
    """
    strokes, boxes = collect_strokes(drawings)
    chains = [np.array(chain, np.float64) @ upright for chain in strokes]
    if not all(np.isfinite(chain).all() for chain in chains):
        raise ValueError("a line of the page has coordinates that are no numbers")
    lines, straight = Lines(), {"x": [], "y": []}
    lines.traces = [trace for chain in chains if (trace := as_trace(chain))]
    widest = max((trace.right - trace.left for trace in lines.traces), default=0.0)
    for chain in chains:
        if len(chain) == 2 or len(chain) == 3 and np.allclose(chain[0], chain[2]):
            add_straight(straight, *chain[:2])
        elif pulse := as_pulse(chain, widest / 4):
            lines.pulses.append(pulse)
    # A pulse of many strokes is long enough for a trace.
    outlines = {(pulse.left, pulse.right, pulse.foot) for pulse in lines.pulses}
    lines.traces = [t for t in lines.traces if (t.left, t.right, float(t.y.max())) not in outlines]
    for box in boxes:
        add_box(straight, np.array(box).reshape(2, 2) @ upright)
    lines.grid = {axis: long_lines(places) for axis, places in straight.items()}
    return lines


def collect_strokes(drawings: list[dict]) -> tuple[list[list[tuple[float, float]]], list[tuple[float, ...]]]:
    """Returns the stroked polylines of a page, where strokes that meet are joined to one, and its filled boxes."""
    chains, boxes = [], []
    chain: list[tuple[float, float]] = []
    for drawing in drawings:
        stroked = "s" in (drawing.get("type") or "")
        for item in drawing["items"]:
            if not stroked and item[0] == "re":
                boxes.append(tuple(item[1]))
            if not stroked or item[0] not in ("l", "c"):
                continue
            # A curve between two samples is as good as the line between them.
            (x0, y0), (x1, y1) = item[1], item[-1]
            if chain and abs(chain[-1][0] - x0) < JOIN_POINTS and abs(chain[-1][1] - y0) < JOIN_POINTS:
                chain.append((x1, y1))
            else:
                chain = [(x0, y0), (x1, y1)]
                chains.append(chain)
    return chains, boxes


def as_trace(line: np.ndarray) -> Trace | None:
    """Returns a polyline of many points that runs from one side to the other as a trace, None for any other."""
    if len(line) < MIN_TRACE_POINTS:
        return None
    if line[-1, 0] < line[0, 0]:
        line = line[::-1]
    if np.mean(np.diff(line[:, 0]) >= -1e-3) <= 0.99:
        return None
    keep = np.concatenate([[True], np.diff(np.maximum.accumulate(line[:, 0])) > 1e-4])
    return Trace(line[keep, 0], line[keep, 1]) if keep.sum() >= MIN_TRACE_POINTS else None


def as_pulse(line: np.ndarray, widest: float) -> Pulse | None:
    """Returns a polyline as a calibration pulse where it goes along its foot, its top and its foot again, with steep
    strokes between, and is no wider than `widest`; None for any other. It may have four corners or any number of
    points.
    """
    if len(line) < 4 or not 0 < np.ptp(line[:, 0]) < widest:
        return None
    x, y = (line if line[0, 0] <= line[-1, 0] else line[::-1]).T
    top, foot = y.min(), y.max()
    if foot - top < 1:
        return None
    place = np.where(y < top + 0.03 * (foot - top), 1, np.where(y > foot - 0.03 * (foot - top), 0, -1))
    levels = place[place >= 0]
    runs = levels[np.concatenate([[True], np.diff(levels) != 0])].tolist()
    level = (place[1:] == place[:-1]) & (place[1:] >= 0)
    flat = np.abs(np.diff(x))[level].sum() >= 0.85 * np.abs(np.diff(x)).sum()
    if runs != [0, 1, 0] or not flat or np.any(np.diff(x) < -0.05):
        return None
    return Pulse(float(x[0]), float(x[-1]), float(top), float(foot))


def add_straight(straight: dict[str, list], start: np.ndarray, end: np.ndarray) -> None:
    """Adds (place, length) of an upright or level line."""
    width, height = np.abs(end - start)
    if width < 0.05 < height:
        straight["x"].append((start[0], height))
    elif height < 0.05 < width:
        straight["y"].append((start[1], width))


def add_box(straight: dict[str, list], corners: np.ndarray) -> None:
    """Adds the middle of a filled box that is as thin as a line."""
    (x, y), (width, height) = corners.mean(axis=0), np.abs(corners[1] - corners[0])
    if width < 1.5 < height:
        straight["x"].append((x, height))
    elif height < 1.5 < width:
        straight["y"].append((y, width))


def long_lines(places: list[tuple[float, float]]) -> np.ndarray:
    """Returns the places of lines, without those far shorter than the others (ticks, rules under text)."""
    if not places:
        return np.zeros(0)
    place, length = np.array(places).T
    return np.unique(np.round(place[length >= 0.25 * length.max()], 3))


def calibrate(lines: Lines, gain: float) -> Scale:
    """Returns the scale by the grid's spacing in each direction, or else by the height of the calibration pulses (1 mV
    at `gain` mm/mV).

    Raises: `ValueError` when there is neither, or when they disagree by more than a tenth.
    """
    spacing = {axis: grid_spacing(places) for axis, places in lines.grid.items()}
    x, y = spacing["x"] or spacing["y"], spacing["y"] or spacing["x"]
    by_pulse = float(np.median([pulse.foot - pulse.top for pulse in lines.pulses])) / gain if lines.pulses else None
    if x is None and by_pulse is None:
        raise ValueError("there is neither a grid nor a calibration pulse, so that the traces have no scale")
    if x is None:
        return Scale(by_pulse, by_pulse, "the calibration pulse")
    if by_pulse is not None and not 0.9 < y / by_pulse < 1.1:
        raise ValueError(
            f"the grid says {y:.3f} points per mm and the calibration pulse {by_pulse:.3f}; the report contradicts "
            "itself"
        )
    return Scale(x, y, "the grid")


def measure_gain(lines: Lines) -> float | None:
    """Returns the gain in mm/mV by the height of the pulses on the grid, None where it is no usual gain."""
    spacing = grid_spacing(lines.grid["y"]) or grid_spacing(lines.grid["x"])
    if spacing is None or not lines.pulses:
        return None
    gain = float(np.median([pulse.foot - pulse.top for pulse in lines.pulses])) / spacing
    nearest = min(GAINS, key=lambda usual: abs(gain - usual))
    return nearest if abs(gain / nearest - 1) < 0.05 else None


def grid_spacing(places: np.ndarray) -> float | None:
    """Returns the points per mm by the places of parallel lines, 1 mm or 5 mm apart, or None where they are too few."""
    gaps = np.diff(places)
    gaps = gaps[gaps > 0.5]
    if len(gaps) < MIN_GRID_LINES - 1:
        return None
    unit = float(np.median(gaps))
    spacing = float(gaps[np.abs(gaps - unit) < 0.1 * unit].mean())
    # A printed millimetre is 2.83 points; pages are scaled, but a box of 5 mm is not taken for one of 1 mm.
    return spacing / 5 if spacing > 2.5 * POINTS_PER_MM else spacing


def group_rows(lines: Lines, scale: Scale) -> list[Row]:
    """Returns the rows of a page from the top. Traces of a row have levels near each other and do not lie above one
    another; a pulse belongs to the row nearest to its foot.
    """
    rows: list[Row] = []
    for trace in sorted(lines.traces, key=lambda trace: trace.level):
        beside = [
            row
            for row in rows
            if abs(trace.level - row.level) < 10 * scale.y
            and all(trace.left >= t.right - scale.x or trace.right <= t.left + scale.x for t in row.traces)
        ]
        if beside:
            min(beside, key=lambda row: abs(trace.level - row.level)).traces.append(trace)
        else:
            rows.append(Row([trace]))
    levels = np.array([row.level for row in rows])
    for pulse in lines.pulses:
        nearest = int(np.abs(levels - pulse.foot).argmin())
        if abs(levels[nearest] - pulse.foot) < 12 * scale.y:
            rows[nearest].pulses.append(pulse)
    for row in rows:
        row.traces.sort(key=lambda trace: trace.left)
    return sorted(rows, key=lambda row: row.level)
