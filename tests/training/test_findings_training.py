"""The training of the head for findings: its views, labels and loss, and the commands that train and score it."""

import math

import numpy as np
import pytest
import torch
from support.commands import run_main

from heartcare import HeartcareForConditionalGeneration
from heartcare.agent.statements import NAMES
from heartcare.findings_heartcare import NUMBERS
from heartcare.training.finding_views import KINDS, Views
from heartcare.training.findings import LABELS, NOTES, loss_of, notes_labels
from heartcare.training.ptbxl import PTBXL


def test_views_are_what_the_processor_would_make(ptbxl_folder, tiny, tmp_path):
    data = PTBXL(ptbxl_folder, [9], tmp_path)
    views = Views(tiny.beat, data, tmp_path, "fold9")
    whole, shifted = views.view("whole"), views.view("whole", shift=100)
    inputs = views.extractor(
        [{"signal": data.signal(i), "sampling_rate": 100, "units": "mV"} for i in range(len(data))], return_tensors="pt"
    )
    tokens = tiny.beat.encode(torch.from_numpy(np.stack([data.signal(i) for i in range(len(data))])))
    assert np.array_equal(whole.codes, tokens.codes.numpy()) and inputs["input_values"].shape[-1] == 1000
    assert (shifted.codes != whole.codes).any() and np.array_equal(shifted.numbers, whole.numbers, equal_nan=True)
    assert whole.numbers.shape == (len(data), len(NUMBERS)) and np.isfinite(whole.numbers[:, 0]).all()
    for kind in ("leads", "window"):
        view, again = views.view(kind, 1), Views(tiny.beat, data, tmp_path / "other", "fold9").view(kind, 1)
        assert all(np.array_equal(one, other, equal_nan=True) for one, other in zip(view, again))
        assert (view.codes[:, 0] >= 0).any(axis=1).all()
    assert (views.view("window", 1).codes < 0).any() and set(KINDS) == {"whole", "leads", "window"}


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
    explained = run_main("heartcare.studies.evaluate_explain", "--model", tmp_path / "found", "--count", "1").stdout
    assert "the ectopic beat" in explained
