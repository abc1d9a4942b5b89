"""The whole-canvas baselines of the papers: they see everything at once and never look around."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, get_args

from torch import Tensor, nn

from agents import checks
from agents.agent import Spec
from agents.parts.at_once import AtOnce
from agents.parts.convolutions import PatchConv2d, keep_variance, two_convolutions

Network = Literal["fc", "conv", "cnn", "convnet"]
NETWORKS: tuple[Network, ...] = get_args(Network)
LEAST_SIDE = {"conv": 10, "cnn": 24, "convnet": 25}  # pixels, of which their strides leave one


@dataclasses.dataclass(frozen=True)
class WholeCanvasSettings:
    """What a baseline of hidden layers is built from."""

    network: Literal["fc", "conv", "convnet"] = "fc"
    """Which baseline: see WholeCanvasClassifier."""
    hidden: int = 256
    """The width of its hidden layers, in units."""
    dropout: float = 0.0
    """The share of the units of each hidden layer that training drops, in [0, 1) (Srivastava et al. 2014)."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        checks.positive(self, "hidden")
        checks.share(self, "dropout")

    def build(self, spec: Spec) -> WholeCanvasClassifier:
        """The baseline with fresh weights for an environment of `spec`."""
        return WholeCanvasClassifier(
            spec.canvas, spec.num_answers, self.network, self.hidden, spec.length, self.dropout
        )


@dataclasses.dataclass(frozen=True)
class CNNSettings:
    """What Jaderberg et al.'s CNN is built from: it has one size."""

    def build(self, spec: Spec) -> WholeCanvasClassifier:
        """The network with fresh weights for an environment of `spec`."""
        return WholeCanvasClassifier(spec.canvas, spec.num_answers, "cnn", 0, spec.length)


class WholeCanvasClassifier(AtOnce):
    """Logits of the canvas (B, C, H, W); the gaze stays in the centre and the answers are thought out once.

    "fc": two fully connected layers of `hidden` units. "conv": 8 filters of 10x10 with stride 5, then a
    fully connected layer of `hidden` units (both Mnih et al. 2014). "cnn": Jaderberg et al.'s (2015), see
    parts.convolutions. "convnet": three layers of `hidden` / 8 filters of 5x5, 3x3 and 3x3 with
    stride 2, pooled, then `hidden` units (512 in Ba et al. 2015, whose strides are not told; it is also the
    yardstick of other canvases, as wide as the agent beside it).
    length: answers to give, each from logits of its own. Raises ValueError for another network and too
    small a canvas.
    """

    def __init__(
        self,
        canvas_shape: tuple[int, int, int],
        num_answers: int,
        network: Network,
        hidden: int,
        length: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels, height, width = canvas_shape
        self.length = length
        if min(height, width) < LEAST_SIDE.get(network, 1):
            raise ValueError(
                f"network {network!r} needs a canvas of {LEAST_SIDE[network]} pixels or more, "
                f"got {canvas_shape}"
            )
        if network == "cnn":
            self.network = two_convolutions(channels, height, length * num_answers)
            return
        if network == "fc":
            first = [nn.Flatten(), nn.Linear(math.prod(canvas_shape), hidden)]
            features = hidden
        elif network == "conv":
            first = [PatchConv2d(channels, 8, kernel_size=10, stride=5), nn.Flatten()]
            features = 8 * ((height - 10) // 5 + 1) * ((width - 10) // 5 + 1)
        elif network == "convnet":
            filters = max(hidden // 8, 1)
            first = [
                PatchConv2d(channels, filters, 5, stride=2),
                nn.ReLU(),
                nn.Conv2d(filters, filters, 3, stride=2),
                nn.ReLU(),
                nn.Conv2d(filters, filters, 3, stride=2),
                nn.MaxPool2d(2),
                nn.Flatten(),
            ]
            features = filters * math.prod((((n - 3) // 2 - 1) // 2 - 1) // 4 for n in (height, width))
        else:
            raise ValueError(f"network must be one of {NETWORKS}, got {network!r}")
        drop = [nn.Dropout(dropout)] if dropout else []
        second = [nn.ReLU(), *drop, nn.Linear(features, hidden), nn.ReLU(), *drop]
        self.network = nn.Sequential(*first, *second, nn.Linear(hidden, length * num_answers))
        if network == "convnet":
            keep_variance(self.network)

    def answers(self, canvas: Tensor) -> Tensor:
        """See `AtOnce.answers`."""
        logits: Tensor = self.network(canvas)
        return logits.float().view(len(canvas), self.length, -1)
