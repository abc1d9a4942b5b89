"""How good answers are that may be partly right: BLEU of sentences and captions, F1 of trees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from agents.learn import metrics
from agents.learn.envs import single_env
from agents.learn.evaluate import Evaluation, Mode
from agents.learn.loop import Task, error_on_validation
from glimpse_env.worlds.captions import CaptionWorld
from glimpse_env.worlds.sentences import SentenceWorld
from glimpse_env.worlds.trees import TreeWorld

Score = Literal["bleu4", "cider"]
SCORES: tuple[Score, ...] = get_args(Score)
Partly = SentenceWorld | TreeWorld | CaptionWorld
Said = list[list[int]]  # the answers to each frozen scene of a world, END left out
LENGTHS: dict[Mode, tuple[int, int]] = {  # words of a source sentence
    "up to 8 words": (1, 8), "9 to 11 words": (9, 11), "12 to 14 words": (12, 14),
    "15 words or more": (15, 10_000),
}  # fmt: skip
ENOUGH = 50  # sentences of a length, for BLEU to say anything
OF_CAPTIONS = {"BLEU-1": "bleu1", "BLEU-2": "bleu2", "BLEU-3": "bleu3", "METEOR": "meteor", "CIDEr": "cider"}


def world_of(task: Task, split: str) -> Partly | None:
    """The world of a split whose answers may be partly right, else None."""
    world = single_env(task.env_id, task.env, split=split).vector.world
    return world if isinstance(world, Partly) else None


def judged(world: Partly, said: Said, *, lowercase: bool = False) -> Evaluation:
    """BLEU of what was said about each frozen scene of a world, BLEU-4 of captions, or F1 of brackets."""
    if isinstance(world, TreeWorld):
        return metrics.f1(_brackets(world, said))
    written = [world.write(one) for one in said]
    if isinstance(world, SentenceWorld):
        return metrics.bleu(written, world.texts.target, lowercase=lowercase)
    return metrics.bleu_of_captions(written, references_of(world))


def figures_of(world: Partly, said: Said, mode: Literal["deterministic", "beam"]) -> dict[Mode, Evaluation]:
    """`judged` under the name of `mode`, how answers were found, and what else is published beside it."""
    beside = "" if mode == "deterministic" else "beam, "
    if isinstance(world, CaptionWorld):
        scored = metrics.captions([world.write(one) for one in said], references_of(world))
        others = {name: scored[key] for name, key in OF_CAPTIONS.items() if key in scored}
        return {mode: scored["bleu4"], **{cast(Mode, beside + name): of for name, of in others.items()}}
    found: dict[Mode, Evaluation] = {mode: judged(world, said)}
    if isinstance(world, SentenceWorld):
        found[cast(Mode, f"{beside}lower case")] = judged(world, said, lowercase=True)
        found |= by_length(world, said)
    return found


def metric_of(task: Task, mode: Mode) -> str:
    """What is counted in a mode of `figures_of`, or an error in percent."""
    world, name = world_of(task, "validation"), mode.removeprefix("beam, ")
    if isinstance(world, SentenceWorld):
        return "bleu_lc" if name == "lower case" else "bleu"
    if isinstance(world, CaptionWorld):
        return OF_CAPTIONS.get(name, "bleu4")
    return "test_error" if world is None else "f1"


def validation_of(
    task: Task, answers: Callable[[Any], Said], of_captions: Score = "bleu4"
) -> Callable[[Any], dict[str, float]]:
    """What a model is validated by: BLEU, CIDEr or F1 of the `answers` it gives, or an error in percent."""
    world = world_of(task, "validation")
    if world is None:
        return error_on_validation(task)

    def validate(averaged: Any) -> dict[str, float]:
        said = answers(averaged)
        if isinstance(world, TreeWorld):
            name, found = "f1", metrics.plain_f1(_brackets(world, said))
        else:
            written = [world.write(one) for one in said]
            if isinstance(world, SentenceWorld):
                name, found = "bleu", metrics.plain_bleu(written, world.texts.target)
            else:
                score = {"bleu4": metrics.caption_bleu, "cider": metrics.caption_cider}[of_captions]
                name, found = of_captions, score(written, references_of(world))
        return {f"validation_100_less_{name}": 100 - found, f"validation_{name}": found}

    return validate


def by_length(world: SentenceWorld, said: Said) -> dict[Mode, Evaluation]:
    """BLEU of the sentences of each length that there are enough of."""
    words = np.array([len(text.split()) for text in world.texts.source])
    found: dict[Mode, Evaluation] = {}
    for mode, (least, most) in LENGTHS.items():
        rows = np.flatnonzero((words >= least) & (words <= most))
        if len(rows) >= ENOUGH:
            texts = [world.write(said[row]) for row in rows]
            found[mode] = metrics.bleu(texts, [world.texts.target[row] for row in rows])
    return found


def references_of(world: CaptionWorld) -> list[list[str]]:
    """What people said of each frozen picture."""
    return [[" ".join(one) for one in world.references(scene)] for scene in range(world.num_scenes)]


def _brackets(world: TreeWorld, said: Said) -> NDArray[np.int64]:
    """Of each tree how many brackets agree, were said and are right, (n, 3)."""
    right = [[int(i) for i in row if i >= 0] for row in world.target]
    return np.array([world.matched(one, other) for one, other in zip(said, right, strict=True)])
