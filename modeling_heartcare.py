# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""HeartcareGPT: Beat and a ViT, two projectors (DSPA, paper section 3.3), and a causal language model as child.

ECG      -> Beat (frozen)  -> quantized latents -> Psi_sig --+
                                                             +-> scattered into the prompt's embeddings -> causal LM
picture  -> ViT, per lead  -> slots of a tile   -> Psi_img --+
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPooling, CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import torch_compilable_check
from transformers.utils.generic import can_return_tuple

from .configuration_heartcare import ABSENT, AUTO_CLASSES, CUSTOM_PIPELINES, ECG_TOKENS, HeartcareConfig
from .tokenization_beat import BeatModel, StrictLoadingMixin

if TYPE_CHECKING:
    # Never executed. transformers finds the files that it copies and downloads with a model by scanning its relative
    # imports, and nothing else would bring the pipeline along.
    from .pipeline_heartcare import ECGInterpretationPipeline  # noqa: F401

ECG_INPUTS = ("input_values", "ecg_attention_mask", "lead_mask", "ecg_codes", "ecg_gain")
IMAGE_INPUTS = ("pixel_values", "image_slots")


@dataclass
class HeartcareOutput(CausalLMOutputWithPast):
    """Output of a causal language model of transformers, with what was scattered into the prompt.

    ecg_hidden_states, image_hidden_states (`tuple` of `(tokens, width)`): One entry per ECG and per image.
    """

    ecg_hidden_states: tuple[torch.FloatTensor, ...] | None = None
    image_hidden_states: tuple[torch.FloatTensor, ...] | None = None


