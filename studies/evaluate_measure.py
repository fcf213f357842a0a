"""Measures the delineation: on simulated ECGs, whose onsets and ends are known, and on PTB-XL by the numbers that its
statements imply.

    python -m heartcare.studies.evaluate_measure                          # simulated ECGs
    python -m heartcare.studies.evaluate_measure --neurokit               # and neurokit2, where it is installed
    python -m heartcare.studies.evaluate_measure --ptbxl PTBXL_FOLDER     # and PTB-XL

Prints Markdown tables. Errors are mean absolute ones in ms, over the waves that were found; "found" and "invented" are
shares of the beats that have the wave and of those that have none. Neurokit2 works on one lead, lead II, by its wavelet
method.
"""

import argparse
import ast
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from heartcare.agent.delineate import Waves, delineate, measure_ecg
from heartcare.agent.measure import match_peaks
from heartcare.agent.simulate import FORMS, RHYTHMS, SimulatedECG, simulate_ecg
from heartcare.agent.sources import read_ptbxl_table
from heartcare.bench.metrics.probability import auc
from heartcare.processing_heartcare import BeatFeatureExtractor

EDGES = ("QRS onset", "QRS end", "T end", "P onset", "P end")


def ours(signal: np.ndarray, sampling_rate: float) -> tuple[np.ndarray, list[Waves]]:
    """R peaks in seconds, and the waves of each beat, by HeartAgent."""
    delineation = delineate(signal, sampling_rate)
    return delineation.r_peaks, delineation.beats


def neurokit(signal: np.ndarray, sampling_rate: float) -> tuple[np.ndarray, list[Waves]]:
    """As `ours`, by neurokit2 on lead II."""
    import neurokit2

    lead = neurokit2.ecg_clean(signal[1], sampling_rate)
    peaks = neurokit2.ecg_peaks(lead, sampling_rate)[1]["ECG_R_Peaks"]
    _, waves = neurokit2.ecg_delineate(lead, peaks, sampling_rate, method="dwt")
    spans = []
    for wave in ("P", "R", "T"):
        edges = [np.asarray(waves[f"ECG_{wave}_{edge}"], float) / sampling_rate for edge in ("Onsets", "Offsets")]
        spans.append([None if np.isnan(span).any() else span for span in zip(*edges)])
    return np.asarray(peaks) / sampling_rate, [Waves(*each) for each in zip(*spans)]


