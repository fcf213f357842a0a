"""The frozen items of the benchmark, their control rows, and the label sets that they are scored by."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from heartcare.agent.statements import DIAGNOSIS, NAMES, PTBXL_STATEMENTS, SETS, select_set, truth
from heartcare.bench.classify import classification_table
from heartcare.bench.controls import (
    BLANK,
    MODEL,
    NOISE,
    OTHER,
    TEXT,
    majority_answer,
    parts_for,
    substitutes,
)
from heartcare.bench.items import OFFICIAL, TASKS, freeze, manifest_hash, read_items
from heartcare.version_heartcare import HEARTCARE_VERSION


def test_a_manifest_names_the_version_that_froze_it_and_is_the_same_benchmark_with_another_one(manifest):
    assert manifest["heartcare_version"] == HEARTCARE_VERSION
    assert json.loads(OFFICIAL.read_text())["heartcare_version"] == "0.1.0"
    unnamed = {key: value for key, value in manifest.items() if key != "heartcare_version"}
    hashes = {manifest_hash(unnamed | more) for more in ({}, {"heartcare_version": "0.1.0"}, manifest)}
    assert len(hashes) == 1 and manifest_hash(manifest | {"seed": 1}) not in hashes


def test_manifest_is_the_same_each_time_and_has_every_kind(data, manifest, manifest_file, items):
    assert (
        json.loads(manifest_file.read_text())
        == json.loads(json.dumps(manifest))
        == json.loads(json.dumps(freeze(data, "train", "small", per_group=4)))
    )
    assert {item.task for item in items} == set(TASKS) - {"ecg-qa"} and {item.subset for item in items} == {
        "S",
        "I",
        "C",
    }
    groups = {}
    for item in items:
        groups.setdefault((item.subset, item.task, item.group), []).append(item)
        assert set(item.patients) and len(item.ecgs) + len(item.images) == len(item.modality.split("-"))
    assert all(len(found) <= 4 for (_, task, _), found in groups.items() if task != "classification")
    assert len(groups["S", "classification", "all"]) == 32
    assert {group for subset, task, group in groups if task == "comparison-qa"} == {
        f"{pair} irrelevant {form}"
        for pair in ("signal-signal", "image-image", "signal-image")
        for form in ("closed", "open")
    }
    assert all(item.right in item.options for item in items if item.options)
    assert freeze(data, "train", "small", per_group=4, seed=1)["items"] != manifest["items"]


def test_items_that_were_changed_or_lost_are_found(data, manifest, tmp_path):
    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    shard = next(copy.glob("train-*.parquet"))
    table = pq.read_table(shard)
    place = table.column_names.index("answer")
    pq.write_table(table.set_column(place, "answer", [["Sinus rhythm."] * len(table)]), shard)
    with pytest.raises(ValueError, match="items are others than in small, for example .*/"):
        read_items(copy, manifest)
    pq.write_table(table.slice(0, 1), shard)
    with pytest.raises(ValueError, match="lacks .* items of small"):
        read_items(copy, manifest)
    with pytest.raises(ValueError, match="no manifest.json"):
        read_items(tmp_path, manifest)
    with pytest.raises(ValueError, match="no split 'test'"):
        read_items(_without(copy, "test"), manifest | {"split": "test"})


def _without(data: Path, split: str) -> Path:
    source = json.loads((data / "manifest.json").read_text())
    source["shards"] = [shard for shard in source["shards"] if not shard["name"].startswith(split)]
    (data / "manifest.json").write_text(json.dumps(source))
    return data


def test_official_manifest_is_complete():
    manifest = json.loads(OFFICIAL.read_text())
    assert manifest["split"] == "test" and manifest["name"] == "heartcare-bench-ptbxl-test"
    ids = [item_id for item_id, _, _ in manifest["items"]]
    assert ids == sorted(ids) and len(set(ids)) == len(ids)
    tasks = [item_id.rsplit("/", 4)[1:4:2] for item_id in ids]
    count = Counter(map(tuple, tasks))
    assert (
        count["closed-qa", "signal"] == count["closed-qa", "image"] == 1000 and count["classification", "signal"] > 2150
    )
    assert set(manifest["majority"]["closed"]) == {
        "rhythm",
        "waveform",
        "diagnosis",
        "axis",
        "stage",
        "noise",
        "ectopy",
    }


def test_controls_give_what_they_say(items):
    standing_in = substitutes(items)
    for item in items:
        if substitute := standing_in.get(item.id):
            assert not set(substitute.patients) & set(item.patients) and (
                substitute.task,
                substitute.group,
                substitute.modality,
            ) == (
                item.task,
                item.group,
                item.modality,
            )
    signal = next(item for item in items if item.subset == "S" and item.task == "closed-qa")
    picture = next(item for item in items if item.subset == "I" and item.task == "closed-qa")
    assert parts_for(TEXT, signal, None) == [] and parts_for(OTHER, signal, None) is None
    (own,), (blank,), (noise,), (other,) = (
        parts_for(row, signal, standing_in[signal.id]) for row in (MODEL, BLANK, NOISE, OTHER)
    )
    assert own["signal"].shape == blank["signal"].shape == noise["signal"].shape
    assert (
        np.abs(blank["signal"]).max() < 0.01
        and 0.19 < noise["signal"].std() < 0.21
        and np.abs(other["signal"] - own["signal"]).max() > 0.1
    )
    np.testing.assert_array_equal(other["signal"], standing_in[signal.id].parts()[0]["signal"])
    ink = {row: (np.asarray(parts_for(row, picture, None)[0]["image"]).max(2) < 110).mean() for row in (BLANK, NOISE)}
    assert ink[BLANK] < 0.004 < 0.03 < ink[NOISE]  # letters and pulses alone; a band of noise
    assert majority_answer(signal, {"closed": {signal.topic: {signal.right.casefold(): 5}}, "open": {}}) == signal.right


def test_label_sets_are_those_of_the_field(items):
    assert {name: len(classes) for name, classes in SETS.items()} == {
        "super": 5,
        "sub": 23,
        "diag": 44,
        "form": 19,
        "rhythm": 12,
        "all": 71,
    }
    assert set(DIAGNOSIS) & set(PTBXL_STATEMENTS) | {"NDT", "NST_", "DIG", "LNGQT"} == set(SETS["diag"])
    found = truth({"IMI": 15.0, "SR": 0.0})
    assert [name for name, there in zip(NAMES, found) if there] == ["super:MI", "SR", "IMI"]
    assert select_set(found[None], "sub")[0][SETS["sub"].index("IMI")] and select_set(found[None], "sub").sum() == 1
    classified = [item for item in items if item.task == "classification" and item.subset == "S"]
    perfect = np.stack([truth(item.statements[0]) for item in classified]).astype(float)
    assert all(row["auc"] == 1 for row in classification_table(classified, perfect).values())
    assert (
        classification_table(classified, 1 - perfect)["super"]["auc"] == 0
        and classification_table(classified, 0 * perfect)["super"]["auc"] == 0.5
    )
