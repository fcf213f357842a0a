# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Finds the place of each lead on a page, among the usual arrangements of twelve leads in rows and columns.

The names of the leads are not read. Each arrangement is checked by laws that the leads must keep: I + III = II, aVR +
aVL + aVF = 0, and a strip repeats a lead above it. One in which they do not hold is not taken, and a page that is left
without any is refused.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import ndimage

from .configuration_heartcare import LEADS
from .paper_heartcare import PX, NotDigitized

GRIDS = {"3x4": (3, 4), "4x3": (4, 3), "6x2": (6, 2), "12x1": (12, 1)}
MOST_STRIPS = {"3x4": 3, "4x3": 1, "6x2": 1, "12x1": 0}
CABRERA = ("aVL", "I", "-aVR", "II", "aVF", "III", *LEADS[6:])  # limb leads from left to right as the heart has them
ORDERS = {"standard": LEADS, "Cabrera": CABRERA}
LAYOUT_NAMES = tuple(
    grid + ("" if not strips else "+R" if strips == 1 else f"+{strips}R")
    for grid, most in MOST_STRIPS.items()
    for strips in range(most + 1)
)

BESIDE_MM = 0.7  # width on both sides of the border of two leads, where a line may part them
SMOOTH_MM = 0.5  # deviation of the window in which leads are compared, since no row is exactly above another
MOST_ERROR = 0.55  # largest error of the laws of the limb leads, relative to the leads
MOST_STRIP_ERROR = 0.4  # largest error of a strip against the lead that it repeats; with more, it repeats none
CLEAR = 0.3  # error of an arrangement that is sure, even of an order that few pages have
LEAST_MARGINS = (1.25, 1.6)  # least ratio of second best and best score, if that is below `CLEAR`, and above
UNKNOWN = 9.0  # error where too little of a trace is there
LEAST_SIZE_MM = 0.2  # deviation of leads, below which nothing can be said of them
WANDER_MM = 25.0  # window of the baseline that is taken away where halves of a trace are compared
WIDTH_MM = 250.0  # width of a row: ten seconds at 25 mm/s, or five at 50 mm/s
USUAL_MM = 4.0  # mm by which the width of rows may differ from that
BETTER = 0.7  # times the error with leads over all that is shown, below which leads that begin elsewhere are taken
SLIDE_MM = 0.5  # steps in which leads are tried farther left and right
MOST_BEFORE_MM = 25.0  # most mm of a pulse, a lead's name and the like before the leads
LEAST_SEEN = 0.5  # least share of the last column that a picture shows
LIKE_BEST = 1.15  # largest error, relative to that of the best place, with which the laws hold about as well
LEAST_COMPARED_MM = 15.0  # least length of leads that are compared
MOST_LEFT_OVER = 2  # most rows of a page that a layout may leave over

# Laws of the limb leads, as sums that are 0.
LAWS: tuple[dict[str, float], ...] = (
    {"I": 1, "III": 1, "II": -1},
    {"aVR": 1, "aVL": 1, "aVF": 1},
    {"aVR": 2, "I": 1, "II": 1},
    {"aVL": 2, "aVR": -2, "I": -3},
    {"aVF": 2, "II": -1, "III": -1},
)


@dataclass(frozen=True)
class PageLayout:
    """One arrangement: leads column by column, and below them strips that show one lead for the whole time.

    Attributes:
        grid: Key of `GRIDS`.
        strips: Number of strips.
        order: Key of `ORDERS`.
    """

    grid: str
    strips: int = 0
    order: str = "standard"

    @classmethod
    def named(cls, name: str, order: str = "standard") -> "PageLayout":
        """Returns the layout of a name such as "3x4", "3x4+R" or "3x4+3R".

        Raises: `ValueError` for another name or order.
        """
        found = re.fullmatch(r"(\d+x\d)(?:\+(\d?)R)?", name)
        if not found or name not in LAYOUT_NAMES or order not in ORDERS:
            raise ValueError(
                f"The layout {name!r} in {order!r} order is unknown; expected one of {', '.join(LAYOUT_NAMES)}, in "
                f"{' or '.join(ORDERS)} order."
            )
        strips = 0 if found[2] is None else int(found[2] or 1)
        return cls(found[1], strips, order)

    @property
    def name(self) -> str:
        """The layout's name, without its order."""
        return self.grid + ("" if not self.strips else "+R" if self.strips == 1 else f"+{self.strips}R")

    def lead(self, row: int, column: int) -> str:
        """Returns the lead at a place; "-aVR" is aVR upside down."""
        return ORDERS[self.order][column * self.rows + row]

    @property
    def rows(self) -> int:
        """Number of rows without the strips."""
        return GRIDS[self.grid][0]

    @property
    def columns(self) -> int:
        """Number of leads in such a row."""
        return GRIDS[self.grid][1]


