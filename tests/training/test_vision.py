"""The ViT of the default checkpoint, trained before the language model reads pictures."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.commands import run_main
from transformers import SiglipVisionModel

from heartcare.image_processing_heartcare import LAYOUTS
from heartcare.training.data import HeartcareData
from heartcare.training.optimizers import MuonWithAdamW
from heartcare.training.shapes import VISION
from heartcare.training.vision import PROCESSORS, PictureReader, Pictures, given_statements, tile_times
from heartcare.version_heartcare import HEARTCARE_VERSION


@pytest.fixture(scope="module")
def data(built, tmp_path_factory):
    return HeartcareData(built, "train", tmp_path_factory.mktemp("cache"), PROCESSORS, 100)


def test_traces_lie_where_the_ink_is(data):
    """A trace to be learnt lies on ink nearly everywhere, in clean tiles of every layout, speed and gain; along the
    trace of another lead there is less ink.
    """
    pictures = Pictures(data, np.zeros((len(data.record), 76), np.float32), 4)
    seen_layouts, own, other = set(), [], []
    for record in pictures.records:
        drawing = data.drawings[record]
        if drawing["artefacts"]:
            continue
        seen_layouts.add(drawing["layout"])
        trace, seen = pictures.trace(record)
        rms = np.sqrt(np.square(data.signal(record)).mean())
        rows = LAYOUTS[drawing["layout"]][0]
        height = (850 / 100 * 25.4 - 17) / rows  # mm of a row
        size = VISION.image_size
        for lead in range(12):
            ink = 255 - data.tiles[record][lead].astype(int)
            x = ((np.arange(trace.shape[1]) + 0.5) / trace.shape[1] * size).astype(int)
            for found, k in ((own, lead), (other, (lead + 3) % 12)):
                y = size / 2 - trace[k] * rms * drawing["mm_per_mv"] / height * size
                inside = (seen[lead] > 0) & (seen[k] > 0) & (y > 4) & (y < size - 5)
                # At 10 s a tile, a point is the mean of 40 ms, and lies a little off the peaks.
                found.append(
                    np.mean([ink[max(0, int(v) - 5) : int(v) + 6, c].max() > 40 for v, c in zip(y[inside], x[inside])])
                )
            assert own[-1] > 0.85, (drawing, lead, own[-1])
    assert len(seen_layouts) >= 3 and np.mean(own) > 0.96 and np.mean(own) > np.mean(other) + 0.05, (
        np.mean(own),
        np.mean(other),
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("speed", [25.0, 50.0])
def test_tiles_show_each_second_once(layout, speed):
    drawing = {"layout": layout, "mm_per_s": speed}
    shown = 10.0 if speed == 25 else (1100 / 100 * 25.4 - 16) / 50
    columns = LAYOUTS[layout][1]
    for lead in range(12):
        start, stop, first, last = tile_times(drawing, lead)
        whole = layout == "12x1" or layout.endswith("+R") and lead == 1
        assert last - first == pytest.approx(shown if whole else shown / columns)
        assert (
            start < first + 0.26 and stop > last - 0.26 and 0 <= first < last <= shown + 1e-9
        )  # the calibration pulse takes 6 mm


def test_statements_and_drawings_are_those_of_the_records(data, built, ptbxl_folder):
    given = given_statements(data)
    assert (
        given.shape == (len(data.record), 76)
        and given.any(1).all()
        and all(data.drawings[record]["layout"] in LAYOUTS for record in range(len(data.tiles)))
    )
    kinds = {frozenset(labels.statements) for labels in data.labels}
    assert any("AFIB" in kind for kind in kinds) and any("SR" in kind for kind in kinds)


def test_items_are_seen_in_order_and_shifted_alike(data):
    said = np.zeros((len(data.record), 76), np.float32)
    one, again = (Pictures(data, said, 4, 200) for _ in range(2))
    for i in (0, 5, 130):
        for name in one[i]:
            assert np.array_equal(one[i][name], again[i][name])
    epoch = {one[i]["trace"].tobytes() for i in range(len(one.records))}
    assert len(epoch) == len(one.records)  # each picture once


@pytest.mark.slow
def test_a_trace_is_learnt(data):
    """The ViT learns to draw two pictures, far better than silence."""
    torch.manual_seed(0)
    pictures = Pictures(data, given_statements(data).astype(np.float32), 4)
    batch = torch.utils.data.default_collate([pictures[i] for i in range(2)])
    model = PictureReader(SiglipVisionModel(VISION), 1.0)
    optimizer = MuonWithAdamW(model, 1e-3, 0.02)
    losses = []
    for _ in range(200):
        output = model(**batch)
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(
            ((output.trace - batch["trace"]).square() * batch["trace_mask"]).sum()
            / (batch["trace"].square() * batch["trace_mask"]).sum()
        )
    assert losses[-1] < 0.3 and losses[0] > 0.9


@pytest.mark.slow
def test_the_command_resumes_and_feeds_the_default_model(root, built, ptbxl_folder, tmp_path):
    command = [
        "heartcare.training.vision",
        "--data",
        built,
        "--output",
        tmp_path / "vision",
        "--steps",
        4,
        "--batch-size",
        2,
        "--save-steps",
        2,
        "--cache",
        tmp_path / "cache",
    ]
    printed = run_main(*command, cwd=tmp_path).stdout
    assert "| macro AUC, super |" in printed and "PRD of the traces" in printed
    assert json.loads((tmp_path / "vision/config.json").read_text())["heartcare_version"] == HEARTCARE_VERSION
    whole = load_file(tmp_path / "vision/model.safetensors")
    (tmp_path / "vision/model.safetensors").unlink()
    shutil.rmtree(tmp_path / "vision/checkpoint-4")
    run_main(*command, "--resume", cwd=tmp_path)
    resumed = load_file(tmp_path / "vision/model.safetensors")
    for name in whole:
        np.testing.assert_allclose(resumed[name].numpy(), whole[name].numpy(), atol=2e-6, err_msg=name)
    parts = ["--beat", root, "--vision", tmp_path / "vision"]
    run_main("heartcare.training.assemble", "--data", built, *parts, "--output", tmp_path / "init", cwd=tmp_path)
    assembled = load_file(tmp_path / "init/model.safetensors")
    assert all(torch.equal(assembled[f"vision_tower.{name}"], value) for name, value in resumed.items())
