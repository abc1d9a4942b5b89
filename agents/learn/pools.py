"""Where batches to learn from come from: scenes of the training side, many batches of them drawn at once."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import gymnasium
import numpy as np
import torch
from torch import Tensor

from agents.agent import Agent, device_of
from agents.learn.envs import make_env
from agents.learn.features import known_features
from agents.learn.loop import Task
from agents.learn.swaps import Swaps
from agents.models.captioner import Captioner
from glimpse_env.worlds.trees import TreeWorld
from glimpse_env.wrappers import VectorSupervision, glimpse_env_of

Drawn = TypeVar("Drawn")


class Pool(abc.ABC, Generic[Drawn]):
    """Scenes of the training side, AT_ONCE batches of them drawn together.

    env: a supervised vector env of as many rows.
    """

    AT_ONCE: ClassVar[int]

    def __init__(self, agent: Agent, task: Task, env: Any) -> None:
        self.size, self.device, self.env = task.loop.batch_size, device_of(agent), env
        self.batches: Iterator[Drawn] = iter(())

    def batch(self, seeds: list[int] | None) -> Drawn:
        """The next batch; with seeds, the first of scenes that they draw."""
        if seeds is not None:
            first = seeds[0] * self.AT_ONCE
            self.batches = self._draw(list(range(first, first + self.AT_ONCE * self.size)))
        drawn = next(self.batches, None)
        if drawn is None:
            self.batches = self._draw(None)
            drawn = next(self.batches)
        return drawn

    @abc.abstractmethod
    def _draw(self, seeds: list[int] | None) -> Iterator[Drawn]:
        """AT_ONCE batches of scenes, in an order drawn by chance."""


class Taught(NamedTuple):
    """Texts int64 (B, N), 0 beyond their ends, and what is to be said to each, (B, L), -1 beyond its end.

    parts: of sentences that are parsed, each word's part of speech, (B, N), -1 beyond its end; else None.
    """

    canvas: Tensor
    target: Tensor
    parts: Tensor | None = None


class Texts(Pool[Taught]):
    """Texts, sorted by length so that a batch has little padding.

    swapped: the share of sentences to parse in which a constituent is exchanged (`swaps.Swaps`).
    """

    AT_ONCE = 32

    def __init__(self, agent: Agent, task: Task, swapped: float = 0.0) -> None:
        rows = self.AT_ONCE * task.loop.batch_size
        super().__init__(agent, task, make_env(agent, task.env_id, rows, **{**task.env, "split": "train"}))
        world = glimpse_env_of(self.env).world
        self.swapped = swapped
        self.swaps = Swaps(world) if swapped and isinstance(world, TreeWorld) else None

    def _draw(self, seeds: list[int] | None) -> Iterator[Taught]:
        observation, _ = self.env.reset(seed=seeds)
        inner = glimpse_env_of(self.env)
        texts, symbols = observation["canvas"].copy(), observation["target"].copy()
        parts = inner.world.parts[inner.items] if isinstance(inner.world, TreeWorld) else None
        if self.swaps is not None and parts is not None:
            generator = np.random.default_rng(int(torch.randint(2**62, ())))
            for row in np.flatnonzero(generator.random(len(texts)) < self.swapped):
                self.swaps.swap(int(inner.items[row]), texts[row], symbols[row], parts[row], generator)
        canvas, target = torch.from_numpy(texts), torch.from_numpy(symbols)
        read, said = (canvas > 0).sum(1), (target >= 0).sum(1)
        order = torch.from_numpy(np.lexsort((said.numpy(), read.numpy())))
        for i in torch.randperm(self.AT_ONCE).tolist():
            rows = order[i * self.size : (i + 1) * self.size]
            longest = max(int(read[rows].max()), 1)
            yield Taught(
                canvas[rows, :longest].to(self.device),
                target[rows, : int(said[rows].max())].to(self.device),
                None if parts is None else torch.from_numpy(parts[rows, :longest]).long().to(self.device),
            )


class Shown(NamedTuple):
    """Pictures (B, C, H, W), or their features (B, F), the captions of each that teach and all right ones.

    target: int64 (B K, L), K of each picture, -1 beyond their ends. ways: a list of all of them for every
    picture, each of words.
    """

    canvas: Tensor
    target: Tensor
    ways: list[list[list[int]]]


class Pictures(Pool[Shown]):
    """Pictures and captions; where the eye does not learn, sorted by the length of their captions."""

    AT_ONCE = 4

    def __init__(self, model: Captioner, task: Task, captions: int = 1) -> None:
        self.captions, self.features = captions, known_features(model, task, "train")
        keywords, rows = {**task.env, "split": "train"}, self.AT_ONCE * task.loop.batch_size
        if self.features is None:
            env = make_env(model, task.env_id, rows, **keywords)
        else:  # the canvas is not looked at
            env = VectorSupervision(gymnasium.make_vec(task.env_id, rows, "vector_entry_point", **keywords))
        super().__init__(model, task, env)

    def _draw(self, seeds: list[int] | None) -> Iterator[Shown]:
        observation, _ = self.env.reset(seed=seeds)
        inner = glimpse_env_of(self.env)
        target = torch.from_numpy(observation["target"])[:, None]
        if self.captions > 1:
            target = some_of(torch.from_numpy(inner.ways), self.captions)
        length = (target >= 0).sum(2).amax(1)
        # Sentences of one length may be about like pictures, as those of digits are: batches sorted by it are
        # unlike the whole, which the CNN's batch normalisation is to keep.
        order = torch.arange(len(length)) if self.features is None else length.argsort()
        shown, ways = inner.items, inner.ways.tolist()
        for i in torch.randperm(self.AT_ONCE).tolist():
            rows = order[i * self.size : (i + 1) * self.size]
            if self.features is None:
                seen = torch.from_numpy(observation["canvas"])[rows]
            else:
                seen = torch.from_numpy(self.features[shown[rows.numpy()]]).float()
            right = [
                [[word for word in way if 0 <= word < inner.task.end] for way in ways[row] if way[0] >= 0]
                for row in rows.tolist()
            ]
            said = target[rows, :, : int(length[rows].max())].flatten(0, 1)
            yield Shown(seen.to(self.device), said.to(self.device), right)


def some_of(ways: Tensor, count: int) -> Tensor:
    """`count` of the captions of each picture in an order drawn by chance, again and again if it has fewer.

    ways: int64 (B, R, L); captions that begin with -1 are none, and each picture has one or more.
    """
    there = ways[:, :, 0] >= 0
    order = torch.where(there, torch.rand(there.shape), -1).argsort(1, descending=True)
    chosen = order.gather(1, torch.arange(count)[None] % there.sum(1, keepdim=True))
    return ways[torch.arange(len(ways))[:, None], chosen]
