"""The loop of all trainings but PPO: epochs, schedule, clipping, averaging, validation, checkpoints."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm
from tyro.constructors import PrimitiveConstructorSpec

from agents import checkpoint
from agents.evaluate import evaluate
from agents.interface import Agent
from agents.runs import Run

EnvKeywords = Annotated[
    dict[str, int | float | str],
    # On the command line `--env horizon=4 dataset=mnist-5k`, whatever the experiment's own keywords are.
    PrimitiveConstructorSpec(
        nargs="*",
        metavar="KEYWORD=VALUE",
        instance_from_str=lambda pairs: dict(map(parse_keyword, pairs)),
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda env: [f"{key}={value}" for key, value in env.items()],
    ),
]


def parse_keyword(pair: str) -> tuple[str, int | float | str]:
    """Split "horizon=4" into ("horizon", 4); ValueError without an equals sign."""
    key, equals, value = pair.partition("=")
    if not (key and equals):
        raise ValueError(f"{pair!r} is not KEYWORD=VALUE")
    if value in ("True", "False"):
        return key, value == "True"
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return key, kind(value)
    return key, value


RESERVED = {"split", "num_envs", "autoreset_mode", "max_episode_steps", "render_mode"}
Model = TypeVar("Model", bound=nn.Module)
MUON_SIDE = 32  # logits and windows are narrower, every hidden layer wider
EPOCH_SEED = 1_000_003  # spreads the seeds of runs and epochs apart


def check_positive(settings: object, *names: str) -> None:
    """Raise ValueError for the first of these fields that is not above zero."""
    for name in names:
        if not getattr(settings, name) > 0:
            raise ValueError(f"{name} must be positive, got {getattr(settings, name)}")


def check_not_negative(settings: object, *names: str) -> None:
    """Raise ValueError for the first of these fields that is below zero."""
    for name in names:
        if not getattr(settings, name) >= 0:
            raise ValueError(f"{name} must not be negative, got {getattr(settings, name)}")


def check_keywords(env: EnvKeywords) -> None:
    """Raise ValueError for keywords of an environment that an experiment must not set."""
    taken = RESERVED & env.keys()
    if taken:
        raise ValueError(f"env must not set {', '.join(sorted(taken))}: the script itself decides that")


def check_no_context(env: EnvKeywords, who: str, sees: str) -> None:
    """Raise ValueError for keywords by which the environment shows a context to `who`, that sees `sees`."""
    if env.get("context"):
        raise ValueError(f"{who} sees {sees}: leave out env context")


@dataclasses.dataclass(frozen=True)
class Training:
    """What every training shares; an experiment adds its agent, environment and loss.

    env: keywords of `gymnasium.make` beyond the id's own. images_per_epoch: images drawn, with
    replacement, in one epoch; each may be seen by several rollouts. average: decay a batch of the averaged
    weights, which are the ones evaluated and kept as best. bfloat16: autocast, where the processor can.
    optimizer: see `optimizers_of`.
    init: what to start from, a published experiment (of the same seed), a run folder or a checkpoint; only
    the classifier may have other shapes, and then begins anew.
    """

    env_id: str
    env: EnvKeywords = dataclasses.field(default_factory=dict)
    epochs: int = 100
    images_per_epoch: int = 55_000
    batch_size: int = 512
    learning_rate: float = 2e-3
    warm_up: float = 0.0
    weight_decay: float = 1e-4
    clip: float = 5.0
    average: float = 0.998
    bfloat16: bool = True
    optimizer: Literal["adamw", "muon"] = "adamw"
    curriculum: float = 0.0
    init: str = ""
    seed: int = 1

    def __post_init__(self) -> None:
        """Raise ValueError for a number out of range and for what the loop itself decides."""
        check_positive(self, "epochs", "images_per_epoch", "batch_size", "learning_rate", "clip")
        check_not_negative(self, "weight_decay")
        if self.optimizer not in ("adamw", "muon"):
            raise ValueError(f"optimizer must be 'adamw' or 'muon', got {self.optimizer!r}")
        for name in ("warm_up", "curriculum", "average"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}")
        check_keywords(self.env)


class BatchResult(NamedTuple):
    """One batch's loss, which is differentiated, and figures to show by name, means over the batch."""

    loss: Tensor
    figures: dict[str, Tensor]


def error_on_validation(settings: Training) -> Callable[[Agent], dict[str, float]]:
    """What `train` validates an agent by: its error on the validation scenes, in percent."""
    return lambda agent: {
        "validation_error": evaluate(agent, settings.env_id, "validation", **settings.env).error
    }


