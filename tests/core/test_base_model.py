"""HeartcareGPT without its head, and the demands of vLLM's backend for models of transformers on it and on the
processor.
"""

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.testing import assert_close
from transformers import AutoModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from heartcare import HeartcareForConditionalGeneration, HeartcareModel, HeartcareProcessor


@pytest.fixture
def prompt(tiny_folder, ask, ecg):
    """Returns a picture, an ECG and a question, as the small model's processor gives them."""
    processor = HeartcareProcessor.from_pretrained(tiny_folder)
    pixels = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    return ask(ecgs=[ecg], images=[Image.fromarray(pixels)], processor=processor)


@pytest.fixture
def untied(tiny, tmp_path):
    """Makes a checkpoint whose head is no copy of the embeddings."""
    config = copy.deepcopy(tiny.config)
    config.text_config.tie_word_embeddings = config.tie_word_embeddings = False
    model = HeartcareForConditionalGeneration(config).eval()
    model.save_pretrained(tmp_path / "untied")
    assert "language_model.lm_head.weight" in load_file(tmp_path / "untied" / "model.safetensors")
    return model, tmp_path / "untied"


@torch.no_grad()
def test_its_hidden_states_are_those_that_the_head_reads(tiny, tiny_folder, untied, prompt):
    for whole, folder in ((tiny, tiny_folder), untied):
        base = HeartcareModel.from_pretrained(folder).eval()
        assert not base.can_generate() and base.get_output_embeddings() is None and base.base_model is base
        assert type(base.get_decoder()) is type(whole.get_decoder())
        state = {name: weight for name, weight in whole.state_dict().items() if "lm_head" not in name}
        assert state.keys() == base.state_dict().keys()
        outputs, want = (model(**prompt, output_hidden_states=True) for model in (base, whole))
        assert torch.equal(whole.get_output_embeddings()(outputs.last_hidden_state), want.logits)
        for name in ("hidden_states", "ecg_hidden_states", "image_hidden_states"):
            assert all(torch.equal(a, b) for a, b in zip(outputs[name], want[name], strict=True)), name
        assert torch.equal(base(**prompt, return_dict=False)[0], outputs.last_hidden_state)
        step = {"input_ids": prompt["input_ids"][:, :1], "use_cache": True}
        cached = base(**step, past_key_values=outputs.past_key_values)
        assert_close(
            whole.get_output_embeddings()(cached.last_hidden_state),
            whole(**step, past_key_values=want.past_key_values).logits,
        )
        frozen = {name.split(".")[0] for name, weight in base.named_parameters() if not weight.requires_grad}
        assert frozen == {"beat"}
        with pytest.raises(TypeError, match="'lead_maks' .did you mean 'lead_mask'"):
            base(**prompt, lead_maks=None)


@pytest.mark.parametrize(
    "name",
    ["beat.extra", "vision_tower.extra", "signal_projector.extra", "language_model.extra", "findings_head.extra"],
)
@pytest.mark.parametrize("kind", [HeartcareModel, HeartcareForConditionalGeneration])
def test_a_weight_without_a_place_is_refused(tiny, tmp_path, kind, name):
    """An unknown weight is refused under the name of any part: no part's own list of weights to leave out counts for
    the whole.
    """
    tiny.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors") | {name: torch.zeros(1)}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"has 1 unexpected keys for {kind.__name__}, for example .*{name}"):
        kind.from_pretrained(tmp_path)


@torch.no_grad()
def test_a_server_with_its_own_attention_and_head_is_given_the_base_model(untied, prompt, monkeypatch):
    """The model is built and called as by vLLM: the attention's name in the language model's configuration, embeddings
    of a flat batch, and no mask, cache or dict.
    """
    whole, folder = untied
    names = []

    def attention(module, *args, **kwargs):
        names.append(type(module).__name__)
        return ALL_ATTENTION_FUNCTIONS["sdpa"](module, *args, **kwargs)

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, "vllm", attention)
    config = copy.deepcopy(whole.config)
    config.text_config._attn_implementation = "vllm"
    base = AutoModel.from_config(config).eval()
    assert type(base) is HeartcareModel and type(AutoModel.from_config(whole.config)) is not HeartcareModel
    assert not base._keys_to_ignore_on_load_unexpected and base.base_model_prefix in ("", "model")
    base.load_state_dict({key: value for key, value in whole.state_dict().items() if "lm_head" not in key})
    embeds = whole.get_prompt_embeds(**prompt)
    positions = torch.arange(embeds.shape[1])[None]
    hidden = base(input_ids=None, inputs_embeds=embeds, use_cache=False, position_ids=positions, return_dict=False)[0]
    assert names == ["LlamaAttention"] * config.text_config.num_hidden_layers
    assert_close(whole.get_output_embeddings()(hidden), whole(**prompt).logits, atol=1e-5, rtol=1e-5)


def test_numbers_of_tokens_are_known_from_the_sizes_alone(processor, root):
    """The numbers that vLLM asks for (`_get_num_multimodal_tokens`) are those that the processor writes."""
    sizes = [(200, 200), (750, 900), (1700, 2200), (2200, 1700), (300, 1200)]
    pictures = [Image.new("RGB", (width, height), "white") for height, width in sizes]
    told = processor._get_num_multimodal_tokens(image_sizes=sizes)
    for picture, tokens, rows in zip(pictures, told["num_image_tokens"], told["num_image_patches"], strict=True):
        features = processor(images=picture, text="<|image|>", return_tensors="pt")
        assert (features["input_ids"] == processor.image_token_id).sum() == tokens > 0
        assert len(features["pixel_values"]) == rows == 1
    for height, width in ((199, 300), (300, 1201)):
        told = processor._get_num_multimodal_tokens(image_sizes=[(height, width), (300, 300)])
        assert told["num_image_tokens"][0] == told["num_image_patches"][0] == 0 < told["num_image_tokens"][1]
        with pytest.raises(ValueError, match="is no 12-lead ECG"):
            processor(images=Image.new("RGB", (width, height)), text="<|image|>")
    assert processor._get_num_multimodal_tokens()["num_image_tokens"] is None


def test_an_ecg_has_no_more_tokens_than_the_language_model_can_read(model):
    assert model.config.max_position_embeddings == model.config.get_text_config().max_position_embeddings > 0
    assert "max_position_embeddings" not in model.config.to_diff_dict()
