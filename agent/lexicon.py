"""Diagnostic text -> SCP-ECG statements with likelihoods, English and German (and the Swedish of some of PTB-XL's
reports).

A clause is searched for the words of each statement; words of negation and of doubt that stand with it set its
likelihood: certain 100, probable 80, possible 50, "cannot be excluded" 15, negated: none. As PTB-XL does, an infarction
that is called just "anterior" counts as anteroseptal. `python -m heartcare.studies.evaluate_lexicon` measures it on PTB-XL's own
pairs of report and statements.
`find_mentions` tells more: what is negated, in which leads, and how old.
"""

import re
from dataclasses import dataclass

from ..ecg_heartcare import LEADS
from .statements import DIAGNOSTIC_CLASS, FORM, RHYTHM, STATEMENTS, SUPERCLASS_OF

# Of a site's adjective in English, German and Swedish, the words for damage that may follow, within a few words.
_INFARCT = r"(?:\w+ ){0,2}?(?:myo\w* |(?:non-)?st[ -]elevation )?(?:mi|n?stemi|infar[ck]t\w*|myo[ck]ard(?:schaden|ial damage)|damage)"
_ISCHEMIA = r"(?:\w+ ){0,2}?(?:ischae?mi\w*|ischem\w*|myokardaffektion)"
_INJURY = r"(?:\w+ ){0,2}?(?:subendo\w* )?(?:injury|innenschichtschad\w*|laesion)"
_RBBB = r"(?:right bundle branch block|rechtsschenkelblock|rbbb|hoegersidigt skaenkelblock|\brsb\b)"
_LBBB = r"(?:left bundle branch block|linksschenkelblock|lbbb|vaenstersidigt skaenkelblock|\blsb\b)"
_ECG = r"(?:ecg|ekg|electrocardiogram|elektrokardiogramm|tracing)"
_PART = r"(?:incomplete|partial|unvollstaendige[rn]?|inkompletter?|inkomplett|ink\.|part\.|i(?=[rl]bbb))"


def _site(adjectives: str, what: str, code: str) -> tuple[str, str]:
    return code, rf"\b(?:{adjectives})(?:e[nrs]?|t)?\b,? {what}"


