"""Rows of asking: chats, general pipelines, forms of input, and input that cannot be read."""

import base64
import contextlib
import functools
import http.server
import io
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .rows import Given, Rows, expect, refused, stopped, user

ASKING = Rows()
RHYTHM = "What is the rhythm?"
RHYTHMS = ["sinus rhythm", "atrial fibrillation", "sinus tachycardia"]
REPORT = "Write a report of this ECG."


def forms_of_input(given: Given) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Returns name -> input and keywords of each form of one record."""
    import numpy as np

    import heartcare

    path = given.ecg()
    record = heartcare.read_ecg(path)
    said = {"sampling_rate": record.sampling_rate, "units": "mV"}
    packed = io.BytesIO()
    np.savez(packed, signal=record.signal, **said)
    encoded = base64.b64encode(packed.getvalue()).decode()
    return {
        ".hea": (f"{path}.hea", {}),
        ".dat": (f"{path}.dat", {}),
        "no suffix": (path, {}),
        "Path": (given.folder / "examples/ecgs/right_bundle_branch_block", {}),
        "bytes": (packed.getvalue(), {}),
        "base64": (encoded, {}),
        "array": (record.signal, said),
        "dict": ({"signal": record.signal, **said}, {}),
        "dict of a path": ({"path": path}, {}),
        "`ecgs`": ({"ecgs": [path]}, {}),
        "a question of its own": ({"path": path, "question": REPORT}, {}),
        "chat": ([user(ecg(given), REPORT)], {}),
    }


def ecg(given: Given, name: str = "right_bundle_branch_block") -> dict[str, str]:
    """Returns an example record as a part of a message."""
    return {"type": "ecg", "path": given.ecg(name)}


def picture(given: Given, name: str = "right_bundle_branch_block") -> dict[str, str]:
    """Returns an example picture as a part of a message."""
    return {"type": "image", "path": given.picture(name)}


def generated(given: Given, messages: list, **options: Any) -> list[str]:
    """Returns the model's own answers to a chat, or to each of a list of chats."""
    inputs = given.chat_inputs(messages, **options)
    return given.written(inputs, given.model.generate(**inputs, do_sample=False, max_new_tokens=24))


@ASKING.row("pipeline(model=) with the package installed, no trust")
def installed(given: Given) -> str:
    code = (
        "import sys, heartcare; from transformers import pipeline; "
        "print('TEXT', pipeline(model=sys.argv[1], device='cpu')(sys.argv[2], question=sys.argv[3])['text'])"
    )
    words = [sys.executable, "-W", "ignore", "-c", code, given.repo, given.ecg(), RHYTHM]
    done = subprocess.run(words, capture_output=True, text=True, cwd=given.space, stdin=subprocess.DEVNULL)
    expect("TEXT Sinus rhythm." in done.stdout, done.stdout + done.stderr[-300:])
    return "Sinus rhythm."


@ASKING.row("chat: one ECG; one picture by path")
def chat_of_one(given: Given) -> str:
    texts = [generated(given, [user(part, RHYTHM)])[0] for part in (ecg(given), picture(given))]
    expect(all(len(text) > 3 for text in texts), texts)
    return " / ".join(texts)


@ASKING.row("chat: two ECGs and two pictures; system; multi-turn; assistant as list; batch with `padding=True`")
def chats(given: Given) -> str:
    said = {"role": "assistant", "content": [{"type": "text", "text": "Sinus rhythm."}]}
    system = {"role": "system", "content": [{"type": "text", "text": "You read ECGs."}]}
    two = "Two ECGs of one patient, the earlier one first. What is different in the second ECG?"
    forms = {
        "two ECGs": [user(ecg(given), ecg(given, "sinus_rhythm"), two)],
        "two pictures": [user(picture(given), picture(given, "sinus_rhythm"), two)],
        "system": [system, user(ecg(given), RHYTHM)],
        "multi-turn": [user(ecg(given), RHYTHM), said, user("What is the diagnosis?")],
    }
    texts = {name: generated(given, messages)[0] for name, messages in forms.items()}
    first, second = [user(ecg(given), RHYTHM)], [user(ecg(given, "sinus_rhythm"), REPORT)]
    batch = generated(given, [first, second], processor_kwargs={"padding": True})
    single = [generated(given, messages)[0] for messages in (first, second)]
    expect(all(texts.values()) and batch == single, (texts, batch, single))
    return "all run; a batch answers what single chats do"


