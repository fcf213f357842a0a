"""Findings of pictures: train the head that reads all statements from what the ViT sees, calibrate it, and keep it with
the model.

    python -m heartcare.training.picture_findings --data runs/heartcare400k --model . --output runs/picture_findings \\
        --soft-labels training/soft_labels.safetensors

Trains on the pictures of the training split, calibrates on those of the validation split, and prints the macro AUC
there. Writes the whole model to --output, with the new head in it.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from heartcare.agent.statements import NAMES, truth
from heartcare.findings_heartcare import PictureHead
from heartcare.modeling_heartcare import HeartcareForConditionalGeneration
from heartcare.processing_heartcare import HeartcareProcessor

from .calibration import fit_calibrated
from .data import HeartcareData
from .findings import answers_of_notes, loss_of, train_by_one_cycle
from .packing import QuestionPacker
from .statement_labels import macro_auc_of_sets, soft_labels


def train_head(
    head: PictureHead, slots: np.ndarray, statements: torch.Tensor, notes: torch.Tensor, epochs: int, rate: float
) -> None:
    """Trains the head by AdamW with one cycle of learning rates.

    Args:
        head: The head.
        slots: float16 (pictures, slots, width), as `HeartcareData.slots`.
        statements: Probabilities of the statements, float32 (pictures, 76).
        notes: Answers of the topics of notes, float32 (pictures, labels), NaN where unknown.
        epochs: Number of epochs.
        rate: Highest learning rate.
    """

    def loss_of_batch(_: int, rows: torch.Tensor) -> torch.Tensor:
        return loss_of(head(torch.from_numpy(slots[rows.numpy()]).float()), statements[rows], notes[rows])

    train_by_one_cycle(head, loss_of_batch, len(slots), epochs, rate)


@torch.no_grad()
def logits_of(head: PictureHead, slots: np.ndarray) -> torch.Tensor:
    """Returns the logits of all pictures (pictures, labels)."""
    return torch.cat([head(torch.from_numpy(part.copy()).float()) for part in np.array_split(slots, 16)])


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of a data set built by python -m heartcare.agent build")
    parser.add_argument("--model", default=".", help="HeartcareGPT repository that gets the head")
    parser.add_argument("--soft-labels", type=Path, help="file of `heartcare.training.teacher label`")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=20000, help="number of records at most whose pictures are used")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--cache", type=Path, default="runs/cache")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    torch.manual_seed(args.seed)
    model = HeartcareForConditionalGeneration.from_pretrained(args.model, dtype=torch.float32)
    processor = HeartcareProcessor.from_pretrained(args.model)
    model.add_picture_head()
    head, packer = model.picture_head, QuestionPacker(processor)
    splits = [
        HeartcareData(args.data, split, args.cache, processor, args.pictures) for split in ("train", "validation")
    ]
    for data in splits:
        data.encode_pictures(model, packer)
    shown = [[k for k in range(len(data.slots)) if data.drawings[k]] for data in splits]
    if not all(shown):
        raise ValueError(f"{args.data} has records without pictures alone; build it without --no-images.")
    slots = [data.slots[rows] for data, rows in zip(splits, shown)]
    given = [np.stack([truth(data.labels[k].statements) for k in rows]) for data, rows in zip(splits, shown)]
    notes = [answers_of_notes([data.labels[k] for k in rows]) for data, rows in zip(splits, shown)]
    ids = list(splits[0].record)
    soft = soft_labels(given[0], [ids[k] for k in shown[0]], args.soft_labels)
    train_head(head, slots[0], torch.from_numpy(soft), torch.from_numpy(notes[0]), args.epochs, args.learning_rate)
    logits = logits_of(head, slots[1])
    labels = torch.from_numpy(np.concatenate([given[1].astype(np.float32), notes[1]], axis=1))
    fit_calibrated(head, logits, labels)
    print(f"validation: {macro_auc_of_sets(given[1], logits[:, : len(NAMES)].numpy())}")
    model.save_pretrained(args.output)
    processor.save_pretrained(args.output)


if __name__ == "__main__":
    main()
