"""The items that the whole model is trained on: recordings, pictures and pairs, each with some of its questions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from heartcare.agent.qa import Question
from heartcare.agent.statements import truth

from .data import HeartcareData, RecordGroup
from .drill import drill, drill_pair
from .recipe import StageRecipe
from .recordings import BeatTokens, ImageSlots, LeadTiles, Recording, TrainingItem
from .voice import SpokenQuestions


class ECGQuestions(torch.utils.data.Dataset):
    """One recording, picture or pair, with some of its questions. Item i is the same in every run with the same seed.

    Args:
        data: A split.
        stage: Kinds of items, and number of their questions.
        length: Number of items.
        seed: Seed of all choices.
        wordings: Code of each statement that the model knows -> its words, where the stage has `spoken` questions.
    """

    def __init__(
        self,
        data: HeartcareData,
        stage: StageRecipe,
        length: int,
        seed: int = 0,
        wordings: Mapping[str, str] | None = None,
    ):
        self.data, self.stage, self.length, self.seed = data, stage, length, seed
        self.spoken = SpokenQuestions(wordings or {}) if stage.spoken else None
        self.kinds: dict[str, list[RecordGroup]] = {"signal": [], "image": [], "pair": []}
        for group in data.groups:
            kind = "pair" if len(group.records) > 1 else group.modality[0]
            if "image" in group.modality and not stage.shares.get("image"):
                continue  # nor pairs with a picture
            if self.questions(group) and (kind != "pair" or stage.pairs):
                self.kinds[kind].append(group)
        self.kinds = {kind: groups for kind, groups in self.kinds.items() if groups and stage.shares.get(kind)}
        self.single = {kind: groups for kind, groups in self.kinds.items() if kind != "pair"}

    def questions(self, group: RecordGroup) -> list[Question]:
        """Returns the questions of a group that the stage asks."""
        return [question for question in group.questions if self.stage.task in (None, question.task)]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> TrainingItem:
        rng = np.random.default_rng((self.seed, i))
        shares = np.array([self.stage.shares[kind] for kind in self.kinds])
        groups = self.kinds[str(rng.choice(list(self.kinds), p=shares / shares.sum()))]
        group = groups[int(rng.integers(len(groups)))]
        questions = self.questions(group)
        questions = [questions[k] for k in rng.permutation(len(questions))]
        questions = sorted(questions, key=lambda question: not question.options)[: self.stage.questions]
        if not self.stage.ecgs:
            return TrainingItem(questions)
        labels = [self.data.labels[record] for record in group.records]
        if self.stage.drill and all(each.statements for each in labels):
            pair = len(labels) > 1
            questions += drill_pair(*labels, questions, rng) if pair else drill(*labels, self.stage.drill, rng)
        number = self.stage.probe_only if self.single else 0
        probe_only = [self.probed_item(str(kind), rng) for kind in rng.choice([*self.single], number)] if number else []
        recordings = self.recordings(group, rng)
        if self.spoken and len(labels) == 1 and labels[0].statements:
            measured = self.shown_measurements(group.records[0], recordings[0])
            questions += self.spoken.about(labels[0], measured, self.stage.spoken, rng)
        return TrainingItem(questions, recordings, probe_only)

    def recordings(self, group: RecordGroup, rng: np.random.Generator) -> list[Recording]:
        """Returns the recordings of a group: a random view of each signal, and slots or tiles of each picture."""
        data, recordings = self.data, []
        for modality, record in zip(group.modality, group.records):
            if modality == "signal":
                tokens = data.tokens(record, int(rng.integers(data.views)))
                recordings.append(self.with_numbers(tokens, record, rng))
            else:
                cached = data.slots is not None
                recordings.append(ImageSlots(data.slots[record]) if cached else LeadTiles(data.tiles[record]))
        return recordings

    def with_numbers(self, tokens: BeatTokens, record: int, rng: np.random.Generator) -> BeatTokens:
        """Returns the tokens with the measured numbers that are shown with them: those of the whole record, whatever
        the view shows of it, now and then those of another record, or none.
        """
        if not self.stage.numbers or rng.random() >= self.stage.numbers:
            return tokens
        if rng.random() < self.stage.wrong_numbers:
            record = int(rng.integers(len(self.data)))
        return tokens._replace(line=self.data.lines[record], numbers=self.data.numbers[record])

    def shown_measurements(self, record: int, recording: Recording) -> dict[str, Any] | None:
        """Returns the measurements of a record, and None where its recording comes without them, or with those of
        another record.
        """
        line = recording.line if isinstance(recording, BeatTokens) else ""
        return self.data.measured[record] if line and line == self.data.lines[record] else None

    def probed_item(self, kind: str, rng: np.random.Generator) -> TrainingItem:
        """Returns a random signal or picture without questions, whose statements are to be read."""
        group = self.single[kind][int(rng.integers(len(self.single[kind])))]
        (record,) = group.records
        statements = truth(self.data.labels[record].statements)
        return TrainingItem(recordings=self.recordings(group, rng), statements=statements)
