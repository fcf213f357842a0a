"""Bodies of requests about an ECG."""

import base64
import io

import numpy as np


def packed(ecg) -> str:
    """Returns the base64 of a .npz."""
    file = io.BytesIO()
    np.savez(file, signal=ecg.signal, sampling_rate=ecg.sampling_rate, units="mV")
    return base64.b64encode(file.getvalue()).decode()


def message(ecg, text: str) -> list[dict]:
    return [{"role": "user", "content": [{"type": "ecg", "base64": packed(ecg)}, {"type": "text", "text": text}]}]
