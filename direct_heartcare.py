# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""The part of the pipeline that reads recordings and pictures by the heads of the model, and answers from that.

prepared inputs --heads of the model, Beat--> logits, explanations, forecasts --facts--> direct answers
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from .answering_heartcare import (
    NOT_UNDERSTOOD,
    ONE_SIGNAL,
    Answer,
    Facts,
    answer,
    answer_each,
    choose,
    evidence,
    facts_of,
    forecast_of,
    is_beyond,
    of_recordings,
    seconds_of,
    subject_of,
)
from .configuration_heartcare import ABSENT
from .explaining_heartcare import explain_findings
from .findings_heartcare import FindingsOutput, numbers_of, recorded_part
from .pictures_heartcare import EXPERTS

# Weight of the logits of each expert where both read a page; chosen on PTB-XL's fold 9.
PAGE_WEIGHTS = {"ecg": 0.7, "image": 0.3}
NOT_DIGITIZED = "Nothing was measured, since the picture was not digitised; the ViT alone read it."
SIGNAL_INPUTS = ("input_values", "ecg_attention_mask", "lead_mask")


class DirectAnswersMixin:
    """Adds to a pipeline of a HeartcareGPT what its heads read; see [`ECGInterpretationPipeline`]. The inputs of all
    methods are results of its `preprocess`.
    """

    def _ensure_tensor_on_device(self, inputs: Any, device: torch.device) -> Any:
        """Moves the features alone, since nothing else of a prepared input is a tensor."""
        if isinstance(inputs, list):
            return [self._ensure_tensor_on_device(each, device) for each in inputs]
        if isinstance(inputs, dict) and "features" in inputs:
            return inputs | {"features": super()._ensure_tensor_on_device(inputs["features"], device)}
        return super()._ensure_tensor_on_device(inputs, device)

    def _find(self, batch: list[dict]):
        """Reads the statements of all signals and pictures once: the language model gets their codes and slots instead
        of samples and pixels, and each input its `logits` and `choices`, a dict for each recording.
        """
        read: dict[tuple[int, int], dict[str, tuple[list[float], list[float]]]] = {}
        for expert, reader in {"ecg": self._read_signals, "image": self._read_pictures}.items():
            places = [
                (number, place)
                for number, prepared in enumerate(batch)
                for place, kind in enumerate(prepared["kinds"])
                if expert in EXPERTS[kind]
            ]
            if not places or not self._has_head(expert):
                continue
            found = reader([batch[number] for number in sorted({number for number, _ in places})])
            for where, *rows in zip(places, found.logits.tolist(), found.choice_logits.tolist()):
                read.setdefault(where, {})[expert] = tuple(rows)
        for (number, place), experts in read.items():
            logits, choices = (
                dict(zip(self._wordings, weighted({name: rows[which] for name, rows in experts.items()})))
                for which in (0, 1)
            )
            batch[number]["logits"][place], batch[number]["choices"][place] = logits, choices
        for prepared in batch:
            prepared["is_read"] = True

    def _read_signals(self, batch: list[dict]) -> FindingsOutput:
        """Encodes all signals, and reads their statements."""
        for prepared in batch:
            prepared["signals"] = {name: prepared["features"].pop(name) for name in SIGNAL_INPUTS}
        signals = self.collate([prepared["signals"] for prepared in batch])
        tokens = self.model.beat.encode(**self.ensure_tensor_on_device(**signals))
        start = 0
        for prepared in batch:
            prepared["numbers"] = self._numbers(prepared)
            stop = start + len(prepared["numbers"])
            prepared["features"] |= {"ecg_codes": tokens.codes[start:stop], "ecg_gain": tokens.gain[start:stop]}
            start = stop
        measured = torch.from_numpy(np.stack([row for prepared in batch for row in prepared["numbers"]]))
        return self.model.find(measured.to(tokens.codes.device), ecg_codes=tokens.codes, ecg_gain=tokens.gain)

    def _numbers(self, prepared: dict[str, Any]) -> list[np.ndarray]:
        """Returns the measured numbers of each signal, as the head for findings reads them."""
        if "ecg_numbers" in prepared["features"]:
            return list(prepared["features"]["ecg_numbers"].numpy())
        rate, inputs = self.processor.feature_extractor.sampling_rate, prepared["signals"]
        return [
            numbers_of(record, *recorded_part(signal.cpu().numpy(), mask.bool().cpu().numpy()), rate)
            for record, signal, mask in zip(prepared["measurements"], inputs["input_values"], inputs["lead_mask"])
        ]

    def _read_pictures(self, batch: list[dict]) -> FindingsOutput:
        """Lets the ViT see all pictures, and reads their statements."""
        pixels = self.collate([{"pixel_values": prepared["features"].pop("pixel_values")} for prepared in batch])
        slots = self.model.get_image_slots(**self.ensure_tensor_on_device(**pixels))
        start = 0
        for prepared in batch:
            stop = start + len(prepared["pictures"])
            prepared["features"]["image_slots"] = slots[start:stop]
            start = stop
        return self.model.find_in_pictures(image_slots=slots)

    def collate(self, features: list[dict]) -> dict[str, torch.Tensor]:
        """Joins the inputs of single prompts to those of a batch, padded on the left."""
        fill = {"input_ids": self.processor.tokenizer.pad_token_id, "ecg_codes": ABSENT}
        batch = {}
        for name in dict.fromkeys(name for inputs in features for name in inputs):
            values = [inputs[name] for inputs in features if name in inputs]
            longest = max(value.shape[-1] for value in values)
            if values[0].ndim > 1:  # gains are one for each ECG
                values = [
                    torch.nn.functional.pad(value, (longest - value.shape[-1], 0), value=fill.get(name, 0))
                    for value in values
                ]
            batch[name] = torch.cat(values)
        return batch

    def _is_explained(self, prepared: dict[str, Any]) -> bool:
        if "signals" not in prepared or prepared["refusal"] or signal_asked(prepared) is None:
            return False
        return prepared["explain"] or (prepared["asked"] is not None and prepared["asked"].kind == "why")

    def _explain(self, prepared: dict[str, Any]) -> list[dict[str, Any]]:
        """Returns what the statements that were asked for, or the likeliest statements, rest on."""
        asked, number = prepared["asked"], signal_asked(prepared)
        facts = self.facts(prepared)[prepared["about"][0]]
        codes = asked.codes if asked is not None else ()
        if asked is not None and asked.kind == "why" and not codes:
            codes = subject_of(prepared["earlier"], facts)
        codes = [each for code in codes for each in facts.opinion.members(code)]
        signal, mask = (prepared["signals"][name][number].cpu().numpy() for name in ("input_values", "lead_mask"))
        found = explain_findings(self.model, signal, mask, codes or None, baseline=prepared["numbers"][number])
        shares = facts.opinion.shares
        # The probability is that of the reply, which agrees with those of the other statements.
        return [
            each.as_plain(self._wordings[each.code]) | {"probability": round(shares[each.code], 4)}
            for each in found
            if each.code in shares
        ]

    def _direct_answer(self, prepared: dict[str, Any]) -> Answer | None:
        """Returns the answer that needs no words of the language model; None where there is none."""
        asked, options, (first, last) = prepared["asked"], prepared["options"], prepared["about"]
        facts = self.facts(prepared)
        if is_beyond(asked, bool(prepared["refusal"]), bool(options)):
            return answer(asked, facts)
        if prepared["refusal"]:
            return Answer(prepared["refusal"])
        given = slice(*prepared["about_given"])
        windows = prepared["windows"][given]
        if not all(self._has_head(kind) for kind in prepared["given"][given]):
            is_number = asked is not None and asked.kind == "number" and "image" not in prepared["given"][given]
            return answer_each(asked, facts[first:last], windows) if is_number and not options else None
        if options:
            return choose(prepared["question"], options, asked, of_recordings(facts[first:last], windows))
        if asked is None:
            return Answer(NOT_UNDERSTOOD) if self.model.config.asked else None
        if asked.kind == "compare":
            whole = zip(prepared["given"], of_recordings(facts[:last], prepared["windows"][: given.stop]))
            return answer(asked, [each for kind, each in whole if self._has_head(kind)])
        if asked.kind in ("why", "sure") and not asked.codes:
            asked = replace(asked, codes=subject_of(prepared["earlier"], facts[last - 1]))
        if asked.kind == "why" and signal_asked(prepared) is None:
            return Answer(ONE_SIGNAL)
        if asked.kind == "predict" and not self._is_forecast(prepared):
            return Answer(ONE_SIGNAL)
        if asked.kind == "predict":
            return forecast_of(seconds_of(prepared["question"]))
        if asked.kind == "why":
            return evidence(prepared.get("explanations"), facts[last - 1])
        return answer_each(asked, facts[first:last], windows)

    @staticmethod
    def _is_forecast(prepared: dict[str, Any]) -> bool:
        """Tells whether one signal is asked about; a page does not show all leads at its end."""
        is_signal = prepared["kinds"][slice(*prepared["about"])] == ["ecg"]
        return is_signal and not prepared["refusal"]

    def _forecast(self, prepared: dict[str, Any]) -> list[list[float]]:
        """Returns what follows the signal that is asked about, as plain values."""
        number = signal_asked(prepared)
        signal = {name: values[number : number + 1] for name, values in prepared["signals"].items()}
        seconds = seconds_of(prepared["question"])
        (forecast,) = self.model.forecast(**self.ensure_tensor_on_device(**signal), seconds=seconds)
        return [[round(value, 4) for value in lead] for lead in forecast.tolist()]

    def facts(self, prepared: dict[str, Any]) -> list[Facts]:
        """Returns what is known of each recording and picture; one that was not digitised is not measured."""
        of_signals = iter(prepared["measurements"])
        unmeasured = (picture.measured for picture in prepared["pictures"] if picture.kind == "image")
        measured = [next(unmeasured if kind == "image" else of_signals) for kind in prepared["kinds"]]
        return [
            facts_of(numbers, logits or {}, choices or {}, self._wordings)
            for numbers, logits, choices in zip(measured, prepared["logits"], prepared["choices"])
        ]

    def _has_head(self, kind: str) -> bool:
        """Tells whether the model has a head that reads statements from recordings of a kind."""
        return bool(self._wordings) and (kind != "image" or bool(self.model.config.picture_hidden_size))

    @property
    def _wordings(self) -> dict[str, str]:
        """Code of each statement that the model finds -> its words."""
        return self.model.config.wordings


