"""The benchmark's metrics: equal to the field's packages, strict where those guess, and the same as modules of
evaluate.
"""

import json
import os
import random
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import sacrebleu
from rouge_score import rouge_scorer
from sklearn.metrics import cohen_kappa_score, roc_auc_score
from transformers import BertConfig, BertModel, BertTokenizerFast

from heartcare.agent.simulate import simulate_ecg
from heartcare.bench.controls import MAJORITY, MODEL
from heartcare.bench.metrics import (
    RUBRIC,
    Choice,
    Judge,
    agreement,
    answer_set_match_each,
    auc,
    bleu,
    closed_qa,
    dtw,
    entity_f1,
    entity_f1_each,
    exact_match_each,
    expected_calibration_error,
    f1_bio,
    f1_radgraph,
    find_facts,
    judge_reports,
    macro_auc,
    mean_interval,
    paired_test,
    patient_draws,
    read_choice,
    report_rubric,
    risk_coverage,
    rouge_l_each,
    signal_prediction,
    token_f1_each,
)
from heartcare.bench.scorers import SCORERS, RowScores
from heartcare.scp_heartcare import TOPICS

WORDS = (
    "sinus rhythm, normal ECG. a-b 3.5 2,000 (x) don't AF; T-wave 60% &amp; Über I/II -5 ' \" e.g. no... [y] <z> $5 "
    "the A\n"
).split(" ")
RHYTHMS = ["sinus rhythm", "atrial fibrillation", "sinus tachycardia", "a functioning artificial pacemaker"]
BEATS = [
    "supraventricular extrasystoles",
    "ventricular extrasystoles",
    "supraventricular and ventricular extrasystoles",
    "no extrasystoles",
]
STAGES = ["stage I (acute)", "stage II (subacute)", "stage II to III", "stage III (old)"]


def random_text(rng):
    return " ".join(rng.choices(WORDS, k=rng.randrange(0, 15)))


def test_texts_equal_rouge_score_and_sacrebleu_on_1000_random_cases():
    rng, scorer = random.Random(0), rouge_scorer.RougeScorer(["rougeL"])
    for _ in range(1000):
        predictions = [random_text(rng) for _ in range(rng.randrange(1, 4))]
        references = [random_text(rng) for _ in predictions]
        assert bleu(predictions, references) == pytest.approx(
            sacrebleu.corpus_bleu(predictions, [references]).score, abs=1e-9
        )
        for each, prediction, reference in zip(rouge_l_each(predictions, references), predictions, references):
            assert each == pytest.approx(scorer.score(reference, prediction)["rougeL"].fmeasure, abs=1e-12)
    same = ["sinus rhythm with first degree AV block"]
    assert bleu(same, same) == pytest.approx(100) and rouge_l_each(same, same) == [1.0]


def test_probabilities_equal_scikit_learn_on_1000_random_cases():
    rng = np.random.default_rng(0)
    for case in range(1000):
        n = int(rng.integers(4, 60))
        labels = rng.random(n) < 0.4
        labels[:2] = True, False
        scores = np.round(rng.random(n), 1 if case % 2 else 6)  # half of them with many ties
        weights = rng.integers(0, 4, n)
        weights[:2] = 1
        assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))
        assert auc(labels, scores, weights) == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights))
        one, other = rng.integers(0, 3, n).tolist(), rng.integers(0, 3, n).tolist()
        assert agreement(one, other)["kappa"] == pytest.approx(cohen_kappa_score(one, other))
    labels, scores = rng.random((50, 6)) < 0.3, rng.random((50, 6))
    assert macro_auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores, average="macro"))
    draws = np.stack([np.ones(50), np.arange(50) % 3])
    assert macro_auc(labels, scores, draws)[0] == pytest.approx(macro_auc(labels, scores))
    labels[:, 0] = False  # a class that nobody has is left out, and does not count as 0
    assert macro_auc(labels, scores) == pytest.approx(roc_auc_score(labels[:, 1:], scores[:, 1:], average="macro"))


