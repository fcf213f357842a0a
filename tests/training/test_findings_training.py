"""The training of the head for findings: its views, labels and loss, and the commands that train and score it."""

import ast
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from support.commands import run_main

import heartcare
from heartcare import HeartcareForConditionalGeneration
from heartcare.agent.statements import NAMES
from heartcare.explaining_heartcare import Explanation
from heartcare.findings_heartcare import NUMBERS
from heartcare.studies.evaluate_explain import names_the_place
from heartcare.training import caches
from heartcare.training.finding_views import KINDS, View, Views
from heartcare.training.findings import BATCH, LABELS, NOTES, Reader, loss_of, notes_labels, train_head
from heartcare.training.lead_patterns import PATTERNS
from heartcare.training.ptbxl import PTBXL


def test_views_are_what_the_processor_would_make(ptbxl_folder, tiny, tmp_path):
    data = PTBXL(ptbxl_folder, [9], tmp_path)
    views = Views(tiny.beat, data, tmp_path)
    whole, shifted = views.view("whole"), views.view("whole", shift=100)
    inputs = views.extractor(
        [{"signal": data.signal(i), "sampling_rate": 100, "units": "mV"} for i in range(len(data))], return_tensors="pt"
    )
    tokens = tiny.beat.encode(torch.from_numpy(np.stack([data.signal(i) for i in range(len(data))])))
    assert np.array_equal(whole.codes, tokens.codes.numpy()) and inputs["input_values"].shape[-1] == 1000
    assert (shifted.codes != whole.codes).any() and np.array_equal(shifted.numbers, whole.numbers, equal_nan=True)
    assert whole.numbers.shape == (len(data), len(NUMBERS)) and np.isfinite(whole.numbers[:, 0]).all()
    for kind in ("leads", "window"):
        view, again = views.view(kind, 1), Views(tiny.beat, data, tmp_path / "other").view(kind, 1)
        assert all(np.array_equal(one, other, equal_nan=True) for one, other in zip(view, again))
        assert (view.codes[:, 0] >= 0).any(axis=1).all()
    assert (views.view("window", 1).codes < 0).any() and set(KINDS) == {"whole", "leads", "window"}


def test_a_view_is_named_by_all_that_it_is_made_of(ptbxl_folder, tiny, tmp_path, monkeypatch):
    data, cache = PTBXL(ptbxl_folder, [9], tmp_path), tmp_path / "views"

    def files_after(*given):
        Views(tiny.beat, *given).view("leads")
        return len(list(cache.iterdir()))

    assert files_after(data, cache) == files_after(data, cache) == 2  # its codes and its numbers
    assert files_after(PTBXL(ptbxl_folder, [9], tmp_path, 1), cache) == 4
    with monkeypatch.context() as changed:
        changed.setitem(PATTERNS, "6x2", PATTERNS["3x4"])
        changed.setitem(PATTERNS, "12 leads", PATTERNS["I"])
        assert files_after(data, cache) == 6
    with monkeypatch.context() as changed:
        changed.setattr(caches, "MEASURING", caches.MEASURING[1:])
        assert files_after(data, cache) == 7  # the codes are not measured
    assert files_after(data, cache) == 7


def test_the_code_that_measures_is_all_that_is_imported_for_it():
    """The constants of the configuration are left out, which hold the names of the leads, and the version."""
    found, left = set(), {"measuring_heartcare", "findings_heartcare"}
    without_part = {"configuration_heartcare", "version_heartcare"}  # in what is measured
    while left:
        name = left.pop()
        found.add(name)
        tree = ast.parse((Path(heartcare.__file__).parent / f"{name}.py").read_text(encoding="utf-8"))
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level}
        left |= modules - found
    names = {module.__name__.rpartition(".")[2] for module in caches.MEASURING}
    assert names == found - without_part


