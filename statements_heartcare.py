# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Finds the statement that words mean, and the one that a yes/no question asks to confirm.

    question --frames--> finding --rows of one meaning--> its standard words --table--> code of the statement

A finding is understood as a whole or not at all: "no infarction", or two findings in one question, mean no statement.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

from .asking_heartcare import LONGEST, mended, normalize, without_patient

_DEGREES = {"first": "1st|1|i|first|ersten", "second": "2nd|2|ii|second|zweiten", "third": "3rd|3|iii|third|dritten"}
# Wordings of one meaning -> the wording that stands for them; each row sees what the rows before it left.
_SAME: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"\bcomplexes\b", "complex"),
        (r"ies\b", "y"),  # plurals
        (r"\b(?!qrs\b)(\w+[^su\W])s\b", r"\1"),
        (r"\bischaemi[ae]", "ischemia"),
        (r"isation\b", "ization"),
        (r"\b(?:non |un)specific\b", "nonspecific"),
        (r"kardie\b", "cardia"),
        (r"\btach\b", "tachycardia"),
        (r"\bbrady\b", "bradycardia"),
        (r"\bsinus(?=tachy|brady|rhythm|arrhythm)", "sinus "),
        (r"\brhythmus\b", "rhythm"),
        (r"\barrhythmie\b", "arrhythmia"),
        (r"\bfib\b", "fibrillation"),
        (r"hypertrophie\b", "hypertrophy"),
        (r"^(?:artificial )?(?:pacemaker|schrittmacher|pace[dr]|pacing)(?: rhythm)?$", "artificial pacemaker"),
        (r"\b(?:dilatation|dilation|overload)\b", "enlargement"),
        (r"^(?:pathologic(?:al)?|abnormal|significant) (?=q wave$)", ""),
        # blocks
        (r"\b(?:in)?komplett(?:er|en)?\b", lambda match: "incomplete" if match.group()[0] == "i" else "complete"),
        (r"\bi(?=[lr]bbb\b)", "incomplete "),
        (r"\bc(?=[lr]bbb\b)", "complete "),
        (r"\b(?:lbbb|linksschenkelblock|left bbb)\b", "left bundle branch block"),
        (r"\b(?:rbbb|rechtsschenkelblock|right bbb)\b", "right bundle branch block"),
        (r"\bhemiblock\b", "fascicular block"),
        (r"\b(?:atrioventricular|a v|heart)(?= block\b)", "av"),
        (r"^(?:complete av block|chb|totaler av block)$", "third degree av block"),
        *(
            (
                rf"^(?:{number})\.? ?(?:degree|grad\w*|deg)(?: av)? block$|^(?:{number})avb$"
                rf"|^avb(?:lock)? ?(?:{number})$|^av block (?:grad )?(?:{number})\.?(?: (?:degree|grad\w*))?$",
                f"{degree} degree av block",
            )
            for degree, number in _DEGREES.items()
        ),
        # infarction
        (r"\b(inferior|anterior|lateral|posterior|septal) wall\b", r"\1"),
        (
            r"\b(?:(?:myocardial )?infarct(?:ion)?|mi|heart attack|(?:herz|myokard)?infarkt)$",
            "myocardial infarction",
        ),
        # early beats
        (r"^(?:pv[cb]|vp[cb]|ve|ves)$", "ventricular premature complex"),
        (r"^(?:pac|apc|pab|apb|sve|sves)$", "atrial premature complex"),
        (r"\bsupraventri[ck]ul\w+ (?=extrasystol|premature|ectop)", "atrial "),
        (r"\bventrikulaere\b", "ventricular"),
        (r"\bpremature (atrial|ventricular)\b", r"\1 premature"),
        (r"\bpremature (?:beat|contraction|depolarization)$", "premature complex"),
        (r"\b(atrial|ventricular) (?:extrasystol\w*|ectop(?:ic|y)(?: beat| complex)?)$", r"\1 premature complex"),
        # a wave, and what it is like
        (r"^(.+?) (prolonged|long|lengthened|elevated|raised|depressed|inverted|negative|flat|flattened|low|high"
            r"|verlaengert)$", r"\2 \1"),
        (r"\bst segment\b", "st"),
        (r"^(?:elevated|raised) st$|^st hebung\w*$", "st elevation"),
        (r"^depressed st$|^st senkung\w*$", "st depression"),
        (r"^(?:prolonged|long|lengthened|verlaengert(?:e[ns]?)?) (qt|pr|pq)c?"
            r"(?: (?:interval|duration|time|zeit|intervall))?$|^(qt|pr|pq)c?(?: interval| time)? (?:prolongation"
            r"|verlaengerung)$", r"a long \1\2"),
        (r"^a long p[rq]$", "a long pr"),
        (r"^(?:inverted|negative) t(?: wave)?$|^t(?: wave)? (?:inversion|negativierung)\w*$|^twi$", "inverted t wave"),
        (r"^(?:low|flat|flattened) t wave$|^t wave flattening$", "low amplitude t wave"),
        (r"^(low|high)(?: qrs)? voltage$", r"\1 qrs voltage"),
    )
)  # fmt: skip
# Further words of statements, beside those of the model's configuration and those that `_SAME` makes the same.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "NORM": ("normal", "ecg normal", "ok", "fine", "all right", "unremarkable", "within normal limits",
        "normales ekg", "everything ok", "everything normal", "everything all right"),
    "super:STTC": ("st t changes", "st or t changes", "st t abnormality", "st t wave changes",
        "repolarization abnormality"),
    "super:CD": ("conduction disorder", "conduction abnormality", "conduction defect", "erregungsleitungsstoerung"),
    "SR": ("normal sinus rhythm", "nsr", "sinus"),
    "SARRH": ("respiratory sinus arrhythmia",),
    "AFIB": ("af", "afib", "auricular fibrillation", "vorhofflimmern", "vhf"),
    "AFLT": ("aflutter", "flutter", "vorhofflattern"),
    "PACE": ("pacemaker",),
    "BIGU": ("bigeminus",),
    "TRIGU": ("trigeminus",),
    "SVTAC": ("svt",),
    "PSVT": ("paroxysmal svt",),
    "VCLVH": ("voltage criteria for lvh", "lvh voltage criteria", "lvh by voltage"),
    "LVOLT": ("niedervoltage",),
    "DIG": ("digoxin effect", "dig effect"),
    "LNGQT": ("long qt syndrome",),
    "IMI": ("hinterwandinfarkt",),
    "AMI": ("vorderwandinfarkt",),
    "LVH": ("lvh", "linksherzhypertrophie", "left heart hypertrophy"),
    "RVH": ("rvh", "rechtsherzhypertrophie", "right heart hypertrophy"),
    "LAFB": ("lafb", "lahb", "linksanteriorer hemiblock"),
    "LPFB": ("lpfb", "lphb", "linksposteriorer hemiblock"),
    "CRBBB": ("right bundle branch block",),
    "CLBBB": ("left bundle branch block",),
    "IVCD": ("ivcd", "intraventricular conduction delay"),
    "2AVB": ("mobitz",),
    "ISC_": ("ischemia", "myocardial ischemia"),
    "LAO/LAE": ("lae", "p mitrale"),
    "RAO/RAE": ("rae", "p pulmonale"),
    "WPW": ("wpw", "wpw syndrome", "wolff parkinson white", "preexcitation", "pre excitation", "delta wave"),
}  # fmt: skip
# Words that mean any statement of a family where a yes/no question asks for them, as `_SAME` leaves them: "premature
# beats" are there where ventricular ones are, and "ischemia" where that of one wall is.
_OF_FAMILIES = {"premature complex": "PREMATURE", "ischemia": "ISCHEMIA", "myocardial ischemia": "ISCHEMIA"}
_LONGEST_FINDING = 10  # words
_RECORD = r"e[ck]g|tracing|recording|strip|trace|record|electrocardiogram|elektrokardiogramm|picture"
_SUBJECT = (
    rf"(?P<subject>(?:this|the|my|his|her|that)? ?(?:{_RECORD}|patient|pt|heart|rhythm|he|she|i|it|this|there"
    r"|everything|all|alles))"
)
_SIGNS = (
    r"(?:(?:any|some|the|an?|clear|possible|eine?n?) )*(?:(?:signs?|evidence|indications?|suggestion|hints?"
    r"|criteria|features|anzeichen|zeichen|hinweise?) (?:of|for|von|fuer|auf) )?(?:(?:any|an?|eine?n?) )?"
)
_HERE = (
    r"(?:,? (?:present|visible|seen|evident|there|here|yes or no|or not|to you|likely|zu sehen|vor|erkennbar"
    rf"|(?:on|in|at) (?:this|the|that|my|his|her) (?:{_RECORD}|patient)"
    r"|auf diesem ekg|hier|today|now|please))*"
)
# A yes/no question about one finding, which stands in the group.
_FRAMES = [
    re.compile(rf"^(?:{frame}){_SIGNS}(?P<finding>.+?)(?: be (?:seen|found|detected))?{_HERE}[ ?.!]*$")
    for frame in (
        r"(?:is|are) there |has there been |have there been ",
        rf"(?:does|do|did) {_SUBJECT} (?:show|have|has|reveal|demonstrate|display|suggest|indicate|exhibit|contain"
        rf"|look|look like|meet) (?:like )?",
        rf"(?:has|have) {_SUBJECT} (?:got |had )?",
        r"(?:do|can|could|would) you (?:see|find|detect|recogni[sz]e|spot|identify|notice|confirm|call (?:this|it)"
        r"|say (?:this|it) is) ",
        rf"(?:is|are|am|could|might|would|can) {_SUBJECT} (?:be )?(?:(?:show|showing|having|in|consistent with"
        r"|compatible with|suggestive of) )?",
        r"(?:is|are|can|could) (?=.* (?:present|visible|seen|found|detected|evident|there|yes or no)\b)",
        r"(?:is|are) ",
        r"(?:any|check for|look for|screen for|confirm|detect) ",
        r"(?:gibt es|besteht|ist|sind|sieht man|siehst du|sehen sie|liegt|liegen)"
        r" (?:(?:(?:das|dieses|mein|sein|ihr) ekg|das|dies|hier|die|der) )?",
        r"(?:zeigt|hat) (?:das ekg|dieses ekg|der patient|die patientin|er|sie) ",
        r"(?=.*\?)",
    )
]
_ARTICLE = re.compile(r"^(?:an?|the|any|his|her|my|eine?n?) ")
# An ECG may be normal, but of a patient, a heart or a rhythm that would be another question.
_NO_ECG = re.compile(r"\b(?:patient|pt|heart|rhythm|he|she|i)$")


