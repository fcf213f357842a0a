# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Flattens a page: finds the millimetre grid of a picture by its periodicity, and returns the page as it would be if it
lay flat under the eye, true to scale.

    picture --darkness relative to the paper--> lines --Fourier transforms of tiles--> pitch, direction
        --phase of the grid all over the page--> mm of each point --homography and what remains--> flat page, 8 px/mm

A grid that is bent keeps its phase: where lines are, whole millimetres are, whatever the camera did to them.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from .image_processing_heartcare import paper_around

PX = 8  # pixels per mm of a flat page
MOST_PIXELS = 2200  # most pixels of the longer side of a picture; larger ones are reduced
TILE = 192  # pixels of the side of a tile whose transform is taken
MOST_TURN = 0.3  # tangent of the largest angle between the lines of the grid and the picture's sides
FEWEST_PIXELS, MOST_PITCH = 2.4, 52.0  # least and most pixels from one line to the next
DARKEST = 0.3  # darkness of the darkest lines of a grid; darker points count no more
BLACK = 0.42  # darkness of the ink of traces in all colours, which is no line of the grid
STRONG = 12.0  # power of a line of the spectrum in powers around it, from which on it is one
SEEN = 3.0  # the same, of a line whose place is known
LEAST_TILES = 0.08  # share of the tiles that have such lines in both directions
ALIKE = 0.06  # largest difference of the logarithms of two pitches of one grid, seen from aside
# If the strongest frequency is the harmonic of a lower one, these multiples of the lower one are seen as well.
HARMONICS = {1: (), 2: (1, 3), 3: (1, 2), 4: (1, 2, 3)}
FEWEST_PERIODS = 4  # least periods on a tile of lines that can be told from others
LOWEST_STRENGTH = 0.4  # share of the strongest line of a spectrum, from which on a lower one counts instead
MOST_FIVES = 90  # lines on the width of a page, up to which they may be 5 mm apart
SIGMA_MM = 2.5  # width of the window in which the phase is taken
CELL_MM = 2.5  # size of the cells for which it is taken
NET_MM = 5.0  # distance of the knots of the net by which the page is flattened
LEAST_SHARE = 0.35  # share of the usual strength of the grid, above which its phase is trusted
BEYOND_MM = 8.0  # width of the paper around the grid that is kept
MOST_MM = 450.0  # longest side of a page


class NotDigitized(ValueError):
    """A page cannot be digitised; the message names the reason and what helps."""


