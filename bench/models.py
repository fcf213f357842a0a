"""Asks the models that are scored: HeartcareGPT, any image-text-to-text model of transformers, any OpenAI-compatible
endpoint.

Each answers prompts of recordings, pictures and a question. A model that takes no signals gets them drawn as pictures,
as the paper does for its baselines.
"""

import base64
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, PretrainedConfig
from transformers.generation import LogitsProcessor, LogitsProcessorList

from ..agent.llm import chat
from ..agent.render import draw_ecg, encode_png
from ..answering_heartcare import NO_ECG, Answer, confirm
from ..branching_heartcare import Branches, answer_lengths, attention_bias, option_shares, who_sees_whom
from ..extraction_heartcare import BeatFeatureExtractor
from ..modeling_heartcare import HeartcareForConditionalGeneration
from ..pipeline_heartcare import ECGInterpretationPipeline
from ..processing_heartcare import HeartcareProcessor
from ..tokenization_beat import BeatModel
from ..understanding_heartcare import Asked

MAX_NEW_TOKENS = {"closed-qa": 48, "open-qa": 96, "comparison-qa": 128, "report": 256, "prediction": 16, "ecg-qa": 96}
LETTERS = "ABCDEFGH"
QUESTIONS_AT_ONCE = 16  # in one batch of classification, for a model that gets the pictures with each question
ENDPOINT_TRIES, ENDPOINT_SECONDS = 4, 300.0


@dataclass(frozen=True)
class ModelSpec:
    """The model that is scored.

    Attributes:
        name: Folder or Hub id; with a `url`, the name of the model there.
        url: OpenAI-compatible server, for example "http://localhost:8000/v1".
        device: "cpu", "cuda", ...; by default cuda where there is one.
        trust_remote_code: Whether code that comes with the model is run.
        display_name: Name in the results; by default the folder's name or the Hub id.
        alone: Whether the language model of a HeartcareGPT answers by itself, instead of the pipeline that people ask.
    """

    name: str
    url: str | None = None
    device: str | None = None
    trust_remote_code: bool = False
    display_name: str | None = None
    alone: bool = False


class Prompt(NamedTuple):
    """`parts`, content of a chat without its text; the `question`; its `options`, if it is closed; `seconds` to
    forecast, if it is a prediction.
    """

    parts: list[dict]
    question: str
    options: tuple[str, ...] = ()
    seconds: int = 0


class Reply(NamedTuple):
    """`text`; `confidence`, the probability that the model gave to it, or None; `forecast`, (12, samples) mV at 100 Hz,
    if there is one.
    """

    text: str
    confidence: float | None = None
    forecast: np.ndarray | None = None


class AnswerConfidence(LogitsProcessor):
    """Keeps the log-probability of the likeliest token at each step, which is the one that greedy decoding takes."""

    def __init__(self):
        self.steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        self.steps.append(scores.float().log_softmax(-1).amax(-1))
        return scores

    def confidence(self, lengths: list[int]) -> list[float]:
        """Returns the probability of each answer, from the number of its tokens."""
        steps = torch.stack(self.steps, 1)
        return [math.exp(answer[:length].sum().item()) for answer, length in zip(steps, lengths)]


