"""Parts that the trainings of Beat and of the ViT share: options of the command line and of the Trainer."""

import argparse
from typing import Any

import torch
from transformers import PreTrainedModel, TrainingArguments


def add_encoder_options(
    parser: argparse.ArgumentParser,
    output: str,
    steps: int,
    batch_size: int,
    statement_weight: float,
    save_steps: int,
) -> None:
    """Adds the options of both commands, with the defaults of one of them."""
    parser.add_argument("--soft-labels", help="file of the teacher's answers, by heartcare.training.teacher label")
    parser.add_argument("--output", default=output)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--batch-size", type=int, default=batch_size)
    parser.add_argument(
        "--statement-weight",
        type=float,
        default=statement_weight,
        help="weight of the statements' cross entropy in the loss",
    )
    parser.add_argument(
        "--bf16",
        action="store_true",
        help="matrix products in bfloat16: twice as fast where the CPU has them, slower elsewhere",
    )
    parser.add_argument("--cache", default="runs/cache", help="folder for cleaned signals and tiles")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-steps", type=int, default=save_steps)
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint in --output")


def encoder_arguments(args: argparse.Namespace, **options: Any) -> TrainingArguments:
    """Returns the Trainer's arguments out of the options of the command line, and of further ones of the Trainer."""
    return TrainingArguments(
        output_dir=args.output,
        max_steps=args.steps,
        per_device_train_batch_size=args.batch_size,
        max_grad_norm=1.0,
        bf16=args.bf16,
        use_cpu=not torch.cuda.is_available(),
        save_steps=args.save_steps,
        save_total_limit=2,
        report_to="tensorboard",
        seed=args.seed,
        remove_unused_columns=False,
        prediction_loss_only=True,
        **options,
    )


def choose_attention(model: PreTrainedModel, bf16: bool) -> None:
    """Sets the attention that is fast in training: in bfloat16, the backward pass of SDPA is slow on CPUs."""
    model.set_attn_implementation("eager" if bf16 else "sdpa")
