"""`bench.py train`: images a second of training steps of RAM, DRAM, EDRAM and DRAW, on one thread."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from bench_choices import Choice, channels_last, exponents, flush_denormal, patches, training_step
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from agents.agent import Agent
from agents.device import computes_bfloat16
from agents.experiments import Experiment
from agents.learn.envs import make_env
from agents.learn.loop import Loop, update_average
from agents.learn.reinforce import Reinforce
from agents.models.ram import RAM, RAMSettings
from glimpse_env.data.images import load

BATCH, GLIMPSES = 128, 6
ROUNDS, BATCHES = 7, 20
PARTS = ("sensor", "forward", "backward", "optimiser")
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "convolution", "convolution_backward")  # in place or not


def bench_train(dataset: str) -> None:
    """Print two Markdown tables: RAM's step beside the reference's, and steps of four agents."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # as scripts/train.py does
    bench_ram(dataset)
    bench_steps(dataset)


def bench_ram(dataset: str) -> None:
    """Ours in every precision the processor computes in, with the reference among them."""
    runs: dict[str, Any] = {"plain reference, float32": PlainRAM(dataset)}
    for dtype in (
        (torch.float32, torch.bfloat16) if computes_bfloat16(torch.device("cpu")) else (torch.float32,)
    ):
        precision = str(dtype).removeprefix("torch.")
        runs[f"ours by autograd, {precision}, batch {BATCH}"] = Ours(
            dataset, BATCH, bfloat16=dtype == torch.bfloat16, at_once=False
        )
        for size in (BATCH, 512):
            ours = Ours(dataset, size, bfloat16=dtype == torch.bfloat16)
            runs[f"ours, {precision}, batch {size}"] = ours
            runs[f"matrix products alone, {precision}, batch {size}"] = Products(ours.batch, size)
    for run in runs.values():
        run.batch()
        run.seconds = dict.fromkeys(PARTS, 0.0)  # without what is compiled at first
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):  # in turn, so that a drift of the machine's speed meets all alike
        for name, run in runs.items():
            began = time.perf_counter()
            for _ in range(BATCHES):
                run.batch()
            rates[name].append(BATCHES * run.size / (time.perf_counter() - began))
    reference = statistics.median(rates["plain reference, float32"])
    print(f"RAM, 28x28, {GLIMPSES} glimpses, {torch.get_num_threads()} thread")
    print("| | images/s | ratio | " + " | ".join(PARTS) + " |")
    print("|---|---:|---:|" + "---:|" * len(PARTS))
    for name, run in runs.items():
        rate = statistics.median(rates[name])
        total = sum(run.seconds.values())
        shares = [f"{100 * run.seconds[part] / total:.0f}%" if total else "" for part in PARTS]
        print(f"| {name} | {rate:,.0f} | {rate / reference:.1f}x | {' | '.join(shares)} |")
    print(
        "Sensor: reset and step of the environment. The matrix products alone are the limit: what RAM's\n"
        "take by themselves. The rest of a step is some 150 small operations, each a call of a few\n"
        "microseconds, which a larger batch shares among more images.\n"
    )


def bench_steps(dataset: str) -> None:
    """A step with what was done for its speed and without, and its products and convolutions alone."""
    print("| experiment | images/s, plain | as it is | ratio | products alone | of the step |")
    print("|---|---:|---:|---:|---:|---:|")
    made: dict[str, tuple[Choice, ...]] = {
        "ram-mnist": (recorded, flush_denormal),
        "dram-sum": (channels_last, flush_denormal),
        "edram-slim": (patches, flush_denormal),
        "draw-mnist": (exponents, flush_denormal),
    }
    for experiment, choices in made.items():
        print(f"| {experiment} | {' | '.join(step_cells(experiment, choices, dataset))} |", flush=True)
    print(
        "Plain: RAM's episode by autograd, and the others without what `bench.py choices` measures.\n"
        "Products alone: all matrix products and convolutions of one step."
    )


