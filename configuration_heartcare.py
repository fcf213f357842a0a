# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Configurations of Beat (the ECG tokenizer) and of HeartcareGPT (Beat + ViT + DSPA + causal LM)."""

from dataclasses import fields

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig
from transformers.configuration_utils import PreTrainedConfig, SubConfigSpec

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

# The model-specific tokens: attribute name on the tokenizer -> token. The processor writes them, the model scatters to
# them.
ECG_TOKENS = {
    "ecg_token": "<|ecg|>",
    "ecg_start_token": "<|ecg_start|>",
    "ecg_end_token": "<|ecg_end|>",
    "image_token": "<|image|>",
    "image_start_token": "<|image_start|>",
    "image_end_token": "<|image_end|>",
    "prediction_token": "<prediction>",
}

# Keys that transformers itself adds to a saved configuration, beyond the fields a class declares.
_SAVED_BY_TRANSFORMERS = {
    "model_type", "auto_map", "custom_pipelines", "quantization_config", "torch_dtype", "num_labels", "name_or_path",
    "attn_implementation", "experts_implementation", "output_attentions", "trust_remote_code", "use_cache",
}  # fmt: skip


def _refuse_unknown_keys(config: PreTrainedConfig, kwargs: dict):
    # PreTrainedConfig keeps any keyword as an attribute, so that a misspelt option would be silently without effect.
    known = {field.name for field in fields(config)} | _SAVED_BY_TRANSFORMERS
    unknown = sorted(key for key in kwargs if key not in known and not key.startswith("_"))
    if unknown:
        raise ValueError(
            f"{type(config).__name__} got unknown keys {unknown}. Known keys: {sorted(f.name for f in fields(config))}. "
            "Check the spelling, or load the configuration with the code version that wrote it."
        )


@strict
class BeatConfig(PreTrainedConfig):
    r"""
    Configuration of [`BeatModel`], the tokenizer of 12-lead ECGs (paper section 3.2).

    The defaults are those of the default checkpoint. The paper's own scale is `sampling_rate=250,
    patch_size=25, segment_length=1000, num_encoder_layers=6, num_decoder_layers=6, num_attention_heads=8, head_dim=64`.

    Args:
        sampling_rate (`int`): Samples per second that the model works at. Other rates are resampled by the processor.
        num_leads (`int`): Leads of the input, in the order I II III aVR aVL aVF V1..V6.
        patch_size (`int`): Samples of one patch over all leads; 100 ms in the paper.
        segment_length (`int`): Samples of one segment. Longer ECGs are cut into segments from right to left.
        latent_ratio (`float`): Latent queries per patch; also the length of the predicted segment in segments.
        hidden_size (`int`): Width of patches, queries and codes.
        num_encoder_layers, num_decoder_layers (`int`): Transformer layers on either side of the codes.
        num_attention_heads, head_dim, intermediate_size (`int`): Shape of those layers.
        num_levels (`int`): Levels of the residual quantizer, each with a codebook of its own; two in the paper (DVQ).
        codebook_size (`int`): Codes of each level.
        codebook_decay (`float`): Decay of the moving averages that are the codebooks.
        dead_code_threshold (`float`): Moving average of uses per batch below which a code is drawn anew from the batch.
        recon_weight, pred_weight, vq_weight (`float`): Weights of the three losses (paper equation for L); without a
            `pred_weight` nothing is forecast.
        gain_range_mv (`list[float]`): Smallest and largest gain in mV.
        gain_levels (`int`): Steps of the logarithmic scale on which the gain is quantized.
    """

    model_type = "heartcare_beat"
    base_config_key = "beat_config"

    sampling_rate: int = 100
    num_leads: int = 12
    patch_size: int = 10
    segment_length: int = 500
    latent_ratio: float = 0.5
    hidden_size: int = 128
    num_encoder_layers: int = 2
    num_decoder_layers: int = 2
    num_attention_heads: int = 4
    head_dim: int = 32
    intermediate_size: int = 512
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-5
    initializer_range: float = 0.02
    num_levels: int = 2
    codebook_size: int = 512
    codebook_decay: float = 0.95
    dead_code_threshold: float = 0.2
    recon_weight: float = 1.0
    pred_weight: float = 0.1
    vq_weight: float = 0.25
    gain_range_mv: list[float] | tuple[float, ...] = (0.01, 10.0)
    gain_levels: int = 64

    def __post_init__(self, **kwargs):
        _refuse_unknown_keys(self, kwargs)
        super().__post_init__(**kwargs)
        if self.num_levels < 1:
            raise ValueError(f"num_levels must be at least 1, got {self.num_levels}.")
        if self.segment_length % self.patch_size:
            raise ValueError(f"segment_length {self.segment_length} is no multiple of patch_size {self.patch_size}.")
        if self.num_queries < 1 or self.num_patches % self.num_queries:
            raise ValueError(
                f"latent_ratio {self.latent_ratio} gives {self.num_queries} queries for {self.num_patches} patches; each query "
                "stands for the same whole number of patches, so choose a ratio such as 1, 0.5 or 0.25."
            )

    @property
    def num_hidden_layers(self) -> int:
        return self.num_encoder_layers + self.num_decoder_layers

    @property
    def num_patches(self) -> int:
        """Patches of one segment (t in the paper)."""
        return self.segment_length // self.patch_size

    @property
    def num_queries(self) -> int:
        """Latent queries of one segment (m in the paper)."""
        return round(self.num_patches * self.latent_ratio)

    @property
    def samples_per_latent(self) -> int:
        """Samples of signal that one latent stands for."""
        return self.segment_length // self.num_queries

    @property
    def prediction_length(self) -> int:
        """Samples of the predicted segment that follows."""
        return round(self.num_patches * self.latent_ratio) * self.patch_size


