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

from heartcare.agent.measure import repeat_last_beat
from heartcare.agent.render import view_ecg
from heartcare.agent.signal import Optimizer
from heartcare.answering_heartcare import refusal_of
from heartcare.configuration_heartcare import LEADS
from heartcare.ecg_heartcare import ECG
from heartcare.examples.showing import changes, checks, measurements, problem, quality_table, shares_table
from heartcare.image_processing_heartcare import open_picture
from heartcare.layouts_heartcare import LAYOUT_NAMES
from heartcare.pictures_heartcare import read_pictures
from heartcare.reading_heartcare import PICTURES, detect_format, read_ecg

MODEL, REVISION = os.environ.get("MODEL", "USER/HeartcareGPT"), os.environ.get("REVISION")
EXAMPLES = {
    "Sinus rhythm": "sinus_rhythm.hea",
    "Atrial fibrillation": "atrial_fibrillation.hea",
    "Right bundle branch block": "right_bundle_branch_block.hea",
    "A page on paper": "right_bundle_branch_block.png",
}
RATE = "What is the heart rate?"  # a question that is answered without the language model
QUESTIONS = [
    "Write a report of this ECG.",
    "What is the rhythm?",
    "What is the diagnosis?",
    "Which abnormalities of the waveform are there?",
]
COMPARE = "Two ECGs of one patient, the earlier one first. What is different in the second ECG?"
TOPICS = {
    "All": COMPARE,
    **{words.capitalize(): f"{COMPARE} Consider the {words}." for words in ("rhythm", "waveform", "diagnosis")},
    "Electrical axis": f"{COMPARE} Consider the electrical axis.",
}
AUTO = "found by itself"  # the layout of a picture
SHOWN_FINDINGS = 8
# Limits of an upload, since anyone may upload to the Space.
MAX_BYTES, MAX_FILES = 20_000_000, 20
MAX_SAMPLES = 12 * 500 * 3600  # an hour of twelve leads at 500 Hz
MAX_WORDS, MAX_OPTIONS = 500, 20  # letters of a question or an option, and number of options
# Brings an answer into view: it may stand below the screen's end, and on a phone the keyboard hides it.
SHOW = """() => {{const place = document.querySelector('{}'), narrow = innerWidth < 640;
  if (narrow) document.activeElement?.blur();
  place.scrollIntoView({{block: narrow ? 'start' : 'nearest'}})}}"""

CSS = """
.gradio-container {width: 100% !important; max-width: 1280px !important; margin: 0 auto !important}
#notice {border-left: 4px solid #b3261e; padding: .5rem .9rem; background: #fbeceb; color: #5f1412; border-radius: 4px;
  font-size: .95rem}
#title h1 {margin-bottom: .1rem}
table.ecg {border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums}
table.ecg :is(th, td) {padding: .28rem .5rem !important; border: 0 !important; text-align: left;
  border-bottom: 1px solid #d8d8de !important}
table.ecg tr {border: 0 !important}
table.ecg tbody th {font-weight: 400}
table.ecg td.number {text-align: right !important; white-space: nowrap}
table.ecg td.share {width: 45%}
table.ecg td.share span {display: block; height: .6rem; min-width: 2px; border-radius: 2px; background: #55708c}
table.ecg .bad {color: #b3261e; font-weight: 600}
table.ecg .good {color: #1b6e3c}
.numbers {display: grid; grid-template-columns: repeat(auto-fit, minmax(8.4rem, 1fr)); gap: .5rem}
.numbers div {border: 1px solid #d8d8de; border-radius: 6px; padding: .45rem .6rem}
.numbers b {display: block; font-size: 1.25rem; font-variant-numeric: tabular-nums; white-space: nowrap}
.numbers small {font-size: .8rem; font-weight: 400; opacity: .8}
.numbers span {font-size: .8rem; opacity: .8}
.scroll {overflow-x: auto}
#checks ul {list-style: none; padding: 0; margin: 0}
#checks .contradicted {color: #8c1d18; font-weight: 600}
.paper img {padding-top: 1.8rem}
.problem {border-left: 4px solid #b3261e; padding: .6rem .9rem; background: #fbeceb; color: #5f1412; border-radius: 4px}
@media (max-width: 640px) {
  .tab-container button {padding-inline: .25rem !important; font-size: .8rem !important; margin: 0 !important}
  table.ecg :is(th, td) {padding: .28rem .3rem !important}
  table.ecg td.share {width: 28%}
  :is(#answer, #compared) {scroll-margin-top: 4rem}
  .paper :is(.image-container button, .image-frame) {justify-content: flex-start !important}
  .paper .image-frame {overflow-x: auto !important}
  .paper img {width: 820px !important; max-width: none !important; height: auto !important}
  .paper:has(img)::after {content: "Swipe to see the whole page."; font-size: .8rem; padding: .2rem .6rem; opacity: .8}}
"""
NOTICE = (
    "<div id='notice' role='note'><strong>Not for clinical use.</strong> Research software, wrong often. Remove names "
    "and dates before you upload.</div>"
)


