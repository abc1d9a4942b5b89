"""Training and scoring of captioners, which see a picture at once and say what is there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from agents import checks
from agents.agent import device_of, to_action, to_tensors
from agents.learn import losses, metrics
from agents.learn.envs import frozen_batches, frozen_env, make_env, single_env
from agents.learn.evaluate import Evaluation, Mode, evaluate, mean_of, scoring, wilson
from agents.learn.features import features_of
from agents.learn.loop import BatchResult, Lesson, Task, error_on_validation
from agents.learn.sentences import HardLooks, TeacherForcing
from agents.models.captioner import Captioner, CaptionerSettings
from agents.parts import beam
from glimpse_env.data.captions import OTHER
from glimpse_env.vector import Scored
from glimpse_env.worlds.captions import CaptionWorld
from glimpse_env.wrappers import VectorSupervision, glimpse_env_of

POOL = 4  # batches that are drawn together and sorted by length
AT_ONCE = 100  # pictures that are described side by side
OTHERS: dict[Mode, str] = {
    "beam, BLEU-1": "bleu1", "beam, BLEU-2": "bleu2", "beam, BLEU-3": "bleu3", "beam, METEOR": "meteor",
    "beam, CIDEr": "cider",
}  # fmt: skip


class _OfPictures:
    """What learners of captioners have in common: their pictures, and how captions are judged.

    Captions of people are judged by BLEU and its like. Where there is one right answer, or a few, the
    environment says whether the whole is right.
    """

    beams: int
    length_weight: float
    coverage_weight: float

    def pool(self, model: Any, task: Task) -> Pictures:
        """Where batches come from."""
        return Pictures(model, task)

    def validation(self, model: Any, task: Task) -> Any:
        """BLEU-4 of what it says on its own, or the share of answers not all right."""
        world = _people(task, "validation")
        if world is None:
            return error_on_validation(task)

        def validate(averaged: Captioner) -> dict[str, float]:
            found = metrics.caption_bleu(
                _written(world, self.answers(averaged, task, "validation", 1)), _references(world)
            )
            return {"validation_100_less_bleu4": 100 - found, "validation_bleu4": found}

        return validate

    def answers(self, model: Any, task: Task, split: str, beams: int) -> list[list[int]]:
        """What a captioner says of each frozen picture of a split, END left out."""
        inner = single_env(task.env_id, task.env, split=split).vector
        people = isinstance(inner.world, CaptionWorld)
        never = [inner.answer_names.index(OTHER)] if people else []  # which is no word
        said = []
        with scoring(model, 0):
            for seen in frozen_views(model, task, split):
                said += beam.search(
                    model, seen, inner.task.end, inner.task.length, beams=beams, never=never,
                    length_weight=self.length_weight, coverage_weight=self.coverage_weight,
                )  # fmt: skip
        return said

    def figures(self, model: Any, task: Task, split: str) -> dict[Mode, Evaluation]:
        """BLEU-4, greedy and with beams, and other metrics; or the error, and how often it is on target."""
        world = _people(task, split)
        if world is None:
            return {
                "deterministic": evaluate(model, task.env_id, split, **task.env),
                **on_target(model, task, split),
            }
        references = _references(world)
        greedy = _written(world, self.answers(model, task, split, 1))
        said = self.answers(model, task, split, self.beams)
        searched = _written(world, said)
        scored = metrics.captions(searched, references)
        more = {} if world.boxes is None else mass_on_target(model, task, split)
        if model.alignment is not None:
            more |= movement(model, task, split, said)
        return {
            "deterministic": metrics.captions(greedy, references)["bleu4"],
            "beam": scored["bleu4"],
            **{mode: scored[name] for mode, name in OTHERS.items() if name in scored},
            **more,
        }

    def metric(self, task: Task, mode: Mode) -> str:
        """What a figure is that is counted so."""
        if mode in ("entropy", "travel"):
            return mode
        if "on target" in mode:
            return "mass_on_target" if mode.startswith("mass") else "on_target"
        return "test_error" if _people(task, "validation") is None else OTHERS.get(mode, "bleu4")


@dataclasses.dataclass(frozen=True)
class Captioning(_OfPictures, TeacherForcing):
    """The cross-entropy of each word of one caption a picture, the true words before it being heard."""

    TEACHES: ClassVar[tuple[type, ...]] = (CaptionerSettings,)

    even_weight: float = 0.0
    """The weight of the doubly stochastic regulariser: the mean over places of (T / N - what the T words
    looked at them)², N being how many there are (Xu et al. 2015, section 4.2.1, where T / N is 1)."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        super().__post_init__()
        checks.not_negative(self, "even_weight")

    def check(self, model: object) -> None:
        """Raise ValueError for hard looks, which have no derivative, and for even ones without attention."""
        assert isinstance(model, CaptionerSettings)
        if model.hard:
            raise ValueError("hard looks are learned by HardCaptioning: set hard to False")
        if self.even_weight and model.attention == "none":
            raise ValueError("even_weight is of attention: set it to 0, or choose an attention")

    def loss(self, model: Captioner, canvas: Tensor, target: Tensor) -> Tensor:
        """The mean over the words of targets (B, L), padded with -1, of pictures."""
        scores, looks = model.teach(canvas, target)
        nats = F.cross_entropy(scores, target[target >= 0], label_smoothing=self.label_smoothing)
        if not self.even_weight:
            return nats
        said = (target >= 0).to(looks.dtype)
        share = said.sum(1, keepdim=True) / looks.shape[2]
        return nats + self.even_weight * (share - (looks * said[..., None]).sum(1)).square().mean()


