# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Finds what a text says of the numbers of an ECG: those that it states, and words that hold between two limits.

    text --sentences--> numbers with their quantity, ST changes with their leads, words of CRITERIA --> mentions

Nothing is judged here; `claims_heartcare` holds the mentions against measurements.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from .configuration_heartcare import LEADS


class Quantity(NamedTuple):
    """A number of an ECG: its name in answers, its unit ("" for a count or a share), and its measuring error."""

    name: str
    unit: str
    error: float


# The errors of PR, QRS and QT are one to two standard deviations of the delineation from cardiologists on LUDB, as
# docs/results.md has them, and QTc has that of QT. For the others there is no such reference: they are chosen, so that
# rounding and noise are within.
QUANTITIES: dict[str, Quantity] = {
    "heart_rate": Quantity("rate", "beats/min", 5),
    "rr": Quantity("RR", "ms", 50),
    "pr": Quantity("PR", "ms", 20),
    "qrs": Quantity("QRS", "ms", 16),
    "qt": Quantity("QT", "ms", 30),
    "qtc_fridericia": Quantity("QTc", "ms", 30),
    "qtc_bazett": Quantity("QTc by Bazett", "ms", 30),
    "qtc_framingham": Quantity("QTc by Framingham", "ms", 30),
    "p_axis": Quantity("P axis", "degrees", 20),
    "qrs_axis": Quantity("QRS axis", "degrees", 20),
    "t_axis": Quantity("T axis", "degrees", 20),
    "st": Quantity("ST", "mV", 0.05),
    "sokolow_lyon": Quantity("Sokolow-Lyon", "mV", 0.3),
    "cornell": Quantity("Cornell", "mV", 0.3),
    "limb_voltage": Quantity("limb leads", "mV", 0.1),
    "chest_voltage": Quantity("chest leads", "mV", 0.2),
    "sdnn": Quantity("SDNN", "ms", 20),
    "p_share": Quantity("beats with a P wave", "", 0.2),
    "early": Quantity("early beats", "", 0),
    "wide": Quantity("wide beats", "", 0),
    "ectopic": Quantity("early or wide beats", "", 0),
}


class Criterion(NamedTuple):
    """Words that hold where a quantity lies between two limits; those of an axis may pass 180 degrees."""

    words: str
    quantity: str
    low: float
    high: float


@dataclass(frozen=True)
class Mention:
    """A number that a text states, or words of it that rest on a number.

    Attributes:
        start, end: Places of its first character, and behind its last one.
        quantity: A name of `QUANTITIES`, or "qtc" where no formula is named.
        stated: The number, in the unit of its quantity; None for words.
        low, high: Limits that the words hold between.
        leads: Leads that a change of ST is said of; empty where none are named.
        negated: True if the words are denied.
        asserted: False for what the text asks, supposes or tells of earlier ECGs.
    """

    start: int
    end: int
    quantity: str
    stated: float | None = None
    low: float = 0.0
    high: float = 0.0
    leads: tuple[str, ...] = ()
    negated: bool = False
    asserted: bool = True


_NO_END = float("inf")
# Words that may stand between a quantity and what it is called, "is only mildly".
_BETWEEN = (
    r"(?: (?:is|are|was|were|ist|sind|war|remains?|appears?|looks?|seems?|to be|duration|interval|also|still|again"
    r"|only|just|very|quite|rather|otherwise|slightly|mildly|minimally|moderately|markedly|significantly|severely"
    r"|clearly|borderline|somewhat|leicht|deutlich|noch|not|nicht))*"
)


def _judged(subject: str, adjective: str, but: str = "") -> str:
    """Returns the words of a quantity and of a judgement, in either order.

    Args:
        but: Words that may not follow a quantity behind its judgement: "normal QRS axis" says nothing of the duration.
    """
    not_followed = rf"(?!(?: (?:{but})|[- ]t\b))" if but else ""
    return rf"(?:{adjective} (?:the )?{subject}(?![a-z]){not_followed}|{subject}{_BETWEEN} {adjective})"


