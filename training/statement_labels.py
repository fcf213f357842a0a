"""Statements as networks learn them: the cardiologists' labels, the teacher's soft labels, the loss that teaches them,
and the macro AUC that scores them.
"""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import nn

from heartcare.agent.statements import FORM, NAMES, RHYTHM, SETS, SUPERCLASS, select_set, truth
from heartcare.bench.classify import classification_table
from heartcare.bench.metrics.probability import macro_auc
from heartcare.version_heartcare import HEARTCARE_VERSION

from .ptbxl import PTBXL

# Number of labels in each family, in the order of NAMES; each family is read by a head of its own.
FAMILIES = {"super": len(SUPERCLASS), "rhythm": len(RHYTHM), "form": len(FORM)}
FAMILIES["diagnosis"] = len(NAMES) - sum(FAMILIES.values())
# Weight of each family's loss, the sum of its labels' binary cross entropies. There are few rhythms besides sinus
# rhythm, so that their sum is small.
FAMILY_WEIGHTS = {"super": 1.0, "rhythm": 2.0, "form": 1.0, "diagnosis": 1.0}


def given_statements(data: PTBXL) -> np.ndarray:
    """Returns the cardiologists' statements of all records, bool (records, 76)."""
    return np.stack([truth(row["scp_codes"]) for row in data.rows])


def macro_auc_of_sets(labels: np.ndarray, scores: np.ndarray, positives: int = 1) -> dict[str, float | None]:
    """Returns the macro AUC of each set of classes; None where no class has enough records.

    Args:
        labels: Bool (records, 76).
        scores: Logits or probabilities (records, 76).
        positives: A class counts where at least this number of records have it, and at least this number do not.
    """
    table: dict[str, float | None] = {}
    for name in SETS:
        labels_of_set, scores_of_set = select_set(labels, name), select_set(scores, name)
        counts = labels_of_set.sum(0)
        kept = np.flatnonzero((counts >= positives) & (counts <= len(labels) - positives))
        table[name] = round(float(macro_auc(labels_of_set[:, kept], scores_of_set[:, kept])), 4) if len(kept) else None
    return table


def family_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Returns the sum of all labels' binary cross entropies, each with the weight of its family and averaged over the
    batch.

    Args:
        logits: float32 (B, 76).
        labels: Probabilities 0 to 1, float32 (B, 76).
    """
    losses = nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(0)
    parts = zip(losses.split(list(FAMILIES.values())), FAMILY_WEIGHTS.values())
    return sum(weight * part.sum() for part, weight in parts)


AUC_COLUMNS = " | ".join([*SETS, "all, 10 and more"])  # heading of the cells of `auc_cells`
AUC_RULE = "---|" * (len(SETS) + 1)


def auc_cells(data: PTBXL, probabilities: np.ndarray, seed: int) -> str:
    """Returns the cells of a Markdown row: macro AUC of each label set with its interval by patient, and of all
    statements that at least ten records have.

    Args:
        data: The records that were read.
        probabilities: Probabilities of all labels, float64 (records, 76).
        seed: Seed of the bootstrap.
    """
    items = [SimpleNamespace(statements=(row["scp_codes"],), patients=(row["patient_id"],)) for row in data.rows]
    table = classification_table(items, probabilities, seed)
    cells = [
        f"{table[name]['auc']:.3f} [{table[name]['low']:.3f}, {table[name]['high']:.3f}]" if name in table else "–"
        for name in SETS
    ]
    frequent = macro_auc_of_sets(given_statements(data), probabilities, positives=10)["all"]
    return " | ".join([*cells, "–" if frequent is None else f"{frequent:.3f}"])


def write_soft_labels(path: str | Path, data: PTBXL, probabilities: np.ndarray) -> None:
    """Writes a teacher's probabilities for all records, in steps of 1/255.

    Args:
        path: File to write (safetensors): `ecg_id` int32 (records,) and `probabilities` uint8 (records, 76);
            its metadata name the `heartcare_version` that wrote it.
        data: The records.
        probabilities: float32 (records, 76).
    """
    ids = np.array([int(row["ecg_id"]) for row in data.rows], np.int32)
    labels = {"ecg_id": ids, "probabilities": np.round(probabilities * 255).astype(np.uint8)}
    save_file(labels, path, {"heartcare_version": HEARTCARE_VERSION})


def soft_labels(given: np.ndarray, ids: Sequence[str], path: str | Path | None) -> np.ndarray:
    """Returns the probabilities of the statements that an encoder learns, float32 (records, 76): the mean of the
    cardiologists' statements, 0 or 1, and of the teacher's probabilities. A record without an answer of the teacher,
    such as a simulated one, has its statements alone.

    Args:
        given: Statements of all records, bool (records, 76).
        ids: PTB-XL's `ecg_id` of each record, or an empty text.
        path: File that `heartcare.training.teacher label` wrote; None for the statements alone.

    Raises: `ValueError` where the file has none of the records.
    """
    labels = given.astype(np.float32)
    if path is None:
        return labels
    file = load_file(path)
    places = {str(ecg_id): place for place, ecg_id in enumerate(file["ecg_id"])}
    known = [(row, places[ecg_id]) for row, ecg_id in enumerate(ids) if ecg_id in places]
    if not known:
        raise ValueError(
            f"{path} has labels of none of these {len(ids)} records; were they made from another data set?"
        )
    rows, found = (list(part) for part in zip(*known))
    labels[rows] = (labels[rows] + file["probabilities"][found].astype(np.float32) / 255) / 2
    return labels
