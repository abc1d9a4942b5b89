"""PPO of Stable-Baselines3 as an experiment: the comparison a user of any RL library would make first.

Unlike RAM, which is taught its answer, PPO learns gaze and answer from the reward alone.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Dict, MultiDiscrete
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentMultiInputActorCriticPolicy
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import MultiInputActorCriticPolicy
from torch import Tensor
from tqdm import tqdm

from agents import checkpoint
from agents.evaluate import evaluate
from agents.interface import Agent, Step
from agents.runs import Run
from agents.sb3 import GlimpseVecEnv
from agents.training import (
    EPOCH_SEED,
    EnvKeywords,
    check_keywords,
    check_no_context,
    check_not_negative,
    check_positive,
)


@dataclasses.dataclass(frozen=True)
class PPOTraining:
    """A PPO experiment; one epoch is `steps_per_epoch` environment steps, over `num_envs` rows.

    recurrent: RecurrentPPO with an LSTM policy, which sees one glimpse at a time; else PPO, which sees all
    glimpses so far. cells: the gaze's grid, a side. n_steps: of each row between updates. The learning
    rate falls to 0 in a straight line. init: see Training.
    """

    env_id: str
    env: EnvKeywords = dataclasses.field(default_factory=dict)
    recurrent: bool = False
    cells: int = 9
    epochs: int = 20
    steps_per_epoch: int = 192_500
    num_envs: int = 128
    n_steps: int = 28
    batch_size: int = 896
    n_epochs: int = 4
    learning_rate: float = 1e-3
    entropy: float = 0.0
    init: str = ""
    seed: int = 1

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range and for what the training itself decides."""
        check_positive(
            self,
            "epochs",
            "steps_per_epoch",
            "num_envs",
            "n_steps",
            "batch_size",
            "n_epochs",
            "learning_rate",
        )
        check_not_negative(self, "entropy")
        if self.cells < 2:
            raise ValueError(f"cells must be at least 2, got {self.cells}")
        if self.batch_size < 2 or self.num_envs * self.n_steps < 2:
            raise ValueError("batch_size and num_envs * n_steps must be 2 or more: SB3 normalises over them")
        check_keywords(self.env)
        check_no_context(self.env, "PPO", "retina, gaze and time")


class PPOAgent(Agent):
    """A policy of SB3 that keeps our contract: the gaze's grid cell and the answer are categorical.

    retina_shape: (scales * C, s, s). horizon: the budget of glimpses, which PPO's history has room for.
    """

    def __init__(
        self, retina_shape: tuple[int, int, int], num_answers: int, horizon: int, cells: int, recurrent: bool
    ) -> None:
        super().__init__()
        self.horizon, self.cells, self.recurrent = horizon, cells, recurrent
        time_axis = () if recurrent else (horizon,)
        observations = Dict(
            retina=Box(0, 1, (*time_axis, *retina_shape)),
            gaze=Box(-1, 1, (*time_axis, 2)),
            time=Box(0, 1, (*time_axis, 1)),
        )
        actions = MultiDiscrete([cells, cells, num_answers])
        kind = RecurrentMultiInputActorCriticPolicy if recurrent else MultiInputActorCriticPolicy
        self.policy = kind(observations, actions, lambda _: 1e-3)  # the training sets the rate

    def initial(self, batch_size: int) -> None:
        """Nothing seen yet."""

    def forward(self, observation: dict[str, Tensor], state: Any, sample: bool) -> tuple[Step, Any]:
        """See `Agent.forward`; the state is the LSTM's (h, c), or the history of each observation."""
        seen = {key: observation[key] for key in ("retina", "gaze", "time")}
        batch = len(seen["gaze"])
        if self.recurrent:
            lstm = self.policy.lstm_actor
            zeros = torch.zeros(batch, lstm.num_layers, lstm.hidden_size)
            layers_first = tuple(part.transpose(0, 1).contiguous() for part in state or (zeros, zeros))
            distribution, state = self.policy.get_distribution(seen, layers_first, torch.zeros(batch))
            state = tuple(part.transpose(0, 1) for part in state)
        else:
            state = [*(state or []), seen]
            rest = self.horizon - len(state)
            if rest < 0:
                raise ValueError(f"this PPO agent remembers {self.horizon} glimpses: lower the horizon")
            history = {
                key: torch.stack([one[key] for one in state] + [torch.zeros_like(seen[key])] * rest, 1)
                for key in seen
            }
            distribution = self.policy.get_distribution(history)
        *axes, answer = distribution.distribution
        cells = [axis.sample() if sample else axis.probs.argmax(-1) for axis in axes]
        log_prob = sum((axis.log_prob(cell) for axis, cell in zip(axes, cells, strict=True)), torch.zeros(()))
        gaze = torch.stack(cells, 1) * (2 / (self.cells - 1)) - 1
        return Step(gaze, answer.logits, log_prob, torch.zeros(batch)), state


