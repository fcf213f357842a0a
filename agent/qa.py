"""Questions and answers about ECGs out of their SCP-ECG statements: closed, open, comparison, report and signal prediction.

Offline templates with a seed. A statement counts as present at any likelihood for rhythm and form (PTB-XL gives them none), and, as the
field scores it, for the diagnostic superclasses; answers and reports name diagnoses of 50 % and more, highest first.
"""

from dataclasses import dataclass

import numpy as np

# SCP-ECG statements as a reader would say them, after EN 1064.
RHYTHM = {
    "SR": "sinus rhythm", "AFIB": "atrial fibrillation", "STACH": "sinus tachycardia", "SARRH": "sinus arrhythmia",
    "SBRAD": "sinus bradycardia", "PACE": "a functioning artificial pacemaker", "SVARR": "supraventricular arrhythmia",
    "BIGU": "bigeminy", "AFLT": "atrial flutter", "SVTAC": "supraventricular tachycardia",
    "PSVT": "paroxysmal supraventricular tachycardia", "TRIGU": "trigeminy",
}  # fmt: skip
FORM = {
    "ABQRS": "an abnormal QRS", "PVC": "ventricular premature complexes", "STD_": "ST depression",
    "VCLVH": "voltage criteria for left ventricular hypertrophy",
    "QWAVE": "Q waves", "LOWT": "low amplitude T waves", "NT_": "non-specific T wave changes", "PAC": "atrial premature complexes",
    "LPR": "a prolonged PR interval", "INVT": "inverted T waves", "LVOLT": "low QRS voltages", "HVOLT": "high QRS voltage",
    "TAB_": "T wave abnormality", "STE_": "ST elevation", "PRC(S)": "premature complexes", "NDT": "non-diagnostic T abnormalities",
    "NST_": "non-specific ST changes", "DIG": "digitalis effect", "LNGQT": "a long QT interval",
}  # fmt: skip
DIAGNOSIS = {
    "NORM": "a normal ECG", "IMI": "inferior myocardial infarction", "ASMI": "anteroseptal myocardial infarction",
    "LVH": "left ventricular hypertrophy",
    "LAFB": "left anterior fascicular block", "ISC_": "non-specific ischemia", "IRBBB": "incomplete right bundle branch block",
    "1AVB": "first degree AV block", "IVCD": "non-specific intraventricular conduction delay", "ISCAL": "anterolateral ischemia",
    "CRBBB": "complete right bundle branch block", "CLBBB": "complete left bundle branch block", "ILMI": "inferolateral myocardial infarction",
    "LAO/LAE": "left atrial enlargement", "AMI": "anterior myocardial infarction", "ALMI": "anterolateral myocardial infarction",
    "ISCIN": "inferior ischemia",
    "INJAS": "anteroseptal subendocardial injury", "LMI": "lateral myocardial infarction",
    "ISCIL": "inferolateral ischemia",
    "LPFB": "left posterior fascicular block", "ISCAS": "anteroseptal ischemia", "INJAL": "anterolateral subendocardial injury",
    "ISCLA": "lateral ischemia", "RVH": "right ventricular hypertrophy", "ANEUR": "ST-T changes of a ventricular aneurysm",
    "RAO/RAE": "right atrial enlargement", "EL": "electrolytic or drug effect", "WPW": "Wolff-Parkinson-White syndrome",
    "ILBBB": "incomplete left bundle branch block", "IPLMI": "inferoposterolateral myocardial infarction", "ISCAN": "anterior ischemia",
    "IPMI": "inferoposterior myocardial infarction", "SEHYP": "septal hypertrophy", "INJIN": "inferior subendocardial injury",
    "INJLA": "lateral subendocardial injury", "PMI": "posterior myocardial infarction", "3AVB": "third degree AV block",
    "INJIL": "inferolateral subendocardial injury", "2AVB": "second degree AV block",
}  # fmt: skip
SUPERCLASS = {
    "NORM": "a normal ECG", "MI": "myocardial infarction", "STTC": "ST or T wave changes", "CD": "a conduction disturbance",
    "HYP": "hypertrophy",
}  # fmt: skip
DIMENSIONS = {"rhythm": RHYTHM, "waveform": FORM, "diagnosis": DIAGNOSIS}
# Choices are asked about statements that are common enough to be learnt.
CHOICES = {
    "rhythm": ("SR", "AFIB", "STACH", "SBRAD", "SARRH", "PACE"),
    "waveform": ("PVC", "STD_", "QWAVE", "LOWT", "PAC", "LPR", "INVT", "LVOLT", "ABQRS", "NT_"),
    "diagnosis": ("NORM", "IMI", "ASMI", "LVH", "LAFB", "ISC_", "IRBBB", "1AVB", "CRBBB", "CLBBB"),
}

