"""Simple recurrent networks: Elman's, the one whose context has identity weights, Jordan's, and IRNN."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from agents.cores.core import Core, as_in_autocast
from agents.device import full_precision

Activation = Literal["relu", "tanh"]


class Elman(Core):
    """h_t = f(U h_{t-1} + W x_t + b) (Elman 1990); the state and the output are h.

    f is tanh, or a rectifier, as in the core of RAM (Mnih et al. 2014, section 4).
    """

    def __init__(self, inputs: int, width: int, activation: Activation = "relu") -> None:
        super().__init__(inputs, width)
        self.activation = activation
        self.glimpse = nn.Linear(inputs, width)  # W, named as in the published checkpoints
        self.recurrent = nn.Linear(width, width, bias=False)

    def begin_from(self, y: Tensor) -> Tensor:
        """See `Core.begin_from`."""
        return y

    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `Core.forward`; the state is h (B, width)."""
        z = self.glimpse(x)
        if state is not None:
            z = torch.addmm(z, state.to(z.dtype), self.recurrent.weight.t())
        h = torch.relu(z) if self.activation == "relu" else torch.tanh(z)
        return h, h

    def unroll(self, xs: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `Core.unroll`; torch's own loop."""
        h = xs.new_zeros(xs.shape[1], self.width) if state is None else state
        bias = self.glimpse.bias
        xs, h, *weights = as_in_autocast(
            (xs, h, self.glimpse.weight, self.recurrent.weight, bias, torch.zeros_like(bias))
        )
        run = torch.rnn_relu if self.activation == "relu" else torch.rnn_tanh
        ys, last = run(xs, h[None].contiguous(), weights, True, 1, 0.0, torch.is_grad_enabled(), False, False)
        return ys, last[0]


class IRNN(Elman):
    """Rectified units whose recurrent weights begin as the identity (Le, Jaitly, Hinton 2015).

    Its input weights begin as N(0, 0.1²), the paper's as N(0, .001²), and its bias as zero. It computes
    in full precision: what is kept unchanged for hundreds of steps is not kept in bfloat16.
    """

    INPUT = 0.1

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(inputs, width, "relu")
        nn.init.eye_(self.recurrent.weight)
        nn.init.normal_(self.glimpse.weight, std=self.INPUT)
        nn.init.zeros_(self.glimpse.bias)

    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `Core.forward`."""
        with full_precision(x):
            return super().forward(x.to(self.glimpse.weight.dtype), state)

    def unroll(self, xs: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `Core.unroll`."""
        with full_precision(xs):
            return super().unroll(xs.to(self.glimpse.weight.dtype), state)


class IdentityContext(Core):
    """A context without recurrent weights: c_t = c_{t-1} + U x_t, y_t = tanh(P c_t + W x_t + b).

    Errors flow back through the context unchanged, for it has no nonlinearity from step to step. It is the
    network from which SCRN comes (Mikolov et al. 2014, section 3); the state is c.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(inputs, width)
        self.gather = nn.Linear(inputs, width, bias=False)  # U
        self.input = nn.Linear(inputs, width)  # W
        self.context = nn.Linear(width, width, bias=False)  # P

    def begin_from(self, y: Tensor) -> Tensor:
        """See `Core.begin_from`; y becomes the context."""
        return y

    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `Core.forward`; the state is c (B, width)."""
        with full_precision(x):
            x = x.to(self.gather.weight.dtype)
            c = self.gather(x) if state is None else state + self.gather(x)
            return torch.tanh(self.context(c) + self.input(x)), c

    def unroll(self, xs: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `Core.unroll`; the context is a running sum."""
        with full_precision(xs):
            xs = xs.to(self.gather.weight.dtype)
            c = self.gather(xs).cumsum(0)
            if state is not None:
                c = c + state
            return torch.tanh(self.context(c) + self.input(xs)), c[-1]


class Jordan(Core):
    """The context remembers outputs, not hidden units (Jordan 1986): h_t = tanh(W x_t + U c_t + b),
    y_t = tanh(V h_t + d), c_{t+1} = y_t + μ c_t, with μ = 1/2; the state is c.
    """

    MU = 0.5

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(inputs, width)
        self.input = nn.Linear(inputs, width)
        self.context = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width)

    def begin_from(self, y: Tensor) -> Tensor:
        """See `Core.begin_from`."""
        return y

    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `Core.forward`; the state is c (B, width)."""
        z = self.input(x)
        if state is not None:
            z = z + self.context(state)
        y = torch.tanh(self.output(torch.tanh(z)))
        return y, y if state is None else y + self.MU * state
