"""Stages 2 and 3: teach a language model to read Beat's tokens and lead tiles, on a data set built by HeartAgent; its
validation split is watched.

    python -m heartcare.agent build --source PTBXL_FOLDER --out runs/heartcare400k --workers 2
    python -m heartcare.training.heartcare --config training/recipes/smollm2-135m.yaml --output runs/smollm2 --stage warmup
    python -m heartcare.training.heartcare --config training/recipes/smollm2-135m.yaml --output runs/smollm2 --stage joint
    python -m heartcare.training.heartcare --config ... --output ... --stage joint --dry-run      # what it would take
    torchrun --nproc-per-node 8 -m heartcare.training.heartcare --config ... --output ... --stage joint

`warmup` trains the projectors on reports, `joint` the projectors and the language model, whole or by LoRA, on all
tasks. A recipe (recipe.py) says what is trained on what, and takes every option of [`transformers.TrainingArguments`];
--set changes one of its values. Each stage writes OUTPUT/STAGE and starts from the stage before. What was interrupted
goes on with --resume, and ends as if it had not been.
"""

import argparse
import json
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import (
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    get_cosine_schedule_with_warmup,
    set_seed,
)

from heartcare.agent.statements import NAMES
from heartcare.modeling_heartcare import HeartcareForConditionalGeneration
from heartcare.processing_heartcare import HeartcareProcessor

from .data import HeartcareData, StreamedQuestions
from .items import ECGQuestions
from .memory import memory_table
from .optimizers import MuonWithAdamW
from .packing import QuestionPacker
from .recipe import DataRecipe, Recipe, StageRecipe, read_recipe


def start_model(
    recipe: Recipe, stage: str, output: Path
) -> tuple[HeartcareForConditionalGeneration, HeartcareProcessor]:
    """The model at the end of the stage before; of the first one, as the recipe makes it."""
    made, before = recipe.model, recipe.before(stage)
    start = str(output / before) if before and (output / before / "config.json").exists() else made.start
    options = {"dtype": getattr(torch, made.dtype), "attn_implementation": made.attention}
    if start:
        return HeartcareForConditionalGeneration.from_pretrained(start, **options), HeartcareProcessor.from_pretrained(
            start
        )
    parts = {
        "text": made.text,
        "vision": made.vision,
        "beat": made.beat,
        "image_slots_per_tile": made.image_slots_per_tile,
    }
    model = HeartcareForConditionalGeneration.from_backbones(**parts, **options, trust_remote_code=True)
    processor = HeartcareProcessor.from_backbones(**parts, chat_template=made.chat_template, trust_remote_code=True)
    return model, processor


def prepare(model: HeartcareForConditionalGeneration, stage: StageRecipe) -> nn.Module:
    """Freezes what does not learn, and puts LoRA on what learns by it. Frozen parameters need no gradient, so DDP does
    not wait for any.
    """
    for name, part in model.named_children():
        part.requires_grad_(name in stage.train)
    if stage.lora:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(
            model, LoraConfig(**stage.lora, modules_to_save=[name for name in stage.train if name != "language_model"])
        )
    if stage.glances:
        model.reader = nn.Linear(model.config.get_text_config().hidden_size, len(NAMES))
    return model


class GlancingTrainer(Trainer):
    """Where a batch has glances, the statements are read from them too, by the model's `reader`. What is watched is the
    loss of the answers alone.
    """

    weight = 4.0

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        places, statements = (inputs.pop(name, None) for name in ("glances", "statements"))
        if places is None or not model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        loss, outputs = super().compute_loss(model, inputs | {"output_hidden_states": True}, True, num_items_in_batch)
        read = self.accelerator.unwrap_model(model).reader(outputs.hidden_states[-1][places].float())
        loss = loss + self.weight * nn.functional.binary_cross_entropy_with_logits(read, statements)
        return (loss, outputs) if return_outputs else loss


VALIDATION = 512  # items that are watched


def read_data(data: DataRecipe, stage: StageRecipe, model, processor, packer, arguments: TrainingArguments) -> tuple:
    """-> what is trained on, what is watched."""
    if data.streaming:
        train = StreamedQuestions(data.source, "train", processor, stage, arguments.seed)
        return train, StreamedQuestions(data.source, "validation", processor, stage, limit=VALIDATION)

    def read(split: str, views: int) -> HeartcareData:
        kept = HeartcareData(data.source, split, data.cache, processor if stage.ecgs else None, data.pictures)
        if stage.ecgs:
            kept.encode_signals(model.to(arguments.device), views, arguments.seed)
            if "vision_tower" not in stage.train and stage.shares.get("image"):
                kept.encode_pictures(model, packer)
        return kept

    # One process of a machine fills the caches, the others then read them.
    with arguments.main_process_first(desc="data"):
        train, validation = read("train", data.views), read("validation", 1)
    length = (
        arguments.max_steps * arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    )
    watched = min(VALIDATION, len(validation))
    asked_alone = replace(stage, drill=0, glances=0)
    return ECGQuestions(train, stage, length, arguments.seed), ECGQuestions(
        validation, asked_alone, watched, arguments.seed
    )


