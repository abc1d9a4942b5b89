"""Names of whole numbers below a billion, in English words and in the parts of German ones.

num2words writes them: 42 is "forty two" here, and "zwei und vierzig", whose order turns.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from glimpse_env.data.files import DatasetError

MOST = 10**9  # numbers are below it
LANGUAGES = ("en", "de")
ENGLISH = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety and hundred thousand "
    "million"
)
GERMAN = (
    "null eins ein eine zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn "
    "sechzehn siebzehn achtzehn neunzehn zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig und "
    "hundert tausend Million Millionen"
)
WORDS = {"en": tuple(ENGLISH.split()), "de": tuple(GERMAN.split())}
PATTERN = {
    language: "|".join(sorted(map(str.casefold, words), key=len, reverse=True))
    for language, words in WORDS.items()
}


class Names(NamedTuple):
    """Words of which names are made, in one language, as indices of WORDS.

    alone, after: how 0 to 999 end a name that has nothing, or something, before them. thousands, millions:
    how each count is said; at 0 nothing.
    """

    alone: tuple[tuple[int, ...], ...]
    after: tuple[tuple[int, ...], ...]
    thousands: tuple[tuple[int, ...], ...]
    millions: tuple[tuple[int, ...], ...]

    def of(self, number: int) -> tuple[int, ...]:
        """The name of a number from 0 to MOST - 1."""
        million, rest = divmod(number, 1_000_000)
        thousand, unit = divmod(rest, 1000)
        units = self.after if number >= 1000 else self.alone
        return self.millions[million] + self.thousands[thousand] + units[unit]


@cache
def names(language: str) -> Names:
    """The parts of all names in a language; DatasetError where num2words is not installed."""

    def said(number: int) -> tuple[int, ...]:
        return spell(written(number, language), language)

    million, nothing = said(1_000_000), ((),)
    return Names(
        tuple(map(said, range(1000))),
        (*nothing, *(said(1_000_000 + unit)[len(million) :] for unit in range(1, 1000))),
        (*nothing, *(said(1000 * thousand) for thousand in range(1, 1000))),
        (*nothing, *(said(1_000_000 * many) for many in range(1, 1000))),
    )


def written(number: int, language: str) -> str:
    """A number's name as num2words writes it; DatasetError where that is not installed."""
    try:
        from num2words import num2words
    except ImportError:
        raise DatasetError(
            "the names of numbers need num2words: pip install 'glimpse_env[text]', or num2words."
        ) from None
    name: str = num2words(number, lang=language)
    return name


def spell(name: str, language: str) -> tuple[int, ...]:
    """A name, however it is written, as indices of the language's WORDS; what is none of them is left out."""
    words = [word.casefold() for word in WORDS[language]]  # of which "ß" is "ss"
    return tuple(map(words.index, re.findall(PATTERN[language], name.casefold())))
