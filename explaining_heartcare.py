# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Finds the leads, waves and beats that a finding rests on, so that they can be shown on the trace.

    ECG --delineation--> leads, kinds of waves, single beats --each taken out in turn--> the head for findings again
        --> how far the finding's logit falls

A lead is taken out as if it had not been recorded; a wave or a beat is bridged by straight lines in all leads. Both the
codes and the measured numbers are made anew without it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from .configuration_heartcare import LEADS
from .delineation_heartcare import Delineation
from .findings_heartcare import numbers_of
from .measuring_heartcare import as_plain, measure_ecg
from .stretches_heartcare import delineate_stretches

# Seconds before and after an R peak that are taken out as one beat; at most half the RR interval to either neighbour.
BEFORE_BEAT = 0.3
AFTER_BEAT = 0.45
WAVES = ("P", "QRS", "ST-T", "between beats")
MOST_EXPLAINED = 3  # statements, where none are asked for


class Part(NamedTuple):
    """A part of an ECG that can be taken out.

    Attributes:
        kind: "lead", "wave" or "beat".
        name: Name of the lead or wave, or the second of the beat's R peak.
        spans: Stretches of samples (start, stop), in all leads; none for a lead.
    """

    kind: str
    name: str | float
    spans: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Explanation:
    """Holds what one finding rests on.

    Attributes:
        code: Code of the statement.
        probability: Its calibrated probability for the whole ECG: by the `baseline` of `explain_findings`, or without
            one by the numbers measured at the model's rate, as the effects always are.
        effects: For "lead", "wave" and "beat" the name of each part -> fall of the calibrated logit without it, the
            largest first. A part with a negative effect speaks against the finding.
        intervals: (lead, start, stop) in seconds: the waves in the beats and leads that matter most.
    """

    code: str
    probability: float
    effects: dict[str, dict[str | float, float]]
    intervals: tuple[tuple[str, float, float], ...]

    def as_plain(self, words: str) -> dict[str, Any]:
        """Returns the explanation as plain values for replies in JSON, with the finding's words."""
        rounded = {
            f"{kind}s": [{kind: name, "effect": round(effect, 3)} for name, effect in effects.items()]
            for kind, effects in self.effects.items()
        }
        intervals = [{"lead": lead, "start": start, "stop": stop} for lead, start, stop in self.intervals]
        return {"finding": words, "probability": round(self.probability, 4), **rounded, "intervals": intervals}


@torch.no_grad()
def explain_findings(
    model: Any,
    signal: np.ndarray,
    mask: np.ndarray,
    codes: Sequence[str] | None = None,
    baseline: np.ndarray | None = None,
) -> list[Explanation]:
    """Explains findings of one ECG.

    Args:
        model: A `HeartcareForConditionalGeneration` with a head for findings.
        signal: float32 (12, samples) in mV, as the feature extractor prepares it.
        mask: bool (12, samples), True where a lead was recorded.
        codes: Statements to explain; by default the likeliest SCP-ECG statements of 50 % and more, three at most.
        baseline: Numbers of the whole ECG, float32 (numbers,) as `numbers_of` returns them, such as those measured at
            the recording's own rate. The probabilities and the likeliest statements are theirs; the effects compare
            the ECG with its parts taken out, all of them measured at the model's rate. By default that of `signal`.

    Returns: an explanation for each statement.

    Raises: `ValueError` for a model without a head for findings; `KeyError` for a statement that it does not know.
    """
    rate, known = model.config.beat_config.sampling_rate, list(model.config.wordings)
    present = [lead for lead, row in zip(LEADS, mask) if row.any()]
    found, _ = delineate_stretches(np.where(mask, signal, 0), mask, rate)
    parts = parts_of(found, signal.shape[1], rate, present)
    variants = [(signal, mask), *(without(part, signal, mask) for part in parts)]
    measured = [as_plain(measure_ecg(each, rate, recorded)) for each, recorded in variants]
    numbers = [numbers_of(plain, *variant, rate) for plain, variant in zip(measured, variants)]
    # The whole ECG comes twice: with the numbers that its probability rests on, and with those to compare.
    variants, numbers = [variants[0], *variants], [numbers[0] if baseline is None else baseline, *numbers]
    logits = model.find(
        torch.from_numpy(np.stack(numbers)).to(model.device),
        input_values=torch.from_numpy(np.stack([each for each, _ in variants])).to(model.device),
        lead_mask=torch.from_numpy(np.stack([recorded for _, recorded in variants])).to(model.device),
    ).logits.cpu()
    if codes is None:
        likely = [known[k] for k in logits[0].argsort(descending=True).tolist() if logits[0, k] >= 0]
        codes = [code for code in likely if ":" not in code][:MOST_EXPLAINED]
    places = {code: known.index(code) for code in codes if code in known}
    if unknown := set(codes) - set(places):
        raise KeyError(f"The model does not find {sorted(unknown)}; it finds {known}.")
    falls = logits[1] - logits[2:]
    return [
        _explanation(code, float(logits[0, k].sigmoid()), falls[:, k].tolist(), parts, present, rate)
        for code, k in places.items()
    ]


