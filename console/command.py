"""The command `heartcare`: reads ECGs, makes tables of folders, draws, digitises, tokenises, builds, scores, serves.

Nothing but the subcommand that is asked for is imported, so that the help is there at once.
"""

import argparse
import os
import runpy
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

from ..version_heartcare import HEARTCARE_VERSION
from .models import default_model

ALL = "heartcare.public_heartcare"  # `import heartcare` imports it elsewhere, and commands of other rooms count on that
Run = Callable[[list[str]], int | None]


class Subcommand(NamedTuple):
    """A subcommand: a line of `help`; `run`, which takes its words and returns its exit status, None for 0; and the
    `extra` of the package that it needs, empty for none.
    """

    help: str
    run: Run
    extra: str = ""


def of_module(name: str, *first: str) -> Run:
    """Returns the command that a module's `main` is, with the words `first` before those of the user."""

    def run(words: list[str]) -> int | None:
        if not name.startswith("console."):
            import_module(ALL)
        return import_module(f"heartcare.{name}").main([*first, *words])

    return run


def serve(words: list[str]) -> int | None:
    """Starts the server, with the command's own default model."""
    given = any(word == "--model" or word.startswith("--model=") for word in words)
    is_question = {"-h", "--help"} & set(words)
    model = [] if given or is_question else ["--model", default_model()]
    return of_module("examples.serve", *model)(words)


def space(words: list[str]) -> None:
    """Starts the Space, which takes the name of its model from the environment."""
    parser = argparse.ArgumentParser(prog="heartcare space", description="Starts the Space on this machine.")
    parser.add_argument("--model", help="folder or Hub id")
    os.environ["MODEL"] = parser.parse_args(words).model or default_model()
    import_module(ALL)
    runpy.run_module("heartcare.examples.space.app", run_name="__main__")


COMMANDS: dict[str, Subcommand] = {
    "read": Subcommand("report, answers, drawing, FHIR and DICOM SR of ECG files and pages", of_module("console.read")),
    "table": Subcommand("all ECG files below a folder as one table, CSV or Parquet", of_module("console.table")),
    "draw": Subcommand("an ECG file on paper, as PNG, SVG or PDF", of_module("console.draw")),
    "digitize": Subcommand("a picture of a page as a signal", of_module("examples.digitize")),
    "tokens": Subcommand("Beat's codes of an ECG file, and back", of_module("console.tokens")),
    "build": Subcommand("a data set of questions and answers (heartcare.agent)", of_module("agent.__main__", "build")),
    "bench": Subcommand("scores of models (heartcare.bench)", of_module("bench.__main__")),
    "serve": Subcommand("the server with OpenAI's interface", serve, "serve"),
    "space": Subcommand("the Space in the browser", space, "space"),
}


def main(argv: list[str] | None = None) -> int:
    """Runs the command line. Returns the exit status of the subcommand; 2 where none, or an unknown one, is named."""
    words = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="heartcare",
        description="HeartcareGPT on the command line. Not for clinical use.",
        epilog="\n".join(f"  {name:9} {command.help}" for name, command in COMMANDS.items())
        + "\n\nheartcare SUBCOMMAND --help says more of each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"heartcare {HEARTCARE_VERSION}")
    parser.add_argument("subcommand", choices=COMMANDS, metavar="SUBCOMMAND", help="one of those below")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="...", help="its own files and options")
    args = parser.parse_args(words)
    command = COMMANDS[args.subcommand]
    try:
        with warnings.catch_warnings():
            # The commands print the warnings about an ECG themselves, beside its name.
            warnings.simplefilter("ignore")
            return command.run(args.words) or 0
    except ModuleNotFoundError as error:
        if not command.extra or (error.name or "").startswith("heartcare"):
            raise
        advice = f'pip install "heartcare[{command.extra}]", or pip install -e ".[{command.extra}]" in a clone'
        print(f"heartcare {args.subcommand} needs {error.name}: {advice}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of the output, such as `head`, has closed it; Python would try to write once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
