# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""`EndpointHandler` for Hugging Face Inference Endpoints, as their toolkit loads it; see `serving_heartcare.py` for
requests and replies. A body that is a picture comes as a PIL image, and one that is any other file as bytes. The reply
also has "seconds", the time that it took.
"""

import json
import time
from typing import Any

from transformers import pipeline

try:
    from .serving_heartcare import BadRequest, DynamicBatcher, Limits, read_request
except ImportError:  # the toolkit loads this file alone, with the repository's folder on the path
    from serving_heartcare import BadRequest, DynamicBatcher, Limits, read_request


class EndpointHandler:
    """Answers the requests of an Inference Endpoint.

    Args:
        path: Folder of the repository.
    """

    def __init__(self, path: str = ""):
        self.limits = Limits()
        self.batcher = DynamicBatcher(pipeline(model=path or ".", trust_remote_code=True), limits=self.limits)

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Answers a request; may be called from many threads.

        Raises: `BadRequest`, `Busy`.
        """
        if len(json.dumps(data, default=lambda value: repr(type(value)))) > self.limits.bytes:
            raise BadRequest(f"A request may have {self.limits.bytes} bytes.")
        request = read_request(data, self.limits)
        started = time.monotonic()
        future = self.batcher.submit(
            request.inputs, generate_kwargs=request.generate_kwargs, stop=request.stop, **request.stated
        )
        return future.result() | {"seconds": round(time.monotonic() - started, 3)}
