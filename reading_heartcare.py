# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""From a file to an `ECG`: `read_ecg` tells the format by content, never by extension, and calls its reader.

    path | bytes | file object --detect_format--> reader --attributes--> ECG

WFDB, numpy files, tables, JSON and ATC are read here. The readers of all other formats are found by the entry points
named "heartcare.readers", so that a copy of this file in a model repository finds those of the installed package, and
other packages can bring their own.
"""

import base64
import binascii
import io
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from .atc_heartcare import SIGNATURE, read_atc
from .ecg_heartcare import ECG, canonical_lead, to_millivolts
from .files_heartcare import ENDINGS, decode, open_regular, printable
from .json_heartcare import read_json
from .numpy_heartcare import read_npy
from .privacy_heartcare import redact_texts
from .tables_heartcare import DIALECTS, HEADER_LINES
from .wfdb_heartcare import RECORD_FILES, read_wfdb

READERS = "heartcare.readers"  # the group of entry points: name of a format -> function (Path) -> attributes of an ECG
SNIFFED_BYTES = 4096
MAX_FILE_BYTES = 2**29
UPLOAD = "upload"  # the source of an ECG that came as bytes
RAISED = (FileNotFoundError, PermissionError, OSError, ImportError, TypeError, ValueError)  # kinds of errors of readers


class FileStart(NamedTuple):
    """The beginning of a file: its first bytes, these as text ("" where they are none), and its path, if it has one."""

    content: bytes
    text: str
    path: Path | None


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        name: Name of the format.
        matches: Test of the beginning of a file.
        read: Reader, path -> the attributes of an `ECG` and "units", as far as the file says them, and "assumed":
            values that are taken for "units" or "lead_names" unless the caller gives them. None for a format that an
            entry point reads, and for a picture, which is no recording.
        extra: Extra of the package that brings the entry point.
    """

    name: str
    matches: Callable[[FileStart], bool]
    read: Callable[[Path], dict] | None = None
    extra: str = ""


def starts_with(*marks: bytes) -> Callable[[FileStart], bool]:
    """Returns a test for files that begin with one of some bytes."""
    return lambda start: start.content.startswith(marks)


def says(pattern: str) -> Callable[[FileStart], bool]:
    """Returns a test for XML files whose beginning matches a regular expression, case ignored."""
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda start: start.text.startswith("<") and compiled.search(start.text) is not None


def is_scp(start: FileStart) -> bool:
    """Tells whether a file is SCP-ECG, by its pointer section: the number 0, and its name or zeros in place of it."""
    content = start.content
    return (
        len(content) >= 32
        and content[8:10] == b"\0\0"
        and content[16:22] in (b"SCPECG", b"\0" * 6)
        and content[22:24] == b"\0\0"
        and content[28:32] == b"\7\0\0\0"
    )


WFDB_LINE = re.compile(r"^[\w-]+(/\d+)?[ \t]+\d+([ \t]+[\d.]+(/[\d.]+)?(\([-\d.]+\))?([ \t]+\d+)?.*)?$")


def is_header(start: FileStart) -> bool:
    """Tells whether a file is the header of a WFDB record."""
    suffix = start.path.suffix.lower() if start.path else ""
    return suffix in ("", ".hea") and WFDB_LINE.match(first_line(start)) is not None


def first_line(start: FileStart) -> str:
    """Returns the first line of a text that is neither empty nor a comment."""
    lines = (line.strip() for line in start.text.splitlines())
    return next((line for line in lines if line and not line.startswith("#")), "")


