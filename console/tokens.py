"""heartcare tokens: Beat's codes of an ECG file, and the ECG that codes stand for.

heartcare tokens ecg.hea                                      # JSON on the screen
heartcare tokens ecg.hea --out codes.npz                      # or .json
heartcare tokens codes.npz --decode ecg.csv                   # a column for each lead, in mV
"""

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .files import STATED, add_stated, given, run_on_file
from .models import add_model, default_model, load_beat

if TYPE_CHECKING:
    from ..tokenization_beat import BeatModel

ENDINGS = (".json", ".npz")
KEYS = ("codes", "gain_mv", "samples", "sampling_rate", "bits_per_second")  # names in a file of codes
MOST_SECONDS = 3600.0


def main(argv: list[str] | None = None) -> int:
    """Runs the command. Returns 1 for a file that cannot be read."""
    return run_on_file(run, parse(argv))


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parses and checks the arguments. Exits with status 2 and the usage when they are wrong."""
    parser = argparse.ArgumentParser(
        prog="heartcare tokens", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="ECG of any known format; with --decode, its codes")
    parser.add_argument("--out", type=Path, help="the codes: .npz or .json; default: JSON on the screen")
    parser.add_argument("--decode", type=Path, metavar="CSV", help="the ECG that the codes in FILE stand for")
    add_stated(parser)
    add_model(parser)
    args = parser.parse_args(argv)
    if args.out and args.decode:
        parser.error("--out is for codes of an ECG, and --decode for the ECG of codes; give one of them")
    if args.out and args.out.suffix.lower() not in ENDINGS:
        parser.error(f"--out must end with {' or '.join(ENDINGS)}, got {str(args.out)!r}")
    return args


def run(args: argparse.Namespace) -> None:
    """Tokenises or decodes.

    Raises: one of `UNREADABLE`.
    """
    if args.decode:
        seconds = decode(args)
        print(f"{args.decode}: {seconds:g} s of twelve leads in mV, decoded.")
        return
    tokens = encode(args)
    plain = json.dumps(tokens | {"codes": tokens["codes"].tolist()})
    if args.out is None:
        print(plain)
        return
    args.out.parent.mkdir(parents=True, exist_ok=True)
    if args.out.suffix.lower() == ".json":
        args.out.write_text(plain + "\n", encoding="utf-8")
    else:
        np.savez(args.out, **tokens)
    levels, latents = tokens["codes"].shape
    seconds = tokens["samples"] / tokens["sampling_rate"]
    print(
        f"{args.out}: {latents} latents of {levels} codes for {seconds:g} s, {tokens['bits_per_second']:g} bits/s, "
        f"gain {tokens['gain_mv']:.4f} mV."
    )


def encode(args: argparse.Namespace) -> dict[str, Any]:
    """Returns the codes of a recording, int (levels, latents), and what is needed to decode them; see `KEYS`.

    Raises: one of `UNREADABLE`; `ValueError` for a recording of more than `MOST_SECONDS`.
    """
    import torch

    from ..reading_heartcare import read_ecg

    ecg = read_ecg(args.file, **given(args, STATED))
    if ecg.seconds > MOST_SECONDS:
        raise ValueError(
            f"{args.file} lasts {ecg.seconds:g} s; at most {MOST_SECONDS:g} s are tokenised at a time. Cut it, or use "
            "`BeatModel.stream`."
        )
    beat, extractor = load_beat(args.model or default_model(), args.subfolder)
    inputs = extractor(ecg, return_tensors="pt")
    with torch.inference_mode():
        tokens = beat.encode(**inputs)
    values = (
        tokens.codes[0].numpy().astype(np.int32),
        float(tokens.gain[0]),
        inputs["input_values"].shape[-1],
        extractor.sampling_rate,
        bits_per_second(beat),
    )
    return dict(zip(KEYS, values))


def bits_per_second(beat: "BeatModel") -> float:
    """Returns the rate of the codes; the gain is one number for the whole recording."""
    config = beat.config
    codes = beat.quantizer.num_levels * config.num_queries * config.sampling_rate / config.segment_length
    return codes * math.log2(config.codebook_size)


def decode(args: argparse.Namespace) -> float:
    """Writes the ECG of some codes as CSV. Returns its length in seconds.

    Raises: one of `UNREADABLE`.
    """
    import torch

    from ..configuration_heartcare import LEADS

    content = read_codes(args.file)
    beat, extractor = load_beat(args.model or default_model(), args.subfolder)
    codes, gain = torch.from_numpy(content["codes"].astype(np.int64)), torch.tensor([content["gain_mv"]])
    with torch.inference_mode():
        signal = beat.decode(codes[None], gain)[0, :, -content["samples"] :].numpy()
    args.decode.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(args.decode, signal.T, fmt="%.4f", delimiter=",", header=",".join(LEADS), comments="")
    return signal.shape[1] / extractor.sampling_rate


def read_codes(path: Path) -> dict[str, Any]:
    """Reads a file of codes.

    Raises: `FileNotFoundError`; `ValueError` for a file of another kind.
    """
    expected = f"{path} holds no codes; expected a file that `heartcare tokens FILE --out {path.stem}.npz` wrote."
    try:
        if path.suffix.lower() == ".json":
            content = json.loads(path.read_text(encoding="utf-8"))
            content["codes"] = np.array(content["codes"], np.int64)
        else:
            with np.load(path, allow_pickle=False) as arrays:
                content = {name: arrays[name] for name in KEYS}
        if content["codes"].ndim != 2 or content["codes"].dtype.kind != "i":
            raise ValueError("the codes are no whole numbers in rows")
        return {"codes": content["codes"], "gain_mv": float(content["gain_mv"]), "samples": int(content["samples"])}
    except FileNotFoundError:
        raise
    except Exception as error:  # numpy, zipfile and json raise many kinds of errors on other files
        raise ValueError(f"{expected} ({type(error).__name__}: {error})") from error
