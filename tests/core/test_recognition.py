"""Signals that are no ECG are refused, with the cause, and no ECG is, however ill the heart."""

import numpy as np
import pytest
from scipy import signal as scipy_signal

from heartcare.agent.not_ecgs import OTHER_SIGNALS
from heartcare.agent.readers import read_ecg
from heartcare.agent.simulate import FORMS, RHYTHMS, simulate_ecg
from heartcare.ecg_heartcare import LEADS, MIN_RATE
from heartcare.extraction_heartcare import BeatFeatureExtractor
from heartcare.recognition_heartcare import not_an_ecg

RATES = (100, 250, 500, 1000)


# Name of another signal -> what its cause says.
CAUSES = {
    "white noise": "white noise",
    "uniform noise": "white noise",
    "pink noise": "coloured noise",
    "brown noise": "noise|slow|sine",
    "random walk": "noise|slow|sine",
    "copies of white noise": "white noise",
    "copies of pink noise": "coloured noise",
    "zeros": "no signal",
    "an offset": "no signal",
    "noise of the converter": "no signal",
    "sine of 1.2 Hz": "sine wave of 1.2 Hz",
    "sine of 5 Hz": "sine wave of 5.0 Hz",
    "noisy sine of 4 Hz": "sine wave of 4.0 Hz",
    "hum": "hum|sine|noise",
    "calibration": "square pulses",
    "noisy calibration": "square pulses",
    "ramp": "ramp",
    "noisy ramp": "ramp",
    "sawtooth": "ramps",
    "triangle": "ramps",
    "muscles": "bursts|noise",
    "voice": "bursts|noise",
    "breathing": "slow waves",
}


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", OTHER_SIGNALS)
def test_other_signals_are_refused_by_name(name, rate):
    make, cause = OTHER_SIGNALS[name], CAUSES[name]
    time = np.arange(10 * rate) / rate
    for seed in range(3):
        signal = make(np.random.default_rng(seed), time)
        causes = not_an_ecg(signal, rate)
        assert list(causes) == list(LEADS), seed
        if not (rate < 250 and name in ("hum", "voice")):  # which such rates cannot show
            assert all(any(word in found for word in cause.split("|")) for found in causes.values()), causes
        # In a refusal they are joined by semicolons, behind a colon and before the names of leads.
        assert not any(mark in found for found in causes.values() for mark in ",:;")


@pytest.mark.parametrize("name", sorted(set(OTHER_SIGNALS) - {"muscles", "voice"}))
def test_other_signals_are_refused_in_few_leads_and_on_pages(name):
    make = OTHER_SIGNALS[name]
    time = np.arange(5000) / 500
    for seed in range(3):
        signal = make(np.random.default_rng(seed), time)
        for row in (0, 1, 6):
            alone = np.full_like(signal, np.nan)
            alone[row] = signal[row]
            assert list(not_an_ecg(alone, 500)) == [LEADS[row]]
        assert list(not_an_ecg(on_page(signal), 500)) == list(LEADS)


