"""Training and scoring of models that answer about a sequence: one error, at the steps that are asked."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from agents import checks
from agents.agent import device_of
from agents.cores.regulariser import carry_back, omega
from agents.device import full_precision
from agents.learn.evaluate import Evaluation, Mode, mean_of, score, scoring
from agents.learn.loop import BatchResult, Lesson, LoopLearner, Scorer, Task
from agents.learn.sequences import Batch, Sequences, make_sequences
from agents.models.sequence import SequenceModel, SequenceSettings


@dataclasses.dataclass(frozen=True)
class Recall(LoopLearner, Scorer):
    """The squared error of numbers that are asked, or the cross-entropy of answers."""

    TEACHES: ClassVar[tuple[type, ...]] = (SequenceSettings,)
    SEQUENCES: ClassVar[tuple[str, ...]] = ("adding", "copying", "rows", "pixels", "permuted")

    omega_weight: float = 0.0
    """The weight of Pascanu's regulariser (cores/regulariser.py), for cores "elman", "relu" and "irnn"."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        checks.not_negative(self, "omega_weight")

    def check(self, model: object) -> None:
        """Raise ValueError for a regulariser of a core whose state is not one tensor."""
        assert isinstance(model, SequenceSettings)
        if self.omega_weight > 0 and model.core not in ("elman", "relu", "irnn"):
            raise ValueError(f"omega_weight is for cores elman, relu and irnn, not {model.core!r}")

    def lesson(self, model: SequenceModel, task: Task) -> Lesson[SequenceModel]:
        """Train on sequences that are drawn; what is validated is what the task is scored by."""
        sequences = make_sequences(task.env_id, task.env)
        generator = np.random.default_rng()

        def batch(seeds: list[int] | None, progress: float) -> BatchResult:
            nonlocal generator
            if seeds is not None:
                generator = np.random.default_rng(seeds[0])
            drawn = sequences.draw(generator, task.loop.batch_size)
            if self.omega_weight > 0:
                loss, regulariser = with_omega(model, drawn)
                return BatchResult(loss + self.omega_weight * regulariser, {"omega": regulariser})
            return BatchResult(error_of(model, drawn).mean(), {})

        def validate(averaged: SequenceModel) -> dict[str, float]:
            name = sequences.metric.replace("test_", "")
            return {f"validation_{name}": evaluate(averaged, sequences, "validation").error}

        return Lesson(batch, validate, lambda: None, "sequences")

    def figures(self, model: SequenceModel, task: Task, split: str) -> dict[Mode, Evaluation]:
        """The error on all frozen sequences of a split."""
        return {"deterministic": evaluate(model, make_sequences(task.env_id, task.env), split)}

    def metric(self, task: Task, mode: Mode) -> str:
        """The sequences' own."""
        return make_sequences(task.env_id, task.env).metric


def error_of(model: SequenceModel, batch: Batch) -> Tensor:
    """The error of each sequence, (B,): the mean over the steps that are asked."""
    target = batch.target.to(device_of(model))
    outputs, _ = model(batch.inputs.to(device_of(model)), last=len(target))
    return errors(outputs, target)


def errors(outputs: Tensor, target: Tensor) -> Tensor:
    """The squared error, or the cross-entropy, of outputs (S, B, n), the mean over S: (B,)."""
    if target.is_floating_point():
        return (outputs[..., 0] - target).square().mean(0)
    return (
        F.cross_entropy(outputs.flatten(0, 1), target.flatten(), reduction="none").view(target.shape).mean(0)
    )


def with_omega(model: SequenceModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """The mean error of a batch of numbers, and Ω of the core on it; the core's state is its output."""
    xs, state, states = batch.inputs.to(device_of(model)), None, []
    if model.spec.symbols:
        xs = F.one_hot(xs, model.spec.inputs).float()
    for x in xs:
        state, _ = model.core(x, state)
        states.append(state)
    target = batch.target.to(device_of(model))
    ys = torch.stack(states[-len(target) :])
    with full_precision(ys):
        outputs = model.head(ys.float())
    loss = errors(outputs, target).mean()
    error = torch.stack(torch.autograd.grad(loss, states, retain_graph=True))
    before = torch.stack(states[:-1])
    return loss, omega(error[1:], carry_back(model.core, xs[1:], before, error[1:]))


def evaluate(model: SequenceModel, sequences: Sequences, split: str) -> Evaluation:
    """The model's figure on all frozen sequences of a split, with its 95 % interval."""
    each = []
    with scoring(model, 0):
        for batch in sequences.blocks(split):
            if sequences.metric == "test_error":
                outputs, _ = model(batch.inputs.to(device_of(model)), last=1)
                each.append(outputs[0].argmax(-1).cpu() == batch.target[0])
            else:
                each.append(error_of(model, batch).cpu())
    found = torch.cat(each)
    return score(found) if found.dtype == torch.bool else mean_of(found)
