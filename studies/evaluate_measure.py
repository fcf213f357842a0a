"""How well the waves are found: on simulated ECGs, whose onsets and ends are known, and on PTB-XL by what its
statements imply.

    python -m heartcare.studies.evaluate_measure                          # simulated
    python -m heartcare.studies.evaluate_measure --neurokit               # and neurokit2 beside it, where it is installed
    python -m heartcare.studies.evaluate_measure --ptbxl PTBXL_FOLDER     # and PTB-XL

Prints Markdown tables. Errors are mean absolute ones in ms, of the waves that were found; "found" and "invented" are
shares of the beats that have the wave and of those that have none. Neurokit2 works on one lead, lead II, by its wavelet
method.
"""

import argparse
import ast
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from heartcare.agent.delineate import Waves, delineate, measure_ecg
from heartcare.agent.measure import match_peaks
from heartcare.agent.simulate import FORMS, RHYTHMS, simulate_ecg
from heartcare.bench.metrics.probability import auc
from heartcare.processing_heartcare import BeatFeatureExtractor

EDGES = ("QRS onset", "QRS end", "T end", "P onset", "P end")


def ours(signal: np.ndarray, sampling_rate: float) -> tuple[np.ndarray, list[Waves]]:
    found = delineate(signal, sampling_rate)
    return found.r_peaks, found.beats


def neurokit(signal: np.ndarray, sampling_rate: float) -> tuple[np.ndarray, list[Waves]]:
    import neurokit2

    lead = neurokit2.ecg_clean(signal[1], sampling_rate)
    peaks = neurokit2.ecg_peaks(lead, sampling_rate)[1]["ECG_R_Peaks"]
    _, waves = neurokit2.ecg_delineate(lead, peaks, sampling_rate, method="dwt")
    spans = []
    for wave in ("P", "R", "T"):
        edges = [np.asarray(waves[f"ECG_{wave}_{edge}"], float) / sampling_rate for edge in ("Onsets", "Offsets")]
        spans.append([None if np.isnan(span).any() else span for span in zip(*edges)])
    return np.asarray(peaks) / sampling_rate, [Waves(*each) for each in zip(*spans)]


def simulated(method, seeds: int, sampling_rate: int) -> dict[str, dict]:
    """rhythm -> its sums over all forms and seeds: "errors", edge -> seconds; "beats", (matched, true, found); "p",
    "t", counts of (there, found of these, not there, found all the same).
    """
    extractor = BeatFeatureExtractor(sampling_rate=sampling_rate)
    table = {}
    for rhythm in RHYTHMS:
        row = table[rhythm] = {"errors": defaultdict(list), "beats": np.zeros(3), "P": np.zeros(4), "T": np.zeros(4)}
        for form in FORMS:
            for seed in range(seeds):
                ecg = simulate_ecg(rhythm, form, seed=seed)
                signal, _, _ = extractor.prepare({"ecg": ecg.signal, "sampling_rate": ecg.sampling_rate, "units": "mV"})
                compare(ecg, *method(signal, sampling_rate), row)
    return table


def compare(ecg, peaks: np.ndarray, beats: list[Waves], row: dict):
    truth = np.array(ecg.r_peaks)
    row["beats"] += [match_peaks(1000 * truth, 1000 * peaks, 50), len(truth), len(peaks)]
    for k, peak in enumerate(truth):
        if not len(peaks) or abs(peaks - peak).min() > 0.05:
            continue
        waves = beats[int(abs(peaks - peak).argmin())]
        pairs = [(waves.qrs, ecg.qrs[k], EDGES[:2])]
        if 0 < k < len(truth) - 1:  # whose P and T waves are whole
            pairs += [(waves.p, ecg.p[k], EDGES[3:]), (waves.t, ecg.t[k], (None, EDGES[2]))]
            for name, found, there in (("P", waves.p, ecg.p[k]), ("T", waves.t, ecg.t[k])):
                row[name] += [there is not None, bool(there and found), there is None, bool(found and not there)]
        for found, there, edges in pairs:
            for edge, a, b in zip(edges, found or (), there or ()):
                if edge:
                    row["errors"][edge].append(a - b)


def print_simulated(title: str, table: dict[str, dict]):
    print(
        f"\n| {title} | R F1 | {' | '.join(EDGES)} | P found | P invented | T found |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    everything = {"errors": defaultdict(list), "beats": 0, "P": 0, "T": 0}
    for row in table.values():
        for key in ("beats", "P", "T"):
            everything[key] = everything[key] + row[key]
        for edge, values in row["errors"].items():
            everything["errors"][edge] += values
    for name, row in {**table, "all": everything}.items():
        matched, true, found = row["beats"]
        errors = [
            f"{1000 * np.mean(np.abs(row['errors'][edge])):.1f}" if row["errors"][edge] else "–" for edge in EDGES
        ]
        shares = [f"{a / b:.1%}" if b else "–" for b, a in (row["P"][:2], row["P"][2:], row["T"][:2])]
        print(f"| {name} | {2 * matched / (true + found):.4f} | {' | '.join(errors)} | {' | '.join(shares)} |")


def print_ptbxl(folder: Path, fold: int, limit: int | None):
    """What a statement implies for a number, and how well the number tells records with it from those without."""
    extractor = BeatFeatureExtractor()
    with open(folder / "ptbxl_database.csv", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if int(row["strat_fold"]) == fold][:limit]
    codes, measured = [], []
    for row in tqdm(rows, desc="measuring"):
        (record,) = extractor.fetch_ecg(folder / row["filename_lr"])
        measured.append(measure_ecg(extractor.prepare(record)[0], extractor.sampling_rate))
        codes.append(ast.literal_eval(row["scp_codes"]))
    print(
        "\n| statement | records | number | its median with / without the statement | absent with / without | AUC |\n|---|---|---|---|---|---|"
    )
    for code, name, sign in (
        ("NORM", "qrs", -1), ("CLBBB", "qrs", 1), ("CRBBB", "qrs", 1), ("1AVB", "pr", 1), ("AFIB", "pr", 0), ("LNGQT", "qtc", 1),
        ("STACH", "heart_rate", 1), ("SBRAD", "heart_rate", -1), ("LAFB", "axis", -1),
    ):  # fmt: skip
        has = np.array([code in each for each in codes])
        values = np.array([np.nan if getattr(each, name) is None else getattr(each, name) for each in measured])
        there = ~np.isnan(values)
        medians = " / ".join(
            f"{np.median(values[there & group]):.0f}" if (there & group).any() else "–" for group in (has, ~has)
        )
        absent = " / ".join(f"{1 - there[group].mean():.1%}" if group.any() else "–" for group in (has, ~has))
        score = f"{auc(has[there], sign * values[there]):.3f}" if sign and 0 < has[there].sum() < there.sum() else "–"
        print(f"| {code} | {has.sum()} | {name} | {medians} | {absent} | {score} |")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6, help="simulated ECGs of each rhythm and form")
    parser.add_argument("--sampling-rate", type=int, default=500)
    parser.add_argument("--neurokit", action="store_true")
    parser.add_argument("--ptbxl", help="PTB-XL in its official layout")
    parser.add_argument("--fold", type=int, default=9)
    parser.add_argument("--limit", type=int)
    args = parser.parse_args(argv)
    print_simulated("ours, ms", simulated(ours, args.seeds, args.sampling_rate))
    if args.neurokit:
        print_simulated("neurokit2, lead II, ms", simulated(neurokit, args.seeds, args.sampling_rate))
    if args.ptbxl:
        print_ptbxl(Path(args.ptbxl), args.fold, args.limit)


if __name__ == "__main__":
    main()
