# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""From a picture of a 12-lead ECG, a clean print or a photograph of one, to twelve lead tiles (paper section 3.3).

    picture --even light--> --corners of the grid--> upright sheet of ink alone --rows and columns--> a tile for each
    lead

Only how dark each point is in all three colours, relative to the paper around it, is left of the picture: coloured
grids, shadows, colour casts and coloured pens fall away, the trace stays.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter, ImageOps
from scipy import ndimage
from transformers.feature_extraction_utils import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor
from transformers.processing_utils import ImagesKwargs

from .configuration_heartcare import LEADS, SAVED_BY_TRANSFORMERS, refuse_unknown, without_foreign
from .limits_heartcare import most_pixels

# Rows, strips included, and columns of each layout: those that are found, and those that can be given as well.
LAYOUTS = {"3x4": (3, 4), "3x4+R": (4, 4), "6x2": (6, 2), "12x1": (12, 1)}
KNOWN_LAYOUTS = LAYOUTS | {"3x4+2R": (5, 4), "3x4+3R": (6, 4), "4x3": (4, 3), "4x3+R": (5, 3), "6x2+R": (7, 2)}
DARK = 140  # ink is darker, where paper is 255

COLOUR_KEYWORDS = ("do_convert_rgb", "do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std")
IMAGE_KEYWORDS = ("layout", "size", *COLOUR_KEYWORDS, "input_data_format")
SETTINGS = ("layout", "size", *COLOUR_KEYWORDS, "min_pixels", "max_aspect", "max_pixels")
CHANNELS = (1, 2, 3, 4)  # numbers of them that a picture may have: grey or RGB, with transparency or without
CHANNEL_AXES = {"channels_first": 0, "channels_last": 2}


class ECGImageProcessorKwargs(ImagesKwargs, total=False):
    """Keywords of [`ECGImageProcessor`]: those of the library, and `layout`."""

    layout: str | None


