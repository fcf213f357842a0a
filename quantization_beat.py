# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Residual vector quantization of Beat's latents (paper section 3.2): one codebook, one level, all levels.

Shapes: B segments, m latents of a segment, D width, K codes of a level.
"""

from typing import NamedTuple

import torch
from torch import nn

from .configuration_heartcare import ABSENT, BeatConfig

START_ITERATIONS = 10  # steps of the k-means that starts a codebook


class VectorQuantizerOutput(NamedTuple):
    """Result of one level: quantized (B, m, D), and three numbers: loss, share of codes used, and perplexity."""

    quantized: torch.Tensor
    loss: torch.Tensor
    usage: torch.Tensor
    perplexity: torch.Tensor


class QuantizerOutput(NamedTuple):
    """Result of all levels: latents and core (B, m, D), codes (B, num_levels, m), and three tensors (num_levels,)."""

    latents: torch.Tensor
    core: torch.Tensor
    codes: torch.Tensor
    loss: torch.Tensor
    usage: torch.Tensor
    perplexity: torch.Tensor


class BeatVectorQuantizer(nn.Module):
    """One level: the nearest code of its own codebook, which follows the data as a moving average.

    **Buffers** (float32 whatever the model's dtype):
        - **codebook** `(K, D)`: the codes.
        - **codebook_uses** `(K,)`: moving average of how often a batch uses each code; 0 everywhere before the k-means
            start.
    """

    def __init__(self, config: BeatConfig, level: int = 0):
        super().__init__()
        self.level, self.initial_range = level, config.initializer_range
        self.decay, self.dead_code_threshold = config.codebook_decay, config.dead_code_threshold
        self.register_buffer("codebook", self.initial_codes(config.codebook_size, config.hidden_size))
        self.register_buffer("codebook_uses", torch.zeros(config.codebook_size))

    def initial_codes(self, num_codes: int, width: int) -> torch.Tensor:
        """Returns the codes (K, D) before the k-means start: all different, and the same each time for a level."""
        angle = torch.arange(1, num_codes + 1)[:, None] * torch.arange(1, width + 1) * 0.618 + self.level
        return self.initial_range * 2**0.5 * torch.sin(angle)

    def _apply(self, fn, recurse=True):
        # model.half() and model.to(torch.bfloat16) must not round the codes; only the device is followed.
        kept = {name: buffer for name, buffer in self.named_buffers(recurse=False) if buffer.dtype == torch.float32}
        super()._apply(fn, recurse)
        for name, buffer in kept.items():
            if (moved := getattr(self, name)).dtype != torch.float32:
                setattr(self, name, buffer.to(moved.device))
        return self

    def forward(
        self, hidden_states: torch.Tensor, codes: torch.LongTensor, follow: bool = True
    ) -> VectorQuantizerOutput:
        """Quantizes states (B, m, D) to the codes chosen for them (B, m). In training mode the codebook follows the
        states that are present, unless `follow` is False.
        """
        mask = codes != ABSENT
        present, chosen = hidden_states[mask], codes[mask]
        quantized = self.decode(codes)
        counts = torch.bincount(chosen, minlength=len(self.codebook)).float()
        share = counts / counts.sum().clamp(min=1)
        perplexity = torch.exp(-(share * share.clamp(min=1e-10).log()).sum())
        # The codebook is a moving average, so of the paper's two VQ terms only the commitment has a gradient.
        loss = (present.float() - quantized[mask].detach()).square().mean()
        if self.training and follow:
            self._follow(present.detach().float(), chosen, counts)
        return VectorQuantizerOutput(quantized, loss, (counts > 0).float().mean(), perplexity)

    @torch.no_grad()
    def start(self, present: torch.Tensor) -> None:
        """Places the codes by k-means on the states (n, D) of the first batch, of all processes."""
        if not have_states(len(present), present.device).any():
            return
        self.codebook.copy_(self._some_states(present))
        for _ in range(START_ITERATIONS):
            codes = self.nearest(present)[1][:, 0]
            counts = sum_over_processes(torch.bincount(codes, minlength=len(self.codebook)).float())
            sums = sum_over_processes(torch.zeros_like(self.codebook).index_add_(0, codes, present))
            self.codebook.copy_(torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], self.codebook))
        self.codebook_uses.copy_(counts.clamp(min=1))

    @torch.no_grad()
    def _follow(self, present: torch.Tensor, codes: torch.LongTensor, counts: torch.Tensor):
        """Moves each code towards the states that chose it, and replaces dead codes by states of this batch."""
        sums = torch.zeros_like(self.codebook).index_add_(0, codes, present)
        counts, sums = sum_over_processes(counts), sum_over_processes(sums)
        if not counts.any():
            return
        old = self.codebook_uses * self.decay
        uses = old + (1 - self.decay) * counts
        moved = (self.codebook * old[:, None] + (1 - self.decay) * sums) / uses.clamp(min=1e-6)[:, None]
        dead = uses < self.dead_code_threshold
        fresh = self._some_states(present)
        self.codebook.copy_(torch.where(dead[:, None], fresh, moved))
        self.codebook_uses.copy_(torch.where(dead, torch.ones_like(uses), uses))

    def _some_states(self, present: torch.Tensor) -> torch.Tensor:
        """Draws one state for each code out of (n, D): (K, D), the same in all processes, which take turns."""
        drawn = torch.zeros_like(self.codebook)
        if len(present):
            drawn = present[torch.randint(len(present), (len(drawn),), device=present.device)]
        owners = have_states(len(present), present.device)
        if len(owners) > 1:
            rank = torch.distributed.get_rank()
            turns = torch.arange(len(drawn), device=drawn.device) % owners.sum().clamp(min=1)
            mine = owners[rank] & (turns == owners[:rank].sum())
            drawn = sum_over_processes(drawn * mine[:, None])
        return drawn

    def nearest(self, hidden_states: torch.Tensor, n: int = 1) -> tuple[torch.Tensor, torch.LongTensor]:
        """Finds the n nearest codes: (..., D) -> squared distances and codes, both (..., n), nearest first.

        It computes in float32 under autocast too, since a rounded distance is another code.
        """
        with torch.autocast(hidden_states.device.type, enabled=False):
            flat = hidden_states.float().flatten(0, -2)
            # |x|^2 is the same for all codes, so only the distances that are returned need it.
            scores = torch.addmm(self.codebook.square().sum(1), flat, self.codebook.T, alpha=-2)
            least, codes = scores.topk(n, largest=False) if n > 1 else scores.min(-1, keepdim=True)
            distances = least + flat.square().sum(1, keepdim=True)
        return tuple(result.view(*hidden_states.shape[:-1], n) for result in (distances, codes))

    def decode(self, codes: torch.LongTensor) -> torch.Tensor:
        """Looks codes up: (...) -> (..., D); absent codes (-1) give 0."""
        return nn.functional.embedding(codes.clamp(min=0), self.codebook) * (codes != ABSENT)[..., None]


class BeatQuantizer(nn.Module):
    """Dual-level vector quantization (DVQ): the core level, then a second level for the first one's residual, and more
    levels where `config.num_levels` says so.

    With `config.core_level="parallel"` the core level quantizes a projection of the states of its own, and the other
    levels the states themselves; the latents are again the sum of all levels.
    """

    # Beam width: candidates kept per level of the residual search. 4 finds the best pair almost always; 1 (greedy)
    # often does not.
    beam = 4

    def __init__(self, config: BeatConfig):
        super().__init__()
        self.levels = nn.ModuleList([BeatVectorQuantizer(config, level) for level in range(config.num_levels)])
        self.num_core_levels = int(config.core_level == "parallel")
        if self.num_core_levels:
            self.core_proj = nn.Linear(config.hidden_size, config.hidden_size)

    @property
    def num_levels(self) -> int:
        """Number of levels."""
        return len(self.levels)

    def forward(self, hidden_states: torch.Tensor, mask: torch.Tensor, follow: bool = True) -> QuantizerOutput:
        """Finds codes as `encode` does, and gives latents, with a gradient in training mode. In training mode the
        codebooks follow the data, unless `follow` is False.
        """
        hidden_states = hidden_states.float()
        core_states = self.core_states(hidden_states) if self.num_core_levels else hidden_states
        if self.training and follow:
            self._start(hidden_states[mask], core_states[mask])
        codes = self.encode(hidden_states, mask)
        residual, outputs = hidden_states, []
        for k, (level, chosen) in enumerate(zip(self.levels, codes.unbind(1))):
            if k < self.num_core_levels:
                outputs.append(level(core_states, chosen, follow))
            else:
                outputs.append(level(residual, chosen, follow))
                residual = residual - outputs[-1].quantized
        # Taken before this batch updated the codebooks, in training.
        core = outputs[0].quantized
        shape = sum(out.quantized for out in outputs[self.num_core_levels :])
        if self.training:
            core = self.carry_gradient(core_states, core) * mask[..., None]
            shape = self.carry_gradient(hidden_states, shape) * mask[..., None]
        latents = core + shape if self.num_core_levels else shape
        stack = [torch.stack(parts) for parts in zip(*[(out.loss, out.usage, out.perplexity) for out in outputs])]
        return QuantizerOutput(latents, core, codes, *stack)

    @torch.no_grad()
    def _start(self, present: torch.Tensor, core_present: torch.Tensor):
        """Starts levels that were never used by k-means, each on the residual of the levels before it."""
        if all(level.codebook_uses.any() for level in self.levels):
            return
        for k, level in enumerate(self.levels):
            states = core_present if k < self.num_core_levels else present
            if not level.codebook_uses.any():
                level.start(states)
            if k >= self.num_core_levels:
                present = present - level.decode(level.nearest(present)[1][:, 0])

    @torch.no_grad()
    def encode(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> torch.LongTensor:
        """Finds codes: (B, m, D), (B, m) -> (B, num_levels, m). Never changes a codebook."""
        codes = self.encode_shape(hidden_states, mask)
        return torch.cat([self.encode_core(hidden_states, mask), codes], dim=1) if self.num_core_levels else codes

    @torch.no_grad()
    def encode_core(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> torch.LongTensor:
        """Finds the codes of a core level of its own: (B, m, D), (B, m) -> (B, 1, m), or (B, 0, m) without one."""
        if not self.num_core_levels:
            return mask.new_empty((len(mask), 0, mask.shape[1]), dtype=torch.long)
        return self.levels[0].nearest(self.core_states(hidden_states))[1].mT.masked_fill(~mask[:, None], ABSENT)

    def core_states(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Projects states to those that a core level of its own quantizes, float32: (B, m, D) -> (B, m, D)."""
        return self.core_proj(hidden_states.to(self.core_proj.weight.dtype)).float()

    @torch.no_grad()
    def encode_shape(self, hidden_states: torch.Tensor, mask: torch.Tensor) -> torch.LongTensor:
        """Finds the codes of `shape_levels` together, by a beam search: (B, m, D), (B, m) -> (B, levels, m)."""
        residual = hidden_states.float()[..., None, :]  # (B, m, beam, D)
        codes: list[torch.Tensor] = []  # those of the levels so far, each (B, m, beam)
        for k, level in enumerate(self.shape_levels, 1):
            kept = self.beam if k < len(self.shape_levels) else 1
            n = min(kept, len(level.codebook))
            distances, code = (result.flatten(-2) for result in level.nearest(residual, n))  # (B, m, beam * n)
            best = distances.topk(min(kept, distances.shape[-1]), largest=False).indices
            before, code = best // n, code.gather(-1, best)
            codes = [earlier.gather(-1, before) for earlier in codes] + [code]
            kept_residual = residual.gather(2, before[..., None].expand(*before.shape, residual.shape[-1]))
            residual = kept_residual - level.decode(code)
        return torch.stack([level_codes[..., 0].masked_fill(~mask, ABSENT) for level_codes in codes], dim=1)

    def decode(self, codes: torch.LongTensor) -> torch.Tensor:
        """Looks codes up: (B, num_levels, m) -> (B, m, D) float32, the sum of all levels."""
        return self.decode_core(codes[:, : self.num_core_levels]) + self.decode_shape(codes[:, self.num_core_levels :])

    def decode_core(self, codes: torch.LongTensor) -> torch.Tensor | float:
        """Looks the codes of a core level of its own up: (B, 1, m) -> (B, m, D) float32; 0 without one."""
        return sum(level.decode(codes[:, k]) for k, level in enumerate(self.levels[: self.num_core_levels]))

    def decode_shape(self, codes: torch.LongTensor) -> torch.Tensor:
        """Looks the codes of `shape_levels` up: (B, levels, m) -> (B, m, D) float32, their sum."""
        return sum(level.decode(codes[:, k]) for k, level in enumerate(self.shape_levels))

    @property
    def shape_levels(self) -> nn.ModuleList:
        """The levels that follow each other's residuals: all, or all but a core level of its own."""
        return self.levels[self.num_core_levels :]

    def carry_gradient(self, hidden_states: torch.Tensor, quantized: torch.Tensor) -> torch.Tensor:
        """Lets the gradient pass the quantizer in training: `quantized` in value, differentiable in `hidden_states`.
        Subclasses may pass it in another way than by the rotation trick.
        """
        return rotate_to(hidden_states, quantized)


def rotate_to(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Gives the value of `target`, and carries the gradient back to `source` by the rotation and scaling that maps one
    to the other (rotation trick, arXiv 2410.06424). (..., D), (..., D) -> (..., D).
    """
    norm_s, norm_t = (
        source.norm(dim=-1, keepdim=True).clamp(min=1e-6),
        target.norm(dim=-1, keepdim=True).clamp(min=1e-6),
    )
    s, t = (source / norm_s).detach(), (target / norm_t).detach()
    w = nn.functional.normalize(s + t, dim=-1)
    rotated = source - 2 * (source * w).sum(-1, keepdim=True) * w + 2 * (source * s).sum(-1, keepdim=True) * t
    return rotated * (norm_t / norm_s).detach()


def have_states(count: int, device: torch.device) -> torch.BoolTensor:
    """Tells which processes have any states in their batch, bool (processes,); this process has `count` of them."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return torch.tensor([count > 0], device=device)
    counts = torch.zeros(torch.distributed.get_world_size(), device=device)
    counts[torch.distributed.get_rank()] = count
    return sum_over_processes(counts) > 0


def sum_over_processes(x: torch.Tensor) -> torch.Tensor:
    """Adds up a tensor over the processes that train one model together; one process alone gets its own back."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(x)
    return x


__all__ = ["BeatQuantizer", "BeatVectorQuantizer", "QuantizerOutput", "VectorQuantizerOutput", "rotate_to"]
