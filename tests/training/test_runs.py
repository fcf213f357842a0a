"""Runs of the whole model's training: resuming, many processes, LoRA, and the estimate of a run."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from datasets import load_dataset
from peft import PeftModel
from safetensors.torch import load_file
from support.commands import run_main
from support.fsdp2_worker import learn
from support.paths import RECIPES
from support.processes import STALL, kill_when_stalled, run_in_two_processes
from torch.testing import assert_close

from heartcare import HeartcareForConditionalGeneration, HeartcareProcessor
from heartcare.agent.statements import NAMES
from heartcare.examples.train_sft import RowCollator
from heartcare.training.data import StreamedQuestions
from heartcare.training.merge_shards import merge
from heartcare.training.recipe import StageRecipe

pytestmark = pytest.mark.slow


class Run:
    """Runs `heartcare.training.heartcare` on the tiny model."""

    def __init__(self, tiny_folder: Path, built: Path, cache: Path, output: Path, stage: str = "warmup"):
        values = {
            "data.source": built,
            "data.cache": cache,
            "data.pictures": 6,
            "data.views": 2,
            "model.start": tiny_folder,
            "model.attention": "sdpa",
            **{
                f"stages.{stage}.training.{name}": value
                for name, value in {
                    "max_steps": 6,
                    "per_device_train_batch_size": 2,
                    "save_steps": 2,
                    "logging_steps": 1,
                    "bf16": "false",
                    "eval_strategy": "no",
                    "save_total_limit": "null",
                }.items()
            },
        }
        self.output, self.stage, self.values = output, stage, values

    def arguments(self, *options, **values) -> list[str]:
        pairs = (self.values | {name.replace("__", "."): value for name, value in values.items()}).items()
        sets = [each for name, value in pairs for each in ("--set", f"{name}={value}")]
        places = ["--config", RECIPES / "default.yaml", "--output", self.output, "--stage", self.stage]
        return [*map(str, places), *sets, *options]

    def command(self, *options, processes: int = 1, **values) -> list[str]:
        """Returns the command for runs in processes of their own."""
        torchrun = ["torch.distributed.run", "--nproc-per-node", str(processes), "--standalone", "-m"]
        program = [*(torchrun if processes > 1 else []), "heartcare.training.heartcare"]
        return [sys.executable, "-m", *program, *self.arguments(*options, **values)]

    def __call__(self, *options, processes: int = 1, **values) -> str:
        if processes == 1:
            return run_main("heartcare.training.heartcare", *self.arguments(*options, **values)).stdout
        command = self.command(*options, processes=processes, **values)
        done = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=300
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
def one_thread():
    """Limits this process to one thread, like the processes that it starts, so that their sums are the same."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def start(tiny_folder, built, cache, tmp_path, one_thread):
    return lambda name, stage="warmup": Run(tiny_folder, built, cache, tmp_path / name, stage)


STALL_AFTER_SAVING = f"""
import sys
from transformers.trainer_callback import DefaultFlowCallback
from heartcare.training.heartcare import main

def stall(self, *args, **kwargs):
    {STALL}

DefaultFlowCallback.on_save = stall
main(sys.argv[1:])
"""


def test_a_killed_run_goes_on_as_if_it_had_not_been(start, monkeypatch):
    alone, killed = start("alone"), start("killed")
    alone()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    kill_when_stalled(STALL_AFTER_SAVING, *killed.arguments())
    assert [path.name for path in (killed.output / "warmup").glob("checkpoint-*")] == ["checkpoint-2"]
    assert not (killed.output / "warmup/model.safetensors").exists()
    killed("--resume")
    assert killed.losses() == alone.losses() and len(alone.losses()) == 6
    one, other = alone.weights(), killed.weights()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_a_run_that_probes_goes_on_and_leaves_no_head(start):
    options = {"stages__joint__probe_only": 2, "stages__joint__drill": 4, "stages__joint__questions": 2}
    alone, broken, without = start("alone", "joint"), start("broken", "joint"), start("without", "joint")
    alone(**options)
    broken(**options)
    shutil.rmtree(broken.output / "joint/checkpoint-6")
    shutil.rmtree(broken.output / "joint/checkpoint-4")
    broken("--resume", **options)
    assert broken.losses() == alone.losses()
    assert "statement_head.weight" in load_file(broken.output / "joint/checkpoint-6/model.safetensors")
    assert not any(name.startswith("statement_head") for name in broken.weights())
    without(**options | {"stages__joint__probe_only": 0})
    assert all(
        one > other + 0.1 for one, other in zip(alone.losses(), without.losses())
    )  # the statements are in the loss
    HeartcareForConditionalGeneration.from_pretrained(broken.output / "joint")


