from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from agents.learn import losses


def test_reinforce_by_hand() -> None:
    log_prob = torch.tensor([[-1.0, -2.0], [-0.5, -3.0]], requires_grad=True)  # two steps, two episodes
    reward = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    baseline = torch.tensor([[0.25, 0.5], [0.5, 0.75]], requires_grad=True)
    loss = losses.reinforce(log_prob, reward, baseline)
    # Episode 0: -1 * .75 - .5 * .5 = -1; episode 1: -2 * -.5 - 3 * -.75 = 3.25; minus their mean.
    assert loss.item() == pytest.approx(-(-1.0 + 3.25) / 2)
    loss.backward()
    assert baseline.grad is None
    torch.testing.assert_close(log_prob.grad, -torch.tensor([[0.75, -0.5], [0.5, -0.75]]) / 2)


def test_baseline_error_by_hand() -> None:
    baseline = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
    assert losses.baseline_error(baseline, torch.tensor([[1.0, 0.0]] * 2)).item() == pytest.approx(0.125)


def test_leave_one_out_by_hand() -> None:
    reward = torch.tensor([[1.0, 0.0, 0.5, 0.0, 0.0, 1.0]])
    expected = torch.tensor([[0.25, 0.75, 0.5, 0.5, 0.5, 0.0]])
    torch.testing.assert_close(losses.leave_one_out(reward, rollouts=3), expected)


def test_cross_entropy_by_hand() -> None:
    logits = torch.tensor([[[0.0, 0.0], [0.0, 1.0]]]).log_softmax(-1)  # one answer of two scenes
    expected = -(torch.tensor(0.5).log() + torch.tensor(1 / (1 + torch.e)).log()) / 2
    assert losses.cross_entropy(logits, torch.tensor([[0, 0]])).item() == pytest.approx(expected.item())


def test_cross_entropy_adds_up_over_a_sequence() -> None:
    """Three answers of four kinds and two of them, all equally probable: (3 + 2) / 2 log 4."""
    target = torch.tensor([[0, 3], [1, 0], [2, -1]])
    assert losses.cross_entropy(torch.zeros(3, 2, 4), target).item() == pytest.approx(2.5 * math.log(4))


@pytest.mark.parametrize(("row", "column", "cost"), [(0, 0, 2.0), (0, 1, 1.0), (1, 0, 1.0), (1, 2, 2.0)])
def test_a_window_is_charged_by_squares_and_its_shears_half(row: int, column: int, cost: float) -> None:
    """One number of one of two scenes off by two: 2² / 2, a shear half as much."""
    wanted = torch.zeros(3, 2, 2, 3)
    theta = wanted.clone()
    theta[2, 1, row, column] = -2.0
    assert losses.theta_error(theta, wanted).item() == cost


def test_leave_one_out_of_one_glimpse_has_no_gaze_to_judge() -> None:
    assert losses.leave_one_out(torch.zeros(0, 6), 2).shape == (0, 6)


@pytest.mark.parametrize(("rollouts", "batch"), [(1, 4), (3, 4)])
def test_leave_one_out_needs_groups(rollouts: int, batch: int) -> None:
    with pytest.raises(ValueError, match="rollouts"):
        losses.leave_one_out(torch.zeros(2, batch), rollouts)


def at_the_end(reward: Tensor) -> Tensor:
    """Three steps, of which the last earns: (B,) -> (3, B)."""
    return torch.cat([reward.new_zeros(2, len(reward)), reward[None]])


def test_returns_are_what_is_still_to_come() -> None:
    reward = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    assert losses.returns(reward).tolist() == [[4, 2], [3, 2], [3, 0]]


def test_what_is_later_counts_less() -> None:
    reward = torch.tensor([[1.0, 0.0], [0.0, 2.0], [4.0, 0.0]])
    assert losses.returns(reward, 0.5).tolist() == [[2, 1], [2, 2], [4, 0]]
    # A_t = R_t - b_t of such returns.
    log_prob = torch.zeros(3, 2, requires_grad=True)
    baseline = torch.tensor([[0.5, 1.0], [1.0, 0.25], [2.0, 1.0]])
    loss = losses.reinforce(log_prob, reward, baseline, discount=0.5)
    (gradient,) = torch.autograd.grad(loss, log_prob)
    assert (-2 * gradient).tolist() == [[1.5, 0], [1, 1.75], [2, -1]]


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="log_prob_tb must have 2 axes"):
        losses.reinforce(torch.zeros(3), torch.zeros(3, 3), torch.zeros(3, 3))


