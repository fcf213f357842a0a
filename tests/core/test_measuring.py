"""The delineator against the simulator, which knows where its waves begin and end, and against itself in other forms of
the same record.
"""

import json
import re

import numpy as np
import pytest
import wfdb
from make_examples import write_wfdb

from heartcare import delineation_heartcare
from heartcare.agent.simulate import FORMS, P_WAVE, R_WAVE, RHYTHMS, S_WAVE, T_WAVE, simulate_ecg
from heartcare.asking_heartcare import answer_numbers, asked_numbers
from heartcare.delineation_heartcare import (
    Delineation,
    Waves,
    delineate,
    find_pacing_spikes,
    find_r_peaks,
    likeness,
    median_of_rows,
)
from heartcare.ecg_heartcare import LEADS
from heartcare.extraction_heartcare import BeatFeatureExtractor
from heartcare.measuring_heartcare import (
    MEASURED,
    Measurements,
    Measuring,
    as_plain,
    measure_ecg,
    plain_measurements,
)
from heartcare.stretches_heartcare import best_stretch
from heartcare.studies.evaluate_measure import main as evaluate_measure
from heartcare.studies.evaluate_measure import marks_of_cardiologists, ours, simulated
from heartcare.training.lead_patterns import PATTERNS


def cleaned(ecg, sampling_rate=500):
    return BeatFeatureExtractor(sampling_rate=sampling_rate).prepare(
        {"ecg": ecg.signal, "sampling_rate": ecg.sampling_rate, "units": "mV"}
    )[0]


# Wave -> seconds from the R peak to its onset, its length in seconds, and its height in mV in the independent leads.
BEATS = {
    "usual": ((-0.2, 0.1, P_WAVE), (-0.04, 0.08, R_WAVE + S_WAVE), (0.12, 0.2, T_WAVE)),
    "early": ((-0.04, 0.08, R_WAVE + S_WAVE), (0.12, 0.2, T_WAVE)),
    "wide": ((-0.08, 0.16, 1.3 * (S_WAVE - R_WAVE)), (0.12, 0.2, T_WAVE)),
    "broad": ((-0.11, 0.22, 2 * (S_WAVE - R_WAVE)),),
    "steep T": ((-0.04, 0.08, R_WAVE + S_WAVE), (0.16, 0.12, 4 * T_WAVE)),
}


def drawn(beats, seconds=10.0, rate=500):
    """Draws an ECG (12, samples) with beats that are given as (time of the R peak, one of `BEATS`)."""
    time, eight = np.arange(round(seconds * rate)) / rate, np.zeros((8, round(seconds * rate)))
    for peak, kind in beats:
        for start, length, height in BEATS[kind]:
            phase = (time - peak - start) / length
            eight += height[:, None] * np.where((phase > 0) & (phase < 1), np.sin(np.pi * phase) ** 2, 0)
    one, two = eight[:2]
    return np.stack([one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2, *eight[2:]])


@pytest.fixture(scope="module", params=[500, 100])
def table(request):
    return simulated(ours, 2, request.param)


def test_waves_are_found_where_they_are(table):
    beats = sum(row["beats"] for row in table.values())
    assert 2 * beats[0] / (beats[1] + beats[2]) >= 0.995
    for rhythm, row in table.items():
        error = {edge: 1000 * np.mean(np.abs(values)) for edge, values in row["errors"].items()}
        assert error["QRS onset"] < 10 and error["QRS end"] < 10, (rhythm, error)
        if rhythm != "AFIB":  # whose fibrillation runs on through the T wave
            assert error["T end"] < 20 and error["P end"] < 10 and error["P onset"] < 25, (rhythm, error)
            assert row["P"][1] >= 0.95 * row["P"][0] and row["T"][1] >= 0.75 * row["T"][0], (rhythm, row)
    errors = [value for row in table.values() for value in row["errors"]["T end"]]
    assert 1000 * np.mean(np.abs(errors)) < 20


def test_atrial_fibrillation_has_no_p_wave(table):
    row = table["AFIB"]
    assert row["P"][0] == 0 and row["P"][2] > 100 and row["P"][3] < 0.02 * row["P"][2]


