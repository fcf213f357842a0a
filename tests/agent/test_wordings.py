"""The lexicon's words, one table for each subject: the statements of a text in two languages, and texts that only look
like them.
"""

import random
import re

import pytest

from heartcare.agent.lexicon import FINDINGS, PATTERNS, find_mentions, find_statements
from heartcare.agent.statements import SUPERCLASS_OF

# Each phrase alone gives its statement with 100 % and nothing else.
PHRASES = {
    "SR": "sinus rhythm|normal sinus rhythm|Sinusrhythmus|NSR|SR|regular sinus rhythm|sinusrytm",
    "STACH": "sinus tachycardia|Sinustachykardie|ST|sinus tach|ST 120/min|Rhythm: ST",
    "SBRAD": "sinus bradycardia|Sinusbradykardie|SB|sinus brady|SB 48 bpm",
    "SARRH": "sinus arrhythmia|Sinusarrhythmie|respiratorische Arrhythmie",
    "SVARR": "supraventricular arrhythmia|supraventrikuläre Arrhythmie",
    "AFIB": "atrial fibrillation|Vorhofflimmern|AF|AFib|A-fib|A. fib|VHF|Tachyarrhythmia absoluta"
    "|absolute Arrhythmie|AF with RVR",
    "AFLT": "atrial flutter|Vorhofflattern|AFL",
    "SVTAC": "supraventricular tachycardia|supraventrikuläre Tachykardie|SVT|AVNRT",
    "PSVT": "PSVT|paroxysmal supraventricular tachycardia",
    "PACE": "pacemaker|Schrittmacher|Schrittmacher-EKG|Schrittmacherrhythmus|ventricular paced rhythm"
    "|AV-sequential pacing"
    "|electronic ventricular pacemaker|Herzschrittmacher",
    "BIGU": "bigeminy|Bigeminus|ventricular bigeminy",
    "TRIGU": "trigeminy|Trigeminus",
    "1AVB": "first degree AV block|1st degree AVB|1° AVB|AV block I°|AV-Block I. Grades|AV-Block 1. Grades"
    "|AV-Block I|first-degree A-V block"
    "|erstgradiger AV-Block|AVB 1|grade 1 AV block",
    "2AVB": "second degree AV block|AV-Block II. Grades|AV-Block II°|Wenckebach|AV block 2:1|Mobitz II|2nd degree AVB",
    "3AVB": "third degree AV block|AV-Block III°|AV-Block III. Grades|complete heart block|complete AV block"
    "|totaler AV-Block|3° AVB",
    "CRBBB": "right bundle branch block|complete right bundle branch block|RBBB|RSB|Rechtsschenkelblock"
    "|kompletter Rechtsschenkelblock|cRBBB",
    "CLBBB": "left bundle branch block|LBBB|LSB|cLBBB|Linksschenkelblock|vollständiger Linksschenkelblock"
    "|Linksschenkelblockbild",
    "IRBBB": "incomplete right bundle branch block|iRBBB|inkompletter Rechtsschenkelblock|unvollständiger RSB"
    "|ink. RSB|partial RBBB|RBBB, incomplete",
    "ILBBB": "incomplete left bundle branch block|iLBBB|inkompletter Linksschenkelblock|part. LSB",
    "LAFB": "left anterior fascicular block|left anterior hemiblock|LAFB|LAHB|linksanteriorer Hemiblock",
    "LPFB": "left posterior fascicular block|LPFB|linksposteriorer Hemiblock|LPHB",
    "IVCD": "intraventricular conduction delay|IVCD|intraventrikuläre Leitungsstörung"
    "|unspezifischer intraventrikulärer Block",
    "WPW": "WPW|Wolff-Parkinson-White syndrome|delta wave|Deltawelle|preexcitation|Präexzitation|WPW-Syndrom",
    "LVH": "left ventricular hypertrophy|LVH|Linkshypertrophie|Linksherzhypertrophie|linksventrikuläre Hypertrophie",
    "RVH": "right ventricular hypertrophy|RVH|Rechtsherzhypertrophie",
    "VCLVH": "voltage criteria for LVH|minimal voltage criteria for left ventricular hypertrophy"
    "|Amplitudenkriterien für Linkshypertrophie",
    "LAO/LAE": "left atrial enlargement|LAE|left atrial abnormality|P-mitrale|P-sinistrocardiale"
    "|Vorhofüberlastung links",
    "RAO/RAE": "right atrial enlargement|RAE|P-pulmonale|P-dextrocardiale",
    "SEHYP": "septal hypertrophy|Septumhypertrophie",
    "MI": "myocardial infarction|acute MI|MI|STEMI|NSTEMI|non-STEMI|non-ST elevation MI|ST elevation MI|infarct"
    "|infarction|Infarkt|Herzinfarkt|Myokardinfarkt"
    "|heart attack|AMI|non-Q-wave infarction|akuter Myokardinfarkt|old myocardial infarction",
    "IMI": "inferior infarct|inferior myocardial infarction|Hinterwandinfarkt|IMI|inferior wall MI"
    "|Infarkt der Hinterwand|STEMI, inferior"
    "|inferiorer Infarkt|infarct in inferior leads|alter Hinterwandinfarkt|akuter Hinterwandinfarkt|inferior STEMI"
    "|HWI",
    "ASMI": "anteroseptal infarct|septal infarct|ASMI|anterior infarct|Vorderwandinfarkt|anterior STEMI"
    "|anteroseptaler Infarkt|acute anterior MI|VWI",
    "ALMI": "anterolateral infarct|ALMI|anterolateraler Infarkt|antero-lateral MI",
    "ILMI": "inferolateral infarct|infero-lateral infarction|ILMI",
    "LMI": "lateral infarct|high lateral infarct|lateraler Infarkt|LMI|Seitenwandinfarkt",
    "PMI": "posterior infarct|true posterior infarct|PMI",
    "IPMI": "inferoposterior infarct|infero-posterior infarction",
    "IPLMI": "inferoposterolateral infarct",
    "INJAS": "anteroseptal injury",
    "INJAL": "anterolateral subendocardial injury|anterolateraler Innenschichtschaden",
    "INJIN": "inferior injury pattern|inferiorer Innenschichtschaden",
    "INJLA": "lateral injury",
    "INJIL": "inferolateral injury",
    "ISC_": "myocardial ischemia|ischaemia|Ischämie|myokardiale Ischämie|coronary ischemia",
    "ISCIN": "inferior ischemia|inferiore Ischämie",
    "ISCAL": "anterolateral ischemia|anterolaterale Ischämie",
    "ISCLA": "lateral ischemia|laterale Ischämie",
    "ISCAN": "anterior ischemia",
    "ISCAS": "anteroseptal ischemia",
    "ISCIL": "inferolateral ischemia",
    "STD_": "ST depression|ST-Senkung|ST segment depression|ST-Streckensenkung|ST segments are depressed"
    "|ST-Senkungen|Senkung der ST-Strecke",
    "STE_": "ST elevation|ST-Hebung|ST segment elevation|ST-Streckenhebung|ST-Hebungen|gehobene ST-Strecke",
    "NST_": "nonspecific ST changes|non-specific ST-T changes|nonspecific ST and T wave abnormality"
    "|unspezifische ST-Veränderungen",
    "INVT": "T wave inversion|inverted T waves|T-Negativierung|T waves are inverted|T-Inversion|TWI",
    "LOWT": "T waves are flat|T-Abflachung",
    "NDT": "nonspecific T wave abnormality|unspezifische T-Veränderungen",
    "TAB_": "T wave abnormality",
    "LNGQT": "prolonged QT|QTc prolonged|QT-Verlängerung|prolonged QTc interval|long QT syndrome|QTc verlängert"
    "|verlängerte QT-Zeit",
    "LPR": "prolonged PR interval|PQ-Verlängerung|PR interval is prolonged|PR prolongation",
    "QWAVE": "Q waves|Q-Zacken|pathological Q waves",
    "LVOLT": "low voltage QRS|Niederspannung|low limb lead voltage|periphere Niederspannung",
    "ABQRS": "abnormal QRS",
    "HVOLT": "high QRS voltage|Hochvoltage",
    "NT_": "nonspecific T wave changes|T wave flattening",
    "PVC": "PVC|PVCs|VPC|VES|ventricular premature complexes|premature ventricular contractions"
    "|ventrikuläre Extrasystolen"
    "|ventrikuläre Extrasystole(n)|ventr. Extrasystolen|PVB",
    "PAC": "PAC|PACs|APC|SVES|premature atrial complexes|atrial premature beats|supraventrikuläre Extrasystolen"
    "|Vorhof-ES|supraventricular premature complexes",
    "PRC(S)": "premature complexes|premature beats",
    "DIG": "digitalis effect|Digitaliswirkung",
    "EL": "drug effect|hypokalemia|Elektrolytstörung",
    "ANEUR": "ventricular aneurysm|ventrikuläres Aneurysma",
    "NORM": "normal ECG|Normal EKG|Normales EKG|otherwise normal ECG|sonst normales EKG|ECG within normal limits"
    "|EKG unauffällig|unauffälliges EKG"
    "|ECG is normal|ECG: normal|EKG o.B.|Normalbefund|within normal limits|normal resting ECG|no definite pathology"
    "|EKG im Normbereich",
}
PHRASES = [(phrase, code) for code, phrases in PHRASES.items() for phrase in phrases.split("|")]

