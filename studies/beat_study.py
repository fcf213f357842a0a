"""Rate and distortion of Beat: the error of several designs at the same bits per second, and the gain of more bits.

    python -m heartcare.studies.beat_study --ptbxl PTBXL_FOLDER --output runs/study
    python -m heartcare.studies.beat_study --ptbxl PTBXL_FOLDER --output runs/study --only base fsq
    python -m heartcare.studies.beat_study --output runs/study --table --plot runs/study.svg

The first command trains every variant of beat_variants.py, one after another, the second two of them, and the third
prints the variants that are done so far. Each variant is trained from random weights on folds 1-8, all with the same
windows in the same order, the same steps and seed, and scored on the whole records of fold 9: the decoded against the
cleaned signal, all twelve leads, in mV. A variant that is done is not trained again; several runs, of other variants,
may share a folder.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm import tqdm
from transformers import get_cosine_schedule_with_warmup

from heartcare.tokenization_beat import BeatEncoderOutput, BeatModel
from heartcare.training.ptbxl import PTBXL

from .beat_variants import VARIANTS, Variant

LIMB = {2: (-1, 1), 3: (-0.5, -0.5), 4: (1, -0.5), 5: (-0.5, 1)}  # III, aVR, aVL, aVF of I and II


def train(variant: Variant, data: PTBXL, steps: int, batch_size: int, bf16: bool, seed: int) -> tuple[BeatModel, float]:
    """Trains a variant. Returns the model, and the mean time of a step in seconds."""
    torch.manual_seed(seed)
    model = variant.build().train()
    model.set_attn_implementation("eager" if bf16 else "sdpa")  # in bfloat16, the backward pass of SDPA is slow on CPUs
    feed = Feed(data, variant, model, batch_size, seed)
    optimizer = variant.optimizer(model)
    schedule = get_cosine_schedule_with_warmup(optimizer, min(100, steps // 4), steps)
    started = time.perf_counter()
    for _ in tqdm(range(steps), desc=variant.words[:40]):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = model(**feed.batch()).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return model.eval(), (time.perf_counter() - started) / steps


class Feed:
    """Random windows as in the training of Beat (`windows.BeatWindows`), in the leads and the scale of a variant."""

    def __init__(self, data: PTBXL, variant: Variant, model: BeatModel, batch_size: int, seed: int):
        self.data, self.variant, self.batch_size = data, variant, batch_size
        self.context, self.future = model.config.segment_length, model.config.prediction_length
        self.rng = np.random.default_rng(seed)

    def batch(self) -> dict[str, torch.Tensor]:
        """Returns the next batch, the inputs of Beat."""
        rng, leads = self.rng, list(self.variant.leads)
        rows, places = rng.integers(0, len(self.data), self.batch_size), rng.random(self.batch_size)
        short, missing = rng.random(self.batch_size) < 0.1, rng.random(self.batch_size) < 0.1
        length = min(1000, self.context + self.future)
        x = torch.empty(self.batch_size, len(leads), length)
        for k, row in enumerate(rows):
            start = int(places[k] * (1000 - length + 1))
            x[k] = torch.from_numpy(self.data.signal(row)[leads, start : start + length])
        x = x / lead_scale(x, self.variant)
        mask = torch.ones(self.batch_size, self.context, dtype=torch.long)
        lead_mask = torch.ones(self.batch_size, len(leads), dtype=torch.long)
        for k in np.flatnonzero(short):
            mask[k, : int(rng.random() * self.context * 3 // 4)] = 0
        for k in np.flatnonzero(missing):
            lead_mask[k] = torch.from_numpy(rng.random(len(leads)) < rng.choice([0.2, 0.5, 0.9]))
            lead_mask[k, int(rng.integers(len(leads)))] = 1
        target = x[..., : self.context] * mask[:, None]
        batch = {
            "input_values": target * lead_mask[..., None],
            "ecg_attention_mask": mask,
            "lead_mask": lead_mask,
            "target_values": target,
        }
        if length == self.context + self.future:
            batch["future_values"] = x[..., self.context :]
        return batch


def lead_scale(signal: torch.Tensor, variant: Variant) -> torch.Tensor:
    """Returns the scale of each lead of signals (B, L, n) in mV, (B, L, 1): its standard deviation in mV where the
    variant has leads of unit variance, else 1.
    """
    ones = torch.ones_like(signal[..., :1])
    return signal.std(-1, keepdim=True).clamp(min=1e-3) if variant.unit_leads else ones


@torch.no_grad()
def score(variant: Variant, model: BeatModel, data: PTBXL) -> dict:
    """Scores a variant on whole records, decoded from codes, gain, and the scales of leads where it has them."""
    prd, rmse, correlation, counts = [], [], [], []
    for start in range(0, len(data), 128):
        whole = data.signals(start, start + 128)
        x = whole[:, list(variant.leads)]
        scale = lead_scale(x, variant)
        tokens = model.encode(x / scale)
        decoded = all_leads(
            model.decode_unchecked(tokens.codes, tokens.gain)[..., -x.shape[-1] :] * scale, variant.leads
        )
        error = (decoded - whole).square()
        prd.append(100 * (error.sum((1, 2)) / whole.square().sum((1, 2))).sqrt())
        rmse.append(1000 * error.mean((1, 2)).sqrt())
        correlation.append(correlations(decoded, whole))
        counts.append(tokens.codes.transpose(1, 2).flatten(0, 1))
    codes, prd = torch.cat(counts), torch.cat(prd)
    shares = [torch.unique(level, return_counts=True)[1].double() / len(codes) for level in codes.T]
    return {
        "bits_per_second": round(variant.bits(model) * model.config.sampling_rate / model.config.samples_per_latent, 1),
        "prd": prd.mean().item(),
        "prd_median": prd.median().item(),
        "rmse_uv": torch.cat(rmse).mean().item(),
        "correlation": torch.cat(correlation).mean().item(),
        "entropy": [abs(float((share * share.log2()).sum())) for share in shares],
        "parameters": sum(each.numel() for each in model.parameters()),
    }


class TrainedVariant:
    """A variant that the study has trained, with the `encode` of a Beat, for the probes.

    Args:
        folder: Folder of the study.
        name: Name of the variant.
    """

    def __init__(self, folder: Path, name: str):
        self.variant = VARIANTS[name]
        self.model = self.variant.build().eval()
        self.model.load_state_dict(load_file(folder / f"{name}.safetensors"))

    def encode(self, signal: torch.Tensor, lead_mask: torch.Tensor) -> BeatEncoderOutput:
        """Encodes signals (B, 12, n) in mV, with the bool mask (B, 12, n) of the samples that were recorded."""
        x, mask = (each[:, list(self.variant.leads)] for each in (signal, lead_mask))
        return self.model.encode(x / lead_scale(x, self.variant), lead_mask=mask)


def all_leads(signal: torch.Tensor, leads: tuple[int, ...]) -> torch.Tensor:
    """Returns all twelve leads (B, 12, n) of signals (B, len(leads), n); the missing limb leads follow from I and II by
    Einthoven's and Goldberger's laws.
    """
    if len(leads) == 12:
        return signal
    whole = signal.new_empty(len(signal), 12, signal.shape[-1])
    whole[:, list(leads)] = signal
    for lead, (of_i, of_ii) in LIMB.items():
        whole[:, lead] = of_i * whole[:, 0] + of_ii * whole[:, 1]
    return whole


def correlations(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Returns the correlation of two batches of signals (B, L, n), averaged over the leads: (B,)."""
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    return ((a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)).clamp(min=1e-9)).mean(1)


