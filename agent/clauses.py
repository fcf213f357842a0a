"""Report text -> the clauses that speak of the ECG at hand.

text --normalize--> lower case, umlauts and abbreviations written out, one statement a line
     --split_clauses--> clauses, without the sections that say why the ECG was recorded or what was before
"""

import re
import textwrap

MAX_CLAUSE = 2000  # characters

# Written out before sentences are split, since their full stops, slashes and numbers would divide or mislead.
_ABBREVIATIONS = [
    (re.compile(pattern), words)
    for pattern, words in (
        (r"\bz\. ?n\.|\bz\.?n\b\.?(?= \w)|\bs/p\b|\bst\. ?n\.(?= ?\w)", "status post "),
        (r"\bh/o\b|\bhx(?: of)?\b(?!:)", "history of"),
        (r"\br/o\b", "rule out"),
        (r"\bv\. ?a\.|\bva\b(?= \w+(?:infarkt|isch))", "verdacht auf "),
        (r"\bn\. ?a\.(?=\W|$)", "nicht auszuschliessen"),
        (r"\bd\.?d\.?\b[:.]? ?(?=\w)", "differentialdiagnose "),
        (r"\bc/w\b", "consistent with"),
        (r"\bw/o\b", "without"),
        (r"\bw/(?= ?\w)", "with "),
        (r"\bo\. ?b\.(?=\W|$)", "unauffaellig"),
        (r"\bi\. ?v\. ?(?=block|leitung|delay)", "intraventricular "),
        (r"\b(?:ink|inkompl|inkpl)\. ?(?=\w)|\bink(?=\s[lr]sb)", "inkompletter "),
        (r"\b(?:kompl)\. ?(?=\w)", "kompletter "),
        (r"\bpart\. ?(?=\w)", "partial "),
        (r"\bunvollst\. ?(?=\w)", "unvollstaendiger "),
        (r"\bventr\. ?(?=es\b|extra)", "ventrikulaere "),
        (r"\b(?:supraventr|sv)\. ?(?=es\b|extra)", "supraventrikulaere "),
        (r"\bunspez\. ?(?=\w)", "unspezifische "),
        (r"\bausgepr\. ?(?=\w)|\bpath\. ?(?=\w)|\bgeringgr\. ?(?=\w)|\bmaess\. ?(?=\w)", ""),
        (r"\bfragl\. ?(?=\w)", "fraglich "),
        (r"\b(?:moegl|evtl?|ev)\. ?(?=\w)", "moeglich "),
        (r"\bwahrsch\. ?(?=\w)", "wahrscheinlich "),
        (r"\bchron\. ?(?=\w)", "chronisch "),
        (r"\bprob\. ?(?=\w)", "probable "),
        (r"\bposs\. ?(?=\w)", "possible "),
        (r"\bw(?:egen)?\. ?(?=v\.? ?a)", ""),
        (r"\ba\. ?fib\b", "afib"),
        (r"\babl\. ?(?=\w)", "abl "),
        (r"(?<![\w.])([123]|i{1,3}) ?°", r"\1 grad "),
        (r"(?<![\w.])([123]|i{1,3})\. ?(?=grad|degree)", r"\1 "),
        (r"\b(av-?[ -]?b(?:lock)?) ([123]|i{1,3})\.(?= |$)", r"\1 \2 "),
        (r"\bbi-?atrial(?:e[rn]?)? (\w+)", r"left atrial \1 and right atrial \1"),
        (r"\bbi-?ventricular hypertrophy", "left ventricular hypertrophy and right ventricular hypertrophy"),
        (r"\b(bundle|branch)\s+(?=branch|block)", r"\1 "),  # some of PTB-XL's reports are wrapped by blanks
        (r"\b(right|left)(?= and (?:right|left) bundle branch block)", r"\1 bundle branch block"),
        (r"\b((?:right|left) bundle branch)(?=(?:,| and| &| \+|,? with) (?:right|left) (?:bundle branch |(?:anterior"
         r"|posterior) (?:fascicular |hemi-?))block)", r"\1 block"),
    )
]  # fmt: skip
_LETTERS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "å": "aa", "º": "°", "’": "'", "‐": "-", "‑": "-", "–": "-", "—": "-"}
)
# A prefix that denies a word or moves it to another time makes another word of it: "non-ischemic", "post-infarction".
_PREFIX = re.compile(r"\b(non|near|pseudo|post|prae|pre|peri|anti)-(?=[a-z])|\b(non|near|pseudo) (?=[a-z])")
# PTB-XL's editors wrote the labels behind some reports; they are none of the text.
_LABELS = re.compile(r"consensus label derived from.*", re.S)
_ASTERISKS = re.compile(r"[*•]+")
_NUMBERED = re.compile(r"(?:^|(?<=\s))(\d{1,2})[.)] (?=[a-z(])", re.M)
# The text goes on in the next line where a line ends like this, or the next one begins like that.
_UNFINISHED = re.compile(
    r"(?:,|\b(?:with|and|or|of|in|for|no|not|without|consider|possible|possibly|probable|probably|cannot rule out"
    r"|rule out|the|due to|to|is|are|mit|und|oder|kein|keine|ohne|bei|im|der|auf))[ ]*\n(?=[ ]*\S)|\n[ ]*(?=(?:with"
    r"|and|or|in|of|mit|und|oder|cannot be|no longer)\b)"
)  # fmt: skip