@dataclass(frozen=True)
class Arrangement:
    """A layout that was tried on a page.

    Attributes:
        layout: The layout.
        first: Number of the row, from the top, that is its first.
        left_over: Number of rows of the page that it does not explain.
        laws: Each law of the limb leads that can be checked -> its error, in parts of the leads.
        repeats: Each other claim about the page -> its error.
        strips: Leads of its strips, None for one that repeats no lead above it.
        left, right: Pixels between which the rows have their leads.
    """

    layout: PageLayout
    first: int
    left_over: int
    laws: dict[str, float]
    repeats: dict[str, float]
    strips: tuple[str | None, ...]
    left: float
    right: float

    @property
    def kind(self) -> tuple[str, str]:
        """Its layout without the strips."""
        return self.layout.grid, self.layout.order

    @property
    def score(self) -> float:
        """Misfit of the arrangement; a row that it does not explain is evidence against it."""
        others = [min(error, 1.0) for error in self.repeats.values()]
        return self.error + 0.3 * _rms(others) + 0.5 * self.left_over

    @property
    def holds(self) -> bool:
        """Tells whether the limb leads are what they must be to each other."""
        return self.error <= (MOST_ERROR if self.layout.order == "standard" else CLEAR)

    @property
    def error(self) -> float:
        """The root mean square of the errors of the laws."""
        return _rms(self.laws.values())


def find_layout(rows: Sequence[np.ndarray], left: float, right: float, given: str | None = None) -> Arrangement:
    """Finds the arrangement of a page in which the laws of the limb leads hold best: with all rows from the first pixel
    to the last, or else, where a picture shows more or less of them, as wide as ten seconds at 25 mm/s, wherever the
    laws hold.

    Args:
        rows: Trace of each row from the top, (width,) in mm for each pixel, NaN where there is none.
        left, right: Pixels between which the rows have their leads.
        given: Name of the layout, where it is known; its order is found, and it is taken if the laws hold or not.

    Raises: `NotDigitized` where no arrangement holds, or two hold about as well; `ValueError` for an unknown layout.
    """
    smooth = [_smooth(row) for row in rows]
    places = [
        (layout, first)
        for layout in _candidates(len(rows), given)
        for first in range(len(rows) - layout.rows - layout.strips + 1)
    ]
    tried = sorted((_try(*place, smooth, left, right) for place in places), key=lambda each: each.score)
    good = [each for each in tried if each.holds or given]
    is_usual = abs((right - left) / PX - WIDTH_MM) <= USUAL_MM
    if not any(each.holds for each in good) or not is_usual:
        usual = (place for place in places if place[0].order == "standard")
        slid = sorted((_slide(*place, smooth, left, right) for place in usual), key=lambda each: each.score)
        most = CLEAR if not good else min(CLEAR, BETTER * good[0].error)
        if found := [each for each in slid if each.error <= most]:
            tried, good = slid, found
    if not good:
        raise NotDigitized(
            f"The layout is uncertain: {len(rows)} rows were found, and the limb leads fit in no usual arrangement; "
            "give layout=, or a better picture."
        )
    best, rivals = good[0], [each for each in tried if each.kind != good[0].kind]
    if not given and rivals and rivals[0].score < LEAST_MARGINS[best.score > CLEAR] * best.score:
        names = " and ".join(f"{each.layout.name} ({each.layout.order})" for each in (best, rivals[0]))
        raise NotDigitized(f"The layout is uncertain: {names} fit about as well; give layout=.")
    # Among arrangements that differ in strips alone, the one that leaves the fewest rows over explains the page.
    return min((each for each in good if each.kind == best.kind), key=lambda each: (each.left_over, each.score))


def _candidates(count: int, given: str | None) -> list[PageLayout]:
    """Returns the layouts that a page with this number of rows may have."""
    layouts = [PageLayout.named(name, order) for name in ([given] if given else LAYOUT_NAMES) for order in ORDERS]
    usual = [layout for layout in layouts if layout.grid != "4x3" or layout.order == "standard"]
    return [layout for layout in usual if count - MOST_LEFT_OVER <= layout.rows + layout.strips <= count or given]


def _smooth(height: np.ndarray) -> np.ndarray:
    """Returns a row's trace smoothed, NaN where there is none."""
    there = np.isfinite(height)
    if not there.any():
        return height
    filled = np.interp(np.arange(len(height)), np.flatnonzero(there), height[there])
    return np.where(there, ndimage.gaussian_filter1d(filled, SMOOTH_MM * PX), np.nan)


