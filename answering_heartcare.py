# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Answers that need no words of the language model: measured numbers, and what follows from the opinion of an ECG.

    question --asking_, statements_, understanding_heartcare--> Asked
    Asked, measurements, opinion --> Answer, or None where the language model answers
    recordings and pictures that are no ECGs --> refusal

Each answer is made of `Facts` alone, so that the same question has the same answer wherever it is asked.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .asking_heartcare import answer_numbers
from .findings_heartcare import shares_of
from .measuring_heartcare import MEASURED
from .opinion_heartcare import FAMILIES, NO_FORM, STATED, SURE, Opinion, as_sentence, difference
from .scp_heartcare import NORMAL, RHYTHM
from .statements_heartcare import statement_of
from .understanding_heartcare import Asked
from .windows_heartcare import Window

# An option that is right because a statement is not there cannot be told from the statements' own probabilities.
_NEGATIVE = re.compile(
    r"\b(?:not|no|isn't|absent|without|except|least|less|none|neither|never|incorrect|wrong|false|excluded?|ruled out"
    r"|unlikely|nicht|kein\w*|ausgeschlossen|falsch)\b"
)

# Families that a number decides -> the number, its lowest and highest value outside of the family, and its error, in
# its unit.
DECIDED: dict[str, tuple[str, float, float, float]] = {
    "TACHYCARDIA": ("heart_rate", -math.inf, 100.0, 1.0),
    "BRADYCARDIA": ("heart_rate", 60.0, math.inf, 1.0),
    "WIDE_QRS": ("qrs", -math.inf, 120.0, 4.0),
    "AXIS_DEVIATION": ("qrs_axis", -30.0, 90.0, 5.0),
}
# Statements that clinicians look at at once.
URGENT = ("3AVB", "2AVB", "SVTAC", "PSVT", "AFLT", "STE_", "INJAS", "INJAL", "INJIN", "INJLA", "INJIL")
# Statements about a whole recording, which hold for a long one only if they hold for all of its windows.
OF_ALL_WINDOWS = frozenset({"NORM", "super:NORM", *(f"{topic}:{codes[0]}" for topic, codes in NORMAL.items())})
OF_NORMAL = ("SR", NO_FORM)  # rhythm and waveform of a normal ECG
COMPARED = ("rhythm", "axis", "waveform", "diagnosis")
# Numbers whose change is told where it is larger than this, in their unit.
CHANGES = {"heart_rate": 10.0, "pr": 20.0, "qrs": 12.0, "qtc_fridericia": 25.0, "qrs_axis": 20.0}
# Kind of wave, as explanations name it -> its words.
WAVES = {"P": "the P waves", "QRS": "the QRS", "ST-T": "ST and T", "between beats": "what lies between the beats"}
# Seconds of a forecast: where a question names none, and at most.
USUAL_FORECAST, LONGEST_FORECAST = 2.0, 10.0
_SECONDS = re.compile(r"\b(\d+(?:[.,]\d+)?) ?-?(?:s|secs?|seconds?|sekunden?)\b", re.IGNORECASE)
_FORECAST = re.compile(r"\b(?:predict|continue|forecast|go(?:es)? on)\b.{0,60}\b\d+ seconds?\b", re.IGNORECASE)
CAN = "It reads ECGs: ask for a report, a finding, the rhythm, or a measurement."
# Kind of question that cannot be answered -> the sentence that says so, and tells what can be asked.
CANNOT = {
    "treatment": f"This program does not advise on treatment. {CAN}",
    "prognosis": f"What will become of the patient cannot be told by this program. {CAN}",
    "identity": f"This is HeartcareGPT, research software that is not for clinical use. {CAN}",
    "unknown": "That is none of the findings that this program was taught, so it cannot tell. Its report says what it "
    "finds.",
    "cause": f"Why the patient has it cannot be told from an ECG. {CAN}",
    "other": f"This program answers questions about ECGs alone. {CAN}",
    "language": f"This program understands questions in English and German. {CAN}",
}
NO_ECG = f"No ECG is given, so there is nothing to answer about; give one with the question. {CAN}"
NOT_UNDERSTOOD = f"This question was not understood. {CAN}"
SURELY_BEYOND = 0.9  # certainty that a question with options cannot be answered, from which on it is not
ONE_ECG = "Only one ECG is given; a comparison needs two."
ONE_SIGNAL = "That is answered for one recording of a minute at most, and not for pictures alone."
UNTOLD = "That cannot be told from these leads."


