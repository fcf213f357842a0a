"""Scores answers: each table by its own primary score with an interval by bootstrap of patients, beside every control
row, and with a verdict in words.
"""

from collections.abc import Sequence
from typing import Any

from .answers import ItemAnswer
from .controls import MODEL
from .items import Item
from .scorers import SCORERS, Context


def score_name(item: Item) -> str:
    """Returns the key of `SCORERS`: the task, and for comparisons whether the question is closed or open."""
    return item.task if item.task != "comparison-qa" else f"{item.task} {'closed' if item.options else 'open'}"


def score(items: Sequence[Item], rows: dict[str, dict[str, ItemAnswer | None]], context: Context) -> dict:
    """Scores a run.

    Args:
        items: The items that were asked.
        rows: Row -> id -> answer, as `heartcare.bench.run.collect` gives them.
        context: What the scores depend on beside them.

    Returns: "tables", name ("S/closed-qa", "C/comparison-qa closed", ...) -> "primary", "lower_is_better", "rows": row
        -> "n", "score" [value, low, high], "groups" and the other metrics; "verdicts", sentences; "items", id -> the
        model's answer and its score.
    """
    by_table: dict[str, list[Item]] = {}
    for item in items:
        by_table.setdefault(f"{item.subset}/{score_name(item)}", []).append(item)
    tables, verdicts, answers = {}, [], {}
    for name, members in sorted(by_table.items(), key=lambda entry: ("SIC".index(entry[0][0]), entry[0])):
        scorer = SCORERS[score_name(members[0])]
        scored = scorer.score_rows(
            members, {row: [given.get(item.id) for item in members] for row, given in rows.items()}, context
        )
        tables[name] = {
            "primary": scorer.primary,
            "lower_is_better": scorer.lower_is_better,
            "rows": {row: result.row for row, result in scored.items()},
        }
        verdicts += scorer.verdict(name, members, scored, context.seed)
        for item, value in zip(members, scored[MODEL].scores):
            answer = {"table": name, "patient": item.patients[0], "score": rounded(value)}
            answers[item.id] = answer | rows[MODEL][item.id].as_dict()
            if "yes" in answers[item.id]:
                answers[item.id]["statements"] = item.statements[0]
    return {"tables": rounded(tables), "verdicts": verdicts, "items": answers}


def rounded(value: Any, digits: int = 6) -> Any:
    """Returns a value, and what is inside of dicts and lists, with its floats to some digits and NaN as None."""
    if isinstance(value, float):
        return round(value, digits) if value == value else None
    if isinstance(value, dict):
        return {key: rounded(inner, digits) for key, inner in value.items()}
    return [rounded(inner, digits) for inner in value] if isinstance(value, list) else value
