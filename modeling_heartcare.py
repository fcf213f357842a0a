# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""HeartcareGPT with its causal language model: `base_heartcare` reads, and this writes, scores and forecasts."""

from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer
from transformers.cache_utils import Cache
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPooling, CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import logging
from transformers.utils.generic import can_return_tuple

from .base_heartcare import PASSED_ON, HeartcareModel
from .branching_heartcare import Branches, attention_bias, who_sees_whom
from .configuration_heartcare import (
    AUTO_CLASSES,
    CUSTOM_PIPELINES,
    ECG_TOKENS,
    HeartcareConfig,
    refuse_misspelt,
    refuse_unknown,
)
from .heads_heartcare import ECG_INPUTS, IMAGE_INPUTS, TEXT_INPUTS

# Imported for its effects: the task "ecg-interpretation" is known wherever the model is, and the file comes along where
# transformers copies or downloads the model, since it finds those files by their relative imports.
from .pipeline_heartcare import ECGInterpretationPipeline  # noqa: F401
from .tokenization_beat import BeatModel

logger = logging.get_logger(__name__)


@dataclass
class HeartcareOutput(CausalLMOutputWithPast):
    """Output of a causal language model of transformers, with what was scattered into the prompt.

    ecg_hidden_states, image_hidden_states (`tuple` of `(tokens, width)`): Features, one entry per ECG and per image.
    """

    ecg_hidden_states: tuple[torch.FloatTensor, ...] | None = None
    image_hidden_states: tuple[torch.FloatTensor, ...] | None = None


class HeartcareForConditionalGeneration(HeartcareModel, GenerationMixin):
    """Reads any number of ECGs and ECG pictures, interleaved with text, and writes text."""

    base_model_prefix = "language_model"  # generation looks here for layers to exit early from

    @classmethod
    def _from_config(cls, config: HeartcareConfig, **kwargs: Any) -> HeartcareModel:
        """Makes a new model. vLLM asks `AutoModel` for one whose language model has vLLM's attention, and puts its own
        head on the hidden states, which it loads from the checkpoint: it is given a [`HeartcareModel`].
        """
        if config.text_config._attn_implementation != "vllm":
            return super()._from_config(config, **kwargs)
        model = HeartcareModel._from_config(config, **kwargs)
        model._keys_to_ignore_on_load_unexpected = set()  # vLLM would leave them out of its own head, too
        return model

    def _make_language_model(self, config: HeartcareConfig) -> PreTrainedModel:
        return AutoModelForCausalLM.from_config(config.text_config)

    def _not_loaded(self) -> set[str]:
        return set()

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

    def get_output_embeddings(self) -> nn.Module:
        """Returns the language model's head."""
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, value: nn.Module) -> None:
        """Replaces the language model's head."""
        self.language_model.set_output_embeddings(value)

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
        """Reads prompts with their ECGs and pictures, and scores each next token.

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
        raw = (input_values, ecg_attention_mask, lead_mask, ecg_codes, ecg_gain, ecg_numbers, pixel_values, image_slots)
        inputs_embeds, features = self._read(input_ids, inputs_embeds, mm_encoder_outputs, *raw)
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
            **features,
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

        Args: The processor's outputs, where those of pictures and text have no effect; and `seconds` to forecast.

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
        if not encoded:
            logger.warning_once(
                "The prompt has no ECG: what follows is of the language model alone, which was taught to speak of ECGs "
                "that it is given, and is no source of knowledge. Give an ECG."
            )
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


# Keywords of `forward`; one that is nearly the same as one of these is a misspelling.
FORWARD_INPUTS = tuple(
    name for name in signature(HeartcareForConditionalGeneration.forward).parameters if name not in ("self", "kwargs")
)

HeartcareForConditionalGeneration.register_for_auto_class("AutoModel")

__all__ = ["HeartcareForConditionalGeneration", "HeartcareOutput"]
