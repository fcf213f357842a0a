# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""From a picture of an ECG on paper to the ECG: mV at 500 Hz, NaN where a lead is not shown.

    picture --paper_heartcare--> flat page --tracing_heartcare--> rows --calibration pulses--> speed, gain
        --each arrangement, by the laws of the limb leads--> layout --columns--> leads --> ECG, with what was found

Which lead is where is not read but checked: I + III = II, aVR + aVL + aVF = 0, and a strip repeats a lead above it. An
arrangement in which the laws do not hold is not taken, and where none is left the page is refused.
"""

from dataclasses import dataclass, field
from itertools import combinations, product

import numpy as np
from PIL import Image
from scipy import ndimage

from .configuration_heartcare import LEADS
from .ecg_heartcare import ECG
from .image_processing_heartcare import as_rgb, open_picture
from .layouts_heartcare import GRIDS, MOST_STRIPS, ORDERS, PageLayout
from .pages_heartcare import not_a_page
from .paper_heartcare import NET_MM, PX, Grid, darkness, find_grid, reduced
from .tracing_heartcare import LONGEST_GAP_MM, Row, find_ink, find_rows, follow

RATE = 500  # Hz of the ECG
SPEEDS, GAINS = (25.0, 50.0), (10.0, 5.0, 20.0)  # mm/s and mm/mV that pages have, the commonest first
PULSE_SECONDS = 0.2
PULSE_MM = (2.0, 12.0)  # width of a calibration pulse
MOST_BESIDE_MM = 14.0  # of ink between a pulse and the edge of the page
STEEP_MM = 3.5  # by which its edges rise within 1 mm
NEAR = 0.13  # by which a pulse may differ from one that is expected
BESIDE_MM = 0.7  # on both sides of the border of two leads, where a line may part them
SMOOTH_MM = 0.5  # deviation of the window in which leads are compared, since no row is exactly above another
MOST_ERROR = 0.55  # of the laws of the limb leads, in parts of the leads
MOST_STRIP_ERROR = 0.55  # of a strip against the lead that it repeats; above, it is left out
CLEAR, LEAST_MARGINS = 0.3, (1.25, 1.6)  # of the second best error over the best, where that is below, and above
USUAL_WIDTH_MM = 250.0  # of the traces of a row
LEAST_WIDTH_MM = 90.0  # of the traces of a row

# What the limb leads are to each other, as sums that are 0.
LAWS: tuple[dict[str, float], ...] = (
    {"I": 1, "III": 1, "II": -1},
    {"aVR": 1, "aVL": 1, "aVF": 1},
    {"aVR": 2, "I": 1, "II": 1},
    {"aVL": 2, "aVR": -2, "I": -3},
    {"aVF": 2, "II": -1, "III": -1},
)


class NotDigitized(ValueError):
    """A page cannot be digitised; the message names the reason and what helps."""


@dataclass(frozen=True)
class Place:
    """Where a lead, or a part of it, is on the flat page.

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
        ecg: The ECG; its notes say what was found and what was assumed.
        layout: Arrangement of its leads.
        speed, gain: mm/s and mm/mV.
        grid: The page's grid.
        turned: Degrees by which the picture was turned clockwise to be upright: 0, 90, 180 or 270.
        errors: Law or strip -> its error, in parts of the leads.
        places: Where the leads are.
        rows: The traces.
    """

    ecg: ECG
    layout: PageLayout
    speed: float
    gain: float
    grid: Grid
    turned: int
    errors: dict[str, float]
    places: tuple[Place, ...]
    rows: tuple[Row, ...] = field(repr=False, default=())


@dataclass(frozen=True)
class Pulse:
    """A calibration pulse.

    Attributes:
        start, stop: Pixels of its edges.
        base, height: mm above the row's line of what is beside it, and of the pulse above that.
    """

    start: int
    stop: int
    base: float
    height: float

    @property
    def width(self) -> float:
        """mm between its edges."""
        return (self.stop - self.start) / PX


def digitize(
    picture: Image.Image | str | bytes,
    layout: str | PageLayout | None = None,
    speed: float | None = None,
    gain: float | None = None,
) -> DigitizedPage:
    """Digitises a picture of a 12-lead ECG on paper, a clean print, a scan or a photograph.

    Args:
        picture: A PIL image, or a path or the content of a file.
        layout: Arrangement of the leads, such as "3x4+R", where it is known; None finds it.
        speed, gain: mm/s and mm/mV, where they are known; None reads them from the calibration pulses, and takes
            25 mm/s and 10 mm/mV where there are none, which the ECG's notes and warnings say.

    Raises: `NotDigitized` with a reason: not an ECG, too small, the grid or the traces are not found, the layout is
        uncertain; the errors of `open_picture`.
    """
    if not isinstance(picture, Image.Image):
        picture = open_picture(picture)
    picture = reduced(as_rgb(picture))
    if min(picture.size) < 300:
        raise NotDigitized(
            f"The picture is too small to be digitised: {picture.width} x {picture.height} pixels; a page needs 4 "
            "pixels for each mm, 1100 x 800 in all."
        )
    cause = not_a_page(picture)
    turns = {"turned by 90 degrees clockwise": (270,), "turned by 270 degrees clockwise": (90,)}
    turns |= {"turned by 180 degrees": (180,), "turned by 90 or 270 degrees": (90, 270)}
    given = PageLayout.named(layout) if isinstance(layout, str) else layout
    failed = None
    for turned in turns.get(cause, (0, 180)):
        upright = picture.rotate(-turned, expand=True) if turned else picture
        try:
            return _digitize_upright(upright, given, speed, gain, turned)
        except NotDigitized as error:
            failed = failed or error
    if cause and not cause.startswith("turned"):
        raise NotDigitized(f"The picture is no page of an ECG: {cause}.") from failed
    raise failed


def _digitize_upright(
    picture: Image.Image, layout: PageLayout | None, speed: float | None, gain: float | None, turned: int
) -> DigitizedPage:
    grid = find_grid(picture)
    has_grid = grid is not None
    if not has_grid:
        grid = level_net(picture, picture.width / 275)
    rows, pulses = _read_rows(picture, grid)
    if not has_grid:
        lean = _lean(rows, pulses)
        pitch = grid.pitch * _scale_of(pulses, speed, gain)
        left, right = _extent(rows, pulses)
        width = (right - left) / PX * grid.pitch / pitch / USUAL_WIDTH_MM
        # Nearly all pages show ten seconds at 25 mm/s, which tells the scale better than the pulses do.
        grid = level_net(picture, pitch * width if abs(width - 1) < NEAR / 2 else pitch, lean)
        rows, pulses = _read_rows(picture, grid)
    warnings, notes = [], []
    speed, gain = _calibration(pulses, speed, gain, warnings)
    left, right = _extent(rows, pulses)
    if (right - left) / PX < LEAST_WIDTH_MM:
        raise NotDigitized("The traces are too short to be those of twelve leads.")
    layout, order, errors, strips = _find_layout(rows, left, right, layout)
    rows = [rows[number] for number in order]
    pulses = [pulses[number] for number in order]
    places = tuple(_places(layout, strips, left, right, speed))
    signal = _signal(rows, pulses, places, speed, gain)
    notes.append(
        f"digitised from a picture: layout {layout.name}, {layout.order} order, {speed:g} mm/s, {gain:g} mm/mV, "
        f"{grid.pitch:.2f} pixels per mm, lines turned by {grid.angle:.1f} degrees"
        + (f", picture turned by {turned} degrees" if turned else "")
    )
    if not has_grid:
        warnings.append("grid_not_found")
    ecg = ECG(signal, RATE, LEADS, source="picture", format="picture", notes=tuple(notes), warnings=tuple(warnings))
    return DigitizedPage(ecg, layout, speed, gain, grid, turned, errors, places, tuple(rows))


def _read_rows(picture: Image.Image, grid: Grid) -> tuple[list[Row], list[Pulse | None]]:
    """Follows the traces of a page, and finds their calibration pulses."""
    known = np.asarray(grid.flatten(Image.new("L", picture.size, 255))) > 0
    ink = find_ink(grid.flatten(picture), known)
    at = find_rows(ink)
    if len(at) < 3:
        raise NotDigitized("The traces are not found: a page of twelve leads has three rows or more.")
    rows = follow(ink, at)
    pulses = [find_pulse(row) for row in rows]
    found = [pulse.height for pulse in pulses if pulse]
    # One row alone may have a beat of the shape of a pulse.
    usual = float(np.median(found)) if len(found) > max(1, len(rows) / 3) else np.inf
    return rows, [pulse if pulse and abs(pulse.height / usual - 1) < NEAR else None for pulse in pulses]


def _lean(rows: list[Row], pulses: list[Pulse | None]) -> float:
    """Returns how far to the right the rows' pulses are from row to row, in pixels for each pixel down."""
    points = [(row.y, pulse.start) for row, pulse in zip(rows, pulses) if pulse]
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2)]
    return float(np.median(slopes)) if slopes else 0.0


