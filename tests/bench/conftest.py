"""The data set and the frozen items that the tests of the benchmark share."""

from pathlib import Path

import pytest

from heartcare.bench.items import freeze, read_items, write_manifest


@pytest.fixture(scope="session")
def data(built) -> Path:
    return built


@pytest.fixture(scope="session")
def manifest(data) -> dict:
    return freeze(data, "train", "small", per_group=4)


@pytest.fixture(scope="session")
def manifest_file(manifest, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("manifest") / "small.json"
    write_manifest(manifest, path)
    return path


@pytest.fixture(scope="session")
def items(data, manifest) -> list:
    return read_items(data, manifest)
