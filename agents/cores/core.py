"""What every recurrent core is: a step, and the same over a whole sequence."""

from __future__ import annotations

import abc
from typing import Any

import torch
from torch import Tensor, nn

State = Any  # a core's own tree (tuples) of tensors (B, …); None stands for what the core begins with


class Core(nn.Module, abc.ABC):
    """A recurrent core: `y, state = core(x, state)`.

    inputs: the width of x (B, inputs). width: that of y (B, width).
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.inputs, self.width = inputs, width

    def initial(self, batch_size: int) -> State:
        """The state before the first step: zeros, unless a core says otherwise."""
        return None

    @abc.abstractmethod
    def begin_from(self, y: Tensor) -> State:
        """The state that a network chose to begin with: y (B, width) as if it were the last output."""

    @abc.abstractmethod
    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One step: x (B, inputs) -> y (B, width) and the next state."""

    def unroll(self, xs: Tensor, state: State) -> tuple[Tensor, State]:
        """A sequence: xs (T, B, inputs) -> ys (T, B, width) and the last state, equal to T steps."""
        ys = []
        for x in xs:
            y, state = self(x, state)
            ys.append(y)
        return torch.stack(ys), state


def detached(state: State) -> State:
    """The same state without the graph that made it, as training over several stretches of a stream needs."""
    if isinstance(state, tuple):
        return tuple(detached(part) for part in state)
    return state.detach() if isinstance(state, Tensor) else state


def as_in_autocast(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Tensors in the precision that matrix products have here, for torch's fused sequences, which need it."""
    kind = tensors[0].device.type
    if kind in ("cpu", "cuda") and torch.is_autocast_enabled(kind):
        return tuple(tensor.to(torch.get_autocast_dtype(kind)) for tensor in tensors)
    return tensors
