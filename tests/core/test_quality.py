"""The quality of leads in numbers, before cleaning."""

import json
import time

import numpy as np
import pytest

from heartcare import BeatFeatureExtractor
from heartcare.agent.simulate import simulate_ecg
from heartcare.ecg_heartcare import LEADS
from heartcare.quality_heartcare import lead_quality, longest_run, plain_quality


def quiet_ecg(rate: int = 500) -> np.ndarray:
    """Returns ten seconds of an ECG without noise or drift, (12, samples) in mV."""
    return simulate_ecg("SR", "NORM", sampling_rate=rate, noise_mv=0, seed=4).signal


@pytest.mark.parametrize("rate", [250, 360, 500, 1000])
@pytest.mark.parametrize("line", [50, 59.97])
def test_hum_is_its_amplitude(rate, line):
    ecg, time = quiet_ecg(rate), np.arange(10 * rate) / rate
    before = lead_quality(ecg, rate).hum
    hum = np.array([0.0, 0.01, 0.05, 0.2])[np.arange(12) % 4]
    after = lead_quality(ecg + hum[:, None] * np.sin(2 * np.pi * line * time + 1), rate).hum
    assert before.max() < 5
    np.testing.assert_allclose(after, 1000 * hum, atol=5, rtol=0.02)


@pytest.mark.parametrize("rate", [150, 200, 240, 250, 300, 360, 500, 600, 1000])
@pytest.mark.parametrize("line", [50, 60])
def test_noise_and_range_of_hum_do_not_hang_on_its_phase(rate, line):
    """Many rates are multiples of the line's frequency, and samples at equal distances may then be all alike."""
    angles = 2 * np.pi * line / rate * np.arange(10 * rate)
    phases = np.linspace(0, np.pi, 12, endpoint=False)
    quality = lead_quality(0.2 * np.sin(angles + phases[:, None]), rate)
    assert quality.off.max() == 0
    usual = 200 * 4 * np.sin(np.pi * line / rate) ** 2 * np.sqrt(0.5) / 0.6745 / np.sqrt(6)
    # Of a period of few samples, the median itself is between 0.7 and 1.42 of the usual one.
    assert 0.69 < quality.noise.min() / usual and quality.noise.max() / usual < 1.42


def test_drift_and_a_step_are_no_hum():
    ecg, time = quiet_ecg(), np.arange(5000) / 500
    shifted = ecg + 2 * np.sin(2 * np.pi * 0.2 * time) + 1.5 * (time > 4.1)
    assert np.abs(lead_quality(shifted, 500).hum - lead_quality(ecg, 500).hum).max() < 5


@pytest.mark.parametrize("rate, measured", [(100, False), (110, False), (125, True), (500, True)])
def test_hum_is_not_measured_where_the_rate_is_too_low(rate, measured):
    plain = plain_quality(quiet_ecg(rate), rate, LEADS)
    assert all((lead["hum_uv"] is not None) == measured for lead in plain.values())


@pytest.mark.parametrize("rate", [100, 500])
def test_noise_is_its_standard_deviation(rate):
    ecg, rng = quiet_ecg(rate), np.random.default_rng(0)
    deviation = np.linspace(0.02, 0.2, 12)
    noise = lead_quality(ecg + deviation[:, None] * rng.normal(size=ecg.shape), rate).noise
    np.testing.assert_allclose(noise, 1000 * deviation, rtol=0.2)


def test_drift_is_its_height_in_mv():
    ecg, time = quiet_ecg(), np.arange(5000) / 500
    before, after = (lead_quality(ecg + drift, 500).drift for drift in (0.0, 0.8 * np.sin(2 * np.pi * 0.1 * time)))
    assert before.max() < 0.25 and np.abs(after - 1.5).max() < 0.25


