"""python -m heartcare.agent build | inspect"""

import argparse
import json
import sys
from pathlib import Path

from .build import WORK, LeakageError, Settings, build
from .command_line import run_command
from .inspect import inspect_file
from .qa import TASKS


def main(argv: list[str] | None = None) -> int:
    """Runs the command line. Returns the exit status: as `run_command`, and 1 for a data set with leakage."""
    args = parse(argv)
    return run_command(lambda: {"build": _build, "inspect": _inspect}[args.command](args))


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parses and checks the arguments. Exits with status 2 and the usage when they are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m heartcare.agent",
        description="HeartAgent: ECG files in, a data set of questions and answers out.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _add_build(commands.add_parser("build", help="build a data set, or go on with one that was interrupted"))
    inspect = commands.add_parser(
        "inspect", help="print what is read from one file, its quality and measurements, and draw it"
    )
    inspect.add_argument("file")
    inspect.add_argument("--output", help="the drawing; default: out/NAME.png")
    args = parser.parse_args(argv)
    if args.command == "build":
        args.tasks = TASKS if args.tasks == "all" else tuple(args.tasks.split(","))
        if unknown := set(args.tasks) - set(TASKS):
            parser.error(f"unknown tasks {sorted(unknown)}; expected some of {', '.join(TASKS)}")
        if bool(args.llm) != bool(args.llm_model):
            parser.error("--llm and --llm-model are given together")
    return args


def _add_build(parser: argparse.ArgumentParser):
    parser.add_argument(
        "--source", required=True, help="PTB-XL's folder, a folder of ECG files, or a CSV with a column `path`"
    )
    parser.add_argument("--out", required=True, help="folder of the data set")
    parser.add_argument("--tasks", default="all", help=f"all, or some of {', '.join(TASKS)}, separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--limit", type=int, help="number of records to take, the first ones")
    parser.add_argument("--no-images", action="store_true", help="signals alone")
    parser.add_argument(
        "--ecg-qa",
        nargs="+",
        default=[],
        metavar="FILE",
        help="take the questions from these files of ECG-QA (PTB-XL), and not our own",
    )
    parser.add_argument(
        "--llm", metavar="URL", help="OpenAI-compatible server that rephrases, for example http://localhost:8000/v1"
    )
    parser.add_argument("--llm-model", metavar="NAME")
    parser.add_argument("--ray", metavar="ADDRESS", help="build on Ray: local, auto, or the address of a cluster")
    parser.add_argument("--push-to-hub", metavar="REPO", help="upload the finished data set")
    parser.add_argument("--private", action="store_true", help="with --push-to-hub")


def _inspect(args: argparse.Namespace) -> int:
    return inspect_file(args.file, args.output)


def _build(args: argparse.Namespace) -> int:
    llm = {"url": args.llm, "model": args.llm_model} if args.llm else None
    settings = Settings(args.tasks, args.seed, not args.no_images, llm, tuple(args.ecg_qa))
    try:
        manifest = build(args.source, args.out, settings, args.workers, args.limit, args.ray)
    except LeakageError as error:
        print(f"LEAKAGE, the build failed: {error}", file=sys.stderr)
        return 1
    print(json.dumps({key: manifest[key] for key in ("samples", "records", "rejected")}))
    print(f"{args.out}: {len(manifest['shards'])} shards; the card is README.md.")
    if args.push_to_hub:
        push(Path(args.out), args.push_to_hub, args.private)
    return 0


def push(out: Path, repo: str, private: bool):
    """Uploads a finished data set to the Hub."""
    from huggingface_hub import HfApi

    api = HfApi()
    api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
    api.upload_folder(
        repo_id=repo,
        repo_type="dataset",
        folder_path=out,
        ignore_patterns=[f"{WORK}/*"],
        commit_message="Heartcare-400K, built by HeartAgent",
    )


if __name__ == "__main__":
    sys.exit(main())
