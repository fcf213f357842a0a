"""OpenAI's form of chat completions: requests in, replies and events out. `serve.py` answers with it."""

import json
import math
from collections.abc import Mapping
from typing import Any

from heartcare.examples.structured import Unanswerable, as_json
from heartcare.serving_heartcare import STATED, BadRequest

# Keys of a request that are heard, or need not be; any other is named in the reply's warnings.
WORDS = ("temperature", "top_p", "stop")
EXTENSIONS = tuple(name for name in STATED if name != "question")
HEARD = {
    *("model", "messages", "n", "stream", "stream_options", "max_tokens", "max_completion_tokens"),
    *("response_format", "logprobs", "top_logprobs", "user", "metadata", "store", "safety_identifier"),
    *WORDS,
    *EXTENSIONS,
}
FORMATS = ("text", "json_object", "json_schema")


def as_request(body: Any) -> dict[str, Any]:
    """Turns a chat completion into a request as `heartcare.serving_heartcare` reads it.

    Raises: `BadRequest` for what this server cannot do.
    """
    if not isinstance(body, dict) or "messages" not in body:
        raise BadRequest("A chat completion has messages.")
    if body.get("n") not in (None, 1):
        raise BadRequest("n must be 1.")
    tokens = body.get("max_completion_tokens") or body.get("max_tokens")
    parameters = {name: body[name] for name in (*WORDS, *EXTENSIONS) if body.get(name) is not None}
    if tokens:
        parameters["max_new_tokens"] = tokens
    return {"inputs": {"messages": body["messages"]}, "parameters": parameters}


def completion(head: dict[str, Any], reply: dict[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the reply to a chat completion.

    Args:
        head: Its id, time and model.
        reply: Reply of the pipeline.
        body: The request.

    Raises: `BadRequest` for a schema that asks for unknown things.
    """
    choice = {
        "index": 0,
        "message": {"role": "assistant", **answer_of(reply, body)},
        "finish_reason": finish_reason(reply),
        "logprobs": logprobs_of(reply, body),
    }
    kind = {"object": "chat.completion", "choices": [choice], "usage": usage(reply)}
    return {**head, **kind, "heartcare": extras(reply, body)}


def answer_of(reply: dict[str, Any], body: Mapping[str, Any]) -> dict[str, str | None]:
    """Returns the content of an answer, and OpenAI's "refusal" where a schema requires what cannot be told."""
    is_json, schema = schema_of(body)
    if not is_json:
        return {"content": reply["text"], "refusal": None}
    try:
        return {"content": json.dumps(as_json(reply, schema), ensure_ascii=False), "refusal": None}
    except Unanswerable as error:
        return {"content": None, "refusal": str(error)}


def schema_of(body: Mapping[str, Any]) -> tuple[bool, Mapping[str, Any] | None]:
    """Returns whether a request wants its answer as JSON, and the schema of it, None for any.

    Raises: `BadRequest` for another response_format than OpenAI's three.
    """
    wanted = body.get("response_format")
    if wanted is None:
        return False, None
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind not in FORMATS:
        raise BadRequest(f"The type of response_format is one of {', '.join(FORMATS)}.")
    if kind != "json_schema":
        return kind == "json_object", None
    named = wanted.get("json_schema")
    schema = named.get("schema") if isinstance(named, dict) else None
    if not isinstance(schema, dict):
        raise BadRequest('response_format is {"type": "json_schema", "json_schema": {"name": ..., "schema": {...}}}.')
    return True, schema


def finish_reason(reply: dict[str, Any]) -> str:
    """Returns the reason why an answer ended, in OpenAI's words."""
    return "stop" if reply["tokens"]["finished"] else "length"


def logprobs_of(reply: dict[str, Any], body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the logarithms of an answer's probability and of the other answers', the likeliest first; None where they
    are not asked for, or the answer has no probability.
    """
    shares = reply.get("probabilities")
    if not body.get("logprobs") or not shares:
        return None
    ranked = sorted(shares, key=lambda answer: -shares[answer])
    entries = [
        {"token": answer, "logprob": math.log(max(shares[answer], 1e-12)), "bytes": list(answer.encode())}
        for answer in ranked
    ]
    given = next((entry for entry in entries if reply["text"].startswith(entry["token"])), entries[0])
    number = body.get("top_logprobs")
    return {"content": [given | {"top_logprobs": entries[: number if isinstance(number, int) else 0]}]}


def usage(reply: dict[str, Any]) -> dict[str, int]:
    """Returns the numbers of tokens, in OpenAI's words."""
    prompt, answer = reply["tokens"]["prompt"], reply["tokens"]["answer"]
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def extras(reply: dict[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parts of a reply that OpenAI's form has no place for, and "warnings" of what was not heard."""
    found = {name: value for name, value in reply.items() if name not in ("text", "tokens")}
    return {**found, "warnings": warnings_of(reply, body)}


def warnings_of(reply: dict[str, Any], body: Mapping[str, Any]) -> list[str]:
    """Returns a sentence for each key of a request that has no effect on this answer."""
    unheard = sorted(str(name)[:40] for name, value in body.items() if name not in HEARD and value not in (None, [], 0))
    found = [f"{name} has no effect here." for name in unheard]
    if not reply["tokens"]["answer"] and body.get("temperature"):
        found.append("This answer follows from measurements and findings; temperature has no effect on it.")
    if body.get("logprobs") and not reply.get("probabilities"):
        found.append("This answer has no probability, so there are no logprobs.")
    return found
