"""The Space in a real browser: upload, ask, compare, tokens, forecast, bad file, at the width of a desk and of a phone;
no errors in the console.
"""

import io
import os
import re
import time

import numpy as np
import pytest
from PIL import Image
from support.paths import ROOT

from heartcare.agent.measure import repeat_last_beat
from heartcare.agent.render import NAME_MM, VIEW_DPI
from heartcare.configuration_heartcare import LEADS
from heartcare.examples import showing
from heartcare.measuring_heartcare import MEASURED, Measurements
from heartcare.reading_heartcare import read_ecg

gr = pytest.importorskip("gradio")
sync_api = pytest.importorskip("playwright.sync_api")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")


@pytest.fixture(scope="module")
def app():
    os.environ["MODEL"] = str(ROOT)
    from heartcare.examples.space import app

    app.MODEL = str(ROOT)
    app.pipe()
    return app


@pytest.fixture(scope="module")
def served(app):
    page = app.build()
    app.launch(page, prevent_thread_lock=True, server_name="127.0.0.1", quiet=True)
    yield page
    page.close()


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desk", "phone"])
def page(request, browser, served):
    """Opens a tab, whose errors are the test's."""
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height}, has_touch=width < 500)
    tab = context.new_page()
    errors = []
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.route(
        "**/*", lambda route: route.continue_() if "127.0.0.1" in route.request.url else route.abort()
    )  # nothing is fetched from elsewhere
    tab.goto(served.local_url)
    tab.wait_for_selector("#upload")
    yield tab
    context.close()
    ours = [error for error in errors if "ERR_FAILED" not in error]  # what was not fetched
    assert not ours, ours


def upload(page, selector: str, *files):
    page.set_input_files(f"{selector} input[type=file]", [str(file) for file in files])


def open_tab(page, name: str):
    """Opens a tab by its head, which has room at any width."""
    page.get_by_role("tab", name=name).click()


def nothing_is_cut(page):
    """Neither the page nor a table sticks out sideways."""
    cut = "[document.documentElement, ...document.querySelectorAll('.scroll')].map(e => e.scrollWidth - e.clientWidth)"
    assert max(page.evaluate(cut)) <= 0


def is_in_view(page, selector: str) -> bool:
    """Tells whether the top of something is on the screen, with half of it at least."""
    box = page.locator(selector).bounding_box()
    return 0 <= box["y"] and box["y"] + box["height"] / 2 < page.viewport_size["height"]


def shot(page, name: str):
    """Saves a picture of the page in the folder that SCREENSHOTS names, for people."""
    if folder := os.environ.get("SCREENSHOTS"):
        width = page.viewport_size["width"]
        page.wait_for_timeout(400)
        page.screenshot(path=f"{folder}/{name}-{width}.png", full_page=True)


def expect_answer(page, text: str, selector: str = "#answer"):
    """Waits until the whole answer is `text`; it is written piece by piece."""
    whole = re.compile(f"^{re.escape(text)}\\s*$")
    sync_api.expect(page.locator(f"{selector} textarea")).to_have_value(whole, timeout=60_000)


def names_can_be_read(page):
    """Names of leads are as large as text, and the page of paper begins at its left edge."""
    box, frame = (page.locator(f"#drawing {part}").bounding_box() for part in ("img", ".image-frame"))
    with Image.open(io.BytesIO(file_of(page, "#drawing img"))) as drawn:
        assert NAME_MM * VIEW_DPI / 25.4 * box["width"] / drawn.width > 11
    assert 0 <= box["x"] - frame["x"] < 20


def file_of(page, selector: str) -> bytes:
    """Returns the file that a picture shows."""
    return page.request.get(page.locator(selector).evaluate("e => e.src")).body()


