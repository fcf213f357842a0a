"""A checkpoint that is damaged, or made to harm, is an error at once, and never a model of random weights."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from heartcare import HeartcareForConditionalGeneration, HeartcareProcessor

MOST_SECONDS = 5  # of the processor


@pytest.fixture
def copy_of_tiny(tiny_folder, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "model"))


def refused(load: Callable[[], object]) -> str:
    """Returns the text of the error that loading raises soon."""
    started = time.process_time()
    with pytest.raises(Exception) as caught:  # noqa: B017  of transformers, safetensors and tokenizers
        load()
    assert time.process_time() - started < MOST_SECONDS and not isinstance(caught.value, MemoryError)
    return str(caught.value)


def flipped(content: bytes) -> bytes:
    return content[:20] + bytes([content[20] ^ 0x41]) + content[21:]


BYTES = {
    "truncated": (lambda content: content[: len(content) // 2], "not fully covered"),
    "empty": (lambda content: b"", "header too small"),
    "header of all memory": (lambda content: b"\xff" * 8 + content[8:], "header too large"),
    "one bit of the header": (flipped, "invalid JSON in header"),
    "another name": (lambda content: content.replace(b"layers.0", b"layers.7", 1), "missing keys"),
}


@pytest.mark.parametrize("name", BYTES)
def test_damaged_weights_are_refused(name, copy_of_tiny):
    change, message = BYTES[name]
    path = copy_of_tiny / "model.safetensors"
    path.write_bytes(change(path.read_bytes()))
    assert message in refused(lambda: HeartcareForConditionalGeneration.from_pretrained(copy_of_tiny))


@pytest.mark.parametrize("change", ["missing", "another shape", "no file"])
def test_weights_that_do_not_fit_are_refused(change, copy_of_tiny):
    path = copy_of_tiny / "model.safetensors"
    weights = load_file(path)
    name = next(name for name, tensor in weights.items() if tensor.ndim == 2)
    tensor = weights.pop(name)
    if change == "another shape":
        weights[name] = tensor[:, :-1].contiguous()
    save_file(weights, path, metadata={"format": "pt"})
    if change == "no file":
        path.unlink()
    error = refused(lambda: HeartcareForConditionalGeneration.from_pretrained(copy_of_tiny))
    assert {"missing": name, "another shape": "ignore_mismatched_sizes", "no file": "no file"}[change] in error


@pytest.mark.parametrize("value", [10**9, 10**18, 1e30])
@pytest.mark.parametrize(
    "part, name",
    [
        ("text_config", "num_hidden_layers"),
        ("text_config", "vocab_size"),
        ("text_config", "hidden_size"),
        ("vision_config", "num_hidden_layers"),
        ("beat_config", "num_encoder_layers"),
        ("beat_config", "codebook_size"),
    ],
)
def test_absurd_sizes_are_refused_before_anything_is_made(part, name, value, copy_of_tiny):
    config = json.loads((copy_of_tiny / "config.json").read_text())
    config[part][name] = value
    (copy_of_tiny / "config.json").write_text(json.dumps(config))
    assert name in refused(lambda: HeartcareForConditionalGeneration.from_pretrained(copy_of_tiny))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"model_type": "heartcare", "text_config": 5}'])
def test_a_damaged_config_is_refused(content, copy_of_tiny):
    (copy_of_tiny / "config.json").write_bytes(content)
    assert refused(lambda: HeartcareForConditionalGeneration.from_pretrained(copy_of_tiny))


@pytest.mark.parametrize("name", ["tokenizer.json", "processor_config.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[1]"])
def test_a_damaged_processor_is_refused(name, content, copy_of_tiny):
    (copy_of_tiny / name).write_bytes(content)
    assert refused(lambda: HeartcareProcessor.from_pretrained(copy_of_tiny))
