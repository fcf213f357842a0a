"""Words of each SCP-ECG statement in English, German and the Swedish of some of PTB-XL's reports.

All patterns are written for text as `clauses.normalize` gives it (lower case, umlauts written out, abbreviations with
full stops expanded) and match whole words only: `compile_words` puts the boundaries around every pattern, so none
needs its own. German compounds are therefore listed with all their parts ("hinterwandinfarkt"), and inflections are
closed lists.
"""

import re

_ECG = r"(?:ecg|ekg|electrocardiogram|elektrokardiogramm|tracing|ruhe-?ekg)"
_INFLECTED = r"(?:e[ns]?|s|en)?"  # endings of a German noun

# Infarction, ischemia and injury, behind the adjective of a site and at most two words more.
_BETWEEN = r"(?:(?!and |und |or |oder )[a-z]+ ){0,2}?"
_NO_SITE = (
    r"(?:(?:non-? ?)?st[ -](?:segment )?elevation (?:mi|myocardial infarctions?)|non-? ?q-? ?(?:wave )?(?:mi"
    r"|infar[ck]t(?:ion)?s?)|(?:non-?|n)?stemi|(?:(?:trans|sub)mural "
    r"|subendocardial )?(?:myocardial )?(?:infar[ck]t(?:ion)?s?|infarcted)"
    rf"|(?:herz|myokard|myocard)?infarkt{_INFLECTED}|mi(?! ?(?:[1-3]|i{{1,3}}) grad)|heart attack)"
)
_INFARCT = rf"{_BETWEEN}(?:{_NO_SITE}|myo[ck]ard(?:schaden|ial damage)|damage|infar[ck]tablauf)"
_ISCHEMIA = rf"{_BETWEEN}(?:isch(?:ae|e)mi(?:[aes]|en|c|sch(?:e[mnrs]?)?)?|myokardaffektion|ischem)"
_INJURY = (
    rf"{_BETWEEN}(?:subendo[a-z]* )?(?:injury(?: pattern)?|innenschichts?sch(?:ad(?:en|ens)|aed(?:en|igung))"
    rf"|laesion)"
)

_SITES = {
    "inferoposterolateral": r"infero-?postero-?lateral",
    "inferolateral": r"infero-?lateral",
    "inferoposterior": r"infero-?posterior",
    "anterolateral": r"antero-?lateral|anterior-lateral",
    "anteroseptal": r"antero-?septal|septal|antero-?septo-?apical",
    "anterior": r"anterior|vorderwand",
    "inferior": r"inferior|hinterwand",
    "posterior": r"(?:strikt |strictly |true )?posterior",
    "lateral": r"hoch ?lateral|high lateral|hoeg lateral|(?:seiten|lateral)wand|lateral",
}
_ANY_SITE = "|".join(_SITES.values())


def _at(site: str, condition: str) -> str:
    """Returns the pattern of a site's adjective with the condition behind it ("inferior wall infarct"), or with one
    more site between them that has the same condition ("inferior and lateral infarct").
    """
    return (
        rf"(?:{_SITES[site]})(?:e[nrs]?|t)?(?:,? (?:wall |wand )?{condition}|(?=(?:,| and| und| or| oder|/"
        rf"| &)+ ?(?:{_ANY_SITE})(?:e[nrs]?)? {condition}))"
    )


def _of(condition: str, site: str) -> str:
    """Returns the pattern of a condition with its site behind it: "infarct in inferior leads", "Infarkt der
    Hinterwand".
    """
    return (
        rf"(?:{condition})(?:,? | of the | der |: ?| \()(?:in "
        rf"|im )?(?:the )?(?:{_SITES[site]})(?:e[nrs]?)?(?: leads?| ableitungen| wall|bereich)?(?! (?:{_ANY_SITE}"
        rf"|isch\w*|injury|q|st|t)\b)"
    )


def _sited(condition: str, no_site: str, codes: dict[str, str]) -> list[tuple[str, str]]:
    before = [(code, _at(site, condition)) for site, code in codes.items()]
    return before + [(code, _of(no_site, site)) for site, code in codes.items()]


