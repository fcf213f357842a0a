# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Windows of a long recording that stand for it: the cleanest, those with ectopic beats, the slowest and the fastest.

    hours --windows of 10 s, evenly spaced--> measured one by one --> some of them, with the reasons for each

Each window is cut before it is cleaned, so that cleaning and reading need no more memory for a longer recording.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .ecg_heartcare import ECG
from .extraction_heartcare import BeatFeatureExtractor

WINDOW_SECONDS = 10.0
SHOWN = ("start", "seconds", "reason")  # attributes of a window that replies have
LONGEST_SECONDS = 60.0  # longest recording that is read as a whole, and the part of one that is measured
MOST_WINDOWS = 360  # most windows that are measured, evenly spaced over a longer recording
CLEANEST, ECTOPIC = 2, 2  # number of windows that are chosen for these reasons


@dataclass(frozen=True)
class Window:
    """A part of a recording.

    Attributes:
        first, stop: Number of its first sample, and of the one after its last.
        start, seconds: Its beginning and length in seconds.
        reason: Why it was chosen, in words.
    """

    first: int
    stop: int
    start: float
    seconds: float
    reason: str

    def __str__(self) -> str:
        return f"{clock(self.start)} ({self.reason})"


@dataclass(frozen=True)
class Scan:
    """Summary of a long recording, from windows that were measured.

    Attributes:
        windows: The windows that stand for it, in their order.
        scanned: Number of windows that were measured.
        seconds: Length of the recording in seconds.
        rates: Lowest, median and highest heart rate of the windows in beats/min; None where no rate could be told.
        ectopic: Number of windows with ectopic beats.
    """

    windows: tuple[Window, ...]
    scanned: int
    seconds: float
    rates: tuple[float, float, float] | None
    ectopic: int

    def __str__(self) -> str:
        whole = self.scanned * WINDOW_SECONDS >= self.seconds
        spread = "all of it" if whole else "evenly spaced"
        text = f"The recording lasts {clock(self.seconds)}; {self.scanned} windows of {WINDOW_SECONDS:g} s, {spread}, "
        if self.rates is None:
            return f"{text}were measured, and no rate could be told."
        low, median, high = (round(rate) for rate in self.rates)
        return (
            f"{text}were measured: heart rate {low} to {high} beats/min, median {median}; ectopic beats in "
            f"{self.ectopic} of them. What follows is about {len(self.windows)} of them."
        )


def cut_long(
    parts: list[dict[str, Any]], longest: float, extractor: BeatFeatureExtractor
) -> tuple[list[dict[str, Any]], list[list[Window]], list[Scan | None]]:
    """Replaces each long recording among the parts of a message by the windows that stand for it.

    Args:
        parts: Parts of a message.
        longest: Seconds of a recording that is left whole.
        extractor: Feature extractor, which cleans and measures each window.

    Returns: the parts; for each recording and picture that was given, its windows, none for a whole one; and its
        `Scan`, None for a whole one.
    """
    new, windows, scans = [], [], []
    for part in parts:
        if not _is_long(part, longest):
            new.append(part)
            if part["type"] != "text":
                windows.append([])
                scans.append(None)
            continue
        ecg = ECG.of({name: value for name, value in part.items() if name != "type"})
        found = scan(ecg, extractor)
        windows.append(list(found.windows))
        scans.append(found)
        for window in found.windows:
            cut = replace(ecg.cut(window.first, window.stop), source=f"{ecg.source} at {clock(window.start)}")
            new.append({"type": "ecg", **cut.as_input()})
    return new, windows, scans


def _is_long(part: dict[str, Any], longest: float) -> bool:
    signal, rate = part.get("signal"), part.get("sampling_rate")
    return part["type"] == "ecg" and signal is not None and bool(rate) and np.shape(signal)[-1] > longest * rate


