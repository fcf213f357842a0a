"""Makes the pictures of the README: three questions, each with its ECG and the answer of the pipeline below it.

    python examples/make_pictures.py            # writes examples/pictures/*.jpg
    python examples/make_pictures.py --check    # tells whether the pipeline still answers what they show

Each picture holds its questions and answers as JSON in the comment of the JPEG, which --check compares. The ECGs are
the simulated ones of examples/ecgs.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from heartcare.agent.device_pages import DEVICES, draw_page
from heartcare.agent.render import add_artefacts, add_text, draw_ecg
from heartcare.modeling_heartcare import HeartcareForConditionalGeneration
from heartcare.pipeline_heartcare import ECGInterpretationPipeline
from heartcare.processing_heartcare import HeartcareProcessor
from heartcare.reading_heartcare import read_ecg

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "examples/pictures"
ECGS = ROOT / "examples/ecgs"
WIDTH = 900  # pixels of a picture
CLOSING = ("Not for clinical use. The ECGs are simulated.", "")


def ask(pipe: ECGInterpretationPipeline) -> Iterator[tuple[str, Image.Image, list[tuple[str, str]]]]:
    """Yields the name of each picture, the ECGs that it shows, and the questions about them with their answers."""
    before, now = ECGS / "sinus_rhythm", ECGS / "right_bundle_branch_block"
    first, second = read_ecg(before).signal, read_ecg(now).signal
    question = "Write a report of this ECG."
    yield "recording", draw_ecg(second, 500), [(question, pipe(str(now), question=question)["text"])]

    question = "What is different in the second ECG?"
    answer = pipe({"ecgs": [str(before), str(now)]}, question=question)["text"]
    pages = [draw_ecg(first, 500, header="first ECG"), draw_ecg(second, 500, header="second ECG")]
    yield "comparison", stacked(pages), [(question, answer)]

    style = replace(DEVICES["philips"], header=())  # without numbers, which would be those of another ECG
    page, _ = draw_page(second, 500, style)
    photo = add_artefacts(page, 0.7, np.random.default_rng(0))
    question = "How wide is the QRS complex?"
    yield "photograph", photo, [(question, pipe(photo, question=question)["text"])]


def stacked(pages: list[Image.Image]) -> Image.Image:
    """Returns pages of one width below each other."""
    sheet = Image.new("RGB", (pages[0].width, sum(page.height for page in pages)), "white")
    top = 0
    for page in pages:
        sheet.paste(page, (0, top))
        top += page.height
    return sheet


def save(path: Path, page: Image.Image, answers: list[tuple[str, str]]) -> None:
    """Writes a page with its answers below it, as wide as all pictures are."""
    picture = add_text(page.convert("RGB"), [*answers, CLOSING])
    picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
    picture.save(path, quality=85, comment=json.dumps(answers))


def answers_in(path: Path) -> list[tuple[str, str]]:
    """Returns the questions and answers that a picture shows, none for one that is not there."""
    if not path.is_file():
        return []
    with Image.open(path) as picture:
        return [(question, answer) for question, answer in json.loads(picture.info["comment"])]


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder of the pictures")
    parser.add_argument("--check", action="store_true", help="write nothing; tell whether the answers are today's")
    args = parser.parse_args(argv)
    pipe = ECGInterpretationPipeline(
        model=HeartcareForConditionalGeneration.from_pretrained(ROOT),
        processor=HeartcareProcessor.from_pretrained(ROOT),
        device="cpu",
    )
    if not args.check:
        args.output.mkdir(parents=True, exist_ok=True)
    for name, page, answers in ask(pipe):
        path = args.output / f"{name}.jpg"
        if not args.check:
            save(path, page, answers)
        elif answers_in(path) != answers:
            raise SystemExit(f"{path} shows {answers_in(path)}, and today's answers are {answers}. Make it anew.")


if __name__ == "__main__":
    main()
