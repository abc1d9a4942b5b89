"""Scenes of a document to read and a question about it, which is always in view: an entity is to be named.

Entities are numbered at random in every scene, so that a number says nothing but which mentions are of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from glimpse_env import checks
from glimpse_env.data import stories
from glimpse_env.data.files import RECENT, DatasetError
from glimpse_env.data.words import Lexicon
from glimpse_env.kernels import kernel
from glimpse_env.random import GOLDEN, begin, below, mix, unit
from glimpse_env.worlds.scene import Augmentation, Drawn

MOST_PLACES = 4096
QUESTION_PLACES = 128
ENTITIES = 64  # that a document and its question may have
FIRST_ENTITY = 2  # the word id of entity 0; 0 is outside, and 1 the place of the one that is asked for


class ClozeWorld:
    """Documents of at most `places` words and questions of at most QUESTION_PLACES.

    Frozen scenes are the documents of a split in their order; in training one is drawn. Answer i is entity
    i, which is word id FIRST_ENTITY + i. Raises ValueError for unknown documents and DatasetError for missing
    or damaged ones and for what is too long.
    """

    lengths_vary = False
    max_digits = 1
    dtype = np.int64

    def __init__(self, dataset: str, split: str, places: int) -> None:
        self.canvas_shape = (checks.integer("canvas_size", places, 1, MOST_PLACES),)
        self.names = tuple(f"@entity{i}" for i in range(ENTITIES))
        own = stories.load(dataset, split)
        self.lexicon = stories.lexicon(stories.load(dataset, "train"))
        self.tokens = ("", stories.PLACEHOLDER, *self.names, *self.lexicon.names)
        self.document, self.question, self.answer = _encoded(own, self.lexicon, split, places)
        self.num_scenes = len(self.document)

    def answers_of(self, text: str) -> list[int]:
        """The entities in a text."""
        return [self.names.index(word) for word in text.split() if word in self.names]

    def write(self, answers: Sequence[int]) -> str:
        """Entities as they are written."""
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
        """Draw a scene, or that of `indices`, for every row of `rows` into `out`; nothing is augmented."""
        draw_documents(rows, keys, episodes, indices, self.document, self.question, self.answer, *out[:5])


@lru_cache(RECENT)
def _encoded(
    loaded: tuple[stories.Document, ...], lexicon: Lexicon, split: str, places: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """Documents (n, places) and questions (n, QUESTION_PLACES), padded with 0, and the answers (n,).

    Entities are numbered from 0 on in the order in which they occur.
    """
    document = np.zeros((len(loaded), places), np.int32)
    question = np.zeros((len(loaded), QUESTION_PLACES), np.int32)
    answer = np.zeros(len(loaded), np.int64)
    for i, one in enumerate(loaded):
        met: dict[str, int] = {}
        for side, out in ((one.context, document[i]), (one.question, question[i])):
            if len(side) > len(out):
                of, mend = "", "raise canvas_size, or shorten it"
                if side is one.question:
                    of, mend = "the question of ", "shorten it"
                raise DatasetError(
                    f"{of}document {i + 1} of the {split} split has {len(side)} words and room for "
                    f"{len(out)}: {mend}."
                )
            for place, word in enumerate(side):
                if word == stories.PLACEHOLDER:
                    out[place] = 1
                elif stories.is_entity(word):
                    out[place] = FIRST_ENTITY + met.setdefault(word, len(met))
                else:
                    out[place] = FIRST_ENTITY + ENTITIES + lexicon.encode([word])[0]
        if len(met) > ENTITIES:
            raise DatasetError(
                f"document {i + 1} of the {split} split has {len(met)} entities, and {ENTITIES} have names: "
                "shorten it."
            )
        answer[i] = met[one.answer]
    return document, question, answer


@kernel
def draw_documents(
    rows: NDArray[np.bool_],
    keys: NDArray[np.uint64],
    episodes: NDArray[np.int64],
    indices: NDArray[np.int64],
    document: NDArray[np.int32],
    question: NDArray[np.int32],
    answer: NDArray[np.int64],
    canvas: NDArray[np.int64],
    symbols: NDArray[np.int64],
    boxes: NDArray[np.int64],
    start_gaze: NDArray[np.float32],
    asked: NDArray[np.int64],
) -> None:
    """Fill the rows of canvas (B, N), symbols (B, 1), boxes (B, 1, 4), start_gaze (B, 1) and asked (B, Q).

    The document is that of indices (B,), or drawn where it is -1. The box is the answer's first mention.
    """
    given = np.empty(ENTITIES, np.int64)
    for b in range(rows.shape[0]):
        if not rows[b]:
            continue
        state = begin(keys[b], episodes[b]) + GOLDEN
        drawn = indices[b] if indices[b] >= 0 else below(document.shape[0], mix(state))
        state += GOLDEN
        start_gaze[b, 0] = 2.0 * unit(mix(state)) - 1.0
        entities = max(_last(document[drawn]), _last(question[drawn])) + 1
        for i in range(entities):  # a random order, grown by one (Fisher and Yates)
            state += GOLDEN
            j = below(i + 1, mix(state))
            given[i] = given[j]
            given[j] = i
        _write(document[drawn], given, canvas[b])
        _write(question[drawn], given, asked[b])
        symbols[b, 0] = given[answer[drawn]]
        place = 0
        while canvas[b, place] != FIRST_ENTITY + symbols[b, 0]:
            place += 1
        boxes[b, 0, 0], boxes[b, 0, 1], boxes[b, 0, 2], boxes[b, 0, 3] = place, 0, 1, 1


@kernel
def _last(words: NDArray[np.int32]) -> int:
    """The highest number of an entity, or -1."""
    last = -1
    for word in words:
        if FIRST_ENTITY <= word < FIRST_ENTITY + ENTITIES:
            last = max(last, word - FIRST_ENTITY)
    return last


@kernel
def _write(words: NDArray[np.int32], given: NDArray[np.int64], out: NDArray[np.int64]) -> None:
    """Copy words (N,) into out (N,), entities by the numbers they are given."""
    for place in range(out.shape[0]):
        word = words[place]
        if FIRST_ENTITY <= word < FIRST_ENTITY + ENTITIES:
            out[place] = FIRST_ENTITY + given[word - FIRST_ENTITY]
        else:
            out[place] = word
