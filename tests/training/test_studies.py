"""The commands of studies: each prints its table."""

import argparse
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from support.commands import run_main

from heartcare import BeatConfig
from heartcare.studies import benchmark_beat, probe_beat, reading_study
from heartcare.studies.beat_variants import VARIANTS
from heartcare.studies.first_try import __main__ as first_try
from heartcare.studies.first_try.rows import Given, Rows, expect, stopped
from heartcare.training.ptbxl import PTBXL


def test_lexicon_table(root, shared, tmp_path):
    import gzip

    (tmp_path / "ptbxl_database.csv").write_bytes(gzip.open(shared / "ptbxl_database.csv.gz").read())
    table = run_main("heartcare.studies.evaluate_lexicon", "--ptbxl", tmp_path, "--folds", 9).stdout
    assert (
        table.startswith("2183 reports")
        and re.search(r"^SR +1670 +\d+ +0\.99\d +0\.99\d$", table, re.M)
        and "micro F1" in table
    )


def test_quality_table(root, ptbxl_folder):
    table = run_main("heartcare.studies.evaluate_quality", "--ptbxl", ptbxl_folder, "--fold", 6).stdout
    assert (
        re.search(r"^\| as it is \| 0.0% \| 0.0% \| 100.0% \|$", table, re.M)
        and "| baseline | baseline_drift | 0 | nan |" in table
    )
    assert re.search(r"^\| LA/RA \| [1-9]\d+.\d% ", table, re.M)


def test_benchmark_of_the_agent(root, ptbxl_folder):
    table = run_main(
        "heartcare.studies.benchmark_agent",
        "--record",
        ptbxl_folder / "records100/00000/00001_lr",
        "--skip-references",
    ).stdout
    rate = float(re.search(r"draw 1650x1275 +[\d.]+ ms +([\d.]+) /s", table)[1])
    assert rate > 5 and "read and clean, 100 Hz" in table and "questions and answers" in table


@pytest.mark.slow
def test_benchmark_of_beat(root):
    printed = run_main("heartcare.studies.benchmark_beat", "--model", root, "--batches", 2, "--hours", 0.05).stdout
    rates = {
        what: float(rate.replace(",", "")) for what, rate in re.findall(r"^\| (.*?) \| ([\d,]+) \|", printed, re.M)
    }
    # docs/beat.md has what a quiet machine does; here other tests may be running.
    assert (
        rates["codes from a signal: Beat"] > 3 * rates["codes from a signal: paper, as published"]
        and "training step: Beat" in rates
    )
    assert "0.05 h of 12 leads at 250 Hz as a stream: 36 segments" in printed


def test_benchmark_of_beat_counts_the_seconds_of_each(beat, monkeypatch):
    def two_seconds(calls, device):
        for each in calls.values():
            each()
        return dict.fromkeys(calls, 2.0)

    monkeypatch.setattr(benchmark_beat, "median_seconds", two_seconds)
    args = argparse.Namespace(device="cpu", compile=False, onnx=False, bf16=True)
    found = benchmark_beat.measure(benchmark_beat.paper("cpu").eval(), beat, 3, args)
    assert set(found["training step"]) == {"paper", "paper, bf16", "Beat", "Beat, bf16"}
    for rows in found.values():
        assert rows == {who: 3 * (5 if who.startswith("Beat") else 4) / 2 for who in rows}


def test_fidelity_of_beat(root, tmp_path, ptbxl_folder):
    drawn = tmp_path / "fidelity.png"
    options = ["--models", root, root, "--ptbxl", ptbxl_folder, "--fold", 5, "--picture", drawn]
    printed = run_main("heartcare.studies.beat_fidelity", *options).stdout
    rows = {name: cells.split(" | ") for name, cells in re.findall(r"^\| (.*?) \| (.*) \|$", printed, re.M)}
    assert (
        rows["bits/s"] == ["135", "135"]
        and float(rows["correlation"][0]) > 0.8
        and rows["RMSE of V3, uV"][0] == rows["RMSE of V3, uV"][1]
    )
    name = "MSE of the forecast, in variances: Beat / zero / last beat repeated"
    forecast, zero, repeated = (float(value) for value in rows[name][0].split(" / "))
    assert rows["length of the forecast, s"] == ["2.5", "2.5"] and forecast < min(zero, repeated)
    assert float(rows["R-peak F1, 50 ms"][0]) > 0.9 and Image.open(drawn).size == (1100, 1860)


