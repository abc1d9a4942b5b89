"""Constrained decoding: a speaker that says well-formed trees alone."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.agent import State
from agents.parts.beam import Speaker

IN_A_ROW = 8  # brackets that open one after the other


class WellFormed:
    """A speaker that says one tree, in which each word of the text is named once.

    Its answers are `leaves` kinds of words, `labels` opening brackets, one that closes, and END. There is no
    bracket around nothing, no more than IN_A_ROW open one after the other, and none opens without room for
    what must follow in an answer of `most` symbols, END included.
    """

    def __init__(self, speaker: Speaker, leaves: int, labels: int, most: int) -> None:
        self.speaker, self.leaves, self.labels, self.most = speaker, leaves, labels, most

    def read(self, canvas: Tensor) -> State:
        """See `beam.Speaker`."""
        state = self.speaker.read(canvas)
        none = torch.zeros(len(canvas), dtype=torch.long, device=canvas.device)
        return {
            **state,
            "depth": none,
            "in_a_row": none,
            "left": state["there"].sum(1),
            "room": none + self.most,
        }

    def say(self, heard: Tensor, state: State) -> tuple[Tensor, State]:
        """See `beam.Speaker`: what is not allowed scores -inf."""
        label = heard - 1 - self.leaves
        opens, closes = (label >= 0) & (label < self.labels), label == self.labels
        depth = state["depth"] + opens.long() - closes.long()
        in_a_row = torch.where(opens, state["in_a_row"] + 1, 0)
        left = state["left"] - ((heard > 0) & (label < 0)).long()
        room = state["room"] - (heard > 0).long()
        own = {"depth": depth, "in_a_row": in_a_row, "left": left, "room": room}
        scores, after = self.speaker.say(heard, {**state, **own})
        more, outside = left > 0, depth == 0
        opening = more & (in_a_row < IN_A_ROW) & (room >= left + depth + 3)  # itself, what closes it, and END
        allowed = torch.cat(
            [
                (more & ~(outside & (left > 1)))[:, None].expand(-1, self.leaves),
                opening[:, None].expand(-1, self.labels),
                (~outside & (in_a_row == 0) & ~((depth == 1) & more))[
                    :, None
                ],  # the last one holds all words
                (~more & outside)[:, None],
            ],
            1,
        )
        return scores.masked_fill(~allowed, -torch.inf), after
