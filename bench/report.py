"""Writes one HTML page of all results in a folder: verdicts, tables, plots, and the worst cases on ECG paper. It has no
script, and takes no font or picture from elsewhere.
"""

import base64
import html
import json
import math
from collections.abc import Sequence
from pathlib import Path

from ..agent.render import encode_jpeg, encode_png
from .controls import BLANK, LAST_BEAT, LAST_VALUE, MAJORITY, MODEL, NOISE, OTHER, RANDOM, TEXT
from .invariance import HEAD, table_cells
from .items import Item, read_items
from .models import as_picture
from .scorers import ACCURACY, ENTITY_F1

INK, GREY, LINE = "#1c2530", "#8a94a0", "#dde2e8"
COLOURS = ("#1d5fa6", "#b5482f", "#3c8a57", "#8256a8", "#b8862b", "#2b8c93")
ROWS = (MODEL, MAJORITY, TEXT, BLANK, NOISE, OTHER, RANDOM, LAST_VALUE, LAST_BEAT)
BEFORE = "before 0.2.0"
LETTER = 6.8  # width of a letter of a drawing's words, in its units
WORST = 2  # cases that are drawn of each table
METRICS = {
    "answers without a single option": "invalid",
    "calibration error (ECE)": "ece",
    "accuracy of the surest 50 %": "selective.accuracy_50",
    "area under risk-coverage": "selective.aurc",
    "precision of facts": "entities.precision",
    "recall of facts": "entities.recall",
    "F1 of findings alone": "entities.statement_f1",
    "exact match": "exact_match",
    "token F1": "token_f1",
    "ROUGE-L": "rouge_l",
    "BLEU-4 (0 to 100)": "bleu",
    "rubric (0 to 100)": "rubric.score",
    "judge (0 to 100)": "judge.score",
    "judgements that failed": "judge.failed",
    "F1-Bio": "f1_bio.f1",
    "F1-RadGraph": "f1_radgraph.f1",
    "missing forecasts": "missing",
    "RMSE, uV": "rmse_uv",
    "PRD, %": "prd",
    "correlation": "correlation",
    "DTW, uV": "dtw_uv",
    "R-peak F1": "r_peak_f1",
    "error of heart rate, beats/min": "hr_error",
}

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #f5f6f8; color: #1c2530;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 27px; margin: 0 0 4px; }
h2 { font-size: 20px; margin: 38px 0 12px; }
h3 { font-size: 15px; margin: 0 0 8px; }
p { margin: 6px 0; max-width: 75ch; }
.quiet { color: #5d6773; font-size: 13px; overflow-wrap: anywhere; }
section.card { background: #fff; border: 1px solid #dde2e8; border-radius: 8px; padding: 16px 18px;
  margin: 0 0 16px; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 480px), 1fr)); gap: 16px; }
