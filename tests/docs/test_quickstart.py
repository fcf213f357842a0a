"""examples/quickstart.ipynb: the walk-throughs in the format of notebooks; it runs."""

import ast
import json
import re

import pytest
from support.commands import run_code, run_main

MODULE = "heartcare.examples.make_notebook"


@pytest.fixture(scope="module")
def cells(root) -> list[dict]:
    """Returns the notebook's cells."""
    return json.loads((root / "examples/quickstart.ipynb").read_text(encoding="utf-8"))["cells"]


def code_of(cell: dict) -> str:
    """Returns the code of a cell without the lines that Jupyter alone understands."""
    return "".join(line for line in cell["source"] if not line.startswith("%"))


def statements_of(code: str) -> list[str]:
    """Returns the statements of Python code, written in one way."""
    return [ast.unparse(node) for node in ast.parse(code).body]


def test_notebook_is_up_to_date():
    """A changed walk-through wants a new notebook: `python examples/make_notebook.py`."""
    run_main(MODULE, "--check")


def test_check_fails_for_another_notebook(root, tmp_path):
    written = tmp_path / "quickstart.ipynb"
    assert run_main(MODULE, "--check", "--output", written, check=False).returncode == 1
    run_main(MODULE, "--output", written)
    text = written.read_text(encoding="utf-8")
    assert text == (root / "examples/quickstart.ipynb").read_text(encoding="utf-8")
    written.write_text(text.replace("ECG", "EEG", 1), encoding="utf-8")
    assert run_main(MODULE, "--check", "--output", written, check=False).returncode == 1


def test_notebook_has_the_format_of_notebooks(root, cells):
    """The schema of nbformat 4.5: kinds of cells and their keys, ids that are unique, and lines as a list."""
    notebook = json.loads((root / "examples/quickstart.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert set(notebook) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    common = {"cell_type", "id", "metadata", "source"}
    for cell in cells:
        is_code = cell["cell_type"] == "code"
        assert is_code or cell["cell_type"] == "markdown"
        assert set(cell) == common | ({"execution_count", "outputs"} if is_code else set())
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", cell["id"])
        assert cell["source"] and all(line.endswith("\n") for line in cell["source"][:-1])
        assert not is_code or (cell["execution_count"], cell["outputs"]) == (None, [])
    assert len({cell["id"] for cell in cells}) == len(cells)


def test_notebook_has_every_statement_of_the_walkthroughs(root, cells):
    """The notebook has the code of the walk-throughs, but for the words of a command line, and `import sys` where
    nothing else needs it.
    """
    paths = sorted((root / "examples/walkthroughs").glob("*.py"))
    assert len(paths) == 5
    assert [cell["source"][0] for cell in cells if cell["source"][0].startswith("%pip")] == cells[1]["source"]
    for number, path in enumerate(paths, 1):
        code = "\n".join(code_of(each) for each in cells if each["id"].startswith(f"part-{number}-code"))
        _, *wanted = statements_of(path.read_text(encoding="utf-8"))
        missing = [each for each in wanted if each not in statements_of(code)]
        assert [each for each in missing if not re.search(r"^import sys$|__file__|sys\.argv", each)] == []
        assert "__file__" not in code and "sys.argv" not in code
        assert not missing or 'REPO = str(Path("..").resolve())' in code


def test_first_walkthrough_runs_as_cells(root, cells):
    """All cells run in one namespace, in the notebook's folder, as Jupyter runs them."""
    code = [code_of(cell) for cell in cells if cell["id"].startswith(("install", "part-1-code"))]
    assert len(code) == 7
    said = run_code("\n".join(code), cwd=root / "examples").stdout
    assert said.count("%  ") == 3 and "absent:V6" in said and "Rhythm" in said