def on_page(signal: np.ndarray) -> np.ndarray:
    """Returns the parts of ten seconds that a page of 3x4 leads shows."""
    page, quarter = np.full(signal.shape, np.nan), signal.shape[1] // 4
    for row in range(12):
        shown = slice(row // 3 * quarter, (row // 3 + 1) * quarter)
        page[row, shown] = signal[row, shown]
    return page


def twelve(independent: np.ndarray) -> np.ndarray:
    """Returns the twelve leads of I, II and V1 to V6, with a little noise and drift in each of the eight."""
    rng, time = np.random.default_rng(9), np.linspace(0, 10, independent.shape[1])
    leads = independent + 0.01 * rng.normal(size=independent.shape)
    leads += 0.05 * np.sin(2 * np.pi * 0.2 * time + rng.uniform(0, 6, (8, 1)))
    one, two = leads[:2]
    return np.concatenate([[one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2], leads[2:]])


@pytest.mark.parametrize("rate", RATES)
def test_simulated_ecgs_are_recognised(rate):
    for seed, rhythm in enumerate(RHYTHMS):
        for form in FORMS:
            signal = simulate_ecg(rhythm, form, sampling_rate=rate, noise_mv=0.02, seed=seed).signal
            one, two = np.full_like(signal, np.nan), np.full_like(signal, np.nan)
            one[0], two[1] = signal[0], signal[1]
            for shown in (signal, one, two, on_page(signal), 0.2 * signal, signal[:, : 3 * rate]):
                assert not_an_ecg(shown, rate) == {}, (rhythm, form)


def test_cleaned_ecgs_are_recognised_as_well():
    extractor = BeatFeatureExtractor()
    for seed in range(8):
        prepared = extractor.prepare(
            {"signal": simulate_ecg("AFIB", FORMS[seed], seed=seed).signal, "sampling_rate": 500, "units": "mV"}
        )
        assert not_an_ecg(np.where(prepared.lead_mask, prepared.signal, np.nan), extractor.sampling_rate) == {}


@pytest.mark.parametrize("rate", [100, 250, 500])
def test_fibrillation_flutter_and_tachycardia_of_the_ventricles_are_ecgs(rate):
    rng, time = np.random.default_rng(3), np.arange(10 * rate) / rate

    def slow(hertz):
        sections = scipy_signal.butter(2, hertz, fs=rate, output="sos")
        wander = scipy_signal.sosfiltfilt(sections, rng.normal(size=len(time)))
        return wander / wander.std()

    for seed in range(6):
        hertz = rng.uniform(3.5, 6.5)
        dipoles = [
            np.sin(2 * np.pi * np.cumsum(hertz * (1 + 0.12 * slow(1.0))) / rate) * (0.7 + 0.4 * slow(0.8))
            for _ in range(3)
        ]
        fibrillation = rng.normal(size=(8, 3)) @ np.array(dipoles) * 0.2
        assert not_an_ecg(twelve(fibrillation), rate) == {}, ("fibrillation", seed)
        hertz, at, beats = rng.uniform(2.6, 3.8), 0.1, np.zeros_like(time)
        while at < 10:
            cycle = rng.normal(1, 0.015) / hertz
            share = np.clip((time - at) / cycle, 0, 1)
            beats += np.where(share < 0.5, np.sin(2 * np.pi * np.minimum(share, 0.5)) ** 2, 0)
            beats -= np.where(share > 0.4, 0.6 * np.sin(np.pi * np.clip((share - 0.4) / 0.6, 0, 1)) ** 2, 0)
            at += cycle
        assert not_an_ecg(twelve(rng.normal(size=(8, 1)) * beats), rate) == {}, ("tachycardia", seed)


@pytest.mark.parametrize("rate", [100, 250, 500])
def test_few_wide_complexes_are_an_ecg_and_none_are_not(rate):
    rng, time = np.random.default_rng(4), np.arange(10 * rate) / rate
    for seed in range(6):
        waves = np.zeros_like(time)
        for at in (1.3, 4.6, 8.2) if seed % 2 else (0.9, 3.1, 5.2, 7.4):
            share = (time - at) / rng.uniform(0.18, 0.24)
            waves += np.where((share > 0) & (share < 1), np.sin(np.pi * np.clip(share, 0, 1)) ** 2, 0)
            waves -= 0.4 * np.where(
                (share > 1) & (share < 2.5), np.sin(np.pi * np.clip((share - 1) / 1.5, 0, 1)) ** 2, 0
            )
        heights = rng.choice([-1, 1], (8, 1)) * rng.uniform(0.4, 1.2, (8, 1))
        assert not_an_ecg(twelve(heights * waves), rate) == {}, seed
    assert list(not_an_ecg(twelve(np.zeros((8, len(time)))), rate)) == list(LEADS)  # asystole: no complex at all


def test_one_lead_with_an_ecg_is_enough():
    """The other electrodes may be off; warnings elsewhere name the leads that cannot be used."""
    ecg = simulate_ecg("SR", "NORM", seed=2).signal.astype(np.float64)
    ecg[2:] = 0.0
    assert not_an_ecg(ecg, 500) == {}
    ecg[:2] = 0.0
    assert set(not_an_ecg(ecg, 500).values()) == {"no signal (electrode off or no heartbeat)"}


def test_a_long_recording_is_an_ecg_when_one_of_its_minutes_is():
    noise = np.random.default_rng(0).normal(0, 0.3, (12, 130 * 250))
    assert len(not_an_ecg(noise, 250)) == 12
    noise[:, 70 * 250 : 110 * 250] = simulate_ecg("SR", "NORM", seconds=40, sampling_rate=250, seed=1).signal
    assert not_an_ecg(noise, 250) == {}


def spike(samples: int, rate: int) -> np.ndarray:
    """Returns one narrow complex in the middle of noise, the same in all leads, (12, samples)."""
    time = (np.arange(samples) - samples // 2) / rate
    quiet = np.random.default_rng(5).normal(0, 0.005, (12, samples))
    return quiet + 2 * np.exp(-0.5 * np.square(time / 0.012))


@pytest.mark.parametrize("seconds", [1.0, 1.6, 2.5, 3.9])
@pytest.mark.parametrize("gap", [0, 250])
def test_a_spike_behind_noise_is_no_ecg(seconds, gap):
    """A lonely complex may be an ECG where there is no more of the recording, but not where the rest is noise."""
    end = spike(round(seconds * 250), 250)
    assert not_an_ecg(end, 250) == {}
    for before in (5, 10, 60, 120):
        noise = np.random.default_rng(before).normal(0, 0.3, (12, before * 250))
        whole = np.concatenate([noise, np.full((12, gap), np.nan), end], axis=1)
        assert list(not_an_ecg(whole, 250)) == list(LEADS), before


@pytest.mark.parametrize("rate", [2, 5, 8, 11, 12, 20, 25, 40, 49.9])
def test_what_is_sampled_too_slowly_is_told_from_nothing(rate):
    rng, extractor = np.random.default_rng(2), BeatFeatureExtractor()
    for seconds in (1, 3, 10, 70):
        noise = rng.normal(size=(12, int(np.ceil(seconds * rate))))
        causes = not_an_ecg(noise, rate)
        assert set(causes.values()) == {"too low a sampling rate to tell an ECG (below 50 Hz)"}
        if rate >= MIN_RATE:
            given = {"signal": noise, "sampling_rate": rate, "units": "mV"}
            assert extractor.prepare(given, measure=True).quality["not_an_ecg"] == causes


@pytest.mark.parametrize("rate", [50, 62.5, 128])
def test_noise_of_every_length_has_a_cause(rate):
    for samples in range(1, round(4 * rate)):
        causes = not_an_ecg(np.random.default_rng(samples).normal(size=(12, samples)), rate)
        assert list(causes) == list(LEADS), samples


def test_a_lead_that_is_too_short_is_not_called_flat():
    ecg = simulate_ecg("SR", "NORM", seed=3).signal.astype(np.float64)
    half = ecg[:, 500:750]  # half a second
    assert set(not_an_ecg(half, 500).values()) == {"too short a signal to tell an ECG (below 0.9 s)"}
    parts = np.where(np.arange(5000) % 400 < 250, ecg, np.nan)  # half seconds with gaps between are no longer ones
    assert set(not_an_ecg(parts, 500).values()) == {"too short a signal to tell an ECG (below 0.9 s)"}


def test_leads_that_were_not_recorded_are_left_out():
    noise = np.random.default_rng(0).normal(size=(12, 2500))
    recorded = np.zeros((12, 2500), bool)
    recorded[3, :] = recorded[7, 500:] = True
    assert not_an_ecg(np.where(recorded, noise, np.nan), 250) == {"aVR": "white noise", "V2": "white noise"}
    assert not_an_ecg(np.full((12, 2500), np.nan), 250) == {}
    with pytest.raises(ValueError, match=r"\(12, samples\) is judged, got \(11, 2500\)"):
        not_an_ecg(noise[:11], 250)


@pytest.mark.parametrize("samples", [1, 3, 30, 100, 200])
def test_short_stretches_of_noise_are_refused(samples):
    noise = np.random.default_rng(1).normal(size=(12, samples))
    assert list(not_an_ecg(noise, 100)) == list(LEADS)


def test_real_ecgs_are_recognised(shared):
    paths = sorted((shared / "wfdb").glob("*.hea"))
    assert len(paths) == 12
    for path in paths:
        ecg = read_ecg(path)
        signal = ecg.signal[[ecg.lead_names.index(lead) for lead in LEADS]]
        alone = np.full_like(signal, np.nan)
        alone[1] = signal[1]
        for shown in (signal, alone, on_page(signal), signal[:, :1250]):
            assert not_an_ecg(shown, ecg.sampling_rate) == {}, path.name
