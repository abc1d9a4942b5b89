"""Tables and pictures of recurrent cores: what each remembers, and how errors flow back through it."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.figure import Figure

from agents.cores import KINDS, make_core
from agents.experiments import EXPERIMENTS
from agents.report.results import Line, mean_and_interval, metrics_path, problem

SOLVED = 0.01  # the mean squared error at which sums are learned
FIGURES = {  # of each metric: how a figure is printed, and what the column is called
    "test_error": ("{:.2f}", "test error %"),
    "nats": ("{:.4f}", "nats"),
    "cross_entropy": ("{:.5f}", "cross-entropy, nats"),
    "steps": ("{:.2f}", "error in length, steps"),
    "squared_error": ("{:.5f}", "mean squared error"),
}
DISTANCE, PROBES = 200, 64  # steps back that gradients are followed, and sequences they are averaged over


def memory_tables(lines: list[Line]) -> str:
    """Markdown, a table a task: every core's figures on it, best first, its minutes and its weights."""
    rows: dict[str, dict[str, dict[str, dict[int, Line]]]] = {}
    for line in lines:
        name = line["experiment"]
        if name in EXPERIMENTS and EXPERIMENTS[name].group == "memory":
            modes = rows.setdefault(problem(line), {}).setdefault(name, {})
            modes.setdefault(line["mode"], {})[line["seed"]] = line
    return "\n\n".join(_table(task, found) for task, found in sorted(rows.items(), key=_order))


def _order(item: tuple[str, Any]) -> tuple[str, int]:
    """Tasks by name, then by length."""
    name, _, length = item[0].partition(" length=")
    return name, int(length or 0)


def _table(task: str, rows: dict[str, dict[str, dict[int, Line]]]) -> str:
    lines = {mode: next(iter(seeds.values())) for mode, seeds in next(iter(rows.values())).items()}
    metrics = {mode: line["metric"] for mode, line in lines.items() if mode not in ("sampled", "mc10")}
    modes = list(metrics)
    told = [
        FIGURES[metric][1] + ("" if mode == "deterministic" else f", {mode}")
        for mode, metric in metrics.items()
    ]
    adding = "squared_error" in metrics.values()
    more = [f"minutes to {SOLVED}"] if adding else []
    head = [
        "experiment",
        "core",
        "parameters",
        "minutes",
        "seeds",
        *(f"{one} [95 % interval]" for one in told),
        *more,
    ]
    out = [
        f"**{task}**",
        "",
        f"| {' | '.join(head)} |",
        "|---|---|---:|---:|---:|" + "---:|" * (len(told) + len(more)),
    ]

    def figure(name: str) -> float:
        return mean_and_interval(list(rows[name][modes[0]].values()))[0]

    for name in sorted(rows, key=figure):
        seeds = rows[name][modes[0]]
        line = next(iter(seeds.values()))
        minutes = statistics.mean(one["minutes"] for one in seeds.values())
        settings: Any = EXPERIMENTS[name].model
        cells = [name, settings.core, f"{line['parameters']:,}", f"{minutes:.1f}", str(len(seeds))]
        for mode in modes:
            value, (low, high) = mean_and_interval(list(rows[name][mode].values()))
            form = FIGURES[metrics[mode]][0]
            cells.append(f"**{form.format(value)}** [{form.format(low)}, {form.format(high)}]")
        if adding:
            cells.append(_minutes_to_solve(name, sorted(seeds)))
        out.append(f"| {' | '.join(cells)} |")
    return "\n".join(out)


def _minutes_to_solve(name: str, seeds: list[int]) -> str:
    """The minutes of training until the validation error is below SOLVED, of each seed, or a dash."""
    told = []
    for seed in seeds:
        found = [one for one in curve(metrics_path(name, seed)) if one[1] < SOLVED]
        told.append(f"{found[0][0]:.1f}" if found else "–")
    return ", ".join(told)


