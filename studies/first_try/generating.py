"""Rows of the model itself: options of generate, number formats, saving, training, export, metrics and card."""

from typing import Any

from .rows import Given, Rows, StoppedByLibrary, expect, refused, setup_of, stopped, user

GENERATING = Rows()
METRICS = 14
# Names of `evaluate`'s own measures that the card may use.
HUB_METRICS = {"accuracy", "f1", "roc_auc", "rouge", "bleu", "bertscore", "mse", "mae"}
GREEDY = {"do_sample": False, "max_new_tokens": 12}


def answer(given: Given, model: Any = None, **options: Any) -> str:
    """Returns a model's answer about the example, greedily unless options say otherwise."""
    ids = (model or given.model).generate(**given.inputs, **GREEDY | options)
    return given.written(given.inputs, ids)[0]


@GENERATING.row("generate: greedy, default, sampling, 4 beams, num_return_sequences; batch of differing lengths")
def strategies(given: Given) -> str:
    ways = (
        {},
        {"do_sample": True},
        {"num_beams": 4},
        {"num_beams": 4, "num_return_sequences": 2},
        {"do_sample": True, "num_return_sequences": 2},
    )
    counts = [len(given.model.generate(**given.inputs, **GREEDY | way)) for way in ways]
    expect(counts == [1, 1, 1, 2, 2] and len(given.model.generate(**given.inputs)) == 1, counts)
    return answer(given)


@GENERATING.row("generate: static cache; assisted by itself; prompt lookup; use_cache=False: the same answer")
def equal_ways(given: Given) -> str:
    ways = {
        "plain": {},
        "static cache": {"cache_implementation": "static"},
        "assisted": {"assistant_model": given.model},
        "assisted by the language model": {"assistant_model": given.model.language_model},
        "prompt lookup": {"prompt_lookup_num_tokens": 3},
        "no cache": {"use_cache": False},
        "prefill in chunks": {"prefill_chunk_size": 16},
    }
    texts = {name: answer(given, **way) for name, way in ways.items()}
    expect(len({*texts.values()}) == 1 and texts["plain"], texts)
    return f"{len(ways)} ways, one answer: {texts['plain']}"


@GENERATING.row("generate: repetition/n-gram/min tokens, logits processors, stop strings, CFG, watermark, max_time")
def processors(given: Given) -> str:
    from transformers import LogitsProcessorList, MinPLogitsWarper, WatermarkingConfig

    ways = (
        {"repetition_penalty": 1.2},
        {"no_repeat_ngram_size": 2},
        {"min_new_tokens": 5},
        {"logits_processor": LogitsProcessorList([MinPLogitsWarper(0.1)]), "do_sample": True},
        {"stop_strings": ["rhythm"], "tokenizer": given.processor.tokenizer},
        {"guidance_scale": 1.5},
        {"watermarking_config": WatermarkingConfig()},
        {"max_time": 30.0},
    )
    texts = [answer(given, **way) for way in ways]
    expect(all(isinstance(text, str) for text in texts), texts)
    return f"{len(ways)} options"


@GENERATING.row("generate: TextStreamer; scores, attentions, hidden states; post_process_image_text_to_text")
def outputs(given: Given) -> str:
    from transformers import TextIteratorStreamer

    streamer = TextIteratorStreamer(given.processor, skip_prompt=True, skip_special_tokens=True)
    looked = {"return_dict_in_generate": True, "output_scores": True, "output_hidden_states": True}
    found = given.model.generate(**given.inputs, **GREEDY, **looked, streamer=streamer)
    text, streamed = given.written(given.inputs, found.sequences)[0], "".join(streamer)
    start = given.inputs["input_ids"].shape[1]
    shown = given.processor.post_process_image_text_to_text(found.sequences[:, start:], skip_special_tokens=True)
    expect(text == streamed == shown[0] and found.scores and found.hidden_states, (text, streamed, shown))
    return text


