"""Report text -> SCP-ECG statements with likelihoods, English and German (and the Swedish of some of PTB-XL's reports).

    text --clauses--> clauses about this ECG --vocabulary--> findings, masked in the clause
         --assertion--> likelihood of each: certain 100, probable 80, possible 50, "cannot be excluded" 15, negated 0

Words on the past, on relatives and on the question that the ECG is to answer give no finding. As in PTB-XL, an
infarction that is called just "anterior" counts as anteroseptal; one without any site is the statement "MI".
`find_mentions` tells more: which findings are negated, in which leads they are, and how old.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..ecg_heartcare import LEADS
from ..scp_heartcare import DIAGNOSTIC_CLASS, FORM, RHYTHM, SUPERCLASS_OF
from .assertion import likelihood_of
from .clauses import normalize, split_clauses
from .statements import STATEMENTS
from .vocabulary import FINDINGS, PATTERNS

__all__ = ["FINDINGS", "PATTERNS", "Mention", "find_mentions", "find_statements", "normalize"]

# PTB-XL's editors wrote codes with likelihoods at the end of some reports: "edit: norm 80, imi 15".
CODES = re.compile(
    r"\b("
    + "|".join(sorted((re.escape(code.lower()) for code in STATEMENTS), key=len, reverse=True))
    + r") (100|80|50|35|15|0)\b(?! ?(?:bpm|/ ?min))"
)
# Doubt about the age of an infarction is no doubt about the infarction.
_AGE = re.compile(
    r"(?:wahrscheinlich|moeglicherweise|moegl\.?),? (?:alt|akut|frisch|aelter(?:en|er|e)?)\b|(?:probably"
    r"|possibly) (?:old|acute|recent)(?! \w)|\b(?:old|acute|recent|alte?[nr]?|akute?[nrs]?|frische?[nrs]?"
    r"|aelter(?:en|er|e)?|evolving|hyperacute)\b|alter unbest\w*|(?:of )?(?:uncertain|undetermined|indeterminate"
    r"|unknown) age|age (?:is )?(?:undetermined|uncertain|indeterminate|unknown)"
)
# Ages of an infarction, as the stages that electrocardiographers count; "63-year-old" is none.
_TIMES = [
    (stage, re.compile(pattern))
    for stage, pattern in (
        ("I-II", r"stage i to ii\b"),
        ("II-III", r"stage ii to iii\b"),
        ("unknown", r"unknown stage|(?:uncertain|undetermined|indeterminate|unknown) age|alter unbest\w*"
                    r"|age (?:is )?(?:undetermined|uncertain|indeterminate|unknown)"),
        ("III", r"(?:stage|stadium) iii\b|(?<!year-)(?<!years )(?<!year )\bold\b|\bchronic\b|\balte?[rs]?\b"
                r"|abgelaufen\w*"),
        ("II", r"(?:stage|stadium) ii\b|\bsubacute\b|\brecent\b|\bsubakut\w*"),
        ("I", r"(?:stage|stadium) i\b|\bacute\b|\bakut\w*|\bfrisch\w*"),
    )
]  # fmt: skip
_LEAD = r"(?:v[1-6]|av[rlf]|i{1,3})"
_LEAD_LIST = re.compile(
    rf"(?:\b(?:in|leads?|ableitung(?:en)?|abl\.?) +{_LEAD}|\bv[1-6]|\bav[rlf])\b(?: ?(?:,? and |,? und | to | bis "
    rf"|,|-|/|\+) ?(?:leads? )?{_LEAD}\b)*"
)
_TERRITORY = {
    "inferior leads": ("II", "III", "aVF"), "lateral leads": ("I", "aVL", "V5", "V6"),
    "anterior leads": ("V1", "V2", "V3", "V4"),
    "precordial leads": LEADS[6:], "chest leads": LEADS[6:], "limb leads": LEADS[:6],
}  # fmt: skip


@dataclass(frozen=True)
class Mention:
    """One mention of a finding.

    Attributes:
        code: SCP-ECG statement or finding; "" where a clause speaks of an age but of no finding.
        likelihood: Percent: 100, 80, 50, 15; 0 where the finding is negated.
        leads: Leads named with it, in standard order.
        time: Stage of an infarction or of ischemia: "I" (acute), "II" (recent), "III" (old), "I-II", "II-III",
            "unknown"; None where none is named.
    """

    code: str
    likelihood: float
    leads: tuple[str, ...] = ()
    time: str | None = None


def find_mentions(report: str, findings: Sequence[tuple[str, re.Pattern]] = ()) -> list[Mention]:
    """Returns all that a text says of findings in this ECG, in order.

    Args:
        report: Diagnostic text in English or German.
        findings: Pairs of code and pattern that are searched for after the statements, for example `FINDINGS`.

    Returns: mentions of SCP-ECG statements and findings; a clause that speaks of age but of no finding gives one of the
        code "" with its `time`.
    """
    clauses = split_clauses(CODES.sub(" ", normalize(report)))
    return [mention for clause in clauses for mention in _mentions_of(clause, tuple(findings))]


@functools.lru_cache(maxsize=4096)  # reports repeat each other's clauses
def _mentions_of(clause: str, findings: tuple[tuple[str, re.Pattern], ...]) -> tuple[Mention, ...]:
    mentions = []
    time = next((stage for stage, pattern in _TIMES if pattern.search(clause)), None)
    clause = " ".join(_AGE.sub(" ", clause).split())
    matches, masked = _match(clause, (*PATTERNS, *findings))
    named = [(match.start(), _leads(match[0])) for match in _LEAD_LIST.finditer(clause)]
    named += [(clause.find(words), leads) for words, leads in _TERRITORY.items() if words in clause]
    for k, (start, stop, code) in enumerate(matches):
        likelihood = likelihood_of(masked[:start], masked[stop:])
        if likelihood is None:
            continue
        # Leads belong to the finding before them, or to the first one.
        last = matches[k + 1][0] if k + 1 < len(matches) else len(clause)
        own = {lead for at, leads in named if start <= at < last or (k == 0 and at < start) for lead in leads}
        stage = time if SUPERCLASS_OF.get(code) in ("MI", "STTC") else None
        mentions.append(Mention(code, likelihood, tuple(lead for lead in LEADS if lead in own), stage))
    if time and not matches:
        mentions.append(Mention("", 100.0, (), time))
    return tuple(mentions)


def _match(clause: str, patterns: Sequence[tuple[str, re.Pattern]]) -> tuple[list[tuple[int, int, str]], str]:
    """Returns (start, stop, code) of every finding in a clause, in order, and the clause with all of them masked by
    "#".
    """
    matches = []
    for code, pattern in patterns:
        match = pattern.search(clause)
        while match:
            start, stop = match.span()
            matches.append((start, stop, code))
            # The mask keeps later patterns off the finding, and still divides the words around it.
            clause = clause[:start] + "#" * (stop - start) + clause[stop:]
            match = pattern.search(clause, stop)
    return sorted(matches), clause


def _leads(text: str) -> list[str]:
    """Returns the leads of a list such as "in leads ii, iii, avf" or "v2-v4"."""
    names = {lead.lower(): i for i, lead in enumerate(LEADS)}
    leads, previous = [], None
    for match in re.finditer(rf"(?P<to>-| to | bis )? ?(?:leads? )?(?P<lead>\b{_LEAD}\b)", text):
        place = names[match["lead"]]
        span = range(previous, place) if match["to"] and previous is not None else ()
        leads += [LEADS[i] for i in span] + [LEADS[place]]
        previous = place
    return leads


def find_statements(report: str) -> dict[str, float]:
    """Returns the SCP-ECG statements of a report, and how likely its words call them.

    Args:
        report: Diagnostic text in English or German.

    Returns: code -> likelihood in percent (100, 80, 50 or 15), the likeliest first; the likeliest mention of a
        statement counts. Codes and likelihoods that the report itself gives ("IMI 15") are taken as they are.
    """
    statements: dict[str, float] = {}
    written = {code.upper(): float(value) for code, value in CODES.findall(normalize(report))}
    for mention in find_mentions(report):
        if mention.code and mention.likelihood:
            code = {"AMI": "ASMI"}.get(mention.code, mention.code)
            statements[code] = max(mention.likelihood, statements.get(code, 0.0))
    statements |= {code: value for code, value in written.items() if value or code in RHYTHM or code in FORM}
    if {"CLBBB", "CRBBB"} & set(statements):
        statements.pop("IVCD", None)
    if set(DIAGNOSTIC_CLASS["MI"]) & set(statements) - {"MI"}:
        statements.pop("MI", None)  # the same infarction, with its site
    return dict(sorted(statements.items(), key=lambda item: (-item[1], item[0])))
