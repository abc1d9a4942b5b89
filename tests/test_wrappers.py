from __future__ import annotations

import pickle
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from conftest import OFFLINE, assert_same
from gymnasium.spaces import MultiDiscrete
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import FilterObservation, FlattenObservation, TimeAwareObservation

from glimpse_env import wrappers
from glimpse_env.sensors.retina import patch_start
from glimpse_env.vector import GlimpseVectorEnv
from glimpse_env.wrappers import (
    BoxAction,
    GlimpseHistory,
    GridAction,
    RelativeGaze,
    ScanPath,
    Supervision,
    VectorBoxAction,
    VectorGridAction,
    VectorWholeCanvas,
    WholeCanvas,
    scan_path,
)
from glimpse_env.wrappers.actions import from_grid


def test_a_canvas_is_that_of_an_episode_that_began_by_itself() -> None:
    env = gymnasium.wrappers.Autoreset(WholeCanvas(gymnasium.make("Glimpse/MNIST-v0", **OFFLINE, horizon=2)))
    env.reset(seed=0)
    for _ in range(4):
        observation = env.step({"gaze": np.zeros(2, np.float32), "answer": 0})[0]
        shown = observation["canvas"][0, 10:18, 10:18]
        np.testing.assert_allclose(observation["retina"][0], shown, rtol=1e-6)


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
    with pytest.raises(ValueError, match="cells below 3"):
        env.step(np.array([3, 0, 0]))
    with pytest.raises(ValueError, match="cells"):
        GridAction(env.env, cells=1)


@pytest.mark.parametrize("single", [BoxAction, GridAction])
def test_vector_actions_are_those_of_every_row(single: type[gymnasium.Wrapper]) -> None:
    """Row by row, the native vector env under the vector wrapper steps as the single env under the single."""
    kind = {BoxAction: VectorBoxAction, GridAction: VectorGridAction}[single]
    keywords = {**OFFLINE, "horizon": 3, "autoreset_mode": "Disabled"}
    vector = kind(GlimpseVectorEnv(4, **keywords))
    singles = [single(gymnasium.make("Glimpse/MNIST-v0", **OFFLINE, horizon=3)) for _ in range(4)]
    assert vector.single_action_space == singles[0].action_space
    assert vector.autoreset_mode is vector.metadata["autoreset_mode"]
    vector.reset(seed=0)
    vector.action_space.seed(0)
    for row, env in enumerate(singles):
        env.reset(seed=row)
    for _ in range(3):
        actions = vector.action_space.sample()
        observation, reward, terminated, _, _ = vector.step(actions)
        for row, env in enumerate(singles):
            alone = env.step(actions[row])
            np.testing.assert_array_equal(observation["gaze"][row], alone[0]["gaze"])
            np.testing.assert_array_equal(observation["retina"][row], alone[0]["retina"])
            assert (reward[row], terminated[row]) == alone[1:3]
    with pytest.raises(ValueError, match="action must be"):
        vector.step(actions[:3])


def test_bad_settings_and_actions_of_wrappers_are_named() -> None:
    env = gymnasium.make("Glimpse/MNIST-v0", **OFFLINE)
    for cells in (2.5, "x", 1):
        with pytest.raises(ValueError, match="cells"):
            GridAction(env, cells)
    for reach in ("x", 3, -1):
        with pytest.raises(ValueError, match="reach"):
            RelativeGaze(env, reach)
    relative = RelativeGaze(env)
    relative.reset(seed=0)
    for action in ({"gaze": [1], "answer": 0}, {}, None):
        with pytest.raises(ValueError, match="action"):
            relative.step(action)
    box = BoxAction(env)
    for action in (np.zeros(12, complex), np.zeros(12, bool), ["x"] * 12, [[1, 2], [3]]):
        with pytest.raises(ValueError, match="12 numbers"):
            box.step(action)
    with pytest.raises(ValueError, match=r"cells below 9 and an answer below 10, .* got \[\[1, 2\], \[3\]\]"):
        GridAction(env).step([[1, 2], [3]])
    assert len(ScanPath(env, cells=np.uint8(200)).path) == 40_000


def test_only_dict_actions_can_be_wrapped() -> None:
    with pytest.raises(TypeError, match="Glimpse"):
        BoxAction(gymnasium.make("CartPole-v1"))