_RBBB = (
    r"(?:right[ -]bundle(?:[ -]branch)?[ -]blocks?|rechts[ -]?schenkelblock(?:s|ade|bild(?:er)?)?"
    r"|schenkelblock rechts|rbbb|rsb|hoegersidigt skaenkelblock)(?: pattern)?"
)
_LBBB = (
    r"(?:left[ -]bundle(?:[ -]branch)?[ -]blocks?|links[ -]?schenkelblock(?:s|ade|bild(?:er)?)?"
    r"|schenkelblock links(?! ?(?:anterior|posterior))|lbbb|lsb|vaenstersidigt skaenkelblock)(?: pattern)?"
)
_PART = (
    r"(?:incomplete|partial|partielle[mnrs]?|unvollstaendige[mnrs]?|inkomplett(?:e[mnrs]?)?|i(?=-?(?:[rl]bbb"
    r"|[rl]sb)))"
)
_WHOLE = r"(?:complete|komplett(?:e[mnrs]?)?|vollstaendige[mnrs]?|c(?=-?[rl]bbb))"
_AV = (
    r"(?:(?:av|a-v|atrioventricular|atrioventrikulaer(?:er)?)[ -]?(?:nodal )?(?:heart )?block(?:s|ade|ierung)?"
    r"|avb|heart block)"
)
_DEGREE = r"[ -]?(?:degree|grade?(?:s|es|iger?)?)"


def _av_block(english: str, number: str, roman: str, german: str) -> str:
    """Returns the pattern of AV block of one degree, with the degree before or behind it: "1st degree AV block",
    "AV-Block I. Grades".
    """
    number = rf"(?<![:.,]){number}(?![:.,]\d)"  # not of a ratio such as 2:1
    degree = rf"(?:{english}|{number}|{roman}){_DEGREE}|{german}gradig(?:e[rnms]?)?|{roman}|{number}"
    behind = rf"(?:{english}|{german}en){_DEGREE}|{roman}|{number}|{german}gradig"
    return rf"(?:{degree})[ -]{_AV}|{_AV}[ ,]*(?:type |typ |grade? |degree )?(?:{behind})(?:{_DEGREE})?"


_LVH = r"(?:lvh|left ventricular hypertrophy)"
_BEATS = r"(?:contraction|complexe?|beat|systole|extrasystole|depolari[sz]ation)(?:\(e?s\)|s)?"
_ST = r"(?:st|s-t)[ -]?(?:segments?|strecken?)?"
_SLIGHTLY = r"(?:(?:is|are|now|slightly|minimally|mildly|markedly) ){0,3}"
_NONSPECIFIC = r"non-? ?specific"
_RATE_ONLY = (
    r"(?=$|,? (?:at |with |mit )?(?:a )?(?:rate (?:of )?)?\d{2,3} ?(?:bpm|/ ?min)?$|,? with (?:pvcs?"
    r"|pacs?|v?es)\b)"
)

