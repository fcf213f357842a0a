"""The public surface of the core: all of it is annotated and documented, and no unknown keyword is swallowed."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import heartcare

ROOT = Path(heartcare.__file__).parent
CORE = sorted(file.stem for file in ROOT.glob("*.py") if file.stem not in ("setup", "__init__", "__main__"))
# Hooks that transformers itself calls with keywords of its own, and attention functions, which share one signature.
LIBRARY = {
    *("HeartcareProcessor.prepare_inputs_layout", "HeartcareProcessor.validate_inputs", "eager_attention"),
    *("HeartcareProcessor.replace_image_token", "HeartcareForConditionalGeneration.save_pretrained"),
    "NobodyWaits.__call__",
    *(
        "CheckedConfig.save_pretrained",
        "CheckedConfig.from_dict",
        "BeatFeatureExtractor.from_dict",
        "ECGImageProcessor.from_dict",
    ),
    *("StrictLoadingMixin.from_pretrained", "BeatModel.from_pretrained", "HeartcareProcessor.from_backbones"),
    *("HeartcareForConditionalGeneration.from_backbones", "HeartcareModel.from_pretrained"),
    # The language model takes further keywords of the library; `generate` checks its own before it calls forward.
    *("HeartcareForConditionalGeneration.forward", "HeartcareModel.forward"),
}


def functions():
    """Yields the name and the function of each public function and method that the core defines."""
    for name in CORE:
        module = importlib.import_module(f"heartcare.{name}")
        for title, thing in vars(module).items():
            if title.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
                continue
            if inspect.isfunction(thing):
                yield title, inspect.unwrap(thing)
            elif inspect.isclass(thing):
                for member, value in vars(thing).items():
                    value = getattr(value, "__func__", value)
                    is_public = not member.startswith("_") or member in ("__init__", "__call__")
                    if is_public and inspect.isfunction(value):
                        yield f"{title}.{member}", inspect.unwrap(value)


FUNCTIONS = dict(functions())


def test_the_core_is_annotated():
    missing = {}
    for name, function in FUNCTIONS.items():
        signature = inspect.signature(function)
        bare = [
            parameter.name
            for parameter in signature.parameters.values()
            if parameter.annotation is parameter.empty and parameter.name not in ("self", "cls")
        ]
        if signature.return_annotation is signature.empty and not name.endswith("__init__"):
            bare.append("return")
        if bare:
            missing[name] = bare
    assert len(FUNCTIONS) > 150 and not missing


def test_the_core_is_documented():
    undocumented = [
        name
        for name, function in FUNCTIONS.items()
        if not function.__doc__ and not name.endswith(("__init__", ".forward", "_embeddings", ".get_decoder"))
    ]
    assert not undocumented


# A docstring, or the text of one of its entries, "name: text", that has its subject elsewhere.
VAGUE = re.compile(
    r"(?:^|^ *\w[\w, ().*`]{0,60}: )(?:Of|What|Which|Whether|Where|That|Those|So many|How) ", re.MULTILINE
)


@pytest.mark.parametrize(
    "text, is_vague",
    [
        ("Where a lead is.", True),
        ("Tells where a lead is.", False),
        ("A page.\n\nAttributes:\n    places: Where the leads are.", True),
        ("A page.\n\nAttributes:\n    speed, gain (`float`): What was read.", True),
        ("A page.\n\nAttributes:\n    places: Places of the leads.", False),
    ],
)
def test_vague_docstrings_are_told(text, is_vague):
    assert bool(VAGUE.search(text)) == is_vague


@pytest.mark.parametrize("name", CORE)
def test_docstrings_of_the_core_name_their_subject(name):
    documented = ast.Module, ast.ClassDef, ast.FunctionDef
    tree = ast.parse((ROOT / f"{name}.py").read_text("utf-8"))
    texts = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, documented)]
    assert [found[0] + text[found.end() :][:60] for text in texts if (found := VAGUE.search(text))] == []


@pytest.fixture(scope="module")
def callers(model, processor, beat, root):
    """Returns name of a function with open keywords -> a call that is right but for its keywords."""
    from heartcare import ECGInterpretationPipeline
    from heartcare.parts_heartcare import as_part
    from heartcare.serving_heartcare import DynamicBatcher

    pipe = ECGInterpretationPipeline(model=model, processor=processor, device="cpu")
    extractor, images = processor.feature_extractor, processor.image_processor
    signal = np.random.default_rng(0).normal(0, 0.1, (12, 5000)).astype(np.float32)
    ecg = extractor(signal, sampling_rate=500, units="mV", return_tensors="pt")
    picture = str(root / "examples/ecgs/sinus_rhythm.png")
    pixels = images(picture, return_tensors="pt")
    text = processor(text="Is it?", return_tensors="pt")
    chat = [{"role": "user", "content": "Is it?"}]
    given = {"signal": signal, "sampling_rate": 500, "units": "mV"}
    return {
        "BeatFeatureExtractor.__init__": lambda **wrong: type(extractor)(**wrong),
        "BeatFeatureExtractor.__call__": lambda **wrong: extractor(signal, sampling_rate=500, units="mV", **wrong),
        "ECGImageProcessor.__init__": lambda **wrong: type(images)(**wrong),
        "ECGImageProcessor.__call__": lambda **wrong: images(picture, **wrong),
        "ECGImageProcessor.preprocess": lambda **wrong: images.preprocess(picture, **wrong),
        "ECGImageProcessor.tiles": lambda **wrong: images.tiles(picture, **wrong),
        "HeartcareProcessor.__call__": lambda **wrong: processor(text="Is it?", **wrong),
        "HeartcareProcessor.apply_chat_template": lambda **wrong: processor.apply_chat_template(chat, **wrong),
        "HeartcareModel.get_ecg_features": lambda **wrong: model.get_ecg_features(**ecg, **wrong),
        "HeartcareModel.get_image_features": lambda **wrong: model.get_image_features(**pixels, **wrong),
        "HeartcareModel.get_prompt_embeds": lambda **wrong: model.get_prompt_embeds(**text, **wrong),
        "HeadsMixin.find": lambda **wrong: model.find(**ecg, **wrong),
        "HeadsMixin.find_in_pictures": lambda **wrong: model.find_in_pictures(**pixels, **wrong),
        "HeartcareForConditionalGeneration.forecast": lambda **wrong: model.forecast(**ecg, **wrong),
        "HeartcareForConditionalGeneration.score_answers": lambda **wrong: model.score_answers(
            [[[5], [6]]], **text, **wrong
        ),
        "BeatModel.encode": lambda **wrong: beat.encode(**ecg, **wrong),
        "BeatModel.forward": lambda **wrong: beat(**ecg, **wrong),
        "BeatModel.stream": lambda **wrong: beat.stream(extractor, 500, **wrong),
        "DynamicBatcher.submit": lambda **wrong: DynamicBatcher(pipe).submit(given, **wrong),
        "as_part": lambda **wrong: as_part(given["signal"], sampling_rate=500, **wrong),
        "ECGInterpretationPipeline.__call__": lambda **wrong: pipe(given, **wrong),
        "ECGInterpretationPipeline.preprocess": lambda **wrong: pipe.preprocess(given, **wrong),
        "ECGInterpretationPipeline.read": lambda **wrong: pipe.read(given, **wrong),
        "ECGInterpretationPipeline.stream": lambda **wrong: list(pipe.stream(given, **wrong)),
    }


def test_every_function_with_open_keywords_is_asked(callers):
    """A new function that takes any keyword must be put into one of the two lists."""
    takes_any = {
        name
        for name, function in FUNCTIONS.items()
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in inspect.signature(function).parameters.values())
    }
    assert takes_any == set(callers) | (LIBRARY & takes_any)


@pytest.mark.parametrize(
    "keyword", ["sampling_rat", "unit", "layot", "add_generation_promt", "secnds", "lead_maks", "zzz"]
)
def test_no_unknown_keyword_is_accepted(callers, keyword):
    accepted = []
    for name, call in callers.items():
        if name == "HeartcareProcessor.apply_chat_template" and keyword != "add_generation_promt":
            continue  # a template may have variables of its own, so what looks like none of the keywords is for it
        try:
            call(**{keyword: 1})
            accepted.append(name)
        except (TypeError, ValueError) as error:
            assert keyword in str(error), name
    assert not accepted
