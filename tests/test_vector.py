from __future__ import annotations

import gc
import pickle
import sys
import threading
import weakref
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from conftest import OFFLINE, assert_same
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from glimpse_env.data import files, own
from glimpse_env.data.images import DIGITS, load
from glimpse_env.random import SPLITS
from glimpse_env.registry import with_dataset
from glimpse_env.sensors.retina import look
from glimpse_env.single import GlimpseEnv
from glimpse_env.vector import GlimpseVectorEnv

CLUTTERED: dict[str, Any] = {
    **OFFLINE,
    "canvas_size": 60,
    "distractors": 4,
    "retina_size": 12,
    "scales": 3,
    "horizon": 4,
}


def make(num_envs: int, **keywords: Any) -> GlimpseVectorEnv:
    return GlimpseVectorEnv(num_envs, **{**CLUTTERED, **keywords})


def random_action(rng: np.random.Generator, num_envs: int) -> dict[str, Any]:
    gaze = rng.uniform(-1.2, 1.2, (num_envs, 2)).astype(np.float32)
    return {"gaze": gaze, "answer": rng.integers(0, 10, num_envs)}


def row_of(action: dict[str, Any], row: int) -> dict[str, Any]:
    return {"gaze": action["gaze"][row], "answer": int(action["answer"][row])}


def test_an_episode_from_the_first_glimpse_to_the_reward() -> None:
    env = make(3)
    observation, info = env.reset(seed=5)
    scenes = env.present_scenes()
    assert info == {}
    np.testing.assert_array_equal(observation["gaze"], np.zeros((3, 2)))
    np.testing.assert_allclose(observation["time"], np.full((3, 1), 1 / 4))
    gaze = np.array([[0.5, -0.5], [9, -9], [0, 1]], np.float32)
    clipped = gaze.clip(-1, 1)
    answer = scenes.target.copy()
    answer[0] = (answer[0] + 1) % 10
    for step in (1, 2, 3):
        observation, reward, terminated, truncated, info = env.step({"gaze": gaze, "answer": answer})
        np.testing.assert_array_equal(observation["gaze"], clipped)
        np.testing.assert_array_equal(observation["retina"], look(scenes.canvas, clipped, 12, 3))
        np.testing.assert_allclose(observation["time"], np.full((3, 1), (step + 1) / 4))
        assert reward.tolist() == [0, 0, 0]
        assert not terminated.any()
        assert not truncated.any()
        assert info == {}
    observation, reward, terminated, truncated, info = env.step({"gaze": -gaze, "answer": answer})
    np.testing.assert_array_equal(observation["gaze"], clipped)  # the answering step does not move
    assert reward.tolist() == [0, 1, 1]
    assert terminated.all()
    assert not truncated.any()
    assert info["target"].tolist() == scenes.target.tolist()
    assert info["correct"].tolist() == [False, True, True]


def test_a_blind_episode_begins_in_the_dark_and_ends_like_any_other() -> None:
    blind, open_eyed = (make(3, start_gaze=start, context=10) for start in ("blind", "center"))
    observation, _ = blind.reset(seed=5)
    seen, _ = open_eyed.reset(seed=5)
    assert not observation["retina"].any()
    assert seen["retina"].any()
    assert_same({**observation, "retina": seen["retina"]}, seen)
    for step in range(4):
        action = random_action(np.random.default_rng(step), 3)
        ours, theirs = blind.step(action), open_eyed.step(action)
        assert_same(ours, theirs)
    assert ours[2].all()


