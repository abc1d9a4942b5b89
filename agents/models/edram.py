"""EDRAM, the enriched deep recurrent attention model (Ablavatski, Lu, Cai 2017), and a slim relative.

Both read windows of 26x26 pixels that an affine map theta places (a spatial transformer), so that gradients
reach the place; the lower LSTM answers, the upper one says where to look next. Here theta is
[[s_x, k_x, x], [k_y, s_y, y]], (x, y) a gaze and s the share of the canvas that is seen, see
`parts.windows.affine_read`.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents import checks
from agents.agent import Agent, Sees, Spec, Step, soft_step
from agents.cores import Kind, State, make_core
from agents.device import full_precision
from agents.parts.convolutions import PatchConv2d, keep_variance
from agents.parts.windows import affine_read, at_least_float32, limit_gradient, soft_argmax

WINDOW = 26
EDRAMState = tuple[Tensor, State, State, Tensor]
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclasses.dataclass(frozen=True)
class EDRAMSettings:
    """What EDRAM of the paper's size is built from."""

    core: Kind = "lstm"
    """The recurrent core, see agents/cores; the paper's is an LSTM."""
    window_clip: float = 0.0
    """A limit of the gradient by which a scene moves its next window, see `parts.windows`; 0 is none."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        checks.not_negative(self, "window_clip")

    def build(self, spec: Spec) -> EDRAM:
        """EDRAM with fresh weights for an environment of `spec`."""
        return EDRAM(spec.canvas, spec.num_answers, spec.horizon, self.window_clip, self.core)


@dataclasses.dataclass(frozen=True)
class SlimEDRAMSettings:
    """What the slim EDRAM is built from."""

    hidden: int = 192
    """The width of each of the two cores, in units."""
    core: Kind = "lstm"
    """The recurrent core, see agents/cores; the paper's is an LSTM."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        checks.positive(self, "hidden")

    def build(self, spec: Spec) -> SlimEDRAM:
        """The slim EDRAM with fresh weights for an environment of `spec`."""
        return SlimEDRAM(spec.canvas, spec.num_answers, self.hidden, self.core, spec.horizon)


class EDRAM(Agent):
    """The paper's: 26x26 windows, six of them, a context of 12x12, batch normalisation for each time step.

    But what lies outside the canvas reads as zero, as it does for the retina, not as the nearest border.
    canvas_shape (C, H, W). glimpses: how many it takes, for each has its own statistics; one more raises
    ValueError. window_clip: of the gradient by which a scene moves a window, see `limit_gradient`; 0 lets it
    be.
    """

    sees: Sees = "canvas"

    def __init__(
        self,
        canvas_shape: tuple[int, int, int],
        num_answers: int,
        glimpses: int,
        window_clip: float = 0.0,
        core: Kind = "lstm",
    ) -> None:
        super().__init__()
        self.window_clip = window_clip
        channels = canvas_shape[0]
        convolutions = [
            nn.Conv2d(inputs, outputs, 3, padding=padding, bias=False)
            for inputs, outputs, padding in (
                (channels, 64, 1),
                (64, 64, 0),
                (64, 128, 1),
                (128, 128, 1),
                (128, 160, 1),
                (160, 192, 0),
            )
        ]
        self.what = nn.ModuleList(convolutions)
        # Without it, pooling alone takes a sixth of a training step in bfloat16.
        self.what.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not declared
        self.norms = nn.ModuleList(
            nn.ModuleList(nn.BatchNorm2d(conv.out_channels) for conv in convolutions) for _ in range(glimpses)
        )
        self.what_out = nn.Linear(192 * 4 * 4, 1024)
        self.where_out = nn.Linear(6, 1024)
        self.lower = make_core(core, 1024, 512, glimpses)
        self.upper = make_core(core, 512, 512, glimpses)
        self.classifier = nn.Sequential(
            nn.Linear(512, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, num_answers)
        )
        self.context = nn.Sequential(
            nn.Conv2d(channels, 16, 5),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 4 * 4, 512),
        )
        self.emission = nn.Linear(512, 6)
        for layers in (self.what, self.classifier, self.context, [self.what_out]):
            keep_variance(layers)
        nn.init.zeros_(self.emission.weight)
        self.emission.bias.data = torch.tensor(IDENTITY)

    def initial(self, batch_size: int) -> None:
        """The first observation brings the canvas."""

    def forward(
        self, observation: dict[str, Tensor], state: EDRAMState | None, sample: bool
    ) -> tuple[Step, EDRAMState]:
        """One window; the state is the time (B,), the lower and the upper core's and theta (B, 2, 3)."""
        canvas = observation["canvas"]
        if state is None:
            h = self.context(F.interpolate(canvas, (12, 12), mode="area"))
            time, lower = torch.zeros(len(h), dtype=torch.long, device=h.device), None
            upper, theta = self.upper.begin_from(h), self._emit(h)
        else:
            time, lower, upper, theta = state
        patch = affine_read(canvas, theta, WINDOW)
        g = self._glimpse(patch, theta, self._number(time))
        what, lower = self.lower(g, lower)
        where, upper = self.upper(what, upper)
        following = self._emit(where)
        logits = at_least_float32(self.classifier(what))
        return soft_step(logits, theta, patch, following), (time + 1, lower, upper, following)

    def _number(self, time: Tensor) -> int:
        """Which glimpse this is, the same in all rows; on torch's `meta` device, which has no numbers, 0."""
        return 0 if time.is_meta else int(time[0])

    def _emit(self, h: Tensor) -> Tensor:
        """The next theta (B, 2, 3): tanh, its two scales within [0, 1]."""
        with full_precision(h):
            numbers = self.emission(at_least_float32(h))
            limit_gradient(numbers, self.window_clip)
            theta = torch.tanh(numbers).view(-1, 2, 3)
            scale = torch.eye(2, 3, device=theta.device)
            return theta * (1 - scale) + theta.clamp(0, 1) * scale

    def _glimpse(self, window: Tensor, theta: Tensor, time: int) -> Tensor:
        if time >= len(self.norms):
            raise ValueError(f"this EDRAM has statistics for {len(self.norms)} glimpses: lower the horizon")
        h = window
        for i, (conv, norm) in enumerate(zip(self.what, self.norms[time].children(), strict=True)):
            h = F.relu(norm(conv(h)))
            if i in (1, 3):
                h = F.max_pool2d(h, 2)
        return F.relu(self.what_out(h.flatten(1))) * F.relu(self.where_out(theta.flatten(1)))


