# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""The check: every number of a text, and every statement that rests on a number, is held against the measurements.

    text --numbers with their quantity, statements with their limits--> claims --measurements--> verdicts

A claim is contradicted only where the measurement is beyond its limits by more than the measuring error: on the border,
a text is right either way. No claim is made of what a text asks, supposes or tells of earlier ECGs.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .configuration_heartcare import LEADS
from .extraction_heartcare import BeatFeatureExtractor
from .measuring_heartcare import Measurements, as_plain
from .reading_heartcare import as_ecg

# Measuring errors: about twice the deviation of the delineation from cardiologists on LUDB, and the rounding of texts.
TOLERANCES: dict[str, float] = {
    **{"heart_rate": 5, "rr": 50, "pr": 20, "qrs": 16, "qt": 30, "qtc_bazett": 30, "qtc_fridericia": 30},
    **{"qtc_framingham": 30, "p_axis": 20, "qrs_axis": 20, "t_axis": 20, "st": 0.05, "r": 0.2, "s": 0.2},
    **{"sokolow_lyon": 0.3, "cornell": 0.3, "limb_voltage": 0.1, "chest_voltage": 0.2, "sdnn": 20, "p_share": 0.2},
    **{"early": 0, "wide": 0},
}
NAMES = {
    **{"heart_rate": "rate", "rr": "RR", "pr": "PR", "qrs": "QRS", "qt": "QT", "qtc_fridericia": "QTc"},
    **{
        "qtc_bazett": "QTc by Bazett",
        "qtc_framingham": "QTc by Framingham",
        "qrs_axis": "QRS axis",
        "p_axis": "P axis",
    },
    **{"t_axis": "T axis", "sokolow_lyon": "Sokolow-Lyon", "cornell": "Cornell", "limb_voltage": "limb leads"},
    **{"chest_voltage": "chest leads", "sdnn": "SDNN", "p_share": "beats with a P wave", "st": "ST"},
    **{"early": "early beats", "wide": "wide beats"},
}
UNITS = {
    **dict.fromkeys(("rr", "pr", "qrs", "qt", "qtc_bazett", "qtc_fridericia", "qtc_framingham", "sdnn"), "ms"),
    **dict.fromkeys(("p_axis", "qrs_axis", "t_axis"), "degrees"),
    **dict.fromkeys(("st", "r", "s", "sokolow_lyon", "cornell", "limb_voltage", "chest_voltage"), "mV"),
    **{"heart_rate": "beats/min", "p_share": "", "early": "", "wide": ""},
}


