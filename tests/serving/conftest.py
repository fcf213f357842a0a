"""The pipeline, handler and server that the tests of this folder ask."""

import importlib.util
import sys
import threading
import time

import pytest
import uvicorn
from openai import OpenAI

from heartcare.agent.simulate import FORMS, RHYTHMS, simulate_ecg
from heartcare.examples.serve import create_app
from heartcare.pipeline_heartcare import ECGInterpretationPipeline
from heartcare.serving_heartcare import DynamicBatcher, Limits


@pytest.fixture(scope="module")
def pipe(model, processor):
    return ECGInterpretationPipeline(model=model, processor=processor, device="cpu")


@pytest.fixture(scope="module")
def ecgs():
    """Simulates thirty ECGs, no two alike."""
    return [simulate_ecg(list(RHYTHMS)[k % len(RHYTHMS)], FORMS[k % len(FORMS)], seed=500 + k) for k in range(30)]


@pytest.fixture(scope="module")
def handler(root):
    """Loads the handler as the toolkit does: handler.py out of the repository's folder, by its path, with the folder on
    sys.path.
    """
    sys.path.insert(0, str(root))
    spec = importlib.util.spec_from_file_location("handler", root / "handler.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["handler"] = module
    spec.loader.exec_module(module)
    yield module.EndpointHandler(str(root))
    del sys.modules["handler"]
    sys.path.remove(str(root))


@pytest.fixture(scope="module")
def server(pipe):
    """Yields (address, batcher) of the server, which wants a token."""
    batcher = DynamicBatcher(pipe, limits=Limits(bytes=2_000_000))
    running = uvicorn.Server(uvicorn.Config(create_app(batcher, "heartcare", "secret"), port=0, log_level="error"))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}", batcher
    running.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def client(server):
    return OpenAI(base_url=f"{server[0]}/v1", api_key="secret", max_retries=0)
