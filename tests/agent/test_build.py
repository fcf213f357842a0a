"""The data engine end to end: same bytes for any number of workers, resumption, rejection, leakage, and what readers of
the data set see.
"""

import csv
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from make_examples import write_wfdb
from support.processes import STALL, kill_when_stalled
from support.vendor_files import write_ishne

from heartcare.agent.__main__ import main
from heartcare.agent.build import WORK, LeakageError, Settings, SourceChangedError, build, check_leakage, plan
from heartcare.agent.qa import DIMENSIONS, MODALITIES, TASKS
from heartcare.agent.readers import read_ecg
from heartcare.agent.samples import SCHEMA, PackedECG, conversation, unpack_ecg
from heartcare.agent.simulate import simulate_ecg
from heartcare.agent.sources import content_digest, find_entries, record_files
from heartcare.version_heartcare import HEARTCARE_VERSION


def digests(out: Path) -> dict[str, bytes]:
    """Returns the files that must be the same in every build: shards, manifest, list of rejected records."""
    return {
        path.name: path.read_bytes() for path in sorted(out.iterdir()) if path.suffix in (".parquet", ".json", ".jsonl")
    }


def rows_of(out: Path) -> list[dict]:
    return [row for path in sorted(out.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


@pytest.fixture(scope="module", autouse=True)
def small_units():
    """Makes several shards out of forty records."""
    import heartcare.agent.build as module

    before, module.UNIT_RECORDS = module.UNIT_RECORDS, 8
    yield
    module.UNIT_RECORDS = before


def test_rows_have_every_task_and_tell_the_truth(built):
    rows = rows_of(built)
    manifest = json.loads((built / "manifest.json").read_text())
    assert manifest["samples"] == len(rows) and manifest["records"] == 40 and manifest["rejected"] == 0
    assert {row["task"] for row in rows} == set(TASKS) and {row["modality"] for row in rows} == set(MODALITIES)
    assert {row["dimension"] for row in rows} >= {*DIMENSIONS} - {
        "misc"
    }  # simulated records have none of PTB-XL's columns
    assert len({row["id"] for row in rows}) == len(rows)
    assert find_source(built) is None
    for row in rows:
        parts = row["modality"].split("-")
        assert [part["type"] for part in row["messages"][0]["content"]] == [
            *("ecg" if p == "signal" else "image" for p in parts),
            "text",
        ]
        assert len(row["ecgs"]) == parts.count("signal") and len(row["images"]) == parts.count("image")
        assert (
            row["messages"][1]["content"][0]["text"] == row["answer"]
            and row["messages"][0]["content"][-1]["text"] == row["question"]
        )
        if row["task"] == "prediction":
            seconds = int(row["answer_label"][0])
            assert row["answer"] == "<prediction>" and row["ecgs"][0]["target_samples"] == 100 * seconds
            ecg, target = unpacked = unpack_ecg(row["ecgs"][0])
            assert target.shape == (12, 100 * seconds) and ecg.signal.shape[1] + 100 * seconds == 1000
            np.testing.assert_array_equal(unpacked.whole.signal[:, -100 * seconds :], target)
        assert row["fold"] in range(1, 11) and json.loads(row["provenance"])["records"][0]["format"] == "wfdb"
    splits = {
        path.name.split("-")[0]: {p for row in pq.read_table(path).to_pylist() for p in row["patient_id"]}
        for path in built.glob("*.parquet")
    }
    assert set(splits) == {"train", "validation", "test"} and not splits["validation"] & splits["test"]


def find_source(out: Path) -> str | None:
    """The data set must not say where on the machine its source was."""
    text = "".join(path.read_text() for path in out.rglob("*.json*")) + (out / "README.md").read_text()
    return next((word for word in text.replace('"', " ").split() if word.startswith("/") and "ptbxl" in word), None)


def test_stored_signals_are_the_files(built, ptbxl_folder):
    seen = 0
    for row in rows_of(built)[::25]:
        for ecg in row["ecgs"]:
            record = read_ecg(ptbxl_folder / f"records100/00000/{int(ecg['record_id']):05d}_lr")
            got = unpack_ecg(ecg).whole
            assert got.lead_names == record.lead_names and got.sampling_rate == 100 and got.source == ecg["record_id"]
            np.testing.assert_allclose(got.signal, record.signal, atol=0.0006)
            seen += 1
    assert seen > 10


@pytest.mark.parametrize("peak", [0.5, 40.0])
def test_packing_keeps_millivolts(peak, rng):
    signal = rng.uniform(-peak, peak, (12, 1000)).astype(np.float32)
    mask = np.arange(12) != 3
    signal[3], signal[5, 200:600] = np.nan, np.nan  # one lead is absent, one is there for part of the time
    packed = PackedECG.pack("a", signal, 500.0)
    got = unpack_ecg({**vars(packed), "target_samples": 100})
    assert got.ecg.lead_names == packed.leads and "aVR" not in packed.leads
    assert got.ecg.signal.shape == (11, 900) and got.target.shape == (11, 100)
    np.testing.assert_allclose(got.whole.signal, signal[mask], atol=max(0.0006, peak / 60000))
    assert unpack_ecg({**vars(packed), "target_samples": 0}).target is None


@pytest.mark.slow
def test_same_bytes_whatever_the_workers(built, ptbxl_folder, tmp_path):
    # Spawned workers do not see this process's smaller units, which are in the plan already.
    build(ptbxl_folder, tmp_path / "two", Settings(), workers=2, progress=False)
    assert digests(tmp_path / "two") == digests(built)
    build(ptbxl_folder, tmp_path / "other", Settings(seed=1, images=False), progress=False)
    assert digests(tmp_path / "other").keys() == digests(built).keys() and digests(tmp_path / "other") != digests(built)


@pytest.mark.ray
def test_same_bytes_on_ray(built, ptbxl_folder, tmp_path):
    ray = pytest.importorskip("ray")
    try:
        build(ptbxl_folder, tmp_path / "ray", Settings(), workers=2, ray_address="local", progress=False)
        assert int(ray.cluster_resources()["CPU"]) == 2
    finally:
        ray.shutdown()
    assert digests(tmp_path / "ray") == digests(built)


# A build that stops when its second shard is written, but not yet in its place.
STALLS_AT_THE_SECOND_SHARD = f"""
import os, sys
import heartcare.agent.build as module
module.UNIT_RECORDS = 8
replace, shards = os.replace, []
def stalling(source, target):
    if str(target).endswith(".parquet"):
        shards.append(target)
        if len(shards) == 2:
            {STALL}
    replace(source, target)
os.replace = stalling
module.build(sys.argv[1], sys.argv[2], module.Settings(), progress=False)
"""


@pytest.mark.slow
def test_killed_and_run_again(ptbxl_folder, built, tmp_path):
    """A build is killed three times in the middle: the end is that of an undisturbed build, and shards that were there
    are not built again.
    """
    times = {}
    for shards in (1, 2, 3):
        kill_when_stalled(STALLS_AT_THE_SECOND_SHARD, ptbxl_folder, tmp_path / "out")
        assert len([*(tmp_path / "out").glob("*.parquet")]) == shards
        assert not (tmp_path / "out/manifest.json").exists()
        for path in (tmp_path / "out").glob("*.parquet"):
            assert times.setdefault(path.name, path.stat().st_mtime_ns) == path.stat().st_mtime_ns
    assert len(times) == 3
    build(ptbxl_folder, tmp_path / "out", Settings(), progress=False)
    assert digests(tmp_path / "out") == digests(built)
    assert all((tmp_path / "out" / name).stat().st_mtime_ns == then for name, then in times.items())


def test_a_build_names_the_versions_and_goes_on_with_shards_of_another_one(built, ptbxl_folder, tmp_path):
    """The version of the content alone decides what belongs together: shards stay, and each says who built it."""
    out = shutil.copytree(built, tmp_path / "copy")
    name, other, *_ = sorted(path.name for path in out.glob("*.parquet"))
    reports = {each: out / WORK / f"{each}.json" for each in (name, other)}
    for each, version in ((name, "0.1.5"), (other, None)):  # None: as before 0.2.0, which named none
        report = json.loads(reports[each].read_text()) | {"heartcare_version": version}
        reports[each].write_text(json.dumps({key: value for key, value in report.items() if value is not None}))
    manifest = build(ptbxl_folder, out, Settings(), progress=False)
    made_by = {shard["name"]: shard["heartcare_version"] for shard in manifest["shards"]}
    assert made_by.pop(name) == "0.1.5" and made_by.pop(other) is None
    assert {manifest["heartcare_version"], *made_by.values()} == {HEARTCARE_VERSION}
    assert f"heartcare 0.1.5 and {HEARTCARE_VERSION} and before 0.2.0)" in (out / "README.md").read_text()
    assert f"heartcare {HEARTCARE_VERSION})" in (built / "README.md").read_text()
    kept = [path.name for path in out.glob("*.parquet")]
    assert all((out / each).read_bytes() == (built / each).read_bytes() for each in kept) and len(kept) > 2
    plan_file = out / WORK / "plan.json"
    plan_file.write_text(json.dumps(json.loads(plan_file.read_text()) | {"version": 1}))
    with pytest.raises(ValueError, match="another source, seed, version or setting"):
        build(ptbxl_folder, out, Settings(), progress=False)


def test_another_data_set_is_not_overwritten(built, ptbxl_folder, tmp_path):
    out = shutil.copytree(built, tmp_path / "copy")
    with pytest.raises(ValueError, match="another source, seed, version or setting"):
        build(ptbxl_folder, out, Settings(seed=5), progress=False)
    assert digests(out) == digests(built)


@pytest.fixture
def unlabelled(tmp_path) -> Path:
    """Writes two WFDB records that tell nothing but their signal."""
    for i in range(2):
        write_wfdb(tmp_path / "unlabelled", f"r{i}", simulate_ecg(seed=i).signal, 500)
    return tmp_path / "unlabelled"


def test_records_without_labels_are_built_and_drawn(unlabelled, tmp_path):
    command = ["build", "--source", str(unlabelled), "--out", str(tmp_path / "out"), "--no-images"]
    assert main(command) == 0
    assert {row["task"] for row in rows_of(tmp_path / "out")} == {"prediction"}
    # The two records have no patient, and are in two splits; the card draws what is in the first.
    assert [path.name for path in (tmp_path / "out/card").glob("example_*.png")] == ["example_1.png"]
    assert "(card/example_1.png)" in (tmp_path / "out/README.md").read_text()


def test_a_data_set_without_any_question_is_an_error(unlabelled, tmp_path, capsys):
    command = ["build", "--source", str(unlabelled), "--out", str(tmp_path / "out"), "--tasks", "closed-qa,report"]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert (
        "closed-qa, report found nothing to ask about 2 records (0 were rejected" in error and "Traceback" not in error
    )
    assert not (tmp_path / "out/manifest.json").exists()
    assert main(command) == 2  # and it stays one when it is gone on with


def test_a_file_name_that_is_no_utf8_is_rejected_by_name(unlabelled, tmp_path, capsys):
    name = os.fsencode(unlabelled) + b"/caf\xe9"
    for kind in (b".hea", b".dat"):
        shutil.copy(os.fsencode(unlabelled) + b"/r0" + kind, name + kind)
    command = ["build", "--source", str(unlabelled), "--no-images", "--out"]
    assert main([*command, str(tmp_path / "out")]) == 0
    rejected = (tmp_path / "out/rejected.jsonl").read_text(encoding="utf-8")
    assert json.loads(rejected) == {"record": "caf\\udce9", "reason": "the file's name is no UTF-8; rename it"}
    assert json.loads((tmp_path / "out/manifest.json").read_text())["records"] == 2
    assert main([*command, os.fsdecode(os.fsencode(tmp_path) + b"/out\xff")]) == 2
    assert "out\\udcff: the name of this folder is no UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("finished", [True, False])
def test_sources_that_changed_are_not_mixed_into_a_build(unlabelled, tmp_path, capsys, finished):
    command = ["build", "--source", str(unlabelled), "--out", str(tmp_path / "out"), "--no-images"]
    assert main(command) == 0
    if not finished:  # as a kill after the first shard leaves it
        (tmp_path / "out/manifest.json").unlink()
        (tmp_path / "out" / sorted(path.name for path in (tmp_path / "out").glob("*.parquet"))[-1]).unlink()
    before = digests(tmp_path / "out")
    data = (unlabelled / "r1.dat").read_bytes()
    (unlabelled / "r1.dat").write_bytes(bytes(reversed(data)))
    capsys.readouterr()
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "files of 1 records, for example r1, are not those" in error and "put them back" in error
    assert digests(tmp_path / "out") == before
    # The same content at another time and in another place is no change.
    (unlabelled / "r1.dat").write_bytes(data)
    command[command.index("--source") + 1] = str(shutil.move(unlabelled, tmp_path / "moved"))
    assert main(command) == 0 and (tmp_path / "out/manifest.json").exists()


def test_a_file_that_changes_while_it_is_built_ends_the_build(unlabelled, tmp_path, monkeypatch):
    import heartcare.agent.build as module

    def load_and_change(entry, *args):
        loaded = load(entry, *args)
        with open(f"{entry.path[:-4]}.dat", "ab") as file:
            file.write(b"\0")
        return loaded

    load = module.load
    monkeypatch.setattr(module, "load", load_and_change)
    with pytest.raises(SourceChangedError, match="for example r"):
        build(unlabelled, tmp_path / "out", Settings(images=False), progress=False)
    assert not list((tmp_path / "out").glob("*.parquet"))


def test_a_record_is_all_of_its_files(tmp_path):
    write_wfdb(tmp_path, "a", simulate_ecg(seed=1).signal, 500)
    (tmp_path / "whole.hea").write_text("whole/2 12 500 10000\na 5000\nwhole 5000\n../b 5000\n" + "x" * 300 + " 1\n")
    assert record_files(tmp_path / "whole") == [tmp_path / name for name in ("whole.hea", "a.hea", "a.dat")]
    assert record_files(tmp_path / "a.dat") == record_files(tmp_path / "a.hea") == record_files(tmp_path / "a")
    assert record_files(tmp_path / "none.csv") == [tmp_path / "none.csv"]
    before = [content_digest(tmp_path / name) for name in ("whole.hea", "a", "none.csv")]
    with open(tmp_path / "a.dat", "r+b") as file:
        file.write(b"\x01\x02")
    after = [content_digest(tmp_path / name) for name in ("whole.hea", "a", "none.csv")]
    assert [one == other for one, other in zip(before, after)] == [False, False, True]


@pytest.mark.parametrize("text, message", [
    ("path,age\nr0.hea,50\nr1.hea\n", "list.csv, line 3: 1 fields where its first line names 2 columns"),
    ("path,age\nr0.hea,50,6\n", "list.csv, line 2: 3 fields where its first line names 2 columns"),
    ("path,report\nr0.hea," + "x" * 200_000 + "\n", "list.csv, line 2: field larger than field limit"),
    ("path\n\xe9.hea\n", "list.csv is no UTF-8 text: "),
    ("file,age\nr0.hea,5\n", "must have a column 'path'"),
    ("", "it has no rows"),
])  # fmt: skip
def test_a_damaged_table_is_named_with_its_line(unlabelled, tmp_path, capsys, text, message):
    (unlabelled / "list.csv").write_bytes(text.encode("latin-1"))
    assert main(["build", "--source", str(unlabelled / "list.csv"), "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_damaged_row_of_ptbxl_is_rejected(ptbxl_folder, tmp_path):
    (tmp_path / "records100").symlink_to(ptbxl_folder / "records100")
    head, *lines = (ptbxl_folder / "ptbxl_database.csv").read_text().splitlines()
    place = head.split(",").index("scp_codes")
    rows = list(csv.reader(lines[:4]))
    rows[1][place], rows[2][place] = "[1, 2]", "(" * 5000
    with open(tmp_path / "ptbxl_database.csv", "w", newline="") as file:
        csv.writer(file).writerows([head.split(","), *rows])
    entries, rejected = find_entries(tmp_path, progress=False)
    assert [entry.record_id for entry in entries] == ["1", "4"] and [row["record"] for row in rejected] == ["2", "3"]


@pytest.fixture
def folder_of_files(tmp_path) -> Path:
    """Writes good and bad files of several formats, one of them outside."""
    folder = tmp_path / "files"
    (folder / "deep").mkdir(parents=True)
    for i in range(6):
        ecg = simulate_ecg(("SR", "AFIB")[i % 2], "NORM", seed=i)
        write_wfdb(folder, f"r{i}", ecg.signal, 500)
        with open(folder / f"r{i}.hea", "a") as file:
            file.write(f"# Age: {40 + i}\n# Sex: Female\n# Dx: {'426783006' if i % 2 == 0 else '164889003'}\n")
    np.savez(folder / "deep" / "ö.npz", signal=simulate_ecg(seed=9).signal, sampling_rate=500)
    write_ishne(folder / "holter.ecg", simulate_ecg(seed=11))
    (folder / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"rubbish" * 50)
    (folder / "note.pdf").write_bytes(b"%PDF-1.4 nothing")
    (folder / "flat.npz").write_bytes(b"")
    np.savez(folder / "flat2.npz", signal=np.zeros((12, 5000)), sampling_rate=500)
    np.save(folder / "secret.npy", np.zeros(3))
    (folder / "traversal.hea").write_text("traversal 1 500 1000\n../../secret.npy 16 1000/mV 16 0 0 0 0 I\n")
    return folder


def test_bad_files_are_named_and_never_stop_the_run(folder_of_files, tmp_path):
    manifest = build(folder_of_files, tmp_path / "out", Settings(images=False), progress=False)
    rejected = {
        row["record"]: row["reason"]
        for row in map(json.loads, (tmp_path / "out/rejected.jsonl").read_text().splitlines())
    }
    assert set(rejected) == {"broken.dcm", "note.pdf", "flat.npz", "flat2.npz", "secret.npy", "traversal"}
    assert "is empty" in rejected["flat.npz"] and "flat:" in rejected["flat2.npz"] and "header" in rejected["traversal"]
    assert str(tmp_path) not in str(rejected)
    assert manifest["records"] == 8 and manifest["rejected"] == 6
    rows = rows_of(tmp_path / "out")
    assert any("atrial fibrillation" in row["answer"].lower() for row in rows) and all(
        row["patient_id"] for row in rows
    )
    assert {name.name for name in tmp_path.iterdir()} == {"files", "out"}


def test_a_table_of_files(folder_of_files, tmp_path):
    with open(folder_of_files / "list.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["path", "record_id", "patient_id", "age", "sex", "report", "scp_codes", "fold"])
        table.writerow(["r0.hea", "a", "p1", "70", "M", "Atrial fibrillation, possible inferior infarct", "", "9"])
        table.writerow(["r1.hea", "b", "p1", "71", "M", "", "{'CLBBB': 100.0}", "9"])
        table.writerow(["r2.hea", "c", "p2", "", "", "", "", "1"])
        table.writerow(["none.hea", "d", "p3", "", "", "", "", "1"])
        table.writerow(["r3.hea", "e", "p4", "", "", "", "", "17"])
    entries, rejected = find_entries(folder_of_files / "list.csv", progress=False)
    by_id = {entry.record_id: entry for entry in entries}
    assert (
        by_id["a"].statements == {"AFIB": 100.0, "IMI": 50.0}
        and by_id["b"].statements == {"CLBBB": 100.0}
        and by_id["c"].statements == {"SR": 100.0}
    )
    assert by_id["a"].patient_id == by_id["b"].patient_id != "p1" and (
        by_id["a"].age,
        by_id["a"].sex,
        by_id["a"].fold,
    ) == (70, "male", 9)
    assert {row["record"] for row in rejected} == {"d", "e"}
    manifest = build(folder_of_files / "list.csv", tmp_path / "out", Settings(images=False), progress=False)
    assert manifest["records"] == 3
    comparisons = [
        row for row in rows_of(tmp_path / "out") if row["task"] == "comparison-qa" and len(row["patient_id"]) == 1
    ]
    assert comparisons and all("patient" in row["question"] and row["id"].startswith("a+b/") for row in comparisons)


def test_leakage_fails_the_build(ptbxl_folder, folder_of_files, tmp_path, capsys):
    entries, _ = find_entries(ptbxl_folder, progress=False)
    entries[1].patient_id = entries[0].patient_id
    with pytest.raises(LeakageError, match="several folds"):
        plan(entries)
    # The same recording under two names and patients, in two splits.
    with open(folder_of_files / "twice.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [["path", "record_id", "patient_id", "fold"], ["r0.hea", "a", "1", "1"], ["r0.hea", "b", "2", "10"]]
        )
    assert (
        main(["build", "--source", str(folder_of_files / "twice.csv"), "--out", str(tmp_path / "out"), "--no-images"])
        == 1
    )
    assert "LEAKAGE" in capsys.readouterr().err and not (tmp_path / "out/manifest.json").exists()
    units = [{"split": "train", "name": "x"}, {"split": "test", "name": "y"}]
    with pytest.raises(LeakageError, match="patients"):
        check_leakage(units, [{"records": {"1": "p"}, "signals": {}}, {"records": {"2": "p"}, "signals": {}}])


def test_load_dataset_and_chat(built, tmp_path, processor, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    found = datasets.load_dataset(str(built), cache_dir=str(tmp_path))
    assert set(found) == {"train", "validation", "test"} and set(found["train"].column_names) == set(SCHEMA.names)
    assert sum(len(split) for split in found.values()) == json.loads((built / "manifest.json").read_text())["samples"]
    seen = set()
    for row in found["train"]:
        if row["modality"] in seen:
            continue
        seen.add(row["modality"])
        options = {"tokenize": True, "return_dict": True, "return_tensors": "pt", "return_assistant_tokens_mask": True}
        inputs = processor.apply_chat_template([conversation(row)], **options)
        parts = row["modality"].split("-")
        assert ("input_values" in inputs) == ("signal" in parts) and ("pixel_values" in inputs) == ("image" in parts)
        if "signal" in parts:
            assert len(inputs["input_values"]) == parts.count("signal")
        if "image" in parts:
            assert len(inputs["pixel_values"]) == parts.count("image") and row["images"][0].size == (1100, 850)
        answer = processor.decode(
            inputs["input_ids"][0][inputs["assistant_masks"][0].bool()], skip_special_tokens=False
        )
        assert answer.startswith(row["answer"])
    assert seen == set(MODALITIES)


def test_rephrasing_in_a_build(ptbxl_folder, tmp_path, llm_server):
    url, _ = llm_server
    command = [
        "build",
        "--source",
        str(ptbxl_folder),
        "--out",
        str(tmp_path / "out"),
        "--no-images",
        "--limit",
        "6",
        "--tasks",
        "open-qa,report,prediction",
    ]
    assert main([*command, "--llm", url, "--llm-model", "good"]) == 0
    rows = rows_of(tmp_path / "out")
    assert {row["task"] for row in rows} == {"open-qa", "report", "prediction"}
    for row in rows:
        assert (
            json.loads(row["provenance"])["rephrased"]
            == row["question"].startswith("Please: ")
            == (row["task"] != "prediction")
        )
    card = (tmp_path / "out/README.md").read_text()
    assert "Rephrased by a language model" in card and url not in card + (tmp_path / "out/manifest.json").read_text()
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (accepted|cached|kept|failed)", card)}
    assert (
        counts["accepted"] + counts["cached"] == sum(row["task"] != "prediction" for row in rows)
        and "failed" not in counts
    )


def test_ecg_qa_is_imported_as_published(shared, ptbxl_folder, tmp_path):
    rows = [json.loads(line) for line in gzip.open(shared / "ecg_qa/paraphrased_valid_60000.jsonl.gz", "rt")]
    kinds = {row["question_type"] for row in rows}
    # The records of those questions are not at hand: ours take their places, all in one fold.
    for i, row in enumerate(rows):
        row["ecg_id"] = [10 * (1 + (i + k) % 3) for k in range(len(row["ecg_id"]))]
    (tmp_path / "valid.json").write_text(
        json.dumps(rows[:400] + [rows[0] | {"ecg_id": [1, 8]}, rows[0] | {"ecg_id": [999, 10]}])
    )
    manifest = build(ptbxl_folder, tmp_path / "out", Settings(ecg_qa=(str(tmp_path / "valid.json"),)), progress=False)
    found = rows_of(tmp_path / "out")
    per = 3 if len(rows[0]["ecg_id"]) == 2 else 2
    assert manifest["samples"] == len(found) == 400 * per and kinds
    by_id = {str(row["sample_id"]): row for row in rows[:400]}
    for row in found:
        source = by_id[row["id"].split("/")[2]]
        assert row["question"] == source["question"] and row["answer_label"] == (source["answer"] or ["none"])
        assert (
            row["answer"] == ", ".join(source["answer"] or ["none"])
            and json.loads(row["provenance"])["ecg_qa"]["question_type"] == source["question_type"]
        )
        assert [record["id"] for record in json.loads(row["provenance"])["records"]] == [
            str(number) for number in source["ecg_id"]
        ]


def test_card_counts_and_pictures(built):
    from PIL import Image

    card, rows = (built / "README.md").read_text(), rows_of(built)
    for task in TASKS:
        numbers = [sum(row["task"] == task and row["modality"] == m for row in rows) for m in MODALITIES]
        assert f"| {task} | {' | '.join(f'{n:,}' for n in numbers)} | {sum(numbers):,} |" in card
    assert Image.open(built / "card/dimensions.png").width > 600
    examples = sorted((built / "card").glob("example_*.png"))
    assert len(examples) >= 4 and all(f"card/{path.name}" in card for path in examples)
    assert "/tmp" not in card and not list((built / WORK).glob("*.partial"))


def test_inspect_prints_and_draws(ptbxl_folder, tmp_path, capsys):
    from PIL import Image

    assert (
        main(["inspect", str(ptbxl_folder / "records100/00000/00001_lr.hea"), "--output", str(tmp_path / "a.png")]) == 0
    )
    out = capsys.readouterr().out
    assert (
        "wfdb, 12 leads, 10.00 s at 100 Hz" in out
        and re.search(r" beats, heart rate \d+ beats/min, PR (\d+|–) ms, QRS \d+ ms, QT .* QRS axis -?\d+ degrees", out)
        and "noise uV" in out
        and out.count("\n") > 18
    )
    assert Image.open(tmp_path / "a.png").width > 1000
    assert main(["inspect", str(tmp_path / "a.png")]) == 2 and "is a picture" in capsys.readouterr().err


def test_command_line_errors(tmp_path, capsys):
    assert main(["build", "--source", str(tmp_path / "none"), "--out", str(tmp_path / "o")]) == 2
    assert "neither a folder nor a CSV" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["build", "--source", str(tmp_path / "empty"), "--out", str(tmp_path / "o")]) == 2
    for place in (tmp_path / "file", tmp_path / "file" / "deeper"):
        (tmp_path / "file").write_text("")
        write_wfdb(tmp_path / "some", "r", simulate_ecg().signal, 500)
        assert main(["build", "--source", str(tmp_path / "some"), "--out", str(place)]) == 2
    errors = capsys.readouterr().err
    assert "file is a file; a data set needs a folder" in errors and "Not a directory" in errors
    for wrong in (["--tasks", "poetry"], ["--llm", "http://x"]):
        with pytest.raises(SystemExit):
            main(["build", "--source", "x", "--out", "y", *wrong])


@pytest.mark.slow
def test_memory_does_not_grow_with_the_records(ptbxl_folder, tmp_path):
    """A build of twelve times the records, in twelve times the shards, takes about the same memory."""
    head, *lines = (ptbxl_folder / "ptbxl_database.csv").read_text().splitlines()
    peaks = []
    for copies in (1, 12):
        folder = tmp_path / f"source{copies}"
        folder.mkdir()
        (folder / "records100").symlink_to(ptbxl_folder / "records100")
        columns = head.split(",")
        rows = []
        for k in range(copies):
            for row in csv.DictReader([head, *lines]):
                row["ecg_id"], row["patient_id"], row["strat_fold"] = (
                    f"{1000 * k + int(row['ecg_id'])}",
                    f"{1000 * k + int(row['patient_id'])}",
                    "1",
                )
                rows.append(row)
        with open(folder / "ptbxl_database.csv", "w", newline="") as file:
            table = csv.DictWriter(file, columns)
            table.writeheader()
            table.writerows(rows)
        # VmHWM is of this program alone; ru_maxrss would count what the test process held when it started it.
        code = (
            "import sys, heartcare.agent.build as b; b.UNIT_RECORDS = 20;"
            "b.build(sys.argv[1], sys.argv[2], b.Settings(), progress=False);"
            "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
        )
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, str(folder), str(tmp_path / f"out{copies}")],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        peaks.append(int(done.stdout.split()[-1]) / 2**20)
    assert peaks[1] < 2.0 and peaks[1] < peaks[0] + 0.15, peaks
