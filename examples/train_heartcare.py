"""Stages 2 and 3: teach the language model to read Beat's tokens and lead tiles, on PTB-XL folds 1-8; fold 9 is watched.

    python examples/train_heartcare.py --ptbxl PTBXL_FOLDER --stage language --model runs/init     --output runs/language
    python examples/train_heartcare.py --ptbxl PTBXL_FOLDER --stage warmup   --model runs/language --output runs/warmup
    python examples/train_heartcare.py --ptbxl PTBXL_FOLDER --stage joint    --model runs/warmup   --output runs/joint

`language` teaches a from-scratch language model the words, without any ECG; a pretrained one skips it. `warmup` trains the two
projectors alone on reports. `joint` trains all but Beat. Each goes on after an interruption with --resume.
"""

import argparse
import zlib
from pathlib import Path

import numpy as np
import torch
from heartcare.agent.qa import QuestionBuilder
from heartcare.agent.render import draw_ecg
from heartcare.modeling_heartcare import HeartcareForConditionalGeneration
from heartcare.processing_heartcare import LAYOUTS, HeartcareProcessor
from ptbxl import PTBXL
from tqdm import tqdm
from transformers import Trainer, TrainingArguments

STAGES = {  # what is trained, steps, learning rate
    "language": (("language_model",), 250, 1e-3),
    "warmup": (("signal_projector", "image_projector"), 120, 1e-3),
    "joint": (("language_model", "signal_projector", "image_projector", "vision_tower"), 2000, 8e-4),
}


