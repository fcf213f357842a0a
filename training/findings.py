"""Findings: train the head that reads all statements from Beat's codes and measured numbers, calibrate it, and keep it
with the model.

    python -m heartcare.training.findings --ptbxl PTBXL_FOLDER --model . --output runs/findings \\
        --soft-labels training/soft_labels.safetensors

Trains on folds 1-8 of PTB-XL, each record as a whole, as a window, and with the leads of pages and small devices. The
numbers are left out now and then, so that the head reads codes alone as well. Calibration and the thresholds of the
sets are fitted on fold 9. Writes the whole model to --output, with the new head in it, and prints the macro AUC on fold
9.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from heartcare.agent.qa import Labels
from heartcare.agent.statements import NAMES, WORDING
from heartcare.findings_heartcare import FindingsHead
from heartcare.modeling_heartcare import HeartcareForConditionalGeneration
from heartcare.processing_heartcare import HeartcareProcessor
from heartcare.scp_heartcare import NORMAL, TOPICS

from .calibration import fit_calibrated
from .finding_views import View, Views
from .ptbxl import PTBXL
from .statement_labels import family_loss, given_statements, macro_auc_of_sets, soft_labels

# Answers that PTB-XL's notes give, beside the statements of SCP-ECG; their label is "topic:code".
NOTES = [(topic, code) for topic in ("axis", "stage", "noise", "ectopy") for code in TOPICS[topic]]
NOTES.append(("waveform", NORMAL["waveform"][0]))
LABELS: dict[str, str] = WORDING | {f"{topic}:{code}": TOPICS[topic][code] for topic, code in NOTES}
WITHOUT_NUMBERS = 0.15  # share of the records of a batch that are read without their numbers
BATCH = 256


class Reader:
    """The head for findings, with the codebooks that give its inputs.

    Args:
        model: A model with a head for findings.
    """

    def __init__(self, model: HeartcareForConditionalGeneration):
        self.head, self.quantizer = model.findings_head, model.beat.quantizer

    def __call__(self, view: View, rows: torch.Tensor, without_numbers: float = 0.0) -> torch.Tensor:
        """Returns the logits of some records (rows, labels)."""
        places = rows.numpy()  # a tensor of one element would be taken for a number
        codes = torch.from_numpy(view.codes[places]).long()
        with torch.no_grad():
            core = self.quantizer.levels[0].decode(codes[:, 0])
            others = self.quantizer.decode(codes) - core
        numbers = torch.from_numpy(view.numbers[places])
        numbers[torch.rand(len(rows)) < without_numbers] = torch.nan
        return self.head(core, others, torch.from_numpy(view.gain[places]), codes[:, 0] >= 0, numbers)

    @torch.no_grad()
    def logits(self, view: View) -> torch.Tensor:
        """Returns the logits of all records (records, labels)."""
        self.head.eval()
        return torch.cat([self(view, rows) for rows in torch.arange(len(view.gain)).split(1024)])


def notes_labels(data: PTBXL) -> np.ndarray:
    """Returns `answers_of_notes` of PTB-XL's records."""
    return answers_of_notes([Labels(record["scp_codes"], notes=record) for record in data.rows])


def answers_of_notes(records: Sequence[Labels]) -> np.ndarray:
    """Returns the answers in `NOTES`, float32 (records, labels): 1 true, 0 false, NaN where a record's notes do not
    tell.
    """
    table = np.full((len(records), len(NOTES)), np.nan, np.float32)
    for row, labels in zip(table, records):
        for column, (topic, code) in enumerate(NOTES):
            if answers := labels.answers(topic):
                row[column] = code in answers
            elif topic == "stage" and "MI" not in labels.superclasses():
                row[column] = False
    return table


def train_head(
    reader: Reader, views: Sequence[View], statements: torch.Tensor, notes: torch.Tensor, epochs: int, rate: float
) -> None:
    """Trains the head by AdamW with one cycle of learning rates; each epoch takes the next of the views.

    Args:
        reader: The head.
        views: Views of the same records.
        statements: Probabilities of the statements, float32 (records, 76).
        notes: Answers of the topics of notes, float32 (records, labels), NaN where unknown.
        epochs: Number of epochs.
        rate: Highest learning rate.
    """
    standardize(reader.head, views[0])

    def loss_of_batch(epoch: int, rows: torch.Tensor) -> torch.Tensor:
        logits = reader(views[epoch % len(views)], rows, WITHOUT_NUMBERS)
        return loss_of(logits, statements[rows], notes[rows])

    train_by_one_cycle(reader.head, loss_of_batch, len(statements), epochs, rate)


