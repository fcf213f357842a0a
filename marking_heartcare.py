# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Marks of P, QRS and T in one beat: onset and end in each lead, and the wave's own, their medians over the leads.

    QRS: what is steep around its middle
    P:   the last wave of some prominence before the QRS, seen in the combination of leads that varies most
    T:   as long as the leads together are away from where they rest before the next beat

A wave's onset and end in a lead are where the lead bends most on its way from the steepest point of the wave.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage
from scipy import signal as scipy_signal

RATE = 500  # Hz that all is measured at
LEAST_MV = {"p": 0.045, "t": 0.06}  # height of a wave in its projection, sqrt(sum over leads of mV^2); less is absent
T_LASTS = 0.35  # share of its height, down to which a T wave lasts
LEAST_P, LEAST_T = 0.036, 0.04  # seconds of a wave; what is shorter is a pacing spike, or the rise of another wave
U_HEIGHT = 0.8  # share of the T wave's height; a later wave that is lower is a U wave

Span = tuple[float, float]


@dataclass
class Marks:
    """Marks of one wave of a beat, in samples of the beat.

    Attributes:
        by_lead: float64 (leads, 2), onset and end in each lead; NaN where a lead is absent.
        span: Onset and end of the wave itself: medians over the leads, weighted by the steepness of the wave there.
        top: Sample at which a P wave is highest; 0 for other waves.
    """

    by_lead: np.ndarray
    span: Span
    top: int = 0

    @classmethod
    def of(cls, onset: np.ndarray, end: np.ndarray, steepness: np.ndarray, top: int = 0) -> "Marks":
        """Makes the marks of a wave from its onset and end in each lead, (leads,) samples, and its steepness there."""
        edges = np.stack([onset, end], axis=1).astype(np.float64)
        order = edges.argsort(axis=0)
        sums = steepness[order].cumsum(axis=0)
        middle = order[(sums < sums[-1] / 2).sum(axis=0), [0, 1]]
        span = float(edges[middle[0], 0]), float(edges[middle[1], 1])
        edges[steepness <= 0] = np.nan
        return cls(edges, span, top)

    def until(self, last: float, least: float) -> "Marks | None":
        """Returns the wave with its ends no later than sample `last`, or None where that leaves it shorter than `least`
        samples: it is then the rise of the wave that follows.
        """
        span = self.span[0], min(self.span[1], last)
        return Marks(np.minimum(self.by_lead, last), span, self.top) if span[1] - span[0] >= least else None


def marks_of_beat(beat: np.ndarray, zero: int, rr: float, noise: float, p: bool = True) -> dict[str, "Marks | None"]:
    """Marks P, QRS and T of one beat (leads, samples), None where absent.

    Args:
        beat: mV at `RATE` Hz.
        zero: Sample of its QRS complex.
        rr: Samples to the next beat.
        noise: mV of the beat, in the norm over the leads.
        p: True to look for a P wave; without one the T wave may last until the next QRS.
    """
    qrs = _mark_qrs(beat, zero)
    if qrs is None:
        return {"p": None, "qrs": None, "t": None}
    onset, end = (int(edge) for edge in qrs.span)
    # A P wave at its usual place ends the T wave of the beat before; one that is farther away comes after it.
    near = _mark_p(beat, onset, 0.26 * RATE, 0.20 * RATE, noise) if p else None
    t = _mark_t(beat, onset, end, rr, onset - near.span[0] if near else 0.12 * RATE, noise)
    if near and t:
        return {"p": near, "qrs": qrs, "t": t.until(near.span[0] + rr, LEAST_T * RATE)}
    if near:  # it may be the T wave of the beat before, if another wave follows it
        t = _mark_t(beat, onset, end, rr, 0.12 * RATE, noise)
    usual_qt = 0.4 * np.sqrt(min(rr, 2 * RATE) * RATE)
    since_t = rr - (t.span[1] - onset if t else usual_qt)
    far = _mark_p(beat, onset, min(0.42 * RATE, since_t), np.inf, noise) if p else None
    follows = far and near and far.top - near.top > 0.03 * RATE and far.span[1] < onset - 0.02 * RATE
    overlaps = far and t and far.span[0] + rr < t.span[1]  # then it is only the last of the T wave
    if near and (overlaps or not follows):
        return {"p": near, "qrs": qrs, "t": t and t.until(near.span[0] + rr, LEAST_T * RATE)}
    if far is None:  # nothing but the next QRS ends the T wave
        t = _mark_t(beat, onset, end, rr, 0.05 * RATE, noise)
    return {"p": far, "qrs": qrs, "t": t}


