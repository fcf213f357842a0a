"""Rows of language: questions in a clinician's words about examples and simulated ECGs, checked against the
measurements and the report.

A simulated ECG has a known rhythm and form; nothing from outside is needed.
"""

import re
from functools import lru_cache
from typing import Any

from .rows import EXAMPLES, Given, Rows, expect

SPEAKING = Rows()
REPORT = "Write a report of this ECG."
SIMULATED = (
    *(("SR", form) for form in ("NORM", "LVH", "CLBBB", "CRBBB", "IMI", "AMI", "PVC", "LOWT")),
    *(("STACH", "NORM"), ("SBRAD", "NORM"), ("AFIB", "NORM")),
)
SEED = 5
QUESTIONS = (
    "What is the heart rate?",
    "What is the PR interval?",
    "Explain why you think so.",
    "What should I do next?",
    "Summarise this ECG for the discharge letter.",
    "Describe the P waves.",
    "Does the patient have a STEMI?",
    "Is this patient paced?",
    "Is there a bundle branch block?",
    "Are there any premature beats?",
    "Is this ECG normal?",
    "Is there left ventricular hypertrophy?",
    "Any signs of ischemia?",
    "What has changed?",
    "What is the rhythm?",
    "What is the diagnosis?",
    "What is the axis?",
    "Is it urgent?",
)
# A whole sentence: a capital letter or number first, a full stop last.
SENTENCE = re.compile(r"[A-Z0-9].*[.!?]", re.S)
ST_ELEVATION = 0.1  # mV in two leads
AF, P_WAVES = "atrial fibrillation", "P wave"


def agrees(given: Given, question: str, words: str, names: tuple[str, ...]) -> str:
    """Checks that a yes/no question is affirmed where, and only where, the report has words that mean the same, and
    that it is affirmed of ECGs that were simulated with it.

    Args:
        given: The repository.
        question: The question.
        words: Pattern of the words of the report.
        names: ECGs that were simulated with it.
    """
    answers, reports = texts(each(given, question)), texts(each(given, REPORT))
    for name, answer in answers.items():
        is_yes, is_written = answer.startswith("Yes"), bool(re.search(words, reports[name], re.I))
        expect(answer.startswith(("Yes", "No")), (name, answer))
        expect(is_yes == is_written, f"{name}: {answer} The report: {reports[name]}")
    missed = [name for name in names if not answers[name].startswith("Yes")]
    expect(not missed, f"not affirmed of {missed}")
    found = [name for name, answer in answers.items() if answer.startswith("Yes")]
    return f"Yes of {', '.join(found) or 'none'}; no of the other {len(answers) - len(found)}, as the reports"


def each(given: Given, question: str) -> dict[str, dict[str, Any]]:
    """Returns name -> reply of all ECGs."""
    return {name: reply(given.pipe, str(given.folder), name, question) for name in ecgs(given)}


def ecgs(given: Given) -> dict[str, Any]:
    """Returns name -> input of all ECGs: the examples, and the simulated ones."""
    simulated = {f"{rhythm}/{form}": signal(f"{rhythm}/{form}") for rhythm, form in SIMULATED}
    made = {
        name: {"signal": ecg.signal, "sampling_rate": ecg.sampling_rate, "units": "mV"}
        for name, ecg in simulated.items()
    }
    return {name: given.ecg(name) for name in EXAMPLES} | made


@lru_cache(maxsize=64)
def signal(name: str) -> Any:
    """Returns a simulated ECG by rhythm and form, as "SR/NORM"."""
    from heartcare.agent.simulate import simulate_ecg

    return simulate_ecg(*name.split("/"), noise_mv=0.005, seed=SEED)


@lru_cache(maxsize=1024)
def reply(given_pipe: Any, folder: str, name: str, question: str) -> dict[str, Any]:
    """Returns the reply about one of `ecgs`, asked once."""
    ecg = f"{folder}/examples/ecgs/{name}" if name in EXAMPLES else None
    if ecg is None:
        made = signal(name)
        ecg = {"signal": made.signal, "sampling_rate": made.sampling_rate, "units": "mV"}
    return given_pipe(ecg, question=question)


