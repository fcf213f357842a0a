"""Scores explanations: whether they name what the simulator drew, and whether a finding falls without what they name.

    python -m heartcare.studies.evaluate_explain --model .
    python -m heartcare.studies.evaluate_explain --model . --ptbxl PTBXL_FOLDER     # deletion on fold 9

Simulated ECGs have known places: an ectopic beat, a wide QRS, an absent P wave. Beside the number of ECGs whose place
is named stands the number that a name drawn at random would be expected to hit: about half of the waves are right ones.
On PTB-XL, the intervals that an explanation names are bridged by straight lines, and, as a control, intervals of the
same number and lengths, in the same leads, at random times. Prints Markdown tables.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from heartcare.agent.simulate import simulate_ecg
from heartcare.explaining_heartcare import Explanation, bridged, explain_findings
from heartcare.extraction_heartcare import BeatFeatureExtractor
from heartcare.findings_heartcare import numbers_of
from heartcare.measuring_heartcare import as_plain, measure_ecg
from heartcare.modeling_heartcare import HeartcareForConditionalGeneration
from heartcare.training.ptbxl import PTBXL

# Code of a statement -> rhythm and form of the simulator that has it, and the waves that it lies in.
SIMULATED = {
    "PVC": ("SR", "PVC", ("QRS", "ST-T", "P")),
    "CLBBB": ("SR", "CLBBB", ("QRS", "ST-T")),
    "CRBBB": ("SR", "CRBBB", ("QRS", "ST-T")),
    "AFIB": ("AFIB", "NORM", ("P", "between beats")),
    "LVH": ("SR", "LVH", ("QRS", "ST-T")),
}
DELETED = ("PVC", "CLBBB", "CRBBB", "AFIB", "LVH", "1AVB", "IMI", "ASMI", "LAFB", "PACE")


def score_simulated(model: HeartcareForConditionalGeneration, count: int) -> None:
    """Prints how often the explanation of a simulated statement names its place, and how often chance would.

    Args:
        model: The model.
        count: Number of ECGs of each statement.
    """
    extractor = BeatFeatureExtractor()
    print("\n| statement | named | by chance | where it was drawn |\n|---|---|---|---|")
    for code, (rhythm, form, waves) in SIMULATED.items():
        hits = []
        for seed in range(count):
            ecg = simulate_ecg(rhythm, form, seed=seed)
            ectopic = [peak for peak, p in zip(ecg.r_peaks[1:], ecg.p[1:]) if p is None] if form == "PVC" else []
            given = {"signal": ecg.signal, "sampling_rate": ecg.sampling_rate, "units": "mV"}
            signal, mask, *_ = extractor.prepare(given)
            hits.append(names_the_place(code, explain_findings(model, signal, mask, [code])[0], ectopic))
        where = "the ectopic beat" if code == "PVC" else ", ".join(waves)
        named, chance = (sum(column) for column in zip(*hits))
        print(f"| {code} | {named} of {count} | {chance:.1f} of {count} | {where} |", flush=True)


def names_the_place(code: str, found: Explanation, ectopic: list[float]) -> tuple[bool, float]:
    """Returns whether an explanation names the place that the simulator drew, and the probability that a random name
    does.

    The explanation names the beat, for an ectopic beat, or the wave, without which the finding falls most. Where the
    finding does not fall without any of them, nothing is named.
    """
    effects = found.effects["beat" if code == "PVC" else "wave"]
    if code == "PVC":
        right = [any(abs(beat - peak) < 0.15 for peak in ectopic) for beat in effects]
    else:
        right = [wave in SIMULATED[code][2] for wave in effects]
    if not right:
        return False, 0.0
    return right[0] and next(iter(effects.values())) > 0, float(np.mean(right))


def score_deletion(model: HeartcareForConditionalGeneration, data: PTBXL, count: int, seed: int) -> None:
    """Prints how far the logit of a finding falls without the named intervals, and without random ones."""
    rng, rate, mask = np.random.default_rng(seed), model.config.beat_config.sampling_rate, np.ones((12, 1000), bool)
    falls: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row, record in enumerate(tqdm(data.rows, desc="deleting")):
        for code in set(DELETED) & set(record["scp_codes"]):
            if len(falls[code]) >= count:
                continue
            signal = data.signal(row)
            (found,) = explain_findings(model, signal, mask, [code])
            if found.probability < 0.5 or not found.intervals:
                continue
            before = logit_of(model, code, signal, mask)
            others = random_intervals(found.intervals, signal.shape[1] / rate, rng)
            pair = [logit_of(model, code, bridged(signal, each, rate), mask) for each in (found.intervals, others)]
            falls[code].append((before - pair[0], before - pair[1]))
    print("\n| finding | records | fall of the logit without what is named | without as much at random times |")
    print("|---|---|---|---|")
    for code in DELETED:
        if falls[code]:
            named, other = np.array(falls[code]).T
            print(f"| {code} | {len(named)} | {named.mean():.2f} | {other.mean():.2f} |")
    named, other = np.array([pair for pairs in falls.values() for pair in pairs]).T
    print(f"| all | {len(named)} | {named.mean():.2f} | {other.mean():.2f} |")


@torch.no_grad()
def logit_of(model: HeartcareForConditionalGeneration, code: str, signal: np.ndarray, mask: np.ndarray) -> float:
    """Returns the calibrated logit of a statement of one prepared signal."""
    rate = model.config.beat_config.sampling_rate
    numbers = numbers_of(as_plain(measure_ecg(signal, rate, mask)), signal, mask, rate)
    inputs = {"input_values": torch.from_numpy(signal)[None], "lead_mask": torch.from_numpy(mask)[None]}
    logits = model.find(torch.from_numpy(numbers)[None], **inputs).logits[0]
    return float(logits[list(model.config.wordings).index(code)])


def random_intervals(
    intervals: tuple[tuple[str, float, float], ...], seconds: float, rng: np.random.Generator
) -> list[tuple[str, float, float]]:
    """Returns intervals of the same leads and lengths at random times; intervals of one time in several leads stay at
    one time.
    """
    moved = {(start, stop): rng.uniform(0, seconds - (stop - start)) for _, start, stop in intervals}
    return [(lead, moved[start, stop], moved[start, stop] + stop - start) for lead, start, stop in intervals]


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=".")
    parser.add_argument("--ptbxl", type=Path)
    parser.add_argument("--cache", type=Path, default="runs/cache")
    parser.add_argument("--count", type=int, default=20, help="number of ECGs of each statement")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    model = HeartcareForConditionalGeneration.from_pretrained(args.model, dtype=torch.float32)
    score_simulated(model, args.count)
    if args.ptbxl:
        score_deletion(model, PTBXL(args.ptbxl, [9], args.cache), args.count, args.seed)


if __name__ == "__main__":
    main()
