"""The LSTM (Hochreiter, Schmidhuber 1997) and the GRU (Cho et al. 2014)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agents.cores.core import Core, as_in_autocast
from agents.device import full_precision

LSTMState = tuple[Tensor, Tensor]  # h and c, (B, width) each


class LSTM(Core):
    """An LSTM with forget gates (Gers et al. 2000), whose biases begin at one; the output is h.

    In the code `let_in`, `keep` and `let_out` are the input, forget and output gates, `new` the candidate.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(inputs, width)
        self.glimpse = nn.Linear(inputs, 4 * width)  # named as in the published checkpoints
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

    def unroll(self, xs: Tensor, state: LSTMState | None) -> tuple[Tensor, LSTMState]:
        """See `Core.unroll`; torch's own loop, whose gates are in another order."""
        zeros = xs.new_zeros(xs.shape[1], self.width)
        h, c = (zeros, zeros) if state is None else state
        weights = [_torchs_order(w) for w in (self.glimpse.weight, self.recurrent.weight, self.glimpse.bias)]
        xs, h, c, *weights = as_in_autocast((xs, h, c, *weights, torch.zeros_like(weights[2])))
        begin = (h[None].contiguous(), c[None].contiguous())
        train = torch.is_grad_enabled()  # cuDNN can go back through what was said to be training alone
        ys, last_h, last_c = torch.lstm(xs, begin, weights, True, 1, 0.0, train, False, False)
        return ys, (last_h[0], last_c[0])


class ChronoLSTM(LSTM):
    """An LSTM that begins by remembering up to `steps` steps (Tallec, Ollivier 2018, section 2).

    The forget gate's biases are log u, u uniform in [1, max(2, steps - 1)], the input gate's their negatives.
    It computes in full precision, for a gate that forgets a thousandth forgets nothing in bfloat16.
    """

    def __init__(self, inputs: int, width: int, steps: int) -> None:
        super().__init__(inputs, width)
        span = torch.empty(width).uniform_(1, max(2, steps - 1)).log()
        with torch.no_grad():
            self.glimpse.bias.zero_()
            self.glimpse.bias[:width] = -span
            self.glimpse.bias[width : 2 * width] = span

    def forward(self, x: Tensor, state: LSTMState | None) -> tuple[Tensor, LSTMState]:
        """See `Core.forward`."""
        with full_precision(x):
            return super().forward(x.to(self.glimpse.weight.dtype), state)

    def unroll(self, xs: Tensor, state: LSTMState | None) -> tuple[Tensor, LSTMState]:
        """See `Core.unroll`."""
        with full_precision(xs):
            return super().unroll(xs.to(self.glimpse.weight.dtype), state)


def _torchs_order(weight: Tensor) -> Tensor:
    """Rows for in, forget, out, new (4 n, …) -> in, forget, new, out."""
    let_in, keep, let_out, new = weight.chunk(4)
    return torch.cat([let_in, keep, new, let_out])


class GRU(Core):
    """The gated recurrent unit, with the reset gate after the product, as in torch; the output is h.

    In mixed precision its state is in bfloat16, as an LSTM's is, and forgets what changes it very little.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(inputs, width)
        self.input = nn.Linear(inputs, 3 * width)
        self.recurrent = nn.Linear(width, 3 * width)

    def begin_from(self, y: Tensor) -> Tensor:
        """See `Core.begin_from`."""
        return y

    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `Core.forward`; the state is h (B, width)."""
        h = x.new_zeros(len(x), self.width) if state is None else state
        reset, keep, new = self.input(x).split(self.width, 1)
        reset_h, keep_h, new_h = self.recurrent(h).split(self.width, 1)
        keep = torch.sigmoid(keep + keep_h)
        h = (1 - keep) * torch.tanh(new + torch.sigmoid(reset + reset_h) * new_h) + keep * h
        return h, h

    def unroll(self, xs: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `Core.unroll`; torch's own loop."""
        h = xs.new_zeros(xs.shape[1], self.width) if state is None else state
        own = (self.input.weight, self.recurrent.weight, self.input.bias, self.recurrent.bias)
        xs, h, *weights = as_in_autocast((xs, h, *own))
        train = torch.is_grad_enabled()  # as of `LSTM.unroll`
        ys, last = torch.gru(xs, h[None].contiguous(), weights, True, 1, 0.0, train, False, False)
        return ys, last[0]