@ASKING.row("chat: multi-turn, rhythm and then diagnosis of the RBBB picture")
def turns_about_a_picture(given: Given) -> str:
    said = {"role": "assistant", "content": "Sinus rhythm."}
    text = given.pipe([user(picture(given), RHYTHM), said, user("What is the diagnosis?")])["text"]
    expect("right bundle branch block" in text.lower(), text)
    return text


@ASKING.row("chat: text, ECG, ECG, text")
def text_first(given: Given) -> str:
    parts = ("Two ECGs, the earlier one first.", ecg(given, "sinus_rhythm"), ecg(given), "What has changed?")
    text = given.pipe([user(*parts)])["text"]
    expect("complete right bundle branch block" in text and "QRS" in text, text)
    return text


@ASKING.row("chat: text alone")
def text_alone(given: Given) -> str:
    text = given.pipe([{"role": "user", "content": RHYTHM}])["text"]
    expect(text.startswith("No ECG is given"), text)
    return text


@ASKING.row('`pipeline("image-text-to-text")`, chat with picture or ECG')
def image_text_to_text(given: Given) -> str:
    from transformers import pipeline

    general = pipeline("image-text-to-text", model=given.model, processor=given.processor, device="cpu")
    options = {"max_new_tokens": 24, "do_sample": False, "return_full_text": False}
    chats = [[user(part, RHYTHM)] for part in (picture(given), ecg(given))]
    texts = [general(text=chat, **options)[0]["generated_text"] for chat in chats]
    expect(texts == [generated(given, chat)[0] for chat in chats] and all(texts), texts)
    return " / ".join(texts)


@ASKING.row('`pipeline("image-text-to-text")(images=, text="...")`')
def without_placeholder(given: Given) -> str:
    from transformers import pipeline

    general = pipeline("image-text-to-text", model=given.model, processor=given.processor, device="cpu")
    return stopped(lambda: general(images=given.picture(), text=RHYTHM), "0 <|image|> placeholders")


@ASKING.row('`pipeline("text-generation")`, "What is atrial fibrillation?": it warns that no ECG is given')
def text_generation(given: Given) -> str:
    import logging

    from transformers import pipeline
    from transformers.utils.logging import warning_once

    warning_once.cache_clear()
    warned, keeper = [], logging.Handler()
    keeper.emit = warned.append
    logger = logging.getLogger(type(given.model).__module__)
    logger.addHandler(keeper)
    general = pipeline("text-generation", model=given.model, tokenizer=given.processor.tokenizer, device="cpu")
    text = general("What is atrial fibrillation?", max_new_tokens=24, do_sample=False)[0]["generated_text"]
    logger.removeHandler(keeper)
    messages = [record.getMessage() for record in warned]
    expect(any("The prompt has no ECG" in each for each in messages), (text, messages))
    return f"{messages[0]} {text!r}"


@ASKING.row('`pipeline("any-to-any")`')
def any_to_any(given: Given) -> str:
    from importlib.util import find_spec

    from transformers import pipeline

    def load() -> object:
        return pipeline("any-to-any", model=given.model, processor=given.processor, device="cpu")

    return stopped(load, "Torchvision") if find_spec("torchvision") is None else type(load()).__name__


@ASKING.row("first call: the report has no contradiction")
def first_call(given: Given) -> str:
    found = given.pipe(given.ecg())
    text, axis = found["text"], found["measurements"][0]["qrs_axis"]
    expect("complete right bundle branch block" in text and "no abnormality of the waveform" not in text, text)
    expect(("normal axis" in text) == (-30 <= axis <= 90) and f"{axis:.0f} degrees" in text, (text, axis))
    return text


