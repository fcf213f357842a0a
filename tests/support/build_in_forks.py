"""Builds one small data set many times, each time in a forked process that ends somewhere on its way.

    python build_in_forks.py SOURCE FOLDER

It imports once and forks for each build, since importing takes longer than the build. Prints one JSON object.
"""

import contextlib
import io
import json
import os
import resource
import signal
import sys
from pathlib import Path

from heartcare.agent.__main__ import main
from heartcare.agent.readers import read_ecg

WRITES = {"os.rename", "os.mkdir", "os.remove", "os.link", "os.truncate"}


def build(source: str, out: Path, kill_at: int = 0, room: int = 0) -> tuple[int, int, str]:
    """Builds in a fork, which kills itself at its write number `kill_at`, and may write files of `room` bytes.

    Returns: the exit status, negative for a signal, the number of writes, and what it wrote to standard error.
    """
    reader, writer = os.pipe()
    process = os.fork()
    if not process:
        os.close(reader)
        status, writes, errors = 70, 0, io.StringIO()

        def count(event, arguments):
            nonlocal writes
            if event in WRITES or event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR):
                if str(out) in str(arguments[0]):
                    writes += 1
                    if writes == kill_at:
                        os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        if room:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            try:
                status = main(["build", "--source", source, "--out", str(out), "--no-images"])
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
        os.write(writer, json.dumps([writes, errors.getvalue()[-3000:]]).encode())
        os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        said = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    writes, errors = json.loads(said or b'[0, ""]')
    return status, writes, errors


def content(out: Path) -> dict[str, str]:
    """Returns the files of a data set without those of the work folder; the card without its section on the time that
    it took.
    """
    files = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file() and ".build" not in path.parts):
        data = path.read_bytes()
        if path.name == "README.md":
            before, _, after = data.partition(b"## How long it took")
            data = before + after.partition(b"\n## ")[2]
        files[str(path.relative_to(out))] = data.hex()
    return files


def broken(out: Path, whole: dict[str, str]) -> list[str]:
    """Returns the names of the shards of a data set that are not those of the whole one."""
    return [path.name for path in out.glob("*.parquet") if path.read_bytes().hex() != whole[path.name]]


def disturb(source: str, folder: Path) -> dict:
    """Builds a data set undisturbed; killed at each write and again; with little room and again; and twice at once."""
    read_ecg(next(Path(source).glob("*.hea")))  # which imports the rest
    status, writes, errors = build(source, folder / "whole")
    assert status == 0, errors
    whole = content(folder / "whole")
    found = {"files": sorted(whole), "writes": writes, "killed": [], "full": [], "both": []}
    for number in range(1, writes + 1):
        out = folder / f"killed{number}"
        killed, _, _ = build(source, out, kill_at=number)
        there = broken(out, whole)
        again, _, errors = build(source, out)
        found["killed"].append([killed, there, again, content(out) == whole, errors])
    for room in (10, 1000, 20_000):
        out = folder / f"room{room}"
        full, _, message = build(source, out, room=room)
        there = broken(out, whole)
        again, _, errors = build(source, out)
        found["full"].append([full, there, again, content(out) == whole, message or errors])
    for number in range(6):
        out = folder / f"both{number}"
        other = os.fork()
        if not other:
            os._exit(build(source, out)[0] & 255)
        one, _, errors = build(source, out)
        two = os.waitstatus_to_exitcode(os.waitpid(other, 0)[1])
        found["both"].append([one, two, content(out) == whole, errors])
    return found


if __name__ == "__main__":
    print(json.dumps(disturb(sys.argv[1], Path(sys.argv[2]))))
