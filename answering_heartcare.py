# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Answers that need no words of the language model: a measured number, a statement by its calibrated probability, and
options that are statements.

    question, options, measurements, logits of the statements --> Answer, or None where the language model answers
    recordings and pictures that are no ECGs --> refusal
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .asking_heartcare import answer_numbers, asked_numbers
from .findings_heartcare import shares_of
from .statements_heartcare import asked_statement, statement_of

# An option that is right because a statement is not there cannot be told from the statements' own probabilities.
_NEGATIVE = re.compile(r"\b(?:not|no|isn't|absent|without|except|least|none|neither|never|nicht|kein\w*)\b")


@dataclass(frozen=True)
class Answer:
    """An answer: its `text`, and option -> probability where there were options, or "Yes" and "No" were asked for."""

    text: str
    probabilities: dict[str, float] = field(default_factory=dict)


def refusal_of(causes: Sequence[Mapping[str, str]], pictures: Sequence[str | None] = ()) -> str:
    """Returns why nothing is said of recordings and pictures, and an empty text where all of them are ECGs.

    Args:
        causes: What each lead holds, for each recording that is no ECG; empty for an ECG.
        pictures: What is wrong with each picture, as `not_a_page` tells it; None for an ECG.
    """
    sentences = []
    for number, leads in enumerate(causes, 1):
        if not leads:
            continue
        by_cause: dict[str, list[str]] = {}
        for lead, cause in leads.items():
            by_cause.setdefault(cause, []).append(lead)
        which = "This recording" if len(causes) == 1 else f"Recording {number}"
        found = "; ".join(f"{cause} in {', '.join(of_cause)}" for cause, of_cause in by_cause.items())
        sentences.append(f"{which} is no ECG, so nothing is said of it: {found}.")
    for number, cause in enumerate(pictures, 1):
        if not cause:
            continue
        which = "This picture" if len(pictures) == 1 else f"Picture {number}"
        if cause.startswith("turned"):
            sentences.append(f"{which} is {cause}, so nothing is said of it; turn it upright and ask again.")
        else:
            found = "is blank" if cause == "blank" else f"shows {cause}"
            sentences.append(f"{which} {found}, so nothing is said of it.")
    return " ".join(sentences)


def answer_directly(
    question: str,
    options: Sequence[str],
    measured: Mapping[str, object],
    logits: Mapping[str, float],
    choices: Mapping[str, float],
    wordings: Mapping[str, str],
) -> Answer | None:
    """Answers a question about one signal from what was measured and found in it.

    Args:
        question: The question.
        options: Its options, or nothing.
        measured: Measurements as plain values.
        logits: Code of each statement -> its calibrated logit; empty for a model without a head for findings.
        choices: Code of each statement -> its logit as an option of a question.
        wordings: Code of each statement -> its words.

    Returns: None for a question that asks for something else.
    """
    question = question.removesuffix(f": {', '.join(options)}?") if options else question
    if not options and (names := asked_numbers(question)):
        return Answer(answer_numbers(names, measured))
    if not logits:
        return None
    if (code := asked_statement(question, wordings)) and (not options or _is_yes_no(options)):
        no, yes = shares_of([0.0, logits[code]])
        shares = {"Yes": yes, "No": no}
        if not options:
            return Answer("Yes." if yes >= 0.5 else "No.", shares)
        shares = {option: shares[option.rstrip(".").capitalize()] for option in options}
        return Answer(max(shares, key=shares.__getitem__), shares)
    codes = [statement_of(option, wordings) for option in options]
    if any(code in cannot_be_told(measured, wordings) for code in codes):
        return Answer(answer_numbers(("qrs_axis",), measured))
    if options and all(codes) and len(set(codes)) == len(codes) and not _NEGATIVE.search(question.lower()):
        shares = dict(zip(options, shares_of([choices[code] for code in codes])))
        return Answer(max(shares, key=shares.__getitem__), shares)
    return None


def cannot_be_told(measured: Mapping[str, object], wordings: Mapping[str, str]) -> set[str]:
    """Returns the codes of the statements that the recorded leads cannot tell: those of the axis, without the leads
    that it is measured in.

    Args:
        measured: Measurements as plain values.
        wordings: Code of each statement -> its words.
    """
    reason = measured.get("reasons", {}).get("qrs_axis", "")
    return {code for code in wordings if code.startswith("axis:") and "cannot be told" in reason}


def _is_yes_no(options: Sequence[str]) -> bool:
    return {option.rstrip(".").capitalize() for option in options} == {"Yes", "No"}


__all__ = ["Answer", "answer_directly", "cannot_be_told", "refusal_of"]
