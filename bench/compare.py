"""Compares two models on the same items: the difference of each table, its interval by bootstrap of patients, and
whether chance explains it.
"""

import numpy as np

from ..agent.statements import select_set, truth
from .classify import scorable_sets
from .metrics.probability import macro_auc
from .metrics.statistics import interval, paired_test, patient_draws
from .scorers import AUC

DRAWS = 1000  # of the bootstrap


def compare(one: dict, other: dict, seed: int = 0) -> list[dict]:
    """Compares two results of `run`.

    Returns: for each table, and for classification each label set: "table", "metric", "one", "other", "difference"
        (other - one), "low", "high", "p".

    Raises: `ValueError` when the two did not answer the same items of the same benchmark.
    """
    if one["benchmark"]["manifest"] != other["benchmark"]["manifest"]:
        raise ValueError(
            f"The results are of two benchmarks, {one['benchmark']['name']} and {other['benchmark']['name']}, or of "
            "two versions of one."
        )
    if set(one["items"]) != set(other["items"]):
        raise ValueError(
            f"The results are of {len(one['items'])} and {len(other['items'])} items; run both with the same subsets, "
            "tasks and limit."
        )
    rows = []
    for name, table in one["tables"].items():
        ids = [item_id for item_id, answer in one["items"].items() if answer["table"] == name]
        compare_table = _compare_auc if table["primary"] == AUC else _compare_scores
        rows += compare_table(name, table["primary"], ids, one, other, seed)
    return rows


def _compare_scores(name: str, metric: str, ids: list[str], one: dict, other: dict, seed: int) -> list[dict]:
    """Compares a table of scored answers by the items that have a score in both results."""
    ids = [i for i in ids if one["items"][i]["score"] is not None and other["items"][i]["score"] is not None]
    if not ids:
        return []
    scores = [[result["items"][i]["score"] for i in ids] for result in (one, other)]
    patients = [one["items"][i]["patient"] for i in ids]
    means = {"one": float(np.mean(scores[0])), "other": float(np.mean(scores[1]))}
    return [{"table": name, "metric": metric, **means, **paired_test(*scores, patients, seed=seed)}]


def _compare_auc(name: str, metric: str, ids: list[str], one: dict, other: dict, seed: int) -> list[dict]:
    """Compares a table of classification, each label set by its macro AUC."""
    labels = np.array([truth(one["items"][i]["statements"]) for i in ids])
    probabilities = [np.array([result["items"][i]["yes"] for i in ids]) for result in (one, other)]
    weights = patient_draws([one["items"][i]["patient"] for i in ids], DRAWS, seed)
    rows = []
    for set_name, places in scorable_sets(labels):
        targets = select_set(labels, set_name)[:, places]
        scores = [select_set(values, set_name)[:, places] for values in probabilities]
        aucs = [float(macro_auc(targets, values)) for values in scores]
        drawn = [macro_auc(targets, values, weights) for values in scores]
        difference = drawn[1] - drawn[0]
        low, high = interval(difference)
        # Two-sided: twice the share of draws in which the difference has the other sign.
        p = min(1.0, 2 * (min((difference <= 0).sum(), (difference >= 0).sum()) + 1) / (DRAWS + 1))
        row = {"table": name, "metric": f"{metric} {set_name}", "one": aucs[0], "other": aucs[1]}
        rows.append(row | {"difference": aucs[1] - aucs[0], "low": low, "high": high, "p": float(p)})
    return rows


def comparison_lines(one: dict, other: dict, rows: list[dict]) -> list[str]:
    """Returns the comparison as a Markdown table."""
    lines = [
        f"| table | metric | {one['model']['name']} | {other['model']['name']} | difference | p |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        difference = f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
        lines.append(
            f"| {row['table']} | {row['metric']} | {row['one']:.3f} | {row['other']:.3f} | {difference} | "
            f"{row['p']:.4f} |"
        )
    return lines