@dataclass(frozen=True)
class Claim:
    """A claim of a text that rests on a number.

    Attributes:
        text: Words of the claim, which are `text[start:end]` of the whole text.
        start, end: Places of its first character, and behind its last one.
        quantity: Number that it rests on, as `Measurements` names it, "st:V2" for a single lead.
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


class Statement(NamedTuple):
    """Words that hold where a number lies between two limits; an axis may pass 180 degrees."""

    words: str
    quantity: str
    low: float
    high: float


_NO_END = float("inf")
_LONG = r"(?:prolonged|prolongation|long|lengthened|increased|verlaengert|verlängert)"
_SHORT = r"(?:shortened|short|verkuerzt|verkürzt)"
_FINE = r"(?:normal|within normal limits|unremarkable)"
_NEAR = r"(?:(?! (?:and|or|with|but|und|oder|mit) )[^.,;:?!\n\d]){0,24}?"


def _judged(subject: str, adjective: str) -> str:
    """Words of a quantity and of a judgement, in either order."""
    return rf"(?:{adjective} (?:the )?{subject}|{subject}(?: (?:is|are|was|ist)| {_NEAR})? ?(?:not )?{adjective})"


_PR, _QT = r"p[rq](?:[- ]?(?:interval|time|zeit))?", r"qtc?(?:[- ]?(?:interval|time|zeit))?"
_QRS = r"qrs(?: complex(?:es)?)?"
_RATE = r"(?:heart |ventricular )?rate"
# The limits are those of the AHA/ACCF/HRS recommendations (2009) for adults, without regard to sex; of the words of
# PTB-XL's axes, those of its tables.
STATEMENTS: tuple[Statement, ...] = (
    Statement(r"(?:sinus |supraventricular |ventricular |atrial )?tachycardi[ac]|(?:sinus)?tachykardi\w*",
              "heart_rate", 100, _NO_END),
    Statement(r"(?:sinus |relative )?bradycardi[ac]|(?:sinus)?bradykardi\w*", "heart_rate", 0, 60),
    Statement(_judged(_RATE, _FINE) + r"|normofrequent\w*|normocard\w*", "heart_rate", 60, 100),
    Statement(r"(?:first|1st)[- ]degree (?:av|a-v|atrioventricular|heart) block"
              r"|av[- ]block (?:i|1|first degree|1st degree)(?![\wi])(?: grades)?", "pr", 200, _NO_END),
    Statement(_judged(_PR, _LONG), "pr", 200, _NO_END),
    Statement(_judged(_PR, _SHORT), "pr", 0, 120),
    Statement(_judged(_PR, _FINE), "pr", 120, 200),
    Statement(rf"{_judged(_QT, _LONG)}|qtc? prolongation|qt-verl(?:ae|ä)ngerung", "qtc", 450, _NO_END),
    Statement(_judged(_QT, _SHORT), "qtc", 0, 390),
    Statement(_judged(_QT, _FINE), "qtc", 350, 460),
    Statement(r"incomplete (?:right|left) bundle[- ]branch block|inkompletter (?:rechts|links)schenkelblock"
              r"|i[rl]bbb", "qrs", 90, 120),
    Statement(r"(?<!incomplete )(?:complete )?(?:right|left) bundle[- ]branch block|[rl]bbb"
              r"|(?<!inkompletter )(?:rechts|links)schenkelblock", "qrs", 120, _NO_END),
    Statement(r"(?:non-?specific )?intraventricular conduction (?:delay|defect|block)", "qrs", 110, _NO_END),
    Statement(_judged(_QRS, r"(?:wide|broad|widened|prolonged|verbreitert)"), "qrs", 120, _NO_END),
    Statement(_judged(rf"{_QRS}(?: duration)?", r"(?:narrow|slender|schmal|normal(?: duration)?)"), "qrs", 0, 120),
    Statement(r"left anterior (?:fascicular block|hemi-?block)", "qrs_axis", -90, -45),
    Statement(r"left posterior (?:fascicular block|hemi-?block)", "qrs_axis", 90, 180),
    Statement(r"extreme left axis(?: deviation)?|(?:ue|ü)berdrehter linkstyp", "qrs_axis", -120, -30),
    Statement(r"(?<!extreme )left axis(?: deviation)?|linkslagetyp|axis (?:is )?deviated to the left",
              "qrs_axis", -90, -30),
    Statement(r"extreme (?:right )?axis(?: deviation)?|northwest axis", "qrs_axis", 120, 270),
    Statement(r"(?<!extreme )right axis(?: deviation)?|rechtslagetyp|axis (?:is )?deviated to the right",
              "qrs_axis", 90, 180),
    Statement(_judged(r"(?:qrs |electrical |heart |cardiac )*axis", _FINE), "qrs_axis", -30, 90),
    Statement(r"low (?:qrs )?(?:limb lead )?voltages?|low voltage qrs|niedervoltage", "limb_voltage", 0, 0.5),
    Statement(r"sinus arrhythmia|irregular (?:sinus )?rhythm|rhythm is irregular", "sdnn", 30, _NO_END),
    Statement(r"(?:premature|ectopic) (?:atrial |supraventricular |ventricular )?(?:complex(?:es)?|beats?"
              r"|contractions?)|extrasystoles?n?|(?:atrial|supraventricular) premature"
              r" (?:complex(?:es)?|beats?|contractions?)", "early", 1, _NO_END),
    Statement(r"atrial fibrillation|vorhofflimmern|afib", "p_share", 0, 0.5),
)  # fmt: skip
_PATTERNS = [(each, re.compile(rf"(?<![a-z])(?:{each.words})(?![a-z])")) for each in STATEMENTS]
# Words of a number's quantity in front of it -> its name, or its name by the formula in the group.
_SUBJECTS: dict[str, str] = {
    "qtc": r"(?:qtc[bf]?|qt[- ]?c|(?:rate[- ])?corrected qt)(?:[- ]?(?:interval|zeit|duration|time))*"
    r"(?:,? ?\(?(?:by |nach )?(?:bazett|fridericia|framingham)\)?)?",
    "qt": r"qt(?:[- ]?(?:interval|zeit|duration|time))*",
    "pr": r"p-?[rq](?:[- ]?(?:interval|zeit|duration|time))*(?! segment)",
    "p_axis": r"p(?:[- ]wave)?[- ]axis",
    "t_axis": r"t(?:[- ]wave)?[- ]axis",
    "qrs_axis": r"(?:qrs[- ]|electrical |heart |cardiac |mean |frontal |plane )*axis|lagetyp",
    "qrs": r"qrs(?:[- ]?(?:complex|interval|duration|width|breite|dauer|time))*",
    "rr": r"r-?r(?:[- ]?interval)?",
    "sokolow_lyon": r"sokolow(?:[- ]lyon)?(?: index| voltage| criterion)?",
    "cornell": r"cornell(?: index| voltage| criterion)?",
    "heart_rate": r"(?:(?:heart|ventricular|pulse|mean|average|sinus)[- ])*(?<!atrial )(?<!sampling )rate|\bhr\b"
    r"|herzfrequenz|\bhf\b|pulse?",
}
# Between a quantity and its number stand signs, and at most four of these words.
_SIGNS = r"(?:[\s:=|*_(~≈,]|-(?!\d))*"
_LINK_WORD = (
    r"(?:is|was|of|at|about|approximately|approx\.?|around|measured|measures|measuring|ist|von|mit|value|duration"
    r"|interval|mean|normal|prolonged|wide|broad|long|short|increased|estimated|the|to be|deviation|left|right"
    r"|borderline)"
)
_LINK = rf"{_SIGNS}(?:{_LINK_WORD}{_SIGNS}){{0,4}}"
_VALUE = r"(?P<value>[-−–+]?\d{1,4}(?:[.,]\d{1,3})?)"
_UNIT = (
    r"\s*(?P<unit>ms(?:ec)?\b|milliseconds?|s(?:ec(?:onds?)?)?\b|bpm\b|/ ?min\b|beats?(?: per |/)min(?:ute)?"
    r"|per minute|mv\b|mm\b|degrees?|deg\b|grad\b|°)?"
)
_RANGE = re.compile(r"^\s*(?:-|–|to|bis|/)\s*\d")
_NUMBERS = {name: re.compile(rf"(?<![a-z0-9])(?:{words}){_LINK}{_VALUE}{_UNIT}") for name, words in _SUBJECTS.items()}
_RATE_ALONE = re.compile(rf"(?<![\d.,/-]){_VALUE}\s*(?P<unit>bpm\b|beats? (?:per|a|/) ?min(?:ute)?|/min\b)")
_QT_PAIR = re.compile(r"(?<![a-z])qt ?/ ?qtc[^\d.;\n]{0,20}(?P<qt>\d{2,3})(?: ?ms)? ?/ ?(?P<qtc>\d{2,3})")
_AXES = re.compile(
    r"p[-/ ]+(?:qrs|r)[-/ ]+t[-/ ]+axe?s[^\d\n-]{0,12}"
    r"(?P<p_axis>-?\d{1,3})[°,/ ]+(?P<qrs_axis>-?\d{1,3})[°,/ ]+(?P<t_axis>-?\d{1,3})"
)
_LEAD = r"(?:avr|avl|avf|v[1-6]|i{1,3})"
_LEADS = (
    rf"(?P<leads>(?:leads? )?{_LEAD}(?:(?:\s*(?:,|and|und|to|bis|-|–|/|&)\s*)+{_LEAD})*|(?:the )?(?:inferior"
    rf"|anterior|lateral|septal|anteroseptal|anterolateral|inferolateral|precordial|chest|limb) leads)"
)
_ST = re.compile(
    rf"st(?:[- ]segments?)?[- ](?P<kind>elevations?|depressions?|hebung(?:en)?|senkung(?:en)?)"
    rf"(?:\s*(?:of|by|up to|,|\()?\s*(?P<value>\d(?:[.,]\d{{1,2}})?)\s*(?P<unit>mm|mv)\)?)?"
    rf"(?:\s*(?:is |are |seen |present )?(?:in|of|auf)\s*{_LEADS})?"
)
_TERRITORIES = {
    "inferior": ("II", "III", "aVF"), "anterior": ("V2", "V3", "V4"), "lateral": ("I", "aVL", "V5", "V6"),
    "septal": ("V1", "V2"), "anteroseptal": ("V1", "V2", "V3", "V4"),
    "anterolateral": ("I", "aVL", "V3", "V4", "V5", "V6"),
    "inferolateral": ("II", "III", "aVF", "V5", "V6"), "precordial": LEADS[6:], "chest": LEADS[6:], "limb": LEADS[:6],
}  # fmt: skip
# mV from which on the ST of a lead is called elevated, that of V2 and V3, and depressed (AHA/ACCF/HRS, 2009).
ELEVATED, ELEVATED_V2_V3, DEPRESSED = 0.1, 0.2, -0.05

_SENTENCE = re.compile(r"(?:[^.;!?\n]|(?<=\d)\.(?=\d))*(?:[;!?\n]|\.(?!(?<=\d\.)\d))+|(?:[^.;!?\n]|(?<=\d)\.(?=\d))+")
_NOT_ASSERTED = re.compile(
    r"\b(?:possibl[ey]|probabl[ey]|suspected|cannot (?:be )?(?:exclude|rule)\w*|consider|if|whether|might|may|could"
    r"|would|should|previous(?:ly)?|prior|old|older|earlier|formerly|history|compared|resolved|normal range|reference"
    r"|limit|risk of|rule out|vorher\w*|fr(?:ue|ü)her\w*|m(?:oe|ö)glich\w*|falls|verdacht)\b"
)
_NEGATED = re.compile(
    r"\b(?:no|not|without|absence of|absent|rules out|ruled out|excludes?|free of|negative for|never|neither|nor"
    r"|kein(?:e[mnrs]?)?|ohne|nicht|isn't|aren't)\b[^,;:]{0,60}$"
)
_NEGATED_INSIDE = re.compile(r"\b(?:not|nicht|isn't|no longer)\b")
_NEGATED_AFTER = re.compile(
    r"^[^,;:.]{0,12}\b(?:is|are|was|were)? ?(?:not (?:seen|present|found|evident|detected)|absent|excluded|ruled out)\b"
)
_BUT = re.compile(r"\b(?:but|however|aber|with|mit|although)\b")


def verify(
    text: str,
    ecg: Any,
    sampling_rate: float | None = None,
    lead_names: Sequence[str] | None = None,
    units: str | None = None,
) -> list[Claim]:
    """Holds the numbers of a text of any origin, and the statements that rest on numbers, against an ECG.

    Args:
        text: A report or an answer, in English; numbers are read in German as well.
        ecg: A path, array (leads, samples), `ECG` or dict, as `reading_heartcare.as_ecg` takes it; or `Measurements`.
        sampling_rate (Hz), lead_names, units: Stated for an ECG that does not say it itself.

    Returns: the claims in the order of the text.

    Raises: `ValueError`, `TypeError`, `FileNotFoundError` and `ImportError` where the ECG cannot be read.
    """
    if isinstance(ecg, Measurements):
        return verify_claims(text, as_plain(ecg))
    record = as_ecg(ecg, sampling_rate, lead_names, units)
    return verify_claims(text, BeatFeatureExtractor().prepare(record, measure=True).measurements)


def verify_claims(text: str, measured: Mapping[str, Any]) -> list[Claim]:
    """Holds a text against measurements.

    Args:
        text: A report or an answer.
        measured: Measurements as plain values, as `measuring_heartcare.as_plain` returns them.

    Returns: the claims in the order of the text; where two overlap, the longer one.
    """
    plain = "".join(low if len(low := c.lower()) == 1 else c for c in text)
    claims: list[Claim] = []
    for sentence in _SENTENCE.finditer(plain):
        words = sentence.group()
        if words.rstrip().endswith("?") or len(words) > 2000:
            continue
        for start, end, quantity, stated, low, high in _found(words):
            clause = words[:start]
            if _NOT_ASSERTED.search(_clause(words, start, end)):
                continue
            negated = stated is None and bool(
                _NEGATED.search(_BUT.split(clause)[-1])
                or _NEGATED_INSIDE.search(words[start:end])
                or _NEGATED_AFTER.search(words[end:])
            )
            at = sentence.start()
            shown = text[at + start : at + end]
            claims.append(_judge(shown, at + start, quantity, stated, low, high, negated, measured))
    claims.sort(key=lambda claim: (claim.start, -claim.end))
    kept: list[Claim] = []
    for claim in claims:
        if not kept or claim.start >= kept[-1].end or claim.stated is not None and claim.quantity != kept[-1].quantity:
            kept.append(claim)
    return kept


def _clause(sentence: str, start: int, end: int) -> str:
    """The part of a sentence between commas that holds a claim."""
    before, after = sentence.rfind(",", 0, start) + 1, sentence.find(",", end)
    return sentence[before : after if after >= 0 else None]


Found = tuple[int, int, str, float | None, float, float]


def _found(sentence: str) -> Iterator[Found]:
    """Yields what a sentence claims: start and end, the quantity, the number that is stated, and its limits."""
    taken: list[tuple[int, int]] = []

    def free(match: re.Match[str]) -> bool:
        if any(match.start() < stop and start < match.end() for start, stop in taken):
            return False
        taken.append(match.span())
        return True

    for pattern in (_QT_PAIR, _AXES):
        for match in pattern.finditer(sentence):
            if free(match):
                for name, value in match.groupdict().items():
                    yield (*match.span(), name, float(value), 0.0, 0.0)
    for match in _ST.finditer(sentence):
        if free(match):
            sign = 1 if match["kind"].startswith(("elev", "heb")) else -1
            value = match["value"] and sign * _number(match["value"]) * (0.1 if match["unit"] == "mm" else 1)
            low, high = (ELEVATED, _NO_END) if sign > 0 else (-_NO_END, DEPRESSED)
            yield (*match.span(), f"st:{match['leads'] or ''}", value, low, high)
    for name, pattern in [*_NUMBERS.items(), ("heart_rate", _RATE_ALONE)]:
        for match in pattern.finditer(sentence):
            if _RANGE.match(sentence[match.end() :]) or re.search(r"[<>≤≥]\s*$", sentence[: match.start("value")]):
                continue
            value = _in_unit(name, _number(match["value"]), match["unit"] or "")
            if value is not None and free(match):
                yield (*match.span(), _by_formula(name, match.group()), value, 0.0, 0.0)
    for statement, pattern in _PATTERNS:
        for match in pattern.finditer(sentence):
            yield (*match.span(), statement.quantity, None, statement.low, statement.high)


def _number(text: str) -> float:
    return float(text.replace("−", "-").replace("–", "-").replace(",", "."))


def _in_unit(quantity: str, value: float, unit: str) -> float | None:
    """The value in the quantity's own unit; None for a unit of something else, or a value that cannot be meant."""
    wanted = UNITS["qt" if quantity == "qtc" else quantity]
    if wanted == "ms":
        in_seconds = unit.startswith("s") or not unit and value < 3
        return (
            None
            if unit and not unit.startswith(("s", "m")) or unit in ("mv", "mm")
            else value * (1000 if in_seconds else 1)
        )
    if wanted == "mV":
        return None if unit not in ("", "mv", "mm") else value * (0.1 if unit == "mm" or not unit and value > 10 else 1)
    if wanted == "degrees":
        return value if unit in ("", "°") or unit.startswith(("deg", "grad")) else None
    return value if 10 <= value <= 400 and (not unit or "min" in unit or unit == "bpm") else None


