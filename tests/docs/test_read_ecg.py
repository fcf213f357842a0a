"""The first command that a user runs."""

import subprocess
import sys

import pytest
from PIL import Image
from support.commands import run_file, run_main

from heartcare.agent.report_pdf import write_pdf_report

READ_ECG = "heartcare.examples.read_ecg"


@pytest.mark.checkpoint
def test_it_writes_a_report_and_a_drawing(root, tmp_path):
    """The command runs as a process, in the way that the README has it."""
    question = "Is there atrial fibrillation on this ECG?"
    command = [sys.executable, "-W", "ignore", "examples/read_ecg.py", "examples/ecgs/atrial_fibrillation"]
    command += ["--output", str(tmp_path / "a.png"), "--question", question]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Write a report of this ECG.\n    " in done.stdout and "Not for clinical use" in done.stdout
    assert f"{question}\n    Yes." in done.stdout
    page = Image.open(tmp_path / "a.png")
    assert page.width > 1500 and page.height > 900
    picture = run_main(READ_ECG, tmp_path / "a.png", "--output", tmp_path / "b.png", cwd=root)
    assert "What is the rhythm?\n    " in picture.stdout


@pytest.mark.checkpoint
def test_it_reads_what_the_agent_reads(root, tmp_path, ecg):
    write_pdf_report(tmp_path / "report.pdf", ecg.signal, 500, "12x1")
    done = run_main(READ_ECG, tmp_path / "report.pdf", "--output", tmp_path / "a.png", cwd=root)
    direct = run_main(READ_ECG, root / "examples/ecgs/sinus_rhythm", "--output", tmp_path / "b.png", cwd=root)
    assert "What is the rhythm?\n    Sinus rhythm" in done.stdout and "Write a report" in direct.stdout
    (tmp_path / "bad.pdf").write_bytes(b"%PDF-1.4")
    done = run_main(READ_ECG, tmp_path / "bad.pdf", "--output", tmp_path / "c.png", cwd=root, check=False)
    assert done.returncode == 1 and "Cannot read this ECG" in done.stderr and "Traceback" not in done.stderr


def test_it_says_what_is_wrong_and_writes_nothing(root, tmp_path):
    done = run_main(READ_ECG, tmp_path / "none", "--output", tmp_path / "a.png", cwd=root, check=False)
    assert done.returncode == 1 and "none.hea does not exist" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "a.png").exists()


def test_examples_are_the_simulator_own(root, tmp_path):
    run_file(root / "tests/make_examples.py", "--output", tmp_path)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 9
    for file in (file for file in files if file.suffix != ".png"):  # letters differ between versions of Pillow
        assert file.read_bytes() == (root / "examples/ecgs" / file.name).read_bytes()