def step_cells(experiment: str, choices: tuple[Choice, ...], dataset: str) -> list[str]:
    """A line of the table, without its name; medians over rounds, the three in turn."""
    step, agent, images = training_step(experiment, dataset)
    step()
    products = Products(step, images)

    def chosen(all_of_them: bool) -> None:
        for choose in choices:
            choose(agent, all_of_them)
        step()

    runs: list[Callable[[], None]] = [partial(chosen, False), partial(chosen, True), products.batch]
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(1 + ROUNDS):
        for run, taken in zip(runs, seconds, strict=True):
            began = time.perf_counter()
            run()
            taken.append(time.perf_counter() - began)
    without, ours, alone = (statistics.median(taken[1:]) for taken in seconds)  # the first round warms up
    return [
        f"{images / without:,.0f}",
        f"{images / ours:,.0f}",
        f"{without / ours:.2f}x",
        f"{images / alone:,.0f}",
        f"{100 * alone / ours:.0f}%",
    ]


def recorded(agent: Agent, chosen: bool) -> None:
    """RAM's episode is recorded and differentiated at once (parts/recording.py), or by autograd."""
    assert isinstance(agent, RAM)
    recording = partial(RAM.recording, agent) if chosen else lambda: None
    setattr(agent, "recording", recording)  # noqa: B010 (a method of an instance)


class Ours:
    """The project's own training step, timed part by part.

    at_once: whether the episode is recorded and differentiated at once (parts/recording.py).
    """

    def __init__(self, dataset: str, size: int, bfloat16: bool, at_once: bool = True) -> None:
        env: dict[str, Any] = {"dataset": dataset, "horizon": GLIMPSES}
        learner = Reinforce(sigma_start=0.15)
        experiment = Experiment("Glimpse/MNIST-v0", RAMSettings(), learner, Loop(), env)
        self.agent: RAM = experiment.build(experiment.spec())
        recorded(self.agent, at_once)
        self.size, self.bfloat16 = size, bfloat16
        self.env = make_env(self.agent, experiment.env_id, size, start_gaze="random", **env)
        self.play = partial(learner.batch, self.agent, self.env)
        self.optimizer = torch.optim.AdamW(self.agent.parameters(), 2e-3, fused=True)
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.averaged = copy.deepcopy(self.agent)
        self._time_sensor()

    def _time_sensor(self) -> None:
        reset, step = self.env.reset, self.env.step

        def timed(call: Any, *arguments: Any, **keywords: Any) -> Any:
            began = time.perf_counter()
            result = call(*arguments, **keywords)
            self.seconds["sensor"] += time.perf_counter() - began
            return result

        self.env.reset = lambda **k: timed(reset, **k)
        self.env.step = lambda a: timed(step, a)

    def batch(self) -> None:
        """One training step."""
        times = [time.perf_counter()]
        sensor = self.seconds["sensor"]
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            loss = self.play(None, 0.0).loss
        times.append(time.perf_counter())
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        times.append(time.perf_counter())
        nn.utils.clip_grad_norm_(self.agent.parameters(), 5.0)
        self.optimizer.step()
        update_average(self.averaged, self.agent, 0.998, 1000)
        times.append(time.perf_counter())
        self.seconds["forward"] += times[1] - times[0] - (self.seconds["sensor"] - sensor)
        self.seconds["backward"] += times[2] - times[1]
        self.seconds["optimiser"] += times[3] - times[2]


