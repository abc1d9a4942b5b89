"""Views of an environment that other libraries, or other agents, need; each changes one thing.

Every wrapper is there for the single env and, with `Vector` before its name, for the native vector env.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from glimpse_env import checks
from glimpse_env.single import GlimpseEnv
from glimpse_env.vector import GlimpseVectorEnv, Info, Observation

MAX_CELLS = 4096  # a side: more than a canvas has pixels
Keys = dict[tuple[str, ...], Any]
SingleEnv = gymnasium.Env[Observation, Any]

if TYPE_CHECKING:
    _VectorWrapper = VectorWrapper[Any, Any, Any, Any, Any]
else:  # which is not generic before Gymnasium 1.4
    _VectorWrapper = VectorWrapper


class _Wrapper(gymnasium.Wrapper[Any, Any, Observation, Any], RecordConstructorArgs):
    """A wrapper of a single env that can be made again from its spec: it records how it was made."""

    def __init__(self, env: SingleEnv, **recorded: Any) -> None:
        RecordConstructorArgs.__init__(self, **recorded)
        gymnasium.Wrapper.__init__(self, env)
        self.inner = glimpse_env_of(env)


class _VectorView(_VectorWrapper, RecordConstructorArgs):
    """A wrapper of the native vector env that records how it was made."""

    def __init__(self, env: Any, **recorded: Any) -> None:
        RecordConstructorArgs.__init__(self, **recorded)
        _VectorWrapper.__init__(self, env)
        self.inner = glimpse_env_of(env)
        self.autoreset_mode = env.metadata["autoreset_mode"]  # TorchRL looks for it here


# -- actions ------------------------------------------------------------------------------------------------


class _Action(_Wrapper):
    """A wrapper whose action, of another form, becomes the environment's by `action`."""

    def action(self, action: Any) -> dict[str, Any]:
        """An action of this wrapper -> the environment's."""
        raise NotImplementedError

    def step(self, action: Any) -> tuple[Observation, Any, bool, bool, Info]:
        """As the environment's own, with this wrapper's action."""
        return self.env.step(self.action(action))


class _VectorAction(_VectorView):
    """A wrapper whose actions, of another form, become the environment's by `actions`."""

    def actions(self, actions: Any) -> dict[str, Any]:
        """Actions of this wrapper -> the environment's."""
        raise NotImplementedError

    def step(self, actions: Any) -> tuple[Observation, Any, Any, Any, Info]:
        """As the environment's own, with this wrapper's actions."""
        return self.env.step(self.actions(actions))


class BoxAction(_Action):
    """A flat Box action for libraries without Dict actions: two gaze coordinates, then one score an answer.

    Box(-1, 1, (2 + n,)); the answer is the index of the highest score.
    """

    def __init__(self, env: SingleEnv) -> None:
        super().__init__(env)
        self._answers = _answers(env.action_space)
        self.action_space = Box(-1.0, 1.0, (2 + self._answers,), np.float32)

    def action(self, action: Any) -> dict[str, Any]:
        """(2 + n,) -> the environment's gaze and answer; ValueError for another shape or NaN."""
        return from_box(action, (), self._answers)

    def get_keys_to_action(self) -> Keys:
        """The environment's own keys, as actions of this wrapper."""
        scores = 2 * np.eye(self._answers, dtype=np.float32) - 1
        return {
            keys: np.concatenate([one["gaze"], scores[one["answer"]]])
            for keys, one in _inner_keys(self.env).items()
        }


class VectorBoxAction(_VectorAction):
    """`BoxAction` for a vector env: one Box(-1, 1, (B, 2 + n)) for all rows, no Python loop over them."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self._answers = _answers(env.single_action_space)
        self.single_action_space = Box(-1.0, 1.0, (2 + self._answers,), np.float32)
        self.action_space = batch_space(self.single_action_space, env.num_envs)

    def actions(self, actions: Any) -> dict[str, Any]:
        """(B, 2 + n) -> the environment's gazes and answers; ValueError for another shape or NaN."""
        return from_box(actions, (self.num_envs,), self._answers)


