"""The sensor for texts: a text + a gaze -> a few words around it.

A gaze (x,) in [-1, 1] has -1 at the first place of a text and +1 at the last, on every length. The window
of `size` words begins at place floor(p + 1 - size / 2), p being the place that is looked at: the convention
of the retina, on one axis. Outside the text is 0, which no word is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Space
from numpy.typing import NDArray

from glimpse_env import checks
from glimpse_env.kernels import kernel
from glimpse_env.sensors.retina import patch_start

MAX_SIZE = 1024


class WordWindow:
    """`size` words around the gaze, and with `context` the whole text.

    places: how many words a text has at most. vocabulary: how many different words there are, 0 included.
    Raises ValueError for a window of another size than 1 to MAX_SIZE.
    """

    axes = 1
    scales = 1

    def __init__(self, places: int, vocabulary: int, size: int, context: bool) -> None:
        self.size = checks.integer("retina_size", size, 1, MAX_SIZE)
        self.places, self.vocabulary, self.context = places, vocabulary, bool(context)

    def spaces(self) -> dict[str, Space[Any]]:
        """What one row sees: `retina` (size,), word ids, and `context` (places,), all of them."""
        most = self.vocabulary - 1
        seen: dict[str, Space[Any]] = {"retina": Box(0, most, (self.size,), np.int64)}
        if self.context:
            seen["context"] = Box(0, most, (self.places,), np.int64)
        return seen

    def canvas_space(self) -> Space[Any]:
        """The whole text of one row, for agents that see it."""
        return Box(0, self.vocabulary - 1, (self.places,), np.int64)

    def whole(self, canvas: NDArray[np.int64]) -> NDArray[np.int64]:
        """The texts (B, places) as such agents see them, fresh."""
        return canvas.copy()

    def prepare(self, rows: NDArray[np.bool_], canvas: NDArray[np.int64]) -> None:
        """A text needs no preparation."""

    def look(self, canvas: NDArray[np.int64], gaze: NDArray[np.float32]) -> dict[str, NDArray[np.int64]]:
        """What every row sees at gaze (B, 1), as fresh arrays."""
        window = np.empty((len(gaze), self.size), np.int64)
        read_words(canvas, gaze, window)
        return {"retina": window, **({"context": canvas.copy()} if self.context else {})}

    def coarse(self, row: int) -> None:
        """No picture of the context: the text itself is drawn."""


@kernel
def read_words(canvas: NDArray[np.int64], gaze: NDArray[np.float32], window: NDArray[np.int64]) -> None:
    """Fill window (B, size) with the words of canvas (B, N) around gaze (B, 1), 0 outside, in place."""
    places, size = canvas.shape[1], window.shape[1]
    for b in range(window.shape[0]):
        first = patch_start(gaze[b, 0], places, size)
        for i in range(size):
            place = first + i
            window[b, i] = canvas[b, place] if 0 <= place < places else 0
