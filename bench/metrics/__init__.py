"""The metrics as plain functions. Each is also a module of `evaluate`, without any network:
`evaluate.load("bench/metrics/rouge_l")`.
"""

from .closed import Choice, closed_qa, read_choice
from .entities import entity_f1, entity_f1_each, find_facts
from .judge import Judge, judge_reports
from .models import f1_bio, f1_radgraph
from .probability import (
    agreement,
    auc,
    expected_calibration_error,
    macro_auc,
    risk_coverage,
)
from .rubric import RUBRIC, report_rubric
from .signal import dtw, signal_prediction
from .statistics import interval, mean_interval, paired_test, patient_draws
from .text import (
    answer_set_match_each,
    bleu,
    exact_match_each,
    rouge_l_each,
    token_f1_each,
)

__all__ = [
    "RUBRIC",
    "Choice",
    "Judge",
    "agreement",
    "answer_set_match_each",
    "auc",
    "bleu",
    "closed_qa",
    "dtw",
    "entity_f1",
    "entity_f1_each",
    "exact_match_each",
    "expected_calibration_error",
    "f1_bio",
    "f1_radgraph",
    "find_facts",
    "interval",
    "judge_reports",
    "macro_auc",
    "mean_interval",
    "paired_test",
    "patient_draws",
    "read_choice",
    "report_rubric",
    "risk_coverage",
    "rouge_l_each",
    "signal_prediction",
    "token_f1_each",
]
