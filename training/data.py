"""A data set built by HeartAgent as the training reads it: each recording, picture or pair once, with all the questions
about it.

    python -m heartcare.agent build --source PTBXL --out HEARTCARE_400K --workers 2

[`HeartcareData`] reads a folder: signals go through the processor's own code and tiles through its image processor
once, and the outputs of frozen encoders are cached, so that training reads memory maps. [`StreamedQuestions`] is for a
data set that is too large for that, on the Hub or in a folder.
"""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import nn
from tqdm import tqdm

from heartcare.agent.qa import Labels, Question
from heartcare.agent.samples import NOT_RECORDED, open_image, unpack_ecg
from heartcare.extraction_heartcare import BeatFeatureExtractor
from heartcare.findings_heartcare import numbers_of, recorded_part
from heartcare.measuring_heartcare import as_plain, measure_ecg, measurement_line
from heartcare.modeling_heartcare import HeartcareForConditionalGeneration
from heartcare.processing_heartcare import HeartcareProcessor
from heartcare.scp_heartcare import AXIS, NOISE, NORMAL, STAGE

from .caches import fingerprint, measuring_code, write_whole
from .recipe import StageRecipe
from .recordings import BeatTokens, CleanedSignal, LeadTiles, TrainingItem

QUESTION_COLUMNS = [
    "task",
    "dimension",
    "modality",
    "question",
    "options",
    "answer",
    "answer_label",
    "provenance",
]


@dataclass
class RecordGroup:
    """One or two records as the data set shows them, with all questions about them.

    Attributes:
        modality: "signal" or "image" for each record, in the order of the prompt.
        records: Number of each record in its split.
        questions: Questions in the order of the data set.
    """

    modality: tuple[str, ...]
    records: tuple[int, ...]
    questions: list[Question] = field(default_factory=list)


