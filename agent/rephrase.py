"""Rephrases questions by a language model behind an OpenAI-compatible server, and checks every reply against the
labels.
"""

import hashlib
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from .lexicon import find_statements
from .llm import chat, json_schema, keep_reply
from .qa import Question

SCHEMA = {
    "type": "object",
    "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
    "required": ["question", "answer"],
    "additionalProperties": False,
}
SYSTEM = (
    "You reword questions and answers about electrocardiograms for a data set. Keep the meaning exactly: every "
    "finding, its certainty, every number, the patient's age and sex. Add nothing. Options of a question stay word by "
    'word as they are. Reply with JSON: {"question": ..., "answer": ...}.'
)
TRIES, SECONDS = 3, 60.0  # tries for one question, seconds for one reply
NUMBER = re.compile(r"\d+(?:\.\d+)?")
SEX = re.compile(r"\b(?:(wom[ae]n|female|lady|she|her)|(m[ae]n|male|gentleman|he|his))\b", re.I)


class Rephraser:
    """Rephrases questions and answers, or leaves them as they are.

    Args:
        url: Base of the server, for example "http://localhost:8000/v1".
        model: Name of the model there.
        cache: Folder of the accepted replies, by the hash of the request.

    A reply that fails is asked for again twice. `counts` has "cached" and "accepted" replies, and the templates that
    stay, "failed" for want of a good reply and "kept" since there is nothing to rephrase.
    """

    def __init__(self, url: str, model: str, cache: str):
        self.url, self.model, self.cache = url, model, Path(cache)
        self.counts: Counter = Counter()

    def __call__(self, question: Question) -> tuple[Question, bool]:
        """Returns the question in other words, and whether it was changed."""
        if question.task == "prediction":
            self.counts["kept"] += 1
            return question, False
        request = json.dumps(
            {"question": question.question, "answer": question.answer, "options": list(question.options)},
            ensure_ascii=False,
        )
        place = self.cache / f"{hashlib.sha256(f'{self.model}|{request}'.encode()).hexdigest()}.json"
        if place.is_file():
            reply = json.loads(place.read_text(encoding="utf-8"))
            self.counts["cached"] += 1
            return replace(question, **reply), True
        for attempt in range(TRIES):
            try:
                reply = self._ask(request, attempt)
            except (OSError, ValueError, KeyError, IndexError, TypeError):
                continue
            if find_fault(question, reply) is None:
                keep_reply(place, reply)
                self.counts["accepted"] += 1
                return replace(question, **reply), True
        self.counts["failed"] += 1
        return question, False

    def _ask(self, request: str, attempt: int) -> dict:
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": request}]
        form = json_schema("rephrased", SCHEMA)
        choice = chat(self.url, self.model, messages, SECONDS, temperature=0.7, seed=attempt, response_format=form)
        return json.loads(choice["message"]["content"])


def find_fault(question: Question, reply: object) -> str | None:
    """Returns the reason why a reply must not be used, or None: its form is checked, then whether it still is true."""
    if (
        not isinstance(reply, dict)
        or set(reply) != {"question", "answer"}
        or not all(isinstance(v, str) and v.strip() for v in reply.values())
    ):
        return "it is not an object of two texts, question and answer"
    question_text, answer_text = reply["question"], reply["answer"]
    if len(question_text) > 3 * len(question.question) + 100 or len(answer_text) > 3 * len(question.answer) + 100:
        return "it is much longer than the template"
    if "<|" in question_text + answer_text:
        return "it holds a special token"
    if sorted(NUMBER.findall(question_text)) != sorted(NUMBER.findall(question.question)):
        return "the numbers of the question differ"
    if sorted(NUMBER.findall(answer_text)) != sorted(NUMBER.findall(question.answer)):
        return "the numbers of the answer differ"
    if _sexes(question_text) != _sexes(question.question):
        return "the patient's sex differs"
    if question.options:
        if missing := [option for option in question.options if option.lower() not in question_text.lower()]:
            return f"the question lacks the option {missing[0]!r}"
        return None if answer_text == question.answer else "the answer is not the option word by word"
    if question.task == "verify-qa":
        verdict = re.match(r"(?i)yes|no\b", answer_text)
        if (
            not verdict
            or verdict[0].lower() != question.answer_label[0]
            or find_statements(question_text) != find_statements(question.question)
        ):
            return "the answer or the finding asked for differs"
        return None
    return (
        None
        if find_statements(answer_text) == find_statements(question.answer)
        else "the findings of the answer differ"
    )


def _sexes(text: str) -> set[int]:
    return {index for match in SEX.findall(text) for index, group in enumerate(match) if group}
