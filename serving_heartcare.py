# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Serving for many threads: requests are checked, prepared, answered in batches, and replied to. `handler.py`, the
servers in `examples/` and Inference Endpoints use it.

    request   {"inputs": an ECG or picture, a list of them that one question is about, or {"messages": [...]},
               "parameters": {"question", "options", "max_new_tokens", "temperature", "top_p", "stop", "sampling_rate",
               "lead_names", "units", "layout", "speed", "gain", "digitize", "coverage", "explain"}}
    reply     {"text", "probabilities", "findings", "tokens", "measurements", "quality", "pages",
              "provenance"} of the pipeline

An ECG is base64 of a file, or {"signal": [[...], ...], "sampling_rate": 500, "lead_names": [...], "units": "mV"}. Files
and addresses on the server's side are not read. Beside either, "source" is the client's own name of the ECG, one line
that the reply gives back in quality and provenance, and "warnings" what the client's reader warned of. "text" or
"question" beside a picture or ECG asks about it. Where "temperature" is above 0, answers that the language model writes
are sampled; those that follow from measurements and findings are not.

The cost of a request is bounded before it is paid: `Limits` has the bounds.
"""

import multiprocessing
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from PIL import Image
from transformers import pipeline
from transformers.generation import BaseStreamer, StoppingCriteria, StoppingCriteriaList
from transformers.utils import logging

logger = logging.get_logger(__name__)

CONTENT = ("base64", "signal", "ecg", "image")
# Parameters that say something of the input, for the pipeline.
PAGE = ("layout", "speed", "gain", "digitize")
STATED = ("question", "options", "sampling_rate", "lead_names", "units", *PAGE, "coverage", "explain")
PARAMETERS = (*STATED, "max_new_tokens", "temperature", "top_p", "stop")
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
QUESTIONS = ("text", "question")  # keys beside an ECG or picture, as the widgets of the Hub send them
DECODED = (bytes, Image.Image)  # bodies that are no JSON, as a toolkit hands them over
MAX_STOPS = 4  # as many as OpenAI's own server takes
ROLES = {role: role for role in ("system", "user", "assistant")} | {"developer": "system"}


@dataclass(frozen=True)
class Limits:
    """Limits of a request.

    Attributes:
        bytes: Number of bytes of a request.
        arriving: Seconds in which the whole request has to arrive.
        ecgs: Number of ECGs in a request, pictures included.
        values: Number of values of all signals of a request, counted before they are unpacked: 12 leads at 500 Hz for
            an hour are 21,600,000.
        recorded: Length in seconds of all recordings of a request together.
        pixels: Number of pixels of all pictures of a request, counted before they are unpacked.
        characters: Number of characters of all texts of a request.
        messages: Number of messages of a chat.
        options: Number of options of a question.
        new_tokens: Number of tokens of an answer.
        seconds: Time in which an answer is written; the text that is there by then is the answer.
        waiting: Number of requests that wait at a time.
    """

    bytes: int = 20_000_000
    arriving: float = 60.0
    ecgs: int = 8
    values: int = 20_000_000
    recorded: float = 86_400.0
    pixels: int = 2**26
    characters: int = 20_000
    messages: int = 200
    options: int = 64
    new_tokens: int = 512
    seconds: float = 60.0
    waiting: int = 1000

    @property
    def of_reading(self) -> dict[str, float]:
        """The `limits` of the pipeline's `read`."""
        return {"values": self.values, "pixels": self.pixels, "seconds": self.recorded}


class BadRequest(ValueError):
    """A request is refused; the message is for the one who sent it."""


class Busy(RuntimeError):
    """More requests wait than there is room for."""