def simulated(method: Callable, seeds: int, sampling_rate: int) -> dict[str, dict]:
    """Sums over all forms and seeds for each rhythm.

    Args:
        method: `ours` or `neurokit`.
        seeds: Number of ECGs of each rhythm and form.
        sampling_rate: Hz.

    Returns:
        Rhythm -> "errors", edge -> list of seconds; "beats", numbers of beats (matched, true, detected); "P" and "T",
        numbers of waves (present, detected of these, absent, detected all the same).
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


def compare(ecg: SimulatedECG, peaks: np.ndarray, beats: list[Waves], row: dict) -> None:
    """Adds the beats of one ECG to the sums of its rhythm."""
    truth = np.array(ecg.r_peaks)
    row["beats"] += [match_peaks(1000 * truth, 1000 * peaks, 50), len(truth), len(peaks)]
    for k, peak in enumerate(truth):
        if not len(peaks) or abs(peaks - peak).min() > 0.05:
            continue
        waves = beats[int(abs(peaks - peak).argmin())]
        pairs = [(waves.qrs, ecg.qrs[k], EDGES[:2])]
        if 0 < k < len(truth) - 1:  # whose P and T waves are whole
            pairs += [(waves.p, ecg.p[k], EDGES[3:]), (waves.t, ecg.t[k], (None, EDGES[2]))]
            for name, wave, true in (("P", waves.p, ecg.p[k]), ("T", waves.t, ecg.t[k])):
                row[name] += [true is not None, bool(true and wave), true is None, bool(wave and not true)]
        for wave, true, edges in pairs:
            for edge, a, b in zip(edges, wave or (), true or ()):
                if edge:
                    row["errors"][edge].append(a - b)


def print_simulated(title: str, table: dict[str, dict]) -> None:
    """Prints the sums of `simulated`."""
    print(f"\n| {title} | R F1 | {' | '.join(EDGES)} | P found | P invented | T found |\n|{10 * '---|'}")
    everything = {"errors": defaultdict(list), "beats": 0, "P": 0, "T": 0}
    for row in table.values():
        for key in ("beats", "P", "T"):
            everything[key] = everything[key] + row[key]
        for edge, values in row["errors"].items():
            everything["errors"][edge] += values
    for name, row in {**table, "all": everything}.items():
        matched, true, detected = row["beats"]
        errors = [
            f"{1000 * np.mean(np.abs(row['errors'][edge])):.1f}" if row["errors"][edge] else "–" for edge in EDGES
        ]
        shares = [f"{a / b:.1%}" if b else "–" for b, a in (row["P"][:2], row["P"][2:], row["T"][:2])]
        print(f"| {name} | {2 * matched / (true + detected):.4f} | {' | '.join(errors)} | {' | '.join(shares)} |")


def print_ptbxl(folder: Path, fold: int, limit: int | None) -> None:
    """Prints the number that a statement implies, and how well it tells records with the statement from others."""
    extractor = BeatFeatureExtractor()
    codes, measured = [], []
    for row in tqdm(read_ptbxl_table(folder, [fold], limit), desc="measuring"):
        (record,) = extractor.fetch_ecg(folder / row["filename_lr"])
        measured.append(measure_ecg(extractor.prepare(record)[0], extractor.sampling_rate))
        codes.append(ast.literal_eval(row["scp_codes"]))
    columns = "statement | records | number | its median with / without the statement | absent with / without | AUC"
    print(f"\n| {columns} |\n|{6 * '---|'}")
    for code, name, sign in (
        ("NORM", "qrs", -1), ("CLBBB", "qrs", 1), ("CRBBB", "qrs", 1), ("1AVB", "pr", 1), ("AFIB", "pr", 0), ("LNGQT",
        "qtc", 1), ("STACH", "heart_rate", 1), ("SBRAD", "heart_rate", -1), ("LAFB", "axis", -1),
    ):  # fmt: skip
        has = np.array([code in each for each in codes])
        values = np.array([np.nan if getattr(each, name) is None else getattr(each, name) for each in measured])
        known = ~np.isnan(values)
        medians = " / ".join(
            f"{np.median(values[known & group]):.0f}" if (known & group).any() else "–" for group in (has, ~has)
        )
        absent = " / ".join(f"{1 - known[group].mean():.1%}" if group.any() else "–" for group in (has, ~has))
        score = f"{auc(has[known], sign * values[known]):.3f}" if sign and 0 < has[known].sum() < known.sum() else "–"
        print(f"| {code} | {has.sum()} | {name} | {medians} | {absent} | {score} |")


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6, help="simulated ECGs of each rhythm and form")
    parser.add_argument("--sampling-rate", type=int, default=500)
    parser.add_argument("--neurokit", action="store_true", help="neurokit2 beside it")
    parser.add_argument("--ptbxl", help="PTB-XL in its official layout")
    parser.add_argument("--fold", type=int, default=9)
    parser.add_argument("--limit", type=int, help="number of records of PTB-XL at most")
    args = parser.parse_args(argv)
    print_simulated("ours, ms", simulated(ours, args.seeds, args.sampling_rate))
    if args.neurokit:
        print_simulated("neurokit2, lead II, ms", simulated(neurokit, args.seeds, args.sampling_rate))
    if args.ptbxl:
        print_ptbxl(Path(args.ptbxl), args.fold, args.limit)


if __name__ == "__main__":
    main()
