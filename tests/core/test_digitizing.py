"""A page becomes an ECG: drawn pages, whose signal is known, through devices, scanners and cameras, and back."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from heartcare import digitize
from heartcare.agent.device_pages import DEVICES, TEST_DEVICES, draw_page
from heartcare.agent.not_ecgs import OTHER_PICTURES
from heartcare.agent.scans import KINDS, TEST_KINDS, bend
from heartcare.agent.simulate import simulate_ecg
from heartcare.configuration_heartcare import LEADS
from heartcare.digitizing_heartcare import NotDigitized
from heartcare.layouts_heartcare import LAWS, LAYOUT_NAMES, ORDERS, PageLayout, find_layout
from heartcare.paper_heartcare import PX, find_grid
from heartcare.studies.evaluate_digitizing import aligned_decibels, decibels, shown
from heartcare.tracing_heartcare import with_missing_rows

WITHOUT_GRID = ("white",)


@pytest.fixture(scope="module")
def ecg():
    return simulate_ecg("SR", "NORM", seed=3)


def page_of(ecg, style, dpi=150):
    return draw_page(ecg.signal, ecg.sampling_rate, style, dpi)


def test_the_laws_hold_for_an_ecg_and_not_for_another_order(ecg):
    leads = dict(zip(LEADS, ecg.signal.astype(float)))
    for law in LAWS:
        sides = [weight * leads[lead] for lead, weight in law.items()]
        assert np.abs(sum(sides)).max() < 0.05 * max(np.abs(side).max() for side in sides), law
        shuffled = [weight * leads[lead] for weight, lead in zip(law.values(), list(law)[1:] + ["V2"])]
        assert np.abs(sum(shuffled)).max() > 0.2


@pytest.mark.parametrize("name", LAYOUT_NAMES)
def test_a_layout_has_its_name_and_every_lead_once(name):
    for order in ORDERS:
        layout = PageLayout.named(name, order)
        assert layout.name == name
        places = [layout.lead(row, column) for column in range(layout.columns) for row in range(layout.rows)]
        assert sorted(place.removeprefix("-") for place in places) == sorted(LEADS)


@pytest.mark.parametrize("device", [*DEVICES, *TEST_DEVICES])
def test_a_clean_print_of_each_device_is_read(ecg, device):
    style = (DEVICES | TEST_DEVICES)[device]
    picture, page = page_of(ecg, style, 200)
    found = digitize(picture)
    assert (found.layout, found.speed, found.gain, found.turned) == (style.layout, style.speed, style.gain, 0)
    expected = {"grid_not_found"} if device in WITHOUT_GRID else set()
    expected |= {"speed_assumed_25", "gain_assumed_10"} if style.pulse == "none" else set()
    assert set(found.ecg.warnings) == expected
    true, signal = shown(ecg, page), found.ecg.signal
    assert found.ecg.sampling_rate == 500 and found.ecg.lead_names == LEADS and signal.dtype == np.float32
    samples = min(true.shape[1], signal.shape[1])
    assert abs(true.shape[1] - signal.shape[1]) < 20
    true, signal = true[:, :samples], signal[:, :samples]
    assert (np.isfinite(true) == np.isfinite(signal)).mean() > 0.98
    assert aligned_decibels(true, signal) > 10, device


@pytest.mark.parametrize("value", [0, -25, 1e-9, 1e9, float("nan"), float("inf")])
@pytest.mark.parametrize("name, unit", [("speed", "mm/s"), ("gain", "mm/mV")])
def test_speeds_and_gains_that_no_page_has_are_refused(name, unit, value):
    """A page of 10^-9 mm/s would have 10^14 samples."""
    with pytest.raises(ValueError, match=f"{name} must be from .* {unit}"):
        digitize(Image.new("RGB", (400, 400)), **{name: value})


@pytest.mark.parametrize("change", [{"gain": 5.0}, {"gain": 20.0}, {"speed": 50.0}], ids=str)
def test_speed_and_gain_are_those_of_the_pulses(ecg, change):
    style = dataclasses.replace(DEVICES["nihon-kohden"], **change)
    picture, page = page_of(ecg, style)
    found = digitize(picture)
    assert (found.speed, found.gain) == (style.speed, style.gain) and not found.ecg.warnings
    true = shown(ecg, page)
    samples = min(true.shape[1], found.ecg.signal.shape[1])
    assert aligned_decibels(true[:, :samples], found.ecg.signal[:, :samples]) > 6  # tall beats leave the page


@pytest.mark.parametrize("kind", [*KINDS, *TEST_KINDS])
def test_what_scanners_and_cameras_make_of_a_page_is_read_rightly_or_refused(ecg, kind):
    style, read = DEVICES["philips"], 0
    picture, page = page_of(ecg, style, 200)
    for seed in range(2):
        try:
            found = digitize((KINDS | TEST_KINDS)[kind](picture, np.random.default_rng(seed)))
        except NotDigitized:
            continue
        assert (found.layout, found.speed, found.gain) == (style.layout, 25, 10)
        true = shown(ecg, page)
        samples = min(true.shape[1], found.ecg.signal.shape[1])
        assert aligned_decibels(true[:, :samples], found.ecg.signal[:, :samples]) > (0 if kind in TEST_KINDS else 4)
        read += 1
    assert read >= (1 if kind in TEST_KINDS or kind == "bad scan" else 2), kind


@pytest.mark.parametrize("turned", [90, 180, 270])
def test_a_turned_page_is_turned_back(ecg, turned):
    style = DEVICES["philips"]
    picture, _ = page_of(ecg, style)
    upright = digitize(picture)
    found = digitize(picture.rotate(turned, expand=True))  # counterclockwise, which the digitiser undoes
    assert found.turned == turned and found.layout == style.layout
    assert any(f"{turned} degrees" in note for note in found.ecg.notes)
    samples = min(found.ecg.signal.shape[1], upright.ecg.signal.shape[1])
    assert aligned_decibels(upright.ecg.signal[:, :samples], found.ecg.signal[:, :samples]) > 12


def test_the_grid_is_found_where_it_is_however_it_is_turned(ecg):
    picture, page = page_of(ecg, DEVICES["philips"], 150)
    level = find_grid(picture)
    assert level.spacing == 1 and level.pitch == pytest.approx(page.px, rel=0.005) and abs(level.angle) < 0.1
    turned = find_grid(picture.rotate(-3, Image.Resampling.BICUBIC, fillcolor=(255, 255, 255)))
    assert turned.pitch == pytest.approx(page.px, rel=0.01) and turned.angle == pytest.approx(3, abs=0.2)
    assert find_grid(Image.new("RGB", (1200, 900), (255, 255, 255))) is None


def test_a_bent_page_is_flat_again(ecg):
    """The lines of the flat page are straight: each column of pixels on a line is darker all the way down."""
    style = dataclasses.replace(DEVICES["philips"], ink=(250, 215, 190))  # the grid alone
    picture, _ = page_of(ecg, style, 200)
    bent = bend(picture, np.random.default_rng(2), turn=3.0, tilt=0.04, curl=0.005, table=(90, 90, 90))
    flat = np.asarray(find_grid(bent).flatten(bent).convert("L"), float)
    middle = flat[200:-200, 200:-200]
    by_column = middle.mean(axis=0)
    lines = np.abs(np.fft.rfft(by_column - by_column.mean()))
    at = round(len(by_column) / (5 * PX))  # lines each 5 mm
    assert lines[at - 1 : at + 2].max() > 5 * np.median(lines)
    assert by_column.std() > 0.5 * middle.std(axis=0).mean()


def test_a_fax_without_any_grid_is_read_by_its_pulses(ecg):
    picture, page = page_of(ecg, DEVICES["white"], 200)
    found = digitize(picture)
    assert "grid_not_found" in found.ecg.warnings and found.grid.spacing == 0
    assert found.grid.pitch == pytest.approx(page.px, rel=0.02)
    no_pulses, _ = page_of(ecg, dataclasses.replace(DEVICES["white"], pulse="none"), 200)
    with pytest.raises(NotDigitized, match="grid is not found"):
        digitize(no_pulses)


@pytest.mark.parametrize("left, right", [(30, 0), (0, 40), (45, 0)])
def test_a_page_that_is_cut_off_is_read_as_far_as_it_is_shown(ecg, left, right):
    """All that is left lies at its own time, and what was cut off is NaN."""
    style = dataclasses.replace(DEVICES["philips"], pulse="none", labels="none", separator="none")
    picture, page = page_of(ecg, style, 150)
    cut = picture.crop((round(left * page.px), 0, picture.width - round(right * page.px), picture.height))
    found = digitize(cut)
    assert found.layout == style.layout and "rows_cut_off" in found.ecg.warnings
    true, signal = shown(ecg, page), found.ecg.signal
    samples = min(true.shape[1], signal.shape[1])
    true, signal = true[:, :samples], signal[:, :samples]
    first, last = page.traces[0].x - left, page.traces[0].x + 250 - (picture.width / page.px - right)  # mm
    gone = round(max(-first, last) * 20)  # samples: 25 mm/s at 500 Hz
    assert gone > 200
    edge = signal[:3, : gone - 90] if left else signal[9:, len(true[0]) - gone + 90 :]
    assert not np.isfinite(edge).any()
    there = np.isfinite(signal)
    assert there.mean() > 0.7 * np.isfinite(true).mean()
    assert aligned_decibels(np.where(there, true, np.nan), signal) > 8


def test_what_slides_is_not_turned_upside_down(ecg):
    """A page that is refused upright is not read upside down for laws that hold somewhere."""
    shuffled = ecg.signal[[6, 1, 3, 0, 4, 2, 5, *range(7, 12)]]
    for device in ("philips", "schiller", "nihon-kohden"):
        picture, _ = draw_page(shuffled, ecg.sampling_rate, DEVICES[device], 150)
        for turned in (picture, picture.rotate(180)):
            with pytest.raises(NotDigitized):
                digitize(turned)


def test_a_layout_that_is_given_is_taken(ecg):
    picture, _ = page_of(ecg, DEVICES["philips"])
    assert digitize(picture, layout="3x4+R").layout == digitize(picture).layout
    with pytest.raises(ValueError, match="3x4\\+2R"):
        digitize(picture, layout="3x5")
    assert digitize(picture, gain=5.0).gain == 5.0


def test_an_order_in_which_the_laws_do_not_hold_is_refused(ecg):
    shuffled = ecg.signal[[6, 1, 3, 0, 4, 2, 5, *range(7, 12)]]
    picture, _ = draw_page(shuffled, ecg.sampling_rate, DEVICES["nihon-kohden"], 150)
    with pytest.raises(NotDigitized, match="layout"):
        digitize(picture)
    found = digitize(picture, layout="3x4")
    assert "layout_not_confirmed" in found.ecg.warnings


def test_rows_that_a_wandering_trace_hides_are_found_by_their_distance():
    assert with_missing_rows([0, 100, 200, 500, 601]) == pytest.approx([0, 100, 200, 300, 400, 500, 601])
    assert with_missing_rows([0, 240, 480, 676]) == [0, 240, 480, 676]  # a strip may be nearer
    assert with_missing_rows([0, 240]) == [0, 240]


def test_points_of_the_flat_page_are_found_in_the_picture(ecg):
    picture, page = page_of(ecg, DEVICES["philips"], 150)
    turned = picture.rotate(-2, Image.Resampling.BICUBIC, fillcolor=(255, 255, 255))
    grid = find_grid(turned)
    x, y = grid.to_picture(np.array([400.0, 800.0, 400.0]), np.array([400.0, 400.0, 800.0]))
    assert np.hypot(x[1] - x[0], y[1] - y[0]) == pytest.approx(400 / PX * page.px, rel=0.005)
    assert np.degrees(np.arctan2(y[1] - y[0], x[1] - x[0])) == pytest.approx(2, abs=0.2)
    assert np.degrees(np.arctan2(x[0] - x[2], y[2] - y[0])) == pytest.approx(2, abs=0.2)


def test_rows_that_no_layout_has_are_refused():
    rows = [np.sin(np.arange(2000) / (7 + row)) for row in range(9)]
    with pytest.raises(NotDigitized, match="9 rows"):
        find_layout(rows, 0, 2000)


@pytest.mark.parametrize("name", sorted(OTHER_PICTURES))
def test_what_is_no_ecg_is_not_digitised(name):
    with pytest.raises(NotDigitized):
        digitize(OTHER_PICTURES[name](np.random.default_rng(5)))


def test_refusals_name_the_reason():
    with pytest.raises(NotDigitized, match="too small"):
        digitize(Image.new("RGB", (200, 160), (255, 255, 255)))
    with pytest.raises(NotDigitized, match="blank"):
        digitize(Image.new("RGB", (1200, 900), (250, 250, 250)))


def test_decibels_are_those_of_the_challenge():
    true = np.array([[1.0, -1.0, 2.0, np.nan]])
    assert decibels(true, np.array([[1.0, -1.0, 1.0, np.nan]])) == pytest.approx(10 * np.log10(6))
    assert decibels(true, np.array([[1.0, -1.0, np.nan, np.nan]])) == pytest.approx(10 * np.log10(6 / 4))