@pytest.mark.parametrize("form", ["NORM", "CLBBB", "AMI", "LVH"])
def test_measurements_are_those_of_the_simulator(form):
    ecg = simulate_ecg("SR", form, seed=3)
    found = measure_ecg(cleaned(ecg), 500)
    usual = range(1, len(ecg.qrs) - 1)
    assert found.heart_rate == pytest.approx(60 / np.median(np.diff(ecg.r_peaks)), abs=1)
    assert found.pr == pytest.approx(1000 * np.median([ecg.qrs[k][0] - ecg.p[k][0] for k in usual]), abs=12)
    assert found.qrs == pytest.approx(1000 * np.median([ecg.qrs[k][1] - ecg.qrs[k][0] for k in usual]), abs=14)
    assert found.qt == pytest.approx(1000 * np.median([ecg.t[k][1] - ecg.qrs[k][0] for k in usual]), abs=20)
    rr = 60 / found.heart_rate
    assert found.qtc_fridericia == pytest.approx(found.qt / rr ** (1 / 3))
    assert found.qtc_bazett == pytest.approx(found.qt / rr**0.5)
    assert found.qtc_framingham == pytest.approx(found.qt + 154 * (1 - rr))
    assert (found.st["V2"] > 0.15) == (form == "AMI") and list(found.st) == list(LEADS)


def test_measurements_are_shown_alike_everywhere():
    assert set(MEASURED) <= set(vars(Measurements()))
    assert ("QRS axis", "0", "degrees") in Measurements(qrs_axis=-0.3).as_rows()
    assert ("Cornell", "0.00", "mV") in Measurements(cornell=-0.004).as_rows()
    measured = Measurements(heart_rate=71.6, qrs=94.4, qt=400, qtc_fridericia=412.5, qrs_axis=-30.2, cornell=1.234)
    assert measured.as_rows() == [
        ("heart rate", "72", "beats/min"), ("PR", "–", "ms"), ("QRS", "94", "ms"), ("QT", "400", "ms"),
        ("QTc", "412", "ms"), ("P axis", "–", "degrees"), ("QRS axis", "-30", "degrees"), ("T axis", "–", "degrees"),
        ("Sokolow-Lyon", "–", "mV"), ("Cornell", "1.23", "mV"),
    ]  # fmt: skip


def test_rate_scale_and_missing_leads_change_little():
    ecg = simulate_ecg("SBRAD", "NORM", seed=4)
    signal = cleaned(ecg)
    whole = measure_ecg(signal, 500)
    without = signal.copy()
    without[6:9] = 0
    for other in (
        measure_ecg(cleaned(ecg, 100), 100),
        measure_ecg(cleaned(ecg, 1000), 1000),
        measure_ecg(3 * signal, 500),
        measure_ecg(without, 500),
    ):
        for name, most in (("heart_rate", 0.5), ("pr", 10), ("qrs", 10), ("qt", 12)):
            assert getattr(other, name) == pytest.approx(getattr(whole, name), abs=most), name


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10, 16, 33])
def test_median_of_rows_is_the_median(count):
    values = np.random.default_rng(count).normal(size=(count, 3, 50))
    np.testing.assert_array_equal(median_of_rows(values), np.median(values, axis=0))


def test_likeness_is_the_correlation_at_each_shift():
    rng = np.random.default_rng(0)
    beats, wave = (rng.normal(0.5, 1, shape).astype(np.float32) for shape in ((4, 3, 40), (3, 25)))
    alike, sizes = likeness(beats, wave)
    assert alike.shape == sizes.shape == (4, 16)
    wave = wave - wave.mean(axis=1, keepdims=True)
    for k, shift in np.ndindex(alike.shape):
        part = beats[k, :, shift : shift + 25]
        part = part - part.mean(axis=1, keepdims=True)
        assert sizes[k, shift] == pytest.approx(np.linalg.norm(part), rel=1e-4)
        expected = (part * wave).sum() / (np.linalg.norm(part) * np.linalg.norm(wave))
        assert alike[k, shift] == pytest.approx(expected, abs=1e-4)


