"""The differentiable reads against loops, against the environment's retina, and at their extremes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from agents.parts import windows as attention
from agents.parts.windows import Filters
from glimpse_env.sensors.retina import look

GENERATOR = torch.Generator().manual_seed(5)


def slow_filterbank(center: float, stride: float, sigma: float, count: int, pixels: int) -> list[list[float]]:
    """DRAW's equations 19, 20, 25 and 26 as written, with 0-based pixels and filters."""
    rows = []
    for i in range(count):
        mean = (center + 1) / 2 * (pixels - 1) + (i - (count - 1) / 2) * stride
        row = [math.exp(-((a - mean) ** 2) / (2 * sigma**2)) for a in range(pixels)]
        rows.append([value / sum(row) for value in row])
    return rows


def canvases(batch: int, size: int) -> torch.Tensor:
    return torch.rand(batch, 1, size, size, generator=GENERATOR)


def retina_at(canvas: torch.Tensor, gaze: torch.Tensor, size: int) -> torch.Tensor:
    """What the environment's retina of one scale reads."""
    return torch.from_numpy(look((255 * canvas).round().to(torch.uint8).numpy(), gaze.numpy(), size, 1))


def between_pixels(batch: int, pixels: int, first: int, last: int) -> torch.Tensor:
    """Gazes half way between two pixels, where a patch of even size is centred."""
    pixel = torch.randint(first, last, (batch, 2), generator=GENERATOR) + 0.5
    return 2 * pixel / (pixels - 1) - 1


@settings(deadline=None, max_examples=40)
@given(st.floats(-1, 1), st.floats(0.3, 9), st.floats(0.5, 6), st.integers(1, 7), st.integers(2, 40))
def test_filterbank_is_the_papers(
    center: float, stride: float, sigma: float, count: int, pixels: int
) -> None:
    mean = [(center + 1) / 2 * (pixels - 1) + (i - (count - 1) / 2) * stride for i in (0, count - 1)]
    if mean[0] < -3 * sigma or mean[1] > pixels - 1 + 3 * sigma:
        reject()  # off the canvas the paper's normaliser underflows
    numbers = torch.tensor([[center], [stride], [sigma]], dtype=torch.float64)
    bank = attention.filterbank(*numbers, count, pixels)
    wanted = slow_filterbank(center, stride, sigma, count, pixels)
    torch.testing.assert_close(bank, torch.tensor([wanted], dtype=torch.float64))


def test_a_unit_filter_reads_what_the_retina_reads() -> None:
    canvas = (255 * canvases(6, 30)).round() / 255
    gaze = between_pixels(6, 30, 5, 24)
    unit = Filters(gaze, torch.ones(6), torch.full((6,), 0.1), torch.ones(6))
    torch.testing.assert_close(attention.filter_read(canvas, unit, 8), retina_at(canvas, gaze, 8))


