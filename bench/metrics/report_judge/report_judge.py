"""The 17-point rubric of ECG reports, 0 to 100, by a language model; failures are counted, and never scored."""

from heartcare.bench.metrics.as_module import TEXT, make_metric
from heartcare.bench.metrics.judge import Judge, judge_reports


def compute(
    predictions: list[str],
    references: list[str],
    model: str,
    url: str | None = None,
    cache: str | None = None,
    seed: int = 0,
) -> dict:
    """Returns the judge's grades of the reports."""
    return judge_reports(predictions, references, Judge(model, url, cache, seed))


Metric = make_metric(compute, __doc__, predictions=TEXT, references=TEXT)
