# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Findings: the probability of every statement that the model was taught, from one reading of an ECG.

    Beat's codes     --hidden layer, attention pooling--> logits --+
                                                                   +--calibration--> probabilities --> sets
    measured numbers --hidden layer-----------------------logits --+

The calibration and the thresholds of the sets are fitted on records that the head was not trained on, and are saved
with the model.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers.utils.generic import ModelOutput

from .configuration_heartcare import LEADS, HeartcareConfig

RATES = ("heart_rate", "slowest", "fastest")
INTERVALS = ("pr", "qrs", "qt", "qtc_bazett", "qtc_fridericia", "qtc_framingham")
AXES = ("p_axis", "qrs_axis", "t_axis")
VOLTAGES = ("sokolow_lyon", "cornell", "limb_voltage", "chest_voltage")
OF_THE_RHYTHM = ("sdnn", "rmssd", "p_share")
OF_LEADS = ("st", "st_slope", "r", "s")
EARLY_AND_WIDE = ("early", "wide")
OVER_LEADS = ("largest", "median", "largest of the limb leads", "largest of the chest leads")
# Names of the values that `numbers_of` returns, in their order.
NUMBERS: tuple[str, ...] = (
    *RATES,
    *INTERVALS,
    *(f"{axis}:{part}" for axis in AXES for part in ("cos", "sin")),
    *VOLTAGES,
    *OF_THE_RHYTHM,
    *(f"{name}:{lead}" for name in OF_LEADS for lead in LEADS),
    *EARLY_AND_WIDE,
    *(f"{name}:{part}" for name in ("noise", "burst", "drift") for part in OVER_LEADS),
)
NOISE_SECONDS, DRIFT_SECONDS = 0.5, 2.0  # windows in which noise is measured, and whose mean is the drift
# Part of the prior that does not count where a statement is offered as an option: a rare one is offered because it may
# be true. Chosen on PTB-XL's fold 9, among 0, 0.25, 0.5, 0.75 and 1.
CHOICE = 0.5
# Shares of the true statements that a set can be asked to hold; `FindingsHead.thresholds` has a value for each.
COVERAGES = tuple(round(0.5 + 0.01 * step, 2) for step in range(50))


def numbers_of(measured: Mapping[str, Any], signal: np.ndarray, mask: np.ndarray, rate: float) -> np.ndarray:
    """Returns the numbers of one ECG as the head takes them: float32 (numbers,), in the order of `NUMBERS`, NaN for
    what could not be measured. An angle is given by its cosine and sine, and ectopic beats by their count.

    Args:
        measured: Measurements as plain values, as `measuring_heartcare.as_plain` returns them.
        signal: (12, samples) in mV, as the feature extractor prepares it.
        mask: bool (12, samples), True where a lead was recorded.
        rate: Hz of the signal.
    """
    values = [measured.get(name) for name in (*RATES, *INTERVALS)]
    for axis in AXES:
        angle = measured.get(axis)
        values += [None, None] if angle is None else [math.cos(math.radians(angle)), math.sin(math.radians(angle))]
    values += [measured.get(name) for name in (*VOLTAGES, *OF_THE_RHYTHM)]
    values += [measured.get(name, {}).get(lead) for name in OF_LEADS for lead in LEADS]
    if measured.get("heart_rate") is None:
        values += [None for _ in EARLY_AND_WIDE]
    else:
        values += [sum(beat[kind] for beat in measured["ectopic"]) for kind in EARLY_AND_WIDE]
    known = np.array([math.nan if value is None else value for value in values], np.float32)
    return np.concatenate([known, disturbances(signal, mask, rate)])


