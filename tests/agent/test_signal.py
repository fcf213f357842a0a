"""The optimizer: cleaning keeps what matters, quality sees faults, and both are the code of the processor."""

import numpy as np
import pytest
from scipy import signal as scipy_signal

from heartcare import BeatFeatureExtractor
from heartcare.agent.measure import heart_rate
from heartcare.agent.signal import Optimizer, best_window, limb_lead_reversal
from heartcare.agent.simulate import FORMS, simulate_ecg
from heartcare.cleaning_heartcare import resample
from heartcare.ecg_heartcare import ECG, LEADS
from heartcare.measuring_heartcare import measure_ecg
from heartcare.quality_heartcare import lead_quality


def record_of(signal) -> ECG:
    return ECG(np.asarray(signal), 500, LEADS)


@pytest.mark.parametrize("rate", [500, 1000])
@pytest.mark.parametrize("rhythm", ["SR", "SBRAD", "STACH"])
def test_cleaning_keeps_qrs_and_st(rhythm, rate):
    """A lead's QRS amplitude (the median of its beats) stays within 2 %, and in every beat the level 40 ms after the J
    point, measured from the PQ segment, within 20 uV of where it was.
    """
    extractor = BeatFeatureExtractor()
    for form in FORMS:
        for seed in range(3):
            ecg = simulate_ecg(rhythm, form, sampling_rate=rate, noise_mv=0, seed=seed)
            cleaned = extractor.clean(ecg.signal.astype(float), rate)
            ratios = []
            for onset, end in ecg.qrs:
                if form == "PVC" and end - onset > 0.155 or end + 0.05 > 10 or onset < 0.4:
                    continue  # ectopic beats, and the first and last, whose cycles the recording cuts off
                before, after = round((onset - 0.01) * rate), round((end + 0.04) * rate)
                st = (cleaned - ecg.signal)[:, after] - (cleaned - ecg.signal)[:, before]
                assert np.abs(st).max() < 0.020, (form, seed, onset)
                beat = slice(round(onset * rate), round(end * rate) + 1)
                amplitude, kept = np.ptp(ecg.signal[:, beat], axis=1), np.ptp(cleaned[:, beat], axis=1)
                ratios.append(np.where(amplitude > 0.5, kept / amplitude, 1.0))
            assert len(ratios) > 4 and np.abs(np.median(ratios, axis=0) - 1).max() < 0.02, (form, seed)


def test_cleaning_equals_zero_phase_filters_with_endless_mirroring(ecg):
    extractor = BeatFeatureExtractor()
    time = np.arange(5000) / 500
    sections = [scipy_signal.butter(4, extractor.highpass_hz, "highpass", fs=500, output="sos")]
    sections += [scipy_signal.tf2sos(*scipy_signal.iirnotch(line, Q=line / 0.4, fs=500)) for line in extractor.notch_hz]
    signal = ecg.signal.astype(float)
    given = signal
    for line in extractor.notch_hz:  # steady hum goes first, by least squares
        waves = np.stack([np.cos(2 * np.pi * line * time), np.sin(2 * np.pi * line * time)], axis=1)
        signal = signal - (waves @ np.linalg.lstsq(waves, signal.T)[0]).T
    mirrored = np.concatenate([signal, signal[:, ::-1], signal, signal[:, ::-1], signal], axis=1)
    expected = scipy_signal.sosfiltfilt(np.concatenate(sections), mirrored, padtype="even", padlen=4999)[:, 10000:15000]
    np.testing.assert_allclose(extractor.clean(given, 500), expected, atol=1e-7)


def test_cleaning_removes_drift_and_power_line(ecg):
    time = np.arange(5000) / 500
    extractor = BeatFeatureExtractor()
    clean = extractor.clean(ecg.signal.astype(float), 500)
    for disturbance in (
        0.8 * np.sin(2 * np.pi * 0.15 * time),
        0.2 * np.sin(2 * np.pi * 50 * time),
        0.2 * np.sin(2 * np.pi * 60.02 * time),
        5.0 + 0 * time,
    ):
        left = extractor.clean(ecg.signal + disturbance, 500) - clean
        assert np.sqrt(np.mean(left[:, 500:-500] ** 2)) < 0.05 * np.sqrt(np.mean(disturbance**2))


def test_optimizer_is_the_processor(ecg, processor):
    record = record_of(ecg.signal)
    features = processor.feature_extractor(record.as_input())
    np.testing.assert_array_equal(Optimizer(processor.feature_extractor)(record).signal, features["input_values"][0])


