"""Where records come from: PTB-XL's folder, any folder of ECG files, or a CSV that lists files with their labels.

source --entries--> [Entry: where the record is, who the patient is, which labels, which fold]
"""

import ast
import csv
import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tqdm import tqdm

from .lexicon import find_statements
from .readers import read_ecg
from .readers.record import ECGRecord, parse_age, parse_sex, pseudonym
from .statements import STATEMENTS

SPLITS = {9: "validation", 10: "test"}  # every other fold is "train", as PTB-XL's authors recommend
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
# Files that belong to a WFDB record when its header is beside them, and files that are never an ECG.
BESIDE_HEADER = {".dat", ".atr", ".qrs", ".ari", ".ecg", ".txt"}
DOCUMENTS = {".md", ".json", ".html", ".sha256"}


@dataclass
class Entry:
    """One record of a source: `path` of the file, the pseudonym of the patient, labels, fold, and `order` within the
    patient's records.
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

    @property
    def split(self) -> str:
        return SPLITS.get(self.fold, "train")

    def as_dict(self) -> dict:
        return asdict(self)


def find_entries(source: str | Path, limit: int | None = None, progress: bool = True) -> tuple[list[Entry], list[dict]]:
    """All records of a source, and those that were rejected, as `{"record": ..., "reason": ...}`.

    Args:
        source: A folder with ptbxl_database.csv (PTB-XL in its official layout), any other folder, or a CSV with a
            column `path`, and perhaps record_id, patient_id, age, sex, report, scp_codes (a Python or JSON dict) and
            fold (1 to 10).
        limit: Only the first so many.

    A record that does not name its patient counts as a patient of its own. Where there are no folds, patients are
    shared out to ten by their hash.

    Raises: `FileNotFoundError` when there is no such source; `ValueError` for a CSV without a column `path`, or without
        any record.
    """
    source = Path(source)
    if (source / "ptbxl_database.csv").is_file():
        entries, rejected = _ptbxl(source, limit)
    elif source.is_dir():
        rows = [{"path": str(path)} for path in _files(source)[:limit]]
        entries, rejected = _scan(rows, source, progress)
    elif source.is_file():
        with open(source, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))[:limit]
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
    return entries, rejected


def rejection(record_id: str, path: str | Path, error: Exception) -> dict:
    """Why a record was left out, without the place of the file on this machine."""
    kind = "" if isinstance(error, (ValueError, OSError, ImportError)) else f"{type(error).__name__}: "
    return {"record": record_id, "reason": kind + str(error).replace(f"{Path(path).parent}/", "")}


def _ptbxl(folder: Path, limit: int | None) -> tuple[list[Entry], list[dict]]:
    with open(folder / "ptbxl_database.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:limit]
    entries, rejected = [], []
    for row in rows:
        try:
            sex = {"0": "male", "1": "female"}.get(row.get("sex", "").split(".")[0])
            entries.append(
                Entry(
                    record_id=row["ecg_id"],
                    path=str(folder / row["filename_lr"]),
                    patient_id=row["patient_id"].split(".")[0],
                    fold=int(row["strat_fold"]),
                    statements={
                        code: float(value)
                        for code, value in ast.literal_eval(row["scp_codes"]).items()
                        if code in STATEMENTS
                    },
                    age=parse_age(row.get("age")),
                    sex=sex,
                    notes={name: (row.get(name) or "").strip() for name in NOTES},
                    order=f"{row.get('recording_date', '')}/{int(row['ecg_id']):08d}",
                )
            )
        except (KeyError, ValueError, SyntaxError) as error:
            rejected.append(
                {
                    "record": str(row.get("ecg_id")),
                    "reason": f"row of ptbxl_database.csv: {type(error).__name__} {error}",
                }
            )
    return entries, rejected


def _files(folder: Path) -> list[Path]:
    """Files of a folder that may be ECGs, in the order of their names; links that lead out of it are left out."""
    root = folder.resolve()
    found = []
    for path in sorted(folder.rglob("*")):
        if (
            not path.is_file()
            or any(part.startswith(".") for part in path.relative_to(folder).parts)
            or root not in path.resolve().parents
        ):
            continue
        kind = path.suffix.lower()
        if kind in DOCUMENTS or kind in BESIDE_HEADER and path.with_suffix(".hea").is_file():
            continue
        if re.fullmatch(r"readme.*|license.*|records.*", path.name.lower()):
            continue
        found.append(path)
    segments = {name for path in found if path.suffix == ".hea" for name in _segments(path)}
    return [path for path in found if not (path.suffix == ".hea" and path.stem in segments)]


def _segments(header: Path) -> list[str]:
    """Names of the segments of a multi-segment WFDB record, which are no records of their own."""
    with open(header, encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file.read(2**20).splitlines() if line.strip() and not line.startswith("#")]
    if not lines or not re.match(r"^[\w-]+/\d+\s", lines[0]):
        return []
    return [line.split()[0] for line in lines[1:]]


def _scan(rows: list[dict], root: Path, progress: bool) -> tuple[list[Entry], list[dict]]:
    """Reads every file once for what it says about its patient."""
    entries, rejected, seen = [], [], set()
    for row in tqdm(rows, desc="reading files", disable=not progress):
        path = Path(row["path"])
        inside = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
        name = row.get("record_id") or (inside.with_suffix("") if inside.suffix == ".hea" else inside).as_posix()
        try:
            if name in seen:
                raise ValueError("the record id is there twice")
            record = read_ecg(path)
            entries.append(_entry(name, path, row, record))
            seen.add(name)
        except Exception as error:  # whatever is wrong with one file must not stop the others
            rejected.append(rejection(name, path, error))
    return entries, rejected


def _entry(name: str, path: Path, row: dict, record: ECGRecord) -> Entry:
    patient = row.get("patient_id") and pseudonym(row["patient_id"]) or record.patient_id or pseudonym(f"record {name}")
    statements = record.statements
    if row.get("scp_codes"):
        text = row["scp_codes"]
        codes = json.loads(text) if '"' in text else ast.literal_eval(text)
        if not isinstance(codes, dict) or not all(isinstance(value, (int, float)) for value in codes.values()):
            raise ValueError(f"scp_codes must be a dict of code to likelihood, got {text[:60]!r}")
        statements = {code: float(value) for code, value in codes.items() if code in STATEMENTS}
    elif row.get("report"):
        statements = find_statements(row["report"])
    fold = int(row["fold"]) if row.get("fold") else 1 + int(hashlib.sha256(patient.encode()).hexdigest(), 16) % 10
    if not 1 <= fold <= 10:
        raise ValueError(f"fold must be from 1 to 10, got {fold}")
    age, sex = parse_age(row.get("age")), parse_sex(row.get("sex"))
    return Entry(
        name,
        str(path),
        patient,
        fold,
        statements,
        record.age if age is None else age,
        sex or record.sex,
        record.notes,
        name,
    )
