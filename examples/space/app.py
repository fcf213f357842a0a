"""The Space: upload an ECG or a picture of one, see it, ask about it, compare it, see its tokens and its forecast.

pip install -e ".[space]"
MODEL=. python examples/space/app.py
"""

import html
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import torch
from PIL import Image
from transformers import pipeline

from heartcare import NotDigitized, digitize
from heartcare.agent.render import draw_ecg
from heartcare.agent.signal import Optimizer
from heartcare.claims_heartcare import verify_claims
from heartcare.configuration_heartcare import LEADS
from heartcare.ecg_heartcare import ECG
from heartcare.image_processing_heartcare import open_picture
from heartcare.layouts_heartcare import LAYOUT_NAMES
from heartcare.measuring_heartcare import Measurements
from heartcare.reading_heartcare import PICTURES, detect_format, read_ecg

MODEL, REVISION = os.environ.get("MODEL", "USER/HeartcareGPT"), os.environ.get("REVISION")
EXAMPLES = {
    "Sinus rhythm": "sinus_rhythm.hea",
    "Atrial fibrillation": "atrial_fibrillation.hea",
    "Right bundle branch block": "right_bundle_branch_block.hea",
    "A page on paper": "right_bundle_branch_block.png",
}
RATE = "What is the heart rate?"  # is answered without the language model
QUESTIONS = [
    "Write a report of this ECG.",
    "What is the rhythm?",
    "What is the diagnosis?",
    "Which abnormalities of the waveform are there?",
]
COMPARE = "Two ECGs of one patient, the earlier one first. What is different in the second ECG? Consider the {}."
TOPICS = ["rhythm", "waveform", "diagnosis", "electrical axis"]
AUTO = "found by itself"  # the layout of a picture
RED = (200, 30, 45)
MAX_BYTES = 20_000_000

CSS = """
.gradio-container {max-width: 1280px !important; margin: 0 auto !important}
# notice {border-left: 4px solid #b3261e; padding: .5rem .9rem; background: #fbeceb; color: #5f1412; border-radius: 4px;
# font-size: .95rem}
#title h1 {margin-bottom: .1rem}
table.ecg {border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums}
table.ecg th, table.ecg td {padding: .28rem .5rem; border-bottom: 1px solid #d8d8de; text-align: left;
  white-space: nowrap}
table.ecg td.number {text-align: right}
table.ecg .bad {color: #b3261e; font-weight: 600}
table.ecg .good {color: #1b6e3c}
.numbers {display: grid; grid-template-columns: repeat(auto-fit, minmax(7.2rem, 1fr)); gap: .5rem}
.numbers div {border: 1px solid #d8d8de; border-radius: 6px; padding: .45rem .6rem}
.numbers b {display: block; font-size: 1.25rem; font-variant-numeric: tabular-nums}
.numbers span {font-size: .8rem; opacity: .8}
.scroll {overflow-x: auto}
#checks ul {list-style: none; padding: 0; margin: 0}
#checks .contradicted {color: #8c1d18; font-weight: 600}
:is(#drawing, #first, #second, #findings, #tokens, #forecast) img {padding-top: 1.8rem}
@media (max-width: 480px) {
  button[role=tab] {padding-inline: .4rem !important; font-size: .84rem !important; margin: 0 !important}}
.problem {border-left: 4px solid #b3261e; padding: .6rem .9rem; background: #fbeceb; color: #5f1412; border-radius: 4px}
"""
NOTICE = (
    "<div id='notice' role='note'><strong>Not for clinical use.</strong> Research software, wrong often. Remove names "
    "and dates before you upload.</div>"
)


@dataclass
class Loaded:
    """An uploaded ECG: `part`, as the pipeline takes it; `page`, its drawing, or the picture with what was read of it
    over it; `note`, what was read of a picture; and of a signal or a digitised picture, the `recording`, the cleaned
    signal with its rate and mask, its measurements as plain values, and tables of its quality and its measurements.
    """

    part: dict
    page: Image.Image
    name: str
    note: str = ""
    recording: dict | None = None
    signal: np.ndarray | None = None
    rate: float = 0.0
    lead_mask: np.ndarray = field(default_factory=lambda: np.ones(12, bool))
    measured: dict = field(default_factory=dict)
    quality: str = ""
    numbers: str = ""


