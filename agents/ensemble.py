"""The forward-backward ensemble of Ba et al. (2015): one DRAM reads from the left, one from the right."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from agents.evaluate import Evaluation, Mode, make_env, play_all, score
from agents.interface import Agent


def evaluate_both(
    forward: Agent, backward: Agent, env_id: str, split: str, mode: Mode, **keywords: Any
) -> Evaluation:
    """Score the numbers that both readers together find most probable on every frozen scene of `split`.

    Raises ValueError unless the first reads forward and the second backward.
    """
    if forward.backward or not backward.backward:
        raise ValueError("an ensemble needs an agent that reads forward and then one that reads backward")
    env = make_env(forward, env_id, 1, split=split, **keywords)
    if env.unwrapped.task.end < 0:
        raise ValueError(f"an ensemble reads numbers that end with END, and those of {env_id} do not")
    # Lengths are compared, so that both must say what they believe beyond the target's end, too.
    one = play_all(forward, env_id, split, mode, beyond_end=True, **keywords)
    other = play_all(backward, env_id, split, mode, beyond_end=True, **keywords)
    said = most_probable(one.probabilities, other.probabilities, env.unwrapped.task.end)
    return score(((said == one.target) | (one.target < 0)).all(1))


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
