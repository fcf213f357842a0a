"""Training around the language model: evidence, the head for pictures, and a model of another shape."""

import numpy as np
import pytest
import torch
from support.commands import run_main

from heartcare import HeartcareForConditionalGeneration, HeartcareProcessor
from heartcare.findings_heartcare import NUMBERS
from heartcare.training.findings import LABELS
from heartcare.training.items import ECGQuestions
from heartcare.training.packing import QuestionPacker
from heartcare.training.recipe import StageRecipe
from heartcare.training.recordings import TrainingItem
from heartcare.training.reshape import embeddings_of, narrow


@pytest.fixture
def with_heads(tiny, tiny_processor, tmp_path):
    """Saves a folder with the tiny model and a head for findings."""
    tiny.add_findings_head(LABELS)
    tiny.save_pretrained(tmp_path / "heads")
    tiny_processor.save_pretrained(tmp_path / "heads")
    return tmp_path / "heads"


def test_a_batch_is_what_the_processor_gives_with_evidence(data, tiny_processor):
    """Prompt, numbers and labels of a packed item are those of the processor's chat template."""
    tiny_processor.evidence_tokens, tiny_processor.write_measurements = 3, False
    data.measure_signals(100)
    record, signal = 1, data.signal(1)
    tokens = data.tokens(record, 0)._replace(numbers=data.numbers[record], line=data.lines[record])
    question = next(group for group in data.groups if group.records == (record,)).questions[0]
    batch = QuestionPacker(tiny_processor)([TrainingItem([question], [tokens])])
    content = [{"type": "ecg", "ecg": signal, "sampling_rate": 100, "units": "mV"}]
    chat = [
        {"role": "user", "content": [*content, {"type": "text", "text": question.question}]},
        {"role": "assistant", "content": question.answer},
    ]
    inputs = tiny_processor.apply_chat_template(chat, tokenize=True, return_dict=True, return_tensors="pt")
    assert torch.equal(batch["input_ids"][batch["attention_mask"] == 1], inputs["input_ids"][0])
    assert batch["ecg_numbers"].shape == inputs["ecg_numbers"].shape == (1, len(NUMBERS))
    same = torch.isclose(batch["ecg_numbers"], inputs["ecg_numbers"], rtol=0.02, atol=0.05, equal_nan=True)
    assert same.float().mean() > 0.9  # the signal of the cache is cleaned, and is cleaned once more here
    without = QuestionPacker(tiny_processor)([TrainingItem([question], [tokens._replace(numbers=None)])])
    assert without["ecg_numbers"].isnan().all()


def test_signals_come_with_numbers_now_and_then_with_others(data):
    data.measure_signals(100)
    stage = StageRecipe(shares={"signal": 1, "image": 0, "pair": 0}, numbers=0.8, wrong_numbers=0.25)
    dataset, counts = ECGQuestions(data, stage, 300), {"none": 0, "some": 0}
    for i in range(300):
        (tokens,) = dataset[i].recordings
        counts["none" if tokens.numbers is None else "some"] += 1
        if tokens.numbers is not None:
            row = data.lines.index(tokens.line)
            assert any(
                np.array_equal(tokens.numbers, data.numbers[k], equal_nan=True)
                for k in range(len(data))
                if data.lines[k] == data.lines[row]
            )
    assert 35 <= counts["none"] <= 90


def test_some_questions_are_learnt(tiny_processor, items):
    """The words of a question, and nothing else of its prompt, are learnt by chance, drawn anew each time."""
    plain, always = QuestionPacker(tiny_processor), QuestionPacker(tiny_processor, learn_questions=1.0)
    for item in items:
        for question in item.questions:
            one = TrainingItem([question], item.recordings)
            labels, before = always.pack(one).labels, plain.pack(one).labels
            more = [new for new, old in zip(labels, before) if new != old]
            assert tiny_processor.tokenizer.decode(more).strip() == question.question
    sometimes = QuestionPacker(tiny_processor, learn_questions=0.3, seed=1)
    learnt = [sometimes.pack(one).labels == labels for _ in range(60)]
    assert 6 <= sum(learnt) <= 32


