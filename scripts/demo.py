"""`make demo`: train RAM on 3,500 real digits, compare it with two that cannot choose where to look.

RAM trains with a progress bar while its controls, random gaze and centre gaze, train beside it on the
second core. Then all three are scored on held-out digits, and one test scene is filmed with each.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import terminal
import torch
import train

from agents.experiments import EXPERIMENTS
from agents.experiments.experiment import load_agent
from agents.learn.envs import single_env
from agents.learn.evaluate import evaluate
from agents.show.playback import AgentPlayer, episode, save
from glimpse_env.render import View

RAM_LOOP: Any = EXPERIMENTS["ram-demo"].loop
FILMS = ("episode.gif", "episode.mp4", "episode.png")
LOOKED_AT = 500  # scenes, for one that RAM alone gets right
NAMES = {"ram-demo": "RAM, learned gaze", "random-demo": "random gaze", "center-demo": "centre gaze"}


def main(arguments: list[str]) -> None:
    """Train, evaluate, film, and say where everything is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("demo"))
    parser.add_argument("--epochs", type=int, default=RAM_LOOP.epochs)
    parser.add_argument("--images-per-epoch", type=int, default=RAM_LOOP.images_per_epoch)
    options = parser.parse_args(arguments)
    folder = options.folder
    if folder.exists() and not folder.is_dir():
        sys.exit(f"demo.py: {folder} is a file: name a folder")
    others = strangers(folder)
    if others:
        sys.exit(f"demo.py: {folder} holds {min(others)!r}, which is no demo's: name another --folder")
    if folder.exists():
        print(f"{folder} holds an earlier demo: this one replaces it.")
    print("Training RAM on 3,500 digits, its two controls beside it ...", flush=True)
    _train_all(folder, ["--epochs", str(options.epochs), "--images-per-epoch", str(options.images_per_epoch)])

    torch.set_num_threads(1)
    agents = {name: load_agent(folder / name / "best.safetensors")[0] for name in NAMES}
    settings = EXPERIMENTS["ram-demo"]
    print(f"\nError on 1,000 held-out digits, {settings.env_id}, {settings.env['horizon']} glimpses:\n")
    print("| who looks | error % | 95 % interval |")
    print("|---|---:|---:|")
    for name, agent in agents.items():
        keywords: dict[str, Any] = {**settings.env}
        score = evaluate(agent, settings.env_id, "test", **keywords)
        print(f"| {NAMES[name]} | {score.error:.1f} | {score.ci95[0]:.1f} to {score.ci95[1]:.1f} |")

    env = single_env(settings.env_id, settings.env, split="test")
    players = {name: AgentPlayer(agent) for name, agent in agents.items()}

    def film(name: str, index: int) -> list[View]:
        torch.manual_seed(index)  # random gaze looks the same way whenever a scene is filmed
        return list(episode(players[name], env, index))

    def right(name: str, index: int) -> bool:
        last = film(name, index)[-1]
        return last.answers == last.target

    ram, *controls = NAMES
    telling = (i for i in range(LOOKED_AT) if right(ram, i) and not any(right(name, i) for name in controls))
    scene = next(telling, None)
    why = (
        "the first that RAM alone gets right"
        if scene is not None
        else f"for there is none among the first {LOOKED_AT} that RAM alone gets right"
    )
    scene = scene or 0
    strips = [
        (f"{who}: {'right' if right(name, scene) else 'wrong'}", film(name, scene))
        for name, who in NAMES.items()
    ]
    for suffix in ("gif", "mp4"):
        save(folder / f"episode.{suffix}", strips[:1])
    save(folder / "episode.png", strips)
    print(f"\nFilmed: test scene {scene}, {why}, in {folder}:")
    print("episode.gif, episode.mp4 and, with its controls below, episode.png.")
    print(f"Watch it live:   {sys.executable} scripts/play.py {folder}/ram-demo")
    print(f"Be the eye:      {sys.executable} scripts/play.py person --dataset mnist-5k")


def strangers(folder: Path) -> set[str]:
    """What no demo left in a folder; the locks of its trainings, hidden files, stay there."""
    return {path.name for path in folder.glob("[!.]*")} - {*NAMES, *FILMS}


def _train_all(folder: Path, settings: list[str]) -> None:
    """Train RAM in a process, its bar showing, and the controls in this one beside it; exit if RAM fails."""

    def arguments(name: str) -> list[str]:
        return [name, "--folder", str(folder / name), "--overwrite", *settings]

    ram, *controls = NAMES
    script = Path(__file__).with_name("train.py")
    shown = subprocess.Popen([sys.executable, str(script), *arguments(ram)])
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            for name in controls:
                train.main([*arguments(name), "--quiet"])
        failed = shown.wait()
    finally:
        shown.terminate()
    if failed:
        sys.exit("demo.py: the training failed, see above")


if __name__ == "__main__":
    terminal.run(main, train.REFUSED)
