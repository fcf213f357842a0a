"""The models that are scored: HeartcareGPT, any image-text-to-text model of transformers, any OpenAI-compatible
endpoint.

Each answers prompts of recordings, pictures and a question. A model that takes no signals gets them drawn as pictures,
as the paper does for its baselines.
"""

import base64
import hashlib
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, PretrainedConfig
from transformers.generation import LogitsProcessor, LogitsProcessorList

from ..agent.llm import chat
from ..agent.render import draw_ecg, encode_png
from ..branching_heartcare import Branches, answer_lengths, attention_bias, option_shares, who_sees_whom
from ..modeling_heartcare import HeartcareForConditionalGeneration
from ..processing_heartcare import BeatFeatureExtractor, HeartcareProcessor
from ..tokenization_beat import BeatModel

MAX_NEW_TOKENS = {"closed-qa": 48, "open-qa": 96, "comparison-qa": 128, "report": 256, "prediction": 16, "ecg-qa": 96}
LETTERS = "ABCDEFGH"


class Prompt(NamedTuple):
    """`parts`, content of a chat without its text; the `question`; its `options`, if it is closed; `seconds` to
    forecast, if it is a prediction.
    """

    parts: list[dict]
    question: str
    options: tuple[str, ...] = ()
    seconds: int = 0


class Answer(NamedTuple):
    """`text`; `confidence`, the probability that the model gave to it, or None; `forecast`, (12, samples) mV at 100 Hz,
    if there is one.
    """

    text: str
    confidence: float | None = None
    forecast: np.ndarray | None = None


class Sureness(LogitsProcessor):
    """Notes the log-probability of the likeliest token at each step, which is the one that greedy decoding takes."""

    def __init__(self):
        self.steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        self.steps.append(scores.float().log_softmax(-1).amax(-1))
        return scores

    def confidence(self, lengths: list[int]) -> list[float]:
        """Probability of each answer of so many tokens."""
        return [math.exp(each[:length].sum().item()) for each, length in zip(torch.stack(self.steps, 1), lengths)]


class ChatModel:
    """Any image-text-to-text model of transformers: signals are drawn, options get letters."""

    forecasts = False

    def __init__(self, name: str, device: str | None = None, trust_remote_code: bool = False):
        self.name = name
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.load(trust_remote_code)
        self.model.to(self.device).eval()
        self.tokenizer = getattr(self.processor, "tokenizer", self.processor)
        self.tokenizer.padding_side = "left"

    def load(self, trust_remote_code: bool):
        dtype = torch.float32 if self.device == "cpu" else "auto"
        self.processor = AutoProcessor.from_pretrained(self.name, trust_remote_code=trust_remote_code)
        self.model = AutoModelForImageTextToText.from_pretrained(
            self.name, trust_remote_code=trust_remote_code, dtype=dtype
        )

    def randomise(self, seed: int = 0):
        """Replaces the trained encoder by one of random weights: the control that shows what the encoder has learnt."""
        torch.manual_seed(seed)
        towers = [
            each
            for name, each in self.model.named_modules()
            if name.split(".")[-1] in ("vision_tower", "vision_model", "visual", "vision_encoder")
        ]
        if not towers:
            raise ValueError(
                f"{type(self.model).__name__} has no vision tower of a known name, so that its encoder cannot be made random."
            )
        for module in towers[0].modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
            else:
                for weight in module.parameters(recurse=False):
                    torch.nn.init.normal_(weight, std=0.02)

    def content(self, prompt: Prompt) -> list[dict]:
        """What the user says: the parts as this model takes them, and the text."""
        return [*(as_picture(part) for part in prompt.parts), {"type": "text", "text": instruction(prompt)}]

    def inputs(self, prompts: list[Prompt]) -> dict:
        chats = [[{"role": "user", "content": self.content(prompt)}] for prompt in prompts]
        options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
        return self.processor.apply_chat_template(chats, **options, processor_kwargs={"padding": True}).to(self.device)

    @torch.no_grad()
    def answer(self, prompts: list[Prompt], max_new_tokens: int = 96) -> list[Answer]:
        """Greedy answers of one batch."""
        inputs, sureness = self.inputs(prompts), Sureness()
        options = {"do_sample": False, "num_beams": 1, "max_new_tokens": max_new_tokens}
        ids = self.model.generate(**inputs, **options, logits_processor=LogitsProcessorList([sureness]))
        ids = ids[:, inputs["input_ids"].shape[1] :]
        lengths, _ = answer_lengths(ids, self.model.generation_config.eos_token_id)
        texts = self.processor.batch_decode(ids, skip_special_tokens=True)
        forecasts = (
            self.forecast(prompts, inputs, ids) if any(prompt.seconds for prompt in prompts) else [None] * len(prompts)
        )
        return [
            Answer(text.strip(), *rest) for text, *rest in zip(texts, sureness.confidence(lengths.tolist()), forecasts)
        ]

    def forecast(self, prompts: list[Prompt], inputs: dict, ids: torch.Tensor) -> list[np.ndarray | None]:
        return [None] * len(prompts)

    @torch.no_grad()
    def choose(self, prompts: list[Prompt]) -> list[Answer]:
        """The likeliest option of each closed question, and its share of the probability of all of them: `answer`
        without the chance to answer anything else.
        """
        likeliest = [option_shares(scores) for scores in self.option_scores(prompts)]
        return [Answer(prompt.options[best], shares[best]) for prompt, (best, shares) in zip(prompts, likeliest)]

    def option_scores(self, prompts: list[Prompt]) -> list[torch.Tensor]:
        """For each prompt the log-probability of each option's letter, (options,)."""
        logits = self.model(**self.inputs(prompts), logits_to_keep=1).logits[:, -1]
        letters = [[self.first_tokens(letter) for letter in LETTERS[: len(prompt.options)]] for prompt in prompts]
        return [
            torch.stack([torch.logsumexp(row[tokens], -1) for tokens in each]) for row, each in zip(logits, letters)
        ]

    @torch.no_grad()
    def yes_probabilities(self, parts: list[dict], questions: list[str], batch_size: int = 16) -> np.ndarray:
        """P(yes) / (P(yes) + P(no)) as first token of the answer to each question about the same recording: float64
        (questions,).
        """
        found = []
        for start in range(0, len(questions), batch_size):
            inputs = self.inputs(
                [
                    Prompt(parts, f"{question} Reply with yes or no alone.")
                    for question in questions[start : start + batch_size]
                ]
            )
            found.append(self.yes_share(self.model(**inputs, logits_to_keep=1).logits[:, -1]))
        return np.concatenate(found)

    def yes_share(self, logits: torch.Tensor) -> np.ndarray:
        """(n, vocabulary) -> (n,): the probability of all tokens that begin a "yes", against those that begin a "no"."""
        logits = logits.double()
        yes, no = (torch.logsumexp(logits[:, self.first_tokens(word)], -1) for word in ("yes", "no"))
        return torch.sigmoid(yes - no).cpu().numpy()

    def first_tokens(self, word: str) -> list[int]:
        forms = (word, word.capitalize(), word.upper(), f" {word}", f" {word.capitalize()}")
        return sorted({self.tokenizer(form, add_special_tokens=False)["input_ids"][0] for form in forms})