def parts_of(found: Delineation, samples: int, rate: float, present: Sequence[str]) -> list[Part]:
    """Returns the parts of an ECG: its leads, the four kinds of waves, and its beats.

    Args:
        found: The waves.
        samples: Number of samples.
        rate: Hz.
        present: Leads that were recorded.
    """
    parts = [Part("lead", lead) for lead in present] if len(present) > 1 else []
    spans: dict[str, list[tuple[int, int]]] = {wave: [] for wave in WAVES}
    covered = np.zeros(samples, bool)
    for waves in found.beats:
        ends = {"P": waves.p, "QRS": waves.qrs, "ST-T": waves.qrs and waves.t and (waves.qrs[1], waves.t[1])}
        for name, span in ends.items():
            if span:
                start, stop = (int(np.clip(round(edge * rate), 0, samples)) for edge in span)
                spans[name].append((start, stop + 1))
                covered[start : stop + 1] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[True], covered, [True]])))
    spans["between beats"] = [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
    parts += [Part("wave", name, tuple(of_wave)) for name, of_wave in spans.items() if of_wave]
    rr = np.diff(found.r_peaks)
    for k, peak in enumerate(found.r_peaks):
        before = min(BEFORE_BEAT, rr[k - 1] / 2 if k else BEFORE_BEAT)
        after = min(AFTER_BEAT, rr[k] / 2 if k < len(rr) else AFTER_BEAT)
        start, stop = max(0, round((peak - before) * rate)), min(samples, round((peak + after) * rate))
        parts.append(Part("beat", round(float(peak), 3), ((start, stop),)))
    return parts


def without(part: Part, signal: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns a signal (12, samples) and its mask without one part."""
    signal, mask = signal.copy(), mask.copy()
    if part.kind == "lead":
        row = LEADS.index(part.name)
        signal[row], mask[row] = 0, False
    for start, stop in part.spans:
        _bridge(signal, start, stop)
    return np.where(mask, signal, 0).astype(np.float32), mask


def _explanation(
    code: str, probability: float, falls: list[float], parts: list[Part], present: list[str], rate: float
) -> Explanation:
    effects: dict[str, dict[str | float, float]] = {"lead": {}, "wave": {}, "beat": {}}
    for part, fall in sorted(zip(parts, falls), key=lambda pair: -pair[1]):
        effects[part.kind][part.name] = fall
    named = {kind: _what_matters(of_kind) for kind, of_kind in effects.items()}
    spans = {(part.kind, part.name): part.spans for part in parts}
    intervals = []
    for lead in named["lead"] or present:
        for wave in named["wave"]:
            for beat in named["beat"]:
                ((first, last),) = spans["beat", beat]
                for start, stop in spans["wave", wave]:
                    if first <= (start + stop) / 2 < last:
                        intervals.append((lead, round(start / rate, 3), round(stop / rate, 3)))
    return Explanation(code, probability, effects, tuple(sorted(set(intervals))))


def _what_matters(effects: dict[str | float, float]) -> list[str | float]:
    """Returns the parts whose effect is positive, and at least half of the largest."""
    most = max(effects.values(), default=0.0)
    return [name for name, effect in effects.items() if effect > 0 and effect >= most / 2]


def bridged(signal: np.ndarray, intervals: Iterable[tuple[str, float, float]], rate: float) -> np.ndarray:
    """Returns a signal (12, samples) in which intervals, (lead, start, stop) in seconds, are straight lines."""
    signal = signal.copy()
    for lead, first, last in intervals:
        row = LEADS.index(lead)
        _bridge(signal[row : row + 1], round(first * rate), round(last * rate))
    return signal


def _bridge(signal: np.ndarray, start: int, stop: int) -> None:
    """Makes samples from `start` up to `stop` of (leads, samples) straight lines between their neighbours, in place."""
    left, right = max(0, start - 1), min(signal.shape[1] - 1, stop)
    share = np.linspace(0, 1, right - left + 1, dtype=signal.dtype)
    signal[:, left : right + 1] = signal[:, left, None] * (1 - share) + signal[:, right, None] * share


__all__ = ["Explanation", "Part", "bridged", "explain_findings", "parts_of", "without"]
