"""GlimpseEnv: one episode, as a batch of one; nothing is decided here."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from glimpse_env import checks
from glimpse_env.vector import (
    KEYWORDS,
    MAX_HORIZON,
    RENDER_FPS,
    RENDER_MODES,
    GlimpseVectorEnv,
    Info,
    Observation,
)

ANSWER_KEYS = "0123456789tyuiopghj"


class GlimpseEnv(gymnasium.Env[Observation, dict[str, Any]]):
    """One glimpse episode; keywords, spaces, rewards and errors are GlimpseVectorEnv's, without its batch."""

    metadata = {"render_modes": RENDER_MODES, "render_fps": RENDER_FPS}  # noqa: RUF012 (Gymnasium's own form)

    def __init__(self, **keywords: Any) -> None:
        checks.keywords(keywords, KEYWORDS, "a Glimpse environment")
        self.vector = GlimpseVectorEnv(1, autoreset_mode=AutoresetMode.DISABLED, **keywords)
        self.observation_space = self.vector.single_observation_space
        self.action_space = self.vector.single_action_space
        self.render_mode = self.vector.render_mode
        self._spec: EnvSpec | None = None

    @property
    def spec(self) -> EnvSpec | None:
        """The spec it was made from, with a limit of steps that no episode comes to, whatever its horizon.

        Gymnasium cuts episodes off at the limit in an environment that is made anew from the spec, also by
        other keywords.
        """
        return self._spec

    @spec.setter
    def spec(self, value: EnvSpec | None) -> None:
        if value is not None and value.max_episode_steps is None:
            value = copy.copy(value)
            value.max_episode_steps = MAX_HORIZON + 1
        self._spec = value

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Start an episode; options["index"], an int, asks for that frozen scene of the split."""
        seed = checks.seed(seed)
        observation, info = self.vector.reset(seed=seed, options=options)
        super().reset(seed=seed)
        return _first(observation), _first_info(info)

    def step(self, action: dict[str, Any]) -> tuple[Observation, float, bool, bool, Info]:
        """Move the gaze and, where an answer is due, take it; the last answer ends the episode.

        Raises ValueError for a bad action and ResetNeeded when no episode is under way.
        """
        batch = {key: [value] for key, value in action.items()} if isinstance(action, dict) else action
        try:
            observation, reward, terminated, truncated, info = self.vector.step(batch)
        except ValueError:
            checks.action(
                action, (), self.vector.sensor.axes
            )  # says the shapes of one action, not of a batch
            raise
        ended, cut = bool(terminated[0]), bool(truncated[0])
        return _first(observation), float(reward[0]), ended, cut, _first_info(info)

    def render(self) -> NDArray[np.uint8] | None:
        """A frame, uint8 (H, W, 3), or None after showing it in a window."""
        frames = self.vector.render()
        return None if frames is None else frames[0]

    def get_keys_to_action(self) -> dict[tuple[str, ...], dict[str, Any]]:
        """Keys of `gymnasium.utils.play`: q w e, a s d, z x c look at the middles of a 3x3 grid, a s d at
        thirds of a text.

        With `relative_gaze` they move the gaze by a third of the canvas. Held as well, or alone (which looks
        at, or stays in, the middle), 0 to 9 give the answer of that index and t y u i o p g h j those from
        10 on, so that a house number ends with t; else the answer is the first, or "look" where answers may
        come early. play() also wants a noop: the action of "s" will do.
        """
        silent = len(self.vector.answer_names) - 1 if self.vector.early_answer else 0
        actions: dict[tuple[str, ...], dict[str, Any]] = {}
        axes = self.vector.sensor.axes
        for i, place in enumerate("qweasdzxc" if axes == 2 else "asd"):
            gaze = np.array([i % 3 - 1, i // 3 - 1][:axes], np.float32) * np.float32(2 / 3)
            actions[(place,)] = {"gaze": gaze, "answer": silent}
            for answer, key in zip(range(len(self.vector.task.answers)), ANSWER_KEYS, strict=False):
                actions[(place, key)] = {"gaze": gaze, "answer": answer}
                actions[(key,)] = {"gaze": np.zeros(axes, np.float32), "answer": answer}
        return actions

    @property
    def difficulty(self) -> float:
        """See `GlimpseVectorEnv.difficulty`."""
        return self.vector.difficulty

    @difficulty.setter
    def difficulty(self, value: float) -> None:
        self.vector.difficulty = value

    def close(self) -> None:
        """Close the window, if there is one."""
        self.vector.close()

    @property
    def belief(self) -> NDArray[np.float32] | None:
        """The agent's probabilities (n,) to draw in the next frame; every reset forgets them."""
        return None if self.vector.belief is None else self.vector.belief[0]

    @belief.setter
    def belief(self, value: NDArray[np.float32] | None) -> None:
        self.vector.belief = None if value is None else np.asarray(value)[None]


def _first(observation: Observation) -> Observation:
    return {key: value[0] for key, value in observation.items()}


def _first_info(info: Info) -> Info:
    """One episode's info in NumPy's own types, which libraries that record it ask for.

    `correct` is an array of shape (), for Gymnasium's vector envs gather NumPy's bool as an object.
    """
    known = {key: info[key][0] for key in ("target", "correct") if key in info}
    return {key: np.asarray(value) if key == "correct" else value for key, value in known.items()}
