"""The report's pictures: errors by glimpses, pixels and minutes; where a trained eye looks."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from cycler import cycler
from numpy.typing import NDArray

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agents.experiments import EXPERIMENTS
from agents.experiments.experiment import load_agent
from agents.learn.envs import make_env, single_env
from agents.learn.evaluate import scoring
from agents.learn.files import write_whole
from agents.learn.judging import LENGTHS
from agents.learn.rollout import Trajectory, rollout
from agents.models.ram import GivenGazeSettings, RAMSettings
from agents.models.sb3_policy import SB3PolicySettings
from agents.report import memory, results
from agents.show.playback import AgentPlayer, episode
from glimpse_env.registry import TABLE
from glimpse_env.render import caption, draw_frame, tile

Line = dict[str, Any]
RAMS = ("ram-mnist", "ram-translated", "ram-cluttered", "ram-cluttered100")  # on the paper's four scenes
COLORS = dict(zip(RAMS, ("tab:blue", "tab:green", "tab:orange", "tab:red"), strict=True))


def draw_all(lines: list[Line], folder: Path) -> list[Path]:
    """Draw every picture that `lines`, checkpoints and metrics allow and return the files written."""
    # Without the many that differ in their core alone: those have tables of their own, see memory.py.
    cores = [name for name, experiment in EXPERIMENTS.items() if experiment.group == "memory"]
    latest = results.latest_over_seeds([line for line in lines if line["experiment"] not in cores])
    trained = [name for name in RAMS if results.pretrained_path(name, 1).exists()]
    played = {name: play_test_scenes(name) for name in trained}
    pictures: dict[str, Callable[[], Figure]] = {
        "glimpses": lambda: draw_glimpses(latest),
        "pixels": lambda: draw_pixels(latest),
        "minutes": lambda: draw_minutes(latest),
        "first-look": lambda: draw_first_look(played),
        "belief": lambda: draw_belief(played),
        "memory-gradients": memory.draw_gradients,
        "memory-adding": memory.draw_adding,
        "lengths": lambda: draw_lengths(lines),
    }
    written = []
    for name, draw in pictures.items():
        figure = draw()
        path = folder / f"{name}.png"
        write_whole(path, partial(figure.savefig, format="png", dpi=110))
        pyplot.close(figure)
        written.append(path)
    for name in trained[-1:]:
        gallery = scan_paths(name, played[name])
        path = folder / "scan-paths.png"
        write_whole(path, partial(pyplot.imsave, arr=gallery, format="png"))
        written.append(path)
    return written


TRANSLATORS = {
    "luong-small-de-en": "attention to all words",
    "hard-de-en": "attention to one word",
    "gaze-de-en": "an eye, five pieces at a time",
    "plain-de-en": "no attention",
}


def draw_lengths(lines: list[Line]) -> Figure:
    """BLEU by the length of the sentence that is translated, with and without attention."""
    figure, panel = pyplot.subplots(figsize=(6.5, 3.6), layout="constrained")
    for shift, (name, label) in enumerate(TRANSLATORS.items()):
        latest = {
            line["mode"]: line for line in lines if line["experiment"] == name and line["mode"] in LENGTHS
        }
        found = [latest[mode] for mode in LENGTHS if mode in latest]
        if not found:
            continue
        value = np.array([line["value"] for line in found])
        bounds = np.array([line["ci95"] for line in found]).T
        place = np.arange(len(found)) + 0.06 * (shift - 1.5)
        panel.errorbar(place, value, abs(bounds - value), fmt="o-", capsize=3, label=f"{label} ({name})")
        panel.set_xticks(range(len(found)), [f"{line['mode']}\n{line['scenes']} sentences" for line in found])
    panel.set(ylabel="BLEU, 95 %", ylim=(0, None))
    panel.grid(alpha=0.3)
    if panel.has_data():
        panel.legend(fontsize=8, frameon=False, loc=(0.02, 0.42))
    return figure


def draw_glimpses(latest: dict[str, Line]) -> Figure:
    """A panel a scene: RAM's error in percent by glimpses, ours with its interval and the paper's."""
    figure, panels = pyplot.subplots(1, len(RAMS), figsize=(12, 3.2), layout="constrained")
    for panel, name in zip(panels, RAMS, strict=True):
        ours = sorted(((latest[n]["glimpses"], latest[n]) for n in budgets(name) if n in latest), key=_first)
        paper = sorted((latest[n]["glimpses"], EXPERIMENTS[n].paper) for n in budgets(name) if n in latest)
        if paper:
            panel.plot(*zip(*paper, strict=True), "s--", color="0.55", label="Mnih et al. (2014)")
        value = np.array([line["value"] for _, line in ours])
        bounds = np.array([line["ci95"] for _, line in ours]).reshape(-1, 2).T
        panel.errorbar(
            [glimpses for glimpses, _ in ours],
            value,
            abs(bounds - value),
            fmt="o-",
            capsize=3,
            label="ours, 95 %",
        )
        panel.set(title=name, xlabel="glimpses")
        panel.set_ylim(0, 1.1 * panel.get_ylim()[1])
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("test error, %")
    panels[0].legend(frameon=False)
    return figure


def _first(pair: tuple[Any, ...]) -> Any:
    return pair[0]


def budgets(name: str) -> list[str]:
    """The experiments of the paper that are `name` with any number of glimpses, begun at the same gaze."""
    own = EXPERIMENTS[name]
    return [
        other
        for other, experiment in EXPERIMENTS.items()
        if experiment.group == own.group
        and experiment.env_id == own.env_id
        and experiment.env.get("start_gaze") == own.env.get("start_gaze")
        and isinstance(experiment.model, RAMSettings)
        and experiment.paper is not None
    ]


def draw_pixels(latest: dict[str, Line]) -> Figure:
    """All agents on the papers' four scenes: error in percent by the share of the canvas's pixels seen."""
    figure, panel = pyplot.subplots(figsize=(9, 5.5), layout="constrained")
    named: list[tuple[float, float, str]] = []
    for ram, color in COLORS.items():
        scene = ram.removeprefix("ram-")
        smaller = set(budgets(ram)) - {ram}  # a smaller budget needs no name
        for name, line in results.on_problem(latest, EXPERIMENTS[ram].env_id).items():
            share = 100 * line["share"]
            panel.scatter(share, line["value"], color=color, marker=_marker(line))
            if name not in smaller:
                named.append((share, line["value"], name.replace(f"-{scene}", "")))
        panel.scatter([], [], color=color, label=scene)
    for share, value, who in _without_overlap(named):
        # What saw 96 % and what saw all are beside each other: their names go to either side.
        left = 80 < share < 100
        side: dict[str, Any] = {"xytext": (6, -2), "ha": "left"}
        if left:
            side = {"xytext": (-6, -2), "ha": "right"}
        panel.annotate(who, (share, value), textcoords="offset points", size=7, **side)
    for marker, label in MARKERS.items():
        panel.scatter([], [], color="0.5", marker=marker, label=label)
    panel.set(yscale="log", xlabel="numbers the retina brought, % of the canvas's pixels")
    panel.set(ylabel="test error, %")
    panel.set(xlim=(-5, 140), xticks=range(0, 101, 20))
    panel.grid(alpha=0.3, which="both")
    panel.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _without_overlap(
    named: list[tuple[float, float, str]], apart: float = 1.09
) -> list[tuple[float, float, str]]:
    """Points (share, value, name); where names would cover each other they are one, "a, b".

    That is at one share, when a value is less than `apart` times the last before it.
    """
    merged: list[tuple[float, float, str]] = []
    for share, value, name in sorted(named):
        if merged and share == merged[-1][0] and value < apart * merged[-1][1]:
            name = f"{merged.pop()[2]}, {name}"
        merged.append((share, value, name))
    return merged


MARKERS = {
    "o": "gazes that were learned",
    "x": "gazes nobody chose, PPO",
    "^": "windows on the canvas",
    "s": "whole canvas",
}


def _marker(line: Line) -> str:
    if line["sees"] == "canvas":
        return "^" if line["glimpses"] else "s"
    chosen = EXPERIMENTS.get(line["experiment"])
    given = chosen is not None and isinstance(chosen.model, GivenGazeSettings | SB3PolicySettings)
    return "x" if given else "o"


LEAST = 0.5  # percent, below which no error is drawn


def draw_minutes(latest: dict[str, Line]) -> Figure:
    """A panel a problem: validation error in percent by minutes on one core, those of its init before it.

    Of environments whose agents are scored by their errors, and of the first seed whose metrics were kept.
    """
    latest = {
        name: line
        for name, line in latest.items()
        if line["env_id"] in TABLE and line["metric"] == "test_error"
    }
    problems = sorted({results.problem(line) for line in latest.values()}, key=_order)
    columns = 4
    rows = math.ceil(len(problems) / columns)
    figure, grid = pyplot.subplots(
        rows, columns, figsize=(3.6 * columns, 3.5 * rows), layout="constrained", squeeze=False, sharey=True
    )
    # ClutteredMNIST100 has more agents than there are colours.
    styles = cycler(linestyle=["-", "--"]) * pyplot.rcParams["axes.prop_cycle"]
    for panel, problem in zip(grid.flat, problems, strict=False):
        panel.set_prop_cycle(styles)
        for name in results.on_problem(latest, problem):
            kept = [path for seed in (1, 2, 3) if (path := results.metrics_path(name, seed)).exists()]
            given = name in EXPERIMENTS and isinstance(EXPERIMENTS[name].model, GivenGazeSettings)
            if given or not kept:
                continue
            epochs = [json.loads(text) for text in kept[0].read_text(encoding="utf-8").splitlines()]
            minutes = np.cumsum([epoch["minutes"] for epoch in epochs])
            started = max(0, latest[name]["minutes"] - minutes[-1]) if EXPERIMENTS[name].init else 0
            errors = np.maximum([epoch["validation_error"] for epoch in epochs], LEAST)  # of a log axis
            panel.plot(started + minutes, errors, label=name, lw=1)
        panel.set(yscale="log", ylim=(0.9 * LEAST, 2000))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.set_title(problem.removeprefix("Glimpse/"), fontsize=8)
        panel.grid(alpha=0.3, which="both")
        if panel.lines:
            panel.legend(frameon=False, fontsize=6, loc="upper right", ncols=1 + (len(panel.lines) > 5))
    for panel in grid.flat[len(problems) :]:
        panel.set_axis_off()
    figure.supxlabel("minutes on one core")
    figure.supylabel("validation error, %")
    return figure


def _order(problem: str) -> tuple[int, str]:
    return list(TABLE).index(problem.split(" ")[0]), problem


def play_test_scenes(name: str) -> Trajectory:
    """The published agent of seed 1 on every test scene, along its policy's mean."""
    agent, experiment, _ = load_agent(results.pretrained_path(name, 1))
    scenes = single_env(experiment.env_id, experiment.env, split="test").vector.num_scenes
    keywords: dict[str, Any] = {**experiment.env, "split": "test"}
    env = make_env(agent, experiment.env_id, scenes, **keywords)
    with scoring(agent, 0):
        return rollout(agent, env, sample=False, options={"index": 0})


