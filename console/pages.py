"""Writes the drawings of the command line, as the endings of their names say."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

    from ..ecg_heartcare import ECG

PIXELS = ".png"
ENDINGS = (PIXELS, ".svg", ".pdf")
NOT_CLINICAL = "Not for clinical use."


def page_file(text: str) -> Path:
    """Returns the path of a drawing. Raises `ValueError` for an ending that is none of `ENDINGS`."""
    if Path(text).suffix.lower() not in ENDINGS:
        raise ValueError(f"A drawing is written as {', '.join(ENDINGS)}, got {text!r}.")
    return Path(text)


def save_ecg(path: Path, ecg: "ECG", lines: list[tuple[str, str]], **options: Any) -> None:
    """Draws the first ten seconds of an ECG on paper, cleaned and at its own sampling rate, with answers below it, and
    writes it as the ending of the file's name says.

    Args:
        path: File to write; its folder is made.
        ecg: The recording.
        lines: (question, answer) pairs; none for the paper alone.
        options: layout, speed, gain and header of `draw_ecg`.

    Raises: `ValueError` for an ECG that cannot be cleaned, and of `draw_ecg`; `ImportError` for a PDF without the
        extra.
    """
    from ..agent.render import add_text, draw_ecg
    from ..agent.vector import draw_vector
    from ..extraction_heartcare import BeatFeatureExtractor

    extractor, rate = BeatFeatureExtractor(), ecg.sampling_rate
    signal = extractor.clean(extractor.arrange(ecg).signal, rate)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == PIXELS:
        page = draw_ecg(signal, rate, **options)
        (add_text(page, lines) if lines else page).save(path)
    else:
        page = draw_vector(signal, rate, **options)
        (page.with_text(lines) if lines else page).save(path)


def save_picture(path: Path, picture: "Image.Image", lines: list[tuple[str, str]]) -> None:
    """Writes a picture with answers below it, as the ending of the file's name says; in vector graphics they are text.

    Raises: `ImportError` for a PDF without the extra.
    """
    from ..agent.render import add_text
    from ..agent.vector import of_picture

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == PIXELS:
        add_text(picture.convert("RGB"), lines).save(path)
    else:
        of_picture(picture).with_text(lines).save(path)
