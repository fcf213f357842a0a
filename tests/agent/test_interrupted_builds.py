"""Builds that are killed at each of their writes, find no room on the disk, or run twice at once: whatever happens, a
shard under its name is whole, and the same command makes what an undisturbed build makes, card included.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from make_examples import write_wfdb

from heartcare.agent.__main__ import main
from heartcare.agent.simulate import simulate_ecg

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and limits the size of files")
FORKS = Path(__file__).resolve().parents[1] / "support" / "build_in_forks.py"


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    for i in range(2):
        write_wfdb(folder, f"r{i}", simulate_ecg(seed=i).signal, 500)
    return folder


@pytest.fixture(scope="module")
def found(source, tmp_path_factory) -> dict:
    """Returns the JSON object that build_in_forks.py prints."""
    command = [sys.executable, "-W", "ignore", FORKS, source, tmp_path_factory.mktemp("out")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert {"README.md", "manifest.json", "card/dimensions.png"} <= set(found["files"])
    return found


@pytest.mark.slow
def test_a_build_that_is_killed_at_any_write_goes_on(found):
    assert len(found["killed"]) == found["writes"] > 12
    for number, (killed, broken, again, is_whole, errors) in enumerate(found["killed"], start=1):
        assert (killed, broken, again, is_whole) == (-9, [], 0, True), (number, errors)


@pytest.mark.slow
def test_a_build_without_room_ends_with_a_message_and_goes_on(found):
    for full, broken, again, is_whole, message in found["full"]:
        assert (full, broken, again, is_whole) == (2, [], 0, True), message
        assert "File too large" in message and "Traceback" not in message


@pytest.mark.slow
def test_two_builds_at_once_make_the_same(found):
    for one, other, is_whole, errors in found["both"]:
        assert (one, other, is_whole) == (0, 0, True), errors


def test_a_folder_that_cannot_be_written_is_named(source, capsys):
    assert main(["build", "--source", str(source), "--out", "/proc/heartcare", "--no-images"]) == 2
    assert "/proc/heartcare" in capsys.readouterr().err
