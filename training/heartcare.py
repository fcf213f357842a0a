"""Stages 2 and 3: teach a language model to read Beat's tokens and lead tiles, on a data set built by HeartAgent; its
validation split is evaluated.

    python -m heartcare.agent build --source PTBXL_FOLDER --out runs/heartcare400k --workers 2
    python -m heartcare.training.heartcare --config RECIPE --output runs/smollm2 --stage warmup
    python -m heartcare.training.heartcare --config RECIPE --output runs/smollm2 --stage joint
    python -m heartcare.training.heartcare --config RECIPE --output runs/smollm2 --stage joint --dry-run
    torchrun --nproc-per-node 8 -m heartcare.training.heartcare --config RECIPE --output runs/smollm2 --stage joint

`warmup` trains the projectors on reports, `joint` the projectors and the language model, whole or by LoRA, on all
tasks. A recipe, such as training/recipes/smollm2-135m.yaml, says what is trained on what (recipe.py), and takes every
option of [`transformers.TrainingArguments`]; --set changes one of its values. Each stage writes OUTPUT/STAGE and starts
from the stage before. An interrupted run continues with --resume, and ends as an uninterrupted one. --dry-run takes
five steps and prints what the whole run would take.
"""

import argparse
import json
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import Dataset
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, TrainingArguments, set_seed

from heartcare.agent.statements import NAMES
from heartcare.modeling_heartcare import HeartcareForConditionalGeneration
from heartcare.processing_heartcare import HeartcareProcessor

from .data import HeartcareData, StreamedQuestions
from .items import ECGQuestions
from .memory import memory_table
from .optimizers import muon_with_cosine_schedule
from .packing import QuestionPacker
from .recipe import DataRecipe, Recipe, StageRecipe, read_recipe

VALIDATION_ITEMS = 512
STATEMENT_WEIGHT = 4.0  # of the cross entropy of statements that are read from ECGs without questions
DRY_RUN = {
    "max_steps": 5,
    "eval_strategy": "no",
    "save_strategy": "no",
    "report_to": "none",
    "load_best_model_at_end": False,
}


def make_trainer(recipe: Recipe, name: str, output: Path, seed: int) -> Trainer:
    """Makes the Trainer of a stage, with model, data and optimizer."""
    stage = recipe.stages[name]
    arguments = training_arguments(stage, output / name, seed)
    set_seed(seed)
    model, processor = start_model(recipe, name, output)
    # A prompt shows what the model has learnt to read, as words where no tokens of evidence tell it.
    processor.write_measurements = stage.numbers > 0 and not processor.evidence_tokens
    packer = QuestionPacker(processor, stage.branches, stage.learn_questions, seed)
    train, validation = read_data(recipe.data, stage, model, packer, arguments)
    learner = freeze_and_adapt(model, stage)
    optimizers = (None, None)
    if stage.muon:
        warmup, steps = arguments.get_warmup_steps(arguments.max_steps), arguments.max_steps
        rates = {"learning_rate": arguments.learning_rate, "muon_learning_rate": stage.muon}
        optimizers = muon_with_cosine_schedule(learner, warmup, steps, **rates, weight_decay=0.05)
    return StatementTrainer(
        model=learner,
        args=arguments,
        train_dataset=train,
        eval_dataset=validation,
        data_collator=packer,
        processing_class=processor,
        optimizers=optimizers,
        callbacks=[EarlyStoppingCallback(stage.patience)] if stage.patience else None,
    )


