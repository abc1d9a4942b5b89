"""PPO as an experiment: our agent against SB3's own `predict`, and a run that is stopped and resumed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import OFFLINE
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO

from agents.agent import Spec
from agents.experiments import Experiment
from agents.experiments.experiment import load_agent, to_config
from agents.learn.envs import make_env
from agents.learn.ppo import PPOLearner, PPOLoop
from agents.learn.rollout import rollout
from agents.learn.run import Run
from agents.learn.sb3 import GlimpseVecEnv
from agents.models.sb3_policy import SB3Policy, SB3PolicySettings

ID = "Glimpse/MNIST-v0"
TINY = Experiment(
    ID,
    SB3PolicySettings(),
    PPOLearner(num_envs=8, n_steps=14, batch_size=56),
    PPOLoop(epochs=2, steps_per_epoch=112),
    dict(OFFLINE),
)


def test_a_history_has_room_for_the_budget_however_it_is_told() -> None:
    experiment = TINY.but(env={**OFFLINE, "glimpses_per_answer": 3})
    agent = experiment.build(experiment.spec())
    assert agent.horizon == 3
    longer = make_env(agent, ID, 2, split="test", **OFFLINE)
    with pytest.raises(ValueError, match="remembers 3 glimpses"):
        rollout(agent, longer, sample=False)


@pytest.mark.parametrize("recurrent", [False, True])
def test_acts_as_sb3s_predict_does(recurrent: bool) -> None:
    """The deterministic gaze, step by step, on the same frozen scenes."""
    agent = SB3Policy(Spec((1, 8, 8), (1, 28, 28), 10, (), 1, 7), cells=9, recurrent=recurrent).eval()
    played = rollout(
        agent, make_env(agent, ID, 6, split="test", **OFFLINE), sample=False, options={"index": 0}
    )

    env = GlimpseVecEnv(ID, 6, history=not recurrent, split="test", **OFFLINE)
    algorithm, name = (RecurrentPPO, "MultiInputLstmPolicy") if recurrent else (PPO, "MultiInputPolicy")
    model = algorithm(name, env, n_steps=14, batch_size=42)
    model.policy = agent.policy
    for row in range(6):
        env._options[row] = {"index": row}
    observation = env.reset()
    state = None
    for t in range(7):
        seen = observation["gaze"] if recurrent else observation["gaze"][:, t]
        np.testing.assert_allclose(seen, played.gaze[t].numpy(), atol=1e-6)
        start = np.full(6, t == 0)
        action, state = model.predict(observation, state, start, deterministic=True)
        observation, *_ = env.step(action)
    np.testing.assert_array_equal(action[:, 2], played.logits[-1].argmax(-1).numpy())


@pytest.mark.parametrize("recurrent", [False, True])
def test_a_resumed_run_ends_with_the_same_weights_and_sb3_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recurrent: bool
) -> None:
    (temporary := tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    experiment = TINY.but(model={"recurrent": recurrent})
    spec = experiment.spec()

    def train(folder: Path, epochs: int, resume: bool) -> None:
        config = to_config("ppo-mnist", experiment, spec)
        run = Run(folder, config, resume=resume, overwrite=False)
        metrics = experiment.train(run, experiment.build(spec), quiet=True)
        for _ in range(epochs):
            next(metrics)

    train(tmp_path / "once", 2, resume=False)
    train(tmp_path / "twice", 1, resume=False)
    train(tmp_path / "twice", 1, resume=True)
    assert not list(temporary.glob("SB3*"))
    once, _, config = load_agent(tmp_path / "once" / "best.safetensors")
    twice, again, _ = load_agent(tmp_path / "twice" / "best.safetensors")
    assert again == experiment
    assert config["env_steps"] == 112 * config["epoch"]
    for a, b in zip(once.parameters(), twice.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("loop", "epochs", 0),
        ("model", "cells", 1),
        ("learner", "entropy_weight", -1.0),
        ("learner", "batch_size", 1),
        ("loop", "learning_rate", float("nan")),
    ],
)
def test_bad_settings_are_named(part: str, field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        TINY.but(**{part: {field: value}})


def test_settings_reach_sb3_and_its_episodes_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []

    def learn(model: PPO, steps: int, callback: Any) -> None:
        told.append((steps, model.lr_schedule(1.0), model.ent_coef, model.gamma, model.n_epochs))
        infos = [{"is_success": True}, {}, {"is_success": False}, *[{}] * 5]
        for rewards, dones in (([-0.25, -0.5, 0], [0, 0, 0]), ([1, -0.25, 0], [1, 0, 1])):
            at = {"rewards": np.pad(rewards, (0, 5)), "dones": np.pad(dones, (0, 5)), "infos": infos}
            callback(at, {})
        model.num_timesteps = steps

    monkeypatch.setattr(PPO, "learn", learn)
    experiment = TINY.but(learner={"entropy_weight": 0.25, "n_epochs": 3}, loop={"learning_rate": 0.01})
    config = to_config("ppo-mnist", experiment, experiment.spec())
    run = Run(tmp_path, config, resume=False, overwrite=False)
    metrics = list(experiment.train(run, experiment.build(experiment.spec()), quiet=True))
    assert told == [(112, 0.01, 0.25, 1.0, 3), (112, 0.005, 0.25, 1.0, 3)]
    # In each of two epochs two episodes end, one of them right and paid 0.75.
    assert [(one["train_error"], one["reward"], one["env_steps"]) for one in metrics] == [
        (50.0, 0.375, 112),
        (50.0, 0.375, 224),
    ]


@pytest.mark.parametrize("recurrent", [False, True])
def test_a_gaze_is_drawn_cell_by_cell(recurrent: bool) -> None:
    """By the softmax of its biases, nearly all that an action goes by before anything is learned."""
    torch.manual_seed(0)
    agent = SB3Policy(Spec((1, 8, 8), (1, 28, 28), 10, (), 1, 7), cells=3, recurrent=recurrent).eval()
    glimpse = {"retina": torch.rand(1, 1, 8, 8), "gaze": torch.zeros(1, 2), "time": torch.zeros(1, 1)}
    with torch.no_grad():
        agent.policy.action_net.bias.copy_(torch.linspace(-1, 1, 16))
        step, _ = agent(
            {key: part.expand(4000, *part.shape[1:]) for key, part in glimpse.items()}, None, True
        )
        mean, _ = agent(glimpse, None, False)
        columns, rows = (torch.linspace(-1, 1, 16)[part].softmax(0) for part in (slice(0, 3), slice(3, 6)))
    cells = (step.gaze + 1).round().long()
    assert torch.equal(cells.float() - 1, step.gaze)
    for axis, wanted in enumerate((columns, rows)):
        shares = torch.bincount(cells[:, axis], minlength=3) / 4000
        torch.testing.assert_close(shares, wanted, atol=0.03, rtol=0)
    assert mean.gaze.tolist() == [[1, 1]]
    log_p = (columns[cells[:, 0]] * rows[cells[:, 1]]).log()
    torch.testing.assert_close(step.log_prob, log_p, atol=0.1, rtol=0)
