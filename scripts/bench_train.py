"""`bench.py train`: images a second of RAM's training, one thread, and the share of each part."""

from __future__ import annotations

import copy
import statistics
import time
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

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


def bench_train(dataset: str) -> None:
    """Print a Markdown table: ours in every precision the processor computes in, the reference in between."""
    torch.set_num_threads(1)
    runs: dict[str, Any] = {"plain reference, float32": PlainRAM(dataset)}
    for dtype in (
        (torch.float32, torch.bfloat16) if computes_bfloat16(torch.device("cpu")) else (torch.float32,)
    ):
        precision = str(dtype).removeprefix("torch.")
        runs[f"ours by autograd, {precision}, batch {BATCH}"] = Ours(
            dataset, BATCH, bfloat16=dtype == torch.bfloat16, at_once=False
        )
        for size in (BATCH, 512):
            runs[f"ours, {precision}, batch {size}"] = Ours(dataset, size, bfloat16=dtype == torch.bfloat16)
        runs[f"matrix products alone, {precision}, batch {BATCH}"] = Products(BATCH, dtype)
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
        "microseconds, which a larger batch shares among more images."
    )


class Ours:
    """The project's own training step, timed part by part.

    at_once: whether the episode is recorded and differentiated at once (parts/recording.py).
    """

    def __init__(self, dataset: str, size: int, bfloat16: bool, at_once: bool = True) -> None:
        env: dict[str, Any] = {"dataset": dataset, "horizon": GLIMPSES}
        learner = Reinforce(sigma_start=0.15)
        experiment = Experiment("Glimpse/MNIST-v0", RAMSettings(), learner, Loop(), env)
        self.agent: RAM = experiment.build(experiment.spec())
        if not at_once:
            setattr(self.agent, "recording", lambda: None)  # noqa: B010 (a method of an instance)
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
    """Nothing but the matrix products of one training step: forward, and two backward for each."""

    # (inputs, outputs) of what, where, their sum's two halves, the core's two and the three heads.
    LAYERS = ((64, 128), (2, 128), (128, 256), (128, 256), (256, 256), (256, 256), (256, 13))

    def __init__(self, size: int, dtype: torch.dtype) -> None:
        self.size = size
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.operands = [
            [torch.randn(shape, dtype=dtype) for shape in ((size, i), (i, o), (size, o))]
            for i, o in self.LAYERS
        ]

    def batch(self) -> None:
        """As many products as one training step has; the first layers pass no gradient to the picture."""
        for _ in range(GLIMPSES):
            for layer, (x, w, y) in enumerate(self.operands):
                _ = x @ w
                _ = x.t() @ y
                if layer > 1:
                    _ = y @ w.t()


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
