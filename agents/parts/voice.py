"""A voice: what says words one by one, and looks back at what was read or seen as it needs it.

It is the decoder of sequence-to-sequence models and of captioners, whatever was encoded. Without attention
it knows what it begins with (Sutskever, Vinyals, Le 2014), which it may also hear at every word (Cho et
al. 2014); with it every word looks softly at all places: after the decoder's step (Luong, Pham, Manning
2015) or before it (Bahdanau, Cho, Bengio 2015). It may also look at one place alone ("hard", Xu et al.
2015).
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents import checks
from agents.agent import Agent, Sees, Spec, Step, select
from agents.cores import LSTM, Core, Stack, State
from agents.parts.alignment import Alignment
from agents.parts.steps import drawn
from agents.parts.vocabulary import check_answers_every_glimpse

Attention = Literal["none", "last", "dot", "general", "concat"]
ATTENTIONS: tuple[Attention, ...] = get_args(Attention)
Feeding = Literal["none", "readout", "context", "above"]
FEEDINGS: tuple[Feeding, ...] = get_args(Feeding)
PLACES = ("there", "keys", "prepared")  # parts of a state that words of one text or picture share


@dataclasses.dataclass(frozen=True)
class VoiceSettings:
    """What a voice is built from."""

    hidden: int = 256
    """The width of the cores, in units."""
    embedding: int = 256
    """The width of a word's embedding and of what the answers are scored from, in units."""
    layers: int = 1
    """How many LSTMs lie above each other."""
    residual: bool = False
    """Whether a layer, from the second on, adds its output to what it sees."""
    attention: Attention = "general"
    """How places are compared with what is said (parts/alignment.py); "last": the encoder's last output at
    every word; "none": only as the first state. Cells start at zero; Sutskever et al. copy the encoder's."""
    hard: bool = False
    """Whether a word attends to one place, sampled in training, else the most probable, and not to the
    weighted mean of all."""
    feeding: Feeding = "none"
    """What the decoder sees beside the last word: nothing; the readout that the last word was scored from
    (input feeding); the context, attended to before the step, as Bahdanau's does; or, "above": the lowest
    layer sees nothing more and attends, and the next one sees the context too, much as GNMT's does."""
    dropout: float = 0.3
    """The share of units that training drops, of embeddings, of the readout and between the layers that read,
    in [0, 1)."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range and for parts that do not fit each other."""
        checks.positive(self, "hidden", "embedding", "layers")
        checks.share(self, "dropout")
        if self.attention not in ATTENTIONS or self.feeding not in FEEDINGS:
            raise ValueError(
                f"attention must be one of {ATTENTIONS} and feeding one of {FEEDINGS}, got "
                f"{self.attention!r} and {self.feeding!r}"
            )
        if self.hard and self.attention in ("none", "last"):
            raise ValueError("hard is of dot, general or concat: choose another attention")
        if self.attention == "none" and self.feeding == "context":
            raise ValueError("feeding 'context' needs attention: choose another, or last")
        if self.feeding == "above" and (self.layers == 1 or self.attention in ("none", "last")):
            raise ValueError("feeding 'above' needs two layers and dot, general or concat attention")
        if self.feeding == "above" and self.residual:
            raise ValueError("feeding 'above' has no residual layers: set residual to False")
        if self.residual and self.layers == 1:
            raise ValueError("residual joins layers: set layers to 2 or more")


