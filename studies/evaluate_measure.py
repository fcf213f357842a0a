"""Measures the delineation: on simulated ECGs, whose onsets and ends are known; on LUDB, where cardiologists marked
them; and on PTB-XL by the numbers that its statements imply.

    python -m heartcare.studies.evaluate_measure                          # simulated ECGs
    python -m heartcare.studies.evaluate_measure --neurokit               # and neurokit2, where it is installed
    python -m heartcare.studies.evaluate_measure --ludb LUDB_FOLDER       # and LUDB
    python -m heartcare.studies.evaluate_measure --ptbxl PTBXL_FOLDER     # and PTB-XL

LUDB (Kalyakulina et al., 2020) is read as PhysioNet has it: a record in WFDB format, and for each lead a file of
annotations. Thresholds were chosen on the records 1, 5, 9, ... 197; `--part test`, the default, has the others.

Prints Markdown tables. Errors are mean absolute ones in ms, over the waves that were found; "found" and "invented" are
shares of the beats that have the wave and of those that have none. Neurokit2 works on one lead, lead II, by its wavelet
method.
"""

import argparse
import ast
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from heartcare.agent.measure import match_peaks
from heartcare.agent.simulate import FORMS, RHYTHMS, SimulatedECG, simulate_ecg
from heartcare.agent.sources import read_ptbxl_table
from heartcare.bench.metrics.probability import auc
from heartcare.configuration_heartcare import LEADS
from heartcare.delineation_heartcare import Delineation, Waves, delineate
from heartcare.extraction_heartcare import BeatFeatureExtractor
from heartcare.measuring_heartcare import measure_ecg

EDGES = ("QRS onset", "QRS end", "T end", "P onset", "P end")


def ours(signal: np.ndarray, sampling_rate: float) -> tuple[np.ndarray, list[Waves]]:
    """Returns the R peaks in seconds, and the waves of each beat, by `delineate`."""
    delineation = delineate(signal, sampling_rate)
    return delineation.r_peaks, delineation.beats


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
                signal, *_ = extractor.prepare({"ecg": ecg.signal, "sampling_rate": ecg.sampling_rate, "units": "mV"})
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
        if 0 < k < len(truth) - 1:  # P and T waves of the first and the last beat may be cut off
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


def neurokit(signal: np.ndarray, sampling_rate: float) -> tuple[np.ndarray, list[Waves]]:
    """Returns the R peaks in seconds, and the waves of each beat, by neurokit2 on lead II."""
    import neurokit2

    lead = neurokit2.ecg_clean(signal[1], sampling_rate)
    peaks = neurokit2.ecg_peaks(lead, sampling_rate)[1]["ECG_R_Peaks"]
    _, waves = neurokit2.ecg_delineate(lead, peaks, sampling_rate, method="dwt")
    spans = []
    for wave in ("P", "R", "T"):
        edges = [np.asarray(waves[f"ECG_{wave}_{edge}"], float) / sampling_rate for edge in ("Onsets", "Offsets")]
        spans.append([None if np.isnan(span).any() else span for span in zip(*edges)])
    return np.asarray(peaks) / sampling_rate, [Waves(*each) for each in zip(*spans)]


def print_speed(sampling_rate: int) -> None:
    """Prints the number of simulated ECGs of 10 s that one core cleans and measures in a second. The time of an ECG is
    the shortest of five, since other work on the machine only ever makes a time longer.
    """
    extractor = BeatFeatureExtractor()
    ecgs = [
        simulate_ecg(rhythm, form, sampling_rate=sampling_rate).signal.astype(np.float64)
        for rhythm in RHYTHMS
        for form in FORMS
    ]
    times = np.empty((5, len(ecgs)))
    for repeat in times:
        for k, ecg in enumerate(ecgs):
            started = time.thread_time()
            measure_ecg(extractor.clean(ecg, sampling_rate), sampling_rate)
            repeat[k] = time.thread_time() - started
    speed = 1 / times.min(axis=0).mean()
    print(f"\nCleaned and measured on one core: {speed:.0f} ECGs of 10 s at {sampling_rate} Hz a second.")


