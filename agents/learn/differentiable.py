"""Training of agents that see the canvas: cross-entropy on whole scenes, gradients through every look."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from agents import checks
from agents.agent import Agent
from agents.learn import losses
from agents.learn.envs import make_env
from agents.learn.evaluate import Evaluation, Mode, evaluate
from agents.learn.loop import (
    BatchResult,
    Lesson,
    LoopLearner,
    Scorer,
    Task,
    error_on_validation,
)
from agents.learn.reinforce import asked
from agents.learn.rollout import Trajectory, learning, rollout
from agents.models.draw import DRAWClassifierSettings
from agents.models.edram import EDRAMSettings, SlimEDRAMSettings
from agents.models.raster import RasterSettings
from agents.models.reader import Reader, ReaderSettings
from agents.models.stn import SpatialTransformerSettings
from agents.models.whole_canvas import CNNSettings, WholeCanvasSettings
from glimpse_env.wrappers import glimpse_env_of

STATISTICS = 16  # batches that batch normalisation's running statistics are measured on


@dataclasses.dataclass(frozen=True)
class CrossEntropy(LoopLearner):
    """Cross-entropy of the answers that are due."""

    TEACHES: ClassVar[tuple[type, ...]] = (WholeCanvasSettings, CNNSettings, RasterSettings)

    curriculum: float = 0.0
    """The share of training in which scenes become as difficult as the task's own, in [0, 1)."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        checks.share(self, "curriculum")

    @property
    def boxes(self) -> bool:
        """Whether the loss needs to know where the symbols lie."""
        return False

    def lesson(self, agent: Agent, task: Task) -> Lesson[Agent]:
        """Train on scenes of the environment's own generator."""
        # Nobody sees the retina here: the smallest one takes the least time.
        env = {**task.env, "split": "train", "retina_size": 1, "scales": 1}
        if not agent.looks:  # it answers at once: there is nothing to wait for
            env = {key: value for key, value in env.items() if key != "horizon"} | {"glimpses_per_answer": 1}
        made = make_env(agent, task.env_id, task.loop.batch_size, boxes=self.boxes, **env)
        score = error_on_validation(task)

        def batch(seeds: list[int] | None, progress: float) -> BatchResult:
            if self.curriculum > 0:
                glimpse_env_of(made).difficulty = min(1.0, progress / self.curriculum)
            played = rollout(learning(agent, made), made, sample=False, seed=seeds)
            right = played.correct.float().mean()
            return BatchResult(self.loss(played, made), {"train_error": 100 * (1 - right)})

        def validate(averaged: Agent) -> dict[str, float]:
            measure_statistics(averaged, lambda: rollout(averaged, made, sample=False))
            return score(averaged)

        return Lesson(batch, validate, made.close)

    def loss(self, played: Trajectory, env: Any) -> Tensor:
        """The loss of a batch of episodes."""
        return losses.cross_entropy(played.logits[played.answered], asked(played)[played.answered])


@dataclasses.dataclass(frozen=True)
class Comprehension(CrossEntropy, Scorer):
    """The same for readers, of whom the papers say how often they are right."""

    TEACHES: ClassVar[tuple[type, ...]] = (ReaderSettings,)

    def figures(self, model: Reader, task: Task, split: str) -> dict[Mode, Evaluation]:
        """How many answers are right, in percent."""
        found = evaluate(model, task.env_id, split, **task.env)
        low, high = found.ci95
        return {"deterministic": Evaluation(100 - found.error, (100 - high, 100 - low), found.scenes)}

    def metric(self, task: Task, mode: Mode) -> str:
        """What a figure is of."""
        return "accuracy"


@dataclasses.dataclass(frozen=True)
class Windows(CrossEntropy):
    """Cross-entropy, of the answers that are due or after every glimpse, and the windows' error."""

    TEACHES: ClassVar[tuple[type, ...]] = (
        DRAWClassifierSettings,
        EDRAMSettings,
        SlimEDRAMSettings,
        SpatialTransformerSettings,
    )

    every_glimpse: bool = False
    """Whether each glimpse is asked for the answer, or only the last one before it is due."""
    theta_weight: float = 0.0
    """The weight of the windows' error beside the cross-entropy: above 0 they are shown where the digits
    are, 0 teaches by the labels alone."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        super().__post_init__()
        checks.not_negative(self, "theta_weight")

    @property
    def boxes(self) -> bool:
        """Whether the loss needs to know where the symbols lie."""
        return self.theta_weight > 0

    def lesson(self, agent: Agent, task: Task) -> Lesson[Agent]:
        """Train on scenes of the environment's own generator; ValueError for more symbols than answers."""
        lesson = super().lesson(agent, task)
        if self.boxes:
            env = make_env(agent, task.env_id, 1, **task.env)
            symbols, answers = glimpse_env_of(env).world.max_digits, glimpse_env_of(env).task.length
            if symbols > answers:
                raise ValueError(f"theta_weight needs an answer for each box, got {symbols} and {answers}")
        return lesson

    def loss(self, played: Trajectory, env: Any) -> Tensor:
        """The loss of a batch of episodes."""
        glimpses = len(played.logits) / len(played.answered)  # for each answer
        if self.every_glimpse:
            wanted = torch.where(played.playing, played.next, -1)
            loss = losses.cross_entropy(played.logits, wanted) / glimpses
        else:
            loss = super().loss(played, env)
        if self.boxes:
            assert played.boxes is not None
            assert played.window is not None
            pixels = glimpse_env_of(env).world.canvas_shape[1:]
            windows = windows_around(played.boxes, pixels, played.target.shape[1])
            given = played.due.any(1).cumsum(0) - played.due.any(1).long()  # answers before each step
            windows = windows.transpose(0, 1)[given]
            windows = windows.masked_fill(~played.playing[..., None, None], torch.nan)
            loss = loss + self.theta_weight * losses.theta_error(played.window, windows) / glimpses
        return loss


@torch.no_grad()
def measure_statistics(agent: Agent, see: Callable[[], object]) -> None:
    """Give batch normalisation its running statistics: means over batches of training scenes.

    The average of many weights has none of its own (Izmailov et al. 2018, section 3.2), and those of the last
    weights do not fit it; a BNLSTM keeps the latter. `see` shows `agent` a batch; it is not called without
    batch normalisation. Raises ValueError for one that is not in training mode, whose statistics would stay
    empty.
    """
    norms = [module for module in agent.modules() if isinstance(module, nn.BatchNorm2d)]
    if not all(norm.training for norm in norms):
        raise ValueError("batch normalisation measures in training mode: call train() first")
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # PyTorch's word for a plain mean
    for _ in range(STATISTICS if norms else 0):
        see()


def windows_around(boxes: Tensor, pixels: tuple[int, ...], length: int) -> Tensor:
    """The theta (B, length, 2, 3) that sees exactly each box (B, K, 4) of a canvas of `pixels`, else NaN."""
    size = boxes.new_tensor([pixels[1], pixels[0]])  # x, then y
    corner, extent = boxes[..., :2].float(), boxes[..., 2:].float()
    gaze = 2 * (corner + (extent - 1) / 2) / (size - 1) - 1
    theta = torch.cat([torch.diag_embed(extent / size), gaze[..., None]], -1)
    theta = theta.masked_fill((extent == 0).any(-1)[..., None, None], torch.nan)
    nowhere = theta.new_full((len(boxes), length - boxes.shape[1], 2, 3), torch.nan)
    return torch.cat([theta, nowhere], 1)
