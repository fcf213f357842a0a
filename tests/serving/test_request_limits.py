"""The cost of a request is bounded before it is paid: each test is an attack that once cost memory or time."""

import base64
import io
import json
import socket
import threading
import time
import tracemalloc
import urllib.error
import urllib.request
import zlib

import numpy as np
import pytest
import uvicorn
from PIL import Image
from support.requests import message, packed

from heartcare.examples.serve import create_app
from heartcare.serving_heartcare import BadRequest, DynamicBatcher, Limits, read_request

CHEAP = 50e6  # bytes


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def day_of_zeros() -> str:
    """Packs 24 hours of twelve leads at 100 Hz, 104 million values, into half a megabyte."""
    file = io.BytesIO()
    np.savez_compressed(file, signal=np.zeros((12, 8_640_000), np.int8), sampling_rate=100, units="mV")
    return encoded(file.getvalue())


def white_png(width: int, height: int) -> str:
    """Draws a white picture of any size, one bit a pixel."""
    file = io.BytesIO()
    Image.new("1", (8, 8), 1).save(file, "PNG")
    start = file.getvalue()[:8]

    def chunk(name: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\1\0\0\0\0"
    rows = zlib.compress((b"\0" + b"\xff" * -(-width // 8)) * height, 9)
    return encoded(start + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


@pytest.fixture(scope="module")
def batcher(pipe):
    return DynamicBatcher(pipe)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (lambda: {"base64": encoded(b"I" + b" " * 60_000 + b"x")}, "line of|no known ECG format"),
        (lambda: {"base64": encoded(b'"' + b" " * 30_000 + b"[")}, "line of|no known ECG format"),
        (lambda: {"base64": day_of_zeros()}, "103680000 values"),
        (lambda: {"base64": white_png(13_000, 13_000)}, "pixels"),
        (lambda: {"ecgs": [{"base64": white_png(6_000, 6_000)}] * 3}, "pixels"),
        (lambda: {"ecgs": [{"base64": day_of_ones()}] * 2}, "s longer than is answered"),
    ],
    ids=["blanks in a header", "blanks and a bracket", "a day in a megabyte", "169 MP", "three of 36 MP", "two days"],
)
def test_what_unpacks_to_too_much_is_refused_before_it_is_unpacked(batcher, inputs, words):
    given = inputs()
    tracemalloc.start()
    started = time.thread_time()
    with pytest.raises(BadRequest, match=words):
        batcher.submit(given, question="Is it normal?")
    seconds, (_, peak) = time.thread_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 5 and peak < CHEAP + 4 * len(json.dumps(given))


def day_of_ones() -> str:
    """Makes 20 hours of one lead at 50 Hz."""
    file = io.BytesIO()
    signal = np.ones((1, 20 * 3600 * 50), np.int8)
    np.savez_compressed(file, signal=signal, sampling_rate=50, units="mV", lead_names=["II"])
    return encoded(file.getvalue())


@pytest.mark.parametrize(
    ("inputs", "parameters", "words"),
    [
        ("x", {"question": "normal? " * 25_000}, "20000 characters"),
        ("x", {"options": [f"rhythm {k}" for k in range(2000)]}, "64 texts"),
        ("x", {"options": ["a", "b" * 201]}, "at most 200 characters"),
        ({"messages": [{"role": "user", "content": "a"}] * 201}, {}, "1 to 200"),
        ({"messages": [{"role": "user", "content": "a" * 11_000}] * 2}, {}, "20000 characters"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}] * 20_001}]}, {}, "20000 characters"),
        ("x", {"stop": ["a" * 201]}, "at most 200"),
    ],
)
def test_texts_are_bounded(inputs, parameters, words):
    with pytest.raises(BadRequest, match=words):
        read_request({"inputs": inputs, "parameters": parameters}, Limits())