# Share of the records with a very common statement that get a closed question about it.
CLOSED_SHARE = {
    "SR": 0.08,
    "ABQRS": 0.15,
    "PVC": 0.5,
    "STD_": 0.5,
    "NORM": 0.15,
    "IMI": 0.4,
    "ASMI": 0.4,
    "LVH": 0.6,
    "LAFB": 0.4,
    "IRBBB": 0.6,
}

YES_NO = ("Does this ECG show {}?", "Is there {} on this ECG?", "Is {} present?")
OPEN = {
    "rhythm": ("What is the rhythm?", "Which rhythm does this ECG show?"),
    "waveform": ("Which abnormalities of the waveform are there?", "Describe the waveform."),
    "diagnosis": ("What is the diagnosis?", "Which diagnoses does this ECG suggest?"),
}
CLOSED = {
    "rhythm": "Which rhythm is it: {}?",
    "waveform": "Which of these is present: {}?",
    "diagnosis": "Which diagnosis fits: {}?",
}
REPORT = ("Write a report of this ECG.", "Please report this ECG.", "Read this ECG.")
PREDICTION = ("Predict the signal of the next {} seconds.", "Continue this ECG for {} seconds.")
SAME_RHYTHM = "Do both ECGs show the same rhythm?"


@dataclass
class Question:
    """`task` is closed, yes_no, open, report, prediction or comparison; closed ones have their `options`."""

    task: str
    dimension: str
    question: str
    answer: str
    options: tuple[str, ...] = ()


def ask(template: str, finding: str) -> str:
    """The question whether a finding is there."""
    return "Is this a normal ECG?" if finding == "a normal ECG" else template.format(finding)


def sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def present(statements: dict[str, float], dimension: str, least: float = 50.0) -> list[str]:
    """Codes of a dimension, the likeliest first. Rhythm and form have no likelihood in PTB-XL (0) and count at any."""
    names = DIMENSIONS[dimension]
    found = [code for code in statements if code in names and (dimension != "diagnosis" or statements[code] >= least)]
    return sorted(found, key=lambda code: -statements[code])


