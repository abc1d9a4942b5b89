"""The gazing captioner: an eye that looks around on a picture, and a voice that says what it has seen.

It sees its glimpses and nothing else, as RAM and DRAM do. A recurrent core hears the last word that was said
and sees the present glimpse; at every answer it attends to all glimpses so far, each remembered with its
place, and it chooses where to look next (parts/gaze.py). What it knows and says is taught by its words
alone, where it looks by REINFORCE. No other model of this kind is known to us.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents import checks
from agents.agent import Agent, Spec, State, Step
from agents.cores import make_core
from agents.device import full_precision
from agents.parts.alignment import Alignment
from agents.parts.gaze import GazePolicy
from agents.parts.glimpse_networks import ConvGlimpseNetwork, Convolutions


@dataclasses.dataclass(frozen=True)
class GazeCaptionerSettings:
    """What the gazing captioner is built from."""

    hidden: int = 256
    """The width of the core and of what a glimpse becomes, in units."""
    embedding: int = 64
    """The width of a word's embedding and of what the answers are scored from, in units."""
    glimpses: Convolutions = "wide"
    """The convolutions that a glimpse goes through, see ConvGlimpseNetwork."""
    dropout: float = 0.0
    """The share of the embeddings' and the readout's units that training drops, in [0, 1)."""
    sigma: float = 0.02
    """The standard deviation of a sampled gaze at the end of training and after it, in gaze units."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        checks.positive(self, "hidden", "embedding", "sigma")
        checks.share(self, "dropout")

    def build(self, spec: Spec) -> GazeCaptioner:
        """The agent with fresh weights for pictures of `spec`."""
        return GazeCaptioner(spec, self)


class GazeCaptioner(Agent):
    """Glimpse network, core, memory, readout, locator and value baseline: see the settings."""

    def __init__(self, spec: Spec, settings: GazeCaptionerSettings) -> None:
        super().__init__()
        own = self.settings = settings
        self.heard = nn.Embedding(spec.num_answers + 1, own.embedding)
        nn.init.normal_(self.heard.weight, std=own.embedding**-0.5)
        self.glimpse = ConvGlimpseNetwork(spec.retina, own.hidden, own.glimpses)
        self.hear = nn.Linear(own.embedding, own.hidden)
        self.core = make_core("lstm", own.hidden, own.hidden, spec.horizon)
        self.alignment = Alignment("general", own.hidden, own.hidden)
        self.readout = nn.Linear(3 * own.hidden, own.embedding)
        self.bias = nn.Parameter(torch.zeros(spec.num_answers))
        self.judge = nn.Sequential(nn.Linear(own.hidden, own.hidden // 2), nn.ReLU())
        self.locator = GazePolicy(own.hidden // 2, own.sigma)
        self.baseline = nn.Linear(own.hidden // 2, 1)
        self.dropout = nn.Dropout(own.dropout)

    def initial(self, batch_size: int) -> State:
        """The core's own, and the glimpses so far (B, 0, hidden)."""
        none = torch.zeros(batch_size, 0, self.settings.hidden, device=self.bias.device)
        return self.core.initial(batch_size), none

    def forward(self, observation: dict[str, Tensor], state: State, sample: bool) -> tuple[Step, State]:
        """See `Agent.forward`."""
        seen, h, state = self.read(observation, state)
        known = torch.ones(len(h), 1, state[1].shape[1], dtype=torch.bool, device=h.device)
        remembered = self._remember(h[:, None], state[1], known)[:, 0]
        logits = self._score(h, seen, remembered)
        gaze, log_prob, baseline = self.look(h, sample, observation["gaze"])
        return Step(gaze, logits, log_prob, baseline), state

    def read(self, observation: dict[str, Tensor], state: State) -> tuple[Tensor, Tensor, State]:
        """What it sees, (B, hidden), the core's output (B, hidden) and the state."""
        core, glimpses = state
        seen = self.glimpse(observation["retina"], observation["gaze"])
        h, core = self.core(self._with_words(seen, observation["said"][:, 0]), core)
        return seen, h, (core, torch.cat([glimpses, seen[:, None].to(glimpses.dtype)], 1))

    def look(self, h: Tensor, sample: bool, present: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The next gaze (B, 2), its log-density (B,) and the value (B,), of h (B, hidden)."""
        with full_precision(h):
            judged = self.judge(h.float().detach())
            gaze, log_prob = self.locator.look(judged, sample)
            return gaze, log_prob, self.baseline(judged).squeeze(1)

    def valued(self, h: Tensor, gaze: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """The log-density (…,) of gazes that were chosen (…, 2), and the values (…,).

        h (…, hidden): what `look` had when it chose them.
        """
        with full_precision(h):
            judged = self.judge(h.float().detach())
            return self.locator.log_prob(chosen, judged), self.baseline(judged).squeeze(-1)

    def replay(self, retina: Tensor, said: Tensor, gaze: Tensor, playing: Tensor, answered: Tensor) -> Tensor:
        """T glimpses of B episodes that were looked at before, all at once.

        retina (T, B, C, s, s), said int64 (T, B) and gaze (T, B, 2): what was seen. playing: bool (T, B).
        answered bool (T, B): where M answers are asked. Returns their scores (M, n).
        """
        steps, batch = said.shape
        seen = self.glimpse(retina.flatten(0, 1), gaze.flatten(0, 1)).view(steps, batch, -1)
        core, _ = self.initial(batch)
        hs, _ = self.core.unroll(self._with_words(seen, said), core)
        so_far = torch.ones(steps, steps, dtype=torch.bool, device=hs.device).tril()
        remembered = self._remember(
            hs.transpose(0, 1), seen.transpose(0, 1), so_far.expand(batch, -1, -1)
        ).transpose(0, 1)
        return self._score(hs[answered], seen[answered], remembered[answered])

    def _with_words(self, seen: Tensor, said: Tensor) -> Tensor:
        """Glimpses (…, hidden) and the last words (…,), -1 before any, as the core has them, (…, hidden)."""
        return F.relu(seen + self.hear(self.dropout(self.heard(said + 1))))

    def _remember(self, query: Tensor, glimpses: Tensor, known: Tensor) -> Tensor:
        """What queries (B, T, hidden) attend to of glimpses (B, G, hidden) that are known, bool (B, T, G)."""
        weights = self.alignment(query, self.alignment.prepare(glimpses), known)
        remembered: Tensor = weights.to(glimpses.dtype) @ glimpses
        return remembered

    def _score(self, h: Tensor, seen: Tensor, remembered: Tensor) -> Tensor:
        """Scores of the answers by their embeddings, float32 (M, n), of three times (M, hidden)."""
        parts = [h, seen.to(h.dtype), remembered.to(h.dtype)]
        read = self.dropout(torch.tanh(self.readout(torch.cat(parts, -1))))
        return F.linear(read, self.heard.weight[1:], self.bias).float()
