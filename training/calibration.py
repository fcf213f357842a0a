"""Calibration of a multi-label classifier on records that it was not trained on: a slope and an intercept for each
label, and thresholds for sets of statements.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from heartcare.findings_heartcare import COVERAGES, CalibratedHead

# Labels with few records keep a slope near 1 and an intercept near 0.
SLOPE_OCTAVES = 0.5  # deviation of the prior of a label's slope
INTERCEPT_NATS = 2.0  # deviation of the prior of its intercept


def fit_calibration(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Fits the slope and the intercept of each label by maximum a posteriori (Platt scaling with a prior), by L-BFGS.

    Args:
        logits: float32 (records, labels).
        labels: 1 true, 0 false, NaN unknown; float32 (records, labels).

    Returns: slopes and intercepts, float32 (labels,) both; a calibrated logit is slope * logit + intercept.
    """
    octaves = torch.zeros(labels.shape[1], dtype=torch.float64, requires_grad=True)
    intercept = torch.zeros(labels.shape[1], dtype=torch.float64, requires_grad=True)
    known, targets = ~labels.isnan(), labels.nan_to_num(0.0).double()
    optimizer = torch.optim.LBFGS([octaves, intercept], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        calibrated = logits.double() * 2**octaves + intercept
        losses = nn.functional.binary_cross_entropy_with_logits(calibrated, targets, reduction="none")
        prior = (octaves / SLOPE_OCTAVES).square() + (intercept / INTERCEPT_NATS).square()
        loss = losses[known].sum() + prior.sum() / 2
        loss.backward()
        return loss

    optimizer.step(closure)
    return (2 ** octaves.detach()).float(), intercept.detach().float()


def prior_logits(labels: torch.Tensor) -> torch.Tensor:
    """Returns the logit of the share of the records that have each label, with half a record added to both sides,
    float32 (labels,).

    Args:
        labels: 1 true, 0 false, NaN unknown; float32 (records, labels).
    """
    known = (~labels.isnan()).sum(0)
    true = labels.nan_to_num(0.0).sum(0)
    return torch.log((true + 0.5) / (known - true + 0.5))


def fit_thresholds(probabilities: np.ndarray, labels: np.ndarray, coverages: Sequence[float]) -> np.ndarray:
    """Finds, for each coverage, the largest probability so that the set of all statements from there on holds on
    average at least this share of a record's true statements: conformal risk control (arXiv 2208.02814), which bounds
    the expected share that is missed in a record of the same kind.

    Args:
        probabilities: float (records, labels).
        labels: Bool (records, labels). Records without any true statement are left out.
        coverages: Shares, each below 1.

    Returns: float64 (coverages,).
    """
    some = labels.any(axis=1)
    probabilities, labels = probabilities[some], labels[some]
    # The share missed by a record rises by 1 / (its true statements) where the threshold passes one of them.
    steps = np.repeat(1 / labels.sum(axis=1), labels.sum(axis=1))
    of_true = probabilities[labels]
    order = np.argsort(of_true)
    missed = np.concatenate([[0], np.cumsum(steps[order])])  # summed over records, below each of the sorted values
    n, ordered = len(labels), of_true[order]
    thresholds = []
    for coverage in coverages:
        allowed = int(np.searchsorted(missed + 1, (1 - coverage) * (n + 1), side="right")) - 1
        thresholds.append(ordered[min(allowed, len(ordered) - 1)] if allowed >= 0 else 0.0)
    return np.array(thresholds)


def fit_calibrated(head: CalibratedHead, logits: torch.Tensor, labels: torch.Tensor) -> None:
    """Fits the calibration of a head and the thresholds of its sets on records that it was not trained on.

    Args:
        head: The trained head.
        logits: float32 (records, labels).
        labels: 1 true, 0 false, NaN unknown; float32 (records, labels).
    """
    slope, intercept = fit_calibration(logits, labels)
    head.slope.copy_(slope)
    head.intercept.copy_(intercept)
    head.prior.copy_(prior_logits(labels))
    probabilities = head.calibrated(logits).probabilities.numpy()
    true = labels.nan_to_num(0.0).bool().numpy()
    head.thresholds.copy_(torch.from_numpy(fit_thresholds(probabilities, true, COVERAGES)))
