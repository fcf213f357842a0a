"""Linear probes on frozen, quantized latents of Beat: whether the tokens carry the diagnosis, as macro AUC of PTB-XL's
label sets with intervals by patient.

    python -m heartcare.studies.probe_beat --ptbxl PTBXL_FOLDER --models . --random --supervised runs/teacher \\
        --study runs/study --designs paper

Trains on folds 1-8 and reports on fold 10; nothing is chosen in between. Each model is probed twice: on the mean of a
record's latents, and on a weighted mean with learnt weights (attention pooling). `--leads` names patterns of leads, for
example those of a printed page. These are probed twice as well: by a probe that was trained for one pattern alone, and
by one that was trained on all patterns of `training.lead_patterns`. `--random` adds a Beat of the first model's shape
with random weights: its score is owed to the probe, not to learning (arXiv 2602.17531). Prints a Markdown table.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from heartcare import BeatConfig, BeatModel
from heartcare.bench.probe import fit_probe
from heartcare.training.lead_patterns import PATTERNS
from heartcare.training.pooling import AttentionPooling
from heartcare.training.ptbxl import PTBXL
from heartcare.training.statement_labels import AUC_COLUMNS, AUC_RULE, auc_cells, given_statements
from heartcare.training.teacher import answers_of_networks

from .beat_study import TrainedVariant
from .beat_variants import VARIANTS


@torch.no_grad()
def latents(
    model: BeatModel, data: PTBXL, names: Sequence[str] = ("12 leads",), seed: int = 0, batch_size: int = 64
) -> tuple[torch.Tensor, torch.Tensor]:
    """Encodes all records, each with the leads of one pattern.

    Args:
        model: The Beat to probe.
        data: Records.
        names: Patterns of `lead_patterns.PATTERNS`; of several, each record has one at random.
        seed: Seed of the patterns.
        batch_size: Number of records at a time.

    Returns:
        Quantized latents, float16 (records, latents, width), and their log gain, float32 (records, 1).
    """
    rng, states, gains = np.random.default_rng(seed), [], []
    for start in tqdm(range(0, len(data), batch_size), desc="encoding"):
        x = data.signals(start, start + batch_size)
        leads = np.stack([PATTERNS[names[rng.integers(len(names))]](rng, x.shape[-1]) for _ in x])
        tokens = model.encode(x, lead_mask=torch.from_numpy(leads))
        states.append(tokens.latents.half())
        gains.append(tokens.gain.log()[:, None])
    return torch.cat(states), torch.cat(gains)


def fit_attention(
    start: nn.Linear,
    scale: torch.Tensor,
    states: torch.Tensor,
    gain: torch.Tensor,
    labels: torch.Tensor,
    epochs: int,
    seed: int,
) -> AttentionPooling:
    """Trains an attention probe by AdamW on binary cross entropy, with a cosine schedule.

    Args:
        start: The linear probe on mean latents, from which it starts: rare classes have too few records to be learnt
            from random weights. Its inputs are the mean latent times `scale`, and the log gain.
        scale: Scale of each dimension.
        states: float16 (records, latents, width).
        gain: Log gain (records, 1).
        labels: Statements (records, 76).
        epochs: Number of epochs.
        seed: Seed of the order.
    """
    torch.manual_seed(seed)
    probe = AttentionPooling(len(scale), labels.shape[1])
    with torch.no_grad():
        probe.value.copy_(start.weight[:, :-1] * scale)
        probe.gain.weight.copy_(start.weight[:, -1:])
        probe.gain.bias.copy_(start.bias)
    steps = epochs * -(-len(states) // 256)
    optimizer = torch.optim.AdamW(probe.parameters(), lr=1e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in tqdm(range(epochs), desc="attention probe"):
        for rows in torch.randperm(len(states)).split(256):
            loss = nn.functional.binary_cross_entropy_with_logits(probe(states[rows], gain[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return probe.eval()


@torch.no_grad()
def probabilities(probe: nn.Module, *inputs: torch.Tensor) -> np.ndarray:
    """Probabilities of all classes, (records, 76)."""
    return torch.cat([probe(*part) for part in zip(*(each.split(512) for each in inputs))]).double().sigmoid().numpy()


class Probe:
    """Both probes of a model, trained on records with one pattern of leads, or with several.

    Args:
        model: The Beat to probe.
        train: Records to train on.
        names: Patterns of leads of the training records.
        epochs: Number of epochs of the attention probe.
        seed: Seed of patterns and order.
    """

    def __init__(self, model: BeatModel, train: PTBXL, names: Sequence[str], epochs: int, seed: int):
        self.model, labels = model, torch.from_numpy(given_statements(train)).float()
        states, gain = latents(model, train, names, seed)
        pooled = torch.cat([states.float().mean(1), gain], 1)
        self.pooled_centre, self.pooled_scale = pooled.mean(0), pooled.std(0) + 1e-6
        mean = (pooled - self.pooled_centre) / self.pooled_scale
        self.linear = fit_probe(mean, labels)
        # One scale for all latents, so that attention compares like with like.
        self.centre, self.scale = states.float().mean((0, 1)), states.float().std((0, 1)) + 1e-6
        states = ((states.float() - self.centre) / self.scale).half()
        relative = self.scale / self.pooled_scale[:-1]
        self.attention = fit_attention(self.linear, relative, states, mean[:, -1:], labels, epochs, seed)

    def __call__(self, test: PTBXL, name: str) -> dict[str, np.ndarray]:
        """Pooling -> probabilities of all classes for the test records with a pattern of leads, (records, 76)."""
        states, gain = latents(self.model, test, [name])
        mean = (torch.cat([states.float().mean(1), gain], 1) - self.pooled_centre) / self.pooled_scale
        states = ((states.float() - self.centre) / self.scale).half()
        return {
            "mean": probabilities(self.linear, mean),
            "attention": probabilities(self.attention, states, mean[:, -1:]),
        }


def untrained(config: BeatConfig, train: PTBXL, seed: int) -> BeatModel:
    """A Beat of random weights with codebooks by k-means: of random codebooks, only one code would be in use."""
    torch.manual_seed(seed)
    model = BeatModel(config).train()
    model(train.signals(0, 256))
    return model.eval()


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ptbxl", required=True)
    parser.add_argument(
        "--models",
        nargs="*",
        default=["."],
        help="Beat or HeartcareGPT repositories; none for the rows of the other options",
    )
    parser.add_argument("--random", action="store_true", help="a row for a Beat of random weights, too")
    parser.add_argument(
        "--supervised", type=Path, help="folder of networks of heartcare.training.teacher, for rows of their own"
    )
    parser.add_argument(
        "--leads", nargs="+", default=[], choices=PATTERNS, metavar="PATTERN", help=f"of {', '.join(PATTERNS)}"
    )
    parser.add_argument("--study", type=Path, default="runs/study", help="folder of heartcare.studies.beat_study")
    parser.add_argument(
        "--designs", nargs="+", default=[], metavar="NAME", help="variants that it has trained, such as paper"
    )
    parser.add_argument("--fold", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=10, help="number of epochs of the attention probe")
    parser.add_argument("--cache", default="runs/cache")
    parser.add_argument("--limit", type=int, help="number of records at most, for training and for the test fold")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    if args.random and not args.models:
        parser.error("--random takes its shape from the first of --models: name one.")
    train, test = (PTBXL(args.ptbxl, folds, args.cache, args.limit) for folds in (range(1, 9), [args.fold]))
    models = {name: BeatModel.from_pretrained(name, dtype=torch.float32).eval() for name in args.models}
    if args.random:
        models["random weights"] = untrained(next(iter(models.values())).config, train, args.seed)
    models |= {VARIANTS[name].words: TrainedVariant(args.study, name) for name in args.designs}

    def print_row(name: str, pooling: str, values: np.ndarray) -> None:
        print(f"| {name} | {pooling} | {auc_cells(test, values, args.seed)} |", flush=True)

    print(f"\n| Beat | pooling | {AUC_COLUMNS} |\n|---|---|{AUC_RULE}")
    for name, model in models.items():
        probe = Probe(model, train, ["12 leads"], args.epochs, args.seed)
        for pooling, values in probe(test, "12 leads").items():
            print_row(name, pooling, values)
        mixed = Probe(model, train, list(PATTERNS), args.epochs, args.seed) if args.leads else None
        for leads in args.leads:
            for trained, probe in (
                ("this alone", Probe(model, train, [leads], args.epochs, args.seed)),
                ("all patterns", mixed),
            ):
                values = probe(test, leads)["attention"]
                print_row(f"{name}, {leads}", f"attention, {trained}", values)
    if args.supervised:
        for name, values in answers_of_networks(args.supervised, test).items():
            print_row(f"no Beat: {name}, supervised", "–", values.double().numpy())


if __name__ == "__main__":
    main()
