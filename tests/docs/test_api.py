"""docs/api.md: the page says the same as the docstrings and signatures, and holds all that a user calls."""

import ast
import importlib
import inspect
import re

import pytest
from support.commands import run_main

import heartcare

MODULE = "heartcare.docs.make_api"


@pytest.fixture(scope="module")
def page(root) -> str:
    """Returns the text of the page."""
    return (root / "docs/api.md").read_text(encoding="utf-8")


def test_page_is_up_to_date():
    """A changed docstring or signature wants a new page: `python docs/make_api.py`."""
    run_main(MODULE, "--check")


def test_check_fails_for_another_page(tmp_path, page):
    written = tmp_path / "api.md"
    assert run_main(MODULE, "--check", "--output", written, check=False).returncode == 1
    run_main(MODULE, "--output", written)
    assert written.read_text(encoding="utf-8") == page
    written.write_text(page.replace("mV", "uV", 1), encoding="utf-8")
    result = run_main(MODULE, "--check", "--output", written, check=False)
    assert result.returncode == 1 and "python docs/make_api.py" in result.stderr


def test_every_public_name_has_a_section(page):
    assert sorted(re.findall(r"^### (\w+)$", page, re.M)) == sorted(heartcare.__all__)


def test_methods_are_those_of_the_classes(page):
    """The page's names can be called, and are defined by this package and not by transformers."""
    shown = re.findall(r"^#### `(\w+)\.(\w+)`$", page, re.M)
    assert len(shown) > 40
    for owner, method in shown:
        function = inspect.unwrap(getattr(getattr(heartcare, owner), method))
        assert callable(function) and function.__module__.startswith("heartcare"), f"{owner}.{method}"


def test_signatures_have_the_parameters_of_the_functions(page):
    for owner, method, block in re.findall(r"^#### `(\w+)\.(\w+)`\n\n```py\n(.*?)```", page, re.M | re.S):
        function = inspect.unwrap(getattr(getattr(heartcare, owner), method))
        expected = [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]
        (shown,) = ast.parse(block.rstrip() + ": ...").body
        given = shown.args
        names = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
        assert [each.arg for each in names if each] == expected, f"{owner}.{method}"


def test_entries_and_code_of_docstrings_become_lists_and_blocks():
    render = importlib.import_module(MODULE).render_docstring
    docstring = (
        "Reads [`ECG`] and [`Other`] below <1 mV.\n\n    stream.push(chunk)\n\n"
        "Args:\n    speed, gain (`float`): mm/s:\n        and more.\n    kwargs: As `a: b`.\n\n"
        "Raises: `ValueError` for\n    both."
    )
    assert render(docstring, ["ECG"]) == (
        "Reads [`ECG`](#ecg) and `Other` below \\<1 mV.\n\n```py\nstream.push(chunk)\n```\n\n**Args:**\n\n"
        "- `speed`, `gain` (`float`): mm/s: and more.\n- `kwargs`: As `a: b`.\n\n**Raises:** `ValueError` for both."
    )
