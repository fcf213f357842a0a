# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""The check: every number of a text, and every statement that rests on a number, is held against the measurements.

    text --mentions_heartcare--> mentions --measurements--> claims with their verdicts

A claim is contradicted only where the measurement is beyond its limits by more than the measuring error: on the border,
a text is right either way. Questions, suppositions, and words about earlier ECGs make no claims.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .extraction_heartcare import BeatFeatureExtractor
from .measuring_heartcare import Measurements, as_plain
from .mentions_heartcare import (
    DEPRESSED_V2_V3,
    ELEVATED_V2_V3,
    QUANTITIES,
    Mention,
    mentions,
    sentences,
)
from .reading_heartcare import as_ecg


@dataclass(frozen=True)
class Claim:
    """A claim of a text that rests on a number.

    Attributes:
        text: Words of the claim, which are `text[start:end]` of the whole text.
        start, end: Places of its first character, and behind its last one.
        quantity: Number that it rests on, as `Measurements` names it; "early", "wide" and "ectopic" count beats, and
            "st:V2" is that of a single lead. Of several leads it is the one with the largest change, which decides: a
            change in II, III and aVF is verified where one of the three shows it, and its denial where none does.
        verdict: "verified", "contradicted" or "unmeasurable".
        stated: Number in the text, in `unit`; None for words alone.
        measured: Number that was measured.
        unit: "ms", "beats/min", "degrees", "mV", or "" for a count or a share.
        reason: Limits that the measurement was held against, or why there is none.
    """

    text: str
    start: int
    end: int
    quantity: str
    verdict: str
    stated: float | None
    measured: float | None
    unit: str
    reason: str


def verify(
    text: str,
    ecg: Any,
    sampling_rate: float | None = None,
    lead_names: Sequence[str] | None = None,
    units: str | None = None,
) -> list[Claim]:
    """Holds the numbers of a text of any origin, and the statements that rest on numbers, against an ECG.

    Args:
        text: A report or an answer in English. Of German, the numbers and the commonest statements are understood, and
            that they are denied.
        ecg: A path, array (leads, samples), `ECG` or dict, as `reading_heartcare.as_ecg` takes it; or `Measurements`.
        sampling_rate (Hz), lead_names, units: Stated for an ECG that does not say it itself.

    Returns: the claims in the order of the text.

    Raises: `ValueError`, `TypeError`, `FileNotFoundError` and `ImportError` where the ECG cannot be read.
    """
    if isinstance(ecg, Measurements):
        return verify_claims(text, as_plain(ecg))
    record = as_ecg(ecg, sampling_rate, lead_names, units)
    return verify_claims(text, BeatFeatureExtractor().prepare(record, measure=True).measurements)


def numbered(text: str, measured: Mapping[str, Any], finished: bool = True) -> str:
    """Returns an answer with the numbers that its statements rest on.

    Args:
        text: The answer, or its beginning.
        measured: Measurements as plain values.
        finished: True if the text is the whole answer. A beginning is returned as far as later words cannot change it:
            up to the last blank, or to the first mention of a number in its last sentence.
    """
    if not finished:
        ends = [0, *(match.end() for match in re.finditer(r"[.;!?\n](?=\s)", text))]
        whole, rest = text[: ends[-1]], text[ends[-1] :]
        stop = min(rest.rfind(" ") + 1, *(each.end for each in mentions(rest)), len(rest))
        return numbered(whole, measured) + rest[:stop]
    return "".join(with_numbers(part, verify_claims(part, measured)) for part in sentences(text))


def with_numbers(text: str, claims: Sequence[Claim]) -> str:
    """Returns a sentence in which each verified statement that rests on a number says it: "first degree AV block (PR
    232 ms)". A number is said once.

    Args:
        text: One sentence.
        claims: Its claims, as `verify` returns them.
    """
    parts, at = [], 0
    said = {claim.quantity for claim in claims if claim.stated is not None}
    for claim in claims:
        is_plain = claim.stated is None and claim.unit and not claim.reason.startswith("not ")
        if not is_plain or claim.verdict != "verified" or claim.quantity in said:
            continue
        said.add(claim.quantity)
        name, _, lead = claim.quantity.partition(":")
        digits = 2 if claim.unit == "mV" else 0
        number = f"{round(claim.measured, digits) + 0.0:.{digits}f}"
        shown = " ".join(part for part in (QUANTITIES[name].name, lead, number, claim.unit) if part)
        parts += [text[at : claim.end], f" ({shown})"]
        at = claim.end
    return "".join([*parts, text[at:]])


