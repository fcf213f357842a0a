"""Tells whether the answers about one ECG contradict each other: report, open questions, yes or no, options, turns.

Only texts are compared: the statements of a report are those that HeartAgent's lexicon finds in it.
"""

from typing import Any

from ..agent.lexicon import find_mentions
from ..agent.qa import CHOICES, CLOSED, OPEN, VERIFY, ask
from ..opinion_heartcare import FAMILIES
from ..parts_heartcare import as_part
from ..pipeline_heartcare import ECGInterpretationPipeline
from ..scp_heartcare import RHYTHM, SUPERCLASS, TOPICS

PROBABLE = 80.0  # least likelihood, in percent by the lexicon, with which a report makes a statement
# Statement -> other statements of a report that mean it as well.
ALSO = {"LPR": ("1AVB",), "PRC(S)": FAMILIES["PREMATURE"]}
KINDS = {
    "affirmed but not reported": "a statement is affirmed that the report does not make",
    "reported but denied": "a statement of the report is denied",
    "normal and abnormal": "the ECG is called normal, and a superclass is affirmed",
    "two rhythms": "the rhythm of the report, of the open and of the closed question differ",
    "open question": "an open question has other statements than the report",
    "second turn": "a question is answered otherwise in a second turn",
}


def statements_of(text: str) -> set[str]:
    """Returns the codes of the statements that a text makes, but for those that it calls possible."""
    return {mention.code for mention in find_mentions(text) if mention.code and mention.likelihood >= PROBABLE}


def questions_about(wordings: dict[str, str]) -> dict[str, str]:
    """Returns key of each question -> its words; a statement's yes/no question has the statement's code as its key."""
    questions = {code: ask(VERIFY[0], words) for code, words in wordings.items() if ":" not in code}
    questions |= {f"super:{name}": ask(VERIFY[0], words) for name, words in SUPERCLASS.items()}
    return questions | {f"open {topic}": OPEN[topic][0] for topic in ("rhythm", "waveform", "diagnosis")}


def contradictions(report: str, answers: dict[str, str], closed: str, second: str) -> set[str]:
    """Returns the kinds of contradictions among the answers about one ECG.

    Args:
        report: The report.
        answers: Key of `questions_about` -> answer.
        closed: The option that was chosen for the rhythm.
        second: Answer to the open question for the rhythm in a second turn, after the report.
    """
    reported, found = statements_of(report), set()
    yes = {code for code, answer in answers.items() if not code.startswith("open") and answer.startswith("Yes")}
    statements = {code for code in yes if not code.startswith("super:")}
    known = {code for code in answers if not code.startswith(("super:", "open"))}
    # The report names a normal ECG, and words that two statements share, once.
    if statements - reported - {"NORM"} - {code for code, others in ALSO.items() if reported & {*others}}:
        found.add("affirmed but not reported")
    if (reported & known) - statements:
        found.add("reported but denied")
    if "super:NORM" in yes and yes & {f"super:{name}" for name in SUPERCLASS if name != "NORM"}:
        found.add("normal and abnormal")
    named = statements_of(closed) | reported | statements_of(answers["open rhythm"])
    rhythms = {code for code in named if code in RHYTHM}
    if len(rhythms - {"SARRH"} if "SR" in rhythms else rhythms) > 1:
        found.add("two rhythms")
    for topic in ("waveform", "diagnosis"):
        opened = statements_of(answers[f"open {topic}"]) & set(TOPICS[topic])
        if opened - reported:
            found.add("open question")
    if second != answers["open rhythm"]:
        found.add("second turn")
    return found


def answers_about(
    pipe: ECGInterpretationPipeline, ecg: Any, questions: dict[str, str]
) -> tuple[str, dict[str, str], str, str]:
    """Returns report, answers, chosen rhythm and answer in a second turn, as `contradictions` takes them."""
    report = pipe(ecg)["text"]
    inputs = [{"ecgs": [ecg], "question": question} for question in questions.values()]
    answers = dict(zip(questions, (reply["text"] for reply in pipe(inputs, batch_size=32))))
    options = [RHYTHM[code] for code in CHOICES["rhythm"]]
    closed = pipe(ecg, question=CLOSED["rhythm"][0].format(", ".join(options)), options=options)["text"]
    chat: list[dict[str, Any]] = [
        {"role": "user", "content": [as_part(ecg), {"type": "text", "text": "Write a report."}]},
        {"role": "assistant", "content": report},
        {"role": "user", "content": OPEN["rhythm"][0]},
    ]
    return report, answers, closed, pipe(chat)["text"]
