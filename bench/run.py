"""Asks a model everything that the benchmark asks, with its control rows, and writes one result file.

    items --batches of fixed content--> workers, each with the model --answers.jsonl, a line as each batch is done-->
    score --> NAME.json

A batch is the same whoever runs it and whenever, and a worker uses a fixed number of threads, so that any number of
workers, and a run that was killed and went on, give the same file to the last digit.
"""

import json
import os
import platform
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import transformers
from tqdm import tqdm

from ..agent.samples import unpack_ecg
from ..processing_heartcare import BeatFeatureExtractor
from .classify import QUESTIONS
from .controls import (
    ASKED,
    MODEL,
    OTHER,
    RANDOM,
    TEXT,
    donors,
    parts_for,
    simple_forecasts,
)
from .items import TASKS, Item, manifest_hash, read_items
from .metrics.signal import signal_prediction
from .models import MAX_NEW_TOKENS, Answer, Prompt, describe, load_model
from .probe import random_encoder_probe
from .score import score
from .variants import VARIANTS

FORMAT = 1  # of the result file


@dataclass(frozen=True)
class Settings:
    """What a result depends on, beside the model and the items: `limit` of items of each group, `controls`, whether the
    control rows are run, `batch_size`, `threads` of each worker, `seed` of the random encoder, the noise, the bootstrap
    and the endpoint; `choose`, whether closed questions are answered by the likeliest option instead of what the model
    writes.
    """

    subsets: tuple[str, ...] = ("S", "I", "C")
    tasks: tuple[str, ...] = TASKS
    limit: int | None = None
    controls: bool = True
    batch_size: int = 32
    threads: int = 1
    seed: int = 0
    choose: bool = False


@dataclass(frozen=True)
class Which:
    """The model, as `load_model` takes it; `called`, its name in the results, if that is another one."""

    name: str
    url: str | None = None
    device: str | None = None
    trust_remote_code: bool = False
    called: str | None = None


@dataclass(frozen=True)
class Batch:
    """Items of one task that are asked together in one row; `donors` stand in for them where another patient's ECG is
    given.
    """

    row: str
    number: int
    items: list[Item]
    donors: list[Item | None]

    @property
    def key(self) -> str:
        first = self.items[0]
        return f"{self.row}/{first.subset}/{first.task}/{self.number}"


def run(
    which: Which,
    data: str | Path,
    out: str | Path,
    manifest: dict,
    settings: Settings = Settings(),
    workers: int = 1,
    extras: dict | None = None,
    progress: bool = True,
) -> dict:
    """Runs the benchmark, or goes on with a run that was interrupted.

    Args:
        which: The model.
        data: Folder of the data set that the manifest's items are in.
        out: Folder of results: NAME.json, and what is needed to go on in NAME.answers.jsonl.
        manifest: Of the benchmark.
        settings: What is asked.
        workers: Processes, each with a copy of the model.
        extras: Keyword arguments of `score` for metrics that need a model of their own.
        progress: Whether a bar is shown.

    Returns: the result.

    Raises: `ValueError` when `out` holds answers of another model, other items or other settings under this name, or
        for `choose` with an endpoint.
    """
    if settings.choose and which.url:
        raise ValueError(
            "Behind an endpoint the probabilities of the options are not to be had, so that a model there can only write its answers."
        )
    out, head = Path(out), describe_run(which, manifest, settings)
    items = read_items(data, manifest, settings.subsets, settings.tasks, settings.limit)
    file = head["model"]["name"].replace("/", "--")
    rows = collect(
        make_batches(items, settings, bool(which.url)),
        out / f"{file}.answers.jsonl",
        head,
        which,
        settings,
        workers,
        progress,
    )
    probe = None
    if settings.controls and (
        classified := [item for item in items if item.task == "classification" and item.subset == "S"]
    ):
        probe = _kept(out / "probe.json", head, lambda: random_encoder_probe(data, classified, settings.seed, progress))
    result = head | score(items, rows, manifest["majority"], settings.seed, probe, **(extras or {}))
    write_json(out / f"{file}.json", result)
    return result