# (language's template, likelihood): the finding stands at "{}".
TEMPLATES = [
    ("{}.", 100),
    ("*** {} ***", 100),
    ("1. {}", 100),
    ("- {} -", 100),
    ("Comment: {}", 100),
    ("{}, unchanged", 100),
    ("Compared with ECG of 12-MAR-2002 now {}", 100),
    ("No previous ECG available. {}", 100),
    ("No change: {}", 100),
    ("Possible {}", 50),
    ("Suspected {}", 50),
    ("{}?", 50),
    ("Verdacht auf {}", 50),
    ("V.a. {}", 50),
    ("{} möglich", 50),
    ("Consider {}", 50),
    ("DD {}", 50),
    ("Probable {}", 80),
    ("{} is likely", 80),
    ("Wahrscheinlich {}", 80),
    ("Consistent with {}", 80),
    ("Cannot rule out {}", 15),
    ("{} cannot be excluded", 15),
    ("{} nicht auszuschließen", 15),
    ("{} is not excluded", 15),
    ("Could not exclude {}", 15),
    ("{} kann nicht ausgeschlossen werden", 15),
    ("No {}", 0),
    ("No evidence of {}", 0),
    ("No signs of {}", 0),
    ("Without {}", 0),
    ("Negative for {}", 0),
    ("{} ruled out", 0),
    ("{} has been excluded", 0),
    ("Absence of {}", 0),
    ("Kein {}", 0),
    ("Keine Zeichen von {}", 0),
    ("Ohne Hinweis auf {}", 0),
    ("Kein Anhalt für {}", 0),
    ("{} nicht nachweisbar", 0),
    ("{} ausgeschlossen", 0),
    ("Not {}", 0),
    ("{}: no", 0),
    ("{} is no longer present", 0),
    ("{} nicht mehr nachweisbar", 0),
    ("{} is unlikely", 0),
    ("Nicht vereinbar mit {}", 0),
    ("Not consistent with {}", 0),
    ("Rule out {}", None),
    ("R/o {}", None),
    ("History of {}", None),
    ("Family history of {}", None),
    ("Known {}", None),
    ("S/p {}", None),
    ("Status post {}", None),
    ("Z.n. {}", None),
    ("Zustand nach {}", None),
    ("Bekannter {}", None),
    ("{} bekannt", None),
    ("Previous ECG showed {}", None),
    ("{} was present on the previous ECG", None),
    ("Indication: {}", None),
    ("Indication: chest pain, r/o {}", None),
    ("Fragestellung: {}?", None),
    ("Clinical history: palpitations, {}", None),
    ("Vor-EKG: {}", None),
    ("Vater: {}", None),
    ("Mother had {}", None),
    ("Anamnestisch {}", None),
    ("Zum Ausschluss von {}", None),
    ("Reason for test: {}", None),
]
# One phrase of each kind stands in every template; "normal ECG" is not a finding that one has a history of.
SAMPLES = [
    ("LBBB", "CLBBB"),
    ("Vorhofflimmern", "AFIB"),
    ("inferior infarct", "IMI"),
    ("MI", "MI"),
    ("LVH", "LVH"),
    ("ST elevation", "STE_"),
    ("ventrikuläre Extrasystolen", "PVC"),
    ("ischemia", "ISC_"),
    ("AF", "AFIB"),
    ("Hinterwandinfarkt", "IMI"),
    ("RBBB", "CRBBB"),
]

