"""python -m heartcare.bench run | compare | report | invariance | freeze"""

import argparse
import json
import sys
from pathlib import Path

from ..agent.command_line import run_command
from .items import OFFICIAL, SUBSETS, TASKS


def main(argv: list[str] | None = None) -> int:
    """Runs the command line. Returns the exit status, as `run_command` gives it."""
    args = parse(argv)
    commands = {"run": _run, "invariance": _invariance, "compare": _compare, "report": _report, "freeze": _freeze}
    return run_command(lambda: commands[args.command](args))


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m heartcare.bench", description="Heartcare-Bench: strict scores of ECG models, offline."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, words in (
        ("run", "score a model, or go on with a run"),
        ("invariance", "how often answers change with rate, leads, layout and paper"),
    ):
        command = commands.add_parser(name, help=words)
        command.add_argument("--model", required=True, help="folder or Hub id; with --endpoint, the model's name there")
        command.add_argument(
            "--name", help="what the model is called in the results; default: the folder's name, or the Hub id"
        )
        command.add_argument(
            "--data", required=True, help="folder of a data set built by python -m heartcare.agent build"
        )
        command.add_argument("--out", required=True, help="folder of results: one file for each model")
        command.add_argument(
            "--manifest", default=str(OFFICIAL), help="the items; default: the benchmark on PTB-XL's test fold"
        )
        command.add_argument("--limit", type=int, help="only so many items of each group, for a quick look")
        command.add_argument(
            "--workers",
            type=int,
            default=1,
            help="processes, each with a copy of the model; the scores are the same with any number",
        )
        command.add_argument(
            "--threads", type=int, default=1, help="of each worker; another number may change the last digits"
        )
        command.add_argument("--batch-size", type=int, default=32, help="another size may change the last digits")
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--device", help="cpu, cuda, ...; default: cuda where there is one")
        command.add_argument(
            "--endpoint", metavar="URL", help="OpenAI-compatible server, for example http://localhost:8000/v1"
        )
        command.add_argument("--trust-remote-code", action="store_true", help="for models of others that bring code")
        if name == "run":
            command.add_argument(
                "--subset",
                nargs="+",
                default=list(SUBSETS),
                choices=SUBSETS,
                help="S signal, I image, C comparison of two",
            )
            command.add_argument("--tasks", nargs="+", default=["all"], choices=["all", *TASKS])
            command.add_argument(
                "--no-controls", action="store_true", help="the model alone; then no verdict can be given"
            )
            command.add_argument(
                "--choose",
                action="store_true",
                help="closed questions by the likeliest option instead of what the model writes; not with --endpoint, nor to be set beside written answers",
            )
            command.add_argument(
                "--judge",
                metavar="MODEL",
                help="grades reports by the rubric, too: a name at --judge-url, or a local causal LM",
            )
            command.add_argument("--judge-url", metavar="URL")
            command.add_argument("--biobert", metavar="FOLDER", help="for F1-Bio; without it F1-Bio is null")
            command.add_argument("--biobert-layer", type=int)
            command.add_argument(
                "--radgraph", metavar="TYPE", help="model type of the radgraph package, for F1-RadGraph"
            )
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
    command.add_argument("--per-group", type=int, default=250, help="items of each task, dimension and modality")
    command.add_argument("--seed", type=int, default=0)
    return parser.parse_args(argv)


def _load(path: str) -> dict:
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist.")
    return json.loads(Path(path).read_text(encoding="utf-8"))


def _which(args):
    from .run import Which

    return Which(args.model, args.endpoint, args.device, args.trust_remote_code, args.name)


def _run(args) -> int:
    from .metrics.judge import Judge
    from .report import summary_lines
    from .run import Settings, run

    tasks = TASKS if "all" in args.tasks else tuple(args.tasks)
    settings = Settings(
        tuple(args.subset),
        tasks,
        args.limit,
        not args.no_controls,
        args.batch_size,
        args.threads,
        args.seed,
        args.choose,
    )
    judge = Judge(args.judge, args.judge_url, str(Path(args.out) / "judgements"), args.seed) if args.judge else None
    extras = {"judge": judge, "biobert": args.biobert, "biobert_layer": args.biobert_layer, "radgraph": args.radgraph}
    result = run(_which(args), args.data, args.out, _load(args.manifest), settings, args.workers, extras)
    print("\n".join([*summary_lines(result), "", *result["verdicts"]]))
    return 0


def _invariance(args) -> int:
    from .invariance import invariance, table_lines
    from .run import Settings

    settings = Settings(("S",), ("closed-qa",), args.limit, False, args.batch_size, args.threads, args.seed)
    result = invariance(_which(args), args.data, args.out, _load(args.manifest), settings, args.workers)
    print("\n".join([f"{result['questions']} closed questions", "", *table_lines(result)]))
    return 0


def _compare(args) -> int:
    from .compare import compare, comparison_lines

    one, other = (_load(path) for path in args.results)
    print("\n".join(comparison_lines(one, other, compare(one, other))))
    return 0


def _report(args) -> int:
    from .report import write_report

    print(write_report(args.folder, args.data, _load(args.manifest) if args.data else None))
    return 0


def _freeze(args) -> int:
    from .items import freeze, manifest_hash, write_manifest

    manifest = freeze(args.data, args.split, args.name, args.per_group, args.seed)
    write_manifest(manifest, args.out)
    print(f"{args.out}: {len(manifest['items'])} items, {manifest_hash(manifest)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
