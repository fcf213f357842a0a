# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""What a question asks for: a measured number, in any wording, or whether one statement is true.

    question --normalize, mend typing errors--> words --tables of this module--> names of numbers, or the code of a
    statement

Everything else is left to the language model: a question is understood as a whole here, or not at all.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache

from .configuration_heartcare import LEADS
from .measuring_heartcare import MEASURED

LONGEST = 1000  # characters of a question; a longer text asks for more than one number

_LEAD = r"(?:lead )?(?P<lead>avr|avl|avf|v[1-6]|i{1,3})"
_WAVE = r"(?:wave|peak|amplitude|voltage|height|depth|size|spike)s?"

# Words of each number, the longer ones first where one begins with the other. Hyphens are blanks by then.
QUANTITIES: dict[str, str] = {
    "p_axis": r"(?:p(?: wave)? axis|axis of (?:the )?p(?: waves?)?|p (?:achse|vektor))",
    "t_axis": r"(?:t(?: wave)? axis|axis of (?:the )?t(?: waves?)?|t (?:achse|vektor))",
    "qrs_axis": r"(?:axis of (?:the )?(?:qrs|heart|ventricles)(?: complex(?:es)?)?|(?:(?:mean|frontal|plane|qrs|r"
    r"|electrical"
    r"|cardiac|heart|ventricular|main) )*axis(?: of the heart)?|(?:elektrische |mittlere )?(?:herz ?achse|achse)"
    r"|lagetyp|(?:qrs )?ve[kc]tor)",
    "qtc_bazett": r"(?:qtc?b|(?:qtc|qt c|corrected qt)(?: interval)?,? (?:\(?(?:by|after|according to|using|with|nach"
    r"|from|in) )?(?:the )?\(?bazett(?:'?s)?\)?(?: formula| method| correction)?|bazett(?:'?s)?(?: corrected)? qtc?)",
    "qtc_fridericia": r"(?:qtc?f|(?:qtc|qt c|corrected qt)(?: interval)?,? (?:\(?(?:by|after|according to|using"
    r"|with|nach"
    r"|from|in) )?(?:the )?\(?fridericia(?:'?s)?\)?(?: formula| method| correction)?"
    r"|fridericia(?:'?s)?(?: corrected)? qtc?)",
    "qtc_framingham": r"(?:(?:qtc|qt c|corrected qt)(?: interval)?,? (?:\(?(?:by|after|according to|using|with|nach"
    r"|from|in) )?(?:the )?\(?framingham\)?(?: formula| method| correction)?|framingham(?: corrected)? qtc?)",
    "qtc": r"(?:(?:frequency|rate|heart rate) corrected qt|qt corrected(?: for (?:the )?(?:heart )?rate)?"
    r"|corrected qtc?"
    r"|qt ?c|frequenzkorrigierte[ns]? qt)(?: (?:interval|duration|time|zeit|dauer|value))*",
    "qt": r"(?:qt(?: interval| duration| time| zeit| dauer| strecke| distance)*|(?:duration|length) of (?:the )?qt"
    r"(?: interval)?|(?:duration|length) of ventricular repolari[sz]ation|ventricular repolari[sz]ation time)",
    "pr": r"(?:(?:pr|pq|p r|p q)(?: interval| duration| time| zeit| dauer| length| strecke| distance| intervall)*"
    r"(?! segment)|(?:atrioventricular|av|a v) conduction(?: interval| time| duration)?|ueberleitungszeit"
    r"|av (?:zeit|ueberleitung))",
    "qrs": r"(?:qrs(?: complex(?:es)?| komplex)?(?! (?:voltage|amplitude|height|morphology|axis))"
    r"(?: interval| duration| time| width| breadth| zeit| dauer| breite| length)*|(?:width|duration"
    r"|length) of (?:the )?"
    r"(?:ventricular )?complex(?:es)?|ventricular (?:activation|depolari[sz]ation) (?:time|duration)"
    r"|(?:duration|time) of ventricular depolari[sz]ation"
    r"|kammerkomplex(?:es)?)",
    "slowest": r"(?:slowest|lowest|minimum|minimal|min) (?:heart |ventricular )?(?:rate|frequency|hr|pulse)",
    "fastest": r"(?:fastest|highest|maximum|maximal|max) (?:heart |ventricular )?(?:rate|frequency|hr|pulse)",
    "rr": r"(?:r ?r|rr)(?: (?:interval|distance|abstand|cycle|time)s?)+|(?:mean |average )?(?:cycle length|rr)",
    "sdnn": r"(?:sdnn|heart rate variability|rate variability|rr variability|hrv|herzfrequenzvariabilitaet)",
    "rmssd": r"rmssd",
    "heart_rate": r"(?:(?:(?:ventricular|heart|cardiac|sinus|pulse|mean|average|resting|current|exact) )*"
    r"(?<!atrial )(?<!sampling )(?<!p wave )(?:rate|hr|heartrate)|bpm(?! range)"
    r"|beats? (?:per|a|each|every|/|in one|in a|in 1) ?min(?:ute|s)?|heart ?beats?"
    r"(?: (?:per|a|in a|each) minute)?|pulse|(?:heart |ventricular )frequency|frequency of the heart|herz ?frequenz"
    r"|kammerfrequenz|frequenz|puls(?:schlag|frequenz)?|herzschlaege?(?: pro minute)?|schlaege pro minute"
    r"|how (?:fast|quick|quickly|often) (?:is|does|are) (?:the|his|her|this|my|it)? ?(?:patients? )?(?:heart|pulse"
    r"|ventricles?|it)?"
    r" ?(?:beat(?:ing)?|going|contracting|contract|run(?:ning)?)?|(?:wie )?schnell schlaegt das herz)",
    "sokolow_lyon": r"(?:sokolow(?: ?lyon)?(?: (?:index|voltage|criterion|sum|product|value))*|s ?v1 ?(?:\+|plus|and)"
    r" ?r ?v[56](?: or v6)?|s in v1 (?:\+|plus|and) r in v[56](?: or v6)?|r ?v[56] ?(?:\+|plus|and) ?s ?v1)",
    "cornell": r"(?:cornell(?: (?:index|voltage|criterion|sum|value))*|r ?avl ?(?:\+|plus|and) ?s ?v3)",
    "limb_voltage": r"(?:limb(?: leads?)? (?:qrs )?(?:voltage|amplitude)s?|(?:qrs )?(?:voltage|amplitude)s? (?:in"
    r"|of) (?:the )?"
    r"limb leads?)",
    "chest_voltage": r"(?:(?:chest|precordial)(?: leads?)? (?:qrs )?(?:voltage|amplitude)s?|(?:qrs )?(?:voltage"
    r"|amplitude)s? (?:in|of) "
    r"(?:the )?(?:chest|precordial) leads?)",
    "p_share": r"(?:share|percentage|proportion|fraction) of (?:the )?(?:beats|qrs complexes) (?:with"
    r"|that have) (?:a )?p waves?",
    "ectopic": r"(?:how many|(?:the )?(?:number|count) of|wie viele) (?:(?:ectopic|premature|extra) (?:beats"
    r"|systoles|complexes)"
    r"|extrasystoles|extrasystolen|ectopics)",
}
# Numbers of single leads, asked for with the lead behind or before them.
OF_LEADS: dict[str, str] = {
    "st": r"(?:st(?: segment)?(?: (?:elevation|depression|level|deviation|shift|hebung|senkung|strecke|amplitude"
    r"|j point))*"
    r"|j point(?: level)?)",
    "r": rf"r(?: {_WAVE})+",
    "s": rf"s(?: {_WAVE})+",
}
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
    r"|measured values"
    r"|messwerte|parameters|vitals)": tuple(MEASURED),
    r"(?:rate|heart rate|hr|pulse) range|range of (?:the )?(?:heart )?rates?": ("slowest", "fastest"),
}
# Words around a number that are polite, or say what anyhow is meant.
_FILLERS = """
please pls plz bitte kindly hi hello hey doctor doc thanks danke exactly roughly about approximately ungefaehr
quick quickly question just only so and und the a an of for from in into on at this that these here there my your
his her its their patient patients patient's ecg ekg e.c.g. tracing strip recording trace electrocardiogram
elektrokardiogramm page heart ventricle ventricles value values number figure reading measurement duration length
width size angle raw uncorrected ms msec milliseconds millisecond millisekunden second seconds minute bpm /min mv
millivolt millivolts degree degrees grad beats/min interval intervals time times complex wave waves current mean
average exact actual measured estimated computed calculated frontal overall index das der die des dem den ein eine
im bei diesem dieses dieser von vom wert now today also then right ok okay well lead leads me us i we you to is are
it be gibt gibts ist sind wie nach es man dir mir ich sie du one get see
""".split()
# Words that ask for a number.
_ASKS = """
what what's whats which how where long wide fast many much high big broad large tall deep slow often quick quickly
can could would will able need want like i'd know let have tell give measure state name determine calculate compute
estimate provide list show read off out quote specify write down report find get print return extract quantify
assess do direction point points pointing does has take takes last lasts measures going was sind betraegt lang
lange hoch breit schnell viele viel gross lautet nenne gib geben miss messen bestimme berechne dauert liegt welche
welcher welches hat waere sag brauche moechte haette gern gerne
""".split()
_AROUND = frozenset(_FILLERS) | frozenset(_ASKS)
# With these words, a question asks for something else than a number.
_ELSEWHERE_WORDS = r"""
report describe finding findings predict forecast continue compare compared comparison difference differ both
previous earlier before since change changed why because wrong remarkable unusual normal prolonged shortened too
longer shorter wider narrower faster slower reason reasons explain risk should ischemia ischaemia rhythm quality
noise limit cutoff threshold definition define shape look looks warum weshalb normwert erklaere rhythmus
verlaengert verkuerzt auffaellig confidence certain sure sicher age old sex gender mean\w*\s(?:that|if|when) go\son
goes\son (?:first|second|other|last)\secg atrial\s(?:rate|frequency) flutter\srate sampling\srate segment\slength
reference\srange cut\soff formula\sfor which\sof one\sof how\s(?:do|can|would)\s(?:you|i|we) how\sto how\sis
name\sof diagnos\w* cause\w* significan\w* abnormal\w* interpret\w* conclu\w* treat\w* drug\w* medic\w* infarct\w*
morpholog\w* befund\w* vergleich\w*
""".split()
_ELSEWHERE = re.compile(rf"\b(?:{'|'.join(_ELSEWHERE_WORDS)})\b")
_REPORT_ONLY = re.compile(r"\breport(?: only)?(?= (?:the )?(?:heart rate|rate|hr|pr|pq|qrs|qt|qtc|axis|intervals?)\b)")
_RATE_AS_VERB = re.compile(r"^(?:please )?rate (?:the|this|these|that|my)\b")
_MEAN_VALUE = re.compile(r"\b(?:what is meant by|what does .* mean|meaning of)\b")
_YES_NO = re.compile(
    r"^(?:is|are|was(?! (?:ist|sind|betraegt))|were|does|do(?! you (?:know|have))|did|has|have|had|any|should"
    r"|isn'?t|doesn'?t|ist|sind|hat"
    r"|gibt es|liegt|besteht|would it|could it|may|might)\b"
)
# Sentences about the patient, which stand before or behind a question.
_CONTEXT = re.compile(
    r"(?:(?:the )?patient(?: is)?:? |this is (?:the|an) e[ck]g of |e[ck]g of |given |here is (?:the"
    r"|an) e[ck]g (?:of|from) |der patient ist |die patientin ist )"
    r"(?:an? |the |ein |eine )?[^.:?!]{0,80}?\b(?:wom[ae]n|m[ae]n|female|male|patient|person|sex|age|years?|girl|boy"
    r"|lady|gentleman|child|frau|mann|jahre?)\b"
    r"[^.:?!]{0,40}[.:,]?\s*"
)
_VOCABULARY = sorted(
    {
        *(
            "interval",
            "duration",
            "milliseconds",
            "degrees",
            "frequency",
            "ventricular",
            "corrected",
            "electrical",
            "cardiac",
        ),
        *("measure", "bazett", "fridericia", "framingham", "sokolow", "cornell", "voltage", "amplitude", "variability"),
        *(
            "herzfrequenz",
            "lagetyp",
            "breite",
            "dauer",
            "intervals",
            "measurement",
            "measurements",
            "please",
            "minute",
            "complex",
            "calculate",
        ),
        *(
            "determine",
            "breit",
            "dauert",
            "heart",
            "width",
            "beats",
            "pulse",
            "estimate",
            "limb",
            "chest",
            "precordial",
            "axis",
            "rate",
        ),
    }
)


