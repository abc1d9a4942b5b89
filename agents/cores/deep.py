"""Deep recurrent networks (Pascanu, Gulcehre, Cho, Bengio 2014): deep steps, deep outputs and stacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from agents.cores.core import Core, State

Joined = Literal["plain", "residual", "skip"]


class DeepTransition(Core):
    """DT(S)-RNN: h_t = tanh(V tanh(W x_t + U h_{t-1} + b) + S h_{t-1} + d); the state and the output are h.

    S h_{t-1} is the shortcut, which the plain DT-RNN lacks.
    """

    def __init__(self, inputs: int, width: int, shortcut: bool = True) -> None:
        super().__init__(inputs, width)
        self.input = nn.Linear(inputs, width)
        self.recurrent = nn.Linear(width, width, bias=False)
        self.above = nn.Linear(width, width)
        self.shortcut = nn.Linear(width, width, bias=False) if shortcut else None

    def begin_from(self, y: Tensor) -> Tensor:
        """See `Core.begin_from`."""
        return y

    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `Core.forward`; the state is h (B, width)."""
        z = self.input(x)
        if state is not None:
            z = z + self.recurrent(state)
        z = self.above(torch.tanh(z))
        if state is not None and self.shortcut is not None:
            z = z + self.shortcut(state)
        h = torch.tanh(z)
        return h, h


class DeepOutput(Core):
    """DOT(S)-RNN: a deep transition, and between it and the answer one more layer, y_t = tanh(O h_t + e)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(inputs, width)
        self.transition = DeepTransition(inputs, width)
        self.output = nn.Linear(width, width)

    def begin_from(self, y: Tensor) -> Tensor:
        """See `Core.begin_from`; y becomes the state below the output."""
        return y

    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `Core.forward`; the state is h (B, width)."""
        h, state = self.transition(x, state)
        return torch.tanh(self.output(h)), state


class Stack(Core):
    """Cores above each other; the output is the highest one's. The state is a tuple of theirs.

    joined: a layer sees the output of the layer below it ("plain"); it adds its own to what it sees
    ("residual", from the second layer on); or it sees the outputs of the two layers below it ("skip", the
    input counting as one).
    """

    def __init__(self, layers: Sequence[Core], joined: Joined = "plain") -> None:
        super().__init__(layers[0].inputs, layers[-1].width)
        self.layers = nn.ModuleList(layers)
        self.joined = joined

    def initial(self, batch_size: int) -> State:
        """The state before the first step."""
        return tuple(layer.initial(batch_size) for layer in self.cores())

    def begin_from(self, y: Tensor) -> State:
        """See `Core.begin_from`; the layers below the highest begin as they do."""
        *below, highest = self.cores()
        return (*(layer.initial(len(y)) for layer in below), highest.begin_from(y))

    def cores(self) -> list[Core]:
        """The layers, from the lowest on."""
        return [layer for layer in self.layers if isinstance(layer, Core)]

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Core.forward`."""
        return self._through(x, state, len(x), one_step=True)

    def unroll(self, xs: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Core.unroll`; layer by layer, each over the whole sequence."""
        return self._through(xs, state, xs.shape[1], one_step=False)

    def _through(self, x: Tensor, state: State, batch_size: int, *, one_step: bool) -> tuple[Tensor, State]:
        states = self.initial(batch_size) if state is None else state
        below, seen, after = x, x, []
        for k, (layer, own) in enumerate(zip(self.cores(), states, strict=True)):
            y, own = layer(seen, own) if one_step else layer.unroll(seen, own)
            after.append(own)
            if self.joined == "residual" and k > 0:
                y = y + seen
            seen = torch.cat([y, below.to(y.dtype)], -1) if self.joined == "skip" else y
            below = y
        return below, tuple(after)


class Bidirectional(nn.Module):
    """Two cores over a whole sequence, one from each end: it has no step, for it needs the end."""

    def __init__(self, forwards: Core, backwards: Core) -> None:
        super().__init__()
        self.forwards, self.backwards = forwards, backwards
        self.width = forwards.width + backwards.width

    def unroll(self, xs: Tensor) -> Tensor:
        """A sequence: xs (T, B, inputs) -> ys (T, B, width), what came before beside what comes after."""
        ahead, _ = self.forwards.unroll(xs, None)
        back, _ = self.backwards.unroll(xs.flip(0), None)
        return torch.cat([ahead, back.flip(0)], -1)
