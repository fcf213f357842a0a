# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""`pipeline(model=REPO, trust_remote_code=True)`: any ECG in, an answer with probabilities, quality and provenance out.

    anything --as_part--> part of a chat --processor--> inputs --model--> text, or the likeliest option --> dict

A question that measurements and findings decide is answered from them; the language model answers all others.
"""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from threading import Thread
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForImageTextToText, GenerationConfig, GenerationMixin, TextIteratorStreamer
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.pipelines.base import Pipeline
from transformers.utils.chat_template_utils import Chat, is_valid_message

from .answering_heartcare import NO_ECG, is_forecast, refusal_of
from .asking_heartcare import asked_numbers
from .branching_heartcare import answer_lengths, option_shares
from .claims_heartcare import numbered, verify_claims
from .configuration_heartcare import TASK, refuse_unknown
from .direct_heartcare import DirectAnswersMixin, is_prose, signal_asked, with_notes
from .findings_heartcare import CalibratedHead
from .image_processing_heartcare import checked_layout
from .limits_heartcare import Budget
from .parts_heartcare import (
    ECG_KEYS,
    about_of,
    as_part,
    check_options,
    name_of_repository,
    name_options,
    read_message,
    recordings_of,
    text_of,
    without_question,
)
from .pictures_heartcare import EXPERTS, Picture, kinds_of, read_pictures, tiles_of
from .statements_heartcare import asked_statement
from .understanding_heartcare import Asked
from .version_heartcare import HEARTCARE_VERSION
from .windows_heartcare import LONGEST_SECONDS, Scan, Window, cut_long, plain_windows, summary_of

REPORT = "Write a report of this ECG."
PAGE_KEYWORDS = ("layout", "speed", "gain", "digitize")
PREPROCESS_KEYWORDS = ("question", "options", *ECG_KEYS, *PAGE_KEYWORDS, "coverage", "explain")
# Keywords of other pipelines -> those of this one.
MEANT = {
    **dict.fromkeys(("text", "prompt", "query", "instruction"), "question"),
    **dict.fromkeys(("candidate_labels", "choices", "answers", "labels"), "options"),
    **dict.fromkeys(("fs", "sr", "frequency"), "sampling_rate"),
}
LEAST_CERTAINTY = 0.5  # certainty below which the answer says that the question was not understood
GENERATE_KEYWORDS = {*inspect.signature(GenerationMixin.generate).parameters, *GenerationConfig().to_dict()} - {"self"}


class Reading(NamedTuple):
    """One input whose files were read, whose long recordings were cut, and whose pictures were digitised.

    Attributes:
        messages: The chat that the processor takes.
        question, options: As they were given.
        given: Recordings and pictures of each message, as they were given.
        recordings: The same, with the windows of a long recording in its place.
        windows, scans: As `cut_long` returns them.
        pictures: `Picture` of each picture, digitised or not.
        layout: The layout of the pictures, if it was given.
    """

    messages: list[dict[str, Any]]
    question: str | None
    options: list[str] | None
    given: list[list[dict[str, Any]]]
    recordings: list[list[dict[str, Any]]]
    windows: list[list[Window]]
    scans: list[Scan | None]
    pictures: list[Picture]
    layout: str | None


class ECGInterpretationPipeline(DirectAnswersMixin, Pipeline):
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

    Questions are understood in any wording, in English and German. A question is about the ECGs of the last message
    that has any. All answers about an ECG follow from its measurements and from one set of findings, so that none
    contradicts another; a question that cannot be answered gets a sentence that says so. Beat continues signals. The
    language model answers whatever the heads of a checkpoint do not.

    A picture is digitised, so that Beat reads its signal beside what the ViT sees of it, and it is measured; one that
    cannot be digitised is read by the ViT alone, and a report says so. A recording of more than a minute is answered
    about some windows of it, which the answer names. Nothing is said of a recording that is no ECG: the answer is a
    refusal that names what the leads hold, and there are no findings. Nor is anything said of a picture that is blank
    or shows no ECG, or of one that is neither upright nor can be digitised.

    Input: one ECG or picture in any form that `as_part` takes. A dict may also have "ecgs", a list of several that one
    question is about, and "question" and "options" of its own. A list is many inputs, unless it is a chat.

    Output, a dict for each input:
        - **text** (`str`): The answer; with options, the likeliest of them.
        - **probabilities** (`dict`): Option -> probability; they add up to 1. Without options, a question whether a
          statement is true has those of "Yes" and "No".
        - **findings** (`list[dict]`): For each recording and picture that the model has a head for, words of each
          statement -> calibrated probability, the likeliest first.
        - **statements** (`list[list[str]]`): With `coverage`, a set of statements for each of these, which holds on
          average this share of the true ones.
        - **windows** (`list[dict]`): Where there is a long recording, for each recording and picture that was read:
          "recording", its number from 0 on, and "start", "seconds" and "reason" of a window; None for a whole one.
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
        - **measurements** (`list[dict]`): Numbers of each signal and digitised page, as devices print them: rate,
          intervals, axes, ST levels, ectopic beats; and the "reasons" of those that cannot be measured.
        - **quality** (`list[dict]`): Quality record of each signal and digitised page: its leads and named warnings.
        - **pages** (`list[dict]`): Where there are pictures, for each whether it was "digitized": its "layout",
          "order", "speed" (mm/s), "gain" (mm/mV), degrees by which it was "turned" clockwise, "pixels_per_mm" and
          "warnings"; or the "reason" why not.
        - **provenance** (`dict`): Model, revision (the commit on the Hub), "model_version" and
          "heartcare_version", the versions of heartcare that made the model and that answers, dtype, and the source of
          each ECG.
    """

    _load_processor = True
    _load_image_processor = _load_feature_extractor = _load_tokenizer = False
    _pipeline_calls_generate = True
    _default_generation_config = GenerationConfig(max_new_tokens=256, do_sample=False)

    def __call__(self, inputs: Any, question: str | None = None, **kwargs: Any) -> Any:
        """Answers one input, or each of a list of inputs; see the class for both, and for the keywords.

        Raises: `TypeError` for unknown keywords; `ValueError`, `TypeError`, `FileNotFoundError` and `ImportError` that
            say what is wrong with an input.
        """
        if question is not None:
            kwargs["question"] = question
        return super().__call__(inputs, **kwargs) if not isinstance(inputs, list) or inputs else []

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

    def _sanitize_parameters(self, generate_kwargs: dict[str, Any] | None = None, **kwargs: Any):
        given = {name: kwargs.pop(name) for name in PREPROCESS_KEYWORDS if name in kwargs}
        generate_kwargs = {**kwargs, **(generate_kwargs or {})}
        refuse_unknown(generate_kwargs, (*PREPROCESS_KEYWORDS, *GENERATE_KEYWORDS), type(self).__name__, MEANT)
        return {name: value for name, value in given.items() if value is not None}, generate_kwargs, {}

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

    def preprocess(
        self,
        inputs: Any,
        question: str | None = None,
        options: list[str] | None = None,
        coverage: float | None = None,
        explain: bool = False,
        **given: Any,
    ) -> dict[str, Any]:
        """Reads and encodes one input; see `read` and `encode`.

        Returns: a dict:
            - features: The processor's outputs for this input alone.
            - question, options, coverage, explain: As they were given; an empty list for no options.
            - measurements, quality: Plain measurements and quality record of each signal and digitised page.
            - pictures: `Picture` of each picture, digitised or not.
            - kinds: "ecg", "image" or, for a digitised picture, "page": the kind of each recording, window of a long
              one, and picture, in their order.
            - given: The same for each recording and picture that was given.
            - windows: For each of the given ones its windows, none for one that is read as a whole.
            - summary: Sentences on the long recordings that are asked about; empty without any.
            - refusal: Sentences that say why nothing is said of the ECGs; empty where something is.
            - about, about_given: Range of the `kinds`, and of the `given`, that are asked about; see `about_of`.
            - asked, earlier: `Asked` of the question, and of earlier ones from the latest on; None if not understood.
            - logits, choices: For each of the `kinds`, code of each statement -> logit, and logit as an option; 0 until
              the heads have read them, and None where there is no head.
            - direct: True where the answer needs no words of the language model.
        """
        return self.encode(self.read(inputs, question, options, **given), coverage, explain)

    def read(
        self,
        inputs: Any,
        question: str | None = None,
        options: list[str] | None = None,
        limits: Mapping[str, Any] | None = None,
        **given: Any,
    ) -> Reading:
        """Reads the files of one input, cuts long recordings into windows, and digitises pictures. It uses neither the
        model nor a tokenizer, so that many threads may read at a time.

        Args:
            inputs, question, options: As those of a call.
            limits: "values", "pixels" and "seconds" of all recordings and pictures together; see `Budget`.
            given: sampling_rate, lead_names, units, layout, speed, gain, digitize, as those of a call.

        Raises: the errors of a call that are about the input.
        """
        if isinstance(inputs, dict) and not ({"role", "content"} <= inputs.keys()):
            inputs, own = without_question(inputs)
            question, options = own.get("question", question), own.get("options", options)
        page = {name: given.pop(name, None) for name in PAGE_KEYWORDS}
        check_page(**page)
        check_options(options)
        messages = self._messages(inputs, question, options, given, Budget(**limits) if limits else None)
        given_parts = recordings_of(messages)
        windows, scans = self._cut_long(messages)
        recordings = recordings_of(messages)
        pictures = self._digitize(messages, **page)
        return Reading(messages, question, options, given_parts, recordings, windows, scans, pictures, page["layout"])

    def _messages(
        self,
        inputs: Any,
        question: str | None,
        options: list[str] | None,
        given: dict[str, Any],
        budget: Budget | None,
    ) -> list[dict[str, Any]]:
        """Returns the chat of an input: its own, or one message with the ECGs and the question."""

        def read(part: Any) -> dict[str, Any]:
            if budget is None:
                return as_part(part, **given)
            with budget.held():
                opened = as_part(part, **given)
            budget.spend(opened)
            return opened

        if isinstance(inputs, Chat) or isinstance(inputs, list) and inputs and is_valid_message(inputs[0]):
            messages = inputs.messages if isinstance(inputs, Chat) else inputs
            if question is not None and question not in str(messages[-1]["content"]):
                raise ValueError("A chat asks its own question in its last message; leave question= out.")
            messages = [read_message(message, read) for message in messages]
            if messages[-1]["role"] != "user":
                raise ValueError(
                    f"The last message of a chat must be of the user, got one of {messages[-1]['role']!r}."
                )
        else:
            parts = [read(each) for each in (inputs if isinstance(inputs, (list, tuple)) else [inputs])]
            if not parts:
                raise ValueError(NO_ECG)
            text = {"type": "text", "text": name_options(question or REPORT, options)}
            messages = [{"role": "user", "content": [*parts, text]}]
        return messages

    def _cut_long(self, messages: list[dict]) -> tuple[list[list[Window]], list[Scan | None]]:
        """Replaces long recordings in the messages by windows; see `cut_long`."""
        extractor, places = self.processor.feature_extractor, self._places()
        longest = min(LONGEST_SECONDS, 0.9 * places * extractor.samples_per_latent / extractor.sampling_rate)
        windows, scans = [], []
        for message in messages:
            if not isinstance(message["content"], str):
                message["content"], *found = cut_long(message["content"], longest, extractor)
                windows += found[0]
                scans += found[1]
        return windows, scans

    def _digitize(
        self, messages: list[dict], layout: str | None, speed: float | None, gain: float | None, digitize: bool | None
    ) -> list[Picture]:
        """Digitises the pictures in the messages; see `read_pictures`."""
        stated, pictures = {"layout": None if layout == "auto" else layout, "speed": speed, "gain": gain}, []
        for message in messages:
            if not isinstance(message["content"], str):
                message["content"], found = read_pictures(
                    message["content"], self.processor.image_processor, digitize is not False, **stated
                )
                pictures += found
        return pictures

    def encode(self, reading: Reading, coverage: float | None = None, explain: bool = False) -> dict[str, Any]:
        """Cleans, measures and tokenises an input that was read; see `preprocess` for the result."""
        if coverage is not None:
            self._findings_head("coverage").threshold(coverage)
        if explain:
            self._findings_head("explain")
        messages, recordings, pictures = reading.messages, reading.recordings, reading.pictures
        features, measurements, quality = self._process(messages, reading.layout)
        for number, picture in enumerate(pictures):
            if picture.page is not None:
                tiles = tiles_of(picture.page, self.processor.image_processor)
                features["pixel_values"][number] = torch.from_numpy(tiles)
        question = reading.question or text_of(messages[-1])  # as it was given, without options that were added
        prepared = {
            "features": features,
            "question": question,
            "options": list(reading.options or ()),
            "coverage": coverage,
            "explain": explain,
            "measurements": measurements,
            "quality": quality,
            "pictures": pictures,
            "kinds": kinds_of(recordings, pictures),
            "given": kinds_of(reading.given, pictures),
            "windows": reading.windows,
            "about": about_of(recordings),
            "about_given": about_of(reading.given),
            "asked": self.understand(question, reading.options),
            "earlier": [self.understand(text_of(each)) for each in messages[-2::-1] if each["role"] == "user"],
        }
        first, last = prepared["about_given"]
        prepared["summary"] = summary_of(reading.scans[first:last])
        prepared["refusal"] = self._refusal(prepared) if any(recordings) else NO_ECG
        # The same questions have a direct answer whatever is found, so the findings may be unknown here.
        unread = dict.fromkeys(self._wordings, 0.0)
        found = [unread if self._has_head(kind) else None for kind in prepared["kinds"]]
        prepared |= {"logits": found, "choices": list(found)}
        return prepared | {"direct": self._direct_answer(prepared) is not None}

    def _findings_head(self, keyword: str) -> Any:
        if not self._wordings:
            raise ValueError(f"{keyword}= needs a checkpoint with a head for findings, and this one has none.")
        return self.model.findings_head

    def _process(self, messages: list[dict], layout: str | None) -> tuple[dict, list[dict], list[dict]]:
        """Returns the processor's outputs for a chat, and the measurements and quality of its signals."""
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
        return dict(features), measurements, quality

    def _check_length(self, length: int) -> None:
        """Raises `ValueError` for a prompt of more tokens than the language model has places: its answer would be
        nonsense, after much time and memory.
        """
        places = self._places()
        if length < places:
            return
        extractor = self.processor.feature_extractor
        per_second = extractor.sampling_rate / extractor.samples_per_latent
        raise ValueError(
            f"The prompt has {length} tokens, and the language model has {places} places. An ECG takes {per_second:g} "
            f"tokens a second, so ask about {int(0.9 * places / per_second)} s at most, all ECGs of the question "
            "together; `model.beat.stream` follows a longer recording."
        )

    def _places(self) -> float:
        """Returns the number of tokens that the language model can read, infinite for one without a limit."""
        return getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or float("inf")

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
        elif is_forecast(question):
            return Asked("predict")
        if self._wordings and (code := asked_statement(question, self._wordings)):
            return Asked("is", (code,))
        if not self.model.config.asked:
            return None
        found = self.model.question_reader.read([question])[0]
        return found if found.certainty >= LEAST_CERTAINTY else None

    @staticmethod
    def _refusal(prepared: dict[str, Any]) -> str:
        quality, causes = iter(prepared["quality"]), []
        for kind, windows in zip(prepared["given"], prepared["windows"]):
            if "ecg" in EXPERTS[kind]:
                # All windows of a long recording are ECGs, or it has one alone.
                causes.append([next(quality)["not_an_ecg"] for _ in windows or [None]][0])
        return refusal_of(causes, [picture.refusal for picture in prepared["pictures"]])

    def _forward(self, batch: dict | list[dict], **generate_kwargs) -> dict | list[dict]:
        if isinstance(batch, dict):
            return self._forward([batch], **generate_kwargs)[0]
        self._find([prepared for prepared in batch if not prepared.get("is_read")])
        for prepared in batch:
            if self._is_explained(prepared):
                prepared["explanations"] = self._explain(prepared)
            if prepared["direct"]:
                given = self._direct_answer(prepared)
                text = self.numbered(prepared, given.text) if is_prose(prepared) else with_notes(prepared, given.text)
                asked = prepared["asked"]
                if asked is not None and asked.kind == "predict" and self._is_forecast(prepared):
                    prepared["forecast"] = self._forecast(prepared)
                count = generate_kwargs.get("num_return_sequences") or 1
                prepared["text"] = text if count == 1 else [text] * count
                prepared["probabilities"] = given.probabilities
                prompt = int(prepared["features"]["attention_mask"].sum())
                prepared["tokens"] = {"answer": 0, "finished": True, "prompt": prompt}
        for options in (True, False):
            some = [prepared for prepared in batch if bool(prepared["options"]) == options and not prepared["direct"]]
            if not some:
                continue
            inputs = self.ensure_tensor_on_device(**self.collate([prepared["features"] for prepared in some]))
            if options:
                self._choose(some, inputs)
            else:
                self._write(some, inputs, self._prepare_generate_kwargs(generate_kwargs))
            for prepared, length in zip(some, inputs["attention_mask"].sum(1).tolist()):
                prepared["tokens"]["prompt"] = length
        return batch

    def _write(self, batch: list[dict], inputs: dict, generate_kwargs: dict):
        """Answers in the model's own words."""
        ids = self.model.generate(**inputs, **generate_kwargs)[:, inputs["input_ids"].shape[1] :]
        ends = generate_kwargs.get("eos_token_id", self.model.generation_config.eos_token_id)
        lengths, finished = answer_lengths(ids, ends)
        texts = [text.strip() for text in self.processor.batch_decode(ids, skip_special_tokens=True)]
        per_input = len(ids) // len(batch)  # num_return_sequences
        for k, prepared in enumerate(batch):
            rows = slice(k * per_input, (k + 1) * per_input)
            own = [self.numbered(prepared, text) for text in texts[rows]]
            prepared["text"] = own[0] if per_input == 1 else own
            prepared["tokens"] = {"answer": int(lengths[rows].sum()), "finished": bool(finished[rows].all())}

    def _choose(self, batch: list[dict], inputs: dict):
        """Scores each option as a whole answer, and takes the likeliest."""
        answers = [self.processor.answer_ids(prepared["options"]) for prepared in batch]
        for prepared, ids, scores in zip(batch, answers, self.model.score_answers(answers, **inputs)):
            best, shares = option_shares(scores)
            prepared["probabilities"] = dict(zip(prepared["options"], shares))
            prepared["text"] = prepared["options"][best]
            prepared["tokens"] = {"answer": len(ids[best]), "finished": True}

    def numbered(self, prepared: dict[str, Any], text: str, finished: bool = True) -> str:
        """Returns an answer as it is shown: about one signal, with the numbers that its statements rest on.

        Args:
            prepared: Result of `preprocess`.
            text: The answer, or its beginning.
            finished: True if the text is the whole answer; a beginning is returned as far as later words cannot change
                it.
        """
        if (number := signal_asked(prepared)) is not None:
            return numbered(text, prepared["measurements"][number], finished)
        return with_notes(prepared, text) if finished else with_notes(prepared, text[: text.rfind(" ") + 1], False)

    def postprocess(self, outputs: dict[str, Any]) -> dict[str, Any]:
        """Returns the reply of one input; see the class."""
        reply = {"text": outputs["text"]}
        if outputs.get("probabilities"):
            reply["probabilities"] = outputs["probabilities"]
        if any(outputs["windows"]):
            reply["windows"] = plain_windows(outputs["windows"])
        if any(outputs["logits"]) and not outputs["refusal"]:
            found = [facts.opinion.ranked() for facts, read in zip(self.facts(outputs), outputs["logits"]) if read]
            reply["findings"] = [{words: round(share, 4) for words, share in each.items()} for each in found]
            if outputs["coverage"] is not None:
                kinds = [kind for kind, read in zip(outputs["kinds"], outputs["logits"]) if read]
                least = [self._head(kind).threshold(outputs["coverage"]) for kind in kinds]
                reply["statements"] = [
                    [words for words, share in each.items() if share >= limit] for each, limit in zip(found, least)
                ]
        reply |= {name: outputs[name] for name in ("explanations", "forecast") if name in outputs}
        provenance = {
            "model": name_of_repository(self.model.config.name_or_path),
            "revision": getattr(self.model, "revision", None),
            "model_version": self.model.config.heartcare_version,
            "heartcare_version": HEARTCARE_VERSION,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "pictures": len(outputs["pictures"]),
            "ecgs": [
                {name: quality[name] for name in ("source", "sampling_rate", "seconds")}
                for quality in outputs["quality"]
            ],
        }
        number = signal_asked(outputs)
        if number is not None and isinstance(outputs["text"], str) and is_prose(outputs):
            claims = verify_claims(outputs["text"], outputs["measurements"][number])
            reply["checks"] = [asdict(claim) for claim in claims]
        if outputs["pictures"]:
            reply["pages"] = [picture.as_plain() for picture in outputs["pictures"]]
        kept = {name: outputs[name] for name in ("tokens", "measurements", "quality")}
        return reply | kept | {"provenance": provenance}

    def _head(self, kind: str) -> CalibratedHead:
        return self.model.picture_head if kind == "image" else self.model.findings_head


def check_page(layout: str | None, speed: float | None, gain: float | None, digitize: bool | None) -> None:
    """Raises `ValueError` for a layout, speed, gain or choice that no page has."""
    if layout is not None:
        checked_layout(layout)
    for name, value, unit in (("speed", speed, "mm/s"), ("gain", gain, "mm/mV")):
        if value is not None and not (isinstance(value, (int, float)) and 0 < value < float("inf")):
            raise ValueError(f"{name} must be a number of {unit} above 0, got {value!r}.")
    if digitize not in (None, True, False):
        raise ValueError(f"digitize must be True or False, got {digitize!r}.")


def register_task() -> None:
    """Makes this copy of the code answer the task "ecg-interpretation".

    Loading a model calls it. Another copy, that of the package or of another revision on the Hub, is taken out first,
    since the registry warns when it replaces one.
    """
    PIPELINE_REGISTRY.supported_tasks.pop(TASK, None)
    PIPELINE_REGISTRY.register_pipeline(
        TASK, ECGInterpretationPipeline, pt_model=AutoModelForImageTextToText, type="multimodal"
    )


register_task()

__all__ = ["ECGInterpretationPipeline", "register_task"]