# In order: what an earlier pattern has matched is not seen by the later ones.
STATEMENT_WORDS = [
    # rhythm
    ("PACE", r"(?<!wandering )(?<!wandering atrial )(?<!junctional )(?<!wandernder )(?:herz)?(?:pacemaker(?:s|-?ekg"
             r"| spikes?)?|schrittmacher(?:s|n|-?(?:ekg|rhythmus|stimulation|aktion(?:en)?|spikes?|impulse?))?)"
             r"|(?:(?:atrial|ventricular|dual|av|a-v|sequential|demand)[ -])*(?:paced|pacing)(?: rhythm| complexes"
             r"| beats?)?|sm-ekg"),
    ("AFIB", r"(?:atrial|auricular) fibrillation|vorhofflimmerns?(?:/-?flattern)?|foermaksflimmer|a[ -]?fib|vhfl?i?"
             r"|(?:tachy|brady)arrhythmia absoluta|absolute arrhythmie|af(?!:? ?\d{1,2}(?!\d))"),
    ("AFLT", r"(?:atrial|auricular) flutter|vorhofflatterns?|foermaksfladder|a-?flutter|afl"),
    ("PSVT", r"paroxysmal supraventricular tachycardia|paroxysmale supraventrikulaere tachy[kc]ardien?|psvt"),
    ("SVTAC", r"supraventricular tachycardia|supraventrikulaere tachy[kc]ardien?|svt|sv-tachy[kc]ardien?|avnrt"
              r"|av[ -]?nodal re-?entry tachycardia|av-knoten-?reentry-?tachykardie"),
    ("STACH", rf"sinus[ -]?tachy(?:cardia|cardie|kardien?|kardi)?|sinus tach|(?:^|(?<=^rhythm: )|(?<=^rhythm )"
              rf"|(?<=rhythm is ))st{_RATE_ONLY}"),
    ("SBRAD", rf"sinus[ -]?brady(?:cardia|cardie|kardien?|kardi)?|sinus brad|(?:^|(?<=^rhythm: )|(?<=^rhythm )"
              rf"|(?<=rhythm is ))sb{_RATE_ONLY}"),
    ("SARRH", r"sinus[ -]?arr?h?yth?mi(?:as?|en?)?|respiratorische (?:sinus)?arrhythmie"),
    ("SVARR", r"supraventricular arrh?ythmias?|supraventrikulaere arrh?ythmien?"),
    ("BIGU", r"(?:ventricular |ventrikulaerer? )?bigemin(?:y|al|us|ies?|i|al rhythm)"),
    ("TRIGU", r"(?:ventricular |ventrikulaerer? )?trigemin(?:y|al|us|ies?|i|al rhythm)"),
    ("SR", r"(?:normal |regular )?sinus[ -]?rh?yth?m(?:us|s)?|sinusrytm|nsr|sr(?! ?(?:im )?wechsel)"),
    # conduction
    ("2AVB", rf"(?<!# with )(?<!# mit )(?<!mainly )(?:[2-9]:1|high[ -]grade|advanced|hoehergradiger?"
             rf"|hochgradiger?)[ -]{_AV}|{_AV},? [2-9]:1"),
    ("3AVB", _av_block("third|3rd", "3", "iii", "dritt") + rf"|(?:complete|total(?:er)?|komplette?r?)[ -]{_AV}"),
    ("2AVB", _av_block("second|2nd", "2", "ii", "zweit") + r"|wenckebach(?:-periodik)?|(?:typ "
                                                           r"|type )?mobitz(?: i{1,2}| [12])?"),
    ("1AVB", _av_block("first|1st", "1", "i", "erst")),
    ("IRBBB", rf"{_PART}[ -]?{_RBBB}|{_RBBB},? \(?(?:incomplete|partial|inkomplett|unvollstaendig)\)?"),
    ("ILBBB", rf"{_PART}[ -]?{_LBBB}|{_LBBB},? \(?(?:incomplete|partial|inkomplett|unvollstaendig)\)?"),
    ("CRBBB", rf"(?:{_WHOLE}[ -]?)?{_RBBB}"),
    ("CLBBB", rf"(?:{_WHOLE}[ -]?)?{_LBBB}"),
    ("LAFB", r"left anterior (?:fascicular |hemi)[ -]?block|(?:links[- ]?)?anteriore[rn]? (?:hemi"
             r"|fas[zc]ikel)[ -]?block|lahb?|lafb|vaenster anteriort? (?:hemi|fascikel)[ -]?block"),
    ("LPFB", r"left posterior (?:fascicular |hemi)[ -]?block|(?:links[- ]?)?posteriore[rn]? (?:hemi"
             r"|fas[zc]ikel)[ -]?block|lphb?|lpfb"),
    ("IVCD", r"intra-?ventr(?:icular|\.)?\.? (?:conduction )?(?:delay|defect|disturbance|block)|ivcb|ivcd"
             r"|intraventr(?:ikulaere?[nr]?)?\.? (?:block(?:bild|ierung)?"
             r"|(?:er)?regungs(?:ausbreitungs)?stoerung(?:en)?|leitungss?toerung(?:en)?|leitungsverzoegerung)"
             r"|ospecifi(?:k|kt|c|cerat) (?:intraventrikulaert )?skaenkelblock"),
    ("WPW", r"wpw(?:-syndrom|-muster| pattern| syndrome)?|wolff?-parkinson-white(?:-syndrom| syndrome)?"
            r"|delta[ -]?(?:waves?|wellen?)|pre-?excitation|prae-?exzitation"),
    # form that would be mistaken for a diagnosis
    ("VCLVH", rf"voltages? (?:are|is) high in [\w, -]{{0,40}}?suggest(?:ing|s|ive of)? {_LVH}"
              rf"|amplitudenkriterien (?:fuer|einer) links(?:herz)?hypertrophie|voltage criteria (?:for|of"
              rf"|suggest(?:ing|ive of)?) (?:possible )?{_LVH}|{_LVH} by voltage(?: criteria)?"
              r"|amplitudkriterier foer vaenster ?kammarhypertrofi"),
    ("HVOLT", r"voltages? (?:in [\w, -]{1,40}? )?(?:are|is) at (?:the )?upper limit|high (?:qrs )?voltages?"
              r"|hohe qrs-?(?:amplituden?|voltage)|hochvoltage"),
    # hypertrophy
    ("SEHYP", r"septal hypertrophy|septumhypertrophie|sehyp"),
    ("LVH", r"left ventricular hypertrophy|links(?:herz|ventrikel|kammer)?-?hypertrophie(?:zeichen)?"
            r"|linksventrikulaere[rn]? hypertrophie(?:zeichen)?|lvh|vaenster ?kammarhypertrofi|vaensterhypertrofi"),
    ("RVH", r"right ventricular hypertrophy|rechts(?:herz|ventrikel|kammer)?-?hypertrophie(?:zeichen)?"
            r"|rechtsventrikulaere[rn]? hypertrophie(?:zeichen)?|rvh|hoeger ?kammarhypertrofi|hoegerhypertrofi"),
    ("LAO/LAE", r"left atrial (?:enlargement|overload|hypertrophy|abnormality|dilatation|dilation)"
                r"|p-?[ -]?(?:sinistro(?:[ck]ardiale|atriale)|mitrale)|vorhofs?ueberb?e?lastung links"
                r"|links(?:atriale[rn]? |vorhof|atriale )?(?:ueberlastung|vergroesserung|belastung des vorhofs)|lae"
                r"|lao"),
    ("RAO/RAE", r"right atrial (?:enlargement|overload|hypertrophy|abnormality|dilatation|dilation)"
                r"|p-?[ -]?(?:dextro(?:[ck]ardiale|atriale)|pulmonale)|vorhofs?ueberb?e?lastung rechts"
                r"|rechts(?:atriale[rn]? |vorhof|atriale )?(?:ueberlastung|vergroesserung)|rae|rao"),
    # infarction, injury, ischemia: with a site behind, a site before, and none
    *_sited(_INFARCT, _NO_SITE, {
        "inferoposterolateral": "IPLMI", "inferolateral": "ILMI", "inferoposterior": "IPMI", "anterolateral": "ALMI",
        "anteroseptal": "ASMI", "anterior": "AMI", "inferior": "IMI", "posterior": "PMI", "lateral": "LMI",
    }),
    ("IPLMI", r"iplmi"), ("ILMI", r"ilmi"), ("IPMI", r"ipmi"), ("ALMI", r"almi"),
    ("LMI", rf"lmi|(?:seiten|lateral)wandinfarkt{_INFLECTED}"),
    ("ASMI", rf"asmi|qs[ -]complexes in v[1-4]\S{{0,12}}(?: and v?\d)*|anteroseptalinfarkt{_INFLECTED}"),
    # "AMI" is both an acute and an anterior infarction; the anterior one only beside another site's abbreviation.
    ("AMI", rf"vorderwandinfarkt{_INFLECTED}|vwi|ami(?= ?[/,+] ?(?:imi|lmi|asmi|pmi)\b)|(?<=imi/)ami"),
    ("IMI", rf"hinterwandinfarkt{_INFLECTED}|hwi|imi"), ("PMI", r"pmi"),
    ("MI", rf"{_NO_SITE}|ami"),
    *_sited(_INJURY, r"(?:subendo[a-z]* )?injury", {
        "anteroseptal": "INJAS", "anterolateral": "INJAL", "inferolateral": "INJIL", "inferior": "INJIN",
        "lateral": "INJLA",
    }),
    *_sited(_ISCHEMIA, r"isch(?:ae|e)mi(?:[ae]|c changes)", {
        "anterolateral": "ISCAL", "anteroseptal": "ISCAS", "inferolateral": "ISCIL", "inferior": "ISCIN",
        "lateral": "ISCLA", "anterior": "ISCAN",
    }),
    ("ISCAN", r"vorderwandischaemie"), ("ISCIN", r"hinterwandischaemie"),
    ("ISC_", r"(?:(?:myocardial|coronary|innenschicht|myokard)[ -]?)?isch(?:ae|e)mi(?:[ae]s?|c(?! heart)|en"
             r"|sche[mnrs]?)(?:zeichen)?"),
    # repolarisation
    ("ANEUR", r"(?:st-t changes of a )?(?:ventricular )?aneurysma?s?"),
    ("DIG", r"digitalis(?:-?(?:effe[ck]ts?|veraenderung(?:en)?|einfluss|wirkung|zeichen|intox(?:ikation)?"
            r"|paaverkan))?|digoxin"),
    ("LNGQT", r"(?:long|prolonged|verlaengert(?:e[mnrs]?)?|foerlaengt) (?:qtc?[ -]?(?:interval(?:l|s)?|time|zeit"
              r"|dauer)?(?: syndrome)?)|qtc?[ -](?:prolongation|verlaengerung)|qtc?[ -]?(?:interval(?:l)?|zeit"
              r"|dauer)?(?: is| ist| sind)?(?: borderline| deutlich| leicht| markedly)?"
              r" (?:prolonged|verlaengert|foerlaengt)"),
    ("EL", r"electrolytes?(?: imbalance| disturbances?| abnormalit(?:y|ies))?(?: or drug effects?)?(?<!electrolyte)"
           r"(?<!electrolytes)|electrolyte effects?"
           r"|elektrolytstoerung(?:en)?|drug effects?|hypo[ck]al(?:a?emia|iaemie|aemie)|hyper[ck]al(?:a?emia|iaemie"
           r"|aemie)|medikamenten(?:effekt|wirkung|einfluss)"),
    ("NST_", rf"{_NONSPECIFIC} st(?:[ -]?t|-segment)?(?: wave)? changes|st-t (?:wave )?changes"
             rf"|{_NONSPECIFIC} st segment (?:depression|elevation|changes)|{_NONSPECIFIC} st(?:[ -]t| (?:and"
             rf"|&) t)?(?:[ -]waves?)? abnormalit(?:y|ies)"
             r"|(?:unspez(?:\.|ifische)?|ospecifi(?:k|kt|ka)) st-? ?(?:t-?)?(?:strecken-?)?(?:veraenderung(?:en)?"
             r"|foeraendring(?:ar)?)"),
    ("STD_", rf"{_ST} ?{_SLIGHTLY}(?:depressed|depressions?|senkung(?:en)?|gesenkt|saenkning)|(?:gesenkte"
             rf"|depressed) {_ST}|(?:senkung(?:en)? der|depression of(?: the)?) {_ST}"),
    ("STE_", rf"{_ST} ?{_SLIGHTLY}(?:elevated|elevations?|hebung(?:en)?|gehoben|angehoben|hoejning)|(?:gehobene"
             rf"|angehobene|elevated) {_ST}|(?:hebung(?:en)? der|elevation of(?: the)?) {_ST}"),
    ("NT_", rf"t[ -]?waves? (?:changes|flattening)|{_NONSPECIFIC} t[ -]wave (?:changes|flattening)"),
    ("LOWT", r"t[ -]?waves? (?:are|is) (?:low|flat(?:tened)?|of low)|t-?(?:wellen )?-?abflachung(?:en)?"
             r"|abgeflachte t-?(?:wellen?)?|low amplitude t(?:[ -]waves?)?|flat t[ -]waves?"),
    ("INVT", r"t[ -]?waves? (?:(?:are|now|slightly|low|flat|or|and) ){0,4}(?:inverted|inversions?)"
             r"|inverted t(?:[ -]waves?)?|t[ -]?(?:wellen-?)?(?:inversion(?:en|s)?|negativierung(?:en)?)|t inverted"
             r"|twi"),
    ("NDT", rf"(?:unspezifisches|ospecifikt) abnorm(?:al)?(?:e?s)? t"
            rf"|{_NONSPECIFIC} t(?:[ -]wave)? (?:abnormalit(?:y|ies)|changes)|non-?diagnostic t (?:abnormalit(?:y"
            rf"|ies)|changes)"
            r"|unspezifische t-? ?(?:wellen-?)?(?:abnormalitaet(?:en)?|veraenderung(?:en)?)|t[ -]?(?:abnorm(?:al"
            r"|alities)?|veraenderung(?:en)?)(?! ?,? ?wahrscheinlich)"),
    ("TAB_", r"t[ -]?waves? (?:are |is )?abnormal(?:ity|ities)?"),
    ("QWAVE", r"(?:pathologi(?:cal|sche) )?q[ -]?(?:waves?|zacken?|vaag(?:or)?)(?! (?:are|is) (?:probably )?normal)"),
    ("ABQRS", r"qrs ?\(t\) (?:abnorm(?:al)?|foerlopp)|avvikande qrs ?\(t\)|abnormal qrs"),
    ("LVOLT", r"low (?:limb lead |precordial |qrs )?voltages?(?: qrs)?|(?:periphere )?niederspannung(?:s-?ekg)?"
              r"|(?:low|nieder)-? ?voltage|laaga? (?:qrs )?amplitud(?:er)?"),
    ("LPR", r"(?:prolonged|long) p[rq](?:[ -]interval)?|p[rq][ -]?(?:interval|intervall|zeit)? ?(?:is "
            r"|ist )?(?:prolonged|verlaengert)|p[rq]-verlaengerung|pr prolongation"),
    # ectopic beats
    ("PVC", rf"(?:premature ventricular|ventricular premature) {_BEATS}|ventricular ectop(?:ic(?: beats?)?|y)"
            rf"|ventricular extrasystoles?"
            r"|(?:ventri[ck]ul(?:aere?[nr]?|ar(?:a|es?)?)|ventr\.?|kammer-?)(?: ?extrasystolen?|[ -]es)(?:\(n\))?"
            r"|ventrikulaer\(a\) extrasystoli\(er\)|ventrikulaera? extraslag|v[ep]s|p?v[epc]?[bc]s?|vpcs?|pvcs?"),
    ("PAC", rf"(?:premature (?:atrial|supraventricular)|(?:atrial|supraventricular) premature) {_BEATS}|(?:atrial"
            rf"|supraventricular) ectop(?:ic(?: beats?)?|y)"
            r"|(?:supraventri[ck]ul(?:aere?[nr]?|ar)|vorhof-?|atriale)(?: ?extrasystolen?|[ -]es)(?:\(n\))?"
            r"|supraventricular extrasystoles?|supraventrikulaer\(a\) extrasystoli\(er\)"
            r"|supraventricular(?= and (?:#|ventricular))|sves?|[ps]a[cb]s?|ap[cb]s?|svpbs?"),
    ("PRC(S)", r"premature (?:complex(?:es)?|beats?)(?:\(e?s\))?"),
    # normal only where the ECG is: neither "normal sinus rhythm" nor "PR within normal limits" is the verdict
    ("NORM", rf"(?:(?:sonst|otherwise|noch|eljest|essentially|entirely"
             rf"|completely) )?(?:normal(?:es|t)?|unauffaelliges?|within normal)"
             rf" (?:(?:resting|12-lead|sinus|standard|adult|pediatric) )?{_ECG}|{_ECG}(?: is| ist| was"
             rf"|:)? (?:(?:otherwise|sonst|wahrscheinlich|probably|essentially|entirely|voellig"
             rf"|altersentsprechend) )*"
             r"(?:normal|within normal limits|unauffaellig|im normbereich|normalbefund)(?= ?(?:$|[,#(?]))"
             r"|no definite pathology|normal(?:er)?-?befund|sonst normales|^(?:all )?within normal limits$"),
]  # fmt: skip