# In order: what an earlier pattern has matched is not seen by the later ones.
PATTERNS = [
    # rhythm
    ("PACE", r"pacemaker|schrittmacher\w*|paced rhythm|\bpacing\b"),
    ("AFIB", r"atrial fibrillation|vorhofflimmern(?:/-?flattern)?|foermaksflimmer|\ba\.? ?fib\b|\bvhf\b"),
    ("AFLT", r"atrial flutter|vorhofflattern|foermaksfladder"),
    ("PSVT", r"paroxysmal supraventricular tachycardia|paroxysmale supraventrikulaere tachykardie"),
    ("SVTAC", r"supraventricular tachycardia|supraventrikulaere tachykardie"),
    ("STACH", r"sinus ?tachycardia|sinus ?tachykardi\w*"),
    ("SBRAD", r"sinus ?bradycardia|sinus ?bradykardi\w*"),
    ("SARRH", r"sinus ?arr?h?ythmi\w*|sinus ?arrytmi\w*"),
    ("SVARR", r"supraventricular arrh?ythmia|supraventrikulaere arrh?ythmie"),
    ("BIGU", r"bigemin\w*"),
    ("TRIGU", r"trigemin\w*"),
    ("SR", r"sinus ?rh?yth?m\w*|sinusrytm"),
    # conduction
    ("3AVB", r"(?:third degree|3rd degree|complete|totaler) (?:av|a-v|atrioventricular)[ -]?block|(?:av|a-v)[ -]?block (?:iii|3)\b"),
    ("2AVB", r"(?:second degree|2nd degree) (?:av|a-v|atrioventricular)[ -]?block|(?:av|a-v)[ -]?block (?:ii|2)\b|wenckebach|mobitz"),
    ("1AVB", r"(?:first degree|1st degree) (?:av|a-v|atrioventricular)[ -]?block|(?:av|a-v)[ -]?block,? (?:i|1)\b|(?:av|a-v)[ -]?block 1"),
    ("IRBBB", rf"{_PART} ?{_RBBB}|irbbb|{_RBBB},? incomplete"),
    ("ILBBB", rf"{_PART} ?{_LBBB}|ilbbb"),
    ("CRBBB", rf"(?:complete |kompletter |vollstaendiger )?{_RBBB}|crbbb"),
    ("CLBBB", rf"(?:complete |kompletter |vollstaendiger )?{_LBBB}|clbbb"),
    ("LAFB", r"left anterior (?:fascicular|hemi)[ -]?block|links-?anteriore\w* hemiblock|left anterior hemiblock|\blahb\b|\blafb\b|vaenster anteriort? (?:hemi|fascikel)\w*"),
    ("LPFB", r"left posterior (?:fascicular|hemi)[ -]?block|links-?posteriore\w* hemiblock|\blphb\b|\blpfb\b"),
    ("IVCD", r"intraventr\w*\.? (?:conduction )?(?:delay|defect|disturbance|block|leitungs\w*)|intraventrikulaere\w* (?:block|leitungs\w*|erregungs\w*)"
             r"|\bivcb\b|\bivcd\b|ospecifi\w+ (?:intraventrikulaert )?skaenkelblock"),
    ("WPW", r"\bwpw\b|wolff?-parkinson-white|delta[ -]waves?|deltawelle\w*|pre-?excitation|praeexzitation"),
    # form that would be mistaken for a diagnosis
    ("VCLVH", r"voltages? (?:are|is) high in [\w, -]*? ?(?:leads)?,? ?suggest\w* lvh|amplitudenkriterien fuer linkshypertrophie"
              r"|voltage criteria (?:for|of) (?:lvh|left ventricular hypertrophy)|amplitudkriterier foer vaensterkammarhypertrofi"),
    ("HVOLT", r"voltages? (?:in [\w, -]+ )?(?:are|is) at (?:the )?upper limit|high (?:qrs )?voltage|hohe qrs-?\w*amplitude\w*"),
    # hypertrophy
    ("SEHYP", r"septal hypertrophy|septumhypertrophie|\bsehyp\b"),
    ("LVH", r"left ventricular hypertrophy|linkshypertrophie|linksventrikulaere hypertrophie|\blvh\b|vaensterkammarhypertrofi|vaensterhypertrofi"),
    ("RVH", r"right ventricular hypertrophy|rechtshypertrophie|rechtsventrikulaere hypertrophie|\brvh\b|hoegerkammarhypertrofi|hoegerhypertrofi"),
    ("LAO/LAE", r"left atrial (?:enlargement|overload|hypertrophy|abnormality)|p-sinistro\w*|vorhofsueberb?e?lastung links|\blae\b|\blao\b"),
    ("RAO/RAE", r"right atrial (?:enlargement|overload|hypertrophy|abnormality)|p-(?:dextro\w*|pulmonale)|vorhofsueberb?e?lastung rechts|\brae\b|\brao\b"),
    # infarction, injury, ischemia by site
    _site(r"inferoposterolateral", _INFARCT, "IPLMI"),
    _site(r"inferolateral", _INFARCT, "ILMI"),
    _site(r"inferoposterior", _INFARCT, "IPMI"),
    _site(r"anterolateral|anterior-lateral", _INFARCT, "ALMI"),
    _site(r"anteroseptal|septal", _INFARCT, "ASMI"),
    _site(r"anterior|vorderwand", _INFARCT, "AMI"),
    ("AMI", r"vorderwandinfarkt\w*"),
    ("ASMI", r"qs[ -]complexes in v[1-4]\S*(?: and v?\d)*"),
    _site(r"inferior|hinterwand", _INFARCT, "IMI"),
    ("IMI", r"hinterwandinfarkt\w*"),
    _site(r"posterior", _INFARCT, "PMI"),
    _site(r"hoch ?lateral|high lateral|hoeg lateral|lateral", _INFARCT, "LMI"),
    ("MI", r"(?:non-|n)?stemi|(?:non-)?st[ -](?:segment )?elevation (?:mi|myocardial infarction)|a?mi|(?:myocardial )?infar[ck]t(?:ion)?s?"
           r"|(?:herz|myokard|myocard)?infarkt(?:e[ns]?|s|es)?|heart attack"),
    ("INJAS", r"anteroseptal\w* " + _INJURY + r"|subendo\w* injury in anteroseptal"),
    ("INJAL", r"anterolateral\w* " + _INJURY + r"|subendo\w* injury in anterolateral"),
    ("INJIL", r"inferolateral\w* " + _INJURY + r"|subendo\w* injury in inferolateral"),
    ("INJIN", r"inferior\w* " + _INJURY + r"|subendo\w* injury in inferior"),
    ("INJLA", r"lateral\w* " + _INJURY + r"|subendo\w* injury in lateral"),
    _site(r"anterolateral", _ISCHEMIA, "ISCAL"),
    _site(r"anteroseptal|septal", _ISCHEMIA, "ISCAS"),
    _site(r"inferolateral", _ISCHEMIA, "ISCIL"),
    _site(r"inferior", _ISCHEMIA, "ISCIN"),
    _site(r"hoch ?lateral|high lateral|hoeg lateral|lateral", _ISCHEMIA, "ISCLA"),
    _site(r"anterior", _ISCHEMIA, "ISCAN"),
    ("ISC_", r"(?<!in)(?:myocardial )?isch(?:ae|e)mi[aec]\w*(?! heart)|coronary ischae?mia|ischaemische\w*"),
    # repolarisation
    ("ANEUR", r"(?:st-t changes of a )?(?:ventricular )?aneurysma?\w*"),
    ("DIG", r"digitalis\w*|digoxin"),
    ("LNGQT", r"(?:long|prolonged|verlaengerte\w*|foerlaengt) qt\w*|qt-?(?:verlaengerung|zeit verlaengert)|qt(?:c| interval)? (?:is )?prolonged"),
    ("EL", r"electrolyt\w*(?: or drug effects?)?|elektrolyt\w*|drug effect|hypokal\w*|hyperkal\w*|medikament\w*"),
    ("NST_", r"non-?specific st(?:[ -]?t|-segment)?(?: wave)? changes|(?:unspez\w*|ospecifi\w*) st-? ?(?:t-?)?(?:veraenderung\w*|foeraendring\w*)|st-t changes"
             r"|non-?specific st segment (?:depression|elevation|changes)"),
    ("STD_", r"st[ -]?(?:segments?|strecken)?(?: are| is)?(?: slightly| minimally)? ?(?:depressed|depression\w*|senkung\w*|saenkning)"),
    ("STE_", r"st[ -]?(?:segments?|strecken)?(?: are| is)?(?: slightly)? ?(?:elevated|elevations?|hebung\w*|hoejning)"),
    ("NT_", r"t[ -]?waves? (?:changes|flattening)|non-?specific t wave (?:changes|flattening)"),
    ("LOWT", r"t[ -]?waves? (?:are|is) (?:low|flat|of low)|t-?(?:wellen )?abflach\w*|low amplitude t"),
    ("INVT", r"t[ -]?waves? (?:are )?(?:inverted|inversions?)|inverted t|t[ -]?(?:wellen)?(?:inversion\w*|negativierung\w*)|t inverted"),
    ("NDT", r"(?:unspezifisches|ospecifikt) abnorm\w* t\b|non-?(?:specific|diagnostic) t (?:abnormalit\w*|changes)"
            r"|\bt[ -]?(?:abnorm\w*|veraenderung\w*)(?! ?,? ?wahrscheinlich)"),
    ("TAB_", r"t[ -]?waves? (?:are |is )?abnormal\w*"),
    ("QWAVE", r"\bq[ -]?(?:waves?|zacken?|vaag\w*)\b(?! (?:are|is) (?:probably )?normal)"),
    ("ABQRS", r"qrs ?\(t\) (?:abnorm|foerlopp)\w*|avvikande qrs ?\(t\)|abnormal qrs"),
    ("LVOLT", r"low (?:limb lead |qrs )?voltages?|periphere niederspannung|niederspannung\w*|(?:low|nieder)-? ?voltage|laag amplitud\w*"),
    ("LPR", r"prolonged pr|pr[ -](?:interval|zeit|verlaengerung)\w* (?:is )?(?:prolonged|verlaengert)|pr-verlaengerung"),
    # ectopic beats
    ("PVC", r"(?:premature ventricular|ventricular premature) (?:contraction|complex|beat|extrasystole)\w*(?:\(\w\))?"
            r"|(?<!supra)ventri[ck]\w* ?extrasystole?\w*(?:\(n\))?|ventricular ectopic\w*|ventr\. ?extrasystole\w*|ventrikulaera extraslag|\bv[ep]s\b|\bpvcs?\b"),
    ("PAC", r"(?:premature atrial|atrial premature|premature supraventricular) (?:contraction|complex|beat|extrasystole)\w*(?:\(\w\))?|atrial ectopic\w*"
            r"|supraventrikulaere extrasystole\w*(?:\(n\))?|supraventricular (?:extrasystole\w*|ectopic\w*)|supraventricular(?= and (?:#|ventricular))|\bsves\b|\bpacs?\b"),
    ("PRC(S)", r"premature complex\w*(?:\(e?s\))?|premature beats?"),
    # normal only where it is the ECG that is: neither "normal sinus rhythm" nor "PR within normal limits" is the verdict
    ("NORM", rf"(?:sonst |otherwise |noch )?(?:normal(?:es|t)?|unauffaelliges?|within normal) (?:\w+[ -])?{_ECG}|no definite pathology|normalbefund|sonst normales"
             rf"|{_ECG} (?:is |ist |was )?(?:otherwise |sonst |wahrscheinlich )?(?:normal|within normal limits|unauffaellig)(?= ?(?:$|[,#(]))|^(?:all )?within normal limits$"),
]  # fmt: skip


