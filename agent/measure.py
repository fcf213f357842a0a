"""Measures that need R peaks alone: matches of two lists of peaks, the heart rate, and the forecast that repeats the
last beat.
"""

import numpy as np

from ..delineation_heartcare import find_r_peaks


def match_peaks(reference: np.ndarray, found: np.ndarray, tolerance: float) -> int:
    """Returns the number of peaks of `reference` that have one of `found` within `tolerance` samples; each found peak
    is used once.
    """
    matched, j = 0, 0
    for peak in reference:
        while j < len(found) and found[j] < peak - tolerance:
            j += 1
        if j < len(found) and found[j] <= peak + tolerance:
            matched, j = matched + 1, j + 1
    return matched


def heart_rate(signal: np.ndarray, sampling_rate: float) -> float | None:
    """Returns the rate in beats per minute, by the median distance of the R peaks of a cleaned ECG (leads, samples) in
    mV; None for fewer than two beats.
    """
    distances = np.diff(find_r_peaks(signal, sampling_rate))
    return float(60 * sampling_rate / np.median(distances)) if len(distances) else None


def repeat_last_beat(context: np.ndarray, num_samples: int, sampling_rate: float) -> np.ndarray:
    """Repeats the last full beat, or the last 0.8 s where no beat is found, as the forecast that every other one has to
    beat: (12, n) -> (12, num_samples).
    """
    peaks = find_r_peaks(context, sampling_rate)
    beat = int(peaks[-1] - peaks[-2]) if len(peaks) > 1 else min(context.shape[1], round(0.8 * sampling_rate))
    return np.tile(context[:, -beat:], -(-num_samples // beat))[:, :num_samples]
