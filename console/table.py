"""heartcare table: all ECG files and pictures of pages below a folder as one table.

heartcare table folder --out findings.csv
heartcare table folder --out findings.parquet --workers 8

A run that was interrupted goes on where it stopped, and a later run reads new and changed files alone: what was read
stands beside the table, in a file of the same name that ends with .state.jsonl; what another version of heartcare read
is read again. The table is the same with any number of workers. A recording of more than a minute has a row for each
window that stands for it.
"""

import argparse
import csv
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..version_heartcare import HEARTCARE_VERSION
from ..workers_heartcare import end_with_parent
from .files import STATED, add_stated, given
from .models import add_model, default_model, load_pipeline

ENDINGS = (".csv", ".parquet")
DOCUMENTS = {".md", ".html", ".sha256"}  # no ECG; JSON is a format of ECGs here
STATE = ".state.jsonl"


@dataclass(frozen=True)
class Job:
    """Holds all that the files of a table share: the `folder`; folder or Hub id of the `model` and its `subfolder`; and
    what is `stated` of files that do not say it.
    """

    folder: str
    model: str
    subfolder: str = ""
    stated: dict[str, Any] = field(default_factory=dict)

    def read(self, name: str) -> str:
        """Reads one file, named by its path below the folder, and returns its line of the state."""
        from torch import get_num_threads, set_num_threads

        from .rows import rows_of

        pipe = load_pipeline(self.model, self.subfolder)
        path = Path(self.folder, name)
        stamp = stamp_of(path)  # before it is read: a file that changes meanwhile is read again by the next run
        threads = get_num_threads()
        set_num_threads(1)  # sums of several threads differ in their last digits
        try:
            return json.dumps({"path": name, "stamp": stamp, "rows": rows_of(pipe, path, name, self.stated)})
        finally:
            set_num_threads(threads)

    def identity(self) -> dict[str, Any]:
        """Returns all that the rows depend on but the files themselves."""
        folder = Path(self.model, self.subfolder)
        weights = sorted(path for kind in ("*.json", "*.safetensors") for path in folder.glob(kind))
        content = asdict(self) | {"weights": [[path.name, *stat_of(path)] for path in weights]}
        state = {"table": 1, "heartcare_version": HEARTCARE_VERSION}
        return {**state, **{name: value for name, value in content.items() if name != "folder"}}


