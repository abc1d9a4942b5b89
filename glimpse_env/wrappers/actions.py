"""Wrappers whose actions have another form than the environment's Dict of gaze and answer."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from gymnasium.vector import VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from glimpse_env import checks
from glimpse_env.vector import GlimpseVectorEnv, Info, Observation
from glimpse_env.wrappers.base import SingleEnv, SingleView, VectorView, glimpse_env_of

CELLS = 9  # a side of a grid over a picture
MAX_CELLS = 4096  # a side: as many as the largest canvas has pixels
Keys = dict[tuple[str, ...], Any]


class _Action(SingleView):
    """A wrapper whose action, of another form, becomes the environment's by `action`."""

    def action(self, action: Any) -> dict[str, Any]:
        """An action of this wrapper -> the environment's."""
        raise NotImplementedError

    def step(self, action: Any) -> tuple[Observation, Any, bool, bool, Info]:
        """As the environment's own, with this wrapper's action."""
        return self.env.step(self.action(action))


class _VectorAction(VectorView):
    """A wrapper whose actions, of another form, become the environment's by `actions`."""

    def actions(self, actions: Any) -> dict[str, Any]:
        """Actions of this wrapper -> the environment's."""
        raise NotImplementedError

    def step(self, actions: Any) -> tuple[Observation, Any, Any, Any, Info]:
        """As the environment's own, with this wrapper's actions."""
        return self.env.step(self.actions(actions))


class BoxAction(_Action):
    """A flat Box action for libraries without Dict actions: the gaze's coordinates, then a score an answer.

    Box(-1, 1, (axes + n,)); the answer is the index of the highest score.
    """

    def __init__(self, env: SingleEnv) -> None:
        super().__init__(env)
        self._answers = _answers(env.action_space)
        self.action_space = Box(-1.0, 1.0, (self.inner.sensor.axes + self._answers,), np.float32)

    def action(self, action: Any) -> dict[str, Any]:
        """(axes + n,) -> the environment's gaze and answer; ValueError for another shape or NaN."""
        return from_box(action, (), self.inner.sensor.axes, self._answers)

    def get_keys_to_action(self) -> Keys:
        """The environment's own keys, as actions of this wrapper."""
        scores = 2 * np.eye(self._answers, dtype=np.float32) - 1
        return {
            keys: np.concatenate([one["gaze"], scores[one["answer"]]])
            for keys, one in _inner_keys(self.env).items()
        }


class VectorBoxAction(_VectorAction):
    """`BoxAction` for a vector env: one Box(-1, 1, (B, axes + n)) for all rows, no Python loop over them."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self._answers = _answers(env.single_action_space)
        self.single_action_space = Box(-1.0, 1.0, (self.inner.sensor.axes + self._answers,), np.float32)
        self.action_space = batch_space(self.single_action_space, env.num_envs)

    def actions(self, actions: Any) -> dict[str, Any]:
        """(B, axes + n) -> the environment's gazes and answers; ValueError for another shape or NaN."""
        return from_box(actions, (self.num_envs,), self.inner.sensor.axes, self._answers)


class GridAction(_Action):
    """A MultiDiscrete action: column and row of a `cells` x `cells` grid over the canvas, then the answer.

    Column 0 looks at x = -1, column cells - 1 at x = +1; rows likewise, downwards. A text has columns alone,
    one a place unless `cells` says otherwise; a picture has nine.
    """

    def __init__(self, env: SingleEnv, cells: int | None = None) -> None:
        super().__init__(env, cells=cells)
        _check_absolute(env)
        self._grid = self.action_space = grid_space(self.inner, cells, _answers(env.action_space))

    def action(self, action: Any) -> dict[str, Any]:
        """(axes + 1,) integers -> gaze and answer; ValueError for another shape or range."""
        return from_grid(action, (), self._grid)

    def get_keys_to_action(self) -> Keys:
        """The environment's own keys, as the nearest actions of this wrapper."""
        last = int(self._grid.nvec[0]) - 1
        return {
            keys: np.array([*np.rint((one["gaze"] + 1) / 2 * last), one["answer"]], np.int64)
            for keys, one in _inner_keys(self.env).items()
        }


