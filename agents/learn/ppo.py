"""PPO of Stable-Baselines3 as a learner: the comparison a user of any RL library would make first.

Unlike RAM, which is taught its answer, PPO learns gaze and answer from the reward alone.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from tqdm import tqdm

from agents import checks
from agents.agent import device_of
from agents.learn import checkpoint
from agents.learn.evaluate import evaluate
from agents.learn.loop import EPOCH_SEED, Learner, Task
from agents.learn.run import Run
from agents.models.sb3_policy import SB3Policy, SB3PolicySettings


@dataclasses.dataclass(frozen=True)
class PPOLoop:
    """How long and how fast PPO trains."""

    epochs: int = 20
    """How many epochs are trained."""
    steps_per_epoch: int = 192_500
    """How many environment steps make an epoch, over all rows."""
    learning_rate: float = 1e-3
    """The first learning rate; it falls by as much after each epoch, to 1 / epochs of it in the last."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        checks.positive(self, "epochs", "steps_per_epoch", "learning_rate")


@dataclasses.dataclass(frozen=True)
class PPOLearner(Learner):
    """SB3's own PPO, or RecurrentPPO where the policy is recurrent."""

    TEACHES: ClassVar[tuple[type, ...]] = (SB3PolicySettings,)

    num_envs: int = 128
    """How many rows the environment has."""
    n_steps: int = 28
    """How many steps of each row lie between two updates."""
    batch_size: int = 896
    """How many steps make a batch of an update."""
    n_epochs: int = 4
    """How often an update goes over its steps."""
    entropy_weight: float = 0.0
    """The weight of the policy's entropy, in nats."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        checks.positive(self, "num_envs", "n_steps", "batch_size", "n_epochs")
        checks.not_negative(self, "entropy_weight")
        if self.batch_size < 2 or self.num_envs * self.n_steps < 2:
            raise ValueError("batch_size and num_envs * n_steps must be 2 or more: SB3 normalises over them")

    def train(self, run: Run, agent: Any, task: Task, *, quiet: bool = False) -> Iterator[dict[str, Any]]:
        """Train `agent` and yield each epoch's metrics, once on disk."""
        return train_ppo(run, self, agent, task, quiet=quiet)


class _Successes:
    """Counts the episodes that ended, those that were right and what they were paid: a callback of SB3."""

    def __init__(self, bar: tqdm[Any], rows: int) -> None:
        self.bar = bar
        self.episodes = self.right = 0
        self.paid = 0.0
        self.present = np.zeros(rows)  # what the episodes were paid that are still played

    def __call__(self, at: dict[str, Any], _: dict[str, Any]) -> bool:
        self.present += at["rewards"]
        for row in np.flatnonzero(at["dones"]):
            self.episodes += 1
            self.paid += float(self.present[row])
            self.present[row] = 0
            self.right += at["infos"][row]["is_success"]
        self.bar.update(len(at["dones"]))
        if self.episodes:
            self.bar.set_postfix(error=f"{100 * (1 - self.right / self.episodes):.2f}%", refresh=False)
        return True


def train_ppo(
    run: Run, learner: PPOLearner, agent: SB3Policy, task: Task, *, quiet: bool = False
) -> Iterator[dict[str, Any]]:
    """Train `agent` by SB3's own PPO or RecurrentPPO and yield each epoch's metrics, once on disk.

    Every epoch begins new episodes from its own seeds, so that a resumed run goes on as one never stopped.
    """
    # Here and not above: only these agents need SB3, and it takes long to import.
    from sb3_contrib import RecurrentPPO
    from stable_baselines3 import PPO
    from stable_baselines3.common.logger import Logger
    from stable_baselines3.common.utils import ConstantSchedule

    from agents.learn.sb3 import GlimpseVecEnv

    loop: PPOLoop = task.loop
    env = GlimpseVecEnv(
        task.env_id,
        learner.num_envs,
        cells=agent.cells,
        history=not agent.recurrent,
        **{**task.env, "split": "train"},
    )
    spaces: Any = (agent.policy.observation_space, env.observation_space)
    seen, shown = (sorted(space.spaces) for space in spaces)
    if seen != shown:
        raise ValueError(f"this policy sees {', '.join(seen)}, and {task.env_id} shows {', '.join(shown)}")
    algorithm = RecurrentPPO if agent.recurrent else PPO
    model = algorithm(
        "MultiInputLstmPolicy" if agent.recurrent else "MultiInputPolicy",
        env,
        n_steps=learner.n_steps,
        batch_size=learner.batch_size,
        n_epochs=learner.n_epochs,
        gamma=1.0,
        device=device_of(agent),
        ent_coef=learner.entropy_weight,
    )
    model.policy = agent.policy
    model.set_logger(Logger(None, []))  # its own leaves an empty folder among temporary files
    saved = run.load_last()
    if saved:
        checkpoint.load_weights(agent, checkpoint.part(saved, "agent."), run.last)
        checkpoint.restore_optimizer(agent.policy.optimizer, saved)
    for epoch in range(run.epoch, loop.epochs):
        began = time.perf_counter()
        rate = loop.learning_rate * (1 - epoch / loop.epochs)
        model.lr_schedule = ConstantSchedule(rate)
        seed = task.seed * EPOCH_SEED + epoch
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # SB3 shuffles its batches with it
        env.seed(seed * learner.num_envs)
        model._last_obs = None  # the next learn() resets
        agent.train()
        label = f"epoch {epoch + 1}/{loop.epochs}"
        with tqdm(desc=label, unit=" steps", unit_scale=True, disable=quiet, leave=False) as bar:
            counted = _Successes(bar, learner.num_envs)
            model.learn(loop.steps_per_epoch, counted)
        seconds = time.perf_counter() - began
        right = counted.right / max(counted.episodes, 1)
        validation = evaluate(agent, task.env_id, "validation", **task.env)
        metrics = {
            "epoch": epoch + 1,
            "train_error": 100 * (1 - right),
            "reward": counted.paid / max(counted.episodes, 1),
            "validation_error": validation.error,
            "images_per_second": counted.episodes / seconds,
            "env_steps": (epoch + 1) * model.num_timesteps,
            "minutes": (time.perf_counter() - began) / 60,
        }
        state = {
            **checkpoint.with_prefix(agent, "agent."),
            **checkpoint.flatten_optimizer(agent.policy.optimizer),
        }
        run.finish_epoch(metrics, validation.error, state, agent.state_dict())
        yield metrics
    env.close()
