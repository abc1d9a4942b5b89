"""Make docs/gallery.md: what captioners say and where they look, `python scripts/gallery.py`.

Nobody picks the pictures: they are the first frozen test scenes that each is right about, and the first that
it is wrong about. docs/alignment.png, which words of the first test number each of READERS looked at, is made
with them. It needs MNIST.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import terminal
import torch
from torch import Tensor

from agents.experiments import Experiment
from agents.experiments.experiment import load_agent
from agents.learn.checkpoint import CheckpointError
from agents.learn.envs import frozen_batches, frozen_env, single_env
from agents.learn.evaluate import scoring
from agents.learn.files import write
from agents.learn.rollout import rollout
from agents.models.reading_agent import ReadingAgent
from agents.report.results import find_checkpoint
from agents.show import alignment
from agents.show.playback import AgentPlayer, episode, save
from glimpse_env.data.files import DatasetError
from glimpse_env.render import said

DOCS = Path(__file__).resolve().parents[1] / "docs"
EACH = 3  # scenes that are right, and that are wrong
WHO = {
    "soft-digits": "Soft attention over the whole picture. How bright a place is says how much it counts; "
    "the dot is the place that counts most.",
    "gaze-digits": "The gazing captioner sees only what lies in the squares, blurred more in the larger "
    "ones; it looks twice for a word, and the second look is shown.",
    "soft-house": "Soft attention over a house number, whose caption is its digits. Below each picture are "
    "the glimpses left, the patch around the place that counts most, and the probability of every answer.",
}
READERS = ("luong-numbers", "hard-numbers", "gaze-numbers")


def main(arguments: list[str]) -> None:
    """Draw all and write the page."""
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    torch.set_num_threads(1)
    for name in WHO:
        agent, experiment, _ = load_agent(find_checkpoint(name))
        for how, indices in zip(("right", "wrong"), chosen(correct(agent, experiment), EACH), strict=True):
            draw(agent, experiment, indices, DOCS / picture(name, how))
            print(f"wrote {DOCS / picture(name, how)}")
    write(DOCS / "gallery.md", page())
    alignment.save(DOCS / "alignment.png", dict(zip(READERS, map(aligned, READERS), strict=True)))
    print(f"wrote {DOCS / 'alignment.png'}")


def aligned(name: str) -> alignment.Aligned:
    """What a reader of numbers says to the first frozen test number, and where it looked."""
    agent, experiment, _ = load_agent(find_checkpoint(name))
    env = single_env(experiment.env_id, experiment.env, split="test")
    if isinstance(agent, ReadingAgent):
        return alignment.of_eye(agent, env, 0)
    env.reset(options={"index": 0})
    words = (env.vector.world.tokens[i] for i in env.vector.canvas()[0] if i)
    return alignment.of_text(agent, env, " ".join(words))


def page() -> str:
    """The page, Markdown."""
    parts = [
        "# Gallery of captions",
        f"Each picture shows where the eye was when that word was said. These are the first {EACH} frozen "
        f"test scenes that each captioner is right about and the first {EACH} that it is wrong about, by "
        "`python scripts/gallery.py`: nobody picked them. Above the pictures stands a "
        "right caption in brackets, and then what the captioner said; for house numbers the right answer "
        "stands below the last. "
        "[Captions](xu2015.md) says how often each is right.",
    ]
    for name, about in WHO.items():
        parts += [f"## {name}", about]
        for how in ("right", "wrong"):
            parts += [f"**{how.capitalize()}:**", f"![what {name} is {how} about]({picture(name, how)})"]
    return "\n\n".join(parts) + "\n"


def picture(name: str, how: str) -> str:
    """What a picture of the page is called."""
    return f"gallery-{name}-{how}.png"


def correct(agent: Any, experiment: Experiment) -> Tensor:
    """Whether it is right about each of the first frozen test scenes, bool (B,)."""
    env = frozen_env(agent, experiment.env_id, "test", **experiment.env)
    with scoring(agent, 0):
        played = rollout(agent, env, sample=False, options={"index": next(iter(frozen_batches(env)))})
    env.close()
    return played.correct.cpu()


def chosen(correct: Tensor, count: int) -> tuple[list[int], list[int]]:
    """The first so many places (B,) that are true, and the first that are not."""
    right, wrong = (found.nonzero()[:count, 0].tolist() for found in (correct, ~correct))
    return right, wrong


def draw(agent: Any, experiment: Experiment, indices: list[int], path: Path) -> None:
    """Write the film strips of some frozen test scenes, and of each caption what is right to say."""
    env = single_env(experiment.env_id, experiment.env, split="test")
    player, strips = AgentPlayer(agent), []
    for index in indices:
        views = list(episode(player, env, index))
        right = f" ({said(views[-1], views[-1].target)})" if views[-1].says and views[-1].target else ""
        strips.append((f"scene {index}{right}", views))
    save(path, strips)


if __name__ == "__main__":
    terminal.run(main, (CheckpointError, DatasetError, ValueError))
