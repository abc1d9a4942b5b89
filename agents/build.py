"""From an experiment's settings to its agent, its training, its record and back."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch

from agents import checkpoint
from agents.baselines import WholeCanvasClassifier
from agents.dram import DRAM
from agents.draw import DRAW, DRAWClassifier
from agents.edram import EDRAM, SlimEDRAM
from agents.experiments import Experiment
from agents.generative import Generative, train_draw
from agents.interface import Agent
from agents.policy_gradient import PolicyGradient, train_policy_gradient
from agents.ppo import PPOAgent, PPOTraining, train_ppo
from agents.ram import RAM
from agents.runs import Run
from agents.stn import SpatialTransformer
from agents.supervised import Supervised, train_supervised
from agents.training import RESERVED, check_keywords
from glimpse_env.checks import did_you_mean
from glimpse_env.single import GlimpseEnv
from glimpse_env.vector import HORIZON, GlimpseVectorEnv

KINDS: dict[str, type[Experiment]] = {
    "policy_gradient": PolicyGradient,
    "supervised": Supervised,
    "ppo": PPOTraining,
    "generative": Generative,
}


class Shapes(NamedTuple):
    """What an agent must fit: an observation's views (without batch), the answers' kinds and their number.

    context is () where the environment shows none.
    """

    retina: tuple[int, int, int]
    canvas: tuple[int, int, int]
    num_answers: int
    context: tuple[int, ...] = ()
    length: int = 1


def single_env(env_id: str, env: Mapping[str, Any], **more: Any) -> GlimpseEnv:
    """An environment with keywords `env`, what a user may set, and `more`; ValueError for an unknown one."""
    check_keywords(env)
    known = set(inspect.signature(GlimpseVectorEnv.__init__).parameters) - RESERVED - {"self"}
    for key in env.keys() - known:
        raise ValueError(
            f"{env_id} has no keyword {key!r}{did_you_mean(key, known) or ', docs/ has a page of each id'}"
        )
    try:
        made = gymnasium.make(env_id, **env, **more).unwrapped
    except gymnasium.error.Error as error:
        raise ValueError(str(error)) from None
    if not isinstance(made, GlimpseEnv):
        raise ValueError(f"{env_id} is none of our environments: choose one of Glimpse/…")
    return made


def shapes_of(env_id: str, env: Mapping[str, Any]) -> Shapes:
    """The shapes of an environment with keywords `env`; ValueError for a keyword that does not exist."""
    vector = single_env(env_id, env).vector
    if vector.early_answer or vector.relative_gaze:
        raise ValueError(
            f"{env_id} with {dict(env)} does not ask for absolute gazes and answers at their time, as the "
            "agents here give: leave out early_answer and relative_gaze"
        )
    views = vector.single_observation_space
    return Shapes(
        views["retina"].shape,
        vector.present_scenes().canvas.shape[1:],
        int(vector.single_action_space["answer"].n),
        views["context"].shape if vector.context else (),
        vector.task.length,
    )


def horizon_of(env_id: str, env: Mapping[str, Any], length: int = 1) -> int:
    """The budget of glimpses of `env_id` with keywords `env`, whose task has `length` answers."""
    keywords = {"horizon": HORIZON, **gymnasium.spec(env_id).kwargs, **env}
    share = keywords.get("glimpses_per_answer")
    return int(keywords["horizon"] if share is None else share * length)


def check_fits(agent: Agent, config: Mapping[str, Any], settings: Experiment) -> None:
    """Raise ValueError, naming what differs, unless an agent of `config` can act where `settings` say."""
    there = shapes_of(settings.env_id, settings.env)
    here = Shapes(**{**there._asdict(), **config["shapes"]})
    for name, wanted in here._asdict().items():
        offered = getattr(there, name)
        if name in (("canvas",) if agent.sees == "glimpses" else ("retina", "context")):
            continue
        if not np.array_equal(wanted, offered):
            raise ValueError(
                f"{config['experiment']} was made for {name} {wanted} and {settings.env_id} has {offered}: "
                "choose another id or set its keywords, --env KEYWORD=VALUE …"
            )


def build_agent(settings: Experiment, shapes: Shapes) -> Any:
    """The experiment's agent, or DRAW, with fresh weights drawn from its seed."""
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        if isinstance(settings, PolicyGradient):
            sigma = settings.sigma if settings.learn_sigma else settings.sigma_end
        if isinstance(settings, PolicyGradient) and settings.model == "dram":
            context = shapes.context or None
            return DRAM(
                shapes.retina,
                context,
                shapes.num_answers,
                settings.hidden,
                sigma,
                settings.backward,
                glimpses=settings.glimpses,
                learn_sigma=settings.learn_sigma,
            )
        if isinstance(settings, PolicyGradient):
            return RAM(
                shapes.retina,
                shapes.num_answers,
                hidden=settings.hidden,
                sigma=sigma,
                learn_sigma=settings.learn_sigma,
                policy=settings.policy,
                detach=settings.detach,
                glimpses=settings.glimpses,
                core=settings.core,
            )
        if isinstance(settings, PPOTraining):
            horizon = horizon_of(settings.env_id, settings.env, shapes.length)
            return PPOAgent(shapes.retina, shapes.num_answers, horizon, settings.cells, settings.recurrent)
        if isinstance(settings, Generative):
            return DRAW(
                shapes.canvas,
                settings.steps,
                settings.hidden,
                settings.latent,
                settings.read,
                settings.write,
                settings.attention,
                settings.brightness,
            )
        return supervised_agent(settings, shapes)