def compile_words(table: list[tuple[str, str]]) -> list[tuple[str, re.Pattern]]:
    """(code, pattern) -> the same, compiled so that a pattern matches whole words only. A word that is denied by its
    prefix ("non-ischemic") is another word.
    """
    return [(code, re.compile(rf"(?<!\w)(?<!non-)(?<!pseudo-)(?:{pattern})(?!\w)")) for code, pattern in table]


PATTERNS = compile_words(PATTERNS)

# What PTB-XL notes in other columns, and the general words that negated findings are reported with: "no noise", "no
# extrasystoles".
FINDINGS = [
    ("ALAD", r"(?:extreme|marked) left axis(?: deviation)?|ueberdrehter linkstyp"),
    ("ARAD", r"(?:extreme|marked) right axis(?: deviation)?|ueberdrehter rechtstyp"),
    ("AXL", r"borderline left axis(?: deviation)?"),
    ("LAD", r"left axis(?: deviation)?|linkstyp"),
    ("RAD", r"right axis(?: deviation)?|rechtstyp"),
    ("AXR", r"vertical axis|steiltyp"),
    ("SAG", r"sagittal axis|sagittaltyp"),
    ("MID", r"normal (?:electrical |qrs |heart )?axis|axis (?:is )?normal|indifferenztyp"),
    ("static_noise", r"static noise"),
    ("burst_noise", r"burst noise"),
    ("baseline_drift", r"(?:baseline )?(?:drift|wander)\w*"),
    ("electrodes_problems", r"problem with an electrode|electrode problems?"),
    ("noise", r"\bnoise\b|\bartefacts?\b|\bartifacts?\b"),
    ("PRC(S)", r"extrasystoles?|ectopic beats?"),
    ("FORM", r"abnormalit(?:y|ies) of the waveform|waveform abnormalit(?:y|ies)"),
    ("DIAGNOSIS", r"certain diagnosis"),
]
FINDINGS = compile_words(FINDINGS)

