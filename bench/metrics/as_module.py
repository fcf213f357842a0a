"""The plain functions as modules of the evaluate package, which load from their folders without any network."""

import datasets
import evaluate

TEXT, NUMBER = datasets.Value("string"), datasets.Value("float64")
TEXTS, NUMBERS, SIGNAL = (datasets.Sequence(each) for each in (TEXT, NUMBER, datasets.Sequence(NUMBER)))


def make_metric(function, description: str, **features) -> type[evaluate.Metric]:
    """A metric class around a function.

    Args:
        function: Called with the columns by name as lists, and with what `compute` is given beside them; returns a
            dict.
        description: What the metric says.
        features: Column -> its type.
    """

    class Metric(evaluate.Metric):
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
