"""The report of a benchmark on a wide page and on a phone: its drawings and tables have their size."""

import json

import pytest

from heartcare.bench.controls import MAJORITY, MODEL, OTHER, TEXT
from heartcare.bench.report import versions_line, write_report
from heartcare.bench.scorers import ACCURACY

GROUPS = ("diagnosis closed", "electrical axis closed", "rhythm closed", "waveform closed")


def write_result(folder, name: str):
    """Returns a result with one table of closed questions, four control rows, and numbers of the usual lengths."""
    score = [0.512, 0.432, 0.589]
    row = {"n": 160, "score": score, "groups": {group: {"score": score} for group in GROUPS}}
    row |= {"invalid": 0.0, "ece": 0.08, "selective": {"accuracy_50": 0.637, "aurc": 0.347}}
    table = {"primary": ACCURACY, "lower_is_better": False, "rows": dict.fromkeys((MODEL, MAJORITY, TEXT, OTHER), row)}
    result = {
        "format": 1,
        "model": {"name": name, "weights": "0" * 64},
        "benchmark": {"name": "heartcare-bench", "split": "validation", "version": 1, "manifest": "0" * 64},
        "settings": {"seed": 0},
        "versions": {"python": "3.11", "torch": "2.6"},
        "tables": {"S/closed-qa": table},
        "verdicts": [],
        "items": {},
    }
    (folder / f"{name}.json").write_text(json.dumps(result))


@pytest.mark.parametrize(
    ("model", "versions", "sentence"),
    [
        ({"heartcare_version": "0.2.0"}, {"heartcare": "0.3.0"}, "made by heartcare 0.2.0, scored by heartcare 0.3.0"),
        ({"heartcare_version": None}, {"heartcare": "1.0"}, "made by heartcare before 0.2.0, scored by heartcare 1.0"),
        ({}, {"heartcare": "0.3.0"}, "scored by heartcare 0.3.0"),
        ({}, {"torch": "2.6"}, "scored by heartcare before 0.2.0"),
    ],
)
def test_results_of_all_times_tell_who_made_and_scored_them(model, versions, sentence):
    """Models of others have no version of ours, and results of before 0.2.0 do not name it."""
    assert versions_line({"model": {"name": "m"} | model, "versions": versions}) == f"m: {sentence}."


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("models", [1, 2])
def test_report_has_readable_drawings_and_whole_tables(browser, tmp_path, width, models):
    for k in range(models):
        write_result(tmp_path, f"a model of {k}.7B")
    page = browser.new_page(viewport={"width": width, "height": 844})
    page.goto(write_report(tmp_path).as_uri())
    cut = "[document.documentElement, ...document.querySelectorAll('.scroll')].map(e => e.scrollWidth - e.clientWidth)"
    assert max(page.evaluate(cut)) <= 0
    sizes = page.evaluate("[...document.querySelectorAll('svg')].map(e => 12 * e.getScreenCTM().a)")
    assert len(sizes) == 1 + models and all(11 <= size <= 15 for size in sizes)  # pixels of the words in them
    radar = """(() => {const svg = document.querySelector('svg'), outer = svg.getBoundingClientRect();
        const boxes = [...svg.children].map(child => child.getBoundingClientRect());
        const edge = (side, choose) => choose(...boxes.map(box => box[side]));
        return [edge('left', Math.min) - outer.left, outer.right - edge('right', Math.max),
                (edge('bottom', Math.max) - edge('top', Math.min)) / outer.height]})()"""
    left, right, height = page.evaluate(radar)
    assert left >= 0 and right >= 0 and height > 0.8  # no word is cut, little is blank
    page.close()
