"""Parts that pictures of all scenes have: the belief, the time left, the verdict, a text in some lines."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from glimpse_env.render.pen import BELIEF, FAINT, PANEL, RIGHT, SCALES, TEXT, WRONG, Color, Pen
from glimpse_env.render.view import View, name_of, outcome

Layout = Literal["full", "strip"]
MAX_BARS = 13  # of belief, one below the other
LONGEST_NAME = 12  # of an answer beside its bar
NO_BELIEF = "(no belief offered)"


def draw_belief(
    pen: Pen, view: View, belief: NDArray[np.float32], x: float, y: float, w: float, h: float
) -> None:
    """One bar an answer: its name, its probability; the leading one is bright, in the verdict's colour.

    Of more answers than two columns hold, the most probable ones.
    """
    best_first = np.argsort(-belief, kind="stable")
    answers = best_first[:MAX_BARS] if len(belief) > 2 * MAX_BARS else np.arange(len(belief))
    columns = -(-len(answers) // MAX_BARS)
    lines = -(-len(answers) // columns)
    line, column = h / lines, w / columns
    whole = {answer: name_of(view.answer_names, int(answer)) for answer in answers}
    names = {
        answer: name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
        for answer, name in whole.items()
    }
    label = min(15.0, line) * 0.55 * max(map(len, names.values())) + 7
    for i, answer in enumerate(answers):
        left, top = x + i // lines * column, y + i % lines * line
        p, color, ink = belief[answer], BELIEF, FAINT
        if answer == best_first[0]:
            color, ink = SCALES[0] if view.target is None else verdict(view), TEXT
        pen.text(names[answer], left, top + 1, min(15.0, line), ink)
        pen.box(left + label, top + 0.15 * line, max(1.0, float(p) * (column - label - 4)), 0.7 * line, color)


def draw_time(pen: Pen, view: View, at: tuple[float, float], width: float) -> None:
    """One segment a glimpse of the horizon: used ones are dim, those left are bright."""
    x, y = at
    step = width / view.horizon
    if step < 1:  # too narrow to be drawn one by one
        pen.box(x, y, width, 12, SCALES[0])
        pen.box(x, y, step * len(view.path), 12, PANEL)
        return
    for i in range(view.horizon):
        used = i < len(view.path)
        pen.box(x + i * step, y, step - min(4.0, step / 4), 12, PANEL if used else SCALES[0])


def draw_time_or_outcome(pen: Pen, view: View) -> None:
    """In a line of a strip: the time left, and at the end what was answered."""
    if view.target is None:
        draw_time(pen, view, (8, 242), 224)
    else:
        text = outcome(view)
        pen.text(text, 8, 241, min(17.0, 2.4 * 224 / len(text)), verdict(view))


def verdict(view: View) -> Color:
    """The colour of a right or a wrong end."""
    return RIGHT if view.answers == view.target else WRONG


def wrap(pen: Pen, text: str, x: float, y: float, width: float, color: Color) -> None:
    """A text in a line, or in as many smaller ones as it takes."""
    for size in (32.0, 24.0, 20.0, 17.0):
        lines = [""]
        for word in text.split(" "):
            longer = f"{lines[-1]} {word}".strip()
            if pen.width(longer, size) <= width or not lines[-1]:
                lines[-1] = longer
            else:
                lines.append(word)
        if len(lines) * size <= 66:
            break
    for number, line in enumerate(lines):
        pen.text(line, x, y + (10 if len(lines) == 1 else number * size), size, color)