@dataclass(frozen=True)
class Answer:
    """An answer: its `text`, and option -> probability where there were options, or "Yes" and "No" were asked for."""

    text: str
    probabilities: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """Holds the facts of one recording, or of one picture: numbers, statements, and statements as options.

    Attributes:
        measured: Measurements as plain values.
        opinion: The statements about it, which agree with each other.
        choices: Code of each statement -> its logit as an option of a question.
    """

    measured: Mapping[str, object]
    opinion: Opinion
    choices: Mapping[str, float]


def facts_of(
    measured: Mapping[str, object],
    logits: Mapping[str, float],
    choices: Mapping[str, float],
    wordings: Mapping[str, str],
) -> Facts:
    """Returns the facts of a recording, or of a picture.

    Args:
        measured: Measurements as plain values.
        logits: Code of each statement -> its calibrated logit.
        choices: Code of each statement -> its logit as an option of a question.
        wordings: Code of each statement -> its words.
    """
    opinion = Opinion(logits, wordings, cannot_be_told(measured, wordings), measured.get("qrs_axis"))
    return Facts(measured, opinion, choices)


def cannot_be_told(measured: Mapping[str, object], wordings: Mapping[str, str]) -> set[str]:
    """Returns the codes of the statements that the recorded leads cannot tell: those of the axis, without the leads
    that it is measured in.

    Args:
        measured: Measurements as plain values.
        wordings: Code of each statement -> its words.
    """
    reason = measured.get("reasons", {}).get("qrs_axis", "")
    return {code for code in wordings if code.startswith("axis:") and "cannot be told" in reason}


def refusal_of(causes: Sequence[Mapping[str, str]], pictures: Sequence[str | None] = ()) -> str:
    """Returns why nothing is said of recordings and pictures, and an empty text where all of them are ECGs.

    Args:
        causes: For each recording, lead -> what it holds instead of an ECG; empty for an ECG.
        pictures: The fault of each picture, as `not_a_page` names it; None for an ECG.
    """
    sentences = []
    for number, leads in enumerate(causes, 1):
        if not leads:
            continue
        by_cause: dict[str, list[str]] = {}
        for lead, cause in leads.items():
            by_cause.setdefault(cause, []).append(lead)
        which = "this recording" if len(causes) == 1 else f"recording {number}"
        found = "; ".join(f"{cause} in {', '.join(of_cause)}" for cause, of_cause in by_cause.items())
        is_unknown = all(cause.startswith("too ") for cause in by_cause)
        verdict = f"whether {which} is an ECG cannot be told" if is_unknown else f"{which} is no ECG"
        sentences.append(as_sentence(f"{verdict}, so nothing is said of it: {found}"))
    for number, cause in enumerate(pictures, 1):
        if not cause:
            continue
        which = "This picture" if len(pictures) == 1 else f"Picture {number}"
        if cause.startswith("turned"):
            sentences.append(f"{which} is {cause}, so nothing is said of it; turn it upright and ask again.")
        else:
            found = "is blank" if cause == "blank" else f"shows {cause}"
            sentences.append(f"{which} {found}, so nothing is said of it.")
    return " ".join(sentences)


