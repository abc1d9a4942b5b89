"""Sequence to sequence on pictures: a raster of glimpses is read like a sentence, and answers are said.

Every glimpse goes through DRAM's glimpse network, an LSTM reads them from both ends, line by line, and
another one says the answers, from what is remembered at the end (Sutskever, Vinyals, Le 2014) or, with
attention, from all glimpses as each answer needs them (Bahdanau, Cho, Bengio 2015). Nothing is chosen here:
it is what hard attention and windows are compared with.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from agents import checks
from agents.agent import Spec
from agents.cores import LSTM
from agents.parts.alignment import Alignment
from agents.parts.at_once import AtOnce
from agents.parts.glimpse_networks import ConvGlimpseNetwork


@dataclasses.dataclass(frozen=True)
class RasterSettings:
    """What a reader of a raster is built from."""

    size: int = 12
    """The side of a glimpse, in pixels of the canvas."""
    stride: int = 6
    """How far glimpses lie apart, in pixels; the last of a line ends with the canvas."""
    hidden: int = 128
    """The width of what a glimpse becomes and of the LSTMs, in units."""
    attention: bool = True
    """Whether every answer looks back at all glimpses; else it is said from what is remembered."""
    dropout: float = 0.1
    """The share of units that training drops before an answer, in [0, 1)."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        checks.positive(self, "size", "stride", "hidden")
        checks.share(self, "dropout")
        if self.hidden % 2:
            raise ValueError(f"hidden must be even, for two directions, got {self.hidden}")

    def build(self, spec: Spec) -> Raster:
        """The reader with fresh weights for an environment of `spec`."""
        return Raster(spec, self)


class Raster(AtOnce):
    """Glimpse network, encoder, decoder and, with it, attention: see the settings.

    Raises ValueError for a canvas that is smaller than a glimpse.
    """

    def __init__(self, spec: Spec, settings: RasterSettings) -> None:
        super().__init__()
        own = self.settings = settings
        channels, height, width = spec.canvas
        if min(height, width) < own.size:
            raise ValueError(f"size must be at most the canvas's {min(height, width)}, got {own.size}")
        self.length = spec.length
        corners = [
            (y, x) for y in places(height, own.size, own.stride) for x in places(width, own.size, own.stride)
        ]
        middle = torch.tensor(corners, dtype=torch.float32).flip(1) + (own.size - 1) / 2
        gaze = 2 * middle / torch.tensor([width - 1, height - 1]) - 1
        self.register_buffer("gaze", gaze, persistent=False)
        self.corners = corners
        self.glimpse = ConvGlimpseNetwork((channels, own.size, own.size), own.hidden)
        half = own.hidden // 2
        self.ahead, self.back = LSTM(own.hidden, half), LSTM(own.hidden, half)
        seen = own.hidden if own.attention else 0
        self.decoder = LSTM(own.hidden, own.hidden)
        self.alignment = Alignment("concat", own.hidden, own.hidden) if own.attention else None
        self.readout = nn.Linear(own.hidden + seen, own.hidden)
        self.classifier = nn.Linear(own.hidden, spec.num_answers)
        self.dropout = nn.Dropout(own.dropout)

    def answers(self, canvas: Tensor) -> Tensor:
        """See `AtOnce.answers`."""
        return self.read(canvas)[0]

    def read(self, canvas: Tensor) -> tuple[Tensor, Tensor]:
        """The logits of all answers (B, L, n), and how much each attended to each of G glimpses (B, L, G)."""
        batch, size = len(canvas), self.settings.size
        patches = torch.stack([canvas[:, :, y : y + size, x : x + size] for y, x in self.corners], 1)
        gaze = self.gaze.to(canvas.dtype).expand(batch, -1, -1)  # type: ignore[operator]
        seen = self.glimpse(patches.flatten(0, 1), gaze.flatten(0, 1))
        xs = seen.view(batch, len(self.corners), -1).transpose(0, 1)
        ahead, _ = self.ahead.unroll(xs, None)
        back, _ = self.back.unroll(xs.flip(0), None)
        keys = torch.cat([ahead, back.flip(0)], -1).transpose(0, 1)
        state = self.decoder.begin_from(torch.cat([ahead[-1], back[-1]], -1))
        there = torch.ones(batch, len(self.corners), dtype=torch.bool, device=canvas.device)
        prepared = None if self.alignment is None else self.alignment.prepare(keys)
        read = keys.new_zeros(batch, self.settings.hidden)
        logits, looks = [], []
        for _ in range(self.length):
            y, state = self.decoder(read, state)
            if self.alignment is None:
                weights, parts = there.float() * 0, [y]
            else:
                weights = self.alignment(y[:, None], prepared, there)[:, 0]
                parts = [y, (weights[:, None].to(keys.dtype) @ keys)[:, 0].to(y.dtype)]
            read = torch.tanh(self.readout(torch.cat(parts, -1)))
            logits.append(self.classifier(self.dropout(read)).float())
            looks.append(weights)
        return torch.stack(logits, 1), torch.stack(looks, 1)


def places(length: int, size: int, stride: int) -> list[int]:
    """Where glimpses of a line begin: every `stride` pixels, and the last at its end."""
    last = length - size
    return [*range(0, last, stride), last]
