# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""HeartcareGPT: Beat and a ViT, two projectors (DSPA, paper section 3.3), and a causal language model as child.

ECG      -> Beat (frozen)  -> quantized latents -----------> Psi_sig --+
         -> findings head, measured numbers -> evidence -> projector --+-> scattered into the prompt -> causal LM
picture  -> ViT, per lead  -> slots of a tile -------------> Psi_img --+
"""

import copy
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer
from transformers.cache_utils import Cache
from transformers.generation import GenerationConfig, GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPooling, CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import GENERATION_CONFIG_NAME, cached_file, torch_compilable_check
from transformers.utils.generic import TransformersKwargs, can_return_tuple

from .adapting_heartcare import load_whole
from .branching_heartcare import Branches, attention_bias, who_sees_whom
from .configuration_heartcare import (
    AUTO_CLASSES,
    CUSTOM_PIPELINES,
    ECG_TOKENS,
    HeartcareConfig,
    refuse_misspelt,
    refuse_unknown,
)
from .findings_heartcare import FindingsHead, PictureHead
from .heads_heartcare import ECG_INPUTS, HEADS, IMAGE_INPUTS, TEXT_INPUTS, HeadsMixin

# Imported for its effects: the task "ecg-interpretation" is known wherever the model is, and the file comes along where
# transformers copies or downloads the model, since it finds those files by their relative imports.
from .pipeline_heartcare import ECGInterpretationPipeline  # noqa: F401
from .projectors_heartcare import EvidenceProjector, ImageProjector, SignalProjector
from .tokenization_beat import RECORDED, BeatModel, StrictLoadingMixin
from .understanding_heartcare import QuestionReader

HUB_KEYWORDS = ("subfolder", "revision", "token", "cache_dir", "local_files_only", "force_download")

# Keywords of the language model and of the loss, which `forward` hands on.
PASSED_ON = (*TransformersKwargs.__annotations__, "use_cache", "cache_position", "token_type_ids", "mm_token_type_ids")


@dataclass
class HeartcareOutput(CausalLMOutputWithPast):
    """Output of a causal language model of transformers, with what was scattered into the prompt.

    ecg_hidden_states, image_hidden_states (`tuple` of `(tokens, width)`): Features, one entry per ECG and per image.
    """

    ecg_hidden_states: tuple[torch.FloatTensor, ...] | None = None
    image_hidden_states: tuple[torch.FloatTensor, ...] | None = None


class HeartcarePreTrainedModel(StrictLoadingMixin, PreTrainedModel):
    """Base class of HeartcareGPT: its place in transformers."""

    config: HeartcareConfig
    base_model_prefix = "language_model"  # also where generation looks for layers to exit early from
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    # Each uses parameters of its own beside its layers', so it stays in one place.
    _no_split_modules = [
        "BeatEncoder",
        "BeatDecoder",
        "FindingsHead",
        "PictureHead",
        "SignalProjector",
        "ImageProjector",
    ]
    _can_compile_fullgraph = True
    _skip_keys_device_placement = ["past_key_values"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True


class HeartcareForConditionalGeneration(HeadsMixin, HeartcarePreTrainedModel, GenerationMixin):
    """Reads any number of ECGs and ECG pictures, interleaved with text, and writes text."""

    def __init__(self, config: HeartcareConfig):
        super().__init__(config)
        # Codes carry no gradient, so Beat cannot learn here, and DDP would wait for its gradients.
        self.beat = BeatModel._from_config(config.beat_config).requires_grad_(False)
        self.vision_tower = AutoModel.from_config(config.vision_config)
        self.signal_projector = SignalProjector(config)
        self.image_projector = ImageProjector(config)
        self.language_model = AutoModelForCausalLM.from_config(config.text_config)
        if config.findings:
            # It is trained by itself (heartcare.training.findings), and not a part of the language model's loss.
            self.findings_head = FindingsHead(config).requires_grad_(False)
        if config.picture_hidden_size:
            self.picture_head = PictureHead(config).requires_grad_(False)
        if config.evidence_tokens:
            self.evidence_projector = EvidenceProjector(config)
        if config.asked:
            self.question_reader = QuestionReader(config).requires_grad_(False)
        self._can_compile_fullgraph = self.language_model._can_compile_fullgraph  # it alone runs while decoding
        self.post_init()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str, *args: Any, **kwargs: Any) -> Any:
        """As `PreTrainedModel.from_pretrained`, with Beat, the heads for findings and the reader of questions
        frozen: loading makes new parameters, which all would learn.

        Raises: `ValueError` when the checkpoint lacks weights of the model, or has weights that the model has no place
            for.
        """
        config = kwargs.get("config")
        hub = {name: kwargs[name] for name in HUB_KEYWORDS if name in kwargs}
        place = pretrained_model_name_or_path if config is None else config
        if isinstance(place, (str, Path)):
            config = HeartcareConfig.from_pretrained(place, **hub)
        if getattr(config, "adapter", None):
            return cls._with_adapter(pretrained_model_name_or_path, config, kwargs, hub)
        loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        for name in {"beat", *HEADS} & dict(model.named_children()).keys():
            getattr(model, name).requires_grad_(False)
        return loaded

    @classmethod
    def _with_adapter(
        cls, repository: str, config: HeartcareConfig, kwargs: dict[str, Any], hub: dict[str, Any]
    ) -> Any:
        """Loads a checkpoint with an adapter (`adapting_heartcare`) as the whole model that it stands for."""
        # By its own path, since transformers takes the file at the root of a local repository otherwise.
        settings = GenerationConfig.from_pretrained(Path(cached_file(repository, GENERATION_CONFIG_NAME, **hub)).parent)
        subfolder = hub.pop("subfolder", "")
        weights = load_whole(repository, config.adapter, subfolder, hub)
        whole = copy.deepcopy(config)
        whole.adapter = None
        others = {name: value for name, value in kwargs.items() if name not in (*HUB_KEYWORDS, "config")}
        loaded = cls.from_pretrained(None, config=whole, state_dict=weights, **others)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model.generation_config, model.config.name_or_path = settings, f"{repository}/{subfolder}".strip("/")
        return loaded

    @classmethod
    def from_backbones(
        cls,
        text: str,
        vision: str | PreTrainedModel,
        beat: str | BeatModel,
        image_slots_per_tile: int = 4,
        **kwargs: Any,
    ) -> "HeartcareForConditionalGeneration":
        """Makes a new model out of pretrained parts; the projectors are fresh. `HeartcareProcessor.from_backbones`
        makes its processor.

        Args:
            text (`str`): Name or folder of any causal LM with its tokenizer. The ECG tokens are added, and the
                embeddings resized where they have too few rows.
            vision (`str` or `PreTrainedModel`): Name or folder of a vision tower, of a dual model that has one, or of a
                HeartcareGPT repository (with `trust_remote_code=True`), or the tower.
            beat (`str` or `BeatModel`): Name or folder of a Beat or HeartcareGPT repository, or the tokenizer itself.
            image_slots_per_tile (`int`): Number of tokens of each lead tile of a picture.
            kwargs: Arguments of the `from_pretrained` of all parts: dtype, revision, token, ...
        """
        hub = {key: kwargs[key] for key in ("revision", "token") if key in kwargs}
        tokenizer = AutoTokenizer.from_pretrained(text, extra_special_tokens=ECG_TOKENS, **hub)
        language_model = AutoModelForCausalLM.from_pretrained(text, **kwargs)
        if len(tokenizer) > language_model.get_input_embeddings().num_embeddings:
            language_model.resize_token_embeddings(len(tokenizer))
        if not isinstance(vision, PreTrainedModel):
            vision = AutoModel.from_pretrained(vision, **kwargs)
        vision = getattr(vision, "vision_tower", getattr(vision, "vision_model", vision))
        if not isinstance(beat, PreTrainedModel):
            beat = BeatModel.from_pretrained(beat, **kwargs)

        ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in ECG_TOKENS.items()}
        config = HeartcareConfig(
            beat_config=beat.config,
            vision_config=vision.config,
            text_config=language_model.config,
            ecg_token_id=ids["ecg_token"],
            image_token_id=ids["image_token"],
            prediction_token_id=ids["prediction_token"],
            image_slots_per_tile=image_slots_per_tile,
            dtype=language_model.dtype,
        )
        for part in (config.beat_config, config.vision_config, config.text_config):
            part.name_or_path = ""  # the parts are one model from now on
        model = cls(config).to(language_model.dtype)
        model.beat.load_state_dict(beat.state_dict())
        model.vision_tower.load_state_dict(vision.state_dict())
        model.language_model.load_state_dict(language_model.state_dict())
        model.generation_config = language_model.generation_config
        model.generation_config.suppress_tokens = [ids["ecg_token"], ids["image_token"]]
        return model

    def save_pretrained(self, save_directory: str, **kwargs: Any) -> None:
        """As `PreTrainedModel.save_pretrained`; every auto class of the model, and its pipeline, are written into the
        configuration.
        """
        this = f"{type(self).__module__.split('.')[-1]}.{type(self).__name__}"
        self.config.auto_map = {name: this for name in AUTO_CLASSES}
        self.config.custom_pipelines = CUSTOM_PIPELINES
        super().save_pretrained(save_directory, **kwargs)

    def get_input_embeddings(self) -> nn.Module:
        """The language model's token embeddings."""
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the language model's token embeddings."""
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """The language model's head."""
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, value: nn.Module) -> None:
        """Replaces the language model's head."""
        self.language_model.set_output_embeddings(value)

    def get_decoder(self) -> nn.Module:
        """The language model without its head."""
        return self.language_model.get_decoder()

    def freeze_towers(self) -> None:
        """Freezes the ViT, as Beat always is; the projectors and the language model go on learning (stages 2 and 3 of
        the paper).
        """
        self.vision_tower.requires_grad_(False)

    @can_return_tuple
    def get_ecg_features(
        self,
        input_values: torch.FloatTensor | None = None,
        ecg_attention_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        ecg_codes: torch.LongTensor | None = None,
        ecg_gain: torch.FloatTensor | None = None,
        ecg_numbers: torch.FloatTensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling:
        """Projects ECGs to the language model's width.

        Args: As in `forward`: the signals with their masks, or the tokens that Beat's `encode` made of them; measured
            numbers; and `output_hidden_states`, `output_attentions` for those of Beat's encoder, which signals alone
            have.

        Returns: `pooler_output`, a tuple with (tokens of that ecg, width) for each ECG, its latents and then its
            evidence; `last_hidden_state`, the latents (ecgs, N, D); `hidden_states` and `attentions`.

        Raises: `ValueError` for codes of another shape, or without their gain; `TypeError` for unknown keywords.
        """
        refuse_unknown(kwargs, (*ECG_INPUTS, *RECORDED), "get_ecg_features")
        if ecg_codes is None:
            tokens = self.beat.encode(input_values, ecg_attention_mask, lead_mask, return_dict=True, **kwargs)
        else:
            tokens = self._tokens_of_codes(ecg_codes, ecg_gain)
        features, present = self.signal_projector(tokens.latents, tokens.gain), tokens.latent_mask
        if self.config.evidence_tokens:
            evidence = self.project_evidence(tokens, ecg_numbers).to(features.dtype)
            features = torch.cat([features, evidence], dim=1)
            present = nn.functional.pad(present, (0, evidence.shape[1]), value=True)
        return BaseModelOutputWithPooling(
            last_hidden_state=tokens.latents,
            pooler_output=tuple(latents[recorded] for latents, recorded in zip(features, present)),
            hidden_states=tokens.hidden_states,
            attentions=tokens.attentions,
        )

    def get_image_slots(self, pixel_values: torch.FloatTensor) -> torch.FloatTensor:
        """Pooled ViT features, the projector's input: (images, tiles, 3, height, width) -> (images, tiles * slots, Dv).
        They can be kept while the ViT is frozen.

        Raises: `ValueError` for pixels of another shape.
        """
        return self._see(pixel_values).last_hidden_state

    def _see(self, pixel_values: torch.FloatTensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Runs the ViT on the tiles of pictures, and pools its last layer to slots (images, tiles * slots, Dv)."""
        if pixel_values.ndim != 5:
            raise ValueError(
                f"pixel_values must have shape (images, tiles, 3, height, width), got {tuple(pixel_values.shape)}."
            )
        tiles = pixel_values.flatten(0, 1).to(self.vision_tower.dtype)
        seen = self.vision_tower(tiles, return_dict=True, **kwargs)
        slots = self.image_projector.pool(seen.last_hidden_state).unflatten(0, pixel_values.shape[:2]).flatten(1, 2)
        return BaseModelOutputWithPooling(slots, hidden_states=seen.hidden_states, attentions=seen.attentions)

    @can_return_tuple
    def get_image_features(
        self, pixel_values: torch.FloatTensor | None = None, image_slots: torch.FloatTensor | None = None, **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """Projects pictures to the language model's width.

        Args: As in `forward`: pixels (images, tiles, 3, height, width), or their `get_image_slots`; and
            `output_hidden_states`, `output_attentions` for those of the ViT, which pixels alone have.

        Returns: `pooler_output`, a tuple with (tiles * slots, width) for each picture; `last_hidden_state`, the slots
            (images, tiles * slots, Dv); `hidden_states` and `attentions`, per tile.

        Raises: `ValueError` for pixels of another shape; `TypeError` for unknown keywords.
        """
        refuse_unknown(kwargs, (*IMAGE_INPUTS, *RECORDED), "get_image_features")
        seen = self._see(pixel_values, **kwargs) if image_slots is None else BaseModelOutputWithPooling(image_slots)
        seen.pooler_output = tuple(self.image_projector(seen.last_hidden_state))
        return BaseModelOutputWithPooling(**seen)

    def _encode(
        self,
        encoded: dict[str, BaseModelOutputWithPooling] | None,
        input_values=None,
        ecg_attention_mask=None,
        lead_mask=None,
        ecg_codes=None,
        ecg_gain=None,
        ecg_numbers=None,
        pixel_values=None,
        image_slots=None,
    ) -> dict[str, BaseModelOutputWithPooling]:
        """Features to be scattered into the prompt, by modality: those given as `encoded`, and those of raw inputs."""
        encoded = dict(encoded or {})
        raw = {
            "ecg": input_values is not None or ecg_codes is not None,
            "image": pixel_values is not None or image_slots is not None,
        }
        for modality, given in raw.items():
            if given and modality in encoded:
                raise ValueError(
                    f"Give either {modality}s or their features in mm_encoder_outputs[{modality!r}], not both."
                )
        if raw["ecg"]:
            encoded["ecg"] = self.get_ecg_features(
                input_values, ecg_attention_mask, lead_mask, ecg_codes, ecg_gain, ecg_numbers, return_dict=True
            )
        if raw["image"]:
            encoded["image"] = self.get_image_features(pixel_values, image_slots, return_dict=True)
        return encoded

    def _placeholders(self, input_ids, inputs_embeds, token_id: int) -> torch.Tensor:
        """Finds placeholders by their id, or in prompts without ids by their embedding: (batch, tokens) bool."""
        if input_ids is not None and input_ids.shape[1]:
            return input_ids == token_id
        token = torch.full((), token_id, dtype=torch.long, device=inputs_embeds.device)
        return (inputs_embeds == self.get_input_embeddings()(token)).all(-1)

    def get_placeholder_mask(
        self,
        input_ids: torch.LongTensor | None,
        inputs_embeds: torch.FloatTensor,
        token_id: int,
        features: torch.Tensor,
        modality: str,
    ) -> torch.Tensor:
        """Places in the prompt where features (tokens, width) go, (batch, tokens, 1) bool.

        Raises: an error, if the prompt has another number of placeholders.
        """
        mask = self._placeholders(input_ids, inputs_embeds, token_id)
        torch_compilable_check(
            mask.sum() == features.shape[0],
            f"The prompt has {mask.sum()} {modality} placeholders, but the {modality}s given need {features.shape[0]}. "
            "Let the model's own processor, with as many evidence_tokens, write them, and pass all of its outputs on.",
        )
        return mask.unsqueeze(-1).to(inputs_embeds.device)

    def _absent(self, encoded: dict) -> torch.Tensor | float:
        """Adds 0 x the output of the parts that this batch does not use, so that every trainable parameter has a
        gradient in every process (DDP, ZeRO-3).
        """
        zero, config = 0.0, self.config
        if "ecg" not in encoded:
            latents = torch.zeros(1, 1, config.beat_config.hidden_size, device=self.device)
            zero = zero + 0 * self.signal_projector(latents, torch.ones(1, device=self.device)).sum()
            if config.evidence_tokens:
                zero = zero + 0 * self.evidence_projector.blank(self.device).sum()
        if "image" not in encoded:
            if any(parameter.requires_grad for parameter in self.vision_tower.parameters()):
                size = config.vision_config.image_size
                slots = self.get_image_slots(torch.zeros(1, 1, 3, size, size, device=self.device))
            else:
                slots = torch.zeros(1, 1, config.vision_config.hidden_size, device=self.device)
            zero = zero + 0 * self.image_projector(slots).sum()
        return zero

    def _embed(self, input_ids, inputs_embeds, encoded: dict[str, BaseModelOutputWithPooling]) -> torch.Tensor:
        """Embeds the prompt, (batch, tokens, width), and scatters the features into it."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Give exactly one of input_ids and inputs_embeds.")
        if inputs_embeds is None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
        prompt_embeds = inputs_embeds
        for modality, outputs in encoded.items():
            features = torch.cat(outputs.pooler_output).to(inputs_embeds.device, inputs_embeds.dtype)
            token_id = getattr(self.config, f"{modality}_token_id")
            mask = self.get_placeholder_mask(input_ids, prompt_embeds, token_id, features, modality)
            inputs_embeds = inputs_embeds.masked_scatter(mask, features)
        return inputs_embeds

    @torch.no_grad()
    def get_prompt_embeds(self, input_ids: torch.LongTensor, **kwargs: Any) -> torch.FloatTensor:
        """Embeds prompts as the language model sees them, ECGs and pictures in their places: for a server that runs the
        language model alone.

        Args: The processor's outputs; see `forward`.

        Returns: `torch.FloatTensor` of shape `(batch, tokens, width)`.

        Raises: `TypeError` for unknown keywords.
        """
        refuse_unknown(kwargs, (*ECG_INPUTS, *IMAGE_INPUTS, *TEXT_INPUTS), "get_prompt_embeds")
        raw = {name: kwargs.get(name) for name in (*ECG_INPUTS, *IMAGE_INPUTS)}
        return self._embed(input_ids, None, self._encode(None, **raw))

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        input_values: torch.FloatTensor | None = None,
        ecg_attention_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        ecg_codes: torch.LongTensor | None = None,
        ecg_gain: torch.FloatTensor | None = None,
        ecg_numbers: torch.FloatTensor | None = None,
        pixel_values: torch.FloatTensor | None = None,
        image_slots: torch.FloatTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.LongTensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        **kwargs: Any,
    ) -> HeartcareOutput:
        """
        Args:
            input_ids (`torch.LongTensor` of shape `(batch, tokens)`): The prompt with its placeholders.
            input_values (`torch.FloatTensor` of shape `(ecgs, 12, samples)`): mV at Beat's rate, left-padded; in the
                order of the prompts.
            ecg_attention_mask (`(ecgs, samples)`): 1 for samples, 0 for padding.
            lead_mask (`(ecgs, 12, samples)` or `(ecgs, 12)`): 1 for samples, or whole leads, that were recorded.
            ecg_codes (`torch.LongTensor` of shape `(ecgs, num_levels, latents)`), ecg_gain (`(ecgs,)`, mV): Tokens of
                Beat, instead of the three above.
            ecg_numbers (`torch.FloatTensor` of shape `(ecgs, numbers)`): Measured numbers, as
                `findings_heartcare.numbers_of` returns them; a model with evidence tokens reads them, others do not.
            pixel_values (`torch.FloatTensor` of shape `(images, tiles, 3, height, width)`): Lead tiles of pictures.
            image_slots (`torch.FloatTensor` of shape `(images, tiles * slots, Dv)`): Result of `get_image_slots`,
                instead of pixel_values.
            attention_mask, position_ids, past_key_values, inputs_embeds, logits_to_keep: As for any causal LM.
            labels (`torch.LongTensor` of shape `(batch, tokens)`): -100 everywhere but in the answers.
            mm_encoder_outputs: Results of `get_ecg_features` ("ecg") and `get_image_features` ("image"), instead of the
                raw inputs.

            kwargs: Keywords of the language model's forward, and of the loss.

        Raises: `ValueError` when features and placeholders differ in number, or when raw inputs come together with
            their `mm_encoder_outputs`; `TypeError` for a keyword that is nearly one of these.
        """
        if not torch.compiler.is_compiling():  # names cannot be compared in a traced graph
            refuse_misspelt(kwargs, FORWARD_INPUTS, PASSED_ON, "forward")
        ecg = (input_values, ecg_attention_mask, lead_mask, ecg_codes, ecg_gain, ecg_numbers)
        encoded = self._encode(mm_encoder_outputs, *ecg, pixel_values, image_slots)
        inputs_embeds = self._embed(input_ids, inputs_embeds, encoded)
        if self.training and torch.distributed.is_available() and torch.distributed.is_initialized():
            inputs_embeds = inputs_embeds + self._absent(encoded)

        outputs = self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            logits_to_keep=logits_to_keep,
            return_dict=True,
            **{key: value for key, value in kwargs.items() if key != "num_items_in_batch"},
        )
        vocab_size = self.config.text_config.vocab_size
        return HeartcareOutput(
            loss=None
            if labels is None
            else self.loss_function(outputs.logits, labels, vocab_size=vocab_size, **kwargs),
            logits=outputs.logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            **{f"{modality}_hidden_states": features.pooler_output for modality, features in encoded.items()},
        )

    @torch.no_grad()
    def forecast(
        self,
        input_values: torch.FloatTensor,
        ecg_attention_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        seconds: float = 2.0,
        **kwargs: Any,
    ) -> torch.FloatTensor:
        """Predicts what follows each ECG by Beat's forecaster (signal prediction; the answer `<prediction>` asks for
        it).

        Args: The processor's outputs, of which those that are not the ECG's have no effect; `seconds` to forecast.

        Returns: `torch.FloatTensor` of shape `(ecgs, 12, seconds * sampling_rate)`, mV.

        Raises: `TypeError` for unknown keywords.
        """
        refuse_unknown(kwargs, (*ECG_INPUTS[:3], "ecg_numbers", *IMAGE_INPUTS, *TEXT_INPUTS, "seconds"), "forecast")
        num_samples = round(seconds * self.config.beat_config.sampling_rate)
        return self.beat.forecast(input_values, ecg_attention_mask, lead_mask, num_samples=num_samples)

    @torch.no_grad()
    def score_answers(
        self,
        answers: list[list[list[int]]],
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> list[torch.Tensor]:
        """Scores given answers, such as the options of a closed question, by their log-probability.

        The prompts are read once; their answers are branches that do not see each other.

        Args:
            answers: Token ids of each answer of each prompt, the end token included.
            input_ids, attention_mask (`(batch, tokens)`): Prompts, padded on the left.
            kwargs: ECGs and pictures, as in `forward`.

        Returns: For each prompt a float32 tensor (answers,), the log-probability of each whole answer.

        Raises: `ValueError` for other numbers of prompts, or an empty answer; `TypeError` for unknown keywords.
        """
        refuse_unknown(kwargs, (*ECG_INPUTS, *IMAGE_INPUTS, *TEXT_INPUTS), "score_answers")
        if len(answers) != len(input_ids) or not all(each and all(each) for each in answers):
            raise ValueError(
                f"Expected one list of answers for each of {len(input_ids)} prompts, none of them empty, got "
                f"{len(answers)} lists."
            )
        seen = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        positions = (seen.cumsum(-1) - 1).clamp(min=0)
        prompt = self(
            input_ids=input_ids, attention_mask=seen, position_ids=positions, logits_to_keep=1, use_cache=True, **kwargs
        )

        ids, branch, steps = Branches.of([[]] * len(answers), answers, input_ids.device)
        sees_prompt = seen.bool()[:, None, :].expand(-1, ids.shape[1], -1)
        rest = self(
            input_ids=ids,
            attention_mask=attention_bias(torch.cat([sees_prompt, who_sees_whom(branch)], -1), prompt.logits.dtype),
            position_ids=positions[:, -1:] + 1 + steps,
            past_key_values=prompt.past_key_values,
        ).logits
        # The prompt's last logits predict an answer's first token; after that each token predicts the next.
        predicted = torch.where((steps == 0)[..., None], prompt.logits[:, -1:], rest.roll(1, dims=1))
        scores = predicted.float().log_softmax(-1).gather(-1, ids[..., None])[..., 0]
        return [
            scores.new_zeros(len(own) + 1).index_add_(0, row.clamp(min=0), score)[1:]
            for own, row, score in zip(answers, branch, scores)
        ]

    # Generation encodes ECGs and images once, before the prompt is multiplied for beams or samples.

    def _prepare_multimodal_encoder_kwargs_for_generation(self, model_kwargs: dict) -> dict:
        raw = {name: model_kwargs.pop(name, None) for name in (*ECG_INPUTS, *IMAGE_INPUTS)}
        encoded = self._encode(model_kwargs.pop("mm_encoder_outputs", None), **raw)
        return {**model_kwargs, "mm_encoder_outputs": encoded}

    def _expand_multimodal_outputs(
        self, input_ids, mm_encoder_output: dict, expand_size: int = 1, inputs_embeds=None
    ) -> dict:
        """Repeats each prompt's group of ECGs as a whole: prompt [A, B] times two is [A, B], [A, B] and not [A, A], [B,
        B].
        """
        expanded = {}
        for modality, outputs in mm_encoder_output.items():
            token_id = getattr(self.config, f"{modality}_token_id")
            counts = self._placeholders(input_ids, inputs_embeds, token_id).sum(-1).tolist()
            features = torch.cat(outputs.pooler_output)
            if sum(counts) != len(features):
                raise ValueError(
                    f"The prompts have {sum(counts)} {modality} placeholders, but the {modality}s given need "
                    f"{len(features)}."
                )
            repeated = tuple(group for group in features.split(counts) for _ in range(expand_size))
            expanded[modality] = BaseModelOutputWithPooling(pooler_output=repeated)
        return expanded


# Keywords of `forward`, of which one that is nearly the same is a misspelling.
FORWARD_INPUTS = tuple(
    name for name in signature(HeartcareForConditionalGeneration.forward).parameters if name not in ("self", "kwargs")
)

HeartcareForConditionalGeneration.register_for_auto_class("AutoModel")

__all__ = ["HeartcareForConditionalGeneration", "HeartcareOutput", "HeartcarePreTrainedModel"]
