"""`heartcare tokens`: codes of an ECG, and the ECG of codes."""

import json

import numpy as np
import pytest
import torch
from support.commands import run_main

COMMAND = "heartcare.console.command"


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """Returns twelve leads whose number of samples is no whole number of latents."""
    from heartcare.agent.simulate import simulate_ecg

    path = tmp_path_factory.mktemp("tokens") / "ecg.npz"
    signal = simulate_ecg("SR", "NORM", seconds=7.13, seed=4).signal
    np.savez(path, signal=signal, sampling_rate=500, units="mV")
    return path


@pytest.mark.parametrize("ending", ["npz", "json"])
def test_codes_are_those_of_beat_and_come_back_as_it_decodes_them(record, tmp_path, beat, processor, ending):
    out = tmp_path / f"codes.{ending}"
    done = run_main(COMMAND, "tokens", record, "--out", out)
    inputs = processor.feature_extractor(str(record), return_tensors="pt")
    with torch.inference_mode():
        tokens = beat.encode(**inputs)
        wanted = beat.decode(tokens.codes, tokens.gain)[0, :, -713:]
    saved = json.loads(out.read_text()) if ending == "json" else np.load(out)
    assert np.array_equal(np.array(saved["codes"]), tokens.codes[0]) and saved["samples"] == 713
    assert float(saved["gain_mv"]) == float(tokens.gain[0]) and f"{saved['bits_per_second']:g} bits/s" in done.stdout
    levels, latents = tokens.codes.shape[1:]
    assert saved["bits_per_second"] == levels * 5 * np.log2(beat.config.codebook_size) and latents == 36
    run_main(COMMAND, "tokens", out, "--decode", tmp_path / "new" / "ecg.csv")
    table = np.genfromtxt(tmp_path / "new" / "ecg.csv", delimiter=",", names=True)
    assert table.dtype.names[:4] == ("I", "II", "III", "aVR") and len(table) == 713
    np.testing.assert_allclose([table[name] for name in table.dtype.names], wanted, atol=6e-5)


def test_without_a_file_the_codes_are_printed(record):
    done = run_main(COMMAND, "tokens", record)
    assert set(json.loads(done.stdout)) == {"codes", "gain_mv", "samples", "sampling_rate", "bits_per_second"}


def test_what_cannot_be_is_refused_in_one_line(record, tmp_path):
    (tmp_path / "other.json").write_text('{"signal": [1]}')
    for words, status, message in (
        ((record, "--decode", tmp_path / "a.csv"), 1, "holds no codes"),
        ((tmp_path / "other.json", "--decode", tmp_path / "a.csv"), 1, "holds no codes"),
        ((tmp_path / "none.npz", "--decode", tmp_path / "a.csv"), 1, "none.npz"),
        ((tmp_path / "none.hea",), 1, "does not exist"),
        ((record, "--out", tmp_path / "codes.txt"), 2, "must end with .json or .npz"),
    ):
        done = run_main(COMMAND, "tokens", *words, check=False)
        assert done.returncode == status and message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "a.csv").exists()