_pipes: list = []


def pipe():
    """The pipeline, loaded when it is first needed."""
    if not _pipes:
        options = {"revision": REVISION} if REVISION else {}
        _pipes.append(pipeline(model=MODEL, trust_remote_code=True, **options))
    return _pipes[0]


def load(paths: list[str], layout: str = AUTO) -> Loaded:
    """Loads one ECG of one file, or of several that belong together (WFDB's header and signals).

    Args:
        paths: The files.
        layout: Layout of a picture.

    Raises: `ValueError` that a user understands.
    """
    if sum(Path(path).stat().st_size for path in paths) > MAX_BYTES:
        raise ValueError(f"Files up to {MAX_BYTES // 1_000_000} MB are read.")
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            shutil.copy(path, folder)
        files = sorted(Path(folder).iterdir())
        first = next((file for file in files if file.suffix == ".hea"), files[0])
        try:
            if len(paths) == 1 and detect_format(first).name in PICTURES:
                return load_picture(first, layout)
            return load_signal(read_ecg(first), first.name)
        except FileNotFoundError as error:
            message = str(error).replace(f"{folder}/", "")
            raise ValueError(f"{message} Upload a WFDB record's .hea and .dat files together.") from None
        except Exception as error:
            raise ValueError(str(error).replace(f"{folder}/", "")) from None


def load_picture(path: Path, layout: str) -> Loaded:
    """Digitises a picture, or loads it as it is, and refuses one that is no page of leads."""
    picture = open_picture(path)
    pipe().processor.image_processor.tiles(picture)
    try:
        page = digitize(picture, None if layout == AUTO else layout)
    except NotDigitized as error:
        note = f"Nothing is measured, since the picture was not digitised. {error}"
        table = f"<p>{html.escape(note)}</p>"
        return Loaded({"type": "image", "image": picture}, picture, path.name, note, numbers=table, quality=table)
    loaded = load_signal(page.ecg, path.name)
    note = f"In colour: what was read, as {page.layout.name}, {page.speed:g} mm/s and {page.gain:g} mm/mV."
    return replace(loaded, part={"type": "image", "image": page}, page=page.draw_over(), note=note)


def load_signal(ecg: ECG, name: str) -> Loaded:
    """Cleans, draws and measures a recording."""
    optimized = Optimizer()(ecg)
    signal, rate, mask = optimized.signal, optimized.sampling_rate, optimized.lead_mask
    page = draw_ecg(signal, rate, lead_mask=mask)
    part = ecg.as_input() | {"type": "ecg"}
    measured = pipe().processor.feature_extractor.prepare(ecg, measure=True).measurements
    tables = quality_table(optimized), measurements(measured)
    return Loaded(part, page, name, "", part, signal, rate, mask, measured, *tables)


def quality_table(optimized) -> str:
    quality = optimized.quality
    rows = []
    for i, lead in enumerate(LEADS):
        faults = ", ".join(quality.faults[i]) or ("absent" if not optimized.lead_mask[i].any() else "good")
        kind = "good" if faults == "good" else "bad"
        numbers = (quality.noise[i], 0, "µV"), (quality.hum[i], 0, "µV"), (quality.drift[i], 2, "mV")
        shown = [f"{value:.{digits}f} {unit}" if np.isfinite(value) else "–" for value, digits, unit in numbers]
        cells = "".join(f"<td class='number'>{number}</td>" for number in shown)
        rows.append(f"<tr><th scope='row'>{lead}</th>{cells}<td class='{kind}'>{html.escape(faults)}</td></tr>")
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in optimized.ecg.warnings)
    titles = "".join(f"<th scope='col'>{title}</th>" for title in ("Lead", "Noise", "Hum", "Drift", "Quality"))
    table = f"<table class='ecg'><thead><tr>{titles}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f"<div class='scroll'>{table}</div>{f'<ul>{notes}</ul>' if notes else ''}"


