"""The reading agent: RAM's family over a text. An eye that sees a few words moves along, and a voice answers.

At each glimpse a recurrent core hears the last word that was said and sees the window; where a question is
asked, it has it in mind. It answers from what it remembers and what it sees; with `memory` also from the
words that it has seen so far, each of which it remembers with its place, and to which it attends. With a
question it remembers them with their neighbours, and the answer is the entity whose mentions it attends to
most, as that of Kadlec et al. (2016), who see the whole document. It
chooses where to look next, a Gaussian around a place that lies some way from the present one
(parts/gaze.py). Reading to the right, some words at a time, is what it begins with. What it remembers is
taught by its answers alone: the noise of REINFORCE, many times as large, would drown them. No other model
of this kind is known to us.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents import checks
from agents.agent import Agent, Spec, State, Step
from agents.cores import LSTM, Kind, make_core
from agents.device import full_precision
from agents.parts.alignment import Alignment
from agents.parts.gaze import GazePolicy
from agents.parts.vocabulary import at, embeddings, trimmed
from glimpse_env.worlds.cloze import FIRST_ENTITY


@dataclasses.dataclass(frozen=True)
class ReadingAgentSettings:
    """What the reading agent is built from."""

    hidden: int = 256
    """The width of the recurrent core, in units."""
    embedding: int = 128
    """The width of a word's embedding and of what the answers are scored from, in units."""
    core: Kind = "lstm"
    """The recurrent core, see agents/cores."""
    memory: bool = True
    """Whether it remembers each word that it saw, and attends to them at every answer."""
    neighbours: int = 4
    """Where a question is asked: with how many words on either side, as far as it saw them, it remembers a
    word."""
    tied: bool = True
    """Whether words that are read, heard and said have one embedding; both sides need one vocabulary."""
    dropout: float = 0.0
    """The share of the embeddings' and the readout's units that training drops, in [0, 1)."""
    sigma: float = 0.01
    """The standard deviation of a sampled gaze at the end of training and after it, in gaze units."""
    reach: float = 0.5
    """How far the eye moves at most, in gaze units."""
    stride: int = 1
    """How many places the eye moves to the right at each glimpse before it learns where to look."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        checks.positive(self, "hidden", "embedding", "sigma", "reach", "stride")
        checks.not_negative(self, "neighbours")
        checks.share(self, "dropout")

    def build(self, spec: Spec) -> ReadingAgent:
        """The agent with fresh weights for texts of `spec`."""
        return ReadingAgent(spec, self)


class ReadingAgent(Agent):
    """Embeddings, core, readout, locator and value baseline: see the settings.

    Raises ValueError for one embedding of two vocabularies.
    """

    bound_to = ("canvas",)  # it remembers words by their places

    def __init__(self, spec: Spec, settings: ReadingAgentSettings) -> None:
        super().__init__()
        own = self.settings = settings
        size = spec.retina[0]
        self.heard, self.words = embeddings(spec, own.embedding, own.tied)
        self.see = nn.Linear((size + 1) * own.embedding + 1, own.hidden)
        self.core = make_core(own.core, own.hidden, own.hidden, spec.horizon)
        self.size, self.places, self.answers = size, int(spec.canvas[0]), spec.num_answers
        self.ask = LSTM(own.embedding, own.hidden) if spec.question else None
        if own.memory and spec.question:
            self.beside = nn.Conv1d(own.embedding, own.hidden, 2 * own.neighbours + 1, padding="same")
            self.alignment = Alignment("general", own.hidden, own.hidden)
        elif own.memory:
            self.place = nn.Embedding(self.places, own.embedding)
            nn.init.normal_(self.place.weight, std=own.embedding**-0.5)
            self.alignment = Alignment("general", own.hidden, own.embedding)
        if not (own.memory and spec.question):
            self.readout = nn.Linear(2 * own.hidden + own.embedding * own.memory, own.embedding)
            self.bias = nn.Parameter(torch.zeros(spec.num_answers))
        self.judge = nn.Sequential(nn.Linear(own.hidden, own.hidden // 2), nn.ReLU())
        self.locator = GazePolicy(own.hidden // 2, own.sigma, axes=spec.axes, reach=own.reach)
        self.baseline = nn.Linear(own.hidden // 2, 1)
        self.dropout = nn.Dropout(own.dropout)
        step = 2 * own.stride / max(spec.canvas[0] - 1, 1)
        nn.init.constant_(self.locator.bias, math.atanh(min(step / own.reach, 0.9)))

    def initial(self, batch_size: int) -> State:
        """The core's own, the word seen at each place, 0 where none was, and the question, unread."""
        words = torch.zeros(batch_size, self.places, dtype=torch.long, device=self.see.weight.device)
        return self.core.initial(batch_size), words, None

    def forward(self, observation: dict[str, Tensor], state: State, sample: bool) -> tuple[Step, State]:
        """See `Agent.forward`."""
        seen, h, state = self.read(observation, state)
        _, words, asked = state
        if not self.settings.memory:
            logits = self._score(self._read_out(h, seen, None))
        elif asked is None:
            logits = self._score(self._read_out(h, seen, self._remember(h[None], words, words[None] > 0)[0]))
        else:
            logits = self._mentioned(h + asked.to(h.dtype), words)
        gaze, log_prob, baseline = self.look(h, sample, observation["gaze"])
        return Step(gaze, logits, log_prob, baseline), state

    def read(self, observation: dict[str, Tensor], state: State) -> tuple[Tensor, Tensor, State]:
        """What it sees and hears, (B, hidden), the core's output (B, hidden) and the state."""
        core, words, asked = state
        if asked is None and self.ask is not None:
            asked = self._asked(observation["question"])
        seen = self._see(observation["retina"], observation["said"][:, 0], observation["gaze"], asked)
        h, core = self.core(seen, core)
        return seen, h, (core, self._written(words, observation["retina"], observation["gaze"]), asked)

    def look(self, h: Tensor, sample: bool, present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The next gaze (B, 1), its log-density (B,) and the value (B,), of h (B, hidden)."""
        with full_precision(h):
            judged = self.judge(h.float().detach())
            gaze, log_prob = self.locator.look(judged, sample, present)
            return gaze, log_prob, self.baseline(judged).squeeze(1)

    def valued(self, h: Tensor, gaze: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """The log-density (…,) of gazes that were chosen (…, 1) at a gaze (…, 1), and the values (…,).

        h (…, hidden): what `look` had when it chose them.
        """
        with full_precision(h):
            judged = self.judge(h.float().detach())
            return self.locator.log_prob(chosen, judged, gaze), self.baseline(judged).squeeze(-1)

    def replay(self, retina: Tensor, said: Tensor, gaze: Tensor, playing: Tensor, answered: Tensor) -> Tensor:
        """T glimpses of B episodes that were looked at before, all at once.

        retina int64 (T, B, size), said int64 (T, B) and gaze (T, B, 1): what was seen. playing bool (T, B):
        whether the episode was still played. answered bool (T, B): where M answers are asked. Returns their
        scores (M, n). Raises ValueError for an agent that is asked a question.
        """
        if self.ask is not None:
            raise ValueError("an agent that is asked a question is taught by Reinforce")
        seen = self._see(retina, said, gaze)
        core, words, _ = self.initial(retina.shape[1])
        hs, _ = self.core.unroll(seen, core)
        remembered = None
        if self.settings.memory:
            known = []
            for window, looked, going_on in zip(retina, gaze, playing, strict=True):
                words = torch.where(going_on[:, None], self._written(words, window, looked), words)
                known.append(words > 0)
            remembered = self._remember(hs, words, torch.stack(known))[answered]
        return self._score(self._read_out(hs[answered], seen[answered], remembered))

    def _see(self, retina: Tensor, said: Tensor, gaze: Tensor, asked: Tensor | None = None) -> Tensor:
        """Windows (…, size), last words (…,), gazes (…, 1) and the question (…, hidden) -> (…, hidden)."""
        window = self.dropout(self._words(retina)).flatten(-2)
        heard = self.dropout(self.heard(said + 1))
        seen = self.see(torch.cat([window, heard, gaze], -1))
        return F.relu(seen if asked is None else seen + asked)

    def _asked(self, question: Tensor) -> Tensor:
        """Questions (B, Q), 0 beyond their ends, as they are remembered at the end: (B, hidden)."""
        assert self.ask is not None
        length = (question > 0).sum(1).clamp_min(1)
        words = self.dropout(self._words(trimmed(question)))
        ys, _ = self.ask.unroll(words.transpose(0, 1), None)
        return at(ys, length - 1)

    def _words(self, ids: Tensor) -> Tensor:
        """Embeddings of words that are read, (…, embedding)."""
        embedded: Tensor = (self.heard if self.words is None else self.words)(ids)
        return embedded

    def _written(self, words: Tensor, retina: Tensor, gaze: Tensor) -> Tensor:
        """The words (B, N) of every place with those of a window (B, size) at a gaze (B, 1) written in."""
        place = (gaze.double() + 1) / 2 * (self.places - 1)  # as precisely as the sensor has it
        first = torch.floor(place + 1 - self.size / 2).long()
        at = first + torch.arange(self.size, device=gaze.device)
        there = (at >= 0) & (at < self.places)
        # What lies outside is written into a place beyond the last, which is then left away.
        room = torch.cat([words, words.new_zeros(len(words), 1)], 1)
        return room.scatter(1, at.where(there, self.places), retina)[:, : self.places]

    def _remember(self, hs: Tensor, words: Tensor, known: Tensor) -> Tensor:
        """What it attends to at T steps, (T, B, embedding).

        hs: (T, B, hidden). words: (B, N), of which `known`, bool (T, B, N), were seen by then.
        """
        keys = self.dropout(self._words(words) + self.place.weight)
        nothing = ~known.any(-1, keepdim=True)  # a first glimpse outside: then its first place
        known = known | (nothing & (torch.arange(self.places, device=words.device) == 0))
        weights = self.alignment(hs.transpose(0, 1), self.alignment.prepare(keys), known.transpose(0, 1))
        remembered: Tensor = (weights.to(keys.dtype) @ keys).transpose(0, 1)
        return remembered

    def _mentioned(self, query: Tensor, words: Tensor) -> Tensor:
        """The log of the attention of a query (B, hidden) to all mentions of each entity, float32 (B, n).

        words: (B, N), 0 where none was seen. An entity that was not seen has 0.0001, so that its log is
        finite.
        """
        there = words > 0
        seen = self.dropout(self._words(words)) * there[..., None]
        keys = torch.tanh(self.beside(seen.transpose(1, 2)).transpose(1, 2))
        nothing = ~there.any(1, keepdim=True)  # a first glimpse outside: then all places alike
        weights = self.alignment(query[:, None].to(keys.dtype), self.alignment.prepare(keys), there | nothing)
        mentions = words[..., None] == torch.arange(self.answers, device=words.device) + FIRST_ENTITY
        mentioned: Tensor = (weights[:, 0, :, None] * mentions).sum(1)
        return mentioned.float().clamp_min(1e-4).log()

    def _read_out(self, h: Tensor, seen: Tensor, remembered: Tensor | None) -> Tensor:
        """What answers are scored from, (…, embedding)."""
        parts = [h, seen.to(h.dtype)] + ([] if remembered is None else [remembered.to(h.dtype)])
        read: Tensor = self.dropout(torch.tanh(self.readout(torch.cat(parts, -1))))
        return read

    def _score(self, read: Tensor) -> Tensor:
        """Scores of the answers by their embeddings: (M, embedding) -> float32 (M, n)."""
        return F.linear(read, self.heard.weight[1:], self.bias).float()
