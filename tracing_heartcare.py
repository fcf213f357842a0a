# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Follows the traces of a flat page, from left to right.

    flat page --dark in all colours, less the grid--> ink --lines that lie--> rows
        --cheapest path over ink--> strokes of each row --their edges, less the pen--> mm above the row's line

A path costs what it goes over paper, along the row or across it; along ink it costs nothing. So it goes up and down
every stroke of a trace, and leaves the trace neither for a letter nor for the trace of another row.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from .paper_heartcare import NET_MM, PX, darkness

LEAST_INK = 0.35  # share of the usual darkness of a trace, from which on a point belongs to one
GRID_CELLS = 3  # cells of the grid on each side of one, from which its lines are known
THICK_MM, THICK = 1.6, 0.5  # an area as dark as this share of the ink beside it, over these mm, is no stroke
GRID_SHARE = 0.9  # share of a line's usual darkness that is taken away
LYING_MM = 1.2  # length of a line that lies
ROW_MM = 11.0  # least distance of two rows
REACH_MM = 34.0  # reach of a trace above and below its row
SPREAD_MM = 1.2  # mm by which a trace wanders about its line
LEAST_PROFILE = 0.08  # least ink that lies along a row, relative to the strongest row
BAND_MM = 4.0  # mm above and below a row in which most of its ink lies
LEAST_COVER = 0.45  # share of the usual row's columns that a row has ink in
MOST_UNEVEN = 0.08  # share by which steps from row to row may differ from multiples of the usual one
HOME = 0.0006  # cost for each pixel and column away from the row's line
RISE = 0.002  # cost of a pixel along ink, across the row
LONGEST_GAP_MM = 3.0  # longest gap in the ink of a trace that is bridged
FLATTEST_MM = 0.2  # deviation of a trace; a line of the grid or a frame is flatter
SHARED_MM = 1.5  # length of ink that two rows may share, where they cross
FAINT = 0.15  # share of the usual darkness of a trace; what is left of the grid is fainter
PEN = 2  # pixels beside a path that its stroke covers
BESIDE = 4  # pixels above and below a path in which its ink is weighed


@dataclass(frozen=True)
class Row:
    """The trace of one row, from the left edge of the page to the right one.

    Attributes:
        y: Pixel of the line about which the trace lies.
        height: float (width,), mm above that line, NaN where there is no trace.
        top, bottom: float (width,), the pixels of the stroke's edges.
        mass: float (width,), ink on the path and beside it, in pixels.
        pen: Width of the pen in pixels.
    """

    y: float
    height: np.ndarray
    top: np.ndarray
    bottom: np.ndarray
    mass: np.ndarray
    pen: float


def find_ink(page: Image.Image, known: np.ndarray) -> np.ndarray:
    """Returns the ink of the traces and letters on a flat page, float32 (height, width), about 1 where it is as dark as
    traces usually are, and 0 on paper and on the lines of the grid.

    Args:
        page: RGB.
        known: bool (height, width), what the picture shows of it.
    """
    dark = darkness(page, darkest=False)
    dark = np.where(ndimage.minimum_filter(known, 5), dark, 0)
    dark = np.maximum(dark - grid_lines(dark), 0)
    thick = ndimage.minimum_filter(dark, round(THICK_MM * PX))  # a table, a shadow, a stamp's face
    dark = np.where(ndimage.maximum_filter(thick, round(3 * THICK_MM * PX)) > THICK * dark, 0, dark)
    usual = np.percentile(dark[::2, ::2], 99.2)
    strokes = dark[dark > 0.5 * usual]
    return np.clip(dark / max(float(np.median(strokes)) if len(strokes) else 1.0, 0.08), 0, 1)


