"""Reads one ECG: prints a report and answers, and draws the ECG on standard paper with the answers below it.

python examples/read_ecg.py examples/ecgs/right_bundle_branch_block
python examples/read_ecg.py my_ecg.csv --sampling-rate 500 --units uV --question "Is there atrial fibrillation?"
python examples/read_ecg.py hospital.dcm
python examples/read_ecg.py scanned.tif --output over.png
python examples/read_ecg.py my_ecg.hea --subfolder smollm2
"""

import argparse
import sys
import time
from pathlib import Path

from PIL import Image
from transformers import AutoModel, AutoProcessor, Pipeline, pipeline

from heartcare import NotDigitized, digitize
from heartcare.agent.render import add_text, draw_ecg
from heartcare.layouts_heartcare import LAYOUT_NAMES
from heartcare.parts_heartcare import as_part
from heartcare.pipeline_heartcare import REPORT

QUESTIONS = ["What is the rhythm?", "Is this a normal ECG?"]
ROOT = Path(__file__).resolve().parent.parent


def read_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Reads the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", help="an ECG file of any known format, or a picture (PNG, JPEG, TIFF, ...)")
    parser.add_argument("--question", action="append", help=f"may be given several times; default: {QUESTIONS}")
    parser.add_argument("--sampling-rate", type=float, help="Hz, for files that do not say it")
    parser.add_argument("--lead-names", help="comma-separated, for files that do not say them")
    parser.add_argument("--units", help="mV, uV or V, for files that do not say it")
    parser.add_argument("--layout", choices=LAYOUT_NAMES, help="of a picture, where it is not found")
    parser.add_argument("--speed", type=float, help="mm/s of a picture, where it has no calibration pulse")
    parser.add_argument("--gain", type=float, help="mm/mV of a picture, where it has no calibration pulse")
    parser.add_argument("--model", default=str(ROOT))
    parser.add_argument("--subfolder", default="", help="of the model's repository, for its other checkpoints")
    parser.add_argument("--output", default="out/ecg.png", help="the drawing")
    return parser.parse_args(argv)


def load(repository: str, subfolder: str) -> Pipeline:
    """Returns the pipeline of a checkpoint."""
    if not subfolder:
        return pipeline(model=repository, trust_remote_code=True)
    options = {"subfolder": subfolder, "trust_remote_code": True}
    model, processor = (part.from_pretrained(repository, **options) for part in (AutoModel, AutoProcessor))
    return pipeline("ecg-interpretation", model=model, processor=processor)


def check_line(claim: dict) -> str:
    """Says that a claim of an answer does not fit what was measured."""
    return f"[Contradicted: {claim['text']}; measured {claim['measured']:g} {claim['unit']}]"


def draw(part: dict, pipe: Pipeline, args: argparse.Namespace) -> tuple[dict, Image.Image, list[str]]:
    """Returns the ECG as the pipeline takes it, its drawing, and what is to be noted. A picture is digitised, and what
    was read is drawn over it; one that cannot be digitised is drawn as it is.
    """
    if part["type"] != "image":
        extractor = pipe.processor.feature_extractor
        signal, lead_mask, quality, _ = extractor.prepare(part)
        page = draw_ecg(signal, extractor.sampling_rate, header=Path(args.record).name, lead_mask=lead_mask)
        return part, page, quality["warnings"]
    try:
        page = digitize(part["image"], args.layout, args.speed, args.gain)
    except NotDigitized as error:
        return part, part["image"], [f"The picture was not digitised: {error}"]
    return {"type": "image", "image": page}, page.draw_over(), [*page.ecg.notes, *page.ecg.warnings]


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    args = read_arguments(argv)
    names = args.lead_names.split(",") if args.lead_names else None
    stated = {"sampling_rate": args.sampling_rate, "lead_names": names, "units": args.units}
    started = time.perf_counter()
    pipe = load(args.model, args.subfolder)
    loaded = time.perf_counter()

    answers = []
    try:
        part = as_part(Path(args.record), **{name: value for name, value in stated.items() if value is not None})
        part, page, warnings = draw(part, pipe, args)
        for question in [REPORT, *(args.question or QUESTIONS)]:
            reply = pipe({**part, "question": question}, max_new_tokens=120, layout=args.layout)
            checked = [check_line(claim) for claim in reply.get("checks", ()) if claim["verdict"] == "contradicted"]
            answers.append((question, " ".join([reply["text"], *checked])))
            print("\n    ".join([question, reply["text"], *checked]))
    except (ValueError, TypeError, FileNotFoundError, ImportError) as error:
        sys.exit(f"Cannot read this ECG. {error}")
    for warning in warnings:
        print(f"Note: {warning}")
    done = time.perf_counter()

    output = Path(args.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    add_text(page, [*answers, ("Not for clinical use.", "")]).save(output)
    print(f"Drawn to {output}. Loading took {loaded - started:.1f} s, {len(answers)} answers {done - loaded:.1f} s.")
    print("Not for clinical use.")


if __name__ == "__main__":
    main()
