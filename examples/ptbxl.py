"""PTB-XL as the training scripts see it: official folds, cleaned by the processor's own code, cached as int16 microvolts.

The folder is the official layout: ptbxl_database.csv, scp_statements.csv, records100/.
"""

import ast
import csv
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from heartcare.processing_heartcare import BeatFeatureExtractor


class PTBXL:
    """Records of some folds, with their table rows.

    Args:
        folder: PTB-XL in its official layout.
        folds: 1-8 train, 9 validation, 10 test; the folds never share a patient.
        cache: Where the cleaned signals are kept (523 MB for all records), written once.
    """

    def __init__(self, folder: str | Path, folds, cache: str | Path = "runs/cache"):
        folder = Path(folder)
        with open(folder / "ptbxl_database.csv", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        with open(folder / "scp_statements.csv", encoding="utf-8") as file:
            self.statements = {row[""]: row for row in csv.DictReader(file)}
        signals = self._cleaned(folder, rows, Path(cache))
        keep = [i for i, row in enumerate(rows) if int(row["strat_fold"]) in set(folds)]
        self.rows = [rows[i] for i in keep]
        self.index, self.signals = np.array(keep), signals
        for row in self.rows:
            row["scp_codes"] = ast.literal_eval(row["scp_codes"])

    @staticmethod
    def _cleaned(folder: Path, rows: list[dict], cache: Path) -> np.ndarray:
        extractor = BeatFeatureExtractor()
        path = cache / f"ptbxl_{extractor.sampling_rate}hz_cleaned.npy"
        if not path.exists():
            cache.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial.npy")
            shape = (len(rows), 12, 10 * extractor.sampling_rate)
            out = np.lib.format.open_memmap(partial, mode="w+", dtype=np.int16, shape=shape)
            for i, row in enumerate(tqdm(rows, desc="cleaning PTB-XL")):
                (record,) = extractor.fetch_ecg(folder / row["filename_lr"])
                out[i] = np.clip(np.round(extractor.prepare(record)[0] * 1000), -32767, 32767)
            out.flush()
            partial.rename(path)
        return np.load(path, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.rows)

    def signal(self, i: int) -> np.ndarray:
        """Cleaned float32 (12, 1000) in mV at 100 Hz."""
        return self.signals[self.index[i]].astype(np.float32) / 1000

    @property
    def superclass_of(self) -> dict[str, str]:
        """Diagnostic statement -> superclass."""
        return {code: row["diagnostic_class"] for code, row in self.statements.items() if row["diagnostic"]}


class BeatWindows(torch.utils.data.Dataset):
    """Random windows of a segment and what follows it, with leads left out and short beginnings at random.

    Seeded by (seed, epoch-free index draw), so that a resumed run sees what an uninterrupted one would.
    """

    def __init__(self, data: PTBXL, context: int, future: int, augment: bool = True, seed: int = 0):
        self.data, self.context, self.future, self.augment, self.seed = data, context, future, augment, seed

    def __len__(self) -> int:
        return len(self.data) * (8 if self.augment else 1)

    def __getitem__(self, i: int) -> dict:
        rng = np.random.default_rng((self.seed, i))
        signal = self.data.signal(i % len(self.data))
        start = int(rng.integers(0, signal.shape[1] - self.context - self.future + 1))
        values = signal[:, start : start + self.context]
        mask, leads = np.ones(self.context, np.int64), np.ones(12, np.int64)
        if self.augment and rng.random() < 0.2:
            mask[: int(rng.integers(0, self.context * 3 // 4))] = 0
        if self.augment and rng.random() < 0.2:
            leads = (rng.random(12) < rng.choice([0.2, 0.5, 0.9])).astype(np.int64)
            leads[int(rng.integers(12))] = 1
        target = values * mask
        return {
            "input_values": target * leads[:, None],
            "ecg_attention_mask": mask,
            "lead_mask": leads,
            "target_values": target,
            "future_values": signal[:, start + self.context : start + self.context + self.future],
        }