class ECGQuestions(torch.utils.data.Dataset):
    """One ECG (or its picture, or two ECGs) with several questions. Item i is the same in every run with the same seed."""

    def __init__(self, data: PTBXL, stage: str, repeats: int, tiles: np.ndarray | None = None, seed: int = 0):
        self.data, self.stage, self.repeats, self.tiles, self.seed = data, stage, repeats, tiles, seed

    def __len__(self) -> int:
        return len(self.data) * self.repeats

    def __getitem__(self, i: int) -> dict:
        rng = np.random.default_rng((self.seed, i))
        builder = QuestionBuilder(self.data.superclass_of, rng)
        record = i % len(self.data)
        statements = self.data.rows[record]["scp_codes"]
        item = {"signals": [], "tiles": None}
        if self.stage == "language":
            return item | {"questions": builder.questions(statements)}
        if self.tiles is not None and record < len(self.tiles) and rng.random() < 0.4:
            item["tiles"] = self.tiles[record]
        else:
            item["signals"].append(self.signal(record, rng))
        if self.stage == "warmup":
            return item | {"questions": [builder.report(statements)]}
        if item["signals"] and rng.random() < 0.05:
            other = int(rng.integers(len(self.data)))
            item["signals"].append(self.signal(other, rng))
            return item | {"questions": [builder.comparison(statements, self.data.rows[other]["scp_codes"])]}
        return item | {"questions": builder.questions(statements)}

    def signal(self, record: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A record, half of the time only a part of it, and now and then with leads left out."""
        signal, leads = self.data.signal(record), np.ones(12, np.int64)
        if rng.random() < 0.5:
            length = int(rng.integers(signal.shape[1] // 2, signal.shape[1]))
            start = int(rng.integers(signal.shape[1] - length))
            signal = signal[:, start : start + length]
        if rng.random() < 0.1:
            leads = (rng.random(12) < rng.choice([0.2, 0.6])).astype(np.int64)
            leads[int(rng.integers(12))] = 1
        return signal * leads[:, None], leads


class PackedQuestions:
    """Collator: the ECG once, then all of its questions side by side.

    The questions are branches of one prompt. Each sees the ECG and itself, not the others, and counts its positions from the ECG on, so
    that its answer has exactly the loss that it would have in a prompt of its own. Labels are -100 outside of the answers.
    """

    def __init__(self, processor: HeartcareProcessor):
        self.processor, self.tokenizer = processor, processor.tokenizer

    def ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def prefix(self, item: dict) -> str:
        p, latents = self.processor, self.processor.feature_extractor.num_latents
        text = "".join(p.ecg_start_token + p.ecg_token * latents(s.shape[1]) + p.ecg_end_token for s, _ in item["signals"])
        if item["tiles"] is not None:
            text += p.image_start_token + p.replace_image_token({}, 0) + p.image_end_token
        return "<|user|>" + text

    def pack(self, item: dict):
        """-> input_ids, labels, position_ids and branch of every token; branch 0 is the ECG."""
        ids = self.ids(self.prefix(item))
        labels, positions, branch = [-100] * len(ids), list(range(len(ids))), [0] * len(ids)
        start = len(ids)
        for k, question in enumerate(item["questions"], 1):
            asked, answered = self.ids(question.question + "<|assistant|>"), self.ids(question.answer + "<|end|>")
            ids += asked + answered
            labels += [-100] * len(asked) + answered
            positions += range(start, start + len(asked) + len(answered))
            branch += [k] * (len(asked) + len(answered))
        return ids, labels, positions, branch

    def __call__(self, items: list[dict]) -> dict:
        packed = [self.pack(item) for item in items]
        longest = max(len(ids) for ids, *_ in packed)

        def batch(index: int, fill: int) -> torch.Tensor:
            return torch.tensor([row[index] + [fill] * (longest - len(row[index])) for row in packed])

        branch = batch(3, -1)
        causal = torch.ones(longest, longest, dtype=torch.bool).tril()
        sees = causal & ((branch[:, None, :] == 0) | (branch[:, :, None] == branch[:, None, :]))
        inputs = {
            "input_ids": batch(0, self.tokenizer.pad_token_id),
            "labels": batch(1, -100),
            "position_ids": batch(2, 0),
            "attention_mask": torch.where(sees, 0.0, torch.finfo(torch.float32).min)[:, None],
        }
        signals = [(signal, leads, {}) for item in items for signal, leads in item["signals"]]
        if signals:
            inputs |= self.processor.feature_extractor.pad(signals, return_tensors="pt")
        tiles = [item["tiles"] for item in items if item["tiles"] is not None]
        if tiles:
            grey = torch.from_numpy(np.stack(tiles)).float()[:, :, None].expand(-1, -1, 3, -1, -1)
            image = self.processor.image_processor
            inputs["pixel_values"] = (grey / 255 - image.image_mean) / image.image_std
        return inputs


def drawn_tiles(data: PTBXL, processor: HeartcareProcessor, count: int, cache: Path) -> np.ndarray:
    """Lead tiles of the first `count` records, drawn in all layouts: uint8 (count, 12, height, width), made once."""
    ids = np.array([int(row["ecg_id"]) for row in data.rows[:count]])
    path = cache / f"tiles_{count}_{zlib.crc32(ids.tobytes()):08x}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        image, rng = processor.image_processor, np.random.default_rng(0)
        size = image.size["height"], image.size["width"]
        out = np.lib.format.open_memmap(path.with_suffix(".partial.npy"), "w+", np.uint8, (count, 12, *size))
        for i in tqdm(range(count), desc="drawing"):
            page = draw_ecg(data.signal(i), 100, rng.choice(list(LAYOUTS)), dpi=int(rng.integers(80, 120)))
            out[i] = np.round((image.tiles(page)[:, 0] * image.image_std + image.image_mean) * 255)
        out.flush()
        path.with_suffix(".partial.npy").rename(path)
    return np.load(path, mmap_mode="r")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ptbxl", required=True)
    parser.add_argument("--stage", choices=STAGES, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--pictures", type=int, default=4000, help="records that are also drawn")
    parser.add_argument("--cache", default="runs/cache", help="where cleaned signals and drawn tiles are kept")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-steps", type=int, default=250)
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint in --output")
    args = parser.parse_args()

    trained, steps, learning_rate = STAGES[args.stage]
    steps, learning_rate = args.steps or steps, args.learning_rate or learning_rate
    model = HeartcareForConditionalGeneration.from_pretrained(args.model, dtype=torch.float32)
    processor = HeartcareProcessor.from_pretrained(args.model)
    for name, part in model.named_children():
        part.requires_grad_(name in trained)

    data = {name: PTBXL(args.ptbxl, folds, args.cache) for name, folds in (("train", range(1, 9)), ("validation", [9]))}
    tiles = None
    if args.stage != "language" and args.pictures:
        tiles = drawn_tiles(data["train"], processor, min(args.pictures, len(data["train"])), Path(args.cache))
    repeats = -(-steps * args.batch_size // len(data["train"]))
    train = ECGQuestions(data["train"], args.stage, repeats, tiles, args.seed)
    validation = torch.utils.data.Subset(
        ECGQuestions(data["validation"], args.stage, 1, None, args.seed), range(min(512, len(data["validation"])))
    )
    training = TrainingArguments(
        output_dir=args.output,
        max_steps=steps,
        per_device_train_batch_size=args.batch_size,
        per_device_eval_batch_size=args.batch_size,
        learning_rate=learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=min(200, steps // 10),
        weight_decay=0.05,
        max_grad_norm=1.0,
        eval_strategy="steps",
        eval_steps=500,
        save_steps=args.save_steps,
        save_total_limit=2,
        logging_steps=25,
        report_to="tensorboard",
        seed=args.seed,
        remove_unused_columns=False,
        prediction_loss_only=True,
    )
    trainer = Trainer(
        model=model,
        args=training,
        train_dataset=train,
        eval_dataset=validation,
        data_collator=PackedQuestions(processor),
        processing_class=processor,
    )
    trainer.train(resume_from_checkpoint=args.resume or None)
    trainer.save_model(args.output)


if __name__ == "__main__":
    main()
