# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Beat: Bidirectional ECG Abstract Tokenization (paper section 3.2).

    ECG (12 leads, mV) -> gain -> segments -> patches -> encoder with latent queries -> residual VQ -> codes
                                                                                                        |
    ECG (12 leads, mV) <- gain <- segments <- patches <- decoder over masked slots <--------------------+
    what follows       <- gain <-------------- patches <- same decoder over the slots of the future <---+

Shapes: B ecgs, L leads, T samples, S segments of an ecg, t patches and m queries of a segment, D width, K codes of a
    level.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel
from transformers.utils import ModelOutput

from .configuration_heartcare import ABSENT, BeatConfig


@dataclass
class BeatEncoderOutput(ModelOutput):
    """
    Tokens of a batch of ECGs; N = ceil(T / samples_per_latent) latents, the last one ends with the last sample.

    codes (`torch.LongTensor` of shape `(B, num_levels, N)`): One code per level; -1 where the latent is nothing but
        padding.
    gain (`torch.FloatTensor` of shape `(B,)`): mV of one unit of the normalised signal, on the quantized scale.
    latents (`torch.FloatTensor` of shape `(B, N, D)`): Quantized latents, all levels summed; 0 where absent.
    latent_mask (`torch.BoolTensor` of shape `(B, N)`): Where there is a latent.
    """

    codes: torch.LongTensor | None = None
    gain: torch.FloatTensor | None = None
    latents: torch.FloatTensor | None = None
    latent_mask: torch.BoolTensor | None = None


@dataclass
class BeatOutput(BeatEncoderOutput):
    """
    [`BeatEncoderOutput`], and:

    loss (`torch.FloatTensor`): recon_weight * recon_loss + pred_weight * pred_loss + vq_weight * vq_loss.
    recon_loss, pred_loss, vq_loss (`torch.FloatTensor`): Its parts; the first two in units of gain squared. pred_loss
        is 0 without `future_values`.
    reconstruction (`torch.FloatTensor` of shape `(B, L, T)`): mV.
    prediction (`torch.FloatTensor` of shape `(B, L, prediction_length)`): mV; the samples that follow. None where
        `pred_weight` is 0.
    core_latents (`torch.FloatTensor` of shape `(B, N, D)`): The core level alone, with a gradient, for training to
        teach it meaning.
    codebook_usage (`torch.FloatTensor` of shape `(num_levels,)`): Share of each level's codes that this batch used.
    codebook_perplexity (`torch.FloatTensor` of shape `(num_levels,)`): exp of the entropy of each level's codes in this
        batch; at most K.
    """

    loss: torch.FloatTensor | None = None
    recon_loss: torch.FloatTensor | None = None
    pred_loss: torch.FloatTensor | None = None
    vq_loss: torch.FloatTensor | None = None
    reconstruction: torch.FloatTensor | None = None
    prediction: torch.FloatTensor | None = None
    core_latents: torch.FloatTensor | None = None
    codebook_usage: torch.FloatTensor | None = None
    codebook_perplexity: torch.FloatTensor | None = None


class BeatGain:
    """One gain per record (not per lead), so that voltages survive: the RMS of all present samples, on a logarithmic
    scale.
    """

    def __init__(self, config: BeatConfig):
        self.low, self.high = config.gain_range_mv
        self.levels = config.gain_levels

    def __call__(self, signal: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """(B, L, T) mV and where it is present -> (B,) mV, one of `levels` values from low to high."""
        energy = (signal.square() * present).flatten(1).sum(1) / present.flatten(1).sum(1).clamp(min=1)
        step = math.log(self.high / self.low) / (self.levels - 1)
        level = torch.log(energy.sqrt().clamp(self.low, self.high) / self.low) / step
        return self.low * torch.exp(level.round() * step)


def eager_attention(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    weights = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        weights = weights + attention_mask
    weights = nn.functional.softmax(weights, dim=-1, dtype=torch.float32).to(query.dtype)
    return torch.matmul(weights, value).transpose(1, 2), weights


class BeatAttention(nn.Module):
    is_causal = False

    def __init__(self, config: BeatConfig):
        super().__init__()
        self.config = config
        self.head_dim = config.head_dim
        self.scaling = config.head_dim**-0.5
        inner = config.num_attention_heads * config.head_dim
        self.qkv_proj = nn.Linear(config.hidden_size, 3 * inner)
        self.out_proj = nn.Linear(inner, config.hidden_size)

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None, keep: slice = slice(None)
    ) -> torch.Tensor:
        q, k, v = (
            self.qkv_proj(hidden_states).unflatten(-1, (3, -1, self.head_dim)).permute(2, 0, 3, 1, 4)
        )  # (3, B, h, n, d)
        attend: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention)
        out, _ = attend(self, q[:, :, keep], k, v, attention_mask, scaling=self.scaling, dropout=0.0, is_causal=False)
        return self.out_proj(out.flatten(2))


class BeatLayer(GradientCheckpointingLayer):
    def __init__(self, config: BeatConfig):
        super().__init__()
        self.attn_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attn = BeatAttention(config)
        self.mlp_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = nn.Sequential(
            nn.Linear(config.hidden_size, config.intermediate_size),
            ACT2FN[config.hidden_act],
            nn.Linear(config.intermediate_size, config.hidden_size),
        )

    def forward(
        self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None, keep: slice = slice(None)
    ) -> torch.Tensor:
        """(B, n, D) -> the states at `keep`, which attend to all."""
        hidden_states = hidden_states[:, keep] + self.attn(self.attn_norm(hidden_states), attention_mask, keep)
        return hidden_states + self.mlp(self.mlp_norm(hidden_states))