def scan(ecg: ECG, extractor: BeatFeatureExtractor) -> Scan:
    """Measures windows of a long recording, and chooses those that stand for it; where none is an ECG, the one in the
    middle.

    Args:
        ecg: A recording of more than `WINDOW_SECONDS`.
        extractor: Feature extractor, which cleans and measures each window.
    """
    rate, samples = ecg.sampling_rate, ecg.signal.shape[1]
    length = round(WINDOW_SECONDS * rate)
    # The last one ends where the recording ends, and shares samples with the one before.
    number = min(-(-samples // length), MOST_WINDOWS)
    places = np.unique(np.linspace(0, samples - length, number).round().astype(int)).tolist()
    found = {}
    for place in places:
        measured = _measured(ecg, place, place + length, extractor)
        if measured is not None:
            found[place] = measured
    rates = [of_window for _, of_window, _ in found.values() if of_window is not None]
    chosen = _chosen(found) or {places[len(places) // 2]: "in the middle"}
    parts = [
        Window(place, place + length, place / rate, length / rate, reason) for place, reason in sorted(chosen.items())
    ]
    of_all = (min(rates), float(np.median(rates)), max(rates)) if rates else None
    return Scan(tuple(parts), len(places), ecg.seconds, of_all, sum(ectopic > 0 for _, _, ectopic in found.values()))


def _measured(
    ecg: ECG, start: int, stop: int, extractor: BeatFeatureExtractor
) -> tuple[float, float | None, int] | None:
    """Returns disturbance in mV, heart rate, and number of ectopic beats of a window; None for one that is no ECG."""
    try:
        prepared = extractor.prepare(ecg.cut(start, stop), measure=True)
    except ValueError:  # nothing of it was recorded
        return None
    if prepared.quality["not_an_ecg"]:
        return None
    # An electrode that is off, or a number that cannot be measured, counts as much as a drift of 10 mV.
    disturbed = [
        10 * lead["off"] + (10 if lead["drift_mv"] is None else lead["drift_mv"] + lead["noise_uv"] / 1000)
        for lead in prepared.quality["by_lead"].values()
    ]
    measured = prepared.measurements
    return float(np.mean(disturbed)), measured["heart_rate"], len(measured["ectopic"])


def _chosen(found: dict[int, tuple[float, float | None, int]]) -> dict[int, str]:
    """Returns the place of each chosen window -> the reasons, joined by commas."""
    by_disturbance = sorted(found, key=lambda place: found[place][0])
    with_rate = sorted((place for place in found if found[place][1] is not None), key=lambda place: found[place][1])
    with_beats = sorted((place for place in found if found[place][2]), key=lambda place: -found[place][2])
    reasons: dict[int, list[str]] = {}
    for places, reason in (
        (by_disturbance[:CLEANEST], "among the cleanest"),
        (with_beats[:ECTOPIC], "most ectopic beats"),
        (with_rate[:1], "slowest rate"),
        (with_rate[1:][-1:], "fastest rate"),
    ):
        for place in places:
            reasons.setdefault(place, []).append(reason)
    return {place: ", ".join(words) for place, words in reasons.items()}


def summary_of(scans: list[Scan | None]) -> str:
    """Returns what was measured in the long ones of some recordings, in words; an empty text where there is none."""
    several = len(scans) > 1
    return " ".join(f"ECG {number}: {scan}" if several else str(scan) for number, scan in enumerate(scans, 1) if scan)


def plain_windows(windows: list[list[Window]]) -> list[dict[str, Any] | None]:
    """Returns, for each recording that was read, the window that it is as plain values, None for a whole one.

    Args:
        windows: For each recording that was given its windows, none for a whole one.
    """
    return [
        None if window is None else {"recording": number, **{name: getattr(window, name) for name in SHOWN}}
        for number, own in enumerate(windows)
        for window in own or [None]
    ]


def clock(seconds: float) -> str:
    """Returns a time as "h:mm:ss"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


__all__ = [
    "LONGEST_SECONDS",
    "Scan",
    "Window",
    "clock",
    "cut_long",
    "plain_windows",
    "scan",
    "summary_of",
]
