# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Recordings in numpy's files, .npy and .npz: nothing is unpickled, and nothing is unpacked but the arrays of an
ECG.
"""

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from .files_heartcare import open_regular
from .limits_heartcare import most_values

SIGNALS = ("signal", "ecg")
WORDS = ("sampling_rate", "lead_names", "units")
READ_AT_ONCE = 2**20  # bytes
MAX_WORDS_BYTES = 2**16  # most bytes of each array beside the signal
MAX_DIRECTORY_BYTES = 2**20  # most bytes of an archive's list of contents, which zipfile reads into memory as a whole
DIRECTORY_END = b"PK\5\6"


def read_npy(path: Path) -> dict:
    """Reads a numpy file, .npy or .npz, with at most `most_values()` values.

    An .npz has the array `signal` or `ecg`, (leads, samples), and, where known, `sampling_rate`, `lead_names`, `units`.

    Returns: attributes of an `ECG` and "units", as far as the file says them.

    Raises: `ValueError`.
    """
    with open_regular(path) as file:
        try:
            if file.read(2) == b"PK":
                arrays = read_archive(file)
            else:
                arrays = {"signal": read_array(file, file.seek(0, 2), "the array")}
        except Exception as error:  # numpy and zipfile raise many kinds of errors on damaged files
            raise ValueError(f"{path} is no numpy file that can be read, or another zip archive ({error}).") from error
    if "signal" not in arrays:
        raise ValueError(f"{path} holds the arrays {arrays['names']}; expected one named 'signal' or 'ecg'.")
    content = {"signal": arrays["signal"]}
    try:
        if "sampling_rate" in arrays:
            content["sampling_rate"] = float(arrays["sampling_rate"])
        if "lead_names" in arrays:
            content["lead_names"] = [str(name) for name in np.atleast_1d(arrays["lead_names"])]
        if "units" in arrays:
            content["units"] = str(arrays["units"])
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: sampling_rate must be a number, lead_names a list of names, units a word ({error})."
        ) from error
    return content


def read_archive(file: IO[bytes]) -> dict:
    """Reads the arrays of an ECG in an .npz -> {"signal": ..., "sampling_rate": ..., ...}, and "names" of all arrays.

    Raises: `ValueError` where they claim too much, and the errors of zipfile.
    """
    check_directory(file)
    with zipfile.ZipFile(file) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        arrays: dict = {"names": sorted(members)[:12]}
        signal = next((name for name in SIGNALS if name in members), None)
        for key, name in [("signal", signal), *zip(WORDS, WORDS)]:
            if name not in members:
                continue
            info = members[name]
            if key in WORDS and info.file_size > MAX_WORDS_BYTES:
                raise ValueError(f"{name!r} has {info.file_size} bytes, at most {MAX_WORDS_BYTES} are read")
            with archive.open(info) as member:
                arrays[key] = read_array(member, info.file_size, repr(name))
                if member.read(1):  # at the end of a member, zipfile compares its checksum
                    raise ValueError(f"{name!r} is longer than the array in it")
    return arrays


def check_directory(file: IO[bytes]) -> None:
    """Raises `ValueError` for an archive with a list of contents that is larger than that of any ECG."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 2**16 - 22))
    end = file.read()
    at = end.rfind(DIRECTORY_END)
    directory = int.from_bytes(end[at + 12 : at + 16], "little") if at >= 0 else 0
    if directory > MAX_DIRECTORY_BYTES:
        raise ValueError(f"its list of contents has {directory} bytes, at most {MAX_DIRECTORY_BYTES} are read")


def read_array(file: IO[bytes], size: int, name: str) -> np.ndarray:
    """Reads an array of numbers or words whose header, size and content agree.

    Args:
        size: Bytes of the file, as its folder or archive claims.

    Raises: `ValueError`.
    """
    file.seek(0)
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_column, dtype = read_header(file)
    count = math.prod(shape)
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects, which are not read")
    if count > most_values() or count * dtype.itemsize > size:
        raise ValueError(f"{name} claims {count} values, more than it holds or than {most_values()}")
    content = bytearray(count * dtype.itemsize)
    view, filled = memoryview(content), 0
    # A member of an archive is read into memory of its own before it is copied, so little of it at a time.
    while filled < len(content) and (number := file.readinto(view[filled : filled + READ_AT_ONCE])):
        filled += number
    if filled < len(content):
        raise ValueError(f"{name} ends after {filled} of {len(content)} bytes")
    array = np.frombuffer(content, dtype)
    return array.reshape(shape[::-1]).T if by_column else array.reshape(shape)


__all__ = ["read_npy"]