class VectorGridAction(_VectorAction):
    """`GridAction` for a vector env: MultiDiscrete (B, axes + 1), no Python loop over rows."""

    def __init__(self, env: Any, cells: int | None = None) -> None:
        super().__init__(env, cells=cells)
        _check_absolute(env)
        self._grid = self.single_action_space = grid_space(
            self.inner, cells, _answers(env.single_action_space)
        )
        self.action_space = batch_space(self.single_action_space, env.num_envs)

    def actions(self, actions: Any) -> dict[str, Any]:
        """(B, axes + 1) integers -> gazes and answers; ValueError for another shape or range."""
        return from_grid(actions, (self.num_envs,), self._grid)


def from_box(action: Any, batch: tuple[int, ...], axes: int, answers: int) -> dict[str, Any]:
    """Gaze and scores, (*batch, axes + answers), -> gaze (*batch, axes) and answer (*batch)."""
    action, shape = checks.array(action), (*batch, axes + answers)
    if action.shape != shape or action.dtype.kind not in "fiu" or np.isnan(action).any():
        raise ValueError(
            f"action must be {axes + answers} numbers without NaN, in shape {shape}, got {action}"
        )
    with np.errstate(over="ignore"):  # as in checks.action
        gaze = action[..., :axes].astype(np.float32)
    return {"gaze": gaze, "answer": action[..., axes:].argmax(-1)}


def grid_space(inner: GlimpseVectorEnv, cells: int | None, answers: int) -> MultiDiscrete:
    """A cell of each axis, then the answer; ValueError for fewer than two cells a side."""
    if cells is None:
        cells = CELLS if inner.sensor.axes == 2 else max(inner.world.canvas_shape[0], 2)
    cells = checks.integer("cells", cells, 2, MAX_CELLS)
    return MultiDiscrete([*[cells] * inner.sensor.axes, answers])


def from_grid(action: Any, batch: tuple[int, ...], space: MultiDiscrete) -> dict[str, Any]:
    """Cells and answer (*batch, axes + 1), of `space`, -> gaze (*batch, axes) and answer (*batch)."""
    action, numbers = checks.array(action), len(space.nvec)
    if (
        action.shape != (*batch, numbers)
        or not np.issubdtype(action.dtype, np.integer)
        or ((action < 0) | (action >= space.nvec)).any()
    ):
        cells, answers = space.nvec[0], space.nvec[-1]
        raise ValueError(
            f"action must be cells below {cells} and an answer below {answers}, integers of shape "
            f"{(*batch, numbers)}, got {action}"
        )
    exact = 2.0 * action[..., :-1] / (space.nvec[0] - 1) - 1.0
    gaze = exact.astype(np.float32)
    # Rounded down, a window of even size would begin a place too soon.
    gaze = np.where(gaze < exact, np.nextafter(gaze, np.float32(2)), gaze)
    return {"gaze": gaze, "answer": action[..., -1]}


class RelativeGaze(_Action):
    """The action's gaze becomes a displacement: (1, 0) moves the eye right by `reach` gaze units."""

    def __init__(self, env: SingleEnv, reach: float = 0.5) -> None:
        super().__init__(env, reach=reach)
        _answers(env.action_space)
        _check_absolute(env)
        self._reach = np.float32(checks.number("reach", reach, 0.01, 2))  # two units are the whole canvas

    def action(self, action: Any) -> dict[str, Any]:
        """Gaze (axes,) in [-1, 1] -> the absolute gaze; the environment clips it to the canvas."""
        gaze, answer = checks.action(action, (), self.inner.sensor.axes)
        return {"gaze": self.inner.gaze[0] + self._reach * gaze, "answer": answer}

    def get_keys_to_action(self) -> Keys:
        """The environment's own keys: they move the eye instead of placing it."""
        return _inner_keys(self.env)


