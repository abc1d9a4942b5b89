"""The loop of all trainings but PPO: epochs, schedule, clipping, averaging, validation, checkpoints."""

from __future__ import annotations

import abc
import copy
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from agents import checks, parallel
from agents.agent import Agent, device_of
from agents.device import mixed_precision
from agents.learn import checkpoint
from agents.learn.evaluate import Evaluation, Mode, evaluate
from agents.learn.run import Run

Model = TypeVar("Model", bound=nn.Module)
MUON_SIDE = 32  # logits and windows are narrower, every hidden layer wider
EPOCH_SEED = 1_000_003  # spreads the seeds of runs and epochs apart


@dataclasses.dataclass(frozen=True)
class Loop:
    """How long, how fast and with which optimiser an agent is trained."""

    epochs: int = 100
    """How many epochs are trained."""
    images_per_epoch: int = 55_000
    """How many images, or sequences, are drawn in one epoch; several rollouts may see each image."""
    batch_size: int = 512
    """How many images, or sequences, make a batch."""
    learning_rate: float = 2e-3
    """The highest learning rate; it falls to 0 as a cosine."""
    warm_up: float = 0.0
    """The share of training in which the learning rate rises in a straight line, in [0, 1)."""
    weight_decay: float = 1e-4
    """How much AdamW and Muon shrink the weights, times the learning rate."""
    clip: float = 5.0
    """The largest norm of the gradient; longer ones are shortened to it."""
    average: float = 0.998
    """The EMA decay of the weights at each batch, in [0, 1); the averaged weights are scored and kept."""
    bfloat16: bool = True
    """Whether matrix products are in bfloat16, where the processor can."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """AdamW, or Muon for the matrices of hidden layers and AdamW for the rest (learn.loop.optimizers_of)."""

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range."""
        checks.positive(self, "epochs", "images_per_epoch", "batch_size", "learning_rate", "clip")
        checks.not_negative(self, "weight_decay")
        checks.share(self, "warm_up", "average")
        if self.optimizer not in ("adamw", "muon"):
            raise ValueError(f"optimizer must be 'adamw' or 'muon', got {self.optimizer!r}")


class BatchResult(NamedTuple):
    """One batch's loss, which is differentiated, and figures to show by name, means over the batch."""

    loss: Tensor
    figures: dict[str, Tensor]


class Task(NamedTuple):
    """Where an agent learns: an id, its keywords, the loop and the seed."""

    env_id: str
    env: Mapping[str, Any]
    loop: Any
    seed: int


class Lesson(NamedTuple, Generic[Model]):
    """What a learner does with an agent.

    batch(seeds, progress) plays one batch: seeds (one an image) are given at an epoch's first batch and None
    afterwards, progress in [0, 1] is how much of the training is done. validate(averaged) gives, by its name,
    the figure whose lowest epoch is the best, and then what else the line of metrics shall hold. close() lets
    go of the environment. unit: what a batch is made of.
    """

    batch: Callable[[list[int] | None, float], BatchResult]
    validate: Callable[[Model], dict[str, Any]]
    close: Callable[[], None]
    unit: str = "images"


class Learner(abc.ABC):
    """How an agent is taught.

    TEACHES: the settings of the models that it can teach. SEQUENCES: of those that learn without an
    environment, the names of the sequences that they learn on.
    """

    TEACHES: ClassVar[tuple[type, ...]] = ()
    SEQUENCES: ClassVar[tuple[str, ...]] = ()

    def check(self, model: object) -> None:  # noqa: B027 (most have nothing to refuse)
        """Raise ValueError where a field of this learner would do nothing for `model`."""

    @abc.abstractmethod
    def train(self, run: Run, agent: Any, task: Task, *, quiet: bool = False) -> Iterator[dict[str, Any]]:
        """Train `agent` to the last epoch and yield each epoch's metrics, after they are on disk."""