@pytest.mark.parametrize("start_gaze", ["center", "random", "blind"])
def test_a_row_equals_the_single_env_of_its_seed_whatever_the_batch(start_gaze: str) -> None:
    seeds = [11, 3, 3, 2**40]
    env = make(4, start_gaze=start_gaze, autoreset_mode=AutoresetMode.SAME_STEP)
    singles = [GlimpseEnv(**CLUTTERED, start_gaze=start_gaze) for _ in seeds]
    observation, _ = env.reset(seed=seeds)
    single = [s.reset(seed=seed)[0] for s, seed in zip(singles, seeds, strict=True)]
    rng = np.random.default_rng(0)
    for _ in range(13):  # three episodes and one step
        for row in range(4):
            assert_same({k: v[row] for k, v in observation.items()}, single[row])
        action = random_action(rng, 4)
        observation, reward, terminated, _, info = env.step(action)
        for row, s in enumerate(singles):
            single[row], r, done, _, i = s.step(row_of(action, row))
            assert (r, done) == (reward[row], terminated[row])
            if done:
                assert i["target"] == info["final_info"]["target"][row]
                single[row], _ = s.reset()
    canvas = env.present_scenes().canvas
    np.testing.assert_array_equal(canvas[1], canvas[2])


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("limit", [None, 3, 4, 5])
@pytest.mark.parametrize("constant", [False, True])
def test_autoreset_is_gymnasiums(mode: AutoresetMode, limit: int | None, constant: bool) -> None:
    """Step by step against SyncVectorEnv over the single env, also when a time limit truncates."""
    ours = make(3, autoreset_mode=mode, max_episode_steps=limit, constant_info=constant)

    def single() -> gymnasium.Env:
        env = GlimpseEnv(**CLUTTERED, constant_info=constant)
        return gymnasium.wrappers.TimeLimit(env, limit) if limit else env

    theirs = SyncVectorEnv([single] * 3, autoreset_mode=mode)
    assert ours.metadata["autoreset_mode"] is theirs.metadata["autoreset_mode"]
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert_same(ours.reset(seed=8), theirs.reset(seed=8))
    rng = np.random.default_rng(1)
    for step in range(12):
        if step == 1:  # put one row out of step with the others
            mask = np.array([False, True, False])
            assert_same(
                ours.reset(options={"reset_mask": mask})[0], theirs.reset(options={"reset_mask": mask})[0]
            )
        action = random_action(rng, 3)
        mine, other = ours.step(action), theirs.step(action)
        assert_same(mine, other)
        done = mine[2] | mine[3]
        if mode is AutoresetMode.DISABLED and done.any():
            assert_same(
                ours.reset(options={"reset_mask": done})[0],
                theirs.reset(options={"reset_mask": done.copy()})[0],
            )


def test_seeds_int_list_and_none() -> None:
    env = make(3)
    a, _ = env.reset(seed=7)
    b, _ = env.reset(seed=[7, 8, 9])
    assert_same(a, b)
    c, _ = env.reset(seed=[7, None, None])
    np.testing.assert_array_equal(c["retina"][0], a["retina"][0])
    assert (c["retina"][1] != a["retina"][1]).any()
    assert np.abs(make(3).reset()[0]["retina"] - make(3).reset()[0]["retina"]).max() > 0  # fresh entropy


def test_unmasked_rows_go_on_undisturbed() -> None:
    env, twin = make(2), make(2)
    for e in (env, twin):
        e.reset(seed=1)
        e.step({"gaze": np.full((2, 2), 0.3), "answer": np.zeros(2, int)})
    env.reset(seed=99, options={"reset_mask": np.array([True, False])})
    action = {"gaze": np.full((2, 2), -0.3), "answer": np.zeros(2, int)}
    a, b = env.step(action)[0], twin.step(action)[0]
    for key in a:
        np.testing.assert_array_equal(a[key][1], b[key][1])
    assert a["time"].ravel().tolist() == [0.5, 0.75]


def test_frozen_scenes_are_the_same_in_any_row_after_any_history() -> None:
    env = make(4, split="test")
    env.reset(seed=3)
    env.reset(options={"index": [5, 6, 7, 999]})
    first = env.present_scenes()
    single = GlimpseEnv(**CLUTTERED, split="test")
    single.reset(options={"index": 999})
    np.testing.assert_array_equal(single.vector.present_scenes().canvas[0], first.canvas[3])
    assert first.target.tolist() == load("mnist-5k", "test").labels[[5, 6, 7, 999]].tolist()
    env.reset(options={"index": 5})
    np.testing.assert_array_equal(env.present_scenes().canvas[:3], first.canvas[:3])


