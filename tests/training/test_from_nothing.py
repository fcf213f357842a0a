"""All commands that made the default checkpoint, one after the other, and the records that they read."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.commands import run_main

from heartcare.agent.build import Settings, build
from heartcare.agent.simulate import FORMS, RHYTHMS, simulate_ecg
from heartcare.extraction_heartcare import BeatFeatureExtractor
from heartcare.training.ptbxl import PTBXL, WithSimulated
from heartcare.training.publish import average


@pytest.mark.slow
def test_training_from_nothing_to_a_model_that_answers(root, ptbxl_folder, tmp_path):
    options = ["--ptbxl", ptbxl_folder, "--cache", tmp_path / "cache"]
    short = [*options, "--steps", 4, "--batch-size", 2, "--save-steps", 2]
    teacher = [*options, "--output", tmp_path / "teacher"]
    run_main("heartcare.training.teacher", "train", *teacher, "--network", "resnet", "--epochs", 1, cwd=tmp_path)
    run_main("heartcare.training.teacher", "label", *teacher, cwd=tmp_path)
    # A run that is interrupted and resumed ends with the same weights as one left alone.
    beat = [*short, "--soft-labels", tmp_path / "teacher/soft_labels.safetensors", "--simulated", 4]
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