def curve(path: Path) -> list[tuple[float, float]]:
    """Minutes of training and the validated figure after each epoch of a run, from its metrics."""
    if not path.exists():
        return []
    minutes, points = 0.0, []
    for text in path.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        minutes += line["minutes"]
        figure = next(value for key, value in line.items() if key.startswith("validation_"))
        points.append((minutes, figure))
    return points


def gradient_by_distance(kind: Any, width: int = 64) -> NDArray[np.float64]:
    """How large the gradient of the last output is by the input k steps before, k = 0 … DISTANCE - 1.

    Of a core with fresh weights, on white noise: the root mean square over PROBES sequences, divided by that
    at k = 0. A slope down is a vanishing gradient, a slope up an exploding one.
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        core = make_core(kind, 4, width, DISTANCE)
        xs = torch.randn(DISTANCE, PROBES, 4, requires_grad=True)
        ys, _ = core.unroll(xs, None)
        (gradient,) = torch.autograd.grad((ys[-1] * torch.randn(PROBES, width)).sum(), xs)
    size: NDArray[np.float64] = gradient.double().square().mean((1, 2)).sqrt().numpy()[::-1]
    share: NDArray[np.float64] = size / size[0]
    return share


def draw_gradients() -> Figure:
    """The gradient of the last output by distance, of every core with fresh weights."""
    figure, axes = pyplot.subplots(figsize=(10, 5), layout="constrained")
    for i, kind in enumerate(KINDS):
        size = np.maximum(gradient_by_distance(kind), 1e-12)
        style = ":" if kind in ("urnn", "deep-transition") else ("-", "--")[i // 10]  # each lies upon another
        axes.semilogy(size, style, color=f"C{i % 10}", label=kind, zorder=3 if style == ":" else 2)
    axes.set(xlabel="steps back", ylabel="gradient relative to that at 0 steps", ylim=(1e-9, 1e3))
    axes.set_title("How far errors flow back through a core that has learned nothing yet")
    figure.legend(ncols=1, loc="outside right center", frameon=False)
    return figure


def draw_adding() -> Figure:
    """A panel a length: the validation error of sums by minutes of training, of every core that tried."""
    named = [name.split("-", 2) for name in EXPERIMENTS if name.startswith("adding-")]
    cores = sorted({core for _, _, core in named})
    lengths = sorted({int(length) for _, length, _ in named})
    figure, grid = pyplot.subplots(
        1, len(lengths), figsize=(11, 3.4), sharey=True, squeeze=False, layout="constrained"
    )
    for axes, length in zip(grid[0], lengths, strict=True):
        for _, _, core in (one for one in named if int(one[1]) == length):
            points = curve(metrics_path(f"adding-{length}-{core}", 1))
            if points:
                axes.semilogy(*zip(*points, strict=True), color=f"C{cores.index(core)}", label=core)
        axes.axhline(1 / 6, color="0.6", lw=1, ls="--")  # of who always says 1
        axes.axhline(SOLVED, color="0.6", lw=1, ls=":")
        axes.set(title=f"{length} steps", xlabel="minutes on one processor core")
    grid[0][0].set_ylabel("mean squared error")
    handles = {line.get_label(): line for axes in grid[0] for line in axes.get_lines()}
    shown = {str(label): line for label, line in handles.items() if not str(label).startswith("_")}
    if shown:
        figure.legend(shown.values(), shown.keys(), loc="outside right center", frameon=False)
    return figure


def stages(name: str) -> str:
    """Markdown: what a language model wrote after its first epoch, after a quarter of them and in the end."""
    path = metrics_path(name, 1)
    lines = (
        [json.loads(one) for one in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    )
    out, minutes = [], 0.0
    shown = {0, max(len(lines) // 4, 1) - 1, len(lines) - 1}
    for i, line in enumerate(lines):
        minutes += line["minutes"]
        if i in shown:
            nats = f"{line['validation_nats']:.2f} nats on validation"
            out.append(f"After {minutes:.1f} minutes, {nats}:\n\n```text\n{line['sample'].strip()}\n```")
    what = f"What {name} wrote after its first epoch, after a quarter of them and after the last:"
    return "\n\n".join([what, *out])
