"""Scenes of a sentence to read and its parse tree to say, a bracket or a leaf at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from glimpse_env import checks
from glimpse_env.data import trees
from glimpse_env.data.files import RECENT, DatasetError
from glimpse_env.data.words import Lexicon, treebank_words
from glimpse_env.kernels import kernel
from glimpse_env.random import GOLDEN, begin, below, mix, unit
from glimpse_env.worlds.scene import Augmentation, Drawn

MOST_PLACES = 4096
ROOM = 3  # symbols that a tree has at most, a word


class TreeWorld:
    """Sentences of at most `places` words and their trees.

    Frozen scenes are the trees of a split in their order; in training one is drawn, and words of it are
    read as their classes, rare ones more often than others, so that unknown ones will be understood. Word
    id n + 1 is name n of the lexicon, for id 0 is outside. Answers 0 and 1 are the leaves, then come
    opening brackets, and the one that closes any of them. part_names are the parts of speech, and parts
    int16 (n, N) has those of all words, -1 beyond a sentence's end and for one that training lacks. Raises
    ValueError for unknown trees and DatasetError for missing or damaged ones and for a tree that is too
    large.
    """

    lengths_vary = True
    dtype = np.int64

    def __init__(self, dataset: str, split: str, places: int) -> None:
        self.canvas_shape = (checks.integer("canvas_size", places, 1, MOST_PLACES),)
        self.max_digits = ROOM * places
        train, own = trees.load(dataset, "train"), trees.load(dataset, split)
        self.lexicon, self.labels = trees.lexicon(train), trees.labels(train)
        self.names = (*trees.LEAVES, *(f"({label}" for label in self.labels), trees.CLOSE)
        self.tokens = ("", *self.lexicon.names)
        self.source, self.target = _encoded(own, self.lexicon, self.names, split, places)
        self.part_names = trees.parts_of_speech(train)
        self.parts = _parts(own, self.part_names, places)
        self.num_scenes = len(self.source)
        self.of_class = np.concatenate([[0], self.lexicon.of_class + 1])
        rare = 0.1 / (1 + self.lexicon.seen / 20)
        self.hidden = np.concatenate([[0.0], rare]) if split == "train" else np.zeros(len(rare) + 1)

    def encode(self, text: str) -> list[int]:
        """The words of any text."""
        return self.lexicon.encode(treebank_words(text))

    def answers_of(self, text: str) -> list[int]:
        """The symbols in a text, those that are none left out."""
        return [self.names.index(symbol) for symbol in text.split() if symbol in self.names]

    def write(self, answers: Sequence[int]) -> str:
        """Symbols as they are written."""
        return " ".join(self.names[i] for i in answers)

    def matched(self, said: Sequence[int], right: Sequence[int]) -> tuple[int, int, int]:
        """How many brackets of two trees agree, were said, and are right (`trees.matched`)."""
        ours, theirs = ([self.names[i] for i in answers] for answers in (said, right))
        return trees.matched(ours, theirs)

    def score(self, said: Sequence[int], ways: Sequence[Sequence[int]]) -> float:
        """How well a tree agrees with the right one, from 0 to 1: its brackets' F1; 0 for what is no tree."""
        leaves = [self.names[i] for i in ways[0] if self.names[i] in trees.LEAVES]
        if trees.brackets([self.names[i] for i in said], leaves) is None:
            return 0.0
        return max(trees.f1(*self.matched(said, way)) for way in ways)

    def draw(
        self,
        rows: NDArray[np.bool_],
        keys: NDArray[np.uint64],
        episodes: NDArray[np.int64],
        indices: NDArray[np.int64],
        augmentation: Augmentation,
        out: Drawn,
    ) -> None:
        """Draw a scene, or that of `indices`, for every row of `rows` into `out`; nothing is augmented."""
        draw_trees(
            rows, keys, episodes, indices, self.source, self.target, self.of_class, self.hidden, *out[:4],
            out.item,
        )  # fmt: skip


@lru_cache(RECENT)
def _encoded(
    loaded: tuple[trees.Tree, ...], lexicon: Lexicon, names: tuple[str, ...], split: str, places: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The words of a split, (n, places), padded with 0, and its trees, (n, 3 places), padded with -1."""
    number = {name: i for i, name in enumerate(names)}
    source = np.zeros((len(loaded), places), np.int32)
    target = np.full((len(loaded), ROOM * places), -1, np.int32)
    for i, tree in enumerate(loaded):
        if len(tree.words) > places or len(tree.symbols) > ROOM * places:
            raise DatasetError(
                f"tree {i + 1} of the {split} split has {len(tree.words)} words and {len(tree.symbols)} "
                f"symbols, and there is room for {places} and {ROOM * places}: raise canvas_size."
            )
        unknown = [symbol for symbol in tree.symbols if symbol not in number]
        if unknown:
            raise DatasetError(
                f"tree {i + 1} of the {split} split has the bracket {unknown[0][1:]!r}, which is not in "
                "training: add a tree that has it."
            )
        source[i, : len(tree.words)] = np.array(lexicon.encode(tree.words)) + 1
        target[i, : len(tree.symbols)] = [number[symbol] for symbol in tree.symbols]
    return source, target


@lru_cache(RECENT)
def _parts(loaded: tuple[trees.Tree, ...], names: tuple[str, ...], places: int) -> NDArray[np.int16]:
    """The parts of speech of a split, (n, places), numbers of `names`, else -1."""
    number = {name: i for i, name in enumerate(names)}
    parts = np.full((len(loaded), places), -1, np.int16)
    for tree, row in zip(loaded, parts, strict=True):
        row[: len(tree.parts)] = [number.get(part, -1) for part in tree.parts]
    return parts


@kernel
def draw_trees(
    rows: NDArray[np.bool_],
    keys: NDArray[np.uint64],
    episodes: NDArray[np.int64],
    indices: NDArray[np.int64],
    source: NDArray[np.int32],
    target: NDArray[np.int32],
    of_class: NDArray[np.int64],
    hidden: NDArray[np.float64],
    canvas: NDArray[np.int64],
    symbols: NDArray[np.int64],
    boxes: NDArray[np.int64],
    start_gaze: NDArray[np.float32],
    item: NDArray[np.int64],
) -> None:
    """Fill the rows of canvas (B, N), symbols (B, K), boxes (B, K, 4), start_gaze (B, 1), item (B,) in place.

    The tree is that of indices (B,), or drawn where it is -1; then a word w is read as of_class[w] with
    probability hidden[w]. Nothing has a box.
    """
    for b in range(rows.shape[0]):
        if not rows[b]:
            continue
        state = begin(keys[b], episodes[b]) + GOLDEN
        frozen = indices[b] >= 0
        tree = indices[b] if frozen else below(source.shape[0], mix(state))
        item[b] = tree
        for place in range(symbols.shape[1]):  # loops, for numba takes seconds to compile such assignments
            symbols[b, place] = target[tree, place]
            for side in range(4):
                boxes[b, place, side] = 0
        state += GOLDEN
        start_gaze[b, 0] = 2.0 * unit(mix(state)) - 1.0
        for place in range(canvas.shape[1]):
            word = source[tree, place]
            if word and not frozen:
                state += GOLDEN
                if unit(mix(state)) < hidden[word]:
                    word = of_class[word]
            canvas[b, place] = word
