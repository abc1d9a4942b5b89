"""Training of DRAW to draw: the variational bound on pictures of an environment's scenes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.agent import device_of
from agents.device import seeded
from agents.learn.envs import frozen_batches
from agents.learn.evaluate import Evaluation, Mode, mean_of
from agents.learn.loop import BatchResult, Lesson, LoopLearner, Scorer, Task
from agents.models.draw import DRAW, DRAWSettings
from glimpse_env.wrappers import VectorWholeCanvas, glimpse_env_of

BATCH = 1000
BINARY_SEED = 20_150_216  # of the pixels of validation and test pictures: the day DRAW appeared


@dataclasses.dataclass(frozen=True)
class Generative(LoopLearner, Scorer):
    """The variational bound on the pictures of an environment."""

    TEACHES: ClassVar[tuple[type, ...]] = (DRAWSettings,)

    binary: bool = True
    """Whether each pixel is 0 or 1, drawn with its brightness as probability, anew for each training picture
    and once for each frozen one: then the loss bounds -log p(x). Otherwise brightness is what a Bernoulli
    pixel should be on average, as in the paper's colour pictures, and the loss bounds nothing."""

    def lesson(self, model: DRAW, task: Task) -> Lesson[DRAW]:
        """Train on the bound; what is validated is the bound, in nats."""
        env = make_scenes(task.env_id, task.env, "train", task.loop.batch_size)

        def batch(seeds: list[int] | None, progress: float) -> BatchResult:
            observation, _ = env.reset(seed=seeds)
            x = pictures(observation["canvas"], self.binary).to(device_of(model))
            reconstruction, latent = model(x)
            loss = (reconstruction + latent).mean()
            return BatchResult(loss, {"reconstruction": reconstruction.mean(), "latent": latent.mean()})

        def validate(averaged: DRAW) -> dict[str, float]:
            return {
                "validation_nats": bound(averaged, task.env_id, task.env, "validation", self.binary).error
            }

        return Lesson(batch, validate, env.close)

    def figures(self, model: DRAW, task: Task, split: str) -> dict[Mode, Evaluation]:
        """The bound, with one draw of z each."""
        return {"sampled": bound(model, task.env_id, task.env, split, self.binary)}

    def metric(self, task: Task, mode: Mode) -> str:
        """The bound, in nats, or a loss that bounds nothing."""
        return "nats" if self.binary else "cross_entropy"


def make_scenes(env_id: str, env: Mapping[str, Any], split: str, num_envs: int) -> Any:
    """The environment whose canvases are drawn."""
    keywords: dict[str, Any] = {**env, "split": split}
    return VectorWholeCanvas(gymnasium.make_vec(env_id, num_envs, "vector_entry_point", **keywords))


def pictures(canvas: NDArray[Any], binary: bool, generator: torch.Generator | None = None) -> Tensor:
    """Canvases (B, C, H, W) in [0, 1] as they are, or 0 and 1 at random."""
    x = torch.from_numpy(canvas)
    return torch.bernoulli(x, generator=generator) if binary else x


def binary_generator(first: int, shape: tuple[int, int, int]) -> torch.Generator:
    """What draws the pixels of frozen pictures (C, H, W) from number `first` on: the same in any batches."""
    generator = torch.Generator().manual_seed(BINARY_SEED)
    torch.bernoulli(torch.zeros(first, *shape), generator=generator)  # what the pictures before it take
    return generator


@torch.inference_mode()
def bound(
    model: DRAW,
    env_id: str,
    env: Mapping[str, Any],
    split: str,
    binary: bool,
    *,
    scenes: int | None = None,
) -> Evaluation:
    """The mean bound over the frozen pictures of `split`, or the first `scenes`, in nats, with its interval.

    One draw of z each.
    """
    made = make_scenes(env_id, env, split, min(BATCH, scenes or BATCH))
    generator = binary_generator(0, model.shape)
    count = min(scenes or glimpse_env_of(made).num_scenes, glimpse_env_of(made).num_scenes)
    nats = []
    with seeded(0, device_of(model)):
        for index in frozen_batches(made, count):
            observation, _ = made.reset(options={"index": index})
            reconstruction, latent = model(
                pictures(observation["canvas"], binary, generator).to(device_of(model))
            )
            nats.append((reconstruction + latent).cpu())
    made.close()
    return mean_of(torch.cat(nats)[:count])
