"""The pipeline of a HeartcareGPT repository, as the studies ask it."""

from heartcare.modeling_heartcare import HeartcareForConditionalGeneration
from heartcare.pipeline_heartcare import ECGInterpretationPipeline
from heartcare.processing_heartcare import HeartcareProcessor


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
