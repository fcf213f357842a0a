"""Prepares records: chooses the best window, cleans and resamples it as the processor does, finds exchanged limb leads.

ECG --best_window, BeatFeatureExtractor.arrange--> ECG of twelve leads --clean, resample--> signal
    --lead_quality, limb_lead_reversal--> OptimizedECG
"""

from dataclasses import dataclass, replace

import numpy as np

from ..delineation_heartcare import find_r_peaks
from ..ecg_heartcare import ECG, LEADS
from ..extraction_heartcare import BeatFeatureExtractor
from ..quality_heartcare import LeadQuality, lead_quality

WINDOW_SECONDS = 10.0


def best_window(signal: np.ndarray, sampling_rate: float) -> tuple[int, int]:
    """Returns start and stop, in samples, of the ten seconds with the fewest missing, flat and restless samples.

    Args:
        signal: (leads, samples) in mV, NaN where nothing was recorded. A shorter ECG is taken whole.
        sampling_rate: Hz.
    """
    samples, length = signal.shape[1], round(WINDOW_SECONDS * sampling_rate)
    if samples <= length:
        return 0, samples
    block = max(1, round(sampling_rate / 2))
    count = samples // block
    recorded = np.isfinite(signal)
    cut = np.where(recorded, signal, 0.0)[:, : count * block].reshape(len(signal), count, block)
    missing = 1 - recorded[:, : count * block].reshape(len(signal), count, block).mean(axis=2)
    steps = np.abs(np.diff(cut, axis=2))
    flat = (steps < 1e-6).mean(axis=2) > 0.95
    level = np.median(cut, axis=2)
    jump = np.abs(np.diff(level, axis=1, prepend=level[:, :1]))
    noise = np.median(np.abs(np.diff(steps, axis=2)), axis=2)
    badness = (10 * missing + 5 * flat + jump + 20 * noise).sum(axis=0)
    blocks = max(1, length // block)
    sums = np.convolve(badness, np.ones(blocks), "valid")
    start = min(int(sums.argmin()) * block, samples - length)
    return start, start + length


def limb_lead_reversal(signal: np.ndarray, sampling_rate: float) -> str | None:
    """Returns the reversal of limb electrodes that a signal suggests, "LA/RA", "RA/LL" or "RL/limb", or None.

    Lead I looks like V6 and lead II is upright in any heart. Exchanged arms turn lead I over (P, QRS and T), right arm
    and left leg exchanged turn lead II over, and an electrode of a limb on the right leg leaves one limb lead nearly
    flat. The exchange of left arm and left leg leaves a normal ECG and cannot be seen.

    Args:
        signal: (12, samples) in mV, cleaned, in standard order; absent leads 0.
        sampling_rate: Hz.
    """
    one, two, three, v5, v6 = (signal[LEADS.index(lead)] for lead in ("I", "II", "III", "V5", "V6"))
    if min(np.ptp(lead) for lead in (v5, v6)) < 0.05:
        return None
    amplitude = [float(np.percentile(np.abs(lead), 99)) for lead in (one, two, three)]
    if min(amplitude) < 0.04 and sorted(amplitude)[1] > 0.25:
        return "RL/limb"

    def likeness(lead: np.ndarray, other: np.ndarray) -> float:
        return float(np.dot(lead, other) / (np.linalg.norm(lead) * np.linalg.norm(other) + 1e-9))

    if min(likeness(one, v5 + v6), likeness(two, v5 + v6)) > -0.3:
        return None
    peaks = find_r_peaks(signal, sampling_rate)
    before, after = round(0.28 * sampling_rate), round(0.40 * sampling_rate)
    peaks = peaks[(peaks >= before) & (peaks < signal.shape[1] - after)]
    if len(peaks) < 2:
        return None
    beats = np.median([signal[:, peak - before : peak + after] for peak in peaks], axis=0)
    beats = beats - np.median(beats, axis=1, keepdims=True)
    p_end = before - round(0.08 * sampling_rate)
    beat = dict(zip(LEADS, beats))
    left = (beat["V5"] + beat["V6"]) / 2
    p_wave = {lead: float(beat[lead][:p_end].max() + beat[lead][:p_end].min()) for lead in ("I", "II", "aVR")}
    like = {lead: likeness(beat[lead], left) for lead in ("I", "II")}
    if like["II"] < min(-0.6, like["I"]) and p_wave["II"] < 0:
        return "RA/LL"
    if like["I"] < -0.6 and p_wave["I"] < 0 < p_wave["aVR"]:
        return "LA/RA"
    return None


@dataclass
class OptimizedECG:
    """A record as the data engine uses it.

    Attributes:
        ecg: The best window before cleaning, with the twelve leads in standard order, the warnings of processor and
            quality, and a note on each change.
        signal: float32 (12, samples) in mV at `sampling_rate` Hz, cleaned; 0 where nothing was recorded.
        lead_mask: bool (12, samples), True where something was recorded.
        sampling_rate: Hz of `signal`.
        quality: Quality of each lead.
    """

    ecg: ECG
    signal: np.ndarray
    lead_mask: np.ndarray
    sampling_rate: float
    quality: LeadQuality


class Optimizer:
    """Cleans records as the processor does; longer ones are cut to their best ten seconds.

    Args:
        extractor: The processor's feature extractor, which holds the filters and the rate.
    """

    def __init__(self, extractor: BeatFeatureExtractor | None = None):
        self.extractor = extractor or BeatFeatureExtractor()

    def __call__(self, ecg: ECG) -> OptimizedECG:
        """Cleans one record and judges its leads.

        Raises: `ValueError` as `BeatFeatureExtractor.arrange`, when nothing can be used or the record is too short.
        """
        notes, rate, new_rate = [], ecg.sampling_rate, self.extractor.sampling_rate
        start, stop = best_window(ecg.signal, rate)
        if stop - start < ecg.signal.shape[1]:
            ecg = ecg.cut(start, stop)
            notes.append(f"cut to its best {WINDOW_SECONDS:g} s, from {start / rate:.2f} s on")
        raw, warnings = self.extractor.arrange(ecg)
        signal = self.extractor.resample(self.extractor.clean(raw, rate), rate)
        notes.append(
            f"high-pass {self.extractor.highpass_hz:g} Hz, notches {self.extractor.notch_hz}, {rate:g} to {new_rate} Hz"
        )
        lead_mask = np.isfinite(signal)
        signal = np.where(lead_mask, signal, 0.0)
        by_name = dict(zip(ecg.lead_names, ecg.signal))
        quality = lead_quality(np.stack([by_name.get(lead, row) for lead, row in zip(LEADS, raw)]), rate)
        warnings = warnings + [
            f"{fault}:{lead}"
            for lead, faults in quality.as_dict().items()
            for fault in faults
            if fault in ("noise", "baseline", "lead_off")
        ]
        if reversal := limb_lead_reversal(signal, new_rate):
            warnings.append(f"limb_leads_reversed:{reversal}")
        window = replace(ecg, signal=raw, lead_names=LEADS, notes=(*ecg.notes, *notes), warnings=tuple(warnings))
        return OptimizedECG(window, signal.astype(np.float32), lead_mask, new_rate, quality)
