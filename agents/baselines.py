"""The whole-canvas baselines of Mnih et al. (2014): they see everything at once and never look around."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from agents.interface import Agent, Sees, Step

Network = Literal["fc", "conv"]


class WholeCanvasClassifier(Agent):
    """Logits of the canvas (B, C, H, W); the gaze stays in the centre and the answer is thought out once.

    "fc": two fully connected layers of `hidden` units. "conv": 8 filters of 10x10 with stride 5, then a
    fully connected layer of `hidden` units. Raises ValueError for another network.
    """

    sees: Sees = "canvas"

    def __init__(
        self, canvas_shape: tuple[int, int, int], num_answers: int, network: Network, hidden: int
    ) -> None:
        super().__init__()
        channels, height, width = canvas_shape
        if network == "fc":
            first = [nn.Flatten(), nn.Linear(math.prod(canvas_shape), hidden)]
            features = hidden
        elif network == "conv":
            first = [nn.Conv2d(channels, 8, kernel_size=10, stride=5), nn.Flatten()]
            features = 8 * ((height - 10) // 5 + 1) * ((width - 10) // 5 + 1)
        else:
            raise ValueError(f"network must be 'fc' or 'conv', got {network!r}")
        self.network = nn.Sequential(
            *first, nn.ReLU(), nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, num_answers)
        )

    def initial(self, batch_size: int) -> None:
        """No answer yet."""

    def forward(
        self, observation: dict[str, Tensor], state: Tensor | None, sample: bool
    ) -> tuple[Step, Tensor]:
        """See `Agent.forward`; the state is the logits, which do not change during an episode."""
        logits = self.network(observation["canvas"]).float() if state is None else state
        zeros = torch.zeros(len(logits))
        return Step(torch.zeros(len(logits), 2), logits, zeros, zeros), logits
