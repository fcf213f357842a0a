"""Pictures that are no ECG on paper, or not the right way up, are recognised; all that HeartAgent draws is an ECG."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from heartcare.agent import render
from heartcare.agent.not_ecgs import OTHER_PICTURES
from heartcare.agent.render import OVER, SEPARATOR, SHADE, add_artefacts, draw_ecg, view_ecg
from heartcare.agent.simulate import FORMS, RHYTHMS, simulate_ecg
from heartcare.configuration_heartcare import LEADS
from heartcare.image_processing_heartcare import LAYOUTS
from heartcare.pages_heartcare import not_a_page

TURNS = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}


def page_of(seed: int, layout: str, **drawn) -> Image.Image:
    rhythm, form = sorted(RHYTHMS)[seed % 4], FORMS[seed % 8]
    ecg = simulate_ecg(rhythm, form, sampling_rate=100, noise_mv=0.01, seed=seed)
    return draw_ecg(ecg.signal, 100, layout, **({"size": (1650, 1275)} | drawn))


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("speed", [25, 50])
@pytest.mark.parametrize("gain", [5, 10, 20])
def test_drawn_pages_are_ecgs(layout, speed, gain):
    for seed in range(4):
        page = page_of(seed, layout, speed=speed, gain=gain, size=(1650, 1275) if seed % 2 else None)
        assert not_a_page(page) is None, seed


@pytest.mark.parametrize("strength", [0.3, 0.6, 1.0])
def test_photographs_of_pages_are_ecgs(strength):
    for seed in range(8):
        page = page_of(seed, sorted(LAYOUTS)[seed % 4], header="Age 60   Sex male")
        assert not_a_page(add_artefacts(page, strength, np.random.default_rng(seed))) is None, seed


GRIDS = {
    "blue": ((200, 220, 250), (130, 160, 220)),
    "green": ((215, 240, 215), (150, 200, 150)),
    "light grey": ((225, 225, 225), (160, 160, 160)),
    "dark grey": ((180, 180, 180), (120, 120, 120)),
    "none": ((255, 255, 255), (255, 255, 255)),
}


@pytest.mark.parametrize("grid", GRIDS)
def test_any_grid_will_do(grid, monkeypatch):
    for name, colour in zip(("MINOR", "MAJOR"), GRIDS[grid]):
        monkeypatch.setattr(render, name, colour)
    render._paper.cache_clear()
    pages = [page_of(seed, layout) for seed, layout in enumerate(sorted(LAYOUTS))]
    render._paper.cache_clear()
    assert [not_a_page(page) for page in pages] == [None] * len(pages)


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("turn", TURNS)
def test_turned_pages_are_told(layout, turn):
    for seed in range(3):
        page = page_of(seed, layout, header="Age 60")
        for shown in (page, add_artefacts(page, 0.4, np.random.default_rng(seed))):
            assert not_a_page(shown.transpose(TURNS[turn])) == f"turned by {turn} degrees" + " clockwise" * (
                turn != 180
            )


def test_without_calibration_the_waves_tell_which_way_is_up():
    """Many pages have rows without pulses; the waves tell that they are turned, or nothing is said."""
    told = 0
    for seed in range(8):
        page = page_of(seed, "6x2")
        ImageDraw.Draw(page).rectangle([0, 0, round(11 * 150 / 25.4), page.height], fill="white")
        assert not_a_page(page) is None
        found = not_a_page(page.transpose(TURNS[180]))
        assert found in (None, "turned by 180 degrees")
        told += found is not None
    assert told >= 4


@pytest.mark.parametrize("name", OTHER_PICTURES)
def test_other_pictures_are_refused(name):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        picture = OTHER_PICTURES[name](rng).convert("RGB")
        for shown in (picture, picture.transpose(TURNS[90]), add_artefacts(picture, 0.5, rng)):
            assert not_a_page(shown) == "no ECG traces", seed


@pytest.mark.parametrize("colour", ["white", "black", "grey", (250, 215, 215)])
@pytest.mark.parametrize("size", [(200, 200), (1650, 1275), (900, 2000)])
def test_blank_pictures_are_blank(colour, size):
    assert not_a_page(Image.new("RGB", size, colour)) == "blank"


def test_all_forms_of_a_picture_are_the_same(tmp_path):
    page, buffer = page_of(2, "3x4+R"), io.BytesIO()
    turned = page.transpose(TURNS[90])
    turned.save(buffer, "PNG")
    turned.save(tmp_path / "page.png")
    given = [turned, buffer.getvalue(), tmp_path / "page.png", str(tmp_path / "page.png"), np.asarray(turned)]
    assert {not_a_page(each) for each in given} == {"turned by 90 degrees clockwise"}
    with pytest.raises(FileNotFoundError):
        not_a_page(tmp_path / "none.png")


def test_the_example_pages_are_ecgs(root):
    paths = sorted((root / "examples" / "ecgs").glob("*.png"))
    assert len(paths) == 3
    for path in paths:
        assert not_a_page(path) is None
        with Image.open(path) as picture:
            assert not_a_page(picture.rotate(180)) == "turned by 180 degrees"


def test_a_page_for_people_names_leads_where_no_wave_is(monkeypatch):
    """R waves of 2 mV stand in every lead where devices write its name; a page of a device has the name over them."""
    signal, boxes = np.zeros((12, 1000)), {}
    for column in range(4):
        signal[:, 250 * column + 15 : 250 * column + 25] = 2.0

    def note_place(pen, xy, text, font, **options):
        boxes[text] = [round(edge) for edge in pen.textbbox(xy, text, font=font)]

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note_place)
    inked = {}
    for draw in (draw_ecg, view_ecg):
        dark = np.asarray(draw(signal, 100, "3x4")).max(axis=2) < 100
        inked[draw] = {lead for lead in LEADS for x, y, end, bottom in [boxes[lead]] if dark[y:bottom, x:end].any()}
    assert len(inked[draw_ecg]) > 6 and not inked[view_ecg]


@pytest.mark.parametrize("layout, columns", [("3x4", 4), ("3x4+R", 4), ("6x2", 2), ("12x1", 1)])
def test_a_page_for_people_has_a_line_where_leads_change(layout, columns):
    """A page for a model has no such line, since devices' pages differ in it."""
    lines = [
        (np.asarray(draw(np.zeros((12, 1000)), 100, layout)) == SEPARATOR).all(axis=2) for draw in (view_ecg, draw_ecg)
    ]
    per_column = lines[0].sum(axis=0)
    assert not lines[1].any() and (np.diff((per_column > 100).astype(int)) == 1).sum() == columns - 1


def test_a_second_signal_is_red_and_marks_may_be_an_iterator():
    signal = np.zeros((12, 1000))
    marks = iter([("I", 1.0, 2.0), ("V6", 1.0, 2.0)])
    page = np.asarray(view_ecg(signal, 100, "12x1", over=signal + 0.5, marks=marks))
    assert (page == OVER).all(axis=2).sum() > 12 * 900
    shaded = (page == SHADE).all(axis=2).any(axis=1)
    assert shaded[: len(page) // 4].any() and shaded[-len(page) // 4 :].any()
