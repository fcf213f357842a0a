# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Tells whether a recording is an ECG at all, and what each lead holds where it is none.

    uncleaned leads --stretches--> QRS complexes that recur, or waves of fibrillation? --neither--> cause of each lead

An ECG is recognised by what all ECGs share, whatever the diagnosis: short complexes that stand out from what lies
between them, look alike from beat to beat, and return to where they came from. Fast ventricular rhythms have no such
complexes; they are recognised by their frequency, and by leads that follow each other.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import signal as scipy_signal

from .cleaning_heartcare import clean, stretches
from .configuration_heartcare import LEADS
from .delineation_heartcare import LEAST_RATE, find_r_peaks
from .quality_heartcare import FLAT_MV, POWER_LINES, longest_run

LEAST_SECONDS = 0.9  # a shorter stretch need not hold a beat
WINDOW_SECONDS = 60.0  # longest part that is looked at; a long recording is an ECG when one such part is

# Limits that ECGs keep and other signals do not, chosen on PTB-XL's folds 1 to 9 and simulated noise.
LEAST_ALIKE = 0.7  # correlation of a beat, from 0.1 s before to 0.35 s after its QRS, with the second most similar one
LEAST_STEEP = 3.0  # steepness of QRS complexes, times that between them; sine waves have 2.8 at most
MANY_LEADS = 6
MOST_STEP = 0.85  # shift of the level from before to after a complex, relative to its height
SHORT_SECONDS = 4.0  # a shorter stretch may hold only a few complexes, one of them of another form
SHORTEST_SECONDS = 2.0  # the ends of a shorter stretch may cut every complex off
FEW = 5  # complexes of a short stretch
LEAST_ALIKE_OF_FEW = 0.3  # as `LEAST_ALIKE`, for few complexes
LEAST_STEEP_OF_FEW = 8.0  # as `LEAST_STEEP`, for few complexes
LEAST_LEFT = 0.02  # share of a lead's standard deviation that cleaning leaves; ramps and slow sines have less left

# Fibrillation and flutter of the ventricles: most power near their frequency, over more than one line of the spectrum,
# and in leads that are seen by few dipoles.
FLUTTER_HZ = (2.0, 9.0)
LEAST_FLUTTER_SHARE = 0.7  # share of the power in this band
LEAST_FLUTTER_MV = 0.15  # range of the higher leads
MOST_FLUTTER_STEEP = 6.0  # steepness of complexes that recur; sawtooth waves have more
LEAST_RELATED = 0.8  # share of the power of related leads in their three strongest components
MOST_SINE_SHARE = 0.97  # share of the power in one sine wave, or in three without a common period