@pytest.mark.slow
def test_study_of_beat_goes_on_where_it_was(root, tmp_path, ptbxl_folder):
    options = [
        "--output",
        tmp_path / "study",
        "--ptbxl",
        ptbxl_folder,
        "--cache",
        tmp_path,
        "--steps",
        2,
        "--batch-size",
        2,
    ]
    run_main("heartcare.studies.beat_study", *options, "--only", "leads_8", cwd=tmp_path)
    (tmp_path / "study/leads_8.json").write_text(
        (tmp_path / "study/leads_8.json").read_text().replace('"steps": 2', '"steps": 3')
    )
    printed = run_main(
        "heartcare.studies.beat_study",
        *options,
        "--only",
        "leads_8",
        "fsq",
        "--plot",
        tmp_path / "a.svg",
        cwd=tmp_path,
    ).stdout
    assert (
        "8 independent leads" in printed
        and "finite scalar" in printed
        and (tmp_path / "a.svg").read_text().startswith("<svg")
    )
    assert '"steps": 3' in (tmp_path / "study/leads_8.json").read_text()  # what is done is not done again


def test_study_of_encoders_trains_and_scores_each(tmp_path, ptbxl_folder, capsys):
    options = ["--ptbxl", ptbxl_folder, "--cache", tmp_path, "--steps", 2, "--batch-size", 4]
    reading_study.main([str(option) for option in (*options, "--only", "late", "jepa")])
    heading, _, *rows = capsys.readouterr().out.strip().splitlines()
    assert heading.startswith("| encoder | super | form |")
    assert [row.split(" | ")[0][2:] for row in rows] == [reading_study.ENCODERS[name][0] for name in ("late", "jepa")]
    assert all(float(row.strip("| ").split(" | ")[-1]) > 0 for row in rows)


def test_jepa_teaches_the_encoder_to_foresee_itself(tmp_path, ptbxl_folder):
    """The stage without labels moves all of the encoder, and most of a window is hidden from it."""
    data = PTBXL(ptbxl_folder, range(1, 9), tmp_path)
    torch.manual_seed(0)
    reader = reading_study.Reader(BeatConfig(**reading_study.ENCODERS["jepa"][1]), 76)
    before = [parameter.clone() for parameter in reader.beat.encoder.parameters()]
    args = argparse.Namespace(seed=0, steps=3, batch_size=4, bf16=False)
    reading_study.learn_without_labels(reader, data, args)
    after = list(reader.beat.encoder.parameters())
    assert sum(not torch.equal(*pair) for pair in zip(before, after)) > 0.9 * len(before)
    assert all(parameter.requires_grad for parameter in after)
    hidden = reading_study.hidden_patches(64, reader.beat.config, np.random.default_rng(0))
    assert hidden.shape == (64, 25) and 0.55 < hidden.float().mean() < 0.78


def test_windows_of_other_starts():
    """A shift takes the first half of a record later and the second half earlier; without one it is as recorded."""
    seen = []

    class Echo:
        def encode(self, signals, lead_mask):
            seen.append(signals)
            return SimpleNamespace(latents=signals[:, :2, :5], gain=torch.ones(len(signals)))

    class Ramp:
        def __len__(self):
            return 3

        def signals(self, start, stop):
            return torch.arange(8.0).expand(min(stop, 3) - start, 12, 8)

    for shift in (0, 2):
        core, others, gain = probe_beat.latents(Echo(), Ramp(), shift=shift, batch_size=2)
        assert core.count_nonzero() == 0 and len(others) == 3 and torch.equal(gain, torch.zeros(3, 1))
    assert seen[0][0, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert seen[2][0, 0].tolist() == [2, 3, 4, 5, 2, 3, 4, 5]


def test_each_epoch_learns_from_the_next_start():
    """Epochs over two starts differ from the same number of epochs over the first one."""
    starts = [(torch.randn(6, 5, 4), torch.randn(6, 5, 4), torch.randn(6, 1)) for _ in range(2)]
    labels = torch.rand(6, 76)
    one, same, two = (
        probe_beat.HiddenProbe(tokens, labels, 4, 0)(starts[0]) for tokens in (starts[:1], starts[:1] * 2, starts)
    )
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - two).max() > 1e-4