@pytest.mark.parametrize(
    "answer, options, chosen",
    [
        ("The answer is B.", RHYTHMS, 1),
        ("b)", RHYTHMS, 1),
        ("B", RHYTHMS, 1),
        ("(C)", RHYTHMS, 2),
        ("[d]", RHYTHMS, 3),
        ("B. Atrial fibrillation.", RHYTHMS, 1),
        ("C: sinus tachycardia", RHYTHMS, 2),
        ("Option A", RHYTHMS, 0),
        ("The correct option is D, clearly.", RHYTHMS, 3),
        ("Answer: **C**", RHYTHMS, 2),
        ("Atrial fibrillation.", RHYTHMS, 1),
        ("ATRIAL FIBRILLATION", RHYTHMS, 1),
        ("  atrial\nfibrillation  ", RHYTHMS, 1),
        ("**Atrial fibrillation**", RHYTHMS, 1),
        ("This ECG shows atrial fibrillation with a rapid ventricular response.", RHYTHMS, 1),
        ("It is a functioning artificial pacemaker.", RHYTHMS, 3),
        ("It is not sinus rhythm but atrial fibrillation.", RHYTHMS, 1),
        ("Probably sinus tachycardia", RHYTHMS, 2),
        ("Die Antwort ist B.", RHYTHMS, 1),
        ("La réponse est C", RHYTHMS, 2),
        ("There are no extrasystoles.", BEATS, 3),
        ("Supraventricular and ventricular extrasystoles", BEATS, 2),
        ("ventricular extrasystoles, and no others", BEATS, 1),
        ("Stage III", STAGES, 3),
        ("Stage II to III.", STAGES, 2),
        ("stage ii", STAGES, 1),
        ("", RHYTHMS, "empty"),
        ("   \n", RHYTHMS, "empty"),
        ("**", RHYTHMS, "empty"),
        ("none", RHYTHMS, "no option"),
        ("None of the above.", RHYTHMS, "no option"),
        ("I cannot tell from this picture.", RHYTHMS, "no option"),
        ("No sinus rhythm.", RHYTHMS, "no option"),
        ("The answer is a normal ECG.", RHYTHMS, "no option"),
        ("Vorhofflimmern", RHYTHMS, "no option"),
        ("E", RHYTHMS, "no option"),
        ("fibrillation", RHYTHMS, "no option"),
        ("A or C", RHYTHMS, "several"),
        ("A, B, C and D", RHYTHMS, "several"),
        ("Sinus rhythm or atrial fibrillation", RHYTHMS, "several"),
        ("B. Sinus rhythm", RHYTHMS, "several"),
        ("sinus rhythm, " * 5000, RHYTHMS, "too long"),
    ],
)
def test_awkward_answers(answer, options, chosen):
    expected = Choice(chosen) if isinstance(chosen, int) else Choice(None, chosen)
    assert read_choice(answer, options) == expected


def test_every_option_of_the_benchmark_is_read_as_itself():
    for names in TOPICS.values():
        names = list(names.values())
        for k, name in enumerate(names):
            others = [names[(k + step) % len(names)] for step in (1, 2, 3)]
            for options in ([name, *others], [*others, name]):
                assert options[read_choice(name[0].upper() + name[1:] + ".", options).index] == name
                assert options[read_choice("ABCD"[options.index(name)], options).index] == name


def test_closed_qa_counts_what_it_cannot_read_as_wrong():
    found = closed_qa(["B", "A or B", "", "sinus rhythm"], [RHYTHMS[1]] * 4, [RHYTHMS] * 4)
    assert found == {"accuracy": 0.25, "invalid": 0.5, "empty": 0.25, "too_long": 0, "no_option": 0, "several": 0.25}
    with pytest.raises(ValueError, match="none of the options"):
        closed_qa(["B"], ["asystole"], [RHYTHMS])
    with pytest.raises(ValueError, match="lists of one length"):
        closed_qa(["B"], [], [])


