"""Answers -> scores: each task by its own primary score with a patient-bootstrap interval, beside every control row,
and a verdict in words.

Primaries: closed questions, strict accuracy; open ones and reports, ECG-entity F1; predictions, mean squared error in
    variances; classification, macro AUC;
ECG-QA, exact match of the set of answers.
"""

from collections.abc import Sequence

import numpy as np

from .classify import classification_table
from .controls import (
    LAST_BEAT,
    LAST_VALUE,
    MAJORITY,
    MODEL,
    OTHER,
    RANDOM,
    donors,
    majority_answer,
)
from .items import Item
from .metrics.closed import read_choice
from .metrics.entities import entity_f1, entity_f1_each
from .metrics.judge import Judge, judge_reports
from .metrics.models import f1_bio, f1_radgraph
from .metrics.probability import expected_calibration_error, risk_coverage
from .metrics.rubric import report_rubric
from .metrics.statistics import mean_interval, paired_test
from .metrics.text import (
    answer_set_match_each,
    bleu,
    exact_match_each,
    rouge_l_each,
    token_f1_each,
)

PRIMARY = {
    "closed": "accuracy",
    "open": "ECG-entity F1",
    "report": "ECG-entity F1",
    "prediction": "MSE",
    "classification": "macro AUC",
    "ecg-qa": "exact match",
}
LOWER_IS_BETTER = {"prediction"}


def table_name(item: Item) -> str:
    """Of the table that an item is scored in: "S/closed-qa", "C/comparison-qa closed", ..."""
    return f"{item.subset}/{item.task}" + (
        (" closed" if item.options else " open") if item.task == "comparison-qa" else ""
    )


def kind_of(item: Item) -> str:
    """Key of `PRIMARY`."""
    return item.task if item.task in PRIMARY else "closed" if item.options else "open"


def score(
    items: Sequence[Item],
    rows: dict[str, dict[str, dict]],
    majority: dict,
    seed: int = 0,
    probe: dict[str, list[float]] | None = None,
    judge: Judge | None = None,
    biobert: str | None = None,
    biobert_layer: int | None = None,
    radgraph: str | None = None,
) -> dict:
    """All tables of a run.

    Args:
        items: What was asked.
        rows: Row -> id -> answer, as `heartcare.bench.run.ask` gives them.
        majority: Of the manifest.
        seed: Of bootstrap and permutations.
        probe: Of the random encoder: id -> probabilities.
        judge: Grades the model's reports, too.
        biobert, biobert_layer, radgraph: For F1-Bio and F1-RadGraph of the model's open answers and reports; null
            without.

    Returns: "tables", name -> "primary", "lower_is_better", "rows": row -> "n", "score" [value, low, high], "groups"
        and the other metrics; "verdicts",
    sentences; "items", id -> the model's answer and its score.
    """
    tables: dict[str, list[Item]] = {}
    for item in items:
        tables.setdefault(table_name(item), []).append(item)
    with_controls = set(rows) - {MODEL} or probe is not None
    extras = {"judge": judge, "biobert": biobert, "biobert_layer": biobert_layer, "radgraph": radgraph}
    found, verdicts, told = {}, [], {}
    for name, same in sorted(tables.items(), key=lambda each: _order(each[0])):
        kind = kind_of(same[0])
        if kind == "classification":
            table, scores = _classification(same, rows, probe, seed, with_controls)
        else:
            answers = {row: [given.get(item.id) for item in same] for row, given in rows.items()}
            answers = {row: each for row, each in answers.items() if any(each)}
            if with_controls and kind != "prediction":
                answers[MAJORITY] = [{"text": majority_answer(item, majority), "confidence": None} for item in same]
            if kind == "prediction":
                answers = _forecast_rows(answers)
            scored = {
                row: score_row(kind, same, each, seed, extras if row == MODEL else {}) for row, each in answers.items()
            }
            table = {
                "primary": PRIMARY[kind],
                "lower_is_better": kind in LOWER_IS_BETTER,
                "rows": {row: each for row, (each, _) in scored.items()},
            }
            scores = {row: each for row, (_, each) in scored.items()}
            verdicts += _verdict(name, table, same, scores, seed)
        if kind == "classification":
            verdicts += _classification_verdict(name, table)
        found[name] = table
        for item, value in zip(same, scores[MODEL]):
            told[item.id] = {
                "table": name,
                "patient": item.patients[0],
                "score": _rounded(value),
                **rows[MODEL][item.id],
            }
            if kind == "classification":
                told[item.id]["statements"] = item.statements[0]
    return {"tables": _rounded(found), "verdicts": verdicts, "items": told}


