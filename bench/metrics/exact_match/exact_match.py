"""Exact match of texts without case, punctuation and articles."""

from heartcare.bench.metrics.as_module import TEXT, make_metric
from heartcare.bench.metrics.text import exact_match_each


def compute(predictions: list[str], references: list[str]) -> dict:
    """Returns the share of exact matches, and the score of each pair."""
    scores = exact_match_each(predictions, references)
    return {"exact_match": sum(scores) / len(scores), "each": scores}


Metric = make_metric(compute, __doc__, predictions=TEXT, references=TEXT)
