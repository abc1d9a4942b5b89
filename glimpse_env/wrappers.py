"""Views of an environment that other libraries, or other agents, need; each changes one thing."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from gymnasium.vector import AutoresetMode, VectorActionWrapper, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from glimpse_env import checks
from glimpse_env.single import GlimpseEnv
from glimpse_env.vector import GlimpseVectorEnv, Info, Observation

MAX_CELLS = 4096  # a side: more than a canvas has pixels


class BoxAction(gymnasium.ActionWrapper[Observation, NDArray[np.float32], dict[str, Any]]):
    """A flat Box action for libraries without Dict actions: two gaze coordinates, then one score an answer.

    Box(-1, 1, (2 + n,)); the answer is the index of the highest score. `VectorBoxAction` is the same for a
    vector env.
    """

    def __init__(self, env: gymnasium.Env[Observation, dict[str, Any]]) -> None:
        super().__init__(env)
        self._answers = _answers(env.action_space)
        self.action_space = Box(-1.0, 1.0, (2 + self._answers,), np.float32)

    def action(self, action: NDArray[np.float32]) -> dict[str, Any]:
        """(2 + n,) -> the environment's gaze and answer; ValueError for another shape or NaN."""
        return from_box(action, (), self._answers)


class VectorBoxAction(VectorActionWrapper[Any, Any, Any, Any]):
    """`BoxAction` for a vector env: one Box(-1, 1, (B, 2 + n)) for all rows, no Python loop over them."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.autoreset_mode = env.metadata["autoreset_mode"]  # TorchRL looks for it here
        self._answers = _answers(env.single_action_space)
        self.single_action_space = Box(-1.0, 1.0, (2 + self._answers,), np.float32)
        self.action_space = batch_space(self.single_action_space, env.num_envs)

    def actions(self, actions: Any) -> dict[str, Any]:
        """(B, 2 + n) -> the environment's gazes and answers; ValueError for another shape or NaN."""
        return from_box(actions, (self.num_envs,), self._answers)


class GridAction(gymnasium.ActionWrapper[Observation, NDArray[np.int64], dict[str, Any]]):
    """A MultiDiscrete action: column and row of a `cells` x `cells` grid over the canvas, then the answer.

    Column 0 looks at x = -1, column cells - 1 at x = +1; rows likewise, downwards. `VectorGridAction` is the
    same for a vector env.
    """

    def __init__(self, env: gymnasium.Env[Observation, dict[str, Any]], cells: int = 9) -> None:
        super().__init__(env)
        _check_absolute(env)
        self._grid = self.action_space = grid_space(cells, _answers(env.action_space))

    def action(self, action: NDArray[np.int64]) -> dict[str, Any]:
        """(3,) integers -> the environment's gaze and answer; ValueError for another shape or range."""
        return from_grid(action, (), self._grid)


class VectorGridAction(VectorActionWrapper[Any, Any, Any, Any]):
    """`GridAction` for a vector env: MultiDiscrete (B, 3), no Python loop over rows."""

    def __init__(self, env: Any, cells: int = 9) -> None:
        super().__init__(env)
        _check_absolute(env)
        self.autoreset_mode = env.metadata["autoreset_mode"]  # TorchRL looks for it here
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


class RelativeGaze(gymnasium.ActionWrapper[Observation, dict[str, Any], dict[str, Any]]):
    """The action's gaze becomes a displacement: (1, 0) moves the eye right by `reach` gaze units."""

    def __init__(self, env: gymnasium.Env[Observation, dict[str, Any]], reach: float = 0.5) -> None:
        super().__init__(env)
        _answers(env.action_space)
        _check_absolute(env)
        self._reach = checks.number("reach", reach, 0.01, 2)  # two units are the whole canvas

    def action(self, action: dict[str, Any]) -> dict[str, Any]:
        """Gaze (2,) in [-1, 1] -> the absolute gaze; the environment clips it to the canvas."""
        here = glimpse_env_of(self).path(0)[-1]
        gaze, answer = checks.action(action, ())
        return {"gaze": here + np.float32(self._reach) * gaze, "answer": answer}


class ScanPath(gymnasium.ActionWrapper[Observation, int, dict[str, Any]]):
    """The eye follows a fixed path and the action is the answer alone, Discrete(n).

    The path visits the middles of a `cells` x `cells` grid over the canvas and begins again at its end:
    row by row from the top left (order="raster"), or in an order drawn once from `seed` ("permutation").
    The first glimpse is the environment's own.
    """

    def __init__(
        self,
        env: gymnasium.Env[Observation, dict[str, Any]],
        cells: int = 3,
        order: str = "raster",
        seed: int = 0,
    ) -> None:
        super().__init__(env)
        _answers(env.action_space)
        _check_absolute(env)
        self.action_space = env.action_space["answer"]  # type: ignore[index]
        self.path = scan_path(cells, order, seed)

    def action(self, action: int) -> dict[str, Any]:
        """An answer -> the answer, with the path's next gaze."""
        seen = len(glimpse_env_of(self).path(0))
        return {"gaze": self.path[(seen - 1) % len(self.path)], "answer": action}


