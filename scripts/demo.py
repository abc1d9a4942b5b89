"""`make demo`: train RAM on 5,000 real digits, compare it with two that cannot choose where to look.

RAM trains with a progress bar while its controls, random gaze and centre gaze, train beside it on the
second core. Then all three are scored on held-out digits, and one test scene is filmed with each.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gymnasium
import torch

from agents.evaluate import evaluate
from agents.experiments import EXPERIMENTS, load_agent
from agents.playback import AgentPlayer, episode, save
from glimpse_env.render import View

FOLDER = Path("demo")
NAMES = {"ram-demo": "RAM, learned gaze", "random-demo": "random gaze", "center-demo": "centre gaze"}


def main() -> None:
    """Train, evaluate, film, and say where everything is."""
    print("Training RAM on 3,500 digits, its two controls beside it (about three minutes) ...")
    beside = subprocess.Popen(
        ["sh", "-ec", "; ".join(_command(name) + " --quiet" for name in list(NAMES)[1:])],
        stdout=subprocess.DEVNULL,
    )
    subprocess.run(["sh", "-ec", _command("ram-demo")], check=True)
    if beside.wait():
        raise subprocess.CalledProcessError(beside.returncode, "training of the controls")

    torch.set_num_threads(1)
    agents = {name: load_agent(FOLDER / name / "best.safetensors")[0] for name in NAMES}
    settings = EXPERIMENTS["ram-demo"]
    print(
        f"\nError on 1,000 held-out digits somewhere on a 60x60 canvas, {settings.env['horizon']} glimpses:\n"
    )
    print("| who looks | error % | 95 % interval |")
    print("|---|---:|---:|")
    for name, agent in agents.items():
        score = evaluate(agent, settings.env_id, "test", **settings.env)
        print(f"| {NAMES[name]} | {score.error:.1f} | {score.ci95[0]:.1f} to {score.ci95[1]:.1f} |")

    env = gymnasium.make(settings.env_id, **settings.env, split="test").unwrapped
    players = {name: AgentPlayer(agent) for name, agent in agents.items()}

    def film(name: str, index: int) -> list[View]:
        torch.manual_seed(index)  # random gaze looks the same way whenever a scene is filmed
        return list(episode(players[name], env, index))  # type: ignore[arg-type]

    scene = next(i for i in range(1000) if _tells_them_apart(*(film(name, i) for name in NAMES)))
    strips = [
        (f"{who}: {'right' if views[-1].answer == views[-1].target else 'wrong'}", views)
        for name, who in NAMES.items()
        for views in [film(name, scene)]
    ]
    for suffix in ("gif", "mp4"):
        save(FOLDER / f"episode.{suffix}", strips[:1])
    save(FOLDER / "episode.png", strips)
    print(f"\nTest scene {scene}, filmed: {FOLDER}/episode.gif, {FOLDER}/episode.mp4,")
    print(f"and RAM's glimpses above its controls': {FOLDER}/episode.png")
    print(f"Watch it live:     {sys.executable} scripts/play.py {FOLDER}/ram-demo")
    print(f"Be the eye:        {sys.executable} scripts/play.py person --dataset mnist-5k")


def _command(name: str) -> str:
    return f"{sys.executable} scripts/train.py {name} --folder {FOLDER / name} --overwrite"


def _tells_them_apart(ram: list[View], random: list[View], center: list[View]) -> bool:
    """Whether a scene shows the difference: only RAM is right, and the digit lies off the centre."""
    right = [views[-1].answer == views[-1].target for views in (ram, random, center)]
    return right == [True, False, False]


if __name__ == "__main__":
    main()