class Products:
    """The matrix products and convolutions of one training step, and nothing else of it."""

    def __init__(self, step: Callable[[], None], size: int) -> None:
        self.size = size
        self.seconds = dict.fromkeys(PARTS, 0.0)
        with _Recorder() as recorder:
            step()
        self.calls = recorder.calls

    def batch(self) -> None:
        """The same operations on tensors of the same shapes and precision."""
        with torch.no_grad():
            for operation, arguments in self.calls:
                operation(*arguments)


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's
    """Notes every operation among PRODUCTS, with random tensors in the place of its arguments."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.calls: list[tuple[Any, list[Any]]] = []
        self.tensors: dict[Any, torch.Tensor] = {}  # one of each kind, for all operations

    def __torch_dispatch__(self, operation: Any, _: Any, arguments: Any = (), keywords: Any = None) -> Any:
        result = operation(*arguments, **(keywords or {}))
        name = operation.overloadpacket.__name__.rstrip("_")
        if name in PRODUCTS:
            like = [self._like(a) if isinstance(a, torch.Tensor) else a for a in arguments]
            # `default` allocates its result; `out` would want the caller's memory.
            self.calls.append((getattr(torch.ops.aten, name).default, like))
        return result

    def _like(self, tensor: torch.Tensor) -> torch.Tensor:
        kind = (tuple(tensor.shape), tensor.stride(), tensor.dtype)
        if kind not in self.tensors:
            self.tensors[kind] = torch.randn_like(tensor)
        return self.tensors[kind]


class PlainRAM:
    """The reference: RAM as public code commonly writes it, float32, patches cropped image by image.

    Settings are those of github.com/kevinzakka/recurrent-visual-attention: batches of 128, Adam at 3e-4, a
    sigma of 0.05, and REINFORCE by the hundredth.
    """

    def __init__(self, dataset: str) -> None:
        self.dataset = dataset
        self.images, self.labels = self.digits("train")
        self.what, self.where = nn.Linear(64, 128), nn.Linear(2, 128)
        self.what_out, self.where_out = nn.Linear(128, 256), nn.Linear(128, 256)
        self.glimpse, self.recurrent = nn.Linear(256, 256), nn.Linear(256, 256)
        self.locator, self.classifier, self.baseline = (
            nn.Linear(256, 2),
            nn.Linear(256, 10),
            nn.Linear(256, 1),
        )
        modules = [m for m in vars(self).values() if isinstance(m, nn.Module)]
        self.optimizer = torch.optim.Adam([p for m in modules for p in m.parameters()], 3e-4)
        self.size = BATCH
        self.seconds = dict.fromkeys(PARTS, 0.0)

    def digits(self, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (N, 28, 28) in [0, 1] and labels (N,)."""
        digits = load(self.dataset, split)
        return torch.tensor(digits.images).float() / 255, torch.tensor(digits.labels)

    def crop(self, images: torch.Tensor, gaze: torch.Tensor) -> torch.Tensor:
        """8x8 patches (B, 64) at gaze (B, 2), each cut out of its zero-padded image."""
        padded = F.pad(images, (4, 4, 4, 4))
        corner = (0.5 * (gaze + 1) * 28).long()
        patches = []
        for i in range(len(images)):
            x, y = corner[i].clamp(0, 28)
            patches.append(padded[i, :, y : y + 8, x : x + 8])
        return torch.stack(patches).flatten(1)

    def batch(self) -> None:
        """One training step."""
        rows = torch.randint(len(self.images), (BATCH,))
        log_p, log_prob, baseline = self.play(self.images[rows])
        labels = self.labels[rows]
        reward = (log_p.detach().argmax(1) == labels).float()
        rewards = reward[:, None].repeat(1, GLIMPSES)
        advantage = rewards - baseline.detach()
        loss = F.nll_loss(log_p, labels) + F.mse_loss(baseline, rewards)
        loss = loss + 0.01 * torch.mean(torch.sum(-log_prob * advantage, 1))
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        self.optimizer.step()

    def error(self, split: str) -> float:
        """How many digits of a split it takes for others, in percent, along drawn gazes, as it is trained."""
        images, labels = self.digits(split)
        with torch.no_grad():
            said = torch.cat([self.play(part)[0].argmax(1) for part in torch.split(images, 1000)])
        return 100 * float((said != labels).float().mean())

    def play(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Log p of each answer (B, 10), and of each gaze its log p and its baseline, (B, GLIMPSES)."""
        h = torch.zeros(len(images), 256)
        gaze = 2 * torch.rand(len(images), 2) - 1
        log_probs, baselines = [], []
        for _ in range(GLIMPSES):
            what = F.relu(self.what(self.crop(images, gaze)))
            where = F.relu(self.where(gaze))
            g = F.relu(self.what_out(what) + self.where_out(where))
            h = F.relu(self.glimpse(g) + self.recurrent(h))
            mean = torch.tanh(self.locator(h.detach()))
            policy: Any = torch.distributions.Normal(mean, 0.05)
            gaze = policy.sample()
            log_probs.append(policy.log_prob(gaze).sum(1))
            gaze = gaze.clamp(-1, 1)
            baselines.append(self.baseline(h.detach()).squeeze(1))
        log_p = F.log_softmax(self.classifier(h), 1)
        return log_p, torch.stack(log_probs, 1), torch.stack(baselines, 1)
