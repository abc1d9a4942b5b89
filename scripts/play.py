"""Watch an episode, or be the eye: `python scripts/play.py ram-mnist`, `... random`, `... person`.

A trained agent is named as in evaluate.py. Live: space pauses, right steps, n goes to the next scene, s
saves. A person aims with the arrow keys or the mouse, looks with Enter or a click, answers with a digit
and sees only what the retina sees; over a text the arrows aim and the letters write. `--out` x.gif,
x.mp4, x.png or x.html records without a display instead; the page plays in a browser, several
`--episodes` in one. `draw-mnist` draws the pictures of those scenes, or with `--dream` new ones.
`char-lstm` writes on from a `--prompt`, `luong-small-de-en` translates a `--text` and shows which word
looked at which (`--out x.png` draws it, `--interactive` keeps asking), `soft-small-flickr8k` says what is
in an `--image`. `--compare OTHER` plays both on the same scenes, side by side. Live, a drawing and a
comparison know space and right alone; any other key closes the window.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import sys
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import terminal

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import numpy as np
import pygame
import torch

from agents.experiments import Experiment
from agents.experiments.experiment import load_agent, spec_in
from agents.learn import language
from agents.learn.checkpoint import CheckpointError
from agents.learn.envs import check_fits, parse_keywords, single_env, spec_of
from agents.learn.files import check_place
from agents.learn.generative import Generative, binary_generator, make_scenes, pictures
from agents.learn.sentences import TeacherForcing
from agents.learn.sequences import opening
from agents.models.captioner import Captioner
from agents.models.char_lm import CharLM
from agents.models.draw import DRAW
from agents.models.seq2seq import Seq2Seq
from agents.report import results
from agents.show import alignment, drawing, tree
from agents.show.playback import (
    FORMATS,
    SECONDS_A_GLIMPSE,
    AgentPlayer,
    Player,
    RandomPlayer,
    described,
    episode,
    grid,
    save,
)
from glimpse_env.checks import is_utf8
from glimpse_env.data.captions import OTHER, Captioned
from glimpse_env.data.files import DatasetError
from glimpse_env.data.words import treebank_words
from glimpse_env.random import SPLITS
from glimpse_env.registry import TABLE
from glimpse_env.render import View, said, tile
from glimpse_env.render.pen import Frame, NoDisplayError, Window
from glimpse_env.single import GlimpseEnv
from glimpse_env.worlds.choose import TEXTS
from glimpse_env.worlds.trees import TreeWorld

MOVED, BARS = 80, " ▁▂▃▄▅▆▇█"  # characters of a text that are shown with how much they move the last output
UNTRAINED = ("random", "person")
MOST_EPISODES = 1000  # that are recorded at once
MOST_LENGTH = 1_000_000  # characters that are written
TAKES = {  # what one sees: the options that mean something for it
    "draws pictures": ("dataset", "env", "split", "index", "episodes", "out"),
    "dreams of pictures": ("index", "episodes", "dream", "out"),
    "writes in the terminal": ("prompt", "temperature", "length", "index"),
    "answers texts that are typed": ("text", "interactive", "out"),
    "describes a picture": ("image", "out"),
    "plays episodes": ("env_id", "dataset", "env", "split", "index", "episodes", "grid", "compare", "out"),
}


def main(arguments: list[str]) -> None:
    """Parse, then record or open the window."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("player", help=f"a trained agent, or {' or '.join(UNTRAINED)}")
    parser.add_argument("--env-id", choices=TABLE, help="the id to play on; the agent's own unless given")
    parser.add_argument(
        "--dataset", help="what its scenes are drawn from, such as mnist-5k, which needs no download"
    )
    parser.add_argument(
        "--env",
        metavar="KEYWORD=VALUE",
        nargs="*",
        action="extend",
        default=[],
        help="change its environment",
    )
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument(
        "--index",
        type=int,
        default=0,
        help="the first frozen scene to play, from 0; a random seed for text and --dream",
    )
    parser.add_argument("--episodes", type=int, default=1, help="how many episodes to record, at most 1,000")
    parser.add_argument("--grid", action="store_true", help="film the episodes side by side")
    parser.add_argument("--compare", metavar="PLAYER", help="show this player beside it on the same scenes")
    parser.add_argument("--dream", action="store_true", help="let DRAW draw what it has not seen")
    parser.add_argument("--prompt", help="what a language model goes on from; the end of a line unless given")
    parser.add_argument(
        "--temperature", type=float, default=1.0, help="1 unless given; 0 writes what is most probable"
    )
    parser.add_argument(
        "--length", type=int, default=500, help="how many characters it writes, 500 unless given"
    )
    parser.add_argument("--text", help="what is translated, or parsed, in place of a frozen scene")
    parser.add_argument("--image", type=Path, help="a photograph to be described in place of a frozen scene")
    parser.add_argument("--interactive", action="store_true", help="ask for texts until an empty line")
    parser.add_argument("--out", type=Path, help=f"write to this file, which ends in {', '.join(FORMATS)}")
    options = parser.parse_args(arguments)
    if options.out is not None and options.out.suffix not in FORMATS:
        raise ValueError(f"--out {options.out} must end in one of {', '.join(FORMATS)}")
    if options.out is not None:
        check_place(options.out)  # before anything is played or said
    if not 0 <= options.index < 2**63 or not 1 <= options.episodes <= MOST_EPISODES:
        raise ValueError(f"--index must be from 0 to 2**63 - 1 and --episodes 1 to {MOST_EPISODES:,}")
    if options.player == "person" and (options.out is not None or options.compare is not None):
        raise ValueError("a person plays alone in a window: leave out --out, save with s, and --compare")
    if options.compare == "person":
        raise ValueError("a person plays alone: --compare takes a trained agent or random")
    torch.set_num_threads(1)
    agent, experiment, config = load(options.player)
    refuse = partial(refuse_others, options, {key: parser.get_default(key) for key in vars(options)})
    if draws(experiment):
        refuse("dreams of pictures" if options.dream else "draws pictures")
        draw(agent, experiment, options)
        return
    if options.text is not None or options.interactive:
        if not isinstance(agent, Seq2Seq) or experiment is None:
            raise ValueError(f"{options.player} is not typed to: leave out --text and --interactive")
        refuse("answers texts that are typed")
        say(agent, experiment, config, options)
        return
    if options.image is not None:
        if not isinstance(agent, Captioner) or experiment is None:
            raise ValueError(f"{options.player} describes no pictures: leave out --image")
        refuse("describes a picture")
        describe(agent, experiment, config, options)
        return
    if isinstance(agent, CharLM) and agent.spec.symbols:
        refuse("writes in the terminal")
        write(agent, options)
        return
    if experiment is not None and experiment.is_sequence:
        raise ValueError(f"{options.player} answers about {experiment.env_id!r} and cannot be watched")
    refuse("plays episodes")
    if options.grid and (options.out is None or options.out.suffix not in (".gif", ".mp4")):
        raise ValueError("--grid is for films: leave it out, or give an --out that ends in .gif or .mp4")
    if options.episodes > 1 and options.out is None:
        raise ValueError("--episodes is for what is recorded: leave it out, or give an --out")
    other = load(options.compare) if options.compare is not None else (None, None, {})
    if draws(other[1]):
        raise ValueError(f"{options.compare} draws and answers nothing: it cannot be compared")
    known = experiment or other[1]
    options.env_id = options.env_id or (known.env_id if known else "Glimpse/MNIST-v0")
    player, env = seat(agent, known, config, options)
    players = [(options.player, player, env)]
    check_scenes(options, env)
    if options.compare is not None:
        agent, theirs, config = other
        players.append((options.compare, *seat(agent, theirs or known, config, options, second=True)))

    def episodes(i: int) -> list[tuple[str, list[View]]]:
        played = [
            (f"{name}, {options.split} scene {i}", list(episode(who, where, i)))
            for name, who, where in players
        ]
        if any(not np.array_equal(views[0].canvas, played[0][1][0].canvas) for _, views in played):
            raise ValueError(f"{options.player} and {options.compare} were made for other scenes of one id")
        return played

    if options.out is not None:
        indices = range(options.index, options.index + options.episodes)
        recorded = [shown for i in indices for shown in episodes(i)]
        save(options.out, recorded, together=len(players) if options.grid or options.compare else 0)
        print(f"wrote {options.out}")
    elif options.compare is not None:
        films = (grid(episodes(i % env.vector.num_scenes), 2) for i in itertools.count(options.index))
        show((frame, SECONDS_A_GLIMPSE) for film in films for frame in [*film, *film[-1:] * 2])
    else:
        from agents.show.text_viewer import TextViewer  # needs a display
        from agents.show.viewer import Viewer

        kind = TextViewer if options.player == "person" and env.vector.world.tokens else Viewer
        viewer = kind(env, Path.cwd(), f"{options.player}, {options.env_id}")
        if options.player == "person":
            viewer.play(options.index)
        else:
            viewer.watch(player, options.index)