def _mark_qrs(beat: np.ndarray, zero: int) -> Marks | None:
    """Marks the QRS in each lead, which is the part around `zero` that is steeper than a twentieth of its steepest
    slope and than six times the quietest tenth of the beat.
    """
    steep = np.abs(_slope(beat, 9))
    around = slice(max(0, zero - round(0.12 * RATE)), zero + round(0.12 * RATE) + 1)
    part = steep[:, around]
    most = part.max(1)
    if not most.any():
        return None
    quiet = _tenth(steep[:, max(0, zero - round(0.3 * RATE)) : zero + round(0.45 * RATE)])
    large = part >= 0.25 * most[:, None]
    first = large.argmax(1) + around.start
    last = part.shape[1] - 1 - large[:, ::-1].argmax(1) + around.start
    level = np.maximum(0.05 * most, 6.0 * quiet)
    onset = _falls_below(steep, first, -1, level, lasts=5, reach=round(0.08 * RATE))
    end = _falls_below(steep, last, 1, level, lasts=5, reach=round(0.10 * RATE))
    marks = Marks.of(onset, end, (most > 0).astype(float))
    return marks if marks.span[1] > marks.span[0] else None


def _mark_p(beat: np.ndarray, qrs: int, window: float, farthest: float, noise: float) -> Marks | None:
    """Marks the last wave of some prominence in a window of samples before the QRS, with its top at most `farthest`
    samples before it.
    """
    start, stop = max(0, qrs - int(window)), qrs - 2
    if stop - start < 0.06 * RATE:
        return None
    part = beat[:, start:stop]
    # It is measured from the level before the QRS; where drift hides the wave from it, the line through both ends.
    for level in (part[:, -5:].mean(-1, keepdims=True), straight_line(part)):
        wave = _smooth(_projection(part - level), 15)
        top, sign = _last_peak(wave, qrs - start - farthest, max(LEAST_MV["p"], 4 * noise))
        if sign:
            break
    else:
        return None
    # It begins no earlier than where the wave before it has come down.
    before = max(0, top - round(0.16 * RATE))
    valley = start + before + int((sign * wave[before : top + 1]).argmin())
    top += start
    before_qrs = beat[:, : qrs - 2]  # the smoothed slopes of the QRS would be the steepest of all
    steep, smooth = np.abs(_slope(before_qrs, 11)), _smooth(before_qrs, 11)
    rises = slice(max(valley, top - round(0.09 * RATE)), max(top, valley + 1))
    falls = slice(top, max(top + 1, min(qrs - 2, top + round(0.08 * RATE))))
    rise, fall = (steep[:, side].argmax(1) + side.start for side in (rises, falls))
    onset = _bend(smooth, rise, np.clip(rise - valley + round(0.03 * RATE), 5, round(0.10 * RATE)), -1)
    end = _bend(smooth, fall, np.clip(qrs - fall, 5, round(0.08 * RATE)), 1)
    rows = np.arange(len(beat))
    gentle = _falls_below(steep, fall, 1, 0.35 * steep[rows, fall], lasts=2, reach=round(0.08 * RATE))
    end = np.minimum((end + gentle) / 2, qrs)
    marks = Marks.of(onset, end, np.minimum(steep[rows, rise], steep[rows, fall]), top)
    return marks if marks.span[1] - marks.span[0] >= LEAST_P * RATE else None


def _last_peak(wave: np.ndarray, first: float, least: float) -> tuple[int, int]:
    """Finds the last peak of a wave, up or down, from sample `first` on, that is at least `least` high and not much
    lower than the highest. It returns the peak's sample and its sign, 0 and 0 without one.
    """
    found = []
    for sign in (1, -1):
        peaks, about = scipy_signal.find_peaks(sign * wave, prominence=0)
        heights = about["prominences"]
        found += [(int(peak), height, sign) for peak, height in zip(peaks, heights) if peak >= first]
    least = max(least, 0.3 * max((height for _, height, _ in found), default=0))
    return max(((peak, sign) for peak, height, sign in found if height >= least), default=(0, 0))


def _projection(part: np.ndarray) -> np.ndarray:
    """Returns the combination of leads that varies most: (leads, samples) -> (samples,)."""
    return np.linalg.eigh(part @ part.T)[1][:, -1] @ part


