"""Training and scoring of language models: contiguous streams, whose state is carried on."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from agents.agent import device_of
from agents.cores import State, detached
from agents.learn.evaluate import Evaluation, Mode, mean_of, scoring
from agents.learn.loop import BatchResult, Lesson, LoopLearner, Scorer, Task
from agents.learn.sequences import BLOCK, Characters, encode, make_sequences
from agents.models.char_lm import CharLM, CharLMSettings

SAMPLE = 300  # characters that are written after every epoch, to be read
CHUNK = 4096  # characters that are scored at a time; the state is carried over


@dataclasses.dataclass(frozen=True)
class NextCharacter(LoopLearner, Scorer):
    """The cross-entropy of the next character (teacher forcing).

    A batch's rows are contiguous streams: the state is carried from each stretch of the text to the next, and
    its gradient is not. An epoch begins at a random place with no state.
    """

    TEACHES: ClassVar[tuple[type, ...]] = (CharLMSettings,)

    def lesson(self, model: CharLM, task: Task) -> Lesson[CharLM]:
        """Train on the text; what is validated is nats a character, the state carried."""
        text = characters(task)
        streams, place, state = torch.zeros(0), 0, None

        def batch(seeds: list[int] | None, progress: float) -> BatchResult:
            nonlocal streams, place, state
            if seeds is not None or place + text.length + 1 > len(streams):
                generator = np.random.default_rng(seeds[0] if seeds else place)
                streams, place, state = text.streams(generator, task.loop.batch_size), 0, None
            cut = streams[place : place + text.length + 1].to(device_of(model))
            place += text.length
            scores, after = model(cut[:-1], state)
            state = detached(after)
            return BatchResult(F.cross_entropy(scores.flatten(0, 1), cut[1:].flatten()), {})

        def validate(averaged: CharLM) -> dict[str, Any]:
            nats = carried(averaged, text, "validation").error
            with scoring(averaged, 0):
                said = "".join(itertools.islice(write(averaged, "\n"), SAMPLE))
            return {"validation_nats": nats, "sample": said}

        return Lesson(batch, validate, lambda: None, "stretches")

    def figures(self, model: CharLM, task: Task, split: str) -> dict[Mode, Evaluation]:
        """Nats a character with the state carried, and in windows."""
        text = characters(task)
        return {"carried": carried(model, text, split), "windows": in_windows(model, text, split)}

    def metric(self, task: Task) -> str:
        """The text's own."""
        return Characters.metric


def characters(task: Task) -> Characters:
    """The text that a task names; ValueError for other sequences."""
    made = make_sequences(task.env_id, task.env)
    if not isinstance(made, Characters):
        raise ValueError(f"a language model reads 'characters', got {task.env_id!r}")
    return made


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
            each.append(F.cross_entropy(scores[:, 0], cut[1:], reduction="none").cpu())
    nats = torch.cat(each)
    return with_interval_of_blocks(nats, text.WINDOW)


def with_interval_of_blocks(nats: Tensor, size: int) -> Evaluation:
    """The mean of figures (N,), with the interval that means of `size` neighbours give."""
    size = min(size, len(nats) // 2)
    blocks = nats[: len(nats) // size * size].view(-1, size).mean(1)
    mean, half = nats.mean().item(), 1.96 * blocks.std().item() / math.sqrt(len(blocks))
    return Evaluation(mean, (mean - half, mean + half), len(nats))


def in_windows(model: CharLM, text: Characters, split: str) -> Evaluation:
    """Nats a character in windows of `text.WINDOW`, each from no state, as nanoGPT counts."""
    each = []
    with scoring(model, 0):
        for number in range(math.ceil(text.frozen(split) / BLOCK)):
            batch = text.block(split, number)
            scores, _ = model(batch.inputs.to(device_of(model)))
            target = batch.target.to(scores.device)
            nats = F.cross_entropy(scores.transpose(1, 2), target, reduction="none")
            each.append(nats.mean(0).cpu())
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
        last = scores[-1, 0]
        if temperature == 0:
            symbols = last.argmax()[None]
        else:
            symbols = torch.multinomial((last / temperature).softmax(-1), 1)
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