class SignalProjector(nn.Module):
    """Psi_sig: quantized latents of Beat -> LM width. The gain comes along, since the latents are in units of it."""

    def __init__(self, config: HeartcareConfig):
        super().__init__()
        width = config.text_config.hidden_size
        self.norm = nn.LayerNorm(config.beat_config.hidden_size)
        self.linear_1 = nn.Linear(config.beat_config.hidden_size, width)
        self.gain = nn.Linear(1, width, bias=False)
        self.act = ACT2FN[config.projector_hidden_act]
        self.linear_2 = nn.Linear(width, width)

    def forward(self, latents: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        """(ecgs, N, D), (ecgs,) mV -> (ecgs, N, width)."""
        dtype = self.linear_1.weight.dtype
        octaves = torch.log2(gain / 0.2)[:, None, None].to(dtype)  # 0.2 mV is a usual RMS, so the values stay around 0
        return self.linear_2(self.act(self.linear_1(self.norm(latents.to(dtype))) + self.gain(octaves)))


class ImageProjector(nn.Module):
    """Psi_img: the patches of a lead tile -> a few slots along its time axis -> LM width."""

    def __init__(self, config: HeartcareConfig):
        super().__init__()
        width = config.text_config.hidden_size
        self.grid = config.vision_config.image_size // config.vision_config.patch_size
        self.slots = config.image_slots_per_tile
        self.norm = nn.LayerNorm(config.vision_config.hidden_size)
        self.linear_1 = nn.Linear(config.vision_config.hidden_size, width)
        self.act = ACT2FN[config.projector_hidden_act]
        self.linear_2 = nn.Linear(width, width)

    def pool(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(tiles, patches, Dv) -> (tiles, slots, Dv). Tokens before the patches, such as a CLS token, are left out."""
        patches = hidden_states[:, -(self.grid**2) :].transpose(1, 2).unflatten(2, (self.grid, self.grid))
        return nn.functional.adaptive_avg_pool2d(patches, (1, self.slots)).flatten(2).transpose(1, 2)

    def forward(self, slots: torch.Tensor) -> torch.Tensor:
        """(..., Dv) -> (..., width)."""
        return self.linear_2(self.act(self.linear_1(self.norm(slots.to(self.linear_1.weight.dtype)))))


class HeartcarePreTrainedModel(StrictLoadingMixin, PreTrainedModel):
    config: HeartcareConfig
    base_model_prefix = "model"
    input_modalities = ("image", "text")
    supports_gradient_checkpointing = True
    _skip_keys_device_placement = ["past_key_values"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True


class HeartcareForConditionalGeneration(HeartcarePreTrainedModel, GenerationMixin):
    """Reads any number of ECGs and ECG pictures, interleaved with text, and writes text."""

    def __init__(self, config: HeartcareConfig):
        super().__init__(config)
        self.beat = BeatModel._from_config(config.beat_config)
        self.vision_tower = AutoModel.from_config(config.vision_config)
        self.signal_projector = SignalProjector(config)
        self.image_projector = ImageProjector(config)
        self.language_model = AutoModelForCausalLM.from_config(config.text_config)
        self._can_compile_fullgraph = (
            self.language_model._can_compile_fullgraph
        )  # decoding is the language model's alone
        self.post_init()

    @classmethod
    def from_backbones(
        cls, text, vision, beat, image_slots_per_tile: int = 4, **kwargs
    ) -> "HeartcareForConditionalGeneration":
        """A new model out of pretrained parts; the projectors are fresh. `HeartcareProcessor.from_backbones` makes its
        processor.

        Args:
            text (`str`): Name or folder of any causal LM with its tokenizer. The ECG tokens are added, and the
                embeddings resized where they have too few rows.
            vision (`str` or `PreTrainedModel`): Name or folder of a vision tower, of a dual model that has one, or of a
                HeartcareGPT repository (with `trust_remote_code=True`), or the tower.
            beat (`str` or `BeatModel`): Name or folder of a Beat or HeartcareGPT repository, or the tokenizer itself.
            image_slots_per_tile (`int`): Tokens of each lead tile of a picture.
            kwargs: For the `from_pretrained` of all parts: dtype, revision, token, ...
        """
        hub = {key: kwargs[key] for key in ("revision", "token") if key in kwargs}
        tokenizer = AutoTokenizer.from_pretrained(text, extra_special_tokens=ECG_TOKENS, **hub)  # as the processor does
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

    def save_pretrained(self, save_directory, **kwargs):
        """As `PreTrainedModel.save_pretrained`; every auto class of the model, and its pipeline, are written into the
        configuration.
        """
        this = f"{type(self).__module__.split('.')[-1]}.{type(self).__name__}"
        self.config.auto_map = {name: this for name in AUTO_CLASSES}
        self.config.custom_pipelines = CUSTOM_PIPELINES
        super().save_pretrained(save_directory, **kwargs)

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module):
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, value: nn.Module):
        self.language_model.set_output_embeddings(value)

    def get_decoder(self) -> nn.Module:
        return self.language_model.get_decoder()

    def freeze_towers(self):
        """Freezes Beat and the ViT; the projectors and the language model go on learning (stages 2 and 3 of the paper)."""
        self.beat.requires_grad_(False)
        self.vision_tower.requires_grad_(False)

    @can_return_tuple
    def get_ecg_features(
        self,
        input_values: torch.FloatTensor | None = None,
        ecg_attention_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        ecg_codes: torch.LongTensor | None = None,
        ecg_gain: torch.FloatTensor | None = None,
        **kwargs,
    ) -> BaseModelOutputWithPooling:
        """ECGs -> `pooler_output`, a tuple with (latents of that ecg, width) for each.

        Args: as in `forward`: the signals with their masks, or the tokens that Beat's `encode` made of them.

        Raises: `ValueError` for codes of another shape, or without their gain.
        """
        if ecg_codes is None:
            tokens = self.beat.encode(input_values, ecg_attention_mask, lead_mask)
            latents, mask, ecg_gain = tokens.latents, tokens.latent_mask, tokens.gain
        else:
            levels = self.config.beat_config.num_levels
            if (
                ecg_codes.ndim != 3
                or ecg_codes.shape[1] != levels
                or ecg_gain is None
                or ecg_gain.shape != ecg_codes.shape[:1]
            ):
                given = None if ecg_gain is None else tuple(ecg_gain.shape)
                raise ValueError(
                    f"ecg_codes must have shape (ecgs, {levels}, latents), and ecg_gain (ecgs,), got {tuple(ecg_codes.shape)} and {given}; "
                    "Beat's encode gives both."
                )
            latents, mask = self.beat.quantizer.decode(ecg_codes), ecg_codes[:, 0] != ABSENT
        features = self.signal_projector(latents, ecg_gain)
        per_ecg = tuple(each[present] for each, present in zip(features, mask))
        return BaseModelOutputWithPooling(last_hidden_state=latents, pooler_output=per_ecg)

    def get_image_slots(self, pixel_values: torch.FloatTensor) -> torch.FloatTensor:
        """Pictures (images, tiles, 3, height, width) -> (images, tiles * slots, Dv): all that the projector takes of
        them, for keeping while the ViT is frozen.

        Raises: `ValueError` for pixels of another shape.
        """
        if pixel_values.ndim != 5:
            raise ValueError(
                f"pixel_values must have shape (images, tiles, 3, height, width), got {tuple(pixel_values.shape)}."
            )
        hidden_states = self.vision_tower(pixel_values.flatten(0, 1).to(self.vision_tower.dtype)).last_hidden_state
        return self.image_projector.pool(hidden_states).unflatten(0, pixel_values.shape[:2]).flatten(1, 2)

    @can_return_tuple
    def get_image_features(
        self, pixel_values: torch.FloatTensor | None = None, image_slots: torch.FloatTensor | None = None, **kwargs
    ) -> BaseModelOutputWithPooling:
        """Pictures (images, tiles, 3, height, width), or their `get_image_slots` (images, tiles * slots, Dv), ->
        `pooler_output`, a tuple with (tiles * slots, width) for each.

        Raises: `ValueError` for pixels of another shape.
        """
        if image_slots is None:
            image_slots = self.get_image_slots(pixel_values)
        return BaseModelOutputWithPooling(
            last_hidden_state=image_slots, pooler_output=tuple(self.image_projector(image_slots))
        )

    def _encode(self, ecg: dict, image: dict, encoded: dict | None) -> dict[str, BaseModelOutputWithPooling]:
        """What is to be scattered into the prompt, out of the inputs named in `ECG_INPUTS` and `IMAGE_INPUTS`."""
        encoded = dict(encoded or {})
        if ecg["input_values"] is not None or ecg["ecg_codes"] is not None:
            encoded["ecg"] = self.get_ecg_features(**ecg, return_dict=True)
        if image["pixel_values"] is not None or image["image_slots"] is not None:
            encoded["image"] = self.get_image_features(**image, return_dict=True)
        return encoded

    def get_placeholder_mask(
        self, input_ids, inputs_embeds, token_id: int, features: torch.Tensor, what: str
    ) -> torch.Tensor:
        """Where in the prompt the features go, (batch, tokens, 1) bool; raises if their number is another one."""
        if input_ids is None:
            embedding = self.get_input_embeddings()(
                torch.full((), token_id, dtype=torch.long, device=inputs_embeds.device)
            )
            mask = (inputs_embeds == embedding).all(-1)
        else:
            mask = input_ids == token_id
        torch_compilable_check(
            mask.sum() == features.shape[0],
            f"The prompt has {mask.sum()} {what} placeholders, but the {what}s given need {features.shape[0]}. "
            "Let the processor write the placeholders, and pass all of its outputs on.",
        )
        return mask.unsqueeze(-1).to(inputs_embeds.device)

    def _absent(self, encoded: dict) -> torch.Tensor | float:
        """A zero that depends on the parts that a batch has no use for: DDP and ZeRO-3 wait for each part that learns
        in each process.
        """
        zero, config = 0.0, self.config
        if "ecg" not in encoded:
            latents = torch.zeros(1, 1, config.beat_config.hidden_size, device=self.device)
            zero = zero + 0 * self.signal_projector(latents, torch.ones(1, device=self.device)).sum()
        if "image" not in encoded:
            if any(parameter.requires_grad for parameter in self.vision_tower.parameters()):
                size = config.vision_config.image_size
                slots = self.get_image_slots(torch.zeros(1, 1, 3, size, size, device=self.device))
            else:
                slots = torch.zeros(1, 1, config.vision_config.hidden_size, device=self.device)
            zero = zero + 0 * self.image_projector(slots).sum()
        return zero

    def _embed(
        self, input_ids, inputs_embeds, ecg: dict, image: dict, encoded: dict | None
    ) -> tuple[torch.Tensor, dict]:
        """The prompt as the language model sees it, (batch, tokens, width), and what was scattered into it."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Give exactly one of input_ids and inputs_embeds.")
        if inputs_embeds is None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
        encoded = self._encode(ecg, image, encoded)
        prompt_embeds = inputs_embeds
        for what, outputs in encoded.items():
            features = torch.cat(outputs.pooler_output).to(inputs_embeds.device, inputs_embeds.dtype)
            token_id = getattr(self.config, f"{what}_token_id")
            mask = self.get_placeholder_mask(input_ids, prompt_embeds, token_id, features, what)
            inputs_embeds = inputs_embeds.masked_scatter(mask, features)
        return inputs_embeds, encoded

    @torch.no_grad()
    def get_prompt_embeds(self, input_ids: torch.LongTensor, attention_mask=None, **kwargs) -> torch.FloatTensor:
        """Prompts as the language model sees them, ECGs and pictures in their places: for a server that runs the
        language model alone.

        Args: the processor's outputs; see `forward`.

        Returns: `torch.FloatTensor` of shape `(batch, tokens, width)`.
        """
        ecg, image = ({name: kwargs.get(name) for name in names} for names in (ECG_INPUTS, IMAGE_INPUTS))
        return self._embed(input_ids, None, ecg, image, None)[0]

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        input_values: torch.FloatTensor | None = None,
        ecg_attention_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        ecg_codes: torch.LongTensor | None = None,
        ecg_gain: torch.FloatTensor | None = None,
        pixel_values: torch.FloatTensor | None = None,
        image_slots: torch.FloatTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.LongTensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        **kwargs,
    ) -> HeartcareOutput:
        """
        Args:
            input_ids (`torch.LongTensor` of shape `(batch, tokens)`): The prompt with its placeholders.
            input_values (`torch.FloatTensor` of shape `(ecgs, 12, samples)`): mV at Beat's rate, left-padded; in the
                order of the prompts.
            ecg_attention_mask (`(ecgs, samples)`), lead_mask (`(ecgs, 12)`): 1 for what was recorded.
            ecg_codes (`torch.LongTensor` of shape `(ecgs, num_levels, latents)`), ecg_gain (`(ecgs,)`, mV): Tokens of
                Beat, instead of the three above.
            pixel_values (`torch.FloatTensor` of shape `(images, tiles, 3, height, width)`): Lead tiles of pictures.
            image_slots (`torch.FloatTensor` of shape `(images, tiles * slots, Dv)`): Of `get_image_slots`, instead of
                pixel_values.
            attention_mask, position_ids, past_key_values, inputs_embeds, logits_to_keep: As for any causal LM.
            labels (`torch.LongTensor` of shape `(batch, tokens)`): -100 everywhere but in the answers.
            mm_encoder_outputs: Results of `get_ecg_features` ("ecg") and `get_image_features` ("image"), instead of the
                raw inputs.

        Raises: `ValueError` when features and placeholders differ in number.
        """
        ecg = dict(zip(ECG_INPUTS, (input_values, ecg_attention_mask, lead_mask, ecg_codes, ecg_gain)))
        image = dict(zip(IMAGE_INPUTS, (pixel_values, image_slots)))
        inputs_embeds, encoded = self._embed(input_ids, inputs_embeds, ecg, image, mm_encoder_outputs)
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
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=outputs.logits, labels=labels, vocab_size=self.config.text_config.vocab_size, **kwargs
            )
        return HeartcareOutput(
            loss=loss,
            logits=outputs.logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            ecg_hidden_states=encoded["ecg"].pooler_output if "ecg" in encoded else None,
            image_hidden_states=encoded["image"].pooler_output if "image" in encoded else None,
        )

    @torch.no_grad()
    def forecast(
        self,
        input_values: torch.FloatTensor,
        ecg_attention_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        seconds: float = 2.0,
        **kwargs,
    ) -> torch.FloatTensor:
        """What follows each ECG, as Beat's forecaster sees it (signal prediction; the answer `<prediction>` asks for
        it).

        Args: the processor's outputs (others than the ECG's are ignored); `seconds` to forecast.

        Returns: `torch.FloatTensor` of shape `(ecgs, 12, seconds * sampling_rate)`, mV.
        """
        num_samples = round(seconds * self.config.beat_config.sampling_rate)
        return self.beat.forecast(input_values, ecg_attention_mask, lead_mask, num_samples=num_samples)

    @torch.no_grad()
    def score_answers(
        self, answers: list[list[list[int]]], input_ids: torch.LongTensor, attention_mask=None, **kwargs
    ) -> list[torch.Tensor]:
        """How likely the model is to give each of some answers, such as the options of a closed question.

        The prompts are read once; their answers are branches that do not see each other.

        Args:
            answers: For each prompt, the token ids of each of its answers, the end token included.
            input_ids, attention_mask (`(batch, tokens)`): Prompts, padded on the left.
            kwargs: The ECGs and pictures, as in `forward`.

        Returns: for each prompt a float32 tensor (answers,), the log-probability of each whole answer.

        Raises: `ValueError` for other numbers of prompts, or an empty answer.
        """
        if len(answers) != len(input_ids) or not all(each and all(each) for each in answers):
            raise ValueError(
                f"Expected one list of answers for each of {len(input_ids)} prompts, none of them empty, got {len(answers)} lists."
            )
        seen = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        positions = (seen.cumsum(-1) - 1).clamp(min=0)
        prompt = self(
            input_ids=input_ids, attention_mask=seen, position_ids=positions, logits_to_keep=1, use_cache=True, **kwargs
        )

        longest = max(sum(map(len, each)) for each in answers)
        ids, branch, steps = (torch.zeros(len(answers), longest, dtype=torch.long) for _ in range(3))
        for row, each in enumerate(answers):
            n = sum(map(len, each))
            ids[row, :n] = torch.tensor([token for answer in each for token in answer])
            branch[row, :n] = torch.tensor([k for k, answer in enumerate(each, 1) for _ in answer])
            steps[row, :n] = torch.tensor([step for answer in each for step in range(len(answer))])
        ids, branch, steps = (each.to(input_ids.device) for each in (ids, branch, steps))
        own = (branch[:, :, None] == branch[:, None, :]) & torch.ones(
            longest, longest, dtype=torch.bool, device=ids.device
        ).tril()
        sees = torch.cat([seen.bool()[:, None, :].expand(-1, longest, -1), own], dim=-1)[:, None]
        dtype = prompt.logits.dtype
        mask = torch.zeros(sees.shape, dtype=dtype, device=ids.device).masked_fill(~sees, torch.finfo(dtype).min)
        rest = self(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions[:, -1:] + 1 + steps,
            past_key_values=prompt.past_key_values,
        ).logits
        # The first token of an answer is foretold by the prompt, each other one by the token before it.
        foretold = (
            torch.where((steps == 0)[..., None], prompt.logits[:, -1:], rest.roll(1, dims=1)).float().log_softmax(-1)
        )
        scores = foretold.gather(-1, ids[..., None])[..., 0]
        return [
            scores.new_zeros(len(each) + 1).index_add_(0, which, score)[1:]
            for each, which, score in zip(answers, branch, scores)
        ]

    # Generation encodes ECGs and images once, before the prompt is multiplied for beams or samples.

    def _prepare_multimodal_encoder_kwargs_for_generation(self, model_kwargs: dict) -> dict:
        ecg, image = ({name: model_kwargs.pop(name, None) for name in names} for names in (ECG_INPUTS, IMAGE_INPUTS))
        return {
            **model_kwargs,
            "mm_encoder_outputs": self._encode(ecg, image, model_kwargs.pop("mm_encoder_outputs", None)),
        }

    def _expand_multimodal_outputs(
        self, input_ids, mm_encoder_output: dict, expand_size: int = 1, inputs_embeds=None
    ) -> dict:
        """Repeats each prompt's group of ECGs as a whole: prompt [A, B] times two is [A, B], [A, B] and not [A, A], [B,
        B].
        """
        expanded = {}
        for what, outputs in mm_encoder_output.items():
            token_id = getattr(self.config, f"{what}_token_id")
            counts = (input_ids == token_id).sum(-1).tolist()
            features = torch.cat(outputs.pooler_output)
            if sum(counts) != len(features):
                raise ValueError(
                    f"The prompts have {sum(counts)} {what} placeholders, but the {what}s given need {len(features)}."
                )
            repeated = tuple(group for group in features.split(counts) for _ in range(expand_size))
            expanded[what] = BaseModelOutputWithPooling(pooler_output=repeated)
        return expanded


HeartcareForConditionalGeneration.register_for_auto_class("AutoModel")

__all__ = ["HeartcareForConditionalGeneration", "HeartcareOutput", "HeartcarePreTrainedModel"]
