"""Answers of the checkpoint, in words."""

import pytest

from heartcare.pipeline_heartcare import ECGInterpretationPipeline

pytestmark = pytest.mark.checkpoint


@pytest.fixture(scope="module")
def pipe(model, processor):
    return ECGInterpretationPipeline(model=model, processor=processor, device="cpu")


def test_asked_in_other_words(pipe, root):
    """The checkpoint answers whether a finding is there, however it is asked."""
    folder = root / "examples/ecgs"
    for words in (
        "Does this ECG show {}?",
        "Is there {}?",
        "Is there {} on this ECG?",
        "Are there signs of {}?",
        "Does the patient have {}?",
    ):
        for there in ("atrial fibrillation", "right bundle branch block"):
            for name in ("sinus_rhythm", "atrial_fibrillation", "right_bundle_branch_block"):
                found = pipe(str(folder / name), question=words.format(there))["text"]
                assert found == ("Yes." if there.replace(" ", "_") == name else "No."), (name, words, there)
