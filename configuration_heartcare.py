# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Configurations of Beat (the ECG tokenizer) and of HeartcareGPT (Beat + ViT + DSPA + causal LM)."""

import difflib
import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from packaging.version import InvalidVersion, Version
from transformers import AutoConfig, GenerationConfig
from transformers.configuration_utils import PreTrainedConfig, SubConfigSpec
from transformers.models.auto import modeling_auto

from .version_heartcare import HEARTCARE_VERSION

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

ABSENT = -1  # the code of a latent for which nothing was recorded

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

# The auto classes that load the whole model, and its pipeline: saved models name both in config.json.
AUTO_CLASSES = ("AutoModel", "AutoModelForCausalLM", "AutoModelForImageTextToText", "AutoModelForMultimodalLM")
TASK = "ecg-interpretation"
CUSTOM_PIPELINES = {
    TASK: {
        "impl": "pipeline_heartcare.ECGInterpretationPipeline",
        "pt": ["AutoModelForImageTextToText"],
        "type": "multimodal",
    }
}

# The chat template of a processor that is made of backbones: ChatML with ECGs and images.
CHATML_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\n' -}}
{%- set content = message['content'] -%}
{%- if content is string -%}{%- set content = [{'type': 'text', 'text': content}] -%}{%- endif -%}
{%- if message['role'] == 'assistant' -%}
{% generation %}{%- for part in content -%}{{- part['text'] -}}{%- endfor -%}{{- '<|im_end|>' -}}{% endgeneration %}
{%- else -%}
{%- for part in content -%}
{%- if part['type'] == 'ecg' -%}{{- '<|ecg_start|><|ecg|><|ecg_end|>' -}}
{%- elif part['type'] == 'image' -%}{{- '<|image_start|><|image|><|image_end|>' -}}
{%- else -%}{{- part['text'] -}}{%- endif -%}
{%- endfor -%}
{{- '<|im_end|>' -}}
{%- endif -%}
{{- '\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}
"""


def warn_of_newer(version: object, where: str) -> None:
    """Warns where a checkpoint was written by a newer version of this software than the one that loads it.

    Args:
        version: Its `heartcare_version`; None for one that names none, as those before 0.2.0 do.
        where: Name of the configuration.

    Raises: `ValueError` for what is no version.
    """
    if version is None:
        return
    try:
        is_newer = Version(version) > Version(HEARTCARE_VERSION)
    except (InvalidVersion, TypeError) as error:
        raise ValueError(
            f"{where}.heartcare_version is {version!r}; expected a version such as {HEARTCARE_VERSION!r}, or no such "
            "key. The config may be damaged."
        ) from error
    if is_newer:
        warnings.warn(
            f"This checkpoint was written by heartcare {version}, and this is heartcare {HEARTCARE_VERSION}, which may "
            "not know all of it. Update heartcare, or load it with the code that it brings (trust_remote_code=True).",
            stacklevel=4,
        )


class CheckedConfig(PreTrainedConfig):
    """Configuration that refuses misspelt options, is never saved in a form that could not be loaded back, and names
    the version that saved it.

    `PreTrainedConfig` keeps any keyword as an attribute, so that a misspelt option would silently be without effect.

    Attributes:
        heartcare_version: Version of this software that wrote the configuration which was loaded; None for one that was
            never saved, or was saved before 0.2.0. Saving writes the version that saves, as `transformers_version` is.
    """

    heartcare_version: str | None = None

    def _check_names(self, kwargs: Mapping[str, object]):
        """Refuses keywords that are nearly an option (`ValueError`); warns of others that are not the library's."""
        options = [field.name for field in fields(self)]
        unknown = [key for key in kwargs if key not in _library_names() and not key.startswith("_")]
        misspelt = {key: near for key in unknown if (near := misspelt_name(key, options))}
        if misspelt:
            raise ValueError(
                f"{type(self).__name__} got unknown keys {sorted(misspelt)}; did you mean {sorted(misspelt.values())}? "
                f"Known keys: {sorted(options)}."
            )
        computed = [key for key in unknown if isinstance(getattr(type(self), key, None), property)]
        if computed:
            raise ValueError(f"{type(self).__name__} computes {sorted(computed)} from other keys; leave them out.")
        if unknown:
            warnings.warn(
                f"{type(self).__name__} does not know {sorted(unknown)}; they are kept, and have no effect.",
                stacklevel=4,
            )

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> "CheckedConfig":
        """As `PreTrainedConfig.from_dict`.

        Raises: `ValueError` for the configuration of another kind of model, which would be read as mere defaults.
        """
        kind = config_dict.get("model_type", cls.model_type)
        if kind != cls.model_type:
            raise ValueError(f"This is the configuration of a model of type {kind!r}; expected {cls.model_type!r}.")
        warn_of_newer(config_dict.get("heartcare_version"), cls.__name__)
        return super().from_dict(config_dict, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """As `PreTrainedConfig.to_dict`, with the version of this software, which a part of a model does not repeat."""
        output = super().to_dict() | {"heartcare_version": HEARTCARE_VERSION}
        for part in self.sub_configs:
            if isinstance(output.get(part), dict):
                output[part].pop("heartcare_version", None)
        return output

    def save_pretrained(self, save_directory: str, push_to_hub: bool = False, **kwargs: Any) -> None:
        """As `PreTrainedConfig.save_pretrained`.

        Raises: `ValueError` before anything is written, when the configuration could not be loaded back, for example
            because an attribute with a misspelt name was set on it.
        """
        try:
            type(self).from_dict(json.loads(self.to_json_string()))
        except (ValueError, TypeError, AttributeError, StrictDataclassError) as error:
            raise ValueError(
                f"This {type(self).__name__} could not be loaded back, so nothing was saved: {error} "
                "Mend or delete that attribute, and save again."
            ) from error
        super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)


@strict
class BeatConfig(CheckedConfig):
    r"""
    Configuration of [`BeatModel`], the tokenizer of 12-lead ECGs (paper section 3.2).

    The defaults are those of the default checkpoint. The paper's own scale is `sampling_rate=250,
    patch_size=25, segment_length=1000, num_encoder_layers=6, num_decoder_layers=6, num_attention_heads=8, head_dim=64`.

    Args:
        sampling_rate (`int`): Samples per second that the model works at. The processor resamples other rates.
        num_leads (`int`): Number of leads of the input, in the order I II III aVR aVL aVF V1..V6.
        patch_size (`int`): Number of samples of one patch over all leads; 100 ms in the paper.
        segment_length (`int`): Number of samples of one segment. Longer ECGs are cut into segments from right to left.
        latent_ratio (`float`): Number of latent queries per patch.
        prediction_length (`int`, *optional*): Number of samples of the predicted segment that follows, a multiple of
            `patch_size`. By default one patch for each query.
        hidden_size (`int`): Width of patches, queries and codes.
        stem_channels (`int`): Number of channels of a convolution stem, which reads the signal before it is cut into
            patches; 0 cuts the signal itself, as in the paper.
        stem_stride (`int`): Number of samples from one frame of the stem to the next; `patch_size` is a multiple of it.
        num_encoder_layers, num_decoder_layers (`int`): Number of transformer layers on either side of the codes.
        num_patch_layers (`int`): Number of first encoder layers that compute the patches alone. The queries start after
            them; 0 as in the paper.
        num_query_layers (`int`): Number of last encoder layers that compute the queries alone. The first of them reads
            the patches, the others let the queries read each other.
        num_attention_heads, head_dim, intermediate_size (`int`): Shape of those layers.
        hidden_act (`str`): Activation of those layers.
        layer_norm_eps (`float`): Epsilon of their layer norms.
        initializer_range (`float`): Standard deviation of the linear layers' initial weights.
        num_levels (`int`): Number of levels of the residual quantizer, each with a codebook of its own; two in the
            paper (DVQ).
        core_level (`str`): "residual" or "parallel". The first level is read by a language model above all: as
            "residual" its codes are the coarse part of the shape that the next levels refine; as "parallel" it
            quantizes a projection of its own, so that meaning and shape do not share its codes.
        codebook_size (`int`): Number of codes of each level.
        codebook_decay (`float`): Decay of the moving averages that are the codebooks.
        dead_code_threshold (`float`): Moving average of uses per batch below which a code is replaced by a state of
            the batch.
        recon_weight, pred_weight, vq_weight (`float`): Weights of the three losses (paper equation for L).
            `pred_weight=0` disables forecasting.
        absent_weight (`float`): Weight of a sample that the input lacks in the reconstruction loss; a recorded one
            weighs 1. What a page does not show can be restored in part only, and must not decide what is learnt.
        gain_range_mv (`list[float]`): Smallest and largest gain in mV.
        gain_levels (`int`): Number of steps of the logarithmic scale on which the gain is quantized.
    """

    model_type = "heartcare_beat"
    base_config_key = "beat_config"

    sampling_rate: int = 100
    num_leads: int = 12
    patch_size: int = 10
    segment_length: int = 500
    latent_ratio: float = 0.5
    prediction_length: int | None = None
    hidden_size: int = 128
    stem_channels: int = 0
    stem_stride: int = 2
    num_encoder_layers: int = 2
    num_decoder_layers: int = 2
    num_patch_layers: int = 0
    num_query_layers: int = 1
    num_attention_heads: int = 4
    head_dim: int = 32
    intermediate_size: int = 512
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-5
    initializer_range: float = 0.02
    num_levels: int = 2
    core_level: Literal["residual", "parallel"] = "residual"
    codebook_size: int = 512
    codebook_decay: float = 0.95
    dead_code_threshold: float = 0.2
    recon_weight: float = 1.0
    pred_weight: float = 0.1
    vq_weight: float = 0.25
    absent_weight: float = 1.0
    gain_range_mv: list[float] | tuple[float, ...] = (0.01, 10.0)
    gain_levels: int = 64

    def __post_init__(self, **kwargs: Any):
        self._check_names(kwargs)
        super().__post_init__(**kwargs)
        refuse_absurd(self, type(self).__name__)
        if self.stem_channels < 0:
            raise ValueError(f"stem_channels must be at least 0, got {self.stem_channels}.")
        if self.stem_channels and (self.stem_stride < 1 or self.patch_size % self.stem_stride):
            raise ValueError(f"patch_size {self.patch_size} is no multiple of stem_stride {self.stem_stride}.")
        if self.num_levels < 1:
            raise ValueError(f"num_levels must be at least 1, got {self.num_levels}.")
        if self.segment_length % self.patch_size:
            raise ValueError(f"segment_length {self.segment_length} is no multiple of patch_size {self.patch_size}.")
        if self.num_queries < 1 or self.num_patches % self.num_queries:
            raise ValueError(
                f"latent_ratio {self.latent_ratio} gives {self.num_queries} queries for {self.num_patches} patches; "
                "each query stands for the same whole number of patches, so choose a ratio such as 1, 0.5 or 0.25."
            )
        if self.num_patch_layers < 0 or self.num_query_layers < 1:
            raise ValueError(
                f"num_patch_layers must be at least 0 and num_query_layers at least 1, got {self.num_patch_layers} and "
                f"{self.num_query_layers}."
            )
        if self.num_patch_layers + self.num_query_layers > self.num_encoder_layers:
            raise ValueError(
                f"num_patch_layers {self.num_patch_layers} and num_query_layers {self.num_query_layers} are more than "
                f"num_encoder_layers {self.num_encoder_layers} together."
            )
        if self.prediction_length is None:
            self.prediction_length = self.num_queries * self.patch_size
        if self.prediction_length < 1 or self.prediction_length % self.patch_size:
            raise ValueError(
                f"prediction_length must be a multiple of patch_size ({self.patch_size}), got {self.prediction_length}."
            )

    @property
    def num_hidden_layers(self) -> int:
        """Number of transformer layers, encoder and decoder together."""
        return self.num_encoder_layers + self.num_decoder_layers

    @property
    def samples_per_latent(self) -> int:
        """Number of samples of signal that one latent stands for."""
        return self.segment_length // self.num_queries

    @property
    def num_queries(self) -> int:
        """Number of latent queries of one segment (m in the paper)."""
        return round(self.num_patches * self.latent_ratio)

    @property
    def num_patches(self) -> int:
        """Number of patches of one segment (t in the paper)."""
        return self.segment_length // self.patch_size


class InstalledPipelines(dict):
    """Entry "custom_pipelines" of a configuration that the installed package read.

    `pipeline(model=REPO)` still finds the task in it, and then takes the pipeline that the package registered, as the
    auto classes take its model: transformers asks for trust in the repository's code for a task that is `in` here.
    """

    def __contains__(self, task: object) -> bool:
        return False


@strict
class HeartcareConfig(CheckedConfig):
    r"""
    Configuration of [`HeartcareForConditionalGeneration`]: Beat, a vision tower, two projectors (DSPA) and a causal LM.

    Args:
        beat_config (`BeatConfig` or `dict`): The ECG tokenizer.
        vision_config (`PreTrainedConfig` or `dict`): Any vision tower of transformers; SigLIP by default.
        text_config (`PreTrainedConfig` or `dict`): Any causal LM of transformers.
        ecg_token_id, image_token_id (`int`): Ids of the placeholders that projected features are scattered to.
        prediction_token_id (`int`): Id of the answer that routes to Beat's forecaster.
        image_slots_per_tile (`int`): Number of tokens that each lead tile of an ECG picture takes in the prompt.
        projector_hidden_act (`str`): Activation of both projectors.
        findings (`list[list[str]]`, *optional*): Code and words of each statement that the model finds, in the order of
            its head, which a dict would lose on its way through JSON; without it, the model has no head for findings.
        findings_hidden_size (`int`): Width of that head.
        picture_hidden_size (`int`): Width of the head for the same statements in pictures; 0 for a model without it.
        evidence_tokens (`int`): Number of tokens behind those of each ECG that tell the language model what the head
            found and what was measured; 0 for a language model that reads Beat's tokens alone.
        adapter (`dict`, *optional*): For a checkpoint that holds only what sets its language model apart from a public
            one: "base", the public model; "package", a Python package that carries it as GGUF, or None; "scale", the
            factor of LoRA's products; and "shared", the parts that are in the checkpoint at the root of the repository.
        asked (`list[str]`, *optional*): Codes of the statements, and names of the families of statements, that the
            reader of questions knows; without it, the model has no such reader.
        asked_hidden_size (`int`): Width of that reader.
    """

    model_type = "heartcare"
    pipelines_type: ClassVar[type[dict]] = dict  # `InstalledPipelines` in the package, once it has registered its own
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
    findings: list | None = None
    findings_hidden_size: int = 256
    picture_hidden_size: int = 0
    evidence_tokens: int = 0
    adapter: dict | None = None
    asked: list | None = None
    asked_hidden_size: int = 128
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any):
        self._check_names(kwargs)
        super().__post_init__(**kwargs)
        if getattr(self, "custom_pipelines", None):
            self.custom_pipelines = self.pipelines_type(self.custom_pipelines)
        for part in (self, *(getattr(self, name, None) for name in ("text_config", "vision_config"))):
            if isinstance(part, PreTrainedConfig):
                refuse_absurd(part, type(part).__name__)
        # The language model ties its own embeddings; if the composite said otherwise, saving would drop a tensor.
        self.tie_word_embeddings = bool(getattr(self.text_config, "tie_word_embeddings", False))
        for name in ("evidence_tokens", "picture_hidden_size"):
            if getattr(self, name) and not self.findings:
                raise ValueError(f"{name} {getattr(self, name)} needs findings, and there are none.")

    @property
    def max_position_embeddings(self) -> int:
        """Number of tokens that the language model can read; vLLM takes it for the most that one ECG can have."""
        return self.text_config.max_position_embeddings

    @property
    def wordings(self) -> dict[str, str]:
        """Code of each statement that the model finds -> its words, in the order of the head's labels."""
        return {code: words for code, words in self.findings or ()}


# Keys that transformers adds to the saved settings of a feature extractor or an image processor.
SAVED_BY_TRANSFORMERS = ("image_processor_type", "feature_extractor_type", "processor_class", "auto_map")


def without_foreign(settings: Mapping[str, object], known: Iterable[str], where: str) -> dict[str, object]:
    """Returns saved settings without those that this version of `where` does not know, which a warning names.

    Raises: `TypeError` for a name that looks like a misspelt setting.
    """
    known = (*known, *SAVED_BY_TRANSFORMERS)
    foreign = [name for name in settings if name not in known and not name.startswith("_")]
    refuse_unknown({name: None for name in foreign if nearest_name(name, known, cutoff=0.8)}, known, where)
    if foreign:
        warnings.warn(f"{where} does not know the saved settings {foreign}, which are left out.", stacklevel=3)
    return {name: value for name, value in settings.items() if name not in foreign}


def refuse_unknown(
    kwargs: Mapping[str, object], known: Iterable[str], where: str, meant: Mapping[str, str] | None = None
) -> None:
    """Refuses keywords that `where` (the name of the called function or class) does not know.

    Args:
        kwargs: The keywords.
        known: Names of the known ones; those that begin with "_" are not told.
        where: Name of the function or class that was called.
        meant: Unknown name -> the known one that its users mean, where their letters are not alike.

    Raises: `TypeError` that names each unknown keyword, the nearest known one, and all known ones.
    """
    known, meant = sorted(set(known)), meant or {}
    unknown = [key for key in kwargs if key not in known]
    if not unknown:
        return
    hints = ", ".join(
        f"{key!r} (did you mean {near!r}?)" if (near := meant.get(key) or nearest_name(key, known)) else repr(key)
        for key in unknown
    )
    told = ", ".join(name for name in known if not name.startswith("_"))
    raise TypeError(f"{where} got unknown keywords: {hints}. Known keywords: {told}.")


def refuse_misspelt(kwargs: Mapping[str, object], known: Iterable[str], passed_on: Iterable[str], where: str) -> None:
    """Refuses keywords that are nearly one of `known`, where other keywords (and all of `passed_on`) are handed to a
    function of another library.

    Raises: `TypeError` that names each such keyword and the known one.
    """
    others = [key for key in kwargs if key not in passed_on]
    if not others:
        return
    misspelt = {key: near for key in others if (near := misspelt_name(key, known))}
    if misspelt:
        hints = ", ".join(f"{key!r} (did you mean {near!r}?)" for key, near in misspelt.items())
        raise TypeError(f"{where} got misspelt keywords: {hints}.")


def misspelt_name(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name that `name` is a misspelling of, or None.

    Names of other models that are merely alike are no misspellings: `eos_token_id` has a similarity of 0.83 to
    `ecg_token_id`, and `layer_norm_epsilon` is four letters longer than `layer_norm_eps`.
    """
    return nearest_name(name, (other for other in known if abs(len(other) - len(name)) <= 2), cutoff=0.85)


def nearest_name(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Returns the known name most similar to `name`, or None where none reaches `cutoff` (`difflib` ratio, 0 to 1)."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


@cache
def _library_names() -> frozenset[str]:
    """Names that transformers itself gives a configuration: its own attributes, and those of generation."""
    attributes = {name.lstrip("_") for name in dir(PreTrainedConfig)}
    written_by_save_pretrained = {"auto_map", "custom_pipelines", "quantization_config"}
    return frozenset(attributes | set(GenerationConfig().to_dict()) | written_by_save_pretrained)


MAX_LAYERS, MAX_SIZE = 2**10, 2**24  # far beyond the largest models


def refuse_absurd(config: PreTrainedConfig, where: str) -> None:
    """Raises `ValueError` for a number of layers or a size in a config that no model has. Damaged or hostile, it would
    keep the machine busy for hours, or take all of its memory, before a weight is read.
    """
    for name, value in vars(config).items():
        limit = MAX_LAYERS if name.endswith("_layers") else MAX_SIZE
        if name.endswith(("_layers", "_size", "_heads")) and isinstance(value, int | float) and value > limit:
            raise ValueError(f"{where}.{name} is {value}; expected at most {limit}. The config may be damaged.")


BeatConfig.register_for_auto_class()
HeartcareConfig.register_for_auto_class()

# `transformers serve` and the library's own pipelines look the model's class up by its name in these two, to which
# neither auto_map nor `register` adds it. They read the configuration first, by which it is in time.
for _names in (
    modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    modeling_auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES,
):
    _names[HeartcareConfig.model_type] = "HeartcareForConditionalGeneration"

__all__ = [
    "CHATML_TEMPLATE",
    "ABSENT",
    "AUTO_CLASSES",
    "CUSTOM_PIPELINES",
    "ECG_TOKENS",
    "LEADS",
    "SAVED_BY_TRANSFORMERS",
    "TASK",
    "BeatConfig",
    "HeartcareConfig",
    "InstalledPipelines",
    "nearest_name",
    "refuse_misspelt",
    "refuse_unknown",
    "without_foreign",
]
