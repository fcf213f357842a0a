"""Writes examples/quickstart.ipynb, the walk-throughs as one notebook without outputs.

    python examples/make_notebook.py            # after a walk-through has changed
    python examples/make_notebook.py --check    # status 1 where the notebook is not what would be written

Cells of a walk-through begin with `# %%`. Their first comment becomes text, and the words of a command line, which a
notebook does not have, get their defaults.
"""

import argparse
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WALKTHROUGHS = ROOT / "examples/walkthroughs"
NOTEBOOK = ROOT / "examples/quickstart.ipynb"
INTRODUCTION = """\
# HeartcareGPT, step by step

Open this notebook in a clone of the repository, in its folder `examples/`. The first cell installs the package of the \
clone, with what training takes. Each of the five parts can be run by itself."""
INSTALL = '%pip install --quiet --editable "..[train]"'


def write_notebook() -> str:
    """Returns the notebook as JSON.

    Raises: `SystemExit` where there are no walk-throughs, as in a package that is installed without its repository.
    """
    paths = sorted(WALKTHROUGHS.glob("[0-9]_*.py"))
    if not paths:
        raise SystemExit(f"{WALKTHROUGHS} has no walk-throughs; run this script of a clone of the repository.")
    cells = [make_cell("introduction", "markdown", INTRODUCTION), make_cell("install", "code", INSTALL)]
    for path in paths:
        cells += make_part(path)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    notebook = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def make_cell(name: str, kind: str, text: str) -> dict:
    """Returns a cell of the kind "markdown" or "code" as the format of notebooks has it."""
    source = text.strip("\n").splitlines(keepends=True)
    cell = {"cell_type": kind, "id": name, "metadata": {}, "source": source}
    return {**cell, "execution_count": None, "outputs": []} if kind == "code" else cell


def make_part(path: Path) -> list[dict]:
    """Returns the cells of one walk-through: its heading, and text and code of each of its cells.

    Raises: `SystemExit` for one whose code would need what a notebook does not have.
    """
    number, _, title = path.stem.partition("_")
    opening, *cells = re.split(r"^# %% ?", path.read_text(encoding="utf-8"), flags=re.M)
    told = opening.strip().strip('"').split("\n\n")[0].replace("\n", " ")
    heading = title.replace("_", " ").capitalize().replace("csv", "CSV")
    made = [make_cell(f"part-{number}", "markdown", f"## {number}. {heading}\n\n{told}")]
    code = fit_code("\0".join(cells))
    if "__file__" in code or "sys.argv" in code:
        raise SystemExit(f"{path}: a notebook has no __file__ and no sys.argv; see `fit_code` of make_notebook.py.")
    for place, cell in enumerate(code.split("\0"), 1):
        first, *lines = cell.splitlines()
        while lines and lines[0].startswith("# "):
            first += lines.pop(0).removeprefix("#")
        made.append(make_cell(f"part-{number}-text-{place}", "markdown", first))
        made.append(make_cell(f"part-{number}-code-{place}", "code", "\n".join(lines)))
    return made


def fit_code(code: str) -> str:
    """Returns the code of a walk-through as it runs in a notebook: its repository is the folder above the notebook's,
    and there are no words of a command line.
    """
    code = re.sub(r"= .* if len\(sys\.argv\) > 1 else (.*)", r"= \1", code)
    code = code.replace("Path(__file__).resolve().parents[2]", 'Path("..").resolve()')
    return code if "sys." in code else code.replace("import sys\n", "")


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=NOTEBOOK, help="the notebook")
    parser.add_argument("--check", action="store_true", help="write nothing; tell whether the notebook is up to date")
    args = parser.parse_args(argv)
    notebook = write_notebook()
    if not args.check:
        args.output.write_text(notebook, encoding="utf-8")
    elif not args.output.is_file() or args.output.read_text(encoding="utf-8") != notebook:
        raise SystemExit(f"{args.output} is not what the walk-throughs say. Run `python examples/make_notebook.py`.")


if __name__ == "__main__":
    main()
