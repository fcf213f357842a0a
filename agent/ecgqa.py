"""Reads ECG-QA (Oh et al., 2023; the part on PTB-XL), as published, into our schema.

Its questions name no age or sex and its answers are lists of its own vocabulary: both are kept, so that exact match
stays what it is there.
"""

import gzip
import json
from collections.abc import Iterable
from pathlib import Path

from .qa import Question
from .records import Loaded, sample_of
from .samples import Sample

TASK = {"verify": "verify-qa", "choose": "open-qa", "query": "open-qa"}
DIMENSION = {
    "scp_code": "diagnosis", "noise": "misc", "stage_of_infarction": "misc", "extra_systole": "misc",
    "heart_axis": "misc", "numeric_feature": "waveform",
}  # fmt: skip


def read_ecg_qa(files: Iterable[str | Path], units: list[dict]) -> dict[str, dict]:
    """Reads questions of ECG-QA, grouped by the shard of the records they are about.

    Args:
        files: .json or .jsonl files of ECG-QA, also as .gz.
        units: The units of `heartcare.agent.build.plan`.

    Returns: shard name -> {"questions": [...], "elsewhere": records of the questions' ECGs in other shards, by id}. A
        question about two ECGs of different splits is left out, so that no patient is in two splits.

    Raises: `ValueError` for a file that is none of ECG-QA's.
    """
    place = {record["record_id"]: (unit, record) for unit in units for record in unit["records"]}
    by_shard: dict[str, dict] = {}
    for file in files:
        opened = gzip.open(file, "rt", encoding="utf-8") if str(file).endswith(".gz") else open(file, encoding="utf-8")
        with opened:
            text = opened.read()
        try:
            rows = (
                json.loads(text)
                if text.lstrip().startswith("[")
                else [json.loads(line) for line in text.splitlines() if line.strip()]
            )
            for row in rows:
                ids = [str(number) for number in row["ecg_id"]]
                if not all(name in place for name in ids) or len({place[name][0]["split"] for name in ids}) > 1:
                    continue
                unit = place[ids[0]][0]
                here = by_shard.setdefault(unit["name"], {"questions": [], "elsewhere": {}})
                here["questions"].append({**row, "file": Path(file).name})
                here["elsewhere"] |= {name: place[name][1] for name in ids if place[name][0] is not unit}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{file} is no file of ECG-QA: {type(error).__name__} {error}.") from error
    return by_shard


def ecg_qa_samples(questions: list[dict], loaded: dict[str, Loaded], images: bool) -> list[Sample]:
    """Makes samples in each modality of questions, as `read_ecg_qa` gives them; a question whose ECG could not be read
    is left out.
    """
    samples = []
    for row in questions:
        records = [loaded.get(str(number)) for number in row["ecg_id"]]
        if None in records:
            continue
        kind, _, form = row["question_type"].partition("-")
        task = "comparison-qa" if kind.startswith("comparison") else TASK[form]
        answers = tuple(str(answer) for answer in row["answer"]) or ("none",)
        topic = row["attribute_type"]
        question = Question(task, DIMENSION.get(topic, "misc"), topic, row["question"], ", ".join(answers), (), answers)
        pairs = ("signal-signal", "image-image", "signal-image") if len(records) == 2 else ("signal", "image")
        for modality in pairs if images else pairs[:1]:
            sample = sample_of(0, modality, question, records)
            sample.id = f"ecg-qa/{row['file'].split('.')[0]}/{row['sample_id']}/{modality}"
            sample.provenance["ecg_qa"] = {
                key: row.get(key) for key in ("template_id", "question_id", "question_type", "attribute")
            }
            samples.append(sample)
    return samples
