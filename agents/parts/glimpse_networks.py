"""Glimpse networks: what is seen and where, into one vector."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents.parts.convolutions import keep_variance

Convolutions = Literal["conv", "wide", "product"]
CONVOLUTIONS: tuple[Convolutions, ...] = get_args(Convolutions)
Glimpses = Literal["fc", "conv", "wide", "product"]
GLIMPSES: tuple[Glimpses, ...] = get_args(Glimpses)


def make_glimpse_network(
    kind: Glimpses, retina_shape: tuple[int, ...], width: int, words: int = 0
) -> nn.Module:
    """The glimpse network of that kind for a retina (scales * C, s, s), or the one for (size,) words.

    Raises ValueError for an unknown kind, and for convolutions over words.
    """
    if kind not in GLIMPSES:
        raise ValueError(f"glimpses must be one of {GLIMPSES}, got {kind!r}")
    if words:
        if kind != "fc":
            raise ValueError(
                f"glimpses {kind!r} are convolutions over pixels, and a text has words: use 'fc'"
            )
        return WordGlimpseNetwork(words, retina_shape[0], parts=64, width=width)
    if kind == "fc":
        return GlimpseNetwork(math.prod(retina_shape), parts=128, width=width)
    return ConvGlimpseNetwork(retina_shape, width, kind)


class GlimpseNetwork(nn.Module):
    """What and where into one vector: g = ReLU(Lin(h_g) + Lin(h_l)) (Mnih et al. 2014, section 4).

    h_g = ReLU(Lin(retina)), h_l = ReLU(Lin(gaze)), `parts` wide each; g is `width` wide.
    """

    def __init__(self, pixels: int, parts: int, width: int) -> None:
        super().__init__()
        self.what = nn.Linear(pixels, parts)
        self.where = nn.Linear(2, parts)
        self.what_out = nn.Linear(parts, width)
        self.where_out = nn.Linear(parts, width, bias=False)  # one bias is enough for a sum

    def forward(self, retina: Tensor, gaze: Tensor) -> Tensor:
        """Retina (B, scales * C, s, s) in [0, 1], gaze (B, 2) -> (B, width)."""
        what = F.relu(self.what(retina.flatten(1)))
        where = F.relu(self.where(gaze))
        return F.relu(torch.addmm(self.what_out(what), where, self.where_out.weight.t()))


class WordGlimpseNetwork(nn.Module):
    """Words and where they stand into one vector: g = ReLU(Lin(embeddings) + Lin(gaze)).

    words: how many different ones there are; size: how many the eye sees; each has an embedding of `parts`.
    """

    def __init__(self, words: int, size: int, parts: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, parts)
        self.what = nn.Linear(size * parts, width)
        self.where = nn.Linear(1, width, bias=False)

    def forward(self, retina: Tensor, gaze: Tensor) -> Tensor:
        """Retina (B, size) word ids, gaze (B, 1) -> (B, width)."""
        return F.relu(self.what(self.embedding(retina).flatten(1)) + self.where(gaze))


class ConvGlimpseNetwork(nn.Module):
    """What and where through convolutions: g = ReLU(Lin(convs(retina)) + Lin(gaze)), or as a "product",
    g = ReLU(Lin(convs(retina))) * ReLU(Lin(gaze)) (Ba, Mnih, Kavukcuoglu 2015).

    The scales of the retina are the first convolution's input channels; no padding, no pooling. The paper has
    5x5-64, 3x3-64 and 3x3-128 and a linear layer. Ours is smaller, 4x4-32 and 3x3-64, both with stride 2, and
    the linear layer, for one core's sake; "wide" is 4x4-64 with stride 2, 3x3-128 and 3x3-128 with stride 2.
    Raises ValueError for an unknown kind and a retina that is too small.
    """

    def __init__(self, retina_shape: tuple[int, ...], width: int, kind: Convolutions = "conv") -> None:
        super().__init__()
        if kind not in CONVOLUTIONS:
            raise ValueError(f"a convolutional glimpse network is one of {CONVOLUTIONS}, got {kind!r}")
        channels, size, _ = retina_shape
        wide = kind == "wide"
        side = ((size - 4) // 2 + 1 - 3 - 2 * wide) // 2 + 1
        if side < 1:
            raise ValueError(
                f"this glimpse network needs a retina of {12 if wide else 8} or more, got {size}"
            )
        self.product = kind == "product"
        first, last = (64, 128) if wide else (32, 64)
        self.what = nn.Sequential(
            nn.Conv2d(channels, first, 4, stride=2),
            nn.ReLU(),
            *((nn.Conv2d(first, last, 3), nn.ReLU()) if wide else ()),
            nn.Conv2d(last if wide else first, last, 3, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(last * side * side, width),
        )
        self.where = nn.Linear(2, width)
        keep_variance(self.what)
        if self.product:  # times a small random number would hide what is seen: where starts at one
            nn.init.zeros_(self.where.weight)
            nn.init.ones_(self.where.bias)
        else:
            nn.init.normal_(self.where.weight)
            nn.init.zeros_(self.where.bias)

    def forward(self, retina: Tensor, gaze: Tensor) -> Tensor:
        """Retina (B, scales * C, s, s) in [0, 1], gaze (B, 2) -> (B, width)."""
        # Channels last: 1.04 times the speed with AMX, within the noise (results/BENCH.md).
        retina = retina.contiguous(memory_format=torch.channels_last)
        what, where = self.what(retina), self.where(gaze)
        if self.product:
            return F.relu(what) * F.relu(where)
        return F.relu(what + where)