def is_beyond(asked: Asked | None, is_refused: bool, has_options: bool) -> bool:
    """Tells whether the answer is a sentence that the question cannot be answered.

    Args:
        asked: The question, as it was understood.
        is_refused: True if the recording is refused anyhow, which matters more than that a finding is not taught.
        has_options: True if there are options; then it must be certain that the question is about other things.
    """
    if asked is None or asked.kind != "cannot":
        return False
    if has_options:
        return asked.reason in ("treatment", "prognosis", "cause") and asked.certainty >= SURELY_BEYOND
    return not (is_refused and asked.reason == "unknown")


def of_recordings(facts: Sequence[Facts], windows: Sequence[Sequence[Window]]) -> list[Facts]:
    """Returns the facts of whole recordings; those of a long one are joined from those of its windows.

    Args: As those of `answer_each`.
    """
    left, whole = iter(facts), []
    for own in windows:
        parts = [next(left) for _ in own or [None]]
        whole.append(parts[0] if len(parts) == 1 else joined(parts, own))
    return whole


def joined(facts: Sequence[Facts], windows: Sequence[Window]) -> Facts:
    """Joins the facts of a long recording's windows: a finding is there if any window shows it, and a statement about
    a whole ECG, such as that it is normal, must hold for all of them; the measurements are those of the cleanest
    window.

    Args:
        facts: Facts of each window.
        windows: The windows.
    """
    opinion = facts[0].opinion
    known = [code for code in opinion.shares if all(code in each.opinion.shares for each in facts)]
    of_all = {code: [each.opinion.shares[code] for each in facts] for code in known}
    shares = {code: (min if code in OF_ALL_WINDOWS else max)(values) for code, values in of_all.items()}
    logits = {code: math.log((share + 1e-9) / (1 - share + 1e-9)) for code, share in shares.items()}
    choices = {code: (min if code in OF_ALL_WINDOWS else max)(each.choices[code] for each in facts)
               for code in facts[0].choices}  # fmt: skip
    cleanest = next((each for each, window in zip(facts, windows) if "cleanest" in window.reason), facts[0])
    return Facts(cleanest.measured, Opinion(logits, opinion.wordings, opinion.untold), choices)


def choose(question: str, options: Sequence[str], asked: Asked | None, facts: Sequence[Facts]) -> Answer | None:
    """Chooses among options that are statements, or "Yes" and "No".

    Returns: None where the language model chooses.
    """
    last = facts[-1]
    if _is_yes_no(options):
        confirmed = confirm(asked, last) if asked is not None and asked.kind == "is" else None
        if confirmed is None or not confirmed.probabilities:
            return confirmed
        shares = {option: confirmed.probabilities[option.rstrip(".").capitalize()] for option in options}
        return Answer(max(shares, key=shares.__getitem__), shares)
    wordings = last.opinion.wordings
    codes = [statement_of(option, wordings) for option in options]
    if any(code in last.opinion.untold for code in codes):
        return Answer(answer_numbers(("qrs_axis",), last.measured))
    if not all(codes) or len(set(codes)) < len(codes):
        return None
    words = without_options(question, options)
    if len(facts) > 1:
        logits = compared_logits(words, codes, facts[-2:])
    else:
        logits = None if _NEGATIVE.search(words) else option_logits(codes, last)
    if logits is None:
        return None
    shares = dict(zip(options, shares_of(logits)))
    return Answer(max(shares, key=shares.__getitem__), shares)


def _is_yes_no(options: Sequence[str]) -> bool:
    return {option.rstrip(".").capitalize() for option in options} == {"Yes", "No"}


def without_options(question: str, options: Sequence[str]) -> str:
    """Returns a question in small letters without the options that it names: "no ectopic beats" among them is no denial
    by the question.
    """
    words = question.lower()
    for option in sorted(options, key=len, reverse=True):
        words = words.replace(option.lower(), " ")
    return words


