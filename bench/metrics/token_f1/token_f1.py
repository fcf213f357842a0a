"""F1 of the words of texts without case, punctuation and articles."""

from heartcare.bench.metrics.as_module import TEXT, make_metric
from heartcare.bench.metrics.text import token_f1_each


def compute(predictions, references) -> dict:
    each = token_f1_each(predictions, references)
    return {"token_f1": sum(each) / len(each), "each": each}


Metric = make_metric(compute, __doc__, predictions=TEXT, references=TEXT)
