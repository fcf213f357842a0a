"""Clients in use: requests of chat programs, OpenAI's client, the Hub's widgets and browsers."""

import base64
import io
import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from openai import APIStatusError
from PIL import Image
from support.requests import message, packed

from heartcare.answering_heartcare import NO_ECG
from heartcare.configuration_heartcare import LEADS
from heartcare.examples.chat_completions import extras
from heartcare.examples.serve import create_app
from heartcare.examples.structured import as_json
from heartcare.serving_heartcare import BadRequest, Limits, before_stop, read_request

IS_AF = "Is this atrial fibrillation?"


def ask(client, messages, **options):
    return client.chat.completions.create(model="any name", messages=messages, **options)


def test_a_chat_without_an_ecg_gets_a_sentence(client):
    for words, sentence in (("Hello", "This program answers questions about ECGs alone"), (IS_AF, NO_ECG)):
        assert ask(client, [{"role": "user", "content": words}]).choices[0].message.content.startswith(sentence)


@pytest.mark.parametrize("role", ["system", "developer"])
def test_system_messages_change_no_answer(client, ecgs, role):
    want = ask(client, message(ecgs[0], IS_AF))
    found = ask(client, [{"role": role, "content": "You are a helpful assistant."}, *message(ecgs[0], IS_AF)])
    assert found.choices[0].message.content == want.choices[0].message.content


def test_assistant_messages_may_be_empty(client, ecgs):
    turns = [*message(ecgs[0], IS_AF), {"role": "assistant", "content": None}, {"role": "user", "content": IS_AF}]
    alone = ask(client, message(ecgs[0], IS_AF))
    assert ask(client, turns).choices[0].message.content == alone.choices[0].message.content


@pytest.mark.parametrize("kind", ["npz", "csv", "png"])
def test_files_come_in_the_part_that_openai_has_for_them(client, ecgs, root, kind):
    rows = "\n".join(",".join(f"{value:.4f}" for value in sample) for sample in ecgs[0].signal.T)
    content = {
        "npz": packed(ecgs[0]),
        "csv": base64.b64encode(f"{','.join(LEADS)}\n{rows}".encode()).decode(),
        "png": base64.b64encode((root / "examples/ecgs/sinus_rhythm.png").read_bytes()).decode(),
    }[kind]
    part = {"type": "file", "file": {"filename": f"ecg.{kind}", "file_data": f"data:text/plain;base64,{content}"}}
    chat = [{"role": "user", "content": [part, {"type": "text", "text": "What is the rhythm?"}]}]
    stated = {"sampling_rate": 500, "units": "mV"} if kind == "csv" else {}
    found = ask(client, chat, extra_body=stated)
    assert "pages" in found.heartcare if kind == "png" else found.heartcare["measurements"][0]["heart_rate"]
    with pytest.raises(APIStatusError, match="nothing is kept here"):
        ask(client, [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}])


def test_what_has_no_effect_is_said(client, ecgs):
    tools = [{"type": "function", "function": {"name": "book", "parameters": {"type": "object", "properties": {}}}}]
    options = {
        "tools": tools,
        "tool_choice": "auto",
        "seed": 3,
        "presence_penalty": 0.5,
        "temperature": 0.7,
        "top_p": 0.9,
    }
    found = ask(client, message(ecgs[0], IS_AF), **options, user="me")
    plain = ask(client, message(ecgs[0], IS_AF), frequency_penalty=0, user="me")
    assert found.choices[0].message.content == plain.choices[0].message.content and plain.heartcare["warnings"] == []
    *unheard, sampled = found.heartcare["warnings"]
    assert [text.split()[0] for text in unheard] == ["presence_penalty", "seed", "tool_choice", "tools"]
    assert "temperature has no effect" in sampled


def test_written_answers_are_sampled_where_a_temperature_is_given(client, ecgs, speaking):
    asked = message(ecgs[0], "Write a report of this ECG.")
    likeliest = {ask(client, asked, temperature=0).choices[0].message.content for _ in range(2)}
    sampled = {ask(client, asked, temperature=2, max_tokens=40).choices[0].message.content for _ in range(4)}
    assert len(likeliest) == 1 and len(sampled) > 1


