"""A server for those who host the model themselves: OpenAI's chat completions, with ECGs beside text and pictures.

    pip install -e ".[serve]"
    python examples/serve.py --model . --port 8000

--token SECRET asks for a bearer token; --max-batch 1 answers one request after the other.

POST /v1/chat/completions takes what OpenAI's clients send; a message's content may have, beside text and image_url
(data: URIs),

    {"type": "ecg", "base64": "..."}                                     a .npy, .npz or .csv file
    {"type": "ecg", "signal": [[...], ...], "sampling_rate": 500, "lead_names": ["I", "II", ...], "units": "mV"}

and a request may have "options", a list of answers to choose from; the reply's `heartcare` then has their
probabilities, and always quality and provenance. `usage` counts tokens, those of ECGs and pictures too; `finish_reason`
is "length" for an answer that was cut off. Requests that wait at the same time are answered as one batch. GET
/v1/models, /health, /metrics (Prometheus).
"""

import argparse
import asyncio
import contextlib
import hmac
import json
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import Future
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from transformers import pipeline

from heartcare.serving_heartcare import BadRequest, Busy, DynamicBatcher, Limits, read_request

BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)  # seconds


class TooLong(Exception):
    """A body beyond the limit."""


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
        """All counts, those of the batcher too."""
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


def problem(status: int, message: str) -> JSONResponse:
    """A reply of an HTTP status that says what is wrong, in OpenAI's form."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return JSONResponse({"error": {"message": message, "type": kind, "param": None, "code": None}}, status)


def as_request(body: dict) -> dict:
    """A chat completion -> a request as `heartcare.serving_heartcare` reads it.

    Raises: `BadRequest` for options that this server does not have.
    """
    if not isinstance(body, dict) or "messages" not in body:
        raise BadRequest("A chat completion has messages.")
    if body.get("n") not in (None, 1):
        raise BadRequest("n must be 1.")
    if body.get("temperature") not in (None, 0, 0.0):
        raise BadRequest("Answers are the likeliest ones; leave temperature out, or set it to 0.")
    tokens = body.get("max_completion_tokens") or body.get("max_tokens")
    parameters = {"options": body.get("options"), **({"max_new_tokens": tokens} if tokens else {})}
    return {"inputs": {"messages": body["messages"]}, "parameters": parameters}


def create_app(batcher: DynamicBatcher, name: str, token: str | None = None) -> FastAPI:
    """The server as an ASGI application."""
    app, metrics, limits = FastAPI(title="HeartcareGPT", docs_url=None, redoc_url=None), Metrics(), batcher.limits
    app.state.batcher = batcher

    @app.middleware("http")
    async def guard(request: Request, call_next):
        started = time.monotonic()
        if (
            token
            and request.url.path.startswith("/v1")
            and not hmac.compare_digest(request.headers.get("authorization", "").encode(), f"Bearer {token}".encode())
        ):
            reply = problem(401, "A bearer token is needed.")
        else:
            reply = await call_next(request)
        if request.url.path.startswith("/v1"):
            metrics.note(reply.status_code, time.monotonic() - started)
        return reply

    @app.get("/health")
    async def health():
        return {"status": "ok", "model": name, "waiting": batcher.waiting}

    @app.get("/metrics")
    async def show_metrics():
        return PlainTextResponse(metrics.text(batcher))

    @app.get("/v1/models")
    async def models():
        return {"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": "heartcare"}]}

    @app.post("/v1/chat/completions")
    async def complete(request: Request):
        try:
            body = json.loads(await read_body(request, limits.bytes))
        except TooLong as error:
            return problem(413, str(error))
        except (UnicodeDecodeError, ValueError, RecursionError) as error:
            return problem(400, f"The body is no JSON ({error}).")
        return await answer(batcher, name, body)

    return app


async def answer(batcher: DynamicBatcher, name: str, body: Any) -> Any:
    """Answers a chat completion: as one object, as a stream of events, or with a problem."""
    pieces: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    stream = isinstance(body, dict) and bool(body.get("stream"))

    def put(piece: str | None) -> None:
        loop.call_soon_threadsafe(pieces.put_nowait, piece)

    try:
        read = read_request(as_request(body), batcher.limits)
        waiting = await asyncio.to_thread(
            batcher.submit,
            read.inputs,
            on_text=put if stream and not read.stated["options"] else None,
            generate_kwargs=read.generate_kwargs,
            **read.stated,
        )
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": name}
        if stream:
            waiting.add_done_callback(lambda _: put(None))
            stream_options = body.get("stream_options")
            counted = isinstance(stream_options, dict) and bool(stream_options.get("include_usage"))
            return StreamingResponse(events(head, waiting, pieces, counted), media_type="text/event-stream")
        try:
            reply = await asyncio.wrap_future(waiting)
        except (BadRequest, Busy):
            raise
        except Exception as error:
            return problem(500, f"The answer failed ({type(error).__name__}).")
    except BadRequest as error:
        return problem(400, str(error))
    except Busy as error:
        return problem(503, str(error))
    message = {"role": "assistant", "content": reply["text"]}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason(reply), "logprobs": None}
    return {
        **head,
        "object": "chat.completion",
        "choices": [choice],
        "usage": usage(reply),
        "heartcare": extras(reply),
    }


async def read_body(request: Request, limit: int) -> bytes:
    """Reads the body of a request. Raises: `TooLong` as soon as it is longer than `limit` bytes."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > limit:
            raise TooLong(f"A request may have {limit} bytes.")
    return bytes(content)


