"""The optimizer: the best window, the processor's own cleaning and resampling, the quality of each lead in numbers, and
exchanged limb leads.

    ECG --best_window, BeatFeatureExtractor.arrange--> ECG of twelve leads --clean, resample--> signal
        --lead_quality, limb_lead_reversal--> OptimizedECG
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import uniform_filter1d

from ..delineation_heartcare import find_r_peaks
from ..ecg_heartcare import ECG, LEADS
from ..extraction_heartcare import BeatFeatureExtractor

WINDOW_SECONDS = 10.0
# The limits from which on a lead is named are those of the eye: half a millimetre of noise, half a centimetre of drift.
NOISE_UV, BASELINE_MV, FLAT_SECONDS, SATURATED_SHARE = 50.0, 0.5, 1.0, 0.02


@dataclass
class LeadQuality:
    """Numbers of each lead, arrays (leads,).

    Attributes:
        missing: Share of samples that were not recorded.
        flat: Longest stretch without any change, in seconds.
        saturated: Share of samples that stay at the lead's largest or smallest value.
        noise: Standard deviation of the noise between neighbouring samples in uV, by the median, which QRS complexes do
            not move.
        baseline: Drift, the running mean of 2 s, in mV, from its 5th to its 95th percentile.
        faults: For each lead, some of "missing", "flat", "lead_off", "saturated", "noise", "baseline".
    """

    missing: np.ndarray
    flat: np.ndarray
    saturated: np.ndarray
    noise: np.ndarray
    baseline: np.ndarray
    faults: list[list[str]]

    def as_dict(self) -> dict[str, list[str]]:
        """Lead name -> its faults, for those of the twelve leads that have any."""
        return {name: faults for name, faults in zip(LEADS, self.faults) if faults}


def lead_quality(signal: np.ndarray, sampling_rate: float) -> LeadQuality:
    """Quality of each lead of an uncleaned ECG, all leads at once.

    Args:
        signal: (leads, samples) in mV, NaN where nothing was recorded.
        sampling_rate: Hz.
    """
    leads, samples = signal.shape
    recorded = np.isfinite(signal)
    missing = 1 - recorded.mean(axis=1)
    filled = np.where(recorded, signal, 0.0).astype(np.float32)
    steps = np.diff(filled, axis=1)
    still = np.abs(steps) < 1e-6
    flat = longest_run(still & recorded[:, 1:] & recorded[:, :-1]) / sampling_rate
    rails = filled.max(axis=1, keepdims=True), filled.min(axis=1, keepdims=True)
    at_rail = (filled[:, 1:] == rails[0]) | (filled[:, 1:] == rails[1])
    saturated = (at_rail & still & recorded[:, 1:]).mean(axis=1)
    # White noise of deviation s has second differences of deviation s * sqrt(6). Every second one is enough for a
    # median.
    restless = np.abs(np.diff(steps, axis=1)[:, ::2]) if samples > 2 else np.zeros((leads, 1))
    noise = 1000 * np.median(restless, axis=1) / 0.6745 / np.sqrt(6)
    block = max(1, round(sampling_rate / 10))
    blocks = (
        filled[:, : samples // block * block].reshape(leads, -1, block).mean(axis=2) if samples >= block else filled
    )
    drift = np.sort(uniform_filter1d(blocks, min(20, blocks.shape[1]), axis=1, mode="nearest"), axis=1)  # 2 s
    spread = np.sort(filled[:, :: max(1, block // 5)], axis=1)
    baseline, range_mv = (
        values[:, -1 - values.shape[1] // part] - values[:, values.shape[1] // part]
        for values, part in ((drift, 20), (spread, 100))
    )
    faults = [
        [
            name
            for name, present in (
                ("missing", missing[i] > 0.02),
                ("flat", flat[i] >= FLAT_SECONDS),
                ("lead_off", flat[i] * sampling_rate >= 0.9 * (samples - 1) or range_mv[i] < 0.02 or range_mv[i] > 20),
                ("saturated", saturated[i] > SATURATED_SHARE and flat[i] * sampling_rate < 0.9 * (samples - 1)),
                ("noise", noise[i] > NOISE_UV),
                ("baseline", baseline[i] > BASELINE_MV),
            )
            if present
        ]
        for i in range(leads)
    ]
    return LeadQuality(missing, flat, saturated, noise, baseline, faults)


def longest_run(flags: np.ndarray) -> np.ndarray:
    """The length of the longest run of True in each lead: bool (leads, samples) -> (leads,)."""
    at = np.arange(1, flags.shape[1] + 1)
    since = at - np.maximum.accumulate(np.where(flags, 0, at), axis=1)
    return since.max(axis=1, initial=0)


def best_window(signal: np.ndarray, sampling_rate: float) -> tuple[int, int]:
    """Start and stop, in samples, of the ten seconds with the fewest missing, flat and restless samples.

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
    start = int(sums.argmin()) * block
    return min(start, samples - length), min(start, samples - length) + length


def limb_lead_reversal(signal: np.ndarray, sampling_rate: float) -> str | None:
    """Suspected reversal of limb electrodes: "LA/RA", "RA/LL", "RL/limb", or None.

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

    def likeness(one, other):
        return float(np.dot(one, other) / (np.linalg.norm(one) * np.linalg.norm(other) + 1e-9))

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
