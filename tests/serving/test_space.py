"""The Space in a real browser: upload, ask, compare, tokens, forecast, bad file, at the width of a desk and of a phone;
no errors in the console.
"""

import os
import re
import shutil
import time

import numpy as np
import pytest
from PIL import Image
from support.paths import ROOT

from heartcare.measuring_heartcare import MEASURED, Measurements

gr = pytest.importorskip("gradio")
sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")


@pytest.fixture(scope="module")
def app():
    os.environ["MODEL"] = str(ROOT)
    from heartcare.examples.space import app

    app.MODEL = str(ROOT)
    app.pipe()
    return app


@pytest.fixture(scope="module")
def address(app):
    page = app.build()
    _, url, _ = app.launch(page, prevent_thread_lock=True, server_name="127.0.0.1", quiet=True)
    yield url
    page.close()


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desk", "phone"])
def page(request, browser, address):
    """A tab, whose errors are the test's."""
    width, height = request.param
    context = browser.new_context(viewport={"width": width, "height": height}, has_touch=width < 500)
    tab = context.new_page()
    errors = []
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.route(
        "**/*", lambda route: route.continue_() if "127.0.0.1" in route.request.url else route.abort()
    )  # nothing is fetched from elsewhere
    tab.goto(address)
    tab.wait_for_selector("#upload")
    yield tab
    context.close()
    ours = [error for error in errors if "ERR_FAILED" not in error]  # what was not fetched
    assert not ours, ours


def upload(page, selector: str, *files):
    page.set_input_files(f"{selector} input[type=file]", [str(file) for file in files])


def open_tab(page, name: str):
    """By its head, or on a narrow page by the menu of those that have no room."""
    page.wait_for_timeout(300)
    head = page.get_by_role("tab", name=name).first
    if head.count() and head.is_visible():
        head.click()
    else:
        page.locator(".overflow-menu > button").first.click()
        page.locator(".overflow-dropdown button", has_text=name).first.click()


def shot(page, name: str):
    """Kept where SCREENSHOTS says, to be looked at."""
    if folder := os.environ.get("SCREENSHOTS"):
        width = page.viewport_size["width"]
        page.wait_for_timeout(400)
        page.screenshot(path=f"{folder}/{name}-{width}.png", full_page=True)


def expect_answer(page, text: str, selector: str = "#answer"):
    """Waits until the whole answer is `text`; it is written piece by piece."""
    whole = re.compile(f"^{re.escape(text)}\\s*$")
    sync_api.expect(page.locator(f"{selector} textarea")).to_have_value(whole, timeout=60_000)


def test_upload_ask_and_compare(page, app):
    record = ROOT / "examples/ecgs/right_bundle_branch_block"
    started = time.perf_counter()
    upload(page, "#upload", record.with_suffix(".hea"), record.with_suffix(".dat"))
    page.wait_for_selector("#drawing img")
    print(f"drawn {time.perf_counter() - started:.2f} s after the upload")
    assert page.locator("#numbers .numbers b").count() == len(MEASURED)
    assert page.locator("#numbers").inner_text().count("–") < 3
    sync_api.expect(page.locator("#message")).to_contain_text("right_bundle_branch_block")
    unnamed = """() => [...document.querySelectorAll('img, input:not([type=hidden]), textarea, button')]
        .filter(e => e.offsetParent && !(e.alt || e.innerText || e.ariaLabel || e.title || e.labels?.length ||
            e.querySelector('img')?.alt))
        .map(e => e.outerHTML)"""
    assert page.evaluate(unnamed) == []  # by which a screen reader tells what is there
    assert page.evaluate("document.documentElement.lang && document.documentElement.scrollWidth <= innerWidth")
    shot(page, "drawn")

    page.locator("#question textarea").fill("What is the rhythm?")
    page.keyboard.press("Enter")
    expect_answer(page, app.pipe()(str(record), question="What is the rhythm?")["text"])
    page.locator("#options textarea").fill("sinus rhythm, atrial fibrillation")
    page.locator("#question textarea").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#shares")
    sync_api.expect(page.locator("#shares")).to_contain_text("%", timeout=20_000)
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
    shot(page, "findings")

    open_tab(page, "Compare")
    other = ROOT / "examples/ecgs/atrial_fibrillation"
    upload(page, "#upload-second", other.with_suffix(".hea"), other.with_suffix(".dat"))
    page.wait_for_selector("#second img")
    page.locator("#compare-question button").click()
    pair = {"ecgs": [str(record), str(other)]}
    expect_answer(page, app.pipe()(pair, question=app.COMPARE.format(app.TOPICS[0]))["text"], "#compared")
    page.get_by_role("button", name="Electrical axis").click()
    sync_api.expect(page.locator("#compare-question textarea")).to_have_value(app.COMPARE.format("electrical axis"))
    expect_answer(page, app.pipe()(pair, question=app.COMPARE.format("electrical axis"))["text"], "#compared")
    shot(page, "compared")


