"""Where captioners look: how sure they are of it, how far they go, and whether it is at what they name."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from agents.agent import device_of, to_action, to_tensors
from agents.learn.envs import frozen_batches, frozen_env
from agents.learn.evaluate import Evaluation, Mode, mean_of, scoring, wilson
from agents.learn.features import AT_ONCE, frozen_views
from agents.learn.judging import world_of
from agents.learn.loop import Task
from agents.models.captioner import Captioner
from glimpse_env.worlds.captions import CaptionWorld
from glimpse_env.wrappers import glimpse_env_of


def on_target(model: Captioner, task: Task, split: str) -> dict[Mode, Evaluation]:
    """How often, in percent, the place looked at most lies in the box of what the word names.

    Of all words that are said and name something in the scene: where several things have that name, the box
    of any. "on target, a word before": in the look that served the word before it. Whoever says "an" already
    knows that it is an eight.
    """
    env = frozen_env(model, task.env_id, split, boxes=True, **task.env)
    inner = glimpse_env_of(env)
    end, left = inner.task.end, inner.num_scenes
    size = np.array(inner.world.canvas_shape[:0:-1])
    asked = 0
    hits: dict[Mode, int] = {"on target": 0, "on target, a word before": 0}
    with scoring(model, 0):
        for index in frozen_batches(env):
            observation, _ = env.reset(options={"index": index})
            rows = np.arange(env.num_envs) < left
            left -= int(rows.sum())
            state, playing = model.initial(env.num_envs), rows.copy()
            names, boxes = observation["target"], observation["boxes"]
            names = np.where(boxes.any(-1), names[:, : boxes.shape[1]], -1)
            before = np.zeros(boxes.shape[:2], np.bool_)
            while playing.any():
                step, state = model(to_tensors(observation, device_of(model)), state, False)
                action = to_action(step)
                pixel = (action["gaze"] + 1) / 2 * (size - 1)
                now = (
                    (pixel[:, None] >= boxes[..., :2] - 0.5)
                    & (pixel[:, None] < boxes[..., :2] + boxes[..., 2:] - 0.5)
                ).all(-1)
                named = (names == action["answer"][:, None]) & playing[:, None]
                asked += int(named.any(1).sum())
                for mode, within in zip(hits, (now, before), strict=True):
                    hits[mode] += int((named & within).any(1).sum())
                before = now
                playing &= action["answer"] != end
                observation, _, terminated, truncated, _ = env.step(action)
                playing &= ~(terminated | truncated)
    env.close()
    if not asked:
        return {mode: Evaluation(0.0, (0.0, 100.0), 0) for mode in hits}
    return {
        mode: Evaluation(100 * found / asked, wilson(found, asked), asked) for mode, found in hits.items()
    }


def movement(model: Captioner, task: Task, split: str, said: list[list[int]]) -> dict[Mode, Evaluation]:
    """How sure a captioner is of where to look, and how far it goes from word to word of what it has `said`.

    entropy: of the weights that a look is drawn or made by, in nats; all places alike have log N. travel:
    from the place looked at most to the next word's, in widths of the canvas. Means over words; a figure that
    no word has is left out, as travel is where all captions have one.
    """
    figures: dict[Mode, list[Tensor]] = {"entropy": [], "travel": []}
    for _, words, weights, looks in looks_while(model, task, split, said):
        playing = words >= 0
        figures["entropy"].append(-(weights * weights.clamp_min(1e-9).log()).sum(2)[playing])
        gaze = model.gaze_of(looks.flatten(0, 1)).view(*words.shape, 2)
        figures["travel"].append((gaze.diff(dim=1) / 2).norm(dim=2)[playing[:, 1:]])
    return {mode: mean_of(torch.cat(of)) for mode, of in figures.items() if sum(map(len, of))}


def looks_while(
    model: Captioner, task: Task, split: str, said: list[list[int]]
) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    """How a captioner looks at the frozen pictures of a split while it says what it has `said` of them.

    Some pictures after the other, with the number of the first: their words int64 (B, L), padded with -1, the
    weights that their looks are drawn or made by and the looks, both (B, L, N).
    """
    first = 0
    with scoring(model, 0):
        for seen in frozen_views(model, task, split):
            told = said[first : first + len(seen)]
            words = torch.full((len(told), max(map(len, told), default=0) + 1), -1, device=seen.device)
            for row, one in zip(words, told, strict=True):
                row[: len(one)] = torch.tensor(one, device=seen.device)
            heard, state, weights, looks = torch.zeros_like(words[:, 0]), model.read(seen), [], []
            for word in words.t():
                _, state, soft = model.step(heard, state)
                weights.append(soft)
                looks.append(state["weights"])
                heard = word + 1
            yield first, words, torch.stack(weights, 1), torch.stack(looks, 1)
            first += len(seen)


def own_mass_on_target(
    model: Captioner, task: Task, split: str, said: list[list[int]]
) -> dict[Mode, Evaluation]:
    """As `mass_on_target`, of the words of what a captioner has `said`, and not of what people say.

    Which thing a person will name cannot be known before the word; which one it names itself can.
    """
    world = world_of(task, split)
    assert isinstance(world, CaptionWorld)
    mass, covers = [], []
    for first, words, _, looks in looks_while(model, task, split, said):
        boxes = words.new_zeros(*words.shape, 4)
        for row, one in enumerate(said[first : first + len(words)]):
            boxes[row, : len(one)] = torch.from_numpy(world.boxes_of(first + row, one))
        named = boxes.any(-1)
        covers.append(model.covered(boxes[named].float()))
        mass.append((looks[named] * covers[-1]).sum(1))
    return _beside_one_look(
        mass, covers, ("mass on target, own words", "mass on target, own words, one look")
    )


def mass_on_target(model: Captioner, task: Task, split: str) -> dict[Mode, Evaluation]:
    """How much of the attention, in percent, lies in the box of what a word of a frozen caption names.

    Every caption that teaches is heard word by word, and means are over its words that have a box. Beside it
    the highest that a look has which never moves. Nothing where no word has a box.
    """
    env = frozen_env(model, task.env_id, split, boxes=True, **task.env)
    left, mass, covers = glimpse_env_of(env).num_scenes, [], []
    with scoring(model, 0):
        for index in frozen_batches(env):
            observation, _ = env.reset(options={"index": index})
            seen = to_tensors(observation, device_of(model))
            rows = torch.split(torch.arange(min(left, env.num_envs)), AT_ONCE)
            left -= env.num_envs
            for part in rows:
                target, places = seen["target"][part], seen["boxes"][part].float()
                _, looks = model.teach(seen["canvas"][part], target)
                named = places.any(-1)
                cover = model.covered(places[named])
                mass.append((looks[:, : named.shape[1]][named] * cover).sum(1))
                covers.append(cover)
    env.close()
    return _beside_one_look(mass, covers, ("mass on target", "mass on target, one look"))


def _beside_one_look(
    mass: list[Tensor], covers: list[Tensor], modes: tuple[Mode, Mode]
) -> dict[Mode, Evaluation]:
    """The mean of the mass on target, and the highest that a look has which never moves.

    covers: how much of each place lies in the boxes, (n, N). Such a look is best at one place alone, for what
    it has is linear in it.
    """
    cover = torch.cat(covers)
    if not len(cover):
        return {}
    still = cover[:, cover.mean(0).argmax()]
    return {modes[0]: mean_of(100 * torch.cat(mass)), modes[1]: mean_of(100 * still)}