def test_ectopic_beats_are_told_apart():
    ecg = simulate_ecg("SR", "PVC", seed=1)
    found = delineate(cleaned(ecg), 500)
    width = np.array([end - onset for onset, end in ecg.qrs])
    np.testing.assert_array_equal(found.usual, width < 0.14)
    assert all(beat.p is None for beat, usual in zip(found.beats, found.usual) if not usual)
    assert found.median.qrs[1] - found.median.qrs[0] < 0.12


@pytest.mark.parametrize(
    "signal", [np.zeros((12, 5000)), np.full((12, 5000), np.nan), np.zeros((12, 40)), np.ones((1, 1000))]
)
def test_nothing_is_found_where_nothing_is(signal):
    found = delineate(signal, 500)
    assert not len(found.r_peaks) and found.beats == [] and found.median is None
    if len(signal) < 12:
        with pytest.raises(ValueError, match="got \\(1, 1000\\)"):
            measure_ecg(signal, 500)
        return
    measured = measure_ecg(signal, 500)
    assert measured.qrs is None and measured.reasons["qrs"] == "no beat is seen"
    assert all(text == "–" for _, text, _ in measured.as_rows())


def test_short_and_single_beats_do_not_break_it():
    signal = cleaned(simulate_ecg("SR", "NORM", seed=2))
    for length in (200, 450, 700, 1300):
        for start in range(0, 2000, 130):
            part = signal[:, start : start + length]
            found = delineate(part, 500)
            assert len(found.r_peaks) == len(found.beats) == len(found.usual)
            for beat in found.beats:
                for span in (beat.p, beat.qrs, beat.t):
                    assert span is None or 0 <= span[0] < span[1] <= length / 500
            measure_ecg(part, 500)


def test_tables_are_printed(ptbxl_folder, capsys):
    evaluate_measure(["--seeds", "1", "--sampling-rate", "250", "--ptbxl", str(ptbxl_folder), "--fold", "6"])
    printed = capsys.readouterr().out
    assert re.search(r"Cleaned and measured on one core: \d+ ECGs of 10 s at 250 Hz a second.", printed)
    assert "| all | " in printed and "| CLBBB | 0 | qrs | – / " in printed


OFFSETS = 0.002 * (np.arange(12) - 5.5)  # seconds by which the marks of each lead are late


def write_ludb(folder, name, ecg, comments=()):
    """Writes one simulated ECG as a record of LUDB: its true marks, in each lead at another offset; V1 has no marks of
    P waves, and III a second, short one after each.
    """
    rate = ecg.sampling_rate
    write_wfdb(folder, name, ecg.signal, rate)
    with open(folder / f"{name}.hea", "a") as header:
        header.writelines(f"#{comment}\n" for comment in comments)
    spans = [(span, symbol) for wave, symbol in (("p", "p"), ("qrs", "N"), ("t", "t"))
             for span in getattr(ecg, wave) if span and span[0] > 0.02]  # fmt: skip
    for lead, offset in zip(LEADS, OFFSETS):
        marks = []
        for (onset, end), symbol in spans:
            times = [onset + offset, (onset + end) / 2 + offset, end + offset]
            if symbol != "p" or lead != "V1":
                marks.append((times, symbol))
            if symbol == "p" and lead == "III":
                marks.append(([times[2] + later for later in (0.004, 0.014, 0.024)], symbol))
        marks = [(round(rate * time), sign) for times, symbol in sorted(marks, key=lambda mark: mark[0][1])
                 for time, sign in zip(times, ("(", symbol, ")"))]  # fmt: skip
        samples, symbols = zip(*marks)
        wfdb.wrann(name, "lead", np.array(samples), list(symbols), fs=rate, write_dir=str(folder))
        (folder / f"{name}.lead").rename(folder / f"{name}.{lead.lower()}")