_LONG = r"(?:prolonged|prolongation|long|lengthened|increased|verlaengert|verlängert)"
_SHORT = r"(?:shortened|short|verkuerzt|verkürzt)"
_FINE = r"(?:normal|within normal limits|unremarkable)"
_OF_NO_TIME = (
    r"axis|voltages?|amplitudes?|segments?|morpholog|patterns?|configuration|progression|transition|vector|angle"
    r"|dispersion"
)
_TIME = r"(?:[- ]?(?:intervall?|duration|time|zeit|dauer))"
_PR, _QT = rf"p[rq]{_TIME}?", rf"qtc?{_TIME}?"
_QRS = r"qrs(?: complex(?:es)?)?"
# A rate is the heart's where it is called so, or where none of the words before it says whose it is: "atrial rate",
# "respiratory rate" and "sampling rate" are others.
_BEFORE_RATE = (
    "a an the at with and of its his her normal regular irregular rapid fast slow controlled rhythm tachycardia"
    " bradycardia ecg ekg approximate estimated current measured calculated ms bpm degrees"
).split()
_AFTER_THEM = "|".join(rf"(?<=\b{word} )" for word in _BEFORE_RATE)
_RATE = (
    r"(?:(?<!atrial )(?<!maximum )(?<!maximal )(?<!max )(?<!minimum )(?<!minimal )(?<!min )(?<!peak )(?<!target )"
    r"(?<!predicted )(?:(?:heart|cardiac|ventricular|pulse|mean|average|sinus|resting|overall)[- ])+rate"
    rf"|(?:(?<![a-z'][- ])|{_AFTER_THEM})rate)"
)
# The axis of the QRS, where it is not said to be that of P or T.
_AXIS = (
    r"(?<!\bp )(?<!\bp-)(?<!\bt )(?<!\bt-)(?<!wave )(?<!wave-)(?<!waves )"
    r"(?:(?:qrs|electrical|heart|cardiac|mean|frontal|plane)[- ])*axis"
)
_VOLTAGE_OF = r"(?! (?:[ptuf]|fibrillatory|flutter)[- ]waves?)"
_NOT_LIMB = r"(?! in (?:leads? )?(?:the )?(?:v\d|av[rlf]|i+|inferior|anterior|lateral|septal)\b)"
_BEATS = r"(?:complex(?:es)?|beats?|contractions?|extrasystoles?|depolari[sz]ations?)"

