"""Trees to train on that nobody wrote: constituents that change places with others of their kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from glimpse_env.data.trees import CLOSE, LEAVES
from glimpse_env.worlds.trees import TreeWorld


class Constituent(NamedTuple):
    """A bracket of a tree: its symbols and its words, each from the first to the one after the last.

    kind: its label, the label of the bracket around it, and the part of speech of its first word.
    """

    tree: int
    symbols: slice
    words: slice
    kind: tuple[int, int, int]


class Swaps:
    """Exchanges one constituent of a sentence, any but the whole, for one of its kind, of any sentence.

    After the subtree substitution of Shi, Livescu and Gimpel (2021), "Substructure Substitution".
    """

    def __init__(self, world: TreeWorld) -> None:
        self.world = world
        self.of_tree = [list(self._constituents(tree)) for tree in range(world.num_scenes)]
        self.of_kind: dict[tuple[int, int, int], list[Constituent]] = defaultdict(list)
        for found in self.of_tree:
            for one in found:
                self.of_kind[one.kind].append(one)

    def _constituents(self, tree: int) -> Iterator[Constituent]:
        symbols, parts = self.world.target[tree], self.world.parts[tree]
        opened, read = list[tuple[int, int]](), 0
        for place, symbol in enumerate(symbols[symbols >= 0].tolist()):
            if symbol < len(LEAVES):
                read += 1
            elif self.world.names[symbol] != CLOSE:
                opened.append((place, read))
            else:
                begin, first = opened.pop()
                if opened:
                    kind = int(symbols[begin]), int(symbols[opened[-1][0]]), int(parts[first])
                    yield Constituent(tree, slice(begin, place + 1), slice(first, read), kind)

    def swap(
        self,
        tree: int,
        words: NDArray[np.int64],
        symbols: NDArray[np.int64],
        parts: NDArray[np.int16],
        generator: np.random.Generator,
    ) -> None:
        """Exchange a constituent of tree number `tree` in place, in what is read, said and taught.

        words (N,), 0 beyond the end; symbols (K,) and parts (N,), -1 there. New words are read as their
        classes as often as others are. A tree stays as it is that has one bracket, or would be too large.
        """
        if not self.of_tree[tree]:
            return
        world, own = self.world, _one(self.of_tree[tree], generator)
        other = _one(self.of_kind[own.kind], generator)
        fresh = world.source[other.tree, other.words]
        fresh = np.where(generator.random(len(fresh)) < world.hidden[fresh], world.of_class[fresh], fresh)
        rows: list[tuple[NDArray[Any], slice, NDArray[Any], int]] = [
            (words, own.words, fresh, 0),
            (parts, own.words, world.parts[other.tree, other.words], -1),
            (symbols, own.symbols, world.target[other.tree, other.symbols], -1),
        ]
        changed = []
        for row, old, new, empty in rows:
            rest = row[old.stop :]
            changed.append(np.concatenate([row[: old.start], new, rest[rest != empty]]))
            if len(changed[-1]) > len(row):
                return
        for (row, _, _, empty), new in zip(rows, changed, strict=True):
            row[: len(new)], row[len(new) :] = new, empty


def _one(among: list[Constituent], generator: np.random.Generator) -> Constituent:
    return among[generator.integers(len(among))]
