"""Questions and answers about ECGs out of their labels: closed, open, verify, comparison, report and signal prediction
(paper section 4).

    Labels (statements, age, sex, notes) --answers--> codes, the likeliest first --QuestionBuilder--> [Question]

Rules: a statement of 60 % or more is an answer, the highest first; where there is none, a "normal" variant is. PTB-XL
states no likelihood (0) for rhythm and form; those count as certain. A distractor is never true for the record, nor in
doubt. Every question names age and sex.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from heartcare.scp_heartcare import (
    AXIS,
    DIAGNOSIS,
    DIAGNOSTIC_CLASS,
    FORM,
    NOISE,
    NORMAL,
    RHYTHM,
    STAGE,
    SUPERCLASS,
    SUPERCLASS_OF,
    TOPICS,
)

CERTAIN = 60.0
TASKS = ("closed-qa", "open-qa", "verify-qa", "comparison-qa", "report", "prediction")
MODALITIES = ("signal", "image", "signal-signal", "image-image", "signal-image")

# Dimension of the benchmark of each topic; "misc" is the paper's Miscellaneous.
DIMENSION_OF = {topic: topic if topic in ("rhythm", "waveform", "diagnosis") else "misc" for topic in TOPICS}
DIMENSIONS = ("diagnosis", "waveform", "rhythm", "misc")

# Codes that are offered as options: those common enough to be learnt, in 100 records of PTB-XL and more, and rarer
# ones where a topic would otherwise have fewer than four.
CHOICES = {
    "rhythm": ("SR", "AFIB", "STACH", "SBRAD", "SARRH", "PACE", "SVARR", "AFLT", "BIGU"),
    "waveform": ("no-form", "ABQRS", "PVC", "STD_", "VCLVH", "QWAVE", "LOWT", "NT_", "PAC", "LPR", "INVT",
                 "LVOLT", "NDT", "NST_", "DIG", "LNGQT"),
    "diagnosis": ("NORM", "IMI", "ASMI", "ILMI", "AMI", "ALMI", "LMI", "INJAS", "LVH", "LAO/LAE", "RVH",
                  "LAFB", "IRBBB", "1AVB", "IVCD", "CRBBB", "CLBBB", "LPFB", "WPW", "ISC_", "ISCAL", "ISCIN",
                  "ISCIL", "ISCAS", "ISCLA"),
    "axis": ("MID", "LAD", "ALAD", "RAD", "ARAD"),
    "stage": ("Stadium I", "Stadium II", "Stadium II-III", "Stadium III"),
    "noise": ("static_noise", "burst_noise", "baseline_drift", "no-noise"),
    "ectopy": ("SVES", "VES", "SVES+VES", "no-ectopy"),
}  # fmt: skip
# Closed questions whose answer is a very common one are asked about this share of the records, so that in PTB-XL it is
# right about as often as the next most common answer of its topic. Otherwise a model that always says "normal" would
# score well.
CLOSED_SHARE = {"SR": 0.09, "no-form": 0.26, "NORM": 0.12, "MID": 0.49, "no-noise": 0.17, "no-ectopy": 0.06}

VERIFY = ("Does this ECG show {}?", "Do you see {} on this ECG?", "Can {} be seen?")
CLOSED = {
    "rhythm": ("Which rhythm is it: {}?", "Which of these is the rhythm: {}?", "Name the rhythm, one of {}."),
    "waveform": (
        "Which of these is present: {}?",
        "Which of these describes the waveform: {}?",
        "What is seen in the waveform, one of {}?",
    ),
    "diagnosis": (
        "Which diagnosis fits: {}?",
        "Which of these is the diagnosis: {}?",
        "What does the ECG point to, one of {}?",
    ),
    "axis": ("Which axis does the heart have: {}?", "What is the electrical axis, one of {}?"),
    "stage": ("Of which stage is the infarction: {}?", "How old is the infarction, one of {}?"),
    "noise": ("Which of these disturbs the recording: {}?", "What is the quality of the recording, one of {}?"),
    "ectopy": ("Which ectopic beats are there: {}?", "Are there extrasystoles, and which, one of {}?"),
}
OPEN = {
    "rhythm": ("What is the rhythm?", "Which rhythm does this ECG show?", "Describe the rhythm."),
    "waveform": (
        "Which abnormalities of the waveform are there?",
        "Describe the waveform.",
        "What is remarkable in P, QRS, ST or T?",
    ),
    "diagnosis": ("What is the diagnosis?", "Which diagnoses does this ECG suggest?", "What is your conclusion?"),
    "axis": ("What is the electrical axis of the heart?", "Which axis does the heart have?"),
    "stage": ("Of which stage is the infarction?", "How old is the infarction?"),
    "noise": ("Which disturbances of the recording are there?", "How good is the recording?"),
    "ectopy": ("Which ectopic beats are there?", "Are there extrasystoles?"),
}
REPORT = (
    "Write a report of this ECG.",
    "Please report this ECG.",
    "Read this ECG and give a structured report.",
    "Report the findings.",
)
PREDICTION = (
    "Predict the signal of the next {} seconds.",
    "Continue this ECG for {} seconds.",
    "How does this ECG go on for {} seconds?",
)
COMPARE_CLOSED = {
    "second": (
        "Which of these is true of the second ECG but not of the first: {}?",
        "What does only the second ECG show, one of {}?",
    ),
    "first": (
        "Which of these is true of the first ECG but not of the second: {}?",
        "What does only the first ECG show, one of {}?",
    ),
    "both": ("Which of these is true of both ECGs: {}?", "What do both ECGs show, one of {}?"),
}
COMPARE_OPEN = (
    "What is different in the second ECG?",
    "Compare the two ECGs.",
    "What has the second ECG that the first has not, and the reverse?",
)
TOPIC_WORDS = {
    "rhythm": "rhythm",
    "waveform": "waveform",
    "diagnosis": "diagnosis",
    "axis": "electrical axis",
    "stage": "stage of the infarction",
    "noise": "quality of the recording",
    "ectopy": "ectopic beats",
}
SAME_PATIENT = (
    "Two ECGs of one patient, the earlier one first. ",
    "The same patient, recorded twice; the second ECG is later. ",
)
OTHER_PATIENT = ("Two ECGs of two patients. ", "The ECGs are of different patients. ")

PATIENT = (
    "The patient is {who}. {question}", "This is the ECG of {who}. {question}", "{question} The patient is {who}.",
    "Patient: {who}. {question}", "ECG of {who}. {question}", "Given {who}: {question}",
)  # fmt: skip


@dataclass
class Labels:
    """The labels of a record: `statements` code -> likelihood in percent (0 where not stated), `age` in years,
    `sex`, `notes` by PTB-XL's column names.
    """

    statements: dict[str, float]
    age: float | None = None
    sex: str | None = None
    notes: dict[str, str] = field(default_factory=dict)

    def excluded_distractors(self, topic: str) -> set[str]:
        """Returns the codes that must not be offered as a wrong option: the answers, and what is in doubt."""
        codes = set(self.answers(topic)) | {code for code in self.statements if code in TOPICS[topic]}
        if topic == "waveform" and codes - {NORMAL["waveform"][0]} == set():
            codes.add(NORMAL["waveform"][0])
        if topic == "diagnosis" and "MI" in codes:
            codes |= set(DIAGNOSTIC_CLASS["MI"])  # the infarction that is stated may have any site
        if topic == "ectopy" and codes & {"ES", "SVES+VES"}:
            codes |= {"SVES", "VES", "SVES+VES"}
        return codes

    def answers(self, topic: str) -> list[str]:
        """Returns the codes that answer a topic, the likeliest first; [] where the labels do not tell."""
        if topic in ("rhythm", "waveform", "diagnosis"):
            names = TOPICS[topic]
            certain = [code for code in self.statements if code in names and self.likelihood(code) >= CERTAIN]
            certain.sort(key=lambda code: (-self.likelihood(code), code))
            if certain or topic == "rhythm" or self.doubtful(topic) or not self.statements:
                return certain
            return [NORMAL[topic][0]] if topic == "waveform" else []
        if topic == "axis":
            return [self.notes["heart_axis"]] if self.notes.get("heart_axis") in AXIS else []
        if topic == "stage":
            stage = self.notes.get("infarction_stadium1")
            return [stage] if stage in STAGE and "MI" in self.superclasses() else []
        if "heart_axis" not in self.notes:
            return []  # not one of PTB-XL's records, whose empty columns mean "none"
        if topic == "noise":
            return [name for name in NOISE if self.notes.get(name)] or [NORMAL["noise"][0]]
        return [self.ectopy()]

    def doubtful(self, topic: str) -> list[str]:
        """Returns the codes of a topic below 60 %."""
        return [code for code in self.statements if code in TOPICS[topic] and self.likelihood(code) < CERTAIN]

    def ectopy(self) -> str:
        """Returns a key of `ECTOPY` or "no-ectopy", by the column of extra beats and the statements."""
        beats = self.notes.get("extra_beats", "").upper()
        above, below = (
            "SVES" in beats or "PAC" in self.statements,
            "VES" in beats.replace("SVES", "") or "PVC" in self.statements,
        )
        if above or below:
            return "SVES+VES" if above and below else "SVES" if above else "VES"
        other = beats or {"PRC(S)", "BIGU", "TRIGU"} & set(self.statements)
        return "ES" if other else NORMAL["ectopy"][0]

    def superclasses(self) -> set[str]:
        """Returns the superclasses of the diagnostic statements, at any likelihood, as the field scores them."""
        return {SUPERCLASS_OF[code] for code in self.statements if code in SUPERCLASS_OF}

    def likelihood(self, code: str) -> float:
        """Returns the likelihood of a code in percent: rhythm and form without one are certain, and a code that is not
        stated has 0.
        """
        value = self.statements.get(code, -1.0)
        return 100.0 if value == 0 and (code in RHYTHM or code in FORM) else max(value, 0.0)


@dataclass
class Question:
    """One question.

    Attributes:
        task: One of `TASKS`.
        dimension: One of `DIMENSIONS`, or "superclass", "report", "prediction".
        topic: Key of `TOPICS`; for superclasses their name, for reports and predictions the dimension again.
        question, answer: The texts. The answer of a closed question is the right option as a sentence.
        options: Options of a closed question, else empty.
        answer_label: Codes of the answer, "yes" or "no", or the seconds of a prediction.
    """

    task: str
    dimension: str
    topic: str
    question: str
    answer: str
    options: tuple[str, ...] = ()
    answer_label: tuple[str, ...] = ()


class QuestionBuilder:
    """Questions about one record after the other.

    Args:
        rng: Source of all choices.
        plain: Whether each question is asked in its first wording and without age and sex, instead of varying ones.
    """

    def __init__(self, rng: np.random.Generator, plain: bool = False):
        self.rng, self.plain = rng, plain

    def questions(self, labels: Labels) -> list[Question]:
        """Returns the questions about one record in one modality: closed and open ones of every topic, a verification
        of each dimension and superclass, a report and a prediction.
        """
        result = [self.verify_superclass(labels, name) for name in SUPERCLASS] if labels.statements else []
        result += [self.verify(labels, topic) for topic in ("rhythm", "waveform", "diagnosis")]
        for topic in TOPICS:
            result += [self.not_too_common(self.closed(labels, topic)), self.open(labels, topic)]
        if labels.statements:
            result.append(self.report(labels))
        return [question for question in [*result, self.prediction(labels)] if question is not None]

    def verify_superclass(self, labels: Labels, superclass: str) -> Question:
        """Asks whether a superclass is there; a statement of any likelihood counts."""
        answer = "yes" if superclass in labels.superclasses() else "no"
        question = self._for(labels, ask(VERIFY[0], SUPERCLASS[superclass]))
        return Question("verify-qa", "superclass", superclass, question, sentence(answer), (), (answer,))

    def verify(self, labels: Labels, topic: str) -> Question | None:
        """Asks whether a statement is there: as often for one that is as for one that is not, where the record allows
        it, and never for one in doubt.
        """
        answers = labels.answers(topic)
        have = [code for code in CHOICES[topic] if code in answers]
        lack = [code for code in CHOICES[topic] if code not in labels.excluded_distractors(topic)]
        if not answers or not (have or lack):
            return None
        code = self._pick(have if have and (not lack or self.rng.random() < 0.5) else lack)
        answer = "yes" if code in have else "no"
        question = self._for(labels, ask(self._word(VERIFY), TOPICS[topic][code]))
        return Question("verify-qa", DIMENSION_OF[topic], topic, question, sentence(answer), (), (answer,))

    def closed(self, labels: Labels, topic: str) -> Question | None:
        """Asks a question with four options: one is right, and none of the others is true or in doubt. Returns None
        where the record does not allow it.

        The other options are drawn in the same way whichever is right, so that the options alone do not give the answer
        away: diagnoses are of four different superclasses, since a block is no clear distractor for another one.
        """
        answers = [code for code in labels.answers(topic) if code in CHOICES[topic]]
        if not answers:
            return None
        right = answers[0]
        free = [code for code in CHOICES[topic] if code not in labels.excluded_distractors(topic)]
        if topic == "diagnosis":
            families = [name for name in SUPERCLASS if name not in labels.superclasses()]
            by_family = {name: [code for code in free if SUPERCLASS_OF[code] == name] for name in families}
            families = [name for name in families if by_family[name]]
            wrong = [self._pick(by_family[name]) for name in self.rng.permutation(families)[:3]]
        else:
            wrong = [free[i] for i in self.rng.permutation(len(free))[:3]]
        if len(wrong) < 3:
            return None
        options = self._options(names(topic, (right, *wrong)))
        question = self._for(labels, self._word(CLOSED[topic]).format(", ".join(options)))
        return Question(
            "closed-qa", DIMENSION_OF[topic], topic, question, sentence(TOPICS[topic][right]), options, (right,)
        )

    def not_too_common(self, question: Question | None) -> Question | None:
        """Returns the question, or None for most of those with a very common answer, by `CLOSED_SHARE`."""
        return question if question and self.rng.random() < CLOSED_SHARE.get(question.answer_label[0], 1.0) else None

    def open(self, labels: Labels, topic: str) -> Question | None:
        """Asks for all answers to a topic; the answer is "no certain diagnosis" where all diagnoses are in doubt."""
        answers = labels.answers(topic)
        if answers:
            text = ", ".join(names(topic, answers))
        elif topic == "diagnosis" and labels.doubtful(topic):
            text = "no certain diagnosis"
        else:
            return None
        question = self._for(labels, self._word(OPEN[topic]))
        return Question("open-qa", DIMENSION_OF[topic], topic, question, sentence(text), (), tuple(answers))

    def report(self, labels: Labels) -> Question:
        """Asks for the structured report."""
        answer = report_text(labels)
        return Question(
            "report", "report", "report", self._for(labels, self._word(REPORT)), answer, (), tuple(labels.statements)
        )

    def prediction(self, labels: Labels) -> Question:
        """Asks for the signal of the next 1 to 4 seconds."""
        seconds = int(self.rng.integers(1, 5))
        words = self._for(labels, self._word(PREDICTION).format(seconds)).replace(" 1 seconds", " 1 second")
        return Question("prediction", "prediction", "prediction", words, "<prediction>", (), (str(seconds),))

    def comparison(self, one: Labels, other: Labels, same_patient: bool, topic: str) -> list[Question]:
        """Asks about two ECGs: a closed question, where the labels allow one, and an open one."""
        first, second = one.answers(topic), other.answers(topic)
        if not first or not second:
            return []
        lead = self._word(SAME_PATIENT if same_patient else OTHER_PATIENT)
        closed = self._closed_comparison(one, other, lead, topic)
        question = self._for(one, lead + self._word(COMPARE_OPEN) + f" Consider the {TOPIC_WORDS[topic]}.")
        answer, label = difference(topic, first, second), (*first, "->", *second)
        opened = Question("comparison-qa", DIMENSION_OF[topic], topic, question, answer, (), label)
        return [opened] if closed is None else [closed, opened]

    def _closed_comparison(self, one: Labels, other: Labels, lead: str, topic: str) -> Question | None:
        """Asks, with four options, what is true of the second ECG alone, of the first alone, or of both."""
        first, second = one.answers(topic), other.answers(topic)
        not_first, not_second = one.excluded_distractors(topic), other.excluded_distractors(topic)
        kinds = {
            "second": [code for code in second if code not in not_first],
            "first": [code for code in first if code not in not_second],
            "both": [code for code in first if code in second],
        }
        neither = [code for code in CHOICES[topic] if code not in not_first | not_second]
        possible = [kind for kind, codes in kinds.items() if set(codes) & set(CHOICES[topic])]
        if not possible:
            return None
        kind = self._pick(possible)
        right = next(code for code in kinds[kind] if code in CHOICES[topic])
        # One wrong option of each other kind, if there is one, so that it does not help to know what one ECG shows.
        wrong = [self._pick(codes) for other_kind, codes in kinds.items() if other_kind != kind and codes]
        wrong += [neither[i] for i in self.rng.permutation(len(neither))]
        if len(wrong) < 3:
            return None
        options = self._options(names(topic, (right, *wrong[:3])))
        question = self._for(one, lead + self._word(COMPARE_CLOSED[kind]).format(", ".join(options)))
        answer, label = sentence(TOPICS[topic][right]), (right,)
        return self.not_too_common(
            Question("comparison-qa", DIMENSION_OF[topic], topic, question, answer, options, label)
        )

    def _options(self, texts: list[str]) -> tuple[str, ...]:
        return tuple(texts[i] for i in self.rng.permutation(len(texts)))

    def _word(self, templates: tuple[str, ...]) -> str:
        return templates[0] if self.plain else self._pick(templates)

    def _for(self, labels: Labels, question: str) -> str:
        """Returns the question with the patient's age and sex."""
        if self.plain:
            return question
        return self._pick(PATIENT).format(who=patient_words(labels.age, labels.sex, self.rng), question=question)

    def _pick(self, options):
        return options[int(self.rng.integers(len(options)))]