# Columns of PTB-XL beside its statements, and the general words that negated findings are reported with: "no noise",
# "no extrasystoles".
FINDING_WORDS = [
    ("ALAD", r"(?:extreme|marked) left axis(?: deviation)?|ueberdrehter linkstyp"),
    ("ARAD", r"(?:extreme|marked) right axis(?: deviation)?|ueberdrehter rechtstyp"),
    ("AXL", r"borderline left axis(?: deviation)?"),
    (
        "LAD",
        r"left(?:ward)? axis(?: deviation)?|linkstyp|lad(?! (?:occlusion|stenosis|territory|lesion|stent"
        r"|disease))",
    ),
    ("RAD", r"right(?:ward)? axis(?: deviation)?|rechtstyp|rad"),
    ("AXR", r"vertical axis|steiltyp"),
    ("SAG", r"sagittal axis|sagittaltyp"),
    ("MID", r"normal (?:electrical |qrs |heart )?axis|axis (?:is )?normal|indifferenztyp"),
    ("static_noise", r"static noise"),
    ("burst_noise", r"burst noise"),
    ("baseline_drift", r"(?:baseline )?(?:drift|wander)(?:s|ing)?"),
    ("electrodes_problems", r"problem with an electrode|electrode problems?"),
    ("noise", r"noise|artefacts?|artifacts?"),
    ("PRC(S)", r"extrasystoles?|ectopic beats?"),
    ("FORM", r"abnormalit(?:y|ies) of the waveform|waveform abnormalit(?:y|ies)"),
    ("DIAGNOSIS", r"certain diagnosis"),
]


def compile_words(table: list[tuple[str, str]]) -> tuple[tuple[str, re.Pattern], ...]:
    """Compiles the patterns of a table so that they match whole words only.

    Args:
        table: Pairs of code and pattern.

    Returns: the pairs in the same order, with compiled patterns.
    """
    return tuple((code, re.compile(rf"(?<!\w)(?=\w)(?:{pattern})(?!\w)")) for code, pattern in table)


PATTERNS = compile_words(STATEMENT_WORDS)
FINDINGS = compile_words(FINDING_WORDS)
