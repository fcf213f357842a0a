"""Measures the optimizer's warnings on PTB-XL: suspected limb lead reversal, and the numbers of noise and drift against
the cardiologists' remarks.

    python -m heartcare.studies.evaluate_quality --ptbxl PTBXL_FOLDER --fold 9

Limb electrodes are exchanged in the computer, which is exact: the six limb leads follow from the potentials of three
    electrodes. PTB-XL itself may hold
a few reversed records, so that not every flag on a record as it is is a false one.
"""

import argparse
import csv
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

from heartcare.agent.readers import read_ecg
from heartcare.agent.signal import Optimizer, limb_lead_reversal
from heartcare.bench.metrics.probability import auc

EXCHANGES = {"as it is": "RLF", "LA/RA": "LRF", "RA/LL": "FLR", "LA/LL": "RFL", "RL/limb": "FLF"}


def exchange(signal: np.ndarray, order: str) -> np.ndarray:
    """The twelve leads (12, samples) with the electrodes of right arm, left arm and foot in another order; "FLF" is the
    right arm's electrode on the right leg, whose potential is nearly that of the left one.
    """
    right = -(signal[0] + signal[1]) / 3
    potential = {"R": right, "L": right + signal[0], "F": right + signal[1]}
    right, left, foot = (potential[name] for name in order)
    out = signal.copy()
    out[:6] = [
        left - right,
        foot - right,
        foot - left,
        right - (left + foot) / 2,
        left - (right + foot) / 2,
        foot - (right + left) / 2,
    ]
    return out


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ptbxl", required=True)
    parser.add_argument("--fold", type=int, default=9)
    parser.add_argument("--limit", type=int)
    args = parser.parse_args(argv)

    folder, optimizer = Path(args.ptbxl), Optimizer()
    with open(folder / "ptbxl_database.csv", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if int(row["strat_fold"]) == args.fold][: args.limit]
    flags, numbers = {name: Counter() for name in EXCHANGES}, []
    for row in tqdm(rows):
        optimized = optimizer(read_ecg(folder / row["filename_lr"]))
        numbers.append((optimized.quality.noise.max(), optimized.quality.baseline.max()))
        for name, order in EXCHANGES.items():
            flags[name][limb_lead_reversal(exchange(optimized.signal, order), optimized.sampling_rate)] += 1
    print("| electrodes | flagged rightly | flagged as another exchange | not flagged |\n|---|---|---|---|")
    for name, found in flags.items():
        right, silent = found[name], found[None]
        print(
            f"| {name} | {right / len(rows):.1%} | {(len(rows) - right - silent) / len(rows):.1%} | {silent / len(rows):.1%} |"
        )
    print("\n| number of the worst lead | remark in PTB-XL | records with it | AUC |\n|---|---|---|---|")
    for i, (number, remark) in enumerate((("noise", "static_noise"), ("baseline", "baseline_drift"))):
        remarked = np.array([bool((row.get(remark) or "").strip()) for row in rows])
        print(
            f"| {number} | {remark} | {remarked.sum()} | {auc(remarked, np.array([each[i] for each in numbers])):.3f} |"
        )


if __name__ == "__main__":
    main()