class _Successes(BaseCallback):
    """Counts the episodes that ended and those that were right, and shows them."""

    def __init__(self, bar: tqdm[Any]) -> None:
        super().__init__()
        self.bar = bar
        self.episodes = self.right = 0

    def _on_step(self) -> bool:
        for row in np.flatnonzero(self.locals["dones"]):
            self.episodes += 1
            self.right += self.locals["infos"][row]["is_success"]
        self.bar.update(len(self.locals["dones"]))
        if self.episodes:
            self.bar.set_postfix(error=f"{100 * (1 - self.right / self.episodes):.2f}%", refresh=False)
        return True


def train_ppo(
    run: Run, settings: PPOTraining, agent: PPOAgent, *, quiet: bool = False
) -> Iterator[dict[str, Any]]:
    """Train `agent` by SB3's own PPO or RecurrentPPO and yield each epoch's metrics, once on disk.

    Every epoch begins new episodes from its own seeds, so that a resumed run goes on as one never stopped.
    """
    env = GlimpseVecEnv(
        settings.env_id,
        settings.num_envs,
        cells=settings.cells,
        history=not settings.recurrent,
        **{**settings.env, "split": "train"},
    )
    algorithm = RecurrentPPO if settings.recurrent else PPO
    model = algorithm(
        "MultiInputLstmPolicy" if settings.recurrent else "MultiInputPolicy",
        env,
        n_steps=settings.n_steps,
        batch_size=settings.batch_size,
        n_epochs=settings.n_epochs,
        gamma=1.0,
        ent_coef=settings.entropy,
    )
    model.policy = agent.policy
    saved = run.load_last()
    if saved:
        checkpoint.load_weights(agent, checkpoint.part(saved, "agent."), run.last)
        checkpoint.restore_optimizer(agent.policy.optimizer, saved)
    for epoch in range(run.epoch, settings.epochs):
        began = time.perf_counter()
        rate = settings.learning_rate * (1 - epoch / settings.epochs)
        model.lr_schedule = lambda _, rate=rate: rate
        seed = settings.seed * EPOCH_SEED + epoch
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # SB3 shuffles its batches with it
        env.seed(seed * settings.num_envs)
        model._last_obs = None  # the next learn() resets
        agent.train()
        label = f"epoch {epoch + 1}/{settings.epochs}"
        with tqdm(desc=label, unit=" steps", unit_scale=True, disable=quiet, leave=False) as bar:
            counted = _Successes(bar)
            model.learn(settings.steps_per_epoch, counted)
        minutes = (time.perf_counter() - began) / 60
        right = counted.right / max(counted.episodes, 1)
        validation = evaluate(agent, settings.env_id, "validation", **settings.env)
        metrics = {
            "epoch": epoch + 1,
            "train_error": 100 * (1 - right),
            "reward": right,
            "validation_error": validation.error,
            "images_per_second": counted.episodes / (60 * minutes),
            "env_steps": (epoch + 1) * model.num_timesteps,
            "minutes": minutes,
        }
        state = {
            **checkpoint.with_prefix(agent, "agent."),
            **checkpoint.flatten_optimizer(agent.policy.optimizer),
        }
        run.finish_epoch(metrics, validation.error, state, agent.state_dict())
        yield metrics
    env.close()
