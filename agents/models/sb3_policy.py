"""A policy of Stable-Baselines3 as an agent."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from gymnasium.spaces import Box, Dict, MultiDiscrete, Space
from torch import Tensor
from torch.nn import functional as F

from agents.agent import Agent, Spec, Step


@dataclasses.dataclass(frozen=True)
class SB3PolicySettings:
    """What a policy of SB3 is built from."""

    recurrent: bool = False
    """Whether the policy has an LSTM and sees one glimpse at a time; else it sees all glimpses so far."""
    cells: int = 9
    """The gaze is one of `cells` x `cells` points, evenly spaced over a picture, or of `cells` on a text."""

    def __post_init__(self) -> None:
        """Raise ValueError for a grid that is too small."""
        if self.cells < 2:
            raise ValueError(f"cells must be at least 2, got {self.cells}")

    def build(self, spec: Spec) -> SB3Policy:
        """The policy with fresh weights for an environment of `spec`."""
        return SB3Policy(spec, self.cells, self.recurrent)


class SB3Policy(Agent):
    """A policy of SB3 that keeps our contract: the gaze's grid cell and the answer are categorical.

    spec.horizon is how many glimpses the history has room for. Words are vectors, as
    `wrappers.VectorOneHotWords` has them.
    """

    def __init__(self, spec: Spec, cells: int, recurrent: bool) -> None:
        # Here and not above: only these agents need SB3, and it takes long to import.
        from sb3_contrib.common.recurrent.policies import RecurrentMultiInputActorCriticPolicy
        from stable_baselines3.common.policies import MultiInputActorCriticPolicy

        super().__init__()
        self.horizon, self.cells, self.recurrent = spec.horizon, cells, recurrent
        self.words, self.answers = spec.words, spec.num_answers
        time_axis = () if recurrent else (spec.horizon,)
        views: dict[str, Space[Any]] = {
            "retina": Box(0, 1, (*time_axis, *spec.retina, *((spec.words,) if spec.words else ()))),
            "gaze": Box(-1, 1, (*time_axis, spec.axes)),
            "time": Box(0, 1, (*time_axis, 1)),
        }
        if spec.words:
            views["said"] = Box(0, 1, (*time_axis, spec.num_answers + 1))
        observations = Dict(list(views.items()))  # in this order; a dict would be sorted
        actions = MultiDiscrete([cells] * spec.axes + [spec.num_answers])
        kind = RecurrentMultiInputActorCriticPolicy if recurrent else MultiInputActorCriticPolicy
        self.policy = kind(observations, actions, lambda _: 1e-3)  # the training sets the rate

    def initial(self, batch_size: int) -> None:
        """Nothing seen yet."""

    def forward(self, observation: dict[str, Tensor], state: Any, sample: bool) -> tuple[Step, Any]:
        """See `Agent.forward`; the state is the LSTM's (h, c), or the history of each observation."""
        seen = {key: observation[key] for key in ("retina", "gaze", "time")}
        if self.words:
            seen["retina"] = F.one_hot(seen["retina"], self.words).float()
            seen["said"] = F.one_hot(observation["said"][:, 0] + 1, self.answers + 1).float()
        batch, zero = len(seen["gaze"]), seen["gaze"].new_zeros
        policy: Any = self.policy  # SB3's two kinds have no interface in common
        if self.recurrent:
            lstm = policy.lstm_actor
            zeros = zero(batch, lstm.num_layers, lstm.hidden_size)
            layers_first = tuple(part.transpose(0, 1).contiguous() for part in state or (zeros, zeros))
            distribution, state = policy.get_distribution(seen, layers_first, zero(batch))
            state = tuple(part.transpose(0, 1) for part in state)
        else:
            state = [*(state or []), seen]
            rest = self.horizon - len(state)
            if rest < 0:
                raise ValueError(f"this policy remembers {self.horizon} glimpses: lower the horizon")
            history = {
                key: torch.stack([one[key] for one in state] + [torch.zeros_like(seen[key])] * rest, 1)
                for key in seen
            }
            distribution = policy.get_distribution(history)
        *axes, answer = distribution.distribution
        cells = [axis.sample() if sample else axis.probs.argmax(-1) for axis in axes]
        log_prob = zero(())
        for axis, cell in zip(axes, cells, strict=True):
            log_prob = log_prob + axis.log_prob(cell)
        gaze = torch.stack(cells, 1) * (2 / (self.cells - 1)) - 1
        return Step(gaze, answer.logits, log_prob, zero(batch)), state
