"""Training of agents that look hard: cross-entropy for the answer, REINFORCE for the gaze."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from agents import checks
from agents.learn import losses
from agents.learn.envs import make_env
from agents.learn.loop import (
    BatchResult,
    Lesson,
    LoopLearner,
    Task,
    error_on_validation,
)
from agents.learn.rollout import Trajectory, learning, rollout
from agents.models.dram import DRAMSettings
from agents.models.ram import GivenGazeSettings, RAMSettings
from agents.models.reading_agent import ReadingAgentSettings
from glimpse_env.vector import GlimpseVectorEnv
from glimpse_env.wrappers import glimpse_env_of

Objective = Literal["reinforce", "variational"]
Start = Literal["", "random", "center"]
Decay = Literal["linear", "geometric"]
Baseline = Literal["learned", "leave_one_out"]


@dataclasses.dataclass(frozen=True)
class GivenGaze(LoopLearner):
    """Cross-entropy for the answers and the value baseline's error; the gazes are given."""

    TEACHES: ClassVar[tuple[type, ...]] = (GivenGazeSettings,)

    start_gaze: Start = ""
    """Where the eye starts in training; empty is where the environment says."""
    curriculum: float = 0.0
    """The share of training in which scenes become as difficult as the task's own, in [0, 1)."""
    objective: Objective = "variational"
    """What the value baseline learns to expect: the environment's reward, or log p(target | glimpses)."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range and an unknown name."""
        checks.share(self, "curriculum")
        checks.one_of(self, "start_gaze", Start)
        checks.one_of(self, "objective", Objective)

    @property
    def rollouts(self) -> int:
        """Episodes per image."""
        return 1

    def lesson(self, agent: Any, task: Task) -> Lesson[Any]:
        """Train by the hybrid loss of Mnih et al. (2014), or the part of it that answers.

        From a fixed first gaze the classifier overfits its few views (unless the digit moves: see jitter).
        """
        env = {**task.env, "split": "train"}
        if self.start_gaze:
            env["start_gaze"] = self.start_gaze
        made = make_env(agent, task.env_id, task.loop.batch_size * self.rollouts, **env)

        # Rows of one image that end at different steps would go on with different images.
        drift = self.rollouts > 1 and glimpse_env_of(made).task.end >= 0
        later = np.random.default_rng(0)

        def batch(seeds: list[int] | None, progress: float) -> BatchResult:
            nonlocal later
            if seeds is not None:
                later = np.random.default_rng(seeds)
            elif drift:
                seeds = later.integers(2**63, size=made.num_envs // self.rollouts).tolist()
            return self.batch(agent, made, seeds, progress)

        return Lesson(batch, self.validation(task), made.close)

    def validation(self, task: Task) -> Callable[[Any], dict[str, float]]:
        """What an agent is validated by."""
        return error_on_validation(task)

    def batch(self, agent: Any, env: Any, seeds: list[int] | None, progress: float) -> BatchResult:
        """Play one batch and give its loss."""
        inner = glimpse_env_of(env)
        rows = self.begin(agent, inner, seeds, progress)
        played = rollout(learning(agent, env), env, sample=True, seed=rows)
        loss = losses.cross_entropy(played.logits[played.answered], asked(played)[played.answered])
        reward_tb = earned(played, self.objective, inner.step_cost)
        loss = loss + self.gaze_loss(agent, played, reward_tb)
        right = played.correct.float().mean()
        return BatchResult(loss, {"train_error": 100 * (1 - right), "reward": played.reward.sum(0).mean()})

    def begin(
        self, agent: Any, inner: GlimpseVectorEnv, seeds: list[int] | None, progress: float
    ) -> list[int] | None:
        """Set what changes while training goes on, and give every row of the batch its seed."""
        if self.curriculum > 0:
            inner.difficulty = min(1.0, progress / self.curriculum)
        self.prepare(agent, progress)
        return None if seeds is None else np.repeat(seeds, self.rollouts).tolist()

    def prepare(self, agent: Any, progress: float) -> None:
        """Set what changes in the agent while training goes on."""

    def gaze_loss(self, agent: Any, played: Trajectory, reward_tb: Tensor) -> Tensor:
        """What is added to the answers' loss: the value baseline's error."""
        return losses.baseline_error(played.baseline[:-1] * played.looked, losses.returns(reward_tb))


@dataclasses.dataclass(frozen=True)
class Reinforce(GivenGaze):
    """Cross-entropy for the answers, the value baseline's error, and REINFORCE for the gaze."""

    TEACHES: ClassVar[tuple[type, ...]] = (RAMSettings, DRAMSettings, ReadingAgentSettings)

    objective: Objective = "reinforce"
    """What a gaze is rewarded with: the environment's reward, or log p(target | glimpses) in place of what it
    pays for right answers: then the loss is a sample of the variational bound (Ba et al. 2015, eq. 10)."""
    sigma_start: float | None = None
    """The standard deviation of a gaze at the start of training, in gaze units, from where it is annealed to
    the model's own; None keeps the model's throughout."""
    sigma_decay: Decay = "linear"
    """How sigma is annealed: in a straight line, or by the same factor in every part of training."""
    reinforce_weight: float = 0.1
    """The weight of REINFORCE beside the answers' cross-entropy."""
    entropy_weight: float = 0.0
    """The weight of a gaze's entropy, in nats; for a sigma that is learned."""
    gae_lambda: float = 1.0
    """The lambda of generalised advantages, in [0, 1]: 1 is unbiased, less is less noisy."""
    discount: float = 1.0
    """By which factor each later step counts less than the one before it, in [0, 1]; 1 discounts nothing."""
    baseline: Baseline = "learned"
    """What REINFORCE subtracts: the value of each step, or the mean of the image's other rollouts."""
    rollouts: int = 1
    """Episodes per image; leave_one_out needs two or more."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range and an unknown name."""
        super().__post_init__()
        checks.positive(self, "rollouts")
        checks.one_of(self, "sigma_decay", Decay)
        checks.one_of(self, "baseline", Baseline)
        if self.baseline == "leave_one_out" and self.rollouts == 1:
            raise ValueError(
                "baseline leave_one_out needs the image's other rollouts: set rollouts to 2 or more"
            )
        checks.not_negative(self, "entropy_weight", "reinforce_weight")
        if self.sigma_start is not None:
            checks.positive(self, "sigma_start")
        elif self.sigma_decay != "linear":
            raise ValueError("sigma_decay is of a schedule: set sigma_start, or leave it out")
        for name in ("gae_lambda", "discount"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {getattr(self, name)}")

    def check(self, model: object) -> None:
        """Raise ValueError for a schedule of a sigma that is learned, and for entropy of one that is not."""
        learned = isinstance(model, RAMSettings | DRAMSettings) and model.learn_sigma
        if learned and self.sigma_start is not None:
            raise ValueError("sigma_start is a schedule, but this model learns sigma: leave one of them out")
        if learned != (self.entropy_weight > 0):
            raise ValueError("entropy_weight above 0 goes with learn_sigma: set both or neither")

    def prepare(self, agent: Any, progress: float) -> None:
        """Set the standard deviation of the gaze."""
        locator = agent.locator
        if self.sigma_start is not None:
            first, last = self.sigma_start, locator.final_sigma
            if self.sigma_decay == "linear":
                locator.sigma = first + progress * (last - first)
            else:
                locator.sigma = first * (last / first) ** progress

    def gaze_loss(self, agent: Any, played: Trajectory, reward_tb: Tensor) -> Tensor:
        """The value baseline's error, REINFORCE and, of a learned sigma, the entropy."""
        value = played.baseline[:-1] * played.looked
        loss = self.loss_of_gazes(played.log_prob[:-1] * played.looked, value, reward_tb)
        if self.entropy_weight > 0:
            loss = loss - self.entropy_weight * agent.locator.entropy()
        return loss

    def loss_of_gazes(self, log_prob_tb: Tensor, value_tb: Tensor, reward_tb: Tensor) -> Tensor:
        """The value baseline's error and REINFORCE, of what each gaze earned, (T, B)."""
        return_tb = losses.returns(reward_tb, self.discount)
        if self.baseline == "leave_one_out":
            value_tb = losses.leave_one_out(return_tb, self.rollouts)
            loss = value_tb.new_zeros(())
        else:
            loss = losses.baseline_error(value_tb, return_tb)
        gaze_loss = losses.reinforce(log_prob_tb, reward_tb, value_tb, self.gae_lambda, self.discount)
        return loss + self.reinforce_weight * gaze_loss


def asked(played: Trajectory) -> Tensor:
    """The right answer where a step took one that was asked for, else -1: (T, B)."""
    return torch.where(played.due, played.next, -1)


def earned(played: Trajectory, objective: Objective, step_cost: float) -> Tensor:
    """What each gaze that was looked through earned before the next one was chosen: (T - 1, B).

    With the variational objective that is log p of the answer that was due, less what the environment takes
    for the step; else it is the environment's reward.
    """
    if objective == "reinforce":
        return played.reward[1:]
    paid = losses.log_likelihood(played.logits.detach(), asked(played)) - step_cost * played.playing
    return paid[1:]
