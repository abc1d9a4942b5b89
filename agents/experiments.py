"""Every experiment by name: a frozen dataclass, what it should score and how long it takes.

`python scripts/train.py NAME` runs one; each field can be set on the command line. Minutes are on one
core of the machine named in the results.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import torch

from agents import checkpoint
from agents.baselines import WholeCanvasClassifier
from agents.interface import Agent
from agents.policy_gradient import PolicyGradient, train_policy_gradient
from agents.ppo import PPOAgent, PPOTraining, horizon_of, train_ppo
from agents.ram import RAM
from agents.runs import Run
from agents.supervised import Supervised, train_supervised
from glimpse_env.single import GlimpseEnv

Experiment = PolicyGradient | Supervised | PPOTraining
KINDS: dict[str, type[PolicyGradient] | type[Supervised] | type[PPOTraining]] = {
    "policy_gradient": PolicyGradient,
    "supervised": Supervised,
    "ppo": PPOTraining,
}

MNIST = "Glimpse/MNIST-v0"

# The first gaze of every episode is uniform, frozen with its scene in evaluation.
RAM_MNIST = PolicyGradient(
    env_id=MNIST,
    env={"start_gaze": "random", "jitter": 1, "distortion": 0.1},
    epochs=500,
    sigma_end=0.07,
    hidden=512,
    objective="variational",
    trace=0.8,
)
CENTER = {key: value for key, value in RAM_MNIST.env.items() if key != "start_gaze"}
AUGMENTED: dict[str, int | float | str] = {"jitter": 1, "distortion": 0.15}

RAM_TRANSLATED = dataclasses.replace(
    RAM_MNIST,
    env_id="Glimpse/TranslatedMNIST-v0",
    env={"start_gaze": "random", "distortion": 0.1},
    sigma=0.12,
    sigma_end=0.05,
    curriculum=0.4,
)
RAM_CLUTTERED = dataclasses.replace(RAM_TRANSLATED, env_id="Glimpse/ClutteredMNIST-v0", epochs=400)
RAM_CLUTTERED100 = dataclasses.replace(
    RAM_CLUTTERED, env_id="Glimpse/ClutteredMNIST100-v0", sigma=0.1, sigma_end=0.03
)


def with_glimpses(experiment: PolicyGradient, glimpses: int, epochs: int) -> PolicyGradient:
    """The same experiment with another budget of glimpses."""
    return dataclasses.replace(experiment, env={**experiment.env, "horizon": glimpses}, epochs=epochs)


DEMO = PolicyGradient(
    env_id="Glimpse/TranslatedMNIST-v0",
    env={"dataset": "mnist-5k", "horizon": 6},
    epochs=40,
    images_per_epoch=20_000,
    batch_size=256,
    learning_rate=1.5e-3,
    sigma=0.2,
    curriculum=0.4,
)

EXPERIMENTS: dict[str, Experiment] = {
    # 12 to 15 minutes, test 1.09, 1.12, 1.11 with 4, 5, 6 glimpses (paper 1.54, 1.34, 1.12).
    **{f"ram-mnist-g{n}": with_glimpses(RAM_MNIST, n, epochs=250) for n in (2, 3, 4, 5, 6)},
    # 40 minutes, validation 0.76, test 0.81 (paper 1.07).
    "ram-mnist": RAM_MNIST,
    # 8 to 10 minutes, test 9.9 and 12.1.
    "random-mnist": dataclasses.replace(RAM_MNIST, policy="random", epochs=100),
    "center-mnist": dataclasses.replace(
        RAM_MNIST, policy="center", first_gaze="center", epochs=100, env=CENTER
    ),
    # 10 minutes, test 1.79.
    "raster-mnist": dataclasses.replace(RAM_MNIST, policy="raster", epochs=100),
    # 3.87 million environment steps each: what ten epochs of RAM play; test 46.6, 32.4, 13.2
    # after 3, 15 and 1 minutes.
    "ppo-mnist": PPOTraining(env_id=MNIST, env=RAM_MNIST.env),
    "recurrent-ppo-mnist": PPOTraining(env_id=MNIST, env=RAM_MNIST.env, recurrent=True),
    "ram-mnist-e10": dataclasses.replace(RAM_MNIST, epochs=10),
    # 15 and 51 minutes, test 1.71 with 4 and 1.30 with 8 glimpses (paper 1.54, 1.20).
    **{f"ram-translated-g{n}": with_glimpses(RAM_TRANSLATED, n, epochs=300) for n in (4, 6)},
    "ram-translated": RAM_TRANSLATED,
    "random-translated": dataclasses.replace(RAM_TRANSLATED, policy="random", epochs=100),
    # 16 and 41 minutes, test 5.00 with 4 and 4.35 with 8 glimpses (paper 4.96, 4.04); random gaze 19.3.
    **{f"ram-cluttered-g{n}": with_glimpses(RAM_CLUTTERED, n, epochs=300) for n in (4, 6)},
    "ram-cluttered": RAM_CLUTTERED,
    "raster-cluttered": dataclasses.replace(RAM_CLUTTERED, policy="raster", epochs=100),
    "random-cluttered": dataclasses.replace(RAM_CLUTTERED, policy="random", epochs=100),
    # 43 minutes, test 8.13 with 8 glimpses (paper 8.11).
    **{f"ram-cluttered100-g{n}": with_glimpses(RAM_CLUTTERED100, n, epochs=300) for n in (4, 6)},
    "ram-cluttered100": RAM_CLUTTERED100,
    "random-cluttered100": dataclasses.replace(RAM_CLUTTERED100, policy="random", epochs=100),
    "ram-demo": DEMO,
    "random-demo": dataclasses.replace(DEMO, policy="random"),
    "center-demo": dataclasses.replace(DEMO, policy="center"),
    # 1 to 2 minutes each, test 1.74 and 1.76; augmented 0.72 and 0.85.
    "fc-mnist": Supervised(env_id=MNIST, network="fc"),
    "conv-mnist": Supervised(env_id=MNIST, network="conv"),
    "fc-mnist-augmented": Supervised(env_id=MNIST, env=AUGMENTED, network="fc"),
    "conv-translated": Supervised(env_id="Glimpse/TranslatedMNIST-v0", network="conv", epochs=50),
    "conv-cluttered": Supervised(env_id="Glimpse/ClutteredMNIST-v0", network="conv", epochs=80),
    "conv-cluttered100": Supervised(env_id="Glimpse/ClutteredMNIST100-v0", network="conv", epochs=80),
    "conv-mnist-augmented": Supervised(env_id=MNIST, env=AUGMENTED, network="conv"),
}


class Shapes(NamedTuple):
    """What an agent must fit: an observation's retina and canvas (without batch) and the answers' number."""

    retina: tuple[int, int, int]
    canvas: tuple[int, int, int]
    num_answers: int


def shapes_of(env_id: str, env: Mapping[str, Any]) -> Shapes:
    """The shapes of an environment with keywords `env`; ValueError for a keyword that does not exist."""
    try:
        made = gymnasium.make(env_id, **env).unwrapped
    except (TypeError, gymnasium.error.Error) as error:
        raise ValueError(str(error)) from None
    assert isinstance(made, GlimpseEnv)
    retina = made.vector.single_observation_space["retina"].shape
    if made.vector.task.length > 1 or made.vector.early_answer or made.vector.relative_gaze:
        raise ValueError(
            f"{env_id} with {dict(env)} does not ask for one answer at the end and absolute gazes, as the "
            "agents here give: choose a task of one answer, without early_answer and relative_gaze"
        )
    answers = made.vector.single_action_space["answer"].n
    return Shapes(tuple(retina), made.vector.present_scenes().canvas.shape[1:], int(answers))


def build_agent(settings: Experiment, shapes: Shapes) -> Agent:
    """The experiment's agent with fresh weights drawn from its seed."""
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        if isinstance(settings, PolicyGradient):
            return RAM(
                shapes.retina,
                shapes.num_answers,
                hidden=settings.hidden,
                sigma=settings.sigma_end,
                policy=settings.policy,
                detach=settings.detach,
            )
        if isinstance(settings, PPOTraining):
            horizon = horizon_of(settings.env_id, settings.env)
            return PPOAgent(shapes.retina, shapes.num_answers, horizon, settings.cells, settings.recurrent)
        return WholeCanvasClassifier(shapes.canvas, shapes.num_answers, settings.network, settings.hidden)