def test_upload_ask_and_compare(page, app):
    record = ROOT / "examples/ecgs/right_bundle_branch_block"
    widths = "['#upload', '#drawing'].map(name => document.querySelector(name).getBoundingClientRect().width)"
    before = page.evaluate(widths)
    assert sum(before) > min(0.9 * page.viewport_size["width"], 600)
    assert "rgba(0, 0, 0, 0)" != page.locator("#notice").evaluate("e => getComputedStyle(e).backgroundColor")
    started = time.perf_counter()
    upload(page, "#upload", record.with_suffix(".hea"), record.with_suffix(".dat"))
    page.wait_for_selector("#drawing img")
    assert page.evaluate(widths) == before  # the page does not jump
    print(f"drawn {time.perf_counter() - started:.2f} s after the upload")
    assert page.locator("#numbers .numbers b").count() == len(MEASURED)
    assert page.locator("#numbers").inner_text().count("–") < 3
    lines = "[...document.querySelectorAll('.numbers b')].map(e => e.getClientRects().length)"
    assert set(page.evaluate(lines)) == {1} and "152 ms" in page.locator("#numbers").inner_text()
    sync_api.expect(page.locator("#message")).to_contain_text("right_bundle_branch_block")
    unnamed = """() => [...document.querySelectorAll('img, input:not([type=hidden]), textarea, button')]
        .filter(e => e.offsetParent && !(e.alt || e.innerText || e.ariaLabel || e.title || e.labels?.length ||
            e.querySelector('img')?.alt))
        .map(e => e.outerHTML)"""
    assert page.evaluate(unnamed) == []  # by which a screen reader tells what is there
    assert page.evaluate("document.documentElement.lang && document.documentElement.scrollWidth <= innerWidth")
    names_can_be_read(page)
    shot(page, "drawn")

    page.locator("#question textarea").fill("What is the rhythm?")
    page.keyboard.press("Enter")
    expect_answer(page, app.pipe()(str(record), question="What is the rhythm?")["text"])
    page.wait_for_timeout(300)
    assert is_in_view(page, "#answer")
    page.locator("#options textarea").fill("sinus rhythm, atrial fibrillation")
    page.locator("#question textarea").focus()
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("#shares")).to_contain_text("%", timeout=20_000)
    shares = page.locator("#shares").inner_text()
    assert "100" not in shares and " 0" not in shares and shares.count("sinus rhythm") == 1
    options = ["sinus rhythm", "atrial fibrillation"]
    expect_answer(page, app.pipe()(str(record), question="What is the rhythm?", options=options)["text"])
    shot(page, "asked")
    page.locator("#options textarea").fill("")
    page.locator("#question textarea").fill("Write a report of this ECG.")
    page.locator("#question textarea").focus()
    page.keyboard.press("Enter")
    expect_answer(page, app.pipe()(str(record))["text"])
    sync_api.expect(page.locator("#checks")).to_contain_text("verified", timeout=20_000)
    open_tab(page, "Findings")
    page.locator("#show-findings").click()
    page.wait_for_selector("#findings img", timeout=30_000)
    sync_api.expect(page.locator("#findings-text")).to_contain_text("bundle branch block")
    nothing_is_cut(page)
    shot(page, "findings")

    open_tab(page, "Compare")
    other = ROOT / "examples/ecgs/atrial_fibrillation"
    upload(page, "#upload-second", other.with_suffix(".hea"), other.with_suffix(".dat"))
    page.wait_for_selector("#second img")
    page.locator("#compare-question button").click()
    pair = {"ecgs": [str(record), str(other)]}
    told = app.pipe()(pair, question=app.COMPARE)["text"]
    assert "QRS 152 -> 94 ms" in told
    expect_answer(page, told, "#compared")
    sync_api.expect(page.locator("#changes")).to_contain_text("152 → 94 ms")
    axis = app.TOPICS["Electrical axis"]
    page.get_by_role("button", name="Electrical axis").click()
    sync_api.expect(page.locator("#compare-question textarea")).to_have_value(axis)
    expect_answer(page, app.pipe()(pair, question=axis)["text"], "#compared")
    nothing_is_cut(page)
    assert is_in_view(page, "#compared") and page.locator("[aria-label=Share], [title=Share]").count() == 0
    shot(page, "compared")


