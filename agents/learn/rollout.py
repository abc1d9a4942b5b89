"""One batch of episodes through an environment's own reset and step, with the autograd graph kept."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.agent import Agent, State, Step, device_of, select, to_action, to_tensors
from glimpse_env.wrappers import glimpse_env_of


class Trajectory(NamedTuple):
    """T steps of B episodes; gradients flow through logits, log_prob, baseline and window.

    gaze (T, B, axes): where each glimpse was taken. logits (T, B, n): what it would answer after each.
    log_prob, baseline (T, B): of the gaze chosen at each step. reward (T, B): what the environment paid.
    playing (T, B): whether the episode was still played at that step; what is not is zero.
    correct (B,): whether the environment found every answer right. target (B, L): the right answers, padded
    with -1. next (T, B): the answer that was to be said next, -1 where none was; due (T, B): whether the step
    took it. boxes (B, K, 4): where the symbols lie, or None. window (T, B, 2, 3): where a canvas agent
    looked, or None.
    """

    gaze: Tensor
    logits: Tensor
    log_prob: Tensor
    baseline: Tensor
    reward: Tensor
    playing: Tensor
    correct: Tensor
    target: Tensor
    next: Tensor
    due: Tensor
    boxes: Tensor | None = None
    window: Tensor | None = None

    @property
    def answered(self) -> Tensor:
        """The steps that took an answer in some episode, (A,); without early answers one an answer."""
        return self.due.any(1).nonzero()[:, 0]

    @property
    def looked(self) -> Tensor:
        """Bool (T - 1, B): whether the gaze chosen at a step was looked through and could serve an answer."""
        return self.playing[1:] & (self.next[1:] >= 0)


def rollout(
    agent: Agent,
    env: Any,
    *,
    sample: bool,
    seed: int | list[int] | None = None,
    options: dict[str, Any] | None = None,
) -> Trajectory:
    """Play one episode in every row of `env`, from `reset(seed, options)` to its end.

    env: a Glimpse vector environment, wrapped or not, with Gymnasium's own next-step autoreset, whose
    observation holds a `Supervision`. An episode is over when the environment ends it, or when nothing more
    is asked of it: what an agent says beyond a missed END cannot mend it. Rows that are over are not played
    on.
    """
    observation, _ = env.reset(seed=seed, options=options)
    batch, device = env.num_envs, device_of(agent)
    first = {key: torch.from_numpy(observation[key]) for key in ("target", "boxes") if key in observation}
    rows = torch.arange(batch, device=device)
    ended, correct = np.zeros(batch, np.bool_), np.zeros(batch, np.bool_)
    recording = agent.recording() if torch.is_grad_enabled() and _end_together(env) else None
    state = agent.initial(batch) if recording is None else recording
    steps: list[Step] = []
    gazes, rewards, playing, following, due = [], [], [], [], []
    while True:
        asked = ~ended & (observation["next"] >= 0)
        if not asked.any():
            break
        tensors = to_tensors(observation, device)
        chosen = torch.from_numpy(asked).to(device)
        if len(rows) > asked.sum():
            state = select(state, chosen[rows])
            rows = chosen.nonzero()[:, 0]
        views = {key: view[rows] for key, view in tensors.items()} if len(rows) < batch else tensors
        with torch.set_grad_enabled(torch.is_grad_enabled() and recording is None):
            step, state = agent(views, state, sample)
        step = step._replace(
            **{key: _spread(part, rows, batch) for key, part in step._asdict().items() if part is not None}
        )
        steps.append(step)
        gazes.append(tensors["gaze"])
        playing.append(chosen)
        following.append(tensors["next"])
        due.append(tensors["due"].bool() & chosen)
        observation, reward, terminated, truncated, info = env.step(to_action(step))
        rewards.append(torch.from_numpy(reward * asked).to(device, torch.float32))
        now = (terminated | truncated) & ~ended
        if now.any():
            correct |= now & terminated & info.get("correct", False)
            ended |= now
    windows = [step.window for step in steps if step.window is not None]
    if recording is None:
        said = Step(*(torch.stack(parts) for parts in zip(*(step[:4] for step in steps), strict=True)))
    else:
        said = agent.recorded(state, torch.stack([step.gaze for step in steps]))
    return Trajectory(
        gaze=torch.stack(gazes),
        logits=said.logits,
        log_prob=said.log_prob,
        baseline=said.baseline,
        reward=torch.stack(rewards),
        playing=torch.stack(playing),
        correct=torch.from_numpy(correct).to(device),
        target=first["target"].to(device),
        next=torch.stack(following),
        due=torch.stack(due),
        boxes=first["boxes"].to(device) if "boxes" in first else None,
        window=torch.stack(windows) if windows else None,
    )


def say(env: Any, said: np.ndarray[Any, np.dtype[np.int64]], options: dict[str, Any]) -> Tensor:
    """Let the environment score answers (B, L) that were found otherwise, whatever is seen: bool (B,)."""
    observation, _ = env.reset(options=options)
    rows, given = np.arange(len(said)), np.zeros(len(said), np.int64)
    ended, correct = np.zeros(len(said), np.bool_), np.zeros(len(said), np.bool_)
    gaze = np.zeros((len(said), glimpse_env_of(env).sensor.axes), np.float32)
    while not ended.all():
        answer = said[rows, np.minimum(given, said.shape[1] - 1)]
        given = given + observation["due"]
        observation, _, terminated, truncated, info = env.step({"gaze": gaze, "answer": answer.clip(0)})
        now = (terminated | truncated) & ~ended
        if now.any():
            correct |= now & terminated & info.get("correct", False)
            ended |= now
    return torch.from_numpy(correct)


class ReadOn(Agent):
    """An agent that never says the answer `end`, so that what it believes at every place can be known."""

    def __init__(self, agent: Agent, end: int) -> None:
        super().__init__()
        self.agent, self.end = agent, end
        self.sees, self.looks = agent.sees, agent.looks

    def initial(self, batch_size: int) -> State:
        """The agent's own."""
        return self.agent.initial(batch_size)

    def forward(self, observation: dict[str, Tensor], state: State, sample: bool) -> tuple[Step, State]:
        """The agent's own step, with the most probable answer but `end`."""
        step, state = self.agent(observation, state, sample)
        logits = step.logits.detach().clone()
        logits[:, self.end] = -torch.inf
        return step._replace(answer=logits.argmax(-1)), state