def test_two_processes_learn_what_one_does(start):
    """DDP learns the same with frozen parts, and on batches that lack an ECG or a picture in one of the processes."""
    # SGD, since the first steps of AdamW are the signs of gradients, also of those that are nothing but rounding.
    options = {
        "stages__joint__muon": "null",
        "stages__joint__questions": 2,
        "stages__joint__training__optim": "sgd",
        "stages__joint__training__learning_rate": "1e-2",
        "stages__joint__probe_only": 2,
    }
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
    """FSDP2 on two processes learns the same, and its shards are merged into one file."""
    batches = [packer(items[k : k + 2]) for k in range(0, 6, 2)]
    torch.save([dict(batch) for batch in batches], tmp_path / "batches.pt")
    printed = run_in_two_processes("fsdp2_worker.py", tiny_folder, tmp_path / "batches.pt", tmp_path / "shards")
    assert len(list((tmp_path / "shards").glob("*.distcp"))) == 2
    model = HeartcareForConditionalGeneration.from_pretrained(tiny_folder)
    model.freeze_towers()
    losses = learn(model, batches, 3)
    sharded = [float(each) for each in re.search("losses (.*)", printed)[1].split()]
    assert_close(torch.tensor(sharded), torch.tensor(losses), atol=1e-4, rtol=1e-4)
    merge(str(tmp_path / "shards"), str(tiny_folder), str(tmp_path / "merged"))
    merged = HeartcareForConditionalGeneration.from_pretrained(tmp_path / "merged")
    for (name, a), b in zip(model.state_dict().items(), merged.state_dict().values(), strict=True):
        assert_close(a, b, atol=1e-4, rtol=1e-4, msg=name)
    assert (tmp_path / "merged/model.safetensors").exists() and HeartcareProcessor.from_pretrained(tmp_path / "merged")


def test_lora_is_merged_into_a_model_that_loads(start, tiny_folder, items, packer, tiny):
    modules = r"language_model\.model\.layers\.\d+\.self_attn\.(q_proj|v_proj)"
    lora = {
        "stages__joint__lora": f"{{r: 4, target_modules: '{modules}'}}",
        "stages__joint__muon": "null",
        "stages__joint__train": "[signal_projector, image_projector]",
    }
    started = start("lora", "joint")
    started(**lora)
    merged = HeartcareForConditionalGeneration.from_pretrained(started.output / "joint").eval()
    before, after = tiny.state_dict(), merged.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.split(".")[0] for name in changed} == {"language_model", "signal_projector", "image_projector"}
    assert all("q_proj" in name or "v_proj" in name for name in changed if name.startswith("language_model"))
    adapter = PeftModel.from_pretrained(tiny, started.output / "joint/checkpoint-6").eval()
    batch = packer(items[:2])
    with torch.no_grad():
        assert_close(adapter(**batch).logits, merged(**batch).logits, atol=1e-4, rtol=1e-4)

    repository = started.output / "repository"
    shutil.copytree(tiny_folder, repository)
    published = [
        "--model",
        started.output / "joint",
        "--base",
        tiny_folder.parent / "text",
        "--output",
        repository / "small",
    ]
    run_main("heartcare.training.publish_adapter", *published)
    assert not list((repository / "small").glob("*.py"))
    size = (repository / "small/model.safetensors").stat().st_size
    assert size < 0.3 * (tiny_folder / "model.safetensors").stat().st_size
    small = HeartcareForConditionalGeneration.from_pretrained(repository, subfolder="small").eval()
    for (name, a), b in zip(merged.state_dict().items(), small.state_dict().values(), strict=True):
        assert_close(a, b, atol=2e-3, rtol=2e-3, msg=name)
    assert HeartcareProcessor.from_pretrained(repository, subfolder="small").tokenizer.vocab_size


