# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""Beat's two networks (paper section 3.2): the encoder of patches into latents, the decoder of latents into patches.

Shapes: B ecgs, S segments of an ecg, L leads, t patches and m queries of a segment, D width.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers.activations import ACT2FN
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .configuration_heartcare import BeatConfig


def eager_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attends in the form of transformers' attention functions: (B, h, n, d) three times -> (B, n, h, d) and the
    weights (B, h, n, n).
    """
    weights = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        weights = weights + attention_mask
    weights = nn.functional.softmax(weights, dim=-1, dtype=torch.float32).to(query.dtype)
    return torch.matmul(weights, value).transpose(1, 2), weights


class BeatAttention(nn.Module):
    """Attention of all positions to all, or of some positions to all."""

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
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(B, n, D) -> the states at `keep`, which attend to all n, and the weights where the kernel gives them."""
        q, k, v = (
            self.qkv_proj(hidden_states).unflatten(-1, (3, -1, self.head_dim)).permute(2, 0, 3, 1, 4)
        )  # (3, B, h, n, d)
        # Only this kernel takes any queries: others mask as if the queries were the last keys, and eager's weights are
        # to be looked at as a whole.
        slices_queries = self.config._attn_implementation == "sdpa"
        if slices_queries:
            # All queries see the same keys, so that one row of the mask is enough.
            q, attention_mask = q[:, :, keep], None if attention_mask is None else attention_mask[:, :, :1]
        attend: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention)
        out, weights = attend(self, q, k, v, attention_mask, scaling=self.scaling, dropout=0.0, is_causal=False)
        out = out if slices_queries else out[:, keep]
        return self.out_proj(out.flatten(2)), weights


class BeatLayer(GradientCheckpointingLayer):
    """Transformer layer with its norms before attention and MLP."""

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
        attended, _ = self.attn(self.attn_norm(hidden_states), attention_mask, keep)
        hidden_states = hidden_states[:, keep] + attended
        return hidden_states + self.mlp(self.mlp_norm(hidden_states))


class BeatTransformer(nn.Module):
    """Layers and a last norm; the last layers compute only the states that are read.

    Args:
        config: The configuration.
        num_layers: Number of layers.
        num_last: Number of last layers that compute only the states that are read, at least 1.
    """

    def __init__(self, config: BeatConfig, num_layers: int, num_last: int = 1):
        super().__init__()
        self.config, self.num_last = config, num_last
        self.layers = nn.ModuleList([BeatLayer(config) for _ in range(num_layers)])
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden_states: torch.Tensor, key_mask: torch.Tensor, keep: slice = slice(None)) -> torch.Tensor:
        """States (B, n, D) and the mask of positions that may be attended to (B, n) -> the states at `keep`; the last
        layers compute no others, and only the first of them reads the others.
        """
        attention_mask = create_bidirectional_mask(self.config, hidden_states, key_mask)
        *first, reading = self.layers[: len(self.layers) - self.num_last + 1]
        for layer in first:
            hidden_states = layer(hidden_states, attention_mask)
        hidden_states = reading(hidden_states, attention_mask, keep)
        if self.num_last > 1:
            attention_mask = create_bidirectional_mask(self.config, hidden_states, key_mask[:, keep])
            for layer in self.layers[len(first) + 1 :]:
                hidden_states = layer(hidden_states, attention_mask)
        return self.norm(hidden_states)


class BeatStem(nn.Module):
    """Turns the signal into frames of a few samples by two convolutions, so that a wave looks the same wherever it
    falls in a patch.
    """

    def __init__(self, config: BeatConfig):
        super().__init__()
        channels, half = config.stem_channels, config.patch_size // 2
        self.reading = nn.Conv1d(config.num_leads, channels, 2 * half + 1, config.stem_stride, padding=half)
        self.mixing = nn.Conv1d(channels, channels, 5, padding=2)
        self.act = ACT2FN[config.hidden_act]

    def forward(self, segments: torch.Tensor) -> torch.Tensor:
        """Signals (B*S, L, segment_length) -> frames (B*S, stem_channels, segment_length / stem_stride)."""
        frames = self.act(self.reading(segments))
        return frames + self.act(self.mixing(frames))


