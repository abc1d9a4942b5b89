"""Sequence to sequence: a network that reads a text and one that says another, word by word.

Without attention the two share what the first remembers at the end (Sutskever, Vinyals, Le 2014), which the
second may also see at every word (Cho et al. 2014); with it every word that is said looks back at all that
were read, softly: after the decoder's step (Luong, Pham, Manning 2015) or before it (Bahdanau, Cho, Bengio
2015). It may also look at one place alone ("hard", Xu et al. 2015). Stacks may be residual, above a
bidirectional layer, as in GNMT (Wu et al. 2016).
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents import checks
from agents.agent import Agent, Sees, Spec, Step
from agents.cores import LSTM, Core, Stack, State
from agents.parts.alignment import Alignment
from agents.parts.vocabulary import at, check_answers_every_glimpse, embeddings, mean_place, turned

Attention = Literal["none", "last", "dot", "general", "concat"]
ATTENTIONS: tuple[Attention, ...] = get_args(Attention)
Feeding = Literal["none", "readout", "context"]
FEEDINGS: tuple[Feeding, ...] = get_args(Feeding)


@dataclasses.dataclass(frozen=True)
class Seq2SeqSettings:
    """What the encoder and the decoder are built from."""

    hidden: int = 256
    """The width of the cores, in units."""
    embedding: int = 256
    """The width of a word's embedding and of what the answers are scored from, in units."""
    layers: int = 1
    """How many LSTMs the encoder and the decoder have above each other."""
    residual: bool = False
    """Whether a layer, from the second on, adds its output to what it sees."""
    bidirectional: bool = True
    """Whether the encoder's first layer reads from both ends, half as wide each way."""
    reverse: bool = False
    """Whether the text is read from its end."""
    attention: Attention = "general"
    """How words that were read are compared with what is said (parts/alignment.py); "last" is the encoder's
    last output at every word, "none" its state to begin with and nothing else."""
    local: int = 0
    """How many words local attention (local-p) spans, 0 is global."""
    hard: bool = False
    """Whether a word looks at one place alone, drawn in training and then the likeliest, and not at the
    weighted mean of all."""
    feeding: Feeding = "none"
    """What the decoder sees beside the last word: nothing, the readout that the last word was scored from
    (input feeding), or the context, attended to before the step, as Bahdanau's does."""
    pointer: int = 0
    """The decoder also sees the next word that it has not named: each of so many answers, the first ones,
    names one, as the leaves of a tree do. 0 is no such pointer."""
    tied: bool = True
    """Whether words that are read, heard and said have one embedding; both sides need one vocabulary."""
    dropout: float = 0.3
    """The share of the embeddings' and the readout's units that training drops, in [0, 1)."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range and for parts that do not fit each other."""
        checks.positive(self, "hidden", "embedding", "layers")
        checks.not_negative(self, "local", "pointer")
        checks.share(self, "dropout")
        if self.attention not in ATTENTIONS or self.feeding not in FEEDINGS:
            raise ValueError(
                f"attention must be one of {ATTENTIONS} and feeding one of {FEEDINGS}, got "
                f"{self.attention!r} and {self.feeding!r}"
            )
        if self.hidden % 2 and self.bidirectional:
            raise ValueError(f"hidden must be even where the encoder reads from both ends, got {self.hidden}")
        if self.local and self.attention in ("none", "last"):
            raise ValueError("local is of attention: leave it out, or choose dot, general or concat")
        if self.hard and (self.attention in ("none", "last") or self.local or self.feeding != "none"):
            raise ValueError("hard is of dot, general or concat: leave out local and feeding")
        if self.attention == "none" and self.feeding == "context":
            raise ValueError("feeding 'context' needs attention: choose another, or last")
        if self.residual and self.layers == 1:
            raise ValueError("residual joins layers: set layers to 2 or more")

    def build(self, spec: Spec) -> Seq2Seq:
        """The model with fresh weights for texts of `spec`."""
        return Seq2Seq(spec, self)


