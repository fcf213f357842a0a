# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Waves of an ECG whose leads were recorded at different times, as a page shows them.

leads, some for a part of the time --best_stretch--> beats --partly recorded leads--> median beat of all leads
columns before and after it ----------delineate----> beats, median beats --laid on it by their QRS onsets--^
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .cleaning_heartcare import stretches
from .delineation_heartcare import Delineation, Waves, delineate, find_r_peaks
from .marking_heartcare import RATE

LEAST_SECONDS = 1.5  # a shorter column is not delineated by itself
SAME_COLUMN = 0.8  # overlap of two stretches, relative to the longer one; with more they belong to one column
BESIDE = 0.3  # seconds from a border of columns, within which the border may cut a beat in two
ONE_BEAT = 0.25  # seconds; two beats at the border of two columns that are closer are one


class Column(NamedTuple):
    """Leads (their rows) that were recorded together, from `start` up to sample `stop`."""

    rows: tuple[int, ...]
    start: int
    stop: int


def delineate_stretches(
    signal: np.ndarray, recorded: np.ndarray, sampling_rate: float
) -> tuple[Delineation, np.ndarray]:
    """Finds the waves of an ECG whose leads may be absent, all the time or for a part of it.

    If some are, the beats are those of the best stretch, and of the columns of leads before and after it. The median
    beat has all leads that show a beat whole.

    Args:
        signal: float64 (leads, samples) in mV, cleaned.
        recorded: bool (leads, samples), where each lead was recorded.
        sampling_rate: Hz.

    Returns: the waves, their times from the start of the recording; and bool (leads,), which leads the median beat has.
    """
    if recorded.all():
        return delineate(signal, sampling_rate), signal.any(axis=1)
    best = best_stretch(recorded)
    part = recorded[:, best]
    found = delineate(np.where(part, signal[:, best], 0.0), sampling_rate, part)
    present = _shown(found)
    parts = [_moved(found, best.start / sampling_rate, found.median)]
    borders = [best.start, best.stop]
    for column in _columns(recorded, best, LEAST_SECONDS * sampling_rate):
        rows, span = list(column.rows), slice(column.start, column.stop)
        alone = np.zeros((len(signal), column.stop - column.start))
        alone[rows] = signal[rows, span]
        other = delineate(alone, sampling_rate)
        if _has_qrs(found) and _has_qrs(other):
            _lay_over(found, other, [row for row in rows if not present[row]])
            present[rows] |= other.median_beat[rows].any(axis=1)
            parts.append(_moved(other, column.start / sampling_rate, found.median))
            borders += [column.start, column.stop]
    if len(parts) == 1:
        return parts[0], present
    seen = find_r_peaks(np.where(recorded, signal, 0.0), sampling_rate, recorded) / sampling_rate
    away = np.abs(seen[:, None] - np.array(borders) / sampling_rate).min(axis=1)
    return _joined(parts, seen[away < BESIDE]), present


def best_stretch(recorded: np.ndarray) -> slice:
    """Returns the stretch of time with the largest product of its length and the square root of the number of leads
    that were recorded all through it.

    Rate and rhythm need time, and the noise of the leads together falls with the square root of their number.

    Args:
        recorded: bool (leads, samples).
    """
    changes = np.flatnonzero((recorded[:, 1:] != recorded[:, :-1]).any(axis=0)) + 1
    edges = np.concatenate([[0], changes, [recorded.shape[1]]])
    parts = recorded[:, edges[:-1]]  # (leads, parts between two changes)
    # The edge from which on each lead was recorded without a gap up to the end of each part.
    since = np.maximum.accumulate(np.where(parts, 0, np.arange(1, parts.shape[1] + 1)), axis=1)
    starts = np.sort(edges[since], axis=0)  # from the times of row k on, k + 1 leads were recorded
    sizes = (edges[1:] - starts) * np.sqrt(np.arange(1, len(recorded) + 1))[:, None]
    count, last = np.unravel_index(sizes.argmax(), sizes.shape)
    return slice(int(starts[count, last]), int(edges[last + 1]))


def _has_qrs(found: Delineation) -> bool:
    return found.median is not None and found.median.qrs is not None


