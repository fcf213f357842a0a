import copy
import warnings

import numpy as np
import pytest
import torch
from support.processes import run_in_two_processes
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, AutoTokenizer

from heartcare import (
    BeatConfig,
    BeatModel,
    HeartcareConfig,
    HeartcareForConditionalGeneration,
    HeartcareProcessor,
    modeling_heartcare,
)
from heartcare.agent.render import draw_ecg
from heartcare.agent.simulate import simulate_ecg
from heartcare.configuration_heartcare import ECG_TOKENS, refuse_unknown

RHYTHMS = (("SR", "NORM"), ("AFIB", "LVH"), ("SBRAD", "CLBBB"), ("STACH", "IMI"))


@pytest.fixture
def ecgs():
    return [simulate_ecg(*each, seconds=5 + i, seed=i) for i, each in enumerate(RHYTHMS)]


@pytest.fixture
def picture(ecgs):
    return draw_ecg(ecgs[0].signal, 500, "6x2")


@pytest.fixture
def tiny_processor(tiny_folder):
    return HeartcareProcessor.from_pretrained(tiny_folder)


@pytest.fixture
def prompts(tiny_processor, ecgs, picture):
    """Returns a batch of three prompts: two ECGs, an ECG and a picture, text alone."""

    def part(ecg):
        return {"type": "ecg", "ecg": ecg.signal, "sampling_rate": 500, "units": "mV"}

    contents = [
        [part(ecgs[0]), {"type": "text", "text": "and"}, part(ecgs[1]), {"type": "text", "text": "What changed?"}],
        [
            {"type": "text", "text": "Signal"},
            part(ecgs[2]),
            {"type": "image", "image": picture},
            {"type": "text", "text": "Agree?"},
        ],
        [{"type": "text", "text": "Hello"}],
    ]
    conversations = [[{"role": "user", "content": content}] for content in contents]

    def inputs(which=slice(None)):
        options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
        return tiny_processor.apply_chat_template(
            copy.deepcopy(conversations[which]), **options, processor_kwargs={"padding": True}
        )

    return inputs


@torch.no_grad()
def test_batch_equals_single(tiny, prompts):
    batch = prompts()
    assert batch["input_values"].shape[0] == 3 and batch["pixel_values"].shape[:2] == (1, 12)
    logits = tiny(**batch).logits
    for i in range(3):
        single = prompts(slice(i, i + 1))
        alone = tiny(**single).logits[0]
        assert_close(logits[i, -len(alone) :], alone, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_cache_equals_no_cache(tiny, prompts):
    options = {"max_new_tokens": 12, "min_new_tokens": 12, "do_sample": False}
    batch = prompts()
    assert torch.equal(tiny.generate(**batch, **options), tiny.generate(**batch, **options, use_cache=False))


@torch.no_grad()
def test_static_cache_equals_dynamic(tiny, prompts):
    options = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False}
    tiny.generation_config.disable_compile = True
    batch = prompts()
    assert torch.equal(
        tiny.generate(**batch, **options), tiny.generate(**batch, **options, cache_implementation="static")
    )


