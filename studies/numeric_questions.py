"""Questions for numbers and statements in many wordings, and the share that is understood.

    python -m heartcare.studies.numeric_questions

The questions were understood as follows when they were first asked, before the tables were mended for those missed:

| | numbers | something else | statements |
|---|---|---|---|
| `QUESTIONS`, `LATER` | 144 of 160, 73 of 80 | | |
| `HARD` and the first of `OTHERS`, `STATEMENTS` | 91 of 159 | 158 of 162 | 141 of 163 |
| `HARD_LATER` and the later ones | 65 of 80 | 43 of 43 | 56 of 62 |
| `HARD_LAST` and the last ones | 28 of 40 | 20 of 20 | 24 of 25 |

What is not understood is left to the language model, so a question that is missed costs less than one misunderstood.
"""

import argparse
from collections.abc import Callable
from functools import partial

from heartcare.agent.statements import WORDING
from heartcare.asking_heartcare import asked_numbers
from heartcare.statements_heartcare import asked_statement

# Names of the numbers -> wordings of students, nurses, cardiologists, patients and programs, as they came to mind.
QUESTIONS: dict[str, tuple[str, ...]] = {
    "heart_rate": (
        *("Rate?", "heart rate please", "Whats the HR here", "How many times does the heart beat in a minute?"),
        *("Ventricular rate on this strip?", "Could you calculate the heart rate for me?", "hr in bpm", "pulse rate??"),
        *("At how many beats per minute is the heart going?", "state the mean ventricular rate", "Frequenz?"),
        *("Wie schnell schlägt das Herz?", "What is his heart rate?", "Please estimate the rate from this ECG."),
        *("I'd like to know the heart rate", "Tell me the pulse.", "give hr", "What ventricular rate do you measure?"),
        *("heartrate", "What's the average heart rate on this tracing"),
    ),
    "pr": (
        *("PR interval", "what is the pr", "How long is the PR interval in milliseconds?", "PQ-Intervall?"),
        *("Length of the PR interval?", "pr duration pls", "Measure PR.", "Can you give me the P-R interval?"),
        *("What's the atrioventricular conduction time?", "Wie lang ist das PQ-Intervall?", "PR in ms?",
        "Value of PR?"),
        *("How many milliseconds does the PR interval last?", "State the PR interval.", "PR interval value"),
        *("I need the PR interval of this ECG.", "what pr interval do you get", "Tell me how long the PR interval is."),
        *("PQ time", "What is the duration of PR?"),
    ),
    "qrs": (
        *("QRS?", "qrs duration in ms", "What is the QRS width?", "How wide are the QRS complexes?", "QRS-Dauer"),
        *("How many ms is the QRS complex?", "Tell me the width of the QRS.", "Duration of the QRS complex please"),
        *("what's the qrs", "Measure the QRS duration.", "Give me the length of the QRS complex.", "QRS interval?"),
        *("Wie breit ist QRS?", "How long do the QRS complexes last?", "I want the QRS duration", "QRS width value?"),
        *("What QRS duration is measured?", "qrs breite in ms", "State QRS in milliseconds", "Please provide the QRS."),
    ),
    "qt": (
        *("QT", "QT interval?", "What is the QT?", "How long is the QT interval?", "uncorrected QT?",
        "QT in ms please"),
        *("Measure the QT.", "Wie lang ist das QT-Intervall?", "qt duration",
        "Tell me the QT interval of this patient."),
        *("What's the raw QT?", "Give the QT time in milliseconds", "Length of QT?", "What QT do you measure?"),
        *("QT-Dauer?", "I need QT.", "State the QT interval", "How many ms is QT?", "value of the QT interval"),
        *("Please measure QT for me.",),
    ),
    "qtc_fridericia": (
        *("QTc", "What's the QTc?", "corrected QT interval?", "How long is the corrected QT?", "QTc Fridericia"),
        *("Give me QTc in ms", "QTc interval please", "What is the frequency-corrected QT?", "Fridericia QTc?"),
        *("Wie hoch ist die QTc?", "QTc-Zeit", "tell me the corrected qt interval", "Compute the QTc with Fridericia"),
        *("How many milliseconds is the QTc?", "rate corrected QT", "QTc value?", "what qtc do you get"),
        *("I need the QTc.", "State QTc.", "Please calculate the QTc interval."),
    ),
    "qrs_axis": (
        *("Axis?", "What's the axis", "QRS axis in degrees", "What is the heart axis?", "Electrical axis please"),
        *("How many degrees is the axis?", "Frontal QRS axis?", "Herzachse in Grad",
        "Give me the mean electrical axis."),
        *("Where does the axis point?", "Calculate the axis of this ECG.", "tell me the cardiac axis", "axis in °"),
        *("What is the angle of the QRS axis?", "Wie ist der Lagetyp?", "What axis do you measure?", "The QRS axis?"),
        *("I need the axis.", "frontal axis value", "State the electrical axis of the heart."),
    ),
    "p_axis": (
        *("P axis", "P wave axis?", "What is the P axis?", "axis of the P wave", "How many degrees is the P axis?"),
        *("P-wave axis in degrees", "Tell me the P axis.", "What's the axis of P?", "Give me the P wave axis",
        "p axis pls"),
        *("Measure the axis of the P waves.", "State the P axis.", "P-Achse?", "the p-axis please", "P axis value?"),
        *("What P axis do you measure?", "I need the P wave axis", "What is the frontal P axis?", "P axis in °"),
        *("Calculate the P wave axis.",),
    ),
    "sokolow_lyon": (
        *("Sokolow-Lyon?", "Sokolow index", "What is the Sokolow-Lyon index?", "sokolow lyon voltage in mV"),
        *("How high is the Sokolow-Lyon index?", "S in V1 plus R in V5", "SV1+RV5", "Give me the Sokolow-Lyon value."),
        *("Sokolow-Lyon-Index?", "Calculate the Sokolow-Lyon index", "Wie hoch ist der Sokolow-Lyon-Index?"),
        *("What's SV1 + RV6?", "tell me the sokolow", "Sokolow-Lyon criterion value",
        "State the Sokolow-Lyon voltage."),
        *("I need the Sokolow-Lyon sum.", "Sokolow Lyon in millivolts", "Measure the Sokolow-Lyon index."),
        *("What Sokolow index do you get?", "Please compute Sokolow-Lyon."),
    ),
}  # fmt: skip
LATER: dict[str, tuple[str, ...]] = {
    "heart_rate": (
        *("Can I have the heart rate?", "rate/min?", "Whats his pulse", "Give the number of beats per minute."),
        *("Herzfrequenz in diesem EKG?", "Which rate does the ECG show?", "Read off the heart rate, please",
        "HR value"),
        *("How quick is this heart beating?", "Kindly report the heart rate"),
    ),
    "pr": (
        *("PR-interval duration?", "Find the PR interval", "how long is this patient's pr interval", "PR (ms)?"),
        *("Quantify the PR interval.", "Show me the PR interval", "PQ-Dauer in ms",
        "What does the PR interval measure?"),
        *("Now the PR interval please", "the pr intervl?"),
    ),
    "qrs": (
        *("How broad are the QRS complexes in ms?", "QRS duration (ms)", "Assess the QRS width", "QRS-Komplex Breite?"),
        *("And the QRS?", "What is the ventricular activation time?", "Return the QRS duration", "qrs complex width"),
        *("What does the QRS measure?", "Duration of ventricular depolarization?"),
    ),
    "qt": (
        *("QT (ms)?", "Find the QT interval.", "And QT?", "How long does the QT interval last?", "QT interval length"),
        *("Print the QT interval", "QT-Strecke in ms?", "Was ist die QT-Zeit?", "the QT of this ECG", "QT measurement"),
    ),
    "qtc_fridericia": (
        *("QTc (ms)?", "And the QTc?", "What is QT corrected for heart rate?", "QTcF in ms", "Determine QTc"),
        *("Corrected QT time?", "Frequenzkorrigierte QT-Zeit?", "show the QTc", "How long is QTc here?",
        "QTc duration"),
    ),
    "qrs_axis": (
        *("And the axis?", "axis (degrees)", "Quantify the QRS axis.", "What is the mean QRS axis?",
        "Elektrische Achse?"),
        *("Determine the heart's electrical axis", "In which direction does the axis point?", "QRS vector angle?"),
        *("the patient's axis", "Which electrical axis is there?"),
    ),
    "p_axis": (
        *("And the P axis?", "P axis (degrees)", "Determine the P wave axis", "axis of the P waves?",
        "P wave axis, please"),
        *("What's the P-wave's axis?", "show the P axis", "Which P axis is there?", "the axis of P",
        "P-wave axis value"),
    ),
    "sokolow_lyon": (
        *("And Sokolow-Lyon?", "Sokolow-Lyon (mV)", "Determine the Sokolow-Lyon index.", "RV5 + SV1?", "SV1 plus RV5"),
        *("Sokolow-Lyon voltage of this ECG", "How large is the Sokolow index?", "show the Sokolow-Lyon index"),
        *("Which Sokolow-Lyon index does this ECG have?", "Sokolow-Lyon, bitte"),
    ),
}  # fmt: skip
# Wordings made to be hard: wards, letters, programs, physiology; a quarter German.
HARD: dict[str, tuple[str, ...]] = {
    "heart_rate": (
        "Pt in bed 4 has palpitations, HR pls?", "obs chart needs a heart rate, what is it",
        "What is the ventricular response?", "What ventricular rate would you read off this tracing (beats/min)?",
        "By the 300 rule, what is the rate?", "Roughly what is the rate?", "how fast is my heart going",
        "What is my pulse according to this?", "How many beats a minute is my heart doing?",
        "My watch said 140. What does this ECG say my heart rate is?", "return heart_rate as a number",
        "heart_rate=?", "HR (int, bpm only)", "Output only the heart rate in bpm, nothing else.", "how many bpm",
        "Wie schnell schlägt mein Herz?", "Puls?", "Wie hoch ist die Kammerfrequenz?",
        "Bitte die HF in Schlägen pro Minute angeben", "Wie viele Schläge pro Minute sind das?",
    ),
    "pr": (
        "Whats the PR on bed 12's ecg?", "PRI?", "pr int pls", "PR = ?",
        "How many milliseconds from the start of the P wave to the start of the QRS?",
        "How long does conduction from the atria to the ventricles take?", "What do you make the PR interval?",
        "Measure from P onset to QRS onset.", "Time between the P wave and the QRS complex?", "AV delay in ms?",
        "I am a medical student. How long is the PR interval here, in ms?", "how long is my PR interval, doctor?",
        "What is the P to R interval?", "pr_interval_ms", 'Return {"pr_ms": <int>} for this ECG.', "PQ-Zeit bitte",
        "Wie viele ms beträgt die PQ-Zeit?", "Wie lange dauert die AV-Überleitung?", "Überleitungszeit?",
        "Was misst du als PQ-Intervall?",
    ),
    "qrs": (
        "How wide is it, the QRS?", "QRSd?", "qrs in millisec", "QRS duration for the cath lab form please",
        "What's the width of the QRS complexes, in milliseconds?", "How many ms wide are his QRS complexes?",
        "Measure QRS onset to QRS offset", "How long does it take the ventricles to depolarise?",
        "Ventricular depolarisation time?", "give the qrs complex duration (ms) as an integer", "qrs_duration",
        "QRS dur.", "What is the QRS duration? I am considering CRT.", "How broad is my QRS?",
        "Could you measure how wide the QRS is?", "QRS-Zeit?", "Wie breit sind die Kammerkomplexe?",
        "Wie lange dauert der QRS-Komplex?", "QRS Dauer in Millisekunden bitte", "Gib mir die QRS-Breite.",
    ),
    "qt": (
        "QT on this one?", "We're starting haloperidol. What is the QT interval?", "QT uncorrected please",
        "absolute QT interval", "measured QT?", "What QT interval do you get, without rate correction?",
        "From QRS onset to the end of T, how many ms?",
        "How long is it from the start of the QRS to the end of the T wave?",
        "How many milliseconds is the QT interval in this recording?", "how long is my QT",
        "Could you tell me what the QT interval is?", "qt_ms?", "QT int.", "Report QT (ms), number only.",
        "The QT interval is how long?", "Wie lang ist die QT-Zeit des Patienten?", "QT-Intervall in ms",
        "Was beträgt das QT?", "Unkorrigierte QT-Zeit?", "QT Zeit bitte messen",
    ),
    "qtc_fridericia": (
        "QTc before I give the ondansetron?", "whats her qtc", "Need a QTc on this pt",
        "How long is the QT corrected for rate?", "What's the heart-rate-corrected QT interval?", "QT c?",
        "What is my corrected QT?", "QTc in milliseconds please, using Fridericia", "Correct the QT for heart rate.",
        "qtc_ms", "Return QTc as an integer.", "Frequenzkorrigiertes QT-Intervall?", "QTc-Intervall bitte",
        "Wie lang ist die korrigierte QT-Zeit?",
    ),
    "qtc_bazett": (
        "QTc with Bazett's formula?", "Use Bazett: what is the corrected QT?", "Bazett-korrigierte QT-Zeit?",
        "QTcB in ms",
    ),
    "qtc_framingham": ("What is the QTc according to Framingham?", "QTc, Framingham formula",),
    "qrs_axis": (
        "axis pls", "What's the heart's axis on this 12 lead?", "Frontal plane QRS axis in degrees?",
        "How many degrees is the mean frontal QRS axis?", "What is the mean electrical axis?", "Work out the axis",
        "I always get the axis wrong. What is it here, in degrees?",
        "Which way does the QRS vector point, in degrees?", "QRS axis (deg)", "qrs_axis",
        "Numeric value of the electrical axis", "What axis would you give this ECG?",
        "What angle is my heart's axis?", "Calculate the ventricular axis", "What is the R axis?",
        "Elektrische Herzachse in Grad?", "Wie ist die Herzachse?", "Welcher Lagetyp liegt vor?",
        "Wie viel Grad hat die QRS-Achse?", "Bestimme den Lagetyp.",
    ),
    "p_axis": (
        "P axis on this tracing?", "P-wave axis in degrees please", "Where does the P wave axis lie?",
        "What is the atrial axis?", "Mean frontal P axis?", "p_axis", "P-Achse?", "Wie ist die P-Achse in Grad?",
        "How many degrees is the axis of the P wave?",
    ),
    "t_axis": (
        "T axis pls", "T-wave axis in degrees", "What is the frontal T axis?", "Where does the T wave vector point?",
        "axis of the T waves?", "t_axis", "Repolarisation axis?", "Please compute the axis of the T wave",
        "T-Achse in Grad", "Wie viel Grad beträgt die Achse der T-Welle?",
    ),
    "sokolow_lyon": (
        "Sokolow?", "What's the Sokolow-Lyon voltage?", "S in V1 plus R in V5, in mV?",
        "Wie hoch ist der Sokolow-Lyon-Index?", "sokolow_lyon",
    ),
    "cornell": (
        "Cornell voltage please", "Cornell index in mV?", "R in aVL plus S in V3?", "Wie hoch ist der Cornell-Index?",
    ),
    "st:V2": (
        "How many mV is the ST segment in V2?", "ST level in lead V2?",
        "How much ST elevation is there in V2, in mV?", "Wie hoch ist die ST-Strecke in V2?",
    ),
    "st:II": ("How many mm of ST depression in lead II?",),
    "r:V5": ("How tall is the R wave in V5?", "R wave amplitude V5", "Wie hoch ist die R-Zacke in V5?",),
    "s:V1": ("How deep is the S in V1?", "Depth of the S wave in lead V1 (mV)", "Wie tief ist S in V1?",),
}  # fmt: skip
HARD_LATER: dict[str, tuple[str, ...]] = {
    "heart_rate": (
        "Quick one: what's the rate?", "Heart rate on arrival ECG?", "what bpm am i at", "Rate check please",
        "How often does the heart contract per minute?", "rate (1/min)?", "Can I get a heart rate on this one?",
        "What's the ventricular rate in this AF?", "Wie ist die Frequenz?", "Sag mir bitte den Puls",
    ),
    "pr": (
        "what's his PR looking like", "PR interval, lead II", "How long is the P-R?", "Duration of PR in seconds",
        "Is there a PR value?", "print(pr)", "How much time passes between atrial and ventricular activation?",
        "I want to know the PR interval before starting a beta blocker", "PQ in ms", "Wie lang ist PQ?",
    ),
    "qrs": (
        "QRS width pls", "How wide does the QRS measure?", "Can you tell me the QRS?", "ms of QRS?",
        "What QRS duration do you calculate?", "width of QRS complex?", "QRS duration, one number",
        "The patient has an ICD. What is the QRS duration?", "QRS-Breite in ms?", "Wie lang ist der QRS-Komplex?",
    ),
    "qt": (
        "QT time?", "raw QT in ms", "How many msec is the QT interval?", "How long's the QT?", "QT, not QTc",
        "Could I have the QT interval, please?", "what qt", "Time from Q to end of T?", "QT-Intervall?",
        "Bitte QT messen",
    ),
    "qtc_fridericia": (
        "QTc, please", "Whats the QTc looking like after amiodarone", "corrected QT time in ms",
        "What is the QTc on today's ECG?", "And QTc?", "What's QTc (Fridericia)?", "qtc value only",
        "She is on citalopram. QTc?", "Wie ist die QTc?", "QTc nach Fridericia?",
    ),
    "qrs_axis": (
        "axis in degrees please", "What is the mean QRS vector?", "How is the axis?", "axis?",
        "angle of the heart axis", "Could you work out the cardiac axis for me?",
        "What is the axis of the QRS in the frontal plane?", "axis_degrees", "Wie liegt die Herzachse?",
        "Achse in Grad?",
    ),
    "p_axis": (
        "What's the P axis?", "P axis in deg", "Which direction does the P wave axis have?", "mean P-wave axis",
        "P-Wellen-Achse?",
    ),
    "t_axis": (
        "What's the T axis?", "T axis in deg", "How is the T wave axis?", "Angle of the T wave axis",
        "T-Wellen-Achse?",
    ),
    "sokolow_lyon": ("Sokolow-Lyon value?", "Compute the Sokolow-Lyon sum.", "What is SV1 + RV5?",),
    "cornell": ("Cornell?", "Compute RaVL + SV3.",),
    "st:V3": ("ST deviation in V3 in mV?", "How many mm is the ST elevated in V3?",),
    "r:aVL": ("How high is R in aVL?", "R-Amplitude in aVL?",),
    "s:V3": ("S wave depth in V3",),
}  # fmt: skip
HARD_LAST: dict[str, tuple[str, ...]] = {
    "heart_rate": (
        "Could somebody tell me the rate here?", "New admission, chest pain for two hours. Heart rate?",
        "what would the monitor read for HR", "Herzfrequenz in bpm?", "beats per minute, please",
    ),
    "pr": (
        "PR interval on this EKG, in ms", "how many small squares is the PR",
        "I think the PR is long. How long is it?", "PQ-Intervall dieses Patienten?",
        "What's the PR on the resting ECG?",
    ),
    "qrs": (
        "Exact QRS width?", "how long is ventricular depolarization", "QRS duration (in milliseconds, as a number)",
        "Wie breit ist der QRS?", "What does the QRS duration come to?",
    ),
    "qt": (
        "qt pls", "QT interval, not corrected", "How many milliseconds does the QT last?", "QT-Dauer in ms bitte",
        "Time from the beginning of the QRS complex to the end of the T wave?",
    ),
    "qtc_fridericia": (
        "QTc?!", "Is there time to check the QTc?", "He takes methadone, what's the QTc?",
        "QTc nach Fridericia in ms", "what's the QT after correction for heart rate",
    ),
    "qrs_axis": (
        "Give me a number for the axis", "frontal axis, degrees", "How many degrees does the heart's axis have?",
        "In welche Richtung zeigt die Herzachse?", "Mean QRS axis?",
    ),
    "p_axis": ("frontal P wave axis?", "Wo liegt die P-Achse?", "P axis, please, in degrees",),
    "t_axis": ("frontal T wave axis?", "T axis value",),
    "sokolow_lyon": ("Sokolow Lyon in mV?",),
    "cornell": ("What is the Cornell product's voltage part?",),
    "st:V4": ("By how much is ST depressed in V4?",),
    "r:V6": ("R wave height, V6?",),
    "s:V2": ("S-Zacke in V2, wie tief?",),
}  # fmt: skip
# Questions that ask for something else than numbers of this ECG alone.
OTHERS: dict[str, tuple[str, ...]] = {
    "yes or no": (
        "Is the heart rate normal?", "Is the rate above 100?", "Is the PR interval constant?",
        "Is the QRS wide or narrow?", "Is the QTc above 500 ms?", "Is the axis normal?",
        "Does the PR get longer from beat to beat?", "Does the QRS width vary?",
        "Are the QRS complexes all the same?", "Is every P wave followed by a QRS?",
        "Is the PR interval longer than 200 ms, yes or no?", "Has the QRS widened?", "Is the rate regular?",
        "Do you see left axis deviation?", "Is the T axis discordant with the QRS axis?",
        "Is there Sokolow-Lyon LVH?", "Are Cornell criteria met?", "Is the R wave in V1 taller than the S wave?",
        "Is the ST segment in V2 elevated?", "Could the heart rate explain the QT?", "Is the QT over half of the RR?",
        "Ist die QT-Zeit verlängert?", "Ist die Herzfrequenz normal?", "Ist der QRS-Komplex verbreitert?",
        "Liegt ein Linkstyp vor?", "Hat der Patient eine normale PQ-Zeit?", "Is the machine's QTc of 480 ms correct?",
        "Would you call this rate slow?", "Does the heart rate change during the recording?",
    ),
    "knowledge": (
        "What is a normal PR interval?", "What is the upper limit of the QTc in women?",
        "Normal range of the QRS duration?", "What does the QRS complex represent?",
        "What does the PR interval tell us?", "How do you measure the QT interval?",
        "How is the heart rate calculated from an ECG?", "How do I work out the axis?",
        "What is the formula of Bazett?", "Why is Fridericia better than Bazett?",
        "Which drugs prolong the QT interval?", "Which electrolytes shorten the QT?",
        "At what QTc should I stop methadone?", "When is a QRS called broad?",
        "What heart rate should I aim for in AF?", "What is the maximum heart rate for a 40 year old?",
        "How fast does metoprolol lower the heart rate?", "What is the Sokolow-Lyon criterion?",
        "How sensitive is the Cornell voltage for LVH?", "Define the QT interval.", "Explain the QRS axis to me.",
        "What is meant by PR interval?", "What causes a long PR interval?",
        "What happens to the QT when the rate goes up?", "Teach me how to read the axis.", "What does axis mean?",
        "What is a QTc?", "Was bedeutet QTc?", "Ab wann ist ein QRS breit?", "Was ist eine normale Herzfrequenz?",
        "Wie misst man die QT-Zeit?", "Wie bestimmt man den Lagetyp?", "Welche Medikamente verlängern die QT-Zeit?",
        "What is the difference between QT and QTc?", "What is the target heart rate during exercise?",
    ),
    "other quantities": (
        "What is the atrial rate?", "Respiratory rate?", "What is the sampling rate?", "How many leads are there?",
        "How long is the recording?", "What is the paper speed?", "How old is the patient?",
        "What's the blood pressure?", "How many P waves are there for each QRS?",
        "How many QRS complexes are in lead II?", "What is the ejection fraction?", "What is the potassium?",
        "QT dispersion?", "What is the QRS-T angle?", "How long is the longest pause?", "How long is the P wave?",
        "What is the PP interval?", "How long is the ST segment?", "How high is the T wave in V3?",
        "What is the R/S ratio in V1?", "How deep is the Q wave in III?", "What is the flutter rate?",
        "What is the probability of atrial fibrillation?", "How sure are you about the rate?",
        "What is the error of the QT measurement?", "How many premature beats per hour?",
        "What is the mortality rate of complete heart block?", "What frame rate does the viewer use?",
        "What is the heart rate of the second ECG?", "At what rate is the pacemaker set?",
        "How long is the RP interval?", "What's the JT interval?", "Wie alt ist der Patient?",
        "Wie lang ist die P-Welle?", "Wie hoch ist der Blutdruck?", "Atemfrequenz?", "Vorhoffrequenz?",
    ),
    "where, which, why": (
        "Which lead shows the widest QRS?", "In which lead is the QT longest?", "Why is the PR interval short?",
        "Why is the axis so far to the left?", "Why does the heart rate vary?", "Which beats have a different QRS?",
        "What is wrong with the QRS?", "What shape do the QRS complexes have?", "Describe the QRS complexes.",
        "Comment on the PR interval.", "Interpret the axis.", "What rhythm is it?", "What rhythm and rate?",
        "Give the rate, rhythm and axis.", "Rate, rhythm, axis, intervals and interpretation please",
        "What abnormality of the QRS is seen?", "Where does the ST segment deviate?",
        "In which leads is ST elevated?", "What kind of axis deviation is it?", "Which pattern does the QRS show?",
        "What does the axis suggest?", "What explains the long QT here?", "What should I do about the QTc?",
        "Warum ist die PQ-Zeit verlängert?", "Welche Ableitung zeigt das breiteste QRS?",
        "Beschreibe die QRS-Komplexe.", "Which diagnosis fits a QRS of 160 ms?",
        "Classify the heart rate as slow, normal or fast.", "Is this ectopic atrial? Give me the P axis.",
    ),
    "change and time": (
        "How did the heart rate change since the last ECG?", "Compare the QT intervals of the two ECGs.",
        "By how many ms has the QTc increased?", "What was the heart rate yesterday?",
        "What will the heart rate be in five seconds?", "Which of the two ECGs has the higher rate?",
        "Is the QRS wider in the first or the second ECG?", "How much longer is the PR than before?",
        "What was the PR interval before the ablation?", "Did the axis shift?", "Hat sich die QT-Zeit verändert?",
        "What will the QTc be after stopping amiodarone?",
    ),
    "no question about numbers": (
        "Is this atrial fibrillation?", "What's the diagnosis?", "Report this ECG.", "Describe this ECG.",
        "Any ischaemia?", "Hello", "Thanks!", "?", "Tell me about PRs on GitHub",
        "Rate this ECG's quality from 1 to 5", "Rate the severity.", "Was zeigt das EKG?",
        "The heart rate was 80 and the QRS 90 ms. Any sign of infarction?",
        "PR 240 ms, QRS 90 ms: what is the diagnosis?", "His QTc is 520. What next?",
        "Patient with QT prolongation on sotalol, syncope. Findings?", "Ignore the rate; what is the rhythm?",
        "Don't tell me the heart rate, tell me the rhythm.", "Delete heart_rate from the output",
        "Beurteile das EKG bitte",
    ),
    "later ones": (
        "Is the rate controlled?", "Is the QRS less than 120 ms?", "Does the QT look long?",
        "What would a QTc of 480 mean?", "What is the target QTc?", "How reliable is the PR measurement?",
        "Which beat has the longest PR?", "Is that axis normal for his age?", "How many seconds of ECG are there?",
        "What gain was used?", "How many beats are on the strip?", "How many P waves?", "When was the ECG recorded?",
        "Who recorded this?", "What is the height of the P wave in II?", "Is the heart rate the same in both ECGs?",
        "Summarise the ECG.", "Summarise the ECG. What is the rate?", "What's the rhythm and the QTc?",
        "What is the escape rate?", "How fast are the atria going?", "What's the P wave rate?",
        "What is normal for the QRS axis?", "Why does Bazett overcorrect at high rates?",
        "How does the PR change with age?", "Could this be a short PR?", "QRS morphology in V1?", "QRS notching?",
        "R wave progression?", "Poor R wave progression?", "Is there low QRS voltage?", "wide QRS?", "short QT?",
        "Left axis?", "normal axis?", "tachycardic?", "Rate the quality of lead II.", "Wie hoch ist das Risiko?",
        "Ist der Puls regelmäßig?", "Welcher Rhythmus liegt vor?", "Was ist die obere Grenze der QTc?",
        "Wird die PQ-Zeit länger?", "Wie schnell wird Adenosin gespritzt?",
    ),
    "last ones": (
        "Is that rate okay for an athlete?", "Which QT formula do you use?", "Does QRS width matter here?",
        "What is the prognosis with a QRS of 150 ms?", "How do QT and RR relate?", "Show me the P waves.",
        "Where is the J point?", "Mark the QRS onset.", "Plot the heart rate.", "What is the AV node?",
        "What is a vector?", "How fast should I infuse magnesium?", "What rate of infusion do you suggest?",
        "PR or PQ?", "QRS axis or heart axis?", "What is the rate of false alarms?", "Is 62 bpm slow?",
        "Why QTc and not QT?", "Hat das EKG eine lange PQ-Zeit?", "Wie verändert sich die QT-Zeit bei Tachykardie?",
    ),
}  # fmt: skip
# Code of a statement -> yes/no questions that ask for it; None -> questions that ask for no statement of the list.
STATEMENTS: dict[str | None, tuple[str, ...]] = {
    "AFIB": (
        "AF?", "is he in AF", "Is this a-fib?", "Does this ECG show AFib?", "any atrial fib?", "is it afib or not?",
        "Vorhofflimmern?", "Liegt Vorhofflimmern vor?", "Am I in atrial fibrillation?",
        "Can you see atrial fibrillation here?", "Is the rhythm atrial fibrillation?", "atrial fibrilation present?",
    ),
    "AFLT": ("flutter?", "Is this atrial flutter?", "Vorhofflattern?", "Could this be a-flutter?",),
    "SR": ("Sinus rhythm?", "is it sinus", "Is the patient in sinus rhythm?", "NSR?", "Sinusrhythmus?",),
    "STACH": ("sinus tach?", "Is this sinus tachycardia?", "Sinustachykardie?",),
    "SBRAD": ("sinus brady?", "Sinus bradycardia, yes or no?", "Sinusbradykardie?",),
    "SARRH": ("Respiratory sinus arrhythmia?", "Is there a sinus arrhythmia?",),
    "PACE": ("Is it paced?", "Does the patient have a pacemaker?", "Paced rhythm?", "Schrittmacher?",),
    "PVC": (
        "PVCs?", "any VPBs", "Are there ventricular extrasystoles?", "Does he have PVCs?",
        "Ventrikuläre Extrasystolen?",
    ),
    "PAC": ("PACs?", "Any premature atrial beats?", "Are there atrial ectopics?",),
    "CLBBB": ("LBBB?", "Is there a complete left bundle branch block?", "kompletter Linksschenkelblock?",),
    "CRBBB": ("RBBB?", "complete RBBB?", "Does he have a right bundle branch block?", "Rechtsschenkelblock?",),
    "IRBBB": ("incomplete RBBB?", "iRBBB present?", "inkompletter Rechtsschenkelblock?",),
    "LAFB": ("LAFB?", "Left anterior hemiblock?", "Is there left anterior fascicular block?",),
    "1AVB": (
        "first degree block?", "1st degree AV block?", "Is there a first-degree heart block?", "AV-Block I. Grades?",
        "AVB 1?",
    ),
    "2AVB": ("Second degree AV block?", "Is it Mobitz?",),
    "3AVB": ("complete heart block?", "Is there third-degree AV block?", "CHB?",),
    "WPW": ("WPW?", "Is this Wolff Parkinson White?", "Does she have WPW syndrome?",),
    "LNGQT": (
        "long QT?", "Is the QT prolonged?", "Is the QTc prolonged?", "QT prolongation?", "Verlängerte QT-Zeit?",
    ),
    "LPR": ("Is the PR prolonged?", "Long PR interval?", "prolonged PR?", "Verlängerte PQ-Zeit?",),
    "LVH": ("LVH?", "Is there left ventricular hypertrophy?", "Linksherzhypertrophie?", "Does my heart show LVH?",),
    "RVH": ("RVH?", "right ventricular hypertrophy?", "Rechtsherzhypertrophie?",),
    "IMI": ("inferior MI?", "Is there an inferior infarct?", "Hinterwandinfarkt?",),
    "AMI": ("anterior MI?", "Has there been an anterior infarction?", "Vorderwandinfarkt?",),
    "ASMI": ("anteroseptal MI?", "Is there an anteroseptal infarct?",),
    "STE_": ("ST elevation?", "Is the ST segment elevated?", "Any ST elevations?", "ST-Hebungen?",),
    "STD_": ("ST depression?", "Is there any ST depression?", "ST-Senkungen?",),
    "INVT": ("T wave inversion?", "Are the T waves inverted?", "TWI?",),
    "LVOLT": ("low voltage?", "Is there low voltage?", "Niedervoltage?",),
    "QWAVE": ("Q waves?", "Are there pathological Q waves?",),
    "super:MI": ("MI?", "Has the patient had a heart attack?", "Herzinfarkt?",),
    "NORM": ("Normal ECG?", "is this ecg normal?", "Is everything normal?",),
    None: (
        "Is there AF or flutter?", "Is it not sinus rhythm?", "LBBB or RBBB?", "Is there no ST elevation?",
        "Why is there AF?", "What causes LBBB?", "Which leads show ST elevation?", "How is WPW treated?",
        "Is AF dangerous?", "Should AF be anticoagulated?", "Is there a history of AF?", "Does my father have AF?",
        "Has the AF gone?", "Is the AF new?", "Is there AF and LVH?", "Sinus rhythm with PVCs?",
        "Is this worse than the last ECG?", "Is the patient pregnant?", "Can this patient drive with AF?",
        "Is there ST elevation in V2?", "Is the ST elevation in V2 more than 2 mm?", "Explain LBBB.", "What is LVH?",
        "Patient has AF. Report this ECG.", "Does aspirin help in MI?", "Could AF cause the palpitations?",
        "Is there any arrhythmia other than AF?", "Rule out MI.", "Is it ventricular tachycardia?",
        "Does the patient have Brugada syndrome?", "Is there hyperkalaemia?", "Is there pericarditis?",
        "How likely is AF?", "How many PVCs are there?", "When did the AF start?", "Is AF absent?",
        "Is the LBBB rate-dependent?", "Is it AF with fast ventricular response?", "Could it be anything but AF?",
        "Ist Vorhofflimmern gefährlich?", "Was ist ein Linksschenkelblock?", "Kein Vorhofflimmern?",
        "Was AF present in the first ECG?", "Is the normal ECG machine reading wrong?", "Is the axis normal?",
        "Is the rate normal?", "Is the QRS normal?", "Are the P waves normal?", "Is the T wave normal in V3?",
        "Is my blood pressure normal?", "Old inferior infarction?",
    ),
}  # fmt: skip
STATEMENTS_LATER: dict[str | None, tuple[str, ...]] = {
    "AFIB": ("Is he fibrillating?", "AFib present?", "Is this rhythm AF?", "Hat der Patient Vorhofflimmern?",),
    "AFLT": ("Does this look like flutter?", "Any atrial flutter here?",),
    "SBRAD": ("Is this a sinus bradycardia?",),
    "PVC": ("Is there ventricular ectopy?", "Do you see VES?",),
    "PAC": ("Any PACs on this strip?", "supraventricular ectopics?",),
    "CLBBB": ("Complete LBBB?", "Is left bundle branch block present?", "Hat er einen Linksschenkelblock?",),
    "IRBBB": ("Is there an incomplete right bundle-branch block?",),
    "1AVB": ("AV block 1st degree?", "AV-Block Grad 1?", "Is there 1st-degree heart block?",),
    "3AVB": ("3rd degree heart block?", "AV-Block III?",),
    "LNGQT": ("Is QT prolongation present?", "Is the QTc long?", "Ist die QT-Zeit verlängert?",),
    "LVH": ("LVH present?", "Are there signs of LVH?",),
    "STE_": ("Are the ST segments elevated?", "Is there any ST-segment elevation?",),
    "INVT": ("Are T waves inverted?", "Inverted Ts?",),
    "LVOLT": ("Are the voltages low?", "Is the QRS voltage low?",),
    "IMI": ("Is there an inferior MI?", "Inferior wall MI?",),
    "super:MI": ("Did I have a heart attack?", "Is it an infarct?",),
    "NORM": ("Is my ECG normal?", "Is this a normal ECG or not?", "Ist mein EKG normal?",),
    "WPW": ("Are there delta waves?", "Any pre-excitation?",),
    "PACE": ("Is this a pacemaker rhythm?", "Has she got a pacemaker?",),
    None: (
        "Is the T wave inverted in V2?", "Does AF run in families?", "Is it LBBB, RBBB or neither?",
        "Is there less ST elevation?", "Has the ST elevation resolved?", "Is the pacemaker working?",
        "Is the PR short?", "Is there VT?", "Is there ventricular fibrillation?", "Is the patient ok?",
        "Is the rhythm normal?", "Are the P waves inverted?", "Is ST elevation normal in young men?",
        "Is there right axis deviation?", "Is this artefact?", "Are there U waves?", "Is AF ruled out?",
        "Does he need a pacemaker?", "Is there interatrial block?", "Is the flutter typical?",
    ),
}  # fmt: skip
STATEMENTS_LAST: dict[str | None, tuple[str, ...]] = {
    "AFIB": ("Could he be in AF?", "atrial fibrillation, yes or no?",),
    "SR": ("Is she in normal sinus rhythm?",),
    "STACH": ("Is it sinus tach?",),
    "PACE": ("Is the rhythm paced?",),
    "PVC": ("Are PVCs present?",),
    "CRBBB": ("Can you see a RBBB?",),
    "1AVB": ("Does he have 1st degree heart block?",),
    "LNGQT": ("Prolonged QTc interval?",),
    "LVH": ("Is there evidence for LVH?",),
    "STE_": ("Do you see ST elevation?",),
    "WPW": ("Does this show pre-excitation?",),
    "IMI": ("Is this an inferior heart attack?",),
    "LAFB": ("Is there a left anterior hemiblock?",),
    "NORM": ("Would you call this ECG normal?",),
    None: (
        "Is this AF or sinus rhythm?", "Does AF cause strokes?", "Is the pacemaker capturing?", "Is it not AF?",
        "Is there ST elevation in II, III and aVF?", "Did the AF stop?", "Is LVH reversible?", "Is this STEMI?",
        "Is there a bifascicular block?", "Is the heart block complete?",
    ),
}  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    """Prints the share of each table that is understood, and the questions that are not."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    numbers = {"the first": QUESTIONS, "later ones": LATER, "hard": HARD, "hard, later": HARD_LATER, "last": HARD_LAST}
    for words, table in numbers.items():
        asked = {name: {question: (name,) for question in questions} for name, questions in table.items()}
        print_table(f"for a number ({words})", asked, asked_numbers)
    others = {kind: dict.fromkeys(questions, ()) for kind, questions in OTHERS.items()}
    print_table("for something else", others, asked_numbers)
    statements = {"hard": STATEMENTS, "hard, later": STATEMENTS_LATER, "last": STATEMENTS_LAST}
    for words, table in statements.items():
        asked = {code or "no statement": dict.fromkeys(questions, code) for code, questions in table.items()}
        print_table(f"for a statement ({words})", asked, partial(asked_statement, wordings=WORDING))


def print_table(words: str, asked: dict[str, dict[str, object]], understand: Callable[[str], object]) -> None:
    """Prints one row for each kind of question.

    Args:
        words: Name of the quantity that is asked for, for the title.
        asked: Kind -> question -> its right meaning.
        understand: Function of a question that returns the meaning that is understood.
    """
    print(f"\n| asked {words} | understood | not |\n|---|---|---|")
    right = total = 0
    for kind, questions in asked.items():
        missed = [question for question, meant in questions.items() if understand(question) != meant]
        right, total = right + len(questions) - len(missed), total + len(questions)
        print(f"| {kind} | {len(questions) - len(missed)} of {len(questions)} | {'; '.join(missed)} |")
    print(f"| all | {right} of {total}, {100 * right / total:.1f} % | |")


if __name__ == "__main__":
    main()
