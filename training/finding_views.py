"""Views of the records of PTB-XL that the head for findings learns from: Beat's codes and the measured numbers of whole
records, of windows, and of the leads of pages and small devices.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from heartcare.configuration_heartcare import ABSENT
from heartcare.extraction_heartcare import BeatFeatureExtractor
from heartcare.findings_heartcare import numbers_of, recorded_part
from heartcare.measuring_heartcare import as_plain, measure_ecg
from heartcare.tokenization_beat import BeatModel

from .caches import checksum, fingerprint, measuring_code, write_whole
from .lead_patterns import PATTERNS, whole
from .ptbxl import PTBXL

SHORTEST_SECONDS = 2.5  # length of the shortest window


class View(NamedTuple):
    """One view of each record.

    Attributes:
        codes: int16 (records, levels, latents), -1 on the left of shorter ones.
        gain: float32 (records,), mV.
        numbers: float32 (records, numbers), in the order of `NUMBERS`, NaN for what could not be measured.
    """

    codes: np.ndarray
    gain: np.ndarray
    numbers: np.ndarray


def random_pattern(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Returns the leads of one of the patterns of pages and small devices: bool (12, samples)."""
    patterns = list(PATTERNS.values())
    return patterns[rng.integers(len(patterns))](rng, samples)


def random_window(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Returns a stretch of 2.5 s or more, in which all leads are there: bool (12, samples)."""
    shortest = round(SHORTEST_SECONDS * BeatFeatureExtractor().sampling_rate)
    length = int(rng.integers(shortest, samples + 1))
    start = int(rng.integers(0, samples - length + 1))
    shown = np.zeros((12, samples), bool)
    shown[:, start : start + length] = True
    return shown


# Kind of view -> the leads that it shows over time.
KINDS = {"whole": whole, "leads": random_pattern, "window": random_window}


class Views:
    """Views of some records, read by one Beat. Each is made once and kept in a folder, under a name that is computed
    from the signals, from the leads that are shown, and from Beat's weights or the code that measures.

    Args:
        beat: The tokenizer.
        data: The records.
        cache: The folder.
    """

    def __init__(self, beat: BeatModel, data: PTBXL, cache: Path):
        self.beat, self.data, self.cache = beat, data, cache
        self._signals = checksum(data.microvolts(i) for i in range(len(data)))
        self.extractor = BeatFeatureExtractor(
            sampling_rate=beat.config.sampling_rate, samples_per_latent=beat.config.samples_per_latent
        )

    def view(self, kind: str, seed: int = 0, shift: int = 0) -> View:
        """Returns one view.

        Args:
            kind: One of `KINDS`.
            seed: Seed of the leads and stretches that are shown.
            shift: Number of samples. The first half of a record is read that much later, and the second half that much
                earlier: the heart is the same, and the codes differ.
        """
        samples, rng = self.data.signal(0).shape[1], np.random.default_rng((seed, list(KINDS).index(kind)))
        masks = [KINDS[kind](rng, samples) for _ in range(len(self.data))]
        shown = f"{kind}_{self._signals}_{checksum(masks)}"
        numbers = self._kept(f"{shown}_numbers_{measuring_code()}", lambda: self._measure(masks))
        tokens = self._kept(f"{shown}_codes_{fingerprint(self.beat)}_{shift}", lambda: self._encode(masks, shift))
        return View(tokens["codes"], tokens["gain"], numbers)

    def _kept(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        path = self.cache / f"findings_{name}.npy"
        if not path.exists():
            self.cache.mkdir(parents=True, exist_ok=True)
            write_whole(path, make())
        return np.load(path)

    def _measure(self, masks: list[np.ndarray]) -> np.ndarray:
        rows = []
        for i, mask in enumerate(tqdm(masks, desc="measuring")):
            signal, mask = recorded_part(self.data.signal(i), mask)
            rate = self.extractor.sampling_rate
            rows.append(numbers_of(as_plain(measure_ecg(signal, rate, mask)), signal, mask, rate))
        return np.stack(rows)

    @torch.no_grad()
    def _encode(self, masks: list[np.ndarray], shift: int, batch_size: int = 64) -> np.ndarray:
        """Encodes all records into a structured array (records,) with the fields `codes` and `gain`."""
        samples = self.data.signal(0).shape[1]
        half, shape = samples // 2, (self.beat.config.num_levels, self.beat.num_latents(samples))
        out = np.zeros(len(self.data), [("codes", np.int16, shape), ("gain", np.float32)])
        out["codes"] = ABSENT
        for start in tqdm(range(0, len(self.data), batch_size), desc="encoding"):
            rows = range(start, min(start + batch_size, len(self.data)))
            whole_signals = self.data.signals(start, start + batch_size).numpy()
            shifted = [whole_signals[..., shift : half + shift], whole_signals[..., half - shift : samples - shift]]
            parts = [recorded_part(x, masks[i]) for x, i in zip(np.concatenate(shifted, axis=-1), rows)]
            tokens = self.beat.encode(**self.extractor.pad(*zip(*parts), return_tensors="pt"))
            latents = tokens.codes.shape[-1]
            out["codes"][rows.start : rows.stop, :, -latents:] = tokens.codes.numpy()
            out["gain"][rows.start : rows.stop] = tokens.gain.numpy()
        return out
