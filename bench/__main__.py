"""python -m heartcare.bench run | voice | compare | report | invariance | freeze"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..agent.command_line import run_command
from .items import OFFICIAL, PER_GROUP, SUBSETS, TASKS

if TYPE_CHECKING:
    from .models import ModelSpec

VOICE_RECORDS = 100  # for contradictions, unless --limit says otherwise


def main(argv: list[str] | None = None) -> int:
    """Runs the command line. Returns the exit status, as `run_command` gives it."""
    args = parse(argv)
    commands = {
        "run": _run,
        "invariance": _invariance,
        "voice": _voice,
        "compare": _compare,
        "report": _report,
        "freeze": _freeze,
    }
    return run_command(lambda: commands[args.command](args))


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parses and checks the arguments. Exits with status 2 and the usage when they are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m heartcare.bench", description="Heartcare-Bench: strict scores of ECG models, offline."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("run", help="score a model, or go on with a run")
    _add_model(command)
    _add_run(command)
    _add_model(commands.add_parser("invariance", help="how often answers change with rate, leads, layout and paper"))
    command = commands.add_parser("voice", help="unseen wordings, turns, refusals, contradictions and numbers")
    _add_voice(command)
    command = commands.add_parser("compare", help="two results: differences, intervals and p values")
    command.add_argument("results", nargs=2, metavar="RESULT", help="result files of run")
    command = commands.add_parser("report", help="one HTML page of all results in a folder")
    command.add_argument("folder")
    command.add_argument("--data", help="the data set: then the worst cases are drawn")
    command.add_argument("--manifest", default=str(OFFICIAL))
    command = commands.add_parser("freeze", help="choose the items of a benchmark on a data set of your own")
    command.add_argument("--data", required=True)
    command.add_argument("--out", required=True, help="the manifest, a JSON file")
    command.add_argument("--split", default="test", choices=["test", "validation", "train"])
    command.add_argument("--name", default="heartcare-bench")
    command.add_argument("--per-group", type=int, default=PER_GROUP, help="items of each task, dimension and modality")
    command.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def _add_common(command: argparse.ArgumentParser):
    """Adds what every command that asks a model takes."""
    add = command.add_argument
    add("--model", required=True, help="folder or Hub id; with --endpoint, the model's name there")
    add("--name", help="name of the model in the results; default: the folder's name, or the Hub id")
    add("--data", required=True, help="folder of a data set built by python -m heartcare.agent build")
    add("--out", required=True, help="folder of results: one file for each model")
    add("--manifest", default=str(OFFICIAL), help="the items; default: the benchmark on PTB-XL's test fold")
    add("--threads", type=int, default=1, help="of each process; another number may change the last digits")
    add("--seed", type=int, default=0)
    add("--device", help="cpu, cuda, ...; default: cuda where there is one")


def _add_model(command: argparse.ArgumentParser):
    """Adds the arguments of the commands that ask any model."""
    _add_common(command)
    add = command.add_argument
    add("--limit", type=int, help="number of items of each group, for a quick look")
    add(
        "--workers",
        type=int,
        default=1,
        help="processes, each with a copy of the model; the scores are the same with any number",
    )
    add("--batch-size", type=int, default=32, help="another size may change the last digits")
    add("--endpoint", metavar="URL", help="OpenAI-compatible server, for example http://localhost:8000/v1")
    add(
        "--alone",
        action="store_true",
        help="the language model of a HeartcareGPT by itself, instead of the pipeline that people ask",
    )
    add("--trust-remote-code", action="store_true", help="for models of others that bring code")


def _add_voice(command: argparse.ArgumentParser):
    """Adds the arguments of `voice`, which asks a HeartcareGPT through its pipeline in one process."""
    _add_common(command)
    add = command.add_argument
    add("--limit", type=int, default=VOICE_RECORDS, help="number of records for contradictions; a tenth for turns")


def _add_run(command: argparse.ArgumentParser):
    """Adds the arguments of `run` alone."""
    add = command.add_argument
    subsets = list(SUBSETS)
    add("--subset", nargs="+", default=subsets, choices=SUBSETS, help="S signal, I image, C comparison of two")
    add("--tasks", nargs="+", default=["all"], choices=["all", *TASKS])
    add("--no-controls", action="store_true", help="the model alone; then no verdict can be given")
    add(
        "--choose",
        action="store_true",
        help="closed questions by the likeliest option instead of what the model writes; not with --endpoint, nor to "
        "be set beside written answers; a HeartcareGPT through its pipeline always chooses",
    )
    add(
        "--judge",
        metavar="MODEL",
        help="also grades reports by the rubric: a name at --judge-url, or a local causal LM",
    )
    add("--judge-url", metavar="URL")
    add("--biobert", metavar="FOLDER", help="for F1-Bio; without it F1-Bio is null")
    add("--biobert-layer", type=int)
    add("--radgraph", metavar="TYPE", help="model type of the radgraph package, for F1-RadGraph")


def _load(path: str) -> dict:
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist.")
    return json.loads(Path(path).read_text(encoding="utf-8"))


def _spec(args: argparse.Namespace) -> "ModelSpec":
    from .models import ModelSpec

    return ModelSpec(args.model, args.endpoint, args.device, args.trust_remote_code, args.name, args.alone)


def _run(args: argparse.Namespace) -> int:
    from .metrics.judge import Judge
    from .report import summary_lines, versions_line
    from .run import Settings, run
    from .scorers import MetricModels

    settings = Settings(
        tuple(args.subset),
        TASKS if "all" in args.tasks else tuple(args.tasks),
        args.limit,
        not args.no_controls,
        args.batch_size,
        args.threads,
        args.seed,
        args.choose,
    )
    judge = Judge(args.judge, args.judge_url, str(Path(args.out) / "judgements"), args.seed) if args.judge else None
    models = MetricModels(judge, args.biobert, args.biobert_layer, args.radgraph)
    result = run(_spec(args), args.data, args.out, _load(args.manifest), settings, args.workers, models)
    print("\n".join([*summary_lines(result), "", versions_line(result), *result["verdicts"]]))
    return 0


def _invariance(args: argparse.Namespace) -> int:
    from .invariance import invariance, table_lines
    from .report import versions_line
    from .run import Settings

    settings = Settings(("S",), ("closed-qa",), args.limit, False, args.batch_size, args.threads, args.seed)
    result = invariance(_spec(args), args.data, args.out, _load(args.manifest), settings, args.workers)
    print("\n".join([f"{result['questions']} closed questions", "", *table_lines(result), "", versions_line(result)]))
    return 0


def _voice(args: argparse.Namespace) -> int:
    import torch

    from .models import ModelSpec
    from .report import versions_line
    from .voice import table_lines, voice

    torch.set_num_threads(args.threads)
    spec = ModelSpec(args.model, device=args.device, display_name=args.name)
    result = voice(spec, args.data, args.out, _load(args.manifest), args.limit, args.seed)
    print("\n".join([*table_lines(result), "", versions_line(result)]))
    return 0


def _compare(args: argparse.Namespace) -> int:
    from .compare import compare, comparison_lines
    from .report import versions_line

    one, other = (_load(path) for path in args.results)
    lines = comparison_lines(one, other, compare(one, other))
    print("\n".join([*lines, "", versions_line(one), versions_line(other)]))
    return 0


def _report(args: argparse.Namespace) -> int:
    from .report import write_report

    print(write_report(args.folder, args.data, _load(args.manifest) if args.data else None))
    return 0


def _freeze(args: argparse.Namespace) -> int:
    from .items import freeze, manifest_hash, write_manifest

    manifest = freeze(args.data, args.split, args.name, args.per_group, args.seed)
    write_manifest(manifest, args.out)
    print(f"{args.out}: {len(manifest['items'])} items, {manifest_hash(manifest)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
