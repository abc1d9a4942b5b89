"""What there is to draw of an episode, and what is told of it in words."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from glimpse_env.render.pen import readable

WORD = "▁"  # what a piece begins with that begins a word


class View(NamedTuple):
    """What there is to draw of one episode.

    canvas: uint8 (C, H, W), or of a text the word ids int64 (N,), words of `tokens`. path: gazes so far
    (t, axes), the last is the present one. belief: probabilities (n,)
    or None, answer_names (n,) say of what. answers: given so far. target: the right ones, None until
    the episode has ended. Of an agent that sees the canvas and places its own windows there, in place of a
    retina: windows (t, 2, 3), affine maps [[s_x, k_x, x], [k_y, s_y, y]] from a square [-1, 1]² to the
    canvas, (x, y) a gaze and s the share of the canvas; patches uint8 (t, C, n, n), what it read there.
    blind: whether the eye was shut at the first gaze. context: the small view of the whole canvas, uint8
    (C, n, n), where the environment shows one. aim: where a person is about to look in a text, a gaze.
    question: word ids int64 (Q,), 0 beyond its end, where one is asked in words. attention: how much an agent
    that sees all attends to each word of a text, or to each place of a square grid on a picture, line by
    line, (N,) in [0, 1], in place of a window. says: whether the answers are words of a caption. finished:
    whether they all are given though there is no target, for nobody knows one. end: the answer that ends
    several, -1 where none does; words may have its name, too.
    """

    canvas: NDArray[np.uint8]
    path: NDArray[np.float32]
    retina_size: int
    scales: int
    horizon: int
    answer_names: tuple[str, ...]
    belief: NDArray[np.float32] | None
    answers: tuple[int, ...] = ()
    target: tuple[int, ...] | None = None
    windows: NDArray[np.float32] | None = None
    patches: NDArray[np.uint8] | None = None
    blind: bool = False
    context: NDArray[np.uint8] | None = None
    tokens: tuple[str, ...] = ()
    aim: float | None = None
    question: NDArray[np.int64] | None = None
    attention: NDArray[np.float32] | None = None
    says: bool = False
    finished: bool = False
    end: int = -1


def outcome(view: View) -> str:
    """What was answered, and whether it was right."""
    return f"answer {said(view, view.answers) or '(none)'}: {judged(view)}"


def judged(view: View) -> str:
    """Whether the answers were right, and if not, what would have been."""
    return "right" if view.answers == view.target else f"wrong, it is {said(view, view.target or ())}"


def said(view: View, answers: tuple[int, ...]) -> str:
    """Answers by their names; pieces of words are joined, and the end of several is left away."""
    if len(answers) > 1 and answers[-1] == view.end:
        answers = answers[:-1]
    names = [name_of(view.answer_names, answer) for answer in answers]
    apart = [answer == view.end or begins_a_word(view.answer_names, answer) for answer in answers]
    return "".join(f" {name}" if new else name for name, new in zip(names, apart, strict=True)).strip()


def name_of(names: tuple[str, ...], number: int) -> str:
    """The name of an answer, or of a word, as it is drawn."""
    return readable(names[number].removeprefix(WORD), number)


def begins_a_word(names: tuple[str, ...], number: int) -> bool:
    """Whether a space stands before a name: before all of them, but for pieces within a word."""
    in_pieces = any(name.startswith(WORD) for name in names)
    return not in_pieces or names[number].startswith(WORD)
