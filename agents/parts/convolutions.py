"""Convolutions that several models share, and how they begin."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn import functional as F


class PatchConv2d(nn.Conv2d):
    """nn.Conv2d without padding as one matrix product over patches.

    With one channel and a large kernel oneDNN's gradient is slow on processors without AVX-512: conv-read
    trains on 3,900 images a second with this, on 2,050 with nn.Conv2d (results/LOG.md).
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, filters, h, w)."""
        (height, width), (down, right) = self.kernel_size, self.stride
        patches = x.unfold(2, height, down).unfold(3, width, right)  # (B, C, h, w, height, width)
        patches = patches.permute(0, 2, 3, 1, 4, 5).flatten(3)
        return F.linear(patches, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


def two_convolutions(channels: int, size: int, num_answers: int) -> nn.Sequential:
    """Jaderberg et al.'s (2015) CNN: 64 filters of 9x9 and of 7x7, each pooled, and a linear layer.

    (B, channels, size, size) -> (B, num_answers).
    """
    side, filters = ((size - 8) // 2 - 6) // 2, 64
    layers = nn.Sequential(
        PatchConv2d(channels, filters, 9),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(filters, filters, 7),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(filters * side * side, num_answers),
    )
    keep_variance(layers)
    return layers


def keep_variance(layers: Iterable[nn.Module]) -> None:
    """He initialisation (He et al. 2015): torch's own makes a stack of ReLU layers fade to zero."""
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