def test_whole_canvas_is_the_scene() -> None:
    env = VectorWholeCanvas(GlimpseVectorEnv(3, **OFFLINE, canvas_size=40, horizon=2))
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    expected = env.unwrapped.present_scenes().canvas / 255
    np.testing.assert_allclose(observation["canvas"], expected, rtol=1e-6)
    with pytest.raises(ValueError, match="same-step"):
        VectorWholeCanvas(GlimpseVectorEnv(3, **OFFLINE, autoreset_mode="SameStep"))
    observation = env.step({"gaze": np.ones((3, 2)), "answer": np.zeros(3, int)})[0]
    np.testing.assert_allclose(observation["canvas"], expected, rtol=1e-6)


def test_relative_gaze_is_a_displacement() -> None:
    env = RelativeGaze(gymnasium.make("Glimpse/MNIST-v0", **OFFLINE), reach=0.5)
    env.reset(seed=0)
    for move, there in [((1, 0), (0.5, 0)), ((0.5, -1), (0.75, -0.5)), ((1, 0), (1, -0.5))]:
        observation = env.step({"gaze": np.array(move, np.float32), "answer": 0})[0]
        assert observation["gaze"].tolist() == list(there)
    with pytest.raises(ValueError, match="reach"):
        RelativeGaze(env.env, reach=0)


def test_who_says_where_to_look_is_not_taken_for_a_displacement() -> None:
    env = gymnasium.make("Glimpse/MNIST-v0", **OFFLINE, relative_gaze=True)
    for wrapper in (GridAction, RelativeGaze, ScanPath):
        with pytest.raises(ValueError, match="leave out relative_gaze"):
            wrapper(env)
    with pytest.raises(ValueError, match="leave out relative_gaze"):
        VectorGridAction(GlimpseVectorEnv(3, **OFFLINE, relative_gaze=True))
    BoxAction(env).reset(seed=0)  # flat, and still a displacement
    beneath = RelativeGaze(gymnasium.make("Glimpse/MNIST-v0", **OFFLINE))
    for wrapper in (GridAction, RelativeGaze, ScanPath):
        with pytest.raises(ValueError, match="or RelativeGaze"):
            wrapper(beneath)
    vector = wrappers.VectorRelativeGaze(GlimpseVectorEnv(3, **OFFLINE))
    with pytest.raises(ValueError, match="or RelativeGaze"):
        VectorGridAction(vector)


def test_a_raster_reads_line_by_line() -> None:
    env = ScanPath(gymnasium.make("Glimpse/MNIST-v0", **OFFLINE, horizon=6), cells=2)
    assert env.action_space.n == 10
    env.reset(seed=0)
    seen = [env.step(0)[0]["gaze"].tolist() for _ in range(5)]
    assert seen == [[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5], [-0.5, -0.5]]
    target = env.unwrapped.vector.present_scenes().target[0]
    assert env.step(int(target))[1] == 1


def test_a_permutation_visits_every_cell_once_in_a_seeded_order() -> None:
    raster, one, two = scan_path(3), scan_path(3, "permutation", 1), scan_path(3, "permutation", 2)
    assert sorted(map(tuple, one.tolist())) == sorted(map(tuple, raster.tolist()))
    assert (one != raster).any()
    assert (one != two).any()
    np.testing.assert_array_equal(one, scan_path(3, "permutation", 1))
    with pytest.raises(ValueError, match="order"):
        scan_path(3, "spiral")
    with pytest.raises(ValueError, match="seed must be an integer of at least 0, got -1"):
        scan_path(3, "permutation", -1)
    with pytest.raises(ValueError, match="cells"):
        scan_path(0)


def test_history_keeps_every_glimpse_and_forgets_the_last_episode() -> None:
    env = GlimpseHistory(gymnasium.make("Glimpse/MNIST-v0", **OFFLINE, horizon=3))
    plain = gymnasium.make("Glimpse/MNIST-v0", **OFFLINE, horizon=3)
    for seed in (0, 1):
        seen = [plain.reset(seed=seed)[0]]
        history = [env.reset(seed=seed)[0]]
        for x in (0.5, -0.5):
            action = {"gaze": np.array([x, 0], np.float32), "answer": 0}
            seen.append(plain.step(action)[0])
            history.append(env.step(action)[0])
        for t in range(3):
            assert env.observation_space.contains(history[t])
            for key in ("retina", "gaze", "time"):
                for k in range(3):
                    expected = seen[k][key] if k <= t else np.zeros_like(seen[k][key])
                    np.testing.assert_array_equal(history[t][key][k], expected)


def test_a_history_handed_out_is_the_callers_own() -> None:
    env = GlimpseHistory(gymnasium.make("Glimpse/MNIST-v0", **OFFLINE))
    env.reset(seed=0)[0]["retina"][:] = 7
    assert env.step({"gaze": np.zeros(2, np.float32), "answer": 0})[0]["retina"].max() <= 1


