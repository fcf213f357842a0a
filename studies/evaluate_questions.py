"""Counts the questions that are understood, of people who did not word the training questions.

    python -m heartcare.studies.evaluate_questions --model . --half test

Prints a Markdown table: by language and kind of question, the share of `agent/wordings/held_out.jsonl` that is
understood as a whole. Below it stand the numbers of questions that are refused: of those that cannot be answered, and
of the others. Every second question is for developing, and the others are for testing. No ECG is read.
"""

import argparse
from collections import Counter

import torch

from heartcare.agent.wording import held_out
from heartcare.training.questions import is_understood

from .loading import load_pipeline

HALVES = ("development", "test")


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=".")
    parser.add_argument("--half", choices=HALVES, default="development")
    parser.add_argument("--show", action="store_true", help="print the questions that are not understood")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    pipe = load_pipeline(args.model)
    right, refused, total = Counter(), Counter(), Counter()
    for text, true, language in held_out()[HALVES.index(args.half) :: 2]:
        found = pipe.understand(text)
        group = language if language in ("en", "de") else "other", true.kind
        total[group] += 1
        right[group] += is_understood(found, true)
        refused[true.kind == "cannot"] += found is None or found.kind == "cannot"
        if args.show and not is_understood(found, true):
            print(f"{text!r}\n    asked {true}\n    found {found}")
    print("| language | kind | questions | understood |\n|---|---|---|---|")
    for group in sorted(total):
        print(f"| {group[0]} | {group[1]} | {total[group]} | {100 * right[group] / total[group]:.1f} % |")
    for language in ("en", "de"):
        count = sum(total[group] for group in total if group[0] == language)
        known = sum(right[group] for group in total if group[0] == language)
        print(f"| {language} | all | {count} | {100 * known / count:.1f} % |")
    cannot = sum(total[group] for group in total if group[1] == "cannot")
    rest = sum(total.values()) - cannot
    print(f"\n{refused[True]} of {cannot} that cannot be answered are refused, and {refused[False]} of {rest} others.")


if __name__ == "__main__":
    main()