def draw_first_look(played: dict[str, Trajectory]) -> Figure:
    """Density over the canvas of the first gaze of the eye's own choice, and of all later ones."""
    figure, panels = pyplot.subplots(
        2, max(1, len(played)), figsize=(12, 6), layout="constrained", squeeze=False
    )
    for column, (name, trajectory) in enumerate(played.items()):
        gaze = trajectory.gaze.numpy()
        _density(panels[0, column], gaze[1], f"{name}: first choice")
        _density(panels[1, column], gaze[2:].reshape(-1, 2), "all later looks")
    return figure


def _density(panel: Axes, gaze: NDArray[np.float32], title: str) -> None:
    panel.hist2d(gaze[:, 0], gaze[:, 1], bins=40, range=[[-1, 1], [-1, 1]], cmap="magma")
    panel.set(title=title, xticks=[-1, 0, 1], yticks=[-1, 0, 1], aspect="equal")
    panel.invert_yaxis()  # y grows downwards, as on the canvas


def draw_belief(played: dict[str, Trajectory]) -> Figure:
    """How belief sharpens: error in percent if it answered after each glimpse, and the mean p(target)."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for name, trajectory in played.items():
        belief = trajectory.logits.softmax(-1)
        target = trajectory.target[:, 0]
        error = 100 * (belief.argmax(-1) != target).float().mean(1)
        sure = belief.gather(2, target.expand(len(belief), -1)[..., None]).mean((1, 2))
        glimpses = range(1, len(belief) + 1)
        left.plot(glimpses, error, "o-", label=name, color=COLORS[name])
        right.plot(glimpses, sure, "o-", color=COLORS[name])
    left.set(yscale="log", xlabel="glimpses so far", ylabel="test error if it answered now, %")
    right.set(xlabel="glimpses so far", ylabel="mean probability of the target")
    for panel in (left, right):
        panel.grid(alpha=0.3, which="both")
    left.legend(frameon=False, fontsize=8)
    return figure


def scan_paths(name: str, played: Trajectory, each: int = 8) -> NDArray[np.uint8]:
    """Last moments of the first test scenes that `name` gets right, and of the first that it gets wrong."""
    agent, experiment, _ = load_agent(results.pretrained_path(name, 1))
    env = single_env(experiment.env_id, experiment.env, split="test")
    rows = []
    for told, chosen in (("right", played.correct), ("wrong", ~played.correct)):
        indices = torch.nonzero(chosen)[:each, 0].tolist()
        frames = [draw_frame(list(episode(AgentPlayer(agent), env, i))[-1], "strip") for i in indices]
        if frames:
            rows.append(caption(tile(frames, columns=each), f"{name}: {told}"))
    return np.concatenate(rows)