class HeartcareData:
    """One split of a data set.

    Args:
        folder: Folder of the data set, with its manifest.json.
        split: "train", "validation" or "test".
        cache: Folder for cleaned signals and tiles, which are written once for each data set.
        processor: Its feature extractor and image processor are used; None for the texts alone.
        pictures: Number of records whose pictures are used; signals are used for all.

    Attributes:
        groups: A `RecordGroup` for each recording, picture and pair.
        record: Id of a record -> its number.
        labels: Cardiologists' labels of each record, without age and sex.
        drawings: Settings by which the picture of each record was drawn; empty where there is none.
        tiles: uint8 (pictures, 12, height, width).
        slots: float16 (pictures, tiles * slots, width), after `encode_pictures`.
        measured: Measurements of each record as plain values, after `measure_signals`.
        lines: The same as the prompt shows them.
        numbers: The same as the model gets them, float32 (records, numbers), NaN for what could not be measured.

    Raises: `ValueError` for a split that the data set does not have.
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
            names = [shard["name"] for shard in manifest["shards"]]
            raise ValueError(f"{folder} has no split {split!r}; its shards are {names[:4]}.")
        names = [name for shard in shards for name in shard["records"]]
        self.record = {name: i for i, name in enumerate(names)}
        self.groups: list[RecordGroup] = []
        self.labels = [Labels({}) for _ in names]
        self.drawings: list[dict] = [{} for _ in names]
        key = zlib.crc32("".join(shard["sha256"] for shard in shards).encode())
        self._stem = Path(cache) / f"{split}_{key:08x}"
        pictures = min(pictures, len(names)) if processor else 0
        records = RecordCache(self._stem, processor, len(names), pictures) if processor else None
        self._read([folder / shard["name"] for shard in shards], records, pictures)
        self._signals, self.tiles = records.load() if records else (None, None)
        self._codes = self._gains = self.slots = None
        self.measured: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self.numbers = np.zeros((0, 0), np.float32)

    def _read(self, shards: list[Path], cache: "RecordCache | None", pictures: int) -> None:
        """Reads all rows once: the groups, the labels, and, while it is incomplete, the cache."""
        fill = cache is not None and not cache.complete
        columns = [*QUESTION_COLUMNS, *(("ecgs", "images") if fill else ())]
        groups: dict[tuple, RecordGroup] = {}
        for shard in tqdm(shards, desc="preparing" if fill else "reading questions"):
            for row in rows_of(shard, columns):
                modality = tuple(row["modality"].split("-"))
                records = self._note_labels(row)
                if cache and any(m == "image" and record >= pictures for m, record in zip(modality, records)):
                    continue
                if fill:
                    cache.add(row, modality, records)
                group = groups.setdefault((shard, modality, records), RecordGroup(modality, records))
                group.questions.append(question_of(row))
        self.groups = list(groups.values())
        if fill:
            cache.finish()

    def _note_labels(self, row: dict) -> tuple[int, ...]:
        """Notes what a row says about its records, and returns their numbers."""
        sources = json.loads(row["provenance"])["records"]
        records = tuple(self.record[source["id"]] for source in sources)
        for record, source in zip(records, sources):
            self.labels[record].statements = source["statements"]
            self.drawings[record] = source.get("drawing", self.drawings[record])
        if row["task"] == "open-qa" and row["dimension"] == "misc":
            labels = self.labels[records[0]]
            labels.notes = {"heart_axis": "", **labels.notes, **notes_of(row["answer_label"])}
        return records

    def __len__(self) -> int:
        """Number of records."""
        return len(self.labels)

    def cleaned(self, record: int) -> CleanedSignal:
        """Returns the whole signal of a record at the processor's rate, from its first sample to the last one of any
        lead.
        """
        steps = self._signals[record]
        recorded = steps != NOT_RECORDED
        stop = int(np.flatnonzero(recorded.any(axis=0))[-1]) + 1
        signal = np.where(recorded, steps, 0).astype(np.float32) / 1000
        return CleanedSignal(signal[:, :stop], recorded[:, :stop])

    def signal(self, record: int) -> np.ndarray:
        """Returns the whole signal of a record, float32 (12, samples) in mV, 0 where nothing was recorded."""
        return self.cleaned(record).signal

    @property
    def views(self) -> int:
        """Number of views of each signal, after `encode_signals`."""
        return self._codes.shape[1]

    def tokens(self, record: int, view: int) -> BeatTokens:
        """Returns Beat's tokens of one view of a signal, after `encode_signals`."""
        codes = self._codes[record, view]
        return BeatTokens(codes[:, codes[0] >= 0], float(self._gains[record, view]))

    def view(self, record: int, view: int, seed: int) -> CleanedSignal:
        """Returns the whole signal as view 0, and a random view as each other one (`random_view`)."""
        whole = self.cleaned(record)
        return random_view(whole, np.random.default_rng((seed, record, view))) if view else whole

    @torch.no_grad()
    def encode_signals(
        self, model: HeartcareForConditionalGeneration, views: int, seed: int, batch_size: int = 64
    ) -> None:
        """Caches Beat's tokens of every record: of the whole, and of `views` - 1 random views. The cache holds `codes`,
        int16 (records, views, levels, latents), -1 on the left where a view is shorter, and `gains`, float32 (records,
        views) in mV.
        """
        beat = model.beat.eval()
        paths = [self._cache_path(beat, f"{views}x{seed}_{name}") for name in ("codes", "gains")]
        if not paths[1].exists():
            shape = (len(self), views, beat.config.num_levels, beat.num_latents(self._signals.shape[2]))
            codes, gains = np.full(shape, -1, np.int16), np.zeros(shape[:2], np.float32)
            extractor = BeatFeatureExtractor(
                sampling_rate=beat.config.sampling_rate, samples_per_latent=beat.config.samples_per_latent
            )
            places = [(record, view) for record in range(len(self)) for view in range(views)]
            for start in tqdm(range(0, len(places), batch_size), desc="encoding signals"):
                batch = places[start : start + batch_size]
                signals, lead_masks = zip(*(self.view(record, view, seed)[:2] for record, view in batch))
                tokens = beat.encode(**extractor.pad(signals, lead_masks, return_tensors="pt").to(beat.device))
                for place, latents, gain in zip(batch, tokens.codes.cpu().numpy(), tokens.gain.tolist()):
                    codes[place][:, codes.shape[-1] - latents.shape[-1] :] = latents
                    gains[place] = gain
            for path, array in zip(paths, (codes, gains)):
                write_whole(path, array)
        self._codes, self._gains = (np.load(path, mmap_mode="r") for path in paths)

    def measure_signals(self, sampling_rate: float) -> None:
        """Caches the measurements of every record, whose signals have this rate in Hz, as plain values and as the model
        gets them.
        """
        stem = f"{self._stem.name}_{measuring_code()}"
        paths = [self._stem.with_name(f"{stem}_{name}") for name in ("measured.json", "numbers.npy")]
        if not paths[1].exists():
            measurements, numbers = [], []
            for record in tqdm(range(len(self)), desc="measuring"):
                signal, lead_mask = self.cleaned(record)[:2]
                measurements.append(as_plain(measure_ecg(signal, sampling_rate, lead_mask)))
                part = recorded_part(signal, lead_mask)
                numbers.append(numbers_of(measurements[-1], *part, sampling_rate))
            write_whole(paths[0], json.dumps(measurements))
            write_whole(paths[1], np.stack(numbers))
        self.measured = json.loads(paths[0].read_text(encoding="utf-8"))
        self.lines = [measurement_line(each) for each in self.measured]
        self.numbers = np.load(paths[1])

    @torch.no_grad()
    def encode_pictures(self, model: HeartcareForConditionalGeneration, packer: Any, batch_size: int = 16) -> None:
        """Caches the input of the image projector for every picture, for a ViT that is not trained, as `slots`.

        Args:
            model: The model whose ViT is frozen.
            packer: The `QuestionPacker`, which makes pixels of tiles.
            batch_size: Number of pictures at a time.
        """
        slots = f"slots{len(self.tiles)}x{model.config.image_slots_per_tile}"
        path = self._cache_path(model.vision_tower, slots)
        if not path.exists():
            states = []
            for start in tqdm(range(0, len(self.tiles), batch_size), desc="encoding pictures"):
                pictures = [LeadTiles(tiles) for tiles in self.tiles[start : start + batch_size]]
                pixels = packer.pixel_values(pictures)["pixel_values"].to(model.device)
                states.append(model.eval().get_image_slots(pixels).half().cpu().numpy())
            write_whole(path, np.concatenate(states))
        self.slots = np.load(path, mmap_mode="r")

    def _cache_path(self, encoder: nn.Module, name: str) -> Path:
        return self._stem.with_name(f"{self._stem.name}_{fingerprint(encoder)}_{name}.npy")