def test_marks_of_cardiologists_are_read_lead_by_lead(tmp_path):
    ecg = simulate_ecg("SR", "NORM", seed=1)
    write_ludb(tmp_path, "3", ecg)
    marks = marks_of_cardiologists(tmp_path / "3")
    for wave in ("p", "qrs", "t"):
        true = np.array([span for span in getattr(ecg, wave) if span and span[0] > 0.02])
        expected = true[:, None] + OFFSETS[:, None]
        if wave == "p":
            expected[:, LEADS.index("V1")] = np.nan
        np.testing.assert_allclose(marks[wave], expected, atol=0.0011)


def test_table_of_ludb(tmp_path, capsys):
    """The medians of marks that differ from lead to lead are met, and waves without a beat or a P wave are counted; the
    records 3, 7, 11 and 15 belong to the part for testing.
    """
    for name, (rhythm, form, rate, comments) in {
        "1": ("SR", "NORM", 500, ()),
        "3": ("SBRAD", "CLBBB", 500, ("Rhythm: Sinus bradycardia",)),
        "5": ("SR", "LVH", 500, ()),
        "7": ("SR", "NORM", 500, ("Rhythm: Sinus rhythm",)),
        "11": ("AFIB", "LVH", 500, ("Rhythm: Atrial fibrillation",)),
        "15": ("SR", "NORM", 40, ()),  # too slow for any beat to be seen
    }.items():
        write_ludb(tmp_path, name, simulate_ecg(rhythm, form, sampling_rate=rate, seed=int(name)), comments)
    evaluate_measure(["--seeds", "1", "--ludb", str(tmp_path), "--part", "test"])
    printed = capsys.readouterr().out
    assert "| LUDB, test, 4 records |" in printed
    for edge in ("P onset", "P end", "QRS onset", "QRS end", "T end"):
        beats, mean, sd = re.search(rf"^\| {edge} \| (\d+) \| (\S+) \| (\S+) \|", printed, re.M).groups()
        assert int(beats) > 10 and abs(float(mean)) < 20 and float(sd) < 15, edge
    assert "| QRS of 120 ms, medians of the leads: sensitivity / specificity | 1 | 100% / 100% |" in printed
    beats = re.search(r"missed elsewhere \| (\d+) \| 0% / 0.0% \|", printed)[1]
    assert int(beats) > 10


@pytest.mark.parametrize("form, farthest", [("NORM", 0.04), ("CRBBB", 0.07)])
def test_each_lead_has_edges_of_its_own(form, farthest):
    """The wave's own edges are the medians of those of the leads, which differ, and none is far from the true one: at
    most the length of an S wave that some leads of a right bundle branch block do not show.
    """
    ecg = simulate_ecg("SR", form, seed=5)
    found = delineate(cleaned(ecg), 500)
    for name in ("p", "qrs", "t"):
        edges = found.by_lead[name]
        assert edges.shape == (12, 2) and (edges[:, 0] < edges[:, 1]).all()
        assert np.abs(np.median(edges, axis=0) - getattr(found.median, name)).max() < 0.02
        assert (edges.std(axis=0) > 0.001).all(), name
        spans = [np.subtract(span, peak) for span, peak in zip(getattr(ecg, name), ecg.r_peaks) if span]
        assert np.abs(edges - np.median(spans, axis=0)).max() < farthest, name


def test_every_number_that_is_missing_has_a_reason():
    signal = cleaned(simulate_ecg("AFIB", "NORM", seed=1))
    signal[LEADS.index("V1") :] = 0
    signal[0] = 0
    measured = measure_ecg(signal, 500)
    missing = {name for name, value in vars(measured).items() if value is None}
    assert missing == set(measured.reasons)
    assert measured.reasons["pr"] == "no P wave recurs before the QRS"
    assert measured.reasons["qrs_axis"] == "cannot be told without lead I"
    assert measured.reasons["cornell"] == "cannot be told without lead V3"
    assert list(measured.st) == ["II", "III", "aVR", "aVL", "aVF"]
    assert json.loads(json.dumps(as_plain(measured)))["reasons"] == measured.reasons


