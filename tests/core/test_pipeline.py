"""`pipeline(model=REPO)`: every form of input gives the same answer, batches equal single calls, and the pipeline goes
wherever the model goes.
"""

import base64
import copy
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from support import hub_server
from support.hub_client import READ, client
from torch.testing import assert_close
from transformers import Trainer, TrainingArguments, pipeline

from heartcare.agent.simulate import simulate_ecg
from heartcare.claims_heartcare import numbered
from heartcare.configuration_heartcare import TASK, HeartcareConfig, InstalledPipelines
from heartcare.ecg_heartcare import ECG
from heartcare.extraction_heartcare import BeatFeatureExtractor
from heartcare.parts_heartcare import as_part, name_of_repository
from heartcare.pipeline_heartcare import ECGInterpretationPipeline
from heartcare.version_heartcare import HEARTCARE_VERSION
from heartcare.windows_heartcare import clock, scan

# No statement is called a junctional rhythm, so that the language model chooses.
RHYTHMS = ["sinus rhythm", "atrial fibrillation", "sinus tachycardia", "a junctional rhythm"]


@pytest.fixture(scope="module")
def pipe(model, processor):
    return ECGInterpretationPipeline(model=model, processor=processor, device="cpu")


@pytest.fixture(scope="module")
def records(root):
    return [
        str(root / "examples/ecgs" / name)
        for name in ("right_bundle_branch_block", "atrial_fibrillation", "sinus_rhythm")
    ]


@pytest.fixture(scope="module")
def forms(root, processor, tmp_path_factory):
    """Returns the same ECG in every form that is taken."""
    path = root / "examples/ecgs/right_bundle_branch_block"
    (record,) = processor.feature_extractor.fetch_ecg(str(path))
    given = {"sampling_rate": record.sampling_rate, "lead_names": list(record.lead_names), "units": "mV"}
    packed = io.BytesIO()
    np.savez(packed, signal=record.signal, **given)
    lines = [",".join(given["lead_names"]), *(",".join(f"{value:.6f}" for value in row) for row in record.signal.T)]
    csv = tmp_path_factory.mktemp("csv") / "record.csv"
    csv.write_text("\n".join(lines))
    plain = io.BytesIO()
    np.save(plain, record.signal)
    return {
        "path": (str(path), {}),
        "Path of the header": (path.with_suffix(".hea"), {}),
        "array": (record.signal, given),
        "tensor": (torch.from_numpy(record.signal), given),
        "dict with signal": ({"signal": record.signal, **given}, {}),
        "dict of JSON": (json.loads(json.dumps({"signal": record.signal.tolist(), **given})), {}),
        "dict with path": ({"path": str(path)}, {}),
        "bytes of .npz": (packed.getvalue(), {}),
        "bytes of .npy": (plain.getvalue(), given),
        "bytes of .csv": (csv.read_bytes(), {"sampling_rate": record.sampling_rate, "units": "mV"}),
        "path of .csv": (str(csv), {"sampling_rate": record.sampling_rate, "units": "mV"}),
        "base64": (base64.b64encode(packed.getvalue()).decode(), {}),
        "dict with base64": ({"base64": base64.b64encode(packed.getvalue()).decode()}, {}),
        "data URI": ("data:application/zip;base64," + base64.b64encode(packed.getvalue()).decode(), {}),
        "chat": (
            [
                {
                    "role": "user",
                    "content": [{"type": "ecg", "path": str(path)}, {"type": "text", "text": "What is the rhythm?"}],
                }
            ],
            {},
        ),
    }


