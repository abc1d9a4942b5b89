"""The policy of the gaze."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents import parallel


class GazePolicy(nn.Linear):
    """The locator: a Gaussian around tanh(Lin(h)) with standard deviation `sigma`, in gaze units.

    On a canvas of H pixels one unit is (H - 1) / 2 pixels. reach: above 0 the mean lies reach * tanh(Lin(h))
    from where the eye looks now. learn_sigma: whether sigma is trained, from its
    first value on, which an entropy bonus keeps from vanishing. A schedule may set `sigma` while it trains;
    `final_sigma` is what it was built with. Raises ValueError unless sigma is positive.
    """

    def __init__(
        self, inputs: int, sigma: float, learn_sigma: bool = False, axes: int = 2, reach: float = 0.0
    ) -> None:
        super().__init__(inputs, axes)
        self.reach = reach
        if not sigma > 0:
            raise ValueError(f"sigma must be positive, got {sigma}")
        self.sigma = self.final_sigma = sigma
        self.log_sigma = nn.Parameter(torch.tensor(math.log(sigma))) if learn_sigma else None
        # Large first means saturate tanh, and the eye then sticks in a corner.
        nn.init.normal_(self.weight, std=0.01)
        nn.init.zeros_(self.bias)

    def look(self, h: Tensor, sample: bool, present: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The next gaze (B, axes), detached: a draw, or the mean on the canvas; and its log-density (B,).

        present: where the eye looks now, (B, axes); with reach alone.
        """
        mean = self.mean(h, present)
        gaze = self._drawn(mean.detach()) if sample else mean.detach().clamp(-1, 1)
        return gaze, gaussian_log_prob(gaze, mean, self._log_sigma(h))

    def glance(self, h: Tensor, sample: bool) -> Tensor:
        """The next gaze as of `look`, without its log-density."""
        mean = self.mean(h).detach()
        return self._drawn(mean) if sample else mean

    def _drawn(self, mean: Tensor) -> Tensor:
        sigma = self.sigma if self.log_sigma is None else self.log_sigma.detach().exp()
        return mean + sigma * parallel.randn_like(mean)

    def mean(self, h: Tensor, present: Tensor | None = None) -> Tensor:
        """The policy's mean (…, axes); see `look`. With reach it may lie outside, where it still learns."""
        mean = torch.tanh(self(h))
        return mean if present is None else present + self.reach * mean

    def log_prob(self, gaze: Tensor, h: Tensor, present: Tensor | None = None) -> Tensor:
        """The log-density (…,) of a gaze (…, axes) that was chosen; see `look`."""
        return gaussian_log_prob(gaze, self.mean(h, present), self._log_sigma(h))

    def _log_sigma(self, h: Tensor) -> Tensor:
        return self.log_sigma if self.log_sigma is not None else h.new_tensor(math.log(self.sigma))

    def entropy(self) -> Tensor:
        """Of one gaze, in nats, (): the same wherever the mean is."""
        if self.log_sigma is None:
            raise ValueError("the entropy of a gaze is trained with learn_sigma only")
        return self.out_features * (self.log_sigma + 0.5 * (1 + math.log(2 * math.pi)))


def gaussian_log_prob(value: Tensor, mean: Tensor, log_sigma: Tensor) -> Tensor:
    """Log N(value; mean, sigma² I) summed over the last axis: (…, d), log_sigma () -> (…,)."""
    constant = value.shape[-1] * (log_sigma + 0.5 * math.log(2 * math.pi))
    squares = F.mse_loss(mean, value, reduction="none").sum(-1)
    return -squares / (2 * (2 * log_sigma).exp()) - constant
