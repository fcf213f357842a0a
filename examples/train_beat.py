"""Stage 1: train Beat, the ECG tokenizer, on PTB-XL folds 1-8; fold 9 chooses the checkpoint.

python examples/train_beat.py --ptbxl PTBXL_FOLDER --output runs/beat            # 20 minutes on two cores
python examples/train_beat.py --ptbxl PTBXL_FOLDER --output runs/beat --resume   # go on after an interruption
"""

import argparse

import torch
from heartcare.configuration_heartcare import BeatConfig
from heartcare.tokenization_beat import BeatModel
from ptbxl import PTBXL, BeatWindows
from transformers import Trainer, TrainingArguments


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
                    **{f"usage_level_{i + 1}": value.item() for i, value in enumerate(outputs.codebook_usage)},
                    **{f"perplexity_level_{i + 1}": value.item() for i, value in enumerate(outputs.codebook_perplexity)},
                }
            )
        return (outputs.loss, outputs) if return_outputs else outputs.loss


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ptbxl", required=True, help="PTB-XL in its official layout")
    parser.add_argument("--output", default="runs/beat")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--cache", default="runs/cache", help="where cleaned signals are kept")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-steps", type=int, default=500)
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint in --output")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    config = BeatConfig()
    model = BeatModel(config)
    windows = [
        BeatWindows(PTBXL(args.ptbxl, folds, args.cache), config.segment_length, config.prediction_length, augment, args.seed)
        for folds, augment in ((range(1, 9), True), ([9], False))
    ]
    training = TrainingArguments(
        output_dir=args.output,
        max_steps=args.steps,
        per_device_train_batch_size=args.batch_size,
        per_device_eval_batch_size=256,
        learning_rate=args.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=200,
        weight_decay=0.01,
        max_grad_norm=1.0,
        eval_strategy="steps",
        eval_steps=1000,
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
    trainer = BeatTrainer(model=model, args=training, train_dataset=windows[0], eval_dataset=windows[1])
    trainer.train(resume_from_checkpoint=args.resume or None)
    trainer.save_model(args.output)


if __name__ == "__main__":
    main()