def recorded_part(signal: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns a signal (12, samples) from its first recorded sample up to the last one, 0 where a lead was not
    recorded, and its mask.
    """
    at = np.flatnonzero(mask.any(axis=0))
    signal, mask = signal[:, at[0] : at[-1] + 1], mask[:, at[0] : at[-1] + 1]
    return np.where(mask, signal, 0).astype(np.float32), mask


def disturbances(signal: np.ndarray, mask: np.ndarray, rate: float) -> np.ndarray:
    """Returns the logarithms of three disturbances of a cleaned signal, float32 (12,): the noise in mV, by the median
    of the second differences; the largest noise of half a second relative to the usual one; and the drift in mV, from
    the lowest to the highest mean of 2 s. Each is given over the leads in the four ways of `OVER_LEADS`, NaN where no
    such lead was recorded.

    Args: as those of `numbers_of`.
    """
    length = max(3, round(NOISE_SECONDS * rate))
    windows = signal.shape[1] // length
    if not windows:
        return np.full(3 * len(OVER_LEADS), np.nan, np.float32)
    cut = windows * length
    whole = mask[:, :cut].reshape(12, windows, length).all(2)
    parts = signal[:, :cut].reshape(12, windows, length)
    noise = np.where(whole, np.median(np.abs(np.diff(parts, 2, axis=2)), axis=2), np.nan) + 1e-4
    level = np.where(whole, parts.mean(2), np.nan)
    width = min(windows, round(DRIFT_SECONDS / NOISE_SECONDS))
    drift = np.lib.stride_tricks.sliding_window_view(level, width, axis=1).mean(2)
    rows = {"noise": [], "burst": [], "drift": []}
    for each, mean in zip(noise, drift):
        each, mean = each[np.isfinite(each)], mean[np.isfinite(mean)]
        usual = np.median(each) if len(each) else np.nan
        rows["noise"].append(np.log(usual))
        rows["burst"].append(np.log(each.max() / usual) if len(each) else np.nan)
        rows["drift"].append(np.log(np.ptp(mean) + 1e-3) if len(mean) else np.nan)
    return np.concatenate([_over_leads(np.array(values)) for values in rows.values()]).astype(np.float32)


def _over_leads(values: np.ndarray) -> list[float]:
    """Returns the largest and the median of the leads' values, and the largest of limb leads and of chest leads."""
    parts = [(values, np.max), (values, np.median), (values[:6], np.max), (values[6:], np.max)]
    known = [(part[np.isfinite(part)], function) for part, function in parts]
    return [float(function(part)) if len(part) else np.nan for part, function in known]


@dataclass
class FindingsOutput(ModelOutput):
    """Findings of ECGs.

    logits (`(ecgs, labels)`): Calibrated logits.
    probabilities (`(ecgs, labels)`): Calibrated probabilities.
    choice_logits (`(ecgs, labels)`): Logits of statements that are options of one question.
    """

    logits: torch.FloatTensor | None = None
    probabilities: torch.FloatTensor | None = None
    choice_logits: torch.FloatTensor | None = None


class CalibratedHead(nn.Module):
    """A head for statements with its calibration.

    **Buffers**, fitted and not learnt:
        - **slope**, **intercept** `(labels,)`: the calibration; a calibrated logit is slope * logit + intercept.
        - **prior** `(labels,)`: logit of the share of the records that have each statement.
        - **thresholds** `(50,)`: for each share of `COVERAGES`, the probability from which on a set takes statements.

    Args:
        labels: Number of statements.
    """

    def __init__(self, labels: int):
        super().__init__()
        self.register_buffer("slope", torch.ones(labels))
        self.register_buffer("intercept", torch.zeros(labels))
        self.register_buffer("prior", torch.zeros(labels))
        self.register_buffer("thresholds", torch.zeros(len(COVERAGES)))

    def calibrated(self, logits: torch.Tensor) -> FindingsOutput:
        """Returns calibrated logits and probabilities of logits (B, labels), in float32."""
        logits = logits.float() * self.slope + self.intercept
        return FindingsOutput(logits, logits.sigmoid(), logits - CHOICE * self.prior)

    def threshold(self, coverage: float) -> float:
        """Returns the probability from which on a statement belongs to the set that holds on average `coverage` of an
        ECG's true statements.

        Raises: `ValueError` for a coverage that was not fitted.
        """
        if round(coverage, 2) not in COVERAGES or not math.isclose(coverage, round(coverage, 2)):
            raise ValueError(f"coverage must be from 0.50 to 0.99 in steps of 0.01, got {coverage!r}.")
        return float(self.thresholds[COVERAGES.index(round(coverage, 2))])


class FindingsHead(CalibratedHead):
    """Reads all statements from the latents of an ECG and from its measured numbers.

    The latents of Beat's first level and the sum of the other levels are read side by side, since what one code means
    may depend on the others. Each label weighs the latents over time by attention of its own.

    **Buffers**, fitted and not learnt:
        - **centre**, **scale** `(numbers + 1,)`: mean and standard deviation of each number, and of the logarithm of
          the gain; beside those of `CalibratedHead`.

    Args:
        config: Its `findings` names the labels.
    """

    def __init__(self, config: HeartcareConfig):
        super().__init__(len(config.findings))
        width, hidden, labels = config.beat_config.hidden_size, config.findings_hidden_size, len(config.findings)
        self.tokens = nn.Sequential(nn.LayerNorm(2 * width), nn.Linear(2 * width, hidden), nn.GELU(), nn.Dropout(0.1))
        self.score = nn.Linear(hidden, labels)
        self.value = nn.Linear(hidden, labels, bias=False)
        # Each number comes with a flag that says whether it could be measured; the gain is always there.
        self.numbers = nn.Sequential(nn.Linear(2 * len(NUMBERS) + 1, hidden), nn.GELU(), nn.Dropout(0.2))
        self.weight = nn.Linear(hidden, labels)
        self.register_buffer("centre", torch.zeros(len(NUMBERS) + 1))
        self.register_buffer("scale", torch.ones(len(NUMBERS) + 1))

    def forward(
        self,
        core: torch.Tensor,
        others: torch.Tensor,
        gain: torch.Tensor,
        mask: torch.Tensor,
        numbers: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Returns the logits before calibration, (B, labels).

        Args:
            core, others: Latents of Beat's first level, and the sum of those of the other levels, (B, N, D).
            gain: mV, (B,).
            mask: bool (B, N), True where there is a latent.
            numbers: (B, numbers) in the order of `NUMBERS`, NaN for what could not be measured; by default, nothing
                was.
        """
        dtype = self.score.weight.dtype
        tokens = self.tokens(torch.cat([core, others], dim=-1).to(dtype))
        scores = self.score(tokens)
        scores = scores.masked_fill(~mask[..., None], torch.finfo(scores.dtype).min)
        pooled = (scores.softmax(1) * self.value(tokens)).sum(1)
        given, known = self.standardized(numbers, gain)
        given = torch.cat([given, known], dim=-1).to(dtype)
        return pooled + self.weight(self.numbers(given))

    def standardized(self, numbers: torch.Tensor | None, gain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns numbers as the head reads them, float32 (B, numbers + 1), 0 where one could not be measured and the
        gain at the end; and flags (B, numbers), 1 where one could.

        Args: As those of `forward`.
        """
        if numbers is None:
            numbers = torch.full((len(gain), len(NUMBERS)), math.nan, device=gain.device)
        given = torch.cat([numbers, gain.log()[:, None]], dim=-1).float()
        given = ((given - self.centre) / self.scale).clamp(-5, 5)
        return given.nan_to_num(0.0), given[:, :-1].isfinite().float()


class PictureHead(CalibratedHead):
    """Reads all statements from a picture, by what the ViT saw in the tiles of its leads.

    Each label weighs the slots of the tiles by attention of its own, which knows the place of each.

    Args:
        config: Its `findings` names the labels.
    """

    def __init__(self, config: HeartcareConfig):
        super().__init__(len(config.findings))
        width, hidden, labels = config.vision_config.hidden_size, config.picture_hidden_size, len(config.findings)
        self.slots = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Dropout(0.2))
        self.places = nn.Parameter(torch.zeros(len(LEADS) * config.image_slots_per_tile, hidden))
        self.score = nn.Linear(hidden, labels)
        self.value = nn.Linear(hidden, labels)

    def forward(self, slots: torch.Tensor) -> torch.Tensor:
        """Returns the logits before calibration, (B, labels).

        Args:
            slots: (B, tiles * slots, Dv), as `get_image_slots` returns them.
        """
        tokens = self.slots(slots.to(self.score.weight.dtype)) + self.places
        return (self.score(tokens).softmax(1) * self.value(tokens)).sum(1)


def shares_of(logits: Sequence[float]) -> list[float]:
    """Returns the probability of each of several statements, given that exactly one of them is true: the statements'
    odds, so that they add up to 1.
    """
    return torch.tensor(logits, dtype=torch.float64).softmax(0).tolist()


__all__ = [
    "COVERAGES",
    "NUMBERS",
    "CalibratedHead",
    "FindingsHead",
    "FindingsOutput",
    "PictureHead",
    "numbers_of",
    "recorded_part",
    "shares_of",
]
