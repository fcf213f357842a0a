"""Control rows, which score without reading the ECG. A model that does not beat them is not reading it.

majority                the option that is most often right, or the commonest answer of its kind
text only               the question without the ECG
blank ECG               a flat line; paper without a trace
noise                   noise of usual amplitude; the same, drawn
another patient's ECG   the next item's of the same kind
random encoder          the same model with an encoder of random weights; for classification, a linear probe on one
last value, last beat   for predictions: the last sample held, the last beat repeated; the majority is a flat line
"""

import zlib
from collections.abc import Sequence

import numpy as np

from ..agent.measure import repeat_last_beat
from ..agent.render import draw_ecg
from ..ecg_heartcare import LEADS
from .items import Item

MODEL, MAJORITY, TEXT, BLANK, NOISE, OTHER, RANDOM = (
    "model", "majority", "text only", "blank ECG", "noise", "another patient's ECG", "random encoder",
)  # fmt: skip
LAST_VALUE, LAST_BEAT = "last value", "last beat"
ASKED = (MODEL, TEXT, BLANK, NOISE, OTHER, RANDOM)  # rows for which the model is asked
NOISE_MV = 0.2


def substitutes(items: Sequence[Item]) -> dict[str, Item]:
    """Finds for each item the one whose recordings are given in its place: id -> the next item of the same task, group
    and modality that has other patients. Items without such a one are left out.
    """
    result = {}
    kinds: dict[tuple, list[Item]] = {}
    for item in items:
        kinds.setdefault((item.task, item.group, item.modality), []).append(item)
    for members in kinds.values():
        members = sorted(members, key=lambda item: zlib.crc32(item.id.encode()))
        for k, item in enumerate(members):
            others = (members[(k + step) % len(members)] for step in range(1, len(members)))
            if other := next((other for other in others if not set(other.patients) & set(item.patients)), None):
                result[item.id] = other
    return result


def parts_for(row: str, item: Item, substitute: Item | None) -> list[dict] | None:
    """Returns the content that a model is given for an item in a row; None where the row has nothing to give."""
    if row == TEXT:
        return []
    if row == OTHER:
        return substitute.parts() if substitute else None
    parts = item.parts()
    if row not in (BLANK, NOISE):
        return parts
    rng = np.random.default_rng(zlib.crc32(item.id.encode()))
    return [_replaced(part, rng, NOISE_MV if row == NOISE else 0.0) for part in parts]


def _replaced(part: dict, rng: np.random.Generator, amplitude: float) -> dict:
    """Returns the part with noise of `amplitude` mV for its signal; 0 is a flat line, or paper without a trace."""
    if part["type"] == "image":
        noise = rng.normal(0, amplitude, (len(LEADS), 1000)) if amplitude else np.full((len(LEADS), 1000), np.nan)
        return {"type": "image", "image": draw_ecg(noise, 100, "3x4+R", dpi=100, size=(1100, 850))}
    # A processor rightly refuses a line without any change, the sign of a loose cable: one microvolt of noise passes.
    return {**part, "signal": rng.normal(0, amplitude or 0.001, part["signal"].shape).astype(np.float32)}


def majority_answer(item: Item, majority: dict) -> str:
    """Returns the option that is most often right on the training split, the first of equals by name; for open
    questions the commonest answer.
    """
    if item.options:
        counts = majority["closed"].get(item.topic, {})
        return max(sorted(item.options), key=lambda option: counts.get(option.casefold(), 0))
    return majority["open"].get(f"{item.task}/{item.topic}", "")


def simple_forecasts(context: np.ndarray, num_samples: int, sampling_rate: float) -> dict[str, np.ndarray]:
    """Makes forecasts without a model: (12, samples) mV so far -> row -> (12, num_samples) mV."""
    return {
        MAJORITY: np.zeros((len(context), num_samples)),
        LAST_VALUE: np.repeat(context[:, -1:], num_samples, axis=1),
        LAST_BEAT: repeat_last_beat(context, num_samples, sampling_rate),
    }