@torch.no_grad()
def test_num_return_sequences_keep_their_ecgs(tiny, prompts):
    """Inputs [A, B] become [A, B], [A, B] when each is wanted twice, as in a batch of copies."""
    batch, beams = (
        prompts(),
        {"num_beams": 3, "num_return_sequences": 3, "max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False},
    )
    together = tiny.generate(**batch, **beams)
    width = batch["input_ids"].shape[1]
    for i in range(3):
        single = prompts(slice(i, i + 1))
        alone = tiny.generate(**single, **beams)
        assert torch.equal(together[3 * i : 3 * i + 3, width:], alone[:, single["input_ids"].shape[1] :])
    encoded = tiny._prepare_multimodal_encoder_kwargs_for_generation(dict(batch))["mm_encoder_outputs"]
    expanded = tiny._expand_multimodal_outputs(batch["input_ids"], encoded, 2)["ecg"].pooler_output
    one, two, three = encoded["ecg"].pooler_output
    assert_close(torch.cat(expanded), torch.cat([one, two, one, two, three, three]))


@torch.no_grad()
def test_sampling_is_seeded_and_uses_each_copy(tiny, prompts):
    options = {"do_sample": True, "num_return_sequences": 2, "max_new_tokens": 8, "min_new_tokens": 8}
    torch.manual_seed(0)
    one = tiny.generate(**prompts(), **options)
    torch.manual_seed(0)
    assert torch.equal(one, tiny.generate(**prompts(), **options)) and one.shape[0] == 6
    assert not torch.equal(one[0], one[1])


@torch.no_grad()
def test_every_ecg_and_image_is_used_in_its_place(tiny, prompts):
    batch = prompts()
    logits = tiny(**batch).logits[:, -1]
    for i, prompt in ((0, 0), (1, 0), (2, 1)):
        changed = {**batch, "input_values": batch["input_values"].clone()}
        changed["input_values"][i] = batch["input_values"][i].flip(0)
        other = tiny(**changed).logits[:, -1]
        moved = (other - logits).abs().amax(1) > 1e-5
        assert moved.tolist() == [k == prompt for k in range(3)]
    order = [1, 0, 2]
    swapped = {**batch, **{name: batch[name][order] for name in ("input_values", "ecg_attention_mask", "lead_mask")}}
    assert not torch.allclose(tiny(**swapped).logits[0, -1], logits[0, -1], atol=1e-5)
    image = {**batch, "pixel_values": -batch["pixel_values"]}
    assert ((tiny(**image).logits[:, -1] - logits).abs().amax(1) > 1e-5).tolist() == [False, True, False]


def test_both_experts_learn_and_share_nothing(tiny, prompts):
    assert not {id(p) for p in tiny.signal_projector.parameters()} & {id(p) for p in tiny.image_projector.parameters()}
    batch = prompts()
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    tiny.train()
    tiny(**batch, labels=labels).loss.backward()
    for name in (
        "signal_projector.linear_1.weight",
        "signal_projector.gain.weight",
        "image_projector.linear_2.weight",
        "vision_tower.embeddings.patch_embedding.weight",
    ):
        assert tiny.get_parameter(name).grad.abs().sum() > 0, name
    embeddings = tiny.get_input_embeddings().weight.grad
    for token in ("ecg_start_token", "ecg_end_token", "image_start_token"):
        row = AutoTokenizer.from_pretrained(tiny.name_or_path).convert_tokens_to_ids(ECG_TOKENS[token])
        assert embeddings[row].abs().sum() > 0, token


def test_frozen_towers(tiny):
    tiny.freeze_towers()
    trained = {name.split(".")[0] for name, p in tiny.named_parameters() if p.requires_grad}
    assert trained == {"signal_projector", "image_projector", "language_model"}


@torch.no_grad()
def test_both_levels_reach_the_language_model(tiny, prompts):
    batch = prompts()
    logits = tiny(**batch).logits
    tiny.beat.quantizer.levels[1].codebook.zero_()
    assert not torch.allclose(tiny(**batch).logits, logits, atol=1e-4)


@torch.no_grad()
def test_voltage_reaches_the_language_model(tiny, tiny_processor, ecgs, ask):
    def logits(factor):
        scaled = copy.deepcopy(ecgs[0])
        scaled.signal = scaled.signal * factor
        return tiny(**ask(ecgs=[scaled], processor=tiny_processor)).logits[0, -1]

    assert not torch.allclose(logits(1.0), logits(3.0), atol=1e-4)


@torch.no_grad()
def test_placeholders_and_features_must_agree(tiny, prompts, tiny_processor, ecgs):
    batch = prompts()
    with pytest.raises(ValueError, match=r"ecg placeholders, but the ecgs given need"):
        tiny(
            **{
                **batch,
                "input_values": batch["input_values"][:2],
                "ecg_attention_mask": batch["ecg_attention_mask"][:2],
                "lead_mask": batch["lead_mask"][:2],
            }
        )
    with pytest.raises(ValueError, match="exactly one"):
        tiny(**batch, inputs_embeds=torch.zeros(1))
    signal = ecgs[0].signal
    for text, given in (("<|ecg|><|ecg|>", [signal]), ("none", [signal]), ("<|ecg|>", None)):
        with pytest.raises(ValueError, match=r"<\|ecg\|> placeholders but \d ECGs"):
            tiny_processor(text=text, ecg=given, sampling_rate=500)
    with pytest.raises(ValueError, match="Mismatch in `ecg` token count.*truncation"):
        tiny_processor(text="<|ecg|>", ecg=[signal], sampling_rate=500, truncation=True, max_length=7)
    with pytest.raises(TypeError, match="give ECGs as ecg="):
        tiny_processor(text="<|ecg|>", audio=[signal])
    with pytest.raises(ValueError, match="stand for recordings"):
        tiny_processor.apply_chat_template([{"role": "user", "content": "What does <|ecg|> mean?"}])


def test_assistant_mask_marks_the_answers_alone(tiny_processor, ecgs):
    conversation = [
        {
            "role": "user",
            "content": [
                {"type": "ecg", "ecg": ecgs[0].signal, "sampling_rate": 500},
                {"type": "text", "text": "Is there a P wave?"},
            ],
        },
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "What is the rhythm?"},
        {"role": "assistant", "content": [{"type": "text", "text": "Sinus rhythm."}]},
    ]
    inputs = tiny_processor.apply_chat_template(
        conversation, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    ids, mask = np.array(inputs["input_ids"]).ravel(), np.array(inputs["assistant_masks"]).ravel().astype(bool)
    assert tiny_processor.decode(ids[mask]) == "Yes.<|end|>Sinus rhythm.<|end|>"
    assert (ids == tiny_processor.audio_token_id).sum() == 25  # five seconds, 200 ms each


def test_gradient_checkpointing_gives_the_same_gradients(tiny, prompts):
    batch = prompts()
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    gradients = []
    for _ in range(2):
        tiny.train()
        tiny.zero_grad()
        tiny(**batch, labels=labels).loss.backward()
        gradients.append({name: p.grad.clone() for name, p in tiny.named_parameters() if p.grad is not None})
        tiny.gradient_checkpointing_enable({"use_reentrant": False})
    assert gradients[0].keys() == gradients[1].keys()
    for name in gradients[0]:
        assert_close(gradients[0][name], gradients[1][name])


@torch.no_grad()
def test_save_load_bit_exact_sharded_and_not(tiny, prompts, tmp_path):
    logits = tiny(**prompts()).logits
    for name, options in (("whole", {}), ("sharded", {"max_shard_size": "50KB"})):
        tiny.save_pretrained(tmp_path / name, **options)
        loaded = HeartcareForConditionalGeneration.from_pretrained(tmp_path / name).eval()
        assert all(
            torch.equal(a, b) for a, b in zip(tiny.state_dict().values(), loaded.state_dict().values(), strict=True)
        )
        assert torch.equal(loaded(**prompts()).logits, logits)
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 2
    beat = BeatModel.from_pretrained(tmp_path / "sharded").state_dict()
    assert all(torch.equal(tensor, beat[name]) for name, tensor in tiny.beat.state_dict().items())


@torch.no_grad()
def test_bfloat16(tiny_folder, prompts):
    half = HeartcareForConditionalGeneration.from_pretrained(tiny_folder, dtype=torch.bfloat16).eval()
    assert half.beat.quantizer.levels[0].codebook.dtype == torch.float32
    assert half.signal_projector.linear_1.weight.dtype == torch.bfloat16
    assert half(**prompts()).logits.isfinite().all()
    assert half.generate(**prompts(), max_new_tokens=3).shape[0] == 3


def test_lora_touches_the_language_model_alone(tiny, prompts):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=r"language_model\..*\.(q_proj|v_proj)")
    wrapped = peft.get_peft_model(tiny, config)
    batch = prompts()
    wrapped(**batch, labels=batch["input_ids"]).loss.backward()
    trained = [name for name, p in wrapped.named_parameters() if p.requires_grad]
    assert trained and all("language_model" in name and "lora" in name for name in trained)
    assert wrapped.generate(**batch, max_new_tokens=2).shape[0] == 3


