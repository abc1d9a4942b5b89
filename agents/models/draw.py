"""DRAW, the deep recurrent attentive writer (Gregor, Danihelka, Graves, Rezende, Wierstra 2015)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents import checks, parallel
from agents.agent import Agent, Sees, Spec, Step, soft_step
from agents.cores import LSTM, Kind, State, make_core
from agents.device import full_precision
from agents.parts.windows import (
    at_least_float32,
    filter_read,
    filter_write,
    filters_of,
    limit_gradient,
    window_of,
)


@dataclasses.dataclass(frozen=True)
class DRAWClassifierSettings:
    """What DRAW's classifier is built from."""

    hidden: int = 256
    """The width of the core, in units."""
    core: Kind = "lstm"
    """The recurrent core, see agents/cores; the paper's is an LSTM."""
    window_clip: float = 0.0
    """A limit of the gradient by which a scene moves its next window, see `parts.windows`; 0 is none."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        checks.positive(self, "hidden")
        checks.not_negative(self, "window_clip")

    def build(self, spec: Spec) -> DRAWClassifier:
        """The classifier with fresh weights for an environment of `spec`."""
        return DRAWClassifier(
            spec.canvas, spec.num_answers, spec.horizon, self.hidden, self.window_clip, self.core
        )


@dataclasses.dataclass(frozen=True)
class DRAWSettings:
    """What DRAW, which draws, is built from."""

    steps: int = 64
    """How many times it reads and writes."""
    hidden: int = 256
    """The width of the encoder and of the decoder, in units."""
    latent: int = 100
    """The width of z, in units."""
    read: int = 2
    """How many filters a side it reads through."""
    write: int = 5
    """How many filters a side it writes through."""
    attention: bool = True
    """Whether it reads and writes through windows; without, it sees and touches all of the canvas."""
    brightness: float = 0.13
    """The brightness of the empty canvas, between 0 and 1: the mean of the pictures' pixels."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        checks.positive(self, "steps", "hidden", "latent", "read", "write")
        if not 0 < self.brightness < 1:
            raise ValueError(f"brightness must be between 0 and 1, got {self.brightness}")

    def build(self, spec: Spec) -> DRAW:
        """DRAW with fresh weights for the canvases of an environment of `spec`."""
        return DRAW(
            spec.canvas,
            self.steps,
            self.hidden,
            self.latent,
            self.read,
            self.write,
            self.attention,
            self.brightness,
        )


class DRAWClassifier(Agent):
    """The paper's "differentiable RAM" (section 4.1): a core that reads by 12x12 Gaussian filters.

    canvas_shape (C, H, W), square. glimpses: each has a bias of its own for where it reads (the paper has one
    for all), so that an untrained eye zooms in, see `zoom`; further ones share the last. window_clip: of
    the gradient by which a scene moves its next window, see `limit_gradient`; 0 lets it be.
    """

    sees: Sees = "canvas"
    READ = 12

    def __init__(
        self,
        canvas_shape: tuple[int, int, int],
        num_answers: int,
        glimpses: int,
        hidden: int = 256,
        window_clip: float = 0.0,
        core: Kind = "lstm",
    ) -> None:
        super().__init__()
        self.window_clip = window_clip
        channels, self.pixels, _ = canvas_shape
        self.core = make_core(core, channels * self.READ**2, hidden, glimpses)
        self.classifier = nn.Linear(hidden, num_answers)
        self.filters = nn.Linear(hidden, 5, bias=False)
        nn.init.normal_(self.filters.weight, std=0.01)
        self.biases = nn.Parameter(zoom(glimpses, self.READ, self.pixels))

    def initial(self, batch_size: int) -> tuple[State, Tensor, Tensor]:
        """The core starts from zeros; the first read is where its bias says."""
        glimpse = torch.zeros(batch_size, dtype=torch.long, device=self.biases.device)
        return None, self.biases[:1].expand(batch_size, -1), glimpse

    def forward(
        self,
        observation: dict[str, Tensor],
        state: tuple[State, Tensor, Tensor],
        sample: bool,
    ) -> tuple[Step, tuple[State, Tensor, Tensor]]:
        """One read; the state is the core's, what it says of the next read (B, 5), and which that is (B,)."""
        canvas = observation["canvas"]
        core, numbers, glimpse = state
        filters = filters_of(numbers, self.READ, self.pixels)
        patch = filter_read(canvas, filters, self.READ)
        h, core = self.core(patch.flatten(1), core)
        h = at_least_float32(h)
        glimpse = glimpse + 1
        with full_precision(h):
            logits = self.classifier(h)
            numbers = self.filters(h) + self.biases[glimpse.clamp(max=len(self.biases) - 1)]
        limit_gradient(numbers, self.window_clip)
        following = window_of(filters_of(numbers, self.READ, self.pixels), self.READ, self.pixels)
        window = window_of(filters, self.READ, self.pixels)
        # What is shown is what was there: the gain only makes it loud or silent.
        shown = patch / filters.gain[:, None, None, None]
        return soft_step(logits, window, shown, following), (core, numbers, glimpse)


class Stroke(NamedTuple):
    """One step of DRAW on B pictures.

    canvas (B, C, H, W): logits of the picture so far. latent_loss (B,): KL(Q || N(0, 1)) of the step, in
    nats; zeros when it dreams. read, write (B, 2, 3): its windows, see parts.windows.affine_read; read is
    None when it dreams, both are without attention.
    """

    canvas: Tensor
    latent_loss: Tensor
    read: Tensor | None
    write: Tensor | None