def test_rows_of_the_first_try_tell_what_happened(tmp_path, capsys):
    """The rows are right, wrong, stopped by a library, and by a test that is there or is not."""
    rows, given = Rows(), Given(str(tmp_path), tmp_path, tmp_path)
    rows.row("right")(lambda given: "a | b")
    rows.row("wrong")(lambda given: expect(1 > 2, 1))
    rows.row("crash")(lambda given: 1 / 0)
    rows.row("exit")(lambda given: sys.exit("no"))
    rows.row("stopped")(lambda given: stopped(lambda: int("x"), "invalid literal"))
    rows.row("not stopped")(lambda given: stopped(lambda: int("1"), "invalid literal"))
    rows.row("stopped otherwise")(lambda given: stopped(lambda: int("x"), "no network"))
    (tmp_path / "test_a.py").write_text("def test_a():\n    assert 1\n\n\ndef test_b():\n    assert 0\n")
    for name in ("a", "b", "c"):
        rows.by_test(f"test {name}", f"test_a.py::test_{name}")
    verdicts = ["OK", "FAIL", "FAIL", "FAIL", "LIB", "FAIL", "FAIL"]
    assert first_try.run(rows.all, given, hub=False, slow=False) == [*verdicts, "by test", "by test", "FAIL"]
    printed = capsys.readouterr().out.splitlines()
    assert printed[2] == r"| right | OK | a \| b |" and printed[3] == "| wrong | FAIL | AssertionError: got 1 |"
    assert first_try.run(rows.all[-3:], given, hub=False, slow=True) == ["OK", "FAIL", "FAIL"]


def test_rows_of_the_first_try_are_chosen_by_name(root, capsys):
    with pytest.raises(SystemExit):
        first_try.main(["--model", str(root), "--row", "no such row"])
    assert "No row holds 'no such row'" in capsys.readouterr().err
    assert first_try.main(["--model", str(root), "--row", "Windows"]) == 0
    (_, _, row) = capsys.readouterr().out.splitlines()
    assert row.startswith("| Windows") and row.endswith("| OK | none |")


POOLINGS = ("mean", "attention", "attention, hidden layer")


@pytest.mark.slow
def test_probe_of_beat(root, tmp_path, ptbxl_folder):
    teacher = ["--ptbxl", ptbxl_folder, "--cache", tmp_path, "--output", tmp_path / "teacher"]
    trained = run_main("heartcare.training.teacher", "train", *teacher, "--network", "resnet", "--epochs", 1).stdout
    assert "macro_auc_fold_9" in trained
    study = ["--ptbxl", ptbxl_folder, "--cache", tmp_path, "--output", tmp_path / "study", "--only", "paper"]
    run_main("heartcare.studies.beat_study", *study, "--steps", 1, "--batch-size", 2)
    options = ["--ptbxl", ptbxl_folder, "--models", root, "--random", "--fold", 10, "--epochs", 2, "--cache", tmp_path]
    options += ["--hidden-epochs", 2]
    printed = run_main(
        "heartcare.studies.probe_beat",
        *options,
        "--supervised",
        tmp_path / "teacher",
        "--study",
        tmp_path / "study",
        "--designs",
        "paper",
        "--leads",
        "3x4+II",
    ).stdout
    assert (
        printed.count(", 3x4+II | attention, hidden layer, this alone | ")
        == printed.count(", 3x4+II | attention, hidden layer, all patterns | ")
        == 3
    )
    assert "| no Beat: resnet, supervised | – | " in printed and "| no Beat: mean, supervised | – | " in printed
    for name in (str(root), "random weights", VARIANTS["paper"].words):
        for pooling in POOLINGS:
            (score,) = re.findall(rf"^\| {re.escape(f'{name} | {pooling} | ')}([\d.]+|–)", printed, re.M)
            assert score == "–" or 0 <= float(score) <= 1
