"""Macro AUC over the classes that have a positive and a negative."""

import numpy as np

from heartcare.bench.metrics.as_module import NUMBERS, make_metric
from heartcare.bench.metrics.probability import macro_auc


def compute(predictions: list[list[float]], references: list[list[float]]) -> dict:
    """Returns the macro AUC of (records, classes)."""
    return {"macro_auc": float(macro_auc(np.array(references) > 0.5, np.array(predictions)))}


Metric = make_metric(compute, __doc__, predictions=NUMBERS, references=NUMBERS)
