"""The code blocks of the README and of docs/, as a user runs them, and the usage of every command."""

import os
import re
from pathlib import Path

import pytest
from support.commands import Result, run_code, run_main
from support.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = sorted(
    ".".join(["heartcare", *file.relative_to(ROOT).with_suffix("").parts])
    for room in ("agent", "bench", "console", "examples", "studies", "training")
    for file in (ROOT / room).glob("*.py")
    if "\ndef main(" in file.read_text(encoding="utf-8")
)


def blocks(language: str) -> list[str]:
    pages = [page.read_text(encoding="utf-8") for page in PAGES]
    return [block for page in pages for block in re.findall(rf"```{language}\n(.*?)```", page, re.S)]


def usage(module: str, *words: str) -> Result:
    return run_main(module, *words, "--help")


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.strip().splitlines()[0][:40])
def test_python_blocks_run(root, tmp_path, block):
    # The folder of this clone stands in for the name on the Hub. What a block writes is not left in the repository.
    folder = tmp_path / "repository"
    folder.mkdir()
    for file in root.iterdir():
        os.symlink(file, folder / file.name)
    run_code(block.replace("USER/HeartcareGPT", str(root)), cwd=folder)


def test_there_are_blocks_to_run():
    assert len(blocks("python")) >= 4 and len(COMMANDS) > 20


@pytest.mark.parametrize("module", COMMANDS)
def test_every_command_tells_its_usage(module):
    printed = usage(module).stdout
    assert printed.startswith("usage:") and "--help" in printed


def test_commands_are_those_of_the_repository(root):
    lines = [line.split("#")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    commands = [line for line in lines if line]
    assert "make demo" in commands and "make test" in commands
    called = set()
    for command in commands:
        for script in re.findall(r"examples/\w+\.py", command):
            assert (root / script).exists()
        program = re.match(r"python (?:-m (heartcare\.\w+)(\.\w+| \w+)|examples/(\w+)\.py)", command)
        if not program:
            continue
        package, below, script = program.groups()
        if script:
            words = [f"heartcare.examples.{script}"]
        elif below.startswith("."):
            words = [package + below]
        else:
            words = [f"{package}.__main__", below.strip()]
        called.add(tuple(words))
        printed = usage(*words).stdout
        for option in re.findall(r"--[a-z-]+", command):
            assert option in printed, f"{option} of {command}"
    assert len(called) > 8
    targets = Path(root / "Makefile").read_text()
    assert all(f"\n{command.split()[1]}:" in targets for command in commands if command.startswith("make "))
