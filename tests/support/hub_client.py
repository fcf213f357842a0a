"""A client of the Hub that has nothing but transformers."""

import os
import subprocess
import sys

# What every client does: load, read an example, print the ids of the answer. `heartcare` must not be importable.
READ = """
import sys
sys.modules["heartcare"] = None
import torch
from transformers import AutoConfig, AutoFeatureExtractor, AutoImageProcessor, AutoModel, AutoModelForCausalLM
from transformers import AutoModelForImageTextToText, AutoModelForMultimodalLM, AutoProcessor, AutoTokenizer
repo, ecg = sys.argv[1:3]
trust = {"trust_remote_code": True}
processor = AutoProcessor.from_pretrained(repo, **trust)
message = {"role": "user", "content": [{"type": "ecg", "path": ecg}, {"type": "text", "text": "What is the rhythm?"}]}
options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
inputs = processor.apply_chat_template([message], **options)
"""


def client(code: str, *args, tmp_path, **env) -> str:
    """Runs `code` in a process of its own with an empty cache; its printed answer ids."""
    full = {**os.environ, "HF_HOME": str(tmp_path / "cache"), "HF_TOKEN": "hf_test", "HF_HUB_DISABLE_XET": "1", **env}
    full.pop("HF_HUB_OFFLINE", None)
    run = subprocess.run(
        [sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, env=full, cwd=tmp_path
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return next((line for line in run.stdout.splitlines() if line.startswith("IDS")), "")
