"""ECG files to an instruction data set: HeartAgent on a folder of your own.

python examples/walkthroughs/4_build_a_data_set.py
"""

# %% Files of any format. Here, simulated ones, with a table of what is known about them.
import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from heartcare.agent.simulate import FORMS, RHYTHMS, simulate_ecg

folder = Path(tempfile.mkdtemp())
with open(folder / "mine.csv", "w", newline="") as file:
    table = csv.DictWriter(file, ["path", "patient_id", "age", "sex", "scp_codes"])
    table.writeheader()
    for k in range(20):
        ecg = simulate_ecg(list(RHYTHMS)[k % len(RHYTHMS)], FORMS[k % len(FORMS)], seed=k)
        np.savez(folder / f"{k}.npz", signal=ecg.signal, sampling_rate=ecg.sampling_rate, units="mV")
        table.writerow(
            {"path": folder / f"{k}.npz", "patient_id": k, "age": 40 + k, "sex": "female", "scp_codes": ecg.statements}
        )

# %% One command.
command = [
    sys.executable,
    "-m",
    "heartcare.agent",
    "build",
    "--source",
    str(folder / "mine.csv"),
    "--out",
    str(folder / "data"),
]
print(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

# %% A data set like any other.
from datasets import load_dataset

data = load_dataset(str(folder / "data"))
print({name: len(split) for name, split in data.items()})
row = next(row for row in data["train"] if row["task"] == "closed-qa")
print(row["question"], "->", row["answer"])
print((folder / "data/rejected.jsonl").read_text() or "no file was rejected")
