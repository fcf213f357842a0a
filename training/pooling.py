"""Heads that read statements from a record's latents. The trainings of both encoders use them, and the probes."""

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
        """Reads the classes from the latents of records.

        Args:
            latents: (B, N, D).
            gain: Logarithm of the gain in mV, (B, 1).
            mask: bool (B, N), True where there is a latent; all by default.

        Returns: Logits, float32 (B, classes).
        """
        latents = latents.float()  # the probes keep them in half precision
        scores = self.score(latents)
        if mask is not None:
            scores = scores.masked_fill(~mask[..., None], torch.finfo(scores.dtype).min)
        return (scores.softmax(1) * (latents @ self.value.T)).sum(1) + self.gain(gain)


class TokenReader(nn.Module):
    """Attention pooling behind a hidden layer. The layer reads the core level and the sum of the other levels side by
    side, since the meaning of one code may depend on the other.

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
        """Reads the classes from the latents of records.

        Args:
            core: Latents of the core level, (B, N, D).
            others: Sum of the latents of the other levels, (B, N, D).
            gain: Logarithm of the gain in mV, (B, 1).
            mask: bool (B, N), True where there is a latent; all by default.

        Returns: Logits, float32 (B, classes).
        """
        return self.pooling(self.hidden(torch.cat([core, others], dim=-1).float()), gain, mask)
