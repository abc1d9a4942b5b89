"""RAM, the recurrent attention model (Mnih, Heess, Graves, Kavukcuoglu 2014), and its three controls.

`policy="random"` looks at uniform points, `"center"` at the centre and `"raster"` at the middles of a 3x3
grid, line by line: the same network, so that a table can tell what choosing where to look is worth.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from agents import checks, parallel
from agents.agent import Agent, Spec, State, Step
from agents.cores import Kind, make_core
from agents.device import full_precision
from agents.parts.gaze import GazePolicy
from agents.parts.glimpse_networks import Glimpses, make_glimpse_network
from agents.parts.recording import Recording
from glimpse_env.wrappers import scan_path

Policy = Literal["learned", "random", "center", "raster"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
RASTER = torch.from_numpy(scan_path(3))


@dataclasses.dataclass(frozen=True)
class RAMSettings:
    """What RAM is built from."""

    hidden: int = 256
    """The width of the recurrent core, in units."""
    glimpses: Glimpses = "fc"
    """The glimpse network: the paper's fully connected one, or convolutions (parts/glimpse_networks.py)."""
    core: Kind = "relu"
    """The recurrent core, see agents/cores; the paper's has rectified units, "relu"."""
    sigma: float = 0.03
    """The standard deviation of a sampled gaze at the end of training and after it, in gaze units."""
    learn_sigma: bool = False
    """Whether sigma is a weight, trained from `sigma` on; entropy_weight keeps it from vanishing."""
    detach: bool = False
    """Whether REINFORCE trains the locator alone and the value baseline's error the baseline alone."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        checks.positive(self, "hidden", "sigma")

    def build(self, spec: Spec) -> RAM:
        """RAM with fresh weights for an environment of `spec`."""
        return RAM(
            spec.retina,
            spec.num_answers,
            hidden=self.hidden,
            sigma=self.sigma,
            learn_sigma=self.learn_sigma,
            detach=self.detach,
            glimpses=self.glimpses,
            core=self.core,
            horizon=spec.horizon,
            words=spec.words,
            axes=spec.axes,
        )


@dataclasses.dataclass(frozen=True)
class GivenGazeSettings:
    """What RAM is built from whose gazes nobody chooses."""

    policy: Policy = "random"
    """Where it looks: at uniform points, at the centre, or at the middles of a 3x3 grid, line by line."""
    hidden: int = 256
    """The width of the recurrent core, in units."""
    glimpses: Glimpses = "fc"
    """The glimpse network: the paper's fully connected one, or convolutions (parts/glimpse_networks.py)."""
    core: Kind = "relu"
    """The recurrent core, see agents/cores; the paper's has rectified units, "relu"."""

    def __post_init__(self) -> None:
        """Raise ValueError for a policy that chooses."""
        checks.positive(self, "hidden")
        if self.policy == "learned":
            raise ValueError("policy 'learned' is RAM's own: choose random, center or raster")

    def build(self, spec: Spec) -> RAM:
        """The network with fresh weights for an environment of `spec`."""
        return RAM(
            spec.retina,
            spec.num_answers,
            hidden=self.hidden,
            policy=self.policy,
            glimpses=self.glimpses,
            core=self.core,
            horizon=spec.horizon,
            words=spec.words,
            axes=spec.axes,
        )