def test_checkpointed_gradients_are_the_same(start):
    plain, checkpointed = start("plain", "joint"), start("checkpointed", "joint")
    plain(stages__joint__training__max_steps=3)
    checkpointed(stages__joint__training__max_steps=3, stages__joint__training__gradient_checkpointing="true")
    assert_close(torch.tensor(checkpointed.losses()), torch.tensor(plain.losses()), atol=1e-4, rtol=1e-4)


def test_early_stop_keeps_the_best(start):
    started = start("early")
    started(
        **{
            "stages__warmup__patience": 1,
            "stages__warmup__training__eval_strategy": "steps",
            "stages__warmup__training__eval_steps": 2,
            "stages__warmup__training__learning_rate": 3.0,
            "stages__warmup__muon": "null",
            "stages__warmup__training__max_steps": 40,
            "stages__warmup__train": "[language_model]",
            "stages__warmup__shares": "{signal: 0.7, image: 0.3}",
        }
    )
    last = max((started.output / "warmup").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    state = json.loads((last / "trainer_state.json").read_text())
    evaluated = {row["step"]: row["eval_loss"] for row in state["log_history"] if "eval_loss" in row}
    assert state["global_step"] < 40 and min(evaluated, key=evaluated.get) != state["global_step"]
    best = load_file(
        started.output / "warmup" / f"checkpoint-{min(evaluated, key=evaluated.get)}" / "model.safetensors"
    )
    assert all(torch.equal(tensor, started.weights()[name]) for name, tensor in best.items())


def test_dry_run_says_what_it_would_take(start):
    started = start("dry", "joint")
    said = json.loads(re.search(r"^\{$.*^\}$", started("--dry-run"), re.M | re.S)[0])
    model = HeartcareForConditionalGeneration.from_pretrained(started.values["model.start"])
    head = (model.config.get_text_config().hidden_size + 1) * len(NAMES)  # for the statements, which is trained, too
    assert said["parameters"] == model.num_parameters() + head
    frozen = [*model.beat.parameters(), *model.vision_tower.parameters()]
    assert said["parameters that learn"] == said["parameters"] - sum(each.numel() for each in frozen)
    assert (
        said["seconds per step"] > 0
        and 30 < said["tokens of a sample"] < 2000
        and 0 < said["tokens of a sample that are learnt"]
    )
    assert not list((started.output / "joint").glob("*.safetensors")) and not list(
        (started.output / "joint").glob("checkpoint-*")
    )


def test_unknown_stage(start):
    unknown = start("none")
    unknown.stage = "third"
    done = run_main("heartcare.training.heartcare", *unknown.arguments(), check=False)
    assert done.returncode == 2 and "no stage 'third'" in done.stderr


def test_sft_trainer(tiny_folder, built, tmp_path, packer, items, tiny):
    """The labels are those of the packer, and the model that TRL trained loads."""
    options = ["--data", built, "--output", tmp_path / "sft", "--steps", 2, "--batch-size", 2, "--rank", 2]
    run_main("heartcare.examples.train_sft", "--model", tiny_folder, *options)
    adapter = PeftModel.from_pretrained(tiny, tmp_path / "sft").eval()
    assert adapter(**packer(items[:2])).loss.isfinite()
    row = next(iter(load_dataset(str(built), split="validation", streaming=True)))
    batch, streamed = (
        RowCollator(packer.processor)([row]),
        next(iter(StreamedQuestions(str(built), "validation", packer.processor, StageRecipe(numbers=1.0)))),
    )
    packed = packer([streamed])  # is padded
    length = int(packed["attention_mask"].sum())
    assert batch["labels"].shape[1] == length and torch.equal(batch["labels"], packed["labels"][:, :length])