def normalize(text: str) -> str:
    """Returns a text in lower case, with umlauts written out, dashes as blanks, and single blanks between words."""
    text = text.lower().translate(str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "’": "'", "‘": "'"}))
    text = re.sub(r"(?<=[a-z0-9])(?:'s(?![a-z])|\s*[-‐-―_]\s*(?=[a-z0-9]))", " ", text)
    return re.sub(r"\s+", " ", re.sub(r"[*`\"“”]", "", text)).strip()


def _mended(text: str) -> str:
    """The text with words of five letters and more that are nearly words of numbers written as those."""

    def mend(match: re.Match[str]) -> str:
        word = match.group()
        if word in _VOCABULARY or len(word) < 5:
            return word
        near = get_close_matches(word, _VOCABULARY, 1, 0.86)
        return near[0] if near and abs(len(near[0]) - len(word)) <= 1 else word

    return re.sub(r"[a-z]+", mend, text)


@lru_cache(maxsize=1)
def _mentions() -> re.Pattern[str]:
    """One pattern for all that may be asked for; the name of its group tells what."""
    parts = [f"(?P<group{k}>{words})" for k, words in enumerate(GROUPS)]
    of_leads = {
        name: rf"(?:{words}(?: (?:is|are) (?:there|seen))?(?: (?:in|of|at|for|auf|von))? (?:the )?{_lead(name, 1)}"
        rf"|{_lead(name, 2)} {words})"
        for name, words in OF_LEADS.items()
    }
    parts += [f"(?P<{name}_of>{words})" for name, words in of_leads.items()]
    parts += [f"(?P<{name}>{words})" for name, words in QUANTITIES.items()]
    return re.compile(rf"(?<![a-z0-9])(?:{'|'.join(parts)})(?![a-z0-9])")


