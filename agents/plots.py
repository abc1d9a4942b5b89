"""The report's pictures: errors by glimpses, pixels and minutes; where a trained eye looks."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agents import results
from agents.build import horizon_of, load_agent
from agents.evaluate import make_env
from agents.experiments import EXPERIMENTS
from agents.playback import AgentPlayer, episode, whole_file
from agents.rollout import Trajectory, rollout
from glimpse_env.registry import TABLE
from glimpse_env.render import caption, draw_frame, tile

Line = dict[str, Any]
SCENES = ("mnist", "translated", "cluttered", "cluttered100")
CONTROLS = ("random", "raster", "center")
COLORS = dict(zip(SCENES, ("tab:blue", "tab:green", "tab:orange", "tab:red"), strict=True))


def draw_all(lines: list[Line], folder: Path) -> list[Path]:
    """Draw every picture that `lines`, checkpoints and metrics allow and return the files written."""
    latest = results.over_seeds(lines)
    trained = [f"ram-{scene}" for scene in SCENES if results.pretrained_path(f"ram-{scene}", 1).exists()]
    played = {name: play_test_scenes(name) for name in trained}
    pictures: dict[str, Callable[[], Figure]] = {
        "glimpses": lambda: draw_glimpses(latest),
        "pixels": lambda: draw_pixels(latest),
        "minutes": lambda: draw_minutes(latest),
        "first-look": lambda: draw_first_look(played),
        "belief": lambda: draw_belief(played),
    }
    written = []
    for name, draw in pictures.items():
        figure = draw()
        path = folder / f"{name}.png"
        whole_file(path, lambda file, figure=figure: figure.savefig(file, format="png", dpi=110))  # type: ignore[misc]
        pyplot.close(figure)
        written.append(path)
    for name in trained[-1:]:
        gallery = scan_paths(name, played[name])
        path = folder / "scan-paths.png"
        whole_file(path, lambda file, gallery=gallery: pyplot.imsave(file, gallery, format="png"))  # type: ignore[misc]
        written.append(path)
    return written


def draw_glimpses(latest: dict[str, Line]) -> Figure:
    """A panel a scene: RAM's error in percent by glimpses, ours with its interval and the paper's."""
    figure, panels = pyplot.subplots(1, len(SCENES), figsize=(12, 3.2), layout="constrained")
    for panel, scene in zip(panels, SCENES, strict=True):
        named = re.compile(rf"ram-{scene}(-g\d+)?")
        ours = sorted((line["glimpses"], line) for name, line in latest.items() if named.fullmatch(name))
        paper = sorted(
            (horizon_of(EXPERIMENTS[name].env_id, EXPERIMENTS[name].env), error)
            for name, error in results.PAPER.items()
            if named.fullmatch(name)
        )
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
        panel.set(title=f"ram-{scene}", xlabel="glimpses")
        panel.set_ylim(0, 1.1 * panel.get_ylim()[1])
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("test error, %")
    panels[0].legend(frameon=False)
    return figure


def draw_pixels(latest: dict[str, Line]) -> Figure:
    """All agents on the papers' four scenes: error in percent by the share of the canvas's pixels seen."""
    figure, panel = pyplot.subplots(figsize=(9, 5.5), layout="constrained")
    named: list[tuple[float, float, str]] = []
    for scene, color in COLORS.items():
        for name, line in results.on_problem(latest, EXPERIMENTS[f"ram-{scene}"].env_id).items():
            share = 100 * results.share_seen(line)
            panel.scatter(share, line["value"], color=color, marker=_marker(line))
            if re.sub(r"-g\d+$", "", name) not in latest.keys() - {name}:  # a smaller budget needs no name
                named.append((share, line["value"], name.replace(f"-{scene}", "")))
        panel.scatter([], [], color=color, label=scene)
    for share, value, who in _without_overlap(named):
        # What saw 96 % and what saw all are beside each other: their names go to either side.
        left = 80 < share < 100
        side = {"xytext": (-6, -2), "ha": "right"} if left else {"xytext": (6, -2), "ha": "left"}
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
    "o": "RAM and DRAM",
    "x": "gazes nobody chose, PPO",
    "^": "windows on the canvas",
    "s": "whole canvas",
}


def _marker(line: Line) -> str:
    if line["sees"] == "canvas":
        return "^" if line["glimpses"] else "s"
    return "o" if line["experiment"].startswith(("ram", "dram")) else "x"


def draw_minutes(latest: dict[str, Line]) -> Figure:
    """A panel a problem: validation error in percent by minutes on one core, those of its init before it.

    Of the first seed whose metrics were kept.
    """
    problems = sorted({results.problem(line) for line in latest.values()}, key=_order)
    columns = 4
    rows = math.ceil(len(problems) / columns)
    figure, grid = pyplot.subplots(
        rows, columns, figsize=(3.6 * columns, 3.5 * rows), layout="constrained", squeeze=False, sharey=True
    )
    # ClutteredMNIST100 has more agents than there are colours.
    styles = pyplot.cycler(linestyle=["-", "--"]) * pyplot.rcParams["axes.prop_cycle"]
    for panel, problem in zip(grid.flat, problems, strict=False):
        panel.set_prop_cycle(styles)
        for name in results.on_problem(latest, problem):
            kept = [path for seed in (1, 2, 3) if (path := results.metrics_path(name, seed)).exists()]
            if name.startswith(CONTROLS) or not kept:
                continue
            epochs = [json.loads(text) for text in kept[0].read_text().splitlines()]
            minutes = np.cumsum([epoch["minutes"] for epoch in epochs])
            started = max(0, latest[name]["minutes"] - minutes[-1]) if EXPERIMENTS[name].init else 0
            errors = [epoch["validation_error"] for epoch in epochs]
            panel.plot(started + minutes, errors, label=name, lw=1)
        panel.set(yscale="log", ylim=(0.5, 400))
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
    agent, settings, _ = load_agent(results.pretrained_path(name, 1))
    scenes = gymnasium.make(settings.env_id, **settings.env, split="test").unwrapped.vector.num_scenes  # type: ignore[attr-defined]
    env = make_env(agent, settings.env_id, scenes, **settings.env, split="test")
    with torch.inference_mode():
        return rollout(agent, env, sample=False, options={"index": 0})


def draw_first_look(played: dict[str, Trajectory]) -> Figure:
    """Density over the canvas of the first gaze of the eye's own choice, and of all later ones."""
    figure, panels = pyplot.subplots(
        2, max(1, len(played)), figsize=(12, 6), layout="constrained", squeeze=False
    )
    for column, (name, trajectory) in enumerate(played.items()):
        gaze = trajectory.gaze.numpy()
        _density(panels[0, column], gaze[1], f"{name}: first look")
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
        left.plot(glimpses, error, "o-", label=name, color=COLORS[name.removeprefix("ram-")])
        right.plot(glimpses, sure, "o-", color=COLORS[name.removeprefix("ram-")])
    left.set(yscale="log", xlabel="glimpses so far", ylabel="test error if it answered now, %")
    right.set(xlabel="glimpses so far", ylabel="mean probability of the target")
    for panel in (left, right):
        panel.grid(alpha=0.3, which="both")
    left.legend(frameon=False, fontsize=8)
    return figure


def scan_paths(name: str, played: Trajectory, each: int = 8) -> NDArray[np.uint8]:
    """Last moments of the first test scenes that `name` gets right, and of the first that it gets wrong."""
    agent, settings, _ = load_agent(results.pretrained_path(name, 1))
    env = gymnasium.make(settings.env_id, **settings.env, split="test").unwrapped
    right = played.answers[:, 0].argmax(-1) == played.target[:, 0]
    rows = []
    for told, chosen in (("right", right), ("wrong", ~right)):
        indices = torch.nonzero(chosen)[:each, 0].tolist()
        frames = [draw_frame(list(episode(AgentPlayer(agent), env, i))[-1], "strip") for i in indices]  # type: ignore[arg-type]
        if frames:
            rows.append(caption(tile(frames, columns=each), f"{name}: {told}"))
    return np.concatenate(rows)