class Seq2Seq(Agent):
    """Encoder, decoder, alignment and readout: see the settings.

    It hears the last word that was said, whoever said it. Raises ValueError for one embedding of two
    vocabularies and for an environment with more than one glimpse an answer, for it needs none.
    """

    sees: Sees = "canvas"

    def __init__(self, spec: Spec, settings: Seq2SeqSettings) -> None:
        super().__init__()
        own = self.settings = settings
        check_answers_every_glimpse(spec)
        self.heard, self.words = embeddings(spec, own.embedding, own.tied)
        half = own.hidden // 2
        self.ahead = LSTM(own.embedding, half if own.bidirectional else own.hidden)
        self.back = LSTM(own.embedding, half) if own.bidirectional else None
        above = [LSTM(own.hidden, own.hidden) for _ in range(own.layers - 1)]
        self.above = _Above(above, own.residual) if above else None
        fed = {"none": 0, "readout": own.embedding, "context": own.hidden}[own.feeding]
        fed += own.hidden * (own.pointer > 0)
        layers = [
            LSTM((own.embedding + fed if i == 0 else own.hidden), own.hidden) for i in range(own.layers)
        ]
        self.decoder: Core = (
            layers[0] if own.layers == 1 else Stack(layers, "residual" if own.residual else "plain")
        )
        attends = own.attention not in ("none", "last")
        self.alignment = Alignment(own.attention, own.hidden, own.hidden, own.local) if attends else None  # type: ignore[arg-type]
        self.readout = nn.Linear(own.hidden * (1 if own.attention == "none" else 2), own.embedding)
        self.bias = nn.Parameter(torch.zeros(spec.num_answers))
        self.dropout = nn.Dropout(own.dropout)

    # -- as an agent: a word a step -------------------------------------------------------------------------

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
        there = (
            torch.cat([torch.ones_like(canvas[:, :1]), canvas[:, 1:]], 1) > 0
        )  # of nothing, its first place
        length = there.sum(1)
        table = self.heard if self.words is None else self.words
        words = self.dropout(table(canvas)).transpose(0, 1)
        if self.settings.reverse:
            words = turned(words, length)
        ys, _ = self.ahead.unroll(words, None)
        last = at(ys, length - 1)
        if self.back is not None:
            backwards, _ = self.back.unroll(turned(words, length), None)
            last = torch.cat([last, at(backwards, length - 1)], -1)
            ys = torch.cat([ys, turned(backwards, length)], -1)
        lasts = [last]
        if self.above is not None:
            ys, higher = self.above.unroll(ys, length)
            lasts += higher
        if self.settings.reverse:
            ys = turned(ys, length)
        keys = ys.transpose(0, 1)
        begun = [self._layers()[i].begin_from(last) for i, last in enumerate(lasts)]
        state: dict[str, Any] = {
            "there": there,
            "core": begun[0] if len(begun) == 1 else tuple(begun),
            "weights": there.new_zeros(there.shape, dtype=torch.float32),
        }
        if self.alignment is not None:
            state |= {"keys": keys, "prepared": self.alignment.prepare(keys)}
        elif self.settings.attention == "last":
            state["keys"] = lasts[-1][:, None]
        if self.settings.feeding == "readout":
            state["fed"] = keys.new_zeros(len(canvas), self.settings.embedding)
        if self.settings.pointer:
            state |= {"words": keys * there[..., None], "named": length.new_zeros(len(canvas))}
        return state

    def say(self, heard: Tensor, state: State) -> tuple[Tensor, State]:
        """The word that was said last, one more than its answer or 0, (B,) -> scores (B, n) and the state."""
        read, state = self._step(heard, state)
        return self._score(read), state

    def _step(self, heard: Tensor, state: State) -> tuple[Tensor, State]:
        """As `say`, but what the scores are made of, (B, embedding)."""
        seen, named = self._hear(heard[:, None], state)
        seen = seen[:, 0]
        if self.settings.feeding == "context":
            context, weights = self._attend(_top(state["core"])[:, None], state)
            assert context is not None
            seen = torch.cat([seen, context[:, 0].to(seen.dtype)], -1)
        elif self.settings.feeding == "readout":
            seen = torch.cat([seen, state["fed"].to(seen.dtype)], -1)
        y, core = self.decoder(seen, state["core"])
        if self.settings.feeding != "context":
            context, weights = self._attend(y[:, None], state)
        read = self._read_out(y[:, None], context)[:, 0]
        after = {**state, "core": core, "weights": weights[:, 0]}
        if named is not None:
            after["named"] = named[:, 0]
        if self.settings.feeding == "readout":
            after["fed"] = read
        return read, after

    # -- as a whole, for teaching ---------------------------------------------------------------------------

    def teach(self, canvas: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of all M words of the targets, those before each being heard: (M, n), and all looks.

        canvas: as in `read`. target: int64 (B, L), padded with -1; M are its words, row after row. The looks
        are (B, L, N), zeros without attention.
        """
        state = self.read(canvas)
        heard = F.pad(target[:, :-1] + 1, (1, 0))
        if self.settings.feeding == "none":
            ys = self._unroll(heard, state)
            context, looks = self._attend(ys, state)
            read = self._read_out(ys, context)
        else:
            each, looked = [], []
            for word in heard.t():
                one, state = self._step(word, state)
                each.append(one)
                looked.append(state["weights"])
            read, looks = torch.stack(each, 1), torch.stack(looked, 1)
        return self._score(read[target >= 0]), looks

    def teach_hard(self, canvas: Tensor, target: Tensor, samples: int) -> Looked:
        """As `teach`, each word looking `samples` times at one place that is drawn by its weights."""
        assert self.alignment is not None
        state = self.read(canvas)
        heard = F.pad(target[:, :-1] + 1, (1, 0))
        ys = self._unroll(heard, state)
        row, step = (target >= 0).nonzero(as_tuple=True)
        weights = self.alignment(ys, state["prepared"], state["there"])[row, step]
        place = torch.multinomial(weights.detach(), samples, replacement=True)
        log = weights.clamp_min(1e-9).log()
        read = self._read_out(
            ys[row, step][:, None].expand(-1, samples, -1), state["keys"][row[:, None], place]
        )
        return Looked(self._score(read), log.gather(1, place), -(weights * log).sum(1))

    def _unroll(self, heard: Tensor, state: State) -> Tensor:
        """The decoder's outputs (B, T, hidden) to what it hears, (B, T), without feeding."""
        seen, _ = self._hear(heard, state)
        ys, _ = self.decoder.unroll(seen.transpose(0, 1), state["core"])
        return ys.transpose(0, 1)

    def _hear(self, heard: Tensor, state: State) -> tuple[Tensor, Tensor | None]:
        """What is heard (B, T), embedded, beside the next word, and how many are then named, (B, T)."""
        seen = self.dropout(self.heard(heard))
        if not self.settings.pointer:
            return seen, None
        named = state["named"][:, None] + ((heard > 0) & (heard <= self.settings.pointer)).cumsum(1)
        words = F.pad(state["words"], (0, 0, 0, 1))  # after the last one nothing
        place = named.clamp_max(words.shape[1] - 1)[..., None].expand(-1, -1, words.shape[2])
        return torch.cat([seen, words.gather(1, place).to(seen.dtype)], -1), named

    def _attend(self, query: Tensor, state: State) -> tuple[Tensor | None, Tensor]:
        """What queries (B, T, hidden) look at, (B, T, hidden), and their weights (B, T, N)."""
        if self.alignment is None:
            weights = state["weights"][:, None].expand(-1, query.shape[1], -1)
            seen = state.get("keys")
            return (None if seen is None else seen.expand(-1, query.shape[1], -1)), weights
        weights = self.alignment(query, state["prepared"], state["there"])
        if self.settings.hard:
            weights = F.one_hot(weights.argmax(-1), weights.shape[-1]).to(weights.dtype)
        return weights.to(state["keys"].dtype) @ state["keys"], weights

    def _read_out(self, ys: Tensor, context: Tensor | None) -> Tensor:
        """tanh(W [y; context]) (Luong et al. 2015, equation 5), (B, T, embedding)."""
        seen = ys if context is None else torch.cat([ys, context.to(ys.dtype)], -1)
        read: Tensor = self.dropout(torch.tanh(self.readout(seen)))
        return read

    def _score(self, read: Tensor) -> Tensor:
        """Scores of the answers by their embeddings: (M, embedding) -> float32 (M, n)."""
        return F.linear(read, self.heard.weight[1:], self.bias).float()

    def _layers(self) -> list[Core]:
        return self.decoder.cores() if isinstance(self.decoder, Stack) else [self.decoder]


class Looked(NamedTuple):
    """M words of which each looked K times: scores (M, K, n), log p of each look (M, K), entropies (M,)."""

    scores: Tensor
    log_prob: Tensor
    entropy: Tensor


class _Above(nn.Module):
    """The encoder's layers above the first, each over the whole text."""

    def __init__(self, layers: list[LSTM], residual: bool) -> None:
        super().__init__()
        self.layers, self.residual = nn.ModuleList(layers), residual

    def unroll(self, xs: Tensor, length: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Outputs of the highest (T, B, n), and of every layer the one at the text's end (B, n)."""
        lasts = []
        for layer in self.layers:
            assert isinstance(layer, LSTM)
            ys, _ = layer.unroll(xs, None)
            lasts.append(at(ys, length - 1))
            xs = xs + ys if self.residual else ys
        return xs, lasts


def _top(core: State) -> Tensor:
    """The last output of the highest LSTM of a decoder's state (B, n)."""
    highest = core if isinstance(core[0], Tensor) else core[-1]
    top: Tensor = highest[0]
    return top
