"""Grades reports by the 17-point rubric with a language model. A judgement that fails is counted as failed, and never
scored.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ...agent.llm import chat, json_schema, keep_reply
from .closed import same_length
from .rubric import RUBRIC, weighted

SYSTEM = (
    "You grade reports of electrocardiograms against a reference by a cardiologist. For each numbered point reply 1 "
    "(yes), 0.5 (in part), 0 (no), or null where the reference has nothing that the point could apply to. A report "
    "that says nothing of the ECG gets 0. Reply with JSON alone, an object with the "
    'keys "1" to "17".\n\n' + "\n".join(f"{k}. {point.asks}" for k, point in enumerate(RUBRIC, 1))
)
SECONDS = 120.0  # time for one reply
KEYS = [str(k) for k in range(1, len(RUBRIC) + 1)]
SCHEMA = {
    "type": "object",
    "properties": {key: {"enum": [0, 0.5, 1, None]} for key in KEYS},
    "required": KEYS,
    "additionalProperties": False,
}


class Judge:
    """Grades one report after the other.

    Args:
        model: Name of the judge at `url`; without a `url`, folder or Hub id of a causal LM with a chat template.
        url: OpenAI-compatible server, for example "http://localhost:8000/v1".
        cache: Folder of judgements, by the hash of the request; none is kept without it.
        seed: Sent with each request; a second try has the next one.
        retries: Number of times that a judgement that fails is asked for again.

    `counts` has "judged", "cached" and "failed".
    """

    def __init__(
        self,
        model: str,
        url: str | None = None,
        cache: str | None = None,
        seed: int = 0,
        retries: int = 2,
    ):
        self.model, self.url, self.cache, self.seed, self.retries = model, url, cache, seed, retries
        self.counts: Counter = Counter()
        self._local = None

    def __call__(self, prediction: str, reference: str) -> list[float | None] | None:
        """Returns the 17 points, None for those that do not apply; None alone when the judge failed."""
        request = f"Reference:\n{reference}\n\nReport to grade:\n{prediction}"
        key = hashlib.sha256(json.dumps([self.model, self.seed, SYSTEM, request]).encode()).hexdigest()
        place = Path(self.cache) / f"{key}.json" if self.cache else None
        if place and place.is_file():
            self.counts["cached"] += 1
            return json.loads(place.read_text(encoding="utf-8"))
        for attempt in range(1 + self.retries):
            try:
                points = read_judgement(self._reply(request, self.seed + attempt))
            except (OSError, ValueError, KeyError, IndexError, TypeError):
                continue
            if place:
                keep_reply(place, points)
            self.counts["judged"] += 1
            return points
        self.counts["failed"] += 1
        return None

    def _reply(self, request: str, seed: int) -> str:
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": request}]
        if self.url:
            form = json_schema("judgement", SCHEMA)
            choice = chat(self.url, self.model, messages, SECONDS, temperature=0, seed=seed, response_format=form)
            return choice["message"]["content"]
        if self._local is None:
            from transformers import AutoModelForCausalLM, AutoTokenizer

            self._local = AutoModelForCausalLM.from_pretrained(self.model), AutoTokenizer.from_pretrained(self.model)
        model, tokenizer = self._local
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"
        )
        ids = model.generate(**inputs, max_new_tokens=200, do_sample=False)
        return tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def read_judgement(reply: str) -> list[float | None]:
    """Reads a judge's reply: its 17 points. Raises `ValueError` for anything but one JSON object of exactly these keys
    and values.
    """
    text = reply.strip().removeprefix("```json").removeprefix("```").removesuffix("```")
    points = json.loads(text)
    if not isinstance(points, dict) or sorted(points) != sorted(KEYS):
        raise ValueError("The judgement does not have the keys 1 to 17.")
    if any(isinstance(value, bool) or value not in (0, 0.5, 1, None) for value in points.values()):
        raise ValueError("A point is none of 0, 0.5, 1, null.")
    return [None if points[key] is None else float(points[key]) for key in KEYS]


def judge_reports(
    predictions: Sequence[str], references: Sequence[str], judge: Judge
) -> dict[str, float | int | list | None]:
    """Grades reports.

    Returns: "score", mean of 0 to 100 over the reports that were judged (None without any); "each", None where the
        judge failed; "judged", "failed".
    """
    same_length(predictions, references)
    points = [judge(p, r) for p, r in zip(predictions, references)]
    scores = [weighted(row) if row else None for row in points]
    scored = [score for score in scores if score is not None]
    return {
        "score": sum(scored) / len(scored) if scored else None,
        "each": scores,
        "judged": len(scored),
        "failed": len(scores) - len(scored),
    }
