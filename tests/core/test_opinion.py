"""One opinion of an ECG: probabilities that agree with each other, and answers that follow from them."""

import json
import math

import numpy as np
import pytest

from heartcare.answering_heartcare import (
    CANNOT,
    ONE_ECG,
    Facts,
    answer,
    answer_each,
    choose,
    compare,
    evidence,
    gist,
    of_recordings,
    seconds_of,
)
from heartcare.bench.contradictions import contradictions, questions_about
from heartcare.opinion_heartcare import EXCLUSIVE, FAMILIES, INCLUDES, Opinion, as_tuple, coherent, difference
from heartcare.scp_heartcare import DIAGNOSIS, RHYTHM, TOPICS
from heartcare.statements_heartcare import asked_statement
from heartcare.training.findings import LABELS
from heartcare.understanding_heartcare import KINDS, REASONS, Asked
from heartcare.windows_heartcare import Window

MEASURED = {"heart_rate": 112.0, "pr": 232.0, "qrs": 128.0, "qtc_fridericia": 430.0, "qrs_axis": -42.0, "reasons": {}}


def facts_of(measured: dict | None = None, **stated: float) -> Facts:
    """Returns an ECG on which these statements have the given probabilities, and all others 2 %."""
    shares = dict.fromkeys(LABELS, 0.02) | {code.replace("__", ":"): share for code, share in stated.items()}
    logits = {code: math.log(share / (1 - share)) for code, share in shares.items()}
    return Facts(MEASURED | (measured or {}), Opinion(logits, LABELS), logits)


def test_probabilities_agree_whatever_the_logits():
    rng = np.random.default_rng(0)
    for _ in range(300):
        shares = coherent(dict(zip(LABELS, rng.normal(0, 3, len(LABELS)).tolist())))
        assert set(shares) == set(LABELS) and all(0 <= share <= 1 for share in shares.values())
        for group in EXCLUSIVE:
            stated = [part for part in group if any(shares.get(code, 0) > 0.5 for code in as_tuple(part))]
            assert len(stated) <= 1, group
        for code, members in INCLUDES.items():
            assert all(shares[member] <= shares[code] + 1e-9 for member in members if member in shares)


def test_what_agrees_already_stays_as_it_is():
    logits = {"SR": 3.0, "AFIB": -4.0, "CRBBB": 2.0, "super:CD": 2.5, "super:NORM": -3.0, "NORM": -3.5}
    assert coherent(logits) == pytest.approx({code: 1 / (1 + math.exp(-each)) for code, each in logits.items()})


def test_all_codes_are_known():
    parts = [code for group in EXCLUSIVE for part in group for code in as_tuple(part)]
    names = [*parts, *INCLUDES, *(code for codes in FAMILIES.values() for code in codes)]
    assert set(names) <= set(LABELS)
    assert {code for topic in ("rhythm", "waveform", "diagnosis") for code in TOPICS[topic]} - {"no-form", "MI"} <= (
        set(LABELS)
    )


def test_every_answer_follows_from_the_same_statements():
    facts = facts_of(SR=0.9, CRBBB=0.95, super__CD=0.9, axis__LAD=0.8, ectopy__VES=0.7, PAC=0.03)
    opinion = facts.opinion
    assert opinion.stated("diagnosis") == ["CRBBB"] and "PVC" in opinion  # ventricular extrasystoles are the same
    assert answer(Asked("which", topic="diagnosis"), [facts]).text == "Complete right bundle branch block."
    report = answer(Asked("report"), [facts]).text
    assert report.startswith("Rhythm: sinus rhythm. Axis: left axis deviation. Waveform: ventricular premature")
    assert "Diagnosis: complete right bundle branch block." in report and "Ectopic beats: ventricular" in report
    assert answer(Asked("is", ("NORM",)), [facts]).text == "No."
    for code in DIAGNOSIS:
        if code in LABELS:
            said = answer(Asked("is", (code,)), [facts])
            assert (said.text == "Yes.") == (LABELS[code] in report), code
    assert gist(facts) == "Sinus rhythm at a rate of 112 beats/min. Main findings: complete right bundle branch block."


def test_a_normal_ecg_is_affirmed_with_what_is_stated_beside_it():
    """Premature beats and another rhythm do not vanish behind a "Yes.": the report names them as well."""
    plain = facts_of(SR=0.9, NORM=0.8, super__NORM=0.8, **{"waveform__no-form": 0.9})
    ectopic = facts_of(STACH=0.9, NORM=0.8, super__NORM=0.8, PVC=0.8, ectopy__VES=0.8)
    ask = Asked("is", ("NORM",))
    assert answer(ask, [plain]).text == "Yes." and gist(plain).endswith(": a normal ECG.")
    words = "ventricular premature complexes"
    assert answer(ask, [ectopic]).text == f"Yes, apart from sinus tachycardia, {words}."
    assert gist(ectopic).endswith(f": a normal ECG apart from {words}.")
    assert answer(Asked("is", ("NORM",), negated=True), [facts_of(NORM=0.1, PVC=0.9)]).text == "Yes."