def measurements(measured: dict) -> str:
    """Returns measurements, given as plain values, as HTML."""
    shown = "".join(
        f"<div><span>{name[0].upper()}{name[1:]}</span><b>{value}</b><span>{unit}</span></div>"
        for name, value, unit in Measurements(**measured).as_rows()
    )
    return f"<div class='numbers'>{shown}</div>"


def in_red(page: Image.Image, signal: np.ndarray, rate: float, **drawn) -> Image.Image:
    """`page` with the traces of another signal over it, in red; `drawn` as the page itself was."""
    ink, without = (
        np.asarray(draw_ecg(each, rate, **drawn)).max(axis=2).astype(np.float32)
        for each in (signal, np.full(signal.shape, np.nan))
    )
    mask = Image.fromarray(np.uint8(np.clip((200 - ink) * 1.6, 0, 255) * (without > 200)))
    page = page.copy()
    page.paste(RED, mask=mask)
    return page


@torch.no_grad()
def tokens(loaded: Loaded) -> tuple[Image.Image, str]:
    """The signal with what its tokens give back in red, and how near that is."""
    processor, beat = pipe().processor, pipe().model.beat
    inputs = processor.feature_extractor(loaded.recording, return_tensors="pt").to(pipe().device)
    found = beat.encode(**inputs)
    length = inputs["input_values"].shape[-1]
    decoded = beat.decode(found.codes, found.gain)[0, :, -length:].cpu().numpy()
    before = inputs["input_values"][0].cpu().numpy()
    rate, mask = processor.feature_extractor.sampling_rate, inputs["lead_mask"][0].bool().cpu().numpy()
    shown = slice(0, 10 * rate)
    drawn = {"lead_mask": mask[:, shown]}
    page = in_red(draw_ecg(before[:, shown], rate, **drawn), decoded[:, shown], rate, **drawn)
    prd = 100 * np.linalg.norm((decoded - before)[mask]) / max(1e-9, np.linalg.norm(before[mask]))
    rmse = 1000 * np.sqrt(np.square((decoded - before)[mask]).mean())
    count = int((found.codes >= 0).sum())
    return (
        page,
        f"{count} tokens for {length / rate:.1f} s, {9 * count / (length / rate):.0f} bits/s. PRD {prd:.1f} %, "
        f"RMSE {rmse:.0f} µV; decoded in red.",
    )


@torch.no_grad()
def forecast(loaded: Loaded, seconds: float = 2.0) -> tuple[Image.Image, str]:
    """The last seconds of the signal, and how Beat sees it go on, in red."""
    if loaded.part["type"] == "image":
        return loaded.page, "A page does not show all leads at its end, so it is not continued."
    processor = pipe().processor
    inputs = processor.feature_extractor(loaded.recording, return_tensors="pt").to(pipe().device)
    ahead = pipe().model.forecast(**inputs, seconds=seconds)[0].cpu().numpy()
    rate, mask = processor.feature_extractor.sampling_rate, inputs["lead_mask"][0].bool().cpu().numpy()
    past = inputs["input_values"][0].cpu().numpy()[:, -round((10 - seconds) * rate) :]
    parts = [
        np.concatenate(
            [np.full(each.shape, np.nan) if k != kept else each for k, each in enumerate((past, ahead))], axis=1
        )
        for kept in (0, 1)
    ]
    drawn = {"layout": "12x1", "lead_mask": mask.any(axis=1)}
    page = in_red(draw_ecg(parts[0], rate, **drawn), parts[1], rate, **drawn)
    return (
        page,
        f"{past.shape[1] / rate:.0f} s of the recording, and {seconds:g} s of forecast in red. Beat's forecast fades "
        "to the mean where it is unsure.",
    )


