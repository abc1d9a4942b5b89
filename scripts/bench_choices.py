"""What each choice made for speed is worth on this machine: a training step with it and without, in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from agents.agent import Agent
from agents.device import mixed_precision
from agents.experiments import EXPERIMENTS
from agents.learn.loop import LoopLearner, Task
from agents.models.dram import DRAM
from agents.parts import windows
from agents.parts.convolutions import PatchConv2d
from agents.parts.windows import filterbank

ROUNDS, STEPS = 7, 5
Choice = Callable[[Agent, bool], None]  # makes the agent compute with the choice, or without


def bench_choices(dataset: str) -> None:
    """Print a Markdown table, one line per choice."""
    torch.set_num_threads(1)
    print("| experiment | choice | images/s without | with | ratio, median [lowest, highest] |")
    print("|---|---|---:|---:|---:|")
    for experiment, name, choose in (
        ("dram-sum", "channels last", channels_last),
        ("draw-classifier-g4", "tails of Gaussians are zero", flush_denormal),
        ("draw-classifier-g4", "exponents by one product", exponents),
        ("conv-cluttered", "PatchConv2d for nn.Conv2d", patches),
    ):
        step, agent, images = training_step(experiment, dataset)
        rates: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(1 + ROUNDS):  # in turn, so that a drift of the machine's speed meets both alike
            for chosen in rates:
                choose(agent, chosen)
                began = time.perf_counter()
                for _ in range(STEPS):
                    step()
                rates[chosen].append(STEPS * images / (time.perf_counter() - began))
        without, with_it = rates[False][1:], rates[True][1:]  # the first round warms up
        ratios = [b / a for a, b in zip(without, with_it, strict=True)]
        speeds = f"{statistics.median(without):,.0f} | {statistics.median(with_it):,.0f}"
        ratio = f"{statistics.median(ratios):.2f}x [{min(ratios):.2f}, {max(ratios):.2f}]"
        print(f"| {experiment} | {name} | {speeds} | {ratio} |", flush=True)
        choose(agent, True)


def channels_last(agent: Agent, chosen: bool) -> None:
    """The glimpse network makes its retina channels last; without, that is undone before its convolutions."""
    assert isinstance(agent, DRAM)
    what = agent.glimpse_network.what
    what._forward_pre_hooks.clear()
    if not chosen:
        what.register_forward_pre_hook(lambda _, inputs: inputs[0].contiguous())


def flush_denormal(agent: Agent, chosen: bool) -> None:
    """As scripts/train.py does for every training."""
    torch.set_flush_denormal(chosen)


def exponents(agent: Agent, chosen: bool) -> None:
    """Gaussians' exponents as the paper writes them, a minus and a quotient a pixel, or as one product."""

    def as_written(center: Tensor, stride: Tensor, sigma: Tensor, count: int, pixels: int) -> Tensor:
        steps = torch.arange(count) - (count - 1) / 2
        mean = ((center + 1) * 0.5 * (pixels - 1))[:, None] + steps * stride[:, None]
        distance = torch.arange(pixels) - mean.clamp(-windows.FAR, windows.FAR)[..., None]
        return torch.softmax(-(distance**2) / (2 * sigma[:, None, None] ** 2), -1)

    windows.filterbank = filterbank if chosen else as_written


def patches(agent: Agent, chosen: bool) -> None:
    """Convolutions of one channel as one product over patches."""
    for module in agent.modules():
        if isinstance(module, PatchConv2d):
            kind = PatchConv2d if chosen else nn.Conv2d
            setattr(module, "forward", kind.forward.__get__(module))  # noqa: B010 (a method of an instance)


def training_step(name: str, dataset: str) -> tuple[Callable[[], None], Agent, int]:
    """A step of the experiment from scratch, its agent, and how many images it sees."""
    experiment = EXPERIMENTS[name].but(env={**EXPERIMENTS[name].env, "dataset": dataset})
    loop: Any = experiment.loop
    agent = experiment.build(experiment.spec())
    assert isinstance(experiment.learner, LoopLearner)
    lesson = experiment.learner.lesson(agent, Task(experiment.env_id, experiment.env, loop, 1))
    optimizer = torch.optim.AdamW(agent.parameters(), loop.learning_rate, fused=True)
    first = list(range(loop.batch_size))

    def step() -> None:
        with mixed_precision(torch.device("cpu"), True):
            loss = lesson.batch(first, 0.5).loss
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        optimizer.step()

    return step, agent, loop.batch_size
