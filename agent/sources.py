"""Finds the records of a source: PTB-XL's folder, any folder of ECG files, or a CSV that lists files with their labels.

source --find_entries--> [Entry: where the record is, who the patient is, which labels, which fold, hash of its files]
"""

import ast
import csv
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tqdm import tqdm

from ..ecg_heartcare import ECG, parse_age, parse_sex, pseudonym
from .lexicon import find_statements
from .readers import read_ecg
from .statements import STATEMENTS

SPLITS = {9: "validation", 10: "test"}  # every other fold is "train", as PTB-XL's authors recommend
# Columns of PTB-XL's table that become `Entry.notes`.
NOTES = (
    "heart_axis",
    "infarction_stadium1",
    "static_noise",
    "burst_noise",
    "baseline_drift",
    "electrodes_problems",
    "extra_beats",
    "pacemaker",
)
HASHED_BYTES = 2**28  # at the beginning of each file; no reader takes in more
# Files that belong to a WFDB record when its header is beside them, and files that are never an ECG.
BESIDE_HEADER = {".dat", ".atr", ".qrs", ".ari", ".ecg", ".txt"}
DOCUMENTS = {".md", ".json", ".html", ".sha256"}


@dataclass
class Entry:
    """One record of a source: `path` of the file, the pseudonym of the patient, labels, fold, `order` within the
    patient's records, and `digest`, the hash of all files that the record consists of.
    """

    record_id: str
    path: str
    patient_id: str
    fold: int
    statements: dict[str, float] = field(default_factory=dict)
    age: float | None = None
    sex: str | None = None
    notes: dict[str, str] = field(default_factory=dict)
    order: str = ""
    digest: str = ""

    @property
    def split(self) -> str:
        """Name of the split: "train", "validation" or "test"."""
        return SPLITS.get(self.fold, "train")

    def as_dict(self) -> dict:
        """Returns the entry as JSON takes it; `Entry(**...)` takes it back."""
        return asdict(self)


def find_entries(source: str | Path, limit: int | None = None, progress: bool = True) -> tuple[list[Entry], list[dict]]:
    """Finds all records of a source, and those to be rejected, as `{"record": ..., "reason": ...}`.

    Args:
        source: A folder with ptbxl_database.csv (PTB-XL in its official layout), any other folder, or a CSV with a
            column `path`, and perhaps record_id, patient_id, age, sex, report, scp_codes (a Python or JSON dict) and
            fold (1 to 10).
        limit: Number of records to take, the first ones; all by default.
        progress: Whether bars are shown.

    A record that does not name its patient counts as a patient of its own. Where there are no folds, the hash of a
    patient's pseudonym chooses one of ten.

    Raises: `FileNotFoundError` when there is no such source; `ValueError` for a CSV that is damaged or has no column
        `path`, and for a source without any record.
    """
    source = Path(source)
    if (source / "ptbxl_database.csv").is_file():
        entries, rejected = _ptbxl(source, limit)
    elif source.is_dir():
        rows = [{"path": str(path)} for path in find_files(source)[:limit]]
        entries, rejected = _scan(rows, source, progress)
    elif source.is_file():
        rows = _table(source)[:limit]
        if not rows or "path" not in rows[0]:
            raise ValueError(f"{source} must have a column 'path'; it has {list(rows[0]) if rows else 'no rows'}.")
        entries, rejected = _scan(
            [row | {"path": str(source.parent / row["path"])} for row in rows], source.parent, progress
        )
    else:
        raise FileNotFoundError(f"{source} is neither a folder nor a CSV.")
    if not entries:
        raise ValueError(
            f"{source} holds no ECG that can be read; {len(rejected)} rejected, the first because: {rejected[:1]}."
        )
    for entry in tqdm(entries, desc="hashing files", disable=not progress):
        entry.digest = content_digest(entry.path)
    return entries, rejected


