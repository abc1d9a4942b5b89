"""Scenes of one to three digits, and sentences that say how they lie: "a six above a two"."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glimpse_env import checks
from glimpse_env.data import captions
from glimpse_env.data.images import load
from glimpse_env.kernels import inlined, kernel
from glimpse_env.random import GOLDEN, begin, below, frozen_keys, mix, unit
from glimpse_env.scores import Cider
from glimpse_env.worlds.digits import put, room_to_bend
from glimpse_env.worlds.scene import NO_AUGMENTATION, Augmentation, Drawn

ARRANGED = {"digits": "mnist-5k", "mnist": "mnist"}  # and whose digits they are
NAMES = (
    "a", "an", "and", "above", "below", "left", "right", "of",
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
)  # fmt: skip
A, AN, AND, ABOVE, BELOW, LEFT, RIGHT, OF, ZERO = range(9)
MOST, PLACES = 3, 11  # digits of a scene, and words of a sentence
WAYS = 6  # to say it: which digit comes first, and which of the others next
CLEAR = 6  # pixels by which one digit is further above another than beside it, or the other way round
LEAST_CANVAS, MAX_CANVAS = 96, 4096
SENTENCES = 1000  # that say how common words are
AT_ONCE = 100  # scenes that are drawn for what is said of them


class ArrangementWorld:
    """One to three digits on a canvas, and what there is to say of them.

    The sentence begins with any of the digits and says how the others lie from it, in any order: all of that
    is right. What teaches begins with the highest digit and names the others from left to right. A word that
    names a digit has its box. Frozen scene i has digit i of the split. Raises ValueError for a keyword out of
    range and DatasetError for missing data.
    """

    lengths_vary = True
    dtype = np.uint8
    tokens: tuple[str, ...] = ()  # the words of a text, which this is not
    names, max_digits, ways = NAMES, PLACES, WAYS

    def __init__(self, dataset: str, split: str, canvas_size: int) -> None:
        checks.integer("canvas_size", canvas_size, LEAST_CANVAS, MAX_CANVAS)
        self.images = load(ARRANGED[dataset], split)
        self._named = (dataset, split)
        self.num_scenes = len(self.images.images)
        self.canvas_shape = (1, canvas_size, canvas_size)

    def references(self, scene: int) -> tuple[tuple[str, ...], ...]:
        """All that may rightly be said of a frozen scene, as words."""
        return _references(*self._named, self.canvas_shape[1])[scene]

    def answers_of(self, text: str) -> list[int]:
        """The words of a text as answers, those that are none left out."""
        return [NAMES.index(word) for word in captions.caption_words(text) if word in NAMES]

    def write(self, answers: Sequence[int]) -> str:
        """The sentence that answers say."""
        return " ".join(NAMES[i] for i in answers)

    def score(self, said: Sequence[int], ways: Sequence[Sequence[int]]) -> float:
        """How good a sentence is beside the right ones, from 0 to 1.

        That is its CIDEr-D (`scores.Cider`) as a share of what the right one has itself; the best counts.
        """
        words, *right = ([NAMES[i] for i in answers] for answers in (said, *ways))
        cider = _cider(self._named[0])
        return max(cider(words, [one]) / cider(one, [one]) for one in right)

    def draw(
        self,
        rows: NDArray[np.bool_],
        keys: NDArray[np.uint64],
        episodes: NDArray[np.int64],
        indices: NDArray[np.int64],
        augmentation: Augmentation,
        out: Drawn,
    ) -> None:
        """Draw a new scene for every row of `rows` into `out`; see `draw_arrangements`."""
        distortion, share = augmentation.distortion, augmentation.distortion_share
        bent = room_to_bend(self.images.images, distortion)
        draw_arrangements(
            rows, keys, episodes, indices, self.images.images, self.images.labels,
            distortion, share, bent, *out[:4], out.ways,
        )  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        """Pickled without its images, which every process has of its own."""
        return {**self.__dict__, "images": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.images = load(ARRANGED[self._named[0]], self._named[1])


@cache
def _references(
    dataset: str, split: str, canvas_size: int, most: int | None = None
) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """All sentences of the frozen scenes, or the first `most`."""
    world = ArrangementWorld(dataset, split, canvas_size)
    count = min(world.num_scenes, most or world.num_scenes)
    said = [
        ways
        for first in range(0, count, AT_ONCE)
        for ways in _ways_of(world, split, np.arange(first, min(first + AT_ONCE, count)))
    ]
    return tuple(
        tuple(tuple(NAMES[i] for i in way if i >= 0) for way in ways if way[0] >= 0) for ways in said
    )


def _ways_of(world: ArrangementWorld, split: str, index: NDArray[np.int64]) -> list[list[list[int]]]:
    """All ways to say the frozen scenes `index` (B,), which are drawn for it."""
    count = len(index)
    drawn = Drawn(
        np.zeros((count, *world.canvas_shape), np.uint8),
        np.zeros((count, PLACES), np.int64),
        np.zeros((count, PLACES, 4), np.int64),
        np.zeros((count, 2), np.float32),
        np.zeros((count, 0), np.int64),
        np.zeros((count, WAYS, PLACES), np.int64),
        np.zeros(count, np.int64),
    )
    every = np.ones(count, np.bool_)
    world.draw(every, frozen_keys(split, count), index, index, NO_AUGMENTATION, drawn)
    said: list[list[list[int]]] = drawn.ways.tolist()
    return said


@cache
def _cider(dataset: str) -> Cider:
    return Cider(_references(dataset, "train", LEAST_CANVAS, SENTENCES))


@kernel
def _name(
    digit: int, place: int, label: NDArray[np.int64], corner: NDArray[np.int64],
    words: NDArray[np.int64], boxes: NDArray[np.int64], side: int,
) -> int:  # fmt: skip
    """Write "a seven" into words (K,) from a place on, and the digit's box, and return the place after it."""
    words[place] = AN if label[digit] == 8 else A
    words[place + 1] = ZERO + label[digit]
    boxes[place + 1, 0], boxes[place + 1, 1] = corner[digit, 0], corner[digit, 1]
    boxes[place + 1, 2], boxes[place + 1, 3] = side, side
    return place + 2


