# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""AliveCor's ATC files, as Kardia's recorders store them: signature -> blocks -> leads in mV.

A file is a signature, a version, and blocks of an identifier, a length, data and a checksum, little-endian all of them
(ATC File Format Specification 1.7). Names of the recording, the phone and the recorder are not kept.
"""

import struct
import zlib
from pathlib import Path

import numpy as np

from .configuration_heartcare import LEADS
from .ecg_heartcare import to_millivolts
from .files_heartcare import read_bytes
from .wfdb_heartcare import padding_note

SIGNATURE = b"ALIVE\0\0\0"
MAX_ATC_BYTES = 2**27
START = 12  # bytes of signature and version
FORMAT = struct.Struct("<BHHBH")  # kind of samples, rate in Hz, nV of one step, flags, reserved
SIGNED_16_BIT = 1
FILTERS = {4: "mains", 8: "low-pass", 16: "baseline", 32: "notch", 64: "enhanced"}  # bit of the flags -> filter
LEADS_OF_BLOCKS = dict(zip((b"ecg ", *(b"ecg%c" % mark for mark in b"23456789abc")), LEADS))


def read_atc(path: Path) -> dict:
    """Reads the recording of a Kardia recorder; leads that are shorter than others end in NaN.

    Returns: attributes of an `ECG`.

    Raises: `ValueError` for a file that is damaged, or has no samples or no description of them.
    """
    blocks = read_blocks(path)
    if len(blocks.get(b"fmt ", b"")) < FORMAT.size:
        raise ValueError(f"{path} is an ATC file without the block 'fmt ', which says the sampling rate and the scale.")
    kind, rate, step, flags, _ = FORMAT.unpack_from(blocks[b"fmt "])
    if kind != SIGNED_16_BIT or not step:
        raise ValueError(f"{path}: expected samples of 16 bits in steps above 0 nV, got kind {kind}, {step} nV.")
    rows = {
        lead: np.frombuffer(blocks[name], "<i2", count=len(blocks[name]) // 2)
        for name, lead in LEADS_OF_BLOCKS.items()
        if name in blocks
    }
    if not rows:
        raise ValueError(f"{path} is an ATC file without any lead.")
    lengths = [len(row) for row in rows.values()]
    signal = np.full((len(rows), max(lengths)), np.nan)
    for samples, row in zip(signal, rows.values()):
        samples[: len(row)] = row * to_millivolts(float(step), "nV")
    filters = [name for bit, name in FILTERS.items() if flags & bit]
    return {
        "signal": signal,
        "sampling_rate": rate,
        "lead_names": list(rows),
        "units": "mV",
        "notes": (*padding_note(lengths), *([f"filtered by the device: {', '.join(filters)}"] if filters else [])),
    }


def read_blocks(path: Path) -> dict[bytes, bytes]:
    """Reads the blocks of an ATC file: identifier -> data.

    Raises: `ValueError` for a file that is cut off, for a wrong checksum, and for a block that is there twice.
    """
    content, blocks, place = read_bytes(path, MAX_ATC_BYTES), {}, START
    while place < len(content):
        if place + 8 > len(content):
            raise ValueError(f"{path} ends within the head of a block at byte {place}; it is truncated.")
        name, length = struct.unpack_from("<4sI", content, place)
        end = place + 8 + length
        if end + 4 > len(content):
            raise ValueError(f"{path}: block {name!r} claims {length} bytes, more than there are; it is truncated.")
        # The specification says CRC32, but recorders write the sum of the bytes.
        (checksum,) = struct.unpack_from("<I", content, end)
        block = content[place:end]
        if checksum not in (zlib.crc32(block), int(np.frombuffer(block, np.uint8).sum(dtype=np.uint64)) % 2**32):
            raise ValueError(f"{path}: the checksum of block {name!r} is wrong; the file is damaged.")
        if name in blocks:
            raise ValueError(f"{path}: block {name!r} is there twice.")
        blocks[name], place = block[8:], end + 4
    return blocks


__all__ = ["SIGNATURE", "read_atc"]
