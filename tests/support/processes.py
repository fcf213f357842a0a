"""Processes that tests end at a place of their choice, however fast or busy the machine is."""

import subprocess
import sys

STALL = "print('stalled', flush=True); import time; time.sleep(600)"  # what the code given to `kill_when_stalled` runs


def kill_when_stalled(code: str, *args) -> None:
    """Runs Python `code` with `args` in a process of its own until it executes STALL, and kills it there.

    Raises an AssertionError when the process ends by itself.
    """
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, args)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        stalled = any(line.strip() == "stalled" for line in process.stdout)
        process.kill()
        assert stalled, process.stderr.read()[-3000:]
