# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""For Hugging Face Inference Endpoints: `EndpointHandler`, as their toolkit calls it; and the dynamic batching that
`examples/serve.py` uses, too.

    request   {"inputs": an ECG or picture, a list of them that one question is about, or {"messages": [...]},
               "parameters": {"question", "options", "max_new_tokens", "sampling_rate", "lead_names", "units"}}
    reply     {"text", "probabilities" with options, "tokens", "quality", "provenance", "seconds"}

An ECG is base64 of a file (.npy, .npz, .csv, .png, .jpg, ...), or {"signal": [[...], ...], "sampling_rate": 500,
"lead_names": [...], "units": "mV"}. Files and addresses on the server's side are not read.
"""

import json
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from transformers import pipeline
from transformers.generation import BaseStreamer

CONTENT = ("bytes", "base64", "signal", "ecg", "image")


@dataclass(frozen=True)
class Limits:
    """
    Attributes:
        bytes: Of a request.
        ecgs: In a request, pictures included.
        values: Of all signals of a request: 12 leads at 500 Hz for an hour are 21,600,000.
        new_tokens: Of an answer.
        seconds: That an answer may take once it is being written; what there is by then is the answer.
        waiting: Requests at a time.
    """

    bytes: int = 20_000_000
    ecgs: int = 8
    values: int = 20_000_000
    new_tokens: int = 512
    seconds: float = 60.0
    waiting: int = 1000


class BadRequest(ValueError):
    """What is wrong with a request, for the one who sent it."""


class Busy(RuntimeError):
    """More requests wait than there is room for."""


@dataclass
class Job:
    prepared: dict
    options: dict
    done: Future = field(default_factory=Future)
    on_text: Callable[[str], None] | None = None
    sent: int = 0  # characters that on_text was given


class RowStreamer(BaseStreamer):
    """Gives each row of a batch its text as it is written."""

    def __init__(self, tokenizer, jobs: list[Job]):
        self.tokenizer, self.jobs = tokenizer, jobs
        self.ids: list[list[int]] = [[] for _ in jobs]
        self.prompt = True

    def put(self, value):
        if self.prompt:  # the prompts come first
            self.prompt = False
            return
        for row, token in enumerate(value.tolist()):
            self.ids[row].append(token)
            self._send(row, final=False)

    def end(self):
        for row in range(len(self.jobs)):
            self._send(row, final=True)

    def _send(self, row: int, final: bool):
        """Text up to the last blank, since a word may go on."""
        job = self.jobs[row]
        if job.on_text is None:
            return
        text = self.tokenizer.decode(self.ids[row], skip_special_tokens=True)
        ready = len(text) if final else text.rfind(" ") + 1
        if ready > job.sent:  # which an answer that is begun again, alone, comes to later
            job.on_text(text[job.sent : ready])
            job.sent = ready


class DynamicBatcher:
    """Runs one pipeline for many threads: requests that wait at the same time are answered as one batch.

    Args:
        pipe: An `ECGInterpretationPipeline`.
        max_batch: Requests of a batch; 1 for one after the other.
        limits: `waiting` and `seconds` hold here.
    """

    def __init__(self, pipe, max_batch: int = 16, limits: Limits = Limits()):
        self.pipe, self.max_batch, self.limits = pipe, max_batch, limits
        self.jobs: queue.Queue[Job] = queue.Queue(limits.waiting)
        self.batches = self.answered = 0
        self._preparing = threading.Lock()
        self._held: list[Job] = []
        threading.Thread(target=self._work, daemon=True).start()

    @property
    def waiting(self) -> int:
        """Requests that wait for a batch."""
        return self.jobs.qsize()

    def submit(
        self, inputs, on_text: Callable[[str], None] | None = None, options: dict | None = None, **given
    ) -> Future:
        """Prepares a request in the caller's thread and queues it.

        Args:
            inputs: As the pipeline takes them.
            on_text: Called with each piece of the answer, from another thread.
            options: For `generate`.
            given: For the pipeline's `preprocess`: question, options of a closed question as `choices`, sampling_rate,
                lead_names, units.

        Raises: `Busy`; `BadRequest` for what the pipeline cannot read.
        """
        if self.jobs.full():
            raise Busy(f"{self.limits.waiting} requests are waiting; try again later.")
        if "choices" in given:
            given["options"] = given.pop("choices")
        try:
            with self._preparing:  # tokenizers are not for two threads at a time
                prepared = self.pipe.preprocess(
                    inputs, **{name: value for name, value in given.items() if value is not None}
                )
        except (ValueError, TypeError, FileNotFoundError, OverflowError) as error:
            raise BadRequest(str(error)) from error
        job = Job(prepared, options or {}, on_text=on_text)
        try:
            self.jobs.put_nowait(job)
        except queue.Full:
            raise Busy(f"{self.limits.waiting} requests are waiting; try again later.") from None
        return job.done

    def _next(self) -> list[Job]:
        """Waits for a request, and takes those along that wait too and are to be answered in the same way."""
        jobs, self._held = self._held or [self.jobs.get()], []
        while len(jobs) < self.max_batch:
            try:
                job = self.jobs.get_nowait()
            except queue.Empty:
                break
            if job.options == jobs[0].options:
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
        options = {"max_time": self.limits.seconds, **jobs[0].options}
        if any(job.on_text for job in jobs):
            written = [job for job in jobs if not job.prepared["options"]]
            options["streamer"] = RowStreamer(self.pipe.processor.tokenizer, written)
        try:
            outputs = self.pipe.forward([job.prepared for job in jobs], **options)
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
            job.done.set_result(reply)


def check_content(given, limits: Limits) -> int:
    """One ECG or picture of a request -> the number of its values. Raises: `BadRequest` for what a stranger may not ask
    for.
    """
    if isinstance(given, str):  # is only ever read as base64
        if given.startswith(("http:", "https:", "file:")):
            raise BadRequest("Addresses are not read here; send the content of the file in base64.")
        return 0
    if not isinstance(given, dict):
        raise BadRequest(f"An ECG is base64 or a dict, got {type(given).__name__}.")
    if not any(name in given for name in CONTENT) or not all(
        isinstance(given.get(name), str) for name in ("base64", "image") if name in given
    ):
        raise BadRequest(f"An ECG dict has 'base64' or 'signal', got the keys {sorted(map(str, given))}.")
    if any(name in given for name in ("path", "url", "bytes")):
        raise BadRequest("Paths and addresses are not read here; send the content of the file as 'base64'.")
    for name in ("base64", "image"):
        if name in given:
            return check_content(given[name], limits)
    rows = given.get("signal", given.get("ecg"))
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        raise BadRequest("A signal is a list of leads, each a list of numbers.")
    return sum(map(len, rows))


def as_input(given: dict | str) -> dict:
    """Content of a request -> as the pipeline takes it."""
    if isinstance(given, str):
        return {"base64": given}
    return {"base64": given["image"]} if isinstance(given.get("image"), str) else given


def read_request(data: dict, limits: Limits) -> tuple[object, dict, dict]:
    """A request -> the pipeline's input, what its `preprocess` takes beside it, options for `generate`.

    Raises: `BadRequest` that says what is wrong.
    """
    if not isinstance(data, dict) or "inputs" not in data:
        raise BadRequest('A request is {"inputs": ..., "parameters": {...}}.')
    parameters = data.get("parameters") or {}
    known = {"question", "options", "max_new_tokens", "sampling_rate", "lead_names", "units"}
    if not isinstance(parameters, dict) or (set(parameters) - known):
        raise BadRequest(f"parameters is a dict with some of {sorted(known)}.")
    tokens = parameters.get("max_new_tokens", min(256, limits.new_tokens))
    if not isinstance(tokens, int) or isinstance(tokens, bool) or not 1 <= tokens <= limits.new_tokens:
        raise BadRequest(f"max_new_tokens must be from 1 to {limits.new_tokens}, got {tokens!r}.")
    given = {"choices": parameters.get("options")} | {
        name: parameters.get(name) for name in ("question", "sampling_rate", "lead_names", "units")
    }
    if given["question"] is not None and not isinstance(given["question"], str):
        raise BadRequest("question is a text.")
    inputs = data["inputs"]
    messages = inputs.get("messages") if isinstance(inputs, dict) else None
    if messages is not None:
        inputs = read_messages(messages)
        parts = [
            part
            for message in inputs
            if isinstance(message["content"], list)
            for part in message["content"]
            if part["type"] != "text"
        ]
    else:
        parts = inputs if isinstance(inputs, list) else [inputs]
    if not 1 <= len(parts) <= limits.ecgs:
        raise BadRequest(f"A request is about 1 to {limits.ecgs} ECGs, got {len(parts)}.")
    if (
        sum(
            check_content(
                {name: value for name, value in part.items() if name != "type"} if isinstance(part, dict) else part,
                limits,
            )
            for part in parts
        )
        > limits.values
    ):
        raise BadRequest(f"The signals of a request may have {limits.values} values in all.")
    if messages is None:
        inputs = {"ecgs": [as_input(part) for part in parts]}
    return inputs, given, {"max_new_tokens": tokens}


def read_messages(messages) -> list[dict]:
    """Messages of a chat, checked: roles, and content of texts, ECGs and pictures. Raises: `BadRequest`."""
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages is a list of {'role', 'content'}.")
    found = []
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in ("system", "user", "assistant"):
            raise BadRequest("Each message has a role, one of system, user, assistant.")
        content = message.get("content")
        if not isinstance(content, (str, list)):
            raise BadRequest("The content of a message is a text or a list of parts.")
        if isinstance(content, list):
            content = [read_part(part) for part in content]
        found.append({"role": message["role"], "content": content})
    return found


def read_part(part) -> dict:
    """A part of a message: text, ecg, image; or image_url as OpenAI has it, a data: URI."""
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
        return {"type": kind, **as_input({name: value for name, value in part.items() if name != "type"})}
    raise BadRequest(f"A part of a message is text, ecg, image or image_url, got {kind!r}.")


class EndpointHandler:
    """What the toolkit of Inference Endpoints loads from a repository.

    Args:
        path: Folder of the repository.
    """

    def __init__(self, path: str = "", limits: Limits = Limits(), max_batch: int = 16):
        self.limits = limits
        self.batcher = DynamicBatcher(pipeline(model=path or ".", trust_remote_code=True), max_batch, limits)

    def __call__(self, data: dict) -> dict:
        """A request (see above) -> its reply. May be called from many threads. Raises: `BadRequest`, `Busy`,
        `TimeoutError`.
        """
        if len(json.dumps(data, default=lambda value: repr(type(value)))) > self.limits.bytes:
            raise BadRequest(f"A request may have {self.limits.bytes} bytes.")
        inputs, given, options = read_request(data, self.limits)
        started = time.monotonic()
        reply = self.batcher.submit(inputs, options=options, **given).result()
        return reply | {"seconds": round(time.monotonic() - started, 3)}
