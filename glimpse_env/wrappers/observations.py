"""Wrappers whose observations hold more than the last glimpse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from glimpse_env.sensors.retina import writable
from glimpse_env.vector import GlimpseVectorEnv, Info, Observation
from glimpse_env.wrappers.base import SingleEnv, SingleView, VectorView, views_of


class _Shown(SingleView):
    """A wrapper whose observation is made from the environment's own by `_shown`."""

    def _shown(self, observation: Observation) -> Observation:
        """The environment's observation -> this wrapper's."""
        raise NotImplementedError

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Info]:
        """As the environment's own, with this observation."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._shown(observation), info

    def step(self, action: Any) -> tuple[Observation, Any, bool, bool, Info]:
        """As the environment's own, with this observation."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._shown(observation), reward, terminated, truncated, info


class _VectorShown(VectorView):
    """The same for a vector env, whose same-step resets keep the last observation of an episode apart."""

    def _shown(self, observation: Observation) -> Observation:
        """The environment's observation of all rows -> this wrapper's."""
        raise NotImplementedError

    def _last(self, row: int, observation: Observation) -> Observation:
        """The last observation of an episode of `row`, after a same-step reset, as `_shown` would have it."""
        raise NotImplementedError

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """As the environment's own, with this observation."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._shown(observation), info

    def step(self, actions: Any) -> tuple[Observation, Any, Any, Any, Info]:
        """As the environment's own, with this observation, also in a same-step reset's `final_obs`."""
        observation, reward, terminated, truncated, info = self.env.step(actions)
        for row in np.flatnonzero(info.get("_final_obs", ())):
            info["final_obs"][row] = self._last(int(row), info["final_obs"][row])
        return self._shown(observation), reward, terminated, truncated, info


class _Kept:
    """Every glimpse of B episodes so far, (B, T, …) for each view; rows not yet seen are zero.

    Raises ValueError for a view that is no Box.
    """

    def __init__(self, views: Dict, num_envs: int, horizon: int) -> None:
        self.horizon = horizon
        for key, view in views.spaces.items():
            if not isinstance(view, Box):
                raise ValueError(
                    f"a history is of boxes, and {key!r} is {type(view).__name__}: wrap the history instead"
                )
        self.space = Dict(
            {
                key: Box(view.low.min(), view.high.max(), (horizon, *view.shape), view.dtype.type)
                for key, view in views.spaces.items()
                if isinstance(view, Box)
            }
        )
        self.views = {
            key: np.zeros((num_envs, *view.shape), view.dtype)  # type: ignore[misc]  # a Box has a shape
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

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.views = {key: writable(view) for key, view in self.views.items()}

    def _seen(self, observation: Observation) -> NDArray[np.int64]:
        seen: NDArray[np.int64] = np.rint(observation["time"][..., 0] * self.horizon).astype(np.int64)
        return seen


def one_glimpse(space: gymnasium.Space[Any] | None) -> Dict:
    """A space of observations of one glimpse each; ValueError where another wrapper changed them."""
    views = views_of(space, "time")
    if views["time"].shape != (1,):
        raise ValueError("the observation is a history already: leave out one of the wrappers")
    return views


class GlimpseHistory(_Shown):
    """The observation becomes every glimpse so far, for agents without memory.

    `retina` (T, scales * C, s, s), `gaze` (T, axes) and `time` (T, 1), T being the horizon; rows not yet seen
    are zero, and time, which is above zero in the others, tells them apart.
    """

    def __init__(self, env: SingleEnv) -> None:
        super().__init__(env)
        history = _Kept(one_glimpse(env.observation_space), 1, self.inner.horizon)
        self._history: _Kept = history
        self.observation_space = history.space

    def _shown(self, observation: Observation) -> Observation:
        kept = self._history.add({key: view[None] for key, view in observation.items()})
        return {key: view[0] for key, view in kept.items()}


class VectorGlimpseHistory(_VectorShown):
    """`GlimpseHistory` for a vector env, in every autoreset mode."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        history = _Kept(one_glimpse(env.single_observation_space), env.num_envs, self.inner.horizon)
        self._history: _Kept = history
        self.single_observation_space = history.space
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def _shown(self, observation: Observation) -> Observation:
        return self._history.add(observation)

    def _last(self, row: int, observation: Observation) -> Observation:
        return self._history.last(row, observation)


