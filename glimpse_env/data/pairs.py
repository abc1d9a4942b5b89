"""Pairs of sentences by name: one that is downloaded or found, one that is made here, and anybody's own.

"multi30k" has captions of photographs in English, German and French (Elliott et al. 2016), "number-names" the
names of numbers in English and German, and "file:PATH" is a file with a pair a line, a tab between them.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from glimpse_env import checks
from glimpse_env.data import files, numbers
from glimpse_env.data.files import DatasetError, RemoteFile
from glimpse_env.data.pieces import Pieces
from glimpse_env.data.units import WordUnits
from glimpse_env.random import SPLITS

PAIRS = ("multi30k", "number-names")
LANGUAGES = {"multi30k": ("de", "en", "fr"), "number-names": numbers.LANGUAGES}
UNITS = ("pieces", "words", "mixed")
MOST_PIECES = 4000
NUMBERS = {"train": 3000, "validation": 500, "test": 500}  # names: the splits take consecutive numbers
MIRROR = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw"
PARTS = {"train": "train", "validation": "val", "test": "test_2016_flickr"}
MULTI30K = {
    "train.de": "d71259ddb13479e1c9cac315c123493b7e97d2c996465b76d885a80a9e8daccd",
    "train.en": "e1d89f49b9f003db6bb35c24382eb56531fec4e3840cb704cf36f0c0e192b62d",
    "train.fr": "41e4a42abcf242f69c88814fe0f8df106d877f0b07482c841f6063e3ed739039",
    "val.de": "c7c5fd8dde71846406de776f1c342f0c1e95e1c375e3bea7d52a77faec72e965",
    "val.en": "0a9a01b4fd231cafeebea18983300016112dc919d3b26c5c74f6d6f388936aeb",
    "val.fr": "9ccb4038b407530093f76c4aa5e955842303e96b0bdef3c626a0c8320d450f36",
    "test_2016_flickr.de": "d9747e9ef1c1bf36bf4a0e43c0d0fba58cc55d6b2b8e388cc863cba02b043fea",
    "test_2016_flickr.en": "4f32cb8118b90cd5189d141e34791f70c245315e17065ecf9b2af6ab57e747cf",
    "test_2016_flickr.fr": "aaa466eae473f1807a1b4a1683e18b6bba1234aee4ebf70e04bbc11d1e87d2be",
}
# Of the pieces, one per line: sentencepiece up to 0.2.2 learns others.
PIECES = {
    ("multi30k", "de-en"): "e4d9f17878540610c0e9b9a06c4dd9577590a5122d5d44acd224da091261f136",
    ("multi30k", "en-fr"): "dee160218dbbef40592cf7e3a2d70e3f2a3a93d8cd7ab1d71c2dbcad3482a89a",
    ("multi30k", "de-fr"): "dc360a43859749811bda221d6b81e19339ea68d137c786d54e605423ac136323",
    ("number-names", "de-en"): "bb4ce12602d2bb1760ea476df7bd4d6604bfb3efe4eb86e954c53321bf515403",
}


class Pairs(NamedTuple):
    """Sentences, and what each of them becomes."""

    source: tuple[str, ...]
    target: tuple[str, ...]


def load(name: str, languages: str, split: str) -> Pairs:
    """The pairs of a split of "multi30k", "number-names" or "file:PATH".

    languages: from which into which, as "de-en"; "" of a file, which has one direction. Raises ValueError for
    an unknown name or language, DatasetError for a file that is missing, damaged or not in this form.
    """
    checks.choice("split", split, SPLITS)
    if name.startswith("file:") and name != "file:":
        if languages:
            raise ValueError(f"a file has its own two languages: pass pair='', got {languages!r}")
        path = files.own_file(name)
        return _read(path, files.signature(path))[split]
    if name not in PAIRS:
        raise ValueError(
            f"there are no pairs {name!r}{checks.did_you_mean(name, PAIRS) or ':'} use one of "
            f"{', '.join(map(repr, PAIRS))}, or 'file:PATH' for a file of your own"
        )
    known = LANGUAGES[name]
    checks.choice("pair", languages, [f"{a}-{b}" for a in known for b in known if a != b])
    source, target = languages.split("-")
    if name == "multi30k":
        return Pairs(_multi30k(split, source), _multi30k(split, target))
    return Pairs(_number_names(split, source), _number_names(split, target))


def vocabulary_of(name: str, languages: str, units: str = "pieces") -> Pieces | WordUnits:
    """What both sides of pairs are written in, learned from the training side alone.

    units: "pieces" of words; "words", the rare ones of which are unknown; or "mixed", which spells those.
    Raises DatasetError where the installed sentencepiece learns other pieces than the frozen ones.
    """
    train = load(name, languages, "train")
    return _learned(train, checks.choice("units", units, UNITS), name, languages)


@lru_cache(files.RECENT)
def _learned(train: Pairs, units: str, name: str, languages: str) -> Pieces | WordUnits:
    texts = (*train.source, *train.target)
    if units == "pieces":
        pieces = Pieces(texts, MOST_PIECES)
        known = PIECES.get((name, "-".join(sorted(languages.split("-")))))
        if known not in (None, hashlib.sha256("\n".join(pieces.names).encode("utf-8")).hexdigest()):
            raise DatasetError(
                f"the installed sentencepiece learns other word pieces of {name} than those that its scenes "
                "are frozen in: pip install 'sentencepiece==0.2.3'."
            )
        return pieces
    return WordUnits(texts, MOST_PIECES, spelled=units == "mixed")


def longest(name: str, languages: str, units: str = "pieces") -> int:
    """How many units the longest sentence of pairs has, of both sides and all splits."""
    vocabulary = vocabulary_of(name, languages, units)
    sides = (side for split in SPLITS for side in load(name, languages, split))
    return max(len(sentence) for side in sides for sentence in vocabulary.encode(side))


def store(
    source: Sequence[str],
    target: Sequence[str],
    validation: tuple[Sequence[str], Sequence[str]] | None = None,
    test: tuple[Sequence[str], Sequence[str]] | None = None,
) -> str:
    """Keep pairs in the user's cache, in a file named by their contents, and return their `file:PATH`.

    Without validation and test pairs of one's own, of ten pairs seven are for training, one to validate and
    two to test. Raises ValueError for unequal numbers of sentences, for one that is empty or has a tab or a
    line break in it, and where one of the two splits alone is given.
    """
    if (validation is None) != (test is None):
        raise ValueError("give pairs both to validate and to test, or neither")
    given = {"train": _listed((source, target)), "validation": _listed(validation), "test": _listed(test)}
    lines = []
    for split, sides in given.items():
        if sides is None:
            continue
        if not (isinstance(sides, tuple | list) and len(sides) == 2 and all(map(_is_list, sides))):
            raise ValueError(f"{split} must be two lists of sentences, got {sides!r:.80}")
        if len(sides[0]) != len(sides[1]) or not len(sides[0]):
            counts = " and ".join(str(len(side)) for side in sides)
            raise ValueError(f"{split} must have as many sentences on both sides, got {counts}")
        for i, (one, other) in enumerate(zip(*sides, strict=True)):
            pair = [part.strip() if isinstance(part, str) else part for part in (one, other)]
            for sentence in pair:
                if not isinstance(sentence, str) or not sentence or len(sentence.splitlines()) > 1:
                    raise ValueError(f"{split} sentence {i + 1} must be a line of text, got {sentence!r}")
                if not checks.is_utf8(sentence):
                    raise ValueError(f"{split} sentence {i + 1} is not UTF-8, got {sentence!r}")
                if "\t" in sentence:
                    raise ValueError(f"{split} sentence {i + 1} must have no tab in it, got {sentence!r}")
            lines.append("\t".join((*pair, *((split,) if test is not None else ()))))
    if test is None and len(lines) < files.FEWEST:
        raise ValueError(f"there are {len(lines)} pairs: give {files.FEWEST}, or all three splits")
    data = "".join(f"{line}\n" for line in lines).encode("utf-8")
    path = files.cache_folder() / "own" / f"{hashlib.sha256(data).hexdigest()[:20]}.tsv"
    files.keep(path, lambda file: file.write_bytes(data))
    return f"file:{path}"


@cache
def _multi30k(split: str, language: str) -> tuple[str, ...]:
    name = f"{PARTS[split]}.{language}"
    remote = RemoteFile(MULTI30K[name], (f"{MIRROR}/{name}.gz",))
    path = files.fetch(
        "multi30k", f"{name}.gz", remote, "use dataset='number-names', which needs no download"
    )
    mend = "delete it, and the next run downloads it again"
    with files.reading(path, mend):
        data = path.read_bytes()
        files.check_sha256(path, data, remote.sha256, mend)
        return tuple(gzip.decompress(data).decode("utf-8").splitlines())


@cache
def _number_names(split: str, language: str) -> tuple[str, ...]:
    """Names of numbers that lie evenly between 0 and MOST, each number in one split."""
    total = sum(NUMBERS.values())
    first = {"train": 0, "validation": NUMBERS["train"], "test": total - NUMBERS["test"]}[split]
    step = 618_033_989  # MOST by the golden ratio; the two have no common divisor
    return tuple(
        numbers.written((i + 1) * step % numbers.MOST, language) for i in range(first, first + NUMBERS[split])
    )


def _listed(sides: Any) -> Any:
    """Pairs whose sides are arrays as pairs of lists."""
    if not isinstance(sides, tuple | list):
        return sides
    return tuple(side.tolist() if isinstance(side, np.ndarray) else side for side in sides)


def _is_list(given: object) -> bool:
    return isinstance(given, Sequence) and not isinstance(given, str)


@lru_cache(files.RECENT)
def _read(path: Path, written: tuple[int, int]) -> dict[str, Pairs]:
    """The splits of a file: a third column names a line's, else of ten lines seven are for training.

    `written`, the file's signature, changes when it does.
    """
    lines: dict[str, list[tuple[str, str]]] = {split: [] for split in SPLITS}
    for number, line in enumerate(files.read_lines(path, "one pair of sentences per line")):
        source, *others = (part.strip() for part in line.split("\t"))
        if len(others) not in (1, 2) or not (source and others[0]):
            raise DatasetError(
                f"line {number + 1} of {path} must be two sentences with a tab between them, got {line!r}."
            )
        split = others[1] if len(others) == 2 else files.TURNS[number % len(files.TURNS)]
        if split not in lines:
            raise DatasetError(
                f"line {number + 1} of {path} names the split {split!r}: use one of {', '.join(SPLITS)}."
            )
        lines[split].append((source, others[0]))
    for split, pairs in lines.items():
        if not pairs:
            raise DatasetError(
                f"{path} has no pairs in its {split} split: give five lines or more, or a split in each."
            )
    return {
        split: Pairs(tuple(a for a, _ in pairs), tuple(b for _, b in pairs)) for split, pairs in lines.items()
    }
