"""Scores how a model speaks through its pipeline: wordings of others, turns, refusals, contradictions, numbers.

records --questions worded by others--> answers --against the cardiologists' statements--> accuracy of each wording
        --the same question after other turns--> whether the answer stays
        --questions that cannot be answered--> refusals
        --every question about one ECG--> contradictions
simulated ECGs of known intervals --questions for numbers--> error of the numbers in the answers

The control of every score that needs a right answer is another patient's ECG in the place of the right one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..agent.qa import CERTAIN, OPEN, REPORT, VERIFY, ask
from ..agent.simulate import simulate_ecg
from ..agent.wording import held_out
from ..answering_heartcare import CANNOT, NOT_UNDERSTOOD
from ..opinion_heartcare import FAMILIES, INCLUDES
from ..pipeline_heartcare import ECGInterpretationPipeline
from ..scp_heartcare import SUPERCLASS_OF
from ..understanding_heartcare import Asked
from .contradictions import KINDS, answers_about, contradictions, questions_about
from .controls import substitutes
from .items import Item, manifest_hash, read_items
from .models import HeartcarePipeline, ModelSpec, describe
from .run import software, write_json
from .score import rounded

RECORDS_OF_A_WORDING = 8  # at most; half of them have the finding that is asked for
# Turns before a question, up to five, and the questions behind them.
EARLIER = (REPORT[0], VERIFY[0].format("atrial fibrillation"), OPEN["diagnosis"][0], "Why?", "Are you sure?")
LATER = (OPEN["rhythm"][0], OPEN["waveform"][0], ask(VERIFY[0], "a normal ECG"), "What is the QRS duration?")
REFUSALS = {*CANNOT.values(), NOT_UNDERSTOOD}
SIMULATED = 40  # ECGs that numbers are asked of
# Number -> the largest error that counts as right, in beats/min or ms.
NUMBERS = {"heart_rate": 3.0, "pr": 20.0, "qrs": 20.0, "qt": 30.0}


@dataclass(frozen=True)
class Records:
    """Records that questions are asked about.

    Attributes:
        items: One item for each record.
        others: For each item the one of another patient whose ECG takes its place in the control.
    """

    items: list[Item]
    others: dict[str, Item]


def voice(spec: ModelSpec, data: str | Path, out: str | Path, manifest: dict, limit: int, seed: int = 0) -> dict:
    """Scores how a model speaks.

    Args:
        spec: A HeartcareGPT.
        data: Folder of the data set that the manifest's items are in.
        out: Folder of results, for NAME.voice.json.
        manifest: The benchmark, as `freeze` gives it.
        limit: Number of records for contradictions and refusals; a tenth of them for turns.
        seed: Seed of the records that each wording is asked about, and of the simulated ECGs.

    Returns: the content of that file.
    """
    Path(out).mkdir(parents=True, exist_ok=True)
    items = read_items(data, manifest, ("S",), ("classification",))
    pipe = HeartcarePipeline(spec.name, spec.device).pipe
    rng = np.random.default_rng(seed)
    some = [items[k] for k in rng.permutation(len(items))[:limit]]
    result = {
        "model": describe(spec),
        "benchmark": {name: manifest[name] for name in ("name", "version", "split")}
        | {"manifest": manifest_hash(manifest)},
        "settings": {"limit": limit, "seed": seed},
        "versions": software(),
        "wordings": score_wordings(pipe, Records(items, substitutes(items)), seed),
        "turns": score_turns(pipe, some[: max(1, limit // 10)]),
        "refusals": score_refusals(pipe, some),
        "contradictions": score_contradictions(pipe, some),
        "numbers": score_numbers(pipe, seed),
    }
    result = rounded(result, 4)  # further digits may differ between machines
    write_json(Path(out) / f"{result['model']['name'].replace('/', '--')}.voice.json", result)
    return result


def score_wordings(pipe: ECGInterpretationPipeline, records: Records, seed: int) -> dict[str, Any]:
    """Asks yes/no questions in the words of others, and the same in the benchmark's own words where there are such."""
    rng, rows = np.random.default_rng(seed), []
    wordings = pipe.model.config.wordings
    questions = [question for question in held_out()[1::2] if question[2] in ("en", "de") and is_scored(question[1])]
    for text, asked, language in tqdm(questions, desc="wordings"):
        chosen = records_for(asked, records, rng)
        own_words = None
        if len(asked.codes) == 1 and asked.codes[0] in wordings:
            own_words = ask(VERIFY[0], wordings[asked.codes[0]])
        row = {"language": language, "question": text, "right": [], "control": [], "own words": []}
        for item in chosen:
            true = right_answer(asked, item)
            row["right"].append(first_word(pipe, item, text) == true)
            row["control"].append(first_word(pipe, records.others[item.id], text) == true)
            if own_words:
                flipped = {"Yes": "No", "No": "Yes"}.get(true, true) if asked.negated else true
                row["own words"].append(first_word(pipe, item, own_words) == flipped)
        rows.append(row)
    return {language: spread([row for row in rows if row["language"] == language]) for language in ("en", "de")}


