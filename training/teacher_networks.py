"""The networks that teach Beat and the ViT: three supervised readers of PTB-XL's statements. They differ in kind, so
that the mean of their answers is better than the answer of any one of them.

All take twelve leads in mV at 100 Hz, float32 (B, 12, n) of any length n, and give the logits of all 76 labels in the
order of `heartcare.agent.statements.NAMES`. They are trained on crops of a few seconds by `teacher.py`.
"""

import math

import torch
from torch import nn

from .statement_labels import FAMILIES


class ResNet1d(nn.Module):
    """A residual network in the shape of resnet1d_wang (Wang et al., 2017; Strodthoff et al., 2021), with a stride of 2
    in each block but the first.
    """

    def __init__(self, width: int = 128):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(12, width, 7, padding=3, bias=False), nn.BatchNorm1d(width), nn.ReLU())
        self.blocks = nn.Sequential(*(ResidualBlock(width, width, stride) for stride in (1, 2, 2)))
        self.heads = FamilyHeads(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Signals (B, 12, n) in mV -> logits (B, 76)."""
        return self.heads(self.blocks(self.stem(x)))


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut: (B, channels, n) -> (B, width, n / stride)."""

    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(channels, width, 5, stride, padding=2, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Conv1d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm1d(width),
        )
        self.shortcut = nn.Sequential(nn.Conv1d(channels, width, 1, stride, bias=False), nn.BatchNorm1d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.body(x) + self.shortcut(x)).relu()


class Inception1d(nn.Module):
    """Six Inception blocks, each three beside a shortcut; the signal is halved in time after the first three."""

    def __init__(self, width: int = 48):
        super().__init__()
        channels = [12, *[4 * width] * 5]
        self.blocks = nn.ModuleList(InceptionBlock(channels[k], width) for k in range(6))
        self.shortcuts = nn.ModuleList(
            nn.Sequential(nn.Conv1d(channels[k], 4 * width, 1, bias=False), nn.BatchNorm1d(4 * width)) for k in (0, 3)
        )
        self.heads = FamilyHeads(4 * width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Signals (B, 12, n) in mV -> logits (B, 76)."""
        for half, shortcut in enumerate(self.shortcuts):
            before = x
            for block in self.blocks[3 * half : 3 * half + 2]:
                x = block(x).relu()
            x = (self.blocks[3 * half + 2](x) + shortcut(before)).relu()
            if half == 0:
                x = nn.functional.avg_pool1d(x, 2)
        return self.heads(x)


class InceptionBlock(nn.Module):
    """Convolutions of three lengths on a bottleneck, and one of a single sample, side by side: (B, channels, n) ->
    (B, 4 * width, n) (InceptionTime, Ismail Fawaz et al., 2020).
    """

    KERNELS = (39, 19, 9)  # samples: 0.4, 0.2 and 0.1 s, a QT interval, a PR interval and a QRS complex

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.bottleneck = nn.Conv1d(channels, width, 1, bias=False)
        self.branches = nn.ModuleList(nn.Conv1d(width, width, k, padding=k // 2, bias=False) for k in self.KERNELS)
        self.single = nn.Conv1d(channels, width, 1, bias=False)
        self.norm = nn.BatchNorm1d(4 * width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        narrow = self.bottleneck(x)
        return self.norm(torch.cat([*(branch(narrow) for branch in self.branches), self.single(x)], dim=1))


class StateSpaceNet(nn.Module):
    """Four state spaces on a convolution that halves the rate to 50 Hz."""

    def __init__(self, width: int = 192, layers: int = 4, dropout: float = 0.1):
        super().__init__()
        self.stem = nn.Conv1d(12, width, 10, stride=2, padding=4)
        self.layers = nn.Sequential(*(StateSpaceLayer(width, dropout) for _ in range(layers)))
        self.norm = ChannelNorm(width)
        self.heads = FamilyHeads(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Signals (B, 12, n) in mV -> logits (B, 76)."""
        states = self.stem(x).permute(1, 2, 0).contiguous()
        return self.heads(self.norm(self.layers(states)).permute(2, 0, 1))


class StateSpaceLayer(nn.Module):
    """A state space over time and a gated linear map over channels, beside a shortcut: (width, n, B) unchanged.

    Channels come first and records last: both products are then matrix products of the tensor as it lies in memory.
    """

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.norm = ChannelNorm(width)
        self.space = StateSpace(width)
        self.mix = nn.Parameter(torch.randn(2 * width, width) * width**-0.5)
        self.bias = nn.Parameter(torch.zeros(2 * width, 1))
        self.dropout = dropout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.space(self.norm(x)).relu()
        if self.training:  # whole channels of a record
            kept = torch.rand(y.shape[0], 1, y.shape[2], device=y.device) >= self.dropout
            y = y * (kept / (1 - self.dropout)).to(y.dtype)
        values, gates = (self.mix @ y.flatten(1) + self.bias.to(y.dtype)).unflatten(1, x.shape[1:]).chunk(2)
        return x + values * gates.sigmoid()


class ChannelNorm(nn.Module):
    """Divides by the root of the mean square over channels: (width, n, B) -> (width, n, B)."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (x.float().square().mean(0) + 1e-6).rsqrt().to(x.dtype) * self.weight.to(x.dtype)


class StateSpace(nn.Module):
    """A diagonal state space in both directions of time (S4D, Gu et al., 2022): (width, n, B) -> (width, n, B).

    The two impulse responses together are one kernel of 2 n - 1 samples for each channel. For the few hundred steps of
    a crop, its product with the signal as a matrix is several times faster on CPUs than a convolution by FFT.

    Args:
        width: Number of channels.
        states: Number of complex states of each channel and direction.
    """

    def __init__(self, width: int, states: int = 16):
        super().__init__()
        self.log_step = nn.Parameter(torch.empty(2, width).uniform_(math.log(1e-2), math.log(0.3)))
        self.log_decay = nn.Parameter(torch.full((2, width, states), math.log(0.5)))
        self.frequency = nn.Parameter(math.pi * torch.arange(states).float().expand(2, width, states).clone())
        self.output = nn.Parameter(torch.randn(2, 2, width, states) * (2 * states) ** -0.5)
        self.skip = nn.Parameter(torch.ones(width, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            kernel = self.kernel(x.shape[1])
        return kernel.to(x.dtype).unfold(1, x.shape[1], 1).flip(2) @ x  # row i of the matrix has distance i - j at j

    def kernel(self, n: int) -> torch.Tensor:
        """Returns the response at distances -(n - 1) to n - 1 in time, float32 (width, 2 n - 1)."""
        pole = torch.complex(-self.log_decay.exp(), self.frequency)  # (2, width, states)
        step = pole * self.log_step.exp()[..., None]
        output = 2 * torch.complex(*self.output) * (step.exp() - 1) / pole  # zero-order hold
        time = torch.arange(n, device=step.device)
        size, angle = (step.real[..., None] * time).exp(), step.imag[..., None] * time  # (2, width, states, n)
        response = output.real[..., None] * angle.cos() - output.imag[..., None] * angle.sin()
        past, future = (response * size).sum(2).unbind(0)
        return torch.cat([future[:, 1:].flip(1), past[:, :1] + future[:, :1] + self.skip, past[:, 1:]], dim=1)


class FamilyHeads(nn.Module):
    """One head for each family of labels, on the mean and the maximum of the features over time: super-classes would
    otherwise decide what a single head attends to, at the cost of form and rhythm.

    Args:
        width: Number of channels of the features.
        hidden: Width of the hidden layer of each head.
        dropout: Share of the pooled features that training leaves out.
    """

    def __init__(self, width: int, hidden: int = 128, dropout: float = 0.3):
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Dropout(dropout), nn.Linear(2 * width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, n)
            )
            for n in FAMILIES.values()
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Features (B, width, n) -> logits float32 (B, 76)."""
        pooled = torch.cat([features.mean(-1), features.amax(-1)], dim=1).float()
        return torch.cat([head(pooled) for head in self.heads], dim=1)


NETWORKS: dict[str, type[nn.Module]] = {
    "resnet": ResNet1d,
    "inception": Inception1d,
    "state_space": StateSpaceNet,
}
