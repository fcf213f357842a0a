"""The model of the commands: the one that is named, or the checkpoint that lies beside the package."""

import argparse
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..extraction_heartcare import BeatFeatureExtractor
    from ..pipeline_heartcare import ECGInterpretationPipeline
    from ..tokenization_beat import BeatModel

VARIABLE = "HEARTCARE_MODEL"
PACKAGE = Path(__file__).resolve().parent.parent


def add_model(parser: argparse.ArgumentParser) -> None:
    """Adds the options that name a model."""
    parser.add_argument(
        "--model", help=f"folder or Hub id; default: the environment's {VARIABLE}, or the checkpoint beside the package"
    )
    parser.add_argument("--subfolder", default="", help="of the model's repository, for its other checkpoints")


def default_model() -> str:
    """Returns the folder or Hub id of the model where none is given.

    Raises: `ValueError` where the environment names none and none lies beside the package.
    """
    if named := os.environ.get(VARIABLE):
        return named
    if (PACKAGE / "model.safetensors").is_file():
        return str(PACKAGE)
    raise ValueError(
        "No model is named, and no checkpoint lies beside the package; give --model FOLDER_OR_HUB_ID, or set the "
        f"environment variable {VARIABLE}."
    )


@lru_cache(maxsize=1)
def load_pipeline(model: str, subfolder: str = "") -> "ECGInterpretationPipeline":
    """Returns the pipeline of a model, by this package's own code; that of the last one is kept.

    Args:
        model: Folder or Hub id.
        subfolder: Of the repository, where the checkpoint lies in one.

    Raises: as `from_pretrained`.
    """
    from transformers.utils import logging

    from ..public_heartcare import (
        ECGInterpretationPipeline,
        HeartcareForConditionalGeneration,
        HeartcareProcessor,
    )

    logging.disable_progress_bar()  # loading takes a moment alone
    return ECGInterpretationPipeline(
        model=HeartcareForConditionalGeneration.from_pretrained(model, subfolder=subfolder),
        processor=HeartcareProcessor.from_pretrained(model, subfolder=subfolder),
    )


@lru_cache(maxsize=1)
def load_beat(model: str, subfolder: str = "") -> "tuple[BeatModel, BeatFeatureExtractor]":
    """Returns Beat of a model, and its feature extractor; those of the last one are kept.

    Args:
        model: Folder or Hub id of a HeartcareGPT or of a Beat.
        subfolder: Of the repository, where the checkpoint lies in one.

    Raises: as `from_pretrained`.
    """
    from transformers.utils import logging

    from ..public_heartcare import BeatFeatureExtractor, BeatModel

    logging.disable_progress_bar()
    beat = BeatModel.from_pretrained(model, subfolder=subfolder).eval()
    return beat, BeatFeatureExtractor.from_pretrained(model, subfolder=subfolder)
