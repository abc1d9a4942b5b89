"""Word vectors, made of what stands near what in training texts, and how like two texts are by them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from agents.learn.metrics import tokens

WINDOW, WIDTH = 5, 100  # words to either side that count as near; numbers of a vector
WAYS = ("average", "extrema", "greedy", "weighted")  # of comparing two texts by their words' vectors
LEAST = 3  # how often a word occurs to have a vector


class Vectors:
    """Vectors of words: positive pointwise mutual information with the words around, in WIDTH dimensions.

    That is what skip-grams with negative samples factor (Levy, Goldberg 2014). The same texts make the same
    vectors.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        sentences = [tokens(text) for text in texts]
        count = Counter(word for sentence in sentences for word in sentence)
        words = sorted(word for word, times in count.items() if times >= LEAST)
        self._number = {word: i for i, word in enumerate(words)}
        having = Counter(word for sentence in sentences for word in set(sentence))
        self._rare = {word: math.log(len(sentences) / having[word]) for word in words}
        near: Counter[tuple[int, int]] = Counter()
        for sentence in sentences:
            ids = [self._number.get(word, -1) for word in sentence]
            for i, a in enumerate(ids):
                near.update(
                    pair
                    for b in ids[max(i - WINDOW, 0) : i]
                    if a >= 0 and b >= 0
                    for pair in ((a, b), (b, a))
                )
        pairs = np.array([*near], np.int64).reshape(-1, 2)
        times = np.array([*near.values()], np.float64)
        total = np.bincount(pairs[:, 0], times, len(words))
        information = np.log(times * times.sum() / (total[pairs[:, 0]] * total[pairs[:, 1]]))
        kept = information > 0
        matrix = torch.sparse_coo_tensor(
            torch.from_numpy(pairs[kept].T),
            torch.from_numpy(information[kept]),
            (len(words), len(words)),
            check_invariants=True,
        ).coalesce()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            u, s, _ = torch.svd_lowrank(matrix, min(WIDTH, len(words)), niter=4)
        found = (u * s.sqrt()).numpy()
        self.table: NDArray[np.float64] = found / np.maximum(
            np.linalg.norm(found, axis=1, keepdims=True), 1e-9
        )

    def of(self, text: str) -> NDArray[np.float64]:
        """The unit vectors (n, WIDTH) of a text's known words."""
        return self.table[[self._number[word] for word in tokens(text) if word in self._number]]

    def like(self, one: str, other: str) -> dict[str, float]:
        """How like two texts are, from -1 to 1; 0 where one has no known word (Liu et al. 2016, section 3).

        "average": the cosine of the mean vectors; "extrema": that of the vectors of each dimension's most
        extreme value; "greedy": the mean, both ways, of each word's cosine with its nearest; "weighted": the
        same, but a word counts as much as it is rare, log(texts / texts with it) (Zhang et al. 2020).
        """
        a, b = self.of(one), self.of(other)
        if not len(a) or not len(b):
            return dict.fromkeys(WAYS, 0.0)
        each = a @ b.T
        near = each.max(1), each.max(0)
        rare = [
            np.array([self._rare[word] for word in tokens(text) if word in self._rare])
            for text in (one, other)
        ]
        weighted = [float(n @ r) / max(float(r.sum()), 1e-9) for n, r in zip(near, rare, strict=True)]
        return {
            "average": _cosine(a.mean(0), b.mean(0)),
            "extrema": _cosine(_extrema(a), _extrema(b)),
            "greedy": float(near[0].mean() + near[1].mean()) / 2,
            "weighted": sum(weighted) / 2,
        }

    def likeness(self, written: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        """The same of many texts beside one reference each: means, in percent."""
        found = [self.like(one, other) for one, other in zip(written, references, strict=True)]
        return {way: 100 * float(np.mean([each[way] for each in found])) for way in WAYS}


def _extrema(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each dimension the value that is the farthest from 0."""
    extreme: NDArray[np.float64] = vectors[np.abs(vectors).argmax(0), np.arange(vectors.shape[1])]
    return extreme


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(a @ b) / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9)