# PTB-XL's editors wrote codes with likelihoods at the end of some reports: "edit: norm 80, imi 15".
CODES = re.compile(
    r"\b("
    + "|".join(sorted((re.escape(code.lower()) for code in STATEMENTS), key=len, reverse=True))
    + r") (100|80|50|35|15|0)\b"
)

BOUNDARY = re.compile(r"[.;:!?](?!\d)|\n")
# German reports of PTB-XL put blanks between findings, English ones where a line was wrapped.
BLANKS, ENGLISH = (
    re.compile(r"\s{3,}"),
    re.compile(r"\b(?:the|with|and|are|of|rhythm|tachycardia|bradycardia|fibrillation)\b"),
)
# Doubt about the age of an infarction is no doubt about the infarction.
AGE = re.compile(
    r"(?:wahrscheinlich|moeglicherweise|moegl\.),? (?:alt|akut|frisch|aelter\w*)\b|(?:probably|possibly) (?:old|acute|recent)(?! \w)"
    r"|\b(?:old|acute|recent|alt|akut|frisch|aelter\w*)\b"
    r"|alter unbest\w*|(?:of )?(?:uncertain|undetermined|indeterminate) age|age (?:undetermined|uncertain|indeterminate)"
)
# Ages of an infarction, as the stages that electrocardiographers count; "63-year-old" is none.
TIMES = [
    ("I-II", r"stage i to ii\b"),
    ("II-III", r"stage ii to iii\b"),
    ("unknown", r"unknown stage|(?:uncertain|undetermined|indeterminate|unknown) age|age (?:is )?(?:undetermined|uncertain|indeterminate|unknown)|alter unbest\w*"),
    ("III", r"(?:stage|stadium) iii\b|(?<!year-)(?<!years )(?<!year )\bold\b|\bchronic\b|\balte?[rs]?\b|abgelaufen\w*"),
    ("II", r"(?:stage|stadium) ii\b|\bsubacute\b|\brecent\b|\bsubakut\w*"),
    ("I", r"(?:stage|stadium) i\b|\bacute\b|\bakut\w*|\bfrisch\w*"),
]  # fmt: skip
TIMES = [(time, re.compile(pattern)) for time, pattern in TIMES]
_LEAD = r"(?:v[1-6]|av[rlf]|i{1,3})"
_LEAD_LIST = re.compile(
    rf"(?:\b(?:in|leads?|ableitung(?:en)?|abl\.) +{_LEAD}|\bv[1-6]|\bav[rlf])\b(?: ?(?:,? and |,? und | to | bis |,|-|/|\+) ?(?:leads? )?{_LEAD}\b)*"
)
_TERRITORY = {
    "inferior leads": ("II", "III", "aVF"), "lateral leads": ("I", "aVL", "V5", "V6"), "anterior leads": ("V1", "V2", "V3", "V4"),
    "precordial leads": LEADS[6:], "chest leads": LEADS[6:], "limb leads": LEADS[:6],
}  # fmt: skip
# (words before, words after, likelihood), the weakest first.
DOUBT = [
    (r"(?:can(?:not|'t) (?:rule out|exclude|be excluded)|kann nicht ausgeschlossen)",
     r"(?:nicht (?:sicher )?auszuschlie(?:ss|ß)en|can(?:not|'t) be (?:excluded|ruled out)|n\. ?a\.)", 15.0),
    (r"(?:possibl[ey]|moeglich\w*|moegl\.?|moejlig\w*|verdacht auf|v\.? ?a\.?|suspect\w*|questionable|may (?:be|indicate|represent)|might|fraglich\w*|consider|suggest\w* exclude"
     r"|(?:oder|or) )",
     r"(?:,? ?moeglich\w*|,? ?moegl\b|,? ?(?:possibl[ey]|moejlig\w*)(?=\s*(?:$|[,#)]))|fraglich|boer oevervaegas|\?| (?:oder|or) |is possible)", 50.0),
    (r"(?:probabl[ey]|likely|wahrscheinlich\w*|sannolik\w*|consistent with|suggest\w*|vereinbar mit|saasom vid)",
     r"(?:,? ?(?:wahrscheinlich|probable|sannolik\w*)(?=\s*(?:$|[,#)]))|is likely|is probable)", 80.0),
]  # fmt: skip
DOUBT = [
    (re.compile(rf"{before}[\s\w,/()-]{{0,30}}$"), re.compile(rf"^[\s,\w()/-]{{0,12}}?{after}"), value)
    for before, after, value in DOUBT
]
# A comma ends what is negated, but for lists: "no Q waves, ST depression or T inversion".
NEGATION = re.compile(
    r"(?:\bno\b|\bnot\b|\bwithout\b|\babsence of\b|\bkeine?\w*\b|\bohne\b|\bnicht\b|\bruled out\b|\bexcluded?\b|\binga?\b|\bingen\b)"
    r"(?P<between>[\s\w,/#-]{0,60})$"
)
OR = re.compile(r"\b(?:or|oder|nor|noch|eller)\b")
NEGATED_AFTER = re.compile(
    r"^[\s\w,]{0,10}(?:\bruled out\b|\bexcluded\b|\bausgeschlossen\b|\bnicht nachweisbar\b|\babsent\b)"
)


