"""A language model: what comes next, given all that came before, in a text or in the rows of a picture."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from agents import checks
from agents.agent import Sees, SequenceSpec
from agents.cores import GRU, Bidirectional, Core, Kind, State, make_core
from agents.device import full_precision
from agents.parts import steps as steps_of

STEPS = 1  # of which statistics are kept: in a text that goes on no step is like another
GATED = ("lstm", "chrono-lstm", "gru")  # whose recurrent weights begin orthogonal; others begin as they do


@dataclasses.dataclass(frozen=True)
class CharLMSettings:
    """What the language model is built from."""

    core: Kind = "lstm"
    """The recurrent core, see agents/cores."""
    hidden: int = 512
    """The width of the core, in units."""
    embedding: int = 128
    """The width of a step's embedding, in units."""
    input_dropout: float = 0.1
    """The share of the embeddings' units that training drops, the same at all steps of a batch, in [0, 1)."""
    output_dropout: float = 0.35
    """The share of the core's outputs that training drops, the same at all steps of a batch, in [0, 1)."""
    weight_dropout: float = 0.0
    """The share of the core's recurrent weights that training drops (Merity et al. 2018), in [0, 1)."""
    discriminator: int = 0
    """The width of the discriminator that professor forcing needs, in units; 0 is none."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        checks.positive(self, "hidden", "embedding")
        checks.not_negative(self, "discriminator")
        checks.share(self, "input_dropout", "output_dropout", "weight_dropout")

    def build(self, spec: SequenceSpec) -> CharLM:
        """The model with fresh weights for texts, or rows of pixels, of `spec`."""
        return CharLM(spec, self)


class CharLM(nn.Module):
    """Embedding, core, layer normalisation and a linear layer.

    A step is a symbol, or `inputs` pixels, 0 or 1. Raises ValueError for weight_dropout of a core that has
    not one recurrent matrix.
    """

    sees: Sees = "sequence"

    def __init__(self, spec: SequenceSpec, settings: CharLMSettings) -> None:
        super().__init__()
        self.spec, self.settings = spec, settings
        embed = nn.Embedding if spec.symbols else nn.Linear
        self.embedding = embed(spec.inputs, settings.embedding)
        steps = spec.length if settings.core == "chrono-lstm" else STEPS
        self.reader = Reader(make_core(settings.core, settings.embedding, settings.hidden, steps))
        self.norm = nn.LayerNorm(settings.hidden)
        self.head = nn.Linear(settings.hidden, spec.outputs)
        self.discriminator = (
            Discriminator(settings.hidden, settings.discriminator) if settings.discriminator else None
        )
        recurrent = dict(self.reader.named_parameters()).get(Reader.RECURRENT)
        if recurrent is None and settings.weight_dropout > 0:
            raise ValueError(f"core {settings.core!r} has not one matrix: leave out weight_dropout")
        if recurrent is not None and settings.core in GATED:
            for gate in torch.split(recurrent, settings.hidden):
                nn.init.orthogonal_(gate.data, gain=0.7)

    def forward(self, steps: Tensor, state: State = None) -> tuple[Tensor, State]:
        """What follows each step, and the core's state.

        Symbols (T, B), or pixels (T, B, inputs) -> float32 scores (T, B, outputs).
        """
        ys, state = self.read(steps, state)
        return self.score(ys), state

    def read(self, steps: Tensor, state: State) -> tuple[Tensor, State]:
        """Steps as in `forward` -> the core's outputs (T, B, hidden) and its state."""
        own = self.settings
        xs = locked_dropout(self.embedding(steps), own.input_dropout, self.training)
        if self.training and own.weight_dropout > 0:
            recurrent = dict(self.reader.named_parameters())[Reader.RECURRENT]
            dropped = {Reader.RECURRENT: F.dropout(recurrent, own.weight_dropout)}
            ys, state = functional_call(self.reader, dropped, (xs, state))
        else:
            ys, state = self.reader(xs, state)
        return ys, state

    def score(self, ys: Tensor) -> Tensor:
        """The core's outputs (T, B, hidden) -> float32 scores of what follows (T, B, outputs)."""
        with full_precision(ys):
            ys = locked_dropout(self.norm(ys.float()), self.settings.output_dropout, self.training)
            scores: Tensor = self.head(ys)
        return scores

    def surprise(self, scores: Tensor, steps: Tensor) -> Tensor:
        """-log p of the steps that came, (T, B), in nats: of a symbol, or of all pixels of a row."""
        return steps_of.surprise(scores, steps)

    def draw(self, scores: Tensor, temperature: float = 1.0) -> Tensor:
        """A step that follows, drawn from scores (B, outputs): symbols (B,) or pixels (B, outputs).

        temperature: what scores are divided by; at 0 it is the most probable step.
        """
        return steps_of.draw(scores, self.spec.symbols, temperature)


class Reader(nn.Module):
    """A core whose call is a whole sequence, so that its weights can be replaced for one."""

    RECURRENT = "core.recurrent.weight"

    def __init__(self, core: Core) -> None:
        super().__init__()
        self.core = core

    def forward(self, xs: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Core.unroll`."""
        return self.core.unroll(xs, state)


class Discriminator(nn.Module):
    """Tells how a core behaves that reads the truth from how it behaves that reads itself (Lamb et al. 2016).

    A bidirectional GRU on the core's outputs, then a layer of rectified units, at every step.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.reader = Bidirectional(GRU(inputs, width), GRU(inputs, width))
        self.head = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, ys: Tensor) -> Tensor:
        """Outputs of a core (T, B, inputs) -> scores (B,), above zero for those that read the truth."""
        with full_precision(ys):
            told: Tensor = self.head(self.reader.unroll(ys.float()))
        return told[..., 0].mean(0)


def locked_dropout(xs: Tensor, share: float, training: bool) -> Tensor:
    """Drop the same units at all steps of xs (T, B, n) (Gal, Ghahramani 2016)."""
    if not training or share == 0:
        return xs
    return xs * F.dropout(torch.ones_like(xs[:1]), share)
