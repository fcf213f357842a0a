"""Tests of the number or the statement that a question asks for."""

import time

import numpy as np
import pytest

from heartcare import asking_heartcare
from heartcare.agent.qa import (
    CLOSED,
    COMPARE_CLOSED,
    COMPARE_OPEN,
    OPEN,
    PREDICTION,
    REPORT,
    VERIFY,
    ask,
    patient_words,
)
from heartcare.agent.statements import WORDING
from heartcare.asking_heartcare import answer_numbers, asked_numbers, mended, normalize, words_of_axis
from heartcare.measuring_heartcare import MEASURED, Measurements, as_plain, unmeasured
from heartcare.statements_heartcare import SYNONYMS, asked_statement, statement_of
from heartcare.training.drill import WORDINGS
from heartcare.understanding_heartcare import QUANTITIES

NUMERIC = {
    ("heart_rate",): (
        *("HR?", "what's the rate", "How fast is the heart beating?", "how many beats per minute", "pulse?"),
        *("At what rate does the heart beat?", "what heart rate does this ecg show", "I need the ventricular rate."),
        *("ventricular rate in bpm?", "Wie hoch ist die Herzfrequenz?", "Herzfrequenz bitte",
        "Please give me the rate."),
        *("Could you tell me the heart rate of this patient?", "heart rate", "Tell me the pulse rate",
        "Mean heart rate?"),
    ),
    ("pr",): (
        *("PR", "PR interval?", "how long is the pr intervall?", "Wie lang ist die PQ-Zeit?", "P-R interval in ms"),
        *("What is the PR?", "measure the PR interval please", "PQ?", "What is the AV conduction time?"),
        *("Give me the duration of the PR interval.", "how many ms is the PR interval", "PR duration"),
    ),
    ("qrs",): (
        *("QRS duraton", "How wide is the QRS complex?", "QRS-Breite?", "What is the duration of the QRS complex?"),
        *("Give me the QRS duration in ms", "qrs", "QRS width?", "Wie breit ist der QRS-Komplex?",
        "How broad is the QRS?"),
        *("report the QRS duration", "State the QRS width.", "How long does the QRS last?"),
    ),
    ("qt",): ("Measure the QT interval", "QT?", "How long is the QT?", "what is the QT time",
    "QT interval in milliseconds", "QT-Zeit?"),
    ("qtc_fridericia",): (
        *("QTc pls", "Could you please tell me the corrected QT interval?", "QTc?",
        "What is the QTc by Fridericia's formula?"),
        *("What's the rate-corrected QT?", "QTcF", "Wie lang ist die QTc-Zeit?", "corrected QT"),
    ),
    ("qtc_bazett",): ("QTc nach Bazett", "What is the QTc (Bazett)?", "Bazett QTc", "QTcB?"),
    ("qrs_axis",): (
        *("What is the electrical axis of the heart?", "Which axis does the heart have?", "Lagetyp in Grad", "axis?"),
        *("What is the cardiac axis in degrees?", "In which direction does the QRS axis point?", "QRS axis",
        "Was ist der Lagetyp?"),
        *("What is the QRS axis of this patient's heart, in degrees?", "frontal plane axis",
        "mean electrical axis please"),
    ),
    ("p_axis",): ("P axis?", "What is the axis of the P wave?", "Give me the P wave axis in degrees"),
    ("t_axis",): ("T axis", "what is the t-wave axis", "How many degrees is the T axis?"),
    ("p_axis", "qrs_axis", "t_axis"): ("P-R-T axes", "What are the axes?"),
    ("sokolow_lyon",): ("Sokolow-Lyon index", "What is the Sokolow-Lyon voltage in mV?", "SV1 + RV5?", "Sokolow?"),
    ("cornell",): ("Cornell voltage?", "What is the Cornell index"),
    ("st:V2",): ("How much ST elevation is there in V2?", "ST level in V2", "What is the V2 ST level?",
    "ST depression in lead V2 in mV"),
    ("r:V5",): ("What is the R wave amplitude in V5?", "How tall is the R wave in V5?", "R wave in V5"),
    ("s:V1",): ("How deep is the S wave in V1?", "S wave amplitude in lead V1?"),
    ("pr", "qrs", "qtc_fridericia"): ("PR, QRS and QTc?", "What are the PR, the QRS and the QTc?"),
    ("qt", "qtc_fridericia"): ("QT/QTc", "QT and QTc"),
    ("heart_rate", "qrs_axis"): ("What is the rate and the axis?", "rate, axis"),
    ("rr",): ("What is the mean RR interval?", "RR interval in ms?"),
    ("ectopic",): ("How many extrasystoles are there?", "number of ectopic beats", "Wie viele Extrasystolen gibt es?"),
    ("st_slope:V5",): ("ST slope in V5?", "What is the slope of the ST segment in lead V5?"),
    ("qtc_framingham",): ("Framingham-corrected QT", "QTc using the Framingham formula"),
    ("qtc_bazett", "qtc_fridericia"): ("QTc by Bazett and by Fridericia?",),
    ("qt", "qtc_bazett"): ("QT and QTc (Bazett)",),
    ("heart_rate", "pr"): ("Rate? And the PR?",),
    ("p_share", "pr", "p_axis"): ("Describe the P waves.", "What do the P waves look like?", "Beschreibe die P-Wellen"),
    tuple(MEASURED): ("measurements please", "all measurements", "Give me all the numbers"),
    ("pr", "qrs", "qt", "qtc_fridericia"): ("all intervals", "What are the intervals?"),
}  # fmt: skip
# Spans between landmarks, physiology, forms of an answer, and sentences about the patient that only tell something.
NUMERIC_HARD = {
    ("pr",): (
        *("Give the time from the onset of P to the beginning of the QRS complex", "AV conduction in ms?"),
        *("Question: what is the PR?", "We will start verapamil. What is the PR interval?", "PR (integer, ms only)"),
    ),
    ("qrs",): (
        *("How much time is there between the start of the QRS and its end?", "ventricular activation time, ms"),
        *("How long does the QRS last on this ECG?", "The QRS lasts how long?", "How long does his QRS last, in ms?"),
        *("He has heart failure, how wide is the QRS?", "qrs_width: float", "How many ms wide is the QRS?"),
    ),
    ("qt",): (
        *("measure from the start of QRS until the end of the T wave", "QT without correction", "QT, not the QTc"),
        *("She was given ondansetron. How long is the QT?",),
    ),
    ("qtc_fridericia",): (
        *("Please correct the QT interval for the heart rate.", "Korrigiertes QT?", "QTc for the drug chart"),
        *("baseline QTc?", "QTc on the resting ECG?", "QTc, in s?"),
        *("QTc before we start sotalol?", "I am worried about torsades. What is the QTc?"),
    ),
    ("rr",): ("How long is it from one R wave to the next R wave?",),
    ("heart_rate",): (
        *("By the 6 second method, what is the heart rate?", "Bed 7 is dizzy. Rate?", "ventricular response rate"),
        *("72m, syncope. HR?", "What is the rate in this tachycardia?", "Wie schnell geht mein Puls?"),
        *("rate in this regular narrow complex tachycardia?", "How fast is the heart at this time?", "resting HR?"),
        *("What is the rate in this young woman?", "Heart rate of this child?", "HR in this case?"),
        *("HR of this E.C.G.?", "So what is the rate then?", "Heart rate in this lady's ECG?", "HR in lead II?"),
    ),
    ("qrs_axis",): ("How does the heart's axis lie?", "Nenne den Lagetyp", "Wohin zeigt die elektrische Herzachse?"),
    ("p_axis",): ("Achse der P-Welle?", "atrial axis in degrees"),
    ("t_axis",): ("axis of repolarisation", "T-Achse"),
    ("sokolow_lyon",): ("R V6 + S V1", "S in V1 and R in V5 or V6, added up?"),
    ("cornell",): ("S V3 + R aVL in mV",),
    ("st:V1", "st:V2"): (
        *("What is the ST level in V1 and V2?", "V1 and V2 ST level?", "ST level of leads V1, V2 in mV"),
        *("Wie hoch ist die ST-Strecke in V1 und V2?", "ST elevation in V1/V2?"),
    ),
    ("r:V5", "r:V6"): ("How tall are the R waves in V5 and V6?", "R wave amplitude in V5 and in V6?", "R in V5 & V6"),
    ("st:II", "st:III", "st:aVF"): ("ST level in II, III and aVF?", "ST deviation in leads II, III, and aVF in mm"),
    ("st:I", "st:aVL"): ("ST level in I and aVL?", "ST in lead I and lead aVL"),
    ("s:V1", "s:V2", "s:V3"): ("How deep are the S waves in V1, V2 and V3?",),
    ("r:V5", "qtc_fridericia"): ("How tall is R in V5, and I need the QTc.", "R in V5 and QTc?"),
    ("r:II",): ("How tall is R in II?", "Höhe der R-Zacke in II?"),
    ("s:V3",): ("Wie tief ist die S-Zacke in V3?", "depth of S in V3"),
    ("st:aVF",): ("By how many mm is ST depressed in aVF?", "elevation of the ST segment in aVF"),
}  # fmt: skip
OTHER = (
    *("Is the PR interval prolonged?", "What is the rhythm?", "Is the rate above 100?", "Rate this ECG.",
    "Rate the quality."),
    *("What does a prolonged QT mean?", "What is the atrial rate?", "What is the rate and rhythm?",
    "How good is the recording?"),
    *("What is the PR interval of the second ECG?", "What is the upper limit of QTc?", "Why is the QRS wide?",
    "Hello", "", "?"),
    *("What is wrong with the PR interval?", "How do you measure the QT interval?",
    "Does the rate explain the symptoms?", "thanks"),
    *("Has the QRS become wider?", "What is the QTc compared to the last ECG?", "Should the QTc worry me?",
    "Describe the QRS."),
    *("Which drug shortens the QT interval?", "What is the normal PR interval?", "What is the sampling rate?",
    "Is there AV block?"),
    *("What is the PR segment?", "Which rhythm is it: sinus rhythm, pulse?", "What is the axis: left, right?",
    "Interpret the ECG"),
    *("How old is the patient?", "What is the patient's name?", "Are the P waves upright?",
    "What about the T waves?", "QRS morphology?"),
    *("Explain the rate.", "Why is the pulse fast?", "Ist die QT-Zeit verlängert?", "Wie ist der Rhythmus?",
    "Befund bitte"),
    *("What is an axis?", "What does the QTc tell you?", "QRS-T angle", "How many QRS complexes do you count?"),
    *("Wie berechnet man die Frequenz?", "How is the axis determined?", "How can one estimate the rate?"),
    *("broad QRS?", "long PR?", "fast rate?", "Verlängerte PQ-Zeit?", "breiter QRS-Komplex?"),
    *("The rate was 80 yesterday. What is the rhythm?", "QTc 510. What now?", "If the PR is 240, what is the block?"),
    *("Describe the ECG. What is the rate?", "What is the QRS? Is it wide?", "What is the QRS in his ectopic beats?"),
    *("What is the rate in her second ECG?", "Which lead has the tallest R?", "QTc by Hodges?", "Bazett?"),
    # of one lead, although measured over all of them; and of leads that are not named one by one
    *("QRS duration in V1?", "QT in V2?", "PR interval in lead III?", "QRS in leads V1 and V6?", "QRS in lead I?",
    "QTc in aVF?"),
    *("QRS axis in V1?", "heart rate in V5", "ST level in V1 to V3?", "ST in V1-V3?", "R in V5 or V6?"),
    *("R in V5 and V9?", "ST level in V1 and in the other leads?", "What is the heart rate in P?", "ST in V7?"),
    # of another time, or of a part of the recording
    *("What was the heart rate last time?", "What was the QTc at admission?", "What was the QTc at discharge?"),
    *("On admission, what was the QTc?", "Last time, what was the QTc?", "What was the heart rate on arrival?"),
    *("What was the QTc at baseline?", "QTc at rest?", "What was the rate at that time?", "What was the rate then?"),
    *("What is the heart rate in the last 5 seconds?", "heart rate in 5 seconds?", "What is the rate in minute 2?"),
    *("What is the heart rate at 5 s?", "HR at 10:30?", "What was the rate on the last strip?", "QT last?"),
    *("What is the rate on the second strip?", "What is the rate in her second tracing?", "QTc on their new drug?"),
    *("What is the rate during this seizure?", "What is the rate with my treadmill?", "PR in her childhood?"),
    # of others
    *("What is the heart rate in his mother?", "What is the PR in her daughter?", "QTc in their twin?"),
    *("What is the heart rate of the doctor?", "Heart rate on the monitor?"),
    *("Do not give me the PR.", "What is the rate of the atria?", "How much does the QT exceed 450 ms?"),
)  # fmt: skip
STATEMENTS = {
    "AFIB": ("Is this AF?", "afib?", "Is the patient in atrial fibrillation?", "Is the rhythm atrial fibrillation?",
        "Gibt es Vorhofflimmern?"),
    "CLBBB": ("Is this LBBB?", "Liegt ein Linksschenkelblock vor?",
        "Is there complete left bundle branch block on this ECG?"),
    "CRBBB": ("Is there right bundle branch block?", "RBBB?", "Can a right bundle-branch block be seen?"),
    "IRBBB": ("Is there incomplete right bundle branch block?", "incomplete RBBB?"),
    "super:MI": ("Is this a heart attack?", "Is there evidence of myocardial infarction?", "any MI?"),
    "NORM": ("Does this look normal to you?", "Is this ECG normal?", "Is it normal?", "Is everything ok?",
        "Ist das EKG normal?"),
    "PVC": ("Any PVCs?", "Do you see any premature ventricular contractions?", "Are there ventricular extrasystoles?"),
    "1AVB": ("Does the patient have a first degree AV block?", "1st degree AV block?",
        "Is a first-degree AV block present?"),
    "LVH": ("any sign of LVH?", "Does this ECG show signs of left ventricular hypertrophy?"),
    "AFLT": ("Is this a flutter?", "Vorhofflattern?", "flutter, yes or no?"),
    "SBRAD": ("Sinusbradykardie?", "sinus bradicardia?"),
    "PAC": ("APBs?", "Are there premature atrial depolarisations?"),
    "PREMATURE": ("premature beats?", "Are there any premature beats?", "Any premature contractions?"),
    "ISCHEMIA": ("Any signs of ischemia?", "Is there myocardial ischaemia?"),
    "ISC_": ("Is there non-specific ischemia?",),
    "3AVB": ("AV-Block III. Grades?", "Is there complete heart block?", "3rd degree block?"),
    "STD_": ("Is the ST segment depressed?", "Is ST depressed?", "ST-Senkung?"),
    "INVT": ("Are the T waves negative?", "Is there T-wave inversion?"),
    "LOWT": ("Are the T waves flat?",),
    "HVOLT": ("Is the QRS voltage high?",),
    "LAO/LAE": ("Is there left atrial dilatation?",),
    "IMI": ("inferior wall infarction?", "Has there been an inferior infarct?"),
    "QWAVE": ("Are there significant Q waves?",),
    "LPR": ("Is the PR interval prolonged?", "Has he got a long PR interval?", "long PR?", "Verlängerte PQ-Zeit?"),
    "LNGQT": ("Ist die QT-Zeit verlängert?", "Is his QTc prolonged?"),
    "PACE": ("Is this a paced rhythm?", "Is this ECG paced?", "Is a pacemaker visible?"),
}  # fmt: skip
NO_STATEMENT = (
    *("Is there a bundle branch block?", "Is there LBBB or RBBB?", "Is there no atrial fibrillation?",
    "Is it AF with RVR?"),
    *("Is there an old inferior infarct?", "has he had a heart attack before?", "Is this ECG not normal?",
    "Is this ECG abnormal?"),
    *("Does this ECG show left ventricular hypertrophy or strain?", "Is there ST elevation in V2?",
    "Has the LBBB resolved?"),
    *("What is atrial fibrillation?", "Is there atrial fibrillation in the second ECG?", "Why is there LBBB?", "AF",
    "Is it?", "", "?"),
    *("Isn't this AF?", "Is atrial fibrillation absent?", "Is there anything but sinus rhythm?",
    "Is there neither AF nor flutter?"),
    *("Is the patient normal?", "Is the rhythm normal?", "Am I ok?", "brachycardia?", "sinus brachycardia?"),
    *("Is the QT shortened?", "Are the P waves inverted?", "Is the T wave inverted in III?", "Is the PR long enough?"),
    *("Is fibrillation likely?", "Mobitz I or II?", "Is the LBBB new?", "Was this LBBB there last year?"),
)  # fmt: skip
PATIENTS = (
    "{}",
    "The patient is a 63-year-old woman. {}",
    "{} The patient is a man aged 71 years.",
    "Patient: a woman aged over 89 years of unknown sex. {}",
    "ECG of a patient of unknown age and sex. {}",
    "Given an 81-year-old male patient: {}",
)


