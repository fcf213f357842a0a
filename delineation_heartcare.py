# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Onsets and ends of P, QRS and T, in each lead and over all of them, where "absent" is an answer.

    ECG --R peaks--> beats at 500 Hz --the commonest form--> median beat --bends of each lead--> its waves
                          |                                                                        |
                          +--each beat, searched near where the median beat has its waves----------+

All leads together tell which waves there are: a wave that is flat in one lead is found by the others, and noise that
the leads do not share counts little. Its beginning and end are then read in each lead, as cardiologists do, and the
medians over the leads are the wave's own. A wave that does not recur from beat to beat, as those of atrial
fibrillation, is no P wave.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from scipy import fft, ndimage
from scipy import signal as scipy_signal

from .cleaning_heartcare import kept_up_to, resample, stretches
from .marking_heartcare import RATE, Marks, Span, marks_of_beat, straight_line

LEAST_SECONDS = 0.2  # a shorter recording holds no beat
LEAST_RATE = 50  # Hz; at lower rates the edges of waves are not there to be found
BEFORE, AFTER = 0.45, 0.75  # seconds of a beat around its QRS
SAME_FORM = 0.8  # correlation of a beat's QRS with the median beat; less is another form
RUN_FORM = 0.6  # correlation of two beats that follow each other at 250 a minute and more; less is no second beat
REPEATS = 0.75  # correlation of a P wave with another stretch before the QRS; more is the same wave again
RECURS = 0.6  # correlation of a beat's P wave with that of the others; less is absent
LEAST_SHARE = 0.25  # least size of a QRS, relative to the usual one, to scale slopes by: noise is not blown up
CUT_SECONDS = 0.15  # distance from the border of a column, within which the border may cut a QRS
SPIKE_RATE = 250  # Hz, below which pacing spikes are not seen
SPIKE_MV = 0.25  # height of a pacing spike in the norm over the leads


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
        led_up: bool (beats,), whether the time before a beat was recorded, in which its P wave may lie.
        median: The waves of the median beat of that form, seconds from its QRS complex; None without any beat.
        median_beat: float32 (leads, samples) mV at 500 Hz, from 0.45 s before its QRS complex; None without any beat.
        by_lead: Wave ("p", "qrs", "t") -> float64 (leads, 2), onset and end in each lead of the median beat, seconds
            from its QRS complex; NaN where the wave or the lead is absent.
        spikes: float64 (spikes,), seconds of a pacemaker's spikes; empty where there are none, and below 250 Hz.
    """

    r_peaks: np.ndarray
    beats: list[Waves]
    usual: np.ndarray
    led_up: np.ndarray
    median: Waves | None
    median_beat: np.ndarray | None
    by_lead: dict[str, np.ndarray]
    spikes: np.ndarray = field(default_factory=lambda: np.empty(0))


def delineate(signal: np.ndarray, sampling_rate: float, recorded: np.ndarray | None = None) -> Delineation:
    """Finds the waves of an ECG.

    Args:
        signal: (leads, samples) in mV, cleaned; absent leads are zeros.
        sampling_rate: Hz.
        recorded: bool (leads, samples), where each lead was recorded. The waves of the beats are those of the leads
            that were recorded all the time; the median beat has the others, too, where they show one of its beats
            whole. By default, all were.

    Returns: a `Delineation`; without any beat where there is none.
    """
    signal = np.asarray(signal, np.float32)
    if not np.isfinite(signal).all():
        signal = np.nan_to_num(signal)
    at_times = None
    if recorded is None or (full := recorded.all(axis=1)).all():
        recorded = None
        spikes = find_pacing_spikes(signal, sampling_rate)
        signal = every_lead = _without(spikes, signal, sampling_rate)
    else:
        every_lead, signal = np.where(recorded, signal, np.float32(0)), np.where(full[:, None], signal, np.float32(0))
        at_times = resample(np.where(recorded & ~full[:, None], every_lead, np.nan), sampling_rate, RATE)
        spikes = find_pacing_spikes(signal, sampling_rate)
        signal = _without(spikes, signal, sampling_rate)
    enough = sampling_rate >= LEAST_RATE and signal.shape[-1] > LEAST_SECONDS * sampling_rate
    peaks = find_r_peaks(every_lead, sampling_rate, recorded) if enough else np.empty(0)
    if not len(peaks):
        by_lead = {name: np.full((len(signal), 2), np.nan) for name in ("p", "qrs", "t")}
        none = np.empty(0, bool)
        return Delineation(np.empty(0), [], none, none, None, None, by_lead, spikes / sampling_rate)
    peaks = np.round(peaks * RATE / sampling_rate).astype(int)
    found = _Beats(resample(signal, sampling_rate, RATE).astype(np.float32, copy=False), peaks, at_times).delineate()
    return replace(found, spikes=spikes / sampling_rate)


def find_pacing_spikes(signal: np.ndarray, sampling_rate: float) -> np.ndarray:
    """Finds the spikes of a pacemaker: int64 (spikes,), samples. Fewer than three are taken for artefacts, and below
    250 Hz none can be seen.

    A spike is high, lasts about 4 ms and rises from a flat line; the top of a QRS follows a slope of more than 20 ms.

    Args:
        signal: (leads, samples) in mV.
        sampling_rate: Hz.
    """
    width, samples = max(1, round(0.004 * sampling_rate)), signal.shape[-1]
    first, last = round(0.024 * sampling_rate), round(0.008 * sampling_rate)
    if sampling_rate < SPIKE_RATE or samples <= 2 * first:
        return np.empty(0, np.int64)
    steps = signal[:, 1:] - signal[:, :-1]
    path = np.concatenate([[0.0], np.cumsum(np.sqrt(np.einsum("ls,ls->s", steps, steps)), dtype=np.float64)])
    # Only few samples come after steps that are steep enough.
    risen = path[first : samples - width] - path[first - width : samples - 2 * width]
    at = first + np.flatnonzero(risen >= SPIKE_MV)
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


def find_r_peaks(signal: np.ndarray, sampling_rate: float, recorded: np.ndarray | None = None) -> np.ndarray:
    """Finds the QRS complexes of one ECG, on all leads together.

    Args:
        signal: (leads, samples) in mV, without drift.
        sampling_rate: Hz.
        recorded: bool (leads, samples), where each lead was recorded; everywhere by default.

    Returns: int64 (peaks,), samples at which the slopes of a QRS complex have their centre; empty where there is none.
    """
    signal = np.asarray(signal, np.float32)
    every = max(1, int(sampling_rate // 125))  # the band ends at 25 Hz
    if every > 1 and signal.shape[-1] >= 2 * every:
        whole = signal.shape[-1] // every
        means = sum(signal[:, first : whole * every : every] for first in range(every)) / np.float32(every)
        there = None if recorded is None else recorded[:, : whole * every : every]
        return find_r_peaks(means, sampling_rate / every, there) * every + every // 2
    window = np.hanning(max(3, round(0.12 * sampling_rate)) | 1)
    if recorded is None:
        steep = _steepness(signal, sampling_rate)
    else:
        steep = _steepness_in_parts(signal, recorded, sampling_rate)
    energy = ndimage.convolve1d(steep, window / window.sum(), mode="constant")
    usual = _usual_largest(energy, sampling_rate)  # the energy of a QRS
    if usual < 1e-5:  # mV a sample: no more than rounding
        return np.empty(0, np.int64)
    peaks, _ = scipy_signal.find_peaks(
        energy, height=0.3 * usual, distance=max(1, round(0.17 * sampling_rate)), prominence=0.2 * usual
    )
    return _without_doubles(peaks, energy, signal, sampling_rate)


def _steepness_in_parts(signal: np.ndarray, recorded: np.ndarray, sampling_rate: float) -> np.ndarray:
    """Returns what `_steepness` does, for leads that were recorded at different times: each stretch counts relative to
    its own usual QRS, since chest leads are steeper than limb leads.
    """
    parts = []
    for rows, start, stop in stretches(recorded):
        if stop - start > 0.5 * sampling_rate:
            steep = _steepness(signal[rows, start:stop], sampling_rate)
            parts.append((steep, _usual_largest(steep, sampling_rate), len(rows), slice(start, stop)))
    total, count = np.zeros(signal.shape[1]), np.zeros(signal.shape[1])
    usual = float(np.median([each[1] for each in parts])) if parts else 0.0
    at, far = np.arange(signal.shape[1]), CUT_SECONDS * sampling_rate
    for steep, own, leads, span in parts:
        # A QRS that the border of a column cuts counts less there than in the leads that show it whole.
        before = at[span] - span.start if span.start else far
        after = span.stop - 1 - at[span] if span.stop < len(at) else far
        weight = leads**0.5 * np.clip(np.minimum(before, after) / far, 0.05, 1)
        total[span] += weight * np.square(steep * (usual / max(own, LEAST_SHARE * usual, 1e-9)))
        count[span] += weight
    return np.sqrt(total / np.maximum(count, 1e-9))


def _usual_largest(values: np.ndarray, sampling_rate: float) -> float:
    """Returns the median, over stretches of 1.5 s, of the largest value in each."""
    parts = max(1, round(len(values) / sampling_rate / 1.5))
    largest = np.maximum.reduceat(values, np.arange(parts) * len(values) // parts)
    return float(np.median(largest))


def _steepness(signal: np.ndarray, sampling_rate: float) -> np.ndarray:
    """Returns the slope of the band of QRS complexes at each sample, in the norm over the leads: (samples,)."""
    samples = signal.shape[-1]
    mirrored, held = min(samples - 1, 100), 50
    # The signal goes on as its point reflection, and then rests, so that its ends are no step.
    first, last = signal[:, :1], signal[:, -1:]
    length = fft.next_fast_len(samples + 2 * mirrored + 2 * held, real=True)
    start, stop = held + mirrored, held + mirrored + samples
    around = np.empty((len(signal), length), np.float32)
    around[:, start:stop] = signal
    around[:, held:start] = 2 * first - signal[:, mirrored:0:-1]
    around[:, stop : stop + mirrored] = 2 * last - signal[:, -2 : -2 - mirrored : -1]
    around[:, :held], around[:, stop + mirrored :] = around[:, held, None], around[:, stop + mirrored - 1, None]
    slopes = fft.irfft(fft.rfft(around) * _slope_gain(sampling_rate, length), length)
    slopes = slopes[:, start:stop]
    return np.sqrt(np.einsum("ls,ls->s", slopes, slopes))


@kept_up_to(2**22)
def _slope_gain(sampling_rate: float, samples: int) -> np.ndarray:
    """Returns the gain at each frequency of a spectrum of `samples` samples: that of a band-pass for QRS complexes,
    forwards and backwards, and of the slope between a sample's neighbours.
    """
    turns = np.linspace(0, np.pi, samples // 2 + 1)
    band = scipy_signal.butter(2, [5, min(25, 0.45 * sampling_rate)], "bandpass", fs=sampling_rate, output="sos")
    gain = np.abs(scipy_signal.sosfreqz(band, turns * samples / (samples // 2 * 2))[1]) ** 2
    return (gain * 1j * np.sin(turns)).astype(np.complex64)


def _without_doubles(peaks: np.ndarray, energy: np.ndarray, signal: np.ndarray, sampling_rate: float) -> np.ndarray:
    """Leaves out the lower one of two peaks that are closer than at 250 beats a minute and do not look alike: the
    second is then a steep T wave, or the other flank of a broad QRS complex.
    """
    half = max(2, round(0.06 * sampling_rate))
    while (close := np.flatnonzero(np.diff(peaks) < 0.24 * sampling_rate)).size:
        around = np.clip(peaks[:, None] + np.arange(-half, half + 1), 0, signal.shape[1] - 1)
        forms = signal[:, around].transpose(1, 0, 2)
        forms = forms - forms.mean(-1, keepdims=True)
        sizes = np.linalg.norm(forms, axis=(1, 2))
        alike = (forms[close] * forms[close + 1]).sum((1, 2)) / (sizes[close] * sizes[close + 1] + 1e-9)
        unlike = close[alike < RUN_FORM]
        if not len(unlike):
            break
        lower = unlike + (energy[peaks[unlike + 1]] < energy[peaks[unlike]])
        peaks = np.delete(peaks, lower[energy[peaks[lower]].argmin()])
    return peaks


class _Beats:
    """The beats of one recording, aligned on their QRS complexes; times within a beat are samples from `BEFORE` seconds
    before its QRS.
    """

    def __init__(self, signal: np.ndarray, peaks: np.ndarray, at_times: np.ndarray | None = None):
        self.zero, length = round(BEFORE * RATE), round((BEFORE + AFTER) * RATE)
        self.signal, self.length = signal, length
        self.padded = np.pad(signal, ((0, 0), (length, length)), mode="edge")
        self.rr = np.diff(peaks)
        self.peaks = self._align(peaks)
        self.beats = self._cut(self.peaks)  # (beats, leads, length)
        self.usual = self._commonest_form()
        models = self.beats[self._whole(self.usual)]  # the beats that the median beat is of
        self.models, self.median = models, median_of_rows(models)
        away = np.abs(models[:, :, ::3] - self.median[:, ::3]).ravel()
        spread = np.partition(away, len(away) // 2)[len(away) // 2] / 0.6745 if len(models) > 2 else 0.0
        self.noise = spread * np.sqrt(len(signal))  # mV of a single beat, in the norm over the leads
        self.shown, self.shown_noise = self.median, self.noise / np.sqrt(len(models))
        if at_times is not None:
            self._show_partly_recorded(at_times, spread)

    def _show_partly_recorded(self, at_times: np.ndarray, spread: float) -> None:
        """Adds to the median beat that is marked and returned the leads that were recorded for a part of the time, each
        by the beats that it shows whole, or pieced together of those that it shows in part. Beats beside one of another
        form count only where there are no others.

        Args:
            at_times: These leads at 500 Hz, NaN where they were not recorded and in all other leads.
            spread: mV of noise of one lead.
        """
        around = np.pad(at_times, ((0, 0), (self.length, self.length)), constant_values=np.nan)
        starts = (self.length + self.peaks[self.usual] - self.zero).tolist()
        beats = np.stack([around[:, start : start + self.length] for start in starts])
        beside = np.pad(self.usual, 1, constant_values=True)
        before, after = beside[:-2][self.usual], beside[2:][self.usual]
        self.shown, counts = self.median.copy(), np.full(len(at_times), len(self.models))
        for row in np.flatnonzero(np.isfinite(at_times).any(axis=1)):
            finite = np.isfinite(beats[:, row])
            whole = finite.all(axis=1)
            chosen = next((each for each in (whole & before & after, whole & after, whole) if each.any()), None)
            if chosen is not None:
                self.shown[row] = np.median(beats[chosen, row], axis=0)
                counts[row] = chosen.sum()
            elif finite.any(axis=0).all():
                self.shown[row], counts[row] = np.nanmedian(beats[:, row], axis=0), 1
        self.shown_noise = spread * np.sqrt(np.sum(1 / counts))

    def _align(self, peaks: np.ndarray) -> np.ndarray:
        """Moves each peak to where its QRS lies best on the median QRS; the slope-energy centre jitters."""
        half, reach = round(0.06 * RATE), round(0.03 * RATE)
        for _ in range(2):
            beats = self._cut(peaks, half + reach, half + reach + 1)
            model = median_of_rows(beats)[:, reach:-reach]
            shifts = likeness(beats, model)[0].argmax(1) - reach
            peaks = np.clip(peaks + shifts, 0, self.signal.shape[1] - 1)
        return peaks

    def _cut(self, peaks: np.ndarray, before: int | None = None, after: int | None = None) -> np.ndarray:
        """Cuts the signal around each peak: (beats, leads, samples)."""
        before = self.zero if before is None else before
        after = self.length - self.zero if after is None else after
        return np.stack([self.padded[:, peak - before : peak + after] for peak in (self.length + peaks).tolist()])

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
        marks = marks_of_beat(self.shown, self.zero, rr, self.shown_noise)
        if marks["p"] is not None and not (self._recurs(marks["p"].span) and self._is_single(marks)):
            marks = marks_of_beat(self.shown, self.zero, rr, self.shown_noise, p=False)
        spans = {name: each and each.span for name, each in marks.items()}
        found = {name: np.full((len(self.peaks), 2), np.nan) for name in spans}
        for name, span in spans.items():
            if span:
                found[name][self.usual] = span
        self._move_p(found["p"], spans)
        self._move_t(found["t"], spans)
        for k in np.flatnonzero(~self.usual):
            until_p = (self.rr[k] if k < len(self.rr) else rr) - 0.07 * RATE  # the next beat may begin with a P wave
            beat = marks_of_beat(self.beats[k], self.zero, until_p, self.noise, p=False)
            for name in ("qrs", "t"):
                found[name][k] = beat[name].span if beat[name] else np.nan
        self._end_t(found)
        tops = self._tops(found["qrs"])
        by_lead = {
            name: (each.by_lead - self.zero) / RATE if each else np.full((len(self.signal), 2), np.nan)
            for name, each in marks.items()
        }
        median = Waves(
            **{name: span and tuple((edge - self.zero) / RATE for edge in span) for name, span in spans.items()}
        )
        led_up = tops >= self.zero
        return Delineation(tops / RATE, self._waves(found), self.usual, led_up, median, self.shown, by_lead)

    def _end_t(self, found: dict[str, np.ndarray]) -> None:
        """Ends each T wave no later than the next beat begins, at its P wave or, without one, its QRS complex."""
        begins = np.where(np.isnan(found["p"][:, 0]), found["qrs"][:, 0], found["p"][:, 0]) + self.peaks
        ends = found["t"][:-1, 1]
        found["t"][:-1, 1] = np.where(begins[1:] < ends + self.peaks[:-1], begins[1:] - self.peaks[:-1], ends)
        found["t"][found["t"][:, 1] <= found["t"][:, 0]] = np.nan

    def _cycle(self) -> float:
        """Returns the samples from a usual beat to the next one, by those that follow each other rather closely."""
        between = self.rr[self.usual[1:] & self.usual[:-1]]  # an ectopic beat comes too early for the waves before it
        if len(between):
            return float(np.percentile(between, 20))
        return float(np.median(self.rr)) if len(self.rr) else np.inf

    def _waves(self, found: dict[str, np.ndarray]) -> list[Waves]:
        """Returns the waves of each beat in seconds. A wave that the recording cuts off has no onset or end."""
        seconds = {}
        for name, spans in found.items():
            spans = spans + (self.peaks - self.zero)[:, None]
            inside = (spans[:, 0] > 0) & (spans[:, 1] < self.signal.shape[1] - 1)
            seconds[name] = [
                tuple(span) if whole else None for span, whole in zip((spans / RATE).tolist(), inside.tolist())
            ]
        return [Waves(*beat) for beat in zip(seconds["p"], seconds["qrs"], seconds["t"])]

    def _tops(self, qrs: np.ndarray) -> np.ndarray:
        """Returns each beat's R peak, where the leads together are farthest from the line through the QRS's ends."""
        tops = self.peaks.copy()
        known = ~np.isnan(qrs[:, 0])
        for span in set(map(tuple, qrs[known].tolist())):  # one for all usual beats
            rows = np.flatnonzero((qrs == span).all(axis=1))
            start, end = np.round(span).astype(int)
            part = self.beats[rows, :, start : end + 1]
            away = part - straight_line(part)
            tops[rows] += start - self.zero + np.einsum("bls,bls->bs", away, away).argmax(-1)
        # Two "beats" of noise may have the same top.
        return tops if (np.diff(tops) > 0.1 * RATE).all() else self.peaks

    def _recurs(self, p: Span) -> bool:
        """Tells whether the beats have the P wave of the median beat, each judged by the others."""
        beats = self.models[:, :, round(p[0]) : round(p[1]) + 1]
        if len(beats) < 3:
            return True
        beats = (beats - beats.mean(-1, keepdims=True)).reshape(len(beats), -1)
        products = beats @ beats.T
        own = np.diag(products)
        with_all = products.sum(1)
        # The norm of each beat, times that of the sum of the others.
        sizes = np.sqrt(own * np.maximum(with_all.sum() - 2 * with_all + own, 0))
        return bool(np.median((with_all - own) / (sizes + 1e-9)) > RECURS)

    def _is_single(self, marks: dict[str, Marks | None]) -> bool:
        """Tells whether the P wave is the only one of its kind between the T wave of the beat before and the QRS: waves
        of flutter, and coarse ones of fibrillation, follow each other within 0.34 s.
        """
        if marks["t"] is None:
            return True
        onset, end = (round(edge) for edge in marks["p"].span)
        wave, stop = self.median[:, onset : end + 1], max(0, onset - round(0.16 * RATE))
        rows = np.flatnonzero(self.usual[1:]) + 1
        after_t = marks["t"].span[1] + self.peaks[rows - 1] - self.peaks[rows]
        room = after_t <= onset - round(0.25 * RATE)  # there is room for a second wave
        rows, first = rows[room], np.maximum(after_t[room], onset - round(0.34 * RATE))
        if not len(rows) or not stop:
            return True
        alike, sizes = likeness(self.beats[rows, :, : stop + wave.shape[1]], wave)
        relative = sizes / np.linalg.norm(wave - wave.mean(-1, keepdims=True))
        again = (alike > REPEATS) & (relative > 0.5) & (relative < 2)
        again &= np.arange(alike.shape[1]) >= first[:, None]
        return bool(again.any(axis=1).mean() < 0.5)

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
            alike, sizes = likeness(self.beats[rows, :, onset - first : end + 1 + after], wave)
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
        alike, _ = likeness(self.beats[rows, :, start - reach : stop + reach], self.median[:, start:stop])
        found[rows] += (alike.argmax(1) - reach)[:, None]


def likeness(beats: np.ndarray, wave: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the correlation of a wave (leads, n) with each stretch of beats (B, leads, n + shifts - 1), (B, shifts),
    and the norm of each stretch without its mean.

    Args:
        beats: float32.
        wave: float32.
    """
    n, shifts = wave.shape[1], beats.shape[2] - wave.shape[1] + 1
    wave = wave - wave.mean(-1, keepdims=True)
    products = beats.reshape(len(beats), -1) @ _at_each_shift(wave, shifts).reshape(-1, shifts)
    windows = _windows(n, shifts)
    sums = beats @ windows
    energy = np.einsum("bls,bls->bs", beats, beats) @ windows - np.einsum("bls,bls->bs", sums, sums) / n
    sizes = np.sqrt(np.maximum(energy, 0)) + 1e-9
    return products / (sizes * (np.linalg.norm(wave) + 1e-9)), sizes


