import numpy as np
import pytest
from heartcare.agent.measure import find_r_peaks, match_peaks
from heartcare.agent.qa import CHOICES, DIMENSIONS, SUPERCLASS, QuestionBuilder, report_text, sentence
from heartcare.agent.simulate import FORMS, RHYTHMS, simulate_ecg

SUPERCLASS_OF = {"NORM": "NORM", "IMI": "MI", "ASMI": "MI", "LVH": "HYP", "LAFB": "CD", "CRBBB": "CD", "CLBBB": "CD", "IRBBB": "CD",
                 "1AVB": "CD", "ISC_": "STTC"}  # fmt: skip


@pytest.mark.parametrize("rhythm", RHYTHMS)
@pytest.mark.parametrize("form", FORMS)
def test_simulated_ecgs_are_what_they_say(rhythm, form):
    ecg = simulate_ecg(rhythm, form, noise_mv=0.003, seed=7)
    assert ecg.signal.shape == (12, 5000) and ecg.signal.dtype == np.float32 and ecg.statements[rhythm] == 100
    assert np.array_equal(ecg.signal, simulate_ecg(rhythm, form, noise_mv=0.003, seed=7).signal)
    one, two, three, avr, avl, avf = ecg.signal[:6]
    np.testing.assert_allclose([three, avr, avl, avf], [two - one, -(one + two) / 2, one - two / 2, two - one / 2], atol=1e-6)
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


@pytest.mark.parametrize("seed", range(20))
def test_questions_are_true(seed):
    rng = np.random.default_rng(seed)
    codes = rng.permutation([code for codes in CHOICES.values() for code in codes])[:5]
    statements = {code: float(rng.choice([0, 15, 50, 80, 100])) for code in codes}
    names = {name: code for table in DIMENSIONS.values() for code, name in table.items()}
    builder = QuestionBuilder(SUPERCLASS_OF, rng)
    questions = builder.questions(statements)
    assert len([q for q in questions if q.dimension == "superclass"]) == 5
    for q in questions:
        if q.task == "closed":
            assert len(set(q.options)) == 4 and q.answer in [sentence(option) for option in q.options]
            assert all(option in q.question for option in q.options)
            true = [option for option in q.options if names[option] in statements]
            assert [sentence(option) for option in true] == [q.answer]
        if q.task == "yes_no" and q.dimension != "superclass":
            said = [code for name, code in names.items() if name in q.question or (code == "NORM" and "normal ECG" in q.question)]
            code = max(said, key=lambda c: len(DIMENSIONS[q.dimension].get(c, "")))
            assert (q.answer == "Yes.") == (code in statements), q
    for superclass in SUPERCLASS:
        expected = superclass in {SUPERCLASS_OF.get(code) for code in statements}
        assert builder.yes_no_superclass(statements, superclass).answer == ("Yes." if expected else "No.")


def test_options_do_not_give_the_answer_away():
    """Who knows the options alone, and how often each is right among such options, must be at chance."""
    rng = np.random.default_rng(0)
    builder = QuestionBuilder(SUPERCLASS_OF, rng)
    families = {name: [c for c in CHOICES["diagnosis"] if SUPERCLASS_OF[c] == name] for name in SUPERCLASS}
    right_of = {}
    for _ in range(6000):  # superclasses are right equally often
        code = rng.choice(families[rng.choice(list(families))])
        question = builder.closed({str(code): 100.0}, "diagnosis")
        kind = frozenset(SUPERCLASS_OF[{v: k for k, v in DIMENSIONS["diagnosis"].items()}[option]] for option in question.options)
        assert len(kind) == 4
        right_of.setdefault(kind, []).append(SUPERCLASS_OF[code])
    best = sum(max(found.count(name) for name in set(found)) for found in right_of.values()) / 6000
    assert best < 0.29


def test_report_words_follow_the_likelihood():
    report = report_text({"AFIB": 0.0, "PVC": 0.0, "IMI": 100.0, "LVH": 50.0, "CRBBB": 35.0, "ISC_": 0.0})
    assert report == (
        "Atrial fibrillation. Waveform: ventricular premature complexes. Diagnosis: inferior myocardial infarction, "
        "probable left ventricular hypertrophy, possible complete right bundle branch block."
    )
    assert report_text({"SR": 0.0, "NORM": 100.0}) == "Sinus rhythm. Diagnosis: a normal ECG."
    assert "no certain diagnosis" in report_text({})
