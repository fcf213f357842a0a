# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Serving for many threads: requests are checked, prepared, answered in batches, and replied to. `handler.py`, the
servers in `examples/` and Inference Endpoints use it.

    request   {"inputs": an ECG or picture, a list of them that one question is about, or {"messages": [...]},
               "parameters": {"question", "options", "max_new_tokens", "sampling_rate", "lead_names", "units",
               "layout", "speed", "gain", "digitize", "coverage", "explain"}}
    reply     {"text", "probabilities", "findings", "tokens", "measurements", "quality", "pages",
              "provenance"} of the pipeline

An ECG is base64 of a file, or {"signal": [[...], ...], "sampling_rate": 500, "lead_names": [...], "units": "mV"}. Files
and addresses on the server's side are not read. Beside either, "source" is the client's own name of the ECG, one line
that the reply gives back in quality and provenance, and "warnings" what the client's reader warned of.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from transformers.generation import BaseStreamer

CONTENT = ("base64", "signal", "ecg", "image")
# What stands beside the input, for `preprocess`.
PAGE = ("layout", "speed", "gain", "digitize")
STATED = ("question", "options", "sampling_rate", "lead_names", "units", *PAGE, "coverage", "explain")
PARAMETERS = (*STATED, "max_new_tokens")
KINDS = {
    **{name: (str, "a text") for name in ("question", "units", "layout")},
    **{name: (list, "a list of texts") for name in ("options", "lead_names")},
    "sampling_rate": ((int, float), "a number in Hz"),
    "speed": ((int, float), "a number in mm/s"),
    "gain": ((int, float), "a number in mm/mV"),
    "digitize": (bool, "true or false"),
    "coverage": (float, "a number from 0.5 to 0.99"),
    "explain": (bool, "true or false"),
}
MAX_LABEL, MAX_LABELS = 200, 64  # characters of a source, warning or lead name of a client, and number of each


@dataclass(frozen=True)
class Limits:
    """Limits of a request.

    Attributes:
        bytes: Number of bytes of a request.
        ecgs: Number of ECGs in a request, pictures included.
        values: Number of values of all signals of a request: 12 leads at 500 Hz for an hour are 21,600,000.
        new_tokens: Number of tokens of an answer.
        seconds: Time in which an answer is written; the text that is there by then is the answer.
        waiting: Number of requests that wait at a time.
    """

    bytes: int = 20_000_000
    ecgs: int = 8
    values: int = 20_000_000
    new_tokens: int = 512
    seconds: float = 60.0
    waiting: int = 1000


class BadRequest(ValueError):
    """A request is refused; the message is for the one who sent it."""


class Busy(RuntimeError):
    """More requests wait than there is room for."""


@dataclass
class Job:
    """A prepared request that waits for its answer.

    Attributes:
        prepared: Result of the pipeline's `preprocess`.
        generate_kwargs: Keywords of `generate`.
        done: Future of the reply.
        on_text: Called with each piece of the answer.
        sent: Number of characters that `on_text` was given.
    """

    prepared: dict[str, Any]
    generate_kwargs: dict[str, Any]
    done: Future = field(default_factory=Future)
    on_text: Callable[[str], None] | None = None
    sent: int = 0


class Request(NamedTuple):
    """A request that was read: the pipeline's `inputs`, what is `stated` beside them for its `preprocess`, and the
    `generate_kwargs` of the answer.
    """

    inputs: Any
    stated: dict[str, Any]
    generate_kwargs: dict[str, Any]


class RowStreamer(BaseStreamer):
    """Streamer of `generate` that gives each job of a batch its text as it is written."""

    def __init__(self, pipe: Any, jobs: list[Job]):
        self.pipe, self.tokenizer, self.jobs = pipe, pipe.processor.tokenizer, jobs
        self.ids: list[list[int]] = [[] for _ in jobs]
        self.prompt = True

    def put(self, value: torch.Tensor) -> None:
        """Takes the next token of each row, (batch,), after the prompts, (batch, tokens)."""
        if self.prompt:  # the prompts come first
            self.prompt = False
            return
        for row, token in enumerate(value.tolist()):
            self.ids[row].append(token)
            self._send(row, final=False)

    def end(self) -> None:
        """Sends the rest of each answer."""
        for row in range(len(self.jobs)):
            self._send(row, final=True)

    def _send(self, row: int, final: bool):
        """Sends what is ready of an answer."""
        job = self.jobs[row]
        if job.on_text is None:
            return
        text = self.tokenizer.decode(self.ids[row], skip_special_tokens=True)
        ready = self.pipe.numbered(job.prepared, text, final)
        if len(ready) > job.sent:  # a retried answer sends nothing until it passes what was already sent
            job.on_text(ready[job.sent :])
            job.sent = len(ready)