def is_matlab(start: FileStart) -> bool:
    """Tells whether a file is MATLAB's: by the text of versions 5 and 7, or the header of one matrix of version 4."""
    if start.content.startswith((b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file")):
        return True
    numbers = [int.from_bytes(start.content[i : i + 4], "little") for i in range(0, 20, 4)]
    kind, *sizes, imaginary, name = numbers
    is_header = kind < 60 and kind % 10 < 3 and all(0 < size < 2**31 for size in sizes) and imaginary < 2
    return is_header and 1 < name <= 64 and start.content[20 : 20 + name].find(b"\0") == name - 1


def refuse_matlab(path: Path) -> dict:
    """Raises `ValueError`, since a MATLAB file does not say sampling rate, leads and units."""
    raise ValueError(
        f"{path} is a MATLAB file without the header of a WFDB record ({path.stem}.hea beside it), which says the "
        "sampling rate, the leads and the units. Put the header there, or read the matrix with scipy.io.loadmat and "
        "give it as an array."
    )


def refuse_xml(path: Path) -> dict:
    """Raises `ValueError` that names the first element of an XML file of unknown kind."""
    with open_regular(path) as file:
        text = decode(file.read(SNIFFED_BYTES))
    element = re.search(r"<([A-Za-z_][\w:.-]{0,60})", text)
    raise ValueError(
        f"{path} is an XML or HTML file ({element[0] + '>' if element else '<...'}), which is not read; {EXPECTED}."
    )


def in_lines(matches: Callable[[list[str]], bool]) -> Callable[[FileStart], bool]:
    """Returns a test of a file by the first lines of its text."""
    return lambda start: bool(start.text) and matches(start.text.splitlines()[:HEADER_LINES])


PICTURES = ("png", "jpeg", "tiff", "gif", "bmp", "webp")
FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        Format("png", starts_with(b"\x89PNG")),
        Format("jpeg", starts_with(b"\xff\xd8\xff")),
        Format("tiff", starts_with(b"II*\0", b"MM\0*")),
        Format("gif", starts_with(b"GIF8")),
        Format("bmp", lambda start: start.content.startswith(b"BM") and start.content[6:10] == b"\0" * 4),
        Format("webp", lambda start: start.content.startswith(b"RIFF") and start.content[8:12] == b"WEBP"),
        Format("npy", starts_with(b"\x93NUMPY"), read_npy),
        Format("npz", starts_with(b"PK\3\4"), read_npy),
        Format("pdf", lambda start: b"%PDF-" in start.content[:1024], extra="pdf"),
        Format("atc", starts_with(SIGNATURE), read_atc),
        Format("edf", starts_with(b"0       ", b"\xffBIOSEMI"), extra="formats"),
        Format("dicom", lambda start: start.content[128:132] == b"DICM", extra="formats"),
        Format("ishne", starts_with(b"ISHNE1.0"), extra="formats"),
        Format("mfer", lambda start: start.content[2:6] == b"MFR ", extra="formats"),
        Format("scp-ecg", is_scp, extra="formats"),
        Format("sierra-xml", says(r"<restingecgdata"), extra="formats"),
        Format("muse-xml", says(r"<restingecg[\s>]|<museinfo"), extra="formats"),
        Format("hl7-aecg", says(r"<([a-z_][\w.-]*:)?AnnotatedECG\b"), extra="formats"),
        Format("wfdb", is_header, read_wfdb),
        Format("matlab", is_matlab, refuse_matlab),
        Format("json", lambda start: start.text.startswith(("{", "[")), read_json),
        Format("xml", lambda start: start.text.startswith("<"), refuse_xml),
        *(Format(dialect.name, in_lines(dialect.matches), dialect.read) for dialect in DIALECTS),
    )
}
EXPECTED = (
    "expected WFDB, CSV with lead names in its first line, Apple Health's and Polar's CSV, JSON or FHIR, .npy, .npz, "
    "Kardia's ATC, EDF, DICOM, MUSE XML, Sierra XML, HL7 aECG, SCP-ECG, ISHNE, MFER or a PDF report"
)


def as_ecg(
    given: Any,
    sampling_rate: float | None = None,
    lead_names: list[str] | tuple[str, ...] | None = None,
    units: str | None = None,
) -> ECG:
    """Makes an `ECG` from whatever a user has.

    Args:
        given: A path, bytes or an open file (see `read_ecg`); an array or tensor (leads, samples); an `ECG`; or a
            mapping with "path", "bytes" or "base64", or with "signal" and the attributes of an `ECG`.
        sampling_rate, lead_names, units: Stated for an ECG that does not say it itself.

    Raises: as `read_ecg` and `ECG.of`.
    """
    beside = {"sampling_rate": sampling_rate, "lead_names": lead_names, "units": units}
    if isinstance(given, Mapping):
        given = {name: value for name, value in given.items() if value is not None and name != "type"}
        files = [name for name in ("path", "bytes", "base64") if name in given]
        for name in ("signal", "ecg"):  # people write {"ecg": "record.hea"}, too
            if isinstance(given.get(name), (str, Path, bytes)):
                files.append(name)
        if not files:
            return ECG.of(given, **beside)
        own = {name: given.pop(name) for name in beside if name in given}
        source = given.pop("source", None)
        if len(given) > 1:
            raise ValueError(f"A file is given alone, beside {', '.join(beside)}; got the keys {sorted(given)}.")
        file = given.pop(files[0])
        ecg = read_ecg(decode_base64(file) if files[0] == "base64" else file, **beside | own)
        return ECG.of({**vars(ecg), "units": "mV", "source": source}) if source else ecg
    if isinstance(given, (str, Path, bytes, bytearray, memoryview)) or hasattr(given, "read"):
        return read_ecg(given, **beside)
    return ECG.of(given, **beside)


