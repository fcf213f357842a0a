"""Scores texts against reference texts: exact match, token F1, ROUGE-L and BLEU-4. All are in 0 to 1, but BLEU, which
the field gives in 0 to 100.
"""

import math
import re
import string
from collections import Counter
from collections.abc import Sequence

from .closed import same_length

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalized(text: str) -> str:
    """Returns a text in lower case, without punctuation, articles and runs of blanks."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match_each(predictions: Sequence[str], references: Sequence[str]) -> list[float]:
    """Returns 1 for each prediction that is its reference, once both are `normalized`, else 0."""
    same_length(predictions, references)
    return [float(normalized(p) == normalized(r)) for p, r in zip(predictions, references)]


def answer_set_match_each(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """Returns ECG-QA's exact match: 1 where the answers, separated by commas, are those of the reference, in any order,
    all of them and no other.
    """
    same_length(predictions, references)
    return [
        float({normalized(part) for part in prediction.split(",")} - {""} == {normalized(part) for part in reference})
        for prediction, reference in zip(predictions, references)
    ]


def token_f1_each(predictions: Sequence[str], references: Sequence[str]) -> list[float]:
    """Returns the F1 of the words of each pair, once both are `normalized`; two empty texts are equal."""
    same_length(predictions, references)
    scores = []
    for prediction, reference in zip(predictions, references):
        predicted, expected = Counter(normalized(prediction).split()), Counter(normalized(reference).split())
        shared = (predicted & expected).total()
        scores.append(
            float(predicted == expected)
            if not predicted or not expected
            else 2 * shared / (predicted.total() + expected.total())
        )
    return scores


def rouge_l_each(predictions: Sequence[str], references: Sequence[str]) -> list[float]:
    """Returns ROUGE-L F of each pair: the longest common subsequence of the words. Equal to rouge-score's `rougeL`
    without stemmer.
    """
    same_length(predictions, references)
    scores = []
    for prediction, reference in zip(predictions, references):
        predicted, expected = _rouge_words(prediction), _rouge_words(reference)
        common = _longest_common(predicted, expected)
        scores.append(2 * common / (len(predicted) + len(expected)) if common else 0.0)
    return scores


def _rouge_words(text: str) -> list[str]:
    return [word for word in re.sub(r"[^a-z0-9]+", " ", text.lower()).split() if word]


def _longest_common(one: list[str], other: list[str]) -> int:
    row = [0] * (len(other) + 1)
    for word in one:
        corner = 0
        for k, against in enumerate(other, 1):
            corner, row[k] = row[k], corner + 1 if word == against else max(row[k], row[k - 1])
    return row[-1]


def bleu(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Returns corpus BLEU-4 in 0 to 100, with one reference each, 13a tokens and exponential smoothing. Equal to
    sacrebleu's `corpus_bleu` by default.
    """
    same_length(predictions, references)
    right, total, predicted_length, expected_length = [0] * 4, [0] * 4, 0, 0
    for prediction, reference in zip(predictions, references):
        predicted, expected = _bleu_words(prediction), _bleu_words(reference)
        predicted_length, expected_length = predicted_length + len(predicted), expected_length + len(expected)
        for n in range(4):
            grams, known = (Counter(zip(*(words[k:] for k in range(n + 1)))) for words in (predicted, expected))
            right[n] += (grams & known).total()
            total[n] += grams.total()
    if not any(right):
        return 0.0
    logs, smoothing = 0.0, 1.0
    for n in range(4):
        if not total[n]:
            return 0.0
        if not right[n]:
            smoothing *= 2
        logs += math.log(100 * right[n] / total[n] if right[n] else 100 / (smoothing * total[n]))
    brevity = 1.0 if predicted_length >= expected_length else math.exp(1 - expected_length / predicted_length)
    return brevity * math.exp(logs / 4)


_ENTITIES = (("<skipped>", ""), ("-\n", ""), ("\n", " "), ("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))


def _bleu_words(text: str) -> list[str]:
    """Returns the tokens as mteval-v13a makes them."""
    text = text.rstrip()
    for written, character in _ENTITIES:
        text = text.replace(written, character)
    text = re.sub(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])", r" \1 ", f" {text} ")
    text = re.sub(r"([^0-9])([\.,])", r"\1 \2 ", text)
    text = re.sub(r"([\.,])([^0-9])", r" \1 \2", text)
    return re.sub(r"([0-9])(-)", r"\1 \2 ", text).split()
