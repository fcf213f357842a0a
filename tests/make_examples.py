"""Writes the example ECGs of the seeded simulator: WFDB records at 500 Hz, and pictures of them.

python tests/make_examples.py --output examples/ecgs
"""

import argparse
from pathlib import Path

import numpy as np
import wfdb

from heartcare.agent.render import draw_ecg
from heartcare.agent.simulate import simulate_ecg
from heartcare.ecg_heartcare import LEADS

EXAMPLES = {
    "sinus_rhythm": {"rhythm": "SR", "form": "NORM", "seed": 3},
    "atrial_fibrillation": {"rhythm": "AFIB", "form": "NORM", "seed": 1},
    "right_bundle_branch_block": {"rhythm": "SR", "form": "CRBBB", "seed": 1},
}


def write_wfdb(folder: Path, name: str, signal: np.ndarray, sampling_rate: int, units: str = "mV") -> None:
    """Writes a signal (12, samples) in mV as NAME.hea and NAME.dat, in steps of 1 uV."""
    folder.mkdir(parents=True, exist_ok=True)
    digital = np.round(signal.T * 1000).astype(np.int16)
    wfdb.wrsamp(
        name,
        fs=sampling_rate,
        units=[units] * signal.shape[0],
        sig_name=list(LEADS),
        d_signal=digital,
        fmt=["16"] * signal.shape[0],
        adc_gain=[1000.0] * signal.shape[0],
        baseline=[0] * signal.shape[0],
        write_dir=str(folder),
    )


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default="examples/ecgs")
    args = parser.parse_args(argv)
    for name, options in EXAMPLES.items():
        ecg = simulate_ecg(**options)
        write_wfdb(Path(args.output), name, ecg.signal, ecg.sampling_rate)
        draw_ecg(ecg.signal, ecg.sampling_rate, header=name).quantize(32).save(
            Path(args.output) / f"{name}.png", optimize=True
        )
        print(name, ecg.statements, f"{ecg.heart_rate:.0f} bpm")


if __name__ == "__main__":
    main()
