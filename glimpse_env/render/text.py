"""A picture of an episode over a text: the words, the window on them, what was read, written and believed."""

from __future__ import annotations

import numpy as np

from glimpse_env.render.parts import (
    NO_BELIEF,
    Layout,
    draw_belief,
    draw_time,
    draw_time_or_outcome,
    verdict,
    wrap,
)
from glimpse_env.render.pen import BACKGROUND, FAINT, PANEL, SCALES, TEXT, UNSEEN, Color, Pen
from glimpse_env.render.view import View, begins_a_word, judged, name_of, said
from glimpse_env.sensors.retina import patch_start

SMALLEST, LARGEST = 9, 28  # letters of the text
LINE = 1.9  # height of a line, in letters
GAP = 0.55  # between words, in letters


def draw_text(pen: Pen, view: View, layout: Layout, *, hide_canvas: bool) -> None:
    """Draw an episode over a text on a frame of that layout; see `draw_frame`."""
    question = (
        "" if view.question is None else " ".join(name_of(view.tokens, int(i)) for i in view.question if i)
    )
    if layout == "full":
        _draw_words(pen, view, (30, 32), (900, 200 if question else 230), hide_canvas)
        if question:
            letters, asked = _fit(question, 20, 840)
            pen.text("ASKED", 30, 244, 13, FAINT)
            pen.text(asked, 86, 240, letters, TEXT)
        pen.text("IT HAS SAID", 30, 286, 15, FAINT)
        spoken = said(view, view.answers) or "(nothing yet)"
        _paragraph(pen, spoken, (30, 308), (500, 96), TEXT if view.answers else FAINT)
        pen.text("TIME LEFT", 30, 416, 15, FAINT)
        draw_time(pen, view, (30, 436), 480)
        if view.target is not None:
            wrap(pen, judged(view), 30, 458, 500, verdict(view))  # what it said is above
        pen.text("IT BELIEVES", 560, 286, 15, FAINT)
        pen.box(560, 306, 370, 200, PANEL)
        if view.belief is not None:
            draw_belief(pen, view, view.belief, 570, 312, 350, 188)
        else:
            pen.text(NO_BELIEF, 745, 406, 15, FAINT, center=True)
        return
    _draw_words(pen, view, (8, 8), (224, 190 if question else 224), hide_canvas)
    if question:
        letters, asked = _fit(question, 16, 224)
        pen.text(asked, 8, 210, letters, TEXT)
    draw_time_or_outcome(pen, view)
    pen.text("said", 8, 268, 14, FAINT)
    letters, spoken = _fit(said(view, view.answers), 18, 186)
    pen.text(spoken, 44, 265, letters, TEXT)
    pen.box(8, 292, 224, 194, PANEL)
    if view.belief is not None:
        draw_belief(pen, view, view.belief, 13, 296, 216, 186)
    else:
        pen.text(NO_BELIEF, 120, 389, 15, FAINT, center=True)