def verify_claims(text: str, measured: Mapping[str, Any]) -> list[Claim]:
    """Holds a text against measurements.

    Args:
        text: A report or an answer.
        measured: Measurements as plain values, as `measuring_heartcare.as_plain` returns them.

    Returns: the claims in the order of the text. A number and words that overlap, as in "a prolonged PR interval of
        160 ms", are two claims.
    """
    return [_judge(text, each, measured) for each in mentions(text) if each.asserted]


def _judge(text: str, mention: Mention, measured: Mapping[str, Any]) -> Claim:
    """Holds one mention against the measurements."""
    low, high = mention.low, mention.high
    if mention.quantity == "st":
        lead, low, high = _deciding_lead(mention, measured["st"])
        name, value = "st", measured["st"].get(lead)
        quantity, reason = f"st:{lead}" if lead else "st", "none of the leads was measured"
    else:
        value, name, reason = _measured(mention.quantity, measured, mention.stated)
        quantity = name
    unit, error, stated = QUANTITIES[name].unit, QUANTITIES[name].error, mention.stated
    common = (text[mention.start : mention.end], mention.start, mention.end, quantity)
    if value is None:
        return Claim(*common, "unmeasurable", stated, None, unit, reason)
    is_axis = unit == "degrees"
    if stated is not None:
        if name == "heart_rate":
            error = max(error, 0.05 * value)
        apart = abs((value - stated + 180) % 360 - 180) if is_axis else abs(value - stated)
        verdict = "verified" if apart <= error else "contradicted"
        return Claim(*common, verdict, stated, value, unit, f"a stated value within {error:g} {unit}".strip())
    # Words are held to half of the error: beyond that, they do not fit the number that stands beside them.
    beyond, denied = _beyond(value, low, high, is_axis), mention.negated
    holds = beyond > -error / 2 if denied and error else beyond > 0 if denied else beyond <= error / 2
    limits = f"{'not ' if denied else ''}{_words_of_limits(name, low, high)}"
    return Claim(*common, "verified" if holds else "contradicted", None, value, unit, limits)


def _deciding_lead(mention: Mention, levels: Mapping[str, float]) -> tuple[str | None, float, float]:
    """Finds the lead with the largest change of ST for its limit, among those of a mention or among all if it names
    none, and returns it with its limits; without a measured lead, None and the limits of most leads.
    """
    rises = mention.low > 0
    known = [lead for lead in mention.leads or levels if levels.get(lead) is not None]

    def limit(lead: str | None) -> float:
        if lead in ("V2", "V3"):
            return ELEVATED_V2_V3 if rises else DEPRESSED_V2_V3
        return mention.low if rises else mention.high

    most = max(known, key=lambda lead: (levels[lead] - limit(lead)) * (1 if rises else -1), default=None)
    return (most, limit(most), mention.high) if rises else (most, mention.low, limit(most))


def _measured(quantity: str, measured: Mapping[str, Any], near: float | None) -> tuple[float | None, str, str]:
    """Returns the measurement of a quantity, its name, and the reason if there is none. A QTc without a formula is the
    one nearest to the stated number, or else Fridericia's.
    """
    if quantity == "qtc":
        values = {
            name: measured.get(name) for name in ("qtc_fridericia", "qtc_bazett") if measured.get(name) is not None
        }
        name = min(values, key=lambda each: abs(values[each] - near)) if values and near else "qtc_fridericia"
        return measured.get(name), name, measured["reasons"].get(name, "it was not measured")
    if quantity in ("early", "wide", "ectopic", "rr"):
        rate, reason = measured.get("heart_rate"), measured["reasons"].get("heart_rate", "it was not measured")
        if rate is None:
            return None, quantity, reason
        if quantity == "rr":
            return 60_000 / rate, quantity, ""
        return sum(quantity == "ectopic" or beat[quantity] for beat in measured["ectopic"]), quantity, ""
    return measured.get(quantity), quantity, measured["reasons"].get(quantity, "it was not measured")


def _beyond(value: float, low: float, high: float, is_axis: bool) -> float:
    """Returns how far a value lies outside of two limits; negative inside."""
    if not is_axis:
        return max(low - value, value - high)
    middle, half = (low + high) / 2, (high - low) / 2
    return abs((value - middle + 180) % 360 - 180) - half


def _words_of_limits(quantity: str, low: float, high: float) -> str:
    name, unit, _ = QUANTITIES[quantity]
    if high == float("inf"):
        return f"{name} of {low:g} {unit} and more".replace("  ", " ")
    if low in (0, -float("inf")):
        return f"{name} of {high:g} {unit} and less".replace("  ", " ")
    return f"{name} from {low:g} to {high:g} {unit}".strip()


__all__ = ["Claim", "numbered", "verify", "verify_claims", "with_numbers"]