def _lead(name: str, place: int) -> str:
    return _LEAD.replace("?P<lead>", f"?P<{name}_lead{place}>")


def asked_numbers(question: str) -> tuple[str, ...]:
    """Returns the names of the numbers that a question asks for, as attributes of `Measurements`: "pr", "heart_rate",
    and for single leads "st:V2", "r:V5", "s:V1"; "rr" is the mean RR interval, and "ectopic" the number of ectopic
    beats. It returns () for a question that asks for anything else, or for more than numbers.

    Args:
        question: A question in English or German; a sentence about the patient may stand before or behind it.
    """
    if len(question) > LONGEST:
        return ()
    text = _mended(_CONTEXT.sub(" ", normalize(question)).strip())
    if _MEAN_VALUE.search(text) or _RATE_AS_VERB.search(text) or _YES_NO.search(text):
        return ()
    if _ELSEWHERE.search(_REPORT_ONLY.sub("give", text)) or "?" in text.rstrip("? ") or ":" in text.rstrip(": ?"):
        return ()
    names: list[str] = []
    rest = _mentions().sub(lambda match: _note(match, names), _REPORT_ONLY.sub("give", text))
    if not names:
        return ()
    left = re.findall(r"[a-z/][a-z'.°/]+|\d{3,}", rest)
    return tuple(dict.fromkeys(names)) if all(word.rstrip(".'") in _AROUND for word in left) else ()


