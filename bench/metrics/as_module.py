"""The plain functions as modules of the evaluate package, which load from their folders without any network."""

from collections.abc import Callable

import datasets
import evaluate

TEXT, NUMBER = datasets.Value("string"), datasets.Value("float64")
TEXTS, NUMBERS, SIGNAL = (datasets.Sequence(kind) for kind in (TEXT, NUMBER, datasets.Sequence(NUMBER)))


def make_metric(function: Callable[..., dict], description: str, **features) -> type[evaluate.Metric]:
    """Makes a metric class of the evaluate package around a function.

    Args:
        function: Called with the columns by name as lists, and with the other arguments of `compute`.
        description: One sentence on the metric.
        features: Column -> its type.
    """

    class Metric(evaluate.Metric):
        """The function with the interface of the evaluate package."""

        def _info(self) -> evaluate.MetricInfo:
            return evaluate.MetricInfo(
                description=description,
                citation="",
                inputs_description=", ".join(features),
                features=datasets.Features(features),
            )

        def _compute(self, **columns) -> dict:
            return function(**columns)

    Metric.__module__ = function.__module__
    return Metric
