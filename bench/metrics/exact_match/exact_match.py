"""Exact match of texts without case, punctuation and articles."""

from heartcare.bench.metrics.as_module import TEXT, make_metric
from heartcare.bench.metrics.text import exact_match_each


def compute(predictions, references) -> dict:
    each = exact_match_each(predictions, references)
    return {"exact_match": sum(each) / len(each), "each": each}


Metric = make_metric(compute, __doc__, predictions=TEXT, references=TEXT)
