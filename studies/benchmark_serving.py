"""Load test of the server: cold start, requests per second and waiting times at 1, 8 and 32 clients, one after the
other, with dynamic batching, and with processes that prepare the requests as well; and memory over many requests about
ECGs of many lengths.

    pip install -e ".[serve]"
    python -m heartcare.studies.benchmark_serving --model . --requests 5000

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

# Name of a setting -> number of requests of a batch, and of processes that prepare them.
SETTINGS = {"one by one": (1, 0), "batches": (32, 0), "batches, 2 processes": (32, 2)}
FIRST = 200  # number of requests after which memory is measured first
OPTIONS = ["sinus rhythm", "atrial fibrillation", "sinus tachycardia", "sinus bradycardia"]


def bodies(count: int = 32, lengths: int = 1) -> dict[str, list[bytes]]:
    """Returns bodies of requests for reports and for closed answers.

    Args:
        count: Number of each, about ECGs that all differ.
        lengths: Number of lengths of the ECGs: 10 s, and others from 2.5 s on.
    """
    requests: dict[str, list[bytes]] = {"report": [], "closed": []}
    for k in range(count):
        ecg = simulate_ecg(list(RHYTHMS)[k % len(RHYTHMS)], FORMS[k % len(FORMS)], seed=k)
        samples = ecg.signal.shape[1] * (lengths - 0.75 * (k % lengths)) / lengths
        signal = ecg.signal[:, : round(samples)].astype(np.float32)
        file = io.BytesIO()
        np.savez(file, signal=signal, sampling_rate=ecg.sampling_rate, units="mV")
        part = {"type": "ecg", "base64": base64.b64encode(file.getvalue()).decode()}
        for kind, text, more in (
            ("report", "Write a report of this ECG.", {}),
            ("closed", f"Which rhythm is it: {', '.join(OPTIONS)}?", {"options": OPTIONS}),
        ):
            message = {"role": "user", "content": [part, {"type": "text", "text": text}]}
            requests[kind].append(json.dumps({"model": "heartcare", "messages": [message], **more}).encode())
    return requests


@contextmanager
def serving(model: str, max_batch: int, preparers: int) -> Iterator[tuple[int, int, float]]:
    """Runs a server. Yields its port, the id of its process, and the seconds from its start to the first answer."""
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
        "--preparers",
        preparers,
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


def print_memory(model: str, requests: int, lengths: int) -> None:
    """Prints the memory of a server after 200 requests, and after many more, about ECGs of many lengths."""
    several = [body for pair in zip(*bodies(lengths, lengths).values()) for body in pair]
    memory = {}
    with serving(model, 32, 0) as (port, process, _):
        for done, until in ((0, FIRST), (FIRST, requests)):
            load(port, [several[k % len(several)] for k in range(done, until)], 8)
            memory[until] = resident_mib(process)
    before, after = memory.values()
    change = 100 * (after / before - 1)
    memory_of = f"{before:.0f}, {after:.0f} MiB, {change:+.1f} %"
    print(f"memory after {FIRST} and {requests} requests of {lengths} lengths: {memory_of}")


def resident_mib(process: int) -> float:
    """Returns the resident memory of a process in MiB, on Linux."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=".")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--each", type=int, default=96, help="number of requests of each setting")
    parser.add_argument("--requests", type=int, default=5000, help="number of requests over which memory is measured")
    parser.add_argument("--lengths", type=int, default=300, help="number of lengths of their ECGs")
    args = parser.parse_args(argv)

    made, rates = bodies(), {}
    print("| answers | clients | setting | requests/s | p50, s | p99, s |\n|---|---|---|---|---|---|")
    for setting, (max_batch, preparers) in SETTINGS.items():
        with serving(args.model, max_batch, preparers) as (port, _, cold):
            for kind, those in made.items():
                for clients in args.clients:
                    load(port, those[: 2 * clients], clients)  # does not count
                    rate, times = load(port, [those[k % len(those)] for k in range(args.each)], clients)
                    rates[kind, clients, setting] = rate
                    median, slowest = np.median(times), np.percentile(times, 99)
                    print(f"| {kind} | {clients} | {setting} | {rate:.1f} | {median:.3f} | {slowest:.3f} |", flush=True)
    first, *others = SETTINGS
    for kind in made:
        for setting in others:
            gains = [f"{rates[kind, each, setting] / rates[kind, each, first]:.2f} at {each}" for each in args.clients]
            print(f"\n{kind}, {setting}: times as many requests/s as {first}: {', '.join(gains)} clients")
    print(f"cold start, from the process to its first answer: {cold:.1f} s")
    print_memory(args.model, args.requests, args.lengths)


if __name__ == "__main__":
    main()
