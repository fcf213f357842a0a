# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Cleaning and resampling of ECGs: pure functions of arrays (leads, samples) in mV, with NaN where nothing was
recorded.

A lead that was recorded for part of the time only is cleaned stretch by stretch, each as if it were a recording of its
own, so that no filter sees the step at its ends.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import lru_cache, wraps
from threading import Lock
from typing import Any

import numpy as np
from scipy import fft
from scipy import signal as scipy_signal

CACHED_BYTES = 2**25  # most bytes of the filters of each kind that are kept
# scipy keeps what it needs for the 16 latest lengths of transforms, up to 72 bytes for each sample. So long recordings
# are filtered in overlapping blocks of few lengths.
WHOLE_SAMPLES = 2**16  # most samples that are filtered as a whole: two minutes at 500 Hz
BLOCK_SAMPLES = 2**18  # samples of a block, unless its margins need more
SETTLED = 1e-12  # share of a filter's response to a change that is left beyond the margin of a block
HIGHPASS_DECAY = 2 * np.pi * np.sin(np.pi / 8)  # 1/s, of the slowest pole of the high-pass with a corner of 1 Hz
NOTCH_HZ = 0.4  # width of a notch
NOTCH_DECAY = np.pi * NOTCH_HZ  # 1/s


def clean(signal: np.ndarray, rate: float, highpass_hz: float, notch_hz: tuple[float, ...] | list[float]) -> np.ndarray:
    """Removes drift and power line hum without moving anything in time.

    Steady hum is subtracted, then the filters work on the cosine transform, which continues an ECG beyond its ends by
    its mirror image: no step, no transient. Their gains are those of `scipy.signal.sosfiltfilt` with the same filters
    and endless even padding. More than `WHOLE_SAMPLES` samples are filtered in overlapping blocks, which differs from
    one transform of all by less than 1e-9 of the largest value.

    Args:
        signal: float64 (leads, samples) in mV, NaN where nothing was recorded.
        rate: Hz.
        highpass_hz: Corner of the high-pass; 0 for none.
        notch_hz: Frequencies of the power line; those at or above 0.9 times the Nyquist frequency are left alone.

    Returns: float64 (leads, samples) in mV, NaN where `signal` is.
    """
    lines = tuple(line for line in notch_hz if line < 0.45 * rate)
    if not highpass_hz and not lines:
        return signal
    recorded = np.isfinite(signal)
    if recorded.all():
        return _clean_stretch(signal, rate, highpass_hz, lines)
    cleaned = np.full(signal.shape, np.nan)
    for leads, start, stop in stretches(recorded):
        cleaned[leads, start:stop] = _clean_stretch(signal[leads, start:stop], rate, highpass_hz, lines)
    return cleaned


def long_stretches(flags: np.ndarray, samples: float) -> np.ndarray:
    """Returns bool (samples,): True in those stretches of `flags` that have at least `samples` samples."""
    long = np.zeros(len(flags), bool)
    for _, start, stop in stretches(flags[None]):
        long[start:stop] = stop - start >= samples
    return long


def stretches(recorded: np.ndarray) -> Iterator[tuple[np.ndarray, int, int]]:
    """Yields each stretch of time in which some leads were recorded without a gap: the rows of these leads, start and
    stop.

    Args:
        recorded: bool (leads, samples).
    """
    rows: dict[tuple[int, int], list[int]] = {}
    for row, present in enumerate(recorded):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], present.view(np.int8), [0]])))
        for start, stop in edges.reshape(-1, 2).tolist():
            rows.setdefault((start, stop), []).append(row)
    for (start, stop), leads in rows.items():
        yield np.array(leads), start, stop


def held_values(signal: np.ndarray, samples: int) -> np.ndarray:
    """Marks where a lead holds one value, as that of an electrode that fell off does: bool (leads, samples).

    Args:
        signal: (leads, samples), NaN where nothing was recorded.
        samples: Number of samples without a change from the one before, in a row, from which on a value is held.
    """
    held = np.zeros(signal.shape, bool)
    for row, lead in zip(held, signal):
        still = np.concatenate([[False], lead[1:] == lead[:-1], [False]])
        edges = np.flatnonzero(np.diff(still.view(np.int8))).reshape(-1, 2)
        for start, stop in edges[edges[:, 1] - edges[:, 0] >= samples]:
            row[start : stop + 1] = True
    return held


def _clean_stretch(signal: np.ndarray, rate: float, highpass_hz: float, lines: tuple[float, ...]) -> np.ndarray:
    if lines:
        signal = _without_hum(signal, rate, lines)
    samples = signal.shape[-1]
    if samples <= WHOLE_SAMPLES:
        gain = cleaning_gain(highpass_hz, lines, rate, samples)
        return fft.idct(fft.dct(signal, axis=-1) * gain, axis=-1)
    slowest = min([HIGHPASS_DECAY * highpass_hz] * bool(highpass_hz) + [NOTCH_DECAY] * bool(lines))
    margin = math.ceil(-math.log(SETTLED) / slowest * rate)
    length = block_length(min(samples + 2 * margin, max(BLOCK_SAMPLES, 8 * margin)))
    gain, cleaned = cleaning_gain(highpass_hz, lines, rate, length), np.empty_like(signal)
    for start in range(0, samples, length - 2 * margin):
        stop = min(start + length - 2 * margin, samples)
        at = np.arange(start - margin, start - margin + length) % (2 * samples)
        block = fft.dct(signal[:, np.minimum(at, 2 * samples - 1 - at)], axis=-1, overwrite_x=True)
        block *= gain
        cleaned[:, start:stop] = fft.idct(block, axis=-1, overwrite_x=True)[:, margin : margin + stop - start]
    return cleaned


