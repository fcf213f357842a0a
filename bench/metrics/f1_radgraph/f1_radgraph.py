"""F1-RadGraph, by the radgraph package; None without it."""

from collections.abc import Callable

from heartcare.bench.metrics.as_module import TEXT, make_metric
from heartcare.bench.metrics.models import f1_radgraph


def compute(
    predictions: list[str], references: list[str], scorer: Callable | None = None, model: str | None = None
) -> dict:
    """Returns F1-RadGraph; "f1" is None without a scorer or model."""
    return f1_radgraph(predictions, references, scorer, model) or {"f1": None}


Metric = make_metric(compute, __doc__, predictions=TEXT, references=TEXT)