def test_words_and_sets():
    assert exact_match_each(["Sinus  rhythm."], ["the sinus rhythm"]) == [1.0] and exact_match_each(
        ["AF"], ["sinus rhythm"]
    ) == [0.0]
    assert token_f1_each(["sinus rhythm", "", "", "x"], ["sinus bradycardia", "", "x", "y"]) == [0.5, 1.0, 0.0, 0.0]
    pairs = [
        ("AF, PVC", ["pvc", "af"], 1.0),
        ("AF", ["af", "pvc"], 0.0),
        ("AF, PVC, SR", ["af", "pvc"], 0.0),
        ("none", ["none"], 1.0),
    ]
    for prediction, reference, expected in pairs:
        assert answer_set_match_each([prediction], [reference]) == [expected]


def test_facts_have_finding_negation_certainty_lead_and_time():
    facts = find_facts("No ST elevation. Probable old inferior infarction. ST depression in V4-V6.")
    assert facts == {
        ("STE_", "absent"), ("IMI", "present"), ("IMI", "certainty", "probable"), ("IMI", "time", "III"),
        ("STD_", "present"), ("STD_", "certainty", "certain"), *(("STD_", "lead", lead) for lead in ("V4", "V5", "V6")),
    }  # fmt: skip
    compared = find_facts("No difference. Both: sinus rhythm. Only the first: LVH.")
    assert {("same",), ("both", "SR", "present"), ("first", "LVH", "present")} <= compared
    assert not find_facts("A 63-year-old woman.") and not find_facts("")


def test_every_answer_of_the_benchmark_states_facts_of_its_own():
    for topic, names in TOPICS.items():
        facts = [frozenset(find_facts(name[0].upper() + name[1:] + ".")) for name in names.values()]
        assert all(facts) and len(set(facts)) == len(facts), topic


def test_entity_f1_takes_off_for_each_fact():
    reference = "Sinus rhythm. Possible inferior infarction."
    scores = entity_f1_each(
        [
            reference,
            "Sinus rhythm. Inferior infarction.",
            "Sinus rhythm. No inferior infarction.",
            "",
            "Atrial fibrillation.",
        ],
        [reference] * 5,
    )
    assert scores[0] == 1 > scores[1] > scores[2] > scores[3] == scores[4] == 0
    assert entity_f1_each(["LVH"], ["A 63-year-old woman."]) == [None]
    found = entity_f1(["Sinus rhythm", "LVH"], ["Sinus rhythm", "Hello"])
    assert (
        found["f1"] == 1
        and found["without_facts"] == 1
        and found["precision"] == 0.5
        and found["recall"] == 1
        and found["lead_f1"] is None
    )


REPORT = (
    "Male, 63 years. Rhythm: sinus rhythm. Axis: left axis deviation. Waveform: Q waves. Diagnosis: first degree AV "
    "block, inferior myocardial infarction of stage III (old), probable left ventricular hypertrophy, non-specific "
    "ischemia. Ectopic beats: ventricular extrasystoles."
)


def test_rubric_has_17_points_of_weight_100_and_each_can_be_lost():
    assert (
        len(RUBRIC) == 17
        and sum(point.weight for point in RUBRIC) == 100
        and len({point.name for point in RUBRIC}) == 17
    )
    whole = report_rubric([REPORT], [REPORT])
    assert whole["score"] == 100 and None not in whole["points"].values()
    # What is changed in the report -> the point that is lost, and no other with it but those named.
    for before, after, lost in [
        ("sinus rhythm", "atrial fibrillation", {"rhythm", "no wrong rhythm"}),
        ("first degree AV block, ", "", {"conduction"}),
        (
            "first degree AV block",
            "first degree AV block, complete left bundle branch block",
            {"no invented conduction"},
        ),
        ("inferior myocardial", "lateral myocardial", {"site of infarction", "no invented infarction"}),
        ("inferior myocardial infarction of stage III (old), ", "", {"infarction", "site of infarction", "stage"}),
        ("probable left ventricular hypertrophy, ", "", {"hypertrophy"}),
        ("probable left", "right ventricular hypertrophy, probable left", {"no invented hypertrophy"}),
        ("probable left", "left", {"certainty"}),
        (", non-specific ischemia", "", {"repolarisation"}),
        ("non-specific ischemia", "non-specific ischemia, a long QT interval", {"no invented repolarisation"}),
        ("Waveform: Q waves. ", "", {"waveform"}),
        ("Ectopic beats: ventricular", "Ectopic beats: supraventricular", {"ectopic beats"}),
        ("left axis deviation", "a normal axis", {"axis"}),
        ("stage III (old)", "stage I (acute)", {"stage"}),
        ("Diagnosis: ", "Diagnosis: a normal ECG, ", {"verdict"}),
    ]:
        assert before in REPORT
        points = report_rubric([REPORT.replace(before, after)], [REPORT])["points"]
        assert {name for name, score in points.items() if score is not None and score < 1} == lost, (before, after)
    assert report_rubric(["", "Hello."], [REPORT, REPORT])["each"] == [0, 0]