def option_logits(codes: Sequence[str], facts: Facts) -> list[float]:
    """Returns the logit of each statement that is an option. If the opinion is sure of one, its probabilities count.
    Otherwise rare statements count more than by their frequency, since an option is offered for a reason. Rhythms
    exclude each other, so that the one that a report names, as certain or as possible, is chosen here as well.
    """
    shares = [min(facts.opinion.shares[code], 1 - 1e-9) for code in codes]
    is_named = all(code in RHYTHM for code in codes) and facts.opinion.codes_of("rhythm")[0] in codes
    if is_named or max(shares) >= SURE:
        return [math.log(share / (1 - share)) for share in shares]
    return [facts.choices[code] for code in codes]


def compared_logits(question: str, codes: Sequence[str], facts: Sequence[Facts]) -> list[float] | None:
    """Returns, for each of some statements, the logarithm of the odds that it is what a question about two ECGs asks
    for: true of both, or of the one and not of the other. None where the question does not say which.
    """
    first, second = ([1 / (1 + math.exp(-each.choices[code])) for code in codes] for each in facts)
    if "both" in question:
        likely = [one * other for one, other in zip(first, second)]
    elif re.search(r"(?:true of|only) the second|second ecg but not|new in the second", question):
        likely = [(1 - one) * other for one, other in zip(first, second)]
    elif re.search(r"(?:true of|only) the first|first ecg but not", question):
        likely = [one * (1 - other) for one, other in zip(first, second)]
    else:
        return None
    return [math.log(share + 1e-9) - math.log(1 - share + 1e-9) for share in likely]


def answer_each(asked: Asked, facts: Sequence[Facts], windows: Sequence[Sequence[Window]]) -> Answer | None:
    """Answers a question about one recording, or about each of several: "ECG 1: Yes. ECG 2: No.". The answer about a
    long one is that of its windows, and names those with the same answer together: "0:01:10 (fastest rate): Yes.".

    Args:
        asked: The question, as it was understood.
        facts: Facts of each recording, and of each window of a long one.
        windows: For each recording its windows, none for a whole one.
    """
    answers = [answer(asked, [each]) for each in facts]
    if len(answers) == 1 or None in answers:
        return answers[0]
    left, parts = iter(answers), []
    for number, own in enumerate(windows, 1):
        title = f"ECG {number}" if len(windows) > 1 else ""
        if not own:
            parts.append(f"{title}: {next(left).text}")
            continue
        of_text: dict[str, list[str]] = {}
        for window in own:
            of_text.setdefault(next(left).text, []).append(str(window))
        parts += [f"{title} {', '.join(times)}: {text}".strip() for text, times in of_text.items()]
    return Answer(" ".join(parts))


def answer(asked: Asked, facts: Sequence[Facts]) -> Answer | None:
    """Answers a question about the last of some signals, or a comparison of the last two.

    Returns: None where the language model answers.
    """
    if asked.kind == "cannot":
        return Answer(CANNOT[asked.reason])
    *earlier, last = facts
    if asked.kind == "compare":
        return Answer(compare(earlier[-1], last, asked.topic)) if earlier else Answer(ONE_ECG)
    if asked.kind == "number":
        return Answer(answer_numbers(asked.quantities, last.measured))
    if asked.kind == "is":
        return confirm(asked, last)
    if asked.kind == "which":
        return Answer(last.opinion.answer(asked.topic))
    if asked.kind == "report":
        return Answer(last.opinion.report())
    if asked.kind == "sure":
        return Answer(certainty(asked.codes, last))
    if asked.kind == "summary":
        return Answer(gist(last))
    if asked.kind == "urgent":
        return Answer(urgency(last))
    return None