class DRAW(nn.Module):
    """DRAW as a generator (equations 3 to 8): an encoder that reads, a decoder that writes, `steps` times.

    canvas_shape (C, H, W), square. read, write: filters a side; attention: without it, both see and touch
    all of the canvas (equations 17, 18). hidden, latent: widths of the two LSTMs and of z. brightness: of
    the first canvas, in (0, 1). It is no agent: nothing is asked of it.
    """

    sees: Sees = "canvas"
    looks: bool = True

    def __init__(
        self,
        canvas_shape: tuple[int, int, int],
        steps: int,
        hidden: int = 256,
        latent: int = 100,
        read: int = 2,
        write: int = 5,
        attention: bool = True,
        brightness: float = 0.13,
    ) -> None:
        super().__init__()
        self.shape = canvas_shape
        self.steps = steps
        self.read_size, self.write_size, self.attention = read, write, attention
        channels, self.pixels, _ = canvas_shape
        seen = 2 * channels * (read**2 if attention else self.pixels**2)
        self.encoder = LSTM(seen + hidden, hidden)
        self.decoder = LSTM(latent, hidden)
        self.posterior = nn.Linear(hidden, 2 * latent)
        self.patch = nn.Linear(hidden, channels * (write**2 if attention else self.pixels**2))
        if attention:
            self.reader = filter_layer(hidden, read, self.pixels)
            self.writer = filter_layer(hidden, write, self.pixels)
        self.start = nn.Parameter(torch.full(canvas_shape, math.log(brightness / (1 - brightness))))
        self.first = nn.Parameter(torch.zeros(hidden))  # the decoder's output before the first step

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction and latent loss of pictures (B, C, H, W) in [0, 1]: (B,) each, in nats.

        Their sum is a sample of the bound on -log p(x) where x is binary (equations 9 to 12).
        """
        strokes = list(self.reconstruct(x))
        logits = strokes[-1].canvas
        reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum((1, 2, 3))
        return reconstruction, torch.stack([stroke.latent_loss for stroke in strokes]).sum(0)

    def reconstruct(self, x: Tensor) -> Iterator[Stroke]:
        """Draw x (B, C, H, W) from what is seen of it, step by step, with fresh noise at each."""
        canvas, h = self._begin(len(x))
        encoder = decoder = None
        for _ in range(self.steps):
            seen, window = self._read(torch.cat([x, x - torch.sigmoid(canvas)], 1), h)
            encoded, encoder = self.encoder(torch.cat([seen, h], 1), encoder)
            with full_precision(encoded):
                mean, log_sigma = self.posterior(at_least_float32(encoded)).chunk(2, 1)
                z = mean + log_sigma.exp() * parallel.randn_like(mean)
                latent = 0.5 * (mean**2 + (2 * log_sigma).exp() - 2 * log_sigma - 1).sum(1)
            decoded, decoder = self.decoder(z, decoder)
            h = at_least_float32(decoded)
            canvas, written = self._write(canvas, h)
            yield Stroke(canvas, latent, window, written)

    def dream(self, count: int) -> Iterator[Stroke]:
        """Draw `count` pictures from z ~ N(0, 1), step by step."""
        canvas, _ = self._begin(count)
        decoder = None
        for _ in range(self.steps):
            z = torch.randn(count, self.posterior.out_features // 2, device=canvas.device)
            decoded, decoder = self.decoder(z, decoder)
            canvas, written = self._write(canvas, at_least_float32(decoded))
            yield Stroke(canvas, canvas.new_zeros(count), None, written)

    def _begin(self, batch: int) -> tuple[Tensor, Tensor]:
        return self.start.expand(batch, *self.shape), self.first.expand(batch, -1)

    def _read(self, pictures: Tensor, h: Tensor) -> tuple[Tensor, Tensor | None]:
        if not self.attention:
            return pictures.flatten(1), None
        with full_precision(h):
            filters = filters_of(self.reader(h), self.read_size, self.pixels)
        window = window_of(filters, self.read_size, self.pixels)
        return filter_read(pictures, filters, self.read_size).flatten(1), window

    def _write(self, canvas: Tensor, h: Tensor) -> tuple[Tensor, Tensor | None]:
        with full_precision(h):
            patch = self.patch(h)
            if not self.attention:
                return canvas + patch.view_as(canvas), None
            filters = filters_of(self.writer(h), self.write_size, self.pixels)
            patch = patch.view(len(h), -1, self.write_size, self.write_size)
            canvas = canvas + filter_write(patch, filters, self.pixels, self.pixels)
        return canvas, window_of(filters, self.write_size, self.pixels)


def zoom(glimpses: int, count: int, pixels: int) -> Tensor:
    """Where `count` filters begin, (glimpses, 5): the first span the canvas, the last a digit of 28 pixels.

    Each spans the same share of the one before. Training makes their gain about 5: a wide window is dim.
    """
    share = torch.linspace(0, 1, glimpses)
    log_span = share * math.log(min(1, 28 / pixels))
    numbers = torch.zeros(glimpses, 5)
    numbers[:, 2] = 2 * (log_span + math.log((pixels - 1) / (count - 1) / 2))  # half a stride wide
    numbers[:, 3] = log_span
    numbers[:, 4] = math.log(5)
    return numbers


def filter_layer(inputs: int, count: int, pixels: int) -> nn.Linear:
    """A layer that says where filters are: at first `count` span the canvas, half a stride wide."""
    layer = nn.Linear(inputs, 5)
    nn.init.normal_(layer.weight, std=0.01)
    stride = (pixels - 1) / max(count - 1, 1)
    layer.bias.data = torch.tensor([0, 0, 2 * math.log(stride / 2), 0, 0])
    return layer
