"""Constrained decoding: a speaker that says well-formed trees alone, and what many such trees agree on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from agents.agent import State
from agents.parts.beam import Speaker

IN_A_ROW = 8  # brackets that open one after the other


class WellFormed:
    """A speaker that closes what it opened and names each word of the text once.

    Its answers are `leaves` kinds of words, `labels` opening brackets, one that closes, and END. There is no
    bracket around nothing, and no more than IN_A_ROW open one after the other.
    """

    def __init__(self, speaker: Speaker, leaves: int, labels: int) -> None:
        self.speaker, self.leaves, self.labels = speaker, leaves, labels

    def read(self, canvas: Tensor) -> State:
        """See `beam.Speaker`."""
        state = self.speaker.read(canvas)
        none = torch.zeros(len(canvas), dtype=torch.long, device=canvas.device)
        return {**state, "depth": none, "in_a_row": none, "left": state["there"].sum(1)}

    def say(self, heard: Tensor, state: State) -> tuple[Tensor, State]:
        """See `beam.Speaker`: what is not allowed scores -inf."""
        label = heard - 1 - self.leaves
        opens, closes = (label >= 0) & (label < self.labels), label == self.labels
        depth = state["depth"] + opens.long() - closes.long()
        in_a_row = torch.where(opens, state["in_a_row"] + 1, 0)
        left = state["left"] - ((heard > 0) & (label < 0)).long()
        scores, after = self.speaker.say(heard, {**state, "depth": depth, "in_a_row": in_a_row, "left": left})
        more = left > 0
        allowed = torch.cat(
            [
                more[:, None].expand(-1, self.leaves),
                (more & (in_a_row < IN_A_ROW))[:, None].expand(-1, self.labels),
                ((depth > 0) & (in_a_row == 0))[:, None],
                (~more & (depth == 0))[:, None],
            ],
            1,
        )
        return scores.masked_fill(~allowed, -torch.inf), after


def majority(trees: Sequence[Sequence[int]], leaves: int, close: int) -> list[int]:
    """The tree of those brackets that more than half of a sentence's trees have.

    trees: rows of answers, of which those below `leaves` are words, `close` closes and others open. Such
    brackets never cross, for any two of them stand in one of the trees together; it is the tree whose
    brackets are right oftenest, less those that are wrong, if trees were drawn as they are probable (Goodman
    1996). Brackets of one span lie in each other as they do on the mean, and words are as most trees have
    them. A bracket that is not closed does not count.
    """
    depths: dict[tuple[int, int, int, int], list[int]] = {}  # of label, first word, last, and which of these
    words: list[list[int]] = []
    for tree in trees:
        opened: list[tuple[int, int]] = []
        read, there = 0, set()
        for symbol in tree:
            if symbol < leaves:
                if read == len(words):
                    words.append([])
                words[read].append(symbol)
                read += 1
            elif symbol != close:
                opened.append((symbol, read))
            elif opened:
                label, first = opened.pop()
                which = 0
                while (label, first, read, which) in there:
                    which += 1
                there.add((label, first, read, which))
                depths.setdefault((label, first, read, which), []).append(len(opened))
    kept = [key for key, depth in depths.items() if 2 * len(depth) > len(trees)]
    said: list[int] = []
    ends: list[int] = []  # of the brackets that are open
    kept.sort(key=lambda key: (key[1], -key[2], sum(depths[key]) / len(depths[key]), key[0]))
    for place, leaf in enumerate(words):
        while kept and kept[0][1] == place:
            label, _, last, _ = kept.pop(0)
            said.append(label)
            ends.append(last)
        said.append(max(sorted(set(leaf)), key=leaf.count))
        while ends and ends[-1] == place + 1:
            said.append(close)
            ends.pop()
    return said
