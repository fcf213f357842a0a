# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""From ECGs, ECG pictures and text to model inputs.

    anything --BeatFeatureExtractor--> input_values, masks, quality, measurements
    picture  --ECGImageProcessor--> twelve lead tiles
    both, and text --HeartcareProcessor--> model inputs

This is the only preprocessing there is: training, benchmark and serving call it, and it is saved with the processor.
"""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
from transformers import AutoConfig, AutoTokenizer, GenerationConfig
from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import MultiModalData, ProcessingKwargs, ProcessorMixin, TextKwargs
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from .configuration_heartcare import (
    CHATML_TEMPLATE,
    ECG_TOKENS,
    LEADS,
    BeatConfig,
    nearest_name,
    refuse_unknown,
)
from .extraction_heartcare import BeatFeatureExtractor, PreparedECG, with_records
from .findings_heartcare import numbers_of, recorded_part
from .image_processing_heartcare import (
    IMAGE_KEYWORDS,
    ECGImageProcessor,
    ECGImageProcessorKwargs,
    checked_layout,
    flat_list,
)
from .measuring_heartcare import measurement_line


class NoKwargs(TypedDict, total=False):
    """Keywords of audio and of videos, which the processor does not take; ProcessorMixin wants entries of both."""


class HeartcareProcessorKwargs(ProcessingKwargs, total=False):
    """Keywords of [`HeartcareProcessor`]: those of ProcessorMixin and [`ECGImageProcessor`], and two of its own."""

    images_kwargs: ECGImageProcessorKwargs
    videos_kwargs: NoKwargs
    audio_kwargs: NoKwargs
    return_quality: bool
    return_measurements: bool
    write_measurements: bool


class HeartcareProcessor(ProcessorMixin):
    r"""
    Turns ECGs, ECG pictures and text into the inputs of [`HeartcareForConditionalGeneration`].

    Inside, an ECG takes ProcessorMixin's audio slot, so that placeholders, truncation checks and assistant masks are
    the library's own.

    Args:
        image_processor (`ECGImageProcessor`), feature_extractor (`BeatFeatureExtractor`), tokenizer: The three parts.
        image_slots_per_tile (`int`): Number of tokens of each lead tile; the model's config has the same.
        write_measurements (`bool`): True writes the measured numbers of each signal behind its tokens, as one short
            line; the model must have learnt to read it.
        evidence_tokens (`int`): Number of placeholders behind those of each ECG for what was found and measured; the
            model's config has the same.
        chat_template (`str`): Jinja template that knows content of the types "ecg" and "image".
    """

    valid_processor_kwargs = HeartcareProcessorKwargs

    def __init__(
        self,
        image_processor: ECGImageProcessor | None = None,
        feature_extractor: BeatFeatureExtractor | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        image_slots_per_tile: int = 4,
        write_measurements: bool = True,
        evidence_tokens: int = 0,
        chat_template: str | None = None,
    ):
        self.image_slots_per_tile, self.write_measurements = image_slots_per_tile, write_measurements
        self.evidence_tokens = evidence_tokens
        for name, token in ECG_TOKENS.items():
            setattr(self, name, getattr(tokenizer, name, token))
        self.audio_token, self.audio_token_id = self.ecg_token, tokenizer.convert_tokens_to_ids(self.ecg_token)
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        super().__init__(image_processor, feature_extractor, tokenizer, chat_template=chat_template)

    @property
    def model_input_names(self) -> list[str]:
        """Names of the processor's outputs, in the order of its parts."""
        return [*super().model_input_names, *(["ecg_numbers"] if self.evidence_tokens else [])]

    @classmethod
    def from_backbones(
        cls,
        text: str,
        vision: Any,
        beat: Any,
        image_slots_per_tile: int = 4,
        chat_template: str | None = None,
        **kwargs: Any,
    ) -> "HeartcareProcessor":
        """Makes the processor of the model that `HeartcareForConditionalGeneration.from_backbones` builds from
        these parts.

        Args:
            text, vision, beat, image_slots_per_tile, kwargs: As there; `vision` and `beat` may also be configurations.
            chat_template: Defaults to ChatML with ECGs and images.
        """
        tokenizer = AutoTokenizer.from_pretrained(text, extra_special_tokens=ECG_TOKENS, padding_side="left", **kwargs)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        vision, beat = (
            config_class.from_pretrained(part, **kwargs)
            if isinstance(part, (str, Path))
            else getattr(part, "config", part)
            for part, config_class in ((vision, AutoConfig), (beat, BeatConfig))
        )
        vision = getattr(vision, "vision_config", vision)
        return cls(
            image_processor=ECGImageProcessor(size={"height": vision.image_size, "width": vision.image_size}),
            feature_extractor=BeatFeatureExtractor(
                sampling_rate=beat.sampling_rate, samples_per_latent=beat.samples_per_latent
            ),
            tokenizer=tokenizer,
            image_slots_per_tile=image_slots_per_tile,
            chat_template=chat_template or CHATML_TEMPLATE,
        )

    @classmethod
    def _get_arguments_from_pretrained(cls, pretrained_model_name_or_path, processor_dict=None, **kwargs):
        # The parts are known, so that no remote code has to be trusted for them.
        parts = ECGImageProcessor, BeatFeatureExtractor, AutoTokenizer
        return [part.from_pretrained(pretrained_model_name_or_path, **kwargs) for part in parts]

    def collate_chats(self, chats: Sequence[list[dict] | Mapping[str, list[dict]]]) -> BatchFeature:
        """Makes a batch for training of finished chats, as a `data_collator` of [`transformers.Trainer`].

        Args:
            chats: Chats whose answers are learnt, each a list of messages as `apply_chat_template` takes them, or a row
                of a data set with such a list under "messages".

        Returns: the model's inputs, and `labels`, int64 (chats, tokens): the tokens of the assistant's messages, and
            -100 everywhere else.

        Raises: `ValueError` when a chat has no assistant's message.
        """
        conversations = [chat["messages"] if isinstance(chat, Mapping) else chat for chat in chats]
        for number, conversation in enumerate(conversations):
            if not any(message["role"] == "assistant" for message in conversation):
                raise ValueError(f"Chat {number} has no message of the assistant, so that there is nothing to learn.")
        options = {"tokenize": True, "return_dict": True, "return_tensors": "pt", "return_assistant_tokens_mask": True}
        batch = self.apply_chat_template(conversations, **options, processor_kwargs={"padding": True})
        batch["labels"] = batch["input_ids"].masked_fill(batch.pop("assistant_masks") == 0, -100)
        return batch

    def apply_chat_template(self, conversation: list, *args: Any, **kwargs: Any) -> Any:
        """Renders chats as `ProcessorMixin.apply_chat_template` does, with ECGs and pictures in their content.

        Args:
            conversation: A chat or a list of chats. Content may hold `{"type": "ecg", "path": ...}`, `{"type": "ecg",
                "signal": array, "sampling_rate": 500, "lead_names": [...], "units": "mV"}` and `{"type": "image",
                ...}`.
            kwargs: As there. `processor_kwargs` are keywords of a call of the processor, such as `layout`.

        Raises: `TypeError` for a misspelt keyword; `ValueError` when a text contains a placeholder token itself, or
            when content has another type and no text.
        """
        # A template may have variables of its own, so only what looks like a misspelt keyword is refused.
        foreign = [name for name in kwargs if name not in TEMPLATE_KEYWORDS]
        misspelt = {name: None for name in foreign if nearest_name(name, TEMPLATE_KEYWORDS, cutoff=0.8)}
        refuse_unknown(misspelt, TEMPLATE_KEYWORDS, "apply_chat_template")
        self._check_content(conversation)
        return super().apply_chat_template(conversation, *args, **kwargs)

    def _check_content(self, conversation):
        placeholders = [token for name, token in ECG_TOKENS.items() if name != "prediction_token"]
        is_batch = conversation and isinstance(conversation[0], (list, tuple))
        for message in (message for chat in (conversation if is_batch else [conversation]) for message in chat):
            content = message.get("content") or []
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
            for part in parts:
                if part.get("type") not in CONTENT_TYPES and not isinstance(part.get("text"), str):
                    raise ValueError(
                        f"A {message['role']} message has content of the type {part.get('type')!r}; expected text, or "
                        f"content of one of the types {', '.join(CONTENT_TYPES)}."
                    )
            texts = [part.get("text") or "" for part in parts]
            if tokens := sorted({token for token in placeholders for text in texts if token in text}):
                raise ValueError(
                    f"A {message['role']} message contains {tokens} as text. These tokens stand for recordings: give "
                    'an ECG or image as content, {"type": "ecg", "path": ...}, or remove the token from the text.'
                )

    def _multimodal_inputs_from_conversations(self, conversations, *args, **kwargs):
        images, videos, audio, others = super()._multimodal_inputs_from_conversations(conversations, *args, **kwargs)
        messages = (message for conversation in conversations for message in conversation)
        parts = [
            part for message in messages if isinstance(message.get("content"), list) for part in message["content"]
        ]
        if ecgs := [part for part in parts if part.get("type") == "ecg"]:
            others = {**others, "ecg": ecgs}
        return images, videos, audio, others

    def __call__(
        self,
        images: Any = None,
        text: str | list[str] | None = None,
        ecg: Any = None,
        sampling_rate: float | Sequence[float] | None = None,
        lead_names: Sequence[str] | Sequence[Sequence[str]] | None = None,
        units: str | Sequence[str] | None = None,
        **kwargs: Unpack[HeartcareProcessorKwargs],
    ) -> BatchFeature:
        """Turns ECGs, images and text into `input_ids`, `attention_mask`, and `input_values`, `ecg_attention_mask`,
        `lead_mask` (see [`BeatFeatureExtractor`]), and `pixel_values` (see [`ECGImageProcessor`]); for a model with
        evidence tokens also `ecg_numbers`, the measured numbers, float32 (ecgs, numbers).

        Args:
            images, ecg: As those two take them, in the order of their placeholders in the texts.
            text: Prompts with one `<|ecg|>` for each ECG and one `<|image|>` for each image.
            sampling_rate (Hz), lead_names, units: Stated for ECGs that do not say it themselves.
            kwargs: Keywords of the tokenizer (padding, return_tensors, ...) and of the image processor (layout, size,
                ...), by themselves or in the dicts `text_kwargs` and `images_kwargs`; `return_quality`, False by
                default, which adds `ecg_quality`, a list of quality records with named warnings, and
                `return_measurements`, which adds `ecg_measurements`, a list of dicts. The model takes neither.
                `write_measurements` is the processor's own, unless it is given here.

        Raises: `TypeError` for unknown keywords; `ValueError`, `FileNotFoundError` and `ImportError` that say what
            came, what was expected, and what to do.
        """
        for name in ("audio", "videos"):  # apply_chat_template always passes both
            if kwargs.pop(name, None) is not None:
                raise TypeError(f"HeartcareProcessor takes no {name}; give ECGs as ecg=, and pictures as images=.")
        # The pipeline "image-text-to-text" of transformers hands its settings of generation to the processor, too.
        kwargs = {name: value for name, value in kwargs.items() if name not in GENERATION_SETTINGS}
        self._check_keywords(kwargs)
        wanted = [kwargs.pop(name, False) for name in ("return_quality", "return_measurements")]
        written = kwargs.pop("write_measurements", self.write_measurements)
        prepared = audio = None
        if ecg is not None:
            records = self.feature_extractor.fetch_ecg(ecg, sampling_rate, lead_names, units)
            measure = bool(wanted[1] or written or self.evidence_tokens)
            prepared = [self.feature_extractor.prepare(record, measure=measure) for record in records]
            audio = [(record, measurement_line(record.measurements) if written else "") for record in prepared]
        features = super().__call__(images=images, text=text, audio=audio, **kwargs)
        stated = {"sampling_rate": sampling_rate, "lead_names": lead_names, "units": units}
        if ecg is None and (alone := [name for name, value in stated.items() if value is not None]):
            raise ValueError(f"{', '.join(alone)} say something of an ECG, but no ecg= is given.")
        return with_records(features, prepared or [], *wanted)

    def _check_keywords(self, kwargs):
        refuse_unknown(kwargs, PROCESSOR_KEYWORDS, type(self).__name__)
        for group, known in GROUPED_KEYWORDS.items():
            refuse_unknown(kwargs.get(group) or {}, known, f"{group} of {type(self).__name__}")
        for keywords in (kwargs, kwargs.get("images_kwargs") or {}):
            if keywords.get("layout") is not None:
                checked_layout(keywords["layout"])

    # The hooks of ProcessorMixin, in the order in which a call comes to them.

    def prepare_inputs_layout(
        self, images: Any = None, text: Any = None, videos: Any = None, audio: Any = None, **kwargs: Any
    ) -> tuple[Any, Any, Any, Any]:
        """Lays out pictures and texts as the library does; ECGs are prepared already."""
        images, text, videos, _ = super().prepare_inputs_layout(images=images, text=text, videos=videos, **kwargs)
        return images, text, videos, audio

    def validate_inputs(
        self, images: Any = None, text: Any = None, videos: Any = None, audio: Any = None, **kwargs: Any
    ) -> None:
        """Checks that the texts have a placeholder for each ECG and each picture.

        Raises: `ValueError`.
        """
        if text is not None and all(isinstance(prompt, str) for prompt in text):
            self._check_count(text, self.ecg_token, "ECG", len(audio or []))
            self._check_count(text, self.image_token, "image", len(flat_list(images)) if images is not None else 0)
        super().validate_inputs(images=images, text=text, videos=videos, audio=audio, **kwargs)

    @staticmethod
    def _check_count(text: list[str], token: str, kind: str, given: int):
        wanted = sum(prompt.count(token) for prompt in text)
        if wanted != given:
            raise ValueError(
                f"The text has {wanted} {token} placeholders but {given} {kind}s were given; the number of {token} "
                f"tokens in the prompts should be the same as the number of {kind}s."
            )

    def replace_image_token(self, image_inputs: dict, image_idx: int, **kwargs: Any) -> str:
        """Returns the placeholders of one picture."""
        return self.image_token * self.tokens_per_image

    def _get_num_multimodal_tokens(
        self, image_sizes: Sequence[Sequence[int]] | None = None, **kwargs: Any
    ) -> MultiModalData:
        """Returns the numbers of placeholders and of rows of `pixel_values` for pictures of these sizes (height,
        width), which vLLM plans its memory with; 0 for a size that is refused, so that vLLM tries no such picture.
        """
        if image_sizes is None:
            return MultiModalData()
        taken = [self.image_processor.takes(width, height) for height, width in image_sizes]
        return MultiModalData(
            num_image_tokens=[self.tokens_per_image * each for each in taken],
            num_image_patches=[int(each) for each in taken],
        )

    @property
    def tokens_per_image(self) -> int:
        """Number of placeholders of one picture."""
        return len(LEADS) * self.image_slots_per_tile

    def _process_audio(self, audio: list[tuple[PreparedECG, str]], **kwargs):
        features = self.feature_extractor.pad([ecg.signal for ecg, _ in audio], [ecg.lead_mask for ecg, _ in audio])
        if self.evidence_tokens:
            rate = self.feature_extractor.sampling_rate
            features["ecg_numbers"] = np.stack(
                [numbers_of(ecg.measurements, *recorded_part(ecg.signal, ecg.lead_mask), rate) for ecg, _ in audio]
            )
        return features, [self.ecg_text(ecg.signal.shape[-1], line) for ecg, line in audio]

    def ecg_text(self, num_samples: int, line: str) -> str:
        """Returns what stands for one ECG in a prompt: its placeholders, and a line of measured numbers behind them."""
        return self.ecg_token * (self.feature_extractor.num_latents(num_samples) + self.evidence_tokens) + line

    def _check_special_mm_tokens(self, text, text_inputs, modalities):
        try:
            super()._check_special_mm_tokens(text, text_inputs, modalities)
        except ValueError as error:
            raise ValueError(str(error).replace("`audio`", "`ecg`")) from None

    def answer_ids(self, options: list[str]) -> list[list[int]]:
        """Returns the token ids of each option of a closed question as a whole answer, a sentence with its end token,
        as `HeartcareForConditionalGeneration.score_answers` takes them for one prompt.

        Args:
            options: Texts, none of them empty.
        """
        end = self.tokenizer.eos_token
        sentences = [f"{option[0].upper()}{option[1:].rstrip('.')}.{end}" for option in options]
        return self.tokenizer(sentences, add_special_tokens=False)["input_ids"]


# Types of content that need no text beside them; "image_url" is the form of the OpenAI API.
CONTENT_TYPES = ("text", "ecg", "image", "image_url")
# The keywords that may be given in a dict, by the name of the dict.
GROUPED_KEYWORDS = {
    "text_kwargs": tuple(TextKwargs.__annotations__),
    "images_kwargs": (*IMAGE_KEYWORDS, "return_tensors"),
    "common_kwargs": ("return_tensors",),
}
PROCESSOR_KEYWORDS = (
    *("images", "text", "ecg", "sampling_rate", "lead_names", "units", "common_kwargs"),
    *(HeartcareProcessorKwargs.__annotations__.keys() - {"audio_kwargs", "videos_kwargs"}),
    *(*TextKwargs.__annotations__, *IMAGE_KEYWORDS),
)
GENERATION_SETTINGS = frozenset(GenerationConfig().to_dict()) - frozenset(PROCESSOR_KEYWORDS)
TEMPLATE_KEYWORDS = tuple(
    name for name in inspect.signature(ProcessorMixin.apply_chat_template).parameters if name not in ("self", "kwargs")
)

HeartcareProcessor.register_for_auto_class()

__all__ = ["BeatFeatureExtractor", "HeartcareProcessor", "PreparedECG"]
