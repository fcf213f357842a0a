"""Strict accuracy of closed questions: an answer without a single clear choice is wrong, and counted as invalid."""

from heartcare.bench.metrics.as_module import TEXT, TEXTS, make_metric
from heartcare.bench.metrics.closed import closed_qa

Metric = make_metric(closed_qa, __doc__, predictions=TEXT, references=TEXT, options=TEXTS)