def scan_path(cells: int, order: str = "raster", seed: int = 0) -> NDArray[np.float32]:
    """Gazes (cells², 2) of a ScanPath; ValueError for an unknown order or no cells."""
    checks.integer("cells", cells, 1, MAX_CELLS)
    checks.choice("order", order, ("raster", "permutation"))
    middles = (2 * np.arange(cells, dtype=np.float32) + 1) / cells - 1
    path = np.stack([np.tile(middles, cells), np.repeat(middles, cells)], 1)
    return path if order == "raster" else np.random.default_rng(seed).permutation(path)


class GlimpseHistory(gymnasium.ObservationWrapper[Any, Any, Observation]):
    """The observation becomes every glimpse so far, for agents without memory.

    `retina` (T, scales * C, s, s), `gaze` (T, 2) and `time` (T, 1), T being the budget of glimpses; rows
    not yet seen are zero, and time, which is above zero in the others, tells them apart.
    """

    def __init__(self, env: gymnasium.Env[Observation, Any]) -> None:
        super().__init__(env)
        horizon = glimpse_env_of(self).horizon
        assert isinstance(env.observation_space, Dict)
        self.observation_space = Dict(
            {
                key: Box(space.low.min(), space.high.max(), (horizon, *space.shape), np.float32)
                for key, space in env.observation_space.spaces.items()
                if isinstance(space, Box)
            }
        )
        self._kept: Observation = {}

    def observation(self, observation: Observation) -> Observation:
        """The present observation -> all of them, as fresh arrays."""
        seen = len(glimpse_env_of(self).path(0))
        horizon = glimpse_env_of(self).horizon
        kept = {}
        for key, value in observation.items():
            kept[key] = np.zeros((horizon, *value.shape), np.float32)
            if seen > 1:
                kept[key][: seen - 1] = self._kept[key][: seen - 1]
            kept[key][seen - 1] = value
        self._kept = {key: value.copy() for key, value in kept.items()}
        return kept


def glimpse_env_of(env: gymnasium.Env[Any, Any]) -> GlimpseVectorEnv:
    """The batch of one inside a wrapped GlimpseEnv; TypeError for another environment."""
    inner = env.unwrapped
    if not isinstance(inner, GlimpseEnv):
        raise TypeError(f"the wrapper is for Glimpse environments, got {inner}")
    return inner.vector


class WholeCanvas(VectorWrapper[Any, Any, Any, Any, NDArray[Any]]):
    """Adds `canvas`, float32 (B, C, H, W) in [0, 1], to a vector env's observation."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        if env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP:
            raise ValueError("WholeCanvas cannot show a scene that a same-step reset has replaced")
        canvas = env.unwrapped.present_scenes().canvas
        spaces = dict(env.single_observation_space.spaces)
        spaces["canvas"] = Box(0.0, 1.0, canvas.shape[1:], np.float32)
        self.single_observation_space = Dict(spaces)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """As the environment's own."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._with_canvas(observation), info

    def step(self, actions: Any) -> tuple[Observation, Any, Any, Any, Info]:
        """As the environment's own."""
        observation, *rest = self.env.step(actions)
        return (self._with_canvas(observation), *rest)  # type: ignore[return-value]

    def _with_canvas(self, observation: Observation) -> Observation:
        canvas = self.env.unwrapped.present_scenes().canvas  # type: ignore[attr-defined]
        return {**observation, "canvas": canvas.astype(np.float32) / np.float32(255)}


def _check_absolute(env: Any) -> None:
    """Raise ValueError for an env, single or vector, that takes the gaze for a displacement."""
    inner = env.unwrapped
    if getattr(inner, "vector", inner).relative_gaze:
        raise ValueError("the wrapper says where to look, not how far to move: leave out relative_gaze")


def _answers(action_space: gymnasium.Space[Any]) -> int:
    """The number of answers of one environment's action space; TypeError unless it is a Dict with such."""
    if not isinstance(action_space, Dict):
        raise TypeError(f"the environment's action must be a Dict, got {action_space}")
    answer = action_space["answer"]
    assert isinstance(answer, Discrete)
    return int(answer.n)
