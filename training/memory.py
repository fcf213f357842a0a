"""Memory that training takes on each GPU, computed from the shapes of a model. `--dry-run` of
`heartcare.training.heartcare` measures it on a GPU of this machine.

    python -m heartcare.training.memory --tokens 512 --batch-size 16 --gpus 1 8 64

Prints a Markdown table for the paper's two models, whole and by LoRA. Weights, gradients and optimizer states are
exact. Activations are those of a transformer with gradient checkpointing: one hidden state per layer and token, the
inside of one layer, and the logits three times (in float32, and their gradient). Buffers of communication are the
largest layer, twice.
"""

import argparse
import math
import sys

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
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        vocab_size=152064,
        tie_word_embeddings=False,
    ),
}


def shares_of_a_gpu(
    text: PretrainedConfig, tokens: int, batch_size: int, rank: int, gpus: list[int]
) -> dict[str, list[float]]:
    """Returns way of training -> bytes on each GPU for each number of GPUs, for a language model with SigLIP so400m.

    Args:
        text: Configuration of the language model.
        tokens: Tokens of one packed sample.
        batch_size: Number of samples on each GPU.
        rank: Rank of LoRA.
        gpus: Numbers of GPUs.
    """
    with torch.device("meta"):
        config = HeartcareConfig(beat_config=BeatConfig(), vision_config=SiglipVisionConfig(**SIGLIP), text_config=text)
        model = HeartcareForConditionalGeneration(config).to(torch.bfloat16)
    layers = [each for each in model.language_model.modules() if isinstance(each, nn.Linear)]
    lora = sum(rank * (each.in_features + each.out_features) for each in layers[:-1])
    model.freeze_towers()
    largest = max(
        sum(p.numel() for p in block.parameters())
        for block in (model.get_input_embeddings(), model.get_decoder().layers[0])
    )
    work = activation_bytes(text, tokens, batch_size)
    whole = state_bytes(model)
    adapter = {"weights": whole["weights"] + 2 * lora, "gradients": 2 * lora, "optimizer": 2 * 2 * lora}
    ways = {
        "whole, DDP": (whole, False),
        "whole, FSDP2 or ZeRO-3": (whole, True),
        "LoRA, DDP": (adapter, False),
    }
    return {
        way: [
            sum(parts.values()) / (n if sharded else 1) + (2 * 2 * largest if sharded and n > 1 else 0) + work
            for n in gpus
        ]
        for way, (parts, sharded) in ways.items()
    }


def activation_bytes(config: PretrainedConfig, tokens: int, batch_size: int) -> float:
    """Returns the bytes of the language model's activations, in bfloat16 and with gradient checkpointing."""
    layer = 10 * config.hidden_size + 3 * config.intermediate_size
    states = 2 * (config.num_hidden_layers * config.hidden_size + layer)
    return tokens * batch_size * (states + 3 * 4 * config.vocab_size)


def state_bytes(model: nn.Module, muon: bool = False) -> dict[str, float]:
    """Returns the bytes of a model in training: its weights, the gradients of the trained parameters, and, for each
    trained parameter, the optimizer's two numbers, or one by Muon.
    """
    trained = [each for each in model.parameters() if each.requires_grad]
    weights = sum(each.numel() * each.element_size() for each in [*model.parameters(), *model.buffers()])
    gradients = sum(each.numel() * each.element_size() for each in trained)
    once = sum(each.numel() * each.element_size() for each in inner_matrices(model)) if muon else 0
    return {"weights": weights, "gradients": gradients, "optimizer": 2 * gradients - once}


def peak_memory_gib() -> float | None:
    """Returns the largest resident memory of this process so far, in GiB; None where the system does not count it
    (Windows).
    """
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (GIB if sys.platform == "darwin" else 2**20)  # bytes on macOS, KiB on Linux


def memory_table(model: nn.Module, arguments: TrainingArguments, muon: bool) -> dict[str, float]:
    """Returns the parameters and the memory that `heartcare.training.heartcare --dry-run` prints."""
    return {
        "parameters": sum(each.numel() for each in model.parameters()),
        "parameters that learn": sum(each.numel() for each in model.parameters() if each.requires_grad),
        **{f"GiB of {name}": round(value / GIB, 3) for name, value in state_bytes(model, muon).items()},
        "processes": arguments.world_size,
    }


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=512, help="tokens of one packed sample")
    parser.add_argument("--batch-size", type=int, default=16, help="samples on each GPU")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--rank", type=int, default=64, help="rank of LoRA")
    args = parser.parse_args(argv)
    columns = " | ".join(f"{n} GPUs" if n > 1 else "1 GPU" for n in args.gpus)
    print(f"| GiB on each GPU, computed | {columns} |\n|---|{'---|' * len(args.gpus)}")
    for name, text in BACKBONES.items():
        for way, shares in shares_of_a_gpu(text, args.tokens, args.batch_size, args.rank, args.gpus).items():
            print(f"| {name}, {way} | {' | '.join(str(math.ceil(value / GIB)) for value in shares)} |")


if __name__ == "__main__":
    main()