# Limits for adults. "2009" are the AHA/ACCF/HRS recommendations for the standardization and interpretation of the ECG.
# If limits differ by sex or by author, the wider ones are taken: such a text is not wrong.
CRITERIA: tuple[Criterion, ...] = (
    # Rates of 60 to 100 are normal by convention. Guidelines on bradycardia begin at 50.
    Criterion(r"(?:sinus |supraventricular |ventricular |atrial )?tachycardi[ac]|(?:sinus)?tachykardi\w*",
              "heart_rate", 100, _NO_END),
    Criterion(r"(?:sinus |relative )?bradycardi[ac]|(?:sinus)?bradykardi\w*", "heart_rate", 0, 60),
    Criterion(_judged(_RATE, _FINE) + r"|normofrequent\w*|normocard\w*", "heart_rate", 60, 100),
    # PR: more than 200 ms is first degree block (ACC/AHA/HRS on bradycardia, 2018); 120 is the usual lower limit.
    Criterion(r"(?:first|1st)[- ]degree (?:av|a-v|atrioventricular|heart) block"
              r"|av[- ]block (?:i|1|first degree|1st degree)(?![\wi])(?: grades)?", "pr", 200, _NO_END),
    Criterion(_judged(_PR, _LONG, _OF_NO_TIME), "pr", 200, _NO_END),
    Criterion(_judged(_PR, _SHORT, _OF_NO_TIME), "pr", 0, 120),
    Criterion(_judged(_PR, _FINE, _OF_NO_TIME), "pr", 120, 200),
    # QTc (2009, part IV): long from 450 ms in men and 460 in women, short up to 390. "Normal" overlaps both: it ends
    # with the women's limit, and begins with the 350 below which others call it short.
    Criterion(rf"{_judged(_QT, _LONG, _OF_NO_TIME)}|qtc? prolongation|qt-verl(?:ae|ä)ngerung", "qtc", 450, _NO_END),
    Criterion(_judged(_QT, _SHORT, _OF_NO_TIME), "qtc", 0, 390),
    Criterion(_judged(_QT, _FINE, _OF_NO_TIME), "qtc", 350, 460),
    # QRS (2009, part III): bundle branch block is complete from 120 ms on and incomplete from 110; unspecific delay is
    # more than 110. Incomplete right block is stated from 90 on as well, by textbooks and in PTB-XL.
    Criterion(r"incomplete right bundle[- ]branch block|inkomplette[rn]? rechtsschenkelblock|irbbb", "qrs", 90, 120),
    Criterion(r"incomplete left bundle[- ]branch block|inkomplette[rn]? linksschenkelblock|ilbbb", "qrs", 110, 120),
    Criterion(r"(?:complete )?(?:right|left) bundle[- ]branch block|[rl]bbb|(?:rechts|links)schenkelblock",
              "qrs", 120, _NO_END),
    Criterion(r"(?:non-?specific )?intraventricular conduction (?:delay|defect|block)", "qrs", 110, _NO_END),
    Criterion(_judged(_QRS, r"(?:wide|broad|widened|prolonged|verbreitert)", _OF_NO_TIME), "qrs", 120, _NO_END),
    Criterion(_judged(rf"{_QRS}(?: duration)?", r"(?:narrow|slender|schmal|normal(?: duration)?)", _OF_NO_TIME),
              "qrs", 0, 120),
    # Axes (2009, part III). An extreme axis is between -90 and 180; a right one is called extreme from 120 on as well.
    Criterion(r"left anterior (?:fascicular block|hemi-?block)", "qrs_axis", -90, -45),
    Criterion(r"left posterior (?:fascicular block|hemi-?block)", "qrs_axis", 90, 180),
    Criterion(r"left axis(?: deviation)?|axis (?:is )?deviated to the left", "qrs_axis", -90, -30),
    Criterion(r"right axis(?: deviation)?|axis (?:is )?deviated to the right", "qrs_axis", 90, 180),
    Criterion(r"extreme axis(?: deviation)?|north-?west(?:ern)? axis", "qrs_axis", 180, 270),
    Criterion(r"extreme right axis(?: deviation)?", "qrs_axis", 120, 270),
    Criterion(_judged(_AXIS, _FINE), "qrs_axis", -30, 90),
    # The German types divide the circle otherwise: Linkstyp is a normal axis in English.
    Criterion(r"links(?:lage)?typ", "qrs_axis", -30, 30),
    Criterion(r"extreme left axis(?: deviation)?|(?:ue|ü)berdrehte[rn]? links(?:lage)?typ", "qrs_axis", -120, -30),
    Criterion(r"rechts(?:lage)?typ", "qrs_axis", 90, 120),
    Criterion(r"(?:ue|ü)berdrehte[rn]? rechts(?:lage)?typ", "qrs_axis", 120, 240),
    # Low voltage by its usual definition; without leads, the limb leads decide.
    Criterion(rf"low (?:qrs )?(?:limb[- ]lead )?voltages?(?: qrs)?{_VOLTAGE_OF}{_NOT_LIMB}"
              r"(?: in (?:all |the )*(?:limb|frontal|extremity) leads)?|(?:periphere )?niedervoltage",
              "limb_voltage", 0, 0.5),
    Criterion(rf"low (?:qrs )?(?:(?:chest|precordial)(?:[- ]leads?)? )?voltages?(?: qrs)?{_VOLTAGE_OF}"
              r" in (?:all |the )*(?:chest|precordial|horizontal) leads"
              r"|low (?:qrs )?(?:chest|precordial)(?:[- ]leads?)? voltages?|low voltage precordial leads"
              r"|niedervoltage in den brustwandableitungen", "chest_voltage", 0, 1.0),
    # Variability, ectopic beats and the share of beats with a P wave: limits of this project.
    Criterion(r"sinus arrhythmia|irregular (?:sinus )?rhythm|rhythm is irregular", "sdnn", 30, _NO_END),
    Criterion(rf"(?:premature|ectopic) {_BEATS}|extrasystoles?n?", "ectopic", 1, _NO_END),
    Criterion(rf"(?:premature|ectopic) (?:atrial|supraventricular) {_BEATS}|(?:atrial|supraventricular)"
              rf" (?:(?:premature|ectopic) {_BEATS}|extrasystoles?)|supraventrikul(?:ae|ä)re extrasystolen?",
              "early", 1, _NO_END),
    Criterion(rf"(?:premature|ectopic) ventricular {_BEATS}|ventricular (?:(?:premature|ectopic) {_BEATS}"
              r"|extrasystoles?)|ventrikul(?:ae|ä)re extrasystolen?", "wide", 1, _NO_END),
    Criterion(r"atrial fibrillation|vorhofflimmern|afib", "p_share", 0, 0.5),
)  # fmt: skip
_PATTERNS = [(each, re.compile(rf"(?<![a-z])(?:{each.words})(?![a-z])")) for each in CRITERIA]
# mV at the J point from which on ST is called elevated and depressed, and those for V2 and V3 (2009, part VI); the
# elevation of V2 and V3 is that of men of 40 years and more. They are held against the ST level 60 ms after the QRS,
# which is what is measured: where ST slopes, the two differ.
ELEVATED, ELEVATED_V2_V3, DEPRESSED, DEPRESSED_V2_V3 = 0.1, 0.2, -0.1, -0.05

