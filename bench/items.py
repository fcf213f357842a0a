"""Takes the items of the benchmark out of a data set that HeartAgent built, and freezes them by a manifest of ids and
hashes, so that everybody scores the same.

python -m heartcare.agent build --source PTBXL --out DATA      rows, each with its ECGs, pictures and truth
freeze(DATA) -> manifest                                       a number of each kind, by the hash of their ids
read_items(DATA, manifest) -> [Item]                           those, and an error if any of them is not what it was
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
from tqdm import tqdm

from ..agent.samples import open_image, unpack_ecg
from ..version_heartcare import HEARTCARE_VERSION

VERSION = 1
OFFICIAL = Path(__file__).parent / "manifests" / "ptbxl-test.json"
SUBSETS = {"S": ("signal",), "I": ("image",), "C": ("signal-signal", "image-image", "signal-image")}
SUBSET_OF = {modality: subset for subset, modalities in SUBSETS.items() for modality in modalities}
TASKS = ("closed-qa", "open-qa", "comparison-qa", "report", "prediction", "classification", "ecg-qa")
PER_GROUP = 250
PICTURES_CLASSIFIED = 500
_LIGHT = ["id", "task", "dimension", "modality", "options", "patient_id"]
_BODY = re.compile(r"(?:Rhythm|Axis|Waveform|Diagnosis): .*", re.S)


@dataclass(frozen=True)
class Item:
    """One question, or for classification one record, with its truth.

    Attributes:
        id: As in the data set.
        subset: "S" signal, "I" image, "C" comparison of two.
        task: One of `TASKS`.
        group: Dimension (diagnosis, waveform, rhythm, misc); of comparisons the modalities and "consecutive" (one
            patient) or "irrelevant" (two); of ECG-QA the type of question.
        topic: Subject of the question; finer than the dimension.
        modality: "signal", "image", "signal-signal", "image-image", "signal-image".
        question, options, answer: Texts; no options but for closed questions.
        label: Codes of the answer; seconds of a prediction; ECG-QA's list of answers.
        patients: Pseudonyms.
        statements: For each record, code -> likelihood.
        ecgs, images: As the data set's row stores them.
    """

    id: str
    subset: str
    task: str
    group: str
    topic: str
    modality: str
    question: str
    options: tuple[str, ...]
    answer: str
    label: tuple[str, ...]
    patients: tuple[str, ...]
    statements: tuple[dict, ...]
    ecgs: tuple[dict, ...] = field(repr=False)
    images: tuple[dict, ...] = field(repr=False)

    @property
    def right(self) -> str:
        """The right option of a closed question, as it stands among the options."""
        return next(option for option in self.options if option.casefold() == self.answer.rstrip(".").casefold())

    def parts(self) -> list[dict]:
        """Returns the recordings and pictures as content of a chat: `{"type": "ecg", "signal": (leads, samples) mV,
        ...}`, `{"type": "image", "image": RGB}`.
        """
        ecgs, images = iter(self.ecgs), iter(self.images)
        content = []
        for part in self.modality.split("-"):
            if part == "signal":
                content.append({"type": "ecg", **unpack_ecg(next(ecgs)).ecg.as_input()})
            else:
                content.append({"type": "image", "image": open_image(next(images))})
        return content


def freeze(
    data: str | Path, split: str = "test", name: str = "heartcare-bench", per_group: int = PER_GROUP, seed: int = 0
) -> dict:
    """Chooses the items of a benchmark.

    Args:
        data: Folder of a data set built by HeartAgent.
        split: "test", "validation" or "train".
        name: Name of the benchmark.
        per_group: Number of items of each task, dimension and modality; of classification all signals are taken, and
            500 pictures.
        seed: Seed of the choice.

    Returns: the manifest: "items", a list of [id, hash of question, truth and signals, hash of the pictures], and
        "majority", the best answers of a reader who never looks at an ECG, counted on the training split (on this one,
        where there is no training split).

    Raises: `ValueError` when the data set has no such split.
    """
    data = Path(data)
    source = _manifest_of(data)
    groups: dict[tuple, list[str]] = {}
    for shard in tqdm(_shards(source, split), desc="choosing"):
        for row in _light_rows(data / shard):
            for item_id, kind in _candidates(row):
                groups.setdefault(kind, []).append(item_id)
    chosen = set()
    for (subset, task, _), ids in groups.items():
        limit = per_group
        if task == "classification":
            limit = None if subset == "S" else PICTURES_CLASSIFIED
        chosen |= set(sorted(ids, key=lambda item_id: hashlib.sha256(f"{seed}|{item_id}".encode()).digest())[:limit])
    items = sorted(_read(data, _shards(source, split), chosen), key=lambda item: item.id)
    training = [shard["name"] for shard in source["shards"] if shard["name"].startswith("train-")]
    return {
        "name": name,
        "version": VERSION,
        "heartcare_version": HEARTCARE_VERSION,
        "split": split,
        "seed": seed,
        "source": {key: source[key] for key in ("name", "version", "settings")},
        "majority": count_majority(data, training or _shards(source, split)),
        "items": [[item.id, content_hash(item), picture_hash(item)] for item in items],
    }


def read_items(
    data: str | Path,
    manifest: dict,
    subsets: Sequence[str] = tuple(SUBSETS),
    tasks: Sequence[str] = TASKS,
    limit: int | None = None,
) -> list[Item]:
    """Reads the items of a manifest, in its order.

    Args:
        data: Folder of a data set built by HeartAgent from the same source with the same settings.
        manifest: As `freeze` gives it.
        subsets, tasks: Subsets and tasks to read.
        limit: Number of items of each group, by the order of their hashes; all by default.

    Raises: `ValueError` when items are missing, or are others than they were when the benchmark was frozen.
    """
    data = Path(data)
    frozen = {item_id: (content, pictures) for item_id, content, pictures in manifest["items"]}
    wanted = set(frozen)
    items = sorted(
        _read(data, _shards(_manifest_of(data), manifest["split"]), wanted, subsets, tasks), key=lambda item: item.id
    )
    if torn := [item.id for item in items if content_hash(item) != frozen[item.id][0]]:
        raise ValueError(
            f"{len(torn)} of {len(items)} items are others than in {manifest['name']}, for example {torn[0]}; build "
            "the data set as it says."
        )
    if not items:
        raise ValueError(
            f"{data} has none of the items of {manifest['name']} in the subsets {', '.join(subsets)} and tasks "
            f"{', '.join(tasks)}. Its own items are chosen by `python -m heartcare.bench freeze --data {data} --out "
            "items.json`, and asked with --manifest items.json."
        )
    if gone := [item_id for item_id in wanted - {item.id for item in items} if _asked_for(item_id, subsets, tasks)]:
        raise ValueError(f"{data} lacks {len(gone)} items of {manifest['name']}, for example {min(gone)}.")
    redrawn = sum(picture_hash(item) != frozen[item.id][1] for item in items)
    if redrawn:
        tqdm.write(
            f"{redrawn} items have pictures drawn the same way, but with other pixels (another version of Pillow)."
        )
    return items if limit is None else _first_of_groups(items, limit)


def _first_of_groups(items: list[Item], limit: int) -> list[Item]:
    """Returns `limit` items of each group, the first ones by the hash of their ids, in the order of the items."""
    count: Counter = Counter()
    kept = set()
    for item in sorted(items, key=lambda item: hashlib.sha256(item.id.encode()).digest()):
        count[item.subset, item.task, item.group] += 1
        if count[item.subset, item.task, item.group] <= limit:
            kept.add(item.id)
    return [item for item in items if item.id in kept]


def read_training_records(data: str | Path, count: int) -> list[Item]:
    """Reads the first records of the training split, as items of classification; [] where there is no such split."""
    data = Path(data)
    source = _manifest_of(data)
    items: list[Item] = []
    for shard in source["shards"]:
        if shard["name"].startswith("train-") and len(items) < count:
            ids = {item_id for row in _light_rows(data / shard["name"]) for item_id, _ in _candidates(row)}
            items += _read(data, [shard["name"]], ids, ("S",), ("classification",))
    return items[:count]


def count_majority(data: Path, shards: list[str]) -> dict:
    """Counts the right answers: "closed": topic -> answer -> number of times that it is right; "open": "task/topic" ->
    the commonest answer; for reports the commonest without age and sex.
    """
    closed: dict[str, Counter] = {}
    texts: dict[str, Counter] = {}
    for shard in tqdm(shards, desc="counting answers"):
        for row in _light_rows(data / shard, "answer"):
            kind = kind_of(row)
            if kind is None or kind[1] == "prediction":
                continue
            topic, answer = _topic(row["id"], kind), row["answer"]
            if row["options"]:
                closed.setdefault(topic, Counter())[answer.rstrip(".").casefold()] += 1
            else:
                body = _BODY.search(answer) if kind[1] == "report" else None
                texts.setdefault(f"{kind[1]}/{topic}", Counter())[body[0] if body else answer] += 1
    first = {key: max(count.items(), key=lambda pair: (pair[1], pair[0]))[0] for key, count in texts.items()}
    return {
        "closed": {topic: dict(sorted(count.items())) for topic, count in sorted(closed.items())},
        "open": dict(sorted(first.items())),
    }


def _shards(source: dict, split: str) -> list[str]:
    names = [shard["name"] for shard in source["shards"] if shard["name"].startswith(f"{split}-")]
    if not names:
        raise ValueError(f"The data set has no split {split!r}.")
    return names


def _manifest_of(data: Path) -> dict:
    path = data / "manifest.json"
    if not path.is_file():
        raise ValueError(f"{data} has no manifest.json; build a data set with python -m heartcare.agent build.")
    return json.loads(path.read_text(encoding="utf-8"))


def _asked_for(item_id: str, subsets, tasks) -> bool:
    if item_id.startswith("ecg-qa/"):
        return "ecg-qa" in tasks and SUBSET_OF[item_id.rsplit("/", 1)[1]] in subsets
    _, task, _, modality, _ = item_id.rsplit("/", 4)
    return task in tasks and SUBSET_OF[modality] in subsets


def _read(data: Path, shards: list[str], wanted: set[str], subsets=tuple(SUBSETS), tasks=TASKS) -> Iterator[Item]:
    """Yields the items of the wanted ids; recordings and pictures that several items share are held once."""
    held: dict[bytes, bytes] = {}
    for shard in tqdm(shards, desc="reading items", disable=len(shards) < 2):
        chosen = []
        for place, row in enumerate(_light_rows(data / shard)):
            for item_id, kind in _candidates(row):
                if item_id in wanted and kind[0] in subsets and kind[1] in tasks:
                    chosen.append((place, item_id, kind))
        if not chosen:
            continue
        rows = pq.read_table(data / shard).take(sorted({place for place, _, _ in chosen})).to_pylist()
        rows = dict(zip(sorted({place for place, _, _ in chosen}), rows))
        for place, item_id, kind in chosen:
            yield _item(rows[place], item_id, kind, held)


def _light_rows(path: Path, *columns: str) -> list[dict]:
    """Reads the rows of a shard without recordings and pictures; those of ECG-QA with their provenance, since nothing
    else has the type of question.
    """
    columns = [*_LIGHT, *columns]
    first = next(pq.ParquetFile(path).iter_batches(1, columns=["id"]), None)
    if first is not None and first["id"][0].as_py().startswith("ecg-qa/"):
        columns.append("provenance")
    return pq.read_table(path, columns=columns).to_pylist()


def _candidates(row: dict) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Yields (id, kind) of the items of a row: its question, and once for each record and modality the record to
    classify.
    """
    if kind := kind_of(row):
        yield row["id"], kind
        if row["task"] == "report":
            yield _classification_id(row["id"]), (kind[0], "classification", "all")