def grid_lines(dark: np.ndarray) -> np.ndarray:
    """Returns the darkness of a flat page's grid alone: what most cells of 5 mm around have at the same place."""
    cell = round(NET_MM * PX)
    rows, columns = dark.shape[0] // cell, dark.shape[1] // cell
    cells = dark[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell)
    result = np.zeros_like(dark)
    size = 2 * GRID_CELLS + 1
    for row in range(0, rows, size):
        for column in range(0, columns, size):
            first = max(0, min(row, rows - size)), max(0, min(column, columns - size))
            some = cells[first[0] : first[0] + size, :, first[1] : first[1] + size]
            place = slice(row * cell, (row + size) * cell), slice(column * cell, (column + size) * cell)
            tiled, (height, width) = np.tile(np.median(some, axis=(0, 2)), (size, size)), result[place].shape
            result[place] = tiled[:height, :width]
    return ndimage.maximum_filter(result, 3) * GRID_SHARE


def find_rows(ink: np.ndarray, beside: float = 0.0) -> list[float]:
    """Finds the pixels, from the top, of the lines about which traces lie.

    Args:
        ink: As `find_ink` returns it.
        beside: Pixels at the upper and at the lower edge of the page in which there are none.
    """
    lying = ndimage.grey_opening(ink, (1, round(LYING_MM * PX))) > LEAST_INK
    profile = ndimage.gaussian_filter1d(lying.sum(axis=1).astype(float), SPREAD_MM * PX)
    y = np.arange(len(profile))
    inside = (y >= beside) & (y < len(profile) - beside)
    if not inside.any():
        return []
    is_top = profile == ndimage.maximum_filter1d(profile, 2 * PX)
    tops = np.flatnonzero(is_top & inside & (profile > LEAST_PROFILE * profile[inside].max()))
    rows: list[int] = []
    for top in tops[np.argsort(-profile[tops])]:
        if all(abs(top - other) >= ROW_MM * PX for other in rows):
            rows.append(int(top))
    band = round(BAND_MM * PX)
    covers = {row: lying[max(0, row - band) : row + band].any(axis=0).mean() for row in rows}
    usual = np.percentile(list(covers.values()), 75) if covers else 0.0
    return with_missing_rows(sorted(float(row) for row in rows if covers[row] >= LEAST_COVER * usual))


def with_missing_rows(rows: list[float]) -> list[float]:
    """Returns rows and those between them that a strongly wandering trace has hidden: rows are as far apart from each
    other as most of them are.

    Args:
        rows: Pixels from the top, ascending.
    """
    if len(rows) < 3:
        return rows
    steps = np.diff(rows)
    usual, result = float(np.median(steps)), [rows[0]]
    for row, step in zip(rows[1:], steps):
        count = round(step / usual)
        if count > 1 and abs(step / usual - count) < MOST_UNEVEN * count:
            result += [row - step * (count - number) / count for number in range(1, count)]
        result.append(row)
    return result


def follow(ink: np.ndarray, rows: list[float]) -> list[Row]:
    """Follows the trace of each row; rows that turn out to be flat lines, or hardly there, are left out.

    Args:
        ink: As `find_ink` returns it.
        rows: As `find_rows` returns them.
    """
    if not rows:
        return []
    reach = round(REACH_MM * PX)
    padded = np.pad(ink, ((reach, reach), (0, 0)))
    starts = [round(y) for y in rows]
    bands = np.stack([padded[y : y + 2 * reach + 1] for y in starts])  # (rows, 2 reach + 1, width)
    paths = cheapest_paths(bands, reach)
    for _ in range(2):
        taken = _take_back(bands, paths, starts)
        if not taken:
            break
        paths[taken] = cheapest_paths(bands[taken], reach)
    owners = np.pad(_owners(ink, paths + np.array(starts)[:, None] - reach), ((reach, reach), (0, 0)))
    result = []
    for number, y in enumerate(starts):
        owner = owners[y : y + 2 * reach + 1]
        top, bottom = edges(bands[number], paths[number], (owner > 0) & (owner != number + 1))
        beside = paths[number] + np.arange(-BESIDE, BESIDE + 1)[:, None]
        mass = bands[number][np.clip(beside, 0, 2 * reach), np.arange(ink.shape[1])]
        mass = np.maximum(mass - FAINT, 0).sum(axis=0)
        row = _row(float(y), top - reach + y, bottom - reach + y, mass)
        if np.isfinite(row.height).any() and np.nanstd(row.height) >= FLATTEST_MM:
            result.append(row)
    there = [float(np.isfinite(row.height).mean()) for row in result]
    return [row for row, share in zip(result, there) if share >= LEAST_COVER * np.median(there)]


