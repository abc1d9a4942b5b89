"""DRAW at work as frames: the canvases being drawn, with the windows it reads and writes through."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.draw import DRAW, Stroke
from agents.playback import SECONDS_AT_THE_END, whole_file, write_film
from glimpse_env.render import Frame, tile

FORMATS = (".gif", ".mp4", ".png")
SECONDS_A_STEP = 0.2
ZOOM = 6
READ, WRITE = (92, 142, 222), (255, 194, 64)  # of the windows, blue and yellow


@torch.inference_mode()
def frames(model: DRAW, x: Tensor | None, count: int, seed: int = 0) -> list[Frame]:
    """A frame a step, `count` pictures tiled: drawn from x (count, C, H, W), or dreamt where it is None."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        strokes = model.dream(count) if x is None else model.reconstruct(x)
        return [tile(_pictures(stroke)) for stroke in strokes]


def save(path: Path, shown: list[Frame]) -> None:
    """Write frames as .gif or .mp4, or some of them side by side as .png; ValueError for another ending."""
    if path.suffix not in FORMATS:
        raise ValueError(f"{path} must end in one of {', '.join(FORMATS)}")
    seconds = [SECONDS_A_STEP] * (len(shown) - 1) + [SECONDS_AT_THE_END]
    if path.suffix == ".png":
        whole_file(path, lambda file: iio.imwrite(file, film_strip(shown)))
    else:
        whole_file(path, lambda file: write_film(file, shown, seconds))


def film_strip(shown: list[Frame], moments: int = 8) -> Frame:
    """Some of the frames side by side, the last one included."""
    chosen = np.linspace(0, len(shown) - 1, min(moments, len(shown))).round().astype(int)
    return np.concatenate([shown[i] for i in chosen], 1)


def _pictures(stroke: Stroke) -> list[Frame]:
    """Each canvas enlarged, with its windows."""
    canvas = (255 * torch.sigmoid(stroke.canvas)).round().to(torch.uint8).numpy()
    out = []
    for i, picture in enumerate(canvas):
        rgb = np.broadcast_to(picture, (3, *picture.shape[1:])).transpose(1, 2, 0)
        frame = np.pad(rgb.repeat(ZOOM, 0).repeat(ZOOM, 1), ((1, 1), (1, 1), (0, 0)), constant_values=40)
        for windows, color in ((stroke.read, READ), (stroke.write, WRITE)):
            if windows is not None:
                _outline(frame, windows[i].numpy(), color)
        out.append(frame)
    return out


def _outline(frame: Frame, theta: NDArray[np.float32], color: tuple[int, int, int]) -> None:
    """A square window [[s, 0, x], [0, s, y]] on an enlarged picture, in place."""
    pixels = (len(frame) - 2) // ZOOM
    middle = ((theta[:, 2] + 1) / 2 * (pixels - 1) + 0.5) * ZOOM + 1
    half = theta[0, 0] * pixels * ZOOM / 2
    left, top, right, bottom = (
        np.concatenate([middle - half, middle + half]).clip(0, len(frame) - 1).astype(int)
    )
    frame[top, left : right + 1] = frame[bottom, left : right + 1] = color
    frame[top : bottom + 1, left] = frame[top : bottom + 1, right] = color
