"""Questions that are made anew each time an ECG is trained on, from the cardiologists' statements, beside the few of a
data set.
"""

from dataclasses import replace

import numpy as np

from heartcare.agent.qa import REPORT, SAME_PATIENT, VERIFY, Labels, Question, QuestionBuilder, ask, sentence
from heartcare.agent.report_styles import REQUESTS, WRITERS
from heartcare.agent.statements import NAMES, WORDING, truth
from heartcare.scp_heartcare import TOPICS

# Classes that are asked about: the superclass NORM is worded exactly like the statement NORM, and is asked once.
DISTINCT = [k for k, name in enumerate(NAMES) if name != "super:NORM"]
OTHER_STYLES = [style for style in REQUESTS if style != "structured"]
# Other wordings of the question whether a finding is present; half of the questions are worded as the benchmark's.
WORDINGS = (
    *VERIFY[1:],
    "Is there {}?",
    "Is there {} on this ECG?",
    "Is {} present?",
    "Any {}?",
    "Does the patient have {}?",
    "Are there signs of {}?",
)


def drill(labels: Labels, number: int, rng: np.random.Generator) -> list[Question]:
    """Makes questions about one record: `number` questions whether a statement or superclass is present, at most half
    of them with the answer yes; closed questions of every topic with new options; and two reports without age and sex,
    the structured one and one in another style.
    """
    present = truth(labels.statements)
    classes = rng.permutation(DISTINCT)
    yes, no = classes[present[classes]][: number // 2], classes[~present[classes]]
    checks = [
        Question("verify-qa", "", "", ask(random_wording(rng), WORDING[NAMES[k]]), sentence(answer), (), (answer,))
        for answer, chosen in (("yes", yes), ("no", no[: number - len(yes)]))
        for k in chosen
    ]
    builder = QuestionBuilder(rng, plain=True)
    style = str(rng.choice(OTHER_STYLES))
    report = builder.report(labels)
    reports = [
        replace(report, question=str(rng.choice(REPORT))),
        replace(report, question=str(rng.choice(REQUESTS[style])), answer=WRITERS[style](labels)),
    ]
    return [
        *checks,
        *(question for topic in TOPICS if (question := builder.not_too_common(builder.closed(labels, topic)))),
        *reports,
    ]


def random_wording(rng: np.random.Generator) -> str:
    """Returns the benchmark's wording half of the time, else another one."""
    return VERIFY[0] if rng.random() < 0.5 else str(rng.choice(WORDINGS))


def drill_pair(first: Labels, second: Labels, questions: list[Question], rng: np.random.Generator) -> list[Question]:
    """Makes comparisons of two ECGs, each at most once. The wording of other `questions` about them tells whether they
    are of one patient or of two.
    """
    same = any(words in questions[0].question for words in SAME_PATIENT)
    builder, comparisons = QuestionBuilder(rng, plain=True), {}
    for topic in [*TOPICS] * 2:  # whether only the first shows it, only the second, or both, is drawn
        for question in builder.comparison(first, second, same, topic):
            comparisons[question.question.split(" one of ")[0].split(": ")[0], topic] = question
    return list(comparisons.values())
