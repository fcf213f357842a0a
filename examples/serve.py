"""A server for those who host the model themselves: OpenAI's chat completions, with ECGs beside text and pictures.

    pip install -e ".[serve]"
    python examples/serve.py --model . --port 8000

--token SECRET asks for a bearer token; --cors https://example.org lets that page's scripts ask; --max-batch 1 answers
one request after the other; --preparers 2 has two processes read, clean and measure, which is worth it from two cores
and eight clients on.

POST /v1/chat/completions takes what OpenAI's clients send; a message's content may have, beside text, image_url (data:
URIs) and file (`file_data`: any ECG file or picture),

    {"type": "ecg", "base64": "..."}                                     any ECG file
    {"type": "ecg", "signal": [[...], ...], "sampling_rate": 500, "lead_names": ["I", "II", ...], "units": "mV"}

A request may have "options", a list of answers to choose from, and all other keywords of the pipeline. The reply's
`heartcare` has findings, measurements, probabilities, quality, pages and provenance, and "warnings", which name each
key of the request that had no effect. `response_format` with a JSON schema fills its properties with findings and
measurements (`structured.py`); `logprobs` are those of answers with a probability. `usage` counts tokens, those of ECGs
and pictures too; `finish_reason` is "length" for an answer that was cut off. Requests that wait at the same time are
answered as one batch, and a request whose client left is dropped. GET /v1/models, /health, /metrics (Prometheus).
"""

import argparse
import asyncio
import contextlib
import hmac
import json
import os
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from transformers import pipeline

from heartcare.examples.chat_completions import (
    answer_of,
    as_request,
    completion,
    extras,
    finish_reason,
    logprobs_of,
    schema_of,
    usage,
)
from heartcare.serving_heartcare import BadRequest, Busy, DynamicBatcher, Limits, preparers_of, read_request
from heartcare.version_heartcare import HEARTCARE_VERSION

LOOKING = 0.5  # seconds between two looks at whether a client is still there
GRACE = 60  # seconds that answers may take when the server is told to stop
MAX_CONNECTIONS = 512
BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)  # seconds


def create_app(batcher: DynamicBatcher, name: str, token: str | None = None, origins: Sequence[str] = ()) -> FastAPI:
    """Returns the server as an ASGI application.

    Args:
        batcher: The batcher that answers the requests.
        name: Name of the model for clients.
        token: Bearer token that requests must have, if any.
        origins: Web pages, as "https://example.org" or "*", whose scripts may ask.
    """
    app = FastAPI(title="HeartcareGPT", version=HEARTCARE_VERSION, docs_url=None, redoc_url=None)
    metrics, limits = Metrics(), batcher.limits
    app.state.batcher = batcher

    app.add_middleware(Guard, metrics=metrics, token=token)
    if origins:  # around the guard, since browsers ask without a token whether they may ask
        app.add_middleware(CORSMiddleware, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=["*"])

    @app.get("/health")
    async def health():
        return {"status": "ok", "version": HEARTCARE_VERSION, "model": name, "waiting": batcher.waiting}

    @app.get("/metrics")
    async def show_metrics():
        return PlainTextResponse(metrics.text(batcher))

    @app.get("/v1/models")
    async def models():
        return {"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": "heartcare"}]}

    @app.post("/v1/chat/completions")
    async def complete(request: Request):
        try:
            body = json.loads(await read_body(request, limits))
        except TooLong as error:
            return problem(413, str(error))
        except TimeoutError:
            return problem(408, f"A request has to arrive within {limits.arriving:g} s.")
        except (UnicodeDecodeError, ValueError, RecursionError) as error:
            return problem(400, f"The body is no JSON ({error}).")
        return await answer(batcher, name, body, request)

    return app