class ECGImageProcessor(BaseImageProcessor):
    r"""
    Cuts pictures of 12-lead ECGs into lead tiles, in the order I II III aVR aVL aVF V1..V6.

    Args:
        size (`dict`): Height and width of a tile in pixels, which the vision tower takes.
        layout (`str`): One of `KNOWN_LAYOUTS`, or "auto" to find one of `LAYOUTS` by the rows of ink. With rhythm
            strips, lead II is taken from the first one, which shows all of the recording.
        do_convert_rgb (`bool`): True converts pictures that are not RGB, on white where they are transparent; False
            refuses them. Those that are read from a file or URL are always converted.
        do_rescale (`bool`), rescale_factor (`float`): True multiplies grey values from 0 to 255 by the factor.
        do_normalize (`bool`), image_mean, image_std (`float` or `list[float]`): True then subtracts the mean and
            divides by the standard deviation, each one value for all channels or one for each of the three.
        min_pixels (`int`), max_aspect (`float`): Pictures with a shorter side, or a larger ratio of the sides, are no
            12-lead ECG.
        max_pixels (`int`): Pictures with a longer side are reduced to it first.

    Raises: `TypeError` for keywords that it does not know; `ValueError` for an unknown layout.
    """

    model_input_names = ["pixel_values"]
    valid_kwargs = ECGImageProcessorKwargs

    def __init__(
        self,
        size: dict[str, int] | None = None,
        layout: str = "auto",
        do_convert_rgb: bool = True,
        do_rescale: bool = True,
        rescale_factor: float = 1 / 255,
        do_normalize: bool = True,
        image_mean: float | list[float] = 0.5,
        image_std: float | list[float] = 0.5,
        min_pixels: int = 200,
        max_aspect: float = 4.0,
        max_pixels: int = 1100,
        **kwargs: Any,
    ):
        foreign = {name: value for name, value in kwargs.items() if name not in SAVED_BY_TRANSFORMERS}
        refuse_unknown(foreign, SETTINGS, type(self).__name__)
        super().__init__(**kwargs)
        self.size = size or {"height": 96, "width": 96}
        self.layout = checked_layout(layout)
        self.do_convert_rgb = do_convert_rgb
        self.do_rescale = do_rescale
        self.rescale_factor = rescale_factor
        self.do_normalize = do_normalize
        self.image_mean = image_mean
        self.image_std = image_std
        self.min_pixels = min_pixels
        self.max_aspect = max_aspect
        self.max_pixels = max_pixels

    @classmethod
    def from_dict(cls, image_processor_dict: dict[str, Any], **kwargs: Any) -> "ECGImageProcessor":
        """Makes a processor of saved settings. Settings of a later version that this one does not know are left out
        with a warning.

        Raises: `TypeError` for a setting that looks like a misspelt one.
        """
        known = without_foreign(image_processor_dict, SETTINGS, cls.__name__)
        return super().from_dict(known, **kwargs)

    def __call__(self, images: Any, **kwargs: Any) -> BatchFeature:
        """Cuts pictures into lead tiles; see `preprocess`."""
        return self.preprocess(images, **kwargs)

    def preprocess(self, images: Any, return_tensors: str | None = None, **kwargs: Any) -> BatchFeature:
        """Cuts pictures into `pixel_values` float32 (images, 12, 3, height, width).

        Args:
            images: A PIL image, an array or tensor (height, width), (height, width, channels) or (channels, height,
                width), a path, a URL, a (nested) list of these, or a batch of pictures in one array.
            return_tensors: "pt" or "np".
            kwargs: layout, size, do_convert_rgb, do_rescale, rescale_factor, do_normalize, image_mean, image_std: take
                the place of the processor's own settings. input_data_format: see `picture_of`.

        Raises: `TypeError` for other keywords; `ValueError` for pictures that cannot be a 12-lead ECG.
        """
        settings = {name: value for name, value in kwargs.items() if value is not None}
        refuse_unknown(settings, ("images", "return_tensors", *IMAGE_KEYWORDS), type(self).__name__)
        tiles = [self.tiles(image, **settings) for image in flat_list(self.fetch_images(images))]
        if not tiles:
            raise ValueError("The list of images is empty.")
        return BatchFeature({"pixel_values": np.stack(tiles)}, tensor_type=return_tensors)

    def tiles(
        self,
        image: Any,
        layout: str | None = None,
        size: dict[str, int] | None = None,
        do_convert_rgb: bool | None = None,
        input_data_format: str | None = None,
        **kwargs: Any,
    ) -> np.ndarray:
        """Cuts one picture into its lead tiles, float32 (12, 3, height, width).

        Args:
            layout, size, do_convert_rgb, input_data_format, kwargs: As in `preprocess`.

        Raises: `ValueError` for a picture that cannot be a 12-lead ECG, or an unknown layout.
        """
        sheet = self.sheet(self.fetch_images(image), do_convert_rgb, input_data_format)
        layout = checked_layout(layout or self.layout)
        if layout == "auto":
            layout = self.find_layout(sheet)
        size = size or self.size
        if not {"width", "height"} <= size.keys():
            raise ValueError(f"size has 'height' and 'width' of a tile in pixels, got {size}.")
        tiles = [
            sheet.resize((size["width"], size["height"]), Image.Resampling.BILINEAR, box=box)
            for box in self.lead_boxes(sheet, layout)
        ]
        grey = np.stack([np.asarray(tile, np.float32) for tile in tiles])
        return self.scale(np.repeat(grey[:, None], 3, axis=1), **kwargs)

    def fetch_images(self, images: Any) -> Any:
        """Opens the pictures that are given as paths or bytes; those given as URLs are loaded as the library does.

        Raises: as `open_picture`; `ValueError` for a URL that gives no picture.
        """
        if isinstance(images, (list, tuple)):
            return [self.fetch_images(image) for image in images]
        if (
            isinstance(images, (bytes, Path))
            or isinstance(images, str)
            and not images.startswith(("http://", "https://", "data:"))
        ):
            return open_picture(images)
        if not isinstance(images, str):
            return super().fetch_images(images)
        try:
            return super().fetch_images(images)
        except Exception as error:  # each client of the network has errors of its own
            name = images.partition(",")[0] if images.startswith("data:") else images
            raise ValueError(
                f"{name[:200]} gives no picture ({type(error).__name__}: {str(error)[:200]}). Pictures alone are "
                "read from a URL: download any other file, and give its path or bytes."
            ) from error

    def sheet(
        self, image: Any, do_convert_rgb: bool | None = None, input_data_format: str | None = None
    ) -> Image.Image:
        """Returns the area of the grid on one picture, upright and in grey: 255 is paper, 0 is ink.

        Args:
            do_convert_rgb, input_data_format: As in `preprocess`.

        Raises: `ValueError` for a picture that cannot be a 12-lead ECG, or is to be converted and must not be.
        """
        if not isinstance(image, Image.Image):
            image = picture_of(image, input_data_format)
        convert = self.do_convert_rgb if do_convert_rgb is None else do_convert_rgb
        if image.mode != "RGB" and not convert:
            raise ValueError(
                f"The picture has the mode {image.mode}, and do_convert_rgb=False; give one in RGB, or leave "
                "do_convert_rgb=True."
            )
        image = self._checked(as_rgb(image))
        ink, corners = even_light(image), find_grid(image)
        left, top = corners.min(0)
        right, bottom = corners.max(0)
        if np.abs(corners - [(left, top), (right, top), (right, bottom), (left, bottom)]).max() < 1.5:
            return ink.crop((round(left), round(top), round(right), round(bottom)))
        return upright(ink, corners)

    def _checked(self, image) -> Image.Image:
        """Returns a picture at most `max_pixels` on its longer side."""
        width, height = image.size
        if not self.takes(width, height):
            raise ValueError(
                f"A picture of {width}x{height} pixels is no 12-lead ECG; expected at least {self.min_pixels} pixels "
                f"on the shorter side and sides of at most {self.max_aspect:g} to 1."
            )
        scale = self.max_pixels / max(width, height)
        size = round(width * scale), round(height * scale)
        return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0) if scale < 1 else image

    def takes(self, width: int, height: int) -> bool:
        """Tells whether a picture of this width and height in pixels can be a 12-lead ECG."""
        return min(width, height) >= self.min_pixels and max(width, height) <= self.max_aspect * min(width, height)

    @staticmethod
    def find_layout(sheet: Image.Image) -> str:
        """Finds the layout whose rows have the ink of the traces nearest to their middle."""
        ink = (np.asarray(sheet) < DARK).mean(axis=1)
        middle_share = {}
        for layout, (rows, _) in LAYOUTS.items():
            within_row = (np.arange(len(ink)) + 0.5) / len(ink) * rows % 1
            middle_share[layout] = ink[np.abs(within_row - 0.5) < 0.15].sum()
        return max(middle_share, key=middle_share.get)

    def lead_boxes(self, sheet: Image.Image, layout: str) -> list[tuple[float, float, float, float]]:
        """Returns the part of a sheet that shows each of the twelve leads: left, top, right and bottom in pixels."""
        rows, columns = KNOWN_LAYOUTS[layout]
        lead_rows = len(LEADS) // columns
        left, right = self.find_extent(sheet, rows)
        width, height = (right - left) / columns, sheet.height / rows
        boxes = []
        for i, lead in enumerate(LEADS):
            column, row = divmod(i, lead_rows)
            box = (left + column * width, row * height, left + (column + 1) * width, (row + 1) * height)
            if lead == "II" and rows > lead_rows:
                box = (left, lead_rows * height, right, (lead_rows + 1) * height)
            boxes.append(box)
        return boxes

    @staticmethod
    def find_extent(sheet: Image.Image, rows: int) -> tuple[int, int]:
        """Returns the first and the last column of pixels with traces in most rows; the whole width without any."""
        dark = np.asarray(sheet) < DARK
        height = dark.shape[0] // rows
        drawn = dark[: rows * height].reshape(rows, height, -1).any(axis=1).mean(axis=0) > 0.5
        at = np.flatnonzero(ndimage.binary_opening(drawn, np.ones(7)))
        return (int(at[0]), int(at[-1]) + 1) if len(at) > 0.5 * dark.shape[1] else (0, sheet.width)

    def scale(
        self,
        grey: np.ndarray,
        do_rescale: bool | None = None,
        rescale_factor: float | None = None,
        do_normalize: bool | None = None,
        image_mean: float | list[float] | None = None,
        image_std: float | list[float] | None = None,
    ) -> np.ndarray:
        """Rescales and normalises grey values from 0 to 255, float32 (..., 3, height, width), by the arguments or else
        by the settings.

        Raises: `ValueError` for means or standard deviations of another number of channels than 3.
        """
        if self.do_rescale if do_rescale is None else do_rescale:
            grey = grey / np.float32(1 / (self.rescale_factor if rescale_factor is None else rescale_factor))
        if self.do_normalize if do_normalize is None else do_normalize:
            mean = for_each_channel("image_mean", self.image_mean if image_mean is None else image_mean)
            std = for_each_channel("image_std", self.image_std if image_std is None else image_std)
            grey = (grey - mean) / std
        return grey


