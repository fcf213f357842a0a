"""Corpus BLEU-4 in 0 to 100, equal to sacrebleu's."""

from heartcare.bench.metrics.as_module import TEXT, make_metric
from heartcare.bench.metrics.text import bleu


def compute(predictions: list[str], references: list[str]) -> dict:
    """Returns corpus BLEU-4 as a dict."""
    return {"bleu": bleu(predictions, references)}


Metric = make_metric(compute, __doc__, predictions=TEXT, references=TEXT)
