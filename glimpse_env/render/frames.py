"""Frames: one of an episode, a small one of a word, one with a caption, several side by side."""

from __future__ import annotations

import numpy as np

from glimpse_env.render.parts import Layout
from glimpse_env.render.pen import BACKGROUND, TEXT, Frame, Pen
from glimpse_env.render.picture import assembled, draw_canvas, draw_picture, to_rgb
from glimpse_env.render.text import draw_text
from glimpse_env.render.view import View

SIZES: dict[Layout, tuple[int, int]] = {"full": (960, 540), "strip": (240, 492)}


def draw_frame(view: View, layout: Layout = "full", *, hide_canvas: bool = False) -> Frame:
    """One frame, uint8 (height, width, 3) as in SIZES.

    "full" is for one episode, "strip" (the same, upright) for many side by side.
    hide_canvas: show only what the retina has seen, as a person who plays may look.
    """
    pen = Pen(*SIZES[layout])
    draw = draw_text if view.tokens else draw_picture
    draw(pen, view, layout, hide_canvas=hide_canvas)
    return pen.frame()


def draw_word(view: View, word: str) -> Frame:
    """A small frame, uint8 (228, 200, 3): where the eye is on the canvas, and the word that it says there."""
    pen = Pen(200, 228)
    picture = to_rgb(view.canvas) if view.attention is None else assembled(view)
    alone = view._replace(path=view.path[-1:], target=None)
    draw_canvas(pen, alone, picture, (4, 4), 192, numbered=False)
    pen.text(word, 100, 212, min(22.0, 2.4 * 192 / max(len(word), 1)), TEXT, center=True)
    return pen.frame()


def caption(frame: Frame, text: str) -> Frame:
    """The frame (H, W, 3) with a line of text above it: (H + 32, W, 3)."""
    pen = Pen(frame.shape[1], 32)
    size = min(20.0, 2.4 * frame.shape[1] / max(len(text), 1))  # so that a long line fits a narrow frame
    pen.text(text, 8, 10, size, TEXT)
    return np.concatenate([pen.frame(), frame])


def tile(frames: tuple[Frame, ...] | list[Frame], columns: int | None = None) -> Frame:
    """Frames of one size in a grid, as square as it can be unless `columns` says otherwise."""
    columns = columns or int(np.ceil(np.sqrt(len(frames))))
    lines = -(-len(frames) // columns)
    height, width, _ = frames[0].shape
    sheet = np.full((lines * height, columns * width, 3), BACKGROUND, np.uint8)
    for i, frame in enumerate(frames):
        y, x = i // columns * height, i % columns * width
        sheet[y : y + height, x : x + width] = frame
    return sheet
