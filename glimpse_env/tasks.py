"""Tasks: what a scene's symbols ask for, when an answer counts, and what it earns.

`classify` names the one symbol, `sum` adds the digits, `unordered` names a pair whatever its order (one of
55), `read` names them one after the other from left to right, or backward from right to left, then END where
their number varies.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from glimpse_env import checks
from glimpse_env.kernels import kernel

TASKS = ("classify", "sum", "unordered", "read")
REWARDS = ("terminal", "per_answer", "score")
NO_ANSWER = -1
END = "end"
KEEP_LOOKING = "look"


class Task(NamedTuple):
    """What is asked.

    answers: the names of the answers. length: how many of them an episode takes at most. end: which one is
    END, or -1. backward: whether symbols are named from the last to the first.
    """

    name: str
    answers: tuple[str, ...]
    length: int
    end: int
    backward: bool = False

    def in_order(
        self, symbols: NDArray[np.int64], boxes: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Symbols (B, K), padded with -1, and their boxes (B, K, 4) in the order in which they are named."""
        if not self.backward:
            return symbols, boxes
        place, count = np.arange(symbols.shape[1]), (symbols >= 0).sum(1, keepdims=True)
        source = np.where(place < count, count - 1 - place, place)
        return np.take_along_axis(symbols, source, 1), np.take_along_axis(boxes, source[..., None], 1)

    def targets(self, digits: NDArray[np.int64]) -> NDArray[np.int64]:
        """The right answers (B, length), padded with -1, to symbols (B, K), in order, padded with -1."""
        if self.name == "classify":
            return digits
        if self.name == "sum":
            total: NDArray[np.int64] = digits.clip(0).sum(1, keepdims=True)
            return total
        if self.name == "unordered":
            low, high = digits.min(1, keepdims=True), digits.max(1, keepdims=True)
            pair: NDArray[np.int64] = high * (high + 1) // 2 + low
            return pair
        if self.end < 0:
            return digits
        targets = np.full((len(digits), self.length), NO_ANSWER, np.int64)
        targets[:, :-1] = digits
        targets[np.arange(len(digits)), (digits >= 0).sum(1)] = self.end
        return targets


def make_task(
    name: str, symbols: tuple[str, ...], max_digits: int, lengths_vary: bool, backward: bool = False
) -> Task:
    """The task `name` on scenes of up to `max_digits` of `symbols`; ValueError if it has none."""
    checks.choice("task", name, TASKS)
    if checks.flag("backward", backward) and name != "read":
        raise ValueError(
            f"backward is an order of reading: leave it out of task {name!r}, or use task='read'"
        )
    if name == "classify":
        if max_digits > 1:
            raise ValueError("task 'classify' names one digit: use 'read', 'sum' or 'unordered' for several")
        return Task(name, symbols, 1, -1)
    if name == "sum":
        if max_digits < 2 or symbols != tuple(map(str, range(len(symbols)))):
            raise ValueError("task 'sum' needs scenes of several digits, whose classes are named 0, 1, 2 …")
        return Task(name, tuple(map(str, range(max_digits * (len(symbols) - 1) + 1))), 1, -1)
    if name == "unordered":
        if max_digits != 2 or lengths_vary:
            raise ValueError("task 'unordered' needs scenes of two digits")
        pairs = tuple(f"{low}+{high}" for i, high in enumerate(symbols) for low in symbols[: i + 1])
        return Task(name, pairs, 1, -1)
    if lengths_vary:
        return Task(name, (*symbols, END), max_digits + 1, len(symbols), backward)
    return Task(name, symbols, max_digits, -1, backward)


def find_bad_action(gaze: NDArray[np.float32], answer: NDArray[np.int64], num_answers: int) -> str | None:
    """One sentence about the first row with a NaN gaze or an answer outside [0, num_answers), else None."""
    row, key = _bad_row(gaze, answer, num_answers)
    if row < 0:
        return None
    if key == 0:
        return f"action['gaze'] must not hold NaN, got {gaze[row].tolist()} in row {row}"
    return f"action['answer'] must be 0 to {num_answers - 1}, got {answer[row]} in row {row}"


@kernel
def _bad_row(gaze: NDArray[np.float32], answer: NDArray[np.int64], num_answers: int) -> tuple[int, int]:
    for b in range(answer.shape[0]):
        for axis in range(gaze.shape[1]):
            if np.isnan(gaze[b, axis]):
                return b, 0
        if answer[b] < 0 or answer[b] >= num_answers:
            return b, 1
    return -1, 0


@kernel
def advance(
    skip: NDArray[np.bool_],
    gaze_action: NDArray[np.float32],
    answer_action: NDArray[np.int64],
    ways: NDArray[np.int64],
    end: int,
    keep_looking: int,
    horizon: int,
    relative: bool,
    terminal: bool,
    per_answer: bool,
    step_cost: float,
    time: NDArray[np.int64],
    gaze: NDArray[np.float32],
    path: NDArray[np.float32],
    answers: NDArray[np.int64],
    given: NDArray[np.int64],
    agrees: NDArray[np.bool_],
    reward: NDArray[np.float64],
    terminated: NDArray[np.bool_],
) -> None:
    """Apply one action to every row but those of `skip`, in place.

    time (B,) counts the glimpses seen, given (B,) the answers, kept in answers (B, L); ways (B, R, L) are
    all that is right, each padded with -1. Without early answers (keep_looking is -1) an answer is taken
    after every horizon / L glimpses; with them, whenever it is not `keep_looking`. The episode ends with the
    last answer, with `end`, or with the last glimpse of the horizon. Else the gaze (B, axes) moves, clipped
    to [-1, 1], and is added to the scan path (B, horizon, axes). agrees (B, R): every answer so far was that
    of a way, and at the end none is missing. terminal: whether that is paid at the end; per_answer: whether
    each right answer is, up to the first wrong one.
    """
    length = ways.shape[2]
    share = horizon // length
    for b in range(time.shape[0]):
        if skip[b]:
            continue
        reward[b] = 0.0 - step_cost  # never -0.0
        due = time[b] % share == 0
        answering = answer_action[b] != keep_looking if keep_looking >= 0 else due
        done = False
        if answering:
            said = given[b]
            answers[b, said] = answer_action[b]
            given[b] = said + 1
            right = False
            for way in range(ways.shape[1]):
                if answer_action[b] != ways[b, way, said]:
                    agrees[b, way] = False
                right |= agrees[b, way]
            if per_answer and right:
                reward[b] += 1.0
            done = said + 1 == length or answer_action[b] == end
        if done or time[b] == horizon:
            right = False
            for way in range(ways.shape[1]):
                if given[b] < length and ways[b, way, given[b]] >= 0:
                    agrees[b, way] = False
                right |= agrees[b, way]
            if right and terminal:
                reward[b] += 1.0
            terminated[b] = True
            continue
        for axis in range(gaze.shape[1]):
            moved = gaze_action[b, axis] + (gaze[b, axis] if relative else np.float32(0))
            gaze[b, axis] = min(max(moved, np.float32(-1)), np.float32(1))
            path[b, time[b], axis] = gaze[b, axis]
        time[b] += 1