def test_the_share_of_p_waves_that_is_unknown_is_told():
    """The one beat has its P wave, but no full time before it."""
    measured = measure_ecg(drawn([(0.4, "usual")], seconds=1.2), 500)
    assert measured.p_share is None and measured.pr == pytest.approx(160, abs=20)
    assert "the median beat alone" in measured.reasons["p_share"]


def test_the_first_minute_that_was_recorded_is_measured():
    """The signal after a minute, and a time without a signal before it, change nothing but times."""
    minute, after = cleaned(simulate_ecg("SR", "PVC", 60, seed=1)), cleaned(simulate_ecg("STACH", "CLBBB", 30, seed=2))
    alone = plain_measurements(minute, 500)
    assert alone["heart_rate"] < 100 and len(alone["ectopic"]) > 5
    assert plain_measurements(np.concatenate([minute, after], axis=1), 500) == alone
    late = plain_measurements(np.concatenate([np.full((12, 35000), np.nan), minute, after], axis=1), 500)
    assert [beat["time"] for beat in late.pop("ectopic")] == pytest.approx(
        [beat["time"] + 70 for beat in alone.pop("ectopic")]
    )
    assert late == alone


def test_gaps_at_different_times_are_bridged_or_left_out():
    signal = cleaned(simulate_ecg("SR", "PVC", seed=1))
    whole, holed = measure_ecg(signal, 500), signal.copy()
    for row in range(12):
        holed[row, 300 + 350 * row :][:90] = np.nan
    bridged = measure_ecg(holed, 500)
    assert list(bridged.r) == list(LEADS)
    for name in ("heart_rate", "pr", "qrs", "qt"):
        assert getattr(bridged, name) == pytest.approx(getattr(whole, name), abs=8), name
    holed = signal.copy()
    for row in (1, 5, 9):
        holed[row, 400 * row :][:500] = np.nan
    others = measure_ecg(holed, 500)
    assert list(others.r) == list(LEADS) and others.heart_rate == pytest.approx(whole.heart_rate)
    assert others.r == pytest.approx(whole.r, abs=0.03) and others.qrs_axis == pytest.approx(whole.qrs_axis, abs=3)
    holed = signal.copy()
    holed[:, :1500] = np.nan
    late = [beat.time for beat in whole.ectopic if beat.time > 3.5]
    assert late and [beat.time for beat in measure_ecg(holed, 500).ectopic] == pytest.approx(late, abs=0.01)


def test_best_stretch_weighs_time_and_leads():
    def stretch(*rows):
        return best_stretch(np.array([[mark == "#" for mark in row] for row in rows]))

    assert stretch("....####", "..######") == slice(2, 8)  # 6 against 4 * sqrt(2)
    assert stretch("..######", "######..", "..######") == slice(2, 8)  # 6 * sqrt(2) against 4 * sqrt(3)
    assert stretch("#######.", "########", "########", "########") == slice(0, 7)  # 14 against 8 * sqrt(3)
    assert stretch("########", "....#...") == slice(0, 8)
    rng = np.random.default_rng(0)
    for _ in range(50):
        recorded = rng.random((4, 12)) < 0.8
        sizes = {(a, b): (b - a) * recorded[:, a:b].all(axis=1).sum() ** 0.5 for b in range(13) for a in range(b)}
        best = best_stretch(recorded)
        assert sizes[best.start, best.stop] == pytest.approx(max(sizes.values()))


def test_leads_that_were_not_recorded_count_for_nothing():
    """The samples of a masked lead make no difference."""
    signal = cleaned(simulate_ecg("SR", "LVH", seed=7))
    recorded = np.ones(signal.shape, bool)
    recorded[8] = False
    other = np.where(recorded, signal, np.nan)
    assert measure_ecg(signal, 500, recorded) == measure_ecg(other, 500)
    assert "V3" not in measure_ecg(other, 500).r
    edges = delineate(np.nan_to_num(other), 500).by_lead
    assert all(np.isnan(each).any(axis=1).tolist() == [lead == "V3" for lead in LEADS] for each in edges.values())


