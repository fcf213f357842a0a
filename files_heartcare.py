# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Files of recordings: only regular ones are opened, and a record's further files lie beside its header."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

# Without these two, opening a FIFO waits for a writer, and Windows changes line ends.
OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
# Endings of the files that are read. What else stands behind a full stop belongs to the name: "patient.12".
ENDINGS = frozenset(
    ".hea .dat .mat .csv .tsv .txt .json .npy .npz .edf .bdf .rec .dcm .dicom .dic .xml .scp .ecg .mwf .mfer .pdf .png"
    " .atc .jpg .jpeg .tif .tiff .gif .bmp .webp".split()
)


def without_ending(path: str | Path) -> str:
    """Returns the name of a file without its folder and, if it is one of `ENDINGS`, its ending."""
    path = Path(path)
    return path.stem if path.suffix.lower() in ENDINGS else path.name


def read_bytes(path: Path, limit: int) -> bytes:
    """Reads a whole regular file of at most `limit` bytes.

    Raises: as `open_regular`, and `ValueError` for a larger file.
    """
    with open_regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"{path} has more than {limit} bytes, the most that are read of such a file.")
    return content


def open_regular(path: Path) -> BinaryIO:
    """Opens a regular file for reading in binary mode. A link to a regular file is followed.

    Raises: `FileNotFoundError` for what does not exist and for a folder, a FIFO or a device; `PermissionError`.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{path} is no file: it does not exist.") from None
    if not stat.S_ISREG(mode):
        raise FileNotFoundError(f"{path} is no file: it is a folder, a FIFO or a device.")
    number = os.open(path, OPEN_FLAGS)
    if not stat.S_ISREG(os.fstat(number).st_mode):  # it was exchanged for something else since `stat`
        os.close(number)
        raise FileNotFoundError(f"{path} is no file: it is a folder, a FIFO or a device.")
    return os.fdopen(number, "rb")


def beside(header: Path, name: str) -> Path:
    """Returns the path of a file that a header names.

    A link may point into the header's folder, or to where the header itself is kept if that is a link, too: the cache
    of the Hugging Face Hub consists of such links.

    Raises: `FileNotFoundError` for what is not there; `ValueError` for a name with a path, for a link to another
        folder, and for a folder, a FIFO or a device.
    """
    if Path(name).name != name or name in ("..", ".") or "\\" in name:
        raise ValueError(f"{header} names {name!r}; only files beside the header are read, so a name holds no path.")
    path = header.parent / name
    if not path.exists():
        raise FileNotFoundError(f"{header} names {name}, which is not beside it; copy its files there as well.")
    real = path.resolve()
    if not any(real.is_relative_to(folder) for folder in (header.parent.resolve(), header.resolve().parent)):
        raise ValueError(f"{header} names {name}, a link to another folder; only files beside the header are read.")
    if not real.is_file():
        raise ValueError(f"{header} names {name}, a folder, a FIFO or a device; only files beside the header are read.")
    return path


def decode(start: bytes) -> str:
    """Decodes the beginning of a file, without blanks before it; returns "" for what is no text."""
    encoding = encoding_of(start)
    if encoding is None:
        return ""
    return start.decode(encoding, "ignore").lstrip("\ufeff \r\n\t")


def encoding_of(start: bytes) -> str | None:
    """Returns the encoding of a text by its first bytes: UTF-8, UTF-16 with its mark, or else Latin-1; None for no
    text.
    """
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if b"\0" in start:
        return None
    try:
        start.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(start) - 4:  # else a letter was cut at the end
            is_text = not any(byte < 32 and byte not in b"\t\n\r\f" for byte in start)
            return "latin-1" if is_text else None
    return "utf-8-sig"


def printable(path: Path | str) -> str:
    r"""Returns a path as text that can be printed and encoded: bytes of its name that are no UTF-8 become `\udcXX`."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


__all__ = ["ENDINGS", "beside", "decode", "encoding_of", "open_regular", "printable", "read_bytes", "without_ending"]
