"""Stages 2 and 3: teach the language model to read Beat's tokens and lead tiles, on a data set built by HeartAgent; its validation split is watched.

    python -m heartcare.agent build --source PTBXL_FOLDER --out runs/heartcare400k --workers 2
    python examples/train_heartcare.py --data runs/heartcare400k --stage language --model runs/init     --output runs/language
    python examples/train_heartcare.py --data runs/heartcare400k --stage warmup   --model runs/language --output runs/warmup
    python examples/train_heartcare.py --data runs/heartcare400k --stage joint    --model runs/warmup   --output runs/joint

`language` teaches a from-scratch language model the words, without any ECG; a pretrained one skips it. `warmup` trains the two
projectors alone on reports. `joint` trains all but Beat. Each goes on after an interruption with --resume.
"""

import argparse

import numpy as np
import torch
from heartcare.modeling_heartcare import HeartcareForConditionalGeneration
from heartcare.processing_heartcare import HeartcareProcessor
from heartcare_data import HeartcareData
from optimizers import MuonWithAdamW
from transformers import Trainer, TrainingArguments, get_cosine_schedule_with_warmup

STAGES = {  # what is trained, steps, learning rate
    "language": (("language_model",), 250, 1e-3),
    "warmup": (("signal_projector", "image_projector"), 120, 1e-3),
    "joint": (("language_model", "signal_projector", "image_projector", "vision_tower"), 2000, 8e-4),
}


class ECGQuestions(torch.utils.data.Dataset):
    """One recording, picture or pair, with some of its questions. Item i is the same in every run with the same seed.

    Args:
        data: A split.
        stage: Of `STAGES`.
        length: Number of items.
        seed: Of all choices.
        asked: At most so many questions of an item.
    """

    SHARES = {"signal": 0.6, "image": 0.3, "pair": 0.1}  # of the items of the joint stage

    def __init__(self, data: HeartcareData, stage: str, length: int, seed: int = 0, asked: int = 10):
        self.data, self.stage, self.length, self.seed, self.asked = data, stage, length, seed, asked
        self.kinds: dict[str, list[int]] = {"signal": [], "image": [], "pair": []}
        for i, item in enumerate(data.items):
            kind = "pair" if len(item["signals"]) + len(item["tiles"]) > 1 else "signal" if item["signals"] else "image"
            if stage == "joint" or kind != "pair" and (stage == "language" or self.reports(item)):
                self.kinds[kind].append(i)
        self.kinds = {kind: places for kind, places in self.kinds.items() if places}

    @staticmethod
    def reports(item: dict) -> list:
        return [question for question in item["questions"] if question.task == "report"]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> dict:
        rng = np.random.default_rng((self.seed, i))
        shares = np.array([self.SHARES[kind] for kind in self.kinds])
        places = self.kinds[str(rng.choice(list(self.kinds), p=shares / shares.sum()))]
        item = self.data.items[places[int(rng.integers(len(places)))]]
        questions = self.reports(item) if self.stage == "warmup" else item["questions"]
        questions = [questions[k] for k in rng.permutation(len(questions))[: self.asked]]
        if self.stage == "language":
            return {"signals": [], "tiles": [], "questions": questions}
        return {
            "signals": [self.signal(record, rng) for record in item["signals"]],
            "tiles": [self.data.tiles[record] for record in item["tiles"]],
            "questions": questions,
        }

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
        text += (p.image_start_token + p.replace_image_token({}, 0) + p.image_end_token) * len(item["tiles"])
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
        tiles = [each for item in items for each in item["tiles"]]
        if tiles:
            grey = torch.from_numpy(np.stack(tiles)).float()[:, :, None].expand(-1, -1, 3, -1, -1)
            image = self.processor.image_processor
            inputs["pixel_values"] = (grey / 255 - image.image_mean) / image.image_std
        return inputs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of a data set built by python -m heartcare.agent build")
    parser.add_argument("--stage", choices=STAGES, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, help="of all but the matrices in transformers, which Muon trains")
    parser.add_argument(
        "--bf16", action="store_true", help="matrix products in bfloat16: twice as fast where the CPU has them, slower elsewhere"
    )
    parser.add_argument("--pictures", type=int, default=4000, help="records whose pictures are used, too")
    parser.add_argument("--cache", default="runs/cache", help="where cleaned signals and tiles are kept")
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

    optimizer = MuonWithAdamW(model, learning_rate, muon_learning_rate=0.02, weight_decay=0.05)
    schedule = get_cosine_schedule_with_warmup(optimizer, min(200, steps // 10), steps)
    if args.bf16:
        model.set_attn_implementation("eager")  # in bfloat16, the backward pass of SDPA is slow on CPUs

    with_ecgs = None if args.stage == "language" else processor
    data = {name: HeartcareData(args.data, name, args.cache, with_ecgs, args.pictures) for name in ("train", "validation")}
    train = ECGQuestions(data["train"], args.stage, steps * args.batch_size, args.seed)
    validation = ECGQuestions(data["validation"], args.stage, min(512, len(data["validation"])), args.seed)
    training = TrainingArguments(
        output_dir=args.output,
        max_steps=steps,
        per_device_train_batch_size=args.batch_size,
        per_device_eval_batch_size=args.batch_size,
        max_grad_norm=1.0,
        bf16=args.bf16,
        use_cpu=not torch.cuda.is_available(),
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
        optimizers=(optimizer, schedule),
    )
    trainer.train(resume_from_checkpoint=args.resume or None)
    trainer.save_model(args.output)


if __name__ == "__main__":
    main()