def test_premature_beats_are_there_where_those_of_one_kind_are():
    """The words of a family mean any of its statements, also where one statement has the same words."""
    for words, shown in (
        ("premature beats", {"PVC": 0.8, "ectopy__VES": 0.8}),
        ("ischemia", {"ISCAL": 0.8, "super__STTC": 0.9}),
    ):
        asked = Asked("is", (asked_statement(f"Is there {words}?", LABELS),))
        code = next(iter(shown))
        assert answer(asked, [facts_of(SR=0.9, **shown)]).text == f"Yes: {LABELS[code]}."
        assert answer(asked, [facts_of(SR=0.9)]).text == "No."


def test_a_superclass_without_a_statement_is_stated():
    facts = facts_of(SR=0.9, super__STTC=0.55, ISC_=0.45, LVH=0.3)
    assert "Diagnosis: probable changes of repolarization, possible non-specific ischemia." in facts.opinion.report()
    assert answer(Asked("which", topic="diagnosis"), [facts]).text == "ST or T wave changes."
    normal = facts_of(SR=0.9, super__NORM=0.9, NORM=0.9)
    assert normal.opinion.report().endswith("Diagnosis: a normal ECG.") and gist(normal).endswith("a normal ECG.")
    assert (
        facts_of(AFIB=0.4).opinion.answer("rhythm") == "None is certain; the likeliest is atrial fibrillation (40 %)."
    )


def test_a_report_does_not_contradict_itself():
    plain = {"waveform__no-form": 0.9, "SR": 0.9}
    assert "Waveform: no abnormality of the waveform." in facts_of(**plain).opinion.report()
    block = facts_of(**plain, CRBBB=0.9, super__CD=0.9).opinion
    assert "Waveform" not in block.report()
    assert block.answer("waveform") == "No abnormality of the waveform beside complete right bundle branch block."
    doubtful = facts_of(AFLT=0.4, AFIB=0.3).opinion.report()
    assert doubtful.startswith("Rhythm: possible atrial flutter. Diagnosis:")


def test_families_negations_and_several_statements():
    facts = facts_of(SR=0.9, CLBBB=0.9, super__CD=0.9)
    ask = lambda *codes, **how: answer(Asked("is", codes, **how), [facts])  # noqa: E731
    assert ask("BBB").text == "Yes: complete left bundle branch block." and ask("AVB").text == "No."
    assert ask("CLBBB", negated=True).text == "No: complete left bundle branch block."
    assert ask("AFIB", negated=True).text == "Yes."
    assert ask("AFIB", negated=True).probabilities["Yes"] == pytest.approx(0.98, abs=0.01)
    assert ask("AFIB", "CLBBB").text == "Yes: complete left bundle branch block."
    assert ask("AFIB", "CLBBB", every=True).text == "No."
    assert ask("TACHYCARDIA").text == "Yes: heart rate 112 beats/min." and ask("BRADYCARDIA").text == "No."
    assert ask("AXIS_DEVIATION").text == "Yes: QRS axis -42 degrees." and ask("WIDE_QRS").text.startswith(
        "Yes: QRS 128"
    )
    slow = facts_of({"qrs": None, "reasons": {"qrs": "no beat is seen"}})
    assert answer(Asked("is", ("WIDE_QRS",)), [slow]).text == "The QRS duration cannot be measured: no beat is seen."


def test_what_cannot_be_told_is_said():
    facts = facts_of(SR=0.9)
    for reason in REASONS:
        assert answer(Asked("cannot", reason=reason), [facts]).text == CANNOT[reason] and CANNOT[reason].endswith(".")
    untold = Facts(
        {"qrs_axis": None, "reasons": {"qrs_axis": "cannot be told without lead aVF"}},
        Opinion({"axis:LAD": 2.0, "SR": 1.0}, LABELS, {"axis:LAD"}),
        {},
    )
    assert "cannot be told without lead aVF" in answer(Asked("is", ("axis:LAD",)), [untold]).text
    assert answer(Asked("which", topic="axis"), [untold]).text == "That cannot be told from these leads."
    assert answer(Asked("is", ("AFIB",)), [untold]).text == CANNOT["unknown"]  # a head that was not taught it
    for kind in set(KINDS) - {"predict", "why", "cannot"}:  # none leaves a user without a sentence
        asked = Asked(kind, ("AFIB",) if kind == "is" else (), topic="rhythm" if kind == "which" else "")
        asked = Asked("number", quantities=("pr",)) if kind == "number" else asked
        assert answer(asked, [facts]).text.endswith(".")