def test_test_scenes_show_each_test_digit_once() -> None:
    env = make(1000, split="test")
    env.reset(options={"index": 0})
    np.testing.assert_array_equal(env.present_scenes().target, load("mnist-5k", "test").labels)
    assert env.num_scenes == 1000


def test_training_aids_do_not_touch_frozen_scenes() -> None:
    plain, aided = make(20, split="test"), make(20, split="test", difficulty=0.2, jitter=3, distortion=0.2)
    for env in (plain, aided):
        env.reset(seed=0)
    assert (plain.present_scenes().canvas != aided.present_scenes().canvas).any()
    for env in (plain, aided):
        env.reset(options={"index": 3})
    np.testing.assert_array_equal(plain.present_scenes().canvas, aided.present_scenes().canvas)


def test_difficulty_can_be_set_between_episodes() -> None:
    env = make(50)
    env.difficulty = 0.0
    env.reset(seed=0)
    assert (env.present_scenes().boxes[:, :2] == 16).all()
    env.difficulty = 1.0
    env.reset()
    assert len({tuple(box) for box in env.present_scenes().boxes.tolist()}) > 30


def test_outputs_are_fresh_arrays() -> None:
    env = make(2)
    first, _ = env.reset(seed=0)
    kept = {k: v.copy() for k, v in first.items()}
    results = [env.step(random_action(np.random.default_rng(i), 2)) for i in range(9)]
    assert_same(first, kept)
    for a, b in pairwise(results):
        for x, y in zip(a[:4], b[:4], strict=True):
            pairs = [(x[k], y[k]) for k in x] if isinstance(x, dict) else [(x, y)]
            assert not any(np.shares_memory(p, q) for p, q in pairs)


def test_pickle_keeps_the_episode_and_leaves_the_digits_at_home() -> None:
    env = make(2)
    env.reset(seed=4)
    data = pickle.dumps(env)
    assert len(data) < 200_000
    twin = pickle.loads(data)
    for i in range(9):
        action = random_action(np.random.default_rng(i), 2)
        assert_same(env.step(action), twin.step(action))


GOOD = {"gaze": np.zeros((2, 2), np.float32), "answer": np.zeros(2, np.int64)}


