"""Stage 1: train Beat, the ECG tokenizer, on PTB-XL folds 1-8 and some simulated ECGs; fold 9 is evaluated.

    python -m heartcare.training.beat --ptbxl PTBXL_FOLDER --soft-labels runs/teacher/soft_labels.safetensors \\
        --output runs/beat
    python -m heartcare.training.beat --ptbxl PTBXL_FOLDER --output runs/beat360 --set num_levels=4 latent_ratio=1.0

The first command trains Beat, and the second a Beat of 360 bits/s, as in beat360/, which learns shape alone. The
command continues an interrupted run with --resume.

With --soft-labels, which `heartcare.training.teacher` writes, the core level also learns meaning: PTB-XL's statements
are read from its codes, and the labels are the mean of the cardiologists' statements and of the teacher's
probabilities. The head that reads them is thrown away afterwards. beat360/ has `pred_weight` 0.1, and its position
embeddings of the future show that the forecast was trained; --set pred_weight=0.0 leaves the forecast out.
"""

import argparse
import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import Trainer

from heartcare.agent.statements import NAMES
from heartcare.configuration_heartcare import BeatConfig
from heartcare.tokenization_beat import BeatModel, BeatOutput

from .augmentation import draw_share, mix, vary
from .encoder import add_encoder_options, choose_attention, encoder_arguments
from .lead_patterns import PATTERNS
from .optimizers import muon_with_cosine_schedule
from .pooling import TokenReader
from .ptbxl import PTBXL, WithSimulated
from .statement_labels import family_loss, given_statements, macro_auc_of_sets, soft_labels
from .windows import BeatWindows


def read_windows(args: argparse.Namespace, config: BeatConfig) -> list[BeatWindows]:
    """Reads the records to train on, with augmentation, and those of fold 9 to evaluate."""
    train, validation = (PTBXL(args.ptbxl, folds, args.cache) for folds in (range(1, 9), [9]))
    windows = []
    for data, augment in ((WithSimulated(train, args.simulated), True), (validation, False)):
        ids = [row.get("ecg_id", "") for row in data.rows]
        labels = soft_labels(given_statements(data), ids, args.soft_labels) if args.soft_labels else None
        windows.append(BeatWindows(data, config, augment, args.seed, labels))
    return windows


def start_from(beat: BeatModel, folder: str | Path) -> list[str]:
    """Gives a new Beat the weights of a trained one.

    Returns:
        Names of the weights of the trained one that have no place in the new one, or another shape there.
    """
    trained = BeatModel.from_pretrained(folder, dtype=torch.float32)
    given = {place: trained.state_dict()[name] for name, place in places(trained).items()}
    own, own_places = beat.state_dict(), places(beat)
    fitting = {
        name: given[place]
        for name, place in own_places.items()
        if place in given and given[place].shape == own[name].shape
    }
    beat.load_state_dict(own | fitting)
    taken = {own_places[name] for name in fitting}
    return [name for name, place in places(trained).items() if place not in taken]


def places(beat: BeatModel) -> dict[str, str]:
    """Returns name of each weight -> its name in any Beat: there, the layers of the encoder have one numbering, whether
    they are patch layers or not, and the levels for shape one that leaves out the core levels.
    """
    patch_layers, core_levels = beat.config.num_patch_layers, beat.quantizer.num_core_levels

    def place(name: str) -> str:
        for prefix, shared, shift in (
            ("encoder.patch_layers.", "encoder.transformer.layers.", 0),
            ("encoder.transformer.layers.", "encoder.transformer.layers.", patch_layers),
            ("quantizer.levels.", "quantizer.levels.", -core_levels),
        ):
            if name.startswith(prefix):
                number, rest = name.removeprefix(prefix).split(".", 1)
                return f"{shared}{int(number) + shift}.{rest}"
        return name

    return {name: place(name) for name in beat.state_dict()}