def level_net(picture: Image.Image, pitch: float, lean: float = 0.0) -> Grid:
    """Returns the net of a page without a grid: turned so that its traces lie, with `pitch` pixels for each mm.

    Args:
        picture: RGB.
        pitch: Pixels for each mm.
        lean: What is below lies so far to the right, for each pixel down.
    """
    small = darkness(picture.reduce(2), darkest=False)
    y, x = np.nonzero(ndimage.grey_opening(small, (1, 5)) > 0.3)
    angles = np.arange(-6, 6.01, 0.25)
    sharp = []
    for angle in angles:
        rows = np.round(y - np.tan(np.deg2rad(angle)) * (x - picture.width / 4)).astype(int)
        sharp.append(np.square(np.bincount(rows - rows.min()).astype(float)).sum() if len(rows) else 0)
    slope = np.tan(np.deg2rad(angles[int(np.argmax(sharp))]))
    step = NET_MM * pitch
    columns, rows = np.meshgrid(np.arange(0, picture.width + step, step), np.arange(0, picture.height + step, step))
    middle = picture.width / 2, picture.height / 2
    across, down = columns - middle[0] + lean * (rows - middle[1]), rows - middle[1]
    length = np.hypot(1, slope)
    x, y = middle[0] + (across - slope * down) / length, middle[1] + (slope * across + down) / length
    return Grid(x, y, pitch, float(np.degrees(np.arctan(slope))), 0)


