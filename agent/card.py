"""Writes the data set's card: its content, how it was made and how fast, and pictures of it."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from .qa import DIMENSIONS, MODALITIES, TASKS
from .render import INK, draw_ecg, load_font
from .samples import COLUMNS, unpack_ecg
from .signal import Optimizer

COLOURS = (
    (196, 60, 68),
    (58, 108, 168),
    (84, 150, 92),
    (222, 160, 62),
    (130, 96, 160),
    (90, 160, 170),
    (150, 120, 90),
    (120, 124, 134),
)
SCALE = 3  # pictures are drawn three times as large and reduced
DONUT = 260 * SCALE

FEATURES = """\
  - {name: id, dtype: string}
  - {name: task, dtype: string}
  - {name: dimension, dtype: string}
  - {name: modality, dtype: string}
  - {name: question, dtype: string}
  - {name: options, list: string}
  - {name: answer, dtype: string}
  - {name: answer_label, list: string}
  - name: messages
    list:
    - {name: role, dtype: string}
    - name: content
      list:
      - {name: type, dtype: string}
      - {name: text, dtype: string}
  - name: ecgs
    list:
    - {name: signal, dtype: binary}
    - {name: scale, dtype: float64}
    - {name: sampling_rate, dtype: float64}
    - {name: leads, list: string}
    - {name: target_samples, dtype: int32}
    - {name: record_id, dtype: string}
  - {name: images, list: image}
  - {name: patient_id, list: string}
  - {name: fold, dtype: int32}
  - {name: provenance, dtype: string}
