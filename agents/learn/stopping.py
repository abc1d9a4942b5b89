"""Training and scoring of models that know when to stop, by the length of what they complete."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from agents.agent import device_of
from agents.learn.evaluate import Evaluation, Mode, mean_of, scoring
from agents.learn.loop import BatchResult, Lesson, LoopLearner, Scorer, Task
from agents.learn.sequences import Ended, Ending, make_sequences
from agents.models.stopper import Stopper, StopperSettings

SCORED = 2000  # sequences of a split that are completed


@dataclasses.dataclass(frozen=True)
class WhenToStop(LoopLearner, Scorer):
    """The surprise of every next step, and of the end."""

    TEACHES: ClassVar[tuple[type, ...]] = (StopperSettings,)
    SEQUENCES: ClassVar[tuple[str, ...]] = ("columns", "lines")

    def lesson(self, model: Stopper, task: Task) -> Lesson[Stopper]:
        """Train on whole sequences; what is validated is the error of completed ones in length."""
        sequences = ending(task)
        generator = np.random.default_rng()

        def batch(seeds: list[int] | None, progress: float) -> BatchResult:
            nonlocal generator
            if seeds is not None:
                generator = np.random.default_rng(seeds[0])
            drawn = sequences.draw(generator, task.loop.batch_size)
            content, end = losses_of(model, drawn, sequences.shown)
            return BatchResult(content + end, {"end": end})

        def validate(averaged: Stopper) -> dict[str, Any]:
            said, true = completed_lengths(averaged, sequences, "validation")
            return {"validation_steps": (said - true).abs().float().mean().item()}

        return Lesson(batch, validate, lambda: None, "sequences")

    def figures(self, model: Stopper, task: Task, split: str) -> dict[Mode, Evaluation]:
        """By how many steps a completed sequence is too short or too long, and how far apart all lengths are.

        The second is the earth mover's distance between the lengths of completed and of true sequences.
        """
        said, true = completed_lengths(model, ending(task), split)
        return {
            "deterministic": mean_of((said - true).abs().float()),
            "distribution": between_distributions(said, true),
        }

    def metric(self, task: Task, mode: Mode) -> str:
        """Steps."""
        return "steps"


def between_distributions(said: Tensor, true: Tensor) -> Evaluation:
    """The earth mover's distance between two samples of lengths, (N,) each, with its interval.

    Two samples of one distribution are not 0 apart either, so that 0 is not to be expected. By Kantorovich's
    duality the distance is the mean of f(said) - f(true), whose f rises by one a step where more of the true
    sequences have ended than of the said ones, and falls where fewer have. The interval is that mean's.
    """
    lengths = torch.cat([said, true]).sort().values
    ended = [torch.searchsorted(one.sort().values, lengths, right=True) / len(one) for one in (said, true)]
    slope = (ended[1] - ended[0]).sign()[:-1] * lengths.diff()
    f = F.pad(slope.cumsum(0), (1, 0))
    return mean_of(f[torch.searchsorted(lengths, said)] - f[torch.searchsorted(lengths, true)])


def ending(task: Task) -> Ending:
    """The sequences that a task names; ValueError for others, that have one length."""
    made = make_sequences(task.env_id, task.env)
    if not isinstance(made, Ending):
        raise ValueError(f"when to stop is asked of 'columns' or 'lines', got {task.env_id!r}")
    return made


def losses_of(model: Stopper, batch: Ended, shown: int) -> tuple[Tensor, Tensor]:
    """Nats a sequence, the mean over a batch: of the steps, and of the end.

    shown: how many steps of each sequence are shown before it is to be completed. Only then, a model that
    counts down says how many are left, and is told so from then on.
    """
    steps, length = batch.steps.to(device_of(model)), batch.length.to(device_of(model))
    place = torch.arange(len(steps), device=steps.device)[:, None]
    left = torch.where(place >= shown, length - place - 1, -1) if model.way == "countdown" else -1 + 0 * place
    ys, _ = model(steps, left.expand(len(steps), steps.shape[1]))
    follows = place[:-1] + 1 < length
    if model.way == "symbol":  # the end is one more step
        last = place + 1 == length
        mark = model.end.to(steps.device)
        after = torch.cat([steps[1:], torch.zeros_like(steps[:1])])
        after = torch.where(last if model.spec.symbols else last[..., None], mark, after)
        nats = model.surprise(ys, after)
        content, end = (nats[:-1] * follows).sum(0), (nats * last).sum(0)
    else:
        content = (model.surprise(ys[:-1], steps[1:]) * follows).sum(0)
        if model.way == "coin":
            scores = model.coin(ys)[..., 0]
            coin = F.binary_cross_entropy_with_logits(scores, (place + 1 == length).float(), reduction="none")
            end = (coin * (place < length)).sum(0)
        else:
            end = F.cross_entropy(model.left(ys[shown - 1]), length - shown, reduction="none")
    return content.mean(), end.mean()


def completed_lengths(model: Stopper, sequences: Ending, split: str) -> tuple[Tensor, Tensor]:
    """The lengths of sequences whose first steps are shown and the rest drawn, and the true ones: (N,) each.

    What has not ended after as many steps as any sequence has is cut there.
    """
    whole = sequences.first(split, SCORED)
    shown, most = sequences.shown, model.spec.length
    with scoring(model, 0):
        steps = whole.steps[:shown].to(device_of(model))
        unknown = torch.full(steps.shape[:2], -1, device=steps.device)
        ys, state = model(steps, unknown)
        y = ys[-1]
        said = torch.full((steps.shape[1],), shown, device=steps.device)
        ended = torch.zeros_like(said, dtype=torch.bool)
        left = torch.full_like(said, -1)
        if model.way == "countdown":
            left = torch.multinomial(model.left(y).softmax(-1), 1)[:, 0]
            ended = left == 0
        for place in range(shown, most + 1):
            if model.way == "coin":
                ended = ended | (torch.rand(len(y), device=y.device) < torch.sigmoid(model.coin(y)[:, 0]))
            step = model.draw(y)
            if model.way == "symbol":
                ended = ended | model.means_end(step)
            if place == most or ended.all():
                break
            said = said + (~ended).long()
            if model.way == "countdown":
                left = left - 1
                ended = ended | (left <= 0)
            ys, state = model(step[None], left[None], state)
            y = ys[0]
    return said.cpu(), whole.length
