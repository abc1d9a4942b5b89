"""A small Transformer (Vaswani et al. 2017), the yardstick beside the recurrent models of sentences.

Layer normalisation comes before each part (Xiong et al. 2020), places are learned, and one embedding serves
words that are read, heard and said, if they are of one vocabulary.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents import checks
from agents.agent import Agent, Sees, Spec, State, Step
from agents.parts.vocabulary import check_answers_every_glimpse, embeddings, mean_place


@dataclasses.dataclass(frozen=True)
class TransformerSettings:
    """What the Transformer is built from."""

    width: int = 192
    """The width of embeddings and layers, in units."""
    layers: int = 3
    """How many layers the encoder has, and the decoder."""
    heads: int = 4
    """How many heads an attention has; they share the width."""
    inner: int = 768
    """The width of a layer's feed-forward part, in units."""
    tied: bool = True
    """Whether words that are read, heard and said have one embedding; both sides need one vocabulary."""
    dropout: float = 0.2
    """The share of units that training drops behind embeddings and each part, in [0, 1)."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        checks.positive(self, "width", "layers", "heads", "inner")
        checks.share(self, "dropout")
        if self.width % self.heads:
            raise ValueError(f"heads must divide width, got {self.heads} and {self.width}")

    def build(self, spec: Spec) -> Transformer:
        """The model with fresh weights for texts of `spec`."""
        return Transformer(spec, self)


class Transformer(Agent):
    """Encoder and decoder: see the settings. It is taught, searched and played as models.seq2seq is.

    Raises ValueError for one embedding of two vocabularies and for an environment with more than one glimpse
    an answer, for it needs none.
    """

    sees: Sees = "canvas"
    bound_to = ("horizon",)

    def __init__(self, spec: Spec, settings: TransformerSettings) -> None:
        super().__init__()
        own = self.settings = settings
        check_answers_every_glimpse(spec)
        self.heard, self.words = embeddings(spec, own.width, own.tied)
        self.place = nn.Embedding(max(spec.canvas[0], spec.length), own.width)
        self.encoder = nn.ModuleList(_Layer(own, reads=False) for _ in range(own.layers))
        self.decoder = nn.ModuleList(_Layer(own, reads=True) for _ in range(own.layers))
        self.read_norm, self.said_norm = nn.LayerNorm(own.width), nn.LayerNorm(own.width)
        self.bias = nn.Parameter(torch.zeros(spec.num_answers))
        self.dropout = nn.Dropout(own.dropout)
        nn.init.normal_(self.place.weight, std=own.width**-0.5)

    def initial(self, batch_size: int) -> State:
        """Nothing is read yet."""
        return None

    def forward(self, observation: dict[str, Tensor], state: State, sample: bool) -> tuple[Step, State]:
        """See `Agent.forward`; its gaze is the mean of the places that the word looked at."""
        if state is None:
            state = self.read(observation["canvas"])
        logits, state = self.say(observation["said"][:, 0] + 1, state)
        zeros = logits.new_zeros(len(logits))
        step = Step(mean_place(state["weights"]), logits, zeros, zeros, attention=state["weights"])
        return step, state

    def read(self, canvas: Tensor) -> State:
        """Texts int64 (B, N), 0 beyond their ends -> the state before the first word."""
        there = torch.cat([torch.ones_like(canvas[:, :1]), canvas[:, 1:]], 1) > 0
        xs = self._embed(self.heard if self.words is None else self.words, canvas)
        for layer in self.encoder:
            xs, _ = layer(xs, ~there)
        return {
            "there": there,
            "keys": self.read_norm(xs),
            "heard": canvas.new_zeros(len(canvas), 0),
            "weights": xs.new_zeros(canvas.shape, dtype=torch.float32),
        }

    def say(self, heard: Tensor, state: State) -> tuple[Tensor, State]:
        """The word that was said last, one more than its answer or 0, (B,) -> scores (B, n) and the state.

        All words so far go through the decoder again: answers are short.
        """
        words = torch.cat([state["heard"], heard[:, None]], 1)
        ys, weights = self._decode(words, state, looks=True)
        assert weights is not None
        return self._score(ys[:, -1]), {**state, "heard": words, "weights": weights[:, -1].float()}

    def teach(self, canvas: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
        """As models.seq2seq's: scores (M, n) of all words of the targets; it tells no looks."""
        ys, looks = self._decode(F.pad(target[:, :-1] + 1, (1, 0)), self.read(canvas), looks=False)
        return self._score(ys[target >= 0]), looks

    def _embed(self, table: nn.Embedding, words: Tensor) -> Tensor:
        """Words and their places, (B, T) -> (B, T, width)."""
        scale = self.settings.width**0.5
        place = torch.arange(words.shape[1], device=words.device)
        embedded: Tensor = self.dropout(scale * (table(words) + self.place(place)))
        return embedded

    def _decode(self, heard: Tensor, state: State, *, looks: bool) -> tuple[Tensor, Tensor | None]:
        """Words heard (B, T) -> (B, T, width), and the highest layer's weights (B, T, N) where asked for."""
        xs, weights = self._embed(self.heard, heard), None
        for layer in self.decoder:
            xs, weights = layer(xs, None, state["keys"], ~state["there"], looks=looks)
        return self.said_norm(xs), weights

    def _score(self, ys: Tensor) -> Tensor:
        """Scores of the answers by their embeddings: (M, width) -> float32 (M, n)."""
        return F.linear(ys, self.heard.weight[1:], self.bias).float()


class _Layer(nn.Module):
    """Attention to its own sequence, in a decoder then to what was read, then a feed-forward part."""

    def __init__(self, own: TransformerSettings, *, reads: bool) -> None:
        super().__init__()
        self.reads = reads
        self.own = nn.MultiheadAttention(own.width, own.heads, batch_first=True)
        self.other = nn.MultiheadAttention(own.width, own.heads, batch_first=True) if reads else None
        self.inner = nn.Sequential(
            nn.Linear(own.width, own.inner), nn.ReLU(), nn.Linear(own.inner, own.width)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(own.width) for _ in range(3 if reads else 2))
        self.dropout = nn.Dropout(own.dropout)

    def forward(
        self,
        xs: Tensor,
        padding: Tensor | None,
        keys: Tensor | None = None,
        unread: Tensor | None = None,
        *,
        looks: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Sequences (B, T, width), where they are padding, bool (B, T), and what was read, (B, N, width)."""
        x, weights = self.norms[0](xs), None
        later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        mask = later if self.reads else None
        y, _ = self.own(x, x, x, key_padding_mask=padding, attn_mask=mask, need_weights=False)
        xs = xs + self.dropout(y)
        if self.other is not None:
            y, weights = self.other(
                self.norms[1](xs), keys, keys, key_padding_mask=unread, need_weights=looks
            )
            xs = xs + self.dropout(y)
        return xs + self.dropout(self.inner(self.norms[-1](xs))), weights
