# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""From a file to an `ECG`: `read_ecg` tells the format by content, never by extension, and calls its reader.

    path | bytes | file object --detect_format--> reader --attributes--> ECG

WFDB, numpy files and tables are read here. The readers of all other formats are found by the entry points named
"heartcare.readers", so that a copy of this file in a model repository finds those of the installed package, and other
packages can bring their own.
"""

import base64
import binascii
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import IO, Any, NamedTuple

from .ecg_heartcare import ECG, canonical_lead
from .tables_heartcare import read_csv, read_npy
from .wfdb_heartcare import read_wfdb

READERS = "heartcare.readers"  # the group of entry points: name of a format -> function (Path) -> attributes of an ECG
SNIFFED_BYTES = 4096
MAX_FILE_BYTES = 2**29
UPLOAD = "upload"  # the source of an ECG that came as bytes


class FileStart(NamedTuple):
    """The beginning of a file: its first bytes, these as text ("" where they are none), and its path, if it has one."""

    content: bytes
    text: str
    path: Path | None


@dataclass(frozen=True)
class Format:
    """A file format: its `name`, whether a file `matches` it, and `read`, the reader, which is None for formats that are
    read by an entry point; these need the extra `extra` of the package. A picture is no recording, so it has neither.
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
    """Tells whether a file is SCP-ECG: the pointer section has its number, and the name or zeros where the name may be."""
    content = start.content
    return (
        len(content) >= 32
        and content[8:10] == b"\0\0"
        and content[16:22] in (b"SCPECG", b"\0" * 6)
        and content[22:24] == b"\0\0"
        and content[28:32] == b"\7\0\0\0"
    )


WFDB_LINE = re.compile(r"^[\w-]+(/\d+)?[ \t]+\d+([ \t]+[\d.]+(/[\d.]+)?(\([-\d.]+\))?([ \t]+\d+)?.*)?$")


def first_line(start: FileStart) -> str:
    """Returns the first line of a text that is neither empty nor a comment."""
    lines = (line.strip() for line in start.text.splitlines())
    return next((line for line in lines if line and not line.startswith("#")), "")


def is_header(start: FileStart) -> bool:
    """Tells whether a file is the header of a WFDB record."""
    suffix = start.path.suffix.lower() if start.path else ""
    return suffix in ("", ".hea") and WFDB_LINE.match(first_line(start)) is not None


def is_table(start: FileStart) -> bool:
    """Tells whether a text has columns: a separator in its first line."""
    return not start.text.startswith(("<", "{", "[")) and any(mark in first_line(start) for mark in ",;\t")


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
        Format("edf", starts_with(b"0       ", b"\xffBIOSEMI"), extra="formats"),
        Format("dicom", lambda start: start.content[128:132] == b"DICM", extra="formats"),
        Format("ishne", starts_with(b"ISHNE1.0"), extra="formats"),
        Format("mfer", lambda start: start.content[2:6] == b"MFR ", extra="formats"),
        Format("scp-ecg", is_scp, extra="formats"),
        Format("sierra-xml", says(r"<restingecgdata"), extra="formats"),
        Format("muse-xml", says(r"<restingecg[\s>]|<museinfo"), extra="formats"),
        Format("hl7-aecg", says(r"<([a-z_][\w.-]*:)?AnnotatedECG\b"), extra="formats"),
        Format("wfdb", is_header, read_wfdb),
        Format("csv", is_table, read_csv),
    )
}
EXPECTED = (
    "expected WFDB, CSV with lead names in its first line, .npy, .npz, EDF, DICOM, MUSE XML, Sierra XML, HL7 aECG, SCP-ECG, "
    "ISHNE, MFER or a PDF report"
)


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
            header = "" if path.suffix else f", and {path.name}.hea does not exist beside it"
            raise FileNotFoundError(f"{path} is no file: it does not exist, or is a folder or a device{header}.")
        with open(path, "rb") as opened:
            start = opened.read(SNIFFED_BYTES)
    if not start.strip(b"\0 \t\r\n"):
        raise ValueError(f"{name} is empty.")
    beginning = FileStart(start, as_text(start), path)
    for format in FORMATS.values():
        if format.matches(beginning):
            return format
    if path is not None and path.suffix.lower() == ".hea":
        return FORMATS["wfdb"]  # whose reader says what is wrong with the header
    raise ValueError(f"{name} is no picture and in no known ECG format; {EXPECTED}.")


def is_record(path: Path) -> bool:
    """Tells whether a path names a WFDB record by its name alone, or by its signal file beside the header."""
    if path.suffix.lower() in (".dat", ".mat"):
        return path.with_suffix(".hea").is_file()
    return not path.is_file() and path.with_name(path.name + ".hea").is_file()