def test_affine_window_reads_what_the_retina_reads_off_the_canvas_too() -> None:
    canvas = (255 * canvases(8, 30)).round() / 255
    gaze = between_pixels(8, 30, 0, 29)
    theta = torch.zeros(8, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 8 / 30
    theta[:, :, 2] = gaze
    read = attention.affine_read(canvas, theta, 8)
    torch.testing.assert_close(read, retina_at(canvas, gaze, 8), rtol=1e-4, atol=1e-5)


def test_affine_window_of_twice_the_pixels_is_the_second_scale() -> None:
    canvas = (255 * canvases(8, 32)).round() / 255
    gaze = between_pixels(8, 32, 0, 31)
    theta = torch.zeros(8, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 16 / 32
    theta[:, :, 2] = gaze
    second = torch.from_numpy(look((255 * canvas).round().to(torch.uint8).numpy(), gaze.numpy(), 8, 2))[:, 1:]
    torch.testing.assert_close(attention.affine_read(canvas, theta, 8), second, rtol=1e-4, atol=1e-5)


def test_the_identity_reads_the_canvas() -> None:
    canvas = canvases(2, 17)
    identity = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(2, 2, 3)
    torch.testing.assert_close(attention.affine_read(canvas, identity, 17), canvas, rtol=1e-5, atol=1e-5)


def test_x_is_across_and_y_is_down() -> None:
    canvas = torch.zeros(1, 1, 21, 21)
    canvas[0, 0, 5, 15] = 1  # row 5, column 15: gaze (0.5, -0.5)
    theta = torch.tensor([[[1 / 21, 0, 0.5], [0, 1 / 21, -0.5]]])
    assert attention.affine_read(canvas, theta, 1).item() == pytest.approx(1, abs=1e-5)
    there = Filters(torch.tensor([[0.5, -0.5]]), torch.ones(1), torch.full((1,), 0.1), torch.ones(1))
    assert attention.filter_read(canvas, there, 1).item() == pytest.approx(1, abs=1e-5)
    heat = torch.zeros(1, 21, 21)
    heat[0, 5, 15] = 60
    torch.testing.assert_close(attention.soft_argmax(heat, 0, 1, 21), torch.tensor([[0.5, -0.5]]))


def test_writing_is_the_transpose_of_reading() -> None:
    """<write(w), x> = <w, read(x)> for a gain of 1."""
    canvas, patch = canvases(3, 19), canvases(3, 5)
    filters = Filters(
        torch.tensor([[0.1, -0.3], [0, 0], [0.7, 0.9]]),
        torch.tensor([1.0, 2.5, 4]),
        torch.tensor([0.7, 1, 3]),
        torch.ones(3),
    )
    there = (attention.filter_write(patch, filters, 19, 19) * canvas).sum((1, 2, 3))
    back = (attention.filter_read(canvas, filters, 5) * patch).sum((1, 2, 3))
    torch.testing.assert_close(there, back)


def test_gain_multiplies_a_read_and_divides_a_write() -> None:
    plain = Filters(torch.zeros(1, 2), torch.ones(1), torch.ones(1), torch.ones(1))
    strong = plain._replace(gain=torch.full((1,), 4.0))
    canvas, patch = canvases(1, 9), canvases(1, 3)
    read, write = attention.filter_read, attention.filter_write
    torch.testing.assert_close(read(canvas, strong, 3), 4 * read(canvas, plain, 3))
    torch.testing.assert_close(write(patch, strong, 9, 9), write(patch, plain, 9, 9) / 4)


def test_what_a_network_says_becomes_filters() -> None:
    """Literal: stride of equation 23 with e^log_stride = 1/2, sigma = e^1, gain = 2."""
    said = torch.tensor([[0.25, -0.5, 2.0, math.log(0.5), math.log(2)]])
    filters = attention.filters_of(said, count=12, pixels=100)
    assert filters.center.tolist() == [[0.25, -0.5]]
    assert filters.stride.item() == pytest.approx(4.5)
    assert filters.sigma.item() == pytest.approx(math.e)
    assert filters.gain.item() == pytest.approx(2)
    window = attention.window_of(filters, 12, 100)[0]
    torch.testing.assert_close(window, torch.tensor([[0.54, 0, 0.25], [0, 0.54, -0.5]]))


def test_soft_argmax_of_coarse_cells_is_their_centre() -> None:
    heat = torch.full((1, 25, 25), -50.0)
    heat[0, 10, 3] = 50
    x, y = attention.soft_argmax(heat, 1.5, 4, 100)[0].tolist()
    assert x == pytest.approx(2 * 13.5 / 99 - 1, abs=1e-6)  # pixels 12 to 15
    assert y == pytest.approx(2 * 41.5 / 99 - 1, abs=1e-6)  # pixels 40 to 43


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([-1e30, -1e4, -5.0, 0.0, 5.0, 1e4, 1e30]), min_size=5, max_size=5))
def test_extreme_numbers_give_finite_reads_and_gradients(numbers: list[float]) -> None:
    said = torch.tensor([numbers], requires_grad=True)
    canvas = torch.rand(1, 1, 10, 10, generator=GENERATOR).requires_grad_()
    filters = attention.filters_of(said, 4, 10)
    there = attention.filter_write(attention.filter_read(canvas, filters, 4), filters, 10, 10)
    there.sum().backward()
    assert torch.isfinite(there).all()
    assert torch.isfinite(said.grad).all()
    assert torch.isfinite(canvas.grad).all()