def is_scored(asked: Asked) -> bool:
    """Tells whether the statements alone decide the answer: those of axis, noise and measured limits do not."""
    undecided = ("axis:", "noise:", "AXIS_DEVIATION", "NOISE", "WIDE_QRS", "TACHYCARDIA", "BRADYCARDIA", "ARRHYTHMIA")
    return asked.kind == "is" and not any(code.startswith(undecided) for code in asked.codes)


def records_for(asked: Asked, records: Records, rng: np.random.Generator) -> list[Item]:
    """Returns `RECORDS_OF_A_WORDING` records for a question, half of them with the answer yes, or fewer where there are
    not enough.
    """
    order = [records.items[k] for k in rng.permutation(len(records.items)) if records.items[k].id in records.others]
    answers = {answer: [item for item in order if right_answer(asked, item) == answer] for answer in ("Yes", "No")}
    half = RECORDS_OF_A_WORDING // 2
    return answers["Yes"][:half] + answers["No"][:half]


def right_answer(asked: Asked, item: Item) -> str:
    """Returns "Yes" or "No", and an empty text where the cardiologists doubt a statement."""
    stated = [is_there(code, item) for code in asked.codes]
    if None in stated:
        return ""
    true = all(stated) if asked.every else any(stated)
    return "Yes" if true != asked.negated else "No"


def is_there(code: str, item: Item) -> bool | None:
    """Tells whether the cardiologists state a code, or one of a family's or superclass's codes; None where they doubt
    it.
    """
    meant = {
        *FAMILIES.get(code, (code,)),
        *INCLUDES.get(code, ()),
        *(stated for stated in item.statements[0] if code == f"super:{SUPERCLASS_OF.get(stated)}"),
    }
    likelihoods = [likelihood for stated, likelihood in item.statements[0].items() if stated in meant]
    if not likelihoods:
        return False
    return True if any(not 0 < likelihood < CERTAIN for likelihood in likelihoods) else None


def first_word(pipe: ECGInterpretationPipeline, item: Item, question: str) -> str:
    """Returns "Yes", "No", or an empty text for an answer that is neither."""
    text = pipe({"ecgs": item.parts(), "question": question})["text"]
    match = re.match(r"(Yes|No)(?=[.:,]|$)", text)
    return match[1] if match else ""


def spread(rows: Sequence[dict[str, Any]]) -> dict[str, float | int | None]:
    """Returns accuracy over all answers, how it spreads over the wordings, and, of the questions that have such, the
    accuracy in these words and in the benchmark's own.
    """
    of_wording = [float(np.mean(row["right"])) for row in rows if row["right"]]
    with_own_words = [row for row in rows if row["own words"]]
    return {
        "wordings": len(of_wording),
        "answers": sum(len(row["right"]) for row in rows),
        "accuracy": mean_of(rows, "right"),
        "another patient's ECG": mean_of(rows, "control"),
        "questions with own words: accuracy": mean_of(with_own_words, "right"),
        "questions with own words: in those": mean_of(with_own_words, "own words"),
        **{f"{part}th percentile of the wordings": float(np.percentile(of_wording, part)) for part in (5, 25, 50)},
    }


def mean_of(rows: Sequence[dict[str, Any]], name: str) -> float | None:
    """Returns the mean of a list of all rows together, None without any."""
    values = [value for row in rows for value in row[name]]
    return float(np.mean(values)) if values else None


def score_turns(pipe: ECGInterpretationPipeline, items: Sequence[Item]) -> dict[str, float]:
    """Tells how often a question has the same answer in the second to sixth turn as when it is asked alone."""
    same: dict[str, list[bool]] = {f"turn {turn}": [] for turn in range(2, len(EARLIER) + 2)}
    for item in tqdm(items, desc="turns"):
        alone = {question: pipe({"ecgs": item.parts(), "question": question})["text"] for question in LATER}
        chat: list[dict] = []
        for number, earlier in enumerate(EARLIER, 2):
            chat.append(
                {"role": "user", "content": [*([] if chat else item.parts()), {"type": "text", "text": earlier}]}
            )
            chat.append({"role": "assistant", "content": pipe(chat)["text"]})
            for question in LATER:
                reply = pipe([*chat, {"role": "user", "content": question}])
                same[f"turn {number}"].append(reply["text"] == alone[question])
    return {turn: float(np.mean(answers)) for turn, answers in same.items()}


