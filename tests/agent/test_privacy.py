"""Reports of any format lose all that identifies a person, and their statements stay word for word."""

import json
import re
import time

import pytest
from make_examples import write_wfdb
from support import vendor_files as files

from heartcare.agent.readers import read_ecg
from heartcare.agent.readers.pdf_labels import Word
from heartcare.agent.readers.pdf_text import find_cells, find_report
from heartcare.agent.report_pdf import write_pdf_report
from heartcare.privacy_heartcare import LEFT_OUT, identifies_person, redact, redact_texts, sentences

IDENTIFYING = """
Patient: Jane Doe
Patient Name: DOE, JANE
Name: Doe
Nachname: Müller
Vorname: Anna
Patient ID: 4711
Pat.-Nr.: 4711
PID: 4711
MRN: 12345
MRN 12345
ID: 4711
SSN 123-45-6789
DOB: 1962
DOB 01/02/1962
Date of birth: 1 Feb 1962
born 1.2.1962
geb. 01.02.1962
Geb.: 01.02.1962
Geburtsdatum: 01.02.1962
*01.02.1962
Geboren am 1.2.1962
Confirmed by STRANGE, STEPHEN (4711) on 02-JUN-2025
Referred by: HOOT
Electronically signed by A B
Technician: BOLT
Befundet von Dr. Meier
Edited by X on 2/3/2020
Reviewed and signed electronically by STRANGE
Dr. Hoot agrees
Dr. med. Anna Müller
Prof. Dr. Schmidt
Physician: Hoot
Referring physician: Hoot
Hausarzt: Meier
Überweiser: Meier
Arzt: Meier
Ordering MD: Smith
Jane Smith, MD
Mrs. Doe
Frau Müller
Herr Meier
Tel.: 030/1234567
Tel. 030 1234567
Phone: 555-123-4567
(555) 123-4567
+49 30 1234567
Fax: 123456
jane.doe@example.org
E-Mail: x@y.de
Hauptstraße 12
Hauptstr. 12
12345 Berlin
12 Main Street
Address: 12 Main Street
Anschrift: Hauptstr. 1
Accession number: A12345
Accession No. 4711
Order #: 99
Visit number: 3
Visit ID: 3
Auftragsnr.: 12
Fallnummer: 4711
Fall-Nr. 4711
Account: 3
Case number: 5
Encounter: 12
Order number 4711
DOE^JANE
Doe, Jane
MÜLLER, ANNA MARIA
01.02.1962
12345678
Room: 12
Station: 3B
Versichertennummer: A123456789
CONFIRMED BY: SMITH
confirmed by smith, john
Unterschrift: Meier
gez. Dr. Meier
freigegeben durch Meier
""".strip().split("\n")

STATEMENTS = """
Sinus rhythm
Normal ECG
ABNORMAL ECG
Unconfirmed report
Interpretation made without knowing age or sex
Compared with ECG of 2019, drift is absent
When compared with ECG of 12-MAR-2002 10:30,
Infarct, Inferior
Block, AV
LVH, LAE
Bradycardia, Sinus
Suggest review by a physician
Report must be reviewed by a physician
LVH confirmed by echocardiography
Lead name: II
MR II
QRS 120 ms
QRS 120 MS
Vent. rate 72 BPM
PR interval 160 ms
QT/QTc 400/420 ms
P-R-T axes 60 -30 120
25 mm/s 10 mm/mV
40 Hz
ST elevation in V1-V3
Inferior infarct, age undetermined
In this patient consider ischemia
this is an unusual tracing for a patient of this age
1. SINUS RHYTHM
Sinusrhythmus, Linkstyp
Inkompl. RSB
Z.n. Infarkt
V.a. Ischämie
Anterior infarct (cited on or before 12-MAR-1999)
Vater: Herzinfarkt
Indication: chest pain
Rhythm: sinus
Befund: Normales EKG
Interpretation: normal
Read in conjunction with clinical data
ST depression, possibly due to digitalis
Sinus rhythm with 2:1 AV block
Pacemaker spikes noted
Mobitz II
Wolff-Parkinson-White
Atrial fibrillation, rapid
Inferior
Infarct location: inferior
Electronic ventricular pacemaker
V-rate 50-99
ST & T abnorm, wahrscheinlich anterolaterale Ischämie
Linksschenkelblock, unverändert
Lateral ischemia, known
Pulmonary Disease Pattern
Early Repolarization
Tall T, Hyperkalemia
Pericarditis, Acute
""".strip().split("\n")

