# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Onsets and ends of P, QRS and T, in each lead and over all of them, where "absent" is an answer.

    ECG --R peaks--> beats at 500 Hz --the commonest form--> median beat --bends of each lead--> its waves
                          |                                                                        |
                          +--each beat, searched near where the median beat has its waves----------+

Which waves there are is seen on all leads together: a wave that is flat in one lead is found by the others, and noise
that the leads do not share counts little. Where a wave begins and ends is then read in each lead, as cardiologists do,
and the median over the leads is the wave's own. What does not recur from beat to beat, such as the waves of atrial
fibrillation, is no P wave.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from scipy import fft
from scipy import signal as scipy_signal

from .cleaning_heartcare import resample

RATE = 500  # Hz that all is measured at
LEAST_SECONDS = 0.2  # of a recording; a shorter one holds no beat
LEAST_RATE = 50  # Hz of a recording; with less, the edges of waves are not there to be found
BEFORE, AFTER = 0.45, 0.75  # seconds of a beat around its QRS
SAME_FORM = 0.8  # correlation of a beat's QRS with the median beat; less is another form
RECURS = 0.6  # correlation of a beat's P wave with that of the others; less is absent
LEAST_MV = {"p": 0.045, "t": 0.06}  # height of a wave in its projection, sqrt(sum over leads of mV^2); less is absent
SPIKE_MV = 0.25  # height of a pacing spike in the norm over the leads
T_LASTS = 0.35  # of its height, down to which a T wave lasts
U_HEIGHT = 0.8  # of the T wave's; a later wave that is less high is a U wave

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
        median_beat: float64 (leads, samples) mV at 500 Hz, from 0.45 s before its QRS complex; None without any beat.
        by_lead: Wave ("p", "qrs", "t") -> float64 (leads, 2), onset and end in each lead of the median beat, seconds
            from its QRS complex; NaN where the wave or the lead is absent.
        spikes: float64 (spikes,), seconds of a pacemaker's spikes; empty where there are none, and below 250 Hz.
    """

    r_peaks: np.ndarray
    beats: list[Waves]
    usual: np.ndarray
    median: Waves | None
    median_beat: np.ndarray | None
    by_lead: dict[str, np.ndarray]
    spikes: np.ndarray = field(default_factory=lambda: np.empty(0))


def delineate(signal: np.ndarray, sampling_rate: float) -> Delineation:
    """Finds the waves of an ECG.

    Args:
        signal: (leads, samples) in mV, cleaned; absent leads are zeros.
        sampling_rate: Hz.

    Returns: a `Delineation`; without any beat where there is none.
    """
    signal = np.nan_to_num(np.asarray(signal, np.float64))
    spikes = find_pacing_spikes(signal, sampling_rate)
    signal = _without(spikes, signal, sampling_rate)
    enough = sampling_rate >= LEAST_RATE and signal.shape[-1] > LEAST_SECONDS * sampling_rate
    peaks = find_r_peaks(signal, sampling_rate) if enough else np.empty(0)
    if not len(peaks):
        by_lead = {name: np.full((len(signal), 2), np.nan) for name in ("p", "qrs", "t")}
        return Delineation(np.empty(0), [], np.empty(0, bool), None, None, by_lead, spikes / sampling_rate)
    peaks = np.round(peaks * RATE / sampling_rate).astype(int)
    found = _Beats(resample(signal, sampling_rate, RATE), peaks).delineate()
    return replace(found, spikes=spikes / sampling_rate)


def find_pacing_spikes(signal: np.ndarray, sampling_rate: float) -> np.ndarray:
    """Finds the spikes of a pacemaker: int64 (spikes,), samples. Fewer than three are taken for artefacts, and below
    250 Hz none can be seen.

    A spike is high and lasts for some 4 ms, and is not led up to by a slope, as the top of a QRS is that lasts longer
    than 20 ms.

    Args:
        signal: (leads, samples) in mV.
        sampling_rate: Hz.
    """
    width, samples = max(1, round(0.004 * sampling_rate)), signal.shape[-1]
    first, last = round(0.024 * sampling_rate), round(0.008 * sampling_rate)
    if sampling_rate < 250 or samples <= 2 * first:
        return np.empty(0, np.int64)
    steps = np.sqrt(np.einsum("ls,ls->s", *(np.diff(signal),) * 2))
    path = np.cumsum(np.pad(steps, (1, 0)))
    at = np.arange(first, samples - width)
    # Only few samples come after steps that are steep enough.
    at = at[path[at] - path[at - width] >= SPIKE_MV]
    before, after = signal[:, at] - signal[:, at - width], signal[:, at] - signal[:, at + width]
    height = np.where(before * after > 0, np.minimum(np.abs(before), np.abs(after)), 0)
    height = np.linalg.norm(height, axis=0)
    led_up = (path[at - last] - path[at - first]) / (first - last) * width
    spikes = at[(height >= SPIKE_MV) & (height >= 4 * (led_up + 0.02))]
    if len(spikes):
        spikes = spikes[np.diff(spikes, prepend=-samples) > round(0.02 * sampling_rate)]
    return spikes if len(spikes) >= 3 else np.empty(0, np.int64)


def _without(spikes: np.ndarray, signal: np.ndarray, sampling_rate: float) -> np.ndarray:
    """Bridges pacing spikes, from 6 ms before to 12 ms after each, with straight lines."""
    if not len(spikes):
        return signal
    bridged, samples = signal.copy(), signal.shape[1]
    for spike in spikes.tolist():
        start = max(0, spike - round(0.006 * sampling_rate))
        stop = min(samples - 1, spike + round(0.012 * sampling_rate))
        share = np.linspace(0, 1, stop - start + 1)
        bridged[:, start : stop + 1] = signal[:, start, None] * (1 - share) + signal[:, stop, None] * share
    return bridged


@lru_cache(maxsize=16)
def _band(sampling_rate: float) -> np.ndarray:
    """Band-pass that QRS complexes get through."""
    return scipy_signal.butter(2, [5, min(25, 0.45 * sampling_rate)], "bandpass", fs=sampling_rate, output="sos")


def find_r_peaks(signal: np.ndarray, sampling_rate: float) -> np.ndarray:
    """QRS complexes of one ECG, found on all leads together.

    Args:
        signal: (leads, samples) in mV, without drift.
        sampling_rate: Hz.

    Returns: int64 (peaks,), samples at which the slopes of a QRS complex have their centre; empty where there is none.
    """
    every = max(1, int(sampling_rate // 125))  # the band ends at 25 Hz
    if every > 1 and signal.shape[-1] >= 2 * every:
        whole = signal.shape[-1] // every
        signal = signal[:, : whole * every].reshape(len(signal), whole, every).mean(-1)
        return find_r_peaks(signal, sampling_rate / every) * every + every // 2
    steep = np.gradient(
        scipy_signal.sosfiltfilt(_band(sampling_rate), signal, axis=-1, padlen=min(signal.shape[-1] - 1, 100)), axis=-1
    )
    window = scipy_signal.windows.hann(max(3, round(0.12 * sampling_rate)) | 1)
    energy = scipy_signal.convolve(np.sqrt(np.square(steep).sum(0)), window / window.sum(), mode="same")
    # The usual QRS: the median over seconds of the largest energy in each.
    seconds = np.array_split(energy, max(1, round(len(energy) / sampling_rate / 1.5)))
    usual = float(np.median([second.max() for second in seconds]))
    if usual < 1e-5:  # mV a sample: no more than rounding
        return np.empty(0, np.int64)
    peaks, _ = scipy_signal.find_peaks(
        energy, height=0.3 * usual, distance=max(1, round(0.24 * sampling_rate)), prominence=0.2 * usual
    )
    return peaks


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
        models = self.beats[self._whole(self.usual)]  # the beats that the median beat is of
        self.models, self.median = models, _middle(models)
        spread = _middle(np.abs(models - self.median)[:, :, ::3].ravel()) / 0.6745 if len(models) > 2 else 0.0
        self.noise = spread * np.sqrt(len(signal))  # mV of a single beat, in the norm over the leads

    def _cut(self, peaks: np.ndarray, before: int | None = None, after: int | None = None) -> np.ndarray:
        """The signal around each peak: (beats, leads, samples)."""
        before = self.zero if before is None else before
        after = self.length - self.zero if after is None else after
        at = self.length + peaks[:, None] + np.arange(-before, after)
        return self.padded[:, at].transpose(1, 0, 2)

    def _align(self, peaks: np.ndarray, reach: int = 15) -> np.ndarray:
        """Moves each peak to where its QRS lies best on the median QRS; the slope-energy centre jitters."""
        half = round(0.06 * RATE)
        for _ in range(2):
            beats = self._cut(peaks, half + reach, half + reach + 1)
            model = _middle(beats)[:, reach:-reach]
            shifts = _likeness(beats, model)[0].argmax(1) - reach
            peaks = np.clip(peaks + shifts, 0, self.signal.shape[1] - 1)
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
        rr = self._cycle()
        marks = _marks_of_beat(self.median, self.zero, rr, self.noise / np.sqrt(len(self.models)))
        if marks["p"] is not None and not self._recurs(marks["p"].span):
            marks = _marks_of_beat(self.median, self.zero, rr, self.noise / np.sqrt(len(self.models)), p=False)
        spans = {name: each and each.span for name, each in marks.items()}
        found = {name: np.full((len(self.peaks), 2), np.nan) for name in spans}
        for name, span in spans.items():
            if span:
                found[name][self.usual] = span
        self._move_p(found["p"], spans)
        self._move_t(found["t"], spans)
        for k in np.flatnonzero(~self.usual):
            beat = _marks_of_beat(self.beats[k], self.zero, self.rr[k] if k < len(self.rr) else rr, self.noise, p=False)
            for name in ("qrs", "t"):
                found[name][k] = beat[name].span if beat[name] else np.nan
        tops = self._tops(found["qrs"])
        by_lead = {
            name: (each.by_lead - self.zero) / RATE if each else np.full((len(self.signal), 2), np.nan)
            for name, each in marks.items()
        }
        median = Waves(**{name: span and self._seconds(span, 0) for name, span in spans.items()})
        return Delineation(tops / RATE, self._waves(found), self.usual, median, self.median, by_lead)

    def _cycle(self) -> float:
        """Samples from a usual beat to the next one, when they follow each other rather closely."""
        between = self.rr[self.usual[1:] & self.usual[:-1]]  # an ectopic beat comes too early for the waves before it
        if len(between):
            return float(np.percentile(between, 20))
        return float(np.median(self.rr)) if len(self.rr) else np.inf

    def _waves(self, found: dict[str, np.ndarray]) -> list[Waves]:
        """The waves of each beat in seconds. A wave that the recording cuts off has no onset or end."""
        low, high = self.zero - self.peaks, self.zero - self.peaks + self.signal.shape[1] - 1
        waves = []
        for k, peak in enumerate(self.peaks):
            spans = {name: each[k] for name, each in found.items()}
            inside = {name: low[k] < span[0] and span[1] < high[k] for name, span in spans.items()}
            waves.append(Waves(**{name: self._seconds(spans[name], peak) if inside[name] else None for name in spans}))
        return waves

    def _seconds(self, span: np.ndarray | Span, peak: int) -> Span:
        return float(span[0] - self.zero + peak) / RATE, float(span[1] - self.zero + peak) / RATE

    def _tops(self, qrs: np.ndarray) -> np.ndarray:
        """The R peak of each beat, where the leads together are farthest from the line through the QRS's ends."""
        tops = self.peaks.copy()
        known = ~np.isnan(qrs[:, 0])
        for span in np.unique(qrs[known], axis=0):  # one for all usual beats
            rows = np.flatnonzero((qrs == span).all(axis=1))
            start, end = np.round(span).astype(int)
            part = self.beats[rows, :, start : end + 1]
            tops[rows] += start - self.zero + np.linalg.norm(part - _line(part), axis=1).argmax(-1)
        # Of noise, two "beats" may have the same top.
        return tops if (np.diff(tops) > 0.1 * RATE).all() else self.peaks

    def _recurs(self, p: Span) -> bool:
        """Tells whether the beats have the P wave of the median beat, each judged by the others."""
        beats = self.models[:, :, round(p[0]) : round(p[1]) + 1]
        if len(beats) < 3:
            return True
        beats = beats - beats.mean(-1, keepdims=True)
        others = (beats.sum(0) - beats) / (len(beats) - 1)
        alike = (beats * others).sum((1, 2)) / (
            np.linalg.norm(beats, axis=(1, 2)) * np.linalg.norm(others, axis=(1, 2)) + 1e-9
        )
        return bool(np.median(alike) > RECURS)

    def _move_p(self, found: np.ndarray, spans: dict[str, Span | None]) -> None:
        """Searches each beat for a wave like the median beat's P: near its place in a usual beat, anywhere before the
        QRS in another.
        """
        found[:] = np.nan
        if not spans["p"]:
            return
        onset, end = (round(edge) for edge in spans["p"])
        wave = self.median[:, onset : end + 1]
        size = np.linalg.norm(wave - wave.mean(-1, keepdims=True))
        last = max(0, round(spans["qrs"][0]) - end - 1)
        for usual, reach in ((True, round(0.03 * RATE)), (False, round(0.08 * RATE))):
            rows = np.flatnonzero(self.usual == usual)
            if not len(rows):
                continue
            first, after = min(reach, onset), min(reach, last)
            alike, sizes = _likeness(self.beats[rows, :, onset - first : end + 1 + after], wave)
            best = alike.argmax(1)
            pick = np.arange(len(rows)), best
            relative = sizes[pick] / size
            good = (alike[pick] > (RECURS if usual else 0.85)) & (relative > 0.4) & (relative < 2.5)
            moved = (best - first)[:, None] + np.array(spans["p"])
            found[rows[good]] = moved[good]

    def _move_t(self, found: np.ndarray, spans: dict[str, Span | None]) -> None:
        """Moves the T wave of each usual beat to where it lies best on the median beat's: it comes later in longer
        cycles.
        """
        if not spans["t"]:
            return
        top = sum(spans["t"]) / 2
        start, stop, reach = round(top), min(round(spans["t"][1]) + 10, self.length), round(0.03 * RATE)
        stop = min(stop, self.length - reach)
        rows = np.flatnonzero(self.usual)
        if stop - start < 10 or start - reach < 0:
            return
        alike, _ = _likeness(self.beats[rows, :, start - reach : stop + reach], self.median[:, start:stop])
        found[rows] += (alike.argmax(1) - reach)[:, None]


