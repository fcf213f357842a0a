"""Draws pages as electrocardiographs of several makers print them: margins, grids, header, strips, pulses, separators.

signal, PageStyle --place_traces--> places in mm --draw_page--> picture, DrawnPage (what is where)
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from ..configuration_heartcare import LEADS
from ..layouts_heartcare import PageLayout
from .render import load_font

PULSE_SECONDS = 0.2  # duration of the calibration pulse of 1 mV
ROW_MM = 250.0  # width of the traces of a row: ten seconds at 25 mm/s
MOST_SECONDS = 10.0
STRIPS = ("II", "V1", "V5")  # leads of the strips, in their order; a page has as many as its layout says


@dataclass(frozen=True)
class PageStyle:
    """The style in which a device prints its pages. Lengths are in mm.

    Attributes:
        layout: Arrangement of the leads.
        speed, gain: mm/s and mm/mV.
        left, top, right, bottom: Margins between the paper's edge and the grid.
        row, strip: Height of a row and of a strip.
        minor, major: RGB colours of the lines each mm and each 5 mm; None for lines that are not there.
        dots: Whether each mm is a dot where two lines cross, instead of lines.
        line: Width of the lines of the grid.
        ink: RGB colour of the trace.
        pen: Width of the trace.
        pulse: "first", "last" or "none": where each row has its calibration pulse.
        separator: Mark between the leads of a row: "tick", "gap", "bars" (a colon of two short lines) or "none".
        labels: "above" the trace, on its "line", before it in the "margin", or "none".
        header, footer: Lines of text above and below the grid, not identifying anybody.
        paper: RGB colour of the paper.
    """

    layout: PageLayout
    speed: float = 25.0
    gain: float = 10.0
    left: float = 6.0
    top: float = 22.0
    right: float = 6.0
    bottom: float = 8.0
    row: float = 32.0
    strip: float = 26.0
    minor: tuple[int, int, int] | None = (250, 215, 215)
    major: tuple[int, int, int] | None = (238, 160, 160)
    dots: bool = False
    line: float = 0.12
    ink: tuple[int, int, int] = (20, 20, 30)
    pen: float = 0.35
    pulse: str = "first"
    separator: str = "tick"
    labels: str = "above"
    header: tuple[str, ...] = ()
    footer: tuple[str, ...] = ()
    paper: tuple[int, int, int] = (255, 255, 255)

    @property
    def seconds(self) -> float:
        """Time that a row shows."""
        return min(MOST_SECONDS, ROW_MM / self.speed)


class Trace(NamedTuple):
    """A trace on a page: its `lead` ("-aVR" upside down); `x` of its begin and `y` of 0 mV in mm from the left top of
    the paper; the seconds of the recording that it shows; the height of its row in mm; and whether it is a strip.
    """

    lead: str
    x: float
    y: float
    start: float
    stop: float
    height: float
    is_strip: bool


@dataclass(frozen=True)
class DrawnPage:
    """A page that was drawn, and the places of its traces.

    Attributes:
        style: Its style.
        traces: Its traces.
        px: Pixels per mm.
    """

    style: PageStyle
    traces: tuple[Trace, ...]
    px: float


def draw_page(
    signal: np.ndarray,
    sampling_rate: float,
    style: PageStyle,
    dpi: int = 200,
) -> tuple[Image.Image, DrawnPage]:
    """Draws ten seconds of an ECG as a device would print them.

    Args:
        signal: (12, samples) in mV, leads in standard order; NaN where nothing was recorded.
        sampling_rate: Hz.
        style: The device's style.
        dpi: Pixels per inch.

    Returns: An RGB picture, and what is where on it.
    """
    px = dpi / 25.4
    width, height = (round(side * px) for side in page_size(style))
    page = Image.new("RGB", (width, height), style.paper)
    _draw_grid(page, style, px)
    traces = tuple(place_traces(style))
    fine = 4 if dpi <= 200 else 2  # Pillow draws to whole pixels
    ink = Image.new("L", (fine * width, fine * height), 0)
    for trace in traces:
        _draw_trace(ink, trace, style, signal, sampling_rate, fine * px)
    for zero in sorted({trace.y for trace in traces}):
        _draw_pulse(ink, zero, style, fine * px)
    page.paste(style.ink, mask=ink.reduce(fine))
    _write(page, style, traces, px)
    return page, DrawnPage(style, traces, px)


def page_size(style: PageStyle) -> tuple[float, float]:
    """Returns the width and height of a page in mm."""
    width = style.left + 2 + pulse_width(style) + style.seconds * style.speed + style.right
    height = style.top + style.layout.rows * style.row + style.layout.strips * style.strip + style.bottom
    return width, height


def place_traces(style: PageStyle) -> Iterator[Trace]:
    """Yields the traces of a page in a style: the leads row by row, then the strips."""
    layout = style.layout
    begin = style.left + 1 + (pulse_width(style) if style.pulse == "first" else 0)
    seconds = style.seconds / layout.columns
    for row in range(layout.rows):
        y = style.top + (row + 0.5) * style.row
        for column in range(layout.columns):
            x = begin + column * seconds * style.speed
            yield Trace(layout.lead(row, column), x, y, column * seconds, (column + 1) * seconds, style.row, False)
    for number, lead in enumerate(STRIPS[: layout.strips]):
        y = style.top + layout.rows * style.row + (number + 0.5) * style.strip
        yield Trace(lead, begin, y, 0.0, style.seconds, style.strip, True)


def pulse_width(style: PageStyle) -> float:
    """Returns the mm that a calibration pulse and the gaps beside it take."""
    return 0.0 if style.pulse == "none" else PULSE_SECONDS * style.speed + 3.0


def _draw_grid(page: Image.Image, style: PageStyle, px: float):
    draw = ImageDraw.Draw(page)
    left, top = style.left * px, style.top * px
    right, bottom = page.width - style.right * px, page.height - style.bottom * px
    columns, rows = int((right - left) / px + 1e-6) + 1, int((bottom - top) / px + 1e-6) + 1
    thin = max(1, round(style.line * px))
    for step, colour, width in ((1, style.minor, thin), (5, style.major, thin + (style.line * px > 0.8))):
        if colour is None:
            continue
        if style.dots and step == 1:
            for row in range(rows):
                draw.point([(left + column * px, top + row * px) for column in range(columns)], fill=colour)
            continue
        for column in range(0, columns, step):
            draw.line([(left + column * px, top), (left + column * px, bottom)], fill=colour, width=width)
        for row in range(0, rows, step):
            draw.line([(left, top + row * px), (right, top + row * px)], fill=colour, width=width)


def _draw_trace(ink: Image.Image, trace: Trace, style: PageStyle, signal: np.ndarray, rate: float, scale: float):
    pen, width = ImageDraw.Draw(ink), max(2, round(style.pen * scale))
    values = signal[LEADS.index(trace.lead.removeprefix("-"))] * (-1 if trace.lead.startswith("-") else 1)
    start, stop = round(trace.start * rate), round(trace.stop * rate)
    values = values[start : stop + (stop < len(values))]
    gap = 0.5 if style.separator == "gap" and not trace.is_strip else 0.0
    x = trace.x + np.arange(len(values)) / rate * style.speed
    y = trace.y - np.clip(values * style.gain, -trace.height, trace.height)
    first = trace.x + gap * (trace.start > 0)
    last = trace.x + (trace.stop - trace.start) * style.speed - gap * (trace.stop < style.seconds)
    shown = np.isfinite(y) & (x >= first) & (x <= last)
    for part in np.split(np.arange(len(values)), np.flatnonzero(~shown)):
        part = part[shown[part]]
        if len(part) > 1:
            line = np.stack([x[part] * scale, y[part] * scale], axis=1).ravel().tolist()
            pen.line(line, fill=255, width=width, joint="curve")
    if trace.start > 0 and style.separator in ("tick", "bars"):
        reach = ((-4, 4),) if style.separator == "tick" else ((-4, -1.5), (1.5, 4))
        for first, last in reach:
            ends = [(trace.x * scale, (trace.y + end) * scale) for end in (first, last)]
            pen.line(ends, fill=255, width=max(2, round(0.25 * scale)))


def _draw_pulse(ink: Image.Image, y: float, style: PageStyle, scale: float):
    if style.pulse == "none":
        return
    wide = PULSE_SECONDS * style.speed
    first = style.left + 1 if style.pulse == "first" else style.left + 1 + style.seconds * style.speed + 1.0
    points = [(0, 0), (1, 0), (1, style.gain), (1 + wide, style.gain), (1 + wide, 0), (2 + wide, 0)]
    line = [((first + x) * scale, (y - height) * scale) for x, height in points]
    ImageDraw.Draw(ink).line(line, fill=255, width=max(2, round(style.pen * scale)))


def _write(page: Image.Image, style: PageStyle, traces: tuple[Trace, ...], px: float):
    draw = ImageDraw.Draw(page)
    font, small = load_font(round(3.4 * px)), load_font(round(2.8 * px))
    for trace in traces:
        place = {
            "above": (trace.x + 1, trace.y - min(trace.height / 2, 14) + 1),
            "line": (trace.x + 1, trace.y - 5),
            "margin": (max(0.5, style.left - 12), trace.y - 2) if trace.start == 0 else (trace.x + 1, trace.y - 6),
        }.get(style.labels)
        if place:
            draw.text((place[0] * px, place[1] * px), trace.lead, fill=style.ink, font=font)
    for number, line in enumerate(style.header):
        draw.text((style.left * px, (2 + 4 * number) * px), line, fill=style.ink, font=small)
    for number, line in enumerate(style.footer):
        draw.text((style.left * px, page.height - (style.bottom - 1 - 3.5 * number) * px), line, style.ink, font=small)


RED, PINK, ORANGE = (
    ((252, 214, 214), (240, 160, 160)),
    ((255, 228, 236), (250, 190, 208)),
    ((255, 226, 196), (246, 176, 120)),
)
GREEN, BLUE, GREY = (
    ((214, 238, 214), (160, 208, 160)),
    ((214, 226, 248), (164, 188, 232)),
    ((224, 224, 224), (180, 180, 180)),
)
PALE, BROWN = ((252, 240, 240), (248, 222, 222)), ((236, 222, 206), (206, 176, 146))

_TABLE = ("Vent. rate      72 BPM", "PR interval    160 ms", "QRS duration    92 ms", "QT/QTc     392/418 ms")

# Styles that look from a distance like the prints of these devices; their texts are ours.
DEVICES: dict[str, PageStyle] = {
    "ge": PageStyle(
        PageLayout("3x4", 1), left=9, top=34, row=30, strip=24, minor=RED[0], major=RED[1], separator="bars",
        pulse="last", header=("Female  62 years", *_TABLE), footer=("25mm/s   10mm/mV   150Hz   9.0.4   12SL 241", ),
    ),
    "ge-three-strips": PageStyle(
        PageLayout("3x4", 3), left=9, top=30, row=24, strip=20, minor=PINK[0], major=PINK[1], separator="bars",
        pulse="last", header=("Male  54 years", *_TABLE[:3]), footer=("25mm/s   10mm/mV   100Hz",),
    ),
    "philips": PageStyle(
        PageLayout("3x4", 1), left=12, top=40, row=30, strip=26, minor=ORANGE[0], major=ORANGE[1], separator="tick",
        pulse="first", header=("Rate  72", "PR  160", "QRSD  92", "QT  392", "QTc  418"),
        footer=("Dev:      Speed: 25 mm/sec    Limb: 10 mm/mV    Chest: 10 mm/mV      F 50~ 0.15-150 Hz",),
    ),
    "mortara": PageStyle(
        PageLayout("6x2", 0), left=8, top=28, row=25, minor=GREEN[0], major=GREEN[1], separator="none",
        labels="line", header=("HR 72   PR 160   QRS 92   QT 392   QTc 418", "ABNORMAL?   Unconfirmed"),
        footer=("25 mm/s  10 mm/mV  ~40 Hz",),
    ),
    "schiller": PageStyle(
        PageLayout("6x2", 1), left=14, top=26, row=21, strip=20, minor=RED[0], major=RED[1], separator="gap",
        labels="margin", header=("Intervals:  RR 833 ms   P 104 ms   PQ 160 ms", "QRS 92 ms   QT 392 ms"),
        footer=("25 mm/s  10 mm/mV   LP 35 Hz  AC 50 Hz",),
    ),
    "schiller-cabrera": PageStyle(
        PageLayout("6x2", 0, "Cabrera"), left=16, top=26, row=24, minor=ORANGE[0], major=ORANGE[1], separator="gap",
        labels="margin", header=("HF 72/min   PQ 160 ms   QRS 92 ms",), footer=("25 mm/s  10 mm/mV",),
    ),
    "nihon-kohden": PageStyle(
        PageLayout("3x4", 0), left=10, top=30, row=40, minor=BLUE[0], major=BLUE[1], separator="tick", pulse="first",
        header=("HR  72   Axis 44", "Minnesota   1-0-0"), footer=("25 mm/s   10 mm/mV",),
    ),
    "twelve-rows": PageStyle(
        PageLayout("12x1", 0), left=8, top=18, row=17, minor=RED[0], major=RED[1], separator="none", labels="line",
        header=("72 /min   160 ms   92 ms",), footer=("25 mm/s  10 mm/mV",),
    ),
    "grey": PageStyle(
        PageLayout("3x4", 1), left=8, top=24, row=34, strip=28, minor=GREY[0], major=GREY[1], separator="none",
        header=("72 bpm",), footer=("25 mm/s 10 mm/mV",),
    ),
    "pale": PageStyle(
        PageLayout("3x4", 2), left=5, top=16, row=30, strip=26, minor=PALE[0], major=PALE[1], separator="tick",
        pulse="none", header=("Speed 25 mm/sec   Gain 10 mm/mV",),
    ),
    "white": PageStyle(
        PageLayout("3x4", 1), left=8, top=24, row=32, strip=28, minor=None, major=None, separator="tick",
        header=("72 bpm   25 mm/s   10 mm/mV",),
    ),
    "five-millimetres": PageStyle(
        PageLayout("3x4", 1), left=8, top=24, row=32, strip=28, minor=None, major=RED[1], separator="tick",
        header=("72 bpm   25 mm/s   10 mm/mV",),
    ),
}  # fmt: skip

# For tests alone: nothing is tuned on them.
TEST_DEVICES: dict[str, PageStyle] = {
    "dots": PageStyle(
        PageLayout("3x4", 1), left=11, top=28, right=9, row=33, strip=25, minor=(190, 120, 120), major=RED[1],
        dots=True, separator="bars", pulse="first", labels="line",
        header=("PR 160  QRS 92  QT 392",), footer=("25mm/s 10mm/mV",),
    ),
    "portrait": PageStyle(
        PageLayout("4x3", 1), left=14, top=30, bottom=40, row=36, strip=30, minor=BROWN[0], major=BROWN[1], pen=0.45,
        separator="gap", pulse="last", header=("72/min",), footer=("25 mm/s 10 mm/mV",),
    ),
}  # fmt: skip


def random_style(rng: np.random.Generator, devices: dict[str, PageStyle] = DEVICES) -> PageStyle:
    """Returns the style of a device drawn at random, with some of its values changed: pen, margins, colours, and in
    one page of ten the speed or the gain.
    """
    style = devices[list(devices)[int(rng.integers(len(devices)))]]
    shift = rng.uniform(-0.04, 0.04, 3)
    tint = [
        None if colour is None else tuple(int(v) for v in np.clip(np.array(colour) * (1 + shift), 0, 250))
        for colour in (style.minor, style.major)
    ]
    changed = {
        "pen": style.pen * rng.uniform(0.8, 1.3),
        "left": style.left + rng.uniform(-2, 5),
        "top": style.top + rng.uniform(-4, 8),
        "right": style.right + rng.uniform(-2, 5),
        "row": style.row * rng.uniform(0.92, 1.08),
        "strip": style.strip * rng.uniform(0.95, 1.1),
        "minor": tint[0],
        "major": tint[1],
        "ink": ((20, 20, 30), (0, 0, 0), (40, 40, 60), (30, 20, 90))[int(rng.integers(4))],
    }
    if rng.random() < 0.1 and style.pulse != "none":
        gains = ({"gain": 5.0}, {"speed": 50.0}, *([{"gain": 20.0}] if style.row >= 28 else []))
        changed |= gains[int(rng.integers(len(gains)))]
    return replace(style, **changed)