def build() -> gr.Blocks:
    """Builds the page."""
    with gr.Blocks(title="HeartcareGPT", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        given, state, other = (gr.State(time_to_live=3600) for _ in range(3))
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

        first = [given, state, upload.message, upload.drawing, compare.left, upload.numbers, quality, ask.text]
        first += [ask.shares, ask.checked, compare.text, compare.changed]
        first += [each for tab in (found, decoded, ahead) for each in (tab.page, tab.text)]
        second = [other, compare.message, compare.right]
        quick = {"show_progress": "minimal"}
        sources = (upload, on_first, [upload.layout], first), (compare, on_second, [], second)
        for row, change, options, shown in sources:
            # No change of the files, since it is also one when an example empties them.
            events = [row.files.upload, row.files.delete, row.files.clear]
            gr.on(events, change, [row.files, *options], shown, **quick)
            for button, name in zip(row.buttons, EXAMPLES):
                example = button.click(lambda: None, None, row.files, show_progress="hidden")
                example.then(lambda change=change, name=name: change(example_path(name)), None, shown, **quick)
        upload.layout.input(on_first, [given, upload.layout], first, **quick)
        asked = [state, ask.question, ask.options], [ask.text, ask.shares, ask.checked]
        answers(ask.question, ask.presets, QUESTIONS, on_ask, *asked, "#answer")
        compared = [state, other, compare.question], [compare.text, compare.changed]
        answers(compare.question, compare.topics, TOPICS.values(), on_compare, *compared, "#compared")
        for tab, what in ((found, findings), (decoded, tokens), (ahead, forecast)):
            tab.button.click(on_signal(what), state, [tab.page, tab.text])
    return page


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
            drawing = paper("The ECG on paper", elem_id="drawing")
            numbers = gr.HTML(elem_id="numbers")
    return SimpleNamespace(
        files=files, buttons=buttons, layout=layout, message=message, drawing=drawing, numbers=numbers
    )


def paper(what: str, **options) -> gr.Image:
    """Lays out a place for an ECG on paper. Screen readers say `what`. It has no button that shares a patient's ECG."""
    shown = {"show_label": False, "type": "pil", "format": "png", "interactive": False, "buttons": ["fullscreen"]}
    return gr.Image(label=what, alt_text=what, elem_classes="paper", **shown, **options)


def ask_tab() -> SimpleNamespace:
    """Lays out the tab in which one question is asked."""
    with gr.Tab("Ask"):
        with gr.Row():
            presets = [gr.Button(text, size="sm", min_width=150) for text in QUESTIONS]
        question = gr.Textbox(label="Question", value=QUESTIONS[0], max_lines=3, elem_id="question", submit_btn="Ask")
        options = gr.Textbox(label="Options to choose from, with commas between them (optional)", elem_id="options")
        text = gr.Textbox(label="Answer", lines=3, interactive=False, elem_id="answer")
        shares = gr.HTML(elem_id="shares")
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
                    topics = [gr.Button(words, size="sm", min_width=100) for words in TOPICS]
                question = gr.Textbox(
                    label="Question",
                    value=COMPARE,
                    max_lines=4,
                    elem_id="compare-question",
                    submit_btn="Compare",
                )
                text = gr.Textbox(label="Answer", lines=3, interactive=False, elem_id="compared")
                changed = gr.HTML(elem_id="changes")
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
        changed=changed,
        left=left,
        right=right,
    )