@dataclass
class _Marks:
    """One wave of a beat, in samples of the beat: `by_lead` float64 (leads, 2), onset and end in each, NaN where a lead
    is absent; `span`, their medians, in which leads count by the steepness of their wave; `top`, where a P wave is
    highest.
    """

    by_lead: np.ndarray
    span: Span
    top: int = 0

    @classmethod
    def of(cls, onset: np.ndarray, end: np.ndarray, steepness: np.ndarray, top: int = 0) -> "_Marks":
        span = _weighted_median(onset, steepness), _weighted_median(end, steepness)
        by_lead = np.where(steepness[:, None] > 0, np.stack([onset, end], axis=1), np.nan)
        return cls(by_lead, span, top)

    def until(self, last: float) -> "_Marks":
        """The wave cut off at a sample."""
        return _Marks(np.minimum(self.by_lead, last), (min(self.span[0], last - 1), min(self.span[1], last)))


def _marks_of_beat(beat: np.ndarray, zero: int, rr: float, noise: float, p: bool = True) -> dict[str, "_Marks | None"]:
    """Marks P, QRS and T of one beat (leads, samples), None where absent.

    Args:
        beat: mV at `RATE` Hz.
        zero: Sample of its QRS complex.
        rr: Samples to the next beat.
        noise: mV of the beat, in the norm over the leads.
        p: Whether a P wave is looked for.
    """
    qrs = _mark_qrs(beat, zero)
    if qrs is None:
        return {"p": None, "qrs": None, "t": None}
    onset, end = (int(edge) for edge in qrs.span)
    # A P wave at its usual place ends the T wave of the beat before; one that is farther away comes after it.
    near = _mark_p(beat, onset, 0.26 * RATE, 0.20 * RATE, noise) if p else None
    t = _mark_t(beat, onset, end, rr, onset - near.span[0] if near else 0.12 * RATE, noise)
    if near and t:
        return {"p": near, "qrs": qrs, "t": t.until(near.span[0] + rr)}
    if near:  # which may be the T wave of the beat before, if another wave follows it
        t = _mark_t(beat, onset, end, rr, 0.12 * RATE, noise)
    usual_qt = 0.4 * np.sqrt(min(rr, 2 * RATE) * RATE)
    since_t = rr - (t.span[1] - onset if t else usual_qt)
    far = _mark_p(beat, onset, min(0.42 * RATE, since_t), np.inf, noise) if p else None
    if near and not (far and far.top - near.top > 0.03 * RATE and far.span[1] < onset - 0.02 * RATE):
        return {"p": near, "qrs": qrs, "t": t and t.until(near.span[0] + rr)}
    return {"p": far, "qrs": qrs, "t": t}


