"""The head for findings: its inputs, its calibration, the answers of the pipeline by it, and its explanations."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch.testing import assert_close

from heartcare import (
    BeatFeatureExtractor,
    ECGInterpretationPipeline,
    HeartcareForConditionalGeneration,
    HeartcareProcessor,
)
from heartcare.agent.render import draw_ecg, load_font
from heartcare.agent.simulate import simulate_ecg
from heartcare.answering_heartcare import CANNOT, NOT_UNDERSTOOD, ONE_ECG, Facts, answer, choose
from heartcare.configuration_heartcare import LEADS
from heartcare.delineation_heartcare import delineate
from heartcare.explaining_heartcare import explain_findings, parts_of, without
from heartcare.findings_heartcare import COVERAGES, NUMBERS, FindingsHead, disturbances, numbers_of, shares_of
from heartcare.measuring_heartcare import Measurements, as_plain
from heartcare.opinion_heartcare import Opinion
from heartcare.pipeline_heartcare import name_options
from heartcare.training.calibration import fit_calibration, fit_thresholds
from heartcare.training.findings import LABELS
from heartcare.understanding_heartcare import Asked

WORDINGS = {"NORM": "a normal ECG", "AFIB": "atrial fibrillation", "CRBBB": "complete right bundle branch block"}
WORDINGS |= {"1AVB": "first degree AV block", "SR": "sinus rhythm"}


@pytest.fixture
def tiny_processor(tiny_folder) -> HeartcareProcessor:
    return HeartcareProcessor.from_pretrained(tiny_folder)


@pytest.fixture
def with_head(tiny) -> HeartcareForConditionalGeneration:
    """Makes the tiny model with a head of random weights that says something about each record."""
    torch.manual_seed(0)
    tiny.add_findings_head(WORDINGS)
    for parameter in tiny.findings_head.parameters():
        torch.nn.init.normal_(parameter, std=0.12)
    tiny.findings_head.thresholds.copy_(torch.linspace(0.9, 0.01, len(COVERAGES)))
    return tiny.eval()


@pytest.fixture
def pipe(with_head, tiny_processor) -> ECGInterpretationPipeline:
    return ECGInterpretationPipeline(model=with_head, processor=tiny_processor, device="cpu")


@pytest.fixture
def ecgs() -> list[dict]:
    made = [simulate_ecg(rhythm, "NORM", seed=seed) for seed, rhythm in enumerate(("SR", "AFIB", "STACH"))]
    return [{"signal": each.signal, "sampling_rate": each.sampling_rate, "units": "mV"} for each in made]


def test_numbers_keep_their_place():
    empty, nothing = as_plain(Measurements()), (np.zeros((12, 1000)), np.zeros((12, 1000), bool), 100)
    assert np.isnan(numbers_of(empty, *nothing)).all()
    assert len(numbers_of(empty, *nothing)) == len(NUMBERS) == len(set(NUMBERS))
    measured = Measurements(heart_rate=60.0, pr=160.0, qrs_axis=-90.0, st={"V2": 0.1}, r={"I": 1.0}, p_share=0.5)
    found = dict(zip(NUMBERS, numbers_of(as_plain(measured), *nothing)))
    known = {name: float(value) for name, value in found.items() if not math.isnan(value)}
    assert known == pytest.approx(
        {"heart_rate": 60, "pr": 160, "qrs_axis:cos": 0, "qrs_axis:sin": -1, "p_share": 0.5, "st:V2": 0.1, "r:I": 1}
        | {"early": 0, "wide": 0},
        abs=1e-6,
    )


def test_disturbances_are_told_by_lead_and_time():
    rng = np.random.default_rng(0)
    quiet, whole = rng.normal(0, 0.005, (12, 1000)), np.ones((12, 1000), bool)

    def told(signal, mask=whole):
        return dict(zip(NUMBERS[-12:], disturbances(signal, mask, 100)))

    plain, noisy, burst, drifting = told(quiet), quiet.copy(), quiet.copy(), quiet.copy()
    noisy[7] *= 10
    assert told(noisy)["noise:largest"] - plain["noise:largest"] == pytest.approx(math.log(10), abs=0.4)
    assert told(noisy)["noise:largest of the limb leads"] == plain["noise:largest of the limb leads"]
    assert told(noisy)["noise:median"] == pytest.approx(plain["noise:median"], abs=0.1)
    burst[3, 400:480] *= 20
    assert told(burst)["burst:largest of the limb leads"] - plain["burst:largest of the limb leads"] > 2
    drifting[1] += np.linspace(0, 1, 1000)
    assert told(drifting)["drift:largest"] == pytest.approx(math.log(0.8), abs=0.1)
    chest = whole.copy()
    chest[:6] = False
    assert {name for name, value in told(quiet, chest).items() if math.isnan(value)} == {
        f"{name}:largest of the limb leads" for name in ("noise", "burst", "drift")
    }
    assert np.isnan(disturbances(quiet[:, :20], whole[:, :20], 100)).all()
    assert not np.isinf(disturbances(np.zeros((12, 1000)), whole, 100)).any()


def test_codes_signals_batches_and_files_give_the_same(with_head, tiny_processor, ecgs, tmp_path):
    processor = tiny_processor.feature_extractor
    inputs = processor(ecgs, return_tensors="pt", return_measurements=True)
    measured = zip(inputs.pop("ecg_measurements"), inputs["input_values"].numpy(), inputs["lead_mask"].numpy())
    numbers = torch.from_numpy(np.stack([numbers_of(*each, 100) for each in measured]))
    found = with_head.find(numbers, **inputs)
    assert found.logits.shape == (3, len(WORDINGS)) and (found.logits.std(0) > 0).all()
    assert_close(found.probabilities, found.logits.sigmoid())
    tokens = with_head.beat.encode(**inputs)
    assert_close(with_head.find(numbers, ecg_codes=tokens.codes, ecg_gain=tokens.gain).logits, found.logits)
    for row, ecg in enumerate(ecgs):
        alone = with_head.find(numbers[row : row + 1], **processor(ecg, return_tensors="pt"))
        assert_close(alone.logits[0], found.logits[row], atol=1e-4, rtol=1e-4)
    without_numbers = with_head.find(**inputs)
    assert_close(without_numbers.logits, with_head.find(torch.full_like(numbers, math.nan), **inputs).logits)
    assert (without_numbers.logits - found.logits).abs().max() > 1e-3
    with_head.save_pretrained(tmp_path)
    again = HeartcareForConditionalGeneration.from_pretrained(tmp_path)
    assert list(again.config.wordings.items()) == list(WORDINGS.items())
    assert torch.equal(again.find(numbers, **inputs).logits, found.logits)
    assert not any(parameter.requires_grad for parameter in again.findings_head.parameters())


def test_a_model_without_the_head_says_so(tiny, tiny_processor, ecgs):
    inputs = tiny_processor.feature_extractor(ecgs[0], return_tensors="pt")
    with pytest.raises(ValueError, match="no head for findings"):
        tiny.find(**inputs)
    pipe = ECGInterpretationPipeline(model=tiny, processor=tiny_processor, device="cpu")
    assert "findings" not in pipe(ecgs[0], max_new_tokens=2)
    for wrong in ({"coverage": 0.9}, {"explain": True}):
        with pytest.raises(ValueError, match="this one has none"):
            pipe(ecgs[0], **wrong)


def test_replies_agree_with_each_other(pipe, ecgs):
    """Findings, yes/no answers and options are of one opinion, alone and in a batch."""
    for ecg in ecgs:
        reply = pipe(ecg, question="Is this AF?")
        share = reply["findings"][0]["atrial fibrillation"]
        assert reply["probabilities"]["Yes"] == pytest.approx(share, abs=1e-4)
        assert reply["text"] == ("Yes." if share >= 0.5 else "No.") and reply["tokens"]["answer"] == 0
        assert list(reply["findings"][0]) == sorted(
            reply["findings"][0], key=lambda words: -reply["findings"][0][words]
        )
        assert set(reply["findings"][0]) == set(WORDINGS.values())
        closed = pipe(ecg, question="Is this AF?", options=["No", "Yes"])
        assert closed["probabilities"] == pytest.approx(reply["probabilities"]) and closed["text"] in ("No", "Yes")
        options = ["sinus rhythm", "atrial fibrillation"]
        chosen = pipe(ecg, question="What is the rhythm?", options=options)
        odds = [reply["findings"][0][words] / (1 - reply["findings"][0][words]) for words in options]
        assert chosen["probabilities"]["sinus rhythm"] == pytest.approx(odds[0] / sum(odds), abs=2e-3)
        json.dumps(chosen)
    questions = ["Is this AF?", "What is the PR interval?", "Write a report of this ECG."]
    mixed = [ecg | {"question": question} for ecg, question in zip(ecgs, questions)]
    together = pipe(mixed, batch_size=3, max_new_tokens=4)
    for one, whole in zip([pipe(each, max_new_tokens=4) for each in mixed], together):
        assert one["text"] == whole["text"]
        assert one["findings"][0] == pytest.approx(whole["findings"][0], abs=2e-3)


def test_numbers_are_answered_in_every_way_in(pipe, ecgs):
    ecg = ecgs[0]
    measured = pipe(ecg, max_new_tokens=1)["measurements"][0]
    want = f"The QRS duration is {round(measured['qrs'])} ms."
    assert pipe(ecg, question="How wide is the QRS?")["text"] == want
    assert list(pipe.stream(ecg, question="QRS?")) == [want]
    chat = [{"role": "user", "content": [{"type": "ecg", **ecg}, {"type": "text", "text": "qrs duration please"}]}]
    assert pipe(chat)["text"] == want
    later = [*chat, {"role": "assistant", "content": want}, {"role": "user", "content": "And the axis?"}]
    assert pipe(later)["text"].startswith(f"The QRS axis is {round(measured['qrs_axis'])} degrees")
    assert pipe(ecg, question="QRS?", num_return_sequences=2, do_sample=True)["text"] == [want] * 2
    two = pipe({"ecgs": ecgs[:2]}, question="QRS?", max_new_tokens=3)
    assert two["text"] != want and len(two["findings"]) == 2 and "checks" not in two


@pytest.mark.parametrize("kind", ["white noise", "no signal", "sine"])
def test_nothing_is_said_of_what_is_no_ecg(pipe, ecgs, kind):
    rng, time = np.random.default_rng(0), np.arange(5000) / 500
    noise = {
        "white noise": rng.normal(0, 0.2, (12, 5000)),
        "sine": np.sin(2 * np.pi * 1.2 * time) * np.ones((12, 1)),
        "no signal": rng.normal(0, 1e-5, (12, 5000)),
    }[kind]
    given = {"signal": noise, "sampling_rate": 500, "units": "mV"}
    for options in ({}, {"question": "Is this AF?"}, {"question": "HR?"}, {"question": "?", "options": ["a", "b"]}):
        reply = pipe(given, explain=True, **options)
        assert (
            reply["text"].startswith("This recording is no ECG, so nothing is said of it: ") and kind in reply["text"]
        )
        assert not {"findings", "probabilities", "checks", "explanations"} & set(reply)
        assert set(reply["quality"][0]["not_an_ecg"]) == set(LEADS) and json.dumps(reply)
        (measured,) = reply["measurements"]
        assert measured["qrs"] is None and set(measured["reasons"].values()) == {"the recording is no ECG"}
    assert list(pipe.stream(given)) == [pipe(given)["text"]]
    two = pipe({"ecgs": [ecgs[0], given]}, question="What is different in the second ECG?")
    assert two["text"].startswith("Recording 2 is no ECG") and "findings" not in two
    good, bad = pipe([ecgs[0], given], batch_size=2, max_new_tokens=3)
    assert good["findings"] and good["quality"][0]["not_an_ecg"] == {} and bad["text"] == pipe(given)["text"]


def test_what_cannot_be_judged_is_not_called_no_ecg(pipe, ecgs):
    slow = {"signal": ecgs[0]["signal"][:, ::20], "sampling_rate": ecgs[0]["sampling_rate"] / 20, "units": "mV"}
    text = pipe(slow)["text"]
    assert text.startswith("Whether this recording is an ECG cannot be told, so nothing is said of it: too low")


PAGES = {
    "letter": "This picture shows no ECG traces, so nothing is said of it.",
    "blank": "This picture is blank, so nothing is said of it.",
    "turned": "This picture is turned by 90 degrees clockwise, so nothing is said of it; "
    "turn it upright and ask again.",
}


@pytest.mark.parametrize("kind", PAGES)
def test_nothing_is_said_of_pictures_without_an_upright_ecg(pipe, ecgs, kind, tmp_path):
    page = draw_ecg(ecgs[0]["signal"], ecgs[0]["sampling_rate"], "3x4+R", size=(1650, 1275))
    refused = {
        "letter": Image.new("RGB", page.size, "white"),
        "blank": Image.new("RGB", page.size, (250, 215, 215)),
        "turned": page.transpose(Image.Transpose.ROTATE_270),
    }[kind]
    if kind == "letter":
        text = "\n".join(["Dear colleague, we saw this patient on Monday."] * 20)
        ImageDraw.Draw(refused).text((110, 110), text, fill="black", font=load_font(28))
    refused.save(tmp_path / "page.png")
    stated = {"digitize": kind != "turned"}  # a turned page that is digitised is turned back, and answered
    for given in (refused, tmp_path / "page.png", (tmp_path / "page.png").read_bytes()):
        for options in ({}, {"question": "Is this AF?"}, {"question": "?", "options": ["a", "b"]}, {"layout": "3x4"}):
            reply = pipe(given, **options, **stated)
            assert reply["text"] == PAGES[kind] and not {"findings", "probabilities", "checks"} & set(reply)
    assert list(pipe.stream(refused, **stated)) == [PAGES[kind]]
    question = {"question": "What is different in the second ECG?"}
    two = pipe({"ecgs": [page, refused]} | question, **stated)
    assert two["text"].startswith("Picture 2 ") and two["provenance"]["pictures"] == 2
    assert pipe({"ecgs": [ecgs[0], refused]} | question, **stated)["text"] == PAGES[kind]
    alone = [pipe(each, max_new_tokens=3, **stated) for each in (page, refused)]
    for replies in pipe([page, refused], batch_size=2, max_new_tokens=3, **stated), alone:
        assert "nothing is said" not in replies[0]["text"] and replies[1]["text"] == PAGES[kind]


def test_sets_hold_what_they_are_asked_to(pipe, ecgs):
    reply = pipe(ecgs[0], question="QRS?", coverage=0.9)
    least = pipe.model.findings_head.threshold(0.9)
    assert reply["statements"] == [[words for words, share in reply["findings"][0].items() if share >= least]]
    assert len(pipe(ecgs[0], question="QRS?", coverage=0.99)["statements"][0]) >= len(reply["statements"][0])
    for wrong in (0.4, 1.0, 0.905, -1):
        with pytest.raises(ValueError, match="coverage must be"):
            pipe(ecgs[0], coverage=wrong)


def test_options_that_are_statements():
    logits = {"NORM": 0.0, "AFIB": 2.0, "CRBBB": -3.0, "1AVB": 1.0, "SR": -2.0}
    facts = Facts({"pr": None, "reasons": {"pr": "no P wave recurs"}}, Opinion(logits, WORDINGS), logits)

    def chosen(question, *options, asked=None):
        return choose(question, options, asked, [facts])

    assert answer(Asked("number", quantities=("pr",)), [facts]).text == (
        "The PR interval cannot be measured: no P wave recurs."
    )
    asked = Asked("is", ("AFIB",))
    assert answer(asked, [facts]).text == "Yes."
    assert answer(asked, [facts]).probabilities["Yes"] == pytest.approx(0.8808, abs=1e-4)
    assert chosen("Is this AF?", "yes", "no", asked=asked).text == "yes"
    assert chosen("Which rhythm is it?", "sinus rhythm", "atrial fibrillation").text == "atrial fibrillation"
    assert chosen("Which rhythm is it?", "NSR", "afib").text == "afib"
    for question, options in (
        ("Which rhythm is not there?", ("sinus rhythm", "atrial fibrillation")),
        ("Which rhythm can be ruled out?", ("sinus rhythm", "atrial fibrillation")),
        ("Which is less likely?", ("sinus rhythm", "atrial fibrillation")),
        ("Which is it?", ("sinus rhythm", "ventricular fibrillation")),
        ("Which is it?", ("afib", "atrial fibrillation")),
        ("Is this AF?", ("Yes", "No", "Maybe")),
        ("What is the PR interval?", ("120 ms", "200 ms")),
    ):
        assert chosen(question, *options) is None
    doubted = Facts({}, Opinion(logits | {"AFIB": 0.1, "SR": 0.2}, WORDINGS), logits | {"SR": 3.0})
    assert choose("Which?", ("sinus rhythm", "atrial fibrillation"), None, [doubted]).text == "sinus rhythm"
    assert sum(shares_of([1.0, -2.0, 0.3])) == pytest.approx(1)


def test_an_axis_is_not_told_from_one_lead(tiny, tiny_processor, ecgs):
    tiny.add_findings_head({"axis:MID": "a normal axis", "axis:LAD": "left axis deviation", "SR": "sinus rhythm"})
    pipe = ECGInterpretationPipeline(model=tiny.eval(), processor=tiny_processor, device="cpu")
    options = ["a normal axis", "left axis deviation"]
    alone = ecgs[0] | {"signal": ecgs[0]["signal"][1:2], "lead_names": ["II"]}
    for question in ({"question": "Axis?"}, {"question": "Which axis does the heart have?", "options": options}):
        reply = pipe(alone, **question)
        assert "cannot be told" in reply["text"] and "probabilities" not in reply
        assert set(reply["findings"][0]) == {"sinus rhythm"}
        told = pipe(ecgs[0], **question)
        assert "cannot" not in told["text"] and set(told["findings"][0]) == {*options, "sinus rhythm"}


def test_calibration_mends_what_is_wrong():
    torch.manual_seed(0)
    logits = torch.randn(4000, 3) * 2 - 1
    labels = torch.stack(
        [torch.bernoulli(torch.sigmoid(logits[:, 0])), torch.bernoulli(torch.sigmoid(0.5 * logits[:, 1] + 1))]
        + [torch.full((4000,), math.nan)],
        dim=1,
    )
    slope, intercept = fit_calibration(logits, labels)
    assert_close(slope, torch.tensor([1.0, 0.5, 1.0]), atol=0.12, rtol=0)
    assert_close(intercept, torch.tensor([0.0, 1.0, 0.0]), atol=0.15, rtol=0)
    rare = torch.zeros(200, 1)
    rare[0] = 1
    slope, intercept = fit_calibration(torch.randn(200, 1) - 5, rare)
    assert 0.5 < slope < 2  # one record does not turn a label round


def test_thresholds_cover_new_records():
    rng = np.random.default_rng(0)

    def records(n: int) -> tuple[np.ndarray, np.ndarray]:
        logits = rng.normal(-2, 2, (n, 20))
        return 1 / (1 + np.exp(-logits)), rng.random((n, 20)) < 1 / (1 + np.exp(-logits))

    thresholds = fit_thresholds(*records(2000), COVERAGES)
    assert (np.diff(thresholds) <= 0).all()
    probabilities, labels = records(20_000)
    some = labels.any(1)
    for coverage, threshold in zip(COVERAGES[::10], thresholds[::10]):
        held = ((probabilities >= threshold) & labels).sum(1)[some] / labels.sum(1)[some]
        assert held.mean() == pytest.approx(coverage, abs=0.015)


def test_parts_are_taken_out_and_nothing_else():
    ecg = simulate_ecg("SR", "PVC", seed=1)
    given = {"signal": ecg.signal, "sampling_rate": ecg.sampling_rate, "units": "mV"}
    signal, mask, *_ = BeatFeatureExtractor().prepare(given)
    parts = parts_of(delineate(signal, 100), signal.shape[1], 100, LEADS)
    kinds = [part.kind for part in parts]
    assert kinds.count("lead") == 12 and kinds.count("wave") == 4 and kinds.count("beat") > 8
    for part in parts:
        left, shown = without(part, signal, mask)
        changed = (left != signal).any(axis=0)
        if part.kind == "lead":
            assert not shown[LEADS.index(part.name)].any() and shown.sum() == 11 * signal.shape[1]
            continue
        inside = np.zeros(signal.shape[1], bool)
        for start, stop in part.spans:
            inside[start:stop] = True
        assert shown.all() and changed.any() and not changed[~inside].any()
    (qrs,) = (part for part in parts if part.name == "QRS")
    assert np.ptp(without(qrs, signal, mask)[0], axis=1).max() < 0.8 * np.ptp(signal, axis=1).max()


def test_an_explanation_finds_what_the_head_reads(with_head, tiny_processor, ecgs, pipe):
    """A head that reads one number alone rests on the lead and the wave of that number."""
    head: FindingsHead = with_head.findings_head
    for parameter in head.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        head.numbers[0].weight[0, NUMBERS.index("r:V5")] = 1.0
        head.weight.weight[1, 0] = 3.0
    prepared = tiny_processor.feature_extractor.prepare(ecgs[0])
    (found,) = explain_findings(with_head, prepared.signal, prepared.lead_mask, ["AFIB"])
    assert next(iter(found.effects["lead"])) == "V5" and next(iter(found.effects["wave"])) == "QRS"
    assert {lead for lead, _, _ in found.intervals} <= {"V5"}
    with pytest.raises(KeyError, match="XYZ"):
        explain_findings(with_head, prepared.signal, prepared.lead_mask, ["XYZ"])
    given = np.zeros(len(NUMBERS), np.float32)
    given[NUMBERS.index("r:V5")] = 30.0
    (of_given,) = explain_findings(with_head, prepared.signal, prepared.lead_mask, ["AFIB"], baseline=given)
    inputs = {"input_values": prepared.signal[None], "lead_mask": prepared.lead_mask[None]}
    inputs = {name: torch.from_numpy(values) for name, values in inputs.items()}
    logits = with_head.find(torch.from_numpy(given)[None], **inputs).logits[0]
    assert of_given.probability == pytest.approx(float(logits[1].sigmoid()), abs=1e-6)
    assert of_given.probability != pytest.approx(found.probability, abs=1e-3)
    for kind, effects in found.effects.items():
        assert of_given.effects[kind] == pytest.approx(effects, abs=1e-5)
    reply = pipe(ecgs[0], question="Is this AF?", explain=True)
    (plain,) = reply["explanations"]
    assert plain["finding"] == "atrial fibrillation" and plain["leads"][0]["lead"] == "V5" and json.dumps(reply)
    assert plain["probability"] == pytest.approx(reply["findings"][0]["atrial fibrillation"], abs=0.05)


def test_labels_have_one_wording_each():
    assert len(LABELS) > 95
    words = list(LABELS.values())
    assert {each for each in words if words.count(each) > 1} == {"a normal ECG"}  # superclass and statement


READ = {
    "And now?": Asked("which", topic="rhythm"),
    "Sure?": Asked("sure"),
    "But why?": Asked("why"),
    "Changed?": Asked("compare"),
    "All of it": Asked("report"),
    "Warfarin?": Asked("cannot", reason="treatment"),
    "Mumble": Asked("report", certainty=0.1),
    "Go on": Asked("predict"),
}


@pytest.fixture
def understanding(pipe, monkeypatch) -> ECGInterpretationPipeline:
    """Makes the pipeline with a reader that knows what these questions ask for."""
    pipe.model.add_question_reader(list(WORDINGS))
    monkeypatch.setattr(pipe.model.question_reader, "read", lambda questions: [READ[each] for each in questions])
    return pipe


def turn(role: str, *content) -> dict:
    parts = [{"type": "text", "text": part} if isinstance(part, str) else {"type": "ecg", **part} for part in content]
    return {"role": role, "content": parts}


def test_a_turn_is_answered_as_it_is_alone(understanding, ecgs):
    pipe = understanding
    alone = {text: pipe(ecgs[1], question=text)["text"] for text in ("And now?", "All of it", "Is this AF?", "HR?")}
    history = [turn("user", ecgs[0], "All of it"), turn("assistant", "Sinus rhythm."), turn("user", ecgs[1], "HR?")]
    for text, answered in alone.items():
        chat = [*history, turn("assistant", alone["HR?"]), turn("user", text)]
        reply = pipe(chat)
        assert reply["text"] == answered and len(reply["findings"]) == 2 and reply["tokens"]["answer"] == 0
    assert [check["quantity"] for check in pipe(chat[:-1] + [turn("user", "All of it")])["checks"]] == [
        check["quantity"] for check in pipe(ecgs[1], question="All of it")["checks"]
    ]


def test_later_turns_are_about_what_was_asked_before(understanding, ecgs):
    pipe = understanding
    first = [turn("user", ecgs[0], "Is this AF?"), turn("assistant", "No.")]
    share = pipe(ecgs[0], question="Is this AF?")["findings"][0]["atrial fibrillation"]
    sure = pipe([*first, turn("user", "Sure?")])
    assert sure["text"] == f"Atrial fibrillation {100 * share:.0f} %."
    why = pipe([*first, turn("assistant", sure["text"]), turn("user", "But why?")][:2] + [turn("user", "But why?")])
    assert [each["finding"] for each in why["explanations"]] == ["atrial fibrillation"]
    assert why["text"].startswith("Atrial fibrillation ")
    changed = pipe([*first, turn("user", ecgs[2], "Changed?")])
    assert changed["text"] != ONE_ECG and "Heart rate" in changed["text"]
    assert pipe([*first, turn("user", "Changed?")])["text"] == ONE_ECG


def test_what_cannot_be_answered_is_said(understanding, ecgs):
    pipe = understanding
    for given in (ecgs[0], [turn("user", "Warfarin?")], draw_ecg(ecgs[0]["signal"], 500, "3x4")):
        question = {} if isinstance(given, list) else {"question": "Warfarin?"}
        reply = pipe(given, **question)
        assert reply["text"] == CANNOT["treatment"] and reply["tokens"]["answer"] == 0
    assert pipe(ecgs[0], question="Mumble")["text"] == NOT_UNDERSTOOD
    assert pipe(ecgs[0], question="Warfarin?", options=["sinus rhythm", "bigeminy"])["text"] == CANNOT["treatment"]
    ahead = pipe(ecgs[0], question="Go on")
    assert len(ahead["forecast"]) == 12 and {len(lead) for lead in ahead["forecast"]} == {200} and json.dumps(ahead)
    assert list(pipe.stream(ecgs[0], question="All of it")) == [pipe(ecgs[0], question="All of it")["text"]]
    several = pipe([ecgs[0] | {"question": text} for text in READ], batch_size=3, max_new_tokens=2)
    singly = [pipe(ecgs[0], question=text, max_new_tokens=2) for text in READ]
    assert [each["text"] for each in several] == [each["text"] for each in singly]


def test_options_are_added_to_questions_that_do_not_name_them():
    assert name_options("AF?", ["Yes", "No"]) == "AF: Yes, No?"
    assert name_options("Is it abnormal?", ["normal", "abnormal"]) == "Is it abnormal: normal, abnormal?"
    assert name_options("Is it sinus rhythm, or AF?", ["sinus rhythm", "AF"]) == "Is it sinus rhythm, or AF?"
    assert name_options("Is it normal?", None) == "Is it normal?"