def _mark_t(beat: np.ndarray, onset: int, end: int, rr: float, ahead: float, noise: float) -> Marks | None:
    """Marks the wave between the QRS and the waves of the next beat, which begin `ahead` samples before its QRS: it
    lasts for as long as the leads together are away from where they rest afterwards.
    """
    start = round(0.05 * RATE)  # samples from here on are counted from the end of the QRS
    cycle = np.sqrt(min(rr, 1.5 * RATE) * RATE)
    after = beat[:, end:]  # the QRS would leak into the smoothed slopes
    stop = int(min(after.shape[1] - 15, onset - end + rr - ahead, onset - end + 0.62 * cycle))
    if stop - start < 0.1 * RATE:
        return None
    smooth, steep = _smooth(after, 31), np.abs(_slope(after, 31))
    rest = smooth[:, stop - round(0.04 * RATE) : stop].mean(-1, keepdims=True)
    away = np.linalg.norm(smooth[:, start:stop] - rest, axis=0)
    top = int(away.argmax())
    if away[top] < max(LEAST_MV["t"], 4 * noise):
        return None
    high = away >= T_LASTS * away[top]
    last = int(np.flatnonzero(high)[-1])
    if last + start + end - onset > 0.44 * cycle and not high[top:last].all():
        # A late wave is a U wave, unless it is nearly as high and follows at once.
        fallen = top + int(np.argmin(high[top:]))
        pause = int(np.argmax(high[fallen:]))
        last = last if pause < 0.06 * RATE and away[fallen:].max() >= U_HEIGHT * away[top] else fallen
    near, rows = round(0.04 * RATE), np.arange(len(beat))
    falls = slice(start + max(top, last - near), min(stop, start + last + near))
    fall = steep[:, falls].argmax(1) + falls.start
    rises = slice(max(0, start + top - round(0.16 * RATE)), start + max(top, 1))
    rise = steep[:, rises].argmax(1) + rises.start
    first = _bend(smooth, rise, np.clip(rise, 5, round(0.12 * RATE)), -1)
    last = _bend(smooth, fall, np.full(len(beat), round(0.14 * RATE)), 1)
    return Marks.of(end + np.maximum(first, 0), end + last, steep[rows, fall])


def _bend(values: np.ndarray, start: np.ndarray, length: np.ndarray, step: int) -> np.ndarray:
    """Finds where each row bends most on its way from `start`: its point farthest from the chord over `length` samples.

    Args:
        values: (rows, samples).
        start: Sample of each row, (rows,).
        length: Number of samples of each row's chord, (rows,).
        step: 1 to the right, -1 to the left.
    """
    along = np.arange(length.max() + 1)
    at = _within(values, start[:, None] + step * np.minimum(along, length[:, None]))
    path = values[np.arange(len(values))[:, None], at]
    chord = path[:, :1] + (path[:, -1:] - path[:, :1]) * np.minimum(along / length[:, None], 1)
    return start + step * np.abs(path - chord).argmax(1)


def _falls_below(
    values: np.ndarray, start: np.ndarray, step: int, level: np.ndarray, lasts: int, reach: int
) -> np.ndarray:
    """Finds the first sample of each row from `start` on, in steps of 1 or -1, from which the row stays below its
    `level` for `lasts` samples; at most `reach` away.
    """
    at = _within(values, start[:, None] + step * np.arange(reach + lasts))
    below = values[np.arange(len(values))[:, None], at] < level[:, None]
    stays = np.logical_and.reduce([below[:, first : first + reach + 1] for first in range(lasts)])
    away = np.where(stays.any(1), stays.argmax(1), reach)
    return _within(values, start + step * away)


def _within(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Moves samples outside of the rows of `values` to their ends, faster than `numpy.clip`."""
    return np.minimum(np.maximum(at, 0), values.shape[1] - 1)


def _tenth(values: np.ndarray) -> np.ndarray:
    """Returns the value that a tenth of each row is below: (rows, samples) -> (rows,)."""
    rank = values.shape[1] // 10
    return np.partition(values, rank, axis=1)[:, rank]


def _smooth(signal: np.ndarray, window: int) -> np.ndarray:
    return _filtered(signal, window, 0)


def _slope(signal: np.ndarray, window: int) -> np.ndarray:
    return _filtered(signal, window, 1)


def _filtered(signal: np.ndarray, window: int, derivative: int) -> np.ndarray:
    """Fits a parabola over `window` samples, and returns its values or slopes; the ends are continued as they are."""
    return ndimage.convolve1d(signal, _polynomial(window, derivative), mode="nearest")


@lru_cache(maxsize=16)
def _polynomial(window: int, derivative: int) -> np.ndarray:
    return scipy_signal.savgol_coeffs(window, 2, deriv=derivative)


def straight_line(part: np.ndarray) -> np.ndarray:
    """Returns the straight line between both ends of each lead, each end the mean of 10 ms."""
    ends = part[..., :5].mean(-1, keepdims=True), part[..., -5:].mean(-1, keepdims=True)
    return ends[0] + (ends[1] - ends[0]) * np.linspace(0, 1, part.shape[-1], dtype=part.dtype)


__all__ = ["RATE", "Marks", "Span", "marks_of_beat", "straight_line"]