def one_for_each(count: int, sampling_rate: Any, lead_names: Any, units: Any) -> list[list]:
    """Returns lists of `count` sampling rates, lead names and units; a value that is given for all ECGs is repeated.

    Raises: `ValueError` for lists of another length.
    """
    one_list = lead_names is not None and all(isinstance(name, str) for name in lead_names)
    columns = [
        list(value) if isinstance(value, (list, tuple, np.ndarray)) and not is_one else [value] * count
        for value, is_one in ((sampling_rate, False), (lead_names, one_list), (units, False))
    ]
    if any(len(column) != count for column in columns):
        numbers = "{} sampling rates, {} lists of lead_names, {} units".format(*map(len, columns))
        raise ValueError(f"{count} ECGs but {numbers}; give one for all, or one for each.")
    return columns


def decode_base64(text: str | bytes) -> bytes:
    """Decodes base64, or a data: URI of it.

    Raises: `ValueError` for what is neither; `TypeError` for what is no text.
    """
    if isinstance(text, (bytes, bytearray)):
        text = bytes(text).decode("ascii", "replace")
    if not isinstance(text, str):
        raise TypeError(f"base64 is a text, got {type(text).__name__}.")
    body = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{text[:40]!r} is no base64 of a file.") from None


def read_ecg(
    file: str | Path | bytes | IO[bytes],
    sampling_rate: float | None = None,
    lead_names: list[str] | tuple[str, ...] | None = None,
    units: str | None = None,
) -> ECG:
    """Reads one recording of any known format.

    Args:
        file: The path of a file, or of a WFDB record with or without its ending; the content of a file; or an open
            file.
        sampling_rate: Hz, for files that do not say it.
        lead_names: Names of the leads in the file's order, for files that do not say them, or whose names ("ECG1") say
            nothing about the electrodes.
        units: "mV", "uV", "V" or "nV", for files that do not say it.

    Returns: the `ECG`, in mV, with NaN where nothing was recorded, and without what identifies a person in its report.

    Raises: `FileNotFoundError`; `PermissionError`; `ImportError`, which names the extra that a format needs; and
        `ValueError` for all that is wrong with a file: unknown, damaged, too large, a picture, without a sampling rate,
        without any of the twelve leads, or other than what is given beside it.
    """
    given = {"sampling_rate": sampling_rate, "lead_names": lead_names, "units": units}
    with on_disk(file) as (path, source):
        try:
            format = detect_format(path)
            content = redact_texts(with_given(source, reader_of(format, source)(path), given))
            return ECG.of({"source": source, **content, "format": format.name})
        except (ValueError, TypeError, ImportError, OSError) as error:
            if source == str(path):
                raise
            kind = next(kind for kind in RAISED if isinstance(error, kind))
            raise kind(str(error).replace(str(path), source)) from None
        except Exception as error:  # libraries raise many kinds of errors on damaged files
            raise ValueError(
                f"{source} cannot be read, it may be damaged ({type(error).__name__}: {error})."
            ) from error


