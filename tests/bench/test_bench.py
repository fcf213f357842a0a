"""The benchmark end to end: frozen items, control rows, the same file however it is run, other people's models, and its
report.
"""

import copy
import gzip
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support.commands import run_main
from support.processes import STALL, kill_when_stalled
from transformers import (
    AutoTokenizer,
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    pipeline,
)

from heartcare.agent.build import Settings as BuildSettings
from heartcare.agent.build import build
from heartcare.agent.statements import SETS, SUPERCLASS, truth
from heartcare.bench import items as items_module
from heartcare.bench import worker as worker_module
from heartcare.bench.__main__ import main
from heartcare.bench.answers import ItemAnswer
from heartcare.bench.classify import QUESTIONS
from heartcare.bench.compare import compare
from heartcare.bench.controls import (
    BLANK,
    MAJORITY,
    MODEL,
    NOISE,
    OTHER,
    RANDOM,
    TEXT,
)
from heartcare.bench.items import freeze, read_items
from heartcare.bench.models import ModelSpec, Prompt, Reply, describe, instruction, load_model
from heartcare.bench.run import Settings, run
from heartcare.bench.variants import BASE, VARIANTS
from heartcare.version_heartcare import HEARTCARE_VERSION

# `python -m heartcare.bench` that stops within its fifth batch.
STALLS_IN_THE_FIFTH_BATCH = f"""
import sys
from heartcare.bench.__main__ import main
from heartcare.bench.worker import Worker
ask, batches = Worker.ask, []
def stalling(worker, batch):
    batches.append(batch)
    if len(batches) == 5:
        {STALL}
    return ask(worker, batch)
Worker.ask = stalling
main(sys.argv[1:])
"""


class Oracle:
    """A model that knows the truth of every recording that it is shown with its own question, and of no other; `Parrot`
    always says the same.
    """

    def __init__(self, items):
        keys = [(item, self.key(item.parts(), item.question)) for item in items]
        self.truths = {key: item.answer for item, key in keys}
        self.statements = {key[1:]: item.statements[0] for item, key in keys if item.task == "classification"}

    @staticmethod
    def key(parts, question):
        return question, *(
            part["signal"].tobytes() if part["type"] == "ecg" else part["image"].tobytes() for part in parts
        )

    def randomise(self, seed):
        self.truths = {}

    def answer(self, prompts, max_new_tokens):
        found = []
        for prompt in prompts:
            told = self.truths.get(self.key(prompt.parts, prompt.question), "I do not know.")
            # What follows a recording, the oracle does not know either, but its mean.
            forecast = np.zeros((12, 100 * prompt.seconds)) if prompt.seconds else None
            found.append(Reply(told, 0.9 if told != "I do not know." else 0.1, forecast))
        return found

    def yes_probabilities(self, parts, questions):
        return truth(self.statements[self.key(parts, "")[1:]]).astype(float)


class Parrot(Oracle):
    def answer(self, prompts, max_new_tokens):
        return [
            Reply("Sinus rhythm.", 0.5, np.zeros((12, 100 * prompt.seconds)) if prompt.seconds else None)
            for prompt in prompts
        ]

    def yes_probabilities(self, parts, questions):
        return np.full(len(questions), 0.3)


