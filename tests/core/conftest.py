"""A copy of the repository as the Hub has it, and a server of it."""

import shutil

import pytest
from support import hub_server

REPO_FILES = ["*.py", "*.json", "*.jinja", "*.safetensors", "README.md"]


@pytest.fixture
def bare_clone(root, tmp_path):
    """Copies the files that git tracks at the top, or would, and nothing else."""
    folder = tmp_path / "hub" / "me" / "heartcare"
    folder.mkdir(parents=True)
    for pattern in REPO_FILES:
        for file in root.glob(pattern):
            shutil.copy(file, folder)
    return folder


@pytest.fixture
def hub(bare_clone):
    server = hub_server.start(bare_clone.parents[1])
    yield server
    server.shutdown()
