import numpy as np
import pytest
from heartcare import ECGImageProcessor
from heartcare.agent.render import add_text, draw_ecg
from heartcare.agent.simulate import simulate_ecg
from heartcare.processing_heartcare import LAYOUTS, LEADS
from PIL import Image


@pytest.fixture
def image_processor():
    return ECGImageProcessor(size={"height": 96, "width": 96})


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dpi", [90, 150])
def test_layouts_are_found(image_processor, layout, dpi):
    for seed, (rhythm, form) in enumerate((("SR", "NORM"), ("AFIB", "LVH"), ("STACH", "CLBBB"), ("SBRAD", "AMI"))):
        page = draw_ecg(simulate_ecg(rhythm, form, seed=seed).signal, 500, layout, dpi=dpi, header="a line above")
        assert image_processor.find_layout(page.crop(image_processor.find_paper(page))) == layout
        tiles = image_processor(page, return_tensors="np")["pixel_values"]
        assert tiles.shape == (1, 12, 3, 96, 96) and tiles.dtype == np.float32 and -1 <= tiles.min() < tiles.max() <= 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_lead_is_in_its_tile(image_processor, layout):
    """A page with one lead alone has ink in that lead's tile alone."""
    signal = simulate_ecg("SR", "NORM", seed=1).signal * 2
    empty = image_processor.tiles(draw_ecg(signal, 500, layout, lead_mask=np.zeros(12)), layout)
    for i, lead in enumerate(LEADS):
        page = draw_ecg(signal, 500, layout, lead_mask=np.arange(12) == i)
        difference = np.abs(image_processor.tiles(page, layout) - empty).sum((1, 2, 3))
        # A tall wave may reach into the row above or below; most of the ink is in the lead's own tile.
        assert difference.argmax() == i and difference[i] > 0.6 * difference.sum(), lead


def test_drawing_is_true_to_scale():
    signal = np.zeros((12, 5000), np.float32)
    signal[1, 2500:2550] = 1.0  # 1 mV for 0.1 s in lead II
    page = np.asarray(draw_ecg(signal, 500, "12x1", dpi=254, speed=25, gain=10)).max(axis=2)  # 10 pixels per mm
    blank = np.asarray(draw_ecg(np.zeros((12, 5000), np.float32), 500, "12x1", dpi=254)).max(axis=2)
    rows, columns = np.nonzero((page < 100) & (blank > 200))
    assert abs(np.ptp(rows) - 10 * 10) <= 5
    assert abs(np.ptp(columns) - 2.5 * 10) <= 5


def test_drawing_is_the_same_every_time_and_refuses_what_it_cannot_draw(ecg):
    assert draw_ecg(ecg.signal, 500).tobytes() == draw_ecg(ecg.signal, 500).tobytes()
    with pytest.raises(ValueError, match="Unknown layout '2x6'"):
        draw_ecg(ecg.signal, 500, "2x6")
    with pytest.raises(ValueError, match=r"\(12, samples\), got \(3, 5000\)"):
        draw_ecg(ecg.signal[:3], 500)
    page = draw_ecg(ecg.signal, 500)
    assert add_text(page, [("A question that is long " * 12, "An answer.")]).height > page.height + 60


def test_every_form_of_picture(image_processor, ecg, tmp_path):
    page = draw_ecg(ecg.signal, 500)
    page.save(tmp_path / "a.png")
    expected = image_processor(page)["pixel_values"][0]
    for form in (np.asarray(page), str(tmp_path / "a.png"), [page], [[page]], np.asarray(page).transpose(2, 0, 1)):
        np.testing.assert_allclose(image_processor(form)["pixel_values"][0], expected)
    page.convert("L").save(tmp_path / "grey.jpg")
    assert image_processor(str(tmp_path / "grey.jpg"))["pixel_values"][0].shape == expected.shape


def test_pictures_that_are_no_ecg(image_processor):
    with pytest.raises(ValueError, match="64x64 pixels is no 12-lead ECG"):
        image_processor(Image.new("RGB", (64, 64)))
    with pytest.raises(ValueError, match="3000x210 pixels is no 12-lead ECG"):
        image_processor(Image.new("RGB", (3000, 210)))
    with pytest.raises(ValueError, match="empty"):
        image_processor([])
    with pytest.raises(ValueError, match="layout must be"):
        ECGImageProcessor(layout="5x5")