def signal_tab(title: str, action: str, picture: str, name: str) -> SimpleNamespace:
    """Lays out a tab with one button, which draws something of a signal."""
    with gr.Tab(title):
        button = gr.Button(action, elem_id=f"show-{name}")
        text = gr.HTML(elem_id=f"{name}-text")
        page = paper(picture, elem_id=name, visible=False)
    return SimpleNamespace(button=button, text=text, page=page)


def on_first(paths, layout=AUTO):
    """Returns the files, state, message, page, page again, numbers, quality, and empty answers about the ECG before."""
    loaded, message, page = on_second(paths, layout)
    numbers, quality = (loaded.numbers, loaded.quality) if loaded else ("", "")
    return (
        paths,
        loaded,
        message,
        page,
        page,
        numbers,
        quality,
        *[""] * 5,
        *([gr.update(value=None, visible=False), ""] * 3),
    )


def on_second(paths, layout=AUTO):
    """Returns state, message and page of a second ECG."""
    if not paths:
        return None, "", None
    try:
        loaded = load(paths, layout)
    except Exception as error:
        return None, problem(error), None
    title = f"<p><strong>{html.escape(loaded.name)}</strong> {html.escape(loaded.note)}</p>"
    return (
        loaded,
        title + (problem(loaded.refusal, "This was not recognised as an ECG.") if loaded.refusal else ""),
        loaded.page,
    )


@dataclass
class Loaded:
    """An uploaded ECG.

    Attributes:
        part: The ECG as the pipeline takes it.
        page: Its drawing, or its picture, on which the digitised traces are drawn.
        name: Name of its file.
        note: Words for the way in which a picture was read.
        refusal: Reason why nothing is said of it, where it is no ECG.
        recording: The signal, of a file or a digitised picture, as the feature extractor takes it.
        measured: Its measurements as plain values.
        quality: A table of its quality.
        numbers: Boxes of its measurements.
    """

    part: dict
    page: Image.Image
    name: str
    note: str = ""
    refusal: str = ""
    recording: dict | None = None
    measured: dict = field(default_factory=dict)
    quality: str = ""
    numbers: str = ""


def load(paths: list[str], layout: str = AUTO) -> Loaded:
    """Loads one ECG from one file, or from several that belong together (WFDB's header and signals).

    Args:
        paths: The files.
        layout: Layout of a picture.

    Raises: `ValueError` that a user understands.
    """
    if len(paths) > MAX_FILES or sum(Path(path).stat().st_size for path in paths) > MAX_BYTES:
        raise ValueError(f"Up to {MAX_FILES} files of {MAX_BYTES // 1_000_000} MB in all are read.")
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
            message = str(error).replace(f"{folder}{os.sep}", "")
            raise ValueError(f"{message} Upload a WFDB record's .hea and .dat files together.") from None
        except Exception as error:
            raise ValueError(str(error).replace(f"{folder}{os.sep}", "")) from None