class Form(NamedTuple):
    """How words are shown: the space of it and an observation in it, given how many words a view has."""

    space: Callable[[Dict, dict[str, int]], Dict]
    views: Callable[[Observation, dict[str, int]], Observation]


class _Words(_Shown):
    """Views of words, in another form."""

    form: ClassVar[Form]

    def __init__(self, env: SingleEnv) -> None:
        super().__init__(env)
        self._words = different_words(self.inner)
        self.observation_space = self.form.space(views_of(env.observation_space), self._words)

    def _shown(self, observation: Observation) -> Observation:
        return self.form.views(observation, self._words)


class _VectorWords(_VectorShown):
    """The same for a vector env, in every autoreset mode."""

    form: ClassVar[Form]

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self._words = different_words(self.inner)
        self.single_observation_space = self.form.space(views_of(env.single_observation_space), self._words)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def _shown(self, observation: Observation) -> Observation:
        return self.form.views(observation, self._words)

    def _last(self, row: int, observation: Observation) -> Observation:
        return self.form.views(observation, self._words)


def different_words(inner: GlimpseVectorEnv) -> dict[str, int]:
    """Of each view that holds words, how many different ones; ValueError for an environment without."""
    if not inner.world.tokens:
        raise ValueError("there are no words in this environment: leave out this wrapper")
    most = len(inner.world.tokens)
    views = dict.fromkeys(("retina", "context", "question", "canvas"), most)
    return {**views, "said": len(inner.answer_names) + 1}


def word_ids(views: Dict, words: dict[str, int]) -> dict[str, gymnasium.Space[Any]]:
    """The spaces of an observation; ValueError where another wrapper has changed its words already."""
    for key in words.keys() & views.spaces.keys():
        if not (isinstance(views[key], Box) and views[key].dtype == np.int64):
            raise ValueError(
                f"{key} is no longer of word ids but {views[key]}: leave out one of the wrappers"
            )
    return dict(views.spaces)


def one_hot_space(views: Dict, words: dict[str, int]) -> Dict:
    """The observation space with vectors in place of words."""
    spaces = word_ids(views, words)
    for key in words.keys() & spaces.keys():
        shape = spaces[key].shape or ()
        spaces[key] = Box(0, 1, (*(shape[:-1] if key == "said" else shape), words[key]), np.float32)
    return Dict(spaces)


def one_hot(observation: Observation, words: dict[str, int]) -> Observation:
    """The observation with vectors in place of words, as fresh arrays."""
    seen = dict(observation)
    for key in words.keys() & seen.keys():
        ids = seen[key][..., 0] + 1 if key == "said" else seen[key]
        seen[key] = (ids[..., None] == np.arange(words[key])).astype(np.float32)
    return seen


def discrete_space(views: Dict, words: dict[str, int]) -> Dict:
    """The observation space with as many values a word as there are words."""
    spaces = word_ids(views, words)
    for key in words.keys() & spaces.keys():
        spaces[key] = MultiDiscrete(np.full(spaces[key].shape or (), words[key]))
    return Dict(spaces)


def discrete(observation: Observation, words: dict[str, int]) -> Observation:
    """The observation with answers counted from 1 on, 0 being none, as fresh arrays."""
    seen = dict(observation)
    return {**seen, "said": seen["said"] + 1} if "said" in seen else seen


class OneHotWords(_Words):
    """Words become vectors, for networks that know numbers alone: 1 at the word's id, 0 elsewhere.

    `retina` float32 (size, words), `said` (answers + 1,), its first place being nothing, and where they are
    `context` and `canvas` (N, words) and `question` (Q, words). Raises ValueError for an environment without
    words.
    """

    form = Form(one_hot_space, one_hot)


class VectorOneHotWords(_VectorWords):
    """`OneHotWords` for a vector env, in every autoreset mode."""

    form = Form(one_hot_space, one_hot)


class DiscreteWords(_Words):
    """Words' spaces become `MultiDiscrete`, as libraries with embeddings want them.

    `retina` is MultiDiscrete of `size` words, and so are `context`, `canvas` and `question`; `said` has one
    more value than there are answers, 0 being none. Raises ValueError for an environment without words.
    """

    form = Form(discrete_space, discrete)


