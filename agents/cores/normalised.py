"""LSTMs whose sums are normalised: over the units (LN-LSTM), or over the batch (BN-LSTM)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents.cores.core import Core
from agents.cores.lstm import LSTMState
from agents.device import full_precision


class LNLSTM(Core):
    """An LSTM with layer normalisation (Ba, Kiros, Hinton 2016, supplement).

    gates = LN(U h_{t-1}) + LN(W x_t) + b,  c_t as in an LSTM,  h_t = σ(out) tanh(LN(c_t)).
    Gains begin at 1 and biases at 0, but the forget gate's at 1. The first state is a weight: of zeros, layer
    normalisation's gradient is so large that a long blank beginning makes it infinite.
    """

    EPSILON = 1e-3

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(inputs, width)
        self.input = nn.Linear(inputs, 4 * width, bias=False)
        self.recurrent = nn.Linear(width, 4 * width, bias=False)
        self.input_norm = nn.LayerNorm(4 * width, self.EPSILON, bias=False)
        self.recurrent_norm = nn.LayerNorm(4 * width, self.EPSILON, bias=False)
        self.cell_norm = nn.LayerNorm(width, self.EPSILON)
        self.bias = nn.Parameter(torch.zeros(4 * width))
        self.begin = nn.Parameter(0.1 * torch.randn(2, width))
        with torch.no_grad():
            self.bias[width : 2 * width] = 1

    def initial(self, batch_size: int) -> LSTMState:
        """The state before the first step: h_0 and c_0, which are weights."""
        h, c = self.begin
        return h.expand(batch_size, -1), c.expand(batch_size, -1)

    def begin_from(self, y: Tensor) -> LSTMState:
        """See `Core.begin_from`; the cell is the one that it begins with."""
        return y, self.initial(len(y))[1]

    def forward(self, x: Tensor, state: LSTMState | None) -> tuple[Tensor, LSTMState]:
        """See `Core.forward`; the state is (h, c)."""
        return self._step(self.input_norm(self.input(x)) + self.bias, state or self.initial(len(x)))

    def unroll(self, xs: Tensor, state: LSTMState | None) -> tuple[Tensor, LSTMState]:
        """See `Core.unroll`; what comes from the inputs is computed at once."""
        state = state or self.initial(xs.shape[1])
        ys = []
        for seen in self.input_norm(self.input(xs)) + self.bias:
            y, state = self._step(seen, state)
            ys.append(y)
        return torch.stack(ys), state

    def _step(self, seen: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        h, c = state
        gates = seen + self.recurrent_norm(self.recurrent(h))
        let_in, keep, let_out, new = gates.split(self.width, 1)
        c = torch.sigmoid(keep) * c + torch.sigmoid(let_in) * torch.tanh(new)
        h = torch.sigmoid(let_out) * torch.tanh(self.cell_norm(c))
        return h, (h, c)


class BNLSTM(Core):
    """An LSTM with batch normalisation (Cooijmans, Ballas, Laurent, Gülçehre, Courville 2017, equations 6-8).

    gates = BN(U h_{t-1}) + BN(W x_t) + b,  c_t as in an LSTM,  h_t = σ(out) tanh(BN(c_t)).
    Gains, which begin at 0.1, are shared over time; running means and variances are each step's own, those of
    step `steps` for all later ones. U begins as the identity in each gate, the rest orthogonal. In training
    h_0 has noise of standard deviation 0.1, for what is the same in all of a batch has no variance.
    The state is (h, c) and the number of the step.
    """

    GAIN, NOISE, MOMENTUM, EPSILON = 0.1, 0.1, 0.05, 1e-5

    def __init__(self, inputs: int, width: int, steps: int) -> None:
        super().__init__(inputs, width)
        self.steps = steps
        self.input = nn.Linear(inputs, 4 * width)
        self.recurrent = nn.Linear(width, 4 * width, bias=False)
        with torch.no_grad():
            nn.init.orthogonal_(self.input.weight)
            self.recurrent.weight.copy_(torch.eye(width).repeat(4, 1))
            nn.init.zeros_(self.input.bias)
            self.input.bias[width : 2 * width] = 1
        self.gain_x = nn.Parameter(torch.full((4 * width,), self.GAIN))
        self.gain_h = nn.Parameter(torch.full((4 * width,), self.GAIN))
        self.gain_c = nn.Parameter(torch.full((width,), self.GAIN))
        self.shift_c = nn.Parameter(torch.zeros(width))
        for name, size in (("x", 4 * width), ("h", 4 * width), ("c", width)):
            self.register_buffer(f"mean_{name}", torch.zeros(steps, size))
            self.register_buffer(f"variance_{name}", torch.ones(steps, size))

    def begin_from(self, y: Tensor) -> tuple[Tensor, Tensor, int]:
        """See `Core.begin_from`; the cell is empty."""
        return y, torch.zeros_like(y), 0

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor, int] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor, int]]:
        """See `Core.forward`; the state is (h, c, step)."""
        if state is None:
            h = x.new_zeros(len(x), self.width, dtype=self.gain_c.dtype)
            state = h + self.NOISE * torch.randn_like(h) if self.training else h, torch.zeros_like(h), 0
        h, c, step = state
        row = min(step, self.steps - 1)
        linear = F.linear(x, self.input.weight), self.recurrent(h)
        with full_precision(x):
            seen = self._normalise("x", row, linear[0].to(c.dtype)) * self.gain_x
            kept = self._normalise("h", row, linear[1].to(c.dtype)) * self.gain_h
            let_in, keep, let_out, new = torch.split(seen + kept + self.input.bias, self.width, 1)
            c = torch.sigmoid(keep) * c + torch.sigmoid(let_in) * torch.tanh(new)
            told = self._normalise("c", row, c) * self.gain_c + self.shift_c
            h = torch.sigmoid(let_out) * torch.tanh(told)
        return h, (h, c, step + 1)

    def _normalise(self, name: str, row: int, z: Tensor) -> Tensor:
        """Z-scores of z (B, n), by the batch's own mean and variance in training, else by those kept.

        A single row has no variance: it takes those kept.
        """
        mean, variance = self.get_buffer(f"mean_{name}")[row], self.get_buffer(f"variance_{name}")[row]
        return F.batch_norm(
            z, mean, variance, None, None, self.training and len(z) > 1, self.MOMENTUM, self.EPSILON
        )
