"""DRAW at work as frames: the canvases being drawn, with the windows it reads and writes through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.agent import device_of
from agents.device import seeded
from agents.learn.files import write_whole
from agents.models.draw import DRAW, Stroke
from agents.show.playback import SECONDS_AT_THE_END, write_film, write_picture
from glimpse_env.render import parallelogram, tile
from glimpse_env.render.pen import Frame

FORMATS = (".gif", ".mp4", ".png")
SECONDS_A_STEP = 0.2
ZOOM = 6
READ, WRITE = (92, 142, 222), (255, 194, 64)  # of the windows, blue and yellow


@torch.inference_mode()
def drawn(model: DRAW, x: Tensor | None, count: int, seed: int = 0) -> list[list[Frame]]:
    """Each step's `count` pictures: drawn from x (count, C, H, W), or dreamt where it is None."""
    with seeded(seed, device_of(model)):
        strokes = model.dream(count) if x is None else model.reconstruct(x)
        return [pictures_of(stroke) for stroke in strokes]


def save(path: Path, steps: list[list[Frame]], x: Tensor | None = None) -> None:
    """Write `drawn` steps as .gif or .mp4, or some of them as .png, after x, what they were drawn from.

    Raises ValueError for another ending.
    """
    if path.suffix not in FORMATS:
        raise ValueError(f"{path} must end in one of {', '.join(FORMATS)}")
    seconds = [SECONDS_A_STEP] * (len(steps) - 1) + [SECONDS_AT_THE_END]
    if path.suffix == ".png":
        originals = [] if x is None else [[_enlarged((255 * picture).byte()) for picture in x]]
        write_whole(path, lambda file: write_picture(file, film_strip(steps, originals)))
    else:
        write_whole(path, lambda file: write_film(file, [tile(step) for step in steps], seconds))


def film_strip(steps: list[list[Frame]], before: list[list[Frame]], moments: int = 8) -> Frame:
    """A row a picture, a column a step: what comes `before`, and some of the steps, the last one included."""
    chosen = np.linspace(0, len(steps) - 1, min(moments, len(steps))).round().astype(int)
    columns = [*before, *(steps[i] for i in chosen)]
    return tile([column[row] for row in range(len(steps[0])) for column in columns], columns=len(columns))


def pictures_of(stroke: Stroke) -> list[Frame]:
    """Each canvas of a step enlarged, with its windows."""
    canvas = (255 * torch.sigmoid(stroke.canvas)).round().byte().cpu()
    out = []
    for i, picture in enumerate(canvas):
        frame = _enlarged(picture)
        for windows, color in ((stroke.read, READ), (stroke.write, WRITE)):
            if windows is not None:
                _outline(frame, windows[i].cpu().numpy(), color)
        out.append(frame)
    return out


def _enlarged(picture: Tensor) -> Frame:
    """uint8 (C, H, W) -> a frame with a grey border of one pixel."""
    rgb = picture.expand(3, -1, -1).permute(1, 2, 0).numpy()
    return np.pad(rgb.repeat(ZOOM, 0).repeat(ZOOM, 1), ((1, 1), (1, 1), (0, 0)), constant_values=40)


def _outline(frame: Frame, theta: NDArray[np.float32], color: tuple[int, int, int]) -> None:
    """A square window [[s, 0, x], [0, s, y]] on an enlarged picture with a border of 1, in place."""
    pixels = (len(frame) - 2) // ZOOM
    corner, across, down = parallelogram(theta, pixels, pixels)
    corners = np.concatenate([corner, corner + across + down]) * ZOOM + 1
    left, top, right, bottom = corners.round().clip(0, len(frame) - 1).astype(int)
    frame[top, left : right + 1] = frame[bottom, left : right + 1] = color
    frame[top : bottom + 1, left] = frame[top : bottom + 1, right] = color