REPORTS = [
    ("ABNORMAL ECG", {}),
    ("abnormal EKG", {}),
    ("Abnormales EKG", {}),
    ("Pathologisches EKG", {}),
    ("Borderline ECG", {}),
    ("Grenzwertiges EKG", {}),
    ("Not normal", {}),
    ("Not a normal ECG", {}),
    ("ECG is not normal", {}),
    ("Kein normales EKG", {}),
    ("Near-normal ECG", {}),
    ("Normal axis", {}),
    ("QT within normal limits", {}),
    ("PR: normal", {}),
    ("QRS: normal", {}),
    ("Normal P waves", {}),
    ("Unconfirmed report", {}),
    ("", {}),
    ("Normal sinus rhythm. Right bundle branch block. Abnormal ECG", {"SR": 100, "CRBBB": 100}),
    ("Normal ECG?", {"NORM": 50}),
    ("Probably normal ECG", {"NORM": 80}),
    ("Wahrscheinlich normales EKG", {"NORM": 80}),
    # abbreviations whose context decides
    ("ST & T", {}),
    ("ST segment", {}),
    ("ST-T", {}),
    ("HF 80, AF 16", {}),
    ("aVF", {}),
    ("Mitralinsuffizienz MI II°", {}),
    ("RSR' pattern", {}),
    ("ST 1 mm", {}),
    ("wandering atrial pacemaker", {}),
    ("wandernder Schrittmacher", {}),
    ("bifascicular block", {}),
    ("PR 160 ms, QT 380 ms", {}),
    ("Acute MI. Inferior infarct", {"IMI": 100}),
    ("AMI/IMI", {"ASMI": 100, "IMI": 100}),
    ("MI, old", {"MI": 100}),
    ("Vorhofflimmern/-flattern", {"AFIB": 100}),
    ("atrial flutter with 2:1 AV block", {"AFLT": 100}),
    ("supraventricular extrasystoles", {"PAC": 100}),
    ("SVES und VES", {"PAC": 100, "PVC": 100}),
    ("supraventricular and ventricular extrasystoles", {"PAC": 100, "PVC": 100}),
    ("biatrial enlargement", {"LAO/LAE": 100, "RAO/RAE": 100}),
    ("right and left bundle branch block", {"CRBBB": 100, "CLBBB": 100}),
    # a part of the heart is no finding
    *(
        (part, {})
        for part in (
            "Right bundle branch",
            "left bundle",
            "incomplete right bundle branch",
            "The right bundle branch conducts",
            "left anterior fascicle",
            "left posterior fascicular",
            "Rechtsschenkel",
            "linker Schenkel",
            "AV node",
            "intraventricular conduction",
            "Electrolytes normal",
            "check electrolyte",
            "left atrial",
            "right ventricular",
            "septal",
            "myocardial",
            "ST segment",
            "T wave",
            "QT interval",
            "PR interval",
            "sinus node",
            "voltage",
        )
    ),
    ("right bundle branch and left anterior fascicular block", {"CRBBB": 100, "LAFB": 100}),
    ("Right bundle branch, left posterior hemiblock", {"CRBBB": 100, "LPFB": 100}),
    ("incomplete right bundle    branch    block", {"IRBBB": 100}),
    ("Sinus rhythm, left bundle\nbranch block", {"SR": 100, "CLBBB": 100}),
    ("electrolyte disturbance", {"EL": 100}),
    ("possible electrolyte effect", {"EL": 50}),
    ("inferior and lateral infarct", {"IMI": 100, "LMI": 100}),
    ("anterior infarct, lateral ischemia", {"ASMI": 100, "ISCLA": 100}),
    ("lateral ischemia or infarction", {"ISCLA": 50, "MI": 50}),
    # lists and double negation
    ("No ST elevation, depression or T inversion", {}),
    ("No Q waves, ST depression or T wave inversion", {}),
    ("No LVH, RBBB or ischemia", {}),
    ("Kein Infarkt, keine Ischämie", {}),
    ("Weder Infarkt noch Ischämie", {}),
    ("Neither LVH nor RVH", {}),
    ("No ST depression, LVH", {"LVH": 100}),
    ("No evidence of ischemia but LBBB", {"CLBBB": 100}),
    ("Kein Hinweis auf Ischämie bei Linksschenkelblock", {"CLBBB": 100}),
    ("No abnormality except RBBB", {"CRBBB": 100}),
    ("Kein Infarkt, aber Linksschenkelblock", {"CLBBB": 100}),
    ("No doubt AF", {"AFIB": 100}),
    ("No change in LBBB", {"CLBBB": 100}),
    ("No ST depression, sinus rhythm, possible inferior ischemia", {"SR": 100, "ISCIN": 50}),
    ("AF with absent P waves", {"AFIB": 100}),
    ("Fehlende R-Progression, LVH", {"LVH": 100}),
    ("Fehlende Q-Zacken", {}),
    ("Sinus rhythm rather than atrial flutter", {"SR": 100}),
    ("There is no definite evidence to suggest ischemia", {}),
    ("Infarkt nicht ausgeschlossen", {"MI": 15}),
    ("MI not ruled out", {"MI": 15}),
    ("Possible LAE and LVH", {"LAO/LAE": 50, "LVH": 50}),
    ("Sinus rhythm, possible LAE", {"SR": 100, "LAO/LAE": 50}),
    ("Sinusrhythmus, Infarkt?", {"SR": 100, "MI": 50}),
    # what was, what is of others, what is asked
    ("History of MI, sinus rhythm, LBBB", {"SR": 100, "CLBBB": 100}),
    ("History of MI, AF and stroke", {}),
    ("History of atrial fibrillation, now in sinus rhythm", {"SR": 100}),
    ("Anamnestisch Vorhofflimmern, aktuell Sinusrhythmus", {"SR": 100}),
    ("Family history of MI. Normal ECG", {"NORM": 100}),
    ("Zustand nach Vorderwandinfarkt, Linksschenkelblock", {"CLBBB": 100}),
    ("Old inferior infarct", {"IMI": 100}),
    ("Previous inferior infarct", {"IMI": 100}),
    ("Abgelaufener Hinterwandinfarkt", {"IMI": 100}),
    ("Infarct, age unknown", {"MI": 100}),
    ("LBBB of unknown cause", {"CLBBB": 100}),
    ("LBBB is new compared with the previous ECG", {"CLBBB": 100}),
    ("Im Vergleich zum Vor-EKG neu aufgetretener Linksschenkelblock", {"CLBBB": 100}),
    ("Kein Vor-EKG, Linksschenkelblock", {"CLBBB": 100}),
    ("Sinus rhythm has replaced atrial fibrillation", {"SR": 100}),
    ("AF has been replaced by sinus rhythm", {"SR": 100}),
    ("When compared with ECG of 12-MAR-2002 10:30,\nPremature ventricular complexes are no longer present", {}),
    ("Previous ECG: AF. Current ECG: sinus rhythm", {"SR": 100}),
    ("Prior ECG (2019): AF", {}),
    ("Indication: chest pain, r/o MI. Sinus rhythm. Normal ECG.", {"SR": 100, "NORM": 100}),
    ("Fragestellung: Infarkt? Befund: Sinusrhythmus, kein Hinweis auf Infarkt.", {"SR": 100}),
    ("Clinical history: MI 2010. AF since 2015. ECG: sinus rhythm", {"SR": 100}),
    ("INDICATION:\nchest pain, rule out MI\nFINDINGS:\nSinus rhythm", {"SR": 100}),
    ("Indication: chest pain\nSinus rhythm\nConclusion: LBBB", {"SR": 100, "CLBBB": 100}),
    ("INDICATION:\nAF\n\nSinus rhythm", {"SR": 100}),
    ("Medikation: Digoxin\nSinusrhythmus", {"SR": 100}),
    # as devices write
    ("SINUS RHYTHM\nPROBABLE LEFT ATRIAL ABNORMALITY\n- ABNORMAL ECG -", {"SR": 100, "LAO/LAE": 80}),
    ("1. SINUS RHYTHM\n2. FIRST DEGREE AV BLOCK\n3. LVH", {"SR": 100, "1AVB": 100, "LVH": 100}),
    ("1. SINUS RHYTHM 2. FIRST DEGREE AV BLOCK 3. LVH", {"SR": 100, "1AVB": 100, "LVH": 100}),
    ("1. AV BLOCK 2. LVH", {"LVH": 100}),
    ("Normal sinus rhythm\nwith premature atrial complexes\nAbnormal ECG", {"SR": 100, "PAC": 100}),
    ("T wave abnormality, consider\ninferior ischemia", {"TAB_": 100, "ISCIN": 50}),
    ("*** Critical Test Result: STEMI", {"MI": 100}),
    ("*** ACUTE MI / STEMI ***", {"MI": 100}),
    ("** ** ** ACUTE MI ** ** **\nSINUS RHYTHM", {"MI": 100, "SR": 100}),
    ("SINUS RHYTHM ............ normal P axis, V-rate 50- 99", {"SR": 100}),
    ("Cannot rule out Anterior infarct , age undetermined", {"ASMI": 15}),
    ("Sinus rhythm with 1st degree A-V block", {"SR": 100, "1AVB": 100}),
    ("BORDERLINE PROLONGED QT INTERVAL", {"LNGQT": 50}),
    ("Minimal voltage criteria for LVH, may be normal variant", {"VCLVH": 100}),
    ("Left ventricular hypertrophy with repolarization abnormality", {"LVH": 100}),
    (
        "sinusrytm vÄnster kammarhypertroficonsensus label derived from: {'LVH': 100.0, 'SR': 0.0}",
        {"SR": 100, "LVH": 100},
    ),
]


