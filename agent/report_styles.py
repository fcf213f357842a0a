"""Reports in other styles than the structured one: whole sentences and telegraph style, out of the same labels."""

from heartcare.scp_heartcare import DIAGNOSIS, NORMAL

from .qa import REPORT, Labels, names, report_text, sentence

# How each style is asked for.
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


def listed(parts: list[str]) -> str:
    """Joins words as a sentence does: "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]


def diagnoses(labels: Labels) -> tuple[list[str], list[str]]:
    """Returns the names of the certain diagnoses, and of those in doubt, the likeliest first."""
    codes = sorted((code for code in labels.statements if code in DIAGNOSIS), key=lambda c: (-labels.likelihood(c), c))
    certain = [DIAGNOSIS[code] for code in codes if labels.likelihood(code) >= 80]
    return certain, [DIAGNOSIS[code] for code in codes if 15 <= labels.likelihood(code) < 80]


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
    certain, doubtful = diagnoses(labels)
    if certain:
        sentences.append(f"{'this is' if certain[0] == DIAGNOSIS['NORM'] else 'the ECG shows'} {listed(certain)}")
    if doubtful:
        sentences.append(f"{listed(doubtful)} {'are' if len(doubtful) > 1 else 'is'} possible")
    if not certain and not doubtful:
        sentences.append("there is no certain diagnosis")
    for words, topic in (("The ectopic beats are", "ectopy"), ("the recording has", "noise")):
        if (answers := labels.answers(topic)) and answers[0] != NORMAL[topic][0]:
            sentences.append(f"{words} {listed(names(topic, answers))}")
    return " ".join(map(sentence, sentences))


def telegram(labels: Labels) -> str:
    """Returns a report in telegraph style: the findings alone, with a question mark behind those in doubt."""
    normal = {"MID", *(codes[0] for codes in NORMAL.values())}
    found = [
        name
        for topic in ("rhythm", "axis", "waveform")
        for name in names(topic, [code for code in labels.answers(topic) if code not in normal])
    ]
    certain, doubtful = diagnoses(labels)
    return sentence("; ".join([*found, *certain, *(f"{name}?" for name in doubtful)]) or "no certain finding")


WRITERS = {"structured": report_text, "sentences": prose, "telegraph": telegram}

__all__ = ["REQUESTS", "WRITERS", "prose", "telegram"]