class VectorRelativeGaze(_VectorAction):
    """`RelativeGaze` for a vector env."""

    def __init__(self, env: Any, reach: float = 0.5) -> None:
        super().__init__(env, reach=reach)
        _answers(env.single_action_space)
        _check_absolute(env)
        self._reach = np.float32(checks.number("reach", reach, 0.01, 2))

    def actions(self, actions: Any) -> dict[str, Any]:
        """Gaze (B, axes) in [-1, 1] -> the absolute gazes; the environment clips them to the canvas."""
        gaze, answer = checks.action(actions, (self.num_envs,), self.inner.sensor.axes)
        return {"gaze": self.inner.gaze + self._reach * gaze, "answer": answer}


class ScanPath(_Action):
    """The eye follows a fixed path and the action is the answer alone, Discrete(n).

    The path visits the middles of a `cells` x `cells` grid over the canvas, or of `cells` parts of a text,
    and begins again at its end: row by row from the top left (order="raster"), or in an order drawn once from
    `seed` ("permutation"). The first glimpse is the environment's own.
    """

    def __init__(self, env: SingleEnv, cells: int = 3, order: str = "raster", seed: int = 0) -> None:
        super().__init__(env, cells=cells, order=order, seed=seed)
        _answers(env.action_space)
        _check_absolute(env)
        self.action_space = env.action_space["answer"]  # type: ignore[index]  # a Dict, as _answers has seen
        self.path = scan_path(cells, order, seed, self.inner.sensor.axes)

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
        _check_absolute(env)
        self.single_action_space = env.single_action_space["answer"]
        self.action_space = batch_space(self.single_action_space, env.num_envs)
        self.path = scan_path(cells, order, seed, self.inner.sensor.axes)

    def actions(self, actions: Any) -> dict[str, Any]:
        """Answers (B,) -> the answers, with the path's next gazes."""
        return {"gaze": self.path[(self.inner.seen - 1) % len(self.path)], "answer": actions}


def scan_path(cells: int, order: str = "raster", seed: int = 0, axes: int = 2) -> NDArray[np.float32]:
    """Gazes (cells ** axes, axes) of a ScanPath; ValueError for no cells, an unknown order or a bad seed."""
    cells, seed = checks.integer("cells", cells, 1, MAX_CELLS), checks.integer("seed", seed, 0)
    checks.choice("order", order, ("raster", "permutation"))
    middles = ((2 * np.arange(cells, dtype=np.float32) + 1) / cells - 1).astype(np.float32)
    path: NDArray[np.float32] = middles[:, None]
    if axes == 2:
        path = np.stack([np.tile(middles, cells), np.repeat(middles, cells)], 1)
    return path if order == "raster" else np.random.default_rng(seed).permutation(path)


def _inner_keys(env: Any) -> dict[tuple[str, ...], dict[str, Any]]:
    keys: dict[tuple[str, ...], dict[str, Any]] = env.get_wrapper_attr("get_keys_to_action")()
    return keys


def _check_absolute(env: Any) -> None:
    """Raise ValueError for an env that takes the gaze for a displacement, by itself or by a wrapper."""
    relative = glimpse_env_of(env).relative_gaze
    while isinstance(env, gymnasium.Wrapper | VectorWrapper):
        relative |= isinstance(env, RelativeGaze | VectorRelativeGaze)
        env = env.env
    if relative:
        raise ValueError(
            "the wrapper says where to look, not how far to move: leave out relative_gaze or RelativeGaze"
        )


def _answers(action_space: gymnasium.Space[Any]) -> int:
    """The number of answers of one environment's action space; TypeError unless it is a Dict with such."""
    if not isinstance(action_space, Dict):
        raise TypeError(f"the environment's action must be a Dict, got {action_space}")
    answer = action_space["answer"]
    assert isinstance(answer, Discrete)
    return int(answer.n)
