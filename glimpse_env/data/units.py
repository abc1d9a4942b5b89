"""Whole words as units of texts, beside word pieces: rare ones are unknown, or are spelled.

A word is what stands between spaces, without the marks of punctuation, which are words of their own; ▁ marks
what a space stands before, so that texts can be put together again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

UNKNOWN = "▁�"  # most of those that are rare are words, which a space stands before
FORMS = ("<B>", "<M>", "<E>")  # of a letter that begins, goes on or ends a word that is spelled


class WordUnits:
    """About `most` units, learned from `texts`: letters and bytes to spell with, then the commonest words.

    spelled: rare words are spelled letter by letter, in letters of three forms (the mixed word/character
    model of Wu et al. 2016, section 4.2), and letters that training lacks in bytes; else they are unknown.
    names: the units, the first of which is the unknown word.
    """

    def __init__(self, texts: Iterable[str], most: int, *, spelled: bool) -> None:
        count: Counter[str] = Counter()
        for text in texts:
            count.update(split(text))
        letters = sorted({letter for word in count for letter in word})
        spelling = [form + letter for letter in letters for form in FORMS]
        spelling += [f"<0x{byte:02X}>" for byte in range(256)]
        kept = sorted(count, key=lambda word: (-count[word], word))
        room = max(most - 1 - (len(spelling) if spelled else 0), 0)
        self.spelled = spelled
        self.names: tuple[str, ...] = (UNKNOWN, *(spelling if spelled else ()), *kept[:room])
        self._number = {name: i for i, name in enumerate(self.names)}

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Each text's units."""
        return [[unit for word in split(text) for unit in self._units(word)] for text in texts]

    def decode(self, units: Sequence[int]) -> str:
        """The text that units spell; bytes that are no letter, and unknown words, become �."""
        spelled = b"".join(map(_bytes, (self.names[int(unit)] for unit in units)))
        return spelled.decode("utf-8", errors="replace").replace("▁", " ").strip()

    def _units(self, word: str) -> list[int]:
        if word in self._number:
            return [self._number[word]]
        if not self.spelled:
            return [0]
        units: list[int] = []
        for i, letter in enumerate(word):
            form = FORMS[0] if i == 0 else FORMS[2] if i == len(word) - 1 else FORMS[1]
            known = self._number.get(form + letter)
            units += (
                [known]
                if known is not None
                else [self._number[f"<0x{b:02X}>"] for b in letter.encode("utf-8")]
            )
        return units


def split(text: str) -> list[str]:
    """A text's words and marks, ▁ before those that a space, or the text's beginning, stands before."""
    words: list[str] = re.findall(r"▁?\w+|▁?[^\w▁]|▁", "".join(f"▁{part}" for part in text.split()))
    return words


def _bytes(name: str) -> bytes:
    """What a unit stands for, in UTF-8."""
    if re.fullmatch(r"<0x[0-9A-F]{2}>", name):
        return bytes([int(name[3:5], 16)])
    for form in FORMS:
        if name.startswith(form) and len(name) == len(form) + 1:
            name = name[len(form) :]
    return name.encode("utf-8")
