"""Builds a data set: a source of ECGs in, questions and answers out.

    find_entries --plan--> units of whole patients --build_unit (anywhere, in any order)--> one Parquet shard each
    --finish--> manifest, card

A unit is a function of its records and the seed alone, so that any number of workers on any number of machines gives
the same bytes. A shard appears under its name only when it is complete; a build that was killed goes on with the units
whose shards are missing.
"""

import hashlib
import json
import os
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from tqdm import tqdm

from ..version_heartcare import HEARTCARE_VERSION
from ..workers_heartcare import end_with_parent
from .card import write_card
from .ecgqa import ecg_qa_samples, read_ecg_qa
from .qa import DIMENSION_OF, TASKS, QuestionBuilder
from .records import Loaded, load, rng_for, sample_of
from .rephrase import Rephraser
from .samples import Sample, write_shard
from .signal import Optimizer
from .sources import Entry, content_digest, find_entries, printable, rejection

# Of the data set's content; counts up whenever the same source would give other bytes. It alone says which shards
# belong together: the version of this software, which the manifest names beside it, is for people.
VERSION = 2
UNIT_RECORDS = 128
WORK = ".build"


@dataclass
class Settings:
    """The settings that a data set's bytes depend on, beside its source.

    Attributes:
        tasks: Some of `TASKS`.
        seed: Seed of all choices.
        images: Whether pictures are drawn.
        llm: None, or "url" and "model" of the server that rephrases, and "cache", the folder of its replies.
        ecg_qa: Files of ECG-QA to import in place of our own questions.
    """

    tasks: tuple[str, ...] = TASKS
    seed: int = 0
    images: bool = True
    llm: dict | None = None
    ecg_qa: tuple[str, ...] = ()

    def as_dict(self) -> dict:
        """Returns the settings as the manifest has them, with the hashes of the files and without places on this
        machine.
        """
        model = self.llm["model"] if self.llm else None
        files = {Path(file).name: hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16] for file in self.ecg_qa}
        return {
            "tasks": sorted(self.tasks),
            "seed": self.seed,
            "images": self.images,
            "llm_model": model,
            "ecg_qa": files,
        }


class LeakageError(Exception):
    """A patient or a signal is in two splits."""


class SourceChangedError(ValueError):
    """Files of the source are not those that the build began with, so that its shards would be of two sources."""


