"""Load the model and ask about an ECG.

python examples/walkthroughs/1_load_and_ask.py    # its cells begin with # %%, as notebooks and editors know them
"""

# %% A pipeline out of a repository. `.` is a clone; on the Hub it is USER/HeartcareGPT, with a revision that you have
# read.
from pathlib import Path

from transformers import pipeline

REPO = str(Path(__file__).resolve().parents[2])
ecgs = Path(REPO) / "examples/ecgs"
pipe = pipeline(model=REPO, trust_remote_code=True, device="cpu")

# %% A report, of a WFDB record.
print(pipe(str(ecgs / "right_bundle_branch_block"))["text"])

# %% A question with options: probabilities of each.
options = ["sinus rhythm", "atrial fibrillation", "sinus tachycardia"]
answer = pipe(str(ecgs / "atrial_fibrillation"), question="Which rhythm is it?", options=options)
for option, share in answer["probabilities"].items():
    print(f"{share:6.1%}  {option}")

# %% An array of two leads: the leads that are missing are named, and masked.
import numpy as np

signal = np.random.default_rng(0).normal(0, 0.1, size=(2, 2500))
answer = pipe(
    {"signal": signal, "sampling_rate": 250, "lead_names": ["I", "II"], "units": "mV", "question": "Is there noise?"}
)
print(answer["text"], answer["quality"][0]["leads"], answer["quality"][0]["warnings"])

# %% A picture, and many inputs in batches.
pictures = [str(ecgs / "right_bundle_branch_block.png")] * 2
for found in pipe(pictures, question="What is the rhythm?", batch_size=2):
    print(found["text"])

# %% A report, piece by piece, as it is written.
for piece in pipe.stream(str(ecgs / "sinus_rhythm")):
    print(piece, end="", flush=True)
print()
