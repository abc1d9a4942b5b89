"""Training of the reading agent, which acts, is told what to say, and learns where to look."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from agents import checks
from agents.agent import device_of, select, to_tensors
from agents.learn import losses
from agents.learn.evaluate import Evaluation, Mode, evaluate
from agents.learn.judging import figures_of, judged, metric_of, validation_of, world_of
from agents.learn.loop import BatchResult, Scorer, Task
from agents.learn.reinforce import Objective, Reinforce
from agents.learn.sentences import written
from agents.models.gaze_captioner import GazeCaptioner, GazeCaptionerSettings
from agents.models.reading_agent import ReadingAgent, ReadingAgentSettings
from glimpse_env.wrappers import glimpse_env_of

# The gradient is clipped as a whole, and that of the gazes is many times as long as that of the answers. They
# share no weights, and AdamW's steps are as long for any scale: made small, it takes nothing from the others.
GAZES = 0.01
Looker = ReadingAgent | GazeCaptioner
CHUNKS = 4  # parts of a batch of episodes, by length, that are replayed one after the other


@dataclasses.dataclass(frozen=True)
class Reading(Reinforce, Scorer):
    """Reinforce for an agent that writes: while it learns it hears what it should have said, not what it did.

    The environment then pays every answer alike; `objective` "variational" pays a gaze by log p of the words
    that it served.
    """

    TEACHES: ClassVar[tuple[type, ...]] = (ReadingAgentSettings, GazeCaptionerSettings)

    objective: Objective = "variational"
    """What a gaze is paid with, see Reinforce: by the environment, it learns nothing here."""
    held: float = 0.0
    """The share of training in which the eye reads on as it began: until it understands something of what it
    sees, all gazes are paid alike, and REINFORCE would lead it astray. In [0, 1)."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range and for a setting that is another learner's."""
        checks.share(self, "held")
        kept = {"objective": "variational", "baseline": "learned", "rollouts": 1, "curriculum": 0}
        for name, only in kept.items():
            if getattr(self, name) != only:
                raise ValueError(f"{name} can only be {only!r} for Reading, got {getattr(self, name)!r}")
        super().__post_init__()

    def validation(self, task: Task) -> Callable[[Any], dict[str, float]]:
        """How good what it says on its own is, or the share of answers not all right."""
        return validation_of(task, lambda averaged: written(averaged, task, "validation", sample=False))

    def batch(self, agent: Looker, env: Any, seeds: list[int] | None, progress: float) -> BatchResult:
        """Look first, without a graph, and then learn from all glimpses at once.

        What the eye sees does not depend on what is answered, for the answers are told.
        """
        inner = glimpse_env_of(env)
        views: Any = inner.single_observation_space
        if "said" not in views.spaces:
            raise ValueError("this environment shows no words that were said: choose a text, or captions")
        held = progress < self.held
        read = look_through(agent, env, self.begin(agent, inner, seeds, progress), sample=not held)
        loss, words, wrong = torch.zeros(()), 0, torch.zeros((), dtype=torch.long)
        length = read.playing.sum(0)
        for rows in length.argsort().chunk(CHUNKS):
            steps = int(length[rows].max())
            part = Read(*(views[:steps, rows] for views in read))
            asked = torch.where(part.due & part.playing, part.next, -1)
            scores = agent.replay(part.retina, part.said, part.gaze, part.playing, asked >= 0)
            log_prob, baseline = agent.valued(part.h, part.gaze, part.chosen)
            target = asked[asked >= 0]
            nats = F.cross_entropy(scores, target, reduction="none")
            loss = loss + nats.sum() / inner.num_envs
            paid = torch.zeros_like(log_prob).masked_scatter(asked >= 0, -nats.detach())
            looked = part.playing[1:]
            value = baseline[:-1] * looked
            if held:
                gaze_loss = losses.baseline_error(value, losses.returns(paid[1:], self.discount))
            else:
                gaze_loss = self.loss_of_gazes(log_prob[:-1] * looked, value, paid[1:])
            loss = loss + GAZES * gaze_loss * len(rows) / inner.num_envs
            words, wrong = words + len(target), wrong + (scores.argmax(-1) != target).sum()
        return BatchResult(loss * inner.num_envs / words, {"words_wrong": 100 * wrong / words})

    def said(self, model: Looker, task: Task, split: str) -> list[list[int]]:
        """What it says to each frozen text of a split along the deterministic gaze."""
        return written(model, task, split, sample=False)

    def figures(self, model: Looker, task: Task, split: str) -> dict[Mode, Evaluation]:
        """How good what it says is along the deterministic gaze and a sampled one, or such errors."""
        world = world_of(task, split)
        if world is None:
            modes: tuple[Mode, ...] = ("deterministic", "sampled")
            return {mode: evaluate(model, task.env_id, split, mode, **task.env) for mode in modes}
        sampled = judged(world, written(model, task, split, sample=True))
        found = figures_of(world, self.said(model, task, split), "deterministic")
        return {"deterministic": found.pop("deterministic"), "sampled": sampled, **found}

    def metric(self, task: Task, mode: Mode) -> str:
        """BLEU of texts and captions, F1 of trees, else an error in percent."""
        return metric_of(task, mode)


class Read(NamedTuple):
    """T glimpses of B episodes in training, (T, B, …), as models.reading_agent replays them.

    h: what the gazes that were chosen were drawn of, without dropout, for the loss is of the policy that drew
    them. next: the answer that was to be said next, -1 where none was; due: whether it was taken; playing:
    whether the episode was still played.
    """

    retina: Tensor
    said: Tensor
    gaze: Tensor
    h: Tensor
    chosen: Tensor
    next: Tensor
    due: Tensor
    playing: Tensor


@torch.no_grad()
def look_through(agent: Looker, env: Any, seeds: list[int] | None, *, sample: bool) -> Read:
    """Play one episode in every row of a supervised env, saying what is right.

    Nothing is dropped out here: gazes are drawn as whoever plays the agent draws them.
    """
    agent.eval()
    device = device_of(agent)
    observation, _ = env.reset(seed=seeds)
    state = agent.initial(env.num_envs)
    steps: list[tuple[Tensor, ...]] = []
    playing = torch.ones(env.num_envs, dtype=torch.bool)
    rows = playing.nonzero()[:, 0].to(device)
    while len(rows):
        tensors = to_tensors(observation, device)
        views = {key: view[rows] for key, view in tensors.items()}
        _, h, state = agent.read(views, state)
        gaze, _, _ = agent.look(h, sample, views["gaze"])
        chosen = torch.zeros_like(tensors["gaze"]).index_copy(0, rows, gaze)
        kept = h.new_zeros(env.num_envs, h.shape[1]).index_copy(0, rows, h)
        told = observation["next"]
        steps.append(
            (
                tensors["retina"], tensors["said"][:, 0], tensors["gaze"], kept, chosen, tensors["next"],
                tensors["due"].bool(), playing.to(device),
            )
        )  # fmt: skip
        observation, _, terminated, truncated, _ = env.step(
            {"gaze": chosen.cpu().numpy(), "answer": told.clip(0)}
        )
        playing = playing & ~torch.from_numpy(terminated | truncated)
        state = select(state, playing[rows.cpu()].to(device))
        rows = playing.nonzero()[:, 0].to(device)
    agent.train()
    return Read(*map(torch.stack, zip(*steps, strict=True)))