def _slide(layout: PageLayout, first: int, rows: list[np.ndarray], left: float, right: float) -> Arrangement:
    """Checks a layout whose leads begin farther left, since the picture cuts a part of them off, or farther right,
    since something else stands before them. Of the places where the laws hold about as well as in the best one, the one
    in the middle is taken.
    """
    width = WIDTH_MM * PX
    farthest = right - width / layout.columns * LEAST_SEEN - width, left + MOST_BEFORE_MM * PX
    starts = np.arange(max(left - width / layout.columns, farthest[0]), farthest[1], SLIDE_MM * PX)
    tried = [_try(layout, first, rows, start, start + width, (left, right)) for start in starts.tolist() or [left]]
    best = min(each.error for each in tried)
    near = [each for each in tried if each.error <= LIKE_BEST * best]
    return near[len(near) // 2]


def _try(
    layout: PageLayout,
    first: int,
    rows: list[np.ndarray],
    left: float,
    right: float,
    seen: tuple[float, float] | None = None,
) -> Arrangement:
    """Checks a layout on a page; see `find_layout`.

    Args:
        layout, first, rows, left, right: As of `find_layout` and `Arrangement`.
        seen: Pixels between which the picture shows the rows, where that is not all of them.
    """
    margin = round(2 * BESIDE_MM * PX)
    borders = np.linspace(left, right, layout.columns + 1)
    if seen:
        borders = np.clip(borders, *seen)
    spans = [slice(round(start) + margin, round(stop) - margin) for start, stop in zip(borders, borders[1:])]
    parts = {}
    for row, column in product(range(layout.rows), range(layout.columns)):
        values, lead = _level(rows[first + row][spans[column]]), layout.lead(row, column)
        parts[lead.removeprefix("-")] = (column, -values if lead.startswith("-") else values)
    laws = {}
    for law in LAWS:
        if len({parts[lead][0] for lead in law}) == 1:
            sides = [weight * parts[lead][1] for lead, weight in law.items()]
            laws[" + ".join(f"{weight:g} {lead}" for lead, weight in law.items())] = _relative(sum(sides), sides)
    strips, repeats = [], {}
    for number in range(layout.strips):
        strip, found = rows[first + layout.rows + number], {}
        for lead in parts.keys() - set(strips):
            column, values = parts[lead]
            own = _level(strip[spans[column]])
            found[lead] = _relative(own - values, [own, values])
        lead = min(sorted(found), key=found.get)
        strips.append(lead if found[lead] <= MOST_STRIP_ERROR else None)
        repeats[f"strip {number + 1} = {lead}"] = found[lead]
        repeats[f"strip {number + 1} is one lead"] = _unlike(strip[spans[0].start : spans[-1].stop])
    if layout.columns < 3:
        cells = [_unlike(rows[first + row][span]) for row, span in product(range(layout.rows), spans)]
        repeats["rows are of few leads"] = float(np.mean(cells))
    left_over = len(rows) - layout.rows - layout.strips
    return Arrangement(layout, first, left_over, laws, repeats, tuple(strips), left, right)


def _level(values: np.ndarray) -> np.ndarray:
    return values - np.nanmedian(values) if np.isfinite(values).any() else values


def _rms(errors: Iterable[float]) -> float:
    return float(np.sqrt(np.mean(np.square(list(errors) or [0.0]))))


def _unlike(values: np.ndarray) -> float:
    """Returns how much the two halves of a trace differ in the heights that they reach, relative to these: beats of one
    lead are alike, those of two leads seldom are.
    """
    shares = np.linspace(0.01, 0.99, 50)
    level = ndimage.median_filter(np.nan_to_num(values), round(WANDER_MM * PX) | 1, mode="nearest")
    halves = [half[np.isfinite(half)] for half in np.array_split(values - level, 2)]
    if min(map(len, halves)) < 2 * PX:
        return UNKNOWN
    first, second = (np.quantile(half, shares) - np.median(half) for half in halves)
    size = (np.abs(first) + np.abs(second)).mean() / 2
    return float(np.abs(first - second).mean() / max(size, 0.1))


def _relative(rest: np.ndarray, sides: list[np.ndarray]) -> float:
    """Returns the size of a sum that should be 0, relative to the sizes of its parts."""
    good = np.isfinite(rest)
    if len(good) < LEAST_COMPARED_MM * PX or good.mean() < 0.7:
        return UNKNOWN
    rest = rest - np.median(rest[good])
    size = np.sqrt(sum(np.mean(np.square(side[good])) for side in sides) / len(sides))
    return float(np.sqrt(np.mean(np.square(rest[good]))) / size) if size >= LEAST_SIZE_MM else UNKNOWN


__all__ = [
    "BESIDE_MM",
    "CLEAR",
    "LAYOUT_NAMES",
    "ORDERS",
    "WIDTH_MM",
    "Arrangement",
    "PageLayout",
    "find_layout",
]