class ChatModel:
    """Any image-text-to-text model of transformers: signals are drawn, options get letters."""

    def __init__(self, name: str, device: str | None = None, trust_remote_code: bool = False):
        self.name = name
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.load(trust_remote_code)
        self.model.to(self.device).eval()
        self.tokenizer = getattr(self.processor, "tokenizer", self.processor)
        self.tokenizer.padding_side = "left"

    def load(self, trust_remote_code: bool):
        """Loads `processor` and `model`."""
        dtype = torch.float32 if self.device == "cpu" else "auto"
        options = {"trust_remote_code": trust_remote_code}
        self.processor = AutoProcessor.from_pretrained(self.name, **options)
        self.model = AutoModelForImageTextToText.from_pretrained(self.name, **options, dtype=dtype)

    def randomise(self, seed: int):
        """Replaces the trained encoder by one of random weights: the control that shows what the encoder has learnt."""
        torch.manual_seed(seed)
        known = ("vision_tower", "vision_model", "visual", "vision_encoder")
        towers = [module for name, module in self.model.named_modules() if name.split(".")[-1] in known]
        if not towers:
            raise ValueError(
                f"{type(self.model).__name__} has no vision tower of a known name, so that its encoder cannot be made "
                "random."
            )
        for module in towers[0].modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
            else:
                for weight in module.parameters(recurse=False):
                    torch.nn.init.normal_(weight, std=0.02)

    @torch.no_grad()
    def answer(self, prompts: list[Prompt], max_new_tokens: int) -> list[Reply]:
        """Answers one batch by greedy decoding."""
        inputs, confidence = self.inputs(prompts), AnswerConfidence()
        options = {"do_sample": False, "num_beams": 1, "max_new_tokens": max_new_tokens}
        ids = self.model.generate(**inputs, **options, logits_processor=LogitsProcessorList([confidence]))
        ids = ids[:, inputs["input_ids"].shape[1] :]
        lengths, _ = answer_lengths(ids, self.model.generation_config.eos_token_id)
        texts = self.processor.batch_decode(ids, skip_special_tokens=True)
        forecasts: list[np.ndarray | None] = [None] * len(prompts)
        if any(prompt.seconds for prompt in prompts):
            forecasts = self.forecast(prompts, inputs, ids)
        confidences = confidence.confidence(lengths.tolist())
        return [Reply(text.strip(), *rest) for text, *rest in zip(texts, confidences, forecasts)]

    def forecast(self, prompts: list[Prompt], inputs: dict, ids: torch.Tensor) -> list[np.ndarray | None]:
        """Returns the forecasts of a batch that was answered with the tokens `ids`; None where there is none."""
        return [None] * len(prompts)

    @torch.no_grad()
    def choose(self, prompts: list[Prompt]) -> list[Reply]:
        """Chooses the likeliest option of each closed question, with its share of the probability of all of them:
        `answer` without the chance to answer anything else.
        """
        likeliest = [option_shares(scores) for scores in self.option_scores(prompts)]
        return [Reply(prompt.options[best], shares[best]) for prompt, (best, shares) in zip(prompts, likeliest)]

    def option_scores(self, prompts: list[Prompt]) -> list[torch.Tensor]:
        """Returns for each prompt the log-probability of each option's letter, (options,)."""
        logits = self.model(**self.inputs(prompts), logits_to_keep=1).logits[:, -1]
        letters = [[self.first_tokens(letter) for letter in LETTERS[: len(prompt.options)]] for prompt in prompts]
        return [
            torch.stack([torch.logsumexp(row[tokens], -1) for tokens in options])
            for row, options in zip(logits, letters)
        ]

    def inputs(self, prompts: list[Prompt]) -> dict:
        """Returns the model's inputs for one batch of prompts, padded on the left."""
        chats = [[{"role": "user", "content": self.content(prompt)}] for prompt in prompts]
        options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
        return self.processor.apply_chat_template(chats, **options, processor_kwargs={"padding": True}).to(self.device)

    def content(self, prompt: Prompt) -> list[dict]:
        """Returns the user's message: the parts as this model takes them, and the text."""
        return [*(as_picture(part) for part in prompt.parts), {"type": "text", "text": instruction(prompt)}]

    @torch.no_grad()
    def yes_probabilities(self, parts: list[dict], questions: list[str]) -> np.ndarray:
        """Returns P(yes) / (P(yes) + P(no)) of the first token of the answer to each question about the same recording:
        float64 (questions,).
        """
        shares = []
        for start in range(0, len(questions), QUESTIONS_AT_ONCE):
            batch = questions[start : start + QUESTIONS_AT_ONCE]
            inputs = self.inputs([Prompt(parts, f"{question} Reply with yes or no alone.") for question in batch])
            shares.append(self.yes_share(self.model(**inputs, logits_to_keep=1).logits[:, -1]))
        return np.concatenate(shares)

    def yes_share(self, logits: torch.Tensor) -> np.ndarray:
        """Returns the probability of all tokens that begin a "yes" against those that begin a "no": (n, vocabulary) ->
        (n,).
        """
        logits = logits.double()
        yes, no = (torch.logsumexp(logits[:, self.first_tokens(word)], -1) for word in ("yes", "no"))
        return torch.sigmoid(yes - no).cpu().numpy()

    def first_tokens(self, word: str) -> list[int]:
        """Returns the tokens that an answer with this word begins with, in any spelling."""
        forms = (word, word.capitalize(), word.upper(), f" {word}", f" {word.capitalize()}")
        return sorted({self.tokenizer(form, add_special_tokens=False)["input_ids"][0] for form in forms})