def findings(loaded: Loaded, shown: int = 8) -> tuple[Image.Image, str]:
    """The likeliest statements, and the page with the waves shaded that the first abnormal one of them rests on."""
    reply = pipe()({**loaded.part, "question": RATE}, explain=True)
    if "findings" not in reply:
        return loaded.page, "This checkpoint has no head for findings."
    lines = ["| statement | probability |", "|---|---|"]
    lines += [f"| {words} | {100 * share:.0f} % |" for words, share in [*reply["findings"][0].items()][:shown]]
    marks, why = [], ""
    if reply["explanations"]:
        abnormal = (each for each in reply["explanations"] if each["finding"] not in ("a normal ECG", "sinus rhythm"))
        first = next(abnormal, reply["explanations"][0])
        marks = [(each["lead"], each["start"], each["stop"]) for each in first["intervals"]]
        leads, waves = (", ".join(each[kind] for each in first[f"{kind}s"][:2]) for kind in ("lead", "wave"))
        why = f"Shaded: what “{first['finding']}” rests on, most of all {waves} in {leads or 'the one lead'}."
    inputs = pipe().processor.feature_extractor(loaded.recording, return_tensors="np")
    rate = pipe().processor.feature_extractor.sampling_rate
    signal, mask = (inputs[name][0][:, : 10 * rate] for name in ("input_values", "lead_mask"))
    return draw_ecg(signal, rate, lead_mask=mask, marks=marks), "\n".join([*lines, "", why])


def checks(loaded: Loaded, text: str) -> str:
    """Returns which words of an answer agree with the measurements, as HTML; it is empty where no number decides."""
    marks = {"verified": "✓", "contradicted": "✗", "unmeasurable": "–"}
    rows = [
        f"<li class='{claim.verdict}'>{marks[claim.verdict]} {html.escape(claim.text)}: {claim.verdict}"
        f"{'' if claim.measured is None else f', measured {claim.measured:g} {claim.unit}'} "
        f"({html.escape(claim.reason)})</li>"
        for claim in (verify_claims(text, loaded.measured) if loaded.measured else ())
    ]
    return f"<ul>{''.join(rows)}</ul>" if rows else ""


def answer(loaded: Loaded, question: str, options: str) -> Iterator[tuple[str, dict | None]]:
    """The answer as it is written; with options, all at once with their probabilities."""
    choices = list(dict.fromkeys(each.strip() for each in options.replace("\n", ",").split(",") if each.strip()))
    if len(choices) == 1:
        raise ValueError("Give two options or more, with commas between them, or none.")
    if choices:
        found = pipe()({**loaded.part, "question": question}, options=choices)
        yield found["text"], found["probabilities"]
        return
    text = ""
    for piece in pipe().stream(loaded.part, question=question):
        text += piece
        yield text, None


def problem(error: Exception) -> str:
    return f"<div class='problem' role='alert'><strong>This cannot be read.</strong> {html.escape(str(error))}</div>"


# What the page does.


def on_second(paths, layout=AUTO):
    """Returns state, message and page of a second ECG."""
    if not paths:
        return None, "", None
    try:
        loaded = load(paths if isinstance(paths, list) else [paths], layout)
    except Exception as error:
        return None, problem(error), None
    return loaded, f"<p><strong>{html.escape(loaded.name)}</strong> {html.escape(loaded.note)}</p>", loaded.page


def on_first(paths, layout=AUTO):
    """Returns state, message, page, page again, numbers, quality, and empty answers about the ECG before."""
    loaded, message, page = on_second(paths, layout)
    numbers, quality = (loaded.numbers, loaded.quality) if loaded else ("", "")
    return loaded, message, page, page, numbers, quality, "", gr.update(visible=False), "", "", *([None, ""] * 3)


