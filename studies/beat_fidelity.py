"""What Beat's tokens keep of an ECG, in clinical units: before against after, for each model one column; and a picture.

    python -m heartcare.studies.beat_fidelity --models . --ptbxl PTBXL_FOLDER                 # fold 10, 100 Hz
    python -m heartcare.studies.beat_fidelity --models . --records FOLDER --picture out.png   # any ECG files, at their own rate

"Before" is the signal as the processor cleans it, at the record's own sampling rate, so that what a lower rate of Beat
cuts off counts as an error; "after" is decoded from the codes and brought to that rate (but for DTW, which is of both
at Beat's rate). Intervals are measured by `heartcare.agent.delineate`, on both; errors are mean absolute ones over the
records in which both have the number. Prints a Markdown table.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from heartcare import BeatFeatureExtractor, BeatModel
from heartcare.agent.delineate import Measurements, measure_ecg
from heartcare.agent.measure import find_r_peaks, match_peaks
from heartcare.agent.readers import read_ecg
from heartcare.agent.render import draw_ecg, encode_png
from heartcare.bench.metrics.signal import dtw
from heartcare.ecg_heartcare import LEADS

INTERVALS = (
    ("heart_rate", "heart rate", "beats/min"),
    ("pr", "PR", "ms"),
    ("qrs", "QRS", "ms"),
    ("qt", "QT", "ms"),
    ("axis", "QRS axis", "degrees"),
)


def files(args) -> list[Path]:
    if args.records:
        return sorted(
            path for path in Path(args.records).rglob("*") if path.suffix in (".hea", ".npz", ".npy", ".csv")
        )[: args.limit]
    with open(Path(args.ptbxl) / "ptbxl_database.csv", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if int(row["strat_fold"]) == args.fold][: args.limit]
    return [Path(args.ptbxl) / f"{row['filename_lr']}.hea" for row in rows]


def cleaned(paths: list[Path]) -> Iterator[tuple[np.ndarray, float, Measurements]]:
    """(signal (12, samples) mV, Hz, its measurements) of each record, cleaned at its own rate."""
    for path in tqdm(paths, desc="records"):
        record = read_ecg(str(path)).as_input()
        extractor = BeatFeatureExtractor(sampling_rate=round(record["sampling_rate"]))
        signal, _, _ = extractor.prepare(record)
        yield signal, extractor.sampling_rate, measure_ecg(signal, extractor.sampling_rate)


class Fidelity:
    """Of one model: collects records, and says what is lost.

    Args:
        name: Its repository.
        refine: Steps of the search for better codes.

    Attributes:
        bits: Per second, of all levels; the gain takes 6 more for the whole record.
    """

    def __init__(self, name: str, refine: int = 0):
        self.refine = refine
        self.model = BeatModel.from_pretrained(name, dtype=torch.float32).eval()
        config = self.model.config
        self.bits = config.num_levels * np.log2(config.codebook_size) * config.sampling_rate / config.samples_per_latent
        self.used = np.zeros((config.num_levels, config.codebook_size), bool)
        self.rows: list[dict] = []

    @torch.inference_mode()
    def decode(self, signal: np.ndarray, rate: float) -> np.ndarray:
        """(12, n) mV -> what is left of it after encoding and decoding."""
        x = torch.from_numpy(np.ascontiguousarray(self.at_own_rate(signal, rate), np.float32))[None]
        tokens = self.model.encode(x, refine=self.refine)
        for level, codes in enumerate(tokens.codes[0]):
            self.used[level, codes.unique().numpy()] = True
        after = self.model.decode(tokens.codes, tokens.gain)[0, :, -x.shape[-1] :].numpy()
        after = BeatFeatureExtractor(sampling_rate=round(rate)).resample(after, self.model.config.sampling_rate)
        return np.pad(after, ((0, 0), (0, max(0, signal.shape[1] - after.shape[1]))), mode="edge")[:, : signal.shape[1]]

    def at_own_rate(self, signal: np.ndarray, rate: float) -> np.ndarray:
        """As the model takes it; warping takes the square of the samples in time."""
        return BeatFeatureExtractor(sampling_rate=self.model.config.sampling_rate).resample(signal, rate)

    def add(self, signal: np.ndarray, rate: float, before: Measurements):
        decoded = self.decode(signal, rate)
        after = measure_ecg(decoded, rate)
        error = decoded - signal
        present = np.ptp(signal, axis=1) > 0
        peaks, found = find_r_peaks(signal, rate), find_r_peaks(decoded, rate)
        row = {
            "prd": 100 * np.sqrt(np.square(error).sum() / np.square(signal).sum()),
            "rmse": 1000 * np.sqrt(np.square(error[present]).mean()),
            "lead_rmse": np.where(present, 1000 * np.sqrt(np.square(error).mean(1)), np.nan),
            "correlation": np.mean(
                [
                    np.corrcoef(signal[k], decoded[k])[0, 1] if np.ptp(decoded[k]) else 0.0
                    for k in np.flatnonzero(present)
                ]
            ),
            "dtw": 1000 * dtw(*(self.at_own_rate(each[present], rate) for each in (decoded, signal))).mean(),
            "beats": (match_peaks(peaks, found, 0.05 * rate), len(peaks), len(found)),
            "p": (before.pr is not None, after.pr is not None),
            "st": np.nan
            if before.st is None or after.st is None
            else 1000 * np.abs(before.st - after.st)[present].mean(),
        }
        for name, _, _ in INTERVALS:
            a, b = getattr(before, name), getattr(after, name)
            difference = np.nan if a is None or b is None else abs(a - b)
            row[name] = min(difference, 360 - difference) if name == "axis" else difference
        self.rows.append(row)

    def table(self) -> dict[str, str]:
        def mean(name, digits=1):
            return f"{np.nanmean([row[name] for row in self.rows]):.{digits}f}"

        matched, true, found = np.sum([row["beats"] for row in self.rows], axis=0)
        p = np.array([row["p"] for row in self.rows])
        lead_rmse = np.nanmean([row["lead_rmse"] for row in self.rows], axis=0)
        return {
            "bits/s": f"{self.bits:.0f}",
            "PRD, %, mean / median": f"{mean('prd')} / {np.median([row['prd'] for row in self.rows]):.1f}",
            "RMSE, uV": mean("rmse"),
            **{f"RMSE of {lead}, uV": f"{value:.1f}" for lead, value in zip(LEADS, lead_rmse)},
            "correlation": mean("correlation", 4),
            "DTW, uV": mean("dtw"),
            "R-peak F1, 50 ms": f"{2 * matched / (true + found):.4f}",
            **{f"error of {words}, {unit}": mean(name, 2) for name, words, unit in INTERVALS},
            "error of ST level, uV": mean("st"),
            "P waves kept / invented": f"{p[p[:, 0], 1].mean():.1%} / {p[~p[:, 0], 1].mean():.1%}"
            if 0 < p[:, 0].sum() < len(p)
            else "–",
            "codes used, each level": " / ".join(f"{share:.1%}" for share in self.used.mean(1)),
        }


def picture(signal: np.ndarray, decoded: np.ndarray, rate: float) -> Image.Image:
    """Original, decoded and their difference, one below the other, on ECG paper."""
    pages = [
        draw_ecg(each, rate, "3x4", dpi=100, header=words, size=(1100, 620))
        for words, each in (("Original, cleaned", signal), ("Decoded", decoded), ("Difference", decoded - signal))
    ]
    sheet = Image.new("RGB", (pages[0].width, sum(page.height for page in pages)), "white")
    for k, page in enumerate(pages):
        sheet.paste(page, (0, k * page.height))
    return sheet


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--models", nargs="+", default=["."], help="Beat or HeartcareGPT repositories, one for each bitrate"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--ptbxl", help="PTB-XL in its official layout")
    source.add_argument("--records", help="folder of WFDB, .npz, .npy or .csv files")
    parser.add_argument("--fold", type=int, default=10)
    parser.add_argument("--limit", type=int)
    parser.add_argument(
        "--refine",
        type=int,
        default=0,
        metavar="STEPS",
        help="of the encoder's search for codes that decode to what is nearer to the ECG",
    )
    parser.add_argument("--picture", help="a PNG of the record that the first model decodes in the middling way")
    args = parser.parse_args(argv)
    models = [Fidelity(name, args.refine) for name in args.models]
    paths = files(args)
    if not paths:
        parser.error("no record was found.")
    for signal, rate, before in cleaned(paths):
        for model in models:
            model.add(signal, rate, before)
    tables = [model.table() for model in models]
    print(f"\n| {len(paths)} records | {' | '.join(args.models)} |\n|---|{'---|' * len(models)}")
    for name in tables[0]:
        print(f"| {name} | {' | '.join(table[name] for table in tables)} |")
    if args.picture:
        order = np.argsort([row["prd"] for row in models[0].rows])
        (signal, rate, _), *_ = cleaned([paths[order[len(order) // 2]]])
        Path(args.picture).write_bytes(encode_png(picture(signal, models[0].decode(signal, rate), rate)))
        print(f"\nDrawn: {args.picture}")


if __name__ == "__main__":
    main()