def load_picture(path: Path, layout: str) -> Loaded:
    """Digitises a picture, or loads it as it is, and refuses one that is no page of leads."""
    picture, processor = open_picture(path), pipe().processor.image_processor
    _, [found] = read_pictures(
        [{"type": "image", "image": picture}], processor, layout=None if layout == AUTO else layout
    )
    if found.page is None:
        refusal = refusal_of([], [found.refusal])
        reason = found.reason.replace("give layout=", "choose its layout above")
        note = f"Nothing is measured, since the picture was not digitised. {reason}."
        return Loaded({"type": "image", "image": picture}, picture, path.name, note, refusal)
    page, loaded = found.page, load_signal(found.page.ecg, path.name)
    note = f"In colour: what was read, as {page.layout.name}, {page.speed:g} mm/s and {page.gain:g} mm/mV."
    return replace(loaded, part={"type": "image", "image": page}, page=page.draw_over(), note=note)


_pipes: list = []


def pipe():
    """Returns the pipeline, which is loaded when it is first needed."""
    if not _pipes:
        options = {"revision": REVISION} if REVISION else {}
        _pipes.append(pipeline(model=MODEL, trust_remote_code=True, **options))
    return _pipes[0]


def load_signal(ecg: ECG, name: str) -> Loaded:
    """Cleans, draws and measures a recording, and refuses one that is no ECG."""
    if ecg.signal.size > MAX_SAMPLES:
        raise ValueError(
            f"{name} has {ecg.signal.size} samples. The Space reads up to {MAX_SAMPLES}, an hour of twelve leads at "
            "500 Hz; cut the recording."
        )
    optimized = Optimizer()(ecg)
    page = view_ecg(optimized.signal, optimized.sampling_rate, lead_mask=optimized.lead_mask)
    part = ecg.as_input() | {"type": "ecg"}
    prepared = pipe().processor.feature_extractor.prepare(ecg, measure=True)
    refusal = refusal_of([prepared.quality["not_an_ecg"]])
    numbers = "" if refusal else measurements(prepared.measurements)
    measured = prepared.measurements
    return Loaded(part, page, name, "", refusal, part, measured, quality_table(optimized), numbers)


def example_path(name: str) -> list[str]:
    """Returns the files of an example, which lie in the repository."""
    folder = Path(__file__).resolve().parent.parent / "ecgs"
    if not folder.exists():
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(MODEL, revision=REVISION, allow_patterns="examples/ecgs/*")) / "examples/ecgs"
    path = folder / EXAMPLES[name]
    return [str(path)] if path.suffix != ".hea" else [str(path), str(path.with_suffix(".dat"))]


def on_ask(loaded, question, options):
    """Yields the answer as it is written, the probabilities of its options, and, at the end, checks of its claims."""
    if loaded is None:
        yield "Choose an ECG first.", "", ""
        return
    try:
        for text, shares in answer(loaded, question.strip() or QUESTIONS[0], options or ""):
            yield text, shares_table(shares) if shares else "", ""
        yield text, shares_table(shares) if shares else "", checks(loaded.measured, text)
    except Exception as error:
        yield f"This did not work: {error}", "", ""


def answer(loaded: Loaded, question: str, options: str) -> Iterator[tuple[str, dict]]:
    """Yields the answer as it is written; one of several options at once, with the probabilities of all."""
    choices = list(dict.fromkeys(each.strip() for each in options.replace("\n", ",").split(",") if each.strip()))
    if max(map(len, (question, *choices))) > MAX_WORDS or len(choices) > MAX_OPTIONS:
        raise ValueError(
            f"Questions and options have up to {MAX_WORDS} letters, and {MAX_OPTIONS} options are the most."
        )
    if len(choices) == 1:
        raise ValueError("Give two options or more, with commas between them, or none.")
    if choices:
        found = pipe()({**loaded.part, "question": question}, options=choices)
        yield found["text"], found.get("probabilities", {})
        return
    text = ""
    for piece in pipe().stream(loaded.part, question=question):
        text += piece
        yield text, {}


def answers(question, buttons, questions, answer, inputs, outputs, place: str):
    """Answers a question that is written or chosen by a button, and brings the answer, which stands at `place`, into
    view.
    """
    asked = [question.submit]
    for button, words in zip(buttons, questions):
        asked.append(button.click(lambda words=words: words, None, question, show_progress="hidden").then)
    for ask in asked:
        ask(None, js=SHOW.format(place))
        ask(answer, inputs, outputs, show_progress="minimal").then(None, js=SHOW.format(place))


