"""Losses as pure functions of tensors whose first axis is time; every one is a mean over the batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def reinforce(log_prob_tb: Tensor, reward_b: Tensor, baseline_tb: Tensor, trace: float = 1.0) -> Tensor:
    """REINFORCE with a baseline (Williams 1992; the lecture's gradient of J).

    -mean_b sum_t log pi(l_t) A_t. With trace 1, A_t = R - b_t, and the gradient is minus an unbiased
    estimate of that of E[R]; below 1, A_t = sum_k trace^k (b_{t+k+1} - b_{t+k}) with R for the last b,
    which trades variance for bias (generalised advantages, Schulman et al. 2016).
    log_prob_tb (T, B), reward_b (B,), baseline_tb (T, B), which is not trained by this loss.
    """
    _check_rank(log_prob_tb, 2, "log_prob_tb")
    _check_rank(reward_b, 1, "reward_b")
    _check_rank(baseline_tb, 2, "baseline_tb")
    advantage_tb = (reward_b - baseline_tb).detach()
    if trace < 1:
        gains = torch.cat([baseline_tb[1:], reward_b[None]]).detach() - baseline_tb.detach()
        advantage_tb = gains.clone()
        for t in reversed(range(len(gains) - 1)):
            advantage_tb[t] += trace * advantage_tb[t + 1]
    return -(log_prob_tb * advantage_tb).sum(0).mean()


def baseline_error(baseline_tb: Tensor, reward_b: Tensor) -> Tensor:
    """Squared error of the reward that each step expected: mean over steps (T, B) and batch."""
    _check_rank(baseline_tb, 2, "baseline_tb")
    if len(baseline_tb) == 0:  # a single glimpse leaves no gaze to choose
        return baseline_tb.sum()
    return F.mse_loss(baseline_tb, reward_b.expand_as(baseline_tb))


def leave_one_out(reward_b: Tensor, rollouts: int) -> Tensor:
    """For each episode, the mean reward of the other rollouts of its scene: (B,) -> (B,).

    Rows of one scene are adjacent, `rollouts` of them (Kool, van Hoof, Welling 2019).
    Raises ValueError for fewer than two rollouts or a batch they do not divide.
    """
    _check_rank(reward_b, 1, "reward_b")
    if rollouts < 2 or len(reward_b) % rollouts:
        raise ValueError(
            f"rollouts must be at least 2 and divide the batch of {len(reward_b)}, got {rollouts}"
        )
    groups = reward_b.view(-1, rollouts)
    return ((groups.sum(1, keepdim=True) - groups) / (rollouts - 1)).view(-1)


def cross_entropy(logits_b: Tensor, target_b: Tensor) -> Tensor:
    """-mean log p(target): logits (B, n), target (B,) integers."""
    _check_rank(logits_b, 2, "logits_b")
    return F.cross_entropy(logits_b, target_b)


def log_likelihood(logits_b: Tensor, target_b: Tensor) -> Tensor:
    """Log p(target) of each episode, detached, as a reward: logits (B, n), target (B,) -> (B,)."""
    _check_rank(logits_b, 2, "logits_b")
    return -F.cross_entropy(logits_b.detach(), target_b, reduction="none")


def _check_rank(tensor: torch.Tensor, rank: int, name: str) -> None:
    if tensor.ndim != rank:
        raise ValueError(f"{name} must have {rank} axes, got shape {tuple(tensor.shape)}")
