# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""The quality of each lead in numbers: drift, noise, hum, how much of it is off, how much of it is clipped.

    uncleaned leads --still for a second: off--> the rest --> drift, noise, hum, clipped

All numbers are those of the recording before cleaning, at its own sampling rate. `recognition_heartcare` tells whether
a recording is an ECG at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter1d

from .cleaning_heartcare import kept_up_to, long_stretches
from .configuration_heartcare import LEADS

FLAT_SECONDS = 1.0  # a lead that holds one value for as long is off: no heart, filter or converter is as still
POWER_LINES = (50.0, 60.0)  # Hz
HUM_SECONDS = 2.0  # stretches in which hum is measured; over longer ones the line's frequency wanders too much
GOLDEN = (np.sqrt(5) - 1) / 2  # the number that is farthest from all simple fractions
STILL_MV = 1e-6  # a smaller step from one sample to the next is none
FLAT_MV = 0.02  # range from lowest to highest value of a lead that shows no waves
RANGE_MV = (FLAT_MV, 20.0)  # range of a lead without its extreme hundredths; outside of this the lead is off
# The limits from which on a lead is named are those of the eye: half a millimetre of noise, half a centimetre of drift.
NOISE_UV = 50.0
DRIFT_MV = 0.5
CLIPPED_SHARE = 0.02  # share of the samples
MISSING_SHARE = 0.02  # share of the samples
OFF_SHARE = 0.9  # share of the recorded samples


@dataclass
class LeadQuality:
    """Numbers of each lead, float arrays (leads,).

    Noise, drift and hum are NaN where a lead has no samples that are neither missing nor off.

    Attributes:
        missing: Share of the samples that were not recorded.
        flat: Length of the longest stretch without any change, in seconds.
        off: Share of the recorded samples at which the electrode is off, since the lead holds one value for a second or
            more; 1 where the whole lead moves by less than 20 uV, or by more than 20 mV.
        clipped: Share of the samples that stay at the lead's largest or smallest value.
        noise: Standard deviation of the noise between neighbouring samples in uV, by the median, which QRS complexes do
            not move.
        drift: Running mean of 2 s in mV, from its 5th to its 95th percentile.
        hum: Amplitude in uV of the power line's 50 or 60 Hz, whichever is larger; NaN at rates too low to show them.
        faults: For each lead, some of "missing", "flat", "lead_off", "saturated", "noise", "baseline".
    """

    missing: np.ndarray
    flat: np.ndarray
    off: np.ndarray
    clipped: np.ndarray
    noise: np.ndarray
    drift: np.ndarray
    hum: np.ndarray
    faults: list[list[str]]

    def as_dict(self) -> dict[str, list[str]]:
        """Returns the faults by the lead's name, for those of the twelve leads that have any."""
        return {name: faults for name, faults in zip(LEADS, self.faults) if faults}


def plain_quality(
    signal: np.ndarray, sampling_rate: float, lead_names: Sequence[str]
) -> dict[str, dict[str, float | None]]:
    """Measures an uncleaned ECG as `lead_quality` does, and returns plain values for replies in JSON.

    Args:
        signal: (leads, samples) in mV, NaN where nothing was recorded.
        sampling_rate: Hz.
        lead_names: Names of the leads.

    Returns: Lead -> "drift_mv", "noise_uv", "hum_uv", "off" and "clipped" (the last two are shares from 0 to 1), for
        leads with any recorded sample; None for a number that cannot be measured.
    """
    quality = lead_quality(signal, sampling_rate)
    numbers = {
        "drift_mv": (quality.drift, 3),
        "noise_uv": (quality.noise, 1),
        "hum_uv": (quality.hum, 1),
        "off": (quality.off, 3),
        "clipped": (quality.clipped, 3),
    }
    return {
        lead: {
            name: round(float(values[row]), digits) if np.isfinite(values[row]) else None
            for name, (values, digits) in numbers.items()
        }
        for row, lead in enumerate(lead_names)
        if quality.missing[row] < 1
    }


def lead_quality(signal: np.ndarray, sampling_rate: float) -> LeadQuality:
    """Measures the quality of each lead of an uncleaned ECG, all leads at once.

    Args:
        signal: (leads, samples) in mV, NaN where nothing was recorded.
        sampling_rate: Hz.
    """
    signal = np.asarray(signal, np.float32)
    recorded = np.isfinite(signal)
    whole = bool(recorded.all())
    still = np.abs(np.diff(signal, axis=1)) < STILL_MV  # False beside NaN
    flat = longest_run(still) / sampling_rate
    usable = recorded.copy()
    for row in np.flatnonzero(flat >= FLAT_SECONDS):
        held = long_stretches(still[row], FLAT_SECONDS * sampling_rate)
        usable[row, 1:] &= ~held
        usable[row, :-1] &= ~held
    numbers = np.full((5, len(signal)), np.nan)
    # Leads that lack the same samples are measured together, without these samples.
    groups: dict[bytes, list[int]] = {}
    for row, flags in enumerate(usable):
        groups.setdefault(b"" if whole and flags.all() else flags.tobytes(), []).append(row)
    for rows in groups.values():
        flags = usable[rows[0]]
        if flags.any():
            part = signal if len(rows) == len(signal) and flags.all() else signal[np.ix_(rows, flags)]
            numbers[:, rows] = _numbers(part, sampling_rate)
    noise, drift, hum, clipped, span = numbers
    present = recorded.sum(axis=1)
    off = np.where(present > 0, 1 - usable.sum(axis=1) / np.maximum(present, 1), 0.0)
    off[(span < RANGE_MV[0]) | (span > RANGE_MV[1])] = 1.0
    missing, clipped = 1 - present / signal.shape[1], np.nan_to_num(clipped)
    named = {
        "missing": missing > MISSING_SHARE,
        "flat": flat >= FLAT_SECONDS,
        "lead_off": off >= OFF_SHARE,
        "saturated": (clipped > CLIPPED_SHARE) & (off < OFF_SHARE),
        "noise": noise > NOISE_UV,
        "baseline": drift > DRIFT_MV,
    }
    faults = [[name for name, flags in named.items() if flags[row]] for row in range(len(signal))]
    return LeadQuality(missing, flat, off, clipped, noise, drift, hum, faults)