def test_an_answer_ends_before_a_text_that_stops_it(client, ecgs):
    """A report is answered at once; one that is written piece by piece ends at the same place."""
    asked = message(ecgs[0], "Write a report of this ECG.")
    whole = ask(client, asked).choices[0].message.content
    stop = whole.split()[2]
    cut = ask(client, asked, stop=[stop, "never"])
    assert cut.choices[0].message.content == whole[: whole.index(stop)] and cut.choices[0].finish_reason == "stop"
    chunks = list(ask(client, asked, stop=stop, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole[: whole.index(stop)]


def test_a_written_answer_is_not_written_further_than_its_stop(client, ecgs, speaking):
    asked = message(ecgs[0], "Write a report of this ECG.")
    whole = ask(client, asked)
    stop = whole.choices[0].message.content.split()[3]
    cut = ask(client, asked, stop=stop)
    text = cut.choices[0].message.content
    assert whole.choices[0].message.content.startswith(text) and stop not in text
    assert cut.usage.completion_tokens < whole.usage.completion_tokens and cut.choices[0].finish_reason == "stop"
    pieces = [chunk.choices[0].delta.content or "" for chunk in ask(client, asked, stop=stop, stream=True)]
    assert "".join(pieces) == text


@pytest.mark.parametrize(
    ("text", "final", "ready"),
    [("sinus rhy", False, "sinus "), ("sinus rhyme", False, "sinus rhyme"), ("sinus rhy", True, "sinus rhy")],
)
def test_what_may_begin_a_stop_is_held_back(text, final, ready):
    assert before_stop(text, ["rhythm", "z"], final) == (ready, False)
    assert before_stop("sinus rhythm rhythm", ["rhythm"], final) == ("sinus ", True)


SCHEMA = {
    "type": "object",
    "properties": {
        "heart_rate": {"type": "number"},
        "PR": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "atrial_fibrillation": {"type": "boolean"},
        "sinus rhythm": {"type": "number"},
        "report": {"type": "string"},
        "findings": {"type": "array", "items": {"$ref": "#/$defs/Finding"}},
        "measurements": {"type": "object", "properties": {"qrs": {"type": "number"}, "st": {"type": "object"}}},
    },
    "required": ["heart_rate"],
    "$defs": {
        "Finding": {"type": "object", "properties": {"name": {"type": "string"}, "probability": {"type": "number"}}}
    },
}


def schema(content: dict) -> dict:
    return {"type": "json_schema", "json_schema": {"name": "reading", "strict": True, "schema": content}}


@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_is_filled_with_findings_and_measurements(client, ecgs, stream):
    asked = message(ecgs[1], "Write a report of this ECG.")
    found = ask(client, asked, response_format=schema(SCHEMA), stream=stream)
    if stream:
        chunks = list(found)
        facts, content = chunks[-1].heartcare, "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    else:
        facts, content = found.heartcare, found.choices[0].message.content
    filled, measured, findings = json.loads(content), facts["measurements"][0], facts["findings"][0]
    assert filled["heart_rate"] == measured["heart_rate"] and filled["measurements"]["qrs"] == measured["qrs"]
    assert filled["PR"] == (None if measured["pr"] is None else round(measured["pr"]))
    assert filled["measurements"]["st"] == measured["st"] and filled["sinus rhythm"] == findings["sinus rhythm"]
    assert filled["atrial_fibrillation"] == (findings["atrial fibrillation"] >= 0.5)
    stated = {each["name"]: each["probability"] for each in filled["findings"]}
    assert stated == {words: share for words, share in findings.items() if share >= 0.5} and stated
    assert filled["report"] == ask(client, asked).choices[0].message.content


def test_json_without_a_schema_has_all_that_there_is(client, ecgs):
    found = ask(client, message(ecgs[1], IS_AF), response_format={"type": "json_object"})
    filled = json.loads(found.choices[0].message.content)
    assert filled["findings"] == found.heartcare["findings"][0] and filled["ecgs"][0]["findings"] == filled["findings"]
    assert filled["measurements"] == found.heartcare["measurements"][0] and filled["text"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            {"type": "object", "properties": {"troponin": {"type": "number"}}},
            "asks for 'troponin'; known are .*atrial fibrillation.*heart_rate",
        ),
        ({"type": "object", "properties": {"heart_rate": {"type": "string"}}}, "cannot be given as string"),
        ({"type": "object", "properties": {"heart_rate": {}}}, "must have a type"),
        ({"$ref": "#"}, "does not define"),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}, "at most 8 levels"),
        ({"type": "object", "properties": 3}, "properties of the schema"),
    ],
)
def test_schemas_that_cannot_be_filled_are_refused(client, ecgs, content, words):
    with pytest.raises(APIStatusError, match=words) as caught:
        ask(client, message(ecgs[0], IS_AF), response_format=schema(content))
    assert caught.value.status_code == 400


def test_a_schema_that_repeats_itself_is_bounded():
    """A schema that refers to itself, and one of many properties, are refused."""
    again = {"type": "array", "items": {"$ref": "#/$defs/A"}}
    definitions = {"A": {"type": "object", "properties": {"ecgs": again, "ECGS": again}}}
    wide = {"type": "object", "properties": {"measurements" + " " * k: {"type": "object"} for k in range(3000)}}
    reply = {"text": "x", "findings": [{}] * 8, "measurements": [{"pr": 1.0}]}
    for content in ({"$ref": "#/$defs/A", "$defs": definitions}, wide):
        with pytest.raises(BadRequest):
            as_json(reply, content)