def test_examples_quality_tokens_and_forecast(page):
    record = ROOT / "examples/ecgs/right_bundle_branch_block"
    upload(page, "#upload", record.with_suffix(".hea"), record.with_suffix(".dat"))
    page.wait_for_selector("#drawing img")
    page.get_by_role("button", name="Atrial fibrillation").first.click()
    sync_api.expect(page.locator("#message")).to_contain_text("atrial_fibrillation.hea")
    sync_api.expect(page.locator("#upload")).to_contain_text("Drop File Here")  # no old file beside another's drawing
    page.wait_for_selector("#drawing img")
    open_tab(page, "Quality")
    assert page.locator("#quality tbody tr").count() == 12
    nothing_is_cut(page)
    open_tab(page, "Tokens")
    page.locator("#show-tokens").click()
    page.wait_for_selector("#tokens img")
    sync_api.expect(page.locator("#tokens-text")).to_contain_text("135 bits/s")
    shot(page, "tokens")
    open_tab(page, "Forecast")
    page.locator("#show-forecast").click()
    sync_api.expect(page.locator("#forecast-text")).to_contain_text("no forecast is drawn", timeout=30_000)
    assert page.locator("#forecast img").count() == 0
    page.get_by_role("button", name="Right bundle branch block").first.click()
    sync_api.expect(page.locator("#forecast-text")).to_be_empty()  # of the ECG before
    sync_api.expect(page.locator("#message")).to_contain_text("right_bundle")
    page.locator("#show-forecast").click()
    page.wait_for_selector("#forecast img")
    shot(page, "forecast")
    nothing_is_cut(page)
    page.get_by_role("button", name="A page on paper").first.click()
    sync_api.expect(page.locator("#message")).to_contain_text("as 3x4+R")
    page.locator("#layout input").click()
    page.get_by_role("option", name="12x1", exact=True).click()
    again = sync_api.expect(page.locator("#message"))  # the example is read again
    again.not_to_contain_text("as 3x4+R", timeout=60_000)
    again.to_contain_text("choose its layout above")
    sync_api.expect(page.locator("#message")).to_contain_text(".png")
    open_tab(page, "Ask")
    page.get_by_role("button", name="What is the rhythm?").click()
    sync_api.expect(page.locator("#answer textarea")).not_to_have_value("", timeout=30_000)
    shot(page, "picture")


def test_bad_files_are_said_to_be_bad(page, tmp_path):
    (tmp_path / "bad.csv").write_text("these,are,no,leads\n1,2,3,4\n")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    (tmp_path / "tiny.npy").write_bytes(b"\x93NUMPY")
    for name in ("bad.csv", "bad.png", "tiny.npy"):
        page.reload()
        page.wait_for_selector("#upload")
        upload(page, "#upload", tmp_path / name)
        sync_api.expect(page.locator("#message .problem")).to_contain_text("cannot be read", timeout=15_000)
        assert str(tmp_path) not in page.locator("#message").inner_text() and "Traceback" not in page.content()
    upload_alone = ROOT / "examples/ecgs/sinus_rhythm.hea"
    page.reload()
    page.wait_for_selector("#upload")
    upload(page, "#upload", upload_alone)
    sync_api.expect(page.locator("#message .problem")).to_contain_text(".dat", timeout=15_000)
    shot(page, "bad")


def test_what_the_page_s_functions_do(app, tmp_path):
    """The decoded signal in red is that of Beat, and absent leads are named; no browser is needed."""
    np.savez(
        tmp_path / "two.npz",
        signal=read_ecg(ROOT / "examples/ecgs/sinus_rhythm.hea").signal[[0, 6]],
        sampling_rate=500,
        lead_names=["I", "V1"],
        units="mV",
    )
    _, loaded, message, drawn, _, _, quality, *_ = app.on_first([str(tmp_path / "two.npz")])
    assert (
        quality.count("<td class='bad'>not recorded") == 10
        and "Not recorded (II, III" in quality
        and drawn.size == loaded.page.size
        and "two.npz" in message
    )
    for name, value, unit in Measurements(**loaded.measured).as_rows():
        unit = f"<small> {unit}</small>" if value != "–" else ""
        assert f"{name[1:]}</span><b>{value}{unit}</b>" in loaded.numbers
    page, words = app.tokens(loaded)
    red = (np.asarray(page)[..., 0].astype(int) - np.asarray(page)[..., 1] > 120).sum()
    assert red > 500 and "bits/s" in words
    assert app.on_ask(None, "x", "").__next__()[0] == "Choose an ECG first."
    assert "two options" in list(app.on_ask(loaded, "x", "one"))[-1][0]


