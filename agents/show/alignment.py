"""Which words of a text were looked at for each word that was said: a matrix, in the terminal or as a PNG."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray

from agents.agent import device_of, to_action, to_tensors
from agents.learn.evaluate import scoring
from agents.learn.files import write_whole
from agents.learn.sentences import well_formed
from agents.models.reading_agent import ReadingAgent
from agents.models.seq2seq import Seq2Seq
from agents.parts import beam
from glimpse_env.sensors.retina import patch_start
from glimpse_env.single import GlimpseEnv
from glimpse_env.worlds.numbers import NumberWorld
from glimpse_env.worlds.sentences import SentenceWorld
from glimpse_env.worlds.trees import TreeWorld

matplotlib.use("Agg")
from matplotlib import pyplot

SHADES = " ░▒▓█"
MARK = "▁"  # what a piece begins with that begins a word


class Aligned(NamedTuple):
    """A text's words, the words that were said, the weights (said, read), and what was written."""

    read: tuple[str, ...]
    said: tuple[str, ...]
    weights: NDArray[np.float32]
    written: str


def of_text(
    model: Seq2Seq, env: GlimpseEnv, text: str, beams: int = 5, *, constrained: bool = False
) -> Aligned:
    """What a model says to any text in the vocabulary of an environment of sentences, and where it looked.

    constrained: whether it must say a tree that is well formed. Raises ValueError for an empty text and one
    that is longer than the canvas.
    """
    world = env.vector.world
    if not isinstance(world, SentenceWorld | NumberWorld | TreeWorld):
        raise ValueError("only sentences and names of numbers can be typed: leave out --text")
    end, most = env.vector.task.end, env.vector.task.length
    speaker = well_formed(model, world, most) if constrained else model
    pieces = world.encode(text)
    if not 0 < len(pieces) <= world.canvas_shape[0]:
        raise ValueError(
            f"a text must have 1 to {world.canvas_shape[0]} known words or pieces, and {text[:40]!r} has "
            f"{len(pieces)}"
        )
    canvas = (torch.tensor([pieces]) + 1).to(device_of(model))
    with scoring(model, 0):
        answer = beam.search(speaker, canvas, end, most, beams=beams)[0]
        target = torch.tensor([[*answer, end]], device=canvas.device)
        _, looks = model.teach(canvas, target)
    names = (*(world.names[i] for i in answer), "end")
    return Aligned(
        tuple(world.tokens[i + 1] for i in pieces),
        names,
        looks[0].float().cpu().numpy()[:, : len(pieces)],
        world.write(answer),
    )


def of_eye(agent: ReadingAgent, env: GlimpseEnv, index: int) -> Aligned:
    """What a reading agent says to a frozen scene, and which words its eye saw when it said each."""
    observation, _ = env.reset(options={"index": index})
    canvas = env.vector.canvas()[0]
    words = int((canvas > 0).sum())
    state, done = agent.initial(1), False
    said, seen = [], []
    with scoring(agent, 0):
        while not done:
            first = patch_start(observation["gaze"][0], len(canvas), env.vector.sensor.size)
            batch = {key: value[None] for key, value in observation.items()}
            step, state = agent(to_tensors(batch, device_of(agent)), state, False)
            action = {key: value[0] for key, value in to_action(step).items()}
            said.append(int(action["answer"]))
            place = np.arange(words)
            seen.append(((place >= first) & (place < first + env.vector.sensor.size)).astype(np.float32))
            observation, _, terminated, truncated, _ = env.step(action)
            done = terminated or truncated
    world, names = env.vector.world, env.vector.task.answers
    assert isinstance(world, SentenceWorld | NumberWorld | TreeWorld)
    answers = [answer for answer in said if answer != env.vector.task.end]
    return Aligned(
        tuple(world.tokens[i] for i in canvas[:words]),
        tuple(names[i] for i in said),
        np.stack(seen),
        world.write(answers),
    )


def in_terminal(aligned: Aligned) -> str:
    """The matrix in shades: a row a word that was said, a column a word that was read."""
    read = [word.replace(MARK, "") or " " for word in aligned.read]
    said = [word.replace(MARK, "") or " " for word in aligned.said]
    wide = max(map(len, said))
    lines = [f"{'':{wide}} {' '.join(read)}"]
    for name, row in zip(said, aligned.weights, strict=True):
        marks = [
            (SHADES[min(int(w * len(SHADES)), len(SHADES) - 1)] * len(word)).ljust(len(word))
            for word, w in zip(read, row, strict=True)
        ]
        lines.append(f"{name:>{wide}} {' '.join(marks)}".rstrip())
    return "\n".join(lines)


def save(path: Path, drawn: dict[str, Aligned]) -> None:
    """Write matrices, by their titles, beside each other as a PNG; OSError where that cannot be written."""
    columns = [max(len(one.read), 4) for one in drawn.values()]
    rows = max(len(one.said) for one in drawn.values())
    figure, axes = pyplot.subplots(
        1,
        len(drawn),
        squeeze=False,
        figsize=(sum(0.32 * n + 1.6 for n in columns), 0.3 * rows + 1.9),
        gridspec_kw={"width_ratios": columns},
        layout="constrained",
    )
    for axis, (title, one) in zip(axes[0], drawn.items(), strict=True):
        axis.imshow(one.weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axis.set_xticks(range(len(one.read)), [w.replace(MARK, " ") for w in one.read], rotation=90)
        axis.set_yticks(range(len(one.said)), [w.replace(MARK, " ") for w in one.said])
        axis.xaxis.tick_top()
        axis.tick_params(length=0, labelsize=9)
        axis.set_title(title, fontsize=11)
    write_whole(path, lambda file: figure.savefig(file, dpi=110, format="png"))
    pyplot.close(figure)
