"""How good a text is that was said, beside what may rightly be said."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from glimpse_env.data.files import DatasetError

LONGEST = 4  # words of an n-gram
SIGMA = 6.0  # words by which a caption may be longer or shorter


def chrf(said: str, ways: Sequence[str]) -> float:
    """The F score of character n-grams up to six, recall counting twice (chrF2, Popović 2015), by sacrebleu.

    From 0 to 1, which the same text has; of several right ones that which is closest counts. Raises
    DatasetError where sacrebleu is not installed.
    """
    try:
        from sacrebleu.metrics.chrf import CHRF
    except ImportError:
        raise DatasetError(
            "reward 'score' needs sacrebleu: pip install 'glimpse_env[text]', or sacrebleu."
        ) from None
    score: float = CHRF().sentence_score(said, list(ways)).score / 100
    return min(score, 1.0)


class Cider:
    """CIDEr-D (Vedantam, Zitnick, Parikh 2015), as the COCO captioning evaluation counts it.

    Captions become vectors of their n-grams, n from 1 to 4, each weighted by how rarely it is said: a caption
    is as good as its mean cosine with the references, in which no n-gram counts more often than the reference
    has it, times a penalty for another length. The mean over n is multiplied by ten.

    references: of each picture all captions, as words; an n-gram is as common as pictures have it.
    """

    def __init__(self, references: Iterable[Sequence[Sequence[str]]]) -> None:
        self.common: Counter[tuple[str, ...]] = Counter()
        pictures = 0
        for captions in references:
            pictures += 1
            self.common.update({gram for caption in captions for gram in _grams(caption)})
        self.log_pictures = math.log(max(pictures, 1))

    def __call__(self, said: Sequence[str], references: Sequence[Sequence[str]]) -> float:
        """How good a caption is beside a picture's references, from 0 to 10; 0 without any."""
        ours = self.vector(said)
        total = sum(self.likeness(ours, self.vector(reference)) for reference in references)
        return total / max(len(references), 1)

    def vector(self, words: Sequence[str]) -> Vector:
        """A caption as its weighted n-grams."""
        weights = {
            gram: times * (self.log_pictures - math.log(max(self.common[gram], 1)))
            for gram, times in _grams(words).items()
        }
        squares = [0.0] * LONGEST
        for gram, weight in weights.items():
            squares[len(gram) - 1] += weight**2
        return Vector(weights, [math.sqrt(square) for square in squares], len(words))

    @staticmethod
    def likeness(said: Vector, reference: Vector) -> float:
        """How good a caption is beside one reference, from 0 to 10."""
        shared = [0.0] * LONGEST
        for gram, weight in said.weights.items():
            there = reference.weights.get(gram, 0.0)
            shared[len(gram) - 1] += min(weight, there) * there
        norms = zip(shared, said.norms, reference.norms, strict=True)
        cosines = sum(s / (a * b) for s, a, b in norms if a and b)
        off = said.length - reference.length
        return 10 * math.exp(-(off**2) / (2 * SIGMA**2)) * cosines / LONGEST


class Vector(NamedTuple):
    """A caption's n-grams with their weights, the norms of those of each n, and how many words it has."""

    weights: dict[tuple[str, ...], float]
    norms: list[float]
    length: int


def _grams(words: Sequence[str]) -> Counter[tuple[str, ...]]:
    """How often a caption has each n-gram."""
    return Counter(tuple(words[i : i + n]) for n in range(1, LONGEST + 1) for i in range(len(words) - n + 1))
