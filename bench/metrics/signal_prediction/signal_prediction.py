"""Errors of predicted signals, (leads, samples) mV each: MSE in variances, RMSE, PRD, correlation, DTW, R peaks, heart
rate.
"""

from heartcare.bench.metrics.as_module import SIGNAL, make_metric
from heartcare.bench.metrics.signal import mean_signal_prediction

Metric = make_metric(mean_signal_prediction, __doc__, predictions=SIGNAL, references=SIGNAL)
