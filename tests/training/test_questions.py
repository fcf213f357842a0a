"""The training of the reader of questions: it learns, answers as it was taught, and is kept with the model."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.commands import run_main

from heartcare import HeartcareForConditionalGeneration
from heartcare.agent.wording import WordingBuilder, codes
from heartcare.training.questions import is_understood, loss_of, targets_of, train_reader
from heartcare.understanding_heartcare import LONGEST, MOST_PARTS, Asked, QuestionReader, parts_of_word, words_of


def reader_of(width: int = 32) -> QuestionReader:
    torch.manual_seed(0)
    return QuestionReader(SimpleNamespace(asked=codes(), asked_hidden_size=width)).eval()


def test_words_are_read_by_their_parts():
    right, wrong, other = (set(parts_of_word(word)) for word in ("fibrillation", "fibrilation", "hypertrophy"))
    assert len(right & wrong) > 0.5 * len(right) > len(right & other) * 2
    table = words_of(["Is there AF?", "", "x " * 500, "日本語 Vorhofflimmern überdreht"])
    assert table.shape == (4, LONGEST, MOST_PARTS) and (table[:, 0, 0] > 0).all()
    assert torch.equal(words_of(["ÜBERDREHT"]), words_of(["ueberdreht"]))


def test_padding_changes_nothing():
    reader = reader_of()
    texts = ["AF?", "What is the rhythm of this ECG, please, and how sure are you of what you say about it?"]
    with torch.no_grad():
        together = reader(words_of(texts))
        for row, text in enumerate(texts):
            for name, logits in reader(words_of([text])).items():
                torch.testing.assert_close(logits[0], together[name][row], atol=1e-5, rtol=1e-4)
    for found, text in zip(reader.read(texts), texts):
        alone = reader.read([text])[0]
        assert replace(found, certainty=0) == replace(alone, certainty=0)
        assert found.certainty == pytest.approx(alone.certainty, abs=1e-4)


def test_what_is_taught_is_what_is_read():
    """Logits that are the targets are read back as the questions that the targets were made from."""
    reader, builder = reader_of(), WordingBuilder(np.random.default_rng(0))
    asked = [builder.question()[1] for _ in range(400)]
    targets = targets_of(reader, asked)
    logits = {}
    for name, target in targets.items():
        several = target.ndim > 1
        table = 40 * target - 20 if several else torch.full((len(asked), len(reader.parts[name])), -20.0)
        if not several:
            table[torch.arange(len(asked)), target.clamp(min=0)] = 20.0
        logits[name] = table
    assert loss_of(logits, targets) < 1e-3
    for row, true in enumerate(asked):
        found = reader.answer({name: table[row] for name, table in logits.items()})
        assert is_understood(found, true) and found.certainty > 0.99, true


def test_codes_that_differ_are_not_understood():
    true = Asked("is", ("AFIB",))
    for wrong in (Asked("is", ("AFLT",)), Asked("is", ("AFIB",), negated=True), Asked("report"), None):
        assert not is_understood(wrong, true)
    assert is_understood(None, Asked("cannot", reason="other")) and is_understood(Asked("report"), Asked("summary"))


@pytest.mark.slow
def test_it_learns():
    reader, builder = reader_of(64), WordingBuilder(np.random.default_rng(1), "validation")
    texts, asked = zip(*(builder.question() for _ in range(300)))
    losses, kinds = [], []
    for _ in range(2):
        with torch.no_grad():
            losses.append(loss_of(reader(words_of(texts)), targets_of(reader, asked)).item())
        kinds.append(sum(found.kind == true.kind for found, true in zip(reader.read(texts), asked)))
        train_reader(reader, 250, 5e-3, 0)
    assert losses[1] < 0.2 * losses[0] and kinds[1] > 130 > 90 > kinds[0]


@pytest.mark.slow
def test_the_reader_is_kept_with_the_model(tiny_folder, tmp_path):
    arguments = ["--model", tiny_folder, "--output", tmp_path / "read", "--steps", "3"]
    assert "frames kept apart: {'cannot':" in run_main("heartcare.training.questions", *arguments).stdout
    model = HeartcareForConditionalGeneration.from_pretrained(tmp_path / "read")
    assert model.config.asked == codes() and not any(p.requires_grad for p in model.question_reader.parameters())
    assert model.question_reader.read(["Is this AF?"])[0].kind
    printed = run_main("heartcare.studies.evaluate_questions", "--model", tmp_path / "read", "--half", "test").stdout
    assert "| en | all |" in printed and "that cannot be answered are refused" in printed
