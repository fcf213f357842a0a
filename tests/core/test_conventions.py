"""Conventions of transformers that its own tests (ModelTesterMixin, GenerationTesterMixin, ProcessorTesterMixin, ...)
hold for the models of the library, as far as no other test here holds them; and those that this project departs from.

It departs on purpose from:

- test_can_init_all_missing_weights, test_model_weights_reload_no_missing_tied_weights, test_correct_missing_keys:
  `from_pretrained` raises where weights are missing, since a model with random parts answers nonsense, fluently.
- test_model_get_set_embeddings of Beat: its input is a signal, so its input embeddings are a linear layer.
- test_batching_equivalence of Beat: `codebook_usage` and `codebook_perplexity` are statistics of a batch.
- all that give `audio=`, options of videos, or `<|ecg|>` without an ECG, to the processor, and `do_convert_rgb` or
  `input_data_format` to the image processor: ECGs are given as `ecg=`, and unknown keywords are errors.
- test_call_arguments_default_none, test_call_arguments_not_in_processor_kwargs: `return_quality` and `sampling_rate`
  are arguments of the call.
- test_new_models_require_torchvision_backend: pictures are read with Pillow.
- `pipeline("image-text-to-text")` with batches of prompts of several ECGs, or of prompts with and without one: its own
  padding keeps the first of each prompt. The pipeline "ecg-interpretation" takes them.
"""

import pytest
import torch
from transformers import pipeline

from heartcare import image_processing_heartcare, processing_heartcare


def question(root, *names: str) -> list[dict]:
    content = [{"type": "ecg", "path": str(root / "examples/ecgs" / name)} for name in names]
    return [{"role": "user", "content": [*content, {"type": "text", "text": "What is the rhythm?"}]}]


def test_batches_of_ecgs_in_the_pipeline_of_the_library(root, model, processor):
    pipe = pipeline("image-text-to-text", model=model, processor=processor, device="cpu")
    options = {"max_new_tokens": 8, "return_full_text": False}
    chats = [question(root, name) for name in ("sinus_rhythm", "atrial_fibrillation", "sinus_rhythm")]
    alone = [pipe(text=chat, **options)[0]["generated_text"] for chat in chats]
    together = pipe(text=chats, batch_size=3, **options)
    assert [answer[0]["generated_text"] for answer in together] == alone and alone[0] != alone[1]
    with pytest.raises(ValueError, match="must have shape"):  # never silently of the first ECG alone
        pipe(text=[question(root, "sinus_rhythm", "atrial_fibrillation"), chats[0]], batch_size=2, **options)


def test_typed_keywords_are_named_after_their_class(processor):
    """So the library, and tools that read signatures, find them."""
    assert processor.valid_processor_kwargs is processing_heartcare.HeartcareProcessorKwargs
    assert processor.image_processor.valid_kwargs is image_processing_heartcare.ECGImageProcessorKwargs
    assert processor.valid_processor_kwargs.__annotations__["images_kwargs"] is processor.image_processor.valid_kwargs


def test_the_refusals(tiny, processor):
    with pytest.raises(TypeError, match="takes no audio; give ECGs as ecg="):
        processor(text="<|ecg|>", audio=[[0.0] * 1000])
    with pytest.raises(TypeError, match="'do_convert_rgb'"):
        processor.image_processor([], do_convert_rgb=False)
    assert isinstance(tiny.beat.get_input_embeddings(), torch.nn.Linear)


@torch.no_grad()
def test_outputs_can_be_compared_number_by_number(tiny, signals):
    """Outputs are tensors of numbers, or tuples of them, and none but statistics depends on the rest of the batch."""
    batch, single = tiny.beat(signals), tiny.beat(signals[:1])
    losses = ("loss", "recon_loss", "pred_loss", "vq_loss")
    for name, value in batch.items():
        assert value.dtype != torch.bool, name
        if name not in (*losses, "codebook_usage", "codebook_perplexity"):
            torch.testing.assert_close(value[:1], single[name], atol=1e-5, rtol=1e-5)
    assert torch.equal(batch.latent_mask, batch.codes[:, 0] >= 0)