def checked_layout(layout: str) -> str:
    """Returns the layout.

    Raises: `ValueError` for an unknown one.
    """
    if layout != "auto" and layout not in KNOWN_LAYOUTS:
        raise ValueError(f"layout must be 'auto' or one of {sorted(KNOWN_LAYOUTS)}, got {layout!r}.")
    return layout


def flat_list(items: Any) -> list:
    """Returns any nesting of lists, and of batches of pictures (pictures, ...) in one array, as one list."""
    if getattr(items, "ndim", 0) == 4:
        return list(items)
    if not isinstance(items, (list, tuple)):
        return [items]
    return [each for item in items for each in flat_list(item)]


def open_picture(file: str | Path | bytes) -> Image.Image:
    """Opens a picture, given as a path or as its content, in RGB.

    Raises: `FileNotFoundError`; `ValueError` for a file that is damaged, no picture, PostScript, or has more than
        `most_pixels()` pixels, which are counted before they are loaded.
    """
    name = "The picture" if isinstance(file, bytes) else str(file)
    if not isinstance(file, bytes) and not Path(file).is_file():
        raise FileNotFoundError(f"{file} is no file: it does not exist, or is a folder or a device.")
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as picture:
            if picture.format == "EPS":  # PIL would have Ghostscript run it
                raise ValueError("PostScript is a program, which is not run; convert it to PNG")
            width, height = picture.size
            if width * height <= most_pixels():
                return as_rgb(picture)
    except Image.DecompressionBombError:
        raise ValueError(f"{name} is far too large: {most_pixels()} pixels are the most; make it smaller.") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{name} cannot be read, it may be truncated or no picture ({error}).") from None
    raise ValueError(f"{name} has {width} x {height} pixels, and {most_pixels()} are the most; make it smaller.")