def _mark_qrs(beat: np.ndarray, zero: int) -> _Marks | None:
    """In each lead, the QRS is what is steep around `zero`: more than a twentieth of its steepest slope."""
    steep = np.abs(_slope(beat, 9))
    around = slice(max(0, zero - round(0.12 * RATE)), zero + round(0.12 * RATE) + 1)
    part = steep[:, around]
    most = part.max(1)
    if not most.any():
        return None
    quiet = np.percentile(steep[:, max(0, zero - round(0.3 * RATE)) : zero + round(0.45 * RATE)], 10, axis=1)
    large = part >= 0.25 * most[:, None]
    first = large.argmax(1) + around.start
    last = part.shape[1] - 1 - large[:, ::-1].argmax(1) + around.start
    level = np.maximum(0.05 * most, 2.0 * quiet)
    onset = _falls_below(steep, first, -1, level, lasts=5, reach=round(0.08 * RATE))
    end = _falls_below(steep, last, 1, level, lasts=5, reach=round(0.10 * RATE))
    marks = _Marks.of(onset, end, (most > 0).astype(float))
    return marks if marks.span[1] > marks.span[0] else None


def _mark_p(beat: np.ndarray, qrs: int, window: float, farthest: float, noise: float) -> _Marks | None:
    """The last wave of some prominence in a window of samples before the QRS, with its top at most `farthest` samples
    before it.
    """
    start, stop = max(0, qrs - int(window)), qrs - 2
    if stop - start < 0.06 * RATE:
        return None
    part = beat[:, start:stop]
    # Its zero is the level before the QRS; where drift hides the wave from it, the line through both ends.
    for zero in (part[:, -5:].mean(-1, keepdims=True), _line(part)):
        wave = _smooth(_projection(part - zero), 15)
        top, sign = _last_peak(wave, qrs - start - farthest, max(LEAST_MV["p"], 4 * noise))
        if sign:
            break
    else:
        return None
    # It begins no earlier than where the wave before it has come down.
    before = max(0, top - round(0.16 * RATE))
    valley = start + before + int((sign * wave[before : top + 1]).argmin())
    top += start
    steep, smooth = np.abs(_slope(beat, 11)), _smooth(beat, 11)
    rises = slice(max(valley, top - round(0.09 * RATE)), max(top, valley + 1))
    falls = slice(top, max(top + 1, min(qrs, top + round(0.08 * RATE))))
    rise, fall = (steep[:, side].argmax(1) + side.start for side in (rises, falls))
    onset = _bend(smooth, rise, np.clip(rise - valley + round(0.03 * RATE), 5, round(0.10 * RATE)), -1)
    end = _bend(smooth, fall, np.clip(qrs - fall, 5, round(0.08 * RATE)), 1)
    rows = np.arange(len(beat))
    gentle = _falls_below(steep, fall, 1, 0.35 * steep[rows, fall], lasts=2, reach=round(0.08 * RATE))
    end = np.minimum((end + gentle) / 2, qrs)
    return _Marks.of(onset, end, np.minimum(steep[rows, rise], steep[rows, fall]), top)


