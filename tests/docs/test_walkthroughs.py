"""The walk-throughs, each run in the way of a reader, from anywhere."""

import re

import pytest
from support.commands import run_file


def walk(root, folder, name: str, *args) -> str:
    (path,) = (root / "examples/walkthroughs").glob(f"*{name}*.py")
    return run_file(path, *args, cwd=folder).stdout


def test_load_and_ask(root, tmp_path):
    said = walk(root, tmp_path, "load_and_ask")
    shares = [float(each) for each in re.findall(r"^ *([\d.]+)%  ", said, re.M)]
    assert len(shares) == 3 and abs(sum(shares) - 100) < 0.5 and "absent:V6" in said and "Rhythm" in said


@pytest.mark.checkpoint
def test_fine_tune_on_a_csv(root, tmp_path):
    assert re.search(r"^4 of 4 right$", walk(root, tmp_path, "fine_tune", 3), re.M)


def test_tokenise_and_decode(root, tmp_path):
    said = walk(root, tmp_path, "tokenise")
    assert "torch.Size([1, 3, 50])" in said and float(re.search(r"PRD ([\d.]+) %", said)[1]) < 60
    rates = [float(each) for each in re.findall(r"heart rate (\d+)/min", said)]
    assert abs(rates[0] - rates[1]) <= 2


def test_build_a_data_set(root, tmp_path):
    pytest.importorskip("datasets")
    said = walk(root, tmp_path, "build")
    assert '"rejected": 0' in said and "'train'" in said and " -> " in said and "no file was rejected" in said


def test_run_the_benchmark(root, tiny_folder, tmp_path):
    said = walk(root, tmp_path, "benchmark", tiny_folder)
    assert (
        "| S/closed-qa | accuracy |" in said
        and "another patient's ECG" in said
        and re.search(r"^\d+ bytes$", said, re.M)
    )
