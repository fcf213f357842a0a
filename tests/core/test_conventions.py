"""Conventions of transformers that its own tests (ModelTesterMixin, GenerationTesterMixin, ProcessorTesterMixin, ...)
hold for the models of the library, as far as no other test here holds them; and those that this project departs from.

It departs on purpose from:

- test_can_init_all_missing_weights, test_model_weights_reload_no_missing_tied_weights, test_correct_missing_keys:
  `from_pretrained` raises where weights are missing, since a model with random parts answers nonsense, fluently.
- test_model_get_set_embeddings of Beat: its input is a signal, so its input embeddings are a linear layer.
- test_batching_equivalence of Beat: `codebook_usage` and `codebook_perplexity` are statistics of a batch.
- test_kwargs_overrides_default_subprocessor_kwargs_2_audio, test_overlapping_text_image_kwargs_handling_2_audio,
  test_structured_kwargs_nested_from_dict_2_audio, test_subprocessor_defaults_preserved_by_kwargs_2_audio,
  test_unstructured_kwargs_2_audio, test_unstructured_kwargs_batched_2_audio, test_processor_with_multiple_inputs,
  test_replacement_offsets: they give `audio=`, since the processor has a feature extractor. ECGs are given as `ecg=`,
  for which `test_what_holds_for_audio_holds_for_ecgs` asks the same.
- test_flat_kwarg_applied_when_modality_dict_lacks_it, test_model_input_names: they write `<|ecg|>` and give no ECG,
  since the processor has no argument `audio`. The same test asks both of ECGs.
- test_apply_chat_template_audio: a message has content of the type "audio", which is an error.
  `test_chats_with_and_without_recordings_in_one_batch` asks the same of the type "ecg".
- test_apply_chat_template_image: `num_frames` and `fps` of videos are given with a picture. Unknown keywords are
  errors. The same test asks the rest of the type "image".
- test_call_numpy_4_channels: `image_mean` and `image_std` have four values. The vision tower takes three channels, and
  the fourth is how transparent the ink is, so that a picture cannot be read by its channels one by one.
- test_new_models_require_torchvision_backend: pictures are read with Pillow.
- `pipeline("image-text-to-text")` with batches of prompts of several ECGs, or of prompts with and without one: its own
  padding keeps the first of each prompt. The pipeline "ecg-interpretation" takes them.
"""

import inspect
from typing import get_args, get_type_hints

import numpy as np
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
    """The library, and tools that read signatures, find the classes of keywords."""
    assert processor.valid_processor_kwargs is processing_heartcare.HeartcareProcessorKwargs
    assert processor.image_processor.valid_kwargs is image_processing_heartcare.ECGImageProcessorKwargs
    assert processor.valid_processor_kwargs.__annotations__["images_kwargs"] is processor.image_processor.valid_kwargs
    # As vLLM tells keywords of a call from those of a processor.
    (kwargs,) = get_args(inspect.signature(type(processor).__call__).parameters["kwargs"].annotation)
    assert kwargs is processor.valid_processor_kwargs
    assert {"images_kwargs", "return_quality"} <= get_type_hints(kwargs).keys()


def test_the_refusals(tiny, processor, root):
    for name in ("audio", "videos"):
        with pytest.raises(TypeError, match=f"takes no {name}; give ECGs as ecg="):
            processor(text="<|ecg|>", **{name: [[0.0] * 1000]})
    with pytest.raises(TypeError, match="'do_resize'"):
        processor.image_processor([], do_resize=False)
    with pytest.raises(TypeError, match="'num_frames', 'fps'"):
        processor(text="Is it?", num_frames=2, fps=None)
    four = np.zeros((250, 300, 4), np.uint8)
    with pytest.raises(ValueError, match="mode RGBA, and do_convert_rgb=False"):
        processor.image_processor(four, do_convert_rgb=False)
    with pytest.raises(ValueError, match="image_mean must be a number or have one for each of the 3 channels, got 4"):
        processor.image_processor(four, image_mean=[0.0] * 4)
    assert isinstance(tiny.beat.get_input_embeddings(), torch.nn.Linear)


@pytest.mark.parametrize("group", ["text_kwargs", "images_kwargs", "audio_kwargs", "videos_kwargs", "common_kwargs"])
def test_no_keyword_is_swallowed_in_a_dict_of_them(processor, group):
    """An unknown keyword in a dict is refused, even where the text has no placeholder of the kind that the dict is
    for.
    """
    for wrong in ({"zzz": 1}, {"sampling_rate": 500}, {"do_resize": True}):
        with pytest.raises(TypeError, match=group if group in ("audio_kwargs", "videos_kwargs") else next(iter(wrong))):
            processor(text="Is it?", **{group: wrong})
    if group == "images_kwargs":
        with pytest.raises(ValueError, match="layout must be"):
            processor(text="Is it?", images_kwargs={"layout": "9x9"})