def not_an_ecg(signal: np.ndarray, sampling_rate: float) -> dict[str, str]:
    """Tells why a recording is no ECG, so that nothing may be diagnosed from it.

    Args:
        signal: (12, samples) in mV before cleaning, leads in standard order, NaN where a lead was not recorded.
        sampling_rate: Hz.

    Returns: An empty dict for an ECG; otherwise the cause by the name of each lead that was recorded, such as "white
        noise", "sine wave of 1.2 Hz" or "square pulses". Below 50 Hz an ECG cannot be told from other signals, and
        the cause says so.

    Raises: `ValueError` unless there are twelve leads.
    """
    signal = np.asarray(signal, np.float64)
    if signal.ndim != 2 or len(signal) != len(LEADS):
        raise ValueError(f"An ECG of shape (12, samples) is judged, got {signal.shape}; see BeatFeatureExtractor.")
    recorded = np.isfinite(signal)
    samples, window = signal.shape[1], round(WINDOW_SECONDS * sampling_rate)
    if sampling_rate >= LEAST_RATE:
        short = is_short(signal, sampling_rate)
        # Parts of the same length: the rest behind whole windows could be too short to tell.
        edges = np.linspace(0, samples, -(-samples // window) + 1).astype(int)
        for part in map(slice, edges[:-1], edges[1:]):
            if shows_heartbeats(signal[:, part], sampling_rate, recorded[:, part], short):
                return {}
    return {
        lead: cause_of(longest_stretch(row)[:window], sampling_rate)
        for lead, row, flags in zip(LEADS, signal, recorded)
        if flags.any()
    }


def is_short(signal: np.ndarray, sampling_rate: float) -> bool:
    """Tells whether no lead of (leads, samples) in mV, flat ones left out, was recorded for `SHORT_SECONDS` without a
    gap.
    """
    long = longest_run(np.isfinite(signal)) >= SHORT_SECONDS * sampling_rate
    return all(np.ptp(row[np.isfinite(row)]) < FLAT_MV for row in signal[long])


def longest_stretch(lead: np.ndarray) -> np.ndarray:
    """Returns the longest part of one lead (samples,) that was recorded without a gap."""
    return max((lead[start:stop] for _, start, stop in stretches(np.isfinite(lead)[None])), key=len)


def shows_heartbeats(signal: np.ndarray, sampling_rate: float, recorded: np.ndarray, short: bool) -> bool:
    """Tells whether a window of leads (leads, samples) in mV shows an ECG in one stretch at least. In a recording that
    is too short to tell, it is enough that most stretches may be an ECG.
    """
    verdicts = []
    for rows, start, stop in stretches(recorded):
        if stop - start < LEAST_SECONDS * sampling_rate:
            continue
        part, rate = thinned(signal[rows, start:stop], sampling_rate, 250)
        part = part[(np.ptp(part, axis=1) >= FLAT_MV) & ~are_square(part) & ~are_straight(part, rate)]
        if not len(part):
            continue
        lonely = sharp = False
        for seen in Complexes.all_of(part, rate):
            if seen.are_qrs:
                return True
            lonely |= seen.may_be_qrs
            sharp |= seen.alike >= LEAST_ALIKE and seen.steep >= MOST_FLUTTER_STEEP
        if not sharp and is_flutter(seen.cleaned, seen.rate):
            return True
        verdicts.append(lonely)
    return short and bool(verdicts) and 2 * sum(verdicts) >= len(verdicts)


@dataclass(frozen=True)
class Width:
    """Settings of the search for complexes of one width.

    Attributes:
        band: Hz, the band that they are steep in.
        seconds: Time over which their slopes are averaged.
        reach: Seconds from a complex to the levels before and after it.
        least_kurtosis: Least kurtosis of leads that have such complexes, by whether there are many leads; sines, square
            waves and ramps have less than 2.6, normal noise has 3.
    """

    band: tuple[float, float]
    seconds: float
    reach: float
    least_kurtosis: dict[bool, float]

    def filtered(self, signal: np.ndarray, rate: float) -> np.ndarray:
        """Returns leads (leads, samples) at `rate` Hz, filtered to the band."""
        return scipy_signal.sosfiltfilt(
            _sections(self.band, rate), signal, axis=1, padlen=min(signal.shape[1] - 1, 100)
        )

    def steepness(self, band: np.ndarray, rate: float) -> np.ndarray:
        """Returns the slopes of all leads (leads, samples) together, averaged: (samples,)."""
        window = scipy_signal.windows.hann(max(3, round(self.seconds * rate)) | 1)
        slopes = np.sqrt(np.square(np.gradient(band, axis=1)).sum(0))
        return scipy_signal.convolve(slopes, window / window.sum(), mode="same")


@lru_cache(maxsize=16)
def _sections(band: tuple[float, float], rate: float) -> np.ndarray:
    return scipy_signal.butter(2, [band[0], min(band[1], 0.45 * rate)], "bandpass", fs=rate, output="sos")


QRS = Width((5.0, 25.0), seconds=0.12, reach=0.1, least_kurtosis={True: 2.6, False: 2.6})
# The complexes of ventricles that beat by themselves; slow noise looks like them in one lead, but not in many.
WIDE_QRS = Width((1.5, 12.0), seconds=0.25, reach=0.2, least_kurtosis={True: 2.6, False: 4.0})


@dataclass
class Complexes:
    """Finds what stands out in one stretch without gaps, and whether that is QRS complexes.

    Attributes:
        cleaned: float64 (leads, samples) in mV, without drift and hum, at `rate` Hz.
        rate: Hz, at most 250.
        compared: Number of complexes that are far enough from both ends to be compared.
        alike: Median correlation of a complex and what follows it with the second most similar one.
        steep: Steepness of the complexes, times that of the quietest quarter of the stretch.
        step: Shift of the level from before to after a complex, relative to the complex's height; the median over
            leads.
        kurtosis: Kurtosis of the cleaned leads, the median over leads; 3 is that of normal noise.
        least_kurtosis: Least kurtosis of leads with such complexes.
    """

    cleaned: np.ndarray
    rate: float
    compared: int
    alike: float
    steep: float
    step: float
    kurtosis: float
    least_kurtosis: float

    @classmethod
    def all_of(cls, signal: np.ndarray, sampling_rate: float) -> Iterator["Complexes"]:
        """Yields what may be the complexes of leads (leads, samples) in mV before cleaning, the likeliest first."""
        cleaned, rate = thinned(clean(signal, sampling_rate, 0.5, POWER_LINES), sampling_rate)
        cleaned = np.where(cleaned.std(1, keepdims=True) < LEAST_LEFT * signal.std(1, keepdims=True), 0.0, cleaned)
        uncleaned, squares = thinned(signal, sampling_rate)[0], np.square(cleaned)
        kurtosis = float(np.median(np.square(squares).mean(1) / (np.square(squares.mean(1)) + 1e-30)))
        for width in (QRS, WIDE_QRS):
            least = width.least_kurtosis[len(signal) >= MANY_LEADS]
            band = width.filtered(cleaned, rate)
            steepness = width.steepness(band, rate)
            quiet = np.percentile(steepness, 25) + 1e-9
            # Steep against the steepest, since few beats may stand in much noise; then against the usual ones, which
            # one artefact does not hide.
            for usual in (False, True) if width is QRS else (False,):
                peaks = find_r_peaks(cleaned, rate) if usual else _highest(steepness, rate)
                steep = float(np.median(steepness[peaks]) / quiet) if len(peaks) else 0.0
                peaks = _aligned(band, peaks, rate)
                alike = _alike(_cut(cleaned, peaks, *_around(rate))) if len(peaks) > 1 else 0.0
                step = _step(uncleaned, peaks, round(width.reach * rate), rate) if len(peaks) else 0.0
                yield cls(cleaned, rate, len(peaks), alike, steep, step, kurtosis, least)

    @property
    def are_qrs(self) -> bool:
        """Tells whether the complexes are those of an ECG."""
        return self.compared > 1 and self.alike >= LEAST_ALIKE and self.steep >= LEAST_STEEP and self._stands_out

    @property
    def may_be_qrs(self) -> bool:
        """Tells whether the stretch is too short to tell these complexes from those of an ECG."""
        seconds = self.cleaned.shape[1] / self.rate
        if seconds >= SHORT_SECONDS or self.compared > FEW or (self.compared == 0 and seconds >= SHORTEST_SECONDS):
            return False
        alike = self.compared < 2 or self.alike >= LEAST_ALIKE_OF_FEW
        alike |= len(self.cleaned) >= MANY_LEADS and are_related(self.cleaned)
        return alike and self.steep >= LEAST_STEEP_OF_FEW and self._stands_out

    @property
    def _stands_out(self) -> bool:
        return self.step <= MOST_STEP and self.kurtosis >= self.least_kurtosis


def _highest(steepness: np.ndarray, rate: float) -> np.ndarray:
    """Finds the peaks of (samples,) that are at least 0.4 times as high as the highest."""
    return scipy_signal.find_peaks(steepness, height=0.4 * steepness.max(), distance=round(0.24 * rate))[0]


def _aligned(band: np.ndarray, peaks: np.ndarray, rate: float) -> np.ndarray:
    """Moves the peaks to where they lie best on their median; without those that an end of the stretch cuts off."""
    half, reach, (before, after) = round(0.08 * rate), 4, _around(rate)
    low, high = before + reach, band.shape[1] - 1 - after - reach
    peaks = peaks[(peaks >= low) & (peaks <= high)]
    for _ in range(2 if len(peaks) > 1 else 0):
        near = _cut(band, peaks, half + reach, half + reach)
        model = np.median(near, axis=0)[:, reach:-reach]
        windows = np.lib.stride_tricks.sliding_window_view(near, model.shape[1], axis=2)  # (peaks, leads, shifts, n)
        sizes = np.sqrt(np.einsum("plsn,plsn->ps", windows, windows)) + 1e-12
        shifts = (np.einsum("plsn,ln->ps", windows, model) / sizes).argmax(1) - reach
        peaks = np.clip(peaks + shifts, low, high)
    return peaks


def _alike(beats: np.ndarray) -> float:
    """Returns the correlation of each beat of (beats, leads, samples) with the second most similar one, since one of
    many may be alike by chance; with the most similar one of few beats. The result is the median over beats.
    """
    flat = (beats - beats.mean(-1, keepdims=True)).reshape(len(beats), -1)
    flat = flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-12)
    alike = flat @ flat.T
    np.fill_diagonal(alike, -1)
    return float(np.median(np.sort(alike, axis=1)[:, -1 if len(beats) < 5 else -2]))


def _step(signal: np.ndarray, peaks: np.ndarray, reach: int, rate: float) -> float:
    """Returns the shift of the level from `reach` samples before the peaks to as many after, relative to the range
    between; the median over leads.
    """
    peaks, ends = peaks[(peaks >= reach) & (peaks < signal.shape[1] - reach)], max(1, round(0.04 * rate))
    if not len(peaks):
        return 1.0
    beats = _cut(signal, peaks, reach, reach)
    moved = np.abs(beats[:, :, -ends:].mean(2) - beats[:, :, :ends].mean(2))
    return float(np.median(np.median(moved, axis=0) / (np.median(np.ptp(beats, axis=2), axis=0) + 1e-9)))


def _around(rate: float) -> tuple[int, int]:
    """Returns the samples of a beat before and after its QRS."""
    return round(0.1 * rate), round(0.35 * rate)


def _cut(signal: np.ndarray, peaks: np.ndarray, before: int, after: int) -> np.ndarray:
    """Returns the signal around each peak, (peaks, leads, before + after + 1)."""
    return signal[:, peaks[:, None] + np.arange(-before, after + 1)].transpose(1, 0, 2)


def is_flutter(cleaned: np.ndarray, rate: float) -> bool:
    """Tells whether cleaned leads (leads, samples) may show ventricular fibrillation, flutter or tachycardia."""
    if np.percentile(np.ptp(cleaned, axis=1), 75) < LEAST_FLUTTER_MV:
        return False
    frequencies, power = spectrum(cleaned, rate)
    power = power.mean(axis=0)
    inside = (frequencies >= FLUTTER_HZ[0]) & (frequencies <= FLUTTER_HZ[1])
    if power[inside].sum() < LEAST_FLUTTER_SHARE:
        return False
    if sine_share(cleaned, rate) > MOST_SINE_SHARE or _are_tones(frequencies[inside], power[inside]):
        return False
    return are_related(cleaned)


def sine_share(signal: np.ndarray, rate: float) -> float:
    """Returns the share of the power below some 10 Hz that a sine wave explains in leads (leads, samples), the median
    over leads.
    """
    signal, rate = thinned(signal, rate, 25)
    samples, count = signal.shape[1], 16 * signal.shape[1]
    power = np.square(np.abs(np.fft.rfft(signal, count, axis=1)))
    power[:, : round(count / rate)] = 0  # slower waves than 1 Hz are drift
    shares = []
    for lead, frequency in zip(signal, power.argmax(axis=1) / count):
        angles = 2 * np.pi * frequency * np.arange(samples)
        waves = np.stack([np.cos(angles), np.sin(angles), np.ones(samples), np.linspace(-1, 1, samples)], axis=1)
        shares.append(np.square(lead @ np.linalg.qr(waves)[0]).sum() / (np.square(lead).sum() + 1e-30))
    return float(np.median(shares))


def _are_tones(frequencies: np.ndarray, power: np.ndarray) -> bool:
    """Tells whether a spectrum (n,) is that of two or three sines that are no harmonics of each other."""
    lines = [line for line in line_shares(frequencies, power / power.sum(), 3) if line[1] > 0.05]
    if not lines:
        return False
    times = np.array([max(pair) / min(pair) for pair in ((lines[0][0], other) for other, _ in lines[1:])])
    apart = (times > 1.3) & (np.abs(times - np.round(times)) > 0.1)  # a nearer one is the same line, modulated
    return sum(share for _, share in lines) > MOST_SINE_SHARE and bool(apart.any())


def are_related(signal: np.ndarray) -> bool:
    """Tells whether three dipoles explain most of leads (leads, samples), as they do of an ECG."""
    scaled = signal / (signal.std(axis=1, keepdims=True) + 1e-9)
    strengths = np.square(np.linalg.svd(scaled, compute_uv=False))
    return bool(strengths[:3].sum() >= LEAST_RELATED * strengths.sum())


def cause_of(lead: np.ndarray, sampling_rate: float) -> str:
    """Names what one lead (samples,) in mV before cleaning holds, if it is no ECG.

    The names stand in sentences before the names of leads, so they have no comma, colon or semicolon of their own.
    """
    if np.ptp(lead) < FLAT_MV:
        return "no signal (electrode off or no heartbeat)"
    if sampling_rate < LEAST_RATE:
        return f"too low a sampling rate to tell an ECG (below {LEAST_RATE} Hz)"
    if len(lead) < LEAST_SECONDS * sampling_rate:
        return f"too short a signal to tell an ECG (below {LEAST_SECONDS:g} s)"
    return next(name for cause in CAUSES if (name := cause(lead, sampling_rate)))


def _is_hum(lead: np.ndarray, rate: float) -> str | None:
    frequencies, power = spectrum(lead[None], rate)
    near = sum(np.abs(frequencies - times * line) < 1 for line in POWER_LINES for times in (1, 2, 3))
    return "hum of the power line" if power[0][near > 0].sum() > 0.6 else None


def _is_ramp(lead: np.ndarray, rate: float) -> str | None:
    time = np.linspace(-1, 1, len(lead))
    left = lead - np.polyval(np.polyfit(time, lead, 1), time)
    return "ramp" if np.square(left).mean() < 0.02 * lead.var() else None


def _is_square(lead: np.ndarray, rate: float) -> str | None:
    return "square pulses" if are_square(lead[None])[0] else None


def _is_sine(lead: np.ndarray, rate: float) -> str | None:
    ((frequency, share),) = line_shares(*(each.reshape(-1) for each in spectrum(lead[None], rate)), 1)
    if share < 0.75:
        return None
    return f"sine wave of {frequency:.1f} Hz" if frequency >= 0.6 else "slow waves (as of breathing)"


def _is_triangle(lead: np.ndarray, rate: float) -> str | None:
    return "ramps" if are_straight(lead[None], rate)[0] else None


def _is_noise(lead: np.ndarray, rate: float) -> str | None:
    """Tells bursts of noise by their strength, and even noise by how its power falls with the frequency."""
    frequencies, power = spectrum(lead[None], rate)
    inside = (frequencies > 0.5) & (frequencies < 0.45 * rate)
    bands = np.array_split(np.log(frequencies[inside]), 12), np.array_split(power[0][inside], 12)
    slope = -np.polyfit([band.mean() for band in bands[0]], [np.log(band.mean() + 1e-30) for band in bands[1]], 1)[0]
    high = np.diff(lead)
    parts = high[: len(high) // 20 * 20].reshape(20, -1).std(axis=1) if len(high) > 100 else np.ones(20)
    if np.percentile(parts, 80) > 3 * np.percentile(parts, 20):
        return "bursts of noise (as of muscles or speech)"
    return "white noise" if abs(slope) < 0.4 else "coloured noise"


# The causes are asked in this order; the last one always answers.
CAUSES: tuple[Callable[[np.ndarray, float], str | None], ...] = (
    _is_hum,
    _is_ramp,
    _is_square,
    _is_triangle,
    _is_sine,
    _is_noise,
)


def thinned(signal: np.ndarray, sampling_rate: float, least_rate: float = 125) -> tuple[np.ndarray, float]:
    """Returns leads (leads, samples) as means of neighbouring samples, and their rate: as low as possible, but not less
    than `least_rate` Hz.
    """
    every = max(1, int(sampling_rate // least_rate))
    stop = signal.shape[1] // every * every
    return sum(signal[:, first:stop:every] for first in range(every)) / every, sampling_rate / every


def are_square(leads: np.ndarray) -> np.ndarray:
    """Tells which leads (leads, samples) keep to two levels, as calibration pulses do: bool (leads,)."""
    ordered = np.sort(leads, axis=1)
    cut = leads.shape[1] // 33
    levels = ordered[:, [cut, -1 - cut]]
    near = 0.12 * (levels[:, 1] - levels[:, 0])
    shares = (np.abs(leads[:, None] - levels[:, :, None]) <= near[:, None, None]).mean(axis=2)
    return (shares.sum(axis=1) > 0.9) & (shares.min(axis=1) > 0.04)


def are_straight(leads: np.ndarray, rate: float) -> np.ndarray:
    """Tells which leads (leads, samples) move along straight lines for the most part: bool (leads,)."""
    lag = max(1, round(0.04 * rate))
    steps = leads[:, lag:] - leads[:, :-lag]
    sizes = np.abs(steps)
    bends = np.abs(steps[:, lag:] - steps[:, :-lag])
    usual = np.sort(sizes, axis=1)[:, sizes.shape[1] // 2]
    straight = np.where(bends < 0.02 * usual[:, None], sizes[:, lag:], 0).sum(axis=1)
    return straight > 0.35 * sizes.sum(axis=1)


def line_shares(frequencies: np.ndarray, power: np.ndarray, lines: int) -> list[tuple[float, float]]:
    """Returns the frequency and the share of the strongest lines of a spectrum (n,), as wide as a window of Hann
    makes them, five bins.
    """
    width, power, found = 2, power.copy(), []
    for _ in range(lines):
        sums = np.convolve(power, np.ones(2 * width + 1), mode="same")
        at = int(sums.argmax())
        line = slice(max(0, at - width), at + width + 1)
        found.append((float(frequencies[line] @ power[line] / (sums[at] + 1e-30)), float(sums[at])))
        power[line] = 0
    return found


def spectrum(signal: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the frequencies in Hz, (n,), and the share of each in the power of each lead, (leads, n)."""
    centred = signal - signal.mean(axis=1, keepdims=True)
    power = np.square(np.abs(np.fft.rfft(centred * np.hanning(signal.shape[1]), axis=1)))
    return np.fft.rfftfreq(signal.shape[1], 1 / rate), power / (power.sum(axis=1, keepdims=True) + 1e-30)


__all__ = ["not_an_ecg"]
