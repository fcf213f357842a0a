"""ECGs in vLLM, as a modality of their own beside pictures.

    from vllm import LLM, SamplingParams

    llm = LLM("USER/HeartcareGPT", dtype="float32", limit_mm_per_prompt={"ecg": 2, "image": 2})
    chat = [{"role": "user", "content": [{"type": "ecg"}, {"type": "text", "text": "Write a report of this ECG."}]}]
    prompt = processor.apply_chat_template(chat, add_generation_prompt=True)
    llm.generate({"prompt": prompt, "multi_modal_data": {"ecg": ["record.hea"]}}, SamplingParams(temperature=0))

An ECG may have any form that the processor takes, and vLLM caches its tokens by the signal, not by the name of a file.
The HTTP front end of vLLM knows no ECGs: over HTTP, they go as `prompt_embeds` (export_language_model.py).

vLLM is installed in an environment of its own, and this package after it: `vllm_plugin.register` is its entry point.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature
from vllm.model_executor.models.transformers import TransformersMultiModalForCausalLM
from vllm.model_executor.models.transformers.multimodal import (
    MultiModalDummyInputsBuilder,
    MultiModalProcessingInfo,
    MultiModalProcessor,
)
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.inputs import MultiModalFieldConfig
from vllm.multimodal.parse import MultiModalDataParser, ProcessorBatchItems

ECG_FIELDS = ("input_values", "ecg_attention_mask", "lead_mask", "ecg_numbers")
# Seconds of the ECG by which vLLM plans its memory; the pipeline reads no longer ECG at once.
DUMMY_SECONDS = 60


class ECGItems(ProcessorBatchItems):
    """The ECGs of one prompt, as dicts of what was read."""

    def get_processor_data(self) -> Mapping[str, object]:
        """Returns the ECGs under their keyword of the processor."""
        return {"ecg": self.get_all()}


class ECGDataParser(MultiModalDataParser):
    """Reads ECGs in any form that the processor takes."""

    def __init__(self, extractor: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.extractor = extractor

    def _get_subparsers(self):
        return {**super()._get_subparsers(), "ecg": self._parse_ecg_data}

    def _parse_ecg_data(self, data):
        ecgs = self.extractor.fetch_ecg(data if isinstance(data, (list, tuple)) else [data])
        names = ("signal", "sampling_rate", "lead_names", "source")
        return ECGItems([{name: getattr(ecg, name) for name in names} | {"units": "mV"} for ecg in ecgs], "ecg")


class ECGProcessingInfo(MultiModalProcessingInfo):
    """Says which modalities there are, and how many tokens one of each has at most."""

    def _get_supported_modalities(self) -> list[str]:
        return ["ecg", "image"]

    def get_data_parser(self) -> MultiModalDataParser:
        """Returns the parser of `multi_modal_data`."""
        return ECGDataParser(
            self.get_hf_processor().feature_extractor,
            expected_hidden_size=self._get_expected_hidden_size(),
            allow_missing_mm_embeddings=self.allow_missing_mm_embeddings,
        )

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        """Returns the numbers of tokens of an ECG of a minute, and of a picture."""
        processor = self.get_hf_processor()
        extractor = processor.feature_extractor
        latents = extractor.num_latents(DUMMY_SECONDS * extractor.sampling_rate)
        return {"ecg": latents + processor.evidence_tokens, "image": self.get_max_image_tokens()}


class ECGDummyInputsBuilder(MultiModalDummyInputsBuilder):
    """Makes the inputs by which vLLM plans its memory."""

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        """Returns the placeholders of ECGs and pictures."""
        ecgs = self.info.get_hf_processor().ecg_token * mm_counts.get("ecg", 0)
        return ecgs + super().get_dummy_text({"image": mm_counts.get("image", 0)})

    def get_dummy_mm_data(self, seq_len: int, mm_counts: Mapping[str, int], mm_options: Any) -> dict[str, Any]:
        """Returns sine waves of a minute on all leads, and pictures."""
        rate = self.info.get_hf_processor().feature_extractor.sampling_rate
        wave = np.sin(np.arange(DUMMY_SECONDS * rate) * 2 * np.pi / rate)
        ecg = {"signal": np.tile(wave, (12, 1)), "sampling_rate": rate, "units": "mV"}
        data = dict(super().get_dummy_mm_data(seq_len, {"image": mm_counts.get("image", 0)}, mm_options))
        return data | ({"ecg": [ecg] * mm_counts["ecg"]} if mm_counts.get("ecg") else {})


class ECGProcessor(MultiModalProcessor):
    """Prepares ECGs and pictures by the processor, and gives vLLM the numbers of each by itself.

    The processor's ECGs take the place of audio in transformers, under whose name their placeholders come back.
    """

    def _get_modality_field_names(self, modality: str) -> set[str]:
        return set(ECG_FIELDS) if modality == "ecg" else super()._get_modality_field_names(modality)

    def _finalize_hf_mm_data(self, hf_data, hf_kwargs, passthrough_data, processed_data=None) -> BatchFeature:
        features = super()._finalize_hf_mm_data(hf_data, hf_kwargs, passthrough_data, processed_data)
        for name in [name for name in features if "audio" in name]:
            features[name.replace("audio", "ecg")] = features.pop(name)
        if "input_values" in features:  # the padding of an ECG depends on the ECGs beside it, so it is cut off
            lengths = features["ecg_attention_mask"].sum(-1).tolist()
            for name in ("input_values", "ecg_attention_mask", "lead_mask"):
                features[name] = [row[..., -length:] for row, length in zip(features[name], lengths)]
        return features

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        ecg = {name: hf_inputs.pop(name) for name in [*hf_inputs] if name in ECG_FIELDS or "ecg_" in name}
        pictures = super()._get_mm_fields_config(hf_inputs, hf_processor_mm_kwargs)
        hf_inputs.update(ecg)
        if not ecg:
            return pictures
        fields = {name: MultiModalFieldConfig.batched("ecg") for name in ECG_FIELDS if name in ecg}
        ids = MultiModalFieldConfig.flat_from_sizes("ecg", ecg["ecg_replacement_sizes"], keep_on_cpu=True)
        return {**pictures, **fields, "ecg_replacement_ids": ids}


@MULTIMODAL_REGISTRY.register_processor(ECGProcessor, info=ECGProcessingInfo, dummy_inputs=ECGDummyInputsBuilder)
class HeartcareForVLLM(TransformersMultiModalForCausalLM):
    """HeartcareGPT in vLLM, by its backend for models of transformers, with ECGs.

    Raises: `ValueError` for another dtype than float32.
    """

    def __init__(self, *, vllm_config: Any, prefix: str = ""):
        dtype = vllm_config.model_config.dtype
        if dtype != torch.float32:
            raise ValueError(f"vLLM would round signals to {dtype} before Beat reads them; give dtype='float32'.")
        super().__init__(vllm_config=vllm_config, prefix=prefix)

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        """Returns the placeholder of an ECG or picture in a prompt."""
        return {"ecg": "<|ecg|>", "image": "<|image|>"}[modality]

    def embed_multimodal(self, **kwargs: Any) -> Sequence[torch.Tensor]:
        """Returns the features of ECGs, each (tokens, width), or of pictures; vLLM asks for one modality at a time."""
        if "input_values" not in kwargs:
            return super().embed_multimodal(**kwargs)
        columns = [(name, kwargs[name]) for name in ECG_FIELDS if name in kwargs]
        ecgs = [{name: values[n][None] for name, values in columns} for n in range(len(kwargs["input_values"]))]
        return [self.model.get_ecg_features(**ecg, return_dict=True).pooler_output[0] for ecg in ecgs]
