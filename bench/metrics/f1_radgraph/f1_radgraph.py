"""F1-RadGraph, by the radgraph package; None without it."""

from heartcare.bench.metrics.as_module import TEXT, make_metric
from heartcare.bench.metrics.models import f1_radgraph


def compute(predictions, references, scorer=None, model=None) -> dict:
    return f1_radgraph(predictions, references, scorer, model) or {"f1": None}


Metric = make_metric(compute, __doc__, predictions=TEXT, references=TEXT)
