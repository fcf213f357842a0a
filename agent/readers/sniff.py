"""Which format a file has, by its first bytes."""

import re
import zipfile
from pathlib import Path

from . import pdf, plain, vendor

SNIFFED_BYTES = 4096

FORMATS = {
    "wfdb": plain.read_wfdb_record,
    "npy": plain.read_numpy_file,
    "csv": plain.read_table,
    "pdf": pdf.read_pdf,
    **dict.fromkeys(vendor.FORMATS, vendor.read_vendor),
}

PICTURES = {
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"GIF8": "GIF",
    b"BM": "BMP",
}
WFDB_LINE = re.compile(r"^[\w-]+(/\d+)?[ \t]+\d+([ \t]+[\d.]+(/[\d.]+)?(\([-\d.]+\))?([ \t]+\d+)?.*)?$")


def sniff(path: Path) -> str:
    """The name of a file's format, one of `FORMATS`.

    Raises: `FileNotFoundError`; `ValueError` for pictures, archives, empty files and what is not known.
    """
    if path.with_name(path.name + ".hea").is_file() and not path.is_file():
        return "wfdb"
    if path.suffix.lower() == ".dat" and path.with_suffix(".hea").is_file():
        return "wfdb"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file.")
    with open(path, "rb") as file:
        start = file.read(SNIFFED_BYTES)
    if not start.strip(b"\0 \t\r\n"):
        raise ValueError(f"{path} is empty.")
    if start.startswith(b"\x93NUMPY"):
        return "npy"
    if start.startswith(b"PK"):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if any(name.endswith(".npy") for name in archive.namelist()):
                    return "npy"
        raise ValueError(f"{path} is a zip archive; unpack it and read the ECG files in it.")
    if b"%PDF-" in start[:1024]:
        return "pdf"
    if name := vendor.sniff(start):
        return name
    if kind := next((kind for magic, kind in PICTURES.items() if start.startswith(magic)), None):
        raise ValueError(
            f'{path} is a picture ({kind}), which holds no samples; give it to the processor as {{"type": "image", ...}}.'
        )
    try:
        text = start.decode("utf-8-sig") if len(start) < SNIFFED_BYTES else start[:-4].decode("utf-8-sig", "strict")
    except UnicodeDecodeError:
        text = start[: max(start.rfind(b"\n"), 0)].decode("utf-8-sig", "replace") if b"\0" not in start else ""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if lines and path.suffix.lower() in ("", ".hea") and WFDB_LINE.match(lines[0]):
        return "wfdb"
    if lines and any(mark in lines[0] for mark in ",;\t"):
        return "csv"
    raise ValueError(
        f"{path} is in no known ECG format; expected WFDB, CSV with lead names in its first line, .npy, .npz, EDF, DICOM, MUSE XML, "
        "Sierra XML, HL7 aECG, SCP-ECG, ISHNE, MFER or a PDF report."
    )