def find_pulse(row: Row) -> Pulse | None:
    """Finds the calibration pulse at the begin or the end of a row: a step up, flat, and down to where it began."""
    height = row.height
    there = np.flatnonzero(np.isfinite(height))
    if len(there) < 20 * PX:
        return None
    filled = np.interp(np.arange(len(height)), there, height[there])
    half = PX // 2
    moved = np.zeros(len(height))
    moved[half:-half] = filled[2 * half :] - filled[: -2 * half]
    rises, falls = (_tops(sign * moved, STEEP_MM) for sign in (1, -1))
    found = []
    for rise, fall in product(rises, falls):
        if not PULSE_MM[0] * PX <= fall - rise <= PULSE_MM[1] * PX:
            continue
        flat = filled[rise + half : fall - half + 1]
        before, after = filled[max(0, rise - 2 * half) : rise - half + 1], filled[fall + half : fall + 2 * half + 1]
        if len(flat) < 3 or not len(before) or not len(after):
            continue
        base, level = (np.median(before), np.median(after)), np.median(flat)
        is_flat = np.abs(flat - level).max() < 0.6 and np.std(flat) < 0.25
        if is_flat and abs(base[0] - base[1]) < 1.5 and level - max(base) > STEEP_MM:
            outside = min((there < rise).sum(), (there > fall).sum()) / PX  # a foot, and perhaps the lead's name
            if outside < MOST_BESIDE_MM:
                pulse = Pulse(rise, fall, float(np.median(np.concatenate([before, after]))), 0.0)
                found.append(Pulse(rise, fall, pulse.base, float(level - pulse.base)))
    return min(found, key=lambda pulse: min((there < pulse.start).sum(), (there > pulse.stop).sum()), default=None)


