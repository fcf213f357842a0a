import functools
import http.server
import io
import re
import threading

import numpy as np
import pytest
from PIL import Image
from transformers.image_utils import ChannelDimension

from heartcare import ECGImageProcessor
from heartcare.agent.render import add_artefacts, add_text, draw_ecg, encode_jpeg, encode_png, page_header
from heartcare.agent.simulate import simulate_ecg
from heartcare.configuration_heartcare import LEADS
from heartcare.image_processing_heartcare import (
    LAYOUTS,
    as_rgb,
    even_light,
    find_grid,
    open_picture,
    picture_of,
    upright,
)


@pytest.fixture
def address(root):
    """Yields the URL of the example ECGs on a server of this machine."""
    folder = functools.partial(http.server.SimpleHTTPRequestHandler, directory=root / "examples/ecgs")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_of_a_url_pictures_alone_are_read(image_processor, address, root):
    """A recording, nothing at all, and a server that is not there are told in words of our own."""
    page = root / "examples/ecgs/sinus_rhythm.png"
    assert np.array_equal(image_processor.fetch_images(f"{address}/{page.name}"), open_picture(page))
    for url in (
        f"{address}/sinus_rhythm.hea",
        f"{address}/none.png",
        "http://127.0.0.1:9/a.png",
        "data:image/png;base64,x",
    ):
        with pytest.raises(ValueError, match=rf"^{re.escape(url.partition(',')[0])} gives no picture .*give its path"):
            image_processor.fetch_images([url])


@pytest.fixture
def image_processor():
    return ECGImageProcessor(size={"height": 96, "width": 96})


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dpi", [90, 150])
def test_layouts_are_found(image_processor, layout, dpi):
    for seed, (rhythm, form) in enumerate((("SR", "NORM"), ("AFIB", "LVH"), ("STACH", "CLBBB"), ("SBRAD", "AMI"))):
        page = draw_ecg(simulate_ecg(rhythm, form, seed=seed).signal, 500, layout, dpi=dpi, header="a line above")
        assert image_processor.find_layout(image_processor.sheet(page)) == layout
        tiles = image_processor(page, return_tensors="np")["pixel_values"]
        assert tiles.shape == (1, 12, 3, 96, 96) and tiles.dtype == np.float32 and -1 <= tiles.min() < tiles.max() <= 1


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("strength", [0.3, 0.6, 1.0])
def test_layouts_are_found_in_photographs(image_processor, layout, strength):
    rng = np.random.default_rng(0)
    forms = ("NORM", "LVH", "CLBBB", "AMI", "IMI", "CRBBB")
    pages = [
        draw_ecg(simulate_ecg("SR", form, seed=40 + k).signal, 500, layout, size=(1650, 1275))
        for k, form in enumerate(forms)
    ]
    found = [image_processor.find_layout(image_processor.sheet(add_artefacts(page, strength, rng))) for page in pages]
    assert found == [layout] * len(pages)


def test_corners_of_the_grid_are_found_from_aside():
    """A page in perspective, on tables of several colours, in coloured light: corners within 0.4 % of the width."""
    page = draw_ecg(simulate_ecg("SR", "NORM", seed=3).signal, 500, "3x4+R", size=(1650, 1275), header="Age 60")
    grid = np.array([(30, 71), (1620, 71), (1620, 1245), (30, 1245)], float)
    rng = np.random.default_rng(1)
    for table in ((90, 90, 90), (180, 120, 70), (40, 60, 150), (150, 60, 60)):
        corners = grid + rng.uniform(0, 60, (4, 2)) * [(1, 1), (-1, 1), (-1, -1), (1, -1)]
        # From each point of the photograph to the page: what `upright` solves, the other way round.
        equations = [[u, v, 1, 0, 0, 0, -u * x, -v * x] for (u, v), (x, _) in zip(corners, grid)]
        equations += [[0, 0, 0, u, v, 1, -u * y, -v * y] for (u, v), (_, y) in zip(corners, grid)]
        way = np.linalg.solve(np.array(equations), grid.T.ravel()).tolist()
        photo = page.transform(page.size, Image.Transform.PERSPECTIVE, way, Image.Resampling.BILINEAR, fillcolor=table)
        photo = Image.fromarray((np.asarray(photo) * (0.9, 0.75, 1.0)).astype(np.uint8))
        assert np.abs(find_grid(photo) - corners).max() < 0.004 * page.width
        straight, seen = (
            np.array(upright(even_light(each), at).resize((400, 300)), float)
            for each, at in ((page, grid), (photo, corners))
        )
        assert np.abs(straight - seen).mean() < 4


