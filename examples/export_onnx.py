"""Writes Beat's encoder and decoder as ONNX: any number of ECGs of any length, and the same codes.

    pip install -e ".[onnx]"
    python examples/export_onnx.py --model . --output runs/onnx

beat_encoder.onnx takes `input_values` float32 (ecgs, 12, samples) in mV, `ecg_attention_mask` int64 (ecgs, samples) and
`lead_mask` int64 (ecgs, 12, samples), and gives `codes` int64 (ecgs, levels, latents) and `gain` float32 (ecgs,).
beat_decoder.onnx takes `codes` and `gain`, and gives `signal` float32 (ecgs, 12, latents * samples_per_latent) in mV.

The metadata of both name the `heartcare_version` that wrote them. Before the command ends, it compares the files with
PyTorch on random signals of several lengths, with padding and absent leads.
"""

import argparse
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from heartcare import BeatModel
from heartcare.version_heartcare import HEARTCARE_VERSION

ENCODER_INPUTS = ("input_values", "ecg_attention_mask", "lead_mask")


@torch.no_grad()
def export(beat: BeatModel, folder: Path) -> tuple[Path, Path]:
    """Writes both files. Returns their paths."""
    beat = beat.eval()
    folder.mkdir(parents=True, exist_ok=True)
    config = beat.config
    paths = folder / "beat_encoder.onnx", folder / "beat_decoder.onnx"
    ecgs, samples, latents = (
        torch.export.Dim(name, min=1, max=most)
        for name, most in (("ecgs", 4096), ("samples", 2**20), ("latents", 2**16))
    )
    inputs = example(beat, 2, config.segment_length * 5 // 2)
    tokens = beat.encode(**inputs)
    encoder = torch.onnx.export(
        Encoder(beat),
        tuple(inputs.values()),
        dynamo=True,
        verbose=False,
        input_names=ENCODER_INPUTS,
        output_names=("codes", "gain"),
        dynamic_shapes=({0: ecgs, 2: samples}, {0: ecgs, 1: samples}, {0: ecgs, 2: samples}),
    )
    decoder = torch.onnx.export(
        Decoder(beat),
        (tokens.codes, tokens.gain),
        dynamo=True,
        verbose=False,
        input_names=("codes", "gain"),
        output_names=("signal",),
        dynamic_shapes=({0: ecgs, 2: latents}, {0: ecgs}),
    )
    for program, path in zip((encoder, decoder), paths):
        program.model.metadata_props["heartcare_version"] = HEARTCARE_VERSION
        program.save(path)
    return paths


def example(beat: BeatModel, ecgs: int, samples: int) -> dict[str, torch.Tensor]:
    """Returns random signals: the first is padded, the second lacks lead V1, and lead I for half of the time."""
    generator = torch.Generator().manual_seed(samples)
    leads = beat.config.num_leads
    masks = torch.ones(ecgs, samples, dtype=torch.long), torch.ones(ecgs, leads, samples, dtype=torch.long)
    masks[0][0, : samples // 8] = 0
    masks[1][min(1, ecgs - 1), min(6, leads - 1)] = 0
    masks[1][min(1, ecgs - 1), 0, samples // 2 :] = 0
    return dict(zip(ENCODER_INPUTS, (0.2 * torch.randn(ecgs, leads, samples, generator=generator), *masks)))


class Encoder(torch.nn.Module):
    """Beat's encoder, with tensors as outputs."""

    def __init__(self, beat: BeatModel):
        super().__init__()
        self.beat = beat

    def forward(
        self, input_values: torch.Tensor, ecg_attention_mask: torch.Tensor, lead_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = self.beat.encode(input_values, ecg_attention_mask, lead_mask)
        return tokens.codes, tokens.gain


class Decoder(torch.nn.Module):
    """Beat's decoder, without checks that ONNX cannot express."""

    def __init__(self, beat: BeatModel):
        super().__init__()
        self.beat = beat

    def forward(self, codes: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        return self.beat.decode_unchecked(codes, gain)


@torch.no_grad()
def compare(beat: BeatModel, paths: tuple[Path, Path]) -> dict[str, float]:
    """Returns the share of "codes" that are PyTorch's, and the largest difference of the decoded "signal" in mV."""
    encoder, decoder = (onnxruntime.InferenceSession(path) for path in paths)
    same, total, worst = 0, 0, 0.0
    for ecgs, samples in ((1, 1), (1, 400), (3, 777), (2, 1000), (8, 2345)):
        inputs = example(beat, ecgs, samples)
        tokens = beat.encode(**inputs)
        codes, gain = encoder.run(None, {name: value.numpy() for name, value in inputs.items()})
        (signal,) = decoder.run(None, {"codes": codes, "gain": gain})
        same, total = same + int((codes == tokens.codes.numpy()).sum()), total + codes.size
        worst = max(worst, float(np.abs(signal - beat.decode(tokens.codes, tokens.gain).numpy()).max()))
    return {"codes": same / total, "signal": worst}


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=".", help="a HeartcareGPT or Beat repository")
    parser.add_argument("--output", default="runs/onnx")
    args = parser.parse_args(argv)
    beat = BeatModel.from_pretrained(args.model, dtype=torch.float32)
    paths = export(beat, Path(args.output))
    result = compare(beat, paths)
    for path in paths:
        print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")
    difference = f"decoded signal at most {1000 * result['signal']:.4f} uV apart"
    print(f"codes the same as PyTorch's: {result['codes']:.2%}; {difference}")
    if result["codes"] < 1:
        raise SystemExit("Not all codes are the same.")


if __name__ == "__main__":
    main()
