"""A supervised ResNet1d on PTB-XL's statements: the bar for probes on frozen tokens, and the teacher of Beat's core
level.

    python -m heartcare.training.resnet1d --ptbxl PTBXL_FOLDER --output runs/resnet1d    # trains on folds 1-8, prints the macro
    AUC on fold 9

The shape is that of resnet1d_wang (Wang et al., 2017; Strodthoff et al., 2021), with a stride in each block. Trained on
random crops of 5 s; a record's answer is the mean over its crops.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm import tqdm

from heartcare.agent.statements import NAMES, SETS, select_set, truth
from heartcare.bench.metrics.probability import macro_auc

from .ptbxl import PTBXL

CROP = 500  # samples at 100 Hz


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

    def __init__(self, width: int = 128, classes: int = len(NAMES), dropout: float = 0.5):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(12, width, 7, padding=3, bias=False), nn.BatchNorm1d(width), nn.ReLU())
        self.blocks = nn.Sequential(*(ResidualBlock(width, width, 2) for _ in range(3)))
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * width, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.blocks(self.stem(x))
        return self.head(torch.cat([features.mean(-1), features.amax(-1)], dim=1).float())


@torch.no_grad()
def logits(model: ResNet1d, data: PTBXL, batch_size: int = 128) -> torch.Tensor:
    """Of all records, the mean over the two halves of each: (records, 76)."""
    model.eval()
    found = []
    for start in range(0, len(data), batch_size):
        x = torch.from_numpy(np.stack([data.signal(i) for i in range(start, min(start + batch_size, len(data)))]))
        found.append(
            model(x.unflatten(2, (-1, CROP)).transpose(1, 2).flatten(0, 1)).view(len(x), -1, len(NAMES)).mean(1)
        )
    return torch.cat(found)


def train(data: PTBXL, epochs: int, seed: int, batch_size: int = 128, learning_rate: float = 5e-3) -> ResNet1d:
    """AdamW with one cycle of learning rates, on binary cross entropy of all classes; matrix products in bfloat16."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = ResNet1d()
    labels = torch.from_numpy(np.stack([truth(row["scp_codes"]) for row in data.rows])).float()
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


def load(folder: str | Path) -> ResNet1d:
    model = ResNet1d()
    model.load_state_dict(load_file(Path(folder) / "resnet1d.safetensors"))
    return model.eval()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ptbxl", required=True, help="PTB-XL in its official layout")
    parser.add_argument("--output", default="runs/resnet1d")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--cache", default="runs/cache", help="where cleaned signals are kept")
    parser.add_argument("--limit", type=int, help="only so many records of either side")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    data, validation = (
        PTBXL(args.ptbxl, range(1, 9), args.cache, args.limit),
        PTBXL(args.ptbxl, [9], args.cache, args.limit),
    )
    model = train(data, args.epochs, args.seed)
    Path(args.output).mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), Path(args.output) / "resnet1d.safetensors")
    labels = np.stack([truth(row["scp_codes"]) for row in validation.rows])
    values = logits(model, validation).double().numpy()
    found = {}
    for name in SETS:
        those, scores = select_set(labels, name), select_set(values, name)
        kept = [k for k in range(those.shape[1]) if 0 < those[:, k].sum() < len(those)]
        found[name] = round(float(macro_auc(those[:, kept], scores[:, kept])), 4) if kept else None
    print(json.dumps({"fold": 9, "parameters": sum(p.numel() for p in model.parameters()), "macro_auc": found}))


if __name__ == "__main__":
    main()
