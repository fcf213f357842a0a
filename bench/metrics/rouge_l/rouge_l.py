"""ROUGE-L, equal to rouge-score's rougeL without stemmer."""

from heartcare.bench.metrics.as_module import TEXT, make_metric
from heartcare.bench.metrics.text import rouge_l_each


def compute(predictions, references) -> dict:
    each = rouge_l_each(predictions, references)
    return {"rouge_l": sum(each) / len(each), "each": each}


Metric = make_metric(compute, __doc__, predictions=TEXT, references=TEXT)
