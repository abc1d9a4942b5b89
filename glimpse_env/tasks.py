"""Tasks: the answer space, when an answer counts, and its reward.

One task so far, classification: ten answers, taken in the last of `horizon` steps, reward 1 if right.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

NUM_ANSWERS = 10
NO_ANSWER = -1


def find_bad_action(gaze: NDArray[np.float32], answer: NDArray[np.int64], num_answers: int) -> str | None:
    """One sentence about the first row with a NaN gaze or an answer outside [0, num_answers), else None."""
    row, key = _bad_row(gaze, answer, num_answers)
    if row < 0:
        return None
    if key == 0:
        return f"action['gaze'] must not hold NaN, got {gaze[row].tolist()} in row {row}"
    return f"action['answer'] must be 0 to {num_answers - 1}, got {answer[row]} in row {row}"


@numba.njit(cache=True)
def _bad_row(gaze: NDArray[np.float32], answer: NDArray[np.int64], num_answers: int) -> tuple[int, int]:
    for b in range(answer.shape[0]):
        if np.isnan(gaze[b, 0]) or np.isnan(gaze[b, 1]):
            return b, 0
        if answer[b] < 0 or answer[b] >= num_answers:
            return b, 1
    return -1, 0


@numba.njit(cache=True)
def advance(
    skip: NDArray[np.bool_],
    gaze_action: NDArray[np.float32],
    answer_action: NDArray[np.int64],
    target: NDArray[np.int64],
    horizon: int,
    time: NDArray[np.int64],
    gaze: NDArray[np.float32],
    path: NDArray[np.float32],
    answer: NDArray[np.int64],
    reward: NDArray[np.float64],
    terminated: NDArray[np.bool_],
) -> None:
    """Apply one action to every row but those of `skip`, in place.

    time (B,) counts the glimpses seen. While it is below `horizon` the gaze (B, 2) moves, clipped to
    [-1, 1]², and is added to the scan path (B, horizon, 2); then the answer is taken and the episode ends.
    """
    for b in range(time.shape[0]):
        if skip[b]:
            continue
        if time[b] < horizon:
            for axis in range(2):
                gaze[b, axis] = min(max(gaze_action[b, axis], np.float32(-1)), np.float32(1))
                path[b, time[b], axis] = gaze[b, axis]
            time[b] += 1
        else:
            answer[b] = answer_action[b]
            reward[b] = 1.0 if answer[b] == target[b] else 0.0
            terminated[b] = True
