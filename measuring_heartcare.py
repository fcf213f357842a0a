# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Numbers of an ECG, as devices print them: rate, intervals, axes, ST levels, voltages, variability, ectopic beats.

    cleaned leads --delineation_heartcare--> waves --> Measurements, None with its reason where a wave is absent

Intervals and levels are those of the median beat of the commonest form; rate, variability and ectopic beats are those
of the recording.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from .cleaning_heartcare import bridge, long_stretches
from .configuration_heartcare import LEADS
from .delineation_heartcare import BEFORE, LEAST_RATE, SPIKE_RATE, Delineation
from .marking_heartcare import RATE, Span
from .stretches_heartcare import delineate_stretches

WIDE_MS = 120  # a QRS is wide from here on
EARLY = 0.85  # share of the usual distance from the beat before; a beat after less is early
IRREGULAR = 0.075  # median deviation of the RR intervals, relative to their median, from which on no beat is early
LEAST_P_SHARE = 0.5  # share of the usual beats with a P wave, from which on PR is measured
SHORT_GAP = 0.2  # seconds; a shorter gap in a lead is bridged

# Attribute of `Measurements` -> its name and unit in the table of `as_rows`; a question for "all measurements" asks for
# these.
MEASURED: dict[str, tuple[str, str]] = {
    "heart_rate": ("heart rate", "beats/min"),
    "pr": ("PR", "ms"),
    "qrs": ("QRS", "ms"),
    "qt": ("QT", "ms"),
    "qtc_fridericia": ("QTc", "ms"),
    "p_axis": ("P axis", "degrees"),
    "qrs_axis": ("QRS axis", "degrees"),
    "t_axis": ("T axis", "degrees"),
    "sokolow_lyon": ("Sokolow-Lyon", "mV"),
    "cornell": ("Cornell", "mV"),
}


@dataclass(frozen=True)
class EctopicBeat:
    """A beat that is early, or wide and of another form than the others; `time` is that of its R peak in seconds."""

    time: float
    early: bool
    wide: bool


@dataclass(frozen=True)
class Measurements:
    """Numbers of one ECG. A number that cannot be measured is None, and `reasons` says why, by the attribute's name.

    Attributes:
        heart_rate: Beats per minute, by the mean distance of the R peaks.
        slowest, fastest: Beats per minute, by the longest and the shortest distance of two R peaks.
        pr, qrs, qt: ms, of the median beat: P onset to QRS onset, QRS onset to end, QRS onset to T end.
        qtc_bazett, qtc_fridericia, qtc_framingham: ms, by the three usual formulas; QTc without a name is Fridericia's.
        p_axis, qrs_axis, t_axis: Degrees, -180 to 180, of P, QRS and T, by their net areas in leads I and aVF.
        st, st_slope: Lead -> mV, 60 ms after the QRS against just before it; and mV/s from there to 80 ms later.
        r, s: Lead -> mV, highest and lowest value of the QRS against just before it; s is negative.
        sokolow_lyon, cornell: mV, S of V1 and the larger R of V5 and V6; R of aVL and S of V3.
        limb_voltage, chest_voltage: mV, largest height of a QRS from lowest to highest in the limb and chest leads.
        sdnn, rmssd: ms, variability of the RR intervals between beats of the commonest form.
        p_share: Share of the usual beats that have a P wave.
        ectopic: Beats that are early, or wide and of another form.
        pacing_spikes: Seconds of a pacemaker's spikes, three at least; empty where there are none.
        reasons: Attribute -> why it could not be measured.
    """

    heart_rate: float | None = None
    slowest: float | None = None
    fastest: float | None = None
    pr: float | None = None
    qrs: float | None = None
    qt: float | None = None
    qtc_bazett: float | None = None
    qtc_fridericia: float | None = None
    qtc_framingham: float | None = None
    p_axis: float | None = None
    qrs_axis: float | None = None
    t_axis: float | None = None
    st: dict[str, float] = field(default_factory=dict)
    st_slope: dict[str, float] = field(default_factory=dict)
    r: dict[str, float] = field(default_factory=dict)
    s: dict[str, float] = field(default_factory=dict)
    sokolow_lyon: float | None = None
    cornell: float | None = None
    limb_voltage: float | None = None
    chest_voltage: float | None = None
    sdnn: float | None = None
    rmssd: float | None = None
    p_share: float | None = None
    ectopic: tuple[EctopicBeat, ...] = ()
    pacing_spikes: tuple[float, ...] | None = None
    reasons: dict[str, str] = field(default_factory=dict)

    def as_rows(self) -> list[tuple[str, str, str]]:
        """Returns name, rounded value ("–" where there is none) and unit of each number of `MEASURED`."""
        rows = []
        for attribute, (name, unit) in MEASURED.items():
            value, digits = getattr(self, attribute), 2 if unit == "mV" else 0
            # Adding 0 makes 0 of the "-0" that a small negative number is rounded to.
            rows.append((name, "–" if value is None else f"{round(value, digits) + 0.0:.{digits}f}", unit))
        return rows


