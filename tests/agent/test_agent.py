import numpy as np
import pytest

from heartcare.agent.measure import match_peaks
from heartcare.agent.qa import CHOICES, TASKS, Labels, QuestionBuilder, report_text, sentence
from heartcare.agent.rephrase import Rephraser, find_fault
from heartcare.agent.report_styles import prose, telegram
from heartcare.agent.simulate import FORMS, RHYTHMS, simulate_ecg
from heartcare.agent.statements import SUPERCLASS, SUPERCLASS_OF
from heartcare.delineation_heartcare import find_r_peaks
from heartcare.scp_heartcare import TOPICS


@pytest.mark.parametrize("rhythm", RHYTHMS)
@pytest.mark.parametrize("form", FORMS)
def test_simulated_ecgs_are_what_they_say(rhythm, form):
    ecg = simulate_ecg(rhythm, form, noise_mv=0.003, seed=7)
    assert ecg.signal.shape == (12, 5000) and ecg.signal.dtype == np.float32 and ecg.statements[rhythm] == 100
    assert np.array_equal(ecg.signal, simulate_ecg(rhythm, form, noise_mv=0.003, seed=7).signal)
    one, two, three, avr, avl, avf = ecg.signal[:6]
    np.testing.assert_allclose(
        [three, avr, avl, avf], [two - one, -(one + two) / 2, one - two / 2, two - one / 2], atol=1e-6
    )
    assert len(ecg.p) == len(ecg.qrs) == len(ecg.t) == len(ecg.r_peaks)
    if rhythm == "AFIB":
        assert set(ecg.p) == {None}
    for p, qrs, t, peak in zip(ecg.p, ecg.qrs, ecg.t, ecg.r_peaks):
        assert qrs[0] < peak < qrs[1] and (t is None or qrs[1] < t[0] < t[1]) and (p is None or p[1] <= qrs[0] + 0.01)
    assert None not in ecg.t[:-1]
    if form in ("CLBBB", "CRBBB"):
        assert min(end - start for start, end in ecg.qrs) >= 0.12
    found = find_r_peaks(ecg.signal - np.median(ecg.signal, axis=1, keepdims=True), 500)
    truth = np.array(ecg.r_peaks) * 500
    # A wide complex has the centre of its slopes somewhere within the complex.
    assert match_peaks(truth, found, 0.08 * 500) >= 0.9 * len(truth)


def test_unknown_rhythm():
    with pytest.raises(ValueError, match="Unknown rhythm 'VT'"):
        simulate_ecg("VT")


def test_no_beats_are_found_in_silence():
    assert len(find_r_peaks(np.zeros((12, 1000)), 100)) == 0


def random_labels(rng) -> Labels:
    codes = rng.permutation(
        [code for topic in ("rhythm", "waveform", "diagnosis") for code in CHOICES[topic] if code != "no-form"]
    )[:5]
    statements = {str(code): float(rng.choice([0, 15, 50, 80, 100])) for code in codes}
    notes = {
        "heart_axis": str(rng.choice(["", "MID", "LAD"])),
        "extra_beats": str(rng.choice(["", "1ES", "VES,SVES", "SVES"])),
        "static_noise": str(rng.choice(["", ", alles,"])),
        "infarction_stadium1": str(rng.choice(["", "Stadium III", "unknown"])),
    }
    return Labels(statements, rng.choice([None, 1.0, 18.0, 63.0, 90.0]), rng.choice([None, "male", "female"]), notes)


NAMES = {name: code for topic in TOPICS.values() for code, name in topic.items()}