def test_a_checkpoint_that_does_not_fit_is_an_error(tiny, tmp_path):
    from safetensors.torch import load_file, save_file

    tiny.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    for change, message in (
        (lambda w: w.pop("signal_projector.linear_1.weight"), "1 missing keys"),
        (lambda w: w.update({"extra.weight": torch.zeros(1)}), "1 unexpected keys.*extra.weight"),
    ):
        changed = dict(weights)
        change(changed)
        save_file(changed, tmp_path / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ValueError, match=message):
            HeartcareForConditionalGeneration.from_pretrained(tmp_path)


def test_config_round_trip(tiny, tmp_path):
    tiny.config.save_pretrained(tmp_path)
    loaded, config = HeartcareConfig.from_pretrained(tmp_path).to_dict(), tiny.config.to_dict()
    loaded.pop("_name_or_path"), config.pop("_name_or_path")
    assert loaded == config


@torch.no_grad()
def test_attributes_set_later_are_saved_and_loaded(tiny, prompts, tmp_path):
    """Attributes that trainers and other tools set later are kept: special token ids, sizes, a mark of their own."""
    later = {"pad_token_id": 1, "bos_token_id": 2, "eos_token_id": [1, 2], "use_cache": False}
    for name, value in later.items():
        setattr(tiny.config, name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny.save_pretrained(tmp_path)
        loaded = HeartcareForConditionalGeneration.from_pretrained(tmp_path).eval()
    assert loaded.config.pad_token_id == 1 and torch.equal(loaded(**prompts()).logits, tiny(**prompts()).logits)
    tiny.config.vocab_size, tiny.config.unsloth_version = 1031, "2026.1"
    with pytest.warns(UserWarning, match="HeartcareConfig does not know .'unsloth_version', 'vocab_size'."):
        tiny.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="unsloth_version"):
        assert HeartcareForConditionalGeneration.from_pretrained(tmp_path).config.unsloth_version == "2026.1"


