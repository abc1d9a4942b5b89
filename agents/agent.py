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

Sees = Literal["glimpses", "canvas", "sequence"]
State = Any  # an agent's own tree (tuples, lists, dicts) of tensors (B, …), None and numbers of all rows


class Spec(NamedTuple):
    """What an agent must fit: the shapes of an environment's views, its answers and its horizon.

    retina: (scales * C, size, size). canvas: (C, H, W). num_answers: how many different answers there are.
    context: (C, n, n), or () where the environment shows none. length: how many answers an episode takes at
    most. horizon: the number of glimpses. words: how many different words a text has, 0 of pictures; then
    retina and context are (size,) and canvas (N,). axes: how many coordinates a gaze has. question: (Q,)
    where one is asked in words, else (). vocabulary: a hash of what answers and words are called, "" where it
    was not kept.
    """

    retina: tuple[int, int, int]
    canvas: tuple[int, int, int]
    num_answers: int
    context: tuple[int, ...] = ()
    length: int = 1
    horizon: int = 1
    words: int = 0
    axes: int = 2
    question: tuple[int, ...] = ()
    vocabulary: str = ""


class SequenceSpec(NamedTuple):
    """What a model of sequences without an environment must fit.

    inputs: how many numbers a step shows, or of how many symbols it shows one (`symbols`). outputs: how many
    numbers, or scores of answers, are asked. length: the number of steps. alphabet: the characters of a text.
    """

    inputs: int
    outputs: int
    length: int
    symbols: bool = False
    alphabet: str = ""


class Step(NamedTuple):
    """What an agent says after one observation.

    gaze (B, axes): where to look next, unclipped, without gradient. logits (B, n): its answer.
    log_prob (B,): log-density of `gaze` under the policy. baseline (B,): the reward it expects.
    Agents without a stochastic policy give zeros for the last two (`soft_step`).
    Of an agent that places windows on the canvas: window (B, 2, 3), see parts.windows.affine_read, and patch
    (B, C, n, n), what it read there; None of others. answer (B,): what it says, if that is not its most
    probable answer. attention (B, N): how much it attends to each word of a text, of an agent that sees all.
    """

    gaze: Tensor
    logits: Tensor
    log_prob: Tensor
    baseline: Tensor
    window: Tensor | None = None
    patch: Tensor | None = None
    answer: Tensor | None = None
    attention: Tensor | None = None


def soft_step(logits: Tensor, window: Tensor, patch: Tensor, following: Tensor) -> Step:
    """The step of an agent whose looks are differentiable.

    logits (B, n); this window and the next one, (B, 2, 3), and this one's patch, (B, C, n, n), as in Step.
    """
    zeros = logits.new_zeros(len(logits))
    return Step(following[..., 2].detach().clamp(-1, 1), logits, zeros, zeros, window, patch)


class Agent(nn.Module, abc.ABC):
    """Base of every agent.

    sees: the retina's glimpses or the whole canvas, which every table prints. looks: whether it looks
    somewhere at each step. bound_to: what of its `Spec` another environment must share beside what it sees.
    """

    sees: Sees = "glimpses"
    bound_to: tuple[str, ...] = ()
    looks: bool = True

    @abc.abstractmethod
    def initial(self, batch_size: int) -> State:
        """The state before the first observation."""

    @abc.abstractmethod
    def forward(self, observation: dict[str, Tensor], state: State, sample: bool) -> tuple[Step, State]:
        """One step; `sample` draws the gaze from the policy, else it is the policy's mean."""

    def recording(self) -> State:
        """A first state that records an episode, for `recorded`; None of agents that cannot.

        The steps of a recorded episode need neither log_prob nor baseline.
        """
        return None

    def recorded(self, state: State, gaze: Tensor) -> Step:
        """All steps of a recorded episode, (T, B, …), with gradients; gaze (T, B, axes): those chosen.

        Played without a graph, the episode costs less; what its steps say is the same. Raises
        NotImplementedError where `recording` is None; callers check first.
        """
        raise NotImplementedError


def select(state: State, chosen: Tensor) -> State:
    """The rows `chosen` of a state: bool (B,), or which row (n,) in each place."""
    if state is None:
        return None
    if isinstance(state, Tensor):
        return state[chosen]
    if isinstance(state, dict):
        return {key: select(part, chosen) for key, part in state.items()}
    if isinstance(state, int):  # how many steps there were, the same in all rows
        return state
    return type(state)(select(part, chosen) for part in state)


def device_of(agent: nn.Module) -> torch.device:
    """The device that an agent's weights are on."""
    weight = next(agent.parameters(), None)
    return torch.device("cpu") if weight is None else weight.device


def to_tensors(observation: dict[str, NDArray[Any]], device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """The environment's arrays as tensors, which on the CPU share their memory: observations are fresh."""
    tensors = {key: torch.from_numpy(value) for key, value in observation.items()}
    if torch.device(device).type == "cpu":
        return tensors
    return {key: tensor.to(device) for key, tensor in tensors.items()}


def to_action(step: Step) -> dict[str, NDArray[Any]]:
    """The environment's action: the step's gaze and its answer, the most probable one unless it has another.

    Raises ValueError for a gaze that is no number, as that of weights that diverged.
    """
    gaze = step.gaze.float().cpu().numpy()
    if not np.isfinite(gaze).all():
        raise ValueError(
            "the agent's gaze is not finite, its training diverged: "
            "train anew with a lower learning_rate or clip"
        )
    said = step.logits.detach().argmax(-1) if step.answer is None else step.answer
    answer: NDArray[np.int64] = said.cpu().numpy()
    return {"gaze": gaze, "answer": answer}


def count_parameters(agent: nn.Module) -> int:
    """Number of trained weights."""
    return sum(p.numel() for p in agent.parameters() if p.requires_grad)
