"""Training and scoring of captioners, which see a picture at once and say what is there."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from agents import checks
from agents.device import seeded
from agents.learn import losses
from agents.learn.differentiable import measure_statistics
from agents.learn.envs import single_env
from agents.learn.evaluate import Evaluation, Mode, evaluate, scoring
from agents.learn.features import frozen_views
from agents.learn.judging import SCORES, Score, figures_of, judged, metric_of, validation_of, world_of
from agents.learn.looks import mass_on_target, movement, on_target, own_mass_on_target
from agents.learn.loop import BatchResult, Lesson, Task
from agents.learn.pools import Pictures
from agents.learn.sentences import HardLooks, TeacherForcing
from agents.models.captioner import Captioner, CaptionerSettings
from agents.parts import beam
from agents.parts.steps import drawn
from glimpse_env.data.captions import OTHER
from glimpse_env.vector import GlimpseVectorEnv
from glimpse_env.worlds.captions import CaptionWorld
from glimpse_env.worlds.choose import Scored
from glimpse_env.wrappers import glimpse_env_of

SHARP = 5.0  # how near the log-mean-exp over places is to their maximum; 1 and the maximum learn more slowly


class _OfPictures:
    """What learners of captioners have in common: their pictures, and how captions are judged.

    Captions of people are judged by BLEU and its like. Where there is one right answer, or a few, the
    environment says whether the whole is right.
    """

    UNIT: ClassVar[str] = "images"
    captions: int = 1  # of a picture that teach at once
    chosen_by: Score = "bleu4"
    beams: int
    length_weight: float
    coverage_weight: float
    diagonal_weight: float

    def __post_init__(self) -> None:
        """Raise ValueError for looks that are to be led along a diagonal."""
        super().__post_init__()  # type: ignore[misc]
        if self.diagonal_weight:
            raise ValueError("a picture has no diagonal to lead looks along: set diagonal_weight to 0")

    def pool(self, model: Any, task: Task) -> Pictures:
        """Where batches come from."""
        return Pictures(model, task, self.captions)

    def validation(self, model: Any, task: Task) -> Any:
        """BLEU-4 or CIDEr of what it says on its own, or the share of answers not all right."""
        judge = validation_of(
            task, lambda averaged: self.answers(averaged, task, "validation", 1), self.chosen_by
        )
        if model.cnn is None:
            return judge

        def validate(averaged: Captioner) -> dict[str, float]:
            shown = self.pool(averaged, task)
            with seeded(task.seed):  # the same pictures every time
                shown.batch([task.seed])
                measure_statistics(averaged, lambda: averaged.read(shown.batch(None).canvas))
            shown.env.close()
            return judge(averaged)

        return validate

    def answers(self, model: Any, task: Task, split: str, beams: int) -> list[list[int]]:
        """What a captioner says of each frozen picture of a split, END left out."""
        inner = single_env(task.env_id, task.env, split=split).vector
        said = []
        with scoring(model, 0):
            for seen in frozen_views(model, task, split):
                said += beam.search(
                    model, seen, inner.task.end, inner.task.length, beams=beams, never=unsayable(inner),
                    length_weight=self.length_weight, coverage_weight=self.coverage_weight,
                )  # fmt: skip
        return said

    def figures(self, model: Any, task: Task, split: str) -> dict[Mode, Evaluation]:
        """BLEU-4, greedy and with beams, and other metrics; or the error, and whether looks are on target."""
        world = world_of(task, split)
        if world is None:
            alone: dict[Mode, Evaluation] = {"deterministic": evaluate(model, task.env_id, split, **task.env)}
            return alone if model.alignment is None else alone | on_target(model, task, split)
        said = self.answers(model, task, split, self.beams)
        found: dict[Mode, Evaluation] = {
            "deterministic": judged(world, self.answers(model, task, split, 1)),
            **figures_of(world, said, "beam"),
        }
        if isinstance(world, CaptionWorld) and world.boxes is not None and model.alignment is not None:
            found |= mass_on_target(model, task, split) | own_mass_on_target(model, task, split, said)
        return found if model.alignment is None else found | movement(model, task, split, said)

    def metric(self, task: Task, mode: Mode) -> str:
        """What a figure is that is counted so."""
        if mode in ("entropy", "travel"):
            return mode
        if "on target" in mode:
            return "mass_on_target" if mode.startswith("mass") else "on_target"
        return metric_of(task, mode)


@dataclasses.dataclass(frozen=True)
class Captioning(_OfPictures, TeacherForcing):
    """The cross-entropy of each word of a picture's caption, the true words before it being heard."""

    TEACHES: ClassVar[tuple[type, ...]] = (CaptionerSettings,)

    captions: int = 1
    """How many of its right captions teach when a picture is seen: the one that the environment asks for, or
    so many drawn from all of them; where there are fewer, some teach again."""
    look_weight: float = 0.0
    """The weight of the cross-entropy of each word by what its look alone would say. Without it the look may
    be anywhere at a word that those before it tell already, as "an" tells "eight"."""
    chosen_by: Score = "bleu4"
    """What the best epoch has most of on validation, where captions are people's. BLEU-4 may be highest while
    many pictures are given one caption that fits them all; CIDEr counts rare words more."""
    even_weight: float = 0.0
    """The weight of the doubly stochastic regulariser: the mean over places of (T / N - what the T words
    looked at them)², N being how many there are (Xu et al. 2015, section 4.2.1, where T / N is 1)."""
    presence_weight: float = 0.0
    """The weight of the cross-entropy, summed over words, of whether the captions of a picture have the word,
    judged by what each place alone would say: word detectors as in Fang et al. (2015), with the log-mean-exp
    over places of Pinheiro and Collobert (2015) where they have a noisy or."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range and for an unknown score."""
        super().__post_init__()
        checks.positive(self, "captions")
        checks.not_negative(self, "even_weight", "presence_weight", "look_weight")
        if self.chosen_by not in SCORES:
            raise ValueError(f"chosen_by must be one of {SCORES}, got {self.chosen_by!r}")

    def check(self, model: object) -> None:
        """Raise ValueError for hard looks, which have no derivative, and for looks that are not there."""
        assert isinstance(model, CaptionerSettings)
        self.check_coverage(model)
        if model.hard:
            raise ValueError("hard looks are learned by HardCaptioning: set hard to False")
        for name in ("even_weight", "presence_weight", "look_weight"):
            if getattr(self, name) and model.attention == "none":
                raise ValueError(f"{name} is of attention: set it to 0, or choose an attention")

    def loss(self, model: Captioner, canvas: Tensor, target: Tensor) -> Tensor:
        """The mean over the words of targets (B K, L), padded with -1, K of each picture."""
        state = model.read(canvas)
        scores, looks = model.teach_from(state, target)
        true = target[target >= 0]
        loss = F.cross_entropy(scores, true, label_smoothing=self.label_smoothing)
        if self.look_weight:
            alone = model.of_looks(looks, state)[target >= 0]
            loss = loss + self.look_weight * F.cross_entropy(alone, true)
        if self.even_weight:
            said = (target >= 0).to(looks.dtype)
            share = said.sum(1, keepdim=True) / looks.shape[2]
            loss = loss + self.even_weight * (share - (looks * said[..., None]).sum(1)).square().mean()
        if self.presence_weight:
            places = model.of_places(state)
            anywhere = ((SHARP * places).logsumexp(1) - math.log(places.shape[1])) / SHARP
            words = target.view(len(canvas), -1) + 1
            there = anywhere.new_zeros(len(canvas), anywhere.shape[1] + 1).scatter(1, words, 1.0)[:, 1:]
            each = F.binary_cross_entropy_with_logits(anywhere, there, reduction="none").sum(1)
            loss = loss + self.presence_weight * each.mean()
        return loss


