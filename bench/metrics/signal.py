"""Scores predicted signals against the true ones. All signals are (12, samples) in mV; leads that are flat in the
target are left out.
"""

from collections.abc import Sequence

import numpy as np

from ...agent.measure import match_peaks
from ...delineation_heartcare import find_r_peaks


def signal_prediction(
    prediction: np.ndarray, target: np.ndarray, sampling_rate: float, context: np.ndarray | None = None
) -> dict[str, float | None]:
    """Scores one prediction.

    Args:
        prediction, target: (12, samples) mV.
        sampling_rate: Hz.
        context: (12, samples) mV before the target. R peaks are looked for with it in front, since a second alone has
            too few beats.

    Returns:
        "mse_z": mean squared error in variances of the target's lead; the target's mean scores 1.
        "rmse_uv": root mean squared error, microvolts.
        "prd": percent root-mean-square difference, 100 * rms(error) / rms(target).
        "correlation": Pearson, mean over leads; a flat prediction counts as 0.
        "dtw_uv": dynamic time warping, the least mean distance along a warped path, microvolts, mean over leads.
        "r_peak_f1": of R peaks within 50 ms; None without any in the target.
        "hr_error": absolute error of the heart rate, beats/min, by the median distance of each predicted R peak from
            the one before; None where the prediction or the target has none.

    Raises: `ValueError` for shapes that differ or a target without signal.
    """
    prediction, target = np.asarray(prediction, float), np.asarray(target, float)
    if prediction.shape != target.shape or target.ndim != 2:
        raise ValueError(
            f"prediction and target must both have shape (leads, samples), got {prediction.shape} and {target.shape}."
        )
    present = np.ptp(target, axis=1) > 0
    if not present.any():
        raise ValueError("The target has no signal in any lead.")
    predicted, expected = prediction[present], target[present]
    error, centred = predicted - expected, expected - expected.mean(1, keepdims=True)
    variance = centred.var(1)
    moving = predicted - predicted.mean(1, keepdims=True)
    scale = np.sqrt(moving.var(1) * variance)
    covariance = (moving * centred).mean(1)
    correlation = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 1e-12)
    f1, hr_error = _beats(prediction, target, sampling_rate, context)
    return {
        "mse_z": float(np.mean(np.square(error).mean(1) / variance)),
        "rmse_uv": float(1000 * np.sqrt(np.square(error).mean())),
        "prd": float(100 * np.sqrt(np.square(error).sum() / np.square(expected).sum())),
        "correlation": float(correlation.mean()),
        "dtw_uv": float(1000 * dtw(predicted, expected).mean()),
        "r_peak_f1": f1,
        "hr_error": hr_error,
    }


def mean_signal_prediction(
    predictions: Sequence[np.ndarray], references: Sequence[np.ndarray], sampling_rate: float
) -> dict[str, float | None]:
    """Returns the means of the metrics of `signal_prediction` over pairs of signals, each over the pairs that have a
    value.
    """
    rows = [signal_prediction(p, r, sampling_rate) for p, r in zip(predictions, references, strict=True)]
    columns = {name: [row[name] for row in rows if row[name] is not None] for name in rows[0]}
    return {name: float(np.mean(values)) if values else None for name, values in columns.items()}


def dtw(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns the dynamic time warping distance of each lead: the least sum of |a - b| along a path from corner to
    corner, over the number of samples.

    Args: (leads, samples), (leads, samples). Returns: float64 (leads,) in the units of the signals.
    """
    leads, n = one.shape
    m = other.shape[1]
    # Diagonal by diagonal: a cell needs its neighbours on the two before, so that a whole diagonal is one operation.
    before, last = np.full((leads, n + 1), np.inf), np.full((leads, n + 1), np.inf)
    before[:, 0] = 0.0  # row i of the table, counted from 1, is at place i; place 0 is the border
    for diagonal in range(2, n + m + 1):
        i = np.arange(max(1, diagonal - m), min(n, diagonal - 1) + 1)
        cost = np.abs(one[:, i - 1] - other[:, diagonal - i - 1])
        now = np.full((leads, n + 1), np.inf)
        now[:, i] = cost + np.minimum(np.minimum(last[:, i - 1], last[:, i]), before[:, i - 1])
        before, last = last, now
    return last[:, n] / n


def _beats(prediction, target, sampling_rate: float, context) -> tuple[float | None, float | None]:
    known = 0 if context is None else context.shape[1]
    whole = [part if context is None else np.concatenate([context, part], axis=1) for part in (prediction, target)]
    peaks = [find_r_peaks(part, sampling_rate) for part in whole]
    predicted, expected = (part[part >= known] for part in peaks)
    matched = match_peaks(expected, predicted, 0.05 * sampling_rate)
    f1 = 2 * matched / (len(predicted) + len(expected)) if len(expected) else None
    # Only distances that end in the predicted part: the beats before it would hide a forecast without any.
    distances = [np.diff(part)[part[1:] >= known] for part in peaks]
    if not all(len(part) for part in distances):
        return f1, None
    predicted, expected = (60 * sampling_rate / np.median(part) for part in distances)
    return f1, float(abs(predicted - expected))
