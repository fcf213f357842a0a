"""The first tries of a user of the Hub, by the script that runs them."""

import re

import pytest
from support.commands import run_main

COMMAND = "heartcare.studies.first_try.__main__"


@pytest.mark.slow
@pytest.mark.checkpoint
def test_no_row_fails(root, tmp_path):
    """All rows that the script runs itself pass; it finds the tests of the others by their names."""
    done = run_main(COMMAND, "--model", root, cwd=tmp_path, check=False)
    rows = re.findall(r"^\| (.*) \| (OK|LIB|FAIL|by test) \| (.*) \|$", done.stdout, re.M)
    assert [row for row in rows if row[1] == "FAIL"] == [] and done.returncode == 0, done.stdout[-3000:]
    verdicts = [verdict for _, verdict, _ in rows]
    assert len(rows) >= 90 and verdicts.count("OK") > 60 and verdicts.count("LIB") <= 5


@pytest.mark.slow
def test_rows_of_loading_over_http(root, tmp_path):
    """Rows of loading pass where the package is not installed and the cache is clean, with a pinned and an unknown
    revision.
    """
    done = run_main(COMMAND, "--model", root, "--hub", "--row", "revision", cwd=tmp_path, check=False)
    assert done.stdout.count("| OK |") == 2 and done.returncode == 0, done.stdout