@pytest.mark.parametrize("names", NUMERIC, ids=lambda names: "+".join(names)[:40])
def test_questions_for_numbers(names):
    wrong = {}
    for question in NUMERIC[names]:
        for patient in PATIENTS:
            asked = patient.format(question if question[-1] in ".?" else f"{question}?")
            if asked_numbers(asked) != names:
                wrong[asked] = asked_numbers(asked)
        for asked in (question, question.upper(), question.lower()):
            if asked_numbers(asked) != names:
                wrong[asked] = asked_numbers(asked)
        assert asked_statement(question, WORDING) is None
    assert not wrong


@pytest.mark.parametrize("names", NUMERIC_HARD, ids="+".join)
def test_hard_questions_for_numbers(names):
    found = {question: asked_numbers(question) for question in NUMERIC_HARD[names]}
    assert found == dict.fromkeys(found, names)
    assert [question for question in found if asked_statement(question, WORDING)] == []


def test_other_questions_ask_for_no_number():
    trained = [*REPORT, *COMPARE_OPEN, *(template.format(2) for template in PREDICTION)]
    trained += [question for topic, questions in OPEN.items() for question in questions if topic != "axis"]
    closed = [*CLOSED.values(), *COMPARE_CLOSED.values()]
    trained += [template.format("sinus rhythm, a normal axis, PR") for templates in closed for template in templates]
    trained += [ask(template, words) for template in (*VERIFY, *WORDINGS) for words in WORDING.values()]
    asked = [patient.format(question) for question in (*OTHER, *trained) for patient in PATIENTS]
    assert (
        len(asked) > 4000 and {question: asked_numbers(question) for question in asked if asked_numbers(question)} == {}
    )