def test_pictures_without_coloured_grid_are_read(image_processor):
    """A print in black and white, one without any grid, and one that fills the picture to its edges."""
    signal = simulate_ecg("SR", "NORM", seed=5).signal
    page = draw_ecg(signal, 500, "6x2", size=(1650, 1275))
    grey = page.convert("L").convert("RGB")
    bare = Image.fromarray(np.where(np.asarray(page).max(2, keepdims=True) < 140, 0, 255).astype(np.uint8).repeat(3, 2))
    for picture in (grey, bare, page.crop((31, 72, 1619, 1244))):
        assert image_processor.find_layout(image_processor.sheet(picture)) == "6x2"


def test_paper_and_pens_fall_away_and_the_trace_stays(image_processor):
    """A tile has the trace alone: no grid, no shadow, no colour of the light."""
    page = draw_ecg(simulate_ecg("SR", "NORM", seed=3).signal, 500, "3x4", size=(1650, 1275))
    shade = np.linspace(1.0, 0.45, page.width)[None, :, None] * (0.85, 1.0, 0.8)
    dim = Image.fromarray((np.asarray(page) * shade).astype(np.uint8))
    clean, dark = (image_processor.sheet(each) for each in (page, dim))
    paper = np.asarray(clean) > 200
    assert paper.mean() > 0.9 and np.asarray(clean)[paper].min() > 200 and np.median(clean) > 235
    assert np.abs(np.asarray(clean, float) - np.asarray(dark.resize(clean.size), float)).mean() < 10


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_extent_of_the_traces_is_found(image_processor, layout):
    sheet = image_processor.sheet(draw_ecg(simulate_ecg("AFIB", "NORM", seed=2).signal, 500, layout, size=(1650, 1275)))
    left, right = image_processor.find_extent(sheet, LAYOUTS[layout][0])
    width = 1590 / 150 * 25.4  # of the grid, mm
    assert abs(left) <= 8 and abs(right - (6 + 250) / width * sheet.width) <= 8


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


@pytest.mark.parametrize("speed", [25, 50])
@pytest.mark.parametrize("gain", [5, 10, 20])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_sheets_of_any_size_are_true_to_scale(layout, speed, gain):
    """A pulse of 0.5 mV for 0.2 s in lead V1 on a Letter sheet: as high and as wide as speed and gain say, in the place
    of V1.
    """
    px = 150 / 25.4
    rows, columns = LAYOUTS[layout]
    lead_rows = rows - layout.endswith("+R")
    shown = min(10.0, (1650 / px - 16) / speed)
    column, row = divmod(LEADS.index("V1"), lead_rows)
    start = (column + 0.4) * shown / columns
    signal = np.zeros((12, 5000), np.float32)
    signal[LEADS.index("V1"), round(start * 500) : round((start + 0.2) * 500)] = 0.5
    options = {"layout": layout, "speed": speed, "gain": gain, "size": (1650, 1275)}
    page = np.asarray(draw_ecg(signal, 500, **options)).max(axis=2)
    blank = np.asarray(draw_ecg(np.zeros_like(signal), 500, **options)).max(axis=2)
    assert page.shape == (1275, 1650)
    y, x = np.nonzero((page < 100) & (blank > 200))
    assert abs(np.ptp(y) - 0.5 * gain * px) <= 4 and abs(np.ptp(x) - 0.2 * speed * px) <= 4
    assert abs(x.min() - (11 + start * speed) * px) <= 4
    row_px = (1275 - 17 * px) / rows
    assert abs(y.max() - (12 * px + (row + 0.5) * row_px)) <= 5