def _tops(values: np.ndarray, least: float) -> list[int]:
    """Returns the places of the highest value of each stretch above a limit."""
    labels, _ = ndimage.label(values >= least)
    return [found.start + int(values[found].argmax()) for (found,) in ndimage.find_objects(labels)]


def _scale_of(pulses: list[Pulse | None], speed: float | None, gain: float | None) -> float:
    """Returns true pixels per mm, in those that were assumed, by calibration pulses of 0.2 s and 1 mV.

    Raises: `NotDigitized` where they do not tell.
    """
    found = [pulse for pulse in pulses if pulse]
    if found:
        width, height = (float(np.median([getattr(pulse, name) for pulse in found])) for name in ("width", "height"))
        for fast, tall in product([speed] if speed else SPEEDS, [gain] if gain else GAINS):
            if abs(width / height / (PULSE_SECONDS * fast / tall) - 1) < NEAR:
                return height / tall
    raise NotDigitized(
        "The grid is not found, and no calibration pulses from which the scale could be read; give a scan or a "
        "photograph in which the lines of the paper are seen."
    )


def _calibration(
    pulses: list[Pulse | None], speed: float | None, gain: float | None, warnings: list[str]
) -> tuple[float, float]:
    """Returns mm/s and mm/mV; what is assumed is added to the warnings."""
    found = [pulse for pulse in pulses if pulse]
    width, height = (
        float(np.median([getattr(pulse, name) for pulse in found])) if found else 0.0 for name in ("width", "height")
    )
    if speed is None:
        near = [each for each in SPEEDS if abs(width / (PULSE_SECONDS * each) - 1) < 2 * NEAR]
        speed = near[0] if near else SPEEDS[0]
        warnings += [] if near else [f"speed_assumed_{speed:g}"]
    if gain is None:
        near = [each for each in GAINS if abs(height / each - 1) < NEAR]
        if found and not near:
            raise NotDigitized(
                f"The calibration pulses are {height:.1f} mm high, which is none of 5, 10 and 20 mm for 1 mV; give gain=."
            )
        gain = near[0] if near else GAINS[0]
        warnings += [] if near else [f"gain_assumed_{gain:g}"]
    return speed, gain


def _extent(rows: list[Row], pulses: list[Pulse | None]) -> tuple[float, float]:
    """Returns the pixels between which the rows have their leads."""
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


