"""Digitises a picture of an ECG on paper: the signal as CSV, and the page with what was read drawn over it.

python examples/digitize.py page.jpg --csv ecg.csv --picture over.png
python examples/digitize.py page.jpg --layout 3x4+R --gain 10
"""

import argparse
from pathlib import Path

import numpy as np

from heartcare import NotDigitized, digitize
from heartcare.image_processing_heartcare import open_picture
from heartcare.layouts_heartcare import LAYOUT_NAMES


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, help="PNG, JPEG, TIFF, ...")
    parser.add_argument("--layout", choices=LAYOUT_NAMES, help="where it is known")
    parser.add_argument("--speed", type=float, help="mm/s, where it is known")
    parser.add_argument("--gain", type=float, help="mm/mV, where it is known")
    parser.add_argument("--csv", type=Path, help="file for the signal: a column for each lead, in mV at 500 Hz")
    parser.add_argument("--picture", type=Path, help="file for the page with the traces that were read")
    args = parser.parse_args(argv)
    picture = open_picture(args.page)
    try:
        page = digitize(picture, args.layout, args.speed, args.gain)
    except NotDigitized as error:
        raise SystemExit(f"{args.page}: {error}") from None
    for note in page.ecg.notes:
        print(note)
    print("warnings:", ", ".join(page.ecg.warnings) or "none")
    for lead, recorded in zip(page.ecg.lead_names, page.ecg.recorded):
        print(f"{lead:4} {recorded.sum() / page.ecg.sampling_rate:5.2f} s")
    if args.csv:
        names = ",".join(page.ecg.lead_names)
        np.savetxt(args.csv, page.ecg.signal.T, fmt="%.4f", delimiter=",", header=names, comments="")
    if args.picture:
        page.draw_over().save(args.picture)


if __name__ == "__main__":
    main()
