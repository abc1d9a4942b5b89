"""Captioners: an eye sees a picture at once, and a voice says what is there, word by word.

Show and Tell (Vinyals et al. 2015) knows the picture as a whole when it begins to speak and sees no more
of it. Show, Attend and Tell (Xu et al. 2015) looks at the places of a grid before every word: softly, or
hard, at one. The eye is a small CNN that is trained here, or a pretrained one that is not (parts/eye.py).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents import checks
from agents.agent import Spec, State, device_of
from agents.parts import eye
from agents.parts.voice import Voice, VoiceSettings

Eye = Literal["cnn", "pretrained"]
EYES: tuple[Eye, ...] = get_args(Eye)
ReceptiveField = Literal[21, 29, 61]
RECEPTIVE_FIELDS: tuple[ReceptiveField, ...] = get_args(ReceptiveField)
FAINT = 0.3  # how strongly a place says at first where it is
WIDER = (1, 2, 4, 4, 8, 8)  # times as many filters as the first convolution, each of them
# By how far a place sees, of each convolution: its size, its stride, and how many zeros lie before and after
# what it sees. Those of 21 and 29 lie so that a place sees what is around its own middle.
CONVOLUTIONS: dict[ReceptiveField, tuple[tuple[int, int, int, int], ...]] = {
    21: ((5, 2, 1, 3), (3, 2, 1, 1), (3, 1, 1, 1), (1, 1, 0, 0), (2, 2, 0, 1), (1, 1, 0, 0)),
    29: ((5, 2, 1, 3), (3, 2, 1, 1), (3, 1, 1, 1), (1, 1, 0, 0), (4, 2, 1, 2), (1, 1, 0, 0)),
    61: ((5, 2, 2, 2), (3, 2, 1, 1), (3, 1, 1, 1), (3, 1, 1, 1), (3, 1, 1, 1), (3, 1, 1, 1)),
}
NARROW = 16  # numbers of each place from which the CNN's view of the whole is made


@dataclasses.dataclass(frozen=True)
class CaptionerSettings(VoiceSettings):
    """What a captioner is built from."""

    eye: Eye = "cnn"
    """What sees the picture."""
    filters: int = 16
    """How many filters the first layer of the CNN has; the second has twice, the next two have four times and
    the last two eight times as many."""
    receptive_field: ReceptiveField = 61
    """How many pixels across a place of the CNN's grid sees: 61; 29, all of a digit from near its middle; or
    21, a small thing."""
    pictures_dropout: float = 0.0
    """The share of what the eye sees that training drops, in [0, 1)."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range and for parts that do not fit each other."""
        super().__post_init__()
        checks.positive(self, "filters")
        checks.share(self, "pictures_dropout")
        if self.eye not in EYES:
            raise ValueError(f"eye must be one of {EYES}, got {self.eye!r}")
        if self.receptive_field not in RECEPTIVE_FIELDS:
            raise ValueError(
                f"receptive_field must be one of {RECEPTIVE_FIELDS}, got {self.receptive_field!r}"
            )
        if self.attention == "last":
            raise ValueError("a picture has no last place: choose another attention")
        if self.eye == "pretrained" and (self.filters, self.receptive_field) != (16, 61):
            raise ValueError("filters and receptive_field are the CNN's: leave them out, or set eye to 'cnn'")

    def build(self, spec: Spec) -> Captioner:
        """The captioner with fresh weights for pictures of `spec`."""
        return Captioner(spec, self)


