"""Documents with a question each, in which an entity is left out that is to be named (Hermann et al. 2015).

Entities are @entity0, @entity1 … and the one that is asked for is @placeholder. "gum" has documents of many
kinds of English texts (Zeldes 2017), twenty sentences each and a question from the next one. "stories" are
made here, small ones of five sentences, 5,000 to learn from, of which "stories:N" has the first N, and
"file:PATH" is a file with a JSON object a line that holds "context", "query" and "answer".
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from glimpse_env import checks
from glimpse_env.data import files
from glimpse_env.data.words import Lexicon
from glimpse_env.random import SPLITS

STORIES = ("gum", "stories")
PLACEHOLDER = "@placeholder"
SHA256 = {
    "train": "9bb5f5ad06fc282bfa49faaac2f451a330c1afa06fb5402e66e3166ef94e6b45",
    "validation": "038e41cbc2ff366f67b7e57f6eb2c5a452863738f2746b09b0c1e0abe6e6e1af",
    "test": "31af53f6d172128f559987f5c148f391fd12a00a378b72905be05ec26e97b0ca",
}
PARTS = {"train": "train", "validation": "dev", "test": "test"}
SEEN = 10  # how often a word occurs in training to have a number: rarer ones would be learned by heart
COUNTS = {"train": 5000, "validation": 500, "test": 1000}  # of stories that are made
SENTENCES, CAST = 5, 8  # of a story: sentences, and entities to choose from
TOLD = (  # what is told, and how it is asked for
    ("{} went to see {} in the morning .", "early in the day {} visited {} ."),
    ("{} sold an old car to {} .", "a car was bought from {} by {} ."),
    ("{} wrote a long letter to {} .", "there is a letter from {} to {} ."),
    ("the dog of {} followed {} home .", "it is known that the dog of {} ran after {} ."),
    ("{} taught {} how to swim .", "{} gave lessons to {} ."),
    ("{} borrowed a red umbrella from {} .", "{} has the umbrella of {} ."),
    ("{} won a game of chess against {} .", "at chess {} beat {} ."),
    ("{} cooked a dinner for {} .", "{} made something to eat for {} ."),
    ("{} painted a portrait of {} .", "on the picture by {} one sees {} ."),
    ("{} lives next door to {} .", "{} is a neighbour of {} ."),
)


class Document(NamedTuple):
    """The words of a document and of its question, and the entity that is asked for."""

    context: tuple[str, ...]
    question: tuple[str, ...]
    answer: str


def load(name: str, split: str) -> tuple[Document, ...]:
    """The documents of a split of "gum", "stories", "stories:N" or "file:PATH".

    Raises ValueError for an unknown name, DatasetError for a file that is missing or damaged.
    """
    checks.choice("split", split, SPLITS)
    if name.startswith("file:") and name != "file:":
        path = files.own_file(name)
        return _read(path, files.signature(path))[split]
    if name.startswith("stories:"):
        count = name.removeprefix("stories:")
        if not re.fullmatch("[1-9][0-9]{0,3}", count) or int(count) > COUNTS["train"]:
            raise ValueError(f"N of 'stories:N' must be a number from 1 to {COUNTS['train']}, got {name!r}")
        return _made(split)[: int(count)] if split == "train" else _made(split)
    if name not in STORIES:
        raise ValueError(
            f"there are no documents {name!r}{checks.did_you_mean(name, STORIES) or ':'} use one of "
            f"{', '.join(map(repr, STORIES))}, 'stories:N' for N to learn from, or 'file:PATH' for a file of "
            "your own"
        )
    return _gum(split) if name == "gum" else _made(split)


@lru_cache(files.RECENT)
def lexicon(train: tuple[Document, ...]) -> Lexicon:
    """The words that occur in training, entities left out."""
    texts = (side for document in train for side in (document.context, document.question))
    return Lexicon(([word for word in text if not is_entity(word)] for text in texts), SEEN)


def is_entity(word: str) -> bool:
    """Whether a word is an entity, or the place of one."""
    return word == PLACEHOLDER or re.fullmatch(r"@entity\d+", word) is not None


def parse(line: str) -> Document:
    """A document of a JSON object; ValueError for what is none."""
    read = json.loads(line)
    if not isinstance(read, dict) or not all(
        isinstance(read.get(key), str) for key in ("context", "query", "answer")
    ):
        raise ValueError('it must be an object with the texts "context", "query" and "answer"')
    document = Document(tuple(read["context"].split()), tuple(read["query"].split()), read["answer"])
    if PLACEHOLDER not in document.question:
        raise ValueError(f"its query must have a {PLACEHOLDER}")
    if (
        document.answer not in document.context
        or document.answer == PLACEHOLDER
        or not is_entity(document.answer)
    ):
        raise ValueError(f"its answer {document.answer!r} must be an entity of its context")
    return document


@cache
def _gum(split: str) -> tuple[Document, ...]:
    instead = "use dataset='stories', which needs no data, or dataset='file:PATH' with a JSON object a line"
    lines = files.read_shared("gum_cloze", f"{PARTS[split]}.jsonl.gz", SHA256[split], instead)
    return tuple(map(parse, lines))


@lru_cache(files.RECENT)
def _read(path: Path, written: tuple[int, int]) -> dict[str, tuple[Document, ...]]:
    """A file's splits; `written`, its signature, changes when it does."""
    return files.read_shares(path, "document", parse)


@cache
def _made(split: str) -> tuple[Document, ...]:
    """Stories in which each thing is told of two entities, and one of the two is asked for."""
    generator = np.random.default_rng(SPLITS.index(split))
    return tuple(_tell(generator) for _ in range(COUNTS[split]))


def _tell(generator: np.random.Generator) -> Document:
    told = generator.choice(len(TOLD), SENTENCES, replace=False)
    pairs = [tuple(generator.choice(CAST, 2, replace=False)) for _ in range(SENTENCES)]
    asked, hidden = generator.integers(SENTENCES), generator.integers(2)

    def named(pair: Sequence[int]) -> list[str]:
        return [f"@entity{entity}" for entity in pair]

    context = " ".join(TOLD[i][0].format(*named(pair)) for i, pair in zip(told, pairs, strict=True))
    names = named(pairs[asked])
    answer, names[hidden] = names[hidden], PLACEHOLDER
    question = TOLD[told[asked]][1].format(*names)
    return Document(tuple(context.split()), tuple(question.split()), answer)
