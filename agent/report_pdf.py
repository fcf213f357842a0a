"""Writes PDF reports with vector traces, as hospital systems print them: paper, calibration pulses, lead labels,
patient, statements.
"""

from pathlib import Path

import numpy as np

from ..configuration_heartcare import LEADS
from ..image_processing_heartcare import LAYOUTS

PX = 72 / 25.4  # points per mm
MARGIN_MM, HEADER_MM, CALIBRATION_MM = 8, 34, 6


def write_pdf_report(
    path: str | Path,
    signal: np.ndarray,
    sampling_rate: float,
    layout: str = "3x4+R",
    speed: float = 25.0,
    gain: float = 10.0,
    text: list[str] = (),
    grid: bool = True,
    pulse: bool = True,
    continuous: bool = False,
):
    """One page.

    Args:
        path: File to write.
        signal: (12, samples) in mV, leads in standard order.
        sampling_rate: Hz.
        layout: As `draw_ecg` takes it; the columns show the recording's parts one after the other.
        speed, gain: mm/s, mm/mV.
        text: Lines of the header: patient, measurements, statements.
        grid, pulse: Whether the paper's grid and the calibration pulses are drawn.
        continuous: Whether a row is one line through all of its leads.

    Raises: `ImportError` without PyMuPDF, `ValueError` for an unknown layout or another shape.
    """
    try:
        import pymupdf
    except ImportError as error:
        raise ImportError("Writing PDF reports needs PyMuPDF: pip install heartcare[pdf]") from error
    if layout not in LAYOUTS:
        raise ValueError(f"Unknown layout {layout!r}; expected one of {sorted(LAYOUTS)}.")
    if signal.ndim != 2 or signal.shape[0] != len(LEADS):
        raise ValueError(f"signal must have shape (12, samples), got {signal.shape}.")
    rows, columns = LAYOUTS[layout]
    lead_rows = rows - layout.endswith("+R")
    samples, seconds = signal.shape[1], signal.shape[1] / sampling_rate
    row_mm = {3: 45, 4: 36, 6: 26, 12: 18}[rows]
    width, height = 2 * MARGIN_MM + CALIBRATION_MM + seconds * speed, HEADER_MM + MARGIN_MM + rows * row_mm
    document = pymupdf.open()
    page = document.new_page(width=width * PX, height=height * PX)
    shape = page.new_shape()
    if grid:
        for step, colour, pen in ((1, (1, 0.85, 0.85), 0.2), (5, (1, 0.6, 0.6), 0.4)):
            for x in np.arange(MARGIN_MM, width - MARGIN_MM + 0.01, step):
                shape.draw_line((x * PX, HEADER_MM * PX), (x * PX, (height - MARGIN_MM) * PX))
            for y in np.arange(HEADER_MM, height - MARGIN_MM + 0.01, step):
                shape.draw_line((MARGIN_MM * PX, y * PX), ((width - MARGIN_MM) * PX, y * PX))
            shape.finish(color=colour, width=pen, closePath=False)
    left = MARGIN_MM + CALIBRATION_MM
    for row in range(rows):
        zero = HEADER_MM + (row + 0.5) * row_mm
        if pulse:
            corners = [
                (0, 0),
                (1, 0),
                (1, gain),
                (CALIBRATION_MM - 2, gain),
                (CALIBRATION_MM - 2, 0),
                (CALIBRATION_MM - 1, 0),
            ]
            shape.draw_polyline([((MARGIN_MM + x) * PX, (zero - y) * PX) for x, y in corners])
            shape.finish(color=(0, 0, 0), width=0.6, closePath=False)
        is_strip = row >= lead_rows
        leads = [LEADS.index("II")] if is_strip else [column * lead_rows + row for column in range(columns)]
        cuts = np.round(np.linspace(0, samples, len(leads) + 1)).astype(int)
        parts = [(np.arange(start, stop), signal[lead, start:stop]) for lead, start, stop in zip(leads, cuts, cuts[1:])]
        for lead, start in zip(leads, cuts):
            page.insert_text(
                ((left + start / sampling_rate * speed + 1) * PX, (zero - row_mm / 2 + 4) * PX), LEADS[lead], fontsize=8
            )
        if continuous:
            parts = [tuple(np.concatenate(each) for each in zip(*parts))]
        for at, mv in parts:
            x, y = (left + at / sampling_rate * speed) * PX, (zero - mv * gain) * PX
            shape.draw_polyline(np.stack([x, y], axis=1).tolist())
            shape.finish(color=(0, 0, 0), width=0.5, closePath=False)
    shape.commit()
    for i, line in enumerate([*text, f"{speed:g} mm/s   {gain:g} mm/mV"]):
        page.insert_text((MARGIN_MM * PX, (6 + 4 * i) * PX), line, fontsize=8)
    document.save(str(path), deflate=True)
    document.close()