@GENERATING.row("generate: assistant_early_exit")
def early_exit(given: Given) -> str:
    text = answer(given, assistant_early_exit=1)
    expect(text == answer(given), text)
    return text


@GENERATING.row("generate: contrastive; assisted with batch > 1")
def of_the_library(given: Given) -> str:
    twice = {name: value.repeat_interleave(2, 0) for name, value in given.inputs.items()}
    refused(lambda: given.model.generate(**twice, **GREEDY, assistant_model=given.model), "batch")
    return stopped(lambda: answer(given, penalty_alpha=0.6, top_k=4), "trust_remote_code")


@GENERATING.row("dtype auto, bfloat16, float16, `.half()`: the same answer")
def number_formats(given: Given) -> str:
    import torch
    from transformers import AutoModel

    texts = {"float32": answer(given)}
    for dtype in ("auto", torch.bfloat16, torch.float16):
        model = AutoModel.from_pretrained(given.repo, dtype=dtype, **given.trusted).eval()
        texts[str(dtype)] = answer(given, model)
    expect(len({*texts.values()}) == 1, texts)
    return f"{', '.join(texts)}: {texts['float32']}"


@GENERATING.row("attn sdpa, eager, set_attn_implementation: the same answer")
def attention(given: Given) -> str:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(given.repo, attn_implementation="eager", **given.trusted).eval()
    texts = [answer(given), answer(given, model)]
    model.set_attn_implementation("sdpa")
    texts.append(answer(given, model))
    expect(len({*texts}) == 1, texts)
    return texts[0]


@GENERATING.row("device_map auto/cpu, low_cpu_mem_usage, max_memory with disk offload")
def device_maps(given: Given) -> str:
    from importlib.util import find_spec

    from transformers import AutoModel

    if find_spec("accelerate") is None:
        raise StoppedByLibrary("device_map needs accelerate")
    texts = [
        answer(given, AutoModel.from_pretrained(given.repo, **given.trusted, **options).eval())
        for options in ({"device_map": "auto"}, {"device_map": "cpu"}, {"low_cpu_mem_usage": True})
    ]
    offload = {"device_map": "auto", "max_memory": {"cpu": "8MB"}, "offload_folder": given.space / "offload"}
    offloaded = AutoModel.from_pretrained(given.repo, **given.trusted, **offload).eval()
    texts.append(answer(given, offloaded))
    expect({*texts} == {answer(given)} and "disk" in offloaded.hf_device_map.values(), texts)
    return texts[0]


@GENERATING.row("save_pretrained/from_pretrained; shards of 3 MB; pipeline.save_pretrained")
def saving(given: Given) -> str:
    from transformers import AutoModel, pipeline

    one, shards = given.space / "whole", given.space / "shards"
    given.pipe.save_pretrained(one)
    given.model.save_pretrained(shards, max_shard_size="3MB")
    loaded = (
        pipeline(model=str(one), device="cpu", **given.trusted).model,
        AutoModel.from_pretrained(shards, **given.trusted).eval(),
    )
    files = sorted(shards.glob("*.safetensors"))
    texts = [answer(given, model) for model in loaded]
    expect(texts == 2 * [answer(given)] and len(files) > 3, (texts, len(files)))
    return f"{len(files)} shards, the same answer"


GENERATING.by_test("model/processor/pipeline.push_to_hub, load back; examples/push_to_hub.py",
                   "tests/core/test_hub.py::test_the_whole_repository_is_published_and_loaded_back")  # fmt: skip
GENERATING.by_test("TRL: SFTTrainer", "tests/training/test_runs.py::test_sft_trainer")
GENERATING.by_test("PEFT: save, load, merge, a model that loads",
                   "tests/training/test_runs.py::test_lora_is_merged_into_a_model_that_loads")  # fmt: skip
