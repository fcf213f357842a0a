# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""The names of `import heartcare`, and their entries in the auto classes of transformers."""

import transformers
from transformers import AutoConfig, AutoFeatureExtractor, AutoImageProcessor, AutoModel, AutoProcessor

from .claims_heartcare import Claim, verify
from .configuration_heartcare import AUTO_CLASSES, BeatConfig, HeartcareConfig
from .digitizing_heartcare import DigitizedPage, NotDigitized, digitize
from .ecg_heartcare import ECG
from .extraction_heartcare import BeatFeatureExtractor
from .image_processing_heartcare import ECGImageProcessor
from .measuring_heartcare import Measurements, measure_ecg
from .modeling_heartcare import HeartcareForConditionalGeneration
from .pipeline_heartcare import ECGInterpretationPipeline
from .processing_heartcare import HeartcareProcessor
from .reading_heartcare import read_ecg
from .streaming_beat import BeatStream
from .tokenization_beat import BeatModel

# With the package installed, the auto classes know it, and no remote code has to be trusted.
AutoConfig.register("heartcare_beat", BeatConfig)
AutoConfig.register("heartcare", HeartcareConfig)
AutoModel.register(BeatConfig, BeatModel)
for _auto_class in AUTO_CLASSES:
    getattr(transformers, _auto_class).register(HeartcareConfig, HeartcareForConditionalGeneration)
AutoProcessor.register(HeartcareConfig, HeartcareProcessor)
AutoFeatureExtractor.register(HeartcareConfig, BeatFeatureExtractor)
AutoImageProcessor.register(HeartcareConfig, ECGImageProcessor)

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
    "HeartcareProcessor",
    "Measurements",
    "NotDigitized",
    "digitize",
    "measure_ecg",
    "read_ecg",
    "verify",
]
