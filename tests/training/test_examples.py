"""Every script in examples/ and every code block of the README, as a user runs them."""

import argparse
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from make_examples import main as make_examples
from PIL import Image
from safetensors.torch import load_file
from support.commands import run_main

from heartcare.agent.build import Settings, build
from heartcare.agent.report_pdf import write_pdf_report
from heartcare.agent.simulate import FORMS, RHYTHMS, simulate_ecg
from heartcare.processing_heartcare import BeatFeatureExtractor
from heartcare.studies import benchmark_beat
from heartcare.studies.beat_variants import VARIANTS
from heartcare.training.ptbxl import PTBXL, WithSimulated
from heartcare.training.publish import average


def test_read_ecg_writes_a_report_and_a_drawing(root, tmp_path):
    record = root / "examples/ecgs/atrial_fibrillation"
    question = "Is there atrial fibrillation on this ECG?"
    command = [sys.executable, "-W", "ignore", root / "examples/read_ecg.py", record, "--question", question]
    command += ["--output", tmp_path / "a.png"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Write a report of this ECG.\n    " in done.stdout and "Not for clinical use" in done.stdout
    assert "Is there atrial fibrillation on this ECG?\n    Yes." in done.stdout
    page = Image.open(tmp_path / "a.png")
    assert page.width > 1500 and page.height > 900
    picture = run_main("heartcare.examples.read_ecg", tmp_path / "a.png", "--output", tmp_path / "b.png").stdout
    assert "What is the rhythm?\n    " in picture


def test_read_ecg_reads_what_the_agent_reads(root, tmp_path, ecg):
    write_pdf_report(tmp_path / "report.pdf", ecg.signal, 500, "12x1")
    done = run_main("heartcare.examples.read_ecg", tmp_path / "report.pdf", "--output", tmp_path / "a.png").stdout
    direct = run_main(
        "heartcare.examples.read_ecg", root / "examples/ecgs/sinus_rhythm", "--output", tmp_path / "b.png"
    ).stdout
    assert "What is the rhythm?\n    Sinus rhythm" in done and "Write a report" in direct
    (tmp_path / "bad.pdf").write_bytes(b"%PDF-1.4")
    done = run_main("heartcare.examples.read_ecg", tmp_path / "bad.pdf", "--output", tmp_path / "c.png", check=False)
    assert done.returncode == 1 and "Cannot read this ECG" in done.stderr and "Traceback" not in done.stderr


def test_read_ecg_says_what_is_wrong_and_writes_nothing(root, tmp_path):
    done = run_main("heartcare.examples.read_ecg", tmp_path / "none", "--output", tmp_path / "a.png", check=False)
    assert done.returncode == 1 and "none.hea does not exist" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "a.png").exists()


def test_examples_are_the_simulator_own(root, tmp_path):
    make_examples(["--output", str(tmp_path)])
    files = sorted(tmp_path.iterdir())
    assert len(files) == 9
    for file in (file for file in files if file.suffix != ".png"):  # letters differ between versions of Pillow
        assert file.read_bytes() == (root / "examples/ecgs" / file.name).read_bytes()