def training_arguments(stage: StageRecipe, output: Path, seed: int) -> TrainingArguments:
    """Returns the Trainer's arguments out of a recipe, over defaults for all stages."""
    defaults = {
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
    return TrainingArguments(**defaults | stage.training | fixed)


def start_model(
    recipe: Recipe, stage: str, output: Path
) -> tuple[HeartcareForConditionalGeneration, HeartcareProcessor]:
    """Returns the model at the end of the stage before; for the first one, the model that the recipe describes."""
    parts, before = recipe.model, recipe.before(stage)
    start = str(output / before) if before and (output / before / "config.json").exists() else parts.start
    options = {"dtype": getattr(torch, parts.dtype), "attn_implementation": parts.attention}
    if start:
        model = HeartcareForConditionalGeneration.from_pretrained(start, **options)
        return model, HeartcareProcessor.from_pretrained(start)
    backbones = {
        "text": parts.text,
        "vision": parts.vision,
        "beat": parts.beat,
        "image_slots_per_tile": parts.image_slots_per_tile,
        "trust_remote_code": True,
    }
    model = HeartcareForConditionalGeneration.from_backbones(**backbones, **options)
    processor = HeartcareProcessor.from_backbones(**backbones, chat_template=parts.chat_template)
    if parts.heads:
        model.take_heads(HeartcareForConditionalGeneration.from_pretrained(parts.heads, dtype=options["dtype"]))
        processor.evidence_tokens = model.config.evidence_tokens
    return model, processor


def read_data(
    data: DataRecipe,
    stage: StageRecipe,
    model: HeartcareForConditionalGeneration,
    packer: QuestionPacker,
    arguments: TrainingArguments,
) -> tuple[Dataset, Dataset]:
    """Returns the items to train on and the items to evaluate."""
    processor, seed = packer.processor, arguments.seed
    if data.streaming:
        train = StreamedQuestions(data.source, "train", processor, stage, seed)
        return train, StreamedQuestions(data.source, "validation", processor, stage, limit=VALIDATION_ITEMS)

    def read(split: str, views: int) -> HeartcareData:
        records = HeartcareData(data.source, split, data.cache, processor if stage.ecgs else None, data.pictures)
        if stage.ecgs:
            records.encode_signals(model.to(arguments.device), views, seed)
            if stage.numbers:
                records.measure_signals(processor.feature_extractor.sampling_rate)
            if "vision_tower" not in stage.train and stage.shares.get("image"):
                records.encode_pictures(model, packer)
        return records

    # One process of a machine fills the caches, the others then read them.
    with arguments.main_process_first(desc="data"):
        train, validation = read("train", data.views), read("validation", 1)
    batch = arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    length = min(VALIDATION_ITEMS, len(validation.groups))
    given_questions = replace(stage, drill=0, spoken=0, probe_only=0)
    return (
        ECGQuestions(train, stage, arguments.max_steps * batch, seed, model.config.wordings),
        ECGQuestions(validation, given_questions, length, seed),
    )


def freeze_and_adapt(model: HeartcareForConditionalGeneration, stage: StageRecipe) -> nn.Module:
    """Freezes the parts that are not trained, and adds LoRA and the head for statements where the stage has them. DDP
    does not wait for gradients of frozen parameters.

    Raises: `ValueError` for a part that the model does not have.
    """
    if absent := set(stage.train) - dict(model.named_children()).keys():
        raise ValueError(f"The model has no {', '.join(sorted(absent))} to train.")
    for name, part in model.named_children():
        part.requires_grad_(name in stage.train)
    if stage.lora:
        from peft import LoraConfig, get_peft_model

        whole = [name for name in stage.train if name != "language_model"]
        model = get_peft_model(model, LoraConfig(**stage.lora, modules_to_save=whole))
    if stage.probe_only:
        model.statement_head = nn.Linear(model.config.get_text_config().hidden_size, len(NAMES))
    return model


class StatementTrainer(Trainer):
    """The Trainer, which also reads the statements of ECGs without questions by the model's `statement_head`, where a
    batch has such ECGs; in evaluation it does not.
    """

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """Computes the Trainer's loss, and adds that of the statements."""
        positions, statements = (inputs.pop(name, None) for name in ("probe_positions", "statements"))
        if positions is None or not model.training:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        loss, outputs = super().compute_loss(model, inputs | {"output_hidden_states": True}, True, num_items_in_batch)
        states = outputs.hidden_states[-1][positions].float()
        logits = self.accelerator.unwrap_model(model).statement_head(states)
        loss = loss + STATEMENT_WEIGHT * nn.functional.binary_cross_entropy_with_logits(logits, statements)
        return (loss, outputs) if return_outputs else loss


def dry_run(trainer: Trainer, steps: int) -> dict[str, float]:
    """Trains for a few steps and keeps nothing. Returns the size of a sample, and the time that `steps` would take."""
    times, packer = StepTimes(), trainer.data_collator
    trainer.add_callback(times)
    trainer.train()
    packed = [packer.pack(item) for item in islice(trainer.train_dataset, 32)]
    learnt = [sum(label >= 0 for label in prompt.labels) for prompt in packed]
    seconds = (times.ends[-1] - times.ends[0]) / (len(times.ends) - 1)  # the first step warms up
    samples = trainer.args.train_batch_size * trainer.args.gradient_accumulation_steps * trainer.args.world_size
    table = {
        "tokens of a sample": round(np.mean([len(prompt.input_ids) for prompt in packed])),
        "tokens of a sample that are learnt": round(np.mean(learnt)),
        "questions of a sample": round(np.mean([len(set(prompt.branch) - {0}) for prompt in packed]), 1),
        "seconds per step": round(seconds, 3),
        "samples per second": round(samples / seconds, 1),
        "hours in all": round(seconds * steps / 3600, 2),
    }
    if torch.cuda.is_available():
        table["GiB at the peak, measured"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    return table


class StepTimes(TrainerCallback):
    """Notes the time at which each step ends, in seconds of a clock without an origin."""

    def __init__(self):
        self.ends: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Notes the time; the Trainer calls this after each step."""
        self.ends.append(time.perf_counter())


def save(trainer: StatementTrainer, model: nn.Module, stage: StageRecipe) -> None:
    """Writes the trained model without the head for statements, and with LoRA merged into its weights; the matrices of
    LoRA are kept in lora.safetensors, for a checkpoint with an adapter (publish_adapter.py).
    """
    output = trainer.args.output_dir
    if stage.probe_only:
        del model.statement_head
    if not stage.lora:
        trainer.save_model()
    elif trainer.accelerator.is_main_process:
        matrices = lora_matrices(model)
        model.merge_and_unload().save_pretrained(output)
        trainer.processing_class.save_pretrained(output)
        save_file(matrices, Path(output) / "lora.safetensors", {"scale": str(scale_of(stage.lora))})


def lora_matrices(model: nn.Module) -> dict[str, torch.Tensor]:
    """Returns the matrices of LoRA in a model of PEFT, under the names of the weights that they change."""
    return {
        name.removeprefix("base_model.model.").replace(".default", ""): parameter.detach().cpu().clone()
        for name, parameter in model.named_parameters()
        if ".lora_A." in name or ".lora_B." in name
    }


def scale_of(lora: dict[str, Any]) -> float:
    """Returns the factor by which LoRA's products are added to the weights, from its arguments in a recipe."""
    return lora.get("lora_alpha", 8) / lora.get("r", 8)


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, help="a recipe, such as those in training/recipes")
    parser.add_argument("--stage", required=True, help="name of a stage of the recipe, such as warmup or joint")
    parser.add_argument("--output", required=True, help="folder into which each stage writes a folder of its name")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="such as stages.joint.training.max_steps=10"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint")
    parser.add_argument(
        "--dry-run", action="store_true", help="print parameters, tokens of a sample, memory and time, and end"
    )
    args = parser.parse_args(argv)

    recipe = read_recipe(args.config, args.set)
    if args.stage not in recipe.stages:
        parser.error(f"{args.config} has no stage {args.stage!r}; it has {list(recipe.stages)}.")
    stage = recipe.stages[args.stage]
    steps = stage.training.get("max_steps", 0)
    if args.dry_run:
        stage.training |= DRY_RUN
        stage.patience = None
    trainer = make_trainer(recipe, args.stage, Path(args.output), args.seed)
    if args.dry_run:
        table = memory_table(trainer.model, trainer.args, bool(stage.muon)) | dry_run(trainer, steps)
        print(json.dumps(table, indent=1))
        return
    learner = trainer.model  # before it is wrapped for several processes
    trainer.train(resume_from_checkpoint=args.resume or None)
    save(trainer, learner, stage)


if __name__ == "__main__":
    main()
