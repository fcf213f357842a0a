"""Questions in the words of people, answered as the pipeline answers them, out of what cardiologists stated about an
ECG and what was measured in it, so that the language model learns by itself to say what the pipeline says.

    HeartAgent's wordings --WordingBuilder--> question, Asked --truth_of, answering_heartcare--> answer
"""

import math
from collections.abc import Mapping

import numpy as np

from heartcare.agent.qa import Labels, Question
from heartcare.agent.wording import WordingBuilder
from heartcare.answering_heartcare import DECIDED, Facts, answer, facts_of, share_of
from heartcare.opinion_heartcare import CERTAIN, POSSIBLE, STATED
from heartcare.scp_heartcare import TOPICS
from heartcare.understanding_heartcare import Asked

# Likelihood in percent -> probability that the opinion has for a statement of at least that likelihood, so that it is
# worded as in the data set's reports: without a doubt, as probable, as possible, or not at all.
PROBABILITIES = {80.0: 0.999, 50.0: (STATED + CERTAIN) / 2, 15.0: (POSSIBLE + STATED) / 2, 0.0: 0.001}
CLEAR = 0.2  # distance from 0.5 that the probabilities of all statements have that a yes/no question is about
NEEDS_RHYTHM = {"report", "summary", "urgent", "rhythm"}  # kinds and topics that cannot be answered without a rhythm
TAUGHT = ("cannot", "compare", "is", "number", "report", "summary", "urgent", "which")  # kinds of questions


class SpokenQuestions:
    """Draws questions about ECGs whose labels are known; half of the findings that they name are there.

    Args:
        wordings: Code of each statement that the model knows -> its words.

    Raises: `ValueError` without any wordings, as those of a model without a head for findings.
    """

    def __init__(self, wordings: Mapping[str, str]):
        if not wordings:
            raise ValueError("The model has no head for findings, so that it has no words for spoken questions.")
        self.wordings = wordings
        self.builder = WordingBuilder(np.random.default_rng(0))

    def about(
        self, labels: Labels, measured: Mapping[str, object] | None, number: int, rng: np.random.Generator
    ) -> list[Question]:
        """Draws questions with their answers.

        Args:
            labels: Labels of the record.
            measured: Measurements as plain values; None where the model is not shown them.
            number: Number of questions.
            rng: Source of all choices.
        """
        facts = truth_of(labels, self.wordings, measured)
        self.builder.rng = rng
        self.builder.favour([code for code in self.builder.codes if (share_of(code, facts) or 0.0) >= STATED])
        questions: list[Question] = []
        while len(questions) < number:
            text, asked = self.builder.question()
            if said := reply(asked, facts):
                questions.append(Question("spoken", "", "", text, said))
        return questions


def truth_of(labels: Labels, wordings: Mapping[str, str], measured: Mapping[str, object] | None = None) -> Facts:
    """Returns what is known of an ECG from its labels.

    Args:
        labels: Labels of the record.
        wordings: Code of each statement that the model knows -> its words. A topic that the labels do not tell, such as
            the axis, is left out.
        measured: Measurements as plain values; None where the model is not shown them.
    """
    answers = {topic: set(labels.answers(topic)) for topic in TOPICS}
    logits = {}
    for code in wordings:
        topic, is_of_topic, name = code.partition(":")
        if topic == "super":
            likelihood = 0.0  # the opinion takes it from its statements
        elif not is_of_topic:
            likelihood = labels.likelihood(code)
        elif answers[topic] or topic == "waveform":
            likelihood = 100.0 * (name in answers[topic])
        else:
            continue
        probability = next(each for least, each in PROBABILITIES.items() if likelihood >= least)
        logits[code] = math.log(probability / (1 - probability))
    return facts_of(measured or {}, logits, logits, wordings)


def reply(asked: Asked, facts: Facts) -> str:
    """Returns the pipeline's answer to a question about one ECG, and an empty text where the labels do not tell it."""
    if asked.kind not in TAUGHT or (asked.kind == "number" and not facts.measured):
        return ""
    if NEEDS_RHYTHM & {asked.kind, asked.topic} and not facts.opinion.stated("rhythm"):
        return ""
    if asked.kind == "is":
        if not facts.measured and any(code in DECIDED for code in asked.codes):
            return ""
        shares = [share_of(code, facts) for code in asked.codes]
        if any(share is None or abs(share - 0.5) < CLEAR for share in shares):
            return ""
    given = answer(asked, [facts])
    return given.text if given else ""