@pytest.mark.parametrize(
    ("action", "says"),
    [
        ({**GOOD, "gaze": np.array([[0, 0], [np.nan, 0]])}, r"gaze.*NaN.*row 1"),
        ({**GOOD, "gaze": np.zeros((2, 3))}, "gaze"),
        ({**GOOD, "gaze": [[0, 0], [0]]}, "gaze"),
        ({**GOOD, "gaze": np.array([["a", "b"], ["c", "d"]])}, "gaze"),
        ({**GOOD, "answer": np.array([0, 10])}, r"answer.*0 to 9.*row 1"),
        ({**GOOD, "answer": np.array([-1, 0])}, "answer"),
        ({**GOOD, "answer": np.zeros((2, 2), int)}, "answer"),
        ({**GOOD, "answer": np.zeros(2)}, "answer"),
        ({"gaze": GOOD["gaze"]}, "'gaze' and 'answer'"),
        ({**GOOD, "look": 1}, "'gaze' and 'answer'"),
        (np.zeros(3), "dict"),
        (None, "dict"),
    ],
)
def test_bad_actions_are_named_and_change_nothing(action: Any, says: str) -> None:
    env, twin = make(2), make(2)
    env.reset(seed=0)
    twin.reset(seed=0)
    with pytest.raises(ValueError, match=says):
        env.step(action)
    assert_same(env.step(GOOD), twin.step(GOOD))


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"options": {"index": 500}}, ValueError, "index.*0 to 499"),
        ({"options": {"index": -1}}, ValueError, "index"),
        ({"options": {"index": [0, 1, 2]}}, ValueError, "index"),
        ({"options": {"index": 1.5}}, ValueError, "index"),
        ({"options": {"inedx": 1}}, ValueError, "inedx"),
        ({"options": {"reset_mask": [True, False]}}, TypeError, "reset_mask"),
        ({"options": {"reset_mask": np.array([True])}}, ValueError, "reset_mask"),
        ({"options": {"reset_mask": np.zeros(2, bool)}}, ValueError, "reset_mask"),
        ({"seed": [1]}, ValueError, "seed"),
        ({"seed": [1, -2]}, ValueError, "seed"),
        ({"seed": -1}, ValueError, "seed"),
        ({"seed": 1.5}, TypeError, "seed"),
    ],
)
def test_bad_resets_are_named(arguments: dict[str, Any], error: type[Exception], says: str) -> None:
    env = make(2, split="validation")
    env.reset()
    with pytest.raises(error, match=says):
        env.reset(**arguments)


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({"num_envs": 0}, "num_envs"),
        ({"num_envs": 10**9}, r"num_envs: 1000000000 rows of this canvas take [\d,]+\.\d GiB, and this"),
        ({"dataset": "mnits"}, "dataset"),
        ({"split": "dev"}, "split"),
        ({"canvas_size": 20}, "canvas_size"),
        ({"distractors": -1}, "distractors"),
        ({"distractor_size": 29}, "distractor_size"),
        ({"retina_size": 0}, "retina_size"),
        ({"scales": 6}, "scales"),
        ({"scales": 1.5}, "scales"),
        ({"retina_size": 8.5}, "retina_size"),
        ({"distractor_size": 8.5}, "distractor_size"),
        ({"horizon": 0}, "horizon"),
        ({"horizon": 2.5}, "horizon"),
        ({"start_gaze": "left"}, "start_gaze"),
        ({"difficulty": 1.5}, "difficulty"),
        ({"jitter": -1}, "jitter"),
        ({"distortion": 1.0}, "distortion"),
        ({"distortion_share": 1.5}, "distortion_share"),
        ({"max_episode_steps": 0}, "max_episode_steps"),
        ({"split": "tset"}, "split must be one of"),
        ({"dataset": None}, "dataset must be a name"),
        ({"dataset": ["mnist"]}, "dataset must be a name"),
        ({"render_mode": "ansi"}, "render_mode"),
        ({"autoreset_mode": "Sometimes"}, "autoreset_mode"),
        ({"autoreset_mode": []}, "autoreset_mode"),
        ({"difficulty": float("nan")}, "difficulty must be a finite number from 0 to 1"),
        ({"scene": "houses", "task": "read", "distractors": 0, "distractor_size": -5}, "distractor_size"),
        ({"scene": "houses", "task": "read", "distractors": 0, "digits": True}, "digits"),
        ({"scene": "houses", "task": "read", "distractors": 0, "jitter": 1}, "jitter"),
    ],
)
def test_bad_keywords_are_named(keywords: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        GlimpseVectorEnv(**{"num_envs": 2, **CLUTTERED, **keywords})


def test_no_step_before_reset_nor_after_the_end() -> None:
    with pytest.raises(ResetNeeded, match="row 0"):
        make(2).step(GOOD)
    with pytest.raises(ResetNeeded, match="every row"):
        make(2).reset(options={"reset_mask": np.array([True, False])})
    env = make(2, horizon=1, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0)
    env.step(GOOD)
    with pytest.raises(ResetNeeded, match="row 0"):
        env.step(GOOD)
    env.reset()
    env.step(GOOD)


@pytest.mark.parametrize("digits", [1, 2])
def test_no_image_of_another_split_in_a_scene_nor_in_its_clutter(digits: int) -> None:
    """Images of the three splits shine in three different channels, so that a stranger would show."""
    channel = np.array([SPLITS.index(split) for split in files.TURNS])
    images = np.zeros((100, 3, 12, 12), np.uint8)
    images[np.arange(100), np.tile(channel, 10)] = 200
    dataset = own.store(images, np.repeat(np.arange(10), 10))
    task = "read" if digits == 2 else "classify"
    for mine, split in enumerate(SPLITS):
        env = make(200, dataset=dataset, split=split, digits=digits, task=task)
        env.reset(seed=0)
        drawn = env.present_scenes().canvas
        env.reset(options={"index": np.arange(200) % env.num_scenes})
        frozen = env.present_scenes().canvas
        for canvas in (drawn, frozen):
            assert (canvas[:, mine].max((1, 2)) >= 200).all()  # more where two overlap
            assert np.delete(canvas, mine, 1).max() == 0


def test_closing_leaves_no_thread_and_no_memory() -> None:
    threads = threading.active_count()
    env = make(64, render_mode="human")
    env.reset(seed=0)
    env.step(random_action(np.random.default_rng(0), 64))
    env.close()
    gone = weakref.ref(env)
    del env
    gc.collect()
    assert gone() is None
    assert threading.active_count() == threads


def test_clutter_needs_other_images_than_the_scenes_own() -> None:
    """With as many images as digits there is nothing to crop: said, not read from beyond the array."""
    one = (np.full((1, 18, 18), 9, np.uint8), [0])
    dataset = own.store(np.full((10, 18, 18), 9, np.uint8), np.arange(10) % 2, validation=one)
    with pytest.raises(ValueError, match="distractors"):
        GlimpseVectorEnv(4, dataset=dataset, split="validation", canvas_size=60, distractors=3)
    env = GlimpseVectorEnv(4, dataset=dataset, split="validation", canvas_size=60)
    env.reset(seed=0)
    assert (env.present_scenes().canvas > 0).sum() == 4 * 18 * 18


@pytest.mark.parametrize("seed", [np.int64(3), [np.int64(3), np.int64(4)], np.arange(3, 5).tolist()])
def test_seeds_of_numpy_are_seeds(seed: Any) -> None:
    env, plain = make(2), make(2)
    assert_same(env.reset(seed=seed)[0], plain.reset(seed=[3, 4])[0])


@pytest.mark.parametrize(
    ("env_id", "keywords"),
    [
        ("Glimpse/MNIST-v0", {"retina_size": 12, "context": 10, "horizon": 100}),
        ("Glimpse/ClutteredMNIST100-v0", {"canvas_size": 200, "scales": 4, "distractors": 3}),
        ("Glimpse/DigitPair-v0", {"digits": 2, "max_episode_steps": 30, "jitter": 2}),
        ("Glimpse/Lookup-v0", {"canvas_size": 40, "retina_size": 5, "context": 1}),
    ],
)
def test_integers_of_few_bits_are_integers(env_id: str, keywords: dict[str, int]) -> None:
    keywords |= {"num_envs": 200}
    given = {key: np.uint8(value) for key, value in keywords.items()}
    dataset = with_dataset(env_id, "mnist-5k")
    plain, small = (
        gymnasium.make_vec(env_id, vectorization_mode="vector_entry_point", **one, **dataset)
        for one in (keywords, given)
    )
    assert plain.observation_space == small.observation_space
    assert_same(plain.reset(seed=1)[0], small.reset(seed=1)[0])
    plain.action_space.seed(0)
    for _ in range(3):
        action = plain.action_space.sample()
        assert_same(plain.step(action)[0], small.step(action)[0])


@pytest.mark.parametrize("seed", [-1, 1.5, "x", [1], True, [True, 2], [1, -1], [1, 2.0]])
def test_a_refused_first_seed_begins_nothing(seed: Any) -> None:
    env = make(2)
    with pytest.raises((ValueError, TypeError), match="seed"):
        env.reset(seed=seed)
    with pytest.raises(ResetNeeded):
        env.step({key: value[:2] for key, value in GOOD.items()})
    if not isinstance(seed, list):
        with pytest.raises((ValueError, TypeError), match="seed"):
            gymnasium.make("Glimpse/MNIST-v0", **OFFLINE).reset(seed=seed)


@pytest.mark.parametrize("options", [5, "x", [("index", 3)]])
def test_options_are_a_dict(options: Any) -> None:
    with pytest.raises(TypeError, match="options"):
        make(2).reset(options=options)


def test_indices_of_any_integer_type() -> None:
    env = make(2)
    here = env.reset(options={"index": np.uint64(3)})[0]
    assert_same(here, env.reset(options={"index": [3, 4]})[0])
    for index in (10**30, [0, 10**30], -1):
        with pytest.raises(ValueError, match="index"):
            env.reset(options={"index": index})


def test_a_single_envs_error_has_its_shapes() -> None:
    env = gymnasium.make("Glimpse/MNIST-v0", **OFFLINE).unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"gaze'\] must be float32 of shape \(2,\)"):
        env.step({"gaze": np.zeros(3, np.float32), "answer": 0})