class Captioner(Voice):
    """Eye and voice: see the settings. Raises ValueError for a canvas that does not fit the eye."""

    settings: CaptionerSettings

    def __init__(self, spec: Spec, settings: CaptionerSettings) -> None:
        super().__init__(spec)
        own = settings
        channels, height, width = spec.canvas
        if own.eye == "pretrained":
            if channels != 3:
                raise ValueError(f"the pretrained eye sees colour, and the canvas has {channels} channel(s)")
            self.lines, self.columns = 7, 7
            self.cnn, seen, whole = None, eye.CHANNELS, eye.WHOLE
            self.normal, self.normal_whole = nn.LayerNorm(seen), nn.LayerNorm(whole)
        else:
            self.lines, self.columns = math.ceil(height / 8), math.ceil(width / 8)
            self.cnn, seen = _cnn(channels, own.filters, own.receptive_field), 8 * own.filters
            self.narrow = nn.Conv2d(seen, NARROW, 1)
            whole = NARROW * self.lines * self.columns
        self.key = nn.Linear(seen, own.hidden)
        self.place = nn.Parameter(FAINT * _waves(self.lines, self.columns, own.hidden))
        self.first = nn.Linear(whole, own.hidden * own.layers)
        heard = nn.Embedding(spec.num_answers + 1, own.embedding)
        nn.init.normal_(heard.weight, std=own.embedding**-0.5)
        self._build_voice(spec, own, heard)
        self.blur = nn.Dropout(own.pictures_dropout)
        self.cell = (8.0, 8.0) if self.cnn else (width / self.columns, height / self.lines)
        across, down = (
            _middles(places, pixels, side)
            for places, pixels, side in zip(
                (self.columns, self.lines), (width, height), self.cell, strict=True
            )
        )
        middle = torch.stack([across.repeat(self.lines), down.repeat_interleave(self.columns)], 1)
        self.register_buffer("middle", middle, persistent=False)

    def gaze_of(self, weights: Tensor) -> Tensor:
        """The middle of the place that a word looked at most, (B, 2); of no look the canvas's."""
        gaze: Tensor = self.middle[weights.argmax(1)] * (weights > 0).any(1, keepdim=True)  # type: ignore[index]
        return gaze.detach()

    def covered(self, boxes: Tensor) -> Tensor:
        """How much of each place lies in boxes (…, 4) of x, y, width, height in pixels: (…, N) in [0, 1]."""
        shares = []
        for axis, places in enumerate((self.columns, self.lines)):
            first = torch.arange(places, device=boxes.device) * self.cell[axis]
            begin, end = boxes[..., axis, None], (boxes[..., axis] + boxes[..., axis + 2])[..., None]
            inside = torch.minimum(end, first + self.cell[axis]) - torch.maximum(begin, first)
            shares.append(inside.clamp_min(0) / self.cell[axis])
        across, down = shares
        return (down[..., :, None] * across[..., None, :]).flatten(-2)

    def read(self, canvas: Tensor) -> State:
        """Pictures (B, C, H, W) in [0, 1], or features (B, F) of the pretrained eye -> the state."""
        own = self.settings
        if self.cnn is None:
            features = canvas if canvas.ndim == 2 else eye.pretrained(device_of(self)).features(canvas)
            grid, whole = features.float().tensor_split([eye.GRID * eye.CHANNELS], 1)
            grid = self.normal(grid.view(-1, eye.GRID, eye.CHANNELS))
            whole = self.normal_whole(whole)
        else:
            seen = self.cnn(canvas.contiguous(memory_format=torch.channels_last))
            grid = seen.flatten(2).transpose(1, 2)
            whole = F.relu(self.narrow(seen)).flatten(1)
        keys = F.relu(self.key(self.blur(grid))) + self.place
        lasts = torch.tanh(self.first(self.blur(whole))).chunk(own.layers, 1)
        there = torch.ones(keys.shape[:2], dtype=torch.bool, device=keys.device)
        return self.begin(keys, there, list(lasts))


def _waves(lines: int, columns: int, width: int) -> Tensor:
    """What places begin with, (lines * columns, width): sines and cosines of their y and x.

    Wavelengths go from twice the grid down to two places, as in Vaswani et al. (2017), so that how two places
    lie can be told from the first step on.
    """
    waves = []
    for count in (lines, columns):
        turns = torch.logspace(-1, 0, -(-width // 4), base=max(count, 2)) * torch.pi
        angle = torch.arange(count)[:, None] * turns
        waves.append(torch.cat([angle.sin(), angle.cos()], 1))
    down, across = waves
    return torch.cat([down.repeat_interleave(columns, 0), across.repeat(lines, 1)], 1)[:, :width]


def _middles(places: int, pixels: int, side: float) -> Tensor:
    """Gazes at the middles of places that are `side` pixels wide, (places,)."""
    middle = (torch.arange(places) + 0.5) * side - 0.5
    return (2 * middle / max(pixels - 1, 1) - 1).clamp(-1, 1)


def _cnn(channels: int, filters: int, receptive_field: ReceptiveField) -> nn.Sequential:
    """Six convolutions, each normalised: (B, C, H, W) -> (B, 8 filters, H / 8, W / 8), rounded up."""
    seen, layers = channels, list[nn.Module]()
    for number, (size, stride, before, after) in enumerate(CONVOLUTIONS[receptive_field]):
        wide = WIDER[number] * filters
        if number == 4 and receptive_field == 61:  # to places that are 8 pixels wide
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        if before != after:
            layers.append(nn.ZeroPad2d((before, after, before, after)))
        padding = before if before == after else 0
        conv = nn.Conv2d(seen, wide, size, stride, padding, bias=False)
        # Channels last: with AMX, its gradient and all, 1.6 times as fast.
        conv.weight.data = conv.weight.data.contiguous(memory_format=torch.channels_last)
        layers += [conv, nn.BatchNorm2d(wide), nn.ReLU()]
        seen = wide
    return nn.Sequential(*layers)