def plain_measurements(signal: np.ndarray, sampling_rate: float) -> dict[str, object]:
    """Measures the first minute of a cleaned ECG in which anything was recorded, as `measure_ecg` does, and returns
    plain values as `as_plain` does.

    Args:
        signal: (12, samples) in mV, NaN where nothing was recorded.
        sampling_rate: Hz.
    """
    start = int(np.isfinite(signal).any(axis=0).argmax())
    measured = measure_ecg(signal[:, start : start + round(60 * sampling_rate)], sampling_rate)
    return as_plain(_later(measured, start / sampling_rate))


def measure_ecg(signal: np.ndarray, sampling_rate: float, recorded: np.ndarray | None = None) -> Measurements:
    """Measures one ECG.

    Args:
        signal: (12, samples) in mV, cleaned, leads in standard order; 0 or NaN where a lead was not recorded.
        sampling_rate: Hz.
        recorded: bool (12, samples), where each lead was recorded; by default where `signal` is not NaN, but for leads
            that are zero throughout. Gaps shorter than 0.2 s are bridged by straight lines. An ECG with longer gaps,
            such as a page, is measured by the waves that `delineate_stretches` finds.

    Raises: `ValueError` unless there are twelve leads.
    """
    signal = np.asarray(signal, np.float64)
    if signal.ndim != 2 or len(signal) != len(LEADS):
        raise ValueError(f"An ECG of shape (12, samples) is measured, got {signal.shape}; see BeatFeatureExtractor.")
    finite = np.isfinite(signal)
    recorded = finite if recorded is None else finite & np.asarray(recorded, bool)
    if not recorded.all():
        signal, recorded = _without_short_gaps(signal, recorded, sampling_rate)
    found, present = delineate_stretches(signal, recorded, sampling_rate)
    slow = f"the sampling rate of {sampling_rate:g} Hz is too low; {LEAST_RATE} Hz are needed"
    nothing = slow if sampling_rate < LEAST_RATE else "no beat is seen"
    return Measuring(found, present, nothing, sampling_rate).measurements()


def _without_short_gaps(signal: np.ndarray, recorded: np.ndarray, sampling_rate: float) -> tuple[np.ndarray, ...]:
    """Bridges gaps shorter than `SHORT_GAP`, and returns the signal, and where it counts as recorded."""
    missing = ~recorded
    short = np.zeros_like(missing)
    for row in np.flatnonzero(missing.any(axis=1)):
        short[row] = missing[row] & ~long_stretches(missing[row], SHORT_GAP * sampling_rate)
    return np.where(short, bridge(np.where(recorded, signal, np.nan)), signal), recorded | short


