"""F1 of the words of texts without case, punctuation and articles."""

from heartcare.bench.metrics.as_module import TEXT, make_metric
from heartcare.bench.metrics.text import token_f1_each


def compute(predictions: list[str], references: list[str]) -> dict:
    """Returns the mean token F1, and the score of each pair."""
    scores = token_f1_each(predictions, references)
    return {"token_f1": sum(scores) / len(scores), "each": scores}


Metric = make_metric(compute, __doc__, predictions=TEXT, references=TEXT)
