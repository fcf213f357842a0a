"""Two models on the same items: each table's difference, its interval by bootstrap of patients, and whether chance
explains it.
"""

import numpy as np

from .classify import SETS, of_set, truth
from .metrics.probability import macro_auc
from .metrics.statistics import interval, paired_test, patient_draws


def compare(one: dict, other: dict, seed: int = 0) -> list[dict]:
    """Results of `run`, for each table and for each label set: "table", "metric", "one", "other", "difference" (other -
    one), "low", "high", "p".

    Raises: `ValueError` when the two did not answer the same items of the same benchmark.
    """
    if one["benchmark"]["manifest"] != other["benchmark"]["manifest"]:
        raise ValueError(
            f"The results are of two benchmarks, {one['benchmark']['name']} and {other['benchmark']['name']}, or of two versions of one."
        )
    if set(one["items"]) != set(other["items"]):
        raise ValueError(
            f"The results are of {len(one['items'])} and {len(other['items'])} items; run both with the same subsets, tasks and limit."
        )
    found = []
    for name, table in one["tables"].items():
        ids = [item_id for item_id, answer in one["items"].items() if answer["table"] == name]
        if table["primary"] == "macro AUC":
            found += _compare_auc(name, ids, one, other, seed)
            continue
        ids = [
            each
            for each in ids
            if one["items"][each]["score"] is not None and other["items"][each]["score"] is not None
        ]
        if ids:
            scores = [[result["items"][each]["score"] for each in ids] for result in (one, other)]
            patients = [one["items"][each]["patient"] for each in ids]
            row = {
                "table": name,
                "metric": table["primary"],
                "one": float(np.mean(scores[0])),
                "other": float(np.mean(scores[1])),
            }
            found.append(row | paired_test(*scores, patients, seed=seed))
    return found


def _compare_auc(name: str, ids: list[str], one: dict, other: dict, seed: int, draws: int = 1000) -> list[dict]:
    labels = np.array([truth(one["items"][each]["statements"]) for each in ids])
    scores = [np.array([result["items"][each]["yes"] for each in ids]) for result in (one, other)]
    weights = patient_draws([one["items"][each]["patient"] for each in ids], draws, seed)
    rows = []
    for set_name in SETS:
        those = of_set(labels, set_name)
        kept = [k for k in range(those.shape[1]) if 0 < those[:, k].sum() < len(ids)]
        if not kept:
            continue
        values = [float(macro_auc(those[:, kept], of_set(each, set_name)[:, kept])) for each in scores]
        drawn = [macro_auc(those[:, kept], of_set(each, set_name)[:, kept], weights) for each in scores]
        difference = drawn[1] - drawn[0]
        low, high = interval(difference)
        # Two-sided, by how many draws the difference has the other sign in.
        p = min(1.0, 2 * (min((difference <= 0).sum(), (difference >= 0).sum()) + 1) / (draws + 1))
        row = {"table": name, "metric": f"macro AUC {set_name}", "one": values[0], "other": values[1]}
        rows.append(row | {"difference": values[1] - values[0], "low": low, "high": high, "p": float(p)})
    return rows


def comparison_lines(one: dict, other: dict, rows: list[dict]) -> list[str]:
    """As a Markdown table."""
    lines = [
        f"| table | metric | {one['model']['name']} | {other['model']['name']} | difference | p |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        difference = f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
        lines.append(
            f"| {row['table']} | {row['metric']} | {row['one']:.3f} | {row['other']:.3f} | {difference} | {row['p']:.4f} |"
        )
    return lines
