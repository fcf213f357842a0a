"""Scores each kind of question: the primary metric, the score of each answer, and the metrics beside it.

    items and answers of one table --Scorer.score_rows--> row -> RowScores --Scorer.verdict--> a sentence

Primary metrics: closed questions, strict accuracy; open ones and reports, ECG-entity F1; predictions, mean squared
error in variances; ECG-QA, exact match of the set of answers; classification, macro AUC.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .answers import ItemAnswer
from .classify import classification_table
from .controls import LAST_BEAT, LAST_VALUE, MAJORITY, MODEL, OTHER, RANDOM, majority_answer, substitutes
from .items import Item
from .metrics.closed import Choice, read_choice
from .metrics.entities import entity_f1, entity_f1_each
from .metrics.judge import Judge, judge_reports
from .metrics.models import f1_bio, f1_radgraph
from .metrics.probability import expected_calibration_error, risk_coverage
from .metrics.rubric import report_rubric
from .metrics.statistics import mean_interval, paired_test
from .metrics.text import answer_set_match_each, bleu, exact_match_each, rouge_l_each, token_f1_each

ACCURACY, ENTITY_F1, AUC = "accuracy", "ECG-entity F1", "macro AUC"
FORECAST_METRICS = ("rmse_uv", "prd", "correlation", "dtw_uv", "r_peak_f1", "hr_error")
OFTEN_INVALID = 0.05  # a verdict names a larger share of answers without a single option
LEAST_PATIENTS = 20  # of a table from which a verdict may say that a model reads the ECG
Answers = Sequence[ItemAnswer | None]


@dataclass(frozen=True)
class MetricModels:
    """The models that some metrics need; a metric without its model is null.

    Attributes:
        judge: Language model that grades reports.
        biobert: Folder of the BERT of F1-Bio.
        biobert_layer: Number of its layer whose states are compared, from 1.
        radgraph: Model type of F1-RadGraph.
    """

    judge: Judge | None = None
    biobert: str | None = None
    biobert_layer: int | None = None
    radgraph: str | None = None


@dataclass(frozen=True)
class Context:
    """The inputs of scores beside items and answers.

    Attributes:
        majority: The manifest's counts of right answers; None without control rows.
        seed: Seed of bootstrap and permutations.
        probe: The random encoder's probabilities, id -> 76 numbers.
        models: Models of the metrics of the model's own row.
    """

    majority: dict | None
    seed: int = 0
    probe: dict[str, list[float]] | None = None
    models: MetricModels = field(default_factory=MetricModels)


class RowScores(NamedTuple):
    """One row of a table as it stands in the result file, and the primary score of each item, None without one."""

    row: dict
    scores: list[float | None]


class Scorer(ABC):
    """Scores the rows of one table, and says whether the model's beats the controls'.

    Attributes:
        primary: Name of the score that counts.
        lower_is_better: Whether the smaller of two scores is the better one.
    """

    primary: str
    lower_is_better = False

    @abstractmethod
    def score_rows(self, items: Sequence[Item], rows: dict[str, Answers], context: Context) -> dict[str, RowScores]:
        """Scores the model's row and those of the controls."""

    @abstractmethod
    def verdict(self, name: str, items: Sequence[Item], rows: dict[str, RowScores], seed: int) -> list[str]:
        """Returns one sentence on whether the model beats the strongest control; none without controls."""


