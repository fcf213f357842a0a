"""The delineator against the simulator, which knows where its waves begin and end, and against itself in other forms of
the same record.
"""

from dataclasses import fields

import numpy as np
import pytest

from heartcare.agent.delineate import MEASURED, Measurements, delineate, measure_ecg
from heartcare.agent.simulate import simulate_ecg
from heartcare.ecg_heartcare import LEADS
from heartcare.processing_heartcare import BeatFeatureExtractor
from heartcare.studies.evaluate_measure import main as evaluate_measure
from heartcare.studies.evaluate_measure import ours, simulated


def cleaned(ecg, sampling_rate=500):
    return BeatFeatureExtractor(sampling_rate=sampling_rate).prepare(
        {"ecg": ecg.signal, "sampling_rate": ecg.sampling_rate, "units": "mV"}
    )[0]


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
    assert found.qtc == pytest.approx(found.qt / (60 / found.heart_rate) ** (1 / 3))
    st = dict(zip(LEADS, found.st))
    assert (st["V2"] > 0.15) == (form == "AMI") and found.st.shape == (12,)


def test_measurements_are_shown_alike_everywhere():
    measured = Measurements(heart_rate=71.6, pr=None, qrs=94.4, qt=400, qtc=412.5, axis=-30.2, st=None)
    assert measured.as_rows() == [
        ("heart rate", "72", "beats/min"), ("PR", "–", "ms"), ("QRS", "94", "ms"), ("QT", "400", "ms"),
        ("QTc", "412", "ms"), ("QRS axis", "-30", "degrees"),
    ]  # fmt: skip
    assert {name for name, _, _ in MEASURED} == {field.name for field in fields(Measurements)} - {"st"}


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
    assert measure_ecg(signal, 500).qrs is None


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
    assert "| all | " in printed and "| CLBBB | 0 | qrs | – / " in printed