def picture_of(array: Any, input_data_format: str | None = None) -> Image.Image:
    """Returns an array (height, width), (height, width, channels) or (channels, height, width) as a picture.

    Floats are grey values from 0 to 1 or from 0 to 255, integers have the range of their type.

    Args:
        input_data_format: "channels_first" or "channels_last"; without it, the channels are the last axis, unless the
            first alone has a length of 1 to 4.

    Raises: `ValueError` for values that are no numbers, and for another shape or format.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "iufb" or not np.isfinite(array).all():
        raise ValueError(f"A picture holds finite numbers, got an array of {array.dtype} with others.")
    array = channels_last(array, input_data_format)
    if array.dtype != np.uint8:
        largest = array.max(initial=0)
        scale = 255.0 if largest <= 1 else 1.0 if largest <= 255 else 255 / np.iinfo(np.uint16).max
        array = (array * scale).clip(0, 255).astype(np.uint8)
    return Image.fromarray(array.squeeze())


def channels_last(array: np.ndarray, input_data_format: str | None = None) -> np.ndarray:
    """Returns the array of a picture as (height, width) or (height, width, channels); see `picture_of`.

    Raises: `ValueError` for another shape or format.
    """
    if input_data_format is not None and input_data_format not in CHANNEL_AXES:
        raise ValueError(f"input_data_format must be one of {', '.join(CHANNEL_AXES)}, got {input_data_format!r}.")
    shape = array.shape
    if array.ndim == 3:
        first_alone = shape[0] in CHANNELS and shape[2] not in CHANNELS
        array = np.moveaxis(array, CHANNEL_AXES.get(input_data_format, 0 if first_alone else 2), 2)
    if array.ndim == 2 or array.ndim == 3 and array.shape[2] in CHANNELS:
        return array
    raise ValueError(
        "A picture is an array (height, width), or has an axis of 1 to 4 channels beside them; got the shape "
        f"{shape} with input_data_format={input_data_format!r}."
    )


def as_rgb(picture: Image.Image) -> Image.Image:
    """Returns a picture upright, as its camera noted it, in RGB, on white where it is transparent."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):  # 16 bits a point
        return as_rgb(Image.fromarray(np.uint8(np.asarray(picture).clip(0, 65535) // 257)))
    if "A" in picture.getbands() or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return picture.convert("RGB")


def even_light(image: Image.Image) -> Image.Image:
    """Turns an RGB picture into a grey one of the same size: each point in its brightest colour, relative to the
    paper around it.
    """
    ink = None
    for band in image.split():
        gain = Image.fromarray(255 / np.maximum(np.asarray(paper_around(band), np.float32), 1)).resize(
            image.size, Image.Resampling.BILINEAR
        )
        lit = np.asarray(gain) * np.asarray(band)
        ink = lit if ink is None else np.maximum(ink, lit, out=ink)
    return Image.fromarray(np.minimum(ink, 255, out=ink).astype(np.uint8))


def paper_around(band: Image.Image) -> Image.Image:
    """Returns the brightness of the paper around each point of one colour of a picture, at a reduced size."""
    small = band.reduce(max(1, min(band.size) // 160))
    return small.filter(ImageFilter.MaxFilter(9)).filter(ImageFilter.GaussianBlur(4))


def find_grid(image: Image.Image) -> np.ndarray:
    """Finds the corners of the area that a coloured grid covers, float (4, 2): left top, right top, right bottom, left
    bottom, each x, y.

    Without a coloured grid that has four straight edges, the corners are those of `find_paper`.
    """
    factor = max(1, max(image.size) // 550)
    small = np.asarray(image.reduce(factor), np.float32) + 1
    # Hue does not change with light. Box means are of the colours themselves, so that dark ink counts for little.
    red, green, blue = (ndimage.uniform_filter(small[..., i], 5) for i in range(3))
    hue = np.stack([np.log(red / green), np.log(green / blue)], axis=-1)
    height, width = hue.shape[:2]
    middle = np.median(hue[height // 4 : -height // 4, width // 4 : -width // 4].reshape(-1, 2), axis=0)
    distance = np.hypot(*np.moveaxis(hue - middle, -1, 0))
    labels, _ = ndimage.label(ndimage.binary_closing(distance < 0.03, iterations=2))
    inside = labels[height // 4 : -height // 4, width // 4 : -width // 4]
    largest = np.bincount(inside[inside > 0]).argmax() if inside.any() else 0
    mask = ndimage.binary_fill_holes(labels == largest) if largest else np.zeros_like(distance, bool)
    corners = _corners(mask)
    if corners is None or mask.mean() > 0.97:
        return find_paper(image)
    return corners * factor


def _corners(mask: np.ndarray) -> np.ndarray | None:
    """Finds the corners of a four-sided area by straight lines through its edges; None without straight edges."""
    lines = []
    for area in (mask, mask.T):  # left and right: x over y; then top and bottom: y over x
        present = area.mean(axis=1) > 0.3
        at = np.flatnonzero(present)
        if len(at) < 0.4 * len(area):
            return None
        at = at[len(at) // 20 : len(at) - len(at) // 20]
        first, last = area[at].argmax(axis=1), area.shape[1] - area[at, ::-1].argmax(axis=1)
        for edge in (first, last):
            keep = np.ones(len(at), bool)
            for _ in range(4):
                slope, offset = np.polyfit(at[keep] + 0.5, edge[keep], 1)
                error = np.abs(edge - slope * (at + 0.5) - offset)
                keep = error <= max(1.0, 2 * np.median(error))
            if keep.mean() < 0.4 or abs(slope) > 0.3:
                return None
            lines.append((slope, offset))
    left, right, top, bottom = lines
    corners = []
    for (a, b), (c, d) in ((left, top), (right, top), (right, bottom), (left, bottom)):  # x = a y + b, y = c x + d
        x = (a * d + b) / (1 - a * c)
        corners.append((x, c * x + d))
    return np.array(corners)


def find_paper(image: Image.Image) -> np.ndarray:
    """Finds the corners, as `find_grid` gives them, without a coloured grid: the bounding box of rows and columns with
    at least 75 % of the median ink, since a header has less; the whole picture where there is little ink.
    """
    inked = np.asarray(image).min(axis=2) < 245
    left, top, right, bottom = 0, 0, image.width, image.height
    coverage = inked.mean(axis=1), inked.mean(axis=0)
    typical = [np.median(each) for each in coverage]
    if min(typical) >= 0.05:
        rows, columns = (np.flatnonzero(each > 0.75 * usual) for each, usual in zip(coverage, typical))
        left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float)


def upright(image: Image.Image, corners: np.ndarray) -> Image.Image:
    """Returns the four-sided area with these corners (4, 2) as a rectangle."""
    sides = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    width, height = round((sides[0] + sides[2]) / 2), round((sides[1] + sides[3]) / 2)
    target = np.array([(0, 0), (width, 0), (width, height), (0, height)], float)
    equations = [[u, v, 1, 0, 0, 0, -u * x, -v * x] for (u, v), (x, _) in zip(target, corners)]
    equations += [[0, 0, 0, u, v, 1, -u * y, -v * y] for (u, v), (_, y) in zip(target, corners)]
    coefficients = np.linalg.solve(np.array(equations), corners.T.ravel())
    return image.transform(
        (width, height), Image.Transform.PERSPECTIVE, coefficients.tolist(), Image.Resampling.BILINEAR
    )


def for_each_channel(name: str, values: float | list[float]) -> float | np.ndarray:
    """Returns one value as it is, and three as float32 (3, 1, 1).

    Raises: `ValueError` for another number of values.
    """
    if np.ndim(values) == 0:
        return values
    if len(values) != 3:
        raise ValueError(f"{name} must be a number or have one for each of the 3 channels, got {len(values)}.")
    return np.asarray(values, np.float32)[:, None, None]


ECGImageProcessor.register_for_auto_class()

__all__ = ["LAYOUTS", "ECGImageProcessor", "open_picture"]
