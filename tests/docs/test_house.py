"""Rules of the house that a machine checks: sizes of modules, private names, imports, first words of docstrings."""

import ast
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOMS = ("agent", "bench", "console", "training", "studies", "examples")
LONGEST = 600  # lines of a module
LONGEST_FUNCTION = 60  # lines, its docstring left out
WITHOUT_SUBJECT = re.compile(r"(?:Of|What|Which|Whether|Where|So)\b")  # first words of docstrings that are no sentences


@pytest.fixture(scope="module")
def files(root) -> dict[Path, ast.Module]:
    """Returns path below the root -> syntax tree of each Python file of the repository."""
    names = subprocess.run(["git", "ls-files", "*.py"], cwd=root, capture_output=True, text=True, check=True).stdout
    paths = [Path(name) for name in names.split() if (root / name).exists()]
    return {path: ast.parse((root / path).read_text(encoding="utf-8")) for path in paths}


@pytest.fixture(scope="module")
def modules(files) -> dict[Path, ast.Module]:
    """Returns path below the root -> syntax tree of each module of the product."""
    own = {path: tree for path, tree in files.items() if path.parts[0] != "tests"}
    assert 80 < len(own) < len(files) - 80
    return own


def test_files_of_tests_have_names_of_their_own(files):
    """Pytest imports them by name alone, so that two of one name cannot be run together."""
    names = Counter(path.name for path in files if path.name.startswith("test_"))
    assert len(names) > 80 and [name for name, number in names.items() if number > 1] == []


def test_no_module_is_long(modules, root):
    lengths = {path: len((root / path).read_text(encoding="utf-8").splitlines()) for path in modules}
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}


def test_no_function_is_long(modules):
    long = {}
    for path, tree in modules.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
                length = body[-1].end_lineno - body[0].lineno + 1
                if length > LONGEST_FUNCTION:
                    long[f"{path}:{node.name}"] = length
    assert long == {}


def test_no_private_name_is_used_across_modules(modules):
    used = []
    for path, tree in modules.items():
        ours = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("heartcare")):
                names = [alias.name for alias in node.names if alias.name != "__all__"]
                used += [f"{path}: {name}" for name in names if name.startswith("_")]
                ours |= {alias.asname or alias.name for alias in node.names}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ours:
                if node.attr.startswith("_") and node.attr not in ("_from_config", "__name__"):
                    used.append(f"{path}: {node.value.id}.{node.attr}")
    assert used == []


def test_the_core_imports_no_room_and_nothing_else_of_the_package_but_flat_files(modules):
    """`trust_remote_code` loads the flat files alone, and finds them by `from .name import ...`."""
    wrong = []
    for path, tree in modules.items():
        if len(path.parts) > 1 or path.stem in ("setup", "__init__", "__main__"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                if node.level > 1 or not node.module or "." in node.module or node.module in ROOMS:
                    wrong.append(f"{path}:{node.lineno}")
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if any(name.split(".")[0] == "heartcare" for name in names):
                wrong.append(f"{path}:{node.lineno}")
    assert wrong == []


def test_rooms_import_downwards(modules):
    """The data engine knows neither benchmark nor training; the benchmark knows no training; the console starts the
    commands of all rooms by their names, and imports the data engine alone; nobody imports examples but examples
    themselves.
    """
    above = {
        "agent": ("bench", "console", "training", "studies", "examples"),
        "bench": ("console", "training", "studies", "examples"),
        "console": ("bench", "training", "studies", "examples"),
        "training": ("console", "studies", "examples"),
    }
    wrong = []
    for path, tree in modules.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and path.parts[0] in above:
                target = (node.module or "").removeprefix("heartcare.").split(".")[0]
                if target in above[path.parts[0]] and (node.level > 1 or (node.module or "").startswith("heartcare")):
                    wrong.append(f"{path}: {node.module}")
    assert wrong == []


def test_docstrings_begin_with_a_subject_or_a_verb(files):
    """A docstring that begins with such a word is a clause, which has to be read twice."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    wrong = [
        f"{path}:{getattr(node, 'lineno', 1)}: {text.splitlines()[0]}"
        for path, tree in files.items()
        for node in ast.walk(tree)
        if isinstance(node, documented) and (text := ast.get_docstring(node)) and WITHOUT_SUBJECT.match(text)
    ]
    assert wrong == []


def test_there_is_one_reader_and_one_check(modules, root):
    """One function tells formats, one constructor checks a recording."""
    texts = {path: (root / path).read_text(encoding="utf-8") for path in modules}
    for mark, home in (("def detect_format", "reading_heartcare.py"), ("is there twice in", "ecg_heartcare.py")):
        assert [str(path) for path, text in texts.items() if mark in text] == [home], mark
