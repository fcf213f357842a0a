"""`heartcare table`: a folder as a table, the same however it is read."""

import csv
import json

import numpy as np
import pytest
from make_examples import write_wfdb
from support.commands import run_main

import heartcare.console.table as table_module
from heartcare.agent.device_pages import DEVICES, draw_page
from heartcare.agent.simulate import simulate_ecg
from heartcare.version_heartcare import HEARTCARE_VERSION

COMMAND = "heartcare.console.command"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Makes a folder of two records, one below it and with a patient, a page, a long recording, and a file that is no
    ECG.
    """
    folder = tmp_path_factory.mktemp("table")
    first = simulate_ecg("SR", "NORM", seed=2)
    write_wfdb(folder, "a", first.signal, 500)
    write_wfdb(folder / "below", "b", simulate_ecg("SBRAD", "NORM", seed=3).signal, 500)
    with open(folder / "below" / "b.hea", "a") as header:
        header.write("# Age: 63\n# Sex: F\n")
    draw_page(first.signal, 500, DEVICES["philips"], 150)[0].save(folder / "page.png")
    signal = simulate_ecg("SR", "PVC", seconds=70, sampling_rate=100, seed=4).signal
    np.savez(folder / "long.npz", signal=signal, sampling_rate=100, units="mV")
    (folder / "letter.txt").write_text("Dear Sir or Madam\n")
    return folder


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory):
    """Returns the table, and what the command printed."""
    out = tmp_path_factory.mktemp("made") / "findings.csv"
    return out, run_main(COMMAND, "table", folder, "--out", out)


def test_each_file_has_its_rows(made, folder):
    out, done = made
    rows = rows_of(out)
    assert "5 files, 5 read now; 1 could not be read" in done.stdout and "5/5" in done.stderr
    paths = [row["path"] for row in rows]
    assert list(dict.fromkeys(paths)) == ["a.hea", "below/b.hea", "letter.txt", "long.npz", "page.png"]
    first, second, letter, page = (
        rows[paths.index(name)] for name in ("a.hea", "below/b.hea", "letter.txt", "page.png")
    )
    assert 60 < float(first["heart_rate_per_min"]) < 95 and float(first["qrs_ms"]) > 50 and first["st_V2_mV"]
    assert 0 <= float(first["probability: sinus rhythm"]) <= 1 and "sinus rhythm" in first["statements"]
    assert (second["age_years"], second["sex"], second["patient"]) == ("63.0", "female", "")
    assert letter["error"] and not letter["report"] and str(folder) not in letter["error"] and not first["error"]
    assert page["format"] == "png" and float(page["heart_rate_per_min"]) == pytest.approx(
        float(first["heart_rate_per_min"]), abs=1.5
    )


def test_a_long_recording_has_a_row_for_each_window(made):
    rows = [row for row in rows_of(made[0]) if row["path"] == "long.npz"]
    starts = [float(row["window_start_s"]) for row in rows]
    assert len(rows) > 1 and starts == sorted(set(starts)) and {row["window_seconds"] for row in rows} == {"10.0"}
    assert any("most ectopic beats" in row["window_reason"] and int(row["early_beats"]) for row in rows)
    assert len({row["report"] for row in rows}) == 1 and "0:01:10" in rows[0]["report"]


def test_a_statement_is_stated_from_one_half_on(made):
    for row in (row for row in rows_of(made[0]) if row["report"]):
        shares = {name.removeprefix("probability: "): value for name, value in row.items() if ": " in name}
        stated = {words for words, share in shares.items() if share and float(share) >= 0.5}
        assert set(filter(None, row["statements"].split("; "))) == stated


def test_a_run_that_was_killed_goes_on(made, folder, tmp_path, monkeypatch):
    """The killed run has read two files, and its third line is cut off; afterwards one file changes."""
    out, state = tmp_path / "findings.csv", tmp_path / "findings.csv.state.jsonl"
    lines = made[0].with_name("findings.csv.state.jsonl").read_text().splitlines()
    state.write_text("\n".join([*lines[:3], lines[3][:40]]))
    read, real = [], table_module.Job.read
    monkeypatch.setattr(table_module.Job, "read", lambda job, name: read.append(name) or real(job, name))
    run_main(COMMAND, "table", folder, "--out", out)
    done_before = {json.loads(line)["path"] for line in lines[1:3]}
    assert len(read) == 3 and not done_before & set(read) and out.read_bytes() == made[0].read_bytes()
    read.clear()
    data = folder / "a.dat"
    content = data.read_bytes()
    data.write_bytes(content[:-2] + b"\1\0")
    run_main(COMMAND, "table", folder, "--out", out)
    assert read == ["a.hea"]
    data.write_bytes(content)
    read.clear()
    run_main(COMMAND, "table", folder, "--out", out, "--units", "mV")
    assert len(read) == 5  # other options: nothing that was read holds


def test_a_failed_run_leaves_the_table_as_it_was(made, folder, tmp_path, monkeypatch):
    """The old table stays, and nothing of the new one stands beside it, whatever goes wrong."""
    out = tmp_path / "findings.csv"
    out.write_text("old")
    (tmp_path / "findings.csv.state.jsonl").write_text(made[0].with_name("findings.csv.state.jsonl").read_text())

    def fail(path, *rest):
        path.write_text("half")
        raise OSError("no space left")

    monkeypatch.setattr(table_module, "write_table", fail)
    done = run_main(COMMAND, "table", folder, "--out", out, check=False)
    assert done.returncode == 2 and "no space left" in done.stderr and out.read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"findings.csv", "findings.csv.state.jsonl"}


def test_parquet_holds_the_same(made, folder, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "findings.parquet"
    state = made[0].with_name("findings.csv.state.jsonl").read_text()
    (tmp_path / "findings.parquet.state.jsonl").write_text(state)
    run_main(COMMAND, "table", folder, "--out", out)
    found = parquet.read_table(out)
    rows = rows_of(made[0])
    assert found.column_names == list(rows[0]) and str(found.schema.field("heart_rate_per_min").type) == "double"
    texts = [{name: "" if value is None else str(value) for name, value in row.items()} for row in found.to_pylist()]
    assert texts == rows


def test_what_cannot_be_is_refused_in_one_line(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    for words, status, message in (
        ((tmp_path / "none", "--out", tmp_path / "a.csv"), 2, "is no folder"),
        ((tmp_path / "empty", "--out", tmp_path / "a.csv"), 2, "holds no file"),
        ((folder, "--out", tmp_path / "a.xls"), 2, "must end with .csv or .parquet"),
        ((folder, "--out", tmp_path / "a.csv", "--workers", "0"), 2, "--workers must be 1 or more"),
    ):
        done = run_main(COMMAND, "table", *words, check=False)
        assert done.returncode == status and message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("words", [("--workers", "2"), pytest.param(("--ray", "local"), marks=pytest.mark.ray)])
def test_any_number_of_workers_gives_the_same_bytes(made, folder, tmp_path, words):
    out = tmp_path / "findings.csv"
    try:
        run_main(COMMAND, "table", folder, "--out", out, *words)
    finally:
        if "--ray" in words:  # the command's process would end with it
            pytest.importorskip("ray").shutdown()
    assert out.read_bytes() == made[0].read_bytes()


def test_what_another_version_read_is_read_again(tmp_path):
    """One table has the rows of one version, as it has those of one model and of one set of options."""
    state, identity = tmp_path / "table.csv.state.jsonl", table_module.Job(str(tmp_path), "me/model").identity()
    assert identity["heartcare_version"] == HEARTCARE_VERSION
    done = {"a": {"path": "a", "rows": []}}
    table_module.write_state(state, identity, done)
    assert table_module.read_state(state, identity) == done
    table_module.write_state(state, identity | {"heartcare_version": "0.1.0"}, done)
    assert table_module.read_state(state, identity) == {}
