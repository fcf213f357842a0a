# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Pictures of a message, digitised where that can be done, so that both experts read the same page.

picture --digitize--> upright picture, for the ViT
                  +-> ECG, for Beat and for measuring, in the part of the message that follows
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from .configuration_heartcare import LEADS
from .digitizing_heartcare import DigitizedPage, digitize, is_page
from .image_processing_heartcare import ECGImageProcessor, even_light
from .measuring_heartcare import as_plain, unmeasured
from .pages_heartcare import not_a_page
from .paper_heartcare import PX, NotDigitized

# Height in mm of a lead tile at 10 mm/mV, by the page's rows and columns: that of the pages that the ViT learnt from.
TILE_MM = {"3x4": 36.0, "4x3": 34.0, "6x2": 26.0, "12x1": 16.0}
# Kind of an input -> the experts that read it: Beat beside the measurements, or the ViT.
EXPERTS: dict[str, tuple[str, ...]] = {"ecg": ("ecg",), "image": ("image",), "page": ("ecg", "image")}


@dataclass(frozen=True)
class Picture:
    """A picture that is read.

    Attributes:
        page: The digitised page; None for a picture that could not be digitised.
        reason: Words that say why not; empty for a page that was digitised.
        refusal: Fault of a picture about which nothing is said, as `not_a_page` names it; None for all others.
    """

    page: DigitizedPage | None = None
    reason: str = ""
    refusal: str | None = None

    @property
    def kind(self) -> str:
        """Kind of the picture, "page" or "image"; see `EXPERTS`."""
        return "image" if self.page is None else "page"

    @property
    def measured(self) -> dict[str, object]:
        """The measurements of a picture that was not digitised: none, with the reason."""
        return as_plain(unmeasured(f"the picture was not digitised: {self.reason[:1].lower()}{self.reason[1:]}"))

    def as_plain(self) -> dict[str, Any]:
        """Returns what was found of the page, or why it was not digitised, as plain values for replies in JSON."""
        if self.page is None:
            return {"digitized": False, "reason": self.reason}
        return {"digitized": True, **self.page.as_plain()}


def read_pictures(
    parts: Sequence[dict[str, Any]],
    processor: ECGImageProcessor,
    is_digitized: bool = True,
    layout: str | None = None,
    speed: float | None = None,
    gain: float | None = None,
) -> tuple[list[dict[str, Any]], list[Picture]]:
    """Opens the pictures among the parts of a message, and puts behind each one the ECG that it shows.

    Args:
        parts: Parts of the message.
        processor: Image processor that opens the pictures.
        is_digitized: True to digitise pictures; otherwise the ViT alone reads them.
        layout, speed, gain: As those of `digitize`.

    Returns: the parts, with upright pictures; and the `Picture` of each.
    """
    new, pictures = [], []
    for part in parts:
        if part["type"] != "image":
            new.append(part)
            continue
        if is_page(part["image"]):
            picture, seen = part["image"].picture, Picture(part["image"])
        else:
            picture = processor.fetch_images(part["image"])
            seen = _digitized(picture, layout, speed, gain) if is_digitized else Picture(None, "that was not asked for")
        if seen.page is None:
            new.append(part | {"image": picture})
            pictures.append(Picture(None, seen.reason, not_a_page(picture)))
            continue
        new += [{"type": "image", "image": seen.page.picture}, {"type": "ecg", **seen.page.ecg.as_input()}]
        pictures.append(seen)
    return new, pictures


def _digitized(picture: Any, layout: str | None, speed: float | None, gain: float | None) -> Picture:
    try:
        return Picture(digitize(picture, layout, speed, gain))
    except NotDigitized as error:
        return Picture(None, str(error).rstrip("."))


def tiles_of(page: DigitizedPage, processor: ECGImageProcessor) -> np.ndarray:
    """Cuts a digitised page into lead tiles, float32 (12, 3, height, width), as the processor cuts a picture that it
    knows less of: each lead around its own baseline, lead II from a strip that shows it.

    Args:
        page: The page.
        processor: Its settings of size and scale hold.
    """
    places = {place.lead.removeprefix("-"): place for place in page.places[: len(LEADS)]}
    places |= {place.lead: place for place in page.places[: len(LEADS) - 1 : -1] if place.lead == "II"}
    half = TILE_MM[page.layout.grid] * page.gain / 10 * PX / 2
    # Ink is 255 and what lies beyond the page 0, until it is turned round again.
    flat = page.grid.flatten(ImageOps.invert(even_light(page.picture)))
    # Room for what a tile shows beyond the page: above and below it, and where the picture cuts a row off.
    beyond = round(max(half, *(max(-place.start, place.stop - flat.width) for place in page.places))) + 1
    flat = ImageOps.invert(ImageOps.expand(flat, beyond, fill=0))
    tiles = []
    for lead in LEADS:
        place, size = places[lead], (processor.size["width"], processor.size["height"])
        row = page.rows[place.row]
        shown = row.height[max(0, int(place.start)) : max(1, int(place.stop))]
        level = float(np.nanmedian(shown)) if np.isfinite(shown).any() else 0.0
        middle = row.y - level * PX + beyond
        box = place.start + beyond, middle - half, place.stop + beyond, middle + half
        tile = flat.resize(size, Image.Resampling.BILINEAR, box=box)
        if place.lead.startswith("-"):
            tile = ImageOps.flip(tile)
        tiles.append(np.asarray(tile, np.float32))
    return processor.scale(np.repeat(np.stack(tiles)[:, None], 3, axis=1))


def kinds_of(recordings: Iterable[Iterable[dict[str, Any]]], pictures: Sequence[Picture]) -> list[str]:
    """Returns the kind of each recording and picture: "ecg", "image", or "page" for a picture that was digitised.

    Args:
        recordings: Parts of each message that are no text, before pictures were digitised.
        pictures: `Picture` of each picture.
    """
    left: Iterator[Picture] = iter(pictures)
    return [next(left).kind if part["type"] == "image" else "ecg" for parts in recordings for part in parts]


__all__ = ["EXPERTS", "Picture", "kinds_of", "read_pictures", "tiles_of"]
