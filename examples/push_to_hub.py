"""Publishes this repository: weights, code, pipeline, handler, card and pages as a model, and the Space; then loads it
back from a clean cache, as another user would.

    hf auth login
    python examples/push_to_hub.py --repo YOU/HeartcareGPT
    python examples/push_to_hub.py --repo YOU/HeartcareGPT --private --no-space --model FOLDER

--model publishes weights of your own, as a training wrote them. Files that git does not track are not published. The
name USER/HeartcareGPT in card and Space becomes that of the repository. The very commit that was made is loaded back
over HTTP, and must answer as the folder does; the command prints the revision to pin.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from huggingface_hub import HfApi

ROOT = Path(__file__).resolve().parent.parent
PLACEHOLDER = "USER/HeartcareGPT"
MODEL_FILES = ("*.json", "*.safetensors", "*.jinja")  # --model replaces them
READ_BACK = """
import json, sys
sys.modules["heartcare"] = None
from transformers import pipeline
model, revision, ecg, picture = sys.argv[1:]
pipe = pipeline(model=model, trust_remote_code=True, device="cpu", **({"revision": revision} if revision else {}))
options = ["sinus rhythm", "atrial fibrillation", "sinus tachycardia"]
shares = pipe(ecg, question="Which rhythm is it?", options=options)["probabilities"]
shares = {name: round(value, 4) for name, value in shares.items()}
print("READ", json.dumps([pipe(ecg)["text"], pipe(picture)["text"], shares]))
"""


def gather(folder: Path, repo: str, model: Path | None) -> None:
    """Copies the files to publish to `folder`, with the repository's name in their texts, and weights of `model`."""
    for name in tracked():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
        if target.suffix in (".md", ".txt", ".py"):
            target.write_text(target.read_text(encoding="utf-8").replace(PLACEHOLDER, repo), encoding="utf-8")
    if model:
        for pattern in MODEL_FILES:
            for file in [*folder.glob(pattern)]:
                file.unlink()
            for file in model.glob(pattern):
                shutil.copy(file, folder)


def tracked() -> list[str]:
    """Returns the names of the files that git tracks, or would track, without hidden ones."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [name for name in names if (ROOT / name).is_file() and not name.startswith(".")]


def read_back(model: str, revision: str, **environment: str) -> str:
    """Returns the repository's answers about an example, as a process gives them that has nothing but its name.

    Raises: `RuntimeError` when it cannot be loaded.
    """
    with tempfile.TemporaryDirectory() as empty:
        ecg = ROOT / "examples/ecgs/right_bundle_branch_block"
        command = [sys.executable, "-W", "ignore", "-c", READ_BACK, model, revision, ecg, ecg.with_suffix(".png")]
        done = subprocess.run(
            [*map(str, command)],
            capture_output=True,
            text=True,
            cwd=empty,
            env={**os.environ, "HF_HOME": empty, **environment},
        )
    if done.returncode:
        raise RuntimeError(f"{model} cannot be loaded:\n{done.stderr[-2000:]}")
    return next(line for line in done.stdout.splitlines() if line.startswith("READ"))


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repo", required=True, help="USER/NAME")
    parser.add_argument("--model", type=Path, help="folder with other weights, as a training wrote them")
    parser.add_argument("--private", action="store_true")
    parser.add_argument("--no-space", action="store_true")
    args = parser.parse_args(argv)

    api = HfApi()
    # A clean cache has no login, so that the token is passed on.
    token = (
        {"HF_TOKEN": api.token or os.environ.get("HF_TOKEN") or ""}
        if args.private or os.environ.get("HF_TOKEN")
        else {}
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "repo"
        gather(folder, args.repo, args.model)
        before = read_back(str(folder), "")
        api.create_repo(args.repo, private=args.private, exist_ok=True)
        commit = api.upload_folder(folder_path=folder, repo_id=args.repo, commit_message="HeartcareGPT")
        after = read_back(args.repo, commit.oid, **token)
        if before != after:
            raise RuntimeError(f"The published repository answers otherwise than the folder:\n{before}\n{after}")
        print(f"{args.repo} answers as the folder does; pin revision={commit.oid!r}")
        if not args.no_space:
            space = f"{args.repo}-demo"
            api.create_repo(space, repo_type="space", space_sdk="gradio", private=args.private, exist_ok=True)
            api.upload_folder(
                folder_path=folder / "examples/space",
                repo_id=space,
                repo_type="space",
                commit_message="HeartcareGPT's demo",
            )
            api.add_space_variable(space, "REVISION", commit.oid)
            print(f"{space} is the Space")


if __name__ == "__main__":
    main()
