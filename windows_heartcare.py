# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Windows of a long recording that stand for it: the cleanest, those with ectopic beats, the slowest and the fastest.

    hours --windows of 10 s, evenly spaced--> measured one by one --> some of them, with the reason for each

Each window is cut before it is cleaned, so that the memory that is needed does not grow with the recording.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .ecg_heartcare import ECG
from .extraction_heartcare import BeatFeatureExtractor

WINDOW_SECONDS = 10.0
LONGEST_SECONDS = 60.0  # of a recording that is read as a whole, which is also how much of it is measured
MOST_WINDOWS = 720  # that are measured; of a longer recording they are evenly spaced
CLEANEST, ECTOPIC = 2, 2  # number of windows that are chosen for each reason


@dataclass(frozen=True)
class Window:
    """A part of a recording.

    Attributes:
        start: Seconds from the beginning of the recording.
        seconds: Length in seconds.
        reason: Why it was chosen, in words.
    """

    start: float
    seconds: float
    reason: str

    def __str__(self) -> str:
        return f"{clock(self.start)} ({self.reason})"


@dataclass(frozen=True)
class Scan:
    """What was measured in a long recording.

    Attributes:
        windows: The windows that stand for it, in their order.
        scanned: Number of windows that were measured.
        seconds: Length of the recording in seconds.
        rates: Lowest, median and highest heart rate of the windows in beats/min; None where no beat was seen.
        ectopic: Number of windows with ectopic beats.
    """

    windows: tuple[Window, ...]
    scanned: int
    seconds: float
    rates: tuple[float, float, float] | None
    ectopic: int

    def __str__(self) -> str:
        whole = self.scanned * WINDOW_SECONDS >= self.seconds - WINDOW_SECONDS
        spread = "all of it" if whole else "evenly spaced"
        text = f"The recording lasts {clock(self.seconds)}; {self.scanned} windows of {WINDOW_SECONDS:g} s, {spread}, "
        if self.rates is None:
            return f"{text}were measured, and no rate could be told."
        low, median, high = (round(rate) for rate in self.rates)
        return (
            f"{text}were measured: heart rate {low} to {high} beats/min, in the middle {median}; ectopic beats in "
            f"{self.ectopic} of them. What follows is about {len(self.windows)} of them."
        )


def clock(seconds: float) -> str:
    """Returns a time as "h:mm:ss"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def scan(ecg: ECG, extractor: BeatFeatureExtractor) -> Scan:
    """Measures windows of a long recording, and chooses those that stand for it.

    Args:
        ecg: A recording of more than `WINDOW_SECONDS`.
        extractor: What cleans and measures each window.

    Raises: `ValueError` where no window is an ECG.
    """
    length = round(WINDOW_SECONDS * ecg.sampling_rate)
    windows = ecg.signal.shape[1] // length
    places = np.unique(np.linspace(0, windows - 1, min(windows, MOST_WINDOWS)).round().astype(int))
    found = {}
    for place in places.tolist():
        measured = _measured(ecg, place * length, (place + 1) * length, extractor)
        if measured is not None:
            found[place] = measured
    if not found:
        raise ValueError(f"{ecg.source}: none of {len(places)} windows of {WINDOW_SECONDS:g} s is an ECG.")
    rates = [rate for _, rate, _ in found.values() if rate is not None]
    chosen = _chosen(found)
    parts = tuple(Window(place * WINDOW_SECONDS, WINDOW_SECONDS, chosen[place]) for place in sorted(chosen))
    of_all = (min(rates), float(np.median(rates)), max(rates)) if rates else None
    return Scan(parts, len(places), ecg.seconds, of_all, sum(ectopic > 0 for _, _, ectopic in found.values()))


def cut_long(
    parts: list[dict[str, Any]], longest: float, extractor: BeatFeatureExtractor
) -> tuple[list[dict[str, Any]], list[Window | None], list[Scan]]:
    """Replaces each long recording among the parts of a message by the windows that stand for it.

    Args:
        parts: Parts of a message.
        longest: Seconds of a recording that is left whole.
        extractor: What cleans and measures each window.

    Returns: the parts; for each recording and picture among them its window, None for a whole one; and what was
        measured in the long recordings.
    """
    new, windows, scans = [], [], []
    for part in parts:
        signal = part.get("signal") if part["type"] == "ecg" else None
        ecg = ECG.of({name: value for name, value in part.items() if name != "type"}) if signal is not None else None
        if ecg is None or ecg.seconds <= longest:
            new.append(part)
            windows += [] if part["type"] == "text" else [None]
            continue
        found = scan(ecg, extractor)
        scans.append(found)
        for window in found.windows:
            start, stop = (round(at * ecg.sampling_rate) for at in (window.start, window.start + window.seconds))
            cut = replace(ecg.cut(start, stop), source=f"{ecg.source} at {clock(window.start)}")
            new.append({"type": "ecg", **cut.as_input()})
            windows.append(window)
    return new, windows, scans


def _measured(
    ecg: ECG, start: int, stop: int, extractor: BeatFeatureExtractor
) -> tuple[float, float | None, int] | None:
    """Disturbance in mV, heart rate, and number of ectopic beats of a window; None for one that is no ECG."""
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
    """Place of each chosen window -> the reason; a window is chosen for one reason alone."""
    chosen: dict[int, str] = {}

    def take(places: list[int], number: int, reason: str) -> None:
        for place in [each for each in places if each not in chosen][:number]:
            chosen[place] = reason

    by_disturbance = sorted(found, key=lambda place: found[place][0])
    with_rate = sorted((place for place in found if found[place][1] is not None), key=lambda place: found[place][1])
    with_beats = sorted((p for p in found if found[p][2]), key=lambda place: -found[place][2])
    take(by_disturbance, CLEANEST, "among the cleanest")
    take(with_beats, ECTOPIC, "most ectopic beats")
    take(with_rate, 1, "slowest rate")
    take(with_rate[::-1], 1, "fastest rate")
    return chosen


__all__ = ["LONGEST_SECONDS", "WINDOW_SECONDS", "Scan", "Window", "clock", "cut_long", "scan"]
