"""What captions are compared with: people, pictures that look alike, and what people say of metrics.

5,664 captions of Flickr8k, each beside a picture that it was not written for, were judged by three experts,
from 1, "does not describe the picture", to 4, "describes it without any errors" (Hodosh, Young, Hockenmaier
2013). A metric sees the caption and the five captions of the picture.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, rankdata
from tqdm import tqdm

from agents.learn import metrics
from agents.learn.evaluate import Evaluation
from agents.learn.features import features_of
from agents.learn.vectors import WAYS, Vectors
from agents.parts.eye import SIZE, WHOLE
from glimpse_env.data import captions, files
from glimpse_env.data.captions import Caption
from glimpse_env.data.files import DatasetError
from glimpse_env.random import SPLITS
from glimpse_env.scores import Cider

FILE = "ExpertAnnotations.txt.gz"
# Kendall's tau_c, in percent, as Hessel et al. (2021), table 1, have it.
PUBLISHED = {"BLEU-1": 32.3, "BLEU-4": 30.8, "ROUGE-L": 32.3, "METEOR": 41.8, "CIDEr": 43.9}


class Judged(NamedTuple):
    """A caption, the captions that were written for the picture it is shown with, and three judgements."""

    said: Caption
    references: tuple[Caption, ...]
    scores: tuple[int, int, int]


def load() -> list[Judged]:
    """All captions that were judged beside a picture of others; DatasetError where Flickr8k is missing."""
    path = files.find("flickr8k", FILE)
    if path is None:
        raise DatasetError(
            f"there is no flickr8k/{FILE} in GLIMPSE_DATA or {files.cache_folder()}: it comes with Flickr8k, "
            "whose owners send it to whoever asks them."
        )
    parts = [captions.load("flickr8k", split) for split in SPLITS]
    of = {name: said for part in parts for name, said in zip(part.names, part.captions, strict=True)}
    judged = []
    with files.reading(path, "get it anew"):
        for line in gzip.decompress(path.read_bytes()).decode("utf-8").splitlines():
            picture, caption, *given = line.split()
            name, _, number = caption.partition("#")
            if name != picture:  # a picture's own caption would be compared with itself
                first, second, third = map(int, given)
                judged.append(Judged(of[name][int(number)], of[picture], (first, second, third)))
    return judged


def people(split: str) -> dict[str, Evaluation]:
    """Each person's captions of Flickr8k against those of the other four, by every metric: means."""
    said = captions.load("flickr8k", split).captions
    found = []
    for person in range(len(said[0])):
        own = [" ".join(several[person]) for several in said]
        others = [[" ".join(one) for i, one in enumerate(several) if i != person] for several in said]
        found.append(metrics.captions(own, others))
    return {
        name: Evaluation(
            float(np.mean([one[name].error for one in found])),
            tuple(np.mean([one[name].ci95 for one in found], 0).tolist()),
            len(said),
        )
        for name in found[0]
    }


def neighbours(split: str, near: int = 12) -> dict[str, Evaluation]:
    """What is said of pictures that look alike, by every metric (Devlin et al. 2015).

    Of the captions of the `near` training pictures whose features (parts/eye.py) have the largest cosine with
    a picture's own, the one that is most like all the others by CIDEr-D. Nothing is trained.
    """
    known, asked = (
        features_of("flickr8k", part, SIZE)[:, -WHOLE:].astype(np.float32) for part in ("train", split)
    )
    known, asked = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (known, asked))
    training = captions.load("flickr8k", "train").captions
    cider = Cider(training)
    vectors = [[cider.vector(caption) for caption in several] for several in training]
    said = []
    for closest in tqdm(np.argsort(-asked @ known.T, axis=1)[:, :near].tolist(), "pictures"):
        offered = [pair for i in closest for pair in zip(vectors[i], training[i], strict=True)]
        worth = [sum(cider.likeness(one, other) for other, _ in offered) for one, _ in offered]
        said.append(" ".join(offered[int(np.argmax(worth))][1]))
    references = [[" ".join(one) for one in several] for several in captions.load("flickr8k", split).captions]
    return metrics.captions(said, references)


def agreement(values: NDArray[np.float64], judged: Sequence[Judged]) -> float:
    """Kendall's tau_c, in percent, of a metric's values (n,) with all judgements."""
    people = np.array([one.scores for one in judged])
    tau: float = kendalltau(np.repeat(values, people.shape[1]), people.ravel(), variant="c").statistic
    return 100 * tau


def values_of(judged: Sequence[Judged]) -> dict[str, NDArray[np.float64]]:
    """What every metric says of each caption, the higher the better, by name.

    Of LEPOR and of word vectors, which compare two texts, the best reference counts. Vectors, and how rare a
    word is, are learned from Flickr8k's training captions. "combined" is the sum of the ranks of CIDEr and of
    the weighted word vectors.
    """
    texts = [(" ".join(one.said), [" ".join(other) for other in one.references]) for one in judged]
    training = captions.load("flickr8k", "train").captions
    vectors = Vectors([" ".join(caption) for several in training for caption in several])
    cider = Cider(training)
    found: dict[str, NDArray[np.float64]] = {}

    def add(name: str, value: Callable[[str, list[str]], float]) -> None:
        found[name] = np.array([value(said, others) for said, others in texts])

    for name, value in metrics.of_one_caption().items():
        add(name, value)
    found["CIDEr"] = np.array([cider(one.said, one.references) for one in judged])
    like = [[vectors.like(said, other) for other in others] for said, others in texts]
    for way in WAYS:
        found[f"word vectors, {way}"] = np.array([max(one[way] for one in several) for several in like])
    found["combined"] = rankdata(found["CIDEr"]) + rankdata(found["word vectors, weighted"])
    return found