def test_an_interrupted_write_leaves_no_file(tmp_path, monkeypatch):
    path = tmp_path / "numbers.npy"

    def interrupted(file, array):
        file.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as changed:
        changed.setattr(np, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            caches.write_whole(path, np.arange(3))
    assert not path.exists()
    caches.write_whole(path, np.arange(3))
    caches.write_whole(tmp_path / "lines.json", "[1]")
    assert np.load(path).tolist() == [0, 1, 2] and (tmp_path / "lines.json").read_text(encoding="utf-8") == "[1]"


@pytest.mark.parametrize("records", [1, 2, BATCH + 1])
def test_a_batch_may_hold_one_record(tiny_folder, records):
    torch.manual_seed(0)
    model = HeartcareForConditionalGeneration.from_pretrained(tiny_folder)
    model.add_findings_head(LABELS)
    rng, beat = np.random.default_rng(0), model.config.beat_config
    codes = rng.integers(0, 2, (records, beat.num_levels, 10)).astype(np.int16)
    numbers = rng.normal(size=(records, len(NUMBERS))).astype(np.float32)
    view = View(codes, rng.uniform(0.5, 2, records).astype(np.float32), numbers)
    reader = Reader(model)
    statements = torch.from_numpy(rng.random((records, len(NAMES))).astype(np.float32))
    notes = torch.zeros(records, len(NOTES))
    train_head(reader, [view], statements, notes, epochs=2, rate=1e-3)
    logits = reader.logits(view)
    assert logits.shape == (records, len(LABELS)) and logits.isfinite().all()
    torch.testing.assert_close(reader(view, torch.tensor([records - 1]))[0], logits[-1])


def test_an_explanation_names_its_place_only_where_the_finding_falls():
    found = Explanation("CLBBB", 0.9, {"wave": {"QRS": 0.5, "P": 0.1, "ST-T": 0.0, "between beats": -1.0}}, ())
    assert names_the_place("CLBBB", found, []) == (True, 0.5)
    assert names_the_place("AFIB", found, []) == (False, 0.5)
    fallen = Explanation("CLBBB", 0.9, {"wave": {"QRS": -0.1, "P": -0.2}}, ())
    assert names_the_place("CLBBB", fallen, []) == (False, 0.5)
    beats = Explanation("PVC", 0.9, {"beat": {2.0: 0.4, 1.0: 0.0, 3.1: 0.0, 4.0: -0.1}}, ())
    assert names_the_place("PVC", beats, [2.1]) == (True, 0.25) and names_the_place("PVC", beats, [3.1]) == (
        False,
        0.25,
    )
    assert names_the_place("PVC", Explanation("PVC", 0.9, {"beat": {}}, ()), [1.0]) == (False, 0.0)


def test_notes_are_labels_where_they_tell():
    class Data:
        rows = [
            {
                "scp_codes": {"IMI": 100.0},
                "heart_axis": "LAD",
                "infarction_stadium1": "Stadium III",
                "extra_beats": "1VES",
            },
            {"scp_codes": {"NORM": 100.0}, "heart_axis": "", "static_noise": " I-V1"},
            {"scp_codes": {"PVC": 0.0}},
        ]

        def __len__(self):
            return 3

    columns = {f"{topic}:{code}": k for k, (topic, code) in enumerate(NOTES)}
    table = notes_labels(Data())
    assert table.shape == (3, len(LABELS) - len(NAMES)) and list(LABELS)[len(NAMES) :] == list(columns)
    known = [{name for name, k in columns.items() if row[k] == 1} for row in table]
    assert known[0] == {"axis:LAD", "stage:Stadium III", "noise:no-noise", "ectopy:VES", "waveform:no-form"}
    assert known[1] == {"noise:static_noise", "ectopy:no-ectopy", "waveform:no-form"} and known[2] == set()
    assert math.isnan(table[1, columns["axis:MID"]]) and table[1, columns["stage:Stadium III"]] == 0
    assert math.isnan(table[2, columns["noise:no-noise"]]) and table[2, columns["waveform:no-form"]] == 0


def test_unknown_answers_do_not_count():
    torch.manual_seed(0)
    logits = torch.randn(4, len(LABELS), requires_grad=True)
    notes = torch.full((4, len(NOTES)), math.nan)
    notes[0, 3] = 1.0
    loss_of(logits, torch.rand(4, len(NAMES)), notes).backward()
    touched = logits.grad[:, len(NAMES) :] != 0
    assert touched.sum() == 1 and touched[0, 3] and (logits.grad[:, : len(NAMES)] != 0).all()


@pytest.mark.slow
def test_the_head_is_trained_kept_and_scored(ptbxl_folder, tiny_folder, tmp_path):
    common = ["--ptbxl", ptbxl_folder, "--cache", tmp_path / "cache"]
    arguments = [*common, "--model", tiny_folder, "--output", tmp_path / "found", "--epochs", "4"]
    printed = run_main("heartcare.training.findings", *arguments).stdout
    assert "fold 9: {'super':" in printed
    model = HeartcareForConditionalGeneration.from_pretrained(tmp_path / "found")
    assert list(model.config.wordings) == list(LABELS) and (model.findings_head.scale != 1).any()
    assert model.findings_head.thresholds[0] >= model.findings_head.thresholds[-1]
    scored = run_main("heartcare.studies.evaluate_findings", *common, "--model", tmp_path / "found", "--words").stdout
    for words in (
        "codes alone",
        "patterns of leads",
        "the language model, numbers in its prompt",
        "calibrated",
        "fold 9, on which calibration and thresholds were fitted",
        "given to the language model",
        "| 0.90 |",
    ):
        assert words in scored
    told = run_main(
        "heartcare.studies.check_reports", *common[:2], "--model", tmp_path / "found", "--limit", "2"
    ).stdout
    assert "2 reports, " in told and "| all | words |" in told
    refusals = [*common[:2], "--model", tmp_path / "found", "--limit", "1", "--repeats", "1", "--pages", "1"]
    refused = run_main("heartcare.studies.evaluate_refusals", *refusals).stdout
    for row in ("| signals that are no ECG | 23 | 23 | 0 |", "| turned pages | 12 | 12 | 0 |", "| ECGs | 1 | 0 | 1 |"):
        assert row in refused
    compared = run_main(
        "heartcare.studies.evaluate_consistency", *common[:2], "--model", tmp_path / "found", "--limit", "1"
    ).stdout
    assert "| any of these | " in compared and "statements are affirmed per record" in compared
    explained = run_main("heartcare.studies.evaluate_explain", "--model", tmp_path / "found", "--count", "1").stdout
    assert "the ectopic beat" in explained
