"""Writes the rows of the data set, and makes conversations of them again.

A recording or picture stands in a row for every question about it. In the file it stands once: Parquet's dictionary
encoding keeps each distinct value of a column chunk once, so that a shard of twenty questions a record is hardly larger
than its records.
"""

import io
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from ..ecg_heartcare import ECG, LEADS
from .qa import Question

NOT_RECORDED = -32768  # in the samples of a row, as in WFDB

_PART = pa.struct([("type", pa.string()), ("text", pa.string())])
_ECG = pa.struct(
    [
        ("signal", pa.binary()),
        ("scale", pa.float64()),
        ("sampling_rate", pa.float64()),
        ("leads", pa.list_(pa.string())),
        ("target_samples", pa.int32()),
        ("record_id", pa.string()),
    ]
)
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("task", pa.string()),
        ("dimension", pa.string()),
        ("modality", pa.string()),
        ("question", pa.string()),
        ("options", pa.list_(pa.string())),
        ("answer", pa.string()),
        ("answer_label", pa.list_(pa.string())),
        ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.list_(_PART))]))),
        ("ecgs", pa.list_(_ECG)),
        ("images", pa.list_(_IMAGE)),
        ("patient_id", pa.list_(pa.string())),
        ("fold", pa.int32()),
        ("provenance", pa.string()),
    ]
)
COLUMNS = {
    "id": "record, task, topic, modality and number: unique",
    "task": "closed-qa, open-qa, verify-qa (yes or no), comparison-qa, report, prediction",
    "dimension": "diagnosis, waveform, rhythm, misc; superclass, report, prediction",
    "modality": "signal, image, signal-signal, image-image, signal-image",
    "question": "as a user asks it, with age and sex",
    "options": "of closed questions, else empty",
    "answer": "the text to learn; `<prediction>` for signal prediction",
    "answer_label": "SCP-ECG codes (or yes, no, seconds); of open comparisons those of the first ECG, `->`, those of "
    "the second",
    "messages": "the chat, for apply_chat_template",
    "ecgs": "signal (int16, little endian, leads x samples; times scale gives mV, -32768 is a gap), sampling_rate, "
    "leads, target_samples (the last samples, which are to be predicted), record_id",
    "images": "PNG or JPEG",
    "patient_id": "of each ECG; a pseudonym",
    "fold": "1 to 10; 9 is validation, 10 test",
    "provenance": "JSON: records, statements with likelihoods, quality by lead, every change made, how the picture was "
    "drawn",
}


@dataclass
class PackedECG:
    """The leads as a row stores them: little-endian int16 times `scale` is mV, -32768 is a gap."""

    record_id: str
    signal: bytes
    scale: float
    sampling_rate: float
    leads: tuple[str, ...]

    @classmethod
    def pack(cls, record_id: str, signal: np.ndarray, sampling_rate: float) -> "PackedECG":
        """Packs `signal`, (12, samples) in mV with NaN where nothing was recorded, in steps of 1 uV or, above 32 mV, in
        the smallest that 16 bits allow. Leads without any sample are left out.
        """
        recorded = np.isfinite(signal)
        kept = recorded.any(axis=1)
        signal = np.where(recorded, signal, 0.0)[kept]
        scale = max(0.001, float(np.abs(signal).max(initial=0)) / 32767)
        steps = np.where(recorded[kept], np.round(signal / scale), NOT_RECORDED).astype("<i2")
        leads = tuple(lead for lead, present in zip(LEADS, kept) if present)
        return cls(record_id, steps.tobytes(), scale, sampling_rate, leads)


@dataclass
class Sample:
    """One row before it is written; `ecgs` and `images` are shared between the rows of a record."""

    id: str
    modality: str
    question: Question
    ecgs: list[PackedECG]
    images: list[bytes]
    patients: list[str]
    fold: int
    provenance: dict = field(default_factory=dict)


class UnpackedECG(NamedTuple):
    """An ECG out of a row.

    Attributes:
        ecg: The recording, without the samples that are to be predicted.
        target: float32 (leads, samples) in mV, the samples that are to be predicted; None where there are none.
    """

    ecg: ECG
    target: np.ndarray | None

    @property
    def whole(self) -> ECG:
        """The recording with the samples that are to be predicted."""
        if self.target is None:
            return self.ecg
        return replace(self.ecg, signal=np.concatenate([self.ecg.signal, self.target], axis=1))


def unpack_ecg(stored: dict) -> UnpackedECG:
    """Returns the ECG of an element of a row's `ecgs`."""
    steps = np.frombuffer(stored["signal"], "<i2").reshape(len(stored["leads"]), -1)
    signal = steps.astype(np.float32) * np.float32(stored["scale"])
    signal[steps == NOT_RECORDED] = np.nan
    context = signal.shape[1] - stored["target_samples"]
    ecg = ECG(signal[:, :context], stored["sampling_rate"], tuple(stored["leads"]), stored["record_id"])
    return UnpackedECG(ecg, signal[:, context:] if stored["target_samples"] else None)


