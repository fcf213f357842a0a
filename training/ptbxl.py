"""PTB-XL as the training scripts see it: official folds, cleaned by the processor's own code, cached as int16
microvolts.

The folder is the official layout: ptbxl_database.csv, records100/.
"""

import ast
import csv
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from heartcare.agent.simulate import FORMS, RHYTHMS, simulate_ecg
from heartcare.processing_heartcare import BeatFeatureExtractor


class PTBXL:
    """Records of some folds, with their table rows.

    Args:
        folder: PTB-XL in its official layout.
        folds: 1-8 train, 9 validation, 10 test; the folds never share a patient.
        cache: Where the cleaned signals are kept (523 MB for all records), written once.
        limit: Only the first so many records.
    """

    def __init__(self, folder: str | Path, folds, cache: str | Path = "runs/cache", limit: int | None = None):
        folder = Path(folder)
        with open(folder / "ptbxl_database.csv", encoding="utf-8") as file:
            table = list(csv.DictReader(file))
        self.signals, ids = self._cleaned(folder, table, Path(cache))
        self.position = {int(ecg_id): i for i, ecg_id in enumerate(ids)}
        self.rows = [row for row in table if int(row["strat_fold"]) in set(folds)][:limit]
        for row in self.rows:
            row["scp_codes"] = ast.literal_eval(row["scp_codes"])

    @staticmethod
    def _cleaned(folder: Path, table: list[dict], cache: Path) -> tuple[np.ndarray, np.ndarray]:
        """Signals of all records, and their ecg_ids: a record is found by its id, never by its place in a table."""
        extractor = BeatFeatureExtractor()
        path, ids = (cache / f"ptbxl_{extractor.sampling_rate}hz_{what}.npy" for what in ("cleaned", "ids"))
        if not ids.exists():
            cache.mkdir(parents=True, exist_ok=True)
            shape = (len(table), 12, 10 * extractor.sampling_rate)
            out = np.lib.format.open_memmap(path, mode="w+", dtype=np.int16, shape=shape)
            for i, row in enumerate(tqdm(table, desc="cleaning PTB-XL")):
                (record,) = extractor.fetch_ecg(folder / row["filename_lr"])
                out[i] = np.clip(np.round(extractor.prepare(record)[0] * 1000), -32767, 32767)
            out.flush()
            np.save(ids, np.array([int(row["ecg_id"]) for row in table]))  # last: where it is, the signals are complete
        return np.load(path, mmap_mode="r"), np.load(ids)

    def __len__(self) -> int:
        return len(self.rows)

    def signal(self, i: int) -> np.ndarray:
        """Cleaned float32 (12, 1000) in mV at 100 Hz."""
        return self.signals[self.position[int(self.rows[i]["ecg_id"])]].astype(np.float32) / 1000


class WithSimulated:
    """Records of PTB-XL, and behind them some of the simulator: other shapes than those of one maker's devices, so that
    Beat keeps the beats of these, too.

    Args:
        data: Records of PTB-XL.
        count: Number of simulated records of 10 s, of every rhythm and form in turn.
        seed: Of the first of them; others follow.
    """

    FIRST_SEED = 1_000_000  # far from those that tests and examples use

    def __init__(self, data: PTBXL, count: int, seed: int = FIRST_SEED):
        self.data, extractor = data, BeatFeatureExtractor()
        self.rows, self.simulated = list(data.rows), []
        for k in tqdm(range(count), desc="simulating"):
            rhythm, form = list(RHYTHMS)[k % len(RHYTHMS)], FORMS[k // len(RHYTHMS) % len(FORMS)]
            ecg = simulate_ecg(rhythm, form, noise_mv=(0.002, 0.01, 0.03)[k % 3], seed=seed + k)
            self.rows.append({"scp_codes": ecg.statements})
            self.simulated.append(
                extractor.prepare({"ecg": ecg.signal, "sampling_rate": ecg.sampling_rate, "units": "mV"})[0]
            )

    def __len__(self) -> int:
        return len(self.rows)

    def signal(self, i: int) -> np.ndarray:
        """As `PTBXL.signal`."""
        return self.data.signal(i) if i < len(self.data) else self.simulated[i - len(self.data)]


class BeatWindows(torch.utils.data.Dataset):
    """Random windows of a segment and what follows it, with leads left out and short beginnings at random.

    Item i is the same in every run with the same seed, so that a resumed run sees what an uninterrupted one would. With
    `statements`, a number for each record and statement, an item has those of its record, too.
    """

    def __init__(
        self,
        data: PTBXL | WithSimulated,
        context: int,
        future: int,
        augment: bool = True,
        seed: int = 0,
        statements: np.ndarray | None = None,
    ):
        self.data, self.context, self.future, self.augment, self.seed, self.statements = (
            data,
            context,
            future,
            augment,
            seed,
            statements,
        )

    def __len__(self) -> int:
        return len(self.data) * (8 if self.augment else 1)

    def __getitem__(self, i: int) -> dict:
        rng = np.random.default_rng((self.seed, i))
        signal = self.data.signal(i % len(self.data))
        start = int(rng.integers(0, signal.shape[1] - self.context - self.future + 1))
        values = signal[:, start : start + self.context]
        mask, leads = np.ones(self.context, np.int64), np.ones(12, np.int64)
        if self.augment and rng.random() < 0.1:
            mask[: int(rng.integers(0, self.context * 3 // 4))] = 0
        if self.augment and rng.random() < 0.1:
            leads = (rng.random(12) < rng.choice([0.2, 0.5, 0.9])).astype(np.int64)
            leads[int(rng.integers(12))] = 1
        target = values * mask
        item = {
            "input_values": target * leads[:, None],
            "ecg_attention_mask": mask,
            "lead_mask": leads,
            "target_values": target,
            "future_values": signal[:, start + self.context : start + self.context + self.future],
        }
        return item if self.statements is None else item | {"statements": self.statements[i % len(self.data)]}
