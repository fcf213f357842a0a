# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""The heads of a HeartcareGPT, which read without writing words: findings of ECGs, and what questions ask for.

signal   -> Beat's codes, measured numbers -> findings head -> statements --+--> answers
                                                                         +--projector--> evidence in the prompt
picture  -> slots of the ViT -> picture head -> statements -----------------> answers
question -> reader of questions -> what is asked
"""

from typing import Any

import torch

from .configuration_heartcare import ABSENT, refuse_unknown
from .findings_heartcare import NUMBERS, FindingsHead, FindingsOutput, PictureHead
from .projectors_heartcare import EvidenceProjector
from .tokenization_beat import BeatEncoderOutput
from .understanding_heartcare import QuestionReader

ECG_INPUTS = ("input_values", "ecg_attention_mask", "lead_mask", "ecg_codes", "ecg_gain", "ecg_numbers")
IMAGE_INPUTS = ("pixel_values", "image_slots")
HEADS = ("findings_head", "picture_head", "question_reader")
# Outputs of a processor beside those of ECGs and pictures.
TEXT_INPUTS = ("input_ids", "attention_mask", "position_ids", "mm_token_type_ids", "labels")


class HeadsMixin:
    """Adds the heads to a model that has Beat; see [`HeartcareForConditionalGeneration`]."""

    def train(self, mode: bool = True) -> "HeadsMixin":
        """Sets the mode of the model, except for its heads, which do not change while the language model learns."""
        super().train(mode)
        for name in HEADS:
            if hasattr(self, name):
                getattr(self, name).eval()
        return self

    def take_heads(self, other: "HeadsMixin") -> None:
        """Takes the heads of another HeartcareGPT with the same Beat and the same ViT, and as many tokens of evidence,
        whose projector is new.

        Raises: `ValueError` for one with another Beat.
        """
        config, own = other.config, self.beat.state_dict()
        if any(name not in own or not torch.equal(own[name], each) for name, each in other.beat.state_dict().items()):
            raise ValueError("The heads read the codes of another Beat; make the model with theirs.")
        for name in ("findings_hidden_size", "asked_hidden_size"):
            setattr(self.config, name, getattr(config, name))
        if config.findings:
            self.add_findings_head(config.wordings)
            self.findings_head.load_state_dict(other.findings_head.state_dict())
        if config.picture_hidden_size:
            self.add_picture_head(config.picture_hidden_size)
            self.picture_head.load_state_dict(other.picture_head.state_dict())
        if config.asked:
            self.add_question_reader(config.asked)
            self.question_reader.load_state_dict(other.question_reader.state_dict())
        if config.evidence_tokens:
            self.add_evidence(config.evidence_tokens)

    def add_findings_head(self, wordings: dict[str, str]) -> None:
        """Gives the model a new head for statements, code -> words; `heartcare.training.findings` trains it. A head for
        pictures, and tokens of evidence, stay where the statements do.
        """
        if list(wordings) != list(self.config.wordings):
            for name, size in (("picture_head", "picture_hidden_size"), ("evidence_projector", "evidence_tokens")):
                if getattr(self.config, size):
                    setattr(self.config, size, 0)
                    delattr(self, name)
        self.config.findings = [[code, words] for code, words in wordings.items()]
        self.findings_head = FindingsHead(self.config).to(self.device, self.dtype).requires_grad_(False)

    def add_picture_head(self, hidden_size: int = 96) -> None:
        """Gives the model a new head for the same statements in pictures; `heartcare.training.picture_findings` trains
        it.

        Raises: `ValueError` for a model without a head for findings.
        """
        if not self.config.findings:
            raise ValueError("The head for pictures finds the statements of the head for findings; add one first.")
        self.config.picture_hidden_size = hidden_size
        self.picture_head = PictureHead(self.config).to(self.device, self.dtype).requires_grad_(False)

    def add_question_reader(self, codes: list[str]) -> None:
        """Gives the model a new reader of questions about these codes; `heartcare.training.questions` trains it."""
        self.config.asked = list(codes)
        self.question_reader = QuestionReader(self.config).to(self.device, self.dtype).requires_grad_(False)

    def add_evidence(self, tokens: int = 4) -> None:
        """Adds a number of tokens behind the latents of each ECG in the prompt, which tell what was found and measured;
        the processor's `evidence_tokens` must be the same number.

        Raises: `ValueError` for a model without a head for findings.
        """
        if not self.config.findings:
            raise ValueError("Evidence is what a head for findings found; add and train one first.")
        self.config.evidence_tokens = tokens
        self.evidence_projector = EvidenceProjector(self.config).to(self.device, self.dtype)

    @torch.no_grad()
    def find(self, ecg_numbers: torch.FloatTensor | None = None, **kwargs: Any) -> FindingsOutput:
        """Reads every statement of `config.findings` from ECGs, in one pass and without words.

        Args:
            ecg_numbers (`(ecgs, numbers)`): Measured numbers, as `findings_heartcare.numbers_of` makes them; by
                default, the codes alone are read.
            kwargs: The ECGs, as in `forward`: their signals with masks, or their codes and gain. Other outputs of the
                processor have no effect.

        Returns: calibrated `logits` and `probabilities` (ecgs, labels), in the order of `config.wordings`.

        Raises: `ValueError` for a model without a head for findings; `TypeError` for unknown keywords.
        """
        refuse_unknown(kwargs, (*ECG_INPUTS, *IMAGE_INPUTS, *TEXT_INPUTS), "find")
        if not self.config.findings:
            raise ValueError("This checkpoint has no head for findings; train one with heartcare.training.findings.")
        ecg = {name: kwargs[name] for name in ECG_INPUTS if kwargs.get(name) is not None}
        if "ecg_codes" in ecg:
            tokens = self._tokens_of_codes(ecg["ecg_codes"], ecg.get("ecg_gain"))
        else:
            tokens = self.beat.encode(**ecg, return_dict=True)
        return self.read_findings(tokens, ecg_numbers)

    @torch.no_grad()
    def find_in_pictures(
        self,
        pixel_values: torch.FloatTensor | None = None,
        image_slots: torch.FloatTensor | None = None,
        **kwargs: Any,
    ) -> FindingsOutput:
        """Reads every statement of `config.findings` from pictures, as `find` does from signals.

        Args:
            pixel_values, image_slots: The pictures, as in `forward`.
            kwargs: Other outputs of the processor, which have no effect.

        Raises: `ValueError` for a model without a head for pictures; `TypeError` for unknown keywords.
        """
        refuse_unknown(kwargs, (*ECG_INPUTS, *IMAGE_INPUTS, *TEXT_INPUTS), "find_in_pictures")
        if not self.config.picture_hidden_size:
            raise ValueError(
                "This checkpoint has no head for findings in pictures; train one with "
                "heartcare.training.picture_findings."
            )
        slots = self.get_image_slots(pixel_values) if image_slots is None else image_slots
        return self.picture_head.calibrated(self.picture_head(slots))

    def project_evidence(self, tokens: BeatEncoderOutput, ecg_numbers: torch.FloatTensor | None) -> torch.FloatTensor:
        """Projects what was found and measured in ECGs to the tokens behind their latents, (ecgs, tokens, width).

        Args: As those of `read_findings`.

        Raises: `ValueError` for numbers of another shape.
        """
        if ecg_numbers is not None and ecg_numbers.shape != (len(tokens.gain), len(NUMBERS)):
            raise ValueError(
                f"ecg_numbers must have shape {(len(tokens.gain), len(NUMBERS))}, got {tuple(ecg_numbers.shape)}; the "
                "processor gives it."
            )
        found = self.read_findings(tokens, ecg_numbers)
        return self.evidence_projector(found.logits, *self.findings_head.standardized(ecg_numbers, tokens.gain))

    @torch.no_grad()
    def read_findings(self, tokens: BeatEncoderOutput, ecg_numbers: torch.FloatTensor | None) -> FindingsOutput:
        """Reads every statement from ECGs that Beat has encoded; see `find`.

        Args:
            tokens: Result of Beat's `encode`.
            ecg_numbers: Measured numbers (ecgs, numbers), or None.
        """
        core = self.beat.quantizer.levels[0].decode(tokens.codes[:, 0])
        mask = tokens.codes[:, 0] != ABSENT
        logits = self.findings_head(core, tokens.latents - core, tokens.gain, mask, ecg_numbers)
        return self.findings_head.calibrated(logits)

    def _tokens_of_codes(self, ecg_codes: torch.LongTensor, ecg_gain: torch.FloatTensor | None) -> BeatEncoderOutput:
        """Checks codes and gains, and looks the latents up."""
        levels = self.config.beat_config.num_levels
        shape, gain_shape = tuple(ecg_codes.shape), None if ecg_gain is None else tuple(ecg_gain.shape)
        if ecg_codes.ndim != 3 or shape[1] != levels or gain_shape != shape[:1]:
            raise ValueError(
                f"ecg_codes must have shape (ecgs, {levels}, latents), and ecg_gain (ecgs,), got {shape} and "
                f"{gain_shape}; Beat's encode gives both."
            )
        latents = self.beat.quantizer.decode(ecg_codes)
        return BeatEncoderOutput(ecg_codes, ecg_gain, latents, latent_mask=ecg_codes[:, 0] != ABSENT)


__all__ = ["ECG_INPUTS", "IMAGE_INPUTS", "TEXT_INPUTS", "HeadsMixin"]