def as_text(start: bytes) -> str:
    """Decodes the beginning of a file, without blanks before it; returns "" for what is no text."""
    encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    if encoding == "utf-8-sig" and b"\0" in start:
        return ""
    try:
        text = start.decode(encoding)
    except UnicodeDecodeError as error:
        if error.start < len(start) - 4 and encoding == "utf-8-sig" and not start.lstrip().startswith(b"<"):
            return ""
        text = start.decode(encoding, "ignore")  # a letter was cut at the end, or the file is XML in another encoding
    return text.lstrip("\ufeff \r\n\t")


def read_ecg(
    file: str | Path | bytes | IO[bytes],
    sampling_rate: float | None = None,
    lead_names: list[str] | tuple[str, ...] | None = None,
    units: str | None = None,
) -> ECG:
    """Reads one recording of any known format.

    Args:
        file: The path of a file, or of a WFDB record with or without its ending; the content of a file; or an open file.
        sampling_rate: Hz, for files that do not say it.
        lead_names: Names of the leads in the file's order, for files that do not say them, or whose names ("ECG1") say
            nothing about the electrodes.
        units: "mV", "uV", "V" or "nV", for files that do not say it.

    Returns: the `ECG`, in mV, with NaN where nothing was recorded.

    Raises: `FileNotFoundError`; `PermissionError`; `ImportError`, which names the extra that a format needs; and
        `ValueError` for all that is wrong with a file: unknown, damaged, too large, a picture, without a sampling rate,
        without any of the twelve leads, or other than what is given beside it.
    """
    given = {"sampling_rate": sampling_rate, "lead_names": lead_names, "units": units}
    with on_disk(file) as (path, source):
        try:
            format = detect_format(path)
            content = with_given(source, reader_of(format, source)(path), given)
            return ECG.of({"source": source, **content, "format": format.name})
        except (ValueError, TypeError, ImportError, OSError) as error:
            if source == str(path):
                raise
            raise type(error)(str(error).replace(str(path), source)) from None
        except Exception as error:  # libraries raise many kinds of errors on damaged files
            raise ValueError(
                f"{source} cannot be read, it may be damaged ({type(error).__name__}: {error})."
            ) from error


@contextmanager
def on_disk(file: str | Path | bytes | IO[bytes]) -> Iterator[tuple[Path, str]]:
    """Yields the path of a file and its name for messages; bytes and open files are written to a temporary folder."""
    if isinstance(file, (str, Path)):
        yield Path(file), str(file)
        return
    if hasattr(file, "read"):
        file = file.read(MAX_FILE_BYTES + 1)
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
    """Adds to what a reader gives, a mapping or an object with the attributes of an `ECG`, what the caller says of the file.

    Raises: `ValueError` where the two contradict each other.
    """
    if not isinstance(content, Mapping):
        content = {**vars(content), "units": "mV"}
    content = dict(content)
    for name, value in given.items():
        stated = content.get(name)
        if value is None:
            continue
        if name == "lead_names":
            value, stated = list(value), None if stated is None else list(stated)
            agrees = stated is None or same_leads(stated, value)
        else:
            agrees = stated is None or stated == value
        if not agrees:
            raise ValueError(
                f"{source}: the file says {name}={stated!r} but {value!r} was given; leave it out or correct it."
            )
        content[name] = value
    return content


def same_leads(stated: list[str], given: list[str]) -> bool:
    """Tells whether lead names that are given do not contradict those of the file; names that are no leads say nothing."""
    return len(stated) == len(given) and all(
        canonical_lead(name) in (None, canonical_lead(other)) for name, other in zip(stated, given)
    )


def as_ecg(
    given: Any,
    sampling_rate: float | None = None,
    lead_names: list[str] | tuple[str, ...] | None = None,
    units: str | None = None,
) -> ECG:
    """Makes an `ECG` of whatever a user has.

    Args:
        given: A path, bytes or an open file (see `read_ecg`); an array or tensor (leads, samples); an `ECG`; or a mapping
            with "path", "bytes" or "base64", or with "signal" and the attributes of an `ECG`.
        sampling_rate, lead_names, units: What `given` does not say itself.

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


def decode_base64(text: str) -> bytes:
    """Decodes base64, or a data: URI of it.

    Raises: `ValueError` for what is neither.
    """
    body = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{text[:40]!r} is no base64 of a file.") from None


__all__ = ["FORMATS", "PICTURES", "Format", "as_ecg", "decode_base64", "detect_format", "is_record", "read_ecg"]
