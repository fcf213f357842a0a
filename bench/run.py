"""Asks a model everything that the benchmark asks, with its control rows, and writes one result file.

    items --batches of fixed content--> workers, each with the model --answers.jsonl, a line as each batch is done-->
    score --> NAME.json

A batch is the same whoever runs it and whenever, and a worker uses a fixed number of threads, so that any number of
workers, and a run that was killed and went on, give the same file to the last digit.
"""

import json
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import transformers
from tqdm import tqdm

from heartcare.version_heartcare import HEARTCARE_VERSION
from heartcare.workers_heartcare import end_with_parent

from .answers import ItemAnswer
from .controls import ASKED, MODEL, OTHER, RANDOM, TEXT, substitutes
from .items import TASKS, Item, manifest_hash, read_items
from .models import ModelSpec, describe
from .probe import random_encoder_probe
from .score import score
from .scorers import Context, MetricModels
from .worker import Batch, Worker

FORMAT = 1  # of the result file
RECORDS_AT_ONCE = 8  # in one batch of classification


@dataclass(frozen=True)
class Settings:
    """The settings that a result depends on, beside the model and the items.

    Attributes:
        subsets, tasks: Keys of the benchmark's parts to run.
        limit: Number of items of each group; all by default.
        controls: Whether the control rows are run.
        batch_size: Number of items that are asked together.
        threads: Number of CPU threads of each worker.
        seed: Seed of the random encoder, the noise, the bootstrap and the endpoint.
        choose: Whether closed questions are answered by the likeliest option instead of what the model writes.
    """

    subsets: tuple[str, ...] = ("S", "I", "C")
    tasks: tuple[str, ...] = TASKS
    limit: int | None = None
    controls: bool = True
    batch_size: int = 32
    threads: int = 1
    seed: int = 0
    choose: bool = False


def run(
    spec: ModelSpec,
    data: str | Path,
    out: str | Path,
    manifest: dict,
    settings: Settings = Settings(),
    workers: int = 1,
    models: MetricModels | None = None,
    progress: bool = True,
) -> dict:
    """Runs the benchmark, or goes on with a run that was interrupted.

    Args:
        spec: The model.
        data: Folder of the data set that the manifest's items are in.
        out: Folder of results: NAME.json, and what is needed to go on in NAME.answers.jsonl.
        manifest: The benchmark, as `freeze` gives it.
        settings: The settings.
        workers: Number of processes, each with a copy of the model.
        models: The models that some metrics need.
        progress: Whether a bar is shown.

    Returns: the result.

    Raises: `ValueError` when `out` holds answers of another model, other items or other settings under this name, or
        for `choose` with an endpoint.
    """
    if settings.choose and spec.url:
        raise ValueError(
            "An endpoint does not give the probabilities of the options, so that a model there can only write its "
            "answers."
        )
    out, head = Path(out), describe_run(spec, manifest, settings)
    items = read_items(data, manifest, settings.subsets, settings.tasks, settings.limit)
    file = head["model"]["name"].replace("/", "--")
    batches = make_batches(items, settings, bool(spec.url))
    rows = collect(batches, out / f"{file}.answers.jsonl", head, spec, settings, workers, progress)
    classified = [item for item in items if item.task == "classification" and item.subset == "S"]
    probe = None
    if settings.controls and classified:
        probe = _kept(out / "probe.json", head, lambda: random_encoder_probe(data, classified, settings.seed, progress))
    majority = manifest["majority"] if settings.controls else None
    result = head | score(items, rows, Context(majority, settings.seed, probe, models or MetricModels()))
    write_json(out / f"{file}.json", result)
    return result


def describe_run(spec: ModelSpec, manifest: dict, settings: Settings) -> dict:
    """Returns the head of a result file: all that it depends on, and nothing of when and where it was made."""
    return {
        "format": FORMAT,
        "model": describe(spec),
        "benchmark": {
            **{key: manifest[key] for key in ("name", "version", "split", "source")},
            "manifest": manifest_hash(manifest),
        },
        "settings": {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(settings).items()
        },
        "versions": software(),
    }


def software() -> dict[str, str]:
    """Returns the versions of what scores: this software, Python, and the libraries that the numbers come from."""
    return {
        "heartcare": HEARTCARE_VERSION,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": np.__version__,
    }