def _by_formula(quantity: str, words: str) -> str:
    """The name of a QTc by the formula that is named with it; without one, "qtc"."""
    formulas = {"bazett": "qtc_bazett", "qtcb": "qtc_bazett", "frideric": "qtc_fridericia", "qtcf": "qtc_fridericia"}
    formulas["framingham"] = "qtc_framingham"
    return next((name for word, name in formulas.items() if quantity == "qtc" and word in words), quantity)


def _measured(quantity: str, measured: Mapping[str, Any], near: float | None) -> tuple[float | None, str, str]:
    """The measurement of a quantity, its name, and why there is none. A QTc without a formula is the one nearest to
    what is stated, Fridericia's otherwise.
    """
    if quantity == "qtc":
        values = {
            name: measured.get(name) for name in ("qtc_fridericia", "qtc_bazett") if measured.get(name) is not None
        }
        name = min(values, key=lambda each: abs(values[each] - near)) if values and near else "qtc_fridericia"
        return measured.get(name), name, measured["reasons"].get(name, "it was not measured")
    if quantity in ("early", "wide", "rr"):
        rate, reason = measured.get("heart_rate"), measured["reasons"].get("heart_rate", "it was not measured")
        if rate is None:
            return None, quantity, reason
        return 60_000 / rate if quantity == "rr" else sum(beat[quantity] for beat in measured["ectopic"]), quantity, ""
    return measured.get(quantity), quantity, measured["reasons"].get(quantity, "it was not measured")