class Request(NamedTuple):
    """A request that was read: the pipeline's `inputs`, what is `stated` beside them for its `preprocess`, the
    `generate_kwargs` of the answer, and the texts that `stop` it.
    """

    inputs: Any
    stated: dict[str, Any]
    generate_kwargs: dict[str, Any]
    stop: tuple[str, ...]


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
    stated = {name: parameters.get(name) for name in STATED}
    inputs = data["inputs"]
    if isinstance(inputs, dict) and (asked := [inputs[name] for name in QUESTIONS if inputs.get(name) is not None]):
        if len({*asked, *filter(None, [stated["question"]])}) > 1:
            raise BadRequest(f"A request has one question, got {asked} beside the ECG.")
        stated["question"] = asked[0]
        inputs = {name: value for name, value in inputs.items() if name not in QUESTIONS}
    for name, (kind, described) in KINDS.items():
        if stated[name] is not None and not isinstance(stated[name], kind):
            raise BadRequest(f"{name} is {described}, got {type(stated[name]).__name__}.")
    check_labels({"lead_names": stated["lead_names"] or []})
    messages = inputs.get("messages") if isinstance(inputs, dict) else None
    texts = [stated["question"] or ""]
    if messages is not None:
        if len(inputs) > 1:
            raise BadRequest(f"messages stand alone in inputs, got the keys {sorted(map(str, inputs))}.")
        inputs = read_messages(messages, limits)
        parts = [part for message in inputs for part in parts_of(message)]
        texts += [part["text"] for part in parts if part["type"] == "text"]
        check_parts([part for part in parts if part["type"] != "text"], limits, least=0)
    else:
        parts = inputs if isinstance(inputs, list) else [inputs]
        check_parts(parts, limits)
        inputs = {"ecgs": [as_input(part) for part in parts]}
    check_texts(texts, stated["options"] or [], limits)
    return Request(inputs, stated, read_generation(parameters, limits), read_stop(parameters.get("stop")))


def check_encodable(value: Any) -> None:
    """Raises `BadRequest` for texts anywhere in a request that are no Unicode: half of a surrogate pair, which JSON can
    write, and which no tokenizer, reply or log can. Rows of numbers are passed over.
    """
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, str):
            try:
                part.encode()
            except UnicodeEncodeError as error:
                raise BadRequest(f"A text of the request is no valid Unicode: {error.reason}.") from None
        elif isinstance(part, dict):
            left += [*part, *part.values()]
        elif isinstance(part, list) and part and not isinstance(part[0], (int, float)):
            left += part


def read_messages(messages: Any, limits: Limits) -> list[dict[str, Any]]:
    """Reads the messages of a chat: roles, and content of texts, ECGs and pictures.

    Raises: `BadRequest`.
    """
    if not isinstance(messages, list) or not 1 <= len(messages) <= limits.messages:
        raise BadRequest(f"messages is a list of 1 to {limits.messages} of {{'role', 'content'}}.")
    read = []
    for message in messages:
        role = message.get("role") if isinstance(message, dict) else None
        if not isinstance(role, str) or role not in ROLES:
            raise BadRequest(f"Each message has a role, one of {', '.join(ROLES)}.")
        content = message.get("content")
        if content is None and role == "assistant":  # it called a tool
            content = ""
        if not isinstance(content, (str, list)):
            raise BadRequest("The content of a message is a text or a list of parts.")
        if isinstance(content, list):
            content = [read_part(part) for part in content]
        read.append({"role": ROLES[role], "content": content})
    return read


def read_part(part: Any) -> dict[str, Any]:
    """Reads a part of a message: text, ecg, image; or image_url and file as OpenAI has them, with data: URIs.

    Raises: `BadRequest`.
    """
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if kind in ("image_url", "file"):
        content = part.get(kind)
        data = content.get("url" if kind == "image_url" else "file_data") if isinstance(content, dict) else None
        if not isinstance(data, str):
            raise BadRequest(f"A part {kind} has its content in base64 or as a data: URI, since nothing is kept here.")
        return {"type": "image" if kind == "image_url" else "ecg", "base64": data}
    if kind in ("ecg", "image"):
        return {"type": kind, **as_input(without_type(part))}
    raise BadRequest(f"A part of a message is text, ecg, image, image_url or file, got {str(kind)[:40]!r}.")


