"""A data set built by HeartAgent as the training scripts see it: each recording, picture or pair once, with all the
questions about it.

    python -m heartcare.agent build --source PTBXL --out HEARTCARE_400K --workers 2

[`HeartcareData`] is for a folder: signals go through the processor's own code and tiles through its image processor
    once, and what frozen encoders make of
them is kept, so that training reads memory maps. [`StreamedQuestions`] is for a data set too large for that, on the Hub
or not.
"""

import json
import zlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import nn
from tqdm import tqdm

from heartcare.agent.qa import AXIS, NOISE, NORMAL, STAGE, Labels, Question
from heartcare.agent.samples import open_image, unpack_ecg
from heartcare.modeling_heartcare import HeartcareForConditionalGeneration
from heartcare.processing_heartcare import BeatFeatureExtractor, HeartcareProcessor

from .recipe import StageRecipe

COLUMNS = [
    "task",
    "dimension",
    "modality",
    "question",
    "options",
    "answer",
    "answer_label",
    "ecgs",
    "images",
    "provenance",
]


def cleaned(stored: dict, processor: HeartcareProcessor) -> np.ndarray:
    """An element of a row's `ecgs` -> float32 (12, samples) mV, as the model takes it, without what is to be predicted."""
    return processor.feature_extractor.prepare(unpack_ecg(stored).ecg).signal


def cut(stored, processor: HeartcareProcessor) -> np.ndarray:
    """An element of a row's `images` -> uint8 (12, height, width), its lead tiles."""
    image = processor.image_processor
    tiles = image.tiles(open_image(stored))[:, 0]
    return np.round((tiles * image.image_std + image.image_mean) * 255).astype(np.uint8)


def asked(row: dict) -> Question:
    values = (row["task"], row["dimension"], "", row["question"], row["answer"])
    return Question(*values, tuple(row["options"]), tuple(row["answer_label"]))


def notes_of(codes: list[str]) -> dict[str, str]:
    """The answer to an open question about axis, stage, noise or ectopic beats -> the columns of PTB-XL that give it."""
    if codes[0] in AXIS:
        return {"heart_axis": codes[0]}
    if codes[0] in STAGE:
        return {"infarction_stadium1": codes[0]}
    if codes[0] in NOISE:
        return dict.fromkeys(codes, "noted")
    return {} if codes[0] in (NORMAL["noise"][0], NORMAL["ectopy"][0]) else {"extra_beats": codes[0].replace("+", ", ")}


def fingerprint(part: nn.Module) -> str:
    """Of its weights, so that what is kept of one part is never taken for another's."""
    key = 0
    for tensor in part.state_dict().values():
        key = zlib.crc32(tensor.detach().cpu().contiguous().view(torch.uint8).numpy(), key)
    return f"{key:08x}"