def _ptbxl(folder: Path, limit: int | None) -> tuple[list[Entry], list[dict]]:
    entries, rejected = [], []
    for row in read_ptbxl_table(folder, limit=limit):
        try:
            sex = {"0": "male", "1": "female"}.get(row.get("sex", "").split(".")[0])
            entries.append(
                Entry(
                    record_id=row["ecg_id"],
                    path=str(folder / row["filename_lr"]),
                    patient_id=row["patient_id"].split(".")[0],
                    fold=int(row["strat_fold"]),
                    statements=_scp_codes(row["scp_codes"]),
                    age=parse_age(row.get("age")),
                    sex=sex,
                    notes={name: (row.get(name) or "").strip() for name in NOTES},
                    order=f"{row.get('recording_date', '')}/{int(row['ecg_id']):08d}",
                )
            )
        except Exception as error:  # whatever is wrong with one row must not stop the others
            rejected.append(
                {
                    "record": str(row.get("ecg_id")),
                    "reason": f"row of ptbxl_database.csv: {type(error).__name__} {error}",
                }
            )
    return entries, rejected


def read_ptbxl_table(
    folder: str | Path, folds: Iterable[int] | None = None, limit: int | None = None
) -> list[dict[str, str]]:
    """Reads rows of PTB-XL's table in their order: column -> text.

    Args:
        folder: Folder with ptbxl_database.csv.
        folds: Numbers of the folds (column strat_fold) whose rows are kept; all rows by default.
        limit: Number of rows at most.

    Raises: `FileNotFoundError` where there is no table; `ValueError` for a damaged one.
    """
    rows = _table(Path(folder) / "ptbxl_database.csv")
    if folds is not None:
        kept = set(folds)
        rows = [row for row in rows if int(row["strat_fold"]) in kept]
    return rows[:limit]


def find_files(folder: Path, documents: Collection[str] = DOCUMENTS) -> list[Path]:
    """Returns the files of a folder that may be ECGs, in the order of their names; links that lead out of the folder
    are left out.

    Args:
        folder: The folder; those below it are searched, too.
        documents: Endings of files that are left out.
    """
    root = folder.resolve()
    files = []
    for path in sorted(folder.rglob("*")):
        if (
            not path.is_file()
            or any(part.startswith(".") for part in path.relative_to(folder).parts)
            or root not in path.resolve().parents
        ):
            continue
        kind = path.suffix.lower()
        if kind in documents or kind in BESIDE_HEADER and path.with_suffix(".hea").is_file():
            continue
        if re.fullmatch(r"readme.*|license.*|records.*", path.name.lower()):
            continue
        files.append(path)
    segments = {name for path in files if path.suffix == ".hea" for name in _segments(path)}
    return [path for path in files if not (path.suffix == ".hea" and path.stem in segments)]


def _segments(header: Path) -> list[str]:
    """Returns the names of the segments of a multi-segment WFDB record, which are no records of their own."""
    record, *names = _header_words(header) or [""]
    return names if re.fullmatch(r"[\w-]+/\d+", record) else []


def _scan(rows: list[dict], root: Path, progress: bool) -> tuple[list[Entry], list[dict]]:
    """Reads every file once, for the patient and the statements that it names."""
    entries, rejected, seen = [], [], set()
    for row in tqdm(rows, desc="reading files", disable=not progress):
        path = Path(row["path"])
        inside = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
        name = row.get("record_id") or (inside.with_suffix("") if inside.suffix == ".hea" else inside).as_posix()
        try:
            if printable(name) != name:
                raise ValueError("the file's name is no UTF-8; rename it")
            if name in seen:
                raise ValueError("the record id is there twice")
            record = read_ecg(path)
            entries.append(_entry(name, path, row, record))
            seen.add(name)
        except Exception as error:  # whatever is wrong with one file must not stop the others
            rejected.append(rejection(name, path, error))
    return entries, rejected