def _last_peak(wave: np.ndarray, first: float, least: float) -> tuple[int, int]:
    """The last peak of a wave, up or down, from sample `first` on, that is at least `least` high, and not much lower
    than the highest: its sample and its sign, which is 0 where there is none.
    """
    found = []
    for sign in (1, -1):
        peaks = scipy_signal.find_peaks(sign * wave)[0]
        heights = scipy_signal.peak_prominences(sign * wave, peaks)[0] if len(peaks) else ()
        found += [(int(peak), height, sign) for peak, height in zip(peaks, heights) if peak >= first]
    least = max(least, 0.3 * max((height for _, height, _ in found), default=0))
    return max(((peak, sign) for peak, height, sign in found if height >= least), default=(0, 0))


def _projection(part: np.ndarray) -> np.ndarray:
    """The combination of leads that varies most: (leads, samples) -> (samples,)."""
    return np.linalg.eigh(part @ part.T)[1][:, -1] @ part


def _mark_t(beat: np.ndarray, onset: int, end: int, rr: float, ahead: float, noise: float) -> _Marks | None:
    """The wave between the QRS and the next beat's waves, `ahead` samples before the next QRS: it lasts for as long as
    the leads together are away from where they rest afterwards.
    """
    start = end + round(0.05 * RATE)
    cycle = np.sqrt(min(rr, 1.5 * RATE) * RATE)
    stop = int(min(beat.shape[1] - 15, onset + rr - ahead, onset + 0.62 * cycle))
    if stop - start < 0.1 * RATE:
        return None
    # What is left of the QRS would leak into the smoothed slopes.
    after = np.concatenate([np.repeat(beat[:, end : end + 1], end, axis=1), beat[:, end:]], axis=1)
    smooth, steep = _smooth(after, 31), np.abs(_slope(after, 31))
    rest = smooth[:, stop - round(0.04 * RATE) : stop].mean(-1, keepdims=True)
    away = np.linalg.norm(smooth[:, start:stop] - rest, axis=0)
    top = int(away.argmax())
    if away[top] < max(LEAST_MV["t"], 4 * noise):
        return None
    high = away >= T_LASTS * away[top]
    last = int(np.flatnonzero(high)[-1])
    if last + start - onset > 0.44 * cycle and not high[top:last].all():
        # What comes late is a U wave, unless it is nearly as high and follows at once.
        fallen = top + int(np.argmin(high[top:]))
        pause = int(np.argmax(high[fallen:]))
        last = last if pause < 0.06 * RATE and away[fallen:].max() >= U_HEIGHT * away[top] else fallen
    near, rows = round(0.04 * RATE), np.arange(len(beat))
    falls = slice(start + max(top, last - near), min(stop, start + last + near))
    fall = steep[:, falls].argmax(1) + falls.start
    rises = slice(max(end, start + top - round(0.16 * RATE)), start + max(top, 1))
    rise = steep[:, rises].argmax(1) + rises.start
    first = _bend(smooth, rise, np.clip(rise - end, 5, round(0.12 * RATE)), -1)
    last = _bend(smooth, fall, np.full(len(beat), round(0.12 * RATE)), 1)
    return _Marks.of(np.maximum(first, end), last, steep[rows, fall])