@pytest.mark.parametrize("pattern", ["3x4", "3x4+II", "3x4+II,V1,V5", "6x2"])
@pytest.mark.parametrize("rhythm, form", [("SR", "NORM"), ("SR", "CRBBB"), ("SBRAD", "LVH"), ("SR", "PVC")])
def test_leads_one_after_the_other(rhythm, form, pattern):
    """All leads of a page are measured, each by the beats of its own column; the hidden parts play no role."""
    signal = cleaned(simulate_ecg(rhythm, form, seed=5, noise_mv=0.002))
    recorded = PATTERNS[pattern](np.random.default_rng(0), signal.shape[1])
    page, whole = measure_ecg(signal, 500, recorded), measure_ecg(signal, 500)
    assert page == measure_ecg(np.where(recorded, signal, 9.0), 500, recorded)
    assert list(page.r) == list(LEADS) and page.heart_rate == pytest.approx(whole.heart_rate, abs=2)
    for name, most in {"pr": 12, "qrs": 12, "qt": 20, "qrs_axis": 5, "t_axis": 8}.items():
        assert getattr(page, name) == pytest.approx(getattr(whole, name), abs=most), name
    assert page.r == pytest.approx(whole.r, abs=0.08) and page.st == pytest.approx(whole.st, abs=0.04)
    assert len(page.ectopic) == pytest.approx(len(whole.ectopic), abs=1)


def test_what_a_lead_shows_of_no_beat_is_not_measured():
    """A column of half a second, and one between two beats, add no lead."""
    signal = cleaned(simulate_ecg("SR", "NORM", seed=7))
    recorded = np.zeros(signal.shape, bool)
    recorded[:3] = True
    for row, (start, stop) in enumerate(((1000, 1250), (200, 420), (4990, 5000)), 3):
        recorded[row, start:stop] = True
    assert list(measure_ecg(signal, 500, recorded).r) == ["I", "II", "III"]
    empty = np.where(recorded, 0.0, np.nan)
    assert measure_ecg(empty, 500).reasons["heart_rate"] == "no beat is seen"


@pytest.mark.parametrize("rate", [10, 24, 49.9, 50, 77.5, 128, 333, 2000])
def test_any_rate_and_noise_can_be_measured(rate):
    noise = np.random.default_rng(0).normal(0, 0.2, (12, round(10 * rate)))
    noise[3, 5:9] = np.nan
    measured = measure_ecg(noise, rate)
    json.dumps(as_plain(measured), allow_nan=False)
    if rate < 50:
        reason = f"the sampling rate of {rate:g} Hz is too low; 50 Hz are needed"
        assert set(MEASURED) <= set(measured.reasons) and measured.reasons.pop("pacing_spikes")
        assert set(measured.reasons.values()) == {reason}
    else:
        assert not any("sampling rate" in reason for reason in measured.reasons.values())


def test_the_lowest_rate_is_enough_for_the_heart_rate():
    signal = cleaned(simulate_ecg("SR", "NORM", seed=2), 50)
    assert measure_ecg(signal, 50).heart_rate == pytest.approx(
        measure_ecg(cleaned(simulate_ecg("SR", "NORM", seed=2)), 500).heart_rate, abs=1
    )


@pytest.mark.parametrize("form", FORMS[:-2])
@pytest.mark.parametrize("rate", [180, 240, 260, 280, 300])
def test_fast_rhythms_are_not_halved(form, rate, monkeypatch):
    monkeypatch.setitem(RHYTHMS, "STACH", (rate, rate))
    for seed in range(2):
        ecg = simulate_ecg("STACH", form, seed=seed)
        assert measure_ecg(cleaned(ecg), 500).heart_rate == pytest.approx(60 / np.diff(ecg.r_peaks).mean(), rel=0.04)


@pytest.mark.parametrize("rate", [60, 110, 150])
def test_slow_rhythms_are_not_doubled(rate):
    """Neither steep T waves nor the two flanks of broad ventricular complexes are beats."""
    times = np.arange(0.3, 9.7, 60 / rate)
    for kind in ("steep T", "wide", "broad"):
        assert len(find_r_peaks(drawn([(time, kind) for time in times]), 500)) == len(times), kind