class BeatEncoder(nn.Module):
    """Reads patches by latent queries: H_in = [e; q] (paper section 3.2)."""

    def __init__(self, config: BeatConfig):
        super().__init__()
        self.config = config
        self.stem = BeatStem(config) if config.stem_channels else nn.Identity()
        # Each patch is read with half of either neighbour, as the decoder draws it.
        steps = config.num_leads * config.patch_size
        if config.stem_channels:
            steps = config.stem_channels * (config.patch_size // config.stem_stride)
        self.patch_embedding = nn.Linear(2 * steps, config.hidden_size)
        # Zeros of an absent lead look like a flat lead; this tells the two apart, patch by patch, since a printed page
        # shows most leads for a part of the time.
        self.lead_embedding = nn.Linear(config.num_leads, config.hidden_size, bias=False)
        self.position_embedding = nn.Parameter(torch.empty(config.num_patches, config.hidden_size))
        self.query_embedding = nn.Parameter(torch.empty(config.num_queries, config.hidden_size))
        self.patch_layers = nn.ModuleList([BeatLayer(config) for _ in range(config.num_patch_layers)])
        layers = config.num_encoder_layers - config.num_patch_layers
        self.transformer = BeatTransformer(config, layers, config.num_query_layers)

    def forward(self, segments: torch.Tensor, sample_mask: torch.Tensor, lead_mask: torch.Tensor) -> torch.Tensor:
        """Signals (B*S, L, segment_length) in units of gain, with the bool masks of samples (B*S, segment_length), and
        of leads over time (B*S, L, segment_length) -> query states (B*S, m, D).
        """
        t, m = self.config.num_patches, self.config.num_queries
        patches = self.cut_overlapping(self.stem(segments)).transpose(1, 2).flatten(2)
        patch_mask = sample_mask.unflatten(-1, (t, -1)).any(-1)  # (B*S, t)
        recorded = lead_mask.unflatten(-1, (t, -1)).any(-1).transpose(1, 2)  # (B*S, t, L)
        # Contiguous, since vLLM's matrix product on a CPU takes nothing else, and one segment's transpose is not.
        e = self.patch_embedding(patches) + self.lead_embedding(recorded.to(segments.dtype).contiguous())
        e = (e + self.position_embedding) * patch_mask[..., None]
        if self.patch_layers:
            attention_mask = create_bidirectional_mask(self.config, e, patch_mask)
            for layer in self.patch_layers:
                e = layer(e, attention_mask)
            e = e * patch_mask[..., None]
        # A query is bound to its stretch of time: it starts as the mean of the patches that it stands for.
        q = e.unflatten(1, (m, t // m)).mean(2) + self.query_embedding
        key_mask = torch.cat([patch_mask, patch_mask.new_ones(q.shape[:2])], dim=1)
        return self.transformer(torch.cat([e, q], dim=1), key_mask, keep=slice(t, None))

    def cut_overlapping(self, steps: torch.Tensor) -> torch.Tensor:
        """Cuts patches of twice their length, with zeros beyond the ends: samples or frames (B*S, C, t * size) ->
        (B*S, C, t, 2 * size).
        """
        size = steps.shape[-1] // self.config.num_patches
        blocks = nn.functional.pad(steps, (size // 2, size - size // 2)).unflatten(-1, (-1, size))
        return torch.cat([blocks[:, :, :-1], blocks[:, :, 1:]], dim=-1)


class BeatDecoder(nn.Module):
    """Restores every patch, and predicts those that follow, from the quantized queries alone (query-guided
    bidirectional diffusion).

    A slot is a learned mask token with its place in time, and starts from the latent that stands for its place; a slot
    of the future has no such latent. Slots that start from nothing would have to find their latents first, and predict
    the mean for thousands of training steps.
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
        """Latents (B*S, m, D) and their mask (B*S, m) -> signals (B*S, L, segment_length), or what follows them
        (B*S, L, prediction_length) if `future`, in units of gain.
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
        return self.overlap_add(self.patch_head(self.transformer(hidden_states, key_mask, keep=slice(slots.shape[1]))))

    def overlap_add(self, drawn: torch.Tensor) -> torch.Tensor:
        """Adds up what neighbouring slots draw: (B*S, n, L * 2 * patch_size) -> (B*S, L, n * patch_size)."""
        size = self.config.patch_size
        first, second = (
            drawn.unflatten(-1, (self.config.num_leads, 2, size)).transpose(1, 2).unbind(-2)
        )  # (B*S, L, n, patch_size)
        whole = nn.functional.pad(first.flatten(2), (0, size)) + nn.functional.pad(second.flatten(2), (size, 0))
        return whole[..., size // 2 : size // 2 - size]  # it starts half a patch early


__all__ = ["BeatAttention", "BeatDecoder", "BeatEncoder", "BeatLayer"]
