"""Scenes of numbers, of which the first names the place where the answer stands: f(p) = p[p[0]].

It is the smallest task that can only be done by looking where one was told to (LSTM-Jump's first one, Yu,
Lee, Le 2017). There is no data and no end of scenes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from glimpse_env import checks
from glimpse_env.kernels import kernel
from glimpse_env.random import GOLDEN, begin, below, mix, unit
from glimpse_env.worlds.scene import Augmentation, Drawn

FROZEN = 10_000  # scenes of each split that are frozen
MOST_PLACES = 4096


class LookupWorld:
    """`places` numbers from 0 to places - 1; the first is the place of the answer, at least 1.

    Word id n + 1 is number n, for id 0 is outside. Raises ValueError for a number of places out of range.
    """

    lengths_vary = False
    max_digits = 1
    num_scenes = FROZEN
    dtype = np.int64

    def __init__(self, places: int) -> None:
        checks.integer("canvas_size", places, 2, MOST_PLACES)
        self.canvas_shape = (places,)
        self.names = tuple(map(str, range(places)))
        self.tokens = ("", *self.names)

    def answers_of(self, text: str) -> list[int]:
        """The numbers in a text."""
        return [self.names.index(word) for word in text.split() if word in self.names]

    def write(self, answers: Sequence[int]) -> str:
        """Numbers as they are written."""
        return " ".join(self.names[i] for i in answers)

    def draw(
        self,
        rows: NDArray[np.bool_],
        keys: NDArray[np.uint64],
        episodes: NDArray[np.int64],
        indices: NDArray[np.int64],
        augmentation: Augmentation,
        out: Drawn,
    ) -> None:
        """Draw a new scene for every row of `rows` into `out`; nothing is augmented."""
        draw_numbers(rows, keys, episodes, indices, *out[:4])


@kernel
def draw_numbers(
    rows: NDArray[np.bool_],
    keys: NDArray[np.uint64],
    episodes: NDArray[np.int64],
    indices: NDArray[np.int64],
    canvas: NDArray[np.int64],
    symbols: NDArray[np.int64],
    boxes: NDArray[np.int64],
    start_gaze: NDArray[np.float32],
) -> None:
    """Fill the rows of canvas (B, N), symbols (B, 1), boxes (B, 1, 4) and start_gaze (B, 1), in place.

    indices (B,): -1 for a scene that is not frozen, whose key is another one, so that no seed of an episode
    leads to the frozen scenes.
    """
    places = canvas.shape[1]
    for b in range(rows.shape[0]):
        if not rows[b]:
            continue
        state = begin(keys[b] if indices[b] >= 0 else mix(keys[b]), episodes[b])
        for place in range(places):
            state += GOLDEN
            canvas[b, place] = 1 + below(places, mix(state))
        state += GOLDEN
        told = 1 + below(places - 1, mix(state))
        canvas[b, 0] = 1 + told
        symbols[b, 0] = canvas[b, told] - 1
        boxes[b, 0, 0], boxes[b, 0, 1], boxes[b, 0, 2], boxes[b, 0, 3] = told, 0, 1, 1
        state += GOLDEN
        start_gaze[b, 0] = 2.0 * unit(mix(state)) - 1.0
