"""Numeric questions: eight kinds in twenty wordings each and in ten more, and the share that is understood.

    python -m heartcare.studies.numeric_questions

The tables of `asking_heartcare` were written without either. Of the first 160 questions they understood 144 (90.0 %),
and of the other 80, which were written after what was missed had been mended, 73 (91.2 %) when they were first asked.
"""

import argparse

from heartcare.asking_heartcare import asked_numbers

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


def main(argv: list[str] | None = None) -> None:
    """Prints the share of each kind that is understood, and what is not."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    for words, table in (("the first", QUESTIONS), ("the later ones", LATER)):
        print_table(words, table)


def print_table(words: str, table: dict[str, tuple[str, ...]]) -> None:
    """Prints the table of some questions."""
    print(f"\n| asked for, {words} | understood | not |\n|---|---|---|")
    right = total = 0
    for name, questions in table.items():
        missed = [question for question in questions if asked_numbers(question) != (name,)]
        right, total = right + len(questions) - len(missed), total + len(questions)
        print(f"| {name} | {len(questions) - len(missed)} of {len(questions)} | {'; '.join(missed)} |")
    print(f"| all | {right} of {total}, {100 * right / total:.1f} % | |")


if __name__ == "__main__":
    main()
