"""What a language model is fed in training: the truth, now and then its own words, or both, side by side."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from agents.cores import State
from agents.models.char_lm import CharLM

TAUGHT_ABOVE, LEARNS_BELOW = 0.75, 0.99  # of the discriminator's accuracy (Lamb et al. 2016)


class Forced(NamedTuple):
    """nats (T, B): the surprise of every step. state: the core's, after the last. more: what is added to the
    loss. figures: what to show.
    """

    nats: Tensor
    state: State
    more: Tensor
    figures: dict[str, Tensor]


def teacher(model: CharLM, steps: Tensor, target: Tensor, state: State) -> Forced:
    """Teacher forcing (Williams, Zipser 1989): every step is the true one. steps, target: (T, B, …)."""
    scores, state = model(steps, state)
    nats = model.surprise(scores, target)
    return Forced(nats, state, nats.new_zeros(()), {})


def scheduled(model: CharLM, steps: Tensor, target: Tensor, state: State, share: float) -> Forced:
    """Scheduled sampling (Bengio et al. 2015): after the first, a step is the model's own draw with
    probability `share`, decided anew for every step of every row.
    """
    scores, fed = [], steps[0]
    for t in range(len(steps)):
        score, state = model(fed[None], state)
        scores.append(score[0])
        if t + 1 < len(steps):
            sampled = torch.rand(steps.shape[1], device=score.device) < share
            drawn = model.draw(score[0].detach())
            fed = torch.where(sampled.view(-1, *[1] * (drawn.ndim - 1)), drawn, steps[t + 1])
    nats = model.surprise(torch.stack(scores), target)
    return Forced(nats, state, nats.new_zeros(()), {})


def professor(model: CharLM, steps: Tensor, target: Tensor, state: State) -> Forced:
    """Professor forcing (Lamb, Goyal, et al. 2016): beside teacher forcing, the core's outputs while it reads
    its own draws shall be such that a discriminator takes them for those while it reads the truth.

    The discriminator learns while it is right in less than 99 % of the rows, and teaches while it is right
    in more than 75 %. Gradients go through the core, not through the draws.
    """
    judge = model.discriminator
    assert judge is not None  # as NextStep.check has seen
    ys, after = model.read(steps, state)
    nats = model.surprise(model.score(ys), target)
    free, fed, free_state = [], steps[0], state
    for _ in range(len(steps)):
        y, free_state = model.read(fed[None], free_state)
        free.append(y)
        fed = model.draw(model.score(y)[0].detach())
    freely = torch.cat(free)
    true, false = judge(ys.detach()), judge(freely.detach())
    right = ((true > 0).float().mean() + (false <= 0).float().mean()) / 2
    learned = F.softplus(-true).mean() + F.softplus(false).mean()
    fixed = {name: weight.detach() for name, weight in judge.named_parameters()}
    fooled = F.softplus(-functional_call(judge, fixed, (freely,))).mean()
    more = learned * (right < LEARNS_BELOW) + fooled * (right > TAUGHT_ABOVE)
    return Forced(nats, after, more, {"discriminator_right": right})
