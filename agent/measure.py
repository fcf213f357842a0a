"""Measurements on ECGs."""

from functools import lru_cache

import numpy as np
from scipy import signal as scipy_signal

from ..ecg_heartcare import LEADS


@lru_cache(maxsize=16)
def _band(sampling_rate: float) -> np.ndarray:
    """Band-pass that QRS complexes get through."""
    return scipy_signal.butter(2, [5, min(25, 0.45 * sampling_rate)], "bandpass", fs=sampling_rate, output="sos")


def find_r_peaks(signal: np.ndarray, sampling_rate: float) -> np.ndarray:
    """QRS complexes of one ECG, found on all leads together.

    Args:
        signal: (leads, samples) in mV, without drift.
        sampling_rate: Hz.

    Returns: int64 (peaks,), samples at which the slopes of a QRS complex have their centre; empty where there is none.
    """
    steep = np.gradient(
        scipy_signal.sosfiltfilt(_band(sampling_rate), signal, axis=-1, padlen=min(signal.shape[-1] - 1, 100)), axis=-1
    )
    window = scipy_signal.windows.hann(max(3, round(0.12 * sampling_rate)) | 1)
    energy = scipy_signal.convolve(np.sqrt(np.square(steep).sum(0)), window / window.sum(), mode="same")
    # The usual QRS: the median over seconds of the largest energy in each.
    seconds = np.array_split(energy, max(1, round(len(energy) / sampling_rate / 1.5)))
    usual = float(np.median([second.max() for second in seconds]))
    if usual < 1e-5:  # mV a sample: no more than rounding
        return np.empty(0, np.int64)
    peaks, _ = scipy_signal.find_peaks(
        energy, height=0.3 * usual, distance=max(1, round(0.24 * sampling_rate)), prominence=0.2 * usual
    )
    return peaks


def match_peaks(reference: np.ndarray, found: np.ndarray, tolerance: float) -> int:
    """How many peaks of `reference` have one of `found` within `tolerance` samples, each found one used once."""
    matched, j = 0, 0
    for peak in reference:
        while j < len(found) and found[j] < peak - tolerance:
            j += 1
        if j < len(found) and found[j] <= peak + tolerance:
            matched, j = matched + 1, j + 1
    return matched


def heart_rate(signal: np.ndarray, sampling_rate: float) -> float | None:
    """Beats per minute, by the median distance of the R peaks of a cleaned ECG (leads, samples) in mV; None for fewer
    than two beats.
    """
    distances = np.diff(find_r_peaks(signal, sampling_rate))
    return float(60 * sampling_rate / np.median(distances)) if len(distances) else None


def repeat_last_beat(context: np.ndarray, num_samples: int, sampling_rate: float) -> np.ndarray:
    """Makes the forecast that every other has to beat: (12, n) -> (12, num_samples), the last full beat repeated, or
    the last 0.8 s where no beat is found.
    """
    peaks = find_r_peaks(context, sampling_rate)
    beat = int(peaks[-1] - peaks[-2]) if len(peaks) > 1 else min(context.shape[1], round(0.8 * sampling_rate))
    return np.tile(context[:, -beat:], -(-num_samples // beat))[:, :num_samples]


def qrs_axis(signal: np.ndarray, sampling_rate: float) -> float | None:
    """Electrical axis of the QRS in degrees, -180 to 180, by its net area in leads I and aVF of the median beat; None
    without a beat.

    Args:
        signal: (12, samples) in mV, cleaned, leads in standard order.
    """
    half = round(0.06 * sampling_rate)
    peaks = [peak for peak in find_r_peaks(signal, sampling_rate) if half <= peak < signal.shape[1] - half]
    if not peaks:
        return None
    beat = np.median([signal[:, peak - half : peak + half + 1] for peak in peaks], axis=0)
    area = (beat - (beat[:, :1] + beat[:, -1:]) / 2).sum(axis=1)
    return float(np.degrees(np.arctan2(area[LEADS.index("aVF")] * 2 / np.sqrt(3), area[LEADS.index("I")])))