class GridAction(_Action):
    """A MultiDiscrete action: column and row of a `cells` x `cells` grid over the canvas, then the answer.

    Column 0 looks at x = -1, column cells - 1 at x = +1; rows likewise, downwards.
    """

    def __init__(self, env: SingleEnv, cells: int = 9) -> None:
        super().__init__(env, cells=cells)
        _check_absolute(self.inner)
        self._grid = self.action_space = grid_space(cells, _answers(env.action_space))

    def action(self, action: Any) -> dict[str, Any]:
        """(3,) integers -> the environment's gaze and answer; ValueError for another shape or range."""
        return from_grid(action, (), self._grid)

    def get_keys_to_action(self) -> Keys:
        """The environment's own keys, as the nearest actions of this wrapper."""
        last = int(self._grid.nvec[0]) - 1
        return {
            keys: np.array([*np.rint((one["gaze"] + 1) / 2 * last), one["answer"]], np.int64)
            for keys, one in _inner_keys(self.env).items()
        }


class VectorGridAction(_VectorAction):
    """`GridAction` for a vector env: MultiDiscrete (B, 3), no Python loop over rows."""

    def __init__(self, env: Any, cells: int = 9) -> None:
        super().__init__(env, cells=cells)
        _check_absolute(self.inner)
        self._grid = self.single_action_space = grid_space(cells, _answers(env.single_action_space))
        self.action_space = batch_space(self.single_action_space, env.num_envs)

    def actions(self, actions: Any) -> dict[str, Any]:
        """(B, 3) integers -> the environment's gazes and answers; ValueError for another shape or range."""
        return from_grid(actions, (self.num_envs,), self._grid)


def from_box(action: Any, batch: tuple[int, ...], answers: int) -> dict[str, Any]:
    """Gaze and scores, (*batch, 2 + answers), -> gaze (*batch, 2) and answer (*batch)."""
    action, shape = np.asarray(action), (*batch, 2 + answers)
    if action.shape != shape or action.dtype.kind not in "fiu" or np.isnan(action).any():
        raise ValueError(f"action must be {2 + answers} numbers without NaN, in shape {shape}, got {action}")
    return {"gaze": action[..., :2].astype(np.float32), "answer": action[..., 2:].argmax(-1)}


def grid_space(cells: int, answers: int) -> MultiDiscrete:
    """Column, row and answer; ValueError for fewer than two cells a side."""
    checks.integer("cells", cells, 2, MAX_CELLS)
    return MultiDiscrete([cells, cells, answers])


def from_grid(action: Any, batch: tuple[int, ...], space: MultiDiscrete) -> dict[str, Any]:
    """Column, row and answer, integers (*batch, 3) of `space`, -> gaze (*batch, 2) and answer (*batch)."""
    action = np.asarray(action)
    if (
        action.shape != (*batch, 3)
        or not np.issubdtype(action.dtype, np.integer)
        or ((action < 0) | (action >= space.nvec)).any()
    ):
        cells, _, answers = space.nvec
        raise ValueError(
            f"action must be column and row below {cells} and an answer below {answers}, integers of shape "
            f"{(*batch, 3)}, got {action}"
        )
    gaze = 2.0 * action[..., :2].astype(np.float32) / np.float32(space.nvec[0] - 1) - 1.0
    return {"gaze": gaze, "answer": action[..., 2]}


class RelativeGaze(_Action):
    """The action's gaze becomes a displacement: (1, 0) moves the eye right by `reach` gaze units."""

    def __init__(self, env: SingleEnv, reach: float = 0.5) -> None:
        super().__init__(env, reach=reach)
        _answers(env.action_space)
        _check_absolute(self.inner)
        self._reach = np.float32(checks.number("reach", reach, 0.01, 2))  # two units are the whole canvas

    def action(self, action: Any) -> dict[str, Any]:
        """Gaze (2,) in [-1, 1] -> the absolute gaze; the environment clips it to the canvas."""
        gaze, answer = checks.action(action, ())
        return {"gaze": self.inner.gaze[0] + self._reach * gaze, "answer": answer}

    def get_keys_to_action(self) -> Keys:
        """The environment's own keys: they move the eye instead of placing it."""
        return _inner_keys(self.env)


