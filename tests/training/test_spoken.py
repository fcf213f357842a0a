"""Questions in the words of people that the language model is trained on, with the pipeline's answers."""

import re

import numpy as np
import pytest
from support.commands import run_main

from heartcare.agent.qa import Labels, report_text
from heartcare.agent.statements import NAMES, WORDING
from heartcare.agent.wording import WordingBuilder
from heartcare.answering_heartcare import CANNOT, ONE_ECG
from heartcare.measuring_heartcare import as_plain, measure_ecg
from heartcare.opinion_heartcare import NO_FORM
from heartcare.scp_heartcare import TOPICS
from heartcare.studies.evaluate_spoken import is_right
from heartcare.training.items import ECGQuestions
from heartcare.training.recipe import StageRecipe
from heartcare.training.recordings import BeatTokens
from heartcare.training.voice import SpokenQuestions, reply, truth_of
from heartcare.understanding_heartcare import Asked

WORDINGS = {
    **{name: WORDING[name] for name in NAMES},
    NO_FORM: "no abnormality of the waveform",
    **{
        f"{topic}:{code}": words
        for topic in ("axis", "stage", "noise", "ectopy")
        for code, words in TOPICS[topic].items()
    },
}
ECG_WITH_BLOCK = Labels({"AFIB": 0.0, "CRBBB": 100.0, "IMI": 35.0, "LVH": 50.0}, notes={"heart_axis": "LAD"})


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Asked("is", ("AFIB",)), "Yes."),
        (Asked("is", ("AFIB",), negated=True), "No: atrial fibrillation."),
        (Asked("is", ("BBB",)), "Yes: complete right bundle branch block."),
        (Asked("is", ("NORM",)), "No."),
        (Asked("is", ("IMI",)), ""),  # the cardiologists doubt it
        (Asked("is", ("CLBBB", "AFIB"), every=True), "No."),
        (Asked("is", ("WIDE_QRS",)), ""),  # a number decides, and none is shown
        (Asked("is", ("stage:Stadium I",)), ""),  # nothing is said of a stage
        (Asked("which", topic="rhythm"), "Atrial fibrillation."),
        (Asked("number", quantities=("qrs",)), ""),
        (Asked("compare"), ONE_ECG),
        (Asked("cannot", reason="treatment"), CANNOT["treatment"]),
        (Asked("sure"), ""),
        (Asked("why", ("AFIB",)), ""),
    ],
)
def test_an_answer_is_what_the_cardiologists_stated(asked, said):
    assert reply(asked, truth_of(ECG_WITH_BLOCK, WORDINGS)) == said


def test_reports_doubt_what_the_cardiologists_doubt():
    facts = truth_of(ECG_WITH_BLOCK, WORDINGS)
    report = reply(Asked("report"), facts)
    for words in (
        "complete right bundle branch block",
        "probable left vent",
        "possible inferior",
        "left axis deviation",
    ):
        assert words in report and words in report_text(ECG_WITH_BLOCK)
    assert reply(Asked("report"), truth_of(Labels({"LVH": 100.0}), WORDINGS)) == ""  # nothing is said of the rhythm


def test_numbers_are_told_where_they_are_shown():
    rng = np.random.default_rng(0)
    measured = as_plain(measure_ecg(0.1 * rng.normal(size=(12, 1000)), 100))
    measured |= {"qrs": 132.0, "heart_rate": 71.0}
    facts = truth_of(ECG_WITH_BLOCK, WORDINGS, measured)
    assert reply(Asked("number", quantities=("qrs",)), facts) == "The QRS duration is 132 ms."
    assert reply(Asked("is", ("WIDE_QRS",)), facts) == "Yes: QRS 132 ms."
    assert "71 beats/min" in reply(Asked("summary"), facts)


def test_half_of_the_findings_that_are_named_are_there():
    spoken, rng, answers = SpokenQuestions(WORDINGS), np.random.default_rng(0), []
    for _ in range(40):
        questions = spoken.about(ECG_WITH_BLOCK, None, 8, rng)
        assert len(questions) == 8 and all(question.question and question.answer for question in questions)
        answers += [question.answer for question in questions]
    yes, no = (sum(bool(re.match(rf"{word}\b[.:,]", each)) for each in answers) for word in ("Yes", "No"))
    assert 0.3 < yes / (yes + no) < 0.7 and yes + no > len(answers) / 3
    again = SpokenQuestions(WORDINGS).about(ECG_WITH_BLOCK, None, 8, np.random.default_rng(3))
    assert again == spoken.about(ECG_WITH_BLOCK, None, 8, np.random.default_rng(3))
    with pytest.raises(ValueError, match="no head for findings"):
        SpokenQuestions({})


def test_favoured_findings_are_named_more_often():
    builder = WordingBuilder(np.random.default_rng(0))
    counts = {}
    for favoured in ((), ("WPW",), ()):
        builder.favour(favoured)
        counts[favoured] = sum("WPW" in builder.question()[1].codes for _ in range(800))
    assert counts["WPW",] > 150 and counts[()] < 40


def test_items_have_spoken_questions_whose_numbers_are_those_shown(data):
    data.measure_signals(100)
    shares = {"signal": 0.7, "image": 0.3, "pair": 0}
    stage = StageRecipe(shares=shares, questions=1, spoken=4, numbers=0.6, wrong_numbers=0.3)
    items = ECGQuestions(data, stage, 150, wordings=WORDINGS)
    rates = {
        f"{record['heart_rate']:.0f}": line for record, line in zip(data.measured, data.lines) if record["heart_rate"]
    }
    told = 0
    for item in (items[i] for i in range(150)):
        spoken = [question for question in item.questions if question.task == "spoken"]
        assert len(spoken) == 4 and len(item.questions) == 5
        (recording,) = item.recordings
        line = recording.line if isinstance(recording, BeatTokens) else ""
        for question in spoken:
            if number := re.search(r"rate (?:is|of) (\d+) beats/min", question.answer):
                assert rates[number[1]].split(",")[0] == line.split(",")[0]
                told += 1
    assert told > 5
    assert [q.question for q in items[3].questions] == [
        q.question for q in ECGQuestions(data, stage, 150, wordings=WORDINGS)[3].questions
    ]


@pytest.mark.parametrize(
    ("asked", "said", "true", "right"),
    [
        (Asked("is", ("AFIB",)), "No: sinus rhythm.", "No.", True),
        (Asked("is", ("AFIB",)), "None of it.", "No.", False),
        (Asked("number", quantities=("qrs",)), "The QRS duration is 96 ms.", "The QRS duration is 92 ms.", True),
        (Asked("number", quantities=("qrs",)), "The QRS duration is 112 ms.", "The QRS duration is 92 ms.", False),
        (Asked("number", quantities=("r:V1",)), "The R wave of V2 is 0.30 mV.", "The R wave of V1 is 0.20 mV.", True),
        (Asked("which", topic="rhythm"), "Sinus rhythm.", "Sinus tachycardia.", False),
    ],
)
def test_answers_are_compared_by_what_they_say(asked, said, true, right):
    assert is_right(asked, said, true) is right


@pytest.mark.checkpoint
def test_the_study_of_spoken_questions_prints_a_table(root, built, tmp_path):
    options = ["--data", built, "--cache", tmp_path, "--limit", "4", "--show"]
    printed = run_main("heartcare.studies.evaluate_spoken", "--model", root, *options).stdout
    assert printed.count("    right '") == printed.count("    said  '") == 4
    assert re.search(r"^\| en: is \| 4 \| \d+\.0 % \| \d+\.0 % \|$", printed, re.M)