def _bend(values: np.ndarray, start: np.ndarray, length: np.ndarray, step: int) -> np.ndarray:
    """Where each row bends most on its way from `start`: its point farthest from the chord over `length` samples.

    Args:
        values: (rows, samples).
        start: Sample of each row, (rows,).
        length: Number of samples of each row's chord, (rows,).
        step: 1 to the right, -1 to the left.
    """
    along = np.arange(length.max() + 1)
    at = np.clip(start[:, None] + step * np.minimum(along, length[:, None]), 0, values.shape[1] - 1)
    path = np.take_along_axis(values, at, axis=1)
    chord = path[:, :1] + (path[:, -1:] - path[:, :1]) * np.minimum(along / length[:, None], 1)
    return start + step * np.abs(path - chord).argmax(1)


def _falls_below(
    values: np.ndarray, start: np.ndarray, step: int, level: np.ndarray, lasts: int, reach: int
) -> np.ndarray:
    """The first sample of each row from `start` on, in steps of 1 or -1, from which the row stays below its `level` for
    `lasts` samples; at most `reach` away.
    """
    at = np.clip(start[:, None] + step * np.arange(reach + lasts), 0, values.shape[1] - 1)
    below = np.take_along_axis(values, at, axis=1) < level[:, None]
    stays = np.lib.stride_tricks.sliding_window_view(below, lasts, axis=1).all(-1)
    away = np.where(stays.any(1), stays.argmax(1), reach)
    return np.clip(start + step * away, 0, values.shape[1] - 1)