class AnswerScorer(Scorer):
    """Scores answers one by one; the score of a row is their mean. Subclasses say how.

    Attributes:
        has_groups: Whether the table also has a score for each group of items.
    """

    has_groups = True

    @abstractmethod
    def each(self, items: Sequence[Item], answers: Answers) -> list[float | None]:
        """Returns the primary score of each answer; None where none can be given."""

    def extras(self, items: Sequence[Item], answers: Answers, models: MetricModels | None) -> dict:
        """Returns the other metrics of a row; `models` is None for control rows."""
        return {}

    def answers_by_row(self, items: Sequence[Item], rows: dict[str, Answers], majority: dict | None) -> dict:
        """Adds the answers of the control rows for which no model is asked."""
        if majority is None:
            return rows
        return rows | {MAJORITY: [ItemAnswer(majority_answer(item, majority)) for item in items]}

    def score_rows(self, items: Sequence[Item], rows: dict[str, Answers], context: Context) -> dict[str, RowScores]:
        """Scores every row that has an answer to any of the items."""
        rows = self.answers_by_row(items, {row: a for row, a in rows.items() if any(a)}, context.majority)
        return {
            row: self.score_row(items, answers, context.seed, context.models if row == MODEL else None)
            for row, answers in rows.items()
        }

    def score_row(self, items: Sequence[Item], answers: Answers, seed: int, models: MetricModels | None) -> RowScores:
        """Scores one row: "n", "score" [mean, low, high], "groups", and the other metrics."""
        # Where a row has no ECG to give, there is no answer to score.
        scores = [None if a is None else score for a, score in zip(answers, self.each(items, answers))]
        scored = [(score, item) for score, item in zip(scores, items) if score is not None]
        groups = {}
        for group in sorted({item.group for item in items}) if self.has_groups else ():
            if part := [(score, item) for score, item in scored if item.group == group]:
                groups[group] = {"n": len(part), "score": _mean_with_interval(part, seed)}
        row = {"n": len(scored), "score": _mean_with_interval(scored, seed), "groups": groups}
        return RowScores(row | self.extras(items, answers, models), scores)

    def verdict(self, name: str, items: Sequence[Item], rows: dict[str, RowScores], seed: int) -> list[str]:
        """Returns one sentence on whether the model beats the strongest control; none without controls."""
        sign = -1 if self.lower_is_better else 1
        controls = {row: scored.row["score"][0] for row, scored in rows.items() if row != MODEL and scored.row["score"]}
        if not controls:
            return []
        row, scores = rows[MODEL]
        if not row["score"]:
            return [f"{name}: the model gave nothing that could be scored."]
        best = max(controls, key=lambda control: sign * controls[control])
        control = rows[best].scores
        both = [k for k in range(len(items)) if scores[k] is not None and control[k] is not None]
        patients = [items[k].patients[0] for k in both]
        test = paired_test([sign * control[k] for k in both], [sign * scores[k] for k in both], patients, seed=seed)
        value, low, high = row["score"]
        numbers = f"{self.primary} {value:.3f} [{low:.3f}, {high:.3f}] against {controls[best]:.3f}"
        beats, count = test["low"] > 0, len({*patients})
        words = _too_few(count) if beats and count < LEAST_PATIENTS else self.words(beats, row)
        return [f"{name}: {numbers} of the strongest control ({best}). {words}"]

    def words(self, beats: bool, row: dict) -> str:
        """Returns the conclusion of a verdict."""
        if beats:
            return "It beats every control: it reads the ECG."
        return "It does NOT beat that control: here it is not reading the ECG."


class ClosedScorer(AnswerScorer):
    """Questions with options: strict accuracy."""

    primary = ACCURACY

    def each(self, items: Sequence[Item], answers: Answers) -> list[float | None]:
        """Returns the primary score of each answer."""
        choices = self.choices(items, answers)
        return [float(c.index is not None and item.options[c.index] == item.right) for c, item in zip(choices, items)]

    def choices(self, items: Sequence[Item], answers: Answers) -> list[Choice]:
        """Returns the option that each answer names."""
        return [read_choice(text, item.options) for text, item in zip(_texts(answers), items)]

    def extras(self, items: Sequence[Item], answers: Answers, models: MetricModels | None) -> dict:
        """Returns the other metrics of a row."""
        choices, correct = self.choices(items, answers), self.each(items, answers)
        reasons = ("empty", "too long", "no option", "several")
        confidence = [None if answer is None else answer.confidence for answer in answers]
        known = None not in confidence
        return {
            "invalid": float(np.mean([choice.index is None for choice in choices])),
            "reasons": {reason: sum(choice.reason == reason for choice in choices) for reason in reasons},
            "ece": expected_calibration_error(correct, confidence) if known else None,
            "selective": risk_coverage(correct, confidence) if known else None,
        }

    def words(self, beats: bool, row: dict) -> str:
        """Returns the conclusion of a verdict."""
        text = super().words(beats, row)
        if row["invalid"] > OFTEN_INVALID:
            text += f" {100 * row['invalid']:.1f} % of its answers name no single option, and count as wrong."
        return text


