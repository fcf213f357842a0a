"""Questions that are made anew each time an ECG is trained on, out of what the cardiologists said of it, in place of
the few of a data set.
"""

from dataclasses import replace

import numpy as np

from heartcare.agent.qa import REPORT, SAME_PATIENT, TOPICS, VERIFY, Labels, Question, QuestionBuilder, ask, sentence
from heartcare.agent.statements import NAMES, WORDING, truth

DIFFERENT = [k for k, name in enumerate(NAMES) if name != "super:NORM"]  # which is asked as the statement NORM is
# How else people ask whether something is there; half of the questions are worded as the benchmark's.
WORDINGS = (
    *VERIFY[1:],
    "Is there {}?",
    "Is there {} on this ECG?",
    "Is {} present?",
    "Any {}?",
    "Does the patient have {}?",
    "Are there signs of {}?",
)


def worded(rng: np.random.Generator) -> str:
    return VERIFY[0] if rng.random() < 0.5 else str(rng.choice(WORDINGS))


def drill(labels: Labels, number: int, rng: np.random.Generator) -> list[Question]:
    """Whether `number` of the statements and superclasses are there, at most half of them such as are, closed questions
    with other options each time, and a report that knows nothing of the patient.
    """
    there = truth(labels.statements)
    places = rng.permutation(DIFFERENT)
    yes, no = places[there[places]][: number // 2], places[~there[places]]
    checks = [
        Question("verify-qa", "", "", ask(worded(rng), WORDING[NAMES[k]]), sentence(answer), (), (answer,))
        for answer, places in (("yes", yes), ("no", no[: number - len(yes)]))
        for k in places
    ]
    builder = QuestionBuilder(rng, plain=True)
    report = replace(builder.report(labels), question=str(rng.choice(REPORT)))
    return [
        *checks,
        *(question for topic in TOPICS if (question := builder.not_too_common(builder.closed(labels, topic)))),
        report,
    ]


def drill_pair(first: Labels, second: Labels, questions: list[Question], rng: np.random.Generator) -> list[Question]:
    """Comparisons of two ECGs that other `questions` tell to be of one patient or of two; each at most once."""
    same = any(words in questions[0].question for words in SAME_PATIENT)
    builder, found = QuestionBuilder(rng, plain=True), {}
    for topic in [*TOPICS] * 2:  # what only the first shows, only the second, or both, is drawn
        for question in builder.comparison(first, second, same, topic):
            found[question.question.split(" one of ")[0].split(": ")[0], topic] = question
    return list(found.values())