class DynamicBatcher:
    """Runs one pipeline for many threads: requests that wait at the same time are answered as one batch.

    Args:
        pipe: An `ECGInterpretationPipeline`.
        max_batch: Number of requests of a batch; 1 answers one after the other.
        limits: Its `waiting` and `seconds` hold here.
    """

    def __init__(self, pipe: Any, max_batch: int = 16, limits: Limits = Limits()):
        self.pipe, self.max_batch, self.limits = pipe, max_batch, limits
        self.jobs: queue.Queue[Job] = queue.Queue(limits.waiting)
        self.batches = self.answered = 0
        self._preparing = threading.Lock()
        self._held: list[Job] = []
        threading.Thread(target=self._work, daemon=True).start()

    @property
    def waiting(self) -> int:
        """Number of requests that wait for a batch."""
        return self.jobs.qsize()

    def submit(
        self,
        inputs: Any,
        on_text: Callable[[str], None] | None = None,
        generate_kwargs: dict[str, Any] | None = None,
        **stated: Any,
    ) -> Future:
        """Prepares a request in the caller's thread and queues it.

        Args:
            inputs: One input of the pipeline.
            on_text: Called with each piece of the answer, from another thread.
            generate_kwargs: Keywords of `generate`.
            stated: Keywords of the pipeline's `preprocess`: question, options, sampling_rate, lead_names, units,
                layout, speed, gain, digitize, coverage, explain.

        Returns: the future of the reply.

        Raises: `Busy`; `BadRequest` for what the pipeline cannot read.
        """
        if self.jobs.full():
            raise Busy(f"{self.limits.waiting} requests are waiting; try again later.")
        try:
            with self._preparing:  # tokenizers are not for two threads at a time
                prepared = self.pipe.preprocess(
                    inputs, **{name: value for name, value in stated.items() if value is not None}
                )
        except (ValueError, TypeError, FileNotFoundError, OverflowError, ImportError) as error:
            raise BadRequest(str(error)) from error
        job = Job(prepared, generate_kwargs or {}, on_text=on_text)
        try:
            self.jobs.put_nowait(job)
        except queue.Full:
            raise Busy(f"{self.limits.waiting} requests are waiting; try again later.") from None
        return job.done

    def _next(self) -> list[Job]:
        """Waits for a request, and adds those that wait as well and have the same keywords of `generate`."""
        jobs, self._held = self._held or [self.jobs.get()], []
        while len(jobs) < self.max_batch:
            try:
                job = self.jobs.get_nowait()
            except queue.Empty:
                break
            if job.generate_kwargs == jobs[0].generate_kwargs:
                jobs.append(job)
            else:
                self._held.append(job)
                break
        return jobs

    def _work(self):
        while True:
            jobs = [job for job in self._next() if job.done.set_running_or_notify_cancel()]
            if jobs:
                self._answer(jobs)

    def _answer(self, jobs: list[Job]):
        generate_kwargs = {"max_time": self.limits.seconds, **jobs[0].generate_kwargs}
        if any(job.on_text for job in jobs):
            written = [job for job in jobs if not (job.prepared["options"] or job.prepared["direct"])]
            generate_kwargs["streamer"] = RowStreamer(self.pipe, written)
        try:
            outputs = self.pipe.forward([job.prepared for job in jobs], **generate_kwargs)
            replies = [self.pipe.postprocess(each) for each in outputs]
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].done.set_exception(error)
            else:  # what one request did must not fail the others
                for job in jobs:
                    self._answer([job])
            return
        self.batches, self.answered = self.batches + 1, self.answered + len(jobs)
        for job, reply in zip(jobs, replies):
            if job.on_text and job.prepared["direct"] and not job.prepared["options"]:
                job.on_text(reply["text"])
            job.done.set_result(reply)


def read_request(data: Any, limits: Limits) -> Request:
    """Reads and checks a request.

    Raises: `BadRequest` that says what is wrong.
    """
    check_encodable(data)
    if not isinstance(data, dict) or "inputs" not in data or set(data) - {"inputs", "parameters"}:
        raise BadRequest('A request is {"inputs": ..., "parameters": {...}}, and nothing beside them.')
    parameters = data.get("parameters") or {}
    if not isinstance(parameters, dict) or set(parameters) - set(PARAMETERS):
        raise BadRequest(f"parameters is a dict with some of {sorted(PARAMETERS)}.")
    tokens = parameters.get("max_new_tokens", min(256, limits.new_tokens))
    if not isinstance(tokens, int) or isinstance(tokens, bool) or not 1 <= tokens <= limits.new_tokens:
        raise BadRequest(f"max_new_tokens must be from 1 to {limits.new_tokens}, got {tokens!r}.")
    stated = {name: parameters.get(name) for name in STATED}
    for name, (kind, described) in KINDS.items():
        if stated[name] is not None and not isinstance(stated[name], kind):
            raise BadRequest(f"{name} is {described}, got {type(stated[name]).__name__}.")
    check_labels({"lead_names": stated["lead_names"] or []})
    inputs = data["inputs"]
    messages = inputs.get("messages") if isinstance(inputs, dict) else None
    if messages is not None:
        if len(inputs) > 1:
            raise BadRequest(f"messages stand alone in inputs, got the keys {sorted(map(str, inputs))}.")
        inputs = read_messages(messages)
        contents = [message["content"] for message in inputs if isinstance(message["content"], list)]
        parts = [part for content in contents for part in content if part["type"] != "text"]
    else:
        parts = inputs if isinstance(inputs, list) else [inputs]
    check_parts(parts, limits)
    if messages is None:
        inputs = {"ecgs": [as_input(part) for part in parts]}
    return Request(inputs, stated, {"max_new_tokens": tokens})