def on_compare(first, second, question):
    """Yields the answer as it is written, and how the measurements change."""
    if first is None or second is None:
        yield "Choose two ECGs: one above, one here.", ""
        return
    refused = first.refusal or second.refusal
    changed = "" if refused or not (first.measured and second.measured) else changes(first.measured, second.measured)
    text = ""
    try:
        if len(question) > MAX_WORDS:
            raise ValueError(f"Questions have up to {MAX_WORDS} letters.")
        for piece in pipe().stream({"ecgs": [first.part, second.part]}, question=question.strip() or COMPARE):
            text += piece
            yield text, changed
    except Exception as error:
        yield f"This did not work: {error}", ""


def findings(loaded: Loaded) -> tuple[Image.Image | None, str]:
    """Returns a drawing with the waves shaded on which the likeliest abnormal statement rests, and the likeliest
    statements.
    """
    reply = pipe()({**loaded.part, "question": RATE}, explain=True)
    if "findings" not in reply:
        return None, "<p>This checkpoint has no head for findings.</p>"
    extractor, why = pipe().processor.feature_extractor, ""
    inputs, marks = extractor(loaded.recording, return_tensors="np"), []
    rate, window = extractor.sampling_rate, (reply.get("windows") or [None])[0]
    start = round(window["start"] * rate) if window else 0
    signal, mask = (inputs[name][0][:, start : start + 10 * rate] for name in ("input_values", "lead_mask"))
    if reply.get("explanations"):  # of one signal that is read as a whole
        abnormal = (each for each in reply["explanations"] if each["finding"] not in ("a normal ECG", "sinus rhythm"))
        first = next(abnormal, reply["explanations"][0])
        marks = [(each["lead"], each["start"], each["stop"]) for each in first["intervals"] if each["start"] < 10]
        most = [[each[kind] for each in first[f"{kind}s"] if each["effect"] > 0][:2] for kind in ("wave", "lead")]
        leads, waves = ", ".join(most[1]) or "no single lead", ", ".join(most[0]) or "no single wave"
        why = f"“{first['finding']}” rests most of all on {waves}, and on {leads}{'; shaded below' if marks else ''}."
    listed = shares_table(dict([*reply["findings"][0].items()][:SHOWN_FINDINGS]))
    which = f" of the {window['seconds']:g} s from {window['start']:g} s on" if window else ""
    words = f"<p>The likeliest statements{which}, with calibrated probabilities. {why}</p>"
    return view_ecg(signal, rate, "12x1", lead_mask=mask, marks=marks), words + listed


@torch.no_grad()
def tokens(loaded: Loaded) -> tuple[Image.Image, str]:
    """Returns a drawing of the signal, with the one decoded from its tokens in red, and words for the difference."""
    processor, beat = pipe().processor, pipe().model.beat
    inputs = processor.feature_extractor(loaded.recording, return_tensors="pt").to(pipe().device)
    found = beat.encode(**inputs)
    length = inputs["input_values"].shape[-1]
    decoded = beat.decode(found.codes, found.gain)[0, :, -length:].cpu().numpy()
    before = inputs["input_values"][0].cpu().numpy()
    rate, mask = processor.feature_extractor.sampling_rate, inputs["lead_mask"][0].bool().cpu().numpy()
    page = view_ecg(before, rate, lead_mask=mask, over=decoded)
    prd = 100 * np.linalg.norm((decoded - before)[mask]) / max(1e-9, np.linalg.norm(before[mask]))
    rmse = 1000 * np.sqrt(np.square((decoded - before)[mask]).mean())
    count = int((found.codes >= 0).sum())
    return (
        page,
        f"<p>{count} tokens for {length / rate:.1f} s, {9 * count / (length / rate):.0f} bits/s. PRD {prd:.1f} %, "
        f"RMSE {rmse:.0f} µV; decoded in red.</p>",
    )


