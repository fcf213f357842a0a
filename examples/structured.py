"""Answers as JSON: the properties of a client's JSON schema, filled with what was found and measured.

    {"type": "object", "properties": {"heart_rate": {"type": "number"}, "atrial fibrillation": {"type": "boolean"},
                                      "report": {"type": "string"}}}   ->   {"heart_rate": 83.8, ...}

Known names, at any depth: "text" (also "answer", "report"), "findings", "measurements", "probabilities", "warnings",
"ecgs" (one object with the same names for each ECG), each measured quantity ("heart_rate", "pr", "qrs", ...), and the
words of each statement, with blanks or underscores.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from heartcare.opinion_heartcare import STATED
from heartcare.serving_heartcare import BadRequest

TEXTS = ("text", "answer", "report")
MAX_DEPTH, MAX_VALUES = 8, 2000  # levels and values of an answer
SCALARS = {"number": (int, float), "integer": int, "string": str, "boolean": bool}


def as_json(reply: dict[str, Any], schema: Mapping[str, Any] | None) -> Any:
    """Returns a reply of the pipeline as an object of a JSON schema; without a schema, with all that the reply has.

    Raises: `BadRequest` for a schema that asks for unknown things; `Unanswerable` where what it requires is not known
        of this ECG.
    """
    facts = facts_of(reply)
    if schema is None:
        return {name: facts[name] for name in ("text", "findings", "measurements", "ecgs") if name in facts}
    return Filler(schema).fill(schema, facts, "the schema")


def facts_of(reply: dict[str, Any]) -> dict[str, Any]:
    """Returns the facts of a reply by the names that a schema may use. Findings and measurements stand at the top where
    one ECG was asked about; "ecgs" has them for each ECG.
    """
    findings, measured = reply.get("findings", []), reply.get("measurements", [])
    ecgs = [
        {
            "findings": findings[number] if number < len(findings) else {},
            "measurements": measured[number] if number < len(measured) else {},
        }
        for number in range(max(len(findings), len(measured)))
    ]
    warnings = [warning for quality in reply.get("quality", []) for warning in quality["warnings"]]
    facts: dict[str, Any] = {**dict.fromkeys(TEXTS, reply["text"]), "warnings": warnings, "ecgs": ecgs}
    if "probabilities" in reply:
        facts["probabilities"] = reply["probabilities"]
    return facts | ecgs[0] if len(ecgs) == 1 else facts


class Filler:
    """Fills a schema with facts.

    Args:
        schema: The schema, whose own "$defs" its parts may refer to.
    """

    def __init__(self, schema: Mapping[str, Any]):
        self.schema, self.left = schema, MAX_VALUES

    def fill(self, schema: Any, value: Any, name: str, depth: int = MAX_DEPTH) -> Any:
        """Returns a value in the form that a part of the schema asks for.

        Args:
            schema: The schema of this value.
            value: The value, or the facts in which its properties are looked up.
            name: Name of the value, for messages.
            depth: Number of levels that it may still have.

        Raises: as `as_json`.
        """
        self.left -= 1
        if not isinstance(schema, Mapping) or depth == 0 or self.left < 0:
            raise BadRequest(f"{name}: a schema is an object of at most {MAX_DEPTH} levels and {MAX_VALUES} values.")
        if "$ref" in schema:
            return self.fill(self.definition(schema["$ref"]), value, name, depth - 1)
        choices = schema.get("anyOf", schema.get("oneOf"))
        if isinstance(choices, list):
            kinds = [each for each in choices if isinstance(each, Mapping)]
            is_null = [each.get("type") == "null" for each in kinds]
            if value is None and any(is_null):
                return None
            chosen = next((each for each, null in zip(kinds, is_null) if not null), None)
            return self.fill(chosen, value, name, depth - 1)
        kinds = kinds_of(schema, name)
        if value is None:
            if "null" in kinds:
                return None
            raise Unanswerable(f"{name} is not known of this ECG.")
        if isinstance(value, Mapping) and "object" in kinds:
            return self.fill_object(schema, value, name, depth)
        if "array" in kinds and isinstance(value, (Mapping, list)):
            of_item = schema.get("items", {"type": "string"})
            return [self.fill(of_item, each, f"an item of {name}", depth - 1) for each in items_of(value)]
        return scalar(value, kinds, name)

    def fill_object(self, schema: Mapping[str, Any], facts: Mapping[str, Any], name: str, depth: int) -> dict[str, Any]:
        """Returns an object with the properties of a part of the schema; without any, all facts. See `fill`."""
        properties = schema.get("properties")
        if properties is None:
            return dict(facts)
        if not isinstance(properties, Mapping):
            raise BadRequest(f"The properties of {name} must be an object.")
        filled, required = {}, schema.get("required", [])
        for key, of_key in properties.items():
            try:
                filled[key] = self.fill(of_key, *look_up(facts, key), depth - 1)
            except Unanswerable:
                if not isinstance(required, list) or key in required:
                    raise
        return filled

    def definition(self, reference: Any) -> Any:
        """Returns the part of the schema that a reference names. Raises: `BadRequest` for any but "#/$defs/NAME"."""
        start, _, name = str(reference).rpartition("/")
        definitions = self.schema.get(start.removeprefix("#/"))
        if start not in ("#/$defs", "#/definitions") or not isinstance(definitions, Mapping) or name not in definitions:
            raise BadRequest(f"The schema refers to {str(reference)[:60]!r}, which it does not define.")
        return definitions[name]


def kinds_of(schema: Mapping[str, Any], name: str) -> set[str]:
    """Returns the types that a schema allows. Raises: `BadRequest` for one without any."""
    given = schema.get("type", "object" if "properties" in schema else None)
    kinds = {kind for kind in (given if isinstance(given, list) else [given]) if isinstance(kind, str)}
    if not kinds:
        raise BadRequest(f"The schema of {name} must have a type.")
    return kinds


class Unanswerable(Exception):
    """A value that the schema requires could not be found; the message says why."""


def items_of(value: Mapping[str, Any] | list) -> Iterator[Any]:
    """Yields the items of an array: those of a list, the statements that are made, or the measured numbers."""
    if isinstance(value, list):
        yield from value
        return
    is_measured = "reasons" in value
    for words, number in value.items():
        if isinstance(number, (int, float)) and (is_measured or number >= STATED):
            yield Item(words, number)


class Item(dict):
    """One finding or measurement in an array. A schema that wants texts gets its words, others get its value."""

    def __init__(self, words: str, value: float):
        super().__init__(name=words, value=value)


def scalar(value: Any, kinds: set[str], name: str) -> Any:
    """Returns a value as a number, text or truth value, whichever of these a schema allows; see `Filler.fill`."""
    if isinstance(value, Item):
        value = value["name"] if "string" in kinds else value["value"]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and "number" not in kinds:
        value = value >= STATED if "boolean" in kinds else round(value)
    for kind in kinds & set(SCALARS):
        if isinstance(value, SCALARS[kind]):
            return value
    raise BadRequest(f"{name} cannot be given as {' or '.join(sorted(kinds))}.")


def look_up(facts: Mapping[str, Any], key: str) -> tuple[Any, str]:
    """Returns a fact by its name, None for one that could not be measured, and its name for messages.

    Raises: `BadRequest` for an unknown name, with the known ones.
    """
    if isinstance(facts, Item) and key not in facts:
        return facts, key
    measured, findings = facts.get("measurements", {}), facts.get("findings", {})
    for place in (facts, measured, findings):
        words = {plain(each): each for each in place}
        if plain(key) in words:
            found = place[words[plain(key)]]
            reason = measured.get("reasons", {}).get(key, "") if found is None else ""
            return found, f"{key} ({reason})" if reason else key
    known = sorted({*facts, *(each for each in measured), *(each for each in findings)})
    raise BadRequest(f"The schema asks for {str(key)[:60]!r}; known are {', '.join(known)}.")


def plain(name: Any) -> str:
    """Returns a name as names are compared: in lower case, with blanks for underscores."""
    return str(name).lower().replace("_", " ").strip()