class QuestionBuilder:
    """Questions about one record after the other.

    Args:
        superclass_of: Diagnostic code -> superclass, from PTB-XL's statement table.
        rng: Source of all choices.
    """

    def __init__(self, superclass_of: dict[str, str], rng: np.random.Generator):
        self.superclass_of, self.rng = superclass_of, rng

    def _pick(self, options):
        return options[int(self.rng.integers(len(options)))]

    def superclasses(self, statements: dict[str, float]) -> set[str]:
        """Superclasses of the diagnostic statements, at any likelihood."""
        return {self.superclass_of[code] for code in statements if code in self.superclass_of}

    def yes_no_superclass(self, statements, superclass: str) -> Question:
        answer = "Yes." if superclass in self.superclasses(statements) else "No."
        return Question("yes_no", "superclass", ask(YES_NO[0], SUPERCLASS[superclass]), answer)

    def yes_no(self, statements, dimension: str) -> Question:
        """As often yes as no, where the record allows it."""
        have = [code for code in CHOICES[dimension] if code in statements]
        lack = [code for code in CHOICES[dimension] if code not in statements]
        code = self._pick(have if have and self.rng.random() < 0.5 else lack)
        question = ask(self._pick(YES_NO), DIMENSIONS[dimension][code])
        return Question("yes_no", dimension, question, "Yes." if code in statements else "No.")

    def closed(self, statements, dimension: str, right: str | None = None) -> Question | None:
        """Four options, one of which is right and none of the others is true; None if the record does not allow it.

        The other options are drawn in the same way whichever is right, so that the options alone do not give the answer away:
        diagnoses are of four different superclasses, since a block is no clear distractor for another one.
        """
        have = [code for code in present(statements, dimension) if code in CHOICES[dimension]]
        if not have:
            return None
        right = right or self._pick(have)
        if dimension == "diagnosis":
            families = [name for name in SUPERCLASS if name not in self.superclasses(statements)]
            if len(families) < 3:
                return None
            families = self.rng.permutation(families)[:3]
            wrong = [self._pick([code for code in CHOICES[dimension] if self.superclass_of.get(code) == name]) for name in families]
        else:
            wrong = list(self.rng.permutation([code for code in CHOICES[dimension] if code not in statements])[:3])
        names = [DIMENSIONS[dimension][code] for code in (right, *wrong)]
        options = tuple(names[i] for i in self.rng.permutation(4))
        return Question("closed", dimension, CLOSED[dimension].format(", ".join(options)), sentence(names[0]), options)

    def open(self, statements, dimension: str) -> Question:
        codes = present(statements, dimension)
        names = [DIMENSIONS[dimension][code] for code in codes]
        nothing = {"rhythm": "the rhythm is not stated", "waveform": "no abnormality of the waveform", "diagnosis": "no certain diagnosis"}
        return Question("open", dimension, self._pick(OPEN[dimension]), sentence(", ".join(names) or nothing[dimension]))

    def report(self, statements) -> Question:
        return Question("report", "report", self._pick(REPORT), report_text(statements))

    def prediction(self) -> Question:
        return Question("prediction", "prediction", self._pick(PREDICTION).format(int(self.rng.integers(1, 5))), "<prediction>")

    def comparison(self, one, other) -> Question:
        same = present(one, "rhythm")[:1] == present(other, "rhythm")[:1]
        return Question("comparison", "rhythm", SAME_RHYTHM, "Yes." if same else "No.")

    def questions(self, statements) -> list[Question]:
        """What one record is asked in one go: all superclasses, and some of everything else."""
        questions = [self.yes_no_superclass(statements, name) for name in SUPERCLASS]
        for dimension in DIMENSIONS:
            questions.append(self.yes_no(statements, dimension))
            have = [code for code in present(statements, dimension) if code in CHOICES[dimension]]
            # Common answers are asked for less often, or the answer to learn would be the commonest option.
            have = [code for code in have if self.rng.random() < CLOSED_SHARE.get(code, 1.0)]
            if have:
                questions.append(self.closed(statements, dimension, self._pick(have)))
        questions.append(self.open(statements, self._pick(tuple(DIMENSIONS))))
        if self.rng.random() < 0.4:
            questions.append(self.report(statements))
        if self.rng.random() < 0.05:
            questions.append(self.prediction())
        return [question for question in questions if question is not None]


def report_text(statements: dict[str, float]) -> str:
    """A structured report in SCP-ECG wording; the likelihood of a diagnosis chooses its words."""
    parts = []
    if rhythm := present(statements, "rhythm"):
        parts.append(sentence(", ".join(RHYTHM[code] for code in rhythm)))
    if waveform := present(statements, "waveform"):
        parts.append("Waveform: " + ", ".join(FORM[code] for code in waveform) + ".")
    diagnoses = []
    for code in present(statements, "diagnosis", least=15):
        words = "" if statements[code] >= 80 else "probable " if statements[code] >= 50 else "possible "
        if code == "NORM" and words:
            diagnoses.append(f"{words}normal ECG")
        else:
            diagnoses.append(words + DIAGNOSIS[code])
    parts.append("Diagnosis: " + (", ".join(diagnoses) or "no certain diagnosis") + ".")
    return " ".join(parts)