def _find_layout(
    rows: list[Row], left: float, right: float, given: PageLayout | None
) -> tuple[PageLayout, list[int], dict[str, float], tuple[str | None, ...]]:
    """Finds the arrangement in which the laws of the limb leads hold best.

    Returns: The layout; the numbers of the rows that it takes; the error of each law; and the leads of its strips,
        None for one that repeats no lead above it.

    Raises: `NotDigitized` where no arrangement holds, or two hold about as well.
    """
    smooth = [_smooth(row.height) for row in rows]
    tried = []
    for layout in _candidates(len(rows), given):
        needed = layout.rows + layout.strips
        for first in range(len(rows) - needed + 1):
            order = list(range(first, first + needed))
            errors, strips = _errors(layout, [smooth[number] for number in order], left, right)
            laws = [error for name, error in errors.items() if name[0].isdigit()]
            repeats = [min(error, 1.0) for name, error in errors.items() if not name[0].isdigit()]
            of_laws, of_rest = (float(np.sqrt(np.mean(np.square(some)))) if some else 0.0 for some in (laws, repeats))
            holds = of_laws <= MOST_ERROR
            # Rows that are left over are evidence against an arrangement.
            score = of_laws + 0.3 * of_rest + 0.5 * (len(rows) - needed)
            tried.append((score, holds, layout, order, errors, strips))
    tried.sort(key=lambda each: each[0])
    good = [each for each in tried if each[1]]
    if not good:
        raise NotDigitized(
            f"The layout is uncertain: {len(rows)} rows were found, and the limb leads fit in no usual arrangement; "
            "give layout=, or a better picture."
        )
    kind = _kind(good[0][2])
    # Of arrangements that differ in strips alone, the one that leaves the fewest rows over explains the page.
    best = min((each for each in good if _kind(each[2]) == kind), key=lambda each: (-len(each[3]), each[0]))
    rivals = [each for each in tried if _kind(each[2]) != kind]
    margin = LEAST_MARGINS[good[0][0] > CLEAR]
    if given is None and rivals and rivals[0][0] < margin * good[0][0]:
        raise NotDigitized(
            f"The layout is uncertain: {best[2].name} ({best[2].order}) and {rivals[0][2].name} ({rivals[0][2].order}) "
            "fit about as well; give layout=."
        )
    return best[2], best[3], best[4], best[5]


def _kind(layout: PageLayout) -> tuple[str, str]:
    return layout.grid, layout.order


def _candidates(count: int, given: PageLayout | None) -> list[PageLayout]:
    if given is not None:
        return [given]
    return [
        PageLayout(grid, strips, order)
        for grid, most in MOST_STRIPS.items()
        for strips in range(most + 1)
        for order in ORDERS
        if (grid != "4x3" or order == "standard")
        if count - 2 <= GRIDS[grid][0] + strips <= count
    ]


def _smooth(height: np.ndarray) -> np.ndarray:
    """Returns a row's trace smoothed, NaN where there is none."""
    there = np.isfinite(height)
    if not there.any():
        return height
    filled = np.interp(np.arange(len(height)), np.flatnonzero(there), height[there])
    return np.where(there, ndimage.gaussian_filter1d(filled, SMOOTH_MM * PX), np.nan)


def _errors(
    layout: PageLayout, rows: list[np.ndarray], left: float, right: float
) -> tuple[dict[str, float], tuple[str | None, ...]]:
    """Returns the error of each law that can be checked in a layout, and the leads that its strips repeat."""
    margin = round(2 * BESIDE_MM * PX)
    borders = np.linspace(left, right, layout.columns + 1)
    parts, errors = {}, {}
    spans = [slice(round(a) + margin, round(b) - margin) for a, b in zip(borders, borders[1:])]
    for row, column in product(range(layout.rows), range(layout.columns)):
        values = rows[row][spans[column]]
        values = values - np.nanmedian(values) if np.isfinite(values).any() else values
        lead = layout.lead(row, column)
        parts[lead.removeprefix("-")] = (column, -values if lead.startswith("-") else values)
    for law in LAWS:
        if len({parts[lead][0] for lead in law}) == 1:
            sides = [weight * parts[lead][1] for lead, weight in law.items()]
            errors[" + ".join(f"{weight:g} {lead}" for lead, weight in law.items())] = _relative(sum(sides), sides)
    strips = []
    for number in range(layout.strips):
        strip = rows[layout.rows + number]
        found = {}
        for lead, (column, values) in parts.items():
            own = strip[spans[column]] - np.nanmedian(strip[spans[column]])
            found[lead] = _relative(own - values, [own, values])
        lead = min((each for each in found if each not in strips), key=lambda each: found[each])
        strips.append(lead if found[lead] <= MOST_STRIP_ERROR else None)
        errors[f"strip {number + 1} = {lead}"] = found[lead]
        errors[f"strip {number + 1} is one lead"] = _unlike(strip[round(left) + margin : round(right) - margin])
    if layout.columns < 3:
        cells = [_unlike(rows[row][span]) for row, span in product(range(layout.rows), spans)]
        errors["rows are of few leads"] = float(np.mean(cells))
    return errors, tuple(strips)


