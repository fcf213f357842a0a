"""Measures how well pages are digitised, by kind of picture: layout, signal, numbers and time; and counts pictures that
are digitised although they are no ECG.

    python -m heartcare.studies.evaluate_digitizing --ptbxl PTBXL_FOLDER --fold 9 --records 100
    python -m heartcare.studies.evaluate_digitizing --ptbxl PTBXL_FOLDER --fold 9 --records 20 --test-only

Each record is drawn once, as a device prints it (agent/device_pages.py), at 150, 200 or 300 dpi, and goes through a
scanner or a camera of each kind (agent/scans.py). --test-only takes the devices and the kinds of picture on which
nothing was tuned.

The signal-to-noise ratio is that of the George B. Moody PhysioNet Challenge 2024: the squares of the shown signal,
summed over all leads and samples, over those of the difference, in dB, without any shift; what is not found counts as
0. "Aligned" is the same without each lead's median and with the best shift of up to 40 ms. Numbers are compared with
the numbers of the same part of the signal. A page is "wrong" when it is digitised with another layout, order, speed or
gain (see `has_scale` for pages without a grid).
"""

import argparse
import resource
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from heartcare.agent.device_pages import DEVICES, TEST_DEVICES, DrawnPage, PageStyle, draw_page, random_style
from heartcare.agent.not_ecgs import OTHER_PICTURES
from heartcare.agent.scans import KINDS, TEST_KINDS
from heartcare.agent.sources import read_ptbxl_table
from heartcare.configuration_heartcare import LEADS
from heartcare.digitizing_heartcare import RATE, DigitizedPage, NotDigitized, digitize
from heartcare.ecg_heartcare import ECG
from heartcare.extraction_heartcare import BeatFeatureExtractor
from heartcare.measuring_heartcare import Measurements, measure_ecg
from heartcare.reading_heartcare import read_ecg

DPI = (150, 200, 300)
NUMBERS = {"heart_rate": "/min", "pr": "ms", "qrs": "ms", "qt": "ms", "qrs_axis": "degrees"}
MOST_SHIFT = 20  # samples of 2 ms


