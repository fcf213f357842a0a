"""Worker processes of the commands."""

import subprocess
import sys
import time
from pathlib import Path

SCRIPT = """
import sys
sys.argv = ["heartcare"]  # the package is imported without torch, here and in the worker
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from heartcare.workers_heartcare import end_with_parent

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=end_with_parent)
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(600)
"""


def is_running(process: int) -> bool:
    """Tells whether a process is there, and has not ended without anybody having asked how."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_workers_end_with_a_command_that_is_killed(root, tmp_path):
    script = tmp_path / "pool.py"
    script.write_text(SCRIPT)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, cwd=root.parent) as process:
        worker = int(process.stdout.readline())
        assert is_running(worker)
        process.kill()
    until = time.monotonic() + 60
    while is_running(worker) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_running(worker)
