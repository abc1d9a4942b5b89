"""Training of the multi-fixation RBM and of its controller (Larochelle, Hinton 2010, section 4)."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import torch
from torch import Tensor

from agents import checks
from agents.agent import Agent, State, Step
from agents.learn import losses
from agents.learn.envs import make_env
from agents.learn.loop import BatchResult, Lesson, LoopLearner, Task, error_on_validation
from agents.learn.rollout import rollout
from agents.models.fixation_rbm import FixationRBM, FixationRBMSettings
from glimpse_env.wrappers import glimpse_env_of


@dataclasses.dataclass(frozen=True)
class HybridSequential(LoopLearner):
    """The hybrid-sequential cost: after every glimpse -log p(y | x_1 … x_k), and generatively some of
    -log p(y, x_k | x_1 … x_{k-1}), whose gradient contrastive divergence approximates.

    The controller is trained by squared error to predict log p(y | x_1 … x_k) after the look that was taken.
    """

    TEACHES: ClassVar[tuple[type, ...]] = (FixationRBMSettings,)

    generative_weight: float = 0.1
    """The weight of -log p(y, x_k | …) beside -log p(y | …), for each glimpse."""
    explore_start: float = 1.0
    """The probability, in [0, 1], that a gaze goes to any place of the grid in the beginning; in the first
    half of training it falls in a straight line to the model's own `explore`."""
    curriculum: float = 0.0
    """The share of training in which scenes become as difficult as the task's own, in [0, 1)."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        checks.not_negative(self, "generative_weight")
        checks.share(self, "curriculum")
        if not 0 <= self.explore_start <= 1:
            raise ValueError(f"explore_start must be between 0 and 1, got {self.explore_start}")

    def lesson(self, agent: FixationRBM, task: Task) -> Lesson[Any]:
        """Train on scenes of the environment's own generator."""
        made = make_env(agent, task.env_id, task.loop.batch_size, **{**task.env, "split": "train"})

        def batch(seeds: list[int] | None, progress: float) -> BatchResult:
            if self.curriculum > 0:
                glimpse_env_of(made).difficulty = min(1.0, progress / self.curriculum)
            last = agent.settings.explore
            agent.explore = last + (self.explore_start - last) * max(0.0, 1 - 2 * progress)
            kept = Kept(agent)
            with torch.no_grad():
                played = rollout(kept, made, sample=True, seed=seeds)
            right = played.correct.float().mean()
            loss = self.loss(agent, torch.stack(kept.retinas), played.gaze, played.target[:, 0])
            return BatchResult(loss, {"train_error": 100 * (1 - right)})

        return Lesson(batch, error_on_validation(task), made.close)

    def loss(self, agent: FixationRBM, retina: Tensor, gaze: Tensor, answer: Tensor) -> Tensor:
        """The hybrid cost of an episode (see `FixationRBM.episode`) and the controller's error."""
        seen = agent.episode(retina, gaze, answer)
        log_p = losses.log_likelihood(seen.logits, answer.expand(len(gaze), -1))
        looked_at = agent.place(gaze)[1:, :, None]
        expected = seen.expected[:-1].gather(2, looked_at)[..., 0]
        return (
            self.generative_weight * seen.contrast.mean()
            - log_p.mean()
            + losses.baseline_error(expected, log_p[1:].detach())
        )


class Kept(Agent):
    """An agent that also keeps what its retina saw at each step: `retinas`, each (B, C, s, s)."""

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        self.agent = agent
        self.retinas: list[Tensor] = []

    def initial(self, batch_size: int) -> State:
        """The agent's own."""
        return self.agent.initial(batch_size)

    def forward(self, observation: dict[str, Tensor], state: State, sample: bool) -> tuple[Step, State]:
        """The agent's own."""
        self.retinas.append(observation["retina"])
        step: tuple[Step, State] = self.agent(observation, state, sample)
        return step