def parser_of_pages(description: str) -> argparse.ArgumentParser:
    """Returns a parser of the options that say which pages are drawn."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ptbxl", type=Path, required=True)
    parser.add_argument("--fold", type=int, default=9)
    parser.add_argument("--records", type=int, default=100, help="at most, spread over the fold")
    parser.add_argument("--test-only", action="store_true", help="devices and pictures on which nothing was tuned")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def pages_asked_for(args: argparse.Namespace) -> tuple[list[dict[str, str]], dict, dict]:
    """Returns the rows of PTB-XL's table, the devices and the kinds of picture that the options name."""
    rows = read_ptbxl_table(args.ptbxl, [args.fold])
    rows = rows[:: max(1, len(rows) // args.records)][: args.records]
    return rows, *((TEST_DEVICES, KINDS | TEST_KINDS) if args.test_only else (DEVICES, KINDS))


def evaluate(records: list[Path], devices: dict, kinds: dict, seed: int) -> dict[str, dict[str, list[Any]]]:
    """Returns kind of picture -> name of a measure -> its values, one for each picture that has it."""
    extractor = BeatFeatureExtractor(sampling_rate=RATE)
    table: dict[str, dict[str, list[Any]]] = {name: defaultdict(list) for name in kinds}
    for number, path in enumerate(tqdm(records, desc="records")):
        rng = np.random.default_rng([seed, number])
        ecg = read_ecg(path)
        style = random_style(rng, devices)
        picture, page = draw_page(ecg.signal, ecg.sampling_rate, style, DPI[int(rng.integers(len(DPI)))])
        for name, scan in kinds.items():
            seen, row = scan(picture, rng), table[name]
            start = time.perf_counter()
            try:
                found = digitize(seen)
            except NotDigitized as error:
                row["outcome"].append("refused")
                row["reason"].append(f"{path.stem}: {error}")
                continue
            finally:
                row["seconds"].append(time.perf_counter() - start)
            is_right = found.layout == style.layout and has_scale(found, style)
            row["outcome"].append("read" if is_right else "wrong")
            if not is_right:
                row["reason"].append(f"{path.stem}: {found.layout} for {style.layout}, {found.speed}, {found.gain}")
                continue
            for key, value in compare(shown(ecg, page), found, extractor).items():
                row[key].append(value)
    return table


def has_scale(found: DigitizedPage, style: PageStyle) -> bool:
    """Tells whether speed and gain are those of a style. On a page without a grid, only their ratio can be told, which
    is enough: its pulses are 0.2 s and 1 mV.
    """
    if "grid_not_found" in found.ecg.warnings:
        return found.speed / found.gain == style.speed / style.gain
    return (found.speed, found.gain) == (style.speed, style.gain)


def shown(ecg: ECG, page: DrawnPage) -> np.ndarray:
    """Returns what a page shows of an ECG, float (12, samples) at 500 Hz, NaN where a lead is not shown."""
    signal = np.full((len(LEADS), round(page.style.seconds * RATE)), np.nan)
    times = np.arange(signal.shape[1]) / RATE
    for trace in page.traces:
        part = slice(round(trace.start * RATE), round(trace.stop * RATE))
        lead = LEADS.index(trace.lead.removeprefix("-"))
        own = np.arange(ecg.signal.shape[1]) / ecg.sampling_rate
        signal[lead, part] = np.interp(times[part], own, np.nan_to_num(ecg.signal[lead]))
    return signal


def compare(true: np.ndarray, page: DigitizedPage, extractor: BeatFeatureExtractor) -> dict[str, float]:
    """Returns the ratios of a page that was digitised rightly, and the errors of its numbers."""
    found = page.ecg.signal
    samples = min(true.shape[1], found.shape[1])
    true, found = true[:, :samples], found[:, :samples]
    result = {"dB": decibels(true, found), "aligned dB": aligned_decibels(true, found)}
    ours, theirs = (measure(each, extractor) for each in (found, true))
    for name in NUMBERS:
        value, expected = getattr(ours, name), getattr(theirs, name)
        if expected is not None:
            result[f"{name} missing"] = float(value is None)
        if value is not None and expected is not None:
            error = abs(value - expected)
            result[name] = min(error, 360 - error) if name.endswith("axis") else error
    levels = [(ours.st.get(lead), level) for lead, level in theirs.st.items()]
    errors = [abs(value - level) for value, level in levels if value is not None and level is not None]
    if errors:
        result["ST"] = 1000 * float(np.mean(errors))
    return result


def decibels(true: np.ndarray, found: np.ndarray) -> float:
    """Returns the signal-to-noise ratio of a signal that was found, (12, samples); NaN counts as 0."""
    true, found = np.nan_to_num(true), np.nan_to_num(found)
    return float(10 * np.log10(np.sum(true**2) / max(np.sum((true - found) ** 2), 1e-12)))


def aligned_decibels(true: np.ndarray, found: np.ndarray) -> float:
    """Returns `decibels` without each lead's median, and at the best shift."""
    true, found = (
        each - np.where(np.isfinite(each).any(1), np.nanmedian(each, axis=1), 0)[:, None] for each in (true, found)
    )
    return max(decibels(true, np.roll(found, shift, axis=1)) for shift in range(-MOST_SHIFT, MOST_SHIFT + 1))


def measure(signal: np.ndarray, extractor: BeatFeatureExtractor) -> Measurements:
    """Measures a signal (12, samples) at 500 Hz in mV, NaN where nothing is shown."""
    given = {"signal": signal.astype(np.float32), "sampling_rate": RATE, "units": "mV"}
    prepared, lead_mask, *_ = extractor.prepare(given)
    return measure_ecg(prepared, extractor.sampling_rate, np.asarray(lead_mask, bool))


def print_table(table: dict[str, dict[str, list[Any]]]) -> None:
    """Prints a Markdown table, a column for each kind of picture."""
    kinds = list(table)
    print(f"| | {' | '.join(kinds)} |\n|---|{'---|' * len(kinds)}")
    for outcome in ("read", "refused", "wrong"):
        counts = [f"{row['outcome'].count(outcome)} of {len(row['outcome'])}" for row in table.values()]
        print(f"| {outcome} | {' | '.join(counts)} |")
    rows = {"median dB": "dB", "median dB, aligned": "aligned dB", "seconds": "seconds"}
    for title, key in rows.items():
        print(
            f"| {title} | {' | '.join(f'{np.median(row[key]):.1f}' if row[key] else '–' for row in table.values())} |"
        )
    units = NUMBERS | {"ST": "uV"}
    for name, unit in units.items():
        cells = []
        for row in table.values():
            missing = f" ({np.mean(row[f'{name} missing']):.0%} not measured)" if row[f"{name} missing"] else ""
            cells.append(f"{np.median(row[name]):.1f}, {np.mean(row[name]):.1f}{missing}" if row[name] else "–")
        print(f"| error of {name}, {unit}: median, mean | {' | '.join(cells)} |")


def other_pictures(repeats: int, seed: int) -> list[str]:
    """Returns the names of the pictures that are no ECG and were digitised all the same."""
    digitized = []
    for name, draw in tqdm(OTHER_PICTURES.items(), desc="other pictures"):
        for number in range(repeats):
            try:
                digitize(draw(np.random.default_rng([seed, number])))
            except NotDigitized:
                continue
            digitized.append(name)
    return digitized


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = parser_of_pages(__doc__)
    parser.add_argument("--repeats", type=int, default=0, help="pictures of each kind that are no ECG")
    args = parser.parse_args(argv)
    rows, devices, kinds = pages_asked_for(args)
    table = evaluate([args.ptbxl / row["filename_lr"] for row in rows], devices, kinds, args.seed)
    print_table(table)
    for name, row in table.items():
        for reason in row["reason"]:
            print(f"{name}: {reason}")
    if args.repeats:
        digitized = other_pictures(args.repeats, args.seed)
        print(
            f"digitised, of {args.repeats * len(OTHER_PICTURES)} pictures that are no ECG: {len(digitized)} {digitized}"
        )
    print(f"memory at most: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
