"""Elman's simple recurrent network (Elman 1990) with rectified units, the core of RAM."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents.cores.core import Core


class Elman(Core):
    """h_t = ReLU(Lin(h_{t-1}) + Lin(x_t)) (Mnih et al. 2014, section 4); the state and the output are h."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(inputs, width)
        self.glimpse = nn.Linear(inputs, width)
        self.recurrent = nn.Linear(width, width, bias=False)

    def begin_from(self, y: Tensor) -> Tensor:
        """See `Core.begin_from`."""
        return y

    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `Core.forward`; the state is h (B, width)."""
        z = self.glimpse(x)
        if state is not None:
            z = torch.addmm(z, state, self.recurrent.weight.t())
        h = F.relu(z)
        return h, h
