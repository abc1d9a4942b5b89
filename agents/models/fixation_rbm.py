"""A Boltzmann machine that adds up foveal glimpses, and a controller that says where to look (Larochelle,
Hinton 2010): the multi-fixation RBM.

It joins hidden units h, 0 or 1, an answer y, one-hot, and glimpses x_1 … x_K, each with where it was taken:

E(y, h, x) = -dᵀy - cᵀh - hᵀUy - Σ_k (bᵀx_k + hᵀ P diag(z(gaze_k)) F x_k).

The weights that join glimpse, gaze and hidden units are of third order. They are factored: F filters the
glimpse, z weighs the filters by where it was taken, P pools them. A pixel in [0, 1] counts as the probability
of a binary one. Then p(y | x_1 … x_k) ∝ exp(d_y) Π_j (1 + exp(c_j + U_jy + (Σ_k P diag(z(gaze_k)) F x_k)_j))
is computed exactly. After each glimpse a linear controller predicts, for every place of a grid, log p of the
right answer after a look there; the next look goes to the best place.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents import checks, parallel
from agents.agent import Agent, Spec, State, Step
from agents.device import full_precision
from agents.parts import steps


@dataclasses.dataclass(frozen=True)
class FixationRBMSettings:
    """What the machine and its controller are built from."""

    hidden: int = 500
    """How many hidden units there are."""
    filters: int = 500
    """How many filters a glimpse goes through before they are weighed and pooled."""
    grid: int = 7
    """How many rows and columns the grid of places has. The controller chooses among the places; z is learned
    at their middles and interpolated between them."""
    explore: float = 0.1
    """The probability that a sampled gaze goes to any place of the grid, all being as likely, at the end of
    training and after it, in [0, 1)."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        checks.positive(self, "hidden", "filters", "grid")
        checks.share(self, "explore")

    def build(self, spec: Spec) -> FixationRBM:
        """The machine with fresh weights for an environment of `spec`."""
        return FixationRBM(spec, self)


class Episode(NamedTuple):
    """T glimpses of B episodes as `FixationRBM.episode` sees them, with gradients.

    logits (T, B, n): the answer after each glimpse. expected (T, B, places): log p of the right answer that
    the controller predicts for a next look at each place. contrast (T, B): see `FixationRBM.contrast`.
    """

    logits: Tensor
    expected: Tensor
    contrast: Tensor