# Words of a number's quantity in front of it -> its name, or its name by the formula in the group.
_SUBJECTS: dict[str, str] = {
    "qtc": rf"(?:qtc[bf]?|qt[- ]?c|(?:rate[- ])?corrected qt){_TIME}*"
    r"(?:,? ?\(?(?:by |nach )?(?:bazett|fridericia|framingham)\)?)?",
    "qt": rf"qt{_TIME}*",
    "pr": rf"p-?[rq]{_TIME}*",
    "p_axis": r"p(?:[- ]wave)?[- ]axis",
    "t_axis": r"t(?:[- ]wave)?[- ]axis",
    "qrs_axis": rf"{_AXIS}|lagetyp",
    "qrs": rf"qrs(?:{_TIME}|[- ]?(?:complex(?:es)?|width|breite))*",
    "rr": rf"r-?r{_TIME}?",
    "sokolow_lyon": r"sokolow(?:[- ]lyon)?(?: index| voltage| criterion)?",
    "cornell": r"cornell(?: index| voltage| criterion)?",
    "heart_rate": rf"{_RATE}|\bhr\b|(?:herz|kammer|puls)frequenz|\bhf\b|pulse?",
}
# Between a quantity and its number stand signs, and at most four of these words.
_SIGNS = r"(?:[\s:=|*_(~≈,]|-(?!\d))*"
_LINK_WORD = (
    r"(?:is|was|of|at|about|approximately|approx\.?|around|measured|measures|measuring|ist|von|mit|value|duration"
    r"|interval|mean|normal|prolonged|wide|broad|long|short|increased|estimated|the|to be|deviation|left|right"
    r"|borderline)"
)
_LINK = rf"{_SIGNS}(?:{_LINK_WORD}{_SIGNS}){{0,4}}"
_NUMBER = r"[-−–+]?\d{1,4}(?:[.,]\d{1,3})?(?!\d|[.,]\d)"
_UNIT = (
    r"(?:ms(?:ec)?\b|milliseconds?|s(?:ec(?:onds?)?)?\b|bpm\b|/ ?min\b|beats?(?: per |/)min(?:ute)?"
    r"|per minute|mv\b|mm\b|degrees?|deg\b|grad\b|°)"
)
_NUMBERS = {
    name: re.compile(rf"(?<![a-z0-9])(?:{words}){_LINK}(?P<value>{_NUMBER})\s*(?P<unit>{_UNIT})?")
    for name, words in _SUBJECTS.items()
}
_RATE_ALONE = re.compile(
    rf"(?<![\d.,/-])(?P<value>{_NUMBER})\s*(?P<unit>bpm\b|beats? (?:per|a|/) ?min(?:ute)?|/ ?min\b)"
)
_OWN_RATE = re.compile(rf"(?<![a-z0-9])(?:{_SUBJECTS['heart_rate']})")
# Words for other things that have a rate: a number behind one of them is not the heart's.
_OTHER_RATE = re.compile(
    r"(?:\brate|frequenc(?:y|ies)|frequenz|\b[pf][- ]?(?:waves?|wellen)|\b(?:flutter|fibrillatory)[- ]waves?"
    r"|\bflatterwellen|\batrial activity|\brespirations?|\bbreathing|\batmung)\b[^,;]*$|\brr[\s:=]*$"
)
# Words between the two numbers of a range, and words that make a number a limit.
_BETWEEN_TWO = r"(?:[-−–—/]|to\b|bis\b|through\b)"
_LIMIT = (
    r"(?:[<>≤≥]=?|above|over|below|under|beyond|exceed(?:s|ing)?|(?:more|less|greater|higher|lower|faster|slower"
    r"|longer|shorter) than|at least|at most|by|(?:ue|ü)ber|unter|mehr als|weniger als|mindestens|h(?:oe|ö)chstens)"
)
_BOUNDS = re.compile(
    rf"\b(?:between|zwischen)\s+{_NUMBER}\s*{_UNIT}?\s*(?:and|und|{_BETWEEN_TWO})\s*{_NUMBER}"
    rf"|(?<![a-z0-9.,]){_NUMBER}\s*{_UNIT}?\s*{_BETWEEN_TWO}\s*{_NUMBER}"
    rf"|(?<![a-zäöü])(?:{_LIMIT}|up to|bis(?: zu)?|not|nicht)\s*{_NUMBER}"
    rf"|(?<![a-z0-9.,]){_NUMBER}\s*{_UNIT}?\s*(?:or|and|oder|und) (?:more|less|above|below|higher|lower|faster|slower"
    r"|longer|shorter|mehr|weniger|dar(?:ue|ü)ber|darunter)\b"
)
_QT_PAIR = re.compile(r"(?<![a-z])qt ?/ ?qtc[^\d.;\n]{0,20}(?P<qt>\d{2,3})(?: ?ms)? ?/ ?(?P<qtc>\d{2,3})")
_AXES = re.compile(
    r"(?<![a-z])p[-/ ]+(?:qrs|r)[-/ ]+t[-/ ]+axe?s[^\d\n-]{0,12}"
    r"(?P<p_axis>-?\d{1,3})[°,/ ]+(?P<qrs_axis>-?\d{1,3})[°,/ ]+(?P<t_axis>-?\d{1,3})"
)
_TERRITORIES = {
    "inferior": ("II", "III", "aVF"), "anterior": ("V2", "V3", "V4"), "lateral": ("I", "aVL", "V5", "V6"),
    "septal": ("V1", "V2"), "anteroseptal": ("V1", "V2", "V3", "V4"),
    "anterolateral": ("I", "aVL", "V3", "V4", "V5", "V6"),
    "inferolateral": ("II", "III", "aVF", "V5", "V6"), "precordial": LEADS[6:], "chest": LEADS[6:], "limb": LEADS[:6],
}  # fmt: skip
_LEAD = r"(?:av[rlf]|v[1-6]|i{1,3})(?![a-z0-9])"
_ONE_OR_TWO = rf"(?:v[1-6]\s?[-–/]\s?[1-6](?![a-z0-9])|{_LEAD})"  # "V1-3"
_JOIN = r"(?:[\s,/&–-]|and\b|und\b|to\b|bis\b|through\b)+"
_TERRITORY = rf"(?:{'|'.join(_TERRITORIES)})"
_LEAD_LIST = rf"(?:leads? )?{_ONE_OR_TWO}(?:{_JOIN}{_ONE_OR_TWO})*"
_TERRITORY_LIST = rf"{_TERRITORY}(?:{_JOIN}{_TERRITORY})*"
_ST = re.compile(
    rf"(?:(?<![a-z0-9])(?P<before>{_LEAD_LIST}|{_TERRITORY_LIST}) )?(?<![a-z0-9])(?<!non[- ])"
    rf"st(?:[- ]segments?)?[- ](?P<kind>elevations?|depressions?|hebung(?:en)?|senkung(?:en)?)(?![a-z])"
    rf"(?:\s*(?:of|by|up to|von|,|\()?\s*(?P<limit>{_LIMIT}\s*)?(?P<value>\d(?:[.,]\d{{1,2}})?)"
    rf"(?P<range>\s*{_BETWEEN_TWO}\s*\d(?:[.,]\d{{1,2}})?)?\s*(?P<unit>mm|mv)\b\)?)?"
    rf"(?:\s*(?:is |are |seen |present )?(?:in|of|auf)\s+(?P<leads>(?:the )?{_LEAD_LIST}"
    rf"|(?:the )?{_TERRITORY_LIST} (?:leads?|walls?)))?"
)
_LEADS_FROM_TO = re.compile(rf"(?<![a-z])({_LEAD})(?:\s*(?:to|bis|through|-|–)\s*({_LEAD}))?")
_CHEST_FROM_TO = re.compile(r"v([1-6])\s?[-–/]\s?([1-6])(?![a-z0-9])")

