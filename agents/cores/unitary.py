"""Cores whose recurrent map keeps lengths, so that gradients neither vanish nor explode."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize

from agents.cores.core import Core
from agents.device import full_precision

EPSILON = 1e-5  # of modReLU's division


class UnitaryRNN(Core):
    """uRNN (Arjovsky, Shah, Bengio 2016): z_t = modReLU(W z_{t-1} + V x_t), W = D3 R2 F⁻¹ D2 Π R1 F D1.

    z is complex, of width / 2 units, and y its real and imaginary parts beside each other. D are diagonals of
    phases, R reflections, F the Fourier transform and Π a permutation: W has O(width) weights. z_0 is a
    weight. Raises ValueError for an odd width.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(inputs, width)
        if width % 2:
            raise ValueError(f"a unitary core has two numbers a unit: width must be even, got {width}")
        n = width // 2
        self.input = nn.Linear(inputs, width, bias=False)  # V
        self.phases = nn.Parameter(torch.empty(3, n).uniform_(-math.pi, math.pi))
        glorot = math.sqrt(6 / (2 * n))
        self.reflections = nn.Parameter(torch.empty(2, 2, n).uniform_(-glorot, glorot))
        self.bias = nn.Parameter(torch.zeros(n))
        begin = math.sqrt(3 / (2 * n))
        self.begin = nn.Parameter(torch.empty(width).uniform_(-begin, begin))
        self.register_buffer("permutation", torch.randperm(n))
        self.permutation: Tensor

    def initial(self, batch_size: int) -> Tensor:
        """The state before the first step: z_0, as real numbers (B, width)."""
        return self.begin.expand(batch_size, -1)

    def begin_from(self, y: Tensor) -> Tensor:
        """See `Core.begin_from`."""
        return y

    def rotate(self, z: Tensor) -> Tensor:
        """W z of complex z (B, width / 2): as long as z."""
        first, second, third = torch.polar(torch.ones_like(self.phases), self.phases)
        z = torch.fft.fft(first * z, norm="ortho")
        z = self._reflect(z, 0)[:, self.permutation]
        z = torch.fft.ifft(second * z, norm="ortho")
        turned: Tensor = third * self._reflect(z, 1)
        return turned

    def _reflect(self, z: Tensor, which: int) -> Tensor:
        real, imaginary = self.reflections[which]
        v = torch.complex(real, imaginary)
        along = (z @ v.conj())[:, None]
        return z - 2 * along * v / (v.abs().square().sum())

    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `Core.forward`; the state is z as real numbers (B, width)."""
        state = self.initial(len(x)) if state is None else state
        with full_precision(x):
            seen = self.input(x.to(self.input.weight.dtype))
            real, imaginary = state.to(seen.dtype).chunk(2, -1)
            turned = self.rotate(torch.complex(real, imaginary))
            y = self._rectify(seen + torch.cat([turned.real, turned.imag], -1))
        return y, y

    def unroll(self, xs: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `Core.unroll`; W is made once, as a real matrix: faster than its factors at every step."""
        y = self.initial(xs.shape[1]) if state is None else state
        ys = []
        with full_precision(xs):
            seen = self.input(xs.to(self.input.weight.dtype))
            matrix = self.real_matrix()
            y = y.to(seen.dtype)
            for now in seen:
                y = self._rectify(torch.addmm(now, y, matrix))
                ys.append(y)
        return torch.stack(ys), y

    def real_matrix(self) -> Tensor:
        """What a row [Re z, Im z] is multiplied with, from the right, to give that of W z: (width, width)."""
        n = self.width // 2
        unit = torch.eye(n, dtype=self.phases.dtype, device=self.phases.device)
        w = self.rotate(torch.complex(unit, torch.zeros_like(unit)))  # row k is the image of unit vector k
        return torch.cat([torch.cat([w.real, w.imag], 1), torch.cat([-w.imag, w.real], 1)])

    def _rectify(self, y: Tensor) -> Tensor:
        """modReLU: z / |z| · ReLU(|z| + b), of z as real numbers."""
        real, imaginary = y.chunk(2, -1)
        length = torch.sqrt(real.square() + imaginary.square() + EPSILON**2)
        scale = F.relu(length + self.bias) / (length + EPSILON)
        return y * torch.cat([scale, scale], -1)


class Slow(nn.Module):
    """A tenth of a weight, which Adam, whose steps have one length, thereby moves a tenth as fast."""

    RATE = 0.1

    def forward(self, weight: Tensor) -> Tensor:
        """What is used of the weight that is trained."""
        return self.RATE * weight


class OrthogonalRNN(Core):
    """h_t = modReLU(Q h_{t-1} + V x_t), Q orthogonal; the state and the output are h.

    Q is torch's parametrisation and learns a tenth as fast as the rest. modReLU of a real number is
    sign(h) ReLU(|h| + b) (Helfrich, Willmott, Ye 2018).
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(inputs, width)
        self.input = nn.Linear(inputs, width, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))
        recurrent = nn.Linear(width, width, bias=False)
        # Cayley's map takes one solution of a linear system; the exponential takes several products.
        self.recurrent = parametrizations.orthogonal(recurrent, orthogonal_map="cayley")
        steps: Any = self.recurrent.parametrizations
        steps.weight.insert(0, Slow())  # before the map, whose weight begins where it is the identity

    def begin_from(self, y: Tensor) -> Tensor:
        """See `Core.begin_from`."""
        return y

    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `Core.forward`; the state is h (B, width)."""
        with full_precision(x):
            z = self.input(x.to(self.bias.dtype))
            if state is not None:
                rotation: Any = self.recurrent.weight
                z = z + state.to(z.dtype) @ rotation.t()
            y = torch.sign(z) * F.relu(z.abs() + self.bias)
        return y, y

    def unroll(self, xs: Tensor, state: Any) -> tuple[Tensor, Any]:
        """See `Core.unroll`; Q is made once."""
        with parametrize.cached():
            return super().unroll(xs, state)