def read_results(folder: Path) -> dict[str, dict]:
    """Returns name -> result of each variant that is done, in the order of `VARIANTS`."""
    return {
        name: json.loads((folder / f"{name}.json").read_text())
        for name in VARIANTS
        if (folder / f"{name}.json").exists()
    }


COLUMNS = (
    "design",
    "bits/s",
    "PRD, %, mean / median",
    "RMSE, uV",
    "correlation",
    "entropy of the codes, bits",
    "parameters, M",
    "s/step",
)


def table(results: dict[str, dict]) -> str:
    """Returns the results as a Markdown table."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    group = None
    for name, row in results.items():
        variant = VARIANTS[name]
        if variant.group != group:
            group = variant.group
            lines.append(f"| **{group}** | | | | | | | |")
        entropy = " + ".join(f"{each:.1f}" for each in row["entropy"])
        cells = [
            variant.words,
            f"{row['bits_per_second']:.0f}",
            f"{row['prd']:.1f} / {row['prd_median']:.1f}",
            f"{row['rmse_uv']:.0f}",
            f"{row['correlation']:.3f}",
            entropy,
            f"{row['parameters'] / 1e6:.2f}",
            f"{row['seconds_per_step']:.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


PAPER_COLOUR, OWN_COLOUR = "#c0392b", "#1f4e79"


def plot(results: dict[str, dict]) -> str:
    """Returns a plot of PRD over bits per second as SVG, both on logarithmic scales."""
    width, height, left, bottom = 760, 460, 60, 50
    low, high = math.log(40), math.log(420)
    prds = [row["prd"] for row in results.values()]
    low_prd, high_prd = math.log(min(prds) * 0.95), math.log(min(120, max(prds) * 1.05))

    def x_of(bits: float) -> float:
        return left + (math.log(bits) - low) / (high - low) * (width - left - 20)

    def y_of(prd: float) -> float:
        return 20 + (high_prd - math.log(min(prd, 120))) / (high_prd - low_prd) * (height - 20 - bottom)

    box = f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12"'
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" {box}>', f'<rect width="{width}" height="{height}" fill="white"/>']
    for bits in (45, 90, 180, 360):
        out.append(f'<path d="M{x_of(bits):.1f} 20V{height - bottom}" stroke="#ddd"/>')
        out.append(svg_text(x_of(bits), height - bottom + 18, bits, "middle"))
    for prd in (10, 15, 20, 25, 30, 40, 50, 60, 80, 100):
        if low_prd <= math.log(prd) <= high_prd:
            out.append(f'<path d="M{left} {y_of(prd):.1f}H{width - 20}" stroke="#ddd"/>')
            out.append(svg_text(left - 8, y_of(prd) + 4, prd, "end"))
    out.append(svg_text((left + width) / 2, height - 10, "bits per second, twelve leads", "middle"))
    out.append(svg_text(0, 0, "PRD, %", "middle", f' transform="translate(16 {height / 2}) rotate(-90)"'))
    for name, row in results.items():
        variant = VARIANTS[name]
        colour = PAPER_COLOUR if variant.group == "the paper" else OWN_COLOUR
        place = f'cx="{x_of(row["bits_per_second"]):.1f}" cy="{y_of(row["prd"]):.1f}"'
        title = f"<title>{variant.words}: {row['prd']:.1f} %</title>"
        out.append(f'<circle {place} r="4" fill="{colour}">{title}</circle>')
    for y, colour, words in (
        (34, OWN_COLOUR, "Beat, and one thing changed"),
        (52, PAPER_COLOUR, "the paper's design, and towards it"),
    ):
        out.append(f'<circle cx="{width - 230}" cy="{y}" r="4" fill="{colour}"/>')
        out.append(svg_text(width - 218, y + 4, words))
    return "\n".join([*out, "</svg>", ""])


def svg_text(x: float, y: float, words: object, anchor: str = "start", more: str = "") -> str:
    """Returns a text of the plot."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{words}</text>'


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ptbxl", help="PTB-XL in its official layout")
    parser.add_argument("--output", default="runs/study", help="a JSON file and weights for each variant")
    parser.add_argument(
        "--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME", help=", ".join(VARIANTS)
    )
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument(
        "--bf16",
        action="store_true",
        help="matrix products in bfloat16: twice as fast where the CPU has them, slower elsewhere",
    )
    parser.add_argument("--cache", default="runs/cache", help="folder for cleaned signals")
    parser.add_argument("--limit", type=int, help="number of records at most, for training and for fold 9")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", action="store_true", help="only print the table")
    parser.add_argument("--plot", help="SVG file to write")
    args = parser.parse_args(argv)
    folder = Path(args.output)
    folder.mkdir(parents=True, exist_ok=True)
    if not args.table:
        if not args.ptbxl:
            parser.error("--ptbxl is needed, unless --table is given.")
        data, validation = (PTBXL(args.ptbxl, folds, args.cache, args.limit) for folds in (range(1, 9), [9]))
        for name in args.only:
            path = folder / f"{name}.json"
            if path.exists():
                continue
            model, seconds = train(VARIANTS[name], data, args.steps, args.batch_size, args.bf16, args.seed)
            row = score(VARIANTS[name], model, validation) | {
                "seconds_per_step": seconds,
                "steps": args.steps,
                "batch_size": args.batch_size,
            }
            save_file(dict(model.state_dict()), path.with_suffix(".safetensors"))
            path.write_text(json.dumps(row))
    print(table(read_results(folder)))
    if args.plot:
        Path(args.plot).write_text(plot(read_results(folder)))


if __name__ == "__main__":
    main()
