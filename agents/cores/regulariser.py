"""The soft regulariser of Pascanu, Mikolov, Bengio (2013), "On the difficulty of training RNNs"."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.cores.core import Core


def omega(error: Tensor, carried: Tensor) -> Tensor:
    """Ω = Σ_k (‖∂E/∂s_{k+1} · ∂s_{k+1}/∂s_k‖ / ‖∂E/∂s_{k+1}‖ - 1)² (equation 9), the mean over a batch.

    error (T, B, n): ∂E/∂s_{k+1} of each step. carried (T, B, n): the same after one step back. A step with no
    error has no ratio and counts as nothing. It is zero where the error keeps its length from step to step.
    """
    length = error.norm(dim=-1)
    told = length > 0
    ratio = carried.norm(dim=-1) / length.where(told, 1)
    total: Tensor = ((ratio - 1).square() * told).sum(0).mean()
    return total


def carry_back(core: Core, xs: Tensor, states: Tensor, error: Tensor) -> Tensor:
    """∂E/∂s_{k+1} · ∂s_{k+1}/∂s_k of every step: (T, B, n), whose graph leads to the core's weights alone.

    xs (T, B, inputs): the inputs of the steps. states (T, B, n): the state before each; it must be one tensor
    and the core's output, as that of a simple network. error (T, B, n): the error's gradient by the state
    after each. As in the paper, the errors and states are taken as given: the gradient is immediate.
    """
    before = states.detach().flatten(0, 1).requires_grad_()
    y, _ = core(xs.detach().flatten(0, 1), before)
    (carried,) = torch.autograd.grad(y, before, error.detach().flatten(0, 1), create_graph=True)
    return carried.view(error.shape)