def cheapest_paths(bands: np.ndarray, home: int) -> np.ndarray:
    """Returns the cheapest path through each band from left to right, int (bands, width).

    Args:
        bands: Ink, float (bands, height, width).
        home: Row of the band that the trace lies about.
    """
    count, height, width = bands.shape
    paper = np.ascontiguousarray(1 - np.moveaxis(np.minimum(bands / LEAST_INK, 1), 2, 0), dtype=np.float32)
    away = HOME * np.abs(np.arange(height, dtype=np.float32) - home)
    across = np.cumsum(paper + RISE, axis=2)  # (width, bands, height): cost from the top of a column
    costs = np.empty((width, count, height), np.float32)
    cost = 0.02 * np.abs(np.arange(height, dtype=np.float32) - home) + np.zeros((count, 1), np.float32)
    for column in range(width):
        up = across[column]
        falling = np.minimum.accumulate(cost - up, axis=1) + up
        rising = (np.minimum.accumulate((cost + up)[:, ::-1], axis=1)[:, ::-1]) - up
        cost = np.minimum(falling, rising) + paper[column] + away
        cost -= cost.min(axis=1, keepdims=True)
        costs[column] = cost
    path = np.empty((count, width), np.int64)
    path[:, -1] = costs[-1].argmin(axis=1)
    each = np.arange(count)
    for column in range(width - 1, 0, -1):
        up = across[column]
        here = np.abs(up - up[each, path[:, column]][:, None])
        path[:, column - 1] = (costs[column - 1] + here).argmin(axis=1)
    return path


