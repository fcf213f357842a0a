"""Scores the answers about pages against the answers about their signals: findings, and answers that change.

    python -m heartcare.studies.evaluate_pages --ptbxl PTBXL_FOLDER --model . --fold 9 --records 200

Each record is drawn as a device prints it (agent/device_pages.py), at 150, 200 or 300 dpi, and seen by a scanner or a
camera of one kind (agent/scans.py), one kind after the other. --test-only takes the devices and kinds on which nothing
was tuned. The pipeline reads the signal; the picture, digitised where that can be done; and the picture once more by
the ViT alone. The answers to all statements that the model knows are compared, yes or no; those about the five
superclasses, which are the hardest, have columns of their own. Intervals are 95 % by bootstrap of patients. Prints
Markdown tables.
"""

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from heartcare.agent.device_pages import draw_page, random_style
from heartcare.agent.statements import NAMES, truth
from heartcare.bench.metrics.probability import macro_auc
from heartcare.bench.metrics.statistics import interval, mean_interval, patient_draws
from heartcare.opinion_heartcare import STATED
from heartcare.pipeline_heartcare import ECGInterpretationPipeline
from heartcare.reading_heartcare import read_ecg

from .evaluate_digitizing import DPI, pages_asked_for, parser_of_pages
from .loading import load_pipeline

READINGS = ("the signal", "the picture", "the picture, by the ViT alone")
SUPERCLASSES = 5  # the first of NAMES


@dataclass
class Seen:
    """Holds the answers about some pictures.

    Attributes:
        patients: Patient of each picture.
        kinds: Kind of each picture.
        digitized: True for each picture that was digitised.
        labels: The cardiologists' statements for each picture, bool (76,).
        shares: Reading -> probabilities for each picture, (76,).
    """

    patients: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    digitized: list[bool] = field(default_factory=list)
    labels: list[np.ndarray] = field(default_factory=list)
    shares: dict[str, list[np.ndarray]] = field(default_factory=lambda: {name: [] for name in READINGS})


def evaluate(pipe: ECGInterpretationPipeline, folder: Path, rows: list[dict], kinds: dict, devices: dict) -> Seen:
    """Reads each record as a signal and as a picture of one kind."""
    seen = Seen()
    for number, row in enumerate(tqdm(rows, desc="pages")):
        rng = np.random.default_rng([int(row["ecg_id"])])
        ecg = read_ecg(folder / row["filename_lr"])
        style = random_style(rng, devices)
        page, _ = draw_page(ecg.signal, ecg.sampling_rate, style, DPI[int(rng.integers(len(DPI)))])
        kind = list(kinds)[number % len(kinds)]
        picture = kinds[kind](page, rng)
        found = [shares_of(pipe, ecg), shares_of(pipe, picture), shares_of(pipe, picture, digitize=False)]
        for name, (shares, _) in zip(READINGS, found):
            seen.shares[name].append(shares)
        seen.patients.append(row["patient_id"])
        seen.kinds.append(kind)
        seen.digitized.append(found[1][1])
        seen.labels.append(truth(ast.literal_eval(row["scp_codes"])))
    return seen


def shares_of(pipe: ECGInterpretationPipeline, given: Any, **stated: Any) -> tuple[np.ndarray, bool]:
    """Returns the probabilities of all statements, and whether a picture was digitised."""
    prepared = pipe.forward(pipe.preprocess(given, **stated))
    opinion = pipe.facts(prepared)[0].opinion
    return np.array([opinion.shares.get(code, np.nan) for code in NAMES]), "page" in prepared["kinds"]


def print_tables(seen: Seen, seed: int) -> None:
    """Prints the AUC of each reading, and by kind of picture the share of answers that are those of the signal."""
    digitized, kinds = np.array(seen.digitized), np.array(seen.kinds)
    frequent = np.stack(seen.labels).sum(axis=0) >= 10
    print("\n| read | superclasses, all pictures | digitised ones | statements with 10 and more, digitised ones |")
    print("|---|---|---|---|")
    superclasses = slice(0, SUPERCLASSES)
    for name in READINGS:
        parts = (np.ones(len(kinds), bool), superclasses), (digitized, superclasses), (digitized, frequent)
        print(f"| {name} | {' | '.join(auc_text(seen, name, *part, seed) for part in parts)} |")
    print(
        "\n| kind | pictures | digitised | same answer, all statements | superclasses | ViT alone, all | superclasses |"
    )
    print("|---|---|---|---|---|---|---|")
    stated = {name: np.stack(shares) >= STATED for name, shares in seen.shares.items()}
    same = {name: stated[name] == stated[READINGS[0]] for name in READINGS[1:]}
    for kind in dict.fromkeys(seen.kinds):
        own = (kinds == kind) & digitized
        patients, cells = np.array(seen.patients)[own], []
        for name in READINGS[1:]:
            for columns in (slice(None), superclasses):
                shares = same[name][own][:, columns].mean(axis=1)
                cells.append("{:.1f} % [{:.1f}, {:.1f}]".format(*(100 * x for x in mean_interval(shares, patients))))
        print(f"| {kind} | {(kinds == kind).sum()} | {own.sum()} | {' | '.join(cells)} |")


def auc_text(seen: Seen, name: str, chosen: np.ndarray, columns: np.ndarray | slice, seed: int) -> str:
    """Returns the macro AUC of some statements in some pictures as text, with its interval."""
    labels = np.stack(seen.labels)[chosen][:, columns]
    if not labels.size:
        return "–"
    shares = np.nan_to_num(np.stack(seen.shares[name])[chosen][:, columns], nan=0.0)
    weights = patient_draws(np.array(seen.patients)[chosen], seed=seed)
    low, high = interval(macro_auc(labels, shares, weights))
    return f"{float(macro_auc(labels, shares)):.3f} [{low:.3f}, {high:.3f}]"


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = parser_of_pages(__doc__)
    parser.add_argument("--model", default=".")
    args = parser.parse_args(argv)
    rows, devices, kinds = pages_asked_for(args)
    print_tables(evaluate(load_pipeline(args.model), args.ptbxl, rows, kinds, devices), args.seed)


if __name__ == "__main__":
    main()
