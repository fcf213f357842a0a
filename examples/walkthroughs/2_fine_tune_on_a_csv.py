"""Fine-tune on your own CSV of ECGs and labels: a column `path`, a column `label`.

python examples/walkthroughs/2_fine_tune_on_a_csv.py
"""

# %% Your table. Here, simulated ECGs stand in for it.
import csv
import sys
import tempfile
from pathlib import Path

import numpy as np

from heartcare.agent.simulate import simulate_ecg

REPO = str(Path(__file__).resolve().parents[2])
STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 40
folder = Path(tempfile.mkdtemp())
with open(folder / "mine.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["path", "label"])
    for k in range(24):
        rhythm, label = (("SR", "sinus rhythm"), ("AFIB", "atrial fibrillation"))[k % 2]
        ecg = simulate_ecg(rhythm, "NORM", seed=k)
        np.savez(folder / f"{k}.npz", signal=ecg.signal, sampling_rate=ecg.sampling_rate, units="mV")
        table.writerow([folder / f"{k}.npz", label])

# %% The training: a question about each row of the table, and its label as the answer.
from transformers import AutoModel, AutoProcessor, Trainer, TrainingArguments, pipeline

rows = list(csv.DictReader(open(folder / "mine.csv")))
options = sorted({row["label"] for row in rows})
question = f"Which rhythm is it: {', '.join(options)}?"
processor = AutoProcessor.from_pretrained(REPO, trust_remote_code=True)
model = AutoModel.from_pretrained(REPO, trust_remote_code=True)
model.freeze_towers()
chats = [
    [
        {"role": "user", "content": [{"type": "ecg", "path": row["path"]}, {"type": "text", "text": question}]},
        {"role": "assistant", "content": row["label"].capitalize() + "."},
    ]
    for row in rows
]
arguments = TrainingArguments(
    str(folder / "run"),
    max_steps=STEPS,
    per_device_train_batch_size=8,
    learning_rate=3e-4,
    remove_unused_columns=False,
    report_to=[],
    save_strategy="no",
    use_cpu=True,
    logging_steps=10,
)
trainer = Trainer(model, arguments, processor.collate_chats, train_dataset=chats[4:], processing_class=processor)
trainer.train()
trainer.save_model(str(folder / "mine"))

# %% The trained model, asked about the rows that were held back. Its folder is a repository like the first one.
pipe = pipeline(model=str(folder / "mine"), trust_remote_code=True, device="cpu")
answers = pipe([row["path"] for row in rows[:4]], question=question, options=options, batch_size=4)
right = [answer["text"] == row["label"] for answer, row in zip(answers, rows)]
print(f"{sum(right)} of {len(right)} right")