def _take_back(bands: np.ndarray, paths: np.ndarray, starts: list[int]) -> list[int]:
    """Takes ink that the paths of two rows go along out of the band of the one that is farther from its line; paths
    that only cross share a few columns. It changes `bands`, and returns the numbers of those that were changed.
    """
    away = np.abs(paths - bands.shape[1] // 2)
    pages = paths + np.array(starts)[:, None]
    taken = set()
    for first in range(len(starts)):
        for second in range(first + 1, len(starts)):
            labels, _ = ndimage.label(np.abs(pages[first] - pages[second]) <= 2)
            for (span,) in ndimage.find_objects(labels):
                if span.stop - span.start < SHARED_MM * PX:
                    continue
                loser = first if away[first, span].mean() > away[second, span].mean() else second
                for column in range(span.start, span.stop):
                    y = paths[loser, column]
                    bands[loser, max(0, y - BESIDE) : y + BESIDE + 1, column] = 0
                taken.add(loser)
    return sorted(taken)


def _owners(ink: np.ndarray, paths: np.ndarray) -> np.ndarray:
    """Returns the row that each pixel of ink belongs to, int (height, width): 1 for the first row, 0 for none. Ink that
    a path goes along belongs to its row. A tip that no path reaches, since both strokes of a wave touch each other
    below it, belongs to the row that it touches most.

    Args:
        ink: As `find_ink` returns it.
        paths: int (rows, width), pixels of the page.
    """
    result = np.zeros(ink.shape, np.int64)
    rows = np.arange(len(ink))[:, None]
    for number, path in enumerate(paths, 1):
        first, last = _way(path)
        way = ndimage.maximum_filter1d((rows >= first - PEN) & (rows <= last + PEN), 2 * PEN + 1, axis=1)
        result[way & (result == 0)] = number
    tips, count = ndimage.label((ink > LEAST_INK) & (result == 0), np.ones((3, 3)))
    near = ndimage.maximum_filter(tips, 3)
    touched = np.stack([np.bincount(near[result == number], minlength=count + 1) for number in range(len(paths) + 1)])
    touched[0] = 0
    of_tip = np.where(touched.any(axis=0), touched.argmax(axis=0), 0)
    of_tip[0] = 0
    return np.where(result > 0, result, of_tip[tips])


def edges(band: np.ndarray, path: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the upper and the lower edge of the ink that a path goes over, in pixels of the band, (width,) each, NaN
    where it goes over paper.

    Args:
        band: Ink, float (height, width).
        path: int (width,).
        others: bool (height, width), where other paths go; a stroke ends there.
    """
    height, width = band.shape
    columns = np.arange(width)
    first, last = _way(path)
    rows = np.arange(height)[:, None]
    is_ink = (band > LEAST_INK) & (~others | (rows >= first - BESIDE) & (rows <= last + BESIDE))
    # The way from the column before, as far as it is ink, belongs to the stroke of this column.
    way = is_ink & (rows >= first) & (rows <= last)
    start = np.where(is_ink[path, columns], path, np.where(way.any(axis=0), way.argmax(axis=0), -1))
    paper_above = np.maximum.accumulate(np.where(~is_ink, rows, -1), axis=0)
    paper_below = np.minimum.accumulate(np.where(~is_ink, rows, height)[::-1], axis=0)[::-1]
    safe = np.maximum(start, 0)
    above, below = paper_above[safe, columns], paper_below[safe, columns]
    # A pixel is from half a pixel above its number to half a pixel below; the pixels of the edge are covered in part.
    top = above + 0.5 - band[np.maximum(above, 0), columns] + _lack(band, above + 1, columns)
    bottom = below - 0.5 + band[np.minimum(below, height - 1), columns] - _lack(band, below - 1, columns)
    there = start >= 0
    return np.where(there, top, np.nan), np.where(there, bottom, np.nan)


def _way(path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first and the last pixel in each column, (width,) both, of the way from the column before."""
    before = np.concatenate([path[:1], path[:-1]])
    return np.minimum(path, before), np.maximum(path, before)


def _lack(band: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Returns the share of pixels that is not covered by ink."""
    return 1 - band[np.clip(rows, 0, len(band) - 1), columns]


def _row(y: float, top: np.ndarray, bottom: np.ndarray, mass: np.ndarray) -> Row:
    """Makes the row of a stroke: what the pen added on each side is taken away again."""
    there = np.isfinite(top)
    if not there.any():
        return Row(y, np.full(len(top), np.nan), top, bottom, mass, np.nan)
    pen = float(np.percentile((bottom - top)[there], 30))
    columns = np.arange(len(top))
    high = y - np.interp(columns, columns[there], top[there])  # up is positive from here on
    low = y - np.interp(columns, columns[there], bottom[there])
    # Seen from above a round pen fills valleys but keeps peaks, from below the other way round.
    peaks, valleys = _shrunk(high, pen / 2), -_shrunk(-low, pen / 2)
    valleys, peaks = np.minimum(peaks, valleys), np.maximum(peaks, valleys)
    middle = (peaks + valleys) / 2
    level = ndimage.median_filter(middle, round(6 * PX) | 1, mode="nearest")
    height = np.where(peaks - level >= level - valleys, peaks, valleys)
    height = np.where(peaks - valleys < 1, middle, height) / PX
    labels, _ = ndimage.label(~there)
    for (found,) in ndimage.find_objects(labels):
        at_edge = found.start == 0 or found.stop == len(top)
        if at_edge or found.stop - found.start > LONGEST_GAP_MM * PX:
            height[found] = np.nan
    return Row(y, height, top, bottom, mass, pen)


def _shrunk(high: np.ndarray, radius: float) -> np.ndarray:
    """Returns the curve whose upper edge, drawn by a round pen of this radius, is `high`. Its tops are as high as that
    edge less the radius, however narrow they are.
    """
    columns = np.arange(len(high))
    shifts = np.linspace(-radius, radius, 2 * int(np.ceil(2 * radius)) + 1)
    shrunk = [np.interp(columns + dx, columns, high) - np.sqrt(max(0.0, radius**2 - dx**2)) for dx in shifts]
    is_top = high == ndimage.maximum_filter1d(high, 2 * int(np.ceil(radius)) + 1)
    return np.maximum(np.min(shrunk, axis=0), np.where(is_top, high - radius, -np.inf))


__all__ = ["Row", "find_ink", "find_rows", "follow"]