def supervised_agent(settings: Supervised, shapes: Shapes) -> Agent:
    """The agent of `settings.network`, which sees the canvas."""
    canvas, answers, hidden = shapes.canvas, shapes.num_answers, settings.hidden
    if settings.network in ("st-cnn", "st-fcn") and shapes.length > 1:
        raise ValueError(
            f"network {settings.network!r} has one window and one answer, but {settings.env_id} asks for "
            f"{shapes.length}"
        )
    glimpses = horizon_of(settings.env_id, settings.env, shapes.length)
    match settings.network:
        case "draw":
            return DRAWClassifier(canvas, answers, glimpses, hidden, settings.window_clip)
        case "edram":
            return EDRAM(canvas, answers, glimpses, settings.window_clip)
        case "edram-slim":
            return SlimEDRAM(canvas, answers, hidden)
        case "st-cnn":
            return SpatialTransformer(canvas, answers, "cnn")
        case "st-fcn":
            return SpatialTransformer(canvas, answers, "fcn")
        case whole:
            return WholeCanvasClassifier(canvas, answers, whole, hidden, shapes.length)


def train_experiment(
    run: Run, settings: Experiment, agent: Any, *, quiet: bool = False
) -> Iterator[dict[str, Any]]:
    """Train by the loop that fits the experiment and yield each epoch's metrics."""
    if isinstance(settings, PolicyGradient):
        assert isinstance(agent, RAM | DRAM)
        return train_policy_gradient(run, settings, agent, quiet=quiet)
    if isinstance(settings, PPOTraining):
        assert isinstance(agent, PPOAgent)
        return train_ppo(run, settings, agent, quiet=quiet)
    if isinstance(settings, Generative):
        return train_draw(run, settings, agent, quiet=quiet)
    return train_supervised(run, settings, agent, quiet=quiet)


def to_config(name: str, settings: Experiment, shapes: Shapes) -> dict[str, Any]:
    """The JSON-serialisable record of an experiment that its run folder and checkpoints carry."""
    kind = next(kind for kind, of in KINDS.items() if isinstance(settings, of))
    return {
        "experiment": name,
        "kind": kind,
        "settings": dataclasses.asdict(settings),
        "shapes": json.loads(json.dumps(shapes._asdict())),
    }


def load_agent(path: Path) -> tuple[Any, Experiment, dict[str, Any]]:
    """The agent of a best checkpoint, its settings and the rest of its config; CheckpointError if damaged."""
    tensors, config = checkpoint.load(path)
    try:
        settings = KINDS[config["kind"]](**config["settings"])
        sizes = config["shapes"]
        shapes = Shapes(**{k: tuple(v) if isinstance(v, list) else v for k, v in sizes.items()})
    except (KeyError, TypeError, ValueError) as error:
        raise checkpoint.CheckpointError(
            f"{path} was made by another version of this project ({error}): retrain it."
        ) from None
    agent = build_agent(settings, shapes)
    checkpoint.load_weights(agent, tensors, path)
    agent.eval()
    return agent, settings, config
