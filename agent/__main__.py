"""python -m heartcare.agent build | inspect"""

import argparse
import json
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from .build import LeakageError, Settings, build
from .qa import TASKS


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m heartcare.agent",
        description="HeartAgent: ECG files in, a data set of questions and answers out.",
    )
    commands = parser.add_subparsers(dest="command", required=True)

    making = commands.add_parser("build", help="build a data set, or go on with one that was interrupted")
    making.add_argument(
        "--source", required=True, help="PTB-XL's folder, a folder of ECG files, or a CSV with a column `path`"
    )
    making.add_argument("--out", required=True, help="folder of the data set")
    making.add_argument("--tasks", default="all", help=f"all, or some of {', '.join(TASKS)}, separated by commas")
    making.add_argument("--seed", type=int, default=0)
    making.add_argument("--workers", type=int, default=1)
    making.add_argument("--limit", type=int, help="only the first so many records")
    making.add_argument("--no-images", action="store_true", help="signals alone")
    making.add_argument(
        "--ecg-qa",
        nargs="+",
        default=[],
        metavar="FILE",
        help="take the questions from these files of ECG-QA (PTB-XL), and not our own",
    )
    making.add_argument(
        "--llm", metavar="URL", help="OpenAI-compatible server that rephrases, for example http://localhost:8000/v1"
    )
    making.add_argument("--llm-model", metavar="NAME")
    making.add_argument("--ray", metavar="ADDRESS", help="build on Ray: local, auto, or the address of a cluster")
    making.add_argument("--push-to-hub", metavar="REPO", help="upload the finished data set")
    making.add_argument("--private", action="store_true", help="with --push-to-hub")

    looking = commands.add_parser(
        "inspect", help="print what is read from one file, its quality and measurements, and draw it"
    )
    looking.add_argument("file")
    looking.add_argument("--output", help="the drawing; default: out/NAME.png")
    args = parser.parse_args(argv)

    try:
        if args.command == "inspect":
            from .inspect import inspect_file

            return inspect_file(args.file, args.output)
        tasks = TASKS if args.tasks == "all" else tuple(args.tasks.split(","))
        if unknown := set(tasks) - set(TASKS):
            parser.error(f"unknown tasks {sorted(unknown)}; expected some of {', '.join(TASKS)}")
        if bool(args.llm) != bool(args.llm_model):
            parser.error("--llm and --llm-model are given together")
        llm = {"url": args.llm, "model": args.llm_model} if args.llm else None
        settings = Settings(tasks, args.seed, not args.no_images, llm, tuple(args.ecg_qa))
        manifest = build(args.source, args.out, settings, args.workers, args.limit, args.ray)
    except LeakageError as error:
        print(f"LEAKAGE, the build failed: {error}", file=sys.stderr)
        return 1
    except (ValueError, FileNotFoundError, ImportError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except BrokenProcessPool:
        print(
            "Error: a worker died, perhaps for want of memory; the same command goes on from here, with fewer --workers if need be.",
            file=sys.stderr,
        )
        return 3
    except KeyboardInterrupt:
        print("Interrupted; the same command goes on from here.", file=sys.stderr)
        return 130
    print(json.dumps({key: manifest[key] for key in ("samples", "records", "rejected")}))
    print(f"{args.out}: {len(manifest['shards'])} shards; the card is README.md.")
    if args.push_to_hub:
        push(Path(args.out), args.push_to_hub, args.private)
    return 0


def push(out: Path, repo: str, private: bool):
    """Uploads a finished data set."""
    from huggingface_hub import HfApi

    from .build import WORK

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
