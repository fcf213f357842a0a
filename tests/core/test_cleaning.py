"""A lead may be there for part of the time: it is cleaned, resampled, masked and tokenised where it is, and nowhere
else.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from heartcare import ECG, BeatFeatureExtractor, cleaning_heartcare
from heartcare.agent.simulate import simulate_ecg
from heartcare.cleaning_heartcare import (
    CACHED_BYTES,
    WHOLE_SAMPLES,
    block_length,
    clean,
    cleaning_gain,
    held_values,
    hum_waves,
    resample,
    stretches,
)
from heartcare.ecg_heartcare import LEADS

LINES = (50.0, 60.0)


def page_of(signal: np.ndarray, rate: int = 500, strip: str | None = "II") -> np.ndarray:
    """Returns the part of ten seconds that a page of 3x4 leads shows: 2.5 s of each lead, and one of them whole."""
    shown = np.full(signal.shape, np.nan, np.float32)
    quarter = signal.shape[1] // 4
    for i, lead in enumerate(LEADS):
        column = slice(i // 3 * quarter, (i // 3 + 1) * quarter)
        shown[i, slice(None) if lead == strip else column] = signal[i, slice(None) if lead == strip else column]
    return shown


def test_a_stretch_is_cleaned_as_a_recording_of_its_own(ecg):
    signal = ecg.signal.astype(float)
    parts = {(2, 0, 1250), (2, 3000, 5000), (7, 1250, 2500)}
    given = np.full(signal.shape, np.nan)
    given[0] = signal[0]
    for lead, start, stop in parts:
        given[lead, start:stop] = signal[lead, start:stop]
    cleaned = clean(given, 500, 0.35, LINES)
    assert np.array_equal(np.isfinite(cleaned), np.isfinite(given))
    np.testing.assert_allclose(cleaned[0], clean(signal[:1], 500, 0.35, LINES)[0], atol=1e-12)
    for lead, start, stop in parts:
        alone = clean(signal[lead : lead + 1, start:stop], 500, 0.35, LINES)[0]
        np.testing.assert_allclose(cleaned[lead, start:stop], alone, atol=1e-12)


def test_stretches_group_leads_that_share_them():
    recorded = np.zeros((4, 10), bool)
    recorded[0, 2:5] = recorded[2, 2:5] = recorded[0, 7:] = recorded[3] = True
    found = {(start, stop): leads.tolist() for leads, start, stop in stretches(recorded)}
    assert found == {(2, 5): [0, 2], (7, 10): [0], (0, 10): [3]}


@pytest.mark.parametrize("rate", [250, 360, 500])
@pytest.mark.parametrize("line", [0.0, -2.5])
def test_a_line_in_place_of_what_was_not_recorded_is_the_same_as_a_gap(rate, line):
    """Many files hold zeros, or the noise of an open input, where a lead was off."""
    ecg, extractor = simulate_ecg("SR", "PVC", sampling_rate=rate, seed=8), BeatFeatureExtractor()
    page = page_of(ecg.signal, rate)
    page[11, : 3 * rate] = ecg.signal[11, : 3 * rate]  # off in the middle, too
    gaps, lines = (
        extractor.prepare({"signal": signal, "sampling_rate": rate, "units": "mV"})
        for signal in (page, np.where(np.isfinite(page), page, np.float32(line)))
    )
    assert np.array_equal(gaps.lead_mask, lines.lead_mask) and not gaps.lead_mask.all()
    np.testing.assert_array_equal(gaps.signal, lines.signal)
    faults = [name.replace("gap:", "flat_partly:") for name in gaps.quality["warnings"]]
    of_gaps, of_lines = (dict(record.quality) for record in (gaps, lines))
    by_lead = of_gaps.pop("by_lead"), of_lines.pop("by_lead")
    assert of_lines == of_gaps | {"warnings": faults} and faults.count("flat_partly:V6") == 1
    assert [lead["off"] for lead in by_lead[0].values()] == [0.0] * 12 and by_lead[1]["V1"]["off"] > 0.7
    for lead in LEADS:  # a line counts for none of the other numbers
        assert by_lead[1][lead] | {"off": 0.0} == by_lead[0][lead]


def test_values_are_held_from_as_many_steps_on_as_are_asked_for():
    signal = np.array([[1, 1, 1, 2, 2, 2, 2, 3], [0, np.nan, np.nan, np.nan, np.nan, 0, 0, 0]])
    assert held_values(signal, 3).astype(int).tolist() == [[0, 0, 0, 1, 1, 1, 1, 0], [0] * 8]
    assert held_values(signal, 2).astype(int).tolist() == [[1] * 7 + [0], [0] * 5 + [1] * 3]


@pytest.mark.parametrize("rate", [250, 360, 500, 1000])
def test_a_page_s_worth_of_signal_keeps_time_and_voltage(rate):
    """A lead that the page shows is cleaned nearly as in the whole recording, and the mask says where it is."""
    ecg, extractor = simulate_ecg("SR", "NORM", sampling_rate=rate, noise_mv=0.002, seed=3), BeatFeatureExtractor()
    whole = extractor.prepare({"signal": ecg.signal, "sampling_rate": rate, "units": "mV"})
    page = extractor.prepare({"signal": page_of(ecg.signal, rate), "sampling_rate": rate, "units": "mV"})
    assert whole.lead_mask.all() and page.signal.shape == whole.signal.shape
    for i, lead in enumerate(LEADS):
        column = slice(i // 3 * 250, (i // 3 + 1) * 250)
        expected = np.zeros(1000, bool)
        expected[slice(None) if lead == "II" else column] = True
        if lead in ("III", "aVR", "aVL", "aVF"):
            expected[:250] = True  # derived where I and II are both there
        assert (page.lead_mask[i] != expected).sum() <= 2, lead
        assert (page.signal[i][~page.lead_mask[i]] == 0).all()
        inside = np.flatnonzero(expected)[5:-5]
        error = page.signal[i, inside] - whole.signal[i, inside]
        # The mean of 2.5 s is another one than that of 10 s, by some tens of microvolts; the shape is the same.
        error = error - np.median(error)
        assert np.sqrt(np.mean(error**2)) < 0.03, lead
    assert page.quality["leads"] == list(LEADS)
    assert page.quality["recorded_seconds"]["V1"] == pytest.approx(2.5, abs=0.01)
    assert "II" not in page.quality["recorded_seconds"] and "gap:V1" in page.quality["warnings"]


def test_only_an_ecg_of_which_nothing_is_left_is_refused(ecg):
    extractor = BeatFeatureExtractor()
    signal = np.full((12, 5000), np.nan, np.float32)
    signal[4, 2000:2300] = ecg.signal[4, 2000:2300]  # 0.6 s of one lead
    assert extractor.prepare(ECG(signal, 500)).lead_mask.sum() == 60
    signal[4, 2200:] = np.nan  # 0.4 s show no whole beat
    with pytest.raises(ValueError, match=r"no lead can be used \(gap:I"):
        extractor.prepare(ECG(signal, 500))
    with pytest.raises(ValueError, match="no lead can be used"):
        ECG(np.full((12, 5000), np.nan), 500)


def test_beat_tokenises_a_page_alone_and_in_a_batch(beat, ecg):
    """Codes and gain of a page do not depend on what it is batched with, and masked samples are never read."""
    extractor = BeatFeatureExtractor()
    whole, page = (extractor.prepare({"signal": s, "sampling_rate": 500, "units": "mV"})
                   for s in (ecg.signal, page_of(ecg.signal, strip=None)))  # fmt: skip
    longer = np.concatenate([whole.signal, whole.signal[:, :300]], axis=1)
    batch = extractor.pad([longer, page.signal], [np.ones(longer.shape, bool), page.lead_mask], return_tensors="pt")
    alone = beat.encode(**extractor.pad([page.signal], [page.lead_mask], return_tensors="pt"))
    together = beat.encode(**batch)
    latents = alone.codes.shape[-1]
    assert torch.equal(together.codes[1, :, -latents:], alone.codes[0]) and together.gain[1] == alone.gain[0]
    assert (together.codes[1, :, :-latents] == -1).all()
    rubbish = np.where(page.lead_mask, page.signal, 77.0).astype(np.float32)
    spoilt = beat.encode(**extractor.pad([rubbish], [page.lead_mask], return_tensors="pt"))
    assert torch.equal(spoilt.codes, alone.codes) and spoilt.gain == alone.gain
    assert beat.decode(alone.codes, alone.gain).isfinite().all()


def test_resampling_keeps_gaps_where_they_are():
    signal = np.sin(np.arange(3000) / 20)[None].repeat(2, 0)
    signal[1, 1000:2000] = np.nan
    out = resample(signal, 300, 100)
    assert np.isnan(out[1, 335:665]).all() and np.isfinite(out[1, :330]).all() and np.isfinite(out[0]).all()
    np.testing.assert_array_equal(out[0], resample(signal[:1], 300, 100)[0])


def test_filters_that_are_kept_have_a_limit_in_bytes():
    """Recordings of forty lengths need filters of their own."""
    for samples in (*range(3000, 3040), 400_000, 900_000, 2_000_000):
        cleaning_gain(0.35, LINES, 500, samples)
        hum_waves(LINES, 500, samples, 0)
    for cached in (cleaning_gain, hum_waves):
        assert sum(array.nbytes for array in cached.kept.values()) <= CACHED_BYTES
    assert cleaning_gain(0.35, LINES, 500, 3039) is cleaning_gain(0.35, LINES, 500, 3039)


@pytest.mark.parametrize("samples", [WHOLE_SAMPLES + 1, 100_003, 300_001])
@pytest.mark.parametrize(
    "rate, highpass, lines", [(1000, 0.35, LINES), (360, 0.35, ()), (500, 0, LINES), (1000, 2, ())]
)
def test_blocks_of_a_long_recording_are_cleaned_as_the_whole(samples, rate, highpass, lines, rng, monkeypatch):
    times = np.arange(samples) / rate
    signal = rng.normal(0, 0.02, (2, samples)).cumsum(axis=1) + 300 + 0.3 * np.sin(2 * np.pi * 50.1 * times) + times
    cleaned = clean(signal, rate, highpass, lines)
    monkeypatch.setattr(cleaning_heartcare, "WHOLE_SAMPLES", samples)
    np.testing.assert_allclose(cleaned, clean(signal, rate, highpass, lines), rtol=0, atol=1e-9)


def test_lengths_of_blocks_are_few():
    lengths = [block_length(samples) for samples in range(1, 2000)]
    assert all(samples <= length <= 1.126 * samples for samples, length in enumerate(lengths, start=1) if samples > 16)
    assert sum(1024 <= length < 2048 for length in set(lengths)) == 8


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_memory_is_given_back_after_long_recordings_of_many_lengths(rng):
    """A transform of the length of these recordings leaves up to 29 MB in scipy, for the 16 latest lengths."""
    signal, megabytes = rng.normal(size=(2, 401_000)), []
    for number in range(20):
        resample(clean(signal[:, : 400_000 + 37 * number], 1000, 0.35, LINES), 1000, 100)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        megabytes.append(pages * os.sysconf("SC_PAGESIZE") / 1e6)
    assert megabytes[-1] - megabytes[0] < 60, megabytes