def _leads_of(words: str) -> list[str]:
    """Leads that are named: single ones, a range of chest leads, or a territory."""
    for name, leads in _TERRITORIES.items():
        if re.search(rf"\b{name}\b", words):
            return list(leads)
    standard = {lead.lower(): lead for lead in LEADS}
    ends = re.fullmatch(rf"(?:leads? )?({_LEAD})\s*(?:to|bis|-|–)\s*({_LEAD})", words)
    if ends:
        first, last = (LEADS.index(standard[end]) for end in ends.groups())
        return list(LEADS[first : last + 1])
    return [standard[lead] for lead in re.findall(_LEAD, words)]


def _judge(
    words: str,
    start: int,
    quantity: str,
    stated: float | None,
    low: float,
    high: float,
    negated: bool,
    measured: Mapping[str, Any],
) -> Claim:
    """Holds one claim against the measurements."""
    unit, value, reason = UNITS.get(quantity.partition(":")[0], "ms"), None, ""
    if quantity.startswith("st:"):
        levels = {lead: measured["st"].get(lead) for lead in _leads_of(quantity.removeprefix("st:")) or measured["st"]}
        known = {lead: level for lead, level in levels.items() if level is not None}
        limits = {lead: ELEVATED_V2_V3 if low > 0 and lead in ("V2", "V3") else ELEVATED for lead in known}
        most = (max if low > 0 else min)(known, key=lambda lead: known[lead] - limits[lead], default=None)
        quantity, value = f"st:{most}" if most else "st", known.get(most)
        low = limits.get(most, low) if low > 0 else low
        reason = "none of the leads was measured"
    else:
        value, quantity, reason = _measured(quantity, measured, stated)
    common = (words, start, start + len(words), quantity)
    if value is None:
        return Claim(*common, "unmeasurable", stated, None, unit, reason)
    tolerance = TOLERANCES[quantity.partition(":")[0]]
    is_axis = quantity.endswith("_axis")
    if stated is not None:
        if quantity == "heart_rate":
            tolerance = max(tolerance, 0.05 * value)
        apart = abs((value - stated + 180) % 360 - 180) if is_axis else abs(value - stated)
        verdict = "verified" if apart <= tolerance else "contradicted"
        return Claim(*common, verdict, stated, value, unit, f"a stated value within {tolerance:g} {unit}".strip())
    # Words are held to half of the error: beyond that, they do not fit the number that stands beside them.
    beyond = _beyond(value, low, high, is_axis)
    holds = beyond > -tolerance / 2 if negated and tolerance else beyond > 0 if negated else beyond <= tolerance / 2
    limits = f"{'not ' if negated else ''}{_words_of_limits(quantity, low, high, unit)}"
    return Claim(*common, "verified" if holds else "contradicted", None, value, unit, limits)