class RAM(Agent):
    """Glimpse network, core, locator, classifier and baseline.

    retina_shape: the observation's (scales * C, s, s). sigma, learn_sigma: see GazePolicy. detach: whether
    REINFORCE trains the locator alone and the squared error the baseline alone, as in the common public code,
    or both also train the core and the glimpse network below them. glimpses, core: the paper's "fc" and
    "relu", or convolutions (see ConvGlimpseNetwork), and any core. horizon: of how many glimpses a core that
    keeps statistics of each step keeps them. words, axes: see Spec; where there are words, retina_shape is
    (size,) and the glimpse network has embeddings.
    Raises ValueError for an unknown policy, glimpse network or core and a sigma that is not positive.
    """

    def __init__(
        self,
        retina_shape: tuple[int, ...],
        num_answers: int,
        hidden: int = 256,
        sigma: float = 0.15,
        policy: Policy = "learned",
        detach: bool = False,
        glimpses: Glimpses = "fc",
        core: Kind = "relu",
        learn_sigma: bool = False,
        horizon: int = 8,
        words: int = 0,
        axes: int = 2,
    ) -> None:
        super().__init__()
        if policy not in POLICIES:
            raise ValueError(f"policy must be one of {POLICIES}, got {policy!r}")
        if policy == "raster" and axes != 2:
            raise ValueError("policy 'raster' is a path over pictures: choose random or center")
        self.policy, self.axes = policy, axes
        self.detach = detach
        self.glimpse_network = make_glimpse_network(glimpses, retina_shape, 256, words)
        self.core = make_core(core, 256, hidden, horizon)
        self.classifier = nn.Linear(hidden, num_answers)
        self.baseline = nn.Linear(hidden, 1)
        self.locator = GazePolicy(hidden, sigma, learn_sigma, axes)

    def initial(self, batch_size: int) -> State:
        """The core's own."""
        return self.core.initial(batch_size)

    def forward(self, observation: dict[str, Tensor], state: State, sample: bool) -> tuple[Step, State]:
        """See `Agent.forward`; the state is the core's."""
        retina, present = observation["retina"], observation["gaze"]
        if isinstance(state, Recording):
            return self._record(retina, present, state, sample), state
        h, state = self.core(self.glimpse_network(retina, present), state)
        with full_precision(h):
            features = h.float()
            logits = self.classifier(features)
            if self.detach:
                features = features.detach()
            gaze, log_prob = self._look(features, present, sample)
            baseline = self.baseline(features).squeeze(1)
        return Step(gaze, logits, log_prob, baseline), state

    def recording(self) -> Recording | None:
        """See `Agent.recording`: of the paper's glimpse network and core."""
        return Recording.of(self.glimpse_network, self.core)

    def _record(self, retina: Tensor, present: Tensor, state: Recording, sample: bool) -> Step:
        """A step of a recorded episode: of gaze and answer, the rest is `recorded` later."""
        h = state.step(retina, present)
        with full_precision(h):
            h = h.float()
            zeros = h.new_zeros(len(h))
            learned = self.policy == "learned"
            gaze = self.locator.glance(h, sample) if learned else self._look(h, present, sample)[0]
            return Step(gaze, self.classifier(h), zeros, zeros)

    def recorded(self, state: Recording, gaze: Tensor) -> Step:
        """See `Agent.recorded`."""
        h = state.hidden()
        with full_precision(h):
            logits = self.classifier(h)
            features = h.detach() if self.detach else h
            learned = self.policy == "learned"
            log_prob = self.locator.log_prob(gaze, features) if learned else h.new_zeros(h.shape[:2])
            baseline = self.baseline(features).squeeze(-1)
        return Step(gaze, logits, log_prob, baseline)

    def _look(self, h: Tensor, present: Tensor, sample: bool) -> tuple[Tensor, Tensor]:
        """The next gaze (B, axes), raw and detached, and its log-density (B,); h (B, hidden)."""
        if self.policy == "random":
            return 2 * parallel.rand_like(present) - 1, h.new_zeros(len(h))
        if self.policy == "center":
            return h.new_zeros(len(h), self.axes), h.new_zeros(len(h))
        if self.policy == "raster":
            return next_of_raster(present), h.new_zeros(len(h))
        return self.locator.look(h, sample)


def next_of_raster(gaze: Tensor) -> Tensor:
    """The middle that follows `gaze` (B, 2) in the 3x3 raster, or the first if it is not one of them."""
    raster = RASTER.to(gaze.device)
    distance, cell = (gaze[:, None] - raster).abs().amax(-1).min(1)
    return raster[torch.where(distance < 1e-4, (cell + 1) % len(raster), 0)]
