"""Makes of a page what scanners, cameras, faxes and years in a folder make of it.

clean picture --KINDS: paper, light, geometry, optics, file--> picture as people have it
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from .render import load_font, scribble

Random = np.random.Generator
MESH = 24  # cells on each side of the net by which a page is bent


def clean_print(page: Image.Image, rng: Random) -> Image.Image:
    """Returns the page as a device exports it: as it is, or as a JPEG of good quality."""
    return page if rng.random() < 0.5 else as_jpeg(page, int(rng.integers(80, 96)))


def good_scan(page: Image.Image, rng: Random) -> Image.Image:
    """Returns the page as a flatbed scanner sees it: a little turned, a little soft."""
    page = bend(page, rng, turn=1.0, tilt=0.0, curl=0.0, table=(255, 255, 255))
    page = page.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.7) * page.width / 2200))
    page = tinted(page, 1 - rng.uniform(0, 0.06, 3), rng.uniform(0.9, 1.0))
    return as_jpeg(noisy(page, rng, rng.uniform(0.5, 3)), int(rng.integers(70, 93)))


def bad_scan(page: Image.Image, rng: Random) -> Image.Image:
    """Returns an old page from a poor scanner: creased, stained, written on, faded, sometimes grey or from a fax."""
    page = page.copy()
    if rng.random() < 0.6:
        scribble(page, rng)
    if rng.random() < 0.4:
        stamp(page, rng)
    if rng.random() < 0.5:
        stain(page, rng)
    page = crease(page, rng)
    page = bend(page, rng, turn=3.0, tilt=0.005, curl=0.0008, table=(250, 250, 250))
    page = page.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.2) * page.width / 2200))
    page = tinted(page, 1 - rng.uniform(0, 0.15, 3), rng.uniform(0.75, 1.0))
    kind = rng.random()
    if kind < 0.15:
        return fax(page)
    if kind < 0.4:
        page = page.convert("L").convert("RGB")
    return as_jpeg(noisy(page, rng, rng.uniform(2, 7)), int(rng.integers(35, 75)))


def photograph(page: Image.Image, rng: Random) -> Image.Image:
    """Returns the page on a table, as a telephone sees it: from aside, bent, in uneven light, not quite sharp."""
    page = page.copy()
    if rng.random() < 0.4:
        scribble(page, rng)
    page = crease(page, rng)
    table = tuple(int(v) for v in rng.integers(40, 190, 3))
    page = bend(page, rng, turn=4.0, tilt=0.05, curl=0.006, table=table)
    page = lit(page, rng)
    page = page.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 1.3) * page.width / 2200))
    page = tinted(page, 1 - rng.uniform(0, 0.2, 3), rng.uniform(0.8, 1.0))
    return as_jpeg(noisy(page, rng, rng.uniform(2, 7)), int(rng.integers(50, 88)))


def screen_photograph(page: Image.Image, rng: Random) -> Image.Image:
    """Returns the page on a screen, as a telephone sees it: with the stripes of two gratings."""
    y, x = np.mgrid[: page.height, : page.width].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(5, 14)
    wave = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period + 2 * np.sin(y / rng.uniform(150, 400)))
    stripes = Image.fromarray(np.uint8(235 + 20 * wave))
    page = Image.merge("RGB", [ImageChops.multiply(band, stripes) for band in page.split()])
    return photograph(page, rng)


def folded_photograph(page: Image.Image, rng: Random) -> Image.Image:
    """Returns a photograph of a page that was folded in four, so that its quarters lie at angles."""
    width, height = page.size
    lean = rng.uniform(-0.012, 0.012, 2)
    page = mapped(page, lambda x, y: (x + lean[0] * np.abs(y - 0.5 * height), y + lean[1] * np.abs(x - 0.5 * width)))
    for across in (True, False):
        page = crease(page, rng, across, 0.5)
    return photograph(page, rng)


KINDS: dict[str, Callable[[Image.Image, Random], Image.Image]] = {
    "clean print": clean_print,
    "good scan": good_scan,
    "bad scan": bad_scan,
    "photograph": photograph,
}
# For tests alone: nothing is tuned on them.
TEST_KINDS = {"screen": screen_photograph, "folded": folded_photograph}


def bend(
    page: Image.Image, rng: Random, turn: float, tilt: float, curl: float, table: tuple[int, int, int]
) -> Image.Image:
    """Returns a page turned by up to `turn` degrees, seen from aside, its corners moved inwards by up to `tilt` of the
    page, and curled by up to `curl` of the page.
    """
    width, height = page.size
    angle = np.deg2rad(rng.uniform(-turn, turn))
    corners = rng.uniform(0, tilt, (4, 2)) * np.array([(1, 1), (-1, 1), (1, -1), (-1, -1)])
    waves = rng.uniform(-curl, curl, (2, 2)), rng.uniform(0.5, 1.3, (2, 2)), rng.uniform(0, 2 * np.pi, (2, 2))
    shrink = 1 / (1 - abs(np.sin(angle)) * 0.4)

    def source(x, y):
        u, v = x / width - 0.5, y / height - 0.5
        aspect = height / width
        u, v = (
            (u * np.cos(angle) - v * aspect * np.sin(angle)) * shrink,
            (u * np.sin(angle) / aspect + v * np.cos(angle)) * shrink,
        )
        left, right = 0.5 - u, 0.5 + u
        top, bottom = 0.5 - v, 0.5 + v
        moved = sum(
            weight[..., None] * corner
            for weight, corner in zip((left * top, right * top, left * bottom, right * bottom), -corners)
        )
        curled = [
            sum(
                size * np.sin(np.pi * 2 * often * place + phase)
                for size, often, phase, place in zip(*(part[axis] for part in waves), (u, v))
            )
            for axis in (0, 1)
        ]
        return (u + moved[..., 0] + curled[0] + 0.5) * width, (v + moved[..., 1] + curled[1] + 0.5) * height

    return mapped(page, source, table)


def mapped(
    page: Image.Image, source: Callable[[np.ndarray, np.ndarray], tuple], table: tuple[int, int, int] = (255, 255, 255)
) -> Image.Image:
    """Returns a picture whose point x, y shows the point `source(x, y)` of the page, or the table beside it."""
    width, height = page.size
    pad = round(0.06 * max(width, height))
    wide = Image.new("RGB", (width + 2 * pad, height + 2 * pad), table)
    wide.paste(page, (pad, pad))
    x, y = np.linspace(0, width, MESH + 1).round(), np.linspace(0, height, MESH + 1).round()
    columns, rows = source(*np.meshgrid(x, y))
    columns = np.clip(columns + pad, 0, wide.width - 1)
    rows = np.clip(rows + pad, 0, wide.height - 1)
    mesh = []
    for i in range(MESH):
        for j in range(MESH):
            corners = ((i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1))  # left top, left bottom, right bottom, right top
            quad = [float(axis[corner]) for corner in corners for axis in (columns, rows)]
            mesh.append(((int(x[j]), int(y[i]), int(x[j + 1]), int(y[i + 1])), quad))
    return wide.transform(page.size, Image.Transform.MESH, mesh, Image.Resampling.BICUBIC)


def as_jpeg(page: Image.Image, quality: int) -> Image.Image:
    """Returns a picture as it is after it was saved as a JPEG of this quality, 1 to 95."""
    buffer = io.BytesIO()
    page.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def tinted(page: Image.Image, colour: np.ndarray, contrast: float) -> Image.Image:
    """Returns a picture in another light, and with less contrast to white."""
    factors = [[round(255 - contrast * (255 - value * factor)) for value in range(256)] for factor in colour]
    return Image.merge("RGB", [band.point(values) for band, values in zip(page.split(), factors)])


def noisy(page: Image.Image, rng: Random, deviation: float) -> Image.Image:
    """Returns a picture with grey noise."""
    noise = rng.normal(0, deviation, (page.height, page.width, 1)).astype(np.float32)
    return Image.fromarray(np.uint8(np.clip(np.asarray(page, np.float32) + noise, 0, 255)))


def lit(page: Image.Image, rng: Random) -> Image.Image:
    """Returns a picture in uneven light, with the shadow of a hand or a telephone."""
    y, x = np.meshgrid(np.linspace(-1, 1, 16), np.linspace(-1, 1, 16), indexing="ij")
    angle = rng.uniform(0, 2 * np.pi)
    light = 1 - rng.uniform(0.05, 0.3) * (1 + x * np.cos(angle) + y * np.sin(angle)) / 2
    if rng.random() < 0.6:
        place, size = rng.uniform(-1, 1, 2), rng.uniform(0.3, 0.9)
        edge = (x - place[0]) * np.cos(angle) + (y - place[1]) * np.sin(angle)
        light *= 1 - rng.uniform(0.1, 0.35) / (1 + np.exp(-edge / (0.15 * size)))
    shade = Image.fromarray(np.uint8(255 * np.clip(light, 0.25, 1))).resize(page.size, Image.Resampling.BICUBIC)
    return Image.merge("RGB", [ImageChops.multiply(band, shade) for band in page.split()])


def crease(page: Image.Image, rng: Random, across: bool | None = None, at: float | None = None) -> Image.Image:
    """Returns a page with the line of a fold, dark beside bright, across or down."""
    shade = Image.new("L", page.size, 255)
    draw, (width, height) = ImageDraw.Draw(shade), page.size
    across = rng.random() < 0.5 if across is None else across
    at, depth = rng.uniform(0.15, 0.85) if at is None else at, int(rng.uniform(150, 235))
    ends = [(0, at * height), (width, (at + rng.normal(0, 0.003)) * height)]
    if not across:
        ends = [(at * width, 0), ((at + rng.normal(0, 0.003)) * width, height)]
    draw.line(ends, depth, max(1, width // 900))
    shade = shade.filter(ImageFilter.GaussianBlur(width / 2000))
    return Image.merge("RGB", [ImageChops.multiply(band, shade) for band in page.split()])


def stain(page: Image.Image, rng: Random):
    """Draws the ring that a cup leaves."""
    (width, height), radius = page.size, rng.uniform(0.08, 0.2) * page.width
    x, y = rng.uniform(0.1, 0.9) * width, rng.uniform(0.1, 0.9) * height
    ring = Image.new("L", page.size, 0)
    draw = ImageDraw.Draw(ring)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=40, outline=110, width=max(2, width // 250))
    ring = ring.filter(ImageFilter.GaussianBlur(width / 600))
    page.paste((150, 110, 70), mask=ring)


def stamp(page: Image.Image, rng: Random):
    """Stamps a word in a frame on the page, in blue, red or violet."""
    text = ("RECEIVED", "COPY", "CARDIOLOGY", "GESEHEN", "FILED")[int(rng.integers(5))]
    font = load_font(round(0.025 * page.width))
    box = Image.new("L", (round(len(text) * 0.02 * page.width), round(0.045 * page.width)), 0)
    draw = ImageDraw.Draw(box)
    draw.rectangle((2, 2, box.width - 3, box.height - 3), outline=255, width=max(2, page.width // 700))
    draw.text((box.width / 2, box.height / 2), text, fill=255, font=font, anchor="mm")
    box = box.rotate(rng.uniform(-25, 25), expand=True).point(lambda value: round(value * 0.75))
    colour = ((40, 60, 160), (170, 40, 50), (100, 40, 140))[int(rng.integers(3))]
    place = int(rng.uniform(0, 0.8) * page.width), int(rng.uniform(0, 0.85) * page.height)
    page.paste(colour, place, mask=box)


def fax(page: Image.Image) -> Image.Image:
    """Returns a page as a fax prints it, black and white; pale grids are lost."""
    grey = page.convert("L")
    paper = grey.reduce(8).filter(ImageFilter.MaxFilter(5)).filter(ImageFilter.GaussianBlur(3))
    share = np.asarray(grey, np.float32) / np.maximum(np.asarray(paper.resize(grey.size), np.float32), 1)
    return Image.fromarray(np.uint8(255 * (share > 0.62))).convert("RGB")
