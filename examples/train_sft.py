"""Trains the whole model by TRL's SFTTrainer: rows of a data set as they are, the processor's chat template, LoRA on
the language model.

    pip install -e ".[train]"
    python examples/train_sft.py --model . --data runs/heartcare400k --output runs/sft --steps 500

TRL's recipes for vision-language models work here with the collator below. `heartcare.training.heartcare` is several
times faster, since it packs the questions of an ECG and caches Beat's tokens.
"""

import argparse
from typing import Any

import torch
from datasets import load_dataset
from peft import LoraConfig
from transformers import Trainer
from trl import SFTConfig, SFTTrainer

from heartcare.agent.samples import conversation
from heartcare.modeling_heartcare import HeartcareForConditionalGeneration
from heartcare.processing_heartcare import HeartcareProcessor


class RowCollator:
    """Makes the model's inputs of rows of a data set built by HeartAgent; the labels are the assistant's tokens."""

    def __init__(self, processor: HeartcareProcessor):
        self.processor = processor

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        return dict(self.processor.collate_chats([conversation(row) for row in rows]))


class ECGTrainer(SFTTrainer):
    """The SFTTrainer with the Trainer's loss, which is the model's own: TRL's loss needs a model that can be called
    without the head of its language model.
    """

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> Any:
        """Computes the loss of [`transformers.Trainer`]."""
        return Trainer.compute_loss(self, model, inputs, return_outputs, num_items_in_batch)


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=".")
    parser.add_argument(
        "--data", required=True, help="a data set built by HeartAgent: its folder, or its name on the Hub"
    )
    parser.add_argument("--output", default="runs/sft")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rank", type=int, default=16, help="rank of LoRA")
    args = parser.parse_args(argv)

    model = HeartcareForConditionalGeneration.from_pretrained(args.model)
    model.freeze_towers()
    processor = HeartcareProcessor.from_pretrained(args.model)
    rows = load_dataset(args.data, split="train", streaming=True).shuffle(seed=0, buffer_size=1000)
    arguments = SFTConfig(
        args.output,
        max_steps=args.steps,
        per_device_train_batch_size=args.batch_size,
        learning_rate=2e-4,
        logging_steps=10,
        report_to="tensorboard",
        use_cpu=not torch.cuda.is_available(),
        bf16=torch.cuda.is_available(),
        gradient_checkpointing=False,
        max_length=None,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    adapter = LoraConfig(
        r=args.rank,
        lora_alpha=2 * args.rank,
        target_modules=r"language_model\.model\.layers\.\d+\.(self_attn|mlp)\.\w+_proj",
        modules_to_save=[name for name, _ in model.named_children() if name.endswith("_projector")],
    )
    trainer = ECGTrainer(
        model,
        arguments,
        RowCollator(processor),
        train_dataset=rows,
        processing_class=processor,
        peft_config=adapter,
    )
    trainer.train()
    trainer.save_model()


if __name__ == "__main__":
    main()