def test_the_head_for_pictures_is_trained_and_kept(built, with_heads, cache, tmp_path):
    arguments = [
        "--data",
        built,
        "--model",
        with_heads,
        "--cache",
        cache,
        "--epochs",
        3,
        "--output",
        tmp_path / "found",
    ]
    printed = run_main("heartcare.training.picture_findings", *arguments).stdout
    assert "validation: {'super':" in printed
    before, after = (
        HeartcareForConditionalGeneration.from_pretrained(each) for each in (with_heads, tmp_path / "found")
    )
    assert after.config.picture_hidden_size == 96 and (after.picture_head.slope != 1).any()
    assert not any(parameter.requires_grad for parameter in after.picture_head.parameters())
    kept = {name: weight for name, weight in after.state_dict().items() if not name.startswith("picture_head")}
    assert all(torch.equal(weight, before.state_dict()[name]) for name, weight in kept.items())


def test_a_model_of_another_shape_keeps_what_it_can(built, with_heads, tmp_path):
    arguments = ["--model", with_heads, "--beat", with_heads, "--data", built, "--output", tmp_path / "reshaped"]
    run_main("heartcare.training.reshape", *arguments, "--vocab-size", 600, "--intermediate-size", 48)
    old, new = (HeartcareForConditionalGeneration.from_pretrained(each) for each in (with_heads, tmp_path / "reshaped"))
    processor = HeartcareProcessor.from_pretrained(tmp_path / "reshaped")
    text = new.config.text_config
    assert text.vocab_size == len(processor.tokenizer) and text.intermediate_size == 48
    assert new.config.evidence_tokens == processor.evidence_tokens == 4 and not processor.write_measurements
    for name in ("beat", "vision_tower", "image_projector", "findings_head"):
        pairs = zip(getattr(old, name).state_dict().values(), getattr(new, name).state_dict().values(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs), name
    layers = zip(old.language_model.model.layers, new.language_model.model.layers)
    assert all(torch.equal(a.self_attn.q_proj.weight, b.self_attn.q_proj.weight) for a, b in layers)
    ecg = {"signal": 0.2 * np.random.default_rng(0).normal(size=(12, 1000)), "sampling_rate": 100, "units": "mV"}
    content = [{"type": "ecg", **ecg}, {"type": "text", "text": "What is the rhythm?"}]
    options = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
    assert (
        new(**processor.apply_chat_template([{"role": "user", "content": content}], **options)).logits.isfinite().all()
    )


def test_a_new_word_is_the_mean_of_its_old_pieces(tiny_processor):
    tokenizer = tiny_processor.tokenizer
    table = torch.randn(len(tokenizer), 8)
    assert torch.equal(embeddings_of(tokenizer, tokenizer, table, len(tokenizer))[tokenizer.eos_token_id],
                       table[tokenizer.eos_token_id])  # fmt: skip
    word = tokenizer.convert_ids_to_tokens(tokenizer(" rhythm", add_special_tokens=False)["input_ids"])[0]
    place = tokenizer.convert_tokens_to_ids(word)
    pieces = tokenizer(tokenizer.convert_tokens_to_string([word]), add_special_tokens=False)["input_ids"]
    found = embeddings_of(tokenizer, tokenizer, table, len(tokenizer) + 2)
    torch.testing.assert_close(found[place], table[pieces].mean(0))
    torch.testing.assert_close(found[-1], table.mean(0))


def test_the_units_with_the_largest_weights_are_kept(tiny):
    layer = tiny.language_model.model.layers[0]
    with torch.no_grad():
        layer.mlp.gate_proj.weight[::2] *= 1e-3
    before = layer.mlp.down_proj.weight.clone()
    narrow(layer, layer.mlp.down_proj.in_features // 2)
    assert torch.equal(layer.mlp.down_proj.weight, before[:, 1::2])
    assert layer.mlp(torch.randn(2, 3, layer.mlp.gate_proj.in_features)).shape == (2, 3, before.shape[0])
