"""Trees that are well formed: a model of words may say nothing else (constrained decoding)."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.agent import State
from agents.parts.beam import Speaker

DEPTH = 64  # brackets that are open at once
IN_A_ROW = 8  # brackets that open one after the other


class WellFormed:
    """A speaker that closes what it opened, last one first, and names each word of the text once.

    Its answers are `leaves` kinds of words, `labels` opening brackets, as many closing ones in the same
    order, and END. There is no bracket around nothing.
    """

    def __init__(self, speaker: Speaker, leaves: int, labels: int) -> None:
        self.speaker, self.leaves, self.labels = speaker, leaves, labels

    def read(self, canvas: Tensor) -> State:
        """See `beam.Speaker`."""
        state = self.speaker.read(canvas)
        none = torch.zeros(len(canvas), dtype=torch.long, device=canvas.device)
        brackets = {"stack": none[:, None].repeat(1, DEPTH), "depth": none, "in_a_row": none}
        return {**state, **brackets, "left": state["there"].sum(1)}

    def say(self, heard: Tensor, state: State) -> tuple[Tensor, State]:
        """See `beam.Speaker`: what is not allowed scores -inf."""
        answer = heard - 1
        leaf = (answer >= 0) & (answer < self.leaves)
        label = answer - self.leaves
        opens = (label >= 0) & (label < self.labels)
        closes = (label >= self.labels) & (label < 2 * self.labels)
        at = state["depth"].clamp_max(DEPTH - 1)[:, None]
        written = state["stack"].scatter(1, at, label[:, None])
        stack = torch.where(opens[:, None], written, state["stack"])
        depth = (state["depth"] + opens.long() - closes.long()).clamp(
            0, DEPTH
        )  # of beams that died, anything
        in_a_row = torch.where(opens, state["in_a_row"] + 1, 0)
        left = state["left"] - leaf.long()
        after = {**state, "stack": stack, "depth": depth, "in_a_row": in_a_row, "left": left}
        scores, after = self.speaker.say(heard, after)
        more = left > 0
        may_open = more & (depth < DEPTH) & (in_a_row < IN_A_ROW)
        top = stack.gather(1, (depth - 1).clamp_min(0)[:, None])
        may_close = ((depth > 0) & (in_a_row == 0))[:, None]
        allowed = torch.cat(
            [
                more[:, None].expand(-1, self.leaves),
                may_open[:, None].expand(-1, self.labels),
                may_close & (top == torch.arange(self.labels, device=top.device)),
                (~more & (depth == 0))[:, None],
            ],
            1,
        )
        return scores.masked_fill(~allowed, -torch.inf), after