def test_clipped_and_off_are_shares():
    ecg = quiet_ecg()
    ecg[0] = np.clip(ecg[0], -0.1, 0.1)
    ecg[1, 1000:2000] = 0.3
    ecg[2] = 0.0
    ecg[3] = 0.004 * np.sin(np.arange(5000))
    ecg[4] = np.nan
    ecg[5, :2500] = np.nan
    quality = lead_quality(ecg, 500)
    assert 0.05 < quality.clipped[0] < 0.6 and quality.off[0] == 0
    assert quality.off[1] == pytest.approx(0.2, abs=0.001) and quality.flat[1] == pytest.approx(2, abs=0.01)
    assert quality.off[2:6].tolist() == [1, 1, 0, 0] and quality.missing[4:6].tolist() == [1, 0.5]
    assert np.isnan(quality.noise[[2, 4]]).all() and np.isfinite(quality.noise[[0, 1, 3, 5]]).all()


def test_what_was_not_recorded_counts_for_no_number():
    """A lead of a page of 3x4 leads has the numbers of its 2.5 s, whether zeros or NaN stand for the rest."""
    rng = np.random.default_rng(1)
    ecg = quiet_ecg() + 0.03 * rng.normal(size=(12, 5000)).astype(np.float32)
    part = lead_quality(ecg[:, 2500:3750], 500)
    for filler in (np.nan, 0.0):
        page = np.full_like(ecg, filler)
        page[:, 2500:3750] = ecg[:, 2500:3750]
        whole = lead_quality(page, 500)
        for name in ("noise", "drift", "hum", "clipped"):
            np.testing.assert_allclose(getattr(whole, name), getattr(part, name), atol=1e-3, err_msg=name)
    alone = [lead_quality(row[None], 500) for row in page]
    np.testing.assert_array_equal([each.noise[0] for each in alone], whole.noise)


@pytest.mark.parametrize("samples", [1, 2, 3, 20, 100, 700])
@pytest.mark.parametrize("rate", [50, 500])
def test_short_recordings_have_finite_numbers_or_none(samples, rate):
    ecg = np.random.default_rng(0).normal(size=(12, 5000))[:, :samples]
    ecg[3, samples // 2 :] = np.nan
    plain = plain_quality(ecg, rate, LEADS)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_the_quality_record_has_the_numbers_of_each_lead():
    ecg = quiet_ecg()
    ecg[6] = np.nan
    ecg[7] = 0
    rows = [0, 1, 6, 7, 8]
    names = [LEADS[row] for row in rows]
    given = {"signal": ecg[rows], "sampling_rate": 500, "lead_names": names, "units": "mV"}
    record = BeatFeatureExtractor().prepare(given)
    assert list(record.quality["by_lead"]) == ["I", "II", "V2", "V3"]  # V1 holds nothing
    assert record.quality["by_lead"] == plain_quality(ecg[rows], 500, names)
    assert record.quality["by_lead"]["V2"] == {
        "drift_mv": None,
        "noise_uv": None,
        "hum_uv": None,
        "off": 1.0,
        "clipped": 0.0,
    }
    assert json.loads(json.dumps(record.quality, allow_nan=False)) == record.quality


def test_longest_run_agrees_with_a_loop():
    flags = np.random.default_rng(0).random((5, 300)) < 0.7
    expected = [max(len(run) for run in "".join("01"[int(f)] for f in row).split("0")) for row in flags]
    assert longest_run(flags).tolist() == expected
    assert longest_run(np.ones((1, 7), bool)).tolist() == [7] and longest_run(np.zeros((1, 7), bool)).tolist() == [0]


def test_measuring_the_quality_is_fast_beside_cleaning():
    """Both are timed in the same minute, each at its best, so that the machine's load does not count."""
    ecg, extractor = quiet_ecg(), BeatFeatureExtractor()
    as_float64 = ecg.astype(np.float64)
    seconds = {}
    for name, work in (
        ("quality", lambda: plain_quality(ecg, 500, LEADS)),
        ("clean", lambda: extractor.resample(extractor.clean(as_float64, 500), 500)),
    ):
        taken = []
        for _ in range(30):
            start = time.perf_counter()
            work()
            taken.append(time.perf_counter() - start)
        seconds[name] = min(taken)
    assert seconds["quality"] < 2 * seconds["clean"], seconds