def test_training_from_nothing_to_a_model_that_answers(root, ptbxl_folder, tmp_path):
    options = ["--ptbxl", ptbxl_folder, "--cache", tmp_path / "cache"]
    short = [*options, "--steps", 4, "--batch-size", 2, "--save-steps", 2]
    run_main("heartcare.training.resnet1d", *options, "--epochs", 1, "--output", tmp_path / "teacher", cwd=tmp_path)
    # A run that is interrupted and resumed ends with the same weights as one left alone.
    beat = [*short, "--teacher", tmp_path / "teacher", "--simulated", 4]
    run_main("heartcare.training.beat", *beat, "--output", tmp_path / "beat", cwd=tmp_path)
    whole = load_file(tmp_path / "beat/model.safetensors")
    shutil.rmtree(tmp_path / "beat/checkpoint-4")
    (tmp_path / "beat/model.safetensors").unlink()
    run_main("heartcare.training.beat", *beat, "--output", tmp_path / "beat", "--resume", cwd=tmp_path)
    resumed = load_file(tmp_path / "beat/model.safetensors")
    assert whole.keys() == resumed.keys()
    for name in whole:
        np.testing.assert_allclose(resumed[name].numpy(), whole[name].numpy(), atol=2e-6, err_msg=name)

    # New levels are added to what was learnt; the first step of the warm-up moves nothing else.
    more = ["--start", tmp_path / "beat", "--set", "num_levels=4", "--output", tmp_path / "beat180"]
    run_main(
        "heartcare.training.beat",
        *options,
        *more,
        "--steps",
        1,
        "--batch-size",
        2,
        "--simulated",
        0,
        cwd=tmp_path,
    )
    finer = load_file(tmp_path / "beat180/model.safetensors")
    assert all(
        np.array_equal(finer[name].numpy(), resumed[name].numpy()) for name in resumed if "quantizer" not in name
    )
    assert finer["quantizer.levels.3.codebook_uses"].any()

    build(ptbxl_folder, tmp_path / "data", Settings(), progress=False)
    data = ["--data", tmp_path / "data"]
    run_main(
        "heartcare.training.assemble",
        *data,
        "--beat",
        tmp_path / "beat",
        "--output",
        tmp_path / "init",
        "--vocab-size",
        400,
        cwd=tmp_path,
    )
    before = load_file(tmp_path / "init/model.safetensors")
    recipe = [
        "--config",
        root / "training/recipes/default.yaml",
        "--output",
        tmp_path,
        "--set",
        f"data.source={tmp_path / 'data'}",
    ]
    recipe += [
        "--set",
        f"model.start={tmp_path / 'init'}",
        "--set",
        f"data.cache={tmp_path / 'cache'}",
        "--set",
        "data.pictures=4",
    ]
    for stage in ("language", "warmup", "joint"):
        short = [
            f"stages.{stage}.training.{each}"
            for each in ("max_steps=4", "per_device_train_batch_size=2", "save_steps=2")
        ]
        run_main(
            "heartcare.training.heartcare",
            *recipe,
            "--stage",
            stage,
            *[each for value in short for each in ("--set", value)],
            cwd=tmp_path,
        )
        after = load_file(tmp_path / stage / "model.safetensors")
        changed = {
            name.split(".")[0] for name in before if not np.array_equal(before[name].numpy(), after[name].numpy())
        }
        allowed = {
            "language": {"language_model"},
            "warmup": {"signal_projector", "image_projector"},
            "joint": {"language_model", "signal_projector", "image_projector", "vision_tower"},
        }[stage]
        assert changed and changed <= allowed, (stage, changed)
        before = after

    run_main("heartcare.training.publish", "--model", tmp_path / "joint", "--output", tmp_path / "final", cwd=tmp_path)
    both = ("--model", tmp_path / "joint", tmp_path / "warmup")
    run_main("heartcare.training.publish", *both, "--output", tmp_path / "mean", cwd=tmp_path)
    first, second, mean = (load_file(tmp_path / name / "model.safetensors") for name in ("joint", "warmup", "mean"))
    assert first.keys() == mean.keys()
    for name, tensor in mean.items():
        want = ((first[name].float() + second[name].float()) / 2).to(tensor.dtype)
        np.testing.assert_array_equal(tensor.numpy(), want.numpy(), err_msg=name)
    assert (tmp_path / "final/modeling_heartcare.py").exists()
    done = run_main(
        "heartcare.examples.read_ecg",
        root / "examples/ecgs/sinus_rhythm",
        "--model",
        tmp_path / "final",
        "--output",
        tmp_path / "a.png",
    ).stdout
    assert "What is the rhythm?" in done
    table = run_main(
        "heartcare.studies.beat_fidelity", "--ptbxl", ptbxl_folder, "--fold", 9, "--models", tmp_path / "final"
    ).stdout
    assert "| PRD, %, mean / median |" in table and "| codes used, each level |" in table


def test_tied_weights_are_averaged_once_and_other_shapes_refused():
    def tied(value: float) -> torch.nn.Sequential:
        model = torch.nn.Sequential(torch.nn.Embedding(4, 3), torch.nn.Linear(3, 4, bias=False))
        model[1].weight = model[0].weight
        torch.nn.init.constant_(model[0].weight, value)
        return model

    model = tied(1.0)
    average(model, [tied(3.0), tied(5.0)])
    assert (model[1].weight == 3).all() and model[1].weight is model[0].weight
    with pytest.raises(ValueError, match="not of the same shape"):
        average(torch.nn.Linear(3, 4), [torch.nn.Linear(3, 5)])


def test_records_are_found_by_their_id(ptbxl_folder, tmp_path):
    data = PTBXL(ptbxl_folder, range(1, 11), tmp_path)
    expected = {row["ecg_id"]: data.signal(i) for i, row in enumerate(data.rows)}
    shuffled = tmp_path / "shuffled"
    shuffled.mkdir()
    head, *lines = (ptbxl_folder / "ptbxl_database.csv").read_text().splitlines()
    (shuffled / "ptbxl_database.csv").write_text("\n".join([head, *reversed(lines)]))
    again = PTBXL(shuffled, range(1, 11), tmp_path)
    assert again.rows[0]["ecg_id"] == "40"
    assert all(np.array_equal(again.signal(i), expected[row["ecg_id"]]) for i, row in enumerate(again.rows))
    assert not {row["patient_id"] for row in PTBXL(ptbxl_folder, [9], tmp_path).rows} & {
        row["patient_id"] for row in PTBXL(ptbxl_folder, range(1, 9), tmp_path).rows
    }


