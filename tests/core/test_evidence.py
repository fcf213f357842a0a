"""Tokens of evidence, which tell the language model the findings and measurements, and the head for pictures."""

import math
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from heartcare import ECGInterpretationPipeline, HeartcareConfig, HeartcareForConditionalGeneration, HeartcareProcessor
from heartcare.agent.render import draw_ecg
from heartcare.agent.simulate import simulate_ecg
from heartcare.answering_heartcare import ONE_ECG
from heartcare.findings_heartcare import COVERAGES, NUMBERS
from heartcare.heads_heartcare import ECG_INPUTS
from heartcare.understanding_heartcare import Asked

WORDINGS = {"NORM": "a normal ECG", "AFIB": "atrial fibrillation", "CLBBB": "complete left bundle branch block"}
WORDINGS |= {"SR": "sinus rhythm", "STACH": "sinus tachycardia", "axis:MID": "a normal axis"}
TOKENS = 3


@pytest.fixture
def processor(tiny_folder) -> HeartcareProcessor:
    made = HeartcareProcessor.from_pretrained(tiny_folder)
    made.evidence_tokens = TOKENS
    return made


@pytest.fixture
def model(tiny) -> HeartcareForConditionalGeneration:
    """Makes the tiny model with both heads, which say something about each record, and with tokens of evidence."""
    torch.manual_seed(0)
    tiny.add_findings_head(WORDINGS)
    tiny.add_picture_head(16)
    tiny.add_evidence(TOKENS)
    for head in (tiny.findings_head, tiny.picture_head):
        for parameter in head.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        head.thresholds.copy_(torch.linspace(0.9, 0.01, len(COVERAGES)))
    return tiny.eval()


@pytest.fixture
def ecgs() -> list[dict]:
    made = [simulate_ecg(rhythm, "NORM", seed=seed) for seed, rhythm in enumerate(("SR", "AFIB"))]
    return [{"signal": each.signal, "sampling_rate": each.sampling_rate, "units": "mV"} for each in made]


@pytest.fixture
def page(ecgs):
    return draw_ecg(ecgs[0]["signal"], 500)


def prompt_of(processor, ecgs, **kwargs):
    content = [*({"type": "ecg", **ecg} for ecg in ecgs), {"type": "text", "text": "What is the rhythm?"}]
    options = {"tokenize": True, "return_dict": True, "return_tensors": "pt", "add_generation_prompt": True}
    return processor.apply_chat_template([{"role": "user", "content": content}], **options, **kwargs)


def test_the_prompt_has_places_for_evidence_and_the_processor_gives_the_numbers(model, processor, ecgs):
    inputs = prompt_of(processor, ecgs)
    assert inputs["ecg_numbers"].shape == (2, len(NUMBERS)) and inputs["ecg_numbers"].dtype == torch.float32
    rate = NUMBERS.index("heart_rate")
    assert (inputs["ecg_numbers"][:, rate] > 30).all()
    latents = processor.feature_extractor.num_latents(1000)
    assert (inputs["input_ids"] == model.config.ecg_token_id).sum() == 2 * (latents + TOKENS)
    features = model.get_ecg_features(**{name: inputs[name] for name in ECG_INPUTS if name in inputs})
    assert [len(each) for each in features.pooler_output] == [latents + TOKENS] * 2
    # The evidence stands behind the latents, and these do not depend on it.
    without = model.get_ecg_features(input_values=inputs["input_values"], lead_mask=inputs["lead_mask"])
    for one, other in zip(features.pooler_output, without.pooler_output):
        assert_close(one[:latents], other[:latents])
        assert not torch.allclose(one[latents:], other[latents:])


def test_numbers_reach_the_answer_and_codes_give_the_same(model, processor, ecgs, tmp_path):
    inputs = prompt_of(processor, ecgs)
    logits = model(**inputs).logits
    others = inputs | {"ecg_numbers": torch.full_like(inputs["ecg_numbers"], math.nan)}
    assert (model(**others).logits - logits).abs().max() > 1e-3
    assert_close(model(**{k: v for k, v in inputs.items() if k != "ecg_numbers"}).logits, model(**others).logits)
    signal = {name: inputs[name] for name in ("input_values", "ecg_attention_mask", "lead_mask")}
    tokens = model.beat.encode(**signal)
    codes = {name: value for name, value in inputs.items() if name not in signal}
    assert_close(model(**codes, ecg_codes=tokens.codes, ecg_gain=tokens.gain).logits, logits)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again = HeartcareForConditionalGeneration.from_pretrained(tmp_path).eval()
    assert_close(again(**prompt_of(HeartcareProcessor.from_pretrained(tmp_path), ecgs)).logits, logits)
    trained = {name.split(".")[0] for name, parameter in again.named_parameters() if parameter.requires_grad}
    assert trained == {"vision_tower", "signal_projector", "image_projector", "evidence_projector", "language_model"}
    with pytest.raises(ValueError, match=rf"ecg_numbers must have shape \(2, {len(NUMBERS)}\)"):
        model(**inputs | {"ecg_numbers": inputs["ecg_numbers"][:1]})