def test_answers_what_the_model_answers(pipe, model, processor, records, speaking):
    content = [{"type": "ecg", "path": records[0]}, {"type": "text", "text": "Write a report of this ECG."}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    ids = model.generate(**inputs, do_sample=False, max_new_tokens=256)[0, inputs["input_ids"].shape[1] :]
    found = pipe(records[0])
    written = processor.decode(ids, skip_special_tokens=True).strip()
    assert found["text"] == numbered(written, found["measurements"][0]) and len(written) > 20
    assert re.sub(r" \([^)]*\)", "", found["text"]) == written != found["text"]
    assert "probabilities" not in found
    (quality,) = found["quality"]
    assert (
        quality["sampling_rate"] == 500
        and quality["seconds"] == 10
        and len(quality["leads"]) == 12
        and quality["warnings"] == []
        and 40 < found["measurements"][0]["heart_rate"] < 140
    )
    provenance = found["provenance"]
    assert provenance["ecgs"][0]["source"] == records[0] and provenance["dtype"] == "float32"
    assert provenance["heartcare_version"] == HEARTCARE_VERSION
    assert provenance["model_version"] == pipe.model.config.heartcare_version is not None


def test_every_form_is_the_same_ecg(pipe, forms):
    answers = {
        name: pipe(given, question="What is the rhythm?", **options)["text"] for name, (given, options) in forms.items()
    }
    assert len(set(answers.values())) == 1 and answers["path"], answers
    prepared = [
        pipe.preprocess(given, **options)["features"]["input_values"]
        for name, (given, options) in forms.items()
        if name != "chat"
    ]
    for each in prepared:
        assert_close(each, prepared[0], atol=1e-5, rtol=0)


def test_every_form_of_a_picture_is_the_same(pipe, root):
    path = root / "examples/ecgs/right_bundle_branch_block.png"
    content = path.read_bytes()
    encoded = base64.b64encode(content).decode()
    forms = [
        str(path),
        path,
        content,
        encoded,
        f"data:image/png;base64,{encoded}",
        Image.open(path),
        {"image": Image.open(path)},
        {"type": "image", "image": str(path)},
        {"base64": encoded},
    ]
    tiles = [pipe.preprocess(each)["features"]["pixel_values"] for each in forms]
    assert all(torch.equal(each, tiles[0]) for each in tiles) and tiles[0].shape[:2] == (1, 12)
    found = pipe(str(path))
    assert len(found["quality"]) == len(found["measurements"]) == found["provenance"]["pictures"] == 1 and found["text"]


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_batches_equal_single_calls(pipe, records, root, batch_size, ecg):
    """Signals of several lengths, pictures and pairs, open and closed questions stand in one list."""
    picture = str(root / "examples/ecgs/right_bundle_branch_block.png")
    short = {"signal": ecg.signal[:, :2000], "sampling_rate": 500, "units": "mV"}
    inputs = [
        records[0],
        {**short, "question": "What is the rhythm?"},
        {"path": records[1], "question": "Which rhythm is it?", "options": RHYTHMS},
        picture,
        {"ecgs": [records[0], records[2]], "question": "What is different in the second ECG?"},
        {**short, "question": "Which rhythm is it?", "options": RHYTHMS[:2]},
        {"ecgs": [records[0], picture], "question": "Do both ECGs show the same?"},
    ]
    single = [pipe(each) for each in inputs]
    batched = pipe(inputs, batch_size=batch_size)
    assert len(batched) == len(single)
    for one, many in zip(single, batched):
        assert all(one[name] == many[name] for name in ("text", "tokens", "quality", "provenance"))
        assert list(one.get("probabilities", {})) == list(many.get("probabilities", {}))
        assert_close(
            list(one.get("probabilities", {}).values()),
            list(many.get("probabilities", {}).values()),
            atol=1e-5,
            rtol=1e-4,
        )
    assert list(pipe((each for each in inputs[:3]), batch_size=2)) == pipe(inputs[:3], batch_size=2)


def test_probabilities_are_those_of_whole_answers(pipe, model, processor, records):
    """Each option's share is by the loss of that answer in a prompt of its own."""
    question = f"Which rhythm is it: {', '.join(RHYTHMS)}?"
    found = pipe(records[1], question="Which rhythm is it?", options=RHYTHMS)["probabilities"]
    scores = []
    for option in RHYTHMS:
        chat = [
            {"role": "user", "content": [{"type": "ecg", "path": records[1]}, {"type": "text", "text": question}]},
            {"role": "assistant", "content": f"{option[0].upper()}{option[1:]}."},
        ]
        inputs = processor.collate_chats([chat])
        with torch.no_grad():
            scores.append(-model(**inputs).loss * (inputs["labels"] != -100).sum())
    assert_close(torch.tensor(list(found.values())), torch.stack(scores).softmax(0), atol=1e-4, rtol=1e-3)
    assert abs(sum(found.values()) - 1) < 1e-6
    again = pipe(records[1], question=question, options=RHYTHMS[::-1])[
        "probabilities"
    ]  # options that are in the question are not named twice
    assert {name: round(value, 4) for name, value in again.items()} == {
        name: round(value, 4) for name, value in found.items()
    }


def test_scoring_answers_of_a_padded_batch(tiny, processor):
    """Answers of one token and of many, after prompts of two lengths, are scored as each alone; lists without an
    answer are refused.
    """
    torch.manual_seed(0)
    prompts = [torch.randint(5, 500, (n,)) for n in (9, 4)]
    answers = [[[7], [8, 9, 10], [11, 12]], [[400, 3, 2, 5], [6]]]
    ids = torch.stack([torch.nn.functional.pad(prompt, (9 - len(prompt), 0)) for prompt in prompts])
    mask = torch.tensor([[1] * 9, [0] * 5 + [1] * 4])
    for scores, prompt, some in zip(tiny.score_answers(answers, ids, mask), prompts, answers):
        for score, answer in zip(scores, some):
            whole = torch.cat([prompt, torch.tensor(answer)])[None]
            with torch.no_grad():
                likely = tiny(input_ids=whole).logits[0].log_softmax(-1)
            want = likely[len(prompt) - 1 : -1].gather(1, torch.tensor(answer)[:, None]).sum()
            assert_close(score, want, atol=1e-4, rtol=1e-4)
    for wrong in ([answers[0]], [answers[0], []], [answers[0], [[]]]):
        with pytest.raises(ValueError, match="Expected one list of answers"):
            tiny.score_answers(wrong, ids, mask)


def test_text_comes_as_it_is_written(pipe, records, speaking):
    pieces = list(pipe.stream(records[0]))
    assert len(pieces) > 5 and "".join(pieces).strip() == pipe(records[0])["text"]
    with pytest.raises(FileNotFoundError):
        list(pipe.stream("there/is/no/such.hea"))
    with pytest.raises(ValueError, match="One input is streamed"):
        next(pipe.stream(records[:2]))
    with pytest.raises(ValueError, match="chosen from options"):
        next(pipe.stream(records[0], options=RHYTHMS))


def test_options_of_generation_are_followed(pipe, records):
    found = pipe(records[0], max_new_tokens=3)["text"]
    assert found and pipe(records[0])["text"].startswith(found)
    several = pipe(records[:2], num_return_sequences=2, do_sample=True, max_new_tokens=8, batch_size=2)
    assert all(isinstance(each["text"], list) and len(each["text"]) == 2 for each in several)


@pytest.mark.parametrize(
    "given, options, message",
    [
        ("no/such/record.hea", {}, "does not exist"),
        ("no-such-record", {}, "neither a file that exists"),
        (b"", {}, "empty"),
        (b"\x00\x01\x02\xff\xfe" * 9, {}, "no picture"),
        (b"\x89PNG\r\n\x1a\nrubbish", {}, "may be truncated"),
        (b"PK\x03\x04rubbish", {}, "upload"),
        (b"a,b\n1,2\n", {}, "must name the leads"),
        (3.5, {}, "given as a path"),
        ({"signal": [[0.0] * 500] * 12}, {}, "sampling rate is missing"),
        ({"signal": [[0.0, 1.0], [0.0]], "sampling_rate": 500}, {}, "all of the same length"),
        ({}, {}, "exactly one of"),
        ({"signal": np.ones((12, 500)), "path": "x"}, {}, "exactly one of"),
        ({"ecgs": ["a"], "path": "b"}, {}, "'ecgs' is a list"),
        ("x", {"options": ["yes"]}, "two or more"),
        ("x", {"options": ["AFIB", "AFIB", "SR"]}, "two or more"),
        ("x", {"options": ["yes", "Yes."]}, "two or more"),
        ("x", {"layout": "9x9"}, "layout must be"),
        ({"ecgs": []}, {}, "nothing to answer about"),
        ([{"role": "user", "content": "What is it?"}], {"question": "Is it AFIB?"}, "leave question= out"),
        ({"path": "rec12345"}, {}, "does not exist"),
        ("rec12345", {}, "neither a file that exists"),
        ({"base64": 7}, {}, "base64 is a text"),
        ("x", {"options": "yes or no"}, "two or more"),
        (
            [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "An ECG."}],
            {},
            "must be of the user",
        ),
        (
            {"signal": np.random.default_rng(0).normal(size=(12, 2000)), "sampling_rate": 500, "question": "<|ecg|>"},
            {},
            "as text",
        ),
    ],
)
def test_what_cannot_be_read_is_said(pipe, given, options, message):
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=re.escape(message)):
        pipe(given, **options)


