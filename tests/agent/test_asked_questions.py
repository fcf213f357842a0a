"""Wordings of questions: each draws the question that it asks for, and frames that are kept apart stay apart."""

import numpy as np
import pytest

from heartcare.agent.wording import WordingBuilder, codes, held_out, of_split, plain_words, wordings
from heartcare.opinion_heartcare import FAMILIES
from heartcare.scp_heartcare import TOPICS
from heartcare.training.findings import LABELS
from heartcare.understanding_heartcare import KINDS, QUANTITIES, REASONS

KNOWN = {*LABELS, *FAMILIES, "WIDE_QRS"}


def is_valid(asked) -> bool:
    quantities = {each.partition(":")[0] for each in asked.quantities}
    return (
        asked.kind in KINDS
        and set(asked.codes) <= set(codes())
        and asked.topic in ("", *TOPICS)
        and quantities <= set(QUANTITIES)
        and (asked.reason in REASONS) == (asked.kind == "cannot")
        and bool(asked.codes) >= (asked.kind == "is")
    )


def test_all_names_are_of_findings_that_can_be_told():
    assert set(codes()) <= KNOWN
    for name in wordings("questions"):
        assert name.removeprefix("not ") in KNOWN


@pytest.mark.parametrize("split", ["train", "validation"])
def test_questions_say_what_they_ask_for(split):
    builder = WordingBuilder(np.random.default_rng(0), split)
    drawn = [builder.question() for _ in range(3000)]
    assert all(is_valid(asked) and text.strip() for text, asked in drawn)
    assert {asked.kind for _, asked in drawn} == set(KINDS) and not any("{" in text for text, _ in drawn)
    assert len({text for text, _ in drawn}) > (0.9 if split == "train" else 0.6) * len(drawn)
    again = WordingBuilder(np.random.default_rng(0), split)
    assert drawn[:50] == [again.question() for _ in range(50)]


def test_frames_are_in_one_split_each():
    for keys in wordings("frames").values():
        for frames in keys.values():
            parts = [set(of_split(frames, split)) for split in ("train", "validation")]
            assert all(parts) and not parts[0] & parts[1] and parts[0] | parts[1] == set(frames)


def test_a_frame_has_one_meaning():
    """Tests that no frame is in two groups of a language, but for what stands around questions."""
    for keys in wordings("frames").values():
        of_frame: dict[str, set[str]] = {}
        for key, frames in keys.items():
            for frame in frames if key not in ("before", "after", "please") else ():
                of_frame.setdefault(plain_words(frame), set()).add(key)
        assert not {frame: groups for frame, groups in of_frame.items() if len(groups) > 1}


def test_pairs_name_two_findings():
    for group, every in (("is", {True, False}), ("is_not", {False})):
        builder = WordingBuilder(np.random.default_rng(1))
        drawn = [builder._paired(language, group) for language in ("en", "de") for _ in range(200)]
        assert {each for _, each, _ in drawn} == every and not any("{" in name for *_, name in drawn)
        assert all(set(named) <= set(codes()) for named, *_ in drawn)
    assert all(len(pair.split()) == 2 and set(pair.split()) <= set(codes()) for pair in wordings("pairs"))


def test_lists_of_numbers_and_leads_are_asked_for():
    builder = WordingBuilder(np.random.default_rng(2))
    several = [builder._numbers("en", "numbers") for _ in range(100)]
    assert {len(asked.quantities) for _, asked in several} == {2, 3, 4, 5}
    leads = [asked.quantities for _, asked in (builder._number("de", "number") for _ in range(300))]
    assert any(len(each) == 3 and len({name.partition(":")[0] for name in each}) == 1 for each in leads)
    values = [builder._value("en", "value") for _ in range(200)]
    assert all(len(asked.quantities) == 1 and "{" not in text for text, asked in values)


def test_questions_for_testing_are_none_for_training():
    kept_apart = {plain_words(text) for text, *_ in held_out()}
    builder = WordingBuilder(np.random.default_rng(3))
    assert not kept_apart & {plain_words(builder.question()[0]) for _ in range(4000)}
    questions = held_out()
    assert len(questions) > 800 and all(is_valid(asked) for _, asked, _ in questions)
    frames = {frame for keys in wordings("frames").values() for of_key in keys.values() for frame in of_key}
    short = {text for text, *_ in questions if text in frames}
    assert len(short) < 0.05 * len(questions)  # "Rhythm?" has no other wording