def normalize(text: str) -> str:
    """Lower case, umlauts written out, runs of blanks kept (PTB-XL's reports divide clauses with them)."""
    for letter, written in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss"), ("å", "aa")):
        text = text.lower().replace(letter, written)
    return text


@dataclass(frozen=True)
class Mention:
    """One mention of a finding: its `code`, its `likelihood` in percent (100, 80, 50, 15; 0 where it is negated), the
    `leads` named with it, and its `time`, the stage of an infarction ("I" acute, "II" recent, "III" old, "I-II",
    "II-III", "unknown").
    """

    code: str
    likelihood: float
    leads: tuple[str, ...] = ()
    time: str | None = None


def find_mentions(report: str, findings=()) -> list[Mention]:
    """Everything that a text says of findings, in order.

    Args:
        report: Diagnostic text in English or German.
        findings: (code, pattern) searched for after the statements, for example `FINDINGS`.

    Returns: mentions of SCP-ECG statements and findings; a clause that speaks of age but of no finding gives one of the
        code "" with its `time`.
    """
    text = CODES.sub(" ", normalize(report))
    found = []
    for clause in BOUNDARY.split(text if ENGLISH.search(text) else BLANKS.sub("\n", text)):
        clause = " ".join(clause.split())
        time = next((time for time, pattern in TIMES if pattern.search(clause)), None)
        clause = " ".join(AGE.sub(" ", clause).split())
        here = []
        leads = [(match.start(), _leads(match[0])) for match in _LEAD_LIST.finditer(clause)]
        leads += [(clause.find(words), names) for words, names in _TERRITORY.items() if words in clause]
        for code, pattern in (*PATTERNS, *findings):
            match = pattern.search(clause)
            while match:
                here.append((match.start(), code, _likelihood(clause[: match.start()], clause[match.end() :])))
                # What is matched is not matched again by a later pattern, and still divides what stands around it.
                clause = clause[: match.start()] + "#" * (match.end() - match.start()) + clause[match.end() :]
                match = pattern.search(clause, match.end())
        here.sort()
        for k, (start, code, likelihood) in enumerate(here):
            # Leads belong to the finding before them, or to the first one.
            last = here[k + 1][0] if k + 1 < len(here) else len(clause)
            mine = {lead for at, names in leads if (start <= at < last) or (k == 0 and at < start) for lead in names}
            stage = time if SUPERCLASS_OF.get(code) in ("MI", "STTC") else None
            found.append(Mention(code, likelihood, tuple(lead for lead in LEADS if lead in mine), stage))
        if time and not here:
            found.append(Mention("", 100.0, (), time))
    return found