def test_parts_keep_what_is_said_of_them():
    part = as_part(
        {"signal": np.ones((2, 9)), "lead_names": ["I", "II"], "source": "mine"},
        sampling_rate=250,
        lead_names=["V1", "V2"],
    )
    assert (
        part["lead_names"] == ["I", "II"]
        and part["sampling_rate"] == 250
        and part["source"] == "mine"
        and part["type"] == "ecg"
    )


def test_the_installed_package_knows_the_task_by_name(model, processor, records):
    """A model that was loaded already needs no trust in remote code where the package is imported."""
    named = pipeline("ecg-interpretation", model=model, processor=processor, device="cpu")
    assert type(named).__name__ == "ECGInterpretationPipeline" and named.task == "ecg-interpretation"
    assert named(records[0])["text"] == ECGInterpretationPipeline(model=model, processor=processor)(records[0])["text"]


LOADED_MODEL = """
import sys
sys.modules["heartcare"] = None  # not importable
from transformers import AutoModelForImageTextToText, AutoProcessor, pipeline
from transformers.utils import logging
logging.disable_progress_bar()
ecg, *repos = sys.argv[1:]
for repo in repos:  # the second is another copy of the code
    model = AutoModelForImageTextToText.from_pretrained(repo, trust_remote_code=True)
    processor = AutoProcessor.from_pretrained(repo, trust_remote_code=True)
    pipe = pipeline("ecg-interpretation", model=model, processor=processor, device="cpu")
    ours = type(model).__module__.replace("modeling_heartcare", "pipeline_heartcare")
    assert (type(pipe).__module__, type(pipe).__name__) == (ours, "ECGInterpretationPipeline"), type(pipe)
    print(pipe(ecg)["text"])
"""


