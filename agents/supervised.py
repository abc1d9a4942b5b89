"""Training of agents that see the canvas: cross-entropy on whole scenes, no episodes played."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from agents import losses
from agents.baselines import Network, WholeCanvasClassifier
from agents.evaluate import make_env
from agents.interface import to_tensors
from agents.runs import Run
from agents.training import BatchResult, Training, train


@dataclasses.dataclass(frozen=True)
class Supervised(Training):
    """A whole-canvas baseline: its network and the width of its fully connected layers."""

    network: Network = "fc"
    hidden: int = 256


def train_supervised(
    run: Run, settings: Supervised, agent: WholeCanvasClassifier, *, quiet: bool = False
) -> Iterator[dict[str, Any]]:
    """Train `agent` on scenes of the environment's own generator and yield each epoch's metrics."""
    env = make_env(agent, settings.env_id, settings.batch_size, **{**settings.env, "split": "train"})

    def batch(seeds: list[int] | None, progress: float) -> BatchResult:
        observation, _ = env.reset(seed=seeds)  # type: ignore[arg-type]
        target = to_tensors(env.unwrapped.present_scenes()._asdict())["target"].view(-1, agent.length)
        logits = agent.answers(to_tensors(observation)["canvas"])
        right = losses.right_so_far(logits, target)[:, -1].float().mean()
        return BatchResult(losses.cross_entropy(logits, target), 100 * (1 - right), right)

    yield from train(run, settings, agent, batch, quiet=quiet)
    env.close()