class VectorRelativeGaze(_VectorAction):
    """`RelativeGaze` for a vector env."""

    def __init__(self, env: Any, reach: float = 0.5) -> None:
        super().__init__(env, reach=reach)
        _answers(env.single_action_space)
        _check_absolute(self.inner)
        self._reach = np.float32(checks.number("reach", reach, 0.01, 2))

    def actions(self, actions: Any) -> dict[str, Any]:
        """Gaze (B, 2) in [-1, 1] -> the absolute gazes; the environment clips them to the canvas."""
        gaze, answer = checks.action(actions, (self.num_envs,))
        return {"gaze": self.inner.gaze + self._reach * gaze, "answer": answer}


class ScanPath(_Action):
    """The eye follows a fixed path and the action is the answer alone, Discrete(n).

    The path visits the middles of a `cells` x `cells` grid over the canvas and begins again at its end:
    row by row from the top left (order="raster"), or in an order drawn once from `seed` ("permutation").
    The first glimpse is the environment's own.
    """

    def __init__(self, env: SingleEnv, cells: int = 3, order: str = "raster", seed: int = 0) -> None:
        super().__init__(env, cells=cells, order=order, seed=seed)
        _answers(env.action_space)
        _check_absolute(self.inner)
        self.action_space = env.action_space["answer"]  # type: ignore[index]  # a Dict, as _answers has seen
        self.path = scan_path(cells, order, seed)

    def action(self, action: Any) -> dict[str, Any]:
        """An answer -> the answer, with the path's next gaze."""
        return {"gaze": self.path[(self.inner.seen[0] - 1) % len(self.path)], "answer": action}

    def get_keys_to_action(self) -> Keys:
        """The environment's own keys that answer."""
        return {keys: one["answer"] for keys, one in _inner_keys(self.env).items() if len(keys) == 1}


class VectorScanPath(_VectorAction):
    """`ScanPath` for a vector env: the actions are the answers, MultiDiscrete (B,)."""

    def __init__(self, env: Any, cells: int = 3, order: str = "raster", seed: int = 0) -> None:
        super().__init__(env, cells=cells, order=order, seed=seed)
        _answers(env.single_action_space)
        _check_absolute(self.inner)
        self.single_action_space = env.single_action_space["answer"]
        self.action_space = batch_space(self.single_action_space, env.num_envs)
        self.path = scan_path(cells, order, seed)

    def actions(self, actions: Any) -> dict[str, Any]:
        """Answers (B,) -> the answers, with the path's next gazes."""
        return {"gaze": self.path[(self.inner.seen - 1) % len(self.path)], "answer": actions}


def scan_path(cells: int, order: str = "raster", seed: int = 0) -> NDArray[np.float32]:
    """Gazes (cells², 2) of a ScanPath; ValueError for an unknown order or no cells."""
    checks.integer("cells", cells, 1, MAX_CELLS)
    checks.choice("order", order, ("raster", "permutation"))
    middles = (2 * np.arange(cells, dtype=np.float32) + 1) / cells - 1
    path = np.stack([np.tile(middles, cells), np.repeat(middles, cells)], 1)
    return path if order == "raster" else np.random.default_rng(seed).permutation(path)


# -- observations -------------------------------------------------------------------------------------------


class _Kept:
    """Every glimpse of B episodes so far, (B, T, …) for each view; rows not yet seen are zero."""

    def __init__(self, views: Dict, num_envs: int, horizon: int) -> None:
        self.horizon = horizon
        self.space = Dict(
            {
                key: Box(view.low.min(), view.high.max(), (horizon, *view.shape), np.float32)
                for key, view in views.spaces.items()
                if isinstance(view, Box)
            }
        )
        self.views = {
            key: np.zeros((num_envs, *view.shape), np.float32)  # type: ignore[misc]  # a Box has a shape
            for key, view in self.space.spaces.items()
        }

    def add(self, observation: Observation) -> Observation:
        """The history with `observation`, of all rows, as fresh arrays; a row's first glimpse empties it."""
        seen = self._seen(observation)
        for key, kept in self.views.items():
            kept[seen == 1] = 0
            kept[np.arange(len(seen)), seen - 1] = observation[key]
        return {key: kept.copy() for key, kept in self.views.items()}

    def last(self, row: int, observation: Observation) -> Observation:
        """The history of `row` with the last `observation` of its episode, which another has followed."""
        seen = int(self._seen(observation))
        history = {key: kept[row].copy() for key, kept in self.views.items()}
        for key, view in history.items():
            view[seen - 1] = observation[key]
        return history

    def _seen(self, observation: Observation) -> NDArray[np.int64]:
        seen: NDArray[np.int64] = np.rint(observation["time"][..., 0] * self.horizon).astype(np.int64)
        return seen


