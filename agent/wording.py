"""Questions about ECGs as people word them, drawn at random with what they ask for.

    frames, names of findings and numbers (agent/wordings/*.json) --WordingBuilder--> (question, Asked)

A frame is a question with blanks: {f} for a finding, {g} for a second one, {n} for a number, {l} for a lead. The frames
were written by hand, one by one. A tenth of them, by their hash, is kept for validation. The questions of
`held_out.jsonl` were written apart from them, by other writers, and are never drawn: every second one is for
developing, and the others are for testing.
"""

import json
import re
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from heartcare.configuration_heartcare import LEADS
from heartcare.understanding_heartcare import OF_A_LEAD, Asked

from .qa import (
    CLOSED,
    COMPARE_OPEN,
    OPEN,
    OTHER_PATIENT,
    PATIENT,
    PREDICTION,
    REPORT,
    SAME_PATIENT,
    TOPIC_WORDS,
    VERIFY,
    patient_words,
)

FOLDER = Path(__file__).parent / "wordings"
SPLITS = ("train", "validation")
LANGUAGES = {"en": 0.68, "de": 0.32}
# How often each group of frames is drawn.
WEIGHTS = {
    "is": 26, "is_not": 11, "given": 5, "or": 4, "or_not": 2, "and": 4, "normal": 4, "abnormal": 3, "question": 20,
    "unknown": 7, "which": 14, "number": 6, "numbers": 3, "value": 5, "report": 4, "summary": 4, "urgent": 3, "why": 2,
    "why_f": 3, "sure": 3, "compare": 4, "compare_topic": 3, "predict": 2, "cannot": 14, "language": 2, "names": 2,
}  # fmt: skip
# Shares of the questions for a statement: of those that name two or three, two in words that both share ("left or right
# bundle branch block"), or leads, which are not a part of what is asked for.
JOINED, PAIRED, LEAD_SHARE = 0.12, 0.06, 0.06
TYPOS = 0.35  # share of the questions with one typing error or two
SHORTENED = 0.15  # share of the questions that lack small words, as notes do
# Shares of the questions with a sentence before them, one behind them, a polite word, and words for the patient.
BEFORE, AFTER, POLITE, WHO = 0.2, 0.08, 0.1, 0.1
_FILLERS = re.compile(r"\b(?:the|a|an|is|are|this|of|on|der|die|das|ein|eine|ist|im) ", re.IGNORECASE)
PARTS = {"en": (" or ", " and "), "de": (" oder ", " und ")}
PLACES = {
    "en": ("in {}", "in lead {}", "in {} and {}", "in leads {} to {}", "in the {} leads"),
    "de": ("in {}", "in Ableitung {}", "in {} und {}", "in {} bis {}", "in den Ableitungen {}"),
}


def codes() -> list[str]:
    """Returns the statements and families that questions can name."""
    return ["NORM", *wordings("findings")]


def held_out() -> list[tuple[str, Asked, str]]:
    """Returns the questions that are for testing alone, with what they ask for and their language."""
    questions = []
    for line in (FOLDER / "held_out.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        asked = Asked(
            row["kind"],
            tuple(row.get("codes", ())),
            row.get("join") == "and",
            row.get("negated", False),
            row.get("topic", ""),
            tuple(row.get("quantities", ())),
            row.get("reason", ""),
        )
        questions.append((row["q"], asked, row["lang"]))
    return questions


def of_split(frames: list[str], split: str) -> list[str]:
    """Returns the frames of a split; for validation, of a group whose frames are all for training, the last one."""
    kept = [frame for frame in frames if split_of(frame) == "validation"] or frames[-1:]
    return kept if split == "validation" else [frame for frame in frames if frame not in kept]


def split_of(frame: str) -> str:
    """Returns the split that a frame belongs to, which its hash tells."""
    return "validation" if zlib.crc32(frame.encode()) % 10 == 0 else "train"


def of_the_data_set() -> dict[str, list[str]]:
    """Returns the frames of the data set's own questions, without options: key of the frames -> frames."""
    frames = {"is": [template.replace("{}", "{f}") for template in VERIFY], "report": list(REPORT)}
    for topic, templates in OPEN.items():
        closed = [re.sub(r":? ?(?:one of )?\{\}", "", template).replace(",?", "?").replace(",.", ".")
                  for template in CLOSED[topic]]  # fmt: skip
        frames[f"which:{topic}"] = [*templates, *closed]
    leads = ("", *SAME_PATIENT, *OTHER_PATIENT)
    frames["predict"] = [template.format(seconds) for template in PREDICTION for seconds in (1, 2, 3, 4)]
    frames["compare"] = [lead + template for lead in leads for template in COMPARE_OPEN]
    for topic, words in TOPIC_WORDS.items():
        frames[f"compare:{topic}"] = [f"{frame} Consider the {words}." for frame in frames["compare"]]
    return frames


