"""Training and scoring of language models: contiguous streams, whose state is carried on."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from agents.agent import device_of
from agents.cores import State, detached
from agents.learn.evaluate import Evaluation, Mode, mean_of, scoring
from agents.learn.loop import BatchResult, Lesson, LoopLearner, Scorer, Task
from agents.learn.sequences import BLOCK, Characters, make_sequences
from agents.models.char_lm import CharLM, CharLMSettings

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

        def validate(averaged: CharLM) -> dict[str, float]:
            return {"validation_nats": carried(averaged, text, "validation").error}

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
