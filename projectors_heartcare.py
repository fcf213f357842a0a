# Copyright 2026 The HeartcareGPT authors. Licensed under the Apache License, Version 2.0.
"""The two projectors of DSPA (paper section 3.3), for signals and for pictures, which share nothing; and a third one
for what was found and measured in a signal.
"""

import torch
from torch import nn
from transformers.activations import ACT2FN

from .configuration_heartcare import HeartcareConfig
from .findings_heartcare import NUMBERS


class SignalProjector(nn.Module):
    """Psi_sig: projects Beat's quantized latents to the language model's width. The gain comes along, since the latents
    are in units of it.
    """

    def __init__(self, config: HeartcareConfig):
        super().__init__()
        width = config.text_config.hidden_size
        self.norm = nn.LayerNorm(config.beat_config.hidden_size)
        self.linear_1 = nn.Linear(config.beat_config.hidden_size, width)
        self.gain = nn.Linear(1, width, bias=False)
        self.act = ACT2FN[config.projector_hidden_act]
        self.linear_2 = nn.Linear(width, width)

    def forward(self, latents: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        """Latents (ecgs, N, D) and gains (ecgs,) in mV -> (ecgs, N, width)."""
        dtype = self.linear_1.weight.dtype
        octaves = torch.log2(gain / 0.2)[:, None, None].to(dtype)  # 0.2 mV is a usual RMS, so the values stay around 0
        return self.linear_2(self.act(self.linear_1(self.norm(latents.to(dtype))) + self.gain(octaves)))


class ImageProjector(nn.Module):
    """Psi_img: pools the patches of a lead tile to a few slots along its time axis, and projects them to the language
    model's width.
    """

    def __init__(self, config: HeartcareConfig):
        super().__init__()
        width = config.text_config.hidden_size
        self.grid = config.vision_config.image_size // config.vision_config.patch_size
        self.slots = config.image_slots_per_tile
        self.norm = nn.LayerNorm(config.vision_config.hidden_size)
        self.linear_1 = nn.Linear(config.vision_config.hidden_size, width)
        self.act = ACT2FN[config.projector_hidden_act]
        self.linear_2 = nn.Linear(width, width)

    def pool(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Pools (tiles, patches, Dv) -> (tiles, slots, Dv). Tokens before the patches (a CLS token) are left out."""
        patches = hidden_states[:, -(self.grid**2) :].transpose(1, 2).unflatten(2, (self.grid, self.grid))
        return nn.functional.adaptive_avg_pool2d(patches, (1, self.slots)).flatten(2).transpose(1, 2)

    def forward(self, slots: torch.Tensor) -> torch.Tensor:
        """Slots (..., Dv) -> (..., width)."""
        return self.linear_2(self.act(self.linear_1(self.norm(slots.to(self.linear_1.weight.dtype)))))


class EvidenceProjector(nn.Module):
    """Projects what was found and measured in an ECG, statements and numbers, to a few tokens of its prompt, so that
    the language model need not find it again.
    """

    def __init__(self, config: HeartcareConfig):
        super().__init__()
        self.tokens, self.width = config.evidence_tokens, config.text_config.hidden_size
        hidden = config.beat_config.hidden_size
        # Each number comes with a flag that says whether it could be measured; the gain is always there.
        self.linear_1 = nn.Linear(len(config.findings) + 2 * len(NUMBERS) + 1, hidden)
        self.act = ACT2FN[config.projector_hidden_act]
        self.linear_2 = nn.Linear(hidden, self.tokens * self.width)

    def forward(self, logits: torch.Tensor, numbers: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Returns the tokens, (ecgs, tokens, width).

        Args:
            logits: Calibrated logits of the statements (ecgs, labels).
            numbers, known: Numbers and flags, as `FindingsHead.standardized` returns them.
        """
        given = torch.cat([logits.clamp(-8, 8) / 4, numbers, known], dim=-1).to(self.linear_1.weight.dtype)
        return self.linear_2(self.act(self.linear_1(given))).unflatten(-1, (self.tokens, self.width))

    def blank(self, device: torch.device) -> torch.Tensor:
        """Returns the projection of zeros, (1, tokens * width), for a step of training that has no ECG."""
        weight = self.linear_1.weight
        return self.linear_2(self.act(self.linear_1(weight.new_zeros(1, weight.shape[1], device=device))))


__all__ = ["EvidenceProjector", "ImageProjector", "SignalProjector"]