def refuse_others(options: argparse.Namespace, defaults: dict[str, Any], what: str) -> None:
    """Raise ValueError where options are given that mean nothing for who does `what`."""
    given = [key for key, default in defaults.items() if getattr(options, key) != default]
    others = [f"--{key.replace('_', '-')}" for key in given if key not in (*TAKES[what], "player")]
    if others:
        raise ValueError(f"{options.player} {what}: leave out {', '.join(others)}")


def write(model: CharLM, options: argparse.Namespace) -> None:
    """Write text in the terminal, and below its end how much each character moves the core's last output."""
    torch.manual_seed(options.index)
    model.eval()
    if not 1 <= options.length <= MOST_LENGTH:
        raise ValueError(f"--length must be from 1 to {MOST_LENGTH:,}, got {options.length}")
    text = opening(model.spec.alphabet) if options.prompt is None else options.prompt
    writing = language.write(model, text, options.temperature)
    first = next(writing)  # which says what is wrong with the prompt
    print(text, end="", flush=True)
    for character in itertools.chain([first], itertools.islice(writing, options.length - 1)):
        print(character, end="", flush=True)
        text += character
    shown = text[-MOVED:]
    bars = "".join(
        BARS[round(float(part) * (len(BARS) - 1))] for part in language.influence(model, text)[-MOVED:]
    )
    print(f"\n\nHow much each of the last {len(shown)} characters moves what the model thinks now:")
    print(shown.replace("\n", "⏎"))
    print(bars)


