"""Calibration error (ECE, 15 bins) and selective accuracy of answers (1 right, 0 wrong) by their confidence."""

from heartcare.bench.metrics.as_module import NUMBER, make_metric
from heartcare.bench.metrics.probability import (
    expected_calibration_error,
    risk_coverage,
)


def compute(predictions: list[float], references: list[float]) -> dict:
    """Returns the calibration error and risk-coverage of `predictions`, the confidences; `references` is 1 for right
    answers.
    """
    return {"ece": expected_calibration_error(references, predictions), **risk_coverage(references, predictions)}


Metric = make_metric(compute, __doc__, predictions=NUMBER, references=NUMBER)