def test_grid_has_millimetres():
    page = np.asarray(draw_ecg(np.zeros((12, 5000)), 500, "3x4", dpi=254, lead_mask=np.zeros(12))).astype(
        int
    )  # 10 pixels per mm
    red = (page[..., 0] - page[..., 1] > 20)[505]
    lines = np.flatnonzero(red)
    assert np.all(np.diff(lines[5:-5]) == 10) and abs(len(lines) - 256) <= 6


def test_traces_are_smooth(ecg):
    """Traces are anti-aliased: between ink and paper there are many shades."""
    page = np.asarray(draw_ecg(ecg.signal, 500, size=(1650, 1275)).convert("L"))
    assert len(np.unique(page[page < 200])) > 40


@pytest.mark.parametrize("strength", [0.2, 0.5, 1.0])
def test_artefacts_are_seeded_and_graded(ecg, strength):
    page = draw_ecg(ecg.signal, 500, size=(1100, 850), dpi=100)
    one, again, other = (add_artefacts(page, strength, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.size == page.size and one.mode == "RGB" and one.tobytes() == again.tobytes() != other.tobytes()
    weaker = [add_artefacts(page, strength / 2, np.random.default_rng(seed)) for seed in range(4)]
    stronger = [add_artefacts(page, strength, np.random.default_rng(seed)) for seed in range(4)]
    change = [
        np.mean([np.abs(np.asarray(p, float) - np.asarray(page, float)).mean() for p in pages])
        for pages in (weaker, stronger)
    ]
    assert change[1] > change[0] > 0
    assert add_artefacts(page, 0.0, np.random.default_rng(1)) is page
    with pytest.raises(ValueError, match="from 0 to 1"):
        add_artefacts(page, 1.5, np.random.default_rng(1))


def test_every_artefact_occurs(ecg, monkeypatch):
    """Over many seeds, pen, crease, perspective and blur are each used, and each changes the page."""
    import heartcare.agent.render as render

    page, used = draw_ecg(ecg.signal, 500, size=(1100, 850), dpi=100), set()
    for name in ("scribble", "tilt"):
        whole = getattr(render, name)
        monkeypatch.setattr(render, name, lambda *args, name=name, whole=whole: (used.add(name), whole(*args))[1])
    for seed in range(4):
        add_artefacts(page, 0.8, np.random.default_rng(seed))
    assert used == {"scribble", "tilt"}
    table = np.asarray(render.tilt(page, 1.0, np.random.default_rng(0)))
    assert (table[0, 0] != 255).all() and (table[425, 550] != table[0, 0]).any()


def test_encodings(ecg):
    page = draw_ecg(ecg.signal, 500, size=(1650, 1275))
    png, jpeg = encode_png(page), encode_jpeg(page)
    true_colour = io.BytesIO()
    page.save(true_colour, "PNG")
    assert len(png) < len(true_colour.getvalue()) * 0.6
    back = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), float)
    assert np.abs(back - np.asarray(page, float)).mean() < 6 and Image.open(io.BytesIO(jpeg)).size == page.size
    assert encode_png(page) == png


def test_headers_identify_nobody():
    assert page_header(63, "female", 72.4) == "Age 63   Sex female   HR 72 bpm" and page_header(None, None) == ""
    assert "90" not in page_header(90, "male") and re.search("Age >89", page_header(90, "male"))


def test_sheets_that_are_too_small(ecg):
    with pytest.raises(ValueError, match="no place for 12 rows"):
        draw_ecg(ecg.signal, 500, "12x1", size=(1650, 400))
    with pytest.raises(ValueError, match="must be positive"):
        draw_ecg(ecg.signal, 500, speed=0)
    gap = ecg.signal.copy()
    gap[:, 2000:3000] = np.nan
    assert np.asarray(draw_ecg(gap, 500)).mean() > np.asarray(draw_ecg(ecg.signal, 500)).mean()


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


