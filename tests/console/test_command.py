"""The command `heartcare`: its help, its subcommands, its default model, and its entry in the package."""

import ast
import subprocess
import sys

import pytest
from support.commands import run_main

from heartcare.console import command
from heartcare.console.models import VARIABLE, default_model

COMMAND = "heartcare.console.command"


@pytest.mark.parametrize("words", [[], ["read"], ["table"], ["draw"], ["tokens"]], ids=" ".join)
def test_help_loads_neither_torch_nor_transformers(root, words):
    """Started as `python -m heartcare`, in a process of its own; what it imports is told by Python itself."""
    started = [sys.executable, "-X", "importtime", "-W", "ignore", "-m", "heartcare", *words, "--help"]
    done = subprocess.run(started, capture_output=True, text=True, cwd=root.parent, timeout=60)
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if "|" in line}
    assert done.returncode == 0 and "heartcare.console.command" in imported
    assert not {"torch", "transformers"} & imported
    assert f"usage: {' '.join(['heartcare', *words])} " in done.stdout
    assert words or all(name in done.stdout for name in command.COMMANDS)


def test_the_names_of_the_package_are_there_in_the_command(root):
    """Imports from `heartcare` load on demand in the command, and at once anywhere else."""
    code = "import sys; sys.argv = ['bin/heartcare']; import heartcare; lazy = 'torch' not in sys.modules; "
    code += "from heartcare import ECG, digitize; print(lazy, ECG.__name__, hasattr(heartcare, '__wrapped__'))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, cwd=root.parent)
    assert done.stdout.split() == ["True", "ECG", "False"], done.stderr


def test_a_reader_that_has_enough_of_the_output_is_no_error(monkeypatch, tmp_path):
    def enough(words):
        raise BrokenPipeError

    monkeypatch.setitem(command.COMMANDS, "draw", command.Subcommand("", enough))
    with open(tmp_path / "out", "w") as out:
        monkeypatch.setattr("sys.stdout", out)
        assert command.main(["draw"]) == 1


@pytest.mark.parametrize("name", ["serve", "space"])
def test_a_missing_extra_is_named(monkeypatch, capsys, name):
    def missing(words):
        raise ModuleNotFoundError("No module named 'uvicorn'", name="uvicorn")

    monkeypatch.setitem(command.COMMANDS, name, command.COMMANDS[name]._replace(run=missing))
    assert command.main([name, "--help"]) == 1
    assert f'heartcare {name} needs uvicorn: pip install "heartcare[{name}]"' in capsys.readouterr().err
    monkeypatch.setitem(command.COMMANDS, "draw", command.Subcommand("", missing))
    with pytest.raises(ModuleNotFoundError):  # which is no extra's, but a fault
        command.main(["draw"])


def test_an_unknown_subcommand_is_refused_by_name():
    done = run_main(COMMAND, "raed", check=False)
    assert done.returncode == 2 and "'raed'" in done.stderr and "read" in done.stderr


@pytest.mark.parametrize("name", ["build", "bench", "digitize", "serve"])
def test_commands_of_other_rooms_answer(name):
    pytest.importorskip("fastapi")
    done = run_main(COMMAND, name, "--help")
    assert done.stdout.startswith("usage:") and "--" in done.stdout


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], ["--model", "DEFAULT"]),
        (["--model", "mine"], ["--model", "mine"]),
        (["--model=mine", "--port", "1"], ["--model=mine", "--port", "1"]),
        (["--help"], ["--help"]),
    ],
)
def test_the_server_gets_the_commands_default_model(monkeypatch, words, wanted):
    called = []
    monkeypatch.setenv(VARIABLE, "DEFAULT")
    monkeypatch.setattr(command, "of_module", lambda name, *first: lambda rest: called.append([name, *first, *rest]))
    command.serve(words)
    assert called == [["examples.serve", *wanted]]


def test_the_default_model(monkeypatch, root, tmp_path):
    """The default model is the environment's, or the checkpoint beside the package; without both, an error says what to
    do.
    """
    monkeypatch.delenv(VARIABLE, raising=False)
    assert default_model() == str(root)
    monkeypatch.setenv(VARIABLE, "me/model")
    assert default_model() == "me/model"
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr("heartcare.console.models.PACKAGE", tmp_path)
    with pytest.raises(ValueError, match=f"--model.*{VARIABLE}"):
        default_model()
    done = run_main(COMMAND, "read", tmp_path / "a.hea", check=False)
    assert done.returncode == 1 and VARIABLE in done.stderr and "Traceback" not in done.stderr


def test_the_package_installs_the_command(root):
    """setup.py names the script, and the package of each subcommand."""
    (call,) = [node for node in ast.parse((root / "setup.py").read_text()).body if isinstance(node, ast.Expr)]
    given = {keyword.arg: keyword.value for keyword in call.value.keywords}
    assert {"heartcare.console", "heartcare.examples.space"} <= set(ast.literal_eval(given["packages"]))
    (script,) = ast.literal_eval(given["entry_points"].values[0])
    module, function = script.removeprefix("heartcare = ").split(":")
    assert script.startswith("heartcare = ") and getattr(sys.modules[module], function) is command.main
