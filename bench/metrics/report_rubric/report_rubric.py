"""The 17-point rubric of ECG reports, 0 to 100, by HeartAgent's lexicon."""

from heartcare.bench.metrics.as_module import TEXT, make_metric
from heartcare.bench.metrics.rubric import report_rubric

Metric = make_metric(report_rubric, __doc__, predictions=TEXT, references=TEXT)