def on_ask(loaded, question, options):
    """Yields the answer as it is written, the probabilities of its options, and at the end what the check says."""
    if loaded is None:
        yield "Choose an ECG first.", gr.update(visible=False), ""
        return
    try:
        for text, shares in answer(loaded, question.strip() or QUESTIONS[0], options or ""):
            yield text, gr.update(value=shares, visible=shares is not None), ""
        yield text, gr.update(), checks(loaded, text)
    except Exception as error:
        yield f"This did not work: {error}", gr.update(visible=False), ""


def on_compare(first, second, question):
    if first is None or second is None:
        yield "Choose two ECGs: one above, one here."
        return
    text = ""
    try:
        for piece in pipe().stream(
            {"ecgs": [first.part, second.part]}, question=question.strip() or COMPARE.format(TOPICS[0])
        ):
            text += piece
            yield text
    except Exception as error:
        yield f"This did not work: {error}"


def on_signal(what):
    def show(loaded):
        if loaded is None or loaded.signal is None:
            return None, "This needs a signal; this picture was not digitised." if loaded else "Choose an ECG first."
        try:
            return what(loaded)
        except Exception as error:
            return None, f"This did not work: {error}"

    return show


def example_path(name: str) -> list[str]:
    """Files of an example, which lie in the repository."""
    folder = Path(__file__).resolve().parent.parent / "ecgs"
    if not folder.exists():
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(MODEL, revision=REVISION, allow_patterns="examples/ecgs/*")) / "examples/ecgs"
    path = folder / EXAMPLES[name]
    return [str(path)] if path.suffix != ".hea" else [str(path), str(path.with_suffix(".dat"))]


def paper(what: str, **options) -> gr.Image:
    """A place for an ECG on paper; `what` is said by screen readers."""
    return gr.Image(label=what, alt_text=what, show_label=False, type="pil", format="png", interactive=False, **options)


def upload_row() -> SimpleNamespace:
    """Lays out the upload with its examples, and the drawing beside it."""
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            files = gr.File(
                label="ECG file, picture, or .hea with .dat", file_count="multiple", height=150, elem_id="upload"
            )
            gr.Markdown("or an example")
            with gr.Row():
                buttons = [gr.Button(name, size="sm", min_width=130) for name in EXAMPLES]
            layout = gr.Dropdown([AUTO, *LAYOUT_NAMES], value=AUTO, label="Layout of a picture", elem_id="layout")
            message = gr.HTML(elem_id="message")
        with gr.Column(scale=2, min_width=320):
            drawing = paper("The ECG on paper", elem_id="drawing", buttons=["fullscreen"])
            numbers = gr.HTML(elem_id="numbers")
    return SimpleNamespace(
        files=files, buttons=buttons, layout=layout, message=message, drawing=drawing, numbers=numbers
    )


def ask_tab() -> SimpleNamespace:
    """Lays out the tab in which one question is asked."""
    with gr.Tab("Ask"):
        with gr.Row():
            presets = [gr.Button(text, size="sm", min_width=150) for text in QUESTIONS]
        question = gr.Textbox(label="Question", value=QUESTIONS[0], max_lines=3, elem_id="question", submit_btn="Ask")
        options = gr.Textbox(label="Options to choose from, with commas between them (optional)", elem_id="options")
        text = gr.Textbox(label="Answer", lines=3, interactive=False, elem_id="answer")
        shares = gr.Label(label="Probabilities", visible=False, elem_id="shares")
        checked = gr.HTML(elem_id="checks")
    return SimpleNamespace(
        presets=presets, question=question, options=options, text=text, shares=shares, checked=checked
    )