_PIECES = re.compile(
    r"(?:[^.;:!?\n]|[.;:!?](?=\d)|:(?= ?(?:no|none|nein|yes|ja|keine?|negativ|negative|absent|normal)\b))+[.;:!?]?"
)
# German reports of PTB-XL put blanks between findings, English ones where a line was wrapped.
_BLANKS = re.compile(r"[^\S\n]{3,}")
_ENGLISH = re.compile(r"\b(?:the|with|and|are|of|rhythm|tachycardia|bradycardia|fibrillation)\b")

# Labels of what is no finding of this ECG: why it was recorded, what was before, who is ill in the family.
_ELSEWHERE = re.compile(
    r"(?:clinical |klinische |ecg |ekg )?(?:indications?|indikation(?:en)?|reasons?|questions?|fragestellung(?:en)?"
    r"|frage|information|history|data|details|angaben|anamnese|vorgeschichte|familienanamnese|klinik|grund"
    r"|zuweisungsgrund|comparison|vergleich|symptoms?|symptome|beschwerden|comorbidities|risk factors"
    r"|risikofaktoren|hx|pmh|rule out|differential diagnos[ie]s|vorbefunde?|vordiagnosen?|vorerkrankungen"
    r"|einweisungsdiagnose|ueberweisungsdiagnose|vater|mutter|bruder|schwester|eltern|father|mother|brother|sister"
    r"|parents?|medications?|medikation|medikamente|therapie|therapy|drugs?|family|vor-?ekg)(?: (?:for|of|zur|der"
    r"|zum|fuer) [\w -]{1,30})?|(?:past|previous|prior|family|medical|referral|admission|admitting|vorherige?s?"
    r"|frueheres?|letztes) (?:[\w-]+ )?(?:history|ecgs?|ekgs?|tracings?|diagnos[ie]s|diagnosen?|findings?"
    r"|befunde?)(?: of [\w -]{1,20})?"
)  # fmt: skip
_HERE = re.compile(
    r"(?:ecg |ekg |automatic |computer |final |current |aktuelle[rs]? )?(?:findings?|interpretation|impression"
    r"|conclusions?|diagnos[ie]s|diagnosen?|befund|beurteilung|ergebnis|results?|report|statements?|ecg|ekg|rhythm"
    r"|rhythmus|comments?|bewertung|zusammenfassung|auswertung|reading)"
)  # fmt: skip


def normalize(text: str) -> str:
    """Returns a text in lower case, with umlauts and abbreviations written out and each numbered or starred statement
    on a line of its own.

    Runs of blanks stay, because PTB-XL's reports divide clauses with them.
    """
    text = text.lower().translate(_LETTERS).replace("\r", "\n")
    text = _ASTERISKS.sub("\n", _LABELS.sub("", text))
    text = _lines_of_list(text)
    for pattern, words in _ABBREVIATIONS:
        text = pattern.sub(words, text)
    text = _PREFIX.sub(r"\1\2", text)
    return _UNFINISHED.sub(lambda match: match[0].replace("\n", " "), text)


def _lines_of_list(text: str) -> str:
    """Takes the numbers 1, 2, 3 off a list, so that "1. AV block 2. LVH" does not say a degree."""
    number, parts, end = 1, [], 0
    for match in _NUMBERED.finditer(text):
        starts_line = not text[text.rfind("\n", 0, match.start()) + 1 : match.start()].strip()
        if int(match[1]) == number and (number > 1 or starts_line) and not text.startswith("grad", match.end()):
            parts += [text[end : match.start()], "\n"]
            number, end = number + 1, match.end()
    return "".join((*parts, text[end:]))


def split_clauses(text: str) -> list[str]:
    """Returns the clauses of normalized text that speak of this ECG, in order; a clause that ends in "?" keeps it."""
    lines = (text if _ENGLISH.search(text) else _BLANKS.sub("\n", text)).split("\n")
    last_here = max((number for number, line in enumerate(lines) if _starts_here(line)), default=-1)
    clauses: list[str] = []
    elsewhere = block = False  # within a section that is not about this ECG; and its label had a line of its own
    for number, line in enumerate(lines):
        pieces = [" ".join(piece.split()) for piece in _PIECES.findall(line)]
        labels = [_label(piece) for piece in pieces]
        for place, (piece, label) in enumerate(zip(pieces, labels)):
            if label is not None:
                elsewhere, block = label, label and place + 1 == len(pieces)
            elif not elsewhere:
                clauses += _shortened(piece if piece.endswith("?") else piece.rstrip(".;:! "))
            elif not block and piece[-1:] in ".;" and False not in labels[place:]:
                elsewhere = False
        if not block or not pieces or (labels[-1] is None and number >= last_here):
            elsewhere = block = False
    return [clause for clause in clauses if clause]


def _shortened(clause: str) -> list[str]:
    """Divides a clause that no report has at blanks, so that hostile text takes linear time."""
    return textwrap.wrap(clause, MAX_CLAUSE, break_on_hyphens=False) if len(clause) > MAX_CLAUSE else [clause]


def _label(piece: str) -> bool | None:
    """Returns True for the label of a section that is not about this ECG ("indication:"), False for one that is, None
    for any other piece.
    """
    if not piece.endswith(":"):
        return None
    label = re.sub(r" ?\([^()]*\)", "", piece).rstrip(": ").rsplit(",", 1)[-1].strip(" -(")
    return True if _ELSEWHERE.fullmatch(label) else False if _HERE.fullmatch(label) else None


def _starts_here(line: str) -> bool:
    head, colon, _ = line.partition(":")
    return bool(colon and _HERE.fullmatch(head.strip()))
