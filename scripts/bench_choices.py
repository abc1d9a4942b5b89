"""What each choice made for speed is worth on this machine: a training step with it and without, in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from agents import attention, losses
from agents.attention import filterbank
from agents.baselines import WholeCanvasClassifier
from agents.build import build_agent, shapes_of
from agents.dram import DRAM
from agents.evaluate import make_env
from agents.experiments import EXPERIMENTS
from agents.interface import Agent, to_tensors
from agents.layers import PatchConv2d
from agents.policy_gradient import PolicyGradient, hybrid_batch
from agents.supervised import Supervised, look_through
from agents.training import computes_bfloat16

ROUNDS, STEPS = 7, 5
Choice = Callable[[Agent, bool], None]  # makes the agent compute with the choice, or without


def bench_choices(dataset: str) -> None:
    """Print a Markdown table, a line a choice."""
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
        distance = torch.arange(pixels) - mean.clamp(-attention.FAR, attention.FAR)[..., None]
        return torch.softmax(-(distance**2) / (2 * sigma[:, None, None] ** 2), -1)

    attention.filterbank = filterbank if chosen else as_written


def patches(agent: Agent, chosen: bool) -> None:
    """Convolutions of one channel as one product over patches."""
    for module in agent.modules():
        if isinstance(module, PatchConv2d):
            kind = PatchConv2d if chosen else nn.Conv2d
            module.forward = kind.forward.__get__(module)  # type: ignore[method-assign]


def training_step(name: str, dataset: str) -> tuple[Callable[[], None], Agent, int]:
    """A step of the experiment from scratch, its agent, and how many images it sees."""
    settings: Any = EXPERIMENTS[name]
    env_keywords = {**settings.env, "dataset": dataset}
    agent = build_agent(settings, shapes_of(settings.env_id, env_keywords))
    env = make_env(agent, settings.env_id, settings.batch_size, **env_keywords, split="train")
    if isinstance(settings, PolicyGradient):
        play = hybrid_batch(settings, agent, env)
        loss: Callable[[], torch.Tensor] = lambda: play(None, 0.5).loss  # noqa: E731
    else:
        assert isinstance(settings, Supervised)
        loss = lambda: supervised_loss(agent, env)  # noqa: E731
    optimizer = torch.optim.AdamW(agent.parameters(), settings.learning_rate, fused=True)
    autocast = computes_bfloat16()

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            value = loss()
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step, agent, settings.batch_size


def supervised_loss(agent: Any, env: Any) -> torch.Tensor:
    """Cross-entropy of the last answer on fresh scenes."""
    observation, _ = env.reset()
    target = to_tensors(env.unwrapped.present_scenes()._asdict())["target"].view(-1, 1)
    canvas = to_tensors(observation)["canvas"]
    if isinstance(agent, WholeCanvasClassifier):
        return losses.cross_entropy(agent.answers(canvas), target)
    logits, _ = look_through(agent, canvas, env.unwrapped.horizon)
    return losses.cross_entropy(logits[:, -1:], target)