def test_an_env_whose_arrays_came_read_only_plays_on() -> None:
    """As they come out of Ray's object store: buffers that pickle takes apart and nobody may write."""
    env = make(3, start_gaze="random")
    env.reset(seed=4)
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(env, protocol=5, buffer_callback=buffers.append)
    frozen = [memoryview(bytes(buffer.raw())) for buffer in buffers]
    assert frozen
    twin = pickle.loads(data, buffers=frozen)
    rng = np.random.default_rng(0)
    for _ in range(6):
        action = random_action(rng, 3)
        assert_same(env.step(action), twin.step(action))
    assert_same(env.reset(seed=9)[0], twin.reset(seed=9)[0])


def test_a_first_reset_may_have_a_full_mask() -> None:
    env, plain = make(3), make(3)
    observation, _ = env.reset(seed=2, options={"reset_mask": np.ones(3, bool)})
    assert_same(observation, plain.reset(seed=2)[0])
    with pytest.raises(ResetNeeded, match="every row"):
        make(3).reset(options={"reset_mask": np.array([True, False, True])})


def test_seeds_of_rows_are_told() -> None:
    env, other = make(2), make(2)
    env.reset(seed=5)
    assert env.np_random_seed == 5
    env.reset(seed=[7, 8])
    other.reset(seed=[7, 8])
    assert env.np_random_seed == other.np_random_seed == (7, 8)