def test_two_ecgs():
    before = facts_of({"qrs": 92.0, "heart_rate": 70.0}, SR=0.9)
    after = facts_of({"qrs": 148.0, "heart_rate": 74.0}, SR=0.9, CLBBB=0.9, super__CD=0.9)
    text = compare(before, after)
    assert text == "New: complete left bundle branch block. QRS 92 -> 148 ms."
    assert answer(Asked("compare"), [after]).text == ONE_ECG and compare(after, after) == "No difference."
    assert difference(before.opinion, after.opinion, "rhythm") == "No difference. Both: sinus rhythm."
    asked = Asked("is", ("CLBBB",))
    assert answer_each(asked, [before, after], [[], []]).text == "ECG 1: No. ECG 2: Yes."
    slow, fast = (Window(0, 1000, start, 10.0, reason) for start, reason in ((70.0, "slowest rate"), (3600.0, "fast")))
    of_windows = answer_each(asked, [after, after], [[slow, fast]])
    assert of_windows.text == "0:01:10 (slowest rate), 1:00:00 (fast): Yes."
    mixed = answer_each(asked, [after, before, before, after], [[slow, fast], [], [slow]])
    assert mixed.text == (
        "ECG 1 0:01:10 (slowest rate): Yes. ECG 1 1:00:00 (fast): No. ECG 2: No. ECG 3 0:01:10 (slowest rate): Yes."
    )


def test_a_long_recording_shows_what_any_of_its_windows_shows():
    sound = facts_of({"heart_rate": 60.0}, NORM=0.95, super__NORM=0.95, SR=0.95)
    ill = facts_of({"heart_rate": 140.0}, AFIB=0.95, SR=0.02)
    clean = Window(0, 1000, 0.0, 10.0, "among the cleanest")
    other = Window(1000, 2000, 10.0, 10.0, "fastest rate")
    whole = of_recordings([ill, sound, sound], [[other, clean], []])
    assert len(whole) == 2 and whole[1] is sound and whole[0].measured["heart_rate"] == 60
    assert whole[0].opinion.shares["AFIB"] > 0.45 and "NORM" not in whole[0].opinion
    assert of_recordings([sound, sound], [[clean, other]])[0].opinion.shares["NORM"] > 0.9


def test_options_about_two_ecgs():
    before, after = facts_of(SR=0.9), facts_of(SR=0.9, CLBBB=0.9, super__CD=0.9)
    options = ("sinus rhythm", "complete left bundle branch block", "atrial fibrillation")
    for question, right in (
        ("Which of these is true of the second ECG but not of the first", options[1]),
        ("What does only the second ECG show", options[1]),
        ("Which of these is true of both ECGs", options[0]),
    ):
        assert choose(question, options, None, [before, after]).text == right
    assert choose("Which of these is true", options, None, [before, after]) is None


def test_the_rhythm_that_is_stated_is_chosen():
    """The stated rhythm is chosen, however much more a rarer rhythm counts as an option."""
    facts = facts_of(SR=0.6, AFIB=0.2)
    facts.choices.update(AFIB=3.0)
    options = ["sinus rhythm", "atrial fibrillation"]
    assert choose("Which rhythm is it", options, None, [facts]).text == "sinus rhythm"
    assert "Rhythm: sinus rhythm." in facts.opinion.report()


def test_the_rhythm_that_is_called_possible_is_chosen():
    """A report that is not certain of a rhythm names the likeliest, and so does the choice among options."""
    facts = facts_of(SR=0.46, SBRAD=0.3)
    facts.choices.update(SBRAD=3.0)
    assert choose("Which rhythm is it", ["sinus bradycardia", "sinus rhythm"], None, [facts]).text == "sinus rhythm"
    assert facts.opinion.report().startswith("Rhythm: possible sinus rhythm.")


@pytest.mark.parametrize("seed", range(20))
def test_no_opinion_contradicts_itself(seed):
    """Report, options, open questions and yes or no agree, whatever the head for findings gives."""
    rng = np.random.default_rng(seed)
    questions, rhythms = questions_about(LABELS), [RHYTHM[code] for code in RHYTHM if code in LABELS]
    asked = {
        code: Asked("which", topic=code.removeprefix("open "))
        if code.startswith("open")
        else Asked("is", (asked_statement(words, LABELS),))
        for code, words in questions.items()
    }
    for _ in range(20):
        logits = dict(zip(LABELS, rng.normal(-1.5, 2.5, len(LABELS)).tolist()))
        facts = Facts(MEASURED, Opinion(logits, LABELS), dict(zip(LABELS, rng.normal(0, 3, len(LABELS)).tolist())))
        answers = {code: answer(each, [facts]).text for code, each in asked.items()}
        chosen = choose("Which rhythm is it", rhythms, None, [facts]).text
        assert contradictions(facts.opinion.report(), answers, chosen, answers["open rhythm"]) == set()


