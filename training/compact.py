"""PTB-XL in two small files, to be carried to a machine that trains: cleaned at 100 Hz, the eight independent leads, in
steps of 28 uV, which is less than the noise of most records (8 uV RMSE).

    python -m heartcare.training.compact pack --ptbxl PTBXL_FOLDER --output runs/compact
    python -m heartcare.training.compact unpack --parts runs/compact --ptbxl PTBXL_COPY --cache runs/cache

`pack` writes ptbxl_1.xz and ptbxl_2.xz (21.7 MB each), folds 1-9 unless --folds says otherwise. `unpack` writes the
table of these records and the cache of cleaned signals, with which all commands of `heartcare.training` that take
--ptbxl and --cache run there without the recordings themselves.
"""

import argparse
import csv
import io
import lzma
from pathlib import Path

import numpy as np

from heartcare.configuration_heartcare import LEADS

from .ptbxl import PTBXL, cache_paths

STEP = 28  # uV
INDEPENDENT = [LEADS.index(lead) for lead in ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")]


def pack(args: argparse.Namespace) -> None:
    """Writes both files."""
    data = PTBXL(args.ptbxl, args.folds, args.cache, args.limit)
    args.output.mkdir(parents=True, exist_ok=True)
    half = -(-len(data) // 2)
    for part, rows in enumerate((range(half), range(half, len(data))), 1):
        signals = np.stack([data.microvolts(i) for i in rows])
        table = [data.rows[i] | {"scp_codes": repr(data.rows[i]["scp_codes"])} for i in rows]
        path = args.output / f"ptbxl_{part}.xz"
        path.write_bytes(compress(signals, table))
        print(f"{path}: {len(rows)} records, {path.stat().st_size / 1e6:.1f} MB")


def compress(signals: np.ndarray, table: list[dict[str, str]]) -> bytes:
    """Compresses records, each with its row of the table.

    Args:
        signals: int16 (records, 12, samples) in uV.
        table: Row of each record.
    """
    steps = np.round(signals[:, INDEPENDENT] / STEP).astype(np.int16)
    changes = np.diff(steps, axis=2, prepend=np.int16(0))
    # Small steps of either sign become small numbers, whose high bytes are nearly all 0.
    unsigned = ((changes << 1) ^ (changes >> 15)).view(np.uint16)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]))
    writer.writeheader()
    writer.writerows(table)
    header = text.getvalue().encode()
    sizes = np.array([len(header), *unsigned.shape], "<i8").tobytes()
    planes = [(unsigned & 255).astype(np.uint8).tobytes(), (unsigned >> 8).astype(np.uint8).tobytes()]
    return lzma.compress(sizes + header + b"".join(planes), preset=6)


def unpack(args: argparse.Namespace) -> None:
    """Writes the table and the cache of cleaned signals."""
    parts = [decompress(path.read_bytes()) for path in sorted(args.parts.glob("ptbxl_*.xz"))]
    if not parts:
        raise FileNotFoundError(f"{args.parts} holds no ptbxl_1.xz; `pack` writes it.")
    table = [row for _, rows in parts for row in rows]
    args.ptbxl.mkdir(parents=True, exist_ok=True)
    args.cache.mkdir(parents=True, exist_ok=True)
    with open(args.ptbxl / "ptbxl_database.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    signals, ids = cache_paths(args.cache)
    np.save(signals, np.concatenate([signal for signal, _ in parts]))
    np.save(ids, np.array([int(row["ecg_id"]) for row in table]))


def decompress(data: bytes) -> tuple[np.ndarray, list[dict[str, str]]]:
    """Returns what `compress` was given: int16 (records, 12, samples) in uV, rounded to steps, and the table. The other
    four leads follow from I and II by Einthoven's and Goldberger's laws.
    """
    raw = lzma.decompress(data)
    length, *shape = np.frombuffer(raw[:32], "<i8")
    table = list(csv.DictReader(io.StringIO(raw[32 : 32 + length].decode())))
    low, high = np.frombuffer(raw, np.uint8, offset=32 + int(length)).reshape(2, *shape).astype(np.uint16)
    unsigned = low | high << 8
    changes = (unsigned >> 1).astype(np.int16) ^ -(unsigned & 1).astype(np.int16)
    steps = np.cumsum(changes, axis=2, dtype=np.int32) * STEP
    one, two, chest = steps[:, :1], steps[:, 1:2], steps[:, 2:]
    limb = [one, two, two - one, -(one + two) // 2, one - two // 2, two - one // 2]
    return np.concatenate([*limb, chest], axis=1).clip(-32767, 32767).astype(np.int16), table


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    packing, unpacking = commands.add_parser("pack"), commands.add_parser("unpack")
    packing.set_defaults(run=pack)
    packing.add_argument("--ptbxl", type=Path, required=True, help="PTB-XL in its official layout")
    packing.add_argument("--output", type=Path, default=Path("runs/compact"))
    packing.add_argument("--folds", type=int, nargs="+", default=list(range(1, 10)))
    packing.add_argument("--limit", type=int, help="number of records at most")
    unpacking.set_defaults(run=unpack)
    unpacking.add_argument("--parts", type=Path, required=True, help="folder of the files that `pack` wrote")
    unpacking.add_argument("--ptbxl", type=Path, required=True, help="folder for the table")
    for command in (packing, unpacking):
        command.add_argument("--cache", type=Path, default=Path("runs/cache"), help="folder for cleaned signals")
    args = parser.parse_args(argv)
    args.run(args)


if __name__ == "__main__":
    main()