def _unlike(values: np.ndarray) -> float:
    """Returns how much the two halves of a trace differ in the heights that they reach, relative to these: beats of one
    lead are alike, those of two leads seldom are.
    """
    shares = np.linspace(0.01, 0.99, 50)
    level = ndimage.median_filter(np.nan_to_num(values), round(25 * PX) | 1, mode="nearest")
    halves = [half[np.isfinite(half)] for half in np.array_split(values - level, 2)]
    if min(map(len, halves)) < 2 * PX:
        return 9.0
    first, second = (np.quantile(half, shares) - np.median(half) for half in halves)
    size = (np.abs(first) + np.abs(second)).mean() / 2
    return float(np.abs(first - second).mean() / max(size, 0.1))


def _relative(rest: np.ndarray, sides: list[np.ndarray]) -> float:
    """Returns the size of what should be 0, relative to what it is the sum of; 9 where too little is there."""
    good = np.isfinite(rest)
    if good.mean() < 0.7:
        return 9.0
    rest = rest - np.median(rest[good])
    size = np.sqrt(sum(np.mean(np.square(side[good])) for side in sides) / len(sides))
    return float(np.sqrt(np.mean(np.square(rest[good]))) / max(size, 0.2))


def _places(layout: PageLayout, strips: tuple[str | None, ...], left: float, right: float, speed: float) -> list[Place]:
    borders = np.linspace(left, right, layout.columns + 1)
    places = [
        Place(
            layout.lead(row, column), row, borders[column], borders[column + 1], (borders[column] - left) / PX / speed
        )
        for row, column in product(range(layout.rows), range(layout.columns))
    ]
    return places + [Place(lead, layout.rows + number, left, right, 0.0) for number, lead in enumerate(strips) if lead]


def _signal(
    rows: list[Row], pulses: list[Pulse | None], places: tuple[Place, ...], speed: float, gain: float
) -> np.ndarray:
    """Returns the leads as float32 (12, samples) in mV; where a strip and a row show the same, the row counts."""
    longest = max(place.seconds + (place.stop - place.start) / PX / speed for place in places)
    signal = np.full((len(LEADS), round(longest * RATE)), np.nan, np.float32)
    for place in sorted(places, key=lambda place: place.stop - place.start, reverse=True):
        row, pulse = rows[place.row], pulses[place.row]
        base = pulse.base if pulse else float(np.nanmedian(row.height))
        height = row.height - base
        first, last = place.start + BESIDE_MM * PX, place.stop - BESIDE_MM * PX
        columns = np.arange(len(height)) + 0.5
        there = np.isfinite(height) & (columns >= first) & (columns <= last)
        if not there.any():
            continue
        begin = round(place.seconds * RATE)
        end = min(signal.shape[1], round((place.seconds + (place.stop - place.start) / PX / speed) * RATE))
        at = place.start + (np.arange(begin, end) / RATE - place.seconds) * speed * PX
        values = np.interp(at, columns[there], height[there]) / gain
        nearest = columns[there][np.clip(np.searchsorted(columns[there], at), 0, there.sum() - 1)]
        values[np.abs(nearest - at) > 4 * BESIDE_MM * PX] = np.nan
        sign = -1 if place.lead.startswith("-") else 1
        lead = LEADS.index(place.lead.removeprefix("-"))
        signal[lead, begin:end] = np.where(np.isfinite(values), sign * values, signal[lead, begin:end])
    return signal


__all__ = ["DigitizedPage", "NotDigitized", "Place", "digitize"]