def _beyond(value: float, low: float, high: float, is_axis: bool) -> float:
    """How far a value lies outside of two limits; negative inside."""
    if not is_axis:
        return max(low - value, value - high)
    middle, half = (low + high) / 2, (high - low) / 2
    return abs((value - middle + 180) % 360 - 180) - half


def _words_of_limits(quantity: str, low: float, high: float, unit: str) -> str:
    name = NAMES[quantity.partition(":")[0]]
    if high == _NO_END:
        return f"{name} of {low:g} {unit} and more".replace("  ", " ")
    if low in (0, -_NO_END):
        return f"{name} of {high:g} {unit} and less".replace("  ", " ")
    return f"{name} from {low:g} to {high:g} {unit}".strip()


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
        shown = " ".join(part for part in (NAMES[name], lead, number, claim.unit) if part)
        parts += [text[at : claim.end], f" ({shown})"]
        at = claim.end
    return "".join([*parts, text[at:]])


def numbered(text: str, measured: Mapping[str, Any], finished: bool = True) -> str:
    """Returns an answer with the numbers that its statements rest on.

    Args:
        text: The answer, or its beginning.
        measured: Measurements as plain values.
        finished: Whether the text is the whole answer. The beginning of one is returned as far as later words cannot
            change it: up to the last blank, or to the first claim of its last sentence.
    """
    if not finished:
        ends = [0, *(match.end() for match in re.finditer(r"[.;!?\n](?=\s)", text))]
        whole, rest = text[: ends[-1]], text[ends[-1] :]
        stop = min(rest.rfind(" ") + 1, *(claim.end for claim in verify_claims(rest, measured)), len(rest))
        return numbered(whole, measured) + rest[:stop]
    return "".join(with_numbers(part, verify_claims(part, measured)) for part in _SENTENCE.findall(text))


__all__ = [
    "STATEMENTS",
    "TOLERANCES",
    "Claim",
    "Statement",
    "numbered",
    "verify",
    "verify_claims",
    "with_numbers",
]