@dataclass(frozen=True)
class Grid:
    """The grid of a page as the picture shows it.

    Attributes:
        x, y: float (rows, columns), the picture's pixel at each knot of a net with knots each `NET_MM`; the first knot
            is the left top corner of the flat page.
        pitch: Pixels of the picture for each mm, on average.
        angle: Degrees by which the lines are turned clockwise.
        spacing: mm from line to line: 1, or 5 where there are no finer lines.
    """

    x: np.ndarray
    y: np.ndarray
    pitch: float
    angle: float
    spacing: int

    def flatten(self, picture: Image.Image) -> Image.Image:
        """Returns the flat page."""
        step = round(NET_MM * PX)
        mesh = []
        for row in range(self.x.shape[0] - 1):
            for column in range(self.x.shape[1] - 1):
                box = column * step, row * step, (column + 1) * step, (row + 1) * step
                corners = (row, column), (row + 1, column), (row + 1, column + 1), (row, column + 1)
                quad = [float(axis[corner]) for corner in corners for axis in (self.x, self.y)]
                mesh.append((box, quad))
        return picture.transform(self.size, Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the flat page in pixels."""
        step = round(NET_MM * PX)
        return (self.x.shape[1] - 1) * step, (self.x.shape[0] - 1) * step

    def to_picture(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns where points of the flat page, in its pixels, are in the picture."""
        at = np.stack([y, x]) / (NET_MM * PX)
        return tuple(ndimage.map_coordinates(axis, at, order=1, mode="nearest") for axis in (self.x, self.y))


def reduced(picture: Image.Image) -> Image.Image:
    """Returns an RGB picture with at most `MOST_PIXELS` on its longer side."""
    scale = MOST_PIXELS / max(picture.size)
    if scale >= 1:
        return picture
    size = round(picture.width * scale), round(picture.height * scale)
    return picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def find_grid(picture: Image.Image) -> Grid | None:
    """Finds the grid of an RGB picture of a page that is upright or nearly so; None where there is none."""
    ink = ndimage.maximum_filter(darkness(picture, darkest=False) > BLACK, 3)
    lines = np.where(ink, 0, np.minimum(darkness(picture, darkest=True), DARKEST))
    found = _find_pitch(lines)
    if found is None:
        return None
    across, down, spacing = found  # cycles per pixel, (x, y), of lines that stand and that lie
    pitch = 1 / (spacing * np.sqrt(np.hypot(*across) * np.hypot(*down)))
    cell = max(2, round(CELL_MM * pitch))
    sigma = SIGMA_MM * spacing**0.5 * pitch / cell
    fields = [_phase(lines, carrier, cell, sigma) for carrier in (across, down)]
    (u, strong_u), (v, strong_v) = fields
    strength = np.sqrt(strong_u * strong_v)
    trusted = strength > LEAST_SHARE * np.percentile(strength, 80)
    trusted = _largest(ndimage.binary_opening(trusted, np.ones((3, 3))))
    if trusted.sum() < 30:
        return None
    u, v = (_unwrap(phase, trusted, strength) for phase in (u, v))
    y, x = (np.indices(u.shape) + 0.5) * cell
    u = spacing * (u / (2 * np.pi) + across[0] * x + across[1] * y)
    v = spacing * (v / (2 * np.pi) + down[0] * x + down[1] * y)
    kept = trusted & np.isfinite(u) & np.isfinite(v)
    points = np.stack([u[kept], v[kept], x[kept], y[kept]])
    angle = float(np.degrees(np.arctan2(across[1], across[0])))
    return _net(points, pitch, angle, spacing)


def darkness(picture: Image.Image, darkest: bool) -> np.ndarray:
    """Returns how dark each point is, float32 (height, width) from 0, paper, to 1.

    Args:
        picture: RGB.
        darkest: True takes each point in its darkest colour, in which lines of any colour are seen; False in its
            brightest, in which coloured lines are not.
    """
    result = None
    for band in picture.split():
        paper = np.asarray(paper_around(band).resize(picture.size, Image.Resampling.BILINEAR), np.float32)
        share = np.asarray(band, np.float32) / np.maximum(paper, 1)
        result = share if result is None else (np.minimum if darkest else np.maximum)(result, share, out=result)
    return np.clip(1 - result, 0, 1)


def _find_pitch(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Finds the frequencies (x, y) in cycles per pixel of the lines that stand and of those that lie, and the mm
    between two of them; None without a grid.
    """
    height, width = lines.shape
    if min(height, width) < TILE:
        return None
    window = np.hanning(TILE)[:, None] * np.hanning(TILE)
    starts = [np.linspace(0, side - TILE, max(2, round(side / TILE * 1.5))).astype(int) for side in (height, width)]
    spectra = []
    for top in starts[0]:
        for left in starts[1]:
            tile = lines[top : top + TILE, left : left + TILE]
            spectra.append(np.abs(np.fft.fft2((tile - tile.mean()) * window)) ** 2)
    all_peaks = [_peaks(spectrum) for spectrum in spectra]
    spectra = [spectrum for spectrum, peaks in zip(spectra, all_peaks) if peaks is not None]
    found = [peaks for peaks in all_peaks if peaks is not None]
    if len(found) < max(4, LEAST_TILES * len(all_peaks)):
        return None
    powers = np.array([power for _, _, power in found])
    best = powers >= np.median(powers)
    # Grids are square: the pitch is the one that most tiles have in both directions.
    across, down = (np.array([peaks[axis] for peaks in found])[best] for axis in (0, 1))
    pitches = np.concatenate([np.hypot(*across.T), np.hypot(*down.T)])
    near = [np.abs(np.hypot(*side.T) / _mode(pitches) - 1) < 2 * ALIKE for side in (across, down)]
    if min(each.sum() for each in near) < 3:
        return None
    across, down = (np.median(side[some], axis=0) for side, some in zip((across, down), near))
    factor, spacing = _spacing([spectra[number] for number in np.argsort(powers)[-24:]], across, down, width)
    return across * factor, down * factor, spacing


def _mode(values: np.ndarray) -> float:
    """Returns the value that has most others near it."""
    close = np.abs(np.log(values[:, None] / values)) < ALIKE
    return float(np.median(values[close[close.sum(1).argmax()]]))


def _peaks(spectrum: np.ndarray) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Finds the strongest line of a tile's spectrum near each of both axes: their frequencies, and the lesser power, in
    powers beside it on the same axis. None where one of them is not strong.
    """
    size = len(spectrum)
    along = np.arange(size // 2)
    reach = int(MOST_TURN * size // 2)
    aside = np.arange(-reach, reach + 1)
    allowed = np.abs(aside)[:, None] <= np.maximum(2, MOST_TURN * along)
    result = []
    for axis in (0, 1):
        plane = spectrum if axis == 0 else spectrum.T
        part = np.where(allowed, np.concatenate([plane[-reach:], plane[: reach + 1]])[:, : size // 2], 0)
        highest = part.max(axis=0)
        strength = highest / (ndimage.percentile_filter(highest, 25, 25) + 1e-12)
        good = (strength >= STRONG) & (along >= size / MOST_PITCH) & (along <= size / FEWEST_PIXELS)
        if not good.any():
            return None
        # Thin lines have harmonics as strong as they are: the lowest counts.
        is_top = highest == ndimage.maximum_filter1d(highest, 3)
        column = int((good & is_top & (highest >= LOWEST_STRENGTH * highest[good].max())).argmax())
        row = int(part[:, column].argmax())
        if not 0 < column < size // 2 - 1 or not 0 < row < len(part) - 1:
            return None
        place = [
            column + _top(np.log(part[row, column - 1 : column + 2] + 1e-12)),
            aside[row] + _top(np.log(part[row - 1 : row + 2, column] + 1e-12)),
        ]
        result.append((np.array(place if axis == 0 else place[::-1]) / size, strength[column]))
    return result[0][0], result[1][0], min(result[0][1], result[1][1])


def _top(three: np.ndarray) -> float:
    """Returns where the parabola through three values is highest, from the middle one."""
    bend = three[0] - 2 * three[1] + three[2]
    return float(np.clip(0.5 * (three[0] - three[2]) / bend, -0.5, 0.5)) if bend < 0 else 0.0


def _spacing(spectra: list[np.ndarray], across: np.ndarray, down: np.ndarray, width: int) -> tuple[float, int]:
    """Tells which lines of the grid the strongest frequency belongs to. It returns the factor from there to the
    frequency of the finest lines that are seen, and the mm between these.
    """

    def strength(factor: float) -> float:
        """Returns the strength of the spectrum's lines at a multiple of the frequencies, in the weaker direction."""
        return min(
            float(np.median([_strength(each, carrier * factor, axis) for each in spectra]))
            for axis, carrier in enumerate((across, down))
        )

    factor = 1.0
    for harmonic, beside in HARMONICS.items():
        if all(strength(k / harmonic) > SEEN for k in beside):
            factor = 1 / harmonic
            if sum(strength(factor * k / 5) > SEEN for k in (1, 2, 3, 4)) >= 3:
                return factor, 1
    if np.hypot(*across) * factor * width > MOST_FIVES:
        return factor, 1
    # Finer lines place a page better, if they are seen: they make the fifth harmonic stronger than those beside it.
    fourth, fifth, sixth = (strength(factor * k) for k in (4, 5, 6))
    return (5 * factor, 1) if fifth > max(STRONG, 1.5 * fourth, 1.5 * sixth) else (factor, 5)


def _strength(spectrum: np.ndarray, carrier: np.ndarray, axis: int) -> float:
    """Returns the power at a frequency, in powers between it and its neighbours on the axis; tilted pages have it a
    little beside.
    """
    size, place = len(spectrum), carrier * len(spectrum)
    reach = 1 + round(0.04 * np.hypot(*place))
    if not FEWEST_PERIODS <= np.hypot(*place) <= 0.45 * size:
        return 0.0
    column, row = (int(round(each)) for each in place)

    def highest(rows: np.ndarray, columns: np.ndarray) -> float:
        return float(spectrum[np.ix_(rows % size, columns % size)].max())

    near, wide = np.arange(-reach, reach + 1), np.arange(-2 * reach - 1, 2 * reach + 2)
    peak = highest(row + near, column + near)
    lines = [(row + near, column + np.array([d])) if axis == 0 else (row + np.array([d]), column + near) for d in wide]
    return peak / (np.percentile([highest(*line) for line in lines], 20) + 1e-12)


def _phase(lines: np.ndarray, carrier: np.ndarray, cell: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the phase of the lines relative to a wave of constant frequency, and their strength, for each cell."""
    height, width = (side // cell * cell for side in lines.shape)
    y, x = (np.arange(side, dtype=np.float32) for side in (height, width))
    columns = np.exp(-2j * np.pi * carrier[0] * x).astype(np.complex64)
    rows = np.exp(-2j * np.pi * carrier[1] * y).astype(np.complex64)
    level = ndimage.uniform_filter(lines, max(3, round(1.5 / np.hypot(*carrier))))
    wave = (lines - level)[:height, :width] * columns
    wave = wave.reshape(height, width // cell, cell).mean(axis=2)
    wave = (wave * rows[:, None]).reshape(height // cell, cell, -1).mean(axis=1)
    wave = ndimage.gaussian_filter(wave.real, sigma) + 1j * ndimage.gaussian_filter(wave.imag, sigma)
    return np.angle(wave), np.abs(wave)


def _largest(mask: np.ndarray) -> np.ndarray:
    """Returns the largest area of a mask, its holes filled."""
    labels, count = ndimage.label(mask)
    if not count:
        return mask
    return ndimage.binary_fill_holes(labels == np.bincount(labels.ravel())[1:].argmax() + 1)


def _unwrap(phase: np.ndarray, mask: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Returns the phase without jumps by whole turns, NaN outside of the mask: it goes from strong cells to their
    neighbours first.
    """
    result = np.full(phase.shape, np.nan)
    inside = ndimage.binary_erosion(mask, iterations=3)
    start = np.unravel_index(np.where(inside if inside.any() else mask, strength, -1).argmax(), phase.shape)
    result[start] = phase[start]
    waiting = [(-strength[start], *start)]
    height, width = phase.shape
    while waiting:
        _, row, column = heapq.heappop(waiting)
        for y, x in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if 0 <= y < height and 0 <= x < width and mask[y, x] and np.isnan(result[y, x]):
                turn = (phase[y, x] - result[row, column]) / (2 * np.pi)
                result[y, x] = phase[y, x] - 2 * np.pi * round(turn)
                heapq.heappush(waiting, (-strength[y, x], y, x))
    return result


def _net(points: np.ndarray, pitch: float, angle: float, spacing: int) -> Grid | None:
    """Makes the net by which the page is flattened.

    Args:
        points: (4, points): u, v in mm on the page, x, y in pixels of the picture.
        pitch, angle, spacing: As in `Grid`.
    """
    u, v, x, y = points
    left, right, top, bottom = u.min() - BEYOND_MM, u.max() + BEYOND_MM, v.min() - BEYOND_MM, v.max() + BEYOND_MM
    if max(right - left, bottom - top) > MOST_MM or min(right - left, bottom - top) < 40:
        return None
    project, kept = fit_homography(points)
    columns, rows = np.arange(left, right + NET_MM, NET_MM), np.arange(top, bottom + NET_MM, NET_MM)
    grid_u, grid_v = np.meshgrid(columns, rows)
    flat = project(grid_u.ravel(), grid_v.ravel()).reshape(2, *grid_u.shape)
    beside = np.stack([x, y]) - project(u, v)
    place = np.stack([(v - top) / NET_MM, (u - left) / NET_MM])[:, kept]
    moved = [_spread(place, each[kept], grid_u.shape) for each in beside]
    return Grid(flat[0] + moved[0], flat[1] + moved[1], float(pitch), angle, spacing)


def _spread(place: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Returns values (points,) that are known at places (2, points) on a net for each of its knots, smoothly; beside
    the known ones, as at the nearest.
    """
    # A net four times as fine, since the nearest knot of the net itself would be too far.
    fine = 4
    at = np.clip(np.round(place * fine).astype(int), 0, [[shape[0] * fine - 1], [shape[1] * fine - 1]])
    total, count = np.zeros((shape[0] * fine, shape[1] * fine)), np.zeros((shape[0] * fine, shape[1] * fine))
    np.add.at(total, tuple(at), values)
    np.add.at(count, tuple(at), 1.0)
    result = None
    for sigma in (32.0, 12.0, 5.0, 2.5):
        weight = ndimage.gaussian_filter(count, sigma, mode="constant")
        value = ndimage.gaussian_filter(total, sigma, mode="constant") / np.maximum(weight, 1e-12)
        trust = np.clip(weight / (0.5 * np.percentile(weight[count > 0], 20)), 0, 1)
        result = value if result is None else trust * value + (1 - trust) * result
    return result[::fine, ::fine]


def fit_homography(points: np.ndarray) -> tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], np.ndarray]:
    """Fits x, y as a perspective view of u, v, and leaves out what is far from it.

    Args:
        points: (4, points): u, v, x, y.

    Returns: A function of u and v that returns x and y, (2, points); and bool (points,), which were kept.
    """
    u, v, x, y = points
    centre, scale = np.array([u.mean(), v.mean()]), max(u.std(), v.std())
    a, b = (u - centre[0]) / scale, (v - centre[1]) / scale
    middle, size = np.array([x.mean(), y.mean()]), max(x.std(), y.std())
    p, q = (x - middle[0]) / size, (y - middle[1]) / size
    one, zero = np.ones_like(a), np.zeros_like(a)
    rows = np.stack(
        [
            np.stack([a, b, one, zero, zero, zero, -a * p, -b * p], axis=1),
            np.stack([zero, zero, zero, a, b, one, -a * q, -b * q], axis=1),
        ]
    )
    target = np.stack([p, q])
    weight = np.ones_like(a)
    for _ in range(6):
        root = np.sqrt(weight)
        solution, *_ = np.linalg.lstsq((rows * root[None, :, None]).reshape(-1, 8), (target * root).ravel(), rcond=None)
        error = np.hypot(*(rows @ solution - target))
        limit = max(1.5 * np.median(error), 1e-9)
        weight = 1 / np.maximum(1, error / limit) ** 2
    kept = error <= max(8 * np.median(error), 0.03)
    h = np.append(solution, 1.0)

    def project(u, v):
        a, b = (u - centre[0]) / scale, (v - centre[1]) / scale
        below = h[6] * a + h[7] * b + 1
        return np.stack(
            [
                (h[0] * a + h[1] * b + h[2]) / below * size + middle[0],
                (h[3] * a + h[4] * b + h[5]) / below * size + middle[1],
            ]
        )

    return project, kept


__all__ = ["PX", "Grid", "NotDigitized", "darkness", "find_grid", "reduced"]
