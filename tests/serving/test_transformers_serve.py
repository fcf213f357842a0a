"""The server of transformers itself, `transformers serve --trust-remote-code`, asked about pictures."""

import base64
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from openai import OpenAI
from transformers.utils.import_utils import is_serve_available

# The command, where the package is not importable: the repository's own code is all there is.
SERVE = "import sys; sys.modules['heartcare'] = None; from transformers.cli.transformers import main; main()"


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return chosen.getsockname()[1]


def wait_for(url: str, process: subprocess.Popen, log) -> None:
    """Waits until a server answers, however busy the machine is; raises an AssertionError when its process ends."""
    while process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=10):
                return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.2)
    raise AssertionError(log.read_text()[-3000:])


@pytest.fixture
def server(root, tmp_path):
    """Yields (url, folder) of the server, about the checkpoint as it lies."""
    if not is_serve_available():
        pytest.skip("transformers serve needs pydantic, fastapi, uvicorn and openai: pip install transformers[serving]")
    port, log = free_port(), tmp_path / "log"
    command = [sys.executable, "-W", "ignore", "-c", SERVE, "serve", str(root), "--trust-remote-code"]
    environment = {**os.environ, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    with open(log, "w") as file:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=tmp_path,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", process, log)
        yield f"http://127.0.0.1:{port}/v1", str(root)
    finally:
        process.kill()
        process.wait()


def test_pictures_are_answered_as_generate_answers_them(server, model, processor, root):
    """OpenAI's own client gets the answers, whole or piece by piece, to questions about one picture and about two."""
    url, name = server
    client = OpenAI(base_url=url, api_key="none")
    files = [root / f"examples/ecgs/{kind}.png" for kind in ("right_bundle_branch_block", "atrial_fibrillation")]
    urls = [f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}" for file in files]
    answers = set()
    for pictures, question in (
        (urls[:1], "What is the rhythm?"),
        (urls[1:], "Write a report of this ECG."),
        (urls, "What has changed?"),
    ):
        text = {"type": "text", "text": question}
        given = [{"type": "image", "url": picture} for picture in pictures]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": [*given, text]}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        ids = model.generate(**inputs, max_new_tokens=12)[0, inputs["input_ids"].shape[1] :]
        want = processor.tokenizer.decode(ids, skip_special_tokens=True)
        content = [*({"type": "image_url", "image_url": {"url": picture}} for picture in pictures), text]
        request = {"model": name, "messages": [{"role": "user", "content": content}], "max_tokens": 12}
        reply = client.chat.completions.create(**request)
        assert reply.choices[0].message.content == want
        assert reply.usage.prompt_tokens == inputs["input_ids"].shape[1]
        pieces = client.chat.completions.create(**request, stream=True)
        assert "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices) == want
        answers.add(want)
    assert len(answers) == 3