def kind_of(row: dict) -> tuple[str, str, str] | None:
    """Returns (subset, task, group) of a row; None for rows that are not part of the benchmark."""
    subset, task = SUBSET_OF[row["modality"]], row["task"]
    if row["id"].startswith("ecg-qa/"):
        return subset, "ecg-qa", json.loads(row["provenance"])["ecg_qa"]["question_type"]
    if task == "comparison-qa":
        form = "closed" if row["options"] else "open"
        return (
            subset,
            task,
            f"{row['modality']} {'consecutive' if len(row['patient_id']) == 1 else 'irrelevant'} {form}",
        )
    return (subset, task, row["dimension"]) if task in TASKS else None


def _classification_id(row_id: str) -> str:
    record, _, _, modality, _ = row_id.rsplit("/", 4)
    return f"{record}/classification/all/{modality}/0"


def _item(row: dict, item_id: str, kind: tuple[str, str, str], held: dict) -> Item:
    subset, task, group = kind
    records = json.loads(row["provenance"])["records"]
    classified = task == "classification"
    drawings = [record["drawing"] for record in records if "drawing" in record]
    return Item(
        id=item_id,
        subset=subset,
        task=task,
        group=group,
        topic="all" if classified else _topic(item_id, kind),
        modality=row["modality"],
        question="" if classified else row["question"],
        options=tuple(row["options"]),
        answer="" if classified else row["answer"],
        label=() if classified else tuple(row["answer_label"]),
        patients=tuple(row["patient_id"]),
        statements=tuple(record["statements"] for record in records),
        ecgs=tuple({**ecg, "signal": held.setdefault(ecg["signal"], ecg["signal"])} for ecg in row["ecgs"]),
        images=tuple(
            {"bytes": held.setdefault(image["bytes"], image["bytes"]), "drawing": drawing}
            for image, drawing in zip(row["images"], drawings)
        ),
    )


