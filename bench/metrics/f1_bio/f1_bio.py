"""F1-Bio: BERTScore by a biomedical BERT in a local folder; None without it."""

from heartcare.bench.metrics.as_module import TEXT, make_metric
from heartcare.bench.metrics.models import f1_bio


def compute(predictions: list[str], references: list[str], model: str | None = None, layer: int | None = None) -> dict:
    """Returns F1-Bio; "f1" is None without a model."""
    return f1_bio(predictions, references, model, layer) or {"f1": None}


Metric = make_metric(compute, __doc__, predictions=TEXT, references=TEXT)