def conversation(row: dict) -> list[dict]:
    """Returns a row's `messages` with its ECGs and pictures put in, ready for `processor.apply_chat_template(...,
    tokenize=True)`.
    """
    ecgs, images = iter(row["ecgs"]), iter(row["images"])
    messages = []
    for message in row["messages"]:
        parts = []
        for part in message["content"]:
            if part["type"] == "ecg":
                parts.append({"type": "ecg", **unpack_ecg(next(ecgs)).ecg.as_input()})
            elif part["type"] == "image":
                parts.append({"type": "image", "image": open_image(next(images))})
            else:
                parts.append({"type": "text", "text": part["text"]})
        messages.append({"role": message["role"], "content": parts})
    return messages


def open_image(image: dict | Image.Image) -> Image.Image:
    """Returns the RGB picture of an element of a row's `images`: `{"bytes": ...}` from Parquet, or a picture from the
    datasets package.
    """
    return (Image.open(io.BytesIO(image["bytes"])) if isinstance(image, dict) else image).convert("RGB")


def write_shard(path: str | Path, samples: list[Sample]):
    """Writes the rows to a Parquet file; the same rows give the same bytes."""
    questions = [sample.question for sample in samples]
    columns = {
        "id": [sample.id for sample in samples],
        "task": [question.task for question in questions],
        "dimension": [question.dimension for question in questions],
        "modality": [sample.modality for sample in samples],
        "question": [question.question for question in questions],
        "options": [question.options for question in questions],
        "answer": [question.answer for question in questions],
        "answer_label": [question.answer_label for question in questions],
        "messages": [_messages(sample) for sample in samples],
        "patient_id": [sample.patients for sample in samples],
        "fold": [sample.fold for sample in samples],
        "provenance": [json.dumps(sample.provenance, ensure_ascii=False, sort_keys=True) for sample in samples],
    }
    arrays = {name: pa.array(values, SCHEMA.field(name).type) for name, values in columns.items()}
    arrays |= {"ecgs": _ecg_column(samples), "images": _image_column(samples)}
    table = pa.table({field.name: arrays[field.name] for field in SCHEMA})
    # One row group; without Arrow's own schema, so that readers see plain binary columns and not dictionaries.
    pq.write_table(
        table,
        path,
        compression="zstd",
        store_schema=False,
        row_group_size=max(1, len(table)),
        dictionary_pagesize_limit=2**30,
    )


def _ecg_column(samples: list[Sample]) -> pa.Array:
    """Makes the column `ecgs`, in which each signal is stored once."""
    ecgs = list({id(ecg): ecg for sample in samples for ecg in sample.ecgs}.values())
    place = {id(ecg): i for i, ecg in enumerate(ecgs)}
    used = [ecg for sample in samples for ecg in sample.ecgs]
    hidden = [_target_samples(sample, ecg) for sample in samples for ecg in sample.ecgs]
    signals = pa.array([ecg.signal for ecg in ecgs], pa.binary())
    columns = [
        pa.DictionaryArray.from_arrays(pa.array([place[id(ecg)] for ecg in used], pa.int32()), signals),
        pa.array([ecg.scale for ecg in used], pa.float64()),
        pa.array([ecg.sampling_rate for ecg in used], pa.float64()),
        pa.array([ecg.leads for ecg in used], pa.list_(pa.string())),
        pa.array(hidden, pa.int32()),
        pa.array([ecg.record_id for ecg in used], pa.string()),
    ]
    elements = pa.StructArray.from_arrays(columns, names=[part.name for part in _ECG])
    return pa.ListArray.from_arrays(_offsets(sample.ecgs for sample in samples), elements)


def _image_column(samples: list[Sample]) -> pa.Array:
    """Makes the column `images`, in which each picture is stored once."""
    pictures = list(dict.fromkeys(image for sample in samples for image in sample.images))
    place = {image: i for i, image in enumerate(pictures)}
    used = [place[image] for sample in samples for image in sample.images]
    encoded = pa.DictionaryArray.from_arrays(pa.array(used, pa.int32()), pa.array(pictures, pa.binary()))
    elements = pa.StructArray.from_arrays([encoded, pa.nulls(len(used), pa.string())], names=["bytes", "path"])
    return pa.ListArray.from_arrays(_offsets(sample.images for sample in samples), elements)


def _offsets(lists) -> pa.Array:
    return pa.array(
        np.concatenate([[0], np.cumsum([len(values) for values in lists], dtype=np.int64)]).astype(np.int32)
    )


def _target_samples(sample: Sample, ecg: PackedECG) -> int:
    if sample.question.task != "prediction":
        return 0
    return round(int(sample.question.answer_label[0]) * ecg.sampling_rate)


def _messages(sample: Sample) -> list[dict]:
    parts = [{"type": "image" if part == "image" else "ecg", "text": None} for part in sample.modality.split("-")]
    question = {"role": "user", "content": [*parts, {"type": "text", "text": sample.question.question}]}
    return [question, {"role": "assistant", "content": [{"type": "text", "text": sample.question.answer}]}]
