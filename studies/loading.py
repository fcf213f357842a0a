"""The pipeline of a HeartcareGPT repository, as the studies ask it, and the options of those that read PTB-XL."""

import argparse
from pathlib import Path

from heartcare.modeling_heartcare import HeartcareForConditionalGeneration
from heartcare.pipeline_heartcare import ECGInterpretationPipeline
from heartcare.processing_heartcare import HeartcareProcessor


def ptbxl_parser(description: str | None) -> argparse.ArgumentParser:
    """Returns a parser with the options of studies that ask a model about records of PTB-XL.

    Args:
        description: Docstring of the study.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ptbxl", type=Path, required=True, help="PTB-XL in its official layout")
    parser.add_argument("--model", default=".")
    parser.add_argument("--fold", type=int, default=9)
    parser.add_argument("--limit", type=int, help="number of records at most")
    return parser


def load_pipeline(model: str) -> ECGInterpretationPipeline:
    """Returns the pipeline of a model on the CPU, by this package's own code.

    Args:
        model: Folder or Hub id of a HeartcareGPT repository.

    Raises: as `from_pretrained`.
    """
    return ECGInterpretationPipeline(
        model=HeartcareForConditionalGeneration.from_pretrained(model),
        processor=HeartcareProcessor.from_pretrained(model),
        device="cpu",
    )
