"""Training and scoring of language models: what comes next, in a text or in the rows of a digit."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from agents import checks
from agents.agent import device_of
from agents.cores import State, detached
from agents.learn import forcing, written
from agents.learn.evaluate import Evaluation, Mode, mean_of, scoring
from agents.learn.loop import BatchResult, Lesson, LoopLearner, Scorer, Task
from agents.learn.sequences import Characters, Sketch, encode, make_sequences, opening
from agents.models.char_lm import CharLM, CharLMSettings

SAMPLE = 300  # characters that are written after every epoch, to be read
CHUNK = 4096  # characters that are scored at a time; the state is carried over

Forcing = Literal["teacher", "scheduled", "professor"]


@dataclasses.dataclass(frozen=True)
class NextStep(LoopLearner, Scorer):
    """The surprise of the next character, or of the next row of a digit.

    Of a text, a batch's rows are contiguous streams: the state is carried from each stretch of the text to
    the next, and its gradient is not. An epoch begins at a random place with no state.
    """

    TEACHES: ClassVar[tuple[type, ...]] = (CharLMSettings,)
    SEQUENCES: ClassVar[tuple[str, ...]] = ("characters", "sketch")

    forcing: Forcing = "teacher"
    """What the model is fed: the truth, now and then its own draws, or both beside each other
    (learn/forcing.py)."""
    sampled: float = 0.0
    """The share of steps that are the model's own draws at the end of training, risen from 0 in a straight
    line; for scheduled sampling."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range, an unknown name and a share of what is not sampled."""
        checks.one_of(self, "forcing", Forcing)
        if not 0 <= self.sampled <= 1:
            raise ValueError(f"sampled must be between 0 and 1, got {self.sampled}")
        if (self.sampled > 0) != (self.forcing == "scheduled"):
            raise ValueError("sampled above 0 goes with forcing='scheduled': set both or neither")

    def check(self, model: object) -> None:
        """Raise ValueError for professor forcing without a discriminator, and for one without it."""
        assert isinstance(model, CharLMSettings)
        dropout = model.input_dropout + model.output_dropout + model.weight_dropout
        if self.forcing != "teacher" and dropout > 0:
            raise ValueError(
                "dropout is the same at all steps of a batch, and free running takes them one by one: set "
                "input_dropout, output_dropout and weight_dropout to 0, or forcing to 'teacher'"
            )
        if (model.discriminator > 0) != (self.forcing == "professor"):
            raise ValueError("discriminator above 0 goes with forcing='professor': set both or neither")

    def lesson(self, model: CharLM, task: Task) -> Lesson[CharLM]:
        """Train on the text, or on digits; what is validated is nats a character, or a digit."""
        sequences = steps_of(task)
        feed = Streams(sequences) if isinstance(sequences, Characters) else Drawings(sequences)

        def batch(seeds: list[int] | None, progress: float) -> BatchResult:
            steps, target, state = feed.batch(seeds, task.loop.batch_size)
            given = (steps.to(device_of(model)), target.to(device_of(model)), state)
            if self.forcing == "scheduled":
                forced = forcing.scheduled(model, *given, share=self.sampled * progress)
            elif self.forcing == "professor":
                forced = forcing.professor(model, *given)
            else:
                forced = forcing.teacher(model, *given)
            feed.state = detached(forced.state)
            return BatchResult(forced.nats.mean() + forced.more, forced.figures)

        def validate(averaged: CharLM) -> dict[str, Any]:
            if not isinstance(sequences, Characters):
                return {"validation_nats": a_sequence(averaged, sequences, "validation").error}
            nats = carried(averaged, sequences, "validation").error
            with scoring(averaged, 0):
                said = "".join(itertools.islice(write(averaged, opening(averaged.spec.alphabet)), SAMPLE))
            return {"validation_nats": nats, "sample": said}

        return Lesson(batch, validate, lambda: None, "sequences")

    def figures(self, model: CharLM, task: Task, split: str) -> dict[Mode, Evaluation]:
        """Nats a character, the state carried and in windows, and those of its own text (learn/written.py).

        Of digits, nats a digit, and the error of digits that it completes. ValueError for another alphabet.
        """
        sequences = steps_for(model, task)
        if isinstance(sequences, Characters):
            return {
                "carried": carried(model, sequences, split),
                "windows": in_windows(model, sequences, split),
                "written": written.nats_of_own_text(model, sequences),
            }
        return {
            "deterministic": a_sequence(model, sequences, split),
            "completed": written.error_of_completed(model, sequences, split),
        }

    def yardstick(self, task: Task, split: str) -> tuple[Mode, Evaluation]:
        """What the last figure would be of real text, or of real digits."""
        sequences = steps_of(task)
        if isinstance(sequences, Characters):
            return "written", written.nats_of_training_text(sequences)
        return "completed", written.error_of_true_digits(sequences, split)

    def metric(self, task: Task, mode: Mode) -> str:
        """Nats, but of what is completed an error in percent."""
        return "test_error" if mode == "completed" else "nats"


class Streams:
    """A text as contiguous streams, one a row: `batch` gives the next stretch of each."""

    def __init__(self, text: Characters) -> None:
        self.text, self.place = text, 0
        self.streams = torch.zeros(0, dtype=torch.long)
        self.generator = np.random.default_rng()
        self.state: State = None

    def batch(self, seeds: list[int] | None, count: int) -> tuple[Tensor, Tensor, State]:
        """Steps (T, B), what follows each, and the core's state; with seeds, from a new place."""
        if seeds is not None or self.place + self.text.length >= len(self.streams):
            if seeds is not None:
                self.generator = np.random.default_rng(seeds[0])
            self.streams, self.place, self.state = self.text.streams(self.generator, count), 0, None
        cut = self.streams[self.place : self.place + self.text.length + 1]
        self.place += self.text.length
        return cut[:-1], cut[1:], self.state