def weighted(rows: dict[str, list[float]]) -> list[float]:
    """Returns the mean of the logits of one or both experts, by `PAGE_WEIGHTS`.

    Args:
        rows: Name of each expert that read -> its logits.
    """
    if len(rows) == 1:
        (only,) = rows.values()
        return only
    return [sum(PAGE_WEIGHTS[name] * value for name, value in zip(rows, values)) for values in zip(*rows.values())]


def signal_asked(prepared: dict[str, Any]) -> int | None:
    """Returns the number, among the signals, of the one signal or digitised page that a prepared input is about; None
    where it is about several, or about a picture that was not digitised.
    """
    first, last = prepared["about"]
    is_one = last - first == 1 and "ecg" in EXPERTS[prepared["kinds"][first]]
    return sum("ecg" in EXPERTS[kind] for kind in prepared["kinds"][:first]) if is_one else None


def with_notes(prepared: dict[str, Any], text: str, finished: bool = True) -> str:
    """Adds notes to an answer: before one about long recordings, what was measured in all of them; behind a report on
    a picture that was not digitised, that it was not. Any other answer is returned as it is.

    Args:
        prepared: Result of `preprocess`.
        text: The answer, or its beginning.
        finished: True if the text is the whole answer.
    """
    asked = prepared["asked"]
    is_factual = not (prepared["refusal"] or prepared["options"]) and (asked is None or asked.kind != "cannot")
    if not is_factual:
        return text
    is_report = asked is not None and asked.kind in ("report", "summary")
    if finished and is_report and "image" in prepared["kinds"][slice(*prepared["about"])]:
        text = f"{text} {NOT_DIGITIZED}"
    return f"{prepared['summary']} {text}" if prepared["summary"] else text


def is_prose(prepared: dict[str, Any]) -> bool:
    """Tells whether the answer is a text that makes statements: the language model's, a report, or a topic's."""
    if prepared["refusal"] or (prepared["direct"] and prepared["options"]):
        return False
    asked = prepared["asked"]
    return not prepared["direct"] or (asked is not None and asked.kind in ("report", "summary", "which"))


__all__ = ["DirectAnswersMixin", "is_prose", "signal_asked", "with_notes"]
