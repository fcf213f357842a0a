"""ECGs on paper: true to scale, anti-aliased, Pillow only."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..processing_heartcare import LAYOUTS, LEADS

MINOR, MAJOR, INK = (250, 215, 215), (238, 160, 160), (20, 20, 30)
MARGIN_MM, HEADER_MM, CALIBRATION_MM = 5, 12, 6


@lru_cache(maxsize=8)
def _paper(width: int, height: int, header: int, margin: int, px_per_mm: float) -> Image.Image:
    """White sheet with millimetre paper below the header."""
    page = np.full((height, width, 3), 255, np.uint8)
    grid = page[header : height - margin, margin : width - margin]
    for step, colour in ((1, MINOR), (5, MAJOR)):
        for axis in (0, 1):
            lines = np.arange(0, grid.shape[axis] / px_per_mm, step) * px_per_mm
            index = np.unique(lines.astype(int))
            (grid if axis == 0 else grid.swapaxes(0, 1))[index] = colour
    return Image.fromarray(page)


def draw_ecg(
    signal: np.ndarray,
    sampling_rate: float,
    layout: str = "3x4+R",
    speed: float = 25.0,
    gain: float = 10.0,
    dpi: int = 150,
    header: str = "",
    lead_mask: np.ndarray | None = None,
) -> Image.Image:
    """One ECG on a sheet of standard paper.

    Args:
        signal: (12, samples) in mV, leads in the order I II III aVR aVL aVF V1..V6.
        sampling_rate: Hz.
        layout: "3x4", "3x4+R", "6x2" or "12x1". Ten seconds are shown, the columns one after the other in time.
        speed, gain: mm/s and mm/mV.
        dpi: Pixels per inch.
        header: A line above the paper. Nothing identifying belongs there.
        lead_mask: (12,), 0 for leads to leave empty.

    Returns: RGB image; its height follows from the layout.

    Raises: `ValueError` for an unknown layout or another shape.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"Unknown layout {layout!r}; expected one of {sorted(LAYOUTS)}.")
    if signal.ndim != 2 or signal.shape[0] != len(LEADS):
        raise ValueError(f"signal must have shape (12, samples), got {signal.shape}.")
    rows, columns = LAYOUTS[layout]
    px, seconds = dpi / 25.4, 10.0
    row_mm = {3: 42, 4: 34, 6: 26, 12: 16}[rows]
    width = round((2 * MARGIN_MM + CALIBRATION_MM + seconds * speed) * px)
    height = round((HEADER_MM + MARGIN_MM + rows * row_mm) * px)
    page = _paper(width, height, round(HEADER_MM * px), round(MARGIN_MM * px), px).copy()

    # Traces are drawn twice as large and reduced, which gives smooth edges.
    ink = Image.new("L", (2 * width, 2 * height), 0)
    pen = ImageDraw.Draw(ink)
    labels, lead_rows = [], rows - layout.endswith("+R")
    cells = [(lead, i % lead_rows, i // lead_rows, columns) for i, lead in enumerate(LEADS)]
    if layout.endswith("+R"):
        cells.append(("II", rows - 1, 0, 1))
    for lead, row, column, of in cells:
        x0 = MARGIN_MM + CALIBRATION_MM + column * seconds / of * speed
        y0 = HEADER_MM + (row + 0.5) * row_mm
        labels.append((lead, (x0 + 1) * px, (y0 - row_mm / 2 + 1) * px))
        start, stop = (round(k * seconds / of * sampling_rate) for k in (column, column + 1))
        i = LEADS.index(lead)
        trace = signal[i, start : stop + 1]
        if lead_mask is not None and not lead_mask[i] or len(trace) < 2:
            continue
        x = (x0 + np.arange(len(trace)) / sampling_rate * speed) * 2 * px
        y = (y0 - np.clip(trace * gain, -row_mm, row_mm)) * 2 * px
        pen.line(np.stack([x, y], axis=1).ravel().tolist(), fill=255, width=max(2, round(0.35 * 2 * px)), joint="curve")
    for row in range(rows):  # calibration pulse: 1 mV, 5 mm wide
        y0 = HEADER_MM + (row + 0.5) * row_mm
        pulse = [(0, 0), (1, 0), (1, gain), (CALIBRATION_MM - 2, gain), (CALIBRATION_MM - 2, 0), (CALIBRATION_MM - 1, 0)]
        pen.line([((MARGIN_MM + x) * 2 * px, (y0 - y) * 2 * px) for x, y in pulse], fill=255, width=max(2, round(0.35 * 2 * px)))
    page.paste(INK, mask=ink.reduce(2))

    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(size=round(3.6 * px))
    for text, x, y in labels:
        draw.text((x, y), text, fill=INK, font=font)
    small = ImageFont.load_default(size=round(3.2 * px))
    draw.text((MARGIN_MM * px, 4 * px), header, fill=INK, font=small)
    scale = f"{speed:g} mm/s   {gain:g} mm/mV"
    draw.text((width - MARGIN_MM * px - draw.textlength(scale, font=small), 4 * px), scale, fill=INK, font=small)
    return page


def add_text(page: Image.Image, lines: list[tuple[str, str]], dpi: int = 150) -> Image.Image:
    """The page with (question, answer) pairs below it, wrapped to its width."""
    px = dpi / 25.4
    size, pad = round(4.2 * px), round(MARGIN_MM * px)
    font = ImageFont.load_default(size=size)
    draw = ImageDraw.Draw(page)
    wrapped = []
    for question, answer in lines:
        for text, colour in ((question, (90, 90, 110)), (answer, INK)):
            line = ""
            for word in text.split():
                if draw.textlength(f"{line} {word}", font=font) > page.width - 2 * pad:
                    wrapped.append((line, colour))
                    line = word
                else:
                    line = f"{line} {word}".strip()
            wrapped.append((line, colour))
        wrapped.append(("", INK))
    out = Image.new("RGB", (page.width, page.height + pad + len(wrapped) * round(1.4 * size)), (255, 255, 255))
    out.paste(page, (0, 0))
    draw = ImageDraw.Draw(out)
    for i, (line, colour) in enumerate(wrapped):
        draw.text((pad, page.height + pad // 2 + i * round(1.4 * size)), line, fill=colour, font=font)
    return out
