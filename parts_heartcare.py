# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Turns anything that is given as an ECG or a picture into a part of a message.

path, bytes, base64, array, ECG, picture, dict --as_part--> {"type": "ecg" or "image", ...}
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .digitizing_heartcare import is_page
from .image_processing_heartcare import open_picture
from .reading_heartcare import PICTURES, as_ecg, decode_base64, detect_format, is_record

ECG_KEYS = ("sampling_rate", "lead_names", "units")
CONTENT_KEYS = ("ecg", "signal", "path", "image", "url", "bytes", "base64")
LONGEST_PATH = 1000  # characters; a longer text is base64


def as_part(given: Any, **options: Any) -> dict[str, Any]:
    """Turns one ECG or picture in any form into a part of a message, as the processor takes it.

    Args:
        given: A path, URL of a picture, bytes, base64, array (leads, samples), PIL image, `DigitizedPage`, `ECG`, or a
            dict with "signal", "path", "image", "bytes" or "base64", and what is known beside it.
        options: sampling_rate (Hz), lead_names, units of arrays and of files that do not say them.

    Raises: `ValueError`, `TypeError`, `FileNotFoundError`, and `ImportError` where the file needs an extra.
    """
    if isinstance(given, dict):
        return part_of_dict(given, options)
    if isinstance(given, Image.Image) or is_page(given):
        return {"type": "image", "image": given}
    if isinstance(given, str):
        if given.startswith(("http://", "https://")):
            return {"type": "image", "image": given}
        given = file_of_text(given)
    if isinstance(given, (bytearray, memoryview)):
        given = bytes(given)
    if isinstance(given, (bytes, Path)):
        if isinstance(given, bytes) and not given:
            raise ValueError("The file is empty.")
        if detect_format(given).name in PICTURES:
            return {"type": "image", "image": open_picture(given)}
    return {"type": "ecg", **as_ecg(given, **options).as_input()}


def part_of_dict(given: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Turns a dict into a part of a message; see `as_part`."""
    content = {name: value for name, value in given.items() if value is not None}
    kind, source = content.pop("type", None), content.pop("source", None)
    warnings = content.pop("warnings", None)
    options = options | {name: content.pop(name) for name in ECG_KEYS if name in content}
    if len(content) != 1 or next(iter(content)) not in CONTENT_KEYS:
        raise ValueError(
            f"Expected exactly one of 'signal', 'path', 'image', 'bytes', 'base64', beside {', '.join(ECG_KEYS)}, got "
            f"the keys {sorted(given)}."
        )
    ((name, value),) = content.items()
    if name == "base64":
        value = decode_base64(value)
    elif name == "path":
        value = Path(value)
    if kind == "image" or name in ("image", "url"):
        return {"type": "image", "image": open_picture(value) if isinstance(value, bytes) else value}
    if name in ("ecg", "signal") and not isinstance(value, (str, Path, bytes)):
        value = {"signal": as_numbers(value), "source": source, "warnings": warnings, **options}
        return {"type": "ecg", **as_ecg(value).as_input()}
    part = as_part(value, **options)
    return part | {"source": source} if source and part["type"] == "ecg" else part


def as_numbers(signal: Any) -> Any:
    """Turns leads in lists, as JSON has them, into an array; null is a sample that was not recorded.

    Raises: `ValueError` for lists of differing length, or of other things than numbers.
    """
    if not isinstance(signal, (list, tuple)):
        return signal
    try:
        return np.asarray(signal, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"A signal in lists must be leads of numbers, all of the same length ({error}).") from None


def file_of_text(text: str) -> Path | bytes:
    """Tells whether a text is the path of a file or base64 of its content, and returns the one or the other.

    Raises: `FileNotFoundError` for a short text without an ending that is neither.
    """
    if text.startswith("data:") or len(text) > LONGEST_PATH:
        return decode_base64(text)
    path = Path(text)
    try:
        if path.suffix or path.exists() or is_record(path):
            return path
    except OSError:  # the name is too long for a file
        return decode_base64(text)
    try:
        content = decode_base64(text)
        detect_format(content)
        return content
    except ValueError:
        raise FileNotFoundError(f"{text[:40]!r} is neither a file that exists, nor base64 of one.") from None


def read_message(message: dict[str, Any], read: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """Returns a message with each of its ECGs and pictures read by `read`."""
    content = message["content"]
    if not isinstance(content, str):
        content = [part if part.get("type") == "text" else read(part) for part in content]
    return {"role": message["role"], "content": content}


def text_of(message: dict[str, Any]) -> str:
    """Returns the words of a message, without its ECGs and pictures."""
    return " ".join(part["text"] for part in parts_of(message) if part["type"] == "text")


def without_question(given: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Splits an input that is a dict into its recording, or list of recordings, and its own "question" and "options",
    as far as it has them.

    Raises: `ValueError` where other keys stand beside "ecgs".
    """
    given = {name: value for name, value in given.items() if value is not None}
    own = {name: given.pop(name) for name in ("question", "options") if name in given}
    if "ecgs" not in given:
        return given, own
    if len(given) > 1:
        raise ValueError(f"'ecgs' is a list of ECGs, each with its own keys; got {sorted(given)} beside it.")
    return given["ecgs"], own


def recordings_of(messages: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Returns the parts of each message that are no text."""
    return [[part for part in parts_of(message) if part["type"] != "text"] for message in messages]


def about_of(recordings: list[list[dict[str, Any]]]) -> tuple[int, int]:
    """Returns the range of the recordings and pictures that a chat asks about, those of the last message that has any:
    the number of its first one, and of the one after its last; (0, 0) where no message has any.

    Args:
        recordings: Parts of each message that are no text.
    """
    counts = [len(parts) for parts in recordings]
    last = max((number for number, count in enumerate(counts) if count), default=-1)
    return sum(counts[:last]) if last >= 0 else 0, sum(counts)


def parts_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the parts of a message."""
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def name_of_repository(name_or_path: str) -> str:
    """Returns the name of the repository that a model came from: an id on the Hub as it is, and the last part of a
    folder's path alone, since the whole path would tell how a server is built.
    """
    folder = Path(name_or_path)
    is_folder = folder.is_absolute() or name_or_path and folder.is_dir()
    return folder.resolve().name if is_folder else name_or_path


def check_options(options: Any) -> None:
    """Raises `ValueError` unless the options, if there are any, are two or more texts that differ as answers."""
    if options is None:
        return
    is_list = isinstance(options, (list, tuple)) and all(isinstance(option, str) and option for option in options)
    if not is_list or len({option.rstrip(".").casefold() for option in options}) < max(2, len(options)):
        raise ValueError(f"options must be two or more different texts, got {options!r}.")


def name_options(question: str, options: list[str] | None) -> str:
    """Returns a question that names its options, which are added where it does not name all of them."""
    if not options or all(re.search(rf"\b{re.escape(option)}\b", question, re.IGNORECASE) for option in options):
        return question
    return f"{question.rstrip(' ?:.')}: {', '.join(options)}?"


__all__ = [
    "ECG_KEYS",
    "about_of",
    "as_part",
    "check_options",
    "name_of_repository",
    "name_options",
    "read_message",
    "recordings_of",
    "text_of",
    "without_question",
]
