"""Measures the optimizer's warnings on PTB-XL: suspected limb lead reversal, and the numbers of noise and drift against
the cardiologists' remarks.

    python -m heartcare.studies.evaluate_quality --ptbxl PTBXL_FOLDER --fold 9

Limb electrodes are exchanged by calculation, which is exact: the six limb leads follow from the potentials of three
electrodes. PTB-XL itself may hold a few reversed records, so a flag on an unchanged record is not always a false one.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from tqdm import tqdm

from heartcare.agent.readers import read_ecg
from heartcare.agent.signal import Optimizer, limb_lead_reversal
from heartcare.agent.sources import read_ptbxl_table
from heartcare.bench.metrics.probability import auc

EXCHANGES = {"as it is": "RLF", "LA/RA": "LRF", "RA/LL": "FLR", "LA/LL": "RFL", "RL/limb": "FLF"}


def exchange(signal: np.ndarray, order: str) -> np.ndarray:
    """Exchanges limb electrodes.

    Args:
        signal: The twelve leads (12, samples).
        order: Electrodes ("R", "L", "F") at the places of right arm, left arm and foot. "FLF" stands for the right
            arm's electrode on the right leg, whose potential is nearly that of the left one.

    Returns:
        The twelve leads (12, samples) of the exchanged electrodes.
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
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ptbxl", required=True, help="PTB-XL in its official layout")
    parser.add_argument("--fold", type=int, default=9)
    parser.add_argument("--limit", type=int, help="number of records at most")
    args = parser.parse_args(argv)

    optimizer = Optimizer()
    rows = read_ptbxl_table(args.ptbxl, [args.fold], args.limit)
    flags, numbers = {name: Counter() for name in EXCHANGES}, []
    for row in tqdm(rows):
        optimized = optimizer(read_ecg(Path(args.ptbxl) / row["filename_lr"]))
        numbers.append((np.nanmax(optimized.quality.noise), np.nanmax(optimized.quality.drift)))
        for name, order in EXCHANGES.items():
            flags[name][limb_lead_reversal(exchange(optimized.signal, order), optimized.sampling_rate)] += 1
    print("| electrodes | flagged rightly | flagged as another exchange | not flagged |\n|---|---|---|---|")
    for name, counts in flags.items():
        right, silent = counts[name], counts[None]
        shares = [count / len(rows) for count in (right, len(rows) - right - silent, silent)]
        print(f"| {name} | {' | '.join(f'{share:.1%}' for share in shares)} |")
    print("\n| number of the worst lead | remark in PTB-XL | records with it | AUC |\n|---|---|---|---|")
    for i, (number, remark) in enumerate((("noise", "static_noise"), ("baseline", "baseline_drift"))):
        remarked = np.array([bool((row.get(remark) or "").strip()) for row in rows])
        score = auc(remarked, np.array([values[i] for values in numbers]))
        print(f"| {number} | {remark} | {remarked.sum()} | {score:.3f} |")


if __name__ == "__main__":
    main()
