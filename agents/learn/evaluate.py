"""An agent's error on frozen scenes: each scene of a split once, with a 95 % interval."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from agents.agent import Agent, device_of
from agents.device import seeded
from agents.learn.envs import frozen_batches, frozen_env
from agents.learn.rollout import ReadOn, rollout, say
from glimpse_env.wrappers import glimpse_env_of

Mode = Literal[
    "deterministic", "sampled", "mc10", "carried", "windows", "written", "completed", "distribution", "beam",
    "beam, lower case", "lower case", "up to 8 words", "9 to 11 words", "12 to 14 words", "15 words or more",
    "BLEU-1", "BLEU-2", "BLEU-3", "METEOR", "CIDEr",
    "beam, BLEU-1", "beam, BLEU-2", "beam, BLEU-3", "beam, METEOR", "beam, CIDEr",
    "on target", "on target, a word before", "mass on target", "mass on target, one look",
    "mass on target, own words", "mass on target, own words, one look",
    "entropy", "travel",
]  # fmt: skip
MODES: tuple[Mode, ...] = ("deterministic", "sampled", "mc10")  # of gazes; a text is read in the others
MC_SAMPLES = 10


class Evaluation(NamedTuple):
    """A figure and its 95 % interval, from so many scenes, words or whatever is counted.

    `evaluate` gives the share of scenes whose answers are not all right, in percent, and Wilson's interval.
    Of models that their learner scores, `error` is what its `metric` names, of which more may be better.
    """

    error: float
    ci95: tuple[float, float]
    scenes: int


def evaluate(
    agent: Agent,
    env_id: str,
    split: str,
    mode: Mode = "deterministic",
    *,
    seed: int = 0,
    scenes: int | None = None,
    **keywords: Any,
) -> Evaluation:
    """Score `agent` on every frozen scene of `split`, or on the first `scenes` of them.

    mode: "deterministic" follows the policy's mean, "sampled" draws gazes once, "mc10" averages the answer
    probabilities of ten such draws. keywords go to the environment, which says what is right. The global
    torch generator is left as it was. Raises ValueError for an unknown mode.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {MODES}, got {mode!r}")
    env = frozen_env(agent, env_id, split, **keywords)
    count = min(scenes or glimpse_env_of(env).num_scenes, glimpse_env_of(env).num_scenes)
    right = []
    with scoring(agent, seed):
        for index in frozen_batches(env, count):
            options = {"index": index}
            if mode == "mc10":
                said = believed(agent, env, options, MC_SAMPLES).argmax(-1)
                right.append(say(env, said.cpu().numpy(), options))
            else:
                played = rollout(agent, env, sample=mode == "sampled", options=options)
                right.append(played.correct.cpu())
    env.close()
    return score(torch.cat(right)[:count])


@contextlib.contextmanager
def scoring(agent: nn.Module, seed: int) -> Iterator[None]:
    """A context in which a model is scored: no gradients, its draws seeded, everything left as it was."""
    was_training = agent.training
    agent.eval()
    try:
        with seeded(seed, device_of(agent)), torch.inference_mode():
            yield
    finally:
        agent.train(was_training)


def believed(agent: Agent, env: Any, options: dict[str, Any], draws: int = 0) -> Tensor:
    """Probabilities of each answer at each place of the target, also beyond its end: (B, L, n).

    The mean over so many drawn scan paths; of no draws, along the policy's mean. To be called in `scoring`.
    """
    end = glimpse_env_of(env).task.end
    reader = agent if end < 0 else ReadOn(agent, end)
    length, total = glimpse_env_of(env).task.length, torch.zeros(())
    for _ in range(max(draws, 1)):
        played = rollout(reader, EveryPlace(env), sample=draws > 0, options=options)
        total = total.to(played.logits.device) + played.logits[played.answered].softmax(-1)
    assert total.shape[0] == length
    return total.transpose(0, 1) / max(draws, 1)


class EveryPlace:
    """A supervised vector env that asks for an answer at every place, also beyond the target's end."""

    def __init__(self, env: Any) -> None:
        self.env, self.num_envs = env, env.num_envs

    def reset(self, **keywords: Any) -> tuple[dict[str, Any], Any]:
        """As the environment's own; answer 0 stands for those that are not asked."""
        observation, info = self.env.reset(**keywords)
        return {**observation, "next": observation["next"].clip(0)}, info

    def step(self, actions: Any) -> tuple[dict[str, Any], Any, Any, Any, Any]:
        """As the environment's own; answer 0 stands for those that are not asked."""
        observation, *rest = self.env.step(actions)
        return {**observation, "next": observation["next"].clip(0)}, *rest


def score(right: Tensor) -> Evaluation:
    """Whether each scene's answers are all right, bool (N,) -> the error."""
    wrong, scenes = int((~right).sum()), len(right)
    return Evaluation(100 * wrong / scenes, wilson(wrong, scenes), scenes)


def mean_of(figures: Tensor) -> Evaluation:
    """The mean of independent figures (N,), at least one, with its 95 % interval; of one it has no width."""
    spread = figures.std().item() if len(figures) > 1 else 0.0
    mean, half = figures.mean().item(), 1.96 * spread / math.sqrt(len(figures))
    return Evaluation(mean, (mean - half, mean + half), len(figures))


def wilson(wrong: int, total: int) -> tuple[float, float]:
    """95 % interval, in percent, of a share wrong / total (Wilson 1927)."""
    z = 1.959963984540054
    p = wrong / total
    centre = p + z * z / (2 * total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    scale = 100 / (1 + z * z / total)
    return max(0.0, scale * (centre - half)), min(100.0, scale * (centre + half))