def texts(replies: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Returns name -> text of replies."""
    return {name: found["text"] for name, found in replies.items()}


@SPEAKING.row("18 questions of all ECGs: never an empty answer, a half word or a lone full stop")
def whole_sentences(given: Given) -> str:
    wrong, count = {}, 0
    for question in QUESTIONS:
        for name, answer in texts(each(given, question)).items():
            count += 1
            words = re.findall(r"[a-z]{2,}", answer.lower())
            repeated = any(len({*words[k : k + 3]}) == 1 for k in range(len(words) - 2))
            if not SENTENCE.fullmatch(answer) or repeated:
                wrong[name, question] = answer
    expect(not wrong, wrong)
    return f"{count} answers"


@SPEAKING.row("What is the heart rate?")
def heart_rate(given: Given) -> str:
    replies = each(given, "What is the heart rate?")
    for name, found in replies.items():
        measured = found["measurements"][0]["heart_rate"]
        expect(f"{measured:.0f} beats/min" in found["text"], (name, found["text"], measured))
        if name not in EXAMPLES and not name.startswith("AFIB") and not name.endswith("PVC"):
            true = signal(name).heart_rate
            expect(abs(measured - true) <= 0.05 * true, (name, measured, true))
    return replies["sinus_rhythm"]["text"]


@SPEAKING.row("What is the PR interval? The measured one; in atrial fibrillation, that it cannot be measured")
def pr_interval(given: Given) -> str:
    replies = each(given, "What is the PR interval?")
    for name, found in replies.items():
        measured = found["measurements"][0]["pr"]
        is_af = "fib" in name.lower()
        expect((measured is None) == is_af, (name, measured))
        right = P_WAVES in found["text"] and "cannot be measured" in found["text"] if is_af \
            else f"{measured:.0f} ms" in found["text"]  # fmt: skip
        expect(right, (name, found["text"]))
    return f"{replies['sinus_rhythm']['text']} / {replies['atrial_fibrillation']['text']}"


@SPEAKING.row("Explain why you think so.")
def explained(given: Given) -> str:
    replies = each(given, "Explain why you think so.")
    for name, found in replies.items():
        expect("rests most on" in found["text"] and found["explanations"], (name, found["text"]))
    return replies["right_bundle_branch_block"]["text"]


@SPEAKING.row("What should I do next?")
def next_step(given: Given) -> str:
    found = {*texts(each(given, "What should I do next?")).values()}
    expect(len(found) == 1 and "does not advise on treatment" in next(iter(found)), found)
    return found.pop()


@SPEAKING.row("Summarise this ECG for the discharge letter: its rate and rhythm, no sex, nothing beside the report")
def summary(given: Given) -> str:
    replies = each(given, "Summarise this ECG for the discharge letter.")
    for name, found in replies.items():
        text, rate = found["text"], found["measurements"][0]["heart_rate"]
        expect(text.count(f"{rate:.0f} beats/min") == 1, (name, text))
        expect(not re.search(r"\b(?:fe)?male\b|\b(?:wo)?man\b", text, re.I), (name, text))
    return replies["right_bundle_branch_block"]["text"]


@SPEAKING.row("Describe the P waves: in atrial fibrillation, that there are none")
def p_waves(given: Given) -> str:
    replies = each(given, "Describe the P waves.")
    for name, found in replies.items():
        expect(("no P wave" in found["text"]) == ("fib" in name.lower()), (name, found["text"]))
        expect(re.search(r"\bP(?:R| wave| axis)\b", found["text"]), (name, found["text"]))
    return f"{replies['sinus_rhythm']['text']} / {replies['atrial_fibrillation']['text']}"


@SPEAKING.row("Does the patient have a STEMI? Never without an infarction and ST elevation in two leads")
def stemi(given: Given) -> str:
    replies = each(given, "Does the patient have a STEMI?")
    for name, found in replies.items():
        raised = [lead for lead, value in found["measurements"][0]["st"].items() if (value or 0) >= ST_ELEVATION]
        is_shown = name.endswith("MI") and len(raised) >= 2
        expect(found["text"].startswith("Yes") == is_shown, (name, found["text"], raised))
    return ", ".join(name for name, found in replies.items() if found["text"].startswith("Yes"))


@SPEAKING.row("Is this patient paced?")
def paced(given: Given) -> str:
    return agrees(given, "Is this patient paced?", "pacemaker|paced", ())


@SPEAKING.row("Is there a bundle branch block?")
def bundle_branch_block(given: Given) -> str:
    names = ("right_bundle_branch_block", "SR/CLBBB", "SR/CRBBB")
    return agrees(given, "Is there a bundle branch block?", "bundle branch block", names)


@SPEAKING.row("Are there any premature beats? and six other wordings")
def premature_beats(given: Given) -> str:
    wordings = (
        "Are there any premature beats?",
        "Any PVCs?",
        "Any extrasystoles?",
        "Any ectopic beats?",
        "Are there premature complexes?",
        "Any VES?",
        "Are there ventricular extrasystoles?",
    )
    return [agrees(given, words, "premature|extrasystol|gemin", ("SR/PVC",)) for words in wordings][0]


@SPEAKING.row("Is this ECG normal? Never without naming what the report states beside it")
def normal(given: Given) -> str:
    answers, reports = texts(each(given, "Is this ECG normal?")), texts(each(given, REPORT))
    for name, answer in answers.items():
        report = reports[name]
        expect(answer.startswith("Yes") == ("normal ECG" in report), (name, answer, report))
        for found in re.findall(r"bundle branch block|infarction|premature|tachycardia|bradycardia|ischemi", report):
            expect(answer.startswith("No") or found in answer, (name, answer, report))
    expect(answers["SR/NORM"] == "Yes.", answers["SR/NORM"])
    return f"SR/NORM: {answers['SR/NORM']} SR/PVC: {answers['SR/PVC']} STACH/NORM: {answers['STACH/NORM']}"


@SPEAKING.row("Is there left ventricular hypertrophy?")
def hypertrophy(given: Given) -> str:
    return agrees(given, "Is there left ventricular hypertrophy?", "left ventricular hypertrophy", ("SR/LVH",))


@SPEAKING.row("Any signs of ischemia?")
def ischemia(given: Given) -> str:
    return agrees(given, "Any signs of ischemia?", "ischemi", ())


@SPEAKING.row("abbreviations: any LBBB, is there a pacemaker, AF")
def abbreviations(given: Given) -> str:
    block = agrees(given, "Any LBBB?", "left bundle branch block", ("SR/CLBBB",))
    agrees(given, "Is there a pacemaker?", "pacemaker", ())
    names = ("atrial_fibrillation", "AFIB/NORM")
    return f"{block}; AF: {agrees(given, 'Is it AF?', AF, names)}"


@SPEAKING.row("comparison of atrial fibrillation with sinus rhythm")
def comparison(given: Given) -> str:
    first, second = given.ecg("sinus_rhythm"), given.ecg("atrial_fibrillation")
    found = [given.pipe({"ecgs": pair}, question="What has changed?")["text"]
             for pair in ((first, second), (second, first), (first, first))]  # fmt: skip
    expect(AF in found[0] and AF in found[1] and found[0] != found[1], found)
    expect("No difference" in found[2] or "No change" in found[2], found[2])
    alone = given.pipe(first, question="What has changed?")["text"]
    expect("a comparison needs two" in alone, alone)
    return f"{found[0]} / {found[2]}"


@SPEAKING.row("pictures: written rhythm, chosen option and report agree, and are right")
def pictures(given: Given) -> str:
    shown = {}
    for name, rhythm in zip(EXAMPLES, ("sinus rhythm", AF, "sinus rhythm")):
        page = given.picture(name)
        written = given.pipe(page, question="What is the rhythm?")["text"]
        chosen = given.pipe(page, question="Which rhythm is it?", options=["sinus rhythm", AF])["text"]
        report = given.pipe(page)["text"]
        shown[name] = written
        expect(written.lower() == f"{rhythm}." and chosen == rhythm, (name, written, chosen))
        expect(f"Rhythm: {rhythm}" in report, (name, report))
    return str(shown)