def test_deep_requests_are_refused(server):
    """Lists as deep as the parser of JSON takes them are refused, wherever they stand."""
    for before, after in (('{"messages": ', "}"), ('{"messages": [{"role": "user", "content": ', "}]}"), ("", "")):
        body = f"{before}{'[' * 900}{']' * 900}{after}".encode()
        request = urllib.request.Request(f"{server[0]}/v1/chat/completions", body, {"Authorization": "Bearer secret"})
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        assert caught.value.code == 400


def test_the_longest_texts_are_answered(batcher, ecgs):
    """The longest question that is allowed fits the language model's places, or is refused by its name."""
    given = {"signal": ecgs[0].signal, "sampling_rate": 500, "units": "mV"}
    started = time.thread_time()
    with pytest.raises(BadRequest, match="tokens, and the language model has"):
        batcher.submit(given, question="xq " * 6_600)
    options = [f"{k:03d} {'rhythm ' * 9}" for k in range(64)]
    assert batcher.submit(given, question="Which one is it?", options=options).result(120)["text"] in options
    assert time.thread_time() - started < 20


class Endless:
    """A pipeline whose answers end with their clients alone."""

    def __init__(self):
        self.begun, self.ended = threading.Event(), threading.Event()

    def read(self, inputs, **given):
        return inputs

    def encode(self, *given):
        return {"options": [], "direct": False}

    def forward(self, batch, stopping_criteria, streamer=None, **options):
        self.begun.set()
        deadline = time.monotonic() + 60
        import torch

        while not stopping_criteria(torch.zeros(len(batch), 1), None).all() and time.monotonic() < deadline:
            time.sleep(0.01)
        if time.monotonic() < deadline:
            self.ended.set()
        return batch

    def postprocess(self, each):
        return {"text": "", "tokens": {"finished": False, "answer": 0, "prompt": 0}}


@pytest.fixture
def endless():
    """Yields (port, pipeline) of a server that answers without end."""
    pipe = Endless()
    pipe.processor = type("Processor", (), {"tokenizer": None})
    app = create_app(DynamicBatcher(pipe, limits=Limits(arriving=1.0)), "heartcare")
    running = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.05)
    yield running.servers[0].sockets[0].getsockname()[1], pipe
    running.should_exit = True
    thread.join(10)


def post(port: int, body: bytes, length: int | None = None) -> socket.socket:
    """Opens a connection, and sends a request and the given part of its body."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    size = len(body) if length is None else length
    connection.sendall(
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode() + body
    )
    return connection


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_ends_when_its_client_leaves(endless, ecgs, stream):
    port, pipe = endless
    connection = post(port, json.dumps({"messages": message(ecgs[0], "x"), "stream": stream}).encode())
    assert pipe.begun.wait(60)
    connection.close()
    assert pipe.ended.wait(30)


def test_a_request_that_waits_is_dropped_when_its_client_leaves(endless, ecgs):
    """Ten clients leave while another's answer is written: none of theirs is begun."""
    port, pipe = endless
    body = json.dumps({"messages": message(ecgs[0], "x")}).encode()
    first = post(port, body)
    assert pipe.begun.wait(60)
    for connection in [post(port, body) for _ in range(10)]:
        connection.close()
    deadline = time.monotonic() + 30
    pipe.begun.clear()
    time.sleep(2)
    first.close()
    assert pipe.ended.wait(max(0, deadline - time.monotonic()))
    assert not pipe.begun.wait(2)


def test_a_body_that_does_not_arrive_is_not_waited_for(endless):
    port, _ = endless
    with post(port, b"{", length=1000) as connection:
        assert b"408" in connection.recv(1000).split(b"\r\n")[0]


def test_a_request_costs_no_more_than_it_says(batcher, ecgs):
    """The limits hold for one request, not for those before it."""
    for _ in range(3):
        reply = batcher.submit({"base64": packed(ecgs[0])}, question="Is it normal?").result(60)
        assert reply["text"]