@pytest.mark.slow
def test_an_oracle_is_right_and_a_parrot_reads_nothing(data, items, tmp_path, monkeypatch, tiny_folder):
    manifest = freeze(data, "train", "larger", per_group=16)
    everything = read_items(data, manifest)
    results = {}
    for kind, known in ((Oracle, everything), (Parrot, [])):
        reader = kind(known)
        monkeypatch.setattr(worker_module, "load_model", lambda *args, reader=reader: copy.copy(reader))
        results[kind] = run(
            ModelSpec(str(tiny_folder), display_name=kind.__name__), data, tmp_path, manifest, progress=False
        )
    tables = results[Oracle]["tables"]
    for name, table in tables.items():
        value = table["rows"][MODEL]["score"][0]
        assert value == pytest.approx(1, abs=0.01) if "prediction" in name else value == 1, name
        if table["primary"] == "accuracy":
            assert (
                table["rows"][TEXT]["invalid"]
                == table["rows"][BLANK]["invalid"]
                == table["rows"][OTHER]["invalid"]
                == 1
            )
            assert table["rows"][RANDOM]["score"][0] == 0 and table["rows"][MODEL]["ece"] == pytest.approx(0.1)
    assert (
        tables["S/report"]["rows"][MODEL]["rubric"]["score"] == 100
        and tables["S/report"]["rows"][MODEL]["rouge_l"] == 1
    )
    assert tables["S/report"]["rows"][MODEL]["f1_bio"] is None and tables["S/report"]["rows"][MODEL]["judge"] is None
    verdicts = {verdict.split(":")[0]: verdict for verdict in results[Oracle]["verdicts"]}
    assert (
        "It beats every control: it reads the ECG." in verdicts["S/closed-qa"]
        and "does NOT beat" in verdicts["S/prediction"]
    )
    assert (
        tables["S/classification"]["rows"][OTHER]["score"][0]
        < 0.8
        < tables["S/classification"]["rows"][RANDOM]["score"][0]
    )
    for verdict in results[Parrot]["verdicts"]:
        assert "does NOT beat" in verdict and "it reads the ECG" not in verdict
    assert results[Parrot]["tables"]["S/classification"]["rows"][MODEL]["score"][0] == 0.5
    # Between the two there is a difference that chance does not explain, and none between a model and itself.
    rows = {(row["table"], row["metric"]): row for row in compare(results[Parrot], results[Oracle])}
    assert rows["S/closed-qa", "accuracy"]["p"] < 0.01 and rows["S/closed-qa", "accuracy"]["low"] > 0
    assert (
        rows["S/classification", "macro AUC super"]["difference"] == 0.5
        and rows["S/classification", "macro AUC super"]["p"] < 0.01
    )
    assert all(row["difference"] == 0 and row["p"] == 1 for row in compare(results[Oracle], results[Oracle]))
    with pytest.raises(ValueError, match="two benchmarks"):
        compare(results[Oracle], results[Parrot] | {"benchmark": results[Parrot]["benchmark"] | {"manifest": "x"}})
    with pytest.raises(ValueError, match="same subsets"):
        compare(results[Oracle], results[Parrot] | {"items": {}})


@pytest.mark.slow
def test_one_worker_two_workers_killed_and_resumed_give_the_same_file(data, manifest_file, tiny_folder, tmp_path):
    """A benchmark of signals and of comparisons, which show pictures too, is asked of the language model by itself,
    which does not digitise them.
    """
    options = ["--model", tiny_folder, "--data", data, "--manifest", manifest_file, "--subset", "S", "C", "--alone"]
    options += ["--limit", 2, "--batch-size", 4, "--name", "tiny"]
    (one, two, killed) = (tmp_path / name for name in ("one", "two", "killed"))
    printed = run_main("heartcare.bench.__main__", "run", *options, "--out", one).stdout
    assert "| tiny | metric | n | model | majority |" in printed and "does NOT beat" in printed
    run_main("heartcare.bench.__main__", "run", *options, "--out", two, "--workers", 2)
    answers = killed / "tiny.answers.jsonl"
    for lines in (5, 9):  # one of them is the head
        kill_when_stalled(STALLS_IN_THE_FIFTH_BATCH, "run", *options, "--out", killed)
        assert answers.read_bytes().count(b"\n") == lines
    with open(answers, "ab") as file:
        file.write(b'["model/S/closed-qa/0", [{"text": "half a li')
    assert not (killed / "tiny.json").exists()
    program = [sys.executable, "-W", "ignore", "-m", "heartcare.bench", "run", *options, "--out", killed]
    subprocess.run([*map(str, program)], check=True, capture_output=True)
    assert (one / "tiny.json").read_bytes() == (two / "tiny.json").read_bytes() == (killed / "tiny.json").read_bytes()
    result = json.loads((one / "tiny.json").read_text())
    assert result["model"] == describe(ModelSpec(str(tiny_folder), display_name="tiny", alone=True))
    assert result["versions"]["torch"] == torch.__version__ and result["versions"]["heartcare"] == HEARTCARE_VERSION
    assert f"tiny: made by heartcare {HEARTCARE_VERSION}, scored by heartcare {HEARTCARE_VERSION}." in printed
    assert str(tmp_path) not in (one / "tiny.json").read_text()
    # Other settings are no continuation.
    other = run_main("heartcare.bench.__main__", "run", *options, "--out", one, "--seed", 1, check=False)
    assert other.returncode == 2 and "choose another --out" in other.stderr and "Traceback" not in other.stderr


