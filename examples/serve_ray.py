"""The server of serve.py with the model in replicas of Ray Serve, on one machine or many: requests are read and checked
here, and answered there.

    pip install -e ".[serve,ray-serve]"
    python examples/serve_ray.py --model . --replicas 4 --port 8000
    python examples/serve_ray.py --model . --replicas 4 --port 8000 --address auto

The second command joins a cluster. A request whose replica dies is asked again of another one, so that none is lost.
Answers of `stream: true` come in one piece.
"""

import argparse
import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ray
from ray import serve as ray_serve
from ray.exceptions import RayError
from ray.serve.handle import DeploymentHandle

from heartcare.examples.serve import create_app, run
from heartcare.serving_heartcare import BadRequest, Busy, DynamicBatcher, Limits

RETRIES = 6
MAX_WAITING = 256  # requests that wait for an answer at the same time


@ray_serve.deployment(max_ongoing_requests=64, health_check_period_s=2)
class Replica:
    """A copy of the model, with dynamic batching of its own."""

    def __init__(self, model: str, max_batch: int, threads: int):
        import torch
        from transformers import pipeline

        torch.set_num_threads(threads)
        self.batcher = DynamicBatcher(pipeline(model=model), max_batch, Limits())

    async def __call__(self, inputs: Any, generate_kwargs: dict, stated: dict) -> tuple[str, object]:
        """Answers a request. Returns "reply" and the reply; or, for a request that no other replica could answer
        either, "bad" or "busy" and the reason.
        """
        try:
            waiting = await asyncio.to_thread(self.batcher.submit, inputs, generate_kwargs=generate_kwargs, **stated)
            return "reply", await asyncio.wrap_future(waiting)
        except BadRequest as error:
            return "bad", str(error)
        except Busy as error:
            return "busy", str(error)


class Replicas:
    """Takes the place of a batcher in `serve.create_app`. It hands requests to the replicas, and a request whose
    replica dies to another one, at most `RETRIES` times.

    Args:
        handle: Handle of the deployment.
    """

    def __init__(self, handle: DeploymentHandle):
        self.handle, self.limits = handle, Limits()
        self.batches = self.answered = self.retried = self.waiting = 0  # `batches` stays 0: the replicas count theirs
        self.pool = ThreadPoolExecutor(MAX_WAITING)

    def submit(
        self,
        inputs: Any,
        on_text: Callable[[str], None] | None = None,
        generate_kwargs: dict | None = None,
        **stated: Any,
    ) -> Future:
        """Queues a request, as `DynamicBatcher.submit` does; the text comes as a whole, and `on_text` is not called."""
        self.waiting += 1
        future = self.pool.submit(self._ask, inputs, generate_kwargs or {}, stated)
        future.add_done_callback(self._note)
        return future

    def _note(self, _: Future) -> None:
        self.waiting -= 1

    def _ask(self, inputs: Any, generate_kwargs: dict, stated: dict) -> dict:
        for attempt in range(RETRIES + 1):
            try:
                kind, reply = self.handle.remote(inputs, generate_kwargs, stated).result()
                break
            except RayError:
                if attempt == RETRIES:
                    raise
                self.retried += 1
                time.sleep(0.2 * 2**attempt)
        if kind == "bad":
            raise BadRequest(reply)
        if kind == "busy":
            raise Busy(reply)
        self.answered += 1
        return reply


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=".", help="repository, or folder that all machines have")
    parser.add_argument("--name", default="heartcare", help="of the model, for clients")
    parser.add_argument("--address", help="of a cluster of Ray: auto, or its address")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of each replica")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--token", help="bearer token that requests must have")
    parser.add_argument("--cors", action="append", default=[], help="web page whose scripts may ask, or *; repeatable")
    parser.add_argument("--max-batch", type=int, default=16, help="requests that a replica answers together")
    args = parser.parse_args(argv)
    model = str(Path(args.model).resolve()) if Path(args.model).exists() else args.model

    ray.init(args.address, log_to_driver=False)
    ray_serve.start(proxy_location="Disabled")  # requests come in here
    bound = Replica.options(num_replicas=args.replicas).bind(model, args.max_batch, args.threads)
    handle = ray_serve.run(bound, name=args.name, route_prefix=None)
    run(create_app(Replicas(handle), args.name, args.token, args.cors), args.host, args.port)
    ray_serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