class GlimpseHistory(_Wrapper):
    """The observation becomes every glimpse so far, for agents without memory.

    `retina` (T, scales * C, s, s), `gaze` (T, 2) and `time` (T, 1), T being the budget of glimpses; rows
    not yet seen are zero, and time, which is above zero in the others, tells them apart.
    """

    def __init__(self, env: SingleEnv) -> None:
        super().__init__(env)
        assert isinstance(env.observation_space, Dict)
        history = _Kept(env.observation_space, 1, self.inner.horizon)
        self._history: _Kept = history
        self.observation_space = history.space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Info]:
        """As the environment's own, with the history."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._with_history(observation), info

    def step(self, action: Any) -> tuple[Observation, Any, bool, bool, Info]:
        """As the environment's own, with the history."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._with_history(observation), reward, terminated, truncated, info

    def _with_history(self, observation: Observation) -> Observation:
        kept = self._history.add({key: view[None] for key, view in observation.items()})
        return {key: view[0] for key, view in kept.items()}


class VectorGlimpseHistory(_VectorView):
    """`GlimpseHistory` for a vector env, in every autoreset mode."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        history = _Kept(env.single_observation_space, env.num_envs, self.inner.horizon)
        self._history = history
        self.single_observation_space = history.space
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """As the environment's own, with the history."""
        observation, info = self.env.reset(seed=seed, options=options)
        history: Observation = self._history.add(observation)
        return history, info

    def step(self, actions: Any) -> tuple[Observation, Any, Any, Any, Info]:
        """As the environment's own, with the history, also in a same-step reset's `final_obs`."""
        observation, reward, terminated, truncated, info = self.env.step(actions)
        for row in np.flatnonzero(info.get("_final_obs", ())):
            info["final_obs"][row] = self._history.last(int(row), info["final_obs"][row])
        return self._history.add(observation), reward, terminated, truncated, info


class WholeCanvas(_Wrapper):
    """Adds `canvas`, float32 (C, H, W) in [0, 1], to the observation."""

    def __init__(self, env: SingleEnv) -> None:
        super().__init__(env)
        shape = self.inner.world.canvas_shape
        self.observation_space = _with_space(env.observation_space, canvas=Box(0.0, 1.0, shape, np.float32))
        self._canvas = np.zeros(shape, np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Info]:
        """As the environment's own, with the canvas."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._canvas = self.inner.canvas()[0]
        return {**observation, "canvas": self._canvas.copy()}, info

    def step(self, action: Any) -> tuple[Observation, Any, bool, bool, Info]:
        """As the environment's own, with the canvas."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return {**observation, "canvas": self._canvas.copy()}, reward, terminated, truncated, info


class VectorWholeCanvas(_VectorView):
    """`WholeCanvas` for a vector env: (B, C, H, W), a fresh array whenever an episode begins.

    Raises ValueError for AutoresetMode.SAME_STEP, where a scene is replaced before it could be shown.
    """

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            raise ValueError("WholeCanvas cannot show a scene that a same-step reset has replaced")
        canvas = Box(0.0, 1.0, self.inner.world.canvas_shape, np.float32)
        self.single_observation_space = _with_space(env.single_observation_space, canvas=canvas)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        self._canvas = np.zeros((env.num_envs, *self.inner.world.canvas_shape), np.float32)
        self._ended = False

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """As the environment's own, with the canvas."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._canvas, self._ended = self.inner.canvas(), False
        return {**observation, "canvas": self._canvas}, info

    def step(self, actions: Any) -> tuple[Observation, Any, Any, Any, Info]:
        """As the environment's own, with the canvas."""
        observation, reward, terminated, truncated, info = self.env.step(actions)
        if self._ended:  # the step after an episode's last begins another
            self._canvas = self.inner.canvas()
        self._ended = bool((terminated | truncated).any())
        return {**observation, "canvas": self._canvas}, reward, terminated, truncated, info