def compare_tab() -> SimpleNamespace:
    """Lays out the tab in which a second ECG is uploaded and compared with the first."""
    with gr.Tab("Compare"):
        with gr.Row():
            with gr.Column(min_width=300):
                files = gr.File(label="The second ECG", file_count="multiple", height=120, elem_id="upload-second")
                with gr.Row():
                    buttons = [gr.Button(name, size="sm", min_width=130) for name in EXAMPLES]
                message = gr.HTML()
            with gr.Column(min_width=300):
                with gr.Row():
                    topics = [gr.Button(words.capitalize(), size="sm", min_width=100) for words in TOPICS]
                question = gr.Textbox(
                    label="Question",
                    value=COMPARE.format(TOPICS[0]),
                    max_lines=4,
                    elem_id="compare-question",
                    submit_btn="Compare",
                )
                text = gr.Textbox(label="Answer", lines=3, interactive=False, elem_id="compared")
        with gr.Row():
            left = paper("The first ECG on paper", min_width=300, elem_id="first")
            right = paper("The second ECG on paper", min_width=300, elem_id="second")
    return SimpleNamespace(
        files=files,
        buttons=buttons,
        message=message,
        topics=topics,
        question=question,
        text=text,
        left=left,
        right=right,
    )


def signal_tab(title: str, action: str, picture: str, name: str) -> SimpleNamespace:
    """Lays out a tab with one button, which draws something of a signal."""
    with gr.Tab(title):
        button = gr.Button(action, elem_id=f"show-{name}")
        text = gr.Markdown(elem_id=f"{name}-text")
        page = paper(picture, elem_id=name)
    return SimpleNamespace(button=button, text=text, page=page)


def build() -> gr.Blocks:
    """Builds the page."""
    with gr.Blocks(title="HeartcareGPT", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        state, other = gr.State(), gr.State()
        gr.Markdown("# HeartcareGPT\nQuestions about ECGs: files of any format, and photographs.", elem_id="title")
        gr.HTML(NOTICE)
        upload = upload_row()
        with gr.Tabs():
            ask, compare = ask_tab(), compare_tab()
            with gr.Tab("Quality"):
                quality = gr.HTML(elem_id="quality")
            found = signal_tab("Findings", "Show findings", "What the likeliest finding rests on, shaded", "findings")
            decoded = signal_tab("Tokens", "Decode Beat's tokens", "Original, and decoded in red", "tokens")
            ahead = signal_tab("Forecast", "Forecast two seconds", "Recording, and forecast in red", "forecast")

        first = [state, upload.message, upload.drawing, compare.left, upload.numbers, quality, ask.text, ask.shares]
        first += [ask.checked, compare.text]
        first += [each for tab in (found, decoded, ahead) for each in (tab.page, tab.text)]
        second = [other, compare.message, compare.right]
        quick = {"show_progress": "minimal"}
        for given in (upload.files, upload.layout):
            given.change(on_first, [upload.files, upload.layout], first, **quick)
        compare.files.change(on_second, compare.files, second, **quick)
        for k, name in enumerate(EXAMPLES):
            upload.buttons[k].click(lambda name=name: on_first(example_path(name)), None, first, **quick)
            compare.buttons[k].click(lambda name=name: on_second(example_path(name)), None, second, **quick)
        asked = [state, ask.question, ask.options], [ask.text, ask.shares, ask.checked]
        ask.question.submit(on_ask, *asked, **quick)
        for button, words in zip(ask.presets, QUESTIONS):
            put = button.click(lambda words=words: words, None, ask.question, show_progress="hidden")
            put.then(on_ask, *asked, **quick)
        compared = [state, other, compare.question], compare.text
        compare.question.submit(on_compare, *compared, **quick)
        for button, words in zip(compare.topics, TOPICS):
            question = COMPARE.format(words)
            put = button.click(lambda question=question: question, None, compare.question, show_progress="hidden")
            put.then(on_compare, *compared, **quick)
        found.button.click(on_signal(findings), state, [found.page, found.text])
        decoded.button.click(on_signal(tokens), state, [decoded.page, decoded.text])
        ahead.button.click(on_signal(forecast), state, [ahead.page, ahead.text])
    return page


if __name__ == "__main__":
    pipe()
    build().queue(default_concurrency_limit=2).launch(
        css=CSS,
        theme=gr.themes.Default(primary_hue="red", neutral_hue="slate"),
        max_file_size=MAX_BYTES,
        footer_links=[],
    )