def parts_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the parts of a message that was read."""
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def check_parts(parts: list, limits: Limits, least: int = 1) -> None:
    """Raises `BadRequest` for too few or too many ECGs and pictures, or too many values in all of them."""
    if not least <= len(parts) <= limits.ecgs:
        raise BadRequest(f"A request is about {least} to {limits.ecgs} ECGs, got {len(parts)}.")
    if sum(check_content(without_type(part), limits) for part in parts) > limits.values:
        raise BadRequest(f"The signals of a request may have {limits.values} values in all.")


def check_content(given: Any, limits: Limits) -> int:
    """Checks one ECG or picture of a request, and returns the number of its values that are given as numbers.

    Raises: `BadRequest` for what a stranger may not ask for.
    """
    if isinstance(given, DECODED):
        return 0
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
    if not any(name in given for name in CONTENT) or not all(isinstance(text, (str, *DECODED)) for text in encoded):
        raise BadRequest(f"An ECG dict has 'base64' or 'signal', got the keys {sorted(map(str, given))}.")
    check_labels(given)
    if encoded:
        return check_content(encoded[0], limits)
    rows = given.get("signal", given.get("ecg"))
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        raise BadRequest("A signal is a list of leads, each a list of numbers.")
    return sum(map(len, rows))


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


def as_input(given: dict[str, Any] | str | bytes | Image.Image) -> dict[str, Any]:
    """Returns the content of a request as the pipeline takes it."""
    if isinstance(given, dict):
        return as_input(given["image"]) if isinstance(given.get("image"), (str, *DECODED)) else given
    name = "base64" if isinstance(given, str) else "bytes" if isinstance(given, bytes) else "image"
    return {name: given}


def check_texts(texts: list[str], options: list, limits: Limits) -> None:
    """Raises `BadRequest` for more or longer texts than a request may have."""
    if (length := sum(map(len, texts))) > limits.characters:
        raise BadRequest(f"The texts of a request may have {limits.characters} characters in all, got {length}.")
    if len(options) > limits.options or any(isinstance(text, str) and len(text) > MAX_LABEL for text in options):
        raise BadRequest(f"options may be {limits.options} texts of at most {MAX_LABEL} characters.")


def read_generation(parameters: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Reads how an answer is written: keywords of `generate`.

    Raises: `BadRequest` for numbers out of their limits.
    """
    tokens = parameters.get("max_new_tokens", min(256, limits.new_tokens))
    if not isinstance(tokens, int) or isinstance(tokens, bool) or not 1 <= tokens <= limits.new_tokens:
        raise BadRequest(f"max_new_tokens must be from 1 to {limits.new_tokens}, got {tokens!r}.")
    found = {}
    for name, most in (("temperature", 2), ("top_p", 1)):
        value = parameters.get(name)
        if value is None:
            continue
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= most:
            raise BadRequest(f"{name} must be a number from 0 to {most}, got {value!r}.")
        found[name] = float(value)
    if not found.get("temperature") or found.get("top_p") == 0:
        return {"max_new_tokens": tokens}  # the likeliest words
    return {"max_new_tokens": tokens, "do_sample": True, **found}


def read_stop(stop: Any) -> tuple[str, ...]:
    """Reads the texts that end an answer: one, or a list of at most `MAX_STOPS`.

    Raises: `BadRequest`.
    """
    stop = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(stop, list) or len(stop) > MAX_STOPS or not all(isinstance(text, str) and text for text in stop):
        raise BadRequest(f"stop is a text or a list of at most {MAX_STOPS} texts.")
    if any(len(text) > MAX_LABEL for text in stop):
        raise BadRequest(f"A text of stop has at most {MAX_LABEL} characters.")
    return tuple(stop)


class Reply(Future):
    """The future of a reply. A reply that is being written can be cancelled as well: it ends with the next token."""

    def __init__(self):
        super().__init__()
        self.is_over = False

    def cancel(self) -> bool:
        """Cancels the request, and returns whether it was still waiting."""
        self.is_over = True
        return super().cancel()


