"""Control rows: what can be scored without reading the ECG. A model that does not beat them is not reading it.

majority                what is most often right among the options, or the commonest answer of its kind
text only               the question without the ECG
blank ECG               a flat line; paper without a trace
noise                   noise of usual amplitude; the same, drawn
another patient's ECG   the next item's of the same kind
random encoder          the same model with an encoder of random weights; of classification, a linear probe on such an
encoder
last value, last beat   of predictions: the last sample held, the last beat repeated; the majority is a flat line
"""

import zlib

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


def donors(items: list[Item]) -> dict[str, Item]:
    """id -> the item whose recordings stand in: the next one of the same task, group and modality, of other patients.
    Where there is none, none.
    """
    found = {}
    kinds: dict[tuple, list[Item]] = {}
    for item in items:
        kinds.setdefault((item.task, item.group, item.modality), []).append(item)
    for same in kinds.values():
        same = sorted(same, key=lambda item: zlib.crc32(item.id.encode()))
        for k, item in enumerate(same):
            others = (same[(k + step) % len(same)] for step in range(1, len(same)))
            if other := next((other for other in others if not set(other.patients) & set(item.patients)), None):
                found[item.id] = other
    return found


def parts_for(row: str, item: Item, donor: Item | None) -> list[dict] | None:
    """What a model is given of an item in a row; None where the row has nothing to give."""
    if row == TEXT:
        return []
    if row == OTHER:
        return donor.parts() if donor else None
    parts = item.parts()
    if row not in (BLANK, NOISE):
        return parts
    rng = np.random.default_rng(zlib.crc32(item.id.encode()))
    return [_replaced(part, rng, NOISE_MV if row == NOISE else 0.0) for part in parts]


def _replaced(part: dict, rng: np.random.Generator, amplitude: float) -> dict:
    """The part with noise of so many mV for its signal; 0 is a flat line, or paper without a trace."""
    if part["type"] == "image":
        noise = rng.normal(0, amplitude, (len(LEADS), 1000)) if amplitude else np.full((len(LEADS), 1000), np.nan)
        return {"type": "image", "image": draw_ecg(noise, 100, "3x4+R", dpi=100, size=(1100, 850))}
    # A processor rightly refuses a line without any change, as of a cable that is off: one microvolt of noise lets it
    # pass.
    return {**part, "ecg": rng.normal(0, amplitude or 0.001, part["ecg"].shape).astype(np.float32)}


def majority_answer(item: Item, majority: dict) -> str:
    """The option that is most often right on the training split, the first of equals by name; of open questions the
    commonest answer.
    """
    if item.options:
        counts = majority["closed"].get(item.topic, {})
        return max(sorted(item.options), key=lambda option: counts.get(option.casefold(), 0))
    return majority["open"].get(f"{item.task}/{item.topic}", "")


def simple_forecasts(context: np.ndarray, num_samples: int, sampling_rate: float) -> dict[str, np.ndarray]:
    """(12, n) mV -> row -> (12, num_samples)."""
    return {
        MAJORITY: np.zeros((len(context), num_samples)),
        LAST_VALUE: np.repeat(context[:, -1:], num_samples, axis=1),
        LAST_BEAT: repeat_last_beat(context, num_samples, sampling_rate),
    }