def test_a_picture_is_digitised_or_said_not_to_be(app, tmp_path):
    """A page is drawn over with its digitised traces and measured, in the layout that is given, and not continued."""
    picture = ROOT / "examples/ecgs/right_bundle_branch_block.png"
    _, loaded, message, drawn, *_ = app.on_first([str(picture)])
    assert "what was read, as 3x4+R, 25 mm/s and 10 mm/mV" in message and loaded.measured["qrs"] > 120
    assert (np.asarray(drawn) != np.asarray(Image.open(picture).convert("RGB"))).any()
    image, words = app.findings(loaded)
    assert "calibrated probabilities" in words and "class='share'" in words and image.size[0] > 500
    assert "not continued" in app.on_signal(app.forecast)(loaded)[1]
    Image.open(picture).resize((420, 280)).save(tmp_path / "small.png")
    _, loaded, message, drawn, _, numbers, *_ = app.on_first([str(tmp_path / "small.png")], "3x4+R")
    assert "was not digitised" in message and "too small" in message and not numbers and loaded.recording is None
    assert "no ECG traces" in app.on_signal(app.tokens)(loaded)[1]


def save_ecg(path, signal: np.ndarray) -> list[str]:
    """Writes an upload of a signal of twelve leads at 500 Hz."""
    np.savez_compressed(path, signal=np.float32(signal), sampling_rate=500, lead_names=list(LEADS), units="mV")
    return [str(path)]


def test_what_is_no_ecg_is_refused_everywhere(app, tmp_path):
    """Nothing is measured, found, forecast or chosen about what is no ECG; every place says why in a sentence."""
    rng = np.random.default_rng(0)
    Image.new("RGB", (1600, 1200), "white").save(tmp_path / "white.png")
    Image.fromarray(rng.integers(0, 255, (800, 1100, 3), dtype=np.uint8)).save(tmp_path / "noise.png")
    save_ecg(tmp_path / "noise.npz", rng.normal(0, 0.3, (12, 5000)))
    for name, why in (("white.png", "is blank"), ("noise.png", "no ECG traces"), ("noise.npz", "white noise")):
        _, loaded, message, _, _, numbers, *_ = app.on_first([str(tmp_path / name)])
        assert "class='problem'" in message and why in message and not numbers
        for options in ("", "sinus rhythm, atrial fibrillation"):
            text, shares, checked = list(app.on_ask(loaded, "Which rhythm is it?", options))[-1]
            assert why in text and not shares and not checked
        for what in (app.findings, app.tokens, app.forecast):
            shown, words = app.on_signal(what)(loaded)
            assert shown["value"] is None and not shown["visible"] and why in words
        assert list(app.on_compare(loaded, loaded, ""))[-1][1] == ""


