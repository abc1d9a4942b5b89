"""Scenes of numbers' names: English words to read, the parts of the German name to say.

Their order turns: "forty two" is "zwei und vierzig". There is no end of scenes; a number that is asked in
one split is never drawn in another, and those below a thousand, of which there are few, are for training.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from glimpse_env import checks, scores
from glimpse_env.data import numbers
from glimpse_env.kernels import kernel
from glimpse_env.random import GOLDEN, SPLITS, begin, below, mix, unit
from glimpse_env.worlds.scene import Augmentation, Drawn

FROZEN = 10_000  # scenes of each split that are frozen
PLACES = 18  # that the longest name has
MOST_PLACES = 4096
SHARES = (85, 5, 10)  # percent of the numbers from a thousand on that are a split's, in the order of SPLITS


class NumberWorld:
    """Numbers of one to nine digits, to train, or of four to nine, as `places` words.

    All lengths are alike likely, but that of the longer ones 15 percent are not to train and drawn anew: each
    of the three short lengths is then an eighth of what trains, each of the six long ones a tenth.
    Word id n + 1 is the English word n, for id 0 is outside. Raises ValueError for too few places and
    DatasetError where num2words is not installed.
    """

    lengths_vary = True
    num_scenes = FROZEN
    dtype = np.int64

    def __init__(self, split: str, places: int) -> None:
        checks.integer("canvas_size", places, PLACES, MOST_PLACES)
        checks.choice("split", split, SPLITS)
        self.canvas_shape = (places,)
        self.max_digits = PLACES
        self.names = numbers.WORDS["de"]
        self.tokens = ("", *numbers.WORDS["en"])
        first = SPLITS.index(split)
        self.shortest = 1 if first == 0 else 4
        self.share = np.array([sum(SHARES[:first]), sum(SHARES[: first + 1])])
        self.read = _table(numbers.names("en"), 1)
        self.said = _table(numbers.names("de"), 0)

    def encode(self, text: str) -> list[int]:
        """The words of an English number's name; ValueError for a word that is in no such name."""
        words = [word for word in re.split(r"[\s,.!?-]+", text.lower()) if word]
        for word in words:
            if word not in numbers.WORDS["en"]:
                raise ValueError(f"{word!r} is in no number's name: write a number in words, as 'forty-two'")
        return [numbers.WORDS["en"].index(word) for word in words]

    def answers_of(self, text: str) -> list[int]:
        """The German parts that a text is spelled with, however they are joined."""
        return list(numbers.spell(text, "de"))

    def write(self, answers: Sequence[int]) -> str:
        """German parts as they are written: in one word, but for millions."""
        apart = {name: f" {name} " for name in ("Million", "Millionen")}
        return "".join(apart.get(name, name) for name in (self.names[i] for i in answers)).strip()

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
        """Draw a new scene for every row of `rows` into `out`; nothing is augmented."""
        draw_names(rows, keys, episodes, self.shortest, self.share, self.read, self.said, *out[:4])


def _table(names: numbers.Names, first: int) -> NDArray[np.int64]:
    """All parts of names (4, 1000, 18) as ids from `first` on, padded with first - 1, in Names' order."""
    table = np.full((len(names), 1000, PLACES), first - 1, np.int64)
    for kind, parts in enumerate(names):
        for number, words in enumerate(parts):
            table[kind, number, : len(words)] = np.array(words, np.int64) + first
    return table


@kernel
def draw_names(
    rows: NDArray[np.bool_],
    keys: NDArray[np.uint64],
    episodes: NDArray[np.int64],
    shortest: int,
    share: NDArray[np.int64],
    read: NDArray[np.int64],
    said: NDArray[np.int64],
    canvas: NDArray[np.int64],
    symbols: NDArray[np.int64],
    boxes: NDArray[np.int64],
    start_gaze: NDArray[np.float32],
) -> None:
    """Fill the rows of canvas (B, N), symbols (B, K), boxes (B, K, 4) and start_gaze (B, 1), in place.

    shortest: how many digits a number has at least. One from a thousand on is drawn again if its hash is not
    from share[0] to share[1] - 1 percent of all hashes. Nothing has a box.
    """
    for b in range(rows.shape[0]):
        if not rows[b]:
            continue
        state = begin(keys[b], episodes[b])
        number = -1
        while number < 0:
            state += GOLDEN
            digits = shortest + below(10 - shortest, mix(state))
            least = 0 if digits == 1 else 10 ** (digits - 1)
            state += GOLDEN
            drawn = least + below(10**digits - least, mix(state))
            split = below(100, mix(np.uint64(drawn) + GOLDEN))
            if drawn < 1000 or share[0] <= split < share[1]:
                number = drawn
        _write_name(number, read, canvas[b])
        _write_name(number, said, symbols[b])
        boxes[b] = 0
        state += GOLDEN
        start_gaze[b, 0] = 2.0 * unit(mix(state)) - 1.0


@kernel
def _write_name(number: int, table: NDArray[np.int64], out: NDArray[np.int64]) -> None:
    """Write a number's name into out (N,), the rest of which becomes what `table` is padded with."""
    place = _append(out, 0, table[3, number // 1_000_000], table[1, 0, 0])
    place = _append(out, place, table[2, number // 1000 % 1000], table[1, 0, 0])
    place = _append(out, place, table[1 if number >= 1000 else 0, number % 1000], table[1, 0, 0])
    out[place:] = table[1, 0, 0]


@kernel
def _append(out: NDArray[np.int64], place: int, words: NDArray[np.int64], padding: int) -> int:
    """Write words up to the padding into out (N,) from a place on, and return the place after them."""
    for word in words:
        if word == padding:
            break
        out[place] = word
        place += 1
    return place
