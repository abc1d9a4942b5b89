"""DRAW, the deep recurrent attentive writer (Gregor, Danihelka, Graves, Rezende, Wierstra 2015)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from agents.attention import at_least_float32, filter_read, filters_of, window_of
from agents.interface import Agent, Sees, Step, soft_step
from agents.layers import LSTMCore, LSTMState


class DRAWClassifier(Agent):
    """The paper's "differentiable RAM" (section 4.1): an LSTM that reads by 12x12 Gaussian filters.

    canvas_shape (C, H, W), square. The first window spans the canvas, each filter half a stride wide.
    """

    sees: Sees = "canvas"
    READ = 12

    def __init__(self, canvas_shape: tuple[int, int, int], num_answers: int, hidden: int = 256) -> None:
        super().__init__()
        channels, self.pixels, _ = canvas_shape
        self.core = LSTMCore(channels * self.READ**2, hidden)
        self.classifier = nn.Linear(hidden, num_answers)
        self.filters = filter_layer(hidden, self.READ, self.pixels)

    def initial(self, batch_size: int) -> None:
        """The core starts from zeros."""

    def forward(
        self, observation: dict[str, Tensor], state: tuple[LSTMState, Tensor] | None, sample: bool
    ) -> tuple[Step, tuple[LSTMState, Tensor]]:
        """One read; the state is the core's and what it says of the next read (B, 5)."""
        canvas = observation["canvas"]
        core, numbers = state if state is not None else (None, self.filters.bias.expand(len(canvas), -1))
        filters = filters_of(numbers, self.READ, self.pixels)
        core = self.core(filter_read(canvas, filters, self.READ).flatten(1), core)
        h = at_least_float32(core[0])
        with torch.autocast("cpu", enabled=False):
            logits, numbers = self.classifier(h), self.filters(h)
        following = window_of(filters_of(numbers, self.READ, self.pixels), self.READ, self.pixels)
        return soft_step(logits, window_of(filters, self.READ, self.pixels), following), (core, numbers)


def filter_layer(inputs: int, count: int, pixels: int) -> nn.Linear:
    """A layer that says where filters are: at first `count` span the canvas, half a stride wide."""
    layer = nn.Linear(inputs, 5)
    nn.init.normal_(layer.weight, std=0.01)
    stride = (pixels - 1) / (count - 1)
    layer.bias.data = torch.tensor([0, 0, 2 * math.log(stride / 2), 0, 0])
    return layer