class Supervision(_Wrapper):
    """Adds to the observation what a loss needs and no eye may see; what is asked is the environment's say.

    `target` int64 (L,), the right answers, padded with -1. `next` int64 (), the answer to be said next, -1
    where none is. `due` int64 (), 1 where the coming step takes an answer. With `boxes`, `boxes` int64
    (K, 4), where each symbol lies, x, y, width and height in canvas pixels, in the order of the target.
    """

    def __init__(self, env: SingleEnv, boxes: bool = False) -> None:
        super().__init__(env, boxes=boxes)
        self._spaces = supervision_spaces(self.inner, boxes)
        self.observation_space = _with_space(env.observation_space, **self._spaces)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Info]:
        """As the environment's own, with the supervision."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._supervised(observation), info

    def step(self, action: Any) -> tuple[Observation, Any, bool, bool, Info]:
        """As the environment's own, with the supervision."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._supervised(observation), reward, terminated, truncated, info

    def _supervised(self, observation: Observation) -> Observation:
        known = self.inner.supervision()
        return {**observation, **{key: known[key][0] for key in self._spaces}}


class VectorSupervision(_VectorView):
    """`Supervision` for a vector env: `target` (B, L), `next` (B,), `due` (B,), `boxes` (B, K, 4)."""

    def __init__(self, env: Any, boxes: bool = False) -> None:
        super().__init__(env, boxes=boxes)
        self._spaces = supervision_spaces(self.inner, boxes)
        self.single_observation_space = _with_space(env.single_observation_space, **self._spaces)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """As the environment's own, with the supervision."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._supervised(observation), info

    def step(self, actions: Any) -> tuple[Observation, Any, Any, Any, Info]:
        """As the environment's own, with the supervision."""
        observation, reward, terminated, truncated, info = self.env.step(actions)
        return self._supervised(observation), reward, terminated, truncated, info

    def _supervised(self, observation: Observation) -> Observation:
        known = self.inner.supervision()
        return {**observation, **{key: known[key] for key in self._spaces}}


def supervision_spaces(inner: GlimpseVectorEnv, boxes: bool) -> dict[str, gymnasium.Space[Any]]:
    """What `Supervision` adds to an observation, for one episode."""
    answers, most = len(inner.task.answers), np.iinfo(np.int64).max
    spaces: dict[str, gymnasium.Space[Any]] = {
        "target": Box(-1, answers - 1, (inner.task.length,), np.int64),
        "next": Discrete(answers + 1, start=-1),
        "due": Discrete(2),
    }
    if boxes:
        spaces["boxes"] = Box(-most, most, (inner.world.max_digits, 4), np.int64)
    return spaces


def _with_space(space: gymnasium.Space[Any], **more: gymnasium.Space[Any]) -> Dict:
    assert isinstance(space, Dict)
    return Dict({**space.spaces, **more})


def _inner_keys(env: Any) -> dict[tuple[str, ...], dict[str, Any]]:
    keys: dict[tuple[str, ...], dict[str, Any]] = env.get_wrapper_attr("get_keys_to_action")()
    return keys


def glimpse_env_of(env: Any) -> GlimpseVectorEnv:
    """The native vector env inside a wrapped env, of one row where it is single; TypeError for another."""
    inner = env.unwrapped
    inner = inner.vector if isinstance(inner, GlimpseEnv) else inner
    if not isinstance(inner, GlimpseVectorEnv):
        raise TypeError(f"the wrapper is for Glimpse environments, got {inner}")
    return inner


def _check_absolute(inner: GlimpseVectorEnv) -> None:
    """Raise ValueError for an env that takes the gaze for a displacement."""
    if inner.relative_gaze:
        raise ValueError("the wrapper says where to look, not how far to move: leave out relative_gaze")


def _answers(action_space: gymnasium.Space[Any]) -> int:
    """The number of answers of one environment's action space; TypeError unless it is a Dict with such."""
    if not isinstance(action_space, Dict):
        raise TypeError(f"the environment's action must be a Dict, got {action_space}")
    answer = action_space["answer"]
    assert isinstance(answer, Discrete)
    return int(answer.n)