@pytest.mark.parametrize("kind", ["none", "state", "leave_one_out"])
def test_reinforce_estimates_the_gradient_of_exact_enumeration(kind: str) -> None:
    """Three looks at one of three places, an arbitrary reward of the whole path: every path enumerated.

    The expectation of REINFORCE's gradient, summed over all paths with their probabilities, must be minus
    the gradient of E[R], whatever the baseline; and the policy's logits depend on the step and last place.
    """
    torch.manual_seed(0)
    table = torch.randn(3, 3, 3, dtype=torch.float64, requires_grad=True)  # step, last place, next place
    rewards = torch.rand(3, 3, 3, dtype=torch.float64)
    values = torch.rand(3, 3, dtype=torch.float64)  # a baseline that knows the step and the last place
    paths = list(itertools.product(range(3), repeat=3))

    def steps(path: tuple[int, ...]) -> Tensor:
        last = (0, *path[:-1])
        log_policy = table.log_softmax(-1)
        return torch.stack([log_policy[t, last[t], path[t]] for t in range(3)])

    log_probs = torch.stack([steps(p) for p in paths])
    probs = log_probs.sum(1).exp()
    reward = torch.stack([rewards[p] for p in paths])
    (exact,) = torch.autograd.grad((probs * reward).sum(), table, retain_graph=True)

    estimate = torch.zeros_like(table)
    if kind == "leave_one_out":
        groups = list(itertools.product(range(len(paths)), repeat=2))
        for i, j in groups:
            pair = torch.stack([reward[i], reward[j]])
            earned = at_the_end(pair)
            baseline = losses.leave_one_out(losses.returns(earned), 2)
            loss = losses.reinforce(log_probs[[i, j]].t(), earned, baseline)
            (gradient,) = torch.autograd.grad(loss, table, retain_graph=True)
            estimate -= (probs[i] * probs[j]).detach() * gradient
    else:
        for i, path in enumerate(paths):
            last = (0, *path[:-1])
            state = torch.stack([values[t, last[t]] for t in range(3)])
            baseline = torch.zeros(3, 1) if kind == "none" else state[:, None]
            loss = losses.reinforce(log_probs[i][:, None], at_the_end(reward[i][None]), baseline)
            (gradient,) = torch.autograd.grad(loss, table, retain_graph=True)
            estimate -= probs[i].detach() * gradient
    torch.testing.assert_close(estimate, exact)


def test_a_lambda_of_one_is_reinforce_and_of_zero_one_step_gains() -> None:
    log_prob = torch.zeros(3, 2, requires_grad=True)
    baseline = torch.tensor([[0.2, 0.5], [0.6, 0.4], [0.9, 0.1]])
    reward = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    # A_t = sum_k lambda^k (b_{t+k+1} - b_{t+k}), R after the last: gains (.4, .3, .1) and (-.1, -.3, -.1).
    expected = {
        1.0: [[0.8, -0.5], [0.4, -0.4], [0.1, -0.1]],
        0.0: [[0.4, -0.1], [0.3, -0.3], [0.1, -0.1]],
        0.5: [[0.575, -0.275], [0.35, -0.35], [0.1, -0.1]],
    }
    for gae_lambda, advantage in expected.items():
        (gradient,) = torch.autograd.grad(losses.reinforce(log_prob, reward, baseline, gae_lambda), log_prob)
        torch.testing.assert_close(gradient, -torch.tensor(advantage) / 2)


def test_log_likelihood_is_the_targets_log_probability_and_zero_where_nothing_is_asked() -> None:
    logits = torch.tensor([[[0.0, math.log(3.0)], [0.0, 0.0]]])
    both = logits.expand(2, 2, 2).transpose(0, 1)  # time first
    paid = losses.log_likelihood(both, torch.tensor([[1, 0], [0, -1]]))
    torch.testing.assert_close(paid, torch.tensor([[0.75, 0.25], [0.5, 1.0]]).log())


def test_cross_entropy_and_reinforce_of_log_p_sample_the_variational_bound() -> None:
    """F = sum_l pi(l) log p(target | l), every path enumerated: the loss's expected gradient is minus F's.

    Ba et al. (2015), equation 10, for the policy and for the classifier alike.
    """
    torch.manual_seed(0)
    policy = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)  # step, place
    logits = torch.randn(27, 4, dtype=torch.float64, requires_grad=True)  # path, answer
    paths = list(itertools.product(range(3), repeat=3))
    log_probs = torch.stack([policy.log_softmax(-1)[torch.arange(3), list(p)] for p in paths])
    probs = log_probs.sum(1).exp()
    bound = (probs * logits.log_softmax(-1)[:, 2]).sum()
    exact = torch.autograd.grad(bound, [policy, logits], retain_graph=True)
    estimate = [torch.zeros_like(policy), torch.zeros_like(logits)]
    for i in range(27):
        answer, target = logits[None, i : i + 1], torch.tensor([[2]])
        paid = losses.log_likelihood(answer, target).detach()[0]
        baseline = torch.tensor([[-0.3], [0.2], [1.0]], dtype=torch.float64)
        loss = losses.cross_entropy(answer, target)
        loss = loss + losses.reinforce(log_probs[i][:, None], at_the_end(paid), baseline)
        for total, part in zip(
            estimate, torch.autograd.grad(loss, [policy, logits], retain_graph=True), strict=True
        ):
            total -= probs[i].detach() * part
    torch.testing.assert_close(estimate, list(exact))


def test_both_objectives_move_the_gaze_alike_where_log_p_tells_no_more_than_right_or_wrong() -> None:
    """If log p is 0 where right and -1 where wrong, one gradient; where it is surer, they differ."""
    log_prob = torch.randn(3, 4, requires_grad=True)
    baseline = torch.rand(3, 4)
    right = torch.tensor([1.0, 0.0, 0.0, 1.0])

    def gradient(paid: Tensor, baseline: Tensor) -> Tensor:
        loss = losses.reinforce(log_prob, at_the_end(paid), baseline)
        return torch.autograd.grad(loss, log_prob)[0]

    def paid(p: list[float]) -> Tensor:
        chance = torch.tensor(p)
        logits = torch.stack([chance, 1 - chance], 1).log()[None]
        return losses.log_likelihood(logits, torch.zeros(1, 4, dtype=torch.long))[0]

    plain = paid([1.0, math.exp(-1), math.exp(-1), 1.0])
    torch.testing.assert_close(gradient(right, baseline), gradient(plain, baseline - 1))
    other = gradient(paid([1.0, math.exp(-1), math.exp(-3), 1.0]), baseline - 1)
    differs = (other - gradient(right, baseline)).abs().amax(0) > 1e-3
    assert differs.tolist() == [False, False, True, False]