class Voice(Agent):
    """Base of agents that read the canvas once and then say words: decoder, alignment and readout.

    It hears the last word that was said, whoever said it. heard: embeddings of what is heard, 0 being nothing
    and n + 1 answer n, by which answers are scored, too. local, moves: of local attention, as Alignment's;
    0 is all places. pointer: see `Seq2SeqSettings`. Raises ValueError for an environment with more than one
    glimpse an answer, for it needs none.
    """

    sees: Sees = "canvas"
    bound_to = ("horizon",)

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        check_answers_every_glimpse(spec)

    def _build_voice(
        self,
        spec: Spec,
        settings: VoiceSettings,
        heard: nn.Embedding,
        local: int = 0,
        pointer: int = 0,
        *,
        moves: bool = False,
    ) -> None:
        """Make the decoder, once the encoder is made: weights are drawn in reading order."""
        own = settings
        self.settings, self.heard, self.pointer = settings, heard, pointer
        fed = {"readout": own.embedding, "context": own.hidden}.get(own.feeding, 0)
        fed += own.hidden * (pointer > 0)
        wide = [own.embedding + fed, *[own.hidden] * (own.layers - 1)]
        if own.feeding == "above":
            wide[1] += own.hidden
        layers = [LSTM(inputs, own.hidden) for inputs in wide]
        below = 1 if own.feeding == "above" else own.layers
        self.decoder = _stack(layers[:below], own.residual)
        self.above_look = _stack(layers[below:], False) if layers[below:] else None
        self.alignment = None
        if own.attention != "none" and own.attention != "last":
            self.alignment = Alignment(own.attention, own.hidden, own.hidden, local, moves=moves)
        self.readout = nn.Linear(own.hidden * (1 if own.attention == "none" else 2), own.embedding)
        self.bias = nn.Parameter(torch.zeros(spec.num_answers))
        self.dropout = nn.Dropout(own.dropout)

    @abc.abstractmethod
    def read(self, canvas: Tensor) -> State:
        """What is read or seen (B, …) -> the state before the first word, as `begin` makes it."""

    @abc.abstractmethod
    def gaze_of(self, weights: Tensor) -> Tensor:
        """The gaze (B, axes) that attention weights (B, N) are shown as, detached."""

    def begin(self, keys: Tensor, there: Tensor, lasts: list[Tensor]) -> State:
        """The state before the first word.

        keys (B, N, hidden): the places; there bool (B, N): which there are. lasts: of each layer what it
        begins with, (B, hidden).
        """
        below = len(_layers(self.decoder))
        state: dict[str, Any] = {
            "there": there,
            "core": _begun(self.decoder, lasts[:below]),
            "weights": there.new_zeros(there.shape, dtype=torch.float32),
        }
        if self.above_look is not None:
            state["above"] = _begun(self.above_look, lasts[below:])
        if self.alignment is not None and self.alignment.moves:
            state["centre"] = keys.new_zeros(len(keys), dtype=torch.float32)
        if self.alignment is not None:
            state |= {"keys": keys, "prepared": self.alignment.prepare(keys)}
        elif self.settings.attention == "last":
            state["keys"] = lasts[-1][:, None]
        if self.settings.feeding == "readout":
            state["fed"] = keys.new_zeros(len(keys), self.settings.embedding)
        if self.pointer:
            state |= {"words": keys * there[..., None], "named": there.new_zeros(len(keys), dtype=torch.long)}
        return state

    # -- as an agent: a word a step -------------------------------------------------------------------------

    def initial(self, batch_size: int) -> State:
        """Nothing is read yet."""
        return None

    def forward(self, observation: dict[str, Tensor], state: State, sample: bool) -> tuple[Step, State]:
        """See `Agent.forward`; its gaze is where the word looked.

        Where the environment does not show what was said last, every step's answer is held to be taken.
        """
        if state is None:
            state = self.read(observation["canvas"])
        if "said" in observation:
            logits, state = self.say(observation["said"][:, 0] + 1, state)
        else:
            heard = state.get("spoken", state["weights"].new_zeros(len(state["weights"]), dtype=torch.long))
            logits, state = self.say(heard, state)
            state["spoken"] = logits.argmax(-1) + 1
        zeros = logits.new_zeros(len(logits))
        weights = state["weights"]
        return Step(self.gaze_of(weights), logits, zeros, zeros, attention=weights), state

    def say(self, heard: Tensor, state: State) -> tuple[Tensor, State]:
        """The word that was said last, one more than its answer or 0, (B,) -> scores (B, n) and the state."""
        read, state, _ = self.step(heard, state)
        return self._score(read), state

    def step(self, heard: Tensor, state: State, draw: bool = False) -> tuple[Tensor, State, Tensor]:
        """As `say`, but what the scores are made of, (B, embedding), and the soft look (B, N).

        draw: whether a hard look is drawn by its weights, else it is the likeliest.
        """
        seen, named = self._hear(heard[:, None], state)
        seen = seen[:, 0]
        if self.settings.feeding == "context":
            state, weights, context = self._look(_top(state["core"]), state, draw)
            assert context is not None
            seen = torch.cat([seen, context.to(seen.dtype)], -1)
        elif self.settings.feeding == "readout":
            seen = torch.cat([seen, state["fed"].to(seen.dtype)], -1)
        y, core = self.decoder(seen, state["core"])
        if self.settings.feeding != "context":
            state, weights, context = self._look(y, state, draw)
        after = {**state, "core": core}
        if self.above_look is not None:
            assert context is not None
            y, after["above"] = self.above_look(torch.cat([y, context.to(y.dtype)], -1), state["above"])
        read = self._read_out(y, context)
        if named is not None:
            after["named"] = named[:, 0]
        if self.settings.feeding == "readout":
            after["fed"] = read
        return read, after, weights

    # -- as a whole, for teaching ---------------------------------------------------------------------------

    def teach(self, canvas: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of all M words of the targets, those before each being heard: (M, n), and all looks.

        canvas: as in `read`. target: int64 (B K, L), padded with -1, K to each of what is read, one after
        the other; M are its words, row after row. The looks are (B K, L, N), zeros without attention.
        """
        return self.teach_from(self.read(canvas), target)

    def teach_from(self, state: State, target: Tensor) -> tuple[Tensor, Tensor]:
        """As `teach`, of what is read already."""
        heard = F.pad(target[:, :-1] + 1, (1, 0))
        at_once = self.settings.feeding in ("none", "above")
        read, looks = self._at_once(heard, state) if at_once else self._in_turn(heard, state)
        return self._score(read[target >= 0]), looks

    def _at_once(self, heard: Tensor, state: State) -> tuple[Tensor, Tensor]:
        """What scores are made of, (B K, L, embedding), and looks (B K, L, N), layer by layer."""
        ys, centre = self._unroll(heard, state), None
        if self.alignment is not None and self.alignment.moves:
            begun = self._each(state, heard)["centre"][:, None]
            centre = (begun + self.alignment.advance(ys).cumsum(1)).view(len(state["there"]), -1)
        ys = ys.reshape(len(state["there"]), -1, self.settings.hidden)
        looks = self._chosen(self._weigh(ys, state, centre), draw=False)
        seen = self._seen(looks, state)
        if self.above_look is not None:
            assert seen is not None
            both = torch.cat([ys, seen.to(ys.dtype)], -1).view(*heard.shape, -1)
            higher, _ = self.above_look.unroll(both.transpose(0, 1), self._each(state, heard)["above"])
            ys = higher.transpose(0, 1).reshape(ys.shape)
        read = self._read_out(ys, seen)
        return read.reshape(*heard.shape, -1), looks.reshape(*heard.shape, -1)

    def _in_turn(self, heard: Tensor, state: State) -> tuple[Tensor, Tensor]:
        """The same, word by word."""
        state = self._each(state, heard)
        each, looked = [], []
        for word in heard.t():
            one, state, _ = self.step(word, state)
            each.append(one)
            looked.append(state["weights"])
        return torch.stack(each, 1), torch.stack(looked, 1)

    def teach_hard(self, canvas: Tensor, target: Tensor, samples: int) -> Looked:
        """As `teach`, each word looking `samples` times at one place that is drawn by its weights.

        Where the decoder is fed with what it saw, these are so many courses of the whole text.
        """
        heard, state = F.pad(target[:, :-1] + 1, (1, 0)), self.read(canvas)
        if self.settings.feeding == "none":
            row, step = (target >= 0).nonzero(as_tuple=True)
            ys = self._unroll(heard, state)
            weights = self._weigh(ys.reshape(len(canvas), -1, ys.shape[2]), state).view(*target.shape, -1)
            weights, picture = weights[row, step], row // (len(target) // len(canvas))
            place = drawn(weights.detach(), samples)
            log = weights.clamp_min(1e-9).log()
            read = self._read_out(
                ys[row, step][:, None].expand(-1, samples, -1), state["keys"][picture[:, None], place]
            )
            return Looked(self._score(read), log.gather(1, place), -(weights * log).sum(1))
        heard = heard.repeat_interleave(samples, 0)
        state = self._each(state, heard)
        each = []
        for word in heard.t():
            read, state, soft = self.step(word, state, draw=True)
            log = soft.clamp_min(1e-9).log()
            each.append((read, (state["weights"] * log).sum(1), -(soft * log).sum(1)))
        read, log_prob, entropy = (
            torch.stack(part, 1)
            .view(len(target), samples, target.shape[1], *part[0].shape[1:])
            .transpose(1, 2)[target >= 0]
            for part in zip(*each, strict=True)
        )
        return Looked(self._score(read), log_prob, entropy.mean(1))

    def of_places(self, state: State) -> Tensor:
        """Scores of all answers by each place alone, of what is read, (B, N, n)."""
        keys: Tensor = state["keys"]
        return self._score(self._read_out(keys.new_zeros(keys.shape), keys))

    def of_looks(self, looks: Tensor, state: State) -> Tensor:
        """Scores (B K, L, n) of all answers by looks (B K, L, N) alone, K to each of what is read."""
        seen = self._seen(looks.view(len(state["there"]), -1, looks.shape[2]), state)
        assert seen is not None
        return self._score(self._read_out(torch.zeros_like(seen), seen)).view(*looks.shape[:2], -1)

    def _each(self, state: State, target: Tensor) -> State:
        """The state of what is read (B, …), once for each of its targets, (B K, L), but for the places."""
        read = len(state["there"])
        if len(target) == read:
            return state
        rows = torch.arange(read, device=target.device).repeat_interleave(len(target) // read)
        places = {key: state[key] for key in PLACES if key in state}
        return {**select({key: state[key] for key in state.keys() - places.keys()}, rows), **places}

    def _look(self, query: Tensor, state: State, draw: bool) -> tuple[State, Tensor, Tensor | None]:
        """Look by queries (B K, hidden), K to each of what is read: the state then, weights, contexts."""
        after, read, centre = {**state}, len(state["there"]), None
        if self.alignment is not None and self.alignment.moves:
            after["centre"] = state["centre"] + self.alignment.advance(query)
            centre = after["centre"].view(read, -1)
        weights = self._weigh(query.view(read, -1, query.shape[1]), state, centre)
        look = self._chosen(weights, draw)
        context = self._seen(look, state)
        after["weights"] = look.flatten(0, 1)
        return after, weights.flatten(0, 1), None if context is None else context.flatten(0, 1)

    def _unroll(self, heard: Tensor, state: State) -> Tensor:
        """The decoder's outputs (B K, T, hidden) to what it hears, (B K, T), without feeding."""
        begun = self._each(state, heard)
        seen, _ = self._hear(heard, begun)
        ys, _ = self.decoder.unroll(seen.transpose(0, 1), begun["core"])
        return ys.transpose(0, 1)

    def _hear(self, heard: Tensor, state: State) -> tuple[Tensor, Tensor | None]:
        """What is heard (B, T), embedded, beside the next word, and how many are then named, (B, T)."""
        seen = self.dropout(self.heard(heard))
        if not self.pointer:
            return seen, None
        named = state["named"][:, None] + ((heard > 0) & (heard <= self.pointer)).cumsum(1)
        words = F.pad(state["words"], (0, 0, 0, 1))  # after the last one nothing
        place = named.clamp_max(words.shape[1] - 1)[..., None].expand(-1, -1, words.shape[2])
        return torch.cat([seen, words.gather(1, place).to(seen.dtype)], -1), named

    def _weigh(self, query: Tensor, state: State, centre: Tensor | None = None) -> Tensor:
        """How much queries (B, T, hidden) attend to each place, (B, T, N); without attention zeros.

        centre: of a window that moves, where it is by then, (B, T).
        """
        if self.alignment is None:
            places = state["there"].shape[1]
            return query.new_zeros(*query.shape[:2], places, dtype=torch.float32)
        weights: Tensor = self.alignment(query, state["prepared"], state["there"], centre)
        return weights

    def _chosen(self, weights: Tensor, draw: bool) -> Tensor:
        """Looks of weights (B, T, N): they themselves, or of hard ones 1 at one place and 0 elsewhere."""
        if not self.settings.hard:
            return weights
        place = weights.argmax(-1)
        if draw:
            place = drawn(weights.detach().flatten(0, 1)).view(place.shape)
        return F.one_hot(place, weights.shape[-1]).to(weights.dtype)

    def _seen(self, looks: Tensor, state: State) -> Tensor | None:
        """What looks (B, T, N) see, (B, T, hidden); None without attention."""
        if self.alignment is None:
            last = state.get("keys")
            return None if last is None else last.expand(-1, looks.shape[1], -1)
        seen: Tensor = looks.to(state["keys"].dtype) @ state["keys"]
        return seen

    def _read_out(self, ys: Tensor, context: Tensor | None) -> Tensor:
        """tanh(W [y; context]) (Luong et al. 2015, equation 5), (B, T, embedding)."""
        seen = ys if context is None else torch.cat([ys, context.to(ys.dtype)], -1)
        read: Tensor = self.dropout(torch.tanh(self.readout(seen)))
        return read

    def _score(self, read: Tensor) -> Tensor:
        """Scores of the answers by their embeddings: (M, embedding) -> float32 (M, n)."""
        return F.linear(read, self.heard.weight[1:], self.bias).float()


class Looked(NamedTuple):
    """M words of which each looked K times: scores (M, K, n), log p of each look (M, K), entropies (M,)."""

    scores: Tensor
    log_prob: Tensor
    entropy: Tensor


def _stack(layers: list[LSTM], residual: bool) -> Core:
    """LSTMs above each other as one core."""
    return layers[0] if len(layers) == 1 else Stack(layers, "residual" if residual else "plain")


def _layers(core: Core) -> list[Core]:
    """The LSTMs of `_stack`, from the lowest on."""
    return core.cores() if isinstance(core, Stack) else [core]


def _begun(core: Core, lasts: list[Tensor]) -> State:
    """The state of `_stack` that begins from an output of each layer."""
    begun = [layer.begin_from(last) for layer, last in zip(_layers(core), lasts, strict=True)]
    return tuple(begun) if isinstance(core, Stack) else begun[0]


def _top(core: State) -> Tensor:
    """The last output of the highest LSTM of a decoder's state (B, n)."""
    highest = core if isinstance(core[0], Tensor) else core[-1]
    top: Tensor = highest[0]
    return top