def test_attributes_are_shared_by_all_rows() -> None:
    env = make(3)
    env.reset(seed=0)
    assert env.get_attr("horizon") == (4, 4, 4)
    assert len(env.call("path", 1)) == 3
    env.set_attr("difficulty", 0.5)
    assert env.difficulty == 0.5
    env.set_attr("difficulty", [0.25] * 3)
    assert env.get_attr("difficulty") == (0.25,) * 3
    with pytest.raises(ValueError, match="all rows share difficulty"):
        env.set_attr("difficulty", [0.1, 0.2, 0.3])


def test_answers_may_have_an_axis_of_their_own() -> None:
    env, plain = make(3), make(3)
    action = random_action(np.random.default_rng(0), 3)
    for e in (env, plain):
        e.reset(seed=1)
    column = {**action, "answer": action["answer"][:, None]}
    assert_same(env.step(column), plain.step(action))


def test_a_slip_in_a_keyword_is_answered_with_what_was_meant() -> None:
    for make_one in (
        lambda: gymnasium.make("Glimpse/MNIST-v0", **OFFLINE, retina_sise=8),
        lambda: gymnasium.make_vec("Glimpse/MNIST-v0", 2, **OFFLINE, retina_sise=8),
    ):
        with pytest.raises(
            ValueError, match="no keyword 'retina_sise': did you mean 'retina_size'"
        ) as raised:
            make_one()
        assert len(str(raised.value)) < 120


