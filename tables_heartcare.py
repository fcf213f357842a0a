# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Recordings in plain numbers: numpy files and tables of text."""

import io
import math
import re
import zipfile
from pathlib import Path

import numpy as np

from .ecg_heartcare import MAX_VALUES, canonical_lead

MAX_CSV_BYTES = 2**28


def read_npy(path: Path) -> dict:
    """Reads a numpy file, .npy or .npz; nothing is unpickled and nothing larger than `MAX_VALUES` is unpacked.

    An .npz has the array `signal` or `ecg`, (leads, samples), and, where known, `sampling_rate`, `lead_names`, `units`.

    Returns: attributes of an `ECG` and "units", as far as the file says them.

    Raises: `ValueError`.
    """
    try:
        content = np.load(path, allow_pickle=False, mmap_mode=None if zipfile.is_zipfile(path) else "r")
        if not isinstance(content, np.lib.npyio.NpzFile):
            if content.size > MAX_VALUES:
                raise ValueError(f"it holds {content.size} values, at most {MAX_VALUES} are read at a time")
            return {"signal": np.array(content)}
        with content:
            arrays = {key: _read_member(content, key) for key in content.files}
    except Exception as error:
        raise ValueError(f"{path} is no numpy file that can be read, or another zip archive ({error}).") from error
    key = next((key for key in ("signal", "ecg") if key in arrays), None)
    if key is None:
        raise ValueError(f"{path} holds the arrays {sorted(arrays)}; expected one named 'signal' or 'ecg'.")
    read = {"signal": arrays[key]}
    try:
        if "sampling_rate" in arrays:
            read["sampling_rate"] = float(arrays["sampling_rate"])
        if "lead_names" in arrays:
            read["lead_names"] = [str(name) for name in np.atleast_1d(arrays["lead_names"])]
        if "units" in arrays:
            read["units"] = str(arrays["units"])
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: sampling_rate must be a number, lead_names a list of names, units a word ({error})."
        ) from error
    return read


def _read_member(archive, key: str) -> np.ndarray:
    """Reads one array of an .npz whose header, size in the archive and content agree."""
    info = archive.zip.getinfo(key if key in archive.zip.namelist() else f"{key}.npy")
    with archive.zip.open(info) as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
    count = math.prod(shape)
    if count > MAX_VALUES or count * dtype.itemsize > info.file_size:
        raise ValueError(f"{key!r} claims {count} values, more than it holds or than {MAX_VALUES}")
    return archive[key]


def read_csv(path: Path) -> dict:
    """Reads a table with a header of lead names, perhaps with units ("II (uV)"); separated by commas, semicolons or tabs. A
    column `time` in seconds, or in ms where its unit says so, gives the sampling rate.

    Returns: attributes of an `ECG` and "units", as far as the file says them.

    Raises: `ValueError`.
    """
    if path.stat().st_size > MAX_CSV_BYTES:
        raise ValueError(
            f"{path} has {path.stat().st_size} bytes; tables up to {MAX_CSV_BYTES} bytes are read, larger ones as .npy."
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 ({error}).") from error
    first, _, body = text.partition("\n")
    separator = max(",;\t", key=first.count)
    if separator == ";":
        body = body.replace(",", ".")
    header = [name.strip().strip('"') for name in first.split(separator)]
    names, units = zip(*(re.fullmatch(r"(.*?)\s*(?:[(\[]\s*([^)\]]*)[)\]])?", name).groups() for name in header))
    is_time = [name.lower() in ("time", "t", "seconds", "time_s") for name in names]
    if not any(canonical_lead(name) and not re.fullmatch(r"[\d.]+", name) for name in names):
        raise ValueError(f"{path}: the first line must name the leads (I, II, V1, ...), got {header[:4]}.")
    table = _numbers(path, body, separator)
    if table.size == 0 or table.shape[1] != len(header):
        raise ValueError(
            f"{path}: expected {len(header)} numbers in each line, as the header has names, got {table.shape}."
        )
    read = {
        "signal": table[:, [not time for time in is_time]].T,
        "lead_names": [name for name, time in zip(names, is_time) if not time],
    }
    stated = {unit for unit, time in zip(units, is_time) if unit and not time}
    if len(stated) > 1:
        raise ValueError(f"{path}: the header names several units {sorted(stated)}; give all leads in one.")
    if stated:
        read["units"] = stated.pop()
    if any(is_time) and len(table) > 1:
        column = is_time.index(True)
        step = float(np.median(np.diff(table[:, column])))
        if not step > 0:
            raise ValueError(f"{path}: the times do not rise; expected seconds.")
        read["sampling_rate"] = round((1000 if units[column] == "ms" else 1) / step, 3)
    return read


def _numbers(path: Path, body: str, separator: str) -> np.ndarray:
    """Parses lines of numbers, some of them missing (NaN) -> float64 (lines, columns)."""
    if not body.strip():
        return np.empty((0, 0))
    try:
        return np.loadtxt(io.StringIO(body), delimiter=separator, ndmin=2, comments=None)
    except ValueError:
        try:  # some values are missing
            as_number = lambda text: float(text.strip() or "nan")  # noqa: E731
            return np.loadtxt(io.StringIO(body), delimiter=separator, ndmin=2, comments=None, converters=as_number)
        except ValueError as error:
            raise ValueError(f"{path}: lines of differing length, or something that is no number ({error}).") from error


__all__ = ["read_csv", "read_npy"]
