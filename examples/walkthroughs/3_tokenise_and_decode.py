"""ECGs to tokens and back: what Beat keeps, in mV, and how a recording that goes on is tokenised as it comes.

python examples/walkthroughs/3_tokenise_and_decode.py
"""

# %% Beat, and its preprocessing.
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoProcessor

REPO = str(Path(__file__).resolve().parents[2])
processor = AutoProcessor.from_pretrained(REPO, trust_remote_code=True)
beat = AutoModel.from_pretrained(REPO, trust_remote_code=True).beat
inputs = processor.feature_extractor(f"{REPO}/examples/ecgs/right_bundle_branch_block", return_tensors="pt")
print(inputs["input_values"].shape)  # (1, 12, 1000), mV at 100 Hz

# %% Twelve leads to a hundred small numbers and a gain, and back.
with torch.no_grad():
    tokens = beat.encode(**inputs)
    decoded = beat.decode(tokens.codes, tokens.gain)
prd = 100 * (decoded - inputs["input_values"]).norm() / inputs["input_values"].norm()
print(tokens.codes.shape, tokens.codes[0, :, :8].tolist(), f"gain {tokens.gain.item():.3f} mV, PRD {prd:.1f} %")

# %% The error in clinical units.
from heartcare import measure_ecg

for name, signal in (("before", inputs["input_values"][0]), ("after", decoded[0])):
    found = measure_ecg(signal.numpy(), 100)
    print(f"{name:7} heart rate {found.heart_rate:.0f}/min, QRS {found.qrs:.0f} ms, QT {found.qt:.0f} ms")

# %% A recording that goes on: pushed in pieces, and coded as segments close, with the codes of the whole recording.
stream = beat.stream(processor.feature_extractor, sampling_rate=500)
rng = np.random.default_rng(0)
for _ in range(12):
    for segment in stream.push(rng.normal(0, 0.2, size=(12, 500))):
        print(segment.seconds, segment.codes.shape)
print(len(stream.close()), "more at the end")
