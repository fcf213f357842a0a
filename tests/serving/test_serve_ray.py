"""Two replicas on this machine, one of them killed under load: no request is lost."""

import base64
import io
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from openai import APIConnectionError, APIStatusError, OpenAI

from heartcare.agent.simulate import simulate_ecg

ray = pytest.importorskip("ray")
pytest.importorskip("ray.serve")
pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def server(root):
    """Yields (port, process id) of the command."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-W",
        "ignore",
        root / "examples/serve_ray.py",
        "--model",
        root,
        "--replicas",
        2,
        "--port",
        port,
    ]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    process = subprocess.Popen(
        [*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, cwd=root
    )
    client = OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="-", max_retries=0, timeout=5)
    try:
        while True:  # as long as it takes on a busy machine
            try:
                client.models.list()
                break
            except APIConnectionError:
                assert process.poll() is None
                time.sleep(1)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(30)


def replicas(command: int) -> set[int]:
    """Returns the process ids of the replicas below the process `command`, by the name that Ray gives its workers."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()[1:]]
    parent = {int(pid): int(ppid) for pid, ppid, *_ in rows}

    def is_below(pid: int) -> bool:
        while pid and pid != command:
            pid = parent.get(pid, 0)
        return pid == command

    return {int(pid) for pid, _, *args in rows if args and "ServeReplica:" in args[0] and is_below(int(pid))}


def test_no_request_is_lost_when_a_replica_is_killed(server):
    port, command = server
    client = OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="-", max_retries=0, timeout=120)
    options = ["sinus rhythm", "atrial fibrillation"]
    contents = []
    for k in range(6):
        ecg, file = simulate_ecg(("SR", "AFIB")[k % 2], "NORM", seed=900 + k), io.BytesIO()
        np.savez(file, signal=ecg.signal, sampling_rate=ecg.sampling_rate, units="mV")
        contents.append(base64.b64encode(file.getvalue()).decode())

    def ask(k: int) -> dict:
        part = {"type": "ecg", "base64": contents[k % 6]}
        messages = [
            {
                "role": "user",
                "content": [part, {"type": "text", "text": "Which rhythm is it: sinus rhythm, atrial fibrillation?"}],
            }
        ]
        return client.chat.completions.create(
            model="heartcare", messages=messages, extra_body={"options": options}
        ).heartcare["probabilities"]

    want = [ask(k) for k in range(6)]
    before = replicas(command)
    assert len(before) == 2
    victim = min(before)
    found = []
    with ThreadPoolExecutor(16) as pool:
        for shares in pool.map(ask, range(240)):
            found.append(shares)
            if len(found) == 20:  # the others wait, or are being answered
                os.kill(victim, 9)
    assert victim not in replicas(command)
    for k, shares in enumerate(found):
        assert shares == pytest.approx(want[k % 6], abs=1e-4)
    with pytest.raises(APIStatusError) as caught:
        content = [{"type": "ecg", "base64": "x"}]
        client.chat.completions.create(model="heartcare", messages=[{"role": "user", "content": content}])
    assert caught.value.status_code == 400