def make_batches(items: list[Item], settings: Settings, endpoint: bool) -> Iterator[Batch]:
    """Yields all batches of a run, in its order: the same items are always asked together."""
    substitute = substitutes(items) if settings.controls else {}
    kinds: dict[tuple, list[Item]] = {}
    for item in items:
        kinds.setdefault((item.subset, item.task), []).append(item)
    for row in ASKED if settings.controls else (MODEL,):
        if row == RANDOM and endpoint:
            continue
        for (_, task), members in sorted(kinds.items()):
            # Without a recording all probabilities are equal, another patient's ECG has that patient's probabilities,
            # and for the random encoder there is a probe: classification is asked once.
            if task == "classification" and row != MODEL or task == "prediction" and row == TEXT:
                continue
            size = RECORDS_AT_ONCE if task == "classification" else settings.batch_size
            for number, start in enumerate(range(0, len(members), size)):
                part = members[start : start + size]
                others = [substitute.get(item.id) if row == OTHER else None for item in part]
                yield Batch(row, number, part, others)


def collect(
    batches: Iterable[Batch],
    place: Path,
    head: dict,
    spec: ModelSpec,
    settings: Settings,
    workers: int,
    progress: bool = True,
) -> dict[str, dict[str, ItemAnswer | None]]:
    """Asks what `place` does not have yet, and adds each batch to it as soon as it is answered.

    Returns: row -> id -> answer.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    batches = list(batches)
    answers = _read_answers(place, head)
    missing = [batch for batch in batches if batch.key not in answers]
    done, name = len(batches) - len(missing), head["model"]["name"]
    bar = tqdm(total=len(batches), initial=done, desc=name, unit="batch", disable=not progress)
    with open(place, "a", encoding="utf-8") as file:
        if not place.stat().st_size:
            file.write(json.dumps(head) + "\n")
        for key, answered in _answered(missing, spec, settings, workers):
            answers[key] = answered
            file.write(json.dumps([key, [answer and answer.as_dict() for answer in answered]]) + "\n")
            file.flush()
            bar.update()
    bar.close()
    rows: dict[str, dict[str, ItemAnswer | None]] = {}
    for batch in batches:
        for item, answer in zip(batch.items, answers[batch.key]):
            rows.setdefault(batch.row, {})[item.id] = answer
    return rows


def _answered(
    batches: list[Batch], spec: ModelSpec, settings: Settings, workers: int
) -> Iterator[tuple[str, list[ItemAnswer | None]]]:
    """Yields (key, answers) of each batch as it is done, here or in processes."""
    options = (spec, settings.threads, settings.seed, settings.choose)
    if workers <= 1:
        worker = Worker(*options)
        for batch in batches:
            yield batch.key, worker.ask(batch)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=options) as pool:
        # A few at a time, so that the pictures of all batches are not copied at once.
        waiting, left = {}, iter(batches)
        try:
            while True:
                while len(waiting) < 2 * workers and (batch := next(left, None)):
                    waiting[pool.submit(_ask_worker, batch)] = batch.key
                if not waiting:
                    return
                job = next(as_completed(waiting))
                yield waiting.pop(job), job.result()
        finally:
            pool.shutdown(cancel_futures=True)


_workers: list[Worker] = []  # holds the one worker of a process of the pool


def _start_worker(*options):
    end_with_parent()
    _workers[:] = [Worker(*options)]


def _ask_worker(batch: Batch) -> list[ItemAnswer | None]:
    return _workers[0].ask(batch)


def _read_answers(place: Path, head: dict) -> dict[str, list[ItemAnswer | None]]:
    """Reads the answers of a run that was interrupted; a line that it did not finish is cut off."""
    if not place.exists():
        return {}
    lines = place.read_bytes().split(b"\n")
    if lines[-1]:
        with open(place, "rb+") as file:
            file.truncate(place.stat().st_size - len(lines[-1]))
    lines = lines[:-1]
    if not lines:
        return {}
    if json.loads(lines[0]) != head:
        raise ValueError(
            f"{place} holds answers of another model, benchmark, setting or version; choose another --out or remove it."
        )
    kept = (json.loads(line) for line in lines[1:])
    return {key: [answer and ItemAnswer.from_dict(answer) for answer in answers] for key, answers in kept}


def _kept(place: Path, head: dict, make: Callable[[], dict | None]) -> dict | None:
    """Returns the result of `make`, kept in a file for the same benchmark and settings."""
    key = {name: head[name] for name in ("benchmark", "settings", "versions")}
    if place.exists() and (kept := json.loads(place.read_text(encoding="utf-8")))["of"] == key:
        return kept["scores"]
    scores = make()
    write_json(place, {"of": key, "scores": scores})
    return scores


def write_json(path: Path, value: dict):
    """Writes all of a file or nothing."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)