class StreamedQuestions(torch.utils.data.IterableDataset):
    """One question after the other, in the order of the data set: nothing is kept but a buffer for shuffling. Processes
    and workers share the shards.

    Args:
        source: Name of a data set on the Hub, or the folder of one.
        split: As in `HeartcareData`.
        processor: The processor whose code cleans signals and cuts tiles.
        stage: Rows that are used, and whether ECGs are seen.
        seed: Seed of the order of the training split; the other splits keep theirs.
        limit: Number of rows at most.
        buffer: Number of rows that are shuffled at a time.
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

        self.processor, self.ecgs, self.numbers = processor, stage.ecgs, stage.numbers
        self.rng = np.random.default_rng(seed)
        rows = load_dataset(source, split=split, streaming=True)
        if stage.task:
            rows = rows.filter(lambda row: row["task"] == stage.task)
        if not stage.pairs:
            rows = rows.filter(lambda row: "-" not in row["modality"])
        if split == "train":
            rows = rows.shuffle(seed=seed, buffer_size=buffer)
        self.rows = rows.take(limit) if limit else rows

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch, which changes the order of the training split."""
        self.rows.set_epoch(epoch)

    def __iter__(self) -> Iterator[TrainingItem]:
        for row in self.rows:
            recordings = []
            if self.ecgs:
                ecgs, images = iter(row["ecgs"]), iter(row["images"])
                for part in row["modality"].split("-"):
                    if part == "signal":
                        measured = bool(self.rng.random() < self.numbers)
                        recordings.append(clean_signal(next(ecgs), self.processor, measured))
                    else:
                        recordings.append(LeadTiles(cut_tiles(next(images), self.processor)))
            yield TrainingItem([question_of(row)], recordings)


