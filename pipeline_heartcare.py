# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""`pipeline(model=REPO, trust_remote_code=True)`: any ECG in, an answer with probabilities, quality and provenance out.

    anything --as_part--> part of a chat --processor--> inputs --model--> text, or the likeliest option --> dict

A question that measurements and findings decide is answered from them; the language model answers all others.
"""

import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForImageTextToText, GenerationConfig, GenerationMixin, TextIteratorStreamer
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.pipelines.base import Pipeline
from transformers.utils.chat_template_utils import Chat, is_valid_message

from .answering_heartcare import (
    NO_ECG,
    NOT_UNDERSTOOD,
    Answer,
    Facts,
    answer,
    answer_each,
    choose,
    evidence,
    facts_of,
    forecast_of,
    is_beyond,
    refusal_of,
    seconds_of,
    subject_of,
)
from .asking_heartcare import asked_numbers
from .branching_heartcare import answer_lengths, option_shares
from .claims_heartcare import numbered, verify_claims
from .configuration_heartcare import ABSENT, TASK, refuse_unknown
from .explaining_heartcare import explain_findings
from .findings_heartcare import numbers_of, recorded_part
from .image_processing_heartcare import checked_layout
from .pages_heartcare import not_a_page
from .parts_heartcare import ECG_KEYS, as_part, parts_of, text_of
from .statements_heartcare import asked_statement
from .understanding_heartcare import Asked

REPORT = "Write a report of this ECG."
PREPROCESS_KEYWORDS = ("question", "options", *ECG_KEYS, "layout", "coverage", "explain")
LEAST_CERTAINTY = 0.5  # of what a question asks for; below, the question is said not to be understood
SIGNAL_INPUTS = ("input_values", "ecg_attention_mask", "lead_mask")
GENERATE_KEYWORDS = {*inspect.signature(GenerationMixin.generate).parameters, *GenerationConfig().to_dict()} - {"self"}


class ECGInterpretationPipeline(Pipeline):
    """
    Answers questions about ECGs.

    ```python
    pipe = pipeline(model="USER/HeartcareGPT", trust_remote_code=True)
    pipe("record.hea")  # a report
    pipe("page.png", question="Which rhythm is it?", options=["sinus rhythm", "atrial fibrillation"])
    pipe({"signal": array, "sampling_rate": 500, "lead_names": [...], "question": "What is the rhythm?"})
    pipe([first, second, third], batch_size=8)  # one answer for each
    pipe([{"role": "user", "content": [{"type": "ecg", "path": "record"}, {"type": "text", "text": "Is it normal?"}]}])
    for piece in pipe.stream("record.hea"):
        print(piece, end="")
    ```

    What a question asks for is understood in any wording, in English and German. All answers about a signal follow
    from its measurements and from one set of findings, so that none contradicts another; a question that cannot be
    answered is told so. The language model answers the questions about pictures, and Beat continues signals. A question
    is about the ECGs of the last message that has any. Nothing is said of a recording that is no
    ECG: the answer is a refusal that names what the leads hold, and there are no findings. Nor is anything said of a
    picture that is blank, shows no ECG, or is not upright.

    Input: one ECG or picture in any form that `as_part` takes. A dict may also have "ecgs", a list of several that one
    question is about, and "question" and "options" of its own. A list is many inputs, unless it is a chat.

    Output, a dict for each input:
        - **text** (`str`): The answer; with options, the likeliest of them.
        - **probabilities** (`dict`): Option -> probability; they add up to 1. Without options, a question whether a
          statement is true has those of "Yes" and "No".
        - **findings** (`list[dict]`): For each signal, words of each statement -> calibrated probability, the likeliest
          first; absent for a model without a head for findings.
        - **statements** (`list[list[str]]`): With `coverage`, a set of statements for each signal, which holds on
          average this share of the true ones.
        - **explanations** (`list[dict]`): With `explain`, for the statement that is asked for, or the likeliest ones of
          one signal, how far its logit falls without each of the "leads", "waves" and "beats", and the "intervals" of
          leads in seconds that it rests on.
        - **forecast** (`list[list[float]]`): Where it is asked how the signal goes on, the next seconds of the twelve
          leads in mV, at the sampling rate of Beat.
        - **checks** (`list[dict]`): About one signal, each number of the language model's words, and each statement
          that rests on one, held against the measurements: "verified", "contradicted" or "unmeasurable"; see
          `claims_heartcare.Claim`.
        - **tokens** (`dict`): Number of tokens of the "prompt", its ECGs and pictures included, and of the "answer",
          0 for one that the language model did not write; "finished" is False for an answer that a limit of tokens or
          time cut off.
        - **measurements** (`list[dict]`): Numbers of each signal, as devices print them: rate, intervals, axes, ST
          levels, ectopic beats; and the "reasons" of those that cannot be measured.
        - **quality** (`list[dict]`): Quality record of each signal: its leads and named warnings.
        - **provenance** (`dict`): Model, revision (the commit on the Hub), dtype, and the source of each ECG.
    """

    _load_processor = True
    _load_image_processor = _load_feature_extractor = _load_tokenizer = False
    _pipeline_calls_generate = True
    _default_generation_config = GenerationConfig(max_new_tokens=256, do_sample=False)

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:
        """Answers one input, or each of a list of inputs; see the class for both, and for the keywords.

        Raises: `TypeError` for unknown keywords; `ValueError`, `TypeError`, `FileNotFoundError` and `ImportError` that
            say what is wrong with an input.
        """
        return super().__call__(inputs, **kwargs) if not isinstance(inputs, list) or inputs else []

    def _sanitize_parameters(self, generate_kwargs: dict[str, Any] | None = None, **kwargs: Any):
        given = {name: kwargs.pop(name) for name in PREPROCESS_KEYWORDS if name in kwargs}
        generate_kwargs = {**kwargs, **(generate_kwargs or {})}
        refuse_unknown(generate_kwargs, (*PREPROCESS_KEYWORDS, *GENERATE_KEYWORDS), type(self).__name__)
        return {name: value for name, value in given.items() if value is not None}, generate_kwargs, {}

    def preprocess(
        self,
        inputs: Any,
        question: str | None = None,
        options: list[str] | None = None,
        layout: str | None = None,
        coverage: float | None = None,
        explain: bool = False,
        **given: Any,
    ) -> dict[str, Any]:
        """Turns any input into a dict of `features`, the processor's outputs for it alone; the `question`; `options`;
        `coverage`; `explain`; `measurements`; `quality`; `pictures`, their number; `refusal`, why nothing is said, or
        an empty text; `about`, the signals asked about (see `about_of`); `asked`, what is asked, and `earlier`, what
        was asked before, the latest first; and `direct`, whether the language model is not asked.
        """
        if isinstance(inputs, dict) and not ({"role", "content"} <= inputs.keys()):
            inputs = {name: value for name, value in inputs.items() if value is not None}
            question, options = inputs.pop("question", question), inputs.pop("options", options)
            if "ecgs" in inputs:
                if len(inputs) > 1:
                    raise ValueError(
                        f"'ecgs' is a list of ECGs, each with its own keys; got {sorted(inputs)} beside it."
                    )
                inputs = inputs["ecgs"]
        if layout is not None:
            checked_layout(layout)
        check_options(options)
        messages = self._messages(inputs, question, options, given)
        if coverage is not None:
            self._findings_head("coverage").threshold(coverage)
        if explain:
            self._findings_head("explain")
        recordings = [[part for part in parts_of(message) if part["type"] != "text"] for message in messages]
        pictures = [part for parts in recordings for part in parts if part["type"] == "image"]
        for part in pictures:
            part["image"] = self.processor.image_processor.fetch_images(part["image"])
        features = self.processor.apply_chat_template(
            messages,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={
                "return_quality": True,
                "return_measurements": True,
                **({"layout": layout} if layout else {}),
            },
        )
        measurements, quality = features.pop("ecg_measurements", []), features.pop("ecg_quality", [])
        self._check_length(features["input_ids"].shape[1])
        prepared = {
            "features": dict(features),
            "question": question or text_of(messages[-1]),  # as it was given, without options that were added
            "options": list(options or ()),
            "coverage": coverage,
            "explain": explain,
            "measurements": measurements,
            "quality": quality,
            "pictures": len(pictures),
            "refusal": self._refusal(quality, pictures) if any(recordings) else NO_ECG,
            "about": about_of(recordings),
            "asked": self.understand(question or text_of(messages[-1]), options),
            "earlier": [self.understand(text_of(each)) for each in messages[-2::-1] if each["role"] == "user"],
        }
        # Whether there is a direct answer does not depend on what is found.
        unread = dict.fromkeys(self._wordings, 0.0)
        facts = [facts_of(each, unread, unread, self._wordings) for each in measurements]
        return prepared | {"direct": self._direct_answer(prepared, facts) is not None}

    @staticmethod
    def _refusal(quality: list[dict], pictures: list[dict]) -> str:
        return refusal_of([each["not_an_ecg"] for each in quality], [not_a_page(part["image"]) for part in pictures])

    def understand(self, question: str, options: list[str] | None = None) -> Asked | None:
        """Reads what a question asks for. It returns None where that is not understood, or where the model has no
        reader of questions and the question is no usual one.

        Args:
            question: The question.
            options: Its options, if it has any.
        """
        if options:
            question = question.removesuffix(f": {', '.join(options)}?")
        elif names := asked_numbers(question):
            return Asked("number", quantities=names)
        if self._wordings and (code := asked_statement(question, self._wordings)):
            return Asked("is", (code,))
        if not self.model.config.asked:
            return None
        found = self.model.question_reader.read([question])[0]
        return found if found.certainty >= LEAST_CERTAINTY else None

    @property
    def _wordings(self) -> dict[str, str]:
        """Code of each statement that the model finds -> its words."""
        return self.model.config.wordings

    def _findings_head(self, keyword: str) -> Any:
        if not self._wordings:
            raise ValueError(f"{keyword}= needs a checkpoint with a head for findings, and this one has none.")
        return self.model.findings_head

    def _direct_answer(self, prepared: dict[str, Any], facts: list[Facts]) -> Answer | None:
        """The answer that needs no words of the language model; None where there is none."""
        asked, options, (first, last) = prepared["asked"], prepared["options"], prepared["about"]
        if is_beyond(asked, bool(prepared["refusal"]), bool(options)):
            return answer(asked, facts)
        if prepared["refusal"]:
            return Answer(prepared["refusal"])
        if first == last or not self._wordings:  # pictures, or a model without findings
            is_number = first < last and asked is not None and asked.kind == "number"
            return answer_each(asked, facts[first:last]) if is_number and not options else None
        if options:
            return choose(prepared["question"], options, asked, facts[first:last])
        if asked is None:
            return Answer(NOT_UNDERSTOOD) if self.model.config.asked else None
        if asked.kind == "compare":
            return answer(asked, facts[:last])
        if asked.kind in ("why", "sure") and not asked.codes:
            asked = replace(asked, codes=subject_of(prepared["earlier"], facts[last - 1]))
        if asked.kind == "predict":
            return forecast_of(seconds_of(prepared["question"])) if is_of_one_signal(prepared) else None
        if asked.kind == "why":
            return evidence(prepared.get("explanations"), facts[last - 1])
        return answer_each(asked, facts[first:last])

    def _check_length(self, length: int) -> None:
        """Raises `ValueError` for a prompt of more tokens than the language model has places: its answer would be
        nonsense, after much time and memory.
        """
        places = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        if places is None or length < places:
            return
        extractor = self.processor.feature_extractor
        per_second = extractor.sampling_rate / extractor.samples_per_latent
        raise ValueError(
            f"The prompt has {length} tokens, and the language model has {places} places. An ECG takes {per_second:g} "
            f"tokens a second, so ask about {int(0.9 * places / per_second)} s at most, all ECGs of the question "
            "together; `model.beat.stream` follows a longer recording."
        )

    def _messages(
        self, inputs: Any, question: str | None, options: list[str] | None, given: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """The chat of an input: its own, or one message with the ECGs and the question."""
        if isinstance(inputs, Chat) or isinstance(inputs, list) and inputs and is_valid_message(inputs[0]):
            messages = inputs.messages if isinstance(inputs, Chat) else inputs
            if question is not None and question not in str(messages[-1]["content"]):
                raise ValueError("A chat asks its own question in its last message; leave question= out.")
            messages = [self._read_message(message, **given) for message in messages]
            if messages[-1]["role"] != "user":
                raise ValueError(
                    f"The last message of a chat must be of the user, got one of {messages[-1]['role']!r}."
                )
        else:
            parts = [as_part(each, **given) for each in (inputs if isinstance(inputs, (list, tuple)) else [inputs])]
            if not parts:
                raise ValueError(NO_ECG)
            text = {"type": "text", "text": name_options(question or REPORT, options)}
            messages = [{"role": "user", "content": [*parts, text]}]
        return messages

    @staticmethod
    def _read_message(message: dict, **given) -> dict:
        content = message["content"]
        if not isinstance(content, str):
            content = [part if part.get("type") == "text" else as_part(part, **given) for part in content]
        return {"role": message["role"], "content": content}

    def _forward(self, batch: dict | list[dict], **generate_kwargs) -> dict | list[dict]:
        if isinstance(batch, dict):
            return self._forward([batch], **generate_kwargs)[0]
        self._find([each for each in batch if each["measurements"] and "logits" not in each])
        for each in batch:
            if self._is_explained(each):
                each["explanations"] = self._explain(each)
            if each["direct"]:
                given = self._direct_answer(each, self._facts(each))
                text = self.numbered(each, given.text) if is_prose(each) else given.text
                if each["asked"] is not None and each["asked"].kind == "predict" and is_of_one_signal(each):
                    each["forecast"] = self._forecast(each)
                count = generate_kwargs.get("num_return_sequences") or 1
                each["text"] = text if count == 1 else [text] * count
                each["probabilities"] = given.probabilities
                prompt = int(each["features"]["attention_mask"].sum())
                each["tokens"] = {"answer": 0, "finished": True, "prompt": prompt}
        for options in (True, False):
            some = [each for each in batch if bool(each["options"]) == options and not each["direct"]]
            if not some:
                continue
            inputs = self.ensure_tensor_on_device(**self.collate([each["features"] for each in some]))
            if options:
                self._choose(some, inputs)
            else:
                self._write(some, inputs, self._prepare_generate_kwargs(generate_kwargs))
            for each, length in zip(some, inputs["attention_mask"].sum(1).tolist()):
                each["tokens"]["prompt"] = length
        return batch

    def _find(self, batch: list[dict]):
        """Encodes all signals once, and reads their statements: the language model gets the codes instead of the
        signals, and each input its `logits`, one dict for each signal.
        """
        if not batch or not self._wordings:
            return
        signals = [{name: each["features"].pop(name) for name in SIGNAL_INPUTS} for each in batch]
        for each, inputs in zip(batch, signals):
            each["signals"] = inputs
        tokens = self.model.beat.encode(**self.ensure_tensor_on_device(**self.collate(signals)))
        rate = self.processor.feature_extractor.sampling_rate
        measured = [
            numbers_of(record, *recorded_part(signal.cpu().numpy(), mask.bool().cpu().numpy()), rate)
            for each, inputs in zip(batch, signals)
            for record, signal, mask in zip(each["measurements"], inputs["input_values"], inputs["lead_mask"])
        ]
        numbers = torch.from_numpy(np.stack(measured)).to(tokens.codes.device)
        found = self.model.find(numbers, ecg_codes=tokens.codes, ecg_gain=tokens.gain)
        logits, choices = found.logits.tolist(), found.choice_logits.tolist()
        start = 0
        for each in batch:
            stop = start + len(each["measurements"])
            each["features"] |= {"ecg_codes": tokens.codes[start:stop], "ecg_gain": tokens.gain[start:stop]}
            each["numbers"] = measured[start:stop]
            each["logits"] = [dict(zip(self._wordings, row)) for row in logits[start:stop]]
            each["choices"] = [dict(zip(self._wordings, row)) for row in choices[start:stop]]
            start = stop

    def _facts(self, prepared: dict[str, Any]) -> list[Facts]:
        """Returns what is known of each signal."""
        found = [prepared.get(name, [{}] * len(prepared["measurements"])) for name in ("logits", "choices")]
        return [facts_of(*each, self._wordings) for each in zip(prepared["measurements"], *found)]

    def _forecast(self, prepared: dict[str, Any]) -> list[list[float]]:
        """Returns what follows the signal that is asked about, as plain values."""
        number = prepared["about"][1] - 1
        signal = {name: values[number : number + 1] for name, values in prepared["signals"].items()}
        seconds = seconds_of(prepared["question"])
        (forecast,) = self.model.forecast(**self.ensure_tensor_on_device(**signal), seconds=seconds)
        return [[round(value, 4) for value in lead] for lead in forecast.tolist()]

    def _is_explained(self, prepared: dict[str, Any]) -> bool:
        if "logits" not in prepared or prepared["refusal"]:
            return False
        asked, (first, last) = prepared["asked"], prepared["about"]
        is_asked = asked is not None and asked.kind == "why" and first < last
        return is_asked or (prepared["explain"] and is_of_one_signal(prepared))

    def _explain(self, prepared: dict[str, Any]) -> list[dict[str, Any]]:
        """Returns what the statements that were asked for, or the likeliest statements, rest on."""
        asked, number = prepared["asked"], prepared["about"][1] - 1
        facts = self._facts(prepared)[number]
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

    def _write(self, batch: list[dict], inputs: dict, generate_kwargs: dict):
        """Answers in the model's own words."""
        ids = self.model.generate(**inputs, **generate_kwargs)[:, inputs["input_ids"].shape[1] :]
        ends = generate_kwargs.get("eos_token_id", self.model.generation_config.eos_token_id)
        lengths, finished = answer_lengths(ids, ends)
        texts = [text.strip() for text in self.processor.batch_decode(ids, skip_special_tokens=True)]
        per_input = len(ids) // len(batch)  # num_return_sequences
        for k, each in enumerate(batch):
            rows = slice(k * per_input, (k + 1) * per_input)
            own = [self.numbered(each, text) for text in texts[rows]]
            each["text"] = own[0] if per_input == 1 else own
            each["tokens"] = {"answer": int(lengths[rows].sum()), "finished": bool(finished[rows].all())}

    def numbered(self, prepared: dict[str, Any], text: str, finished: bool = True) -> str:
        """Returns an answer as it is shown: about one signal, with the numbers that its statements rest on.

        Args:
            prepared: Result of `preprocess`.
            text: The answer, or its beginning.
            finished: Whether the text is the whole answer; the beginning of one is returned as far as later words
                cannot change it.
        """
        if is_of_one_signal(prepared):
            return numbered(text, prepared["measurements"][prepared["about"][1] - 1], finished)
        return text if finished else text[: text.rfind(" ") + 1]

    def _choose(self, batch: list[dict], inputs: dict):
        """Probabilities of the options, each as a whole answer."""
        answers = [self.processor.answer_ids(each["options"]) for each in batch]
        for each, ids, scores in zip(batch, answers, self.model.score_answers(answers, **inputs)):
            best, shares = option_shares(scores)
            each["probabilities"] = dict(zip(each["options"], shares))
            each["text"], each["tokens"] = each["options"][best], {"answer": len(ids[best]), "finished": True}

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

    def postprocess(self, outputs: dict[str, Any]) -> dict[str, Any]:
        """Returns the reply of one input; see the class."""
        reply = {"text": outputs["text"]}
        if outputs.get("probabilities"):
            reply["probabilities"] = outputs["probabilities"]
        if "logits" in outputs and not outputs["refusal"]:
            found = [each.opinion.ranked() for each in self._facts(outputs)]
            reply["findings"] = [{words: round(share, 4) for words, share in each.items()} for each in found]
            if outputs["coverage"] is not None:
                least = self._findings_head("coverage").threshold(outputs["coverage"])
                reply["statements"] = [[words for words, share in each.items() if share >= least] for each in found]
        reply |= {name: outputs[name] for name in ("explanations", "forecast") if name in outputs}
        provenance = {
            "model": name_of_repository(self.model.config.name_or_path),
            "revision": getattr(self.model, "revision", None),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "pictures": outputs["pictures"],
            "ecgs": [
                {name: quality[name] for name in ("source", "sampling_rate", "seconds")}
                for quality in outputs["quality"]
            ],
        }
        if is_of_one_signal(outputs) and isinstance(outputs["text"], str) and is_prose(outputs):
            claims = verify_claims(outputs["text"], outputs["measurements"][outputs["about"][1] - 1])
            reply["checks"] = [asdict(claim) for claim in claims]
        kept = {name: outputs[name] for name in ("tokens", "measurements", "quality")}
        return reply | kept | {"provenance": provenance}

    def get_iterator(
        self,
        inputs: Iterable,
        num_workers: int,
        batch_size: int,
        preprocess_params: dict[str, Any],
        forward_params: dict[str, Any],
        postprocess_params: dict[str, Any],
    ) -> Iterator[dict[str, Any]]:
        """Answers inputs in batches, padded here, since each input has its own number of ECGs and pictures."""
        waiting = []
        for item in inputs:
            waiting.append(self.preprocess(item, **preprocess_params))
            if len(waiting) == batch_size:
                yield from map(self.postprocess, self.forward(waiting, **forward_params))
                waiting = []
        if waiting:
            yield from map(self.postprocess, self.forward(waiting, **forward_params))

    def stream(self, inputs: Any, **kwargs: Any) -> Iterator[str]:
        """Yields the answer to one input piece by piece, as it is written.

        Args:
            inputs, kwargs: As for a call, but for options.

        Raises: the errors of a call, when the first piece is asked for.
        """
        if kwargs.get("options") or isinstance(inputs, dict) and inputs.get("options"):
            raise ValueError(
                "An answer that is chosen from options is not written piece by piece; call the pipeline instead."
            )
        if isinstance(inputs, (list, tuple)) and not (inputs and is_valid_message(inputs[0])):
            raise ValueError(
                "One input is streamed at a time; several ECGs of one question are given as {'ecgs': [...]}."
            )
        given, generate_kwargs, _ = self._sanitize_parameters(**kwargs)
        prepared = self.preprocess(inputs, **{**self._preprocess_params, **given})
        generate_kwargs = {**self._forward_params, **generate_kwargs}
        if prepared["direct"]:
            yield self.postprocess(self.forward([prepared], **generate_kwargs)[0])["text"]
            return
        streamer = TextIteratorStreamer(self.processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
        failed: list[Exception] = []

        def run():
            try:
                self.forward([prepared], streamer=streamer, **generate_kwargs)
            except Exception as error:
                failed.append(error)
                streamer.end()

        thread = Thread(target=run, daemon=True)
        thread.start()
        written = sent = ""
        for piece in streamer:
            written += piece
            if ready := self.numbered(prepared, written, finished=False)[len(sent) :]:
                sent += ready
                yield ready
        if rest := self.numbered(prepared, written)[len(sent) :]:
            yield rest
        thread.join()
        if failed:
            raise failed[0]


def is_of_one_signal(prepared: dict[str, Any]) -> bool:
    """Tells whether a prepared input is about one signal, and about no picture."""
    first, last = prepared["about"]
    return last - first == 1


def is_prose(prepared: dict[str, Any]) -> bool:
    """Tells whether the answer is a text that makes statements: the language model's, a report, or a topic's."""
    if prepared["refusal"] or (prepared["direct"] and prepared["options"]):
        return False
    asked = prepared["asked"]
    return not prepared["direct"] or (asked is not None and asked.kind in ("report", "summary", "which"))


def about_of(recordings: list[list[dict[str, Any]]]) -> tuple[int, int]:
    """Returns the numbers of the first signal that the last message with recordings has, and of the one after its last.
    They are the same where it has none, or has pictures.

    Args:
        recordings: Parts of each message that are no text.
    """
    signals = [sum(part["type"] == "ecg" for part in parts) for parts in recordings]
    last = max((number for number, parts in enumerate(recordings) if parts), default=-1)
    stop = sum(signals[: last + 1])
    has_pictures = last < 0 or signals[last] < len(recordings[last])
    return (stop if has_pictures else stop - signals[last]), stop


def name_of_repository(name_or_path: str) -> str:
    """Returns the name of the repository that a model came from: an id on the Hub as it is, and of a folder its last
    part alone, since the way to it says how a server is built.
    """
    folder = Path(name_or_path)
    is_folder = folder.is_absolute() or name_or_path and folder.is_dir()
    return folder.resolve().name if is_folder else name_or_path


def check_options(options: Any) -> None:
    """Raises `ValueError` unless the options, if there are any, are two or more texts that differ as answers."""
    if options is None:
        return
    is_list = isinstance(options, (list, tuple)) and all(isinstance(option, str) and option for option in options)
    if not is_list or len({option.rstrip(".").casefold() for option in options}) < max(2, len(options)):
        raise ValueError(f"options must be two or more different texts, got {options!r}.")


def name_options(question: str, options: list[str] | None) -> str:
    """Returns a question that names its options, which are added where it does not name all of them."""
    if not options or all(re.search(rf"\b{re.escape(option)}\b", question, re.IGNORECASE) for option in options):
        return question
    return f"{question.rstrip(' ?:.')}: {', '.join(options)}?"


# The task is answered by the code of the model that was loaded last: another copy of this code, that of the package or
# of another revision on the Hub, is taken out first, since the registry warns when it replaces one.
PIPELINE_REGISTRY.supported_tasks.pop(TASK, None)
PIPELINE_REGISTRY.register_pipeline(
    TASK, ECGInterpretationPipeline, pt_model=AutoModelForImageTextToText, type="multimodal"
)

__all__ = ["ECGInterpretationPipeline", "is_of_one_signal"]
