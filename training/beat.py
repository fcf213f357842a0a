"""Stage 1: train Beat, the ECG tokenizer, on PTB-XL folds 1-8 and some simulated ECGs; fold 9 is watched.

    python -m heartcare.training.resnet1d --ptbxl PTBXL_FOLDER --output runs/resnet1d                                 # the
    teacher, half an hour on two cores python -m heartcare.training.beat --ptbxl PTBXL_FOLDER --teacher runs/resnet1d
    --output runs/beat           # goes on after an interruption with --resume python -m heartcare.training.beat --ptbxl
    PTBXL_FOLDER --output runs/beat360 --set num_levels=4 latent_ratio=1.0 pred_weight=0.0          # 360 bits/s, shape
    alone

The core level also learns meaning: from its codes alone, PTB-XL's statements are read, half as the cardiologists gave
    them and half as the teacher sees them. What
reads them is thrown away afterwards. Without --teacher, Beat learns shape alone.
"""

import argparse
import ast

import numpy as np
import torch
from torch import nn
from transformers import Trainer, TrainingArguments, get_cosine_schedule_with_warmup

from heartcare.agent.statements import truth
from heartcare.configuration_heartcare import BeatConfig
from heartcare.tokenization_beat import BeatModel, BeatOutput

from .optimizers import MuonWithAdamW
from .pooling import AttentionPooling
from .ptbxl import PTBXL, BeatWindows, WithSimulated
from .resnet1d import load, logits


class BeatPupil(nn.Module):
    """Beat, and what reads statements from its core level."""

    def __init__(self, beat: BeatModel, statements: int, weight: float):
        super().__init__()
        self.beat, self.weight = beat, weight
        self.reader = AttentionPooling(beat.config.hidden_size, statements) if statements else None

    def forward(self, statements: torch.Tensor | None = None, **inputs) -> BeatOutput:
        outputs = self.beat(**inputs)
        outputs["meaning_loss"] = outputs.loss.new_zeros(())
        if statements is not None:
            read = self.reader(outputs.core_latents, outputs.gain[:, None].log(), outputs.latent_mask)
            outputs["meaning_loss"] = nn.functional.binary_cross_entropy_with_logits(read, statements)
            outputs["loss"] = outputs.loss + self.weight * outputs["meaning_loss"]
        return outputs


class BeatTrainer(Trainer):
    """The Trainer, which also logs the parts of the loss and the health of the codebooks."""

    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        outputs = model(**inputs)
        if model.training and self.state.global_step % self.args.logging_steps == 0:
            self.log(
                {
                    "prd_percent": 100 * outputs.recon_loss.sqrt().item(),
                    "pred_mse": outputs.pred_loss.item(),
                    "vq_loss": outputs.vq_loss.item(),
                    "meaning_loss": outputs["meaning_loss"].item(),
                    **{f"usage_level_{i + 1}": value.item() for i, value in enumerate(outputs.codebook_usage)},
                    **{
                        f"perplexity_level_{i + 1}": value.item() for i, value in enumerate(outputs.codebook_perplexity)
                    },
                }
            )
        return (outputs.loss, outputs) if return_outputs else outputs.loss


def what_it_says(data: PTBXL | WithSimulated, teacher: str) -> np.ndarray:
    """float32 (records, 76): the mean of what the cardiologists said, 0 or 1, and of what the teacher sees."""
    given = np.stack([truth(row["scp_codes"]) for row in data.rows]).astype(np.float32)
    return (given + logits(load(teacher), data).sigmoid().numpy()) / 2


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ptbxl", required=True, help="PTB-XL in its official layout")
    parser.add_argument("--teacher", help="folder of a ResNet1d trained by heartcare.training.resnet1d")
    parser.add_argument("--output", default="runs/beat")
    parser.add_argument("--steps", type=int, default=16000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="of BeatConfig, such as num_levels=4 latent_ratio=1.0",
    )
    parser.add_argument(
        "--start",
        help="folder of a trained Beat to begin with; what has another shape starts anew, and new levels find their places by k-means",
    )
    parser.add_argument("--simulated", type=int, default=2000, help="records of the simulator among those of PTB-XL")
    parser.add_argument(
        "--meaning-weight", type=float, default=0.7, help="of the statements' cross entropy in the loss"
    )
    parser.add_argument(
        "--bf16",
        action="store_true",
        help="matrix products in bfloat16: twice as fast where the CPU has them, slower elsewhere",
    )
    parser.add_argument("--cache", default="runs/cache", help="where cleaned signals are kept")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-steps", type=int, default=1000)
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint in --output")
    args = parser.parse_args(argv)

    torch.manual_seed(args.seed)
    config = BeatConfig(**{name: ast.literal_eval(value) for name, value in (each.split("=", 1) for each in args.set)})
    data = [PTBXL(args.ptbxl, folds, args.cache) for folds in (range(1, 9), [9])]
    data[0] = WithSimulated(data[0], args.simulated)
    statements = [what_it_says(each, args.teacher) if args.teacher else None for each in data]
    windows = [
        BeatWindows(each, config.segment_length, config.prediction_length, augment, args.seed, said)
        for each, said, augment in zip(data, statements, (True, False))
    ]
    beat = BeatModel(config)
    if args.start:
        known, own = BeatModel.from_pretrained(args.start, dtype=torch.float32).state_dict(), beat.state_dict()
        beat.load_state_dict(
            own | {name: value for name, value in known.items() if name in own and value.shape == own[name].shape}
        )
    model = BeatPupil(beat, statements[0].shape[1] if args.teacher else 0, args.meaning_weight)
    beat.set_attn_implementation(
        "eager" if args.bf16 else "sdpa"
    )  # in bfloat16, the backward pass of SDPA is slow on CPUs
    optimizer = MuonWithAdamW(model)
    training = TrainingArguments(
        output_dir=args.output,
        max_steps=args.steps,
        per_device_train_batch_size=args.batch_size,
        per_device_eval_batch_size=256,
        warmup_steps=200,
        max_grad_norm=1.0,
        bf16=args.bf16,
        use_cpu=not torch.cuda.is_available(),
        eval_strategy="steps",
        eval_steps=2000,
        save_steps=args.save_steps,
        save_total_limit=2,
        logging_steps=50,
        logging_first_step=True,
        report_to="tensorboard",
        seed=args.seed,
        remove_unused_columns=False,
        label_names=["target_values"],
        prediction_loss_only=True,
    )
    schedule = get_cosine_schedule_with_warmup(optimizer, int(training.warmup_steps), args.steps)
    trainer = BeatTrainer(
        model=model, args=training, train_dataset=windows[0], eval_dataset=windows[1], optimizers=(optimizer, schedule)
    )
    trainer.train(resume_from_checkpoint=args.resume or None)
    beat.save_pretrained(args.output)


if __name__ == "__main__":
    main()
