"""PPO as an experiment: our agent against SB3's own `predict`, and a run that is stopped and resumed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import OFFLINE
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO

from agents.build import build_agent, load_agent, shapes_of, to_config, train_experiment
from agents.evaluate import make_env
from agents.ppo import PPOAgent, PPOTraining
from agents.rollout import rollout
from agents.runs import Run
from agents.sb3 import GlimpseVecEnv

ID = "Glimpse/MNIST-v0"
TINY = PPOTraining(ID, dict(OFFLINE), epochs=2, steps_per_epoch=112, num_envs=8, n_steps=14, batch_size=56)


def test_a_history_has_room_for_the_budget_however_it_is_told() -> None:
    env = {**OFFLINE, "glimpses_per_answer": 3}
    agent = build_agent(dataclasses.replace(TINY, env=env), shapes_of(ID, env))
    assert agent.horizon == 3
    longer = make_env(agent, ID, 2, split="test", **OFFLINE)
    with pytest.raises(ValueError, match="remembers 3 glimpses"):
        rollout(agent, longer, sample=False)


@pytest.mark.parametrize("recurrent", [False, True])
def test_acts_as_sb3s_predict_does(recurrent: bool) -> None:
    """The deterministic gaze, step by step, on the same frozen scenes."""
    agent = PPOAgent((1, 8, 8), 10, horizon=7, cells=9, recurrent=recurrent).eval()
    played = rollout(
        agent, make_env(agent, ID, 6, split="test", **OFFLINE), sample=False, options={"index": 0}
    )

    env = GlimpseVecEnv(ID, 6, history=not recurrent, split="test", **OFFLINE)
    algorithm, name = (RecurrentPPO, "MultiInputLstmPolicy") if recurrent else (PPO, "MultiInputPolicy")
    model = algorithm(name, env, n_steps=14, batch_size=42)
    model.policy = agent.policy
    env.reset()
    observation, _ = env.env.reset(options={"index": 0})
    observation = env._with_history(observation, np.ones(6, np.bool_))
    state = None
    for t in range(7):
        seen = observation["gaze"] if recurrent else observation["gaze"][:, t]
        np.testing.assert_allclose(seen, played.gaze[t].numpy(), atol=1e-6)
        start = np.full(6, t == 0)
        action, state = model.predict(observation, state, start, deterministic=True)
        observation, *_ = env.step(action)
    np.testing.assert_array_equal(action[:, 2], played.logits[-1].argmax(-1).numpy())


@pytest.mark.parametrize("recurrent", [False, True])
def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path, recurrent: bool) -> None:
    settings = dataclasses.replace(TINY, recurrent=recurrent)
    shapes = shapes_of(settings.env_id, settings.env)

    def train(folder: Path, epochs: int, resume: bool) -> None:
        run = Run(folder, to_config("ppo-mnist", settings, shapes), resume=resume, overwrite=False)
        metrics = train_experiment(run, settings, build_agent(settings, shapes), quiet=True)
        for _ in range(epochs):
            next(metrics)

    train(tmp_path / "once", 2, resume=False)
    train(tmp_path / "twice", 1, resume=False)
    train(tmp_path / "twice", 1, resume=True)
    once, _, config = load_agent(tmp_path / "once" / "best.safetensors")
    twice, again, _ = load_agent(tmp_path / "twice" / "best.safetensors")
    assert again == settings
    assert config["env_steps"] == 112 * config["epoch"]
    for a, b in zip(once.parameters(), twice.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("cells", 1),
        ("entropy", -1.0),
        ("learning_rate", float("nan")),
        ("env", {"split": "test"}),
    ],
)
def test_bad_settings_are_named(field: str, value: object) -> None:
    with pytest.raises(ValueError, match="split" if field == "env" else field):
        dataclasses.replace(TINY, **{field: value})
