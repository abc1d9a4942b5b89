"""Answers, rewards and ends, played by hand on scenes whose digits are known."""

from __future__ import annotations

import pickle
from itertools import product
from typing import Any

import gymnasium
import numpy as np
import pytest
from conftest import OFFLINE, assert_same, offline
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from glimpse_env import TABLE
from glimpse_env.data.images import DIGITS
from glimpse_env.single import GlimpseEnv
from glimpse_env.tasks import make_task
from glimpse_env.vector import GlimpseVectorEnv
from glimpse_env.worlds.choose import TEXTS

PAIR: dict[str, Any] = {**OFFLINE, "canvas_size": 60, "digits": 2, "task": "read", "horizon": 4}
STILL = np.zeros((1, 2), np.float32)


def play(env: GlimpseVectorEnv, answers: list[int]) -> tuple[list[float], bool, Any]:
    """Rewards of the steps that say `answers` in row 0, whether the last ended the episode, its info."""
    rewards = []
    for answer in answers:
        _, reward, terminated, _, info = env.step({"gaze": STILL, "answer": np.array([answer])})
        rewards.append(float(reward[0]))
    return rewards, bool(terminated[0]), info


def test_targets_of_every_task() -> None:
    digits = np.array([[3, 7], [7, 3], [0, 0], [9, 9]])
    assert make_task("read", DIGITS, 2, False).targets(digits).tolist() == digits.tolist()
    assert make_task("sum", DIGITS, 2, False).targets(digits).ravel().tolist() == [10, 10, 0, 18]
    pair = make_task("unordered", DIGITS, 2, False)
    names = [pair.answers[i] for i in pair.targets(digits).ravel()]
    assert names == ["3+7", "3+7", "0+0", "9+9"]
    assert len(set(pair.answers)) == 55
    house = make_task("read", DIGITS, 5, True)
    numbers = np.array([[4, -1, -1, -1, -1], [1, 2, 3, 4, 5]])
    assert house.targets(numbers).tolist() == [[4, 10, -1, -1, -1, -1], [1, 2, 3, 4, 5, 10]]
    assert house.answers[10] == "end"


@pytest.mark.parametrize(
    ("reward", "wrong", "paid"),
    [
        ("terminal", (), [0, 0, 0, 1]),
        ("terminal", (0,), [0, 0, 0, 0]),
        ("terminal", (1,), [0, 0, 0, 0]),
        ("per_answer", (), [0, 1, 0, 1]),
        ("per_answer", (0,), [0, 0, 0, 0]),
        ("per_answer", (1,), [0, 1, 0, 0]),
    ],
)
@pytest.mark.parametrize("cost", [0.0, 0.25])
def test_reading_two_digits(reward: str, wrong: tuple[int, ...], paid: list[int], cost: float) -> None:
    env = GlimpseVectorEnv(1, **PAIR, reward=reward, step_cost=cost)
    env.reset(seed=1)
    said = env.present_scenes().target[0].copy()
    for k in wrong:
        said[k] = (said[k] + 1) % 10
    rewards, ended, info = play(env, [0, said[0], 0, said[1]])
    assert rewards == [p - cost for p in paid]
    assert ended
    assert bool(info["correct"][0]) is (wrong == ())
    assert info["target"][0].tolist() == env.present_scenes().target[0].tolist()


def test_early_answers_end_at_once_and_silence_earns_nothing() -> None:
    env = GlimpseVectorEnv(1, **OFFLINE, early_answer=True, horizon=3, autoreset_mode="Disabled")
    assert env.answer_names[-1] == "look"
    look = len(env.answer_names) - 1
    env.reset(seed=0)
    target = int(env.present_scenes().target[0])
    assert play(env, [target])[:2] == ([1.0], True)
    env.reset()
    target = int(env.present_scenes().target[0])
    assert play(env, [look, target])[:2] == ([0.0, 1.0], True)
    env.reset()
    rewards, ended, info = play(env, [look, look, look])
    assert (rewards, ended) == ([0, 0, 0], True)
    assert not info["correct"][0]


def test_early_answers_read_symbol_by_symbol() -> None:
    env = GlimpseVectorEnv(1, **{**PAIR, "horizon": 6}, early_answer=True, reward="per_answer")
    env.reset(seed=2)
    first, second = env.present_scenes().target[0].tolist()
    assert play(env, [10, first, 10, second])[:2] == ([0, 1, 0, 1], True)


