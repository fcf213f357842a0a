"""A supervised ResNet1d on PTB-XL's statements: the upper bar for probes on frozen tokens, and the teacher of both
encoders. Trains on folds 1-8 and prints the macro AUC on fold 9; half an hour on two cores.

    python -m heartcare.training.resnet1d --ptbxl PTBXL_FOLDER --output runs/resnet1d

The shape is that of resnet1d_wang (Wang et al., 2017; Strodthoff et al., 2021), with a stride in each block. Trained on
random crops of 5 s; the logits of a record are the mean over its crops.
"""

import argparse
import json
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm import tqdm

from heartcare.agent.statements import NAMES, SETS, select_set, truth
from heartcare.bench.metrics.probability import macro_auc

from .ptbxl import PTBXL

CROP = 500  # samples at 100 Hz


class Records(Protocol):
    """Any collection of records with a cleaned signal each, float32 (12, 1000) in mV at 100 Hz."""

    def __len__(self) -> int: ...

    def signal(self, i: int) -> np.ndarray:
        """Returns the signal of a record."""


class ResidualBlock(nn.Module):
    """(B, C, n) -> (B, width, n / stride)."""

    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(channels, width, 5, stride, padding=2, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Conv1d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm1d(width),
        )
        self.shortcut = nn.Sequential(nn.Conv1d(channels, width, 1, stride, bias=False), nn.BatchNorm1d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.body(x) + self.shortcut(x)).relu()


class ResNet1d(nn.Module):
    """12 leads in mV at 100 Hz (B, 12, n) -> logits of all classes (B, 76), in the order of
    `heartcare.agent.statements.NAMES`.
    """

    WIDTH, DROPOUT = 128, 0.5

    def __init__(self):
        super().__init__()
        width = self.WIDTH
        self.stem = nn.Sequential(nn.Conv1d(12, width, 7, padding=3, bias=False), nn.BatchNorm1d(width), nn.ReLU())
        self.blocks = nn.Sequential(*(ResidualBlock(width, width, 2) for _ in range(3)))
        self.head = nn.Sequential(nn.Dropout(self.DROPOUT), nn.Linear(2 * width, len(NAMES)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.blocks(self.stem(x))
        return self.head(torch.cat([features.mean(-1), features.amax(-1)], dim=1).float())


def train(data: PTBXL, epochs: int, seed: int, batch_size: int = 128, learning_rate: float = 5e-3) -> ResNet1d:
    """Trains by AdamW with one cycle of learning rates, on binary cross entropy of all classes; matrix products in
    bfloat16.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = ResNet1d()
    labels = torch.from_numpy(given_statements(data)).float()
    steps = epochs * max(1, len(data) // batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, steps)
    order = np.empty(0, np.int64)
    model.train()
    for _ in tqdm(range(steps), desc="ResNet1d"):
        if len(order) < batch_size:
            order = rng.permutation(len(data))
        rows, order = order[:batch_size], order[batch_size:]
        starts = rng.integers(0, 1000 - CROP + 1, len(rows))
        x = torch.from_numpy(np.stack([data.signal(i)[:, start : start + CROP] for i, start in zip(rows, starts)]))
        with torch.autocast("cpu", torch.bfloat16):
            loss = nn.functional.binary_cross_entropy_with_logits(model(x), labels[rows])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return model.eval()


@torch.no_grad()
def record_logits(model: ResNet1d, data: Records, batch_size: int = 128) -> torch.Tensor:
    """Returns the logits of all records, (records, 76), each the mean over the two halves of its record."""
    model.eval()
    logits = []
    for start in range(0, len(data), batch_size):
        x = torch.from_numpy(np.stack([data.signal(i) for i in range(start, min(start + batch_size, len(data)))]))
        halves = x.unflatten(2, (-1, CROP)).transpose(1, 2).flatten(0, 1)
        logits.append(model(halves).view(len(x), -1, len(NAMES)).mean(1))
    return torch.cat(logits)


def given_statements(data: PTBXL) -> np.ndarray:
    """Returns the cardiologists' statements of all records, bool (records, 76)."""
    return np.stack([truth(row["scp_codes"]) for row in data.rows])


def soft_labels(given: np.ndarray, data: Records, teacher: str | Path | None) -> np.ndarray:
    """Returns what an encoder learns of the statements, float32 (records, 76): the mean of the cardiologists'
    statements, 0 or 1, and of the teacher's probabilities; the statements alone without a teacher.

    Args:
        given: Statements of all records, bool (records, 76).
        data: Their signals.
        teacher: Folder of a trained ResNet1d.
    """
    hard = given.astype(np.float32)
    return (hard + record_logits(load_resnet1d(teacher), data).sigmoid().numpy()) / 2 if teacher else hard


def load_resnet1d(folder: str | Path) -> ResNet1d:
    """Loads the weights that this command wrote."""
    model = ResNet1d()
    model.load_state_dict(load_file(Path(folder) / "resnet1d.safetensors"))
    return model.eval()


def macro_auc_of_sets(labels: np.ndarray, scores: np.ndarray) -> dict[str, float | None]:
    """Returns the macro AUC of each set of classes, over the classes that some records have and some have not; None
    where there is no such class. Both arrays are (records, 76).
    """
    table: dict[str, float | None] = {}
    for name in SETS:
        labels_of_set, scores_of_set = select_set(labels, name), select_set(scores, name)
        kept = [k for k in range(labels_of_set.shape[1]) if 0 < labels_of_set[:, k].sum() < len(labels)]
        table[name] = round(float(macro_auc(labels_of_set[:, kept], scores_of_set[:, kept])), 4) if kept else None
    return table


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ptbxl", required=True, help="PTB-XL in its official layout")
    parser.add_argument("--output", default="runs/resnet1d")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--cache", default="runs/cache", help="folder for cleaned signals")
    parser.add_argument("--limit", type=int, help="number of records at most, for training and for fold 9")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    data, validation = (PTBXL(args.ptbxl, folds, args.cache, args.limit) for folds in (range(1, 9), [9]))
    model = train(data, args.epochs, args.seed)
    Path(args.output).mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), Path(args.output) / "resnet1d.safetensors")
    auc = macro_auc_of_sets(given_statements(validation), record_logits(model, validation).double().numpy())
    print(json.dumps({"fold": 9, "parameters": sum(p.numel() for p in model.parameters()), "macro_auc": auc}))


if __name__ == "__main__":
    main()
