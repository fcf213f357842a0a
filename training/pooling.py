"""What reads statements from a record's latents: in the training of Beat's core level, and in the probes."""

import torch
from torch import nn


class AttentionPooling(nn.Module):
    """Each class reads its own weighted mean of the latents; at the start, the plain mean.

    (B, N, D) latents, (B, 1) log gain, (B, N) where there is a latent -> (B, classes) logits.
    """

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.score = nn.Linear(width, classes)
        self.value = nn.Parameter(torch.zeros(classes, width))
        self.gain = nn.Linear(1, classes)
        nn.init.zeros_(self.score.weight)

    def forward(self, latents: torch.Tensor, gain: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        latents = latents.float()  # they are kept in half precision by the probes
        scores = self.score(latents)
        if mask is not None:
            scores = scores.masked_fill(~mask[..., None], torch.finfo(scores.dtype).min)
        return (scores.softmax(1) * (latents @ self.value.T)).sum(1) + self.gain(gain)