def test_saying_end_ends_a_house_number() -> None:
    env = GlimpseVectorEnv(1, **OFFLINE, scene="houses", task="read", canvas_size=54, horizon=6, split="test")
    for index in range(12):
        env.reset(options={"index": index})
        target = [t for t in env.present_scenes().target[0].tolist() if t >= 0]
        rewards, ended, info = play(env, target)
        assert ended
        assert sum(rewards) == 1
        assert info["correct"][0]
        env.reset(options={"index": index})
        rewards, ended, info = play(env, [10])  # no number is empty
        assert ended
        assert rewards == [0]
        assert not info["correct"][0]


def test_relative_gaze_moves_from_where_the_eye_is() -> None:
    env = GlimpseVectorEnv(1, **OFFLINE, relative_gaze=True)
    env.reset(seed=0)
    for move, there in [((0.5, -0.25), (0.5, -0.25)), ((0.25, 0.5), (0.75, 0.25)), ((1, 0), (1, 0.25))]:
        observation = env.step({"gaze": np.array([move], np.float32), "answer": np.zeros(1, int)})[0]
        assert observation["gaze"][0].tolist() == list(there)


def test_context_is_the_canvas_average_pooled() -> None:
    import torch

    env = GlimpseVectorEnv(3, **OFFLINE, canvas_size=100, distractors=8, context=12)
    observation, _ = env.reset(seed=0)
    canvas = torch.from_numpy(env.present_scenes().canvas).double() / 255
    expected = torch.nn.functional.adaptive_avg_pool2d(canvas, 12)
    np.testing.assert_allclose(observation["context"], expected, atol=1e-6)
    assert env.observation_space.contains(observation)
    again = env.step(env.action_space.sample())[0]
    np.testing.assert_array_equal(again["context"], observation["context"])
    assert not np.shares_memory(again["context"], observation["context"])


EXTRAS: list[dict[str, Any]] = [
    {"early_answer": True, "reward": "per_answer", "step_cost": 0.1, "start_gaze": "blind"},
    {"relative_gaze": True, "start_gaze": "random", "context": 8},
]


def fitting(env_id: str, extras: dict[str, Any]) -> dict[str, Any]:
    """A text's context is all of it, or nothing."""
    a_text = TABLE[env_id].scene in TEXTS
    return {key: bool(value) if a_text and key == "context" else value for key, value in extras.items()}


@pytest.mark.parametrize("env_id", sorted(TABLE))
@pytest.mark.parametrize("extras", EXTRAS)
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_every_id_with_other_keywords_agrees_with_sync_vector_env(
    env_id: str, extras: dict[str, Any], mode: AutoresetMode
) -> None:
    """Rows end at different times; every step is Gymnasium's own, bit for bit."""
    keywords = {**offline(env_id), **fitting(env_id, extras), "glimpses_per_answer": 2}
    ours = gymnasium.make_vec(env_id, num_envs=4, autoreset_mode=mode, **keywords)
    theirs = SyncVectorEnv(
        [lambda: gymnasium.make(env_id, disable_env_checker=True, **keywords)] * 4, autoreset_mode=mode
    )
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert_same(ours.reset(seed=8), theirs.reset(seed=8))
    rng = np.random.default_rng(1)
    answers = ours.single_action_space["answer"].n
    ends = 0
    for _ in range(15):
        answer = np.where(rng.random(4) < 0.5, answers - 1, rng.integers(0, answers, 4))
        if ours.task.end >= 0:  # which nobody finds by chance among thousands of words
            answer = np.where(rng.random(4) < 0.2, ours.task.end, answer)
        action = {"gaze": rng.uniform(-1, 1, (4, ours.sensor.axes)).astype(np.float32), "answer": answer}
        mine = ours.step(action)
        assert_same(mine, theirs.step(action))
        done = mine[2] | mine[3]
        ends += int(done.sum())
        if mode is AutoresetMode.DISABLED and done.any():
            options = {"reset_mask": done}
            assert_same(ours.reset(options=options)[0], theirs.reset(options={"reset_mask": done.copy()})[0])
    assert ends >= 4