class Measuring:
    """Measures what was delineated.

    Args:
        found: The waves of an ECG of twelve leads.
        present: bool (12,), which leads there are.
        nothing: Reason for all numbers where no beat was found.
        sampling_rate: Hz, at which it was recorded.
    """

    def __init__(self, found: Delineation, present: np.ndarray, nothing: str, sampling_rate: float):
        self.found, self.nothing = found, nothing
        self.present = {lead: row for row, lead in enumerate(LEADS) if present[row]}
        self.values: dict[str, object] = {}
        self.reasons: dict[str, str] = {}
        if sampling_rate >= SPIKE_RATE:
            self.values["pacing_spikes"] = tuple(found.spikes.tolist())
        else:
            self.reasons["pacing_spikes"] = f"they are too short to be seen below {SPIKE_RATE} Hz"

    def measurements(self) -> Measurements:
        """Returns all numbers."""
        if self.found.median is None or self.found.median.qrs is None:
            reasons = unmeasured(self.nothing).reasons | self.reasons
            known = {name: reason for name, reason in reasons.items() if name not in self.values}
            return Measurements(**self.values, reasons=known)
        self._rhythm()
        self._intervals()
        self._areas()
        self._amplitudes()
        return Measurements(**self.values, reasons=self.reasons)

    def _rhythm(self) -> None:
        """Measures rate, variability, ectopic beats, and the share of beats with a P wave."""
        rr, usual = np.diff(self.found.r_peaks), self.found.usual
        enough = len(rr) > 0
        one_beat = "there is only one beat"
        self._set("heart_rate", 60 / rr.mean() if enough else None, one_beat)
        self._set("slowest", 60 / rr.max() if enough else None, one_beat)
        self._set("fastest", 60 / rr.min() if enough else None, one_beat)
        normal = 1000 * rr[usual[1:] & usual[:-1]]
        few = "fewer than two RR intervals between usual beats"
        self._set("sdnn", normal.std(ddof=1) if len(normal) > 1 else None, few)
        steps = np.diff(rr)[usual[2:] & usual[1:-1] & usual[:-2]] if len(rr) > 1 else np.empty(0)
        few = "fewer than three usual beats in a row"
        self._set("rmssd", 1000 * np.sqrt(np.mean(np.square(steps))) if len(steps) else None, few)
        # A beat whose P wave may lie before the start of the recording is not judged.
        judged = [wave.p is not None for wave, is_judged in zip(self.found.beats, usual & self.found.led_up)
                  if is_judged]  # fmt: skip
        no_share = "no usual beat is recorded with the time before it: the median beat alone tells whether P is there"
        self._set("p_share", np.mean(judged) if judged else None, no_share)
        self.values["ectopic"] = tuple(self._ectopic(rr))

    def _ectopic(self, rr: np.ndarray) -> list[EctopicBeat]:
        usual, cycle = self.found.usual, _usual_cycle(rr, self.found.usual)
        beats = []
        for k, (peak, waves) in enumerate(zip(self.found.r_peaks, self.found.beats)):
            wide = bool(not usual[k] and waves.qrs and round(1000 * (waves.qrs[1] - waves.qrs[0])) >= WIDE_MS)
            early = bool(k and rr[k - 1] < EARLY * cycle)
            if wide or early:
                beats.append(EctopicBeat(float(peak), early, wide))
        return beats

    def _intervals(self) -> None:
        """Measures PR, QRS, QT and QTc of the median beat."""
        waves, rr = self.found.median, np.diff(self.found.r_peaks)
        share = self.values.get("p_share", 1.0)  # absent if no beat was judged, as its reason says
        onset, end = waves.qrs
        has_p = waves.p is not None and share >= LEAST_P_SHARE
        reason = "no P wave recurs before the QRS" if waves.p is None else "most beats have no P wave"
        self._set("pr", 1000 * (onset - waves.p[0]) if has_p else None, reason)
        self._set("qrs", 1000 * (end - onset))
        qt = 1000 * (waves.t[1] - onset) if waves.t else None
        cycle = rr.mean() if len(rr) else None
        self._set("qt", qt, "no T wave is seen")
        formulas = {
            "qtc_bazett": lambda qt, rr: qt / rr**0.5,
            "qtc_fridericia": lambda qt, rr: qt / rr ** (1 / 3),
            "qtc_framingham": lambda qt, rr: qt + 154 * (1 - rr),
        }
        for name, formula in formulas.items():
            reason = "no T wave is seen" if qt is None else "there is only one beat"
            self._set(name, formula(qt, cycle) if qt is not None and cycle else None, reason)

    def _areas(self) -> None:
        """Measures the axes of P, QRS and T."""
        waves = self.found.median
        absent = [lead for lead in ("I", "aVF") if lead not in self.present]
        has_p = "pr" in self.values
        for name, span in (("p_axis", waves.p if has_p else None), ("qrs_axis", waves.qrs), ("t_axis", waves.t)):
            if absent:
                self._set(name, None, f"cannot be told without lead {' and '.join(absent)}")
            elif span is None:
                self._set(name, None, "the wave is absent")
            else:
                part = self._part(span)[[LEADS.index("I"), LEADS.index("aVF")]]
                ends = (part[:, :3].mean(1) + part[:, -3:].mean(1)) / 2
                zero = self._level()[[LEADS.index("I"), LEADS.index("aVF")], 0] if name == "t_axis" else ends
                left, up = (part.mean(1) - zero) * [1, 2 / np.sqrt(3)]
                self._set(name, float(np.degrees(np.arctan2(up, left))))

    def _amplitudes(self) -> None:
        """Measures ST levels and slopes, R and S of each lead, and the voltages that are made of them."""
        beat, level, (_, end) = self.found.median_beat, self._level()[:, 0], self.found.median.qrs
        part = self._part(self.found.median.qrs)
        first, second = (self._sample(end + seconds) for seconds in (0.06, 0.14))
        st, later = (beat[:, at - 2 : at + 3].mean(1) for at in (first, second))
        slope = (later - st) * RATE / (second - first)
        by_lead = {
            "st": st - level,
            "st_slope": slope,
            "r": np.maximum(part.max(1) - level, 0),
            "s": np.minimum(part.min(1) - level, 0),
        }
        for name, values in by_lead.items():
            numbers = values.tolist()
            self.values[name] = {lead: numbers[row] for lead, row in self.present.items()}
        r, s = self.values["r"], self.values["s"]
        for name, leads, sum_of in (
            ("sokolow_lyon", ("V1", "V5", "V6"), lambda: max(r["V5"], r["V6"]) - s["V1"]),
            ("cornell", ("aVL", "V3"), lambda: r["aVL"] - s["V3"]),
        ):
            absent = [lead for lead in leads if lead not in self.present]
            self._set(name, None if absent else sum_of(), f"cannot be told without lead {' and '.join(absent)}")
        for name, leads in (("limb_voltage", LEADS[:6]), ("chest_voltage", LEADS[6:])):
            heights = [r[lead] - s[lead] for lead in leads if lead in self.present]
            self._set(name, max(heights, default=None), f"none of the {name.split('_')[0]} leads was recorded")

    def _part(self, span: Span) -> np.ndarray:
        """Returns the median beat within a span of seconds, (12, samples)."""
        return self.found.median_beat[:, self._sample(span[0]) : self._sample(span[1]) + 1]

    def _level(self) -> np.ndarray:
        """Returns the mV of each lead just before the QRS, (12, 1): the zero of its beat."""
        onset = self._sample(self.found.median.qrs[0])
        return self.found.median_beat[:, max(0, onset - 8) : onset + 1].mean(-1, keepdims=True)

    def _sample(self, seconds: float) -> int:
        return min(max(round((BEFORE + seconds) * RATE), 0), self.found.median_beat.shape[1] - 1)

    def _set(self, name: str, value: float | None, reason: str = "") -> None:
        if value is None:
            self.reasons[name] = reason
        else:
            self.values[name] = float(value)


