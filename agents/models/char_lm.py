"""A language model of characters: what comes next, given all that came before."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from agents import checks
from agents.agent import Sees, SequenceSpec
from agents.cores import Core, Kind, State, make_core
from agents.device import full_precision

GATED = ("lstm", "chrono-lstm", "gru")  # whose recurrent weights begin orthogonal; others begin as they do


@dataclasses.dataclass(frozen=True)
class CharLMSettings:
    """What the language model is built from."""

    core: Kind = "lstm"
    """The recurrent core, see agents/cores."""
    hidden: int = 512
    """The width of the core, in units."""
    embedding: int = 128
    """The width of a character's embedding, in units."""
    input_dropout: float = 0.1
    """The share of the embeddings' units that training drops, the same at all steps of a batch, in [0, 1)."""
    output_dropout: float = 0.35
    """The share of the core's outputs that training drops, the same at all steps of a batch, in [0, 1)."""
    weight_dropout: float = 0.0
    """The share of the core's recurrent weights that training drops (Merity et al. 2018), in [0, 1)."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        checks.positive(self, "hidden", "embedding")
        checks.share(self, "input_dropout", "output_dropout", "weight_dropout")

    def build(self, spec: SequenceSpec) -> CharLM:
        """The model with fresh weights for texts of `spec`; ValueError for sequences of numbers."""
        if not spec.symbols:
            raise ValueError("a language model reads symbols, and these sequences are of numbers")
        return CharLM(spec, self)


class CharLM(nn.Module):
    """Embedding, core, layer normalisation and a linear layer.

    Raises ValueError for weight_dropout of a core that has not one recurrent matrix.
    """

    sees: Sees = "sequence"

    def __init__(self, spec: SequenceSpec, settings: CharLMSettings) -> None:
        super().__init__()
        self.spec, self.settings = spec, settings
        self.embedding = nn.Embedding(spec.inputs, settings.embedding)
        self.reader = Reader(make_core(settings.core, settings.embedding, settings.hidden, spec.length))
        self.norm = nn.LayerNorm(settings.hidden)
        self.head = nn.Linear(settings.hidden, spec.outputs)
        recurrent = dict(self.reader.named_parameters()).get(Reader.RECURRENT)
        if recurrent is None and settings.weight_dropout > 0:
            raise ValueError(f"core {settings.core!r} has not one matrix: leave out weight_dropout")
        if recurrent is not None and settings.core in GATED:
            for gate in torch.split(recurrent, settings.hidden):
                nn.init.orthogonal_(gate.data, gain=0.7)

    def forward(self, symbols: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Symbols (T, B) -> float32 scores of what follows each, (T, B, outputs), and the core's state."""
        own = self.settings
        xs = locked_dropout(self.embedding(symbols), own.input_dropout, self.training)
        if self.training and own.weight_dropout > 0:
            recurrent = dict(self.reader.named_parameters())[Reader.RECURRENT]
            dropped = {Reader.RECURRENT: F.dropout(recurrent, own.weight_dropout)}
            ys, state = functional_call(self.reader, dropped, (xs, state))
        else:
            ys, state = self.reader(xs, state)
        with full_precision(ys):
            ys = locked_dropout(self.norm(ys.float()), own.output_dropout, self.training)
            scores: Tensor = self.head(ys)
        return scores, state


class Reader(nn.Module):
    """A core whose call is a whole sequence, so that its weights can be replaced for one."""

    RECURRENT = "core.recurrent.weight"

    def __init__(self, core: Core) -> None:
        super().__init__()
        self.core = core

    def forward(self, xs: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Core.unroll`."""
        return self.core.unroll(xs, state)


def locked_dropout(xs: Tensor, share: float, training: bool) -> Tensor:
    """Drop the same units at all steps of xs (T, B, n) (Gal, Ghahramani 2016)."""
    if not training or share == 0:
        return xs
    return xs * F.dropout(torch.ones_like(xs[:1]), share)