def _note(match: re.Match[str], names: list[str]) -> str:
    """Notes the names of a mention, and returns what stands for it in the rest of the question."""
    found = {name: value for name, value in match.groupdict().items() if value is not None}
    lead = next((value for name, value in found.items() if "_lead" in name), None)
    name = next(name for name in found if "_lead" not in name)
    if name.startswith("group"):
        group = list(GROUPS.values())[int(name.removeprefix("group"))]
        names.extend("qtc_fridericia" if each == "qtc" else each for each in group)
    elif lead:
        standard = next(each for each in LEADS if each.lower() == lead)
        names.append(f"{name.removesuffix('_of')}:{standard}")
    else:
        names.extend({"qtc": ["qtc_fridericia"], "sdnn": ["sdnn"]}.get(name, [name]))
    return " , "


# Words that mean a statement, beside those of the model's configuration; a dash is a blank.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "NORM": ("normal", "normal ecg", "ecg normal", "ok", "fine", "healthy", "all right", "unremarkable",
        "within normal limits", "normales ekg",
             "everything ok", "everything normal", "everything all right"),
    "super:MI": ("mi", "infarction", "infarct", "heart attack", "myocardial infarct", "herzinfarkt", "infarkt",
        "myokardinfarkt"),
    "super:STTC": ("st t changes", "st or t changes", "st t abnormality", "st t wave changes",
        "repolarization abnormality", "repolarisation abnormality"),
    "super:CD": ("conduction disorder", "conduction abnormality", "conduction defect", "erregungsleitungsstoerung"),
    "super:HYP": ("hypertrophie",),
    "SR": ("normal sinus rhythm", "nsr", "sinusrhythmus", "sinus"),
    "AFIB": ("af", "afib", "a fib", "atrial fib", "auricular fibrillation", "vorhofflimmern", "vhf"),
    "STACH": ("sinus tach",),
    "SBRAD": ("sinus brady",),
    "SARRH": ("sinusarrhythmie",),
    "PACE": ("paced", "pacemaker", "paced rhythm", "pacemaker rhythm", "pacing", "artificial pacemaker",
        "schrittmacher", "schrittmacherrhythmus"),
    "BIGU": ("bigeminus",),
    "AFLT": ("aflutter", "a flutter", "flutter", "vorhofflattern"),
    "SVTAC": ("svt",),
    "PSVT": ("paroxysmal svt",),
    "TRIGU": ("trigeminus",),
    "PVC": ("pvc", "pvcs", "vpc", "vpcs", "ves", "ventricular ectopics", "ventricular ectopy",
        "ventricular extrasystoles", "ventricular extrasystole",
            "premature ventricular contractions", "premature ventricular contraction",
            "premature ventricular complexes", "premature ventricular complex",
            "premature ventricular beats", "ventricular premature beats", "ventricular premature complex",
            "ventrikulaere extrasystolen"),
    "STD_": ("st depression", "st segment depression", "st depressions", "st senkung", "st senkungen"),
    "VCLVH": ("voltage criteria for lvh", "lvh voltage criteria", "lvh by voltage"),
    "QWAVE": ("q waves", "q wave"),
    "LOWT": ("low t waves", "flat t waves", "t wave flattening", "flattened t waves"),
    "NT_": ("nonspecific t wave changes",),
    "PAC": ("pac", "pacs", "apc", "apcs", "sves", "premature atrial contractions", "premature atrial contraction",
        "premature atrial complexes",
            "premature atrial complex", "premature atrial beats", "atrial premature beats",
            "atrial premature complex", "atrial ectopics", "atrial ectopy",
            "supraventricular extrasystoles", "supraventrikulaere extrasystolen"),
    "LPR": ("prolonged pr", "pr prolongation", "long pr", "long pr interval"),
    "INVT": ("t wave inversion", "t wave inversions", "inverted t wave", "t inversion", "t inversions",
        "negative t waves", "t negativierung", "twi"),
    "LVOLT": ("low voltage", "low voltages", "low qrs voltage", "niedervoltage"),
    "HVOLT": ("high voltage", "high qrs voltages"),
    "STE_": ("st elevations", "st segment elevation", "ste", "st hebung", "st hebungen"),
    "NST_": ("nonspecific st changes",),
    "DIG": ("digoxin effect", "dig effect"),
    "LNGQT": ("long qt", "long qtc", "prolonged qt", "prolonged qtc", "prolonged qt interval",
        "prolonged qtc interval", "qt prolongation", "qtc prolongation",
              "long qt syndrome", "qt verlaengerung"),
    "IMI": ("inferior mi", "inferior infarct", "inferior infarction", "hinterwandinfarkt"),
    "ASMI": ("anteroseptal mi", "anteroseptal infarct", "anteroseptal infarction"),
    "AMI": ("anterior mi", "anterior infarct", "anterior infarction", "vorderwandinfarkt"),
    "LMI": ("lateral mi", "lateral infarct", "lateral infarction"),
    "ILMI": ("inferolateral mi", "inferolateral infarct", "inferolateral infarction"),
    "ALMI": ("anterolateral mi", "anterolateral infarct", "anterolateral infarction"),
    "PMI": ("posterior mi", "posterior infarct", "posterior infarction"),
    "LVH": ("lvh", "left ventricular hypertrophie", "linksherzhypertrophie", "left heart hypertrophy"),
    "RVH": ("rvh", "rechtsherzhypertrophie", "right heart hypertrophy"),
    "LAFB": ("lafb", "lahb", "left anterior hemiblock", "left anterior fascicular hemiblock",
        "linksanteriorer hemiblock"),
    "LPFB": ("lpfb", "lphb", "left posterior hemiblock"),
    "IRBBB": ("irbbb", "incomplete rbbb", "inkompletter rechtsschenkelblock"),
    "ILBBB": ("ilbbb", "incomplete lbbb", "inkompletter linksschenkelblock"),
    "CRBBB": ("rbbb", "crbbb", "complete rbbb", "right bundle branch block", "rechtsschenkelblock",
        "kompletter rechtsschenkelblock"),
    "CLBBB": ("lbbb", "clbbb", "complete lbbb", "left bundle branch block", "linksschenkelblock",
        "kompletter linksschenkelblock"),
    "IVCD": ("ivcd", "intraventricular conduction delay", "nonspecific intraventricular conduction delay"),
    "1AVB": ("1st degree av block", "first degree atrioventricular block", "1st degree atrioventricular block",
        "av block i", "av block 1", "avb 1", "1avb",
             "first degree heart block", "1st degree heart block", "av block 1. grades", "av block grad 1",
             "av block ersten grades"),
    "2AVB": ("2nd degree av block", "second degree atrioventricular block", "second degree heart block",
        "av block ii", "2avb"),
    "3AVB": ("3rd degree av block", "third degree atrioventricular block", "third degree heart block",
        "complete heart block", "complete av block", "chb",
             "av block iii", "3avb", "totaler av block"),
    "ISC_": ("ischemia", "ischaemia", "myocardial ischemia", "myocardial ischaemia", "ischaemie",
        "nonspecific ischemia"),
    "LAO/LAE": ("lae", "left atrial dilatation", "left atrial overload", "p mitrale"),
    "RAO/RAE": ("rae", "right atrial dilatation", "right atrial overload", "p pulmonale"),
    "WPW": ("wpw", "wpw syndrome", "wolff parkinson white", "preexcitation", "pre excitation", "delta wave",
        "delta waves"),
}  # fmt: skip
_SUBJECT = (
    r"(?:this|the|my|his|her|that)? ?(?:e[ck]g|tracing|recording|strip|trace|patient|heart|record|rhythm"
    r"|electrocardiogram|elektrokardiogramm|picture|he|she|it|this|there|everything|all|alles)"
)
_SIGNS = (
    r"(?:(?:any|some|the|an?|clear|possible|eine?n?) )*(?:(?:signs?|evidence|indications?|suggestion|hints?"
    r"|criteria|features|anzeichen|zeichen|hinweise?) (?:of|for|von|fuer|auf) )?(?:(?:any|an?|eine?n?) )?"
)
_HERE = (
    r"(?:,? (?:present|visible|seen|evident|there|here|yes or no|or not|to you|likely|zu sehen|vor|erkennbar"
    r"|(?:on|in|at) (?:this|the|that|my|his|her) (?:e[ck]g|tracing|recording|strip|trace|record|patient)"
    r"|auf diesem ekg|hier|today|now|please))*"
)
# A yes/no question about one finding, which stands in the group.
_FRAMES = [
    re.compile(rf"^{frame}{_SIGNS}(?P<finding>.+?)(?: be (?:seen|found|detected))?{_HERE}[ ?.!]*$")
    for frame in (
        r"(?:is|are) there ",
        rf"(?:does|do|did) {_SUBJECT} (?:show|have|has|reveal|demonstrate|display|suggest|indicate|exhibit|contain"
        rf"|look|look like|meet) (?:like )?",
        rf"has {_SUBJECT} (?:got )?",
        r"(?:do|can|could|would) you (?:see|find|detect|recogni[sz]e|spot|identify|notice|confirm|call (?:this|it)"
        r"|say (?:this|it) is) ",
        rf"(?:is|are|could|might|would|can) {_SUBJECT} (?:(?:be|show|showing|in|consistent with|compatible with"
        rf"|suggestive of) )?",
        r"(?:is|are|can|could) (?=.* (?:present|visible|seen|found|detected|evident|there|yes or no)\b)",
        r"(?:any|check for|look for|screen for|confirm|detect) ",
        r"(?:gibt es|besteht|ist|sind|sieht man|siehst du|sehen sie|liegt|liegen) (?:(?:das ekg|das|dies|hier) )?",
        r"(?:zeigt|hat) (?:das ekg|dieses ekg|der patient|die patientin|er|sie) ",
    )
]