REDACTED = [
    ("Sinus rhythm. Confirmed by Dr. Smith. Normal ECG.", "Sinus rhythm. Normal ECG."),
    ("Sinus rhythm, confirmed by SMITH, JOHN (123) on 3/12/2002 10:30:31 AM\nNormal ECG", "Sinus rhythm\nNormal ECG"),
    ("Patient Name:\nJane Doe\nSinus rhythm", "Sinus rhythm"),
    ("Name: Doe, Jane\nDOB: 1.2.1962\nSinusrhythmus. Normales EKG.\nDr. med. Meier", "Sinusrhythmus. Normales EKG."),
    ("Sinus rhythm. Dr. A. B. Smith. LVH", "Sinus rhythm. LVH"),
    ("LVH Tel. 030 1234567", "LVH"),
    ("Name:\nSinus rhythm", "Sinus rhythm"),
    ("Z.n. Infarkt. Gez. Dr. Meier", "Z.n. Infarkt."),
    ("LBBB, jane.doe@example.org", "LBBB"),
    ("Sinus rhythm, patient DOE^JANE", "Sinus rhythm, patient"),
    ("Confirmed by Hoot", ""),
    ("", ""),
]

# A report as somebody might write it, the words of people in it, and what is left.
REPORT = ("Sinus rhythm", "Referred by: HOOT", "Patient: DOE, JANE", "geb. 03.04.1962", "LBBB", "Tel. 030/1234567",
          "Befundet von Dr. Strange", "Accession number: A998877", "Abnormal ECG")  # fmt: skip
LEFT = ("Sinus rhythm", "LBBB", "Abnormal ECG")
PEOPLE = ("hoot", "doe", "jane", "1962", "1234567", "strange", "998877")
WRITERS = {"dicom": files.write_dicom, "hl7-aecg": files.write_aecg, "muse-xml": files.write_muse,
           "sierra-xml": files.write_sierra, "scp-ecg": files.write_scp}  # fmt: skip


@pytest.mark.parametrize("line", IDENTIFYING)
def test_what_identifies_a_person_is_known(line):
    assert identifies_person(line) and redact(f"Sinus rhythm\n{line}\nLBBB") == "Sinus rhythm\nLBBB"


@pytest.mark.parametrize("line", STATEMENTS)
def test_statements_stay_word_for_word(line):
    assert not identifies_person(line) and redact(line) == line
    around = f"Dr. Hoot\n{line}\nJane Doe, MD"
    assert redact(around) == line


def cells_of(*lines: tuple[str, ...]) -> list:
    """Returns the cells of a page, those of a line side by side."""
    words = []
    for row, line in enumerate(lines):
        for column, text in enumerate(line):
            left = 300.0 * column
            for word in text.split():
                words.append(Word(word, left, 12.0 * row, left + 5 * len(word), 12.0 * row + 10))
                left += 5 * len(word) + 3
    return find_cells(words)


@pytest.mark.parametrize("line", IDENTIFYING)
def test_a_page_leaves_out_the_same(line):
    """There is one list of what identifies a person, for texts and for the words of a page."""
    statements = ("Sinus rhythm",), ("Left bundle branch block",)
    assert find_report(cells_of(statements[0], (line,), statements[1])) == "Sinus rhythm. Left bundle branch block."


