"""RAM, the recurrent attention model (Mnih, Heess, Graves, Kavukcuoglu 2014), and its three controls.

`policy="random"` looks at uniform points, `"center"` at the centre and `"raster"` at the middles of a 3x3
grid, line by line: the same network, so that a table can tell what choosing where to look is worth.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from agents.interface import Agent, Step
from agents.layers import ConvGlimpseNetwork, GazePolicy, GlimpseNetwork, LSTMCore, LSTMState, ReLUCore
from glimpse_env.wrappers import scan_path

Glimpses = Literal["fc", "conv", "wide", "product"]
Core = Literal["relu", "lstm"]
Policy = Literal["learned", "random", "center", "raster"]
GLIMPSES: tuple[Glimpses, ...] = get_args(Glimpses)
CORES: tuple[Core, ...] = get_args(Core)
POLICIES: tuple[Policy, ...] = get_args(Policy)
RASTER = torch.from_numpy(scan_path(3))


class RAM(Agent):
    """Glimpse network, core, locator, classifier and baseline.

    retina_shape: the observation's (scales * C, s, s). sigma, learn_sigma: see GazePolicy. detach: whether
    REINFORCE trains the locator alone and the squared error the baseline alone, as in the common public code,
    or both also train the core and the glimpse network below them. glimpses, core: the paper's "fc" and
    "relu", or convolutions (see ConvGlimpseNetwork), and DRAM's LSTM ("lstm").
    Raises ValueError for an unknown policy, glimpse network or core and a sigma that is not positive.
    """

    def __init__(
        self,
        retina_shape: tuple[int, int, int],
        num_answers: int,
        hidden: int = 256,
        sigma: float = 0.15,
        policy: Policy = "learned",
        detach: bool = False,
        glimpses: Glimpses = "fc",
        core: Core = "relu",
        learn_sigma: bool = False,
    ) -> None:
        super().__init__()
        if policy not in POLICIES:
            raise ValueError(f"policy must be one of {POLICIES}, got {policy!r}")
        if glimpses not in GLIMPSES:
            raise ValueError(f"glimpses must be one of {GLIMPSES}, got {glimpses!r}")
        if core not in CORES:
            raise ValueError(f"core must be one of {CORES}, got {core!r}")
        self.policy = policy
        self.detach = detach
        self.glimpse_network: nn.Module = (
            GlimpseNetwork(math.prod(retina_shape), parts=128, width=256)
            if glimpses == "fc"
            else ConvGlimpseNetwork(retina_shape, 256, glimpses)
        )
        self.core = ReLUCore(256, hidden) if core == "relu" else LSTMCore(256, hidden)
        self.classifier = nn.Linear(hidden, num_answers)
        self.baseline = nn.Linear(hidden, 1)
        self.locator = GazePolicy(hidden, sigma, learn_sigma)

    def initial(self, batch_size: int) -> None:
        """The core starts from zeros."""

    def forward(
        self, observation: dict[str, Tensor], state: Tensor | LSTMState | None, sample: bool
    ) -> tuple[Step, Tensor | LSTMState]:
        """See `Agent.forward`; the state is the core's, h (B, hidden) or an LSTM's (h, c)."""
        state = self.core(self.glimpse_network(observation["retina"], observation["gaze"]), state)
        h = state if isinstance(state, Tensor) else state[0]
        with torch.autocast("cpu", enabled=False):  # a gaze in bfloat16 is up to 0.2 pixels off
            features = h.float()
            logits = self.classifier(features)
            if self.detach:
                features = features.detach()
            gaze, log_prob = self._look(features, observation["gaze"], sample)
            baseline = self.baseline(features).squeeze(1)
        return Step(gaze, logits, log_prob, baseline), state

    def _look(self, h: Tensor, present: Tensor, sample: bool) -> tuple[Tensor, Tensor]:
        """The next gaze (B, 2), raw and detached, and its log-density (B,); h (B, hidden), present (B, 2)."""
        if self.policy == "random":
            return 2 * torch.rand(len(h), 2) - 1, h.new_zeros(len(h))
        if self.policy == "center":
            return h.new_zeros(len(h), 2), h.new_zeros(len(h))
        if self.policy == "raster":
            return next_of_raster(present), h.new_zeros(len(h))
        return self.locator.look(h, sample)


def next_of_raster(gaze: Tensor) -> Tensor:
    """The middle that follows `gaze` (B, 2) in the 3x3 raster, or the first if it is not one of them."""
    distance, cell = (gaze[:, None] - RASTER).abs().amax(-1).min(1)
    return RASTER[torch.where(distance < 1e-4, (cell + 1) % len(RASTER), 0)]
