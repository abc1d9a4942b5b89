from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
from conftest import OFFLINE
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from agents.learn.sb3 import GlimpseVecEnv
from glimpse_env.wrappers import GlimpseHistory, GridAction

ID = "Glimpse/ClutteredMNIST-v0"


def single(history: bool, **keywords: Any) -> gymnasium.Env:
    env: Any = gymnasium.make(ID, **OFFLINE, disable_env_checker=True, **keywords)
    if history:
        env = GlimpseHistory(env)
    return GridAction(env)


@pytest.mark.parametrize("history", [False, True])
@pytest.mark.parametrize("keywords", [{}, {"early_answer": True}, {"horizon": 4, "max_episode_steps": 4}])
def test_step_by_step_as_sb3s_own(history: bool, keywords: dict[str, Any]) -> None:
    """Against SB3's DummyVecEnv over the single env and the same wrappers, terminal observations included.

    An episode that ends by itself at its last step is not truncated.
    """
    ours = GlimpseVecEnv(ID, 3, history=history, **keywords, **OFFLINE)
    theirs = DummyVecEnv([lambda: single(history, **keywords)] * 3)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    for vec in (ours, theirs):
        vec.seed(5)
    a, b = ours.reset(), theirs.reset()
    ours.action_space.seed(0)
    for _ in range(20):
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])
        action = np.stack([ours.action_space.sample() for _ in range(3)])
        a, reward, done, info = ours.step(action)
        b, their_reward, their_done, their_info = theirs.step(action)
        np.testing.assert_array_equal(reward, their_reward)
        np.testing.assert_array_equal(done, their_done)
        for row in np.flatnonzero(done):
            assert info[row]["TimeLimit.truncated"] == their_info[row]["TimeLimit.truncated"]
            assert info[row]["is_success"] == their_info[row]["correct"]
            for key, value in info[row]["terminal_observation"].items():
                np.testing.assert_array_equal(value, their_info[row]["terminal_observation"][key])


@pytest.mark.parametrize(
    ("algorithm", "policy", "history"),
    [(PPO, "MultiInputPolicy", True), (RecurrentPPO, "MultiInputLstmPolicy", False)],
)
def test_ppo_trains_on_it(algorithm: Any, policy: str, history: bool) -> None:
    env = GlimpseVecEnv("Glimpse/MNIST-v0", 8, history=history, **OFFLINE)
    model = algorithm(policy, env, n_steps=14, batch_size=56, n_epochs=1, seed=0)
    before = [p.clone() for p in model.policy.parameters()]
    model.learn(224)
    assert any((a != b).any() for a, b in zip(before, model.policy.parameters(), strict=True))
    assert len(model.ep_info_buffer) == 0  # nothing monitors: returns are in our own infos
    env.close()


def test_the_vec_envs_attributes() -> None:
    env = GlimpseVecEnv("Glimpse/MNIST-v0", 3, **OFFLINE, render_mode="rgb_array")
    env.reset()
    assert env.get_attr("horizon") == [7, 7, 7]
    assert env.get_attr("horizon", [1]) == [7]
    env.set_attr("difficulty", 0.5)
    assert env.env.difficulty == 0.5
    with pytest.raises(ValueError, match="all rows"):
        env.set_attr("difficulty", 0.5, 1)
    assert env.env_is_wrapped(GridAction) == [False] * 3
    assert len(env.get_images()) == 3
    with pytest.raises(ValueError, match="cells"):
        GlimpseVecEnv("Glimpse/MNIST-v0", 3, cells=1, **OFFLINE)


def test_options_choose_frozen_scenes() -> None:
    env = GlimpseVecEnv("Glimpse/MNIST-v0", 2, **OFFLINE, split="test")
    env.set_options([{"index": 7}, {"index": 3}])
    seen = env.reset()
    plain = gymnasium.make("Glimpse/MNIST-v0", **OFFLINE, split="test")
    for row, index in enumerate((7, 3)):
        alone = plain.reset(options={"index": index})[0]
        np.testing.assert_array_equal(seen["retina"][row], alone["retina"])
    env.set_options([{"index": 7}, {}])
    with pytest.raises(ValueError, match="set_options"):
        env.reset()
    env.set_options({"size": 7})
    with pytest.raises(ValueError, match="set_options"):
        env.reset()


def test_a_history_handed_out_is_the_callers_own() -> None:
    env = GlimpseVecEnv("Glimpse/MNIST-v0", 2, **OFFLINE, history=True)
    env.reset()["retina"][:] = 7
    assert env.step(np.zeros((2, 3), np.int64))[0]["retina"].max() <= 1


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_subprocesses(method: str) -> None:
    """SB3's SubprocVecEnv and Gymnasium's AsyncVectorEnv over the single env."""
    count = 1 if method == "spawn" else 2  # each of its processes imports torch
    envs = SubprocVecEnv([make_plain] * count, start_method=method)
    envs.seed(3)
    first = envs.reset()["retina"]
    envs.close()
    make = partial(gymnasium.make, f"glimpse_env:{ID}", **OFFLINE, disable_env_checker=True)
    asynchronous = gymnasium.vector.AsyncVectorEnv([make] * 2, context=method)
    again = asynchronous.reset(seed=3)[0]["retina"]
    asynchronous.close()
    native = gymnasium.make_vec(ID, num_envs=2, **OFFLINE).reset(seed=3)[0]["retina"]
    np.testing.assert_array_equal(first, native[:count])
    np.testing.assert_array_equal(again, native)


def make_plain() -> gymnasium.Env:
    import glimpse_env  # noqa: F401 (a spawned process knows no ids yet)

    return single(history=False)


def test_ppo_takes_the_single_env_with_a_grid_and_a_history() -> None:
    """As docs/libraries.md writes it."""
    env = GridAction(GlimpseHistory(gymnasium.make("Glimpse/MNIST-v0", **OFFLINE)))
    model = PPO("MultiInputPolicy", env, n_steps=16, batch_size=16, n_epochs=1, device="cpu")
    model.learn(16)
    observation, _ = env.reset(seed=0)
    assert model.predict(observation)[0] in env.action_space
