from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from conftest import OFFLINE

from glimpse_env.vector import GlimpseVectorEnv
from glimpse_env.wrappers import BoxAction, GridAction, WholeCanvas


def test_box_action_takes_the_highest_score() -> None:
    env = BoxAction(gymnasium.make("Glimpse/MNIST-v0", **OFFLINE, horizon=2))
    assert env.action_space.shape == (12,)
    env.reset(seed=0)
    scores = np.full(10, -0.5)
    scores[env.unwrapped.vector.present_scenes().target[0]] = 0.1
    observation = env.step(np.concatenate([[0.25, -0.75], scores]))[0]
    assert observation["gaze"].tolist() == [0.25, -0.75]
    assert env.step(np.concatenate([[0, 0], scores]))[1] == 1.0
    with pytest.raises(ValueError, match="12 numbers"):
        env.step(np.zeros(11))
    with pytest.raises(ValueError, match="NaN"):
        env.step(np.full(12, np.nan))


def test_grid_action_spans_the_canvas() -> None:
    env = GridAction(gymnasium.make("Glimpse/MNIST-v0", **OFFLINE), cells=3)
    env.reset(seed=0)
    assert env.step(np.array([0, 2, 5]))[0]["gaze"].tolist() == [-1, 1]  # left column, bottom row
    assert env.step(np.array([1, 1, 5]))[0]["gaze"].tolist() == [0, 0]
    with pytest.raises(ValueError, match="column and row below 3"):
        env.step(np.array([3, 0, 0]))
    with pytest.raises(ValueError, match="cells"):
        GridAction(env.env, cells=1)


def test_only_dict_actions_can_be_wrapped() -> None:
    with pytest.raises(TypeError, match="Dict"):
        BoxAction(gymnasium.make("CartPole-v1"))


def test_whole_canvas_is_the_scene() -> None:
    env = WholeCanvas(GlimpseVectorEnv(3, **OFFLINE, canvas_size=40, horizon=2))
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    expected = env.unwrapped.present_scenes().canvas / 255
    np.testing.assert_allclose(observation["canvas"], expected, rtol=1e-6)
    with pytest.raises(ValueError, match="same-step"):
        WholeCanvas(GlimpseVectorEnv(3, **OFFLINE, autoreset_mode="SameStep"))
    observation = env.step({"gaze": np.ones((3, 2)), "answer": np.zeros(3, int)})[0]
    np.testing.assert_allclose(observation["canvas"], expected, rtol=1e-6)