class Metrics:
    """Counts, in the text format of Prometheus."""

    def __init__(self):
        self.requests: Counter = Counter()
        self.buckets: Counter = Counter()
        self.seconds = 0.0

    def note(self, status: int, seconds: float) -> None:
        """Counts a request that ended with `status` after `seconds`."""
        self.requests[status] += 1
        self.seconds += seconds
        for bound in BUCKETS:
            self.buckets[bound] += seconds <= bound

    def text(self, batcher: DynamicBatcher) -> str:
        """Returns all counts, with those of the batcher."""
        count = sum(self.requests.values())
        lines = ["# TYPE heartcare_requests_total counter"]
        lines += [f'heartcare_requests_total{{status="{status}"}} {n}' for status, n in sorted(self.requests.items())]
        lines.append("# TYPE heartcare_request_seconds histogram")
        lines += [f'heartcare_request_seconds_bucket{{le="{bound}"}} {self.buckets[bound]}' for bound in BUCKETS]
        lines += [f'heartcare_request_seconds_bucket{{le="+Inf"}} {count}']
        lines += [f"heartcare_request_seconds_sum {self.seconds:.3f}", f"heartcare_request_seconds_count {count}"]
        lines += ["# TYPE heartcare_batches_total counter", f"heartcare_batches_total {batcher.batches}"]
        lines += ["# TYPE heartcare_answers_total counter", f"heartcare_answers_total {batcher.answered}"]
        lines += ["# TYPE heartcare_waiting gauge", f"heartcare_waiting {batcher.waiting}"]
        return "\n".join(lines) + "\n"


class Guard:
    """Lets only requests with the token pass to /v1, and counts them all.

    Args:
        app: The application behind it.
        metrics: The counts.
        token: Bearer token that requests must have, if any.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, token: str | None):
        self.app, self.metrics = app, metrics
        self.expected = None if token is None else f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or hands it on."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1"):
            await self.app(scope, receive, send)
            return
        started, status = time.monotonic(), 500

        async def note_status(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        given = dict(scope["headers"]).get(b"authorization", b"")
        is_known = self.expected is None or hmac.compare_digest(given, self.expected)
        answering = self.app if is_known else problem(401, "A bearer token is needed.")
        try:
            await answering(scope, receive, note_status)
        finally:
            self.metrics.note(status, time.monotonic() - started)


def problem(status: int, message: str) -> JSONResponse:
    """Returns a reply of an HTTP status that says what is wrong, in OpenAI's form."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return JSONResponse({"error": {"message": message, "type": kind, "param": None, "code": None}}, status)


async def read_body(request: Request, limits: Limits) -> bytes:
    """Reads the body of a request.

    Raises: `TooLong` as soon as it is longer than a request may be; `TimeoutError` when it takes too long to arrive.
    """
    content = bytearray()
    async with asyncio.timeout(limits.arriving):
        async for chunk in request.stream():
            content += chunk
            if len(content) > limits.bytes:
                raise TooLong(f"A request may have {limits.bytes} bytes.")
    return bytes(content)


class TooLong(Exception):
    """The body of a request is beyond the limit."""


async def answer(batcher: DynamicBatcher, name: str, body: Any, request: Request) -> Any:
    """Answers a chat completion: as one object, as a stream of events, or with a problem. A client that leaves takes
    its request with it.
    """
    pieces: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def put(piece: str | None) -> None:
        loop.call_soon_threadsafe(pieces.put_nowait, piece)

    try:
        read = read_request(as_request(body), batcher.limits)
        stream, (is_json, _) = bool(body.get("stream")), schema_of(body)
        waiting = await asyncio.to_thread(
            batcher.submit,
            read.inputs,
            on_text=put if stream and not (is_json or read.stated["options"]) else None,
            generate_kwargs=read.generate_kwargs,
            stop=read.stop,
            **read.stated,
        )
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": name}
        if stream:
            waiting.add_done_callback(lambda _: put(None))
            return StreamingResponse(events(head, waiting, pieces, body), media_type="text/event-stream")
        return completion(head, await unless_left(waiting, request), body)
    except BadRequest as error:
        return problem(400, str(error))
    except Busy as error:
        return problem(503, str(error))
    except Exception as error:
        return problem(500, f"The answer failed ({type(error).__name__}).")