@pytest.mark.parametrize("seed", range(200))
def test_questions_are_true(seed):
    rng = np.random.default_rng(seed)
    labels = random_labels(rng)
    builder = QuestionBuilder(rng)
    questions = builder.questions(labels)
    questions += [q for topic in TOPICS if (q := builder.closed(labels, topic))]
    assert {q.task for q in questions} >= {"open-qa", "verify-qa", "report", "prediction"} and all(
        q.task in TASKS for q in questions
    )
    for q in questions:
        if labels.age is not None and q.task != "report":
            assert ("over 89" if labels.age == 90 else f"{labels.age:.0f}") in q.question
        if labels.sex:
            words = {"female": ("woman", "female"), "male": (" man", " male", "-old man")}[labels.sex]
            assert any(word in q.question for word in words), q.question
        if q.task == "closed-qa":
            assert len(set(q.options)) == 4 and q.answer in [sentence(option) for option in q.options]
            assert all(option in q.question for option in q.options)
            answers = labels.answers(q.topic)
            assert answers and q.answer_label == (next(code for code in answers if code in CHOICES[q.topic]),)
            for option in q.options:
                code = next(code for code, name in TOPICS[q.topic].items() if name == option)
                # A distractor is neither an answer nor stated at any likelihood.
                assert code in q.answer_label or code not in labels.excluded_distractors(q.topic), (q, labels)
                if q.topic in ("rhythm", "waveform", "diagnosis"):
                    assert code in q.answer_label or code not in labels.statements
        if q.task == "verify-qa" and q.dimension != "superclass":
            table = TOPICS[q.topic]
            said = [
                code
                for code, name in table.items()
                if name in q.question or (code == "NORM" and "normal ECG" in q.question)
            ]
            code = max(said, key=lambda c: len(table[c]))
            assert q.answer == ("Yes." if code in labels.answers(q.topic) else "No."), q
            assert code in labels.answers(q.topic) or code not in labels.statements
        if q.task == "open-qa" and q.topic in ("rhythm", "diagnosis") and q.answer_label:
            likelihoods = [labels.likelihood(code) for code in q.answer_label]
            assert min(likelihoods) >= 60 and likelihoods == sorted(likelihoods, reverse=True)
    for superclass in SUPERCLASS:
        expected = superclass in {SUPERCLASS_OF.get(code) for code in labels.statements}
        assert builder.verify_superclass(labels, superclass).answer == ("Yes." if expected else "No.")


@pytest.mark.parametrize("seed", range(100))
def test_comparisons_are_true(seed):
    rng = np.random.default_rng(seed)
    one, other = random_labels(rng), random_labels(rng)
    builder = QuestionBuilder(rng)
    for topic in TOPICS:
        first, second = one.answers(topic), other.answers(topic)
        for q in builder.comparison(one, other, bool(seed % 2), topic):
            assert (
                (("one patient" in q.question or "same patient" in q.question) == bool(seed % 2)) and first and second
            )
            if q.options:
                code, wrong = q.answer_label[0], [NAMES[option] for option in q.options if sentence(option) != q.answer]
                if "both ECGs" in q.question:
                    assert code in first and code in second and not any(c in first and c in second for c in wrong)
                elif "true of the second" in q.question or "only the second" in q.question:
                    assert (
                        code in second
                        and code not in one.excluded_distractors(topic)
                        and not any(c in second and c not in first for c in wrong)
                    )
                else:
                    assert (
                        code in first
                        and code not in other.excluded_distractors(topic)
                        and not any(c in first and c not in second for c in wrong)
                    )
            else:
                assert ("No difference" in q.answer) == (set(first) == set(second))
                place = q.answer_label.index("->")
                assert list(q.answer_label[:place]) == first and list(q.answer_label[place + 1 :]) == second


