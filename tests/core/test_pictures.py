"""Pictures in the pipeline: digitised, so that Beat and measuring read the page beside the ViT, or by the ViT alone."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from heartcare import digitize
from heartcare.agent.device_pages import DEVICES, draw_page
from heartcare.agent.not_ecgs import OTHER_PICTURES
from heartcare.direct_heartcare import NOT_DIGITIZED, PAGE_WEIGHTS
from heartcare.layouts_heartcare import LAYOUT_NAMES
from heartcare.pictures_heartcare import kinds_of, read_pictures, tiles_of
from heartcare.pipeline_heartcare import ECGInterpretationPipeline
from heartcare.reading_heartcare import read_ecg
from heartcare.serving_heartcare import BadRequest, DynamicBatcher, Limits, read_request

CABRERA = next(name for name, style in DEVICES.items() if style.layout.order == "Cabrera")


@pytest.fixture(scope="module")
def pipe(model, processor):
    return ECGInterpretationPipeline(model=model, processor=processor, device="cpu")


@pytest.fixture(scope="module")
def block(root):
    return read_ecg(root / "examples/ecgs/right_bundle_branch_block")


@pytest.fixture(scope="module")
def picture(block):
    return draw_page(block.signal, block.sampling_rate, DEVICES["ge"], 150)[0]


@pytest.mark.checkpoint
def test_a_page_is_measured_and_answered_like_its_signal(pipe, block, picture):
    asked = {"ecgs": [block], "question": "What is the QRS axis?"}
    by_signal, by_page = pipe(asked), pipe({"image": picture, "question": asked["question"]})
    signal, page = by_signal["measurements"][0], by_page["measurements"][0]
    for name, most in {"heart_rate": 1, "pr": 12, "qrs": 12, "qt": 20, "qrs_axis": 12}.items():
        assert page[name] == pytest.approx(signal[name], abs=most), name
    assert list(page["st"]) == list(signal["st"]) and by_page["quality"][0]["not_an_ecg"] == {}
    assert by_page["text"].startswith("The QRS axis is ")
    for question in ("Is there a conduction disturbance?", "Is this a normal ECG?", "Is this atrial fibrillation?"):
        texts = [pipe({**each, "question": question})["text"] for each in ({"ecgs": [block]}, {"image": picture})]
        assert texts[0].split(":")[0].rstrip(".") == texts[1].split(":")[0].rstrip("."), question
    report = pipe(picture, explain=True)
    assert f"QRS axis {round(page['qrs_axis'])} degrees" in report["text"] and report["checks"]
    assert all(claim["verdict"] == "verified" for claim in report["checks"])
    assert report["explanations"] and NOT_DIGITIZED not in report["text"]
    assert (
        json.loads(json.dumps(report))["pages"]
        == report["pages"]
        == [digitize(picture).as_plain() | {"digitized": True}]
    )


def test_a_turned_page_is_read_as_the_upright_one(pipe, picture):
    upright = pipe(picture, question="What is the heart rate?")
    turned = pipe(picture.rotate(90, expand=True), question="What is the heart rate?")
    assert turned["pages"][0]["turned"] == 90 and upright["pages"][0]["turned"] == 0
    assert turned["text"] == upright["text"]
    assert turned["findings"][0] == pytest.approx(upright["findings"][0], abs=0.1)


def test_both_experts_count_by_their_weights(pipe, picture):
    prepared = pipe.preprocess(picture)
    assert prepared["kinds"] == prepared["given"] == ["page"]
    features = dict(prepared["features"])
    numbers = torch.from_numpy(np.stack(pipe._numbers({**prepared, "signals": features})))
    signal = {name: features[name] for name in ("input_values", "ecg_attention_mask", "lead_mask")}
    ours = pipe.model.find(numbers, **signal).logits[0]
    seen = pipe.model.find_in_pictures(features["pixel_values"]).logits[0]
    found = list(pipe.forward(prepared)["logits"][0].values())
    expected = PAGE_WEIGHTS["ecg"] * ours + PAGE_WEIGHTS["image"] * seen
    assert found == pytest.approx(expected.tolist(), abs=1e-3) and sum(PAGE_WEIGHTS.values()) == 1


def test_a_page_beside_others_is_answered_as_alone(pipe, block, picture):
    """Pictures are answered in batches, beside signals, in comparisons, and in a chat of several turns."""
    asked = "What is the QRS duration?"
    alone = pipe(picture, question=asked)
    inputs = [block, picture, {"image": picture, "question": "Is there atrial fibrillation?"}, block]
    replies = pipe(inputs, question=asked, batch_size=4)
    assert [len(reply["measurements"]) for reply in replies] == [1, 1, 1, 1]
    assert replies[1]["text"] == alone["text"] and "pages" not in replies[0]
    several = pipe({"ecgs": [block, picture, block], "question": asked})
    assert alone["text"] in several["text"] and len(several["findings"]) == len(several["measurements"]) == 3
    assert several["findings"][1] == pytest.approx(alone["findings"][0], abs=1e-3)
    chat = [
        {"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": "Report it."}]},
        {"role": "assistant", "content": "Sinus rhythm."},
        {"role": "user", "content": asked},
    ]
    assert pipe(chat)["text"] == alone["text"]
    changed = pipe({"ecgs": [picture, block], "question": "What has changed?"})["text"]
    assert "QRS axis" not in changed and "heart rate" not in changed


def test_a_page_is_not_continued(pipe, picture):
    reply = pipe(picture, question="Predict the next 2 seconds of this ECG.")
    assert "forecast" not in reply and "not for pictures" in reply["text"]


@pytest.mark.parametrize("device", ["ge", CABRERA])
def test_the_tiles_of_a_page_show_each_lead(processor, block, device):
    """Each tile holds the trace of its own lead: upside down in Cabrera's order, and lead II as the strip has it."""
    page = digitize(draw_page(block.signal, block.sampling_rate, DEVICES[device], 150)[0])
    tiles = tiles_of(page, processor.image_processor)
    size = processor.image_processor.size
    assert (
        tiles.shape == (12, 3, size["height"], size["width"]) and np.isfinite(tiles).all() and np.abs(tiles).max() <= 1
    )
    dark = (tiles[:, 0] < 0.3).argmax(axis=1)  # the first dark row of each column, from the top
    for row, lead in enumerate(block.signal):
        if page.layout.strips and row == 1:
            continue  # ten seconds on as many columns as others have for 2.5
        lowest, highest = np.nanpercentile(lead, [1, 99])
        upwards = highest - np.nanmedian(lead) > np.nanmedian(lead) - lowest
        above = (np.median(dark[row]) - dark[row].min()) > 4
        assert above or not upwards, row


