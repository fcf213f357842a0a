"""Patterns of leads over time: as pages print them, as devices with fewer electrodes record them, and as electrodes
that come off leave them. Beat is trained on these patterns, and probed with them.
"""

from collections.abc import Callable

import numpy as np

from heartcare.configuration_heartcare import LEADS

Pattern = Callable[[np.random.Generator, int], np.ndarray]

LIMB, CHEST = slice(0, 6), slice(6, 12)


def whole(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Returns all leads, all the time: bool (12, samples)."""
    return np.ones((12, samples), bool)


def page(columns: int, strips: tuple[str, ...] = ()) -> Pattern:
    """Returns the pattern of a page that shows the leads in columns, one after the other in time, and the leads of
    `strips` all the time.
    """

    def pattern(rng: np.random.Generator, samples: int) -> np.ndarray:
        shown = np.zeros((12, samples), bool)
        edges = np.linspace(0, samples, columns + 1).astype(int)
        for column, leads in enumerate(np.split(np.arange(12), columns)):
            shown[leads, edges[column] : edges[column + 1]] = True
        shown[[LEADS.index(lead) for lead in strips]] = True
        return shown

    return pattern


def leads_alone(*names: str) -> Pattern:
    """Returns the pattern of a device that records these leads only."""

    def pattern(rng: np.random.Generator, samples: int) -> np.ndarray:
        shown = np.zeros((12, samples), bool)
        shown[[LEADS.index(name) for name in names]] = True
        return shown

    return pattern


def chest_leads_lost(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Returns all limb leads and some of the chest leads: bool (12, samples)."""
    shown = whole(rng, samples)
    shown[CHEST] = (rng.random(6) < rng.random())[:, None]
    return shown


def random_leads(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Returns random leads, at least one: bool (12, samples)."""
    kept = rng.random(12) < rng.choice([0.2, 0.5, 0.9])
    kept[rng.integers(12)] = True
    return np.repeat(kept[:, None], samples, axis=1)


def electrodes_off(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Returns all leads but for one to four that are off for a while, each at its own time: bool (12, samples)."""
    shown = whole(rng, samples)
    for lead in rng.choice(12, rng.integers(1, 5), replace=False):
        start, stop = np.sort(rng.integers(0, samples + 1, 2))
        shown[lead, start:stop] = False
    return shown


PATTERNS: dict[str, Pattern] = {
    "12 leads": whole,
    "3x4": page(4),
    "3x4+II": page(4, ("II",)),
    "3x4+II,V1,V5": page(4, ("II", "V1", "V5")),
    "6x2": page(2),
    "limb leads": leads_alone(*LEADS[LIMB]),
    "I": leads_alone("I"),
    "II": leads_alone("II"),
    "chest leads lost": chest_leads_lost,
    "random leads": random_leads,
    "electrodes off": electrodes_off,
}
