"""Metrics that need a model of their own: F1-Bio and F1-RadGraph. Without it they are None, and never another model's
score in its place.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from .closed import same_length


def f1_bio(
    predictions: Sequence[str], references: Sequence[str], model: str | None = None, layer: int | None = None
) -> dict | None:
    """Scores texts by the BERTScore F1 of a biomedical BERT, by the bert-score package.

    Args:
        model: Folder of the BERT, for example BioBERT; it is not downloaded.
        layer: Number of the layer whose hidden states are compared, from 1; by default three below the last, as
            bert-score has chosen for most 12-layer models.

    Returns: "f1", the mean; "each"; "model", the folder's name, and "layer", since scores of other models or layers are
        other scores. None without a model.

    Raises: `ImportError` without bert-score, `FileNotFoundError` for a folder that holds no model, `ValueError` for a
        layer that it does not have.
    """
    same_length(predictions, references)
    if model is None:
        return None
    config = Path(model) / "config.json"
    if not config.is_file():
        raise FileNotFoundError(
            f"{model} has no config.json: F1-Bio needs the folder of a BERT, for example of BioBERT."
        )
    layers = json.loads(config.read_text(encoding="utf-8"))["num_hidden_layers"]
    layer = layer or max(1, layers - 3)
    if not 1 <= layer <= layers:
        raise ValueError(f"{model} has the layers 1 to {layers}, not {layer}.")
    try:
        from bert_score import score
    except ImportError as error:
        raise ImportError('F1-Bio needs bert-score: pip install "heartcare[bench]".') from error
    try:
        _, _, f1 = score(list(predictions), list(references), model_type=str(model), num_layers=layer, verbose=False)
    except OverflowError as error:
        raise ValueError(
            f"The tokenizer of {model} states no longest input; write model_max_length into its tokenizer_config.json."
        ) from error
    return {"f1": float(f1.mean()), "each": f1.tolist(), "model": Path(model).name, "layer": layer}


def f1_radgraph(
    predictions: Sequence[str],
    references: Sequence[str],
    scorer: Callable | None = None,
    model: str | None = None,
) -> dict | None:
    """Scores texts by the F1 of RadGraph's entities and relations, as the paper reports it (F1-Rad). RadGraph was made
    for radiology; of ECGs it knows little.

    Args:
        scorer: An object called as `radgraph.F1RadGraph` is, `scorer(hyps=..., refs=...)`, giving the mean reward first
            and the list of rewards second.
        model: Or the `model_type` to make one of, with the radgraph package installed and its weights at hand.

    Returns: "f1", "each", "model"; None with neither.
    """
    same_length(predictions, references)
    if scorer is None and model is None:
        return None
    if scorer is None:
        try:
            from radgraph import F1RadGraph
        except ImportError as error:
            raise ImportError("F1-RadGraph needs the radgraph package and its weights.") from error
        scorer = F1RadGraph(reward_level="partial", model_type=model)
    mean, rewards, *_ = scorer(hyps=list(predictions), refs=list(references))
    return {"f1": float(mean), "each": [float(value) for value in rewards], "model": model or type(scorer).__name__}