def _shown(found: Delineation) -> np.ndarray:
    """Tells which leads the median beat has: bool (leads,)."""
    return np.zeros(len(found.by_lead["qrs"]), bool) if found.median is None else found.median_beat.any(axis=1)


def _columns(recorded: np.ndarray, best: slice, least: float) -> Iterator[Column]:
    """Yields the leads that were recorded together before or after the best stretch, in order of time."""
    groups: list[Column] = []
    alone = [
        (int(row), start, stop) for row in range(len(recorded)) for _, start, stop in stretches(recorded[row][None])
    ]
    for row, start, stop in sorted(alone, key=lambda each: each[1:]):
        if start < best.stop and stop > best.start:
            continue
        for number, group in enumerate(groups):
            shared = min(stop, group.stop) - max(start, group.start)
            if shared >= SAME_COLUMN * max(stop - start, group.stop - group.start):
                groups[number] = Column((*group.rows, row), max(start, group.start), min(stop, group.stop))
                break
        else:
            groups.append(Column((row,), start, stop))
    last = -1
    for group in groups:
        if group.stop - group.start >= least and group.start >= last:
            yield group
            last = group.stop


def _lay_over(found: Delineation, other: Delineation, rows: list[int]) -> None:
    """Puts leads of another median beat into that of `found`, so that both QRS complexes begin at the same time."""
    later = found.median.qrs[0] - other.median.qrs[0]
    samples = found.median_beat.shape[1]
    at = (np.arange(samples) - round(later * RATE)).clip(0, samples - 1)
    found.median_beat[rows] = other.median_beat[rows][:, at]
    for name, marks in found.by_lead.items():
        marks[rows] = other.by_lead[name][rows] + later


def _moved(found: Delineation, seconds: float, median: Waves | None) -> Delineation:
    """Returns waves with all times later by some seconds; those of the median beat are moved so that its QRS begins
    with that of `median`.
    """

    def moved(waves: Waves, by: float) -> Waves:
        return Waves(*((span[0] + by, span[1] + by) if span else None for span in (waves.p, waves.qrs, waves.t)))

    beats = [moved(waves, seconds) for waves in found.beats]
    own = found.median
    if own is not None and own.qrs and median.qrs:
        own = moved(own, median.qrs[0] - own.qrs[0])
    return replace(found, r_peaks=found.r_peaks + seconds, beats=beats, median=own, spikes=found.spikes + seconds)


def _joined(parts: list[Delineation], at_borders: np.ndarray) -> Delineation:
    """Joins the waves of columns: all beats in order of time, and the first one of two at a border; the waves of the
    median beat are the medians over the columns that have them, where most have.

    Args:
        parts: The waves of each column.
        at_borders: Seconds of beats near the borders of columns, which may be cut in two; those that no column has are
            beats without marks.
    """
    beats = [each for part in parts for each in zip(part.r_peaks, part.beats, part.usual, part.led_up)]
    peaks = np.array([beat[0] for beat in beats])
    lost = [time for time in at_borders.tolist() if np.abs(peaks - time).min() > ONE_BEAT]
    beats += [(time, Waves(None, None, None), True, False) for time in lost]
    beats.sort(key=lambda beat: beat[0])
    beats = [beat for before, beat in zip([None, *beats], beats) if before is None or beat[0] - before[0] > ONE_BEAT]
    peaks, waves, usual, led_up = zip(*beats)
    spans = {}
    for name in ("p", "qrs", "t"):
        own = [getattr(part.median, name) for part in parts]
        there = [span for span in own if span]
        spans[name] = tuple(np.median(there, axis=0).tolist()) if 2 * len(there) > len(own) else None
    return replace(
        max(parts, key=lambda part: np.count_nonzero(part.median_beat.any(axis=1))),
        r_peaks=np.array(peaks),
        beats=list(waves),
        usual=np.array(usual),
        led_up=np.array(led_up),
        median=Waves(**spans),
        spikes=np.sort(np.concatenate([part.spikes for part in parts])),
    )


__all__ = ["best_stretch", "delineate_stretches"]