def test_questions_for_one_statement():
    expected = {ask(template, words): code for template in (*VERIFY, *WORDINGS) for code, words in WORDING.items()}
    expected |= {question: code for code, questions in STATEMENTS.items() for question in questions}
    # Premature complexes of any kind.
    expected |= {question: "PREMATURE" for question, code in expected.items() if code == "PRC(S)"}
    expected["Is this a normal ECG?"] = "NORM"  # the superclass has the same words
    found = {
        patient.format(question): asked_statement(patient.format(question), WORDING)
        for question in expected
        for patient in PATIENTS
    }
    wanted = {patient.format(question): code for question, code in expected.items() for patient in PATIENTS}
    assert {question: code for question, code in found.items() if code != wanted[question]} == {}
    trained = [*REPORT, *COMPARE_OPEN, *(question for questions in OPEN.values() for question in questions)]
    others = {*NO_STATEMENT, *OTHER, *trained} - expected.keys()
    assert [question for question in others if asked_statement(question, WORDING)] == []


def test_each_synonym_means_its_statement():
    found = {words: statement_of(words, WORDING) for synonyms in SYNONYMS.values() for words in synonyms}
    assert found == {words: code for code, synonyms in SYNONYMS.items() for words in synonyms}
    own = {code: statement_of(words, WORDING) for code, words in WORDING.items()}
    assert own == {code: code.replace("super:NORM", "NORM") for code in WORDING}


