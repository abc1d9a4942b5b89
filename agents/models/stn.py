"""ST-CNN and ST-FCN (Jaderberg, Simonyan, Zisserman, Kavukcuoglu 2015): one window, then a classifier.

A localiser places one affine window on the canvas; the network below sees only that window, at 28x28.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
from torch import Tensor, nn

from agents.agent import Agent, Sees, Spec, Step, soft_step
from agents.device import full_precision
from agents.parts.convolutions import PatchConv2d, keep_variance, two_convolutions
from agents.parts.windows import affine_read, at_least_float32

WINDOW = 28


@dataclasses.dataclass(frozen=True)
class SpatialTransformerSettings:
    """What a spatial transformer is built from."""

    layers: Literal["cnn", "fcn"] = "cnn"
    """What its localiser and its classifier are made of: convolutions or fully connected layers."""

    def build(self, spec: Spec) -> SpatialTransformer:
        """The spatial transformer with fresh weights; ValueError where several answers are asked."""
        if spec.length > 1:
            raise ValueError(
                "a spatial transformer has one window and one answer, but this environment asks for "
                f"{spec.length}"
            )
        return SpatialTransformer(spec.canvas, spec.num_answers, self.layers)


class SpatialTransformer(Agent):
    """A localiser of convolutions ("cnn") or fully connected layers ("fcn"), and a classifier of that kind.

    The convolutional localiser sees the canvas at half resolution, for one core's sake.

    canvas_shape (C, H, W). share: of the canvas that the window spans before training.
    Raises ValueError for another kind and a canvas of fewer than 32 pixels.
    """

    sees: Sees = "canvas"

    def __init__(
        self,
        canvas_shape: tuple[int, int, int],
        num_answers: int,
        kind: Literal["cnn", "fcn"],
        share: float = 0.6,
    ) -> None:
        super().__init__()
        channels, height, width = canvas_shape
        if min(height, width) < 32:
            raise ValueError(f"a spatial transformer needs a canvas of 32 pixels or more, got {canvas_shape}")
        if kind == "cnn":
            down, across = (((pixels // 2 - 4) // 2 - 4) // 2 for pixels in (height, width))
            localiser: list[nn.Module] = [
                nn.AvgPool2d(2),
                PatchConv2d(channels, 20, 5),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(20, 20, 5),
                nn.ReLU(),
                nn.MaxPool2d(2),
                nn.Flatten(),
                nn.Linear(20 * down * across, 64),
                nn.ReLU(),
            ]
            self.classifier = two_convolutions(channels, WINDOW, num_answers)
        elif kind == "fcn":
            localiser = [
                nn.Flatten(),
                nn.Linear(channels * height * width, 128),
                nn.ReLU(),
                nn.Linear(128, 64),
                nn.ReLU(),
            ]
            self.classifier = nn.Sequential(
                nn.Flatten(),
                nn.Linear(channels * WINDOW**2, 256),
                nn.ReLU(),
                nn.Linear(256, 200),
                nn.ReLU(),
                nn.Linear(200, num_answers),
            )
            keep_variance(self.classifier)
        else:
            raise ValueError(f"kind must be 'cnn' or 'fcn', got {kind!r}")
        self.localiser = nn.Sequential(*localiser)
        keep_variance(self.localiser)
        self.theta = nn.Linear(64, 6)
        # No weights and a large window to begin with: what makes a spatial transformer converge.
        nn.init.zeros_(self.theta.weight)
        self.theta.bias.data = share * torch.eye(2, 3).flatten()

    def initial(self, batch_size: int) -> None:
        """The first observation brings the canvas."""

    def forward(
        self, observation: dict[str, Tensor], state: tuple[Tensor, Tensor, Tensor] | None, sample: bool
    ) -> tuple[Step, tuple[Tensor, Tensor, Tensor]]:
        """The answer, the window and its patch, which do not change in an episode: they are the state."""
        if state is None:
            canvas = observation["canvas"]
            with full_precision(canvas):
                h = at_least_float32(self.localiser(canvas))
                theta = self.theta(h).view(-1, 2, 3)
            patch = affine_read(canvas, theta, WINDOW)
            state = at_least_float32(self.classifier(patch)), theta, patch
        logits, theta, patch = state
        return soft_step(logits, theta, patch, theta), state