@pytest.mark.parametrize("constant", [False, True])
def test_info_is_numpys_and_constant_where_asked(constant: bool) -> None:
    """The target stays a secret until the end: -1 in a constant info, absent from another."""
    env = GlimpseEnv(**CLUTTERED, constant_info=constant)
    _, info = env.reset(seed=0)
    action = {"gaze": np.zeros(2, np.float32), "answer": 3}
    for step in range(4):
        assert info.keys() == ({"target", "correct"} if constant else set())
        if constant:
            assert (info["target"], bool(info["correct"])) == (-1, False)
        _, _, terminated, _, info = env.step(action)
        assert terminated == (step == 3)
    assert (info["target"].dtype, info["correct"].dtype) == (np.int64, np.bool_)
    assert bool(info["correct"]) == (info["target"] == 3)


def test_an_env_that_is_stopped_while_it_scores_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """What scores sentences may be interrupted: the episode has ended then, and nothing else is changed."""
    env: Any = gymnasium.make_vec("Glimpse/NumberNames-v0", 3, "vector_entry_point", reward="score").unwrapped
    env.reset(seed=0)

    def stop(said: list[int], ways: list[list[int]]) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(env.world, "score", stop)
    action = {"gaze": np.zeros((3, 1), np.float32), "answer": np.array([1, 2, env.task.end])}
    with pytest.raises(KeyboardInterrupt):
        env.step(action)  # the last row has said all
    monkeypatch.undo()
    assert env._answers[:2, 0].tolist() == [1, 2]
    observation, reward, *_ = env.step(action)
    assert observation["time"][2] == np.float32(1 / env.horizon)  # its next episode
    assert reward[2] == 0
    assert env._answers[:2, :2].tolist() == [[1, 1], [2, 2]]


def test_a_scorer_that_is_missing_is_named_when_the_env_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics.chrf", None)
    with pytest.raises(files.DatasetError, match="needs sacrebleu"):
        gymnasium.make_vec("Glimpse/NumberNames-v0", 3, "vector_entry_point", reward="score")


CHANGES: tuple[dict[str, Any], ...] = (
    {"count": 100}, {"channels": 3}, {"side": 7}, {"names": tuple("abcdefghij")}
)  # fmt: skip


@pytest.mark.parametrize(
    ("scene", "change"), [*(("digits", change) for change in CHANGES), ("houses", CHANGES[1])]
)
def test_an_env_of_pictures_that_have_changed_is_not_taken_up_again(
    scene: str, change: dict[str, Any], tmp_path: Path
) -> None:
    def write(count: int = 200, channels: int = 1, side: int = 8, names: tuple[str, ...] = DIGITS) -> None:
        images = np.full((count, side, side, channels), 100, np.uint8)
        np.savez(tmp_path / "own.npz", images=images, labels=np.arange(count) % 10, names=np.array(names))

    write()
    of: dict[str, Any] = {"scene": "houses", "task": "read", "horizon": 18} if scene == "houses" else {}
    env = GlimpseVectorEnv(2, **{**OFFLINE, "canvas_size": 54, **of, "dataset": f"file:{tmp_path}/own.npz"})
    env.reset(seed=0)
    kept = pickle.dumps(env)
    twin = pickle.loads(kept)
    assert_same(
        env.step(random_action(np.random.default_rng(0), 2)),
        twin.step(random_action(np.random.default_rng(0), 2)),
    )
    write(**change)
    with pytest.raises(files.DatasetError, match="make it anew"):
        pickle.loads(kept)


def test_house_numbers_of_a_file_that_was_edited_are_drawn_anew(tmp_path: Path) -> None:
    for grey in (100, 200):
        np.savez(
            tmp_path / "own.npz", images=np.full((100, 8, 8), grey, np.uint8), labels=np.arange(100) % 10
        )
        env = GlimpseVectorEnv(
            4, scene="houses", task="read", canvas_size=54, horizon=18, dataset=f"file:{tmp_path}/own.npz"
        )
        env.reset(seed=0)
        assert env.present_scenes().canvas.max() == grey