def compare(first: Facts, second: Facts, topic: str = "") -> str:
    """Returns the differences of two ECGs: of a topic, or of all topics and of the measured numbers."""
    if topic:
        return difference(first.opinion, second.opinion, topic)
    parts = []
    for each in COMPARED:
        one, other = first.opinion.stated(each), second.opinion.stated(each)
        words = second.opinion.spoken
        new = [words[code] for code in other if code not in one]
        gone = [words[code] for code in one if code not in other]
        parts += [f"New: {', '.join(new)}."] if new else []
        parts += [f"No longer: {', '.join(gone)}."] if gone else []
    for name, least in CHANGES.items():
        before, after = first.measured.get(name), second.measured.get(name)
        if before is not None and after is not None and abs(after - before) >= least:
            title, unit = MEASURED[name]
            parts.append(as_sentence(f"{title} {round(before)} -> {round(after)} {unit}"))
    return " ".join(parts) or "No difference."


def confirm(asked: Asked, facts: Facts) -> Answer:
    """Answers whether statements are true, and names the statements of a family that are."""
    shares = [share_of(code, facts) for code in asked.codes]
    if None in shares:
        code = asked.codes[shares.index(None)]
        name = DECIDED[code][0] if code in DECIDED else "qrs_axis" if code.startswith("axis:") else ""
        if name and facts.measured.get(name) is None:
            return Answer(answer_numbers((name,), facts.measured))
        return Answer(UNTOLD if code in facts.opinion.untold else CANNOT["unknown"])
    # Statements come together, so that the product of their probabilities would be too low.
    share = min(shares) if asked.every else max(shares)
    found = [words_of(code, facts) for code, each in zip(asked.codes, shares) if each >= STATED]
    no, yes = (share, 1 - share) if asked.negated else (1 - share, share)
    text = "Yes" if yes >= STATED else "No"
    names_more = len(asked.codes) > 1 or asked.codes[0] in (*FAMILIES, *DECIDED)
    named = f": {', '.join(found)}" if found and (names_more or asked.negated) and (share >= STATED) else ""
    if asked.codes == ("NORM",) and share >= STATED:
        others = beside_normal(facts.opinion, ("rhythm", "waveform"))
        named = f", apart from {', '.join(others)}" if others else ""
    return Answer(f"{text}{named}.", {"Yes": yes, "No": no})


def share_of(code: str, facts: Facts) -> float | None:
    """Returns the probability of a statement or family; None where it cannot be told. That of a family that a number
    decides is 0.5 at its limit.
    """
    if code not in DECIDED:
        return facts.opinion.share(code)
    name, low, high, error = DECIDED[code]
    value = facts.measured.get(name)
    if value is None:
        return None
    beyond = max(low - value, value - high) / error
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, 2 * beyond))))


def words_of(code: str, facts: Facts) -> str:
    """Returns the words of a statement that is true; of a family, those of its statements that are, or its number."""
    if code in DECIDED:
        name = DECIDED[code][0]
        return f"{MEASURED[name][0]} {round(facts.measured[name])} {MEASURED[name][1]}"
    members = [each for each in facts.opinion.members(code) if each in facts.opinion]
    return ", ".join(facts.opinion.spoken[each] for each in members)


def certainty(codes: Sequence[str], facts: Facts) -> str:
    """Returns the probabilities of statements; by default, of those that are made of rhythm and diagnosis."""
    opinion = facts.opinion
    known = [member for code in codes for member in opinion.members(code)]
    known = known or [code for topic in ("rhythm", "diagnosis") for code in opinion.stated(topic)]
    if not known:
        return as_sentence("no statement is certain")
    known = sorted(dict.fromkeys(known), key=lambda code: -opinion.shares[code])[:5]
    return as_sentence(", ".join(f"{opinion.spoken[code]} {100 * opinion.shares[code]:.0f} %" for code in known))


def urgency(facts: Facts) -> str:
    """Returns what the ECG shows, first what clinicians look at at once; it does not judge whether that is urgent."""
    found = [facts.opinion.spoken[code] for code in URGENT if code in facts.opinion]
    at_once = f" Clinicians look at this at once: {', '.join(found)}." if found else ""
    return f"Whether it is urgent is for a clinician to judge, not for this program.{at_once} {gist(facts)}"


