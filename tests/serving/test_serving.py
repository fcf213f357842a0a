"""Answers over a network: the handler of Inference Endpoints, and the server, asked by OpenAI's own client."""

import base64
import json
import re
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from openai import APIStatusError, OpenAI
from support.requests import message, packed

from heartcare.handler import EndpointHandler
from heartcare.pipeline_heartcare import ECGInterpretationPipeline
from heartcare.serving_heartcare import BadRequest, Busy, DynamicBatcher, Limits, preparers_of, read_request
from heartcare.version_heartcare import HEARTCARE_VERSION

OPTIONS = ["Sinus rhythm", "Atrial fibrillation", "Sinus tachycardia"]
QUESTION = "Which rhythm is it: sinus rhythm, atrial fibrillation, sinus tachycardia?"
# Of rhythms the model is too sure for its answers about two ECGs to differ; here it is not.
DOUBTFUL = [
    "digitalis effect",
    "non-specific T wave changes",
    "a prolonged PR interval",
    "ST elevation",
    "a waveform of another kind",
]


def test_the_handler_answers_as_the_pipeline(handler, pipe, ecgs):
    given = {"signal": ecgs[0].signal.tolist(), "sampling_rate": 500, "units": "mV"}
    reply = handler({"inputs": packed(ecgs[0])})
    assert reply["text"] == pipe({"signal": ecgs[0].signal, "sampling_rate": 500, "units": "mV"})["text"]
    assert json.loads(json.dumps(reply)) == reply and reply["seconds"] > 0 and reply["quality"][0]["leads"]
    for inputs, parameters in (
        (given, {"question": QUESTION, "options": OPTIONS}),
        (given | {"sampling_rate": None}, {"question": QUESTION, "options": OPTIONS, "sampling_rate": 500}),
        ([given], {"question": QUESTION, "options": OPTIONS}),
        (
            {"messages": [{"role": "user", "content": [{"type": "ecg", **given}, {"type": "text", "text": QUESTION}]}]},
            {"options": OPTIONS},
        ),
    ):
        found = handler({"inputs": inputs, "parameters": parameters})
        want = pipe(
            {"signal": ecgs[0].signal, "sampling_rate": 500, "units": "mV", "question": QUESTION, "options": OPTIONS}
        )
        assert found["probabilities"] == pytest.approx(want["probabilities"], abs=1e-4)
    asked = {"question": "Is this AF?", "coverage": 0.9, "explain": True}
    found = handler({"inputs": given, "parameters": asked})
    assert found["explanations"][0]["finding"] == "atrial fibrillation" and found["statements"][0]
    assert found["findings"][0]["atrial fibrillation"] == pytest.approx(found["probabilities"]["Yes"], abs=1e-4)
    for wrong in ({"coverage": 2.0}, {"coverage": "most"}, {"explain": "yes"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            handler({"inputs": given, "parameters": wrong})


MALFORMED = [
    {},
    {"inputs": None},
    {"inputs": 7},
    {"inputs": []},
    {"inputs": "/etc/passwd"},
    {"inputs": "../../model.safetensors"},
    {"inputs": "http://169.254.169.254/latest/meta-data"},
    {"inputs": "file:///etc/hosts"},
    {"inputs": {"path": "examples/ecgs/sinus_rhythm"}},
    {"inputs": {"type": "ecg", "ecg": "examples/ecgs/sinus_rhythm"}},
    {"inputs": {"image": "https://example.com/x.png"}},
    {"inputs": {"image": "examples/ecgs/sinus_rhythm.png"}},
    {"inputs": {"base64": "examples/ecgs/sinus_rhythm"}},
    {"inputs": {"base64": 5}},
    {"inputs": {"bytes": "x"}},
    {"inputs": {"signal": "x"}},
    {"inputs": {"signal": [1, 2, 3], "sampling_rate": 500}},
    {"inputs": {"signal": [[1.0, 2.0], [1.0]], "sampling_rate": 500}},
    {"inputs": {"signal": [["a"] * 500] * 12, "sampling_rate": 500}},
    {"inputs": {"signal": [[0.1] * 5000] * 12}},
    {"inputs": {"signal": [[0.1] * 5000] * 12, "sampling_rate": -5}},
    {"inputs": {"signal": [[0.1] * 5000] * 12, "sampling_rate": 500, "lead_names": ["I"]}},
    {"inputs": {"signal": [[float("nan")] * 5000] * 12, "sampling_rate": 500}},
    {"inputs": base64.b64encode(b"\x89PNG\r\n\x1a\nno picture").decode()},
    {"inputs": base64.b64encode(b"PK\x03\x04 no zip").decode()},
    {"inputs": base64.b64encode(b"\x93NUMPY\x01\x00 no array").decode()},
    {"inputs": "x", "parameters": {"temperature": 3}},
    {"inputs": "x", "parameters": {"temperature": True}},
    {"inputs": "x", "parameters": {"top_p": -1}},
    {"inputs": "x", "parameters": {"stop": ["a"] * 5}},
    {"inputs": "x", "parameters": {"seed": 2}},
    {"inputs": {"image": "x", "text": "a", "question": "b"}},
    {"inputs": "x", "parameters": ["question"]},
    {"inputs": "x", "parameters": {"max_new_tokens": 10**9}},
    {"inputs": "x", "parameters": {"max_new_tokens": True}},
    {"inputs": "x", "parameters": {"question": 5}},
    {"inputs": "x", "parameters": {"options": "yes"}},
    {"inputs": ["x"] * 9},
    {"inputs": {"messages": []}},
    {"inputs": {"messages": [{"role": "user", "content": None}]}},
    {"inputs": {"messages": [{"role": "pirate", "content": "x"}]}},
    {"inputs": {"messages": [{"role": "user", "content": [{"type": "video", "video": "x"}]}]}},
    {"inputs": {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}]}]}},
    {"inputs": {"messages": [
        {"role": "user", "content": [{"type": "image", "path": "examples/ecgs/sinus_rhythm.png"}]}
    ]}},
]  # fmt: skip