def test_options_do_not_give_the_answer_away():
    """A guesser that knows the options alone, and how often each is right among such options, is at chance."""
    rng = np.random.default_rng(0)
    builder = QuestionBuilder(rng)
    families = {name: [c for c in CHOICES["diagnosis"] if SUPERCLASS_OF[c] == name] for name in SUPERCLASS}
    right_of = {}
    for _ in range(6000):  # superclasses are right equally often
        code = rng.choice(families[rng.choice(list(families))])
        question = builder.closed(Labels({str(code): 100.0}), "diagnosis")
        kind = frozenset(SUPERCLASS_OF[NAMES[option]] for option in question.options)
        assert len(kind) == 4
        right_of.setdefault(kind, []).append(SUPERCLASS_OF[code])
    best = sum(max(found.count(name) for name in set(found)) for found in right_of.values()) / 6000
    assert best < 0.29
    places = [builder.closed(Labels({"AFIB": 0.0}), "rhythm").options.index("atrial fibrillation") for _ in range(2000)]
    assert all(abs(places.count(i) / 2000 - 0.25) < 0.05 for i in range(4))


def test_rules_of_likelihood():
    labels = Labels(
        {"LVH": 50.0, "IMI": 80.0, "ASMI": 100.0, "SR": 0.0, "PVC": 100.0, "STD_": 0.0},
        63.0,
        "female",
        {"heart_axis": ""},
    )
    assert labels.answers("diagnosis") == ["ASMI", "IMI"] and labels.doubtful("diagnosis") == ["LVH"]
    assert labels.answers("rhythm") == ["SR"] and labels.answers("waveform") == ["PVC", "STD_"]
    assert (
        labels.answers("noise") == ["no-noise"] and labels.answers("ectopy") == ["VES"] and labels.answers("axis") == []
    )
    assert (
        Labels({"NORM": 100.0}).answers("waveform") == ["no-form"] and Labels({"NORM": 100.0}).answers("rhythm") == []
    )
    assert Labels({"IMI": 50.0}).answers("diagnosis") == [] and Labels({}).answers("waveform") == []
    assert Labels({"SR": 0.0}).answers("noise") == []  # not from PTB-XL: empty columns say nothing


def test_report_words_follow_the_likelihood():
    statements = {"AFIB": 0.0, "PVC": 0.0, "IMI": 100.0, "LVH": 50.0, "CRBBB": 35.0, "ISC_": 0.0}
    columns = {"infarction_stadium1": "Stadium III", "heart_axis": "LAD", "static_noise": ", alles,"}
    labels = Labels(statements, 63.0, "female", columns)
    assert report_text(labels) == (
        "Female, 63 years. Rhythm: atrial fibrillation. Axis: left axis deviation. Waveform: ventricular premature "
        "complexes. Diagnosis: inferior myocardial infarction of stage III (old), probable left ventricular "
        "hypertrophy, possible complete right bundle branch block. Ectopic beats: "
        "ventricular extrasystoles. Recording: static noise."
    )
    assert (
        report_text(Labels({"SR": 0.0, "NORM": 100.0}))
        == "Rhythm: sinus rhythm. Waveform: no abnormality of the waveform. Diagnosis: a normal ECG."
    )
    assert report_text(Labels({"SR": 0.0}, 90.0)).startswith(
        "Over 89 years."
    ) and "no certain diagnosis" in report_text(Labels({}))


def reply(template, **changes):
    return {"question": template.question, "answer": template.answer} | changes


def test_rephrased_text_must_still_be_true():
    builder = QuestionBuilder(np.random.default_rng(1))
    labels = Labels({"AFIB": 0.0, "IMI": 100.0}, 63.0, "female")
    closed, opened, asked = (
        builder.closed(labels, "rhythm"),
        builder.open(labels, "diagnosis"),
        builder.verify(labels, "rhythm"),
    )
    for question in (closed, opened, asked, builder.report(labels)):
        assert find_fault(question, reply(question)) is None
    assert find_fault(opened, reply(opened, answer="There is an inferior myocardial infarction.")) is None
    faults = [
        (opened, "text", "not an object"), (opened, {"question": "a"}, "not an object"),
        (opened, reply(opened, extra="x"), "not an object"),
        (opened, reply(opened, answer="Anteroseptal myocardial infarction."), "findings"),
        (opened, reply(opened, answer="Possible inferior myocardial infarction."), "findings"),
        (opened, reply(opened, question=opened.question.replace("63", "64")), "numbers of the question"),
        (opened, reply(opened, question="What is the diagnosis of the 63-year-old man?"), "sex"),
        (opened, reply(opened, answer=opened.answer + " x" * 400), "longer"),
        (closed, reply(closed, answer="It is atrial fibrillation."), "word by word"),
        (closed, reply(closed, question=closed.question.replace(closed.options[1], "?")), "lacks the option"),
        (asked, reply(asked, answer="No." if asked.answer == "Yes." else "Yes."), "differs"),
        (opened, reply(opened, answer="<|ecg|> " + opened.answer), "special token"),
    ]  # fmt: skip
    for question, wrong, message in faults:
        assert message in find_fault(question, wrong), (wrong, find_fault(question, wrong))


