"""What every world deals in: the arrays a scene is drawn into, whole scenes, and training's augmentation."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Drawn(NamedTuple):
    """The arrays that a world draws B scenes into, in place.

    canvas: uint8 (B, C, H, W), 0 is background; of a text int64 (B, N) word ids, 0 is outside. symbols: int64
    (B, K), what there is to name, in reading order, padded with -1. boxes: int64 (B, K, 4), where each symbol
    lies: x, y, width and height in canvas pixels, zeros where there is none; of a text place, 0, length, 1.
    start_gaze: float32 (B, axes), uniform. question: int64 (B, Q) word ids, 0 beyond its end; Q is 0 where
    nothing is asked in words. ways: int64 (B, R, K), all that may rightly be said, `symbols` among them, each
    padded with -1; R is 0 where there is no other way. item: int64 (B,), which captioned picture or tree of
    the split the canvas shows, or -1.
    """

    canvas: NDArray[Any]
    symbols: NDArray[np.int64]
    boxes: NDArray[np.int64]
    start_gaze: NDArray[np.float32]
    question: NDArray[np.int64]
    ways: NDArray[np.int64]
    item: NDArray[np.int64]


class Scenes(NamedTuple):
    """A batch of whole scenes: what an agent is asked about, and what supervised training may know.

    canvas: uint8 (B, C, H, W), or of a text int64 (B, N). target: int64 (B,), or (B, L) padded with -1 where
    a scene is read symbol by symbol. boxes: int64 (B, 4), the digit's x, y, width and height in canvas
    pixels, or (B, K, 4) for several, in reading order, zeros where there are fewer.
    """

    canvas: NDArray[Any]
    target: NDArray[np.int64]
    boxes: NDArray[np.int64]


class Augmentation(NamedTuple):
    """What makes training scenes easier or more varied than the task's own; see `digits.draw_scenes`."""

    difficulty: float
    jitter: int
    distortion: float
    distortion_share: float


NO_AUGMENTATION = Augmentation(1.0, 0, 0.0, 1.0)