@pytest.mark.parametrize(
    "part, name, value, message",
    [
        ("config", "image_slot_per_tile", 2, "did you mean .'image_slots_per_tile'"),
        ("beat_config", "codebok_size", 2, "did you mean .'codebook_size'"),
        ("beat_config", "segment_length", 405, "no multiple of patch_size"),
        ("beat_config", "num_levels", 0, "num_levels must be at least 1"),
    ],
)
def test_a_configuration_that_could_not_be_loaded_back_is_not_saved(tiny, tmp_path, part, name, value, message):
    """The weights must not be written beside a config.json that no load accepts."""
    setattr(tiny.config if part == "config" else tiny.config.beat_config, name, value)
    with pytest.raises(ValueError, match=f"could not be loaded back.*{message}"):
        tiny.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.safetensors")) and not (tmp_path / "config.json").exists()


def test_misspelt_keys_are_refused():
    with pytest.raises(ValueError, match="unknown keys.*image_slot_per_tile.*did you mean.*image_slots_per_tile"):
        HeartcareConfig(image_slot_per_tile=2)
    with pytest.warns(UserWarning, match="does not know .'layer_norm_epsilon', 'sep_token_id'."):  # of other models
        BeatConfig(layer_norm_epsilon=1.0, sep_token_id=3)
    with pytest.raises(ValueError, match="computes .'num_patches'. from other keys"):
        BeatConfig(num_patches=2)
    with pytest.raises(ValueError, match="of a model of type 'llama'; expected 'heartcare'"):
        HeartcareConfig.from_dict({"model_type": "llama", "hidden_size": 8})
    with pytest.raises(TypeError, match=r"prepare got unknown keywords: 'unit' \(did you mean 'units'\?\), 'q'. Known"):
        refuse_unknown({"unit": "uV", "q": 1, "fs": 2}, ["units", "sampling_rate", "fs"], "prepare")
    refuse_unknown({"units": "uV"}, ["units"], "prepare")


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2", "gemma2", "phi3"])
@torch.no_grad()
def test_the_language_model_is_the_backbone_itself(family, tiny, tiny_folder, tmp_path, ecgs):
    """Text without any ECG has the logits of the backbone: the child keeps its own head, scaling and soft caps."""
    from transformers import AutoConfig

    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
    }
    if family == "gpt2":
        sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2}
    if family == "phi3":
        sizes.pop("head_dim")
    ids = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = AutoConfig.for_model(
        family, vocab_size=len(tokenizer) - 7, **sizes, **ids
    )  # too few rows for the ECG tokens
    torch.manual_seed(0)
    backbone = AutoModelForCausalLM.from_config(config).eval()
    backbone.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    parts = {"text": str(tmp_path), "vision": tiny.vision_tower, "beat": tiny.beat}
    model = HeartcareForConditionalGeneration.from_backbones(**parts).eval()
    processor = HeartcareProcessor.from_backbones(**parts)
    text = processor(text="What is the rhythm?", return_tensors="pt")
    expected = backbone(**text).logits
    assert_close(model(**text).logits[..., : config.vocab_size], expected)
    assert model.get_input_embeddings().num_embeddings >= len(processor.tokenizer)
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.beat.state_dict().values(), tiny.beat.state_dict().values(), strict=True)
    )
    message = [
        {
            "role": "user",
            "content": [{"type": "ecg", "ecg": ecgs[0].signal, "sampling_rate": 500}, {"type": "text", "text": "?"}],
        }
    ]
    inputs = processor.apply_chat_template(
        message, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    out = model.generate(**inputs, max_new_tokens=3, do_sample=False)[:, inputs["input_ids"].shape[1] :]
    placeholders = {model.config.ecg_token_id, model.config.image_token_id}
    assert not placeholders & set(out.flatten().tolist())


@torch.no_grad()
def test_forecast_takes_the_processor_outputs(tiny, tiny_processor, ecgs, ask):
    inputs = ask(ecgs=ecgs[:2], processor=tiny_processor)
    forecast = tiny.forecast(**inputs, seconds=1.5)
    assert forecast.shape == (2, 12, 150)
    assert_close(
        forecast,
        tiny.beat.forecast(inputs["input_values"], inputs["ecg_attention_mask"], inputs["lead_mask"], num_samples=150),
    )


@torch.no_grad()
def test_prompts_given_as_embeddings_keep_their_ecgs(tiny, prompts):
    """Embeddings of prompts generate the same answers, with beams and several answers too; placeholders are then found
    by their embedding.
    """
    batch = prompts()
    others = {name: value for name, value in batch.items() if name not in ("input_ids", "mm_token_type_ids")}
    embeds = tiny.get_input_embeddings()(batch["input_ids"])
    width = batch["input_ids"].shape[1]
    for options in ({"num_beams": 2}, {"num_beams": 3, "num_return_sequences": 2}, {}):
        options |= {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False}
        expected = tiny.generate(**batch, **options)[:, width:]
        assert torch.equal(tiny.generate(inputs_embeds=embeds, **others, **options), expected)
    sampled = {"do_sample": True, "num_return_sequences": 2, "max_new_tokens": 5, "min_new_tokens": 5}
    torch.manual_seed(0)
    expected = tiny.generate(**batch, **sampled)[:, width:]
    torch.manual_seed(0)
    assert torch.equal(tiny.generate(inputs_embeds=embeds, **others, **sampled), expected)


@torch.no_grad()
def test_raw_inputs_and_their_features_together_are_refused(tiny, prompts):
    batch = prompts()
    ecg = {name: batch[name] for name in ("input_values", "ecg_attention_mask", "lead_mask")}
    image = {"pixel_values": batch["pixel_values"]}
    features = {"ecg": tiny.get_ecg_features(**ecg), "image": tiny.get_image_features(**image)}
    prompt = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    expected = tiny(**batch).logits
    assert torch.equal(tiny(**prompt, mm_encoder_outputs=features).logits, expected)
    assert torch.equal(tiny(**prompt, **ecg, mm_encoder_outputs={"image": features["image"]}).logits, expected)
    for raw, modality in ((ecg, "ecg"), (image, "image")):
        with pytest.raises(ValueError, match=f"Give either {modality}s or their features.*not both"):
            tiny(**prompt, **raw, mm_encoder_outputs=features)
        with pytest.raises(ValueError, match="not both"):
            tiny.generate(**prompt, **raw, mm_encoder_outputs=features, max_new_tokens=1)
    tokens = tiny.beat.encode(**ecg)
    with pytest.raises(ValueError, match="not both"):
        tiny(**prompt, ecg_codes=tokens.codes, ecg_gain=tokens.gain, mm_encoder_outputs=features)


@torch.no_grad()
def test_unknown_keywords_are_refused(tiny, prompts):
    batch = prompts()
    ecg = {name: batch[name] for name in ("input_values", "ecg_attention_mask", "lead_mask")}
    for call, keyword, near in (
        (lambda **x: tiny.forecast(**ecg, **x), "secnds", "seconds"),
        (lambda **x: tiny.get_ecg_features(**ecg, **x), "lead_maks", "lead_mask"),
        (lambda **x: tiny.get_ecg_features(**ecg, **x), "output_attention", "output_attentions"),
        (lambda **x: tiny.get_image_features(batch["pixel_values"], **x), "image_slot", "image_slots"),
        (lambda **x: tiny.get_prompt_embeds(**batch, **x), "pixel_valus", "pixel_values"),
        (lambda **x: tiny(**batch, **x), "lead_maks", "lead_mask"),
        (lambda **x: tiny(**batch, **x), "label", "labels"),
    ):
        with pytest.raises(TypeError, match=f"'{keyword}' .did you mean '{near}'"):
            call(**{keyword: None})
    assert tiny(**batch, output_attentions=True, use_cache=False, return_dict=True).logits is not None


@torch.no_grad()
def test_towers_can_be_looked_at(tiny_folder, prompts):
    model = HeartcareForConditionalGeneration.from_pretrained(tiny_folder, attn_implementation="eager").eval()
    batch, both = prompts(), {"output_hidden_states": True, "output_attentions": True}
    ecg = {name: batch[name] for name in ("input_values", "ecg_attention_mask", "lead_mask")}
    beat, tower = model.get_ecg_features(**ecg, **both), model.get_image_features(batch["pixel_values"], **both)
    config = model.config.beat_config
    n = config.num_patches + config.num_queries
    assert len(beat.hidden_states) == config.num_encoder_layers + 1
    assert beat.attentions[0].shape[1:] == (config.num_attention_heads, n, n)
    vision, patches = model.config.vision_config, (model.config.vision_config.image_size // 8) ** 2
    assert len(tower.hidden_states) == vision.num_hidden_layers + 1
    assert tower.attentions[0].shape == (12, vision.num_attention_heads, patches, patches)
    plain = model.get_image_features(batch["pixel_values"])
    assert plain.hidden_states is None and plain.attentions is None
    assert all(torch.equal(a, b) for a, b in zip(plain.pooler_output, tower.pooler_output, strict=True))
    assert torch.equal(model.get_image_slots(batch["pixel_values"]), plain.last_hidden_state)
    assert isinstance(model.get_image_features(batch["pixel_values"], return_dict=False), tuple)


@torch.no_grad()
def test_a_lead_mask_of_whole_leads_or_of_samples_is_the_same(tiny, prompts):
    batch = prompts()
    batch["lead_mask"] = torch.ones(3, 12)
    batch["lead_mask"][0, 4:] = 0
    samples = {**batch, "lead_mask": batch["lead_mask"][..., None].expand_as(batch["input_values"])}
    assert torch.equal(tiny(**batch).logits, tiny(**samples).logits)
    ecg = ("input_values", "ecg_attention_mask", "lead_mask")
    one, other = (tiny.forecast(**{name: x[name] for name in ecg}) for x in (batch, samples))
    assert torch.equal(one, other)


@torch.no_grad()
def test_a_prompt_without_an_ecg_is_answered_with_a_warning(tiny, tiny_processor, prompts, monkeypatch):
    """The library's own pipelines ask the language model alone."""
    said = []
    monkeypatch.setattr(modeling_heartcare.logger, "warning_once", said.append)
    tiny.generate(**prompts(), max_new_tokens=1)
    assert said == []
    tiny.generate(**tiny_processor(text="What is atrial fibrillation?", return_tensors="pt"), max_new_tokens=1)
    assert len(said) == 1 and said[0].startswith("The prompt has no ECG")


@torch.no_grad()
def test_assisted_generation_gives_the_same_answers(tiny, prompts):
    """Assisted generation gives the same answers: by the language model's own first layer (early exit), and by prompt
    lookup.
    """
    single = prompts(slice(0, 1))
    options = {"max_new_tokens": 12, "min_new_tokens": 12, "do_sample": False}
    expected = tiny.generate(**single, **options)
    assert torch.equal(tiny.generate(**single, **options, assistant_early_exit=1), expected)
    assert tiny.config.text_config.num_hidden_layers == 2
    assert torch.equal(tiny.generate(**single, **options, prompt_lookup_num_tokens=3), expected)


def test_the_place_in_transformers(tiny):
    assert tiny.base_model is tiny.language_model and type(tiny)._can_compile_fullgraph
    assert {"BeatEncoder", "BeatDecoder", "SignalProjector", "ImageProjector", "LlamaDecoderLayer"} <= set(
        tiny._no_split_modules
    )
    wrapped = [module for module in tiny.modules() if type(module).__name__ in tiny._no_split_modules]
    inner = {id(part) for module in wrapped for part in module.modules() if part is not module}
    assert not inner & {id(module) for module in wrapped}  # sharding takes them in any order
    fresh = HeartcareForConditionalGeneration(copy.deepcopy(tiny.config))
    for model in (tiny, fresh):
        frozen = {name.split(".")[0] for name, weight in model.named_parameters() if not weight.requires_grad}
        assert frozen == {"beat"}


@pytest.mark.slow
def test_two_processes_by_hand_learn_what_one_does(tiny_folder, prompts, tmp_path):
    """DDP needs neither a trainer nor a call that freezes anything: no process waits for a gradient of Beat."""
    halves = [prompts(slice(0, 1)), prompts(slice(1, 2))]
    batches = []
    for _ in range(3):
        batches.append([{**half, "labels": half["input_ids"]} for half in halves])
    torch.save([[dict(half) for half in pair] for pair in batches], tmp_path / "batches.pt")
    run_in_two_processes("ddp_worker.py", tiny_folder, tmp_path / "batches.pt", tmp_path / "weights.pt")
    model = HeartcareForConditionalGeneration.from_pretrained(tiny_folder).train()
    optimizer = torch.optim.SGD([weight for weight in model.parameters() if weight.requires_grad], lr=1e-2)
    for pair in batches:
        for half in pair:
            (model(**half).loss / 2).backward()
        optimizer.step()
        optimizer.zero_grad()
    weights = torch.load(tmp_path / "weights.pt", weights_only=True)
    for name, weight in model.state_dict().items():
        assert_close(weights[name], weight, atol=1e-5, rtol=1e-4, msg=name)


@torch.no_grad()
def test_the_whole_forward_pass_is_one_graph(tiny, prompts):
    """The forward pass is one graph, also with a keyword that no signature has, such as generation gives."""
    batch = prompts()
    compiled = torch.compile(tiny, backend="eager", fullgraph=True)
    for options in ({"use_cache": False}, {"use_cache": True, "is_causal": True, "anything": None}):
        assert_close(compiled(**batch, **options).logits, tiny(**batch, **options).logits, atol=1e-5, rtol=1e-5)
