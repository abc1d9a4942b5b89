"""Watch an episode, or be the eye: `python scripts/play.py ram-mnist`, `... random`, `... person`.

A trained agent is named as in evaluate.py. Live: space pauses, right steps, n goes to the next scene, s
saves. A person aims with the arrow keys or the mouse, looks with Enter or a click, answers with a digit
and sees only what the retina sees. `--out x.gif|x.mp4|x.png|x.html` records without a display
instead; the html page plays in a browser, several `--episodes` in one. `draw-mnist` draws the pictures of
those scenes, or `--dream`s. `--compare OTHER` plays both on the same scenes, side by side.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pygame
import torch

from agents import drawing
from agents.build import load_agent
from agents.checkpoint import CheckpointError
from agents.draw import DRAW
from agents.generative import BINARY_SEED, Generative, make_scenes, pictures
from agents.playback import (
    FORMATS,
    SECONDS_A_GLIMPSE,
    AgentPlayer,
    Player,
    RandomPlayer,
    episode,
    grid,
    save,
)
from agents.results import find_checkpoint
from glimpse_env.files import DatasetError
from glimpse_env.registry import TABLE
from glimpse_env.render import Frame, NoDisplayError, View, Window


def main(arguments: list[str]) -> None:
    """Parse, then record or open the window."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("player", help="a trained agent, 'random' or 'person'")
    parser.add_argument("--env-id", choices=TABLE, help="the agent's own unless given")
    parser.add_argument("--dataset", help="mnist, or mnist-5k which needs no download")
    parser.add_argument("--split", default="test")
    parser.add_argument("--index", type=int, default=0, help="the first frozen scene to play")
    parser.add_argument("--episodes", type=int, default=1, help="how many to record")
    parser.add_argument("--grid", action="store_true", help="film the episodes side by side")
    parser.add_argument("--compare", metavar="PLAYER", help="another player beside it, on the same scenes")
    parser.add_argument("--dream", action="store_true", help="let DRAW draw what it has not seen")
    parser.add_argument("--out", type=Path, help=f"a file ending in {', '.join(FORMATS)}")
    options = parser.parse_args(arguments)
    if options.out is not None and options.out.suffix not in FORMATS:
        raise ValueError(f"--out {options.out} must end in one of {', '.join(FORMATS)}")
    if options.player == "person" and (options.out is not None or options.compare is not None):
        raise ValueError("a person plays alone in a window: leave out --out, save with s, and --compare")
    torch.set_num_threads(1)
    agent, settings, config = load(options.player)
    if isinstance(settings, Generative):
        draw(agent, settings, options)
        return
    player, env = seat(options.player, agent, settings, config, options)
    players = [(options.player, player, env)]
    if options.compare is not None:
        options.env_id = env.spec.id  # the same scenes
        players.append((options.compare, *seat(options.compare, *load(options.compare), options)))

    def episodes(i: int) -> list[tuple[str, list[View]]]:
        return [
            (f"{name}, {options.split} scene {i}", list(episode(who, where, i)))
            for name, who, where in players
        ]

    if options.out is not None:
        indices = range(options.index, options.index + options.episodes)
        recorded = [shown for i in indices for shown in episodes(i)]
        save(options.out, recorded, tiled=options.grid or options.compare is not None)
        print(f"wrote {options.out}")
    elif options.compare is not None:
        films = (grid(episodes(i % env.vector.num_scenes)) for i in itertools.count(options.index))
        show((frame, SECONDS_A_GLIMPSE) for film in films for frame in [*film, *film[-1:] * 2])
    else:
        from agents.viewer import Viewer  # needs a display

        viewer = Viewer(env, Path.cwd(), f"{options.player}, {env.spec.id}")
        if options.player == "person":
            viewer.play(options.index)
        else:
            viewer.watch(player, options.index)


def load(name: str) -> tuple[Any, Any, dict[str, Any]]:
    """The trained agent of that name, its settings and its config; none of them for random and person."""
    return (None, None, {}) if name in ("random", "person") else load_agent(find_checkpoint(name))


def seat(
    name: str, agent: Any, settings: Any, config: dict[str, Any], options: argparse.Namespace
) -> tuple[Player, Any]:
    """The player and an environment for it; ValueError where it cannot see what that shows."""
    if isinstance(settings, Generative):
        raise ValueError(f"{name} draws and answers nothing: it cannot be compared")
    env_id = options.env_id or (settings.env_id if settings else "Glimpse/MNIST-v0")
    keywords = dict(settings.env) if settings and settings.env_id == env_id else {}
    keywords["split"] = options.split
    if options.dataset:
        keywords["dataset"] = options.dataset
    env: Any = gymnasium.make(env_id, **keywords).unwrapped
    if agent is None:
        return RandomPlayer(env, seed=options.index), env
    view = "retina" if agent.sees == "glimpses" else "canvas"
    canvas = env.vector.present_scenes().canvas.shape[1:]
    here = list(canvas if view == "canvas" else env.observation_space["retina"].shape)
    if config["shapes"][view] != here:
        raise ValueError(
            f"{name} has a {view} of {config['shapes'][view]}, {env_id} gives {here}: choose another id"
        )
    return AgentPlayer(agent), env


def draw(model: DRAW, settings: Generative, options: argparse.Namespace) -> None:
    """Record or show how DRAW draws the chosen scenes, or its dreams, all side by side."""
    torch.set_num_threads(1)
    x = None
    if not options.dream:
        env = make_scenes(settings, options.split, options.episodes)
        env.reset(options={"index": np.arange(options.index, options.index + options.episodes)})
        x = pictures(env, settings.binary, torch.Generator().manual_seed(BINARY_SEED))
    shown = drawing.frames(model, x, options.episodes, seed=options.index)
    if options.out is not None:
        drawing.save(options.out, shown)
        print(f"wrote {options.out}")
        return
    show((frame, drawing.SECONDS_A_STEP) for frame in itertools.cycle(shown))


def show(frames: Iterable[tuple[Frame, float]]) -> None:
    """Show each frame for its seconds in a window, until that is closed or a key is pressed."""
    window = Window("glimpse_env", fps=30)
    for frame, seconds in frames:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            window.show(frame)
            if pygame.event.get((pygame.QUIT, pygame.KEYDOWN)):
                window.close()
                return


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (CheckpointError, DatasetError, NoDisplayError, OSError, ValueError) as error:
        sys.exit(f"play.py: {error}")