def _usual_cycle(rr: np.ndarray, usual: np.ndarray) -> float:
    """Seconds from one beat to the next in the rhythm that early beats interrupt; 0 where the rhythm is too irregular
    for any beat to be called early.

    Args:
        rr: Seconds between the beats, (beats - 1,).
        usual: bool (beats,), whether a beat has the commonest form.
    """
    if not len(rr):
        return 0.0
    median = np.median(rr)
    steps, repeats = np.abs(np.diff(rr)), np.abs(rr[2:] - rr[:-2])
    if len(repeats) and np.median(repeats) < IRREGULAR * median and np.median(steps) > (1 - EARLY) * median:
        # In bigeminy short and long take turns: the median would be either, as their number is odd or even.
        return float(np.median(rr[rr > rr.mean()]))
    regular = rr[usual[1:] & usual[:-1]]
    # If most beats are irregular, as in fibrillation, none is early.
    deviation = np.abs(regular / np.median(regular) - 1) if len(regular) else np.zeros(1)
    return 0.0 if np.median(deviation) > IRREGULAR else float(median)


def unmeasured(reason: str) -> Measurements:
    """Returns measurements without any number, all of them absent for the same reason."""
    names = (name for name, value in vars(Measurements()).items() if value is None)
    return Measurements(reasons=dict.fromkeys(names, reason))


def _later(measured: Measurements, seconds: float) -> Measurements:
    """Returns measurements with all times later by some seconds."""
    ectopic = tuple(replace(beat, time=beat.time + seconds) for beat in measured.ectopic)
    spikes = measured.pacing_spikes and tuple(time + seconds for time in measured.pacing_spikes)
    return replace(measured, ectopic=ectopic, pacing_spikes=spikes)


def as_plain(measured: Measurements) -> dict[str, object]:
    """Returns the numbers as a dict of plain values for replies in JSON: rounded to 0.1, shares and voltages to 0.01,
    and those of single leads to 0.001.
    """
    plain: dict[str, object] = {}
    for name, value in vars(measured).items():
        if isinstance(value, float):
            plain[name] = round(value, 2 if name in ("sokolow_lyon", "cornell", "p_share") or "voltage" in name else 1)
        elif name == "ectopic":
            plain[name] = [{"time": round(b.time, 3), "early": b.early, "wide": b.wide} for b in value]
        elif name == "pacing_spikes":
            plain[name] = value if value is None else [round(time, 3) for time in value]
        elif isinstance(value, dict) and name != "reasons":
            plain[name] = {lead: round(number, 3) for lead, number in value.items()}
        else:
            plain[name] = value
    return plain


def measurement_line(plain: dict[str, object]) -> str:
    """Returns plain measurements as the short line that a language model reads behind an ECG, with "?" for a number
    that could not be measured.
    """
    names = {"heart_rate": "rate", "pr": "PR", "qrs": "QRS", "qt": "QT", "qtc_fridericia": "QTc", "qrs_axis": "axis"}
    numbers = [
        f"{word} {'?' if plain.get(name) is None else round(plain[name])}"
        for name, word in (names | {"sdnn": "SDNN"}).items()
    ]
    early, wide = (sum(beat[kind] for beat in plain["ectopic"]) for kind in ("early", "wide"))
    return " " + ", ".join([*numbers, f"early {early}", f"wide {wide}"])


__all__ = [
    "MEASURED",
    "EctopicBeat",
    "Measurements",
    "as_plain",
    "measure_ecg",
    "measurement_line",
    "plain_measurements",
    "unmeasured",
]
