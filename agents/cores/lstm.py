"""The LSTM (Hochreiter, Schmidhuber 1997)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agents.cores.core import Core

LSTMState = tuple[Tensor, Tensor]  # h and c, (B, width) each


class LSTM(Core):
    """An LSTM with forget gates (Gers et al. 2000), whose biases begin at one; the output is h."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(inputs, width)
        self.glimpse = nn.Linear(inputs, 4 * width)
        self.recurrent = nn.Linear(width, 4 * width, bias=False)
        with torch.no_grad():
            self.glimpse.bias[width : 2 * width] = 1  # remember, to begin with

    def begin_from(self, y: Tensor) -> LSTMState:
        """See `Core.begin_from`; the cell is empty."""
        return y, torch.zeros_like(y)

    def forward(self, x: Tensor, state: LSTMState | None) -> tuple[Tensor, LSTMState]:
        """See `Core.forward`; the state is (h, c)."""
        gates = self.glimpse(x)
        if state is not None:
            gates = torch.addmm(gates, state[0].to(gates.dtype), self.recurrent.weight.t())
        let_in, keep, let_out, new = gates.split(self.width, 1)
        c = torch.sigmoid(let_in) * torch.tanh(new)
        if state is not None:
            c = torch.sigmoid(keep) * state[1] + c
        h = torch.sigmoid(let_out) * torch.tanh(c)
        return h, (h, c)
