"""Report text -> statements: words, negation, doubt, two languages, and PTB-XL's own pairs."""

import csv
import gzip

import pytest

from heartcare.agent.lexicon import PATTERNS, find_statements
from heartcare.agent.statements import FORM, SNOMED, STATEMENTS, SUPERCLASS_OF


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Sinus rhythm. Normal ECG.", {"SR": 100, "NORM": 100}),
        ("Sinusrhythmus, Linkstyp, sonst normales EKG", {"SR": 100, "NORM": 100}),
        ("No evidence of atrial fibrillation.", {}),
        ("Kein Vorhofflimmern. Sinusrhythmus.", {"SR": 100}),
        ("Atrial fibrillation ruled out", {}),
        ("Possible old inferior infarct", {"IMI": 50}),
        ("Inferior myocardial infarction, probably old", {"IMI": 100}),
        ("Inferiorer Infarkt wahrscheinlich alt", {"IMI": 100}),
        ("Inferiorer Infarkt nicht auszuschliessen", {"IMI": 15}),
        ("Inferiorer Infarkt nicht auszuschließen", {"IMI": 15}),
        ("Anterior infarction cannot be excluded.", {"ASMI": 15}),
        ("Verdacht auf Vorderwandinfarkt", {"ASMI": 50}),
        ("Anterolaterale Ischämie oder Linksbelastung", {"ISCAL": 50}),
        ("Myocardial ischaemia is likely.", {"ISC_": 80}),
        ("No Q waves, ST depression or T wave inversion", {}),
        ("Sinus rhythm, no ST depression, LVH", {"SR": 100, "LVH": 100}),
        ("Incomplete right bundle branch block", {"IRBBB": 100}),
        ("unvollständiger Rechtsschenkelblock", {"IRBBB": 100}),
        ("Kompletter Linksschenkelblock", {"CLBBB": 100}),
        ("Supraventrikuläre Extrasystole(n)", {"PAC": 100}),
        ("Ventrikuläre Extrasystole(n)", {"PVC": 100}),
        ("AV-Block I. Grades", {"1AVB": 100}),
        ("sinus rhythm. edit: norm 80, imi 15", {"SR": 100, "NORM": 80, "IMI": 15}),
        ("Atrial fibrillation, possible inferior infarct", {"AFIB": 100, "IMI": 50}),
        ("Inferior infarct, possible", {"IMI": 50}),
        ("Sinus rhythm, probable left ventricular hypertrophy", {"SR": 100, "LVH": 80}),
        ("ABNORMAL ECG", {}),
        ("Normal sinus rhythm. Right bundle branch block. Abnormal ECG", {"SR": 100, "CRBBB": 100}),
        ("Normal sinus rhythm. Normal ECG", {"SR": 100, "NORM": 100}),
        ("Abnormales EKG", {}),
        ("Pathologisches EKG", {}),
        ("Kein normales EKG", {}),
        ("ECG is not normal", {}),
        ("PR interval within normal limits", {}),
        ("Borderline ECG", {}),
        ("Otherwise normal ECG", {"NORM": 100}),
        ("*** ACUTE MI / STEMI ***", {"MI": 100}),
        ("Myocardial infarction", {"MI": 100}),
        ("Herzinfarkt", {"MI": 100}),
        ("NSTEMI", {"MI": 100}),
        ("Acute MI. Inferior infarct", {"IMI": 100}),
        ("Anterior STEMI", {"ASMI": 100}),
        ("No evidence of myocardial infarction", {}),
        ("", {}),
    ],
)
def test_wordings(text, expected):
    assert find_statements(text) == expected


def test_every_pattern_and_table_speaks_of_known_statements():
    assert {code for code, _ in PATTERNS} <= set(STATEMENTS)
    assert set(SNOMED.values()) <= set(STATEMENTS) and set(SUPERCLASS_OF) - set(FORM) <= set(STATEMENTS)


def test_ptbxl_reports(shared):
    """Rhythms and blocks that reports state plainly are found, and rarely where they are not listed;
    studies/evaluate_lexicon.py prints the whole table.
    """
    with gzip.open(shared / "ptbxl_database.csv.gz", "rt", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["strat_fold"] == "9"]
    import ast

    pairs = [(set(find_statements(row["report"])), set(ast.literal_eval(row["scp_codes"]))) for row in rows]
    for code, precision, recall in (
        ("SR", 0.98, 0.98),
        ("AFIB", 0.95, 0.97),
        ("STACH", 0.9, 0.97),
        ("PACE", 0.9, 0.9),
        ("IRBBB", 0.8, 0.55),
        ("NORM", 0.88, 0.7),
    ):
        both = sum(code in said and code in listed for said, listed in pairs)
        assert both / sum(code in said for said, _ in pairs) > precision, code
        assert both / sum(code in listed for _, listed in pairs) > recall, code


def test_hostile_text_takes_no_time():
    import time

    started = time.perf_counter()
    for text in (
        "sinus " * 20000,
        "no " * 20000,
        "possible, " * 20000,
        "#" * 50000,
        "voltages are high in " + "a, " * 20000,
    ):
        find_statements(text)
    assert time.perf_counter() - started < 20