class Learning(ReadOn):
    """An agent in training: where it would say `end` too early, it says a wrong answer instead.

    That is as wrong to the environment, but the episode goes on, and all of the target is asked of the agent.
    Were it over, whoever has learned to end early would see little else and could not unlearn it.
    """

    def forward(self, observation: dict[str, Tensor], state: State, sample: bool) -> tuple[Step, State]:
        """The agent's own step; the observation has the answer that is to be said `next` (Supervision)."""
        step, state = self.agent(observation, state, sample)
        said, right = step.logits.detach().argmax(-1), observation["next"]
        early = (said == self.end) & (right != self.end)
        return step._replace(answer=torch.where(early, (right.clamp(0) + 1) % self.end, said)), state


def _end_together(env: Any) -> bool:
    """Whether no row of `env` ever ends before another."""
    inner = glimpse_env_of(env)
    return inner.task.end < 0 and not inner.early_answer


def learning(agent: Agent, env: Any) -> Agent:
    """The agent as it plays in training: as it is where no answer ends an episode."""
    end = glimpse_env_of(env).task.end
    return agent if end < 0 else Learning(agent, end)


def _spread(part: Tensor, rows: Tensor, batch: int) -> Tensor:
    """Each of `part` (b, …) at its place `rows` (b,) of a batch, zeros elsewhere: (batch, …)."""
    if len(rows) == batch:
        return part
    return part.new_zeros(batch, *part.shape[1:]).index_copy(0, rows, part)