def build(
    source: str | Path,
    out: str | Path,
    settings: Settings,
    workers: int = 1,
    limit: int | None = None,
    ray_address: str | None = None,
    progress: bool = True,
) -> dict:
    """Builds a data set, or goes on with one that was interrupted.

    Args:
        source: As `find_entries` takes it.
        out: Folder of the data set; nothing is written outside of it.
        settings: The settings.
        workers: Number of processes.
        limit: Number of records to take, the first ones; all by default.
        ray_address: "local", "auto" or an address: runs the units on Ray Data.
        progress: Whether bars are shown.

    Returns: the manifest.

    Raises: `LeakageError`; `SourceChangedError` when the files are not those that the build began with; `ValueError`
        when `out` is a file or holds another data set, `source` has no record, or the tasks find nothing to ask.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; a data set needs a folder.")
    if printable(out) != str(out):
        raise ValueError(f"{printable(out)}: the name of this folder is no UTF-8; choose another one.")
    started = time.time()
    entries, rejected = find_entries(source, limit, progress)
    units = plan(entries)
    work = out / WORK
    work.mkdir(parents=True, exist_ok=True)
    keep_plan(work / "plan.json", units, settings)
    if settings.llm:
        settings.llm.setdefault("cache", str(work / "llm"))
    partners = read_ecg_qa(settings.ecg_qa, units) if settings.ecg_qa else {}
    missing = [
        unit for unit in units if not ((out / unit["name"]).is_file() and (work / f"{unit['name']}.json").is_file())
    ]
    bar = tqdm(total=len(units), initial=len(units) - len(missing), desc="building", unit="shard", disable=not progress)
    for _ in _run(missing, out, settings, partners, workers, ray_address):
        bar.update()
    bar.close()
    reports = [json.loads((work / f"{unit['name']}.json").read_text()) for unit in units]
    return finish(out, units, reports, rejected, settings, time.time() - started)


def plan(entries: list[Entry]) -> list[dict]:
    """Plans the units of a build. A patient is whole in one unit, and each patient's records stand in order of time.

    Returns: for each unit a dict of `name` of the shard, `split`, and `records`, its entries as dicts.

    Raises: `LeakageError` for a patient with records in several folds.
    """
    patients: dict[str, list[Entry]] = {}
    for entry in entries:
        patients.setdefault(entry.patient_id, []).append(entry)
    folds = {patient: {entry.fold for entry in records} for patient, records in patients.items()}
    if torn := [patient for patient, numbers in folds.items() if len(numbers) > 1]:
        raise LeakageError(
            f"{len(torn)} patients have records in several folds, for example {torn[0]} in {sorted(folds[torn[0]])}."
        )
    units = []
    for split in ("train", "validation", "test"):
        bins: list[list[Entry]] = [[]]
        for records in patients.values():
            if records[0].split == split:
                if len(bins[-1]) >= UNIT_RECORDS:
                    bins.append([])
                bins[-1] += sorted(records, key=lambda entry: (entry.order, entry.record_id))
        bins = [records for records in bins if records]
        for i, records in enumerate(bins):
            name = f"{split}-{i:05d}-of-{len(bins):05d}.parquet"
            units.append({"name": name, "split": split, "records": [entry.as_dict() for entry in records]})
    return units


def keep_plan(path: Path, units: list[dict], settings: Settings):
    """Writes down what is built, or compares it with what is written there. Raises: as `build`."""
    out = path.parent.parent
    planned = {
        "version": VERSION,
        "settings": settings.as_dict(),
        "units": [_fingerprint(unit) for unit in units],
        "files": {record["record_id"]: record["digest"] for unit in units for record in unit["records"]},
    }
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if "files" not in before or {**before, "files": None} != {**planned, "files": None}:
            raise ValueError(
                f"{out} holds a data set of another source, seed, version or setting; choose another folder or "
                "remove it."
            )
        changed = [name for name, digest in planned["files"].items() if before["files"].get(name) != digest]
        if changed:
            raise _changed(changed, out)
    _write(path, json.dumps(planned))


def _changed(records: list[str], out: Path) -> SourceChangedError:
    return SourceChangedError(
        f"The files of {len(records)} records, for example {records[0]}, are not those that the data set in {out} was "
        "begun with; put them back, or choose another folder or remove it."
    )


def _run(units: list[dict], out: Path, settings: Settings, partners: dict, workers: int, ray_address: str | None):
    """Builds the units on Ray, in processes, or here; yields the name of each as it is done."""
    if ray_address:
        from .on_ray import run_on_ray

        yield from run_on_ray(units, out, settings, partners, ray_address, workers)
    elif workers <= 1:
        for unit in units:
            yield build_unit(unit, out, settings, partners.get(unit["name"]))
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker) as pool:
            jobs = [pool.submit(build_unit, unit, out, settings, partners.get(unit["name"])) for unit in units]
            try:
                for job in as_completed(jobs):
                    yield job.result()
            finally:
                pool.shutdown(cancel_futures=True)


def _start_worker():
    """Keeps a worker to one thread, so that as many workers as cores do not get into each other's way, and lets it end
    with the build.
    """
    import torch

    end_with_parent()
    torch.set_num_threads(1)


def build_unit(unit: dict, out: Path, settings: Settings, questions: dict | None = None) -> str:
    """Builds one shard, and writes it and a report on it.

    Args:
        unit: One of `plan`.
        out: Folder of the data set.
        settings: The settings.
        questions: The unit's questions of ECG-QA, as `read_ecg_qa` gives them.

    Returns: the name of the shard.

    Raises: `SourceChangedError` when a file is not what it was when the build was planned.
    """
    loader = _Loader(settings)
    questions = questions or {"questions": [], "elsewhere": {}}
    loaded = loader.load(unit["records"])
    elsewhere = list(questions["elsewhere"].values())
    others = _Loader(settings, loader.times).load(elsewhere)  # rejected ones are in the reports of their own shards
    used = [*unit["records"], *elsewhere]
    if changed := [record["record_id"] for record in used if content_digest(record["path"]) != record["digest"]]:
        raise _changed(changed, out)
    clock = time.perf_counter()
    if settings.ecg_qa:
        by_id = {record.entry.record_id: record for record in loaded + others}
        samples = ecg_qa_samples(questions["questions"], by_id, settings.images)
    else:
        samples = _ask(loaded, settings)
    samples = [sample for sample in samples if sample.question.task in settings.tasks]
    loader.times["ask"] += time.perf_counter() - clock
    llm = _rephrase(samples, settings)
    clock = time.perf_counter()
    partial = _partial(out, unit["name"])
    write_shard(partial, samples)
    loader.times["write"] += time.perf_counter() - clock
    report = _report(unit["name"], partial, samples, loader, llm)
    _write(out / WORK / f"{unit['name']}.json", json.dumps(report))
    os.replace(partial, out / unit["name"])
    return unit["name"]


class _Loader:
    """Loads records, and keeps the `loaded` ones, the `rejected` ones with the reason, and the seconds of each step."""

    def __init__(self, settings: Settings, times: Counter | None = None):
        self.optimizer, self.draw_seed = Optimizer(), settings.seed if settings.images else None
        self.loaded: list[Loaded] = []
        self.rejected: list[dict] = []
        self.times: Counter = Counter() if times is None else times

    def load(self, records: list[dict]) -> list[Loaded]:
        """Loads the records of entries as dicts. Returns all that are loaded."""
        for record in records:
            entry = Entry(**record)
            try:
                self.loaded.append(load(entry, self.optimizer, self.draw_seed, self.times))
            except Exception as error:  # whatever is wrong with one record must not stop the others
                self.rejected.append(rejection(entry.record_id, entry.path, error))
        return self.loaded


def _rephrase(samples: list[Sample], settings: Settings) -> dict[str, int]:
    """Rephrases the questions where there is a language model. Returns the counts of its replies."""
    if not settings.llm:
        return {}
    rephraser = Rephraser(**settings.llm)
    for sample in samples:
        sample.question, changed = rephraser(sample.question)
        sample.provenance["rephrased"] = changed
    return dict(rephraser.counts)


def _report(name: str, shard: Path, samples: list[Sample], loader: _Loader, llm: dict[str, int]) -> dict:
    """Returns the report on a shard, from which the manifest and the card are made."""
    hashes: dict[str, str] = {}
    for record in loader.loaded:
        hashes.setdefault(hashlib.sha256(record.ecg.signal).hexdigest()[:32], record.entry.record_id)
    counts = Counter((s.question.task, s.question.dimension, s.modality) for s in samples)
    return {
        "name": name,
        "heartcare_version": HEARTCARE_VERSION,
        "sha256": hashlib.sha256(shard.read_bytes()).hexdigest(),
        "bytes": shard.stat().st_size,
        "samples": len(samples),
        "records": {record.entry.record_id: record.entry.patient_id for record in loader.loaded},
        "signals": hashes,
        "images": sum(record.image is not None for record in loader.loaded),
        "rejected": loader.rejected,
        "counts": [[*key, count] for key, count in sorted(counts.items())],
        "labels": [[*key, count] for key, count in sorted(_labels(samples).items())],
        "llm": llm,
        "times": {key: round(value, 3) for key, value in loader.times.items()},
    }


def _labels(samples: list[Sample]) -> Counter:
    """Counts the closed questions by (task, topic, answer), for the majority control."""
    return Counter((s.question.task, s.question.topic, s.question.answer) for s in samples if s.question.options)


def _ask(loaded: list[Loaded], settings: Settings) -> list[Sample]:
    """Asks our own questions about the records of a unit: about each alone, and about pairs of one and another."""
    samples = []
    for i, record in enumerate(loaded):
        for modality in ("signal", "image") if settings.images else ("signal",):
            builder = QuestionBuilder(rng_for(settings.seed, record.entry.record_id, modality))
            questions = builder.questions(record.labels)
            if modality == "image" or record.seconds < 6:  # there must be something left to predict from
                questions = [question for question in questions if question.task != "prediction"]
            samples += [sample_of(number, modality, question, [record]) for number, question in enumerate(questions)]
        if "comparison-qa" in settings.tasks:
            patient = record.entry.patient_id
            earlier = [other for other in loaded[:i] if other.entry.patient_id == patient]
            others = [other for other in loaded[i + 1 :] + loaded[:i] if other.entry.patient_id != patient]
            if earlier:
                samples += _compare(earlier[-1], record, True, settings)
            if others:
                samples += _compare(record, others[0], False, settings)
    return samples


def _compare(one: Loaded, other: Loaded, same_patient: bool, settings: Settings) -> list[Sample]:
    """Compares two ECGs in each pair of modalities, on a topic that both have an answer to."""
    samples = []
    for modality in ("signal-signal", "image-image", "signal-image") if settings.images else ("signal-signal",):
        rng = rng_for(settings.seed, one.entry.record_id, other.entry.record_id, modality)
        topics = [topic for topic in DIMENSION_OF if one.labels.answers(topic) and other.labels.answers(topic)]
        if topics:
            topic = topics[int(rng.integers(len(topics)))]
            questions = QuestionBuilder(rng).comparison(one.labels, other.labels, same_patient, topic)
            samples += [
                sample_of(number, modality, question, [one, other]) for number, question in enumerate(questions)
            ]
    return samples


def finish(
    out: Path, units: list[dict], reports: list[dict], rejected: list[dict], settings: Settings, seconds: float
) -> dict:
    """Checks for leakage, and writes rejected.jsonl, manifest.json and the card.

    Raises: `LeakageError`, and `ValueError` when there is no sample; no manifest is written then.
    """
    check_leakage(units, reports)
    rejected = rejected + [row for report in reports for row in report["rejected"]]
    _write(out / "rejected.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rejected))
    records = sum(len(report["records"]) for report in reports)
    if not any(report["samples"] for report in reports):
        raise ValueError(
            f"The data set is empty: {', '.join(settings.tasks)} found nothing to ask about {records} records "
            f"({len(rejected)} were rejected, see {out / 'rejected.jsonl'}). All tasks but prediction need labels: a "
            "CSV with scp_codes or report, or files that state a diagnosis."
        )
    manifest = {
        "name": "Heartcare-400K",
        "version": VERSION,
        "heartcare_version": HEARTCARE_VERSION,
        "settings": settings.as_dict(),
        "samples": sum(report["samples"] for report in reports),
        "records": records,
        "rejected": len(rejected),
        "shards": [
            {key: report[key] for key in ("name", "sha256", "bytes", "samples")}
            # A shard that was built before 0.2.0 has none.
            | {"heartcare_version": report.get("heartcare_version"), "records": list(report["records"])}
            for report in reports
        ],
        "signals": {digest: record for report in reports for digest, record in report["signals"].items()},
    }
    _write(out / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False))
    write_card(out, manifest, reports, seconds)
    return manifest


def check_leakage(units: list[dict], reports: list[dict]):
    """Raises `LeakageError` when a patient or a signal is in two splits."""
    for kind, key in (("patients", "records"), ("signals", "signals")):
        split_of: dict[str, str] = {}
        for unit, report in zip(units, reports):
            for value in set(report[key].values()) if key == "records" else report[key]:
                if split_of.setdefault(value, unit["split"]) != unit["split"]:
                    raise LeakageError(
                        f"{kind}: {value} is in {split_of[value]} and in {unit['split']} ({unit['name']})."
                    )


def _fingerprint(unit: dict) -> str:
    """Returns the hash of a unit's records and labels; places and contents of their files are left out."""
    records = [{k: v for k, v in record.items() if k not in ("path", "digest")} for record in unit["records"]]
    return hashlib.sha256(json.dumps([unit["name"], records], sort_keys=True).encode()).hexdigest()[:16]


def _partial(out: Path, name: str) -> Path:
    """Returns the path of a file that is being written, in the work folder. It names the process, since another one may
    write the same file at the same time.
    """
    return out / WORK / f"{name}.{os.getpid()}.partial"


def _write(path: Path, text: str):
    """Writes all of a text or nothing, to a file of the data set or of its work folder."""
    partial = _partial(path.parent.parent if path.parent.name == WORK else path.parent, path.name)
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