def test_wrappers_of_the_eye_are_for_eyes() -> None:
    with pytest.raises(TypeError, match="Glimpse"):
        GlimpseHistory(gymnasium.make("CartPole-v1"))


SINGLE: dict[type, dict[str, Any]] = {
    BoxAction: {},
    GridAction: {"cells": 5},
    RelativeGaze: {"reach": 0.25},
    ScanPath: {"cells": 2, "order": "permutation", "seed": 3},
    GlimpseHistory: {},
    WholeCanvas: {},
    Supervision: {"boxes": True},
}
OF_WORDS: tuple[type, ...] = (wrappers.OneHotWords, wrappers.DiscreteWords)
VECTOR = {getattr(wrappers, f"Vector{kind.__name__}"): keywords for kind, keywords in SINGLE.items()}


@pytest.mark.parametrize("kind", [*SINGLE, *OF_WORDS], ids=lambda k: k.__name__)
def test_a_wrapped_env_can_be_made_again_from_its_spec(kind: Any) -> None:
    """Through JSON, with the arguments it was wrapped with; and Gymnasium's checks pass."""
    bare = ("Glimpse/Lookup-v0", {}) if kind in OF_WORDS else ("Glimpse/MNIST-v0", {**OFFLINE, "horizon": 3})
    env = kind(gymnasium.make(bare[0], **bare[1]), **SINGLE.get(kind, {}))
    spec = gymnasium.envs.registration.EnvSpec.from_json(env.spec.to_json())
    again = gymnasium.make(spec)
    assert (spec.additional_wrappers[-1].kwargs or {}) == SINGLE.get(kind, {})
    assert again.action_space == env.action_space
    assert again.observation_space == env.observation_space
    env.action_space.seed(0)
    action = env.action_space.sample()
    assert_same(env.reset(seed=1)[0], again.reset(seed=1)[0])
    assert_same(env.step(action)[0], again.step(action)[0])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is different from the unwrapped version")
        check_env(env, skip_render_check=True)


@pytest.mark.parametrize("kind", SINGLE, ids=lambda k: k.__name__)
@pytest.mark.parametrize("env_id", ["Glimpse/MNIST-v0", "Glimpse/HouseNumbers-v0"])
def test_a_row_of_a_wrapped_vector_env_is_the_wrapped_single_env(kind: Any, env_id: str) -> None:
    twin = getattr(wrappers, f"Vector{kind.__name__}")
    keywords = {**OFFLINE, "start_gaze": "random"}
    vector = twin(gymnasium.make_vec(env_id, 3, "vector_entry_point", **keywords), **SINGLE[kind])
    singles = [kind(gymnasium.make(env_id, **keywords), **SINGLE[kind]) for _ in range(3)]
    seeds = [4, 9, 2]
    observation, _ = vector.reset(seed=seeds)
    alone = [env.reset(seed=seed)[0] for env, seed in zip(singles, seeds, strict=True)]
    vector.action_space.seed(0)
    ended = np.zeros(3, bool)
    for _ in range(22):
        for row in range(3):
            assert_same({k: v[row] for k, v in observation.items()}, alone[row])
        assert observation in vector.observation_space
        actions = vector.action_space.sample()
        observation, _, terminated, *_ = vector.step(actions)
        for row, env in enumerate(singles):
            if ended[row]:
                alone[row], _ = env.reset()
                continue
            one = {k: v[row] for k, v in actions.items()} if isinstance(actions, dict) else actions[row]
            alone[row], _, done, *_ = env.step(one)
            assert done == terminated[row]
        ended = terminated


def test_supervision_says_what_is_asked_next_and_when() -> None:
    """A number of three digits, two glimpses an answer, said wrongly once: by hand."""
    env = Supervision(
        gymnasium.make("Glimpse/HouseNumbers-v0", **OFFLINE, glimpses_per_answer=2, split="test")
    )
    for index in range(200):
        observation, _ = env.reset(options={"index": index})
        if (observation["target"] >= 0).sum() == 4:
            break
    target = observation["target"].tolist()
    asked, due = [], []
    for t in range(8):
        asked.append(int(observation["next"]))
        due.append(int(observation["due"]))
        wrong = (target[0] + 1) % 10
        say = wrong if t == 1 else int(observation["next"])
        observation, _, terminated, _, info = env.step({"gaze": np.zeros(2, np.float32), "answer": say})
    assert asked == [target[0], target[0], target[1], target[1], target[2], target[2], 10, 10]
    assert due == [0, 1] * 4
    assert terminated
    assert not info["correct"]
    assert observation["next"] == -1


