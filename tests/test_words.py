"""Texts: the window on words against a slow reference, Lookup, what is said, wrappers, bad keywords."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.experiments import EXPERIMENTS, Experiment
from agents.experiments.experiment import to_config
from agents.learn.differentiable import CrossEntropy
from agents.learn.loop import Loop
from agents.learn.reinforce import GivenGaze, Reinforce
from agents.learn.run import Run
from agents.models.dram import DRAMSettings
from agents.models.ram import GivenGazeSettings, RAMSettings
from agents.models.whole_canvas import WholeCanvasSettings
from agents.parts.gaze import GazePolicy
from glimpse_env import wrappers
from glimpse_env.random import FROZEN_SEED, SPLITS
from glimpse_env.sensors.words import WordWindow, read_words
from glimpse_env.vector import GlimpseVectorEnv

LOOKUP = "Glimpse/Lookup-v0"


@settings(max_examples=200, deadline=None)
@given(places=st.integers(1, 40), size=st.integers(1, 9), gaze=st.floats(-1, 1, width=32))
def test_a_window_is_the_words_around_the_place(places: int, size: int, gaze: float) -> None:
    """By definition: pad with zeros, cut."""
    text = np.arange(1, places + 1)[None]
    seen = np.empty((1, size), np.int64)
    read_words(text, np.array([[gaze]], np.float32), seen)
    first = math.floor((float(np.float32(gaze)) + 1) / 2 * (places - 1) + 1 - size / 2)
    padded = [0] * 50 + text[0].tolist() + [0] * 50
    assert seen[0].tolist() == padded[50 + first : 50 + first + size]


def test_a_window_of_one_word_is_the_nearest() -> None:
    text, seen = np.array([[5, 6, 7, 8, 9]]), np.empty((1, 1), np.int64)
    for gaze, word in ((-1, 5), (-0.76, 5), (-0.74, 6), (0, 7), (0.3, 8), (1, 9)):
        read_words(text, np.array([[gaze]], np.float32), seen)
        assert seen[0, 0] == word


@pytest.mark.parametrize("places", [2, 10, 57])
def test_the_answer_stands_where_the_first_number_says(places: int) -> None:
    env: Any = gymnasium.make_vec(LOOKUP, 500, canvas_size=places)
    observation, _ = env.reset(seed=0)
    scenes = env.present_scenes()
    numbers = scenes.canvas - 1
    assert numbers.min() >= 0
    assert numbers.max() == places - 1
    told = numbers[:, 0]
    assert (told >= 1).all()
    np.testing.assert_array_equal(scenes.target, numbers[np.arange(500), told])
    np.testing.assert_array_equal(scenes.boxes, np.stack([told, 0 * told, 1 + 0 * told, 1 + 0 * told], 1))
    # The first glimpse is the first number; who looks where it says sees the answer.
    np.testing.assert_array_equal(observation["retina"][:, 0] - 1, told)
    gaze = (2 * told / (places - 1) - 1).astype(np.float32)[:, None]
    observation, *_ = env.step({"gaze": gaze, "answer": np.zeros(500, np.int64)})
    _, reward, terminated, _, _ = env.step({"gaze": gaze, "answer": observation["retina"][:, 0] - 1})
    assert terminated.all()
    assert (reward == 1).all()


def test_numbers_and_places_are_uniform() -> None:
    env: Any = gymnasium.make_vec(LOOKUP, 20_000)
    env.reset(seed=1)
    scenes = env.present_scenes()
    told = np.bincount(scenes.canvas[:, 0] - 1, minlength=10)
    assert told[0] == 0
    np.testing.assert_allclose(told[1:], 20_000 / 9, rtol=0.1)
    np.testing.assert_allclose(np.bincount(scenes.target, minlength=10), 2000, rtol=0.1)


def test_the_last_answer_is_heard() -> None:
    env: Any = gymnasium.make(LOOKUP, early_answer=True, horizon=5)
    observation, _ = env.reset(seed=0)
    assert observation["said"].tolist() == [-1]
    look = env.action_space["answer"].n - 1
    observation, *_ = env.step({"gaze": np.zeros(1, np.float32), "answer": look})
    assert observation["said"].tolist() == [-1]  # who looks has said nothing
    observation, _, ended, _, _ = env.step({"gaze": np.zeros(1, np.float32), "answer": 4})
    assert ended
    assert observation["said"].tolist() == [4]


def test_a_context_is_all_words() -> None:
    env: Any = gymnasium.make_vec(LOOKUP, 3, context=True)
    observation, _ = env.reset(seed=0)
    np.testing.assert_array_equal(observation["context"], env.present_scenes().canvas)
    assert observation["context"].dtype == np.int64
    seer = wrappers.VectorWholeCanvas(gymnasium.make_vec(LOOKUP, 3))
    np.testing.assert_array_equal(seer.reset(seed=0)[0]["canvas"], observation["context"])


def test_every_wrapper_of_actions_moves_one_axis() -> None:
    def env() -> Any:
        return gymnasium.make(LOOKUP, horizon=4)

    grid = wrappers.GridAction(env())
    assert grid.action_space.nvec.tolist() == [10, 10]  # a cell a place, then the answers
    grid.reset(seed=0)
    for place in range(3):
        observation, *_ = grid.step(np.array([place, 0]))
        np.testing.assert_allclose(observation["gaze"], [2 * place / 9 - 1], atol=1e-6)
    box = wrappers.BoxAction(env())
    assert box.action_space.shape == (11,)
    box.reset(seed=0)
    observation, *_ = box.step(np.array([0.5] + [0.0] * 10, np.float32))
    assert observation["gaze"].tolist() == [0.5]
    path = wrappers.ScanPath(env(), cells=2)
    assert path.path.tolist() == [[-0.5], [0.5]]
    moved = wrappers.RelativeGaze(env(), reach=0.5)
    moved.reset(seed=0)
    observation, *_ = moved.step({"gaze": np.array([1], np.float32), "answer": 0})
    assert observation["gaze"].tolist() == [-0.5]
    history = wrappers.GlimpseHistory(env())
    observation, _ = history.reset(seed=0)
    assert observation["retina"].shape == (4, 1)
    assert observation["retina"].dtype == np.int64
    assert observation in history.observation_space


@pytest.mark.parametrize("mode", ["next_step", "same_step"])
def test_words_as_vectors(mode: str) -> None:
    """Each is what numpy's identity has in the row of its id, also in an episode's last observation."""
    keywords = {"context": True, "autoreset_mode": {"next_step": "NextStep", "same_step": "SameStep"}[mode]}
    plain: Any = gymnasium.make_vec(LOOKUP, 5, **keywords)
    vectors: Any = wrappers.VectorOneHotWords(gymnasium.make_vec(LOOKUP, 5, **keywords))
    single: Any = wrappers.OneHotWords(gymnasium.make(LOOKUP, context=True))
    eye, said_eye = np.eye(11, dtype=np.float32), np.eye(11, dtype=np.float32)

    def assert_vectors(words: dict[str, Any], seen: dict[str, Any]) -> None:
        np.testing.assert_array_equal(seen["retina"], eye[words["retina"]])
        np.testing.assert_array_equal(seen["context"], eye[words["context"]])
        np.testing.assert_array_equal(seen["said"], said_eye[words["said"][..., 0] + 1])
        np.testing.assert_array_equal(seen["gaze"], words["gaze"])

    words, seen = plain.reset(seed=3)[0], vectors.reset(seed=3)[0]
    assert_vectors(words, seen)
    assert seen in vectors.observation_space
    one = single.reset(seed=3)[0]
    assert one in single.observation_space
    np.testing.assert_array_equal(one["retina"], seen["retina"][0])
    rng = np.random.default_rng(0)
    for _ in range(6):
        action = {"gaze": rng.uniform(-1, 1, (5, 1)).astype(np.float32), "answer": rng.integers(0, 10, 5)}
        words, _, _, _, info = plain.step(action)
        seen, _, _, _, also = vectors.step(action)
        assert_vectors(words, seen)
        if "final_obs" in info:
            assert_vectors(info["final_obs"][2], also["final_obs"][2])
    with pytest.raises(ValueError, match="no words"):
        wrappers.OneHotWords(gymnasium.make("Glimpse/MNIST-v0", dataset="mnist-5k"))


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({"canvas_size": 1}, "canvas_size must be an integer from 2"),
        ({"retina_size": 0}, "retina_size must be an integer from 1"),
        ({"scales": 2}, "leave out scales"),
        ({"distractors": 1}, "leave out distractors"),
        ({"dataset": "mnist-5k"}, "leave out dataset"),
        ({"context": 2}, "context must be an integer from 0 to 1"),
        ({"context": "yes"}, "context must be an integer from 0 to 1"),
        ({"context": 0.9}, "context must be an integer from 0 to 1"),
        ({"difficulty": 0.5}, "leave out difficulty"),
        ({"split": "tset"}, "split must be one of"),
        ({"task": "sum"}, "needs scenes of several"),
        ({"start_gaze": "end"}, "start_gaze"),
    ],
)
def test_bad_keywords_are_named(keywords: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        GlimpseVectorEnv(1, **{"scene": "lookup", "canvas_size": 10, "horizon": 2, **keywords})


def test_gazes_of_another_shape_and_nan_are_named() -> None:
    env: Any = gymnasium.make(LOOKUP)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"shape \(1,\), got float32 of shape \(2,\)"):
        env.unwrapped.step({"gaze": np.zeros(2, np.float32), "answer": 0})
    with pytest.raises(ValueError, match="must not hold NaN"):
        env.unwrapped.step({"gaze": np.array([np.nan], np.float32), "answer": 0})


def test_the_sensor_says_what_it_shows() -> None:
    sensor = WordWindow(places=6, vocabulary=9, size=3, context=True)
    canvas = np.arange(12).reshape(2, 6) % 9
    seen = sensor.look(canvas, np.array([[-1], [0.2]], np.float32))
    spaces = sensor.spaces()
    assert seen.keys() == spaces.keys()
    for key, space in spaces.items():
        assert all(row in space for row in seen[key])
    assert seen["context"] is not canvas


def test_an_eye_learns_to_look_where_it_was_told(tmp_path: Path) -> None:
    """Ten numbers, an error of 90 % for who does not understand; within seconds."""
    torch.set_num_threads(1)
    experiment = EXPERIMENTS["lookup-10"].but(loop={"epochs": 3, "images_per_epoch": 25_000})
    spec = experiment.spec()
    assert (spec.words, spec.axes, spec.retina, spec.canvas) == (11, 1, (1,), (10,))
    agent = experiment.build(spec)
    run = Run(tmp_path / "run", to_config("lookup-10", experiment, spec), resume=False, overwrite=False)
    *_, last = experiment.train(run, agent, quiet=True)
    run.close()
    assert last["validation_error"] < 70
    assert agent.locator.sigma == pytest.approx(experiment.model.sigma, abs=0.01)


def test_only_an_eye_for_words_reads() -> None:
    for model, learner in ((DRAMSettings(), Reinforce()), (WholeCanvasSettings(), CrossEntropy())):
        experiment = Experiment(LOOKUP, model, learner, Loop())
        with pytest.raises(ValueError, match="builds an agent for pictures, and Glimpse/Lookup-v0 is a text"):
            experiment.build(experiment.spec())
    convolutional = Experiment(LOOKUP, RAMSettings(glimpses="conv"), Reinforce(), Loop())
    with pytest.raises(ValueError, match="convolutions over pixels"):
        convolutional.build(convolutional.spec())
    raster = Experiment(LOOKUP, GivenGazeSettings("raster"), GivenGaze(), Loop())
    with pytest.raises(ValueError, match="a path over pictures"):
        raster.build(raster.spec())
    for policy in ("random", "center"):
        agent = GivenGazeSettings(policy).build(convolutional.spec())
        seen = {"retina": torch.ones(4, 1, dtype=torch.long), "gaze": torch.zeros(4, 1)}
        step, _ = agent(seen, agent.initial(4), False)
        assert step.gaze.shape == (4, 1)


def test_the_entropy_of_a_gaze_counts_its_axes() -> None:
    for axes in (1, 2):
        policy = GazePolicy(4, 0.3, learn_sigma=True, axes=axes)
        normal = torch.distributions.Normal(0, 0.3)
        assert policy.entropy().item() == pytest.approx(axes * normal.entropy().item(), rel=1e-5)


def test_no_seed_leads_to_the_frozen_numbers() -> None:
    """The seeds that frozen scenes are drawn from draw others in an episode of one's own."""
    frozen: Any = gymnasium.make(LOOKUP, split="test").unwrapped
    own: Any = gymnasium.make(LOOKUP).unwrapped
    scenes = []
    for index in range(20):
        frozen.reset(options={"index": index})
        scenes.append(frozen.vector.canvas()[0].tolist())
    for seed in range(FROZEN_SEED, FROZEN_SEED + len(SPLITS)):
        own.reset(seed=seed)
        for _ in range(20):
            assert own.vector.canvas()[0].tolist() not in scenes
            own.reset()
