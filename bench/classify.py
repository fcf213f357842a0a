"""Scores the classification of PTB-XL's statements by answer probabilities: macro AUC of its label sets, as the field
scores them (Strodthoff et al., 2021).
"""

from collections.abc import Iterator, Sequence

import numpy as np

from ..agent.qa import VERIFY, ask
from ..agent.statements import NAMES, SETS, WORDING, select_set, truth
from .items import Item
from .metrics.probability import macro_auc
from .metrics.statistics import interval, patient_draws

QUESTIONS = {name: ask(VERIFY[0], WORDING[name]) for name in NAMES}  # a model is asked all of them about each record


def scorable_sets(labels: np.ndarray) -> Iterator[tuple[str, list[int]]]:
    """Yields the label sets that records with these labels (records, 76) can be scored by: the name, and the places of
    the classes that have a positive and a negative record.
    """
    for name in SETS:
        positives = select_set(labels, name).sum(0)
        if places := [k for k, count in enumerate(positives) if 0 < count < len(labels)]:
            yield name, places


def classification_table(items: Sequence[Item], probabilities: np.ndarray, seed: int = 0) -> dict[str, dict]:
    """Scores every label set by its AUC.

    Args:
        items: Items of classification, one record each.
        probabilities: (items, 76), in the order of `NAMES`.
        seed: Seed of the bootstrap.

    Returns: set -> "auc", macro over the classes that have a positive and a negative, "low" and "high" by bootstrap of
        patients, "classes", the number of those classes, and "each", class -> its AUC.
    """
    labels = np.stack([truth(item.statements[0]) for item in items])
    weights = patient_draws([item.patients[0] for item in items], seed=seed)
    table = {}
    for name, places in scorable_sets(labels):
        targets, scores = select_set(labels, name), select_set(probabilities, name)
        aucs = {SETS[name][k]: float(macro_auc(targets[:, [k]], scores[:, [k]])) for k in places}
        low, high = interval(macro_auc(targets[:, places], scores[:, places], weights))
        table[name] = {
            "auc": float(np.mean(list(aucs.values()))),
            "low": low,
            "high": high,
            "classes": len(places),
            "each": aucs,
        }
    return table
