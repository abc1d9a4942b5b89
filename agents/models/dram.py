"""DRAM, the deep recurrent attention model (Ba, Mnih, Kavukcuoglu 2015, "Multiple Object Recognition with
Visual Attention").

Two LSTMs, one above the other: the lower answers from the glimpses alone, the upper chooses the gaze. The
context network shows the whole canvas at low resolution to the upper one only, so that no answer can be
read off it.
"""

from __future__ import annotations

import dataclasses

from torch import Tensor, nn

from agents import checks
from agents.agent import Agent, Spec, Step
from agents.cores import Kind, State, make_core
from agents.device import full_precision
from agents.parts.convolutions import keep_variance
from agents.parts.gaze import GazePolicy
from agents.parts.glimpse_networks import ConvGlimpseNetwork, Convolutions


@dataclasses.dataclass(frozen=True)
class DRAMSettings:
    """What DRAM is built from; it has a context network where the environment shows a context."""

    hidden: int = 256
    """The width of each of the two cores, in units."""
    core: Kind = "lstm"
    """The recurrent core, see agents/cores; the paper's is an LSTM."""
    glimpses: Convolutions = "product"
    """The glimpse network (parts/glimpse_networks.py); the paper's multiplies what by where."""
    sigma: float = 0.03
    """The standard deviation of a sampled gaze at the end of training and after it, in gaze units."""
    learn_sigma: bool = False
    """Whether sigma is a weight, trained from `sigma` on; entropy_weight keeps it from vanishing."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        checks.positive(self, "hidden", "sigma")

    def build(self, spec: Spec) -> DRAM:
        """DRAM with fresh weights for an environment of `spec`."""
        channels, side = (spec.context[0], spec.context[1]) if spec.context else (0, 0)
        return DRAM(
            spec.retina,
            (channels, side, side) if spec.context else None,
            spec.num_answers,
            self.hidden,
            self.sigma,
            glimpses=self.glimpses,
            learn_sigma=self.learn_sigma,
            core=self.core,
            horizon=spec.horizon,
        )


class DRAM(Agent):
    """Glimpse network, two cores of `hidden` units, locator, classifier, baseline and context network.

    retina_shape: the observation's (scales * C, s, s). context_shape: that of its context (C, c, c), or None
    for DRAM without context, which starts from zeros. sigma, learn_sigma: see GazePolicy.
    glimpses: see ConvGlimpseNetwork, "product" is the paper's. core, horizon: see RAM; the paper's is "lstm".
    Raises ValueError for a retina or a context that is too small, an unknown glimpse network and a sigma that
    is not positive.
    """

    def __init__(
        self,
        retina_shape: tuple[int, int, int],
        context_shape: tuple[int, int, int] | None,
        num_answers: int,
        hidden: int = 256,
        sigma: float = 0.15,
        glimpses: Convolutions = "product",
        learn_sigma: bool = False,
        core: Kind = "lstm",
        horizon: int = 8,
    ) -> None:
        super().__init__()
        self.glimpse_network = ConvGlimpseNetwork(retina_shape, hidden, glimpses)
        self.lower = make_core(core, hidden, hidden, horizon)
        self.upper = make_core(core, hidden, hidden, horizon)
        self.context_network = None if context_shape is None else ContextNetwork(context_shape, hidden)
        self.classifier = nn.Linear(hidden, num_answers)
        self.baseline = nn.Linear(hidden, 1)
        self.locator = GazePolicy(hidden, sigma, learn_sigma)

    def initial(self, batch_size: int) -> None:
        """The first observation brings the context."""

    def forward(
        self, observation: dict[str, Tensor], state: tuple[State, State] | None, sample: bool
    ) -> tuple[Step, tuple[State, State]]:
        """See `Agent.forward`; the state is the lower and the upper core's."""
        lower, upper = state if state is not None else (None, self._look_around(observation))
        glimpse = self.glimpse_network(observation["retina"], observation["gaze"])
        what, lower = self.lower(glimpse, lower)
        where, upper = self.upper(what, upper)
        with full_precision(what):
            logits = self.classifier(what.float())
            where = where.float()
            gaze, log_prob = self.locator.look(where, sample)
            baseline = self.baseline(where).squeeze(1)
        return Step(gaze, logits, log_prob, baseline), (lower, upper)

    def _look_around(self, observation: dict[str, Tensor]) -> State:
        if self.context_network is None:
            return None
        return self.upper.begin_from(self.context_network(observation["context"]))


class ContextNetwork(nn.Module):
    """Three convolutions on the canvas at low resolution and one linear layer: (C, c, c) -> (hidden,)."""

    FILTERS = (16, 16, 32)

    def __init__(self, context_shape: tuple[int, int, int], hidden: int) -> None:
        super().__init__()
        channels, size, _ = context_shape
        if size < 8:
            raise ValueError(f"the context network needs a context of 8 or more, got {size}")
        first, second, third = self.FILTERS
        self.layers = nn.Sequential(
            nn.Conv2d(channels, first, 5, padding=2, stride=2),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(second, third, 3, padding=1, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(third * ((size + 3) // 4) ** 2, hidden),
            nn.Tanh(),  # it takes the place of a core's output
        )
        keep_variance(self.layers)

    def forward(self, context: Tensor) -> Tensor:
        """Context (B, C, c, c) in [0, 1] -> (B, hidden)."""
        h: Tensor = self.layers(context)
        return h
