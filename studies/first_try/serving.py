"""Rows of serving: the handler of Inference Endpoints and the server, asked in process."""

import base64
import contextlib
import importlib.util
import io
import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from .rows import Given, Rows, expect, refused

SERVING = Rows()
RHYTHM = "What is the rhythm?"
RHYTHMS = ["sinus rhythm", "atrial fibrillation", "sinus tachycardia"]
TOKEN = "secret"
CLIENTS = "tests/serving/test_clients.py"


def packed(given: Given) -> str:
    """Returns an example record as a file in base64."""
    import numpy as np

    import heartcare

    record, file = heartcare.read_ecg(given.ecg()), io.BytesIO()
    np.savez(file, signal=record.signal, sampling_rate=record.sampling_rate, units="mV")
    return base64.b64encode(file.getvalue()).decode()


def page(given: Given) -> str:
    """Returns an example picture in base64."""
    with open(given.picture(), "rb") as file:
        return base64.b64encode(file.read()).decode()


def handler(given: Given) -> Any:
    """Returns the handler of Inference Endpoints over the one pipeline, from its file."""
    spec = importlib.util.spec_from_file_location("heartcare.handler", given.folder / "handler.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.EndpointHandler.__new__(module.EndpointHandler)
    made.batcher = batcher_of(given.pipe)
    made.limits = made.batcher.limits
    return made


@contextlib.contextmanager
def client(given: Given, origins: tuple[str, ...] = ()) -> Iterator[Any]:
    """Yields a client of the server, in process."""
    from fastapi.testclient import TestClient

    from heartcare.examples.serve import create_app

    app = create_app(batcher_of(given.pipe), "heartcare", TOKEN, origins)
    with TestClient(app, headers={"Authorization": f"Bearer {TOKEN}"}) as made:
        yield made


@lru_cache(maxsize=1)
def batcher_of(pipe: Any) -> Any:
    """Returns the one batcher over the pipeline."""
    from heartcare.serving_heartcare import DynamicBatcher

    return DynamicBatcher(pipe)


def text(words: str = RHYTHM) -> dict[str, str]:
    """Returns words as a part of a message."""
    return {"type": "text", "text": words}


def chat(*parts: dict, **options: Any) -> dict[str, Any]:
    """Returns a chat completion about some parts."""
    return {"model": "heartcare", "messages": [{"role": "user", "content": list(parts)}], **options}


def said(reply: Any) -> str:
    """Returns the text of a reply of the server."""
    expect(reply.status_code == 200, (reply.status_code, reply.text))
    return reply.json()["choices"][0]["message"]["content"]


@SERVING.row("handler.py: picture, question, options, signal, messages, JSON")
def handler_forms(given: Given) -> str:
    import heartcare

    answer, record = handler(given), heartcare.read_ecg(given.ecg())
    signal = {"signal": record.signal.tolist(), "sampling_rate": record.sampling_rate, "units": "mV"}
    part = {"type": "ecg", "base64": packed(given)}
    requests = {
        "file": {"inputs": packed(given), "parameters": {"question": RHYTHM}},
        "signal": {"inputs": signal, "parameters": {"question": RHYTHM}},
        "options": {"inputs": packed(given), "parameters": {"question": "Which rhythm is it?", "options": RHYTHMS}},
        "messages": {"inputs": {"messages": [{"role": "user", "content": [part, text()]}]}},
    }
    replies = {name: json.loads(json.dumps(answer(request))) for name, request in requests.items()}
    texts = {name: reply["text"] for name, reply in replies.items()}
    expect({each.strip(".").lower() for each in texts.values()} == {"sinus rhythm"}, texts)
    return f"{len(texts)} forms: {texts['file']}"


@SERVING.row("handler.py: body of `image/png`, which the toolkit hands over as a picture")
def handler_picture(given: Given) -> str:
    from PIL import Image

    reply = handler(given)({"inputs": Image.open(given.picture())})
    expect("right bundle branch block" in reply["text"] and reply["pages"][0]["digitized"], reply["text"])
    return reply["text"]


@SERVING.row('handler.py: `{"inputs": {"image": ..., "text": ...}}`, the widget\'s shape')
def handler_widget(given: Given) -> str:
    answer = handler(given)({"inputs": {"image": page(given), "text": RHYTHM}})["text"]
    expect(answer == "Sinus rhythm.", answer)
    return answer


@SERVING.row("serve.py: picture, npz, options, stream, usage, length, 401, 400, /health, /metrics")
def server_forms(given: Given) -> str:
    part, image = {"type": "ecg", "base64": packed(given)}, f"data:image/png;base64,{page(given)}"
    with client(given) as made:
        ask = "/v1/chat/completions"
        found = made.post(ask, json=chat(part, text()))
        texts = [said(found), said(made.post(ask, json=chat(part, text("Which rhythm is it?"), options=RHYTHMS)))]
        texts.append(said(made.post(ask, json=chat({"type": "image_url", "image_url": {"url": image}}, text()))))
        expect({each.strip(".").lower() for each in texts} == {"sinus rhythm"}, texts)
        expect(found.json()["usage"]["prompt_tokens"] > 20, found.text)
        lines = made.post(ask, json=chat(part, text(), stream=True)).text.split("data: ")
        pieces = [json.loads(line)["choices"] for line in lines if line.startswith("{")]
        streamed = "".join(each[0]["delta"].get("content") or "" for each in pieces if each)
        codes = [made.post(ask, json=chat(text(), n=2)).status_code, made.post(ask, content=b"{").status_code]
        codes.append(made.post(ask, json=chat(part, text()), headers={"Authorization": "none"}).status_code)
        codes += [made.get(path).status_code for path in ("/health", "/metrics", "/v1/models")]
    expect(streamed == texts[0] and codes == [400, 400, 401, 200, 200, 200], (streamed, codes))
    return f"{texts[0]} {codes}"


@SERVING.row("serve.py: temperature=0.7")
def server_temperature(given: Given) -> str:
    part = {"type": "ecg", "base64": packed(given)}
    with client(given) as made:
        reply = made.post("/v1/chat/completions", json=chat(part, text(), temperature=0.7))
    expect(said(reply) == "Sinus rhythm.", reply.text)
    return "; ".join(reply.json()["heartcare"]["warnings"])


@SERVING.row('serve.py: text alone ("Hello")')
def server_hello(given: Given) -> str:
    with client(given) as made:
        found = said(made.post("/v1/chat/completions", json=chat(text("Hello"))))
    expect(found.startswith("This program answers questions about ECGs alone"), found)
    return found


@SERVING.row("serve.py: stop, response_format, tools, logprobs: heard, or said not to be")
def server_options(given: Given) -> str:
    part = {"type": "ecg", "base64": packed(given)}
    schema = {"type": "object", "properties": {"heart_rate": {"type": "number"}}, "required": ["heart_rate"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    tools = [{"type": "function", "function": {"name": "book", "parameters": {}}}]
    is_rbbb = text("Is there right bundle branch block?")
    with client(given) as made:
        ask = "/v1/chat/completions"
        stopped = said(made.post(ask, json=chat(part, text("Write a report of this ECG."), stop=["rhythm."])))
        filled = json.loads(said(made.post(ask, json=chat(part, text(), response_format=wanted))))
        warnings = made.post(ask, json=chat(part, text(), tools=tools)).json()["heartcare"]["warnings"]
        odds = made.post(ask, json=chat(part, is_rbbb, logprobs=True)).json()["choices"][0]["logprobs"]["content"]
    expect(not stopped.endswith(".") and 60 < filled["heart_rate"] < 110, (stopped, filled))
    expect(any("tools" in each for each in warnings) and odds[0]["logprob"] <= 0, (warnings, odds))
    return f"{stopped!r}; {filled}; {warnings[0]}"


@SERVING.row("serve.py: `file` part of OpenAI")
def server_file(given: Given) -> str:
    part = {"type": "file", "file": {"filename": "ecg.npz", "file_data": f"data:;base64,{packed(given)}"}}
    with client(given) as made:
        found = said(made.post("/v1/chat/completions", json=chat(part, text())))
    expect(found == "Sinus rhythm.", found)
    return found


@SERVING.row("serve.py: pages of other origins may ask where it is allowed")
def server_cors(given: Given) -> str:
    asked = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST", "Authorization": ""}
    with client(given, ("https://example.org",)) as made:
        reply = made.options("/v1/chat/completions", headers=asked)
    allowed = reply.headers.get("access-control-allow-origin")
    expect(reply.status_code == 200 and allowed == "https://example.org", (reply.status_code, dict(reply.headers)))
    return f"allowed for {allowed}"


@SERVING.row("serve.py: addresses and paths of the server's side are not read")
def server_addresses(given: Given) -> str:
    from heartcare.serving_heartcare import BadRequest

    answer = handler(given)
    for inputs in ("http://127.0.0.1/a.hea", {"path": "/etc/passwd"}):
        refused(lambda inputs=inputs: answer({"inputs": inputs}), BadRequest.__name__, "not read here")
    return "refused"


SERVING.by_test("serve.py: start: prints its address, and answers before it stops",
                f"{CLIENTS}::test_the_server_says_where_it_listens_and_answers_before_it_stops")  # fmt: skip
SERVING.by_test("serve.py + openai, 200 at once",
                "tests/serving/test_serving.py::test_openai_s_client_gets_the_pipeline_s_answers",
                "tests/serving/test_serving.py::test_two_hundred_at_once")  # fmt: skip
SERVING.by_test("serve_ray.py, two replicas",
                "tests/serving/test_serve_ray.py::test_no_request_is_lost_when_a_replica_is_killed")  # fmt: skip
SERVING.by_test("transformers serve", "tests/serving/test_transformers_serve.py")
SERVING.by_test("Space at 1280 and 390 px", "tests/serving/test_space.py")