_SENTENCE = re.compile(r"(?:[^.;!?\n]|(?<=\d)\.(?=\d))*(?:[;!?\n]|\.(?!(?<=\d\.)\d))+|(?:[^.;!?\n]|(?<=\d)\.(?=\d))+")
_LONGEST = 2000  # characters of a sentence; a longer one is none
# "65 years old" and "an old man" are no words of an earlier ECG.
_PERSON = r"(?! (?:man|woman|male|female|patient|person|gentleman|lady|adult|boy|girl|healthy|well|fit)\b)"
_NOT_ASSERTED = re.compile(
    r"\b(?:possibl[ey]|probabl[ey]|suspected|cannot (?:be )?(?:exclude|rule)\w*|consider|if|whether|might|may|could"
    rf"|would|should|prior|earlier|formerly|history|compared|resolved|(?:previous(?:ly)?|older){_PERSON}|normal range"
    rf"|(?<!year[- ])(?<!years[- ])(?<!month[- ])(?<!months[- ])(?<!yr[- ])(?<!yrs[- ])(?<!y[- /])old{_PERSON}"
    r"|reference|limit|risk of|rule out|vorher\w*|fr(?:ue|ü)her\w*|m(?:oe|ö)glich\w*|falls|verdacht)\b"
)
_NO = (
    r"(?:no|not|without|absence of|absent|rules out|ruled out|excludes?|free of|negative for|never|neither|nor"
    r"|kein(?:e[mnrs]?)?|ohne|nicht|weder|isn't|aren't)"
)
_OR = r"(?:or|nor|oder|noch)"
_ANEW = r"(?:but|however|aber|with|mit|although|(?:and|und) (?:the|there|its?|der|die|das|es))"
_NEGATED = re.compile(rf"\b{_NO}\b[^,;:]{{0,60}}$")
_NEGATED_INSIDE = re.compile(r"\b(?:not|nicht|isn't|no longer)\b")
_GONE = (
    r"(?:not (?:seen|present|found|evident|detected)|absent|excluded|ruled out"
    r"|nicht (?:vorhanden|nachweisbar|zu sehen))\b"
)
_NEGATED_AFTER = re.compile(
    rf"^[^,;:.]{{0,12}}\b(?:is|are|was|were|ist|sind)? ?{_GONE}"
    # "tachycardia, bradycardia and AV block are absent"
    rf"|^(?:,| and\b| or\b| nor\b| und\b| oder\b)(?:(?!\b(?:waves?|wellen|is|{_NO}|{_ANEW})\b)[a-z0-9, /äöü-])"
    rf"{{0,120}}? (?:are|were|sind) {_GONE}"
)
# A denied list goes on over its commas up to an "or": "no tachycardia, bradycardia or AV block". Each of its parts is
# bare, without a verb, a number or another negation.
_BARE = (
    rf"(?!\b(?:{_NO}|{_ANEW}|while|is|are|was|were|has|have|ist|sind|hat|shows?|there|normal|sinus rhythm|possibl[ey]"
    r"|probabl[ey])\b|(?<![\w-])\d{2,})"
)
_LIST_BEFORE = re.compile(rf"\b{_NO}\b(?:(?!\b{_OR}\b){_BARE}[^;:])*,(?:{_BARE}[^;:,])*$")
_LIST_AFTER = re.compile(rf"^(?:{_BARE}[^;:.])*?\b{_OR}\b")
_NEW_CLAUSE = re.compile(rf"\b{_ANEW}\b")