def _topic(row_id: str, kind: tuple) -> str:
    return kind[2] if kind[1] == "ecg-qa" else row_id.rsplit("/", 4)[2]


def content_hash(item: Item) -> str:
    """Returns the hash of question, truth and signals, and of how the pictures were drawn, in 16 hexadecimal digits."""
    ecgs = [
        {key: hashlib.sha256(value).hexdigest() if key == "signal" else value for key, value in ecg.items()}
        for ecg in item.ecgs
    ]
    drawings = [image["drawing"] for image in item.images]
    content = [item.id, item.question, item.options, item.answer, item.label, item.statements, ecgs, drawings]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def picture_hash(item: Item) -> str:
    """Returns the hash of the pictures' bytes; "" without any. Fonts differ between versions of Pillow, so that another
    hash is a remark and no error.
    """
    return hashlib.sha256(b"".join(image["bytes"] for image in item.images)).hexdigest()[:16] if item.images else ""


def manifest_hash(manifest: dict) -> str:
    """Returns the SHA-256 of a manifest; results name their benchmark by it. The version of the software that froze
    the manifest is left out: the items decide whether two results are of one benchmark.
    """
    content = {key: value for key, value in manifest.items() if key != "heartcare_version"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_manifest(manifest: dict, path: str | Path):
    """Writes a manifest as JSON, one item on a line."""
    head = json.dumps({key: value for key, value in manifest.items() if key != "items"}, indent=1, ensure_ascii=False)
    items = ",\n".join(json.dumps(item) for item in manifest["items"])
    Path(path).write_text(f'{head[:-2]},\n "items": [\n{items}\n]\n}}\n', encoding="utf-8")
