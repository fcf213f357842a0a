"""Rows of loading by a user who has transformers but not this package; they run in a process of their own."""

import ast
import re
import sys
from pathlib import Path

from .rows import Given, Rows, StoppedByLibrary, expect, refused, user

LOADING = Rows()
AUTO_MODELS = ("AutoModel", "AutoModelForCausalLM", "AutoModelForImageTextToText", "AutoModelForMultimodalLM")
AUTO_PARTS = {
    "AutoProcessor": "HeartcareProcessor",
    "AutoFeatureExtractor": "BeatFeatureExtractor",
    "AutoImageProcessor": "ECGImageProcessor",
}
RHYTHM = "What is the rhythm?"
PACKAGES = {"PIL": "pillow"}  # name that is imported -> another name on PyPI
COME_ALONG = {"numpy", "huggingface_hub", "packaging", "safetensors", "tokenizers"}  # packages that others require


@LOADING.row("install as in README: the packages that it names are all that the core imports")
def install(given: Given) -> str:
    named = re.search(r"`pip install ([^`]+)`, a pipeline", (given.folder / "README.md").read_text(encoding="utf-8"))
    expect(named, "no line with pip install")
    known = {*re.findall(r"(?:^| )\"?(\w+)", named[1]), *COME_ALONG, *sys.stdlib_module_names}
    imported = set()
    for file in (*given.folder.glob("*_heartcare.py"), *given.folder.glob("*_beat.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.split(".")[0])
    missing = {PACKAGES.get(name, name) for name in imported} - known
    expect(not missing, f"not named: {sorted(missing)}")
    return named[1]


@LOADING.row("AutoConfig, without trust: clear error")
def without_trust(given: Given) -> str:
    from transformers import AutoConfig

    return refused(lambda: AutoConfig.from_pretrained(given.repo, trust_remote_code=False), "trust_remote_code=True")


def add_auto_models() -> None:
    """Adds a row for each auto class of models."""
    for name in AUTO_MODELS:

        def load(given: Given, name: str = name) -> str:
            import transformers

            model = getattr(transformers, name).from_pretrained(given.repo, **given.trusted)
            expect(type(model).__name__ == "HeartcareForConditionalGeneration" and not model.training, type(model))
            return f"{sum(each.numel() for each in model.parameters()) / 1e6:.1f} M parameters"

        LOADING.row(name)(load)


def add_auto_parts() -> None:
    """Adds a row for each auto class of processors and extractors."""
    for name, wanted in AUTO_PARTS.items():

        def load(given: Given, name: str = name, wanted: str = wanted) -> str:
            import transformers

            part = getattr(transformers, name).from_pretrained(given.repo, **given.trusted)
            expect(type(part).__name__ == wanted, type(part))
            return wanted

        LOADING.row(name)(load)


add_auto_models()
add_auto_parts()


@LOADING.row("AutoTokenizer, with and without trust")
def tokenizer(given: Given) -> str:
    from transformers import AutoTokenizer

    words = "Complete right bundle branch block."
    loaded = [AutoTokenizer.from_pretrained(given.repo, trust_remote_code=trust) for trust in (True, False)]
    ids = [each(words)["input_ids"] for each in loaded]
    back = loaded[0].decode(ids[0], skip_special_tokens=True)
    expect(ids[0] == ids[1] and back == words, (ids, back))
    return f"{len(loaded[0])} tokens"


@LOADING.row('GenerationConfig, `subfolder="beat360"`')
def other_files(given: Given) -> str:
    from transformers import AutoModel, GenerationConfig

    config = GenerationConfig.from_pretrained(given.repo)
    beat = AutoModel.from_pretrained(given.repo, subfolder="beat360", **given.trusted)
    expect(type(beat).__name__ == "BeatModel" and config.eos_token_id is not None, (type(beat), config))
    return f"Beat of {beat.config.num_levels} levels" if hasattr(beat.config, "num_levels") else type(beat).__name__


LOADING.by_test("HTTP load from a clean cache, pushed and loaded again",
                "tests/core/test_hub.py::test_bare_folder_and_http_and_pushed_again")  # fmt: skip


@LOADING.row("`pipeline(model=)`, from another folder")
def plain_pipeline(given: Given) -> str:
    expect(type(given.pipe).__name__ == "ECGInterpretationPipeline", type(given.pipe))
    text = given.pipe(given.ecg())["text"]
    expect("complete right bundle branch block" in text and given.folder != Path.cwd(), text)
    return text


@LOADING.row('`pipeline("ecg-interpretation", model=)`')
def named_pipeline(given: Given) -> str:
    from transformers import pipeline

    text = pipeline("ecg-interpretation", model=given.repo, **given.trusted)(given.ecg())["text"]
    expect(text == given.pipe(given.ecg())["text"], text)
    return "the same report"


@LOADING.row('`pipeline("ecg-interpretation", model=object, processor=...)`')
def pipeline_of_objects(given: Given) -> str:
    from transformers import pipeline

    pipe = pipeline("ecg-interpretation", model=given.model, processor=given.processor)
    text = pipe(given.ecg(), question=RHYTHM)["text"]
    expect(type(pipe) is type(given.pipe) and text == "Sinus rhythm.", text)
    return text


@LOADING.row("AutoModel block of docs/measuring.md")
def model_and_processor(given: Given) -> str:
    inputs = given.chat_inputs([user({"type": "ecg", "path": given.ecg()}, "Write a report of this ECG.")])
    (text,) = given.written(inputs, given.model.generate(**inputs, do_sample=False))
    expect(len(text.split()) > 5, text)
    return text


@LOADING.row('revision pinning; `provenance["revision"]`')
def revision(given: Given) -> str:
    from transformers import pipeline

    if Path(given.repo).is_dir():
        found = given.pipe(given.ecg())["provenance"]["revision"]
        expect(found is None, found)
        return "None of a folder; --hub pins one"
    pinned = given.pipe(given.ecg())["provenance"]["revision"]
    again = pipeline(model=given.repo, revision=pinned, **given.trusted)(given.ecg())["provenance"]["revision"]
    expect(pinned and len(pinned) == 40 and again == pinned, (pinned, again))
    return f"{pinned[:12]} both times"


@LOADING.row("bogus revision: clear error")
def bogus_revision(given: Given) -> str:
    from transformers import AutoConfig

    if Path(given.repo).is_dir():
        raise StoppedByLibrary("transformers ignores the revision of a folder; --hub tries one")
    return refused(lambda: AutoConfig.from_pretrained(given.repo, revision="bogus", **given.trusted), "bogus")