def judgement(**changed) -> str:
    return json.dumps({str(k): 1 for k in range(1, 18)} | changed)


def test_judge_failures_are_counted_and_never_scored(judge_server, tmp_path):
    url, replies, asked = judge_server
    replies += [
        judgement(),
        judgement(**{"1": 0, "2": None}),
        "not JSON",
        judgement(**{"3": 7}),
        judgement(**{"18": 1}),
        "error",
    ]
    judge = Judge("fake", url, str(tmp_path / "cache"), seed=3, retries=0)
    found = judge_reports(["a", "b", "c", "d", "e", "f"], ["r"] * 6, judge)
    second = 100 * (100 - 12 - 6) / (100 - 6)
    assert found["each"] == [100, pytest.approx(second), None, None, None, None]
    assert found["score"] == pytest.approx((100 + second) / 2) and (found["judged"], found["failed"]) == (2, 4)
    assert judge.counts == {"judged": 2, "failed": 4} and all(
        each["seed"] == 3 and each["temperature"] == 0 for each in asked
    )
    # What was judged is kept; what failed is asked again, with the next seed the second time.
    judge = Judge("fake", url, str(tmp_path / "cache"), seed=3, retries=1)
    replies += ["not JSON", judgement()]
    assert judge("a", "r") == [1.0] * 17 and judge("c", "r") == [1.0] * 17
    assert judge.counts == {"cached": 1, "judged": 1} and [each["seed"] for each in asked[-2:]] == [3, 4]
    assert judge_reports(["x"], ["y"], Judge("fake", "http://127.0.0.1:9/v1", retries=0))["score"] is None


def test_a_local_judge_is_asked_too(tiny_folder, tmp_path):
    """A language model of random weights judges nothing: that is a failure, not a score."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    text = tiny_folder.parent / "model" if not (tiny_folder.parent / "text").exists() else tiny_folder.parent / "text"
    tokenizer = AutoTokenizer.from_pretrained(text)
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    tokenizer.save_pretrained(tmp_path)
    AutoModelForCausalLM.from_pretrained(text).save_pretrained(tmp_path)
    judge = Judge(str(tmp_path), retries=0)
    assert judge("Sinus rhythm.", "Sinus rhythm.") is None and judge.counts == {"failed": 1}


@pytest.fixture(scope="module")
def biobert(tmp_path_factory):
    """Makes a BERT of random weights, in BioBERT's place."""
    folder = tmp_path_factory.mktemp("biobert")
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] sinus rhythm atrial fibrillation normal ecg . ,".split()
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=512).save_pretrained(folder)
    config = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(words), **config)).save_pretrained(folder)
    return folder


def test_f1_bio_is_bert_score_and_nothing_without_its_model(biobert, tmp_path):
    import bert_score

    predictions, references = ["sinus rhythm", "normal ecg ."], ["atrial fibrillation", "normal ecg"]
    expected = bert_score.score(predictions, references, model_type=str(biobert), num_layers=2)[2]
    found = f1_bio(predictions, references, str(biobert), 2)
    assert found["each"] == expected.tolist() and found["layer"] == 2 and found["model"] == biobert.name
    assert f1_bio(predictions, references) is None
    with pytest.raises(FileNotFoundError, match="config.json"):
        f1_bio(predictions, references, str(tmp_path))
    with pytest.raises(ValueError, match="layers 1 to 3"):
        f1_bio(predictions, references, str(biobert), 9)


