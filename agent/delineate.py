"""Onsets and ends of P, QRS and T on all leads together, where "absent" is an answer.

    ECG --R peaks--> beats at 500 Hz --the commonest form--> median beat --projections and slopes--> its waves
                          |                                                                              |
                          +--each beat, searched near where the median beat has its waves----------------+

A wave is looked for in the one combination of leads in which it is largest (its first singular vector), so that a wave
that is flat in one lead is found by the others, and noise that the leads do not share counts little. What does not
recur from beat to beat, such as the waves of atrial fibrillation, is no P wave.
"""

from dataclasses import dataclass

import numpy as np
from scipy import signal as scipy_signal

from ..ecg_heartcare import LEADS
from .measure import find_r_peaks, qrs_axis

RATE = 500  # Hz that all is measured at
BEFORE, AFTER = 0.40, 0.70  # seconds of a beat around its QRS
SLOPE = {"p": 0.10, "qrs": 0.04, "t": 0.08}  # of its steepest slope, at which a wave begins or ends
LEAST_MV = {"p": 0.045, "t": 0.06}  # height of a wave in its projection, sqrt(sum over leads of mV^2); less is absent
RECURS = 0.6  # correlation of a beat's P wave with that of the others; less is absent
SAME_FORM = 0.8  # correlation of a beat's QRS with the median beat; less is another form

Span = tuple[float, float]


@dataclass
class Waves:
    """(onset, end) in seconds of the waves of one beat; None is absent."""

    p: Span | None
    qrs: Span | None
    t: Span | None


@dataclass
class Delineation:
    """Waves that `delineate` located.

    Attributes:
        r_peaks: float64 (beats,), seconds from the start of the recording.
        beats: The waves of each beat, seconds from the start of the recording.
        usual: bool (beats,), whether a beat has the commonest form; an ectopic beat has not.
        median: The waves of the median beat of that form, seconds from its QRS complex; None without any beat.
        median_beat: float64 (12, samples) mV at 500 Hz, from 0.40 s before its QRS complex; None without any beat.
    """

    r_peaks: np.ndarray
    beats: list[Waves]
    usual: np.ndarray
    median: Waves | None
    median_beat: np.ndarray | None


def delineate(signal: np.ndarray, sampling_rate: float) -> Delineation:
    """Finds the waves of an ECG.

    Args:
        signal: (leads, samples) in mV, cleaned; absent leads are zeros.
        sampling_rate: Hz.

    Returns: a `Delineation`; without any beat where there is none.
    """
    signal = np.nan_to_num(np.asarray(signal, np.float64))
    peaks = find_r_peaks(signal, sampling_rate)
    peaks = np.round(peaks * RATE / sampling_rate).astype(int)
    if sampling_rate != RATE:
        count = round(signal.shape[-1] * RATE / sampling_rate)
        padding = min(signal.shape[-1] - 1, round(sampling_rate))
        padded = np.pad(signal, ((0, 0), (padding, padding)), mode="reflect", reflect_type="odd")
        whole = scipy_signal.resample_poly(padded, RATE, round(sampling_rate), axis=-1)
        start = round(padding * RATE / sampling_rate)
        signal = whole[:, start : start + count]
    if not len(peaks):
        return Delineation(np.empty(0), [], np.empty(0, bool), None, None)
    return _Beats(signal, peaks).delineate()


# Attribute of `Measurements`, its name and its unit, wherever they are shown.
MEASURED = (
    ("heart_rate", "heart rate", "beats/min"),
    ("pr", "PR", "ms"),
    ("qrs", "QRS", "ms"),
    ("qt", "QT", "ms"),
    ("qtc", "QTc", "ms"),
    ("axis", "QRS axis", "degrees"),
)


