"""Counts refusals of signals and pictures that are no ECG, of turned pages, and of true ECGs, which must not be
refused.

    python -m heartcare.studies.evaluate_refusals --ptbxl PTBXL_FOLDER --model . --fold 9 --repeats 5 --pages 500

Prints a Markdown table. Everything goes through the pipeline, which is asked whether the ECG is normal; the pages are
drawn of the fold's records, clean and as photographs of several strengths.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from heartcare.agent.not_ecgs import OTHER_PICTURES, OTHER_SIGNALS
from heartcare.agent.render import add_artefacts, draw_ecg
from heartcare.agent.sources import read_ptbxl_table
from heartcare.image_processing_heartcare import LAYOUTS
from heartcare.pipeline_heartcare import ECGInterpretationPipeline
from heartcare.reading_heartcare import read_ecg

from .loading import load_pipeline, ptbxl_parser

QUESTION = "Is this a normal ECG?"
STRENGTHS = (0.0, 0.3, 0.6, 1.0)  # strengths of a photograph's artefacts
TURNED = "turned pages"  # not digitised here, since digitising would turn them back
TURNS = {
    "turned by 90 degrees": Image.Transpose.ROTATE_270,
    "turned by 180 degrees": Image.Transpose.ROTATE_180,
    "turned by 270 degrees": Image.Transpose.ROTATE_90,
}


def other_signals(repeats: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields name and input of each kind of signal that is no ECG, ten seconds at 500 Hz."""
    time = np.arange(5000) / 500
    for name, make in OTHER_SIGNALS.items():
        for seed in range(repeats):
            signal = make(np.random.default_rng(seed), time)
            yield f"{name} {seed}", {"signal": signal, "sampling_rate": 500, "units": "mV"}


def other_pictures(repeats: int) -> Iterator[tuple[str, Image.Image]]:
    """Yields name and picture of each kind that is no ECG, every second one as a photograph; and blank ones."""
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        colour = tuple(rng.integers(0, 256, 3).tolist())
        yield f"blank {seed}", Image.new("RGB", (1650, 1275), colour)
        for name, make in OTHER_PICTURES.items():
            picture = make(rng).convert("RGB")
            yield f"{name} {seed}", add_artefacts(picture, 0.5, rng) if seed % 2 else picture


def turned_pages(records: list[Path]) -> Iterator[tuple[str, Image.Image]]:
    """Yields name and picture of drawn pages that are turned, in each layout."""
    for number, path in enumerate(records):
        for layout in LAYOUTS:
            page = draw(path, layout, STRENGTHS[number % 2], number)
            for name, turn in TURNS.items():
                yield f"{path.name} {layout} {name}", page.transpose(turn)


def draw(path: Path, layout: str, strength: float, seed: int) -> Image.Image:
    """Returns a record drawn on paper, photographed where the strength of the artefacts is not 0."""
    ecg = read_ecg(path)
    page = draw_ecg(ecg.signal, ecg.sampling_rate, layout, size=(1650, 1275))
    return add_artefacts(page, strength, np.random.default_rng(seed)) if strength else page


def pages(records: list[Path]) -> Iterator[tuple[str, Image.Image]]:
    """Yields name and picture of upright drawn pages, layouts and strengths of artefacts in turn."""
    for number, path in enumerate(records):
        layout = sorted(LAYOUTS)[number % len(LAYOUTS)]
        strength = STRENGTHS[number // len(LAYOUTS) % len(STRENGTHS)]
        yield f"{path.name} {layout} {strength}", draw(path, layout, strength, number)


def is_refused(pipe: ECGInterpretationPipeline, given: Any, digitize: bool) -> bool:
    """Tells whether nothing is said of an input: by the answer, or by an error where no lead can be used."""
    try:
        return "nothing is said of it" in pipe(given, question=QUESTION, digitize=digitize)["text"]
    except ValueError:
        return True


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = ptbxl_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="of each kind of signal and picture")
    parser.add_argument("--pages", type=int, default=500, help="number of drawn pages at most")
    args = parser.parse_args(argv)
    pipe = load_pipeline(args.model)
    records = [args.ptbxl / row["filename_lr"] for row in read_ptbxl_table(args.ptbxl, [args.fold], args.limit)]
    groups = {
        "signals that are no ECG": other_signals(args.repeats),
        "pictures that are no ECG": other_pictures(args.repeats),
        TURNED: turned_pages(records[: args.repeats]),
        "ECGs": ((path.name, str(path)) for path in records),
        "pages": pages(records[: args.pages]),
    }
    print("| given | number | refused | answered | the fewer of the two |\n|---|---|---|---|---|")
    for name, given in groups.items():
        replies = [(title, is_refused(pipe, each, digitize=name != TURNED)) for title, each in tqdm(given, desc=name)]
        refused = [title for title, was_refused in replies if was_refused]
        answered = [title for title, was_refused in replies if not was_refused]
        shown = min(refused, answered, key=len)
        print(f"| {name} | {len(replies)} | {len(refused)} | {len(answered)} | {', '.join(shown[:20])} |")


if __name__ == "__main__":
    main()
