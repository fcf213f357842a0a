"""The repository as a stranger loads it: by trust_remote_code, out of a bare folder and over HTTP, without this
package.
"""

import json
import os
import re
import subprocess
import sys

import pytest
from support import hub_server
from support.hub_client import READ, client

from heartcare.examples.push_to_hub import tracked
from heartcare.version_heartcare import HEARTCARE_VERSION

LOAD_ALL = """
config = AutoConfig.from_pretrained(repo, **trust)
parts = config, processor, *(part.from_pretrained(repo, **trust) for part in (AutoFeatureExtractor, AutoImageProcessor))
names = {type(part).__name__ for part in parts}
assert names == {"HeartcareConfig", "HeartcareProcessor", "BeatFeatureExtractor", "ECGImageProcessor"}, names
assert len(AutoTokenizer.from_pretrained(repo, **trust)) == len(processor.tokenizer)
for auto_class in (AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForMultimodalLM):
    model = auto_class.from_pretrained(repo, **trust).eval()
    assert type(model).__name__ == "HeartcareForConditionalGeneration"
"""
ANSWER = """
model = AutoModel.from_pretrained(repo, **trust).eval()
print("IDS", model.generate(**inputs, max_new_tokens=12, do_sample=False).tolist())
"""
PUSH = """
model.push_to_hub("me/again")
processor.push_to_hub("me/again")
"""


@pytest.mark.slow
def test_bare_folder_and_http_and_pushed_again(bare_clone, hub, root, tmp_path):
    ecg = root / "examples/ecgs/atrial_fibrillation"
    for name in "abc":
        (tmp_path / name).mkdir()
    local = client(READ + LOAD_ALL + ANSWER, bare_clone, ecg, tmp_path=tmp_path / "a", HF_ENDPOINT="http://127.0.0.1:9")
    remote = client(READ + LOAD_ALL + ANSWER + PUSH, "me/heartcare", ecg, tmp_path=tmp_path / "b", HF_ENDPOINT=hub.url)
    assert local and local == remote
    pushed = bare_clone.parent / "again"
    for name in (
        "config.json",
        "model.safetensors",
        "processor_config.json",
        "chat_template.jinja",
        "tokenizer.json",
        "modeling_heartcare.py",
        "tokenization_beat.py",
        "configuration_heartcare.py",
        "processing_heartcare.py",
    ):
        assert (pushed / name).exists(), name
    before, after = (json.loads((folder / "config.json").read_text())["auto_map"] for folder in (bare_clone, pushed))
    assert before == after
    again = client(READ + LOAD_ALL + ANSWER, "me/again", ecg, tmp_path=tmp_path / "c", HF_ENDPOINT=hub.url)
    assert again == local


BEAT = """
import sys
sys.modules["heartcare"] = None
import numpy as np
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel
repo = sys.argv[1]
beat = AutoModel.from_pretrained(repo, trust_remote_code=True)
assert type(beat).__name__ == "BeatModel" and not beat.training
extractor = AutoFeatureExtractor.from_pretrained(repo, trust_remote_code=True)
signal = np.random.default_rng(0).normal(0, 0.2, size=(12, 5000))
inputs = extractor(signal, sampling_rate=500, units="mV", return_tensors="pt")
tokens = beat.encode(**inputs)
assert beat.decode(tokens.codes, tokens.gain).shape == (1, 12, 1000)
print("IDS", tokens.codes.tolist(), len(beat.stream(extractor, 500).push(signal)))
if len(sys.argv) > 2:
    beat.push_to_hub(sys.argv[2])
    extractor.push_to_hub(sys.argv[2])
"""