def describe_run(which: Which, manifest: dict, settings: Settings) -> dict:
    """The head of a result file: all that it depends on, and nothing of when and where it was made."""
    return {
        "format": FORMAT,
        "model": describe(which.name, which.url) | ({"name": which.called} if which.called else {}),
        "benchmark": {
            **{key: manifest[key] for key in ("name", "version", "split", "source")},
            "manifest": manifest_hash(manifest),
        },
        "settings": {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(settings).items()
        },
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "numpy": np.__version__,
        },
    }


def collect(
    batches: Iterable[Batch],
    place: Path,
    head: dict,
    which: Which,
    settings: Settings,
    workers: int,
    progress: bool = True,
) -> dict[str, dict[str, dict]]:
    """Asks what `place` does not have yet, and adds each batch to it as soon as it is answered. Returns row -> id ->
    answer.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    batches = list(batches)
    answers = _read_answers(place, head)
    missing = [batch for batch in batches if batch.key not in answers]
    bar = tqdm(
        total=len(batches),
        initial=len(batches) - len(missing),
        desc=head["model"]["name"],
        unit="batch",
        disable=not progress,
    )
    with open(place, "a", encoding="utf-8") as file:
        if not place.stat().st_size:
            file.write(json.dumps(head) + "\n")
        for key, found in _answered(missing, which, settings, workers):
            answers[key] = found
            file.write(json.dumps([key, found]) + "\n")
            file.flush()
            bar.update()
    bar.close()
    rows: dict[str, dict[str, dict]] = {}
    for batch in batches:
        for item, answer in zip(batch.items, answers[batch.key]):
            rows.setdefault(batch.row, {})[item.id] = answer
    return rows


def make_batches(items: list[Item], settings: Settings, endpoint: bool) -> Iterator[Batch]:
    """All batches of a run, in its order: the same items are always asked together."""
    standing_in = donors(items) if settings.controls else {}
    kinds: dict[tuple, list[Item]] = {}
    for item in items:
        kinds.setdefault((item.subset, item.task), []).append(item)
    for row in ASKED if settings.controls else (MODEL,):
        if row == RANDOM and endpoint:
            continue
        for (_, task), same in sorted(kinds.items()):
            # Who sees no record ranks none above another; another patient's ECG has that patient's probabilities; for
            # the random encoder there is a probe.
            if task == "classification" and row != MODEL or task == "prediction" and row == TEXT:
                continue
            size = 8 if task == "classification" else settings.batch_size
            for number, start in enumerate(range(0, len(same), size)):
                part = same[start : start + size]
                yield Batch(
                    row,
                    number,
                    part,
                    [standing_in.get(item.id) for item in part] if row == OTHER else [None] * len(part),
                )


def _answered(batches: list[Batch], which: Which, settings: Settings, workers: int) -> Iterator[tuple[str, list]]:
    """(key, answers) of each batch as it is done, here or in processes."""
    if workers <= 1:
        _start(which, settings)
        for batch in batches:
            yield batch.key, ask(batch)
        return
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start, initargs=(which, settings)
    ) as pool:
        # A few at a time, so that the pictures of all batches are not copied at once.
        waiting, left = {}, iter(batches)
        try:
            while True:
                while len(waiting) < 2 * workers and (batch := next(left, None)):
                    waiting[pool.submit(ask, batch)] = batch.key
                if not waiting:
                    return
                job = next(as_completed(waiting))
                yield waiting.pop(job), job.result()
        finally:
            pool.shutdown(cancel_futures=True)


_worker: dict = {}


def _start(which: Which, settings: Settings):
    torch.set_num_threads(settings.threads)
    transformers.utils.logging.disable_progress_bar()
    _worker.clear()
    _worker.update(which=which, settings=settings)


def _model(random: bool):
    """The model, or the same with a random encoder; one of them is held at a time."""
    if _worker.get("random") != random:
        which, seed = _worker["which"], _worker["settings"].seed
        _worker["model"] = load_model(which.name, which.url, which.device, which.trust_remote_code, seed)
        if random:
            _worker["model"].randomise(seed)
        _worker["random"] = random
    return _worker["model"]


def ask(batch: Batch) -> list[dict | None]:
    """The answers of a batch, one dict for each item: "text" and "confidence", or "yes", the probabilities of a
    classification; None where the row has no ECG to give. Of predictions the forecast itself is not kept, but its
    "metrics".
    """
    model = _model(batch.row == RANDOM)
    if batch.row in VARIANTS:
        parts = [VARIANTS[batch.row](item) for item in batch.items]
    else:
        parts = [parts_for(batch.row, item, donor) for item, donor in zip(batch.items, batch.donors)]
    task = batch.items[0].task
    if task == "classification":
        return [
            {"yes": [round(float(p), 7) for p in model.yes_probabilities(each, list(QUESTIONS.values()))]}
            for each in parts
        ]
    asked = [k for k, each in enumerate(parts) if each is not None]
    prompts = []
    for k in asked:
        item = batch.items[k]
        prompts.append(Prompt(parts[k], item.question, item.options, int(item.label[0]) if task == "prediction" else 0))
    answers: list[dict | None] = [None] * len(parts)
    for k, answer in zip(asked, _answers(model, prompts, MAX_NEW_TOKENS[task])):
        confidence = None if answer.confidence is None else round(answer.confidence, 7)
        answers[k] = {"text": answer.text, "confidence": confidence}
        if task == "prediction":
            answers[k]["metrics"] = forecast_metrics(batch.items[k], answer.forecast, batch.row == MODEL)
    return answers


def _answers(model, prompts: list[Prompt], max_new_tokens: int) -> list[Answer]:
    """In the order of the prompts: with `choose` the closed ones are chosen, all else is written."""
    chosen = [k for k, prompt in enumerate(prompts) if prompt.options and _worker["settings"].choose]
    written = [k for k in range(len(prompts)) if k not in chosen]
    answers = dict(zip(chosen, model.choose([prompts[k] for k in chosen]) if chosen else ()))
    answers |= zip(written, model.answer([prompts[k] for k in written], max_new_tokens) if written else ())
    return [answers[k] for k in range(len(prompts))]


def forecast_metrics(item: Item, forecast: np.ndarray | None, with_controls: bool) -> dict[str, dict | None]:
    """Row -> `signal_prediction` of a forecast, and of the simple ones. What followed is cleaned together with what
    came before, at the processor's rate.
    """
    ecg = unpack_ecg(item.ecgs[0])
    whole = np.concatenate([ecg["ecg"], ecg.pop("target")], axis=1)
    extractor = BeatFeatureExtractor()
    rate = extractor.sampling_rate
    signal, _, _ = extractor.prepare({**ecg, "ecg": whole})
    length = int(item.label[0]) * rate
    context, target = signal[:, :-length], signal[:, -length:]
    made = {MODEL: forecast} | (simple_forecasts(context, length, rate) if with_controls else {})
    return {row: None if each is None else signal_prediction(each, target, rate, context) for row, each in made.items()}


def _read_answers(place: Path, head: dict) -> dict[str, list]:
    """What a run that was interrupted has answered; a line that it did not finish is cut off."""
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
    return dict(json.loads(line) for line in lines[1:])


def _kept(place: Path, head: dict, make):
    """What `make` gives, kept in a file for the same benchmark and settings."""
    key = {name: head[name] for name in ("benchmark", "settings", "versions")}
    if place.exists() and (found := json.loads(place.read_text()))["of"] == key:
        return found["scores"]
    scores = make()
    write_json(place, {"of": key, "scores": scores})
    return scores


def write_json(path: Path, value):
    """All of a file or nothing."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)