def test_evidence_learns_and_the_heads_stay_as_they_are(model, processor, ecgs):
    """The dropout of the heads is off, too: the evidence about an ECG is the same while the language model learns."""
    inputs = prompt_of(processor, ecgs)
    model.train()
    assert not model.findings_head.training and not model.picture_head.training and model.language_model.training
    ecg = {name: inputs[name] for name in ECG_INPUTS if name in inputs}
    first, second = (model.get_ecg_features(**ecg).pooler_output[0] for _ in range(2))
    assert torch.equal(first, second)
    model(**inputs, labels=inputs["input_ids"]).loss.backward()
    assert all(parameter.grad is not None for parameter in model.evidence_projector.parameters())
    assert all(parameter.grad is None for parameter in model.findings_head.parameters())


def test_each_head_has_its_own_thresholds(model, processor, page, ecgs):
    model.findings_head.thresholds.fill_(2.0)
    model.picture_head.thresholds.fill_(0.0)
    pipe = ECGInterpretationPipeline(model=model, processor=processor, device="cpu")
    reply = pipe({"ecgs": [ecgs[0], page]}, question="What is the rhythm?", coverage=0.9, digitize=False)
    assert reply["statements"][0] == [] and set(reply["statements"][1]) == set(WORDINGS.values())


def test_heads_go_where_their_statements_and_their_beat_are(model, tiny_folder):
    other = HeartcareForConditionalGeneration.from_pretrained(tiny_folder)
    other.take_heads(model)
    for name in ("findings_head", "picture_head"):
        pairs = zip(getattr(other, name).state_dict().values(), getattr(model, name).state_dict().values(), strict=True)
        assert all(torch.equal(one, same) for one, same in pairs)
    assert other.config.evidence_tokens == TOKENS and other.config.picture_hidden_size == 16
    model.add_findings_head(WORDINGS)
    assert model.config.picture_hidden_size == 16 and model.config.evidence_tokens == TOKENS
    model.add_findings_head({"SR": "sinus rhythm"})
    assert model.config.picture_hidden_size == model.config.evidence_tokens == 0 and not hasattr(model, "picture_head")
    with torch.no_grad():
        model.beat.quantizer.levels[0].codebook.add_(1.0)
    with pytest.raises(ValueError, match="another Beat"):
        other.take_heads(model)


def test_a_picture_without_its_head_is_not_compared(model, processor, page, ecgs):
    """A picture without its head has no findings, so that nothing may be called new."""
    model.config.picture_hidden_size = 0
    pipe = ECGInterpretationPipeline(model=model, processor=processor, device="cpu")
    model.config.asked = None
    pipe.understand = lambda question, options=None: Asked("compare")
    two = pipe({"ecgs": [page, ecgs[0]]}, question="What has changed?", max_new_tokens=2, digitize=False)
    assert two["tokens"]["answer"] > 0
    chat = [
        {"role": "user", "content": [{"type": "image", "image": page}, {"type": "text", "text": "Is it normal?"}]},
        {"role": "assistant", "content": "No."},
        {"role": "user", "content": [{"type": "ecg", **ecgs[0]}, {"type": "text", "text": "What has changed?"}]},
    ]
    assert pipe(chat, digitize=False)["text"] == ONE_ECG


def test_evidence_needs_findings(tiny):
    with pytest.raises(ValueError, match="add and train one first"):
        tiny.add_evidence(2)
    with pytest.raises(ValueError, match="add one first"):
        tiny.add_picture_head()
    for name in ("evidence_tokens", "picture_hidden_size"):
        with pytest.raises(ValueError, match=f"{name} 4 needs findings"):
            HeartcareConfig(**{name: 4})


def test_pictures_have_findings_and_answers_as_signals_have(model, processor, page, ecgs):
    """Pictures have findings and answers, also where they are not digitised."""
    pipe = partial(ECGInterpretationPipeline(model=model, processor=processor, device="cpu"), digitize=False)
    reply = pipe(page, question="Which rhythm is it?", options=["sinus rhythm", "atrial fibrillation"])
    (found,) = reply["findings"]
    assert set(found) == set(WORDINGS.values()) and reply["measurements"] == []
    likelier = max(("sinus rhythm", "atrial fibrillation"), key=found.__getitem__)
    assert reply["text"] == likelier and reply["tokens"]["answer"] == 0
    yes = pipe(page, question="Is there atrial fibrillation?")
    assert yes["text"] == ("Yes." if found["atrial fibrillation"] >= 0.5 else "No.")
    assert yes["probabilities"]["Yes"] == pytest.approx(found["atrial fibrillation"], abs=1e-4)
    assert "the picture was not digitised" in pipe(page, question="What is the heart rate?")["text"]
    alone = pipe(ecgs[0], question="Is there atrial fibrillation?")
    both = pipe({"ecgs": [page, ecgs[0]]}, question="Is there atrial fibrillation?")
    assert both["text"] == f"ECG 1: {yes['text']} ECG 2: {alone['text']}"
    assert both["findings"] == [pytest.approx(found, abs=1e-3), pytest.approx(alone["findings"][0], abs=1e-3)]
    pixels = processor.image_processor(page, return_tensors="pt")["pixel_values"]
    slots = model.get_image_slots(pixels)
    assert_close(model.find_in_pictures(image_slots=slots).logits, model.find_in_pictures(pixels).logits)
    shifted = model.find_in_pictures(image_slots=slots.roll(4, dims=1))
    assert not torch.allclose(shifted.logits, model.find_in_pictures(pixels).logits)


def test_a_model_without_a_head_for_pictures_says_so(tiny, processor, page):
    with pytest.raises(ValueError, match=r"picture_findings"):
        tiny.find_in_pictures(processor.image_processor(page, return_tensors="pt")["pixel_values"])