def standardize(head: FindingsHead, view: View) -> None:
    """Sets the mean and the deviation by which the head standardizes numbers and gains."""
    given = np.concatenate([view.numbers, np.log(view.gain)[:, None]], axis=1)
    head.centre.copy_(torch.from_numpy(np.nanmean(given, axis=0)))
    head.scale.copy_(torch.from_numpy(np.nanstd(given, axis=0) + 1e-6))


def loss_of(logits: torch.Tensor, statements: torch.Tensor, notes: torch.Tensor) -> torch.Tensor:
    """Returns the loss of the statements and of the notes; unknown notes do not count."""
    known = ~notes.isnan()
    losses = nn.functional.binary_cross_entropy_with_logits(
        logits[:, len(NAMES) :], notes.nan_to_num(0.0), reduction="none"
    )
    return family_loss(logits[:, : len(NAMES)], statements) + (losses * known).sum(1).mean()


def train_by_one_cycle(
    head: nn.Module,
    loss_of_batch: Callable[[int, torch.Tensor], torch.Tensor],
    records: int,
    epochs: int,
    rate: float,
) -> None:
    """Trains a head by AdamW with one cycle of learning rates, and freezes it.

    Args:
        head: The head.
        loss_of_batch: Function of an epoch's number and of the numbers of some records, int64 (B,), that returns the
            loss.
        records: Number of records.
        epochs: Number of epochs.
        rate: Highest learning rate.
    """
    head.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(head.parameters(), weight_decay=0.1)
    batches = -(-records // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, epochs=epochs, steps_per_epoch=batches)
    for epoch in tqdm(range(epochs), desc=f"{type(head).__name__}, epochs"):
        for rows in torch.randperm(records).split(BATCH):
            loss = loss_of_batch(epoch, rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    head.requires_grad_(False).eval()


def calibrate(reader: Reader, view: View, statements: np.ndarray, notes: np.ndarray) -> None:
    """Fits the calibration of all labels and the thresholds of the sets on records that the head was not trained on.

    Args:
        reader: The trained head.
        view: The records.
        statements: Cardiologists' statements, bool (records, 76).
        notes: Answers of the topics of notes, float32 (records, labels), NaN where unknown.
    """
    logits = reader.logits(view)
    labels = torch.from_numpy(np.concatenate([statements.astype(np.float32), notes], axis=1))
    fit_calibrated(reader.head, logits, labels)


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ptbxl", required=True)
    parser.add_argument("--model", default=".", help="HeartcareGPT repository that gets the head")
    parser.add_argument("--soft-labels", type=Path, help="file of `heartcare.training.teacher label`")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--cache", type=Path, default="runs/cache")
    parser.add_argument("--limit", type=int, help="number of records at most, for training and for calibration")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    torch.manual_seed(args.seed)
    model = HeartcareForConditionalGeneration.from_pretrained(args.model, dtype=torch.float32)
    model.add_findings_head(LABELS)
    train, held_back = (PTBXL(args.ptbxl, folds, args.cache, args.limit) for folds in (range(1, 9), [9]))
    views = Views(model.beat, train, args.cache)
    quarter = train.signal(0).shape[1] // 4
    whole = [views.view("whole", shift=shift) for shift in np.linspace(0, quarter, 5).astype(int)]
    leads, window, other_leads = views.view("leads", 0), views.view("window", 0), views.view("leads", 1)
    order = [whole[0], leads, whole[1], window, whole[2], other_leads, whole[3], whole[4]]
    ids = [row["ecg_id"] for row in train.rows]
    statements = torch.from_numpy(soft_labels(given_statements(train), ids, args.soft_labels))
    reader = Reader(model)
    train_head(reader, order, statements, torch.from_numpy(notes_labels(train)), args.epochs, args.learning_rate)

    view = Views(model.beat, held_back, args.cache).view("whole")
    given = given_statements(held_back)
    calibrate(reader, view, given, notes_labels(held_back))
    print(f"fold 9: {macro_auc_of_sets(given, reader.logits(view)[:, : len(NAMES)].numpy())}")
    model.save_pretrained(args.output)
    HeartcareProcessor.from_pretrained(args.model).save_pretrained(args.output)


if __name__ == "__main__":
    main()
