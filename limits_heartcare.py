# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Limits of what is read: recordings and pictures are counted before they are loaded, whatever their file promises.

A server has lower limits for what strangers send: a `Budget` holds them for one request and all that it reads.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_VALUES = 2**28  # values of one recording: 24 h of twelve leads at 250 Hz
MAX_PIXELS = 2**26  # pixels of one picture; a sheet of A4 scanned at 600 dpi has half as many


@dataclass
class Budget:
    """The values, pixels and seconds that may still be read.

    Attributes:
        values: Number of values of all recordings.
        pixels: Number of pixels of all pictures.
        seconds: Length of all recordings together.
    """

    values: int = MAX_VALUES
    pixels: int = MAX_PIXELS
    seconds: float = float("inf")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Makes the readers of this thread refuse what is beyond the rest, for the time of a `with` block."""
        token = _BUDGET.set(self)
        try:
            yield
        finally:
            _BUDGET.reset(token)

    def spend(self, part: dict[str, Any]) -> None:
        """Takes an ECG or picture, as a part of a message, from the rest.

        Raises: `ValueError` for recordings that are too long together.
        """
        signal, rate = part.get("signal"), part.get("sampling_rate")
        if signal is not None:
            samples = np.shape(signal)
            self.values -= int(np.prod(samples))
            self.seconds -= samples[-1] / rate if rate else 0.0
            if self.seconds < 0:
                raise ValueError(
                    f"The recordings are {-self.seconds:g} s longer than is answered here; cut out what matters."
                )
        elif hasattr(part.get("image"), "size"):
            width, height = part["image"].size
            self.pixels -= width * height


_BUDGET: ContextVar[Budget | None] = ContextVar("budget", default=None)


def most_values() -> int:
    """Returns the number of values that the next recording may have."""
    budget = _BUDGET.get()
    return MAX_VALUES if budget is None else max(0, min(MAX_VALUES, budget.values))


def most_pixels() -> int:
    """Returns the number of pixels that the next picture may have."""
    budget = _BUDGET.get()
    return MAX_PIXELS if budget is None else max(0, min(MAX_PIXELS, budget.pixels))


__all__ = ["Budget", "most_pixels", "most_values"]
