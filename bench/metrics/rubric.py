"""The 17-point rubric of ECG reports: each point has a weight, and the weights sum to 100."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ...agent.lexicon import FINDINGS, Mention, find_mentions
from ...scp_heartcare import DIAGNOSTIC_CLASS, FORM, RHYTHM
from .closed import same_length

ECTOPY = {"PAC", "PVC", "PRC(S)"}
AXIS = {"MID", "LAD", "ALAD", "RAD", "ARAD", "AXL", "AXR", "SAG"}
GROUPS = {
    "rhythm": set(RHYTHM),
    "conduction": set(DIAGNOSTIC_CLASS["CD"]),
    "infarction": set(DIAGNOSTIC_CLASS["MI"]),
    "hypertrophy": set(DIAGNOSTIC_CLASS["HYP"]),
    "repolarisation": set(DIAGNOSTIC_CLASS["STTC"]),
    "waveform": set(FORM) - ECTOPY - set(DIAGNOSTIC_CLASS["STTC"]),
    "ectopy": ECTOPY,
    "axis": AXIS,
}


class Report:
    """The findings of a report: `present`, code -> its likeliest mention; `times`, the stages that it names."""

    def __init__(self, text: str):
        self.mentions = find_mentions(text, FINDINGS)
        self.present: dict[str, Mention] = {}
        for mention in self.mentions:
            if mention.code and mention.likelihood > getattr(self.present.get(mention.code), "likelihood", 0):
                self.present[mention.code] = mention
        self.times = {mention.time for mention in self.mentions if mention.time}

    def group(self, name: str) -> set[str]:
        """Returns the codes of one of `GROUPS` that are present."""
        return GROUPS[name] & set(self.present)


def _found(group: str):
    """Makes the score of a point: the share of the reference's findings that the report has; None where the reference
    has none.
    """

    def point(given: Report, reference: Report) -> float | None:
        wanted = reference.group(group)
        return len(wanted & given.group(group)) / len(wanted) if wanted else None

    return point


def _none_invented(group: str):
    """Makes the score of a point: the share of the report's findings that the reference has; 1 where the report has
    none.
    """

    def point(given: Report, reference: Report) -> float:
        claimed = given.group(group)
        return len(claimed & reference.group(group)) / len(claimed) if claimed else 1.0

    return point


def _infarction(given: Report, reference: Report) -> float | None:
    return float(bool(given.group("infarction"))) if reference.group("infarction") else None


def _verdict(given: Report, reference: Report) -> float:
    return float(("NORM" in given.present) == ("NORM" in reference.present))


def _certainty(given: Report, reference: Report) -> float | None:
    shared = set(given.present) & set(reference.present)
    return (
        sum(given.present[code].likelihood == reference.present[code].likelihood for code in shared) / len(shared)
        if shared
        else None
    )


def _stage(given: Report, reference: Report) -> float | None:
    return float(given.times == reference.times) if reference.times else None


class Point(NamedTuple):
    """One point: its `weight`, the question that a judge is asked (`asks`), and `score(given, reference)`, 0 to 1, or
    None where it does not apply.
    """

    name: str
    weight: int
    asks: str
    score: Callable[[Report, Report], float | None]


RUBRIC = (
    Point("rhythm", 12, "Is the rhythm named as in the reference?", _found("rhythm")),
    Point("no wrong rhythm", 6, "Is no rhythm named that the reference does not have?", _none_invented("rhythm")),
    Point("verdict", 10, "Is the ECG called normal if, and only if, the reference calls it normal?", _verdict),
    Point("conduction", 8, "Are the reference's blocks and conduction delays named?", _found("conduction")),
    Point(
        "no invented conduction",
        4,
        "Is no block or conduction delay named that the reference does not have?",
        _none_invented("conduction"),
    ),
    Point("infarction", 8, "Where the reference has an infarction or injury, is one named?", _infarction),
    Point(
        "site of infarction", 5, "Are the sites of infarction and injury those of the reference?", _found("infarction")
    ),
    Point(
        "no invented infarction",
        5,
        "Is no infarction or injury named that the reference does not have?",
        _none_invented("infarction"),
    ),
    Point("hypertrophy", 6, "Are the reference's hypertrophies and enlargements named?", _found("hypertrophy")),
    Point(
        "no invented hypertrophy",
        4,
        "Is no hypertrophy named that the reference does not have?",
        _none_invented("hypertrophy"),
    ),
    Point(
        "repolarisation", 7, "Are the reference's ischemia and changes of ST, T and QT named?", _found("repolarisation")
    ),
    Point(
        "no invented repolarisation",
        4,
        "Are no ischemia and no such changes named that the reference does not have?",
        _none_invented("repolarisation"),
    ),
    Point("waveform", 6, "Are the other findings of the reference in P, QRS, ST and T named?", _found("waveform")),
    Point("ectopic beats", 5, "Are the reference's ectopic beats named, and of the right origin?", _found("ectopy")),
    Point("axis", 4, "Is the electrical axis that of the reference?", _found("axis")),
    Point("certainty", 3, "Are the shared findings stated as surely as in the reference?", _certainty),
    Point("stage", 3, "Is the age or stage of an infarction that of the reference?", _stage),
)
assert len(RUBRIC) == 17 and sum(point.weight for point in RUBRIC) == 100


def report_rubric(
    predictions: Sequence[str], references: Sequence[str]
) -> dict[str, float | list[float | None] | dict]:
    """Scores reports by the rubric, without any language model; deterministic.

    Returns: "score", mean of 0 to 100; "each", the score of each report; "points", name -> mean of a point over the
        reports that it applies to (None if to none).
    """
    same_length(predictions, references)
    table = [rubric_points(p, r) for p, r in zip(predictions, references)]
    scores = [weighted(row) for row in table]
    points = {}
    for point, column in zip(RUBRIC, zip(*table)):
        applied = [score for score in column if score is not None]
        points[point.name] = sum(applied) / len(applied) if applied else None
    return {"score": sum(scores) / len(scores), "each": scores, "points": points}


def rubric_points(prediction: str, reference: str) -> list[float | None]:
    """Returns the 17 points of a report, by the lexicon. A report that says nothing of the ECG has 0 in each that
    applies: silence is not correctness.
    """
    given, expected = Report(prediction), Report(reference)
    scores = [point.score(given, expected) for point in RUBRIC]
    return scores if given.mentions else [None if score is None else 0.0 for score in scores]


def weighted(scores: Sequence[float | None]) -> float | None:
    """Weighs the scores of the 17 points: returns 0 to 100 over the points that apply, None where none does."""
    applied = [(point.weight, score) for point, score in zip(RUBRIC, scores, strict=True) if score is not None]
    return (
        100 * sum(weight * score for weight, score in applied) / sum(weight for weight, _ in applied)
        if applied
        else None
    )
