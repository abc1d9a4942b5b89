from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from glimpse_env.sensors.retina import (
    Retina,
    average,
    check_context,
    crop,
    gaze_to_pixel,
    integrate,
    look,
    patch_start,
    pool,
    read,
    sums_pay,
    take_in,
)


def slow_look(canvas: NDArray[np.uint8], gaze: tuple[float, float], size: int, scales: int) -> NDArray:
    """The retina by definition: pad with zeros, crop, average blocks. canvas (C, H, W)."""
    channels, height, width = canvas.shape
    out = []
    for k in range(scales):
        extent = size * 2**k
        x, y = (
            math.floor((g + 1) / 2 * (n - 1) + 1 - extent / 2)
            for g, n in zip(gaze, (width, height), strict=True)
        )
        margin = extent + max(height, width) * 4  # enough zeros for any gaze tried here
        padded = np.pad(canvas, ((0, 0), (margin, margin), (margin, margin)))
        crop = padded[:, y + margin : y + margin + extent, x + margin : x + margin + extent]
        blocks = crop.reshape(channels, size, 2**k, size, 2**k).astype(np.float64)
        out.append(blocks.mean((2, 4)) / 255)
    return np.concatenate(out)


coordinate = st.floats(-3, 3, width=32)


@settings(max_examples=300, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    channels=st.sampled_from([1, 3]),
    size=st.integers(1, 13),
    scales=st.integers(1, 5),
    gaze=st.tuples(coordinate, coordinate),
    seed=st.integers(0, 2**32 - 1),
)
def test_retina_equals_pad_crop_average(
    height: int,
    width: int,
    channels: int,
    size: int,
    scales: int,
    gaze: tuple[float, float],
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    canvas = rng.integers(0, 256, (2, channels, height, width), dtype=np.uint8)
    canvas[1] = 255  # the brightest canvas: sums wrap around most
    gazes = np.array([gaze, gaze[::-1]], np.float32)
    got = look(canvas, gazes, size, scales)
    for b in range(2):
        x, y = (float(g) for g in gazes[b])
        np.testing.assert_allclose(got[b], slow_look(canvas[b], (x, y), size, scales), atol=1e-6)


@pytest.mark.parametrize(
    ("gaze", "pixels", "pixel"),
    [(-1, 28, 0), (1, 28, 27), (0, 28, 13.5), (-1, 100, 0), (1, 100, 99), (0.5, 5, 3)],
)
def test_minus_one_is_the_first_pixel_and_one_the_last(gaze: float, pixels: int, pixel: float) -> None:
    assert gaze_to_pixel(gaze, pixels) == pixel


def test_patches_start_where_the_convention_says() -> None:
    assert patch_start(0.0, 28, 8) == 10  # pixels 10..17: as many left of the middle as right of it
    assert patch_start(-1.0, 28, 8) == -3
    assert patch_start(1.0, 28, 8) == 24
    assert patch_start(0.0, 5, 3) == 1  # an odd patch is centred on the pixel looked at


def test_a_glimpse_one_can_check_by_hand() -> None:
    canvas = np.zeros((1, 1, 4, 4), np.uint8)
    canvas[0, 0] = [[0, 51, 102, 153], [0, 51, 102, 153], [255, 255, 0, 0], [255, 255, 0, 0]]
    centre = look(canvas, np.zeros((1, 2), np.float32), size=2, scales=2)[0]
    np.testing.assert_allclose(centre[0], [[0.2, 0.4], [1.0, 0.0]])
    np.testing.assert_allclose(centre[1], [[0.1, 0.5], [1.0, 0.0]])
    # x to the right, y down: the top right corner; what lies outside is zero.
    corner = look(canvas, np.array([[1, -1]], np.float32), size=2, scales=2)[0]
    np.testing.assert_allclose(corner[0], [[0.6, 0.0], [0.6, 0.0]])
    np.testing.assert_allclose(corner[1], [[0.25, 0.0], [0.25, 0.0]], atol=1e-7)


def test_only_the_rows_asked_for_are_integrated() -> None:
    canvas = np.ones((2, 1, 3, 3), np.uint8)
    integral, context = np.zeros((2, 1, 4, 4), np.uint16), np.zeros((2, 1, 0, 0), np.float32)
    take_in(np.array([False, True]), canvas, integral, context)
    assert integral[0].max() == 0
    assert integral[1, 0].tolist() == [[0, 0, 0, 0], [0, 1, 2, 3], [0, 2, 4, 6], [0, 3, 6, 9]]


@pytest.mark.parametrize(
    ("canvas", "gaze", "size", "scales", "says"),
    [
        (np.zeros((1, 1, 4, 4)), np.zeros((1, 2)), 2, 1, "canvas"),
        (np.zeros((1, 4, 4), np.uint8), np.zeros((1, 2)), 2, 1, "canvas"),
        (np.zeros((1, 1, 4, 4), np.uint8), np.zeros((2, 2)), 2, 1, "gaze"),
        (np.zeros((1, 1, 4, 4), np.uint8), np.full((1, 2), np.nan), 2, 1, "gaze"),
        (np.zeros((1, 1, 4, 4), np.uint8), np.zeros((1, 2)), 0, 1, "retina_size"),
        (np.zeros((1, 1, 4, 4), np.uint8), np.zeros((1, 2)), 2, 6, "scales"),
    ],
)
def test_bad_input_is_named(canvas: NDArray, gaze: NDArray, size: int, scales: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        look(canvas, gaze, size, scales)


def test_a_context_is_as_coarse_as_16_bits_can_count() -> None:
    """On 95 white pixels a side: seven cells span 15 pixels each or less, 15² * 255 < 2^16; six span 17."""
    integral = np.zeros((1, 96, 96), np.uint16)
    integrate(np.full((1, 95, 95), 255, np.uint8), integral)
    out = np.zeros((1, 7, 7), np.float32)
    check_context(7, 95)
    pool(integral, out)
    assert (out == 1).all()
    with pytest.raises(ValueError, match="at least 7"):
        check_context(6, 95)


@pytest.mark.parametrize(("size", "pixels"), [(1, 9), (3, 9), (8, 28), (13, 9)])
def test_one_scale_is_cropped_to_what_is_read(size: int, pixels: int) -> None:
    rng = np.random.default_rng(0)
    canvas = rng.integers(0, 256, (64, 3, pixels, pixels)).astype(np.uint8)
    gaze = rng.uniform(-1, 1, (64, 2)).astype(np.float32)
    cropped = np.empty((64, 3, size, size), np.float32)
    crop(canvas, gaze, cropped)
    np.testing.assert_array_equal(cropped, look(canvas, gaze, size, 1))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 9), st.integers(1, 5), st.integers(0, 99))
