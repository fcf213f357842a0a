"""Answers batches in one process: holds the model, and gives it the content of each row.

Batch --parts of its row--> prompts --model--> replies --> [ItemAnswer]
"""

from dataclasses import dataclass

import numpy as np
import torch
import transformers

from ..agent.samples import unpack_ecg
from ..extraction_heartcare import BeatFeatureExtractor
from .answers import ItemAnswer
from .classify import QUESTIONS
from .controls import BLANK, MODEL, NOISE, RANDOM, TEXT, parts_for, simple_forecasts
from .items import Item
from .metrics.signal import signal_prediction
from .models import MAX_NEW_TOKENS, ChatModel, Endpoint, HeartcarePipeline, ModelSpec, Prompt, Reply, load_model
from .variants import VARIANTS

# Rows in which a model is shown no ECG: a pipeline refuses to answer there, so that its language model is asked.
NOTHING_SHOWN = (TEXT, BLANK, NOISE)


@dataclass(frozen=True)
class Batch:
    """Items of one task that are asked together in one row; `substitutes` are the items whose recordings are given in
    their place where the row wants another patient's ECG.
    """

    row: str
    number: int
    items: list[Item]
    substitutes: list[Item | None]

    @property
    def key(self) -> str:
        """Name of the batch in the file of answers."""
        first = self.items[0]
        return f"{self.row}/{first.subset}/{first.task}/{self.number}"

    def parts(self) -> list[list[dict] | None]:
        """Returns the content that the model is given for each item; None where the row has nothing to give."""
        if self.row in VARIANTS:
            return [VARIANTS[self.row](item) for item in self.items]
        return [parts_for(self.row, item, other) for item, other in zip(self.items, self.substitutes)]


class Worker:
    """Answers batches with one model.

    Args:
        spec: The model.
        threads: Number of CPU threads.
        seed: Seed of the random encoder and of an endpoint.
        choose: Whether closed questions are answered by the likeliest option instead of what the model writes.
    """

    def __init__(self, spec: ModelSpec, threads: int, seed: int, choose: bool):
        torch.set_num_threads(threads)
        transformers.utils.logging.disable_progress_bar()
        self.spec, self.seed, self.choose = spec, seed, choose
        self._loaded: tuple | None = None  # the model, and whether its encoder is random

    def model(self, random_encoder: bool) -> ChatModel | Endpoint:
        """Returns the model, or the same with a random encoder; one of them is held at a time."""
        if self._loaded is None or self._loaded[1] != random_encoder:
            self._loaded = None
            model = load_model(self.spec, self.seed)
            if random_encoder:
                model.randomise(self.seed)
            self._loaded = model, random_encoder
        return self._loaded[0]

    def ask(self, batch: Batch) -> list[ItemAnswer | None]:
        """Answers each item of a batch; None where the row has no ECG to give."""
        model, parts, task = self.model(batch.row == RANDOM), batch.parts(), batch.items[0].task
        if task == "classification":
            yes = [model.yes_probabilities(recording, list(QUESTIONS.values())) for recording in parts]
            return [ItemAnswer(yes=[round(float(p), 7) for p in row]) for row in yes]
        places = [k for k, content in enumerate(parts) if content is not None]
        prompts = []
        for k in places:
            item = batch.items[k]
            seconds = int(item.label[0]) if task == "prediction" else 0
            prompts.append(Prompt(parts[k], item.question, item.options, seconds))
        answers: list[ItemAnswer | None] = [None] * len(parts)
        if isinstance(model, HeartcarePipeline):
            model.alone = batch.row in NOTHING_SHOWN
        for k, reply in zip(places, self.replies(model, prompts, MAX_NEW_TOKENS[task])):
            confidence = None if reply.confidence is None else round(reply.confidence, 7)
            forecasts = None
            if task == "prediction":
                forecasts = forecast_metrics(batch.items[k], reply.forecast, batch.row == MODEL)
            answers[k] = ItemAnswer(reply.text, confidence, forecasts=forecasts)
        return answers

    def replies(self, model: ChatModel | Endpoint, prompts: list[Prompt], max_new_tokens: int) -> list[Reply]:
        """Returns the replies in the order of the prompts: with `choose` the closed ones are chosen, all else is
        written.
        """
        chosen = [k for k, prompt in enumerate(prompts) if prompt.options and self.choose]
        written = [k for k in range(len(prompts)) if k not in chosen]
        replies = dict(zip(chosen, model.choose([prompts[k] for k in chosen]) if chosen else ()))
        replies |= zip(written, model.answer([prompts[k] for k in written], max_new_tokens) if written else ())
        return [replies[k] for k in range(len(prompts))]


def forecast_metrics(item: Item, forecast: np.ndarray | None, with_controls: bool) -> dict[str, dict | None]:
    """Scores a forecast, and the simple ones: row -> `signal_prediction`.

    The samples to predict are cleaned together with those before them, at the processor's rate.
    """
    extractor = BeatFeatureExtractor()
    rate = extractor.sampling_rate
    signal, *_ = extractor.prepare(unpack_ecg(item.ecgs[0]).whole)
    length = int(item.label[0]) * rate
    context, target = signal[:, :-length], signal[:, -length:]
    rows = {MODEL: forecast} | (simple_forecasts(context, length, rate) if with_controls else {})
    return {row: None if f is None else signal_prediction(f, target, rate, context) for row, f in rows.items()}
