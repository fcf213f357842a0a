"""`heartcare read` and `heartcare draw`, as a user calls them."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from make_examples import write_wfdb
from PIL import Image
from support.commands import run_main

from heartcare.agent.simulate import simulate_ecg
from heartcare.reading_heartcare import read_ecg

COMMAND = "heartcare.console.command"
NOTICE = "Not for clinical use."


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Makes a folder with a recording of one patient, a damaged file, and a table without sampling rate and units."""
    folder = tmp_path_factory.mktemp("files")
    ecg = simulate_ecg("AFIB", "NORM", seed=3)
    write_wfdb(folder, "good", ecg.signal, 500)
    with open(folder / "good.hea", "a") as header:
        header.write("# Age: 63\n# Sex: F\n")
    (folder / "bad.dcm").write_bytes(b"\0" * 128 + b"DICM and no more")
    names = ",".join(("I", "II", "V2"))
    np.savetxt(folder / "plain.csv", 1000 * ecg.signal[[0, 1, 7]].T, "%.0f", ",", header=names, comments="")
    return folder


def test_json_is_one_object_for_each_file_and_nothing_else(files):
    """A file that cannot be read does not stop the others, and changes the exit status."""
    question = "Is there atrial fibrillation?"
    words = (files / "good", files / "bad.dcm", files / "good.hea", "--json", "--question", question)
    done = run_main(COMMAND, "read", *words, check=False)
    first, second = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 1 and "bad.dcm: Cannot read this ECG" in done.stderr and "Traceback" not in done.stderr
    assert [first["file"], second["file"]] == [str(files / "good"), str(files / "good.hea")]
    assert all(first[name] == second[name] for name in ("report", "answers", "measurements", "findings"))
    assert [answer["question"] for answer in first["answers"]] == [question]
    assert set(first["answers"][0]["probabilities"]) == {"Yes", "No"}
    assert first["measurements"][0]["heart_rate"] > 40 and first["findings"] and first["report"]
    assert first["notice"] == NOTICE and first["format"] == "wfdb"


def test_what_a_file_does_not_say_is_given(files):
    table = files / "plain.csv"
    done = run_main(COMMAND, "read", table, "--json", check=False)
    assert done.returncode == 1 and not done.stdout and "sampling rate" in done.stderr
    done = run_main(COMMAND, "read", table, "--json", "--sampling-rate", "500", "--units", "uV")
    quality = json.loads(done.stdout)["quality"][0]
    assert quality["sampling_rate"] == 500 and quality["seconds"] == 10 and "V2" in quality["leads"]


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_a_drawing_has_the_answers_below(files, tmp_path, ending):
    out = tmp_path / "new" / f"page.{ending}"
    done = run_main(COMMAND, "read", files / "good", "--out", out)
    assert f"Drawn to {out}. Loading took" in done.stdout and done.stdout.endswith(f"{NOTICE}\n")
    answer = done.stdout.splitlines()[1].strip()
    if ending == "png":
        assert Image.open(out).height > 1.2 * 980  # of the paper alone, at 150 dpi
        return
    if ending == "svg":
        page = ElementTree.parse(out).getroot()
        words = " ".join("".join(node.itertext()) for node in page.iter("{http://www.w3.org/2000/svg}text"))
        assert not list(page.iter("{http://www.w3.org/2000/svg}image"))
    else:
        pymupdf = pytest.importorskip("pymupdf")
        with pymupdf.open(out) as document:
            words = " ".join(document[0].get_text().split())
            assert not document[0].get_images() and len(document[0].get_drawings()) > 3
        assert read_ecg(out).lead_names == read_ecg(files / "good").lead_names  # the traces are vectors, to scale
    assert answer.split(".")[0] in words and "What is the rhythm?" in words and NOTICE in words


def test_what_cannot_be_written_is_said_and_the_answers_stay(files, tmp_path):
    (tmp_path / "file").write_text("")
    words = (files / "good", "--fhir", tmp_path / "file" / "a.json", "--json")
    done = run_main(COMMAND, "read", *words, check=False)
    assert done.returncode == 1 and json.loads(done.stdout)["report"]
    assert (
        "good: It was read, but not all that was asked for is written." in done.stderr
        and "Traceback" not in done.stderr
    )


def test_a_page_is_drawn_over(files, tmp_path):
    run_main(COMMAND, "draw", files / "good", "--out", tmp_path / "page.png")
    done = run_main(COMMAND, "read", tmp_path / "page.png", "--out", tmp_path / "over.svg", "--json")
    found = json.loads(done.stdout)
    assert found["pages"][0]["digitized"] and any("layout 3x4+R" in note for note in found["notes"])
    page = ElementTree.parse(tmp_path / "over.svg").getroot()
    assert len(list(page.iter("{http://www.w3.org/2000/svg}image"))) == 1


def test_several_files_need_a_name_for_each_output(files, tmp_path):
    both = (files / "good", files / "plain.csv")
    done = run_main(COMMAND, "read", *both, "--out", tmp_path / "a.png", check=False)
    assert done.returncode == 2 and "{name}" in done.stderr
    done = run_main(COMMAND, "read", files / "good", "--out", tmp_path / "a.gif", check=False)
    assert done.returncode == 2 and "a.gif" in done.stderr and ".svg" in done.stderr
    stated = ("--fhir", tmp_path / "{name}.json", "--json")
    done = run_main(COMMAND, "read", *both, *stated, check=False)
    assert done.returncode == 1 and [path.name for path in tmp_path.iterdir()] == ["good.json"]


def test_a_long_recording_is_drawn_where_it_is_cleanest(tmp_path):
    ecg = simulate_ecg("SR", "NORM", seconds=80, sampling_rate=250, seed=1)
    signal = ecg.signal[[0, 1, 7]]
    signal[:, : 250 * 60] += np.random.default_rng(0).normal(0, 0.1, (3, 250 * 60)).astype(np.float32)
    np.savez(tmp_path / "long.npz", signal=signal, sampling_rate=250, lead_names=["I", "II", "V2"], units="mV")
    words = (tmp_path / "long.npz", "--question", "What is the heart rate?", "--out", tmp_path / "a.svg", "--json")
    found = json.loads(run_main(COMMAND, "read", *words).stdout)
    cleanest = [window["start"] for window in found["windows"] if "cleanest" in window["reason"]]
    assert cleanest == [60, 70] and "at 60 s, among the cleanest" in (tmp_path / "a.svg").read_text()


def test_draw_shows_the_asked_part_and_refuses_what_cannot_be(files, tmp_path):
    out = tmp_path / "a.svg"
    done = run_main(COMMAND, "draw", files / "good", "--out", out, "--layout", "6x2", "--gain", "5")
    assert done.stdout == f"Drawn to {out}.\n" and "25 mm/s   5 mm/mV" in out.read_text()
    run_main(
        COMMAND, "draw", files / "good", "--out", tmp_path / "b.svg", "--layout", "6x2", "--gain", "5", "--start", "2"
    )
    assert out.read_text() != (tmp_path / "b.svg").read_text()
    for words, message in (
        (("--start", "10"), "from 0 to 10 s"),
        (("--gain", "0"), "gain must be positive"),
        (("--layout", "5x5"), "'5x5' is none of 3x4"),
    ):
        done = run_main(COMMAND, "draw", files / "good", "--out", tmp_path / "c.svg", *words, check=False)
        assert done.returncode in (1, 2) and message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "c.svg").exists()