def test_examples_quality_tokens_and_forecast(page):
    page.get_by_role("button", name="Atrial fibrillation").first.click()
    page.wait_for_selector("#drawing img")
    open_tab(page, "Quality")
    assert page.locator("#quality tbody tr").count() == 12
    open_tab(page, "Tokens")
    page.locator("#show-tokens").click()
    page.wait_for_selector("#tokens img")
    sync_api.expect(page.locator("#tokens-text")).to_contain_text("135 bits/s")
    shot(page, "tokens")
    open_tab(page, "Forecast")
    page.locator("#show-forecast").click()
    page.wait_for_selector("#forecast img")
    shot(page, "forecast")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")  # nothing sticks out sideways
    page.get_by_role("button", name="A page on paper").first.click()
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
    """Without a browser: what is decoded in red is what Beat decodes, what is absent is said."""
    np.savez(
        tmp_path / "two.npz",
        signal=np.random.default_rng(0).normal(0, 0.2, (2, 5000)),
        sampling_rate=500,
        lead_names=["I", "V1"],
        units="mV",
    )
    loaded, message, drawn, _, _, quality, *_ = app.on_first(str(tmp_path / "two.npz"))
    assert (
        loaded.lead_mask.any(axis=1).sum() == 2
        and quality.count("absent") == 10
        and drawn.size == loaded.page.size
        and "two.npz" in message
    )
    for name, value, unit in Measurements(**loaded.measured).as_rows():
        assert f"{name[1:]}</span><b>{value}</b><span>{unit}</span>" in loaded.numbers
    page, words = app.tokens(loaded)
    red = (np.asarray(page)[..., 0].astype(int) - np.asarray(page)[..., 1] > 120).sum()
    assert red > 500 and "bits/s" in words
    assert app.on_ask(None, "x", "").__next__()[0] == "Choose an ECG first."
    assert "two options" in list(app.on_ask(loaded, "x", "one"))[-1][0]


def test_a_picture_is_digitised_or_said_not_to_be(app, tmp_path):
    """What was read is drawn over it and measured, in the layout that is given; a page is not continued."""
    picture = ROOT / "examples/ecgs/right_bundle_branch_block.png"
    loaded, message, drawn, *_ = app.on_first(str(picture))
    assert "what was read, as 3x4+R, 25 mm/s and 10 mm/mV" in message and loaded.measured["qrs"] > 120
    assert (np.asarray(drawn) != np.asarray(Image.open(picture).convert("RGB"))).any()
    image, words = app.on_signal(app.findings)(loaded)
    assert "| statement | probability |" in words and image.size[0] > 500
    assert "not continued" in app.on_signal(app.forecast)(loaded)[1]
    Image.open(picture).resize((420, 280)).save(tmp_path / "small.png")
    loaded, message, drawn, _, numbers, *_ = app.on_first([str(tmp_path / "small.png")], "3x4+R")
    assert "was not digitised" in message and "too small" in numbers and loaded.signal is None
    assert "was not digitised" in app.on_signal(app.tokens)(loaded)[1]
