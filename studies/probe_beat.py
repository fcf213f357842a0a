"""Probes on frozen, quantized latents of Beat. They tell whether the tokens carry the diagnosis, as macro AUC of
PTB-XL's label sets with intervals by patient.

    python -m heartcare.studies.probe_beat --ptbxl PTBXL_FOLDER --models . --random --supervised runs/teacher \\
        --study runs/study --designs paper
    python -m heartcare.studies.probe_beat --ptbxl PTBXL_FOLDER --models . beat \\
        --soft-labels training/soft_labels.safetensors --leads 3x4+II "limb leads" I

Trains on folds 1-8 and reports on fold 10; nothing is chosen in between. Each model is probed three times: on the mean
of a record's latents; on a weighted mean with learnt weights (attention pooling); and by attention pooling behind a
hidden layer of 256, which reads the core level and the others side by side, as a language model can. The third one
learns from each record as `--starts` different pairs of windows in turn, whose codes differ; it is scored on the whole
record as it is. `--soft-labels` teaches it the mean of the cardiologists' statements and of a teacher's answers.
`--leads` names patterns of leads, for example those of a printed page. These are probed twice by the third probe:
trained for one pattern alone, and trained on all patterns of `training.lead_patterns`. `--random` adds a Beat of the
first model's shape with random weights: its score is owed to the probe, not to learning (arXiv 2602.17531). Prints a
Markdown table.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from heartcare import BeatConfig, BeatModel
from heartcare.bench.probe import fit_probe
from heartcare.training.findings import train_by_one_cycle
from heartcare.training.lead_patterns import PATTERNS
from heartcare.training.pooling import AttentionPooling, TokenReader
from heartcare.training.ptbxl import PTBXL
from heartcare.training.statement_labels import (
    AUC_COLUMNS,
    AUC_RULE,
    auc_cells,
    family_loss,
    given_statements,
    soft_labels,
)
from heartcare.training.teacher import answers_of_networks

from .beat_study import TrainedVariant
from .beat_variants import VARIANTS

Tokens = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # latents of core and other levels, and gains: see `latents`


def untrained(config: BeatConfig, train: PTBXL, seed: int) -> BeatModel:
    """Returns a Beat of random weights with codebooks by k-means; with random codebooks, one code alone would be in
    use.
    """
    torch.manual_seed(seed)
    model = BeatModel(config).train()
    model(train.signals(0, 256))
    return model.eval()


def rows_of_model(
    name: str, model: BeatModel | TrainedVariant, train: PTBXL, test: PTBXL, args: argparse.Namespace
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Probes a model. Yields for each row its name, its pooling, and the probabilities of the test records, (records,
    76).
    """
    given = given_statements(train)
    hard = torch.from_numpy(given).float()
    soft = torch.from_numpy(soft_labels(given, [row["ecg_id"] for row in train.rows], args.soft_labels))
    shifts = np.linspace(0, train.signals(0, 1).shape[-1] // 4, args.starts, endpoint=False).astype(int).tolist()

    def train_hidden(names: Sequence[str]) -> HiddenProbe:
        tokens = [latents(model, train, names, args.seed + turn, shift) for turn, shift in enumerate(shifts)]
        return HiddenProbe(tokens, soft, args.hidden_epochs, args.seed)

    tested = latents(model, test)
    for pooling, values in LinearProbes(latents(model, train), hard, args.epochs, args.seed)(tested).items():
        yield name, pooling, values
    probe = train_hidden(["12 leads"])
    yield name, "attention, hidden layer", probe(tested)
    if isinstance(model, BeatModel):
        for count in (1, 64):
            cost = probe.milliseconds(model, test.signals(0, count))
            tqdm.write(f"{name}, from codes to statements: {cost:.2f} ms an ECG of {count}", sys.stderr)
    if args.leads:
        mixed = train_hidden(list(PATTERNS))
        yield f"{name}, 12 leads", "attention, hidden layer, all patterns", mixed(tested)
    for leads in args.leads:
        tested, alone = latents(model, test, [leads]), train_hidden([leads])
        for trained, probe in (("this alone", alone), ("all patterns", mixed)):
            yield f"{name}, {leads}", f"attention, hidden layer, {trained}", probe(tested)


@torch.no_grad()
def latents(
    model: BeatModel | TrainedVariant,
    data: PTBXL,
    names: Sequence[str] = ("12 leads",),
    seed: int = 0,
    shift: int = 0,
    batch_size: int = 64,
) -> Tokens:
    """Encodes all records, each with the leads of one pattern.

    Args:
        model: The Beat to probe.
        data: Records.
        names: Patterns of `lead_patterns.PATTERNS`; where there are several, each record has one of them at random.
        seed: Seed of the patterns.
        shift: Number of samples. The first half of a record is read that much later, and the second half that much
            earlier.
        batch_size: Number of records at a time.

    Returns:
        Quantized latents of the core level, and the sum of the other levels, float16 (records, latents, width) twice,
        and their log gain, float32 (records, 1). A variant of a study has all of it in the other levels.
    """
    rng, cores, others, gains = np.random.default_rng(seed), [], [], []
    for start in tqdm(range(0, len(data), batch_size), desc="encoding"):
        x = data.signals(start, start + batch_size)
        half = x.shape[-1] // 2
        x = torch.cat([x[..., shift : half + shift], x[..., half - shift : x.shape[-1] - shift]], dim=-1)
        leads = np.stack([PATTERNS[names[rng.integers(len(names))]](rng, x.shape[-1]) for _ in x])
        tokens = model.encode(x, lead_mask=torch.from_numpy(leads))
        core = torch.zeros_like(tokens.latents)
        if isinstance(model, BeatModel):
            core = model.quantizer.levels[0].decode(tokens.codes[:, 0])
        cores.append(core.half())
        others.append((tokens.latents - core).half())
        gains.append(tokens.gain.log()[:, None])
    return torch.cat(cores), torch.cat(others), torch.cat(gains)


class HiddenProbe:
    """The probe with a hidden layer.

    Args:
        tokens: What `latents` gives for the records to train on, from several starts.
        labels: Probabilities of the statements, float32 (records, 76).
        epochs: Number of epochs.
        seed: Seed of weights and order.
    """

    def __init__(self, tokens: Sequence[Tokens], labels: torch.Tensor, epochs: int, seed: int):
        gains = tokens[0][2]
        self.centre, self.scale = gains.mean(), gains.std() + 1e-6
        self.reader = fit_reader([self._standardised(each) for each in tokens], labels, epochs, seed)

    def _standardised(self, tokens: Tokens) -> Tokens:
        core, others, gain = tokens
        return core, others, (gain - self.centre) / self.scale

    def __call__(self, tokens: Tokens) -> np.ndarray:
        """Returns the probabilities of all classes for other records' tokens, (records, 76)."""
        return probabilities(self.reader, *self._standardised(tokens))

    @torch.no_grad()
    def milliseconds(self, model: BeatModel, signals: torch.Tensor) -> float:
        """Returns the median time from the codes of records to their statements, in ms for each record.

        Args:
            model: The Beat.
            signals: The records, (B, 12, n) in mV.
        """
        codes, times = model.encode(signals), []
        for _ in range(50):
            started = time.perf_counter()
            core = model.quantizer.levels[0].decode(codes.codes[:, 0])
            others = model.quantizer.decode(codes.codes) - core
            self.reader(*self._standardised((core, others, codes.gain.log()[:, None])))
            times.append(time.perf_counter() - started)
        return 1000 * float(np.median(times)) / len(signals)


def fit_reader(tokens: Sequence[Tokens], labels: torch.Tensor, epochs: int, seed: int) -> TokenReader:
    """Trains the probe with a hidden layer by AdamW on the loss of the families of labels, with one cycle of learning
    rates.

    Args:
        tokens: The records' tokens from several starts, with standardised gain; each epoch takes the next of them.
        labels: Probabilities of the statements, float32 (records, 76).
        epochs: Number of epochs.
        seed: Seed of weights and order.
    """
    torch.manual_seed(seed)
    probe = TokenReader(tokens[0][0].shape[-1], labels.shape[1]).train()

    def loss_of_batch(epoch: int, rows: torch.Tensor) -> torch.Tensor:
        inputs = tokens[epoch % len(tokens)]
        return family_loss(probe(*(each[rows] for each in inputs)), labels[rows])

    train_by_one_cycle(probe, loss_of_batch, len(labels), epochs, rate=1e-2)
    return probe


class LinearProbes:
    """The two linear probes on the sum of all levels: on their mean over time, and on a weighted mean.

    Args:
        tokens: What `latents` gives for the records to train on.
        labels: Statements of the records, float32 (records, 76).
        epochs: Number of epochs of the attention probe.
        seed: Seed of the order.
    """

    def __init__(self, tokens: Tokens, labels: torch.Tensor, epochs: int, seed: int):
        core, others, gain = tokens
        states = core + others
        pooled = torch.cat([states.float().mean(1), gain], 1)
        self.pooled_centre, self.pooled_scale = pooled.mean(0), pooled.std(0) + 1e-6
        mean = (pooled - self.pooled_centre) / self.pooled_scale
        self.linear = fit_probe(mean, labels)
        # One scale for all latents, so that attention compares like with like.
        self.centre, self.scale = states.float().mean((0, 1)), states.float().std((0, 1)) + 1e-6
        states = ((states.float() - self.centre) / self.scale).half()
        relative = self.scale / self.pooled_scale[:-1]
        self.attention = fit_attention(self.linear, relative, states, mean[:, -1:], labels, epochs, seed)

    def __call__(self, tokens: tuple[torch.Tensor, ...]) -> dict[str, np.ndarray]:
        """Returns kind of pooling -> probabilities of all classes for other records' tokens, (records, 76)."""
        core, others, gain = tokens
        mean = (torch.cat([(core + others).float().mean(1), gain], 1) - self.pooled_centre) / self.pooled_scale
        states = (((core + others).float() - self.centre) / self.scale).half()
        return {
            "mean": probabilities(self.linear, mean),
            "attention": probabilities(self.attention, states, mean[:, -1:]),
        }


def fit_attention(
    start: nn.Linear,
    scale: torch.Tensor,
    states: torch.Tensor,
    gain: torch.Tensor,
    labels: torch.Tensor,
    epochs: int,
    seed: int,
) -> AttentionPooling:
    """Trains an attention probe by AdamW on binary cross entropy, with a cosine schedule.

    Args:
        start: The linear probe on mean latents, from which it starts: rare classes have too few records to be learnt
            from random weights. Its inputs are the mean latent times `scale`, and the log gain.
        scale: Scale of each dimension.
        states: float16 (records, latents, width).
        gain: Log gain (records, 1).
        labels: Statements (records, 76).
        epochs: Number of epochs.
        seed: Seed of the order.
    """
    torch.manual_seed(seed)
    probe = AttentionPooling(len(scale), labels.shape[1])
    with torch.no_grad():
        probe.value.copy_(start.weight[:, :-1] * scale)
        probe.gain.weight.copy_(start.weight[:, -1:])
        probe.gain.bias.copy_(start.bias)
    steps = epochs * -(-len(states) // 256)
    optimizer = torch.optim.AdamW(probe.parameters(), lr=1e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in tqdm(range(epochs), desc="attention probe"):
        for rows in torch.randperm(len(states)).split(256):
            loss = nn.functional.binary_cross_entropy_with_logits(probe(states[rows], gain[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return probe.eval()


@torch.no_grad()
def probabilities(probe: nn.Module, *inputs: torch.Tensor) -> np.ndarray:
    """Returns the probabilities of all classes, float64 (records, 76)."""
    return torch.cat([probe(*part) for part in zip(*(each.split(512) for each in inputs))]).double().sigmoid().numpy()


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ptbxl", required=True)
    parser.add_argument(
        "--models",
        nargs="*",
        default=["."],
        help="Beat or HeartcareGPT repositories; none for the rows of the other options",
    )
    parser.add_argument("--random", action="store_true", help="a row for a Beat of random weights, too")
    parser.add_argument(
        "--supervised", type=Path, help="folder of networks of heartcare.training.teacher, for rows of their own"
    )
    parser.add_argument(
        "--leads", nargs="+", default=[], choices=PATTERNS, metavar="PATTERN", help=f"of {', '.join(PATTERNS)}"
    )
    parser.add_argument("--study", type=Path, default="runs/study", help="folder of heartcare.studies.beat_study")
    parser.add_argument(
        "--designs", nargs="+", default=[], metavar="NAME", help="variants that it has trained, such as paper"
    )
    parser.add_argument("--soft-labels", type=Path, help="file of `heartcare.training.teacher label`")
    parser.add_argument("--fold", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=10, help="number of epochs of the linear attention probe")
    parser.add_argument(
        "--hidden-epochs", type=int, default=20, help="number of epochs of the probe with a hidden layer"
    )
    parser.add_argument(
        "--starts", type=int, default=5, help="number of pairs of windows of each record that this probe learns from"
    )
    parser.add_argument("--cache", default="runs/cache")
    parser.add_argument("--limit", type=int, help="number of records at most, for training and for the test fold")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    if args.random and not args.models:
        parser.error("--random takes its shape from the first of --models: name one.")
    train, test = (PTBXL(args.ptbxl, folds, args.cache, args.limit) for folds in (range(1, 9), [args.fold]))
    models = {name: BeatModel.from_pretrained(name, dtype=torch.float32).eval() for name in args.models}
    if args.random:
        models["random weights"] = untrained(next(iter(models.values())).config, train, args.seed)
    models |= {VARIANTS[name].words: TrainedVariant(args.study, name) for name in args.designs}

    print(f"\n| Beat | pooling | {AUC_COLUMNS} |\n|---|---|{AUC_RULE}")
    rows = [rows_of_model(name, model, train, test, args) for name, model in models.items()]
    if args.supervised:
        answers = answers_of_networks(args.supervised, test).items()
        rows.append((f"no Beat: {name}, supervised", "–", values.double().numpy()) for name, values in answers)
    for name, pooling, values in itertools.chain(*rows):
        print(f"| {name} | {pooling} | {auc_cells(test, values, args.seed)} |", flush=True)


if __name__ == "__main__":
    main()
