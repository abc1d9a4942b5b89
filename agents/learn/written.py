"""What a language model writes when nobody corrects it, judged by something that is no network.

Texts are judged by a model of character n-grams, digits by their nearest neighbour in the training set.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from agents.agent import device_of
from agents.cores import State
from agents.learn.evaluate import Evaluation, mean_of, score, scoring
from agents.learn.sequences import BLOCK, Characters, Sketch, encode, opening
from agents.models.char_lm import CharLM
from glimpse_env.data import images

ORDER = 6  # characters that an n-gram has
TEXTS, LENGTH = 100, 400  # texts that a model writes, and characters of each
COMPLETED = 2000  # digits whose lower half is drawn


class NGrams:
    """Character n-grams, interpolated with shorter ones as Witten and Bell (1991) do.

    p(c | h) = (n(h, c) + d(h) p(c | h without its first)) / (n(h) + d(h)), n being counts and d(h) how many
    different characters follow h; below the shortest, all `symbols` are alike.
    """

    def __init__(self, text: str, symbols: int, order: int = ORDER) -> None:
        self.order, self.symbols = order, symbols
        self.count: Counter[str] = Counter()
        self.follow: Counter[str] = Counter()  # n(h): how often a history has a character after it
        self.different: Counter[str] = Counter()
        for n in range(1, order + 1):
            grams = Counter(text[i : i + n] for i in range(len(text) - n + 1))
            self.count += grams
            for gram, times in grams.items():
                self.follow[gram[:-1]] += times
                self.different[gram[:-1]] += 1

    def probability(self, history: str, character: str) -> float:
        """p(character | history), of whose end as much is used as the order allows."""
        p = 1 / self.symbols
        history = history[-(self.order - 1) :] if self.order > 1 else ""
        for n in range(len(history) + 1):
            h = history[len(history) - n :]
            if h not in self.follow:
                break
            d = self.different[h]
            p = (self.count[h + character] + d * p) / (self.follow[h] + d)
        return p

    def nats(self, text: str) -> float:
        """The mean of -log p over the characters of a text."""
        most = self.order - 1
        return -sum(
            math.log(self.probability(text[max(0, i - most) : i], c)) for i, c in enumerate(text)
        ) / len(text)


def held_out_n_grams(text: Characters) -> NGrams:
    """N-grams of what no model was trained on: the validation and the test part of a text."""
    alphabet = text.spec.alphabet
    symbols = torch.cat([text.text["validation"], text.text["test"]]).tolist()
    return NGrams("".join(alphabet[symbol] for symbol in symbols), len(alphabet))


def nats_of_own_text(model: CharLM, text: Characters) -> Evaluation:
    """Nats a character, under n-grams of the held-out parts, of TEXTS texts that the model writes.

    They begin after a line's end. `nats_of_training_text` says what real text has: a model that
    writes as people do is as surprising, neither more nor less.
    """
    judge, alphabet = held_out_n_grams(text), model.spec.alphabet
    symbols = encode(opening(alphabet), alphabet, "the opening").repeat(TEXTS).to(device_of(model))
    state: State = None
    written = []
    with scoring(model, 0):
        for _ in range(LENGTH):
            scores, state = model(symbols[None], state)
            symbols = model.draw(scores[0])
            written.append(symbols.cpu())
    texts = ["".join(alphabet[int(s)] for s in column) for column in torch.stack(written).t()]
    return mean_of(torch.tensor([judge.nats(one) for one in texts]))


def nats_of_training_text(text: Characters) -> Evaluation:
    """The same of stretches of the training text, for comparison."""
    judge, alphabet, symbols = held_out_n_grams(text), text.spec.alphabet, text.text["train"]
    first = np.random.default_rng(0).integers(0, len(symbols) - LENGTH, TEXTS)
    texts = ["".join(alphabet[int(s)] for s in symbols[i : i + LENGTH]) for i in first]
    return mean_of(torch.tensor([judge.nats(one) for one in texts]))


def error_of_completed(model: CharLM, sketch: Sketch, split: str) -> Evaluation:
    """How many of COMPLETED digits, whose lower half the model draws, their nearest neighbour misnames.

    The neighbour is the training digit with the fewest different pixels.
    """
    with scoring(model, 0):
        return _misnamed(sketch, split, lambda rows: complete(model, rows))


def error_of_true_digits(sketch: Sketch, split: str) -> Evaluation:
    """The same of the digits as they are, for comparison."""
    return _misnamed(sketch, split, lambda rows: rows)


def _misnamed(sketch: Sketch, split: str, shown: Callable[[Tensor], Tensor]) -> Evaluation:
    """The error of the nearest neighbour on what `shown` makes of the rows (28, B, 28) of true digits."""
    right = []
    for number in range(math.ceil(min(COMPLETED, sketch.frozen(split)) / BLOCK)):
        digits = sketch.rows.block(split, number)
        whole = shown(sketch.asked(digits).target)
        right.append(nearest_class(whole, sketch.rows.dataset) == digits.target[0])
    return score(torch.cat(right)[:COMPLETED])


def complete(model: CharLM, rows: Tensor) -> Tensor:
    """Rows (T, B, n) with the second half drawn by the model, a row after the other; see `scoring`."""
    half = len(rows) // 2
    drawn = list(rows[:half])
    seen = torch.cat([torch.zeros_like(rows[:1]), rows[:half]]).to(device_of(model))
    scores, state = model(seen)
    while len(drawn) < len(rows):
        row = model.draw(scores[-1])
        drawn.append(row.cpu())
        scores, state = model(row[None], state)
    return torch.stack(drawn)


def nearest_class(rows: Tensor, dataset: str) -> Tensor:
    """The class of the training digit that differs in the fewest pixels: rows (28, B, 28) -> (B,)."""
    of = images.load(dataset, "train")
    known = torch.from_numpy((of.images.reshape(len(of.images), -1) > 127).astype(np.float32))
    asked = rows.transpose(0, 1).flatten(1)
    # The number of different pixels of two pictures of 0 and 1, but for what the asked one has alone.
    different = known.sum(1) - 2 * asked @ known.t()
    return torch.tensor(of.labels)[different.argmin(1)]
