"""Scenes of a sentence to read and another one to say, a word piece at a time: translation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from glimpse_env import checks, scores
from glimpse_env.data import pairs
from glimpse_env.data.files import RECENT, DatasetError
from glimpse_env.data.pieces import Pieces
from glimpse_env.data.units import WordUnits
from glimpse_env.kernels import kernel
from glimpse_env.random import GOLDEN, begin, below, mix, unit
from glimpse_env.worlds.scene import Augmentation, Drawn

MOST_PLACES = 4096


class SentenceWorld:
    """Pairs of sentences in one vocabulary, each of at most `places` of its units (`pairs.vocabulary_of`).

    Frozen scenes are the pairs of a split in their order; in training one is drawn. Word id n + 1 is unit n,
    for id 0 is outside; answer n is unit n. Raises ValueError for unknown pairs and DatasetError for missing
    or damaged ones and for a sentence that is too long.
    """

    lengths_vary = True
    dtype = np.int64

    def __init__(self, dataset: str, languages: str, split: str, places: int, units: str = "pieces") -> None:
        self.canvas_shape = (checks.integer("canvas_size", places, 1, MOST_PLACES),)
        self.max_digits = places
        self.vocabulary = pairs.vocabulary_of(dataset, languages, units)
        self.names = self.vocabulary.names
        self.tokens = ("", *self.names)
        self.texts = pairs.load(dataset, languages, split)
        self.source, self.target = _encoded(self.texts, self.vocabulary, split, places)
        self.num_scenes = len(self.source)

    def encode(self, text: str) -> list[int]:
        """The units of any text."""
        return self.vocabulary.encode([text])[0]

    def answers_of(self, text: str) -> list[int]:
        """The units that a text is said in."""
        return self.encode(text)

    def write(self, answers: Sequence[int]) -> str:
        """The sentence that units spell."""
        return self.vocabulary.decode(answers)

    def score(self, said: Sequence[int], ways: Sequence[Sequence[int]]) -> float:
        """How good what was said is beside what may rightly be said, from 0 to 1 (`scores.chrf`)."""
        return scores.chrf(self.write(said), [self.write(way) for way in ways])

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
        draw_pairs(rows, keys, episodes, indices, self.source, self.target, *out[:4])


@lru_cache(RECENT)
def _encoded(
    texts: pairs.Pairs, vocabulary: Pieces | WordUnits, split: str, places: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Both sides of a split, (n, places): source ids, padded with 0, and answers, padded with -1."""
    sides = []
    for side, padding in ((texts.source, 0), (texts.target, -1)):
        ids = np.full((len(side), places), padding, np.int32)
        for i, encoded in enumerate(vocabulary.encode(side)):
            if len(encoded) > places:
                raise DatasetError(
                    f"sentence {i + 1} of the {split} split has {len(encoded)} units and the canvas "
                    f"{places} places: raise canvas_size, or leave out {side[i][:40]!r} …"
                )
            ids[i, : len(encoded)] = np.array(encoded, np.int32) + (padding + 1)
        sides.append(ids)
    return sides[0], sides[1]


@kernel
def draw_pairs(
    rows: NDArray[np.bool_],
    keys: NDArray[np.uint64],
    episodes: NDArray[np.int64],
    indices: NDArray[np.int64],
    source: NDArray[np.int32],
    target: NDArray[np.int32],
    canvas: NDArray[np.int64],
    symbols: NDArray[np.int64],
    boxes: NDArray[np.int64],
    start_gaze: NDArray[np.float32],
) -> None:
    """Fill the rows of canvas (B, N), symbols (B, K), boxes (B, K, 4) and start_gaze (B, 1), in place.

    The pair is that of indices (B,), or drawn where it is -1. Nothing has a box.
    """
    for b in range(rows.shape[0]):
        if not rows[b]:
            continue
        state = begin(keys[b], episodes[b]) + GOLDEN
        pair = indices[b] if indices[b] >= 0 else below(source.shape[0], mix(state))
        for place in range(canvas.shape[1]):  # loops, for numba takes seconds to compile such assignments
            canvas[b, place] = source[pair, place]
        for place in range(symbols.shape[1]):
            symbols[b, place] = target[pair, place]
            for side in range(4):
                boxes[b, place, side] = 0
        state += GOLDEN
        start_gaze[b, 0] = 2.0 * unit(mix(state)) - 1.0
