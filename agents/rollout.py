"""One batch of episodes through the environment's own reset and step, with the autograd graph kept."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.interface import Agent, State, Step, to_action, to_tensors
from glimpse_env.vector import GlimpseVectorEnv


class Trajectory(NamedTuple):
    """T steps of B episodes with L answers; gradients flow through logits, log_prob and baseline.

    gaze (T, B, 2): where each glimpse was taken. logits (T, B, n): what it would answer after each; every
    (T / L)-th is an answer given.
    log_prob, baseline (T - 1, B): of the gazes that were looked through; the last one never is.
    target (B, L): -1 after the last symbol; in the order in which the agent names them.
    """

    gaze: Tensor
    logits: Tensor
    log_prob: Tensor
    baseline: Tensor
    target: Tensor

    @property
    def answers(self) -> Tensor:
        """The logits of the answers given: (B, L, n)."""
        share = len(self.logits) // self.target.shape[1]
        return self.logits[share - 1 :: share].transpose(0, 1)

    def earned(self, paid_bl: Tensor) -> Tensor:
        """What each gaze that was looked through earned before the next one, if answers earn (B, L)."""
        steps, batch = self.log_prob.shape
        share = len(self.gaze) // paid_bl.shape[1]
        reward_tb = paid_bl.new_zeros(1 + steps, batch)
        reward_tb[share - 1 :: share] = paid_bl.t()
        return reward_tb[1:]

    def asked(self) -> Tensor:
        """Bool (T - 1, B): whether the glimpse that a gaze chose can still serve an answer."""
        share = len(self.gaze) // self.target.shape[1]
        return (self.target.t() >= 0).repeat_interleave(share, 0)[1:]


def rollout(
    agent: Agent,
    env: GlimpseVectorEnv,
    *,
    sample: bool,
    seed: int | list[int] | None = None,
    options: dict[str, Any] | None = None,
    beyond_end: bool = False,
) -> Trajectory:
    """Play one episode in every row of `env`, from `reset(seed, options)` to the last glimpse.

    Where END would end an episode, the environment is told the most probable other symbol, so that all rows
    keep step and every symbol can be learned: what the agent would say is in `answers`. What follows a
    scene's END is never asked, so the agent does not play it: zeros, most of the time in house numbers.
    beyond_end: it plays that too, so that nothing in `answers` tells where the target ends.
    """
    observation, _ = env.reset(seed=seed, options=options)  # type: ignore[arg-type]
    task = env.unwrapped.task
    target = torch.from_numpy(env.unwrapped.present_scenes().target).view(env.num_envs, task.length)
    share = env.unwrapped.horizon // task.length
    rows = torch.arange(env.num_envs)
    state = agent.initial(env.num_envs)
    steps, gazes = [], []
    for time in range(env.unwrapped.horizon):
        asked = (target[rows, time // share] >= 0) | beyond_end
        if not asked.all() and asked.any():
            rows, state = rows[asked], _select(state, asked)
        tensors = to_tensors(observation)
        playing = {key: view[rows] for key, view in tensors.items()} if len(rows) < len(target) else tensors
        step, state = agent(playing, state, sample)
        step = Step(*(_spread(part, rows, len(target)) for part in step if part is not None))
        steps.append(step)
        gazes.append(tensors["gaze"])
        observation, *_ = env.step(to_action(step, never=task.end))
    moves = steps[:-1]
    none = step.log_prob.new_zeros(0, env.num_envs)
    return Trajectory(
        gaze=torch.stack(gazes),
        logits=torch.stack([s.logits for s in steps]),
        log_prob=torch.stack([s.log_prob for s in moves]) if moves else none,
        baseline=torch.stack([s.baseline for s in moves]) if moves else none,
        target=backwards(target, task.end) if agent.backward else target,
    )


def _select(state: State, chosen: Tensor) -> State:
    """The rows `chosen`, bool (B,), of a state as `interface` has it."""
    if state is None:
        return None
    if isinstance(state, Tensor):
        return state[chosen]
    if isinstance(state, dict):
        return {key: part[chosen] for key, part in state.items()}
    return tuple(_select(part, chosen) for part in state)


def _spread(part: Tensor, rows: Tensor, batch: int) -> Tensor:
    """Each of `part` (b, …) at its place `rows` (b,) of a batch, zeros elsewhere: (batch, …)."""
    if len(rows) == batch:
        return part
    return part.new_zeros(batch, *part.shape[1:]).index_copy(0, rows, part)


def backwards(target_bl: Tensor, end: int) -> Tensor:
    """The digits of each number from the last to the first, END and padding (-1) where they were: (B, L)."""
    place = torch.arange(target_bl.shape[1])
    digits = ((target_bl >= 0) & (target_bl != end)).sum(1, keepdim=True)
    return torch.where(place < digits, target_bl.gather(1, (digits - 1 - place).clamp(min=0)), target_bl)
