"""A picture of an episode on a canvas: the eye on it, what it sees, has seen, and believes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from glimpse_env.render.parts import (
    NO_BELIEF,
    Layout,
    draw_belief,
    draw_time,
    draw_time_or_outcome,
    verdict,
    wrap,
)
from glimpse_env.render.pen import BACKGROUND, FAINT, PANEL, PATH, SCALES, TEXT, UNSEEN, Color, Frame, Pen
from glimpse_env.render.view import View, outcome, said
from glimpse_env.sensors import retina

DIM = 0.2  # how bright what nobody attends to is
AT_ONCE = 32  # looks that are made together, each of which takes a copy of the canvas


def draw_picture(pen: Pen, view: View, layout: Layout, *, hide_canvas: bool) -> None:
    """Draw an episode on a frame of that layout; see `draw_frame`."""
    picture = assembled(view) if hide_canvas or view.attention is not None else to_rgb(view.canvas)
    if layout == "full":
        draw_canvas(pen, view, picture, (30, 32), 476)
        _draw_side(pen, view, 540, 388)
    else:
        draw_canvas(pen, view, picture, (8, 8), 224)
        draw_time_or_outcome(pen, view)
        patches = len(_shown(view))
        grid = 1 if patches == 1 else 2 if patches <= 4 else 3
        _draw_glimpse(pen, view, (8, 264), 108 / grid, columns=grid)
        pen.image(assembled(view), (124, 264), 108)
        pen.box(8, 380, 224, 106, PANEL)
        if view.belief is not None:
            draw_belief(pen, view, view.belief, 13, 383, 216, 100)
        else:
            pen.text(NO_BELIEF, 120, 433, 15, FAINT, center=True)


def draw_canvas(
    pen: Pen, view: View, picture: Frame, at: tuple[float, float], side: float, *, numbered: bool = True
) -> None:
    """The picture with the scan path and the retina's nested squares; a coloured frame at the end."""
    x0, y0 = at
    _, height, width = view.canvas.shape
    zoom = side / max(height, width)
    pen.image(picture, at, side)
    pen.clip(x0, y0, side, side)
    no_retina = view.windows is not None or view.attention is not None or _shut(view)
    for k in reversed(range(0 if no_retina else view.scales)):
        extent = view.retina_size * 2**k
        x = x0 + zoom * retina.patch_start(view.path[-1, 0], width, extent)
        y = y0 + zoom * retina.patch_start(view.path[-1, 1], height, extent)
        pen.box(x, y, zoom * extent, zoom * extent, SCALES[k], 2.5 if k == 0 else 1.5)
    if view.windows is not None:
        corner, across, down = (zoom * edge for edge in parallelogram(view.windows[-1], width, height))
        outline = [corner, corner + across, corner + across + down, corner + down, corner]
        pen.path([(x0 + float(x), y0 + float(y)) for x, y in outline], SCALES[0], 2.5)
    # A gaze names a pixel's centre, which lies half a pixel inside its drawn square.
    points = [
        (
            x0 + zoom * (retina.gaze_to_pixel(gx, width) + 0.5),
            y0 + zoom * (retina.gaze_to_pixel(gy, height) + 0.5),
        )
        for gx, gy in view.path[int(view.blind) :]
    ]
    pen.path(points, PATH, max(1.0, side / 300))
    radius = side / 45
    for i, (x, y) in enumerate(points):
        last = i == len(points) - 1
        pen.dot(x, y, radius * (1.0 if last else 0.85), BACKGROUND)
        pen.dot(x, y, radius * (0.85 if last else 0.7), SCALES[0] if last else PATH)
        if numbered:
            pen.text(str(i + 1), x, y, radius * 1.7, BACKGROUND, center=True)
    pen.unclip()
    if view.target is not None:
        pen.box(x0 - 4, y0 - 4, side + 8, side + 8, verdict(view), 4)


def _draw_side(pen: Pen, view: View, x: float, width: float) -> None:
    """Right of the canvas: what the eye sees, what it has seen, what it believes, the time left."""
    also = "" if view.context is None else ", AND LAST A SMALL VIEW OF ALL"
    pen.text("THE EYE SEES" + also, x, 32, 15, FAINT)
    patches = len(_shown(view))
    _draw_glimpse(pen, view, (x, 52), min(132.0, width / patches), columns=patches)
    pen.text("IT HAS SEEN", x, 196, 15, FAINT)
    pen.image(assembled(view), (x, 216), 172)

    pen.text("IT BELIEVES", x + 200, 196, 15, FAINT)
    pen.box(x + 200, 216, 188, 172, PANEL)
    if view.belief is not None:
        draw_belief(pen, view, view.belief, x + 208, 222, 172, 160)
    else:
        pen.text(NO_BELIEF, x + 294, 302, 15, FAINT, center=True)

    pen.text("TIME LEFT", x, 416, 15, FAINT)
    draw_time(pen, view, (x, 436), width)
    if view.target is not None:
        wrap(pen, outcome(view), x, 462, width, verdict(view))
    elif view.finished:
        wrap(pen, said(view, view.answers), x, 462, width, TEXT)
    elif view.answers:
        wrap(pen, f"so far {said(view, view.answers)}", x, 462, width, FAINT)


def _draw_glimpse(pen: Pen, view: View, at: tuple[float, float], cell: float, columns: int) -> None:
    """What is shown: the patches, finest first, each in a frame of its square's colour, and the context."""
    gap = cell / 10
    for k, (patch, color) in enumerate(_shown(view)):
        x, y = at[0] + k % columns * cell, at[1] + k // columns * cell
        pen.image(to_rgb(patch), (x, y), cell - gap)
        pen.box(x - 2, y - 2, cell - gap + 4, cell - gap + 4, color, 2)


