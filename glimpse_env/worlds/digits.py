"""Scenes from images: where one or two digits lie on a canvas, and what clutters it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from glimpse_env import checks
from glimpse_env.data import files
from glimpse_env.data.images import load
from glimpse_env.kernels import inlined, kernel
from glimpse_env.random import GOLDEN, begin, below, mix, unit
from glimpse_env.worlds.scene import Augmentation, Drawn

MAX_CANVAS, MAX_DISTRACTORS = 4096, 10_000  # a slip of the keyboard should not fill the memory


@inlined
def add_clipped(
    source: NDArray[np.uint8], top: int, left: int, height: int, width: int,
    canvas: NDArray[np.uint8], y: int, x: int,
) -> None:  # fmt: skip
    """Add source[:, top:top+height, left:left+width] to the canvas at (y, x), clipped at 255.

    What would lie outside the canvas is left out.
    """
    for c in range(canvas.shape[0]):
        for i in range(max(0, -y), min(height, canvas.shape[1] - y)):
            # Unsigned: numba would ask of every other index whether it counts from the end, one by one.
            line, row = np.uint64(top + i), np.uint64(y + i)
            for j in range(max(0, -x), min(width, canvas.shape[2] - x)):
                column = np.uint64(x + j)
                value = np.uint16(canvas[c, row, column]) + np.uint16(source[c, line, np.uint64(left + j)])
                canvas[c, row, column] = np.uint8(min(value, np.uint16(255)))


@inlined
def _cubic(t: float) -> tuple[float, float, float, float]:
    """Weights of the pixels at -1, 0, 1 and 2 for what lies at t in [0, 1): Keys (1981) with a = -0.75."""
    u = 1 - t
    before, after = -0.75 * t * u * u, -0.75 * u * t * t
    near = 1 - t * t * (2.25 - 1.25 * t)
    return before, near, 1 - before - near - after, after


@kernel
def _ink(picture: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """First and last line, first and last column that are not zero in picture (C, h, w)."""
    channels, height, width = picture.shape
    top, bottom, left, right = height, -1, width, -1
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                if picture[c, i, j] > 0:
                    top, bottom = min(top, i), max(bottom, i)
                    left, right = min(left, j), max(right, j)
    return top, bottom, left, right


@kernel
def warp(source: NDArray[np.uint8], matrix: NDArray[np.float64], out: NDArray[np.uint8]) -> None:
    """Fill out (C, h, w) with source (C, h, w) seen through `matrix` (2, 2) about its middle.

    The pixel at (y, x) from the middle shows what lies at matrix @ (y, x); outside the source is zero.
    Bicubic, for what bilinear weights show is blurred, and an agent that learns from it reads crisp digits
    badly (results/LOG.md).
    """
    channels, height, width = source.shape
    padded = np.zeros((channels, height + 6, width + 6))
    for c in range(channels):  # loops, for numba takes seconds to compile an assignment to a slice
        for i in range(height):
            for j in range(width):
                padded[c, i + 3, j + 3] = source[c, i, j]
    first_y, last_y, first_x, last_x = _ink(source)
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    for i in range(height):
        for j in range(width):
            y = matrix[0, 0] * (i - middle_y) + matrix[0, 1] * (j - middle_x) + middle_y
            x = matrix[1, 0] * (i - middle_y) + matrix[1, 1] * (j - middle_x) + middle_x
            if not (first_y - 2 < y < last_y + 2 and first_x - 2 < x < last_x + 2):
                for c in range(channels):
                    out[c, i, j] = 0
                continue
            top, left = int(np.floor(y)), int(np.floor(x))
            down, right = _cubic(y - top), _cubic(x - left)
            for c in range(channels):
                value = 0.0
                for k in range(4):
                    row = padded[c, top + 2 + k, left + 2 : left + 6]
                    value += down[k] * (
                        right[0] * row[0] + right[1] * row[1] + right[2] * row[2] + right[3] * row[3]
                    )
                out[c, i, j] = np.uint8(min(max(value, 0.0), 255.0) + 0.5)


def room_to_bend(images: NDArray[np.uint8], distortion: float) -> NDArray[np.uint8] | None:
    """What `put` bends a digit in, or None for no distortion: numba then compiles nothing that bends."""
    return np.empty(images.shape[1:], np.uint8) if distortion > 0.0 else None


@kernel
def put(
    digit: NDArray[np.uint8],
    distortion: float,
    distortion_share: float,
    state: np.uint64,
    bent: NDArray[np.uint8] | None,
    picture: NDArray[np.uint8],
    y: int,
    x: int,
) -> np.uint64:
    """Add a digit (C, h, w) to picture (C, H, W) at (y, x), clipped, and return the state of the stream.

    bent: from `room_to_bend`. Unless it is None, a digit is distorted with probability distortion_share: each
    entry of its 2x2 matrix is off the identity's by up to `distortion`.
    """
    height, width = digit.shape[1], digit.shape[2]
    if bent is not None:
        bends = True
        if distortion_share < 1.0:
            state += GOLDEN
            bends = bool(unit(mix(state)) < distortion_share)
        if bends:
            matrix = np.empty((2, 2))
            for entry in range(4):
                state += GOLDEN
                off = distortion * (2.0 * unit(mix(state)) - 1.0)
                matrix[entry // 2, entry % 2] = off + (1.0 if entry % 3 == 0 else 0.0)
            warp(digit, matrix, bent)
            add_clipped(bent, 0, 0, height, width, picture, y, x)
            return state
    add_clipped(digit, 0, 0, height, width, picture, y, x)
    return state


@inlined
def _overlap(boxes: NDArray[np.int64]) -> bool:
    """Whether the first two boxes (x, y, w, h) share a pixel."""
    apart_x = abs(boxes[0, 0] - boxes[1, 0]) >= boxes[0, 2]
    apart_y = abs(boxes[0, 1] - boxes[1, 1]) >= boxes[0, 3]
    return not (apart_x or apart_y)


@kernel
def draw_scenes(
    rows: NDArray[np.bool_],
    keys: NDArray[np.uint64],
    episodes: NDArray[np.int64],
    indices: NDArray[np.int64],
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    distractors: int,
    distractor_size: int,
    difficulty: float,
    jitter: int,
    distortion: float,
    distortion_share: float,
    bent: NDArray[np.uint8] | None,
    canvas: NDArray[np.uint8],
    digits: NDArray[np.int64],
    boxes: NDArray[np.int64],
    start_gaze: NDArray[np.float32],
) -> None:
    """Draw a new scene for every row b with rows[b], in place.

    Translated and cluttered MNIST as in Mnih et al. (2014): `distractors` random square crops of other
    digits of the same split are added at uniform places, then the digit at a uniform offset, clipped. Of
    two digits, places are drawn again until their boxes are disjoint.

    keys, episodes (B,): what the scene is a function of. indices (B,): the (first) image to show, or -1
    for a random one. images (N, C, h, w), labels (N,). difficulty in [0, 1]: below 1 a digit's offset
    stays near the centre and each distractor appears with that probability (the training curriculum).
    jitter: the offset may leave its range by so many pixels, and the digit the canvas (augmentation).
    distortion, distortion_share, bent: see `put` (augmentation); undistorted digits stay crisp, distorted
    ones blur slightly.
    Out: canvas (B, C, H, W), digits (B, K), K = 1 or 2, the labels from left to right, boxes (B, K, 4) as
    x, y, width, height in canvas pixels, start_gaze (B, 2), uniform in [-1, 1]².
    """
    count, height, width = images.shape[0], images.shape[2], images.shape[3]
    num_digits = digits.shape[1]
    chosen = np.empty(num_digits, np.int64)
    room_y, room_x = canvas.shape[2] - height, canvas.shape[3] - width
    for b in range(rows.shape[0]):
        if not rows[b]:
            continue
        state = begin(keys[b], episodes[b])
        for k in range(num_digits):
            state += GOLDEN
            chosen[k] = below(count, mix(state))
        if indices[b] >= 0:
            chosen[0] = indices[b]
        picture = canvas[b]
        for c in range(picture.shape[0]):
            for i in range(picture.shape[1]):
                for j in range(picture.shape[2]):
                    picture[c, i, j] = 0
        for _ in range(distractors):
            state += GOLDEN
            other = below(count - 1, mix(state))
            other += other >= chosen[0]  # any digit image but those to recognise
            while num_digits == 2 and (other == chosen[0] or other == chosen[1]):
                other = (other + 1) % count
            state += GOLDEN
            top = below(height - distractor_size + 1, mix(state))
            state += GOLDEN
            left = below(width - distractor_size + 1, mix(state))
            state += GOLDEN
            y = below(canvas.shape[2] - distractor_size + 1, mix(state))
            state += GOLDEN
            x = below(canvas.shape[3] - distractor_size + 1, mix(state))
            state += GOLDEN
            if unit(mix(state)) < difficulty:
                add_clipped(images[other], top, left, distractor_size, distractor_size, picture, y, x)
        margin_y = int(room_y * (1.0 - difficulty) / 2.0)
        margin_x = int(room_x * (1.0 - difficulty) / 2.0)
        if num_digits == 2:  # leave room for both
            margin_y = max(0, min(margin_y, (room_y - height - 8) // 2))
            margin_x = max(0, min(margin_x, (room_x - width - 8) // 2))
        margin_y, margin_x = margin_y - jitter, margin_x - jitter
        place = boxes[b]
        while True:
            for k in range(num_digits):
                state += GOLDEN
                place[k, 1] = margin_y + below(room_y - 2 * margin_y + 1, mix(state))
                state += GOLDEN
                place[k, 0] = margin_x + below(room_x - 2 * margin_x + 1, mix(state))
                place[k, 2], place[k, 3] = width, height
            if num_digits == 1 or not _overlap(place):
                break
        if num_digits == 2 and (place[0, 0], place[0, 1]) > (place[1, 0], place[1, 1]):
            for i in range(2):
                place[0, i], place[1, i] = place[1, i], place[0, i]
            chosen[0], chosen[1] = chosen[1], chosen[0]
        distortion_state = ~state  # a stream of its own: what follows is the same with and without
        for k in range(num_digits):
            digits[b, k] = labels[chosen[k]]
            distortion_state = put(
                images[chosen[k]], distortion, distortion_share, distortion_state, bent,
                picture, place[k, 1], place[k, 0],
            )  # fmt: skip
        state += GOLDEN
        start_gaze[b, 0] = 2.0 * unit(mix(state)) - 1.0
        state += GOLDEN
        start_gaze[b, 1] = 2.0 * unit(mix(state)) - 1.0


class DigitWorld:
    """One or two images of a data set on a canvas of their own, with distractors.

    Raises ValueError for a keyword out of range and DatasetError for missing data.
    """

    lengths_vary = False
    dtype = np.uint8
    tokens: tuple[str, ...] = ()  # the words of a text, which this is not

    def __init__(
        self,
        dataset: str,
        split: str,
        canvas_size: int,
        digits: int = 1,
        distractors: int = 0,
        distractor_size: int = 8,
    ) -> None:
        self.images = load(dataset, split)
        self._named, self._shape = (dataset, split), self.images.images.shape
        self.num_scenes, channels, height, width = self._shape
        self.names = self.images.names
        self.max_digits = checks.integer("digits", digits, 1, 2)
        least = digits * max(height, width)
        if isinstance(canvas_size, int) and canvas_size < least:
            raise ValueError(
                f"canvas_size must be at least {least} for {digits} of the {height}x{width} pictures of "
                f"{dataset!r}, got {canvas_size}: pass canvas_size={least} or more"
            )
        checks.integer("canvas_size", canvas_size, least, MAX_CANVAS)
        self.distractors = checks.integer("distractors", distractors, 0, MAX_DISTRACTORS)
        if distractors and self.num_scenes <= digits:
            raise ValueError(
                f"distractors are crops of other images than the scene's {digits}, and split {split!r} of "
                f"{dataset!r} has {self.num_scenes}: give more images or distractors=0"
            )
        # Without distractors their size means nothing, and small pictures need not fit the default.
        largest = min(height, width) if distractors else MAX_CANVAS
        self.distractor_size = checks.integer("distractor_size", distractor_size, 1, largest)
        self.canvas_shape = (channels, canvas_size, canvas_size)

    def draw(
        self,
        rows: NDArray[np.bool_],
        keys: NDArray[np.uint64],
        episodes: NDArray[np.int64],
        indices: NDArray[np.int64],
        augmentation: Augmentation,
        out: Drawn,
    ) -> None:
        """Draw a new scene for every row of `rows` into `out`; see `draw_scenes`."""
        bent = room_to_bend(self.images.images, augmentation.distortion)
        draw_scenes(
            rows, keys, episodes, indices, self.images.images, self.images.labels,
            self.distractors, self.distractor_size, *augmentation, bent, *out[:4],
        )  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        """Pickled without its images, which every process has of its own."""
        return {**self.__dict__, "images": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.images = load(*self._named)
        if (self.images.images.shape, self.images.names) != (self._shape, self.names):
            raise files.changed(self._named[0])
