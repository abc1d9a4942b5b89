"""The forward-backward ensemble of Ba et al. (2015): one DRAM reads from the left, one from the right."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from agents.agent import Agent
from agents.learn.envs import frozen_batches, frozen_env
from agents.learn.evaluate import MC_SAMPLES, MODES, Evaluation, Mode, believed, score, scoring
from agents.learn.rollout import say
from glimpse_env.wrappers import glimpse_env_of


def evaluate_both(
    reader: Agent, other: Agent, env_id: str, split: str, mode: Mode, **keywords: Any
) -> Evaluation:
    """Score the numbers that both readers together find most probable on every frozen scene of `split`.

    reader, other: one that reads forward and one that reads backward. keywords: those of the forward reader's
    environment; the other is shown the same scenes with backward=True.
    Raises ValueError where these read backward themselves or numbers have no END, and for an unknown mode.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {MODES}, got {mode!r}")
    if keywords.get("backward"):
        raise ValueError("an ensemble needs an agent that reads forward and then one that reads backward")
    env = frozen_env(reader, env_id, split, **keywords)
    reverse = frozen_env(other, env_id, split, **{**keywords, "backward": True})
    end, scenes = glimpse_env_of(env).task.end, glimpse_env_of(env).num_scenes
    if end < 0:
        raise ValueError(f"an ensemble reads numbers that end with END, and those of {env_id} do not")
    draws = {"deterministic": 0, "sampled": 1, "mc10": MC_SAMPLES}[mode]
    right = []
    with scoring(reader, 0), scoring(other, 0):
        for index in frozen_batches(env):
            options = {"index": index}
            one, two = believed(reader, env, options, draws), believed(other, reverse, options, draws)
            right.append(say(env, most_probable(one.cpu(), two.cpu(), end).numpy(), options))
    env.close()
    reverse.close()
    return score(torch.cat(right)[:scenes])


def most_probable(forward_bln: Tensor, backward_bln: Tensor, end: int) -> Tensor:
    """The number y of greatest p_forward(y) p_backward(reversed y): two (B, L, n) -> (B, L), END included.

    Each reader's probabilities are independent given the places, so that for every length the best digits can
    be chosen place by place, which makes the maximum exact. After END there is padding, -1.
    """
    batch, length, _ = forward_bln.shape
    forward, backward = forward_bln.clamp(min=1e-12).log(), backward_bln.clamp(min=1e-12).log()
    best = torch.full((batch,), -torch.inf)
    said = torch.full((batch, length), -1)
    for digits in range(1, length):
        both = forward[:, :digits] + backward[:, :digits].flip(1)
        both[..., end] = -torch.inf
        value, number = both.max(-1)
        total = value.sum(1) + forward[:, digits, end] + backward[:, digits, end]
        here = torch.full_like(said, -1)
        here[:, :digits], here[:, digits] = number, end
        said = torch.where((total > best)[:, None], here, said)
        best = torch.maximum(total, best)
    return said