def _glimpse(view: View) -> list[NDArray[np.uint8]]:
    """The patches (C, s, s) of the present glimpse, finest first, or that of its window."""
    if view.patches is not None:
        return [view.patches[-1]]
    if view.attention is not None:
        return [_place(view)]
    channels = len(view.canvas)
    glimpse = retina.look(view.canvas[None], view.path[-1:], view.retina_size, view.scales)[0]
    patches = (255 * glimpse * (not _shut(view)) + 0.5).astype(np.uint8)
    return [patches[k : k + channels] for k in range(0, len(patches), channels)]


def _place(view: View) -> NDArray[np.uint8]:
    """The place of the grid that is looked at most, (C, s, s), as much of it as lies on the canvas."""
    assert view.attention is not None
    _, height, width = view.canvas.shape
    side = math.isqrt(len(view.attention))
    line, column = divmod(int(view.attention.argmax()), side)
    cell = -(-max(height, width) // side)
    top, left = (min(at * cell, n - cell) for at, n in ((line, height), (column, width)))
    return view.canvas[:, top : top + cell, left : left + cell]


def _shown(view: View) -> list[tuple[NDArray[np.uint8], Color]]:
    """What the agent is shown at this moment and in which frame: the glimpse, last the context."""
    patches = list(zip(_glimpse(view), SCALES, strict=False))
    return patches if view.context is None else [*patches, (view.context, TEXT)]


def _shut(view: View) -> bool:
    """Whether the eye is shut at this moment."""
    return view.blind and len(view.path) == 1


def assembled(view: View) -> Frame:
    """The picture the eye has put together so far, (H, W, 3): the finest glimpse of each pixel wins."""
    if view.attention is not None:
        return lit(view.canvas, view.attention)
    _, height, width = view.canvas.shape
    picture = np.full((height, width, 3), UNSEEN, np.uint8)
    if view.windows is not None and view.patches is not None:
        pixels = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1)
        area = np.abs(np.linalg.det(view.windows[:, :, :2]))
        for i in np.argsort(-area, kind="stable"):
            theta, patch = view.windows[i], view.patches[i]
            corner, across, down = parallelogram(theta, width, height)
            place = (pixels - corner) @ np.linalg.pinv(np.stack([across, down]))
            inside = ((place >= 0) & (place < 1)).all(-1)
            column, row = (place[inside] * patch.shape[-1]).astype(int).T
            picture[inside] = to_rgb(patch)[row, column]
        return picture
    path = view.path[int(view.blind) :]
    glimpses = [
        glimpse
        for some in np.split(path, range(AT_ONCE, len(path), AT_ONCE))
        for glimpse in retina.look(
            np.repeat(view.canvas[None], len(some), 0), some, view.retina_size, view.scales
        )
    ]
    channels = len(view.canvas)
    for k in reversed(range(view.scales)):
        factor = 2**k
        for gaze, glimpse in zip(path, glimpses, strict=True):
            patch = (255 * glimpse[k * channels : (k + 1) * channels] + 0.5).astype(np.uint8)
            patch = to_rgb(patch).repeat(factor, 0).repeat(factor, 1)
            x = retina.patch_start(gaze[0], width, view.retina_size * factor)
            y = retina.patch_start(gaze[1], height, view.retina_size * factor)
            x0, x1 = max(x, 0), min(x + patch.shape[1], width)
            y0, y1 = max(y, 0), min(y + patch.shape[0], height)
            if x0 < x1 and y0 < y1:
                picture[y0:y1, x0:x1] = patch[y0 - y : y1 - y, x0 - x : x1 - x]
    return picture


def lit(canvas: NDArray[np.uint8], attention: NDArray[np.float32]) -> Frame:
    """A canvas (C, H, W) as it is attended to, (H, W, 3): the place that is looked at most is bright.

    attention (N,): of a square grid, line by line. One place alone is a square, several are light.
    """
    side = math.isqrt(len(attention))
    light = attention.reshape(side, side) / max(float(attention.max()), 1e-6)
    lines, columns = (np.linspace(-0.5, side - 0.5, n) for n in canvas.shape[1:])
    if (attention > 0).sum() == 1:
        light = light[np.rint(lines).astype(int).clip(0, side - 1)]
        light = light[:, np.rint(columns).astype(int).clip(0, side - 1)]
    else:
        light = np.stack([np.interp(lines, np.arange(side), column) for column in light.T], 1)
        light = np.stack([np.interp(columns, np.arange(side), line) for line in light])
    frame: Frame = (to_rgb(canvas) * (DIM + (1 - DIM) * light[..., None])).astype(np.uint8)
    return frame


def parallelogram(
    theta: NDArray[np.float32], width: int, height: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """A window's first corner and its edges, across and down, in pixels from the canvas's corner."""
    size = np.array([width, height], np.float64)
    middle = (theta[:, 2] + 1) / 2 * (size - 1) + 0.5
    across, down = theta[:, 0] * size, theta[:, 1] * size
    return middle - (across + down) / 2, across, down


def to_rgb(picture: NDArray[np.uint8]) -> Frame:
    """(C, H, W) with one or three channels -> (H, W, 3)."""
    return np.ascontiguousarray(np.broadcast_to(picture, (3, *picture.shape[1:])).transpose(1, 2, 0))
