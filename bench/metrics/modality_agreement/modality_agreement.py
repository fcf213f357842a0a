"""Agreement of two readings of the same records, and Cohen's kappa."""

from heartcare.bench.metrics.as_module import TEXT, make_metric
from heartcare.bench.metrics.probability import agreement


def compute(predictions: list[str], references: list[str]) -> dict:
    """Returns agreement and kappa of two readings."""
    return agreement(references, predictions)


Metric = make_metric(compute, __doc__, predictions=TEXT, references=TEXT)
