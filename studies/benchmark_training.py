"""Speed of training the language model: the published loop, one question at a time, beside this repository's steps, in
one run.

    python -m heartcare.studies.benchmark_training --model . --data HEARTCARE_400K --bf16

Prints a Markdown table of questions per second, forward, backward and optimizer step included, and of the ratio to the
first row. The same model, questions and machine in all rows; each row adds one thing. Beat and the ViT are frozen, as
in the recipe of the default checkpoint; their outputs are cached where the table says so, as
`heartcare.training.heartcare` caches them.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from heartcare.modeling_heartcare import HeartcareForConditionalGeneration
from heartcare.processing_heartcare import HeartcareProcessor
from heartcare.training.data import HeartcareData
from heartcare.training.heartcare import freeze_and_adapt
from heartcare.training.items import ECGQuestions
from heartcare.training.packing import QuestionPacker
from heartcare.training.recipe import StageRecipe
from heartcare.training.recordings import BeatTokens, LeadTiles, TrainingItem


def benchmark_rows(
    data: HeartcareData, stage: StageRecipe, packer: QuestionPacker, size: int
) -> list[tuple[str, list[list[TrainingItem]], Callable]]:
    """Returns the words, the batches and the collator of each row of the table, for batches of `size` questions or
    ECGs.
    """
    dataset = ECGQuestions(data, stage, 4 * size)
    packed = [dataset[i] for i in range(len(dataset))]
    alone = [replace(item, questions=[question]) for item in packed for question in item.questions]
    alone = [alone[i] for i in np.random.default_rng(0).permutation(len(alone))]

    def raw(item: TrainingItem) -> TrainingItem:
        """Returns the item with signals and pictures that the encoders have to read in the step; any records do."""
        recordings = [
            data.cleaned(k) if isinstance(each, BeatTokens) else LeadTiles(data.tiles[k])
            for k, each in enumerate(item.recordings)
        ]
        return replace(item, recordings=recordings)

    def pack_raw(items: list[TrainingItem]) -> dict[str, torch.Tensor]:
        return packer([raw(item) for item in items])

    batched = [alone[i : i + size] for i in range(0, len(alone) - size, size)]
    whole = [packed[i : i + size] for i in range(0, len(packed), size)]
    return [
        ("the published loop: one question, its ECG encoded anew", [[item] for item in alone], pack_raw),
        (f"{size} questions at a time", batched, pack_raw),
        ("outputs of the frozen encoders are cached", batched, packer),
        (f"{size} ECGs at a time, each once with all its questions", whole, packer),
    ]


def training_step(model: HeartcareForConditionalGeneration, bf16: bool) -> Callable[[dict], None]:
    """Returns a function that takes one training step on a batch."""
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-6)
    device = model.device

    def learn(batch: dict) -> None:
        batch = {name: value.to(device) for name, value in batch.items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return learn


def questions_per_second(batches: list[list[TrainingItem]], collate: Callable, learn: Callable, least: float) -> float:
    """Returns the questions per second over at least `least` seconds, after one batch that does not count."""
    questions, started = 0, 0.0
    for k in range(10_000):
        items = batches[k % len(batches)]
        learn(collate(items))
        if k == 0:
            started = time.perf_counter()
            continue
        questions += sum(len(item.questions) for item in items)
        if time.perf_counter() - started > least:
            break
    return questions / (time.perf_counter() - started)


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=".")
    parser.add_argument("--data", required=True, help="folder of a data set built by HeartAgent")
    parser.add_argument("--cache", default="runs/cache")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=20, help="seconds of each row")
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bf16", action="store_true", help="a row with matrix products in bfloat16")
    args = parser.parse_args(argv)

    model = HeartcareForConditionalGeneration.from_pretrained(args.model, dtype=torch.float32).to(args.device)
    processor = HeartcareProcessor.from_pretrained(args.model)
    data = HeartcareData(args.data, "train", args.cache, processor, args.pictures)
    data.encode_signals(model, views=1, seed=0)
    packer = QuestionPacker(processor)
    data.encode_pictures(model, packer)
    stage = StageRecipe(train=["signal_projector", "image_projector", "language_model"])
    freeze_and_adapt(model, stage).train()
    rows = [(*row, False) for row in benchmark_rows(data, stage, packer, args.batch_size)]
    if args.bf16:
        rows.append(("in bfloat16", *rows[-1][1:3], True))
    machine = f"{args.device}, {torch.get_num_threads()} threads"
    print(f"| {machine} | questions per second | of the published loop's |\n|---|---|---|")
    first = None
    for words, batches, collate, bf16 in rows:
        model.set_attn_implementation("eager" if bf16 and args.device == "cpu" else "sdpa")
        rate = questions_per_second(batches, collate, training_step(model, bf16), args.seconds)
        first = first or rate
        print(f"| {words} | {rate:.1f} | {rate / first:.1f} |", flush=True)


if __name__ == "__main__":
    main()
