"""How much memory training takes on each GPU: counted from the shapes of a model, not measured, but for a GPU of this
machine, where `--dry-run` measures.

    python -m heartcare.training.memory --tokens 512 --batch-size 16 --gpus 1 8 64      # the paper's two models, whole and by
    LoRA; a Markdown table

Weights, gradients and optimizer states are exact. Activations are those of a transformer with gradient checkpointing:
    one hidden state per layer and token, the
inside of one layer, and the logits three times (in float32, and their gradient). Buffers of communication are the
largest layer, twice.
"""

import argparse
import math

import torch
from torch import nn
from transformers import Phi3Config, PretrainedConfig, Qwen2Config, SiglipVisionConfig, TrainingArguments

from heartcare import BeatConfig, HeartcareConfig, HeartcareForConditionalGeneration

from .optimizers import inner_matrices

GIB = 2**30
SIGLIP = dict(
    hidden_size=1152,
    intermediate_size=4304,
    num_hidden_layers=27,
    num_attention_heads=16,
    image_size=384,
    patch_size=14,
    vision_use_head=False,
)
BACKBONES = {  # as published
    "Phi-3-mini + SigLIP so400m": Phi3Config(),
    "Qwen2.5-7B + SigLIP so400m": Qwen2Config(
        hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4, vocab_size=152064, tie_word_embeddings=False,
    ),
}  # fmt: skip


def held(model: nn.Module, muon: bool = False) -> dict[str, float]:
    """Bytes of a model in training: its weights, the gradients of what learns, and for each of those what the optimizer
    keeps: two numbers, or one by Muon.
    """
    learns = [each for each in model.parameters() if each.requires_grad]
    weights = sum(each.numel() * each.element_size() for each in [*model.parameters(), *model.buffers()])
    gradients = sum(each.numel() * each.element_size() for each in learns)
    once = sum(each.numel() * each.element_size() for each in inner_matrices(model)) if muon else 0
    return {"weights": weights, "gradients": gradients, "optimizer": 2 * gradients - once}


def activations(config: PretrainedConfig, tokens: int, batch_size: int, bytes_each: int = 2) -> float:
    """Of the language model with gradient checkpointing."""
    layer = 10 * config.hidden_size + 3 * config.intermediate_size
    return (
        tokens
        * batch_size
        * (bytes_each * (config.num_hidden_layers * config.hidden_size + layer) + 3 * 4 * config.vocab_size)
    )


def memory_table(model: nn.Module, arguments: TrainingArguments, muon: bool) -> dict:
    """What `heartcare.training.heartcare --dry-run` prints of memory."""
    parts = held(model, muon)
    learns = sum(each.numel() for each in model.parameters() if each.requires_grad)
    return {
        "parameters": sum(each.numel() for each in model.parameters()),
        "parameters that learn": learns,
        **{f"GiB of {name}": round(value / GIB, 3) for name, value in parts.items()},
        "processes": arguments.world_size,
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=512, help="of one packed sample")
    parser.add_argument("--batch-size", type=int, default=16, help="of each GPU")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--rank", type=int, default=64, help="of LoRA")
    args = parser.parse_args(argv)
    print(
        f"| GiB on each GPU, computed | {' | '.join(f'{n} GPUs' if n > 1 else '1 GPU' for n in args.gpus)} |\n|---|{'---|' * len(args.gpus)}"
    )
    for name, text in BACKBONES.items():
        with torch.device("meta"):
            config = HeartcareConfig(
                beat_config=BeatConfig(), vision_config=SiglipVisionConfig(**SIGLIP), text_config=text
            )
            model = HeartcareForConditionalGeneration(config).to(torch.bfloat16)
        layers = [each for each in model.language_model.modules() if isinstance(each, nn.Linear)]
        lora = sum(args.rank * (each.in_features + each.out_features) for each in layers[:-1])
        model.freeze_towers()
        largest = max(
            sum(p.numel() for p in block.parameters())
            for block in (model.get_input_embeddings(), model.get_decoder().layers[0])
        )
        work = activations(text, args.tokens, args.batch_size)
        whole = held(model)
        adapter = {"weights": whole["weights"] + 2 * lora, "gradients": 2 * lora, "optimizer": 2 * 2 * lora}
        for how, parts, sharded in (
            ("whole, DDP", whole, False),
            ("whole, FSDP2 or ZeRO-3", whole, True),
            ("LoRA, DDP", adapter, False),
        ):
            each = [
                (sum(parts.values()) / (n if sharded else 1) + (2 * 2 * largest if sharded and n > 1 else 0) + work)
                / GIB
                for n in args.gpus
            ]
            print(f"| {name}, {how} | {' | '.join(str(math.ceil(value)) for value in each)} |")


if __name__ == "__main__":
    main()