def test_uploads_and_questions_are_bounded(app, tmp_path):
    """Too large uploads and questions are refused in a sentence, before they are worked on."""
    Image.new("1", (9000, 9000)).save(tmp_path / "huge.png")
    Image.new("1", (30000, 30000)).save(tmp_path / "bomb.png")
    small = save_ecg(tmp_path / "small.npz", np.zeros((12, 10)))
    bomb = save_ecg(tmp_path / "bomb.npz", np.zeros((12, app.MAX_SAMPLES // 12 + 1)))
    (tmp_path / "large.csv").write_bytes(b"0" * (app.MAX_BYTES + 1))
    refused = [
        ([str(tmp_path / "huge.png")], "9000 x 9000 pixels"),
        ([str(tmp_path / "bomb.png")], "pixels are the most"),
        (bomb, "an hour of twelve leads"),
        ([str(tmp_path / "large.csv")], "of 20 MB"),
        (small * (app.MAX_FILES + 1), "Up to 20 files"),
    ]
    for paths, why in refused:
        _, loaded, message, *_ = app.on_first(paths)
        assert loaded is None and "cannot be read" in message and why in message and str(tmp_path) not in message
        assert "truncated" not in message
    loaded = app.load(app.example_path("Sinus rhythm"))
    many = ", ".join(f"rhythm {k}" for k in range(app.MAX_OPTIONS + 1))
    for question, options in (("x" * (app.MAX_WORDS + 1), ""), ("Which rhythm is it?", many)):
        assert "are the most" in list(app.on_ask(loaded, question, options))[-1][0]
    assert "500 letters" in list(app.on_compare(loaded, loaded, "x" * (app.MAX_WORDS + 1)))[-1][0]


def test_a_forecast_is_drawn_only_where_it_is_the_nearest(app):
    """A forecast is drawn only where it is nearer to the recording's own end than forecasts without a model."""
    drawn = {}
    for name in ("Sinus rhythm", "Atrial fibrillation", "Right bundle branch block"):
        loaded = app.load(app.example_path(name))
        page, words = app.forecast(loaded)
        inputs = app.pipe().processor.feature_extractor(loaded.recording, return_tensors="pt")
        signal = inputs["input_values"][0].numpy()
        known = {key: values[..., :-200] for key, values in inputs.items()}
        tried = app.pipe().model.forecast(**known, seconds=2.0)[0].numpy()
        all_three = tried, repeat_last_beat(signal[:, :-200], 200, 100), 0 * tried
        errors = [1000 * np.sqrt(np.mean((each - signal[:, -200:]) ** 2)) for each in all_three]
        assert [int(number) for number in re.findall(r"(\d+) µV", words)] == [round(error) for error in errors]
        assert (page is not None) == (errors[0] == min(errors)) == ("no forecast is drawn" not in words)
        drawn[name] = page is not None
    assert not drawn["Atrial fibrillation"] and any(drawn.values())
    short = app.load(app.example_path("Sinus rhythm"))
    short.recording = short.recording | {"signal": short.recording["signal"][:, :1000]}
    assert "needs 6 s" in app.forecast(short)[1]


def test_what_a_finding_rests_on_is_seen_on_the_page(app):
    """The interval lies near the end of lead I, which a page of 3x4 does not show there."""
    page, words = app.findings(app.load(app.example_path("Right bundle branch block")))
    shaded = (np.asarray(page) == (255, 226, 120)).all(axis=2)
    assert "shaded below" in words and shaded.sum() > 100


def test_findings_of_a_long_recording_are_those_of_a_window(app, tmp_path):
    """Findings of long recordings are not explained, and the words name the window that is drawn."""
    signal = np.tile(read_ecg(ROOT / "examples/ecgs/sinus_rhythm.hea").signal, 8)
    page, words = app.findings(app.load(save_ecg(tmp_path / "long.npz", signal)))
    assert page is not None and re.search(r"statements of the 10 s from \d+ s on", words) and "rests" not in words


def test_words_for_quality_and_probabilities():
    """Words are plain, not names in code; no probability is certain; an angle changes by the shorter way."""
    warnings = ["baseline:V3", "noise:V1", "baseline:V5", "units_assumed_mV", "strip_unknown:1"]
    assert showing.words_of(warnings) == [
        "Wandering baseline (V3, V5)",
        "Noise (V1)",
        "The file names no unit, so its values were taken for mV",
        "Strip unknown (1)",
    ]
    told = [showing.share_words(share) for share in (0.0, 0.004, 0.01, 0.5, 0.99, 0.996, 1.0)]
    assert told == ["< 1 %", "< 1 %", "1 %", "50 %", "99 %", "> 99 %", "> 99 %"]
    first, second = ({"qrs": qrs, "qrs_axis": axis, "pr": 160.0} for qrs, axis in ((92.0, 170.0), (148.0, -170.0)))
    table = showing.changes(first, second | {"pr": None})
    assert "92 → 148\N{NO-BREAK SPACE}ms" in table and "<b>+56</b>" in table and "<b>+20</b>" in table
    assert "160 → –" in table


def test_the_page_keeps_nothing_and_shares_nothing(app, served):
    """No component offers to publish an ECG; no run is recorded; waiting and kept sessions have a limit."""
    images = [block for block in served.blocks.values() if isinstance(block, gr.Image)]
    assert len(images) == 6 and all(image.buttons == ["fullscreen"] for image in images)
    assert served.run_history is False and served.max_file_size == app.MAX_BYTES
    assert served._queue.max_size == 64
