"""Takes one record through the engine: reads, cleans, labels and draws it, and makes the rows that refer to it."""

import time
import zlib
from collections import Counter
from dataclasses import dataclass

import numpy as np

from ..image_processing_heartcare import LAYOUTS
from .measure import heart_rate
from .qa import Labels, Question
from .readers import read_ecg
from .render import add_artefacts, draw_ecg, encode_jpeg, encode_png, page_header
from .samples import PackedECG, Sample
from .signal import OptimizedECG, Optimizer
from .sources import Entry

IMAGE_DPI, IMAGE_SIZE = 100, (1100, 850)  # Letter, landscape


@dataclass
class Loaded:
    """A record as the questions need it: `ecg` as rows store it, its length in `seconds`, its `quality` with every
    change made, and, if it was drawn, the encoded `image` and how it was drawn.
    """

    entry: Entry
    labels: Labels
    ecg: PackedECG
    seconds: float
    quality: dict
    image: bytes | None = None
    drawing: dict | None = None


def rng_for(seed: int, *names: str) -> np.random.Generator:
    """Returns a generator of random numbers that is the same for the same seed and names, wherever it is made."""
    return np.random.default_rng((seed, *(zlib.crc32(name.encode()) for name in names)))


def load(entry: Entry, optimizer: Optimizer, draw_seed: int | None, times: Counter) -> Loaded:
    """Reads, cleans and, with a seed, draws one record; adds the seconds to `times` under "read" and "draw".

    Raises: as `read_ecg` and `Optimizer`.
    """
    clock = time.perf_counter()
    optimized = optimizer(read_ecg(entry.path))
    window = optimized.ecg
    loaded = Loaded(
        entry=entry,
        labels=Labels(entry.statements, entry.age, entry.sex, entry.notes),
        ecg=PackedECG.pack(entry.record_id, window.signal, window.sampling_rate),
        seconds=window.seconds,
        quality={
            "format": window.format,
            "faults": optimized.quality.as_dict(),
            "warnings": list(window.warnings),
            # Rows hold the uncleaned leads, which the processor cleans; the filters are for drawing and quality.
            "changes": [note for note in window.notes if not note.startswith("high-pass")],
        },
    )
    times["read"] += time.perf_counter() - clock
    if draw_seed is not None:
        clock = time.perf_counter()
        loaded.image, loaded.drawing = draw(loaded.labels, optimized, rng_for(draw_seed, entry.record_id, "image"))
        times["draw"] += time.perf_counter() - clock
    return loaded


def draw(labels: Labels, optimized: OptimizedECG, rng: np.random.Generator) -> tuple[bytes, dict]:
    """Draws one picture: any layout, most at 25 mm/s and 10 mm/mV, two in five with artefacts.

    Returns: the picture, encoded, and the drawing's layout, scales and strength of artefacts.
    """
    layout = str(rng.choice(sorted(LAYOUTS)))
    speed, gain = float(rng.choice([25, 50], p=[0.85, 0.15])), float(rng.choice([5, 10, 20], p=[0.1, 0.8, 0.1]))
    strength = round(float(rng.uniform(0.1, 1.0)), 2) if rng.random() < 0.4 else 0.0
    rate = heart_rate(optimized.signal, optimized.sampling_rate) if rng.random() < 0.5 else None
    header = page_header(labels.age, labels.sex, rate)
    page = draw_ecg(
        optimized.signal,
        optimized.sampling_rate,
        layout,
        speed,
        gain,
        dpi=IMAGE_DPI,
        header=header,
        lead_mask=optimized.lead_mask,
        size=IMAGE_SIZE,
    )
    encoded = encode_jpeg(add_artefacts(page, strength, rng)) if strength else encode_png(page)
    return encoded, {"layout": layout, "mm_per_s": speed, "mm_per_mv": gain, "artefacts": strength}


def sample_of(number: int, modality: str, question: Question, records: list[Loaded]) -> Sample:
    """Returns the row of a question about one record or two, which stand in the order of the modality's parts."""
    parts = modality.split("-")
    name = "+".join(record.entry.record_id for record in records)
    provenance = [
        {
            "id": record.entry.record_id,
            "statements": record.labels.statements,
            **record.quality,
            **({"drawing": record.drawing} if part == "image" else {}),
        }
        for record, part in zip(records, parts)
    ]
    return Sample(
        id=f"{name}/{question.task}/{question.topic}/{modality}/{number}",
        modality=modality,
        question=question,
        ecgs=[record.ecg for record, part in zip(records, parts) if part == "signal"],
        images=[record.image for record, part in zip(records, parts) if part == "image"],
        patients=list(dict.fromkeys(record.entry.patient_id for record in records)),
        fold=records[0].entry.fold,
        provenance={"records": provenance},
    )
