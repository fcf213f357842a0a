"""Files of results that are computed once: their names tell all that they were computed from, and an interrupted run
never leaves a broken one.
"""

import os
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from heartcare import (
    cleaning_heartcare,
    delineation_heartcare,
    findings_heartcare,
    marking_heartcare,
    measuring_heartcare,
    stretches_heartcare,
)

# The modules that the measured numbers of an ECG come from.
MEASURING = (
    cleaning_heartcare,
    delineation_heartcare,
    findings_heartcare,
    marking_heartcare,
    measuring_heartcare,
    stretches_heartcare,
)


def checksum(parts: Iterable[bytes | np.ndarray]) -> str:
    """Returns a hash of bytes and arrays, so that a file made from others gets another name."""
    key = 0
    for part in parts:
        key = zlib.crc32(np.ascontiguousarray(part) if isinstance(part, np.ndarray) else part, key)
    return f"{key:08x}"


def fingerprint(part: nn.Module) -> str:
    """Returns a hash of a model's weights, so that a cache of one model is never taken for another's."""
    weights = part.state_dict().values()
    return checksum(tensor.detach().cpu().contiguous().view(torch.uint8).numpy() for tensor in weights)


def measuring_code() -> str:
    """Returns a hash of the code that measures, so that numbers are measured anew when it changes."""
    return checksum(Path(module.__file__).read_bytes() for module in MEASURING)


def write_whole(path: Path, content: np.ndarray | str) -> None:
    """Writes an array as .npy, or a text; the file has its name only once it is complete."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with open(partial, "wb") as file:
        if isinstance(content, str):
            file.write(content.encode())
        else:
            np.save(file, content)
    os.replace(partial, path)
