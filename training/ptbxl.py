"""PTB-XL for training: official folds, cleaned by the processor's own code, cached as int16 microvolts.

The folder is in the official layout: ptbxl_database.csv, records100/.
"""

import ast
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from heartcare.agent.simulate import FORMS, RHYTHMS, simulate_ecg
from heartcare.agent.sources import read_ptbxl_table
from heartcare.extraction_heartcare import BeatFeatureExtractor


class PTBXL:
    """Records of some folds of PTB-XL.

    Args:
        folder: PTB-XL in its official layout.
        folds: 1-8 train, 9 validation, 10 test; the folds never share a patient.
        cache: Folder for the cleaned signals (523 MB for all records), written once.
        limit: Number of records at most, the first ones of the table.

    Attributes:
        rows: Row of the table for each record; `scp_codes` is a dict, all else a string.
    """

    def __init__(
        self, folder: str | Path, folds: Iterable[int], cache: str | Path = "runs/cache", limit: int | None = None
    ):
        self.rows = read_ptbxl_table(folder, folds, limit)
        for row in self.rows:
            row["scp_codes"] = ast.literal_eval(row["scp_codes"])
        self._signals, ids = cleaned_signals(Path(folder), Path(cache))
        # A record is found by its id, never by its place in a table.
        places = {int(ecg_id): place for place, ecg_id in enumerate(ids)}
        self._places = [places[int(row["ecg_id"])] for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def signal(self, i: int) -> np.ndarray:
        """Returns the cleaned signal of a record, float32 (12, 1000) in mV at 100 Hz."""
        return self.microvolts(i).astype(np.float32) / 1000

    def microvolts(self, i: int) -> np.ndarray:
        """Returns the cleaned signal of a record, int16 (12, 1000) in uV at 100 Hz."""
        return self._signals[self._places[i]]

    def signals(self, start: int, stop: int) -> torch.Tensor:
        """Returns the signals of the records from `start` up to `stop` or the last one, (records, 12, 1000) mV."""
        return torch.from_numpy(np.stack([self.signal(i) for i in range(start, min(stop, len(self)))]))


def cache_paths(cache: Path) -> tuple[Path, Path]:
    """Returns the files of a cache: the cleaned signals, and the `ecg_id` of each."""
    signals, ids = (cache / f"ptbxl_{BeatFeatureExtractor().sampling_rate}hz_{name}.npy" for name in ("cleaned", "ids"))
    return signals, ids


def cleaned_signals(folder: Path, cache: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns the cleaned signals of all records, int16 (records, 12, 1000) in uV, and their ecg_ids; cleans them where
    the cache does not have them yet.
    """
    extractor = BeatFeatureExtractor()
    path, ids = cache_paths(cache)
    if not ids.exists():
        cache.mkdir(parents=True, exist_ok=True)
        table = read_ptbxl_table(folder)
        shape = (len(table), 12, 10 * extractor.sampling_rate)
        out = np.lib.format.open_memmap(path, mode="w+", dtype=np.int16, shape=shape)
        for i, row in enumerate(tqdm(table, desc="cleaning PTB-XL")):
            (record,) = extractor.fetch_ecg(folder / row["filename_lr"])
            out[i] = np.clip(np.round(extractor.prepare(record)[0] * 1000), -32767, 32767)
        out.flush()
        np.save(ids, np.array([int(row["ecg_id"]) for row in table]))  # last: where it is, the signals are complete
    return np.load(path, mmap_mode="r"), np.load(ids)


class WithSimulated:
    """Records of PTB-XL, followed by simulated ones. PTB-XL's come from devices of one maker; Beat learns to keep other
    shapes of beats as well.

    Args:
        data: Records of PTB-XL.
        count: Number of simulated records of 10 s; they take turns in rhythm and form.
    """

    FIRST_SEED = 1_000_000  # far from the seeds that tests and examples use

    def __init__(self, data: PTBXL, count: int):
        self.data, extractor = data, BeatFeatureExtractor()
        self.rows, self._simulated = list(data.rows), []
        for k in tqdm(range(count), desc="simulating"):
            rhythm, form = list(RHYTHMS)[k % len(RHYTHMS)], FORMS[k // len(RHYTHMS) % len(FORMS)]
            ecg = simulate_ecg(rhythm, form, noise_mv=(0.002, 0.01, 0.03)[k % 3], seed=self.FIRST_SEED + k)
            self.rows.append({"scp_codes": ecg.statements})
            self._simulated.append(
                extractor.prepare({"ecg": ecg.signal, "sampling_rate": ecg.sampling_rate, "units": "mV"})[0]
            )

    def __len__(self) -> int:
        return len(self.rows)

    def signal(self, i: int) -> np.ndarray:
        """Returns the cleaned signal of a record, float32 (12, 1000) in mV at 100 Hz."""
        return self.data.signal(i) if i < len(self.data) else self._simulated[i - len(self.data)]