@pytest.mark.parametrize("ratio", [(360, 500), (250, 500), (257, 500), (1000, 500)])
def test_change_of_rate_keeps_the_time(ratio):
    rate, new = ratio
    wave = lambda fs: np.sin(2 * np.pi * 1.7 * np.arange(10 * fs) / fs)  # noqa: E731
    signal = wave(rate)
    signal[2 * rate : 3 * rate] = np.nan
    out = resample(signal[None], rate, new, 10 * new)[0]
    inside = np.r_[new // 2 : 2 * new - new // 5, 3 * new + new // 5 : 10 * new - new // 2]
    np.testing.assert_allclose(out[inside], wave(new)[inside], atol=0.01)
    assert np.isnan(out[2 * new + 5 : 3 * new - 5]).all()


def test_quality_names_each_fault(ecg):
    rng = np.random.default_rng(0)
    signal = ecg.signal.copy()
    signal[0, 1000:1500] = np.nan
    signal[1, 2000:2700] = signal[1, 2000]
    signal[2] = 0.0
    signal[3] = np.clip(signal[3], -0.15, 0.15)
    signal[4] += rng.normal(0, 0.12, 5000)
    signal[5] += np.linspace(0, 1.5, 5000)
    quality = lead_quality(signal, 500)
    faults = quality.as_dict()
    assert (
        faults["I"] == ["missing"]
        and "flat" in faults["II"]
        and "lead_off" in faults["III"]
        and "saturated" in faults["aVR"]
    )
    assert "noise" in faults["aVL"] and faults["aVF"] == ["baseline"]
    assert set(faults) == {"I", "II", "III", "aVR", "aVL", "aVF"}
    assert quality.noise[4] == pytest.approx(120, rel=0.1) and quality.missing[0] == pytest.approx(0.1)
    assert quality.flat[1] == pytest.approx(1.4, abs=0.02) and 1.2 < quality.drift[5] < 1.6


def test_best_window_is_the_undisturbed_one():
    ecg = simulate_ecg("SR", "NORM", seconds=40, noise_mv=0.005, seed=3)
    signal = ecg.signal.copy()
    signal[:, :5000] += np.random.default_rng(0).normal(0, 0.4, (12, 5000))
    signal[:, 9000:10000] = np.nan
    signal[:, 16500:] = 0
    start, stop = best_window(signal, 500)
    assert stop - start == 5000
    assert start >= 10000 - 250 and stop <= 16500 + 250
    assert best_window(signal[:, :3000], 500) == (0, 3000)
    optimized = Optimizer()(record_of(signal))
    assert optimized.signal.shape == (12, 1000) and any("best 10 s" in change for change in optimized.ecg.notes)


def reversed_limbs(signal, kind: str):
    right, left = -(signal[0] + signal[1]) / 3, (2 * signal[0] - signal[1]) / 3
    leg = right + signal[1]
    right, left, leg = {"LA/RA": (left, right, leg), "RA/LL": (leg, left, right), "RL/limb": (leg, left, leg)}[kind]
    out = signal.copy()
    out[:6] = [
        left - right,
        leg - right,
        leg - left,
        right - (left + leg) / 2,
        left - (right + leg) / 2,
        leg - (right + left) / 2,
    ]
    return out


@pytest.mark.parametrize("kind", ["LA/RA", "RA/LL", "RL/limb"])
def test_limb_lead_reversal(kind):
    extractor = BeatFeatureExtractor()
    found = 0
    for seed in range(10):
        ecg = simulate_ecg("SR", ("NORM", "LVH", "LOWT")[seed % 3], sampling_rate=100, noise_mv=0.002, seed=seed)
        clean = extractor.clean(ecg.signal.astype(float), 100)
        assert limb_lead_reversal(clean, 100) is None
        found += limb_lead_reversal(reversed_limbs(clean, kind), 100) == kind
    assert found >= 7
    optimized = Optimizer()(
        record_of(reversed_limbs(simulate_ecg("SR", "NORM", noise_mv=0.002, seed=1).signal, "LA/RA"))
    )
    assert "limb_leads_reversed:LA/RA" in optimized.ecg.warnings


def test_real_records_are_seldom_called_reversed(shared):
    from heartcare.agent.readers import read_ecg

    paths = sorted((shared / "wfdb").glob("*.hea"))
    flagged = [
        path.stem for path in paths if any(w.startswith("limb") for w in Optimizer()(read_ecg(path)).ecg.warnings)
    ]
    assert len(paths) == 12 and len(flagged) <= 1, flagged


def test_measurements():
    ecg = simulate_ecg("SR", "NORM", noise_mv=0.002, seed=3)
    clean = BeatFeatureExtractor().clean(ecg.signal.astype(float), 500)
    assert heart_rate(clean, 500) == pytest.approx(ecg.heart_rate, rel=0.03)
    axes = {}
    for degrees in (-60, 0, 60, 120):
        turned = clean.copy()
        for lead, angle in {"I": 0, "II": 60, "III": 120, "aVR": -150, "aVL": -30, "aVF": 90}.items():
            projection = np.cos(np.radians(degrees - angle)) * (1 if lead in ("I", "II", "III") else np.sqrt(3) / 2)
            turned[LEADS.index(lead)] = clean[LEADS.index("V5")] * projection
        axes[degrees] = measure_ecg(turned, 500).qrs_axis
    for degrees, found in axes.items():
        assert found == pytest.approx(degrees, abs=3)
    assert heart_rate(np.zeros((12, 5000)), 500) is None and measure_ecg(np.zeros((12, 5000)), 500).qrs_axis is None