def test_f1_radgraph_calls_its_scorer():
    def scorer(hyps, refs):
        rewards = [float(h == r) for h, r in zip(hyps, refs)]
        return np.mean(rewards), rewards, None, None

    assert f1_radgraph(["a", "b"], ["a", "c"], scorer)["f1"] == 0.5
    assert f1_radgraph(["a"], ["a"]) is None


def test_calibration_and_selective_accuracy():
    rng = np.random.default_rng(0)
    confidence = rng.random(20000)
    correct = rng.random(20000) < confidence
    assert expected_calibration_error(correct, confidence) < 0.02
    assert expected_calibration_error([1, 0, 1, 0], [1.0, 1.0, 1.0, 1.0]) == 0.5
    assert expected_calibration_error([1, 1], [1.0, 0.0]) == 0.5
    curve = risk_coverage(correct, confidence)
    assert curve["accuracy_50"] > curve["accuracy_80"] > curve["accuracy_100"] == pytest.approx(correct.mean())
    assert risk_coverage([1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1])["aurc"] == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    # The order of equally sure answers says nothing.
    assert risk_coverage([1, 0, 0, 1], [0.5] * 4) == risk_coverage([0, 0, 1, 1], [0.5] * 4)


def test_bootstrap_counts_patients_and_not_records():
    rng = np.random.default_rng(0)
    per_patient = (rng.random(50) < 0.5).astype(float)
    scores, patients = np.repeat(per_patient, 20), np.repeat(np.arange(50), 20).astype(str)
    _, low, high = mean_interval(scores, patients)
    _, low_records, high_records = mean_interval(scores, np.arange(1000).astype(str))
    assert high - low > 3 * (high_records - low_records)
    assert patient_draws(patients, 7).shape == (7, 1000) and (patient_draws(patients, 7).sum(1) == 1000).all()
    assert mean_interval(scores, patients, seed=1) == mean_interval(scores, patients, seed=1)


def test_paired_test_finds_what_is_there_and_nothing_else():
    rng, patients = np.random.default_rng(0), [str(i) for i in range(300)]
    one = (rng.random(300) < 0.5).astype(float)
    better = np.maximum(one, rng.random(300) < 0.2)
    found = paired_test(one, better, patients)
    assert found["p"] < 0.001 and found["low"] > 0 and found["difference"] == pytest.approx((better - one).mean())
    assert paired_test(one, one, patients)["p"] == 1.0
    p_values = [
        paired_test(*(rng.random((2, 60)) < 0.5).astype(float), patients[:60], draws=1000)["p"] for _ in range(100)
    ]
    assert 0.0 <= np.mean(np.array(p_values) < 0.05) <= 0.12 and np.mean(p_values) > 0.35


def slow_dtw(one, other):
    table = np.full((len(one) + 1, len(other) + 1), np.inf)
    table[0, 0] = 0
    for i in range(len(one)):
        for j in range(len(other)):
            table[i + 1, j + 1] = abs(one[i] - other[j]) + min(table[i, j], table[i, j + 1], table[i + 1, j])
    return table[-1, -1] / len(one)


@pytest.mark.parametrize(("count", "is_said"), [(1, False), (6, False), (19, False), (20, True)])
def test_of_few_patients_no_verdict_is_given(count, is_said):
    """No model is said to read ECGs from one record alone, whose interval has no width."""
    items = [SimpleNamespace(patients=(f"p{number}",)) for number in range(count)]
    rows = {name: RowScores({"score": 3 * [score]}, count * [score]) for name, score in ((MODEL, 1.0), (MAJORITY, 0.0))}
    (verdict,) = SCORERS["report"].verdict("S/report", items, rows, seed=0)
    (of_classes,) = SCORERS["classification"].verdict("S/classification", items, rows, seed=0)
    for each in (verdict, of_classes):
        assert ("it reads the ECG" in each) == is_said and (f"got {count}." in each) != is_said