GENERATING.by_test(
    "gradient checkpointing", "tests/core/test_model.py::test_gradient_checkpointing_gives_the_same_gradients"
)


@GENERATING.row("accelerate prepare, infer_auto_device_map")
def accelerated(given: Given) -> str:
    from importlib.util import find_spec

    if find_spec("accelerate") is None:
        raise StoppedByLibrary("accelerate is not installed")
    from accelerate import Accelerator, infer_auto_device_map

    model = Accelerator(cpu=True).prepare(given.model)
    parts = infer_auto_device_map(given.model, max_memory={"cpu": "1GB"})
    expect(answer(given, model) == answer(given) and parts, parts)
    return f"{len(parts)} parts placed"


GENERATING.by_test("FSDP2", "tests/training/test_runs.py::test_shards_learn_what_one_process_does")
GENERATING.by_test("examples/quantize.py int8, 4 bits",
                   "tests/serving/test_export.py::test_the_language_model_shrinks_and_the_encoders_stay")  # fmt: skip


@GENERATING.row("examples/quantize.py 4 bits: the extra `quantize` has all that it needs")
def quantize_extra(given: Given) -> str:
    extra = setup_of(given.folder)["extras_require"]["quantize"]
    expect({"bitsandbytes", "accelerate"} <= {*extra}, extra)
    return ", ".join(extra)


GENERATING.by_test("ONNX export", "tests/serving/test_export.py::test_onnx_gives_the_same_codes")
GENERATING.by_test("torch.compile(model)", "tests/core/test_model.py::test_the_whole_forward_pass_is_one_graph")
GENERATING.by_test("CUDA, by reading: codebooks stay float32",
                   "tests/core/test_beat.py::test_bfloat16_keeps_codebooks_in_float32")  # fmt: skip
GENERATING.by_test("datasets.load_dataset of a build", "tests/agent/test_build.py::test_load_dataset_and_chat")


@GENERATING.row("evaluate.load of 14 metrics, compute, combine")
def metrics(given: Given) -> str:
    import evaluate

    folders = sorted(file.parent for file in (given.folder / "bench/metrics").glob("*/*.py")
                     if file.stem == file.parent.name)  # fmt: skip
    loaded = {folder.name: evaluate.load(str(folder), cache_dir=str(given.space)) for folder in folders}
    texts = {"predictions": ["Sinus rhythm.", "LVH."], "references": ["Sinus rhythm.", "LVH."]}
    found = loaded["rouge_l"].compute(**texts) | loaded["entity_f1"].compute(**texts)
    both = evaluate.combine([loaded["rouge_l"], loaded["bleu"]]).compute(**texts)
    expect(len(loaded) == METRICS and all(each == 1 for each in found.values() if isinstance(each, float)), found)
    return f"{len(loaded)} metrics; combined: {sorted(both)}"


@GENERATING.row("model card: load, eval_results; ids, metrics and widget as the Hub has them")
def card(given: Given) -> str:
    from huggingface_hub import ModelCard
    from huggingface_hub.utils import validate_repo_id

    metadata = ModelCard.load(given.folder / "README.md", ignore_metadata_errors=False).data
    for name in metadata.datasets or ():
        validate_repo_id(name)
        expect(name.count("/") == 1, name)
    expect(metadata.eval_results and set(metadata.metrics or ()) <= HUB_METRICS, metadata.metrics)
    expect(metadata.metrics and all(set(each) == {"messages"} for each in metadata.widget), metadata.widget)
    return f"{len(metadata.eval_results)} results, data sets {metadata.datasets}, metrics {metadata.metrics}"


@GENERATING.row("processor: a misspelt keyword is refused and the right one is named")
def misspelt(given: Given) -> str:
    messages = [user({"type": "ecg", "path": given.ecg()}, "What is the rhythm?")]
    return refused(lambda: given.chat_inputs(messages, processor_kwargs={"samplin_rate": 500}), "sampling_rate")
