"""Tells how a clause asserts a finding: as certain, in doubt, negated, or not of this ECG at all.

The words before and behind a finding decide. `before` and `after` are the clause without the finding, in which every
other finding is masked by "#", so that the words of one finding are not taken for those of another.
"""

import re

_ECG = (
    r"(?:ecgs?|ekgs?|tracings?|electrocardiograms?|elektrokardiogramm|studies|study|vor-?ekg|voraufnahmen?"
    r"|vorbefund)"
)
_EARLIER = r"(?:previous|prior|last|earlier|old|preceding|vorherige[nmrs]?|frueheren?|letzten?|alten?)"
_BUT = (
    r"(?:but|aber|sondern|jedoch|however|although|though|obwohl|except|apart from|aside from|than|besides"
    r"|ausser|bis auf|abgesehen von)"
)
# A negation ends at these words: what stands behind them is asserted.
_NEGATION_ENDS = re.compile(
    rf"\b(?:{_BUT}|with|mit|bei|due to|because(?: of)?|consistent with|compatible with|vereinbar mit"
    rf"|(?<!to )suggest(?:s|ing|ive)?|indicat(?:es|ing|ive)"
    r"|now|jetzt|therefore|daher|in the presence of|in the setting of|in presence of|secondary to)\b"
    r"|,\s*(?:possibl[ey]|probabl[ey]|likely|consider|suspected|moeglich\w*|wahrscheinlich\w*|verdacht)\b"
)
# The past ends at these words, where the text comes back to this ECG.
_HISTORY_ENDS = re.compile(
    rf"\b(?:{_BUT}|now|currently|today|new|jetzt|aktuell|heute|derzeit|neu|replaced|persists?|compared|ecg shows"
    rf"|ekg zeigt|sinus)\b"
)
_LIST = re.compile(r"\b(?:or|oder|nor|noch|and|und|eller)\b|/ ?$")
_OR = re.compile(r"\b(?:or|oder|nor|noch|eller)\b")

_NEGATION = re.compile(
    r"\b(?:not (?:consistent|compatible|associated|in keeping) with|not (?:suggestive|indicative|diagnostic) of"
    r"|not due to|nicht (?:vereinbar|typisch) (?:mit|fuer)|no(?! (?:(?:significant|relevant|further|interval|other"
    r"|major) )?(?:changes?|longer|doubt|difference|previous|prior|old|comparison))(?!\.)|not(?! (?:only"
    r"|significantly|changed|much|available|compared))|without(?! (?:doubt|change|significant change|comparison))"
    r"|absence of|lack of|free of|negative for|denies|never|neither|rather than|instead of|mimic(?:s|king)?"
    r"|simulat(?:es|ing)|resembl(?:es|ing)|unlikely|kein(?:e[mnrs]?|erlei)?(?! (?:(?:signifikante|wesentliche"
    r"|relevante)n? )?(?:aenderung|veraenderung zu|unterschied|vor-?ekg|zweifel|vorbefund))|ohne(?! (?:aenderung"
    r"|zweifel|vor-?ekg))|nicht(?! (?:nur|wesentlich|signifikant|veraendert))|weder|frei von|statt|anstatt"
    r"|anstelle von|ruled out|excluded|ausgeschlossen|unwahrscheinlich|inga?|ingen)\b"
)
_NEGATED_AFTER = re.compile(
    r"^(?P<between>[^#,]{0,30}?)(?:\b(?:(?:has been |have been |was |were |is |are )?(?:ruled out|excluded)"
    r"|ausgeschlossen|ausschliessbar|nicht (?:mehr )?(?:nachweisbar|vorhanden|erkennbar|sichtbar|gesehen|zu sehen"
    r"|vorliegend)|nicht mehr|liegt nicht vor|liegen nicht vor|besteht nicht|fehlt|fehlen|(?:is |are )?absent"
    r"|not (?:seen|present|demonstrated|detected|evident|identified|found|observed|confirmed|likely)|(?:is|are|was"
    r"|were) (?:no longer|not)|no longer|(?:has|have) (?:resolved|disappeared|been replaced|normali[sz]ed)|resolved"
    r"|unlikely|unwahrscheinlich|replaced by)\b|: ?(?:no|none|nein|keine?r?|negativ|negative|absent)\b)"
)
_REPLACED = re.compile(r"#+(?: rhythm)? ?(?:has|have) replaced(?: the)?[ \w-]{0,20}$")
_NO_LONGER = re.compile(
    r"\b(?:(?:no longer|nicht mehr|replac(?:es|ing))\b[\w -]{0,30}|(?:fehlende[mnrs]?"
    r"|verlust (?:von|der)|loss of) )$"
)