def test_signal_prediction():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 3, 37))
    np.testing.assert_allclose(dtw(one, other), [slow_dtw(a, b) for a, b in zip(one, other)])
    np.testing.assert_allclose(dtw(one, other[:, :20]), [slow_dtw(a, b) for a, b in zip(one, other[:, :20])])
    ecg = simulate_ecg("SR", "NORM", sampling_rate=100, seed=1).signal
    context, target = ecg[:, :-300], ecg[:, -300:]
    right = signal_prediction(target, target, 100, context)
    assert [right[k] for k in ("mse_z", "rmse_uv", "prd", "dtw_uv", "hr_error")] == [0] * 5 and right["r_peak_f1"] == 1
    assert right["correlation"] == pytest.approx(1)
    flat = signal_prediction(np.repeat(target.mean(1, keepdims=True), 300, 1), target, 100, context)
    assert flat["mse_z"] == pytest.approx(1) and flat["correlation"] == 0 and flat["r_peak_f1"] == 0
    assert flat["hr_error"] is None  # the beats before it are not its own
    late = signal_prediction(np.roll(target, 4, axis=1), target, 100, context)
    assert late["dtw_uv"] < 0.5 * late["rmse_uv"] and late["r_peak_f1"] > 0.6 and late["hr_error"] < 8
    target[3] = 0  # a lead that was not recorded says nothing
    assert signal_prediction(target + 0.1, target, 100)["rmse_uv"] == pytest.approx(100)
    with pytest.raises(ValueError, match="shape"):
        signal_prediction(target, target[:, 1:], 100)
    with pytest.raises(ValueError, match="no signal"):
        signal_prediction(target, 0 * target, 100)


def test_modules_of_evaluate_load_from_their_folders_without_network(root, tmp_path):
    """The modules load in a process of their own, which has a folder for the files that evaluate keeps."""
    code = """
import evaluate, numpy as np, pathlib, sys
root = pathlib.Path(sys.argv[1]) / "bench/metrics"
names = sorted(path.parent.name for path in root.glob("*/*.py") if path.stem == path.parent.name)
assert len(names) == 14, names
texts = {"predictions": ["Sinus rhythm, LVH.", "b"], "references": ["Sinus rhythm.", "b"]}
from heartcare.bench import metrics as plain
for name in names:
    metric = evaluate.load(str(root / name))
    if name == "closed_qa":
        options = [["sinus rhythm", "LVH"], ["a", "b"]]
        answers = {"predictions": ["A", "b"], "references": ["sinus rhythm", "b"]}
        assert metric.compute(**answers, options=options)["accuracy"] == 1
    elif name == "signal_prediction":
        x = np.random.default_rng(0).normal(size=(2, 2, 12, 200))
        found = metric.compute(predictions=x[0].tolist(), references=x[1].tolist(), sampling_rate=100)
        expected = np.mean([plain.signal_prediction(p, r, 100)["rmse_uv"] for p, r in zip(*x)])
        assert abs(found["rmse_uv"] - expected) < 1e-6
    elif name == "macro_auc":
        assert metric.compute(predictions=[[0.1, 0.9], [0.3, 0.1]], references=[[0, 1], [1, 0]]) == {"macro_auc": 1.0}
    elif name == "calibration":
        assert abs(metric.compute(predictions=[0.9, 0.2], references=[1, 0])["ece"] - 0.15) < 1e-9
    elif name == "report_judge":
        assert metric.compute(**texts, model="x", url="http://127.0.0.1:9/v1")["failed"] == 2
    elif name == "modality_agreement":
        assert metric.compute(**texts)["agreement"] == 0.5
    else:
        found = metric.compute(**texts)
        expected = {"bleu": plain.bleu(**texts), "rouge_l": np.mean(plain.rouge_l_each(**texts)),
                    "token_f1": np.mean(plain.token_f1_each(**texts)), "exact_match": 0.5,
                    "entity_f1": plain.entity_f1(**texts)["f1"], "report_rubric": plain.report_rubric(**texts)["score"],
                    "f1_bio": None, "f1_radgraph": None}[name]
        assert found.get(name, found.get("f1", found.get("score"))) == expected, (name, found)
"""
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(root)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-3000:]