def say(model: Seq2Seq, experiment: Experiment, config: dict[str, Any], options: argparse.Namespace) -> None:
    """Say texts that are typed in other words, and show which word looked at which."""
    if options.out is not None and options.out.suffix != ".png":
        raise ValueError(f"an alignment is drawn as .png, got --out {options.out}")
    check_fits(model, config["experiment"], spec_in(config), experiment.env_id, experiment.env)
    env = single_env(experiment.env_id, experiment.env)
    constrained = isinstance(experiment.learner, TeacherForcing) and experiment.learner.constrained
    text = options.text
    if options.interactive and isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # so that what is no UTF-8 is named, and no end
    if options.interactive and sys.stdin is None:
        raise ValueError("--interactive reads what is typed, and standard input is closed: leave it out")
    while True:
        if text is None:
            try:
                text = input("> ").strip() if sys.stdin.isatty() else sys.stdin.readline().strip()
            except EOFError:  # Ctrl-D
                text = ""
            if not text:
                return
        try:
            if not is_utf8(text):
                raise ValueError(f"the text {text!r} is not UTF-8: save it as such, or type it anew")
            aligned = alignment.of_text(model, env, text, constrained=constrained)
        except ValueError as error:
            if not options.interactive:
                raise
            print(error)
            text = None
            continue
        parsed = None
        if isinstance(env.vector.world, TreeWorld):
            parsed = tree.grown(treebank_words(text), aligned.said[:-1])
        print(aligned.written if parsed is None else tree.in_terminal(parsed))
        if parsed is None:
            print(alignment.in_terminal(aligned))
        if options.out is not None and parsed is not None:
            tree.save(options.out, aligned._replace(read=tuple(treebank_words(text))), parsed)
        elif options.out is not None:
            alignment.save(options.out, {options.player: aligned})
        if options.out is not None:
            print(f"wrote {options.out}")
        if not options.interactive:
            return
        text = None


def describe(
    model: Captioner, experiment: Experiment, config: dict[str, Any], options: argparse.Namespace
) -> None:
    """Say what is on a photograph, and record where each word looked.

    A published captioner carries its words, so that nobody needs the data that it learned from.
    """
    spec = spec_in(config)
    if spec.canvas[0] != 3:
        raise ValueError(f"{options.player} sees no colour: name a captioner of photographs")
    if not options.image.is_file():
        raise ValueError(f"there is no picture {options.image}: name a file")
    if options.out is not None and options.out.exists() and options.out.samefile(options.image):
        raise ValueError(f"--out {options.out} is the photograph itself: name another file")
    names = config.get(results.WORDS)
    if names is None:
        check_fits(model, options.player, spec, experiment.env_id, experiment.env)
        names = single_env(experiment.env_id, experiment.env).vector.answer_names
    elif not isinstance(names, list) or len(names) != spec.num_answers or not all(map(_is_word, names)):
        raise CheckpointError(f"the words of {options.player} are damaged: restore or retrain it.")
    if OTHER in names:  # which stands for rare words and is none
        model.bias.data[names.index(OTHER)] = -torch.inf
    picture = Captioned((options.image,), ()).draw(0, spec.canvas[-1])
    views = list(described(AgentPlayer(model), tuple(names), spec.length, picture))
    print(said(views[-1], views[-1].answers))
    if options.out is not None:
        save(options.out, [(options.image.name, views)])
        print(f"wrote {options.out}")