class Drawings:
    """Sequences that are drawn, each from no state."""

    def __init__(self, sequences: Sketch) -> None:
        self.sequences = sequences
        self.generator = np.random.default_rng()
        self.state: State = None

    def batch(self, seeds: list[int] | None, count: int) -> tuple[Tensor, Tensor, State]:
        """Steps (T, B, n), what follows each, and no state."""
        if seeds is not None:
            self.generator = np.random.default_rng(seeds[0])
        return *self.sequences.draw(self.generator, count), None


def steps_for(model: CharLM, task: Task) -> Characters | Sketch:
    """The text or the digits that a task names; ValueError if the model was made for another alphabet."""
    made = steps_of(task)
    if made.spec.alphabet != model.spec.alphabet:
        raise ValueError(
            f"the model knows {len(model.spec.alphabet)} characters, and this text has another alphabet: "
            "score it on the text that it was trained on, or train it anew"
        )
    return made


def steps_of(task: Task) -> Characters | Sketch:
    """The text or the digits that a task names; ValueError for other sequences."""
    made = make_sequences(task.env_id, task.env)
    if not isinstance(made, Characters | Sketch):
        raise ValueError(f"a language model reads 'characters' or 'sketch', got {task.env_id!r}")
    return made


def a_sequence(model: CharLM, sketch: Sketch, split: str) -> Evaluation:
    """Nats a whole sequence, of all frozen ones of a split."""
    each = []
    with scoring(model, 0):
        for steps, target in sketch.blocks(split):
            scores, _ = model(steps.to(device_of(model)))
            each.append(model.surprise(scores, target.to(scores.device)).sum(0).cpu())
    return mean_of(torch.cat(each))


def carried(model: CharLM, text: Characters, split: str) -> Evaluation:
    """Nats a character over the whole part of a text, the state carried from its first character on.

    The interval takes stretches of a window's length for independent.
    """
    symbols = text.text[split].to(device_of(model))
    state: State = None
    each = []
    with scoring(model, 0):
        for first in range(0, len(symbols) - 1, CHUNK):
            cut = symbols[first : first + CHUNK + 1]
            scores, state = model(cut[:-1, None], state)
            each.append(model.surprise(scores, cut[1:, None])[:, 0].cpu())
    nats = torch.cat(each)
    return with_interval_of_blocks(nats, text.WINDOW)


def with_interval_of_blocks(nats: Tensor, size: int) -> Evaluation:
    """The mean of figures (N,), with the interval that means of `size` neighbours give."""
    size = max(1, min(size, len(nats) // 2))
    blocks = nats[: len(nats) // size * size].view(-1, size).mean(1)
    mean, half = nats.mean().item(), 1.96 * blocks.std().item() / math.sqrt(len(blocks))
    return Evaluation(mean, (mean - half, mean + half), len(nats))


def in_windows(model: CharLM, text: Characters, split: str) -> Evaluation:
    """Nats a character in windows of `text.WINDOW`, each from no state, as nanoGPT counts."""
    each = []
    with scoring(model, 0):
        for batch in text.blocks(split):
            scores, _ = model(batch.inputs.to(device_of(model)))
            target = batch.target.to(scores.device)
            each.append(model.surprise(scores, target).mean(0).cpu())
    return mean_of(torch.cat(each))


def write(model: CharLM, prompt: str, temperature: float = 1.0) -> Iterator[str]:
    """Read a prompt, then write on, a character at a time, without end; torch's generator draws.

    temperature: what scores are divided by; at 0 the most probable character is written. Raises DatasetError
    for a character of the prompt that is not in the model's alphabet, ValueError for an empty prompt.
    """
    if not prompt:
        raise ValueError("the prompt is empty: give at least one character")
    if not (temperature >= 0 and math.isfinite(temperature)):
        raise ValueError(f"temperature must be a number of at least 0, got {temperature}")
    alphabet = model.spec.alphabet
    symbols = encode(prompt, alphabet, "the prompt").to(device_of(model))
    state: State = None
    while True:
        with torch.no_grad():
            scores, state = model(symbols[:, None], state)
        symbols = model.draw(scores[-1], temperature)
        yield alphabet[int(symbols)]


def influence(model: CharLM, text: str, projections: int = 16) -> Tensor:
    """How much each character of a text moves the last output of the core: (T,), the largest being 1.

    That is the Frobenius norm of the output's Jacobian by the character's embedding, which the gradients of
    random projections of the output estimate: E[(v · J)²] = ‖J‖², v ~ N(0, 1).
    """
    symbols = encode(text, model.spec.alphabet, "the text").to(device_of(model))
    xs = model.embedding(symbols)[:, None].repeat(1, projections, 1).detach().requires_grad_()
    ys, _ = model.reader(xs, None)
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(projections, ys.shape[-1], generator=generator).to(ys.device)
    (gradient,) = torch.autograd.grad((ys[-1] * v).sum(), xs)
    norm = gradient.square().sum(-1).mean(1).sqrt()
    share: Tensor = norm / norm.max()
    return share