@pytest.mark.parametrize("count", [9, 10, 11, 12])
@pytest.mark.parametrize("kind", ["early", "wide"])
def test_every_second_beat_of_bigeminy_is_early(kind, count):
    times = 0.5 + np.cumsum(np.resize([0.95, 0.5], count)) - 0.95
    measured = measure_ecg(drawn([(time, (("usual", kind)[k % 2])) for k, time in enumerate(times)]), 500)
    early = [beat for beat in measured.ectopic if beat.early]
    assert [beat.time for beat in early] == pytest.approx(times[1::2].tolist(), abs=0.03)
    assert all(beat.wide == (kind == "wide") for beat in early) and len(measured.ectopic) == len(early)


def test_single_early_beats_are_early():
    times = np.array([0.5, 1.3, 2.1, 2.6, 3.7, 4.5, 5.3, 6.1, 6.6, 7.7, 8.5])
    measured = measure_ecg(drawn([(time, "early" if time in (2.6, 6.6) else "usual") for time in times]), 500)
    assert [beat.time for beat in measured.ectopic] == pytest.approx([2.6, 6.6], abs=0.03)


def test_waves_of_a_beat_end_before_the_next_begins():
    """Waves end in time also where a cycle is much shorter than the others, so that the T wave runs into the next
    beat.
    """
    cycles = np.resize([0.52, 0.52, 0.52, 0.52, 0.36], 18)
    found = delineate(drawn([(time, "early") for time in 0.4 + np.cumsum(cycles)]), 500)
    ecgs = [simulate_ecg(rhythm, form, seed=8) for rhythm in RHYTHMS for form in FORMS]
    for each in (found, *(delineate(cleaned(ecg), 500) for ecg in ecgs)):
        for beat, following in zip(each.beats, each.beats[1:]):
            begins = following.p or following.qrs
            assert not (beat.t and begins) or beat.t[1] <= begins[0] + 1e-9


@pytest.mark.parametrize("samples", [0, 1, 2, 30, 99])
def test_what_is_too_short_for_a_beat_has_none(samples):
    assert measure_ecg(np.ones((12, samples)), 500).reasons["qrs"] == "no beat is seen"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(20))