def test_content_of_other_types_is_refused(processor):
    """A part of an unknown type is refused, since the template would leave it out without a word."""
    text = {"type": "text", "text": "What is it?"}
    for kind in ("audio", "video", "ecgs"):
        part = {"type": kind, "path": "a.wav"}
        for chat in ([{"role": "user", "content": [part, text]}], [[{"role": "user", "content": [text, part]}]]):
            with pytest.raises(ValueError, match=f"content of the type '{kind}'; expected text"):
                processor.apply_chat_template(chat, tokenize=True)


def test_what_holds_for_audio_holds_for_ecgs(processor, root):
    """Keywords one by one and in dicts, defaults of the tokenizer, names and kinds of the outputs, and the places of
    what replaces the placeholders, as ProcessorTesterMixin asks of audio.
    """
    ecg = {"signal": np.random.default_rng(0).normal(0, 0.2, (12, 1000)), "sampling_rate": 100, "units": "mV"}
    given = {"text": "lower newer <|image|><|ecg|>", "images": str(root / "examples/ecgs/sinus_rhythm.png"), "ecg": ecg}
    flat = processor(**given, text_kwargs={}, return_tensors="pt")
    assert set(flat) == set(processor.model_input_names)
    assert all(isinstance(value, torch.Tensor) for value in flat.values())
    length = flat["input_ids"].shape[1] + 9
    padded = processor(**given, padding="max_length", max_length=length, return_tensors="pt")
    text_kwargs = {"padding": "max_length", "max_length": length}
    nested = processor(**given, common_kwargs={"return_tensors": "pt"}, text_kwargs=text_kwargs)
    assert padded["input_ids"].shape == (1, length) and not padded["attention_mask"][0, :9].any()
    for name, value in padded.items():
        # A number that could not be measured is NaN.
        assert torch.equal(value.nan_to_num(), nested[name].nan_to_num()), name
        assert torch.equal(value[..., -1].nan_to_num(), flat[name][..., -1].nan_to_num()), name
    with pytest.raises(ValueError, match="padding was passed two times"):
        processor(**given, text_kwargs={"padding": "do_not_pad"}, padding="max_length")
    with pytest.raises(ValueError, match="at least one input"):
        processor()
    placed = processor(**given, return_text_replacement_offsets=True)
    text = processor.tokenizer.decode(placed["input_ids"][0])
    (offsets,) = placed["text_replacement_offsets"]
    assert [each["type"] for each in offsets] == ["image", "audio"]
    for each in offsets:
        start, end = each["new_span"]
        assert text[start:end] == each["replacement"]
    for name, error in (("image", {"images": [given["images"]] * 2}), ("ECG", {"ecg": [ecg, ecg]})):
        with pytest.raises(ValueError, match=f"tokens in the prompts should be the same as the number of {name}s"):
            processor(**given | error)


@pytest.mark.parametrize("kind", ["ecg", "image"])
@pytest.mark.parametrize("tensors", ["np", "pt"])
def test_chats_with_and_without_recordings_in_one_batch(processor, root, kind, tensors):
    """Pictures are processed as ProcessorTesterMixin asks: a system message, a batch, and an answer that goes on."""
    files = [root / "examples/ecgs" / name for name in ("sinus_rhythm", "atrial_fibrillation")]
    text = {"type": "text", "text": "Describe this."}
    system = {"role": "system", "content": [{"type": "text", "text": "You are a helpful assistant."}]}
    chats = [
        [system, {"role": "user", "content": [text, {"type": kind, "path": str(file.with_suffix(suffix))}]}]
        for file, suffix in zip(files, (".png", ".png") if kind == "image" else ("", ""))
    ]
    options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": tensors}
    batch = processor.apply_chat_template(chats, **options, processor_kwargs={"padding": True})
    name = {"ecg": "input_values", "image": "pixel_values"}[kind]
    assert len(batch[name]) == len(batch["input_ids"]) == 2
    assert all(isinstance(value, {"np": np.ndarray, "pt": torch.Tensor}[tensors]) for value in batch.values())
    mixed = [[system, {"role": "user", "content": [text]}], chats[1]]
    alone = processor.apply_chat_template(mixed, **options, processor_kwargs={"padding": True})
    assert len(alone[name]) == 1 and (alone["input_ids"][1] == batch["input_ids"][1]).all()
    answer = {"role": "assistant", "content": [{"type": "text", "text": "It is the sound of"}]}
    goes_on = processor.apply_chat_template([[*chat, answer] for chat in chats], continue_final_message=True)
    assert all(prompt.endswith("It is the sound of") for prompt in goes_on)


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