class HeartcareModel(ChatModel):
    """The language model of HeartcareGPT alone: takes signals as they are, and questions as the data set has them."""

    def load(self, trust_remote_code: bool):
        """Loads `processor` and `model`; the code is this package's own."""
        self.processor = HeartcareProcessor.from_pretrained(self.name)
        self.model = HeartcareForConditionalGeneration.from_pretrained(self.name)

    def randomise(self, seed: int):
        """Replaces Beat and the vision tower by ones of random weights."""
        torch.manual_seed(seed)
        self.model.beat = BeatModel(self.model.beat.config).to(self.device).eval()
        self.model.vision_tower = type(self.model.vision_tower)(self.model.vision_tower.config).to(self.device).eval()

    def content(self, prompt: Prompt) -> list[dict]:
        """Returns the user's message: signals and pictures as they are, and the question."""
        return [*prompt.parts, {"type": "text", "text": prompt.question}]

    def forecast(self, prompts: list[Prompt], inputs: dict, ids: torch.Tensor) -> list[np.ndarray | None]:
        """Returns Beat's forecast for the prompts that were answered with the token that asks for it."""
        requested = (ids == self.model.config.prediction_token_id).any(1).tolist()
        if "input_values" not in inputs:
            return [None] * len(prompts)
        rate = self.processor.feature_extractor.sampling_rate
        ecg = {name: inputs[name] for name in ("input_values", "ecg_attention_mask", "lead_mask")}
        signals = self.model.forecast(**ecg, seconds=max(prompt.seconds for prompt in prompts)).cpu().numpy()
        bench = BeatFeatureExtractor()
        return [
            bench.resample(signal[:, : prompt.seconds * rate], rate) if wanted else None
            for signal, prompt, wanted in zip(signals, prompts, requested)
        ]

    def option_scores(self, prompts: list[Prompt]) -> list[torch.Tensor]:
        """Returns for each prompt the log-probability of each option as a whole answer, (options,)."""
        answers = [self.processor.answer_ids(list(prompt.options)) for prompt in prompts]
        return self.model.score_answers(answers, **self.inputs(prompts))

    def first_tokens(self, word: str) -> list[int]:
        """Returns the first token of the word as the data set's answers have it."""
        return [self.tokenizer(f"{word.capitalize()}.", add_special_tokens=False)["input_ids"][0]]

    @torch.no_grad()
    def yes_probabilities(self, parts: list[dict], questions: list[str]) -> np.ndarray:
        """Returns P(yes) of each question, all asked as branches of one prompt: float64 (questions,).

        Each question sees the recording and itself, and counts its positions from the recording on, so that its answer
        is what it would be in a prompt of its own, at a third of the cost.
        """
        marker = "\x00"
        message = [{"role": "user", "content": [*parts, {"type": "text", "text": marker}]}]
        inputs = self.processor.apply_chat_template(
            message, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        begin, end = self.processor.apply_chat_template(message, add_generation_prompt=True).split(marker)
        ids = self.tokenizer(end, add_special_tokens=False)["input_ids"]
        marked = len(self.tokenizer(marker + end, add_special_tokens=False)["input_ids"])
        prefix = inputs.pop("input_ids")[0, :-marked].tolist()
        branches = [self.tokenizer(question, add_special_tokens=False)["input_ids"] + ids for question in questions]
        row = Branches.of([prefix], [branches], self.device)
        last = torch.tensor(np.cumsum([len(branch) for branch in branches]) + len(prefix) - 1)
        inputs.pop("attention_mask")
        logits = self.model(
            input_ids=row.ids,
            attention_mask=attention_bias(who_sees_whom(row.branch), self.model.dtype),
            position_ids=row.positions,
            logits_to_keep=last.to(self.device),
            **inputs.to(self.device),
        ).logits[0]
        return self.yes_share(logits)


class HeartcarePipeline(HeartcareModel):
    """HeartcareGPT as people ask it, through its pipeline, which is given the options of closed questions.

    Attributes:
        alone: Whether the language model answers by itself, for the controls that the pipeline refuses to speak of.
    """

    alone = False

    def load(self, trust_remote_code: bool):
        """Loads `processor`, `model` and `pipe`."""
        super().load(trust_remote_code)
        self.pipe = ECGInterpretationPipeline(model=self.model, processor=self.processor, device=self.device)
        self._asked: dict[str, Asked | None] = {}

    def answer(self, prompts: list[Prompt], max_new_tokens: int) -> list[Reply]:
        """Answers one batch through the pipeline; a prompt without any recording is told that there is none."""
        if self.alone:
            return super().answer(prompts, max_new_tokens)
        given = [place for place, prompt in enumerate(prompts) if prompt.parts]
        inputs = [
            {"ecgs": prompts[place].parts, "question": prompts[place].question}
            | ({"options": list(prompts[place].options)} if prompts[place].options else {})
            for place in given
        ]
        replies = self.pipe(inputs, batch_size=max(1, len(inputs)), max_new_tokens=max_new_tokens)
        answers = [Reply(NO_ECG)] * len(prompts)
        for place, reply in zip(given, replies):
            confidence = reply.get("probabilities", {}).get(reply["text"])
            answers[place] = Reply(reply["text"], confidence, self.forecast_of(reply, prompts[place]))
        return answers

    def forecast_of(self, reply: dict, prompt: Prompt) -> np.ndarray | None:
        """Returns the forecast of a reply as the benchmark takes it."""
        if not prompt.seconds or "forecast" not in reply:
            return None
        rate = self.processor.feature_extractor.sampling_rate
        forecast = np.array(reply["forecast"], np.float32)[:, : prompt.seconds * rate]
        return BeatFeatureExtractor().resample(forecast, rate)

    def choose(self, prompts: list[Prompt]) -> list[Reply]:
        """Returns the option that the pipeline chooses for each closed question, and its probability."""
        if self.alone:
            return super().choose(prompts)
        return self.answer(prompts, max(MAX_NEW_TOKENS.values()))

    def yes_probabilities(self, parts: list[dict], questions: list[str]) -> np.ndarray:
        """Returns P(yes) of each question, from one reading of the recording; 0.5 where nothing is said of it: float64
        (questions,).
        """
        prepared = self.pipe.preprocess({"ecgs": parts, "question": questions[0]})
        if prepared["refusal"] or not prepared["direct"]:
            return np.full(len(questions), 0.5) if prepared["refusal"] else super().yes_probabilities(parts, questions)
        (read,) = self.pipe.forward([prepared])
        (facts,) = self.pipe.facts(read)
        requests = [self.asked(question) for question in questions]
        answers = [Answer("") if asked is None or asked.kind != "is" else confirm(asked, facts) for asked in requests]
        return np.array([answer.probabilities.get("Yes", 0.5) for answer in answers])

    def asked(self, question: str) -> Asked | None:
        """Returns what a question asks for; each question is read once."""
        if question not in self._asked:
            self._asked[question] = self.pipe.understand(question)
        return self._asked[question]


class Endpoint:
    """A model behind an OpenAI-compatible server, which gets the pictures in its messages.

    Args:
        url: For example "http://localhost:8000/v1".
        name: Name of the model there.
        seed: Sent with every request.
    """

    def __init__(self, url: str, name: str, seed: int):
        self.url, self.name, self.seed = url, name, seed

    def randomise(self, seed: int):
        """Raises `ValueError`: the weights are not at hand."""
        raise ValueError("The encoder of a model behind an endpoint cannot be made random.")

    def ask(self, parts: list[dict], text: str, **options) -> dict:
        """Returns the server's choice for one message.

        Raises: `ConnectionError` after four tries: a failure of the server is no answer. The run goes on from there
            when it is started again.
        """
        content = []
        for part in map(as_picture, parts):
            encoded = base64.b64encode(encode_png(part["image"])).decode()
            content.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}})
        messages = [{"role": "user", "content": [*content, {"type": "text", "text": text}]}]
        options = {"temperature": 0, "seed": self.seed, "logprobs": True, **options}
        for _ in range(ENDPOINT_TRIES):
            try:
                return chat(self.url, self.name, messages, ENDPOINT_SECONDS, **options)
            except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
                failure = error
        raise ConnectionError(
            f"{self.name} at its endpoint failed {ENDPOINT_TRIES} times: {type(failure).__name__} {failure}"
        ) from failure

    def answer(self, prompts: list[Prompt], max_new_tokens: int) -> list[Reply]:
        """Answers one batch, one prompt after the other."""
        answers = []
        for prompt in prompts:
            choice = self.ask(prompt.parts, instruction(prompt), max_tokens=max_new_tokens)
            tokens = (choice.get("logprobs") or {}).get("content")
            confidence = math.exp(sum(token["logprob"] for token in tokens)) if tokens else None
            answers.append(Reply(choice["message"]["content"].strip(), confidence))
        return answers

    def yes_probabilities(self, parts: list[dict], questions: list[str]) -> np.ndarray:
        """Returns P(yes) / (P(yes) + P(no)) from the probabilities of the first token where the server gives them; else
        1 for an answer "yes", 0 for "no", 0.5 for neither.
        """
        return np.array([self._yes_probability(parts, question) for question in questions])

    def _yes_probability(self, parts: list[dict], question: str) -> float:
        choice = self.ask(parts, f"{question} Reply with yes or no alone.", max_tokens=4, top_logprobs=20)
        tokens = (choice.get("logprobs") or {}).get("content")
        if not tokens:
            word = choice["message"]["content"].strip().casefold()
            return 1.0 if word.startswith("yes") else 0.0 if word.startswith("no") else 0.5
        shares = {"yes": 0.0, "no": 0.0}
        for token in tokens[0].get("top_logprobs") or tokens[:1]:
            word = token["token"].strip().casefold()
            if word in shares:
                shares[word] += math.exp(token["logprob"])
        return shares["yes"] / sum(shares.values()) if sum(shares.values()) else 0.5