def test_gymnasiums_play_knows_the_keys_of_every_wrapper() -> None:
    env = gymnasium.make("Glimpse/MNIST-v0", **OFFLINE)
    for wrapped in (BoxAction(env), GridAction(env), RelativeGaze(env), ScanPath(env)):
        keys = wrapped.get_wrapper_attr("get_keys_to_action")()
        assert len(keys) > 10
        assert all(action in wrapped.action_space for action in keys.values())
    assert GridAction(env, 7).get_keys_to_action()[("d", "4")].tolist() == [5, 3, 4]


def test_time_aware_observation_finds_a_limit() -> None:
    env = gymnasium.make("Glimpse/MNIST-v0", **OFFLINE, horizon=5)
    assert env.spec.max_episode_steps == 10_001  # the one that no episode comes to
    aware = TimeAwareObservation(BoxAction(env), flatten=False, dict_time_key="steps")
    observation, _ = aware.reset(seed=0)
    assert observation in aware.observation_space


def test_an_env_made_again_by_another_horizon_is_not_cut_off() -> None:
    spec = gymnasium.make("Glimpse/MNIST-v0", **OFFLINE, horizon=3).spec
    assert spec is not None
    env = gymnasium.make(spec, horizon=9)
    env.reset(seed=0)
    ends = [env.step(env.action_space.sample())[2:4] for _ in range(9)]
    assert ends == [(False, False)] * 8 + [(True, False)]


def test_a_wrapper_says_what_another_took_away() -> None:
    env = gymnasium.make("Glimpse/Lookup-v0")
    without_time = FilterObservation(env, ["retina", "gaze"])
    with pytest.raises(ValueError, match="a Dict with time, and got Dict"):
        wrappers.GlimpseHistory(without_time)
    for wrapper in (
        wrappers.GlimpseHistory,
        wrappers.WholeCanvas,
        wrappers.OneHotWords,
        wrappers.Supervision,
    ):
        with pytest.raises(ValueError, match="wrap with it first"):
            wrapper(FlattenObservation(env))
    words = wrappers.DiscreteWords(without_time)
    assert words.reset(seed=0)[0] in words.observation_space


def test_nothing_is_due_after_the_end() -> None:
    envs = wrappers.VectorSupervision(gymnasium.make_vec("Glimpse/Lookup-v0", 2, "vector_entry_point"))
    envs.reset(seed=0)
    seen = [envs.step(envs.action_space.sample())[0] for _ in range(3)]
    assert [one["due"].tolist() for one in seen] == [[1, 1], [0, 0], [0, 0]]
    assert [one["next"][0] >= 0 for one in seen] == [True, False, True]  # the third begins another


@pytest.mark.parametrize("vector", [False, True])
def test_an_env_made_again_from_its_spec_ends_alike(vector: bool) -> None:
    spec = gymnasium.make("Glimpse/Lookup-v0").spec
    assert spec is not None
    env: Any = gymnasium.make_vec(spec, 1, "vector_entry_point") if vector else gymnasium.make(spec)
    env.reset(seed=0)
    for ends in (False, True):
        action = env.action_space.sample()
        _, _, terminated, truncated, _ = env.step(action)
        assert (bool(terminated), bool(truncated)) == (ends, False)


def test_a_canvas_follows_rows_that_a_partial_reset_left_out() -> None:
    env = VectorWholeCanvas(GlimpseVectorEnv(2, **OFFLINE, early_answer=True))
    env.reset(seed=0)
    gaze = np.zeros((2, 2), np.float32)
    env.step({"gaze": gaze, "answer": np.zeros(2, int)})  # both end
    env.reset(options={"reset_mask": np.array([True, False])})
    seen = env.step({"gaze": gaze, "answer": np.full(2, 10)})[0]["canvas"]  # the second begins anew
    np.testing.assert_allclose(seen, env.unwrapped.present_scenes().canvas / 255, rtol=1e-6)


def test_what_a_same_step_reset_replaces_cannot_be_supervised() -> None:
    with pytest.raises(ValueError, match="Supervision cannot tell of a scene that a same-step reset"):
        wrappers.VectorSupervision(GlimpseVectorEnv(2, **OFFLINE, autoreset_mode="SameStep"))


@pytest.mark.parametrize("words", [wrappers.OneHotWords, wrappers.DiscreteWords])
def test_words_of_a_history(words: Any) -> None:
    env = words(GlimpseHistory(gymnasium.make("Glimpse/Lookup-v0")))
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    observation, *_ = env.step({"gaze": np.zeros(1, np.float32), "answer": 3})
    assert observation in env.observation_space


