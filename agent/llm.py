"""Asks a language model behind an OpenAI-compatible server, and keeps its replies."""

import json
import os
import urllib.request
from pathlib import Path
from typing import Any


def chat(url: str, model: str, messages: list[dict], timeout: float = 60.0, **options) -> dict:
    """Asks a language model once.

    Args:
        url: Base of the server, for example "http://localhost:8000/v1"; the key, if it wants one, is taken from
            OPENAI_API_KEY.
        model: Its name there.
        messages: The chat, as the API has it.
        timeout: Seconds.
        options: Further fields of the request: temperature, seed, max_tokens, response_format, ...

    Returns: the first choice, with "message".

    Raises: `OSError` when the server cannot be reached or refuses, `ValueError`, `KeyError`, `IndexError`, `TypeError`
        for a reply that is none.
    """
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("OPENAI_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    body = json.dumps({"model": model, "messages": messages, **options}).encode()
    request = urllib.request.Request(f"{url.rstrip('/')}/chat/completions", body, headers)
    with urllib.request.urlopen(request, timeout=timeout) as reply:
        choice = json.loads(reply.read(2**22))["choices"][0]
    if not isinstance(choice["message"]["content"], str):
        raise ValueError("The reply has no text.")
    return choice


def json_schema(name: str, schema: dict) -> dict:
    """Returns the `response_format` of a request for replies that follow a schema."""
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}


def keep_reply(place: Path, reply: Any):
    """Writes all of a reply to a file of a cache, as JSON, or nothing; its folder is made."""
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_suffix(f".{os.getpid()}.partial")
    partial.write_text(json.dumps(reply, ensure_ascii=False), encoding="utf-8")
    os.replace(partial, place)