"""


def write_card(out: Path, manifest: dict, reports: list[dict], seconds: float):
    """Writes README.md with the pictures of `out`/card.

    Args:
        out: Folder of the data set.
        manifest: The data set's manifest.
        reports: The report of each shard, as `heartcare.agent.build.build_unit` writes it.
        seconds: Duration of this run of the build.
    """
    (out / "card").mkdir(exist_ok=True)
    counts: Counter = Counter()
    labels: Counter = Counter()
    for report in reports:
        counts.update({tuple(key): count for *key, count in report["counts"]})
        labels.update({tuple(key): count for *key, count in report["labels"]})
    draw_donuts(counts, out / "card" / "dimensions.png")
    lines = [
        *_front_matter(manifest),
        *_introduction(manifest),
        *_section("Counts", *count_tables(counts), "", "![Questions by dimension](card/dimensions.png)"),
        *_section("Examples", *[f"![{name}](card/{name})" for name in draw_examples(out, manifest)]),
        *_section(
            "Columns", "| column | what |", "|---|---|", *[f"| {name} | {text} |" for name, text in COLUMNS.items()]
        ),
        *_section("What the closed questions are worth", *_majority_section(labels)),
        *_section("How long it took", *time_table(reports, seconds)),
        *_rephrasing(manifest, reports),
    ]
    (out / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _section(title: str, *lines: str) -> list[str]:
    return ["", f"## {title}", "", *lines]


def _front_matter(manifest: dict) -> list[str]:
    """Returns the YAML header by which the Hub and the datasets package read the folder."""
    names = [shard["name"] for shard in manifest["shards"]]
    splits = [split for split in ("train", "validation", "test") if any(name.startswith(split) for name in names)]
    return [
        "---",
        "license: cc-by-4.0",
        "language: en",
        "pretty_name: Heartcare-400K",
        "task_categories: [visual-question-answering, text-generation]",
        "tags: [ecg, electrocardiogram, medical, instruction-tuning]",
        "configs:",
        "- config_name: default",
        "  data_files:",
        *(f"  - {{split: {split}, path: {split}-*.parquet}}" for split in splits),
        "dataset_info:",
        "  features:",
        FEATURES + "---",
        "",
    ]


def _introduction(manifest: dict) -> list[str]:
    return [
        "# Heartcare-400K",
        "",
        f"{manifest['samples']:,} questions and answers about {manifest['records']:,} ECGs, as signals and as "
        f"pictures, made by HeartAgent (`python -m heartcare.agent build`, seed {manifest['settings']['seed']}, "
        f"version {manifest['version']} of the content, {_made_by(manifest)}). The licence of the recordings is that "
        "of their source; for PTB-XL it is CC BY 4.0 (Wagner et al., 2020).",
        "",
        "**Not for clinical use.** The answers are templates over the source's labels, and are as right or wrong as "
        "those.",
        "",
        "```python",
        "from datasets import load_dataset",
        'rows = load_dataset("PATH_OR_NAME", split="train", streaming=True)',
        "```",
        "",
        "`heartcare.agent.samples.conversation(row)` gives the chat with its ECGs and pictures, for "
        "`processor.apply_chat_template`. Splits are by patient (fold 9 validation, fold 10 test); neither a patient "
        f"nor a signal is in two of them, which every build checks. {manifest['rejected']} records were rejected "
        "(`rejected.jsonl`). `manifest.json` has the hashes of all shards.",
    ]


def _made_by(manifest: dict) -> str:
    """Returns the version of this software, or all versions where a build was begun by one and ended by another."""
    versions = {shard["heartcare_version"] or "before 0.2.0" for shard in manifest["shards"]}
    return f"heartcare {' and '.join(sorted(versions | {manifest['heartcare_version']}))}"


def _majority_section(labels: Counter) -> list[str]:
    return [
        "A blind reader who always takes the commonest answer among the options that he knows is right this often. "
        "Beat it before you believe a score.",
        "",
        "| task, topic | questions | commonest answer | its share |",
        "|---|---|---|---|",
        *majority_rows(labels),
    ]


def _rephrasing(manifest: dict, reports: list[dict]) -> list[str]:
    llm: Counter = Counter()
    for report in reports:
        llm.update(report["llm"])
    if not llm:
        return []
    counts = ", ".join(f"{count} {name}" for name, count in sorted(llm.items()))
    return _section("Rephrased by a language model", f"{manifest['settings']['llm_model']}: {counts}.")


def count_tables(counts: Counter) -> list[str]:
    """Returns the tables of task x modality and of dimension x modality."""
    rows = []
    for title, place, order in (
        ("task", 0, TASKS),
        ("dimension", 1, (*DIMENSIONS, "superclass", "report", "prediction")),
    ):
        used = [m for m in MODALITIES if any(key[2] == m for key in counts)]
        rows += [f"| {title} | {' | '.join(used)} | all |", "|---" * (len(used) + 2) + "|"]
        for name in order:
            numbers = [sum(n for key, n in counts.items() if key[place] == name and key[2] == m) for m in used]
            if sum(numbers):
                rows.append(f"| {name} | {' | '.join(f'{n:,}' for n in numbers)} | {sum(numbers):,} |")
        rows.append("")
    return rows[:-1]


def majority_rows(labels: Counter) -> list[str]:
    """Returns one row for each task and topic: the number of questions, the commonest answer and its share."""
    rows = []
    for task, topic in sorted({key[:2] for key in labels}):
        here = Counter({key[2]: n for key, n in labels.items() if key[:2] == (task, topic)})
        (answer, count), total = here.most_common(1)[0], sum(here.values())
        rows.append(f"| {task}, {topic} | {total:,} | {answer} | {100 * count / total:.1f} % |")
    return rows


def time_table(reports: list[dict], seconds: float) -> list[str]:
    """Returns the table of the seconds of all workers together, and of the rates per core."""
    times: Counter = Counter()
    for report in reports:
        times.update(report["times"])
    records = sum(len(report["records"]) for report in reports)
    images, samples = sum(report["images"] for report in reports), sum(report["samples"] for report in reports)
    rows = ["| step | seconds of one core | rate per core |", "|---|---|---|"]
    for key, step, count in (
        ("read", "read, clean, measure", records),
        ("draw", "draw and encode", images),
        ("ask", "ask and answer", samples),
        ("write", "write Parquet", samples),
    ):
        if times[key] and count:
            unit = {"read": "records", "draw": "pictures"}.get(key, "samples")
            rows.append(f"| {step} | {times[key]:.0f} | {count / times[key]:,.0f} {unit}/s |")
    return [*rows, "", f"The last run took {seconds:.0f} s in all."]


def draw_donuts(counts: Counter, path: Path):
    """Draws one donut for each dimension, its parts the tasks, with a legend below; `counts` are by (task, dimension,
    modality).
    """
    dimensions = (*DIMENSIONS, "superclass", "report", "prediction")
    shown = [name for name in dimensions if any(key[1] == name for key in counts)]
    columns = min(4, len(shown))
    rows = math.ceil(len(shown) / columns)
    sheet = Image.new("RGB", (columns * DONUT, rows * DONUT + 40 * SCALE), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    for i, name in enumerate(shown):
        parts = {task: sum(n for key, n in counts.items() if key[:2] == (task, name)) for task in TASKS}
        _draw_donut(pen, (i % columns) * DONUT, (i // columns) * DONUT, name, parts)
    x, y = 30 * SCALE, rows * DONUT + 12 * SCALE
    for task in TASKS:
        if any(key[0] == task for key in counts):
            pen.rectangle((x, y, x + 14 * SCALE, y + 14 * SCALE), fill=COLOURS[TASKS.index(task)])
            pen.text((x + 20 * SCALE, y + 7 * SCALE), task, fill=INK, font=load_font(14 * SCALE), anchor="lm")
            x += (40 * SCALE) + pen.textlength(task, font=load_font(14 * SCALE))
    sheet.reduce(SCALE).save(path)


def _draw_donut(pen: ImageDraw.ImageDraw, x: int, y: int, name: str, parts: dict[str, int]):
    """Draws one donut, with its name and total in the middle, in the square whose left top corner is (x, y)."""
    total, angle = sum(parts.values()), -90.0
    box = (x + 30 * SCALE, y + 20 * SCALE, x + DONUT - 30 * SCALE, y + DONUT - 40 * SCALE)
    for task, count in parts.items():
        if count:
            pen.pieslice(box, angle, angle + 360 * count / total, fill=COLOURS[TASKS.index(task)])
            angle += 360 * count / total
    hole = 52 * SCALE
    pen.ellipse((box[0] + hole, box[1] + hole, box[2] - hole, box[3] - hole), fill=(255, 255, 255))
    middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    pen.text((middle[0], middle[1] - 9 * SCALE), name, fill=INK, font=load_font(15 * SCALE), anchor="mm")
    pen.text((middle[0], middle[1] + 10 * SCALE), f"{total:,}", fill=INK, font=load_font(13 * SCALE), anchor="mm")


def draw_examples(out: Path, manifest: dict) -> list[str]:
    """Draws up to six ECGs of the first shard that has any, each under its report or answer where it has one.

    Returns: the names of the pictures.
    """
    shard = next((shard["name"] for shard in manifest["shards"] if shard["samples"]), None)
    if shard is None:
        return []
    rows = pq.read_table(out / shard, columns=["task", "modality", "answer", "ecgs"])
    tasks, modalities = (np.array(rows[name].to_pylist()) for name in ("task", "modality"))
    is_signal = modalities == "signal"
    places = np.flatnonzero(is_signal & (tasks == "report"))
    if not len(places):
        places = np.flatnonzero(is_signal)
    chosen: dict[str, int] = {}
    for place in map(int, places):
        answer = rows["answer"][place].as_py().split("Diagnosis:")[-1]
        shown_as = answer if tasks[place] != "prediction" else rows["ecgs"][place][0]["record_id"].as_py()
        chosen.setdefault(shown_as, place)
    names, optimizer = [], Optimizer()
    for i, place in enumerate(list(chosen.values())[:6]):
        ecg = unpack_ecg(rows["ecgs"][place].as_py()[0]).whole
        signal, lead_mask, *_ = optimizer.extractor.prepare(ecg)
        names.append(f"example_{i + 1}.png")
        header = "" if tasks[place] == "prediction" else rows["answer"][place].as_py()[:150]
        rate = optimizer.extractor.sampling_rate
        page = draw_ecg(signal, rate, "3x4+R", dpi=90, header=header, lead_mask=lead_mask)
        page.save(out / "card" / names[-1])
    return names