def test_a_loaded_model_brings_its_task_along(bare_clone, root, pipe, tmp_path):
    """The task is known by name as soon as the model is loaded by remote code alone, and nothing else is printed."""
    other = shutil.copytree(bare_clone, tmp_path / "other")
    with open(other / "pipeline_heartcare.py", "a") as file:
        file.write("# another revision\n")
    ecg = root / "examples/ecgs/atrial_fibrillation"
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOADED_MODEL, *map(str, (ecg, bare_clone, other))],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"},
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout == 2 * f"{pipe(ecg)['text']}\n" and run.stderr == ""


INSTALLED = """
import sys
import heartcare
from transformers import AutoModelForImageTextToText, AutoProcessor, pipeline
from transformers.dynamic_module_utils import get_class_from_dynamic_module
from transformers.utils import logging
logging.disable_progress_bar()
repo, ecg = sys.argv[1:]
task, ours = "ecg-interpretation", heartcare.ECGInterpretationPipeline
model, processor = (auto.from_pretrained(repo) for auto in (AutoModelForImageTextToText, AutoProcessor))
ways = {"task": task, "model": model, "processor": processor}, {"model": repo}, {"task": task, "model": repo}
for trust in ({}, {"trust_remote_code": True}):
    for way in ways:
        pipe = pipeline(**way, **trust, device="cpu")
        assert type(pipe) is ours and type(pipe.model) is type(model) is heartcare.HeartcareForConditionalGeneration
        assert type(pipe.processor) is heartcare.HeartcareProcessor
        print(pipe(ecg)["text"])
assert not any(name.startswith("transformers_modules") for name in sys.modules)
other = get_class_from_dynamic_module("pipeline_heartcare.ECGInterpretationPipeline", repo)
assert type(pipeline(**ways[0], device="cpu")) is other
heartcare.register()
assert type(pipeline(**ways[1], device="cpu")) is ours
"""


def test_the_installed_package_needs_no_trust(bare_clone, root, pipe, tmp_path):
    """The installed package makes the pipeline of a loaded model, of a folder, and of a folder and the task; with
    trust, its code is the same. Another copy of the code takes the task, and `register` takes it back.
    """
    ecg = root / "examples/ecgs/atrial_fibrillation"
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", INSTALLED, str(bare_clone), str(ecg)],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"},
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout == 6 * f"{pipe(ecg)['text']}\n" and run.stderr == ""