@pytest.mark.parametrize("request_", MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_requests_are_refused_by_name(handler, request_):
    with pytest.raises(ValueError) as caught:
        handler(request_)
    assert type(caught.value).__name__ == "BadRequest" and len(str(caught.value)) > 10


@pytest.mark.parametrize(
    "label",
    [5, ["a"], {"a": 1}, "x" * 201, "a\nWARNING: forged line of a log", "\x1b[31mred", "bell\x07", "\u202ereversed"],
)
def test_labels_that_a_client_may_not_give(handler, ecgs, label):
    """The names that a client gives its ECG stand in replies and logs, so each must be one short line of text."""
    signal = {"signal": ecgs[0].signal.tolist(), "sampling_rate": 500, "units": "mV"}
    for given in (signal, {"base64": packed(ecgs[0])}):
        content = [{"type": "ecg", "source": label, **given}, {"type": "text", "text": QUESTION}]
        for inputs in (given | {"source": label}, [given | {"source": label}]):
            with pytest.raises(ValueError, match="source: expected a text of one line and at most 200"):
                handler({"inputs": inputs})
        with pytest.raises(ValueError, match="source: expected a text"):
            handler({"inputs": {"messages": [{"role": "user", "content": content}]}})
    for warnings in (5, "a", [label], ["a"] * 65):
        with pytest.raises(ValueError, match="warnings"):
            handler({"inputs": signal | {"warnings": warnings}})

    for names in (["I", label], ["I"] * 65, "I"):
        for request in (
            {"inputs": signal | {"lead_names": names}},
            {"inputs": signal, "parameters": {"lead_names": names}},
        ):
            with pytest.raises(ValueError, match="lead_names"):
                handler(request)


def test_half_a_character_is_refused_everywhere(handler, ecgs):
    """JSON can write half of a surrogate pair; whichever text of a request has one, the request is refused."""
    half, signal = "\ud800", {"signal": ecgs[0].signal.tolist(), "sampling_rate": 500, "units": "mV"}
    message = {"role": "user", "content": [{"type": "ecg", **signal}, {"type": "text", "text": half}]}
    requests = [
        {"inputs": signal | {"source": half}},
        {"inputs": signal | {"lead_names": ["I", half]}},
        {"inputs": signal | {half: 1}},
        {"inputs": half},
        {"inputs": {"messages": [message]}},
        *(
            {"inputs": signal, "parameters": parameters}
            for parameters in ({"question": half}, {"options": [half, "b"]}, {"options": ["a", half]}, {"units": half})
        ),
    ]
    for request in requests:
        with pytest.raises(ValueError, match="no valid Unicode"):
            handler(request)


def test_labels_that_a_client_gives_come_back_as_they_are(handler, ecgs):
    name = "/etc/passwd ä ECG <b>2</b>"  # is never opened
    given = {"signal": ecgs[0].signal.tolist(), "sampling_rate": 500, "units": "mV", "source": name}
    for inputs in (given | {"warnings": ["lead_unknown:CH 7"]}, {"base64": packed(ecgs[0]), "source": name}):
        reply = handler({"inputs": inputs, "parameters": {"max_new_tokens": 1}})
        assert [ecg["source"] for ecg in (*reply["quality"], *reply["provenance"]["ecgs"])] == [name, name]
        assert reply["quality"][0]["warnings"] == inputs.get("warnings", [])


def test_limits_are_kept(handler, model, processor, ecgs, speaking, monkeypatch):
    limits = Limits(bytes=1000, values=50, new_tokens=5)
    small = EndpointHandler.__new__(EndpointHandler)
    small.limits = limits
    with pytest.raises(BadRequest, match="1000 bytes"):
        small({"inputs": packed(ecgs[0])})
    with pytest.raises(BadRequest, match="50 values"):
        read_request({"inputs": {"signal": [[0.0] * 60]}}, limits)
    with pytest.raises(BadRequest, match="from 1 to 5"):
        read_request({"inputs": packed(ecgs[0]), "parameters": {"max_new_tokens": 6}}, limits)
    monkeypatch.setattr(handler.batcher.pipe.model.config, "asked", None)  # the language model writes the report
    short = handler({"inputs": packed(ecgs[0]), "parameters": {"max_new_tokens": 3}})["text"]
    assert 0 < len(processor.tokenizer(short)["input_ids"]) <= 4

    hurried = DynamicBatcher(
        ECGInterpretationPipeline(model=model, processor=processor, device="cpu"), limits=Limits(seconds=1e-6)
    )
    cut = hurried.submit({"base64": packed(ecgs[0])}).result()["text"]
    assert len(cut.split()) < 5  # the time was over after the first token


def test_more_than_wait_are_turned_away(pipe, ecgs):
    class Stuck:
        processor = pipe.processor
        read = staticmethod(lambda inputs, **given: inputs)
        encode = staticmethod(lambda *given: {"options": [], "direct": True})
        gate = threading.Event()

        begun = threading.Event()

        def forward(self, batch, **options):
            self.begun.set()
            self.gate.wait(10)
            return [{"options": []} for _ in batch]

        postprocess = staticmethod(lambda outputs: {"text": "done", "tokens": {"finished": True}})

    stuck = Stuck()
    batcher = DynamicBatcher(stuck, max_batch=1, limits=Limits(waiting=2))
    first = batcher.submit("x")
    assert stuck.begun.wait(60)  # the first is being answered
    waiting = [batcher.submit("x"), batcher.submit("x")]
    with pytest.raises(Busy):
        batcher.submit("x")
    stuck.gate.set()
    assert [each.result(10)["text"] for each in (first, *waiting)] == ["done"] * 3


def test_a_failure_of_one_is_not_one_of_others(pipe, ecgs):
    class Fragile:
        processor, postprocess = pipe.processor, staticmethod(pipe.postprocess)
        read, encode = staticmethod(pipe.read), staticmethod(pipe.encode)

        @staticmethod
        def forward(batch, **options):
            if any("bad" in each["quality"][0]["source"] for each in batch):
                raise RuntimeError("out of memory")
            return pipe.forward(batch, **options)

    batcher = DynamicBatcher(Fragile(), max_batch=8)
    with ThreadPoolExecutor(8) as pool:
        inputs = [
            {"signal": e.signal, "sampling_rate": 500, "units": "mV", "source": "bad" if k == 3 else "good"}
            for k, e in enumerate(ecgs[:8])
        ]
        futures = list(pool.map(lambda each: batcher.submit(each, options=OPTIONS, question=QUESTION), inputs))
    for k, future in enumerate(futures):
        if k == 3:
            with pytest.raises(RuntimeError, match="out of memory"):
                future.result(60)
        else:
            assert future.result(60)["probabilities"]


@pytest.mark.slow
def test_processes_prepare_the_same_and_may_die(pipe, ecgs, root):
    """Requests that other processes prepared get the same answers, errors are told, and when the processes are killed,
    the server itself goes on.
    """
    given = {"signal": ecgs[2].signal, "sampling_rate": 500, "units": "mV"}
    alone = DynamicBatcher(pipe)
    picture = str(root / "examples/ecgs/sinus_rhythm.png")
    with preparers_of(str(root), 1) as processes:
        batcher = DynamicBatcher(pipe, preparers=processes)
        for inputs, stated in ((given, {"options": OPTIONS, "question": QUESTION}), (given, {}), (picture, {})):
            assert batcher.submit(inputs, **stated).result(60) == alone.submit(inputs, **stated).result(60)
        with pytest.raises(BadRequest, match="base64"):
            batcher.submit({"base64": "x"})
        for process in processes._processes.values():
            process.kill()
        found = batcher.submit(given, options=OPTIONS, question=QUESTION).result(60)
        assert found == alone.submit(given, options=OPTIONS, question=QUESTION).result(60) and not batcher.preparers


def test_what_was_streamed_is_not_sent_again(pipe, ecgs, speaking):
    """A batch fails in the middle of its answers, which are then written one by one."""
    given = [{"signal": each.signal, "sampling_rate": 500, "units": "mV"} for each in ecgs[:3]]
    gate = threading.Event()

    class Fails:
        processor = pipe.processor
        read, encode = staticmethod(pipe.read), staticmethod(pipe.encode)
        postprocess = staticmethod(pipe.postprocess)
        numbered = staticmethod(pipe.numbered)

        @staticmethod
        def forward(batch, **options):
            gate.wait()
            if len(batch) > 1:
                pipe.forward(batch, **options, max_new_tokens=8)
                raise RuntimeError("out of memory")
            return pipe.forward(batch, **options)

    batcher, pieces = DynamicBatcher(Fails()), [[] for _ in range(4)]
    futures = [batcher.submit(each, on_text=pieces[k].append) for k, each in enumerate([given[0], *given])]
    gate.set()
    for future, sent in zip(futures, pieces):
        text = future.result(60)["text"]
        assert "".join(sent).strip() == text and len(sent) > 3
    assert batcher.batches == 4  # all of them alone, in the end


@pytest.mark.checkpoint
@pytest.mark.slow
def test_two_hundred_at_once(handler, pipe, ecgs):
    """One in twenty requests is malformed. Each reply is that of its own ECG, by probabilities that no two ECGs share;
    the test prints p99.
    """
    question = f"Which of these describes the waveform: {', '.join(DOUBTFUL)}?"
    want = [
        pipe({"signal": e.signal, "sampling_rate": 500, "units": "mV"}, question=question, options=DOUBTFUL)[
            "probabilities"
        ]
        for e in ecgs
    ]
    values = np.array([list(each.values()) for each in want])
    apart = np.abs(values[:, None] - values[None]).max(-1) + np.eye(len(ecgs))
    assert apart.min() > 2e-3
    contents, seconds = [packed(each) for each in ecgs], np.zeros(200)

    def ask(k: int):
        started = time.perf_counter()
        try:
            if k % 20 == 7:
                return handler(MALFORMED[k % len(MALFORMED)])
            return handler({"inputs": contents[k % 30], "parameters": {"question": question, "options": DOUBTFUL}})
        except ValueError as error:
            return error
        finally:
            seconds[k] = time.perf_counter() - started

    with ThreadPoolExecutor(200) as pool:
        replies = list(pool.map(ask, range(200)))
    for k, reply in enumerate(replies):
        if k % 20 == 7:
            assert isinstance(reply, ValueError)
        else:
            assert reply["probabilities"] == pytest.approx(want[k % 30], abs=5e-5), k
    assert handler.batcher.batches < handler.batcher.answered  # some were answered together
    print(f"200 parallel requests: p50 {np.median(seconds):.2f} s, p99 {np.percentile(seconds, 99):.2f} s")


def test_openai_s_client_gets_the_pipeline_s_answers(client, pipe, ecgs):
    given = {"signal": ecgs[1].signal, "sampling_rate": 500, "units": "mV"}
    found = client.chat.completions.create(model="heartcare", messages=message(ecgs[1], "Write a report of this ECG."))
    assert found.choices[0].message.content == pipe(given)["text"] and found.choices[0].finish_reason == "stop"
    assert found.heartcare["quality"][0]["sampling_rate"] == 500 and found.heartcare["provenance"]["model"]
    chosen = client.chat.completions.create(
        model="heartcare", messages=message(ecgs[1], QUESTION), extra_body={"options": OPTIONS}
    )
    want = pipe(given, question=QUESTION, options=OPTIONS)
    assert chosen.heartcare["probabilities"] == pytest.approx(want["probabilities"], abs=1e-4)
    assert chosen.choices[0].message.content == want["text"]
    assert client.models.list().data[0].id == "heartcare"


def test_tokens_are_counted_and_what_is_cut_off_says_so(client, pipe, ecgs, speaking):
    given = {"signal": ecgs[1].signal, "sampling_rate": 500, "units": "mV"}
    want, written = pipe(given)["tokens"], re.sub(r" \([^)]*\)", "", pipe(given)["text"])  # without measured numbers
    assert want["finished"] and want["answer"] == len(pipe.processor.tokenizer(written)["input_ids"]) + 1  # and its end
    ask = {"model": "heartcare", "messages": message(ecgs[1], "Write a report of this ECG."), "n": None}
    found = client.chat.completions.create(**ask)
    assert found.usage.model_dump(exclude_none=True) == {
        "prompt_tokens": want["prompt"],
        "completion_tokens": want["answer"],
        "total_tokens": want["prompt"] + want["answer"],
    }
    cut = client.chat.completions.create(**ask, max_tokens=5)
    assert cut.choices[0].finish_reason == "length" and cut.usage.completion_tokens == 5
    assert found.choices[0].message.content.startswith(cut.choices[0].message.content)
    *chunks, last = client.chat.completions.create(
        **ask, max_tokens=5, stream=True, stream_options={"include_usage": True}
    )
    assert chunks[-1].choices[0].finish_reason == "length" and not last.choices and last.usage == cut.usage


def test_pictures_are_read_as_openai_has_them(client, pipe, root):
    path = root / "examples/ecgs/right_bundle_branch_block.png"
    url = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is the rhythm?"}]
    found = client.chat.completions.create(model="heartcare", messages=[{"role": "user", "content": content}])
    assert found.choices[0].message.content == pipe(str(path), question="What is the rhythm?")["text"]


def test_answers_are_streamed(client, pipe, ecgs, speaking):
    def stream(k: int) -> list[str]:
        chunks = client.chat.completions.create(
            model="heartcare", messages=message(ecgs[k], "Write a report of this ECG."), stream=True
        )
        return [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]

    want = [pipe({"signal": ecgs[k].signal, "sampling_rate": 500, "units": "mV"})["text"] for k in range(6)]
    with ThreadPoolExecutor(6) as pool:  # in one batch, each its own text
        for pieces, text in zip(pool.map(stream, range(6)), want):
            assert len(pieces) > 3 and "".join(pieces).strip() == text


def test_what_is_wrong_is_said_in_openai_s_way(client, server, ecgs):
    for options, status, words in (
        ({"messages": [{"role": "user", "content": [{"type": "ecg", "base64": "x"}] * 9}]}, 400, "0 to 8 ECGs"),
        ({"messages": message(ecgs[0], "x"), "n": 2}, 400, "n must be 1"),
        ({"messages": message(ecgs[0], "x"), "temperature": 2.5}, 400, "temperature"),
        ({"messages": message(ecgs[0], "x"), "max_tokens": 100000}, 400, "max_new_tokens"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a" * 2_100_000}]}]},
            413,
            "2000000 bytes",
        ),
    ):
        with pytest.raises(APIStatusError, match=words) as caught:
            client.chat.completions.create(model="heartcare", **options)
        assert caught.value.status_code == status
    with pytest.raises(APIStatusError) as caught:
        OpenAI(base_url=f"{server[0]}/v1", api_key="wrong", max_retries=0).models.list()
    assert caught.value.status_code == 401
    for body in (b"", b"{", b"\xff\xfe", b"[1]", b"[" * 100_000):
        request = urllib.request.Request(f"{server[0]}/v1/chat/completions", body, {"Authorization": "Bearer secret"})
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        assert caught.value.code == 400 and json.loads(caught.value.read())["error"]["message"]


def test_health_and_metrics(server, client, ecgs):
    health = json.load(urllib.request.urlopen(f"{server[0]}/health"))  # without a token
    assert health["status"] == "ok" and health["version"] == HEARTCARE_VERSION
    before = server[1].answered
    client.chat.completions.create(
        model="heartcare", messages=message(ecgs[0], QUESTION), extra_body={"options": OPTIONS}
    )
    text = urllib.request.urlopen(f"{server[0]}/metrics").read().decode()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert int(values["heartcare_answers_total"]) == before + 1
    assert int(values['heartcare_requests_total{status="200"}']) >= 1
    assert values['heartcare_request_seconds_bucket{le="+Inf"}'] == values["heartcare_request_seconds_count"]