def gist(facts: Facts) -> str:
    """Returns the main points in a sentence or two."""
    opinion, rate = facts.opinion, facts.measured.get("heart_rate")
    rhythm = opinion.answer("rhythm").rstrip(".")
    text = f"{rhythm} at a rate of {round(rate)} beats/min" if rate is not None else rhythm
    diagnoses = opinion.diagnoses()
    if "NORM" in opinion.stated("diagnosis") or "super:NORM" in opinion.stated("diagnosis"):
        others = beside_normal(opinion, ("waveform",))
        return f"{text}: a normal ECG{' apart from ' + ', '.join(others) if others else ''}."
    if diagnoses:
        return f"{text}. Main findings: {', '.join(diagnoses)}."
    forms = [opinion.spoken[code] for code in opinion.stated("waveform") if not code.startswith("waveform:")]
    return f"{text}. No certain diagnosis{'; ' + ', '.join(forms) if forms else ''}."


def beside_normal(opinion: Opinion, topics: Sequence[str]) -> list[str]:
    """Returns the words of the statements that are made beside a normal ECG, such as premature beats.

    Args:
        opinion: The opinion of the ECG.
        topics: Topics whose statements are returned.
    """
    return [opinion.spoken[code] for topic in topics for code in opinion.stated(topic) if code not in OF_NORMAL]


def subject_of(earlier: Sequence[Asked | None], facts: Facts) -> tuple[str, ...]:
    """Returns the codes that the latest of some earlier questions was about; () where none was about a statement."""
    for asked in earlier:
        if asked is not None and asked.codes:
            return asked.codes
        if asked is not None and asked.kind == "which":
            return tuple(facts.opinion.stated(asked.topic))
    return ()


def evidence(explanations: Sequence[Mapping[str, Any]] | None, facts: Facts) -> Answer:
    """Says what statements rest on, or that they are not found.

    Args:
        explanations: Explanations as plain values; None where there are none.
        facts: Facts of the signal.
    """
    sentences = []
    for each in explanations or ():
        words, share = each["finding"], each["probability"]
        if share < STATED:
            sentences.append(as_sentence(f"{words} is not found ({100 * share:.0f} %)"))
            continue
        leads = [part["lead"] for part in each["leads"] if part["effect"] > 0][:3]
        waves = [WAVES[part["wave"]] for part in each["waves"] if part["effect"] > 0][:1]
        parts = [f"leads {', '.join(leads)}"] * bool(leads) + waves
        rests = f" rests most on {' and '.join(parts)}" if parts else " rests on no single part of the ECG"
        sentences.append(as_sentence(f"{words}{rests}"))
    return Answer(" ".join(sentences) or UNTOLD)


def is_forecast(question: str) -> bool:
    """Tells whether a question asks in usual words how a signal goes on for some seconds."""
    return bool(_FORECAST.search(question))


def seconds_of(question: str) -> float:
    """Returns how many seconds of a signal a question asks for."""
    found = _SECONDS.search(question)
    seconds = float(found[1].replace(",", ".")) if found else USUAL_FORECAST
    return min(max(seconds, 0.1), LONGEST_FORECAST)


def forecast_of(seconds: float) -> Answer:
    """Returns the words that go with a forecast."""
    return Answer(f"The forecast of the next {seconds:g} s is given as a signal.")


__all__ = [
    "CANNOT",
    "NOT_UNDERSTOOD",
    "ONE_ECG",
    "NO_ECG",
    "ONE_SIGNAL",
    "Answer",
    "Facts",
    "answer",
    "answer_each",
    "choose",
    "confirm",
    "evidence",
    "facts_of",
    "forecast_of",
    "is_beyond",
    "is_forecast",
    "of_recordings",
    "refusal_of",
    "seconds_of",
    "subject_of",
]