@contextmanager
def on_disk(file: str | Path | bytes | IO[bytes]) -> Iterator[tuple[Path, str]]:
    """Yields the path of a file and its name for messages; bytes and open files are written to a temporary folder."""
    if isinstance(file, (str, os.PathLike)):
        yield Path(file), printable(file)
        return
    if isinstance(file, io.TextIOBase):
        raise TypeError("A file was given that is open as text; open it in binary mode, with 'rb'.")
    if hasattr(file, "read"):
        file = read_all(file)
    if not isinstance(file, (bytes, bytearray, memoryview)):
        raise TypeError(f"A file is a path, bytes, or a file opened in binary mode, got {type(file).__name__}.")
    if not file:
        raise ValueError("The file is empty.")
    if len(file) > MAX_FILE_BYTES:
        raise ValueError(f"The file has more than {MAX_FILE_BYTES} bytes; larger ones are read from disk.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / UPLOAD
        path.write_bytes(file)
        yield path, UPLOAD


def read_all(file: IO[bytes]) -> bytes:
    """Reads an open file to its end, but not further than one byte beyond `MAX_FILE_BYTES`."""
    content = bytearray()
    while len(content) <= MAX_FILE_BYTES:
        part = file.read(MAX_FILE_BYTES + 1 - len(content))
        if not isinstance(part, bytes):
            raise TypeError(f"A file must be open in binary mode; its read() gave {type(part).__name__}.")
        if not part:
            break
        content += part
    return bytes(content)


def detect_format(file: str | Path | bytes) -> Format:
    """Tells the format of a file by its first bytes, and that of a WFDB record by the header beside them.

    Args:
        file: A path, the name of a WFDB record without its ending, or the content.

    Raises: `FileNotFoundError` where there is no regular file; `ValueError` for what is empty or of no known format.
    """
    if isinstance(file, bytes):
        start, name = file[:SNIFFED_BYTES], UPLOAD
        path = None
    else:
        path, name = Path(file), str(file)
        if is_record(path):
            return FORMATS["wfdb"]
        if not path.is_file():
            header = "" if path.suffix.lower() in ENDINGS else f", and {path.name}.hea does not exist beside it"
            raise FileNotFoundError(f"{path} is no file: it does not exist, or is a folder or a device{header}.")
        with open_regular(path) as opened:
            start = opened.read(SNIFFED_BYTES)
    if not start.strip(b"\0 \t\r\n"):
        raise ValueError(f"{name} is empty.")
    beginning = FileStart(start, decode(start), path)
    for format in FORMATS.values():
        if format.matches(beginning):
            return format
    if path is not None and path.suffix.lower() == ".hea":
        return FORMATS["wfdb"]  # its reader says what is wrong with the header
    raise ValueError(f"{name} is no picture and in no known ECG format; {EXPECTED}.")


def is_record(path: Path) -> bool:
    """Tells whether a path names a WFDB record by its name alone, or by its header or signal file."""
    if path.suffix.lower() in RECORD_FILES:
        return path.with_suffix(".hea").is_file()
    return not path.is_file() and path.with_name(path.name + ".hea").is_file()


def reader_of(format: Format, source: str) -> Callable[[Path], Any]:
    """Returns the reader of a format.

    Raises: `ValueError` for a picture; `ImportError` where the package that has the reader is not installed.
    """
    if format.read is not None:
        return format.read
    if format.name in PICTURES:
        raise ValueError(
            f"{source} is a picture ({format.name.upper()}), which holds no samples. Give it to the processor as "
            '{"type": "image", "path": ...}, or to the pipeline as it is.'
        )
    for entry in entry_points(group=READERS, name=format.name):
        return entry.load()
    raise ImportError(
        f"{source} is a file of the format {format.name}; reading it needs the heartcare package with its extra: "
        f"pip install 'heartcare[{format.extra}]'"
    )


def with_given(source: str, content: Mapping | Any, given: dict[str, Any]) -> dict[str, Any]:
    """Merges the result of a reader, a mapping or an object with the attributes of an `ECG`, with what the caller
    states about the file.

    Raises: `ValueError` where the two contradict each other.
    """
    content = dict(content) if isinstance(content, Mapping) else {**vars(content), "units": "mV"}
    assumed = content.pop("assumed", {})
    for name, value in given.items():
        stated = content.get(name)
        if value is None:
            continue
        value = list(value) if name == "lead_names" and not isinstance(value, str) else value
        if stated is not None and not AGREES[name](stated, value):
            raise ValueError(
                f"{source}: the file says {name}={stated!r} but {value!r} was given; leave it out or correct it."
            )
        content[name] = value
    for name, value in assumed.items():
        if content.get(name) is None:
            label = value if isinstance(value, str) else ",".join(value)
            content[name] = value
            content["notes"] = (*content.get("notes", ()), f"assumed {name}={label}, which the file does not say")
            content["warnings"] = (*content.get("warnings", ()), f"{name}_assumed_{label}")
    return content


def same_leads(stated: list[str], given: list[str]) -> bool:
    """Tells whether given lead names agree with those of the file; a name in the file that is no lead agrees with any
    other.
    """
    return len(stated) == len(given) and all(
        canonical_lead(name) in (None, canonical_lead(other)) for name, other in zip(stated, given)
    )


def same_rate(stated: float, given: float) -> bool:
    """Tells whether two sampling rates are the same but for rounding."""
    try:
        return math.isclose(float(stated), float(given), rel_tol=1e-4)
    except (TypeError, ValueError):
        return False


def same_units(stated: str, given: str) -> bool:
    """Tells whether two names of units, such as "uV" and "microvolt", mean the same.

    Raises: `ValueError` for an unknown unit.
    """
    return to_millivolts(1.0, stated) == to_millivolts(1.0, given)


AGREES: dict[str, Callable[[Any, Any], bool]] = {
    "sampling_rate": same_rate,
    "lead_names": same_leads,
    "units": same_units,
}


__all__ = [
    "FORMATS",
    "PICTURES",
    "Format",
    "as_ecg",
    "decode_base64",
    "detect_format",
    "is_record",
    "one_for_each",
    "read_ecg",
]