class VectorDiscreteWords(_VectorWords):
    """`DiscreteWords` for a vector env, in every autoreset mode."""

    form = Form(discrete_space, discrete)


class WholeCanvas(_Shown):
    """Adds `canvas` to the observation: float32 (C, H, W) in [0, 1], or all word ids int64 (N,) of a text."""

    def __init__(self, env: SingleEnv) -> None:
        super().__init__(env)
        canvas = self.inner.sensor.canvas_space()
        self.observation_space = _with_space(env.observation_space, canvas=canvas)

    def _shown(self, observation: Observation) -> Observation:
        return {**observation, "canvas": self.inner.canvas()[0]}


class VectorWholeCanvas(VectorView):
    """`WholeCanvas` for a vector env: (B, C, H, W), or (B, N), a fresh array whenever an episode begins.

    Raises ValueError for AutoresetMode.SAME_STEP, where a scene is replaced before it could be shown.
    """

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            raise ValueError("WholeCanvas cannot show a scene that a same-step reset has replaced")
        canvas = self.inner.sensor.canvas_space()
        self.single_observation_space = _with_space(env.single_observation_space, canvas=canvas)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)
        self._canvas = self.inner.canvas()
        self._ended = True  # the env may be running already, and a row of it have ended

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """As the environment's own, with the canvas."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._canvas = self.inner.canvas()
        self._ended = "reset_mask" in (options or {})  # the rows left out may begin anew in the next step
        return {**observation, "canvas": self._canvas}, info

    def step(self, actions: Any) -> tuple[Observation, Any, Any, Any, Info]:
        """As the environment's own, with the canvas."""
        observation, reward, terminated, truncated, info = self.env.step(actions)
        if self._ended:  # the step after an episode's last begins another
            self._canvas = self.inner.canvas()
        self._ended = bool((terminated | truncated).any())
        return {**observation, "canvas": self._canvas}, reward, terminated, truncated, info


class Supervision(_Shown):
    """Adds to the observation what a loss needs and no eye may see; what is asked is the environment's say.

    `target` int64 (L,), the right answers, padded with -1. `next` int64 (), the answer to be said next, -1
    where none is. `due` int64 (), 1 where the coming step takes an answer. With `boxes`, `boxes` int64
    (K, 4), where each symbol lies, x, y, width and height in canvas pixels, in the order of the target.
    """

    def __init__(self, env: SingleEnv, boxes: bool = False) -> None:
        super().__init__(env, boxes=boxes)
        self._spaces = supervision_spaces(self.inner, boxes)
        self.observation_space = _with_space(env.observation_space, **self._spaces)

    def _shown(self, observation: Observation) -> Observation:
        known = self.inner.supervision()
        return {**observation, **{key: known[key][0] for key in self._spaces}}


class VectorSupervision(_VectorShown):
    """`Supervision` for a vector env: `target` (B, L), `next` (B,), `due` (B,), `boxes` (B, K, 4).

    Raises ValueError for AutoresetMode.SAME_STEP, where a scene is replaced before it could be told of.
    """

    def __init__(self, env: Any, boxes: bool = False) -> None:
        super().__init__(env, boxes=boxes)
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            raise ValueError("Supervision cannot tell of a scene that a same-step reset has replaced")
        self._spaces = supervision_spaces(self.inner, boxes)
        self.single_observation_space = _with_space(env.single_observation_space, **self._spaces)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def _shown(self, observation: Observation) -> Observation:
        known = self.inner.supervision()
        return {**observation, **{key: known[key] for key in self._spaces}}


def supervision_spaces(inner: GlimpseVectorEnv, boxes: bool) -> dict[str, gymnasium.Space[Any]]:
    """What `Supervision` adds to an observation, for one episode."""
    answers, most = len(inner.task.answers), 2**31  # a box may lie beyond the canvas
    spaces: dict[str, gymnasium.Space[Any]] = {
        "target": Box(-1, answers - 1, (inner.task.length,), np.int64),
        "next": Discrete(answers + 1, start=-1),
        "due": Discrete(2),
    }
    if boxes:
        spaces["boxes"] = Box(-most, most, (inner.world.max_digits, 4), np.int64)
    return spaces


def _with_space(space: gymnasium.Space[Any], **more: gymnasium.Space[Any]) -> Dict:
    return Dict({**views_of(space).spaces, **more})
