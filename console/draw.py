"""heartcare draw: an ECG file on standard paper, as PNG, SVG or PDF.

heartcare draw ecg.hea --out page.svg
heartcare draw ecg.edf --out page.pdf --layout 6x2 --gain 5 --start 3600
"""

import argparse
from pathlib import Path

from .files import STATED, add_stated, given, one_of, run_on_file
from .pages import page_file, save_ecg


def main(argv: list[str] | None = None) -> int:
    """Runs the command. Returns 1 for a file that cannot be drawn."""
    return run_on_file(draw, parse(argv))


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parses and checks the arguments. Exits with status 2 and the usage when they are wrong."""
    parser = argparse.ArgumentParser(
        prog="heartcare draw", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="ECG of any known format")
    parser.add_argument("--out", required=True, help="the drawing: .png, .svg or .pdf")
    parser.add_argument("--layout", type=one_of("image_processing_heartcare", "LAYOUTS"), default="3x4+R")
    parser.add_argument("--speed", type=float, default=25.0, help="mm/s")
    parser.add_argument("--gain", type=float, default=10.0, help="mm/mV")
    parser.add_argument("--start", type=float, default=0.0, help="second of the recording with which the page begins")
    add_stated(parser)
    args = parser.parse_args(argv)
    try:
        page_file(args.out)
    except ValueError as error:
        parser.error(str(error))
    return args


def draw(args: argparse.Namespace) -> None:
    """Draws ten seconds of a recording, cleaned.

    Raises: one of `UNREADABLE`.
    """
    from ..reading_heartcare import read_ecg

    ecg = read_ecg(args.file, **given(args, STATED))
    if not 0 <= args.start < ecg.seconds:
        raise ValueError(f"--start must be from 0 to {ecg.seconds:g} s, the length of the recording, got {args.start}.")
    first = round(args.start * ecg.sampling_rate)
    ecg = ecg.cut(first, first + round(10 * ecg.sampling_rate))
    options = {"layout": args.layout, "speed": args.speed, "gain": args.gain, "header": args.file.name}
    save_ecg(Path(args.out), ecg, [], **options)
    print(f"Drawn to {args.out}.")