@pytest.mark.slow
def test_beat_stands_on_its_own(root, bare_clone, hub, tmp_path):
    """Exported by the command, loaded as a folder and over HTTP, pushed, and loaded again: always the same codes."""
    folder = bare_clone.parent / "beat"
    command = [sys.executable, "-W", "ignore", root / "examples/export_beat.py", "--model", root, "--output", folder]
    subprocess.run([*map(str, command)], check=True, capture_output=True)
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "config.json",
        "preprocessor_config.json",
        "model.safetensors",
        "atc_heartcare.py",
        "cleaning_heartcare.py",
        "configuration_heartcare.py",
        "delineation_heartcare.py",
        "ecg_heartcare.py",
        "files_heartcare.py",
        "json_heartcare.py",
        "limits_heartcare.py",
        "marking_heartcare.py",
        "measuring_heartcare.py",
        "numpy_heartcare.py",
        "privacy_heartcare.py",
        "quality_heartcare.py",
        "recognition_heartcare.py",
        "reading_heartcare.py",
        "stretches_heartcare.py",
        "tables_heartcare.py",
        "version_heartcare.py",
        "wfdb_heartcare.py",
        "tokenization_beat.py",
        "networks_beat.py",
        "quantization_beat.py",
        "streaming_beat.py",
        "extraction_heartcare.py",
    }
    card = (folder / "README.md").read_text()
    assert "135 bits/s" in card and f"heartcare {HEARTCARE_VERSION}" in card
    assert str(tmp_path) not in (folder / "config.json").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", card, re.S)
    for name in "abc":
        (tmp_path / name).mkdir()
    local = client(BEAT + block, folder, tmp_path=tmp_path / "a")
    remote = client(BEAT, "me/beat", "me/beat-again", tmp_path=tmp_path / "b", HF_ENDPOINT=hub.url)
    again = client(BEAT, "me/beat-again", tmp_path=tmp_path / "c", HF_ENDPOINT=hub.url)
    assert local.startswith("IDS [[[") and local == remote == again


@pytest.mark.slow
def test_the_whole_repository_is_published_and_loaded_back(root, hub, bare_clone, tmp_path):
    """The command publishes model, card with the new name, handler, and Space with the commit pinned; it fails for a
    repository that answers otherwise.
    """
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": f"hf_{'t' * 34}",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(tmp_path / "cache"),
    }
    command = [sys.executable, "-W", "ignore", root / "examples/push_to_hub.py", "--repo", "me/published"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"pin revision='{hub_server.SHA}'" in done.stdout
    published, space = (bare_clone.parent / name for name in ("published", "published-demo"))
    for name in (
        "handler.py",
        "pipeline_heartcare.py",
        "requirements.txt",
        "model.safetensors",
        "agent/render.py",
        "bench/run.py",
        "docs/results.md",
        "examples/space/app.py",
    ):
        assert (published / name).is_file(), name
    # Nothing but what git tracks, or would, and no token anywhere.
    assert {str(path.relative_to(published)) for path in published.rglob("*") if path.is_file()} <= set(tracked())
    assert environment["HF_TOKEN"] not in done.stdout + done.stderr
    secret = [
        path
        for path in published.rglob("*")
        if path.is_file() and environment["HF_TOKEN"].encode() in path.read_bytes()
    ]
    assert not secret
    card = (published / "README.md").read_text()
    assert "USER/HeartcareGPT" not in card and 'model="me/published"' in card and not (published / ".ci").exists()
    assert {path.name for path in space.iterdir()} == {"app.py", "README.md", "requirements.txt", "variables.json"}
    assert json.loads((space / "variables.json").read_text()) == {"key": "REVISION", "value": hub_server.SHA}
    assert "me/published" in (space / "app.py").read_text() and "sdk: gradio" in (space / "README.md").read_text()


def test_nothing_is_printed_or_written_at_import(root, tmp_path):
    code = "import heartcare, heartcare.agent.simulate, heartcare.agent.render, heartcare.agent.qa"
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0 and run.stdout == "" and run.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_is_pushed(ptbxl_folder, tmp_path):
    """The command's own --push-to-hub pushes over HTTP: all files arrive, and none of the work folder's."""
    server = hub_server.start(tmp_path / "hub")
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "heartcare.agent",
        "build",
        "--source",
        str(ptbxl_folder),
        "--out",
        str(out),
        "--limit",
        "12",
    ]
    environment = {
        **os.environ,
        "HF_ENDPOINT": server.url,
        "HF_TOKEN": "hf_test",
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
    }
    try:
        done = subprocess.run(
            [*command, "--no-images", "--push-to-hub", "me/ecgs"], capture_output=True, text=True, env=environment
        )
    finally:
        server.shutdown()
    assert done.returncode == 0, done.stderr[-3000:]
    sent = {
        str(path.relative_to(tmp_path / "hub/me/ecgs")): path
        for path in (tmp_path / "hub/me/ecgs").rglob("*")
        if path.is_file()
    }
    assert {"README.md", "manifest.json", "rejected.jsonl", "card/dimensions.png"} <= set(sent) and not any(
        ".build" in name for name in sent
    )
    for path in out.glob("*.parquet"):
        assert sent[path.name].read_bytes() == path.read_bytes()
