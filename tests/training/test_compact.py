"""PTB-XL in two compact files, and the script that trains from them."""

import os
import subprocess
import sys

import numpy as np
import pytest
from support.commands import run_main

from heartcare import BeatModel
from heartcare.training.compact import STEP, compress, decompress
from heartcare.training.ptbxl import PTBXL


def test_what_is_unpacked_is_what_was_packed(ptbxl_folder, tmp_path):
    """Records, labels and folds come back the same, signals within a step, and the limb leads follow from I and II."""
    packed = ["--ptbxl", ptbxl_folder, "--cache", tmp_path / "cache", "--output", tmp_path / "parts"]
    run_main("heartcare.training.compact", "pack", *packed)
    copy = ["--ptbxl", tmp_path / "copy", "--cache", tmp_path / "copied"]
    run_main("heartcare.training.compact", "unpack", "--parts", tmp_path / "parts", *copy)
    for folds in (range(1, 9), [9]):
        data = PTBXL(ptbxl_folder, folds, tmp_path / "cache")
        again = PTBXL(tmp_path / "copy", folds, tmp_path / "copied")
        assert again.rows == data.rows and len(data)
        for i in range(len(data)):
            error = np.abs(again.microvolts(i).astype(int) - data.microvolts(i).astype(int))
            assert error[[0, 1, *range(6, 12)]].max() <= STEP / 2 and error.max() <= STEP + 1
            one, two, three = again.microvolts(i)[:3].astype(int)
            assert np.array_equal(three, two - one)
    assert not PTBXL(tmp_path / "copy", [10], tmp_path / "copied").rows
    with pytest.raises(FileNotFoundError, match="holds no ptbxl_1.xz"):
        run_main("heartcare.training.compact", "unpack", "--parts", tmp_path / "copied", *copy)


def test_large_steps_survive():
    signals = np.zeros((1, 12, 8), np.int16)
    signals[0, 0] = [0, 32004, -32004, 32004, 0, 28, -28, 14000]
    unpacked, table = decompress(compress(signals, [{"ecg_id": "1", "report": 'a "b", c\nd'}]))
    assert np.array_equal(unpacked[0, 0], signals[0, 0]) and table == [{"ecg_id": "1", "report": 'a "b", c\nd'}]


@pytest.mark.slow
def test_teacher_and_beat_are_trained_by_one_script(root, ptbxl_folder, tmp_path):
    packed = ["--ptbxl", ptbxl_folder, "--cache", tmp_path / "cache", "--output", tmp_path / "parts"]
    run_main("heartcare.training.compact", "pack", *packed)
    short = {
        "NETWORKS": "resnet",
        "EPOCHS": "1",
        "STEPS": "2",
        "BATCH_SIZE": "2",
        "SIMULATED": "2",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [root / "training/on_gpu.sh", tmp_path / "parts", tmp_path / "out"],
        env=os.environ | short | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "| mean | " in done.stdout and '"leads": "3x4+II"' in done.stdout
    assert BeatModel.from_pretrained(tmp_path / "out/beat").config.num_levels == 3
