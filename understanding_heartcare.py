# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Reads what a question asks for, whatever its wording, with a small network.

    question --> words --> hashes of their parts --sums of embeddings, Transformer--> kind, statements, topic --> Asked

A word is the sum of its parts of two to five letters, so that typing errors and compounds are near to known words.

The network knows nothing of the ECG. It says how certain it is, so that questions it does not understand are refused.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import nn

from .asking_heartcare import normalize
from .configuration_heartcare import LEADS, HeartcareConfig

# Kinds of questions: whether statements are true, which answer of a topic is, a number, the report, its gist, if it is
# urgent, the evidence, the certainty, the differences of two ECGs, how the signal goes on, or what cannot be told.
KINDS = (
    *("is", "which", "number", "report", "summary", "urgent", "why", "sure", "compare", "predict"),
    "cannot",
)
TOPICS = ("rhythm", "waveform", "diagnosis", "axis", "stage", "noise", "ectopy")
QUANTITIES = (
    *("heart_rate", "pr", "qrs", "qt", "qtc", "p_axis", "qrs_axis", "t_axis", "rr", "sokolow_lyon", "cornell"),
    *("sdnn", "rmssd", "ectopic", "st", "r", "s"),
)
OF_A_LEAD = ("st", "r", "s")
REASONS = ("treatment", "prognosis", "identity", "unknown", "cause", "other", "language")
FLAGS = ("negated", "every")

LONGEST = 64  # words; of a longer question the beginning and the end are read
BUCKETS = 4096  # number of hashes of parts of words; 0 is padding
MOST_PARTS = 24  # parts of a word
_WORD = re.compile(r"[^\W_]+|[^\w\s]")


@dataclass(frozen=True)
class Asked:
    """Holds what a question asks for.

    Attributes:
        kind: One of `KINDS`.
        codes: Statements and families that are named, for the kinds "is", "why" and "sure".
        every: True if all of the statements are meant, and not any of them.
        negated: True if "yes" means that all of them are absent.
        topic: One of `TOPICS`, or an empty text, for "which" and "compare".
        quantities: Names as `asking_heartcare.asked_numbers` returns them, and "qtc", for "number".
        reason: One of `REASONS`, for "cannot".
        certainty: Probability that all of this is right, from 0 to 1.
    """

    kind: str
    codes: tuple[str, ...] = ()
    every: bool = False
    negated: bool = False
    topic: str = ""
    quantities: tuple[str, ...] = ()
    reason: str = ""
    certainty: float = 1.0


