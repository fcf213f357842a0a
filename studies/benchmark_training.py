"""How fast the language model learns: the published loop, one question at a time, beside what this repository does, in
one run.

    python -m heartcare.studies.benchmark_training --model . --data HEARTCARE_400K --bf16

Prints a Markdown table of questions per second, forward, backward and optimizer step included, and of the ratio to the
first row. The same model, questions and machine in all rows; each row adds one thing. Beat and the ViT are frozen, as
in the recipe of the default checkpoint; what they make of an ECG is kept where the table says so, as
`heartcare.training.heartcare` keeps it.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from heartcare.modeling_heartcare import HeartcareForConditionalGeneration
from heartcare.processing_heartcare import HeartcareProcessor
from heartcare.training.data import HeartcareData, everywhere
from heartcare.training.heartcare import prepare
from heartcare.training.items import ECGQuestions
from heartcare.training.packing import QuestionPacker
from heartcare.training.recipe import StageRecipe


def learner(model: HeartcareForConditionalGeneration, bf16: bool) -> Callable[[dict], None]:
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-6)
    device = model.device

    def learn(batch: dict):
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


def questions_per_second(batches: list[list[dict]], collate: Callable, learn: Callable, least: float) -> float:
    """Over at least `least` seconds, after one batch that does not count."""
    asked, started = 0, 0.0
    for k in range(10_000):
        items = batches[k % len(batches)]
        learn(collate(items))
        if k == 0:
            started = time.perf_counter()
            continue
        asked += sum(len(item["questions"]) for item in items)
        if time.perf_counter() - started > least:
            break
    return asked / (time.perf_counter() - started)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=".")
    parser.add_argument("--data", required=True, help="folder of a data set built by HeartAgent")
    parser.add_argument("--cache", default="runs/cache")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=20, help="of each row")
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
    prepare(model, stage).train()
    dataset = ECGQuestions(data, stage, 4 * args.batch_size)
    packed = [dataset[i] for i in range(len(dataset))]
    alone = [item | {"questions": [question]} for item in packed for question in item["questions"]]
    order = np.random.default_rng(0).permutation(len(alone))
    alone = [alone[i] for i in order]

    def raw(item: dict) -> dict:
        """With signals and tiles, which the encoders are to read in the step; any will do."""
        signals = [everywhere(data.signal(i)) for i in range(len(item["codes"]))]
        return {
            "questions": item["questions"],
            "signals": signals,
            "tiles": [data.tiles[i] for i in range(len(item["slots"]))],
        }

    size = args.batch_size
    rows = [
        ("the published loop: one question, its ECG encoded anew", [[each] for each in alone], lambda items: packer([raw(each) for each in items]), False),
        (f"{size} questions at a time", [alone[i : i + size] for i in range(0, len(alone) - size, size)], lambda items: packer([raw(each) for each in items]), False),
        ("what the frozen encoders make is kept", [alone[i : i + size] for i in range(0, len(alone) - size, size)], packer, False),
        (f"{size} ECGs at a time, each once with all its questions", [packed[i : i + size] for i in range(0, len(packed), size)], packer, False),
    ]  # fmt: skip
    if args.bf16:
        rows.append(("in bfloat16", rows[-1][1], packer, True))
    print(
        f"| {args.device}, {torch.get_num_threads()} threads | questions per second | of the published loop's |\n|---|---|---|"
    )
    first = None
    for words, batches, collate, bf16 in rows:
        model.set_attn_implementation("eager" if bf16 and args.device == "cpu" else "sdpa")
        rate = questions_per_second(batches, collate, learner(model, bf16), args.seconds)
        first = first or rate
        print(f"| {words} | {rate:.1f} | {rate / first:.1f} |", flush=True)


if __name__ == "__main__":
    main()
