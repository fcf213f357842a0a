"""Recipes of training, in YAML: the parts of a model, the data that it is trained on, and the training, stage by stage.
See the files in recipes/.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml


class Loader(yaml.SafeLoader):
    """YAML as people write it: `no` is a word (as in `eval_strategy: no`), and 1e-4 a number."""


@dataclass
class ModelRecipe:
    """Either `start`, a HeartcareGPT repository or folder, or the parts of a new model, for `from_backbones`.

    Attributes:
        start: Model that the first stage starts from; the others start where the stage before ended.
        text: Name or folder of the language model.
        vision: Name or folder of the ViT.
        beat: Name or folder of Beat.
        heads: Name or folder of a HeartcareGPT whose heads a new model takes, and as many tokens of evidence; Beat
            and the ViT there must be those of `beat` and `vision`.
        image_slots_per_tile: Number of tokens of each lead tile.
        chat_template: A Jinja file beside the recipe, with ECGs and pictures; ChatML by default.
        dtype: Data type of the weights: "float32", "bfloat16".
        attention: "sdpa", "eager", or a kernel for which `questions` must be 1, such as "flash_attention_2".
    """

    start: str | None = None
    text: str | None = None
    vision: str | None = None
    beat: str | None = None
    heads: str | None = None
    image_slots_per_tile: int = 4
    chat_template: str | None = None
    dtype: str = "float32"
    attention: str = "sdpa"


@dataclass
class DataRecipe:
    """The data set, and what is cached of it.

    Attributes:
        source: Folder of a data set built by HeartAgent, or its name on the Hub.
        streaming: If True, nothing is kept on disk, and questions are read one at a time.
        pictures: Number of records whose pictures are used; signals are used for all.
        views: Number of cached views per signal: the whole record, then random parts of it, some without all leads.
        cache: Folder for cleaned signals, tiles and tokens.
    """

    source: str = "runs/heartcare400k"
    streaming: bool = False
    pictures: int = 4000
    views: int = 8
    cache: str = "runs/cache"


@dataclass
class StageRecipe:
    """One stage of the training.

    Attributes:
        train: Top-level parts of the model that are trained; the others are frozen.
        ecgs: If False, neither ECGs nor pictures are shown, and a language model learns the words alone.
        task: Task whose questions alone are asked, such as "report"; all tasks by default.
        pairs: If True, comparisons of two ECGs are among the items.
        shares: Share of items about a signal, a picture and two ECGs; 0 leaves them out.
        questions: Number of questions at most about one item, the closed ones first.
        drill: Number of further questions about a signal or a picture, and of some about a pair, made anew each time
            from the cardiologists' statements (drill.py).
        spoken: Number of further questions about a signal or a picture in the words of people, answered as the pipeline
            answers them (voice.py).
        probe_only: Number of ECGs beside each item that are shown without questions: a linear head, thrown away
            afterwards, reads their statements from the state at the last token of the ECG. It costs the tokens of the
            ECG alone, a tenth of an ECG with its questions.
        numbers: Share of the signals whose measured numbers the prompt shows.
        wrong_numbers: Share of these that are shown another record's numbers, so that the model reads the ECG as well.
        learn_questions: Share of the questions whose own words are learnt as well, each time by chance, so that the
            likelihood of a question tells how usual it is.
        branches: Number of questions at most that share a prompt (packing.py); all of an item by default.
        lora: Arguments of [`peft.LoraConfig`]; the parts in `train` beside the language model are trained in full, too.
        muon: Learning rate of Muon for the matrices in transformers, with AdamW for all other parameters; without it,
            the `optim` of `training` is used.
        patience: Number of evaluations in a row without a better one, after which the run ends; the best one is kept.
        training: Arguments of [`transformers.TrainingArguments`].
    """

    train: list[str] = field(default_factory=lambda: ["signal_projector", "image_projector"])
    ecgs: bool = True
    task: str | None = None
    pairs: bool = True
    shares: dict = field(default_factory=lambda: {"signal": 0.6, "image": 0.3, "pair": 0.1})
    questions: int = 10
    drill: int = 0
    spoken: int = 0
    probe_only: int = 0
    numbers: float = 0.0
    wrong_numbers: float = 0.0
    learn_questions: float = 0.0
    branches: int | None = None
    lora: dict | None = None
    muon: float | None = None
    patience: int | None = None
    training: dict = field(default_factory=dict)


@dataclass
class Recipe:
    """A model, its data, and the stages of its training in their order."""

    model: ModelRecipe
    data: DataRecipe
    stages: dict[str, StageRecipe]

    def before(self, stage: str) -> str | None:
        """Name of the stage before; None for the first one."""
        names = list(self.stages)
        place = names.index(stage)
        return names[place - 1] if place else None


def read_recipe(path: str | Path, assignments: Sequence[str] = ()) -> Recipe:
    """Reads a YAML file, with some of its values set otherwise ("stages.joint.training.max_steps=10").

    Raises: `ValueError` that names an unknown key.
    """
    raw = yaml.load(Path(path).read_text(encoding="utf-8"), Loader)
    for assignment in assignments:
        override(raw, assignment)
    recipe = from_mapping(Recipe, raw, str(path))
    stages = {name: from_mapping(StageRecipe, values, f"stages.{name}") for name, values in recipe.stages.items()}
    model = from_mapping(ModelRecipe, recipe.model, "model")
    if model.chat_template:
        model.chat_template = (Path(path).parent / model.chat_template).read_text(encoding="utf-8")
    return Recipe(model, from_mapping(DataRecipe, recipe.data, "data"), stages)


def override(raw: dict, assignment: str) -> None:
    """Sets one value of the mapping: "stages.joint.training.max_steps=10"; the value is read as YAML."""
    path, sign, value = assignment.partition("=")
    if not sign:
        raise ValueError(f"{assignment!r} is no assignment; write stages.joint.training.max_steps=10.")
    *parents, last = path.split(".")
    for parent in parents:
        raw = raw.setdefault(parent, {})
    raw[last] = yaml.load(value, Loader)


def from_mapping(kind: type, values: dict | None, where: str) -> Any:
    """Makes a dataclass of a mapping. Raises: `ValueError` for keys that it does not have."""
    values, known = values or {}, [each.name for each in fields(kind)]
    if unknown := set(values) - set(known):
        raise ValueError(f"{where} has no {sorted(unknown)}; it has {known}.")
    return kind(**values)


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":bool")]
    for first, resolvers in Loader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false", re.IGNORECASE), list("tTfF"))
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+"), list("-+0123456789")
)
