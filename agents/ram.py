"""RAM, the recurrent attention model (Mnih, Heess, Graves, Kavukcuoglu 2014), and its three controls.

`policy="random"` looks at uniform points, `"center"` at the centre and `"raster"` at the middles of a 3x3
grid, line by line: the same network, so that a table can tell what choosing where to look is worth.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents.interface import Agent, Step
from agents.layers import GlimpseNetwork, ReLUCore
from glimpse_env.wrappers import scan_path

Policy = Literal["learned", "random", "center", "raster"]
POLICIES: tuple[Policy, ...] = ("learned", "random", "center", "raster")
RASTER = torch.from_numpy(scan_path(3))


class RAM(Agent):
    """Glimpse network, core, locator, classifier and baseline.

    retina_shape: the observation's (scales * C, s, s). sigma: standard deviation of the gaze, in gaze
    units (on a canvas of H pixels one unit is (H - 1) / 2 pixels). detach: whether REINFORCE trains the
    locator alone and the squared error the baseline alone, as in the common public code, or both also
    train the core and the glimpse network below them.
    Raises ValueError for an unknown policy or a sigma that is not positive.
    """

    def __init__(
        self,
        retina_shape: tuple[int, int, int],
        num_answers: int,
        hidden: int = 256,
        sigma: float = 0.15,
        policy: Policy = "learned",
        detach: bool = False,
    ) -> None:
        super().__init__()
        if policy not in POLICIES:
            raise ValueError(f"policy must be one of {POLICIES}, got {policy!r}")
        if not sigma > 0:
            raise ValueError(f"sigma must be positive, got {sigma}")
        self.policy = policy
        self.sigma = sigma
        self.detach = detach
        self.glimpse_network = GlimpseNetwork(math.prod(retina_shape), parts=128, width=256)
        self.core = ReLUCore(256, hidden)
        self.classifier = nn.Linear(hidden, num_answers)
        self.baseline = nn.Linear(hidden, 1)
        self.locator = nn.Linear(hidden, 2)
        # Large first means saturate tanh, and the eye then sticks in a corner.
        nn.init.normal_(self.locator.weight, std=0.01)
        nn.init.zeros_(self.locator.bias)

    def initial(self, batch_size: int) -> None:
        """The core starts from zeros."""
        return self.core.initial(batch_size)

    def forward(
        self, observation: dict[str, Tensor], state: Tensor | None, sample: bool
    ) -> tuple[Step, Tensor]:
        """See `Agent.forward`; the state is the core's h (B, hidden)."""
        h = self.core(self.glimpse_network(observation["retina"], observation["gaze"]), state)
        with torch.autocast("cpu", enabled=False):  # a gaze in bfloat16 is up to 0.2 pixels off
            features = h.float()
            logits = self.classifier(features)
            if self.detach:
                features = features.detach()
            gaze, log_prob = self._look(features, observation["gaze"], sample)
            baseline = self.baseline(features).squeeze(1)
        return Step(gaze, logits, log_prob, baseline), h

    def _look(self, h: Tensor, present: Tensor, sample: bool) -> tuple[Tensor, Tensor]:
        """The next gaze (B, 2), raw and detached, and its log-density (B,); h (B, hidden), present (B, 2)."""
        if self.policy == "random":
            return 2 * torch.rand(len(h), 2) - 1, h.new_zeros(len(h))
        if self.policy == "center":
            return h.new_zeros(len(h), 2), h.new_zeros(len(h))
        if self.policy == "raster":
            return next_of_raster(present), h.new_zeros(len(h))
        mean = torch.tanh(self.locator(h))
        gaze = mean.detach()
        if sample:
            gaze = gaze + self.sigma * torch.randn_like(gaze)
        return gaze, gaussian_log_prob(gaze, mean, self.sigma)


def next_of_raster(gaze: Tensor) -> Tensor:
    """The middle that follows `gaze` (B, 2) in the 3x3 raster, or the first if it is not one of them."""
    distance, cell = (gaze[:, None] - RASTER).abs().amax(-1).min(1)
    return RASTER[torch.where(distance < 1e-4, (cell + 1) % len(RASTER), 0)]


def gaussian_log_prob(value: Tensor, mean: Tensor, sigma: float) -> Tensor:
    """Log N(value; mean, sigma² I) summed over the last axis: (B, d) -> (B,)."""
    constant = value.shape[-1] * (math.log(sigma) + 0.5 * math.log(2 * math.pi))
    return -F.mse_loss(mean, value, reduction="none").sum(-1) / (2 * sigma**2) - constant