_QUESTION = re.compile(
    r"\b(?:(?:to |please )?(?:rule out|exclude|evaluate for|evaluation of|assess for|screen(?:ing)? for|check for"
    r"|look for)|(?:increased )?risk (?:of|for)|risiko fuer|(?:zum |z\. ?a\. )?ausschluss(?: von| einer| eines)?"
    r"|(?:zur )?abklaerung(?: von| einer| eines)?|referred for|ueberwiesen wegen|indications?|fragestellung"
    r"|indikation|frage nach)\b"
)
_HISTORY = re.compile(
    r"\b(?:(?:family |past (?:medical )?|medical |prior |clinical |patient |known |remote "
    r"|personal )?history (?:is )?(?:of|significant for|positive for|includes|notable for)|family history"
    r"|status post|post|zustand nach|anamnestisch(?:er|e[sn]?)?|in der anamnese|familiaere?r?"
    r"|(?:vor)?bekannt(?:e[mnrs]?)?|known(?: to have| to be in)?|previously(?: (?:documented|noted|seen|known"
    r"|diagnosed|had|in))?"
    rf"|{_EARLIER} {_ECG}(?: (?:of|from|on|dated|vom|am) [\w./ -]{{1,24}}?)?,? (?:showed|shows|demonstrated|had"
    rf"|with|was|revealed|zeigte|mit|ergab|there was|there were)|(?:on|in|im|auf dem"
    rf"|auf) (?:the )?(?:{_EARLIER} {_ECG}|vor-?ekg|vorbefund|voraufnahme)|vor-?ekg(?: zeigte| mit)?|frueher(?:es"
    rf"|er)?|vormals|ehemals|formerly"
    r"|(?:father|mother|brother|sister|sibling|parent|son|daughter|uncle|aunt|vater|mutter|bruder|schwester|eltern"
    r"|grossvater|grossmutter)(?:'s)?(?: (?:with|had|has|hat|hatte|mit|died of|verstarb an))?)\b"
)
_COMPARED = re.compile(
    r"\b(?:compared (?:with|to)|comparison (?:with|to)|vergleich (?:zum|mit|zur)|verglichen mit"
    r"|gegenueber|since|seit) (?:the |dem |der )?[\w ]{0,20}$"
)
_HISTORY_AFTER = re.compile(
    rf"^[^#,]{{0,40}}?,? ?\(?\b(?:(?:in|on|im|auf|from|per) (?:the |dem |der )?(?:{_EARLIER} {_ECG}|vor-?ekg"
    rf"|vorbefund|anamnese|history|past|voraufnahme)|by history"
    r"|(?:(?:is|was|are|were|bereits|already|seit langem) )?(?:previously |vor)?(?:known|bekannt"
    r"|anamnestisch)(?= ?(?:$|[,#);?]|seit|since|from))|previously|(?:was|were) (?:present|seen|noted) (?:on"
    r"|in) (?:the )?(?:previous|prior|last|old|earlier)|in (?:father|mother|family|der familie))"
)

