"""The whole-canvas baselines of Mnih et al. (2014): they see everything at once and never look around."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents.interface import Agent, Sees, Step

Network = Literal["fc", "conv"]


class WholeCanvasClassifier(Agent):
    """Logits of the canvas (B, C, H, W); the gaze stays in the centre and the answers are thought out once.

    "fc": two fully connected layers of `hidden` units. "conv": 8 filters of 10x10 with stride 5, then a
    fully connected layer of `hidden` units. length: answers to give, each from logits of its own.
    Raises ValueError for another network.
    """

    sees: Sees = "canvas"

    def __init__(
        self,
        canvas_shape: tuple[int, int, int],
        num_answers: int,
        network: Network,
        hidden: int,
        length: int = 1,
    ) -> None:
        super().__init__()
        channels, height, width = canvas_shape
        if network == "fc":
            first = [nn.Flatten(), nn.Linear(math.prod(canvas_shape), hidden)]
            features = hidden
        elif network == "conv":
            first = [PatchConv2d(channels, 8, kernel_size=10, stride=5), nn.Flatten()]
            features = 8 * ((height - 10) // 5 + 1) * ((width - 10) // 5 + 1)
        else:
            raise ValueError(f"network must be 'fc' or 'conv', got {network!r}")
        self.length = length
        self.network = nn.Sequential(
            *first, nn.ReLU(), nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, length * num_answers)
        )

    def initial(self, batch_size: int) -> None:
        """No answer yet."""

    def answers(self, canvas: Tensor) -> Tensor:
        """Canvas (B, C, H, W) in [0, 1] -> the logits of all answers (B, L, n)."""
        return self.network(canvas).float().view(len(canvas), self.length, -1)

    def forward(
        self, observation: dict[str, Tensor], state: Tensor | None, sample: bool
    ) -> tuple[Step, Tensor]:
        """See `Agent.forward`; the state is the logits of all answers, which do not change in an episode."""
        logits = self.answers(observation["canvas"]) if state is None else state
        zeros = torch.zeros(len(logits))
        # The share of the glimpses seen tells which answer is due next.
        due = (observation["time"][:, 0] * self.length - 1e-3).long()
        return Step(torch.zeros(len(logits), 2), logits[torch.arange(len(logits)), due], zeros, zeros), logits


class PatchConv2d(nn.Conv2d):
    """nn.Conv2d without padding as one matrix product over patches.

    With one channel and a large kernel oneDNN's gradient is slow on processors without AVX-512: conv-read
    trains on 3,900 images a second with this, on 2,050 with nn.Conv2d (LOG.md).
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, filters, h, w)."""
        (height, width), (down, right) = self.kernel_size, self.stride
        patches = x.unfold(2, height, down).unfold(3, width, right)  # (B, C, h, w, height, width)
        patches = patches.permute(0, 2, 3, 1, 4, 5).flatten(3)
        return F.linear(patches, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)