@strict
class HeartcareConfig(PreTrainedConfig):
    r"""
    Configuration of [`HeartcareForConditionalGeneration`]: Beat, a vision tower, two projectors (DSPA) and a causal LM.

    Args:
        beat_config (`BeatConfig` or `dict`): The ECG tokenizer.
        vision_config (`PreTrainedConfig` or `dict`): Any vision tower of transformers; SigLIP by default.
        text_config (`PreTrainedConfig` or `dict`): Any causal LM of transformers.
        ecg_token_id, image_token_id (`int`): The placeholders that projected features are scattered to.
        prediction_token_id (`int`): The answer that routes to Beat's forecaster.
        image_slots_per_tile (`int`): Tokens that each lead tile of an ECG picture takes in the prompt.
        projector_hidden_act (`str`): Activation of both projectors.
    """

    model_type = "heartcare"
    sub_configs_defaults = {
        "beat_config": SubConfigSpec(config_class=BeatConfig),
        "vision_config": SubConfigSpec(config_class=AutoConfig, model_type="siglip_vision_model"),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
    }

    beat_config: dict | PreTrainedConfig | None = None
    vision_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    ecg_token_id: int = 3
    image_token_id: int = 4
    prediction_token_id: int = 5
    image_slots_per_tile: int = 4
    projector_hidden_act: str = "gelu"
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs):
        _refuse_unknown_keys(self, kwargs)
        super().__post_init__(**kwargs)
        # The language model ties its own embeddings; the composite must only say the same thing, or saving drops a
        # tensor.
        self.tie_word_embeddings = bool(getattr(self.text_config, "tie_word_embeddings", False))


class StrictLoadingMixin:
    """`from_pretrained` that raises where transformers would only warn: a model with random parts answers nonsense,
    fluently.
    """

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, **kwargs):
        """As `PreTrainedModel.from_pretrained`.

        Raises: `ValueError` when the checkpoint lacks weights of the model, or has weights that the model has no place
            for.
        """
        wants_info = kwargs.pop("output_loading_info", False)
        model, info = super().from_pretrained(pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs)
        for what in ("missing_keys", "unexpected_keys"):
            if info[what]:
                raise ValueError(
                    f"{pretrained_model_name_or_path} has {len(info[what])} {what.replace('_', ' ')} for {cls.__name__}, for "
                    f"example {sorted(info[what])[:3]}. Code, config.json and weights do not belong together: load the revision "
                    "that wrote them."
                )
        return (model, info) if wants_info else model


BeatConfig.register_for_auto_class()
HeartcareConfig.register_for_auto_class()

__all__ = ["ECG_TOKENS", "LEADS", "BeatConfig", "HeartcareConfig", "StrictLoadingMixin"]