@torch.no_grad()
def forecast(loaded: Loaded, seconds: float = 2.0) -> tuple[Image.Image | None, str]:
    """Returns a drawing of the last seconds of the signal and of Beat's forecast, in red, and words about it. There is
    no drawing where two forecasts that need no model are nearer to the last seconds, which are held back for the trial.
    """
    if loaded.part["type"] == "image":
        return None, "<p>A page does not show all leads at its end, so it is not continued.</p>"
    extractor, model = pipe().processor.feature_extractor, pipe().model
    rate, inputs = extractor.sampling_rate, extractor(loaded.recording, return_tensors="pt").to(pipe().device)
    signal, mask = (inputs[name][0].cpu().numpy() for name in ("input_values", "lead_mask"))
    held = round(seconds * rate)
    if signal.shape[1] < 3 * held or not mask[:, -held:].any():
        return None, f"<p>A forecast needs {3 * seconds:g} s of recording, to be tried on the last {seconds:g} s.</p>"
    known = {name: values[..., :-held] for name, values in inputs.items()}
    tried = model.forecast(**known, seconds=seconds)[0].cpu().numpy()
    forecasts = {
        "Beat": tried,
        "a copy of the last beat": repeat_last_beat(signal[:, :-held], held, rate),
        "a flat line": np.zeros_like(tried),
    }
    kept, last = mask[:, -held:].astype(bool), signal[:, -held:]
    errors = {name: 1000 * np.sqrt(np.square((each - last)[kept]).mean()) for name, each in forecasts.items()}
    found = ", ".join(f"{name} by {error:.0f} µV" for name, error in errors.items())
    found = f"From its last {seconds:g} s, which were held back, these forecasts differ (RMSE): {found}."
    best = min(errors, key=errors.get)
    if best != "Beat":
        return (
            None,
            f"<p>Beat cannot forecast this recording. {found} Since {best} is nearer, no forecast is drawn.</p>",
        )
    ahead = model.forecast(**inputs, seconds=seconds)[0].cpu().numpy()
    past = signal[:, -round(10 * rate - held) :]
    empty = np.full((len(LEADS), past.shape[1] - held), np.nan)
    page = view_ecg(
        np.concatenate([past, np.full_like(ahead, np.nan)], axis=1),
        rate,
        "12x1",
        lead_mask=mask.any(axis=1),
        over=np.concatenate([empty, tried, ahead], axis=1),
        marks=[(lead, past.shape[1] / rate, past.shape[1] / rate + seconds) for lead in LEADS],
    )
    words = f"Red on black: Beat's forecast of what was held back. Shaded: the {seconds:g} s after the recording's end."
    return page, f"<p>{found} {words} A forecast fades where Beat is unsure.</p>"


def on_signal(what):
    """Returns the function of a tab's button, which shows the drawing, if there is one, and the words that `what` makes
    of the loaded ECG.
    """

    def shown(loaded):
        if loaded is None:
            return None, "<p>Choose an ECG first.</p>"
        if loaded.refusal or loaded.recording is None:
            return None, f"<p>{html.escape(loaded.refusal or loaded.note)}</p>"
        try:
            return what(loaded)
        except Exception as error:
            return None, problem(error, "This did not work.")

    def show(loaded):
        page, words = shown(loaded)
        return gr.update(value=page, visible=page is not None), words

    return show


def launch(page: gr.Blocks, **options):
    """Starts the server. It stores no run, and holds no more users at a time than a small machine can."""
    return page.queue(max_size=64, default_concurrency_limit=2).launch(
        css=CSS,
        theme=gr.themes.Default(primary_hue="red", neutral_hue="slate"),
        max_file_size=MAX_BYTES,
        state_session_capacity=200,
        run_history=False,
        footer_links=[],
        **options,
    )


if __name__ == "__main__":
    pipe()
    launch(build())