def test_an_option_that_denies_is_no_denial_by_the_question():
    facts = facts_of(**{"ectopy__no-ectopy": 0.9, "ectopy__VES": 0.02, "ectopy__SVES": 0.02})
    options = [LABELS[f"ectopy:{code}"] for code in ("VES", "no-ectopy", "SVES")]
    question = f"Which ectopic beats are there: {', '.join(options)}?"
    assert choose(question, options, None, [facts]).text == options[1]
    assert choose(question.replace("are there", "are not there"), options, None, [facts]) is None


def test_evidence_names_leads_and_waves():
    explanation = {"finding": "atrial fibrillation", "probability": 0.9, "beats": [], "intervals": []}
    explanation |= {"leads": [{"lead": "V1", "effect": 2.0}, {"lead": "II", "effect": -1.0}]}
    explanation |= {"waves": [{"wave": "P", "effect": 1.0}]}
    assert evidence([explanation], facts_of()).text == "Atrial fibrillation rests most on leads V1 and the P waves."
    doubted = evidence([explanation | {"probability": 0.1}], facts_of())
    assert doubted.text == "Atrial fibrillation is not found (10 %)."
    assert json.dumps(doubted.probabilities) == "{}"


def test_contradictions_are_counted():
    """The study of consistency finds contradictions in answers that are made up, and none in those of an opinion."""
    questions = questions_about(LABELS)
    facts = facts_of(SR=0.9, CRBBB=0.95, super__CD=0.9, PVC=0.7, LAFB=0.45)
    asked = {code: Asked("is", (code,)) for code in questions if not code.startswith("open")}
    asked |= {f"open {topic}": Asked("which", topic=topic) for topic in ("rhythm", "waveform", "diagnosis")}
    answers = {code: answer(each, [facts]).text for code, each in asked.items()}
    report, rhythm = facts.opinion.report(), answers["open rhythm"]
    assert contradictions(report, answers, "sinus rhythm", rhythm) == set()
    for changed, kind in (
        ({"AFIB": "Yes."}, "affirmed but not reported"),
        ({"CRBBB": "No."}, "reported but denied"),
        ({"super:NORM": "Yes."}, "normal and abnormal"),
        ({"open rhythm": "Atrial fibrillation."}, "two rhythms"),
        ({"open diagnosis": "Left ventricular hypertrophy."}, "open question"),
    ):
        assert contradictions(report, answers | changed, "sinus rhythm", (answers | changed)["open rhythm"]) == {kind}
    assert contradictions(report, answers, "sinus rhythm", "Pacing.") == {"second turn"}
    assert contradictions(report, answers, "atrial flutter", rhythm) == {"two rhythms"}


def test_the_measured_axis_decides_between_normal_and_right():
    logits = {"axis:MID": 2.0, "axis:RAD": -3.0, "axis:LAD": -2.0}
    assert Opinion(logits, LABELS, axis=107.0).stated("axis") == ["axis:RAD"]
    assert Opinion(logits, LABELS, axis=93.0).stated("axis") == ["axis:MID"]
    assert Opinion(logits, LABELS, axis=40.0).stated("axis") == ["axis:MID"]
    assert Opinion(logits | {"axis:MID": -3.0, "axis:RAD": 2.0}, LABELS, axis=40.0).stated("axis") == ["axis:MID"]
    left = {"axis:MID": -2.0, "axis:LAD": 2.0}
    assert Opinion(left, LABELS, axis=5.0).stated("axis") == ["axis:LAD"]
    assert Opinion({"SR": 1.0}, LABELS, axis=107.0).stated("axis") == []


@pytest.mark.parametrize(
    "question, seconds",
    [("Predict the next 3 seconds.", 3), ("go on for 1.5 s", 1.5), ("noch 4 Sekunden", 4), ("go on", 2), ("900 s", 10)],
)
def test_seconds_of_a_forecast(question, seconds):
    assert seconds_of(question) == seconds


def test_a_left_axis_is_worded_by_its_degrees():
    """PTB-XL calls an axis left far above -30 degrees, and a report must not claim more than is measured."""
    logits = dict.fromkeys(LABELS, -5.0) | {"axis:LAD": 3.0, "SR": 4.0, "NORM": 3.0, "super:NORM": 3.0}
    for degrees, words in ((-10.0, "a leftward axis"), (-45.0, "left axis deviation"), (None, "left axis deviation")):
        opinion = Opinion(logits, LABELS, axis=degrees)
        assert f"Axis: {words}." in opinion.report() and opinion.answer("axis") == f"{words[0].upper()}{words[1:]}."
        assert opinion.ranked()["left axis deviation"] > 0.9
