"""Exports: the language model alone, prompts for it, and quantized loading."""

import re

import numpy as np
import pytest
import torch
from onnxruntime import InferenceSession
from support.commands import run_main
from transformers import AutoModelForCausalLM, AutoTokenizer

from heartcare.examples.quantize import LEFT_ALONE, megabytes, quantized
from heartcare.version_heartcare import HEARTCARE_VERSION


def test_the_language_model_alone_gives_the_same_logits(root, model, processor, tmp_path):
    record, question = root / "examples/ecgs/right_bundle_branch_block", "What is the rhythm?"
    options = ["--ecg", record, "--question", question, "--embeds", tmp_path / "prompt.pt"]
    run_main("heartcare.examples.export_language_model", "--model", root, "--output", tmp_path / "lm", *options)
    alone = AutoModelForCausalLM.from_pretrained(tmp_path / "lm").eval()  # no code of ours
    assert type(alone).__module__.startswith("transformers.models.")
    assert alone.config.heartcare_version == HEARTCARE_VERSION
    embeds = torch.load(tmp_path / "prompt.pt", weights_only=True)
    message = {"role": "user", "content": [{"type": "ecg", "path": str(record)}, {"type": "text", "text": question}]}
    inputs = processor.apply_chat_template(
        [message], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    assert embeds.shape == (inputs["input_ids"].shape[1], model.config.text_config.hidden_size)
    with torch.no_grad():
        assert torch.equal(alone(inputs_embeds=embeds[None]).logits, model(**inputs).logits)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "lm")
    mine = alone.generate(inputs_embeds=embeds[None], max_new_tokens=16, do_sample=False)
    whole = model.generate(**inputs, max_new_tokens=16, do_sample=False)[:, inputs["input_ids"].shape[1] :]
    assert torch.equal(mine, whole) and tokenizer.decode(mine[0], skip_special_tokens=True).strip()


@pytest.mark.parametrize("kind, module, least", [("int8", "torchao", 3.0), ("nf4", "bitsandbytes", 6.0)])
def test_the_language_model_shrinks_and_the_encoders_stay(root, model, ask, ecg, kind, module, least):
    pytest.importorskip(module)
    small = quantized(str(root), kind)
    for name in LEFT_ALONE[:-1]:
        for (key, one), two in zip(
            getattr(model, name).state_dict().items(), getattr(small, name).state_dict().values()
        ):
            assert torch.equal(one, two), (name, key)
    assert megabytes(model.language_model.model.layers) > least * megabytes(small.language_model.model.layers)
    inputs = ask("What is the rhythm?", ecgs=[ecg])
    with torch.no_grad():
        one, two = (each(**inputs).logits[0, -1].softmax(-1).numpy() for each in (model, small))
    assert np.abs(one - two).max() < (0.05 if kind == "int8" else 0.3)
    text = small.generate(**inputs, max_new_tokens=12, do_sample=False)
    assert text.shape[1] > inputs["input_ids"].shape[1]


@pytest.mark.slow
@pytest.mark.parametrize("folder", [".", "beat360"])
def test_onnx_gives_the_same_codes(root, tmp_path, folder):
    done = run_main("heartcare.examples.export_onnx", "--model", root / folder, "--output", tmp_path).stdout
    assert "codes the same as PyTorch's: 100.00%" in done and float(re.search(r"at most ([\d.]+) uV", done)[1]) < 0.1
    assert {path.name for path in tmp_path.iterdir()} == {"beat_encoder.onnx", "beat_decoder.onnx"}
    written_by = [InferenceSession(path).get_modelmeta().custom_metadata_map for path in tmp_path.iterdir()]
    assert [each["heartcare_version"] for each in written_by] == [HEARTCARE_VERSION] * 2