@pytest.mark.parametrize("cut", [30, 45])
def test_the_tiles_of_a_page_that_is_cut_off_keep_their_scale(processor, block, cut):
    """The tiles of later columns are those of the whole page; what was cut off is paper."""
    style = dataclasses.replace(DEVICES["philips"], pulse="none", labels="none", separator="none")
    picture, page = draw_page(block.signal, block.sampling_rate, style, 150)
    whole = digitize(picture)
    part = digitize(picture.crop((round(cut * page.px), 0, picture.width, picture.height)))
    tiles, expected = (tiles_of(each, processor.image_processor) for each in (part, whole))
    assert "rows_cut_off" in part.ecg.warnings and tiles.shape == expected.shape
    for row in (3, 6, 8, 11):
        assert np.corrcoef(tiles[row].ravel(), expected[row].ravel())[0, 1] > 0.8, row
    gone = (cut - page.traces[0].x) / 62.5  # of the first column
    assert tiles[0, 0, :, : int((gone - 0.1) * tiles.shape[-1])].min() > 0.9


def test_what_is_not_digitised_is_said(pipe, picture):
    reply = pipe(picture, digitize=False)
    assert reply["text"].endswith(NOT_DIGITIZED) and reply["measurements"] == reply["quality"] == []
    assert reply["pages"] == [{"digitized": False, "reason": "that was not asked for"}]
    number = pipe(picture, digitize=False, question="What is the heart rate?")["text"]
    assert number == "The heart rate cannot be measured: the picture was not digitised: that was not asked for."
    small = picture.resize((420, 250))
    reply = pipe(small)
    assert not reply["pages"][0]["digitized"] and "too small" in reply["pages"][0]["reason"]
    pieces = "".join(pipe.stream(picture, digitize=False))
    assert pieces == pipe(picture, digitize=False)["text"]


@pytest.mark.parametrize("name", OTHER_PICTURES)
def test_nothing_is_said_of_other_pictures(pipe, name):
    reply = pipe(OTHER_PICTURES[name](np.random.default_rng(3)))
    assert "nothing is said" in reply["text"] and "findings" not in reply and reply["measurements"] == []


def test_the_page_can_be_described_everywhere(pipe, block, picture):
    """Layout, speed and gain can be stated to the pipeline, and in a request to a server."""
    assert pipe(picture, layout="3x4+R", speed=25, gain=10)["pages"][0]["digitized"]
    twice = pipe(picture, speed=50)["measurements"][0]["heart_rate"]
    assert twice == pytest.approx(2 * pipe(picture)["measurements"][0]["heart_rate"], rel=0.02)
    for wrong in ({"speed": 0}, {"gain": float("inf")}, {"layout": "2x9"}, {"digitize": "no"}, {"speed": "25"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            pipe(picture, **wrong)
    for layout in LAYOUT_NAMES:
        pipe.processor.image_processor.tiles(picture, layout)
    batcher = DynamicBatcher(pipe)
    request = read_request({"inputs": {"signal": [[0.0] * 10]}, "parameters": {"gain": 5, "digitize": True}}, Limits())
    assert request.stated["gain"] == 5 and request.stated["digitize"] is True
    reply = batcher.submit(picture, **{**request.stated, "question": "What is the heart rate?"}).result(60)
    assert reply["pages"][0]["gain"] == 5
    with pytest.raises(BadRequest, match="speed is a number"):
        read_request({"inputs": {"signal": [[0.0]]}, "parameters": {"speed": "fast"}}, Limits())


def test_a_page_that_was_digitised_is_taken_as_it_is(pipe, picture, monkeypatch):
    page = digitize(picture)
    expected = pipe(picture)
    monkeypatch.setattr("heartcare.pictures_heartcare.digitize", None)
    for given in (page, {"image": page}, {"ecgs": [page]}):
        assert pipe(given)["text"] == expected["text"]
    over = page.draw_over()
    assert over.size == page.picture.size and np.asarray(over).std() > 0
    assert (np.asarray(over) != np.asarray(page.picture)).any()


def test_kinds_follow_the_order_of_pictures(processor, picture):
    blank = Image.new("RGB", (900, 700), "white")
    parts = [{"type": "image", "image": blank}, {"type": "text", "text": "?"}, {"type": "image", "image": picture}]
    new, pictures = read_pictures(parts, processor.image_processor)
    assert [part["type"] for part in new] == ["image", "text", "image", "ecg"]
    assert [each.kind for each in pictures] == ["image", "page"] and pictures[0].refusal == "blank"
    recordings = [[{"type": "ecg"}, parts[0]], [parts[2]]]
    assert kinds_of(recordings, pictures) == ["ecg", "image", "page"]
