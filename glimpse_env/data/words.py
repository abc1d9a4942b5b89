"""Words as numbers, by a lexicon that is learned from a training side; unknown ones are read as classes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

ENDINGS = (
    "ing", "ed", "ly", "ion", "ity", "ment", "ness", "ism", "ist", "ship", "al", "ous", "ive", "able", "ible",
    "ful", "less", "ic", "ish", "est", "er", "or", "ian", "s", "y",
)  # fmt: skip
CLASSES = ("<mark>", "<number>", "<mixed>", *(f"<{case}{end}>" for end in ("", *ENDINGS) for case in "aA"))

TYPED = re.compile(
    r"@\w+|(?:[a-z]\.){2,}|\d+(?:[.,:]\d+)+|n't\b|'(?:s|re|ve|ll|d|m)\b|\w+?(?=n't\b)|\w+|[^\w\s]",
    re.IGNORECASE,
)  # names of entities, U.S., 3,000, and what is said together, before plain words and marks


class Lexicon:
    """The words that occur in training texts at least `least` times, and the classes.

    names: the classes and the words; a word that is not known, as such or in small letters, is read as its
    class, which its last letters and its shape give. of_class: the number of each name's class. seen: how
    often each occurs in training, 0 for classes.
    """

    def __init__(self, texts: Iterable[Sequence[str]], least: int = 2) -> None:
        count = Counter(word for text in texts for word in text)
        known = sorted(word for word, times in count.items() if times >= least and word not in CLASSES)
        self.names = (*CLASSES, *known)
        self._number = {name: i for i, name in enumerate(self.names)}
        self.of_class = np.array([*range(len(CLASSES)), *(self._number[class_of(word)] for word in known)])
        self.seen = np.array([0] * len(CLASSES) + [count[word] for word in known])

    def encode(self, words: Sequence[str]) -> list[int]:
        """Words as numbers."""
        return [self._number_of(word) for word in words]

    def _number_of(self, word: str) -> int:
        for name in (word, word.lower()):
            if self._number.get(name, 0) >= len(CLASSES):
                return self._number[name]
        return self._number[class_of(word)]


def class_of(word: str) -> str:
    """What an unknown word is read as."""
    if not any(c.isalnum() for c in word):
        return "<mark>"
    if any(c.isdigit() for c in word):
        return "<mixed>" if any(c.isalpha() for c in word) else "<number>"
    small = word.lower()
    ending = next((end for end in ENDINGS if small.endswith(end) and len(small) > len(end) + 2), "")
    return f"<{'A' if word[0].isupper() else 'a'}{ending}>"


def treebank_words(text: str) -> list[str]:
    """Words and marks of a text that somebody typed, cut as the treebanks cut English: "is n't", "dog 's"."""
    words: list[str] = TYPED.findall(text.replace("’", "'"))
    return [{"(": "-LRB-", ")": "-RRB-"}.get(word, word) for word in words]