def test_pictures_of_every_kind_are_read_upright_and_on_paper(tmp_path):
    """Pictures that are turned by the note of a camera, transparent, or of 16 bits read as the plain picture; numbers
    that are not finite are refused.
    """
    page = Image.new("RGB", (300, 200), "white")
    page.paste((0, 0, 0), (0, 0, 30, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90 degrees
    page.save(tmp_path / "turned.png", exif=exif)
    assert open_picture(tmp_path / "turned.png").size == (200, 300)
    clear = Image.new("RGBA", (300, 200), (0, 0, 0, 0))
    clear.save(tmp_path / "clear.png")
    assert np.asarray(open_picture(tmp_path / "clear.png")).min() == 255
    grey = np.full((200, 300), 40_000, np.uint16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    for picture in (open_picture(tmp_path / "deep.png"), picture_of(grey)):
        assert abs(int(np.asarray(picture).max()) - 155) <= 1
    with pytest.raises(ValueError, match="finite numbers"):
        picture_of(np.full((200, 300), np.nan))
    with pytest.raises(ValueError, match="'height' and 'width'"):
        ECGImageProcessor().tiles(draw_ecg(np.zeros((12, 5000)), 500), size={"shortest_edge": 96})


def test_keywords_of_colour_and_form_do_what_the_library_says(tmp_path):
    """Options of the image processor work as in transformers: do_convert_rgb and input_data_format, means and
    deviations of each channel, saved and given in a call.
    """
    page = draw_ecg(simulate_ecg("SR", "NORM", seed=1).signal, 500)
    array = np.asarray(page)
    images = ECGImageProcessor.from_dict({}, do_convert_rgb=False)
    images.save_pretrained(tmp_path)
    for strict in (images, ECGImageProcessor.from_pretrained(tmp_path)):
        assert strict.do_convert_rgb is False and "input_data_format" not in strict.to_dict()
        with pytest.raises(ValueError, match="has the mode L, and do_convert_rgb=False"):
            strict(page.convert("L"))
        assert strict(page.convert("L"), do_convert_rgb=True)["pixel_values"].shape == (1, 12, 3, 96, 96)
    plain = images(page)["pixel_values"]
    first = array.transpose(2, 0, 1)
    for form, layout in ((array, "channels_last"), (first, "channels_first"), (first, ChannelDimension.FIRST)):
        np.testing.assert_array_equal(images(form, input_data_format=layout)["pixel_values"], plain)
    np.testing.assert_array_equal(images(np.stack([array, array]))["pixel_values"], np.concatenate([plain, plain]))
    with pytest.raises(ValueError, match="channels_first"):
        images(array, input_data_format="channels_first")
    with pytest.raises(ValueError, match="input_data_format must be one of channels_first, channels_last"):
        images(array, input_data_format="first")
    np.testing.assert_array_equal(images(page, image_mean=[0.5] * 3, image_std=(0.5, 0.5, 0.5))["pixel_values"], plain)
    shifted = images(page, image_mean=[0.5, 0.25, 0.0], image_std=[0.5, 1.0, 2.0])["pixel_values"]
    for channel, (mean, std) in enumerate(((0.5, 0.5), (0.25, 1.0), (0.0, 2.0))):
        np.testing.assert_allclose(shifted[:, :, channel] * std + mean, plain[:, :, channel] * 0.5 + 0.5, atol=1e-6)


def test_postscript_is_not_run(monkeypatch, tmp_path):
    """PIL gives such a file to Ghostscript, where that is installed."""

    def run(*_, **__):
        raise AssertionError("the file was given to Ghostscript")

    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", run)
    content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\n(hello) show\n%%EOF\n"
    (tmp_path / "a.png").write_bytes(content)
    for given in (content, tmp_path / "a.png"):
        with pytest.raises(ValueError, match="PostScript is a program"):
            open_picture(given)


@pytest.mark.parametrize("mode, dtype", [("I;16", "<u2"), ("I", "<i4")])
def test_sixteen_bits_become_eight(mode, dtype):
    values = np.arange(65536).reshape(256, 256).astype(dtype)
    picture = Image.frombytes(mode, (256, 256), values.tobytes())
    np.testing.assert_array_equal(np.asarray(as_rgb(picture))[..., 0], values // 257)
