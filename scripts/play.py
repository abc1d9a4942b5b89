"""Watch an episode, or be the eye: `python scripts/play.py ram-mnist`, `... random`, `... person`.

A trained agent is named as in evaluate.py. Live: space pauses, right steps, n goes to the next scene, s
saves. A person aims with the arrow keys or the mouse, looks with Enter or a click, answers with a digit
and sees only what the retina sees. `--out x.gif|x.mp4|x.png|x.html` records without a display
instead; the html page plays in a browser, several `--episodes` in one. `draw-mnist` draws the pictures of
those scenes, or `--dream`s.
"""

from __future__ import annotations

import argparse
import itertools
import sys
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
from agents.playback import FORMATS, AgentPlayer, Player, RandomPlayer, episode, save
from agents.results import find_checkpoint
from glimpse_env.files import DatasetError
from glimpse_env.registry import TABLE
from glimpse_env.render import NoDisplayError, Window


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
    parser.add_argument("--dream", action="store_true", help="let DRAW draw what it has not seen")
    parser.add_argument("--out", type=Path, help=f"a file ending in {', '.join(FORMATS)}")
    options = parser.parse_args(arguments)
    if options.out is not None and options.out.suffix not in FORMATS:
        raise ValueError(f"--out {options.out} must end in one of {', '.join(FORMATS)}")
    if options.player == "person" and options.out is not None:
        raise ValueError("a person plays in a window: leave out --out and save an episode with s")

    env_id, keywords = options.env_id or "Glimpse/MNIST-v0", {}
    agent = None
    if options.player not in ("random", "person"):
        agent, settings, config = load_agent(find_checkpoint(options.player))
        if isinstance(settings, Generative):
            draw(agent, settings, options)
            return
        if options.env_id in (None, settings.env_id):
            env_id, keywords = settings.env_id, dict(settings.env)
    keywords = {**keywords, "split": options.split}
    if options.dataset:
        keywords["dataset"] = options.dataset
    env: Any = gymnasium.make(env_id, **keywords).unwrapped
    if agent is not None:
        theirs, here = config["shapes"]["retina"], list(env.observation_space["retina"].shape)
        if theirs != here and agent.sees == "glimpses":
            raise ValueError(
                f"{options.player} has a retina of {theirs}, {env_id} gives {here}: choose another id"
            )
    torch.set_num_threads(1)
    player: Player = AgentPlayer(agent) if agent else RandomPlayer(env, seed=options.index)
    if options.out is not None:
        last = options.index + options.episodes
        recorded = [
            (f"{options.player}, {options.split} scene {i}", list(episode(player, env, i)))
            for i in range(options.index, last)
        ]
        save(options.out, recorded, tiled=options.grid)
        print(f"wrote {options.out}")
        return
    from agents.viewer import Viewer  # needs a display

    viewer = Viewer(env, Path.cwd(), f"{options.player}, {env_id}")
    if options.player == "person":
        viewer.play(options.index)
    else:
        viewer.watch(player, options.index)


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
    window = Window(f"glimpse_env: {options.player}", fps=1 / drawing.SECONDS_A_STEP)
    for frame in itertools.cycle(shown):
        if pygame.event.get((pygame.QUIT, pygame.KEYDOWN)):
            window.close()
            return
        window.show(frame)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (CheckpointError, DatasetError, NoDisplayError, OSError, ValueError) as error:
        sys.exit(f"play.py: {error}")