@pytest.mark.parametrize("env_id", sorted(TABLE))
def test_the_whole_right_answer_is_correct_on_every_id(env_id: str) -> None:
    env = gymnasium.make(env_id, **offline(env_id), early_answer=True, split="test").unwrapped
    assert isinstance(env, GlimpseEnv)
    for index, right in product(range(5), (True, False)):
        env.reset(options={"index": index})
        target = np.atleast_1d(env.vector.present_scenes().target[0])
        for k, symbol in enumerate(target[target >= 0]):
            said = symbol if right or k else (symbol + 1) % 10
            _, reward, done, _, info = env.step(
                {"gaze": np.zeros(env.vector.sensor.axes, np.float32), "answer": int(said)}
            )
        assert done
        assert bool(info["correct"]) is right
        assert reward == float(right)


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({"task": "add"}, "task"),
        ({"task": "unordered"}, "two digits"),
        ({"task": "classify", "digits": 2, "canvas_size": 60}, "classify"),
        ({"digits": 3, "canvas_size": 100}, "digits"),
        ({"digits": 2}, "canvas_size"),
        ({"task": "read", "digits": 2, "canvas_size": 60, "horizon": 7}, "horizon.*multiple"),
        ({"glimpses_per_answer": 0}, "glimpses_per_answer"),
        ({"early_answer": 1}, "early_answer"),
        ({"reward": "dense"}, "reward"),
        ({"step_cost": -1}, "step_cost"),
        ({"step_cost": float("nan")}, "step_cost"),
        ({"relative_gaze": "yes"}, "relative_gaze"),
        ({"context": -1}, "context"),
        ({"context": 1}, "context"),
        ({"scene": "streets"}, "scene"),
        ({"scene": "houses", "distractors": 4}, "houses"),
        ({"scene": "houses", "task": "read", "canvas_size": 65, "horizon": 6}, "canvas_size"),
    ],
)
def test_bad_keywords_are_named(keywords: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        GlimpseVectorEnv(1, **OFFLINE, **keywords)


@pytest.mark.parametrize("env_id", sorted(TABLE))
@pytest.mark.parametrize("extras", EXTRAS)
def test_the_observation_does_not_know_the_target(env_id: str, extras: dict[str, Any]) -> None:
    """Played alike, an env whose answers are others shows the same until it ends, then tells of others."""
    keywords = {
        **offline(env_id),
        **fitting(env_id, extras),
        "glimpses_per_answer": 2,
        "autoreset_mode": AutoresetMode.DISABLED,
    }
    env, twin = (gymnasium.make_vec(env_id, num_envs=64, **keywords) for _ in range(2))
    assert_same(env.reset(seed=0), twin.reset(seed=0))
    twin._target = np.where(twin._target >= 0, (twin._target + 1) % 10, -1)
    twin._ways = np.where(twin._ways >= 0, (twin._ways + 1) % 10, -1)
    symbols = twin._drawn.symbols
    symbols[:] = np.where(symbols >= 0, (symbols + 1) % 10, -1)
    rng = np.random.default_rng(0)
    silent = len(env.answer_names) - 1 if env.early_answer else 0
    for _ in range(env.horizon):
        # Never END, so that all rows end together, with their budget.
        gaze = rng.uniform(-1, 1, (64, env.sensor.axes)).astype(np.float32)
        action = {"gaze": gaze, "answer": np.full(64, silent)}
        step, other = env.step(action), twin.step(action)
        assert_same(step[0], other[0])
        if step[2].any():
            break
    assert (step[4]["target"] != other[4]["target"]).any()


@pytest.mark.parametrize("env_id", sorted(TABLE))
@pytest.mark.parametrize("extras", EXTRAS)
def test_every_id_with_other_keywords_keeps_gymnasiums_contract(env_id: str, extras: dict[str, Any]) -> None:
    """check_env, a pickled copy, a spec through JSON and a frame, with keywords other than the id's own."""
    env = gymnasium.make(env_id, render_mode="rgb_array", **offline(env_id), **fitting(env_id, extras))
    check_env(env.unwrapped)
    env.reset(seed=1)
    twin = pickle.loads(pickle.dumps(env))
    env.action_space.seed(0)
    action = env.action_space.sample()
    assert_same(env.step(action), twin.step(action))
    assert env.render().std() > 10
    spec = gymnasium.envs.registration.EnvSpec.from_json(env.spec.to_json())
    again = gymnasium.make(spec)
    assert again.observation_space == env.observation_space
    assert again.action_space == env.action_space
