"""Recipes of training, in YAML: of which parts a model is made, on what it is trained, and how, stage by stage. See the
files in recipes/.
"""

import re
from dataclasses import dataclass, field, fields
from pathlib import Path

import yaml


class Loader(yaml.SafeLoader):
    """YAML as people write it: `no` is a word (as in `eval_strategy: no`), and 1e-4 a number."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":bool")]
    for first, resolvers in Loader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false", re.IGNORECASE), list("tTfF"))
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+"), list("-+0123456789")
)


@dataclass
class ModelRecipe:
    """Either `start`, a HeartcareGPT repository or folder, or the parts of a new one, for `from_backbones`.

    Attributes:
        start: Of the first stage; the others start where the stage before ended.
        text, vision, beat: Names or folders.
        image_slots_per_tile: Tokens of each lead tile.
        chat_template: A Jinja file beside the recipe, with ECGs and pictures; ChatML by default.
        dtype: Of the weights: "float32", "bfloat16".
        attention: "sdpa", "eager", or a kernel for which `questions` must be 1, such as "flash_attention_2".
    """

    start: str | None = None
    text: str | None = None
    vision: str | None = None
    beat: str | None = None
    image_slots_per_tile: int = 4
    chat_template: str | None = None
    dtype: str = "float32"
    attention: str = "sdpa"


@dataclass
class DataRecipe:
    """
    Attributes:
        source: Folder of a data set built by HeartAgent, or its name on the Hub.
        streaming: Nothing is kept on disk; one question at a time.
        pictures: Of so many records the pictures are used, too.
        views: Of each signal, whose Beat tokens are kept: the whole, and parts of it.
        cache: Where cleaned signals, tiles and tokens are kept.
    """

    source: str = "runs/heartcare400k"
    streaming: bool = False
    pictures: int = 4000
    views: int = 8
    cache: str = "runs/cache"


@dataclass
class StageRecipe:
    """
    Attributes:
        train: Top-level parts of the model that learn; the others are frozen.
        ecgs: Whether ECGs and pictures are seen; without, a language model learns the words.
        task: Only questions of this one, such as "report".
        pairs: Whether comparisons of two ECGs are among the items.
        shares: Of the items, how many are about a signal, a picture, two ECGs; 0 leaves them out.
        questions: At most so many about one item, the closed ones first.
        drill: So many more about a signal or a picture, and some about a pair, made anew each time from what the
            cardiologists said (drill.py).
        glances: So many ECGs beside each item are only looked at: a linear head, thrown away afterwards, reads the
            statements from where their questions would begin. It costs the tokens of the ECG alone, where questions
            take ten times as many.
        branches: So many questions share a prompt at most (packing.py); all of an item by default.
        lora: Of [`peft.LoraConfig`]; the parts in `train` beside the language model learn in full, too.
        muon: Learning rate of Muon for the matrices in transformers, with AdamW for all else; without, the `optim` of
            `training`.
        patience: The run ends after so many evaluations without a better one, and the best is kept.
        training: Of [`transformers.TrainingArguments`].
    """

    train: list[str] = field(default_factory=lambda: ["signal_projector", "image_projector"])
    ecgs: bool = True
    task: str | None = None
    pairs: bool = True
    shares: dict = field(default_factory=lambda: {"signal": 0.6, "image": 0.3, "pair": 0.1})
    questions: int = 10
    drill: int = 0
    glances: int = 0
    branches: int | None = None
    lora: dict | None = None
    muon: float | None = None
    patience: int | None = None
    training: dict = field(default_factory=dict)


@dataclass
class Recipe:
    model: ModelRecipe
    data: DataRecipe
    stages: dict[str, StageRecipe]

    def before(self, stage: str) -> str | None:
        """The stage that comes before."""
        names = list(self.stages)
        place = names.index(stage)
        return names[place - 1] if place else None


def strict(kind: type, values: dict | None, where: str):
    """A dataclass of a mapping. Raises: `ValueError` for keys that it does not have."""
    values = values or {}
    if unknown := set(values) - {each.name for each in fields(kind)}:
        raise ValueError(f"{where} has no {sorted(unknown)}; it has {[each.name for each in fields(kind)]}.")
    return kind(**values)


def override(raw: dict, assignment: str):
    """Sets one value of the mapping: "stages.joint.training.max_steps=10"; the value is read as YAML."""
    path, sign, value = assignment.partition("=")
    if not sign:
        raise ValueError(f"{assignment!r} is no assignment; write stages.joint.training.max_steps=10.")
    *parents, last = path.split(".")
    for parent in parents:
        raw = raw.setdefault(parent, {})
    raw[last] = yaml.load(value, Loader)


def read_recipe(path: str | Path, assignments: list[str] = ()) -> Recipe:
    """Reads a YAML file, with some of its values set otherwise.

    Raises: `ValueError` that names a key that is not known.
    """
    raw = yaml.load(Path(path).read_text(encoding="utf-8"), Loader)
    for assignment in assignments:
        override(raw, assignment)
    recipe = strict(Recipe, raw, str(path))
    stages = {name: strict(StageRecipe, values, f"stages.{name}") for name, values in recipe.stages.items()}
    model = strict(ModelRecipe, recipe.model, "model")
    if model.chat_template:
        model.chat_template = (Path(path).parent / model.chat_template).read_text(encoding="utf-8")
    return Recipe(model, strict(DataRecipe, recipe.data, "data"), stages)