def check_parts(parts: list, limits: Limits) -> None:
    """Raises `BadRequest` for too many ECGs and pictures, or too many values in all of them."""
    if not 1 <= len(parts) <= limits.ecgs:
        raise BadRequest(f"A request is about 1 to {limits.ecgs} ECGs, got {len(parts)}.")
    if sum(check_content(without_type(part), limits) for part in parts) > limits.values:
        raise BadRequest(f"The signals of a request may have {limits.values} values in all.")


def check_content(given: Any, limits: Limits) -> int:
    """Checks one ECG or picture of a request, and returns the number of its values that are given as numbers.

    Raises: `BadRequest` for what a stranger may not ask for.
    """
    if isinstance(given, str):  # is only ever read as base64
        if given.startswith(("http:", "https:", "file:")):
            raise BadRequest("Addresses are not read here; send the content of the file in base64.")
        return 0
    if not isinstance(given, dict):
        raise BadRequest(f"An ECG is base64 or a dict, got {type(given).__name__}.")
    given = {name: value for name, value in given.items() if value is not None}
    if any(name in given for name in ("path", "url", "bytes")):
        raise BadRequest("Paths and addresses are not read here; send the content of the file as 'base64'.")
    encoded = [given[name] for name in ("base64", "image") if name in given]
    if not any(name in given for name in CONTENT) or not all(isinstance(text, str) for text in encoded):
        raise BadRequest(f"An ECG dict has 'base64' or 'signal', got the keys {sorted(map(str, given))}.")
    check_labels(given)
    if encoded:
        return check_content(encoded[0], limits)
    rows = given.get("signal", given.get("ecg"))
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        raise BadRequest("A signal is a list of leads, each a list of numbers.")
    return sum(map(len, rows))


def check_encodable(value: Any) -> None:
    """Raises `BadRequest` for texts anywhere in a request that are no Unicode: half of a surrogate pair, which JSON can
    write, and which no tokenizer, reply or log can. Rows of numbers are passed over.
    """
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BadRequest(f"A text of the request is no valid Unicode: {error.reason}.") from None
    elif isinstance(value, dict):
        for part in (*value, *value.values()):
            check_encodable(part)
    elif isinstance(value, list) and value and not isinstance(value[0], (int, float)):
        for part in value:
            check_encodable(part)


def check_labels(given: dict[str, Any]) -> None:
    """Raises `BadRequest` for a source, warnings or lead names of an ECG dict that a reply or a log could not give back
    as they are: other things than texts, many of them, long ones, and ones of several lines.
    """
    lists = {name: given.get(name, []) for name in ("warnings", "lead_names")}
    for name, labels in lists.items():
        if not isinstance(labels, list) or len(labels) > MAX_LABELS:
            raise BadRequest(f"{name} is a list of at most {MAX_LABELS} texts.")
    for name, labels in {"source": [given.get("source", "")], **lists}.items():
        for label in labels:
            if not isinstance(label, str) or len(label) > MAX_LABEL or not label.isprintable():
                raise BadRequest(f"{name}: expected a text of one line and at most {MAX_LABEL} characters.")


def without_type(part: Any) -> Any:
    """Returns a part of a message without its type."""
    return {name: value for name, value in part.items() if name != "type"} if isinstance(part, dict) else part


def as_input(given: dict[str, Any] | str) -> dict[str, Any]:
    """Returns the content of a request as the pipeline takes it."""
    if isinstance(given, str):
        return {"base64": given}
    return {"base64": given["image"]} if isinstance(given.get("image"), str) else given


def read_messages(messages: Any) -> list[dict[str, Any]]:
    """Reads the messages of a chat: roles, and content of texts, ECGs and pictures.

    Raises: `BadRequest`.
    """
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages is a list of {'role', 'content'}.")
    read = []
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in ("system", "user", "assistant"):
            raise BadRequest("Each message has a role, one of system, user, assistant.")
        content = message.get("content")
        if not isinstance(content, (str, list)):
            raise BadRequest("The content of a message is a text or a list of parts.")
        if isinstance(content, list):
            content = [read_part(part) for part in content]
        read.append({"role": message["role"], "content": content})
    return read


def read_part(part: Any) -> dict[str, Any]:
    """Reads a part of a message: text, ecg, image; or image_url as OpenAI has it, a data: URI.

    Raises: `BadRequest`.
    """
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if (
        kind == "image_url"
        and isinstance(part.get("image_url"), dict)
        and isinstance(part["image_url"].get("url"), str)
    ):
        return {"type": "image", "base64": part["image_url"]["url"]}
    if kind in ("ecg", "image"):
        return {"type": kind, **as_input(without_type(part))}
    raise BadRequest(f"A part of a message is text, ecg, image or image_url, got {kind!r}.")


__all__ = ["BadRequest", "Busy", "DynamicBatcher", "Limits", "Request", "read_request"]
