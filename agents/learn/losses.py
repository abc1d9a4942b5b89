"""Losses, means over the batch, and what they are made of: pure functions of tensors, time first."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def reinforce(
    log_prob_tb: Tensor,
    reward_tb: Tensor,
    baseline_tb: Tensor,
    gae_lambda: float = 1.0,
    discount: float = 1.0,
) -> Tensor:
    """REINFORCE with a baseline (Williams 1992).

    -mean_b sum_t log pi(l_t) A_t. With gae_lambda and discount 1, A_t = R_t - b_t, R_t the reward from t on,
    and the gradient is minus an unbiased estimate of that of E[R]; below 1, with 0 for the last b,
    A_t = sum_k (gae_lambda discount)^k (r_{t+k} + discount b_{t+k+1} - b_{t+k}), which trades variance for
    bias (generalised advantages, Schulman et al. 2016).
    log_prob_tb (T, B), reward_tb (T, B): what was earned before the next gaze was chosen, baseline_tb
    (T, B), which is not trained by this loss.
    """
    _check_rank(log_prob_tb, 2, "log_prob_tb")
    _check_rank(reward_tb, 2, "reward_tb")
    _check_rank(baseline_tb, 2, "baseline_tb")
    value_tb = baseline_tb.detach()
    following_tb = torch.cat([value_tb[1:], torch.zeros_like(value_tb[:1])])
    advantage_tb = reward_tb + discount * following_tb - value_tb
    for t in reversed(range(len(advantage_tb) - 1)):
        advantage_tb[t] += gae_lambda * discount * advantage_tb[t + 1]
    return -(log_prob_tb * advantage_tb).sum(0).mean()


def returns(reward_tb: Tensor, discount: float = 1.0) -> Tensor:
    """The reward from each step on, each later step's counting `discount` times less: (T, B) -> (T, B)."""
    _check_rank(reward_tb, 2, "reward_tb")
    return_tb = reward_tb.clone()
    for t in reversed(range(len(return_tb) - 1)):
        return_tb[t] += discount * return_tb[t + 1]
    return return_tb


def baseline_error(baseline_tb: Tensor, return_tb: Tensor) -> Tensor:
    """Squared error of the return that each step expected: mean over steps (T, B) and batch."""
    _check_rank(baseline_tb, 2, "baseline_tb")
    if len(baseline_tb) == 0:  # a single glimpse leaves no gaze to choose
        return baseline_tb.sum()
    return F.mse_loss(baseline_tb, return_tb)


def leave_one_out(return_tb: Tensor, rollouts: int) -> Tensor:
    """For each step of an episode, the mean return of its scene's other rollouts: (T, B) -> (T, B).

    Rows of one scene are adjacent, `rollouts` of them (Kool, van Hoof, Welling 2019).
    Raises ValueError for fewer than two rollouts or a batch they do not divide.
    """
    _check_rank(return_tb, 2, "return_tb")
    batch = return_tb.shape[1]
    if rollouts < 2 or batch % rollouts:
        raise ValueError(f"rollouts must be at least 2 and divide the batch of {batch}, got {rollouts}")
    groups = return_tb.view(len(return_tb), batch // rollouts, rollouts)
    return ((groups.sum(2, keepdim=True) - groups) / (rollouts - 1)).view_as(return_tb)


def cross_entropy(logits_tb: Tensor, target_tb: Tensor) -> Tensor:
    """-mean_b sum_t log p(target): logits (T, B, n), target (T, B) integers, -1 where nothing is asked."""
    return -log_likelihood(logits_tb, target_tb).sum(0).mean()


def log_likelihood(logits_tb: Tensor, target_tb: Tensor) -> Tensor:
    """Log p(target) of each answer, 0 where nothing is asked: (T, B, n), (T, B) with -1 -> (T, B)."""
    _check_rank(logits_tb, 3, "logits_tb")
    _check_rank(target_tb, 2, "target_tb")
    return -F.cross_entropy(logits_tb.transpose(1, 2), target_tb, ignore_index=-1, reduction="none")


THETA_WEIGHTS = ((1.0, 0.5, 1.0), (0.5, 1.0, 1.0))  # beta: shears count half


def theta_error(theta_tb: Tensor, wanted_tb: Tensor) -> Tensor:
    """EDRAM's loss of the gaze (Ablavatski et al. 2017): mean_b sum_t sum_k beta_k (theta_k - wanted_k)².

    theta_tb, wanted_tb (T, B, 2, 3); windows that are NaN in `wanted_tb` are free.
    """
    _check_rank(theta_tb, 4, "theta_tb")
    _check_rank(wanted_tb, 4, "wanted_tb")
    wanted_tb = torch.where(wanted_tb.isnan(), theta_tb.detach(), wanted_tb)
    squares = (theta_tb - wanted_tb) ** 2 * theta_tb.new_tensor(THETA_WEIGHTS)
    return squares.sum((0, 2, 3)).mean()


def _check_rank(tensor: torch.Tensor, rank: int, name: str) -> None:
    if tensor.ndim != rank:
        raise ValueError(f"{name} must have {rank} axes, got shape {tuple(tensor.shape)}")
