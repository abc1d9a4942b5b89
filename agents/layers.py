"""Parts that several agents share: the glimpse network and the recurrent core of RAM."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GlimpseNetwork(nn.Module):
    """What and where into one vector: g = ReLU(Lin(h_g) + Lin(h_l)) (Mnih et al. 2014, section 4).

    h_g = ReLU(Lin(retina)), h_l = ReLU(Lin(gaze)), `parts` wide each; g is `width` wide.
    """

    def __init__(self, pixels: int, parts: int, width: int) -> None:
        super().__init__()
        self.what = nn.Linear(pixels, parts)
        self.where = nn.Linear(2, parts)
        self.what_out = nn.Linear(parts, width)
        self.where_out = nn.Linear(parts, width, bias=False)  # one bias is enough for a sum

    def forward(self, retina: Tensor, gaze: Tensor) -> Tensor:
        """Retina (B, scales * C, s, s) in [0, 1], gaze (B, 2) -> (B, width)."""
        what = F.relu(self.what(retina.flatten(1)))
        where = F.relu(self.where(gaze))
        return F.relu(torch.addmm(self.what_out(what), where, self.where_out.weight.t()))


class ReLUCore(nn.Module):
    """h_t = ReLU(Lin(h_{t-1}) + Lin(g_t)) (Mnih et al. 2014, section 4)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.glimpse = nn.Linear(inputs, width)
        self.recurrent = nn.Linear(width, width, bias=False)

    def initial(self, batch_size: int) -> None:
        """None stands for zeros, which spares the first step a matrix product."""

    def forward(self, g: Tensor, h: Tensor | None) -> Tensor:
        """G (B, inputs), h (B, width) or None -> (B, width)."""
        z = self.glimpse(g)
        if h is not None:
            z = torch.addmm(z, h, self.recurrent.weight.t())
        return F.relu(z)