def _order(name: str) -> tuple[int, str]:
    return "SIC".index(name[0]), name


def score_row(
    kind: str, items: Sequence[Item], answers: Sequence[dict | None], seed: int, extras: dict
) -> tuple[dict, list[float | None]]:
    """One row of one table, and the primary score of each item, None for those that it has none of."""
    texts = [(answer or {}).get("text", "") for answer in answers]
    truths = [item.answer for item in items]
    if kind == "closed":
        choices = [read_choice(text, item.options) for text, item in zip(texts, items)]
        each = [float(c.index is not None and item.options[c.index] == item.right) for c, item in zip(choices, items)]
        metrics = {"invalid": float(np.mean([choice.index is None for choice in choices]))}
        metrics["reasons"] = {
            reason: sum(c.reason == reason for c in choices) for reason in ("empty", "too long", "no option", "several")
        }
        sure = [(answer or {}).get("confidence") for answer in answers]
        known = None not in sure
        metrics["ece"] = expected_calibration_error(each, sure) if known else None
        metrics["selective"] = risk_coverage(each, sure) if known else None
    elif kind == "ecg-qa":
        each = answer_set_match_each([text.rstrip(".") for text in texts], [item.label for item in items])
        metrics = {}
    elif kind == "prediction":
        given = [(answer or {}).get("metrics") for answer in answers]
        each = [None if one is None else one["mse_z"] for one in given]
        metrics = {"missing": given.count(None) / len(given)}
        for name in ("rmse_uv", "prd", "correlation", "dtw_uv", "r_peak_f1", "hr_error"):
            values = [one[name] for one in given if one and one[name] is not None]
            metrics[name] = float(np.mean(values)) if values else None
    else:
        each = entity_f1_each(texts, truths)
        metrics = {"entities": entity_f1(texts, truths)}
        metrics |= {
            "exact_match": float(np.mean(exact_match_each(texts, truths))),
            "token_f1": float(np.mean(token_f1_each(texts, truths))),
            "rouge_l": float(np.mean(rouge_l_each(texts, truths))),
            "bleu": bleu(texts, truths),
        }
        if kind == "report":
            rubric = report_rubric(texts, truths)
            metrics["rubric"] = {"score": rubric["score"], "points": rubric["points"]}
        if extras:
            bio = f1_bio(texts, truths, extras["biobert"], extras["biobert_layer"])
            rad = f1_radgraph(texts, truths, model=extras["radgraph"])
            metrics["f1_bio"] = bio and {key: bio[key] for key in ("f1", "model", "layer")}
            metrics["f1_radgraph"] = rad and {key: rad[key] for key in ("f1", "model")}
            if kind == "report":
                judged = judge_reports(texts, truths, extras["judge"]) if extras["judge"] else None
                metrics["judge"] = judged and {
                    "model": extras["judge"].model,
                    **{key: judged[key] for key in ("score", "judged", "failed")},
                }
    # Where a row has no ECG to give, there is no answer to score.
    if kind != "prediction":
        each = [None if answer is None else value for answer, value in zip(answers, each)]
    scored = [(value, item) for value, item in zip(each, items) if value is not None]
    result = {"n": len(scored), "score": _with_interval(scored, seed), "groups": {}}
    for group in sorted({item.group for item in items}) if kind != "prediction" else ():
        part = [(value, item) for value, item in scored if item.group == group]
        if part:
            result["groups"][group] = {"n": len(part), "score": _with_interval(part, seed)}
    return result | metrics, each


def _with_interval(scored: list[tuple[float, Item]], seed: int) -> list[float] | None:
    """[mean, low, high] by bootstrap of patients; of a pair the first patient counts."""
    if not scored:
        return None
    return list(mean_interval([value for value, _ in scored], [item.patients[0] for _, item in scored], seed=seed))


