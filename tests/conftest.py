import copy
import csv
import http.server
import json
import os
import shutil
import threading
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from make_examples import write_wfdb
from support.paths import REAL_ECGS, ROOT
from transformers import LlamaConfig, LlamaForCausalLM, SiglipVisionConfig, SiglipVisionModel

import heartcare.agent.build as build_module
from heartcare import BeatConfig, BeatModel, HeartcareForConditionalGeneration, HeartcareProcessor
from heartcare.agent.simulate import simulate_ecg

os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
torch.set_num_threads(int(os.environ.get("TEST_THREADS", "2")))


def pytest_collection_modifyitems(items):
    """Marks the tests that read real ECGs or drive a browser, by the fixtures that give them these, and puts the files
    with slow tests first, those with the fewest tests before the others: of two processes, none shall end with a long
    file while the other has nothing left to do.
    """
    for item in items:
        for fixture, marker in (("shared", "data"), ("browser", "browser")):
            if fixture in item.fixturenames:
                item.add_marker(marker)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    tests_of_file = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path not in slow, tests_of_file[item.path] if item.path in slow else 0))


@pytest.fixture(scope="module")
def browser():
    """Starts a Chromium, for the tests of pages."""
    sync_api = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome")
    if (path := next((found for name in names if (found := shutil.which(name))), None)) is None:
        pytest.skip("there is no Chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def root() -> Path:
    """Returns the repository's folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Returns the folder with real ECGs: `HEARTCARE_DATA`, or ../shared/data beside the repository."""
    if not REAL_ECGS.is_dir():
        pytest.skip(
            f"no real ECGs in {REAL_ECGS}: set the environment variable HEARTCARE_DATA to a folder that has them"
        )
    return REAL_ECGS


@pytest.fixture
def ecg():
    """Simulates ten seconds of sinus rhythm at 500 Hz."""
    return simulate_ecg("SR", "NORM", noise_mv=0.005, seed=5)


@pytest.fixture(scope="session")
def three_ecgs(processor) -> torch.Tensor:
    """Returns the tensor that `signals` copies."""
    rhythms = (("SR", "NORM"), ("AFIB", "NORM"), ("SBRAD", "LVH"))
    ecgs = [simulate_ecg(*each, seed=i).signal for i, each in enumerate(rhythms)]
    return processor.feature_extractor(ecgs, sampling_rate=500, units="mV", return_tensors="pt")["input_values"]


@pytest.fixture
def signals(three_ecgs) -> torch.Tensor:
    """Returns three ECGs as Beat takes them, (3, 12, 1000) mV at 100 Hz."""
    return three_ecgs.clone()


@pytest.fixture(scope="session")
def beat() -> BeatModel:
    """Loads the trained Beat of this repository."""
    return BeatModel.from_pretrained(ROOT).eval()


@pytest.fixture(scope="session")
def model() -> HeartcareForConditionalGeneration:
    """Loads the trained model of this repository."""
    return HeartcareForConditionalGeneration.from_pretrained(ROOT).eval()


@pytest.fixture
def speaking(model, monkeypatch) -> None:
    """Returns the trained model without its reader of questions, so that its language model writes reports."""
    monkeypatch.setattr(model.config, "asked", None)


@pytest.fixture(scope="session")
def processor() -> HeartcareProcessor:
    return HeartcareProcessor.from_pretrained(ROOT)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """Builds a whole repository of random weights, a fraction of the default's size, out of backbones."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = HeartcareProcessor.from_pretrained(ROOT).tokenizer
    text = folder / "text"
    tokenizer.save_pretrained(text)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
        initializer_range=0.3,
    )
    LlamaForCausalLM(config).save_pretrained(text)
    vision = SiglipVisionModel(
        SiglipVisionConfig(
            image_size=32,
            patch_size=8,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            vision_use_head=False,
        )
    )
    beat = BeatModel(
        BeatConfig(
            hidden_size=16,
            num_encoder_layers=1,
            num_decoder_layers=1,
            num_attention_heads=2,
            head_dim=8,
            intermediate_size=32,
            codebook_size=32,
        )
    )
    parts = {"text": str(text), "vision": vision, "beat": beat}
    out = folder / "model"
    HeartcareForConditionalGeneration.from_backbones(**parts).save_pretrained(out)
    template = HeartcareProcessor.from_pretrained(ROOT).chat_template
    HeartcareProcessor.from_backbones(**parts, chat_template=template).save_pretrained(out)
    return out


@pytest.fixture(scope="session")
def tiny_model(tiny_folder) -> HeartcareForConditionalGeneration:
    """Loads the model that `tiny` copies."""
    return HeartcareForConditionalGeneration.from_pretrained(tiny_folder).eval()


@pytest.fixture
def tiny(tiny_model) -> HeartcareForConditionalGeneration:
    """Returns the small model of random weights, which a test may change."""
    return copy.deepcopy(tiny_model)


@pytest.fixture
def ask(processor):
    """Returns a function of (question, ecgs, images) that makes inputs of the model for one prompt."""

    def inputs(question="What is the rhythm?", ecgs=(), images=(), processor=processor, **kwargs):
        content = [{"type": "ecg", "ecg": e.signal, "sampling_rate": e.sampling_rate, "units": "mV"} for e in ecgs]
        content += [{"type": "image", "image": image} for image in images]
        message = {"role": "user", "content": [*content, {"type": "text", "text": question}]}
        options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
        return processor.apply_chat_template([message], **{**options, **kwargs})

    return inputs


@pytest.fixture(scope="session")
def ptbxl_folder(tmp_path_factory) -> Path:
    """Writes simulated records in PTB-XL's official layout: 40 patients over ten folds."""
    folder = tmp_path_factory.mktemp("ptbxl")
    kinds = [("SR", "NORM"), ("AFIB", "LVH"), ("SBRAD", "IMI"), ("STACH", "CLBBB"), ("SR", "LOWT")]
    with open(folder / "ptbxl_database.csv", "w", newline="") as file:
        table = csv.DictWriter(file, ["ecg_id", "patient_id", "scp_codes", "strat_fold", "filename_lr"])
        table.writeheader()
        for i in range(1, 41):
            ecg = simulate_ecg(*kinds[i % 5], sampling_rate=100, seed=i)
            write_wfdb(folder / "records100" / "00000", f"{i:05d}_lr", ecg.signal, 100)
            row = {"ecg_id": i, "patient_id": i, "scp_codes": ecg.statements, "strat_fold": i % 10 + 1}
            table.writerow(row | {"filename_lr": f"records100/00000/{i:05d}_lr"})
    return folder


@pytest.fixture(scope="session")
def built(ptbxl_folder, tmp_path_factory) -> Path:
    """Builds the forty simulated records by HeartAgent, in shards of eight. Tests that change the data set copy it
    first.
    """
    folder = tmp_path_factory.mktemp("built")
    with mock.patch.object(build_module, "UNIT_RECORDS", 8):
        build_module.build(ptbxl_folder, folder, build_module.Settings(), progress=False)
    return folder


@pytest.fixture
def llm_server():
    """Yields (url, requests) of an OpenAI-compatible server. The model "good" rephrases well, "wrong" changes the
    findings, "second" is good at the second try.
    """
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body)
            row = json.loads(body["messages"][-1]["content"])
            good = {"question": f"Please: {row['question']}", "answer": row["answer"]}
            wrong = good | {"answer": "Left ventricular hypertrophy, 7 mm."}
            content = json.dumps(
                good if body["model"] == "good" or (body["model"] == "second" and body["seed"]) else wrong
            )
            reply = json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1", asked
    server.shutdown()


@pytest.fixture
def judge_server():
    """Yields (url, replies, requests) of an OpenAI-compatible server that gives one reply after the other; "error" is a
    failure of the server. A reply may be a function of the request.
    """
    replies, asked = [], []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            reply = replies[0](asked[-1]) if callable(replies[0]) else replies.pop(0)
            choice = reply if isinstance(reply, dict) else {"message": {"role": "assistant", "content": reply}}
            body = json.dumps({"choices": [choice]}).encode()
            self.send_response(500 if reply == "error" else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1", replies, asked
    server.shutdown()


@pytest.fixture
def rng():
    return np.random.default_rng(0)
