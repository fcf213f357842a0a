"""Calls the repository's commands in the process of the tests, which saves importing torch and transformers anew for
each of them. One test for each entry point still starts a process of its own.
"""

import contextlib
import importlib
import io
import os
import runpy
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock


@dataclass(frozen=True)
class Result:
    """The end of a command: its exit status and its output."""

    returncode: int
    stdout: str
    stderr: str


def run_main(module: str, *args, cwd: Path | None = None, check: bool = True) -> Result:
    """Calls `main(argv)` of the module `module` with `args` as words, within the folder `cwd`.

    With `check`, a command that does not end with status 0 raises an AssertionError that shows what it wrote.
    """
    main = importlib.import_module(module).main
    return _run(lambda: main([*map(str, args)]), cwd, check)


def run_file(path: Path, *args, cwd: Path | None = None, check: bool = True) -> Result:
    """Executes the Python file `path` as a script with `args` as words, within the folder `cwd`."""

    def execute() -> None:
        with mock.patch.object(sys, "argv", [str(path), *map(str, args)]):
            runpy.run_path(str(path), run_name="__main__")

    return _run(execute, cwd, check)


def run_code(code: str, cwd: Path | None = None) -> Result:
    """Executes Python source text in a namespace of its own, within the folder `cwd`."""
    return _run(lambda: exec(compile(code, "<block>", "exec"), {"__name__": "__main__"}), cwd, True)


def _run(command: Callable[[], int | None], cwd: Path | None, check: bool) -> Result:
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        contextlib.chdir(cwd or os.getcwd()),
        warnings.catch_warnings(),
    ):
        try:
            status = command() or 0
        except SystemExit as end:
            status = end.code or 0
            if not isinstance(status, int):
                print(status, file=sys.stderr)
                status = 1
        except Exception:
            if check:
                raise
            traceback.print_exc()
            status = 1
    result = Result(status, out.getvalue(), err.getvalue())
    assert not check or result.returncode == 0, result.stderr[-3000:] or result.stdout[-3000:]
    return result
