"""Measures in clinical units how well Beat's tokens keep an ECG, in one column for each model, and draws a picture of
one record before and after.

    python -m heartcare.studies.beat_fidelity --models . --ptbxl PTBXL_FOLDER                 # fold 10, 100 Hz
    python -m heartcare.studies.beat_fidelity --models . --records FOLDER --picture out.png   # files at their own rate

"Before" is the signal as the processor cleans it, at the record's own sampling rate. "After" is decoded from the codes
and brought to that rate, so that everything that Beat's lower rate cannot hold counts as an error; DTW alone compares
both at Beat's rate. Intervals are measured by `heartcare.measuring_heartcare` before and after; errors are mean
absolute ones over the records in which both have the number. The forecast continues each record without its end, and is
compared with that end, at Beat's rate. Prints a Markdown table.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from heartcare import BeatFeatureExtractor, BeatModel
from heartcare.agent.measure import match_peaks, repeat_last_beat
from heartcare.agent.readers import read_ecg
from heartcare.agent.render import draw_ecg, encode_png
from heartcare.agent.sources import read_ptbxl_table
from heartcare.bench.metrics.signal import dtw
from heartcare.bench.metrics.statistics import mean_interval
from heartcare.configuration_heartcare import LEADS
from heartcare.delineation_heartcare import find_r_peaks
from heartcare.measuring_heartcare import MEASURED, Measurements, measure_ecg

INTERVALS = {name: MEASURED[name] for name in ("heart_rate", "pr", "qrs", "qt", "qrs_axis")}


def records_and_patients(args: argparse.Namespace) -> tuple[list[Path], list[str]]:
    """Returns the files that the options of the command line name, and the patient of each. Each file of a folder
    counts as a patient of its own.
    """
    if args.records:
        kinds = (".hea", ".npz", ".npy", ".csv")
        paths = sorted(path for path in Path(args.records).rglob("*") if path.suffix in kinds)[: args.limit]
        return paths, [str(path) for path in paths]
    rows = read_ptbxl_table(args.ptbxl, [args.fold], args.limit)
    return [Path(args.ptbxl) / f"{row['filename_lr']}.hea" for row in rows], [row["patient_id"] for row in rows]


def cleaned_records(paths: list[Path]) -> Iterator[tuple[np.ndarray, float, Measurements]]:
    """Yields the signal (12, samples) of each record in mV, cleaned at its own rate, that rate in Hz, and its
    measurements.
    """
    for path in tqdm(paths, desc="records"):
        record = read_ecg(str(path)).as_input()
        extractor = BeatFeatureExtractor(sampling_rate=round(record["sampling_rate"]))
        signal, *_ = extractor.prepare(record)
        yield signal, extractor.sampling_rate, measure_ecg(signal, extractor.sampling_rate)


class Fidelity:
    """Encodes and decodes records by one model, and sums up the errors.

    Args:
        name: Repository of the model.
        refine: Number of steps of the search for better codes.

    Attributes:
        bits: Bits per second of all levels; the gain takes 6 more for the whole record.
        rows: Measures of each record.
    """

    def __init__(self, name: str, refine: int = 0):
        self.refine = refine
        self.model = BeatModel.from_pretrained(name, dtype=torch.float32).eval()
        config = self.model.config
        self.bits = config.num_levels * np.log2(config.codebook_size) * config.sampling_rate / config.samples_per_latent
        self.used = np.zeros((config.num_levels, config.codebook_size), bool)
        self.rows: list[dict] = []

    def add(self, signal: np.ndarray, rate: float, before: Measurements) -> None:
        """Adds a record: its signal (12, n) in mV, its rate in Hz and its measurements."""
        decoded = self.decode(signal, rate)
        after = measure_ecg(decoded, rate)
        error = decoded - signal
        present = np.ptp(signal, axis=1) > 0
        peaks, decoded_peaks = find_r_peaks(signal, rate), find_r_peaks(decoded, rate)
        correlations = [
            np.corrcoef(signal[k], decoded[k])[0, 1] if np.ptp(decoded[k]) else 0.0 for k in np.flatnonzero(present)
        ]
        st = [abs(level - after.st[lead]) for lead, level in before.st.items() if lead in after.st]
        row = {
            "prd": 100 * np.sqrt(np.square(error).sum() / np.square(signal).sum()),
            "rmse": 1000 * np.sqrt(np.square(error[present]).mean()),
            "lead_rmse": np.where(present, 1000 * np.sqrt(np.square(error).mean(1)), np.nan),
            "correlation": np.mean(correlations),
            "dtw": 1000 * dtw(*(self.at_model_rate(each[present], rate) for each in (decoded, signal))).mean(),
            "beats": (match_peaks(peaks, decoded_peaks, 0.05 * rate), len(peaks), len(decoded_peaks)),
            "p": (before.pr is not None, after.pr is not None),
            "st": 1000 * np.mean(st) if st else np.nan,
            "forecast": self.forecast_errors(signal, rate),
        }
        for name in INTERVALS:
            a, b = getattr(before, name), getattr(after, name)
            difference = np.nan if a is None or b is None else abs(a - b)
            row[name] = min(difference, 360 - difference) if name == "qrs_axis" else difference
        self.rows.append(row)

    @torch.inference_mode()
    def decode(self, signal: np.ndarray, rate: float) -> np.ndarray:
        """Encodes and decodes a signal (12, n) in mV."""
        x = torch.from_numpy(np.ascontiguousarray(self.at_model_rate(signal, rate), np.float32))[None]
        tokens = self.model.encode(x, refine=self.refine)
        for level, codes in enumerate(tokens.codes[0]):
            self.used[level, codes.unique().numpy()] = True
        after = self.model.decode(tokens.codes, tokens.gain)[0, :, -x.shape[-1] :].numpy()
        after = BeatFeatureExtractor(sampling_rate=round(rate)).resample(after, self.model.config.sampling_rate)
        return np.pad(after, ((0, 0), (0, max(0, signal.shape[1] - after.shape[1]))), mode="edge")[:, : signal.shape[1]]

    def at_model_rate(self, signal: np.ndarray, rate: float) -> np.ndarray:
        """Resamples a signal to the rate of the model."""
        return BeatFeatureExtractor(sampling_rate=self.model.config.sampling_rate).resample(signal, rate)

    @torch.inference_mode()
    def forecast_errors(self, signal: np.ndarray, rate: float) -> tuple[float, float, float]:
        """Returns the mean squared errors of three forecasts of a record's end, in variances of the record: Beat's,
        zero, and the last beat repeated. NaN where Beat does not forecast or the record is not longer than twice its
        forecast.
        """
        config = self.model.config
        values, horizon = self.at_model_rate(signal, rate).astype(np.float32), config.prediction_length
        if not config.pred_weight or values.shape[1] <= 2 * horizon:
            return (np.nan,) * 3
        context, truth = np.ascontiguousarray(values[:, :-horizon]), values[:, -horizon:]
        beat = self.model.forecast(torch.from_numpy(context)[None], num_samples=horizon)[0].numpy()
        guesses = (beat, np.zeros_like(truth), repeat_last_beat(context, horizon, config.sampling_rate))
        return tuple(float(np.square(guess - truth).mean() / values.var()) for guess in guesses)

    def table(self, patients: list[str]) -> dict[str, str]:
        """Returns name of a measure -> its value as text; the interval of the mean PRD is a bootstrap of the patients.

        Args:
            patients: Patient of each record.
        """
        prd = [row["prd"] for row in self.rows]
        matched, true, detected = np.sum([row["beats"] for row in self.rows], axis=0)
        p = np.array([row["p"] for row in self.rows])
        lead_rmse = np.nanmean([row["lead_rmse"] for row in self.rows], axis=0)
        forecasts = np.array([row["forecast"] for row in self.rows])
        forecasts = forecasts[~np.isnan(forecasts[:, 0])]
        config = self.model.config
        return {
            "bits/s": f"{self.bits:.0f}",
            "PRD, %, mean / median": f"{self.mean('prd')} / {np.median(prd):.1f}",
            "95 % interval of the mean PRD": "{1:.1f} to {2:.1f}".format(*mean_interval(prd, patients)),
            "RMSE, uV": self.mean("rmse"),
            **{f"RMSE of {lead}, uV": f"{value:.1f}" for lead, value in zip(LEADS, lead_rmse)},
            "correlation": self.mean("correlation", 4),
            "DTW, uV": self.mean("dtw"),
            "R-peak F1, 50 ms": f"{2 * matched / (true + detected):.4f}",
            "R-peak recall / precision, 50 ms": f"{matched / true:.4f} / {matched / detected:.4f}",
            **{f"error of {words}, {unit}": self.mean(name, 2) for name, (words, unit) in INTERVALS.items()},
            "error of ST level, uV": self.mean("st"),
            "P waves kept / invented": f"{p[p[:, 0], 1].mean():.1%} / {p[~p[:, 0], 1].mean():.1%}"
            if 0 < p[:, 0].sum() < len(p)
            else "–",
            "codes used, each level": " / ".join(f"{share:.1%}" for share in self.used.mean(1)),
            "length of the forecast, s": f"{config.prediction_length / config.sampling_rate:g}",
            "MSE of the forecast, in variances: Beat / zero / last beat repeated": " / ".join(
                f"{value:.3f}" for value in forecasts.mean(0)
            )
            if len(forecasts)
            else "–",
        }

    def mean(self, name: str, digits: int = 1) -> str:
        """Returns the mean of a measure over the records that have it, as text."""
        return f"{np.nanmean([row[name] for row in self.rows]):.{digits}f}"


def picture(signal: np.ndarray, decoded: np.ndarray, rate: float) -> Image.Image:
    """Draws the original, the decoded signal and their difference, one below the other, on ECG paper."""
    pages = [
        draw_ecg(each, rate, "3x4", dpi=100, header=words, size=(1100, 620))
        for words, each in (("Original, cleaned", signal), ("Decoded", decoded), ("Difference", decoded - signal))
    ]
    sheet = Image.new("RGB", (pages[0].width, sum(page.height for page in pages)), "white")
    for k, page in enumerate(pages):
        sheet.paste(page, (0, k * page.height))
    return sheet


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--models", nargs="+", default=["."], help="Beat or HeartcareGPT repositories, one for each bitrate"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--ptbxl", help="PTB-XL in its official layout")
    source.add_argument("--records", help="folder of WFDB, .npz, .npy or .csv files")
    parser.add_argument("--fold", type=int, default=10)
    parser.add_argument("--limit", type=int, help="number of records at most")
    parser.add_argument(
        "--refine",
        type=int,
        default=0,
        metavar="STEPS",
        help="number of steps of the encoder's search for codes that decode closer to the ECG",
    )
    parser.add_argument("--picture", help="PNG of the record with the median PRD of the first model")
    args = parser.parse_args(argv)
    paths, patients = records_and_patients(args)
    if not paths:
        parser.error("no record was found.")
    records, models = cleaned_records(paths), [Fidelity(name, args.refine) for name in args.models]
    for signal, rate, before in records:
        for model in models:
            model.add(signal, rate, before)
    tables = [model.table(patients) for model in models]
    print(f"\n| {len(paths)} records | {' | '.join(args.models)} |\n|---|{'---|' * len(models)}")
    for name in tables[0]:
        print(f"| {name} | {' | '.join(table[name] for table in tables)} |")
    if args.picture:
        order = np.argsort([row["prd"] for row in models[0].rows])
        (signal, rate, _), *_ = cleaned_records([paths[order[len(order) // 2]]])
        Path(args.picture).write_bytes(encode_png(picture(signal, models[0].decode(signal, rate), rate)))
        print(f"\nDrawn: {args.picture}")


if __name__ == "__main__":
    main()