@lru_cache(maxsize=256)
def _windows(n: int, shifts: int) -> np.ndarray:
    """Returns a window of `n` ones at each shift: float32 (n + shifts - 1, shifts)."""
    return _at_each_shift(np.ones((1, n), np.float32), shifts)[0].copy()


def _at_each_shift(wave: np.ndarray, shifts: int) -> np.ndarray:
    """Returns the wave (leads, n) at each shift, zero elsewhere: (leads, n + shifts - 1, shifts)."""
    blank = np.zeros((len(wave), shifts - 1), wave.dtype)
    around = np.concatenate([blank, wave, blank], axis=1)
    return np.lib.stride_tricks.sliding_window_view(around, shifts, axis=1)[..., ::-1]


def median_of_rows(values: np.ndarray) -> np.ndarray:
    """Returns the median over the first axis, by Batcher's odd-even merge sort of whole rows: for the few beats of a
    recording it is four times as fast as `numpy.sort`, which sorts each sample on its own.
    """
    rows, count = list(values), len(values)
    for i, j in _comparisons(count):
        rows[i], rows[j] = np.minimum(rows[i], rows[j]), np.maximum(rows[i], rows[j])
    return rows[count // 2] if count % 2 else (rows[count // 2 - 1] + rows[count // 2]) / 2


@lru_cache(maxsize=64)
def _comparisons(count: int) -> list[tuple[int, int]]:
    """Returns the pairs of a sorting network for `count` values, in order (Batcher, 1968; Knuth's algorithm 5.2.2M)."""
    pairs, half = [], 1 << max(0, (count - 1).bit_length() - 1)
    p = half
    while p:
        q, r, distance = half, 0, p
        while distance:
            pairs += [(i, i + distance) for i in range(count - distance) if i & p == r]
            distance, q, r = q - p, q // 2, p
        p //= 2
    return pairs


__all__ = ["Delineation", "Waves", "delineate", "find_pacing_spikes", "find_r_peaks", "likeness", "median_of_rows"]
