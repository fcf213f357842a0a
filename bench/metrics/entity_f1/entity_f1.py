"""ECG-entity F1: findings, negation, certainty, leads and time, read by HeartAgent's lexicon."""

from heartcare.bench.metrics.as_module import TEXT, make_metric
from heartcare.bench.metrics.entities import entity_f1

Metric = make_metric(entity_f1, __doc__, predictions=TEXT, references=TEXT)
