"""Scores the findings and answers of a model on one fold of PTB-XL: findings, calibration, sets, closed questions, and
the statements that a number decides.

    python -m heartcare.studies.evaluate_findings --ptbxl PTBXL_FOLDER --model .              # fold 9
    python -m heartcare.studies.evaluate_findings --ptbxl PTBXL_FOLDER --model . --fold 10    # the test fold
    python -m heartcare.studies.evaluate_findings --ptbxl PTBXL_FOLDER --model . --words      # the language model, too

The head's calibration and the thresholds of its sets were fitted on fold 9, so that on it, errors of calibration and
coverage are too good; they are those of new records on fold 10 alone.

The pipeline answers yes/no questions about statements, and options that are statements, by the probabilities that are
scored here. A closed question that they do not answer is given to the language model, which is not asked here: such
questions count as wrong, and their number stands in a column of its own. `--words` asks the language model the same
yes/no questions, with and without the line of measured numbers in its prompt. Intervals are 95 % by bootstrap of
patients. Prints Markdown tables.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from heartcare.agent.qa import DIMENSION_OF, Labels, QuestionBuilder
from heartcare.agent.statements import NAMES
from heartcare.answering_heartcare import Facts, choose
from heartcare.bench.classify import QUESTIONS
from heartcare.bench.metrics.probability import expected_calibration_error, macro_auc
from heartcare.bench.metrics.statistics import interval, mean_interval, patient_draws
from heartcare.bench.models import HeartcareModel
from heartcare.modeling_heartcare import HeartcareForConditionalGeneration
from heartcare.opinion_heartcare import Opinion
from heartcare.scp_heartcare import TOPICS
from heartcare.training.finding_views import View, Views
from heartcare.training.findings import Reader, notes_labels
from heartcare.training.ptbxl import PTBXL
from heartcare.training.statement_labels import AUC_COLUMNS, AUC_RULE, auc_cells, given_statements

from .loading import ptbxl_parser

BOUND = ("PAC", "SARRH", "SBRAD", "1AVB", "LNGQT", "STACH", "CLBBB", "AFIB")  # statements that numbers decide
SUPERCLASSES = 5  # the first of NAMES


def without_numbers(view: View) -> View:
    """Returns a view whose numbers were not measured."""
    return view._replace(numbers=np.full_like(view.numbers, np.nan))


def bound_row(name: str, labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> str:
    """Returns a row with the AUC of each statement that numbers decide."""
    columns = [[NAMES.index(code)] for code in BOUND]
    cells = [auc_text(labels[:, column], scores[:, column], weights) for column in columns]
    return f"| {name} | {' | '.join(cells)} |"


def auc_text(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> str:
    """Returns the macro AUC of labels (records, classes) as text, with its interval."""
    low, high = interval(macro_auc(labels, scores, weights))
    return f"{float(macro_auc(labels, scores)):.3f} [{low:.3f}, {high:.3f}]"


def ask_the_language_model(path: str, folder: Path, data: PTBXL, numbers: bool) -> np.ndarray:
    """Returns the language model's probability of yes for each statement of `BOUND`, in their columns of (records, 76).

    Args:
        path: The model.
        folder: PTB-XL's folder.
        data: Records.
        numbers: If True, the prompt shows the measured numbers.
    """
    model = HeartcareModel(path, "cpu")
    model.processor.write_measurements = numbers
    table, columns = np.zeros((len(data), len(NAMES))), [NAMES.index(code) for code in BOUND]
    for row, record in enumerate(tqdm(data.rows, desc="asking")):
        part = {"type": "ecg", "path": str(folder / record["filename_lr"])}
        table[row, columns] = model.yes_probabilities([part], [QUESTIONS[code] for code in BOUND])
    return table


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


def closed_answers(
    data: PTBXL, logits: np.ndarray, choices: np.ndarray, wordings: dict[str, str], seed: int
) -> dict[str, list[tuple[str, bool | None]]]:
    """Returns the patient of each closed question about the records and whether it is answered right, None where it is
    given to the language model; by dimension and by topic.

    Args:
        data: Records.
        logits: Calibrated logits, (records, labels).
        choices: Logits by which options are chosen, (records, labels).
        wordings: Code of each label -> its words.
        seed: Seed of the options.
    """
    builder, answers = QuestionBuilder(np.random.default_rng(seed), plain=True), defaultdict(list)
    for record, *rows in zip(data.rows, logits, choices):
        labels = Labels(record["scp_codes"], notes=record)
        for topic in TOPICS:
            question = builder.not_too_common(builder.closed(labels, topic))
            if question is None:
                continue
            by_code = [dict(zip(wordings, row)) for row in rows]
            facts = Facts({}, Opinion(by_code[0], wordings), by_code[1])
            answer = choose(question.question, question.options, None, [facts])
            is_right = answer and answer.text.casefold() == question.answer.rstrip(".").casefold()
            answers[DIMENSION_OF[topic]].append((record["patient_id"], is_right))
            if DIMENSION_OF[topic] != topic:
                answers[f"{DIMENSION_OF[topic]}: {topic}"].append((record["patient_id"], is_right))
    return answers


def percent_text(shares: Sequence[float], patients: Sequence[str], seed: int) -> str:
    """Returns the mean of shares from 0 to 1, one for each of `patients`, as text with its interval."""
    return "{:.1f} % [{:.1f}, {:.1f}]".format(*(100 * x for x in mean_interval(shares, patients, seed=seed)))


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = ptbxl_parser(__doc__)
    parser.add_argument("--words", action="store_true", help="ask the language model, too")
    parser.add_argument("--cache", type=Path, default="runs/cache")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    model = HeartcareForConditionalGeneration.from_pretrained(args.model, dtype=torch.float32)
    data = PTBXL(args.ptbxl, [args.fold], args.cache, args.limit)
    views, reader = Views(model.beat, data, args.cache), Reader(model)
    labels = given_statements(data)
    patients = np.array([record["patient_id"] for record in data.rows])
    weights = patient_draws(patients, seed=args.seed)
    whole = views.view("whole")
    raw = reader.logits(whole)
    found = model.findings_head.calibrated(raw)
    probabilities = found.probabilities.double().numpy()

    fitted = ", on which calibration and thresholds were fitted" if args.fold == 9 else ""
    print(f"\nFindings, fold {args.fold}{fitted}, {len(data)} records\n\n| read | {AUC_COLUMNS} |\n|---|{AUC_RULE}")
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

    print("\n| closed questions | number | right | given to the language model |\n|---|---|---|---|")
    logits, choices = found.logits.numpy(), found.choice_logits.numpy()
    for words, answers in closed_answers(data, logits, choices, model.config.wordings, args.seed).items():
        asked, right = zip(*answers)
        share = percent_text([bool(each) for each in right], asked, args.seed)
        print(f"| {words} | {len(right)} | {share} | {right.count(None)} |")

    print("\n| coverage asked | true statements held | statements in a set |\n|---|---|---|")
    true = np.concatenate([labels, np.nan_to_num(notes_labels(data)).astype(bool)], axis=1)
    for coverage in (0.8, 0.9, 0.95):
        held = probabilities >= model.findings_head.threshold(coverage)
        share = (held & true).sum(1) / np.maximum(true.sum(1), 1)
        some = true.any(1)
        text = percent_text(share[some], patients[some], args.seed)
        print(f"| {coverage:.2f} | {text} | {held.sum(1).mean():.1f} |")


if __name__ == "__main__":
    main()