@ASKING.row("second call: options of the example pictures are those of the report")
def second_call(given: Given) -> str:
    texts = {}
    for name, truth in (("right_bundle_branch_block", "sinus rhythm"), ("atrial_fibrillation", "atrial fibrillation")):
        found = given.pipe(given.picture(name), question="Which rhythm is it?", options=RHYTHMS)
        texts[name] = found["text"]
        expect(found["text"] == truth and abs(sum(found["probabilities"].values()) - 1) < 1e-3, found["text"])
    return str(texts)


@ASKING.row("README, docs: what `import heartcare` and the Trainer need is named before their first block")
def pages_need(given: Given) -> str:
    needs = {
        "README.md": (r"^(?:import|from) heartcare", r"pip install (?:-e )?\.|git\+"),
        "docs/training.md": (r"^Trainer\(", r"accelerate|\[train\]"),
    }
    missing = []
    for name, (block, needed) in needs.items():
        page = (given.folder / name).read_text(encoding="utf-8")
        if not re.search(needed, page[: re.search(block, page, re.M).start()]):
            missing.append(f"{needed} before {block} in {name}")
    expect(not missing, missing)
    return "named"


ASKING.by_test("Blocks of README and docs: first answers, processor, Beat, 360, stream, agent, Trainer",
               "tests/docs/test_readme.py::test_python_blocks_run")  # fmt: skip


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serves a folder over HTTP, and yields the address."""
    handler = functools.partial(Silent, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


class Silent(http.server.SimpleHTTPRequestHandler):
    """A server of files that prints no line for each request."""

    def log_message(self, format: str, *args: Any) -> None:
        """Prints nothing."""


@ASKING.row("pipeline inputs: .hea, .dat, no suffix, Path, bytes, base64, array, dict, `ecgs`, chat")
def inputs_of_a_signal(given: Given) -> str:
    forms = forms_of_input(given)
    texts = {name: given.pipe(each, **options)["text"] for name, (each, options) in forms.items()}
    expect(len({*texts.values()}) == 1 and "bundle branch" in texts["no suffix"], texts)
    return f"{len(forms)} forms, one report"


@ASKING.row("pipeline inputs: path of a picture, bytes, base64, PIL, dict")
def inputs_of_a_picture(given: Given) -> str:
    import torch
    from PIL import Image

    with open(given.picture(), "rb") as file:
        content = file.read()
    image = Image.open(io.BytesIO(content))
    forms = (given.picture(), content, base64.b64encode(content).decode(), image, {"image": image})
    tiles = [given.pipe.preprocess(each, digitize=False)["features"]["pixel_values"] for each in forms]
    expect(all(torch.equal(each, tiles[0]) for each in tiles), [each.shape for each in tiles])
    return f"{len(forms)} forms, the same pixels"


@ASKING.row("pipeline inputs: list, generator, batch_size, num_workers, stream, num_return_sequences, max_new_tokens")
def ways_of_calling(given: Given) -> str:
    records = [given.ecg(), given.ecg("atrial_fibrillation")]
    single = [given.pipe(each, question=RHYTHM)["text"] for each in records]
    ways = {
        "list": given.pipe(records, question=RHYTHM),
        "batch": given.pipe(records, question=RHYTHM, batch_size=2),
        "workers": given.pipe(records, question=RHYTHM, num_workers=2),
        "generator": list(given.pipe((each for each in records), question=RHYTHM)),
    }
    expect(all([each["text"] for each in found] == single for found in ways.values()), (single, ways.keys()))
    expect("".join(given.pipe.stream(records[0], question=RHYTHM)) == single[0], single)
    several = given.pipe(records[0], num_return_sequences=2, do_sample=True, max_new_tokens=8)["text"]
    expect(len(several) == 2, several)
    return " / ".join(single)


@ASKING.row('`pipe(ecg, "What is the rhythm?")`: the question is not dropped in silence')
def positional_question(given: Given) -> str:
    text = given.pipe(given.ecg(), RHYTHM)["text"]
    expect(text == "Sinus rhythm.", text)
    return text


@ASKING.row('`pipe(ecg, text="...")`: the error names question=')
def misspelt_question(given: Given) -> str:
    return refused(lambda: given.pipe(given.ecg(), text=RHYTHM), "did you mean 'question'?")


@ASKING.row("missing files, .txt, bad csv, no rate, zeros, NaN, one option, a folder")
def what_cannot_be_read(given: Given) -> str:
    import numpy as np

    folder = given.space
    (folder / "note.txt").write_text("Dear colleague")
    (folder / "bad.csv").write_text("a,b\n1,2\n")
    signal = np.random.default_rng(0).normal(size=(12, 5000))
    said = {"sampling_rate": 500, "units": "mV"}
    cases = {
        "missing": (lambda: given.pipe("no/such/record.hea"), "does not exist"),
        ".txt": (lambda: given.pipe(str(folder / "note.txt")), "note.txt"),
        "csv": (lambda: given.pipe(str(folder / "bad.csv")), "must name the leads"),
        "no rate": (lambda: given.pipe({"signal": signal}), "sampling rate is missing"),
        "zeros": (lambda: given.pipe({"signal": 0 * signal, **said}), ""),
        "NaN": (lambda: given.pipe({"signal": np.nan * signal, **said}), ""),
        "one option": (lambda: given.pipe(given.ecg(), question=RHYTHM, options=["yes"]), "two or more"),
        "folder": (lambda: given.pipe(str(folder)), ""),
    }
    texts = {name: refused(call, words) for name, (call, words) in cases.items()}
    expect(all(text.split(":")[0] in ("ValueError", "TypeError", "FileNotFoundError", "IsADirectoryError")
               for text in texts.values()), texts)  # fmt: skip
    return f"{len(texts)} errors; a folder: {texts['folder']}"


@ASKING.row("a signal of (samples, leads): turned, or a clear error")
def transposed(given: Given) -> str:
    import heartcare

    record = heartcare.read_ecg(given.ecg())
    turned = {"signal": record.signal.T, "sampling_rate": record.sampling_rate, "units": "mV"}
    try:
        text = given.pipe(turned, question=RHYTHM)["text"]
    except ValueError as error:
        expect("leads" in str(error), str(error))
        return f"ValueError: {error}"
    expect(text == "Sinus rhythm.", text)
    return text


@ASKING.row(".pdf through the pipeline: read, or the extra is named")
def pdf(given: Given) -> str:
    from importlib.util import find_spec

    import heartcare

    path = given.space / "page.pdf"
    path.write_bytes(b"%PDF-1.4\n%%EOF\n")
    has_extra = find_spec("pymupdf") is not None
    return refused(lambda: heartcare.read_ecg(path), "page.pdf" if has_extra else "heartcare[pdf]")


@ASKING.row("damaged .png by path; URL of a .hea; `pipe([])`; and the URL of a picture, which is read")
def damaged(given: Given) -> str:
    path = given.space / "damaged.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    text = refused(lambda: given.pipe(str(path)), "ValueError", "damaged.png")
    with served(given.folder / "examples/ecgs") as address:
        wrong = refused(lambda: given.pipe(f"{address}/sinus_rhythm.hea"), "ValueError", "sinus_rhythm.hea")
        right = given.pipe(f"{address}/right_bundle_branch_block.png", question=RHYTHM)["text"]
    expect(right == "Sinus rhythm." and given.pipe([]) == [], right)
    return f"{text}; {wrong}; []; {right}"


@ASKING.row("white page, noise picture: refused")
def no_page(given: Given) -> str:
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3), dtype=np.uint8)
    pictures = (Image.new("RGB", (800, 600), "white"), Image.fromarray(noise))
    texts = [given.pipe(each)["text"] for each in pictures]
    expect(all("nothing is said of it" in text for text in texts), texts)
    return " / ".join(texts)


@ASKING.row("white noise as signal (12 leads): refused")
def no_signal(given: Given) -> str:
    import numpy as np

    signal = 0.3 * np.random.default_rng(0).normal(size=(12, 5000))
    found = given.pipe({"signal": signal, "sampling_rate": 500, "units": "mV"})
    expect("nothing is said of it" in found["text"] and "findings" not in found, found["text"])
    return found["text"]