def _numbers(signal: np.ndarray, sampling_rate: float) -> np.ndarray:
    """Returns noise, drift, hum, clipped share and range of leads (leads, samples) without gaps: (5, leads)."""
    leads, samples = signal.shape
    steps = np.diff(signal, axis=1)
    low, high = signal.min(axis=1, keepdims=True), signal.max(axis=1, keepdims=True)
    at_rail = (signal[:, 1:] == high) | (signal[:, 1:] == low)
    clipped = (at_rail & (np.abs(steps) < STILL_MV)).sum(axis=1) / samples
    # White noise of deviation s has second differences of deviation s * sqrt(6). A third of them is enough for a median
    # of many.
    restless = _some(np.diff(steps, axis=1), 3 if samples > 3000 else 1) if samples > 2 else np.zeros((leads, 1))
    noise = 1000 * np.sort(np.abs(restless), axis=1)[:, restless.shape[1] // 2] / 0.6745 / np.sqrt(6)
    block = max(1, round(sampling_rate / 10))
    blocks = (
        signal[:, : samples // block * block].reshape(leads, -1, block).mean(axis=2) if samples >= block else signal
    )
    drift = uniform_filter1d(blocks, min(20, blocks.shape[1]), axis=1, mode="nearest")  # 2 s
    spread = _some(signal, max(1, block // 5))
    drift, span = (_width(values, part) for values, part in ((drift, 20), (spread, 100)))
    return np.stack([noise, drift, _hum(signal, sampling_rate), clipped, span])


def _some(values: np.ndarray, every: int) -> np.ndarray:
    """Returns one of about `every` columns, at distances that differ: at equal ones, which may be a multiple of the
    period of hum, hum would be seen at one phase alone.
    """
    if every == 1:
        return values
    return values[:, np.arange(0, values.shape[1], every + GOLDEN).astype(int)]


def _width(values: np.ndarray, part: int) -> np.ndarray:
    """Returns the distance from lowest to highest value of each row, without a `part`-th of the values on each side."""
    ordered = np.sort(values, axis=1)
    cut = values.shape[1] // part
    return ordered[:, -1 - cut] - ordered[:, cut]


def _hum(signal: np.ndarray, sampling_rate: float) -> np.ndarray:
    """Returns the amplitude of the power line in each lead in uV, the median over stretches of two seconds; NaN where
    none can be measured.
    """
    lines = tuple(line for line in POWER_LINES if line < 0.45 * sampling_rate)
    samples = min(signal.shape[1], round(HUM_SECONDS * sampling_rate))
    if not lines or samples < 0.2 * sampling_rate:
        return np.full(len(signal), np.nan)
    cut = signal[:, : signal.shape[1] // samples * samples].reshape(len(signal), -1, samples)
    waves = cut @ hum_filters(lines, sampling_rate, samples)  # (leads, stretches, 2 * lines)
    amplitudes = np.hypot(waves[..., : len(lines)], waves[..., len(lines) :])
    return 1000 * np.median(amplitudes, axis=1).max(axis=1)


@kept_up_to(2**22)
def hum_filters(lines: tuple[float, ...], rate: float, samples: int) -> np.ndarray:
    """Returns float32 (samples, 2 * lines): what a lead is multiplied with for the cosine, then the sine part of each
    power line frequency, by least squares beside a straight line.
    """
    angles = 2 * np.pi / rate * np.outer(lines, np.arange(samples))
    straight = np.stack([np.ones(samples), np.linspace(-1, 1, samples)])
    basis = np.concatenate([np.cos(angles), np.sin(angles), straight])
    return np.linalg.pinv(basis)[:, : 2 * len(lines)].astype(np.float32)


def longest_run(flags: np.ndarray) -> np.ndarray:
    """Returns the length of the longest run of True in each lead: bool (leads, samples) -> int (leads,)."""
    at = np.arange(1, flags.shape[1] + 1, dtype=np.int32)
    since = at - np.maximum.accumulate(np.where(flags, np.int32(0), at), axis=1)
    return since.max(axis=1, initial=0)


__all__ = ["LeadQuality", "lead_quality", "longest_run", "plain_quality"]
