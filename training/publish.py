"""Writes a trained model in the compact form that this repository carries: weights in half precision, codebooks and
other buffers in float32.

    python -m heartcare.training.publish --model runs/default/joint --output .
    python -m heartcare.training.publish --model runs/default/joint runs/before --output .

The second command writes the mean of the weights of both models. The configuration keeps dtype float32, so that loading
widens the weights again.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from heartcare import HeartcareForConditionalGeneration, HeartcareProcessor


@torch.no_grad()
def average(model: nn.Module, others: list[nn.Module]) -> None:
    """Sets the weights of `model` to the mean of all models, as far as they differ. Tied weights are averaged once.

    Raises: `ValueError` for models of other shapes.
    """
    weights, *other_weights = ({**dict(m.named_parameters()), **dict(m.named_buffers())} for m in (model, *others))
    for name, tensor in weights.items():
        tensors = [each.get(name) for each in other_weights]
        if any(each is None or each.shape != tensor.shape for each in tensors):
            raise ValueError(f"{name} is not in all models, or not of the same shape: their mean is no model.")
        if not all(torch.equal(tensor, each) for each in tensors):
            tensor.copy_(torch.stack([tensor, *tensors]).mean(0))


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model",
        nargs="+",
        required=True,
        help="one model, or several that were trained from the same start; the first gives all but the weights",
    )
    parser.add_argument("--output", required=True)
    args = parser.parse_args(argv)
    model, *others = (
        HeartcareForConditionalGeneration.from_pretrained(each, dtype=torch.float32) for each in args.model
    )
    average(model, others)
    model.config.dtype = torch.float32
    for config in (model.config.beat_config, model.config.vision_config, model.config.text_config):
        config.name_or_path = ""  # a path of this machine means nothing to others
    model.generation_config.max_new_tokens = 128
    output = Path(args.output)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        HeartcareProcessor.from_pretrained(args.model[0]).save_pretrained(folder)
        for file in Path(folder).iterdir():
            if not (output / file.name).exists() or file.suffix != ".py":  # this repository's own code stays as it is
                shutil.copyfile(file, output / file.name)
    path = output / "model.safetensors"
    weights = load_file(path)
    exact = {name for name, _ in model.named_buffers()}  # codebooks, and what was fitted, such as calibrations
    compact = {name: tensor if name in exact else tensor.half() for name, tensor in weights.items()}
    save_file(compact, path, metadata={"format": "pt"})
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB, {sum(t.numel() for t in compact.values()):,} numbers")


if __name__ == "__main__":
    main()
