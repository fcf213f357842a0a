"""Compares probabilities with the truth: AUC, calibration, and the gain of answering only when sure."""

from collections.abc import Sequence

import numpy as np

BINS = 15  # intervals of confidence for the calibration error


def auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Returns the area under the ROC curve: the share of (positive, negative) pairs in the right order, ties half.

    Args:
        labels: bool (n,).
        scores: (n,).
        weights: (draws, n) or (n,), number of times that each item counts, as in a bootstrap; 1 by default.

    Returns: float64 (draws,), or a number for one draw; nan where a draw lacks one of the two classes.
    """
    labels = np.asarray(labels, bool)
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, float)
    order = np.argsort(scores, kind="stable")
    drawn = np.atleast_2d(weights)[:, order]
    starts = np.flatnonzero(np.concatenate([[True], np.diff(np.asarray(scores)[order]) > 0]))
    positive = np.add.reduceat(drawn * labels[order], starts, axis=1)
    negative = np.add.reduceat(drawn * ~labels[order], starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2
    with np.errstate(invalid="ignore"):
        area = (positive * below).sum(1) / (positive.sum(1) * negative.sum(1))
    return area if weights.ndim == 2 else area[0]


def macro_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Returns the mean AUC of the classes that have a positive and a negative.

    Args: labels, scores: (n, classes); weights: as in `auc`. Returns: as `auc`.
    """
    areas = [auc(labels[:, k], scores[:, k], weights) for k in range(labels.shape[1])]
    with np.errstate(invalid="ignore"):
        table = np.stack(areas)
        return np.nansum(table, 0) / np.maximum(1, (~np.isnan(table)).sum(0)) if len(areas) else np.nan


def expected_calibration_error(correct: Sequence[float], confidence: Sequence[float]) -> float:
    """Returns the ECE: the mean distance of accuracy and confidence over `BINS` equal intervals of confidence (0, 1],
    weighted by the number of answers in each.
    """
    correct, confidence = np.asarray(correct, float), np.asarray(confidence, float)
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = [abs(correct[place == k].sum() - confidence[place == k].sum()) for k in np.unique(place)]
    return float(sum(gaps) / len(correct))


def risk_coverage(correct: Sequence[float], confidence: Sequence[float]) -> dict[str, float]:
    """Returns the gain of answering the surest questions alone.

    Returns: "aurc", the area under the risk-coverage curve (mean error over all coverages, lower is better; answers of
        equal confidence count alike), and "accuracy_50", "accuracy_80", "accuracy_100", the accuracy when the surest
        50, 80, 100 % are answered.
    """
    correct, confidence = np.asarray(correct, float), np.asarray(confidence, float)
    order = np.argsort(-confidence, kind="stable")
    ranked = correct[order]
    # Within a tie each answer has the tie's mean, so that the order of the file does not matter.
    starts = np.flatnonzero(np.concatenate([[True], np.diff(confidence[order]) != 0]))
    sizes = np.diff(np.append(starts, len(ranked)))
    ranked = np.repeat(np.add.reduceat(ranked, starts) / sizes, sizes)
    accuracy = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    result = {"aurc": float(np.mean(1 - accuracy))}
    return result | {
        f"accuracy_{share}": float(accuracy[max(1, round(share / 100 * len(ranked))) - 1]) for share in (50, 80, 100)
    }


def agreement(one: Sequence, other: Sequence) -> dict[str, float]:
    """Returns how two readings of the same records agree: "agreement", the share of equal ones, and Cohen's "kappa",
    which takes off the share that chance alone would give.
    """
    share = float(np.mean([a == b for a, b in zip(one, other, strict=True)]))
    values = set(one) | set(other)
    chance = sum(list(one).count(v) * list(other).count(v) for v in values) / len(one) ** 2
    return {"agreement": share, "kappa": (share - chance) / (1 - chance) if chance < 1 else 1.0}
