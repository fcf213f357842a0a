"""README and docs/: their code blocks, as a user runs them, the answers printed below these, their links, and the
commands that they name.
"""

import os
import re
from pathlib import Path

import pytest
from support.commands import Result, run_code, run_main
from support.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = sorted(
    ".".join(["heartcare", *file.relative_to(ROOT).with_suffix("").parts])
    for room in ("agent", "bench", "console", "docs", "examples", "studies", "training")
    for file in (ROOT / room).glob("*.py")
    if "\ndef main(" in file.read_text(encoding="utf-8")
)


TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
ANSWERED = r"```python\n(.*?)```\n(?:```text\n(.*?)```)?"  # a block, and what it prints where that is told


def blocks(language: str) -> list[str]:
    return [block for page in TEXTS.values() for block in re.findall(rf"```{language}\n(.*?)```", page, re.S)]


def answered() -> list[tuple[str, str]]:
    return [found for page in TEXTS.values() for found in re.findall(ANSWERED, page, re.S)]


def prose(page: Path) -> str:
    """Returns the text of a page without its metadata and code blocks."""
    return re.sub(r"^```.*?^```|\A---\n.*?^---$", "", TEXTS[page], flags=re.S | re.M)


def anchors(page: Path) -> set[str]:
    """Returns the anchors of a page's headings, as the Hub and GitHub make them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def usage(module: str, *words: str) -> Result:
    return run_main(module, *words, "--help")


@pytest.mark.parametrize(
    ("block", "answers"), [pytest.param(*each, id=each[0].strip().splitlines()[-1].strip()[:40]) for each in answered()]
)
def test_python_blocks_run(root, tmp_path, block, answers):
    """All blocks run, and print what stands in the block of text below them."""
    # The folder of this clone stands in for the name on the Hub. What a block writes is not left in the repository.
    folder = tmp_path / "repository"
    folder.mkdir()
    for file in root.iterdir():
        os.symlink(file, folder / file.name)
    printed = run_code(block.replace("USER/HeartcareGPT", str(root)), cwd=folder).stdout
    assert not answers or printed == answers


def test_there_are_blocks_to_run():
    assert len(blocks("python")) == len(answered()) > 15 and len(COMMANDS) > 20
    assert sum(bool(answers) for _, answers in answered()) == len(blocks("text")) > 1


def test_readme_is_read_in_five_minutes():
    assert len(TEXTS[PAGES[0]].splitlines()) <= 200


def test_every_page_is_linked_from_the_readme():
    linked = set(re.findall(r"\]\((docs/\w[\w-]*\.md)", TEXTS[PAGES[0]]))
    assert linked == {f"docs/{page.name}" for page in PAGES[1:]}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_anchors_that_are_there(page):
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)) if "://" not in link]
    assert links
    for link in links:
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_and_scripts_that_a_page_names_are_there(root, page):
    """The modules after `python -m`, and the paths of files of the rooms, exist."""
    for module in re.findall(r"python -m heartcare((?:\.\w+)*)", TEXTS[page]):
        path = root.joinpath(*module.split("."))
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
    rooms = r"(?<![\w/.-])(?:agent|bench|console|examples|studies|tests|training)/[\w/-]+\.\w+"
    missing = [name for name in re.findall(rooms, prose(page)) if not (root / name).exists()]
    assert missing == []
    flat = re.findall(r"`(\w+_(?:heartcare|beat)\.py)`", prose(page))
    assert [name for name in flat if not (root / name).is_file()] == []


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
