"""How many questions are understood that were worded by others than those who worded the training questions.

    python -m heartcare.studies.evaluate_questions --model . --half test

Prints a Markdown table: by language and kind of question, how many of `agent/wordings/held_out.jsonl` are understood as
a whole; and how many that cannot be answered are refused, and how many that can be. Every second question is for
developing, and the others are for testing. No ECG is read.
"""

import argparse
from collections import Counter

import torch

from heartcare.agent.wording import held_out
from heartcare.modeling_heartcare import HeartcareForConditionalGeneration
from heartcare.pipeline_heartcare import ECGInterpretationPipeline
from heartcare.processing_heartcare import HeartcareProcessor
from heartcare.understanding_heartcare import Asked

HALVES = ("development", "test")
SAME = {"qtc": "qtc_fridericia", "qtc_bazett": "qtc_fridericia", "qtc_framingham": "qtc_fridericia"}


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
    parser.add_argument("--model", default=".")
    parser.add_argument("--half", choices=HALVES, default="development")
    parser.add_argument("--show", action="store_true", help="print the questions that are not understood")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    pipe = ECGInterpretationPipeline(
        model=HeartcareForConditionalGeneration.from_pretrained(args.model),
        processor=HeartcareProcessor.from_pretrained(args.model),
        device="cpu",
    )
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
