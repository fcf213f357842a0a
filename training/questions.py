"""Questions: train the small network that reads what a question asks for, and keep it with the model.

    python -m heartcare.training.questions --model . --output runs/questions --steps 6000

Questions are drawn at random from HeartAgent's wordings (agent/wording.py), each once. Prints, on frames that were kept
apart, the share of the questions that are understood rightly as a whole.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from heartcare.agent.wording import WordingBuilder, codes
from heartcare.modeling_heartcare import HeartcareForConditionalGeneration
from heartcare.processing_heartcare import HeartcareProcessor
from heartcare.understanding_heartcare import Asked, QuestionReader, words_of

BATCH = 128
VALIDATION = 2000  # questions
# Weight of each part of the answer in the loss.
WEIGHTS = {"kind": 1.0, "codes": 2.0, "flags": 0.5, "topic": 1.0, "quantities": 1.0, "lead": 0.5, "reason": 0.5}
# Quantities that count as the same answer: QTc by any formula.
SAME = {"qtc": "qtc_fridericia", "qtc_bazett": "qtc_fridericia", "qtc_framingham": "qtc_fridericia"}


def train_reader(reader: QuestionReader, steps: int, rate: float, seed: int, output: Path | None = None) -> None:
    """Trains the reader by AdamW with one cycle of learning rates.

    Args:
        reader: The network.
        steps: Number of batches.
        rate: Highest learning rate.
        seed: Seed of the questions.
        output: File that the weights are written to now and then, so that a training that is ended is not lost.
    """
    builder = WordingBuilder(np.random.default_rng(seed))
    reader.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(reader.parameters(), rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    progress, waiting = tqdm(range(steps), desc="questions"), []
    for step in progress:
        if not waiting:  # of similar lengths, so that little is padding
            drawn = sorted((builder.question() for _ in range(16 * BATCH)), key=lambda pair: len(pair[0]))
            waiting = [drawn[start : start + BATCH] for start in range(0, len(drawn), BATCH)]
            builder.rng.shuffle(waiting)
        texts, asked = zip(*waiting.pop())
        loss = loss_of(reader(words_of(texts)), targets_of(reader, asked))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            progress.set_postfix(loss=f"{loss.item():.3f}")
        if output is not None and step % 1000 == 999:
            torch.save(reader.state_dict(), output)
    reader.requires_grad_(False).eval()


def targets_of(reader: QuestionReader, asked: list[Asked]) -> dict[str, torch.Tensor]:
    """Returns part of the answer -> its targets for some questions. A part that chooses one of several has the index of
    the right one, int64 (B,), -100 where the question has none; a part that chooses any number has 0 and 1, float32 (B,
    choices).
    """
    parts, rows = reader.parts, range(len(asked))
    targets = {name: torch.zeros(len(asked), len(parts[name])) for name in ("codes", "flags", "quantities", "lead")}
    single = {name: torch.full((len(asked),), -100) for name in ("kind", "topic", "reason")}
    for row, each in zip(rows, asked):
        single["kind"][row] = parts["kind"].index(each.kind)
        for code in each.codes:
            targets["codes"][row, parts["codes"].index(code)] = 1
        for flag in ("negated", "every"):
            targets["flags"][row, parts["flags"].index(flag)] = float(getattr(each, flag))
        if each.kind in ("which", "compare"):
            single["topic"][row] = parts["topic"].index(each.topic)
        for quantity in each.quantities:
            name, _, lead = quantity.partition(":")
            targets["quantities"][row, parts["quantities"].index(name)] = 1
            if lead:
                targets["lead"][row, parts["lead"].index(lead)] = 1
        if each.reason:
            single["reason"][row] = parts["reason"].index(each.reason)
    return targets | single


def loss_of(logits: dict[str, torch.Tensor], targets: dict[str, torch.Tensor]) -> torch.Tensor:
    """Returns the sum of the parts' losses, averaged over the questions."""
    total = torch.zeros(())
    for name, target in targets.items():
        if target.ndim > 1:
            loss = nn.functional.binary_cross_entropy_with_logits(logits[name], target, reduction="none").sum(1).mean()
            total = total + WEIGHTS[name] * loss
        elif (target >= 0).any():
            total = total + WEIGHTS[name] * nn.functional.cross_entropy(logits[name], target)
    return total


def score(reader: QuestionReader, questions: list[tuple[str, Asked]]) -> dict[str, tuple[int, int]]:
    """Returns kind of question -> number of questions that are understood rightly, and number of questions."""
    counts: dict[str, list[bool]] = defaultdict(list)
    for start in range(0, len(questions), BATCH):
        part = questions[start : start + BATCH]
        for (_, true), found in zip(part, reader.read([text for text, _ in part])):
            counts[true.kind].append(is_understood(found, true))
    return {kind: (sum(right), len(right)) for kind, right in sorted(counts.items())}


def is_understood(found: Asked | None, true: Asked) -> bool:
    """Tells whether a question was understood as a whole, the reason of a refusal aside. A report and its gist are
    taken for each other, and so are the axis as a topic and in degrees: many questions may mean either, and the answer
    in degrees names the axis as well.
    """
    if found is None or true.kind == "cannot":
        return true.kind == "cannot" and (found is None or found.kind == "cannot")
    kinds = {found.kind, true.kind}
    if (true.topic, found.quantities) == ("axis", ("qrs_axis",)):
        return True
    if true.kind in ("report", "summary", "predict", "urgent"):
        return len(kinds) == 1 or kinds == {"report", "summary"}
    if len(kinds) > 1 or (true.kind in ("which", "compare") and found.topic != true.topic):
        return False
    is_joined = len(true.codes) > 1 and not true.negated
    if true.kind == "is" and (found.negated != true.negated or (is_joined and found.every != true.every)):
        return False
    quantities = [{SAME.get(name, name) for name in asked.quantities} for asked in (found, true)]
    return set(found.codes) == set(true.codes) and quantities[0] == quantities[1]


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=".", help="HeartcareGPT repository that gets the reader")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    torch.manual_seed(args.seed)
    model = HeartcareForConditionalGeneration.from_pretrained(args.model, dtype=torch.float32)
    model.add_question_reader(codes())
    args.output.mkdir(parents=True, exist_ok=True)
    train_reader(model.question_reader, args.steps, args.learning_rate, args.seed, args.output / "reader.pt")
    builder = WordingBuilder(np.random.default_rng(args.seed + 1), "validation")
    scores = score(model.question_reader, [builder.question() for _ in range(VALIDATION)])
    print(f"frames kept apart: {scores}")
    model.save_pretrained(args.output)
    HeartcareProcessor.from_pretrained(args.model).save_pretrained(args.output)


if __name__ == "__main__":
    main()
