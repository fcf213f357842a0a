"""Pages of devices, and what scanners and cameras make of them."""

import numpy as np
import pytest

from heartcare.agent.device_pages import DEVICES, TEST_DEVICES, draw_page, page_size, random_style
from heartcare.agent.scans import KINDS, TEST_KINDS
from heartcare.agent.simulate import simulate_ecg
from heartcare.layouts_heartcare import ORDERS


@pytest.fixture(scope="module")
def ecg():
    return simulate_ecg("SR", "NORM", seed=1)


@pytest.mark.parametrize("device", [*DEVICES, *TEST_DEVICES])
def test_a_page_shows_every_lead_for_its_time(ecg, device):
    style = (DEVICES | TEST_DEVICES)[device]
    picture, page = draw_page(ecg.signal, ecg.sampling_rate, style, 100)
    width, height = page_size(style)
    assert picture.size == (round(width * page.px), round(height * page.px)) and page.px == 100 / 25.4
    leads = [trace.lead for trace in page.traces if not trace.is_strip]
    assert sorted(leads) == sorted(ORDERS[style.layout.order])
    for trace in page.traces:
        seconds = style.seconds if trace.is_strip else style.seconds / style.layout.columns
        assert trace.stop - trace.start == pytest.approx(seconds)
        assert style.left < trace.x and trace.x + seconds * style.speed < width - style.right + 1
        assert style.top < trace.y < height - style.bottom


def test_no_page_names_a_patient():
    for style in (DEVICES | TEST_DEVICES).values():
        text = " ".join((*style.header, *style.footer)).lower()
        assert not any(word in text for word in ("name", "id:", "born", "patient"))


def test_styles_are_drawn_by_their_seed():
    styles = [[random_style(np.random.default_rng(seed)) for seed in range(40)] for _ in range(2)]
    assert styles[0] == styles[1] and len(set(styles[0])) == 40
    assert len({style.layout for style in styles[0]}) >= 6
    assert {style.gain for style in styles[0]} | {style.speed for style in styles[0]} > {10.0, 25.0}


@pytest.mark.parametrize("kind", [*KINDS, *TEST_KINDS])
def test_a_scan_is_drawn_by_its_seed_and_leaves_the_page_alone(ecg, kind):
    picture, _ = draw_page(ecg.signal, ecg.sampling_rate, DEVICES["ge"], 100)
    before = picture.tobytes()
    scans = [(KINDS | TEST_KINDS)[kind](picture, np.random.default_rng(seed)) for seed in (4, 4, 5)]
    assert picture.tobytes() == before
    assert all(scan.mode == "RGB" and scan.size == picture.size for scan in scans)
    assert scans[0].tobytes() == scans[1].tobytes()
    assert kind == "clean print" or scans[1].tobytes() != scans[2].tobytes()