def mentions(text: str) -> list[Mention]:
    """Returns what a text says of numbers, in its order. If words overlap, those that begin first count, and the
    longer ones of two that begin together. A number counts beside the words that it overlaps: "a prolonged PR interval
    of 160 ms" says two things. English is understood, and of German the numbers, blocks, axes, rates and negations.
    """
    plain = "".join(low if len(low := c.lower()) == 1 else c for c in text)
    found: list[Mention] = []
    for sentence in _SENTENCE.finditer(plain):
        words, at = sentence.group(), sentence.start()
        if words.rstrip().endswith("?") or len(words) > _LONGEST:
            continue
        for each in _found(words):
            found.append(
                replace(
                    each,
                    start=at + each.start,
                    end=at + each.end,
                    negated=each.stated is None and _is_negated(words, each.start, each.end),
                    asserted=not _NOT_ASSERTED.search(_clause(words, each.start, each.end)),
                )
            )
    found.sort(key=lambda each: (each.start, -each.end))
    kept, end = [], 0
    for each in found:
        if each.stated is not None or each.start >= end:
            kept.append(each)
            end = end if each.stated is not None else each.end
    return kept


def sentences(text: str) -> list[str]:
    """Returns the sentences of a text, with all that stands between them."""
    return _SENTENCE.findall(text)


