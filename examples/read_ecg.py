"""Reads one ECG: prints a report and answers, and draws the ECG on standard paper with the answers below it.

python examples/read_ecg.py examples/ecgs/right_bundle_branch_block
python examples/read_ecg.py my_ecg.csv --sampling-rate 500 --units uV --question "Is there atrial fibrillation?"
python examples/read_ecg.py hospital.dcm
python examples/read_ecg.py scanned.tif --output over.png
python examples/read_ecg.py my_ecg.hea --subfolder smollm2

It is the command `heartcare read` for one file, with a drawing in any case.
"""

import argparse
import sys
from pathlib import Path

from heartcare.console.read import add_options, check_outputs, run


def main(argv: list[str] | None = None) -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "files", nargs=1, type=Path, metavar="record", help="an ECG file of any known format, or a picture"
    )
    add_options(parser)
    parser.add_argument("--output", dest="out", default="out/ecg.png", help="the drawing: .png, .svg or .pdf")
    args = parser.parse_args(argv, argparse.Namespace(json=False))
    try:
        check_outputs(args)
    except ValueError as error:
        parser.error(str(error))
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