def enumerated(words: list[str], joint: str) -> str:
    """Returns words with commas between them, and with `joint` before the last one."""
    return ", ".join(words[:-1]) + joint + words[-1] if len(words) > 1 else words[0]


def plain_words(text: str) -> str:
    """Returns a text without its capitals, spaces at its ends and final marks."""
    return text.strip().rstrip("?.! ").casefold()


@lru_cache(maxsize=8)
def wordings(name: str) -> dict[str, Any]:
    """Returns one of the files of wordings as it is."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


class WordingBuilder:
    """Draws questions.

    Args:
        rng: Source of all choices.
        split: "train" or "validation": the frames that are drawn.
    """

    def __init__(self, rng: np.random.Generator, split: str = "train"):
        self.rng = rng
        self.frames = {
            language: {key: of_split(of_key, split) for key, of_key in keys.items()}
            for language, keys in wordings("frames").items()
        }
        if split == "train":
            for key, frames in of_the_data_set().items():
                self.frames["en"][key] = self.frames["en"].get(key, []) + frames
        self.findings = wordings("findings")
        # A statement with more names is drawn more often, but each of its names more rarely.
        self.codes = list(self.findings)
        weights = np.array([len(self.findings[code]["en"]) ** 0.7 for code in self.codes])
        self.shares = self._usual_shares = weights / weights.sum()
        self.whole = {
            language: [
                (text, name)
                for name, of_name in wordings("questions").items()
                for text in of_name[language]
                if split_of(text) == split
            ]
            for language in LANGUAGES
        }
        self.kept_apart = {plain_words(text) for text, _, _ in held_out()}
        self.groups, weights = list(WEIGHTS), np.array(list(WEIGHTS.values()), float)
        self.group_shares = weights / weights.sum()

    def favour(self, codes: Sequence[str]) -> None:
        """Lets half of the findings that questions name be some of these, until it is called again.

        Args:
            codes: Some of `codes`; with none, all are drawn as usual.
        """
        favoured = np.isin(self.codes, codes)
        self.shares = self._usual_shares
        if favoured.any():
            self.shares = 0.5 * self._usual_shares + 0.5 * favoured / favoured.sum()

    def question(self) -> tuple[str, Asked]:
        """Returns a question and what it asks for."""
        while True:
            language = str(self.rng.choice(list(LANGUAGES), p=list(LANGUAGES.values())))
            group = str(self.rng.choice(self.groups, p=self.group_shares))
            text, asked = getattr(self, f"_{group}", self._plain)(language, group)
            text = self._as_typed(self._surrounded(text, language))
            if plain_words(text) not in self.kept_apart:
                return text, asked

    def _is(self, language: str, group: str) -> tuple[str, Asked]:
        draw = self.rng.random()
        if draw < PAIRED:
            named, every, name = self._paired(language, group)
        elif draw < PAIRED + JOINED:
            named, every, name = self._joined(language, group)
        else:
            named, every = [self._code()], False
            name = self._name(named[0], language)
            if self.rng.random() < LEAD_SHARE:
                first, last = sorted(self.rng.choice(6, 2, replace=False)) + 6 * self.rng.integers(2)
                name += " " + self._pick(PLACES[language]).format(LEADS[first], LEADS[last])
        text = self._frame(language, group).replace("{f}", name)
        return text, Asked("is", tuple(sorted(named)), every, group == "is_not")

    def _paired(self, language: str, group: str) -> tuple[list[str], bool, str]:
        """Returns the same as `_joined` for two statements that share words, as "left or right bundle branch block"."""
        pairs = wordings("pairs")
        codes = self._pick(list(pairs))
        name = self._pick(pairs[codes][language])
        if group == "is_not" and "{or}" not in name:  # in a denial "and" may mean either, so it is not used
            return self._joined(language, group)
        every = group == "is" and ("{or}" not in name or bool(self.rng.random() < 0.3))
        return codes.split(), every, name.replace(" {or} ", PARTS[language][every])

    def _joined(self, language: str, group: str) -> tuple[list[str], bool, str]:
        """Returns the codes of two or three statements, whether all of them are meant, and their names in words."""
        named = list(dict.fromkeys(self._code() for _ in range(self.rng.integers(2, 4))))
        names = [self._name(code, language) for code in named]
        # In a denial "and" may mean either, so it is not used.
        every = bool(group == "is" and self.rng.random() < 0.4) and len(named) > 1
        if len(names) == 2 and not every and self.rng.random() < 0.2:
            return named, every, "/".join(names)
        return named, every, enumerated(names, PARTS[language][every])

    def _given(self, language: str, group: str) -> tuple[str, Asked]:
        """Asks for one finding and names another one as known."""
        asked, given = (str(code) for code in self.rng.choice(self.codes, 2, replace=False, p=self.shares))
        text = self._frame(language, group).replace("{f}", self._name(asked, language))
        return text.replace("{g}", self._name(given, language)), Asked("is", (asked,))

    _is_not = _is

    def _or(self, language: str, group: str) -> tuple[str, Asked]:
        first, second = self.rng.choice(self.codes, 2, replace=False, p=self.shares)
        text = self._frame(language, group)
        text = text.replace("{f}", self._name(first, language)).replace("{g}", self._name(second, language))
        return text, Asked("is", tuple(sorted((str(first), str(second)))), group == "and", group == "or_not")

    _and = _or_not = _or

    def _normal(self, language: str, group: str) -> tuple[str, Asked]:
        return self._frame(language, group), Asked("is", ("NORM",), negated=group == "abnormal")

    _abnormal = _normal

    def _question(self, language: str, group: str) -> tuple[str, Asked]:
        text, name = self._pick(self.whole[language])
        return text, Asked("is", (name.removeprefix("not "),), negated=name.startswith("not "))

    def _unknown(self, language: str, group: str) -> tuple[str, Asked]:
        """Asks for a finding that is not taught, or for an invented word."""
        key = self._pick(("is", "is", "is", "is_not", "why_f"))
        name = self._pick(wordings("unknown")[language])
        if self.rng.random() < 0.3:
            name = self._invented()
        return self._frame(language, key).replace("{f}", name), Asked("cannot", reason="unknown")

    def _invented(self) -> str:
        """Returns an invented name of a finding, one word or two."""
        parts = "ba be co dra el fi go hy ka lo mi no or pe qua ri so tra ul va xe zi ther glan morb sten cort".split()
        ends = ("itis", "osis", "emia", "syndrome", "disease", "sign", "oma", "", "wave", "pathy", "'s disease")
        word = "".join(self._pick(parts) for _ in range(self.rng.integers(2, 4))) + self._pick(ends)
        return f"{word} {self._pick(('sign', 'pattern', 'complex', 'type'))}" if self.rng.random() < 0.3 else word

    def _which(self, language: str, group: str) -> tuple[str, Asked]:
        topics = ("rhythm", "rhythm", "waveform", "diagnosis", "diagnosis", "axis", "stage", "noise", "ectopy")
        topic = self._pick(topics)
        return self._frame(language, f"which:{topic}"), Asked("which", topic=topic)

    def _number(self, language: str, group: str) -> tuple[str, Asked]:
        """Asks for a number, of a lead or of several leads where it has one for each."""
        table = wordings("quantities")
        name = self._pick(list(table))
        leads = [str(lead) for lead in self.rng.choice(LEADS, self._pick((1, 1, 1, 2, 3)), replace=False)]
        words = self._pick(table[name][language])
        text = self._frame(language, "number").replace("{n}", words.replace("{l}", self._listed(leads, language)))
        if name not in OF_A_LEAD:
            return text, Asked("number", quantities=(name,))
        return text, Asked("number", quantities=tuple(f"{name}:{lead}" for lead in leads))

    def _numbers(self, language: str, group: str) -> tuple[str, Asked]:
        """Asks for several numbers, as a list."""
        table = wordings("quantities")
        names = [str(name) for name in self.rng.permutation(list(table))[: int(self.rng.integers(2, 6))]]
        lead = self._pick(LEADS)
        words = [self._pick(table[name][language]).replace("{l}", lead) for name in names]
        if self.rng.random() < 0.4:
            words = [min(table[name][language], key=len).replace("{l}", lead) for name in names]
        text = self._frame(language, self._pick(("number", "pair", "pair"))).replace(
            "{n}", self._listed(words, language)
        )
        return text, Asked("number", quantities=tuple(f"{n}:{lead}" if n in OF_A_LEAD else n for n in names))

    def _value(self, language: str, group: str) -> tuple[str, Asked]:
        """Asks for a number by a frame that names the number itself."""
        name = self._pick([key for key in self.frames[language] if key.startswith("number:")]).removeprefix("number:")
        lead = self._pick(LEADS)
        text = self._frame(language, f"number:{name}").replace("{l}", lead)
        return text, Asked("number", quantities=(f"{name}:{lead}" if name in OF_A_LEAD else name,))

    def _why_f(self, language: str, group: str) -> tuple[str, Asked]:
        code = self._code()
        return self._frame(language, group).replace("{f}", self._name(code, language)), Asked("why", (code,))

    def _sure(self, language: str, group: str) -> tuple[str, Asked]:
        text = self._frame(language, "sure")
        if "{f}" not in text:
            return text, Asked("sure")
        code = self._code()
        return text.replace("{f}", self._name(code, language)), Asked("sure", (code,))

    def _compare_topic(self, language: str, group: str) -> tuple[str, Asked]:
        key = self._pick([key for key in self.frames[language] if key.startswith("compare:")])
        return self._frame(language, key), Asked("compare", topic=key.removeprefix("compare:"))

    def _cannot(self, language: str, group: str) -> tuple[str, Asked]:
        reason = self._pick(("treatment", "prognosis", "identity", "unknown_f", "cause", "other", "other"))
        return self._frame(language, f"cannot:{reason}"), Asked("cannot", reason=reason.removesuffix("_f"))

    def _language(self, language: str, group: str) -> tuple[str, Asked]:
        return self._pick(wordings("unknown")["other languages"]), Asked("cannot", reason="language")

    def _names(self, language: str, group: str) -> tuple[str, Asked]:
        """Asks by the name of a finding alone, with or without a question mark."""
        code = self._code()
        return self._name(code, language) + self._pick(("?", " ?", "", "??")), Asked("is", (code,))

    def _plain(self, language: str, group: str) -> tuple[str, Asked]:
        return self._frame(language, group), Asked(group)

    def _surrounded(self, text: str, language: str) -> str:
        """Returns the question with what people write around it."""
        draw = self.rng.random(4)
        if draw[0] < POLITE:
            text = self._frame(language, "please").rstrip() + " " + text
        if draw[1] < BEFORE:
            text = self._frame(language, "before").rstrip() + " " + text
        if draw[2] < AFTER:
            text = text.rstrip() + " " + self._frame(language, "after")
        if language == "en" and draw[3] < WHO:
            age = float(self.rng.integers(18, 95)) if self.rng.random() < 0.9 else None
            who = patient_words(age, self._pick(("male", "female", None)), self.rng)
            text = self._pick(PATIENT).format(who=who, question=text)
        return text

    def _as_typed(self, text: str) -> str:
        """Returns the text with typing errors now and then, or without small words or its punctuation."""
        draw = self.rng.random(4)
        if draw[3] < SHORTENED:
            text = _FILLERS.sub(lambda word: "" if self.rng.random() < 0.5 else word.group(), text).strip() or text
        if draw[0] < TYPOS:
            for _ in range(self.rng.integers(1, 3)):
                text = self._mistyped(text)
        if draw[1] < 0.3:
            text = text.rstrip("?.! ")
        if draw[2] < 0.08:
            text = text.replace(",", "").replace("'", "").replace("-", self._pick(("", " ")))
        return text

    def _mistyped(self, text: str) -> str:
        """Returns the text with one letter of a word of four letters and more left out, doubled, changed, or swapped
        with the next.
        """
        words = text.split(" ")
        long = [place for place, word in enumerate(words) if len(word) >= 4 and word.isalpha()]
        if not long:
            return text
        place = self._pick(long)
        word, at = words[place], int(self.rng.integers(1, len(words[place]) - 1))
        words[place] = self._pick(
            (
                word[:at] + word[at + 1 :],
                word[:at] + word[at] + word[at:],
                word[:at] + self._pick("abcdefghijklmnopqrstuvwxyz") + word[at + 1 :],
                word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            )
        )
        return " ".join(words)

    def _frame(self, language: str, key: str) -> str:
        return self._pick(self.frames[language][key])

    def _code(self) -> str:
        return str(self.rng.choice(self.codes, p=self.shares))

    def _name(self, code: str, language: str) -> str:
        """Returns a name of a finding; German questions use English names now and then."""
        names = self.findings[code]
        of_language = names["en"] if language == "en" or not names["de"] or self.rng.random() < 0.08 else names["de"]
        return self._pick(of_language)

    def _listed(self, words: list[str], language: str) -> str:
        """Returns some words as a list, in the ways in which people write lists."""
        joint = self._pick((PARTS[language][1], PARTS[language][1], ", ", " & ", "/", " + "))
        return enumerated(words, joint)

    def _pick(self, options: Any) -> Any:
        return options[int(self.rng.integers(len(options)))]


__all__ = ["SPLITS", "WordingBuilder", "codes", "held_out", "plain_words", "split_of", "wordings"]
