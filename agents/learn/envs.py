"""The environments that agents learn and are scored in, and what an agent must be to fit one."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from tyro.constructors import PrimitiveConstructorSpec

from agents.agent import Agent, Spec
from glimpse_env import checks
from glimpse_env.registry import TABLE
from glimpse_env.single import GlimpseEnv
from glimpse_env.vector import KEYWORDS
from glimpse_env.wrappers import VectorSupervision, VectorWholeCanvas, glimpse_env_of

Value = int | float | str
EnvKeywords = Annotated[
    dict[str, Any],  # of Values
    # On the command line `--env horizon=4 dataset=mnist-5k`, whatever the experiment's own keywords are.
    PrimitiveConstructorSpec(
        nargs="*",
        metavar="KEYWORD=VALUE",
        instance_from_str=lambda pairs: parse_keywords(pairs),
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda env: [f"{key}={value}" for key, value in env.items()],
    ),
]
RESERVED = {"split", "max_episode_steps", "render_mode", "constant_info"}
MOST_ROWS, MOST_BYTES = 1000, 2**28  # of a batch of frozen scenes


def parse_keywords(pairs: Iterable[str]) -> dict[str, Value]:
    """["horizon=4"] -> {"horizon": 4}; ValueError for what is no such pair and for one given twice."""
    parsed: dict[str, Value] = {}
    for key, value in map(parse_keyword, pairs):
        if key in parsed:
            raise ValueError(f"{key} is given twice, as {parsed[key]!r} and as {value!r}: give it once")
        parsed[key] = value
    return parsed


def parse_keyword(pair: str) -> tuple[str, Value]:
    """Split "horizon=4" into ("horizon", 4); ValueError without an equals sign."""
    key, equals, value = pair.partition("=")
    if not (key and equals):
        raise ValueError(f"{pair!r} is not KEYWORD=VALUE")
    if value in ("True", "False"):
        return key, value == "True"
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return key, kind(value)
    return key, value


def check_keywords(env: Mapping[str, Any]) -> None:
    """Raise ValueError for a keyword that no environment has, or that an experiment must not set."""
    taken = RESERVED & env.keys()
    if taken:
        raise ValueError(f"env must not set {', '.join(sorted(taken))}: the script itself decides that")
    checks.keywords(env, set(KEYWORDS) - RESERVED, "an experiment's env")


def single_env(env_id: str, env: Mapping[str, Any], **more: Any) -> GlimpseEnv:
    """An environment with keywords `env`, what a user may set, and `more`; ValueError for an unknown one."""
    check_keywords(env)
    try:
        made = gymnasium.make(env_id, **env, **more).unwrapped
    except gymnasium.error.Error:  # of what is no id
        meant = checks.did_you_mean(env_id, TABLE) or ": choose one of Glimpse/…"
        raise ValueError(f"{env_id!r} is none of our environments{meant}") from None
    except ImportError as error:
        raise ValueError(str(error)) from None
    except TypeError as error:  # of one that takes no such keywords
        raise ValueError(f"{env_id} is none of our environments ({error}): choose one of Glimpse/…") from None
    if not isinstance(made, GlimpseEnv):
        raise ValueError(f"{env_id} is none of our environments: choose one of Glimpse/…")
    return made


def spec_of(env_id: str, env: Mapping[str, Any]) -> Spec:
    """What an agent for an environment with keywords `env` must be; ValueError where no agent here fits."""
    vector = single_env(env_id, env).vector
    if vector.early_answer or vector.relative_gaze:
        raise ValueError(
            f"{env_id} with {dict(env)} does not ask for absolute gazes and answers at their time, as the "
            "agents here give: leave out early_answer and relative_gaze"
        )
    views: Any = vector.single_observation_space
    actions: Any = vector.single_action_space
    canvas: Any = vector.world.canvas_shape
    return Spec(
        views["retina"].shape,
        canvas,
        int(actions["answer"].n),
        views["context"].shape if "context" in views.spaces else (),
        vector.task.length,
        vector.horizon,
        len(vector.world.tokens),
        vector.sensor.axes,
        views["question"].shape if "question" in views.spaces else (),
        hashlib.sha256("\0".join([*vector.answer_names, "", *vector.world.tokens]).encode()).hexdigest()[:12],
    )


def check_fits(agent: Agent, name: str, made_for: Spec, env_id: str, env: Mapping[str, Any]) -> None:
    """Raise ValueError, naming what differs, unless an agent made for one spec can act in an environment."""
    there = spec_of(env_id, env)
    unseen = {"horizon", *(("canvas",) if agent.sees == "glimpses" else ("retina", "context"))}
    unseen -= {*getattr(agent, "bound_to", ())}  # DRAW's generator is no Agent
    for key, wanted in made_for._asdict().items():
        offered = getattr(there, key)
        if key not in unseen | {"vocabulary"} and not np.array_equal(wanted, offered):
            raise ValueError(
                f"{name} was made for {key} {wanted} and {env_id} has {offered}: "
                "choose another id or set its keywords, --env KEYWORD=VALUE …"
            )
    if made_for.vocabulary not in ("", there.vocabulary):
        raise ValueError(
            f"{name} was made for other names of answers or words than {env_id} has by now: retrain it"
        )


def make_env(agent: Agent, env_id: str, num_envs: int, *, boxes: bool = False, **keywords: Any) -> Any:
    """The vector env that `agent` is taught in: with its supervision, and the canvas for those who see it."""
    env: Any = gymnasium.make_vec(env_id, num_envs, "vector_entry_point", **keywords)
    if agent.sees == "canvas":
        env = VectorWholeCanvas(env)
    return VectorSupervision(env, boxes=boxes)


def frozen_env(agent: Agent, env_id: str, split: str, *, boxes: bool = False, **keywords: Any) -> Any:
    """The vector env that `agent` is scored in, with as many rows as `split` has scenes and memory allows."""
    scenes = single_env(env_id, keywords, split=split).vector
    canvas = int(np.prod(scenes.world.canvas_shape))
    rows = max(1, min(MOST_ROWS, scenes.num_scenes, MOST_BYTES // (8 * canvas)))
    return make_env(agent, env_id, rows, boxes=boxes, split=split, **keywords)


def frozen_batches(env: Any, scenes: int | None = None) -> Iterator[NDArray[np.int64]]:
    """The numbers of the scenes, a batch of `env` at a time, each scene once; the last batch is filled up.

    scenes: how many of them, from the first on; None is all. Whoever goes over frozen scenes does it so.
    """
    count = glimpse_env_of(env).num_scenes if scenes is None else scenes
    for first in range(0, count, env.num_envs):
        yield np.minimum(np.arange(first, first + env.num_envs), count - 1)