def _is_word(name: object) -> bool:
    return isinstance(name, str) and name.isprintable() and name != ""


def draws(experiment: Experiment | None) -> bool:
    """Whether it is an experiment of DRAW, which draws and answers nothing."""
    return experiment is not None and isinstance(experiment.learner, Generative)


def load(name: str) -> tuple[Any, Experiment | None, dict[str, Any]]:
    """The trained agent of that name, its experiment and its config; none of them for random and person."""
    if name in UNTRAINED:
        return None, None, {}
    return load_agent(results.find_checkpoint(name, others=UNTRAINED))


def seat(
    agent: Any,
    experiment: Experiment | None,
    config: dict[str, Any],
    options: argparse.Namespace,
    second: bool = False,
) -> tuple[Player, GlimpseEnv]:
    """The player and an environment for it; ValueError where it does not fit.

    experiment: the agent's own, that of the agent that random is compared with, or None. second: whether
    another player plays already, of whom a random one must not be a copy.
    """
    keywords = dict(experiment.env) if experiment and experiment.env_id == options.env_id else {}
    keywords.update(changes(options))
    if options.player == "person" and TABLE[options.env_id].scene in TEXTS:
        keywords.setdefault("early_answer", True)  # so that one can read before one writes
    if agent is not None:
        check_fits(agent, config["experiment"], spec_in(config), options.env_id, keywords)
    env = single_env(options.env_id, keywords, split=options.split)
    return AgentPlayer(agent) if agent else RandomPlayer(env, seed=options.index + second), env


def changes(options: argparse.Namespace) -> dict[str, int | float | str]:
    """The environment's keywords that --env and --dataset give."""
    given = parse_keywords(options.env)
    if options.dataset is not None and "dataset" in given:
        raise ValueError("the data set is given twice, by --dataset and by --env: leave one of them out")
    return {**given, "dataset": options.dataset} if options.dataset is not None else given


def check_scenes(options: argparse.Namespace, env: GlimpseEnv) -> None:
    """Raise ValueError for scenes that a split does not have."""
    if options.index + options.episodes > env.vector.num_scenes:
        raise ValueError(
            f"--index and --episodes must stay within the {options.split} scenes, "
            f"0 to {env.vector.num_scenes - 1}"
        )


def draw(model: DRAW, experiment: Any, options: argparse.Namespace) -> None:
    """Record or show how DRAW draws the chosen scenes, or its dreams, all side by side."""
    env_id, keywords = experiment.env_id, {**experiment.env, **changes(options)}
    x = None
    if not options.dream:
        shape = spec_of(env_id, keywords).canvas
        if shape != model.shape:
            raise ValueError(
                f"{options.player} draws pictures of shape {model.shape}, got {shape}: "
                "choose another --dataset"
            )
        check_scenes(options, single_env(env_id, keywords, split=options.split))
        env = make_scenes(env_id, keywords, options.split, options.episodes)
        index = np.arange(options.index, options.index + options.episodes)
        canvas = env.reset(options={"index": index})[0]["canvas"]
        x = pictures(canvas, experiment.learner.binary, binary_generator(options.index, shape))
    steps = drawing.drawn(model, x, options.episodes, seed=options.index)
    if options.out is not None:
        drawing.save(options.out, steps, x)
        print(f"wrote {options.out}")
        return
    frames = [tile(step) for step in steps]
    show((frame, drawing.SECONDS_A_STEP) for frame in itertools.cycle(frames))


def show(frames: Iterable[tuple[Frame, float]]) -> None:
    """Show each frame for its seconds in a window: space pauses, right steps, any other key closes it."""
    window = Window("glimpse_env", fps=30)
    paused = False
    for frame, seconds in frames:
        until = time.monotonic() + seconds
        step = False
        while not step and (paused or time.monotonic() < until):
            window.show(frame)
            for event in pygame.event.get((pygame.QUIT, pygame.KEYDOWN)):
                key = getattr(event, "key", None)
                if key not in (pygame.K_SPACE, pygame.K_RIGHT):
                    window.close()
                    return
                step = step or key == pygame.K_RIGHT
                paused = step or not paused


if __name__ == "__main__":
    terminal.run(main, (CheckpointError, DatasetError, NoDisplayError, ValueError))