class OpenScorer(AnswerScorer):
    """Free text: F1 of the facts about the ECG."""

    primary = ENTITY_F1

    def each(self, items: Sequence[Item], answers: Answers) -> list[float | None]:
        """Returns the primary score of each answer."""
        return entity_f1_each(_texts(answers), [item.answer for item in items])

    def extras(self, items: Sequence[Item], answers: Answers, models: MetricModels | None) -> dict:
        """Returns the other metrics of a row."""
        texts, references = _texts(answers), [item.answer for item in items]
        metrics = {
            "entities": entity_f1(texts, references),
            "exact_match": float(np.mean(exact_match_each(texts, references))),
            "token_f1": float(np.mean(token_f1_each(texts, references))),
            "rouge_l": float(np.mean(rouge_l_each(texts, references))),
            "bleu": bleu(texts, references),
            **self.report_metrics(texts, references),
        }
        if models is None:
            return metrics
        bio = f1_bio(texts, references, models.biobert, models.biobert_layer)
        radgraph = f1_radgraph(texts, references, model=models.radgraph)
        metrics["f1_bio"] = bio and {key: bio[key] for key in ("f1", "model", "layer")}
        metrics["f1_radgraph"] = radgraph and {key: radgraph[key] for key in ("f1", "model")}
        return metrics | self.judgement(texts, references, models.judge)

    def report_metrics(self, texts: list[str], references: list[str]) -> dict:
        """Returns the metrics that only reports have."""
        return {}

    def judgement(self, texts: list[str], references: list[str], judge: Judge | None) -> dict:
        """Returns the grades of a language model, which only reports get."""
        return {}


class ReportScorer(OpenScorer):
    """Reports: free text, also by the rubric and by a judge."""

    def report_metrics(self, texts: list[str], references: list[str]) -> dict:
        """Returns the rubric's score and points."""
        rubric = report_rubric(texts, references)
        return {"rubric": {key: rubric[key] for key in ("score", "points")}}

    def judgement(self, texts: list[str], references: list[str], judge: Judge | None) -> dict:
        """Returns the judge's grades; None without a judge."""
        if judge is None:
            return {"judge": None}
        grades = judge_reports(texts, references, judge)
        return {"judge": {"model": judge.model, **{key: grades[key] for key in ("score", "judged", "failed")}}}


class ECGQAScorer(AnswerScorer):
    """ECG-QA: exact match of the set of answers."""

    primary = "exact match"

    def each(self, items: Sequence[Item], answers: Answers) -> list[float | None]:
        """Returns the primary score of each answer."""
        return answer_set_match_each([text.rstrip(".") for text in _texts(answers)], [item.label for item in items])


class PredictionScorer(AnswerScorer):
    """Forecasts: mean squared error in variances of the lead, lower is better."""

    primary = "MSE"
    lower_is_better = True
    has_groups = False

    def forecasts(self, answers: Answers) -> list[dict | None]:
        """Returns the metrics of each forecast; None where there is none."""
        return [None if answer is None else answer.forecasts[MODEL] for answer in answers]

    def each(self, items: Sequence[Item], answers: Answers) -> list[float | None]:
        """Returns the primary score of each answer."""
        return [None if metrics is None else metrics["mse_z"] for metrics in self.forecasts(answers)]

    def extras(self, items: Sequence[Item], answers: Answers, models: MetricModels | None) -> dict:
        """Returns the other metrics of a row."""
        forecasts = self.forecasts(answers)
        row: dict = {"missing": forecasts.count(None) / len(forecasts)}
        for name in FORECAST_METRICS:
            values = [metrics[name] for metrics in forecasts if metrics and metrics[name] is not None]
            row[name] = float(np.mean(values)) if values else None
        return row

    def answers_by_row(self, items: Sequence[Item], rows: dict[str, Answers], majority: dict | None) -> dict:
        """Adds rows of the simple forecasts, which the model's answers have beside their own."""
        rows = dict(rows)
        for simple in (MAJORITY, LAST_VALUE, LAST_BEAT):
            if all(simple in answer.forecasts for answer in rows[MODEL]):
                rows[simple] = [ItemAnswer(forecasts={MODEL: answer.forecasts[simple]}) for answer in rows[MODEL]]
        return rows

    def words(self, beats: bool, row: dict) -> str:
        """Returns the conclusion of a verdict."""
        text = "It beats every control: its forecast uses what it saw."
        if not beats:
            text = "It does NOT beat that control: its forecast uses nothing that it saw."
        return text + (f" For {100 * row['missing']:.1f} % it gave no forecast." if row["missing"] else "")