class QuestionReader(nn.Module):
    """Reads what questions ask for.

    Args:
        config: Its `asked` names the statements and families that questions can name, `asked_hidden_size` is the width.
    """

    def __init__(self, config: HeartcareConfig):
        super().__init__()
        width = config.asked_hidden_size
        self.codes = tuple(config.asked)
        self.parts = {
            "kind": KINDS,
            "codes": self.codes,
            "flags": FLAGS,
            "topic": ("", *TOPICS),
            "quantities": QUANTITIES,
            "lead": LEADS,
            "reason": REASONS,
        }
        self.embedding = nn.Embedding(BUCKETS + 1, width // 2, padding_idx=0)
        self.words = nn.Linear(width // 2, width)
        self.positions = nn.Embedding(LONGEST, width)
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        outputs = sum(map(len, self.parts.values()))
        # Each answer looks at the letters that matter to it, and at the question as a whole.
        self.score, self.value = nn.Linear(width, outputs), nn.Linear(width, outputs)

    @torch.no_grad()
    def read(self, questions: Sequence[str]) -> list[Asked]:
        """Returns what each of some questions asks for."""
        words = words_of(questions).to(self.score.weight.device)
        logits = {name: part.float().cpu() for name, part in self(words).items()}
        return [self.answer({name: part[row] for name, part in logits.items()}) for row in range(len(questions))]

    def forward(self, words: torch.Tensor) -> dict[str, torch.Tensor]:
        """Returns logits of each part of the answer, (B, choices).

        Args:
            words: int64 (B, words, parts) as `words_of` makes them.
        """
        mask = words[..., 0] > 0
        count = (words > 0).sum(-1, keepdim=True).clamp(min=1)
        x = self.words(self.embedding(words).sum(2) / count.sqrt()) + self.positions.weight[: words.shape[1]]
        x = self.norm(self.layers(x, src_key_padding_mask=~mask))
        scores = self.score(x)
        scores = scores.masked_fill(~mask[..., None], torch.finfo(scores.dtype).min)
        logits = (scores.softmax(1) * self.value(x)).sum(1)
        return dict(zip(self.parts, logits.split([len(part) for part in self.parts.values()], dim=1)))

    def answer(self, logits: dict[str, torch.Tensor]) -> Asked:
        """Returns what a question asks for.

        Args:
            logits: Logits of each part of the answer, (choices,).
        """

        def best(part: str) -> str:
            return self.parts[part][int(logits[part].argmax())]

        def some(part: str) -> tuple[str, ...]:
            return tuple(name for name, logit in zip(self.parts[part], logits[part].tolist()) if logit > 0)

        kind = best("kind")
        certainty = logits["kind"].softmax(0).max()
        codes = some("codes") if kind in ("is", "why", "sure") else ()
        if kind == "is":
            if not codes:
                codes = (best("codes"),)
            certainty = certainty * torch.maximum(logits["codes"], -logits["codes"]).sigmoid().min()
            certainty = certainty * logits["flags"][FLAGS.index("negated")].abs().sigmoid()
        negated = kind == "is" and "negated" in some("flags")
        every = kind == "is" and not negated and len(codes) > 1 and "every" in some("flags")
        quantities: tuple[str, ...] = ()
        if kind == "number":
            quantities = some("quantities") or (best("quantities"),)
            leads = {name: some("lead") if name in OF_A_LEAD else () for name in quantities}
            quantities = tuple(
                each for name in quantities for each in [f"{name}:{lead}" for lead in leads[name]] or [name]
            )
            certainty = certainty * torch.maximum(logits["quantities"], -logits["quantities"]).sigmoid().min()
        topic = best("topic") if kind in ("which", "compare") else ""
        if kind == "which":
            certainty = certainty * logits["topic"].softmax(0).max()
        reason = best("reason") if kind == "cannot" else ""
        return Asked(kind, codes, every, negated, topic, quantities, reason, float(certainty))


def words_of(questions: Sequence[str]) -> torch.Tensor:
    """Returns questions as hashes of their words' parts, int64 (questions, words, parts), padded with 0."""
    rows = []
    for question in questions:
        words = _WORD.findall(normalize(question)) or ["?"]
        if len(words) > LONGEST:
            words = words[: LONGEST // 3] + words[-(LONGEST - LONGEST // 3) :]
        rows.append([parts_of_word(word) for word in words])
    table = np.zeros((len(rows), max(map(len, rows)), MOST_PARTS), np.int64)
    for row, words in zip(table, rows):
        for place, parts in zip(row, words):
            place[: len(parts)] = parts
    return torch.from_numpy(table)


@lru_cache(maxsize=20_000)
def parts_of_word(word: str) -> tuple[int, ...]:
    """Returns the hashes of a word and of its parts of two to five letters, from 1 to `BUCKETS`."""
    marked = f"<{word}>"
    parts = [marked] + [marked[start : start + n] for n in (3, 4, 5, 2) for start in range(len(marked) - n + 1)]
    return tuple(zlib.crc32(part.encode()) % BUCKETS + 1 for part in dict.fromkeys(parts))[:MOST_PARTS]


__all__ = ["KINDS", "QUANTITIES", "REASONS", "Asked", "QuestionReader", "words_of"]
