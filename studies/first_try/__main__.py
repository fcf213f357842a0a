"""Tries the things that a user of the Hub tries first, row by row, and prints how each went.

    python -m heartcare.studies.first_try --model .
    python -m heartcare.studies.first_try --model . --row "chat" --hub --slow

Prints a Markdown table with a verdict for each row: OK; LIB, stopped by transformers or another library as for any
model, with the reason; FAIL; "by test" for a row that tests of the repository try, which --slow runs. It exits with 1
where a row fails. Rows of loading run in a process of their own, which has not this package; with --hub they load over
HTTP, from a small copy of the Hub's interface.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .asking import ASKING
from .commands import COMMANDS
from .generating import GENERATING
from .loading import LOADING
from .rows import BY_TEST, FAIL, OK, Given, Row, cell, outcome
from .serving import SERVING
from .speaking import SPEAKING

ROWS = [row for rows in (LOADING, ASKING, GENERATING, SERVING, COMMANDS, SPEAKING) for row in rows.all]
REPOSITORY = "me/heartcare"  # its name on the copy of the Hub
HUB_FILES = ("*.py", "*.json", "*.jinja", "*.safetensors", "README.md", "beat360/*")
# What a process without this package runs: the rows of loading, by the modules of this folder alone.
STRANGER = """
import json, sys
from pathlib import Path
sys.modules["heartcare"] = None
folder, clone, repo, space, names = sys.argv[1:]
sys.path.insert(0, folder)
from first_try.loading import LOADING
from first_try.rows import Given, outcome
given, names = Given(repo, Path(clone), Path(space)), json.loads(names)
print("FOUND", json.dumps({row.name: outcome(row, given) for row in LOADING.all if row.name in names}))
"""
HUB = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from support import hub_server
print(hub_server.start(Path(sys.argv[2])).url, flush=True)
time.sleep(3600)
"""


def main(argv: list[str] | None = None) -> int:
    """Runs the command, and returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("."), help="folder of a clone of the repository")
    parser.add_argument("--row", default="", help="rows alone whose name holds this text")
    parser.add_argument("--hub", action="store_true", help="load over HTTP, from a copy of the Hub's interface")
    parser.add_argument("--slow", action="store_true", help="run the tests of the rows that are by test")
    args = parser.parse_args(argv)
    clone = args.model.resolve()
    if not (clone / "tests").is_dir():
        parser.error(f"--model is the folder of a clone of the repository, and {clone} has no tests/.")
    rows = [row for row in ROWS if args.row.lower() in row.name.lower()]
    if not rows:
        parser.error(f"No row holds {args.row!r}.")
    with tempfile.TemporaryDirectory() as space:
        verdicts = run(rows, Given(str(clone), clone, Path(space)), args.hub, args.slow)
    return int(FAIL in verdicts)


def run(rows: list[Row], given: Given, hub: bool, slow: bool) -> list[str]:
    """Runs rows and prints the table. Returns the verdict of each."""
    print("| row | verdict | what happened |\n|---|---|---|", flush=True)
    loading = [row.name for row in LOADING.all if row in rows and row.run]
    strangers = by_stranger(loading, given, hub) if loading else {}
    verdicts = []
    for row in rows:
        if row.run is None:
            verdict, happened = by_test(row, given.folder, slow)
        else:
            verdict, happened = strangers.get(row.name) or outcome(row, given)
        print(f"| {cell(row.name)} | {verdict} | {happened} |", flush=True)
        verdicts.append(verdict)
    return verdicts


def by_stranger(names: list[str], given: Given, hub: bool) -> dict[str, tuple[str, str]]:
    """Runs rows of loading where this package is not installed. Returns the outcome of each."""
    space = given.space / "stranger"
    space.mkdir()
    with served(given.folder, space) if hub else contextlib.nullcontext("") as address:
        environment = {**os.environ, "HF_HOME": str(space / "cache"), "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": "hf_test"}
        environment.pop("PYTHONPATH", None)
        environment |= {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0"} if hub else {"HF_HUB_OFFLINE": "1"}
        words = [Path(__file__).parents[1], given.folder, REPOSITORY if hub else given.repo, space, json.dumps(names)]
        command = [sys.executable, "-W", "ignore", "-c", STRANGER, *map(str, words)]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=space, stdin=subprocess.DEVNULL
        )
    found = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    if not found:
        last = (done.stderr.strip().splitlines() or ["nothing was printed"])[-1]
        return dict.fromkeys(names, (FAIL, cell(last)))
    return {name: tuple(each) for name, each in json.loads(found[0].removeprefix("FOUND ")).items()}


@contextlib.contextmanager
def served(clone: Path, space: Path) -> Iterator[str]:
    """Serves the files of a clone that the Hub has, and yields the address."""
    root = space / "hub"
    for pattern in HUB_FILES:
        for file in clone.glob(pattern):
            target = root / REPOSITORY / file.relative_to(clone)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    command = [sys.executable, "-c", HUB, str(clone / "tests"), str(root)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield server.stdout.readline().strip()
    finally:
        server.terminate()
        server.wait()


def by_test(row: Row, clone: Path, slow: bool) -> tuple[str, str]:
    """Returns the outcome of a row that tests try: FAIL where a test does not exist or, with `slow`, does not pass."""
    for test in row.tests:
        file, _, name = test.partition("::")
        text = (clone / file).read_text(encoding="utf-8") if (clone / file).is_file() else ""
        if not text or (name and f"def {name}(" not in text):
            return FAIL, f"{test} does not exist"
    shown = ", ".join(row.tests)
    tests = [test for test in row.tests if test.endswith(".py") or "::" in test]
    if not slow or not tests:
        return BY_TEST, shown
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, capture_output=True, text=True, cwd=clone)
    last = (done.stdout.strip().splitlines() or [done.stderr[-300:]])[-1]
    if done.returncode:
        return FAIL, cell(f"{shown}: {last}")
    return (OK if re.search(r"\d+ passed", last) else BY_TEST), cell(f"{shown}: {last}")


if __name__ == "__main__":
    sys.exit(main())