def test_yes_probabilities_as_branches_are_those_of_separate_prompts(tiny_folder, items):
    model = load_model(ModelSpec(str(tiny_folder)), 0)
    item = next(item for item in items if item.task == "classification" and item.subset == "S")
    questions = list(QUESTIONS.values())[:6]
    together = model.yes_probabilities(item.parts(), questions)
    with torch.no_grad():
        logits = [model.model(**model.inputs([Prompt(item.parts(), question)])).logits[:, -1] for question in questions]
    np.testing.assert_allclose(together, np.concatenate([model.yes_share(each) for each in logits]), atol=1e-5)


def test_options_are_chosen_as_the_pipeline_chooses(data, manifest_file, items, root, tmp_path):
    options = [
        "--data",
        data,
        "--manifest",
        manifest_file,
        "--out",
        tmp_path,
        "--name",
        "sure",
        "--subset",
        "S",
        "C",
        "--no-controls",
    ]
    tasks = ["--tasks", "closed-qa", "comparison-qa", "--limit", 2]
    assert main([*map(str, ["run", "--model", root, *options, *tasks, "--choose"])]) == 0
    result = json.loads((tmp_path / "sure.json").read_text())
    assert result["settings"]["choose"] and all(
        table["rows"][MODEL].get("invalid", 0) == 0 for table in result["tables"].values()
    )
    pipe = pipeline(model=str(root), trust_remote_code=True)
    closed = [item for item in items if item.options and item.id in result["items"]]
    assert {item.task for item in closed} == {"closed-qa", "comparison-qa"}
    for item in closed:
        found = pipe(
            [{"role": "user", "content": [*item.parts(), {"type": "text", "text": item.question}]}],
            options=list(item.options),
        )
        told = result["items"][item.id]
        assert told["text"] == found["text"] in item.options and told["confidence"] == pytest.approx(
            found["probabilities"][found["text"]], abs=1e-4
        )
    # What has no options is written all the same.
    assert any(" " in told["text"] for told in result["items"].values() if told["table"] == "C/comparison-qa open")
    with pytest.raises(ValueError, match="only write"):
        run(
            ModelSpec("any", url="http://localhost:9"),
            data,
            tmp_path,
            json.loads(manifest_file.read_text()),
            Settings(choose=True),
        )


def test_an_answer_is_kept_as_it_was_given():
    for answer in (
        ItemAnswer("Sinus rhythm.", 0.25),
        ItemAnswer("", None),
        ItemAnswer(yes=[0.5, 1.0]),
        ItemAnswer("<prediction>", 0.5, forecasts={MODEL: None, MAJORITY: {"mse_z": 1.0}}),
    ):
        assert ItemAnswer.from_dict(json.loads(json.dumps(answer.as_dict()))) == answer
    assert ItemAnswer("a").as_dict() == {"text": "a", "confidence": None} and ItemAnswer(yes=[]).as_dict() == {
        "yes": []
    }


def test_confidence_is_the_probability_of_the_answer(model, processor, items, root):
    reader = load_model(ModelSpec(str(root), alone=True), 0)
    chosen = [item for item in items if item.subset == "S" and item.task == "open-qa"][:4]
    prompts = [Prompt(item.parts(), item.question) for item in chosen]
    together = reader.answer(prompts, 32)
    for prompt, answer in zip(prompts, together):
        (alone,) = reader.answer([prompt], 32)
        assert alone.text == answer.text and alone.confidence == pytest.approx(answer.confidence, rel=1e-4)
        # The probability of the same text, read off the logits.
        inputs = reader.inputs([prompt])
        ids = model.generate(**inputs, max_new_tokens=32, do_sample=False)
        new = ids[0, inputs["input_ids"].shape[1] :]
        with torch.no_grad():
            logits = model(**{**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}).logits[
                0, -len(new) - 1 : -1
            ]
        logits[:, model.generation_config.suppress_tokens] = -torch.inf
        expected = logits.log_softmax(-1).gather(1, new[:, None]).sum().exp().item()
        assert answer.confidence == pytest.approx(expected, rel=1e-3)


