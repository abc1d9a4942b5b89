"""Our native vector env as a Stable-Baselines3 VecEnv: `PPO("MultiInputPolicy", GlimpseVecEnv(ID, 64))`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.vec_env.base_vec_env import VecEnv

from glimpse_env.vector import GlimpseVectorEnv
from glimpse_env.wrappers import VectorGlimpseHistory, VectorGridAction, VectorOneHotWords

Batch = dict[str, NDArray[Any]]


class GlimpseVecEnv(VecEnv):
    """`num_envs` rows of `env_id`; an action is column and row of a cells x cells grid, then the answer.

    Of a text it is the place, one of all unless `cells` says how many, and words are vectors
    (`wrappers.VectorOneHotWords`). With `history` observations are those of `wrappers.VectorGlimpseHistory`,
    for policies without memory. Arrays are handed on, not copied. keywords go to the environment.
    """

    def __init__(
        self, env_id: str, num_envs: int, *, cells: int | None = None, history: bool = False, **keywords: Any
    ) -> None:
        env = gymnasium.make_vec(
            env_id,
            num_envs=num_envs,
            vectorization_mode="vector_entry_point",
            autoreset_mode=AutoresetMode.SAME_STEP,
            **keywords,
        )
        assert isinstance(env, GlimpseVectorEnv)
        self.env = env
        views = VectorOneHotWords(env) if env.world.tokens else env
        self._wrapped = VectorGridAction(VectorGlimpseHistory(views) if history else views, cells)
        self._actions: NDArray[np.int64] = np.zeros((num_envs, env.sensor.axes + 1), np.int64)
        self.render_mode = env.render_mode
        super().__init__(num_envs, self._wrapped.single_observation_space, self._wrapped.single_action_space)

    def reset(self) -> Batch:
        """Begin every row, from the seeds of `seed()` and the options of `set_options()` if there are any.

        The one option is "index", a frozen scene, for every row or for none; else ValueError.
        """
        seeds = list(self._seeds)
        chosen = [options.get("index") for options in self._options if options]
        if any(options.keys() - {"index"} for options in self._options) or len(chosen) not in (
            0,
            self.num_envs,
        ):
            raise ValueError(f"set_options takes one 'index' for every row, got {self._options}")
        index = {"index": chosen} if chosen else None
        reset: Any = self._wrapped.reset  # Gymnasium declares one seed, but takes one a row
        observation: Batch = reset(seed=None if None in seeds else seeds, options=index)[0]
        self._reset_seeds()
        self._reset_options()
        return observation

    def step_async(self, actions: NDArray[np.int64]) -> None:
        """Keep the actions (B, axes + 1) for `step_wait`."""
        self._actions = np.asarray(actions)

    def step_wait(self) -> tuple[Batch, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Step; a row that ended shows its next episode, its last observation is in its info."""
        observation, reward, terminated, truncated, info = self._wrapped.step(self._actions)
        done = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for row in np.flatnonzero(done):  # SB3 asks for one dict a row
            infos[row] = {
                "terminal_observation": info["final_obs"][row],
                "TimeLimit.truncated": bool(truncated[row] and not terminated[row]),
                "is_success": bool(terminated[row] and info["final_info"]["correct"][row]),
            }
        return observation, reward.astype(np.float32), done, infos

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: int | Iterable[int] | None = None) -> list[Any]:
        """The environment's attribute, once a row; all rows share one environment."""
        return [getattr(self.env, attr_name)] * len(self._rows(indices))

    def set_attr(self, attr_name: str, value: Any, indices: int | Iterable[int] | None = None) -> None:
        """Set it for all rows; ValueError for some of them."""
        if len(self._rows(indices)) != self.num_envs:
            raise ValueError(f"all rows share one environment: set {attr_name} without indices")
        setattr(self.env, attr_name, value)

    def env_method(
        self, method_name: str, *args: Any, indices: int | Iterable[int] | None = None, **kwargs: Any
    ) -> list[Any]:
        """The environment's method, called once and its result given once a row."""
        return [getattr(self.env, method_name)(*args, **kwargs)] * len(self._rows(indices))

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: Any = None
    ) -> list[bool]:
        """No row is wrapped."""
        return [False] * len(self._rows(indices))

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """A frame a row."""
        return list(self.env.render() or [])

    def _rows(self, indices: int | Iterable[int] | None) -> list[int]:
        return list(self._get_indices(indices))
