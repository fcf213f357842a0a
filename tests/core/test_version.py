"""The version: it is written down once, everything that names one names this, and checkpoints of other versions load
or say what to do.
"""

import json
import re
import subprocess
import sys
import warnings

import pytest
import yaml
from packaging.version import Version
from support.hub_client import client

import heartcare
from heartcare import BeatConfig, HeartcareConfig
from heartcare.version_heartcare import HEARTCARE_VERSION

TEXT = {"capture_output": True, "text": True, "check": True}
CONFIGS = {"config.json": HeartcareConfig, "smollm2/config.json": HeartcareConfig, "beat360/config.json": BeatConfig}


def printed(*command: str, cwd) -> str:
    """The last word that a command prints."""
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, cwd=cwd, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


def of_the_package(root, tmp_path) -> str:
    return heartcare.__version__


def of_the_wheel(root, tmp_path) -> str:
    """As pip asks for it; run elsewhere, as the file is found from any folder."""
    pytest.importorskip("setuptools")
    return printed("-W", "ignore", root / "setup.py", "--version", cwd=tmp_path)


def of_the_command(root, tmp_path) -> str:
    return printed("-W", "ignore", "-m", "heartcare", "--version", cwd=root.parent)


def of_the_package_in_the_command(root, tmp_path) -> str:
    code = "import sys; sys.argv = ['bin/heartcare']; import heartcare; assert 'torch' not in sys.modules"
    return printed("-c", f"{code}; print(heartcare.__version__)", cwd=root.parent)


def of_the_citation(root, tmp_path) -> str:
    return yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))["version"]


def of_the_changelog(root, tmp_path) -> str:
    """The newest version with a date, which is that of the citation."""
    found = re.search(r"^## (\S+) – (\S+)$", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    released = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))["date-released"]
    assert found[2] == str(released)
    return found[1]


def of_the_server(root, tmp_path) -> str:
    pytest.importorskip("fastapi")
    from heartcare.examples.serve import create_app
    from heartcare.serving_heartcare import DynamicBatcher

    return create_app(DynamicBatcher(None), "any").openapi()["info"]["version"]


def of_a_saved_model(root, tmp_path) -> str:
    HeartcareConfig().save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert not [part for part in ("beat_config", "vision_config", "text_config") if "heartcare_version" in saved[part]]
    return saved["heartcare_version"]


def of_a_saved_beat(root, tmp_path) -> str:
    BeatConfig().save_pretrained(tmp_path)
    return BeatConfig.from_pretrained(tmp_path).heartcare_version


def of_a_model_that_is_saved_again(root, tmp_path) -> str:
    """The version that saves, and no longer the one that saved what was loaded."""
    (tmp_path / "config.json").write_text(json.dumps(BeatConfig().to_dict() | {"heartcare_version": "0.1.0"}))
    loaded = BeatConfig.from_pretrained(tmp_path)
    assert loaded.heartcare_version == "0.1.0"
    loaded.save_pretrained(tmp_path)
    return json.loads((tmp_path / "config.json").read_text())["heartcare_version"]


PLACES = [
    *(of_the_package, of_the_wheel, of_the_command, of_the_package_in_the_command, of_the_citation, of_the_changelog),
    *(of_the_server, of_a_saved_model, of_a_saved_beat, of_a_model_that_is_saved_again),
]


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_every_place_names_the_one_version(place, root, tmp_path):
    assert str(Version(HEARTCARE_VERSION)) == HEARTCARE_VERSION == place(root, tmp_path)


def test_the_version_is_written_down_once(root):
    """No other module has it, nor a version of its own under a name that looks like one."""
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.py", "*.toml"], cwd=root, **TEXT).stdout
    stated = rf"""["']{re.escape(HEARTCARE_VERSION)}["']|^ *\w*version\w*(: \w+)? ?= ?["']\d"""
    product = [name for name in names.split() if not name.startswith("tests/") and (root / name).exists()]
    found = [name for name in product if re.search(stated, (root / name).read_text(encoding="utf-8"), re.I | re.M)]
    assert found == ["version_heartcare.py"]


@pytest.mark.parametrize("name", CONFIGS)
def test_the_checkpoints_name_the_version_that_made_them(root, name):
    """None is of a later version than the code beside it, and a whole model names it once."""
    text = (root / name).read_text(encoding="utf-8")
    assert text.count('"heartcare_version"') == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config = CONFIGS[name].from_pretrained((root / name).parent)
    assert Version(config.heartcare_version) <= Version(HEARTCARE_VERSION)
    assert config.heartcare_version == json.loads(text)["heartcare_version"]


@pytest.mark.parametrize("kind", [HeartcareConfig, BeatConfig])
@pytest.mark.parametrize("version", [None, "0.1.0", HEARTCARE_VERSION, f"{HEARTCARE_VERSION}.dev1", "999.0"])
def test_checkpoints_of_other_versions_load(kind, version, tmp_path):
    """Without a warning those of older ones, which may name none; newer ones with the way out."""
    content = kind().to_dict() | {"heartcare_version": version}
    if version is None:
        del content["heartcare_version"]
    (tmp_path / "config.json").write_text(json.dumps(content))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = kind.from_pretrained(tmp_path)
    assert loaded.heartcare_version == version
    told = [str(each.message) for each in caught]
    assert bool(told) == (version == "999.0")
    assert all("999.0" in text and HEARTCARE_VERSION in text and "Update heartcare" in text for text in told)


@pytest.mark.parametrize("version", ["", "next", 2, ["0.2.0"]])
def test_what_is_no_version_is_refused(version, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(BeatConfig().to_dict() | {"heartcare_version": version}))
    with pytest.raises(ValueError, match="heartcare_version.*expected a version such as"):
        BeatConfig.from_pretrained(tmp_path)


def test_a_stranger_loads_and_saves_the_version_by_remote_code(bare_clone, tmp_path):
    """The file with the version is among those that `trust_remote_code` copies, and goes with what is saved."""
    code = """
import sys
sys.modules["heartcare"] = None
import json
from transformers import AutoConfig
config = AutoConfig.from_pretrained(sys.argv[1], trust_remote_code=True)
config.save_pretrained(sys.argv[2])
print("IDS", config.heartcare_version, json.load(open(f"{sys.argv[2]}/config.json"))["heartcare_version"])
"""
    made_by = json.loads((bare_clone / "config.json").read_text())["heartcare_version"]
    out = tmp_path / "saved"
    assert client(code, bare_clone, out, tmp_path=tmp_path).split() == ["IDS", made_by, HEARTCARE_VERSION]
    assert (out / "version_heartcare.py").is_file()