def arguments_of(stage: StageRecipe, output: Path, seed: int) -> TrainingArguments:
    """What a recipe says, over defaults that hold for all."""
    values = {
        "save_steps": 250,
        "eval_steps": stage.training.get("save_steps", 250),
        "eval_strategy": "steps",
        "save_total_limit": 2,
        "logging_steps": 25,
        "warmup_steps": 0.1,
        "lr_scheduler_type": "cosine",
        "max_grad_norm": 1.0,
        "report_to": "tensorboard",
        "load_best_model_at_end": stage.patience is not None,
        "per_device_eval_batch_size": stage.training.get("per_device_train_batch_size", 8),
        "ddp_find_unused_parameters": False,
        "use_cpu": not torch.cuda.is_available(),
    }
    fixed = {
        "output_dir": str(output),
        "seed": seed,
        "remove_unused_columns": False,
        "prediction_loss_only": True,
        "label_names": ["labels"],
    }
    return TrainingArguments(**values | stage.training | fixed)


class Clock(TrainerCallback):
    """Notes when each step ends."""

    def __init__(self):
        self.ends: list[float] = []

    def on_step_end(self, args, state, control, **kwargs):
        self.ends.append(time.perf_counter())


def rehearse(trainer: Trainer, steps: int) -> dict:
    """Trains for a few steps, of which nothing is kept. -> tokens of a sample, time and memory."""
    clock, packer = Clock(), trainer.data_collator
    trainer.add_callback(clock)
    trainer.train()
    packed = [packer.pack(item) for item in islice(trainer.train_dataset, 32)]
    seconds = (clock.ends[-1] - clock.ends[0]) / (len(clock.ends) - 1)  # the first one warms up
    samples = trainer.args.train_batch_size * trainer.args.gradient_accumulation_steps * trainer.args.world_size
    return {
        "tokens of a sample": round(np.mean([len(ids) for ids, *_ in packed])),
        "tokens of a sample that are learnt": round(
            np.mean([sum(label >= 0 for label in labels) for _, labels, *_ in packed])
        ),
        "questions of a sample": round(np.mean([len(set(branch) - {0}) for *_, branch in packed]), 1),
        "seconds per step": round(seconds, 3),
        "samples per second": round(samples / seconds, 1),
        "hours in all": round(seconds * steps / 3600, 2),
        **(
            {"GiB at the peak, measured": round(torch.cuda.max_memory_allocated() / 2**30, 2)}
            if torch.cuda.is_available()
            else {}
        ),
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, help="a recipe, such as those in training/recipes")
    parser.add_argument("--stage", required=True, help="of the recipe: warmup, joint")
    parser.add_argument("--output", required=True, help="each stage writes a folder of its name into this one")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="such as stages.joint.training.max_steps=10"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument(
        "--dry-run", action="store_true", help="print parameters, tokens of a sample, memory and time, and end"
    )
    args = parser.parse_args(argv)

    recipe = read_recipe(args.config, args.set)
    if args.stage not in recipe.stages:
        parser.error(f"{args.config} has no stage {args.stage!r}; it has {list(recipe.stages)}.")
    stage, output = recipe.stages[args.stage], Path(args.output)
    steps = stage.training.get("max_steps", 0)
    if args.dry_run:
        stage.training |= {
            "max_steps": 5,
            "eval_strategy": "no",
            "save_strategy": "no",
            "report_to": "none",
            "load_best_model_at_end": False,
        }
    training = arguments_of(stage, output / args.stage, args.seed)
    set_seed(args.seed)
    model, processor = start_model(recipe, args.stage, output)
    packer = QuestionPacker(processor, stage.branches)
    train, validation = read_data(recipe.data, stage, model, processor, packer, training)
    learner = prepare(model, stage)
    optimizers = (None, None)
    if stage.muon:
        optimizer = MuonWithAdamW(learner, training.learning_rate, stage.muon, weight_decay=0.05)
        optimizers = (
            optimizer,
            get_cosine_schedule_with_warmup(
                optimizer, training.get_warmup_steps(training.max_steps), training.max_steps
            ),
        )
    trainer = GlancingTrainer(
        model=learner,
        args=training,
        train_dataset=train,
        eval_dataset=validation,
        data_collator=packer,
        processing_class=processor,
        optimizers=optimizers,
        callbacks=[EarlyStoppingCallback(stage.patience)] if stage.patience and not args.dry_run else None,
    )
    if args.dry_run:
        print(json.dumps(memory_table(learner, training, bool(stage.muon)) | rehearse(trainer, steps), indent=1))
        return
    trainer.train(resume_from_checkpoint=args.resume or None)
    if stage.glances:
        del learner.reader
    if trainer.accelerator.is_main_process and stage.lora:
        learner.merge_and_unload().save_pretrained(training.output_dir)
        processor.save_pretrained(training.output_dir)
    elif not stage.lora:
        trainer.save_model()


if __name__ == "__main__":
    main()