def print_ludb(folder: Path, part: str) -> None:
    """Prints errors against the median of the cardiologists' marks over the leads, wide QRS, and P waves that are
    missed and invented.
    """
    import wfdb

    extractor = BeatFeatureExtractor()
    paths = sorted((path.with_suffix("") for path in folder.rglob("*.hea")), key=lambda path: int(path.name))
    paths = [path for path in paths if part == "all" or (int(path.name) % 4 == 1) == (part == "development")]
    errors: dict[str, list[np.ndarray]] = defaultdict(list)
    wide: dict[str, list[tuple[float, float]]] = defaultdict(list)
    fibrillation, others = [], []
    for path in tqdm(paths, desc="measuring"):
        (record,) = extractor.fetch_ecg(path)
        arranged = extractor.arrange(record)
        found = delineate(extractor.clean(arranged.signal, record.sampling_rate), record.sampling_rate)
        marks = marks_of_cardiologists(path)
        for name, rows in marks.items():
            own = [span for beat in found.beats if (span := getattr(beat, name))]
            errors[name].append(_errors(np.array(own).reshape(-1, 2), median_over_leads(rows)))
        for words, widths in _widths(found, marks["qrs"]).items():
            wide[words].append(widths)
        has_p = _have_p(found, median_over_leads(marks["p"]))
        words = " ".join(wfdb.rdheader(str(path)).comments).lower()
        (fibrillation if "fibrillation" in words else others).extend(has_p)
    title = {"p": ("P onset", "P end"), "qrs": ("QRS onset", "QRS end"), "t": ("T onset", "T end")}
    print(f"\n| LUDB, {part}, {len(paths)} records | beats | mean, ms | sd, ms | sd over records, ms |\n|{5 * '---|'}")
    for name, edges in title.items():
        beats = np.concatenate([np.empty((0, 2)), *errors[name]])
        records = np.array([each.mean(0) for each in errors[name] if len(each)])
        for column, edge in enumerate(edges):
            numbers = "– | – | –"
            if len(beats):
                mean, sd, between = beats[:, column].mean(), beats[:, column].std(), records[:, column].std()
                numbers = f"{mean:+.1f} | {sd:.1f} | {between:.1f}"
            print(f"| {edge} | {len(beats)} | {numbers} |")
    for words, widths in wide.items():
        truth, seen = np.array(widths).T.round(3) >= 0.12
        shares = " / ".join(f"{right.mean():.0%}" if len(right) else "–" for right in (seen[truth], ~seen[~truth]))
        print(f"| QRS of 120 ms, {words}: sensitivity / specificity | {truth.sum()} | {shares} | | |")
    invented = f"{np.mean([ours for ours, _ in fibrillation]):.0%}" if fibrillation else "–"
    marked = [not ours for ours, theirs in others if theirs]
    missed = f"{np.mean(marked):.1%}" if marked else "–"
    print(f"| P found in fibrillation / missed elsewhere | {len(fibrillation)} | {invented} / {missed} | | |")


def marks_of_cardiologists(record: Path) -> dict[str, np.ndarray]:
    """Reads the marks of one record of LUDB: wave ("p", "qrs", "t") -> float64 (waves, 12, 2), onset and end in seconds
    in each lead, NaN where a lead has no mark for the wave.
    """
    import wfdb

    marks: dict[str, list[np.ndarray]] = {"p": [], "qrs": [], "t": []}
    for lead in LEADS:
        found = wfdb.rdann(str(record), lead.lower())
        symbols, seconds = found.symbol, np.asarray(found.sample) / found.fs
        for name, symbol in (("p", "p"), ("qrs", "N"), ("t", "t")):
            around = list(zip(symbols, symbols[1:], symbols[2:]))  # an onset, the peak and an end follow each other
            peaks = [k for k, three in enumerate(around, start=1) if three == ("(", symbol, ")")]
            marks[name].append(np.array([(seconds[k - 1], seconds[k + 1]) for k in peaks]).reshape(-1, 2))
    return {name: _one_row_for_each_wave(leads) for name, leads in marks.items()}


