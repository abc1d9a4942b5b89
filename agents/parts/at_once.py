"""Agents that think all their answers out at the first glimpse, and then say them as they are due."""

from __future__ import annotations

import abc

import torch
from torch import Tensor

from agents.agent import Agent, Sees, Step


class AtOnce(Agent):
    """Base of agents that see the whole canvas and give `length` answers; the gaze stays in the centre."""

    sees: Sees = "canvas"
    looks: bool = False
    length: int

    def initial(self, batch_size: int) -> None:
        """No answer yet."""

    @abc.abstractmethod
    def answers(self, canvas: Tensor) -> Tensor:
        """Canvas (B, C, H, W) in [0, 1] -> the logits of all answers, float32 (B, length, n)."""

    def forward(
        self, observation: dict[str, Tensor], state: Tensor | None, sample: bool
    ) -> tuple[Step, Tensor]:
        """See `Agent.forward`; the state is the logits of all answers, which do not change in an episode."""
        logits = self.answers(observation["canvas"]) if state is None else state
        zeros = logits.new_zeros(len(logits))
        # The share of the glimpses seen tells which answer is due next.
        due = (observation["time"][:, 0] * self.length - 1e-3).long()
        rows = torch.arange(len(logits), device=logits.device)
        return Step(logits.new_zeros(len(logits), 2), logits[rows, due], zeros, zeros), logits