@dataclass
class Measurements:
    """Numbers of one ECG, None where the wave that they need is absent.

    Attributes:
        heart_rate: Beats per minute, by the median distance of the R peaks.
        pr, qrs, qt: ms, of the median beat: P onset to QRS onset, QRS onset to end, QRS onset to T end.
        qtc: ms, after Fridericia: qt / RR ** (1 / 3).
        axis: Degrees, -180 to 180; see `heartcare.agent.measure.qrs_axis`.
        st: float64 (leads,) mV, 60 ms after the QRS against just before it, of the median beat.
    """

    heart_rate: float | None
    pr: float | None
    qrs: float | None
    qt: float | None
    qtc: float | None
    axis: float | None
    st: np.ndarray | None

    def as_rows(self) -> list[tuple[str, str, str]]:
        """Returns name, rounded value ("–" where there is none) and unit of each number but the ST levels."""
        values = [(name, getattr(self, attribute), unit) for attribute, name, unit in MEASURED]
        return [(name, "–" if value is None else f"{value:.0f}", unit) for name, value, unit in values]


def measure_ecg(signal: np.ndarray, sampling_rate: float) -> Measurements:
    """Intervals, axis and ST levels; arguments as `delineate`, leads in standard order."""
    found = delineate(signal, sampling_rate)
    if found.median is None or found.median.qrs is None:
        return Measurements(None, None, None, None, None, None, None)
    rr = float(np.median(np.diff(found.r_peaks))) if len(found.r_peaks) > 1 else None
    p, (onset, end), t = found.median.p, found.median.qrs, found.median.t
    qt = t and 1000 * (t[1] - onset)
    first, st = (round((BEFORE + seconds) * RATE) for seconds in (onset, end + 0.06))
    level = found.median_beat[:, max(0, first - 8) : first + 1].mean(-1)
    return Measurements(
        heart_rate=rr and 60 / rr,
        pr=p and 1000 * (onset - p[0]),
        qrs=1000 * (end - onset),
        qt=qt,
        qtc=qt and rr and qt / rr ** (1 / 3),
        axis=qrs_axis(signal, sampling_rate) if len(signal) == len(LEADS) else None,
        st=found.median_beat[:, st - 2 : st + 3].mean(-1) - level if st + 3 <= found.median_beat.shape[1] else None,
    )