class Scorer(abc.ABC):
    """A learner that itself says how its models are scored: they draw, write, or are counted otherwise."""

    @abc.abstractmethod
    def figures(self, model: Any, task: Task, split: str) -> dict[Mode, Evaluation]:
        """The model's figures on a split's frozen scenes, pictures or sequences, by how they are counted."""

    @abc.abstractmethod
    def metric(self, task: Task, mode: Mode) -> str:
        """What a figure is that is counted so."""


class LoopLearner(Learner):
    """A learner whose batches the loop of this module trains on."""

    @abc.abstractmethod
    def lesson(self, agent: Any, task: Task) -> Lesson[Any]:
        """The batches and the validation of `agent` in its task."""

    def train(self, run: Run, agent: Any, task: Task, *, quiet: bool = False) -> Iterator[dict[str, Any]]:
        """Train `agent` to the last epoch and yield each epoch's metrics, after they are on disk."""
        share = dataclasses.replace(task.loop, batch_size=parallel.share_of(task.loop.batch_size))
        lesson = self.lesson(agent, task._replace(loop=share))
        yield from train(run, task.loop, task.seed, agent, lesson, quiet=quiet)
        lesson.close()


def error_on_validation(task: Task) -> Callable[[Agent], dict[str, float]]:
    """What an agent is validated by: its error on the validation scenes, in percent."""
    return lambda agent: {"validation_error": evaluate(agent, task.env_id, "validation", **task.env).error}


def train(
    run: Run, loop: Loop, seed: int, agent: Model, lesson: Lesson[Model], *, quiet: bool = False
) -> Iterator[dict[str, Any]]:
    """Train `agent` by its lesson to the last epoch and yield each epoch's metrics, after they are on disk.

    All randomness is seeded anew every epoch, so that a resumed run ends with the same weights as one that
    was never stopped. Of processes that train together (parallel.py) each plays its share of every batch; the
    first validates and writes.
    """
    device = device_of(agent)
    optimizers = optimizers_of(agent, loop)
    parallel.copy_from_first(agent)
    averaged = copy.deepcopy(agent)
    saved, run.epoch, run.best = parallel.from_first((run.load_last(), run.epoch, run.best))
    if saved:
        checkpoint.load_weights(agent, checkpoint.part(saved, "agent."), run.last)
        checkpoint.load_weights(averaged, checkpoint.part(saved, "average."), run.last)
        for prefix, optimizer in optimizers.items():
            checkpoint.restore_optimizer(optimizer, saved, prefix)
        del saved
    batches = math.ceil(loop.images_per_epoch / loop.batch_size)
    for epoch in range(run.epoch, loop.epochs):
        began = time.perf_counter()
        parallel.seed(seed * EPOCH_SEED + epoch)
        sums: dict[str, Tensor] = {}
        bar = tqdm(
            total=batches * loop.batch_size,
            desc=f"epoch {epoch + 1}/{loop.epochs}",
            unit=f" {lesson.unit}",
            unit_scale=True,
            disable=quiet or parallel.rank() > 0,
            leave=False,
        )
        for i in range(batches):
            done = (epoch * batches + i) / (loop.epochs * batches)
            for optimizer in optimizers.values():
                optimizer.param_groups[0]["lr"] = loop.learning_rate * schedule(done, loop.warm_up)
            seeds = parallel.own(epoch_seeds(seed, epoch, loop.batch_size)) if i == 0 else None
            with mixed_precision(device, loop.bfloat16):
                result = lesson.batch(seeds, done)
            agent.zero_grad()
            result.loss.backward()  # type: ignore[no-untyped-call]  # torch's
            parallel.average_gradients(agent)
            torch.nn.utils.clip_grad_norm_(agent.parameters(), loop.clip)
            for optimizer in optimizers.values():
                optimizer.step()
            update_average(averaged, agent, loop.average, epoch * batches + i)
            for name, figure in {"loss": result.loss, **result.figures}.items():
                figure = figure.detach().float()  # a thousand numbers do not add up in bfloat16
                sums[name] = sums.get(name, figure.new_zeros(())) + figure
            bar.update(loop.batch_size)
            if i % 10 == 9:
                means = {name: f"{figure.item() / (i + 1):.2f}" for name, figure in sums.items()}
                bar.set_postfix(means, refresh=False)
        bar.close()
        sums = {name: parallel.mean(figure) for name, figure in sums.items()}
        check_finite(sums["loss"], epoch)
        rate = batches * loop.batch_size / (time.perf_counter() - began)
        validation = lesson.validate(averaged) if parallel.rank() == 0 else {}
        metrics = {
            "epoch": epoch + 1,
            **{name: figure.item() / batches for name, figure in sums.items()},
            **validation,
            f"{lesson.unit}_per_second": rate,
            "minutes": (time.perf_counter() - began) / 60,
        }
        state = {
            **checkpoint.with_prefix(agent, "agent."),
            **checkpoint.with_prefix(averaged, "average."),
        }
        for prefix, optimizer in optimizers.items():
            state.update(checkpoint.flatten_optimizer(optimizer, prefix))
        score = next(iter(validation.values()), math.inf)
        run.finish_epoch(metrics, score, state, averaged.state_dict())
        yield metrics