def _leads(text: str) -> list[str]:
    """The leads of a list such as "in leads ii, iii, avf" or "v2-v4"."""
    names = {lead.lower(): i for i, lead in enumerate(LEADS)}
    found, previous = [], None
    for match in re.finditer(rf"(?P<to>-| to | bis )? ?(?:leads? )?(?P<lead>\b{_LEAD}\b)", text):
        place = names[match["lead"]]
        span = range(previous, place) if match["to"] and previous is not None else ()
        found += [LEADS[i] for i in span] + [LEADS[place]]
        previous = place
    return found


def find_statements(report: str) -> dict[str, float]:
    """The SCP-ECG statements of a report, and how likely its words call them.

    Args:
        report: Diagnostic text in English or German.

    Returns: code -> likelihood in percent (100, 80, 50 or 15); the likeliest mention of a statement counts. Codes and
        likelihoods that
    the report itself gives ("IMI 15") are taken as they are.
    """
    found: dict[str, float] = {}
    written = {code.upper(): float(value) for code, value in CODES.findall(normalize(report))}
    for mention in find_mentions(report):
        if mention.likelihood:
            code = {"AMI": "ASMI"}.get(mention.code, mention.code)
            found[code] = max(mention.likelihood, found.get(code, 0.0))
    found.pop("", None)
    found |= {code: value for code, value in written.items() if value or code in RHYTHM or code in FORM}
    if {"CLBBB", "CRBBB"} & set(found):
        found.pop("IVCD", None)
    if set(DIAGNOSTIC_CLASS["MI"]) & set(found) - {"MI"}:
        found.pop("MI", None)  # the same infarction, with its site
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _likelihood(before: str, after: str) -> float:
    """Percent, by the words of doubt and negation around a finding within its clause; 0 when negated."""
    negation = NEGATION.search(before)
    before, after = before.rsplit("#", 1)[-1], after.split("#", 1)[0]
    negated = NEGATED_AFTER.search(after)
    if negation:
        between = negation["between"]
        negated = negated or OR.search(between + after) or ("," not in between and "#" not in between)
    for words_before, words_after, value in DOUBT:
        # "Not excluded" is no negation, but "no infarction or ischemia" is no doubt.
        if (value == 15 or not negated) and (words_before.search(before) or words_after.search(after)):
            return value
    return 0.0 if negated else 100.0
