# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""`pipeline(model=REPO, trust_remote_code=True)`: any ECG in, an answer with probabilities, quality and provenance out.

a path, bytes, base64, an array, a picture, several of them, or a chat  -->  a chat  -->  inputs  -->  text, or the
likeliest option  -->  a dict
"""

import base64
import binascii
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import torch
from PIL import Image
from transformers import GenerationConfig, TextIteratorStreamer
from transformers.pipelines.base import Pipeline
from transformers.utils.chat_template_utils import Chat, is_valid_message

REPORT = "Write a report of this ECG."
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
ECG_KEYS = ("sampling_rate", "lead_names", "units")


def file_of(content: bytes) -> tuple[str, str]:
    """Bytes of a file -> what they are, "image" or "ecg", and the ending of such a file. Raises: `ValueError` for bytes
    that are neither.
    """
    if (
        content.startswith((b"\x89PNG", b"\xff\xd8\xff", b"BM", b"GIF8", b"II*\0", b"MM\0*"))
        or content[8:12] == b"WEBP"
    ):
        return "image", ""
    if content.startswith(b"\x93NUMPY"):
        return "ecg", ".npy"
    if content.startswith(b"PK\x03\x04"):
        return "ecg", ".npz"
    try:
        content[:4096].decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(content[:4096]) - 4:  # not merely a letter that was cut
            raise ValueError(
                "The bytes are no picture, .npy, .npz or .csv. Read other files first: {'type': 'ecg', **heartcare.agent.readers.read_ecg(path).as_input()}."
            ) from None
    return "ecg", ".csv"


def read_bytes(content: bytes, **given) -> dict:
    """The bytes of a picture, a .npy, .npz or .csv file -> a part of a message. `given`: sampling_rate, lead_names,
    units.
    """
    from .processing_heartcare import read_ecg

    if not content:
        raise ValueError("The file is empty.")
    kind, ending = file_of(content)
    if kind == "image":
        return {"type": "image", "image": open_picture(content)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"upload{ending}"
        path.write_bytes(content)
        try:
            return {"type": "ecg", "source": "upload", **read_ecg(path, **given)}
        except ValueError as error:
            raise ValueError(str(error).replace(str(path), "upload")) from None


def open_picture(content: bytes) -> Image.Image:
    try:
        picture = Image.open(io.BytesIO(content))
        picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"The picture cannot be read, it may be truncated ({error}).") from None
    return picture.convert("RGB")


def read_base64(text: str, **given) -> dict:
    """Base64, or a data: URI of it -> a part of a message. Raises: `ValueError`."""
    body = text.partition(",")[2] if text.startswith("data:") else text
    try:
        content = base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{text[:40]!r} is no base64 of a file.") from None
    return read_bytes(content, **given)


def as_part(given, **options) -> dict:
    """One ECG or picture in any form -> a part of a message, as the processor takes it.

    Args:
        given: A path, URL of a picture, bytes, base64, array (leads, samples), PIL image, or a dict with "ecg",
            "signal", "path", "image", "bytes" or "base64", and what is known beside it.
        options: sampling_rate (Hz), lead_names, units of arrays and of files that do not say.

    Raises: `ValueError`, `TypeError`, `FileNotFoundError`.
    """
    if isinstance(given, dict):
        given = dict(given)
        options = options | {name: given.pop(name) for name in ECG_KEYS if given.get(name) is not None}
        kind = given.pop("type", None)
        content = {name: value for name, value in given.items() if value is not None and name != "source"}
        if len(content) != 1 or next(iter(content)) not in ("ecg", "signal", "path", "image", "url", "bytes", "base64"):
            raise ValueError(
                f"Expected exactly one of 'ecg', 'signal', 'path', 'image', 'bytes', 'base64', beside {', '.join(ECG_KEYS)}, got the keys {sorted(given)}."
            )
        (name, value), source = content.popitem(), given.get("source")
        if name == "base64":
            return read_base64(value, **options)
        if isinstance(value, (list, tuple)) and name in ("ecg", "signal"):
            try:
                value = np.asarray(value, np.float64)  # as JSON has it
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"A signal in lists must be leads of numbers, all of the same length ({error})."
                ) from None
        if kind == "image" or name in ("image", "url"):
            return {"type": "image", "image": open_picture(value) if isinstance(value, bytes) else value}
        part = as_part(value, **options)
        return part | {"source": source} if source and part["type"] == "ecg" else part
    if isinstance(given, Image.Image):
        return {"type": "image", "image": given}
    if isinstance(given, (bytes, bytearray, memoryview)):
        return read_bytes(bytes(given), **options)
    if isinstance(given, (np.ndarray, torch.Tensor)):
        return {"type": "ecg", "ecg": given, **options}
    if not isinstance(given, (str, Path)):
        raise TypeError(
            f"An ECG is given as a path, bytes, base64, array, picture or dict, got {type(given).__name__}."
        )
    text = str(given)
    if text.startswith(("http://", "https://")):
        return {"type": "image", "image": text}
    if text.startswith("data:") or len(text) > 1000:
        return read_base64(text, **options)
    path = Path(text)
    if path.suffix.lower() in PICTURES:
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist.")
        return {"type": "image", "image": text}
    if (
        not path.exists()
        and not path.with_suffix(".hea").exists()
        and not path.with_name(path.name + ".hea").exists()
        and not path.suffix
    ):
        try:
            return read_base64(text, **options)
        except ValueError:
            raise FileNotFoundError(f"{text[:40]!r} is neither a file that exists, nor base64 of one.") from None
    return {"type": "ecg", "path": text, **options}


class ECGInterpretationPipeline(Pipeline):
    """
    Answers questions about ECGs.

    ```python
    pipe = pipeline(model="USER/HeartcareGPT", trust_remote_code=True)
    pipe("record.hea")                                                              # a report
    pipe("page.png", question="Which rhythm is it?", options=["sinus rhythm", "atrial fibrillation"])
    pipe({"signal": array, "sampling_rate": 500, "lead_names": [...], "question": "What is the rhythm?"})
    pipe([first, second, third], batch_size=8)                                      # one answer for each
    pipe([{"role": "user", "content": [{"type": "ecg", "path": "record"}, {"type": "text", "text": "What is the
    rhythm?"}]}]) for piece in pipe.stream("record.hea"): print(piece, end="")
    ```

    Input: see `as_part` for one ECG or picture; a dict may also have "ecgs", a list of several that one question is
        about, and "question" and "options" of its
    own. A list is many inputs, unless it is a chat.

    Output, a dict for each input:
        - **text** (`str`): The answer; with options, the likeliest of them.
        - **probabilities** (`dict`): With options: option -> probability; they add up to 1.
        - **tokens** (`dict`): How many the "prompt" had, its ECGs and pictures included, and the "answer"; "finished",
            which is False for an answer that a limit of tokens or time cut off.
        - **quality** (`list[dict]`): Of each ECG that is no picture, its lead mask and named warnings.
        - **provenance** (`dict`): Model, revision, dtype, and what each ECG was.
    """

    _load_processor = True
    _load_image_processor = _load_feature_extractor = _load_tokenizer = False
    _pipeline_calls_generate = True
    _default_generation_config = GenerationConfig(max_new_tokens=256, do_sample=False)

    def _sanitize_parameters(
        self,
        question=None,
        options=None,
        sampling_rate=None,
        lead_names=None,
        units=None,
        generate_kwargs=None,
        **kwargs,
    ):
        given = {
            "question": question,
            "options": options,
            "sampling_rate": sampling_rate,
            "lead_names": lead_names,
            "units": units,
        }
        return (
            {name: value for name, value in given.items() if value is not None},
            {**kwargs, **(generate_kwargs or {})},
            {},
        )

    def preprocess(self, inputs, question: str | None = None, options: list[str] | None = None, **given) -> dict:
        """Any input -> a dict of `features`, the processor's outputs for it alone; `options`; `quality`; `sources`."""
        if isinstance(inputs, dict) and not ({"role", "content"} <= inputs.keys()):
            inputs = dict(inputs)
            question, options = inputs.pop("question", question), inputs.pop("options", options)
            if "ecgs" in inputs:
                if len(inputs) > 1:
                    raise ValueError(
                        f"'ecgs' is a list of ECGs, each with its own keys; got {sorted(inputs)} beside it."
                    )
                inputs = inputs["ecgs"]
        if options is not None and (
            isinstance(options, str)
            or len(set(options)) < 2
            or not all(isinstance(each, str) and each for each in options)
        ):
            raise ValueError(f"options must be two or more different texts, got {options!r}.")
        if isinstance(inputs, Chat) or isinstance(inputs, list) and inputs and is_valid_message(inputs[0]):
            messages = inputs.messages if isinstance(inputs, Chat) else inputs
            messages = [self._read_message(message, **given) for message in messages]
            if messages[-1]["role"] != "user":
                raise ValueError(
                    f"The last message of a chat must be of the user, got one of {messages[-1]['role']!r}."
                )
        else:
            parts = [as_part(each, **given) for each in (inputs if isinstance(inputs, (list, tuple)) else [inputs])]
            messages = [
                {"role": "user", "content": [*parts, {"type": "text", "text": asked(question or REPORT, options)}]}
            ]
        features = self.processor.apply_chat_template(
            messages,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"return_quality": True},
        )
        parts = [part for message in messages if not isinstance(message["content"], str) for part in message["content"]]
        quality = features.pop("ecg_quality", [])
        return {
            "features": dict(features),
            "options": list(options or ()),
            "quality": quality,
            "pictures": sum(part["type"] == "image" for part in parts),
        }

    @staticmethod
    def _read_message(message: dict, **given) -> dict:
        content = message["content"]
        if not isinstance(content, str):
            content = [part if part.get("type") == "text" else as_part(part, **given) for part in content]
        return {"role": message["role"], "content": content}

    def _forward(self, batch: dict | list[dict], **generate_kwargs) -> dict | list[dict]:
        if isinstance(batch, dict):
            return self._forward([batch], **generate_kwargs)[0]
        for options in (True, False):
            some = [each for each in batch if bool(each["options"]) == options]
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

    def _write(self, batch: list[dict], inputs: dict, generate_kwargs: dict):
        """Answers in the model's own words."""
        ids = self.model.generate(**inputs, **generate_kwargs)[:, inputs["input_ids"].shape[1] :]
        ends = generate_kwargs.get("eos_token_id", self.model.generation_config.eos_token_id)
        is_end = torch.isin(ids, torch.as_tensor(-1 if ends is None else ends, device=ids.device))
        finished = is_end.any(1)
        lengths = torch.where(finished, is_end.int().argmax(1) + 1, ids.shape[1])
        texts = [text.strip() for text in self.processor.batch_decode(ids, skip_special_tokens=True)]
        per_input = len(ids) // len(batch)  # num_return_sequences
        for k, each in enumerate(batch):
            rows = slice(k * per_input, (k + 1) * per_input)
            each["text"] = texts[rows][0] if per_input == 1 else texts[rows]
            each["tokens"] = {"answer": int(lengths[rows].sum()), "finished": bool(finished[rows].all())}

    def _choose(self, batch: list[dict], inputs: dict):
        """Probabilities of the options, each as a whole answer."""
        answers = [self.processor.answer_ids(each["options"]) for each in batch]
        for each, ids, scores in zip(batch, answers, self.model.score_answers(answers, **inputs)):
            shares = scores.double().softmax(0).tolist()
            each["probabilities"] = dict(zip(each["options"], shares))
            best = max(range(len(shares)), key=shares.__getitem__)
            each["text"], each["tokens"] = each["options"][best], {"answer": len(ids[best]), "finished": True}

    def collate(self, features: list[dict]) -> dict[str, torch.Tensor]:
        """Inputs of single prompts -> those of a batch, padded on the left."""
        fill = {"input_ids": self.processor.tokenizer.pad_token_id}
        batch = {}
        for name in dict.fromkeys(name for each in features for name in each):
            values = [each[name] for each in features if name in each]
            longest = max(value.shape[-1] for value in values)
            batch[name] = torch.cat(
                [
                    value
                    if value.shape[-1] == longest or name in ("lead_mask", "pixel_values")
                    else torch.nn.functional.pad(value, (longest - value.shape[-1], 0), value=fill.get(name, 0))
                    for value in values
                ]
            )
        return batch

    def postprocess(self, outputs: dict) -> dict:
        found = {"text": outputs["text"]}
        if outputs["options"]:
            found["probabilities"] = outputs["probabilities"]
        config = self.model.config
        provenance = {
            "model": config.name_or_path,
            "revision": getattr(config, "_commit_hash", None),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "pictures": outputs["pictures"],
            "ecgs": [
                {name: each[name] for name in ("source", "sampling_rate", "seconds") if name in each}
                for each in outputs["quality"]
            ],
        }
        return found | {"tokens": outputs["tokens"], "quality": outputs["quality"], "provenance": provenance}

    def get_iterator(
        self, inputs, num_workers, batch_size, preprocess_params, forward_params, postprocess_params
    ) -> Iterator[dict]:
        """Batches are padded here, since each has ECGs and pictures of its own number."""
        waiting = []
        for each in inputs:
            waiting.append(self.preprocess(each, **preprocess_params))
            if len(waiting) == batch_size:
                yield from (
                    self.postprocess(one, **postprocess_params) for one in self.forward(waiting, **forward_params)
                )
                waiting = []
        if waiting:
            yield from (self.postprocess(one, **postprocess_params) for one in self.forward(waiting, **forward_params))

    def stream(self, inputs, **kwargs) -> Iterator[str]:
        """The answer to one input piece by piece, as it is written. Takes what a call takes, but for options.

        Raises: what a call raises, when the first piece is asked for.
        """
        if kwargs.get("options") or isinstance(inputs, dict) and inputs.get("options"):
            raise ValueError(
                "An answer that is chosen from options is not written piece by piece; call the pipeline instead."
            )
        streamer = TextIteratorStreamer(self.processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
        failed: list[Exception] = []

        def run():
            try:
                self(inputs, streamer=streamer, **kwargs)
            except Exception as error:
                failed.append(error)
                streamer.end()

        thread = Thread(target=run, daemon=True)
        thread.start()
        yield from (piece for piece in streamer if piece)
        thread.join()
        if failed:
            raise failed[0]


def asked(question: str, options: list[str] | None) -> str:
    """A question with its options, which are named in it where they are not yet."""
    if not options or all(option.lower() in question.lower() for option in options):
        return question
    return f"{question.rstrip(' ?:.')}: {', '.join(options)}?"


__all__ = ["ECGInterpretationPipeline", "as_part"]
