"""Training data of the whole model: recordings in the forms that the packer takes, and items with questions about
them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from heartcare.agent.qa import Question


class BeatTokens(NamedTuple):
    """A signal as the frozen Beat has encoded it.

    Attributes:
        codes: Integers (levels, latents).
        gain: Gain in mV.
        line: Measured numbers that the prompt shows behind the signal, as `measurement_line` writes them.
        numbers: Measured numbers that the model gets, float32 (numbers,) as `numbers_of` returns them; None for none.
    """

    codes: np.ndarray
    gain: float
    line: str = ""
    numbers: np.ndarray | None = None


class CleanedSignal(NamedTuple):
    """A signal that Beat encodes in the training step.

    Attributes:
        signal: float32 (12, samples) in mV.
        lead_mask: bool (12, samples), True where the lead was recorded.
        line: Measured numbers that the prompt shows behind the signal, as `measurement_line` writes them.
        numbers: Measured numbers that the model gets, float32 (numbers,) as `numbers_of` returns them; None for none.
    """

    signal: np.ndarray
    lead_mask: np.ndarray
    line: str = ""
    numbers: np.ndarray | None = None


class LeadTiles(NamedTuple):
    """A picture that the ViT reads in the training step.

    Attributes:
        tiles: uint8 (12, height, width), one grey tile for each lead.
    """

    tiles: np.ndarray


class ImageSlots(NamedTuple):
    """A picture as the frozen ViT has read it.

    Attributes:
        slots: float16 (12 * slots of a tile, width), the input of the image projector.
    """

    slots: np.ndarray


Recording = BeatTokens | CleanedSignal | LeadTiles | ImageSlots

# Type of the content part that stands for a recording in a chat template.
CONTENT_TYPE: dict[type, str] = {BeatTokens: "ecg", CleanedSignal: "ecg", LeadTiles: "image", ImageSlots: "image"}


@dataclass(frozen=True)
class TrainingItem:
    """Questions about one or two recordings.

    Attributes:
        questions: Questions with their answers; none in an item that is only probed.
        recordings: Recordings in the order of the prompt; none where a language model learns words alone.
        probe_only: Items without questions, whose `statements` are read from the model's state after the recording.
        statements: bool (statements,) of the recording, in an item that is only probed.
    """

    questions: Sequence[Question] = ()
    recordings: Sequence[Recording] = ()
    probe_only: Sequence["TrainingItem"] = ()
    statements: np.ndarray | None = None