def test_beats_of_noise_are_apart(seed):
    """Each beat has a place of its own, whatever the signal is."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 0.2, (12, 5000)).cumsum(1) * 0.1 if seed % 2 else rng.normal(0, 0.2, (12, 5000))
    assert (np.diff(delineate(noise, 500).r_peaks) > 0.1).all()
    measure_ecg(noise, 500)


def test_mean_rate_and_its_range():
    """The mean rate of an irregular rhythm is that of the beats counted over time."""
    ecg = simulate_ecg("AFIB", "NORM", seed=3)
    rr = np.diff(ecg.r_peaks)
    found = measure_ecg(cleaned(ecg), 500)
    assert found.heart_rate == pytest.approx(60 / rr.mean(), rel=0.01)
    assert found.slowest == pytest.approx(60 / rr.max(), rel=0.03)
    assert found.fastest == pytest.approx(60 / rr.min(), rel=0.03)
    assert found.p_share == 0 and found.sdnn == pytest.approx(1000 * rr.std(ddof=1), rel=0.1)
    assert not any(beat.early for beat in found.ectopic)


def test_ectopic_beats_have_their_times():
    ecg = simulate_ecg("SR", "PVC", seed=1)
    wide = [peak for peak, (onset, end) in zip(ecg.r_peaks, ecg.qrs) if end - onset > 0.14]
    found = [beat for beat in measure_ecg(cleaned(ecg), 500).ectopic if beat.wide]
    assert [beat.time for beat in found] == pytest.approx(wide, abs=0.03) and all(beat.early for beat in found)


def test_voltages_of_hypertrophy():
    normal, large = (measure_ecg(cleaned(simulate_ecg("SR", form, seed=2)), 500) for form in ("NORM", "LVH"))
    assert large.sokolow_lyon > 3.5 > normal.sokolow_lyon and large.chest_voltage > normal.chest_voltage
    assert large.sokolow_lyon == pytest.approx(max(large.r["V5"], large.r["V6"]) - large.s["V1"])


def paced():
    """Returns an ECG with a spike of up to 1 mV and 4 ms in all leads, 15 ms before each QRS; and the times of the
    spikes.
    """
    ecg = simulate_ecg("SR", "CLBBB", seed=6)
    signal, spikes = cleaned(ecg), [onset - 0.015 for onset, _ in ecg.qrs if onset > 0.1]
    for time in spikes:
        signal[:, round(time * 500) : round(time * 500) + 2] += np.linspace(-1, 1, 12)[:, None]
    return signal, spikes, ecg


def test_pacing_spikes_are_found_and_are_no_part_of_the_qrs(monkeypatch):
    signal, spikes, ecg = paced()
    found = delineate(signal, 500)
    np.testing.assert_allclose(found.spikes, spikes, atol=0.004)
    bridged = np.abs(found.median_beat - delineate(cleaned(ecg), 500).median_beat)[:, :200]
    assert bridged.max() < 0.15  # of spikes of up to 1 mV
    without = measure_ecg(cleaned(ecg), 500).qrs
    assert measure_ecg(signal, 500).qrs == pytest.approx(without, abs=8)
    assert not len(find_pacing_spikes(signal[:, ::5], 100))  # too slow for spikes
    for form in ("NORM", "LVH", "CLBBB", "PVC"):
        assert not len(find_pacing_spikes(cleaned(simulate_ecg("STACH", form, seed=4)), 500)), form
    monkeypatch.setattr(delineation_heartcare, "find_pacing_spikes", lambda *_: np.empty(0, np.int64))
    assert measure_ecg(signal, 500).qrs > without + 12  # with the spikes


def test_the_times_of_pacing_spikes_are_told():
    signal, spikes, ecg = paced()
    measured = measure_ecg(signal, 500)
    assert measured.pacing_spikes == pytest.approx(spikes, abs=0.004) and "pacing_spikes" not in measured.reasons
    later = plain_measurements(np.concatenate([np.full((12, 1000), np.nan), signal], axis=1), 500)
    assert later["pacing_spikes"] == pytest.approx([time + 2 for time in spikes], abs=0.005)
    assert answer_numbers(("pacing_spikes",), later) == f"The number of pacing spikes is {len(spikes)}."
    assert asked_numbers("How many pacemaker spikes do you see?") == ("pacing_spikes",)
    assert measure_ecg(cleaned(ecg), 500).pacing_spikes == ()
    slow = as_plain(measure_ecg(signal[:, ::5], 100))
    assert slow["pacing_spikes"] is None
    assert answer_numbers(("pacing_spikes",), slow) == (
        "The number of pacing spikes cannot be measured: they are too short to be seen below 250 Hz."
    )
    assert measure_ecg(np.ones((12, 5000)), 500).pacing_spikes == ()


@pytest.mark.parametrize("usual, absent", [("++-++", {"rmssd"}), ("++-+-", {"sdnn", "rmssd"}), ("+++--", set())])
def test_reasons_of_the_variability_are_what_is_counted(usual, absent):
    """SDNN needs two intervals between usual neighbours, wherever they are; RMSSD, three usual beats in a row."""
    peaks, qrs = np.array([0.5, 1.3, 2.2, 2.9, 3.8]), (-0.04, 0.05)
    found = Delineation(
        peaks,
        [Waves(None, (peak - 0.04, peak + 0.05), None) for peak in peaks],
        np.array([mark == "+" for mark in usual]),
        np.ones(5, bool),
        Waves(None, qrs, None),
        np.random.default_rng(0).normal(size=(12, 600)).astype(np.float32),
        {name: np.full((12, 2), np.nan) for name in ("p", "qrs", "t")},
    )
    measured = Measuring(found, np.ones(12, bool), "no beat is seen", 500).measurements()
    reasons = {
        "sdnn": "fewer than two RR intervals between usual beats",
        "rmssd": "fewer than three usual beats in a row",
    }
    told = {name: measured.reasons[name] for name in reasons if name in measured.reasons}
    assert told == {name: reasons[name] for name in absent}
