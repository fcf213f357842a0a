"""heartcare read: a report and answers about ECG files and pictures of pages; drawings, FHIR and DICOM SR of them.

heartcare read ecg.hea
heartcare read page.jpg hospital.dcm --question "Is there atrial fibrillation?" --json
heartcare read ecg.csv --sampling-rate 500 --units uV --out page.svg --fhir bundle.json
heartcare read folder/*.hea --out "drawn/{name}.pdf"
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import OF_PAGES, STATED, UNREADABLE, Opened, add_of_pages, add_stated, given, open_file
from .models import add_model, default_model, load_pipeline
from .pages import NOT_CLINICAL, page_file, save_ecg, save_picture

if TYPE_CHECKING:
    from ..pipeline_heartcare import ECGInterpretationPipeline

QUESTIONS = ["What is the rhythm?", "Is this a normal ECG?"]
OUTPUTS = ("out", "fhir", "sr")
NAME = "{name}"  # in the name of an output, stands for the name of the file that is read
# Parts of the reply to the request for a report that --json prints as they are.
SHOWN = ("findings", "windows", "pages", "measurements", "quality", "checks", "provenance")


@dataclass(frozen=True)
class Reading:
    """A file that was read: what was `opened`, and the pipeline's `replies`, question -> reply; the first is the
    report.
    """

    opened: Opened
    replies: dict[str, dict[str, Any]]

    @property
    def notes(self) -> list[str]:
        """The notes for a reader of the ECG: how a picture was digitised, and warnings about it or the signal."""
        if self.opened.page is not None:
            return [*self.opened.notes, *self.opened.ecg.warnings]
        quality = self.report["quality"][:1] if self.opened.picture is None else []
        return [*self.opened.notes, *(warning for signal in quality for warning in signal["warnings"])]

    @property
    def report(self) -> dict[str, Any]:
        """The reply to the request for a report, with all that was found and measured."""
        return next(iter(self.replies.values()))


def main(argv: list[str] | None = None) -> int:
    """Runs the command."""
    return run(parse(argv))


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parses and checks the arguments. Exits with status 2 and the usage when they are wrong."""
    parser = argparse.ArgumentParser(
        prog="heartcare read", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="ECG of any known format, or a picture")
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object for each file, and nothing else")
    several = f"; with several files, {NAME} stands for the name of each"
    parser.add_argument("--out", help=f"the drawing with the answers: .png, .svg or .pdf{several}")
    parser.add_argument("--fhir", help=f"FHIR R4 Bundle (.json) of signal, numbers, findings and report{several}")
    parser.add_argument("--sr", help=f"DICOM SR (.dcm) of numbers, findings and report{several}")
    args = parser.parse_args(argv)
    try:
        check_outputs(args)
    except ValueError as error:
        parser.error(str(error))
    return args


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of reading, all but the files and the drawing."""
    parser.add_argument("--question", action="append", help=f"may be given several times; default: {QUESTIONS}")
    add_stated(parser)
    add_of_pages(parser)
    add_model(parser)


def check_outputs(args: argparse.Namespace) -> None:
    """Raises `ValueError` for a drawing of an unknown kind, and where two files would be written to one."""
    if getattr(args, "out", None):
        page_file(args.out)
    for name in OUTPUTS:
        written = [output_of(args, name, path) for path in args.files if getattr(args, name, None)]
        if len(set(written)) < len(written):
            raise ValueError(f"--{name} would be written to {written[0]} more than once; put {NAME} into its name.")


def run(args: argparse.Namespace) -> int:
    """Reads all files. Returns the exit status: 1 if one of them could not be read or written as asked for."""
    started = time.perf_counter()
    try:
        pipe = load_pipeline(args.model or default_model(), args.subfolder)
    except UNREADABLE as error:
        print(f"Cannot load the model. {error}", file=sys.stderr)
        return 1
    loaded = time.perf_counter() - started
    done = [answer_file(pipe, path, args, loaded) for path in args.files]
    if not args.json:
        print(NOT_CLINICAL)
    return 0 if all(done) else 1


def answer_file(pipe: "ECGInterpretationPipeline", path: Path, args: argparse.Namespace, loaded: float) -> bool:
    """Reads a file, prints its answers, and writes what is asked for beside them.

    Args:
        pipe: The pipeline.
        path: The file.
        args: The arguments.
        loaded: Seconds that loading the pipeline took.

    Returns: False for a file that could not be read, or not be written, after the reason was printed to stderr.
    """
    if len(args.files) > 1 and not args.json:
        print(path)
    began = time.perf_counter()
    try:
        reading = read_file(pipe, path, args)
    except UNREADABLE as error:
        return failed(path, f"Cannot read this ECG. {error}")
    took = time.perf_counter() - began
    if args.json:
        print(json.dumps(as_plain(path, reading)), flush=True)
    else:
        print_answers(reading)
    try:
        drawn = write_outputs(reading, path, args)
    except UNREADABLE as error:
        return failed(path, f"It was read, but not all that was asked for is written. {error}")
    if drawn and not args.json:
        print(f"Drawn to {drawn}. Loading took {loaded:.1f} s, {len(reading.replies)} answers {took:.1f} s.")
    return True


def failed(path: Path, reason: str) -> bool:
    """Prints to stderr why a command failed on a file. Returns False."""
    print(f"{path}: {reason}", file=sys.stderr)
    return False


def read_file(pipe: "ECGInterpretationPipeline", path: Path, args: argparse.Namespace) -> Reading:
    """Reads a file, and answers the questions about it.

    Raises: one of `UNREADABLE`.
    """
    from ..pipeline_heartcare import REPORT

    opened = open_file(path, given(args, STATED), given(args, OF_PAGES))
    questions = dict.fromkeys([REPORT, *(args.question or QUESTIONS)])
    options = {"max_new_tokens": 120, **given(args, ("layout",))}
    return Reading(opened, {text: pipe({**opened.part, "question": text}, **options) for text in questions})


def print_answers(reading: Reading) -> None:
    """Prints questions, answers and notes."""
    for question, reply in reading.replies.items():
        print("\n    ".join([question, reply["text"], *check_lines(reply)]))
    for note in reading.notes:
        print(f"Note: {note}")


def as_plain(path: Path, reading: Reading) -> dict[str, Any]:
    """Returns a reading as --json prints it."""
    report = reading.report
    answers = [
        {"question": question, "text": reply["text"]}
        | ({"probabilities": reply["probabilities"]} if "probabilities" in reply else {})
        for question, reply in list(reading.replies.items())[1:]
    ]
    shown = {name: report[name] for name in SHOWN if name in report}
    head = {"file": str(path), "format": reading.opened.format, "report": report["text"], "answers": answers}
    return head | shown | {"notes": reading.notes, "notice": NOT_CLINICAL}


def write_outputs(reading: Reading, path: Path, args: argparse.Namespace) -> Path | None:
    """Writes what is asked for beside the answers. Returns the path of the drawing, None where there is none."""
    fhir, sr, out = (output_of(args, name, path) for name in ("fhir", "sr", "out"))
    for file in (fhir, sr):
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
    if fhir:
        from ..agent.fhir import fhir_bundle

        fhir.write_text(json.dumps(fhir_bundle(reading.opened.ecg, reading.report), indent=1) + "\n", encoding="utf-8")
    if sr:
        from ..agent.structured_report import write_structured_report

        write_structured_report(sr, reading.opened.ecg, reading.report)
    if out:
        draw(reading, path.name, out)
    return out


def output_of(args: argparse.Namespace, name: str, path: Path) -> Path | None:
    """Returns the path of an output for a file, None where it is not asked for."""
    text = getattr(args, name, None)
    return Path(text.replace(NAME, path.stem)) if text else None


def draw(reading: Reading, title: str, out: Path) -> None:
    """Writes the drawing: an ECG on paper, of a long recording its cleanest window, or the page with what was read
    drawn over it; and the answers below.
    """
    answers = [(text, " ".join([reply["text"], *check_lines(reply)])) for text, reply in reading.replies.items()]
    lines = [*answers, (NOT_CLINICAL, "")]
    opened = reading.opened
    if opened.page is not None or opened.picture is not None:
        save_picture(out, opened.page.draw_over() if opened.page else opened.picture, lines)
        return
    ecg, header = opened.ecg, title
    if windows := reading.report.get("windows"):
        window = next((window for window in windows if "cleanest" in window["reason"]), windows[0])
        start = round(window["start"] * ecg.sampling_rate)
        ecg = ecg.cut(start, start + round(window["seconds"] * ecg.sampling_rate))
        header = f"{title}   at {window['start']:.0f} s, {window['reason']}"
    save_ecg(out, ecg, lines, header=header)


def check_lines(reply: dict[str, Any]) -> list[str]:
    """Returns a line for each claim of an answer that does not fit what was measured."""
    return [
        f"[Contradicted: {claim['text']}; measured {claim['measured']:g} {claim['unit']}]"
        for claim in reply.get("checks", ())
        if claim["verdict"] == "contradicted"
    ]