async def events(head: dict, waiting: Future, pieces: asyncio.Queue, body: dict) -> AsyncIterator[str]:
    """Yields the server-sent events of an answer that is being written.

    Args:
        head: Fields of every event.
        waiting: The reply to come, which is cancelled when the client leaves.
        pieces: Pieces of its text, and None after the last one.
        body: The request.
    """

    def event(*choices: dict, **more: Any) -> str:
        return f"data: {json.dumps({**head, 'object': 'chat.completion.chunk', 'choices': choices, **more})}\n\n"

    def choice(ended: str | None = None, logprobs: dict | None = None, **delta: str) -> dict:
        return {"index": 0, "delta": delta, "finish_reason": ended, "logprobs": logprobs}

    try:
        yield event(choice(role="assistant", content=""))
        written = False
        while (piece := await pieces.get()) is not None:
            written = True
            yield event(choice(content=piece))
    finally:
        waiting.cancel()  # for a client that left; it has no effect on a reply that is there
    try:
        reply = waiting.result()
        if not written:
            yield event(choice(**{name: text for name, text in answer_of(reply, body).items() if text is not None}))
    except BadRequest as error:
        yield f"data: {json.dumps({'error': {'message': str(error), 'type': 'invalid_request_error'}})}\n\n"
        return
    except Exception as error:
        failure = {"message": f"The answer failed ({type(error).__name__}).", "type": "server_error"}
        yield f"data: {json.dumps({'error': failure})}\n\n"
        return
    yield event(choice(finish_reason(reply), logprobs_of(reply, body)), heartcare=extras(reply, body))
    options = body.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        yield event(usage=usage(reply))
    yield "data: [DONE]\n\n"


async def unless_left(waiting: Future, request: Request) -> dict:
    """Waits for a reply, and cancels it when the client has left.

    Raises: the errors of the reply; `ConnectionError` for a client that left.
    """
    reply = asyncio.ensure_future(asyncio.wrap_future(waiting))
    while not reply.done():
        await asyncio.wait({reply}, timeout=LOOKING)
        if not reply.done() and await request.is_disconnected():
            reply.cancel()
            raise ConnectionError("The client left.")
    return reply.result()


def run(app: FastAPI, host: str, port: int) -> None:
    """Serves until it is told to stop by a signal; requests that are being answered are answered first."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="warning",
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=GRACE,
    )
    with contextlib.suppress(KeyboardInterrupt):
        Announced(config).run()


class Announced(uvicorn.Server):
    """A server that prints its address when it listens."""

    async def startup(self, sockets: list | None = None) -> None:
        """Opens the port, and says so."""
        await super().startup(sockets)
        for server in self.servers:
            for socket in server.sockets:
                host, port = socket.getsockname()[:2]
                print(f"HeartcareGPT listens on http://{f'[{host}]' if ':' in host else host}:{port}/v1", flush=True)


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=".", help="repository or folder")
    parser.add_argument("--name", default="heartcare", help="name of the model for clients")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--token", help="bearer token that requests must have")
    parser.add_argument("--cors", action="append", default=[], help="web page whose scripts may ask, or *; repeatable")
    parser.add_argument("--max-batch", type=int, default=16, help="number of requests answered together at most")
    parser.add_argument("--preparers", type=int, default=0, help="processes that read, clean and measure")
    parser.add_argument("--max-bytes", type=int, default=Limits.bytes, help="size of a request at most")
    args = parser.parse_args(argv)

    limits = Limits(bytes=args.max_bytes)
    preparers = preparers_of(args.model, args.preparers) if args.preparers else None
    if preparers:  # each has a core of its own
        torch.set_num_threads(max(1, (os.cpu_count() or 1) - args.preparers))
    batcher = DynamicBatcher(pipeline(model=args.model), args.max_batch, limits, preparers)
    run(create_app(batcher, args.name, args.token, args.cors), args.host, args.port)


if __name__ == "__main__":
    main()
