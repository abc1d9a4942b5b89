"""Differentiable reads: Gaussian filterbanks, affine sampling and the soft argmax of a heat map.

Points are gazes in [-1, 1]², x to the right, y down; -1 and +1 are the centres of the outer pixels, as
everywhere. All is computed in float32, also inside an autocast: in bfloat16 a place is half a pixel off.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from agents.device import full_precision

MAX_LOG = 5.0  # bound of every logarithm that a network gives, and half of log sigma²'s: e^5 is 148
FAR = 1e4  # pixels; no window reaches that far, and its square is finite
MIN_SIGMA, MAX_SIGMA = 0.1, 50.0  # of a filter, in pixels; at 0.1 it reads one pixel alone


class Filters(NamedTuple):
    """A square grid of Gaussians: center (B, 2), a gaze; stride, sigma (B,) in pixels; gain (B,)."""

    center: Tensor
    stride: Tensor
    sigma: Tensor
    gain: Tensor


def filters_of(numbers: Tensor, count: int, pixels: int) -> Filters:
    """What a network says, (B, 5), as `count` x `count` filters on `pixels` (DRAW, equations 21-24).

    The numbers are the centre, log sigma², log of the stride over that which spans the canvas, log gain.
    """
    with full_precision(numbers):
        x, y, log_variance, log_stride, log_gain = at_least_float32(numbers).unbind(1)
        spanning = (pixels - 1) / max(count - 1, 1)
        return Filters(
            torch.stack([x, y], 1),
            spanning * bounded(log_stride).exp(),
            (0.5 * bounded(log_variance, 2 * MAX_LOG)).exp().clamp(MIN_SIGMA, MAX_SIGMA),
            bounded(log_gain).exp(),
        )


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor in float32, unless it is in float64."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def limit_gradient(rows: Tensor, limit: float) -> None:
    """Shorten the gradient of each of the rows (B, n) to limit / B at most, B being the rows that still play.

    What says where to read changes what is read, and that what says where to read next: eight glimpses on,
    the gradient of some scenes is a hundred thousand times that of others (results/LOG.md). A limit of
    0 is none.
    Graves (2013, section 2.1) limits what an LSTM's inputs get; here it is what places a window, and by its
    length.
    """
    if limit and rows.requires_grad:
        longest = limit / len(rows)
        rows.register_hook(  # type: ignore[no-untyped-call]  # torch's
            lambda gradient: gradient * (longest / gradient.norm(dim=1, keepdim=True)).clamp(max=1)
        )


def bounded(logarithm: Tensor, bound: float = MAX_LOG) -> Tensor:
    """Within [-bound, bound], so that no power of e overflows."""
    return logarithm.clamp(-bound, bound)


def filterbank(center: Tensor, stride: Tensor, sigma: Tensor, count: int, pixels: int) -> Tensor:
    """F[b, i, a], (B, count, pixels), each row of sum 1 (DRAW, equations 19, 20, 25, 26).

    center (B,): one coordinate of a gaze; stride, sigma (B,): in pixels. Row i is a Gaussian around pixel
    (center + 1) / 2 (pixels - 1) + (i - (count - 1) / 2) stride. It is normalised as a softmax, so that a
    narrow filter between pixels, or off the canvas, still reads the nearest one; the paper's sum over pixels
    would be 0 / 0 there.
    """
    with full_precision(center):
        center, stride, sigma = map(at_least_float32, (center, stride, sigma))
        steps = torch.arange(count, device=center.device) - (count - 1) / 2
        mean = ((center + 1) * 0.5 * (pixels - 1))[:, None] + steps * stride[:, None]
        mean = mean.clamp(-FAR, FAR)
        distance = torch.arange(pixels, device=center.device) - mean[..., None]
        return torch.softmax(distance.square() * (-0.5 / sigma.square())[:, None, None], -1)


def filter_read(canvas: Tensor, filters: Filters, count: int) -> Tensor:
    """Gain * F_y canvas F_x^T (DRAW, equation 27): canvas (B, C, H, W) -> (B, C, count, count)."""
    with full_precision(canvas):
        down, across = _banks(filters, count, canvas.shape[2], canvas.shape[3])
        patch = down[:, None] @ at_least_float32(canvas) @ across[:, None].mT
        return filters.gain[:, None, None, None] * patch


def filter_write(patch: Tensor, filters: Filters, height: int, width: int) -> Tensor:
    """F_y^T patch F_x / gain (DRAW, equation 29): patch (B, C, N, N) -> canvas (B, C, height, width)."""
    with full_precision(patch):
        down, across = _banks(filters, patch.shape[2], height, width)
        quiet = at_least_float32(patch) / filters.gain[:, None, None, None]
        return down[:, None].mT @ quiet @ across[:, None]


def _banks(filters: Filters, count: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    center, stride, sigma, _ = filters
    down = filterbank(center[:, 1], stride, sigma, count, height)
    return down, filterbank(center[:, 0], stride, sigma, count, width)


def affine_read(canvas: Tensor, theta: Tensor, size: int) -> Tensor:
    """Bilinear samples of canvas (B, C, H, W) where theta (B, 2, 3) says: (B, C, size, size); zero outside.

    theta is [[s_x, k_x, x], [k_y, s_y, y]] (Jaderberg et al. 2015, equation 1): (x, y) is the gaze, s the
    share of the canvas that the window spans, so that s = size / W reads `size` neighbouring pixels.
    """
    with full_precision(canvas):
        height, width = canvas.shape[2:]
        # torch's ±1 are the outer edges of the outer pixels, a gaze's their centres.
        theta = at_least_float32(theta)
        shrink = theta.new_tensor([(width - 1) / width, (height - 1) / height])
        theta = torch.cat([theta[..., :2], (theta[..., 2] * shrink)[..., None]], -1)
        grid = F.affine_grid(theta, [len(canvas), canvas.shape[1], size, size], align_corners=False)
        return F.grid_sample(at_least_float32(canvas), grid, align_corners=False)


def window_of(filters: Filters, count: int, pixels: int) -> Tensor:
    """The square that the filters cover, as the theta (B, 2, 3) of `affine_read`."""
    share = filters.stride * count / pixels
    zero = torch.zeros_like(share)
    x, y = filters.center.unbind(1)
    return torch.stack([share, zero, x, zero, share, y], 1).view(-1, 2, 3)


def soft_argmax(heat: Tensor, first: float, step: float, pixels: int) -> Tensor:
    """The mean place under softmax(heat), a gaze: heat (B, h, w) -> (B, 2).

    Cell i of an axis lies at pixel first + i * step of a canvas of `pixels`.
    """
    with full_precision(heat):
        heat = at_least_float32(heat)
        belief = heat.flatten(1).softmax(1).view_as(heat)
        cells = (torch.arange(n, device=heat.device) for n in heat.shape[1:])
        rows, columns = (2 * (first + step * cell) / (pixels - 1) - 1 for cell in cells)
        return torch.stack([(belief.sum(1) * columns).sum(1), (belief.sum(2) * rows).sum(1)], 1)
