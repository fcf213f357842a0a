"""Counts what the language model says by itself, without the pipeline, to questions in the words of other people.

    python -m heartcare.studies.evaluate_spoken --model . --subfolder smollm2 --data HEARTCARE_400K --split validation

Each question of `agent/wordings/held_out.jsonl` is asked about one record, with its measurements in the prompt. A
finding that a yes/no question names is there half of the time. The right answer is what the pipeline would say of the
cardiologists' statements and of the measurements (training/voice.py). Prints a Markdown table: by kind of question, the
number of questions, the share that is answered rightly, and the same with another record in the place of the right one.
Yes and no count by their first word, numbers where each is within 10 % or 5 units, and other answers as whole
texts. With --split validation the questions are those for developing, with --split test those for testing.
"""

import argparse
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from heartcare.agent.wording import held_out
from heartcare.modeling_heartcare import HeartcareForConditionalGeneration
from heartcare.processing_heartcare import HeartcareProcessor
from heartcare.training.data import HeartcareData
from heartcare.training.voice import reply, truth_of
from heartcare.understanding_heartcare import Asked

HALVES = {"validation": 0, "test": 1}
TRIES = 200  # records that are looked at for one whose labels tell the answer
LONGEST = 90  # tokens of an answer
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def record_for(
    asked: Asked, data: HeartcareData, wordings: dict[str, str], rng: np.random.Generator
) -> tuple[int, str] | None:
    """Returns a record whose labels tell the answer to a question, and the answer; None where no record does. Half of
    the records for a yes/no question have the answer yes, where such are found.
    """
    wanted = "Yes" if rng.random() < 0.5 else "No"
    found = None
    for record in rng.permutation(len(data))[:TRIES]:
        if not data.labels[record].statements:
            continue
        said = reply(asked, truth_of(data.labels[record], wordings, data.measured[record]))
        if said and (asked.kind != "is" or said.startswith(wanted)):
            return int(record), said
        found = found or (int(record), said) if said else found
    return found


@torch.inference_mode()
def say(
    question: str,
    data: HeartcareData,
    record: int,
    model: HeartcareForConditionalGeneration,
    processor: HeartcareProcessor,
) -> str:
    """Returns the words that the language model writes to a question about a record.

    Args:
        question: The question.
        data: Split that holds the record.
        record: Number of the record in it.
        model: The model, whose language model answers without the pipeline.
        processor: Its processor.
    """
    ecg = {"type": "ecg", "ecg": data.signal(record), "sampling_rate": processor.feature_extractor.sampling_rate}
    content = [ecg | {"units": "mV"}, {"type": "text", "text": question}]
    options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
    inputs = processor.apply_chat_template([{"role": "user", "content": content}], **options)
    ids = model.generate(**inputs, do_sample=False, max_new_tokens=LONGEST)[0, inputs["input_ids"].shape[1] :]
    return processor.decode(ids, skip_special_tokens=True).strip()


def is_right(asked: Asked, said: str, true: str) -> bool:
    """Tells whether an answer says what the right one does."""
    if asked.kind == "is":
        return first_word(said) == first_word(true)
    if asked.kind == "number":
        return are_near(numbers_in(said), numbers_in(true)) if numbers_in(true) else said == true
    return said == true


def first_word(text: str) -> str:
    """Returns the first word of a text, in small letters."""
    return re.match(r"\w*", text).group().casefold()


def numbers_in(text: str) -> list[float]:
    """Returns the numbers of an answer, without those that are part of a name, such as the lead V1."""
    return [float(number) for number in _NUMBER.findall(re.sub(r"\b[A-Za-z]+\d\b", "", text))]


def are_near(said: Sequence[float], true: Sequence[float]) -> bool:
    """Tells whether the numbers of two answers are as many, and each within 10 % or 5 units."""
    return len(said) == len(true) and all(
        abs(one - other) <= max(5, 0.1 * abs(other)) for one, other in zip(said, true)
    )


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=".")
    parser.add_argument("--subfolder", default="", help="such as smollm2")
    parser.add_argument("--data", required=True, help="folder of a data set built by HeartAgent")
    parser.add_argument("--split", choices=HALVES, default="validation")
    parser.add_argument("--cache", default=Path("runs/cache"), help="folder for cleaned signals")
    parser.add_argument("--limit", type=int, help="number of questions at most")
    parser.add_argument("--show", action="store_true", help="print each question with both answers")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    model = HeartcareForConditionalGeneration.from_pretrained(args.model, subfolder=args.subfolder).eval()
    processor = HeartcareProcessor.from_pretrained(args.model, subfolder=args.subfolder)
    data = HeartcareData(args.data, args.split, args.cache, processor, pictures=0)
    data.measure_signals(processor.feature_extractor.sampling_rate)
    rng, rows = np.random.default_rng(0), defaultdict(list)
    questions = [each for each in held_out()[HALVES[args.split] :: 2] if each[2] in ("en", "de")]
    for text, asked, language in tqdm(questions[: args.limit], desc="asking"):
        chosen = record_for(asked, data, model.config.wordings, rng)
        if chosen is None:
            continue
        record, true = chosen
        said, control = (say(text, data, each, model, processor) for each in (record, int(rng.integers(len(data)))))
        rows[f"{language}: {asked.kind}"].append((is_right(asked, said, true), is_right(asked, control, true)))
        if args.show:
            print(f"{text!r}\n    right {true!r}\n    said  {said!r}")
    print("| questions | number | right | another record |\n|---|---|---|---|")
    for name in sorted(rows):
        right, control = 100 * np.mean(rows[name], axis=0)
        print(f"| {name} | {len(rows[name])} | {right:.1f} % | {control:.1f} % |")


if __name__ == "__main__":
    main()
