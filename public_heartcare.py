# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""The names of `import heartcare`, and their entries in the auto classes of transformers."""

import transformers
from transformers import AutoConfig, AutoFeatureExtractor, AutoImageProcessor, AutoModel, AutoProcessor

from .base_heartcare import HeartcareModel
from .claims_heartcare import Claim, verify
from .configuration_heartcare import AUTO_CLASSES, BeatConfig, HeartcareConfig, InstalledPipelines
from .digitizing_heartcare import DigitizedPage, NotDigitized, digitize
from .ecg_heartcare import ECG
from .extraction_heartcare import BeatFeatureExtractor
from .image_processing_heartcare import ECGImageProcessor
from .measuring_heartcare import Measurements, measure_ecg
from .modeling_heartcare import HeartcareForConditionalGeneration
from .pipeline_heartcare import ECGInterpretationPipeline, register_task
from .processing_heartcare import HeartcareProcessor
from .reading_heartcare import read_ecg
from .streaming_beat import BeatStream
from .tokenization_beat import BeatModel


def register() -> None:
    """Makes the auto classes and `pipeline` of transformers take this package's code for HeartcareGPT's repositories,
    so that no remote code has to be trusted. Importing the package calls it; it may be called again, for example after
    another copy of the code was loaded by `trust_remote_code`, whose pipeline then answers the task.
    """
    AutoConfig.register("heartcare_beat", BeatConfig, exist_ok=True)
    AutoConfig.register("heartcare", HeartcareConfig, exist_ok=True)
    AutoModel.register(BeatConfig, BeatModel, exist_ok=True)
    for auto_class in AUTO_CLASSES:
        getattr(transformers, auto_class).register(HeartcareConfig, HeartcareForConditionalGeneration, exist_ok=True)
    AutoProcessor.register(HeartcareConfig, HeartcareProcessor, exist_ok=True)
    AutoFeatureExtractor.register(HeartcareConfig, BeatFeatureExtractor, exist_ok=True)
    AutoImageProcessor.register(HeartcareConfig, ECGImageProcessor, exist_ok=True)
    HeartcareConfig.pipelines_type = InstalledPipelines
    register_task()


register()

__all__ = [
    "BeatConfig",
    "BeatFeatureExtractor",
    "BeatModel",
    "BeatStream",
    "Claim",
    "DigitizedPage",
    "ECG",
    "ECGImageProcessor",
    "ECGInterpretationPipeline",
    "HeartcareConfig",
    "HeartcareForConditionalGeneration",
    "HeartcareModel",
    "HeartcareProcessor",
    "Measurements",
    "NotDigitized",
    "digitize",
    "measure_ecg",
    "read_ecg",
    "register",
    "verify",
]