def test_only_certain_typing_errors_are_mended():
    words = ["bradycardia", "tachycardia", "interval", "intervals", "rate"]
    mends = {"bradicardia": "bradycardia", "brachycardia": "brachycardia", "intervl": "interval", "rat": "rat"}
    assert {word: mended(word, words) for word in mends} == mends
    assert mended("repolarisation", ["depolarisation"]) == "repolarisation"


def test_a_statement_that_the_model_was_not_taught_is_not_asked():
    assert asked_statement("Is this AF?", {"SR": "sinus rhythm"}) is None
    assert asked_statement("Is there torsades?", {"TDP": "torsades"}) == "TDP"


@pytest.mark.parametrize("text", ["is there " * 110, "a " * 499, "rate " * 199, "-" * 999, "is this " + "any " * 240])
def test_hostile_questions_take_no_time(text):
    started = time.process_time()
    assert asked_statement(text, WORDING) is None
    asked_numbers(text)
    assert time.process_time() - started < 0.5
    assert asked_numbers(text * 1000) == () and asked_statement(text * 1000, WORDING) is None


def test_answers_say_the_number_its_unit_or_why_there_is_none():
    measured = {
        "heart_rate": 74.6, "pr": None, "qrs": 96.2, "qrs_axis": -42.3, "p_axis": -0.2, "sokolow_lyon": 2.346,
        "st": {"V2": -0.001}, "st_slope": {"V2": 1.274},
        "ectopic": [{"time": 1.0, "early": True, "wide": False}], "p_share": 0.25,
        "reasons": {"pr": "no P wave recurs"},
    }  # fmt: skip
    answers = {
        ("heart_rate",): "The heart rate is 75 beats/min.",
        ("pr", "qrs"): "The PR interval cannot be measured: no P wave recurs. The QRS duration is 96 ms.",
        ("qrs_axis",): "The QRS axis is -42 degrees (left axis deviation).",
        ("p_axis",): "The P axis is 0 degrees.",
        ("sokolow_lyon",): "The Sokolow-Lyon voltage is 2.35 mV.",
        ("st:V2",): "The ST level of V2 is 0.00 mV.",
        ("st_slope:V2",): "The ST slope of V2 is 1.27 mV/s.",
        ("st:V3",): "The ST level of V3 cannot be measured: lead V3 was not recorded, or no beat is seen.",
        ("rr",): "The mean RR interval is 804 ms.",
        ("ectopic",): "The number of ectopic beats is 1.",
        ("p_share",): "The share of beats with a P wave is 25 %.",
    }
    assert {names: answer_numbers(names, measured) for names in answers} == answers
    assert [words_of_axis(degrees) for degrees in (0, -31, 91, -91, 180)] == [
        *("a normal axis", "left axis deviation", "right axis deviation", "extreme axis deviation"),
        "right axis deviation",
    ]


