"""Scenes of a captioned picture: what people say of a photograph, word by word."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glimpse_env import checks
from glimpse_env.data import captions, codraw
from glimpse_env.data.files import RECENT, changed
from glimpse_env.kernels import kernel
from glimpse_env.random import GOLDEN, SPLITS, begin, below, mix, unit
from glimpse_env.scores import Cider
from glimpse_env.worlds.scene import Augmentation, Drawn

MAX_CANVAS = 1024


class CaptionWorld:
    """The pictures of a data set, squashed to squares of `size` pixels, and their captions.

    Frozen scenes are the pictures of a split in their order; in training one is drawn, and one of its
    captions, which is what teaches; all of them are right. Raises ValueError for unknown captions and
    DatasetError for missing or damaged ones; a truncated picture is found only when it is drawn.
    """

    lengths_vary = True
    dtype = np.uint8
    tokens: tuple[str, ...] = ()  # the words of a text, which this is not

    def __init__(self, dataset: str, split: str, size: int) -> None:
        self.canvas_shape = (3, checks.integer("canvas_size", size, 1, MAX_CANVAS), size)
        self.named = (dataset, split)
        checks.choice("split", split, SPLITS)
        splits = captions.splits(dataset)
        self.captioned = splits[split]
        self.names = captions.words_in(splits["train"])
        self.max_digits = max(map(captions.longest, splits.values()))
        self.symbols, self.count = _encoded(self.captioned, self.names, self.max_digits)
        self.boxes = _boxes(self.captioned, size, self.max_digits) if self.captioned.boxes else None
        self.num_scenes, self.ways = self.symbols.shape[:2]
        self._kept = _Kept(self.captioned, size)
        self._cider = _cider(splits["train"])

    def references(self, scene: int) -> tuple[tuple[str, ...], ...]:
        """All that people said of a frozen scene, as words, also such as no answer names."""
        return self.captioned.captions[scene]

    def answers_of(self, text: str) -> list[int]:
        """The words of a text as answers."""
        return _numbers(captions.caption_words(text), self.names)

    def write(self, answers: Sequence[int]) -> str:
        """The caption that answers say."""
        return " ".join(self.names[i] for i in answers)

    def boxes_of(self, scene: int, answers: Sequence[int]) -> NDArray[np.int16]:
        """In pixels the boxes of what answers name in a frozen scene, (K, 4), zeros where there is none."""
        words = [self.names[i] for i in answers]
        return _in_pixels(self.captioned.boxes_of(scene, words), self.canvas_shape[1], len(words))

    def score(self, said: Sequence[int], ways: Sequence[Sequence[int]]) -> float:
        """How good a caption is beside people's, from 0 to 1: a tenth of its CIDEr-D (`scores.Cider`).

        OTHER says nothing that anyone said, though it is right where a rare word was said.
        """
        words = ["" if self.names[i] == captions.OTHER else self.names[i] for i in said]
        right = [[self.names[i] for i in way] for way in ways]
        return self._cider(words, right) / 10

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
        chosen = np.zeros(len(rows), np.int64)
        choose(rows, keys, episodes, indices, self.count, out.item, chosen, out.start_gaze)
        pictures = out.item[rows]
        out.canvas[rows] = self._kept.of(pictures)
        out.ways[rows] = self.symbols[pictures]
        out.symbols[rows] = self.symbols[pictures, chosen[rows]]
        out.boxes[rows] = 0 if self.boxes is None else self.boxes[pictures, chosen[rows]]

    def __getstate__(self) -> dict[str, Any]:
        """Pickled without its pictures, which every process has of its own."""
        kept = {"names": self.names, "shape": self.symbols.shape}
        return {"named": self.named, "size": self.canvas_shape[1], **kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        dataset, split = state["named"]
        CaptionWorld.__init__(self, dataset, split, state["size"])
        if (self.names, self.symbols.shape) != (state["names"], state["shape"]):
            raise changed(dataset)


@lru_cache(RECENT)
class _Kept:
    """Pictures that were drawn once stay drawn: memory is taken for those that were."""

    def __init__(self, captioned: captions.Captioned, size: int) -> None:
        self.captioned, self.size = captioned, size
        self.pixels = np.zeros((len(captioned.pictures), 3, size, size), np.uint8)
        self.drawn = np.zeros(len(captioned.pictures), np.bool_)

    def of(self, pictures: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pictures by their numbers (n,): uint8 (n, 3, size, size)."""
        for number in np.unique(pictures[~self.drawn[pictures]]).tolist():
            self.pixels[number] = self.captioned.draw(number, self.size)
            self.drawn[number] = True
        return self.pixels[pictures]


@lru_cache(RECENT)
def _cider(train: captions.Captioned) -> Cider:
    return Cider(train.captions)


def _numbers(words: Sequence[str], names: Sequence[str]) -> list[int]:
    """Words as answers; one that no answer names is OTHER, the last."""
    number = {name: i for i, name in enumerate(names)}
    return [number.get(word, len(names) - 1) for word in words]


@lru_cache(RECENT)
def _encoded(
    captioned: captions.Captioned, names: tuple[str, ...], most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The captions of a split, (n, R, K), padded with -1, and how many each picture has, (n,)."""
    said = captioned.captions
    number = {name: i for i, name in enumerate(names)}
    count = np.array([len(several) for several in said])
    symbols = np.full((len(said), count.max(), most), -1, np.int64)
    for several, rows in zip(said, symbols, strict=True):
        for caption, row in zip(several, rows, strict=False):
            row[: len(caption)] = [number.get(word, len(names) - 1) for word in caption]
    return symbols, count


@lru_cache(RECENT)
def _boxes(captioned: captions.Captioned, size: int, most: int) -> NDArray[np.int16]:
    """The boxes of the words of all captions in pixels, (n, R, K, 4), zeros where there is none."""
    given = captioned.boxes
    boxes = np.zeros((len(given), max(map(len, given)), most, 4), np.int16)
    for several, out in zip(given, boxes, strict=True):
        for caption, row in zip(several, out, strict=False):
            row[:] = _in_pixels(caption, size, most)
    return boxes


def _in_pixels(given: Sequence[codraw.Box | None], size: int, most: int) -> NDArray[np.int16]:
    """Boxes in shares of a picture in pixels, (most, 4), zeros where there is none."""
    boxes = np.zeros((most, 4), np.int16)
    for row, box in zip(boxes, given, strict=False):
        if box is not None:
            x, y, width, height = (round(size * share) for share in box)
            row[:] = x, y, max(width, 1), max(height, 1)
    return boxes


@kernel
def choose(
    rows: NDArray[np.bool_],
    keys: NDArray[np.uint64],
    episodes: NDArray[np.int64],
    indices: NDArray[np.int64],
    count: NDArray[np.int64],
    picture: NDArray[np.int64],
    caption: NDArray[np.int64],
    start_gaze: NDArray[np.float32],
) -> None:
    """Fill the rows of picture (B,), caption (B,) and start_gaze (B, 2), in place.

    The picture is that of indices (B,), or drawn where it is -1, and one of its count[picture] captions.
    """
    for b in range(rows.shape[0]):
        if not rows[b]:
            continue
        state = begin(keys[b], episodes[b]) + GOLDEN
        picture[b] = indices[b] if indices[b] >= 0 else below(count.shape[0], mix(state))
        state += GOLDEN
        caption[b] = below(count[picture[b]], mix(state))
        for axis in range(2):
            state += GOLDEN
            start_gaze[b, axis] = 2.0 * unit(mix(state)) - 1.0