def asked_statement(question: str, wordings: Mapping[str, str]) -> str | None:
    """Returns the code of the one statement that a question asks to confirm: a yes/no question, or its words with a
    question mark. It returns None for every other question, such as one about two statements, or one with a negation.

    Args:
        question: A question in English or German; a sentence about the patient may stand before or behind it.
        wordings: Code -> words of each statement that may be asked for, as `HeartcareConfig.wordings` has them.
    """
    if len(question) > LONGEST:
        return None
    text = _CONTEXT.sub(" ", normalize(question)).strip(" .")
    by_words = _by_words(tuple(wordings.items()))
    if text.endswith("?") and (code := by_words.get(text.rstrip(" ?"))):
        return code
    for frame in _FRAMES:
        if match := frame.match(text):
            finding = re.sub(r"^(?:an?|the|any|eine?n?|ein) ", "", match["finding"])
            if code := by_words.get(finding):
                return code
    return None


def statement_of(words: str, wordings: Mapping[str, str]) -> str | None:
    """Returns the code of the statement that these words mean, and None where they mean none, or more than one."""
    return _by_words(tuple(wordings.items())).get(normalize(words).rstrip("."))


@lru_cache(maxsize=8)
def _by_words(wordings: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """Words without an article, as `normalize` leaves them -> code of the statement."""
    table: dict[str, str] = {}
    for code, words in wordings:
        own = normalize(words)
        # Where a superclass and a statement have the same words, the statement is meant.
        for each in (own, re.sub(r"^(?:an?|the) ", "", own), *SYNONYMS.get(code, ())):
            if each not in table or table[each].startswith("super:"):
                table[each] = code
    return table


# What stands for a number in a sentence: its subject, and its unit.
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
    "st": ("The ST level", "mV"),
    "r": ("The R wave", "mV"),
    "s": ("The S wave", "mV"),
}