@pytest.mark.parametrize("phrase, code", PHRASES)
def test_each_phrase_gives_its_statement_alone(phrase, code):
    assert find_statements(phrase) == {code: 100.0}
    assert find_statements(phrase.upper()) == {code: 100.0}


def test_there_is_a_phrase_for_every_statement_that_has_a_pattern():
    assert {code for code, _ in PATTERNS} - {code for _, code in PHRASES} == {"AMI"}, "AMI is reported as ASMI"


@pytest.mark.parametrize("phrase, code", PHRASES)
def test_no_phrase_is_found_within_a_word(phrase, code):
    """Letters glued to the first or the last word make another word: the phrase's statement is found only if the other
    words say it by themselves.
    """
    rng = random.Random(phrase)
    for _ in range(4):
        letters = "".join(rng.choice("bdfgjkqwxz") for _ in range(rng.randint(1, 4)))
        first = f"{letters}{phrase}"
        assert code not in find_statements(first) or _holds_another(
            re.split("[ -]", phrase, maxsplit=1)[-1], code, phrase
        ), first
        last = f"{phrase}{letters}" if phrase[-1].isalnum() else f"{phrase[:-1]}{letters}"
        assert code not in find_statements(last) or _holds_another(
            re.split("[ (-](?=[^ (-]*$)", phrase)[0], code, phrase
        ), last


