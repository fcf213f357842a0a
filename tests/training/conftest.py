"""Fixtures of the whole model's training: one built data set, read by the tiny model."""

from pathlib import Path

import pytest

from heartcare import HeartcareProcessor
from heartcare.training.data import HeartcareData
from heartcare.training.items import ECGQuestions
from heartcare.training.packing import QuestionPacker
from heartcare.training.recipe import StageRecipe
from heartcare.training.recordings import BeatTokens, LeadTiles, TrainingItem

JOINT = StageRecipe(train=["signal_projector", "image_projector", "vision_tower", "language_model"], questions=3)


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def tiny_processor(tiny_folder) -> HeartcareProcessor:
    return HeartcareProcessor.from_pretrained(tiny_folder)


@pytest.fixture
def packer(tiny_processor) -> QuestionPacker:
    return QuestionPacker(tiny_processor)


@pytest.fixture
def data(built, cache, tiny, tiny_processor) -> HeartcareData:
    found = HeartcareData(built, "train", cache, tiny_processor, pictures=6)
    found.encode_signals(tiny, views=3, seed=0)
    return found


@pytest.fixture
def items(data) -> list[TrainingItem]:
    """Returns two recordings, two pictures and two pairs of each kind, with their questions, some with three."""
    dataset, kinds = ECGQuestions(data, JOINT, 300), {}
    for item in (dataset[i] for i in range(300)):
        kinds.setdefault(tuple(type(recording) for recording in item.recordings), []).append(item)
    singles = {(BeatTokens,), (LeadTiles,)}
    assert set(kinds) == singles | {(BeatTokens,) * 2, (LeadTiles,) * 2, (BeatTokens, LeadTiles)}
    return [item for kind in kinds.values() for item in kind[:2]]