class ClassificationScorer(Scorer):
    """Classification by the probability of "yes": macro AUC of the label sets. A record alone has no score."""

    primary = AUC

    def score_rows(self, items: Sequence[Item], rows: dict[str, Answers], context: Context) -> dict[str, RowScores]:
        """Scores the model's row and the control rows."""
        probabilities = {MODEL: np.array([answer.yes for answer in rows[MODEL]])}
        if context.majority is not None:
            probabilities |= self.controls(items, probabilities[MODEL], context.probe)
        return {row: self.score_probabilities(items, values, context.seed) for row, values in probabilities.items()}

    def controls(self, items: Sequence[Item], model: np.ndarray, probe: dict | None) -> dict[str, np.ndarray]:
        """Returns row -> probabilities (items, 76) of the control rows, for which the model need not be asked again."""
        rows, place, substitute = {}, {item.id: k for k, item in enumerate(items)}, substitutes(items)
        if all(item.id in substitute for item in items):
            rows[OTHER] = model[[place[substitute[item.id].id] for item in items]]
        # The commonest class, the text alone and a blank give every record the same probabilities.
        rows[MAJORITY] = np.zeros_like(model)
        if probe and all(item.id in probe for item in items):
            rows[RANDOM] = np.array([probe[item.id] for item in items])
        return rows

    def score_probabilities(self, items: Sequence[Item], probabilities: np.ndarray, seed: int) -> RowScores:
        """Scores one row: "n", "score" of the superclasses, and "sets", every label set."""
        sets = classification_table(items, probabilities, seed)
        superclasses = sets.get("super")
        score = superclasses and [superclasses[key] for key in ("auc", "low", "high")]
        return RowScores({"n": len(items), "score": score, "sets": sets}, [None] * len(items))

    def verdict(self, name: str, items: Sequence[Item], rows: dict[str, RowScores], seed: int) -> list[str]:
        """Returns one sentence, as any scorer; the model beats a control when the two intervals do not meet."""
        controls = {row: scored.row["score"] for row, scored in rows.items() if row != MODEL and scored.row["score"]}
        score = rows[MODEL].row["score"]
        if not score or not controls:
            return []
        best = max(controls, key=lambda row: controls[row][0])
        beats = score[1] > controls[best][2]
        own, other = (f"{value:.3f} [{low:.3f}, {high:.3f}]" for value, low, high in (score, controls[best]))
        words = "It beats every control: it reads the ECG." if beats else "It does NOT beat that control."
        if beats and (count := len({item.patients[0] for item in items})) < LEAST_PATIENTS:
            words = _too_few(count)
        return [
            f"{name}: macro AUC of the superclasses {own} against {other} of the strongest control ({best}). {words}"
        ]


def _too_few(patients: int) -> str:
    """Returns the conclusion where a model is ahead on few patients, for whom a bootstrap cannot speak."""
    return f"It is ahead of every control; to say that it reads, {LEAST_PATIENTS} patients are needed, got {patients}."


def _mean_with_interval(scored: list[tuple[float, Item]], seed: int) -> list[float] | None:
    """Returns [mean, low, high] by bootstrap of patients; a pair of ECGs counts for the patient of its first."""
    if not scored:
        return None
    return list(mean_interval([score for score, _ in scored], [item.patients[0] for _, item in scored], seed=seed))


def _texts(answers: Answers) -> list[str]:
    return ["" if answer is None else answer.text for answer in answers]


CLOSED, OPEN = ClosedScorer(), OpenScorer()
SCORERS: dict[str, Scorer] = {
    "closed-qa": CLOSED,
    "open-qa": OPEN,
    "report": ReportScorer(),
    "prediction": PredictionScorer(),
    "classification": ClassificationScorer(),
    "ecg-qa": ECGQAScorer(),
    "comparison-qa closed": CLOSED,
    "comparison-qa open": OPEN,
}