def _one_row_for_each_wave(leads: list[np.ndarray]) -> np.ndarray:
    """Puts the marks of twelve leads, (waves, 2) each, that belong to the same wave into one row: (waves, 12, 2)."""
    counts = [len(marks) for marks in leads]
    usual = max(set(counts), key=counts.count)
    rows = np.full((usual, len(leads), 2), np.nan)
    if not usual:
        return rows
    centres = np.median([marks.mean(1) for marks in leads if len(marks) == usual], axis=0)
    for lead, marks in enumerate(leads):
        if not len(marks):
            continue
        distances = np.abs(centres[:, None] - marks.mean(1))  # (waves, marks)
        nearest = distances.argmin(axis=1)
        # A mark belongs to the wave that is nearest to it, and a wave has one mark in a lead: the nearest of its own.
        own = (distances.argmin(axis=0)[nearest] == np.arange(usual)) & (distances.min(axis=1) < 0.15)
        rows[own, lead] = marks[nearest[own]]
    return rows


def median_over_leads(rows: np.ndarray) -> np.ndarray:
    """Takes the medians over the leads that have a mark, of the waves that have any: (waves, 12, 2) -> (waves, 2)."""
    return np.nanmedian(_marked(rows), axis=1).reshape(-1, 2)


def _marked(rows: np.ndarray) -> np.ndarray:
    """Leaves out waves without a mark in any lead."""
    return rows[np.isfinite(rows).any(axis=(1, 2))]


def _errors(own: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Returns onset and end of each of our waves less those of theirs that is nearest, within 150 ms, in ms: (waves,
    2).
    """
    if not len(own) or not len(theirs):
        return np.empty((0, 2))
    distance = np.abs(own.mean(1)[:, None] - theirs.mean(1))
    near = distance.min(1) < 0.15
    return 1000 * (own[near] - theirs[distance.argmin(1)[near]])


def _widths(found: Delineation, marks: np.ndarray) -> dict[str, tuple[float, float]]:
    """Returns way of measuring -> width of the QRS in seconds, the cardiologists' and ours; ours is 0 where no QRS was
    found. It is measured by the medians of the leads, and from the first onset to the last end over the leads.
    """
    theirs = median_over_leads(marks)
    if not len(theirs):
        return {}
    marks = _marked(marks)
    widest = np.median(np.nanmax(marks[..., 1], axis=1) - np.nanmin(marks[..., 0], axis=1))
    ours = all_leads = 0.0
    if found.median and found.median.qrs:
        (onset, end), edges = found.median.qrs, found.by_lead["qrs"]
        ours, all_leads = end - onset, np.nanmax(edges[:, 1]) - np.nanmin(edges[:, 0])
    return {
        "medians of the leads": (np.median(theirs[:, 1] - theirs[:, 0]), ours),
        "first onset to last end": (widest, all_leads),
    }


def _have_p(found: Delineation, theirs: np.ndarray) -> list[tuple[bool, bool]]:
    """Returns whether each usual beat has a P wave in the 0.36 s before its QRS, by us and by the cardiologists."""
    pairs = []
    for beat, usual in zip(found.beats, found.usual):
        if usual and beat.qrs:
            before = beat.qrs[0] - theirs.mean(1)
            pairs.append((beat.p is not None, bool(((before > 0) & (before < 0.36)).any())))
    return pairs


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
        "qtc_fridericia", 1), ("STACH", "heart_rate", 1), ("SBRAD", "heart_rate", -1), ("LAFB", "qrs_axis", -1),
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
    parser.add_argument("--ludb", help="LUDB as PhysioNet has it")
    parser.add_argument("--part", choices=("development", "test", "all"), default="test", help="of LUDB's records")
    parser.add_argument("--ptbxl", help="PTB-XL in its official layout")
    parser.add_argument("--fold", type=int, default=9)
    parser.add_argument("--limit", type=int, help="number of records of PTB-XL at most")
    args = parser.parse_args(argv)
    print_simulated("ours, ms", simulated(ours, args.seeds, args.sampling_rate))
    if args.neurokit:
        print_simulated("neurokit2, lead II, ms", simulated(neurokit, args.seeds, args.sampling_rate))
    print_speed(args.sampling_rate)
    if args.ludb:
        print_ludb(Path(args.ludb), args.part)
    if args.ptbxl:
        print_ptbxl(Path(args.ptbxl), args.fold, args.limit)


if __name__ == "__main__":
    main()
