"""The teacher of both encoders: networks that read PTB-XL's statements from crops of a record, and the mean of their
answers as soft labels.

    python -m heartcare.training.teacher train --ptbxl PTBXL_FOLDER --network resnet --output runs/teacher
    python -m heartcare.training.teacher train --ptbxl PTBXL_FOLDER --network inception --output runs/teacher
    python -m heartcare.training.teacher train --ptbxl PTBXL_FOLDER --network state_space --output runs/teacher
    python -m heartcare.training.teacher label --ptbxl PTBXL_FOLDER --output runs/teacher
    python -m heartcare.training.teacher score --ptbxl PTBXL_FOLDER --output runs/teacher --fold 10

`train` trains one network on folds 1-8 and keeps its weights at the epoch with the best score on fold 9. `label`
averages the networks in the folder and writes `soft_labels.safetensors` for the records of folds 1-9, which
`training.beat` and `training.vision` learn from; the networks have seen the cardiologists' statements of folds 1-8
themselves. `score` prints the macro AUC of each network and of their mean, with intervals by patient.

On two cores with matrix products in bfloat16 (AMX), the networks take 25, 50 and 75 minutes; on a GPU, a few seconds an
epoch.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from heartcare.agent.statements import NAMES
from heartcare.version_heartcare import HEARTCARE_VERSION

from .augmentation import draw_share, lose_leads, mix, vary
from .ptbxl import PTBXL
from .statement_labels import (
    AUC_COLUMNS,
    AUC_RULE,
    auc_cells,
    family_loss,
    given_statements,
    macro_auc_of_sets,
    write_soft_labels,
)
from .teacher_networks import NETWORKS

CROP = 250  # samples at 100 Hz
AVERAGING = 0.998  # decay of the moving average of the weights, by step
CHOSEN_BY = ("super", "form", "rhythm", "all")  # label sets whose mean macro AUC on fold 9 chooses the epoch


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that all commands share."""
    parser.add_argument("--ptbxl", required=True, help="PTB-XL in its official layout")
    parser.add_argument("--output", type=Path, default=Path("runs/teacher"), help="a folder for each network")
    parser.add_argument("--cache", default="runs/cache", help="folder for cleaned signals")
    parser.add_argument("--limit", type=int, help="number of records at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class TeacherRecipe:
    """Settings of the training of one network.

    Attributes:
        network: Name in `teacher_networks.NETWORKS`.
        epochs: Number of passes over folds 1-8.
        batch_size: Number of crops in a step, or all records where there are fewer.
        learning_rate: Largest rate of the cycle.
        crop: Length of a crop in samples of 10 ms.
        seed: Seed of weights, order, crops and augmentation.
    """

    network: str
    epochs: int = 24
    batch_size: int = 128
    learning_rate: float = 4e-3
    crop: int = CROP
    seed: int = 0

    def size_of_batch(self, records: int) -> int:
        """Returns the number of crops in a step, for a data set of this number of records."""
        return min(self.batch_size, records)


def train_command(args: argparse.Namespace) -> None:
    """Trains one network, and prints its score after each epoch."""
    data, validation = (PTBXL(args.ptbxl, folds, args.cache, args.limit) for folds in (range(1, 9), [9]))
    recipe = TeacherRecipe(args.network, args.epochs, args.batch_size, args.learning_rate, args.crop, args.seed)
    train(recipe, data, validation, args.output / (args.name or args.network), args.device)


def train(recipe: TeacherRecipe, data: PTBXL, validation: PTBXL, folder: Path, device: str = "cpu") -> dict:
    """Trains a network by AdamW with one cycle of learning rates. The moving average of its weights is scored on the
    validation records after each epoch, and the best one is kept as `folder/network.safetensors`, with `score.json`.

    Returns:
        The score of the best epoch: the recipe, the epoch, and the macro AUC of each label set.
    """
    torch.manual_seed(recipe.seed)
    rng, generator = np.random.default_rng(recipe.seed), torch.Generator(device).manual_seed(recipe.seed)
    network = NETWORKS[recipe.network]().to(device).train()
    labels, truth = torch.from_numpy(given_statements(data)).float(), given_statements(validation)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=0.02)
    steps = max(2, recipe.epochs * (len(data) // recipe.size_of_batch(len(data))))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, steps, pct_start=0.2)
    averaged = AveragedModel(network, avg_fn=moving_average, use_buffers=True)
    best: dict = {"chosen_by": -1.0}
    for epoch in range(1, recipe.epochs + 1):
        network.train()
        for rows, crops in tqdm(crops_of_epoch(data, recipe, rng), desc=f"epoch {epoch}"):
            x = lose_leads(vary(crops.to(device), generator), generator)
            share = draw_share(rng)
            x, y = mix(x, share), mix(labels[rows].to(device), share)
            with torch.autocast(device, torch.bfloat16):
                logits = network(x)
            family_loss(logits.float(), y).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            averaged.update_parameters(network)
        logits = record_logits(averaged.module, validation, crop=recipe.crop, device=device)
        auc = macro_auc_of_sets(truth, logits.numpy())
        chosen_by = float(np.mean([auc[name] or 0.0 for name in CHOSEN_BY]))
        score = {**asdict(recipe), "epoch": epoch, "chosen_by": chosen_by, "macro_auc_fold_9": auc}
        score["heartcare_version"] = HEARTCARE_VERSION
        print(json.dumps(score), flush=True)
        if chosen_by > best["chosen_by"]:
            best = score
            folder.mkdir(parents=True, exist_ok=True)
            save_file(averaged.module.state_dict(), folder / "network.safetensors")
            (folder / "score.json").write_text(json.dumps(best, indent=2))
    return best


def moving_average(averaged: torch.Tensor, current: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    """Returns the next moving average of a weight. Its decay is smaller in the first steps, so that the start is soon
    forgotten.
    """
    decay = torch.clamp((1 + steps) / (10 + steps), max=AVERAGING)
    return (decay * averaged + (1 - decay) * current).to(averaged.dtype)


def crops_of_epoch(
    data: PTBXL, recipe: TeacherRecipe, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Yields rows of `data` in random order, and a random crop of each, float32 (B, 12, crop) in mV."""
    order, size = rng.permutation(len(data)), recipe.size_of_batch(len(data))
    for start in range(0, len(order) - size + 1, size):
        rows = order[start : start + size]
        places = rng.integers(0, 1000 - recipe.crop + 1, size)
        crops = [data.signal(i)[:, place : place + recipe.crop] for i, place in zip(rows, places)]
        yield rows, torch.from_numpy(np.stack(crops))


def label_command(args: argparse.Namespace) -> None:
    """Writes the mean answers of the networks for the records of folds 1-9."""
    data = PTBXL(args.ptbxl, range(1, 10), args.cache, args.limit)
    answers = answers_of_networks(args.output, data, args.device)
    write_soft_labels(args.output / "soft_labels.safetensors", data, answers["mean"].numpy())


def score_command(args: argparse.Namespace) -> None:
    """Prints a table of the networks' macro AUC on one fold."""
    data = PTBXL(args.ptbxl, [args.fold], args.cache, args.limit)
    print(f"| network, fold {args.fold} | {AUC_COLUMNS} |\n|---|{AUC_RULE}")
    for name, probabilities in answers_of_networks(args.output, data, args.device).items():
        print(f"| {name} | {auc_cells(data, probabilities.double().numpy(), args.seed)} |", flush=True)


def answers_of_networks(folder: Path, data: PTBXL, device: str = "cpu") -> dict[str, torch.Tensor]:
    """Returns the probabilities that each trained network below `folder` gives all records, and those of their mean
    logits.

    Returns:
        Name of a network's folder -> float32 (records, 76); last "mean".

    Raises: `FileNotFoundError` where no network was trained.
    """
    logits = {}
    for path in sorted(folder.glob("*/network.safetensors")):
        score = json.loads((path.parent / "score.json").read_text())
        network = NETWORKS[score["network"]]()
        network.load_state_dict(load_file(path))
        logits[path.parent.name] = record_logits(network.to(device), data, crop=score["crop"], device=device)
    if not logits:
        raise FileNotFoundError(f"{folder} holds no trained network; run the `train` command first.")
    logits["mean"] = torch.stack(list(logits.values())).mean(0)
    return {name: values.sigmoid() for name, values in logits.items()}


@torch.no_grad()
def record_logits(
    network: nn.Module, data: PTBXL, batch_size: int = 64, crop: int = CROP, device: str = "cpu"
) -> torch.Tensor:
    """Returns the logits of all records, float32 (records, 76): the mean over crops that overlap by half.

    Args:
        network: A trained network of `teacher_networks`.
        data: Records.
        batch_size: Number of records at a time.
        crop: Length of a crop in samples.
        device: Device of the network.
    """
    network.eval()
    logits = []
    for start in range(0, len(data), batch_size):
        x = data.signals(start, start + batch_size).to(device)
        crops = x.unfold(2, crop, crop // 2).transpose(1, 2).flatten(0, 1).contiguous()
        with torch.autocast(device, torch.bfloat16):
            answers = network(crops)
        logits.append(answers.float().view(len(x), -1, len(NAMES)).mean(1).cpu())
    return torch.cat(logits)


COMMANDS = {"train": train_command, "label": label_command, "score": score_command}


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    training, labelling, scoring = (commands.add_parser(name) for name in ("train", "label", "score"))
    for command in (training, labelling, scoring):
        add_options(command)
    training.add_argument("--network", choices=NETWORKS, required=True)
    training.add_argument("--name", help="name of the folder in --output; the network's, unless there are several")
    for name in ("epochs", "batch_size", "learning_rate", "crop"):
        default = getattr(TeacherRecipe, name)
        training.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    scoring.add_argument("--fold", type=int, default=9)
    args = parser.parse_args(argv)
    COMMANDS[args.command](args)


if __name__ == "__main__":
    main()
