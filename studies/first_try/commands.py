"""Rows of the commands, and of the contents of the wheel."""

import ast
import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from .rows import EXAMPLES, Given, Rows, expect, setup_of, user

COMMANDS = Rows()
# Modules that Windows does not have.
NOT_ON_WINDOWS = {"resource", "fcntl", "pwd", "grp", "termios", "posix"}
ROOMS = ("agent", "bench", "console", "examples", "studies", "training")


def ran(main: Callable[[list[str]], Any], *words: object, cwd: Path) -> tuple[int, str]:
    """Runs a command in this process within a folder. Returns its exit status and what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), contextlib.chdir(cwd):
        try:
            status = main([str(word) for word in words]) or 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
            if isinstance(end.code, str):
                print(end.code)
    return status, printed.getvalue()


def modules_of(folder: Path) -> list[Path]:
    """Returns the Python files of the product."""
    return [*folder.glob("*.py"), *(file for room in ROOMS for file in (folder / room).rglob("*.py"))]


COMMANDS.by_test("walkthroughs 1-5", "tests/docs/test_walkthroughs.py")


@COMMANDS.row("CLI agent inspect: a table, clean errors")
def inspect(given: Given) -> str:
    from heartcare.agent.__main__ import main

    status, printed = ran(main, "inspect", f"{given.ecg()}.hea", "--output", given.space / "a.png", cwd=given.space)
    expect(status == 0 and "aVR" in printed and (given.space / "a.png").is_file(), printed)
    status, error = ran(main, "inspect", "missing.hea", cwd=given.space)
    expect(status != 0 and "Traceback" not in error and "missing.hea" in error, error)
    return error.strip().splitlines()[-1]


@COMMANDS.row("CLI agent build --source FOLDER of WFDB files; a second run")
def build(given: Given) -> str:
    from heartcare.agent.__main__ import main

    source, out = given.space / "wfdb", given.space / "built"
    source.mkdir()
    for name in EXAMPLES:
        for suffix in (".hea", ".dat"):
            shutil.copy(f"{given.ecg(name)}{suffix}", source)
    words = ("build", "--source", source, "--out", out, "--no-images")
    found = [ran(main, *words, cwd=given.space) for _ in range(2)]
    files = sorted(file.name for file in out.iterdir())
    expect([status for status, _ in found] == [0, 0] and "README.md" in files, found)
    return ", ".join(files)


@COMMANDS.row("CLI agent build --source CSV")
def build_table(given: Given) -> str:
    from heartcare.agent.__main__ import main

    rows = [f"{given.ecg(name)}.hea,p{number},Sinus rhythm." for number, name in enumerate(EXAMPLES)]
    table, out = given.space / "table.csv", given.space / "built_of_table"
    table.write_text("\n".join(["path,patient_id,report", *rows]))
    status, printed = ran(main, "build", "--source", table, "--out", out, "--no-images", cwd=given.space)
    expect(status == 0 and (out / "README.md").is_file(), printed)
    return f"{len(list(out.glob('*.parquet')))} files"


COMMANDS.by_test("CLI bench run/freeze/compare/invariance",
                 "tests/bench/test_bench.py::test_one_worker_two_workers_killed_and_resumed_give_the_same_file",
                 "tests/bench/test_bench.py::test_instruction_and_errors")  # fmt: skip


@COMMANDS.row("CLI bench run, own data, no --manifest: the error names `freeze`")
def bench_without_manifest(given: Given) -> str:
    from heartcare.bench.__main__ import main

    expect((given.space / "built_of_table").is_dir(), "the row of `agent build` has made nothing")
    words = ("run", "--model", given.repo, "--data", given.space / "built_of_table", "--out", given.space / "results")
    status, printed = ran(main, *words, cwd=given.space)
    expect(status != 0 and "Traceback" not in printed and "freeze" in printed, printed)
    return printed.strip().splitlines()[-1]


COMMANDS.by_test("CLI bench report on few items",
                 "tests/bench/test_bench.py::test_report_of_a_benchmark_too_small_for_an_auc")  # fmt: skip


@COMMANDS.row("bench verdicts at n = 1 to 6: none is given")
def verdicts(given: Given) -> str:
    from heartcare.bench.controls import MAJORITY, MODEL
    from heartcare.bench.scorers import SCORERS, RowScores

    sentences = {}
    for count in (1, 6, 60):
        items = [SimpleNamespace(patients=(f"p{number}",)) for number in range(count)]
        rows = {row: RowScores({"score": 3 * [score], "n": count}, count * [score])
                for row, score in ((MODEL, 1.0), (MAJORITY, 0.0))}  # fmt: skip
        sentences[count] = SCORERS["report"].verdict("report", items, rows, seed=0)[0]
    expect(all(("it reads the ECG" in text) == (count > 6) for count, text in sentences.items()), sentences)
    return sentences[6]


@COMMANDS.row("examples/read_ecg.py; missing or damaged .png: one line")
def read_ecg(given: Given) -> str:
    from heartcare.examples.read_ecg import main

    (given.space / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    output = given.space / "read.png"
    status, printed = ran(main, given.ecg(), "--model", given.folder, "--output", output, cwd=given.space)
    expect(status == 0 and "complete right bundle branch block" in printed and output.is_file(), printed)
    for name in ("no.png", "bad.png"):
        status, error = ran(main, given.space / name, "--model", given.folder, "--output", output, cwd=given.space)
        expect(status != 0 and "Traceback" not in error and name in error, error)
    return error.strip().splitlines()[-1]


@COMMANDS.row("CLI heartcare: a console command with help that needs no torch")
def console(given: Given) -> str:
    scripts = setup_of(given.folder)["entry_points"].get("console_scripts", [])
    expect(any(each.split("=")[0].strip() == "heartcare" for each in scripts), f"console_scripts: {scripts}")
    module, _, name = scripts[0].partition("=")[2].strip().partition(":")
    code = f"import sys; sys.argv = ['heartcare', '--help']; from {module} import {name}; {name}()"  # as the script is
    started = [sys.executable, "-X", "importtime", "-c", code]
    done = subprocess.run(started, capture_output=True, text=True, cwd=given.space)
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    expect(done.stdout.startswith("usage: heartcare") and not {"torch", "transformers"} & imported, done.stdout)
    return done.stdout.splitlines()[0]


@COMMANDS.row("CLI heartcare read: a report; clean errors")
def console_read(given: Given) -> str:
    from heartcare.console.command import main

    status, printed = ran(main, "read", given.ecg(), "--model", given.folder, cwd=given.space)
    expect(status == 0 and "omplete right bundle branch block" in printed, printed)
    status, error = ran(main, "read", "missing.hea", "--model", given.folder, cwd=given.space)
    expect(status != 0 and "Traceback" not in error and "missing.hea" in error, error)
    return error.strip().splitlines()[-1]


@COMMANDS.row("wheel contents: every folder with modules is a package of setup.py")
def wheel(given: Given) -> str:
    packages = set(setup_of(given.folder)["packages"])
    folders = {file.parent.relative_to(given.folder) for file in modules_of(given.folder)}
    wanted = {
        ".".join(("heartcare", *folder.parts))
        for folder in folders
        if (given.folder / folder / "__init__.py").is_file()
    }
    expect(wanted <= packages, f"not in setup.py: {sorted(wanted - packages)}")
    return f"{len(packages)} packages"


@COMMANDS.row("hints of errors tell how to install an extra of what is installed, a clone included")
def hints(given: Given) -> str:
    extras = setup_of(given.folder)["extras_require"]
    found = set()
    for file in modules_of(given.folder):
        found |= {*re.findall(r"pip install ['\"]?heartcare\[(\w[\w-]*)\]", file.read_text(encoding="utf-8"))}
    expect(found <= {*extras}, f"no extras: {sorted(found - {*extras})}")
    return f"extras named: {', '.join(sorted(found))}"


COMMANDS.by_test("`pip install .` in a fresh venv, from another folder", ".ci/wheel")


@COMMANDS.row("Python 3.11 to the newest: every module is of 3.11's grammar")
def grammar(given: Given) -> str:
    files = modules_of(given.folder)
    for file in files:
        ast.parse(file.read_text(encoding="utf-8"), file.name, feature_version=(3, 11))
    expect(setup_of(given.folder)["python_requires"] == ">=3.11", "python_requires")
    return f"{len(files)} modules; this is Python {sys.version_info.major}.{sys.version_info.minor}"


@COMMANDS.row("Windows, by reading: no module that is missing there, in anything but studies and training")
def windows(given: Given) -> str:
    found = []
    for file in modules_of(given.folder):
        if file.relative_to(given.folder).parts[0] in ("studies", "training"):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [f"{file.name}: {name}" for name in names if name in NOT_ON_WINDOWS]
    expect(not found, found)
    return "none"


@COMMANDS.row("processor outputs are the same from another folder, with a relative path")
def relative_path(given: Given) -> str:
    import torch

    with contextlib.chdir(os.path.dirname(given.ecg())):
        inputs = given.chat_inputs([user({"type": "ecg", "path": EXAMPLES[2]}, "Write a report of this ECG.")])
    same = all(torch.equal(value, given.inputs[name]) for name, value in inputs.items())
    expect(same, sorted(inputs))
    return "the same"