@pytest.mark.parametrize(
    "label",
    ["Name", "Patient name:", "Physician", "Referring", "Attending MD", "Confirmed by", "Befundet von", "Überweiser",
     "Technician", "Patient:", "Born", "Address", "Krankenkasse", "Reviewed and signed by:", "Operator"],
)  # fmt: skip
def test_a_field_of_a_form_needs_no_separator(label):
    """A name that stands beside a label is left out of the statements, too, wherever they repeat it."""
    cells = cells_of((label, "Hoot Wise"), ("Sinus rhythm of Hoot",), ("LVH, seen by wise",))
    assert find_report(cells) == "Sinus rhythm of. LVH."
    assert find_report(cells_of((f"{label} Hoot Wise",), ("Sinus rhythm of Hoot",))) == "Sinus rhythm of."


@pytest.mark.parametrize("text, left", REDACTED)
def test_a_sentence_is_left_out_from_the_person_on(text, left):
    assert redact(text) == left and redact(left) == left and "".join(sentences(text)) == text


def test_texts_of_a_reader_are_redacted_and_noted_once():
    content = {"report": "LBBB. Dr. Hoot", "columns": {"dx": "164909002", "device_report": "Dr. Hoot"}, "notes": ("a",)}
    redacted = redact_texts(content)
    assert redacted == {
        "report": "LBBB.",
        "columns": {"dx": "164909002", "device_report": ""},
        "notes": ("a", LEFT_OUT),
    }
    assert redact_texts({**content, "notes": (LEFT_OUT,)})["notes"] == (LEFT_OUT,)
    assert redact_texts(redacted) is redacted and redact_texts({}) == {}


def check_nobody_is_named(record):
    kept = {name: value for name, value in vars(record).items() if name not in ("signal", "source", "patient_id")}
    text = json.dumps(kept, default=str).lower()
    assert not [word for word in PEOPLE if word in text], text
    assert [part for part in re.split(r"\. |\.$", record.report) if part] == list(LEFT)
    assert record.statements == {"SR": 100.0, "CLBBB": 100.0} and LEFT_OUT in record.notes


@pytest.mark.parametrize("name", WRITERS)
def test_reports_of_vendors(name, ecg, tmp_path, monkeypatch):
    pytest.importorskip("ecgdatakit")
    pytest.importorskip("pydicom")
    monkeypatch.setattr(files, "STATEMENTS", REPORT)
    WRITERS[name](tmp_path / "a", ecg)
    check_nobody_is_named(read_ecg(tmp_path / "a"))


def test_comments_of_wfdb(ecg, tmp_path):
    write_wfdb(tmp_path, "a", ecg.signal, ecg.sampling_rate)
    with open(tmp_path / "a.hea", "a", encoding="utf-8") as header:
        header.writelines(f"# Comment: {line}\n" for line in REPORT)
    check_nobody_is_named(read_ecg(tmp_path / "a"))


def test_classification_of_a_watch(tmp_path):
    lines = [
        "Name,Jane Doe",
        f'Classification,"{". ".join(REPORT)}"',
        "Sample Rate,512 hertz",
        "Lead,Lead I",
        "Unit,µV",
    ]
    (tmp_path / "a.csv").write_text("\n".join([*lines, "", *map(str, range(2000))]), encoding="utf-8")
    check_nobody_is_named(read_ecg(tmp_path / "a.csv"))


def test_pages(ecg, tmp_path):
    pytest.importorskip("pymupdf")
    write_pdf_report(tmp_path / "a.pdf", ecg.signal, 500, "12x1", text=REPORT[:6])
    record = read_ecg(tmp_path / "a.pdf")
    assert record.report == "Sinus rhythm. LBBB." and record.statements == {"SR": 100.0, "CLBBB": 100.0}


def test_hostile_text_takes_linear_time():
    started = time.process_time()
    for text in (
        "Dr. ",
        "Name: ",
        "a",
        "a.",
        "A-",
        "A ",
        "A, ",
        "0 ",
        "01",
        "a^",
        "@",
        "confirmed ",
        "12345 Aaa ",
        "\n",
        " ",
    ):
        redact(text * 20000)
    assert time.process_time() - started < 20