class HeartcareModel(ChatModel):
    """HeartcareGPT: takes signals as they are, and questions as the data set has them."""

    forecasts = True

    def load(self, trust_remote_code: bool):
        self.processor = HeartcareProcessor.from_pretrained(self.name)
        self.model = HeartcareForConditionalGeneration.from_pretrained(self.name)

    def randomise(self, seed: int = 0):
        torch.manual_seed(seed)
        self.model.beat = BeatModel(self.model.beat.config).to(self.device).eval()
        self.model.vision_tower = type(self.model.vision_tower)(self.model.vision_tower.config).to(self.device).eval()

    def content(self, prompt: Prompt) -> list[dict]:
        return [*prompt.parts, {"type": "text", "text": prompt.question}]

    def forecast(self, prompts: list[Prompt], inputs: dict, ids: torch.Tensor) -> list[np.ndarray | None]:
        """Beat's forecast for the prompts that were answered with the token that asks for it."""
        asked = (ids == self.model.config.prediction_token_id).any(1).tolist()
        if "input_values" not in inputs:
            return [None] * len(prompts)
        rate = self.processor.feature_extractor.sampling_rate
        ecg = {name: inputs[name] for name in ("input_values", "ecg_attention_mask", "lead_mask")}
        made = self.model.forecast(**ecg, seconds=max(prompt.seconds for prompt in prompts)).cpu().numpy()
        bench = BeatFeatureExtractor()
        return [
            bench.resample(one[:, : prompt.seconds * rate], rate) if said else None
            for one, prompt, said in zip(made, prompts, asked)
        ]

    def option_scores(self, prompts: list[Prompt]) -> list[torch.Tensor]:
        """Of whole answers, as the pipeline does it."""
        return self.model.score_answers(
            [self.processor.answer_ids(prompt.options) for prompt in prompts], **self.inputs(prompts)
        )

    def first_tokens(self, word: str) -> list[int]:
        return [self.tokenizer(f"{word.capitalize()}.", add_special_tokens=False)["input_ids"][0]]

    @torch.no_grad()
    def yes_probabilities(self, parts: list[dict], questions: list[str], batch_size: int = 16) -> np.ndarray:
        """As branches of one prompt: each question sees the recording and itself, and counts its positions from the
        recording on, so that its answer is what it would be in a prompt of its own, at a third of the cost.
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


class Endpoint:
    """A model behind an OpenAI-compatible server, which gets the pictures in its messages.

    Args:
        url: For example "http://localhost:8000/v1".
        name: Of the model there.
        retries: A request that fails so often more ends the run, which goes on from there when it is started again: a
            failure of the server is no answer.
    """

    forecasts = False

    def __init__(self, url: str, name: str, seed: int = 0, retries: int = 3, timeout: float = 300.0):
        self.url, self.name, self.seed, self.retries, self.timeout = url, name, seed, retries, timeout

    def randomise(self, seed: int = 0):
        raise ValueError("The encoder of a model behind an endpoint cannot be made random.")

    def ask(self, parts: list[dict], text: str, **options) -> dict:
        content = []
        for part in map(as_picture, parts):
            encoded = base64.b64encode(encode_png(part["image"])).decode()
            content.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}})
        messages = [{"role": "user", "content": [*content, {"type": "text", "text": text}]}]
        for attempt in range(1 + self.retries):
            try:
                return chat(
                    self.url, self.name, messages, self.timeout, temperature=0, seed=self.seed, logprobs=True, **options
                )
            except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
                failure = error
        raise ConnectionError(
            f"{self.name} at its endpoint failed {1 + self.retries} times: {type(failure).__name__} {failure}"
        ) from failure

    def answer(self, prompts: list[Prompt], max_new_tokens: int = 96) -> list[Answer]:
        answers = []
        for prompt in prompts:
            choice = self.ask(prompt.parts, instruction(prompt), max_tokens=max_new_tokens)
            tokens = (choice.get("logprobs") or {}).get("content")
            confidence = math.exp(sum(token["logprob"] for token in tokens)) if tokens else None
            answers.append(Answer(choice["message"]["content"].strip(), confidence))
        return answers

    def yes_probabilities(self, parts: list[dict], questions: list[str], batch_size: int = 16) -> np.ndarray:
        """From the probabilities of the first token where the server gives them; else 1 for an answer "yes", 0 for
        "no", 0.5 for neither.
        """
        found = []
        for question in questions:
            choice = self.ask(parts, f"{question} Reply with yes or no alone.", max_tokens=4, top_logprobs=20)
            tokens = (choice.get("logprobs") or {}).get("content")
            if tokens:
                seen = {"yes": 0.0, "no": 0.0}
                for token in tokens[0].get("top_logprobs") or tokens[:1]:
                    word = token["token"].strip().casefold()
                    if word in seen:
                        seen[word] += math.exp(token["logprob"])
                found.append(seen["yes"] / sum(seen.values()) if sum(seen.values()) else 0.5)
            else:
                word = choice["message"]["content"].strip().casefold()
                found.append(1.0 if word.startswith("yes") else 0.0 if word.startswith("no") else 0.5)
        return np.array(found)


def load_model(
    name: str, url: str | None = None, device: str | None = None, trust_remote_code: bool = False, seed: int = 0
):
    """A folder or Hub id, or with a `url` the name of a model there -> the model to ask."""
    if url:
        return Endpoint(url, name, seed)
    if PretrainedConfig.get_config_dict(name)[0].get("model_type") == "heartcare":
        return HeartcareModel(name, device)
    return ChatModel(name, device, trust_remote_code)


def describe(name: str, url: str | None = None) -> dict:
    """Name, and of a folder the hash of its weights: what a result is of."""
    if url or not Path(name).is_dir():
        return {"name": name.strip("/")}
    digest = hashlib.sha256()
    for file in sorted(Path(name).glob("*.safetensors")):
        with open(file, "rb") as opened:
            while block := opened.read(2**24):
                digest.update(block)
    return {"name": Path(name).resolve().name, "weights": digest.hexdigest()}


def as_picture(part: dict) -> dict:
    """A signal, drawn on paper; anything else as it is."""
    if part["type"] != "ecg":
        return part
    extractor = BeatFeatureExtractor()
    signal, lead_mask, _ = extractor.prepare({key: value for key, value in part.items() if key != "type"})
    return {
        "type": "image",
        "image": draw_ecg(signal, extractor.sampling_rate, "3x4+R", dpi=100, lead_mask=lead_mask, size=(1100, 850)),
    }


def instruction(prompt: Prompt) -> str:
    """The question as a model is asked that was not trained on this benchmark."""
    if not prompt.options:
        return prompt.question
    options = "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, prompt.options))
    return f"{prompt.question}\n{options}\nReply with the letter of the right option alone."