def test_the_place_of_the_pipeline_is_saved_as_it_was(root, tmp_path):
    """The mark of the installed package stays in its process."""
    config = HeartcareConfig.from_pretrained(root)
    assert isinstance(config.custom_pipelines, InstalledPipelines) and TASK not in config.custom_pipelines
    assert isinstance(copy.deepcopy(config).custom_pipelines, InstalledPipelines)
    config.save_pretrained(tmp_path)
    saved, was = (json.loads((folder / "config.json").read_text()) for folder in (tmp_path, root))
    assert saved["custom_pipelines"] == was["custom_pipelines"] and list(saved["custom_pipelines"]) == [TASK]


def test_what_is_none_was_not_said(pipe, records):
    asked = pipe(
        {"path": records[1], "question": None, "options": None}, question="Which rhythm is it?", options=RHYTHMS
    )
    assert asked == pipe(records[1], question="Which rhythm is it?", options=RHYTHMS)
    table = "time,I,II\n" + "".join(f"{k / 100:.2f},0.1,0.2\n" for k in range(25))
    with pytest.raises(ValueError, match="at least 1 s are needed"):
        pipe(base64.b64encode(table.encode()).decode())  # longer than the name of a file can be


def test_no_input_gives_no_answer_and_no_keyword_is_swallowed(pipe, records):
    assert pipe([]) == []
    for wrong, near in (("samplng_rate", "sampling_rate"), ("layot", "layout"), ("max_new_token", "max_new_tokens")):
        with pytest.raises(TypeError, match=f"{wrong}.*did you mean '{near}'"):
            pipe(records[0], **{wrong: 500}, options=RHYTHMS, question="Which rhythm is it?")
    for other, ours in (("text", "question"), ("prompt", "question"), ("candidate_labels", "options")):
        with pytest.raises(TypeError, match=rf"'{other}' \(did you mean '{ours}'\?\).*keywords: [a-z]"):
            pipe(records[0], **{other: "What is the rhythm?"})


def test_a_question_may_stand_behind_the_ecg(pipe, records):
    assert pipe(records[1], "What is the rhythm?") == pipe(records[1], question="What is the rhythm?")
    assert pipe([records[0]] * 2, "Is it normal?", batch_size=2) == 2 * [pipe(records[0], question="Is it normal?")]


def test_the_layout_of_a_picture_can_be_given_everywhere(pipe, processor, root):
    path = str(root / "examples/ecgs/right_bundle_branch_block.png")
    chat = [{"role": "user", "content": [{"type": "image", "path": path}, {"type": "text", "text": "What is it?"}]}]
    options = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
    for layout in ("12x1", "6x2"):
        want = torch.from_numpy(processor.image_processor.tiles(Image.open(path), layout)[None])
        given = {
            "image processor": processor.image_processor(path, layout=layout, return_tensors="pt")["pixel_values"],
            "processor": processor(images=path, text="<|image|>", layout=layout, return_tensors="pt")["pixel_values"],
            "chat": processor.apply_chat_template(chat, **options, processor_kwargs={"layout": layout})["pixel_values"],
            "pipeline": pipe.preprocess(path, layout=layout)["features"]["pixel_values"],
        }
        for name, tiles in given.items():
            assert torch.equal(tiles, want), name
    guessed = pipe.preprocess(path)["features"]["pixel_values"]
    assert not torch.equal(guessed, want)
    with pytest.raises(ValueError, match="layout must be 'auto' or one of"):
        pipe(path, layout="5x5")


PIPE = """
from transformers import pipeline
pipe = pipeline(model=repo, trust_remote_code=True, device="cpu")
assert type(pipe).__name__ == "ECGInterpretationPipeline" and pipe.task == "ecg-interpretation"
named = pipeline("ecg-interpretation", model=repo, trust_remote_code=True, device="cpu")
text = named(ecg, question="What is the rhythm?")["text"]
shares = pipe(ecg, question="Which rhythm is it?", options=["sinus rhythm", "atrial fibrillation"])["probabilities"]
print("IDS", text, {name: round(share, 4) for name, share in shares.items()})
"""


