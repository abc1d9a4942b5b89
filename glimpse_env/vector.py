"""GlimpseVectorEnv: many episodes at once, and the only dynamics of the project.

Reading order of a step: `_check_action`, then `tasks.advance` (time, gaze, answer, reward), then
`_observe` (the retina). An episode starts in `_begin` (a scene, its integral image, a first gaze).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from glimpse_env import datasets, retina, scenes, tasks

if TYPE_CHECKING:
    from glimpse_env.render import Layout, View, Window

Observation = dict[str, NDArray[np.float32]]
Info = dict[str, Any]

START_GAZES = ("center", "random")
RENDER_MODES = ["human", "rgb_array"]
RENDER_FPS = 3


class GlimpseVectorEnv(VectorEnv[Observation, dict[str, Any], NDArray[Any]]):
    """`num_envs` glimpse episodes, stepped together; row i equals a single env of the same seed.

    Observation, fresh float32 arrays: `retina` (B, scales * C, retina_size, retina_size) in [0, 1],
    `gaze` (B, 2) in [-1, 1], `time` (B, 1), the share of the glimpses seen so far, in (0, 1].
    Action: `gaze` (B, 2), clipped to [-1, 1]; `answer` (B,), an integer from 0 to 9.
    `reset` shows glimpse 1, steps 1 to horizon - 1 move the gaze, step `horizon` takes the answer, rewards
    1 if it is right, and ends the episode; `info` then holds `target` and `correct`.

    Raises ValueError for a keyword out of range and DatasetError for missing data.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        dataset: str = "mnist",
        split: str = "train",
        canvas_size: int = 28,
        distractors: int = 0,
        distractor_size: int = 8,
        retina_size: int = 8,
        scales: int = 1,
        horizon: int = 7,
        start_gaze: str = "center",
        difficulty: float = 1.0,
        jitter: int = 0,
        distortion: float = 0.0,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        self._digits = datasets.load(dataset, split)
        count, channels, height, width = self._digits.images.shape
        _check_at_least("num_envs", num_envs, 1)
        _check_at_least("canvas_size", canvas_size, max(height, width))
        _check_at_least("distractors", distractors, 0)
        _check_at_least("horizon", horizon, 1)
        _check_at_least("jitter", jitter, 0)
        if not 0 <= distortion < 1:
            raise ValueError(f"distortion must be at least 0 and below 1, got {distortion!r}")
        retina.check_retina(retina_size, scales)
        _check_at_least("distractor_size", distractor_size, 1)
        if distractor_size > min(height, width):
            raise ValueError(f"distractor_size must be 1 to {min(height, width)}, got {distractor_size}")
        if max_episode_steps is not None:
            _check_at_least("max_episode_steps", max_episode_steps, 1)
        if start_gaze not in START_GAZES:
            raise ValueError(f"start_gaze must be one of {START_GAZES}, got {start_gaze!r}")
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise ValueError(f"render_mode must be one of {RENDER_MODES}, got {render_mode!r}")

        self.num_envs = num_envs
        self.dataset, self.split = dataset, split
        self.num_scenes = count
        self.distractors, self.distractor_size = distractors, distractor_size
        self.retina_size, self.scales, self.horizon = retina_size, scales, horizon
        self.start_gaze, self.difficulty = start_gaze, difficulty
        self.jitter, self.distortion = jitter, float(distortion)
        self.max_episode_steps = max_episode_steps
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.render_mode = render_mode
        self.metadata = {
            "render_modes": RENDER_MODES,
            "render_fps": RENDER_FPS,
            "autoreset_mode": self.autoreset_mode,
        }
        self._retina_shape = (scales * channels, retina_size, retina_size)
        self.single_observation_space = Dict(
            retina=Box(0.0, 1.0, self._retina_shape, np.float32),
            gaze=Box(-1.0, 1.0, (2,), np.float32),
            time=Box(0.0, 1.0, (1,), np.float32),
        )
        self.single_action_space = Dict(
            gaze=Box(-1.0, 1.0, (2,), np.float32), answer=Discrete(tasks.NUM_ANSWERS)
        )
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

        self._key: NDArray[np.uint64] | None = None
        self._episode = np.zeros(num_envs, np.int64)
        self._canvas = np.zeros((num_envs, channels, canvas_size, canvas_size), np.uint8)
        self._integral = retina.empty_integral(self._canvas)
        self._target = np.zeros(num_envs, np.int64)
        self._boxes = np.zeros((num_envs, 4), np.int64)
        self._start = np.zeros((num_envs, 2), np.float32)
        self._time = np.zeros(num_envs, np.int64)
        self._gaze = np.zeros((num_envs, 2), np.float32)
        self._path = np.zeros((num_envs, horizon, 2), np.float32)
        self._answer = np.full(num_envs, tasks.NO_ANSWER, np.int64)
        self._done = np.ones(num_envs, np.bool_)
        self._any_done = True
        self._window: Window | None = None
        self.belief: NDArray[np.float32] | None = None

    @property
    def difficulty(self) -> float:
        """The training curriculum, in [0, 1]: 1 is the task itself, less centres digits and thins clutter.

        It holds for episodes that begin after it is set; frozen scenes are always the task itself.
        """
        return self._difficulty

    @difficulty.setter
    def difficulty(self, value: float) -> None:
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"difficulty must be in [0, 1], got {value!r}")
        self._difficulty = float(value)

    # -- the loop ------------------------------------------------------------------------------------

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, Info]:
        """Start new episodes: in all rows, or in those where options["reset_mask"], bool (B,), is true.

        seed: an int seeds row i with seed + i; a list of B ints or None seeds each row.
        options["index"]: an int, giving row i the frozen scene index + i of the split, or one int a row.
        Raises ValueError or TypeError for a seed or an option of another shape, type or range.
        """
        options = dict(options or {})
        if self._key is None and "reset_mask" in options:
            raise ResetNeeded("the first reset must begin every row: leave out options['reset_mask']")
        rows = self._rows_to_reset(options.pop("reset_mask", None))
        index = options.pop("index", None)
        if options:
            raise ValueError(f"unknown reset option {next(iter(options))!r}: use 'index' or 'reset_mask'")
        indices = None if index is None else self._scene_indices(index, rows)
        self._seed(seed, rows)
        self._begin(rows, indices)
        if self.render_mode == "human":
            self.render()
        return self._observe(), {}

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]:
        """Move every gaze, or take every answer; see the class for shapes, `reset` for the first glimpse.

        Raises ValueError for a bad action and ResetNeeded in rows that have ended (with
        AutoresetMode.DISABLED) or never begun; nothing has changed then.
        """
        gaze, answer = self._check_action(actions)
        resetting = self._done
        if self._any_done:
            if self._key is None or self.autoreset_mode is not AutoresetMode.NEXT_STEP:
                raise ResetNeeded(f"call reset first: row {int(self._done.argmax())} has no episode")
            self._begin(resetting, None)
        reward = np.zeros(self.num_envs)
        terminated = np.zeros(self.num_envs, np.bool_)
        tasks.advance(
            resetting, gaze, answer, self._target, self.horizon,
            self._time, self._gaze, self._path, self._answer, reward, terminated,
        )  # fmt: skip
        truncated = self._truncate(resetting, terminated)
        self._done = terminated | truncated
        self._any_done = bool(self._done.any())
        info = self._info(terminated) if self._any_done else {}
        if self.render_mode == "human":
            self.render()
        observation = self._observe()
        if self._any_done and self.autoreset_mode is AutoresetMode.SAME_STEP:
            info = self._final(observation, info)
            self._begin(self._done, None)
            observation = self._observe()
        return observation, reward, terminated, truncated, info

    def _begin(self, rows: NDArray[np.bool_], indices: NDArray[np.int64] | None) -> None:
        """Start an episode in every row of `rows`: a drawn scene, or the frozen scenes `indices` (B,)."""
        if indices is None:
            self._episode[rows] += 1
            assert self._key is not None
            keys, episodes = self._key, self._episode
            difficulty, jitter, distortion = self.difficulty, self.jitter, self.distortion
            indices = np.full(self.num_envs, -1, np.int64)
        else:
            keys, episodes = scenes.frozen_keys(self.split, self.num_envs), indices
            difficulty, jitter, distortion = 1.0, 0, 0.0
        scenes.draw_scenes(
            rows, keys, episodes, indices, self._digits.images, self._digits.labels,
            self.distractors, self.distractor_size, difficulty, jitter, distortion,
            self._canvas, self._target, self._boxes, self._start,
        )  # fmt: skip
        retina.integrate(rows, self._canvas, self._integral)
        self._gaze[rows] = self._start[rows] if self.start_gaze == "random" else 0.0
        self._path[rows, 0] = self._gaze[rows]
        self._time[rows] = 1
        self._answer[rows] = tasks.NO_ANSWER
        self._done = self._done & ~rows
        self._any_done = bool(self._done.any())
        self.belief = None

    def _observe(self) -> Observation:
        glimpse = np.empty((self.num_envs, *self._retina_shape), np.float32)
        retina.read(self._integral, self._gaze, glimpse)
        time = (self._time / self.horizon).astype(np.float32)
        return {"retina": glimpse, "gaze": self._gaze.copy(), "time": time[:, None]}

    def _truncate(self, resetting: NDArray[np.bool_], terminated: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Rows cut off by `max_episode_steps`, as Gymnasium's TimeLimit does to a single env."""
        if self.max_episode_steps is None:
            return np.zeros(self.num_envs, np.bool_)
        steps = self._time - 1 + terminated
        return ~resetting & (steps >= self.max_episode_steps)

    def _info(self, terminated: NDArray[np.bool_]) -> Info:
        if not terminated.any():
            return {}
        correct = terminated & (self._answer == self._target)
        target = np.where(terminated, self._target, 0)
        return {
            "target": target,
            "_target": terminated.copy(),
            "correct": correct,
            "_correct": terminated.copy(),
        }

    def _final(self, observation: Observation, info: Info) -> Info:
        """Gymnasium's same-step info: the last observation and info of the episodes that just ended."""
        final_obs = np.full(self.num_envs, None, dtype=object)
        for row in np.flatnonzero(self._done):  # Gymnasium asks for one dict a row; there is no batched form
            final_obs[row] = {key: value[row] for key, value in observation.items()}
        return {
            "final_obs": final_obs,
            "_final_obs": self._done.copy(),
            "final_info": info,
            "_final_info": self._done.copy(),
        }

    # -- what comes in ---------------------------------------------------------------------------------

    def _check_action(self, actions: Any) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The action's `gaze` float32 (B, 2) and `answer` int64 (B,), or a ValueError that names the key."""
        if not isinstance(actions, dict) or actions.keys() != {"gaze", "answer"}:
            got = sorted(map(str, actions)) if isinstance(actions, dict) else type(actions).__name__
            raise ValueError(f"action must be a dict of 'gaze' and 'answer', got {got}")
        gaze = _as_array("gaze", actions["gaze"], np.dtype(np.float32), "fiu", (self.num_envs, 2))
        answer = _as_array("answer", actions["answer"], np.dtype(np.int64), "iu", (self.num_envs,))
        problem = tasks.find_bad_action(gaze, answer, tasks.NUM_ANSWERS)
        if problem is not None:
            raise ValueError(problem)
        return gaze, answer

    def _rows_to_reset(self, mask: Any) -> NDArray[np.bool_]:
        if mask is None:
            return np.ones(self.num_envs, np.bool_)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError(f"options['reset_mask'] must be a bool array, got {mask!r}")
        if mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(
                f"options['reset_mask'] must have shape ({self.num_envs},) and a True value, got {mask!r}"
            )
        return mask

    def _scene_indices(self, index: Any, rows: NDArray[np.bool_]) -> NDArray[np.int64]:
        if isinstance(index, int | np.integer) and not isinstance(index, bool):
            indices = index + np.arange(self.num_envs)
        else:
            indices = np.asarray(index)
        if indices.dtype.kind not in "iu" or indices.shape != (self.num_envs,):
            raise ValueError(f"options['index'] must be an int or {self.num_envs} ints, got {index!r}")
        bad = rows & ((indices < 0) | (indices >= self.num_scenes))
        if bad.any():
            raise ValueError(
                f"options['index'] must be 0 to {self.num_scenes - 1} in split {self.split!r}, "
                f"got {indices[bad][0]}"
            )
        return indices.astype(np.int64)

    def _seed(self, seed: int | list[int | None] | None, rows: NDArray[np.bool_]) -> None:
        """Give every seeded row of `rows` its key; the first reset without a seed draws random ones."""
        if self._key is None:
            self._key = self.np_random.integers(0, 2**63, self.num_envs, dtype=np.uint64)
        if seed is None:
            return
        if isinstance(seed, int | np.integer) and not isinstance(seed, bool):
            seeds: list[int | None] = [int(seed) + i for i in range(self.num_envs)]
        else:
            if isinstance(seed, bool) or not isinstance(seed, Iterable):
                raise TypeError(f"seed must be an int, a list of ints or None, got {seed!r}")
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise ValueError(f"seed must be an int or {self.num_envs} ints, got {len(seeds)}")
        for value in seeds:
            if value is not None and (not isinstance(value, int | np.integer) or value < 0):
                raise ValueError(f"seed must be a non-negative integer, got {value!r}")
        if isinstance(seed, int):
            super().reset(seed=seed)
        given = rows & np.array([value is not None for value in seeds])
        values = np.array([(value or 0) % 2**64 for value in seeds], np.uint64)
        self._key = np.where(given, scenes.row_keys(values), self._key)
        self._episode[given] = -1  # the episode about to begin is number 0

    def present_scenes(self) -> scenes.Scenes:
        """The present scenes, whole and with their targets, as copies: for supervised training and tests."""
        return scenes.Scenes(self._canvas.copy(), self._target.copy(), self._boxes.copy())

    # -- what people see -------------------------------------------------------------------------------

    def view(self, row: int) -> View:
        """What there is to draw of episode `row`: arrays are copies, belief is None until one is set."""
        from glimpse_env.render import View  # pygame loads when something is drawn

        seen = int(self._time[row])
        return View(
            canvas=self._canvas[row].copy(),
            path=self._path[row, :seen].copy(),
            retina_size=self.retina_size,
            scales=self.scales,
            horizon=self.horizon,
            num_answers=tasks.NUM_ANSWERS,
            belief=None if self.belief is None else np.array(self.belief[row]),
            target=int(self._target[row]) if self._answer[row] != tasks.NO_ANSWER else None,
            answer=int(self._answer[row]) if self._answer[row] != tasks.NO_ANSWER else None,
        )

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """Frames uint8 (H, W, 3), one a row ("rgb_array"), or None after showing them tiled ("human").

        Raises ResetNeeded before the first reset.
        """
        from glimpse_env.render import Window, draw_frame, tile

        if self.render_mode is None:
            gymnasium.logger.warn("render() needs render_mode='rgb_array' or 'human' at make")
            return None
        if self._key is None:
            raise ResetNeeded("call reset before render")
        layout: Layout = "full" if self.num_envs == 1 else "strip"
        frames = tuple(draw_frame(self.view(row), layout) for row in range(self.num_envs))
        if self.render_mode == "rgb_array":
            return frames
        if self._window is None:
            self._window = Window("glimpse_env", self.metadata["render_fps"])
        self._window.show(tile(frames))
        return None

    def close_extras(self, **kwargs: Any) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    # -- pickle: the digit images stay at home ------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_digits": None, "_window": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._digits = datasets.load(self.dataset, self.split)


def _check_at_least(name: str, value: int, least: int) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")


def _as_array(key: str, value: Any, dtype: np.dtype[Any], kinds: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """`value` as a contiguous array of `dtype`, or a ValueError that names the action's key."""
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"action[{key!r}] must be an array of shape {shape}, got {value!r}") from None
    if array.shape != shape or array.dtype.kind not in kinds:
        raise ValueError(
            f"action[{key!r}] must be {dtype} of shape {shape}, got {array.dtype} of shape {array.shape}"
        )
    return np.ascontiguousarray(array, dtype)
