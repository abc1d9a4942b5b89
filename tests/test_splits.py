"""Every learner learns from the training side and chooses on validation; none opens a test scene."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import OFFLINE, SAID, pictures

from agents.experiments import EXPERIMENTS, Experiment
from agents.experiments.experiment import to_config
from agents.learn import language, ppo, recall, sequences, stopping
from agents.learn.captioning import SelfCritical
from agents.learn.loop import LoopLearner
from agents.learn.run import Run
from glimpse_env import make_custom
from glimpse_env.data import images
from glimpse_env.vector import GlimpseVectorEnv

UNITS = {"hidden": 16}
WORDS = {"hidden": 16, "embedding": 16}
PLACES = {"hidden": 16, "filters": 4}
DIGITS = {"dataset": "digits"}
PROSE = {"dataset": "python-docs"}
ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    # A row of each learner: what makes its model small, and its data one that every machine has.
    "random-mnist": (UNITS, OFFLINE),
    "ram-mnist": (UNITS, OFFLINE),
    "fc-mnist": (UNITS, OFFLINE),
    "st-cnn": ({}, OFFLINE),
    "fixation-rbm-mnist": (UNITS, OFFLINE),
    "draw-mnist": ({"hidden": 16, "steps": 2}, OFFLINE),
    "stories-attentive": (WORDS, {}),
    "luong-numbers": (WORDS, {}),
    "hard-numbers": (WORDS, {}),
    "gaze-numbers": (WORDS, {}),
    "parse-luong": (WORDS, {"dataset": "grammar"}),
    "soft-digits": (PLACES, DIGITS),
    "hard-digits": (PLACES, DIGITS),
    "adding-100-lstm": (UNITS, {}),
    "rows-lstm": (UNITS, OFFLINE),
    "char-lstm": (WORDS, PROSE),
    "sketch-teacher": (UNITS, OFFLINE),
    "stop-columns-coin": (UNITS, OFFLINE),
    "stop-lines-symbol": (UNITS, PROSE),
}


def small(name: str) -> Experiment:
    """One of ROWS, or one whose own data not every machine has, on other data."""
    if name == "self-critical":
        return small("soft-digits").but(learner=SelfCritical())
    if name == "people's captions":
        made = make_custom(pictures(30), captions=SAID, canvas_size=32)
        row, model = EXPERIMENTS["soft-codraw"], PLACES
        env = {"dataset": made.unwrapped.vector.dataset, "canvas_size": 32}
    elif name == "trees, read":
        row, model = EXPERIMENTS["gaze-de-en"].but(env_id="Glimpse/Parse-v0"), {**WORDS, "tied": False}
        env = {"dataset": "grammar"}
    else:
        row, (model, env) = EXPERIMENTS[name], ROWS[name]
    return row.but(model=model, env={**row.env, **env}, loop={"batch_size": 4})


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The splits of the environments, data sets, texts and frozen sequences in use, as they are opened."""
    seen: list[str] = []
    plain, load, made, block = (
        GlimpseVectorEnv.__init__,
        images.load,
        sequences.make_sequences,
        sequences.Drawn.block,
    )

    class Parts(dict[str, Any]):
        def __getitem__(self, split: str) -> Any:
            seen.append(split)
            return super().__getitem__(split)

    def init(env: Any, num_envs: int, *args: Any, split: str = "train", **keywords: Any) -> None:
        if num_envs > 1 or split != "train":  # one row of it says what is to be built
            seen.append(split)
        plain(env, num_envs, *args, split=split, **keywords)

    def loaded(dataset: str, split: str) -> Any:
        seen.append(split)
        return load(dataset, split)

    def make(name: str, env: Any) -> Any:
        there = made(name, env)
        for part in ("text", "parts"):
            if isinstance(getattr(there, part, None), dict):
                setattr(there, part, Parts(getattr(there, part)))
        del seen[:]
        return there

    def drawn(of: Any, split: str, number: int) -> Any:
        seen.append(split)
        return block(of, split, number)

    monkeypatch.setattr(GlimpseVectorEnv, "__init__", init)
    monkeypatch.setattr(sequences.images, "load", loaded)
    for module in (language, recall, stopping):
        monkeypatch.setattr(module, "make_sequences", make)
    monkeypatch.setattr(sequences.Drawn, "block", drawn)
    return seen


@pytest.mark.parametrize("name", [*ROWS, "self-critical", "people's captions", "trees, read"])
def test_learning_opens_no_test_scene(name: str, opened: list[str]) -> None:
    experiment = small(name)
    agent = experiment.build(experiment.spec())
    learner = experiment.learner
    assert isinstance(learner, LoopLearner)
    del opened[:]
    lesson = learner.lesson(agent, experiment.task)
    lesson.batch(list(range(4)), 0.5)
    drawn = set() if name.startswith("adding") else {"train"}  # sums are new ones, of no split
    assert set(opened) - {"validation"} == drawn
    before = len(opened)
    lesson.validate(agent)
    lesson.close()
    assert "validation" in opened
    # The statistics of a captioner's batch normalisation are measured anew, on pictures that it learns from.
    measured = {"train"} if experiment.env_id == "Glimpse/Caption-v0" else set()
    assert set(opened[before:]) <= {"validation"} | measured


def test_ppo_opens_no_test_scene(opened: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    experiment = EXPERIMENTS["ppo-mnist"].but(
        env=OFFLINE, learner={"num_envs": 4, "batch_size": 112}, loop={"epochs": 1, "steps_per_epoch": 112}
    )
    scored: list[int] = []
    validate = ppo.evaluate

    def evaluate(*arguments: Any, **keywords: Any) -> Any:
        scored.append(len(opened))
        return validate(*arguments, **keywords)

    monkeypatch.setattr(ppo, "evaluate", evaluate)
    spec = experiment.spec()
    agent = experiment.build(spec)
    run = Run(tmp_path / "run", to_config("test", experiment, spec), resume=False, overwrite=False)
    del opened[:]
    list(experiment.train(run, agent, quiet=True))
    run.close()
    assert set(opened[: scored[0]]) == {"train"}
    assert set(opened[scored[0] :]) == {"validation"}
