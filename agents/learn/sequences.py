"""Sequences without an environment: what is to be remembered, drawn batch by batch, and frozen for scoring.

adding      two numbers of a row of them are marked: their sum is asked at the end (Hochreiter 1997)
copying     ten symbols are shown, then `length` blanks: then the ten are asked, in their order
rows        MNIST, a row of 28 pixels a step: its class is asked at the end
pixels      the same, a pixel a step (Le et al. 2015)
permuted    the same, the pixels in one order that was drawn once
columns     MNIST: columns of a digit, as many as have ink: when it ends is asked
lines       a text's lines: when they end is asked
sketch      MNIST: the next row of a digit is asked at every step
characters  a text: the next character is asked at every step
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.agent import SequenceSpec
from glimpse_env import checks
from glimpse_env.data import images, texts
from glimpse_env.data.files import DatasetError
from glimpse_env.random import SPLITS

FROZEN = {"train": 0, "validation": 1000, "test": 10_000}  # sequences of a split where they are drawn
BLOCK = 1000  # frozen sequences are drawn, and scored, so many at a time
MOST_STEPS = 100_000


class Batch(NamedTuple):
    """B sequences of T steps, of which the last S are asked.

    inputs: float32 (T, B, inputs), or int64 (T, B) symbols. target: float32 (S, B) numbers, or int64 (S, B).
    """

    inputs: Tensor
    target: Tensor


class Sequences(abc.ABC):
    """Where sequences come from. metric: what a model is scored by, lower being better."""

    metric: ClassVar[str]
    spec: SequenceSpec

    @abc.abstractmethod
    def draw(self, generator: np.random.Generator, count: int) -> Batch:
        """Sequences to train on."""

    @abc.abstractmethod
    def frozen(self, split: str) -> int:
        """How many frozen sequences a split has."""

    @abc.abstractmethod
    def block(self, split: str, number: int) -> Batch:
        """Frozen sequences `number` · BLOCK and those that follow, at most BLOCK of them."""

    def blocks(self, split: str) -> Iterator[Any]:
        """All frozen sequences of a split; ValueError if it has none."""
        count = self.frozen(split)
        if count == 0:
            raise ValueError(f"the {split} split has no frozen sequences: name another split")
        return (self.block(split, number) for number in range(math.ceil(count / BLOCK)))


class Drawn(Sequences):
    """Sequences that are drawn, the frozen ones from seeds of their own."""

    def frozen(self, split: str) -> int:
        """See `Sequences.frozen`."""
        return FROZEN[split]

    def block(self, split: str, number: int) -> Batch:
        """See `Sequences.block`."""
        return self.draw(np.random.default_rng([SPLITS.index(split), number]), BLOCK)


class Adding(Drawn):
    """x_t is a number in [0, 1) and a mark; one mark in each half: the sum of the two marked numbers.

    The mean squared error of saying 1 always is 1/6 = 0.1667. length: at least 2.
    """

    metric = "squared_error"

    def __init__(self, length: int = 100) -> None:
        checks.integer("length", length, 2, MOST_STEPS)
        self.spec = SequenceSpec(2, 1, length)

    def draw(self, generator: np.random.Generator, count: int) -> Batch:
        """See `Sequences.draw`."""
        length, rows = self.spec.length, np.arange(count)
        x = np.zeros((length, count, 2), np.float32)
        x[..., 0] = generator.random((length, count), np.float32)
        first = generator.integers(0, length // 2, count)
        second = generator.integers(length // 2, length, count)
        x[first, rows, 1] = x[second, rows, 1] = 1
        total = x[first, rows, 0] + x[second, rows, 0]
        return Batch(torch.from_numpy(x), torch.from_numpy(total[None]))


class Copying(Drawn):
    """Ten symbols of eight, `length` - 1 blanks, a sign, ten blanks; then the ten (Arjovsky et al. 2016).

    Blanks are asked at all steps before. The cross-entropy, the mean over all steps, of who knows when to
    speak and nothing else is 10 ln 8 / (length + 20) nats. length: at least 1.
    """

    metric = "cross_entropy"
    SYMBOLS, COPIED = 8, 10
    BLANK, SIGN = 8, 9

    def __init__(self, length: int = 100) -> None:
        checks.integer("length", length, 1, MOST_STEPS)
        self.spec = SequenceSpec(self.SIGN + 1, self.BLANK + 1, length + 2 * self.COPIED, symbols=True)

    def draw(self, generator: np.random.Generator, count: int) -> Batch:
        """See `Sequences.draw`."""
        shown = generator.integers(0, self.SYMBOLS, (self.COPIED, count))
        x = np.full((self.spec.length, count), self.BLANK)
        target = x.copy()
        x[: self.COPIED], target[-self.COPIED :] = shown, shown
        x[-self.COPIED - 1] = self.SIGN
        return Batch(torch.from_numpy(x), torch.from_numpy(target))


class Digits(Sequences):
    """MNIST's digits read in a fixed order; the class is asked after the last step."""

    metric = "test_error"
    PERMUTATION = 92_916  # the seed of the one permutation

    def __init__(self, order: str, dataset: str = "mnist") -> None:
        self.dataset = dataset
        shape = images.load(dataset, "train").images.shape[1:]
        if shape != (1, 28, 28):
            raise ValueError(f"sequences of pixels are of grey images of 28x28, got {shape} of {dataset!r}")
        wide = 28 if order == "rows" else 1
        self.spec = SequenceSpec(wide, len(images.load(dataset, "train").names), 784 // wide)
        self.order = np.arange(784)
        if order == "permuted":
            self.order = np.random.default_rng(self.PERMUTATION).permutation(784)

    def draw(self, generator: np.random.Generator, count: int) -> Batch:
        """See `Sequences.draw`."""
        of = images.load(self.dataset, "train")
        return self._batch(of, generator.integers(0, len(of.labels), count))

    def frozen(self, split: str) -> int:
        """See `Sequences.frozen`."""
        return len(images.load(self.dataset, split).labels)

    def block(self, split: str, number: int) -> Batch:
        """See `Sequences.block`."""
        first = number * BLOCK
        index = np.arange(first, min(first + BLOCK, self.frozen(split)))
        return self._batch(images.load(self.dataset, split), index)

    def _batch(self, of: images.Images, index: np.ndarray[Any, Any]) -> Batch:
        pixels = of.images[index].reshape(len(index), 784)[:, self.order].astype(np.float32) / 255
        steps = pixels.reshape(len(index), self.spec.length, self.spec.inputs).transpose(1, 0, 2)
        return Batch(torch.from_numpy(np.ascontiguousarray(steps)), torch.from_numpy(of.labels[index][None]))


class Sketch(Sequences):
    """A digit drawn row by row: after each row of 28 pixels, 0 or 1, the next is asked, from the first on.

    A pixel is 1 where it is brighter than a half.
    """

    metric = "nats"
    SIDE = 28

    def __init__(self, dataset: str = "mnist") -> None:
        self.rows = Digits("rows", dataset)
        self.spec = SequenceSpec(self.SIDE, self.SIDE, self.SIDE)

    def draw(self, generator: np.random.Generator, count: int) -> Batch:
        """See `Sequences.draw`."""
        return self.asked(self.rows.draw(generator, count))

    def frozen(self, split: str) -> int:
        """See `Sequences.frozen`."""
        return self.rows.frozen(split)

    def block(self, split: str, number: int) -> Batch:
        """See `Sequences.block`."""
        return self.asked(self.rows.block(split, number))

    def asked(self, digits: Batch) -> Batch:
        """Rows (28, B, 28) as what is asked, each after the one before it; the first follows an empty row."""
        target = (digits.inputs > 0.5).float()
        return Batch(torch.cat([torch.zeros_like(target[:1]), target[:-1]]), target)


class Characters(Sequences):
    """A text, character by character. length: how many steps errors are carried back, in training.

    The alphabet is that of the training part; DatasetError for a character of another part that is not in it,
    and for a text that is too short.
    """

    metric = "nats"
    WINDOW = 256  # characters, as in nanoGPT

    def __init__(self, dataset: str = "python-docs", length: int = 64) -> None:
        checks.integer("length", length, 1, MOST_STEPS)
        self.dataset, self.length = dataset, length
        alphabet = "".join(sorted(set(texts.load(dataset, "train"))))
        self.spec = SequenceSpec(len(alphabet), len(alphabet), length, symbols=True, alphabet=alphabet)
        self.text: dict[str, Tensor] = {}  # the parts as symbols, int64 (N,)
        for split in SPLITS:
            part, whose = texts.load(dataset, split), f"the {split} part of {dataset}"
            least = 2 * self.WINDOW if split == "test" else length
            if len(part) <= least:
                raise DatasetError(
                    f"{whose} has {len(part)} characters, and more than {least} are needed: "
                    "name a longer text."
                )
            self.text[split] = encode(part, alphabet, whose)

    def draw(self, generator: np.random.Generator, count: int) -> Batch:
        """Stretches of `length` steps from anywhere, each beginning anew; streams are `streams`."""
        text = self.text["train"]
        first = torch.from_numpy(generator.integers(0, len(text) - self.length, count))
        cut = text[torch.arange(self.length + 1)[:, None] + first]
        return Batch(cut[:-1], cut[1:])

    def streams(self, generator: np.random.Generator, count: int) -> Tensor:
        """The training text from a random place on, around its end, as `count` columns (N, count)."""
        text = self.text["train"]
        if len(text) < count * (self.length + 1):
            raise DatasetError(
                f"{self.dataset} has {len(text)} characters to train on, too few for {count} streams of "
                f"{self.length + 1}: lower batch_size, or name a longer text."
            )
        text = text.roll(-int(generator.integers(0, len(text))))
        return text[: len(text) // count * count].view(count, -1).t()

    def frozen(self, split: str) -> int:
        """How many windows of WINDOW characters a split has; what is left over at its end is not counted."""
        return (len(self.text[split]) - 1) // self.WINDOW

    def block(self, split: str, number: int) -> Batch:
        """See `Sequences.block`; windows beside each other, each beginning anew."""
        text = self.text[split][number * BLOCK * self.WINDOW :]
        count = min(BLOCK, (len(text) - 1) // self.WINDOW)
        most = count * self.WINDOW
        return Batch(text[:most].view(count, -1).t(), text[1 : most + 1].view(count, -1).t())


class Ended(NamedTuple):
    """B sequences of different lengths: steps (T, B) symbols or (T, B, inputs) pixels, length (B,) ≤ T.

    What lies beyond a sequence's end is zero.
    """

    steps: Tensor
    length: Tensor


class Ending(Sequences):
    """Sequences of which it is asked when they end. shown: how many steps are shown before that."""

    metric = "steps"
    shown: ClassVar[int]

    def __init__(self) -> None:
        self.parts = {split: self.read(split) for split in SPLITS}

    @abc.abstractmethod
    def read(self, split: str) -> Ended:
        """All sequences of a split that are longer than what is shown."""

    def ended(self, split: str, index: Tensor) -> Ended:
        """Some sequences of a split."""
        part = self.parts[split]
        return Ended(part.steps[:, index], part.length[index])

    def draw(self, generator: np.random.Generator, count: int) -> Any:
        """Sequences to train on, `Ended`."""
        return self.ended("train", torch.from_numpy(generator.integers(0, self.frozen("train"), count)))

    def frozen(self, split: str) -> int:
        """See `Sequences.frozen`."""
        return len(self.parts[split].length)

    def block(self, split: str, number: int) -> Any:
        """Frozen sequences, `Ended`."""
        return self.ended(split, torch.arange(number * BLOCK, min((number + 1) * BLOCK, self.frozen(split))))

    def first(self, split: str, count: int) -> Ended:
        """The first frozen sequences of a split."""
        return self.ended(split, torch.arange(min(count, self.frozen(split))))


class Columns(Ending):
    """A digit column by column, from its first to its last that has ink: 28 pixels, 0 or 1, a step."""

    shown = 4

    def __init__(self, dataset: str = "mnist") -> None:
        self.dataset = dataset
        super().__init__()
        self.spec = SequenceSpec(28, 28, 28)

    def read(self, split: str) -> Ended:
        """See `Ending.read`."""
        pixels = images.load(self.dataset, split).images
        if pixels.shape[1:] != (1, 28, 28):
            raise ValueError(
                f"columns are of grey images of 28x28, got {pixels.shape[1:]} of {self.dataset!r}"
            )
        ink: NDArray[np.bool_] = pixels[:, 0] > 127
        column = np.arange(28)
        has: NDArray[np.bool_] = np.logical_or.reduce(ink, axis=1)
        first, last = has.argmax(1), 27 - has[:, ::-1].argmax(1)
        length = np.where(has.any(axis=1), last - first + 1, 0)
        # Shifted to the left edge; what was cut off there is moved beyond the end, where nothing is.
        source = (first[:, None] + column) % 28
        steps = np.take_along_axis(ink, source[:, None], 2) & (column < length[:, None])[:, None]
        keep = length > self.shown
        return Ended(
            torch.from_numpy(steps[keep].transpose(2, 0, 1).astype(np.float32)),
            torch.from_numpy(length[keep]),
        )


class Lines(Ending):
    """A text's lines, character by character, those of up to LONGEST characters."""

    shown = 10
    LONGEST = 64

    def __init__(self, dataset: str = "python-docs") -> None:
        self.text = Characters(dataset)
        super().__init__()
        self.spec = self.text.spec._replace(length=self.LONGEST)

    def read(self, split: str) -> Ended:
        """See `Ending.read`."""
        lines = texts.load(self.text.dataset, split).split("\n")
        kept = [line for line in lines if self.shown < len(line) <= self.LONGEST]
        if not kept:
            raise DatasetError(
                f"the {split} part of {self.text.dataset} has no line of {self.shown + 1} to {self.LONGEST} "
                "characters: name another text."
            )
        whole = encode("".join(kept), self.text.spec.alphabet, "the text")
        steps = torch.zeros(len(kept), self.LONGEST, dtype=torch.long)
        length = torch.tensor([len(line) for line in kept])
        steps[torch.arange(self.LONGEST) < length[:, None]] = whole
        return Ended(steps.t(), length)


def opening(alphabet: str) -> str:
    """What a text begins after: the end of a line, or the first character of an alphabet without lines."""
    return "\n" if "\n" in alphabet else alphabet[0]


def encode(text: str, alphabet: str, whose: str) -> Tensor:
    """A text as symbols, int64 (N,); DatasetError naming the first character that is not in the alphabet."""
    strange = set(text) - set(alphabet)
    if strange:
        raise DatasetError(
            f"{whose} has {min(strange)!r}, which no training text had: leave such characters out."
        )
    # Sorted code points: a symbol is the place of its own.
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    known = np.frombuffer(alphabet.encode("utf-32-le"), np.uint32)
    return torch.from_numpy(np.searchsorted(known, codes))


SEQUENCES: dict[str, tuple[Callable[..., Sequences], tuple[str, ...]]] = {
    "adding": (Adding, ("length",)),
    "copying": (Copying, ("length",)),
    "rows": (lambda **keywords: Digits("rows", **keywords), ("dataset",)),
    "pixels": (lambda **keywords: Digits("pixels", **keywords), ("dataset",)),
    "permuted": (lambda **keywords: Digits("permuted", **keywords), ("dataset",)),
    "sketch": (Sketch, ("dataset",)),
    "columns": (Columns, ("dataset",)),
    "lines": (Lines, ("dataset",)),
    "characters": (Characters, ("dataset", "length")),
}


def make_sequences(name: str, keywords: Mapping[str, Any]) -> Sequences:
    """The sequences of that name.

    Raises ValueError for an unknown name or keyword, DatasetError for missing data.
    """
    if name not in SEQUENCES:
        raise ValueError(f"there are no sequences {name!r}{checks.did_you_mean(name, SEQUENCES)}")
    make, known = SEQUENCES[name]
    checks.keywords(keywords, known, f"sequences {name!r}")
    return make(**keywords)