@pytest.fixture(scope="module")
def llava_folder(root, tmp_path_factory) -> Path:
    """Makes a vision-language model of somebody else, with random weights."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("llava")
    tokenizer = AutoTokenizer.from_pretrained(root)
    text = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, initializer_range=0.3,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        image_size=32, patch_size=8, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    image = tokenizer.convert_tokens_to_ids("<|image|>")
    config = LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=image, vision_feature_layer=-1, image_seq_length=16
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    template = (
        "{% for m in messages %}{{ m['role'] }}: {% for c in m['content'] %}{% if c['type'] == 'image' %}<|image|>"
        "{% else %}{{ c['text'] }}{% endif %}{% endfor %}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    size = {"height": 32, "width": 32}
    LlavaProcessor(
        CLIPImageProcessor(size=size, crop_size=size), tokenizer, patch_size=8, num_additional_image_tokens=1,
        vision_feature_select_strategy="default", image_token="<|image|>", chat_template=template,
    ).save_pretrained(folder)  # fmt: skip
    return folder


@pytest.mark.slow
def test_a_vision_language_model_of_others_is_a_baseline(data, manifest_file, llava_folder, tmp_path, capsys):
    options = ["--data", data, "--manifest", manifest_file, "--out", tmp_path, "--limit", 1, "--name", "llava"]
    assert main([*map(str, ["run", "--model", llava_folder, *options])]) == 0
    result = json.loads((tmp_path / "llava.json").read_text())
    assert {
        "S/closed-qa",
        "I/closed-qa",
        "C/comparison-qa closed",
        "S/classification",
        "S/report",
        "S/prediction",
    } <= set(result["tables"])
    table = result["tables"]["S/closed-qa"]["rows"]
    assert {MODEL, MAJORITY, TEXT, BLANK, NOISE, RANDOM} == set(table) and table[MODEL][
        "n"
    ] == 4  # one of each group: nobody stands in
    assert (
        result["tables"]["S/prediction"]["rows"][MODEL]["missing"] == 1
        and result["tables"]["S/prediction"]["rows"][MODEL]["score"] is None
    )
    assert any(
        "S/prediction: the model gave nothing that could be scored." == verdict for verdict in result["verdicts"]
    )
    # What it is shown of a signal is the signal drawn, and its encoder is another one when it is made random.
    model = load_model(ModelSpec(str(llava_folder)), 0)
    (item,) = read_items(data, json.loads(manifest_file.read_text()), ("S",), ("report",), 1)
    content = model.content(Prompt(item.parts(), "What?", ("a", "b")))
    assert (
        content[0]["type"] == "image"
        and content[0]["image"].size == (1100, 850)
        and content[1]["text"].startswith("What?\nA. a\nB. b\n")
    )
    (answer,) = model.choose([Prompt(item.parts(), "What?", ("a", "b", "c"))])
    with torch.no_grad():
        logits = model.model(**model.inputs([Prompt(item.parts(), "What?", ("a", "b", "c"))])).logits[0, -1]
    shares = [sum(logits.softmax(0)[token].item() for token in model.first_tokens(letter)) for letter in "ABC"]
    assert answer.text == "abc"[int(np.argmax(shares))] and answer.confidence == pytest.approx(
        max(shares) / sum(shares), rel=1e-4
    )
    before = model.yes_probabilities(item.parts(), ["Is it?", "Does it show sinus rhythm?"])
    model.randomise(0)
    assert np.abs(before - model.yes_probabilities(item.parts(), ["Is it?", "Does it show sinus rhythm?"])).max() > 1e-4


def test_a_model_behind_an_endpoint(data, manifest_file, judge_server, tmp_path, capsys):
    url, replies, asked = judge_server
    logprobs = {
        "content": [
            {
                "token": "B",
                "logprob": -0.5,
                "top_logprobs": [{"token": "Yes", "logprob": -1.0}, {"token": " no", "logprob": -2.0}],
            }
        ]
    }
    replies.append(lambda request: {"message": {"role": "assistant", "content": "B"}, "logprobs": logprobs})
    options = [
        "--endpoint",
        url,
        "--data",
        data,
        "--manifest",
        manifest_file,
        "--out",
        tmp_path,
        "--limit",
        1,
        "--tasks",
        "closed-qa",
        "classification",
    ]
    assert main([*map(str, ["run", "--model", "org/reader", *options])]) == 0
    result = json.loads((tmp_path / "org--reader.json").read_text())
    table = result["tables"]["S/closed-qa"]["rows"]
    assert table[MODEL]["invalid"] == 0 and RANDOM not in table and result["model"] == {"name": "org/reader"}
    answers = [answer for answer in result["items"].values() if answer["table"] == "S/closed-qa"]
    assert {answer["confidence"] for answer in answers} == {round(float(np.exp(-0.5)), 7)}
    yes = next(answer["yes"] for answer in result["items"].values() if "yes" in answer)
    assert yes[0] == pytest.approx(np.exp(-1) / (np.exp(-1) + np.exp(-2)), abs=1e-5)
    question = next(each for each in asked if "logprobs" in each and "top_logprobs" not in each)["messages"][0][
        "content"
    ]
    assert (
        question[0]["image_url"]["url"].startswith("data:image/png;base64,")
        and "Reply with the letter" in question[-1]["text"]
    )
    assert asked[0]["temperature"] == 0 and asked[0]["seed"] == 0
    # A server that fails ends the run; what was answered is kept.
    shutil.rmtree(tmp_path)
    replies[0] = "error"
    replies += ["error"] * 500
    assert main([*map(str, ["run", "--model", "org/reader", *options])]) == 2
    assert "failed 4 times" in capsys.readouterr().err


def test_ecg_qa_is_scored_by_exact_match_of_the_set(shared, ptbxl_folder, tmp_path, monkeypatch, tiny_folder):
    rows = [json.loads(line) for line in gzip.open(shared / "ecg_qa/paraphrased_valid_60000.jsonl.gz", "rt")][:60]
    for i, row in enumerate(rows):  # ours take the places of its records, all in training folds
        row["ecg_id"] = [1 + (i + k) % 7 for k in range(len(row["ecg_id"]))]
    rows = list({(row["question"], *row["ecg_id"]): row for row in rows}.values())
    (tmp_path / "valid.json").write_text(json.dumps(rows))
    build(ptbxl_folder, tmp_path / "data", BuildSettings(ecg_qa=(str(tmp_path / "valid.json"),)), progress=False)
    manifest = freeze(tmp_path / "data", "train", "ecg-qa", per_group=100)
    everything = read_items(tmp_path / "data", manifest)
    assert {item.task for item in everything} == {"ecg-qa"} and {item.group for item in everything} == {
        row["question_type"] for row in rows
    }
    monkeypatch.setattr(worker_module, "load_model", lambda *args: Oracle(everything))
    result = run(
        ModelSpec(str(tiny_folder)),
        tmp_path / "data",
        tmp_path / "out",
        manifest,
        Settings(controls=False),
        progress=False,
    )
    for table in result["tables"].values():
        assert table["rows"][MODEL]["score"][0] == 1 and table["primary"] == "exact match", table


@pytest.mark.slow
def test_invariance_asks_the_same_records_in_every_form(
    data, manifest, manifest_file, items, tiny_folder, tmp_path, capsys
):
    item = next(item for item in items if item.subset == "S" and item.task == "closed-qa")
    (own,) = item.parts()
    for hz in (100, 250, 500, 1000):
        (part,) = VARIANTS[f"signal, {hz} Hz"](item)
        assert part["sampling_rate"] == hz and part["signal"].shape == (12, 10 * hz)
    np.testing.assert_array_equal(VARIANTS["signal, 100 Hz"](item)[0]["signal"], own["signal"])
    assert VARIANTS["signal, 1 lead (II)"](item)[0]["lead_names"] == ["II"]
    np.testing.assert_array_equal(VARIANTS["signal, 1 lead (II)"](item)[0]["signal"][0], own["signal"][1])
    assert len(VARIANTS["signal, 6 limb leads"](item)[0]["lead_names"]) == 6
    pages = {name: np.asarray(make(item)[0]["image"]) for name, make in VARIANTS.items() if name.startswith("picture")}
    assert len(pages) == 9 and len({page.tobytes() for page in pages.values()}) == 9
    options = [
        "--model",
        tiny_folder,
        "--data",
        data,
        "--manifest",
        manifest_file,
        "--out",
        tmp_path,
        "--limit",
        1,
        "--name",
        "tiny",
    ]
    assert main([*map(str, ["invariance", *options])]) == 0
    result = json.loads((tmp_path / "tiny.invariance.json").read_text())
    assert (
        set(result["rows"]) == set(VARIANTS)
        and result["rows"][BASE]["changed"] == result["rows"]["signal, 100 Hz"]["changed"] == 0
    )
    printed = capsys.readouterr().out
    assert "| picture, 3x4+R, bad photograph |" in printed and f"scored by heartcare {HEARTCARE_VERSION}." in printed
    assert result["versions"]["heartcare"] == HEARTCARE_VERSION


@pytest.mark.slow
def test_report_says_it_in_words_and_needs_nothing_from_elsewhere(data, manifest_file, tiny_folder, tmp_path, capsys):
    options = ["--model", tiny_folder, "--data", data, "--manifest", manifest_file, "--out", tmp_path, "--limit", 1]
    options.append("--alone")  # which digitises no pictures
    for name in ("one", "another <model>"):
        assert (
            main([*map(str, ["run", *options, "--name", name, "--tasks", "closed-qa", "open-qa", "comparison-qa"])])
            == 0
        )
    assert main([*map(str, ["report", tmp_path, "--data", data, "--manifest", manifest_file])]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "another &lt;model&gt;" in page and "<model>" not in page
    assert "does NOT beat" in page and "<h2>All models</h2>" in page and page.count("<svg") >= 8
    assert "Surest and wrong" in page and page.count("data:image/png;base64,") >= 2 and "<dt>Truth</dt>" in page
    assert not re.search(r"(?:src|href)=['\"](?!data:)", page) and "<script" not in page
    assert main(["compare", str(tmp_path / "one.json"), str(tmp_path / "another <model>.json")]) == 0
    compared = capsys.readouterr().out
    assert "| S/closed-qa | accuracy |" in compared
    for printed, name in ((page, "another &lt;model&gt;"), (compared, "another <model>")):
        assert f"{name}: made by heartcare {HEARTCARE_VERSION}, scored by heartcare {HEARTCARE_VERSION}." in printed
    (tmp_path / "empty").mkdir()
    assert main(["report", str(tmp_path / "empty")]) == 2 and main(["compare", "none", "none"]) == 2
    assert "holds no result" in capsys.readouterr().err


def test_report_of_a_benchmark_too_small_for_an_auc(data, manifest_file, tiny_folder, tmp_path):
    options = ["--model", tiny_folder, "--data", data, "--manifest", manifest_file, "--out", tmp_path, "--limit", 1]
    assert main([*map(str, ["run", *options, "--name", "x", "--subset", "S", "--tasks", "classification"])]) == 0
    result = json.loads((tmp_path / "x.json").read_text())
    assert result["tables"]["S/classification"]["rows"][MODEL] == {"n": 1, "score": None, "sets": {}}
    assert main(["report", str(tmp_path)]) == 0
    assert "so that there is no AUC" in (tmp_path / "report.html").read_text()
    assert main(["compare", str(tmp_path / "x.json"), str(tmp_path / "x.json")]) == 0


def test_judge_and_biobert_are_asked_when_they_are_given(data, manifest_file, tiny_folder, judge_server, tmp_path):
    url, replies, _ = judge_server
    count = iter(range(10**6))
    good = json.dumps({str(k): 1 for k in range(1, 18)})
    replies.append(lambda request: {"message": {"role": "assistant", "content": good if next(count) % 4 else "no"}})
    options = [
        "--model",
        tiny_folder,
        "--data",
        data,
        "--manifest",
        manifest_file,
        "--out",
        tmp_path,
        "--limit",
        4,
        "--tasks",
        "report",
        "--name",
        "x",
    ]
    assert main([*map(str, ["run", *options, "--no-controls", "--judge", "fake", "--judge-url", url])]) == 0
    result = json.loads((tmp_path / "x.json").read_text())
    judged = result["tables"]["S/report"]["rows"][MODEL]["judge"]
    assert judged["score"] == 100 and judged["judged"] + judged["failed"] == 4 and result["verdicts"] == []


def test_instruction_and_errors(tmp_path, data, manifest_file, capsys):
    assert (
        instruction(Prompt([], "Which?", ("a", "b")))
        == "Which?\nA. a\nB. b\nReply with the letter of the right option alone."
    )
    assert instruction(Prompt([], "Which?")) == "Which?" and set(SUPERCLASS) == set(SETS["super"])
    assert main(["run", "--model", str(tmp_path), "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert (
        main(
            [
                "run",
                "--model",
                "x",
                "--data",
                str(data),
                "--out",
                str(tmp_path),
                "--manifest",
                str(tmp_path / "none.json"),
            ]
        )
        == 2
    )
    error = capsys.readouterr().err
    assert "none.json does not exist" in error and "Traceback" not in error
    assert (
        main(
            [
                "freeze",
                "--data",
                str(data),
                "--out",
                str(tmp_path / "m.json"),
                "--split",
                "validation",
                "--per-group",
                "2",
            ]
        )
        == 0
    )
    assert json.loads((tmp_path / "m.json").read_text())["split"] == "validation" and items_module.VERSION == 1
