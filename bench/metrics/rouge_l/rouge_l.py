"""ROUGE-L, equal to rouge-score's rougeL without stemmer."""

from heartcare.bench.metrics.as_module import TEXT, make_metric
from heartcare.bench.metrics.text import rouge_l_each


def compute(predictions: list[str], references: list[str]) -> dict:
    """Returns the mean ROUGE-L, and the score of each pair."""
    scores = rouge_l_each(predictions, references)
    return {"rouge_l": sum(scores) / len(scores), "each": scores}


Metric = make_metric(compute, __doc__, predictions=TEXT, references=TEXT)