@pytest.mark.parametrize(
    ("index", "told"),
    [
        (0, "got 1000 for row 1000: give one a row"),
        (np.uint64(10**6), "got 1000000$"),
        (2**70, f"got {2**70}"),
    ],
)
def test_a_scene_that_is_not_there_is_named(index: Any, told: str) -> None:
    with pytest.raises(ValueError, match=f"must be 0 to 999 in split 'test', {told}"):
        make(2000, split="test").reset(options={"index": index})


def test_attributes_may_be_arrays() -> None:
    env = make(2)
    env.set_attr("belief", [np.ones((2, 10)), np.ones((2, 10))])
    assert env.belief.shape == (2, 10)
    env.set_attr("aside", [[1, [2]], [1, [2]]])
    assert env.aside == [1, [2]]
    with pytest.raises(ValueError, match="all rows share belief"):
        env.set_attr("belief", [np.ones((2, 10)), np.zeros((2, 10))])


@pytest.mark.parametrize(
    ("keywords", "told"),
    [
        ({"autoreset": "SameStep"}, "did you mean 'autoreset_mode'"),
        ({"num_env": 3}, "did you mean 'num_envs'"),
        ({"step_cost": np.complex64(1)}, "step_cost must be a finite number"),
        ({"glimpses_per_answer": 10_001}, "glimpses_per_answer must be at most 10000 for 1 answers"),
    ],
)
def test_keywords_that_mean_nothing_are_named(keywords: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make(2, **keywords)


def test_a_gaze_beyond_32_bits_looks_at_the_edge() -> None:
    env, plain = make(1), make(1)
    env.reset(seed=0)
    plain.reset(seed=0)
    far = env.step({"gaze": np.full((1, 2), 1e300), "answer": np.zeros(1, int)})
    assert_same(far, plain.step({"gaze": np.ones((1, 2)), "answer": np.zeros(1, int)}))


def test_house_numbers_of_one_file_are_read_once(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", images=np.full((100, 8, 8), 9, np.uint8), labels=np.arange(100) % 10)
    of: dict[str, Any] = {"scene": "houses", "task": "read", "canvas_size": 54, "horizon": 18}
    one = GlimpseVectorEnv(1, **of, dataset=f"file:{tmp_path}/own.npz")
    gc.collect()
    other = GlimpseVectorEnv(1, **of, dataset=f"file:{tmp_path}/own.npz")
    assert one.world._images is other.world._images


def test_difficulty_is_set_in_a_single_env_and_in_vectors_of_such() -> None:
    ours = gymnasium.make_vec("Glimpse/TranslatedMNIST-v0", 2, "vector_entry_point", **OFFLINE)
    theirs = gymnasium.make_vec("Glimpse/TranslatedMNIST-v0", 2, "sync", **OFFLINE)
    for envs in (ours, theirs):
        assert envs.get_attr("difficulty") == (1.0, 1.0)
        envs.set_attr("difficulty", 0.0)
        assert envs.get_attr("difficulty") == (0.0, 0.0)
        envs.reset(seed=0)
    boxes = [tuple(env.unwrapped.vector.present_scenes().boxes[0].tolist()) for env in theirs.envs]
    assert ours.present_scenes().boxes.tolist() == [list(box) for box in boxes]


def test_a_row_that_is_not_begun_may_be_asked_for_anything() -> None:
    envs = GlimpseVectorEnv(2, **OFFLINE)
    envs.reset(seed=0)
    mask = np.array([True, False])
    envs.reset(options={"index": [3, 10**30], "reset_mask": mask})
    alone, _ = GlimpseVectorEnv(1, **OFFLINE).reset(options={"index": 3})
    assert (envs._observe()["retina"][0] == alone["retina"][0]).all()


@pytest.mark.parametrize(
    ("keywords", "told"),
    [
        ({"step_cost": 10**400}, "step_cost must be a finite number"),
        ({"num_envs": 10**5, "retina_size": 1024, "scales": 5}, "rows of this canvas take"),
    ],
)
def test_numbers_beyond_all_bounds_are_one_sentence(keywords: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        GlimpseVectorEnv(**{"num_envs": 1, **OFFLINE, **keywords})