def _clause(sentence: str, start: int, end: int) -> str:
    """Returns the part of a sentence between commas that holds a mention."""
    before, after = sentence.rfind(",", 0, start) + 1, sentence.find(",", end)
    return sentence[before : after if after >= 0 else None]


def _is_negated(sentence: str, start: int, end: int) -> bool:
    """Tells whether words of a sentence are denied: themselves, before or behind them, or as part of a list."""
    before, after = _NEW_CLAUSE.split(sentence[:start])[-1], sentence[end:]
    if _NEGATED.search(before) or _NEGATED_INSIDE.search(sentence[start:end]) or _NEGATED_AFTER.search(after):
        return True
    listed = _LIST_BEFORE.search(before)
    last = before.rpartition(",")[2]
    return bool(listed and (re.search(rf"\b{_OR}\b", last) or _LIST_AFTER.match(sentence[start:])))


def _found(sentence: str) -> Iterator[Mention]:
    """Yields what a sentence says, with places in the sentence."""
    taken: list[tuple[int, int]] = []

    def free(match: re.Match[str]) -> bool:
        if any(match.start() < stop and start < match.end() for start, stop in taken):
            return False
        taken.append(match.span())
        return True

    for pattern in (_QT_PAIR, _AXES):
        for match in pattern.finditer(sentence):
            if free(match):
                yield from (Mention(*match.span(), name, float(value)) for name, value in match.groupdict().items())
    for match in _ST.finditer(sentence):
        if free(match):
            yield _change_of_st(match)
    bounds = [match.span() for match in _BOUNDS.finditer(sentence)]
    for name, pattern in [*_NUMBERS.items(), ("heart_rate", _RATE_ALONE)]:
        for match in pattern.finditer(sentence):
            at = match.start("value")
            if any(start <= at < stop for start, stop in bounds):
                continue
            if pattern is _RATE_ALONE and _OTHER_RATE.search(_OWN_RATE.sub("", sentence[:at])):
                continue
            value = _in_unit(name, match["value"], match["unit"] or "")
            if value is not None and free(match):
                yield Mention(*match.span(), _by_formula(name, match.group()), value)
    for criterion, pattern in _PATTERNS:
        for match in pattern.finditer(sentence):
            yield Mention(*match.span(), criterion.quantity, None, criterion.low, criterion.high)


