"""One batch of episodes through the environment's own reset and step, with the autograd graph kept."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.interface import Agent, to_action, to_tensors
from glimpse_env.vector import GlimpseVectorEnv


class Trajectory(NamedTuple):
    """T steps of B episodes; gradients flow through logits, log_prob and baseline.

    gaze (T, B, 2): where each glimpse was taken. logits (B, n): the answer given.
    log_prob, baseline (T - 1, B): of the gazes that were looked through; the last one never is.
    reward (B,): the episode's. target (B,).
    """

    gaze: Tensor
    logits: Tensor
    log_prob: Tensor
    baseline: Tensor
    reward: Tensor
    target: Tensor


def rollout(
    agent: Agent,
    env: GlimpseVectorEnv,
    *,
    sample: bool,
    seed: int | list[int] | None = None,
    options: dict[str, Any] | None = None,
) -> Trajectory:
    """Play one episode in every row of `env`, from `reset(seed, options)` to the end."""
    observation, _ = env.reset(seed=seed, options=options)  # type: ignore[arg-type]
    state = agent.initial(env.num_envs)
    steps, gazes = [], []
    while True:
        tensors = to_tensors(observation)
        step, state = agent(tensors, state, sample)
        steps.append(step)
        gazes.append(tensors["gaze"])
        observation, reward, terminated, _, info = env.step(to_action(step))
        if terminated.all():
            break
    moves = steps[:-1]
    none = step.log_prob.new_zeros(0, env.num_envs)
    return Trajectory(
        gaze=torch.stack(gazes),
        logits=step.logits,
        log_prob=torch.stack([s.log_prob for s in moves]) if moves else none,
        baseline=torch.stack([s.baseline for s in moves]) if moves else none,
        reward=torch.from_numpy(reward).float(),
        target=torch.from_numpy(info["target"]),
    )