def _without_hum(signal: np.ndarray, rate: float, lines: tuple[float, ...]) -> np.ndarray:
    """Subtracts steady hum as a sine; its mirror image would break at the ends, and the notch ring there."""
    samples = signal.shape[-1]
    part = min(samples, WHOLE_SAMPLES)

    def parts() -> Iterator[tuple[slice, np.ndarray]]:
        for start in range(0, samples, part):
            stop = min(start + part, samples)
            yield slice(start, stop), hum_waves(lines, rate, part, start)[:, : stop - start]

    heights = sum(signal[:, span] @ waves.T for span, waves in parts()) * (2 / samples)
    left = np.empty_like(signal)
    for span, waves in parts():
        np.subtract(signal[:, span], heights @ waves, out=left[:, span])
    return left


def block_length(samples: int) -> int:
    """Rounds a number of samples up, by an eighth at most, to a length whose cosine transform is fast. There are only
    eight such lengths from one power of two to the next, so that filters can be kept for them.
    """
    step = 1 << max(samples.bit_length() - 4, 0)
    return -(-samples // step) * step


def kept_up_to(limit: int) -> Callable:
    """Decorates a function that makes an array: the latest arrays are kept, at most `limit` bytes together."""

    def decorate(make: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
        kept: OrderedDict[tuple, np.ndarray] = OrderedDict()

        lock = Lock()

        @wraps(make)
        def cached(*key: Any) -> np.ndarray:
            with lock:
                array = kept.pop(key, None)
            if array is None:
                array = make(*key)
            if array.nbytes <= limit:
                with lock:
                    kept[key] = array  # the newest stands last
                    while sum(other.nbytes for other in kept.values()) > limit:
                        kept.popitem(last=False)
            return array

        cached.kept = kept
        return cached

    return decorate


@kept_up_to(CACHED_BYTES)
def hum_waves(lines: tuple[float, ...], rate: float, samples: int, first: int) -> np.ndarray:
    """Returns a cosine and a sine of each power line frequency from sample `first` on, (2 * lines, samples)."""
    angles = 2 * np.pi / rate * np.outer(lines, np.arange(first, first + samples))
    return np.concatenate([np.cos(angles), np.sin(angles)])


@kept_up_to(CACHED_BYTES)
def cleaning_gain(highpass_hz: float, lines: tuple[float, ...], rate: float, samples: int) -> np.ndarray:
    """Returns the gain of a zero-phase high-pass and of zero-phase notches at each coefficient of the cosine transform,
    (samples,).

    The high-pass is steep, so that its corner can be low enough for the ST level of slow rhythms. The notches are 0.4
    Hz wide: wider ones take their share of a narrow QRS.
    """
    frequencies = np.arange(samples) * rate / 2 / samples
    sections = [scipy_signal.butter(4, highpass_hz, "highpass", fs=rate, output="sos")] if highpass_hz else []
    sections += [scipy_signal.tf2sos(*scipy_signal.iirnotch(line, Q=line / NOTCH_HZ, fs=rate)) for line in lines]
    return np.abs(scipy_signal.sosfreqz(np.concatenate(sections), frequencies, fs=rate)[1]) ** 2


def resample(signal: np.ndarray, rate: float, new_rate: float, length: int | None = None) -> np.ndarray:
    """Changes the sampling rate of (leads, samples), band-limited and with zero phase; gaps (NaN) stay gaps.

    Args:
        signal: (leads, samples) at `rate` Hz.
        new_rate: Hz.
        length: Samples of the result; round(samples * new_rate / rate) by default.

    Returns: (leads, length); `signal` itself where the rates are the same.
    """
    if rate == new_rate:
        return signal
    samples = signal.shape[-1]
    length = round(samples * new_rate / rate) if length is None else length
    up, down, taps = rate_filter(rate, new_rate)
    out = scipy_signal.resample_poly(bridge(signal), up, down, axis=-1, padtype="line", window=taps)[..., :length]
    if out.shape[-1] < length:
        out = np.pad(out, ((0, 0), (0, length - out.shape[-1])), mode="edge")
    missing = ~np.isfinite(signal)
    if missing.any():
        nearest = np.minimum((np.arange(length) * rate / new_rate).astype(int), samples - 1)
        out[missing[:, nearest]] = np.nan
    return out


@lru_cache(maxsize=16)
def rate_filter(rate: float, new_rate: float) -> tuple[int, int, np.ndarray]:
    """Returns the factors up and down from `rate` to `new_rate`, and the taps of the low-pass between them, which are
    those of `scipy.signal.resample_poly`.
    """
    ratio = Fraction(new_rate / rate).limit_denominator(10_000)
    widest = max(ratio.numerator, ratio.denominator)
    return ratio.numerator, ratio.denominator, scipy_signal.firwin(20 * widest + 1, 1 / widest, window=("kaiser", 5.0))


def bridge(signal: np.ndarray) -> np.ndarray:
    """Fills the gaps (NaN) of each lead (leads, samples) with straight lines, and empty leads with zeros."""
    missing = ~np.isfinite(signal)
    if not missing.any():
        return signal
    bridged = np.where(missing, 0.0, signal)
    at = np.arange(signal.shape[-1])
    for row in np.flatnonzero(missing.any(axis=1) & ~missing.all(axis=1)):
        present = ~missing[row]
        bridged[row] = np.interp(at, at[present], signal[row, present])
    return bridged


__all__ = ["bridge", "clean", "held_values", "long_stretches", "resample", "stretches"]