def main(argv: list[str] | None = None) -> int:
    """Runs the command. Returns the exit status, as `run_command` gives it."""
    args = parse(argv)
    from ..agent.command_line import run_command

    return run_command(lambda: make_table(args))


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parses and checks the arguments. Exits with status 2 and the usage when they are wrong."""
    parser = argparse.ArgumentParser(
        prog="heartcare table", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--out", type=Path, required=True, help="the table: .csv or .parquet")
    parser.add_argument("--workers", type=int, default=1, help="number of processes")
    parser.add_argument("--ray", metavar="ADDRESS", help="read on Ray: local, auto, or the address of a cluster")
    add_stated(parser)
    add_model(parser)
    args = parser.parse_args(argv)
    if args.out.suffix.lower() not in ENDINGS:
        parser.error(f"--out must end with {' or '.join(ENDINGS)}, got {str(args.out)!r}")
    if args.workers < 1:
        parser.error(f"--workers must be 1 or more, got {args.workers}")
    return args


def make_table(args: argparse.Namespace) -> int:
    """Reads all files that are new or changed, and writes the table.

    Raises: `ValueError`, `OSError` and `ImportError` that say what is wrong with the folder, the model or the output.
    """
    from tqdm import tqdm

    names = find_names(args.folder, args.out)
    model = args.model or default_model()
    if args.out.suffix.lower() == ".parquet":
        import_pyarrow()
    job = Job(str(args.folder.absolute()), model, args.subfolder, given(args, STATED))
    state, identity = state_of(args.out), job.identity()
    known = read_state(state, identity)
    done = {name: known[name] for name in names if name in known and is_current(args.folder / name, known[name])}
    write_state(state, identity, done)
    missing = [name for name in names if name not in done]
    with open(state, "a", encoding="utf-8") as file, tqdm(total=len(names), initial=len(done), unit="file") as bar:
        for line in read_all(job, missing, args.workers, args.ray):
            file.write(line + "\n")
            file.flush()
            content = json.loads(line)
            done[content["path"]] = content
            bar.update()
    rows = [row for name in names for row in done[name]["rows"]]
    write_atomically(args.out, lambda path: write_table(path, args.out.suffix.lower(), rows, wordings_of(job)))
    failed = sum("error" in row for row in rows)
    print(f"{args.out}: {len(rows)} rows of {len(names)} files, {len(missing)} read now; {failed} could not be read.")
    return 0


def find_names(folder: Path, out: Path) -> list[str]:
    """Returns the paths, below a folder, of all files that may be ECGs or pages, but for the table itself.

    Raises: `ValueError` where there is no such folder, or none of these files.
    """
    from ..agent.sources import find_files

    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; `heartcare read` reads single files.")
    outputs = {out.resolve(), state_of(out).resolve()}
    files = [path for path in find_files(folder, DOCUMENTS) if path.resolve() not in outputs]
    if not files:
        raise ValueError(f"{folder} holds no file that may be an ECG or a picture of one.")
    return [path.relative_to(folder).as_posix() for path in files]


def read_state(path: Path, identity: dict[str, Any]) -> dict[str, dict]:
    """Returns what was read by earlier runs with the same model and options: path -> line of the state. A last line
    that was cut off is left out.
    """
    if not path.is_file():
        return {}
    done: dict[str, dict] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if number == 0 and content != identity:
            return {}
        if number:
            done[content["path"]] = content
    return done


def is_current(path: Path, line: dict) -> bool:
    """Tells whether a file is still as it was when its line was written."""
    return bool(line["stamp"]) and stamp_of(path) == line["stamp"]


def write_state(path: Path, identity: dict[str, Any], done: dict[str, dict]) -> None:
    """Writes what was read so far, one line for each file."""
    lines = [json.dumps(content) for content in (identity, *done.values())]
    write_atomically(path, lambda beside: beside.write_text("\n".join(lines) + "\n", encoding="utf-8"))


def state_of(out: Path) -> Path:
    """Returns the path of what was read so far."""
    return out.with_name(out.name + STATE)


def read_all(job: Job, names: list[str], workers: int, ray: str | None) -> Iterator[str]:
    """Yields the lines of the state of all named files, as they are read, in any order."""
    if ray:
        from ..agent.on_ray import map_on_ray

        yield from map_on_ray(job.read, names, ray, workers)
    elif workers == 1 or len(names) < 2:
        yield from map(job.read, names)
    else:
        spawn = multiprocessing.get_context("spawn")
        count = min(workers, len(names))
        with ProcessPoolExecutor(count, mp_context=spawn, initializer=end_with_parent) as pool:
            waiting = [pool.submit(job.read, name) for name in names]
            try:
                for done in as_completed(waiting):
                    yield done.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def wordings_of(job: Job) -> list[str]:
    """Returns the words of the statements that the model finds."""
    from ..public_heartcare import HeartcareConfig

    return list(HeartcareConfig.from_pretrained(job.model, subfolder=job.subfolder).wordings.values())


def write_table(path: Path, ending: str, rows: list[dict], wordings: list[str]) -> None:
    """Writes rows as CSV or Parquet; what a row lacks is empty."""
    from .rows import columns_of

    columns = columns_of(wordings)
    if ending == ".csv":
        with open(path, "w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, list(columns), lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
        return
    arrow = import_pyarrow()
    kinds = {str: arrow.string(), float: arrow.float64(), int: arrow.int64()}
    schema = arrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
    arrow.parquet.write_table(arrow.Table.from_pylist(rows, schema=schema), path)


def import_pyarrow() -> Any:
    """Returns pyarrow. Raises `ImportError` that names the extra."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            "Writing Parquet needs pyarrow: pip install 'heartcare[parquet]'; .csv needs nothing"
        ) from error
    return pyarrow


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Writes a file beside `path` by `write`, and puts it in its place at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def stamp_of(path: Path) -> list[list]:
    """Returns name, size and time of each file that a record consists of; nothing where one cannot be looked at, so
    that it is read, or refused, by each run.
    """
    from ..agent.sources import record_files

    try:
        return [[file.name, *stat_of(file)] for file in record_files(path)]
    except OSError:
        return []


def stat_of(path: Path) -> list[int]:
    """Returns size, and time of the last change in ns."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]