class SlimEDRAM(Agent):
    """EDRAM made small and quick to train: the same windows and LSTMs of 192, no normalisation.

    Its context is the canvas at half resolution, in which convolutions draw a heat map: the soft argmax of
    that is the first gaze. Then each theta is the last one plus what the upper core says (residual emission).
    glimpses: of how many a core that keeps statistics of each step keeps them.
    """

    sees: Sees = "canvas"
    SHARE = 0.3  # of the canvas, to begin with

    def __init__(
        self,
        canvas_shape: tuple[int, int, int],
        num_answers: int,
        hidden: int = 192,
        core: Kind = "lstm",
        glimpses: int = 6,
    ) -> None:
        super().__init__()
        channels = canvas_shape[0]
        self.context = nn.Sequential(
            nn.ZeroPad2d(2),
            PatchConv2d(channels, 16, 6, stride=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1, stride=2),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
        )
        self.heat = nn.Conv2d(32, 1, 1)
        self.start = nn.Linear(32 * 4 * 4, hidden)
        self.what = nn.Sequential(
            PatchConv2d(channels, 64, 4, stride=2),
            nn.ReLU(),
            nn.Conv2d(64, 96, 3),
            nn.ReLU(),
            nn.Conv2d(96, 96, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(96, 128, 3, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(128 * 4 * 4, hidden),
        )
        self.where = nn.Linear(6, hidden)
        self.lower = make_core(core, hidden, hidden, glimpses)
        self.upper = make_core(core, hidden, hidden, glimpses)
        self.classifier = nn.Linear(hidden, num_answers)
        self.emission = nn.Linear(hidden, 6)
        for layers in (self.context, self.what):
            keep_variance(layers)
        nn.init.zeros_(self.where.weight)
        nn.init.ones_(self.where.bias)
        nn.init.zeros_(self.emission.weight)
        nn.init.zeros_(self.emission.bias)

    def initial(self, batch_size: int) -> None:
        """The first observation brings the canvas."""

    def forward(
        self, observation: dict[str, Tensor], state: tuple[State, State, Tensor] | None, sample: bool
    ) -> tuple[Step, tuple[State, State, Tensor]]:
        """One window; the state is the lower and the upper core's and theta (B, 2, 3)."""
        canvas = observation["canvas"]
        lower, upper, theta = state if state is not None else (None, *self._look_around(canvas))
        patch = affine_read(canvas, theta, WINDOW)
        g = F.relu(self.what(patch)) * F.relu(self.where(theta.flatten(1)))
        what, lower = self.lower(g, lower)
        where, upper = self.upper(what, upper)
        with full_precision(what):
            following = theta + self.emission(at_least_float32(where)).view(-1, 2, 3)
            logits = self.classifier(at_least_float32(what))
        return soft_step(logits, theta, patch, following), (lower, upper, following)

    def _look_around(self, canvas: Tensor) -> tuple[State, Tensor]:
        """The upper core's first state and the first theta."""
        features = self.context(F.avg_pool2d(canvas, 2))
        h = torch.tanh(self.start(F.adaptive_avg_pool2d(features, 4).flatten(1)))
        # Three strides of two: a cell every eight pixels, the first around pixels 1 and 2.
        gaze = soft_argmax(self.heat(features)[:, 0], 1.5, 8, canvas.shape[-1])
        theta = (self.SHARE * torch.eye(2, 3, device=h.device)).expand(len(canvas), 2, 3)
        return self.upper.begin_from(h), torch.cat([theta[..., :2], gaze[..., None]], -1)