class BeatTransformer(nn.Module):
    def __init__(self, config: BeatConfig, num_layers: int):
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList([BeatLayer(config) for _ in range(num_layers)])
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden_states: torch.Tensor, key_mask: torch.Tensor, keep: slice = slice(None)) -> torch.Tensor:
        """(B, n, D) and the positions that may be attended to (B, n) -> the states at `keep`; the last layer computes
        no others.
        """
        attention_mask = create_bidirectional_mask(self.config, hidden_states, key_mask)
        for layer in self.layers[:-1]:
            hidden_states = layer(hidden_states, attention_mask)
        if self.config._attn_implementation in ("eager", "sdpa"):
            attention_mask = create_bidirectional_mask(
                self.config, hidden_states[:, keep], key_mask, encoder_hidden_states=hidden_states
            )
            hidden_states = self.layers[-1](hidden_states, attention_mask, keep)
        else:  # kernels that take queries to be the last of the keys
            hidden_states = self.layers[-1](hidden_states, attention_mask)[:, keep]
        return self.norm(hidden_states)


class BeatEncoder(nn.Module):
    """Patches and latent queries in, query states out: H_in = [e; q] (paper section 3.2)."""

    def __init__(self, config: BeatConfig):
        super().__init__()
        self.config = config
        # Each patch is read with half of either neighbour, as the decoder draws it.
        self.patch_embedding = nn.Linear(2 * config.num_leads * config.patch_size, config.hidden_size)
        # Zeros of an absent lead look like a flat lead; this tells the two apart.
        self.lead_embedding = nn.Linear(config.num_leads, config.hidden_size, bias=False)
        self.position_embedding = nn.Parameter(torch.empty(config.num_patches, config.hidden_size))
        self.query_embedding = nn.Parameter(torch.empty(config.num_queries, config.hidden_size))
        self.transformer = BeatTransformer(config, config.num_encoder_layers)

    def forward(self, segments: torch.Tensor, sample_mask: torch.Tensor, lead_mask: torch.Tensor) -> torch.Tensor:
        """(B*S, L, segment_length) in units of gain, (B*S, segment_length) bool, (B*S, L) bool -> (B*S, m, D)."""
        t, m = self.config.num_patches, self.config.num_queries
        patches = self._overlap(segments).transpose(1, 2).flatten(2)  # (B*S, t, L * 2 * patch_size)
        patch_mask = sample_mask.unflatten(-1, (t, -1)).any(-1)  # (B*S, t)
        e = self.patch_embedding(patches) + self.lead_embedding(lead_mask.to(segments.dtype))[:, None]
        e = (e + self.position_embedding) * patch_mask[..., None]
        # A query is bound to its stretch of time: it starts as the mean of the patches that it stands for.
        q = e.unflatten(1, (m, t // m)).mean(2) + self.query_embedding
        key_mask = torch.cat([patch_mask, patch_mask.new_ones(q.shape[:2])], dim=1)
        return self.transformer(torch.cat([e, q], dim=1), key_mask, keep=slice(t, None))

    def _overlap(self, segments: torch.Tensor) -> torch.Tensor:
        """(B*S, L, n * patch_size) -> (B*S, L, n, 2 * patch_size), with zeros beyond the ends."""
        size = self.config.patch_size
        blocks = nn.functional.pad(segments, (size // 2, size - size // 2)).unflatten(-1, (-1, size))
        return torch.cat([blocks[:, :, :-1], blocks[:, :, 1:]], dim=-1)


class BeatDecoder(nn.Module):
    """Restores every patch, and those that follow, from the quantized queries alone (query-guided bidirectional
    diffusion).

    A slot is a learned mask token with its place in time and a start from the latent that stands for it; a slot of the
    future has no such latent. Free slots would have to find their latents first, and sit on predict-the-mean for
    thousands of steps.
    """

    def __init__(self, config: BeatConfig):
        super().__init__()
        self.config = config
        num_slots = config.num_patches + config.prediction_length // config.patch_size
        self.mask_token = nn.Parameter(torch.empty(config.hidden_size))
        self.slot_position_embedding = nn.Parameter(torch.empty(num_slots, config.hidden_size))
        self.latent_position_embedding = nn.Parameter(torch.empty(config.num_queries, config.hidden_size))
        self.slot_start = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.transformer = BeatTransformer(config, config.num_decoder_layers)
        # Each slot draws twice its own length, half a patch over either end, so that patches have no edges.
        self.patch_head = nn.Linear(config.hidden_size, 2 * config.num_leads * config.patch_size)

    def forward(self, latents: torch.Tensor, latent_mask: torch.Tensor, future: bool = False) -> torch.Tensor:
        """(B*S, m, D), (B*S, m) bool -> (B*S, L, segment_length), or (B*S, L, prediction_length) if `future`; units of
        gain.
        """
        t, m = self.config.num_patches, self.config.num_queries
        if future:
            slots = (self.mask_token + self.slot_position_embedding[t:]).expand(latents.shape[0], -1, -1)
        else:
            slots = self.mask_token + self.slot_position_embedding[:t]
            slots = slots + self.slot_start(latents).repeat_interleave(t // m, dim=1)
        latents = latents + self.latent_position_embedding
        key_mask = torch.cat([latent_mask.new_ones(slots.shape[:2]), latent_mask], dim=1)
        hidden_states = torch.cat([slots.to(latents.dtype), latents], dim=1)
        return self._overlap(self.patch_head(self.transformer(hidden_states, key_mask, keep=slice(slots.shape[1]))))

    def _overlap(self, drawn: torch.Tensor) -> torch.Tensor:
        """Adds up what neighbouring slots draw: (B*S, n, L * 2 * patch_size) -> (B*S, L, n * patch_size)."""
        size = self.config.patch_size
        first, second = (
            drawn.unflatten(-1, (self.config.num_leads, 2, size)).transpose(1, 2).unbind(-2)
        )  # (B*S, L, n, patch_size)
        whole = nn.functional.pad(first.flatten(2), (0, size)) + nn.functional.pad(second.flatten(2), (size, 0))
        return whole[..., size // 2 : size // 2 - size]  # it starts half a patch early


class VectorQuantizerOutput(NamedTuple):
    """Of one level."""

    quantized: torch.Tensor
    loss: torch.Tensor
    usage: torch.Tensor
    perplexity: torch.Tensor


class QuantizerOutput(NamedTuple):
    """Of all levels: the last three are of shape (num_levels,)."""

    latents: torch.Tensor
    core: torch.Tensor
    codes: torch.Tensor
    loss: torch.Tensor
    usage: torch.Tensor
    perplexity: torch.Tensor


def rotate_to(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """`target` in value, but with the gradient carried back to `source` by the rotation and scaling that maps one to
    the other (rotation trick, arXiv 2410.06424). (..., D), (..., D) -> (..., D).
    """
    norm_s, norm_t = (
        source.norm(dim=-1, keepdim=True).clamp(min=1e-6),
        target.norm(dim=-1, keepdim=True).clamp(min=1e-6),
    )
    s, t = (source / norm_s).detach(), (target / norm_t).detach()
    w = nn.functional.normalize(s + t, dim=-1)
    rotated = source - 2 * (source * w).sum(-1, keepdim=True) * w + 2 * (source * s).sum(-1, keepdim=True) * t
    return rotated * (norm_t / norm_s).detach()


class BeatVectorQuantizer(nn.Module):
    """One level: nearest code of its own codebook, which follows the data as a moving average.

    **Buffers** (float32 whatever the model's dtype):
        - **codebook** `(K, D)`: the codes.
        - **codebook_uses** `(K,)`: moving average of how often a batch uses each code; 0 everywhere before the k-means
            start.
    """

    def __init__(self, config: BeatConfig):
        super().__init__()
        self.decay, self.dead_code_threshold = config.codebook_decay, config.dead_code_threshold
        self.register_buffer("codebook", torch.empty(config.codebook_size, config.hidden_size))
        self.register_buffer("codebook_uses", torch.empty(config.codebook_size))

    def _apply(self, fn, recurse=True):
        # model.half() and model.to(torch.bfloat16) must not round the codes; only the device is followed.
        kept = {name: buffer for name, buffer in self.named_buffers(recurse=False) if buffer.dtype == torch.float32}
        super()._apply(fn, recurse)
        for name, buffer in kept.items():
            if (moved := getattr(self, name)).dtype != torch.float32:
                setattr(self, name, buffer.to(moved.device))
        return self

    def nearest(self, hidden_states: torch.Tensor, n: int = 1) -> tuple[torch.Tensor, torch.LongTensor]:
        """(..., D) -> squared distances of the n nearest codes and which they are, both (..., n), nearest first; in
        float32 whatever autocast says, since a rounded distance is another code.
        """
        with torch.autocast(hidden_states.device.type, enabled=False):
            flat = hidden_states.float().flatten(0, -2)
            # |x|^2 is the same for all codes, so it is added to what is found alone.
            scores = torch.addmm(self.codebook.square().sum(1), flat, self.codebook.T, alpha=-2)
            least, codes = scores.topk(n, largest=False) if n > 1 else scores.min(-1, keepdim=True)
            distances = least + flat.square().sum(1, keepdim=True)
        return tuple(each.view(*hidden_states.shape[:-1], n) for each in (distances, codes))

    def decode(self, codes: torch.LongTensor) -> torch.Tensor:
        """(...) -> (..., D); codes that are absent (-1) give 0."""
        return nn.functional.embedding(codes.clamp(min=0), self.codebook) * (codes != ABSENT)[..., None]

    def forward(self, hidden_states: torch.Tensor, codes: torch.LongTensor) -> VectorQuantizerOutput:
        """(B, m, D) and the codes that were chosen for them (B, m). In training mode the codebook learns from the
        present states.
        """
        mask = codes != ABSENT
        present, chosen = hidden_states[mask], codes[mask]
        quantized = self.decode(codes)
        counts = torch.bincount(chosen, minlength=len(self.codebook)).float()
        share = counts / counts.sum().clamp(min=1)
        perplexity = torch.exp(-(share * share.clamp(min=1e-10).log()).sum())
        # The codebook is a moving average, so of the paper's two VQ terms only the commitment has a gradient.
        loss = (present.float() - quantized[mask].detach()).square().mean()
        if self.training:
            self._follow(present.detach().float(), chosen, counts)
        return VectorQuantizerOutput(quantized, loss, (counts > 0).float().mean(), perplexity)

    @torch.no_grad()
    def start(self, present: torch.Tensor, iterations: int = 10):
        """k-means on the states (n, D) of the first batch."""
        self.codebook.copy_(present[torch.randint(len(present), (len(self.codebook),), device=present.device)])
        for _ in range(iterations):
            codes = self.nearest(present)[1][:, 0]
            counts = torch.bincount(codes, minlength=len(self.codebook)).float()
            sums = torch.zeros_like(self.codebook).index_add_(0, codes, present)
            self.codebook.copy_(torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], self.codebook))
        self.codebook_uses.copy_(counts.clamp(min=1))

    @torch.no_grad()
    def _follow(self, present: torch.Tensor, codes: torch.LongTensor, counts: torch.Tensor):
        """Moves each code towards the states that chose it, and gives dead codes a state of this batch as a new start."""
        if not len(present):
            return
        sums = torch.zeros_like(self.codebook).index_add_(0, codes, present)
        old = self.codebook_uses * self.decay
        uses = old + (1 - self.decay) * counts
        moved = (self.codebook * old[:, None] + (1 - self.decay) * sums) / uses.clamp(min=1e-6)[:, None]
        dead = uses < self.dead_code_threshold
        fresh = present[torch.randint(len(present), (len(self.codebook),), device=present.device)]
        self.codebook.copy_(torch.where(dead[:, None], fresh, moved))
        self.codebook_uses.copy_(torch.where(dead, torch.ones_like(uses), uses))


class BeatQuantizer(nn.Module):
    """Dual-level vector quantization: the core level, then a second level for what the first leaves over; and so on,
    where there are more.
    """

    # So many choices of the levels before are kept open while a level is searched. The nearest core code and then the
    # nearest second
    # code are often not the nearest pair; among the pairs of the four nearest core codes nearly always is.
    beam = 4
    carry_gradient = staticmethod(rotate_to)

    def __init__(self, config: BeatConfig):
        super().__init__()
        self.levels = nn.ModuleList([BeatVectorQuantizer(config) for _ in range(config.num_levels)])

    @property
    def num_levels(self) -> int:
        return len(self.levels)

    @torch.no_grad()
    def encode(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> torch.LongTensor:
        """(B, m, D), (B, m) -> (B, num_levels, m). Never changes a codebook."""
        residual = hidden_states.float()[..., None, :]  # (B, m, beam, D)
        codes: list[torch.Tensor] = []  # of each level so far, (B, m, beam)
        for k, level in enumerate(self.levels, 1):
            kept = self.beam if k < self.num_levels else 1
            each = min(kept, len(level.codebook))
            distances, code = (found.flatten(-2) for found in level.nearest(residual, each))  # (B, m, beam * each)
            best = distances.topk(min(kept, distances.shape[-1]), largest=False).indices
            before, code = best // each, code.gather(-1, best)
            codes = [earlier.gather(-1, before) for earlier in codes] + [code]
            residual = residual.gather(2, before[..., None].expand(*before.shape, residual.shape[-1])) - level.decode(
                code
            )
        return torch.stack([each[..., 0].masked_fill(~mask, ABSENT) for each in codes], dim=1)

    def decode(self, codes: torch.LongTensor) -> torch.Tensor:
        """(B, num_levels, m) -> (B, m, D) float32, the sum of all levels."""
        return sum(level.decode(codes[:, k]) for k, level in enumerate(self.levels))

    def forward(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> QuantizerOutput:
        """As `encode`, and the latents, which carry a gradient in training mode. In training mode the codebooks learn."""
        hidden_states = hidden_states.float()
        if self.training:
            self._start(hidden_states[mask])
        codes = self.encode(hidden_states, mask)
        residual, outputs = hidden_states, []
        for level, chosen in zip(self.levels, codes.unbind(1)):
            outputs.append(level(residual, chosen))
            residual = residual - outputs[-1].quantized
        # Of before the codebooks moved, when in training.
        core, latents = outputs[0].quantized, sum(out.quantized for out in outputs)
        if self.training:
            core, latents = (self.carry_gradient(hidden_states, each) * mask[..., None] for each in (core, latents))
        stack = [torch.stack(parts) for parts in zip(*[(out.loss, out.usage, out.perplexity) for out in outputs])]
        return QuantizerOutput(latents, core, codes, *stack)

    @torch.no_grad()
    def _start(self, present: torch.Tensor):
        """Gives the codebooks of new levels their places, each on what the levels before leave over of the first batch."""
        if not len(present) or all(level.codebook_uses.any() for level in self.levels):
            return
        for level in self.levels:
            if not level.codebook_uses.any():
                level.start(present)
            present = present - level.decode(level.nearest(present)[1][:, 0])


class StrictLoadingMixin:
    """Makes `from_pretrained` raise where transformers only warns: a model with random parts answers nonsense,
    fluently.
    """

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, **kwargs):
        """As `PreTrainedModel.from_pretrained`.

        Raises: `ValueError` when the checkpoint lacks weights of the model, or has weights that the model has no place
            for.
        """
        wants_info = kwargs.pop("output_loading_info", False)
        model, info = super().from_pretrained(pretrained_model_name_or_path, *args, output_loading_info=True, **kwargs)
        for kind in ("missing_keys", "unexpected_keys"):
            if info[kind]:
                raise ValueError(
                    f"{pretrained_model_name_or_path} has {len(info[kind])} {kind.replace('_', ' ')} for {cls.__name__}, "
                    f"for example {sorted(info[kind])[:3]}. Code, config.json and weights do not belong together: load "
                    "the revision that wrote them."
                )
        return (model, info) if wants_info else model


class BeatPreTrainedModel(StrictLoadingMixin, PreTrainedModel):
    config: BeatConfig
    base_model_prefix = "beat"
    main_input_name = "input_values"
    supports_gradient_checkpointing = True
    _no_split_modules = ["BeatLayer"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _keep_in_fp32_modules_strict = ["codebook", "codebook_uses"]
    # The other parts of a HeartcareGPT checkpoint, of which Beat takes its own.
    _keys_to_ignore_on_load_unexpected = [
        r"^language_model\.",
        r"^vision_tower\.",
        r"^signal_projector\.",
        r"^image_projector\.",
    ]

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, BeatVectorQuantizer):
            init.normal_(module.codebook, std=self.config.initializer_range)
            init.zeros_(module.codebook_uses)
        elif isinstance(module, (BeatEncoder, BeatDecoder)):
            for parameter in module.parameters(recurse=False):
                init.normal_(parameter, std=self.config.hidden_size**-0.5)


class BeatModel(BeatPreTrainedModel):
    """The ECG tokenizer: `encode`, `decode`, `forecast`, and `forward` for training."""

    def __init__(self, config: BeatConfig):
        super().__init__(config)
        self.gain = BeatGain(config)
        self.encoder = BeatEncoder(config)
        self.quantizer = BeatQuantizer(config)
        self.decoder = BeatDecoder(config)
        self.post_init()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, **kwargs):
        """Loads Beat from a repository of its own, or out of a whole HeartcareGPT repository.

        Raises: `ValueError` when the checkpoint lacks any of Beat's weights; they are never left random.
        """
        kwargs.setdefault("key_mapping", {r"^beat\.": ""})
        loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model._weight_conversions = []  # or saving would put the prefix of the whole model back
        return loaded

    def num_latents(self, num_samples: int) -> int:
        """Latents of an ECG of `num_samples` samples."""
        return (num_samples + self.config.samples_per_latent - 1) // self.config.samples_per_latent

    def encode(
        self,
        input_values: torch.FloatTensor,
        ecg_attention_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        gain: torch.FloatTensor | None = None,
        refine: int = 0,
    ) -> BeatEncoderOutput:
        """ECGs -> tokens. The codebook is never changed, in training mode neither.

        Args:
            input_values (`torch.FloatTensor` of shape `(B, 12, T)`): mV at `config.sampling_rate`; any T >= 1,
                left-padded.
            ecg_attention_mask (`torch.Tensor` of shape `(B, T)`, *optional*): 1 for samples, 0 for padding.
            lead_mask (`torch.Tensor` of shape `(B, 12)`, *optional*): 1 for leads that were recorded, 0 for absent
                ones.
            gain (`torch.FloatTensor` of shape `(B,)`, *optional*): mV; that of the recording which this is a part of.
                Its own by default.
            refine (`int`, *optional*, defaults to 0): So many steps of a search for codes whose decoding is nearer to
                the ECG, each as dear as a step of training.
                For storage: the search looks at the shape alone, and not at what codes mean to a language model.

        Raises: `ValueError` for shapes that do not fit, or a negative `refine`.
        """
        if refine < 0:
            raise ValueError(f"refine is a number of steps, at least 0, got {refine}.")
        segments, sample_mask, latent_mask, gain, lead_mask = self._segment(
            input_values, ecg_attention_mask, lead_mask, gain
        )
        hidden_states = self.encoder(segments, sample_mask, lead_mask)
        if refine:
            codes = self._refine(
                hidden_states, segments, sample_mask[:, None] & lead_mask[..., None], latent_mask, refine
            )
        else:
            codes = self.quantizer.encode(hidden_states, latent_mask)
        return self._encoder_output(codes, self.quantizer.decode(codes), latent_mask, gain, input_values.shape[-1])

    def decode(self, codes: torch.LongTensor, gain: torch.FloatTensor) -> torch.FloatTensor:
        """Tokens -> ECGs, from nothing but codes and gain.

        Args:
            codes (`torch.LongTensor` of shape `(B, num_levels, N)`): As `encode` gives them; -1 where there is no
                latent.
            gain (`torch.FloatTensor` of shape `(B,)`): mV.

        Returns: `torch.FloatTensor` of shape `(B, 12, N * samples_per_latent)`, mV. Its last samples are the ECG's last
            samples.

        Raises: `ValueError` for codes of another shape or outside of the codebook.
        """
        size = self.config.codebook_size
        if codes.ndim != 3 or codes.shape[1] != self.quantizer.num_levels:
            raise ValueError(
                f"codes must have shape (batch, {self.quantizer.num_levels}, latents), got {tuple(codes.shape)}."
            )
        if codes.numel() and not (-1 <= int(codes.min()) and int(codes.max()) < size):
            raise ValueError(f"codes must lie in -1..{size - 1}, got {int(codes.min())}..{int(codes.max())}.")
        return self._decode(codes, gain)

    @torch.no_grad()
    def forecast(
        self,
        input_values: torch.FloatTensor,
        ecg_attention_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        num_samples: int | None = None,
    ) -> torch.FloatTensor:
        """The `num_samples` samples that follow, by autoregression over segments.

        Args: as `encode`; `num_samples` defaults to `config.prediction_length`.

        Returns: `torch.FloatTensor` of shape `(B, 12, num_samples)`, mV.

        Raises: `ValueError` for a Beat that never learnt to forecast, by a `pred_weight` of 0.
        """
        if not self.config.pred_weight:
            raise ValueError(
                "This Beat was trained without a forecast (pred_weight is 0); take another one, such as the one of the default checkpoint."
            )
        num_samples = self.config.prediction_length if num_samples is None else num_samples
        if num_samples < 1:
            raise ValueError(f"num_samples must be at least 1, got {num_samples}.")
        context = self.config.segment_length
        batch = input_values.shape[0]
        values, mask = input_values, ecg_attention_mask
        mask = values.new_ones(batch, values.shape[-1]) if mask is None else mask
        # The gain is a property of the record; it must not drift with what was forecast.
        gain = self._segment(values, mask, lead_mask)[3]
        values, mask = values[..., -context:], mask[..., -context:]
        forecast = values.new_zeros(batch, self.config.num_leads, 0)
        while forecast.shape[-1] < num_samples:
            segments, sample_mask, latent_mask, _, leads = self._segment(values, mask, lead_mask, gain)
            codes = self.quantizer.encode(self.encoder(segments, sample_mask, leads), latent_mask)
            step = self._predict(self.quantizer.decode(codes).to(self.dtype), codes[:, 0] != ABSENT, gain, batch)
            forecast = torch.cat([forecast, step], dim=-1)
            values = torch.cat([values, step.to(values.dtype)], dim=-1)[..., -context:]
            mask = torch.cat([mask, mask.new_ones(batch, step.shape[-1])], dim=-1)[..., -context:]
        return forecast[..., :num_samples]

    def stream(self, feature_extractor, sampling_rate: float, **options) -> "BeatStream":
        """A [`BeatStream`] of this model: codes of a recording that still goes on."""
        return BeatStream(self, feature_extractor, sampling_rate, **options)

    def forward(
        self,
        input_values: torch.FloatTensor,
        ecg_attention_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        target_values: torch.FloatTensor | None = None,
        future_values: torch.FloatTensor | None = None,
        **kwargs,
    ) -> BeatOutput:
        """Tokenise, restore and predict, with the joint loss of the paper. In training mode the codebooks learn.

        Args:
            input_values, ecg_attention_mask, lead_mask: As in `encode`.
            target_values (`torch.FloatTensor` of shape `(B, 12, T)`, *optional*): mV; what to restore, with all leads.
                Without it the input itself is restored, and absent leads are left out of the loss.
            future_values (`torch.FloatTensor` of shape `(B, 12, prediction_length)`, *optional*): mV; what follows the
                input.
        """
        num_samples, batch = input_values.shape[-1], input_values.shape[0]
        segments, sample_mask, latent_mask, gain, segment_leads = self._segment(
            input_values, ecg_attention_mask, lead_mask
        )
        hidden_states = self.encoder(segments, sample_mask, segment_leads)
        latents, core, codes, vq_losses, usage, perplexity = self.quantizer(hidden_states, latent_mask)
        reconstruction = self._restore(latents.to(self.dtype), latent_mask, gain, num_samples)
        prediction = (
            self._predict(latents.to(self.dtype), latent_mask, gain, batch) if self.config.pred_weight else None
        )

        weight = sample_mask.view(batch, -1)[:, None, -num_samples:].float()  # (B, 1, T)
        lead_weight = segment_leads.view(batch, -1, self.config.num_leads)[:, 0, :, None].float()  # (B, L, 1)
        target = target_values
        if target is None:
            target, weight = input_values, weight * lead_weight
        recon_loss = self._masked_mse(reconstruction, target, weight, gain)
        pred_loss = recon_loss.new_zeros(())
        if future_values is not None and prediction is not None:
            future_weight = torch.ones_like(future_values[:, :1]) * (1 if target_values is not None else lead_weight)
            pred_loss = self._masked_mse(prediction, future_values, future_weight, gain)
        vq_loss = vq_losses.sum()
        config = self.config
        loss = config.recon_weight * recon_loss + config.pred_weight * pred_loss + config.vq_weight * vq_loss
        tokens = self._encoder_output(codes, latents, latent_mask, gain, num_samples)
        return BeatOutput(
            **tokens,
            loss=loss,
            recon_loss=recon_loss,
            pred_loss=pred_loss,
            vq_loss=vq_loss,
            reconstruction=reconstruction,
            prediction=prediction,
            core_latents=core.reshape(batch, -1, core.shape[-1])[:, -self.num_latents(num_samples) :],
            codebook_usage=usage,
            codebook_perplexity=perplexity,
        )

    # The parts that encode, decode, forecast and forward share.

    def _segment(self, input_values, ecg_attention_mask, lead_mask, gain=None):
        """Checks the input, takes the gain out, and cuts segments from right to left.

        Returns segments (B*S, L, segment_length), sample_mask (B*S, segment_length), latent_mask (B*S, m), gain (B,),
        lead_mask (B*S, L).
        """
        if input_values.ndim != 3 or input_values.shape[1] != self.config.num_leads or not input_values.shape[2]:
            raise ValueError(
                f"input_values must have shape (ecgs, {self.config.num_leads}, samples), got {tuple(input_values.shape)}; "
                "the processor makes it from any ECG."
            )
        batch, num_leads, num_samples = input_values.shape
        device = input_values.device
        masks = {
            "ecg_attention_mask": (ecg_attention_mask, (batch, num_samples)),
            "lead_mask": (lead_mask, (batch, num_leads)),
        }
        for name, (mask, shape) in masks.items():
            if mask is not None and tuple(mask.shape) != shape:
                raise ValueError(f"{name} must have shape {shape}, got {tuple(mask.shape)}.")
        sample_mask, lead_mask = (
            torch.ones(shape, dtype=torch.bool, device=device) if mask is None else mask.to(device).bool()
            for mask, shape in masks.values()
        )
        values = input_values.float()
        present = sample_mask[:, None] & lead_mask[..., None] & values.isfinite()
        values = torch.where(present, values, 0.0)
        gain = self.gain(values, present) if gain is None else gain
        segments = self._to_segments(values / gain[:, None, None], self.config.segment_length, 0.0)
        sample_mask = self._to_segments(sample_mask[:, None], self.config.segment_length, False)[:, 0]
        latent_mask = sample_mask.unflatten(-1, (self.config.num_queries, -1)).any(-1)
        lead_mask = lead_mask[:, None].expand(-1, len(segments) // batch, -1).flatten(0, 1)
        return segments.to(self.dtype), sample_mask, latent_mask, gain, lead_mask

    @staticmethod
    def _to_segments(x: torch.Tensor, length: int, fill) -> torch.Tensor:
        """(B, C, n) -> (B*S, C, length), padded on the left, so that the last segment ends with the last element."""
        padding = -x.shape[-1] % length
        x = nn.functional.pad(x, (padding, 0), value=fill)
        return x.unflatten(-1, (-1, length)).transpose(1, 2).flatten(0, 1)

    def _refine(self, hidden_states, segments, present, latent_mask, steps):
        """Analysis by synthesis: the latents follow the gradient of the decoding's error through the quantizer, and are
        drawn to their codes, or they would wander off to where codes jump. Each segment keeps the best of all codes
        that it came by, so that none is worse than the encoder's.
        """
        with torch.inference_mode(False), torch.enable_grad():
            segments, present, latent_mask = segments.float().clone(), present.clone(), latent_mask.clone()
            latents = hidden_states.detach().float().clone().requires_grad_()
            rate = 0.06 * float(self.quantizer.levels[0].codebook.std())
            optimizer = torch.optim.Adam([latents], rate, betas=(0.5, 0.9))
            decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
            for step in range(steps + 1):
                codes = self.quantizer.encode(latents, latent_mask)
                quantized = self.quantizer.decode(codes)
                decoded = self.decoder((latents + (quantized - latents).detach()).to(self.dtype), latent_mask).float()
                error = ((decoded - segments).square() * present).sum((1, 2))
                away = ((latents - quantized).square() * latent_mask[..., None]).sum((1, 2))
                if step == 0:  # the encoder's own codes
                    best, least = codes, error.detach()
                    first_error, first_away = (each.detach().clamp(min=1e-6) for each in (error, away))
                better = error.detach() < least
                best, least = (
                    torch.where(better[:, None, None], codes, best),
                    torch.where(better, error.detach(), least),
                )
                if step < steps:
                    loss = (error / first_error + 0.5 * away / first_away).sum()
                    (latents.grad,) = torch.autograd.grad(loss, [latents])
                    optimizer.step()
                    decay.step()
        return best

    def _encoder_output(self, codes, latents, latent_mask, gain, num_samples) -> BeatEncoderOutput:
        batch, n = len(gain), self.num_latents(num_samples)
        return BeatEncoderOutput(
            codes=codes.view(batch, -1, *codes.shape[1:]).transpose(1, 2).flatten(2)[..., -n:],
            gain=gain,
            latents=latents.reshape(batch, -1, latents.shape[-1])[:, -n:],
            latent_mask=latent_mask.view(batch, -1)[:, -n:],
        )

    def _decode(self, codes, gain):
        """`decode` without its checks, which read the codes and so keep it from being exported."""
        num_samples = codes.shape[-1] * self.config.samples_per_latent
        codes = self._to_segments(codes, self.config.num_queries, ABSENT)
        latents = self.quantizer.decode(codes).to(self.dtype)
        return self._restore(latents, codes[:, 0] != ABSENT, gain, num_samples)

    def _restore(self, latents, latent_mask, gain, num_samples):
        signal = self.decoder(latents, latent_mask).float()
        signal = signal.view(len(gain), -1, *signal.shape[1:]).transpose(1, 2).flatten(2)
        return signal[..., -num_samples:] * gain[:, None, None]

    def _predict(self, latents, latent_mask, gain, batch):
        last = slice(len(latents) // batch - 1, None, len(latents) // batch)  # the last segment of each ecg
        return self.decoder(latents[last], latent_mask[last], future=True).float() * gain[:, None, None]

    @staticmethod
    def _masked_mse(signal, target, weight, gain):
        weight = weight.expand_as(signal) * target.isfinite()
        error = (signal - torch.where(weight > 0, target.float(), 0.0)) / gain[:, None, None]
        return (error.square() * weight).sum() / weight.sum().clamp(min=1)


class BeatStreamSegment(NamedTuple):
    """A segment of a stream: it starts `seconds` after the stream did.

    codes `(num_levels, N)`, -1 where every lead is off; gain, mV, the stream's; values `(12, n)`, mV, the cleaned
    signal that was encoded; lead_mask `(12,)` bool; warnings, names as in the processor's quality record.
    """

    seconds: float
    codes: torch.LongTensor
    gain: torch.FloatTensor
    values: torch.FloatTensor
    lead_mask: torch.BoolTensor
    warnings: list[str]


class BeatStream:
    """Codes of a recording that still goes on, segment by segment, in constant memory.

        stream = beat.stream(processor.feature_extractor, sampling_rate=500)
        for chunk in monitor:              # (leads, any number of samples)
            for segment in stream.push(chunk):
                ...                        # each segment once, as soon as what follows it for `context_seconds` is
                known
        segments = stream.close()          # the rest

    A segment is cleaned by the processor's own code together with `context_seconds` of signal on either side, at places
    that depend on the stream alone and not on how it came in, so that chunks of any size give the same codes as the
    whole recording at once, bit for bit. Segments count from the start of the stream; those of `BeatModel.encode` count
    from the end of the recording, so that the two agree where the recording is a whole number of segments.

    A lead that is NaN, or holds one value for a second, is off: it is masked in the segments that it touches with their
        context, and comes
    back by itself.

    Args:
        model (`BeatModel`): In evaluation mode.
        feature_extractor (`BeatFeatureExtractor`): The processor's.
        sampling_rate (`float`): Hz of what is pushed.
        lead_names, units: As for the feature extractor.
        gain (`float`, *optional*): mV; by default that of the first segment with a lead on. It is held for the whole
            stream.
        context_seconds (`float`): Signal that cleaning sees on either side of a segment; also how long a segment waits.
        batch_size (`int`): At most so many segments are encoded at once, when a long chunk comes in.
    """

    OFF_SECONDS = 1.0

    def __init__(
        self,
        model,
        feature_extractor,
        sampling_rate,
        lead_names=None,
        units="mV",
        gain=None,
        context_seconds=4.0,
        batch_size=32,
    ):
        self.model, self.extractor, self.rate = model, feature_extractor, float(sampling_rate)
        if feature_extractor.sampling_rate != model.config.sampling_rate:
            raise ValueError(
                f"The feature extractor gives {feature_extractor.sampling_rate} Hz, the model expects {model.config.sampling_rate} Hz; take both from one "
                "repository."
            )
        self.form = {"sampling_rate": self.rate, "lead_names": lead_names, "units": units, "source": "stream"}
        self.num_leads = model.config.num_leads if lead_names is None else len(lead_names)
        self.seconds = model.config.segment_length / model.config.sampling_rate
        self.context, self.batch_size = context_seconds, batch_size
        self.gain = None if gain is None else torch.tensor([gain], dtype=torch.float32, device=model.device)
        self.chunks: list[np.ndarray] = []  # what is not yet done with, from sample `first` of the stream on
        self.first = self.pushed = self.segment = 0
        self.closed = False

    def push(self, chunk) -> list[BeatStreamSegment]:
        """What comes next, an array or tensor (leads, samples) in `units` -> the segments that it completes.

        Raises: `ValueError` for another number of leads, or after `close`.
        """
        chunk = chunk.detach().cpu().numpy() if hasattr(chunk, "detach") else np.asarray(chunk)
        if self.closed:
            raise ValueError("The stream is closed; start another one.")
        if chunk.ndim != 2 or chunk.shape[0] != self.num_leads:
            raise ValueError(f"A chunk must have shape ({self.num_leads}, samples), got {chunk.shape}.")
        self.chunks.append(np.array(chunk, np.float64))
        self.pushed += chunk.shape[1]
        ready = int((self.pushed / self.rate - self.context) // self.seconds)
        return self._encode([self._cut(k) for k in range(self.segment, ready)])

    def close(self) -> list[BeatStreamSegment]:
        """The segments that waited for what follows, and the last, shorter one."""
        self.closed = True
        segments = -(-self._total() // self.model.config.segment_length)
        return self._encode([self._cut(k) for k in range(self.segment, segments)])

    def _total(self) -> int:
        """Samples of all that was pushed, at the model's rate."""
        return round(self.pushed * self.model.config.sampling_rate / self.rate)

    def _cut(self, k: int) -> tuple:
        """Segment k, cleaned: (seconds, values (12, n), lead_mask (12,), warnings)."""
        start, end = k * self.seconds, (k + 1) * self.seconds
        low, high = (max(0, min(self.pushed, round(t * self.rate))) for t in (start - self.context, end + self.context))
        if len(self.chunks) > 1:
            self.chunks = [np.concatenate(self.chunks, axis=1)]
        window = self.chunks[0][:, low - self.first : high - self.first]
        window = self._without_lead_off(window)
        config = self.model.config
        place = round((start - low / self.rate) * config.sampling_rate)
        length = min(config.segment_length, self._total() - k * config.segment_length)
        if all(self.extractor.is_off(lead, self.rate) for lead in window):
            found = np.zeros((config.num_leads, length), np.float32), np.zeros(config.num_leads, bool), ["off"]
        else:
            values, lead_mask, quality = self.extractor.prepare({"ecg": window, **self.form})
            place = min(place, values.shape[1] - length)  # at the end, resampling may round the other way
            found = values[:, place : place + length], lead_mask, quality["warnings"]
        self.segment = k + 1
        # What comes before the next segment's context is done with, and let go when it is half of what is held.
        keep = max(0, round((end - self.context) * self.rate)) - self.first
        if 2 * keep >= self.chunks[0].shape[1]:
            self.chunks, self.first = [self.chunks[0][:, keep:].copy()], self.first + keep
        return start, *found

    def _without_lead_off(self, window: np.ndarray) -> np.ndarray:
        """NaN where a lead holds one value for `OFF_SECONDS`; electrodes that fell off often read as a line."""
        run = round(self.OFF_SECONDS * self.rate)
        if window.shape[1] <= run:
            return window
        still = np.pad(np.diff(window, axis=1) == 0, ((0, 0), (1, 0)))
        count = np.cumsum(still, axis=1)
        held = count[:, run:] - count[:, :-run] == run  # the sample at `run` and the `run` before it are one value
        if not held.any():
            return window
        window = window.copy()
        for lead, at in zip(*np.nonzero(held)):
            window[lead, at : at + run + 1] = np.nan
        return window

    @torch.no_grad()
    def _encode(self, segments: list[tuple]) -> list[BeatStreamSegment]:
        done = []
        for begin in range(0, len(segments), self.batch_size):
            part = segments[begin : begin + self.batch_size]
            # The last segment of a stream may be a shorter one, and goes alone.
            for same in (part[:-1], part[-1:]) if part[0][1].shape != part[-1][1].shape else (part,):
                done += self._encode_batch(same) if same else []
        return done

    def _encode_batch(self, segments: list[tuple]) -> list[BeatStreamSegment]:
        device = self.model.device
        values = torch.from_numpy(np.stack([each[1] for each in segments])).to(device)
        masks = torch.from_numpy(np.stack([each[2] for each in segments])).to(device)
        if self.gain is None and masks.any():
            first = int(masks.any(1).nonzero()[0])
            self.gain = self.model.encode(values[first : first + 1], lead_mask=masks[first : first + 1]).gain
        gain = values.new_full((1,), float("nan")) if self.gain is None else self.gain
        codes = values.new_full(
            (len(values), self.model.quantizer.num_levels, self.model.num_latents(values.shape[-1])), ABSENT
        ).long()
        on = masks.any(1)
        if on.any():
            codes[on] = self.model.encode(values[on], lead_mask=masks[on], gain=gain.expand(int(on.sum()))).codes
        return [
            BeatStreamSegment(seconds, *each, mask, warnings)
            for (seconds, _, _, warnings), each, mask in zip(
                segments, zip(codes, gain.expand(len(codes)), values), masks
            )
        ]


BeatModel.register_for_auto_class("AutoModel")

__all__ = [
    "BeatEncoderOutput",
    "BeatModel",
    "BeatOutput",
    "BeatPreTrainedModel",
    "BeatStream",
    "BeatStreamSegment",
    "StrictLoadingMixin",
]
