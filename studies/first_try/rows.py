"""Rows of the table: a name, the lines that a user would write, and a check of the result.

A module of rows imports nothing of the package at its top, so that the rows of `loading` can also be run where the
package is not installed.
"""

import contextlib
import re
import runpy
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

OK, LIB, FAIL, BY_TEST = "OK", "LIB", "FAIL", "by test"
EXAMPLES = ("sinus_rhythm", "atrial_fibrillation", "right_bundle_branch_block")
LONGEST_TEXT = 300  # characters of a cell


class StoppedByLibrary(Exception):
    """A row ends where transformers or another library stops every model; the message is the reason."""


@dataclass
class Given:
    """Holds the repository that rows try, and a folder for them.

    Attributes:
        repo: Name or folder of the repository that models are loaded from.
        folder: The clone of the repository, which has its examples and tests.
        space: Folder into which rows write.
    """

    repo: str
    folder: Path
    space: Path

    @property
    def trusted(self) -> dict[str, Any]:
        """Keywords of loading by remote code."""
        return {"trust_remote_code": True}

    def ecg(self, name: str = "right_bundle_branch_block") -> str:
        """Returns the path of an example record, without a suffix."""
        return str(self.folder / "examples/ecgs" / name)

    def picture(self, name: str = "right_bundle_branch_block") -> str:
        """Returns the path of an example picture."""
        return f"{self.ecg(name)}.png"

    @cached_property
    def pipe(self) -> Any:
        """The pipeline, loaded once for all rows."""
        from transformers import pipeline

        return pipeline(model=self.repo, device="cpu", **self.trusted)

    @property
    def model(self) -> Any:
        """The pipeline's model."""
        return self.pipe.model

    @property
    def processor(self) -> Any:
        """The pipeline's processor."""
        return self.pipe.processor

    def chat_inputs(self, messages: list, **options: Any) -> dict[str, Any]:
        """Returns a chat as inputs of the model."""
        return self.processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt", **options
        )

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """Inputs of the model for one ECG and the request for a report."""
        return self.chat_inputs([user({"type": "ecg", "path": self.ecg()}, "Write a report of this ECG.")])

    def written(self, inputs: dict[str, Any], ids: Any) -> list[str]:
        """Returns the answers that follow the prompts in `ids`."""
        return self.processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


@dataclass(frozen=True)
class Row:
    """Holds one row.

    Attributes:
        name: Words for the thing that is tried.
        run: Function that tries it and returns what happened, in words; it raises where this is wrong. None for a row
            that tests of the repository try.
        tests: Ids of these tests.
    """

    name: str
    run: Callable[[Given], str] | None = None
    tests: tuple[str, ...] = ()


@dataclass
class Rows:
    """A list of rows, in the order of the table."""

    all: list[Row] = field(default_factory=list)

    def row(self, name: str) -> Callable[[Callable[[Given], str]], Callable[[Given], str]]:
        """Returns a decorator that adds a function as the row of this name."""

        def add(run: Callable[[Given], str]) -> Callable[[Given], str]:
            self.all.append(Row(name, run))
            return run

        return add

    def by_test(self, name: str, *tests: str) -> None:
        """Adds a row that these tests try."""
        self.all.append(Row(name, tests=tests))


def setup_of(folder: Path) -> dict[str, Any]:
    """Returns the keywords that setup.py of a folder hands to setuptools."""
    with mock.patch("setuptools.setup") as setup, contextlib.chdir(folder):
        runpy.run_path(str(folder / "setup.py"))
    return setup.call_args.kwargs


def user(*parts: Any) -> dict[str, Any]:
    """Returns a message of a user, with its texts as parts."""
    return {"role": "user", "content": [as_part(part) for part in parts]}


def as_part(part: Any) -> Any:
    """Returns a text as a part of a message, and any other part as it is."""
    return {"type": "text", "text": part} if isinstance(part, str) else part


def stopped(call: Callable[[], object], *words: str) -> str:
    """Raises `StoppedByLibrary` with the error of a call that a library refuses for every model; see `refused`."""
    raise StoppedByLibrary(refused(call, *words))


def refused(call: Callable[[], object], *words: str) -> str:
    """Returns the error that a call is refused with, on one line.

    Args:
        call: The call.
        words: Texts that the error has to hold.

    Raises: `AssertionError` for a call that is not refused, or by an error of other words.
    """
    try:
        found = call()
    except (Exception, SystemExit) as error:
        text = f"{type(error).__name__}: {error}"
        expect(all(each in text for each in words), text)
        return " ".join(text.split())
    raise AssertionError(f"is not refused: {found!r}")


def expect(is_right: object, found: object) -> None:
    """Raises `AssertionError`, which shows what was found, where `is_right` is false."""
    if not is_right:
        raise AssertionError(f"got {found!r}")


def outcome(row: Row, given: Given) -> tuple[str, str]:
    """Returns the verdict of a row that is run, and what happened."""
    try:
        return OK, cell(row.run(given) or "")
    except StoppedByLibrary as reason:
        return LIB, cell(str(reason))
    except (Exception, SystemExit) as error:
        return FAIL, cell(f"{type(error).__name__}: {error}")


def cell(text: str) -> str:
    """Returns a text as a cell of a Markdown table."""
    text = re.sub(r"\s+", " ", text).replace("|", "\\|").strip()
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]} ..."