def test_a_long_gradient_is_shortened_and_keeps_its_direction() -> None:
    """By hand: four rows, so at most a limit of 1 over 4 long each."""
    rows = torch.ones(4, 2, requires_grad=True)
    out = 2 * rows
    attention.limit_gradient(out, 1.0)
    out.backward(torch.tensor([[0.0, 0.0], [0.03, 0.04], [-0.2, 0.15], [-3e4, 4e4]]))
    expected = 2 * torch.tensor([[0.0, 0.0], [0.03, 0.04], [-0.2, 0.15], [-0.15, 0.2]])
    torch.testing.assert_close(rows.grad, expected)
    free = torch.ones(4, 2, requires_grad=True)
    out = 2 * free
    attention.limit_gradient(out, 0.0)
    out.backward(torch.full((4, 2), 3e4))
    assert (free.grad == 6e4).all()
    attention.limit_gradient(torch.ones(4, 2), 1.0)  # nothing to limit where nothing is learned


def test_gradients_are_those_of_finite_differences() -> None:
    canvas = canvases(2, 8).double()

    def filtered(said: torch.Tensor) -> torch.Tensor:
        return attention.filter_read(canvas, attention.filters_of(said, 3, 8), 3)

    def written(said: torch.Tensor) -> torch.Tensor:
        return attention.filter_write(canvas[..., :3, :3], attention.filters_of(said, 3, 8), 8, 8)

    def sampled(theta: torch.Tensor) -> torch.Tensor:
        return attention.affine_read(canvas, theta, 5)

    def located(heat: torch.Tensor) -> torch.Tensor:
        return attention.soft_argmax(heat, 0.5, 2, 8)

    said = torch.tensor([[0.1, -0.2, 0.4, -0.7, 0.3], [-0.4, 0.3, 1, -0.2, 0]], dtype=torch.float64)
    theta = torch.tensor([[[0.43, 0.1, 0.13], [0.05, 0.47, -0.2]]] * 2, dtype=torch.float64)
    heat = torch.rand(2, 4, 4, generator=GENERATOR, dtype=torch.float64)
    for function, given_ in ((filtered, said), (written, said), (sampled, theta), (located, heat)):
        assert torch.autograd.gradcheck(function, (given_.requires_grad_(),))


def test_autocast_does_not_coarsen_places() -> None:
    canvas = canvases(1, 60)
    said = torch.tensor([[0.123, -0.456, 0.1, -1.0, 0]])
    heat = torch.rand(1, 15, 15, generator=GENERATOR)

    def all_reads() -> list[torch.Tensor]:
        filters = attention.filters_of(said, 12, 60)
        read = attention.filter_read(canvas, filters, 12)
        theta = attention.window_of(filters, 12, 60)
        return [
            read,
            attention.filter_write(read, filters, 60, 60),
            attention.affine_read(canvas, theta, 12),
            attention.soft_argmax(heat, 1.5, 4, 60),
        ]

    plain = all_reads()
    with torch.autocast("cpu", torch.bfloat16):
        cast = all_reads()
    for a, b in zip(plain, cast, strict=True):
        assert b.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_canvas_need_not_be_square_in_the_reads_of_numpy_loops() -> None:
    """An affine read of a rotated window against a loop over its pixels."""
    canvas = torch.rand(1, 1, 9, 14, generator=GENERATOR)
    theta = torch.tensor([[[0.5, 0.2, 0.1], [-0.1, 0.6, -0.2]]])
    size = 4
    read = attention.affine_read(canvas, theta, size)[0, 0].numpy()
    picture = canvas[0, 0].numpy()
    for i in range(size):
        for j in range(size):
            u, v = (2 * j + 1) / size - 1, (2 * i + 1) / size - 1  # middles of the window's pixels
            x = (0.1 + 1) / 2 * 13 + (0.5 * u + 0.2 * v) * 14 / 2
            y = (-0.2 + 1) / 2 * 8 + (-0.1 * u + 0.6 * v) * 9 / 2
            left, top = math.floor(x), math.floor(y)
            value = 0.0
            for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
                if 0 <= row < 9 and 0 <= column < 14:
                    value += picture[row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
            assert read[i, j] == pytest.approx(value, abs=1e-5)
    assert np.isfinite(read).all()