def finish_reason(reply: dict) -> str:
    """The reason why an answer ended, in OpenAI's words."""
    return "stop" if reply["tokens"]["finished"] else "length"


def usage(reply: dict) -> dict:
    """Numbers of tokens, in OpenAI's words."""
    prompt, answer = reply["tokens"]["prompt"], reply["tokens"]["answer"]
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def extras(reply: dict) -> dict:
    """The parts of a reply that OpenAI's form has no place for."""
    return {key: value for key, value in reply.items() if key not in ("text", "tokens")}


async def events(head: dict, waiting: Future, pieces: asyncio.Queue, counted: bool) -> AsyncIterator[str]:
    """Server-sent events of an answer that is being written.

    Args:
        head: Fields of every event.
        waiting: The reply to come.
        pieces: Pieces of its text, and None after the last one.
        counted: If True, a last event has the numbers of tokens.
    """

    def event(*choices: dict, **more: Any) -> str:
        return f"data: {json.dumps({**head, 'object': 'chat.completion.chunk', 'choices': choices, **more})}\n\n"

    def choice(ended: str | None = None, **delta: str) -> dict:
        return {"index": 0, "delta": delta, "finish_reason": ended}

    yield event(choice(role="assistant", content=""))
    written = False
    while (piece := await pieces.get()) is not None:
        written = True
        yield event(choice(content=piece))
    try:
        reply = waiting.result()
    except Exception as error:
        failure = {"message": f"The answer failed ({type(error).__name__}).", "type": "server_error"}
        yield f"data: {json.dumps({'error': failure})}\n\n"
        return
    if not written:
        yield event(choice(content=reply["text"]))
    yield event(choice(finish_reason(reply)), heartcare=extras(reply))
    if counted:
        yield event(usage=usage(reply))
    yield "data: [DONE]\n\n"


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=".", help="repository or folder")
    parser.add_argument("--name", default="heartcare", help="name of the model for clients")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--token", help="bearer token that requests must have")
    parser.add_argument("--max-batch", type=int, default=16, help="number of requests answered together at most")
    parser.add_argument("--max-bytes", type=int, default=Limits.bytes, help="size of a request at most")
    args = parser.parse_args(argv)

    limits = Limits(bytes=args.max_bytes)
    batcher = DynamicBatcher(pipeline(model=args.model, trust_remote_code=True), args.max_batch, limits)
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.run(create_app(batcher, args.name, args.token), host=args.host, port=args.port, log_level="warning")


if __name__ == "__main__":
    main()