_WINDOW = 200  # characters around a finding that are looked at
_NEAR = re.compile(r"[^#]*#?")
_CERTAIN_LISTS = re.compile(r"(?:#+ ?(?:and|und|&|/) )+$")
# (words before, words behind, likelihood in percent), the weakest first.
_DOUBT = [
    (r"(?:(?:can|could)(?: ?not|'t) (?:be )?(?:entirely |completely |fully |reliably )?(?:rule[d]? out|excluded?)"
     r"|(?:does|do) not (?:exclude|rule out)|kann nicht (?:sicher )?ausgeschlossen|not (?:be )?(?:excluded"
     r"|ruled out)|unable to (?:rule out|exclude))",
     r"(?:nicht (?:sicher |voellig |ganz )?(?:auszuschlie(?:ss|ß)en|ausgeschlossen|ausschliessbar)|(?:can"
     r"|could)(?: ?not|'t) be (?:entirely |completely |fully )?(?:excluded|ruled out)|(?:is |are "
     r"|was )?not (?:be )?(?:entirely |completely )?(?:excluded|ruled out)"
     r"|laesst sich nicht (?:sicher )?ausschliessen|kan ej uteslutas)", 15.0),
    (r"(?:possibl[ey]|moeglich(?:e[rnms]?|erweise)?|moegl|moejlig\w*|verdacht(?: auf)?|suspect(?:ed)?"
     r"|suspicious (?:for|of)|suspicion of|questionable|concern(?:ing)? for|may (?:be|indicate|represent)"
     r"|might(?: be)?|could (?:be|represent|indicate)|fraglich(?:e[rnms]?)?|equivocal|consider|borderline"
     r"|grenzwertig(?:e[rnms]?)?|misstaenkt|suggest exclude|differentialdiagnos(?:e|tisch)"
     r"|differential diagnos[ie]s|versus|vs|oder|or)",
     r"(?:,? ?\(?(?:moeglich(?:e[rnms]?|erweise)?|moegl)|,? ?(?:possibl[ey]|suspected)(?=\s*(?:$|[,)]))"
     r"|,? ?moejlig\w*(?=\s*(?:$|[,#)]))|fraglich|boer oevervaegas|oder|or|is possible|are possible|versus|vs"
     r"|is suspected)", 50.0),
    (r"(?:probabl[ey]|likely|wahrscheinlich(?:e[rnms]?)?|am ehesten|sannolik\w*|consistent with|compatible with"
     r"|suggest(?:s|ing|ive of|ive)?|vereinbar mit|hinweis(?:e|end)? auf|zeichen (?:einer|eines)? ?wie bei"
     r"|saasom vid)",
     r"(?:,? ?\(?(?:probabl[ey]|likely)(?=\s*(?:$|[,)]))|,? ?\(?(?:wahrscheinlich|sannolik\w*)(?=\s*(?:$|[,#)]))"
     r"|is likely|are likely|is probable)", 80.0),
]  # fmt: skip
_DOUBT = [
    (
        re.compile(rf"\b{before}\b[\s\w,/()-]{{0,30}}$"),
        re.compile(rf"^[\s,\w()/-]{{0,12}}?(?<!\w){after}(?!\w)"),
        likelihood,
    )
    for before, after, likelihood in _DOUBT
]
_QUESTION_MARK = re.compile(r"^[\s\w()/-]{0,25}\(?\?")


def likelihood_of(before: str, after: str) -> float | None:
    """Returns the likelihood that a clause gives to a finding.

    Args:
        before: The clause up to the finding, other findings masked by "#".
        after: The clause behind the finding, masked in the same way.

    Returns: percent: 100 where nothing is in doubt, 80 (probable), 50 (possible), 15 (not excluded), 0 where the
        finding is negated; None where the clause does not say it of this ECG but of the past, of a relative or as a
        question.
    """
    before, after = before[-_WINDOW:], after[:_WINDOW]
    near_before, near_after = _CERTAIN_LISTS.sub("", before).rsplit("#", 1)[-1], _NEAR.match(after)[0]
    not_excluded, *doubts = _DOUBT
    if not_excluded[0].search(near_before) or not_excluded[1].search(near_after):
        return not_excluded[2]
    if _is_history(before, near_after) or _in_scope(_QUESTION, before, after, _HISTORY_ENDS):
        return None
    if _is_negated(before, after, near_after):
        return 0.0
    for words_before, words_after, likelihood in doubts:
        if words_before.search(near_before) or words_after.search(near_after):
            return likelihood
    return 50.0 if _QUESTION_MARK.search(near_after) else 100.0


def _is_history(before: str, after: str) -> bool:
    return bool(_HISTORY_AFTER.search(after)) or _in_scope(_HISTORY, before, after, _HISTORY_ENDS)


def _is_negated(before: str, after: str, near_after: str) -> bool:
    behind = _NEGATED_AFTER.search(near_after)
    if behind and not _NEGATION_ENDS.search(behind["between"]):
        return True
    if _REPLACED.search(before) or _NO_LONGER.search(before):
        return True
    return _in_scope(_NEGATION, before, after, _NEGATION_ENDS)


def _in_scope(trigger: re.Pattern, before: str, after: str, ends: re.Pattern) -> bool:
    """Tells whether the last trigger before a finding reaches it.

    It reaches over at most 60 characters and none of the words that end it, and over a comma or another finding only in
    a list that "or" or "and" closes ("no Q waves, ST depression or T inversion").
    """
    match = next(reversed([*trigger.finditer(before)]), None)
    if match is None or _COMPARED.search(before[: match.start()]):
        return False
    between = before[match.end() :]
    if len(between) > 60 or ends.search(between) or not re.fullmatch(r"[\s\w,/#'()-]*", between):
        return False
    if "," not in between and "#" not in between:
        return True
    word = _OR if trigger is _NEGATION else _LIST
    rest = re.match(r"[\s\w,/#-]{0,60}", after)[0]
    closing = word.search(rest)
    return bool(word.search(between) or closing and not ends.search(rest[: closing.start()]))