def answer_numbers(names: tuple[str, ...], measured: Mapping[str, object]) -> str:
    """Returns one sentence for each number with its unit, or why it could not be measured.

    Args:
        names: Names as `asked_numbers` returns them.
        measured: Measurements as plain values, as `measuring_heartcare.as_plain` returns them.
    """
    return " ".join(_sentence(name, measured) for name in names)


def _sentence(name: str, measured: Mapping[str, object]) -> str:
    quantity, _, lead = name.partition(":")
    subject, unit = _SENTENCES[quantity]
    subject += f" of {lead}" if lead else ""
    value = _value(quantity, lead, measured)
    if value is None:
        source = "heart_rate" if quantity in ("rr", "ectopic") else quantity
        absent = f"lead {lead} was not recorded, or no beat is seen" if lead else "it was not recorded"
        return f"{subject} cannot be measured: {measured['reasons'].get(source, absent)}."
    shown = f"{round(value, 2) + 0.0:.2f}" if unit == "mV" else f"{round(value)}"
    axis = f" ({words_of_axis(value)})" if quantity == "qrs_axis" else ""
    return f"{subject} is {' '.join([shown, unit]).strip()}{axis}."


def _value(quantity: str, lead: str, measured: Mapping[str, object]) -> float | None:
    if lead:
        return measured[quantity].get(lead)
    if quantity == "rr":
        return measured["heart_rate"] and 60_000 / measured["heart_rate"]
    if quantity == "ectopic":
        return None if measured["heart_rate"] is None else len(measured["ectopic"])
    value = measured[quantity]
    return 100 * value if quantity == "p_share" and value is not None else value


def words_of_axis(degrees: float) -> str:
    """Returns the words of a QRS axis in degrees: -30 to 90 is normal in adults, and beyond -90 and 180 it is extreme
    (AHA/ACCF/HRS recommendations, 2009).
    """
    if -30 <= degrees <= 90:
        return "a normal axis"
    if -90 <= degrees < -30:
        return "left axis deviation"
    return "right axis deviation" if degrees > 90 else "extreme axis deviation"


__all__ = ["answer_numbers", "asked_numbers", "asked_statement", "normalize", "statement_of", "words_of_axis"]
