"""Heads that read statements from a record's latents: in the training of both encoders and in probes."""

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


class TokenReader(nn.Module):
    """Attention pooling behind a hidden layer, which reads the core level and the sum of the other levels side by side:
    what one code means may depend on the other.

    Args:
        width: Width of the latents.
        classes: Number of classes.
        hidden: Width of the hidden layer.
    """

    def __init__(self, width: int, classes: int, hidden: int = 256):
        super().__init__()
        self.hidden = nn.Sequential(nn.LayerNorm(2 * width), nn.Linear(2 * width, hidden), nn.GELU(), nn.Dropout(0.1))
        self.pooling = AttentionPooling(hidden, classes)

    def forward(
        self, core: torch.Tensor, others: torch.Tensor, gain: torch.Tensor, mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Latents of the core level and of all others (B, N, D) twice, (B, 1) log gain, (B, N) bool, True where there
        is a latent -> (B, classes) logits.
        """
        return self.pooling(self.hidden(torch.cat([core, others], dim=-1).float()), gain, mask)