def score_refusals(pipe: ECGInterpretationPipeline, items: Sequence[Item]) -> dict[str, float]:
    """Tells how many questions that cannot be answered are refused, and how many of the others."""
    refused: dict[bool, list[bool]] = {True: [], False: []}
    for number, (text, asked, _) in enumerate(tqdm(held_out()[1::2], desc="refusals")):
        reply = pipe({"ecgs": items[number % len(items)].parts(), "question": text})["text"]
        refused[asked.kind == "cannot"].append(reply in REFUSALS)
    return {"unanswerable": float(np.mean(refused[True])), "answerable": float(np.mean(refused[False]))}


def score_contradictions(pipe: ECGInterpretationPipeline, items: Sequence[Item]) -> dict[str, float]:
    """Tells how many ECGs have answers that contradict each other, and how many statements are affirmed of one."""
    questions, kinds_of_items, affirmed = questions_about(pipe.model.config.wordings), [], []
    for item in tqdm(items, desc="contradictions"):
        report, answers, closed, second = answers_about(pipe, item.parts()[0], questions)
        kinds_of_items.append(contradictions(report, answers, closed, second))
        affirmed.append(sum(a.startswith("Yes") for code, a in answers.items() if ":" not in code and " " not in code))
    table = {words: float(np.mean([kind in kinds for kinds in kinds_of_items])) for kind, words in KINDS.items()}
    true = float(np.mean([len(item.statements[0]) for item in items]))
    shares = {"any contradiction": float(np.mean([bool(kinds) for kinds in kinds_of_items]))} | table
    return shares | {"statements affirmed": float(np.mean(affirmed)), "statements true": true}


def score_numbers(pipe: ECGInterpretationPipeline, seed: int) -> dict[str, dict[str, float]]:
    """Asks for numbers of simulated ECGs, whose intervals are known, in the words of others."""
    questions: dict[str, list[str]] = {}
    for text, asked, language in held_out()[1::2]:
        if asked.kind == "number" and language in ("en", "de") and len(asked.quantities) == 1:
            questions.setdefault(asked.quantities[0], []).append(text)
    rng = np.random.default_rng(seed)
    rhythms, forms = ("SR", "SBRAD", "STACH"), ("NORM", "CLBBB", "CRBBB", "LVH")
    ecgs = [simulate_ecg(rhythms[k % 3], forms[k % 4], seed=seed + k) for k in range(SIMULATED)]
    rows = {}
    for name, tolerance in NUMBERS.items():
        true = np.array([true_number(name, ecg) for ecg in ecgs])
        right, control = [], []
        for k, ecg in enumerate(ecgs):
            given = {"signal": ecg.signal, "sampling_rate": ecg.sampling_rate, "units": "mV"}
            wording = questions[name][int(rng.integers(len(questions[name])))]
            match = re.search(r"-?\d+(?:\.\d+)?", pipe(given | {"question": wording})["text"])
            value = float(match[0]) if match else float("nan")
            right.append(abs(value - true[k]) <= tolerance)
            control.append(abs(value - true[(k + 1) % len(ecgs)]) <= tolerance)
        constant = max(float(np.mean(abs(true - value) <= tolerance)) for value in true)
        rows[name] = {"within": tolerance, "right": float(np.mean(right)), "another ECG's": float(np.mean(control))}
        rows[name]["the best constant"] = constant
    return rows


def true_number(name: str, ecg: Any) -> float:
    """Returns a number of a simulated ECG, in beats/min or ms."""
    if name == "heart_rate":
        return ecg.heart_rate
    if name == "pr":
        return 1000 * float(np.median([qrs[0] - p[0] for p, qrs in zip(ecg.p, ecg.qrs) if p]))
    if name == "qrs":
        return 1000 * float(np.median([end - onset for onset, end in ecg.qrs]))
    return 1000 * float(np.median([t[1] - qrs[0] for t, qrs in zip(ecg.t, ecg.qrs) if t]))


def table_lines(result: dict) -> list[str]:
    """Returns the result as a Markdown table."""
    lines = ["| part | measure | value |", "|---|---|---|"]
    for part in ("wordings", "turns", "refusals", "contradictions", "numbers"):
        for name, value in result[part].items():
            rows = value.items() if isinstance(value, dict) else [("", value)]
            lines += [
                f"| {part} | {' '.join([name, inner]).strip()} | {'–' if number is None else f'{number:g}'} |"
                for inner, number in rows
            ]
    return lines


__all__ = ["Records", "is_there", "right_answer", "spread", "table_lines", "voice"]
