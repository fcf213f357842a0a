"""Linear probes on frozen, quantized latents of Beat: whether the tokens carry the diagnosis, as macro AUC of PTB-XL's
label sets with intervals by patient.

    python -m heartcare.studies.probe_beat --ptbxl PTBXL_FOLDER --models . --random --supervised runs/teacher \\
        --study runs/study --designs paper

Trains on folds 1-8 and reports on fold 10; nothing is chosen in between. Each model is probed twice: on the mean of a
record's latents, and on a weighted mean with learnt weights (attention pooling). `--random` adds a Beat of the first
model's shape with random weights: its score is owed to the probe, not to learning (arXiv 2602.17531). Prints a Markdown
table.
"""

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from heartcare import BeatConfig, BeatModel
from heartcare.agent.statements import SETS
from heartcare.bench.classify import classification_table
from heartcare.bench.probe import fit_probe
from heartcare.training.pooling import AttentionPooling
from heartcare.training.ptbxl import PTBXL
from heartcare.training.statement_labels import given_statements
from heartcare.training.teacher import answers_of_networks

from .beat_study import TrainedVariant
from .beat_variants import VARIANTS


@torch.no_grad()
def latents(model: BeatModel, data: PTBXL, batch_size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantized latents of all records, float16 (records, latents, width), and their log gain, float32 (records, 1)."""
    states, gains = [], []
    for start in tqdm(range(0, len(data), batch_size), desc="encoding"):
        tokens = model.encode(data.signals(start, start + batch_size))
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


def standardised(train: torch.Tensor, test: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both with mean and standard deviation of the training records taken out."""
    mean, deviation = train.mean(0), train.std(0) + 1e-6
    return (train - mean) / deviation, (test - mean) / deviation


@torch.no_grad()
def probabilities(probe: nn.Module, *inputs: torch.Tensor) -> np.ndarray:
    """Probabilities of all classes, (records, 76)."""
    return torch.cat([probe(*part) for part in zip(*(each.split(512) for each in inputs))]).double().sigmoid().numpy()


def probe(model: BeatModel, train: PTBXL, test: PTBXL, epochs: int, seed: int) -> dict[str, np.ndarray]:
    """Pooling -> probabilities of all classes for the test records, (records, 76)."""
    labels = torch.from_numpy(given_statements(train)).float()
    (states, gain), (test_states, test_gain) = (latents(model, data) for data in (train, test))
    pooled, test_pooled = (torch.cat([s.float().mean(1), g], 1) for s, g in ((states, gain), (test_states, test_gain)))
    mean, test_mean = standardised(pooled, test_pooled)
    linear = fit_probe(mean, labels)
    # One scale for all latents, so that attention compares like with like.
    centre, scale = states.float().mean((0, 1)), states.float().std((0, 1)) + 1e-6
    states, test_states = (((each.float() - centre) / scale).half() for each in (states, test_states))
    attention = fit_attention(linear, scale / (pooled.std(0)[:-1] + 1e-6), states, mean[:, -1:], labels, epochs, seed)
    return {
        "mean": probabilities(linear, test_mean),
        "attention": probabilities(attention, test_states, test_mean[:, -1:]),
    }


def untrained(config: BeatConfig, train: PTBXL, seed: int) -> BeatModel:
    """A Beat of random weights with codebooks by k-means: of random codebooks, only one code would be in use."""
    torch.manual_seed(seed)
    model = BeatModel(config).train()
    model(train.signals(0, 256))
    return model.eval()


def row_of_table(name: str, pooling: str, test: PTBXL, values: np.ndarray, seed: int) -> str:
    """A row of the table, by probabilities of all classes for the test records, (records, 76)."""
    items = [SimpleNamespace(statements=(row["scp_codes"],), patients=(row["patient_id"],)) for row in test.rows]
    table = classification_table(items, values, seed)
    cells = [
        f"{table[each]['auc']:.3f} [{table[each]['low']:.3f}, {table[each]['high']:.3f}]" if each in table else "–"
        for each in SETS
    ]
    return f"| {name} | {pooling} | {' | '.join(cells)} |"


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
    print(f"\n| Beat | pooling | {' | '.join(SETS)} |\n|---|---|{'---|' * len(SETS)}")
    for name, model in models.items():
        for pooling, values in probe(model, train, test, args.epochs, args.seed).items():
            print(row_of_table(name, pooling, test, values, args.seed), flush=True)
    if args.supervised:
        for name, values in answers_of_networks(args.supervised, test).items():
            print(row_of_table(f"no Beat: {name}, supervised", "–", test, values.double().numpy(), args.seed))


if __name__ == "__main__":
    main()
