"""The designs that `heartcare.studies.beat_study` compares: each changes the configuration, one part of Beat, or its
input.

Designs that win move into Beat itself; the others stay here, so that the model carries no option that nobody sets.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from heartcare.configuration_heartcare import ABSENT, BeatConfig
from heartcare.quantization_beat import QuantizerOutput
from heartcare.tokenization_beat import BeatModel
from heartcare.training.optimizers import MuonWithAdamW

INDEPENDENT = (0, 1, 6, 7, 8, 9, 10, 11)  # I, II, V1..V6


@dataclass(frozen=True)
class Variant:
    """One row of the study.

    Attributes:
        words: Description in the table.
        group: Part of the table.
        config: Values of [`BeatConfig`] that differ from the defaults.
        change: Function that changes a part of the new model.
        leads: Numbers of the leads that are fed; the others are derived from them after decoding.
        unit_leads: If True, leads are scaled to unit variance before encoding, and back after decoding, by scales that
            do not count among the bits.
        optimizer: Function that makes the optimizer for the model.
    """

    words: str
    group: str
    config: dict = field(default_factory=dict)
    change: Callable[[BeatModel], None] = lambda model: None
    leads: tuple[int, ...] = tuple(range(12))
    unit_leads: bool = False
    optimizer: Callable[[BeatModel], torch.optim.Optimizer] = MuonWithAdamW

    def build(self) -> BeatModel:
        """Makes a new model of this design."""
        model = BeatModel(BeatConfig(**self.config, num_leads=len(self.leads)))
        self.change(model)
        return model

    @staticmethod
    def bits(model: BeatModel) -> float:
        """Returns the number of bits of one latent."""
        if hasattr(model.quantizer, "bits"):
            return model.quantizer.bits
        return model.config.num_levels * math.log2(model.config.codebook_size)


def adamw(model: BeatModel) -> torch.optim.Optimizer:
    """Returns AdamW for all parameters."""
    return torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-3, weight_decay=0.01)


# How gradients pass the quantizer, and how codes are found and learnt.


def straight_through(model: BeatModel) -> None:
    """Passes the gradient of a code to its latent unchanged."""
    model.quantizer.carry_gradient = lambda source, target: source + (target - source).detach()


def greedy(model: BeatModel) -> None:
    """Keeps one candidate per level of the residual search."""
    model.quantizer.beam = 1


def random_start(model: BeatModel) -> None:
    """Starts the codebooks at random instead of by k-means."""
    for level in model.quantizer.levels:
        nn.init.normal_(level.codebook)
        level.codebook_uses.fill_(1.0)


class PublishedQuantizer(nn.Module):
    """One codebook for all levels, learnt by gradient (codebook and commitment terms, straight-through); unused codes
    are not replaced.
    """

    def __init__(self, config: BeatConfig):
        super().__init__()
        self.num_levels = config.num_levels
        self.codebook = nn.Parameter(
            torch.empty(config.codebook_size, config.hidden_size).uniform_(-1, 1) / config.codebook_size
        )

    def forward(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> QuantizerOutput:
        hidden_states = hidden_states.float()
        codes = self.encode(hidden_states, mask)
        residual, losses = hidden_states[mask], []
        for level in codes.unbind(1):
            code = self.codebook[level[mask]]
            losses.append((residual.detach() - code).square().mean() + (residual - code.detach()).square().mean())
            residual = residual - code.detach()
        latents = hidden_states + (self.decode(codes) - hidden_states).detach()
        return without_core(latents * mask[..., None], codes, torch.stack(losses))

    def encode(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> torch.LongTensor:
        """Returns the codes (B, K, N) of latents (B, N, D) and a bool mask (B, N), ABSENT where the mask is False."""
        residual, codes = hidden_states.float(), []
        for _ in range(self.num_levels):
            codes.append((self.codebook.square().sum(1) - 2 * residual @ self.codebook.T).argmin(-1))
            residual = residual - self.codebook[codes[-1]]
        return torch.stack(codes, 1).masked_fill(~mask[:, None], ABSENT)

    def decode(self, codes: torch.LongTensor) -> torch.Tensor:
        """Returns the latents (B, N, D) of codes (B, K, N)."""
        return (self.codebook[codes.clamp(min=0)] * (codes != ABSENT)[..., None]).sum(1)


class CosineQuantizer(nn.Module):
    """Codes of few dimensions on the unit sphere, with a map down and up per level, as in DAC (arXiv 2306.06546)."""

    WIDTH = 8  # dimensions of a code

    def __init__(self, config: BeatConfig):
        super().__init__()
        levels = range(config.num_levels)
        self.num_levels = config.num_levels
        self.down = nn.ModuleList([nn.Linear(config.hidden_size, self.WIDTH) for _ in levels])
        self.up = nn.ModuleList([nn.Linear(self.WIDTH, config.hidden_size) for _ in levels])
        self.codebooks = nn.Parameter(torch.randn(config.num_levels, config.codebook_size, self.WIDTH))

    def forward(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> QuantizerOutput:
        residual, latents, codes, losses = hidden_states.float(), 0, [], []
        for down, up, codebook in zip(self.down, self.up, self.codebooks):
            z, book = F.normalize(down(residual), dim=-1), F.normalize(codebook, dim=-1)
            codes.append((z @ book.T).argmax(-1))
            nearest = book[codes[-1]]
            losses.append(
                (z.detach() - nearest)[mask].square().sum(-1).mean()
                + 0.25 * (z - nearest.detach())[mask].square().sum(-1).mean()
            )
            part = up(z + (nearest - z).detach())
            latents, residual = latents + part, residual - part
        codes = torch.stack(codes, 1).masked_fill(~mask[:, None], ABSENT)
        return without_core(latents * mask[..., None], codes, torch.stack(losses))

    def encode(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> torch.LongTensor:
        """Returns the codes (B, K, N) of latents (B, N, D) and a bool mask (B, N), ABSENT where the mask is False."""
        return self(hidden_states, mask).codes

    def decode(self, codes: torch.LongTensor) -> torch.Tensor:
        """Returns the latents (B, N, D) of codes (B, K, N)."""
        parts = [
            self.up[k](F.normalize(self.codebooks[k], dim=-1)[codes[:, k].clamp(min=0)]) for k in range(self.num_levels)
        ]
        return sum(parts) * (codes[:, 0] != ABSENT)[..., None]


class FiniteScalarQuantizer(nn.Module):
    """A few dimensions, each rounded to one of `steps` values (FSQ, arXiv 2309.15505); one id for all of them."""

    def __init__(self, config: BeatConfig, dimensions: int, steps: int):
        super().__init__()
        self.num_levels, self.steps, self.bits = 1, steps, dimensions * math.log2(steps)
        self.radix = steps ** torch.arange(dimensions)
        self.down, self.up = nn.Linear(config.hidden_size, dimensions), nn.Linear(dimensions, config.hidden_size)

    def forward(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> QuantizerOutput:
        z = self.down(hidden_states.float()).tanh()
        digits = ((z + 1) / 2 * (self.steps - 1)).round()
        latents = self.up(z + (digits / (self.steps - 1) * 2 - 1 - z).detach())
        codes = (digits.long() * self.radix).sum(-1).masked_fill(~mask, ABSENT)[:, None]
        return without_core(latents * mask[..., None], codes, torch.zeros(1))

    def encode(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> torch.LongTensor:
        """Returns the codes (B, K, N) of latents (B, N, D) and a bool mask (B, N), ABSENT where the mask is False."""
        return self(hidden_states, mask).codes

    def decode(self, codes: torch.LongTensor) -> torch.Tensor:
        """Returns the latents (B, N, D) of codes (B, 1, N)."""
        digits = codes[:, 0, :, None].clamp(min=0) // self.radix % self.steps
        return self.up(digits / (self.steps - 1) * 2 - 1) * (codes[:, 0] != ABSENT)[..., None]


def without_core(latents: torch.Tensor, codes: torch.LongTensor, loss: torch.Tensor) -> QuantizerOutput:
    """Returns the output of a quantizer that keeps no statistics and has no core level."""
    return QuantizerOutput(latents, latents, codes, loss, torch.zeros_like(loss), torch.zeros_like(loss))


def quantizer(kind: type[nn.Module], **options: int) -> Callable[[BeatModel], None]:
    """Makes a change that puts another quantizer into the model."""

    def change(model: BeatModel) -> None:
        model.quantizer = kind(model.config, **options)

    return change


# Encoder and decoder.


def free_queries(model: BeatModel) -> None:
    """Binds queries to no place, as in the published design, and starts each slot of the decoder from its position
    alone, not from the latent that stands for it.
    """
    config, encoder, decoder = model.config, model.encoder, model.decoder

    def encode(segments, sample_mask, lead_mask):
        patches = encoder.cut_overlapping(segments).transpose(1, 2).flatten(2)
        patch_mask = sample_mask.unflatten(-1, (config.num_patches, -1)).any(-1)
        e = encoder.patch_embedding(patches) + encoder.position_embedding
        q = encoder.query_embedding.expand(len(e), -1, -1)
        key_mask = torch.cat([patch_mask, patch_mask.new_ones(q.shape[:2])], dim=1)
        return encoder.transformer(torch.cat([e, q], dim=1), key_mask)[:, config.num_patches :]

    encoder.forward = encode
    for part in (encoder.lead_embedding.weight, decoder.slot_start.weight, decoder.latent_position_embedding):
        nn.init.zeros_(part)
        part.requires_grad_(False)


def published(model: BeatModel) -> None:
    """Changes all parts into the published design."""
    free_queries(model)
    separate_patches(model)
    blocks(model)
    quantizer(PublishedQuantizer)(model)
    model.set_attn_implementation("eager")


def separate_patches(model: BeatModel) -> None:
    """Embeds each patch without its neighbours."""
    config = model.config
    model.encoder.patch_embedding = nn.Linear(config.num_leads * config.patch_size, config.hidden_size)
    model.encoder.cut_overlapping = lambda segments: segments.unflatten(-1, (config.num_patches, -1))


class ConvStem(nn.Module):
    """Convolutions over the leads before the patches: (B, t, leads * 2 * patch) -> (B, t, D)."""

    def __init__(self, config: BeatConfig, channels: int):
        super().__init__()
        self.leads, self.patch = config.num_leads, config.patch_size
        self.filter = nn.Conv1d(config.num_leads, channels, 7, padding=3)
        self.gather = nn.Conv1d(
            channels, config.hidden_size, 2 * self.patch, stride=self.patch, padding=self.patch // 2
        )

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        middle = patches.unflatten(-1, (self.leads, -1))[..., self.patch // 2 : self.patch // 2 + self.patch]
        return self.gather(F.gelu(self.filter(middle.transpose(1, 2).flatten(2)))).transpose(1, 2)


def conv_stem(model: BeatModel, channels: int) -> None:
    """Puts convolutions before the patches."""
    model.encoder.patch_embedding = ConvStem(model.config, channels)


def two_layers(model: BeatModel, hidden: int) -> None:
    """Embeds patches by two layers."""
    width = 2 * model.config.num_leads * model.config.patch_size
    model.encoder.patch_embedding = nn.Sequential(
        nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, model.config.hidden_size)
    )


def blocks(model: BeatModel) -> None:
    """Lets each slot draw its own patch alone, without an overlap."""
    config = model.config
    model.decoder.patch_head = nn.Linear(config.hidden_size, config.num_leads * config.patch_size)
    model.decoder.overlap_add = lambda drawn: drawn.unflatten(-1, (config.num_leads, -1)).transpose(1, 2).flatten(2)


# Losses.


def with_loss(extra: Callable) -> Callable[[BeatModel], None]:
    """Makes a change that adds extra(signal, target), both (B, L, n) in units of gain, to the mean squared error."""

    def change(model: BeatModel) -> None:
        plain = model.masked_mse

        def loss(signal, target, weight, gain):
            w = weight.expand_as(signal)
            return plain(signal, target, weight, gain) + extra(
                signal / gain[:, None, None] * w, target / gain[:, None, None] * w
            )

        model.masked_mse = loss

    return change


def spectral(signal: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Returns a tenth of the mean absolute difference of magnitudes, summed over three window lengths."""
    total = 0
    for n in (16, 32, 64):
        a, b = (
            torch.stft(each.flatten(0, 1), n, n // 4, window=torch.hann_window(n), return_complex=True).abs() / n**0.5
            for each in (signal, target)
        )
        total = total + (a - b).abs().mean()
    return 0.1 * total


def derivative(signal: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Returns the mean squared error of the first difference."""
    return (signal - target).diff(dim=-1).square().mean()


def root(model: BeatModel) -> None:
    """Weights records by their relative error, not by its square: noisy ones less, clean ones more."""

    def loss(signal, target, weight, gain):
        w = weight.expand_as(signal)
        error, energy = (
            ((each / gain[:, None, None]).square() * w).flatten(1).sum(1) for each in (signal - target, target)
        )
        kept = energy > 0
        return (error[kept] / energy[kept] + 1e-4).sqrt().mean()

    model.masked_mse = loss


PAPER = dict(segment_length=400, num_encoder_layers=6, num_decoder_layers=6, num_attention_heads=8, head_dim=64)
GAIN, CODES, SHAPE, LOSS, RATE = "gain and leads", "codes", "time and shape", "loss", "bits per second"

VARIANTS = {
    "base": Variant("Beat", "Beat"),
    "paper": Variant(
        "the paper's design: free queries, 6 + 6 layers of 8 x 64, one codebook, leads of unit variance",
        "the paper",
        PAPER,
        published,
        unit_leads=True,
    ),
    "paper_bound": Variant("the paper's layers, with Beat's queries and quantizer", "the paper", PAPER),
    "adamw": Variant("AdamW alone instead of Muon", "the paper", optimizer=adamw),
    "free_queries": Variant("queries not bound to their place", "the paper", change=free_queries),
    "straight_through": Variant("straight-through instead of the rotation trick", CODES, change=straight_through),
    "greedy": Variant("each level searched alone, not pairs", CODES, change=greedy),
    "random_start": Variant("codebooks start at random, not by k-means", CODES, change=random_start),
    "decay_80": Variant("decay 0.8", CODES, {"codebook_decay": 0.8}),
    "decay_99": Variant("decay 0.99", CODES, {"codebook_decay": 0.99}),
    "one_book": Variant("one codebook by gradient, as published", CODES, change=quantizer(PublishedQuantizer)),
    "cosine": Variant("cosine codes of 8 dimensions", CODES, change=quantizer(CosineQuantizer)),
    "fsq": Variant(
        "finite scalar, 6 dimensions of 8 steps", CODES, change=quantizer(FiniteScalarQuantizer, dimensions=6, steps=8)
    ),
    "k64": Variant("3 levels of 64 codes", CODES, {"num_levels": 3, "codebook_size": 64}),
    "latent_100ms": Variant("1 level, a latent per 100 ms", SHAPE, {"num_levels": 1, "latent_ratio": 1.0}),
    "latent_400ms": Variant(
        "4 levels, a latent per 400 ms, windows of 4 s",
        SHAPE,
        {"num_levels": 4, "latent_ratio": 0.25, "segment_length": 400},
    ),
    "window_2s": Variant("windows of 2 s", SHAPE, {"segment_length": 200}),
    "window_4s": Variant("windows of 4 s, as in the paper", SHAPE, {"segment_length": 400}),
    "separate": Variant("each patch is read without its neighbours", SHAPE, change=separate_patches),
    "conv_stem": Variant(
        "convolutions of 64 channels before the patches", SHAPE, change=partial(conv_stem, channels=64)
    ),
    "conv_stem_32": Variant(
        "convolutions of 32 channels before the patches", SHAPE, change=partial(conv_stem, channels=32)
    ),
    "two_layers": Variant(
        "patches embedded by two layers, the first of 256", SHAPE, change=partial(two_layers, hidden=256)
    ),
    "blocks": Variant("decoded patches do not overlap", SHAPE, change=blocks),
    "decoder_4": Variant("decoder of 4 layers", SHAPE, {"num_decoder_layers": 4}),
    "wide": Variant("width 192", SHAPE, {"hidden_size": 192, "num_attention_heads": 6, "intermediate_size": 768}),
    "forecast_0": Variant("no forecast", LOSS, {"pred_weight": 0.0}),
    "forecast_50": Variant("the forecast weighs 0.5, not 0.1", LOSS, {"pred_weight": 0.5}),
    "spectral": Variant("with a multi-scale spectral loss", LOSS, change=with_loss(spectral)),
    "derivative": Variant("with a loss on the derivative", LOSS, change=with_loss(derivative)),
    "root": Variant("loss per record, square root", LOSS, change=root),
    "unit_leads": Variant("leads of unit variance, scales for free", GAIN, unit_leads=True),
    "gain_16": Variant("16 gains instead of 64", GAIN, {"gain_levels": 16}),
    "leads_8": Variant("8 independent leads, 4 derived", GAIN, leads=INDEPENDENT),
    "rate_45": Variant("1 level of 512", RATE, {"num_levels": 1}),
    "rate_180": Variant("4 levels of 512", RATE, {"num_levels": 4}),
    "rate_180_fsq": Variant(
        "finite scalar, 12 dimensions of 8 steps", RATE, change=quantizer(FiniteScalarQuantizer, dimensions=12, steps=8)
    ),
    "rate_360": Variant("8 levels of 512", RATE, {"num_levels": 8}),
    "rate_360_100ms": Variant("4 levels of 512, a latent per 100 ms", RATE, {"num_levels": 4, "latent_ratio": 1.0}),
}
