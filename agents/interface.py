"""The contract every agent keeps, whether it looks hard, softly or at everything at once.

state = agent.initial(batch_size)
step, state = agent(observation, state, sample)
"""

from __future__ import annotations

import abc
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Sees = Literal["glimpses", "canvas"]
State = Any  # an agent's own: tensors whose first axis is the batch, in tuples, lists or dicts, or None


class Step(NamedTuple):
    """What an agent says after one observation.

    gaze (B, 2): where to look next, unclipped, without gradient. logits (B, n): its answer.
    log_prob (B,): log-density of `gaze` under the policy. baseline (B,): the reward it expects.
    Agents without a stochastic policy give zeros for the last two (`soft_step`).
    Of an agent that places windows on the canvas: window (B, 2, 3), see attention.affine_read, and patch
    (B, C, n, n), what it read there; None of others.
    """

    gaze: Tensor
    logits: Tensor
    log_prob: Tensor
    baseline: Tensor
    window: Tensor | None = None
    patch: Tensor | None = None


def soft_step(logits: Tensor, window: Tensor, patch: Tensor, following: Tensor) -> Step:
    """The step of an agent whose looks are differentiable.

    logits (B, n); this window and the next one, (B, 2, 3), and this one's patch, (B, C, n, n), as in Step.
    """
    zeros = torch.zeros(len(logits))
    return Step(following[..., 2].detach().clamp(-1, 1), logits, zeros, zeros, window, patch)


class Agent(nn.Module, abc.ABC):
    """Base of every agent; `sees` is printed in every table.

    looks: whether it looks somewhere at each step. backward: whether it names a number's digits from the
    last to the first (one half of an ensemble).
    """

    sees: Sees = "glimpses"
    looks: bool = True
    backward: bool = False

    @abc.abstractmethod
    def initial(self, batch_size: int) -> State:
        """The state before the first observation."""

    @abc.abstractmethod
    def forward(self, observation: dict[str, Tensor], state: State, sample: bool) -> tuple[Step, State]:
        """One step; `sample` draws the gaze from the policy, else it is the policy's mean."""


def to_tensors(observation: dict[str, NDArray[Any]]) -> dict[str, Tensor]:
    """The environment's arrays as tensors that share their memory (observations are never reused)."""
    return {key: torch.from_numpy(value) for key, value in observation.items()}


def to_action(step: Step, never: int = -1) -> dict[str, NDArray[Any]]:
    """The environment's action: the step's gaze and its most probable answer, except the answer `never`.

    Raises ValueError for a gaze that is no number, as that of weights that diverged.
    """
    if not step.gaze.isfinite().all():
        raise ValueError(
            "the agent's gaze is not finite, its training diverged: "
            "train anew with a lower learning_rate or clip"
        )
    logits = step.logits.detach()
    if never >= 0:
        logits = logits.clone()
        logits[:, never] = -torch.inf
    answer: NDArray[np.int64] = logits.argmax(-1).numpy()
    return {"gaze": step.gaze.numpy(), "answer": answer}


def count_parameters(agent: nn.Module) -> int:
    """Number of trained weights."""
    return sum(p.numel() for p in agent.parameters() if p.requires_grad)
