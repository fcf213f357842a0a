# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Finds the measured numbers that a question asks for, and writes the sentence that answers it.

    question --normalize, mend typing errors--> words --tables of this module--> names of numbers --> sentence

Everything else is left to the language model: a question is understood as a whole here, or not at all.
"""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache

from .configuration_heartcare import LEADS
from .measuring_heartcare import MEASURED

LONGEST = 1000  # characters of a question; a longer text asks for more than one number

_LEAD = r"(?:avr|avl|avf|v[1-6]|i{1,3})(?![a-z0-9])"
_HEIGHT = r"(?:(?:amplitude|height|depth|size|voltage|hoehe|tiefe) (?:of|der|von) (?:the )?)?"
_WAVE = r"(?: (?:wave|peak|amplitude|voltage|height|depth|size|spike|zacke|hoehe|tiefe)n?s?)*"
_SPAN = (
    r"(?: (?:intervals?|intervall|int|durations?|dur|times?|zeit|dauer|length|width|breadth|breite|distance|strecke"
    r"|values?|wert))*"
)
_START = r"(?:(?:the )?(?:onset|start|beginning|first deflection) of )?(?:the |a )?"
_STARTS = r"(?: (?:onset|start|beginning))?"
_TO = r" (?:to|and|until|till|up to|bis) "
_QRS = r"(?:qrs(?: complex)?|ventricular complex)"
_PLUS = r" ?(?:\+|plus|and|und) ?"
_FORMULA = (
    r"(?:\(?(?:by|after|according to|using|use|with|nach|from|in|per|via) )?(?:the )?\(?"
    r"(?P<formula>bazett|fridericia|framingham)s?\)?(?:'s)?(?: (?:formula|method|correction|corrected|formel"
    r"|korrigiert\w*))*"
)


def _axis(owner: str) -> str:
    """Returns the words for the axis of a wave: its owner before or behind it."""
    return (
        rf"(?:(?:mean|frontal|plane) )*{owner} (?:axis|vector|achse|vektor)"
        rf"|(?:axis|vector|achse|vektor) (?:of|der|von) (?:the |all )?{owner}"
    )


# Words of each number, the longer ones first where one begins with the other. Hyphens are blanks by then.
QUANTITIES: dict[str, tuple[str, ...]] = {
    "pr": (
        rf"{_START}p(?: wave)?{_STARTS}{_TO}{_START}(?:{_QRS}|r(?: wave)?){_STARTS}",
        rf"(?:pr|pq|p r|p q|pri){_SPAN}(?! segment)",
        r"(?:(?:atrioventricular|av|a v) conduction|(?:av|a v) delay)(?: interval| time| duration)?",
        rf"atrial(?: activation| depolari[sz]ation)?{_TO}ventricular (?:activation|depolari[sz]ation)",
        r"conduction(?: time)? (?:from|between) (?:the )?atri(?:a|um)(?: to| and) (?:the )?ventricles?",
        r"(?:(?:av|atrioventrikulaere) )?ueberleitung(?:szeit)?|av zeit",
    ),
    "qtc": (
        rf"(?:(?:frequency|rate|heart rate) )?corrected qtc?{_SPAN}",
        r"qt(?: corrected| after correction)(?: for (?:the )?(?:heart )?rate)?",
        rf"correct (?:the )?qt{_SPAN}(?: for (?:the )?(?:heart )?rate)?",
        rf"qt ?c{_SPAN}|(?:frequenz ?)?korrigierte[ns]? qtc?{_SPAN}",
    ),
    "qt": (
        rf"{_START}(?:{_QRS}|q(?: wave)?){_STARTS}{_TO}(?:the )?(?:end of (?:the )?)?t(?: wave)?(?: end| offset)?",
        rf"(?:(?:absolute|uncorrected|raw|unkorrigierte[ns]?|absolute[ns]?) )*qt{_SPAN}",
        r"(?:duration|length) of (?:the )?(?:qt(?: interval)?|ventricular repolari[sz]ation)",
        r"ventricular repolari[sz]ation time",
    ),
    "qrs": (
        rf"{_START}{_QRS}{_STARTS}{_TO}(?:its |the )?(?:{_QRS} )?(?:end|offset|j point)(?: of (?:it|(?:the )?{_QRS}))?",
        r"qrsd|qrs(?: complex(?:es)?| komplex(?:e[sn]?)?)?(?! (?:voltage|amplitude|height|morphology|axis|achse"
        rf"|ve[kc]tor|t angle)){_SPAN}",
        r"(?:width|duration|length) of (?:the )?(?:ventricular )?complex(?:es)?|kammerkomplex(?:e[sn]?)?",
        r"ventricular (?:activation|depolari[sz]ation) (?:time|duration)",
        r"(?:duration|time) of ventricular (?:activation|depolari[sz]ation)",
        r"(?:it takes? |it )?(?:take )?(?:for )?(?:the )?ventricles? (?:take )?to (?:depolari[sz]e|activate)"
        r"(?: (?:completely|fully))?",
    ),
    "p_axis": (_axis(r"(?:p wellen?|p(?: waves?)?|atrial|atria|vorhof)"), "vorhofachse"),
    "t_axis": (_axis(r"(?:t wellen?|t(?: waves?)?|repolari[sz]ation)"),),
    "qrs_axis": (
        r"axis of (?:the )?(?:qrs|heart|ventricles)(?: complex(?:es)?)?",
        r"(?:(?:mean|frontal|plane|qrs|r|electrical|cardiac|heart|ventricular|main) )*axis(?: of the heart)?",
        r"(?:(?:elektrische[rn]?|mittlere|frontale) )*(?:herz|qrs)? ?achse(?: des herzens)?|lagetyp|(?:qrs )?ve[kc]tor",
    ),
    "qtc_bazett": ("qtc?b",),
    "qtc_fridericia": ("qtc?f",),
    "slowest": (r"(?:slowest|lowest|minimum|minimal|min) (?:heart |ventricular )?(?:rate|frequency|hr|pulse)",),
    "fastest": (r"(?:fastest|highest|maximum|maximal|max) (?:heart |ventricular )?(?:rate|frequency|hr|pulse)",),
    "rr": (
        r"(?:r ?r)(?: (?:interval|distance|abstand|cycle|time)s?)+|(?:mean |average )?(?:cycle length|rr)",
        r"(?:one )?r(?: wave| peak)? to (?:the next )?r(?: wave| peak)?",
    ),
    "sdnn": ("sdnn|heart rate variability|rate variability|rr variability|hrv|herzfrequenzvariabilitaet",),
    "rmssd": ("rmssd",),
    "heart_rate": (
        r"(?:(?:ventricular|heart|cardiac|sinus|pulse|mean|average|resting|current|exact) )*"
        r"(?<!atrial )(?<!sampling )(?<!p wave )(?:rate|hr|heartrate)",
        r"ventricular response(?: rate)?|bpm(?! range)|beats? (?:per|a|each|every|/|in one|in a|in 1) ?min(?:ute|s)?",
        r"heart ?beats?(?: (?:per|a|in a|each) minute)?|pulse|(?:heart |ventricular )frequency|frequency of the heart",
        r"(?:herz|kammer|puls)? ?frequenz|puls(?:schlag)?|(?:herz)?schlaegen?(?: (?:pro|in der|je) minute)?",
        r"hf(?= (?:in|bitte|ist|betraegt|des|von))|(?:die|der) hf",
        r"how (?:fast|quick|quickly|often) (?:is|does|are) (?:the|his|her|this|my|it)? ?(?:patients? )?"
        r"(?:heart|pulse|ventricles?|it)? ?(?:beat(?:ing)?|going|contracting|contract|run(?:ning)?)?",
        r"(?:wie )?schnell (?:schlaegt|geht|ist) (?:(?:das|mein|sein|ihr|dein) )?(?:herz|puls)",
    ),
    "sokolow_lyon": (r"sokolow(?: ?lyon)?(?: (?:index|voltage|sum|product|criterion|value))*",),
    "cornell": (r"cornell(?: (?:index|voltage|sum|criterion|value))*",),
    "limb_voltage": (
        r"limb(?: leads?)? (?:qrs )?(?:voltage|amplitude)s?",
        r"(?:qrs )?(?:voltage|amplitude)s? (?:in|of) (?:the )?limb leads?",
    ),
    "chest_voltage": (
        r"(?:chest|precordial)(?: leads?)? (?:qrs )?(?:voltage|amplitude)s?",
        r"(?:qrs )?(?:voltage|amplitude)s? (?:in|of) (?:the )?(?:chest|precordial) leads?",
    ),
    "p_share": (
        r"(?:share|percentage|proportion|fraction) of (?:the )?(?:beats|qrs complexes) (?:with|that have) "
        r"(?:a )?p waves?",
    ),
    "ectopic": (
        r"(?:how many|(?:the )?(?:number|count) of|wie viele) (?:(?:ectopic|premature|extra) (?:beats|systoles"
        r"|complexes)|extrasystoles|extrasystolen|ectopics)",
    ),
    "pacing_spikes": (
        r"(?:how many|(?:the )?(?:number|count) of|wie viele) (?:(?:pacing|pacemaker|pacer|stimulation) spikes?"
        r"|schrittmacher ?spikes?)(?: (?:are|is|sind) (?:there|seen|visible|zu sehen))?",
    ),
}  # fmt: skip
# Sums of an R and an S wave, in either order.
SUMS: dict[str, tuple[str, str]] = {
    "sokolow_lyon": (r"s ?(?:in )?v1", r"r ?(?:in )?v[56](?: or v6)?"),
    "cornell": (r"r ?(?:in )?avl", r"s ?(?:in )?v3"),
}
USUAL_QTC = "qtc_fridericia"  # the QTc of a question that names no formula
# Numbers of single leads, asked for with the lead behind or before them.
OF_LEADS: dict[str, str] = {
    "st_slope": r"(?:st(?: segment)? slope|slope of (?:the )?st(?: segment)?)",
    "st": r"(?:(?:elevation|depression|level|hebung|senkung) (?:of|der) (?:the )?)?(?:st(?: segment)?(?: (?:elevation"
    r"|elevated|depression|depressed|level|deviation|shift|hebung|senkung|strecke|amplitude|j point))*"
    r"|j point(?: level)?)",
    "r": rf"{_HEIGHT}r{_WAVE}",
    "s": rf"{_HEIGHT}s{_WAVE}",
}  # fmt: skip
# Several numbers at once.
GROUPS: dict[str, tuple[str, ...]] = {
    r"(?:p ?,? ?(?:qrs|r) ?,? ?(?:and )?t axes|axes)": ("p_axis", "qrs_axis", "t_axis"),
    r"(?:all |the |all the |every |basic |standard |ecg |ekg )*(?:intervals|zeiten|intervalle)": (
        "pr",
        "qrs",
        "qt",
        "qtc",
    ),
    r"(?:all |the |all the |every |basic |standard |ecg |ekg |automatic |numeric )*(?:measurements|numbers"
    r"|measured values|messwerte|parameters|vitals)": tuple(MEASURED),
    r"(?:rate|heart rate|hr|pulse) range|range of (?:the )?(?:heart )?rates?": ("slowest", "fastest"),
}
# Words around a number that are polite, or say what anyhow is meant: people, recordings, units, forms of an answer.
# Lead II is the one that intervals are usually read in; of another lead, none of these numbers is measured.
_FILLERS = """
please pls plz bitte kindly hi hello hey sorry asap doctor doc dr nurse sir thanks thank thx danke just only so and
und maybe perhaps mal denn eigentlich genau exactly roughly about approximately around ungefaehr etwa circa ca quick
quickly question frage now today also then right ok okay well jetzt heute it me us i we you man es mir uns ich wir sie
er du one the a an of for in into on at this that these here there from between to as is are be der die das des dem
den ein eine einen im bei diesem dieses dieser von vom zu auf aus als ist sind gibt gibts my your our his her its
their mein meine meinem meines meiner sein seine ihr ihre patient patients patienten patientin pt pts lady woman guy
gentleman heart ventricle ventricles herz herzens ecg ekg e.c.g ecgs tracing strip recording trace electrocardiogram
elektrokardiogramm page sheet printout picture file signal lead leads ii plane value values number figure reading
measurement duration length width size angle direction interval intervals complex wave waves current mean average exact
actual measured estimated computed calculated frontal overall index wert zahl zahlenwert bestimmte according ms msec
msecs millisec milliseconds millisecond millisekunden s sec secs seconds sekunden minute bpm /min 1/min mv millivolt
millivolts mm millimeter millimeters millimetres deg degs degree degrees grad beats/min needs needed chart somebody
someone anyone anybody team monitor form int integer float numeric numerical decimal whole output returned answer
nothing else rounded added up together json format field digits plain text nur
""".split()
# Words that ask for a number.
_ASKS = """
what whats which where how many much way can could would will able need want like i'd know let have get see
tell say says give make measure state name determine calculate compute work estimate provide list show read off
out quote specify write down report find obtain print return extract quantify assess do doing does passes looking
check am per pro je has hat take takes lasts measures going sitting running come point points pointing face
facing zeigt richtung by amount amounts lie lies was wie wo wohin viel viele wieviel welche welcher welches welchen
betraegt betragen lautet nenne gib geben sag sagen miss misst messen gemessen angeben ausgeben mitteilen bestimme
bestimmen ermittle ermitteln berechne berechnen dauert liegt vor vorliegt haben waere brauche moechte haette kannst
koennen koennten gern gerne nach lange
""".split()
_AROUND = frozenset(_FILLERS) | frozenset(_ASKS)
# Adjectives ask for a number behind "how" alone: "long QT?" asks for a statement.
_HOW = re.compile(
    r"\b(?:how|wie)(?: very| (?:many|viele) \w+)? (?:long|wide|fast|high|big|broad|large|tall|deep|slow|often"
    r"|lang|hoch|breit|schnell|gross|tief)\b"
)  # fmt: skip
_RECORD = r"(?:e[ck]g|tracing|recording|strip|trace|electrocardiogram|elektrokardiogramm)"
# Words that say how, where or in which form a number is wanted.
_MANNER = re.compile(
    r"\bby (?:the )?(?:300|1500|\d+ second|(?:six|ten) second|(?:large|big|small) (?:box|square)) (?:rule|method)\b"
    r"|\b(?:12|twelve) (?:leads?|kanal)\b|\b(?:on|in|from) bed \d+\b|\brhythm (?=strip\b)"
    r"|: ?<?(?:int|integer|float|number|str)\b"
    r"|\bfor (?:the |my |his |her |our )?(?:\w+ ){0,2}(?:form|chart|report|notes|record|letter|file|log|handover)\b"
    r"|\bbefore (?:(?:i|we) )?(?:giv|start|prescrib|order|us|add|inject)(?:e|ing)? .*|[{}<>()=]"
    r"|,? \(?(?:not|rather than|instead of) (?:the )?(?:qtc?|corrected|uncorrected)(?: one| qt)?\b"
    r"|\b(?:in|during|with) (?:this|that|his|her) (?:(?:atrial|ventricular|supraventricular|sinus|narrow|broad|wide"
    r"|complex|regular|irregular) )*(?:fibrillation|flutter|tachycardia|bradycardia|arrhythmia|a?fib|af|svt|vt)\b"
    r"|\b(?:in|of|for) (?:this|that) (?:(?:young|elderly|male|female) )*(?:case|example|person|child|boy|girl|man|woman"
    r"|lady|patient|athlete)\b"
    r"|\bat this (?:time|moment|point)\b|\bhow (?:much time|many times)\b|\btime (?=(?:from|between) )"
    rf"|\b(?:arrival|resting|baseline|presenting) (?=(?:12 lead )?{_RECORD}\b)"
    r"|\b(?:resting|baseline) (?=(?:(?:heart )?rate|hr|pulse|pr|pq|qrs|qtc?)\b)"
    r"|,? ?\b(?:uncorrected|not corrected|with(?:out| no) (?:any )?(?:heart )?(?:rate )?correction)\b"
)  # fmt: skip
# With these words, a question asks for something else than a number.
_ELSEWHERE_WORDS = r"""
report describe finding findings predict forecast continue compare compared comparison difference differ both previous
earlier before since change changed why because wrong remarkable unusual normal prolonged shortened too longer shorter
wider narrower faster slower reason reasons explain risk should ischemia ischaemia rhythm quality noise limit cutoff
threshold criterion(?!\svalue) criteria definition define shape look looks warum weshalb normwert erklaere rhythmus
verlaenger\w* verkuerz\w* auffaellig confidence certain sure sicher age old sex gender mean\w*\s(?:that|if|when)
go\son goes\son (?:was|were)\s.*\sthen
(?:of|in|on|from)\s(?:the|a|my|his|her|our)\s(?:doctor|doc|dr|nurse|team|monitor|chart|form)
atrial\s(?:rate|frequency) flutter\srate sampling\srate
segment\slength reference\srange cut\soff formula\sfor which\sof one\sof
how\s(?:do|can|would|does|should)\s(?:you|i|we|one) wie\s\w+\sman how\sto
how\sis\s.*(?:calculate|measure|determine|compute|estimate|obtain|derive)d? how\smany\s(?:qrs|p|q|t|r)\b name\sof
diagnos\w* cause\w* significan\w* abnormal\w* interpret\w* conclu\w* treat\w* drug\w* medic\w* infarct\w* morpholog\w*
befund\w* vergleich\w*
""".split()
_ELSEWHERE = re.compile(rf"\b(?:{'|'.join(_ELSEWHERE_WORDS)})\b")
_REPORT_ONLY = re.compile(r"\breport(?: only)?(?= (?:the )?(?:heart rate|rate|hr|pr|pq|qrs|qt|qtc|axis|intervals?)\b)")
_RATE_AS_VERB = re.compile(r"^(?:please )?rate (?:the|this|these|that|my)\b")
# Questions about the meaning of a number in general, and not in this ECG.
_MEANING = re.compile(
    r"\bwhat is meant by|\bmeaning of|^(?:what|was) (?:is|ist) (?:an?|eine?) |\bwhat (?:does|do|can) "
    r"(?!(?:this|the|that|my|his|her) (?:e[ck]g|tracing|strip|trace|recording)\b)"
    r".*\b(?:mean|tell|represent|reflect|indicate|show|stand for)\b"
)
# Questions about the looks of P waves, which their numbers answer.
_P_WAVES = re.compile(
    r"(?:(?:please )?(?:describe|comment on|tell me about)|(?:bitte )?beschreib\w*(?: sie)?|(?:what|how) about"
    r"|was ist mit|(?:how|what) (?:do|are)|wie (?:sehen|sind)) (?:(?:the|die|den) )?p (?:waves?|wellen?)"
    r"(?: (?:look like|look|like|aus|(?:in|on|of|auf) (?:this|the|diesem|dem) (?:ecg|ekg)))*[ .?!]*$"
)
_YES_NO = re.compile(
    r"(?:^|[.?!] )(?:is|are|was(?! (?:ist|sind|betraegt|misst))|were|does|do(?! you (?:know|have))|did|has|have|had|any"
    r"|should|isn'?t|doesn'?t|ist|sind|hat|gibt es|liegt|besteht|would it|could it|may|might)\b"
)
# Sentences about the patient, which stand before or behind a question.
_CONTEXT = re.compile(
    r"(?:(?:the )?patient(?: is)?:? |this is (?:the|an) e[ck]g of |e[ck]g of |given |here is (?:the"
    r"|an) e[ck]g (?:of|from) |der patient ist |die patientin ist )"
    r"(?:an? |the |ein |eine )?[^.:?!]{0,80}?\b(?:wom[ae]n|m[ae]n|female|male|patient|person|sex|age|years?|girl|boy"
    r"|lady|gentleman|child|frau|mann|jahre?)\b"
    r"[^.:?!]{0,40}[.:,]?\s*"
)
# A sentence, or what stands before a comma, that tells something: it has a verb that tells, or begins as notes do.
_TELLS = re.compile(
    r"(?:i|we|he|she|they|it|this|that|the|my|his|her|our|pt|pts|patient|bed|room|mr|mrs|ich|wir|er|sie|mein\w*|der|die)\b"
    r".*(?:\b(?:is|are|am|was|were|has|had|feels?|felt|takes?|took|said|says|gets?|got|starts?|started|came|comes"
    r"|complains?|complained|collapsed|fainted|presents?|presented|always|never|bin|ist|war|habe|nimmt|nehme"
    r"|klagt|klagte)\b|'(?:re|m|ve) )"
    r"|(?:known|post|status|history|hx|h/o|c/o|s/p|with|on(?! (?:admission|arrival|discharge|presentation|exertion"
    r"|exercise|effort)\b)|starting|having|considering|trying|checking|planning"
    r"|new|male|female|chest pain|syncope|palpitations|\d+ ?(?:yo|y/o|years?|[mfw]))\b"
)  # fmt: skip
# "Last" as an adjective means another time.
_LAST_AS_VERB = re.compile(r"\bdo(?:es)?\b(.*)\blast\b(?= ?(?:[?.!,;]|$)| (?:in|on|for|here|please)\b)")
_WORD = re.compile(r"/?[a-z][a-z0-9'.°/]*|\d[\w./]*")
_LEAD_ONE = re.compile(r"\b(?:leads?|ableitung|in|of) i\b")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|(?<=,)\s+")
_VOCABULARY = sorted(
    """
    interval duration milliseconds degrees frequency ventricular corrected electrical cardiac measure bazett fridericia
    framingham sokolow cornell voltage amplitude variability herzfrequenz lagetyp breite dauer intervals measurement
    measurements please minute complex calculate determine breit dauert heart width beats pulse estimate limb chest
    precordial axis rate
    """.split()
)


def asked_numbers(question: str) -> tuple[str, ...]:
    """Returns the names of the numbers that a question asks for, as attributes of `Measurements`: "pr", "heart_rate",
    and for single leads "st:V2", "r:V5", "s:V1"; "rr" is the mean RR interval, and "ectopic" the number of ectopic
    beats. It returns () for a question that asks for anything else, or for more than numbers of this ECG: for those of
    another time, of a part of the recording, or of another person.

    Args:
        question: A question in English or German; a sentence about the patient may stand before or behind it.
    """
    if len(question) > LONGEST:
        return ()
    text = _without_context(mended(without_patient(normalize(question)), _VOCABULARY))
    if _P_WAVES.match(text):
        return ("p_share", "pr", "p_axis")
    if _MEANING.search(text) or _RATE_AS_VERB.search(text) or _YES_NO.search(text):
        return ()
    text = _MANNER.sub(" ", _LAST_AS_VERB.sub(r"\1", _REPORT_ONLY.sub("give", text)))
    before_colon, colon, _ = text.rstrip(": ?").partition(":")
    if _ELSEWHERE.search(text) or (colon and _mentioned(before_colon)[0]):
        return ()
    names, rest = _mentioned(text)
    left = [word.rstrip(".'") for word in _WORD.findall(_HOW.sub(" ", rest))]
    return names if all(word in _AROUND for word in left) and not _LEAD_ONE.search(rest) else ()


def normalize(text: str) -> str:
    """Returns a text in lower case, with umlauts written out, dashes as blanks, and single blanks between words."""
    text = text.lower().translate(str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "’": "'", "‘": "'"}))
    text = re.sub(r"(?<=[a-z0-9])(?:'s(?![a-z])|\s*[-‐-―_]\s*(?=[a-z0-9]))", " ", text)
    return re.sub(r"\s+", " ", re.sub(r"[*`\"“”]", "", text)).strip()


def without_patient(text: str) -> str:
    """Returns a text, as `normalize` leaves it, without the sentences that say who the patient is."""
    return _CONTEXT.sub(" ", text).strip()


def mended(text: str, vocabulary: Sequence[str]) -> str:
    """Returns a text in which words of five letters and more that are nearly a word of a vocabulary are that word.

    Args:
        text: A text as `normalize` leaves it.
        vocabulary: Words that are right. A word that is near to two of them, or begins with another letter, stays.
    """

    def mend(match: re.Match[str]) -> str:
        word = match.group()
        if word in vocabulary or len(word) < 5:
            return word
        near = get_close_matches(word, vocabulary, 2, 0.86)
        certain = len(near) == 1 or (len(near) == 2 and sorted(near)[1] == sorted(near)[0] + "s")
        return near[0] if certain and near[0][0] == word[0] and abs(len(near[0]) - len(word)) <= 1 else word

    return re.sub(r"[a-z]+", mend, text)


def _without_context(text: str) -> str:
    """Returns the text without sentences, or first clauses, that only tell something and mention no number."""
    sentences = [each for each in _SENTENCE.split(text) if each]
    telling = [not each.endswith("?") and bool(_TELLS.match(each)) and not _mentioned(each)[0] for each in sentences]
    return text if all(telling) else " ".join(each for each, tells in zip(sentences, telling) if not tells)


def _mentioned(text: str) -> tuple[tuple[str, ...], str]:
    """Returns the names of all numbers that a text mentions, and the rest of the text."""
    names: list[str] = []
    rest = _mentions().sub(lambda match: _note(match, names), text)
    formulas = [name for name in names if name.startswith("by:")]
    names = [name for name in names if name not in formulas]
    if formulas:  # "QT by Bazett" means the corrected one, but "QT and QTc by Bazett" means both
        names = ["qtc" if name == "qt" and "qtc" not in names else name for name in names]
    corrected = [f"qtc_{name.removeprefix('by:')}" for name in formulas] or [USUAL_QTC]
    named = [each for name in names for each in (corrected if name == "qtc" else [name])]
    return tuple(dict.fromkeys(named)), rest


@lru_cache(maxsize=1)
def _mentions() -> re.Pattern[str]:
    """Makes one pattern for all that may be asked for; the name of the group that matches tells which number it is."""
    parts = [f"(?P<group{k}>{words})" for k, words in enumerate(GROUPS)]
    parts += [f"(?P<{name}_sum>{r}{_PLUS}{s}|{s}{_PLUS}{r})" for name, (r, s) in SUMS.items()]
    for name, words in OF_LEADS.items():
        behind, before = _leads(f"{name}_leads1"), _leads(f"{name}_leads2")
        where = r"(?:(?: (?:is|are) (?:there|seen))?(?: (?:in|of|at|for|auf|von)|,)? (?:the )?)"
        parts.append(f"(?P<{name}_of>{words}{where}{behind}|{before} {words})")
    parts += [f"(?P<{name}>{'|'.join(words)})" for name, words in QUANTITIES.items()]
    return re.compile(rf"(?<![a-z0-9])(?:{'|'.join([*parts, _FORMULA])})(?![a-z0-9])")


def _leads(group: str) -> str:
    """Returns the words for one lead or several, which stand in a group of this name."""
    word, between = "(?:leads? |ableitung(?:en)? )?", "(?:,? ?(?:and|und|&)|,|/) ?(?:in )?"
    no_pronoun = r"(?!i (?!and\b|und\b)[a-z])"  # "V5, and I need" does not go on with lead I
    return f"{word}(?P<{group}>{_LEAD}(?:{between}{word}{no_pronoun}{_LEAD})*)"


def _note(match: re.Match[str], names: list[str]) -> str:
    """Notes the names of a mention, and returns the text that takes its place in the rest of the question."""
    found = {name: value for name, value in match.groupdict().items() if value is not None}
    leads = next((value for name, value in found.items() if "_leads" in name), None)
    name = next(name for name in found if "_leads" not in name)
    if name.startswith("group"):
        names.extend(list(GROUPS.values())[int(name.removeprefix("group"))])
    elif name == "formula":
        names.append(f"by:{found[name]}")
    elif leads:
        by_name = {lead.lower(): lead for lead in LEADS}
        asked = re.findall(rf"(?<![a-z0-9]){_LEAD}", leads)
        names.extend(f"{name.removesuffix('_of')}:{by_name[lead]}" for lead in asked)
    else:
        names.append(name.removesuffix("_sum"))
    return " , "


# Name of a number -> the subject and the unit of the sentence that tells it.
_SENTENCES: dict[str, tuple[str, str]] = {
    "heart_rate": ("The heart rate", "beats/min"),
    "slowest": ("The slowest rate", "beats/min"),
    "fastest": ("The fastest rate", "beats/min"),
    "rr": ("The mean RR interval", "ms"),
    "pr": ("The PR interval", "ms"),
    "qrs": ("The QRS duration", "ms"),
    "qt": ("The QT interval", "ms"),
    "qtc_bazett": ("The QTc interval by Bazett", "ms"),
    "qtc_fridericia": ("The QTc interval by Fridericia", "ms"),
    "qtc_framingham": ("The QTc interval by Framingham", "ms"),
    "p_axis": ("The P axis", "degrees"),
    "qrs_axis": ("The QRS axis", "degrees"),
    "t_axis": ("The T axis", "degrees"),
    "sokolow_lyon": ("The Sokolow-Lyon voltage", "mV"),
    "cornell": ("The Cornell voltage", "mV"),
    "limb_voltage": ("The largest QRS of the limb leads", "mV"),
    "chest_voltage": ("The largest QRS of the chest leads", "mV"),
    "sdnn": ("The standard deviation of the RR intervals", "ms"),
    "rmssd": ("RMSSD", "ms"),
    "p_share": ("The share of beats with a P wave", "%"),
    "ectopic": ("The number of ectopic beats", ""),
    "pacing_spikes": ("The number of pacing spikes", ""),
    "st": ("The ST level", "mV"),
    "st_slope": ("The ST slope", "mV/s"),
    "r": ("The R wave", "mV"),
    "s": ("The S wave", "mV"),
}


def answer_numbers(names: tuple[str, ...], measured: Mapping[str, object]) -> str:
    """Returns one sentence for each number with its unit, or why it could not be measured.

    Args:
        names: Names as `asked_numbers` returns them; also "qtc" without a formula, and "st", "r" and "s" of all leads.
        measured: Measurements as plain values, as `measuring_heartcare.as_plain` returns them.
    """
    whole = {"qtc": (USUAL_QTC,), **{name: tuple(f"{name}:{lead}" for lead in LEADS) for name in ("st", "r", "s")}}
    return " ".join(_sentence(each, measured) for name in names for each in whole.get(name, (name,)))


def _sentence(name: str, measured: Mapping[str, object]) -> str:
    quantity, _, lead = name.partition(":")
    subject, unit = _SENTENCES[quantity]
    subject += f" of {lead}" if lead else ""
    value = _value(quantity, lead, measured)
    if value is None:
        source = "heart_rate" if quantity in ("rr", "ectopic") else quantity
        absent = f"lead {lead} was not recorded, or no beat is seen" if lead else "it was not recorded"
        return f"{subject} cannot be measured: {measured['reasons'].get(source, absent)}."
    shown = f"{round(value, 2) + 0.0:.2f}" if unit.startswith("mV") else f"{round(value)}"
    axis = f" ({words_of_axis(value)})" if quantity == "qrs_axis" else ""
    return f"{subject} is {' '.join([shown, unit]).strip()}{axis}."


def _value(quantity: str, lead: str, measured: Mapping[str, object]) -> float | None:
    if lead:
        return measured[quantity].get(lead)
    if quantity == "rr":
        return measured["heart_rate"] and 60_000 / measured["heart_rate"]
    if quantity == "ectopic":
        return None if measured["heart_rate"] is None else len(measured["ectopic"])
    if quantity == "pacing_spikes":
        return None if measured[quantity] is None else len(measured[quantity])
    value = measured[quantity]
    return 100 * value if quantity == "p_share" and value is not None else value


def words_of_axis(degrees: float) -> str:
    """Returns the words of a QRS axis in degrees, rounded as it is shown: -30 to 90 is normal in adults, and beyond -90
    and 180 it is extreme (AHA/ACCF/HRS recommendations, 2009).
    """
    degrees = round(degrees)
    if -30 <= degrees <= 90:
        return "a normal axis"
    if -90 <= degrees < -30:
        return "left axis deviation"
    return "right axis deviation" if degrees > 90 else "extreme axis deviation"


__all__ = ["answer_numbers", "asked_numbers", "mended", "normalize", "without_patient", "words_of_axis"]