def asked_statement(question: str, wordings: Mapping[str, str]) -> str | None:
    """Returns the code of the one statement that a question asks to confirm, or the name of the family that its words
    mean (see `opinion_heartcare.FAMILIES`): a yes/no question, or its words with a question mark. It returns None for
    every other question, such as one about two statements, or one with a negation.

    Args:
        question: A question in English or German; a sentence about the patient may stand before or behind it.
        wordings: Code -> words of each statement that may be asked for, as `HeartcareConfig.wordings` has them.
    """
    if len(question) > LONGEST:
        return None
    text = re.sub(r"\ba (?=fib\b|flutter\b)", "atrial ", without_patient(normalize(question)).strip(" ."))
    by_words = _by_words(tuple(wordings.items()))
    by_words = by_words | {words: family for words, family in _OF_FAMILIES.items() if words in by_words}
    for match in filter(None, (frame.match(text) for frame in _FRAMES)):
        if code := _meant(_ARTICLE.sub("", match["finding"]), by_words):
            subject = match.groupdict().get("subject") or ""
            return None if code == "NORM" and _NO_ECG.search(subject) else code
    return None


def statement_of(words: str, wordings: Mapping[str, str]) -> str | None:
    """Returns the code of the statement that these words mean, and None where they mean none, or more than one."""
    return _by_words(tuple(wordings.items())).get(_same(_ARTICLE.sub("", normalize(words).rstrip("."))))


def _meant(finding: str, by_words: Mapping[str, str]) -> str | None:
    """Returns the code of the statement that a finding means, typing errors mended."""
    if len(finding.split()) > _LONGEST_FINDING:
        return None
    vocabulary = sorted({word for words in by_words for word in words.split()})
    return by_words.get(_same(finding)) or by_words.get(_same(mended(_same(finding), vocabulary)))


@lru_cache(maxsize=8)
def _by_words(wordings: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Returns a table: words without an article, as `_same` leaves them -> code of the statement."""
    table: dict[str, str] = {}
    for code, words in wordings:
        own = _ARTICLE.sub("", normalize(words))
        # If a superclass and a statement have the same words, the statement is meant.
        for each in map(_same, (own, *SYNONYMS.get(code, ()))):
            if each not in table or table[each].startswith("super:"):
                table[each] = code
    return table


def _same(words: str) -> str:
    """Returns the wording that stands for all of the same meaning."""
    for pattern, standard in _SAME:
        words = pattern.sub(standard, words)
    return words


__all__ = ["asked_statement", "statement_of"]
