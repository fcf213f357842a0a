"""A data set built by HeartAgent as the training scripts see it: each recording, picture or pair once, with all the questions about it.

    python -m heartcare.agent build --source PTBXL --out HEARTCARE_400K --workers 2

Signals go through the processor's own code and tiles through its image processor once; both are cached, so that training reads memory maps.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from heartcare.agent.qa import Question
from heartcare.agent.samples import open_image, unpack_ecg
from heartcare.processing_heartcare import HeartcareProcessor
from tqdm import tqdm

COLUMNS = ["task", "dimension", "modality", "question", "options", "answer", "answer_label", "ecgs", "images", "provenance"]


class HeartcareData:
    """One split of a data set.

    Args:
        folder: Of the data set, with its manifest.json.
        split: "train", "validation" or "test".
        cache: Where cleaned signals and tiles are kept; written once for each data set.
        processor: Whose feature extractor and image processor are used; None for the texts alone.
        pictures: Of so many records the pictures are used, and of all the signals.

    `items` is a list of dicts: `signals` and `tiles`, places in the caches in the order of the prompt, and `questions`.
    """

    def __init__(self, folder: str | Path, split: str, cache: str | Path, processor: HeartcareProcessor | None, pictures: int = 4000):
        folder = Path(folder)
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        shards = [shard for shard in manifest["shards"] if shard["name"].startswith(f"{split}-")]
        if not shards:
            raise ValueError(f"{folder} has no split {split!r}; its shards are {[shard['name'] for shard in manifest['shards']][:4]}.")
        names = [name for shard in shards for name in shard["records"]]
        self.record = {name: i for i, name in enumerate(names)}
        self.items: list[dict] = []
        key = zlib.crc32("".join(shard["sha256"] for shard in shards).encode())
        cache, paths = Path(cache), None
        pictures = min(pictures, len(names)) if processor else 0
        if processor:
            cache.mkdir(parents=True, exist_ok=True)
            paths = [cache / f"{split}_{key:08x}_{what}.npy" for what in ("signals", f"tiles{pictures}")]
        self._read(folder, shards, processor, paths if paths and not all(map(Path.exists, paths)) else None, pictures)
        self.signals, self.tiles = (np.load(path, mmap_mode="r") for path in paths) if paths else (None, None)

    def _read(self, folder: Path, shards: list[dict], processor, paths, pictures: int):
        """Goes through the shards once: the items, and with `paths` the caches."""
        out = self._caches(processor, paths, pictures) if paths else (None, None)
        for shard in tqdm(shards, desc="preparing" if paths else "reading questions"):
            columns = COLUMNS if paths else [name for name in COLUMNS if name not in ("ecgs", "images")]
            grouped: dict[tuple, dict] = {}
            for batch in pq.ParquetFile(folder / shard["name"]).iter_batches(512, columns=columns):
                for row in batch.to_pylist():
                    parts = row["modality"].split("-")
                    records = [self.record[each["id"]] for each in json.loads(row["provenance"])["records"]]
                    if any(part == "image" and record >= pictures for part, record in zip(parts, records)) and pictures:
                        continue
                    self._keep(row, parts, records, processor, *out)
                    item = grouped.setdefault((row["modality"], *records), {"signals": [], "tiles": [], "questions": []})
                    if not item["questions"]:
                        for part, record in zip(parts, records):
                            item["signals" if part == "signal" else "tiles"].append(record)
                    values = (row["task"], row["dimension"], "", row["question"], row["answer"])
                    item["questions"].append(Question(*values, tuple(row["options"]), tuple(row["answer_label"])))
            self.items += grouped.values()
        for array, path in zip(out, paths or ()):
            array.flush()
            path.with_suffix(".partial.npy").rename(path)

    def _caches(self, processor, paths, pictures: int):
        size = processor.image_processor.size
        extractor = processor.feature_extractor
        shapes = (len(self.record), 12, 10 * extractor.sampling_rate), (max(1, pictures), 12, size["height"], size["width"])
        self._done: set = set()
        return [
            np.lib.format.open_memmap(path.with_suffix(".partial.npy"), "w+", dtype, shape)
            for path, dtype, shape in zip(paths, (np.int16, np.uint8), shapes)
        ]

    def _keep(self, row: dict, parts, records, processor, signals, tiles):
        """Cleans the signals and cuts the pictures of a row that were not seen before."""
        if signals is None:
            return
        ecgs, images = iter(row["ecgs"]), iter(row["images"])
        for part, record in zip(parts, records):
            stored = next(ecgs if part == "signal" else images)
            if (part, record) in self._done or row["task"] == "prediction":
                continue
            self._done.add((part, record))
            if part == "signal":
                prepared, _, _ = processor.feature_extractor.prepare({**unpack_ecg(stored), "source": stored["record_id"]})
                length = min(prepared.shape[1], signals.shape[2])
                signals[record, :, :length] = np.clip(np.round(prepared[:, :length] * 1000), -32767, 32767)
            else:
                image = processor.image_processor
                cut = image.tiles(open_image(stored))[:, 0]
                tiles[record] = np.round((cut * image.image_std + image.image_mean) * 255)

    def __len__(self) -> int:
        return len(self.items)

    def signal(self, record: int) -> np.ndarray:
        """Cleaned float32 (12, samples) in mV at the processor's rate."""
        return self.signals[record].astype(np.float32) / 1000