def _entry(name: str, path: Path, row: dict, record: ECG) -> Entry:
    patient = row.get("patient_id") and pseudonym(row["patient_id"]) or record.patient_id or pseudonym(f"record {name}")
    statements = record.statements
    if row.get("scp_codes"):
        statements = _scp_codes(row["scp_codes"])
    elif row.get("report"):
        statements = find_statements(row["report"])
    fold = int(row["fold"]) if row.get("fold") else 1 + int(hashlib.sha256(patient.encode()).hexdigest(), 16) % 10
    if not 1 <= fold <= 10:
        raise ValueError(f"fold must be from 1 to 10, got {fold}")
    age, sex = parse_age(row.get("age")), parse_sex(row.get("sex"))
    return Entry(
        record_id=name,
        path=str(path),
        patient_id=patient,
        fold=fold,
        statements=statements,
        age=record.age if age is None else age,
        sex=sex or record.sex,
        notes={column: record.columns[column] for column in NOTES if column in record.columns},
        order=name,
    )


def _scp_codes(text: str) -> dict[str, float]:
    """Parses a Python or JSON dict of code to likelihood, and returns the same for the codes that are known."""
    codes = json.loads(text) if '"' in text else ast.literal_eval(text)
    if not isinstance(codes, dict) or not all(isinstance(value, (int, float)) for value in codes.values()):
        raise ValueError(f"scp_codes must be a dict of code to likelihood, got {text[:60]!r}")
    return {code: float(value) for code, value in codes.items() if code in STATEMENTS}


def _table(path: Path) -> list[dict[str, str]]:
    """Reads the rows of a CSV. Raises `ValueError`, with the line, for a row with another number of fields than the
    first.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file)
            columns, rows = next(lines, []), []
            for fields in lines:
                if fields and len(fields) != len(columns):
                    raise ValueError(f"{len(fields)} fields where its first line names {len(columns)} columns")
                if fields:
                    rows.append(dict(zip(columns, fields)))
        return rows
    except (csv.Error, ValueError) as error:
        place = f", line {lines.line_num}" if not isinstance(error, UnicodeError) else " is no UTF-8 text"
        raise ValueError(f"{path}{place}: {error}.") from error


def rejection(record_id: str, path: str | Path, error: Exception) -> dict:
    """Returns the reason why a record was left out, without the place of the file on this machine."""
    kind = "" if isinstance(error, (ValueError, OSError, ImportError)) else f"{type(error).__name__}: "
    reason = kind + str(error).replace(f"{Path(path).parent}/", "")
    return {"record": printable(record_id), "reason": printable(reason)}


def printable(text: str | Path) -> str:
    """Returns the text as every file and terminal takes it: bytes of a file name that are no UTF-8 become `\\udc..`."""
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


def content_digest(path: str | Path) -> str:
    """Returns the hash of the files of a record, 16 hexadecimal digits, by their names and contents and not by their
    places.
    """
    digest = hashlib.sha256()
    for file in record_files(Path(path)):
        size = os.path.getsize(file) if os.path.isfile(file) else None
        digest.update(repr((os.fsencode(file.name), size)).encode())
        if size:
            with open(file, "rb") as opened:
                for _ in range(0, min(size, HASHED_BYTES), 2**20):
                    digest.update(opened.read(2**20))
    return digest.hexdigest()[:16]


def record_files(path: Path) -> list[Path]:
    """Returns the files of a record: its one file, or a WFDB header with every file beside it that it names."""
    header = path.with_name(path.name + ".hea")
    if path.suffix == ".hea":
        header = path
    elif os.path.isfile(path):
        header = path.with_suffix(".hea") if path.suffix.lower() in BESIDE_HEADER else path
    if header.suffix != ".hea" or not os.path.isfile(header):
        return [path]
    files = {header: None}  # in the order of the headers
    waiting = [header]
    while waiting:
        for word in _header_words(waiting.pop())[1:]:
            for file in (header.with_name(word), header.with_name(f"{word}.hea")) if Path(word).name == word else ():
                if file not in files and os.path.isfile(file):
                    files[file] = None
                    waiting += [file] if file.suffix == ".hea" else []
    return list(files)


def _header_words(header: Path) -> list[str]:
    """Returns the first words of the lines of a WFDB header: the record's name, then its signal files or segments."""
    with open(header, encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file.read(2**20).splitlines() if line.strip() and not line.startswith("#")]
    return [line.split()[0] for line in lines]