def long_record(seconds: int) -> dict:
    """Returns I and II at 100 Hz: minutes of sinus rhythm, of fast rhythm and of ventricular beats in turn."""
    parts = (("SR", "NORM"), ("STACH", "NORM"), ("SR", "PVC"))
    minutes = [simulate_ecg(*part, seconds=60.0, sampling_rate=100, noise_mv=0.005, seed=5) for part in parts]
    turn = np.concatenate([each.signal[:2] for each in minutes], axis=1)
    signal = np.tile(turn, -(-seconds // 180))[:, : 100 * seconds]
    return {"signal": signal, "sampling_rate": 100, "lead_names": ["I", "II"], "units": "mV"}


def test_a_long_record_is_answered_about_windows_that_the_reply_names(pipe):
    """A recording of half an hour is answered about windows of 10 s."""
    reply = pipe(long_record(1800), question="What is the heart rate?")
    assert reply["text"].startswith("The recording lasts 0:30:00; 180 windows of 10 s, all of it, were measured: heart")
    reasons = Counter(reason for window in reply["windows"] for reason in window["reason"].split(", "))
    assert reasons == {"among the cleanest": 2, "most ectopic beats": 2, "slowest rate": 1, "fastest rate": 1}
    assert all(f"{clock(each['start'])} ({each['reason']})" in reply["text"] for each in reply["windows"])
    assert len(reply["findings"]) == len(reply["measurements"]) == len(reply["quality"]) == len(reply["windows"]) <= 6
    measured = [(window["reason"], each) for window, each in zip(reply["windows"], reply["measurements"])]
    (fast,) = (each["heart_rate"] for reason, each in measured if "fastest rate" in reason)
    (slow,) = (each["heart_rate"] for reason, each in measured if "slowest rate" in reason)
    low, high = map(int, re.search(r"heart rate (\d+) to (\d+) beats/min", reply["text"]).groups())
    assert (round(slow), round(fast)) == (low, high) and high > 100 > low
    assert all(each["ectopic"] for reason, each in measured if "most ectopic beats" in reason)

    options = ["sinus rhythm", "atrial fibrillation"]
    chosen = pipe(long_record(180), question="Which rhythm is it?", options=options)
    assert chosen["text"] in options and sum(chosen["probabilities"].values()) == pytest.approx(1)
    streamed = "".join(pipe.stream(long_record(180)))
    assert streamed.startswith("The recording lasts 0:03:00; 18 windows") and streamed == pipe(long_record(180))["text"]
    assert "needs two" in pipe(long_record(180), question="What has changed?")["text"]
    assert "a minute at most" in pipe(long_record(180), question="How does it go on for the next 2 seconds?")["text"]


def test_long_records_stand_beside_others(pipe):
    short = pipe(long_record(60), question="What is the heart rate?")
    assert "windows" not in short and short["text"].startswith("The heart rate is ")
    both = [long_record(180), long_record(60)]
    two = pipe({"ecgs": both}, question="What is the heart rate?")
    assert two["text"].startswith("ECG 1: The recording lasts 0:03:00;") and "ECG 2: The heart rate is " in two["text"]
    assert two["windows"][-1] is None and all(each["recording"] == 0 for each in two["windows"][:-1])
    assert len(two["findings"]) == len(two["windows"])
    assert "needs two" not in pipe({"ecgs": both}, question="What has changed?")["text"]
    chat = [
        {"role": "user", "content": [{"type": "ecg", **both[0]}, {"type": "text", "text": "Is it normal?"}]},
        {"role": "assistant", "content": "No."},
        {"role": "user", "content": [{"type": "ecg", **both[1]}, {"type": "text", "text": "What is the heart rate?"}]},
    ]
    assert pipe(chat)["text"] == short["text"]
    noise = long_record(180) | {"signal": np.random.default_rng(0).normal(0, 0.3, (2, 18000))}
    good, refused = pipe([both[0], noise], question="What is the heart rate?")
    assert good["text"].startswith("The recording lasts") and "no ECG" in refused["text"] and "findings" not in refused


def test_windows_are_those_that_were_measured():
    """Windows reach the last sample, also at a sampling rate that is no whole number."""
    ecg = simulate_ecg("SR", "PVC", seconds=69.0, sampling_rate=360, noise_mv=0.005, seed=2)
    found = scan(ECG.of({"signal": ecg.signal, "sampling_rate": 360.04, "units": "mV"}), BeatFeatureExtractor())
    assert found.scanned == 7 and "all of it" in str(found) and found.seconds == pytest.approx(68.99, abs=0.01)
    for window in found.windows:
        assert window.stop - window.first == 3600 and window.start == pytest.approx(window.first / 360.04)
    assert {reason for each in found.windows for reason in each.reason.split(", ")} == {
        *("among the cleanest", "most ectopic beats", "slowest rate", "fastest rate"),
    }


def test_too_many_records_for_the_context_are_refused(pipe):
    """They are refused before the model is asked, with the length that is possible: the answer would be nonsense after
    much memory.
    """
    with mock.patch.object(pipe.model, "generate", side_effect=AssertionError("was asked")):
        with pytest.raises(ValueError, match="2048 places.*5 tokens a second, so ask about 368 s at most"):
            pipe({"ecgs": [long_record(60)] * 7}, question="What is the rhythm?")
    assert pipe(long_record(60), question="What is the rhythm?", max_new_tokens=4)["text"]


def test_a_reply_names_the_model_and_not_its_place(tmp_path, monkeypatch):
    (tmp_path / "some/model").mkdir(parents=True)
    assert name_of_repository(str(tmp_path / "some/model")) == name_of_repository("/gone/model") == "model"
    monkeypatch.chdir(tmp_path / "some")
    assert name_of_repository("model") == "model" and name_of_repository(".") == "some"
    assert name_of_repository("me/heartcare") == "me/heartcare" and name_of_repository("") == ""


@pytest.mark.slow
def test_the_pipeline_goes_where_the_model_goes(bare_clone, hub, root, tiny_folder, tmp_path):
    """Every form of repository has its pipeline, by name and without: a folder, a Hub repository and one that was
    pushed again.
    """
    ecg = root / "examples/ecgs/atrial_fibrillation"
    for name in "abc":
        (tmp_path / name).mkdir()
    push = "\npipe.model.push_to_hub('me/piped')\npipe.processor.push_to_hub('me/piped')\n"
    local = client(READ + PIPE, bare_clone, ecg, tmp_path=tmp_path / "a")
    pinned = f"\nassert pipe(ecg, max_new_tokens=1)['provenance']['revision'] == {hub_server.SHA!r}\n"
    remote = client(READ + PIPE + push + pinned, "me/heartcare", ecg, tmp_path=tmp_path / "b", HF_ENDPOINT=hub.url)
    again = client(READ + PIPE, "me/piped", ecg, tmp_path=tmp_path / "c", HF_ENDPOINT=hub.url)
    assert local.startswith("IDS") and local == remote == again


def test_a_trainer_s_checkpoint_has_the_pipeline(tiny, tiny_folder, root, tmp_path):
    from heartcare import HeartcareProcessor

    processor = HeartcareProcessor.from_pretrained(tiny_folder)
    inputs = processor(text="Is it?", return_tensors="pt")
    row = {"input_ids": inputs["input_ids"][0], "labels": inputs["input_ids"][0]}
    arguments = TrainingArguments(
        tmp_path / "run", max_steps=1, save_steps=1, report_to=[], use_cpu=True, remove_unused_columns=False
    )
    Trainer(tiny, arguments, train_dataset=[row], processing_class=processor).train()
    pipe = pipeline(model=str(tmp_path / "run/checkpoint-1"), trust_remote_code=True, device="cpu")
    assert type(pipe).__name__ == "ECGInterpretationPipeline"
    assert pipe(str(root / "examples/ecgs/sinus_rhythm"), options=["yes", "no"], question="Is it?")["text"] in (
        "yes",
        "no",
    )


def test_image_text_to_text_works_for_pictures(model, processor, root, pipe):
    path = str(root / "examples/ecgs/right_bundle_branch_block.png")
    general = pipeline("image-text-to-text", model=model, processor=processor, device="cpu")
    chat = [
        {"role": "user", "content": [{"type": "image", "path": path}, {"type": "text", "text": "What is the rhythm?"}]}
    ]
    found = general(text=chat, max_new_tokens=64, do_sample=False, return_full_text=False)
    assert found[0]["generated_text"].strip() == pipe(path, question="What is the rhythm?")["text"]


def test_a_chat_without_an_ecg_gets_a_sentence(pipe):
    chat = [{"role": "user", "content": "What is the rhythm?"}]
    reply = pipe(chat)
    assert reply["text"].startswith("No ECG is given") and reply["measurements"] == reply["quality"] == []
    assert list(pipe.stream(chat)) == [reply["text"]] and reply["tokens"]["answer"] == 0
