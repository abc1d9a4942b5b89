"""Training of DRAW to draw: the variational bound on pictures of an environment's scenes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from agents.draw import DRAW
from agents.evaluate import BATCH, Evaluation
from agents.runs import Run
from agents.training import BatchResult, Training, check_positive, train
from glimpse_env.vector import GlimpseVectorEnv

BINARY_SEED = 20_150_216  # of the pixels of validation and test pictures: the day DRAW appeared


@dataclasses.dataclass(frozen=True)
class Generative(Training):
    """An experiment of DRAW on the canvases of env_id.

    steps, hidden, latent, read, write, attention, brightness: see DRAW. binary: whether each pixel is 0 or 1,
    drawn with its brightness as probability, anew for each training picture and once for each test picture:
    then the loss bounds -log p(x). Otherwise brightness is what a Bernoulli pixel should be on average, as in
    the paper's colour pictures, and the loss bounds nothing.
    """

    steps: int = 64
    hidden: int = 256
    latent: int = 100
    read: int = 2
    write: int = 5
    attention: bool = True
    binary: bool = True
    brightness: float = 0.13

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        super().__post_init__()
        check_positive(self, "steps", "hidden", "latent", "read", "write")
        if self.curriculum:
            raise ValueError(f"DRAW draws whole scenes: curriculum must be 0, got {self.curriculum}")
        if not 0 < self.brightness < 1:
            raise ValueError(f"brightness must be between 0 and 1, got {self.brightness}")


def train_draw(
    run: Run, settings: Generative, model: DRAW, *, quiet: bool = False
) -> Iterator[dict[str, Any]]:
    """Train `model` on the bound and yield each epoch's metrics; what is validated is the bound, in nats."""
    env = make_scenes(settings, "train", settings.batch_size)

    def batch(seeds: list[int] | None, progress: float) -> BatchResult:
        env.reset(seed=seeds)
        x = pictures(env, settings.binary)
        reconstruction, latent = model(x)
        loss = (reconstruction + latent).mean()
        return BatchResult(loss, {"reconstruction": reconstruction.mean(), "latent": latent.mean()})

    def validate(averaged: DRAW) -> dict[str, float]:
        return {"validation_nats": bound(averaged, settings, "validation").error}

    yield from train(run, settings, model, batch, validate, quiet=quiet)
    env.close()


def make_scenes(settings: Generative, split: str, num_envs: int) -> GlimpseVectorEnv:
    """The environment whose canvases are drawn."""
    keywords: dict[str, Any] = {**settings.env, "split": split}
    return gymnasium.make_vec(settings.env_id, num_envs, "vector_entry_point", **keywords)  # type: ignore[return-value]


def pictures(env: GlimpseVectorEnv, binary: bool, generator: torch.Generator | None = None) -> Tensor:
    """The present canvases (B, C, H, W) in [0, 1], or 0 and 1 at random."""
    x = torch.from_numpy(env.unwrapped.present_scenes().canvas).float() / 255
    return torch.bernoulli(x, generator=generator) if binary else x


def binary_generator(first: int, shape: tuple[int, int, int]) -> torch.Generator:
    """What draws the pixels of frozen pictures (C, H, W) from number `first` on: the same in any batches."""
    generator = torch.Generator().manual_seed(BINARY_SEED)
    torch.bernoulli(torch.zeros(first, *shape), generator=generator)  # what the pictures before it take
    return generator


@torch.no_grad()
def bound(model: DRAW, settings: Generative, split: str) -> Evaluation:
    """The mean bound over the frozen pictures of `split`, in nats, one draw of z each, with its interval."""
    env = make_scenes(settings, split, BATCH)
    generator = binary_generator(0, model.shape)
    scenes = env.unwrapped.num_scenes
    nats = []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for first in range(0, scenes, BATCH):
            index = np.minimum(np.arange(first, first + BATCH), scenes - 1)
            env.reset(options={"index": index})
            nats.append(sum(model(pictures(env, settings.binary, generator))))
    env.close()
    each = torch.cat(nats)[:scenes]  # type: ignore[arg-type]
    mean, half = each.mean().item(), 1.96 * each.std().item() / math.sqrt(scenes)
    return Evaluation(mean, (mean - half, mean + half), scenes)