def optimizers_of(agent: nn.Module, loop: Loop) -> dict[str, torch.optim.Optimizer]:
    """Who moves which weights, by the prefix of their state in a checkpoint.

    With "muon", matrices with more than MUON_SIDE rows and columns are Muon's (Jordan et al. 2024), whose
    steps are as long in every direction. Embeddings of words, a model's `head`, and what speaks to the world
    in a few numbers stay AdamW's.
    """
    rate, decay = loop.learning_rate, loop.weight_decay
    muon = loop.optimizer == "muon"
    outer = {
        layer.weight
        for name, layer in agent.named_modules()
        if isinstance(layer, nn.Embedding) or (isinstance(layer, nn.Linear) and name.endswith("head"))
    }
    matrices = [
        p for p in agent.parameters() if muon and p.ndim == 2 and min(p.shape) > MUON_SIDE and p not in outer
    ]
    others = [p for p in agent.parameters() if all(p is not matrix for matrix in matrices)]
    made: dict[str, torch.optim.Optimizer] = {
        "optimizer.": torch.optim.AdamW(others, rate, weight_decay=decay, fused=True)
    }
    if matrices:
        # Steps scaled to be as long as AdamW's, so that one learning rate fits both (Liu et al. 2025).
        made["muon."] = torch.optim.Muon(matrices, rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
    return made


def check_finite(loss: Tensor, epoch: int) -> None:
    """Raise ValueError for a loss summed over an epoch that is infinite or NaN."""
    if not loss.isfinite():
        raise ValueError(
            f"the loss is not finite in epoch {epoch + 1}: train anew with a lower learning_rate or clip; "
            "what the epochs before it wrote is kept."
        )


def schedule(done: float, warm_up: float) -> float:
    """Factor of the learning rate: linear up over the first `warm_up` of training, then cosine to 0."""
    if done < warm_up:
        return done / warm_up
    return 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))


def epoch_seeds(seed: int, epoch: int, batch_size: int) -> list[int]:
    """One environment seed an image of the batch, different in every epoch of every run."""
    first = (seed * EPOCH_SEED + epoch) * batch_size
    return list(range(first, first + batch_size))


@torch.no_grad()
def update_average(averaged: nn.Module, agent: nn.Module, decay: float, updates: int) -> None:
    """Exponential average of the weights, shorter at first so that it forgets where training began."""
    decay = min(decay, (1 + updates) / (10 + updates))
    torch._foreach_lerp_(list(averaged.parameters()), list(agent.parameters()), 1 - decay)
    for kept, buffer in zip(averaged.buffers(), agent.buffers(), strict=True):
        kept.copy_(buffer)