class FixationRBM(Agent):
    """Machine and controller: see the settings. Raises ValueError for scenes of more than one answer.

    A learner may set `explore` while it trains.
    """

    def __init__(self, spec: Spec, settings: FixationRBMSettings) -> None:
        super().__init__()
        if spec.length > 1:
            raise ValueError(f"a fixation RBM gives one answer a scene, and here are up to {spec.length}")
        own = self.settings = settings
        pixels, places = math.prod(spec.retina), own.grid**2
        self.filter = nn.Linear(pixels, own.filters, bias=False)  # F
        self.gates = nn.Parameter(torch.normal(0.0, 1.0, (1, own.filters, own.grid, own.grid)))  # z
        self.pool = nn.Linear(own.filters, own.hidden, bias=False)  # P
        self.label = nn.Parameter(torch.normal(0.0, 0.1, (own.hidden, spec.num_answers)))  # U
        self.hidden_bias = nn.Parameter(torch.zeros(own.hidden))  # c
        self.label_bias = nn.Parameter(torch.zeros(spec.num_answers))  # d
        self.pixel_bias = nn.Parameter(torch.zeros(pixels))  # b
        self.controller = nn.Linear(own.hidden + places, places)
        self.explore = own.explore

    # -- as an agent ----------------------------------------------------------------------------------------

    def initial(self, batch_size: int) -> State:
        """Nothing is seen yet."""
        return None

    def forward(self, observation: dict[str, Tensor], state: State, sample: bool) -> tuple[Step, State]:
        """See `Agent.forward`; the state is what all glimpses gave to the hidden units, and where they were.

        Its baseline is the log p of the right answer that the controller predicts for the next look.
        """
        retina, gaze = observation["retina"], observation["gaze"]
        with full_precision(retina):
            inputs, looked = self.evidence(retina, gaze), self._where(gaze)
            if state is not None:
                inputs, looked = inputs + state["inputs"], torch.maximum(looked, state["looked"])
            logits = self.answer(inputs)
            expected = self.expected(inputs, logits, looked)
            chosen = expected.argmax(1)
            if sample:
                drawn = parallel.rand_like(gaze)
                anywhere = (drawn[:, 0] * expected.shape[1]).long()
                chosen = torch.where(drawn[:, 1] < self.explore, anywhere, chosen)
            baseline = expected.gather(1, chosen[:, None])[:, 0]
        step = Step(self.middle(chosen), logits, torch.zeros_like(baseline), baseline)
        return step, {"inputs": inputs, "looked": looked}

    def middle(self, place: Tensor) -> Tensor:
        """The gaze (…, 2) at the middle of a place of the grid (…,), which is numbered line by line."""
        side = self.settings.grid
        return (2 * torch.stack([place % side, place // side], -1) + 1) / side - 1

    def place(self, gaze: Tensor) -> Tensor:
        """In which place of the grid a gaze (…, 2) lies, (…,)."""
        side = self.settings.grid
        x, y = ((gaze + 1) / 2 * side).long().clamp(0, side - 1).unbind(-1)
        return y * side + x

    def _where(self, gaze: Tensor) -> Tensor:
        return F.one_hot(self.place(gaze), self.settings.grid**2).to(gaze.dtype)

    # -- the machine ----------------------------------------------------------------------------------------

    def evidence(self, retina: Tensor, gaze: Tensor) -> Tensor:
        """P diag(z) F x: what glimpses (B, C, s, s) at gazes (B, 2) give to the hidden units, (B, hidden)."""
        return self._pooled(retina.flatten(1), self._gates_at(gaze))

    def _pooled(self, x: Tensor, z: Tensor) -> Tensor:
        pooled: Tensor = self.pool(z * self.filter(x))
        return pooled

    def _gates_at(self, gaze: Tensor) -> Tensor:
        """How the filters are weighed at gazes (B, 2): (B, filters)."""
        found = F.grid_sample(self.gates, gaze[None, None], padding_mode="border", align_corners=False)
        return found[0, :, 0].t()

    def answer(self, inputs: Tensor) -> Tensor:
        """Scores of all answers (…, n), whose softmax is p(y | x), of the glimpses' sum (…, hidden)."""
        return self.label_bias + F.softplus(self._drive(inputs)).sum(-2)

    def _drive(self, inputs: Tensor) -> Tensor:
        """What drives the hidden units beside each answer, (…, hidden, n)."""
        return (inputs + self.hidden_bias)[..., None] + self.label

    def expected(self, inputs: Tensor, logits: Tensor, looked: Tensor) -> Tensor:
        """The log p of the right answer that the controller predicts for a look at each place, (…, places).

        It sees p(h | x_1 … x_k) and where it has looked. Its error changes its own weights and no others.
        """
        with torch.no_grad():
            hidden = (torch.sigmoid(self._drive(inputs)) * logits.softmax(-1)[..., None, :]).sum(-1)
        expected: Tensor = self.controller(torch.cat([hidden, looked], -1))
        return expected

    def free_energy(self, inputs: Tensor, x: Tensor, answer: Tensor) -> Tensor:
        """The free energy (B,) of a glimpse x (B, pixels) with an answer (B,): hidden units are summed out.

        inputs (B, hidden): what this glimpse and all earlier ones give to the hidden units.
        """
        return (
            -self.label_bias[answer]
            - x @ self.pixel_bias
            - F.softplus(self._drive_with(inputs, answer)).sum(-1)
        )

    def _drive_with(self, inputs: Tensor, answer: Tensor) -> Tensor:
        """What drives the hidden units (B, hidden) beside one answer (B,)."""
        return inputs + self.hidden_bias + self.label.t()[answer]

    def contrast(self, before: Tensor, x: Tensor, gaze: Tensor, answer: Tensor) -> Tensor:
        """CD-1 for -log p(y, x_k | x_1 … x_{k-1}): (B,), whose gradient approximates that of this.

        It is the free energy of what was seen less that of its reconstruction: hidden units are drawn given
        glimpse x (B, pixels), gaze (B, 2) and answer (B,), and given them an answer and the mean of each
        pixel. before (B, hidden): what earlier glimpses give. Raises ValueError where they are not finite.
        """
        z = self._gates_at(gaze)
        inputs = before + self._pooled(x, z)
        with torch.no_grad():
            h = steps.draw(self._drive_with(inputs, answer), symbols=False)
            said = steps.draw(self.label_bias + h @ self.label, symbols=True)
            made = torch.sigmoid(self.pixel_bias + (z * (h @ self.pool.weight)) @ self.filter.weight)
        imagined = self.free_energy(before + self._pooled(made, z), made, said)
        return self.free_energy(inputs, x, answer) - imagined

    def episode(self, retina: Tensor, gaze: Tensor, answer: Tensor) -> Episode:
        """All of an episode at once, of glimpses (T, B, C, s, s), gazes (T, B, 2) and right answers (B,)."""
        length, batch = gaze.shape[:2]
        with full_precision(retina):
            flat, where = retina.flatten(0, 1), gaze.flatten(0, 1)
            each = self.evidence(flat, where).view(length, batch, -1)
            inputs = each.cumsum(0)
            logits = self.answer(inputs)
            looked = self._where(gaze).cummax(0).values
            before = (inputs - each).flatten(0, 1)
            contrast = self.contrast(before, flat.flatten(1), where, answer.repeat(length))
            expected = self.expected(inputs, logits, looked)
        return Episode(logits, expected, contrast.view(length, batch))