def ask(template: str, finding: str) -> str:
    """Words the question for a finding."""
    return "Is this a normal ECG?" if finding == "a normal ECG" else template.format(finding)


def patient_words(age: float | None, sex: str | None, rng: np.random.Generator) -> str:
    """Returns words for a patient, such as "a 63-year-old woman", "a man aged 63" or "a patient of unknown age and
    sex"; an age above 89 is never told.
    """
    person = {"female": ("woman", "female patient"), "male": ("man", "male patient")}.get(sex, ("patient", "person"))[
        int(rng.integers(2))
    ]
    if age is None:
        return f"a {person} of unknown age" if sex else "a patient of unknown age and sex"
    old = "over 89 years" if age >= 90 else f"{age:.0f} years" if age != 1 else "1 year"
    if rng.random() < 0.5 and 2 <= age < 90:
        vowel = "an" if str(int(age)).startswith("8") or int(age) in (11, 18) else "a"
        words = f"{vowel} {age:.0f}-year-old {person}"
    else:
        words = f"a {person} aged {old}"
    return words if sex else f"{words} of unknown sex"


def difference(topic: str, first: list[str], second: list[str]) -> str:
    """Words the difference of two ECGs: the findings of both, of the first alone, and of the second alone."""
    shared = [code for code in first if code in second]
    parts = [
        f"{words}: {', '.join(names(topic, codes))}."
        for words, codes in (
            ("Both", shared),
            ("Only the first", [code for code in first if code not in second]),
            ("Only the second", [code for code in second if code not in first]),
        )
        if codes
    ]
    return ("No difference. " if set(first) == set(second) else "") + " ".join(parts)