def test_simulated_records_stand_behind_the_real_ones(ptbxl_folder, tmp_path):
    data = PTBXL(ptbxl_folder, range(1, 9), tmp_path)
    both, again = WithSimulated(data, 36), WithSimulated(data, 36)
    assert len(both) == len(both.rows) == len(data) + 36 and np.array_equal(both.signal(3), data.signal(3))
    assert (
        len({both.signal(len(data) + k).tobytes() for k in range(36)}) == 36
    )  # none twice, also where rhythm and form are the same
    assert all(
        np.array_equal(both.signal(i), again.signal(i)) and both.signal(i).shape == (12, 1000) for i in range(len(both))
    )
    assert {code for row in both.rows[len(data) :] for code in row["scp_codes"]} == {*RHYTHMS, *FORMS}
    rhythm, form = list(RHYTHMS)[0], FORMS[0]
    theirs = simulate_ecg(rhythm, form, noise_mv=0.002, seed=WithSimulated.FIRST_SEED)
    expected = BeatFeatureExtractor().prepare({"ecg": theirs.signal, "sampling_rate": 500, "units": "mV"})[0]
    assert np.array_equal(both.signal(len(data)), expected)


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


def test_onnx_gives_the_same_codes(root, tmp_path):
    done = run_main("heartcare.examples.export_onnx", "--model", root, "--output", tmp_path).stdout
    assert "codes the same as PyTorch's: 100.00%" in done and float(re.search(r"at most ([\d.]+) uV", done)[1]) < 0.1
    assert {path.name for path in tmp_path.iterdir()} == {"beat_encoder.onnx", "beat_decoder.onnx"}


def test_benchmark_of_beat(root):
    printed = run_main("heartcare.studies.benchmark_beat", "--model", root, "--batches", 2, "--hours", 0.05).stdout
    rates = {
        what: float(rate.replace(",", "")) for what, rate in re.findall(r"^\| (.*?) \| ([\d,]+) \|", printed, re.M)
    }
    # The README has what a quiet machine does; here other tests may be running.
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
        rows["bits/s"] == ["90", "90"]
        and float(rows["correlation"][0]) > 0.8
        and rows["RMSE of V3, uV"][0] == rows["RMSE of V3, uV"][1]
    )
    name = "MSE of the forecast, in variances: Beat / zero / last beat repeated"
    forecast, zero, repeated = (float(value) for value in rows[name][0].split(" / "))
    assert rows["length of the forecast, s"] == ["2.5", "2.5"] and forecast < min(zero, repeated)
    assert float(rows["R-peak F1, 50 ms"][0]) > 0.9 and Image.open(drawn).size == (1100, 1860)


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


def test_probe_of_beat(root, tmp_path, ptbxl_folder):
    teacher = ["--ptbxl", ptbxl_folder, "--cache", tmp_path, "--output", tmp_path, "--epochs", 1]
    assert '"fold": 9' in run_main("heartcare.training.resnet1d", *teacher).stdout
    study = ["--ptbxl", ptbxl_folder, "--cache", tmp_path, "--output", tmp_path / "study", "--only", "paper"]
    run_main("heartcare.studies.beat_study", *study, "--steps", 1, "--batch-size", 2)
    options = ["--ptbxl", ptbxl_folder, "--models", root, "--random", "--fold", 10, "--epochs", 2, "--cache", tmp_path]
    printed = run_main(
        "heartcare.studies.probe_beat",
        *options,
        "--supervised",
        tmp_path,
        "--study",
        tmp_path / "study",
        "--designs",
        "paper",
    ).stdout
    assert "| no Beat: ResNet1d, supervised | – | " in printed
    found = re.findall(r"^\| (.*?) \| (mean|attention) \| ([\d.]+|–) ?\[?", printed, re.M)
    names = str(root), "random weights", VARIANTS["paper"].words
    assert [each[:2] for each in found] == [(name, pooling) for name in names for pooling in ("mean", "attention")]
    assert all(score == "–" or 0 <= float(score) <= 1 for _, _, score in found)


def blocks(root, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (root / "README.md").read_text(), re.S)


def test_readme_python_blocks_run(root, tmp_path):
    found = blocks(root, "python")
    assert len(found) >= 4
    for block in found:
        # The folder of this clone stands in for the name on the Hub.
        code = block.replace("USER/HeartcareGPT", str(root))
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            capture_output=True,
            text=True,
            cwd=root if "examples/" in block else tmp_path,
        )
        assert done.returncode == 0, f"{code}\n{done.stderr[-3000:]}"


def test_readme_commands_are_those_of_the_repository(root):
    lines = [line.split("#")[0].strip() for block in blocks(root, "bash") for line in block.splitlines()]
    commands = [line for line in lines if line]
    assert "make demo" in commands and "make test" in commands
    usages: dict[tuple[str, str | None], str] = {}
    for command in commands:
        for script in re.findall(r"examples/\w+\.py", command):
            assert (root / script).exists()
        if program := re.match(r"python (?:-m heartcare\.([\w.]+)|(examples/\w+)\.py)(?: ([a-z]+))?", command):
            module, script, word = program.groups()
            module = script.replace("/", ".") if script else module
            name, word = (f"{module}.__main__", word) if (root / module / "__main__.py").exists() else (module, None)
            if (name, word) not in usages:
                usages[name, word] = run_main(f"heartcare.{name}", *([word] if word else []), "--help").stdout
            for option in re.findall(r"--[a-z-]+", command):
                assert option in usages[name, word], f"{option} of {command}"
    assert len(usages) > 8
    targets = (root / "Makefile").read_text()
    assert all(f"\n{command.split()[1]}:" in targets for command in commands if command.startswith("make "))