class BeatWithStatementHead(nn.Module):
    """Beat with a head that reads statements from its codes. Only the core level learns from the statements; the other
    levels learn the shape alone.

    The codec learns from windows as they are. The statements are learnt from the same windows once more, or from 2.5 s
    of them, with another gain, baseline and noise, and mixed with each other in half of the batches.

    Args:
        beat: The model to train.
        statements: Number of statements; 0 for no head.
        weight: Weight of their cross entropy in the loss.
    """

    def __init__(self, beat: BeatModel, statements: int, weight: float):
        super().__init__()
        self.beat, self.weight = beat, weight
        self.statement_head = TokenReader(beat.config.hidden_size, statements) if statements else None

    def forward(
        self, statements: torch.Tensor | None = None, statement_mask: torch.Tensor | None = None, **inputs: torch.Tensor
    ) -> BeatOutput:
        """Runs `BeatModel.forward`; where statements are given, `statement_loss` is part of the loss.

        Args:
            statements: float32 (B, statements), probability of each statement.
            statement_mask: bool (B, segment_length), True for the samples from which they are read.
            inputs: Arguments of `BeatModel.forward`, with `target_values` and `lead_mask`.
        """
        outputs = self.beat(**inputs)
        outputs["statement_loss"] = outputs.loss.new_zeros(())
        if statements is not None:
            signals, leads, samples = inputs["target_values"], inputs["lead_mask"], statement_mask
            if self.training:
                share = draw_share()
                signals, statements = mix(vary(signals) * leads, share), mix(statements, share)
                if share < 1:
                    leads, samples = leads | leads.roll(1, 0), samples | samples.roll(1, 0)
            outputs["statement_loss"] = family_loss(self.read(signals, leads, samples), statements) / len(NAMES)
            outputs["loss"] = outputs.loss + self.weight * outputs["statement_loss"]
        return outputs

    def read(self, signals: torch.Tensor, leads: torch.Tensor, samples: torch.Tensor) -> torch.Tensor:
        """Reads the statements of windows; the codebooks stay as they are.

        Args:
            signals: mV, float32 (B, 12, segment_length).
            leads: bool (B, 12, segment_length), False where a lead is absent.
            samples: bool (B, segment_length), False for padding.

        Returns: Logits, float32 (B, statements).
        """
        segments = self.beat.segment(signals, samples, leads)
        states = self.beat.encoder(*segments.encoder_inputs)
        quantized = self.beat.quantizer(states, segments.latent_mask, follow=False)
        return self.read_latents(quantized.core, quantized.latents, segments.gain, segments.latent_mask)

    def read_latents(
        self, core: torch.Tensor, latents: torch.Tensor, gain: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Reads statements from the latents of the core level and of all levels, float32 (B, N, D) twice, a gain in mV
        (B,), and a bool mask (B, N). Only the core level gets a gradient.
        """
        others = latents.detach() - core.detach()
        return self.statement_head(core, others, gain[:, None].log(), mask)


class BeatTrainer(Trainer):
    """The Trainer, which also logs the parts of the loss and the health of the codebooks."""

    def compute_loss(
        self, model: nn.Module, inputs: dict, return_outputs: bool = False, **kwargs: Any
    ) -> torch.Tensor | tuple[torch.Tensor, BeatOutput]:
        """Returns the model's loss, and logs its parts and the codebooks' health in the steps that the Trainer logs."""
        outputs = model(**inputs)
        if model.training and self.state.global_step % self.args.logging_steps == 0:
            levels = enumerate(zip(outputs.codebook_usage, outputs.codebook_perplexity), 1)
            health = {
                name: value.item()
                for i, pair in levels
                for name, value in zip((f"usage_level_{i}", f"perplexity_level_{i}"), pair)
            }
            parts = {name: outputs[name].item() for name in ("vq_loss", "statement_loss")}
            prd = 100 * outputs.recon_loss.sqrt().item()
            self.log({"prd_percent": prd, "pred_mse": outputs.pred_loss.item(), **parts, **health})
        return (outputs.loss, outputs) if return_outputs else outputs.loss


@torch.no_grad()
def evaluate(model: BeatWithStatementHead, data: PTBXL, batch_size: int = 128) -> dict[str, dict[str, float | None]]:
    """Returns, for each fixed pattern of leads, the PRD of all leads in %, and the macro AUC of each set of statements
    as the head reads them from the codes of whole records.
    """
    model.eval()
    truth, table = given_statements(data), {}
    for name in ("12 leads", "3x4+II", "6x2", "limb leads", "I"):
        leads = torch.from_numpy(PATTERNS[name](np.random.default_rng(0), 1000))
        logits, prd = [], []
        for start in range(0, len(data), batch_size):
            x = data.signals(start, start + batch_size)
            outputs = model.beat(x * leads, lead_mask=leads.expand(len(x), -1, -1))
            error = (outputs.reconstruction - x).square().sum((1, 2)) / x.square().sum((1, 2)).clamp(min=1e-9)
            prd.append(100 * error.sqrt())
            if model.statement_head is not None:
                read = model.read_latents(outputs.core_latents, outputs.latents, outputs.gain, outputs.latent_mask)
                logits.append(read)
        table[name] = {"PRD, %": round(float(torch.cat(prd).mean()), 2)}
        if logits:
            table[name] |= macro_auc_of_sets(truth, torch.cat(logits).numpy())
    return table


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ptbxl", required=True, help="PTB-XL in its official layout")
    add_encoder_options(parser, "runs/beat", steps=16000, batch_size=64, statement_weight=10.0, save_steps=1000)
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="values of BeatConfig, such as num_levels=4 latent_ratio=1.0",
    )
    parser.add_argument(
        "--start",
        help="folder of a trained Beat to begin with; its weights of another shape are left out and named, and the "
        "codebooks of new levels start by k-means",
    )
    parser.add_argument("--simulated", type=int, default=2000, help="number of simulated records beside PTB-XL's")
    args = parser.parse_args(argv)

    torch.manual_seed(args.seed)
    pairs = (assignment.split("=", 1) for assignment in args.set)
    config = BeatConfig(**{name: ast.literal_eval(value) for name, value in pairs})
    train, validation = read_windows(args, config)
    beat = BeatModel(config)
    if args.start:
        for name in start_from(beat, args.start):
            print(f"{args.start}: {name} has no place in the new model, or another shape there, and is left out.")
    statements = train.statements.shape[1] if args.soft_labels else 0
    model = BeatWithStatementHead(beat, statements, args.statement_weight)
    choose_attention(beat, args.bf16)
    arguments = encoder_arguments(
        args,
        per_device_eval_batch_size=256,
        warmup_steps=200,
        eval_strategy="steps",
        eval_steps=2000,
        logging_steps=50,
        logging_first_step=True,
        label_names=["target_values"],
    )
    trainer = BeatTrainer(
        model=model,
        args=arguments,
        train_dataset=train,
        eval_dataset=validation,
        optimizers=muon_with_cosine_schedule(model, int(arguments.warmup_steps), args.steps),
    )
    trainer.train(resume_from_checkpoint=args.resume or None)
    beat.save_pretrained(args.output)
    for name, row in evaluate(model.cpu(), validation.data).items():
        print(json.dumps({"fold": 9, "leads": name} | row))


if __name__ == "__main__":
    main()
