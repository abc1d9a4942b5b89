"""Training and scoring of models that read a text and say another, word by word, the words before it told.

Those that see the whole text are taught here; the reading agent in learn/reading.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from agents import checks
from agents.agent import Agent, device_of, to_action, to_tensors
from agents.learn import losses
from agents.learn.envs import frozen_batches, frozen_env
from agents.learn.evaluate import Evaluation, Mode, evaluate, scoring
from agents.learn.judging import figures_of, judged, metric_of, validation_of, world_of
from agents.learn.loop import BatchResult, Lesson, LoopLearner, Scorer, Task
from agents.learn.pools import Taught, Texts
from agents.learn.reinforce import Objective
from agents.models.seq2seq import Seq2Seq, Seq2SeqSettings
from agents.models.transformer import Transformer, TransformerSettings
from agents.parts import beam
from agents.parts.brackets import WellFormed
from glimpse_env.data.trees import LEAVES
from glimpse_env.worlds.trees import TreeWorld
from glimpse_env.wrappers import glimpse_env_of

AT_ONCE = 100  # sentences that are searched side by side


@dataclasses.dataclass(frozen=True)
class TeacherForcing(LoopLearner, Scorer):
    """The cross-entropy of each word of the target, the true words before it being heard.

    What is validated, and chosen by, is what the model says on its own.
    """

    TEACHES: ClassVar[tuple[type, ...]] = (Seq2SeqSettings, TransformerSettings)
    UNIT: ClassVar[str] = "sentences"  # what a batch is made of

    label_smoothing: float = 0.1
    """The share of a word's probability that all words share in the loss, in [0, 1)."""
    beams: int = 5
    """The width of the beam search when the trained model is scored: of sentences, trees and captions, where
    answers that are right as a whole or not at all are said word by word."""
    length_weight: float = 1.0
    """The weight of its length normalisation (parts/beam.py)."""
    coverage_weight: float = 0.0
    """The weight of its coverage penalty, which penalises words left unread."""
    diagonal_weight: float = 0.0
    """The weight of the penalty on looks that lie off the diagonal (`off_diagonal`), in nats."""
    constrained: bool = False
    """Whether trees that are said are held to be well formed (parts/brackets.py)."""
    swapped: float = 0.0
    """The share of sentences to parse in which training exchanges a constituent (learn/swaps.py)."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        checks.share(self, "label_smoothing", "swapped")
        checks.positive(self, "beams")
        checks.not_negative(self, "length_weight", "coverage_weight", "diagonal_weight")

    def check(self, model: object) -> None:
        """Raise ValueError for hard looks, which have no derivative, and for a diagonal that does not fit."""
        if isinstance(model, Seq2SeqSettings) and model.hard:
            raise ValueError("hard looks are learned by HardLooks: set hard to False")
        self.check_coverage(model)
        if self.diagonal_weight and getattr(model, "attention", "none") in ("none", "last"):
            raise ValueError("diagonal_weight needs a model with dot, general or concat attention")
        if self.diagonal_weight and isinstance(model, Seq2SeqSettings) and model.local and not model.moves:
            raise ValueError("diagonal_weight would empty looks of local attention: set moves, too")

    def check_coverage(self, model: object) -> None:
        """Raise ValueError for a coverage penalty of a model without attention."""
        if self.coverage_weight and getattr(model, "attention", "none") in ("none", "last"):
            raise ValueError(
                "coverage_weight is of attention: leave it out, or choose dot, general or concat"
            )

    def lesson(self, model: Seq2Seq | Transformer, task: Task) -> Lesson[Any]:
        """Train on scenes of the environment's own generator, those of like length together.

        Raises ValueError for `constrained` answers that are no trees, and for another number of parts of
        speech than there are.
        """
        world = world_of(task, "train")
        if self.constrained and not isinstance(world, TreeWorld):
            raise ValueError("constrained is of trees: leave it out")
        if self.swapped and not isinstance(world, TreeWorld):
            raise ValueError("constituents are swapped in trees: set swapped to 0")
        pointer = model.settings.pointer if isinstance(model, Seq2Seq) else 0
        if pointer and not (isinstance(world, TreeWorld) and pointer == len(LEAVES)):
            kinds = len(LEAVES)
            raise ValueError(
                f"pointer is of trees, which have {kinds} kinds of leaves: set it to {kinds} there, else to 0"
            )
        if isinstance(model, Seq2Seq) and model.parts is not None:
            there = len(world.part_names) if isinstance(world, TreeWorld) else 0
            if model.settings.parts != there:
                raise ValueError(f"there are {there} parts of speech: set parts to {there}")
        pool = self.pool(model, task)

        def batch(seeds: list[int] | None, progress: float) -> BatchResult:
            drawn = pool.batch(seeds)
            if isinstance(model, Seq2Seq) and model.parts is not None:
                return BatchResult(self.loss_with_parts(model, drawn), {})
            return BatchResult(self.loss(model, drawn.canvas, drawn.target), {})

        return Lesson(batch, self.validation(model, task), pool.env.close, self.UNIT)

    def pool(self, model: Any, task: Task) -> Any:
        """Where batches come from: `batch(seeds)` gives what is `Taught`."""
        return Texts(model, task, self.swapped)

    def validation(self, model: Any, task: Task) -> Callable[[Any], dict[str, float]]:
        """What a model is validated by."""
        return validation_of(task, lambda averaged: self.answers(averaged, task, "validation", beams=1))

    def loss(self, model: Any, canvas: Tensor, target: Tensor) -> Tensor:
        """The mean over the words of targets (B, L), padded with -1, to texts (B, N)."""
        scores, looks = model.teach(canvas, target)
        return self._nats(scores, looks, canvas, target)

    def loss_with_parts(self, model: Seq2Seq, drawn: Taught) -> Tensor:
        """The same, and the mean over all words of the cross-entropy of their parts of speech."""
        assert drawn.parts is not None
        state, told = model.read_parts(drawn.canvas)
        parts = F.cross_entropy(told.flatten(0, 1), drawn.parts.flatten(), ignore_index=-1)
        scores, looks = model.teach_from(state, drawn.target)
        return self._nats(scores, looks, drawn.canvas, drawn.target) + parts

    def _nats(self, scores: Tensor, looks: Tensor, canvas: Tensor, target: Tensor) -> Tensor:
        """Of what a model says (M, n) and where it looks (B, L, N)."""
        loss = F.cross_entropy(scores, target[target >= 0], label_smoothing=self.label_smoothing)
        if self.diagonal_weight:
            loss = loss + self.diagonal_weight * off_diagonal(looks, canvas, target)
        return loss

    def answers(self, model: Seq2Seq | Transformer, task: Task, split: str, beams: int) -> list[list[int]]:
        """What a model says to each frozen text of a split."""
        weights = (self.length_weight, self.coverage_weight)
        return translate(model, task, split, beams, *weights, constrained=self.constrained)

    def said(self, model: Seq2Seq | Transformer, task: Task, split: str) -> list[list[int]]:
        """What the best found answer is to each frozen text of a split."""
        return self.answers(model, task, split, self.beams)

    def figures(self, model: Seq2Seq | Transformer, task: Task, split: str) -> dict[Mode, Evaluation]:
        """BLEU, cased without and with beams, and lower-cased; of trees F1; or the share not all right."""
        world = world_of(task, split)
        if world is None:
            return {"deterministic": evaluate(model, task.env_id, split, **task.env)}
        greedy = judged(world, self.answers(model, task, split, beams=1))
        return {"deterministic": greedy, **figures_of(world, self.said(model, task, split), "beam")}

    def metric(self, task: Task, mode: Mode) -> str:
        """BLEU of texts, F1 of trees, else an error in percent."""
        return metric_of(task, mode)


def off_diagonal(looks: Tensor, canvas: Tensor, target: Tensor) -> Tensor:
    """How far looks (B, L, N) at texts (B, N) lie off the diagonal while targets (B, L) are said, in [0, 1].

    That is the mean over words of the sum of A_tn (1 - exp(-(n / N - t / T)^2 / 2 g^2)), the guided attention
    of Tachibana, Uenoyama and Aihara (2018), with their g of 0.2.
    """
    words, said = (canvas > 0).sum(1).clamp_min(1), (target >= 0).sum(1).clamp_min(1)
    n = torch.arange(looks.shape[2], device=looks.device) / words[:, None]
    t = torch.arange(looks.shape[1], device=looks.device) / said[:, None]
    far = 1 - torch.exp(-(n[:, None] - t[..., None]).square() / (2 * 0.2**2))
    return (looks * far).sum(2)[target >= 0].mean()


@dataclasses.dataclass(frozen=True)
class HardLooks(TeacherForcing):
    """The same for hard looks: cross-entropy for the words, REINFORCE for the looks (Xu et al. 2015).

    What a word is paid for is its own look alone, unless looks are heard of later (`discount`).
    """

    TEACHES: ClassVar[tuple[type, ...]] = (Seq2SeqSettings,)

    label_smoothing: float = 0.0
    """As TeacherForcing's."""
    objective: Objective = "variational"
    """What a look is paid with: 1 for the right word, else 0, or log p of the right word: then the loss is a
    sample of the variational bound."""
    samples: int = 4
    """How often each word looks; REINFORCE subtracts the mean of its other looks. At least 2."""
    entropy_weight: float = 0.002
    """The weight of a look's entropy, in nats."""
    discount: float = 0.0
    """What a look is paid of each later word, as many times this as there are words between, in [0, 1]; of
    looks that are heard of later."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        super().__post_init__()
        checks.one_of(self, "objective", Objective)
        checks.not_negative(self, "entropy_weight", "discount")
        if self.discount > 1:
            raise ValueError(f"discount must be between 0 and 1, got {self.discount}")
        if self.samples < 2:
            raise ValueError(f"samples must be at least 2, got {self.samples}")

    def check(self, model: object) -> None:
        """Raise ValueError for looks that are not hard, and for settings that these looks have no use of."""
        if not (isinstance(model, Seq2SeqSettings) and model.hard):
            raise ValueError("HardLooks teaches hard looks: set hard to True")
        if self.diagonal_weight:
            raise ValueError("diagonal_weight is of soft looks: set it to 0")
        if model.parts:
            raise ValueError("parts of speech are taught beside soft looks: set parts to 0")
        if self.discount and model.feeding == "none":
            raise ValueError(
                "discount is of looks that are heard of later: choose another feeding than 'none'"
            )

    def loss(self, model: Seq2Seq, canvas: Tensor, target: Tensor) -> Tensor:
        """The mean over the words of targets (B, L), padded with -1, to texts (B, N)."""
        looked = model.teach_hard(canvas, target, self.samples)
        words = target[target >= 0].repeat_interleave(self.samples)
        scores = looked.scores.flatten(0, 1)
        nats = F.cross_entropy(scores, words, reduction="none", label_smoothing=self.label_smoothing)
        if self.objective == "variational":
            paid = -F.cross_entropy(scores.detach(), words, reduction="none")  # log p itself, not smoothed
        else:
            paid = (scores.argmax(1) == words).float()
        if self.discount:
            each = paid.new_zeros(*target.shape, self.samples)
            each[target >= 0] = paid.view(-1, self.samples)
            later = losses.returns(each.transpose(0, 1).flatten(1), self.discount)
            paid = later.view(-1, *each.shape[::2]).transpose(0, 1)[target >= 0].flatten()
        others = losses.leave_one_out(paid[None], self.samples)
        looks = losses.reinforce(looked.log_prob.flatten()[None], paid[None], others)
        return nats.mean() + looks - self.entropy_weight * looked.entropy.mean()


def written(agent: Agent, task: Task, split: str, *, sample: bool) -> list[list[int]]:
    """What an agent says about each frozen text of a split in the environment."""
    env = frozen_env(agent, task.env_id, split, **task.env)
    end, count = glimpse_env_of(env).task.end, glimpse_env_of(env).num_scenes
    said: list[list[int]] = []
    with scoring(agent, 0):
        for index in frozen_batches(env):
            observation, _ = env.reset(options={"index": index})
            state, ended = agent.initial(env.num_envs), np.zeros(env.num_envs, np.bool_)
            answers: list[list[int]] = [[] for _ in range(env.num_envs)]
            while not ended.all():
                step, state = agent(to_tensors(observation, device_of(agent)), state, sample)
                action = to_action(step)
                for row in np.flatnonzero(observation["due"] & ~ended & (action["answer"] != end)):
                    answers[row].append(int(action["answer"][row]))
                observation, _, terminated, truncated, _ = env.step(action)
                ended |= terminated | truncated
            said += answers
    env.close()
    return said[:count]


def well_formed(model: beam.Speaker, world: object, most: int) -> beam.Speaker:
    """The model, held to say well-formed trees of at most so many symbols; ValueError where it says none."""
    if not isinstance(world, TreeWorld):
        raise ValueError("constrained is of trees: leave it out")
    return WellFormed(model, len(LEAVES), len(world.labels), most)


def translate(
    model: Seq2Seq | Transformer,
    task: Task,
    split: str,
    beams: int,
    length_weight: float = 1.0,
    coverage_weight: float = 0.0,
    *,
    constrained: bool = False,
) -> list[list[int]]:
    """What a model says to each frozen text of a split, END left out.

    Raises ValueError for `constrained` answers that are no trees.
    """
    env = frozen_env(model, task.env_id, split, **task.env)
    inner = glimpse_env_of(env)
    canvas = []
    for index in frozen_batches(env):
        observation, _ = env.reset(options={"index": index})
        canvas.append(torch.from_numpy(observation["canvas"]))
    texts = torch.cat(canvas)[: inner.num_scenes]
    env.close()
    speaker = well_formed(model, inner.world, inner.task.length) if constrained else model
    said: list[list[int]] = [[]] * len(texts)
    order = (texts > 0).sum(1).argsort()
    with scoring(model, 0):
        for rows in torch.split(order, AT_ONCE):
            longest = max(int((texts[rows] > 0).sum(1).max()), 1)
            answers = beam.search(
                speaker,
                texts[rows, :longest].to(device_of(model)),
                inner.task.end,
                inner.task.length,
                beams=beams,
                length_weight=length_weight,
                coverage_weight=coverage_weight,
            )
            for row, answer in zip(rows.tolist(), answers, strict=True):
                said[row] = answer
    return said
