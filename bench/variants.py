"""Makes other forms of the same record: other rates, fewer leads, pictures of every layout and scale, photographs."""

import zlib
from collections.abc import Callable

import numpy as np

from ..agent.render import add_artefacts, draw_ecg
from ..ecg_heartcare import LEADS
from ..extraction_heartcare import BeatFeatureExtractor
from .items import Item


def _rate(hz: int) -> Callable[[Item], list[dict]]:
    """Makes the variant of the signal at another sampling rate."""

    def parts(item: Item) -> list[dict]:
        (ecg,) = item.parts()
        extractor = BeatFeatureExtractor(sampling_rate=hz)
        signal = extractor.resample(ecg["signal"].astype(np.float64), ecg["sampling_rate"])
        return [{**ecg, "signal": signal, "sampling_rate": hz}]

    return parts


def _leads(*leads: str) -> Callable[[Item], list[dict]]:
    """Makes the variant of the signal with these leads alone."""

    def parts(item: Item) -> list[dict]:
        (ecg,) = item.parts()
        kept = [k for k, name in enumerate(ecg["lead_names"]) if name in leads]
        return [{**ecg, "signal": ecg["signal"][kept], "lead_names": [ecg["lead_names"][k] for k in kept]}]

    return parts


def _picture(
    layout: str = "3x4+R", speed: float = 25, gain: float = 10, artefacts: float = 0.0
) -> Callable[[Item], list[dict]]:
    """Makes the variant of the signal drawn on paper, with artefacts of a strength from 0 to 1."""

    def parts(item: Item) -> list[dict]:
        (ecg,) = item.parts()
        extractor = BeatFeatureExtractor()
        signal, lead_mask, *_ = extractor.prepare(ecg)
        page = draw_ecg(signal, extractor.sampling_rate, layout, speed, gain, dpi=100, lead_mask=lead_mask)
        rng = np.random.default_rng(zlib.crc32(item.id.encode()))
        return [{"type": "image", "image": add_artefacts(page, artefacts, rng)}]

    return parts


BASE = "signal, 12 leads, as recorded"
VARIANTS: dict[str, Callable[[Item], list[dict]]] = {
    BASE: Item.parts,
    **{f"signal, {hz} Hz": _rate(hz) for hz in (100, 250, 500, 1000)},
    "signal, 6 limb leads": _leads(*LEADS[:6]),
    "signal, 2 leads (I, II)": _leads("I", "II"),
    "signal, 1 lead (II)": _leads("II"),
    **{f"picture, {layout}": _picture(layout) for layout in ("3x4+R", "3x4", "6x2", "12x1")},
    "picture, 3x4+R, 50 mm/s": _picture(speed=50),
    "picture, 3x4+R, 5 mm/mV": _picture(gain=5),
    "picture, 3x4+R, 20 mm/mV": _picture(gain=20),
    "picture, 3x4+R, good scan": _picture(artefacts=0.3),
    "picture, 3x4+R, bad photograph": _picture(artefacts=1.0),
}