@inlined
def _relate(first: int, other: int, place: int, corner: NDArray[np.int64], words: NDArray[np.int64]) -> int:
    """Write how one digit lies from another into words (K,), and return the place after it."""
    right, down = corner[first, 0] - corner[other, 0], corner[first, 1] - corner[other, 1]
    if abs(down) > abs(right):
        words[place] = ABOVE if down < 0 else BELOW
        return place + 1
    words[place] = LEFT if right < 0 else RIGHT
    words[place + 1] = OF
    return place + 2


@kernel
def _say(
    way: int, count: int, label: NDArray[np.int64], corner: NDArray[np.int64],
    words: NDArray[np.int64], boxes: NDArray[np.int64], side: int,
) -> None:  # fmt: skip
    """Write the sentence of a way into words (K,), padded with -1, and boxes (K, 4)."""
    words[:] = -1
    boxes[:] = 0
    first = way // 2 if count == 3 else way
    place = _name(first, 0, label, corner, words, boxes, side)
    for turn in range(count - 1):
        if turn == 1:
            words[place] = AND
            place += 1
        step = 1 + (turn if way % 2 == 0 else 1 - turn) if count == 3 else 1
        other = (first + step) % count
        place = _relate(first, other, place, corner, words)
        place = _name(other, place, label, corner, words, boxes, side)


@inlined
def _taught(count: int, corner: NDArray[np.int64]) -> int:
    """The way that begins with the highest digit and goes on with the leftmost other one."""
    first = 0
    for k in range(1, count):
        if corner[k, 1] < corner[first, 1]:
            first = k
    if count < 3:
        return first
    after, last = (first + 1) % count, (first + 2) % count
    return 2 * first + (1 if corner[last, 0] < corner[after, 0] else 0)


@inlined
def _clear(count: int, corner: NDArray[np.int64], side: int) -> bool:
    """Whether no two digits share a pixel or lie as far above each other as beside."""
    for i in range(count):
        for j in range(i):
            right, down = abs(corner[i, 0] - corner[j, 0]), abs(corner[i, 1] - corner[j, 1])
            if max(right, down) < side or abs(right - down) < CLEAR:
                return False
    return True


@kernel
def draw_arrangements(
    rows: NDArray[np.bool_],
    keys: NDArray[np.uint64],
    episodes: NDArray[np.int64],
    indices: NDArray[np.int64],
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    distortion: float,
    distortion_share: float,
    bent: NDArray[np.uint8] | None,
    canvas: NDArray[np.uint8],
    symbols: NDArray[np.int64],
    boxes: NDArray[np.int64],
    start_gaze: NDArray[np.float32],
    ways: NDArray[np.int64],
) -> None:
    """Fill the rows of canvas (B, 1, H, W), symbols (B, K), boxes (B, K, 4), start_gaze (B, 2) and ways
    (B, 6, K), in place.

    indices (B,): the first digit's image, or -1 for a random one. images (N, 1, h, h), labels (N,). Places
    are drawn again until the digits are apart and it is clear how each lies from the others. distortion,
    distortion_share, bent: see `digits.put`. Ways that there are not, for want of digits, are -1.
    """
    side = images.shape[2]
    room = canvas.shape[2] - side
    chosen, label = np.empty(MOST, np.int64), np.empty(MOST, np.int64)
    corner, unused = np.empty((MOST, 2), np.int64), np.empty((PLACES, 4), np.int64)
    for b in range(rows.shape[0]):
        if not rows[b]:
            continue
        state = begin(keys[b], episodes[b]) + GOLDEN
        count = 1 + below(MOST, mix(state))
        for k in range(MOST):
            state += GOLDEN
            chosen[k] = below(images.shape[0], mix(state))
        if indices[b] >= 0:
            chosen[0] = indices[b]
        for k in range(MOST):
            label[k] = labels[chosen[k]]
        while True:
            for k in range(count):
                for axis in range(2):
                    state += GOLDEN
                    corner[k, axis] = below(room + 1, mix(state))
            if _clear(count, corner, side):
                break
        canvas[b] = 0
        distortion_state = ~state  # a stream of its own: what follows is the same with and without
        for k in range(count):
            distortion_state = put(
                images[chosen[k]], distortion, distortion_share, distortion_state, bent,
                canvas[b], corner[k, 1], corner[k, 0],
            )  # fmt: skip
        right = WAYS if count == 3 else count
        ways[b] = -1
        for way in range(right):
            _say(way, count, label, corner, ways[b, way], unused, side)
        _say(_taught(count, corner), count, label, corner, symbols[b], boxes[b], side)
        for axis in range(2):
            state += GOLDEN
            start_gaze[b, axis] = 2.0 * unit(mix(state)) - 1.0
