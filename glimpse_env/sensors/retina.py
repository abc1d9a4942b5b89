"""The retina: canvas + gaze -> glimpse, and the one coordinate convention of the project.

A gaze (x, y) in [-1, 1]² has x to the right and y down; -1 is the centre of the first pixel and +1 the
centre of the last, on every canvas size. Patch k of a glimpse covers `size * 2**k` canvas pixels a side,
average-pooled to `size`; it starts at pixel floor(p + 1 - size * 2**k / 2), p being the gazed-at point in
pixels, so that for an even size all patches share one centre. Outside the canvas is zero.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Space
from numpy.typing import NDArray

from glimpse_env import checks
from glimpse_env.kernels import kernel

MAX_SIZE = 1024
MAX_SCALES = 5  # 16x16 pixels of 255 still fit in 16 bits, see `integrate`


@kernel
def gaze_to_pixel(gaze: float, pixels: int) -> float:
    """Where a gaze coordinate in [-1, 1] falls on an axis of `pixels` pixels: in [0, pixels - 1]."""
    return (np.float64(gaze) + 1.0) * 0.5 * (pixels - 1)


@kernel
def patch_start(gaze: float, pixels: int, extent: int) -> int:
    """First pixel of a patch of `extent` pixels looked at with coordinate `gaze`; may lie off canvas."""
    return int(np.floor(gaze_to_pixel(gaze, pixels) + 1.0 - extent / 2.0))


class Retina:
    """The sensor for pixels: `scales` patches of `size` x `size`, and with `context` all of it, coarsely.

    canvas_shape: (C, H, W); glimpses: how many an episode has. Raises ValueError for a retina or a context
    that cannot be built, and for more rows than memory holds.
    """

    axes = 2

    def __init__(
        self,
        num_envs: int,
        canvas_shape: tuple[int, int, int],
        size: int,
        scales: int,
        context: int,
        glimpses: int,
    ) -> None:
        check_retina(size, scales)
        channels, height, width = self._canvas_shape = canvas_shape
        self.size, self.scales = size, scales
        self.context = checks.integer("context", context, 0, height)
        if context:
            check_context(context, height)
        self.shape = (scales * channels, size, size)
        self._summed = sums_pay(canvas_shape, size, scales, glimpses)
        pixels = math.prod(canvas_shape)
        bytes_of_sums = 2 * pixels if self._summed else 0
        seen = 4 * channels * (scales * size**2 + context**2) + 8 * glimpses  # the path is of gazes
        checks.rows_fit(num_envs, pixels + bytes_of_sums + seen)
        kept = num_envs if self._summed else 1  # one is enough for a context
        self._integral = np.zeros((kept, channels, height + 1, width + 1), np.uint16)
        self._context = np.zeros((num_envs, channels, context, context), np.float32)

    def spaces(self) -> dict[str, Space[Any]]:
        """What one row sees: `retina` (scales * C, size, size), and `context` (C, n, n), in [0, 1]."""
        seen: dict[str, Space[Any]] = {"retina": Box(0.0, 1.0, self.shape, np.float32)}
        if self.context:
            seen["context"] = Box(0.0, 1.0, self._context.shape[1:], np.float32)
        return seen

    def canvas_space(self) -> Space[Any]:
        """The whole canvas of one row, for agents that see it."""
        return Box(0.0, 1.0, self._canvas_shape, np.float32)

    def whole(self, canvas: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The canvases (B, C, H, W) as such agents see them: fresh, in [0, 1]."""
        return canvas.astype(np.float32) / np.float32(255)

    def prepare(self, rows: NDArray[np.bool_], canvas: NDArray[np.uint8]) -> None:
        """Take in the canvases (B, C, H, W) of `rows`, once a scene."""
        if self._summed or self.context:
            take_in(rows, canvas, self._integral, self._context)

    def look(self, canvas: NDArray[np.uint8], gaze: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """What every row sees at gaze (B, 2), as fresh arrays."""
        glimpse = np.empty((len(gaze), *self.shape), np.float32)
        if self._summed:
            read(self._integral, gaze, glimpse)
        elif self.scales > 1:
            average(canvas, gaze, glimpse)
        else:
            crop(canvas, gaze, glimpse)
        return {"retina": glimpse, **({"context": self._context.copy()} if self.context else {})}

    def coarse(self, row: int) -> NDArray[np.uint8] | None:
        """The context of a row as a picture, uint8 (C, n, n), or None where there is none."""
        return (255 * self._context[row] + 0.5).astype(np.uint8) if self.context else None

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({key: writable(value) for key, value in state.items()})


def writable(value: Any) -> Any:
    """An array that can be written: some ways of unpickling, as Ray's, give others, which become copies."""
    return value.copy() if isinstance(value, np.ndarray) and not value.flags.writeable else value


def sums_pay(canvas_shape: tuple[int, int, int], size: int, scales: int, glimpses: int) -> bool:
    """Whether sums over the canvas, two bytes a pixel, save an episode time; one scale averages nothing.

    To average a pixel takes about four times as long as to add it to the sums, which a scene needs once.
    """
    averaged = glimpses * size**2 * sum(4**k for k in range(scales))
    return scales > 1 and 4 * averaged > math.prod(canvas_shape[1:])


@kernel
def take_in(
    rows: NDArray[np.bool_],
    canvas: NDArray[np.uint8],
    integral: NDArray[np.uint16],
    context: NDArray[np.float32],
) -> None:
    """Integrate and pool canvas (B, C, H, W) where rows[b], in place.

    An integral of one row is written anew for each, which is enough for the context alone.
    """
    for b in range(rows.shape[0]):
        if rows[b]:
            sums = integral[b % integral.shape[0]]
            integrate(canvas[b], sums)
            if context.shape[2] > 0:
                pool(sums, context[b])


@kernel
def integrate(canvas: NDArray[np.uint8], integral: NDArray[np.uint16]) -> None:
    """Fill integral[c, i, j] = canvas[c, :i, :j].sum() modulo 2**16, (C, H + 1, W + 1), in place.

    Done once a scene, it makes every pooled pixel four look-ups whatever its scale (Crow 1984). The sums
    wrap around; the difference that gives one pooled pixel (at most 16 * 16 * 255) is exact all the same,
    and 16 bits halve the memory that a large batch has to move.
    """
    channels, height, width = canvas.shape
    for c in range(channels):
        for i in range(height):
            line = np.uint16(0)
            for j in range(width):
                line = np.uint16(line + canvas[c, i, j])
                integral[c, i + 1, j + 1] = integral[c, i, j + 1] + line


@kernel
def pool(integral: NDArray[np.uint16], out: NDArray[np.float32]) -> None:
    """Fill out (C, n, n), in [0, 1], with the whole canvas averaged to n x n, in place.

    Cell i covers the pixels from floor(i H / n) up to ceil((i + 1) H / n), as adaptive average pooling does.
    """
    channels, n, _ = out.shape
    height, width = integral.shape[1] - 1, integral.shape[2] - 1
    for c in range(channels):
        plane = integral[c]
        for i in range(n):
            top, bottom = i * height // n, ((i + 1) * height + n - 1) // n
            for j in range(n):
                left, right = j * width // n, ((j + 1) * width + n - 1) // n
                total = np.uint16(
                    plane[bottom, right] - plane[top, right] - plane[bottom, left] + plane[top, left]
                )
                out[c, i, j] = total / (255.0 * (bottom - top) * (right - left))


@kernel
def read(integral: NDArray[np.uint16], gaze: NDArray[np.float32], glimpse: NDArray[np.float32]) -> None:
    """Fill glimpse (B, scales * C, size, size), in [0, 1], scale-major, with what `gaze` (B, 2) sees."""
    batch, channels, height, width = integral.shape
    height, width = height - 1, width - 1
    size = glimpse.shape[2]
    columns = np.empty(size + 1, np.uint64)
    for b in range(batch):
        for k in range(glimpse.shape[1] // channels):
            factor = 1 << k
            start_x = patch_start(gaze[b, 0], width, size * factor)
            start_y = patch_start(gaze[b, 1], height, size * factor)
            for j in range(size + 1):
                columns[j] = min(max(start_x + j * factor, 0), width)
            mean = np.float32(1.0 / (255 * factor * factor))
            for c in range(channels):
                patch = glimpse[b, k * channels + c]
                for i in range(size):
                    top = integral[b, c, min(max(start_y + i * factor, 0), height)]
                    bottom = integral[b, c, min(max(start_y + i * factor + factor, 0), height)]
                    left = np.uint16(bottom[columns[0]] - top[columns[0]])
                    for j in range(size):
                        right = np.uint16(bottom[columns[j + 1]] - top[columns[j + 1]])
                        patch[i, j] = np.float32(np.uint16(right - left)) * mean
                        left = right


@kernel
def crop(canvas: NDArray[np.uint8], gaze: NDArray[np.float32], glimpse: NDArray[np.float32]) -> None:
    """As `read` with one scale, which averages nothing and so needs no integral."""
    batch, channels, height, width = canvas.shape
    size = glimpse.shape[2]
    unit = np.float32(1.0 / 255)
    for b in range(batch):
        start_x = patch_start(gaze[b, 0], width, size)
        start_y = patch_start(gaze[b, 1], height, size)
        for c in range(channels):
            for i in range(size):
                y = start_y + i
                for j in range(size):
                    x = start_x + j
                    seen = 0 <= y < height and 0 <= x < width
                    glimpse[b, c, i, j] = np.float32(canvas[b, c, y, x]) * unit if seen else np.float32(0)


@kernel
def average(canvas: NDArray[np.uint8], gaze: NDArray[np.float32], glimpse: NDArray[np.float32]) -> None:
    """As `read`, pixel by pixel, where sums over the whole canvas do not pay."""
    batch, channels, height, width = canvas.shape
    size = glimpse.shape[2]
    for b in range(batch):
        for k in range(glimpse.shape[1] // channels):
            factor = 1 << k
            start_x = patch_start(gaze[b, 0], width, size * factor)
            start_y = patch_start(gaze[b, 1], height, size * factor)
            mean = np.float32(1.0 / (255 * factor * factor))
            for c in range(channels):
                for i in range(size):
                    top, bottom = max(start_y + i * factor, 0), min(start_y + (i + 1) * factor, height)
                    for j in range(size):
                        left, right = max(start_x + j * factor, 0), min(start_x + (j + 1) * factor, width)
                        total = np.int64(0)
                        for y in range(top, bottom):
                            for x in range(left, right):
                                total += np.int64(canvas[b, c, y, x])
                        glimpse[b, k * channels + c, i, j] = np.float32(total) * mean


def check_context(context: int, canvas_size: int) -> None:
    """Raise ValueError if a cell of `pool` would hold more pixels than 16-bit sums can tell apart."""
    side = -(-canvas_size // context) + 1
    if side * side * 255 >= 2**16:
        raise ValueError(f"context must be at least {-(-canvas_size // 15)} on this canvas, got {context}")


def look(canvas: NDArray[np.uint8], gaze: NDArray[np.float32], size: int, scales: int) -> NDArray[np.float32]:
    """Glimpses (B, scales * C, size, size) in [0, 1] of canvas (B, C, H, W) uint8 at gaze (B, 2).

    Raises ValueError for arrays of another rank or dtype, a size below 1 and scales outside 1 to 5.
    """
    check_retina(size, scales)
    gaze = np.asarray(gaze, np.float32)
    if canvas.ndim != 4 or canvas.dtype != np.uint8:
        raise ValueError(f"canvas must be uint8 (B, C, H, W), got {canvas.dtype} {canvas.shape}")
    if gaze.shape != (len(canvas), 2) or not np.isfinite(gaze).all():
        raise ValueError(f"gaze must be finite numbers of shape ({len(canvas)}, 2), got {gaze}")
    retina = Retina(len(canvas), canvas.shape[1:], size, scales, context=0, glimpses=1)
    retina.prepare(np.ones(len(canvas), np.bool_), canvas)
    return retina.look(canvas, gaze)["retina"]


def check_retina(size: int, scales: int) -> None:
    """Raise ValueError unless a retina of `scales` patches of `size` x `size` can be built."""
    checks.integer("retina_size", size, 1, MAX_SIZE)
    checks.integer("scales", scales, 1, MAX_SCALES)