class _Beats:
    """The beats of one recording, aligned on their QRS complexes; times within a beat are samples from `BEFORE` seconds
    before its QRS.
    """

    def __init__(self, signal: np.ndarray, peaks: np.ndarray):
        self.zero, length = round(BEFORE * RATE), round((BEFORE + AFTER) * RATE)
        self.signal, self.length = signal, length
        self.padded = np.pad(signal, ((0, 0), (length, length)), mode="edge")
        self.rr = np.diff(peaks)
        self.peaks = self._align(peaks)
        self.beats = self._cut(self.peaks)  # (beats, leads, length)
        self.usual = self._commonest_form()
        self.weights: dict[str, np.ndarray] = {}
        self.models = self.beats[self._whole(self.usual)]  # the beats that the median beat is of
        self.median = np.median(self.models, axis=0)
        spread = np.median(np.abs(self.models - self.median)) / 0.6745 if len(self.models) > 2 else 0.0
        self.noise = spread * np.sqrt(len(signal))  # mV of a single beat, in the norm over the leads

    def _cut(self, peaks: np.ndarray) -> np.ndarray:
        starts = peaks - self.zero + self.length
        return np.stack([self.padded[:, max(0, s) : max(0, s) + self.length] for s in starts])

    def _align(self, peaks: np.ndarray, reach: int = 15) -> np.ndarray:
        """Moves each peak to where its QRS lies best on the median QRS; the slope-energy centre jitters."""
        half = round(0.06 * RATE)
        for _ in range(2):
            beats = self._cut(peaks)[:, :, self.zero - half - reach : self.zero + half + reach + 1]
            model = np.median(beats, axis=0)[:, reach:-reach]
            model = model - model.mean(-1, keepdims=True)
            shifts = []
            for beat in beats:
                windows = np.lib.stride_tricks.sliding_window_view(
                    beat, model.shape[1], axis=1
                )  # (leads, shifts, samples)
                windows = windows - windows.mean(-1, keepdims=True)
                match = np.einsum("lsn,ln->s", windows, model) / np.sqrt(np.square(windows).sum((0, 2)) + 1e-9)
                shifts.append(int(match.argmax()) - reach)
            peaks = np.clip(peaks + np.array(shifts), 0, self.signal.shape[1] - 1)
        return peaks

    def _commonest_form(self) -> np.ndarray:
        """Selects the beats that look alike: those near the beat that is most like all others."""
        half = round(0.06 * RATE)
        qrs = self.beats[:, :, self.zero - half : self.zero + half + 1]
        qrs = (qrs - qrs.mean(-1, keepdims=True)).reshape(len(qrs), -1)
        qrs = qrs / (np.linalg.norm(qrs, axis=1, keepdims=True) + 1e-9)
        alike = qrs @ qrs.T
        usual = alike[np.argmax((alike > SAME_FORM).sum(1) + alike.mean(1))] > SAME_FORM
        return usual if usual.any() else np.ones(len(qrs), bool)

    def _whole(self, usual: np.ndarray) -> np.ndarray:
        """Selects the beats that the recording does not cut off, where they are enough."""
        whole = (self.peaks >= self.zero) & (self.peaks + self.length - self.zero <= self.signal.shape[1])
        return usual & whole if (usual & whole).sum() >= min(3, usual.sum()) else usual

    def delineate(self) -> Delineation:
        rr = np.percentile(self.rr, 20) if len(self.rr) else np.inf
        median = self._waves(self.median, self.noise / np.sqrt(len(self.models)), rr)
        beats = []
        for k, beat in enumerate(self.beats):
            waves = self._waves(beat, self.noise, self.rr[k] if k < len(self.rr) else rr, median, self.usual[k])
            # A wave that the recording cuts off has no onset or end.
            low, high = self.zero - self.peaks[k], self.zero - self.peaks[k] + self.signal.shape[1] - 1
            spans = [span if span and low < span[0] and span[1] < high else None for span in waves]
            beats.append(self._seconds(spans, self.peaks[k]))
        # The R peak is where the leads together are farthest from zero.
        tops = [self._top(beat, waves, peak) for beat, waves, peak in zip(self.beats, beats, self.peaks)]
        return Delineation(np.array(tops), beats, self.usual, self._seconds(median, 0), self.median)

    def _seconds(self, spans, peak: int) -> Waves:
        return Waves(
            *(span and ((span[0] - self.zero + peak) / RATE, (span[1] - self.zero + peak) / RATE) for span in spans)
        )

    def _top(self, beat: np.ndarray, waves: Waves, peak: int) -> float:
        if waves.qrs is None:
            return peak / RATE
        start, end = (round(edge * RATE) - peak + self.zero for edge in waves.qrs)
        part = beat[:, start : end + 1]
        return (peak - self.zero + start + int(np.linalg.norm(part - _line(part), axis=0).argmax())) / RATE

    def _waves(
        self, beat: np.ndarray, noise: float, rr: float, model: tuple | None = None, usual: bool = False
    ) -> tuple:
        """p, qrs and t of one beat, None where absent. `model`: those of the median beat, near which a usual beat has
        its own.
        """
        near = model if usual else (None, None, None)
        qrs = self._qrs(beat, near[1])
        if qrs is None:
            return None, None, None
        beat = beat - beat[:, max(0, qrs[0] - 8) : qrs[0] + 1].mean(
            -1, keepdims=True
        )  # what comes before the QRS is the zero of its beat
        if model is None:
            p = self._p(beat, qrs[0], min(0.28 * RATE, 0.5 * rr), noise)
            p = p if p and self._recurs(p) else None
        else:
            p = model[0] and self._p_like(beat, model, qrs[0], usual)
        # The T wave may last until the next beat's P wave, or its QRS complex where there is none.
        next_p = model[0] if model else p
        stop = min(self.length - 1, (next_p[0] if next_p else qrs[0] - round(0.04 * RATE)) + rr)
        t = None if usual and near[2] is None else self._t(beat, qrs[1], int(stop), noise, near[2])
        return p, qrs, t

    def _qrs(self, beat: np.ndarray, near: tuple | None) -> tuple[int, int] | None:
        """Finds the onset and end of a QRS: where the slopes of all leads together rise above their surroundings."""
        slope = _slope(beat, 9)
        steep = np.linalg.norm(slope, axis=0)
        around = slice(self.zero - round(0.1 * RATE), self.zero + round(0.1 * RATE))
        top = int(steep[around].argmax()) + around.start
        quiet = np.percentile(steep[max(0, self.zero - round(0.3 * RATE)) : self.zero + round(0.45 * RATE)], 10)
        found = []
        for step in (-1, 1):
            # A sloping ST segment is no part of the QRS: what counts is how far the slopes are from those of what
            # follows.
            reach = (
                steep[top : top + round(0.12 * RATE)]
                if step > 0
                else steep[max(0, top - round(0.12 * RATE)) : top + 1][::-1]
            )
            outside = top + step * int(np.flatnonzero(reach >= 0.2 * steep[top])[-1])
            near_by = slice(outside + 5, outside + 20) if step > 0 else slice(max(0, outside - 20), max(1, outside - 5))
            bent = np.linalg.norm(slope - np.median(slope[:, near_by], axis=-1, keepdims=True), axis=0)
            level = max(SLOPE["qrs"] * steep[top], 2.0 * quiet)
            found.append(_edge(bent, top, step, level, lasts=round(0.008 * RATE), reach=round(0.13 * RATE)))
        if near and max(abs(a - b) for a, b in zip(found, near)) > 0.03 * RATE:
            return near  # noise has the better of a single beat
        return (found[0], found[1]) if found[1] > found[0] else None

    def _t(self, beat: np.ndarray, start: int, stop: int, noise: float, near: tuple | None) -> tuple[int, int] | None:
        start = start + round(0.02 * RATE)
        if stop - start < 0.1 * RATE:
            return None
        part = beat[:, start:stop]
        if near is None:
            weights = np.linalg.svd(part, full_matrices=False)[0][:, 0]
            self.weights.setdefault("t", weights)  # of the median beat, which comes first
        else:
            weights = self.weights["t"]
        wave = weights @ part
        wave, slope = _smooth(wave, 21), _slope(wave, 21)
        height = np.abs(wave)
        top = int(height[: -round(0.02 * RATE)].argmax())
        if height[top] < (0 if near else max(LEAST_MV["t"], 4 * noise)):
            return None
        # The last lobe of a T wave that has two, if it is no mere undershoot.
        sign = np.sign(wave[top])
        lobes = [
            k for k in scipy_signal.find_peaks(-sign * wave)[0] if k > top and -sign * wave[k] > 0.35 * height[top]
        ]
        last = lobes[0] if lobes else top
        fall = -np.sign(wave[last]) * slope  # positive while it goes back
        steepest = last + int(fall[last : last + round(0.2 * RATE)].argmax())
        end = _edge(np.maximum(fall, 0), steepest, 1, SLOPE["t"] * fall[steepest], lasts=3, reach=stop - start)
        rise = np.abs(slope[: top + 1])
        onset = _edge(rise, int(rise.argmax()), -1, SLOPE["t"] * rise.max(), lasts=3, reach=stop - start)
        found = onset + start, end + start
        return near if near and abs(found[1] - near[1]) > 0.06 * RATE else found

    def _p(self, beat: np.ndarray, qrs: int, reach: float, noise: float) -> tuple[int, int] | None:
        """The last wave of some prominence before the QRS."""
        start, stop = max(0, qrs - int(reach)), qrs
        if stop - start < 0.06 * RATE:
            return None
        part = beat[:, start:stop]
        wave = _smooth(np.linalg.svd(part - _line(part), full_matrices=False)[0][:, 0] @ part, 15)
        found = [(scipy_signal.peak_prominences(sign * wave, peaks)[0], peaks, sign) for sign in (1, -1)
                 if len(peaks := scipy_signal.find_peaks(sign * wave)[0])]  # fmt: skip
        if not found:
            return None
        least = max(LEAST_MV["p"], 4 * noise, 0.25 * max(heights.max() for heights, _, _ in found))
        top, sign = max(
            ((peak, sign) for heights, peaks, sign in found for peak in peaks[heights >= least]), default=(None, 0)
        )
        if top is None:
            return None
        slope, reach = sign * _slope(wave, 15), round(0.1 * RATE)
        left = max(0, top - reach)
        rise, fall = slope[left : top + 1], -slope[top : top + reach]
        onset = _edge(
            np.maximum(slope, 0), left + int(rise.argmax()), -1, SLOPE["p"] * rise.max(), lasts=2, reach=reach
        )
        end = _edge(np.maximum(-slope, 0), top + int(fall.argmax()), 1, SLOPE["p"] * fall.max(), lasts=2, reach=reach)
        return onset + start, end + start

    def _recurs(self, p: tuple[int, int]) -> bool:
        """Tells for each beat whether it has the P wave of the median beat, judged by the other beats."""
        beats = self.models[:, :, p[0] : p[1] + 1]
        if len(beats) < 3:
            return True
        beats = beats - beats.mean(-1, keepdims=True)
        others = (beats.sum(0) - beats) / (len(beats) - 1)
        alike = (beats * others).sum((1, 2)) / (
            np.linalg.norm(beats, axis=(1, 2)) * np.linalg.norm(others, axis=(1, 2)) + 1e-9
        )
        return bool(np.median(alike) > RECURS)

    def _p_like(self, beat: np.ndarray, model: tuple, qrs: int, usual: bool) -> tuple[int, int] | None:
        """Searches a beat for a wave like the median beat's P, near its place in a usual beat, and anywhere before the
        QRS in another.
        """
        onset, end = model[0]
        wave = self.median[:, onset : end + 1]
        wave = wave - wave.mean(-1, keepdims=True)
        reach = round(0.03 * RATE) if usual else round(0.08 * RATE)
        first = max(0, onset - reach)
        last = min(onset + reach, qrs - wave.shape[1])
        if last < first:
            return None
        windows = np.lib.stride_tricks.sliding_window_view(beat[:, first : last + wave.shape[1]], wave.shape[1], axis=1)
        windows = windows - windows.mean(-1, keepdims=True)
        size = np.sqrt(np.square(windows).sum((0, 2))) + 1e-9
        alike = np.einsum("lsn,ln->s", windows, wave) / (size * np.linalg.norm(wave))
        best = int(alike.argmax())
        if alike[best] < (RECURS if usual else 0.85) or not 0.4 < size[best] / np.linalg.norm(wave) < 2.5:
            return None
        return first + best, first + best + wave.shape[1] - 1


def _slope(signal: np.ndarray, window: int) -> np.ndarray:
    return scipy_signal.savgol_filter(signal, window, 2, deriv=1, axis=-1)


def _smooth(signal: np.ndarray, window: int) -> np.ndarray:
    return scipy_signal.savgol_filter(signal, window, 2, axis=-1)


def _line(part: np.ndarray) -> np.ndarray:
    """The straight line between both ends of each lead, each end the mean of 10 ms."""
    ends = part[:, :5].mean(-1, keepdims=True), part[:, -5:].mean(-1, keepdims=True)
    return ends[0] + (ends[1] - ends[0]) * np.linspace(0, 1, part.shape[1])


def _edge(values: np.ndarray, start: int, step: int, level: float, lasts: int, reach: int) -> int:
    """The first place from `start` on, in steps of 1 or -1, from which `values` stay below `level` for `lasts` samples;
    at most `reach` away.
    """
    below = 0
    place = start
    for place in range(start, max(-1, start - reach - 1) if step < 0 else min(len(values), start + reach + 1), step):
        below = below + 1 if values[place] < level else 0
        if below == lasts:
            return place - step * (lasts - 1)
    return place
