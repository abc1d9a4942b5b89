"""What comes into an environment, checked: each fault is one sentence that names the argument."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def choice(name: str, value: Any, allowed: tuple[str, ...] | list[str]) -> str:
    """`value` if it is one of `allowed`, else ValueError."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {tuple(allowed)}, got {value!r}")
    return str(value)


def flag(name: str, value: Any) -> bool:
    """`value` if it is True or False, else ValueError."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def integer(name: str, value: Any, least: int, most: int | None = None) -> int:
    """`value`, or a ValueError that names it unless it is an integer from `least` to `most`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if whole and least <= value and (most is None or value <= most):
        return int(value)
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
    raise ValueError(f"{name} must be an integer {bounds}, got {value!r}")


def number(name: str, value: Any, least: float, below: float = math.inf) -> float:
    """`value` as a float if it is a number in [least, below), else ValueError."""
    good = (
        isinstance(value, int | float | np.number) and not isinstance(value, bool) and least <= value < below
    )
    if not good:
        bound = "" if below == math.inf else f" and below {below:g}"
        raise ValueError(f"{name} must be a number of at least {least:g}{bound}, got {value!r}")
    return float(value)


def action(actions: Any, num_envs: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The action's `gaze` float32 (B, 2) and `answer` int64 (B,), or a ValueError that names the key."""
    if not isinstance(actions, dict) or actions.keys() != {"gaze", "answer"}:
        got = sorted(map(str, actions)) if isinstance(actions, dict) else type(actions).__name__
        raise ValueError(f"action must be a dict of 'gaze' and 'answer', got {got}")
    gaze = _as_array("gaze", actions["gaze"], np.dtype(np.float32), "fiu", (num_envs, 2))
    answer = _as_array("answer", actions["answer"], np.dtype(np.int64), "iu", (num_envs,))
    return gaze, answer


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


def reset_mask(mask: Any, num_envs: int) -> NDArray[np.bool_]:
    """options["reset_mask"], all rows where it is None; TypeError or ValueError for anything but a mask."""
    if mask is None:
        return np.ones(num_envs, np.bool_)
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        raise TypeError(f"options['reset_mask'] must be a bool array, got {mask!r}")
    if mask.shape != (num_envs,) or not mask.any():
        raise ValueError(
            f"options['reset_mask'] must have shape ({num_envs},) and a True value, got {mask!r}"
        )
    return mask


def scene_indices(index: Any, rows: NDArray[np.bool_], num_scenes: int, split: str) -> NDArray[np.int64]:
    """options["index"] as one frozen scene a row (B,), in range wherever `rows` is true."""
    if isinstance(index, int | np.integer) and not isinstance(index, bool):
        indices = index + np.arange(len(rows))
    else:
        try:
            indices = np.asarray(index)
        except ValueError:  # lists of unequal lengths
            indices = np.asarray(None)
    if indices.dtype.kind not in "iu" or indices.shape != (len(rows),):
        raise ValueError(f"options['index'] must be an int or {len(rows)} ints, got {index!r}")
    bad = rows & ((indices < 0) | (indices >= num_scenes))
    if bad.any():
        raise ValueError(
            f"options['index'] must be 0 to {num_scenes - 1} in split {split!r}, got {indices[bad][0]}"
        )
    return indices.astype(np.int64)


def seeds(seed: Any, num_envs: int) -> list[int | None]:
    """One seed or None a row: of an int s, s + i for row i. TypeError or ValueError for anything else."""
    if isinstance(seed, int | np.integer) and not isinstance(seed, bool):
        values: list[int | None] = [int(seed) + i for i in range(num_envs)]
    elif isinstance(seed, list | tuple):
        values = list(seed)
    else:
        raise TypeError(f"seed must be an int or a list of ints, got {seed!r}")
    if len(values) != num_envs:
        raise ValueError(f"seed must be an int or a list of {num_envs}, got {len(values)} seeds")
    for value in values:
        if value is not None and (not isinstance(value, int | np.integer) or value < 0):
            raise ValueError(f"seed must be a non-negative integer, got {value!r}")
    return values
