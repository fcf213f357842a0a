"""Writes reports in whole sentences and in telegraph style, out of the labels that give the structured one."""

from heartcare.scp_heartcare import DIAGNOSIS, NORMAL, STAGE, SUPERCLASS_OF

from .qa import REPORT, Labels, names, report_text, sentence

# Style -> the questions that ask for it.
REQUESTS: dict[str, tuple[str, ...]] = {
    "structured": REPORT,
    "sentences": (
        "Describe this ECG in full sentences.",
        "Write the report of this ECG as prose.",
        "Tell me in sentences what this ECG shows.",
    ),
    "telegraph": (
        "Report this ECG in a few words.",
        "Give the findings in telegraph style.",
        "Note the findings as for a ward round.",
    ),
}
# Word for how likely a diagnosis is -> its least likelihood in percent, as in the structured report.
GRADES = {"certain": 80.0, "probable": 50.0, "possible": 15.0}


def listed(parts: list[str]) -> str:
    """Joins words as a sentence does: "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]


def diagnoses(labels: Labels) -> dict[str, list[str]]:
    """Returns the names of the diagnoses by how likely they are, "certain", "probable" and "possible", the likeliest
    first, an infarction with its stage.
    """
    codes = sorted((code for code in labels.statements if code in DIAGNOSIS), key=lambda c: (-labels.likelihood(c), c))
    graded: dict[str, list[str]] = {grade: [] for grade in GRADES}
    stage = labels.answers("stage")
    for code in codes:
        grade = next((grade for grade, least in GRADES.items() if labels.likelihood(code) >= least), None)
        if grade is None:
            continue
        words = STAGE[stage[0]] if stage and SUPERCLASS_OF[code] == "MI" else ""
        graded[grade].append(f"{DIAGNOSIS[code]}{' of' if words and words != 'unknown' else ''} {words}".strip())
    return graded


def prose(labels: Labels) -> str:
    """Returns a report in whole sentences."""
    sentences = []
    if rhythm := labels.answers("rhythm"):
        sentences.append(f"The rhythm is {listed(names('rhythm', rhythm))}")
    if axis := labels.answers("axis"):
        sentences.append(f"the electrical axis of the heart shows {listed(names('axis', axis))}")
    if forms := labels.answers("waveform"):
        is_normal = forms == [NORMAL["waveform"][0]]
        sentences.append(f"the waveform shows {'no abnormality' if is_normal else listed(names('waveform', forms))}")
    graded = diagnoses(labels)
    if diagnosed := graded["certain"]:
        others = [name for name in diagnosed if name != DIAGNOSIS["NORM"]]
        if len(others) < len(diagnosed):
            sentences.append(f"this is {DIAGNOSIS['NORM']}")
        if others:
            sentences.append(f"the ECG shows {listed(others)}")
    for grade in ("probable", "possible"):
        if diagnosed := graded[grade]:
            sentences.append(f"{listed(diagnosed)} {'are' if len(diagnosed) > 1 else 'is'} {grade}")
    if not any(graded.values()):
        sentences.append("there is no certain diagnosis")
    for words, topic in (("The ectopic beats are", "ectopy"), ("the recording has", "noise")):
        if (answers := labels.answers(topic)) and answers[0] != NORMAL[topic][0]:
            sentences.append(f"{words} {listed(names(topic, answers))}")
    return " ".join(map(sentence, sentences))


def telegram(labels: Labels) -> str:
    """Returns a report in telegraph style: the findings alone, "prob." before the probable ones, and a question mark
    behind the possible ones.
    """
    normal = {"MID", *(codes[0] for codes in NORMAL.values())}
    findings = [
        name
        for topic in ("rhythm", "axis", "waveform", "ectopy", "noise")
        for name in names(topic, [code for code in labels.answers(topic) if code not in normal])
    ]
    graded = diagnoses(labels)
    probable, possible = ([f"prob. {name}" for name in graded["probable"]], [f"{name}?" for name in graded["possible"]])
    return sentence("; ".join([*findings, *graded["certain"], *probable, *possible]) or "no certain finding")


WRITERS = {"structured": report_text, "sentences": prose, "telegraph": telegram}

__all__ = ["REQUESTS", "WRITERS", "prose", "telegram"]