@dataclasses.dataclass(frozen=True)
class HardCaptioning(_OfPictures, HardLooks):
    """HardLooks for captioners."""

    TEACHES: ClassVar[tuple[type, ...]] = (CaptionerSettings,)

    def check(self, model: object) -> None:
        """Raise ValueError for looks that are not hard, and for paid looks that nobody hears of later."""
        assert isinstance(model, CaptionerSettings)
        if not model.hard:
            raise ValueError("HardCaptioning teaches hard looks: set hard to True")
        if self.discount and model.feeding == "none":
            raise ValueError("discount is of looks that are heard of later: set feeding to 'context'")


@dataclasses.dataclass(frozen=True)
class SelfCritical(_OfPictures, TeacherForcing):
    """REINFORCE for whole captions, paid what the environment pays them with reward="score".

    Several captions of a picture are drawn, and each is better or worse than the mean of the others: that is
    self-critical training (Rennie et al. 2017), whose baseline is the greedy caption, with a baseline that is
    drawn (Luo 2020).
    """

    TEACHES: ClassVar[tuple[type, ...]] = (CaptionerSettings,)

    samples: int = 5
    """How many captions of a picture are drawn. At least 2."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        super().__post_init__()
        if self.samples < 2:
            raise ValueError(f"samples must be at least 2, got {self.samples}")

    def check(self, model: object) -> None:
        """Raise ValueError for hard looks, whose captions are drawn twice over."""
        if isinstance(model, CaptionerSettings) and model.hard:
            raise ValueError("SelfCritical draws words and no looks: set hard to False")

    def lesson(self, model: Any, task: Task) -> Lesson[Any]:
        """Train on pictures of the environment's own generator; ValueError where it scores no sentences."""
        scores = single_env(task.env_id, {**task.env, "reward": "score"}).vector.world
        assert isinstance(scores, Scored)
        pool = Pictures(model, task)
        inner = glimpse_env_of(pool.env)

        def batch(seeds: list[int] | None, progress: float) -> BatchResult:
            drawn = pool.batch(seeds)
            seen = drawn.canvas.repeat_interleave(self.samples, 0)
            said = sampled(model, seen, inner.task.end, inner.task.length)
            told = [[word for word in one if 0 <= word < inner.task.end] for one in said.tolist()]
            paid = [scores.score(one, drawn.ways[i // self.samples]) for i, one in enumerate(told)]
            rewards = torch.tensor(paid, device=seen.device)
            return BatchResult(self.loss_of(model, seen, said, rewards), {"paid": rewards.mean()})

        return Lesson(batch, self.validation(model, task), pool.env.close, "sentences")

    def loss_of(self, model: Captioner, seen: Tensor, said: Tensor, paid: Tensor) -> Tensor:
        """Minus the mean over captions of (what is paid - the others' mean) log p.

        seen: pictures, each `samples` times; said int64 (B, L), padded with -1; paid (B,).
        """
        scores, _ = model.teach(seen, said)
        each = said.new_zeros(said.shape, dtype=torch.float32)
        nats = F.cross_entropy(scores, said[said >= 0], reduction="none")
        log_p = -each.masked_scatter(said >= 0, nats).sum(1)
        others = losses.leave_one_out(paid[None], self.samples)[0]
        return -((paid - others) * log_p).mean()


@torch.no_grad()
def sampled(model: Captioner, seen: Tensor, end: int, most: int) -> Tensor:
    """Captions that are drawn word by word, END included, padded with -1: (B, L)."""
    state = model.read(seen)
    heard = torch.zeros(len(seen), dtype=torch.long, device=seen.device)
    playing, said = torch.ones_like(heard, dtype=torch.bool), []
    for _ in range(most):
        scores, state = model.say(heard, state)
        word = torch.multinomial(scores.softmax(-1), 1)[:, 0]
        said.append(torch.where(playing, word, -1))
        playing = playing & (word != end)
        heard = word + 1
        if not playing.any():
            break
    return torch.stack(said, 1)


class Shown(NamedTuple):
    """Pictures (B, C, H, W), or their features (B, F), the caption of each that teaches and all right ones.

    target: int64 (B, L), -1 beyond its end. ways: a list of them for every picture, each of words.
    """

    canvas: Tensor
    target: Tensor
    ways: list[list[list[int]]]


class Pictures:
    """Scenes of the training side; where the eye does not learn, sorted by the length of their captions."""

    def __init__(self, model: Captioner, task: Task) -> None:
        self.size, self.device = task.loop.batch_size, device_of(model)
        self.features = known_features(model, task, "train")
        keywords = {**task.env, "split": "train"}
        if self.features is None:
            self.env = make_env(model, task.env_id, POOL * self.size, **keywords)
        else:  # the canvas is not looked at
            made = gymnasium.make_vec(task.env_id, POOL * self.size, "vector_entry_point", **keywords)
            self.env = VectorSupervision(made)
        self.batches: Iterator[Shown] = iter(())

    def batch(self, seeds: list[int] | None) -> Shown:
        """The next batch; with seeds, the first of scenes that they draw."""
        if seeds is not None:
            first = seeds[0] * POOL
            self.batches = self._draw(list(range(first, first + POOL * self.size)))
        drawn = next(self.batches, None)
        if drawn is None:
            self.batches = self._draw(None)
            drawn = next(self.batches)
        return drawn

    def _draw(self, seeds: list[int] | None) -> Iterator[Shown]:
        observation, _ = self.env.reset(seed=seeds)
        target = torch.from_numpy(observation["target"])
        length = (target >= 0).sum(1)
        inner = glimpse_env_of(self.env)
        # Sentences of one length may be about like pictures, as those of digits are: batches sorted by it are
        # unlike the whole, which the CNN's batch normalisation is to keep.
        order = torch.arange(len(length)) if self.features is None else length.argsort()
        shown, ways = inner.pictures, inner.ways.tolist()
        for i in torch.randperm(POOL).tolist():
            rows = order[i * self.size : (i + 1) * self.size]
            if self.features is None:
                seen = torch.from_numpy(observation["canvas"])[rows]
            else:
                seen = torch.from_numpy(self.features[shown[rows.numpy()]]).float()
            right = [
                [[word for word in way if 0 <= word < inner.task.end] for way in ways[row] if way[0] >= 0]
                for row in rows.tolist()
            ]
            said = target[rows, : int(length[rows].max())]
            yield Shown(seen.to(self.device), said.to(self.device), right)


def known_features(model: Captioner, task: Task, split: str) -> NDArray[np.float16] | None:
    """What the pretrained eye sees of a split's pictures, if the model has it and they are kept."""
    world = single_env(task.env_id, task.env, split=split).vector.world
    if model.cnn is not None or not isinstance(world, CaptionWorld):
        return None
    return features_of(*world.named, world.canvas_shape[1])


def frozen_views(model: Captioner, task: Task, split: str) -> Iterator[Tensor]:
    """What a captioner is given of the frozen scenes of a split, AT_ONCE at a time."""
    features = known_features(model, task, split)
    if features is not None:
        for first in range(0, len(features), AT_ONCE):
            yield torch.tensor(features[first : first + AT_ONCE]).to(device_of(model)).float()
        return
    env = frozen_env(model, task.env_id, split, **task.env)
    left = glimpse_env_of(env).num_scenes
    for index in frozen_batches(env):
        observation, _ = env.reset(options={"index": index})
        canvas = torch.from_numpy(observation["canvas"])[:left]
        left -= len(canvas)
        for part in torch.split(canvas, AT_ONCE):
            yield part.to(device_of(model))
    env.close()


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
    from the place looked at most to the next word's, in widths of the canvas. Means over words.
    """
    entropy, travel, place = [], [], 0
    with scoring(model, 0):
        for seen in frozen_views(model, task, split):
            told = said[place : place + len(seen)]
            place += len(seen)
            words = torch.full((len(told), max(map(len, told), default=0) + 1), -1, device=seen.device)
            for row, one in zip(words, told, strict=True):
                row[: len(one)] = torch.tensor(one, device=seen.device)
            heard, state, before = torch.zeros_like(words[:, 0]), model.read(seen), None
            for word in words.t():
                _, state, weights = model.step(heard, state)
                gaze, playing = model.gaze_of(state["weights"]), word >= 0
                entropy.append(-(weights * weights.clamp_min(1e-9).log()).sum(1)[playing].cpu())
                if before is not None:
                    travel.append(((gaze - before) / 2).norm(dim=1)[playing].cpu())
                heard, before = word + 1, gaze
    return {"entropy": mean_of(torch.cat(entropy)), "travel": mean_of(torch.cat(travel))}


def mass_on_target(model: Captioner, task: Task, split: str) -> dict[Mode, Evaluation]:
    """How much of the attention, in percent, lies in the box of what a word of a frozen caption names.

    Every caption that teaches is heard word by word, and means are over its words that have a box. Beside it
    the same of one look that never moves: where boxes lie on the average.
    """
    env = frozen_env(model, task.env_id, split, boxes=True, **task.env)
    left, mass, boxes = glimpse_env_of(env).num_scenes, [], []
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
                mass.append((looks[:, : named.shape[1]][named] * cover).sum(1).cpu())
                boxes.append(cover.cpu())
    env.close()
    cover = torch.cat(boxes)
    still = cover.sum(0) / cover.sum()
    return {
        "mass on target": mean_of(100 * torch.cat(mass)),
        "mass on target, one look": mean_of(100 * (cover @ still)),
    }


def _people(task: Task, split: str) -> CaptionWorld | None:
    """The world of a split whose captions people wrote, else None."""
    world = single_env(task.env_id, task.env, split=split).vector.world
    return world if isinstance(world, CaptionWorld) else None


def _written(world: CaptionWorld, said: list[list[int]]) -> list[str]:
    return [world.write(one) for one in said]


def _references(world: CaptionWorld) -> list[list[str]]:
    """What people said of each frozen scene."""
    return [[" ".join(one) for one in world.references(scene)] for scene in range(world.num_scenes)]