def _likeness(beats: np.ndarray, wave: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlation of a wave (leads, n) with each stretch of beats (B, leads, n + shifts - 1): (B, shifts), and the norm
    of each stretch without its mean.
    """
    n, samples = wave.shape[1], fft.next_fast_len(beats.shape[2], real=True)
    wave = wave - wave.mean(-1, keepdims=True)
    spectrum = (fft.rfft(beats, samples) * fft.rfft(wave, samples).conj()).sum(1)
    products = fft.irfft(spectrum, samples)[:, : beats.shape[2] - n + 1]
    sums = np.cumsum(np.pad(beats, ((0, 0), (0, 0), (1, 0))), axis=2)
    squares = np.cumsum(np.pad(np.square(beats), ((0, 0), (0, 0), (1, 0))), axis=2)
    energy = squares[..., n:] - squares[..., :-n] - np.square(sums[..., n:] - sums[..., :-n]) / n
    sizes = np.sqrt(np.maximum(energy.sum(1), 0)) + 1e-9
    return products / (sizes * (np.linalg.norm(wave) + 1e-9)), sizes


def _middle(values: np.ndarray) -> np.ndarray:
    """Median over the first axis; sorting a few rows is three times as fast as `numpy.median`."""
    ordered, half = np.sort(values, axis=0), len(values) // 2
    return ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values)
    sums = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(sums, sums[-1] / 2)])


@lru_cache(maxsize=16)
def _polynomial(window: int, derivative: int) -> np.ndarray:
    return scipy_signal.savgol_coeffs(window, 2, deriv=derivative)


def _filtered(signal: np.ndarray, window: int, derivative: int) -> np.ndarray:
    """Least-squares parabola over `window` samples, or its slope; the ends are continued by their values."""
    half = window // 2
    padded = np.pad(signal, [(0, 0)] * (signal.ndim - 1) + [(half, half)], mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, window, axis=-1)
    return windows @ _polynomial(window, derivative)[::-1]


def _slope(signal: np.ndarray, window: int) -> np.ndarray:
    return _filtered(signal, window, 1)


def _smooth(signal: np.ndarray, window: int) -> np.ndarray:
    return _filtered(signal, window, 0)


def _line(part: np.ndarray) -> np.ndarray:
    """The straight line between both ends of each lead, each end the mean of 10 ms."""
    ends = part[..., :5].mean(-1, keepdims=True), part[..., -5:].mean(-1, keepdims=True)
    return ends[0] + (ends[1] - ends[0]) * np.linspace(0, 1, part.shape[-1])


__all__ = ["Delineation", "Waves", "delineate", "find_r_peaks"]