@dataclass
class Job:
    """A prepared request that waits for its answer.

    Attributes:
        prepared: Result of the pipeline's `encode`.
        generate_kwargs: Keywords of `generate`.
        stop: Texts that end the answer, and are no part of it.
        done: Future of the reply.
        on_text: Called with each piece of the answer.
        sent: Number of characters that `on_text` was given.
    """

    prepared: dict[str, Any]
    generate_kwargs: dict[str, Any]
    stop: tuple[str, ...] = ()
    done: Reply = field(default_factory=Reply)
    on_text: Callable[[str], None] | None = None
    sent: int = 0

    def send(self, text: str) -> None:
        """Hands on what is new of the answer, which begins with `text`."""
        if self.on_text is not None and len(text) > self.sent:  # a retried answer sends nothing twice
            self.on_text(text[self.sent :])
            self.sent = len(text)


class DynamicBatcher:
    """Runs one pipeline for many threads: requests that wait at the same time are answered as one batch.

    Args:
        pipe: An `ECGInterpretationPipeline`.
        max_batch: Number of requests of a batch; 1 answers one after the other.
        limits: Its `waiting` and `seconds` hold here.
        preparers: Processes that read, clean and measure what is asked about; without them, the threads of the callers
            do, which share one interpreter.
    """

    def __init__(self, pipe: Any, max_batch: int = 16, limits: Limits = Limits(), preparers: Executor | None = None):
        self.pipe, self.max_batch, self.limits, self.preparers = pipe, max_batch, limits, preparers
        self.jobs: queue.Queue[Job] = queue.Queue(limits.waiting)
        self.batches = self.answered = 0
        self._encoding = threading.Lock()
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
        stop: Sequence[str] = (),
        coverage: float | None = None,
        explain: bool | None = None,
        **stated: Any,
    ) -> Reply:
        """Prepares a request in the caller's thread and queues it.

        Args:
            inputs: One input of the pipeline.
            on_text: Called with each piece of the answer, from another thread.
            generate_kwargs: Keywords of `generate`.
            stop: Texts that end the answer.
            coverage, explain, stated: Keywords of the pipeline's `preprocess`: question, options, sampling_rate,
                lead_names, units, layout, speed, gain, digitize.

        Returns: the future of the reply.

        Raises: `Busy`; `BadRequest` for what the pipeline cannot read.
        """
        if self.jobs.full():
            raise Busy(f"{self.limits.waiting} requests are waiting; try again later.")
        try:
            stated = {name: value for name, value in stated.items() if value is not None}
            prepared = self._prepare(inputs, {"limits": self.limits.of_reading, **stated}, (coverage, bool(explain)))
        except (ValueError, TypeError, FileNotFoundError, OverflowError, ImportError) as error:
            raise BadRequest(str(error)) from error
        job = Job(prepared, generate_kwargs or {}, tuple(stop), on_text=on_text)
        try:
            self.jobs.put_nowait(job)
        except queue.Full:
            raise Busy(f"{self.limits.waiting} requests are waiting; try again later.") from None
        return job.done

    def _prepare(self, inputs: Any, stated: dict[str, Any], extras: tuple[float | None, bool]) -> dict[str, Any]:
        if self.preparers is not None:
            try:
                prepared = self.preparers.submit(prepare_apart, inputs, stated, extras).result()
                features = {name: torch.from_numpy(value) for name, value in prepared["features"].items()}
                return prepared | {"features": features}
            except BrokenExecutor:
                logger.warning("A process that prepares requests ended; this one prepares them from now on.")
                self.preparers = None
        reading = self.pipe.read(inputs, **stated)
        with self._encoding:  # tokenizers are not for two threads at a time
            return self.pipe.encode(reading, *extras)

    def _work(self):
        while True:
            jobs = [job for job in self._next() if job.done.set_running_or_notify_cancel()]
            if jobs:
                self._answer(jobs)

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

    def _answer(self, jobs: list[Job]):
        generate_kwargs = {"max_time": self.limits.seconds, **jobs[0].generate_kwargs}
        written = [job for job in jobs if not (job.prepared["options"] or job.prepared["direct"])]
        if written:
            generate_kwargs["stopping_criteria"] = StoppingCriteriaList([NobodyWaits(written)])
        if any(job.on_text or job.stop for job in written):
            generate_kwargs["streamer"] = RowStreamer(self.pipe, written)
        try:
            outputs = self.pipe.forward([job.prepared for job in jobs], **generate_kwargs)
            replies = [self.pipe.postprocess(each) for each in outputs]
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].done.set_exception(error)
            else:  # the fault of one request must not fail the others
                for job in jobs:
                    self._answer([job])
            return
        self.batches, self.answered = self.batches + 1, self.answered + len(jobs)
        for job, reply in zip(jobs, replies):
            if not job.prepared["options"]:
                reply["text"], is_stopped = before_stop(reply["text"], job.stop)
                reply["tokens"]["finished"] |= is_stopped
                job.send(reply["text"])
            job.done.set_result(reply)


