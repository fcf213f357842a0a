"""Gives intervals and tests by patient, since the records of one patient are no independent evidence."""

from collections.abc import Sequence

import numpy as np

LEVEL = 0.95  # share of the draws that an interval holds


def paired_test(
    one: Sequence[float], other: Sequence[float], patients: Sequence[str], draws: int = 10000, seed: int = 0
) -> dict[str, float]:
    """Compares two models on the same items: the difference, its interval, and whether chance explains it.

    Args:
        one, other: Scores of the same items.
        patients: The patient of each item.
        draws: Number of permutations; the bootstrap has a tenth of it, but at least 100 draws.
        seed: Seed of both.

    Returns: "difference" of the means (`other` - `one`), "low" and "high" of its 95 % interval by bootstrap of
        patients, and "p", two-sided, of the test that swaps the models for whole patients at random.
    """
    difference = np.asarray(other, float) - np.asarray(one, float)
    value, low, high = mean_interval(difference, patients, max(100, draws // 10), seed)
    _, place = np.unique(np.asarray(patients), return_inverse=True)
    sums = np.bincount(place, difference)
    rng = np.random.default_rng(seed)
    extreme, observed = 0, abs(sums.sum()) - 1e-9
    for start in range(0, draws, 1000):
        signs = rng.integers(0, 2, (min(1000, draws - start), len(sums))) * 2 - 1
        extreme += int((np.abs(signs @ sums) >= observed).sum())
    return {"difference": value, "low": low, "high": high, "p": (extreme + 1) / (draws + 1)}


def mean_interval(
    scores: Sequence[float], patients: Sequence[str], draws: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """Returns the mean of the items' scores, and its 95 % interval by bootstrap of patients."""
    scores = np.asarray(scores, float)
    weights = patient_draws(patients, draws, seed)
    return float(scores.mean()), *interval(weights @ scores / weights.sum(1))


def interval(values: np.ndarray) -> tuple[float, float]:
    """Returns the bounds of the middle 95 % of bootstrap values, nan left out."""
    values = np.asarray(values, float)
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def patient_draws(patients: Sequence[str], draws: int = 1000, seed: int = 0) -> np.ndarray:
    """Returns the number of times that each item is in each bootstrap draw of whole patients: int64 (draws, items)."""
    _, place = np.unique(np.asarray(patients), return_inverse=True)
    count = place.max() + 1
    rng = np.random.default_rng(seed)
    drawn = rng.integers(count, size=(draws, count)) + count * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * count).reshape(draws, count)[:, place]
