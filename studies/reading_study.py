"""Compares encoders of Beat by how well they read statements: each is trained for statements alone, without codes and
decoder, and scored on fold 9.

    python -m heartcare.studies.reading_study --ptbxl PTBXL_FOLDER --soft-labels training/soft_labels.safetensors --bf16
    python -m heartcare.studies.reading_study --ptbxl PTBXL_FOLDER --only stem jepa --steps 4000

Each encoder is trained from random weights on folds 1-8, all with the same windows of 5 s in the same order, the same
steps and seed; a head pools its states before quantization, and the whole records of fold 9 are scored. `jepa` has the
same number of steps without labels before: from a window with most of its patches hidden, it predicts the states that a
moving average of itself gives the whole window (JEPA, Assran et al., 2023). Prints a Markdown table: macro AUC,
parameters of the encoder, and its time for 32 windows on one thread.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from heartcare import BeatConfig, BeatModel
from heartcare.training.augmentation import draw_share, lose_leads, mix, vary
from heartcare.training.encoder import choose_attention
from heartcare.training.optimizers import muon_with_cosine_schedule
from heartcare.training.pooling import AttentionPooling
from heartcare.training.ptbxl import PTBXL
from heartcare.training.statement_labels import family_loss, given_statements, macro_auc_of_sets, soft_labels
from heartcare.training.teacher import moving_average

# Name -> description of the encoder, and its settings in `BeatConfig`.
ENCODERS: dict[str, tuple[str, dict]] = {
    "plain": ("two layers, patches and queries in both", {}),
    "late": ("one layer of patches, one in which the queries read them", {"num_patch_layers": 1}),
    "queries": (
        "and one of queries",
        {"num_encoder_layers": 3, "num_patch_layers": 1, "num_query_layers": 2},
    ),
    "deeper": (
        "and another one of patches",
        {"num_encoder_layers": 4, "num_patch_layers": 2, "num_query_layers": 2},
    ),
    "stem5": ("late, behind convolutions of stride 5", {"num_patch_layers": 1, "stem_channels": 64, "stem_stride": 5}),
    "stem": ("late, behind convolutions of stride 2", {"num_patch_layers": 1, "stem_channels": 48}),
    "jepa": ("the same after JEPA", {"num_patch_layers": 1, "stem_channels": 48}),
}
COLUMNS = ("encoder", "super", "form", "rhythm", "all", "parameters, M", "ms of 32 windows")


class Reader(nn.Module):
    """Beat up to its states before quantization, with a head.

    Args:
        config: Configuration of the Beat.
        classes: Number of statements.
    """

    def __init__(self, config: BeatConfig, classes: int):
        super().__init__()
        self.beat = BeatModel(config)
        self.beat.decoder, self.beat.quantizer = nn.Identity(), nn.Identity()
        self.head = AttentionPooling(config.hidden_size, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Signals (B, 12, n) in mV -> logits (B, classes)."""
        states, gain = self.states(x)
        return self.head(states, gain.log())

    def states(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the states (B, N, D) and the gain (B, 1) in mV of signals.

        Args:
            x: Signals in mV, (B, 12, n).
            mask: bool (B, n), True for the samples that are seen; all by default.
        """
        segments = self.beat.segment(x, mask)
        states = self.beat.encoder(*segments.encoder_inputs).float()
        return states.reshape(len(x), -1, states.shape[-1]), segments.gain[:, None]


def learn_without_labels(reader: Reader, data: PTBXL, args: argparse.Namespace) -> None:
    """Trains the encoder to predict, from a part of a window, the states that its moving average gives the whole."""
    config, rng = reader.beat.config, np.random.default_rng(args.seed)
    average = AveragedModel(reader, avg_fn=moving_average)
    width = config.hidden_size
    predictor = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
    learner = nn.ModuleDict({"encoder": reader.beat.encoder, "predictor": predictor})
    optimizer, schedule = muon_with_cosine_schedule(learner, 200, args.steps)
    for _, (_, x) in zip(tqdm(range(args.steps), desc="without labels"), windows(data, args.batch_size, args.seed)):
        hidden = hidden_patches(len(x), config, rng)
        seen = ~hidden.repeat_interleave(config.samples_per_latent, 1)
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            predicted = predictor(reader.states(vary(x), seen)[0])
            with torch.no_grad():
                target = nn.functional.layer_norm(average.module.states(x)[0], (width,))
        loss = nn.functional.smooth_l1_loss(predicted.float()[hidden], target[hidden])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        average.update_parameters(reader)


def windows(data: PTBXL, batch_size: int, seed: int) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Yields rows of `data` in random order, again and again, and a random window of 5 s of each in mV."""
    rng, size = np.random.default_rng(seed), min(batch_size, len(data))
    while True:
        order = rng.permutation(len(data))
        for start in range(0, len(order) - size + 1, size):
            rows = order[start : start + size]
            places = rng.integers(0, 501, size)
            yield rows, torch.from_numpy(np.stack([data.signal(i)[:, p : p + 500] for i, p in zip(rows, places)]))


def hidden_patches(batch: int, config: BeatConfig, rng: np.random.Generator) -> torch.Tensor:
    """Draws the latents that a context does not see, two thirds of all, in stretches of three: bool (batch, queries),
    True where a latent is hidden.
    """
    m = config.num_queries
    starts = rng.random((batch, -(-m // 3))) < 2 / 3
    return torch.from_numpy(np.repeat(starts, 3, axis=1)[:, :m])


def learn_statements(reader: Reader, data: PTBXL, labels: torch.Tensor, args: argparse.Namespace) -> None:
    """Trains encoder and head on the statements of augmented windows."""
    optimizer, schedule = muon_with_cosine_schedule(reader, 200, args.steps)
    rng = np.random.default_rng(args.seed)
    for _, (rows, x) in zip(tqdm(range(args.steps), desc="statements"), windows(data, args.batch_size, args.seed)):
        share = draw_share(rng)
        x, y = mix(lose_leads(vary(x)), share), mix(labels[rows], share)
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            loss = family_loss(reader(x).float(), y)
        loss.backward()
        nn.utils.clip_grad_norm_(reader.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()


@torch.no_grad()
def macro_auc(reader: Reader, data: PTBXL) -> dict[str, float | None]:
    """Returns the macro AUC of each label set on whole records."""
    logits = [reader(data.signals(start, start + 64)) for start in range(0, len(data), 64)]
    return macro_auc_of_sets(given_statements(data), torch.cat(logits).numpy())


@torch.no_grad()
def milliseconds(reader: Reader) -> float:
    """Returns the time of the encoder for 32 windows on one thread in ms, the shortest of 20."""
    threads, x = torch.get_num_threads(), 0.2 * torch.randn(32, 12, 500)
    torch.set_num_threads(1)
    choose_attention(reader.beat, bf16=False)
    times = []
    for _ in range(20):
        started = time.perf_counter()
        reader.states(x)
        times.append(time.perf_counter() - started)
    torch.set_num_threads(threads)
    return 1000 * min(times)


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ptbxl", required=True, help="PTB-XL in its official layout")
    parser.add_argument("--soft-labels", type=Path, help="file of `heartcare.training.teacher label`")
    parser.add_argument("--only", nargs="+", choices=ENCODERS, default=list(ENCODERS), metavar="NAME")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--bf16", action="store_true", help="matrix products in bfloat16")
    parser.add_argument("--cache", default="runs/cache", help="folder for cleaned signals")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    train, validation = (PTBXL(args.ptbxl, folds, args.cache) for folds in (range(1, 9), [9]))
    ids = [row["ecg_id"] for row in train.rows]
    labels = torch.from_numpy(soft_labels(given_statements(train), ids, args.soft_labels))
    print(f"\n| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for name in args.only:
        words, settings = ENCODERS[name]
        torch.manual_seed(args.seed)
        reader = Reader(BeatConfig(**settings), labels.shape[1])
        choose_attention(reader.beat, args.bf16)
        if name == "jepa":
            learn_without_labels(reader, train, args)
        learn_statements(reader, train, labels, args)
        auc = macro_auc(reader.eval(), validation)
        scores = [f"{auc[column]:.3f}" if auc[column] is not None else "–" for column in COLUMNS[1:5]]
        size = sum(each.numel() for each in reader.beat.encoder.parameters()) / 1e6
        print(f"| {words} | {' | '.join(scores)} | {size:.2f} | {milliseconds(reader):.1f} |", flush=True)


if __name__ == "__main__":
    main()