@pytest.mark.parametrize("outer", [wrappers.OneHotWords, wrappers.DiscreteWords])
@pytest.mark.parametrize("inner", [wrappers.OneHotWords, wrappers.DiscreteWords])
def test_words_in_another_form_already_are_refused(outer: Any, inner: Any) -> None:
    with pytest.raises(ValueError, match="no longer of word ids"):
        outer(inner(gymnasium.make("Glimpse/Lookup-v0")))


def test_boxes_can_be_sampled() -> None:
    space: Any = Supervision(gymnasium.make("Glimpse/DigitPair-v0", **OFFLINE), boxes=True).observation_space
    space.seed(0)
    drawn = [space["boxes"].sample() for _ in range(20)]
    assert all(one in space["boxes"] for one in drawn)
    assert len(np.unique(drawn)) > 100


def test_a_canvas_is_that_of_an_env_that_runs_already() -> None:
    env = GlimpseVectorEnv(2, **OFFLINE, horizon=2)
    env.reset(seed=0)
    action = {"gaze": np.zeros((2, 2), np.float32), "answer": np.zeros(2, int)}
    while not env.step(action)[2].any():
        pass
    seen = VectorWholeCanvas(env).step(action)[0]["canvas"]  # which begins another episode
    np.testing.assert_array_equal(seen, env.canvas())


def test_a_history_of_what_is_no_box_is_refused() -> None:
    with pytest.raises(ValueError, match="'retina' is MultiDiscrete: wrap the history instead"):
        GlimpseHistory(wrappers.DiscreteWords(gymnasium.make("Glimpse/Lookup-v0")))
    with pytest.raises(ValueError, match="'due' is Discrete"):
        GlimpseHistory(Supervision(gymnasium.make("Glimpse/MNIST-v0", **OFFLINE)))
    with pytest.raises(ValueError, match="a history already"):
        GlimpseHistory(GlimpseHistory(gymnasium.make("Glimpse/MNIST-v0", **OFFLINE)))


def test_a_canvas_is_converted_once_an_episode() -> None:
    """And the vector env's next episode has its own."""
    env = VectorWholeCanvas(GlimpseVectorEnv(2, **OFFLINE, horizon=2))
    first = env.reset(seed=0)[0]["canvas"]
    act = {"gaze": np.zeros((2, 2), np.float32), "answer": np.zeros(2, int)}
    assert env.step(act)[0]["canvas"] is first
    assert env.step(act)[0]["canvas"] is first  # the last step still shows the scene
    following = env.step(act)[0]["canvas"]
    assert following is not first
    np.testing.assert_allclose(following, env.unwrapped.present_scenes().canvas / 255, rtol=1e-6)


@pytest.mark.parametrize(("canvas_size", "retina_size"), [(10, 2), (28, 8), (60, 8), (99, 4), (896, 14)])
def test_a_cell_a_place_shows_every_place(canvas_size: int, retina_size: int) -> None:
    """A window of even size begins half of it before its place: it moves on by one with every cell."""
    gaze = from_grid(
        np.stack([np.arange(canvas_size), np.zeros(canvas_size, int)], 1),
        (canvas_size,),
        MultiDiscrete([canvas_size, 2]),
    )["gaze"]
    starts = [patch_start(one[0], canvas_size, retina_size) for one in gaze]
    assert starts == [place + 1 - retina_size // 2 for place in range(canvas_size)]


def test_a_history_whose_arrays_came_read_only_goes_on() -> None:
    env = GlimpseHistory(gymnasium.make("Glimpse/MNIST-v0", **OFFLINE))
    env.reset(seed=0)
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(env, protocol=5, buffer_callback=buffers.append)
    twin = pickle.loads(data, buffers=[memoryview(bytes(buffer.raw())) for buffer in buffers])
    action = {"gaze": np.zeros(2, np.float32), "answer": 0}
    assert_same(env.step(action)[0], twin.step(action)[0])


def test_the_whole_text_becomes_vectors_too() -> None:
    env = wrappers.OneHotWords(WholeCanvas(gymnasium.make("Glimpse/Lookup-v0")))
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    assert (observation["canvas"].argmax(1) == env.unwrapped.vector.canvas()[0]).all()
    assert (observation["canvas"].sum(1) == 1).all()


def test_a_box_beyond_32_bits_looks_at_the_edge() -> None:
    env, plain = (BoxAction(gymnasium.make("Glimpse/MNIST-v0", **OFFLINE)) for _ in range(2))
    env.reset(seed=0)
    plain.reset(seed=0)
    assert_same(env.step(np.full(12, 1e300))[0], plain.step(np.ones(12))[0])