def report_text(labels: Labels) -> str:
    """Returns a structured report in SCP-ECG wording; the likelihood of a diagnosis chooses its words. Nothing in it
    identifies the patient.
    """
    parts = []
    if labels.age is not None or labels.sex:
        age = "" if labels.age is None else "over 89 years" if labels.age >= 90 else f"{labels.age:.0f} years"
        parts.append(sentence(", ".join(part for part in (labels.sex or "", age) if part)))
    for title, topic in (("Rhythm", "rhythm"), ("Axis", "axis"), ("Waveform", "waveform")):
        if answers := labels.answers(topic):
            parts.append(f"{title}: {', '.join(names(topic, answers))}.")
    diagnoses = []
    stage = labels.answers("stage")
    for code in sorted((c for c in labels.statements if c in DIAGNOSIS), key=lambda c: (-labels.likelihood(c), c)):
        likelihood = labels.likelihood(code)
        if likelihood < 15:
            continue
        words = "" if likelihood >= 80 else "probable " if likelihood >= 50 else "possible "
        name = "normal ECG" if code == "NORM" and words else DIAGNOSIS[code]
        if stage and SUPERCLASS_OF[code] == "MI":
            name += f" {STAGE[stage[0]]}" if stage[0] == "unknown" else f" of {STAGE[stage[0]]}"
        diagnoses.append(words + name)
    parts.append("Diagnosis: " + (", ".join(diagnoses) or "no certain diagnosis") + ".")
    for title, topic in (("Ectopic beats", "ectopy"), ("Recording", "noise")):
        if (answers := labels.answers(topic)) and answers[0] != NORMAL[topic][0]:
            parts.append(f"{title}: {', '.join(names(topic, answers))}.")
    return " ".join(parts)


def sentence(text: str) -> str:
    """Returns the text with a capital letter and a full stop."""
    return text[0].upper() + text[1:] + "."


def names(topic: str, codes: Iterable[str]) -> list[str]:
    """Returns the wording of each code of a topic."""
    return [TOPICS[topic][code] for code in codes]
