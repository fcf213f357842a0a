"""Reads a text about the ECG as a set of facts, and scores their F1 against the reference's: the primary metric of the
open tasks.

A mention of a finding (HeartAgent's lexicon) gives several facts, and each is right or wrong by itself:

    "No ST elevation. Probable old inferior infarction."
        (STE_, "absent"), (IMI, "present"), (IMI, "certainty", "probable"), (IMI, "time", "III")

In comparisons each fact also names its ECG: "Both: ...", "Only the first: ...".
"""

import re
from collections.abc import Sequence

from ...agent.lexicon import FINDINGS, Mention, find_mentions
from .closed import same_length

CERTAINTY = {100.0: "certain", 80.0: "probable", 50.0: "possible", 15.0: "not excluded"}
_SCOPE = re.compile(
    r"\b(both|only the first|only the second|the first|the second)(?: ecgs?)?\b(?: (?:ecgs? )?(?:shows?|has|have))?:?",
    re.I,
)
_SAME = re.compile(r"\bno (?:difference|change)\b|\bunchanged\b", re.I)


def entity_f1(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float | int | None]:
    """Scores texts by ECG-entity F1.

    Returns: "f1", the mean over the pairs whose reference states facts; micro "precision", "recall" and "micro_f1" over
        all facts; "statement_f1", "certainty_f1", "lead_f1" and "time_f1", micro, over the facts of one kind, None
        where no text has one; "without_facts", the number of references that state none.
    """
    scores = entity_f1_each(predictions, references)
    scored = [score for score in scores if score is not None]
    pairs = [(find_facts(p), find_facts(r)) for p, r in zip(predictions, references)]
    result = {"f1": sum(scored) / len(scored) if scored else None, "without_facts": len(scores) - len(scored)}
    result |= _micro(pairs)
    for kind in ("statement", "certainty", "lead", "time"):
        result[f"{kind}_f1"] = _micro(
            [({f for f in s if _kind(f) == kind}, {f for f in m if _kind(f) == kind}) for s, m in pairs]
        )["micro_f1"]
    return result


def _kind(fact: tuple[str, ...]) -> str:
    return next((kind for kind in ("certainty", "lead", "time") if kind in fact), "statement")


def _micro(pairs: list[tuple[set, set]]) -> dict[str, float | None]:
    shared, predicted, expected = (sum(counts) for counts in zip(*((len(s & m), len(s), len(m)) for s, m in pairs)))
    return {
        "precision": shared / predicted if predicted else None,
        "recall": shared / expected if expected else None,
        "micro_f1": 2 * shared / (predicted + expected) if predicted + expected else None,
    }


def entity_f1_each(predictions: Sequence[str], references: Sequence[str]) -> list[float | None]:
    """Returns the F1 of the facts of each pair; None where the reference states no fact, since nothing can be right
    there.
    """
    same_length(predictions, references)
    return [
        _f1(find_facts(p), expected) if (expected := find_facts(r)) else None for p, r in zip(predictions, references)
    ]


def _f1(predicted: set, expected: set) -> float:
    return 2 * len(predicted & expected) / (len(predicted) + len(expected))


def find_facts(text: str) -> set[tuple[str, ...]]:
    """Returns the facts of a text: `(finding, "present" or "absent")`, and for present findings `(finding, "certainty",
    ...)`, `(finding, "lead", ...)` and `(finding, "time", ...)`, each behind "both", "first" or "second" where the text
    compares two ECGs; `("same",)` for "no difference".
    """
    facts = {("same",)} if _SAME.search(text) else set()
    parts = _SCOPE.split(_SAME.sub(" ", text))
    for scope, part in zip(["", *parts[1::2]], parts[::2]):
        where = (scope.lower().split()[-1],) if scope else ()
        for mention in find_mentions(part, FINDINGS):
            facts |= {(*where, *fact) for fact in _facts_of(mention)}
    return facts


def _facts_of(mention: Mention) -> set[tuple[str, ...]]:
    code = mention.code
    time = {(code, "time", mention.time)} if mention.time else set()
    if not code:
        return time
    leads = {(code, "lead", lead) for lead in mention.leads}
    if not mention.likelihood:
        return {(code, "absent"), *leads}
    return {(code, "present"), (code, "certainty", CERTAINTY[mention.likelihood]), *leads, *time}
