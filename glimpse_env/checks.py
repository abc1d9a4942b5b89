"""What comes into an environment, checked: each fault is one sentence that names the argument."""

from __future__ import annotations

import difflib
import math
import os
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray


def choice(name: str, value: Any, allowed: tuple[str, ...] | list[str]) -> str:
    """`value` if it is one of `allowed`, else ValueError."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {tuple(allowed)}, got {value!r}")
    return str(value)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question that names those of `known` that `name` may be a slip for, or nothing."""
    alike = difflib.get_close_matches(name, known)
    return f": did you mean {' or '.join(map(repr, alike))}?" if alike else ""


def keywords(given: Iterable[str], known: Iterable[str], of: str) -> None:
    """Raise ValueError for the first of the keywords `given` that is not among those `known`."""
    known = set(known)
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known) or f"; there are {', '.join(sorted(known))}"
            raise ValueError(f"{of} has no keyword {name!r}{hint}")


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


def plain(value: Any) -> Any:
    """NumPy's integers as Python's, for those of few bits overflow in what is made of them; else `value`."""
    return int(value) if isinstance(value, np.integer) else value


def array(given: Any) -> NDArray[Any]:
    """`given` as an array; lists of unequal lengths as one object, which has no shape."""
    try:
        return np.asarray(given)
    except ValueError:
        whole = np.empty((), object)
        whole[()] = given
        return whole


def number(name: str, value: Any, least: float, most: float = math.inf) -> float:
    """`value` as a float if it is a finite number from `least` to `most`, else ValueError."""
    good = (
        isinstance(value, int | float | np.integer | np.floating)
        and not isinstance(value, bool)
        and least <= value <= most
    )
    if not good or value > sys.float_info.max:
        bounds = f"of at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
        raise ValueError(f"{name} must be a finite number {bounds}, got {value!r}")
    return float(value)


def whole_memory() -> int | None:
    """How many bytes this machine's memory holds, or None on a system that does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def rows_fit(num_envs: int, row_bytes: int) -> None:
    """ValueError where so many rows, each of `row_bytes`, are more than this machine's memory holds."""
    memory = whole_memory()
    if memory is not None and num_envs * row_bytes > memory:
        wanted, held = (f"{size / 2**30:,.1f} GiB" for size in (num_envs * row_bytes, memory))
        raise ValueError(
            f"num_envs: {num_envs} rows of this canvas take {wanted}, and this machine has {held}: "
            f"make {memory // (2 * row_bytes)} or fewer, or a smaller canvas"
        )


def is_utf8(text: str) -> bool:
    """Whether a text can be written as UTF-8; lone surrogates, Python's form of other bytes, cannot."""
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)


def left_out(name: str, value: Any, default: int, why: str) -> None:
    """Raise ValueError unless `value` is the default: a keyword that something else makes meaningless."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or value != default:
        raise ValueError(f"{why}: leave out {name} or set it to {default!r}, got {value!r}")


def autoreset_mode(value: Any) -> AutoresetMode:
    """A mode, given as itself or by its name, else ValueError."""
    for mode in AutoresetMode:
        if value is mode or (isinstance(value, str) and value == mode.value):
            return mode
    names = tuple(mode.value for mode in AutoresetMode)
    raise ValueError(f"autoreset_mode must be an AutoresetMode or one of {names}, got {value!r}")


def action(actions: Any, batch: tuple[int, ...], axes: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The action's `gaze` float32 (*batch, axes) and `answer` int64 (*batch,), or a ValueError naming one."""
    if not isinstance(actions, dict) or actions.keys() != {"gaze", "answer"}:
        got = sorted(map(str, actions)) if isinstance(actions, dict) else type(actions).__name__
        raise ValueError(f"action must be a dict of 'gaze' and 'answer', got {got}")
    gaze = _as_array("gaze", actions["gaze"], np.dtype(np.float32), "fiu", (*batch, axes))
    answers = actions["answer"]
    if batch and getattr(answers, "shape", None) == (*batch, 1):  # as some libraries give them
        answers = answers[:, 0]
    answer = _as_array("answer", answers, np.dtype(np.int64), "iu", batch)
    return gaze, answer


def _as_array(key: str, value: Any, dtype: np.dtype[Any], kinds: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """`value` as a contiguous array of `dtype`, or a ValueError that names the action's key."""
    given = array(value)
    if given.shape != shape or given.dtype.kind not in kinds:
        raise ValueError(
            f"action[{key!r}] must be {dtype} of shape {shape}, got {given.dtype} of shape {given.shape}"
        )
    with np.errstate(over="ignore"):  # a gaze that is too large for 32 bits is infinite, and clipped
        return np.asarray(given, dtype, order="C")


def reset_options(options: Any) -> dict[str, Any]:
    """The options of a reset; TypeError for anything but a dict or None, ValueError for an unknown key."""
    if options is not None and not isinstance(options, dict):
        raise TypeError(f"options must be a dict or None, got {options!r}")
    unknown = (options or {}).keys() - {"index", "reset_mask"}
    if unknown:
        raise ValueError(f"reset has no option {min(unknown, key=str)!r}: use 'index' or 'reset_mask'")
    return options or {}


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
    given = array(index)
    big = given.dtype == object and all(isinstance(i, int) for i in given.flat)  # too big for 64 bits
    if not (given.dtype.kind in "iu" or big) or given.shape not in ((), (len(rows),)):
        raise ValueError(
            f"options['index'] must be an int, or one for each of {len(rows)} rows, got {index!r}"
        )
    if given.dtype.kind == "u":
        given = given.astype(object if given.max(initial=0) > np.iinfo(np.int64).max else np.int64)
    indices = given + np.arange(len(rows)) if given.shape == () else given
    bad = (rows & ((indices < 0) | (indices >= num_scenes))).astype(bool)
    if bad.any():
        raise ValueError(
            f"options['index'] must be 0 to {num_scenes - 1} in split {split!r}, got {indices[bad][0]}"
            + (f" for row {bad.argmax()}: give one a row" if given.shape == () and bad.argmax() else "")
        )
    return np.where(rows, indices, 0).astype(np.int64)  # what no row asks for may be too big


def seed(value: Any) -> int | None:
    """One seed, a non-negative integer or None; TypeError or ValueError for anything else."""
    if value is None:
        return None
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise TypeError(f"seed must be a non-negative integer, got {value!r}")
    if value < 0:
        raise ValueError(f"seed must be a non-negative integer, got {value!r}")
    return int(value)


def seeds(value: Any, num_envs: int) -> list[int | None]:
    """One seed or None a row: of an int s, s + i for row i. TypeError or ValueError for anything else."""
    if isinstance(value, list | tuple):
        if len(value) != num_envs:
            raise ValueError(f"seed must be an int or a list of {num_envs}, got {len(value)} seeds")
        return [seed(one) for one in value]
    first = seed(value)
    return [None if first is None else first + i for i in range(num_envs)]