def test_what_a_schema_requires_and_no_one_can_measure_is_a_refusal(client, ecgs):
    """A required PR interval is refused in atrial fibrillation, where there is none."""
    fibrillation = next(ecg for ecg in ecgs if "AFIB" in ecg.statements)
    wanted = {"type": "object", "properties": {"pr": {"type": "number"}}, "required": ["pr"]}
    answer = ask(client, message(fibrillation, IS_AF), response_format=schema(wanted)).choices[0].message
    assert answer.content is None and answer.refusal.startswith("pr (")
    wanted["required"] = []
    assert ask(client, message(fibrillation, IS_AF), response_format=schema(wanted)).choices[0].message.content == "{}"


def test_logprobs_are_those_of_the_answers(client, ecgs):
    found = ask(client, message(ecgs[0], IS_AF), logprobs=True, top_logprobs=2)
    shares = found.heartcare["probabilities"]
    (entry,) = found.choices[0].logprobs.content
    assert found.choices[0].message.content.startswith(entry.token)
    assert {each.token for each in entry.top_logprobs} == {"Yes", "No"} and entry.logprob == max(
        each.logprob for each in entry.top_logprobs
    )
    assert 2.718281828**entry.logprob == pytest.approx(shares[entry.token], abs=1e-6)
    report = ask(client, message(ecgs[0], "Write a report of this ECG."), logprobs=True)
    assert report.choices[0].logprobs is None and "no logprobs" in report.heartcare["warnings"][0]


def test_keywords_of_the_pipeline_stand_beside_the_messages(client, ecgs):
    found = ask(client, message(ecgs[0], IS_AF), extra_body={"coverage": 0.9, "explain": True})
    assert found.heartcare["statements"][0] and found.heartcare["explanations"][0]["leads"]


def test_browsers_may_ask_where_their_page_is_allowed():
    """A browser asks beforehand, without the token, whether it may ask."""
    from starlette.testclient import TestClient

    class Nothing:
        limits, waiting = Limits(), 0

    before = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    for origins, allowed in ((["https://a.example"], "https://a.example"), ([], None)):
        app = TestClient(create_app(Nothing(), "heartcare", "secret", origins))
        reply = app.options("/v1/chat/completions", headers=before)
        assert reply.headers.get("access-control-allow-origin") == allowed and reply.is_success == bool(origins)
        assert app.get("/v1/models", headers={"Origin": "https://a.example"}).status_code == 401


def test_the_handler_takes_bodies_that_the_toolkit_decoded(handler, pipe, ecgs, root):
    path = root / "examples/ecgs/right_bundle_branch_block.png"
    with Image.open(path) as picture:
        picture.load()
    question, as_base64 = "What is the rhythm?", base64.b64encode(path.read_bytes()).decode()
    want = pipe(str(path), question=question)["text"]
    for inputs, parameters in (
        (picture, {"question": question}),
        (path.read_bytes(), {"question": question}),
        ({"image": as_base64, "text": question}, {}),  # as the widget of image-text-to-text sends it
        ({"image": as_base64, "question": question}, {}),  # and that of visual-question-answering
    ):
        assert handler({"inputs": inputs, "parameters": parameters})["text"] == want
    file = base64.b64decode(packed(ecgs[0]))
    assert handler({"inputs": file})["text"] == handler({"inputs": packed(ecgs[0])})["text"]
    with pytest.raises(ValueError, match="one question"):
        read_request({"inputs": {"image": "x", "text": "a"}, "parameters": {"question": "b"}}, Limits())


def test_the_server_says_where_it_listens_and_answers_before_it_stops(ecgs, root):
    """Killed at once, it leaves nothing behind: another one answers at the same address."""
    command = [sys.executable, "-m", "heartcare.examples.serve", "--model", str(root), "--port"]
    with subprocess.Popen([*command, "0"], stdout=subprocess.PIPE, text=True) as killed:
        address = killed.stdout.readline().split()[-1]
        assert address.startswith("http://127.0.0.1:") and address.endswith("/v1")
        killed.kill()
    host, port = address.removeprefix("http://").removesuffix("/v1").split(":")
    with subprocess.Popen([*command, port], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout.readline().split()[-1] == address
            body = json.dumps({"messages": message(ecgs[0], IS_AF)}).encode()
            with socket.create_connection((host, int(port)), timeout=60) as connection:
                head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
                connection.sendall(head.encode() + body[:-1])
                urllib.request.urlopen(f"http://{host}:{port}/health").read()  # the request has arrived by now
                server.send_signal(signal.SIGTERM)
                connection.sendall(body[-1:])
                with io.BufferedReader(connection.makefile("rb", 0)) as reply:
                    assert b"200 OK" in reply.readline()
            assert server.wait(60) in (0, -signal.SIGTERM)
        finally:
            server.kill()


def test_extras_leave_out_what_openai_has_a_place_for():
    reply = {"text": "x", "tokens": {"answer": 0, "finished": True, "prompt": 3}, "quality": []}
    assert extras(reply, {"messages": [], "tools": None}) == {"quality": [], "warnings": []}
