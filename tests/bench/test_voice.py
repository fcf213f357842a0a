"""The words of a model: right answers are known, questions are asked, and answers are scored as they should be."""

import json
from dataclasses import replace

import numpy as np
import pytest

from heartcare.agent.simulate import simulate_ecg
from heartcare.agent.wording import held_out
from heartcare.answering_heartcare import CANNOT
from heartcare.bench import voice
from heartcare.bench.__main__ import main
from heartcare.bench.score import rounded
from heartcare.bench.voice import is_scored, is_there, records_for, right_answer, spread, true_number
from heartcare.understanding_heartcare import Asked
from heartcare.version_heartcare import HEARTCARE_VERSION

# One question of each kind; the third has other words for "no".
QUESTIONS = [
    ("any af?", Asked("is", ("AFIB",)), "en"),
    ("Is it a normal ECG?", Asked("is", ("NORM",)), "en"),
    ("no lbbb on this one, right?", Asked("is", ("CLBBB",), negated=True), "en"),
    ("Vorhofflimmern?", Asked("is", ("AFIB",)), "de"),
    ("how fast is it, in bpm", Asked("number", quantities=("heart_rate",)), "en"),
    ("PR interval in ms?", Asked("number", quantities=("pr",)), "en"),
    ("How wide is the QRS?", Asked("number", quantities=("qrs",)), "en"),
    ("QT?", Asked("number", quantities=("qt",)), "en"),
    ("What should I take against it?", Asked("cannot", reason="treatment"), "en"),
]


@pytest.fixture
def few_questions(monkeypatch):
    doubled = [each for each in QUESTIONS for _ in range(2)]  # every second one is for developing
    monkeypatch.setattr(voice, "held_out", lambda: doubled)
    monkeypatch.setattr(voice, "SIMULATED", 6)
    monkeypatch.setattr(voice, "RECORDS_OF_A_WORDING", 2)


@pytest.fixture
def item(items):
    found = next(item for item in items if item.task == "classification" and item.subset == "S")
    return replace(found, statements=({"AFIB": 0.0, "CRBBB": 100.0},))


def test_the_truth_of_a_question_follows_from_the_statements(item):
    assert is_there("AFIB", item) and is_there("BBB", item) and is_there("super:CD", item)
    assert not is_there("CLBBB", item) and not is_there("super:MI", item)
    doubted = replace(item, statements=({"IMI": 50.0, "1AVB": 100.0},))
    assert is_there("IMI", doubted) is is_there("super:MI", doubted) is None and is_there("LPR", doubted)
    assert right_answer(Asked("is", ("IMI",)), doubted) == ""
    assert right_answer(Asked("is", ("AFIB", "CLBBB")), item) == "Yes"
    assert right_answer(Asked("is", ("AFIB", "CLBBB"), every=True), item) == "No"
    assert right_answer(Asked("is", ("CLBBB", "IMI"), negated=True), item) == "Yes"
    assert right_answer(Asked("is", ("CLBBB", "AFIB"), negated=True), item) == "No"
    assert is_scored(Asked("is", ("BBB",))) and not is_scored(Asked("is", ("axis:LAD",)))
    assert not is_scored(Asked("which", topic="rhythm")) and not is_scored(Asked("is", ("TACHYCARDIA",)))


def test_each_wording_is_asked_about_records_with_and_without(item):
    records = [replace(item, id=str(k), statements=({"AFIB": 0.0} if k < 3 else {"NORM": 100.0},)) for k in range(40)]
    all_of_them = voice.Records(records, {each.id: records[0] for each in records})
    chosen = records_for(Asked("is", ("AFIB",)), all_of_them, np.random.default_rng(0))
    assert [is_there("AFIB", each) for each in chosen] == [True] * 3 + [False] * 4
    rows = [
        {"right": [True, False], "control": [False], "own words": []},
        {"right": [True], "control": [True], "own words": [True]},
    ]
    table = spread(rows)
    assert table["questions with own words: accuracy"] == table["questions with own words: in those"] == 1
    assert spread(rows[:1])["questions with own words: in those"] is None and table["answers"] == 3
    assert table["accuracy"] == pytest.approx(2 / 3) and table["another patient's ECG"] == 0.5
    assert table["50th percentile of the wordings"] == 0.75 and table["wordings"] == 2
    assert rounded({"a": 1 / 3, "b": {"c": 2}}, 4) == {"a": 0.3333, "b": {"c": 2}}


def test_an_answer_that_begins_like_a_no_is_none(item, monkeypatch):
    for text, word in (("No.", "No"), ("Yes: AF.", "Yes"), ("No certain diagnosis.", ""), ("No extrasystoles.", "")):
        assert voice.first_word(lambda given, text=text: {"text": text}, item, "any af?") == word


def test_numbers_of_simulated_ecgs_are_known():
    ecg = simulate_ecg("SR", "NORM", seed=3)
    peaks = np.diff(ecg.r_peaks)
    assert true_number("heart_rate", ecg) == pytest.approx(60 / peaks.mean(), rel=0.05)
    assert 80 < true_number("qrs", ecg) < 120 < true_number("pr", ecg) < 220 < true_number("qt", ecg) < 480


def test_a_model_is_scored_as_it_speaks(few_questions, data, manifest_file, root, tmp_path, capsys):
    options = ["--model", root, "--data", data, "--manifest", manifest_file, "--out", tmp_path, "--name", "us"]
    assert main([*map(str, ["voice", *options, "--limit", 2])]) == 0
    result = json.loads((tmp_path / "us.voice.json").read_text(encoding="utf-8"))
    assert result["wordings"]["en"]["wordings"] == 3 and result["wordings"]["de"]["wordings"] == 1
    assert set(result["turns"]) == {f"turn {turn}" for turn in range(2, 7)} and set(result["turns"].values()) == {1.0}
    assert result["refusals"] == {"unanswerable": 1.0, "answerable": 0.0}
    assert result["contradictions"]["any contradiction"] <= 0.5
    for name, row in result["numbers"].items():
        assert (
            row["right"] >= 0.5
            and row["the best constant"] <= 1
            and (name != "heart_rate" or row["another ECG's"] <= 0.5)
        ), name
    printed = capsys.readouterr().out
    assert "| turns | turn 6 | 1 |" in printed and result["versions"]["heartcare"] == HEARTCARE_VERSION
    made = result["model"]["heartcare_version"]
    assert made and f"us: made by heartcare {made}, scored by heartcare {HEARTCARE_VERSION}." in printed


def test_the_questions_for_testing_have_all_that_is_asked_for():
    half = held_out()[1::2]
    for name in voice.NUMBERS:
        assert any(asked.quantities == (name,) for _, asked, _ in half), name
    assert sum(asked.kind == "cannot" for _, asked, _ in half) >= 30 and len(CANNOT) == 7
    assert all(sum(is_scored(asked) and language == each for _, asked, language in half) > 40 for each in ("en", "de"))
