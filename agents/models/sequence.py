"""A recurrent core between two plain layers: the model that learns the tasks of memory."""

from __future__ import annotations

import dataclasses

from torch import Tensor, nn
from torch.nn import functional as F

from agents import checks
from agents.agent import Sees, SequenceSpec
from agents.cores import IRNN, Kind, State, make_core
from agents.device import full_precision


@dataclasses.dataclass(frozen=True)
class SequenceSettings:
    """What a model of sequences is built from."""

    core: Kind = "lstm"
    """The recurrent core, see agents/cores."""
    hidden: int = 128
    """The width of the core, in units."""
    irnn_std: float = IRNN.INPUT
    """The standard deviation that an IRNN's input weights begin with; other cores begin as they do."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        checks.positive(self, "hidden", "irnn_std")

    def build(self, spec: SequenceSpec) -> SequenceModel:
        """The model with fresh weights for sequences of `spec`."""
        return SequenceModel(spec, self.core, self.hidden, self.irnn_std)


class SequenceModel(nn.Module):
    """What a step shows, symbols as one among zeros, goes into the core, and a linear layer on it answers."""

    sees: Sees = "sequence"

    def __init__(
        self, spec: SequenceSpec, core: Kind = "lstm", hidden: int = 128, irnn_std: float = IRNN.INPUT
    ) -> None:
        super().__init__()
        self.spec = spec
        self.core = make_core(core, spec.inputs, hidden, spec.length)
        if isinstance(self.core, IRNN):
            self.core.glimpse.weight.data *= irnn_std / IRNN.INPUT
        self.head = nn.Linear(hidden, spec.outputs)

    def forward(self, inputs: Tensor, state: State = None, last: int = 0) -> tuple[Tensor, State]:
        """Steps (T, B, inputs), or symbols (T, B), -> float32 outputs of the `last` steps (all of them if 0),
        (S, B, outputs), and the core's state.
        """
        if self.spec.symbols:
            inputs = F.one_hot(inputs, self.spec.inputs).to(self.head.weight.dtype)
        ys, state = self.core.unroll(inputs, state)
        with full_precision(ys):
            outputs: Tensor = self.head(ys[-last:].to(self.head.weight.dtype))
        return outputs, state
