"""Scores what a model finds and answers on one fold of PTB-XL: findings, calibration, sets, closed questions, and the
statements that a number decides.

    python -m heartcare.studies.evaluate_findings --ptbxl PTBXL_FOLDER --model .              # fold 9
    python -m heartcare.studies.evaluate_findings --ptbxl PTBXL_FOLDER --model . --words      # the language model, too

The pipeline answers yes/no questions about statements, and options that are statements, by the probabilities that are
scored here. `--words` asks the language model the same yes/no questions, with and without the line of measured numbers
in its prompt. Intervals are 95 % by bootstrap of patients. Prints Markdown tables.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from heartcare.agent.qa import DIMENSION_OF, TOPICS, Labels, QuestionBuilder
from heartcare.agent.statements import NAMES
from heartcare.answering_heartcare import answer_directly
from heartcare.bench.classify import QUESTIONS
from heartcare.bench.metrics.probability import expected_calibration_error, macro_auc
from heartcare.bench.metrics.statistics import interval, patient_draws
from heartcare.bench.models import HeartcareModel
from heartcare.modeling_heartcare import HeartcareForConditionalGeneration
from heartcare.training.finding_views import View, Views
from heartcare.training.findings import Reader, notes_labels
from heartcare.training.ptbxl import PTBXL
from heartcare.training.statement_labels import AUC_COLUMNS, AUC_RULE, auc_cells, given_statements

BOUND = ("PAC", "SARRH", "SBRAD", "1AVB", "LNGQT", "STACH", "CLBBB", "AFIB")  # statements that numbers decide
SUPERCLASSES = 5  # the first of NAMES


def with_interval(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> str:
    """Returns the macro AUC of labels (records, classes) as text, with its interval."""
    low, high = interval(macro_auc(labels, scores, weights))
    return f"{float(macro_auc(labels, scores)):.3f} [{low:.3f}, {high:.3f}]"


def bound_row(name: str, labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> str:
    """Returns a row with the AUC of each statement that numbers decide."""
    columns = [[NAMES.index(code)] for code in BOUND]
    cells = [with_interval(labels[:, column], scores[:, column], weights) for column in columns]
    return f"| {name} | {' | '.join(cells)} |"


def calibration_rows(labels: np.ndarray, before: np.ndarray, after: np.ndarray) -> Iterator[str]:
    """Yields rows with the calibration error, the share of the answer yes, and the accuracy, before and after
    calibration, of probabilities (records, 76).
    """
    for words, part in (("superclasses", slice(0, SUPERCLASSES)), ("71 statements", slice(SUPERCLASSES, None))):
        for stage, probabilities in (("as trained", before), ("calibrated", after)):
            true, shares = labels[:, part].ravel(), probabilities[:, part].ravel()
            error, yes = expected_calibration_error(true.astype(float), shares), shares >= 0.5
            yield (
                f"| {words} | {stage} | {error:.3f} | {100 * yes.mean():.1f} % of {100 * true.mean():.1f} % | "
                f"{100 * (yes == true).mean():.1f} % |"
            )


def closed_accuracy(data: PTBXL, logits: np.ndarray, choices: np.ndarray, wordings: dict[str, str], seed: int) -> dict:
    """Returns whether each closed question about the records is answered right, by dimension and by topic.

    Args:
        data: Records.
        logits, choices: Calibrated logits, and those of options, (records, labels).
        wordings: Code of each label -> its words.
        seed: Seed of the options.
    """
    builder, right = QuestionBuilder(np.random.default_rng(seed), plain=True), defaultdict(list)
    for record, *rows in zip(data.rows, logits, choices):
        labels = Labels(record["scp_codes"], notes=record)
        for topic in TOPICS:
            question = builder.not_too_common(builder.closed(labels, topic))
            if question is None:
                continue
            by_code = [dict(zip(wordings, row)) for row in rows]
            answer = answer_directly(question.question, question.options, {}, *by_code, wordings)
            is_right = answer is not None and answer.text.casefold() == question.answer.rstrip(".").casefold()
            right[DIMENSION_OF[topic]].append(is_right)
            if DIMENSION_OF[topic] != topic:
                right[f"{DIMENSION_OF[topic]}: {topic}"].append(is_right)
    return right


def ask_the_language_model(path: str, folder: Path, data: PTBXL, numbers: bool) -> np.ndarray:
    """Returns the language model's probability of yes for each statement of `BOUND`, in their columns of (records, 76).

    Args:
        path: The model.
        folder: PTB-XL's folder.
        data: Records.
        numbers: Whether the prompt shows the measured numbers.
    """
    model = HeartcareModel(path, "cpu")
    model.processor.write_measurements = numbers
    table, columns = np.zeros((len(data), len(NAMES))), [NAMES.index(code) for code in BOUND]
    for row, record in enumerate(tqdm(data.rows, desc="asking")):
        part = {"type": "ecg", "path": str(folder / record["filename_lr"])}
        table[row, columns] = model.yes_probabilities([part], [QUESTIONS[code] for code in BOUND])
    return table


def without_numbers(view: View) -> View:
    """Returns a view whose numbers were not measured."""
    return view._replace(numbers=np.full_like(view.numbers, np.nan))


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ptbxl", type=Path, required=True)
    parser.add_argument("--model", default=".")
    parser.add_argument("--fold", type=int, default=9)
    parser.add_argument("--words", action="store_true", help="ask the language model, too")
    parser.add_argument("--cache", type=Path, default="runs/cache")
    parser.add_argument("--limit", type=int, help="number of records at most")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    model = HeartcareForConditionalGeneration.from_pretrained(args.model, dtype=torch.float32)
    data = PTBXL(args.ptbxl, [args.fold], args.cache, args.limit)
    name = f"fold{args.fold}" if args.limit is None else f"fold{args.fold}_{args.limit}"
    views, reader = Views(model.beat, data, args.cache, name), Reader(model)
    labels = given_statements(data)
    weights = patient_draws([record["patient_id"] for record in data.rows], seed=args.seed)
    whole = views.view("whole")
    raw = reader.logits(whole)
    found = model.findings_head.calibrated(raw)
    probabilities = found.probabilities.double().numpy()

    print(f"\nFindings, fold {args.fold}, {len(data)} records\n\n| read | {AUC_COLUMNS} |\n|---|{AUC_RULE}")
    read = {"codes and numbers": whole, "codes alone": without_numbers(whole)}
    read |= {"patterns of leads": views.view("leads"), "windows of 2.5 to 10 s": views.view("window")}
    for words, view in read.items():
        scores = reader.logits(view)[:, : len(NAMES)].double().numpy()
        print(f"| {words} | {auc_cells(data, 1 / (1 + np.exp(-scores)), args.seed)} |", flush=True)

    print(f"\n| answers of | {' | '.join(BOUND)} |\n|---|{'---|' * len(BOUND)}")
    print(bound_row("the pipeline", labels, probabilities[:, : len(NAMES)], weights), flush=True)
    if args.words:
        for words, numbers in (("the language model, numbers in its prompt", True), ("the same without them", False)):
            scores = ask_the_language_model(args.model, args.ptbxl, data, numbers)
            print(bound_row(words, labels, scores, weights), flush=True)

    print("\n| yes or no | | calibration error | yes | right |\n|---|---|---|---|---|")
    for row in calibration_rows(labels, raw.sigmoid().numpy()[:, : len(NAMES)], probabilities[:, : len(NAMES)]):
        print(row)

    print("\n| closed questions | number | right |\n|---|---|---|")
    logits, choices = found.logits.numpy(), found.choice_logits.numpy()
    for words, right in closed_accuracy(data, logits, choices, model.config.wordings, args.seed).items():
        print(f"| {words} | {len(right)} | {100 * np.mean(right):.1f} % |")

    print("\n| coverage asked | true statements held | statements in a set |\n|---|---|---|")
    true = np.concatenate([labels, np.nan_to_num(notes_labels(data)).astype(bool)], axis=1)
    for coverage in (0.8, 0.9, 0.95):
        held = probabilities >= model.findings_head.threshold(coverage)
        share = (held & true).sum(1) / np.maximum(true.sum(1), 1)
        print(f"| {coverage:.2f} | {share[true.any(1)].mean():.3f} | {held.sum(1).mean():.1f} |")


if __name__ == "__main__":
    main()