def train(
    run: Run,
    settings: Training,
    agent: Model,
    batch: Callable[[list[int] | None, float], BatchResult],
    validate: Callable[[Model], dict[str, float]],
    *,
    quiet: bool = False,
) -> Iterator[dict[str, Any]]:
    """Train `agent` to the last epoch and yield each epoch's metrics, after they are on disk.

    batch(seeds, progress) plays one batch: seeds (one an image) are given at an epoch's first batch and
    None afterwards, progress in [0, 1] is how much of the training is done. validate(averaged) gives the one
    figure, by its name, whose lowest epoch is the best. All randomness is seeded anew every epoch, so that a
    resumed run ends with the same weights as one that was never stopped.
    """
    averaged = copy.deepcopy(agent)
    optimizers = optimizers_of(agent, settings)
    saved = run.load_last()
    if saved:
        checkpoint.load_weights(agent, checkpoint.part(saved, "agent."), run.last)
        checkpoint.load_weights(averaged, checkpoint.part(saved, "average."), run.last)
        for prefix, optimizer in optimizers.items():
            checkpoint.restore_optimizer(optimizer, saved, prefix)
    autocast = settings.bfloat16 and computes_bfloat16()
    batches = math.ceil(settings.images_per_epoch / settings.batch_size)
    for epoch in range(run.epoch, settings.epochs):
        began = time.perf_counter()
        torch.manual_seed(settings.seed * EPOCH_SEED + epoch)
        sums: dict[str, Tensor] = {}
        bar = tqdm(
            total=batches * settings.batch_size,
            desc=f"epoch {epoch + 1}/{settings.epochs}",
            unit=" images",
            unit_scale=True,
            disable=quiet,
            leave=False,
        )
        for i in range(batches):
            done = (epoch * batches + i) / (settings.epochs * batches)
            for optimizer in optimizers.values():
                optimizer.param_groups[0]["lr"] = settings.learning_rate * schedule(done, settings.warm_up)
            seeds = epoch_seeds(settings, epoch) if i == 0 else None
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                result = batch(seeds, done)
            agent.zero_grad()
            result.loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(agent.parameters(), settings.clip)
            for optimizer in optimizers.values():
                optimizer.step()
            update_average(averaged, agent, settings.average, epoch * batches + i)
            for name, figure in {"loss": result.loss, **result.figures}.items():
                sums[name] = sums.get(name, torch.zeros(())) + figure.detach()
            bar.update(settings.batch_size)
            if i % 10 == 9:
                means = {name: f"{figure.item() / (i + 1):.2f}" for name, figure in sums.items()}
                bar.set_postfix(means, refresh=False)
        bar.close()
        check_finite(sums["loss"], epoch)
        rate = batches * settings.batch_size / (time.perf_counter() - began)
        validation = validate(averaged)
        metrics = {
            "epoch": epoch + 1,
            **{name: figure.item() / batches for name, figure in sums.items()},
            **validation,
            "images_per_second": rate,
            "minutes": (time.perf_counter() - began) / 60,
        }
        state = {
            **checkpoint.with_prefix(agent, "agent."),
            **checkpoint.with_prefix(averaged, "average."),
        }
        for prefix, optimizer in optimizers.items():
            state.update(checkpoint.flatten_optimizer(optimizer, prefix))
        run.finish_epoch(metrics, *validation.values(), state, averaged.state_dict())
        yield metrics


def optimizers_of(agent: nn.Module, settings: Training) -> dict[str, torch.optim.Optimizer]:
    """Who moves which weights, by the prefix of their state in a checkpoint.

    With "muon", matrices with more than MUON_SIDE rows and columns are Muon's (Jordan et al. 2024), whose
    steps are as long in every direction; what speaks to the world in a few numbers stays AdamW's.
    """
    rate, decay = settings.learning_rate, settings.weight_decay
    muon = settings.optimizer == "muon"
    matrices = [p for p in agent.parameters() if muon and p.ndim == 2 and min(p.shape) > MUON_SIDE]
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


def computes_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16; one that only imitates it takes 66 times as long (AVX2)."""
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def schedule(done: float, warm_up: float) -> float:
    """Factor of the learning rate: linear up over the first `warm_up` of training, then cosine to 0."""
    if done < warm_up:
        return done / warm_up
    return 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))


def epoch_seeds(settings: Training, epoch: int) -> list[int]:
    """One environment seed an image of the batch, different in every epoch of every run."""
    first = (settings.seed * EPOCH_SEED + epoch) * settings.batch_size
    return list(range(first, first + settings.batch_size))


@torch.no_grad()
def update_average(averaged: nn.Module, agent: nn.Module, decay: float, updates: int) -> None:
    """Exponential average of the weights, shorter at first so that it forgets where training began."""
    decay = min(decay, (1 + updates) / (10 + updates))
    for mean, now in zip(averaged.parameters(), agent.parameters(), strict=True):
        mean.lerp_(now, 1 - decay)
    for mean, now in zip(averaged.buffers(), agent.buffers(), strict=True):
        mean.copy_(now)
