"""Findings of pictures: train the head that reads all statements from what the ViT sees, calibrate it, and keep it with
the model.

    python -m heartcare.training.picture_findings --data runs/heartcare400k --model . --output runs/picture_findings \\
        --soft-labels training/soft_labels.safetensors

Trains on the pictures of the training split, calibrates on those of the validation split, and prints the macro AUC
there. Writes the whole model to --output, with the new head in it.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

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


class LabelledPictures(NamedTuple):
    """The pictures of one split.

    Attributes:
        slots: float16 (pictures, slots, width), as `HeartcareData.slots`.
        statements: Cardiologists' statements, bool (pictures, 76).
        notes: Answers in `NOTES`, float32 (pictures, labels), NaN where unknown.
        ids: Id of the record of each picture.
    """

    slots: np.ndarray
    statements: np.ndarray
    notes: np.ndarray
    ids: list[str]


def read_pictures(
    split: str, model: HeartcareForConditionalGeneration, processor: HeartcareProcessor, args: argparse.Namespace
) -> LabelledPictures:
    """Reads the pictures of a split, as the model's ViT sees them, and their labels.

    Raises: `ValueError` for a split without pictures.
    """
    data = HeartcareData(args.data, split, args.cache, processor, args.pictures)
    data.encode_pictures(model, QuestionPacker(processor))
    drawn = [record for record in range(len(data.slots)) if data.drawings[record]]
    if not drawn:
        raise ValueError(f"{args.data} has records without pictures alone; build it without --no-images.")
    labels, ids = [data.labels[record] for record in drawn], list(data.record)
    statements = np.stack([truth(each.statements) for each in labels])
    return LabelledPictures(data.slots[drawn], statements, answers_of_notes(labels), [ids[record] for record in drawn])


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
    head = model.picture_head
    train, validation = (read_pictures(split, model, processor, args) for split in ("train", "validation"))
    statements = torch.from_numpy(soft_labels(train.statements, train.ids, args.soft_labels))
    train_head(head, train.slots, statements, torch.from_numpy(train.notes), args.epochs, args.learning_rate)
    logits = logits_of(head, validation.slots)
    labels = np.concatenate([validation.statements.astype(np.float32), validation.notes], axis=1)
    fit_calibrated(head, logits, torch.from_numpy(labels))
    print(f"validation: {macro_auc_of_sets(validation.statements, logits[:, : len(NAMES)].numpy())}")
    model.save_pretrained(args.output)
    processor.save_pretrained(args.output)


if __name__ == "__main__":
    main()
