"""Processes that tests end at a place of their choice, however fast or busy the machine is."""

import os
import subprocess
import sys
from pathlib import Path

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


def run_in_two_processes(worker: str, *args) -> str:
    """Runs tests/support/`worker` with `args` in two processes of torch.distributed, one thread each.

    Returns: what it printed. Raises an AssertionError where it fails.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    done = subprocess.run(
        [*command, str(Path(__file__).with_name(worker)), *map(str, args)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