def view_of(signal: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A record as it might have been taken: half of the time only a part of it, now and then with leads left out. ->
    signal, lead_mask bool (12, samples)
    """
    leads = np.ones(12, np.int64)
    if rng.random() < 0.5:
        length = int(rng.integers(signal.shape[1] // 2, signal.shape[1]))
        start = int(rng.integers(signal.shape[1] - length))
        signal = signal[:, start : start + length]
    if rng.random() < 0.1:
        leads = (rng.random(12) < rng.choice([0.2, 0.6])).astype(np.int64)
        leads[int(rng.integers(12))] = 1
    return signal * leads[:, None], np.broadcast_to(leads[:, None] > 0, signal.shape)


def everywhere(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns a signal with the mask of leads that are there all the time."""
    return signal, np.ones(signal.shape, bool)


class HeartcareData:
    """One split of a data set.

    Args:
        folder: Of the data set, with its manifest.json.
        split: "train", "validation" or "test".
        cache: Where cleaned signals and tiles are kept; written once for each data set.
        processor: Whose feature extractor and image processor are used; None for the texts alone.
        pictures: Of so many records the pictures are used, and of all the signals.

    `items` is a list of dicts: `signals` and `tiles`, places in the caches in the order of the prompt, and `questions`.
        `labels` and `drawings` have for each record
    what the cardiologists said of it, without age and sex, and how its picture was drawn.
    """

    def __init__(
        self,
        folder: str | Path,
        split: str,
        cache: str | Path,
        processor: HeartcareProcessor | None,
        pictures: int = 4000,
    ):
        folder = Path(folder)
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        shards = [shard for shard in manifest["shards"] if shard["name"].startswith(f"{split}-")]
        if not shards:
            raise ValueError(
                f"{folder} has no split {split!r}; its shards are {[shard['name'] for shard in manifest['shards']][:4]}."
            )
        names = [name for shard in shards for name in shard["records"]]
        self.record = {name: i for i, name in enumerate(names)}
        self.items: list[dict] = []
        self.labels = [Labels({}) for _ in names]
        self.drawings: list[dict] = [{} for _ in names]
        key = zlib.crc32("".join(shard["sha256"] for shard in shards).encode())
        self.key, self.cache, paths = f"{split}_{key:08x}", Path(cache), None
        pictures = min(pictures, len(names)) if processor else 0
        if processor:
            self.cache.mkdir(parents=True, exist_ok=True)
            size = processor.image_processor.size
            tiles = f"tiles{pictures}x{size['height']}x{size['width']}"
            paths = [self.cache / f"{self.key}_{what}.npy" for what in ("signals", tiles)]
        self._read(folder, shards, processor, paths if paths and not all(map(Path.exists, paths)) else None, pictures)
        self.signals, self.tiles = (np.load(path, mmap_mode="r") for path in paths) if paths else (None, None)
        self.codes = self.gains = self.slots = None

    def _read(self, folder: Path, shards: list[dict], processor, paths, pictures: int):
        """Goes through the shards once: the items, and with `paths` the caches."""
        out = self._caches(processor, paths, pictures) if paths else (None, None)
        for shard in tqdm(shards, desc="preparing" if paths else "reading questions"):
            columns = COLUMNS if paths else [name for name in COLUMNS if name not in ("ecgs", "images")]
            grouped: dict[tuple, dict] = {}
            for batch in pq.ParquetFile(folder / shard["name"]).iter_batches(512, columns=columns):
                for row in batch.to_pylist():
                    parts = row["modality"].split("-")
                    sources = json.loads(row["provenance"])["records"]
                    records = [self.record[each["id"]] for each in sources]
                    for record, source in zip(records, sources):
                        self.labels[record].statements = source["statements"]
                        self.drawings[record] = source.get("drawing", self.drawings[record])
                    if row["task"] == "open-qa" and row["dimension"] == "misc":
                        labels = self.labels[records[0]]
                        labels.notes = {"heart_axis": "", **labels.notes, **notes_of(row["answer_label"])}
                    if any(part == "image" and record >= pictures for part, record in zip(parts, records)) and pictures:
                        continue
                    self._keep(row, parts, records, processor, *out)
                    item = grouped.setdefault(
                        (row["modality"], *records), {"signals": [], "tiles": [], "questions": []}
                    )
                    if not item["questions"]:
                        for part, record in zip(parts, records):
                            item["signals" if part == "signal" else "tiles"].append(record)
                    item["questions"].append(asked(row))
            self.items += grouped.values()
        for array, path in zip(out, paths or ()):
            array.flush()
            path.with_suffix(".partial.npy").rename(path)

    def _caches(self, processor, paths, pictures: int):
        size = processor.image_processor.size
        extractor = processor.feature_extractor
        shapes = (
            (len(self.record), 12, 10 * extractor.sampling_rate),
            (max(1, pictures), 12, size["height"], size["width"]),
        )
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
                prepared = cleaned(stored, processor)
                length = min(prepared.shape[1], signals.shape[2])
                signals[record, :, :length] = np.clip(np.round(prepared[:, :length] * 1000), -32767, 32767)
            else:
                tiles[record] = cut(stored, processor)

    def __len__(self) -> int:
        return len(self.items)

    def signal(self, record: int) -> np.ndarray:
        """Cleaned float32 (12, samples) in mV at the processor's rate."""
        return self.signals[record].astype(np.float32) / 1000

    @torch.no_grad()
    def encode_signals(self, model: HeartcareForConditionalGeneration, views: int, seed: int, batch_size: int = 64):
        """Beat's tokens of every record, once: of the whole, and of `views` - 1 views at random (`view_of`). Sets
        `codes` int16 (records, views, levels, latents), -1 on the left where a view is shorter, and `gains` float32
        (records, views), mV.
        """
        beat = model.beat.eval()
        stem = self.cache / f"{self.key}_{fingerprint(beat)}_{views}x{seed}"
        paths = [stem.with_name(f"{stem.name}_{what}.npy") for what in ("codes", "gains")]
        if not paths[1].exists():
            shape = (len(self.signals), views, beat.config.num_levels, beat.num_latents(self.signals.shape[2]))
            codes, gains = np.full(shape, -1, np.int16), np.zeros(shape[:2], np.float32)
            extractor = BeatFeatureExtractor(
                sampling_rate=beat.config.sampling_rate, samples_per_latent=beat.config.samples_per_latent
            )
            every = [(record, view) for record in range(len(codes)) for view in range(views)]
            for start in tqdm(range(0, len(every), batch_size), desc="encoding signals"):
                places = every[start : start + batch_size]
                seen = [
                    view_of(self.signal(record), np.random.default_rng((seed, record, view)))
                    if view
                    else everywhere(self.signal(record))
                    for record, view in places
                ]
                batch = extractor.pad(*zip(*seen), return_tensors="pt").to(beat.device)
                tokens = beat.encode(**batch)
                for place, each, gain in zip(places, tokens.codes.cpu().numpy(), tokens.gain.tolist()):
                    codes[place][:, codes.shape[-1] - each.shape[-1] :] = each
                    gains[place] = gain
            for path, array in zip(paths, (codes, gains)):
                np.save(path, array)
        self.codes, self.gains = (np.load(path, mmap_mode="r") for path in paths)

    @torch.no_grad()
    def encode_pictures(self, model: HeartcareForConditionalGeneration, packer, batch_size: int = 16):
        """What the projector takes of every picture, once, for a ViT that is not trained. Sets `slots` float16
        (pictures, tiles * slots, width).
        """
        path = (
            self.cache
            / f"{self.key}_{fingerprint(model.vision_tower)}_slots{len(self.tiles)}x{model.config.image_slots_per_tile}.npy"
        )
        if not path.exists():
            done = []
            for start in tqdm(range(0, len(self.tiles), batch_size), desc="encoding pictures"):
                pixels = packer.images([{"tiles": list(self.tiles[start : start + batch_size])}])["pixel_values"]
                done.append(model.eval().get_image_slots(pixels.to(model.device)).half().cpu().numpy())
            np.save(path, np.concatenate(done))
        self.slots = np.load(path, mmap_mode="r")

    def coded(self, record: int, view: int) -> tuple[np.ndarray, float]:
        """-> codes (levels, latents) of that view, gain in mV."""
        codes = self.codes[record, view]
        return codes[:, codes[0] >= 0], float(self.gains[record, view])


class Records:
    """The records of a split one by one, as `PTBXL` has those of its folds."""

    def __init__(self, data: HeartcareData):
        self.data, self.signal = data, data.signal

    def __len__(self) -> int:
        return len(self.data.signals)


class StreamedQuestions(torch.utils.data.IterableDataset):
    """One question after the other, as they come: nothing is kept but a buffer for shuffling. Processes and workers
    share the shards.

    Args:
        source: A data set on the Hub, or the folder of one.
        split, processor: As above.
        stage: Which rows, and whether ECGs are seen.
        seed: Of the order of the training split; the others keep theirs.
        limit: At most so many rows.
        buffer: Rows that are shuffled.
    """

    def __init__(
        self,
        source: str,
        split: str,
        processor: HeartcareProcessor,
        stage: StageRecipe,
        seed: int = 0,
        limit: int | None = None,
        buffer: int = 1000,
    ):
        from datasets import load_dataset

        self.processor, self.ecgs = processor, stage.ecgs
        rows = load_dataset(source, split=split, streaming=True)
        if stage.task:
            rows = rows.filter(lambda row: row["task"] == stage.task)
        if not stage.pairs:
            rows = rows.filter(lambda row: "-" not in row["modality"])
        if split == "train":
            rows = rows.shuffle(seed=seed, buffer_size=buffer)
        self.rows = rows.take(limit) if limit else rows

    def set_epoch(self, epoch: int):
        self.rows.set_epoch(epoch)

    def __iter__(self):
        for row in self.rows:
            item = {"questions": [asked(row)]}
            if self.ecgs:
                item["signals"] = [everywhere(cleaned(ecg, self.processor)) for ecg in row["ecgs"]]
                item["tiles"] = [cut(image, self.processor) for image in row["images"]]
            yield item
