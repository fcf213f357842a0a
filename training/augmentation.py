"""Variations of ECGs that say nothing of the heart, for networks that learn statements: the teacher's and Beat's."""

import math
from collections.abc import Callable
from types import ModuleType

import numpy as np
import torch


def uniform_of(generator: torch.Generator | None, device: torch.device) -> Callable[..., torch.Tensor]:
    """Returns a function that draws numbers from 0 to 1 in the shape of its arguments."""
    return lambda *shape: torch.rand(shape, generator=generator, device=device)


def vary(x: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Varies the gain of record and lead, the baseline, and the noise.

    Args:
        x: Signals in mV at 100 Hz, float32 (B, 12, n).
        generator: Source of all choices, on the device of `x`; torch's own by default.
    """
    batch, leads, n = x.shape
    uniform = uniform_of(generator, x.device)
    gain = 0.25 * (uniform(batch, 1, 1) - 0.5) + 0.1 * (uniform(batch, leads, 1) - 0.5)
    phase = 2 * math.pi * uniform(batch, leads, 1)
    cycles = 0.05 + 0.45 * uniform(batch, 1, 1)  # Hz
    wander = (2 * math.pi * cycles * torch.arange(n, device=x.device) / 100 + phase).sin() * 0.1 * uniform(batch, 1, 1)
    noise = 0.02 * uniform(batch, 1, 1) * torch.randn(x.shape, generator=generator, device=x.device)
    return x * gain.exp() + wander + noise


def lose_leads(x: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Sets any leads to 0 in three tenths of the signals, float32 (B, 12, n)."""
    batch, leads, _ = x.shape
    uniform = uniform_of(generator, x.device)
    losing = uniform(batch, 1, 1) < 0.3
    return x.masked_fill(losing & (uniform(batch, leads, 1) < 0.6 * uniform(batch, 1, 1)), 0.0)


def draw_share(rng: np.random.Generator | ModuleType = np.random) -> float:
    """Draws the share of itself that each entry of a batch keeps in `mix`: 1 in half of the batches.

    Args:
        rng: A generator of NumPy; by default its global one, whose state a Trainer keeps in its checkpoints.
    """
    return 1.0 if rng.random() < 0.5 else float(rng.beta(0.3, 0.3))


def mix(x: torch.Tensor, share: float) -> torch.Tensor:
    """Mixes each entry of a batch with its neighbour's (mixup, Zhang et al., 2018).

    Args:
        x: Signals, labels or other numbers, float32 (B, ...).
        share: Weight of the entry itself, 0 to 1; its neighbour's is 1 - share.
    """
    return x if share == 1 else share * x + (1 - share) * x.roll(1, 0)
