"""Windows of PTB-XL for the training of Beat: one segment and the signal that follows it, with all leads or with those
of a page, of a smaller device, or of electrodes that come off.
"""

import numpy as np
import torch

from heartcare.configuration_heartcare import BeatConfig

from .lead_patterns import PATTERNS
from .ptbxl import PTBXL, WithSimulated


class BeatWindows(torch.utils.data.Dataset):
    """Random windows of one segment and of the signal that follows it.

    Item i is the same in every run with the same seed, so that a resumed run sees the items that an uninterrupted one
    would see.

    Args:
        data: Records.
        config: Configuration of the Beat that is trained.
        augment: If True, there are eight items for each record, a tenth of the items begins late, two fifths lack leads
            by one of `lead_patterns.PATTERNS`, and half of the items teach their statements on a part of the window.
        seed: Seed of all choices.
        statements: float32 (records, statements), added to each item as `statements`, with `statement_mask`, the
            samples from which they are to be read.
    """

    ITEMS_OF_RECORD = 8

    def __init__(
        self,
        data: PTBXL | WithSimulated,
        config: BeatConfig,
        augment: bool = True,
        seed: int = 0,
        statements: np.ndarray | None = None,
    ):
        self.data, self.config = data, config
        self.augment, self.seed, self.statements = augment, seed, statements

    def __len__(self) -> int:
        return len(self.data) * (self.ITEMS_OF_RECORD if self.augment else 1)

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng((self.seed, i))
        context, future = self.config.segment_length, self.config.prediction_length
        signal = self.data.signal(i % len(self.data))
        start = int(rng.integers(0, signal.shape[1] - context - future + 1))
        window = slice(start, start + context)
        mask, leads = np.ones(context, bool), np.ones((12, context), bool)
        if self.augment and rng.random() < 0.1:
            mask[: int(rng.integers(0, context * 3 // 4))] = False
        if self.augment and rng.random() < 0.4:
            pattern = list(PATTERNS.values())[1 + rng.integers(len(PATTERNS) - 1)]
            leads = pattern(rng, signal.shape[1])[:, window]
        target = signal[:, window] * mask
        item = {
            "input_values": target * leads,
            "ecg_attention_mask": mask,
            "lead_mask": leads,
            "target_values": target,
            "future_values": signal[:, start + context : start + context + future],
        }
        if self.statements is not None:
            item["statements"] = self.statements[i % len(self.data)]
            item["statement_mask"] = self._part_of_window(mask, rng)
        return item

    def _part_of_window(self, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns all samples of a mask, or half a window of them in a row, so that statements are learnt from 2.5 s as
        well; bool (samples,).
        """
        if not self.augment or rng.random() < 0.5:
            return mask
        length = self.config.segment_length // 2
        start = int(rng.integers(0, len(mask) - length + 1))
        part = np.zeros_like(mask)
        part[start : start + length] = mask[start : start + length]
        return part if part.any() else mask
