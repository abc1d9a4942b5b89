"""Parts that several agents share: glimpse networks, recurrent cores and the policy of the gaze."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Convolutions = Literal["conv", "wide", "product"]
CONVOLUTIONS: tuple[Convolutions, ...] = get_args(Convolutions)
LSTMState = tuple[Tensor, Tensor]


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


class ReLUCore(nn.Module):
    """h_t = ReLU(Lin(h_{t-1}) + Lin(g_t)) (Mnih et al. 2014, section 4)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.glimpse = nn.Linear(inputs, width)
        self.recurrent = nn.Linear(width, width, bias=False)

    def forward(self, g: Tensor, h: Tensor | None) -> Tensor:
        """G (B, inputs), h (B, width) or None, for zeros -> (B, width)."""
        z = self.glimpse(g)
        if h is not None:
            z = torch.addmm(z, h, self.recurrent.weight.t())
        return F.relu(z)


class ConvGlimpseNetwork(nn.Module):
    """What and where through convolutions: g = ReLU(Lin(convs(retina)) + Lin(gaze)), or as a "product",
    g = ReLU(Lin(convs(retina))) * ReLU(Lin(gaze)) (Ba, Mnih, Kavukcuoglu 2015).

    The scales of the retina are the first convolution's input channels; no padding, no pooling. The paper has
    5x5-64, 3x3-64 and 3x3-128 and a linear layer. Ours is smaller, 4x4-32 and 3x3-64, both with stride 2, and
    the linear layer, for one core's sake; "wide" is 4x4-64 with stride 2, 3x3-128 and 3x3-128 with stride 2.
    Raises ValueError for an unknown kind and a retina that is too small.
    """

    def __init__(self, retina_shape: tuple[int, int, int], width: int, kind: Convolutions = "conv") -> None:
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
        # Channels last: some 1.1 times the speed with AMX, measured on an uneven machine only (BENCH.md).
        retina = retina.contiguous(memory_format=torch.channels_last)
        what, where = self.what(retina), self.where(gaze)
        if self.product:
            return F.relu(what) * F.relu(where)
        return F.relu(what + where)


class PatchConv2d(nn.Conv2d):
    """nn.Conv2d without padding as one matrix product over patches.

    With one channel and a large kernel oneDNN's gradient is slow on processors without AVX-512: conv-read
    trains on 3,900 images a second with this, on 2,050 with nn.Conv2d (LOG.md).
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


class LSTMCore(nn.Module):
    """An LSTM cell (Hochreiter, Schmidhuber 1997) whose state (h, c) may be None, for zeros."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.glimpse = nn.Linear(inputs, 4 * width)
        self.recurrent = nn.Linear(width, 4 * width, bias=False)
        with torch.no_grad():
            self.glimpse.bias[width : 2 * width] = 1  # remember, to begin with (Gers et al. 2000)

    def forward(self, g: Tensor, state: LSTMState | None) -> LSTMState:
        """G (B, inputs), state of two (B, width) -> the next state; its h is the output."""
        gates = self.glimpse(g)
        if state is not None:
            gates = torch.addmm(gates, state[0].to(gates.dtype), self.recurrent.weight.t())
        let_in, keep, let_out, new = gates.split(self.width, 1)
        c = torch.sigmoid(let_in) * torch.tanh(new)
        if state is not None:
            c = torch.sigmoid(keep) * state[1] + c
        return torch.sigmoid(let_out) * torch.tanh(c), c


class GazePolicy(nn.Linear):
    """The locator: a Gaussian around tanh(Lin(h)) with standard deviation `sigma`, in gaze units.

    On a canvas of H pixels one unit is (H - 1) / 2 pixels. learn_sigma: whether sigma is trained, from its
    first value on, which an entropy bonus keeps from vanishing. Raises ValueError unless sigma is positive.
    """

    def __init__(self, inputs: int, sigma: float, learn_sigma: bool = False) -> None:
        super().__init__(inputs, 2)
        if not sigma > 0:
            raise ValueError(f"sigma must be positive, got {sigma}")
        self.sigma = sigma
        self.log_sigma = nn.Parameter(torch.tensor(math.log(sigma))) if learn_sigma else None
        # Large first means saturate tanh, and the eye then sticks in a corner.
        nn.init.normal_(self.weight, std=0.01)
        nn.init.zeros_(self.bias)

    def look(self, h: Tensor, sample: bool) -> tuple[Tensor, Tensor]:
        """The next gaze (B, 2), raw and detached, a draw or the mean, and its log-density (B,)."""
        mean = torch.tanh(self(h))
        log_sigma = self.log_sigma if self.log_sigma is not None else torch.tensor(math.log(self.sigma))
        gaze = mean.detach()
        if sample:
            gaze = gaze + log_sigma.detach().exp() * torch.randn_like(gaze)
        return gaze, gaussian_log_prob(gaze, mean, log_sigma)

    def entropy(self) -> Tensor:
        """Of one gaze, in nats, (): the same wherever the mean is."""
        if self.log_sigma is None:
            raise ValueError("the entropy of a gaze is trained with learn_sigma only")
        return 2 * self.log_sigma + 1 + math.log(2 * math.pi)


def gaussian_log_prob(value: Tensor, mean: Tensor, log_sigma: Tensor) -> Tensor:
    """Log N(value; mean, sigma² I) summed over the last axis: (B, d), log_sigma () -> (B,)."""
    constant = value.shape[-1] * (log_sigma + 0.5 * math.log(2 * math.pi))
    squares = F.mse_loss(mean, value, reduction="none").sum(-1)
    return -squares / (2 * (2 * log_sigma).exp()) - constant
