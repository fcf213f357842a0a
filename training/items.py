"""The items that the whole model is trained on: recordings, pictures and pairs, each with some of its questions."""

import numpy as np
import torch

from heartcare.agent.statements import truth

from .data import HeartcareData
from .drill import drill, drill_pair
from .recipe import StageRecipe


class ECGQuestions(torch.utils.data.Dataset):
    """One recording, picture or pair, with some of its questions. Item i is the same in every run with the same seed.

    Args:
        data: A split.
        stage: Which items and questions.
        length: Number of items.
        seed: Of all choices.
    """

    def __init__(self, data: HeartcareData, stage: StageRecipe, length: int, seed: int = 0):
        self.data, self.stage, self.length, self.seed = data, stage, length, seed
        self.kinds: dict[str, list[int]] = {"signal": [], "image": [], "pair": []}
        for i, item in enumerate(data.items):
            kind = "pair" if len(item["signals"]) + len(item["tiles"]) > 1 else "signal" if item["signals"] else "image"
            if item["tiles"] and not stage.shares.get("image"):
                continue  # nor pairs with a picture
            if self.questions(item) and (kind != "pair" or stage.pairs):
                self.kinds[kind].append(i)
        self.kinds = {kind: places for kind, places in self.kinds.items() if places and stage.shares.get(kind)}
        self.single = {kind: places for kind, places in self.kinds.items() if kind != "pair"}

    def questions(self, item: dict) -> list:
        return [question for question in item["questions"] if self.stage.task in (None, question.task)]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> dict:
        rng = np.random.default_rng((self.seed, i))
        shares = np.array([self.stage.shares[kind] for kind in self.kinds])
        places = self.kinds[str(rng.choice(list(self.kinds), p=shares / shares.sum()))]
        item = self.data.items[places[int(rng.integers(len(places)))]]
        questions = self.questions(item)
        questions = [questions[k] for k in rng.permutation(len(questions))]
        questions = sorted(questions, key=lambda question: not question.options)[: self.stage.questions]
        if not self.stage.ecgs:
            return {"questions": questions}
        said = [self.data.labels[record] for record in item["signals"] + item["tiles"]]
        if self.stage.drill and all(labels.statements for labels in said):
            questions += drill_pair(*said, questions, rng) if len(said) > 1 else drill(*said, self.stage.drill, rng)
        glances = (
            [self.glance(str(kind), rng) for kind in rng.choice([*self.single], self.stage.glances)]
            if self.single
            else []
        )
        return {"questions": questions, "glances": glances} | self.seen(item, rng)

    def seen(self, item: dict, rng: np.random.Generator) -> dict:
        """The ECGs and pictures of an item."""
        views = self.data.codes.shape[1]
        pictures = {"slots": self.data.slots} if self.data.slots is not None else {"tiles": self.data.tiles}
        return {
            "codes": [self.data.coded(record, int(rng.integers(views))) for record in item["signals"]],
            **{name: [kept[record] for record in item["tiles"]] for name, kept in pictures.items()},
        }

    def glance(self, kind: str, rng: np.random.Generator) -> dict:
        """An ECG without questions."""
        item = self.data.items[self.single[kind][int(rng.integers(len(self.single[kind])))]]
        (record,) = item["signals"] + item["tiles"]
        return {"questions": [], "statements": truth(self.data.labels[record].statements)} | self.seen(item, rng)
