"""SCRN, the structurally constrained recurrent network (Mikolov, Joulin, Chopra, Mathieu, Ranzato 2014)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agents.cores.core import Core

SCRNState = tuple[Tensor, Tensor]


class SCRN(Core):
    """Fast units s beside slow ones c (section 3 of the paper).

    c_t = (1 - α) A x_t + α c_{t-1},  s_t = σ(P c_t + U x_t + W s_{t-1}),  y_t = [s_t; c_t], α = 0.95.
    A linear layer on y is the paper's V s_t + B c_t. A quarter of the units is slow.
    """

    ALPHA = 0.95

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(inputs, width)
        if width < 4:
            raise ValueError(f"a quarter of SCRN's units is slow: width must be at least 4, got {width}")
        self.slow = width // 4
        self.fast = width - self.slow
        self.gather = nn.Linear(inputs, self.slow, bias=False)  # A
        self.context = nn.Linear(self.slow, self.fast, bias=False)  # P
        self.input = nn.Linear(inputs, self.fast)  # U
        self.recurrent = nn.Linear(self.fast, self.fast, bias=False)  # W

    def begin_from(self, y: Tensor) -> SCRNState:
        """See `Core.begin_from`."""
        return y[:, : self.fast], y[:, self.fast :]

    def forward(self, x: Tensor, state: SCRNState | None) -> tuple[Tensor, SCRNState]:
        """See `Core.forward`; the state is (s, c)."""
        c = (1 - self.ALPHA) * self.gather(x)
        z = self.input(x)
        if state is not None:
            c = c + self.ALPHA * state[1]
            z = z + self.recurrent(state[0])
        s = torch.sigmoid(z + self.context(c))
        return torch.cat([s, c.to(s.dtype)], -1), (s, c)

    def block_matrix(self) -> Tensor:
        """The recurrent weights of the plain network that SCRN is, on [s; c]: (width, width).

        [s_t; c_t] = f(M [s_{t-1}; c_{t-1}] + …), where f leaves c as it is and M = [[W, α P], [0, α I]], for
        P sees c_t, which is α c_{t-1} and the input's part.
        """
        like = self.context.weight
        alpha = self.ALPHA * torch.eye(self.slow, dtype=like.dtype, device=like.device)
        above = torch.cat([self.recurrent.weight, self.context.weight @ alpha], 1)
        below = torch.cat([alpha.new_zeros(self.slow, self.fast), alpha], 1)
        return torch.cat([above, below])


class HoldingSCRN(SCRN):
    """An SCRN half of whose fast units begin by holding what they are given: ours, after the IRNN's identity
    (Le, Jaitly, Hinton 2015).

    σ has a slope of a quarter in its middle, where a weight of 4 to itself and a bias of -2 keep such a unit.
    The other half begin by telling inputs apart: their input weights are N(0, 4²) and
    their biases N(0, 2²), and they do not hear the first half.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(inputs, width)
        half = self.fast // 2
        with torch.no_grad():
            self.recurrent.weight[:half, :half] = 4 * torch.eye(half)
            self.recurrent.weight[:half, half:].normal_(0, 0.02)
            self.recurrent.weight[half:, :half] = 0
            self.context.weight[:half] = 0
            self.input.weight[:half].normal_(0, 0.01)
            self.input.weight[half:].normal_(0, 4)
            self.input.bias[:half] = -2
            self.input.bias[half:].normal_(0, 2)