def train_experiment(
    run: Run, settings: Experiment, agent: Agent, *, quiet: bool = False
) -> Iterator[dict[str, Any]]:
    """Train by the loop that fits the experiment and yield each epoch's metrics."""
    if isinstance(settings, PolicyGradient):
        assert isinstance(agent, RAM)
        return train_policy_gradient(run, settings, agent, quiet=quiet)
    if isinstance(settings, PPOTraining):
        assert isinstance(agent, PPOAgent)
        return train_ppo(run, settings, agent, quiet=quiet)
    assert isinstance(agent, WholeCanvasClassifier)
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


def load_agent(path: Path) -> tuple[Agent, Experiment, dict[str, Any]]:
    """The agent of a best checkpoint, its settings and the rest of its config; CheckpointError if damaged."""
    tensors, config = checkpoint.load(path)
    try:
        settings = KINDS[config["kind"]](**config["settings"])
        shapes = Shapes(
            tuple(config["shapes"]["retina"]),
            tuple(config["shapes"]["canvas"]),
            config["shapes"]["num_answers"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise checkpoint.CheckpointError(
            f"{path} was made by another version of this project ({error}): retrain it."
        ) from None
    agent = build_agent(settings, shapes)
    checkpoint.load_weights(agent, tensors, path)
    agent.eval()
    return agent, settings, config
