"""Opens the ECG files and page pictures of the command line, and adds the options for what these do not say."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

    from ..digitizing_heartcare import DigitizedPage
    from ..ecg_heartcare import ECG

UNREADABLE = (ValueError, TypeError, OSError, ImportError)  # errors that say what is wrong with a file
STATED = ("sampling_rate", "lead_names", "units")
OF_PAGES = ("layout", "speed", "gain")


@dataclass(frozen=True)
class Opened:
    """An opened file.

    Attributes:
        ecg: The recording, or what a page shows; None for a picture that was not digitised.
        page: The digitised page, None for all else.
        picture: The picture that was not digitised, None for all else.
        format: Name of the format.
        notes: Sentences on how a picture was digitised, or why it was not.
    """

    ecg: "ECG | None"
    page: "DigitizedPage | None"
    picture: "Image.Image | None"
    format: str
    notes: tuple[str, ...] = ()

    @property
    def part(self) -> dict[str, Any]:
        """The file as the pipeline takes it."""
        if self.page is not None or self.picture is not None:
            return {"type": "image", "image": self.page or self.picture}
        return {"type": "ecg", **self.ecg.as_input()}


def add_stated(parser: argparse.ArgumentParser) -> None:
    """Adds the options for what a recording may not say itself."""
    parser.add_argument("--sampling-rate", type=float, help="Hz, for files that do not say it")
    parser.add_argument("--lead-names", type=names, help="comma-separated, for files that do not say them")
    parser.add_argument("--units", help="mV, uV or V, for files that do not say it")


def add_of_pages(parser: argparse.ArgumentParser) -> None:
    """Adds the options for what is known of a picture."""
    parser.add_argument(
        "--layout", type=one_of("layouts_heartcare", "LAYOUT_NAMES"), help="of a picture, where it is not found"
    )
    parser.add_argument("--speed", type=float, help="mm/s of a picture, where it has no calibration pulse")
    parser.add_argument("--gain", type=float, help="mm/mV of a picture, where it has no calibration pulse")


def one_of(module: str, constant: str) -> Callable[[str], str]:
    """Returns the check of an option by a constant of the core, which is not imported for the command's help."""

    def check(text: str) -> str:
        choices = list(getattr(import_module(f"heartcare.{module}"), constant))
        if text not in choices:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(choices)}")
        return text

    return check


def names(text: str) -> list[str]:
    """Returns the names that a text lists."""
    return [name.strip() for name in text.split(",")]


def given(args: argparse.Namespace, options: tuple[str, ...]) -> dict[str, Any]:
    """Returns those of some options that the user gave."""
    return {name: getattr(args, name) for name in options if getattr(args, name, None) is not None}


def open_file(path: Path, stated: dict[str, Any], of_pages: dict[str, Any]) -> Opened:
    """Opens an ECG file, or a picture of a page, which is digitised where that can be done.

    Args:
        path: The file.
        stated: Sampling rate, lead names and units, as far as the user gives them.
        of_pages: Layout, speed and gain of a picture, as far as the user gives them.

    Raises: one of `UNREADABLE`.
    """
    from ..digitizing_heartcare import NotDigitized, digitize
    from ..image_processing_heartcare import open_picture
    from ..reading_heartcare import PICTURES, detect_format, read_ecg

    format = detect_format(path).name
    if format not in PICTURES:
        return Opened(read_ecg(path, **stated), None, None, format)
    picture = open_picture(path)
    try:
        page = digitize(picture, **of_pages)
    except NotDigitized as error:
        return Opened(None, None, picture, format, (f"The picture was not digitised: {error}",))
    return Opened(page.ecg, page, None, format, page.ecg.notes)


def run_on_file(run: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> int:
    """Runs a command that is about one file.

    Args:
        run: The command; it raises one of `UNREADABLE` for a file that cannot be used.
        args: Its arguments, with the `file`.

    Returns: the exit status, 1 for such a file, after the reason was printed to stderr.
    """
    try:
        run(args)
    except UNREADABLE as error:
        print(f"{args.file}: {error}", file=sys.stderr)
        return 1
    return 0