def test_the_words_of_an_axis_are_those_of_the_number_shown():
    for degrees in np.arange(-180, 180.05, 0.1):
        answer = answer_numbers(("qrs_axis",), {"qrs_axis": float(degrees)})
        shown = int(answer.split()[4])
        assert answer == f"The QRS axis is {shown} degrees ({words_of_axis(shown)})."
        assert ("a normal axis" in answer) == (-30 <= shown <= 90)


def test_each_word_around_a_number_is_one_that_can_occur():
    tables = [*asking_heartcare._FILLERS, *asking_heartcare._ASKS]
    assert [word for word in tables if tables.count(word) > 1] == []
    assert [word for word in tables if asking_heartcare._WORD.findall(normalize(word)) != [word]] == []


def test_patients_of_the_data_engine_do_not_matter():
    rng = np.random.default_rng(0)
    for _ in range(200):
        who = patient_words(float(rng.integers(1, 95)), [None, "male", "female"][rng.integers(3)], rng)
        question = f"Given {who}: What is the QRS duration?"
        assert asked_numbers(question) == ("qrs",), question


def test_all_numbers_that_questions_can_ask_for_are_answered():
    """Numbers that only the reader of questions asks for are answered as well: a QTc without its formula, and numbers
    of all leads.
    """
    unknown = as_plain(unmeasured("no beat was found"))
    known = as_plain(Measurements(heart_rate=60.0, qtc_fridericia=410.0, st={"V2": 0.1}, r={"I": 1.0}, s={"V1": 1.5}))
    for name in QUANTITIES:
        for measured in (unknown, known):
            assert answer_numbers((name,), measured).endswith(".")
    assert answer_numbers(("qtc",), known) == "The QTc interval by Fridericia is 410 ms."
    told = answer_numbers(("st",), known)
    assert "The ST level of V2 is 0.10 mV." in told and told.count("The ST level of") == 12
