# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""HeartcareGPT up to the hidden states of its language model: Beat and a ViT, and two projectors (DSPA, paper section
3.3).

ECG      -> Beat (frozen)  -> quantized latents -----------> Psi_sig --+
         -> findings head, measured numbers -> evidence -> projector --+-> scattered into the prompt -> hidden states
picture  -> ViT, per lead  -> slots of a tile -------------> Psi_img --+
"""

import copy
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM
from transformers.cache_utils import Cache
from transformers.generation import GenerationConfig
from transformers.modeling_outputs import BaseModelOutputWithPast, BaseModelOutputWithPooling
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import GENERATION_CONFIG_NAME, cached_file, torch_compilable_check
from transformers.utils.generic import TransformersKwargs, can_return_tuple

from .adapting_heartcare import load_whole
from .configuration_heartcare import HeartcareConfig, refuse_misspelt, refuse_unknown
from .findings_heartcare import FindingsHead, PictureHead
from .heads_heartcare import ECG_INPUTS, HEADS, IMAGE_INPUTS, TEXT_INPUTS, HeadsMixin
from .projectors_heartcare import EvidenceProjector, ImageProjector, SignalProjector
from .tokenization_beat import RECORDED, BeatModel, StrictLoadingMixin
from .understanding_heartcare import QuestionReader

HUB_KEYWORDS = ("subfolder", "revision", "token", "cache_dir", "local_files_only", "force_download")

# Keywords of the language model and of the loss, which `forward` hands on.
PASSED_ON = (*TransformersKwargs.__annotations__, "use_cache", "cache_position", "token_type_ids", "mm_token_type_ids")


@dataclass
class HeartcareModelOutput(BaseModelOutputWithPast):
    """Output of a language model of transformers without its head, with what was scattered into the prompt.

    ecg_hidden_states, image_hidden_states (`tuple` of `(tokens, width)`): Features, one entry per ECG and per image.
    """

    ecg_hidden_states: tuple[torch.FloatTensor, ...] | None = None
    image_hidden_states: tuple[torch.FloatTensor, ...] | None = None


class HeartcarePreTrainedModel(StrictLoadingMixin, PreTrainedModel):
    """Base class of HeartcareGPT: its place in transformers."""

    config: HeartcareConfig
    base_model_prefix = ""
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


class HeartcareModel(HeadsMixin, HeartcarePreTrainedModel):
    """Reads any number of ECGs and ECG pictures, interleaved with text, and gives the hidden states of the language
    model, for servers and users that have a head of their own. It loads the checkpoints of
    [`HeartcareForConditionalGeneration`], whose parts have the same names here.
    """

    def __init__(self, config: HeartcareConfig):
        super().__init__(config)
        # Codes carry no gradient, so Beat cannot learn here, and DDP would wait for its gradients.
        self.beat = BeatModel._from_config(config.beat_config).requires_grad_(False)
        self.vision_tower = AutoModel.from_config(config.vision_config)
        self.signal_projector = SignalProjector(config)
        self.image_projector = ImageProjector(config)
        self.language_model = self._make_language_model(config)
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
        # `post_init` gathered these from the parts. Beat's own, which it is loaded with out of a whole checkpoint, name
        # all other parts.
        self._keys_to_ignore_on_load_unexpected = self._not_loaded()

    def _make_language_model(self, config: HeartcareConfig) -> PreTrainedModel:
        """Makes the language model without its head, and with the names that its parts have in the checkpoint."""
        language_model = AutoModelForCausalLM.from_config(config.text_config)
        language_model.set_output_embeddings(nn.Identity())
        language_model.all_tied_weights_keys = {}
        return language_model

    def _not_loaded(self) -> set[str]:
        """Returns regular expressions of the weights in a checkpoint that have no place here: those of the head."""
        head = self.language_model.get_output_embeddings()
        name = next(name for name, part in self.language_model.named_modules() if part is head)
        return {rf"^language_model\.{name}\."}

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
        model.config.name_or_path = f"{repository}/{subfolder}".strip("/")
        if model.can_generate():
            model.generation_config = settings
        return loaded

    def freeze_towers(self) -> None:
        """Freezes the ViT, as Beat always is; the projectors and the language model go on learning (stages 2 and 3 of
        the paper).
        """
        self.vision_tower.requires_grad_(False)

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
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        **kwargs: Any,
    ) -> HeartcareModelOutput:
        """Reads prompts with their ECGs and pictures.

        Args: As those of [`HeartcareForConditionalGeneration`], without `labels` and `logits_to_keep`.

        Returns: `last_hidden_state`, (batch, tokens, width), and what the language model gives besides.

        Raises: `ValueError` and `TypeError` as there.
        """
        if not torch.compiler.is_compiling():  # names cannot be compared in a traced graph
            refuse_misspelt(kwargs, FORWARD_INPUTS, PASSED_ON, "forward")
        raw = (input_values, ecg_attention_mask, lead_mask, ecg_codes, ecg_gain, ecg_numbers, pixel_values, image_slots)
        inputs_embeds, features = self._read(input_ids, inputs_embeds, mm_encoder_outputs, *raw)
        outputs = self.get_decoder()(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            return_dict=True,
            **kwargs,
        )
        return HeartcareModelOutput(
            last_hidden_state=outputs.last_hidden_state,
            past_key_values=outputs.get("past_key_values"),
            hidden_states=outputs.get("hidden_states"),
            attentions=outputs.get("attentions"),
            **features,
        )

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

    def _read(
        self, input_ids, inputs_embeds, encoded: dict[str, BaseModelOutputWithPooling] | None, *raw: torch.Tensor | None
    ) -> tuple[torch.Tensor, dict[str, tuple[torch.FloatTensor, ...]]]:
        """Returns the embedded prompt, and the features that were scattered into it by their names in the outputs.

        Args: As those of `_embed` and `_encode`; the raw inputs in the order of the latter.
        """
        encoded = self._encode(encoded, *raw)
        inputs_embeds = self._embed(input_ids, inputs_embeds, encoded)
        if self.training and torch.distributed.is_available() and torch.distributed.is_initialized():
            inputs_embeds = inputs_embeds + self._absent(encoded)
        return inputs_embeds, {f"{name}_hidden_states": features.pooler_output for name, features in encoded.items()}

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
        """Returns the features to scatter into the prompt, by modality: those in `encoded`, and those of raw inputs."""
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

    def get_image_slots(self, pixel_values: torch.FloatTensor) -> torch.FloatTensor:
        """Returns pooled ViT features, the projector's input: (images, tiles, 3, height, width) -> (images, tiles *
        slots, Dv). They can be kept while the ViT is frozen.

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

    def get_placeholder_mask(
        self,
        input_ids: torch.LongTensor | None,
        inputs_embeds: torch.FloatTensor,
        token_id: int,
        features: torch.Tensor,
        modality: str,
    ) -> torch.Tensor:
        """Finds the places in the prompt where features (tokens, width) go: bool (batch, tokens, 1).

        Raises: an error, if the prompt has another number of placeholders.
        """
        mask = self._placeholders(input_ids, inputs_embeds, token_id)
        torch_compilable_check(
            mask.sum() == features.shape[0],
            f"The prompt has {mask.sum()} {modality} placeholders, but the {modality}s given need {features.shape[0]}. "
            "Let the model's own processor, with as many evidence_tokens, write them, and pass all of its outputs on.",
        )
        return mask.unsqueeze(-1).to(inputs_embeds.device)

    def _placeholders(self, input_ids, inputs_embeds, token_id: int) -> torch.Tensor:
        """Finds placeholders by their id, or in prompts without ids by their embedding: (batch, tokens) bool."""
        if input_ids is not None and input_ids.shape[1]:
            return input_ids == token_id
        token = torch.full((), token_id, dtype=torch.long, device=inputs_embeds.device)
        return (inputs_embeds == self.get_input_embeddings()(token)).all(-1)

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

    def get_input_embeddings(self) -> nn.Module:
        """Returns the language model's token embeddings."""
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the language model's token embeddings."""
        self.language_model.set_input_embeddings(value)

    def get_decoder(self) -> nn.Module:
        """Returns the language model without its head."""
        return self.language_model.get_decoder()


# Keywords of `forward`; one that is nearly the same as one of these is a misspelling.
FORWARD_INPUTS = tuple(name for name in signature(HeartcareModel.forward).parameters if name not in ("self", "kwargs"))

__all__ = ["PASSED_ON", "HeartcareModel", "HeartcareModelOutput", "HeartcarePreTrainedModel"]