@dataclasses.dataclass(frozen=True)
class HardCaptioning(_OfPictures, HardLooks):
    """HardLooks for captioners."""

    TEACHES: ClassVar[tuple[type, ...]] = (CaptionerSettings,)

    captions: int = 1
    """As Captioning's."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        super().__post_init__()
        checks.positive(self, "captions")

    def check(self, model: object) -> None:
        """Raise ValueError for looks that are not hard, and for paid looks that nobody hears of later."""
        assert isinstance(model, CaptionerSettings)
        if not model.hard:
            raise ValueError("HardCaptioning teaches hard looks: set hard to True")
        if self.discount and model.feeding == "none":
            raise ValueError(
                "discount is of looks that are heard of later: choose another feeding than 'none'"
            )


@dataclasses.dataclass(frozen=True)
class SelfCritical(_OfPictures, TeacherForcing):
    """REINFORCE for whole captions, paid what the environment pays them with reward="score".

    Several captions of a picture are drawn, and each is better or worse than the mean of the others: that is
    self-critical training (Rennie et al. 2017), whose baseline is the greedy caption, with a baseline that is
    drawn (Luo 2020). Nothing drops out, for the captions that are drawn are those that are differentiated.
    """

    TEACHES: ClassVar[tuple[type, ...]] = (CaptionerSettings,)

    label_smoothing: float = 0.0
    """Must be 0: no true words are told."""
    samples: int = 5
    """How many captions of a picture are drawn. At least 2."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range, and for settings that only told words would use."""
        super().__post_init__()
        if self.label_smoothing or self.constrained:
            raise ValueError("SelfCritical tells no true words: leave out label_smoothing and constrained")
        if self.samples < 2:
            raise ValueError(f"samples must be at least 2, got {self.samples}")

    def check(self, model: object) -> None:
        """Raise ValueError for hard looks, whose captions are drawn twice over, and for idle settings."""
        self.check_coverage(model)
        if isinstance(model, CaptionerSettings) and model.hard:
            raise ValueError("SelfCritical draws words and no looks: set hard to False")

    def validation(self, model: Any, task: Task) -> Any:
        """As other captioners', with the statistics of batch normalisation that it is trained with."""
        return validation_of(
            task, lambda averaged: self.answers(averaged, task, "validation", 1), self.chosen_by
        )

    def lesson(self, model: Any, task: Task) -> Lesson[Any]:
        """Train on pictures of the environment's own generator; ValueError where it scores no sentences."""
        scores = single_env(task.env_id, {**task.env, "reward": "score"}).vector.world
        assert isinstance(scores, Scored)
        pool = Pictures(model, task)
        inner = glimpse_env_of(pool.env)
        never = unsayable(inner)

        def batch(seeds: list[int] | None, progress: float) -> BatchResult:
            drawn = pool.batch(seeds)
            seen = drawn.canvas.repeat_interleave(self.samples, 0)
            model.eval()  # nothing drops out
            said = sampled(model, seen, inner.task.end, inner.task.length, never)
            told = [[word for word in one if 0 <= word < inner.task.end] for one in said.tolist()]
            paid = [scores.score(one, drawn.ways[i // self.samples]) for i, one in enumerate(told)]
            rewards = torch.tensor(paid, device=seen.device)
            loss = self.loss_of(model, seen, said, rewards, never)
            model.train()
            return BatchResult(loss, {"paid": rewards.mean()})

        return Lesson(batch, self.validation(model, task), pool.env.close, self.UNIT)

    def loss_of(
        self, model: Captioner, seen: Tensor, said: Tensor, paid: Tensor, never: Sequence[int] = ()
    ) -> Tensor:
        """Minus the mean over captions of (what is paid - the others' mean) log p.

        seen: pictures, each `samples` times; said int64 (B, L), padded with -1; paid (B,); never: words that
        were never drawn.
        """
        scores, _ = model.teach(seen, said)
        scores[:, list(never)] = -torch.inf
        each = said.new_zeros(said.shape, dtype=torch.float32)
        nats = F.cross_entropy(scores, said[said >= 0], reduction="none")
        log_p = -each.masked_scatter(said >= 0, nats).sum(1)
        others = losses.leave_one_out(paid[None], self.samples)[0]
        return -((paid - others) * log_p).mean()


def unsayable(env: GlimpseVectorEnv) -> list[int]:
    """The answers that are no words: what stands for all those that people said too rarely."""
    return [env.answer_names.index(OTHER)] if isinstance(env.world, CaptionWorld) else []


@torch.no_grad()
def sampled(model: Captioner, seen: Tensor, end: int, most: int, never: Sequence[int] = ()) -> Tensor:
    """Captions that are drawn word by word but for words `never`, END included, padded with -1: (B, L)."""
    state = model.read(seen)
    heard = torch.zeros(len(seen), dtype=torch.long, device=seen.device)
    playing, said = torch.ones_like(heard, dtype=torch.bool), []
    for _ in range(most):
        scores, state = model.say(heard, state)
        scores[:, list(never)] = -torch.inf
        word = drawn(scores.softmax(-1))[:, 0]
        said.append(torch.where(playing, word, -1))
        playing = playing & (word != end)
        heard = word + 1
        if not playing.any():
            break
    return torch.stack(said, 1)