def load_model(spec: ModelSpec, seed: int) -> ChatModel | Endpoint:
    """Loads the model, ready to be asked; `seed` is that of an endpoint's requests."""
    if spec.url:
        return Endpoint(spec.url, spec.name, seed)
    if PretrainedConfig.get_config_dict(spec.name)[0].get("model_type") == "heartcare":
        return (HeartcareModel if spec.alone else HeartcarePipeline)(spec.name, spec.device)
    return ChatModel(spec.name, spec.device, spec.trust_remote_code)


def describe(spec: ModelSpec) -> dict:
    """Describes the model as results name it: "name"; for a folder "weights", the hash of its weights; for a
    HeartcareGPT "heartcare_version", the version of this software that made it, None where it names none; and "alone"
    for a language model by itself.
    """
    told: dict = {"alone": True} if spec.alone else {}
    if not spec.url and (config := PretrainedConfig.get_config_dict(spec.name)[0]).get("model_type") == "heartcare":
        told |= {"heartcare_version": config.get("heartcare_version")}
    if spec.url or not Path(spec.name).is_dir():
        return {"name": spec.display_name or spec.name.strip("/")} | told
    digest = hashlib.sha256()
    for file in sorted(Path(spec.name).glob("*.safetensors")):
        with open(file, "rb") as opened:
            while block := opened.read(2**24):
                digest.update(block)
    return {"name": spec.display_name or Path(spec.name).resolve().name, "weights": digest.hexdigest()} | told


def as_picture(part: dict) -> dict:
    """Draws a signal on paper; any other part is given back as it is."""
    if part["type"] != "ecg":
        return part
    extractor = BeatFeatureExtractor()
    signal, lead_mask, *_ = extractor.prepare(part)
    return {
        "type": "image",
        "image": draw_ecg(signal, extractor.sampling_rate, "3x4+R", dpi=100, lead_mask=lead_mask, size=(1100, 850)),
    }


def instruction(prompt: Prompt) -> str:
    """Returns the question in the words for a model that was not trained on this benchmark."""
    if not prompt.options:
        return prompt.question
    options = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, prompt.options))
    return f"{prompt.question}\n{options}\nReply with the letter of the right option alone."
