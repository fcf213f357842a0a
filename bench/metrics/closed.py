"""Reads strictly which option an answer to a closed question chooses. An answer that names no option, or several, is
wrong, and never replaced by a guess.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

LONGEST = 200  # words; a longer text is no answer to a question with options
_LETTER = r"[\(\[]?(?P<letter>[a-h])[\)\]]?"
_ALONE = re.compile(rf"^{_LETTER}[.):]?$")
_FIRST = re.compile(r"^(?:\((?P<letter>[a-h])\)|(?P<bare>[a-h])[.):])\s*\S")
_ANNOUNCED = re.compile(
    r"\b(?:answer|option|choice|antwort|reponse|respuesta|risposta)\b(?: is| would be| ist| est| es| e)? ?:? ?"
    rf"(?:option )?{_LETTER}(?!\w)(?P<after>.?.?)"
)
_SEVERAL = re.compile(r"^\W*[a-h]\W*(?:(?:or|and|oder|und|/|,|&)\W*[a-h]\W*)+$")
_NEGATION = re.compile(
    r"\b(?:no|not|never|without|neither|nor|excludes?|excluded|absence of|rather than|instead of|cannot be|kein\w*"
    r"|nicht)\b[^.;:!?]*$"
)
_TURN = re.compile(r"\b(?:but|sondern|however)\b")


class Choice(NamedTuple):
    """The choice of an answer: the `index` of the option, or None; then `reason` is "empty", "too long", "no option" or
    "several".
    """

    index: int | None
    reason: str = ""


def read_choice(answer: str | None, options: Sequence[str]) -> Choice:
    """Returns the one option that an answer names, by its text or its letter (A is the first).

    Case, markdown, punctuation, an article before an option and what an option has in brackets do not matter. An option
    that is negated ("not B but C", "no sinus rhythm") is not chosen; a letter and a text that disagree are two.
    """
    text = _plain(answer or "")
    if not text:
        return Choice(None, "empty")
    if len(text.split()) > LONGEST:
        return Choice(None, "too long")
    if _SEVERAL.match(text):
        return Choice(None, "several")
    chosen = _letters(text, len(options)) | _named(text, options)
    if len(chosen) == 1:
        return Choice(chosen.pop())
    return Choice(None, "several" if chosen else "no option")


def closed_qa(
    predictions: Sequence[str], references: Sequence[str], options: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Scores closed questions by strict accuracy.

    Args:
        predictions: Answers as the model wrote them.
        references: The right option of each question, as it stands in `options`.
        options: The options of each question.

    Returns: "accuracy", where an answer without a single clear choice is wrong; "invalid", the share of such answers;
        and its parts "empty", "too_long", "no_option", "several".

    Raises: `ValueError` when the lists differ in length, or a reference is none of its options.
    """
    same_length(predictions, references, options)
    right, reasons = 0, []
    for prediction, reference, offered in zip(predictions, references, options):
        if reference not in offered:
            raise ValueError(f"The reference {reference!r} is none of the options {list(offered)}.")
        choice = read_choice(prediction, offered)
        right += choice.index is not None and offered[choice.index] == reference
        reasons.append(choice.reason)
    total = len(reasons)
    parts = {
        reason.replace(" ", "_"): reasons.count(reason) / total
        for reason in ("empty", "too long", "no option", "several")
    }
    return {"accuracy": right / total, "invalid": sum(parts.values()), **parts}


def same_length(*lists: Sequence):
    """Raises `ValueError` for lists of different lengths, and for empty ones."""
    if len({len(values) for values in lists}) != 1 or not len(lists[0]):
        raise ValueError(
            "Predictions and references must be lists of one length, and not empty; got the lengths "
            f"{', '.join(str(len(values)) for values in lists)}."
        )


def _letters(text: str, options: int) -> set[int]:
    """Returns the places of the options whose letter the answer gives."""
    letters = set()
    if match := _ALONE.match(text) or _FIRST.match(text):
        letters.add(match["letter"] or match["bare"])
    for match in _ANNOUNCED.finditer(text):
        # "The answer is a normal ECG" has no letter in it.
        if match["letter"] != "a" or not re.match(r" ?\w", match["after"]):
            letters.add(match["letter"])
    return {ord(letter) - ord("a") for letter in letters if ord(letter) - ord("a") < options}


def _named(text: str, options: Sequence[str]) -> set[int]:
    """Returns the places of the options whose text stands in the answer and is not negated. The longest is looked for
    first, so that a part of it is no option of its own.
    """
    wordings = []
    for index, option in enumerate(options):
        plain = re.sub(r"^(?:an?|the) ", "", _plain(option))
        short = re.sub(r" ?\(.*\)", "", plain)
        wordings += [(wording, index) for wording in {plain, short}]
    places = set()
    for wording, index in sorted(wordings, key=lambda pair: (-len(pair[0]), pair)):
        pattern = re.compile(rf"(?<![\w#]){re.escape(wording)}(?![\w#])")
        while match := pattern.search(text):
            before = _TURN.split(text[: match.start()])[-1]
            if not _NEGATION.search(before):
                places.add(index)
            text = text[: match.start()] + "#" * (match.end() - match.start()) + text[match.end() :]
    return places


def _plain(text: str) -> str:
    """Returns a text in lower case, without accents, markdown, quotes and runs of blanks."""
    text = unicodedata.normalize("NFKD", text).casefold()
    text = "".join(letter for letter in text if not unicodedata.combining(letter))
    return " ".join(re.sub(r"[*_`\"'“”‘’]", "", text).split())