.grid > section.card { margin: 0; min-width: 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13.5px; width: 100%; }
th, td { padding: 5px 9px; border-bottom: 1px solid #e6eaee; text-align: right; white-space: nowrap;
  vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
th { font-weight: 600; color: #45505c; white-space: normal; vertical-align: bottom; }
ul.verdicts { list-style: none; padding: 0; margin: 0; }
ul.verdicts li { padding: 7px 0 7px 30px; border-bottom: 1px solid #e6eaee; position: relative; }
ul.verdicts li:last-child { border: 0; }
ul.verdicts li::before { position: absolute; left: 2px; font-weight: 700; }
li.yes::before { content: "\\2713"; color: #2c7a4b; }
li.no::before { content: "\\2717"; color: #b5482f; }
li.no b { color: #9c3620; }
li.yes b { color: #22663d; }
svg { width: 100%; height: auto; display: block; margin: 0 auto; }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1c2530; }
figure { margin: 0; }
figure img { width: 100%; height: auto; border: 1px solid #dde2e8; border-radius: 4px; display: block;
  margin-bottom: 8px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 12px; margin: 8px 0 0; font-size: 14px; }
dt { color: #5d6773; }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 520px) {
  main { padding: 20px 10px 40px; }
  section.card { padding: 14px 12px; }
  th, td { padding: 5px 4px; white-space: normal; }
}
.key { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin: 0 5px 0 12px;
  vertical-align: -1px; }
"""


def summary_lines(result: dict) -> list[str]:
    """Returns every table of a result with its control rows, in Markdown."""
    used = [row for row in ROWS if any(row in table["rows"] for table in result["tables"].values())]
    lines = [f"| {result['model']['name']} | metric | n | " + " | ".join(used) + " |", "|---" * (len(used) + 3) + "|"]
    for name, table in result["tables"].items():
        cells = [_number(table["rows"].get(row, {}).get("score"), row == MODEL) for row in used]
        better = " (lower is better)" if table["lower_is_better"] else ""
        lines.append(
            f"| {name} | {table['primary']}{better} | {table['rows'][MODEL]['n']} | " + " | ".join(cells) + " |"
        )
    return lines


def versions_line(result: dict) -> str:
    """Returns a sentence with the version of this software that made the model, where it is a HeartcareGPT, and the one
    that scored it. Neither was named before 0.2.0.
    """
    scored = f"scored by heartcare {result.get('versions', {}).get('heartcare', BEFORE)}"
    if "heartcare_version" not in result["model"]:
        return f"{result['model']['name']}: {scored}."
    return f"{result['model']['name']}: made by heartcare {result['model']['heartcare_version'] or BEFORE}, {scored}."


def write_report(folder: str | Path, data: str | Path | None = None, manifest: dict | None = None) -> Path:
    """Writes FOLDER/report.html, and returns its path.

    Args:
        folder: Folder with the results of `run` and of `invariance`.
        data, manifest: The data set and the benchmark: then the worst cases are drawn.

    Raises: `ValueError` when the folder holds no result.
    """
    folder = Path(folder)
    results, invariances = [], []
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if "format" in content:
            (results if "tables" in content else invariances).append(content)
    if not results:
        raise ValueError(f"{folder} holds no result of python -m heartcare.bench run.")
    first = results[0]["benchmark"]
    body = [
        f"<h1>{_text(first['name'])}</h1>",
        f"<p>Split {_text(first['split'])}, version {first['version']}. {len(results)} "
        f"model{'s' if len(results) > 1 else ''}. Not for clinical use.</p>",
        f"<p class='quiet'>manifest {first['manifest']}</p>",
    ]
    if len(results) > 1:
        body += ["<h2>All models</h2>", _overview(results)]
    body += ["<h2>Closed questions by dimension</h2>", "<div class='grid'>", *_radars(results), "</div>"]
    for result in results:
        body += _model_section(result)
        body += _worst_section(result, data, manifest) if data and manifest else []
    for result in invariances:
        body += _invariance_section(result)
    page = (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{_text(first['name'])}</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )
    place = folder / "report.html"
    place.write_text(page, encoding="utf-8")
    return place


def _overview(results: list[dict]) -> str:
    names = list(dict.fromkeys(name for result in results for name in result["tables"]))
    rows = []
    for name in names:
        tables = [result["tables"].get(name) for result in results]
        metric = next(table["primary"] for table in tables if table)
        rows.append(
            [name, metric, *(_number(table["rows"][MODEL]["score"], True) if table else "–" for table in tables)]
        )
    return (
        "<section class='card'>"
        + _table(["table", "metric", *(result["model"]["name"] for result in results)], rows)
        + "</section>"
    )


def _radars(results: list[dict]) -> list[str]:
    """Draws one radar for each table of closed questions that has at least three groups."""
    names = dict.fromkeys(
        name for result in results for name, table in result["tables"].items() if table["primary"] == ACCURACY
    )
    cards = []
    for name in names:
        tables = [(result["model"]["name"], result["tables"][name]) for result in results if name in result["tables"]]
        groups = list(tables[0][1]["rows"][MODEL]["groups"])
        if len(groups) < 3:
            continue
        series = [(model, COLOURS[k % len(COLOURS)], table["rows"][MODEL]) for k, (model, table) in enumerate(tables)]
        controls = tables[0][1]["rows"]
        series += [
            (row, colour, controls[row]) for row, colour in ((MAJORITY, GREY), (OTHER, "#d08a3c")) if row in controls
        ]
        values = [[row["groups"].get(group, {}).get("score", [0])[0] for group in groups] for _, _, row in series]
        legend = "".join(
            f"<span class='key' style='background:{colour}'></span>{_text(label)}" for label, colour, _ in series
        )
        shape = _radar(groups, [(colour, row) for (_, colour, _), row in zip(series, values)])
        cards.append(
            f"<section class='card'><h3>{_text(name)}, accuracy</h3>{shape}<p class='quiet'>{legend}</p></section>"
        )
    return cards


def _radar(axes: list[str], series: list[tuple[str, list[float]]]) -> str:
    longest = max(len(word) for axis in axes for word in axis.removesuffix(" closed").split(" "))
    radius = 92
    x0, y0 = 1.12 * radius + LETTER * longest + 4, 1.12 * radius + 22

    def point(k: int, value: float) -> tuple[float, float]:
        angle = 2 * math.pi * k / len(axes) - math.pi / 2
        return x0 + radius * value * math.cos(angle), y0 + radius * value * math.sin(angle)

    def polygon(values, style: str) -> str:
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (point(k, value) for k, value in enumerate(values)))
        return f"<polygon points='{points}' {style}/>"

    parts = [polygon([level] * len(axes), f"fill='none' stroke='{LINE}'") for level in (0.25, 0.5, 0.75, 1.0)]
    for k, axis in enumerate(axes):
        x, y = point(k, 1)
        parts.append(f"<line x1='{x0}' y1='{y0}' x2='{x:.1f}' y2='{y:.1f}' stroke='{LINE}'/>")
        x, y = point(k, 1.12)
        anchor = "middle" if abs(x - x0) < 25 else "start" if x > x0 else "end"
        words = axis.removesuffix(" closed").split(" ")
        for line, word in enumerate(words):
            height_of_line = y + 4 + 14 * (line - (len(words) - 1) / 2)
            parts.append(f"<text x='{x:.1f}' y='{height_of_line:.1f}' text-anchor='{anchor}'>{_text(word)}</text>")
    for colour, values in reversed(series):
        parts.append(polygon(values, f"fill='{colour}' fill-opacity='.10' stroke='{colour}' stroke-width='2'"))
    return _svg(parts, 2 * x0, 2 * y0)


def _bars(table: dict) -> str:
    """Draws every row of a table as a bar with its interval."""
    rows = [(row, table["rows"][row]["score"]) for row in ROWS if table["rows"].get(row, {}).get("score")]
    top = max(1.0, *(score[2] or 0 for _, score in rows)) if rows else 1.0
    longest = max((len(row) for row, _ in rows), default=0)
    width, left, step = 340, 12 + LETTER * longest, 25
    scale = (width - left - 50) / top
    parts = []
    for k, (row, (value, low, high)) in enumerate(rows):
        y, colour = 8 + k * step, COLOURS[0] if row == MODEL else "#b9c2cc"
        parts.append(f"<text x='{left - 8}' y='{y + 13}' text-anchor='end'>{_text(row)}</text>")
        parts.append(
            f"<rect x='{left}' y='{y}' width='{max(0, value * scale):.1f}' height='17' rx='2' fill='{colour}'/>"
        )
        ends = [left + end * scale for end in (low, high)]
        parts.append(f"<path d='M{ends[0]:.1f} {y + 8.5}H{ends[1]:.1f}' stroke='{INK}' stroke-width='1.4'/>")
        parts += [f"<path d='M{end:.1f} {y + 4}v9' stroke='{INK}' stroke-width='1.4'/>" for end in ends]
        parts.append(f"<text x='{max(ends[1], left + value * scale) + 7:.1f}' y='{y + 13}'>{value:.3f}</text>")
    return _svg(parts, width, 12 + step * len(rows))


def _model_section(result: dict) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items() if name != "heartcare")
    parts = [f"<h2>{_text(result['model']['name'])}</h2>", "<section class='card'>"]
    if result["verdicts"]:
        lines = []
        for verdict in result["verdicts"]:
            beaten = "NOT" not in verdict and "nothing" not in verdict
            name, rest = verdict.split(": ", 1)
            lines.append(f"<li class='{'yes' if beaten else 'no'}'><b>{_text(name)}</b>: {_text(rest)}</li>")
        parts.append(f"<ul class='verdicts'>{''.join(lines)}</ul>")
    else:
        parts.append("<p>Run without control rows, so that nothing can be said of what the model reads.</p>")
    weights = result["model"].get("weights", "not known")
    parts.append(
        f"<p class='quiet'>{_text(versions_line(result))} Seed {result['settings']['seed']}; {_text(versions)}; "
        f"weights {_text(weights)}</p></section>"
    )
    parts.append("<div class='grid'>")
    for name, table in result["tables"].items():
        lower = ", lower is better" if table["lower_is_better"] else ""
        title = f"<h3>{_text(name)}: {_text(table['primary'])}{lower}</h3>"
        parts.append(f"<section class='card'>{title}{_bars(table)}{_details(table)}</section>")
    return [*parts, "</div>"]


def _details(table: dict) -> str:
    """Returns a table of the other metrics, with the model and the two controls that say most."""
    shown = [row for row in (MODEL, MAJORITY, OTHER) if row in table["rows"]]
    rows = [table["rows"][row] for row in shown]
    if "sets" in rows[0]:
        lines = [
            [
                name,
                str(auc["classes"]),
                *(f"{row['sets'][name]['auc']:.3f}" for row in rows),
                f"{auc['low']:.3f} to {auc['high']:.3f}",
            ]
            for name, auc in rows[0]["sets"].items()
        ]
        if not lines:
            return "<p class='quiet'>No class has records both with and without it, so that there is no AUC.</p>"
        return _table(["macro AUC", "classes", *shown, "interval of the model"], lines)
    lines = []
    if len(rows[0]["groups"]) > 1:
        lines = [
            [group, *(_number(row["groups"].get(group, {}).get("score")) for row in rows)]
            for group in rows[0]["groups"]
        ]
    for name, path in METRICS.items():
        values = [_dig(row, path) for row in rows]
        if values[0] is not None:
            lines.append(
                [
                    name,
                    *(
                        "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
                        for value in values
                    ),
                ]
            )
    return _table([f"n = {rows[0]['n']}", *shown], lines) if lines else ""


def _dig(row: dict, path: str):
    """Returns the value at a path such as "rubric.score" in a row; None where it has none."""
    for key in path.split("."):
        row = (row or {}).get(key)
    return row


def worst_cases(result: dict) -> list[str]:
    """Returns the ids of the surest answers that are quite wrong, two of each table: open answers and reports count
    only where they say nothing right.
    """
    ids = []
    for name, table in result["tables"].items():
        if table["primary"] in (ACCURACY, ENTITY_F1):
            items = result["items"].items()
            wrong = [(item_id, a) for item_id, a in items if a["table"] == name and a["score"] == 0]
            wrong.sort(key=lambda pair: (-(pair[1]["confidence"] or 0), pair[0]))
            ids += [item_id for item_id, _ in wrong[:WORST]]
    return ids


def _worst_section(result: dict, data: str | Path, manifest: dict) -> list[str]:
    chosen = set(worst_cases(result))
    if not chosen:
        return []
    items = read_items(data, {**manifest, "items": [entry for entry in manifest["items"] if entry[0] in chosen]})
    parts = ["<h2>Surest and wrong</h2>", "<div class='grid'>"]
    for item in items:
        answer = result["items"][item.id]
        sure = "" if answer["confidence"] is None else f" ({100 * answer['confidence']:.0f} % sure)"
        rows = (("Question", item.question), ("Answer", (answer["text"] or "nothing") + sure), ("Truth", item.answer))
        terms = "".join(f"<dt>{name}</dt><dd>{_text(text)}</dd>" for name, text in rows)
        parts.append(
            f"<section class='card'><h3>{_text(answer['table'])}, {_text(item.group)}</h3>"
            f"<figure>{_pictures(item)}<dl>{terms}</dl></figure></section>"
        )
    return [*parts, "</div>"]


def _pictures(item: Item) -> str:
    shown = []
    for part in item.parts():
        drawn = part["type"] == "ecg"
        page = as_picture(part)["image"]
        encoded = base64.b64encode(encode_png(page) if drawn else encode_jpeg(page)).decode()
        shown.append(
            f"<img alt='the ECG' loading='lazy' src='data:image/{'png' if drawn else 'jpeg'};base64,{encoded}'>"
        )
    return "".join(shown)


def _invariance_section(result: dict) -> list[str]:
    table = _table(HEAD, table_cells(result))
    words = (
        f"<p>{result['questions']} closed questions about signals, asked again about the same records in other "
        f"forms.</p><p class='quiet'>{_text(versions_line(result))}</p>"
    )
    return [f"<h2>{_text(result['model']['name'])}: invariance</h2>", f"<section class='card'>{words}{table}</section>"]


def _svg(parts: list[str], width: float, height: float) -> str:
    """Returns a drawing that is as wide as a phone, and on a wide page no larger than its words should be."""
    return (
        f"<svg viewBox='0 0 {width:.0f} {height:.0f}' style='max-width:{1.2 * width:.0f}px' role='img'>"
        f"{''.join(parts)}</svg>"
    )


def _table(head: Sequence[str], rows: list[list[str]]) -> str:
    cells = "".join(f"<th>{_text(cell)}</th>" for cell in head)
    lines = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class='scroll'><table><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table></div>"


def _number(score: list | None, with_interval: bool = False) -> str:
    if not score or score[0] is None:
        return "–"
    return f"{score[0]:.3f}" + (f" [{score[1]:.3f}, {score[2]:.3f}]" if with_interval else "")


def _text(value) -> str:
    return html.escape(str(value))