def _holds_another(rest: str, code: str, phrase: str) -> bool:
    """Returns True if the phrase says the same without the changed word ("complete right bundle branch block")."""
    return rest != phrase and code in find_statements(rest)


@pytest.mark.parametrize("template, likelihood", TEMPLATES)
def test_what_a_sentence_does_to_a_finding(template, likelihood):
    for phrase, code in SAMPLES:
        text = template.format(phrase)
        assert find_statements(text) == ({code: float(likelihood)} if likelihood else {}), text
        mentions = {(mention.code, mention.likelihood) for mention in find_mentions(text)}
        assert mentions == (set() if likelihood is None else {(code, float(likelihood))}), text
        assert find_statements(text.upper()) == find_statements(text), text


@pytest.mark.parametrize("report, statements", REPORTS)
def test_whole_reports(report, statements):
    assert find_statements(report) == statements


def test_an_infarction_without_a_site_is_of_its_superclass():
    assert {SUPERCLASS_OF[code] for code in find_statements("Myocardial infarction")} == {"MI"}


def test_patterns_need_no_boundaries_of_their_own():
    for code, pattern in (*PATTERNS, *FINDINGS):
        assert pattern.pattern.startswith(r"(?<!\w)") and pattern.pattern.endswith(r"(?!\w)"), code
