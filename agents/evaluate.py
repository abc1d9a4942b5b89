"""An agent's error on frozen scenes: each scene of a split once, with a 95 % interval."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor

from agents import losses
from agents.interface import Agent
from agents.rollout import rollout
from glimpse_env.vector import GlimpseVectorEnv
from glimpse_env.wrappers import WholeCanvas

Mode = Literal["deterministic", "sampled", "mc10"]
MODES: tuple[Mode, ...] = ("deterministic", "sampled", "mc10")
MC_SAMPLES = 10
BATCH = 1000


class Evaluation(NamedTuple):
    """Wrong answers, whole sequences of them, in percent of `scenes`; Wilson's 95 % interval (low, high)."""

    error: float
    ci95: tuple[float, float]
    scenes: int


def make_env(agent: Agent, env_id: str, num_envs: int, **keywords: Any) -> GlimpseVectorEnv:
    """The vector env that `agent` acts in: never resets itself; shows the canvas to those who see it."""
    env = gymnasium.make_vec(
        env_id,
        num_envs=num_envs,
        vectorization_mode="vector_entry_point",
        autoreset_mode=AutoresetMode.DISABLED,
        **keywords,
    )
    return WholeCanvas(env) if agent.sees == "canvas" else env  # type: ignore[return-value]


class Answers(NamedTuple):
    """What an agent believes of each scene, probabilities (N, L, n), and the right answers (N, L)."""

    probabilities: Tensor
    target: Tensor


def evaluate(
    agent: Agent,
    env_id: str,
    split: str,
    mode: Mode = "deterministic",
    *,
    seed: int = 0,
    **keywords: Any,
) -> Evaluation:
    """Score `agent` on every frozen scene of `split`; see `play_all`."""
    answers = play_all(agent, env_id, split, mode, seed=seed, **keywords)
    return score(losses.right_so_far(*answers)[:, -1])


def score(right: Tensor) -> Evaluation:
    """Whether each scene's answers are all right, bool (N,) -> the error."""
    wrong, scenes = int((~right).sum()), len(right)
    return Evaluation(100 * wrong / scenes, wilson(wrong, scenes), scenes)


def play_all(
    agent: Agent,
    env_id: str,
    split: str,
    mode: Mode = "deterministic",
    *,
    seed: int = 0,
    beyond_end: bool = False,
    **keywords: Any,
) -> Answers:
    """What `agent` answers to every frozen scene of `split`.

    mode: "deterministic" follows the policy's mean, "sampled" draws gazes once, "mc10" averages the
    answer probabilities of ten such draws. beyond_end: see `rollout`. keywords go to the environment. The
    global torch generator is left as it was. Raises ValueError for an unknown mode.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {MODES}, got {mode!r}")
    env = make_env(agent, env_id, BATCH, split=split, **keywords)
    scenes = env.unwrapped.num_scenes
    was_training = agent.training
    agent.eval()
    batches = []
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(seed)
        for first in range(0, scenes, BATCH):
            index = np.arange(first, first + BATCH)
            options = {"index": np.minimum(index, scenes - 1)}  # the last batch is filled up
            probabilities = torch.zeros(())
            draws = MC_SAMPLES if mode == "mc10" else 1
            for _ in range(draws):
                played = rollout(
                    agent, env, sample=mode != "deterministic", options=options, beyond_end=beyond_end
                )
                probabilities = probabilities + played.answers.softmax(-1) / draws
            batches.append(Answers(probabilities, played.target))
    agent.train(was_training)
    env.close()
    parts = zip(*batches, strict=True)
    return Answers(*(torch.cat(part)[:scenes] for part in parts))


def wilson(wrong: int, total: int) -> tuple[float, float]:
    """95 % interval, in percent, of a share wrong / total (Wilson 1927)."""
    z = 1.959963984540054
    p = wrong / total
    centre = p + z * z / (2 * total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    scale = 100 / (1 + z * z / total)
    return max(0.0, scale * (centre - half)), min(100.0, scale * (centre + half))
