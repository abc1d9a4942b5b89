"""METEOR as its version 1.5 counts it (Denkowski, Lavie 2014), but without its table of paraphrases.

Words match if they are the same, have the same stem, or share a set of synonyms. The lists that it is
distributed with, synonyms from WordNet and function words, are found and not downloaded.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from glimpse_env.data import files
from glimpse_env.data.files import DatasetError

ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75  # for English
EXACT, STEM, SYNONYM = 1.0, 0.6, 0.8  # what a match is worth
INEXACT = 0.5  # what any other match weighs while matches are chosen
BEAM = 40  # alignments that are kept in mind
LISTS = ("function_english.words", "synonym_english.synsets.gz", "synonym_english.exceptions")
ENDINGS = (  # of inflected words, and what stands there in WordNet
    ("s", ""), ("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man"),
    ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", ""),
)  # fmt: skip


class Path(NamedTuple):
    """An alignment so far: what its matches weigh, in how many chunks, and how far apart they stand in all.

    taken: the reference's places that are matched; last: that of the last word, -2 for none. pairs: places
    that match, in the text and in the reference, and what the match is worth.
    """

    weight: float
    chunks: int
    distance: int
    taken: frozenset[int]
    last: int
    pairs: tuple[tuple[int, int, float], ...]


def at_hand() -> bool:
    """Whether all that it needs is found."""
    return find_spec("nltk") is not None and all(files.find("meteor", name) for name in LISTS)


class Counts(NamedTuple):
    """What a score is made of; those of several texts are added up.

    found, known: the worth of what matches, by how much each word counts, in the text and in its reference;
    said, right: how much all words of them count. matches, chunks: how many words match, in how many pieces.
    words: of both, how many there are.
    """

    found: float
    known: float
    said: float
    right: float
    matches: int
    chunks: int
    words: int

    @property
    def score(self) -> float:
        """From 0 to 1."""
        if not self.matches or not self.found or not self.known:
            return 0.0
        precision, recall = self.found / self.said, self.known / self.right
        same = self.chunks == 1 and 2 * self.matches == self.words
        penalty: float = 0.0 if same else GAMMA * (self.chunks / self.matches) ** BETA
        return (1 - penalty) * precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)


def meteor(said: Sequence[str], references: Sequence[Sequence[str]]) -> Counts:
    """How good a text is beside its best reference, words and punctuation in lower case.

    Raises DatasetError where the lists are missing.
    """
    return max((_beside(said, reference) for reference in references), key=lambda counts: counts.score)


def whole(counts: NDArray[np.float64]) -> float:
    """The score of many texts, each a row of `Counts`, from 0 to 1, as METEOR's own program has it."""
    return float(Counts(*counts.sum(0)).score)


def _beside(said: Sequence[str], reference: Sequence[str]) -> Counts:
    serving = _serving()
    pairs = _align(tuple(said), tuple(reference))

    def weight(word: str) -> float:
        return 1 - DELTA if word in serving else DELTA

    chunks = bool(pairs) + sum(b != (a[0] + 1, a[1] + 1) for a, b in pairwise((i, j) for i, j, _ in pairs))
    return Counts(
        sum(worth * weight(said[i]) for i, _, worth in pairs),
        sum(worth * weight(reference[j]) for _, j, worth in pairs),
        sum(map(weight, said)),
        sum(map(weight, reference)),
        len(pairs),
        chunks,
        len(said) + len(reference),
    )


def _align(said: tuple[str, ...], reference: tuple[str, ...]) -> tuple[tuple[int, int, float], ...]:
    """The alignment whose matches weigh most, of those the fewest chunks, of those the nearest places."""
    paths = [Path(0.0, 0, 0, frozenset(), -2, ())]
    for i, word in enumerate(said):
        grown = [path._replace(last=-2) for path in paths]  # the word stays alone
        for j, other in enumerate(reference):
            worth = _worth(word, other)
            weight = 1.0 if worth == EXACT else INEXACT
            if worth:
                grown += [
                    Path(
                        path.weight + weight, path.chunks + (j != path.last + 1), path.distance + abs(i - j),
                        path.taken | {j}, j, (*path.pairs, (i, j, worth)),
                    )
                    for path in paths
                    if j not in path.taken
                ]  # fmt: skip
        grown.sort(key=lambda path: (-path.weight, path.chunks, path.distance))
        paths = grown[:BEAM]
    return paths[0].pairs


@cache
def _worth(one: str, other: str) -> float:
    if one == other:
        return EXACT
    if _synonyms(one) & _synonyms(other):
        return SYNONYM
    return STEM if _stem(one) == _stem(other) else 0.0


@cache
def _stem(word: str) -> str:
    stem: str = _stemmer().stem(word)
    return stem


@cache
def _stemmer() -> Any:
    try:
        from nltk.stem.snowball import SnowballStemmer
    except ImportError:
        raise DatasetError("METEOR needs nltk: pip install 'glimpse_env[text]', or nltk.") from None
    return SnowballStemmer("english")


@cache
def _serving() -> frozenset[str]:
    return frozenset(_list(LISTS[0]))


@cache
def _synonyms(word: str) -> frozenset[int]:
    """The sets of synonyms that a word, or what it may be a form of, is in."""
    sets, bases = _sets(), _bases()
    forms = [word, *bases.get(word, ())]
    forms += [word.removesuffix(end) + instead for end, instead in ENDINGS if word.endswith(end)]
    return frozenset(number for form in forms for number in sets.get(form, ()))


@cache
def _sets() -> dict[str, tuple[int, ...]]:
    lines = _list(LISTS[1])
    return {
        word: tuple(map(int, numbers.split())) for word, numbers in zip(lines[::2], lines[1::2], strict=True)
    }


@cache
def _bases() -> dict[str, list[str]]:
    """The words that irregular forms are of."""
    lines = _list(LISTS[2])
    bases: dict[str, list[str]] = {}
    for base, forms in zip(lines[::2], lines[1::2], strict=True):
        for form in forms.split():
            bases.setdefault(form, []).append(base)
    return bases


def _list(name: str) -> list[str]:
    """The lines of one of METEOR's lists."""
    path = files.find("meteor", name)
    if path is None:
        raise DatasetError(
            f"there is no meteor/{name} in GLIMPSE_DATA or {files.cache_folder()}: METEOR 1.5 is distributed "
            "with it, put it there."
        )
    with files.reading(path, "get it anew"):
        data = path.read_bytes()
        return (gzip.decompress(data) if name.endswith(".gz") else data).decode("utf-8").splitlines()
