"""The linear head that reads statements from a record's latents: in the training of both encoders and in probes."""

import torch
from torch import nn


class AttentionPooling(nn.Module):
    """Attention pooling with a query and a value vector for each class; at the start, all weights are equal.

    Args:
        width: Width of the latents.
        classes: Number of classes.
    """

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.score = nn.Linear(width, classes)
        self.value = nn.Parameter(torch.zeros(classes, width))
        self.gain = nn.Linear(1, classes)
        nn.init.zeros_(self.score.weight)

    def forward(self, latents: torch.Tensor, gain: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """(B, N, D) latents, (B, 1) log gain, (B, N) bool, True where there is a latent -> (B, classes) logits."""
        latents = latents.float()  # the probes keep them in half precision
        scores = self.score(latents)
        if mask is not None:
            scores = scores.masked_fill(~mask[..., None], torch.finfo(scores.dtype).min)
        return (scores.softmax(1) * (latents @ self.value.T)).sum(1) + self.gain(gain)
