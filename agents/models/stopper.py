"""A model of sequences that also knows when they end, in one of three ways."""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents import checks
from agents.agent import Sees, SequenceSpec
from agents.cores import Kind, State, make_core
from agents.device import full_precision
from agents.parts import steps as steps_of

Way = Literal["symbol", "coin", "countdown"]


@dataclasses.dataclass(frozen=True)
class StopperSettings:
    """What a model that knows when to stop is built from."""

    way: Way = "symbol"
    """How it says that a sequence ends: by a step that means nothing else, by a coin beside every step, or by
    saying how many steps are left, and then counting down."""
    core: Kind = "lstm"
    """The recurrent core, see agents/cores."""
    hidden: int = 128
    """The width of the core, in units."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range and an unknown name."""
        checks.positive(self, "hidden")
        checks.one_of(self, "way", Way)

    def build(self, spec: SequenceSpec) -> Stopper:
        """The model with fresh weights for sequences of `spec`."""
        return Stopper(spec, self)


class Stopper(nn.Module):
    """A core that sees a step, with heads for what follows and for the end.

    Where it counts down it also sees how many steps are left. Of symbols, the step that means the end is one
    more symbol, of pixels a column that is all 1. At most `spec.length` steps are left.
    """

    sees: Sees = "sequence"

    def __init__(self, spec: SequenceSpec, settings: StopperSettings) -> None:
        super().__init__()
        self.spec, self.way = spec, settings.way
        self.content = spec.inputs + (spec.symbols and self.way == "symbol")
        self.core = make_core(settings.core, self.content + 2, settings.hidden, spec.length)
        self.head = nn.Linear(settings.hidden, self.content)
        self.coin = nn.Linear(settings.hidden, 1)
        self.left = nn.Linear(settings.hidden, spec.length + 1)

    @property
    def end(self) -> Tensor:
        """The step that means the end, for `way` "symbol"."""
        return torch.tensor(self.spec.inputs) if self.spec.symbols else torch.ones(self.spec.inputs)

    def forward(self, steps: Tensor, left: Tensor, state: State = None) -> tuple[Tensor, State]:
        """The core's outputs (T, B, hidden), float32, and its state.

        steps: symbols (T, B) or pixels (T, B, inputs). left: how many steps are left after each, (T, B), -1
        where that is not said.
        """
        content = F.one_hot(steps, self.content).float() if self.spec.symbols else steps
        told = torch.stack([left.clamp(min=0) / self.spec.length, (left >= 0).float()], -1)
        ys, state = self.core.unroll(torch.cat([content, told], -1), state)
        return ys.float(), state

    def surprise(self, ys: Tensor, steps: Tensor) -> Tensor:
        """-log p of the steps that followed outputs (T, B, hidden), in nats: (T, B)."""
        with full_precision(ys):
            scores = self.head(ys)
        return steps_of.surprise(scores, steps)

    def draw(self, y: Tensor) -> Tensor:
        """A step that follows, drawn: (B, hidden) -> symbols (B,) or pixels (B, inputs)."""
        return steps_of.draw(self.head(y), self.spec.symbols)

    def means_end(self, steps: Tensor) -> Tensor:
        """Whether drawn steps mean the end, (B,): of pixels, where more than in any digit are 1."""
        if self.spec.symbols:
            return steps == self.spec.inputs
        return steps.mean(-1) > 0.75