def _change_of_st(match: re.Match[str]) -> Mention:
    """Makes the mention of a change of ST; a range or a limit, "1 to 2 mm", states no number."""
    sign = 1 if match["kind"].startswith(("elev", "heb")) else -1
    exact = match["value"] and not match["range"] and not match["limit"]
    value = sign * _number(match["value"]) * (0.1 if match["unit"] == "mm" else 1) if exact else None
    low, high = (ELEVATED, _NO_END) if sign > 0 else (-_NO_END, DEPRESSED)
    leads = _leads_of(match["leads"] or match["before"] or "")
    return Mention(*match.span(), "st", value, low, high, leads)


def _in_unit(quantity: str, digits: str, unit: str) -> float | None:
    """Returns the value in the quantity's own unit; None for another kind of unit, or a value that cannot be meant."""
    wanted = QUANTITIES["qt" if quantity == "qtc" else quantity].unit
    value, in_seconds = _number(digits), unit.startswith("s")
    if wanted == "ms":
        if unit and not in_seconds and not unit.startswith(("ms", "milli")):
            return None
        thousands = not in_seconds and re.fullmatch(r"[1-9][.,]\d{3}", digits)  # "1,000 ms"
        return value * (1000 if thousands or in_seconds or not unit and value < 3 else 1)
    if wanted == "mV":
        return None if unit not in ("", "mv", "mm") else value * (0.1 if unit == "mm" or not unit and value > 10 else 1)
    if wanted == "degrees":
        return value if unit in ("", "°") or unit.startswith(("deg", "grad")) else None
    return value if 10 <= value <= 400 and (not unit or "min" in unit or unit == "bpm") else None


def _number(text: str) -> float:
    return float(text.replace("−", "-").replace("–", "-").replace(",", "."))


def _by_formula(quantity: str, words: str) -> str:
    """Returns the name of a QTc by the formula that is named with it; without one, "qtc"."""
    formulas = {"bazett": "qtc_bazett", "qtcb": "qtc_bazett", "frideric": "qtc_fridericia", "qtcf": "qtc_fridericia"}
    formulas["framingham"] = "qtc_framingham"
    return next((name for word, name in formulas.items() if quantity == "qtc" and word in words), quantity)


def _leads_of(words: str) -> tuple[str, ...]:
    """Returns the leads that words in lower case name: single ones, ranges of chest leads or of I to III, territories.
    Both ends of any other range, "III to aVF", count.
    """
    standard = {lead.lower(): lead for lead in LEADS}
    words = _CHEST_FROM_TO.sub(lambda match: f"v{match[1]} to v{match[2]}", words)
    found = [lead for name in re.findall(rf"\b{_TERRITORY}\b", words) for lead in _TERRITORIES[name]]
    for match in _LEADS_FROM_TO.finditer(words):
        ends = sorted(LEADS.index(standard[end]) for end in match.groups() if end)
        whole = ends[-1] < 3 or ends[0] >= 6
        found += LEADS[ends[0] : ends[-1] + 1] if whole else [LEADS[end] for end in ends]
    return tuple(dict.fromkeys(found))


__all__ = [
    "CRITERIA",
    "DEPRESSED_V2_V3",
    "ELEVATED_V2_V3",
    "QUANTITIES",
    "Criterion",
    "Mention",
    "Quantity",
    "mentions",
    "sentences",
]