def preparers_of(model: str, number: int) -> Executor:
    """Starts processes that prepare requests, each with a pipeline of its own, and waits until all are ready.

    Args:
        model: Repository or folder of the model.
        number: Number of processes; each takes as much memory as the model.
    """
    processes = ProcessPoolExecutor(number, multiprocessing.get_context("spawn"), load_apart, (model,))
    # As many tasks at a time make as many processes.
    wait([processes.submit(time.sleep, 0.5) for _ in range(number)])
    return processes


def load_apart(model: str) -> None:
    """Loads the pipeline of a process that prepares requests."""
    from .workers_heartcare import end_with_parent  # the handler imports this module without a package

    global _pipe
    end_with_parent()
    torch.set_num_threads(1)  # there is a process for each core
    _pipe = pipeline(model=model)  # with the code of the package that this module is a part of


def prepare_apart(inputs: Any, stated: dict[str, Any], extras: tuple[float | None, bool]) -> dict[str, Any]:
    """Prepares a request in a process that `load_apart` made ready."""
    prepared = _pipe.encode(_pipe.read(inputs, **stated), *extras)
    # As numpy arrays the features are copied; of tensors, a handle of shared memory would be sent.
    return prepared | {"features": {name: value.numpy() for name, value in prepared["features"].items()}}


class NobodyWaits(StoppingCriteria):
    """Ends the answers of a batch that nobody waits for any more."""

    def __init__(self, jobs: list[Job]):
        self.jobs = jobs

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: Any) -> torch.BoolTensor:
        """Tells which rows end: bool (batch,)."""
        return torch.tensor([job.done.is_over for job in self.jobs], device=input_ids.device)


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
        """Sends what is ready of an answer, and ends one that came to a text that stops it."""
        job = self.jobs[row]
        if job.on_text is None and not job.stop:
            return
        text = self.tokenizer.decode(self.ids[row], skip_special_tokens=True)
        ready, is_stopped = before_stop(self.pipe.numbered(job.prepared, text, final), job.stop, final)
        job.done.is_over |= is_stopped
        job.send(ready)


def before_stop(text: str, stop: Sequence[str], final: bool = True) -> tuple[str, bool]:
    """Returns a text as far as the first of the texts that stop it, and whether it came to one.

    Args:
        text: The text, or its beginning.
        stop: The texts that stop it.
        final: True if the text is complete; otherwise an end that may begin a text that stops it is held back.
    """
    places = [place for each in stop if (place := text.find(each)) >= 0]
    if places:
        return text[: min(places)], True
    if not final:
        held = [size for each in stop for size in range(1, len(each)) if text.endswith(each[:size])]
        text = text[: len(text) - max(held, default=0)]
    return text, False


__all__ = ["BadRequest", "Busy", "DynamicBatcher", "Limits", "Request", "preparers_of", "read_request"]
