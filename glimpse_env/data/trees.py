"""Parse trees as texts: a sentence's words, and its tree written out as a row of symbols.

"(S (NP (DT The) (NN eye)) (VP (VBZ moves)) (. .))" is read as its words and said as "(S (NP XX XX ) (VP XX )
. )": every word is XX and every mark of punctuation a full stop (Vinyals et al. 2015, whose closing brackets
say what they close, too). Function tags, as that of NP-SBJ, are left away, and so is the root.

"gum" has trees of many kinds of English texts (Zeldes 2017). They are silver: a parser made them from true
parts of speech, which a tree here has beside its words, so that a score here is agreement with that parser.
"grammar" are sentences of a small grammar, made here, and "file:PATH" is a file with one tree per line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glimpse_env import checks
from glimpse_env.data import files
from glimpse_env.data.words import Lexicon
from glimpse_env.random import SPLITS

TREES = ("gum", "grammar")
WORD, MARK, CLOSE = "XX", ".", ")"
LEAVES = (WORD, MARK)
MARKS = (",", ":", ".", "``", "''")  # the parts of speech that EVALB leaves out
SHA256 = {
    "train": "0fba6b44be9424e62edf62c6d05aed729f964fe5430fb50e1f422d066cee5a7f",
    "validation": "055c6b0bf47986a6914d29acf8845a1f95e722c95c1ba7e2bf9c81cff89d7573",
    "test": "48dc47442d15c7ebefbd6ab6942f0d112815e0a1bbc9692346cdbb53bf5ecc0b",
}
PARTS = {"train": "train", "validation": "dev", "test": "test"}
SENTENCES = {"train": 3000, "validation": 500, "test": 500}  # that the grammar makes
GRAMMAR = {
    "S": (("NP", "VP", "."), ("NP", "VP", "."), ("ADVP", "NP", "VP", "."), ("NP", "ADVP", "VP", ".")),
    "NP": (("DT", "NN"), ("DT", "JJ", "NN"), ("NP", "PP"), ("NNP",), ("NP", "SBAR")),
    "VP": (("VBZ",), ("VBZ", "NP"), ("VBZ", "NP", "PP"), ("VBZ", "PP"), ("VBZ", "SBAR")),
    "PP": (("IN", "NP"),),
    "ADVP": (("RB",),),
    "SBAR": (("WDT", "VP"),),
}
WORDS = {
    "DT": ["the", "a", "every"],
    "NN": ["eye", "dog", "picture", "window", "letter", "child", "street"],
    "JJ": ["small", "bright", "old", "wide"],
    "NNP": ["Ada", "Rome", "Monday"],
    "VBZ": ["sees", "reads", "finds", "moves", "follows"],
    "IN": ["in", "near", "with"],
    "RB": ["slowly", "often", "today"],
    "WDT": ["that", "which"],
    ".": [".", "!"],
}
DEPTH = 4  # beyond which the first two expansions of the grammar alone are used


class Tree(NamedTuple):
    """A sentence's words, the symbols of its tree, and the words' parts of speech."""

    words: tuple[str, ...]
    symbols: tuple[str, ...]
    parts: tuple[str, ...]


def load(name: str, split: str) -> tuple[Tree, ...]:
    """The trees of a split of "gum", "grammar" or "file:PATH".

    Raises ValueError for an unknown name, DatasetError for a file that is missing, damaged or no such trees.
    """
    checks.choice("split", split, SPLITS)
    if name.startswith("file:") and name != "file:":
        path = files.own_file(name)
        return _read(path, files.signature(path))[split]
    if name not in TREES:
        raise ValueError(
            f"there are no trees {name!r}{checks.did_you_mean(name, TREES) or ':'} use one of "
            f"{', '.join(map(repr, TREES))}, or 'file:PATH' for a file of your own"
        )
    return _gum(split) if name == "gum" else _made(split)


@lru_cache(files.RECENT)
def lexicon(train: tuple[Tree, ...]) -> Lexicon:
    """The words that occur in training."""
    return Lexicon(tree.words for tree in train)


@lru_cache(files.RECENT)
def labels(train: tuple[Tree, ...]) -> tuple[str, ...]:
    """The labels of brackets that occur in training."""
    return tuple(sorted({s[1:] for tree in train for s in tree.symbols if s[0] == "("}))


@lru_cache(files.RECENT)
def parts_of_speech(train: tuple[Tree, ...]) -> tuple[str, ...]:
    """The parts of speech that occur in training."""
    return tuple(sorted({part for tree in train for part in tree.parts}))


def parse(line: str) -> Tree:
    """A tree in brackets, as "(ROOT (NP (DT the) (NN eye)))"; ValueError for what is none."""
    words: list[str] = []
    symbols: list[str] = []
    parts: list[str] = []
    opened = 0
    tokens = re.findall(r"[()]|[^\s()]+", line)
    if tokens[:2] == ["(", "("]:  # as the Penn Treebank has the root
        tokens.insert(1, "ROOT")
    place = 0
    while place < len(tokens):
        if tokens[place] == "(":
            label = tokens[place + 1] if place + 1 < len(tokens) else ""
            if label in ("(", ")", "") or place + 2 >= len(tokens):
                raise ValueError("a bracket has no label")
            if tokens[place + 2] not in "()":  # a part of speech and its word
                if place + 3 >= len(tokens) or tokens[place + 3] != ")":
                    raise ValueError(f"the word {tokens[place + 2]!r} is not in brackets of its own")
                words.append(tokens[place + 2])
                parts.append(label)
                symbols.append(MARK if label in MARKS else WORD)
                place += 4
                continue
            bare = re.split(r"[-=|]", label)[0] or label
            symbols.append(f"({'ADVP' if bare == 'PRT' else bare}")  # as EVALB has it
            opened += 1
            place += 2
        elif tokens[place] == ")" and opened:
            if symbols[-1][0] == "(":
                raise ValueError("a bracket holds no word")
            symbols.append(CLOSE)
            opened -= 1
            place += 1
        else:
            raise ValueError(f"{tokens[place]!r} stands outside all brackets")
    if opened or not words:
        raise ValueError("brackets are not closed" if opened else "it has no words")
    if _closed_at(symbols) < len(symbols) - 1:
        raise ValueError("there is more than one tree")
    inner = symbols[1:-1]
    if symbols[0] in ("(ROOT", "(TOP") and _closed_at(inner) == len(inner) - 1:  # it holds one tree
        symbols = inner
    return Tree(tuple(words), tuple(symbols), tuple(parts))


def _closed_at(symbols: Sequence[str]) -> int:
    """Where the first bracket closes."""
    depth = 0
    for place, symbol in enumerate(symbols):
        depth += (symbol[0] == "(") - (symbol == CLOSE)
        if depth == 0:
            return place
    return len(symbols)


def brackets(symbols: Sequence[str], leaves: Sequence[str]) -> Counter[tuple[str, int, int]] | None:
    """The labelled spans of symbols over those of `leaves` that are words, or None where they are no tree.

    A tree is one bracket with all leaves in it, or a single leaf.
    """
    words = np.concatenate([[0], np.cumsum([leaf == WORD for leaf in leaves])])
    found: Counter[tuple[str, int, int]] = Counter()
    opened: list[tuple[str, int]] = []
    read = 0
    for place, symbol in enumerate(symbols):
        if place and not opened:
            return None  # the tree is whole already
        if symbol in LEAVES:
            read += 1
            if read > len(leaves):
                return None
        elif symbol[0] == "(":
            opened.append((symbol[1:], read))
        else:
            if not opened or opened[-1][1] == read:
                return None
            label, first = opened.pop()
            if words[first] < words[read]:
                found[label, int(words[first]), int(words[read])] += 1
    return found if not opened and read == len(leaves) else None


def matched(said: Sequence[str], right: Sequence[str]) -> tuple[int, int, int]:
    """How many brackets of two trees of one sentence agree, how many were said, and how many are right.

    As EVALB counts with Collins's parameters: labelled spans, without marks, each as often as it occurs. What
    is no tree of this sentence has no bracket.
    """
    leaves = [symbol for symbol in right if symbol in LEAVES]
    ours, theirs = brackets(said, leaves), brackets(right, leaves)
    assert theirs is not None
    ours = ours or Counter()
    return (ours & theirs).total(), ours.total(), theirs.total()


def f1(agreeing: float, said: float, right: float) -> float:
    """F1 = 2 agreeing / (said + right), from 0 to 1; of two empty trees 1."""
    return 2 * agreeing / (said + right) if said + right else 1.0


@cache
def _gum(split: str) -> tuple[Tree, ...]:
    instead = "use dataset='grammar', which needs no data, or dataset='file:PATH' with one tree per line"
    lines = files.read_shared("gum_const", f"trees.{PARTS[split]}.txt.gz", SHA256[split], instead)
    return tuple(map(parse, lines))


@lru_cache(files.RECENT)
def _read(path: Path, written: tuple[int, int]) -> dict[str, tuple[Tree, ...]]:
    """A file's splits; `written`, its signature, changes when it does."""
    return files.read_shares(path, "tree", parse)


@cache
def _made(split: str) -> tuple[Tree, ...]:
    """Sentences of the grammar, each in one split."""
    generator = np.random.default_rng(0)
    grown = (parse(_grow("S", 0, generator)) for _ in range(3 * sum(SENTENCES.values())))
    trees = list({tree.words: tree for tree in grown}.values())
    first = sum(SENTENCES[other] for other in SPLITS[: SPLITS.index(split)])
    return tuple(trees[first : first + SENTENCES[split]])


def _grow(label: str, depth: int, generator: np.random.Generator) -> str:
    if label in WORDS:
        return f"({label} {WORDS[label][generator.integers(len(WORDS[label]))]})"
    expansions = GRAMMAR[label][:2] if depth > DEPTH else GRAMMAR[label]
    parts = expansions[generator.integers(len(expansions))]
    return f"({label} {' '.join(_grow(part, depth + 1, generator) for part in parts)})"