class RecordCache:
    """Cleaned signals and lead tiles of a split, as memory maps that are written once.

    Args:
        stem: Path of the files, without the ends of their names.
        processor: Its feature extractor and image processor are used.
        records: Number of records.
        pictures: Number of records whose pictures are kept.
    """

    def __init__(self, stem: Path, processor: HeartcareProcessor, records: int, pictures: int):
        size, self.processor = processor.image_processor.size, processor
        height, width = size["height"], size["width"]
        names = ("signals", f"tiles{pictures}x{height}x{width}")
        self.paths = [stem.with_name(f"{stem.name}_{name}.npy") for name in names]
        self.shapes = (
            (records, 12, 10 * processor.feature_extractor.sampling_rate),
            (max(1, pictures), 12, height, width),
        )
        self.complete = all(path.exists() for path in self.paths)
        self._written: set[tuple[str, int]] = set()
        if not self.complete:
            stem.parent.mkdir(parents=True, exist_ok=True)
            self._arrays = [
                np.lib.format.open_memmap(path.with_suffix(".partial.npy"), "w+", dtype, shape)
                for path, dtype, shape in zip(self.paths, (np.int16, np.uint8), self.shapes)
            ]

    def add(self, row: dict, modality: tuple[str, ...], records: tuple[int, ...]) -> None:
        """Cleans the signals and cuts the pictures of a row that are not in the cache yet."""
        if row["task"] == "prediction":  # its signal is cut short
            return
        signals, tiles = self._arrays
        ecgs, images = iter(row["ecgs"]), iter(row["images"])
        for part, record in zip(modality, records):
            stored = next(ecgs if part == "signal" else images)
            if (part, record) in self._written:
                continue
            self._written.add((part, record))
            if part == "signal":
                signal, lead_mask = (array[:, : signals.shape[2]] for array in clean_signal(stored, self.processor)[:2])
                steps = np.clip(np.round(signal * 1000), -32767, 32767)
                signals[record] = NOT_RECORDED
                signals[record, :, : signal.shape[1]] = np.where(lead_mask, steps, NOT_RECORDED)
            else:
                tiles[record] = cut_tiles(stored, self.processor)

    def finish(self) -> None:
        """Gives the files their names, once all rows were added."""
        for array, path in zip(self._arrays, self.paths):
            array.flush()
            path.with_suffix(".partial.npy").rename(path)

    def load(self) -> list[np.ndarray]:
        """Maps signals, int16 (records, 12, samples) in uV or NOT_RECORDED, and tiles, uint8 (pictures, 12, H, W)."""
        return [np.load(path, mmap_mode="r") for path in self.paths]


def rows_of(shard: Path, columns: list[str]) -> Iterator[dict]:
    """Yields the rows of a Parquet file, one by one."""
    for batch in pq.ParquetFile(shard).iter_batches(512, columns=columns):
        yield from batch.to_pylist()


def question_of(row: dict) -> Question:
    """Returns the question of a row of the data set, without its topic, which is not stored there."""
    values = (row["task"], row["dimension"], "", row["question"], row["answer"])
    return Question(*values, tuple(row["options"]), tuple(row["answer_label"]))


def notes_of(codes: list[str]) -> dict[str, str]:
    """Returns PTB-XL's columns that give an answer to an open question about axis, stage, noise or ectopic beats.

    Args:
        codes: Codes of the answer.
    """
    if codes[0] in AXIS:
        return {"heart_axis": codes[0]}
    if codes[0] in STAGE:
        return {"infarction_stadium1": codes[0]}
    if codes[0] in NOISE:
        return dict.fromkeys(codes, "noted")
    return {} if codes[0] in (NORMAL["noise"][0], NORMAL["ectopy"][0]) else {"extra_beats": codes[0].replace("+", ", ")}


def random_view(whole: CleanedSignal, rng: np.random.Generator) -> CleanedSignal:
    """Returns a random view of a record: half of the views are a part of it, at least half as long, and a tenth lacks
    leads.
    """
    signal, lead_mask = whole[:2]
    if rng.random() < 0.5:
        length = int(rng.integers(signal.shape[1] // 2, signal.shape[1]))
        start = int(rng.integers(signal.shape[1] - length))
        signal, lead_mask = (array[:, start : start + length] for array in (signal, lead_mask))
    if rng.random() < 0.1:
        leads = rng.random(12) < rng.choice([0.2, 0.6])
        leads[int(rng.integers(12))] = True
        signal, lead_mask = signal * leads[:, None], lead_mask & leads[:, None]
    return CleanedSignal(signal, lead_mask)


def clean_signal(stored: dict, processor: HeartcareProcessor, measured: bool = False) -> CleanedSignal:
    """Cleans an element of a row's `ecgs`, without the samples that are to be predicted.

    Args:
        stored: The element.
        processor: Its feature extractor cleans the signal.
        measured: If True, the signal is measured, and has its numbers in the form in which the processor shows them.
    """
    prepared = processor.feature_extractor.prepare(unpack_ecg(stored).ecg, measure=measured)
    recording = CleanedSignal(prepared.signal, prepared.lead_mask)
    if measured and processor.write_measurements:
        recording = recording._replace(line=measurement_line(prepared.measurements))
    if measured and processor.evidence_tokens:
        part = recorded_part(prepared.signal, prepared.lead_mask)
        numbers = numbers_of(prepared.measurements, *part, processor.feature_extractor.sampling_rate)
        recording = recording._replace(numbers=numbers)
    return recording


def cut_tiles(stored: Any, processor: HeartcareProcessor) -> np.ndarray:
    """Returns the lead tiles of an element of a row's `images`, uint8 (12, height, width)."""
    image = processor.image_processor
    tiles = image.tiles(open_image(stored))[:, 0]
    return np.round((tiles * image.image_std + image.image_mean) * 255).astype(np.uint8)
