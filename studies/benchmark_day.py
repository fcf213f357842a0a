"""From the file of a day to a table: seconds and peak memory of `heartcare table` for 24 h of three leads at 250 Hz.

    python -m heartcare.studies.benchmark_day --model .

Writes a simulated day (several rhythms, ectopic beats, noise that changes) as WFDB and as .npz, and reads each by the
command in a process of its own, as a user does: loading, reading the file, measuring, the windows that stand for it,
and the table. Prints a Markdown table; peak memory is that of the whole process, PyTorch included.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from heartcare.agent.simulate import simulate_ecg
from heartcare.configuration_heartcare import LEADS

RATE = 250  # Hz
NAMES = ("I", "II", "V5")
MINUTES = 48  # number of minutes that are simulated; the day repeats them
KINDS = [("SR", "NORM"), ("SR", "PVC"), ("AFIB", "NORM"), ("SBRAD", "NORM"), ("STACH", "NORM"), ("SR", "LOWT")]
STEPS_PER_MV = 1000
SHOWN = ("window_start_s", "window_reason", "heart_rate_per_min", "early_beats", "wide_beats")


def simulate_day(hours: float) -> np.ndarray:
    """Returns a recording float32 (3, samples) in mV."""
    rows = [LEADS.index(name) for name in NAMES]
    minutes = [
        simulate_ecg(*KINDS[k % len(KINDS)], 60, RATE, noise_mv=0.005 * (1 + k % 4), seed=k).signal[rows]
        for k in range(MINUTES)
    ]
    part = np.concatenate(minutes, axis=1)
    samples = round(hours * 3600 * RATE)
    return np.tile(part, -(-samples // part.shape[1]))[:, :samples]


def write_files(folder: Path, day: np.ndarray) -> dict[str, Path]:
    """Writes a recording in both formats: name of the format -> folder that holds it alone."""
    folders = {"WFDB, 16 bits": folder / "wfdb", ".npz, float32": folder / "npz"}
    for each in folders.values():
        each.mkdir()
    counts = np.round(day * STEPS_PER_MV).astype("<i2")
    counts.T.tofile(folder / "wfdb" / "day.dat")
    lines = [f"day {len(day)} {RATE} {day.shape[1]}"]
    lines += [
        f"day.dat 16 {STEPS_PER_MV}(0)/mV 16 0 {row[0]} 0 0 {name}" for name, row in zip(NAMES, counts, strict=True)
    ]
    (folder / "wfdb" / "day.hea").write_text("\n".join(lines) + "\n")
    np.savez(folder / "npz" / "day.npz", signal=day, sampling_rate=RATE, lead_names=NAMES, units="mV")
    return folders


def make_table(folder: Path, out: Path, model: str) -> tuple[float, float]:
    """Runs the command. Returns its seconds and its peak resident memory in MiB, on Linux."""
    command = [sys.executable, "-W", "ignore", "-m", "heartcare", "table", folder, "--out", out, "--model", model]
    started = time.perf_counter()
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0.0
    while process.poll() is None:
        # Not the usage that `wait` tells: it counts what this process held when it started the other one.
        peak = max(peak, peak_mib(process.pid))
        time.sleep(0.02)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise RuntimeError(f"The command ended with status {process.returncode}; run it by hand to see why: {command}")
    return seconds, peak


def peak_mib(process: int) -> float:
    """Returns the peak resident memory of a process in MiB, on Linux; 0 for one that has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=".")
    parser.add_argument("--hours", type=float, default=24.0)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        day = simulate_day(args.hours)
        print("| file | MiB | seconds | peak memory, MiB | rows |\n|---|---|---|---|---|")
        for name, source in write_files(folder, day).items():
            out = folder / f"{source.name}.csv"
            seconds, memory = make_table(source, out, args.model)
            size = sum(file.stat().st_size for file in source.iterdir()) / 2**20
            with open(out, encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            print(f"| {name} | {size:.0f} | {seconds:.1f} | {memory:.0f} | {len(rows)} |", flush=True)
        print(f"\nThe windows: {'; '.join(SHOWN)}")
        for row in rows:
            print("; ".join(row[column] for column in SHOWN))


if __name__ == "__main__":
    main()
