"""Do the tokens carry the diagnosis? Linear probes on frozen, quantized latents of Beat, PTB-XL's label sets, macro AUC
with intervals by patient.

    python -m heartcare.studies.probe_beat --ptbxl PTBXL_FOLDER --models . --random --supervised runs/resnet1d --study runs/study
    --designs paper

Trains on folds 1-8, reports on fold 10; nothing is chosen in between. Each model is probed twice: on the mean of a
record's latents, and on a weighted mean
whose weights are learnt (attention pooling). `--random` adds a Beat of the first model's shape whose weights were never
trained: what it reaches is owed to the probe, not to learning (arXiv 2602.17531). Prints a Markdown table.
"""

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from heartcare import BeatModel
from heartcare.agent.statements import SETS, truth
from heartcare.bench.classify import classification_table
from heartcare.bench.probe import fit_probe
from heartcare.training.pooling import AttentionPooling
from heartcare.training.ptbxl import PTBXL
from heartcare.training.resnet1d import load, logits

from .beat_study import TrainedVariant
from .beat_variants import VARIANTS


@torch.no_grad()
def latents(model: BeatModel, data: PTBXL, batch_size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantized latents of all records, float16 (records, latents, width), and their log gain, float32 (records, 1)."""
    found, gains = [], []
    for start in tqdm(range(0, len(data), batch_size), desc="encoding"):
        x = torch.from_numpy(np.stack([data.signal(i) for i in range(start, min(start + batch_size, len(data)))]))
        tokens = model.encode(x)
        found.append(tokens.latents.half())
        gains.append(tokens.gain.log()[:, None])
    return torch.cat(found), torch.cat(gains)


def fit_attention(
    start: nn.Linear,
    scale: torch.Tensor,
    states: torch.Tensor,
    gain: torch.Tensor,
    labels: torch.Tensor,
    epochs: int,
    seed: int,
) -> AttentionPooling:
    """By AdamW on binary cross entropy, with a cosine schedule; from the probe of the plain mean on, `start`, whose
    inputs are the mean latent times `scale`,
    and the gain: rare classes are learnt from too few records to find their way from nothing."""
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
    mean, deviation = train.mean(0), train.std(0) + 1e-6
    return (train - mean) / deviation, (test - mean) / deviation


@torch.no_grad()
def probabilities(probe: nn.Module, *inputs: torch.Tensor) -> np.ndarray:
    return torch.cat([probe(*part) for part in zip(*(each.split(512) for each in inputs))]).double().sigmoid().numpy()


def probed(model: BeatModel, train: PTBXL, test: PTBXL, epochs: int, seed: int) -> dict[str, np.ndarray]:
    """Pooling -> probabilities of all classes for the test records, (records, 76)."""
    labels = torch.from_numpy(np.stack([truth(row["scp_codes"]) for row in train.rows])).float()
    (states, gain), (test_states, test_gain) = (latents(model, data) for data in (train, test))
    pooled, test_pooled = (torch.cat([s.float().mean(1), g], 1) for s, g in ((states, gain), (test_states, test_gain)))
    mean, test_mean = standardised(pooled, test_pooled)
    of_mean = fit_probe(mean, labels)
    # One scale for all latents, so that attention compares like with like.
    centre, scale = states.float().mean((0, 1)), states.float().std((0, 1)) + 1e-6
    states, test_states = (((each.float() - centre) / scale).half() for each in (states, test_states))
    attention = fit_attention(of_mean, scale / (pooled.std(0)[:-1] + 1e-6), states, mean[:, -1:], labels, epochs, seed)
    return {
        "mean": probabilities(of_mean, test_mean),
        "attention": probabilities(attention, test_states, test_mean[:, -1:]),
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ptbxl", required=True)
    parser.add_argument(
        "--models",
        nargs="*",
        default=["."],
        help="Beat or HeartcareGPT repositories; none for the rows of the other options",
    )
    parser.add_argument("--random", action="store_true", help="and one of random weights")
    parser.add_argument(
        "--supervised", help="folder of a ResNet1d trained by heartcare.training.resnet1d, for a row of its own"
    )
    parser.add_argument("--study", type=Path, default="runs/study", help="folder of beat_study.py")
    parser.add_argument(
        "--designs", nargs="+", default=[], metavar="NAME", help="variants that it has trained, such as paper"
    )
    parser.add_argument("--fold", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=10, help="of the attention probe")
    parser.add_argument("--cache", default="runs/cache")
    parser.add_argument("--limit", type=int, help="only so many records of either side")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    if args.random and not args.models:
        parser.error("--random takes its shape from the first of --models: name one.")
    train, test = (
        PTBXL(args.ptbxl, range(1, 9), args.cache, args.limit),
        PTBXL(args.ptbxl, [args.fold], args.cache, args.limit),
    )
    models = {name: BeatModel.from_pretrained(name, dtype=torch.float32).eval() for name in args.models}
    if args.random:
        torch.manual_seed(args.seed)
        untrained = BeatModel(next(iter(models.values())).config).train()
        # Codebooks of random weights have one code in use; k-means on real states is all that this Beat ever learns.
        untrained(torch.from_numpy(np.stack([train.signal(i) for i in range(min(256, len(train)))])))
        models["random weights"] = untrained.eval()
    models |= {VARIANTS[name].words: TrainedVariant(args.study, name) for name in args.designs}
    items = [SimpleNamespace(statements=(row["scp_codes"],), patients=(row["patient_id"],)) for row in test.rows]
    print(f"\n| Beat | pooling | {' | '.join(SETS)} |\n|---|---|{'---|' * len(SETS)}")

    def print_row(name: str, pooling: str, values: np.ndarray):
        table = classification_table(items, values, args.seed)
        cells = [
            f"{table[each]['auc']:.3f} [{table[each]['low']:.3f}, {table[each]['high']:.3f}]" if each in table else "–"
            for each in SETS
        ]
        print(f"| {name} | {pooling} | {' | '.join(cells)} |", flush=True)

    for name, model in models.items():
        for pooling, values in probed(model, train, test, args.epochs, args.seed).items():
            print_row(name, pooling, values)
    if args.supervised:
        print_row("no Beat: ResNet1d, supervised", "–", logits(load(args.supervised), test).double().sigmoid().numpy())


if __name__ == "__main__":
    main()