def _draw_words(
    pen: Pen, view: View, at: tuple[float, float], size: tuple[float, float], hide_unseen: bool
) -> None:
    """The text, wrapped: words that were seen are bright, those in the window framed, each gaze numbered.

    Of a text that is too long for it, the lines around the window. What an agent that sees all attends to is
    shaded instead, the most attended word the brightest.
    """
    x0, y0 = at
    pen.box(x0, y0, *size, UNSEEN)
    if view.target is not None:
        pen.box(x0 - 4, y0 - 4, size[0] + 8, size[1] + 8, verdict(view), 4)
    ids = view.canvas[: int(np.flatnonzero(view.canvas).max(initial=-1)) + 1]
    words = [name_of(view.tokens, int(i)) for i in ids]
    apart = [begins_a_word(view.tokens, int(i)) for i in ids]
    letters, spots = _wrap(words, apart, size[0] - 20, size[1] - 20)
    windows = [
        range(first, first + view.retina_size)
        for first in (patch_start(gaze[0], len(view.canvas), view.retina_size) for gaze in view.path)
    ]
    seen = {place for window in windows[int(view.blind) :] for place in window}
    now = windows[-1] if not (view.blind and len(windows) == 1) else ()
    looks: dict[int, list[str]] = {}
    for i, gaze in enumerate(view.path):
        if i >= int(view.blind):
            looks.setdefault(patch_start(gaze[0], len(view.canvas), 1), []).append(str(i + 1))
    line, lines = LINE * letters, int((size[1] - 20) / (LINE * letters))
    present = min(max(patch_start(view.path[-1][0], len(view.canvas), 1), 0), len(spots) - 1)
    if view.attention is not None:
        present = int(view.attention[: len(spots)].argmax()) if spots else 0
    highest = max(spots[-1][1] - (lines - 1) * line, 0) if spots else 0.0
    first_y = min(max(spots[present][1] - lines // 2 * line, 0), highest) if spots else 0.0
    numbered = (0.0, 0.0)  # where the last number of a gaze ends
    for place, (word, (x, y, width)) in enumerate(zip(words, spots, strict=True)):
        if not first_y - 0.5 * line < y < first_y + (lines - 0.5) * line:
            continue
        left, top = x0 + 10 + x, y0 + 10 + y - first_y
        if view.attention is not None:
            share = 0.75 * float(view.attention[place]) / max(float(view.attention.max()), 1e-6)
            shade = [round(a + share * (b - a)) for a, b in zip(UNSEEN, SCALES[0], strict=True)]
            pen.box(left, top - 3, width, letters + 6, (shade[0], shade[1], shade[2]))
        elif place in now:
            pen.box(left - 3, top - 3, width + 6, letters + 6, BACKGROUND)
            pen.box(left - 3, top - 3, width + 6, letters + 6, SCALES[0], 2)
        if hide_unseen and place not in seen and view.attention is None:
            pen.box(left, top, width, letters, PANEL)
        else:
            bright = place in seen or view.attention is not None
            pen.text(word, left, top, letters, TEXT if bright else FAINT)
        if view.aim is not None and 0 <= place - patch_start(view.aim, len(view.canvas), view.retina_size) < (
            view.retina_size
        ):
            pen.box(left, top + 1.12 * letters, width, 2, TEXT)
        if place in looks and view.attention is None:
            small, middle = 0.62 * letters, left + width / 2
            told = [",".join(looks[place][-count:]) for count in (3, 2, 1)]  # the last, as many as fit
            number = next((text for text in told if pen.width(text, small) <= width), told[-1])
            half = pen.width(number, small) / 2
            if (top, middle - half) > numbered:  # beside the number before it, and not on it
                pen.text(number, middle, top + 1.35 * letters, small, SCALES[0], center=True)
                numbered = (top, middle + half + 0.2 * letters)


def _paragraph(pen: Pen, text: str, at: tuple[float, float], size: tuple[float, float], color: Color) -> None:
    """A text in as many lines as fit, as large as they fit; one that is too long loses its first lines."""
    words = text.split()
    letters, spots = _wrap(words, [True] * len(words), size[0], size[1], 1.25)
    line = 1.25 * letters
    first = max(spots[-1][1] - size[1] + line, 0) if spots else 0.0
    for word, (x, y, _) in zip(words, spots, strict=True):
        if y > first - 0.5 * line:
            pen.text(word, at[0] + x, at[1] + y - first, letters, color)


def _fit(text: str, letters: float, width: float) -> tuple[float, str]:
    """The size of letters, at most so large, at which a text fits; a long one loses its beginning."""
    fitting = letters * width / max(Pen.width(text, letters), 1.0)
    if fitting >= 0.5 * letters:
        return min(letters, fitting), text
    text = "…" + text[-int(2 * len(text) * fitting / letters) :]
    return 0.5 * letters, text


def _wrap(
    words: list[str], apart: list[bool], width: float, height: float, spacing: float = LINE
) -> tuple[float, list[tuple[float, float, float]]]:
    """The size of letters at which the words fit, or the smallest; of each word its place and width.

    apart: whether a space stands before a word. spacing: the height of a line, in letters.
    """
    for letters in range(LARGEST, SMALLEST - 1, -1):
        spots, x, y = [], 0.0, 0.0
        for word, space in zip(words, apart, strict=True):
            wide = Pen.width(word, letters)
            x += GAP * letters * (space and x > 0)
            if x > 0 and x + wide > width:
                x, y = 0.0, y + spacing * letters
            spots.append((x, y, wide))
            x += wide
        if y + spacing * letters <= height:
            break
    return letters, spots