def test_rephraser_retries_caches_and_falls_back(tmp_path, llm_server):
    url, asked = llm_server
    builder = QuestionBuilder(np.random.default_rng(1))
    question = builder.open(Labels({"IMI": 100.0}, 63.0, "female"), "diagnosis")
    rephraser = Rephraser(url, "good", tmp_path)
    changed, done = rephraser(question)
    assert done and changed.question.startswith("Please: ") and changed.answer_label == question.answer_label
    assert rephraser(question) == (changed, True) and len(asked) == 1
    assert Rephraser(url, "wrong", tmp_path)(question) == (question, False) and len(asked) == 1 + 3
    second_time = Rephraser(url, "second", tmp_path)
    assert second_time(question)[1] and len(asked) == 4 + 2 and dict(second_time.counts) == {"accepted": 1}
    away = Rephraser("http://127.0.0.1:9", "none", tmp_path)
    assert away(question) == (question, False) and away.counts["failed"] == 1
    prediction = builder.prediction(Labels({}))
    assert rephraser(prediction) == (prediction, False) and dict(rephraser.counts) == {
        "accepted": 1,
        "cached": 1,
        "kept": 1,
    }


def test_reports_in_other_styles_say_what_the_structured_one_says():
    statements = {"IMI": 100.0, "LVH": 50.0, "ISC_": 10.0, "ISCAL": 15.0, "SR": 0.0, "PVC": 0.0}
    notes = {"heart_axis": "MID", "extra_beats": "1VES", "infarction_stadium1": "Stadium III"}
    labels = Labels(statements, notes=notes)
    assert "Diagnosis: inferior myocardial infarction of stage III (old), probable " in report_text(labels)
    assert prose(labels) == (
        "The rhythm is sinus rhythm. The electrical axis of the heart shows a normal axis. The waveform shows "
        "ventricular premature complexes. The ECG shows inferior myocardial infarction of stage III (old). Left "
        "ventricular hypertrophy is probable. Anterolateral ischemia is possible. The ectopic beats are ventricular "
        "extrasystoles."
    )
    assert telegram(labels) == (
        "Sinus rhythm; ventricular premature complexes; ventricular extrasystoles; inferior myocardial infarction of "
        "stage III (old); prob. left ventricular hypertrophy; anterolateral ischemia?."
    )
    healthy = Labels({"NORM": 100.0, "SR": 0.0}, notes={"heart_axis": "MID"})
    assert prose(healthy).endswith("The waveform shows no abnormality. This is a normal ECG.")
    assert telegram(healthy) == "Sinus rhythm; a normal ECG."
    beside = prose(Labels({"NORM": 100.0, "IRBBB": 100.0, "SR": 0.0}))
    assert beside.endswith("This is a normal ECG. The ECG shows incomplete right bundle branch block.")
    assert telegram(Labels({}, notes={"heart_axis": "MID"})) == "No certain finding."
    assert prose(Labels({"AFIB": 0.0, "LVH": 30.0, "ISC_": 20.0})).endswith(
        "Left ventricular hypertrophy and non-specific ischemia are possible."
    )
