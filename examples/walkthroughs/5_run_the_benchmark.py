"""Score a model on ECGs of your own, with the control rows that tell reading from guessing.

python examples/walkthroughs/5_run_the_benchmark.py
"""

# %% A data set, as in the walk-through before.
import csv
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from heartcare.agent.__main__ import main as agent
from heartcare.agent.simulate import FORMS, RHYTHMS, simulate_ecg
from heartcare.bench.__main__ import main as bench

REPO = sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).resolve().parents[2])
folder = Path(tempfile.mkdtemp())
with open(folder / "mine.csv", "w", newline="") as file:
    table = csv.DictWriter(file, ["path", "patient_id", "scp_codes", "fold"])
    table.writeheader()
    for k in range(30):
        ecg = simulate_ecg(list(RHYTHMS)[k % len(RHYTHMS)], FORMS[k // 2 % len(FORMS)], seed=k)
        np.savez(folder / f"{k}.npz", signal=ecg.signal, sampling_rate=ecg.sampling_rate, units="mV")
        table.writerow(
            {
                "path": folder / f"{k}.npz",
                "patient_id": k,
                "scp_codes": ecg.statements,
                "fold": 10 if k % 2 else 1 + k % 8,
            }
        )
agent(["build", "--source", str(folder / "mine.csv"), "--out", str(folder / "data"), "--no-images"])

# %% The items, chosen once, so that every model gets the same.
bench(["freeze", "--data", str(folder / "data"), "--out", str(folder / "items.json"), "--per-group", "6"])

# %% A model, and its control rows.
run = [
    "run",
    "--model",
    REPO,
    "--name",
    "mine",
    "--data",
    str(folder / "data"),
    "--manifest",
    str(folder / "items.json"),
    "--out",
    str(folder / "scores"),
]
bench([*run, "--subset", "S", "--tasks", "closed-qa", "report"])
scores = json.loads((folder / "scores/mine.json").read_text())
print(list(scores))

# %% A page to read: SCORES/report.html.
bench(["report", str(folder / "scores"), "--data", str(folder / "data"), "--manifest", str(folder / "items.json")])
print((folder / "scores/report.html").stat().st_size, "bytes")