def test_with_sums_and_without_the_same_is_seen(
    height: int, width: int, size: int, scales: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    canvas = rng.integers(0, 256, (3, 2, height, width), dtype=np.uint8)
    gaze = rng.uniform(-1.2, 1.2, (3, 2)).astype(np.float32)
    integral = np.zeros((3, 2, height + 1, width + 1), np.uint16)
    take_in(np.ones(3, np.bool_), canvas, integral, np.zeros((3, 2, 0, 0), np.float32))
    with_sums, without = np.empty((2, 3, scales * 2, size, size), np.float32)
    read(integral, gaze, with_sums)
    average(canvas, gaze, without)
    np.testing.assert_array_equal(with_sums, without)


def test_large_canvases_are_seen_without_sums_of_every_row() -> None:
    shape = (3, 256, 256)
    assert not sums_pay(shape, size=8, scales=3, glimpses=12)  # 4 * 12 * 64 * 21 = 64,512 of 65,536 pixels
    assert sums_pay(shape, size=8, scales=3, glimpses=13)
    assert not sums_pay(shape, size=99, scales=1, glimpses=99)
    canvas = np.random.default_rng(0).integers(0, 256, (2, *shape), dtype=np.uint8)
    gaze = np.zeros((2, 2), np.float32)
    few, many = (Retina(2, shape, 8, 3, context=32, glimpses=glimpses) for glimpses in (12, 13))
    seen = []
    for retina in (few, many):
        for row in (0, 1):  # one after the other, as rows begin
            retina.prepare(np.arange(2) == row, canvas)
        seen.append(retina.look(canvas, gaze))
    for key in ("retina", "context"):
        np.testing.assert_array_equal(seen[0][key], seen[1][key])
    blocks = canvas.reshape(2, 3, 32, 8, 32, 8).astype(np.float64)
    np.testing.assert_allclose(seen[0]["context"], blocks.mean((3, 5)) / 255, atol=1e-6)
