"""Load test of the server: cold start, requests per second and waiting times at 1, 8 and 32 clients, with and without
dynamic batching, and memory over many requests.

    pip install -e ".[serve]"
    python -m heartcare.studies.benchmark_serving --model . --requests 2000

Starts examples/serve.py in a process of its own for each setting, and asks it over HTTP for reports and closed answers
about simulated ECGs of 10 s. Prints Markdown tables.
"""

import argparse
import base64
import http.client
import io
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from heartcare.agent.simulate import FORMS, RHYTHMS, simulate_ecg

OPTIONS = ["sinus rhythm", "atrial fibrillation", "sinus tachycardia", "sinus bradycardia"]


def bodies(count: int = 32) -> dict[str, list[bytes]]:
    """Bodies of requests for reports and for closed answers, each about another ECG."""
    requests: dict[str, list[bytes]] = {"report": [], "closed": []}
    for k in range(count):
        ecg = simulate_ecg(list(RHYTHMS)[k % len(RHYTHMS)], FORMS[k % len(FORMS)], seed=k)
        file = io.BytesIO()
        np.savez(file, signal=ecg.signal.astype(np.float32), sampling_rate=ecg.sampling_rate, units="mV")
        part = {"type": "ecg", "base64": base64.b64encode(file.getvalue()).decode()}
        for kind, text, more in (
            ("report", "Write a report of this ECG.", {}),
            ("closed", f"Which rhythm is it: {', '.join(OPTIONS)}?", {"options": OPTIONS}),
        ):
            message = {"role": "user", "content": [part, {"type": "text", "text": text}]}
            requests[kind].append(json.dumps({"model": "heartcare", "messages": [message], **more}).encode())
    return requests


def resident_mib(process: int) -> float:
    """Resident memory of a process in MiB, on Linux."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


@contextmanager
def serving(model: str, max_batch: int) -> Iterator[tuple[int, int, float]]:
    """Runs a server. Yields its port, its process, and the seconds from its start to the first answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.perf_counter()
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "heartcare.examples.serve",
        "--model",
        model,
        "--port",
        port,
        "--max-batch",
        max_batch,
    ]
    process = subprocess.Popen([str(each) for each in command], stderr=subprocess.DEVNULL)
    try:
        body = bodies(1)["closed"][0]
        while True:
            try:
                ask(http.client.HTTPConnection("127.0.0.1", port), body)
                break
            except OSError:
                if process.poll() is not None:
                    raise RuntimeError(
                        "The server ended at once; start examples/serve.py by hand to see why."
                    ) from None
                time.sleep(0.05)
        yield port, process.pid, time.perf_counter() - started
    finally:
        process.terminate()
        process.wait()


def ask(connection: http.client.HTTPConnection, body: bytes) -> str:
    """Sends a request. Returns the text of its answer."""
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    reply = connection.getresponse()
    content = json.loads(reply.read())
    if reply.status != 200:
        raise RuntimeError(f"{reply.status}: {content}")
    return content["choices"][0]["message"]["content"]


def load(port: int, requests: list[bytes], clients: int) -> tuple[float, np.ndarray]:
    """Sends requests by several clients at a time. Returns requests per second, and the seconds of each request."""

    def client(own: list[bytes]) -> list[float]:
        connection, times = http.client.HTTPConnection("127.0.0.1", port), []
        for body in own:
            started = time.perf_counter()
            ask(connection, body)
            times.append(time.perf_counter() - started)
        return times

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        times = list(pool.map(client, [requests[k::clients] for k in range(clients)]))
    return len(requests) / (time.perf_counter() - started), np.concatenate(times)


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=".")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--each", type=int, default=96, help="number of requests of each setting")
    parser.add_argument("--requests", type=int, default=2000, help="number of requests over which memory is measured")
    args = parser.parse_args(argv)

    made, rates = bodies(), {}
    print("| answers | clients | batching | requests/s | p50, s | p99, s |\n|---|---|---|---|---|---|")
    for max_batch in (1, 32):
        with serving(args.model, max_batch) as (port, process, cold):
            for kind, those in made.items():
                for clients in args.clients:
                    load(port, those[: 2 * clients], clients)  # does not count
                    rate, times = load(port, [those[k % len(those)] for k in range(args.each)], clients)
                    rates[kind, clients, max_batch] = rate
                    way = "up to 32" if max_batch > 1 else "none"
                    median, slowest = np.median(times), np.percentile(times, 99)
                    print(f"| {kind} | {clients} | {way} | {rate:.1f} | {median:.3f} | {slowest:.3f} |", flush=True)
    for kind in made:
        gains = [f"{rates[kind, clients, 32] / rates[kind, clients, 1]:.2f} at {clients}" for clients in args.clients]
        print(f"\nbatching, {kind}: times as many requests/s: {', '.join(gains)} clients")
    print(f"cold start, from the process to its first answer: {cold:.1f} s")
    with serving(args.model, 32) as (port, process, _):
        several = made["closed"] + made["report"]
        memory = {}
        for done, until in ((0, 100), (100, args.requests)):
            load(port, [several[k % len(several)] for k in range(done, until)], 8)
            memory[until] = resident_mib(process)
        first, last = memory.values()
        print(
            f"memory after {list(memory)} requests: {first:.0f} and {last:.0f} MiB, {100 * (last / first - 1):+.1f} %"
        )


if __name__ == "__main__":
    main()
