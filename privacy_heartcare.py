# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Removes from the text of a report all that identifies a person; the statements about the ECG stay word for word.

    report --lines--> sentences --redact--> sentences without names, numbers and addresses of people

`read_ecg` calls `redact` on the texts of every file, whatever its format. It looks at the text alone, so that a name
with no label, title, comma or signature beside it is not known; readers of files that have fields for names take those
out before.
"""

import re
from collections.abc import Iterator

_ID = r"(?:[- ]?(?:ids?|no|nr|num|number|nummer|kennung|code|name)\b\.?)?"
_ROLE = (
    r"(?:(?:referring|ordering|attending|requesting|treating|consulting|interpreting|reading|primary(?: care)?"
    r"|over-?reading)[- ])?(?:physician|doctor|cardiologist|provider|clinician|md)(?:'?s)?"
)
# Labels of what identifies a patient or somebody who treated or signed, in English, German and Romance languages. In a
# text they count with a separator alone: "suggest review by a physician" identifies nobody.
_LABELS_OF_PEOPLE = "|".join(
    (
        r"(?<!lead )(?:(?:full|last|first|middle|given|family|maiden|patient'?s?|sur|vor|nach|familien"
        r"|geburts)[- ]?)?namen?(?:, ?vorname)?",
        rf"mrn|ssn|social security{_ID}|p\.?id",
        r"d\.?o\.?b\.?|date of birth|birth ?(?:date|day)|geburts(?:datum|tag|ort)|geb\.?(?:[- ]?datum)?|born|geboren",
        rf"{_ROLE}{_ID}|referring|ordering|attending|requesting|technician|technologist|operator|nurse|editor"
        r"|over-?reader|interpreter|signature",
        r"(?:haus|ober|chef|assistenz|stations|fach)?(?:[aä]rzt(?:in)?|arzt)|(?:ü|ue)berweiser(?:in)?|(?:zu"
        r"|ein)weiser(?:in)?",
        r"befunder(?:in)?|untersucher(?:in)?|mtaf?|unterschrift|gez\.?|m[eé]dico|m[ée]decin|nombre|nom|prenom|prénom",
        rf"(?:tele)?phone{_ID}|tel\.?{_ID}|telefon(?:nummer)?|mobil(?:e|telefon)?|handy|(?:tele)?fax|e-?mail|pager",
        r"(?:home |street |postal )?address|anschrift|adresse|wohn(?:ort|haft)|zip(?: code)?|plz",
        rf"(?:insurance|versicherte[nr]|versicherungs?){_ID}|krankenkasse|employer|next of kin",
    )
)
# Labels of patients, visits and places whose words stand in statements as well.
_LABELS_OF_VISITS = "|".join(
    (
        rf"(?:patient(?:en|in)?(?:'?s)?|pat\.?){_ID}(?: (?:name|id))?",
        rf"id{_ID}|identification{_ID}|(?:medical )?record{_ID}|tech\.?{_ID}|kassen{_ID}",
        rf"(?:case|fall|visit|encounter|account|acc|admission|aufnahme|order|auftrags?|accession|requisition"
        rf"|anforderungs?){_ID}",
        rf"stra(?:ß|ss)e|street|city|room{_ID}|bed{_ID}|ward|zimmer{_ID}|bett{_ID}|station|hospital|krankenhaus"
        r"|facility",
    )
)
# Words behind "by" that name no person: "confirmed by echocardiography", "must be reviewed by a physician".
_NOBODY = (
    r"(?!(?:(?:an?|the|your|any|qualified) (?:\w+ )?(?:physician|doctor|cardiologist|specialist|clinician|expert"
    r"|reader|person)|(?:the |an? )?(?:echo\w*|mri|ct|angio\w*|cath\w*|history|criteria|x-?ray|computer|vector\w*"
    r"|repe\w+|further|other|clinical|follow\w*|subsequent|serial|recent|previous|prior|later|lab\w*|troponin|means"
    r"|using)\b))"
)
_NAME = r"(?-i:[A-ZÄÖÜ][\w'’.-]*)"
_SIGNED_BY = (
    r"\b(?:electronically |digitally )?(?:re)?(?:confirmed|referred|ordered|requested|over-?read|reviewed|viewed"
    r"|interpreted|edited|signed|validated|verified|approved|acquired|performed|recorded|dictated|transcribed|read"
    r"|reported|attended|seen)\b[\w ,/-]{0,30}?\bby\b"
)
_BEFUNDET_VON = (
    r"\b(?:bestätigt|befundet|validiert|überwiesen|freigegeben|unterschrieben|unterzeichnet|angefordert|beurteilt"
    r"|gegengezeichnet|geschrieben|gesehen)\b[\w ,/-]{0,30}?\b(?:von|durch)\b"
)
# From such a match on a sentence speaks of a person.
PERSON = re.compile(
    rf"(?<![\w-])(?:{_LABELS_OF_PEOPLE}|{_LABELS_OF_VISITS})\s*[:=#]"
    rf"|{_SIGNED_BY}[: ]*{_NOBODY}(?=\S)|{_BEFUNDET_VON} (?!(?:einem|der|dem|den|die)\b)(?=\S)"
    r"|\b(?:gez\.? ?)?\b(?:dr|prof|priv\.?-?doz)\b\.?(?: ?(?:med|habil|rer|nat|dr|prof)\b\.?)* ?[^\W\d_]"
    rf"|\b(?:mr|mrs|miss|fr|hr)\. {_NAME}|(?-i:\b(?:Mrs|Mr|Miss|Ms)\.? [A-ZÄÖÜ][a-zäöüß])|\b(?:herrn?|frau) {_NAME}"
    r"|\b(?:dob|d\.o\.b\.|born(?: on)?|geb(?:oren)?\.?(?: am)?|geburtsdatum|date of birth|mrn|ssn|p\.?id"
    r"|(?:patient(?:en)?|case|fall|visit|order|auftrags|accession|account|encounter)[- ]?(?:id|no|nr|number"
    r"|nummer)\b\.?|tel(?:efon)?|phone|fax|mobil)\.? ?[#:]?\s*(?=[(+*]?\d)",
    re.IGNORECASE,
)
# The same in a field of a form, where a label needs no separator, and what it labels may stand beside or below it.
PERSON_IN_FORM = re.compile(
    rf"{PERSON.pattern}|(?<![\w-])(?:{_LABELS_OF_PEOPLE})(?![\w-])|(?:{_SIGNED_BY}|{_BEFUNDET_VON})[ :]*$",
    re.IGNORECASE,
)
DEGREES = r"(?:M\.?D\b\.?|D\.O\.|Ph\.?D\b\.?|FACC|FESC)(?![\w:])"  # degrees behind the name of a physician
_DATE = r"\d{1,4}[-./]\d{1,2}[-./]\d{2,4}"
# Parts of a sentence that identify a person by themselves.
TRACES = re.compile(
    r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,5}"  # mail
    rf"|\*\s?{_DATE}"  # birth date
    r"|(?<![\w.])(?:\+\d{1,3}[ /-]?|\(\d{2,5}\) ?|0\d{2,5}[ /-])\d[\d /-]{4,}\d"
    r"|(?<![\w-])\d{3}-\d{2,3}-\d{4}(?![\w-])"  # phone
    r"|(?<![\w.,-])[A-Z]{0,3}\d{7,}(?![\w.,])"  # number
    r"|(?<![\w^])[^\W\d_]{1,64}\^[^\W\d_]{1,64}(?:\^[^\W\d_]{0,64}){0,5}"  # DOE^JANE
    r"|(?<![\w.-])[A-ZÄÖÜ][\w.-]{0,40}?(?:stra(?:ß|ss)e|str\.|weg|platz|allee|gasse) ?\d{1,4}[a-z]?\b"
    r"|\b\d{1,5} (?:[A-Z][\w.]+ ){1,3}(?:Street|St\.|Avenue|Ave\b\.?|Road|Rd\b\.?|Lane|Drive|Boulevard|Blvd\b\.?)"
    r"|\b\d{5} [A-ZÄÖÜ][A-Za-zäöüß]{2,}\b(?! ?(?:Hz|ms|mV|uV))"  # postcode and place
    # Jane Doe, MD
    rf"|(?:(?<![\w'’-])[A-ZÄÖÜ][\w'’-]{{0,40}}\.?,? ){{1,3}}{DEGREES}"
)
# A line that is nothing but a date, a time or a number, and one that is a surname, a comma and first names.
_BARE = re.compile(rf"[*(]?(?:{_DATE}|\d{{1,2}}:\d{{2}}(?::\d{{2}})?|\d{{5,}}|[A-Z]{{1,3}}\d{{4,}})[)]?")
_SURNAME_FIRST = re.compile(r"[A-ZÄÖÜ][\w'’-]+,\s*[A-ZÄÖÜ][\w'’-]*\.?(?:\s+[A-ZÄÖÜ][\w'’-]*\.?){0,2}")
_NAME_ALONE = re.compile(r"[A-ZÄÖÜ][\w'’-]*\.?,?(?:\s+[A-ZÄÖÜ][\w'’-]*\.?){0,3}")
# Parts of the words of ECG reports, by which a line such as "Infarct, Inferior" is known to be no name.
_ECG_WORDS = re.compile(
    r"sinus|rh?yth?m|brady|tachy|arrh?yth|fibril|flimm|flatt|flutter|block|branch|infar|isch|hypert|axis|typ\b"
    r"|\be[ck]g\b|normal|wave|welle|\b(?:st|qt|qtc|qrs|pr|pq|mi|av|sa|lad|rad)\b|\b[lrci]+[as]?[rlv]?b+\b|lead"
    r"|ableit|extras|prematur|complex|beat|atri|vorhof|ventr|kammer|anter|infer|later|sept|poster|left|right|links?"
    r"|rechts?|acute|\bold\b|akut|\balte?r?\b|eleva|depress|senk|heb|volt|nieder|conduct|leitung|delay|degree|grad"
    r"|possib|probab|mögl|wahrsch|pace|schrittm|repol|early|nonspec|unspez|unspec|digit|elektro|electro|bigem"
    r"|trigem|mitral|dextro|sinistro|wpw|\b(?:lvh|rvh|lae|rae|lbbb|rbbb|[ps]?v?[ep][bc]s?|pacs?|sves?|ves|afl|af"
    r"|vhf|svt|vt|nsr|sr|borderline|low|high|abnorm\w*|ohne|kein\w*|no|not|without)\b",
    re.IGNORECASE,
)
DEVICE_REPORT = "device_report"  # column of the device's own text, before an expert changed it
REASON = "reason_for_admission"  # column of the reason why the patient came
TEXT_COLUMNS = (DEVICE_REPORT, REASON)  # columns of free text
LEFT_OUT = "left out parts of the report that identify a person"  # a note
# Full stops behind these end no sentence.
_ABBREVIATION = re.compile(
    r"(?:\b(?:dr|prof|med|habil|priv|doz|geb|tel|nr|no|\w*str|mr|mrs|ms|fr|hr|pat|gez|ink|inkompl|part|ca|vs|z|v|d"
    r"|o|b)|\b[A-Z])\.$",
    re.I,
)
_SENTENCE = re.compile(r"[^.;]*(?:[.;](?=\S)[^.;]*)*[.;]*\s*")


def redact_texts(content: dict) -> dict:
    """Redacts the texts among the attributes of an `ECG`, the report and the columns of free text, and notes it if
    anything goes.

    Args:
        content: Attributes of an `ECG` by name, as a reader gives them.

    Returns: the same attributes with what is left of the texts.
    """
    report, columns = content.get("report", ""), content.get("columns", {})
    redacted = {name: redact(columns[name]) for name in TEXT_COLUMNS if columns.get(name)}
    kept = redact(report)
    if kept == report and all(columns[name] == text for name, text in redacted.items()):
        return content
    notes = tuple(content.get("notes", ()))
    return {
        **content,
        "report": kept,
        "columns": {**columns, **redacted},
        "notes": notes if LEFT_OUT in notes else (*notes, LEFT_OUT),
    }


def redact(text: str) -> str:
    """Takes out of a text what identifies a person, and nothing else.

    From a label, title or signature on, a sentence is left out to its end; numbers, addresses and lines that are names
    or dates are left out alone. A name in the line below its label goes with it.

    Args:
        text: Report of any length; statements stand in lines or sentences.

    Returns: the text without it; the same text where nothing identifies a person.
    """
    if not any(map(identifies_person, sentences(text))):
        return text
    lines, label_before = [], False
    for line in text.splitlines():
        parts = list(sentences(line))
        kept = (
            "" if label_before and _could_be_name(line) else "".join(filter(None, map(_without_person, parts))).strip()
        )
        label = list(PERSON.finditer(line))
        label_before = bool(label) and not line[label[-1].end() :].strip(" .:#-")
        if kept or not line.strip():
            lines.append(kept)
    return "\n".join(lines).strip()


def identifies_person(line: str) -> bool:
    """Tells whether a line of a report identifies a person: a patient, a relative, or somebody who treated or signed.

    Names, birth dates, addresses, phones, mail, and the numbers of patients, orders and visits do, if their wording
    shows what they are: a label ("Patient ID:", "geb."), a title, a signature ("Confirmed by ...") or their shape
    ("DOE^JANE", "Doe, Jane", "030/1234567").

    Args:
        line: One line or sentence, in English or German.
    """
    stripped = line.strip(" \t.;:-\r\n")
    return bool(PERSON.search(line) or TRACES.search(line) or _BARE.fullmatch(stripped) or is_name(stripped))


def sentences(text: str) -> Iterator[str]:
    """Yields the sentences of a text with all that stands between them, so that joined they are the text."""
    for line in text.splitlines(keepends=True):
        sentence = ""
        for part in _SENTENCE.findall(line):
            sentence += part
            if part and not _ABBREVIATION.search(part.rstrip()):
                yield sentence
                sentence = ""
        if sentence:
            yield sentence


def _without_person(sentence: str) -> str:
    """Returns a sentence up to where it speaks of a person, without numbers and addresses; "" if nothing is left."""
    stripped = sentence.strip(" \t.;:-\r\n")
    if _BARE.fullmatch(stripped) or is_name(stripped):
        return ""
    match = PERSON.search(sentence)
    if not match and not TRACES.search(sentence):
        return sentence
    kept = TRACES.sub(" ", sentence[: match.start()] if match else sentence).strip(" \t,;:-(.\r\n")
    if not re.search(r"[^\W\d_]{2}", kept):
        return ""
    return " ".join(kept.split()) + (". " if sentence.rstrip().endswith(".") else " ")


def is_name(line: str) -> bool:
    """Tells whether a line is nothing but a surname, a comma and first names ("Doe, Jane"), and no statement of that
    form ("Infarct, Inferior").
    """
    return bool(_SURNAME_FIRST.fullmatch(line)) and not _ECG_WORDS.search(line)


def _could_be_name(line: str) -> bool:
    """Tells whether a line is at most four capitalized words, a number or a date, without a word of an ECG report."""
    stripped = line.strip(" \t.;:-")
    return bool(_NAME_ALONE.fullmatch(stripped) or _BARE.fullmatch(stripped)) and not _ECG_WORDS.search(stripped)


__all__ = [
    "DEGREES",
    "LEFT_OUT",
    "PERSON_IN_FORM",
    "REASON",
    "TRACES",
    "identifies_person",
    "is_name",
    "redact",
    "redact_texts",
]
