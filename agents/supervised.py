"""Training of agents that see the canvas: cross-entropy on whole scenes, gradients through every look."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from agents import losses
from agents.baselines import NETWORKS, WholeCanvasClassifier
from agents.evaluate import make_env
from agents.interface import Agent, to_tensors
from agents.runs import Run
from agents.training import (
    BatchResult,
    Training,
    check_no_context,
    check_not_negative,
    check_positive,
    error_on_validation,
    train,
)

Network = Literal["fc", "conv", "cnn", "convnet", "draw", "edram", "edram-slim", "st-cnn", "st-fcn"]
STATISTICS = 16  # batches that batch normalisation's running statistics are measured on


@dataclasses.dataclass(frozen=True)
class Supervised(Training):
    """An experiment of an agent that sees the canvas.

    network: "fc", "conv", "cnn" and "convnet" see it all at once (baselines.py); the others look by
    differentiable windows, one at each of the environment's glimpses. hidden: the width of "fc", "conv",
    "convnet", "draw" and "edram-slim"; the others have their own. every_glimpse: whether each glimpse is
    asked for the answer, or only the last before it. theta_weight: of the windows' error beside the
    cross-entropy; 0 teaches by the labels alone, above it the windows are shown where the digits are.
    window_clip: of the gradient by which a scene moves the next window of DRAW or EDRAM, see
    attention.limit_gradient; 0 lets it be.
    """

    network: Network = "fc"
    hidden: int = 256
    every_glimpse: bool = False
    theta_weight: float = 0.0
    window_clip: float = 0.0

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        super().__post_init__()
        check_positive(self, "hidden")
        check_not_negative(self, "theta_weight", "window_clip")
        if self.network in NETWORKS and (self.every_glimpse or self.theta_weight):
            raise ValueError(
                f"every_glimpse and theta_weight are for networks with windows, got network {self.network!r}"
            )
        if self.network not in ("draw", "edram") and self.window_clip:
            raise ValueError(f"window_clip is for networks 'draw' and 'edram', got {self.network!r}")
        check_no_context(self.env, f"network {self.network!r}", "all of the canvas")


def train_supervised(
    run: Run, settings: Supervised, agent: Agent, *, quiet: bool = False
) -> Iterator[dict[str, Any]]:
    """Train `agent` on scenes of the environment's own generator and yield each epoch's metrics."""
    env = make_env(agent, settings.env_id, settings.batch_size, **{**settings.env, "split": "train"})
    horizon, length = env.unwrapped.horizon, env.unwrapped.task.length

    def batch(seeds: list[int] | None, progress: float) -> BatchResult:
        if settings.curriculum > 0:
            env.unwrapped.difficulty = min(1.0, progress / settings.curriculum)
        observation, _ = env.reset(seed=seeds)  # type: ignore[arg-type]
        scenes = to_tensors(env.unwrapped.present_scenes()._asdict())
        target = scenes["target"].view(-1, length)
        canvas = to_tensors(observation)["canvas"]
        if isinstance(agent, WholeCanvasClassifier):
            answers = agent.answers(canvas)
            loss = losses.cross_entropy(answers, target)
        else:
            logits, theta = look_through(agent, canvas, horizon)
            share = horizon // length
            answers = logits[:, share - 1 :: share]
            loss = losses.cross_entropy(answers, target)
            if settings.every_glimpse:
                loss = losses.cross_entropy(logits, target.repeat_interleave(share, 1)) / share
            if settings.theta_weight > 0:
                wanted = windows_around(scenes["boxes"].view(len(canvas), -1, 4), canvas.shape[2:], length)
                wanted = wanted.repeat_interleave(share, 1)
                loss = loss + settings.theta_weight * losses.theta_error(theta, wanted) / share
        right = losses.right_so_far(answers, target)[:, -1].float().mean()
        return BatchResult(loss, {"train_error": 100 * (1 - right)})

    def validate(averaged: Agent) -> dict[str, float]:
        canvases = (to_tensors(env.reset()[0])["canvas"] for _ in range(STATISTICS))
        measure_statistics(averaged, canvases, horizon)
        return error_on_validation(settings)(averaged)

    yield from train(run, settings, agent, batch, validate, quiet=quiet)
    env.close()


@torch.no_grad()
def measure_statistics(agent: Agent, canvases: Iterable[Tensor], glimpses: int) -> None:
    """Give batch normalisation its running statistics: means over canvases, each a batch (B, C, H, W).

    The average of many weights has none of its own (Izmailov et al. 2018, section 3.2), and those of the last
    weights do not fit it. Without batch normalisation nothing is done. `agent` is in training mode.
    """
    norms = [module for module in agent.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # PyTorch's word for a plain mean
    for canvas in canvases if norms else ():
        look_through(agent, canvas, glimpses)


def look_through(agent: Agent, canvas: Tensor, glimpses: int) -> tuple[Tensor, Tensor]:
    """Logits (B, T, n) after each of T glimpses of canvas (B, C, H, W), and their windows (B, T, 2, 3)."""
    state = agent.initial(len(canvas))
    steps = []
    for _ in range(glimpses):
        step, state = agent({"canvas": canvas}, state, False)
        steps.append(step)
    windows = [step.window for step in steps if step.window is not None]
    return torch.stack([step.logits for step in steps], 1), torch.stack(windows, 1)


def windows_around(boxes: Tensor, pixels: torch.Size, length: int) -> Tensor:
    """The theta (B, length, 2, 3) that sees exactly each box (B, K, 4) of a canvas of `pixels`, else NaN.

    Raises ValueError for more boxes than answers: nobody could say which is to be seen.
    """
    if boxes.shape[1] > length:
        raise ValueError(f"theta_weight needs an answer for each box, got {boxes.shape[1]} and {length}")
    size = torch.tensor([pixels[1], pixels[0]])  # x, then y
    corner, extent = boxes[..., :2].float(), boxes[..., 2:].float()
    gaze = 2 * (corner + (extent - 1) / 2) / (size - 1) - 1
    theta = torch.cat([torch.diag_embed(extent / size), gaze[..., None]], -1)
    theta = theta.masked_fill((extent == 0).any(-1)[..., None, None], torch.nan)
    nowhere = theta.new_full((len(boxes), length - boxes.shape[1], 2, 3), torch.nan)
    return torch.cat([theta, nowhere], 1)