def _forecast_rows(answers: dict[str, list]) -> dict[str, list]:
    """Every answer's own forecast in its row, and the simple forecasts, which the model's row has beside it, in rows of
    their own.
    """
    rows = {row: [answer and {"metrics": answer["metrics"][MODEL]} for answer in each] for row, each in answers.items()}
    for simple in (MAJORITY, LAST_VALUE, LAST_BEAT):
        if all(simple in answer["metrics"] for answer in answers[MODEL]):
            rows[simple] = [{"metrics": answer["metrics"][simple]} for answer in answers[MODEL]]
    return rows


def _classification(items: list[Item], rows: dict, probe: dict | None, seed: int, with_controls) -> tuple[dict, dict]:
    probabilities = {MODEL: np.array([rows[MODEL][item.id]["yes"] for item in items])}
    if with_controls:
        place, other = {item.id: k for k, item in enumerate(items)}, donors(items)
        if all(item.id in other for item in items):
            probabilities[OTHER] = probabilities[MODEL][[place[other[item.id].id] for item in items]]
        # Every record alike: what the commonest class, the text alone or a blank gives.
        probabilities[MAJORITY] = np.zeros_like(probabilities[MODEL])
        if probe and all(item.id in probe for item in items):
            probabilities[RANDOM] = np.array([probe[item.id] for item in items])
    table = {"primary": PRIMARY["classification"], "lower_is_better": False, "rows": {}}
    for row, values in probabilities.items():
        sets = classification_table(items, values, seed)
        first = sets.get("super")
        table["rows"][row] = {
            "n": len(items),
            "score": first and [first["auc"], first["low"], first["high"]],
            "sets": sets,
        }
    return table, {MODEL: [None] * len(items)}


def _verdict(name: str, table: dict, items: list[Item], scores: dict[str, list], seed: int) -> list[str]:
    """Whether the model beats the strongest control, in words."""
    rows, sign = table["rows"], -1 if table["lower_is_better"] else 1
    controls = {row: each["score"][0] for row, each in rows.items() if row != MODEL and each["score"]}
    if not controls:
        return []
    if not rows[MODEL]["score"]:
        return [f"{name}: the model gave nothing that could be scored."]
    best = max(controls, key=lambda row: sign * controls[row])
    both = [k for k in range(len(items)) if scores[MODEL][k] is not None and scores[best][k] is not None]
    patients = [items[k].patients[0] for k in both]
    test = paired_test(
        [sign * scores[best][k] for k in both], [sign * scores[MODEL][k] for k in both], patients, seed=seed
    )
    value, low, high = rows[MODEL]["score"]
    text = f"{name}: {table['primary']} {value:.3f} [{low:.3f}, {high:.3f}] against {controls[best]:.3f} of the strongest control ({best}). "
    if table["lower_is_better"]:
        better, worse = (
            "It beats every control: its forecast uses what it saw.",
            "It does NOT beat that control: its forecast uses nothing that it saw.",
        )
    else:
        better, worse = (
            "It beats every control: it reads the ECG.",
            "It does NOT beat that control: here it is not reading the ECG.",
        )
    text += better if test["low"] > 0 else worse
    if missing := rows[MODEL].get("missing"):
        text += f" For {100 * missing:.1f} % it gave no forecast."
    if (invalid := rows[MODEL].get("invalid", 0)) > 0.05:
        text += f" {100 * invalid:.1f} % of its answers name no single option, and count as wrong."
    return [text]


def _classification_verdict(name: str, table: dict) -> list[str]:
    found = []
    controls = {row: each["score"] for row, each in table["rows"].items() if row != MODEL and each["score"]}
    mine = table["rows"][MODEL]["score"]
    if mine and controls:
        best = max(controls, key=lambda row: controls[row][0])
        beats = mine[1] > controls[best][2]
        words = "It beats every control: it reads the ECG." if beats else "It does NOT beat that control."
        found.append(f"{name}: macro AUC of the superclasses {mine[0]:.3f} [{mine[1]:.3f}, {mine[2]:.3f}] against {controls[best][0]:.3f} "
                     f"[{controls[best][1]:.3f}, {controls[best][2]:.3f}] of the strongest control ({best}). {words}")  # fmt: skip
    return found


def _rounded(value):
    """Floats to six digits, in anything."""
    if isinstance(value, float):
        return round(value, 6) if value == value else None
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value
