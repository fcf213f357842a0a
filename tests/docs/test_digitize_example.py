"""The command that digitises a page."""

import numpy as np
from PIL import Image
from support.commands import run_main

from heartcare.agent.device_pages import DEVICES, draw_page
from heartcare.agent.simulate import simulate_ecg

DIGITIZE = "heartcare.examples.digitize"


def test_a_page_becomes_a_table_and_a_picture_of_what_was_read(root, tmp_path):
    ecg = simulate_ecg("SR", "NORM", seed=2)
    picture, _ = draw_page(ecg.signal, ecg.sampling_rate, DEVICES["philips"], 150)
    picture.rotate(180).save(tmp_path / "page.png")
    command = (tmp_path / "page.png", "--csv", tmp_path / "ecg.csv", "--picture", tmp_path / "over.png")
    done = run_main(DIGITIZE, *command, cwd=root)
    assert "layout 3x4+R, standard order, 25 mm/s, 10 mm/mV" in done.stdout and "warnings: none" in done.stdout
    assert "turned the picture by 180 degrees" in done.stdout
    table = np.genfromtxt(tmp_path / "ecg.csv", delimiter=",", names=True)
    assert table.dtype.names[:3] == ("I", "II", "III") and np.isfinite(table["II"]).mean() > 0.98
    assert 0.2 < np.isfinite(table["V6"]).mean() < 0.3
    over = np.asarray(Image.open(tmp_path / "over.png").convert("RGB"), int)
    coloured = (over[..., 0] > 150) & (over[..., 1] < 60) & (over[..., 2] < 110)  # the first row
    assert over.shape[:2] == picture.size[::-1] and coloured.sum() > 500
    assert coloured[: over.shape[0] // 2].sum() > 0.95 * coloured.sum()  # upright: the first row is above


def test_what_is_no_page_is_refused_in_one_line(root, tmp_path):
    Image.new("RGB", (1200, 900), (255, 255, 255)).save(tmp_path / "blank.png")
    done = run_main(DIGITIZE, tmp_path / "blank.png", cwd=root, check=False)
    assert done.returncode == 1 and "blank" in done.stderr and "Traceback" not in done.stderr
