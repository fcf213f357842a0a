"""The control that much of pre-training does not beat (arXiv 2602.17531): a linear probe on an encoder of random
weights.
"""

from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ..agent.samples import unpack_ecg
from ..agent.statements import truth
from ..configuration_heartcare import BeatConfig
from ..extraction_heartcare import BeatFeatureExtractor
from ..tokenization_beat import BeatModel
from .items import Item, read_training_records

RECORDS = 4000


@torch.no_grad()
def pooled_states(beat: BeatModel, items: list[Item], progress: bool = True) -> torch.Tensor:
    """Returns mean, deviation and maximum over time of the encoder's states, before they are quantized, and the gain:
    float32 (records, 3 * width + 1).
    """
    states: list[torch.Tensor] = []
    hook = beat.encoder.register_forward_hook(lambda module, inputs, output: states.append(output))
    extractor = BeatFeatureExtractor(
        sampling_rate=beat.config.sampling_rate, samples_per_latent=beat.config.samples_per_latent
    )
    pooled = []
    for item in tqdm(items, desc="random encoder", disable=not progress):
        inputs = extractor(unpack_ecg(item.ecgs[0]).ecg, return_tensors="pt")
        gain = beat.encode(**inputs).gain
        state = states.pop().flatten(0, 1)
        pooled.append(torch.cat([state.mean(0), state.std(0), state.amax(0), gain.log()]))
    hook.remove()
    return torch.stack(pooled)


def fit_probe(features: torch.Tensor, labels: torch.Tensor, decay: float = 1e-3) -> torch.nn.Linear:
    """Fits logistic regressions of all labels at once, with L2 decay, by L-BFGS.

    Args:
        features: float32 (n, width).
        labels: bool (n, labels).
        decay: Weight of the sum of squared weights in the loss.

    Returns: the linear map from features to logits.
    """
    probe = torch.nn.Linear(features.shape[1], labels.shape[1])
    torch.nn.init.zeros_(probe.weight)
    torch.nn.init.zeros_(probe.bias)
    optimizer = torch.optim.LBFGS(probe.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = (
            torch.nn.functional.binary_cross_entropy_with_logits(probe(features), labels.float(), reduction="none")
            .mean(0)
            .sum()
        )
        loss = loss + decay * probe.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return probe


def random_encoder_probe(
    data: str | Path, items: list[Item], seed: int = 0, progress: bool = True
) -> dict[str, list[float]] | None:
    """Trains a probe on records of the training split.

    Returns: id -> the probabilities of its 76 labels, for each of the items; None without a training split.
    """
    training = read_training_records(data, RECORDS)
    if not training:
        return None
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the sums must be the same with any number of cores
    torch.manual_seed(seed)
    beat = BeatModel(BeatConfig()).eval()
    known, unseen = (pooled_states(beat, records, progress) for records in (training, items))
    mean, deviation = known.mean(0), known.std(0) + 1e-6
    labels = torch.from_numpy(np.stack([truth(item.statements[0]) for item in training]))
    probe = fit_probe((known - mean) / deviation, labels)
    with torch.no_grad():
        probabilities = probe((unseen - mean) / deviation).double().sigmoid().numpy()
    torch.set_num_threads(threads)
    return {item.id: [round(float(p), 7) for p in row] for item, row in zip(items, probabilities)}
